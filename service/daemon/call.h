#pragma once

/* Call: a call of the interface that is answered later, or never, if its client goes away first. */

#include <gio/gio.h>

G_BEGIN_DECLS

typedef struct Call Call;

/* The client is gone: nothing more need be done for the call, which is freed after it. */
typedef void (*CallGone)(gpointer data);

Call *call_new(GDBusMethodInvocation *invocation, CallGone gone, gpointer data);

/* Both answer and free it. `value` is the floating tuple of the method's results, or NULL. */
void call_return(Call *call, GVariant *value);
void call_refuse(Call *call, const GError *error);

G_END_DECLS
