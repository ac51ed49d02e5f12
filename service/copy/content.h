#pragma once

/* Content: what a store hands out, read chunk by chunk, never passed on without its sums. */

#include <glib.h>

G_BEGIN_DECLS

#define CONTENT_CHUNK_BYTES ((gsize) 1024 * 1024)

typedef struct Content {
    int     fd;
    GBytes *sums;
    guint64 size_bytes;
    void  (*progress)(guint64 bytes, gpointer data); /* may be NULL */
    gpointer data;
    guint64  done_bytes; /* over everything done with it, for the progress */
} Content;

/* The chunk at `offset` (a multiple of CONTENT_CHUNK_BYTES) into a buffer of that size. */
gboolean content_read(Content *c, guint64 offset, void *buffer, gsize *ret_n, GError **error);

/* All of it. */
gboolean content_check(Content *c, GError **error);

/* Writes all of it to an empty file, keeping holes; sets the size. Not synced. */
gboolean content_copy(Content *c, int fd, GError **error);

/* The same to what cannot seek. */
gboolean content_pipe(Content *c, int fd, GError **error);

/* Syncs what was written to fd (open for reading and writing), reads it back past the page cache
 * where the file system lets it, and compares: DAMAGED if it is not what was written. */
gboolean content_read_back(Content *c, int fd, GError **error);

G_END_DECLS
