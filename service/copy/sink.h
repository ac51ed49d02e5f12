#pragma once

/* Sink: where the bytes of one reading go, summed on the way. */

#include <glib.h>

#include "base/message.h"

G_BEGIN_DECLS

typedef enum {
    SINK_NOTHING, /* only the sums                                              */
    SINK_MEMORY,  /* all of it, in a memory file                                */
    SINK_STAGED,  /* all of it, in the staged files                             */
    SINK_RANGES,  /* what differs from the recorded sums, in a memory file      */
} SinkKind;

typedef struct Sink Sink;

Sink *sink_new(void);
void  sink_free(Sink *s);
G_DEFINE_AUTOPTR_CLEANUP_FUNC(Sink, sink_free)

/* The files of SINK_STAGED, once; they are the sink's now. */
void     sink_take_staged(Sink *s, const int *fds, guint n_fds);
gboolean sink_has_staged(const Sink *s);

/* What SINK_RANGES compares with (NULL: it is not to be used). */
void sink_set_recorded(Sink *s, GBytes *recorded, guint64 recorded_bytes);

/* From the start, as often as it takes. All failures here leave errno as well. */
gboolean sink_begin(Sink *s, SinkKind kind, guint64 size_bytes, GError **error);

/* The content in order; for SINK_RANGES in whole blocks but for the last. */
gboolean sink_add(Sink *s, const void *data, gsize n, GError **error);
void     sink_add_zeros(Sink *s, guint64 n);

/* SINK_RANGES: more than it is good for. */
gboolean sink_is_full(const Sink *s);

/* All is added: the content hash. */
gboolean sink_end(Sink *s, guint8 ret_hash[HASH_BYTES], GError **error);

/* Makes what was gathered fit to be handed on: staged files synced, memory files sealed. Sets the
 * descriptors that messages of this kind carry, leaves the others -1. *ret_kind is SINK_MEMORY
 * where the ranges turned out to be everything. `alive` is called between the steps. */
gboolean sink_keep(Sink *s, SinkKind *ret_kind, int *ret_sums, int *ret_content, int *ret_ranges,
                   void (*alive)(gpointer data), gpointer data, GError **error);

G_END_DECLS
