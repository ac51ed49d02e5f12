#pragma once

/* Catalog, the inside: what its files (catalog.c, catalog_load.c, catalog_save.c) share. */

#include <sqlite3.h>

#include "store/catalog.h"

G_BEGIN_DECLS

#define SUMS_ROW_BYTES 65536

typedef struct Policy {
    char   *keep;
    guint32 keep_last;
} Policy;

struct Catalog {
    sqlite3    *db;
    GHashTable *statements; /* their text (by address) -> sqlite3_stmt                     */
    GHashTable *policies;   /* path -> Policy: said, and not in the table yet              */
    guint64     boot_seq;   /* as in `state`                                               */
    gboolean    has_prepared; /* there are rows in `prepared`                              */
    gboolean    totals_known;
    CatalogTotals totals;
};

gboolean throw_sqlite(Catalog *c, GError **error, const char *what);
gboolean catalog_load_state(Catalog *c, GError **error); /* boot_seq, has_prepared */
gboolean catalog_run(Catalog *c, const char *sql, GError **error);

/* A statement is compiled once: `sql` is a literal. It is reset when it goes out of scope, and two of
 * the same text are not in use at once. */
typedef sqlite3_stmt Statement;
void       statement_done(Statement *s);
G_DEFINE_AUTOPTR_CLEANUP_FUNC(Statement, statement_done)
Statement *statement(Catalog *c, const char *sql, GError **error);
int        statement_step(Catalog *c, Statement *s, GError **error); /* 1 a row, 0 the end, -1 */

void     bind_u64(Statement *s, int i, guint64 value);
void     bind_bytes(Statement *s, int i, const void *data, gsize n);
void     bind_gbytes(Statement *s, int i, GBytes *bytes);
guint64  column_u64(Statement *s, int i);
GBytes  *column_bytes(Statement *s, int i);
void     column_hash(Statement *s, int i, guint8 *ret_hash);

G_END_DECLS
