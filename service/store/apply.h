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

/* Applies all that is pending of one path. Whatever fails, it can be done again. */
gboolean apply_file(Store *s, const char *path, GError **error);

/* The sums of a point of the view, wherever it is. */
GBytes *store_sums(Catalog *catalog, int staged_fd, const FileView *v, const Point *p,
                   GError **error);

G_END_DECLS
