/* catalog.c - what is in the mirrors and in the history
 *
 * SQLite, WAL, synchronous=FULL, locking_mode=EXCLUSIVE; user_version is the format. Times are us
 * since 1970, numbers of 64 bits are stored as SQLite's signed ones, bit for bit.
 *
 *   entry  a row of the table: path (bytes) and principal; its folder is mirrors/<id>-<name>
 *   file   a file of an entry; for a row that is one file, the only one, and of the same id. `path`
 *          is the name in the entry's folder. `seq` is the newest about it, `content` the one that
 *          brought the mirror's content (0: there is no mirror); state is StoredState
 *   sums   XXH3-64 of the mirror's blocks, 8192 of them (128 MiB of content) a row
 *   point  a whole content in history/; id is the sequence that brought it
 *   state  one row; clean is 1 after an orderly end, -1 after a content had to be given up, else 0
 *
 * INVARIANTS
 *  (1) It is never on the way to an acknowledgement: rows are written by apply alone.
 *  (2) A row says what the mirror has been synced to say; `applied` moves in the same transaction.
 *  (3) An error of I/O kind, or a damaged file, is FATAL: the keeper ends. A full disk is AGAIN.
 */

#include "config.h"

#include <sqlite3.h>
#include <string.h>

#include "base/error.h"
#include "base/path.h"
#include "store/catalog.h"

#define SUMS_ROW_BYTES 65536

struct Catalog {
    sqlite3 *db;
};

static const char *const schema =
    "BEGIN IMMEDIATE;"
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
    "PRAGMA user_version = 1;"
    "COMMIT;";

G_STATIC_ASSERT(CATALOG_FORMAT == 1);

static gboolean
throw_sqlite(Catalog *c, GError **error, const char *what)
{
    int code = c->db ? sqlite3_errcode(c->db) : SQLITE_NOMEM;
    const char *text = c->db ? sqlite3_errmsg(c->db) : "no memory";
    FiledupError kind = code == SQLITE_FULL   ? FILEDUP_ERROR_AGAIN
                        : code == SQLITE_BUSY ? FILEDUP_ERROR_BUSY
                                              : FILEDUP_ERROR_FATAL; /* invariant 3 */

    return throw_error(error, kind, "catalog: %s: %s", what, text);
}

static gboolean
run(Catalog *c, const char *sql, GError **error)
{
    return sqlite3_exec(c->db, sql, NULL, NULL, NULL) == SQLITE_OK || throw_sqlite(c, error, sql);
}

typedef sqlite3_stmt Statement;
G_DEFINE_AUTOPTR_CLEANUP_FUNC(Statement, sqlite3_finalize)

static Statement *
prepare(Catalog *c, const char *sql, GError **error)
{
    Statement *s = NULL;

    if (sqlite3_prepare_v2(c->db, sql, -1, &s, NULL) != SQLITE_OK)
        throw_sqlite(c, error, sql);
    return s;
}

/* 1 a row, 0 the end, -1 an error. */
static int
step(Catalog *c, Statement *s, GError **error)
{
    int code = sqlite3_step(s);

    if (code == SQLITE_ROW)
        return 1;
    if (code == SQLITE_DONE)
        return 0;
    throw_sqlite(c, error, sqlite3_sql(s));
    return -1;
}

static void
bind_u64(Statement *s, int i, guint64 value)
{
    (void) sqlite3_bind_int64(s, i, (sqlite3_int64) value);
}

static void
bind_bytes(Statement *s, int i, const void *data, gsize n)
{
    (void) sqlite3_bind_blob64(s, i, n ? data : "", n, SQLITE_TRANSIENT);
}

static void
bind_gbytes(Statement *s, int i, GBytes *bytes)
{
    gsize n = 0;
    const void *data = bytes ? g_bytes_get_data(bytes, &n) : NULL;

    bind_bytes(s, i, data, n);
}

static guint64
column_u64(Statement *s, int i)
{
    return (guint64) sqlite3_column_int64(s, i);
}

static GBytes *
column_bytes(Statement *s, int i)
{
    const void *data = sqlite3_column_blob(s, i);

    return g_bytes_new(data, (gsize) sqlite3_column_bytes(s, i));
}

static void
column_hash(Statement *s, int i, guint8 *ret_hash)
{
    const void *data = sqlite3_column_blob(s, i);

    memset(ret_hash, 0, HASH_BYTES);
    if (data && sqlite3_column_bytes(s, i) == HASH_BYTES)
        memcpy(ret_hash, data, HASH_BYTES);
}

