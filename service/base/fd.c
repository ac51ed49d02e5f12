/* fd.c - descriptors: whole reads and writes, sealed memory, folder syncs */

#include "config.h"

#include <fcntl.h>
#include <sys/mman.h>
#include <sys/stat.h>

#include "base/error.h"
#include "base/fd.h"

#define SEALS_IMMUTABLE (F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_WRITE)

gssize
fd_pread_most(int fd, void *buffer, gsize n, goffset offset)
{
    gsize done = 0;

    while (done < n) {
        gssize got = pread(fd, (char *) buffer + done, n - done, offset + (goffset) done);
        if (got < 0 && errno == EINTR)
            continue;
        if (got < 0)
            return -1;
        if (got == 0)
            break;
        done += (gsize) got;
    }
    return (gssize) done;
}

gboolean
fd_pread_full(int fd, void *buffer, gsize n, goffset offset)
{
    gssize got = fd_pread_most(fd, buffer, n, offset);

    if (got < 0)
        return FALSE;
    if ((gsize) got < n) {
        errno = ENODATA;
        return FALSE;
    }
    return TRUE;
}

gboolean
fd_pwrite_full(int fd, const void *buffer, gsize n, goffset offset)
{
    gsize done = 0;

    while (done < n) {
        gssize put = pwrite(fd, (const char *) buffer + done, n - done, offset + (goffset) done);
        if (put < 0 && errno == EINTR)
            continue;
        if (put < 0)
            return FALSE;
        if (put == 0) {
            errno = ENOSPC;
            return FALSE;
        }
        done += (gsize) put;
    }
    return TRUE;
}

int
fd_memfd(const char *name, GError **error)
{
    int fd = memfd_create(name, MFD_CLOEXEC | MFD_ALLOW_SEALING);

    if (fd < 0)
        throw_errno(error, "memfd_create");
    return fd;
}

gboolean
fd_seal(int fd, GError **error)
{
    if (fcntl(fd, F_ADD_SEALS, SEALS_IMMUTABLE | F_SEAL_SEAL) < 0)
        return throw_errno(error, "sealing a memory file");
    return TRUE;
}

gboolean
fd_is_sealed(int fd)
{
    int seals = fcntl(fd, F_GET_SEALS);

    return seals >= 0 && (seals & SEALS_IMMUTABLE) == SEALS_IMMUTABLE;
}

int
fd_from_bytes(const char *name, const void *data, gsize n, GError **error)
{
    g_auto(Fd) fd = fd_memfd(name, error);

    if (fd < 0)
        return -1;
    if (!fd_pwrite_full(fd, data, n, 0)) {
        throw_errno(error, "writing a memory file");
        return -1;
    }
    if (!fd_seal(fd, error))
        return -1;
    return fd_steal(&fd);
}

GBytes *
fd_to_bytes(int fd, gsize max_bytes, GError **error)
{
    struct stat st;

    if (!fd_is_sealed(fd)) {
        throw_error(error, FILEDUP_ERROR_REFUSED, "a memory file that is not sealed");
        return NULL;
    }
    if (fstat(fd, &st) < 0) {
        throw_errno(error, "fstat of a memory file");
        return NULL;
    }
    if ((guint64) st.st_size > max_bytes) {
        throw_error(error, FILEDUP_ERROR_REFUSED, "a memory file of %" G_GINT64_FORMAT " bytes",
                    (gint64) st.st_size);
        return NULL;
    }
    g_autofree void *data = g_malloc((gsize) st.st_size + 1);
    if (!fd_pread_full(fd, data, (gsize) st.st_size, 0)) {
        throw_errno(error, "reading a memory file");
        return NULL;
    }
    return g_bytes_new_take(g_steal_pointer(&data), (gsize) st.st_size);
}

gboolean
fd_sync_folder(int dirfd, const char *name, GError **error)
{
    g_auto(Fd) fd = openat(dirfd, name, O_RDONLY | O_DIRECTORY | O_CLOEXEC);

    if (fd < 0)
        return throw_errno(error, "opening folder '%s'", name);
    if (fsync(fd) < 0)
        return throw_errno(error, "fsync of folder '%s'", name);
    return TRUE;
}
