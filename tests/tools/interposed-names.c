/* interposed-names.c - names and attributes, in the place of the C library's
 *
 * See interpose.c. A call counts only if it will change something: creating what is there does not.
 */

#include "config.h"

#include <stdio.h>
#include <sys/xattr.h>
#include <unistd.h>

#include "tests/tools/interpose-inside.h"

/* ---- names ---- */

static int
do_open(const char *call, int dirfd, const char *path, int flags, mode_t mode)
{
    gboolean tmpfile = (flags & O_TMPFILE) == O_TMPFILE;
    const char *name;
    struct stat st;

    interpose_announce();
    if (!interpose_now || (!tmpfile && !(flags & (O_CREAT | O_TRUNC))) ||
        g_str_has_prefix(path, "/proc/"))
        return REAL(openat)(dirfd, path, flags, mode);
    gboolean existed = !tmpfile && fstatat(dirfd, path, &st, 0) == 0;
    if (!tmpfile && existed && (flags & O_EXCL))
        return REAL(openat)(dirfd, path, flags, mode); /* fails without doing anything */
    if (!tmpfile && existed && !(flags & O_TRUNC))
        return REAL(openat)(dirfd, path, flags, mode);
    if (interpose_count(call, dirfd, path, FALSE) == FAIL)
        return -1;
    interpose_lock();
    int fd = REAL(openat)(dirfd, path, flags, mode);
    if (fd >= 0 && interpose_now->logging && fstat(fd, &st) == 0) {
        guint64 dir = interpose_folder(dirfd, path, &name);
        if (tmpfile)
            interpose_note(&(Op){.kind = OP_TMPFILE, .ino = st.st_ino}, NULL, NULL, NULL, 0, 0);
        else if (existed)
            interpose_note(&(Op){.kind = OP_SIZE, .ino = st.st_ino}, NULL, NULL, NULL, 0, 0);
        else
            interpose_note(&(Op){.kind = OP_CREATE, .ino = st.st_ino, .dir = dir}, name, NULL, NULL,
                           0, 0);
    }
    interpose_unlock();
    return fd;
}

#define MODE_OF(flags)                                                                             \
    ({                                                                                             \
        mode_t found = 0;                                                                          \
        if ((flags) & (O_CREAT | (O_TMPFILE & ~O_DIRECTORY))) {                                    \
            va_list list;                                                                          \
            va_start(list, flags);                                                                 \
            found = va_arg(list, mode_t);                                                          \
            va_end(list);                                                                          \
        }                                                                                          \
        found;                                                                                     \
    })

int
open(const char *path, int flags, ...)
{
    return do_open("open", AT_FDCWD, path, flags, MODE_OF(flags));
}

int
open64(const char *path, int flags, ...)
{
    return do_open("open", AT_FDCWD, path, flags, MODE_OF(flags));
}

int
openat(int dirfd, const char *path, int flags, ...)
{
    return do_open("open", dirfd, path, flags, MODE_OF(flags));
}

int
openat64(int dirfd, const char *path, int flags, ...)
{
    return do_open("open", dirfd, path, flags, MODE_OF(flags));
}

int
creat(const char *path, mode_t mode)
{
    return do_open("open", AT_FDCWD, path, O_CREAT | O_WRONLY | O_TRUNC, mode);
}

int
mkdirat(int dirfd, const char *path, mode_t mode)
{
    const char *name;

    interpose_announce();
    if (!interpose_now || interpose_ino(dirfd, path) != 0)
        return REAL(mkdirat)(dirfd, path, mode);
    if (interpose_count("mkdir", dirfd, path, FALSE) == FAIL)
        return -1;
    interpose_lock();
    int result = REAL(mkdirat)(dirfd, path, mode);
    if (result == 0 && interpose_now->logging) {
        guint64 dir = interpose_folder(dirfd, path, &name);
        interpose_note(&(Op){.kind = OP_MKDIR, .ino = interpose_ino(dirfd, path), .dir = dir}, name,
                       NULL, NULL, 0, 0);
    }
    interpose_unlock();
    return result;
}

int
mkdir(const char *path, mode_t mode)
{
    return mkdirat(AT_FDCWD, path, mode);
}

