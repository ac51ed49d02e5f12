#pragma once

/* Recovery: a restore that somebody asked for, from the store's content to the verified file. */

#include <glib.h>

#include "daemon/entry.h"

G_BEGIN_DECLS

typedef struct Recovery Recovery;
typedef struct Schedule Schedule;

typedef struct RecoveryResult {
    GError    *error; /* NULL: done */
    char      *store;
    guint64    size_bytes, written_bytes;
    gint64     time_usec; /* of the content */
    Quality    quality;
    guint64    point, stable_point;
    FileStat   stat;
    GBytes    *attributes;
    guint8     hash[HASH_BYTES];
    gboolean   existed, saved;
    guint64    saved_point;
    char      *left;     /* path of what was there and could not be saved, or NULL */
    char      *problems; /* attributes that could not be set, or NULL */
} RecoveryResult;

typedef void (*RecoveryFunc)(const RecoveryResult *result, gpointer data);

/* Queues it. `store` NULL: the first that has content. `point` 0: what a restore takes by default, or
 * with at_usec (since the epoch) not 0 the newest content at that time. target_fd (taken) with RESTORE_TO_FD, else -1.
 * `caller` must be allowed to read the content: the row's principal or root, and by the recorded owner
 * and mode. func is called exactly once. */
void recovery_request(Entry *e, uid_t caller, RestoreFlags flags, guint64 point,
                      gint64 at_usec, Store *store, int target_fd, RecoveryFunc func,
                      gpointer data);
/* Whoever asked is gone: it need not be done, unless it writes the original already. func is called. */
void recovery_drop(Entry *e, gconstpointer data);

/* For the schedule: starts the next one that waits; FALSE if none does. */
gboolean recovery_run_next(Schedule *s, Entry *e);
void     recovery_cancel_all(Entry *e);
pid_t    recovery_copier(const Entry *e);

G_END_DECLS
