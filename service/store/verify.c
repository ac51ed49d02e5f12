/* verify.c - content against its sums
 *
 * One pass, in pieces that stay in the processor's cache between the read and the sum: the cost is
 * that of reading. Where a piece cannot be read, its blocks are tried one by one, so that one bad
 * sector is one bad block.
 *
 * The file may be open for writing elsewhere only if nobody writes it meanwhile: the keeper does not
 * apply to a file while a verification of it is under way.
 */

#include "config.h"

#include <errno.h>
#include <fcntl.h>

#include "base/error.h"
#include "base/fd.h"
#include "base/sums.h"
#include "store/verify.h"

#define PIECE_BYTES    ((gsize) 256 * 1024)
#define PROGRESS_BYTES ((guint64) 8 * 1024 * 1024)

G_STATIC_ASSERT(PIECE_BYTES % SUM_BLOCK_BYTES == 0);

GArray *
verify_bad_new(void)
{
    return g_array_new(FALSE, FALSE, sizeof(BadRange));
}

void
verify_bad_add(GArray *bad, guint64 offset, guint64 length)
{
    BadRange *last = bad->len ? &g_array_index(bad, BadRange, bad->len - 1) : NULL;
    BadRange range = {.offset = offset, .length = length};

    if (last && last->offset + last->length == offset)
        last->length += length;
    else
        g_array_append_val(bad, range);
}

/* Block by block: `buffer` has room for one. `readable`: the piece is in `buffer` already. */
static void
check_blocks(int fd, GBytes *sums, guint8 *buffer, gsize n, guint64 offset, gboolean readable,
             GArray *bad)
{
    for (gsize done = 0; done < n; done += SUM_BLOCK_BYTES) {
        gsize length = MIN(n - done, SUM_BLOCK_BYTES);
        guint8 *block = readable ? buffer + done : buffer;
        gboolean good = readable || fd_pread_full(fd, block, length, (goffset) (offset + done));
        good = good &&
               sums_of_block(block, length) == sums_get(sums, (offset + done) / SUM_BLOCK_BYTES);
        if (!good)
            verify_bad_add(bad, offset + done, length);
    }
}

gboolean
verify_content(int fd, GBytes *sums, guint64 size_bytes, guint64 from, guint64 to,
               VerifyProgress progress, gpointer data, GArray *bad, GError **error)
{
    g_autofree guint8 *buffer = g_malloc(PIECE_BYTES);
    guint64 told = from;

    g_assert(from % SUM_BLOCK_BYTES == 0);
    if (g_bytes_get_size(sums) != sums_length(size_bytes))
        return throw_error(error, FILEDUP_ERROR_DAMAGED,
                           "%" G_GSIZE_FORMAT " bytes of sums for %" G_GUINT64_FORMAT " bytes",
                           g_bytes_get_size(sums), size_bytes);
    to = MIN(to, size_bytes);
    (void) posix_fadvise(fd, 0, 0, POSIX_FADV_SEQUENTIAL);
    for (guint64 at = from; at < to; at += PIECE_BYTES) {
        gsize n = (gsize) MIN(PIECE_BYTES, to - at);
        gboolean readable = fd_pread_full(fd, buffer, n, (goffset) at);
        if (!readable || !sums_match(sums, buffer, n, at, NULL))
            check_blocks(fd, sums, buffer, n, at, readable, bad);
        if (progress && (at + n - told >= PROGRESS_BYTES || at + n == to)) {
            if (!progress(at + n - told, data))
                return throw_error(error, FILEDUP_ERROR_AGAIN, "stopped");
            told = at + n;
        }
    }
    return TRUE;
}
