#pragma once

/* Compact: gives back the space of packs that are mostly dead.
 *
 * No batch of apply may be under way. Packs that are removed are not read any more: an image (image.h)
 * made before says DAMAGED, and is to be made anew. */

#include <glib.h>

#include "store/apply.h"

G_BEGIN_DECLS

#define COMPACT_STEP_BYTES (G_GUINT64_CONSTANT(16) * 1024 * 1024)

/* One bounded step: moves at most about COMPACT_STEP_BYTES out of the pack with the smallest live share
 * below one half, and removes it if nothing live is left in it. *ret_more: something was done, there
 * may be more. *ret_removed (may be NULL): a pack is gone. AGAIN: no space, nothing was changed. */
gboolean compact_step(Store *s, gboolean *ret_more, gboolean *ret_removed, GError **error);

/* The same for this one, whatever its share. *ret_more: it is still there. AGAIN too: a file that is
 * pending uses it. */
gboolean compact_pack(Store *s, guint64 pack, gboolean *ret_more, GError **error);

/* Bytes of files that compaction would give back now, about. */
guint64 compact_dead_bytes(Store *s);

G_END_DECLS
