/* call.c - calls that wait for others
 *
 * A call may be worked on for hours (verify), and its client may be gone after a second. The client's
 * connection tells: a Call listens to its end from its making to its answer.
 */

#include "config.h"

#include "daemon/call.h"

struct Call {
    GDBusMethodInvocation *invocation;
    GDBusConnection *connection;
    gulong handler;
    CallGone gone;
    gpointer data;
};

static void
call_free(Call *call)
{
    g_signal_handler_disconnect(call->connection, call->handler);
    g_object_unref(call->connection);
    g_free(call);
}

static void
on_closed(G_GNUC_UNUSED GDBusConnection *connection, G_GNUC_UNUSED gboolean remote,
          G_GNUC_UNUSED GError *error, gpointer data)
{
    Call *call = data;

    call->gone(call->data);
    g_object_unref(call->invocation);
    call_free(call);
}

Call *
call_new(GDBusMethodInvocation *invocation, CallGone gone, gpointer data)
{
    Call *call = g_new0(Call, 1);

    call->invocation = invocation;
    call->connection = g_object_ref(g_dbus_method_invocation_get_connection(invocation));
    call->gone = gone;
    call->data = data;
    call->handler = g_signal_connect(call->connection, "closed", G_CALLBACK(on_closed), call);
    return call;
}

void
call_return(Call *call, GVariant *value)
{
    g_dbus_method_invocation_return_value(call->invocation, value);
    call_free(call);
}

void
call_refuse(Call *call, const GError *error)
{
    g_dbus_method_invocation_return_gerror(call->invocation, error);
    call_free(call);
}
