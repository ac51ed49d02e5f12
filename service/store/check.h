#pragma once

/* Check: whether all parts of a store are there and fit together. Without its keeper, and without
 * writing to it. */

#include <glib.h>

#include "store/trouble.h"

G_BEGIN_DECLS

typedef struct Checked {
    guint      files, points, packs; /* points: without the newest contents */
    guint64    bytes;                /* of contents, read                   */
    gboolean   no_catalog;           /* it is lost, or damaged: rebuild     */
    GPtrArray *troubles;             /* Trouble */
} Checked;
void checked_clear(Checked *c);
G_DEFINE_AUTO_CLEANUP_CLEAR_FUNC(Checked, checked_clear)

/* `read`: the contents too, each against its hash. BUSY: a keeper has it. What is wrong is among the
 * troubles, and no error. */
gboolean store_check(const char *path, gboolean read, Checked *ret_checked, GError **error);

G_END_DECLS
