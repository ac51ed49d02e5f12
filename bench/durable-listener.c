/* durable-listener.c - prints when backups become durable
 *
 * Usage: durable-listener SOCKET
 *
 * "ready" once the daemon has confirmed the subscription, then a line for each Durable signal:
 * sequence, stamp (CLOCK_MONOTONIC in us, taken by the keeper), path.
 */

#include "config.h"

#include <gio/gio.h>
#include <stdio.h>

#define OBJECT    "/org/filedup/Manager1"
#define INTERFACE "org.filedup.Manager1"

static void
on_durable(G_GNUC_UNUSED GDBusConnection *connection, G_GNUC_UNUSED const char *sender,
           G_GNUC_UNUSED const char *object, G_GNUC_UNUSED const char *interface,
           G_GNUC_UNUSED const char *signal, GVariant *parameters, G_GNUC_UNUSED gpointer data)
{
    const char *path, *store;
    guint64 sequence;
    gint64 stamp;

    if (!g_variant_is_of_type(parameters, G_VARIANT_TYPE("(aystx)")))
        return;
    g_variant_get(parameters, "(^&ay&stx)", &path, &store, &sequence, &stamp);
    printf("%" G_GUINT64_FORMAT " %" G_GINT64_FORMAT " %s\n", sequence, stamp, path);
}

static void
on_closed(G_GNUC_UNUSED GDBusConnection *connection, G_GNUC_UNUSED gboolean vanished,
          G_GNUC_UNUSED GError *error, gpointer loop)
{
    g_main_loop_quit(loop);
}

int
main(int argc, char **argv)
{
    g_autoptr(GError) error = NULL;
    g_autoptr(GMainLoop) loop = g_main_loop_new(NULL, FALSE);

    if (argc != 2) {
        fputs("usage: durable-listener SOCKET\n", stderr);
        return 2;
    }
    setvbuf(stdout, NULL, _IOLBF, 0);
    g_autofree char *escaped = g_dbus_address_escape_value(argv[1]);
    g_autofree char *address = g_strconcat("unix:path=", escaped, NULL);
    g_autoptr(GDBusConnection) connection = g_dbus_connection_new_for_address_sync(
        address, G_DBUS_CONNECTION_FLAGS_AUTHENTICATION_CLIENT, NULL, NULL, &error);
    if (!connection) {
        fprintf(stderr, "durable-listener: %s\n", error->message);
        return 1;
    }
    g_signal_connect(connection, "closed", G_CALLBACK(on_closed), loop);
    g_dbus_connection_signal_subscribe(connection, NULL, INTERFACE, "Durable", OBJECT, NULL,
                                       G_DBUS_SIGNAL_FLAGS_NONE, on_durable, NULL, NULL);
    g_autoptr(GVariant) answer =
        g_dbus_connection_call_sync(connection, NULL, OBJECT, INTERFACE, "Subscribe", NULL, NULL,
                                    G_DBUS_CALL_FLAGS_NONE, -1, NULL, &error);
    if (!answer) {
        fprintf(stderr, "durable-listener: %s\n", error->message);
        return 1;
    }
    puts("ready");
    g_main_loop_run(loop);
    return 0;
}
