/* difference.c - what a newer content takes from an older one
 *
 * Only where the two are put together of different things can they differ (image_differences). Of
 * these places whole sum blocks are read: the old one must have its sum (a rotten block is never
 * saved as if it were good), the new one gets one. What differs is told by pages of 4 KiB, and a run
 * of such pages is one piece.
 *
 * INVARIANTS
 *  (1) What is saved had its sum when it was read.
 *  (2) `sums` are those of the newer content as it was read here, or were given and are what was
 *      read where it was read: the caller compares them, as a whole, with the content's hash.
 */

#include "config.h"

#include <string.h>

#include "base/error.h"
#include "base/path.h"
#include "base/sums.h"
#include "store/difference.h"

#define PAGE_BYTES ((gsize) 4096)

G_STATIC_ASSERT(SUM_BLOCK_BYTES % 4096 == 0);

/* Pages that differ, in a run, until they are saved. */
typedef struct Run {
    guint64 offset;
    gsize n;
    gboolean bad;
    guint8 bytes[PACK_FRAME_BYTES];
} Run;

typedef struct Walk {
    Difference *d;
    guint64 older_bytes, newer_bytes;
    GBytes *older_sums; /* NULL: there are none that fit */
    guint8 *sums;       /* being made */
    Run *run;
    guint8 older[SUM_BLOCK_BYTES], newer[SUM_BLOCK_BYTES];
} Walk;

void
difference_clear(Difference *d)
{
    g_clear_pointer(&d->undo, undo_free);
    g_clear_pointer(&d->sums, g_bytes_unref);
}

guint64
difference_count(GBytes *older_sums, guint64 older_bytes, GBytes *newer_sums, guint64 newer_bytes)
{
    guint64 blocks = sums_length(older_bytes) / sizeof(guint64);
    guint64 common = MIN(older_bytes, newer_bytes) / SUM_BLOCK_BYTES; /* whole in both */
    guint64 same = 0;

    if (older_bytes == newer_bytes)
        common = blocks;
    for (guint64 b = 0; b < common; b++)
        same += sums_get(older_sums, b) == sums_get(newer_sums, b);
    return blocks - same;
}

static gsize
block_length(guint64 size_bytes, guint64 block)
{
    guint64 at = block * SUM_BLOCK_BYTES;

    return at >= size_bytes ? 0 : (gsize) MIN(SUM_BLOCK_BYTES, size_bytes - at);
}

/* ---- runs ---- */

static gboolean
flush(Walk *w, GError **error)
{
    Run *run = w->run;
    Piece piece = {.offset = run->offset, .length = run->n, .kind = PIECE_BAD};

    if (run->n == 0)
        return TRUE;
    if (!run->bad && !packs_add(w->d->packs, run->offset, run->bytes, run->n, &piece, error))
        return FALSE;
    undo_add(w->d->undo, &piece);
    run->n = 0;
    return TRUE;
}

static gboolean
save_page(Walk *w, guint64 offset, const guint8 *page, gsize n, gboolean bad, GError **error)
{
    Run *run = w->run;

    if (run->n > 0 &&
        (run->offset + run->n != offset || run->bad != bad || run->n + n > sizeof run->bytes) &&
        !flush(w, error))
        return FALSE;
    if (run->n == 0) {
        run->offset = offset;
        run->bad = bad;
    }
    if (!bad)
        memcpy(run->bytes + run->n, page, n);
    run->n += n;
    return TRUE;
}

/* ---- blocks ---- */

/* All of these bytes have another place already, or lie behind what is asked for. */
static gboolean
is_covered(const Undo *covered, guint64 offset, gsize n)
{
    guint64 end = offset + n;

    if (!covered)
        return FALSE;
    while (offset < MIN(end, covered->size_bytes)) {
        const Piece *piece = undo_find(covered, offset);
        if (!piece || piece->offset > offset)
            return FALSE;
        offset = piece->offset + piece->length;
    }
    return TRUE;
}

static gboolean
read_newer(Walk *w, guint64 block, gsize n, GError **error)
{
    Difference *d = w->d;
    g_autoptr(GError) local = NULL;

    memset(w->newer + n, 0, sizeof w->newer - n);
    if (n == 0) /* the older one is longer */
        return TRUE;
    if (!image_read(d->newer, NULL, block * SUM_BLOCK_BYTES, w->newer, n, &local)) {
        d->lost = g_error_matches(local, FILEDUP_ERROR, FILEDUP_ERROR_DAMAGED);
        g_propagate_error(error, g_steal_pointer(&local));
        return FALSE;
    }
    guint64 sum = sums_of_block(w->newer, n);
    if (d->newer_sums && sum != sums_get(d->newer_sums, block)) {
        d->lost = TRUE;
        return throw_error(error, FILEDUP_ERROR_DAMAGED,
                           "the new content at %" G_GUINT64_FORMAT " is not what was captured",
                           block * SUM_BLOCK_BYTES);
    }
    sum = GUINT64_TO_LE(sum);
    memcpy(w->sums + block * sizeof sum, &sum, sizeof sum);
    return TRUE;
}

