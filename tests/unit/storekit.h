#pragma once

/* StoreKit: stores, captures and keepers for the tests of service/store. */

#include <glib.h>
#include <sys/types.h>

#include "base/message.h"
#include "store/apply.h"

/* A store opened as the keeper opens it, without the keeper. */
typedef struct Kit {
    Store         store;
    CatalogState  state; /* as it was found */
    JournalReport report;
    guint64       next_file;
} Kit;

void     kit_open(Kit *k, const char *path); /* made if it is not there */
gboolean kit_try_open(Kit *k, const char *path, guint64 segment_bytes, GError **error);
void     kit_close(Kit *k);

/* A capture of these bytes. */
Capture kit_capture(const char *path, const void *data, gsize n, PointCause cause, Quality quality);

/* Writes one transaction, synced; its sequence. `data` NULL: kind without a content. */
guint64 kit_append(Kit *k, const char *path, const void *data, gsize n, PointCause cause,
                   Quality quality);
guint64 kit_append_kind(Kit *k, const char *path, AppendKind kind);
guint64 kit_append_staged(Kit *k, const char *path, const void *data, gsize n, PointCause cause);
void    kit_apply_all(Kit *k);

/* The content that the store has: current (point 0) or a point's. NULL if there is none. */
GBytes *kit_content(Kit *k, const char *path, guint64 point);
void    kit_expect(Kit *k, const char *path, guint64 point, const char *text);

/* A keeper in a process of its own. */
typedef struct KitKeeper {
    pid_t    pid;
    Channel *channel;
} KitKeeper;

void kit_keeper_start(KitKeeper *k, const char *path, const char *uuid, gboolean create);
/* The next message of that type; others (KEEPER_SPACE) are passed over. NULL: the keeper is gone. */
Message *kit_keeper_wait(KitKeeper *k, MessageType type);
int      kit_keeper_end(KitKeeper *k); /* closes the channel, waits; the exit status, -signal */
int      kit_keeper_stop(KitKeeper *k);

/* Sends a content, or (data NULL) another kind of capture. */
void kit_keeper_append(KitKeeper *k, guint64 job, const char *path, AppendKind kind,
                       const void *data, gsize n, PointCause cause);
/* The answer's sequence; 0 with the error. */
guint64 kit_keeper_durable(KitKeeper *k, guint64 job, GError **error);
GBytes *kit_keeper_content(KitKeeper *k, const char *path, guint64 point, GError **error);
