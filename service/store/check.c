/* check.c - whether all parts of a store are there and fit together
 *
 * Each part is read with the means of those who use it: the catalog in a copy, and asked by SQLite and
 * for rows that refer to what is not there; the journal by scan.c; every pack from its first to its last
 * batch; of every content the files and frames that it needs. What is in a folder and has no row is
 * told, too: an opening sweeps some of that, so it is no damage.
 * With `read`, every content is put together and compared with its hash (reader.c).
 */

#include "config.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>

#include "base/error.h"
#include "base/path.h"
#include "store/applying.h"
#include "store/catalog_copy.h"
#include "store/check.h"
#include "store/footer.h"
#include "store/inventory.h"
#include "store/mirror.h"
#include "store/reader.h"
#include "store/scan.h"
#include "store/verify.h"

typedef struct Check {
    Layout *layout;
    CatalogCopy *copy; /* NULL: there is none */
    Scan *scan;
    Packs *packs;
    GHashTable *lengths;  /* guint64 pack -> guint64                              */
    GHashTable *waiting;  /* paths of which the journal has more (borrowed)       */
    GHashTable *applying; /* names of mirrors                                     */
    GHashTable *known;    /* guint64 ids of files that have a row, or are waiting */
    Checked *result;
} Check;

void
checked_clear(Checked *c)
{
    g_clear_pointer(&c->troubles, g_ptr_array_unref);
}

static void
check_clear(Check *c)
{
    g_clear_pointer(&c->lengths, g_hash_table_unref);
    g_clear_pointer(&c->waiting, g_hash_table_unref);
    g_clear_pointer(&c->applying, g_hash_table_unref);
    g_clear_pointer(&c->known, g_hash_table_unref);
    g_clear_pointer(&c->packs, packs_close);
    g_clear_pointer(&c->scan, scan_free);
    g_clear_pointer(&c->copy, catalog_copy_free);
    g_clear_pointer(&c->layout, layout_close);
}

G_DEFINE_AUTO_CLEANUP_CLEAR_FUNC(Check, check_clear)

static void
add_key(GHashTable *table, guint64 key, guint64 value)
{
    g_hash_table_insert(table, g_memdup2(&key, sizeof key), g_memdup2(&value, sizeof value));
}

/* ---- catalog, journal, packs ---- */

static gboolean
open_catalog(Check *c, CatalogState *ret_state, GError **error)
{
    g_autoptr(GError) local = NULL;
    gboolean lost;

    c->copy = catalog_copy_new(c->layout->root, &lost, &local);
    if (!c->copy && !lost) {
        g_propagate_error(error, g_steal_pointer(&local));
        return FALSE;
    }
    if (!c->copy)
        troubles_add(c->result->troubles, TRUE, NULL, 0, "%s", local->message);
    else if (!catalog_copy_check(c->copy, c->result->troubles) ||
             !catalog_state(c->copy->catalog, ret_state, NULL))
        g_clear_pointer(&c->copy, catalog_copy_free);
    c->result->no_catalog = c->copy == NULL;
    return TRUE;
}

static void
check_journal(Check *c, guint64 applied)
{
    g_autoptr(GError) error = NULL;

    c->scan = scan_journal(c->layout->journal, c->layout->uuid, FALSE, applied, &error);
    if (!c->scan) {
        troubles_add(c->result->troubles, TRUE, NULL, 0, "journal: %s", error->message);
        return;
    }
    if (c->scan->damage && c->copy) /* without `applied` nobody can tell */
        troubles_add(c->result->troubles, TRUE, NULL, 0, "%s", c->scan->note);
    for (guint i = 0; i < c->scan->transactions->len; i++) {
        const Transaction *t = c->scan->transactions->pdata[i];
        g_hash_table_add(c->waiting, t->capture.path);
        add_key(c->known, t->capture.file, 1);
    }
}

static void
check_pack(Check *c, guint64 id, guint64 length)
{
    g_autoptr(GError) error = NULL;

    c->result->packs++;
    if (!packs_check(c->packs, id, length, NULL, NULL, &error))
        troubles_add(c->result->troubles, TRUE, NULL, 0, "%s", error->message);
}

