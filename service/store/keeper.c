/* keeper.c - the role that owns a store
 *
 * PURPOSE     journal, catalog, mirrors and history of one store. Contents come to it in sealed
 *             memory files, or in staged files whose descriptors it handed out.
 * PRIVILEGES  the store's owner: root in system mode. It never opens a protected path.
 *
 * Start-up is recovery: lock, catalog, journal (journal.c), then KEEPER_OPENED, then service. What
 * recovery found pending is applied like anything else.
 *
 * LOOP        Take all messages that wait; write all their transactions; one fdatasync for all of
 *             them (group commit); answer each. A question is answered after a commit, so it sees
 *             nothing that is not durable. Apply in between, a file at a time: 20 ms after the last
 *             append, or when something has waited for a second.
 *
 * INVARIANTS
 *  (1) KEEPER_DURABLE without an error is sent after the fdatasync that covers it, and only then.
 *  (2) After an error of journal or catalog (`failed`) nothing is acknowledged: the role exits with
 *      1, and recovery finds out what is true. A full store is no such error, and what is wrong
 * with one file (its mirror cannot be read or replaced) is none either: that file is `stuck`, tried
 *      again with back-off, and hinders no other.
 *  (3) `clean` is set only with nothing pending, and cleared before anything is accepted.
 *  (4) A content that had to be given up (apply.c, invariant 4) is made known by the next opening:
 *      once all else is applied, the role exits for it.
 */

#include "config.h"

#include <errno.h>
#include <poll.h>
#include <string.h>

#include "base/error.h"
#include "base/path.h"
#include "base/role.h"
#include "store/keeper.h"
#include "store/staged.h"

#define IDLE_USEC      20000                 /* apply so long after the last append       */
#define LATEST_USEC    G_USEC_PER_SEC        /* and at the latest so long after the first */
#define RETRY_USEC     (2 * G_USEC_PER_SEC)  /* of a file that is stuck: the first one ... */
#define RETRY_MAX_USEC (60 * G_USEC_PER_SEC) /* ... doubled, up to this                   */
#define STOP_USEC      (3 * G_USEC_PER_SEC)  /* an orderly stop applies so long           */
#define BATCH_MESSAGES 256
#define BATCH_BYTES    (32 * 1024 * 1024)

typedef struct Stuck {
    gint64 next_usec, delay_usec;
} Stuck;

void
keeper_fail(Keeper *k, const GError *error)
{
    if (!k->failed)
        g_warning("keeper of '%s': %s: starting again", k->store.layout->path,
                  error ? error->message : "failed");
    k->failed = TRUE; /* invariant 2 */
}

void
keeper_send(Keeper *k, MessageType type, GVariant *body, const int *fds, guint n_fds)
{
    g_autoptr(GError) error = NULL;

    if (!channel_send(k->channel, type, body, fds, n_fds, &error))
        g_debug("keeper: %s", error->message); /* the end of the channel shows when receiving */
}

gboolean
keeper_commit(Keeper *k)
{
    g_autoptr(GError) error = NULL;

    if (k->failed)
        return FALSE;
    if (k->unacked->len == 0)
        return TRUE;
    if (!journal_sync(k->store.journal, &error)) {
        keeper_fail(k, error);
        return FALSE;
    }
    gint64 now = g_get_monotonic_time();
    for (guint i = 0; i < k->unacked->len; i++) { /* invariant 1 */
        const Unacked *u = &g_array_index(k->unacked, Unacked, i);
        keeper_send(k, MESSAGE_KEEPER_DURABLE,
                    g_variant_new("(t@" MESSAGE_ERROR_TYPE "txx)", u->job,
                                  message_error_new(NULL, 0), u->seq, now, u->time_usec),
                    NULL, 0);
    }
    g_array_set_size(k->unacked, 0);
    k->unacked_bytes = 0;
    return TRUE;
}

/* Said once, not with every try. */
static void
set_stuck(Keeper *k, const char *path, const GError *error)
{
    Stuck *stuck = g_hash_table_lookup(k->stuck, path);

    if (!stuck) {
        if (g_error_matches(error, FILEDUP_ERROR, FILEDUP_ERROR_AGAIN))
            g_debug("keeper: %s: retrying", error->message);
        else
            g_warning("keeper of '%s': %s: retrying; other files go on", k->store.layout->path,
                      error->message);
        stuck = g_new0(Stuck, 1);
        stuck->delay_usec = RETRY_USEC;
        g_hash_table_insert(k->stuck, g_strdup(path), stuck);
    } else {
        stuck->delay_usec = MIN(2 * stuck->delay_usec, RETRY_MAX_USEC);
    }
    stuck->next_usec = g_get_monotonic_time() + stuck->delay_usec;
}

