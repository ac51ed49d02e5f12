/* catalog.c - what is in the mirrors and in the history
 *
 * SQLite, WAL, synchronous=FULL, locking_mode=EXCLUSIVE, secure_delete (what is forgotten is gone);
 * user_version is the format. Times are us since 1970, numbers of 64 bits are stored as SQLite's
 * signed ones, bit for bit.
 *
 *   entry  a row of the table: path (bytes) and principal; its folder is mirrors/<id>-<name>
 *   file   a file of an entry; for a row that is one file, the only one, and of the same id. `path`
 *          is the name in the entry's folder. `seq` is the newest about it, `content` the one that
 *          brought the mirror's content (0: there is no mirror); state is StoredState. kept, label,
 *          changed, deleted are the current content's, as of a point; suspicion, suspicion_since,
 *          suspicion_point as in view.h
 *   sums   XXH3-64 of the mirror's blocks, 8192 of them (128 MiB of content) a row
 *   point  a content that is not the newest; id is the sequence that brought it. whole, undo: where
 *          it is (point.h; undo.c has the format). kept: Kept bits. label: the name that somebody
 *          gave it. sums: of one that is a whole file, else empty. (name: of the file; pin: unused)
 *   pack   length is what counts of it; 0: given up. saved: bytes of content ever put into it
 *   uses   how many bytes of content a point has in a pack
 *   prepared  the footer of a file whose apply was prepared and could not be finished yet
 *   policy how a path's points are thinned; the path may be none that there is a file of yet
 *   state  one row; clean is 1 after an orderly end, -1 after a content had to be given up, else 0.
 *          boot: of the machine, at the last opening; contents up to boot_seq were there when it
 *          last went down without a stop, noticed at boot_time
 *
 * FORMAT 1 had none of what is listed in `migration`: it is run over such a catalog, in one
 *          transaction, and over a new one, so that the two cannot differ.
 *
 * INVARIANTS
 *  (1) It is never on the way to an acknowledgement: rows are written by apply and thinning alone.
 *  (2) A row says what the mirror has been synced to say; `applied` moves in the same transaction.
 *  (3) An error of I/O kind, or a damaged file, is FATAL: the keeper ends. A full disk is AGAIN.
 *  (4) What `uses` says of a point is what its undo says: they are written together.
 *
 * CRASH POINTS  catalog-migrate
 */

#include "config.h"

#include <string.h>

#include "base/crash.h"
#include "base/error.h"
#include "store/catalog_private.h"

static const char *const schema =
    "CREATE TABLE entry(id INTEGER PRIMARY KEY, path BLOB NOT NULL UNIQUE,"
    " principal INTEGER NOT NULL);"
    "CREATE TABLE file(id INTEGER PRIMARY KEY, entry INTEGER NOT NULL REFERENCES entry(id),"
    " path BLOB NOT NULL, type INTEGER NOT NULL, dev INTEGER, ino INTEGER, mode INTEGER,"
    " uid INTEGER, gid INTEGER, nlink INTEGER, stat_size INTEGER, mtime INTEGER, ctime INTEGER, "
    "btime INTEGER,"
    " fsid INTEGER, attributes BLOB, mirror_ino INTEGER NOT NULL, size INTEGER NOT NULL,"
    " state INTEGER NOT NULL, quality INTEGER NOT NULL, hash BLOB, time INTEGER NOT NULL,"
    " seq INTEGER NOT NULL, cause INTEGER NOT NULL, content INTEGER NOT NULL,"
    " UNIQUE(entry, path));"
    "CREATE TABLE sums(file INTEGER NOT NULL, row INTEGER NOT NULL, blob BLOB NOT NULL,"
    " PRIMARY KEY(file, row)) WITHOUT ROWID;"
    "CREATE TABLE point(id INTEGER NOT NULL, file INTEGER NOT NULL, seq INTEGER NOT NULL,"
    " time INTEGER NOT NULL, cause INTEGER NOT NULL, quality INTEGER NOT NULL,"
    " size INTEGER NOT NULL,"
    " stat BLOB NOT NULL, attributes BLOB, hash BLOB NOT NULL, sums BLOB NOT NULL, name BLOB,"
    " pin INTEGER NOT NULL, PRIMARY KEY(file, id)) WITHOUT ROWID;"
    "CREATE TABLE state(one INTEGER PRIMARY KEY CHECK(one = 1), applied INTEGER NOT NULL,"
    " incarnation INTEGER NOT NULL, clean INTEGER NOT NULL);"
    "INSERT INTO state VALUES(1, 0, 0, 1);"
    "PRAGMA user_version = 1;";

