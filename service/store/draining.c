/* draining.c - from the journal to the mirrors: what a keeper applies, and when
 *
 * 20 ms after the last append, or when something has waited for a second: then all that waits is
 * applied, whatever comes meanwhile, in turns that are short enough for whoever is being answered.
 *
 * HELD       A path is not applied to while somebody reads what the store has of it (supply.c,
 *            checking.c), nor for a while after it could not be applied: it is *stuck*, tried again with
 *            back-off, and hinders no other. Readers neither: where the journal has no room left but
 *            by applying what they read (keeper_apply_read), they begin anew.
 *
 * INVARIANTS
 *  (1) Nothing is applied that is not durable: each apply begins with a commit.
 *  (2) A file's error is that file's: only an error of catalog or packs fails the keeper.
 */

#include "config.h"

#include "base/error.h"
#include "store/keeper.h"

#define IDLE_USEC      20000                 /* apply so long after the last append       */
#define LATEST_USEC    G_USEC_PER_SEC        /* and at the latest so long after the first */
#define RETRY_USEC     (2 * G_USEC_PER_SEC)  /* of a file that is stuck: the first one ... */
#define RETRY_MAX_USEC (60 * G_USEC_PER_SEC) /* ... doubled, up to this                   */
#define TURN_USEC      40000                 /* a turn takes about so long ...            */
#define TURN_BUSY_USEC 8000                  /* ... or this, if something was appended ... */
#define BUSY_USEC      100000                /* ... so recently                           */

/* Why a path is not applied for now. */
typedef struct Hold {
    guint readers;
    gint64 next_usec, delay_usec; /* stuck: when it is tried again; 0: it is not stuck */
} Hold;

static Hold *
hold_of(Keeper *k, const char *path)
{
    Hold *hold = g_hash_table_lookup(k->held, path);

    if (!hold) {
        hold = g_new0(Hold, 1);
        g_hash_table_insert(k->held, g_strdup(path), hold);
    }
    return hold;
}

static void
drop_if_free(Keeper *k, const char *path)
{
    const Hold *hold = g_hash_table_lookup(k->held, path);

    if (hold && hold->readers == 0 && hold->delay_usec == 0)
        g_hash_table_remove(k->held, path);
}

void
keeper_hold(Keeper *k, const char *path)
{
    hold_of(k, path)->readers++;
}

void
keeper_release(Keeper *k, const char *path)
{
    Hold *hold = g_hash_table_lookup(k->held, path);

    g_assert(hold && hold->readers > 0);
    hold->readers--;
    drop_if_free(k, path);
}

gboolean
keeper_is_read(Keeper *k, const char *path)
{
    const Hold *hold = g_hash_table_lookup(k->held, path);

    return hold && hold->readers > 0;
}

void
keeper_release_all(Keeper *k)
{
    GHashTableIter iter;
    gpointer value;

    g_hash_table_iter_init(&iter, k->held);
    while (g_hash_table_iter_next(&iter, NULL, &value)) {
        ((Hold *) value)->readers = 0;
        if (((Hold *) value)->delay_usec == 0)
            g_hash_table_iter_remove(&iter);
    }
}

/* Said once, not with every try. */
static void
set_stuck(Keeper *k, const char *path, const GError *error)
{
    Hold *hold = hold_of(k, path);

    if (hold->delay_usec == 0) {
        if (g_error_matches(error, FILEDUP_ERROR, FILEDUP_ERROR_AGAIN))
            g_debug("keeper: %s: retrying", error->message);
        else
            g_warning("keeper of '%s': %s: retrying; other files go on", k->store.layout->path,
                      error->message);
        hold->delay_usec = RETRY_USEC;
    } else {
        hold->delay_usec = MIN(2 * hold->delay_usec, RETRY_MAX_USEC);
    }
    hold->next_usec = g_get_monotonic_time() + hold->delay_usec;
}

