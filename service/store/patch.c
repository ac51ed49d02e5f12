/* patch.c - what a capture says has changed
 *
 * A copier compares sums, so it knows of changes by blocks of 16 KiB; what is journalled, and saved
 * as undo, is the 4 KiB of them that differ from the mirror.
 *
 * INVARIANTS
 *  (1) Nothing is taken on trust: the bytes are checked against the new sums, and the blocks that
 *      were left out by comparing the new sums with those of the base. So base and ranges give the
 *      content whose hash was announced, or nothing is accepted.
 *  (2) Comparing with the base only leaves bytes out. Where the base cannot be read, or has rotted,
 *      it differs, and what was captured is journalled.
 */

#include "config.h"

#include <string.h>

#include "base/error.h"
#include "base/fd.h"
#include "base/sums.h"
#include "store/patch.h"

#define PIECE_BYTES ((gsize) 4096)
#define READ_BYTES  ((gsize) 256 * 1024)

static gboolean
check_range(const Range *r, guint64 after, guint64 size_bytes)
{
    if (r->zeros > 1 || r->length == 0 || r->offset < after || r->offset > size_bytes ||
        r->length > size_bytes - r->offset)
        return FALSE;
    guint64 end = r->offset + r->length;
    return r->offset % SUM_BLOCK_BYTES == 0 && (end % SUM_BLOCK_BYTES == 0 || end == size_bytes);
}

GArray *
patch_parse(GBytes *bytes, guint64 size_bytes, gsize content_bytes, GError **error)
{
    gsize n;
    const guint8 *data = g_bytes_get_data(bytes, &n);
    g_autoptr(GArray) list = g_array_new(FALSE, FALSE, sizeof(Range));
    guint64 after = 0, brought = 0;

    if (n % sizeof(Range) != 0) {
        throw_error(error, FILEDUP_ERROR_REFUSED, "%" G_GSIZE_FORMAT " bytes are no ranges", n);
        return NULL;
    }
    for (gsize at = 0; at < n; at += sizeof(Range)) {
        Range r;
        memcpy(&r, data + at, sizeof r);
        r = (Range){.offset = GUINT64_FROM_LE(r.offset),
                    .length = GUINT64_FROM_LE(r.length),
                    .zeros = GUINT64_FROM_LE(r.zeros)};
        if (!check_range(&r, after, size_bytes)) {
            throw_error(error, FILEDUP_ERROR_REFUSED,
                        "a range that may not be: %" G_GUINT64_FORMAT " bytes at %" G_GUINT64_FORMAT
                        " of %" G_GUINT64_FORMAT,
                        r.length, r.offset, size_bytes);
            return NULL;
        }
        after = r.offset + r.length;
        brought += r.zeros ? 0 : r.length; /* no overflow: they are disjoint, within size_bytes */
        g_array_append_val(list, r);
    }
    if (brought != content_bytes) {
        throw_error(error, FILEDUP_ERROR_REFUSED,
                    "ranges of %" G_GUINT64_FORMAT " bytes with %" G_GSIZE_FORMAT, brought,
                    content_bytes);
        return NULL;
    }
    return g_steal_pointer(&list);
}

/* ---- against the sums ---- */

static gboolean
check_bytes(const Patch *r, GError **error)
{
    static const guint8 zeros[SUM_BLOCK_BYTES];
    const guint8 *content = g_bytes_get_data(r->content, NULL);

    for (guint i = 0; i < r->list->len; i++) {
        const Range *range = &g_array_index(r->list, Range, i);
        gboolean good = TRUE;
        if (range->zeros) {
            for (guint64 at = 0; good && at < range->length; at += SUM_BLOCK_BYTES)
                good = sums_match(r->sums, zeros, (gsize) MIN(range->length - at, SUM_BLOCK_BYTES),
                                  range->offset + at, NULL);
        } else {
            good = sums_match(r->sums, content, (gsize) range->length, range->offset, NULL);
            content += range->length;
        }
        if (!good)
            return throw_error(error, FILEDUP_ERROR_REFUSED,
                               "a content that has not the sums given");
    }
    return TRUE;
}

static gsize
block_bytes(guint64 block, guint64 size_bytes)
{
    return (gsize) MIN(size_bytes - block * SUM_BLOCK_BYTES, SUM_BLOCK_BYTES);
}

