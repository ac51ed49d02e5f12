/* Patches: what a capture says has changed is believed only as far as it can be checked. */

#include "config.h"

#include <fcntl.h>
#include <string.h>

#include "base/error.h"
#include "base/fd.h"
#include "base/sums.h"
#include "store/patch.h"
#include "store/point.h"
#include "tests/unit/unit.h"

#define B SUM_BLOCK_BYTES

static gboolean
parses(const Range *ranges, guint n, guint64 size_bytes, gsize content_bytes)
{
    g_autoptr(GBytes) bytes = g_bytes_new(ranges, n * sizeof *ranges);
    g_autoptr(GError) error = NULL;
    g_autoptr(GArray) list = patch_parse(bytes, size_bytes, content_bytes, &error);

    if (!list)
        CU_ASSERT_TRUE(g_error_matches(error, FILEDUP_ERROR, FILEDUP_ERROR_REFUSED));
    return list != NULL;
}

static void
ranges_must_ascend_be_whole_blocks_and_lie_within_the_content(void)
{
    const guint64 size = 10 * B + 100;

    CU_ASSERT_TRUE(parses(NULL, 0, size, 0));
    CU_ASSERT_TRUE(parses(NULL, 0, 0, 0));
    CU_ASSERT_TRUE(parses((Range[]){{0, B, 0}, {B, B, 1}, {4 * B, 2 * B, 0}}, 3, size, 3 * B));
    CU_ASSERT_TRUE(parses((Range[]){{10 * B, 100, 0}}, 1, size, 100));
    CU_ASSERT_TRUE(parses((Range[]){{0, size, 1}}, 1, size, 0));

    CU_ASSERT_FALSE(parses((Range[]){{0, 0, 0}}, 1, size, 0));                     /* empty */
    CU_ASSERT_FALSE(parses((Range[]){{0, B, 2}}, 1, size, B));                     /* no such kind */
    CU_ASSERT_FALSE(parses((Range[]){{1, B, 0}}, 1, size, B));                     /* not a block */
    CU_ASSERT_FALSE(parses((Range[]){{0, B - 1, 0}}, 1, size, B - 1));
    CU_ASSERT_FALSE(parses((Range[]){{10 * B, 99, 0}}, 1, size, 99));              /* nor its end */
    CU_ASSERT_FALSE(parses((Range[]){{10 * B, 101, 0}}, 1, size, 101));            /* outside */
    CU_ASSERT_FALSE(parses((Range[]){{10 * B, B, 0}}, 1, size, B));
    CU_ASSERT_FALSE(parses((Range[]){{11 * B, B, 0}}, 1, size, B));
    CU_ASSERT_FALSE(parses((Range[]){{B, B, 0}, {0, B, 0}}, 2, size, 2 * B));      /* order */
    CU_ASSERT_FALSE(parses((Range[]){{0, 2 * B, 0}, {B, B, 0}}, 2, size, 3 * B));  /* overlap */
    CU_ASSERT_FALSE(parses((Range[]){{0, B, 0}, {0, B, 0}}, 2, size, 2 * B));
    CU_ASSERT_FALSE(parses((Range[]){{B, G_MAXUINT64 - B + 1, 0}}, 1, size, 0));   /* overflow */
    CU_ASSERT_FALSE(parses((Range[]){{G_MAXUINT64 - B + 1, B, 0}}, 1, size, B));
    CU_ASSERT_FALSE(parses((Range[]){{0, G_MAXUINT64, 1}}, 1, size, 0));
    CU_ASSERT_FALSE(parses((Range[]){{0, B, 0}}, 1, size, B - 1));                 /* content */
    CU_ASSERT_FALSE(parses((Range[]){{0, B, 0}}, 1, size, B + 1));
    CU_ASSERT_FALSE(parses((Range[]){{0, B, 1}}, 1, size, B));
    CU_ASSERT_FALSE(parses((Range[]){{0, 1, 0}}, 1, 0, 1));

    g_autoptr(GBytes) odd = g_bytes_new_static("odd bytes", 9);
    g_autoptr(GError) error = NULL;
    CU_ASSERT_PTR_NULL(patch_parse(odd, size, 0, &error));
}

