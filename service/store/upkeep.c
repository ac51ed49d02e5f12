/* upkeep.c - what a keeper gives up: by policy, for space, on request
 *
 * Thinning gives up points (thin.h): only rows of the catalog change. Compaction then gives back the
 * space (compact.h). Forgetting does both for what must really go, journal included (forget.h). All of
 * it is done in turns of some milliseconds, between two looks at the channel.
 *
 * BY ITSELF   A pass of thinning over all files once an hour, then compaction. Down to the limit of
 *             the store, if it has one, whenever it is exceeded.
 * FOR SPACE   space.c
 * REQUESTS    request.c
 *
 * INVARIANTS
 *  (1) Nothing is thinned of which something is pending: it is applied first.
 *  (2) While somebody reads, nothing is compacted but what a request or a full store asks for; then
 *      the reader begins anew (keeper.c, invariant 5).
 *  (3) An error of the catalog or the packs fails the keeper. Without space (AGAIN) nothing was
 *      changed, and it is tried again later.
 */

#include "config.h"

#include "base/error.h"
#include "base/path.h"
#include "store/upkeep.h"

#define FIRST_USEC (60 * G_USEC_PER_SEC)                      /* after the start */
#define PASS_USEC  (G_GINT64_CONSTANT(3600) * G_USEC_PER_SEC) /* between two passes */
#define TURN_USEC  5000 /* between two turns of what goes on by itself */
#define RETRY_USEC (2 * G_USEC_PER_SEC)

Upkeep *
upkeep_new(void)
{
    Upkeep *u = g_new0(Upkeep, 1);

    g_queue_init(&u->requests);
    u->next_usec = g_get_monotonic_time() + FIRST_USEC;
    u->used_stale = TRUE;
    return u;
}

void
upkeep_free(Upkeep *u)
{
    if (!u)
        return;
    g_queue_clear_full(&u->requests, (GDestroyNotify) request_free);
    g_clear_pointer(&u->forgetting, forget_free);
    g_free(u);
}

gboolean
upkeep_open(Keeper *k, GError **error)
{
    g_autoptr(GError) local = NULL;

    if (thin_sweep(&k->store, &local))
        k->upkeep->forgetting = forget_resume(&k->store, &local);
    if (!local)
        return TRUE;
    if (g_error_matches(local, FILEDUP_ERROR, FILEDUP_ERROR_FATAL)) {
        g_propagate_error(error, g_steal_pointer(&local));
        return FALSE;
    }
    g_warning("keeper of '%s': %s: what was to be removed stays for now", k->store.layout->path,
              local->message);
    return TRUE;
}

/* FALSE, and the keeper has failed, if it is an error of that kind (invariant 3). */
gboolean
upkeep_bearable(Keeper *k, const GError *error)
{
    if (!g_error_matches(error, FILEDUP_ERROR, FILEDUP_ERROR_FATAL))
        return TRUE;
    keeper_fail(k, error);
    return FALSE;
}

gboolean
upkeep_now(Keeper *k, RetentionNow *ret_now)
{
    g_autoptr(GError) error = NULL;
    CatalogState state;

    if (!catalog_state(k->store.catalog, &state, &error)) {
        keeper_fail(k, error);
        return FALSE;
    }
    *ret_now = retention_now(&k->upkeep->clock, MAX(state.last_time_usec, k->last_time_usec),
                             state.boot_usec);
    return TRUE;
}

void
upkeep_changed(Keeper *k)
{
    k->upkeep->used_stale = TRUE;
}

void
upkeep_thinned(Keeper *k)
{
    upkeep_changed(k);
    g_hash_table_remove_all(k->heads);
}

/* ---- by itself ---- */

static void
pass_turn(Keeper *k)
{
    g_autoptr(GError) error = NULL;
    Upkeep *u = k->upkeep;
    gboolean more = FALSE;

    u->next_usec = g_get_monotonic_time() + TURN_USEC;
    if (!u->in_pass && !u->compacting) {
        u->pass = (Thinning){0};
        if (!upkeep_now(k, &u->pass.now))
            return;
        u->in_pass = TRUE;
    }
    if (u->in_pass) {
        guint64 before = u->pass.n_points;
        u->in_pass = thin_step(&k->store, &u->pass, &more, &error) && more;
        if (u->pass.n_points > before)
            upkeep_thinned(k);
        if (error && !upkeep_bearable(k, error))
            return;
        u->compacting = !u->in_pass;
        return;
    }
    if (worker_count(k->worker) > 0) { /* invariant 2 */
        u->next_usec = g_get_monotonic_time() + RETRY_USEC;
        return;
    }
    if (space_compact(k) || (space_over_limit(k) > 0 && space_down_to_limit(k)))
        return;
    u->compacting = FALSE;
    u->next_usec = g_get_monotonic_time() + PASS_USEC;
}

gint64
upkeep_due(const Keeper *k)
{
    const Upkeep *u = k->upkeep;
    gint64 due = u->next_usec;

    if (u->forgetting)
        due = MIN(due, u->forgetting_usec);
    return u->requests.length > 0 ? MIN(due, u->request_usec) : due;
}

void
upkeep_turn(Keeper *k)
{
    Upkeep *u = k->upkeep;
    gint64 now = g_get_monotonic_time();

    if (!keeper_commit(k))
        return;
    if (u->forgetting && u->forgetting_usec <= now)
        request_forgetting_turn(k);
    else if (u->requests.length > 0 && u->request_usec <= now)
        request_turn(k);
    else if (u->next_usec <= now)
        pass_turn(k);
}

/* ---- messages ---- */

void
upkeep_policy(Keeper *k, GVariant *body)
{
    g_autoptr(GVariant) bytes = NULL;
    g_autoptr(GError) error = NULL;
    Retention retention;
    const char *keep;
    guint32 last;

    g_variant_get(body, "(@ay&su)", &bytes, &keep, &last);
    const char *path = path_from_variant(bytes);
    if (!path)
        return;
    if (!retention_parse(keep, last, &retention, &error)) {
        g_warning("keeper of '%s': %s: nothing is thinned by it", k->store.layout->path,
                  error->message);
        return;
    }
    catalog_set_policy(k->store.catalog, path, keep, last);
    k->upkeep->short_usec = k->upkeep->thinned_usec = 0; /* it may give up more */
}