/* Blocks [from, to) are left as the base has them. */
static gboolean
check_left_out(const Patch *r, GBytes *base_sums, guint64 base_bytes, guint64 from, guint64 to,
               GError **error)
{
    for (guint64 b = from; b < to; b++)
        if (b * SUM_BLOCK_BYTES >= base_bytes ||
            block_bytes(b, base_bytes) != block_bytes(b, r->size_bytes) ||
            sums_get(base_sums, b) != sums_get(r->sums, b))
            return throw_error(error, FILEDUP_ERROR_DAMAGED,
                               "the block at %" G_GUINT64_FORMAT
                               " is not what the store has, and was left out",
                               b * SUM_BLOCK_BYTES);
    return TRUE;
}

gboolean
patch_check(const Patch *r, GBytes *base_sums, guint64 base_bytes, GError **error)
{
    guint64 block = 0;

    g_assert(g_bytes_get_size(r->sums) == sums_length(r->size_bytes));
    if (g_bytes_get_size(base_sums) != sums_length(base_bytes))
        return throw_error(error, FILEDUP_ERROR_DAMAGED, "the sums of what was to be changed");
    if (!check_bytes(r, error))
        return FALSE;
    for (guint i = 0; i < r->list->len; i++) {
        const Range *range = &g_array_index(r->list, Range, i);
        if (!check_left_out(r, base_sums, base_bytes, block, range->offset / SUM_BLOCK_BYTES,
                            error))
            return FALSE;
        block = sums_length(range->offset + range->length) / sizeof(guint64);
    }
    return check_left_out(r, base_sums, base_bytes, block,
                          sums_length(r->size_bytes) / sizeof(guint64), error);
}

/* ---- down to what differs ---- */

typedef struct Trim {
    GArray *extents;
    int base;
    guint64 base_bytes;
    guint8 *buffer; /* READ_BYTES of the base, at buffer_at */
    guint64 buffer_at;
    gsize buffer_bytes;
} Trim;

/* The base's bytes there, which must lie within it and not cross a read; NULL: not to be had. */
static const guint8 *
base_bytes_at(Trim *t, guint64 offset, gsize n)
{
    if (t->base < 0 || offset + n > t->base_bytes)
        return NULL;
    if (offset < t->buffer_at || offset + n > t->buffer_at + t->buffer_bytes) {
        gsize want = (gsize) MIN(READ_BYTES, t->base_bytes - offset);
        gssize got = fd_pread_most(t->base, t->buffer, want, (goffset) offset);
        t->buffer_at = offset;
        t->buffer_bytes = got > 0 ? (gsize) got : 0;
        if (t->buffer_bytes < n)
            return NULL; /* invariant 2 */
    }
    return t->buffer + (offset - t->buffer_at);
}

static gboolean
is_zero(const guint8 *data, gsize n)
{
    return data[0] == 0 && memcmp(data, data + 1, n - 1) == 0;
}

static void
add_extent(GArray *extents, const Extent *e)
{
    Extent *last = extents->len ? &g_array_index(extents, Extent, extents->len - 1) : NULL;

    if (last && last->hole == e->hole && last->offset + last->length == e->offset &&
        (e->hole || last->position + last->length == e->position))
        last->length += e->length;
    else
        g_array_append_val(extents, *e);
}

/* `data` NULL: zeros. */
static void
trim_range(Trim *t, const Range *range, const guint8 *data, guint64 position)
{
    static const guint8 zeros[PIECE_BYTES];

    for (guint64 at = 0; at < range->length; at += PIECE_BYTES) {
        gsize n = (gsize) MIN(range->length - at, PIECE_BYTES);
        const guint8 *piece = data ? data + at : zeros;
        const guint8 *old = base_bytes_at(t, range->offset + at, n);
        if (old && memcmp(old, piece, n) == 0)
            continue;
        Extent e = {.offset = range->offset + at, .length = n, .hole = is_zero(piece, n)};
        e.position = e.hole ? 0 : position + at;
        add_extent(t->extents, &e);
    }
}

GArray *
patch_extents(const Patch *r, int base, guint64 base_bytes)
{
    g_autofree guint8 *buffer = g_malloc(READ_BYTES);
    Trim t = {.extents = g_array_new(FALSE, FALSE, sizeof(Extent)),
              .base = base,
              .base_bytes = base_bytes,
              .buffer = buffer};
    const guint8 *content = g_bytes_get_data(r->content, NULL);
    guint64 position = 0;

    for (guint i = 0; i < r->list->len; i++) {
        const Range *range = &g_array_index(r->list, Range, i);
        trim_range(&t, range, range->zeros ? NULL : content + position, position);
        position += range->zeros ? 0 : range->length;
    }
    return t.extents;
}
