/* mirror.c - the ordinary files of a store
 *
 *   mirrors/<id>-<base name>/<name>   the newest content, with the original's name
 *   mirrors/<id>-<base name>.origin   the bytes of the original's path, nothing else
 *   history/<id>-<point>-<base name>  a point: a whole content
 * <base name> is the original's, with what is not printable replaced by '_', at most 128 bytes.
 *
 * A mirror is given the original's owner, mode, times and extended attributes, but not the set-uid,
 * set-gid and sticky bits: it is data, and nobody is to run it. (They are in the catalog, and a
 * restore sets them.) Where filedup is not root, a mirror also stays readable by its owner.
 *
 * INVARIANTS
 *  (1) A mirror is never written: a staged copy, complete and synced, takes its name.
 *  (2) What must outlast it has its second name, synced, before.
 *  (3) Every step can be done again.
 */

#include "config.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

#include "base/error.h"
#include "base/fd.h"
#include "base/path.h"
#include "base/sums.h"
#include "copy/attributes.h"
#include "store/mirror.h"
#include "store/staged.h"

#define BASE_NAME_MAX 128

static char *
safe_name(const char *path)
{
    g_autofree char *folder = NULL, *name = NULL;
    GString *safe = g_string_new(NULL);

    path_split(path, &folder, &name);
    for (const char *p = name; *p;) {
        gunichar c = g_utf8_get_char_validated(p, -1);
        gboolean valid = c != (gunichar) -1 && c != (gunichar) -2;
        gsize n = valid ? (gsize) (g_utf8_next_char(p) - p) : 1;
        if (safe->len + n > BASE_NAME_MAX)
            break;
        if (valid && g_unichar_isprint(c))
            g_string_append_len(safe, p, (gssize) n);
        else
            g_string_append_c(safe, '_');
        p += n;
    }
    return g_string_free(safe, FALSE);
}

static char *
entry_path(guint64 id, const char *path)
{
    g_autofree char *safe = safe_name(path);

    return g_strdup_printf("mirrors/%" G_GUINT64_FORMAT "-%s", id, safe);
}

char *
mirror_path(guint64 id, const char *path)
{
    g_autofree char *entry = entry_path(id, path);
    g_autofree char *folder = NULL, *name = NULL;

    path_split(path, &folder, &name);
    return g_strconcat(entry, "/", name, NULL);
}

char *
mirror_history_path(guint64 id, guint64 point, const char *path)
{
    g_autofree char *safe = safe_name(path);

    return g_strdup_printf("history/%" G_GUINT64_FORMAT "-%" G_GUINT64_FORMAT "-%s", id, point,
                           safe);
}

gboolean
mirror_prepare(const Layout *l, const FileView *v, GError **error)
{
    g_autofree char *entry = entry_path(v->id, v->path);
    g_autofree char *origin = g_strconcat(entry, ".origin", NULL);
    struct stat st;
    gsize n = strlen(v->path);

    if (fstatat(l->root, origin, &st, AT_SYMLINK_NOFOLLOW) == 0 && (gsize) st.st_size == n &&
        fstatat(l->root, entry, &st, AT_SYMLINK_NOFOLLOW) == 0)
        return TRUE;
    if (mkdirat(l->root, entry, 0700) < 0 && errno != EEXIST)
        return throw_errno(error, "creating '%s'", entry);
    g_auto(Fd) fd =
        openat(l->root, origin, O_WRONLY | O_CREAT | O_TRUNC | O_NOFOLLOW | O_CLOEXEC, 0600);
    if (fd < 0 || !fd_pwrite_full(fd, v->path, n, 0) || fsync(fd) < 0)
        return throw_errno(error, "writing '%s'", origin);
    return fd_sync_folder(l->mirrors, ".", error);
}

static void
set_attributes(int fd, const Point *p)
{
    FileStat stat = p->stat;
    gboolean root = geteuid() == 0;
    g_autofree char *problems = NULL;

    stat.mode &= S_IFMT | 0777;
    if (!root)
        stat.mode |= S_IRUSR;
    attributes_apply(fd, &stat, p->attributes, root, &problems);
    if (problems)
        g_debug("mirror: not set: %s", problems);
}

static gboolean
check_hash(Point *p, const char *what, GError **error)
{
    guint8 hash[HASH_BYTES];

    sums_hash(p->sums, p->size_bytes, hash);
    p->lost = memcmp(hash, p->hash, HASH_BYTES) != 0;
    if (p->lost)
        return throw_error(error, FILEDUP_ERROR_DAMAGED, "%s is not what was captured", what);
    return TRUE;
}

