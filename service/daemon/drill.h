#pragma once

/* Drill: one file restored from one store to scratch, and compared: can it be had back? */

#include "daemon/manager.h"

G_BEGIN_DECLS

typedef struct Drill Drill;

/* `why` NULL: it can, and is what it should be. `ran` FALSE: it could not be tried (no room, the row
 * or the store has gone): that says nothing of the backup. The drill is freed after it. */
typedef void (*DrillFunc)(gboolean ran, const char *why, gpointer data);

/* May call back at once, and then returns NULL. */
Drill *drill_start(Manager *m, Entry *e, Store *store, DrillFunc func, gpointer data);
void   drill_cancel(Drill *d); /* func is not called */

G_END_DECLS
