/* catalog_save.c - one transaction of what a batch, thinning, forgetting or compaction changes */

#include "config.h"

#include <string.h>

#include "base/error.h"
#include "base/path.h"
#include "store/catalog_private.h"
#include "store/footer.h"

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

static void
bind_name(Statement *s, int i, const char *name)
{
    if (name)
        (void) sqlite3_bind_text(s, i, name, -1, SQLITE_TRANSIENT);
    else
        (void) sqlite3_bind_null(s, i);
}

/* A statement with one or two numbers. */
static gboolean
run_with(Catalog *c, const char *sql, guint64 first, guint64 second, GError **error)
{
    g_autoptr(Statement) s = statement(c, sql, error);

    if (!s)
        return FALSE;
    bind_u64(s, 1, first);
    if (sqlite3_bind_parameter_count(s) > 1)
        bind_u64(s, 2, second);
    return statement_step(c, s, error) == 0;
}

/* ---- a file ---- */

static gboolean
save_entry(Catalog *c, const FileView *v, GError **error)
{
    g_autoptr(Statement) s =
        statement(c,
                  "INSERT INTO entry(id, path, principal) VALUES(?, ?, ?)"
                  " ON CONFLICT(id) DO UPDATE SET principal = excluded.principal"
                  " WHERE principal <> excluded.principal",
                  error);

    if (!s)
        return FALSE;
    bind_u64(s, 1, v->id);
    bind_bytes(s, 2, v->path, strlen(v->path));
    bind_u64(s, 3, v->principal);
    return statement_step(c, s, error) == 0;
}

