/* reading.c - a file's bytes from start to end, data and holes, into a sink
 *
 * By pread into one buffer, not through a mapping: a mapping reads a cached gigabyte in 1.1 of the
 * time of a bare pass of preads where this takes 1.2, but an unreadable block or a truncation
 * then comes as a signal, and what was summed there could be other bytes when they are copied.
 */

#include "config.h"

#include <errno.h>
#include <fcntl.h>

#include "base/error.h"
#include "base/fd.h"
#include "copy/reading.h"
#include "copy/source.h"

#define CHUNK_BYTES   (1024 * 1024)
#define COMPARE_BYTES (256 * 1024) /* stays in the cache between the read and the sum */

void
reading_clear(Reading *r)
{
    g_clear_pointer(&r->buffer, g_free);
    r->buffer_bytes = 0;
}

void
reading_progress(Reading *r, gsize n)
{
    r->done_bytes += n;
    if (r->progress)
        r->progress(r->done_bytes, r->data);
}

static ReadResult
failed_read(int fd, guint64 offset, guint64 end, GError **error)
{
    int errnum = errno;

    if (errnum == EIO || errnum == EUCLEAN || errnum == EBADMSG)
        offset = source_bad_offset(fd, offset, end);
    errno = errnum;
    throw_errno(error, "reading at offset %" G_GUINT64_FORMAT, offset);
    errno = errnum;
    return READ_FAILED;
}

/* Ranges are of whole blocks: the part of a hole beside data is read like data. */
static gboolean
next_run(int fd, SinkKind kind, guint64 offset, guint64 size, guint64 *ret_start, guint64 *ret_end)
{
    if (!source_next_data(fd, offset, size, ret_start, ret_end))
        return FALSE;
    if (kind != SINK_RANGES)
        return TRUE;
    *ret_start -= *ret_start % SUM_BLOCK_BYTES;
    if (*ret_end % SUM_BLOCK_BYTES)
        *ret_end = MIN(*ret_end - *ret_end % SUM_BLOCK_BYTES + SUM_BLOCK_BYTES, size);
    return TRUE;
}

static ReadResult
read_run(Reading *r, int fd, guint64 start, guint64 end, GError **error)
{
    while (start < end) {
        gsize n = (gsize) MIN(end - start, r->buffer_bytes);
        gssize got = fd_pread_most(fd, r->buffer, n, (goffset) start);
        if (got < 0)
            return failed_read(fd, start, start + n, error);
        if ((gsize) got < n)
            return READ_SHORT;
        if (!sink_add(r->sink, r->buffer, n, error))
            return READ_FAILED;
        if (sink_is_full(r->sink))
            return READ_FULL;
        start += n;
        reading_progress(r, n);
    }
    return READ_ALL;
}

static ReadResult
read_runs(Reading *r, int fd, guint64 size_bytes, SinkKind kind, GError **error)
{
    guint64 offset = 0, start, end;

    while (next_run(fd, kind, offset, size_bytes, &start, &end)) {
        sink_add_zeros(r->sink, start - offset);
        ReadResult result = read_run(r, fd, start, end, error);
        if (result != READ_ALL)
            return result;
        offset = end;
    }
    sink_add_zeros(r->sink, size_bytes - offset);
    return sink_is_full(r->sink) ? READ_FULL : READ_ALL;
}

ReadResult
reading_run(Reading *r, int fd, guint64 size_bytes, SinkKind kind, guint8 ret_hash[HASH_BYTES],
            GError **error)
{
    r->buffer_bytes = (gsize) MIN(size_bytes, kind == SINK_RANGES ? COMPARE_BYTES : CHUNK_BYTES);
    r->buffer = g_realloc(r->buffer, r->buffer_bytes + 1);
    if (size_bytes > CHUNK_BYTES && kind != SINK_NOTHING)
        (void) posix_fadvise(fd, 0, 0, POSIX_FADV_SEQUENTIAL);
    if (!sink_begin(r->sink, kind, size_bytes, error))
        return READ_FAILED;
    ReadResult result = read_runs(r, fd, size_bytes, kind, error);
    if (result != READ_ALL)
        return result;
    return sink_end(r->sink, ret_hash, error) ? READ_ALL : READ_FAILED;
}
