/* catalog_load.c - rows of the catalog become views, and lists of what is there
 *
 * Of points only those are loaded that the caller needs (CatalogLoad): a file may have thousands, and
 * each has an undo.
 */

#include "config.h"

#include <string.h>

#include "base/error.h"
#include "store/catalog_private.h"
#include "store/footer.h"

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

static char *
column_text(Statement *s, int i)
{
    const char *text = (const char *) sqlite3_column_text(s, i);

    return text && text[0] ? g_strdup(text) : NULL;
}

/* ---- one file ---- */

#define POINT_COLUMNS                                                                              \
    "SELECT id, time, cause, quality, size, stat, attributes, hash, kept, label, changed,"         \
    " deleted, whole"

static const char *const point_selects[] = {
    [CATALOG_NEWEST] =
        POINT_COLUMNS ", undo FROM point WHERE file = ?1 AND id IN"
                      " (SELECT id FROM point WHERE file = ?1 AND kept <> 0 AND kept & 1 UNION ALL"
                      "  SELECT * FROM (SELECT id FROM point WHERE file = ?1 AND cause <> 2 ORDER "
                      "BY id DESC LIMIT 1))"
                      " ORDER BY id",
    [CATALOG_POINTS] = POINT_COLUMNS ", NULL FROM point WHERE file = ?1 ORDER BY id",
    [CATALOG_UNDO] = POINT_COLUMNS ", undo FROM point WHERE file = ?1 ORDER BY id",
};
G_STATIC_ASSERT(KEPT_STABLE == 1 && CAUSE_BEFORE_RESTORE == 2);

static gboolean
load_undo(Point *p, Statement *s, int i, GError **error)
{
    if (sqlite3_column_bytes(s, i) == 0)
        return TRUE;
    g_autoptr(GBytes) blob = column_bytes(s, i);
    p->undo = undo_decode(blob);
    return p->undo != NULL ||
           throw_error(error, FILEDUP_ERROR_FATAL,
                       "catalog: the undo of point %" G_GUINT64_FORMAT " makes no sense", p->id);
}

static gboolean
load_points(Catalog *c, FileView *v, CatalogLoad how, GError **error)
{
    g_autoptr(Statement) s = statement(c, point_selects[how], error);
    int got;

    if (!s)
        return FALSE;
    bind_u64(s, 1, v->id);
    while ((got = statement_step(c, s, error)) > 0) {
        Point *p = g_new0(Point, 1);
        g_autoptr(GBytes) stat = column_bytes(s, 5);
        g_ptr_array_add(v->points, p);
        p->id = column_u64(s, 0);
        p->time_usec = sqlite3_column_int64(s, 1);
        p->cause = (PointCause) sqlite3_column_int(s, 2);
        p->quality = (Quality) sqlite3_column_int(s, 3);
        p->size_bytes = column_u64(s, 4);
        p->stat = stat_from_bytes(stat);
        p->attributes = column_bytes(s, 6);
        column_hash(s, 7, p->hash);
        p->kept = (guint32) column_u64(s, 8);
        p->name = column_text(s, 9);
        p->changed_bytes = column_u64(s, 10);
        p->deleted_usec = sqlite3_column_int64(s, 11);
        p->whole = column_u64(s, 12);
        p->place = p->whole ? POINT_IN_HISTORY : POINT_IN_UNDO;
        if (!load_undo(p, s, 13, error))
            return FALSE;
    }
    v->all_points = how != CATALOG_NEWEST;
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
    p->kept = (guint32) column_u64(s, 23);
    p->name = column_text(s, 24);
    p->changed_bytes = column_u64(s, 25);
    p->deleted_usec = sqlite3_column_int64(s, 26);
    p->place = POINT_IN_MIRROR;
    return p;
}

static gboolean
load_policy(Catalog *c, FileView *v, GError **error)
{
    const Policy *said = g_hash_table_lookup(c->policies, v->path);
    g_autoptr(Statement) s =
        said ? NULL : statement(c, "SELECT keep, keep_last FROM policy WHERE path = ?", error);

    if (said) {
        v->keep = g_strdup(said->keep);
        v->keep_last = said->keep_last;
        return TRUE;
    }
    if (!s)
        return FALSE;
    bind_bytes(s, 1, v->path, strlen(v->path));
    int got = statement_step(c, s, error);
    if (got == 1) {
        v->keep = g_strdup((const char *) sqlite3_column_text(s, 0));
        v->keep_last = (guint32) column_u64(s, 1);
    }
    return got >= 0;
}

#define FILE_COLUMNS                                                                               \
    "SELECT file.id, principal, state, content, seq, mirror_ino, time, cause, quality, size,"      \
    " attributes, hash, dev, ino, mode, uid, gid, nlink, stat_size, mtime, ctime, btime, fsid,"    \
    " kept, label, changed, deleted, suspicion, suspicion_since, suspicion_point, entry.path"      \
    " FROM entry JOIN file ON file.entry = entry.id"