/* A content of n bytes, and another one. */
typedef struct Pair {
    guint8 *old, *new;
    gsize n_old, n_new;
    GBytes *old_sums;
    Patch patch;
} Pair;

static Pair
pair(gsize n_old, gsize n_new)
{
    Pair p = {.old = g_malloc0(n_old + 1), .new = g_malloc0(n_new + 1), .n_old = n_old, .n_new = n_new};

    for (gsize i = 0; i < n_old; i++)
        p.old[i] = (guint8) (i * 31 + i / 4096 + 1);
    memcpy(p.new, p.old, MIN(n_old, n_new));
    p.patch.list = g_array_new(FALSE, FALSE, sizeof(Range));
    return p;
}

static void
pair_ranges(Pair *p, const Range *ranges, guint n)
{
    g_autoptr(GByteArray) content = g_byte_array_new();

    p->old_sums = point_sums(p->old, p->n_old);
    p->patch.sums = point_sums(p->new, p->n_new);
    p->patch.size_bytes = p->n_new;
    for (guint i = 0; i < n; i++) {
        g_array_append_val(p->patch.list, ranges[i]);
        if (!ranges[i].zeros)
            g_byte_array_append(content, p->new + ranges[i].offset, (guint) ranges[i].length);
    }
    p->patch.content = g_byte_array_free_to_bytes(g_steal_pointer(&content));
}

static void
pair_clear(Pair *p)
{
    g_free(p->old);
    g_free(p->new);
    g_array_unref(p->patch.list);
    g_clear_pointer(&p->patch.content, g_bytes_unref);
    g_clear_pointer(&p->patch.sums, g_bytes_unref);
    g_clear_pointer(&p->old_sums, g_bytes_unref);
}

static int
checked(Pair *p)
{
    g_autoptr(GError) error = NULL;

    if (patch_check(&p->patch, p->old_sums, p->n_old, &error))
        return -1;
    return error->code;
}

static void
a_block_that_is_not_what_its_sum_says_is_refused(void)
{
    Pair p = pair(4 * B, 4 * B);

    p.new[B + 7] ^= 1;
    pair_ranges(&p, (Range[]){{B, B, 0}}, 1);
    CU_ASSERT_EQUAL(checked(&p), -1);
    ((guint8 *) g_bytes_get_data(p.patch.content, NULL))[9] ^= 1;
    CU_ASSERT_EQUAL(checked(&p), FILEDUP_ERROR_REFUSED);
    pair_clear(&p);

    p = pair(4 * B, 4 * B);
    pair_ranges(&p, (Range[]){{B, B, 1}}, 1); /* they are not zeros */
    CU_ASSERT_EQUAL(checked(&p), FILEDUP_ERROR_REFUSED);
    pair_clear(&p);
}

static void
a_changed_block_that_is_left_out_is_noticed(void)
{
    const guint places[] = {0, 1, 3}; /* before, between and behind the ranges */

    for (guint i = 0; i < G_N_ELEMENTS(places); i++) {
        Pair p = pair(4 * B, 4 * B);
        p.new[places[i] * B + 5] ^= 1;
        p.new[2 * B] ^= 1;
        pair_ranges(&p, (Range[]){{2 * B, B, 0}}, 1);
        CU_ASSERT_EQUAL(checked(&p), FILEDUP_ERROR_DAMAGED);
        pair_clear(&p);
    }
}

static void
what_is_cut_or_extended_must_be_told(void)
{
    Pair p = pair(3 * B + 50, 3 * B + 20); /* the last block got shorter */

    pair_ranges(&p, NULL, 0);
    CU_ASSERT_EQUAL(checked(&p), FILEDUP_ERROR_DAMAGED);
    pair_clear(&p);
    p = pair(3 * B + 50, 3 * B + 20);
    pair_ranges(&p, (Range[]){{3 * B, 20, 0}}, 1);
    CU_ASSERT_EQUAL(checked(&p), -1);
    pair_clear(&p);
    p = pair(3 * B + 50, 2 * B); /* at a block: nothing to tell */
    pair_ranges(&p, NULL, 0);
    CU_ASSERT_EQUAL(checked(&p), -1);
    pair_clear(&p);
    p = pair(3 * B + 50, 5 * B); /* zeros behind it */
    pair_ranges(&p, (Range[]){{3 * B, B, 0}}, 1);
    CU_ASSERT_EQUAL(checked(&p), FILEDUP_ERROR_DAMAGED);
    pair_clear(&p);
    p = pair(3 * B + 50, 5 * B);
    pair_ranges(&p, (Range[]){{3 * B, B, 0}, {4 * B, B, 1}}, 2);
    CU_ASSERT_EQUAL(checked(&p), -1);
    pair_clear(&p);
    p = pair(B, 0);
    pair_ranges(&p, NULL, 0);
    CU_ASSERT_EQUAL(checked(&p), -1);
    pair_clear(&p);
}

