/* catalog_thin.c - what thinning and forgetting ask of the catalog */

#include "config.h"

#include "base/error.h"
#include "store/catalog_private.h"
#include "store/catalog_thin.h"

G_STATIC_ASSERT(STORED_DELETED == 2);

GPtrArray *
catalog_files_to_thin(Catalog *c, guint64 after, guint max, GError **error)
{
    g_autoptr(Statement) s =
        statement(c,
                  "SELECT entry.id, entry.path, (SELECT count(*) FROM point WHERE file = entry.id)"
                  " FROM entry JOIN file ON file.entry = entry.id WHERE entry.id > ? AND"
                  " (state = 2 OR EXISTS (SELECT 1 FROM point WHERE file = entry.id))"
                  " ORDER BY entry.id LIMIT ?",
                  error);
    g_autoptr(GPtrArray) files = g_ptr_array_new_with_free_func((GDestroyNotify) catalog_file_free);
    int got;

    if (!s)
        return NULL;
    bind_u64(s, 1, after);
    bind_u64(s, 2, max);
    while ((got = statement_step(c, s, error)) > 0) {
        CatalogFile *f = g_new0(CatalogFile, 1);
        f->id = column_u64(s, 0);
        f->path = g_strndup(sqlite3_column_blob(s, 1), (gsize) sqlite3_column_bytes(s, 1));
        f->n_points = (guint) column_u64(s, 2);
        g_ptr_array_add(files, f);
    }
    return got < 0 ? NULL : g_steal_pointer(&files);
}

gboolean
catalog_scrub(Catalog *c, GError **error)
{
    g_autoptr(Statement) s = statement(c, "PRAGMA wal_checkpoint(TRUNCATE)", error);
    int got = s ? statement_step(c, s, error) : -1;

    if (got < 0)
        return FALSE;
    if (got == 1 && sqlite3_column_int(s, 0) != 0)
        return throw_error(error, FILEDUP_ERROR_AGAIN, "catalog: its -wal is in use");
    return TRUE;
}
