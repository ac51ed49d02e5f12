#pragma once

/* Table: the rows and the stores as the files say them; what runs is reconciled with it. */

#include <glib.h>

#include "daemon/entry.h"
#include "daemon/settings.h"

G_BEGIN_DECLS

typedef struct StoreRow {
    char    *name;
    char    *path;
    char    *uuid;     /* "" until the store has been opened or made the first time */
    guint64  max_size_bytes; /* that it may take in all, 0: no limit                 */
    gboolean declared; /* by the settings file: not ours to change                  */
} StoreRow;

typedef struct Table {
    GHashTable *rows;   /* path -> Row        */
    GPtrArray  *stores; /* of StoreRow        */
} Table;

#define DEFAULT_STORE_NAME "default"

Table *table_new(void);
void   table_free(Table *t);
G_DEFINE_AUTOPTR_CLEANUP_FUNC(Table, table_free)

/* The state folder's table.conf (errors are errors: it is our own), the settings file's stores and
 * entries, and the drop-ins of entries.d (a bad one is named in *ret_warnings and left out as a whole; a
 * path that is there already keeps its first row). The default store is added if nobody did. */
Table *table_load(const Settings *settings, GStrv *ret_warnings, GError **error);

/* Writes table.conf: temporary file, fsync, rename, fsync of the folder. Rows and stores that are
 * declared elsewhere are not written, but the uuid of a declared store is. */
gboolean table_save(const Table *t, const Settings *settings, GError **error);

Row      *table_find(const Table *t, const char *path);
StoreRow *table_find_store(const Table *t, const char *name);
void      table_take(Table *t, Row *row); /* adds or replaces */
void      table_drop(Table *t, const char *path);
StoreRow *table_add_store(Table *t, const char *name, const char *path, const char *uuid);

/* Store names: 1 to 64 of letters, digits, "-", "_", ".". */
gboolean store_name_check(const char *name, GError **error);

G_END_DECLS
