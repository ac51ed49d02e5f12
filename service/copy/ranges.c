/* ranges.c - what of a content differs from the sums that were recorded
 *
 * Block by block: a block is the same if it has the length and the sum that the recorded one had.
 * All others are ranges, neighbours merged; so are blocks that the recorded content did not reach.
 * What the new content does not reach any more is told by its size alone.
 *
 * Holes that differ are ranges of zeros, which take no bytes. Zeros that the file has as data stay
 * data: what is preallocated today should not come back as a hole that finds no room tomorrow.
 *
 * TOO MUCH  more bytes than the journal should take for one file (RANGES_BUFFER_BYTES); most of a
 *           large file replaced, whose old content is then better kept as a file than as pieces;
 *           more ranges than a reader should have to believe in.
 */

#include "config.h"

#include <string.h>

#include "base/fd.h"
#include "base/sums.h"
#include "copy/ranges.h"

#define RANGES_MAX 65536

struct Ranges {
    GBytes *recorded;
    guint64 recorded_bytes;
    guint64 size_bytes;
    int content_fd; /* borrowed */

    GByteArray *sums;
    GArray *list; /* of Range, in this machine's byte order */
    guint64 done_bytes;
    guint64 content_bytes;
    guint64 replaced_bytes; /* of the recorded content; data and zeros */
};

Ranges *
ranges_new(GBytes *recorded, guint64 recorded_bytes, guint64 size_bytes, int content_fd)
{
    Ranges *r = g_new0(Ranges, 1);

    g_assert(g_bytes_get_size(recorded) == sums_length(recorded_bytes));
    r->recorded = g_bytes_ref(recorded);
    r->recorded_bytes = recorded_bytes;
    r->size_bytes = size_bytes;
    r->content_fd = content_fd;
    r->sums = g_byte_array_sized_new((guint) MIN(sums_length(size_bytes), 1u << 20));
    r->list = g_array_new(FALSE, FALSE, sizeof(Range));
    return r;
}

void
ranges_free(Ranges *r)
{
    if (!r)
        return;
    g_bytes_unref(r->recorded);
    g_clear_pointer(&r->sums, g_byte_array_unref);
    g_array_unref(r->list);
    g_free(r);
}

/* Notes the sum of the next block, and whether it is another than the recorded one. */
static gboolean
differs(Ranges *r, guint64 sum, gsize n)
{
    guint64 offset = r->done_bytes, le = GUINT64_TO_LE(sum);

    g_byte_array_append(r->sums, (const guint8 *) &le, sizeof le);
    r->done_bytes += n;
    return offset >= r->recorded_bytes || MIN(r->recorded_bytes - offset, SUM_BLOCK_BYTES) != n ||
           sums_get(r->recorded, offset / SUM_BLOCK_BYTES) != sum;
}

/* The n bytes up to done_bytes. */
static void
extend(Ranges *r, guint64 n, gboolean zeros)
{
    guint64 offset = r->done_bytes - n;
    Range *last = r->list->len ? &g_array_index(r->list, Range, r->list->len - 1) : NULL;

    if (offset < r->recorded_bytes)
        r->replaced_bytes += MIN(n, r->recorded_bytes - offset);
    if (last && last->offset + last->length == offset && last->zeros == (guint64) zeros) {
        last->length += n;
        return;
    }
    Range range = {offset, n, (guint64) zeros};
    g_array_append_val(r->list, range);
}

static gboolean
write_out(Ranges *r, const guint8 *data, gsize n)
{
    if (n > 0 && !fd_pwrite_full(r->content_fd, data, n, (goffset) r->content_bytes))
        return FALSE;
    r->content_bytes += n;
    return TRUE;
}

gboolean
ranges_add(Ranges *r, const void *data, gsize n)
{
    const guint8 *p = data, *end = p + n;
    gsize run = 0; /* bytes before p that differ and are still to be written */

    g_assert(r->done_bytes % SUM_BLOCK_BYTES == 0 && n <= r->size_bytes - r->done_bytes);
    while (p < end) {
        gsize length = MIN((gsize) (end - p), SUM_BLOCK_BYTES);
        if (differs(r, sums_of_block(p, length), length)) {
            extend(r, length, FALSE);
            run += length;
        } else if (!write_out(r, p - run, run)) {
            return FALSE;
        } else {
            run = 0;
        }
        p += length;
    }
    return write_out(r, p - run, run);
}

void
ranges_add_zeros(Ranges *r, guint64 n)
{
    static const guint8 zeros[SUM_BLOCK_BYTES];
    guint64 whole = sums_of_block(zeros, sizeof zeros);

    g_assert(r->done_bytes % SUM_BLOCK_BYTES == 0 && n <= r->size_bytes - r->done_bytes);
    while (n > 0) {
        gsize length = (gsize) MIN(n, SUM_BLOCK_BYTES);
        if (differs(r, length == sizeof zeros ? whole : sums_of_block(zeros, length), length))
            extend(r, length, TRUE);
        n -= length;
    }
}

gboolean
ranges_too_much(const Ranges *r)
{
    return r->content_bytes > RANGES_BUFFER_BYTES || r->list->len > RANGES_MAX ||
           (r->size_bytes > CAPTURE_BUFFER_BYTES &&
            MAX(r->content_bytes, r->replaced_bytes) > r->size_bytes / 2);
}

gboolean
ranges_are_everything(const Ranges *r)
{
    return r->content_bytes == r->size_bytes;
}

GBytes *
ranges_finish(Ranges *r, guint8 ret_hash[HASH_BYTES], GBytes **ret_ranges)
{
    GBytes *sums = g_byte_array_free_to_bytes(g_steal_pointer(&r->sums));

    g_assert(r->done_bytes == r->size_bytes);
    for (guint i = 0; i < r->list->len; i++) {
        Range *range = &g_array_index(r->list, Range, i);
        range->offset = GUINT64_TO_LE(range->offset);
        range->length = GUINT64_TO_LE(range->length);
        range->zeros = GUINT64_TO_LE(range->zeros);
    }
    *ret_ranges = g_bytes_new(r->list->data, r->list->len * sizeof(Range));
    sums_hash(sums, r->size_bytes, ret_hash);
    return sums;
}