static void
set_free(Keeper *k, const char *path)
{
    Hold *hold = g_hash_table_lookup(k->held, path);

    if (hold)
        hold->delay_usec = 0;
    drop_if_free(k, path);
}

/* ---- applying ---- */

/* Before any apply. */
static void
prepare_apply(Keeper *k)
{
    upkeep_changed(k);
    if (k->store.unfinished) /* it is finished first, whoever reads one of its files */
        k->changes++;
}

/* What has become of a path: AppliedFunc (apply.h). */
static void
applied(const char *path, const GError *error, gboolean given_up, gpointer data)
{
    Keeper *k = data;

    if (error)
        g_hash_table_remove(k->heads, path);
    if (given_up) {
        g_warning("keeper of '%s': %s", k->store.layout->path, error ? error->message : path);
        k->lost = TRUE;
    }
    if (!error || given_up) {
        k->first_pending_usec = g_get_monotonic_time();
        set_free(k, path);
        if (!pending_of(k->store.pending, path))
            keeper_end_due(k, path);
    } else {
        set_stuck(k, path, error);
    }
}

static gboolean
apply_one(Keeper *k, const char *key, GError **error)
{
    g_autoptr(GError) local = NULL;

    prepare_apply(k);
    gboolean ok = apply_file(&k->store, key, &local);
    for (guint spares = 2;
         !ok && spares-- > 0;) { /* without space: the journal's, the last one last */
        if (!g_error_matches(local, FILEDUP_ERROR, FILEDUP_ERROR_AGAIN) ||
            !journal_shrink(k->store.journal, spares))
            continue;
        g_clear_error(&local);
        ok = apply_file(&k->store, key, &local);
    }
    if (g_error_matches(local, FILEDUP_ERROR, FILEDUP_ERROR_AGAIN) && upkeep_make_space(k, 0)) {
        g_clear_error(&local);
        ok = apply_file(&k->store, key, &local);
    }
    if (g_error_matches(local, FILEDUP_ERROR, FILEDUP_ERROR_FATAL))
        keeper_fail(k, local);
    else
        applied(key, local, !ok && !pending_of(k->store.pending, key), k);
    if (!ok)
        g_propagate_error(error, g_steal_pointer(&local));
    return ok;
}

gboolean
keeper_apply(Keeper *k, const char *path, GError **error)
{
    g_autofree char *key = g_strdup(path); /* it may be the transaction's own */

    if (!keeper_commit(k)) /* invariant 1 */
        return throw_error(error, FILEDUP_ERROR_FATAL, "the keeper failed before");
    if (!pending_of(k->store.pending, key))
        return TRUE;
    if (keeper_is_read(k, key))
        return throw_error(error, FILEDUP_ERROR_AGAIN, "it is being read");
    return apply_one(k, key, error);
}

/* The path of what has waited longest of that which is being read, and is not stuck; NULL: none. */
static char *
oldest_read(Keeper *k)
{
    GHashTableIter iter;
    gpointer path, value;
    const Transaction *oldest = NULL;

    g_hash_table_iter_init(&iter, k->held);
    while (g_hash_table_iter_next(&iter, &path, &value)) {
        const Hold *hold = value;
        const GPtrArray *list = pending_of(k->store.pending, path);
        const Transaction *t = list ? list->pdata[0] : NULL;
        if (t && hold->readers > 0 && hold->delay_usec == 0 &&
            (!oldest || t->first_seq < oldest->first_seq))
            oldest = t;
    }
    return oldest ? g_strdup(oldest->capture.path) : NULL;
}

gboolean
keeper_apply_read(Keeper *k)
{
    g_autofree char *path = keeper_commit(k) ? oldest_read(k) : NULL;

    if (!path)
        return FALSE;
    k->changes++;
    (void) apply_one(k, path, NULL); /* applied, or stuck */
    return !k->failed;
}

