/* rebuild.c - a new catalog for a store that has lost its own
 *
 * The catalog is the only file of a store that is nowhere else. But all that it must know is:
 * mirrors/<id>-<name>/ and .origin say which files there are, the footers of the packs where each of
 * their contents is (footer.c), history/ has the whole ones, and the journal has what was not applied
 * yet. rebuild_file.c puts one file together; here is what is of the store.
 *
 * STEPS      1  the lock, as a keeper takes it; the catalog that is there must be damaged, or gone
 *            2  packs, journal and folders are read; an update in place that was cut short is finished,
 *               as a normal start finishes it (the only thing here that changes a mirror)
 *            3  the new catalog is written as catalog.db.rebuild, closed (no -wal is left), synced
 *            4  the old one is put aside, as catalog.db.before-rebuild-<n>: first itself, then its -wal and
 *               what else SQLite left beside it. The folder is synced after the first
 *            5  the new one gets its name; the folder is synced
 *
 * INVARIANTS
 *  (1) Nothing in mirrors/, history/ or the journal is removed; nothing is changed but by step 2.
 *  (2) At every moment there is the old catalog, whole, or none at its place, or the new one, whole:
 *      a keeper takes no -wal for that of another catalog, for there is no catalog beside it. So a
 *      rebuild that was cut short costs nothing, and is begun anew.
 *  (3) `applied` is before the first record that some file still needs; rows are of later than what
 *      they have, each by itself. So nothing committed is left out, and nothing is applied twice.
 *  (4) The new catalog is marked as lost (catalog_set_lost): all contents are compared once.
 *  (5) What was to be removed for good (doomed.c) does not come back; but of a single point that was
 *      being forgotten just then the footers know no more than of any other.
 *
 * NAMES      A mirror or whole file of which nobody knows whose it is becomes
 *            /filedup-unknown/<id>/<name>: it is not swept away, and can be restored from there.
 *
 * CRASH POINTS  rebuild-written (rebuild_file.c), rebuild-saved, rebuild-aside, rebuild-cleared,
 *            rebuild-named
 */

#include "config.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/crash.h"
#include "base/error.h"
#include "base/path.h"
#include "store/applying.h"
#include "store/catalog_copy.h"
#include "store/doomed.h"
#include "store/mirror.h"
#include "store/rebuild.h"
#include "store/rebuild_file.h"
#include "store/scan.h"

#define NEW_NAME       CATALOG_NAME ".rebuild"
#define ASIDE_NAME     CATALOG_NAME ".before-rebuild-"
#define UNKNOWN_FOLDER "/filedup-unknown"
#define SAVE_FILES     64

static const char *const suffixes[] = {"-wal", "-shm", "-journal"};

typedef struct Rebuild {
    Layout *layout;
    Scan *scan;
    Words *words;
    Inventory *inventory;
    Doomed *doomed;
    Packs *packs;
    GHashTable *transactions; /* guint64 file -> GPtrArray of Transaction, borrowed */
    GHashTable *applying;     /* names of mirrors                                   */
    GHashTable *paths;        /* that have a file already                           */
    GHashTable *applied;      /* guint64 file -> guint64: what its new row has      */
    GHashTable *wholes;       /* guint64 file -> GPtrArray of FoundWhole, borrowed  */
    GHashTable *mirrors;      /* guint64 file -> FoundMirror, borrowed              */
    GPtrArray *views;         /* to be saved                                        */
    Catalog *catalog;
    guint64 last_seq, needed;
    Rebuilt *result;
} Rebuild;

void
rebuilt_clear(Rebuilt *r)
{
    g_clear_pointer(&r->aside, g_free);
    g_clear_pointer(&r->troubles, g_ptr_array_unref);
}

