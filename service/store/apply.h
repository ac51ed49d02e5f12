#pragma once

/* Apply: pending transactions become mirrors, points and catalog rows. */

#include <glib.h>

#include "store/catalog.h"
#include "store/journal.h"
#include "store/layout.h"

G_BEGIN_DECLS

typedef struct Store {
    Layout  *layout;
    Catalog *catalog;
    Journal *journal;
    Pending *pending;
} Store;

/* What the store has of a path, pending transactions included. */
FileView *store_view(const Store *s, const char *path, GError **error);

/* Applies all that is pending of one path. FALSE with an error: FATAL is the catalog's; any other
 * concerns this file alone, and it can be done again, unless nothing is pending of the path any more:
 * then its content had to be given up (DAMAGED). */
gboolean apply_file(Store *s, const char *path, GError **error);

/* The sums of a point of the view, wherever it is. */
GBytes *store_sums(Catalog *catalog, int staged_fd, const FileView *v, const Point *p,
                   GError **error);

G_END_DECLS
