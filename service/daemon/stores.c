/* stores.c - keepers as the parent sees them: opening, requests, absence
 *
 * A store that is not there is looked for again every ABSENT_RETRY_SEC and whenever a mount changes;
 * nothing is written until its uuid has been seen.
 *
 * A keeper that has requests and says nothing for ANSWER_SEC hangs and is replaced; what takes long
 * there is told of by KEEPER_PROGRESS.
 */

#include "config.h"

#include <errno.h>
#include <string.h>

#include "base/error.h"
#include "daemon/link.h"
#include "daemon/stores.h"

#define ABSENT_RETRY_SEC 10
#define BACKOFF_MSEC     200
#define ANSWER_SEC       120 /* a keeper that says nothing for so long hangs */

typedef struct Request {
    StoreAnswer func;
    gpointer data;
} Request;

struct Store {
    Stores *stores;
    char *name, *path, *uuid;
    gboolean create;

    StoreState state;
    char *note;
    gboolean damaged, full, refused;
    gint64 seen_usec;
    StoreUsage usage;
    guint64 limit_bytes;
    Link *link;
    GHashTable *requests; /* job -> Request */
    guint retry_source, backoff_msec;
    guint answer_timer; /* runs while requests wait for an answer */
};

struct Stores {
    gboolean system, stopping;
    StoresFunc func;
    gpointer data;
    GList *list;
};

static void start(Store *store);

static gboolean
on_retry(gpointer data)
{
    Store *store = data;

    store->retry_source = 0;
    start(store);
    return G_SOURCE_REMOVE;
}

static void
set_state(Store *store, StoreState state, const char *note)
{
    gboolean told = store->state == state && g_strcmp0(store->note, note) == 0;

    store->state = state;
    g_free(store->note);
    store->note = g_strdup(note ? note : "");
    if (!told && state == STORE_READY)
        g_message("store \"%s\" is ready at '%s'", store->name, store->path);
    else if (!told && state != STORE_OPENING)
        g_warning("store \"%s\": %s; files wait for it", store->name, store->note);
    if (!told)
        store->stores->func(store, store->stores->data);
}

/* An answer may make another one unwanted: each is looked for when its turn comes. What is asked for
 * meanwhile is not failed here. */
static void
fail_requests(Store *store)
{
    g_autofree guint64 *jobs = g_new(guint64, g_hash_table_size(store->requests) + 1);
    g_autoptr(GError) error = NULL;
    GHashTableIter iter;
    gpointer key;
    guint n = 0;

    throw_error(&error, FILEDUP_ERROR_AGAIN, "store \"%s\" is not available%s%s", store->name,
                store->note && store->note[0] ? ": " : "", store->note ? store->note : "");
    g_hash_table_iter_init(&iter, store->requests);
    while (g_hash_table_iter_next(&iter, &key, NULL))
        jobs[n++] = *(const guint64 *) key;
    for (guint i = 0; i < n; i++) {
        g_autofree gpointer owned = NULL;
        g_autofree Request *r = NULL;
        if (g_hash_table_steal_extended(store->requests, &jobs[i], &owned, (gpointer *) &r))
            r->func(store, NULL, error, r->data);
    }
}

static void
on_opened(Store *store, Message *m)
{
    g_autoptr(GVariant) failure = NULL;
    g_autoptr(GError) error = NULL;
    const char *uuid, *note;
    guint64 applied;
    int errnum;

    g_variant_get(m->body, "(@" MESSAGE_ERROR_TYPE "&stb&s)", &failure, &uuid, &applied,
                  &store->damaged, &note);
    if (!message_error_check(failure, &errnum, &error)) {
        store->refused = TRUE; /* no quick restart: it has said why */
        set_state(store,
                  errnum == ENOENT  ? STORE_ABSENT
                  : errnum == EROFS ? STORE_READ_ONLY
                  : errnum == EBUSY ? STORE_BUSY
                                    : STORE_FAILED,
                  error->message);
        return;
    }
    if (note[0])
        g_message("store \"%s\": %s", store->name, note);
    for (GList *l = store->stores->list; l; l = l->next) {
        Store *other = l->data;
        if (other != store && other->state == STORE_READY && g_str_equal(other->uuid, uuid)) {
            g_autofree char *text = g_strdup_printf(
                "it has the uuid of store \"%s\" (%s): a copy of a store is not used beside it",
                other->name, other->path);
            store->refused = TRUE;
            set_state(store, STORE_FAILED, text);
            link_kill(store->link);
            return;
        }
    }
    g_free(store->uuid);
    store->uuid = g_strdup(uuid);
    store->create = FALSE;
    store->seen_usec = g_get_real_time();
    store->refused = store->full = FALSE;
    store->backoff_msec = BACKOFF_MSEC;
    store_tell(store, MESSAGE_DAEMON_LIMIT, g_variant_new("(t)", store->limit_bytes));
    set_state(store, STORE_READY, NULL);
}