/* From the journal's data. */
static gboolean
build_copy(const Layout *l, Point *p, char **ret_name, GError **error)
{
    g_autofree char *name = g_strdup_printf("apply-%" G_GUINT64_FORMAT, p->id);

    (void) unlinkat(l->staged, name, 0); /* invariant 3 */
    g_auto(Fd) fd = openat(l->staged, name, O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
    if (fd < 0)
        return throw_errno(error, "creating a copy");
    if (!transaction_write_content(p->source, fd, &p->lost, error))
        return FALSE;
    if (!p->sums && !(p->sums = point_sums_read(fd, p->size_bytes, error)))
        return FALSE;
    if (!check_hash(p, "a copy", error))
        return FALSE;
    set_attributes(fd, p);
    if (fsync(fd) < 0)
        return throw_errno(error, "fsync of a copy");
    *ret_name = g_steal_pointer(&name);
    return TRUE;
}

/* Whether this is what a staged file has become. In a copied store inodes differ: then the content
 * tells. */
static gboolean
holds(int fd, const Point *p)
{
    guint8 hash[HASH_BYTES];
    struct stat st;

    if (fd < 0 || fstat(fd, &st) < 0 || (guint64) st.st_size != p->size_bytes)
        return FALSE;
    if (st.st_ino == p->source->capture.staged_ino)
        return TRUE;
    g_autoptr(GBytes) sums = point_sums_read(fd, p->size_bytes, NULL);
    if (!sums)
        return FALSE;
    sums_hash(sums, p->size_bytes, hash);
    return memcmp(hash, p->hash, HASH_BYTES) == 0;
}

/* The staged file is not in staged/: it must have been moved to its place. Or it was made the mirror
 * by an apply that was cut short, and has since become a point: then it gets that name too. */
static gboolean
find_moved(const Layout *l, const FileView *v, Point *p, const char *target, GError **error)
{
    g_autofree char *mirror = mirror_path(v->id, v->path);
    g_auto(Fd) placed = openat(l->root, target, O_RDONLY | O_NOFOLLOW | O_CLOEXEC);
    int placed_errno = errno;
    g_auto(Fd) fd = openat(l->root, mirror, O_RDONLY | O_NOFOLLOW | O_CLOEXEC);
    int mirror_errno = errno;

    if (holds(placed, p))
        return TRUE;
    if (holds(fd, p))
        return linkat(l->root, mirror, l->root, target, 0) == 0 ||
               throw_errno(error, "linking '%s'", target);
    p->lost = (placed >= 0 || placed_errno == ENOENT) && (fd >= 0 || mirror_errno == ENOENT);
    return throw_error(error, FILEDUP_ERROR_DAMAGED, "a staged file is gone");
}

static gboolean
build_staged(const Layout *l, const FileView *v, Point *p, const char *target, char **ret_name,
             GError **error)
{
    guint64 number = p->source->capture.staged;
    g_autofree char *name = staged_name(number);

    if (!p->sums && !(p->sums = staged_sums(l->staged, number, p->size_bytes, error))) {
        p->lost = errno == ENOENT || errno == ENODATA || errno == EIO;
        return FALSE;
    }
    if (!check_hash(p, "a staged file", error))
        return FALSE;
    g_auto(Fd) fd = openat(l->staged, name, O_RDONLY | O_NOFOLLOW | O_CLOEXEC);
    if (fd < 0 && errno == ENOENT)
        return find_moved(l, v, p, target, error);
    if (fd < 0)
        return throw_errno(error, "opening staged file %s", name);
    set_attributes(fd, p);
    if (fsync(fd) < 0)
        return throw_errno(error, "fsync of staged file %s", name);
    *ret_name = g_steal_pointer(&name);
    return TRUE;
}

gboolean
mirror_build(const Layout *l, const FileView *v, Point *p, const char *target, char **ret_name,
             GError **error)
{
    *ret_name = NULL;
    return p->source->capture.kind == APPEND_STAGED ? build_staged(l, v, p, target, ret_name, error)
                                                    : build_copy(l, p, ret_name, error);
}

gboolean
mirror_place(const Layout *l, const char *name, const char *target, guint64 *ret_ino,
             GError **error)
{
    g_autofree char *folder = g_path_get_dirname(target);
    struct stat st;

    if (name && renameat(l->staged, name, l->root, target) < 0)
        return throw_errno(error, "renaming to '%s'", target);
    if (fstatat(l->root, target, &st, AT_SYMLINK_NOFOLLOW) < 0)
        return throw_errno(error, "'%s'", target);
    *ret_ino = st.st_ino;
    return fd_sync_folder(l->root, folder, error);
}

gboolean
mirror_is_missing(const Layout *l, const FileView *v)
{
    g_autofree char *name = mirror_path(v->id, v->path);
    struct stat st;

    return fstatat(l->root, name, &st, AT_SYMLINK_NOFOLLOW) < 0 && errno == ENOENT;
}

gboolean
mirror_keep(const Layout *l, const FileView *v, Point *p, GError **error)
{
    g_autofree char *from = mirror_path(v->id, v->path);
    g_autofree char *to = mirror_history_path(v->id, p->id, v->path);

    /* If the name is there, this step was done, synced, before the mirror was replaced. */
    if (linkat(l->root, from, l->root, to, 0) < 0 && errno != EEXIST &&
        faccessat(l->root, to, F_OK, AT_SYMLINK_NOFOLLOW) < 0) {
        int errnum = errno;
        p->lost = mirror_is_missing(l, v);
        errno = errnum;
        return throw_errno(error, "keeping '%s'", from);
    }
    return fd_sync_folder(l->history, ".", error); /* invariant 2 */
}

gboolean
mirror_set_attributes(const Layout *l, FileView *v, GError **error)
{
    g_autofree char *name = mirror_path(v->id, v->path);
    g_auto(Fd) fd = openat(l->root, name, O_RDONLY | O_NOFOLLOW | O_CLOEXEC);

    if (fd < 0) {
        int errnum = errno;
        v->current->lost = mirror_is_missing(l, v);
        errno = errnum;
        return throw_errno(error, "opening '%s'", name);
    }
    set_attributes(fd, v->current);
    if (fsync(fd) < 0)
        return throw_errno(error, "fsync of '%s'", name);
    return TRUE;
}

/* What is still in the journal is put together in memory: it is at most CAPTURE_BUFFER_BYTES. */
static int
open_from_journal(const Transaction *t, GError **error)
{
    g_auto(Fd) fd = fd_memfd("filedup-content", error);
    g_autofree char *name = g_strdup_printf("/proc/self/fd/%d", fd);
    gboolean lost;

    if (fd < 0 || !transaction_write_content(t, fd, &lost, error))
        return -1;
    int reading = open(name, O_RDONLY | O_CLOEXEC);
    if (reading < 0)
        throw_errno(error, "a memory file");
    return reading;
}

/* An apply that a crash cut short may have done its moves, and the catalog not know it: then a
 * staged file is where it was to go, and an old mirror that was to be kept has its name in
 * history/. */
static int
open_named(int root_fd, const FileView *v, const Point *p, const char *name)
{
    g_autofree char *kept = mirror_history_path(v->id, p->id, v->path);
    g_autofree char *mirror = mirror_path(v->id, v->path);
    const char *order[] = {name, p == v->current ? mirror : kept};
    int fd = -1;

    if (p->place == POINT_IN_MIRROR && p != v->current) {
        order[0] = kept;
        order[1] = name;
    }
    for (guint i = 0; i < G_N_ELEMENTS(order) && fd < 0; i++)
        fd = openat(root_fd, order[i], O_RDONLY | O_NOFOLLOW | O_CLOEXEC);
    if (fd < 0 && errno == ENOENT && p->place == POINT_IN_JOURNAL) { /* find_moved's second case */
        g_auto(Fd) moved = openat(root_fd, mirror, O_RDONLY | O_NOFOLLOW | O_CLOEXEC);
        if (holds(moved, p))
            return fd_steal(&moved);
        errno = ENOENT;
    }
    return fd;
}

int
mirror_open(int root_fd, const FileView *v, const Point *p, GError **error)
{
    g_autofree char *name = NULL;
    struct stat st;

    if (p->place == POINT_IN_MIRROR)
        name = mirror_path(v->id, v->path);
    else if (p->place == POINT_IN_HISTORY)
        name = mirror_history_path(v->id, p->id, v->path);
    else if (p->source->capture.kind == APPEND_CONTENT)
        return open_from_journal(p->source, error);
    else {
        g_autofree char *number = staged_name(p->source->capture.staged);
        name = g_strconcat("staged/", number, NULL);
    }
    g_auto(Fd) fd = open_named(root_fd, v, p, name);
    if (fd < 0 || fstat(fd, &st) < 0) {
        int errnum = errno;
        throw_error(error, errnum == ENOENT ? FILEDUP_ERROR_DAMAGED : error_from_errno(errnum),
                    "'%s': %s", name, g_strerror(errnum));
        return -1;
    }
    if ((guint64) st.st_size != p->size_bytes) {
        throw_error(error, FILEDUP_ERROR_DAMAGED,
                    "'%s' has %" G_GINT64_FORMAT " bytes, not %" G_GUINT64_FORMAT, name,
                    (gint64) st.st_size, p->size_bytes);
        return -1;
    }
    return fd_steal(&fd);
}
