/* workload.c - what a keeper is given to do
 *
 * FLOOR   A scenario makes at least so many calls that change a file: about nine tenths of what it
 *         made when it was written. A keeper that has become better at avoiding calls lowers the
 *         floor, with the reason beside it.
 */

#include "config.h"

#include <string.h>

#include "tests/unit/workload.h"

#define KIB ((gsize) 1024)

/* ---- contents ---- */

/* The newest content with n bytes at `at` replaced, and of that size. */
GBytes *
workload_edited(Proof *p, ProofFile *f, gsize at, gsize n, gsize size)
{
    Version *newest = proof_newest(f);
    g_autoptr(GBytes) fresh = proof_bytes(p, MAX(n, 8));
    gsize had = 0;
    const guint8 *old = newest ? g_bytes_get_data(newest->bytes, &had) : NULL;
    guint8 *bytes = g_malloc0(size + 1);

    if (old)
        memcpy(bytes, old, MIN(had, size));
    if (at < size)
        memcpy(bytes + at, g_bytes_get_data(fresh, NULL), MIN(n, size - at));
    return g_bytes_new_take(bytes, size);
}

static void
put(Proof *p, const char *path, gsize n)
{
    g_autoptr(GBytes) bytes = proof_bytes(p, n);

    (void) proof_content(p, proof_file(p, path), bytes, QUALITY_STABLE, CAUSE_CLOSE);
}

static void
put_as(Proof *p, const char *path, gsize n, Quality quality, PointCause cause)
{
    g_autoptr(GBytes) bytes = proof_bytes(p, n);

    (void) proof_content(p, proof_file(p, path), bytes, quality, cause);
}

static void
edit(Proof *p, const char *path, gsize at, gsize n, gsize size)
{
    ProofFile *f = proof_file(p, path);
    g_autoptr(GBytes) bytes = workload_edited(p, f, at, n, size);

    (void) proof_ranges(p, f, bytes, QUALITY_STABLE, CAUSE_CLOSE);
}

static void
stage(Proof *p, const char *path, gsize n)
{
    g_autoptr(GBytes) bytes = proof_bytes(p, n);

    (void) proof_staged(p, proof_file(p, path), bytes, QUALITY_STABLE, CAUSE_CLOSE);
}

/* ---- scenarios ---- */

static void
nothing(G_GNUC_UNUSED Proof *p)
{
}

static void
create(Proof *p)
{
    (void) proof_start(p, NULL);
    put(p, "/d/first", 3000);
    (void) proof_settle(p);
    (void) proof_stop(p);
}

static void
some_files(Proof *p)
{
    put(p, "/d/small", 3000);
    put(p, "/d/middle", 200 * KIB);
    put(p, "/d/large", 1100 * KIB);
    (void) proof_settle(p);
}

static void
capture(Proof *p)
{
    put(p, "/d/small", 2500);
    put(p, "/d/new", 700);
    (void) proof_flush(p);
    put(p, "/d/middle", 190 * KIB);
    put(p, "/d/small", 0);
    (void) proof_settle(p);
    put(p, "/d/small", 5000);
    put(p, "/d/large", 1100 * KIB);
    (void) proof_settle(p);
}

static void
ranges(Proof *p)
{
    edit(p, "/d/middle", 50000, 9000, 200 * KIB);
    edit(p, "/d/large", 100 * KIB, 20000, 1100 * KIB);
    (void) proof_flush(p);
    edit(p, "/d/large", 1090 * KIB, 30000, 1130 * KIB); /* longer */
    (void) proof_settle(p);
    edit(p, "/d/large", 0, 100, 1060 * KIB); /* shorter */
    edit(p, "/d/middle", 10, 10, 100001);
    edit(p, "/d/middle", 300 * KIB, 10, 400 * KIB); /* a hole before it */
    (void) proof_settle(p);
}