static void
only_what_differs_from_the_base_is_journalled(void)
{
    Pair p = pair(8 * B, 9 * B);
    g_autofree char *path = unit_path("base");
    g_auto(Fd) base = -1;

    p.new[2 * B + 4096] ^= 1;                  /* one piece */
    p.new[2 * B + 3 * 4096 + 4095] ^= 1;       /* and another */
    memset(p.new + 5 * B, 0, 2 * B);           /* zeros that are said to be */
    memset(p.new + 4 * B + 4096, 0, 4096);     /* and some that are not */
    memset(p.new + 8 * B, 7, B);               /* behind the base's end */
    pair_ranges(&p, (Range[]){{2 * B, B, 0}, {4 * B, B, 0}, {5 * B, 2 * B, 1}, {8 * B, B, 0}}, 4);
    CU_ASSERT_EQUAL(checked(&p), -1);
    unit_write(path, p.old, (gssize) p.n_old);
    base = open(path, O_RDONLY | O_CLOEXEC);
    g_autoptr(GArray) e = patch_extents(&p.patch, base, p.n_old);
    const Extent wanted[] = {
        {.offset = 2 * B + 4096, .length = 4096, .position = 4096},
        {.offset = 2 * B + 3 * 4096, .length = 4096, .position = 3 * 4096},
        {.offset = 4 * B + 4096, .length = 4096, .hole = TRUE},
        {.offset = 5 * B, .length = 2 * B, .hole = TRUE},
        {.offset = 8 * B, .length = B, .position = 2 * B},
    };
    CU_ASSERT_EQUAL_FATAL(e->len, G_N_ELEMENTS(wanted));
    for (guint i = 0; i < e->len; i++) {
        const Extent *got = &g_array_index(e, Extent, i);
        CU_ASSERT_EQUAL(got->offset, wanted[i].offset);
        CU_ASSERT_EQUAL(got->length, wanted[i].length);
        CU_ASSERT_EQUAL(got->hole, wanted[i].hole);
        CU_ASSERT_EQUAL(got->position, wanted[i].position);
    }

    g_autoptr(GArray) all = patch_extents(&p.patch, -1, p.n_old); /* no base at hand */
    guint64 sum = 0;
    for (guint i = 0; i < all->len; i++)
        sum += g_array_index(all, Extent, i).length;
    CU_ASSERT_EQUAL(sum, 5 * B);

    unit_write(path, p.old, 3 * B); /* one that has been cut: what is missing differs */
    g_autoptr(GArray) cut = patch_extents(&p.patch, base, p.n_old);
    CU_ASSERT_TRUE(cut->len > 0);
    CU_ASSERT_EQUAL(g_array_index(cut, Extent, 0).offset, 2 * B + 4096);
    sum = 0;
    for (guint i = 0; i < cut->len; i++)
        sum += g_array_index(cut, Extent, i).length;
    CU_ASSERT_EQUAL(sum, 2 * 4096 + 4 * B);
    pair_clear(&p);
}

static const UnitTest tests[] = {
    UNIT_TEST(ranges_must_ascend_be_whole_blocks_and_lie_within_the_content),
    UNIT_TEST(a_block_that_is_not_what_its_sum_says_is_refused),
    UNIT_TEST(a_changed_block_that_is_left_out_is_noticed),
    UNIT_TEST(what_is_cut_or_extended_must_be_told),
    UNIT_TEST(only_what_differs_from_the_base_is_journalled),
};
UNIT_MAIN("patch", tests)
