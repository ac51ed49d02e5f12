#pragma once

/* Control: the socket on which filedup and others talk to the daemon, and who is on it. */

#include <gio/gio.h>

#include "daemon/drills.h"
#include "daemon/manager.h"

G_BEGIN_DECLS

typedef struct Control Control;

/* Listens. Another daemon that answers on the socket is BUSY; a socket that nobody answers is taken
 * over. */
Control *control_new(Manager *m, Drills *drills, GError **error);
void     control_free(Control *c);

/* For ManagerEvents. */
void control_settled(Control *c);
void control_durable(Control *c, Entry *e, Store *store, guint64 sequence, gint64 stamp_usec);

/* The uid at the other end, by SO_PEERCRED. */
uid_t control_caller(GDBusMethodInvocation *invocation);

G_END_DECLS
