#pragma once

/* Difference: what a newer content takes from an older one, saved as its undo. */

#include <glib.h>

#include "store/image.h"

G_BEGIN_DECLS

typedef struct Difference {
    const char *path; /* for warnings */
    Image      *older; /* NULL: there is nothing before, or it is gone */
    GBytes     *older_sums;
    Image      *newer;
    GBytes     *newer_sums; /* NULL: not known, but older's with the blocks that differ done anew */
    Packs      *packs;      /* NULL: nothing is saved */
    const Undo *covered;    /* bytes that need not be saved: nobody asks for them; NULL: all do */

    /* The outcome, owned by the caller. */
    Undo    *undo; /* of older, relative to newer; NULL without packs */
    GBytes  *sums; /* of newer */
    guint64  changed_bytes;
    gboolean lost; /* newer cannot be read as it was captured (DAMAGED) */
} Difference;
void difference_clear(Difference *d);
G_DEFINE_AUTO_CLEANUP_CLEAR_FUNC(Difference, difference_clear)

/* Reads each block that may differ once. An old block that is not what it was is PIECE_BAD where the
 * newer content differs. */
gboolean difference_save(Difference *d, GError **error);

/* How many blocks of the older content the newer one has not, told by their sums. */
guint64 difference_count(GBytes *older_sums, guint64 older_bytes, GBytes *newer_sums,
                         guint64 newer_bytes);

G_END_DECLS
