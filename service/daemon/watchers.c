/* watchers.c - watcher processes as the parent sees them
 *
 * A watcher that dies is started again and told all its entries; each of them answers with a state,
 * after which the file is compared: so no event is missed for longer than the back-off. One that does
 * not answer a drain within DRAIN_SEC hangs (adding a watch on a dead mount blocks) and is killed.
 */

#include "config.h"

#include <string.h>

#include "base/path.h"
#include "daemon/link.h"
#include "daemon/watchers.h"

#define DRAIN_SEC 10

typedef struct Watched {
    guint64 entry;
    char *folder, *name;
    guint flags;
    struct Watcher *watcher;
} Watched;

typedef struct Drain {
    guint64 number;
    DrainFunc func;
    gpointer data;
} Drain;

typedef struct Watcher {
    Watchers *all;
    uid_t principal;
    guint64 device;
    Link *link;
    gboolean ready;
    GQueue drains; /* of Drain, in order */
    guint drain_timer;
} Watcher;

struct Watchers {
    gboolean system;
    WatchersEvents events;
    gpointer data;
    GHashTable *entries; /* id -> Watched */
    GList *watchers;
    guint64 last_drain;
};

static gboolean on_drain_late(gpointer data);

static void
send_watch(Watched *e)
{
    (void) link_send(e->watcher->link, MESSAGE_DAEMON_WATCH,
                     g_variant_new("(t@ay@ayu)", e->entry, path_to_variant(e->folder),
                                   path_to_variant(e->name), e->flags),
                     NULL, 0);
}

static void
answer_drains(Watcher *w, guint64 up_to, gboolean drained)
{
    for (;;) {
        Drain *d = g_queue_peek_head(&w->drains);
        if (!d || d->number > up_to)
            break;
        g_queue_pop_head(&w->drains);
        DrainFunc func = d->func;
        gpointer data = d->data;
        g_free(d);
        if (func)
            func(drained, data);
    }
    g_clear_handle_id(&w->drain_timer, g_source_remove);
    if (!g_queue_is_empty(&w->drains)) /* it answers: the next one's time starts now */
        w->drain_timer = g_timeout_add_seconds(DRAIN_SEC, on_drain_late, w);
}

static void
for_each_entry(Watcher *w, void (*func)(Watched *e))
{
    GHashTableIter iter;
    gpointer value;

    g_hash_table_iter_init(&iter, w->all->entries);
    while (g_hash_table_iter_next(&iter, NULL, &value))
        if (((Watched *) value)->watcher == w)
            func(value);
}

static void
tell_overflow(Watched *e)
{
    e->watcher->all->events.overflow(e->entry, e->watcher->all->data);
}

static void
tell_unwatched(Watched *e)
{
    e->watcher->all->events.state(e->entry, WATCH_NONE, 0, 0, e->watcher->all->data);
}

static void
on_link(G_GNUC_UNUSED Link *link, Message *m, gpointer data)
{
    Watcher *w = data;
    guint64 number, needed;
    guint32 word;
    gint32 errnum;

    if (!m) {
        w->ready = FALSE;
        answer_drains(w, G_MAXUINT64, FALSE);
        for_each_entry(w, tell_unwatched);
        return;
    }
    switch (m->type) {
    case MESSAGE_ROLE_READY:
        w->ready = TRUE;
        for_each_entry(w, send_watch);
        break;
    case MESSAGE_WATCHER_CHANGE:
        g_variant_get(m->body, "(tu)", &number, &word);
        if (g_hash_table_contains(w->all->entries, &number))
            w->all->events.changed(number, word, w->all->data);
        break;
    case MESSAGE_WATCHER_STATE:
        g_variant_get(m->body, "(tuit)", &number, &word, &errnum, &needed);
        link_proved(w->link);
        if (g_hash_table_contains(w->all->entries, &number) && word <= WATCH_SCAN)
            w->all->events.state(number, (WatchState) word, errnum, needed, w->all->data);
        break;
    case MESSAGE_WATCHER_DRAINED:
        g_variant_get(m->body, "(t)", &number);
        answer_drains(w, number, TRUE);
        break;
    case MESSAGE_WATCHER_OVERFLOW:
        g_message("watcher %d lost events; its files are compared anew", (int) link_pid(w->link));
        for_each_entry(w, tell_overflow);
        break;
    default:
        g_warning("watcher %d said %s; it is restarted", (int) link_pid(w->link),
                  message_name(m->type));
        link_kill(w->link);
    }
}