static void
load_row(Catalog *c, FileView *v, Statement *s)
{
    v->id = column_u64(s, 0);
    v->principal = (uid_t) column_u64(s, 1);
    v->state = (StoredState) sqlite3_column_int(s, 2);
    v->mirror_point = column_u64(s, 3);
    v->newest_seq = v->applied = column_u64(s, 4);
    v->mirror_ino = column_u64(s, 5);
    if (v->mirror_point > 0)
        v->current = load_current(s);
    v->mirror_bytes = v->current ? v->current->size_bytes : 0;
    v->suspicion = (guint32) column_u64(s, 27);
    v->suspicion_since_usec = sqlite3_column_int64(s, 28);
    v->suspicion_point = column_u64(s, 29);
    v->boot_seq = c->boot_seq;
}

FileView *
catalog_load(Catalog *c, const char *path, CatalogLoad how, GError **error)
{
    g_autoptr(FileView) v = view_new(path);
    g_autoptr(Statement) s = statement(c, FILE_COLUMNS " WHERE entry.path = ?", error);

    if (!s)
        return NULL;
    bind_bytes(s, 1, path, strlen(path));
    int got = statement_step(c, s, error);
    if (got < 0 || !load_policy(c, v, error))
        return NULL;
    v->boot_seq = c->boot_seq;
    if (got == 0) {
        v->all_points = TRUE;
        return g_steal_pointer(&v);
    }
    load_row(c, v, s);
    return load_points(c, v, how, error) ? g_steal_pointer(&v) : NULL;
}

FileView *
catalog_load_file(Catalog *c, guint64 file, CatalogLoad how, GError **error)
{
    g_autofree char *path = NULL;

    {
        g_autoptr(Statement) s = statement(c, "SELECT path FROM entry WHERE id = ?", error);
        if (!s)
            return NULL;
        bind_u64(s, 1, file);
        int got = statement_step(c, s, error);
        if (got == 0)
            throw_error(error, FILEDUP_ERROR_NO_ENTRY, "no file %" G_GUINT64_FORMAT, file);
        if (got != 1)
            return NULL;
        path = g_strndup(sqlite3_column_blob(s, 0), (gsize) sqlite3_column_bytes(s, 0));
    }
    return catalog_load(c, path, how, error);
}

GBytes *
catalog_sums(Catalog *c, guint64 file, GError **error)
{
    g_autoptr(Statement) s =
        statement(c, "SELECT blob FROM sums WHERE file = ? ORDER BY row", error);
    g_autoptr(GByteArray) all = g_byte_array_new();
    int got;

    if (!s)
        return NULL;
    bind_u64(s, 1, file);
    while ((got = statement_step(c, s, error)) > 0) {
        const guint8 *data = sqlite3_column_blob(s, 0);
        g_byte_array_append(all, data, (guint) sqlite3_column_bytes(s, 0));
    }
    return got < 0 ? NULL : g_byte_array_free_to_bytes(g_steal_pointer(&all));
}

GBytes *
catalog_point_sums(Catalog *c, guint64 file, guint64 point, GError **error)
{
    g_autoptr(Statement) s =
        statement(c, "SELECT sums FROM point WHERE file = ? AND id = ?", error);

    if (!s)
        return NULL;
    bind_u64(s, 1, file);
    bind_u64(s, 2, point);
    int got = statement_step(c, s, error);
    if (got == 0)
        throw_error(error, FILEDUP_ERROR_NO_ENTRY, "no such point");
    return got == 1 ? column_bytes(s, 0) : NULL;
}

gboolean
catalog_has_prepared(const Catalog *c)
{
    return c->has_prepared;
}

FooterFile *
catalog_prepared(Catalog *c, guint64 file, GError **error)
{
    if (!c->has_prepared)
        return NULL;
    g_autoptr(Statement) s = statement(c, "SELECT footer FROM prepared WHERE file = ?", error);
    if (!s)
        return NULL;
    bind_u64(s, 1, file);
    if (statement_step(c, s, error) != 1)
        return NULL;
    g_autoptr(GBytes) footer = column_bytes(s, 0);
    return footer_file_decode(footer, error);
}

/* ---- lists ---- */

GPtrArray *
catalog_paths(Catalog *c, GError **error)
{
    g_autoptr(Statement) s = statement(c, "SELECT path FROM entry ORDER BY path", error);
    g_autoptr(GPtrArray) paths = g_ptr_array_new_with_free_func(g_free);
    int got;

    if (!s)
        return NULL;
    while ((got = statement_step(c, s, error)) > 0)
        g_ptr_array_add(paths,
                        g_strndup(sqlite3_column_blob(s, 0), (gsize) sqlite3_column_bytes(s, 0)));
    return got < 0 ? NULL : g_steal_pointer(&paths);
}

gboolean
catalog_totals(Catalog *c, CatalogTotals *ret_totals, GError **error)
{
    if (!c->totals_known) {
        g_autoptr(Statement) s =
            statement(c,
                      "SELECT (SELECT count(*) FROM file WHERE content > 0),"
                      " (SELECT ifnull(sum(size), 0) FROM file WHERE content > 0),"
                      " (SELECT count(*) FROM point),"
                      " (SELECT ifnull(sum(length), 0) FROM pack) +"
                      " (SELECT ifnull(sum(size), 0) FROM point WHERE whole <> 0 AND whole = id)",
                      error);
        if (!s || statement_step(c, s, error) != 1)
            return FALSE;
        c->totals = (CatalogTotals){.files = column_u64(s, 0),
                                    .mirror_bytes = column_u64(s, 1),
                                    .points = column_u64(s, 2),
                                    .history_bytes = column_u64(s, 3)};
        c->totals_known = TRUE;
    }
    *ret_totals = c->totals;
    return TRUE;
}

