/* control.c - peer-to-peer D-Bus on a socket of our own: no bus needed
 *
 * The caller's uid is taken from the socket (SO_PEERCRED), not from what the peer says; the D-Bus
 * handshake must be EXTERNAL and end within AUTH_SEC. One uid has at most CONNECTIONS_PER_UID.
 */

#include "config.h"

#include <errno.h>
#include <gio/gunixsocketaddress.h>
#include <glib/gstdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include "base/error.h"
#include "base/fd.h"
#include "daemon/control.h"
#include "daemon/methods.h"

#define OBJECT_PATH         "/org/filedup/Manager1"
#define AUTH_SEC            5
#define CONNECTIONS_PER_UID 16

typedef struct Peer {
    Control *control;
    uid_t uid;
    GDBusConnection *connection; /* NULL while it authenticates */
    GCancellable *cancellable;
    guint timer;
    gboolean subscribed;
} Peer;

struct Control {
    Manager *manager;
    char *path;
    char *guid;
    GSocketService *service;
    FiledupManager1 *skeleton;
    Methods *methods;
    GList *peers;
};

uid_t
control_caller(GDBusMethodInvocation *invocation)
{
    GDBusConnection *connection = g_dbus_method_invocation_get_connection(invocation);
    Peer *peer = g_object_get_data(G_OBJECT(connection), "peer");

    return peer ? peer->uid : (uid_t) -1;
}

static void
peer_free(Peer *peer)
{
    peer->control->peers = g_list_remove(peer->control->peers, peer);
    g_clear_handle_id(&peer->timer, g_source_remove);
    if (peer->connection) {
        g_object_set_data(G_OBJECT(peer->connection), "peer", NULL);
        g_signal_handlers_disconnect_by_data(peer->connection, peer);
        if (g_dbus_interface_skeleton_has_connection(
                G_DBUS_INTERFACE_SKELETON(peer->control->skeleton), peer->connection))
            g_dbus_interface_skeleton_unexport_from_connection(
                G_DBUS_INTERFACE_SKELETON(peer->control->skeleton), peer->connection);
        g_object_unref(peer->connection);
    }
    g_object_unref(peer->cancellable);
    g_free(peer);
}

static void
on_closed(G_GNUC_UNUSED GDBusConnection *connection, G_GNUC_UNUSED gboolean remote,
          G_GNUC_UNUSED GError *error, gpointer data)
{
    peer_free(data);
}

static gboolean
on_auth_late(gpointer data)
{
    Peer *peer = data;

    peer->timer = 0;
    g_cancellable_cancel(peer->cancellable);
    return G_SOURCE_REMOVE;
}

static void
on_connected(G_GNUC_UNUSED GObject *source, GAsyncResult *result, gpointer data)
{
    Peer *peer = data;
    g_autoptr(GError) error = NULL;
    g_autoptr(GDBusConnection) connection = g_dbus_connection_new_finish(result, &error);

    g_clear_handle_id(&peer->timer, g_source_remove);
    if (!connection) {
        peer_free(peer);
        return;
    }
    g_dbus_connection_set_exit_on_close(connection, FALSE);
    g_object_set_data(G_OBJECT(connection), "peer", peer);
    peer->connection = g_steal_pointer(&connection);
    g_signal_connect(peer->connection, "closed", G_CALLBACK(on_closed), peer);
    if (!g_dbus_interface_skeleton_export(G_DBUS_INTERFACE_SKELETON(peer->control->skeleton),
                                          peer->connection, OBJECT_PATH, &error)) {
        g_warning("control: %s", error->message);
        g_dbus_connection_close(peer->connection, NULL, NULL, NULL);
        return;
    }
    g_dbus_connection_start_message_processing(peer->connection);
}

static gboolean
on_allow_mechanism(G_GNUC_UNUSED GDBusAuthObserver *observer, const gchar *mechanism,
                   G_GNUC_UNUSED gpointer data)
{
    return g_str_equal(mechanism, "EXTERNAL");
}

static gboolean
on_authorize(G_GNUC_UNUSED GDBusAuthObserver *observer, G_GNUC_UNUSED GIOStream *stream,
             GCredentials *credentials, gpointer data)
{
    uid_t expected = GPOINTER_TO_UINT(data);

    return credentials && g_credentials_get_unix_user(credentials, NULL) == expected;
}

static guint
count_peers(Control *c, uid_t uid)
{
    guint n = 0;

    for (GList *l = c->peers; l; l = l->next)
        n += ((Peer *) l->data)->uid == uid;
    return n;
}

static gboolean
on_incoming(G_GNUC_UNUSED GSocketService *service, GSocketConnection *stream,
            G_GNUC_UNUSED GObject *source, gpointer data)
{
    Control *c = data;
    struct ucred cred;
    socklen_t n = sizeof cred;
    int fd = g_socket_get_fd(g_socket_connection_get_socket(stream));
    const Settings *settings = manager_settings(c->manager);

    if (getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &cred, &n) < 0)
        return TRUE;
    if ((!settings->system && cred.uid != getuid() && cred.uid != 0) ||
        count_peers(c, cred.uid) >= CONNECTIONS_PER_UID)
        return TRUE; /* dropped: closed by the last unref */

    Peer *peer = g_new0(Peer, 1);
    peer->control = c;
    peer->uid = cred.uid;
    peer->cancellable = g_cancellable_new();
    peer->timer = g_timeout_add_seconds(AUTH_SEC, on_auth_late, peer);
    c->peers = g_list_prepend(c->peers, peer);
    g_autoptr(GDBusAuthObserver) observer = g_dbus_auth_observer_new();
    g_signal_connect(observer, "allow-mechanism", G_CALLBACK(on_allow_mechanism), NULL);
    g_signal_connect(observer, "authorize-authenticated-peer", G_CALLBACK(on_authorize),
                     GUINT_TO_POINTER(cred.uid));
    g_dbus_connection_new(G_IO_STREAM(stream), c->guid,
                          G_DBUS_CONNECTION_FLAGS_AUTHENTICATION_SERVER |
                              G_DBUS_CONNECTION_FLAGS_DELAY_MESSAGE_PROCESSING,
                          observer, peer->cancellable, on_connected, peer);
    return TRUE;
}

