/* mirror.c - the ordinary files of a store
 *
 *   mirrors/<id>-<base name>/<name>   the newest content, with the original's name
 *   mirrors/<id>-<base name>.origin   the bytes of the original's path, nothing else
 * <base name> is the original's, with what is not printable replaced by '_', at most 128 bytes.
 *
 * A mirror is given the original's owner, mode, times and extended attributes, but not the set-uid,
 * set-gid and sticky bits: it is data, and nobody is to run it. (They are in the catalog, and a
 * restore sets them.) Where filedup is not root, a mirror also stays readable by its owner.
 *
 *   history/<id>-<whole>-<base name>  a content that was kept whole
 *
 * INVARIANTS
 *  (1) A staged copy, complete and synced, takes the mirror's name. Only a large mirror that changes
 *      in places, where the file system cannot clone, is written itself: never one with a second
 *      name (that may be a content kept whole), and listed (applying.c) before the first byte.
 *  (2) What must outlast it has its second name, or is saved in a pack, synced, before.
 *  (3) Every step can be done again.
 *
 * CRASH POINTS  mirror-cut (size set, nothing written), mirror-written
 */

#include "config.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/fs.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/stat.h>

#include "base/crash.h"
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
mirror_history_path(guint64 id, guint64 whole, const char *path)
{
    g_autofree char *safe = safe_name(path);

    return g_strdup_printf("history/%" G_GUINT64_FORMAT "-%" G_GUINT64_FORMAT "-%s", id, whole,
                           safe);
}