static void
rebuild_clear(Rebuild *r)
{
    g_clear_pointer(&r->catalog, catalog_close);
    g_clear_pointer(&r->views, g_ptr_array_unref);
    g_clear_pointer(&r->paths, g_hash_table_unref);
    g_clear_pointer(&r->applied, g_hash_table_unref);
    g_clear_pointer(&r->wholes, g_hash_table_unref);
    g_clear_pointer(&r->mirrors, g_hash_table_unref);
    g_clear_pointer(&r->applying, g_hash_table_unref);
    g_clear_pointer(&r->transactions, g_hash_table_unref);
    g_clear_pointer(&r->packs, packs_close);
    g_clear_pointer(&r->doomed, doomed_free);
    g_clear_pointer(&r->inventory, inventory_free);
    g_clear_pointer(&r->words, words_free);
    g_clear_pointer(&r->scan, scan_free);
    g_clear_pointer(&r->layout, layout_close);
}

G_DEFINE_AUTO_CLEANUP_CLEAR_FUNC(Rebuild, rebuild_clear)

/* ---- step 1 ---- */

static gboolean
needs_it(const Rebuild *r, GError **error)
{
    g_autoptr(GPtrArray) troubles = troubles_new();
    g_autoptr(GError) local = NULL;
    gboolean lost = FALSE;
    CatalogState state;
    g_autoptr(CatalogCopy) copy = catalog_copy_new(r->layout->root, &lost, &local);

    if (!copy && !lost) {
        g_propagate_error(error, g_steal_pointer(&local));
        return FALSE;
    }
    if (!copy && strstr(local->message, "use a newer one")) {
        g_propagate_error(error, g_steal_pointer(&local));
        return FALSE;
    }
    return !copy || !catalog_copy_check(copy, troubles) ||
           !catalog_state(copy->catalog, &state, NULL) ||
           throw_error(error, FILEDUP_ERROR_REFUSED,
                       "its catalog is whole: there is nothing to rebuild");
}

/* ---- step 2 ---- */

static GHashTable *
table_new(GDestroyNotify value_free)
{
    return g_hash_table_new_full(g_int64_hash, g_int64_equal, g_free, value_free);
}

static void
add_to(GHashTable *lists, guint64 file, gpointer item)
{
    GPtrArray *list = g_hash_table_lookup(lists, &file);

    if (!list) {
        list = g_ptr_array_new();
        g_hash_table_insert(lists, g_memdup2(&file, sizeof file), list);
    }
    g_ptr_array_add(list, item);
}

static void
sort_all(Rebuild *r)
{
    for (guint i = 0; i < r->scan->transactions->len; i++) {
        Transaction *t = r->scan->transactions->pdata[i];
        add_to(r->transactions, t->capture.file, t);
    }
    for (guint i = 0; i < r->inventory->wholes->len; i++) {
        FoundWhole *w = r->inventory->wholes->pdata[i];
        r->last_seq = MAX(r->last_seq, w->id);
        add_to(r->wholes, w->file, w);
    }
    for (guint i = 0; i < r->inventory->mirrors->len; i++) {
        FoundMirror *m = r->inventory->mirrors->pdata[i];
        if (g_hash_table_contains(r->mirrors, &m->id))
            troubles_add(r->result->troubles, TRUE, NULL, 0,
                         "'mirrors/%s': there is another folder of that number", m->folder);
        else
            g_hash_table_insert(r->mirrors, g_memdup2(&m->id, sizeof m->id), m);
    }
}

static gboolean
gather(Rebuild *r, GError **error)
{
    g_autoptr(GPtrArray) listed = applying_get(r->layout->root, error);

    if (!listed)
        return FALSE;
    for (guint i = 0; i < listed->len; i++)
        g_hash_table_add(r->applying, g_strdup(listed->pdata[i]));
    r->doomed = doomed_load(r->layout, error);
    r->scan = r->doomed
                  ? scan_journal(r->layout->journal, r->layout->uuid, FALSE, 0, error)
                  : NULL;
    r->inventory = r->scan ? inventory_new(r->layout, error) : NULL;
    r->words = r->inventory ? words_gather(r->layout->history, r->layout->uuid,
                                           r->result->troubles, error)
                            : NULL;
    r->packs = r->words ? packs_open_read(r->layout->history, r->layout->uuid, error) : NULL;
    if (!r->packs)
        return FALSE;
    r->last_seq = MAX(r->scan->last_seq, r->words->last_seq);
    for (guint i = 0; i < r->inventory->strange->len; i++) {
        g_autofree char *name = path_escape(r->inventory->strange->pdata[i]);
        troubles_add(r->result->troubles, FALSE, NULL, 0, "'%s' is nothing that filedup makes",
                     name);
    }
    sort_all(r);
    return TRUE;
}