static gboolean
on_subscribe(FiledupManager1 *skeleton, GDBusMethodInvocation *invocation,
             G_GNUC_UNUSED gpointer data)
{
    GDBusConnection *connection = g_dbus_method_invocation_get_connection(invocation);
    Peer *peer = g_object_get_data(G_OBJECT(connection), "peer");

    if (peer)
        peer->subscribed = TRUE;
    filedup_manager1_complete_subscribe(skeleton, invocation);
    return TRUE;
}

/* Signals go only to who asked, and only for rows that they may use. */
void
control_durable(Control *c, Entry *e, Store *store, guint64 sequence, gint64 stamp_usec)
{
    for (GList *l = c ? c->peers : NULL; l; l = l->next) {
        Peer *peer = l->data;
        if (!peer->subscribed || (peer->uid != 0 && peer->uid != e->row->principal))
            continue;
        (void) g_dbus_connection_emit_signal(
            peer->connection, NULL, OBJECT_PATH, "org.filedup.Manager1", "Durable",
            g_variant_new("(@aystx)", g_variant_new_bytestring(e->row->path), store_name(store),
                          sequence, stamp_usec),
            NULL);
    }
}

void
control_settled(Control *c)
{
    if (c)
        methods_settled(c->methods);
}

/* A socket file that nobody answers is left over from a daemon that was killed. */
static gboolean
take_over(const char *path, GError **error)
{
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    g_auto(Fd) fd = -1;

    if (strlen(path) >= sizeof address.sun_path)
        return throw_error(error, FILEDUP_ERROR_REFUSED,
                           "socket '%s': its path has %" G_GSIZE_FORMAT
                           " bytes, at most %" G_GSIZE_FORMAT
                           " are possible; choose a shorter one with 'socket' in "
                           "the settings, or FILEDUP_SOCKET",
                           path, strlen(path), sizeof address.sun_path - 1);
    strcpy(address.sun_path, path);
    fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (fd < 0)
        return throw_errno(error, "socket");
    if (connect(fd, (struct sockaddr *) &address, sizeof address) == 0)
        return throw_error(error, FILEDUP_ERROR_BUSY,
                           "another filedupd answers on '%s'; stop it first, or give this one "
                           "another socket",
                           path);
    if (errno == ECONNREFUSED && g_unlink(path) < 0 && errno != ENOENT)
        return throw_errno(error, "removing the stale socket '%s'", path);
    return TRUE;
}

Control *
control_new(Manager *m, Drills *drills, GError **error)
{
    const Settings *settings = manager_settings(m);
    g_autofree char *folder = g_path_get_dirname(settings->socket_path);
    mode_t mode = settings->system ? 0755 : 0700;

    if (g_mkdir_with_parents(folder, (int) mode) < 0) {
        throw_errno(error, "creating folder '%s'", folder);
        return NULL;
    }
    if (!take_over(settings->socket_path, error))
        return NULL;

    Control *c = g_new0(Control, 1);
    c->manager = m;
    c->path = g_strdup(settings->socket_path);
    c->guid = g_dbus_generate_guid();
    c->service = g_socket_service_new();
    g_autoptr(GSocketAddress) address = g_unix_socket_address_new(c->path);
    mode_t old = umask(settings->system ? 0111 : 0177);
    gboolean listening =
        g_socket_listener_add_address(G_SOCKET_LISTENER(c->service), address, G_SOCKET_TYPE_STREAM,
                                      G_SOCKET_PROTOCOL_DEFAULT, NULL, NULL, error);
    umask(old);
    if (!listening) {
        g_prefix_error(error, "listening on '%s': ", c->path);
        g_object_unref(c->service);
        g_free(c->guid);
        g_free(c->path);
        g_free(c);
        return NULL;
    }
    c->skeleton = filedup_manager1_skeleton_new();
    c->methods = methods_new(m, drills, c->skeleton);
    g_signal_connect(c->skeleton, "handle-subscribe", G_CALLBACK(on_subscribe), c);
    g_signal_connect(c->service, "incoming", G_CALLBACK(on_incoming), c);
    g_socket_service_start(c->service);
    return c;
}

void
control_free(Control *c)
{
    if (!c)
        return;
    g_socket_service_stop(c->service);
    g_socket_listener_close(G_SOCKET_LISTENER(c->service));
    (void) g_unlink(c->path);
    methods_free(c->methods);
    /* Those that still authenticate end with the main loop, which does not run again. */
    for (GList *l = c->peers, *next; l; l = next) {
        Peer *peer = l->data;
        next = l->next;
        if (peer->connection) {
            peer_free(peer); /* without a flush: a client that does not read must not hold us */
        } else {
            g_clear_handle_id(&peer->timer, g_source_remove);
        }
    }
    g_object_unref(c->skeleton);
    g_object_unref(c->service);
    g_free(c->guid);
    g_free(c->path);
    g_free(c);
}