gboolean
keeper_apply(Keeper *k, const char *path, GError **error)
{
    g_autofree char *key = g_strdup(path); /* it may be the transaction's own */
    g_autoptr(GError) local = NULL;

    if (k->failed)
        return throw_error(error, FILEDUP_ERROR_FATAL, "the keeper failed before");
    gboolean ok = apply_file(&k->store, key, &local);
    for (guint spares = 2;
         !ok && spares-- > 0;) { /* without space: the journal's, the last one last */
        if (!g_error_matches(local, FILEDUP_ERROR, FILEDUP_ERROR_AGAIN) ||
            !journal_shrink(k->store.journal, spares))
            continue;
        g_clear_error(&local);
        ok = apply_file(&k->store, key, &local);
    }
    if (ok) {
        g_hash_table_remove(k->stuck, key);
        k->first_pending_usec = g_get_monotonic_time();
        return TRUE;
    }
    if (g_error_matches(local, FILEDUP_ERROR, FILEDUP_ERROR_FATAL)) {
        keeper_fail(k, local);
    } else if (!pending_of(k->store.pending, key)) {
        g_warning("keeper of '%s': %s", k->store.layout->path, local->message);
        g_hash_table_remove(k->stuck, key);
        k->lost = TRUE; /* invariant 4 */
    } else {
        set_stuck(k, key, local);
    }
    g_propagate_error(error, g_steal_pointer(&local));
    return FALSE;
}

/* A stuck path whose time has come; NULL: none. */
static const char *
stuck_due(Keeper *k, gint64 now)
{
    GHashTableIter iter;
    gpointer path, stuck;

    g_hash_table_iter_init(&iter, k->stuck);
    while (g_hash_table_iter_next(&iter, &path, &stuck))
        if (((Stuck *) stuck)->next_usec <= now)
            return path;
    return NULL;
}

gboolean
keeper_apply_oldest(Keeper *k, GError **error)
{
    const Transaction *t = pending_oldest_but(k->store.pending, k->stuck);

    if (k->failed)
        return throw_error(error, FILEDUP_ERROR_FATAL, "the keeper failed before");
    if (!t)
        return throw_error(error, FILEDUP_ERROR_AGAIN, "nothing more can be applied for now");
    return keeper_apply(k, t->capture.path, NULL) || !k->failed ||
           throw_error(error, FILEDUP_ERROR_FATAL, "the keeper failed");
}

/* ---- the loop ---- */

/* When the next step of apply is due, on the monotonic clock; G_MAXINT64: nothing waits. */
static gint64
apply_due(Keeper *k)
{
    const Transaction *oldest = pending_oldest_but(k->store.pending, k->stuck);
    gint64 due = G_MAXINT64;
    GHashTableIter iter;
    gpointer stuck;

    if (oldest && oldest->first_seq <= k->drain_through)
        return 0;
    if (oldest)
        due = MIN(k->last_append_usec + IDLE_USEC, k->first_pending_usec + LATEST_USEC);
    g_hash_table_iter_init(&iter, k->stuck);
    while (g_hash_table_iter_next(&iter, NULL, &stuck))
        due = MIN(due, ((Stuck *) stuck)->next_usec);
    return due;
}

static void
apply_if_due(Keeper *k, gint64 now)
{
    if (apply_due(k) > now)
        return;
    const char *stuck = stuck_due(k, now);
    if (stuck) { /* seldom enough to come first */
        (void) keeper_apply(k, stuck, NULL);
        return;
    }
    /* What waits now is applied whatever comes meanwhile, with the socket looked at in between. */
    const Transaction *oldest = pending_oldest_but(k->store.pending, k->stuck);
    if (oldest->first_seq > k->drain_through)
        k->drain_through = journal_last_seq(k->store.journal);
    (void) keeper_apply(k, oldest->capture.path, NULL);
}

/* Invariant 4. */
static void
tell_what_is_lost(Keeper *k)
{
    static const GError lost = {.message = (char *) "a content had to be given up"};

    if (k->lost && !pending_oldest_but(k->store.pending, k->stuck))
        keeper_fail(k, &lost);
}

/* FALSE: stop. */
static gboolean
handle(Keeper *k, Message *m)
{
    if (m->type == MESSAGE_DAEMON_APPEND) {
        intake_append(k, m);
        return TRUE;
    }
    if (!keeper_commit(k))
        return FALSE;
    switch (m->type) {
    case MESSAGE_DAEMON_STAGE:
        intake_stage(k, m->body);
        return TRUE;
    case MESSAGE_DAEMON_UNSTAGE:
        intake_unstage(k, m->body);
        return TRUE;
    case MESSAGE_DAEMON_LOOKUP:
        answer_lookup(k, m->body);
        return TRUE;
    case MESSAGE_DAEMON_CONTENT:
        answer_content(k, m->body);
        return TRUE;
    case MESSAGE_DAEMON_POINTS:
        answer_points(k, m->body);
        return TRUE;
    case MESSAGE_DAEMON_STOP:
        return FALSE;
    default:
        g_debug("keeper: %s is not for a keeper", message_name(m->type));
        return TRUE;
    }
}

