/* reader.c - a store read without its keeper, and without writing to it
 *
 * The catalog and its -wal are copied to a scratch folder and opened there: `immutable=1` would
 * ignore the -wal, and a read-only mount has no room for an index. The journal is scanned with the
 * keeper's own scan (scan.c), its transactions folded over the rows with the keeper's own view.c.
 */

#include "config.h"

#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>

#include "base/error.h"
#include "base/path.h"
#include "store/apply.h"
#include "store/mirror.h"
#include "store/reader.h"
#include "store/scan.h"

struct StoreReader {
    Layout *layout;
    char *scratch;
    Catalog *catalog;
    Scan *scan; /* its segments hold what is pending */
    Pending *pending;
};

static const char *const suffixes[] = {"", "-wal", "-shm", "-journal"};

void
stored_file_free(StoredFile *f)
{
    if (!f)
        return;
    g_free(f->path);
    g_clear_pointer(&f->attributes, g_bytes_unref);
    g_free(f->mirror);
    g_free(f);
}

void
stored_content_clear(StoredContent *c)
{
    fd_clear(c->fd);
    c->fd = -1;
    g_clear_pointer(&c->sums, g_bytes_unref);
    g_clear_pointer(&c->attributes, g_bytes_unref);
}

static void
remove_scratch(const char *scratch)
{
    for (guint i = 0; i < G_N_ELEMENTS(suffixes); i++) {
        g_autofree char *name = g_strconcat(scratch, "/" CATALOG_NAME, suffixes[i], NULL);
        (void) unlink(name);
    }
    (void) rmdir(scratch);
}

void
store_reader_close(StoreReader *r)
{
    if (!r)
        return;
    g_clear_pointer(&r->pending, pending_free);
    g_clear_pointer(&r->scan, scan_free);
    g_clear_pointer(&r->catalog, catalog_close);
    g_clear_pointer(&r->layout, layout_close);
    if (r->scratch)
        remove_scratch(r->scratch);
    g_free(r->scratch);
    g_free(r);
}