/* A point of format 1 is a whole file; a pinned one is KEPT_STABLE. */
static const char *const migration =
    "ALTER TABLE file ADD COLUMN kept INTEGER NOT NULL DEFAULT 0;"
    "ALTER TABLE file ADD COLUMN label TEXT;"
    "ALTER TABLE file ADD COLUMN changed INTEGER NOT NULL DEFAULT 0;"
    "ALTER TABLE file ADD COLUMN deleted INTEGER NOT NULL DEFAULT 0;"
    "ALTER TABLE file ADD COLUMN suspicion INTEGER NOT NULL DEFAULT 0;"
    "ALTER TABLE file ADD COLUMN suspicion_since INTEGER NOT NULL DEFAULT 0;"
    "ALTER TABLE file ADD COLUMN suspicion_point INTEGER NOT NULL DEFAULT 0;"
    "UPDATE file SET changed = size;"
    "ALTER TABLE point ADD COLUMN whole INTEGER NOT NULL DEFAULT 0;"
    "ALTER TABLE point ADD COLUMN undo BLOB;"
    "ALTER TABLE point ADD COLUMN kept INTEGER NOT NULL DEFAULT 0;"
    "ALTER TABLE point ADD COLUMN label TEXT;"
    "ALTER TABLE point ADD COLUMN changed INTEGER NOT NULL DEFAULT 0;"
    "ALTER TABLE point ADD COLUMN deleted INTEGER NOT NULL DEFAULT 0;"
    "UPDATE point SET whole = id, kept = pin <> 0, pin = 0, changed = size;"
    "CREATE INDEX point_kept ON point(file, id) WHERE kept <> 0;"
    "CREATE INDEX point_whole ON point(file, whole, size) WHERE whole <> 0;"
    "CREATE TABLE pack(id INTEGER PRIMARY KEY, length INTEGER NOT NULL, saved INTEGER NOT NULL);"
    "CREATE TABLE uses(file INTEGER NOT NULL, point INTEGER NOT NULL, pack INTEGER NOT NULL,"
    " bytes INTEGER NOT NULL, PRIMARY KEY(file, point, pack)) WITHOUT ROWID;"
    "CREATE INDEX uses_pack ON uses(pack, bytes);"
    "CREATE TABLE prepared(file INTEGER PRIMARY KEY, footer BLOB NOT NULL);"
    "CREATE TABLE policy(path BLOB PRIMARY KEY, keep TEXT NOT NULL, keep_last INTEGER NOT NULL)"
    " WITHOUT ROWID;"
    "ALTER TABLE state ADD COLUMN boot TEXT NOT NULL DEFAULT '';"
    "ALTER TABLE state ADD COLUMN boot_seq INTEGER NOT NULL DEFAULT 0;"
    "ALTER TABLE state ADD COLUMN boot_time INTEGER NOT NULL DEFAULT 0;"
    "PRAGMA user_version = 2;";

G_STATIC_ASSERT(CATALOG_FORMAT == 2);

/* ---- statements ---- */

gboolean
throw_sqlite(Catalog *c, GError **error, const char *what)
{
    int code = c->db ? sqlite3_errcode(c->db) : SQLITE_NOMEM;
    const char *text = c->db ? sqlite3_errmsg(c->db) : "no memory";
    FiledupError kind = code == SQLITE_FULL   ? FILEDUP_ERROR_AGAIN
                        : code == SQLITE_BUSY ? FILEDUP_ERROR_BUSY
                                              : FILEDUP_ERROR_FATAL; /* invariant 3 */

    return throw_error(error, kind, "catalog: %.200s: %s", what, text);
}

