#pragma once

/* Catalog: what is in the mirrors and in the history, as of `applied`. */

#include <glib.h>

#include "store/view.h"

G_BEGIN_DECLS

#define CATALOG_FORMAT 1
#define CATALOG_NAME   "catalog.db"

typedef struct Catalog Catalog;

typedef struct CatalogState {
    guint64  applied;  /* all transactions up to here are in the rows */
    guint64  last_seq; /* the highest sequence in any row             */
    guint64  last_file;
    gint64   last_time_usec;
    guint32  incarnation;
    gboolean clean; /* stopped in order, with nothing pending */
    gboolean lost;  /* a content had to be given up (catalog_set_lost) */
} CatalogState;

/* The keeper's: `create` makes the tables in a new file; without it the file must be there. */
Catalog *catalog_open(const char *path, gboolean create, GError **error);

/* A scratch copy of a store that may be foreign: no writing, nothing in it is trusted. */
Catalog *catalog_open_foreign(const char *path, GError **error);
void     catalog_close(Catalog *c);
G_DEFINE_AUTOPTR_CLEANUP_FUNC(Catalog, catalog_close)

gboolean catalog_state(Catalog *c, CatalogState *ret_state, GError **error);
gboolean catalog_set_open(Catalog *c, guint32 incarnation, GError **error); /* clean = 0 */
gboolean catalog_set_clean(Catalog *c, guint64 applied, GError **error);

/* For the next opening to say that there was damage; catalog_set_open clears it. */
gboolean catalog_set_lost(Catalog *c, GError **error);

/* What the rows say of a path; view->id is 0 if they do not know it. */
FileView *catalog_load(Catalog *c, const char *path, GError **error);

/* One transaction: the view's rows (points that are fresh, sums that are set), minus its dropped
 * points, and `applied`. */
gboolean catalog_save(Catalog *c, const FileView *v, guint64 applied, GError **error);

GBytes   *catalog_sums(Catalog *c, guint64 file, GError **error);
GBytes   *catalog_point_sums(Catalog *c, guint64 file, guint64 point, GError **error);
GPtrArray *catalog_paths(Catalog *c, GError **error); /* of char *, sorted bytewise */
gboolean  catalog_totals(Catalog *c, guint64 *ret_files, guint64 *ret_bytes, GError **error);

G_END_DECLS
