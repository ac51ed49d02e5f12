#pragma once

/* CatalogCopy: a store's catalog in a scratch folder, so that looking at it changes nothing. */

#include <glib.h>

#include "store/catalog.h"

G_BEGIN_DECLS

typedef struct CatalogCopy {
    char    *scratch;
    Catalog *catalog;
} CatalogCopy;

/* With its -wal. NULL with an error: *ret_lost (may be NULL) tells that it is not there, or that
 * SQLite cannot make sense of it. */
CatalogCopy *catalog_copy_new(int root_fd, gboolean *ret_lost, GError **error);
void         catalog_copy_free(CatalogCopy *c);
G_DEFINE_AUTOPTR_CLEANUP_FUNC(CatalogCopy, catalog_copy_free)

/* What SQLite, and the rows that refer to each other, say of it: troubles. FALSE: it is damaged. */
gboolean catalog_copy_check(CatalogCopy *c, GPtrArray *troubles);

G_END_DECLS