gboolean
catalog_run(Catalog *c, const char *sql, GError **error)
{
    return sqlite3_exec(c->db, sql, NULL, NULL, NULL) == SQLITE_OK || throw_sqlite(c, error, sql);
}

Statement *
statement(Catalog *c, const char *sql, GError **error)
{
    Statement *s = g_hash_table_lookup(c->statements, sql);

    if (s)
        return s;
    if (sqlite3_prepare_v3(c->db, sql, -1, SQLITE_PREPARE_PERSISTENT, &s, NULL) != SQLITE_OK) {
        throw_sqlite(c, error, sql);
        return NULL;
    }
    g_hash_table_insert(c->statements, (gpointer) sql, s);
    return s;
}

void
statement_done(Statement *s)
{
    if (!s)
        return;
    (void) sqlite3_reset(s);
    (void) sqlite3_clear_bindings(s);
}

int
statement_step(Catalog *c, Statement *s, GError **error)
{
    int code = sqlite3_step(s);

    if (code == SQLITE_ROW)
        return 1;
    if (code == SQLITE_DONE)
        return 0;
    throw_sqlite(c, error, sqlite3_sql(s));
    return -1;
}

void
bind_u64(Statement *s, int i, guint64 value)
{
    (void) sqlite3_bind_int64(s, i, (sqlite3_int64) value);
}

void
bind_bytes(Statement *s, int i, const void *data, gsize n)
{
    (void) sqlite3_bind_blob64(s, i, n ? data : "", n, SQLITE_TRANSIENT);
}

void
bind_gbytes(Statement *s, int i, GBytes *bytes)
{
    gsize n = 0;
    const void *data = bytes ? g_bytes_get_data(bytes, &n) : NULL;

    bind_bytes(s, i, data, n);
}

guint64
column_u64(Statement *s, int i)
{
    return (guint64) sqlite3_column_int64(s, i);
}

GBytes *
column_bytes(Statement *s, int i)
{
    const void *data = sqlite3_column_blob(s, i);

    return g_bytes_new(data, (gsize) sqlite3_column_bytes(s, i));
}

void
column_hash(Statement *s, int i, guint8 *ret_hash)
{
    const void *data = sqlite3_column_blob(s, i);

    memset(ret_hash, 0, HASH_BYTES);
    if (data && sqlite3_column_bytes(s, i) == HASH_BYTES)
        memcpy(ret_hash, data, HASH_BYTES);
}

/* ---- life ---- */

static void
policy_free(gpointer data)
{
    Policy *policy = data;

    g_free(policy->keep);
    g_free(policy);
}

static void
finalize(gpointer s)
{
    (void) sqlite3_finalize(s);
}

static Catalog *
catalog_new(void)
{
    Catalog *c = g_new0(Catalog, 1);

    c->statements = g_hash_table_new_full(NULL, NULL, NULL, finalize);
    c->policies = g_hash_table_new_full(g_str_hash, g_str_equal, g_free, policy_free);
    return c;
}

void
catalog_close(Catalog *c)
{
    if (!c)
        return;
    g_hash_table_unref(c->statements);
    g_hash_table_unref(c->policies);
    (void) sqlite3_close_v2(c->db);
    g_free(c);
}

static int
format_of(Catalog *c, GError **error)
{
    Statement *s = NULL;
    int format = -1;

    if (sqlite3_prepare_v2(c->db, "PRAGMA user_version", -1, &s, NULL) == SQLITE_OK &&
        sqlite3_step(s) == SQLITE_ROW)
        format = sqlite3_column_int(s, 0);
    else
        throw_sqlite(c, error, "reading its format");
    (void) sqlite3_finalize(s);
    return format;
}

/* All steps in one transaction: it has one format or the other. */
static gboolean
bring_up_to_date(Catalog *c, int format, GError **error)
{
    if (!catalog_run(c, "BEGIN IMMEDIATE", error))
        return FALSE;
    gboolean ok = (format > 0 || catalog_run(c, schema, error)) && catalog_run(c, migration, error);
    crash_point("catalog-migrate");
    if (ok && catalog_run(c, "COMMIT", error))
        return TRUE;
    (void) sqlite3_exec(c->db, "ROLLBACK", NULL, NULL, NULL);
    return FALSE;
}