void
catalog_file_free(CatalogFile *f)
{
    if (!f)
        return;
    g_free(f->path);
    g_free(f);
}

GPtrArray *
catalog_files_with_points(Catalog *c, guint64 after, guint max, GError **error)
{
    g_autoptr(Statement) s =
        statement(c,
                  "SELECT entry.id, entry.path, n FROM"
                  " (SELECT file, count(*) AS n FROM point WHERE file > ? GROUP BY file"
                  "  ORDER BY file LIMIT ?) JOIN entry ON entry.id = file ORDER BY entry.id",
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

/* Adds the packs that a footer's undo is in to `held` (as keys). */
static void
hold(GHashTable *held, const FooterFile *f)
{
    for (guint i = 0; i < f->points->len; i++) {
        const Undo *undo = ((const Point *) f->points->pdata[i])->undo;
        for (guint k = 0; undo && k < undo->pieces->len; k++) {
            const Piece *piece = &g_array_index(undo->pieces, Piece, k);
            if (piece->kind == PIECE_PACK)
                g_hash_table_add(held, g_memdup2(&piece->pack, sizeof piece->pack));
        }
    }
}

static GHashTable *
held_packs(Catalog *c, GError **error)
{
    g_autoptr(GHashTable) held = g_hash_table_new_full(g_int64_hash, g_int64_equal, g_free, NULL);
    int got;

    if (!c->has_prepared)
        return g_steal_pointer(&held);
    g_autoptr(Statement) s = statement(c, "SELECT footer FROM prepared", error);
    if (!s)
        return NULL;
    while ((got = statement_step(c, s, error)) > 0) {
        g_autoptr(GBytes) bytes = column_bytes(s, 0);
        g_autoptr(FooterFile) f = footer_file_decode(bytes, error);
        if (!f)
            return NULL;
        hold(held, f);
    }
    return got < 0 ? NULL : g_steal_pointer(&held);
}

GArray *
catalog_packs(Catalog *c, GError **error)
{
    g_autoptr(GHashTable) held = held_packs(c, error);
    g_autoptr(Statement) s =
        held ? statement(c,
                         "SELECT id, length, saved,"
                         " (SELECT ifnull(sum(bytes), 0) FROM uses WHERE pack = pack.id)"
                         " FROM pack ORDER BY id",
                         error)
             : NULL;
    g_autoptr(GArray) packs = g_array_new(FALSE, FALSE, sizeof(CatalogPackUse));
    int got;

    if (!s)
        return NULL;
    while ((got = statement_step(c, s, error)) > 0) {
        CatalogPackUse use = {.id = column_u64(s, 0),
                              .length_bytes = column_u64(s, 1),
                              .saved_bytes = column_u64(s, 2),
                              .live_bytes = column_u64(s, 3)};
        use.held = g_hash_table_contains(held, &use.id);
        g_array_append_val(packs, use);
    }
    return got < 0 ? NULL : g_steal_pointer(&packs);
}

gboolean
catalog_pack_length(Catalog *c, guint64 pack, guint64 *ret_bytes, GError **error)
{
    g_autoptr(Statement) s = statement(c, "SELECT length FROM pack WHERE id = ?", error);

    if (!s)
        return FALSE;
    bind_u64(s, 1, pack);
    int got = statement_step(c, s, error);
    *ret_bytes = got == 1 ? column_u64(s, 0) : 0;
    return got >= 0;
}

GArray *
catalog_pack_users(Catalog *c, guint64 pack, GError **error)
{
    g_autoptr(Statement) s =
        statement(c, "SELECT file, point FROM uses WHERE pack = ? ORDER BY file, point", error);
    g_autoptr(GArray) users = g_array_new(FALSE, FALSE, sizeof(CatalogUser));
    int got;

    if (!s)
        return NULL;
    bind_u64(s, 1, pack);
    while ((got = statement_step(c, s, error)) > 0) {
        CatalogUser user = {.file = column_u64(s, 0), .point = column_u64(s, 1)};
        g_array_append_val(users, user);
    }
    return got < 0 ? NULL : g_steal_pointer(&users);
}

gboolean
catalog_uses_whole(Catalog *c, guint64 file, guint64 whole, gboolean *ret_used, GError **error)
{
    g_autoptr(Statement) s = statement(
        c, "SELECT EXISTS(SELECT 1 FROM point WHERE file = ? AND whole = ? AND whole <> 0)", error);

    if (!s)
        return FALSE;
    bind_u64(s, 1, file);
    bind_u64(s, 2, whole);
    if (statement_step(c, s, error) != 1)
        return FALSE;
    *ret_used = sqlite3_column_int(s, 0) != 0;
    return TRUE;
}
