/* thin_sweep.c - removes what nobody refers to any more, and a crash left
 *
 * INVARIANTS
 *  (1) A whole file in history/ is removed only if the catalog knows the file, as of later than that
 *      content was kept, nothing of it is pending or prepared, and no point needs it. Of a catalog
 *      that is older, or empty, nothing is believed: so what it says is still the newest content is
 *      removed only where it is a second name of the mirror.
 *  (2) A mirror is removed only if it was named before (doomed.c), and is not that of a file that
 *      the catalog has: its number, and the name beside it, may be another path's by now.
 */

#include "config.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/error.h"
#include "base/fd.h"
#include "store/mirror.h"
#include "store/thin.h"

/* The files of a folder, and the folder. */
static void
remove_folder(int root_fd, const char *folder)
{
    int fd = openat(root_fd, folder, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
    DIR *dir = fd < 0 ? NULL : fdopendir(fd);
    const struct dirent *d;

    if (!dir && fd >= 0)
        (void) close(fd);
    while (dir && (d = readdir(dir)) != NULL)
        if (!g_str_equal(d->d_name, ".") && !g_str_equal(d->d_name, ".."))
            (void) unlinkat(dirfd(dir), d->d_name, 0);
    if (dir)
        (void) closedir(dir);
    if (unlinkat(root_fd, folder, AT_REMOVEDIR) < 0 && errno != ENOENT)
        g_warning("removing '%s': %s", folder, g_strerror(errno));
}

static void
remove_mirror(const Store *s, const DoomedFile *f)
{
    g_autofree char *mirror = mirror_path(f->id, f->path);
    g_autofree char *folder = g_path_get_dirname(mirror);
    g_autofree char *origin = g_strconcat(folder, ".origin", NULL);

    remove_folder(s->layout->root, folder);
    if (unlinkat(s->layout->root, origin, 0) < 0 && errno != ENOENT)
        g_warning("removing '%s': %s", origin, g_strerror(errno));
}

/* "<file>-<whole>-<name>" */
static gboolean
parse_whole(const char *name, guint64 *ret_file, guint64 *ret_whole)
{
    char *end = NULL;

    if (!g_ascii_isdigit(name[0]))
        return FALSE;
    *ret_file = g_ascii_strtoull(name, &end, 10);
    if (end[0] != '-' || !g_ascii_isdigit(end[1]))
        return FALSE;
    *ret_whole = g_ascii_strtoull(end + 1, &end, 10);
    return end[0] == '-';
}

/* Calls back with the name of each whole file in history/ until it returns FALSE. */
typedef gboolean (*WholeFunc)(Store *s, const char *name, guint64 file, guint64 whole,
                              gpointer data, GError **error);

static gboolean
for_each_whole(Store *s, WholeFunc func, gpointer data, GError **error)
{
    int fd = openat(s->layout->history, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    DIR *dir = fd < 0 ? NULL : fdopendir(fd);
    const struct dirent *d;
    guint64 file, whole;
    gboolean ok = TRUE;

    if (!dir) {
        throw_errno(error, "listing 'history'");
        fd_clear(fd);
        return FALSE;
    }
    while (ok && (d = readdir(dir)) != NULL)
        if (parse_whole(d->d_name, &file, &whole))
            ok = func(s, d->d_name, file, whole, data, error);
    (void) closedir(dir);
    return ok;
}

static void
remove_whole(const Store *s, const char *name)
{
    if (unlinkat(s->layout->history, name, 0) < 0 && errno != ENOENT)
        g_warning("removing 'history/%s': %s", name, g_strerror(errno));
}

static gboolean
remove_if_of(Store *s, const char *name, guint64 file, guint64 whole, gpointer data, GError **error)
{
    (void) whole;
    (void) error;
    if (file == ((const DoomedFile *) data)->id)
        remove_whole(s, name);
    return TRUE;
}

/* Whose number it is: of the file that was meant, captured anew, or of another path. */
static gboolean
path_of(const Store *s, guint64 file, char **ret_path, GError **error)
{
    g_autoptr(GPtrArray) pending = pending_all(s->pending);
    g_autoptr(GError) local = NULL;

    *ret_path = NULL;
    for (guint i = 0; i < pending->len && !*ret_path; i++) {
        const Capture *c = &((const Transaction *) pending->pdata[i])->capture;
        *ret_path = c->file == file ? g_strdup(c->path) : NULL;
    }
    if (*ret_path)
        return TRUE;
    g_autoptr(FileView) v = catalog_load_file(s->catalog, file, CATALOG_NEWEST, &local);
    if (v || g_error_matches(local, FILEDUP_ERROR, FILEDUP_ERROR_NO_ENTRY)) {
        *ret_path = v ? g_strdup(v->path) : NULL;
        return TRUE;
    }
    g_propagate_error(error, g_steal_pointer(&local));
    return FALSE;
}

static gboolean
same_folder(guint64 file, const char *a, const char *b)
{
    g_autofree char *x = mirror_path(file, a), *y = mirror_path(file, b);
    g_autofree char *folder_x = g_path_get_dirname(x), *folder_y = g_path_get_dirname(y);

    return g_str_equal(folder_x, folder_y);
}

gboolean
thin_remove_doomed(Store *s, Doomed *d, GError **error)
{
    for (guint i = 0; i < d->files->len; i++) {
        DoomedFile *f = d->files->pdata[i];
        g_autofree char *path = NULL;
        if (!path_of(s, f->id, &path, error))
            return FALSE;
        if (!path || !same_folder(f->id, path, f->path)) /* invariant 2 */
            remove_mirror(s, f);
        if (!path && !for_each_whole(s, remove_if_of, f, error))
            return FALSE;
    }
    if (d->files->len == 0)
        return TRUE;
    g_ptr_array_set_size(d->files, 0);
    return fd_sync_folder(s->layout->mirrors, ".", error) &&
           fd_sync_folder(s->layout->history, ".", error) && doomed_save(d, s->layout, error);
}

/* Ids of files of which something is pending (guint64 *). */
static GHashTable *
pending_files(const Store *s)
{
    GHashTable *files = g_hash_table_new_full(g_int64_hash, g_int64_equal, g_free, NULL);
    g_autoptr(GPtrArray) all = pending_all(s->pending);

    for (guint i = 0; i < all->len; i++) {
        const Capture *c = &((const Transaction *) all->pdata[i])->capture;
        g_hash_table_add(files, g_memdup2(&c->file, sizeof c->file));
    }
    return files;
}

static gboolean
is_mirror(const Store *s, const FileView *v, const char *name)
{
    g_autofree char *mirror = mirror_path(v->id, v->path);
    struct stat a, b;

    return fstatat(s->layout->root, mirror, &a, AT_SYMLINK_NOFOLLOW) == 0 &&
           fstatat(s->layout->history, name, &b, AT_SYMLINK_NOFOLLOW) == 0 &&
           a.st_dev == b.st_dev && a.st_ino == b.st_ino;
}

static gboolean
sweep_one(Store *s, const char *name, guint64 file, guint64 whole, gpointer data, GError **error)
{
    GHashTable *pending = data;
    gboolean used = TRUE, busy = TRUE;
    g_autoptr(GError) local = NULL;

    if (g_hash_table_contains(pending, &file))
        return TRUE;
    g_autoptr(FileView) v = catalog_load_file(s->catalog, file, CATALOG_NEWEST, &local);
    if (g_error_matches(local, FILEDUP_ERROR, FILEDUP_ERROR_NO_ENTRY)) /* invariant 1 */
        return TRUE;
    if (local) {
        g_propagate_error(error, g_steal_pointer(&local));
        return FALSE;
    }
    if (!thin_is_busy(s, v, &busy, error) ||
        !catalog_uses_whole(s->catalog, file, whole, &used, error))
        return FALSE;
    if (!used && !busy && whole <= v->newest_seq &&
        (whole != v->mirror_point || is_mirror(s, v, name)))
        remove_whole(s, name);
    return TRUE;
}

gboolean
thin_sweep(Store *s, GError **error)
{
    g_autoptr(GHashTable) pending = pending_files(s);

    if (!for_each_whole(s, sweep_one, pending, error))
        return FALSE;
    g_autoptr(Doomed) doomed = doomed_load(s->layout, error);
    return doomed && thin_remove_doomed(s, doomed, error);
}
