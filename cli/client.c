/* client.c - choosing a daemon, and asking it
 *
 * The connection is our own socket, so that "nobody listens" is told from every other failure;
 * D-Bus begins on it. There is no time limit on answers: a first backup or a restore takes as long
 * as it takes, and the daemon has a time monitor of its own.
 */

#include "config.h"

#include <gio/gio.h>
#include <gio/gunixsocketaddress.h>
#include <string.h>
#include <sys/un.h>

#include "base/error.h"
#include "base/path.h"
#include "cli/client.h"
#include "cli/operand.h"
#include "cli/report.h"

#define OBJECT_PATH "/org/filedup/Manager1"

#define START_USER   "'systemctl --user start filedupd' starts it, or 'filedupd --user &'"
#define START_SYSTEM "'systemctl start filedupd' starts it"

struct Client {
    GDBusConnection *connection;
    FiledupManager1 *manager;
};

char *
client_user_socket(void)
{
    return g_build_filename(g_get_user_runtime_dir(), "filedup", "control", NULL);
}

char *
client_system_socket(void)
{
    return g_strdup("/run/filedup/control");
}

/* NULL with CLI_ERROR_NO_DAEMON if nobody listens there. */
static GSocketConnection *
connect_to(const char *path, GError **error)
{
    g_autofree char *shown = path_escape(path);

    if (strlen(path) >= sizeof((struct sockaddr_un *) NULL)->sun_path) {
        throw_error(error, FILEDUP_ERROR_REFUSED, "the socket's path is too long: %s", shown);
        return NULL;
    }
    g_autoptr(GError) failed = NULL;
    g_autoptr(GSocketAddress) address = g_unix_socket_address_new(path);
    g_autoptr(GSocketClient) connector = g_socket_client_new();
    GSocketConnection *stream =
        g_socket_client_connect(connector, G_SOCKET_CONNECTABLE(address), NULL, &failed);
    if (stream)
        return stream;
    if (g_error_matches(failed, G_IO_ERROR, G_IO_ERROR_NOT_FOUND) ||
        g_error_matches(failed, G_IO_ERROR, G_IO_ERROR_NOT_DIRECTORY) ||
        g_error_matches(failed, G_IO_ERROR, G_IO_ERROR_CONNECTION_REFUSED))
        g_set_error(error, CLI_ERROR, CLI_ERROR_NO_DAEMON, "no daemon listens at %s", shown);
    else if (g_error_matches(failed, G_IO_ERROR, G_IO_ERROR_PERMISSION_DENIED))
        throw_error(error, FILEDUP_ERROR_DENIED, "you may not talk to the daemon at %s", shown);
    else
        throw_error(error, FILEDUP_ERROR_FATAL, "the daemon at %s: %s", shown, failed->message);
    return NULL;
}

static GSocketConnection *
connect_or_advise(const char *path, const char *advice, GError **error)
{
    GSocketConnection *stream = connect_to(path, error);

    if (!stream && error && g_error_matches(*error, CLI_ERROR, CLI_ERROR_NO_DAEMON)) {
        g_autofree char *text = g_strconcat((*error)->message, ". ", advice, NULL);
        g_clear_error(error);
        g_set_error_literal(error, CLI_ERROR, CLI_ERROR_NO_DAEMON, text);
    }
    return stream;
}

/* Nothing was said about which: the user's own, else the system's. */
static GSocketConnection *
connect_to_any(gboolean quiet, GError **error)
{
    g_autofree char *user = client_user_socket();
    g_autofree char *system = client_system_socket();
    g_autoptr(GError) failed = NULL;

    GSocketConnection *stream = connect_to(user, &failed);
    if (stream) {
        if (!quiet)
            g_printerr("filedup: talking to your own daemon (--system for the system's)\n");
        return stream;
    }
    if (!g_error_matches(failed, CLI_ERROR, CLI_ERROR_NO_DAEMON)) {
        g_propagate_error(error, g_steal_pointer(&failed));
        return NULL;
    }
    g_clear_error(&failed);
    stream = connect_to(system, &failed);
    if (stream) {
        if (!quiet)
            g_printerr("filedup: talking to the system's daemon (no daemon of your own runs)\n");
        return stream;
    }
    if (g_error_matches(failed, CLI_ERROR, CLI_ERROR_NO_DAEMON)) {
        g_set_error(error, CLI_ERROR, CLI_ERROR_NO_DAEMON,
                    "no daemon is running, neither your own nor the system's. Start one: "
                    "'systemctl --user start filedupd' (or 'filedupd --user &') for your files, "
                    "'systemctl start filedupd' for the system's");
    } else {
        g_propagate_error(error, g_steal_pointer(&failed));
    }
    return NULL;
}