/* ---- life ---- */

void
catalog_close(Catalog *c)
{
    if (!c)
        return;
    (void) sqlite3_close_v2(c->db);
    g_free(c);
}

static int
format_of(Catalog *c, GError **error)
{
    g_autoptr(Statement) s = prepare(c, "PRAGMA user_version", error);

    if (!s || step(c, s, error) != 1)
        return -1;
    return sqlite3_column_int(s, 0);
}

static gboolean
check_format(Catalog *c, GError **error)
{
    int format = format_of(c, error);

    if (format < 0)
        return FALSE;
    if (format > CATALOG_FORMAT)
        return throw_error(error, FILEDUP_ERROR_FATAL,
                           "catalog: format %d, this filedup knows %d: use a newer one", format,
                           CATALOG_FORMAT);
    if (format < CATALOG_FORMAT)
        return throw_error(error, FILEDUP_ERROR_FATAL, "catalog: it has no tables");
    return TRUE;
}

Catalog *
catalog_open(const char *path, gboolean create, GError **error)
{
    g_autoptr(Catalog) c = g_new0(Catalog, 1);
    int flags = SQLITE_OPEN_READWRITE | SQLITE_OPEN_NOMUTEX | (create ? SQLITE_OPEN_CREATE : 0);

    if (sqlite3_open_v2(path, &c->db, flags, NULL) != SQLITE_OK) {
        throw_sqlite(c, error, path);
        return NULL;
    }
    (void) sqlite3_extended_result_codes(c->db, 0);
    if (!run(c,
             "PRAGMA locking_mode = EXCLUSIVE; PRAGMA journal_mode = WAL;"
             " PRAGMA synchronous = FULL; PRAGMA trusted_schema = OFF;",
             error))
        return NULL;
    int format = format_of(c, error);
    if (format < 0 || (format == 0 && create && !run(c, schema, error)))
        return NULL;
    return check_format(c, error) ? g_steal_pointer(&c) : NULL;
}

Catalog *
catalog_open_foreign(const char *path, GError **error)
{
    g_autoptr(Catalog) c = g_new0(Catalog, 1);

    /* Read-write, for its -wal must be recovered into the scratch copy's index. */
    if (sqlite3_open_v2(path, &c->db, SQLITE_OPEN_READWRITE | SQLITE_OPEN_NOMUTEX, NULL) !=
        SQLITE_OK) {
        throw_sqlite(c, error, path);
        return NULL;
    }
    (void) sqlite3_db_config(c->db, SQLITE_DBCONFIG_DEFENSIVE, 1, NULL);
    (void) sqlite3_db_config(c->db, SQLITE_DBCONFIG_TRUSTED_SCHEMA, 0, NULL);
    if (!run(c, "PRAGMA query_only = ON; PRAGMA cell_size_check = ON", error))
        return NULL;
    return check_format(c, error) ? g_steal_pointer(&c) : NULL;
}

/* ---- state ---- */

gboolean
catalog_state(Catalog *c, CatalogState *ret_state, GError **error)
{
    g_autoptr(Statement) s =
        prepare(c,
                "SELECT applied, incarnation, clean, (SELECT ifnull(max(seq), 0) FROM file),"
                " (SELECT ifnull(max(id), 0) FROM file), (SELECT ifnull(max(time), 0) FROM file),"
                " (SELECT ifnull(max(time), 0) FROM point) FROM state",
                error);
    int got = s ? step(c, s, error) : -1;

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
    };
    return TRUE;
}

static gboolean
set_state(Catalog *c, const char *sql, guint64 value, GError **error)
{
    g_autoptr(Statement) s = prepare(c, sql, error);

    if (!s)
        return FALSE;
    bind_u64(s, 1, value);
    return step(c, s, error) == 0;
}

gboolean
catalog_set_open(Catalog *c, guint32 incarnation, GError **error)
{
    return set_state(c, "UPDATE state SET incarnation = ?, clean = 0", incarnation, error);
}

gboolean
catalog_set_lost(Catalog *c, GError **error)
{
    return run(c, "UPDATE state SET clean = -1", error);
}

gboolean
catalog_set_clean(Catalog *c, guint64 applied, GError **error)
{
    return set_state(c, "UPDATE state SET applied = max(applied, ?), clean = 1", applied, error);
}

/* ---- reading ---- */