static gboolean
is_doomed(const Rebuild *r, guint64 id)
{
    for (guint i = 0; i < r->doomed->files->len; i++)
        if (((const DoomedFile *) r->doomed->files->pdata[i])->id == id)
            return TRUE;
    return FALSE;
}

static gboolean
fits_folder(guint64 id, const char *path, const FoundMirror *m)
{
    g_autofree char *mirror = path ? mirror_path(id, path) : NULL;
    g_autofree char *folder = mirror ? g_path_get_dirname(mirror) : NULL;

    return path && (!m || g_str_equal(folder + strlen("mirrors/"), m->folder));
}

/* Whose it is: as its folder says, else a footer, else the journal; else nobody knows. */
static char *
path_of(const Rebuild *r, guint64 id, const FoundMirror *m, const FoundWhole *w)
{
    const GPtrArray *words = g_hash_table_lookup(r->words->files, &id);
    const GPtrArray *transactions = g_hash_table_lookup(r->transactions, &id);
    const Word *word = words ? words->pdata[words->len - 1] : NULL;
    const Transaction *t = transactions ? transactions->pdata[transactions->len - 1] : NULL;
    const char *known[] = {m ? m->origin : NULL, word ? word->file->path : NULL,
                           t ? t->capture.path : NULL};

    for (guint i = 0; i < G_N_ELEMENTS(known); i++)
        if (fits_folder(id, known[i], m) && !g_hash_table_contains(r->paths, known[i]))
            return g_strdup(known[i]);
    const char *name = m ? m->name : NULL;
    if (!m && w) /* <file>-<id>-<name> */
        name = strchr(strchr(w->name, '-') + 1, '-') + 1;
    if (!name || !*name)
        return NULL;
    g_autofree char *path =
        g_strdup_printf(UNKNOWN_FOLDER "/%" G_GUINT64_FORMAT "/%s", id, name);
    if (!path_is_canonical(path) || !fits_folder(id, path, m))
        return NULL;
    troubles_add(r->result->troubles, TRUE, path, 0, "nothing says whose '%s/%s' is",
                 m ? "mirrors" : "history", m ? m->folder : w->name);
    return g_steal_pointer(&path);
}

static gboolean
save_views(Rebuild *r, GError **error)
{
    CatalogChange change = {.views = r->views};

    if (r->views->len > 0 && !catalog_save(r->catalog, &change, error))
        return FALSE;
    g_ptr_array_set_size(r->views, 0);
    return TRUE;
}

static gboolean
take_file(Rebuild *r, guint64 id, GError **error)
{
    const FoundMirror *m = g_hash_table_lookup(r->mirrors, &id);
    const GPtrArray *wholes = g_hash_table_lookup(r->wholes, &id);
    const FoundWhole *any = wholes ? wholes->pdata[0] : NULL;
    GPtrArray *words = g_hash_table_lookup(r->words->files, &id);

    if (is_doomed(r, id) || (!m && !words && !any)) /* in the journal alone: it needs no row yet */
        return TRUE;
    g_autofree char *path = path_of(r, id, m, any);
    if (!path) {
        troubles_add(r->result->troubles, TRUE, NULL, 0,
                     "nothing can be made of file %" G_GUINT64_FORMAT "%s%s", id,
                     m ? ": mirrors/" : "", m ? m->folder : "");
        return TRUE;
    }
    g_autoptr(RebuildFile) f = rebuild_file_new(id, path);
    g_autofree char *mirror = mirror_path(id, path);
    g_autofree char *listed = path_escape(mirror);
    f->layout = r->layout;
    f->packs = r->packs;
    f->troubles = r->result->troubles;
    f->words = words;
    f->transactions = g_hash_table_lookup(r->transactions, &id);
    f->last_seq = &r->last_seq;
    f->in_place = g_hash_table_contains(r->applying, listed);
    for (guint i = 0; wholes && i < wholes->len; i++)
        g_ptr_array_add(f->wholes, wholes->pdata[i]);
    rebuild_file(f);
    g_hash_table_add(r->paths, g_strdup(path));
    g_hash_table_insert(r->applied, g_memdup2(&id, sizeof id),
                        g_memdup2(&f->v->applied, sizeof f->v->applied));
    r->result->files += f->v->current || f->v->points->len > 0;
    r->result->points += f->v->points->len;
    g_ptr_array_add(r->views, g_steal_pointer(&f->v));
    return r->views->len < SAVE_FILES || save_views(r, error);
}