typedef enum { TURN_AGAIN, TURN_STOP, TURN_GONE } Turn;

/* All messages that wait, then one commit for all. */
static Turn
take_messages(Keeper *k)
{
    Turn turn = TURN_AGAIN;

    for (guint i = 0; i < BATCH_MESSAGES && k->unacked_bytes < BATCH_BYTES && !k->failed; i++) {
        g_autoptr(GError) error = NULL;
        g_autoptr(Message) m = channel_receive(k->channel, &error);
        if (error) {
            g_debug("keeper: %s", error->message);
            turn = TURN_GONE;
            break;
        }
        if (!m)
            break;
        if (!handle(k, m)) {
            turn = TURN_STOP;
            break;
        }
    }
    (void) keeper_commit(k);
    return turn;
}

static void
wait(Keeper *k)
{
    gint64 now = g_get_monotonic_time();
    gint64 due = MIN(apply_due(k), k->space_looked_usec + 60 * G_USEC_PER_SEC);
    struct pollfd p = {.fd = channel_fd(k->channel),
                       .events = (short) (POLLIN | (channel_has_queue(k->channel) ? POLLOUT : 0))};

    (void) poll(&p, 1, due <= now ? 0 : (int) MIN((due - now + 999) / 1000, 60000));
    if (p.revents & POLLOUT)
        (void) channel_flush(k->channel, NULL);
}

static gboolean
has_input(Keeper *k)
{
    struct pollfd p = {.fd = channel_fd(k->channel), .events = POLLIN};

    return poll(&p, 1, 0) > 0;
}

static void
prepare_when_idle(Keeper *k)
{
    LayoutSpace space;

    if (pending_oldest_but(k->store.pending, k->stuck) || has_input(k))
        return;
    if (layout_space(k->store.layout, &space, NULL) &&
        space.free_bytes > space.reserve_bytes + 4 * space.segment_bytes)
        journal_prepare(k->store.journal);
}

/* What recovery left behind may be larger than what a journal needs. */
static void
shrink_if_short(Keeper *k)
{
    LayoutSpace space;

    if (layout_space(k->store.layout, &space, NULL) &&
        space.free_bytes < space.reserve_bytes + 4 * space.segment_bytes)
        (void) journal_shrink(k->store.journal, 1);
}

static Turn
serve(Keeper *k)
{
    for (;;) {
        Turn turn = take_messages(k);
        if (turn != TURN_AGAIN || k->failed)
            return turn;
        answer_space(k, FALSE);
        apply_if_due(k, g_get_monotonic_time());
        tell_what_is_lost(k);
        if (k->failed)
            return turn;
        prepare_when_idle(k);
        wait(k);
    }
}

/* ---- opening ---- */

static gboolean
sweep_staged(Keeper *k, GError **error)
{
    g_autoptr(GHashTable) needed = g_hash_table_new(g_int64_hash, g_int64_equal);
    g_autoptr(GList) paths = pending_paths(k->store.pending);

    for (GList *l = paths; l; l = l->next) {
        GPtrArray *list = pending_of(k->store.pending, l->data);
        for (guint i = 0; i < list->len; i++) {
            Transaction *t = list->pdata[i];
            if (t->capture.kind == APPEND_STAGED)
                g_hash_table_add(needed, &t->capture.staged);
        }
    }
    return staged_sweep(k->store.layout->staged, needed, error);
}

static guint64
highest_file(const Keeper *k)
{
    g_autoptr(GList) paths = pending_paths(k->store.pending);
    guint64 highest = 0;

    for (GList *l = paths; l; l = l->next) {
        GPtrArray *list = pending_of(k->store.pending, l->data);
        highest = MAX(highest, ((Transaction *) list->pdata[0])->capture.file);
    }
    return highest;
}

