#pragma once

/* Rebuild: a new catalog for a store that has lost its own. */

#include <glib.h>

#include "store/trouble.h"

G_BEGIN_DECLS

typedef struct Rebuilt {
    guint      files, points; /* points: without the newest contents */
    guint      waiting;       /* files of which the journal has more */
    char      *aside;         /* where the catalog before is; NULL: there was none */
    GPtrArray *troubles;      /* Trouble */
} Rebuilt;
void rebuilt_clear(Rebuilt *r);
G_DEFINE_AUTO_CLEANUP_CLEAR_FUNC(Rebuilt, rebuilt_clear)

/* Needs the store for itself: BUSY names who has it. REFUSED: its catalog is whole, and not `force`.
 * What could not be brought back is among the troubles, and no error. */
gboolean store_rebuild(const char *path, gboolean force, Rebuilt *ret_rebuilt, GError **error);

G_END_DECLS