static void
answer(Store *store, Message *m)
{
    guint64 job;
    g_autofree Request *r = NULL;
    g_autofree gpointer key = NULL;

    g_variant_get_child(m->body, 0, "t", &job);
    if (g_hash_table_steal_extended(store->requests, &job, &key, (gpointer *) &r))
        r->func(store, m, NULL, r->data);
}

static gboolean
on_no_answer(gpointer data)
{
    Store *store = data;

    store->answer_timer = 0;
    set_state(store, STORE_FAILED, "its keeper does not answer: its disk hangs");
    link_kill(store->link);
    fail_requests(store);
    return G_SOURCE_REMOVE;
}

/* Every message starts the time anew. */
static void
watch_answers(Store *store)
{
    if (!store->answer_timer && g_hash_table_size(store->requests) > 0)
        store->answer_timer = g_timeout_add_seconds(ANSWER_SEC, on_no_answer, store);
}

static void
on_link(G_GNUC_UNUSED Link *link, Message *m, gpointer data)
{
    Store *store = data;

    g_clear_handle_id(&store->answer_timer, g_source_remove);
    if (!m) {
        if (store->state == STORE_READY)
            set_state(store, STORE_OPENING, "its keeper is being restarted");
        fail_requests(store);
        if (!store->stores->stopping && !store->retry_source) {
            if (store->refused) {
                store->retry_source = g_timeout_add_seconds(ABSENT_RETRY_SEC, on_retry, store);
            } else {
                store->retry_source = g_timeout_add(store->backoff_msec, on_retry, store);
                store->backoff_msec = MIN(store->backoff_msec * 2, ABSENT_RETRY_SEC * 1000);
                if (store->backoff_msec >= 2000 && store->state == STORE_OPENING)
                    set_state(store, STORE_FAILED, "its keeper ends again and again; see the log");
            }
        }
        return;
    }
    switch (m->type) {
    case MESSAGE_KEEPER_OPENED:
        on_opened(store, m);
        break;
    case MESSAGE_KEEPER_SPACE:
        g_variant_get(m->body, "(ttttttt)", &store->usage.free_bytes, &store->usage.size_bytes,
                      &store->usage.journal_bytes, &store->usage.files, &store->usage.mirror_bytes,
                      &store->usage.history_bytes, &store->usage.points);
        store->seen_usec = g_get_real_time();
        break;
    case MESSAGE_KEEPER_PROGRESS: /* it lives: the time has started anew above */
        break;
    case MESSAGE_KEEPER_FOUND:
    case MESSAGE_KEEPER_SUMS:
    case MESSAGE_KEEPER_PRUNED:
    case MESSAGE_KEEPER_FORGOTTEN:
    case MESSAGE_KEEPER_VERIFIED:
    case MESSAGE_KEEPER_STAGED:
    case MESSAGE_KEEPER_DURABLE:
    case MESSAGE_KEEPER_CONTENT:
    case MESSAGE_KEEPER_POINTS:
        answer(store, m);
        break;
    default:
        g_warning("store \"%s\": its keeper said %s; it is restarted", store->name,
                  message_name(m->type));
        link_kill(store->link);
    }
    watch_answers(store);
}

static void
start(Store *store)
{
    RoleArgs args = {.kind = ROLE_KEEPER,
                     .store_path = store->path,
                     .store_uuid = store->uuid,
                     .store_create = store->create,
                     .system = store->stores->system};

    g_clear_handle_id(&store->retry_source, g_source_remove);
    link_free(store->link);
    store->link = link_new(&args, FALSE, on_link, store);
    store->refused = FALSE;
    if (store->state != STORE_ABSENT && store->state != STORE_BUSY)
        store->state = STORE_OPENING;
    link_start(store->link);
    if (!link_is_running(store->link))
        store->retry_source = g_timeout_add_seconds(1, on_retry, store);
}

static void
store_free(Store *store)
{
    g_clear_handle_id(&store->answer_timer, g_source_remove);
    g_clear_handle_id(&store->retry_source, g_source_remove);
    link_free(store->link);
    g_hash_table_unref(store->requests);
    g_free(store->name);
    g_free(store->path);
    g_free(store->uuid);
    g_free(store->note);
    g_free(store);
}

Stores *
stores_new(gboolean system, StoresFunc func, gpointer data)
{
    Stores *s = g_new0(Stores, 1);

    s->system = system;
    s->func = func;
    s->data = data;
    return s;
}

void
stores_free(Stores *s)
{
    if (!s)
        return;
    g_list_free_full(s->list, (GDestroyNotify) store_free);
    g_free(s);
}

