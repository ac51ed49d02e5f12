#pragma once

/* Ranges: what of a content differs from the sums that were recorded of the content before. */

#include <glib.h>

#include "base/message.h"

G_BEGIN_DECLS

typedef struct Ranges Ranges;

/* The bytes that differ go to content_fd (borrowed), one after the other. The recorded sums must
 * have the length that content of recorded_bytes has. */
Ranges *ranges_new(GBytes *recorded, guint64 recorded_bytes, guint64 size_bytes, int content_fd);
void    ranges_free(Ranges *r);
G_DEFINE_AUTOPTR_CLEANUP_FUNC(Ranges, ranges_free)

/* The content in order, in whole blocks (SUM_BLOCK_BYTES) but for its last. FALSE with errno. */
gboolean ranges_add(Ranges *r, const void *data, gsize n);
void     ranges_add_zeros(Ranges *r, guint64 n);

/* So much differs by now that the whole content is the better message. */
gboolean ranges_too_much(const Ranges *r);

/* Nothing of the recorded content is left: content_fd has all of the new one. */
gboolean ranges_are_everything(const Ranges *r);

/* When all has been added: the sums of the whole content, its hash, and the ranges as messages
 * carry them. Once only. */
GBytes *ranges_finish(Ranges *r, guint8 ret_hash[HASH_BYTES], GBytes **ret_ranges);

G_END_DECLS
