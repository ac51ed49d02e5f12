/* delta.c - the blocks in which a file differs from its content in the store
 *
 * Blocks of 4 KiB are what file systems and disks write as one: a whole aligned one heals an
 * unreadable sector, which a part of one does not.
 */

#include "config.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>

#include "base/error.h"
#include "base/fd.h"
#include "copy/delta.h"

#define BLOCK_BYTES 4096

typedef struct Delta {
    int target_fd;
    DeltaMode mode;
    guint64 bytes;
} Delta;

/* Reads what is there block by block after an error: which of them could not be read is marked. */
static void
read_target(int fd, guint8 *buffer, gsize n, guint64 offset, gsize *ret_got, gboolean *unreadable)
{
    gssize got = fd_pread_most(fd, buffer, n, (goffset) offset);

    memset(unreadable, 0, sizeof *unreadable * (CONTENT_CHUNK_BYTES / BLOCK_BYTES));
    *ret_got = got < 0 ? n : (gsize) got;
    for (gsize i = 0; got < 0 && i * BLOCK_BYTES < n; i++)
        unreadable[i] =
            fd_pread_most(fd, buffer + i * BLOCK_BYTES, MIN(BLOCK_BYTES, n - i * BLOCK_BYTES),
                          (goffset) (offset + i * BLOCK_BYTES)) < 0;
}

static gboolean
write_run(Delta *d, const guint8 *data, gsize n, guint64 offset, GError **error)
{
    if (d->mode == DELTA_LEASE && fcntl(d->target_fd, F_GETLEASE) != F_WRLCK)
        return throw_error(
            error, FILEDUP_ERROR_BUSY,
            "somebody opened it while it was being restored in place: %" G_GUINT64_FORMAT
            " bytes were written, what lies from offset %" G_GUINT64_FORMAT
            " on is as it was; restore it again to go on",
            d->bytes, offset);
    if (d->mode != DELTA_COUNT && !fd_pwrite_full(d->target_fd, data, n, (goffset) offset))
        return throw_errno(error, "writing at offset %" G_GUINT64_FORMAT, offset);
    d->bytes += n;
    return TRUE;
}

static gboolean
compare_chunk(Delta *d, const guint8 *wanted, const guint8 *there, gsize n, gsize n_there,
              const gboolean *unreadable, guint64 offset, GError **error)
{
    gsize run = n; /* where the run of differing blocks began, n: none */

    for (gsize at = 0; at < n; at += BLOCK_BYTES) {
        gsize length = MIN(BLOCK_BYTES, n - at);
        gboolean differs = at + length > n_there || unreadable[at / BLOCK_BYTES] ||
                           memcmp(wanted + at, there + at, length) != 0;
        if (differs) {
            run = MIN(run, at);
        } else if (run < n) {
            if (!write_run(d, wanted + run, at - run, offset + run, error))
                return FALSE;
            run = n;
        }
    }
    return run == n || write_run(d, wanted + run, n - run, offset + run, error);
}

gboolean
delta_run(Content *content, int target_fd, DeltaMode mode, guint64 *ret_bytes, GError **error)
{
    g_autofree guint8 *wanted = g_malloc(CONTENT_CHUNK_BYTES);
    g_autofree guint8 *there = g_malloc(CONTENT_CHUNK_BYTES);
    gboolean unreadable[CONTENT_CHUNK_BYTES / BLOCK_BYTES];
    Delta d = {target_fd, mode, 0};
    gboolean ok = TRUE;
    gsize n, n_there;

    for (guint64 offset = 0; ok && offset < content->size_bytes; offset += n) {
        ok = content_read(content, offset, wanted, &n, error);
        if (!ok)
            break;
        read_target(target_fd, there, n, offset, &n_there, unreadable);
        ok = compare_chunk(&d, wanted, there, n, n_there, unreadable, offset, error);
        content->done_bytes += n;
        if (content->progress)
            content->progress(content->done_bytes, content->data);
    }
    *ret_bytes = d.bytes;
    return ok;
}