static gboolean
copy_file(int root_fd, const char *name, const char *target, GError **error)
{
    g_auto(Fd) from = openat(root_fd, name, O_RDONLY | O_NOFOLLOW | O_CLOEXEC);
    g_auto(Fd) to = -1;
    g_autofree guint8 *buffer = g_malloc(1024 * 1024);
    goffset at = 0;
    gssize n;

    if (from < 0)
        return throw_errno(error, "opening '%s'", name);
    to = open(target, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
    if (to < 0)
        return throw_errno(error, "creating '%s'", target);
    while ((n = fd_pread_most(from, buffer, 1024 * 1024, at)) > 0) {
        if (!fd_pwrite_full(to, buffer, (gsize) n, at))
            return throw_errno(error, "writing '%s'", target);
        at += n;
    }
    return n == 0 || throw_errno(error, "reading '%s'", name);
}

static gboolean
open_catalog(StoreReader *r, GError **error)
{
    g_autofree char *scratch = g_build_filename(g_get_tmp_dir(), "filedup-read-XXXXXX", NULL);
    struct stat st;

    if (!g_mkdtemp(scratch))
        return throw_errno(error, "creating a scratch folder in '%s'", g_get_tmp_dir());
    r->scratch = g_steal_pointer(&scratch);
    g_autofree char *copy = g_build_filename(r->scratch, CATALOG_NAME, NULL);
    g_autofree char *copy_wal = g_strconcat(copy, "-wal", NULL);
    if (!copy_file(r->layout->root, CATALOG_NAME, copy, error))
        return FALSE;
    if (fstatat(r->layout->root, CATALOG_NAME "-wal", &st, AT_SYMLINK_NOFOLLOW) == 0 &&
        !copy_file(r->layout->root, CATALOG_NAME "-wal", copy_wal, error))
        return FALSE;
    r->catalog = catalog_open_foreign(copy, error);
    return r->catalog != NULL;
}

static gboolean
open_journal(StoreReader *r, GError **error)
{
    CatalogState state;

    if (!catalog_state(r->catalog, &state, error))
        return FALSE;
    r->scan = scan_journal(r->layout->journal, r->layout->uuid, FALSE, state.applied, error);
    if (!r->scan)
        return FALSE;
    if (r->scan->damage)
        g_warning("store '%s': %s", r->layout->path, r->scan->note);
    r->pending = pending_new();
    g_ptr_array_set_free_func(r->scan->transactions, NULL);
    for (guint i = 0; i < r->scan->transactions->len; i++)
        pending_add(r->pending, r->scan->transactions->pdata[i]);
    return TRUE;
}

StoreReader *
store_reader_open(const char *path, GError **error)
{
    g_autoptr(StoreReader) r = g_new0(StoreReader, 1);

    r->layout = layout_open(path, "", LAYOUT_READ, FALSE, NULL, error);
    if (!r->layout)
        return NULL;
    if (!open_catalog(r, error) || !open_journal(r, error)) {
        g_autofree char *text = path_escape(path);
        throw_prefixed(error, "store '%s'", text);
        return NULL;
    }
    return g_steal_pointer(&r);
}

const char *
store_reader_uuid(StoreReader *r)
{
    return r->layout->uuid;
}

static FileView *
reader_view(StoreReader *r, const char *path, GError **error)
{
    FileView *v = catalog_load(r->catalog, path, error);

    if (v)
        view_fold(v, pending_of(r->pending, path));
    return v;
}

static StoredFile *
stored_file_new(const FileView *v)
{
    StoredFile *f = g_new0(StoredFile, 1);

    *f = (StoredFile){
        .path = g_strdup(v->path),
        .principal = v->principal,
        .state = v->state,
        .sequence = v->newest_seq,
        .mirror = mirror_path(v->id, v->path),
    };
    if (v->current) {
        f->stat = v->current->stat;
        memcpy(f->hash, v->current->hash, HASH_BYTES);
        f->quality = v->current->quality;
        f->time_usec = v->current->time_usec;
    }
    f->attributes = v->current ? g_bytes_ref(v->current->attributes) : g_bytes_new(NULL, 0);
    return f;
}

static gint
by_path(gconstpointer a, gconstpointer b)
{
    return strcmp((*(StoredFile *const *) a)->path, (*(StoredFile *const *) b)->path);
}

static gboolean
list_one(StoreReader *r, GPtrArray *files, const char *path, GError **error)
{
    g_autoptr(FileView) v = reader_view(r, path, error);

    if (v)
        g_ptr_array_add(files, stored_file_new(v));
    return v != NULL;
}

GPtrArray *
store_reader_list(StoreReader *r, GError **error)
{
    g_autoptr(GPtrArray) files = g_ptr_array_new_with_free_func((GDestroyNotify) stored_file_free);
    g_autoptr(GPtrArray) paths = catalog_paths(r->catalog, error);
    g_autoptr(GHashTable) seen = g_hash_table_new(g_str_hash, g_str_equal);
    g_autoptr(GList) waiting = pending_paths(r->pending);

    if (!paths)
        return NULL;
    for (guint i = 0; i < paths->len; i++) {
        g_hash_table_add(seen, paths->pdata[i]);
        if (!list_one(r, files, paths->pdata[i], error))
            return NULL;
    }
    for (GList *l = waiting; l; l = l->next)
        if (!g_hash_table_contains(seen, l->data) && !list_one(r, files, l->data, error))
            return NULL;
    g_ptr_array_sort(files, by_path);
    return g_steal_pointer(&files);
}

GArray *
store_reader_points(StoreReader *r, const char *path, GError **error)
{
    g_autoptr(FileView) v = reader_view(r, path, error);

    if (v && v->id == 0)
        throw_error(error, FILEDUP_ERROR_NO_ENTRY, "the store has nothing of it");
    return v && v->id ? view_points(v) : NULL;
}

gboolean
store_reader_content(StoreReader *r, const char *path, guint64 point, StoredContent *ret_content,
                     GError **error)
{
    g_autoptr(FileView) v = reader_view(r, path, error);
    Point *p = v ? view_point(v, point) : NULL;

    if (!v)
        return FALSE;
    if (!p)
        return throw_error(error, FILEDUP_ERROR_NO_ENTRY,
                           point ? "there is no such point" : "the store has nothing of it");
    g_auto(Fd) fd = mirror_open(r->layout->root, v, p, error);
    g_autoptr(GBytes) sums = fd < 0 ? NULL : store_sums(r->catalog, r->layout->staged, v, p, error);
    if (!sums)
        return FALSE;
    *ret_content = (StoredContent){
        .fd = fd_steal(&fd),
        .sums = g_steal_pointer(&sums),
        .size_bytes = p->size_bytes,
        .stat = p->stat,
        .attributes = g_bytes_ref(p->attributes),
        .quality = p->quality,
        .time_usec = p->time_usec,
        .point = p == v->current ? 0 : p->id,
        .stable_point = p == v->current ? view_stable_point(v) : 0,
    };
    return TRUE;
}
