#pragma once

/* Patch: what a capture says has changed, believed only as far as it can be checked. */

#include <glib.h>

#include "store/transaction.h"

G_BEGIN_DECLS

/* What APPEND_RANGES brought, in private memory. */
typedef struct Patch {
    GArray *list;    /* Range, as patch_parse left them */
    GBytes *content; /* the bytes of those that are not zeros, one after the other */
    GBytes *sums;    /* of the whole new content */
    guint64 size_bytes;
} Patch;

/* REFUSED unless they ascend, are disjoint, lie within size_bytes, consist of whole blocks (but the
 * content's last one), and need exactly content_bytes. */
GArray *patch_parse(GBytes *bytes, guint64 size_bytes, gsize content_bytes, GError **error);

/* REFUSED: a block that they bring has not its sum. DAMAGED: one that they leave out is not what the
 * base has there, so that laying them over it would give another content. */
gboolean patch_check(const Patch *r, GBytes *base_sums, guint64 base_bytes, GError **error);

/* The pieces to be journalled, Extent.position being that in the content. `base` (-1: not at hand) is
 * the content that they change: what is the same there is left out, 4 KiB by 4 KiB. */
GArray *patch_extents(const Patch *r, int base, guint64 base_bytes);

G_END_DECLS