/* The first record that some file needs (invariant 3), by its row as it will be. */
static void
find_needed(Rebuild *r)
{
    g_autoptr(GHashTable) waiting = g_hash_table_new(g_int64_hash, g_int64_equal);

    for (guint i = 0; i < r->scan->transactions->len; i++) {
        const Transaction *t = r->scan->transactions->pdata[i];
        const guint64 *through = g_hash_table_lookup(r->applied, &t->capture.file);
        if (is_doomed(r, t->capture.file) || (through && t->seq <= *through))
            continue;
        if (r->needed == 0)
            r->needed = t->first_seq;
        g_hash_table_add(waiting, (gpointer) &t->capture.file);
    }
    r->result->waiting = g_hash_table_size(waiting);
}


static gint
newest_first(gconstpointer a, gconstpointer b)
{
    guint64 x = **(guint64 *const *) a, y = **(guint64 *const *) b;

    return x > y ? -1 : x < y;
}

/* Of two files of one path, the later one has it. */
static GPtrArray *
file_ids(const Rebuild *r)
{
    g_autoptr(GHashTable) all = g_hash_table_new(g_int64_hash, g_int64_equal);
    GHashTable *const tables[] = {r->mirrors, r->words->files, r->wholes};
    GPtrArray *ids = g_ptr_array_new();
    GHashTableIter iter;
    gpointer id;

    for (guint i = 0; i < G_N_ELEMENTS(tables); i++) {
        g_hash_table_iter_init(&iter, tables[i]);
        while (g_hash_table_iter_next(&iter, &id, NULL))
            if (g_hash_table_add(all, id))
                g_ptr_array_add(ids, id);
    }
    g_ptr_array_sort(ids, newest_first);
    return ids;
}

/* ---- step 3 ---- */

static void
remove_new(const Layout *l)
{
    (void) unlinkat(l->root, NEW_NAME, 0);
    for (guint i = 0; i < G_N_ELEMENTS(suffixes); i++) {
        g_autofree char *name = g_strconcat(NEW_NAME, suffixes[i], NULL);
        (void) unlinkat(l->root, name, 0);
    }
}

static gboolean
sync_new(const Layout *l, GError **error)
{
    g_auto(Fd) fd = openat(l->root, NEW_NAME, O_RDONLY | O_NOFOLLOW | O_CLOEXEC);
    struct stat st;

    if (fd < 0 || fsync(fd) < 0)
        return throw_errno(error, "fsync of '" NEW_NAME "'");
    return fstatat(l->root, NEW_NAME "-wal", &st, AT_SYMLINK_NOFOLLOW) < 0 || st.st_size == 0 ||
           throw_error(error, FILEDUP_ERROR_FATAL, "the new catalog could not be closed");
}

static gboolean
write_new(Rebuild *r, GError **error)
{
    g_autofree char *path = g_build_filename(r->layout->path, NEW_NAME, NULL);
    g_autoptr(GPtrArray) ids = file_ids(r);

    remove_new(r->layout);
    r->catalog = catalog_open(path, TRUE, error);
    if (!r->catalog)
        return FALSE;
    for (guint i = 0; i < ids->len; i++)
        if (!take_file(r, *(guint64 *) ids->pdata[i], error))
            return FALSE;
    if (!save_views(r, error))
        return FALSE;
    CatalogChange change = {.packs = r->words->packs};
    find_needed(r);
    if (!catalog_save(r->catalog, &change, error) ||
        !catalog_set_rebuilt(r->catalog, r->needed ? r->needed - 1 : r->last_seq,
                             r->scan->incarnation, r->last_seq, error)) /* invariants 3 and 4 */
        return FALSE;
    g_clear_pointer(&r->catalog, catalog_close);
    return sync_new(r->layout, error);
}

