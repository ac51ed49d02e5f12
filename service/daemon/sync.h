#pragma once

/* Sync: who waits until files are durable, and what they are told. */

#include <sys/types.h>

#include "daemon/manager.h"

G_BEGIN_DECLS

typedef struct Syncs Syncs;

typedef struct SyncFile {
    char    *path;
    guint64  id, generation;
    guint    attempts;
    gboolean done;
    char    *reason, *writer; /* why it is not current; NULL: it is */
} SyncFile;

/* The files of a call, or NULL with an error: the daemon stops. */
typedef void (*SyncsFunc)(const GPtrArray *files, const GError *error, gpointer data);

Syncs *syncs_new(Manager *manager);
void   syncs_free(Syncs *syncs); /* answers that the daemon stops */

/* Calls back when every file (path "" for all that the caller may use) is durable with the content
 * that it has now, or cannot be. */
void syncs_start(Syncs *syncs, uid_t caller, const char *path, SyncsFunc func, gpointer data);
/* Nobody waits for it any more: `func` is not called. */
void syncs_cancel(Syncs *syncs, gconstpointer data);

/* An entry or a store changed its state: answers whoever waited for that. */
void syncs_settled(Syncs *syncs);

G_END_DECLS