static void
staged(Proof *p)
{
    stage(p, "/d/large", 1150 * KIB);
    (void) proof_flush(p);
    stage(p, "/d/small", 70 * KIB);
    (void) proof_settle(p);
    stage(p, "/d/large", 1140 * KIB);
    stage(p, "/d/large", 1145 * KIB);
    (void) proof_settle(p);
}

static void
attributes_and_deletions(Proof *p)
{
    proof_attributes(p, proof_file(p, "/d/small"), 0604);
    proof_attributes(p, proof_file(p, "/d/large"), 0644);
    (void) proof_settle(p);
    proof_delete(p, proof_file(p, "/d/small"));
    proof_delete(p, proof_file(p, "/d/large"));
    (void) proof_settle(p);
    put(p, "/d/small", 1234);
    edit(p, "/d/large", 5000, 5000, 1100 * KIB);
    put_as(p, "/d/middle", 90 * KIB, QUALITY_STABLE, CAUSE_BEFORE_RESTORE);
    (void) proof_settle(p);
}

static void
qualities_and_names(Proof *p)
{
    put_as(p, "/d/small", 4000, QUALITY_FUZZY, CAUSE_CLOSE);
    (void) proof_settle(p);
    put_as(p, "/d/small", 4100, QUALITY_FUZZY, CAUSE_CLOSE);
    (void) proof_flush(p);
    proof_mark(p, proof_file(p, "/d/small"), "a name");
    put_as(p, "/d/middle", 210 * KIB, QUALITY_FUZZY, CAUSE_QUIET);
    (void) proof_settle(p);
    proof_mark(p, proof_file(p, "/d/middle"), "");
    put(p, "/d/middle", 205 * KIB);
    put(p, "/d/small", 4200);
    put_as(p, "/d/small", 4300, QUALITY_FUZZY, CAUSE_CLOSE);
    put(p, "/d/small", 4400);
    (void) proof_settle(p);
}

/* Contents of many ages. */
static void
a_past(Proof *p)
{
    some_files(p);
    for (guint i = 0; i < 3; i++) {
        put(p, "/d/small", 3000 + i);
        edit(p, "/d/middle", 30000 * i, 15000, 200 * KIB);
        edit(p, "/d/large", 100000 * i, 15000, 1100 * KIB);
        (void) proof_settle(p);
        p->ip->clock_usec += (gint64) 40 * 60 * G_USEC_PER_SEC;
    }
    proof_mark(p, proof_file(p, "/d/small"), "kept");
    put(p, "/d/small", 999);
    (void) proof_settle(p);
    p->ip->clock_usec += (gint64) 5 * 3600 * G_USEC_PER_SEC;
}

static void
prune(Proof *p)
{
    proof_policy(p, proof_file(p, "/d/small"), "2h", 0);
    proof_policy(p, proof_file(p, "/d/middle"), "1d", 0);
    proof_policy(p, proof_file(p, "/d/large"), "1h 1d", 2);
    proof_prune(p, NULL);
    (void) proof_settle(p);
    put(p, "/d/small", 4444);
    edit(p, "/d/large", 70000, 30000, 1100 * KIB);
    (void) proof_settle(p);
    proof_prune(p, proof_file(p, "/d/large"));
    (void) proof_settle(p);
}

static Version *
version_at(ProofFile *f, guint i)
{
    return i < f->versions->len ? f->versions->pdata[i] : NULL;
}

static void
a_past_that_is_known(Proof *p)
{
    a_past(p);
    (void) proof_check(p, G_MAXUINT64, TRUE);
}

static void
forget(Proof *p)
{
    ProofFile *small = proof_file(p, "/d/small"), *large = proof_file(p, "/d/large");

    proof_doom(p, small); /* whole contents; those of the other are parts of one another */
    if (version_at(large, 2))
        proof_forget(p, large, version_at(large, 2), FALSE);
    (void) proof_flush(p);
    if (version_at(small, 1))
        proof_forget(p, small, version_at(small, 1), FALSE);
    (void) proof_flush(p);
    proof_forget(p, large, NULL, FALSE);
    (void) proof_flush(p);
    proof_forget(p, small, NULL, TRUE);
    (void) proof_settle(p);
}