static gboolean
check_packs(Check *c, GError **error)
{
    g_autoptr(GArray) rows = c->copy ? catalog_packs(c->copy->catalog, error) : NULL;

    c->packs = packs_open_read(c->layout->history, c->layout->uuid, error);
    if (!c->packs || (c->copy && !rows))
        return FALSE;
    for (guint i = 0; rows && i < rows->len; i++) {
        const CatalogPackUse *use = &g_array_index(rows, CatalogPackUse, i);
        add_key(c->lengths, use->id, use->length_bytes);
        if (use->length_bytes > 0)
            check_pack(c, use->id, use->length_bytes);
    }
    g_autoptr(GArray) files = packs_list(c->packs);
    for (guint i = 0; i < files->len; i++) {
        guint64 id = g_array_index(files, PackInfo, i).id;
        if (c->copy && !g_hash_table_contains(c->lengths, &id))
            troubles_add(c->result->troubles, FALSE, NULL, 0,
                         "pack %" G_GUINT64_FORMAT " is not in the catalog: a batch that was being"
                         " written",
                         id);
        else if (!c->copy)
            check_pack(c, id, 0);
    }
    return TRUE;
}

/* ---- files ---- */

static gboolean
is_in_motion(const Check *c, const FileView *v, const char *mirror)
{
    g_autofree char *listed = path_escape(mirror);
    g_autoptr(FooterFile) prepared = catalog_prepared(c->copy->catalog, v->id, NULL);

    return prepared || g_hash_table_contains(c->applying, listed) ||
           g_hash_table_contains(c->waiting, v->path);
}

static void
check_mirror(Check *c, const FileView *v)
{
    g_autofree char *name = mirror_path(v->id, v->path);
    g_autofree char *folder = g_path_get_dirname(name);
    g_autofree char *origin = g_strconcat(folder, ".origin", NULL);
    gboolean moving = is_in_motion(c, v, name);
    struct stat st;

    if (!v->current)
        return;
    if (fstatat(c->layout->root, origin, &st, AT_SYMLINK_NOFOLLOW) < 0 ||
        (gsize) st.st_size != strlen(v->path))
        troubles_add(c->result->troubles, TRUE, v->path, 0, "'%s' is not as it should be", origin);
    if (fstatat(c->layout->root, name, &st, AT_SYMLINK_NOFOLLOW) < 0)
        troubles_add(c->result->troubles, TRUE, v->path, v->current->id, "its mirror: %s",
                     g_strerror(errno));
    else if (!S_ISREG(st.st_mode))
        troubles_add(c->result->troubles, TRUE, v->path, v->current->id,
                     "its mirror is no ordinary file");
    else if (!moving && (guint64) st.st_size != v->mirror_bytes)
        troubles_add(c->result->troubles, TRUE, v->path, v->current->id,
                     "its mirror has %" G_GINT64_FORMAT " bytes, not %" G_GUINT64_FORMAT,
                     (gint64) st.st_size, v->mirror_bytes);
    else if (!moving && (guint64) st.st_ino != v->mirror_ino)
        troubles_add(c->result->troubles, FALSE, v->path, v->current->id,
                     "its mirror is another file than it was: was the store copied?");
}

/* NULL: all is there. */
static char *
missing_piece(Check *c, const Undo *undo)
{
    for (guint i = 0; i < undo->pieces->len; i++) {
        const Piece *piece = &g_array_index(undo->pieces, Piece, i);
        g_autoptr(GError) error = NULL;
        guint8 byte;
        if (piece->kind == PIECE_BAD)
            return g_strdup("bytes of it were damaged before they were saved");
        if (piece->kind != PIECE_PACK)
            continue;
        const guint64 *length = g_hash_table_lookup(c->lengths, &piece->pack);
        if (!length || piece->frame >= *length)
            return g_strdup_printf("it needs pack %" G_GUINT64_FORMAT
                                   " at %" G_GUINT64_FORMAT ", and that is not there",
                                   piece->pack, piece->frame);
        if (!packs_read(c->packs, piece, piece->length - 1, &byte, 1, &error))
            return g_strdup(error->message);
    }
    return NULL;
}