static gboolean
save_file(Catalog *c, const FileView *v, GError **error)
{
    static const Point nothing;
    const Point *p = v->current ? v->current : &nothing;
    g_autofree char *folder = NULL, *name = NULL;
    g_autoptr(Statement) s = statement(
        c,
        "INSERT OR REPLACE INTO file(id, entry, path, type, attributes, mirror_ino, size, state,"
        " quality, hash, time, seq, cause, content, dev, ino, mode, uid, gid, nlink, stat_size,"
        " mtime, ctime, btime, fsid, kept, label, changed, deleted, suspicion, suspicion_since,"
        " suspicion_point)"
        " VALUES(?,?,?,?,?,?,?,?,?,?,?,?,?,?,?,?,?,?,?,?,?,?,?,?,?,?,?,?,?,?,?,?)",
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
    bind_u64(s, 26, p->kept);
    bind_name(s, 27, p->name);
    bind_u64(s, 28, p->changed_bytes);
    bind_u64(s, 29, (guint64) p->deleted_usec);
    bind_u64(s, 30, v->suspicion);
    bind_u64(s, 31, (guint64) v->suspicion_since_usec);
    bind_u64(s, 32, v->suspicion_point);
    return statement_step(c, s, error) == 0;
}

/* 1: it is as given; 0: it is not, or not there; -1: an error. */
static int
has_sums_row(Catalog *c, guint64 file, guint64 row, const guint8 *data, gsize n, GError **error)
{
    g_autoptr(Statement) s =
        statement(c, "SELECT blob FROM sums WHERE file = ? AND row = ?", error);

    if (!s)
        return -1;
    bind_u64(s, 1, file);
    bind_u64(s, 2, row);
    int got = statement_step(c, s, error);
    return got != 1 ? got
                    : (gsize) sqlite3_column_bytes(s, 0) == n &&
                          memcmp(sqlite3_column_blob(s, 0), data, n) == 0;
}

static gboolean
save_sums_row(Catalog *c, guint64 file, guint64 row, const guint8 *data, gsize n, GError **error)
{
    int there = has_sums_row(c, file, row, data, n, error);
    g_autoptr(Statement) s = NULL;

    if (there != 0)
        return there == 1;
    if (!(s = statement(c, "INSERT OR REPLACE INTO sums(file, row, blob) VALUES(?, ?, ?)", error)))
        return FALSE;
    bind_u64(s, 1, file);
    bind_u64(s, 2, row);
    bind_bytes(s, 3, data, n);
    return statement_step(c, s, error) == 0;
}

/* Only rows that changed are written. */
static gboolean
save_sums(Catalog *c, const FileView *v, GError **error)
{
    guint64 row = 0;
    gsize n;

    if (!v->current || !v->current->sums)
        return TRUE;
    const guint8 *data = g_bytes_get_data(v->current->sums, &n);
    for (gsize at = 0; at < n; at += SUMS_ROW_BYTES, row++)
        if (!save_sums_row(c, v->id, row, data + at, MIN(SUMS_ROW_BYTES, n - at), error))
            return FALSE;
    return run_with(c, "DELETE FROM sums WHERE file = ? AND row >= ?", v->id, row, error);
}

/* ---- points, and what they use ---- */

static gboolean
save_uses(Catalog *c, guint64 file, const Point *p, GError **error)
{
    g_autoptr(GHashTable) bytes = g_hash_table_new_full(g_int64_hash, g_int64_equal, NULL, g_free);
    GHashTableIter iter;
    gpointer pack, sum;

    for (guint i = 0; i < p->undo->pieces->len; i++) {
        const Piece *piece = &g_array_index(p->undo->pieces, Piece, i);
        guint64 *known = g_hash_table_lookup(bytes, &piece->pack);
        if (piece->kind != PIECE_PACK)
            continue;
        if (known)
            *known += piece->length;
        else
            g_hash_table_insert(bytes, (gpointer) &piece->pack,
                                g_memdup2(&piece->length, sizeof piece->length));
    }
    if (!run_with(c, "DELETE FROM uses WHERE file = ? AND point = ?", file, p->id, error))
        return FALSE;
    g_hash_table_iter_init(&iter, bytes);
    while (g_hash_table_iter_next(&iter, &pack, &sum)) {
        g_autoptr(Statement) s =
            statement(c, "INSERT INTO uses(file, point, pack, bytes) VALUES(?, ?, ?, ?)", error);
        if (!s)
            return FALSE;
        bind_u64(s, 1, file);
        bind_u64(s, 2, p->id);
        bind_u64(s, 3, *(guint64 *) pack);
        bind_u64(s, 4, *(guint64 *) sum);
        if (statement_step(c, s, error) != 0)
            return FALSE;
    }
    return TRUE;
}

/* Undo and sums that were not loaded stay as they are. */
static gboolean
save_point(Catalog *c, const FileView *v, const Point *p, GError **error)
{
    g_autoptr(GBytes) stat = stat_to_bytes(&p->stat);
    g_autoptr(GBytes) undo = p->undo ? undo_encode(p->undo) : NULL;
    g_autofree char *folder = NULL, *name = NULL;
    g_autoptr(Statement) s = statement(
        c,
        "INSERT INTO point(id, file, seq, time, cause, quality, size, stat, attributes, hash, sums,"
        " name, pin, kept, label, changed, deleted, whole, undo)"
        " VALUES(?1,?2,?1,?3,?4,?5,?6,?7,?8,?9,?10,?11,0,?12,?13,?14,?15,?16,?17)"
        " ON CONFLICT(file, id) DO UPDATE SET cause = excluded.cause, quality = excluded.quality,"
        " stat = excluded.stat, attributes = excluded.attributes, kept = excluded.kept,"
        " label = excluded.label, changed = excluded.changed, deleted = excluded.deleted,"
        " whole = excluded.whole, undo = ifnull(excluded.undo, undo),"
        " sums = iif(length(excluded.sums) > 0, excluded.sums, sums)",
        error);

    if (!s)
        return FALSE;
    if (p->place != POINT_IN_HISTORY && p->place != POINT_IN_UNDO)
        return throw_error(error, FILEDUP_ERROR_FATAL,
                           "catalog: it is older than the journal and the packs beside it (a copy put "
                           "back, or a disk that lost what it had synced): 'filedup store rebuild' "
                           "makes a new one");
    path_split(v->path, &folder, &name);
    bind_u64(s, 1, p->id);
    bind_u64(s, 2, v->id);
    bind_u64(s, 3, (guint64) p->time_usec);
    bind_u64(s, 4, p->cause);
    bind_u64(s, 5, p->quality);
    bind_u64(s, 6, p->size_bytes);
    bind_gbytes(s, 7, stat);
    bind_gbytes(s, 8, p->attributes);
    bind_bytes(s, 9, p->hash, HASH_BYTES);
    bind_gbytes(s, 10, p->place == POINT_IN_HISTORY ? p->sums : NULL);
    bind_bytes(s, 11, name, strlen(name));
    bind_u64(s, 12, p->kept);
    bind_name(s, 13, p->name);
    bind_u64(s, 14, p->changed_bytes);
    bind_u64(s, 15, (guint64) p->deleted_usec);
    bind_u64(s, 16, p->place == POINT_IN_HISTORY ? p->whole : 0);
    if (undo)
        bind_gbytes(s, 17, undo);
    return statement_step(c, s, error) == 0 && (!p->undo || save_uses(c, v->id, p, error));
}

static gboolean
save_view(Catalog *c, const FileView *v, GError **error)
{
    if (!save_entry(c, v, error) || !save_file(c, v, error) || !save_sums(c, v, error))
        return FALSE;
    for (guint i = 0; i < v->dropped->len; i++) {
        guint64 id = ((const Point *) v->dropped->pdata[i])->id;
        if (!run_with(c, "DELETE FROM point WHERE file = ? AND id = ?", v->id, id, error) ||
            !run_with(c, "DELETE FROM uses WHERE file = ? AND point = ?", v->id, id, error))
            return FALSE;
    }
    for (guint i = 0; i < v->points->len; i++) {
        const Point *p = v->points->pdata[i];
        if (p->fresh && !save_point(c, v, p, error))
            return FALSE;
    }
    return !c->has_prepared || run_with(c, "DELETE FROM prepared WHERE file = ?", v->id, 0, error);
}

static gboolean
forget_file(Catalog *c, guint64 file, GError **error)
{
    static const char *const steps[] = {
        "DELETE FROM uses WHERE file = ?",  "DELETE FROM point WHERE file = ?",
        "DELETE FROM sums WHERE file = ?",  "DELETE FROM prepared WHERE file = ?",
        "DELETE FROM file WHERE entry = ?", "DELETE FROM entry WHERE id = ?"};

    for (guint i = 0; i < G_N_ELEMENTS(steps); i++)
        if (!run_with(c, steps[i], file, 0, error))
            return FALSE;
    return TRUE;
}

/* ---- packs, and what else a change has ---- */

static gboolean
save_pack(Catalog *c, const CatalogPack *pack, GError **error)
{
    g_autoptr(Statement) s = statement(c,
                                       "INSERT INTO pack(id, length, saved) VALUES(?, ?, ?)"
                                       " ON CONFLICT(id) DO UPDATE SET length = excluded.length,"
                                       " saved = saved + excluded.saved",
                                       error);

    if (!s)
        return FALSE;
    bind_u64(s, 1, pack->id);
    bind_u64(s, 2, pack->length_bytes);
    bind_u64(s, 3, pack->added_bytes);
    return statement_step(c, s, error) == 0;
}

static gboolean
save_prepared(Catalog *c, const FooterFile *f, GError **error)
{
    g_autoptr(GBytes) footer = footer_file_encode(f);
    g_autoptr(Statement) s =
        statement(c, "INSERT OR REPLACE INTO prepared(file, footer) VALUES(?, ?)", error);

    if (!s)
        return FALSE;
    bind_u64(s, 1, f->id);
    bind_gbytes(s, 2, footer);
    return statement_step(c, s, error) == 0;
}

static gboolean
save_policies(Catalog *c, GError **error)
{
    GHashTableIter iter;
    gpointer path, value;

    g_hash_table_iter_init(&iter, c->policies);
    while (g_hash_table_iter_next(&iter, &path, &value)) {
        const Policy *policy = value;
        g_autoptr(Statement) s =
            statement(c,
                      "INSERT INTO policy(path, keep, keep_last) VALUES(?, ?, ?)"
                      " ON CONFLICT(path) DO UPDATE SET keep = excluded.keep,"
                      " keep_last = excluded.keep_last"
                      " WHERE keep <> excluded.keep OR keep_last <> excluded.keep_last",
                      error);
        if (!s)
            return FALSE;
        bind_bytes(s, 1, path, strlen(path));
        (void) sqlite3_bind_text(s, 2, policy->keep ? policy->keep : "", -1, SQLITE_TRANSIENT);
        bind_u64(s, 3, policy->keep_last);
        if (statement_step(c, s, error) != 0)
            return FALSE;
    }
    return TRUE;
}

static gboolean
save_numbers(Catalog *c, const char *sql, const GArray *numbers, GError **error)
{
    for (guint i = 0; numbers && i < numbers->len; i++)
        if (!run_with(c, sql, g_array_index(numbers, guint64, i), 0, error))
            return FALSE;
    return TRUE;
}

static gboolean
save_all(Catalog *c, const CatalogChange *change, GError **error)
{
    for (guint i = 0; change->views && i < change->views->len; i++)
        if (!save_view(c, change->views->pdata[i], error))
            return FALSE;
    for (guint i = 0; change->prepared && i < change->prepared->len; i++)
        if (!save_prepared(c, change->prepared->pdata[i], error))
            return FALSE;
    for (guint i = 0; change->packs && i < change->packs->len; i++)
        if (!save_pack(c, &g_array_index(change->packs, CatalogPack, i), error))
            return FALSE;
    for (guint i = 0; change->forgotten && i < change->forgotten->len; i++)
        if (!forget_file(c, g_array_index(change->forgotten, guint64, i), error))
            return FALSE;
    return save_numbers(c, "UPDATE pack SET length = 0 WHERE id = ?", change->removed_packs,
                        error) &&
           save_numbers(c, "DELETE FROM pack WHERE id = ?", change->gone_packs, error) &&
           save_policies(c, error) &&
           (change->applied == 0 ||
            run_with(c, "UPDATE state SET applied = max(applied, ?)", change->applied, 0, error));
}

gboolean
catalog_save(Catalog *c, const CatalogChange *change, GError **error)
{
    if (!catalog_run(c, "BEGIN IMMEDIATE", error))
        return FALSE;
    c->totals_known = FALSE;
    if (!save_all(c, change, error) || !catalog_run(c, "COMMIT", error)) { /* invariant 2 */
        (void) sqlite3_exec(c->db, "ROLLBACK", NULL, NULL, NULL);
        return FALSE;
    }
    g_hash_table_remove_all(c->policies);
    if (!c->has_prepared && !(change->prepared && change->prepared->len > 0))
        return TRUE;
    return catalog_load_state(c, error);
}