/* What was acknowledged is not applied: a recovery has to do it. */
static void
a_kill_with_much_pending(Proof *p)
{
    some_files(p);
    capture(p);
    edit(p, "/d/large", 300 * KIB, 50000, 1150 * KIB);
    edit(p, "/d/middle", 3000, 5000, 180 * KIB);
    put(p, "/d/small", 800);
    put_as(p, "/d/small", 801, QUALITY_FUZZY, CAUSE_CLOSE);
    stage(p, "/d/new", 30 * KIB);
    put(p, "/d/other", 100);
    proof_delete(p, proof_file(p, "/d/other"));
    (void) proof_flush(p);
    (void) proof_kill(p);
}

static void
recover(Proof *p)
{
    g_autofree char *error = NULL;

    if (!proof_start(p, &error))
        return;
    (void) proof_settle(p);
    put(p, "/d/small", 900);
    (void) proof_settle(p);
}

static void
stop(Proof *p)
{
    put(p, "/d/small", 800);
    edit(p, "/d/large", 300 * KIB, 50000, 1150 * KIB);
    (void) proof_flush(p);
    (void) proof_stop(p);
    if (proof_start(p, NULL))
        (void) proof_stop(p);
}

/* More than the journal's segments hold. */
static void
many(Proof *p)
{
    for (guint i = 0; i < 10; i++) {
        g_autofree char *path = g_strdup_printf("/d/%u", i % 4);
        put(p, path, 230 * KIB + i);
        if (i % 4 == 3)
            (void) proof_settle(p);
    }
    (void) proof_settle(p);
}

static void
read_all(Proof *p)
{
    (void) proof_check(p, G_MAXUINT64, TRUE);
    edit(p, "/d/middle", 3000, 5000, 180 * KIB);
    (void) proof_flush(p);
    (void) proof_check(p, G_MAXUINT64, FALSE);
    g_string_truncate(p->problems, 0); /* it may have been killed meanwhile */
}

void
workload_more(Proof *p)
{
    put(p, "/d/after", 2000);
    edit(p, "/d/large", 4096, 4096, 1100 * KIB);
    (void) proof_settle(p);
}

void
workload_day(Proof *p)
{
    some_files(p);
    capture(p);
    ranges(p);
    staged(p);
    attributes_and_deletions(p);
    qualities_and_names(p);
    edit(p, "/d/large", 300 * KIB, 50000, 1150 * KIB);
    edit(p, "/d/middle", 3000, 5000, 180 * KIB);
    stage(p, "/d/new", 30 * KIB);
    put(p, "/d/small", 801);
    (void) proof_flush(p);
    (void) proof_kill(p);
    if (!proof_start(p, NULL))
        return;
    put(p, "/d/small", 802);
    (void) proof_settle(p);
    edit(p, "/d/large", 310 * KIB, 50000, 1150 * KIB);
    (void) proof_stop(p);
    if (!proof_start(p, NULL))
        return;
    many(p);
    edit(p, "/d/large", 320 * KIB, 50000, 1150 * KIB);
    put(p, "/d/small", 803);
    (void) proof_settle(p);
}

const Scenario scenarios[] = {
    {"a store is made", NULL, create, 125, 1},
    {"contents", some_files, capture, 98, 1},
    {"ranges", some_files, ranges, 93, 1},
    {"staged files", some_files, staged, 90, 1},
    {"attributes and deletions", some_files, attributes_and_deletions, 76, 1},
    {"qualities and names", some_files, qualities_and_names, 110, 1},
    {"thinning", a_past, prune, 57, 1},
    {"forgetting", a_past_that_is_known, forget, 260, 2},
    {"a recovery", a_kill_with_much_pending, recover, 115, 1},
    {"an orderly stop", some_files, stop, 80, 1},
    {"a journal that goes round", nothing, many, 160, 1},
    {"points being read", a_past_that_is_known, read_all, 100, 2},
};
const guint n_scenarios = G_N_ELEMENTS(scenarios);