static gint
compare_names(gconstpointer a, gconstpointer b)
{
    return strcmp(((const Store *) a)->name, ((const Store *) b)->name);
}

Store *
stores_add(Stores *s, const char *name, const char *path, const char *uuid, gboolean create)
{
    Store *store = g_new0(Store, 1);

    store->stores = s;
    store->name = g_strdup(name);
    store->path = g_strdup(path);
    store->uuid = g_strdup(uuid);
    store->note = g_strdup("");
    store->backoff_msec = BACKOFF_MSEC;
    store->create = create;
    store->requests = g_hash_table_new_full(g_int64_hash, g_int64_equal, g_free, g_free);
    s->list = g_list_insert_sorted(s->list, store, compare_names);
    start(store);
    return store;
}

void
stores_remove(Stores *s, Store *store)
{
    s->list = g_list_remove(s->list, store);
    fail_requests(store); /* of calls; what rows had asked, they have forgotten */
    store_free(store);
}

Store *
stores_find(Stores *s, const char *name)
{
    for (GList *l = s->list; l; l = l->next)
        if (g_str_equal(((Store *) l->data)->name, name))
            return l->data;
    return NULL;
}

GList *
stores_list(Stores *s)
{
    return s->list;
}

void
stores_retry_absent(Stores *s)
{
    for (GList *l = s->list; l; l = l->next) {
        Store *store = l->data;
        if (store->retry_source && !link_pid(store->link))
            start(store);
    }
}

void
stores_stop(Stores *s)
{
    s->stopping = TRUE;
    for (GList *l = s->list; l; l = l->next) {
        Store *store = l->data;
        g_clear_handle_id(&store->retry_source, g_source_remove);
        link_stop(store->link);
    }
}

gboolean
stores_are_stopped(Stores *s)
{
    for (GList *l = s->list; l; l = l->next)
        if (link_pid(((Store *) l->data)->link))
            return FALSE;
    return TRUE;
}

const char *
store_name(const Store *store)
{
    return store->name;
}

const char *
store_path(const Store *store)
{
    return store->path;
}

const char *
store_uuid(const Store *store)
{
    return store->uuid;
}

StoreState
store_state(const Store *store)
{
    return store->state;
}

const char *
store_state_name(const Store *store)
{
    static const char *const names[] = {
        [STORE_OPENING] = "opening",     [STORE_READY] = "ready", [STORE_ABSENT] = "absent",
        [STORE_READ_ONLY] = "read-only", [STORE_BUSY] = "busy",   [STORE_FAILED] = "failed",
    };

    return store->state == STORE_READY && store->full ? "full" : names[store->state];
}

const char *
store_note(const Store *store)
{
    return store->note;
}

gboolean
store_is_ready(const Store *store)
{
    return store->state == STORE_READY;
}

gboolean
store_was_damaged(const Store *store)
{
    return store->damaged;
}

gboolean
store_is_created(const Store *store)
{
    return !store->create;
}

gint64
store_seen_usec(const Store *store)
{
    return store->seen_usec;
}

const StoreUsage *
store_usage(const Store *store)
{
    return &store->usage;
}

void
store_set_limit(Store *store, guint64 bytes)
{
    if (store->limit_bytes == bytes)
        return;
    store->limit_bytes = bytes;
    if (store_is_ready(store))
        store_tell(store, MESSAGE_DAEMON_LIMIT, g_variant_new("(t)", bytes));
}

guint64
store_limit(const Store *store)
{
    return store->limit_bytes;
}

void
store_set_full(Store *store, gboolean full)
{
    store->full = full;
}

guint64
store_next_job(void)
{
    static guint64 last;

    return ++last;
}

void
store_request(Store *store, guint64 job, MessageType type, GVariant *body, const int *fds,
              guint n_fds, StoreAnswer func, gpointer data)
{
    Request *r = g_new0(Request, 1);

    r->func = func;
    r->data = data;
    g_hash_table_insert(store->requests, g_memdup2(&job, sizeof job), r);
    if (link_send(store->link, type, body, fds, n_fds)) {
        watch_answers(store);
        return;
    }
    g_autoptr(GError) error = NULL;
    throw_error(&error, FILEDUP_ERROR_AGAIN, "store \"%s\" is not available: %s", store->name,
                store->note);
    g_hash_table_remove(store->requests, &job);
    func(store, NULL, error, data);
}

void
store_forget(Store *store, guint64 job)
{
    g_hash_table_remove(store->requests, &job);
}

void
store_cancel(Store *store, guint64 job)
{
    if (g_hash_table_remove(store->requests, &job))
        store_tell(store, MESSAGE_DAEMON_CANCEL, g_variant_new("(t)", job));
}

void
store_tell(Store *store, MessageType type, GVariant *body)
{
    (void) link_send(store->link, type, body, NULL, 0);
}