static FileStat
read_stat(Statement *s, int i)
{
    return (FileStat){
        .dev = column_u64(s, i),
        .ino = column_u64(s, i + 1),
        .mode = (guint32) column_u64(s, i + 2),
        .uid = (guint32) column_u64(s, i + 3),
        .gid = (guint32) column_u64(s, i + 4),
        .nlink = (guint32) column_u64(s, i + 5),
        .size_bytes = column_u64(s, i + 6),
        .mtime_ns = sqlite3_column_int64(s, i + 7),
        .ctime_ns = sqlite3_column_int64(s, i + 8),
        .btime_ns = sqlite3_column_int64(s, i + 9),
        .fsid = column_u64(s, i + 10),
    };
}

static void
bind_stat(Statement *s, int i, const FileStat *st)
{
    const guint64 values[] = {st->dev,
                              st->ino,
                              st->mode,
                              st->uid,
                              st->gid,
                              st->nlink,
                              st->size_bytes,
                              (guint64) st->mtime_ns,
                              (guint64) st->ctime_ns,
                              (guint64) st->btime_ns,
                              st->fsid};

    for (guint k = 0; k < G_N_ELEMENTS(values); k++)
        bind_u64(s, i + (int) k, values[k]);
}

static GBytes *
stat_to_bytes(const FileStat *st)
{
    g_autoptr(GVariant) value = g_variant_ref_sink(filestat_to_variant(st));
#if G_BYTE_ORDER == G_BIG_ENDIAN
    g_autoptr(GVariant) native = g_steal_pointer(&value);
    value = g_variant_byteswap(native);
#endif
    return g_variant_get_data_as_bytes(value);
}

static FileStat
stat_from_bytes(GBytes *bytes)
{
    g_autoptr(GVariant) value =
        g_variant_ref_sink(g_variant_new_from_bytes(G_VARIANT_TYPE(FILESTAT_TYPE), bytes, FALSE));
#if G_BYTE_ORDER == G_BIG_ENDIAN
    g_autoptr(GVariant) little = g_steal_pointer(&value);
    value = g_variant_byteswap(little);
#endif
    FileStat st;
    filestat_from_variant(value, &st);
    return st;
}

static gboolean
load_points(Catalog *c, FileView *v, GError **error)
{
    g_autoptr(Statement) s =
        prepare(c,
                "SELECT id, time, cause, quality, size, stat, attributes, hash, pin FROM point"
                " WHERE file = ? ORDER BY id",
                error);
    int got;

    if (!s)
        return FALSE;
    bind_u64(s, 1, v->id);
    while ((got = step(c, s, error)) > 0) {
        Point *p = g_new0(Point, 1);
        g_autoptr(GBytes) stat = column_bytes(s, 5);
        p->id = column_u64(s, 0);
        p->time_usec = sqlite3_column_int64(s, 1);
        p->cause = (PointCause) sqlite3_column_int(s, 2);
        p->quality = (Quality) sqlite3_column_int(s, 3);
        p->size_bytes = column_u64(s, 4);
        p->stat = stat_from_bytes(stat);
        p->attributes = column_bytes(s, 6);
        column_hash(s, 7, p->hash);
        p->pinned = sqlite3_column_int(s, 8) != 0;
        p->place = POINT_IN_HISTORY;
        g_ptr_array_add(v->points, p);
    }
    return got == 0;
}

static Point *
load_current(Statement *s)
{
    Point *p = g_new0(Point, 1);

    p->id = column_u64(s, 3);
    p->time_usec = sqlite3_column_int64(s, 6);
    p->cause = (PointCause) sqlite3_column_int(s, 7);
    p->quality = (Quality) sqlite3_column_int(s, 8);
    p->size_bytes = column_u64(s, 9);
    p->attributes = column_bytes(s, 10);
    column_hash(s, 11, p->hash);
    p->stat = read_stat(s, 12);
    p->place = POINT_IN_MIRROR;
    return p;
}

FileView *
catalog_load(Catalog *c, const char *path, GError **error)
{
    g_autoptr(FileView) v = view_new(path);
    g_autoptr(Statement) s = prepare(
        c,
        "SELECT file.id, principal, state, content, seq, mirror_ino, time, cause, quality, size,"
        " attributes, hash, dev, ino, mode, uid, gid, nlink, stat_size, mtime, ctime, btime, fsid"
        " FROM entry JOIN file ON file.entry = entry.id WHERE entry.path = ?",
        error);

    if (!s)
        return NULL;
    bind_bytes(s, 1, path, strlen(path));
    int got = step(c, s, error);
    if (got < 0)
        return NULL;
    if (got == 0)
        return g_steal_pointer(&v);
    v->id = column_u64(s, 0);
    v->principal = (uid_t) column_u64(s, 1);
    v->state = (StoredState) sqlite3_column_int(s, 2);
    v->newest_seq = v->applied = column_u64(s, 4);
    v->mirror_ino = column_u64(s, 5);
    if (column_u64(s, 3) > 0)
        v->current = load_current(s);
    return load_points(c, v, error) ? g_steal_pointer(&v) : NULL;
}