gboolean
mirror_prepare(const Layout *l, const FileView *v, Fd *ret_fd, GError **error)
{
    g_autofree char *entry = entry_path(v->id, v->path);
    g_autofree char *origin = g_strconcat(entry, ".origin", NULL);
    struct stat st;
    gsize n = strlen(v->path);

    /* What is there may not be on the disk: an apply that failed may have left it so. Once the
     * catalog has a mirror, it is. */
    if (v->mirror_point != 0 && fstatat(l->root, origin, &st, AT_SYMLINK_NOFOLLOW) == 0 &&
        (gsize) st.st_size == n && fstatat(l->root, entry, &st, AT_SYMLINK_NOFOLLOW) == 0)
        return TRUE;
    if (mkdirat(l->root, entry, 0700) < 0 && errno != EEXIST)
        return throw_errno(error, "creating '%s'", entry);
    g_auto(Fd) fd =
        openat(l->root, origin, O_WRONLY | O_CREAT | O_TRUNC | O_NOFOLLOW | O_CLOEXEC, 0600);
    if (fd < 0 || !fd_pwrite_full(fd, v->path, n, 0))
        return throw_errno(error, "writing '%s'", origin);
    *ret_fd = fd_steal(&fd);
    return TRUE;
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

static gboolean
clone_of(Layout *l, int fd, const Image *image)
{
    int base = image_base_fd(image);

    if (l->no_clone || base < 0)
        return FALSE;
    if (ioctl(fd, FICLONE, base) == 0)
        return TRUE;
    l->no_clone = errno == EOPNOTSUPP || errno == ENOTTY || errno == EXDEV;
    return FALSE;
}

/* From the journal's data, and the mirror's where that stays. */
static gboolean
build_copy(Layout *l, Point *p, Image *image, char **ret_name, Fd *ret_fd, GError **error)
{
    g_autofree char *name = g_strdup_printf("apply-%" G_GUINT64_FORMAT, p->id);
    g_autoptr(GError) local = NULL;

    if (!check_hash(p, "a copy", error))
        return FALSE;
    (void) unlinkat(l->staged, name, 0); /* invariant 3 */
    g_auto(Fd) fd = openat(l->staged, name, O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
    if (fd < 0)
        return throw_errno(error, "creating a copy");
    if (!image_write(image, fd, clone_of(l, fd, image), &local)) {
        (void) unlinkat(l->staged, name, 0);
        p->lost = g_error_matches(local, FILEDUP_ERROR, FILEDUP_ERROR_DAMAGED);
        g_propagate_error(error, g_steal_pointer(&local));
        return FALSE;
    }
    set_attributes(fd, p);
    *ret_fd = fd_steal(&fd);
    *ret_name = g_steal_pointer(&name);
    return TRUE;
}

/* Nobody else has a name for it, and it can be neither copied at little cost nor cloned. */
gboolean
mirror_is_in_place(Layout *l, const FileView *v, const Point *p)
{
    g_autofree char *name = mirror_path(v->id, v->path);
    struct stat st;

    if (p->place != POINT_IN_JOURNAL || p->source->capture.kind != APPEND_RANGES)
        return FALSE;
    const Transaction *first = v->journalled->pdata[0];
    if (capture_is_whole(&first->capture) || v->mirror_bytes <= MIRROR_COPY_BYTES)
        return FALSE;
    if (fstatat(l->root, name, &st, AT_SYMLINK_NOFOLLOW) < 0 || st.st_nlink != 1)
        return FALSE;
    if (!l->no_clone) { /* try, once */
        g_auto(Fd) from = openat(l->root, name, O_RDONLY | O_NOFOLLOW | O_CLOEXEC);
        g_auto(Fd) to = openat(l->staged, ".", O_RDWR | O_TMPFILE | O_CLOEXEC, 0600);
        if (from < 0 || to < 0)
            return TRUE;
        if (ioctl(to, FICLONE, from) == 0)
            return FALSE;
        l->no_clone = TRUE;
    }
    return TRUE;
}

static int
open_for_writing(const Layout *l, const char *name)
{
    g_auto(Fd) fd = openat(l->root, name, O_RDONLY | O_NOFOLLOW | O_CLOEXEC);
    struct stat st;

    if (fd < 0 || fstat(fd, &st) < 0)
        return -1;
    if (!S_ISREG(st.st_mode) || st.st_nlink != 1) { /* invariant 1 */
        errno = EMLINK;
        return -1;
    }
    if (!(st.st_mode & S_IWUSR) && fchmod(fd, st.st_mode | S_IWUSR) < 0) /* the original's mode */
        return -1;
    g_autofree char *again = g_strdup_printf("/proc/self/fd/%d", fd);
    return open(again, O_RDWR | O_CLOEXEC);
}

gboolean
mirror_write(const Layout *l, const FileView *v, Point *p, Image *image, Fd *ret_fd, GError **error)
{
    g_autofree char *name = mirror_path(v->id, v->path);
    g_auto(Fd) fd = -1;

    if (!check_hash(p, "a mirror", error))
        return FALSE;
    fd = open_for_writing(l, name);
    if (fd < 0)
        return throw_errno(error, "opening '%s' to write it", name);
    if (!image_write(image, fd, TRUE, error))
        return FALSE;
    crash_point("mirror-written");
    set_attributes(fd, p);
    *ret_fd = fd_steal(&fd);
    return TRUE;
}

/* Whether this is what a staged file has become. In a copied store inodes differ: then the content
 * tells. */
static gboolean
holds(int fd, const Transaction *t)
{
    const Capture *c = &t->capture;
    guint8 hash[HASH_BYTES];
    struct stat st;

    if (fd < 0 || fstat(fd, &st) < 0 || (guint64) st.st_size != c->size_bytes)
        return FALSE;
    if (st.st_ino == c->staged_ino)
        return TRUE;
    g_autoptr(GBytes) sums = point_sums_read(fd, c->size_bytes, NULL);
    if (!sums)
        return FALSE;
    sums_hash(sums, c->size_bytes, hash);
    return memcmp(hash, c->hash, HASH_BYTES) == 0;
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

    if (holds(placed, p->source))
        return TRUE;
    if (holds(fd, p->source))
        return linkat(l->root, mirror, l->root, target, 0) == 0 ||
               throw_errno(error, "linking '%s'", target);
    p->lost = (placed >= 0 || placed_errno == ENOENT) && (fd >= 0 || mirror_errno == ENOENT);
    return throw_error(error, FILEDUP_ERROR_DAMAGED, "a staged file is gone");
}

/* An earlier try may have moved it to history/, so that it stays beside a next content, of which
 * there is none any more: it gets its name in staged/ back. (The other one is swept, thin_sweep.c.) */
static void
take_back(const Layout *l, const FileView *v, const Transaction *t, const char *name)
{
    g_autofree char *kept = mirror_history_path(v->id, t->seq, v->path);
    g_auto(Fd) fd = openat(l->root, kept, O_RDONLY | O_NOFOLLOW | O_CLOEXEC);

    if (holds(fd, t))
        (void) linkat(l->root, kept, l->staged, name, 0);
}

static gboolean
build_staged(const Layout *l, const FileView *v, Point *p, const char *target, char **ret_name,
             Fd *ret_fd, GError **error)
{
    guint64 number = p->source->capture.staged;
    g_autofree char *name = staged_name(number);
    g_autoptr(GError) local = NULL;

    if (!check_hash(p, "a staged file", error))
        return FALSE;
    g_auto(Fd) fd = openat(l->staged, name, O_RDONLY | O_NOFOLLOW | O_CLOEXEC);
    if (fd < 0 && errno == ENOENT) {
        if (find_moved(l, v, p, target, &local))
            return TRUE;
        take_back(l, v, p->source, name);
        fd = openat(l->staged, name, O_RDONLY | O_NOFOLLOW | O_CLOEXEC);
        if (fd < 0) {
            g_propagate_error(error, g_steal_pointer(&local));
            return FALSE;
        }
        p->lost = FALSE;
    }
    if (fd < 0)
        return throw_errno(error, "opening staged file %s", name);
    set_attributes(fd, p);
    *ret_fd = fd_steal(&fd);
    *ret_name = g_steal_pointer(&name);
    return TRUE;
}

gboolean
mirror_build(Layout *l, const FileView *v, Point *p, Image *image, const char *target,
             char **ret_name, Fd *ret_fd, GError **error)
{
    *ret_name = NULL;
    *ret_fd = -1;
    return p->source->capture.kind == APPEND_STAGED
               ? build_staged(l, v, p, target, ret_name, ret_fd, error)
               : build_copy(l, p, image, ret_name, ret_fd, error);
}

gboolean
mirror_place(const Layout *l, const char *name, const char *target, guint64 *ret_ino,
             GError **error)
{
    struct stat st;

    if (name && renameat(l->staged, name, l->root, target) < 0)
        return throw_errno(error, "renaming to '%s'", target);
    if (fstatat(l->root, target, &st, AT_SYMLINK_NOFOLLOW) < 0)
        return throw_errno(error, "'%s'", target);
    *ret_ino = st.st_ino;
    return TRUE;
}

gboolean
mirror_is_missing(const Layout *l, const FileView *v)
{
    g_autofree char *name = mirror_path(v->id, v->path);
    struct stat st;

    return fstatat(l->root, name, &st, AT_SYMLINK_NOFOLLOW) < 0 && errno == ENOENT;
}

/* What has the name in history/ is what an earlier try left: of another inode than the mirror, while
 * that is still the one that the catalog knows. */
static gboolean
is_left_over(const Layout *l, const FileView *v, const char *from, const char *to)
{
    struct stat mirror, kept;

    return fstatat(l->root, from, &mirror, AT_SYMLINK_NOFOLLOW) == 0 &&
           fstatat(l->root, to, &kept, AT_SYMLINK_NOFOLLOW) == 0 && mirror.st_ino != kept.st_ino &&
           mirror.st_ino == v->mirror_ino;
}

gboolean
mirror_keep(const Layout *l, const FileView *v, Point *p, GError **error)
{
    g_autofree char *from = mirror_path(v->id, v->path);
    g_autofree char *to = mirror_history_path(v->id, p->id, v->path);

    if (is_left_over(l, v, from, to))
        (void) unlinkat(l->root, to, 0);
    /* If the name is there, this step was done, synced, before the mirror was replaced. */
    if (linkat(l->root, from, l->root, to, 0) < 0 && errno != EEXIST &&
        faccessat(l->root, to, F_OK, AT_SYMLINK_NOFOLLOW) < 0) {
        int errnum = errno;
        p->lost = mirror_is_missing(l, v);
        errno = errnum;
        return throw_errno(error, "keeping '%s'", from);
    }
    return TRUE;
}

gboolean
mirror_set_attributes(const Layout *l, FileView *v, Fd *ret_fd, GError **error)
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
    *ret_fd = fd_steal(&fd);
    return TRUE;
}

/* ---- opening ---- */

/* What is still in the journal is put together in memory: it is at most CAPTURE_BUFFER_BYTES. */
static int
open_from_journal(const FileView *v, const Point *p, GError **error)
{
    g_autoptr(Image) image = image_of(-1, v, p, error);
    g_auto(Fd) fd = image ? fd_memfd("filedup-content", error) : -1;
    g_autofree char *name = g_strdup_printf("/proc/self/fd/%d", fd);

    if (fd < 0 || !image_write(image, fd, FALSE, error))
        return -1;
    int reading = open(name, O_RDONLY | O_CLOEXEC);
    if (reading < 0)
        throw_errno(error, "a memory file");
    return reading;
}

static int
open_first(int root_fd, const char *const names[], guint n)
{
    int fd = -1;

    for (guint i = 0; i < n && fd < 0; i++)
        fd = openat(root_fd, names[i], O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC);
    return fd;
}

static int
throw_opening(GError **error, const char *name, int errnum)
{
    throw_error(error, errnum == ENOENT ? FILEDUP_ERROR_DAMAGED : error_from_errno(errnum),
                "'%s': %s", name, g_strerror(errnum));
    return -1;
}

/* An apply that a crash cut short may have done its moves, and the catalog not know it: then a
 * staged file is where it was to go, or it became the mirror (find_moved). */
int
mirror_open_staged(int root_fd, const FileView *v, const Transaction *t, GError **error)
{
    g_autofree char *number = staged_name(t->capture.staged);
    g_autofree char *staged = g_strconcat("staged/", number, NULL);
    g_autofree char *kept = mirror_history_path(v->id, t->seq, v->path);
    g_autofree char *mirror = mirror_path(v->id, v->path);
    const char *order[] = {staged, kept};

    int fd = open_first(root_fd, order, G_N_ELEMENTS(order));
    if (fd >= 0)
        return fd;
    int errnum = errno;
    g_auto(Fd) moved = openat(root_fd, mirror, O_RDONLY | O_NOFOLLOW | O_CLOEXEC);
    return holds(moved, t) ? fd_steal(&moved) : throw_opening(error, staged, errnum);
}

/* While what follows it is pending, the mirror's content may have its name in history/ already. */
int
mirror_open_named(int root_fd, const FileView *v, const Point *p, GError **error)
{
    g_autofree char *mirror = mirror_path(v->id, v->path);
    g_autofree char *kept =
        mirror_history_path(v->id, p->place == POINT_IN_HISTORY ? p->whole : p->id, v->path);
    const char *order[] = {kept, mirror};
    guint n = p->place == POINT_IN_HISTORY ? 1 : 2;

    if (p->place == POINT_IN_MIRROR && p == v->current) {
        order[0] = mirror;
        n = 1;
    }
    int fd = open_first(root_fd, order, n);
    return fd >= 0 ? fd : throw_opening(error, order[n - 1], errno);
}

int
mirror_open(int root_fd, const FileView *v, const Point *p, GError **error)
{
    struct stat st;

    if (p->place == POINT_IN_JOURNAL && p->source->capture.kind != APPEND_STAGED)
        return open_from_journal(v, p, error);
    g_auto(Fd) fd = p->place == POINT_IN_JOURNAL ? mirror_open_staged(root_fd, v, p->source, error)
                                                 : mirror_open_named(root_fd, v, p, error);
    if (fd < 0)
        return -1;
    if (fstat(fd, &st) < 0)
        return throw_opening(error, "fstat", errno);
    if ((guint64) st.st_size != p->size_bytes) {
        throw_error(error, FILEDUP_ERROR_DAMAGED,
                    "its copy has %" G_GINT64_FORMAT " bytes, not %" G_GUINT64_FORMAT,
                    (gint64) st.st_size, p->size_bytes);
        return -1;
    }
    return fd_steal(&fd);
}