static void
check_point(Check *c, const FileView *v, const Point *p)
{
    c->result->points++;
    if (p->place == POINT_IN_UNDO && !p->undo)
        troubles_add(c->result->troubles, TRUE, v->path, p->id, "its undo is not there");
    if (p->place == POINT_IN_HISTORY) {
        g_autofree char *name = mirror_history_path(v->id, p->whole, v->path);
        gboolean plain = p->whole == p->id && !p->undo;
        struct stat st;
        if (fstatat(c->layout->root, name, &st, AT_SYMLINK_NOFOLLOW) < 0 || !S_ISREG(st.st_mode))
            troubles_add(c->result->troubles, TRUE, v->path, p->id, "'%s' is not there", name);
        else if (plain && (guint64) st.st_size != p->size_bytes)
            troubles_add(c->result->troubles, TRUE, v->path, p->id,
                         "'%s' has %" G_GINT64_FORMAT " bytes, not %" G_GUINT64_FORMAT, name,
                         (gint64) st.st_size, p->size_bytes);
    }
    g_autofree char *missing = p->undo ? missing_piece(c, p->undo) : NULL;
    if (missing)
        troubles_add(c->result->troubles, TRUE, v->path, p->id, "%s", missing);
}

static gboolean
check_files(Check *c, GError **error)
{
    g_autoptr(GPtrArray) paths = catalog_paths(c->copy->catalog, error);

    for (guint i = 0; paths && i < paths->len; i++) {
        g_autoptr(GError) local = NULL;
        g_autoptr(FileView) v =
            catalog_load(c->copy->catalog, paths->pdata[i], CATALOG_UNDO, &local);
        c->result->files++;
        if (!v) {
            troubles_add(c->result->troubles, TRUE, paths->pdata[i], 0, "%s", local->message);
            continue;
        }
        add_key(c->known, v->id, 1);
        check_mirror(c, v);
        for (guint k = 0; k < v->points->len; k++)
            check_point(c, v, v->points->pdata[k]);
    }
    return paths != NULL;
}

/* ---- what has no row ---- */

static gboolean
check_orphans(Check *c, GError **error)
{
    g_autoptr(Inventory) all = inventory_new(c->layout, error);

    if (!all)
        return FALSE;
    for (guint i = 0; c->copy && i < all->mirrors->len; i++) {
        const FoundMirror *m = all->mirrors->pdata[i];
        g_autofree char *name = path_escape(m->folder);
        if (!g_hash_table_contains(c->known, &m->id))
            troubles_add(c->result->troubles, FALSE, m->origin, 0, "nothing refers to 'mirrors/%s'",
                         name);
    }
    for (guint i = 0; c->copy && i < all->wholes->len; i++) {
        const FoundWhole *w = all->wholes->pdata[i];
        g_autofree char *name = path_escape(w->name);
        gboolean used = TRUE;
        if (!catalog_uses_whole(c->copy->catalog, w->file, w->id, &used, error))
            return FALSE;
        if (!used)
            troubles_add(c->result->troubles, FALSE, NULL, 0, "nothing refers to 'history/%s'",
                         name);
    }
    for (guint i = 0; i < all->strange->len; i++) {
        g_autofree char *name = path_escape(all->strange->pdata[i]);
        troubles_add(c->result->troubles, FALSE, NULL, 0, "'%s' is nothing that filedup makes",
                     name);
    }
    return TRUE;
}

static gboolean
is_wanted(const Check *c, const char *name)
{
    for (guint i = 0; c->scan && i < c->scan->transactions->len; i++) {
        const Capture *capture = &((const Transaction *) c->scan->transactions->pdata[i])->capture;
        g_autofree char *number =
            g_strdup_printf("%" G_GUINT64_FORMAT, capture->staged);
        if (capture->kind == APPEND_STAGED && strstr(name, number))
            return TRUE;
    }
    return FALSE;
}

