#pragma once

/* Reading: a file's bytes from start to end, data and holes, into a sink. */

#include <glib.h>

#include "copy/sink.h"

G_BEGIN_DECLS

typedef enum {
    READ_ALL,
    READ_SHORT,  /* the file is not as long as was said                     */
    READ_FULL,   /* more differs than ranges are good for                   */
    READ_FAILED, /* the error says why; errno too, if a system call failed  */
} ReadResult;

typedef struct Reading {
    Sink   *sink; /* borrowed */
    void  (*progress)(guint64 bytes, gpointer data); /* may be NULL */
    gpointer data;
    guint64  done_bytes; /* over everything that was read, for the progress */
    guint8  *buffer;
    gsize    buffer_bytes;
} Reading;
void reading_clear(Reading *r);

/* All of the file, as often as it takes. The hash is set by READ_ALL. */
ReadResult reading_run(Reading *r, int fd, guint64 size_bytes, SinkKind kind,
                       guint8 ret_hash[HASH_BYTES], GError **error);

/* Says that n bytes more are done; with 0, that something goes on. */
void reading_progress(Reading *r, gsize n);

G_END_DECLS
