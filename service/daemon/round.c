/* round.c - asking several stores the same, one at a time
 *
 * One at a time, since these questions make a keeper read or write much (verify, prune, forget): a
 * disk is not made to seek between them, and what is asked for in between is served. Rows and stores
 * may go meanwhile, so that both are known by their names only.
 */

#include "config.h"

#include "base/error.h"
#include "daemon/round.h"

struct Round {
    Manager *manager;
    const RoundFuncs *funcs;
    gpointer data;
    GQueue parts; /* of RoundPart, to come */
    RoundPart *part;
    Store *store; /* while it is asked */
    guint64 job;
    gboolean asking, again;
};

static void
part_free(RoundPart *part)
{
    if (!part)
        return;
    g_free(part->path);
    g_free(part->store);
    g_free(part);
}

Round *
round_new(Manager *m, const RoundFuncs *funcs, gpointer data)
{
    Round *r = g_new0(Round, 1);

    r->manager = m;
    r->funcs = funcs;
    r->data = data;
    g_queue_init(&r->parts);
    return r;
}

static void
round_free(Round *r)
{
    part_free(r->part);
    g_queue_clear_full(&r->parts, (GDestroyNotify) part_free);
    g_free(r);
}

void
round_add(Round *r, const char *path, const char *store)
{
    RoundPart *part = g_new0(RoundPart, 1);

    part->path = g_strdup(path);
    part->store = g_strdup(store);
    g_queue_push_tail(&r->parts, part);
}

void
round_add_entry(Round *r, const Entry *e, const char *store, gboolean absent_too)
{
    for (guint i = 0; i < e->targets->len; i++) {
        const Target *t = e->targets->pdata[i];
        if (store[0] ? g_str_equal(store, store_name(t->store))
                     : absent_too || store_is_ready(t->store))
            round_add(r, e->row->path, store_name(t->store));
    }
}

guint
round_count(const Round *r)
{
    return r->parts.length;
}

static void
on_answer(G_GNUC_UNUSED Store *store, Message *m, const GError *failure, gpointer data)
{
    Round *r = data;
    g_autoptr(GError) error = failure ? g_error_copy(failure) : NULL;

    r->job = 0;
    r->store = NULL;
    if (m) {
        g_autoptr(GVariant) outcome = g_variant_get_child_value(m->body, 1);
        if (!message_error_check(outcome, NULL, &error))
            m = NULL;
    }
    if (r->funcs->answered(r->part, m, error, r->data))
        round_go_on(r);
}

/* FALSE: there was none. */
static gboolean
ask_next(Round *r)
{
    g_autoptr(GError) error = NULL;

    g_clear_pointer(&r->part, part_free);
    r->part = g_queue_pop_head(&r->parts);
    if (!r->part)
        return FALSE;
    Store *store = stores_find(manager_stores(r->manager), r->part->store);
    if (!store || !store_is_ready(store)) {
        throw_error(&error, FILEDUP_ERROR_AGAIN, "store \"%s\" is %s%s%s", r->part->store,
                    store ? store_state_name(store) : "not there any more",
                    store && store_note(store)[0] ? ": " : "", store ? store_note(store) : "");
        on_answer(store, NULL, error, r);
        return TRUE;
    }
    r->store = store;
    r->job = store_next_job();
    store_request(store, r->job, r->funcs->type, r->funcs->ask(r->job, r->part, r->data), NULL, 0,
                  on_answer, r);
    return TRUE;
}

void
round_go_on(Round *r)
{
    gboolean more;

    if (r->asking) { /* answered at once: the loop below goes on, or the stack would grow */
        r->again = TRUE;
        return;
    }
    r->asking = TRUE;
    do {
        r->again = FALSE;
        more = ask_next(r);
    } while (more && r->again);
    r->asking = FALSE;
    if (more)
        return;
    r->funcs->done(r->data);
    round_free(r);
}

void
round_cancel(Round *r)
{
    if (!r)
        return;
    if (r->job)
        store_cancel(r->store, r->job);
    round_free(r);
}
