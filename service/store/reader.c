/* reader.c - a store read without its keeper, and without writing to it
 *
 * The catalog and its -wal are copied to a scratch folder and opened there: `immutable=1` would
 * ignore the -wal, and a read-only mount has no room for an index. One of an older format is migrated
 * there. The journal is scanned with the keeper's own scan (scan.c), its transactions folded over the
 * rows with the keeper's own view.c, and contents are put together by the keeper's own image.c.
 *
 * An apply that was cut short may have left a mirror between two contents. Then the footer of its
 * batch, in a pack or in the catalog, says where the older one is (view_lay_prepared); the newer one
 * is the mirror with the journal's pieces laid over, wherever the apply had come to.
 */

#include "config.h"

#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>

#include "base/error.h"
#include "base/path.h"
#include "store/apply.h"
#include "store/footer.h"
#include "store/mirror.h"
#include "store/reader.h"
#include "store/scan.h"
#include "store/verify.h"

struct StoreReader {
    Layout *layout;
    char *scratch;
    Catalog *catalog;
    Scan *scan; /* its segments hold what is pending */
    Pending *pending;
    Packs *packs;
    GHashTable *prepared; /* path -> FooterFile: of applies that were cut short */
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

void
stored_check_clear(StoredCheck *c)
{
    g_clear_pointer(&c->bad, g_array_unref);
    g_clear_pointer(&c->bad_points, g_array_unref);
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
    g_clear_pointer(&r->prepared, g_hash_table_unref);
    g_clear_pointer(&r->packs, packs_close);
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
    g_auto(Fd) from = openat(root_fd, name, O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC);
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

/* A footer that cannot be read is one of a batch that was not prepared: it says nothing. */
static void
take_footer(StoreReader *r, GBytes *bytes)
{
    g_autoptr(GError) error = NULL;
    g_autoptr(Footer) footer = footer_decode(bytes, &error);

    if (!footer) {
        g_debug("store '%s': %s", r->layout->path, error->message);
        return;
    }
    while (footer->kind == FOOTER_APPLY && footer->files->len > 0) {
        FooterFile *f = g_ptr_array_steal_index(footer->files, footer->files->len - 1);
        g_hash_table_insert(r->prepared, g_strdup(f->path), f);
    }
}

static gboolean
open_packs(StoreReader *r, GError **error)
{
    g_autoptr(GArray) known = catalog_packs(r->catalog, error);
    g_autoptr(GArray) infos = g_array_new(FALSE, FALSE, sizeof(PackInfo));

    r->prepared =
        g_hash_table_new_full(g_str_hash, g_str_equal, g_free, (GDestroyNotify) footer_file_free);
    if (!known)
        return FALSE;
    for (guint i = 0; i < known->len; i++) {
        const CatalogPackUse *use = &g_array_index(known, CatalogPackUse, i);
        PackInfo info = {.id = use->id, .length_bytes = use->length_bytes};
        g_array_append_val(infos, info);
    }
    r->packs = packs_open_read(r->layout->history, r->layout->uuid, error);
    if (!r->packs ||
        !packs_look_behind(r->packs, (const PackInfo *) infos->data, infos->len, error))
        return FALSE;
    GPtrArray *footers = packs_recovered(r->packs);
    for (guint i = 0; i < footers->len; i++)
        take_footer(r, footers->pdata[i]);
    return TRUE;
}

StoreReader *
store_reader_open(const char *path, GError **error)
{
    g_autoptr(StoreReader) r = g_new0(StoreReader, 1);

    r->layout = layout_open(path, "", LAYOUT_READ, FALSE, NULL, error);
    if (!r->layout)
        return NULL;
    if (!open_catalog(r, error) || !open_journal(r, error) || !open_packs(r, error)) {
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

/* What a batch that was cut short has prepared of the file; *ret_own: to be freed. FALSE: an error. */
static gboolean
find_prepared(StoreReader *r, const FileView *v, const FooterFile **ret_file, FooterFile **ret_own,
              GError **error)
{
    g_autoptr(GError) local = NULL;

    *ret_file = g_hash_table_lookup(r->prepared, v->path);
    if (*ret_file || v->id == 0)
        return TRUE;
    *ret_file = *ret_own = catalog_prepared(r->catalog, v->id, &local);
    if (!local)
        return TRUE;
    g_propagate_error(error, g_steal_pointer(&local));
    return FALSE;
}

static FileView *
reader_view(StoreReader *r, const char *path, CatalogLoad how, GError **error)
{
    g_autoptr(FileView) v = catalog_load(r->catalog, path, how, error);
    const GPtrArray *waiting = pending_of(r->pending, path);
    const FooterFile *prepared = NULL;
    FooterFile *own = NULL;

    if (!v || (waiting && !find_prepared(r, v, &prepared, &own, error)))
        return NULL;
    if (prepared && prepared->through > v->applied) {
        view_fold_through(v, waiting, prepared->through);
        view_lay_prepared(v, prepared);
    }
    view_fold(v, waiting);
    g_clear_pointer(&own, footer_file_free);
    return g_steal_pointer(&v);
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
        .suspicion = v->suspicion,
        .suspicion_since_usec = v->suspicion ? v->suspicion_since_usec : 0,
        .suspicion_point = v->suspicion ? v->suspicion_point : 0,
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
    g_autoptr(FileView) v = reader_view(r, path, CATALOG_NEWEST, error);

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

static FileView *
known_view(StoreReader *r, const char *path, CatalogLoad how, GError **error)
{
    g_autoptr(FileView) v = reader_view(r, path, how, error);

    if (v && v->id == 0) {
        throw_error(error, FILEDUP_ERROR_NO_ENTRY, "the store has nothing of it");
        return NULL;
    }
    return g_steal_pointer(&v);
}

static void
stored_point_clear(gpointer data)
{
    g_free(((StoredPoint *) data)->name);
}

GArray *
store_reader_points(StoreReader *r, const char *path, GError **error)
{
    g_autoptr(FileView) v = known_view(r, path, CATALOG_POINTS, error);
    g_autoptr(GPtrArray) points = v ? view_points(v) : NULL;

    if (!points)
        return NULL;
    GArray *list = g_array_new(FALSE, FALSE, sizeof(StoredPoint));
    g_array_set_clear_func(list, stored_point_clear);
    for (guint i = 0; i < points->len; i++) {
        const Point *p = points->pdata[i];
        gboolean newest = p == v->current;
        StoredPoint point = {
            .id = p->id,
            .sequence = p->id,
            .time_usec = p->time_usec,
            .cause = newest && v->state == STORED_DELETED ? CAUSE_DELETED : p->cause,
            .quality = p->quality,
            .size_bytes = p->size_bytes,
            .changed_bytes = p->changed_bytes,
            .name = g_strdup(p->name ? p->name : ""),
            .kept = p->kept,
            .deleted_usec = p->deleted_usec,
            .newest = newest,
        };
        g_array_append_val(list, point);
    }
    return list;
}

/* ---- contents ---- */

static int
scratch_file(GError **error)
{
    g_autofree char *name = g_build_filename(g_get_tmp_dir(), "filedup-read-XXXXXX", NULL);
    int fd = open(g_get_tmp_dir(), O_RDWR | O_TMPFILE | O_CLOEXEC, 0600);

    if (fd >= 0)
        return fd;
    fd = g_mkstemp_full(name, O_RDWR | O_CLOEXEC, 0600); /* no unnamed files there */
    if (fd < 0)
        throw_errno(error, "creating a scratch file in '%s'", g_get_tmp_dir());
    else
        (void) unlink(name);
    return fd;
}

/* Read-only, with its sums. */
static int
put_together(StoreReader *r, const FileView *v, const Point *p, GBytes **ret_sums, GError **error)
{
    g_autoptr(Image) image = image_of(r->layout->root, v, p, error);
    g_auto(Fd) fd = image ? scratch_file(error) : -1;

    if (fd < 0 || !image_build(image, r->packs, fd, p->hash, NULL, NULL, ret_sums, error))
        return -1;
    g_autofree char *name = g_strdup_printf("/proc/self/fd/%d", fd);
    int reading = open(name, O_RDONLY | O_CLOEXEC);
    if (reading < 0)
        throw_errno(error, "a scratch file");
    return reading;
}

static gboolean
open_content(StoreReader *r, const FileView *v, const Point *p, StoredContent *ret_content,
             GError **error)
{
    g_autoptr(GBytes) sums = NULL;
    g_auto(Fd) fd = -1;

    if (!store_is_plain(v, p)) {
        fd = put_together(r, v, p, &sums, error);
    } else {
        fd = mirror_open(r->layout->root, v, p, error);
        sums = fd < 0 ? NULL : store_sums(r->catalog, r->layout->staged, v, p, error);
    }
    if (fd < 0 || !sums)
        return FALSE;
    *ret_content = (StoredContent){
        .fd = fd_steal(&fd),
        .sums = g_steal_pointer(&sums),
        .size_bytes = p->size_bytes,
        .stat = p->stat,
        .attributes = p->attributes ? g_bytes_ref(p->attributes) : g_bytes_new(NULL, 0),
        .quality = p->quality,
        .time_usec = p->time_usec,
        .point = p == v->current ? 0 : p->id,
        .stable_point = p == v->current ? view_stable_point(v) : 0,
    };
    return TRUE;
}

gboolean
store_reader_content(StoreReader *r, const char *path, guint64 point, StoredContent *ret_content,
                     GError **error)
{
    g_autoptr(FileView) v = known_view(r, path, CATALOG_UNDO, error);
    const Point *p = v ? view_point(v, point) : NULL;

    if (!v)
        return FALSE;
    if (!p)
        return throw_error(error, FILEDUP_ERROR_NO_ENTRY, "%s",
                           point ? "there is no such point" : "the store has no content of it");
    return open_content(r, v, p, ret_content, error);
}

gboolean
store_reader_content_at(StoreReader *r, const char *path, gint64 time_usec,
                        StoredContent *ret_content, GError **error)
{
    g_autoptr(FileView) v = known_view(r, path, CATALOG_UNDO, error);
    const Point *p = v ? view_point_at(v, time_usec) : NULL;

    if (!v)
        return FALSE;
    if (!p)
        return throw_error(error, FILEDUP_ERROR_NO_ENTRY,
                           "at that time it did not exist, or was deleted");
    return open_content(r, v, p, ret_content, error);
}

/* ---- verification ---- */

/* FALSE, without an error: it is bad. */
static gboolean
check_image(StoreReader *r, const FileView *v, const Point *p)
{
    g_autoptr(GError) error = NULL;
    g_autoptr(Image) image = image_of(r->layout->root, v, p, &error);

    if (image && image_check(image, r->packs, p->hash, NULL, NULL, &error))
        return TRUE;
    g_debug("'%s': %s", v->path, error->message);
    return FALSE;
}

static gboolean
check_current(StoreReader *r, const FileView *v, StoredCheck *check, GError **error)
{
    Point *p = v->current;
    guint64 whole = MAX(p->size_bytes, 1);
    guint8 hash[HASH_BYTES];

    check->bytes += p->size_bytes;
    if (p->place != POINT_IN_MIRROR) {
        if (!check_image(r, v, p))
            verify_bad_add(check->bad, 0, whole);
        return TRUE;
    }
    g_auto(Fd) fd = mirror_open_named(r->layout->root, v, p, NULL);
    g_autoptr(GBytes) sums = catalog_sums(r->catalog, v->id, error);
    if (!sums)
        return FALSE;
    sums_hash(sums, p->size_bytes, hash);
    if (fd >= 0 && g_bytes_get_size(sums) == sums_length(p->size_bytes) &&
        memcmp(hash, p->hash, HASH_BYTES) == 0)
        return verify_content(fd, sums, p->size_bytes, 0, p->size_bytes, NULL, NULL, check->bad,
                              error);
    verify_bad_add(check->bad, 0, whole);
    return TRUE;
}

gboolean
store_reader_verify(StoreReader *r, const char *path, gboolean points, StoredCheck *ret_check,
                    GError **error)
{
    g_autoptr(FileView) v = known_view(r, path, CATALOG_UNDO, error);
    g_auto(StoredCheck)
        check = {.bad = verify_bad_new(), .bad_points = g_array_new(FALSE, FALSE, sizeof(guint64))};

    if (!v || (v->current && !check_current(r, v, &check, error)))
        return FALSE;
    for (guint i = 0; points && i < v->points->len; i++) {
        const Point *p = v->points->pdata[i];
        check.points++;
        check.bytes += p->size_bytes;
        if (!check_image(r, v, p))
            g_array_append_val(check.bad_points, p->id);
    }
    *ret_check = check;
    check = (StoredCheck){0};
    return TRUE;
}