/* *ret_good FALSE: it is not what it was. Any other trouble with it is no reason to give it up. */
static gboolean
read_older(Walk *w, guint64 block, gsize n, gboolean *ret_good, GError **error)
{
    Difference *d = w->d;
    g_autoptr(GError) local = NULL;
    guint64 at = block * SUM_BLOCK_BYTES;

    memset(w->older, 0, sizeof w->older);
    *ret_good = TRUE;
    if (n == 0)
        return TRUE;
    gboolean ok = image_read(d->older, NULL, at, w->older, n, &local);
    if (!ok && !g_error_matches(local, FILEDUP_ERROR, FILEDUP_ERROR_DAMAGED)) {
        g_propagate_error(error, g_steal_pointer(&local));
        return FALSE;
    }
    if (ok && (!w->older_sums || sums_of_block(w->older, n) == sums_get(w->older_sums, block)))
        return TRUE;
    g_autofree char *text = path_escape(d->path);
    g_warning("'%s': its copy is damaged at %" G_GUINT64_FORMAT
              "%s%s: points before the newest lack what changed there",
              text, at, local ? ": " : "", local ? local->message : "");
    *ret_good = FALSE;
    return TRUE;
}

static gboolean
compare_pages(Walk *w, guint64 block, gsize older_n, gsize newer_n, gboolean good, GError **error)
{
    Difference *d = w->d;

    for (gsize page = 0; page < MAX(older_n, newer_n); page += PAGE_BYTES) {
        guint64 offset = block * SUM_BLOCK_BYTES + page;
        gsize n = page < older_n ? MIN(PAGE_BYTES, older_n - page) : 0;
        if (memcmp(w->older + page, w->newer + page, PAGE_BYTES) == 0 &&
            (good || n == 0 || page < newer_n))
            continue;
        d->changed_bytes += page < newer_n ? MIN(PAGE_BYTES, newer_n - page) : 0;
        gboolean lost =
            memcmp(w->older + page, w->newer + page, n) != 0 || (!good && page >= newer_n);
        if (n == 0 || !lost || is_covered(d->covered, offset, n))
            continue;
        if (!save_page(w, offset, w->older + page, n, !good, error))
            return FALSE;
    }
    return TRUE;
}

static gboolean
walk_block(Walk *w, guint64 block, GError **error)
{
    Difference *d = w->d;
    gsize older_n = block_length(w->older_bytes, block);
    gsize newer_n = block_length(w->newer_bytes, block);
    gboolean compare = d->packs && d->older;

    if (d->newer_sums && w->older_sums && older_n == newer_n &&
        sums_get(d->newer_sums, block) == sums_get(w->older_sums, block))
        return TRUE;
    if (d->newer_sums && !compare) {
        d->changed_bytes += newer_n;
        return TRUE;
    }
    if (!read_newer(w, block, newer_n, error))
        return FALSE;
    if (!compare) {
        d->changed_bytes += newer_n;
        return TRUE;
    }
    gboolean good;
    return read_older(w, block, older_n, &good, error) &&
           compare_pages(w, block, older_n, newer_n, good, error);
}

static gboolean
walk_ranges(Walk *w, const GArray *ranges, GError **error)
{
    guint64 next = 0;

    for (guint i = 0; i < ranges->len; i++) {
        const Range *r = &g_array_index(ranges, Range, i);
        guint64 first = MAX(r->offset / SUM_BLOCK_BYTES, next);
        guint64 last = (r->offset + r->length - 1) / SUM_BLOCK_BYTES;
        for (guint64 block = first; block <= last; block++)
            if (!walk_block(w, block, error))
                return FALSE;
        next = MAX(next, last + 1);
    }
    return !w->run || flush(w, error);
}

/* Without sums of the older content none can be taken over. */
static GArray *
ranges_of(const Walk *w)
{
    Range all = {.length = MAX(w->older_bytes, w->newer_bytes)};

    if (w->d->older && w->older_sums)
        return image_differences(w->d->older, w->d->newer);
    GArray *ranges = g_array_new(FALSE, FALSE, sizeof(Range));
    if (all.length > 0)
        g_array_append_val(ranges, all);
    return ranges;
}

gboolean
difference_save(Difference *d, GError **error)
{
    g_autofree Walk *w = g_new0(Walk, 1);
    g_autofree Run *run = NULL;
    gsize n, given;

    w->d = d;
    w->older_bytes = d->older ? image_bytes(d->older) : 0;
    w->newer_bytes = image_bytes(d->newer);
    if (d->older && d->older_sums && g_bytes_get_size(d->older_sums) == sums_length(w->older_bytes))
        w->older_sums = d->older_sums;
    if (d->packs && d->older) {
        w->run = run = g_malloc(sizeof *run);
        run->n = 0;
        d->undo = undo_new(w->older_bytes);
    }
    n = sums_length(w->newer_bytes);
    w->sums = g_malloc0(MAX(n, 1));
    GBytes *known = d->newer_sums ? d->newer_sums : w->older_sums;
    const void *data = known ? g_bytes_get_data(known, &given) : NULL;
    if (data)
        memcpy(w->sums, data, MIN(n, given));
    g_autoptr(GArray) ranges = ranges_of(w);
    gboolean ok = walk_ranges(w, ranges, error);
    d->sums = g_bytes_new_take(w->sums, n);
    return ok;
}
