#pragma once

/* Suspicion: does a change look like an accident or an attack? Decides, and keeps nothing. */

#include <glib.h>

#include "base/message.h"

G_BEGIN_DECLS

/* SUSPICION_EMPTIED or 0: a content of `old_bytes` gave way to one of `new_bytes`. */
guint suspicion_of_sizes(guint64 old_bytes, guint64 new_bytes, Quality quality);

/* Large enough for the question below. */
gboolean suspicion_is_large(guint64 old_bytes, guint64 new_bytes);

/* So much of the content was rewritten that it is worth looking at the bytes. */
gboolean suspicion_is_rewritten(GBytes *old_sums, guint64 old_bytes, GBytes *new_sums,
                                guint64 new_bytes);

/* Reads n bytes at `offset` of a content. FALSE: it cannot (then nothing is suspected). */
typedef gboolean (*SuspicionRead)(gpointer data, void *buffer, gsize n, guint64 offset);

/* SUSPICION_ENCRYPTED or 0, from a sample of the blocks that differ: what could be compressed before
 * cannot be any more. */
guint suspicion_of_bytes(GBytes *old_sums, guint64 old_bytes, SuspicionRead read_old, gpointer old,
                         GBytes *new_sums, guint64 new_bytes, SuspicionRead read_new, gpointer new);

G_END_DECLS