/* What is looked at with every file is kept in memory. */
gboolean
catalog_load_state(Catalog *c, GError **error)
{
    g_autoptr(Statement) s =
        statement(c, "SELECT boot_seq, EXISTS(SELECT 1 FROM prepared) FROM state", error);

    if (!s || statement_step(c, s, error) != 1)
        return FALSE;
    c->boot_seq = column_u64(s, 0);
    c->has_prepared = sqlite3_column_int(s, 1) != 0;
    return TRUE;
}

static gboolean
settle_format(Catalog *c, gboolean create, GError **error)
{
    int format = format_of(c, error);

    if (format < 0)
        return FALSE;
    if (format > CATALOG_FORMAT)
        return throw_error(error, FILEDUP_ERROR_FATAL,
                           "catalog: format %d, this filedup knows %d: use a newer one", format,
                           CATALOG_FORMAT);
    if (format == 0 && !create)
        return throw_error(error, FILEDUP_ERROR_FATAL, "catalog: it has no tables");
    if (format < CATALOG_FORMAT && !bring_up_to_date(c, format, error))
        return FALSE;
    return catalog_load_state(c, error);
}

Catalog *
catalog_open(const char *path, gboolean create, GError **error)
{
    g_autoptr(Catalog) c = catalog_new();
    int flags = SQLITE_OPEN_READWRITE | SQLITE_OPEN_NOMUTEX | (create ? SQLITE_OPEN_CREATE : 0);

    if (sqlite3_open_v2(path, &c->db, flags, NULL) != SQLITE_OK) {
        throw_sqlite(c, error, path);
        return NULL;
    }
    (void) sqlite3_extended_result_codes(c->db, 0);
    if (!catalog_run(c,
                     "PRAGMA locking_mode = EXCLUSIVE; PRAGMA journal_mode = WAL;"
                     " PRAGMA synchronous = FULL; PRAGMA trusted_schema = OFF;"
                     " PRAGMA secure_delete = ON;",
                     error))
        return NULL;
    return settle_format(c, create, error) ? g_steal_pointer(&c) : NULL;
}

Catalog *
catalog_open_foreign(const char *path, GError **error)
{
    g_autoptr(Catalog) c = catalog_new();

    /* Read-write, for its -wal must be recovered into the scratch copy's index. */
    if (sqlite3_open_v2(path, &c->db, SQLITE_OPEN_READWRITE | SQLITE_OPEN_NOMUTEX, NULL) !=
        SQLITE_OK) {
        throw_sqlite(c, error, path);
        return NULL;
    }
    (void) sqlite3_db_config(c->db, SQLITE_DBCONFIG_DEFENSIVE, 1, NULL);
    (void) sqlite3_db_config(c->db, SQLITE_DBCONFIG_TRUSTED_SCHEMA, 0, NULL);
    if (!catalog_run(c, "PRAGMA cell_size_check = ON", error) || !settle_format(c, FALSE, error) ||
        !catalog_run(c, "PRAGMA query_only = ON", error))
        return NULL;
    return g_steal_pointer(&c);
}

/* ---- state ---- */

gboolean
catalog_state(Catalog *c, CatalogState *ret_state, GError **error)
{
    g_autoptr(Statement) s =
        statement(c,
                  "SELECT applied, incarnation, clean, (SELECT ifnull(max(seq), 0) FROM file),"
                  " (SELECT ifnull(max(id), 0) FROM file), (SELECT ifnull(max(time), 0) FROM file),"
                  " (SELECT ifnull(max(time), 0) FROM point), boot_time FROM state",
                  error);
    int got = s ? statement_step(c, s, error) : -1;

    if (got == 0)
        return throw_error(error, FILEDUP_ERROR_FATAL, "catalog: it has no state");
    if (got < 0)
        return FALSE;
    *ret_state = (CatalogState){
        .applied = column_u64(s, 0),
        .incarnation = (guint32) column_u64(s, 1),
        .clean = sqlite3_column_int(s, 2) > 0,
        .lost = sqlite3_column_int(s, 2) < 0,
        .last_seq = MAX(column_u64(s, 0), column_u64(s, 3)),
        .last_file = column_u64(s, 4),
        .last_time_usec = MAX((gint64) column_u64(s, 5), (gint64) column_u64(s, 6)),
        .boot_usec = sqlite3_column_int64(s, 7),
    };
    return TRUE;
}