static gboolean
open_journal(Keeper *k, const CatalogState *state, JournalReport *report, GError **error)
{
    LayoutSpace space;

    if (!layout_space(k->store.layout, &space, error))
        return FALSE;
    JournalOptions options = {
        .uuid = k->store.layout->uuid,
        .segment_bytes = space.segment_bytes,
        .applied = state->applied,
        .last_seq = state->last_seq,
        .last_time_usec = state->last_time_usec,
        .incarnation = state->incarnation,
        .clean = state->clean,
        .lost = state->lost,
    };
    k->store.journal =
        journal_open(k->store.layout->journal, &options, k->store.pending, report, error);
    if (!k->store.journal)
        return FALSE;
    if (!state->clean)
        g_debug("keeper: it was not stopped in order; %u transactions recovered",
                report->recovered);
    if (!report->direct)
        g_debug("keeper: no O_DIRECT here: recovery reads through the page cache");
    return TRUE;
}

static gboolean
open_store(Keeper *k, const RoleArgs *args, JournalReport *report, CatalogState *state,
           int *ret_errno, GError **error)
{
    k->store.layout = layout_open(args->store_path, args->store_uuid,
                                  args->store_create ? LAYOUT_CREATE : LAYOUT_KEEP, args->system,
                                  ret_errno, error);
    if (!k->store.layout)
        return FALSE;
    g_autofree char *catalog = g_build_filename(k->store.layout->path, CATALOG_NAME, NULL);
    if (access(catalog, F_OK) < 0)
        return throw_errno(error, "'%s'", catalog); /* never an empty one in its stead */
    k->store.catalog = catalog_open(catalog, FALSE, error);
    if (!k->store.catalog || !catalog_state(k->store.catalog, state, error))
        return FALSE;
    if (!open_journal(k, state, report, error))
        return FALSE;
    k->next_file = MAX(state->last_file, highest_file(k)) + 1;
    k->next_staged = (guint64) g_get_real_time(); /* not a number that an earlier keeper gave out */
    return sweep_staged(k, error) &&
           catalog_set_open(k->store.catalog, journal_incarnation(k->store.journal), error);
}

static gboolean
open_and_say(Keeper *k, const RoleArgs *args)
{
    g_autoptr(GError) error = NULL;
    g_auto(JournalReport) report = {0};
    CatalogState state = {0};
    int errnum = 0;

    gboolean ok = open_store(k, args, &report, &state, &errnum, &error);
    keeper_send(k, MESSAGE_KEEPER_OPENED,
                g_variant_new("(@" MESSAGE_ERROR_TYPE "stbs)", message_error_new(error, errnum),
                              k->store.layout ? k->store.layout->uuid : "", state.applied,
                              report.damage, report.note ? report.note : ""),
                NULL, 0);
    return ok;
}

/* ---- life ---- */

static void
keeper_clear(Keeper *k)
{
    g_clear_pointer(&k->store.pending, pending_free);
    g_clear_pointer(&k->store.journal, journal_close);
    g_clear_pointer(&k->store.catalog, catalog_close);
    g_clear_pointer(&k->store.layout, layout_close);
    g_clear_pointer(&k->unacked, g_array_unref);
    g_clear_pointer(&k->stuck, g_hash_table_unref);
    g_clear_pointer(&k->staged, g_hash_table_unref);
    g_clear_pointer(&k->ids, g_hash_table_unref);
    g_clear_pointer(&k->channel, channel_free);
}

static void
stop(Keeper *k)
{
    gint64 end = g_get_monotonic_time() + STOP_USEC;
    g_autoptr(GError) error = NULL;

    while (g_get_monotonic_time() < end && keeper_apply_oldest(k, NULL))
        ;
    if (k->failed || k->lost || pending_oldest(k->store.pending)) /* invariants 3 and 4 */
        return;
    if (!catalog_set_clean(k->store.catalog, journal_last_seq(k->store.journal), &error)) {
        keeper_fail(k, error);
        return;
    }
    layout_release(k->store.layout);
}

int
keeper_main(const RoleArgs *args, Channel *channel)
{
    Keeper k = {.channel = channel};

    k.store.pending = pending_new();
    k.unacked = g_array_new(FALSE, FALSE, sizeof(Unacked));
    k.stuck = g_hash_table_new_full(g_str_hash, g_str_equal, g_free, g_free);
    k.staged = intake_staged_new();
    k.ids = g_hash_table_new_full(g_str_hash, g_str_equal, g_free, g_free);
    gboolean ok = open_and_say(&k, args);
    if (ok) {
        shrink_if_short(&k);
        answer_space(&k, TRUE);
        if (serve(&k) == TURN_STOP && !k.failed)
            stop(&k);
        ok = !k.failed;
    }
    while (channel_has_queue(k.channel) && channel_flush(k.channel, NULL) &&
           channel_has_queue(k.channel)) {
        struct pollfd p = {.fd = channel_fd(k.channel), .events = POLLOUT};
        if (poll(&p, 1, 1000) <= 0)
            break;
    }
    keeper_clear(&k);
    return ok ? 0 : 1;
}