GBytes *
catalog_sums(Catalog *c, guint64 file, GError **error)
{
    g_autoptr(Statement) s = prepare(c, "SELECT blob FROM sums WHERE file = ? ORDER BY row", error);
    g_autoptr(GByteArray) all = g_byte_array_new();
    int got;

    if (!s)
        return NULL;
    bind_u64(s, 1, file);
    while ((got = step(c, s, error)) > 0) {
        const guint8 *data = sqlite3_column_blob(s, 0);
        g_byte_array_append(all, data, (guint) sqlite3_column_bytes(s, 0));
    }
    return got < 0 ? NULL : g_byte_array_free_to_bytes(g_steal_pointer(&all));
}

GBytes *
catalog_point_sums(Catalog *c, guint64 file, guint64 point, GError **error)
{
    g_autoptr(Statement) s = prepare(c, "SELECT sums FROM point WHERE file = ? AND id = ?", error);

    if (!s)
        return NULL;
    bind_u64(s, 1, file);
    bind_u64(s, 2, point);
    int got = step(c, s, error);
    if (got == 0)
        throw_error(error, FILEDUP_ERROR_NO_ENTRY, "no such point");
    return got == 1 ? column_bytes(s, 0) : NULL;
}

GPtrArray *
catalog_paths(Catalog *c, GError **error)
{
    g_autoptr(Statement) s = prepare(c, "SELECT path FROM entry ORDER BY path", error);
    g_autoptr(GPtrArray) paths = g_ptr_array_new_with_free_func(g_free);
    int got;

    if (!s)
        return NULL;
    while ((got = step(c, s, error)) > 0)
        g_ptr_array_add(paths,
                        g_strndup(sqlite3_column_blob(s, 0), (gsize) sqlite3_column_bytes(s, 0)));
    return got < 0 ? NULL : g_steal_pointer(&paths);
}

gboolean
catalog_totals(Catalog *c, guint64 *ret_files, guint64 *ret_bytes, GError **error)
{
    g_autoptr(Statement) s =
        prepare(c, "SELECT count(*), ifnull(sum(size), 0) FROM file WHERE content > 0", error);

    if (!s || step(c, s, error) != 1)
        return FALSE;
    *ret_files = column_u64(s, 0);
    *ret_bytes = column_u64(s, 1);
    return TRUE;
}

/* ---- writing ---- */

static gboolean
save_entry(Catalog *c, const FileView *v, GError **error)
{
    g_autoptr(Statement) s =
        prepare(c,
                "INSERT INTO entry(id, path, principal) VALUES(?, ?, ?)"
                " ON CONFLICT(id) DO UPDATE SET principal = excluded.principal",
                error);

    if (!s)
        return FALSE;
    bind_u64(s, 1, v->id);
    bind_bytes(s, 2, v->path, strlen(v->path));
    bind_u64(s, 3, v->principal);
    return step(c, s, error) == 0;
}

static gboolean
save_file(Catalog *c, const FileView *v, GError **error)
{
    static const Point nothing;
    const Point *p = v->current ? v->current : &nothing;
    g_autofree char *folder = NULL, *name = NULL;
    g_autoptr(Statement) s = prepare(
        c,
        "INSERT OR REPLACE INTO file(id, entry, path, type, attributes, mirror_ino, size, state,"
        " quality, hash, time, seq, cause, content, dev, ino, mode, uid, gid, nlink, stat_size,"
        " mtime, ctime, btime, fsid)"
        " VALUES(?,?,?,?,?,?,?,?,?,?,?,?,?,?,?,?,?,?,?,?,?,?,?,?,?)",
        error);

    if (!s)
        return FALSE;
    path_split(v->path, &folder, &name);
    bind_u64(s, 1, v->id);
    bind_u64(s, 2, v->id);
    bind_bytes(s, 3, name, strlen(name));
    bind_u64(s, 4, p->stat.mode & 0170000);
    bind_gbytes(s, 5, p->attributes);
    bind_u64(s, 6, v->mirror_ino);
    bind_u64(s, 7, p->size_bytes);
    bind_u64(s, 8, v->state);
    bind_u64(s, 9, p->quality);
    bind_bytes(s, 10, p->hash, HASH_BYTES);
    bind_u64(s, 11, (guint64) p->time_usec);
    bind_u64(s, 12, v->newest_seq);
    bind_u64(s, 13, p->cause);
    bind_u64(s, 14, p->id);
    bind_stat(s, 15, &p->stat);
    return step(c, s, error) == 0;
}