int
renameat2(int dir, const char *from, int dir2, const char *to, unsigned flags)
{
    const char *name, *name2;

    interpose_announce();
    if (!interpose_now || interpose_ino(dir, from) == 0 ||
        ((flags & RENAME_NOREPLACE) && interpose_ino(dir2, to) != 0))
        return REAL(renameat2)(dir, from, dir2, to, flags);
    if (interpose_count("rename", dir2, to, FALSE) == FAIL)
        return -1;
    interpose_lock();
    guint64 ino = interpose_folder(dir, from, &name), ino2 = interpose_folder(dir2, to, &name2);
    int result = REAL(renameat2)(dir, from, dir2, to, flags);
    if (result == 0)
        interpose_note(&(Op){.kind = (flags & RENAME_EXCHANGE) ? OP_EXCHANGE : OP_RENAME,
                             .dir = ino,
                             .dir2 = ino2},
                       name, name2, NULL, 0, 0);
    interpose_unlock();
    return result;
}

int
renameat(int dir, const char *from, int dir2, const char *to)
{
    return renameat2(dir, from, dir2, to, 0);
}

int
rename(const char *from, const char *to)
{
    return renameat2(AT_FDCWD, from, AT_FDCWD, to, 0);
}

int
linkat(int dir, const char *from, int dir2, const char *to, int flags)
{
    const char *name2;
    struct stat st = {0};

    interpose_announce();
    if (!interpose_now)
        return REAL(linkat)(dir, from, dir2, to, flags);
    if (interpose_count("link", dir2, to, FALSE) == FAIL)
        return -1;
    interpose_lock();
    int result = REAL(linkat)(dir, from, dir2, to, flags);
    if (result == 0) {
        guint64 ino2 = interpose_folder(dir2, to, &name2);
        (void) fstatat(dir2, to, &st, AT_SYMLINK_NOFOLLOW);
        interpose_note(&(Op){.kind = OP_LINK, .ino = st.st_ino, .dir2 = ino2}, NULL, name2, NULL, 0,
                       0);
    }
    interpose_unlock();
    return result;
}

int
link(const char *from, const char *to)
{
    return linkat(AT_FDCWD, from, AT_FDCWD, to, 0);
}

int
unlinkat(int dirfd, const char *path, int flags)
{
    const char *name;

    interpose_announce();
    if (!interpose_now || interpose_ino(dirfd, path) == 0)
        return REAL(unlinkat)(dirfd, path, flags);
    if (interpose_count("unlink", dirfd, path, FALSE) == FAIL)
        return -1;
    interpose_lock();
    guint64 dir = interpose_folder(dirfd, path, &name);
    int result = REAL(unlinkat)(dirfd, path, flags);
    if (result == 0)
        interpose_note(&(Op){.kind = OP_UNLINK, .dir = dir}, name, NULL, NULL, 0, 0);
    interpose_unlock();
    return result;
}

int
unlink(const char *path)
{
    return unlinkat(AT_FDCWD, path, 0);
}

int
rmdir(const char *path)
{
    return unlinkat(AT_FDCWD, path, AT_REMOVEDIR);
}

/* ---- attributes: counted, not in the log ---- */

static gboolean
attribute_fails(const char *call, int fd)
{
    struct stat st;

    return interpose_watches(fd, &st) && interpose_count(call, fd, NULL, FALSE) == FAIL;
}

int
fchmod(int fd, mode_t mode)
{
    return attribute_fails("fchmod", fd) ? -1 : REAL(fchmod)(fd, mode);
}

int
fchown(int fd, uid_t owner, gid_t group)
{
    return attribute_fails("fchown", fd) ? -1 : REAL(fchown)(fd, owner, group);
}

int
futimens(int fd, const struct timespec times[2])
{
    return attribute_fails("futimens", fd) ? -1 : REAL(futimens)(fd, times);
}

int
fsetxattr(int fd, const char *name, const void *value, size_t n, int flags)
{
    return attribute_fails("fsetxattr", fd) ? -1 : REAL(fsetxattr)(fd, name, value, n, flags);
}

int
fremovexattr(int fd, const char *name)
{
    return attribute_fails("fremovexattr", fd) ? -1 : REAL(fremovexattr)(fd, name);
}