/* A stuck path whose time has come; NULL: none. */
static const char *
stuck_due(Keeper *k, gint64 now)
{
    GHashTableIter iter;
    gpointer path, value;

    g_hash_table_iter_init(&iter, k->held);
    while (g_hash_table_iter_next(&iter, &path, &value)) {
        const Hold *hold = value;
        if (hold->delay_usec > 0 && hold->readers == 0 && hold->next_usec <= now)
            return path;
    }
    return NULL;
}

static gboolean
apply_some(Keeper *k, guint max_files, guint *ret_files, GError **error)
{
    g_autoptr(GError) local = NULL;

    if (!keeper_commit(k)) /* invariant 1 */
        return throw_error(error, FILEDUP_ERROR_FATAL, "the keeper failed before");
    const Transaction *oldest = pending_oldest_but(k->store.pending, k->held);
    if (!oldest)
        return throw_error(error, FILEDUP_ERROR_AGAIN, "nothing more can be applied for now");
    g_autofree char *first = g_strdup(oldest->capture.path);
    g_autoptr(GPtrArray) paths = apply_choose(&k->store, k->held);
    if (paths->len > max_files)
        g_ptr_array_set_size(paths, (gint) max_files);
    *ret_files = paths->len;
    prepare_apply(k);
    if (apply_batch(&k->store, paths, applied, k, &local))
        return TRUE;
    if (g_error_matches(local, FILEDUP_ERROR, FILEDUP_ERROR_FATAL)) {
        keeper_fail(k, local);
        g_propagate_error(error, g_steal_pointer(&local));
        return FALSE;
    }
    /* There was no space for all of them: one alone needs less, and may even give some back. */
    return keeper_apply(k, first, NULL) || !k->failed ||
           throw_error(error, FILEDUP_ERROR_FATAL, "the keeper failed");
}

gboolean
keeper_apply_oldest(Keeper *k, GError **error)
{
    guint files;

    return apply_some(k, APPLY_BATCH_FILES, &files, error);
}

/* In the loop: as many files as take a short time, for meanwhile nobody is answered. */
static void
apply_in_turn(Keeper *k)
{
    gint64 start = g_get_monotonic_time();
    gint64 wanted = start - k->last_append_usec < BUSY_USEC ? TURN_BUSY_USEC : TURN_USEC;
    guint files = 1;

    (void) apply_some(k, k->batch_files, &files, NULL);
    gint64 took = MAX(g_get_monotonic_time() - start, 1);
    k->batch_files = (guint) CLAMP(files * wanted / took, 1, 2 * (gint64) files + 1);
    k->batch_files = MIN(k->batch_files, APPLY_BATCH_FILES);
}

/* ---- in turns ---- */

/* When the next step of apply is due, on the monotonic clock; G_MAXINT64: nothing waits. */
gint64
keeper_apply_due(Keeper *k)
{
    const Transaction *oldest = pending_oldest_but(k->store.pending, k->held);
    gint64 due = G_MAXINT64;
    GHashTableIter iter;
    gpointer value;

    if (oldest && oldest->first_seq <= k->drain_through)
        return 0;
    if (oldest)
        due = MIN(k->last_append_usec + IDLE_USEC, k->first_pending_usec + LATEST_USEC);
    g_hash_table_iter_init(&iter, k->held);
    while (g_hash_table_iter_next(&iter, NULL, &value)) {
        const Hold *hold = value;
        if (hold->delay_usec > 0 && hold->readers == 0)
            due = MIN(due, hold->next_usec);
    }
    return due;
}

void
keeper_apply_if_due(Keeper *k, gint64 now)
{
    if (keeper_apply_due(k) > now)
        return;
    const char *stuck = stuck_due(k, now);
    if (stuck) { /* seldom enough to come first */
        (void) keeper_apply(k, stuck, NULL);
        return;
    }
    /* What waits now is applied whatever comes meanwhile, with the socket looked at in between. */
    const Transaction *oldest = pending_oldest_but(k->store.pending, k->held);
    if (oldest->first_seq > k->drain_through)
        k->drain_through = journal_last_seq(k->store.journal);
    apply_in_turn(k);
}
