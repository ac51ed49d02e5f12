/* source.c - opening a protected file, and its data and holes
 *
 * A FIFO that is opened wakes its writer, a device does whatever it does, a symbolic link leads
 * where somebody else wants it: so the name is first looked at without opening (O_PATH), and then
 * the inode that was seen, not the name, is opened through /proc/self/fd.
 */

#include "config.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/fs.h>
#include <sys/ioctl.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/path.h"
#include "copy/source.h"

#define BAD_BLOCK 4096

int
source_open_folder(const char *folder)
{
    return path_open(AT_FDCWD, folder, O_PATH | O_DIRECTORY, 0);
}

int
source_look(int folder_fd, const char *name, FileStat *ret_stat)
{
    g_auto(Fd) fd = path_open(folder_fd, name, O_PATH | O_NOFOLLOW, 0);

    if (fd < 0 || filestat_read(fd, "", ret_stat) < 0)
        return -1;
    return fd_steal(&fd);
}

const char *
source_irregular(guint32 mode)
{
    switch (mode & S_IFMT) {
    case S_IFREG:
        return NULL;
    case S_IFLNK:
        return "a symbolic link";
    case S_IFDIR:
        return "a folder";
    case S_IFIFO:
        return "a named pipe";
    case S_IFSOCK:
        return "a socket";
    default:
        return "a device";
    }
}

int
source_open(int look_fd, int flags)
{
    char self[64];

    g_snprintf(self, sizeof self, "/proc/self/fd/%d", look_fd);
    flags |= O_NONBLOCK | O_NOCTTY | O_CLOEXEC; /* another's lease: EAGAIN instead of waiting */
    int fd = open(self, flags | O_NOATIME);
    if (fd < 0 && errno == EPERM) /* leaving the access time alone is the owner's right */
        fd = open(self, flags);
    return fd;
}

int
source_clone(const char *folder, int fd)
{
    g_auto(Fd) clone = path_open(AT_FDCWD, folder, O_TMPFILE | O_RDWR, 0600);

    if (clone < 0 || ioctl(clone, FICLONE, fd) < 0)
        return -1;
    return fd_steal(&clone);
}

gboolean
source_next_data(int fd, guint64 offset, guint64 size_bytes, guint64 *ret_start, guint64 *ret_end)
{
    if (offset >= size_bytes)
        return FALSE;
    off_t start = lseek(fd, (off_t) offset, SEEK_DATA);
    if (start < 0 && errno == ENXIO)
        return FALSE;
    if (start < 0) {
        *ret_start = offset;
        *ret_end = size_bytes;
        return TRUE;
    }
    if ((guint64) start >= size_bytes)
        return FALSE;
    off_t end = lseek(fd, start, SEEK_HOLE);
    *ret_start = (guint64) start;
    /* end == start: it became a hole just now. */
    *ret_end = end <= start ? size_bytes : MIN((guint64) end, size_bytes);
    return TRUE;
}

guint64
source_bad_offset(int fd, guint64 offset, guint64 end)
{
    guint8 block[BAD_BLOCK];

    for (; offset < end; offset += BAD_BLOCK - offset % BAD_BLOCK)
        if (fd_pread_most(fd, block, MIN(BAD_BLOCK - offset % BAD_BLOCK, end - offset),
                          (goffset) offset) < 0)
            break;
    return offset;
}