static gboolean
save_sums(Catalog *c, const FileView *v, GError **error)
{
    if (!v->current || !v->current->sums)
        return TRUE;
    g_autoptr(Statement) clear = prepare(c, "DELETE FROM sums WHERE file = ?", error);
    g_autoptr(Statement) s =
        clear ? prepare(c, "INSERT INTO sums(file, row, blob) VALUES(?, ?, ?)", error) : NULL;
    gsize n;
    const guint8 *data = g_bytes_get_data(v->current->sums, &n);

    if (!s)
        return FALSE;
    bind_u64(clear, 1, v->id);
    if (step(c, clear, error) != 0)
        return FALSE;
    for (gsize at = 0; at < n; at += SUMS_ROW_BYTES) {
        bind_u64(s, 1, v->id);
        bind_u64(s, 2, at / SUMS_ROW_BYTES);
        bind_bytes(s, 3, data + at, MIN(SUMS_ROW_BYTES, n - at));
        if (step(c, s, error) != 0)
            return FALSE;
        (void) sqlite3_reset(s);
    }
    return TRUE;
}

static gboolean
save_point(Catalog *c, const FileView *v, const Point *p, GError **error)
{
    g_autoptr(GBytes) stat = stat_to_bytes(&p->stat);
    g_autofree char *folder = NULL, *name = NULL;
    g_autoptr(Statement) s = prepare(
        c,
        "INSERT OR REPLACE INTO point(id, file, seq, time, cause, quality, size, stat, attributes,"
        " hash, sums, name, pin) VALUES(?,?,?,?,?,?,?,?,?,?,?,?,?)",
        error);

    if (!s)
        return FALSE;
    path_split(v->path, &folder, &name);
    bind_u64(s, 1, p->id);
    bind_u64(s, 2, v->id);
    bind_u64(s, 3, p->id);
    bind_u64(s, 4, (guint64) p->time_usec);
    bind_u64(s, 5, p->cause);
    bind_u64(s, 6, p->quality);
    bind_u64(s, 7, p->size_bytes);
    bind_gbytes(s, 8, stat);
    bind_gbytes(s, 9, p->attributes);
    bind_bytes(s, 10, p->hash, HASH_BYTES);
    bind_gbytes(s, 11, p->sums);
    bind_bytes(s, 12, name, strlen(name));
    bind_u64(s, 13, p->pinned);
    return step(c, s, error) == 0;
}

static gboolean
drop_point(Catalog *c, const FileView *v, const Point *p, GError **error)
{
    g_autoptr(Statement) s = prepare(c, "DELETE FROM point WHERE file = ? AND id = ?", error);

    if (!s)
        return FALSE;
    bind_u64(s, 1, v->id);
    bind_u64(s, 2, p->id);
    return step(c, s, error) == 0;
}

static gboolean
save_all(Catalog *c, const FileView *v, guint64 applied, GError **error)
{
    if (!save_entry(c, v, error) || !save_file(c, v, error) || !save_sums(c, v, error))
        return FALSE;
    for (guint i = 0; i < v->dropped->len; i++)
        if (!drop_point(c, v, v->dropped->pdata[i], error))
            return FALSE;
    for (guint i = 0; i < v->points->len; i++) {
        const Point *p = v->points->pdata[i];
        if (p->fresh && !save_point(c, v, p, error))
            return FALSE;
    }
    return set_state(c, "UPDATE state SET applied = max(applied, ?)", applied, error);
}

gboolean
catalog_save(Catalog *c, const FileView *v, guint64 applied, GError **error)
{
    if (!run(c, "BEGIN IMMEDIATE", error))
        return FALSE;
    if (save_all(c, v, applied, error) && run(c, "COMMIT", error)) /* invariant 2 */
        return TRUE;
    (void) sqlite3_exec(c->db, "ROLLBACK", NULL, NULL, NULL);
    return FALSE;
}