/* ---- steps 4 and 5 ---- */

static gboolean
is_there(const Layout *l, const char *name)
{
    struct stat st;

    return fstatat(l->root, name, &st, AT_SYMLINK_NOFOLLOW) == 0;
}

static char *
aside_name(guint n, const char *suffix)
{
    return g_strdup_printf(ASIDE_NAME "%u%s", n, suffix);
}

/* The first number of which there is nothing; or, if only the rest of a catalog is there, that of the
 * catalog that an interrupted rebuild has put aside. */
static guint
aside_number(const Layout *l)
{
    guint n = 1;

    for (;; n++) {
        g_autofree char *name = aside_name(n, ""), *wal = aside_name(n, "-wal");
        if (is_there(l, name) || is_there(l, wal))
            continue;
        g_autofree char *before = aside_name(n - 1, ""), *before_wal = aside_name(n - 1, "-wal");
        return n > 1 && !is_there(l, CATALOG_NAME) && is_there(l, before) && !is_there(l, before_wal)
                   ? n - 1
                   : n;
    }
}

static gboolean
put_aside(const Layout *l, guint n, const char *suffix, gboolean *ret_moved, GError **error)
{
    g_autofree char *from = g_strconcat(CATALOG_NAME, suffix, NULL);
    g_autofree char *to = aside_name(n, suffix);

    *ret_moved = is_there(l, from);
    return !*ret_moved || renameat(l->root, from, l->root, to) == 0 ||
           throw_errno(error, "renaming '%s'", from);
}

static gboolean
swap(Rebuild *r, GError **error)
{
    const Layout *l = r->layout;
    guint n = aside_number(l);
    gboolean moved, rest;

    crash_point("rebuild-saved");
    if (!put_aside(l, n, "", &moved, error) || !fd_sync_folder(l->root, ".", error))
        return FALSE;
    crash_point("rebuild-aside");
    for (guint i = 0; i < G_N_ELEMENTS(suffixes); i++) { /* invariant 2 */
        if (!put_aside(l, n, suffixes[i], &rest, error))
            return FALSE;
        moved |= rest;
    }
    if (!fd_sync_folder(l->root, ".", error))
        return FALSE;
    crash_point("rebuild-cleared");
    if (renameat(l->root, NEW_NAME, l->root, CATALOG_NAME) < 0)
        return throw_errno(error, "renaming '" NEW_NAME "'");
    crash_point("rebuild-named");
    if (moved)
        r->result->aside = aside_name(n, "");
    return fd_sync_folder(l->root, ".", error);
}

static gboolean
run(Rebuild *r, gboolean force, GError **error)
{
    if (!force && !needs_it(r, error))
        return FALSE;
    r->transactions = table_new((GDestroyNotify) g_ptr_array_unref);
    r->wholes = table_new((GDestroyNotify) g_ptr_array_unref);
    r->mirrors = table_new(NULL);
    r->applied = table_new(g_free);
    r->applying = g_hash_table_new_full(g_str_hash, g_str_equal, g_free, NULL);
    r->paths = g_hash_table_new_full(g_str_hash, g_str_equal, g_free, NULL);
    r->views = g_ptr_array_new_with_free_func((GDestroyNotify) view_free);
    return gather(r, error) && write_new(r, error) && swap(r, error);
}

gboolean
store_rebuild(const char *path, gboolean force, Rebuilt *ret_rebuilt, GError **error)
{
    g_auto(Rebuild) r = {.result = ret_rebuilt};

    *ret_rebuilt = (Rebuilt){.troubles = troubles_new()};
    r.layout = layout_open(path, "", LAYOUT_KEEP, FALSE, NULL, error);
    if (!r.layout)
        return FALSE;
    gboolean ok = run(&r, force, error);
    if (!ok) {
        g_autofree char *text = path_escape(path);
        g_clear_pointer(&r.catalog, catalog_close);
        remove_new(r.layout);
        throw_prefixed(error, "store '%s'", text);
    }
    layout_release(r.layout);
    return ok;
}
