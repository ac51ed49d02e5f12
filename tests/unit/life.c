/* life.c - random operations on a store's files
 *
 * All of it follows from the seed, if the keeper has a time of its own (Interpose.own_time).
 */

#include "config.h"

#include <signal.h>
#include <string.h>
#include <sys/stat.h>

#include "tests/unit/life.h"
#include "tests/unit/workload.h"

#define HOUR ((gint64) 3600 * G_USEC_PER_SEC)

static guint
below(Life *l, guint n)
{
    return n ? g_rand_int(l->rand) % n : 0;
}

static void
do_policy(Life *l, ProofFile *f)
{
    static const char *const keeps[] = {"24h 7d 4w 12m", "2h", "1d", "3h 2d", "1w"};

    proof_policy(l->p, f, keeps[below(l, G_N_ELEMENTS(keeps))], below(l, 3));
}

static ProofFile *
some_file(Life *l)
{
    g_autofree char *path = g_strdup_printf("/home/u/%c", 'a' + (char) below(l, l->files));
    ProofFile *f = proof_file(l->p, path);

    if (f->versions->len > 14 && !f->thinned) /* or a check takes too long */
        do_policy(l, f);
    return f;
}

static gsize
some_size(Life *l)
{
    if (l->small)
        return below(l, 4) ? below(l, 9000) : below(l, 64 * 1024);
    switch (below(l, 20)) {
    case 0:
        return 0;
    case 1:
        return 1 + below(l, 1300 * 1024); /* past what is always replaced as a whole */
    case 2:
    case 3:
    case 4:
        return 1 + below(l, 200 * 1024);
    default:
        return 1 + below(l, 20 * 1024);
    }
}

static gsize
size_of(ProofFile *f)
{
    Version *v = proof_newest(f);

    return v ? g_bytes_get_size(v->bytes) : 0;
}

static Quality
some_quality(Life *l)
{
    return below(l, 5) ? QUALITY_STABLE : QUALITY_FUZZY;
}

static PointCause
some_cause(Life *l)
{
    return below(l, 8) ? CAUSE_CLOSE : CAUSE_QUIET;
}

/* As the parent gets it from a copier: as ranges, whole, or staged. */
static void
send_content(Life *l, ProofFile *f, GBytes *bytes)
{
    Quality quality = some_quality(l);
    PointCause cause = some_cause(l);

    switch (below(l, 10)) {
    case 0:
        (void) proof_staged(l->p, f, bytes, quality, cause);
        break;
    case 1:
    case 2:
    case 3:
        (void) proof_content(l->p, f, bytes, quality, cause);
        break;
    default:
        (void) proof_ranges(l->p, f, bytes, quality, cause);
        break;
    }
}

static void
do_write(Life *l, ProofFile *f)
{
    gsize size = size_of(f), at = below(l, (guint) size + 1);
    gsize n = 1 + below(l, below(l, 4) ? 5000 : 100000);
    g_autoptr(GBytes) bytes = workload_edited(l->p, f, at, n, MAX(size, MIN(at + n, 2000000)));

    send_content(l, f, bytes);
}

static void
do_truncate(Life *l, ProofFile *f)
{
    gsize size = size_of(f);
    g_autoptr(GBytes) bytes =
        workload_edited(l->p, f, size, 0, size > 8 ? 1 + below(l, (guint) size - 1) : 0);

    if (size > 8)
        send_content(l, f, bytes);
}

/* The new part is zeros, and may be a hole. */
static void
do_extend(Life *l, ProofFile *f)
{
    gsize size = size_of(f);
    gsize more = 1 + below(l, 50000);
    g_autoptr(GBytes) bytes = NULL;

    if (size + more > 2000000)
        return;
    bytes = workload_edited(l->p, f, size + more - MIN(more, 8), 8, size + more);
    send_content(l, f, bytes);
}

static void
do_punch(Life *l, ProofFile *f)
{
    Version *newest = proof_newest(f);
    gsize n;

    if (!newest || g_bytes_get_size(newest->bytes) == 0)
        return;
    const guint8 *old = g_bytes_get_data(newest->bytes, &n);
    guint8 *bytes = g_memdup2(old, n);
    gsize at = below(l, (guint) n), wanted = 1 + below(l, 60000);
    memset(bytes + at, 0, MIN(n - at, wanted));
    g_autoptr(GBytes) whole = g_bytes_new_take(bytes, n);
    if (!g_bytes_equal(whole, newest->bytes))
        send_content(l, f, whole);
}

/* Another inode under the name. */
static void
do_replace(Life *l, ProofFile *f)
{
    g_autoptr(GBytes) bytes = proof_bytes(l->p, some_size(l));

    send_content(l, f, bytes);
}

static void
do_before_restore(Life *l, ProofFile *f)
{
    g_autoptr(GBytes) bytes = proof_bytes(l->p, 1 + below(l, 30000));

    if (proof_newest(f))
        (void) proof_content(l->p, f, bytes, some_quality(l), CAUSE_BEFORE_RESTORE);
}

static void
do_mark(Life *l, ProofFile *f)
{
    g_autofree char *name = below(l, 3) ? g_strdup_printf("name %u", below(l, 1000)) : g_strdup("");

    if (proof_newest(f))
        proof_mark(l->p, f, name);
}

