/* watcher.c - the watcher: from paths to events
 *
 * PURPOSE     tells the parent when an entry may have changed, by inotify; what changed, and
 * whether anything did, is a copier's to find out. PRIVILEGES  those of one principal: it watches
 * what that user may read. There is one watcher per principal and source device, since even adding
 * a watch blocks on a hung mount; the parent kills it then. Its descriptors: the channel, inotify,
 * the table of mounts.
 *
 * One turn: read what inotify has, resolve the paths that it puts in doubt, send what is to be
 * said. A drain is a turn that reads everything that had happened before, then answers. While the
 * parent is slow to read, inotify is not read: the kernel's queue merges events, and its overflow
 * is one message.
 */

#include "config.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <string.h>

#include "base/error.h"
#include "base/fd.h"
#include "base/path.h"
#include "base/principal.h"
#include "base/role.h"
#include "feed/folders.h"
#include "feed/inotify.h"
#include "feed/watch.h"

#define RETRY_USEC    (30 * G_USEC_PER_SEC)
#define TURN_EVENTS   4096
#define TURN_MESSAGES 256

typedef struct Watcher {
    Channel *channel;
    Folders *folders;
    GHashTable *watches; /* &entry -> Watch */
    int mounts_fd;
    gint64 retry_at;   /* 0: nothing to retry */
    gboolean overflow; /* to be sent */
    gboolean stop;
} Watcher;

static void
watch_destroy(gpointer watch)
{
    watch_free(watch);
}

static gboolean
watcher_send(Watcher *r, MessageType type, GVariant *body)
{
    g_autoptr(GError) error = NULL;

    if (channel_send(r->channel, type, body, NULL, 0, &error))
        return TRUE;
    g_debug("watcher: %s", error->message);
    r->stop = TRUE; /* the parent is gone */
    return FALSE;
}

static void
send_watch(Watcher *r, Watch *w)
{
    int errnum;
    guint64 needed;
    WatchState state = folders_state(r->folders, w, &errnum, &needed);

    if (watch_set_state(w, state, errnum, needed))
        watcher_send(r, MESSAGE_WATCHER_STATE,
                     g_variant_new("(tuit)", w->entry, state, errnum, needed));
    if (w->changes)
        watcher_send(r, MESSAGE_WATCHER_CHANGE, g_variant_new("(tu)", w->entry, w->changes));
    w->changes = 0;
}

static void
retry(Watcher *r)
{
    (void) inotify_open();
    folders_refresh(r->folders);
    r->retry_at = 0;
}

static void
settle_and_send(Watcher *r)
{
    Watch *w;

    if (r->retry_at != 0 && g_get_monotonic_time() >= r->retry_at)
        retry(r);
    folders_settle(r->folders);
    if (r->overflow)
        watcher_send(r, MESSAGE_WATCHER_OVERFLOW, g_variant_new("()"));
    r->overflow = FALSE;
    while ((w = folders_take(r->folders)))
        send_watch(r, w);

    if (folders_failing(r->folders) == 0)
        r->retry_at = 0;
    else if (r->retry_at == 0)
        r->retry_at = g_get_monotonic_time() + RETRY_USEC;
}

/* Until nothing is left, or `max_bytes` of events have been read. */
static void
read_events(Watcher *r, gsize max_bytes)
{
    const struct inotify_event *event;
    gsize n = 0;

    while (n < max_bytes && (event = inotify_next())) {
        n += sizeof *event + event->len;
        if (event->mask & IN_Q_OVERFLOW) {
            r->overflow = TRUE;
            folders_refresh(r->folders);
        } else {
            folders_event(r->folders, event);
        }
    }
}

static void
serve_watch(Watcher *r, GVariant *body)
{
    guint64 entry;
    guint32 flags;
    g_autoptr(GVariant) folder_bytes = NULL, name_bytes = NULL;

    g_variant_get(body, "(t@ay@ayu)", &entry, &folder_bytes, &name_bytes, &flags);
    const char *folder = path_from_variant(folder_bytes), *name = path_from_variant(name_bytes);
    if (!folder || !name || !path_is_canonical(folder) || !name[0] || strchr(name, '/')) {
        g_warning("watcher: entry %" G_GUINT64_FORMAT " has a malformed path; not watched", entry);
        return;
    }

    g_autofree char *path = path_join(folder, name);
    Watch *w = g_hash_table_lookup(r->watches, &entry);
    if (w && g_str_equal(w->path, path)) {
        folders_set_flags(w, flags);
        folders_resolve(r->folders, w);
        return;
    }
    if (w) {
        folders_remove(r->folders, w);
        g_hash_table_remove(r->watches, &entry);
    }
    w = watch_new(entry, folder, name, flags);
    g_hash_table_insert(r->watches, &w->entry, w);
    folders_add(r->folders, w);
}

