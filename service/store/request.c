/* request.c - pruning and forgetting, when somebody asks
 *
 * Requests are done one after the other, each in turns of some milliseconds, and who asked is told now
 * and then that it is being worked on. What a forgetting has begun goes on whether or not anybody
 * waits for it, also after a crash (forget.h).
 *
 * What is pending is applied first, by the keeper, which knows what comes of it; nothing is thinned or
 * forgotten under a pending transaction.
 */

#include "config.h"

#include "base/error.h"
#include "base/fd.h"
#include "base/path.h"
#include "store/upkeep.h"

#define RETRY_USEC (2 * G_USEC_PER_SEC)
#define WAIT_USEC  50000 /* until a path that somebody reads is looked at again */
#define TELL_USEC  (G_USEC_PER_SEC / 2)

typedef enum { REQUEST_PRUNE, REQUEST_FORGET } RequestKind;

struct Request {
    RequestKind kind;
    guint64 job;
    char *path; /* "": all (prune) */
    gboolean cancelled, begun;
    GError *error;

    /* prune */
    Thinning thinning;
    GVariantBuilder *list; /* PRUNED_TYPE */
    gboolean thinned;

    /* forget */
    guint64 point;
    gboolean current_too;
    guint n_points;
    Forgetting *forgetting;
};

void
request_free(Request *r)
{
    g_free(r->path);
    g_clear_error(&r->error);
    g_clear_pointer(&r->list, g_variant_builder_unref);
    g_clear_pointer(&r->forgetting, forget_free);
    g_free(r);
}

static void
tell_pruned(const FileView *v, const Point *p, const char *why, gpointer data)
{
    Request *r = data;

    g_variant_builder_add(r->list, "(@aytxts)", path_to_variant(v->path), p->id, p->time_usec,
                          p->size_bytes, why ? why : "");
}

static void
answer_prune(Keeper *k, Request *r)
{
    g_autoptr(GVariant) list = g_variant_ref_sink(g_variant_builder_end(r->list));
    g_auto(Fd) fd = -1;

    if (!r->error)
        fd = fd_from_bytes("filedup-pruned", g_variant_get_data(list), g_variant_get_size(list),
                           &r->error);
    keeper_send(k, MESSAGE_KEEPER_PRUNED,
                g_variant_new("(t@" MESSAGE_ERROR_TYPE "tt)", r->job,
                              message_error_new(r->error, 0), r->thinning.n_points,
                              r->thinning.bytes),
                &fd, fd >= 0 ? 1 : 0);
}

static void
answer_forget(Keeper *k, const Request *r)
{
    keeper_send(k, MESSAGE_KEEPER_FORGOTTEN,
                g_variant_new("(t@" MESSAGE_ERROR_TYPE "u)", r->job, message_error_new(r->error, 0),
                              r->n_points),
                NULL, 0);
}

typedef enum { STEP_MORE, STEP_WAIT, STEP_DONE } Step;

/* All that is pending is applied by the keeper, which knows what comes of it. What came in since the
 * last turn fits into a batch or two: so this ends, however much is appended meanwhile. */
static gboolean
apply_all(Keeper *k, gboolean *ret_more)
{
    gboolean ok = !pending_oldest_but(k->store.pending, k->held) || keeper_apply_oldest(k, NULL);

    *ret_more = pending_oldest_but(k->store.pending, k->held) != NULL;
    return ok;
}

static Step
prune_begin(Keeper *k, Request *r)
{
    if (!upkeep_now(k, &r->thinning.now))
        return STEP_DONE;
    r->thinning.told = tell_pruned;
    r->thinning.data = r;
    r->list = g_variant_builder_new(G_VARIANT_TYPE(PRUNED_TYPE));
    r->begun = TRUE;
    return STEP_MORE;
}

static Step
prune_step(Keeper *k, Request *r)
{
    gboolean more = FALSE;

    if (!r->begun)
        return prune_begin(k, r);
    if (r->thinned) /* and given back; the rest of it may take its time */
        return space_compact(k) ? STEP_MORE : STEP_DONE;
    if (*r->path) {
        if (!keeper_apply(k, r->path, &r->error)) /* invariant 1 */
            return STEP_DONE;
        (void) thin_file(&k->store, r->path, &r->thinning, &r->error);
    } else if (r->thinning.after == 0 && apply_all(k, &more) && more) {
        return STEP_MORE;
    } else if (!k->failed) {
        (void) thin_step(&k->store, &r->thinning, &more, &r->error);
    }
    if (r->error || k->failed)
        return STEP_DONE;
    if (!r->thinning.dry_run)
        upkeep_thinned(k);
    if (more)
        return STEP_MORE;
    r->thinned = TRUE;
    return r->thinning.dry_run ? STEP_DONE : STEP_MORE;
}

/* What waits of the file cannot be applied: while it is read, that will pass; if it was given up,
 * nothing waits any more; and who wants a file forgotten that is stuck is told, for it may stay so. */
static Step
forget_not_yet(Keeper *k, Request *r, GError *error)
{
    if (k->failed)
        return STEP_DONE;
    if (!pending_of(k->store.pending, r->path))
        return STEP_MORE;
    if (keeper_is_read(k, r->path))
        return STEP_WAIT;
    r->error = g_error_copy(error);
    g_prefix_error(&r->error, "what waits of it must be applied first: ");
    return STEP_DONE;
}

