#pragma once

/* Fd: a descriptor that closes itself, and whole reads and writes on it. */

#include <errno.h>
#include <glib.h>
#include <sys/types.h>
#include <unistd.h>

G_BEGIN_DECLS

typedef int Fd; /* g_auto(Fd) fd = -1; */

static inline void
fd_clear(Fd fd)
{
    if (fd < 0)
        return;
    int saved = errno;
    g_assert(close(fd) == 0 || errno != EBADF); /* a double close is our own bug */
    errno = saved;
}

static inline int
fd_steal(Fd *fd)
{
    int value = *fd;
    *fd = -1;
    return value;
}

G_DEFINE_AUTO_CLEANUP_FREE_FUNC(Fd, fd_clear, -1)

/* `n` bytes exactly; FALSE with errno on an error (ENODATA: the file ended before). */
gboolean fd_pread_full(int fd, void *buffer, gsize n, goffset offset);
gboolean fd_pwrite_full(int fd, const void *buffer, gsize n, goffset offset);

/* As many as there are, up to `n`: -1 with errno on an error. Short only at the end of the file. */
gssize fd_pread_most(int fd, void *buffer, gsize n, goffset offset);

/* A memfd that can be sealed. fd_seal makes it immutable: size and content. */
int      fd_memfd(const char *name, GError **error);
gboolean fd_seal(int fd, GError **error);
gboolean fd_is_sealed(int fd);

/* A sealed memfd of these bytes, and the reverse (refused if larger than max_bytes or not sealed). */
int     fd_from_bytes(const char *name, const void *data, gsize n, GError **error);
GBytes *fd_to_bytes(int fd, gsize max_bytes, GError **error);

/* fsync of a folder by path relative to dirfd ("." for itself). */
gboolean fd_sync_folder(int dirfd, const char *name, GError **error);

G_END_DECLS
