#pragma once

/* StoreKit: stores and captures for the tests of service/store. Keepers are keeperkit.h's. */

#include <glib.h>
#include <sys/types.h>

#include "base/message.h"
#include "store/apply.h"

/* A store opened as the keeper opens it, without the keeper. */
typedef struct Kit {
    Store         store;
    CatalogState  state; /* as it was found */
    JournalReport report;
    char         *recovered_note; /* store_recover */
    gboolean      recovered_damage;
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
guint64 kit_append_capture(Kit *k, Capture *c); /* without content: a mark */
/* What changed from `old` to `data`, by pages. */
guint64 kit_append_ranges(Kit *k, const char *path, const void *old, gsize n_old, const void *data,
                          gsize n, Quality quality);
void    kit_apply_all(Kit *k);

/* The content that the store has: current (point 0) or a point's. NULL if there is none. */
GBytes *kit_content(Kit *k, const char *path, guint64 point);
GBytes *kit_try_content(Kit *k, const char *path, guint64 point, GError **error);
void    kit_expect_bytes(Kit *k, const char *path, guint64 point, const void *wanted, gsize n);
void    kit_expect(Kit *k, const char *path, guint64 point, const char *text);
