/* sums.c - block sums and the content hash
 *
 * Blocks are hashed where they lie; only a piece that ends inside a block is gathered in `partial`.
 * Runs of zeros (holes) cost one comparison a block: the sum of a zero block is known.
 */

#include "config.h"

#include <errno.h>
#include <string.h>
#if defined(__x86_64__) && __has_include(<xxh_x86dispatch.h>)
#include <xxh_x86dispatch.h> /* the same sums, by the vector unit that the machine has */
#else
#include <xxhash.h>
#endif

#include "base/error.h"
#include "base/fd.h"
#include "base/sums.h"

#define CHECK_BYTES (1024 * 1024)

struct Sums {
    GByteArray *sums;
    guint64 size_bytes;
    gsize n_partial;
    guint8 partial[SUM_BLOCK_BYTES];
};

Sums *
sums_new(guint64 expected_bytes)
{
    Sums *s = g_malloc(sizeof *s); /* `partial` is not read before it is written */

    s->sums = g_byte_array_sized_new((guint) MIN(sums_length(expected_bytes), 1u << 20));
    s->size_bytes = 0;
    s->n_partial = 0;
    return s;
}

void
sums_free(Sums *s)
{
    if (!s)
        return;
    g_clear_pointer(&s->sums, g_byte_array_unref);
    g_free(s);
}

void
sums_reset(Sums *s)
{
    g_byte_array_set_size(s->sums, 0);
    s->size_bytes = 0;
    s->n_partial = 0;
}

guint64
sums_of_block(const void *data, gsize n)
{
    return XXH3_64bits(data, n);
}

static void
append(Sums *s, guint64 sum)
{
    guint64 le = GUINT64_TO_LE(sum);

    g_byte_array_append(s->sums, (const guint8 *) &le, sizeof le);
}

/* Into the block that is incomplete. How many bytes it took. */
static gsize
fill_partial(Sums *s, const guint8 *data, gsize n)
{
    gsize take = MIN(n, SUM_BLOCK_BYTES - s->n_partial);

    if (data)
        memcpy(s->partial + s->n_partial, data, take);
    else
        memset(s->partial + s->n_partial, 0, take);
    s->n_partial += take;
    if (s->n_partial == SUM_BLOCK_BYTES) {
        append(s, sums_of_block(s->partial, SUM_BLOCK_BYTES));
        s->n_partial = 0;
    }
    return take;
}

void
sums_add(Sums *s, const void *data, gsize n)
{
    const guint8 *p = data;

    s->size_bytes += n;
    while (n > 0) {
        gsize took = SUM_BLOCK_BYTES;
        if (s->n_partial == 0 && n >= SUM_BLOCK_BYTES)
            append(s, sums_of_block(p, SUM_BLOCK_BYTES));
        else
            took = fill_partial(s, p, n);
        p += took;
        n -= took;
    }
}

void
sums_add_zeros(Sums *s, guint64 n)
{
    static const guint8 zeros[SUM_BLOCK_BYTES];
    static guint64 zero_sum;

    if (zero_sum == 0)
        zero_sum = sums_of_block(zeros, sizeof zeros);
    s->size_bytes += n;
    while (n > 0) {
        gsize took = SUM_BLOCK_BYTES;
        if (s->n_partial == 0 && n >= SUM_BLOCK_BYTES)
            append(s, zero_sum);
        else
            took = fill_partial(s, NULL, (gsize) MIN(n, SUM_BLOCK_BYTES));
        n -= took;
    }
}

guint64
sums_size(Sums *s)
{
    return s->size_bytes;
}

GBytes *
sums_finish(Sums *s, guint8 ret_hash[HASH_BYTES])
{
    if (s->n_partial > 0)
        append(s, sums_of_block(s->partial, s->n_partial));
    GBytes *sums = g_byte_array_free_to_bytes(g_steal_pointer(&s->sums));
    sums_hash(sums, s->size_bytes, ret_hash);
    return sums;
}

gsize
sums_length(guint64 size_bytes)
{
    return (gsize) (size_bytes / SUM_BLOCK_BYTES + (size_bytes % SUM_BLOCK_BYTES != 0)) *
           sizeof(guint64);
}

void
sums_hash(GBytes *sums, guint64 size_bytes, guint8 ret_hash[HASH_BYTES])
{
    gsize n;
    const void *data = g_bytes_get_data(sums, &n);
    guint64 le = GUINT64_TO_LE(size_bytes);
    XXH3_state_t *state = XXH3_createState();
    XXH128_canonical_t canonical;

    G_STATIC_ASSERT(sizeof canonical == HASH_BYTES);
    XXH3_128bits_reset(state);
    if (n > 0)
        XXH3_128bits_update(state, data, n);
    XXH3_128bits_update(state, &le, sizeof le);
    XXH128_canonicalFromHash(&canonical, XXH3_128bits_digest(state));
    XXH3_freeState(state);
    memcpy(ret_hash, &canonical, HASH_BYTES);
}

guint64
sums_get(GBytes *sums, guint64 block)
{
    gsize n;
    const guint8 *data = g_bytes_get_data(sums, &n);
    guint64 le;

    g_assert(block < n / sizeof le);
    memcpy(&le, data + block * sizeof le, sizeof le);
    return GUINT64_FROM_LE(le);
}

gboolean
sums_match(GBytes *sums, const void *data, gsize n, guint64 offset, guint64 *ret_bad_offset)
{
    const guint8 *p = data;

    g_assert(offset % SUM_BLOCK_BYTES == 0);
    for (gsize done = 0; done < n; done += SUM_BLOCK_BYTES) {
        gsize length = MIN(n - done, SUM_BLOCK_BYTES);
        if (sums_of_block(p + done, length) == sums_get(sums, (offset + done) / SUM_BLOCK_BYTES))
            continue;
        if (ret_bad_offset)
            *ret_bad_offset = offset + done;
        return FALSE;
    }
    return TRUE;
}

gboolean
sums_check(int fd, GBytes *sums, guint64 size_bytes, GError **error)
{
    g_autofree guint8 *buffer = g_malloc(CHECK_BYTES);
    guint64 bad;

    if (g_bytes_get_size(sums) != sums_length(size_bytes))
        return throw_error(error, FILEDUP_ERROR_DAMAGED,
                           "%" G_GSIZE_FORMAT " bytes of sums for %" G_GUINT64_FORMAT " bytes",
                           g_bytes_get_size(sums), size_bytes);
    for (guint64 offset = 0; offset < size_bytes; offset += CHECK_BYTES) {
        gsize n = (gsize) MIN(size_bytes - offset, CHECK_BYTES);
        if (!fd_pread_full(fd, buffer, n, (goffset) offset)) {
            if (errno == ENODATA)
                return throw_error(error, FILEDUP_ERROR_DAMAGED,
                                   "shorter than %" G_GUINT64_FORMAT " bytes", size_bytes);
            return throw_errno(error, "reading at offset %" G_GUINT64_FORMAT, offset);
        }
        if (!sums_match(sums, buffer, n, offset, &bad))
            return throw_error(error, FILEDUP_ERROR_DAMAGED,
                               "the content at offset %" G_GUINT64_FORMAT " has not its sum", bad);
    }
    return TRUE;
}