static Step
forget_first(Keeper *k, Request *r)
{
    g_autoptr(GError) local = NULL;
    Upkeep *u = k->upkeep;

    if (!keeper_apply(k, r->path, &local))
        return forget_not_yet(k, r, local);
    k->changes++;
    g_hash_table_remove(k->heads, r->path);
    loans_end(k->loans, r->path); /* second names of what is to go */
    r->forgetting =
        forget_begin(&k->store, r->path, r->point, r->current_too, &r->n_points, &r->error);
    upkeep_changed(k);
    r->begun = TRUE;
    g_clear_pointer(&u->forgetting,
                    forget_free); /* taken over, or resumed from its list (forget.h) */
    if (r->forgetting)
        return STEP_MORE;
    g_autoptr(GError) resuming = NULL;
    if (upkeep_bearable(k, r->error))
        u->forgetting = forget_resume(&k->store, &resuming);
    if (resuming && upkeep_bearable(k, resuming))
        g_warning("keeper of '%s': %s: what was to be removed stays for now", k->store.layout->path,
                  resuming->message);
    return STEP_DONE;
}

static Step
forget_one_step(Keeper *k, Request *r)
{
    g_autoptr(GError) local = NULL;
    gboolean more = FALSE;

    if (!r->begun)
        return forget_first(k, r);
    if (!apply_all(k, &more))
        return k->failed ? STEP_DONE : STEP_WAIT;
    if (more)
        return STEP_MORE;
    k->changes++;
    if (!forget_step(r->forgetting, &k->store, &more, &local)) {
        if (upkeep_bearable(k, local))
            r->error = g_steal_pointer(&local);
        return STEP_DONE;
    }
    return more ? STEP_MORE : STEP_DONE;
}

static void
request_end(Keeper *k, Request *r)
{
    Upkeep *u = k->upkeep;

    if (!k->failed && r->kind == REQUEST_PRUNE && r->list)
        answer_prune(k, r);
    if (!k->failed && r->kind == REQUEST_FORGET)
        answer_forget(k, r);
    if (r->error && r->forgetting && !u->forgetting) /* it goes on, if not for the one who asked */
        u->forgetting = g_steal_pointer(&r->forgetting);
    (void) g_queue_pop_head(&u->requests);
    request_free(r);
}

void
request_turn(Keeper *k)
{
    Upkeep *u = k->upkeep;
    Request *r = g_queue_peek_head(&u->requests);
    gint64 now = g_get_monotonic_time();
    Step step = STEP_DONE;

    if (r->cancelled && !(r->kind == REQUEST_FORGET && r->begun))
        throw_error(&r->error, FILEDUP_ERROR_AGAIN, "not wanted any more");
    else
        step = r->kind == REQUEST_PRUNE ? prune_step(k, r) : forget_one_step(k, r);
    if (r->error && !upkeep_bearable(k, r->error))
        step = STEP_DONE;
    if (step == STEP_DONE || k->failed) {
        request_end(k, r);
        return;
    }
    u->request_usec = step == STEP_WAIT ? now + WAIT_USEC : now;
    if (step == STEP_WAIT && !r->begun) /* the others need not wait for that file */
        g_queue_push_tail(&u->requests, g_queue_pop_head(&u->requests));
    if (now - u->told_usec < TELL_USEC)
        return;
    u->told_usec = now;
    keeper_send(k, MESSAGE_KEEPER_PROGRESS, g_variant_new("(tt)", r->job, r->thinning.bytes), NULL,
                0);
}

void
request_forgetting_turn(Keeper *k)
{
    g_autoptr(GError) error = NULL;
    Upkeep *u = k->upkeep;
    gboolean more = FALSE;

    u->forgetting_usec = g_get_monotonic_time();
    if (apply_all(k, &more) && more)
        return;
    if (k->failed)
        return;
    k->changes++;
    if (!forget_step(u->forgetting, &k->store, &more, &error)) {
        (void) upkeep_bearable(k, error);
        u->forgetting_usec = g_get_monotonic_time() + RETRY_USEC;
        return;
    }
    upkeep_changed(k);
    if (!more)
        g_clear_pointer(&u->forgetting, forget_free);
}

/* ---- messages ---- */

static void
take_request(Keeper *k, Request *r)
{
    g_queue_push_tail(&k->upkeep->requests, r);
    if (g_queue_get_length(&k->upkeep->requests) == 1)
        k->upkeep->request_usec = 0;
}

void
upkeep_prune(Keeper *k, GVariant *body)
{
    g_autoptr(GVariant) bytes = NULL;
    Request *r = g_new0(Request, 1);
    gboolean dry_run;

    g_variant_get(body, "(t@ayb)", &r->job, &bytes, &dry_run);
    const char *path = path_from_variant(bytes);
    r->kind = REQUEST_PRUNE;
    r->path = g_strdup(path ? path : "");
    r->thinning.dry_run = dry_run;
    take_request(k, r);
}

void
upkeep_forget(Keeper *k, GVariant *body)
{
    g_autoptr(GVariant) bytes = NULL;
    Request *r = g_new0(Request, 1);

    g_variant_get(body, "(t@aytb)", &r->job, &bytes, &r->point, &r->current_too);
    const char *path = path_from_variant(bytes);
    r->kind = REQUEST_FORGET;
    r->path = g_strdup(path ? path : "");
    take_request(k, r);
}

void
upkeep_cancel(Keeper *k, guint64 job)
{
    for (GList *l = k->upkeep->requests.head; l; l = l->next)
        if (((Request *) l->data)->job == job)
            ((Request *) l->data)->cancelled = TRUE;
}