static gboolean
on_drain_late(gpointer data)
{
    Watcher *w = data;

    w->drain_timer = 0;
    g_warning("watcher %d does not answer; it is stopped and started again",
              (int) link_pid(w->link));
    link_kill(w->link);
    answer_drains(w, G_MAXUINT64, FALSE);
    return G_SOURCE_REMOVE;
}

static Watcher *
find_watcher(Watchers *all, uid_t principal, guint64 device)
{
    for (GList *l = all->watchers; l; l = l->next) {
        Watcher *w = l->data;
        if (w->principal == principal && w->device == device)
            return w;
    }
    Watcher *w = g_new0(Watcher, 1);
    RoleArgs args = {.kind = ROLE_WATCHER, .principal = principal, .system = all->system};
    w->all = all;
    w->principal = principal;
    w->device = device;
    g_queue_init(&w->drains);
    w->link = link_new(&args, TRUE, on_link, w);
    all->watchers = g_list_prepend(all->watchers, w);
    link_start(w->link);
    return w;
}

static void
watcher_free(Watcher *w)
{
    g_clear_handle_id(&w->drain_timer, g_source_remove);
    g_queue_clear_full(&w->drains, g_free);
    link_free(w->link);
    g_free(w);
}

/* A watcher that watches nothing any more ends. */
static void
drop_if_unused(Watcher *w)
{
    GHashTableIter iter;
    gpointer value;

    g_hash_table_iter_init(&iter, w->all->entries);
    while (g_hash_table_iter_next(&iter, NULL, &value))
        if (((Watched *) value)->watcher == w)
            return;
    answer_drains(w, G_MAXUINT64, FALSE);
    w->all->watchers = g_list_remove(w->all->watchers, w);
    watcher_free(w);
}

static void
watched_free(Watched *e)
{
    g_free(e->folder);
    g_free(e->name);
    g_free(e);
}

Watchers *
watchers_new(gboolean system, const WatchersEvents *events, gpointer data)
{
    Watchers *w = g_new0(Watchers, 1);

    w->system = system;
    w->events = *events;
    w->data = data;
    w->entries =
        g_hash_table_new_full(g_int64_hash, g_int64_equal, NULL, (GDestroyNotify) watched_free);
    return w;
}

void
watchers_free(Watchers *w)
{
    if (!w)
        return;
    g_list_free_full(w->watchers, (GDestroyNotify) watcher_free);
    g_hash_table_unref(w->entries);
    g_free(w);
}

void
watchers_add(Watchers *all, const Entry *entry)
{
    Watcher *w = find_watcher(all, entry->row->principal, entry->device);
    Watched *old = g_hash_table_lookup(all->entries, &entry->id);

    if (old && old->watcher != w)
        watchers_remove(all, entry->id);
    else if (old) {
        if (w->ready)
            send_watch(old);
        return;
    }
    Watched *e = g_new0(Watched, 1);
    e->entry = entry->id;
    e->folder = g_strdup(entry->folder);
    e->name = g_strdup(entry->name);
    e->flags = entry->row->backup == BACKUP_PER_WRITE ? WATCH_WRITES : 0;
    e->watcher = w;
    g_hash_table_insert(all->entries, &e->entry, e);
    if (w->ready)
        send_watch(e);
}

void
watchers_remove(Watchers *all, guint64 entry)
{
    Watched *e = g_hash_table_lookup(all->entries, &entry);

    if (!e)
        return;
    Watcher *w = e->watcher;
    (void) link_send(w->link, MESSAGE_DAEMON_UNWATCH, g_variant_new("(t)", entry), NULL, 0);
    g_hash_table_remove(all->entries, &entry);
    drop_if_unused(w);
}

void
watchers_drain(Watchers *all, guint64 entry, DrainFunc func, gpointer data)
{
    Watched *e = g_hash_table_lookup(all->entries, &entry);

    if (!e || !e->watcher->ready ||
        !link_send(e->watcher->link, MESSAGE_DAEMON_DRAIN,
                   g_variant_new("(t)", all->last_drain + 1), NULL, 0)) {
        func(FALSE, data);
        return;
    }
    Drain *d = g_new0(Drain, 1);
    d->number = ++all->last_drain;
    d->func = func;
    d->data = data;
    g_queue_push_tail(&e->watcher->drains, d);
    if (!e->watcher->drain_timer)
        e->watcher->drain_timer = g_timeout_add_seconds(DRAIN_SEC, on_drain_late, e->watcher);
}

void
watchers_forget(Watchers *all, gpointer data)
{
    for (GList *l = all->watchers; l; l = l->next)
        for (GList *k = ((Watcher *) l->data)->drains.head; k; k = k->next)
            if (((Drain *) k->data)->data == data)
                ((Drain *) k->data)->func = NULL;
}