static GSocketConnection *
connect_as_asked(const Options *options, GError **error)
{
    const char *named = options_value(options, OPTION_SOCKET);
    const char *environment = g_getenv("FILEDUP_SOCKET");
    g_autofree char *user = client_user_socket();
    g_autofree char *system = client_system_socket();

    if (named)
        return connect_or_advise(named, "Is this the path that its configuration says?", error);
    if (options_has(options, OPTION_USER))
        return connect_or_advise(user, START_USER, error);
    if (options_has(options, OPTION_SYSTEM))
        return connect_or_advise(system, START_SYSTEM, error);
    if (environment && *environment)
        return connect_or_advise(environment, "FILEDUP_SOCKET names it", error);
    return connect_to_any(options_has(options, OPTION_QUIET), error);
}

Client *
client_open(const Options *options, GError **error)
{
    g_autoptr(Client) c = g_new0(Client, 1);
    g_autoptr(GError) failed = NULL;

    (void) filedup_error_quark(); /* so that the daemon's errors arrive as ours */
    g_autoptr(GSocketConnection) stream = connect_as_asked(options, error);
    if (!stream)
        return NULL;
    c->connection = g_dbus_connection_new_sync(G_IO_STREAM(stream), NULL,
                                               G_DBUS_CONNECTION_FLAGS_AUTHENTICATION_CLIENT, NULL,
                                               NULL, &failed);
    if (c->connection)
        c->manager = filedup_manager1_proxy_new_sync(c->connection,
                                                     G_DBUS_PROXY_FLAGS_DO_NOT_LOAD_PROPERTIES |
                                                         G_DBUS_PROXY_FLAGS_DO_NOT_CONNECT_SIGNALS,
                                                     NULL, OBJECT_PATH, NULL, &failed);
    if (!c->manager) {
        throw_error(error, FILEDUP_ERROR_DENIED,
                    "the daemon did not take the connection: %s. Are too many open?",
                    failed->message);
        return NULL;
    }
    g_dbus_connection_set_exit_on_close(c->connection, FALSE);
    g_dbus_proxy_set_default_timeout(G_DBUS_PROXY(c->manager), G_MAXINT);
    return g_steal_pointer(&c);
}

void
client_close(Client *c)
{
    if (!c)
        return;
    g_clear_object(&c->manager);
    g_clear_object(&c->connection);
    g_free(c);
}

FiledupManager1 *
client_manager(Client *c)
{
    return c->manager;
}

/* TRUE: this path is the row's, whatever the call came to; FALSE: there is none of this name. */
static gboolean
call_path(Client *c, const char *path, ClientCall call, gpointer data, gboolean *ret_done,
          GError **error)
{
    g_autoptr(GError) failed = NULL;

    *ret_done = call(c->manager, path, data, &failed);
    gboolean known = *ret_done || !g_error_matches(failed, FILEDUP_ERROR, FILEDUP_ERROR_NO_ENTRY);
    if (failed)
        g_propagate_error(error, g_steal_pointer(&failed));
    return known;
}

gboolean
client_call(Client *c, const char *operand, ClientCall call, gpointer data, char **ret_path,
            GError **error)
{
    g_autoptr(GError) first = NULL;
    gboolean done = FALSE;

    *ret_path = NULL;
    /* As it stands, before anything looks at the file: its disk may hang. */
    g_autofree char *lexical = operand_lexical(operand);
    if (g_str_equal(operand, lexical)) {
        if (call_path(c, operand, call, data, &done, &first)) {
            *ret_path = g_strdup(operand);
            if (first)
                g_propagate_error(error, g_steal_pointer(&first));
            return done;
        }
    }
    g_auto(GStrv) candidates = operand_candidates(operand, error);
    if (!candidates)
        return FALSE;
    for (char **path = candidates; *path; path++) {
        g_autoptr(GError) failed = NULL;
        if (first && g_str_equal(*path, operand))
            continue; /* asked already */
        if (call_path(c, *path, call, data, &done, &failed)) {
            *ret_path = g_strdup(*path);
            if (failed)
                g_propagate_error(error, g_steal_pointer(&failed));
            return done;
        }
        if (!first)
            first = g_steal_pointer(&failed);
    }
    *ret_path = g_strdup(candidates[0]);
    g_propagate_error(error, g_steal_pointer(&first));
    return FALSE;
}
