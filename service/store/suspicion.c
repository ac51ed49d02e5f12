/* suspicion.c - what speaks against a change
 *
 * EMPTIED    a stable content without a byte follows one that had some.
 * ENCRYPTED  at least 60 % of the blocks of a file of 64 KiB or more are others than before; a sample
 *            of the new ones (up to 1 MiB, spread over the file) does not compress below 95 % of its
 *            size, and the same blocks did compress below 80 % before.
 *
 * The second half of that rule is what spares the files that are rewritten every day and never
 * compress: archives, pictures, databases that encrypt themselves. A file that had been compressed
 * already when it was encrypted is not noticed; nothing in its bytes would tell.
 */

#include "config.h"

#include <zstd.h>

#include "base/sums.h"
#include "store/suspicion.h"

#define REWRITTEN_MIN_BYTES (64 * 1024)
#define REWRITTEN_PERCENT   60
#define SAMPLE_BLOCKS       64 /* 1 MiB */
#define NOISE_PERMILLE      950
#define PLAIN_PERMILLE      800

guint
suspicion_of_sizes(guint64 old_bytes, guint64 new_bytes, Quality quality)
{
    return quality >= QUALITY_STABLE && old_bytes > 0 && new_bytes == 0 ? SUSPICION_EMPTIED : 0;
}

static guint64
blocks_of(guint64 size_bytes)
{
    return sums_length(size_bytes) / sizeof(guint64);
}

/* The blocks of the new content that are others than the old one's. */
static GArray *
changed_blocks(GBytes *old_sums, guint64 old_bytes, GBytes *new_sums, guint64 new_bytes)
{
    GArray *changed = g_array_new(FALSE, FALSE, sizeof(guint64));
    guint64 common = MIN(blocks_of(old_bytes), blocks_of(new_bytes));

    for (guint64 b = 0; b < common; b++)
        if (sums_get(old_sums, b) != sums_get(new_sums, b))
            g_array_append_val(changed, b);
    return changed;
}

gboolean
suspicion_is_large(guint64 old_bytes, guint64 new_bytes)
{
    return MIN(old_bytes, new_bytes) >= REWRITTEN_MIN_BYTES;
}

gboolean
suspicion_is_rewritten(GBytes *old_sums, guint64 old_bytes, GBytes *new_sums, guint64 new_bytes)
{
    if (!suspicion_is_large(old_bytes, new_bytes))
        return FALSE;
    g_autoptr(GArray) changed = changed_blocks(old_sums, old_bytes, new_sums, new_bytes);
    return (guint64) changed->len * 100 >= blocks_of(old_bytes) * REWRITTEN_PERCENT;
}

/* Compressed size in thousandths of the original. */
static guint
permille(const guint8 *data, gsize n)
{
    gsize bound = ZSTD_compressBound(n);
    g_autofree guint8 *out = g_malloc(bound);
    gsize got = ZSTD_compress(out, bound, data, n, 1);

    return ZSTD_isError(got) ? 1000 : (guint) ((guint64) got * 1000 / n);
}

static gboolean
read_sample(SuspicionRead read, gpointer data, const GArray *blocks, guint8 *sample)
{
    for (guint i = 0; i < blocks->len; i++)
        if (!read(data, sample + (gsize) i * SUM_BLOCK_BYTES, SUM_BLOCK_BYTES,
                  g_array_index(blocks, guint64, i) * SUM_BLOCK_BYTES))
            return FALSE;
    return TRUE;
}

guint
suspicion_of_bytes(GBytes *old_sums, guint64 old_bytes, SuspicionRead read_old, gpointer old,
                   GBytes *new_sums, guint64 new_bytes, SuspicionRead read_new, gpointer new)
{
    g_autoptr(GArray) changed = changed_blocks(old_sums, old_bytes, new_sums, new_bytes);
    guint64 whole = MIN(old_bytes, new_bytes) / SUM_BLOCK_BYTES; /* both have all of these */
    g_autofree guint8 *sample = g_malloc(SAMPLE_BLOCKS * SUM_BLOCK_BYTES);
    g_autoptr(GArray) taken = g_array_new(FALSE, FALSE, sizeof(guint64));

    while (changed->len > 0 && g_array_index(changed, guint64, changed->len - 1) >= whole)
        g_array_set_size(changed, changed->len - 1);
    guint n = MIN(changed->len, SAMPLE_BLOCKS);
    for (guint i = 0; i < n; i++)
        g_array_append_val(taken, g_array_index(changed, guint64, (guint64) i * changed->len / n));
    if (n == 0 || !read_sample(read_new, new, taken, sample) ||
        permille(sample, (gsize) n * SUM_BLOCK_BYTES) <= NOISE_PERMILLE)
        return 0;
    if (!read_sample(read_old, old, taken, sample))
        return 0;
    return permille(sample, (gsize) n * SUM_BLOCK_BYTES) < PLAIN_PERMILLE ? SUSPICION_ENCRYPTED : 0;
}
