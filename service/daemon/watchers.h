#pragma once

/* Watchers: one watcher process per principal and source device, and who is watched by which. */

#include <glib.h>

#include "daemon/entry.h"

G_BEGIN_DECLS

typedef struct Watchers Watchers;

typedef struct WatchersEvents {
    void (*changed)(guint64 entry, guint what, gpointer data);           /* ChangeWhat bits */
    void (*state)(guint64 entry, WatchState state, int errnum, guint64 needed, gpointer data);
    void (*overflow)(guint64 entry, gpointer data); /* events of this entry may be lost */
} WatchersEvents;

/* `drained` FALSE: the watcher is not running, or did not answer within its time. */
typedef void (*DrainFunc)(gboolean drained, gpointer data);

Watchers *watchers_new(gboolean system, const WatchersEvents *events, gpointer data);
void      watchers_free(Watchers *w);

/* Watches the entry (again: moves it to another device's watcher, or resolves its path anew). */
void watchers_add(Watchers *w, const Entry *entry);
void watchers_remove(Watchers *w, guint64 entry);

/* Calls back once everything that had happened to the entry has been told. */
void watchers_drain(Watchers *w, guint64 entry, DrainFunc func, gpointer data);
/* No drain calls back with this data any more. */
void watchers_forget(Watchers *w, gpointer data);

G_END_DECLS
