/* content.c - what a store hands out, checked before it is passed on
 *
 * A chunk is read into private memory, compared with its sums there, and written from there: the
 * store's file may change or rot under us, and nothing unchecked reaches a protected file.
 */

#include "config.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/error.h"
#include "base/fd.h"
#include "base/sums.h"
#include "copy/content.h"
#include "copy/source.h"

#define DIRECT_ALIGN 4096

static void
progress(Content *c, gsize n)
{
    c->done_bytes += n;
    if (c->progress)
        c->progress(c->done_bytes, c->data);
}

gboolean
content_read(Content *c, guint64 offset, void *buffer, gsize *ret_n, GError **error)
{
    gsize n = (gsize) MIN(CONTENT_CHUNK_BYTES, c->size_bytes - offset);
    guint64 bad;

    if (g_bytes_get_size(c->sums) != sums_length(c->size_bytes))
        return throw_error(error, FILEDUP_ERROR_DAMAGED, "the backup's sums do not fit its size");
    if (!fd_pread_full(c->fd, buffer, n, (goffset) offset)) {
        const char *why = errno == ENODATA ? "it ends there" : g_strerror(errno);
        return throw_error(error, FILEDUP_ERROR_DAMAGED,
                           "the backup itself cannot be read at offset %" G_GUINT64_FORMAT ": %s",
                           source_bad_offset(c->fd, offset, offset + n), why);
    }
    if (!sums_match(c->sums, buffer, n, offset, &bad))
        return throw_error(error, FILEDUP_ERROR_DAMAGED,
                           "the backup itself is damaged at offset %" G_GUINT64_FORMAT, bad);
    *ret_n = n;
    return TRUE;
}

/* Calls `take` with each checked chunk. */
static gboolean
for_each_chunk(Content *c,
               gboolean (*take)(Content *c, const guint8 *chunk, gsize n, guint64 offset, int fd,
                                GError **error),
               int fd, GError **error)
{
    g_autofree guint8 *buffer = g_malloc(CONTENT_CHUNK_BYTES);
    gsize n;

    if (g_bytes_get_size(c->sums) != sums_length(c->size_bytes))
        return throw_error(error, FILEDUP_ERROR_DAMAGED, "the backup's sums do not fit its size");
    for (guint64 offset = 0; offset < c->size_bytes; offset += n) {
        if (!content_read(c, offset, buffer, &n, error))
            return FALSE;
        if (take && !take(c, buffer, n, offset, fd, error))
            return FALSE;
        progress(c, n);
    }
    return TRUE;
}

gboolean
content_check(Content *c, GError **error)
{
    return for_each_chunk(c, NULL, -1, error);
}

/* Only what is data in the store; a hole's zeros have passed their sums too. */
static gboolean
write_data(Content *c, const guint8 *chunk, gsize n, guint64 offset, int fd, GError **error)
{
    guint64 at = offset, start, end;

    while (source_next_data(c->fd, at, offset + n, &start, &end)) {
        if (!fd_pwrite_full(fd, chunk + (start - offset), (gsize) (end - start), (goffset) start))
            return throw_errno(error, "writing at offset %" G_GUINT64_FORMAT, start);
        at = end;
    }
    (void) sync_file_range(fd, (off_t) offset, (off_t) n, SYNC_FILE_RANGE_WRITE);
    return TRUE;
}

gboolean
content_copy(Content *c, int fd, GError **error)
{
    if (!for_each_chunk(c, write_data, fd, error))
        return FALSE;
    if (ftruncate(fd, (off_t) c->size_bytes) < 0)
        return throw_errno(error, "setting the size");
    return TRUE;
}

static gboolean
write_on(G_GNUC_UNUSED Content *c, const guint8 *chunk, gsize n, G_GNUC_UNUSED guint64 offset,
         int fd, GError **error)
{
    while (n > 0) {
        gssize put = write(fd, chunk, n);
        if (put < 0 && errno == EINTR)
            continue;
        if (put < 0)
            return throw_errno(error, "writing");
        chunk += put;
        n -= (gsize) put;
    }
    return TRUE;
}

gboolean
content_pipe(Content *c, int fd, GError **error)
{
    return for_each_chunk(c, write_on, fd, error);
}

/* The file's own descriptor is switched: opening it anew would need permissions that its new mode
 * may not give, and would break our own lease. */
static gboolean
set_direct(int fd, gboolean on)
{
    int flags = fcntl(fd, F_GETFL);

    if (flags < 0)
        return FALSE;
    return fcntl(fd, F_SETFL, on ? flags | O_DIRECT : flags & ~O_DIRECT) == 0;
}

static gssize
read_chunk(int fd, void *buffer, guint64 offset, gboolean *direct)
{
    gssize got = *direct ? pread(fd, buffer, CONTENT_CHUNK_BYTES, (off_t) offset) : -1;

    if (got >= 0 && got % DIRECT_ALIGN == 0 && (gsize) got < CONTENT_CHUNK_BYTES && got > 0) {
        gssize more = pread(fd, (guint8 *) buffer + got, CONTENT_CHUNK_BYTES - (gsize) got,
                            (off_t) offset + got); /* short without being the end */
        return more < 0 ? -1 : got + more;
    }
    if (*direct && (got >= 0 || errno != EINVAL))
        return got;
    if (*direct)
        (void) set_direct(fd, FALSE);
    *direct = FALSE;
    return fd_pread_most(fd, buffer, CONTENT_CHUNK_BYTES, (goffset) offset);
}

gboolean
content_read_back(Content *c, int fd, GError **error)
{
    g_autofree guint8 *buffer = NULL;
    gboolean same = TRUE;
    guint64 bad = 0;

    if (posix_memalign((void **) &buffer, DIRECT_ALIGN, CONTENT_CHUNK_BYTES) != 0)
        return throw_error(error, FILEDUP_ERROR_AGAIN, "out of memory");
    if (fsync(fd) < 0)
        return throw_errno(error, "fsync of what was written");
    (void) posix_fadvise(fd, 0, 0, POSIX_FADV_DONTNEED);
    gboolean direct = set_direct(fd, TRUE);
    for (guint64 offset = 0; same && offset < c->size_bytes; offset += CONTENT_CHUNK_BYTES) {
        gsize n = (gsize) MIN(CONTENT_CHUNK_BYTES, c->size_bytes - offset);
        bad = offset;
        gssize got = read_chunk(fd, buffer, offset, &direct);
        same = got >= 0 && (gsize) got >= n && sums_match(c->sums, buffer, n, offset, &bad);
        progress(c, n);
    }
    if (direct)
        (void) set_direct(fd, FALSE);
    if (same)
        return TRUE;
    return throw_error(error, FILEDUP_ERROR_DAMAGED,
                       "what was written at offset %" G_GUINT64_FORMAT
                       " does not read back: the disk may be failing",
                       bad);
}
