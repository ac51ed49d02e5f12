#pragma once

/* Catalog: what thinning and forgetting ask of it, besides. */

#include "store/catalog.h"

G_BEGIN_DECLS

/* Files that thinning may find something in: with points, or deleted; by id, above `after`, at most
 * `max`. Of CatalogFile. */
GPtrArray *catalog_files_to_thin(Catalog *c, guint64 after, guint max, GError **error);

/* Nothing that was deleted is left in its files (secure_delete sees to the pages, this to the -wal). */
gboolean catalog_scrub(Catalog *c, GError **error);

G_END_DECLS