/* Something that is certain: the keeper is asked by id. */
static void
do_forget(Life *l, ProofFile *f)
{
    if (!proof_flush(l->p) || f->versions->len == 0 || f->ops->len > 0)
        return;
    guint which = f->versions->len > 30 ? 1 : below(l, 12); /* or checks take too long */
    Version *v = f->versions->pdata[below(l, f->versions->len)];
    if (which == 0)
        proof_forget(l->p, f, NULL, TRUE);
    else if (which == 1)
        proof_forget(l->p, f, NULL, FALSE);
    else if (v->id && v != f->current)
        proof_forget(l->p, f, v, FALSE);
    (void) proof_flush(l->p);
}

/* Now and then only the clock on the wall moves, forward or back. */
static void
let_time_pass(Life *l)
{
    gint64 hours = below(l, 30);

    if (!proof_rest(l->p))
        return;
    if (below(l, 8))
        l->p->ip->clock_usec += hours * HOUR;
    else
        l->p->ip->wall_usec += (hours - 10) * HOUR;
}

void
life_operation(Life *l)
{
    ProofFile *f = some_file(l);
    guint which = below(l, 100);

    l->done++;
    if (!proof_newest(f) || which < 14)
        do_replace(l, f);
    else if (which < 44)
        do_write(l, f);
    else if (which < 52)
        do_truncate(l, f);
    else if (which < 60)
        do_extend(l, f);
    else if (which < 67)
        do_punch(l, f);
    else if (which < 76)
        proof_attributes(l->p, f, 0600 | (below(l, 8) << 3) | below(l, 8));
    else if (which < 82)
        proof_delete(l->p, f);
    else if (which < 86)
        do_mark(l, f);
    else if (which < 89)
        do_before_restore(l, f);
    else if (which < 93 || f->versions->len > 30)
        do_forget(l, f);
    else if (which < 95)
        do_policy(l, f);
    else if (which < 97)
        proof_prune(l->p, below(l, 2) ? f : NULL);
    else if (which < 99)
        (void) proof_settle(l->p);
    else
        let_time_pass(l);
}

static void
count_seen(Life *l)
{
    for (guint i = 0; i < l->p->files->len; i++)
        l->seen += ((ProofFile *) l->p->files->pdata[i])->versions->len;
}

gboolean
life_check(Life *l, gboolean settled)
{
    if (settled && !proof_settle(l->p)) {
        if (!l->p->gone) {
            g_string_append(l->p->problems, "    the keeper does not come to rest\n");
            return FALSE;
        }
        return TRUE; /* it was killed: the next start tells */
    }
    if (!settled && (!proof_flush(l->p) || !proof_rest(l->p)))
        return TRUE;
    guint64 stop_at = l->p->ip->stop_at;
    l->p->ip->stop_at = 0; /* it is to answer */
    l->p->sample = ++l->checks % 8 ? l->rand : NULL;
    gboolean ok = proof_check(l->p, G_MAXUINT64, settled);
    l->p->sample = NULL;
    l->p->ip->stop_at = stop_at > l->p->ip->calls ? stop_at : 0;
    count_seen(l);
    return ok;
}

/* FALSE: it cannot be opened, or was not ended by us. */
gboolean
life_start_again(Life *l)
{
    g_autofree char *error = NULL;
    gboolean fired = l->p->ip->fired;

    if (l->p->pid) {
        int status = l->p->gone ? proof_end(l->p) : proof_kill(l->p);
        if (status != -SIGKILL || (l->p->ip->stop_at && !fired)) {
            g_string_append_printf(l->p->problems, "    the keeper has ended by itself, with %d\n",
                                   status);
            return FALSE;
        }
        l->kills++;
    }
    l->p->ip->stop_at = 0;
    l->p->ip->fired = FALSE;
    if (below(l, 6) == 0) { /* into the recovery as well */
        l->p->ip->action = INTERPOSE_KILL;
        l->p->ip->stop_at = l->p->ip->calls + 1 + below(l, 40);
    }
    if (!proof_start(l->p, &error)) {
        if (l->p->ip->fired)
            return life_start_again(l);
        g_string_append_printf(l->p->problems, "    it cannot be opened: %s\n",
                               error ? error : "no answer");
        return FALSE;
    }
    return life_check(l, below(l, 3) > 0);
}

gboolean
life_step(Life *l)
{
    guint burst = 1 + below(l, 12);

    if (below(l, 4) == 0 && l->p->ip->stop_at == 0) {
        l->p->ip->action = below(l, 3) ? INTERPOSE_KILL : INTERPOSE_SHORT_KILL;
        l->p->ip->stop_at = l->p->ip->calls + 1 + below(l, 120);
    }
    proof_hold(l->p);
    for (guint i = 0; i < burst && !l->p->gone; i++)
        life_operation(l);
    (void) proof_rest(l->p);
    if (!l->p->gone && below(l, 3) == 0)
        (void) proof_settle(l->p);
    if (l->p->gone)
        return life_start_again(l);
    switch (below(l, 14)) {
    case 0: /* at no call, with whatever waits */
        (void) kill(l->p->pid, SIGKILL);
        l->p->gone = TRUE;
        l->p->ip->stop_at = 0;
        return life_start_again(l);
    case 1:
        l->p->ip->stop_at = 0;
        l->stops++;
        if (!proof_flush(l->p))
            return life_start_again(l);
        if (proof_stop(l->p) != 0) {
            g_string_append(l->p->problems, "    it does not end in order\n");
            return FALSE;
        }
        return life_start_again(l);
    case 2:
        return life_check(l, FALSE);
    case 3:
        return life_check(l, TRUE);
    default:
        return TRUE;
    }
}