static void
serve_unwatch(Watcher *r, GVariant *body)
{
    guint64 entry;

    g_variant_get(body, "(t)", &entry);
    Watch *w = g_hash_table_lookup(r->watches, &entry);
    if (!w)
        return;
    folders_remove(r->folders, w);
    g_hash_table_remove(r->watches, &entry);
    if (folders_failing(r->folders) > 0)
        r->retry_at = g_get_monotonic_time(); /* there may be room now */
}

static void
serve_drain(Watcher *r, GVariant *body)
{
    guint64 number;

    g_variant_get(body, "(t)", &number);
    read_events(r, inotify_waiting_bytes());
    settle_and_send(r);
    watcher_send(r, MESSAGE_WATCHER_DRAINED, g_variant_new("(t)", number));
}

static void
serve(Watcher *r, Message *m)
{
    switch (m->type) {
    case MESSAGE_DAEMON_WATCH:
        serve_watch(r, m->body);
        break;
    case MESSAGE_DAEMON_UNWATCH:
        serve_unwatch(r, m->body);
        break;
    case MESSAGE_DAEMON_DRAIN:
        serve_drain(r, m->body);
        break;
    case MESSAGE_DAEMON_STOP:
        r->stop = TRUE;
        break;
    default:
        g_warning("watcher: %s is not for a watcher; stopping", message_name(m->type));
        r->stop = TRUE;
    }
}

static void
serve_messages(Watcher *r)
{
    for (int i = 0; i < TURN_MESSAGES && !r->stop; i++) {
        g_autoptr(GError) error = NULL;
        g_autoptr(Message) m = channel_receive(r->channel, &error);
        if (error) {
            g_debug("watcher: %s", error->message);
            r->stop = TRUE;
        }
        if (!m)
            return;
        serve(r, m);
    }
}

static int
poll_timeout(Watcher *r)
{
    if (r->retry_at == 0)
        return -1;
    gint64 left = r->retry_at - g_get_monotonic_time();
    return left <= 0 ? 0 : (int) ((left + 999) / 1000);
}

static void
turn(Watcher *r)
{
    enum { CHANNEL, MOUNTS, INOTIFY };
    gboolean queue = channel_has_queue(r->channel);
    struct pollfd p[] = {
        [CHANNEL] = {channel_fd(r->channel), (short) (POLLIN | (queue ? POLLOUT : 0)), 0},
        [MOUNTS] = {r->mounts_fd, POLLPRI, 0},
        [INOTIFY] = {queue ? -1 : inotify_descriptor(), POLLIN, 0},
    };

    if (poll(p, G_N_ELEMENTS(p), poll_timeout(r)) < 0)
        return; /* EINTR, or no memory: again */
    if (queue && !channel_flush(r->channel, NULL))
        r->stop = TRUE;
    if (p[INOTIFY].revents)
        read_events(r, TURN_EVENTS * sizeof(struct inotify_event));
    if (p[MOUNTS].revents)
        folders_refresh(r->folders);
    if (p[CHANNEL].revents & (POLLIN | POLLHUP | POLLERR))
        serve_messages(r);
    settle_and_send(r);
}

static void
watcher_clear(Watcher *r)
{
    GHashTableIter iter;
    gpointer w;

    g_hash_table_iter_init(&iter, r->watches);
    while (g_hash_table_iter_next(&iter, NULL, &w))
        folders_remove(r->folders, w);
    g_hash_table_unref(r->watches);
    folders_free(r->folders);
    inotify_close();
    fd_clear(r->mounts_fd);
    channel_free(r->channel);
}

int
watcher_main(const RoleArgs *args, Channel *channel)
{
    g_autoptr(GError) error = NULL;
    Watcher r = {.channel = channel};

    if (!principal_become(args->principal, &error)) {
        g_warning("watcher: %s", error->message);
        channel_free(channel);
        return 1;
    }
    role_tie_to_parent(); /* the switch of user cut the tie */
    if (!inotify_open())
        g_warning("watcher: inotify: %s (fs.inotify.max_user_instances?); files are scanned, and "
                  "it is tried again every 30 s",
                  g_strerror(errno));
    r.mounts_fd = open("/proc/self/mountinfo", O_RDONLY | O_CLOEXEC);
    if (r.mounts_fd < 0)
        g_warning("watcher: /proc/self/mountinfo: %s; new mounts go unnoticed", g_strerror(errno));
    r.folders = folders_new();
    r.watches = g_hash_table_new_full(g_int64_hash, g_int64_equal, NULL, watch_destroy);

    watcher_send(&r, MESSAGE_ROLE_READY, g_variant_new("()"));
    while (!r.stop)
        turn(&r);
    (void) channel_flush(channel, NULL);
    watcher_clear(&r);
    return 0;
}