gboolean
catalog_set_open(Catalog *c, guint32 incarnation, const char *boot_id, guint64 last_seq,
                 GError **error)
{
    g_autoptr(Statement) s =
        statement(c,
                  "UPDATE state SET incarnation = ?1,"
                  " boot_seq = iif(clean < 1 AND boot NOT IN ('', ?2), ?3, boot_seq),"
                  " boot_time = iif(clean < 1 AND boot NOT IN ('', ?2), ?4, boot_time),"
                  " boot = ?2, clean = 0",
                  error);

    if (!s)
        return FALSE;
    bind_u64(s, 1, incarnation);
    (void) sqlite3_bind_text(s, 2, boot_id, -1, SQLITE_TRANSIENT);
    bind_u64(s, 3, last_seq);
    bind_u64(s, 4, (guint64) g_get_real_time());
    return statement_step(c, s, error) == 0 && catalog_load_state(c, error);
}

gboolean
catalog_set_incarnation(Catalog *c, guint32 incarnation, GError **error)
{
    g_autoptr(Statement) s = statement(c, "UPDATE state SET incarnation = ?", error);

    if (!s)
        return FALSE;
    bind_u64(s, 1, incarnation);
    return statement_step(c, s, error) == 0;
}

gboolean
catalog_set_lost(Catalog *c, GError **error)
{
    return catalog_run(c, "UPDATE state SET clean = -1", error);
}

gboolean
catalog_set_rebuilt(Catalog *c, guint64 applied, guint32 incarnation, guint64 last_seq,
                    GError **error)
{
    g_autoptr(Statement) s = statement(c,
                                       "UPDATE state SET applied = ?, incarnation = ?,"
                                       " boot_seq = ?, boot_time = ?, clean = -1",
                                       error);

    if (!s)
        return FALSE;
    bind_u64(s, 1, applied);
    bind_u64(s, 2, incarnation);
    bind_u64(s, 3, last_seq);
    bind_u64(s, 4, (guint64) g_get_real_time());
    return statement_step(c, s, error) == 0;
}

gboolean
catalog_set_clean(Catalog *c, guint64 applied, GError **error)
{
    g_autoptr(Statement) s = statement(
        c, "UPDATE state SET applied = max(applied, ?), clean = iif(clean < 0, -1, 1)", error);

    if (!s)
        return FALSE;
    bind_u64(s, 1, applied);
    return statement_step(c, s, error) == 0;
}

/* ---- policy and suspicion ---- */

void
catalog_set_policy(Catalog *c, const char *path, const char *keep, guint32 keep_last)
{
    Policy *policy = g_new0(Policy, 1);

    policy->keep = g_strdup(keep);
    policy->keep_last = keep_last;
    g_hash_table_insert(c->policies, g_strdup(path), policy);
}

static gboolean
approve(Catalog *c, guint64 file, GError **error)
{
    static const char *const steps[] = {
        "UPDATE file SET suspicion = 0, suspicion_since = 0, suspicion_point = 0,"
        " kept = kept & ~4 WHERE id = ?",
        "UPDATE point SET kept = kept & ~4 WHERE file = ? AND kept & 4",
    };

    G_STATIC_ASSERT(KEPT_SUSPICION == 4);
    for (guint i = 0; i < G_N_ELEMENTS(steps); i++) {
        g_autoptr(Statement) s = statement(c, steps[i], error);
        if (!s)
            return FALSE;
        bind_u64(s, 1, file);
        if (statement_step(c, s, error) != 0)
            return FALSE;
    }
    return TRUE;
}

gboolean
catalog_approve(Catalog *c, guint64 file, GError **error)
{
    if (!catalog_run(c, "BEGIN IMMEDIATE", error))
        return FALSE;
    if (approve(c, file, error) && catalog_run(c, "COMMIT", error))
        return TRUE;
    (void) sqlite3_exec(c->db, "ROLLBACK", NULL, NULL, NULL);
    return FALSE;
}