static void
check_staged(Check *c)
{
    int fd = openat(c->layout->staged, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    DIR *dir = fd < 0 ? NULL : fdopendir(fd);
    const struct dirent *d;

    if (!dir)
        fd_clear(fd);
    while (dir && (d = readdir(dir)) != NULL) {
        g_autofree char *name = path_escape(d->d_name);
        if (d->d_name[0] != '.' && !is_wanted(c, d->d_name))
            troubles_add(c->result->troubles, FALSE, NULL, 0, "nothing refers to 'staged/%s'",
                         name);
    }
    if (dir)
        (void) closedir(dir);
}

/* ---- contents ---- */

static void
read_file(Check *c, StoreReader *reader, const char *path)
{
    g_auto(StoredCheck) found = {0};
    g_autoptr(GError) error = NULL;

    if (!store_reader_verify(reader, path, TRUE, &found, &error)) {
        troubles_add(c->result->troubles, TRUE, path, 0, "%s", error->message);
        return;
    }
    c->result->bytes += found.bytes;
    for (guint i = 0; i < found.bad->len; i++) {
        const BadRange *bad = &g_array_index(found.bad, BadRange, i);
        troubles_add(c->result->troubles, TRUE, path, 0,
                     "damaged: %" G_GUINT64_FORMAT " bytes at %" G_GUINT64_FORMAT, bad->length,
                     bad->offset);
    }
    for (guint i = 0; i < found.bad_points->len; i++)
        troubles_add(c->result->troubles, TRUE, path, g_array_index(found.bad_points, guint64, i),
                     "damaged: it is not what was captured");
}

static gboolean
read_contents(Check *c, const char *path, GError **error)
{
    g_autoptr(StoreReader) reader = store_reader_open(path, error);
    g_autoptr(GPtrArray) files = reader ? store_reader_list(reader, error) : NULL;

    for (guint i = 0; files && i < files->len; i++)
        read_file(c, reader, ((const StoredFile *) files->pdata[i])->path);
    return files != NULL;
}

static gboolean
run(Check *c, const char *path, gboolean read, GError **error)
{
    CatalogState state = {0};
    g_autoptr(GPtrArray) listed = applying_get(c->layout->root, error);

    if (!listed || !open_catalog(c, &state, error))
        return FALSE;
    for (guint i = 0; i < listed->len; i++) {
        g_hash_table_add(c->applying, g_strdup(listed->pdata[i]));
        troubles_add(c->result->troubles, FALSE, NULL, 0,
                     "'%s' may be in the middle of an update: the next opening finishes it",
                     (const char *) listed->pdata[i]);
    }
    if (state.lost)
        troubles_add(c->result->troubles, FALSE, NULL, 0,
                     "damage was found before: the next opening has all contents compared");
    check_journal(c, state.applied);
    if (!check_packs(c, error) || (c->copy && !check_files(c, error)) || !check_orphans(c, error))
        return FALSE;
    check_staged(c);
    return !read || !c->copy || read_contents(c, path, error);
}

gboolean
store_check(const char *path, gboolean read, Checked *ret_checked, GError **error)
{
    g_auto(Check) c = {.result = ret_checked};

    *ret_checked = (Checked){.troubles = troubles_new()};
    c.lengths = g_hash_table_new_full(g_int64_hash, g_int64_equal, g_free, g_free);
    c.known = g_hash_table_new_full(g_int64_hash, g_int64_equal, g_free, g_free);
    c.waiting = g_hash_table_new(g_str_hash, g_str_equal);
    c.applying = g_hash_table_new_full(g_str_hash, g_str_equal, g_free, NULL);
    c.layout = layout_open(path, "", LAYOUT_READ, FALSE, NULL, error);
    if (!c.layout)
        return FALSE;
    if (run(&c, path, read, error))
        return TRUE;
    g_autofree char *text = path_escape(path);
    return throw_prefixed(error, "store '%s'", text);
}
