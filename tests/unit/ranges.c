/* ranges.c - tests of telling a content by what differs (the rest: capture.c) */

#include "config.h"

#include <string.h>
#include <sys/stat.h>

#include "base/fd.h"
#include "base/sums.h"
#include "copy/ranges.h"
#include "tests/unit/unit.h"

#define MIB   (1024 * 1024)
#define BLOCK SUM_BLOCK_BYTES

/* Sums of content of all zeros. */
static GBytes *
sums_of_zeros(guint64 size)
{
    g_autoptr(Sums) sums = sums_new(size);
    guint8 hash[HASH_BYTES];

    sums_add_zeros(sums, size);
    return sums_finish(sums, hash);
}

static guint64
content_size(int fd)
{
    struct stat st;

    CU_ASSERT_EQUAL(fstat(fd, &st), 0);
    return (guint64) st.st_size;
}

static void
data_up_to_the_limit_and_no_further(void)
{
    const guint64 size = 3 * RANGES_BUFFER_BYTES;
    g_autoptr(GBytes) recorded = sums_of_zeros(size);
    g_auto(Fd) fd = fd_memfd("content", NULL);
    g_autoptr(Ranges) r = ranges_new(recorded, size, size, fd);
    g_autofree guint8 *data = g_malloc(MIB);

    memset(data, 'x', MIB);
    for (guint64 done = 0; done < RANGES_BUFFER_BYTES; done += MIB)
        CU_ASSERT_TRUE(ranges_add(r, data, MIB));
    CU_ASSERT_FALSE(ranges_too_much(r));
    ranges_add_zeros(r, MIB); /* as recorded: it counts for nothing */
    CU_ASSERT_FALSE(ranges_too_much(r));
    CU_ASSERT_TRUE(ranges_add(r, data, BLOCK));
    CU_ASSERT_TRUE(ranges_too_much(r));
}

static void
holes_over_most_of_a_large_file_are_too_much(void)
{
    const guint64 size = 12 * MIB;
    g_autoptr(Sums) sums = sums_new(size);
    g_autofree guint8 *data = g_malloc(MIB);
    guint8 hash[HASH_BYTES];

    memset(data, 'x', MIB);
    for (int i = 0; i < 12; i++)
        sums_add(sums, data, MIB);
    g_autoptr(GBytes) recorded = sums_finish(sums, hash);
    g_auto(Fd) fd = fd_memfd("content", NULL);
    g_autoptr(Ranges) r = ranges_new(recorded, size, size, fd);
    ranges_add_zeros(r, size / 2);
    CU_ASSERT_FALSE(ranges_too_much(r));
    ranges_add_zeros(r, BLOCK);
    CU_ASSERT_TRUE(ranges_too_much(r));
    CU_ASSERT_EQUAL(content_size(fd), 0);
}

static void
a_hole_beyond_the_recorded_end_replaces_nothing(void)
{
    const guint64 size = 1000 * (guint64) MIB;
    g_autoptr(GBytes) recorded = sums_of_zeros(100), list = NULL, sums = NULL, expected = NULL;
    g_auto(Fd) fd = fd_memfd("content", NULL);
    g_autoptr(Ranges) r = ranges_new(recorded, 100, size, fd);
    guint8 hash[HASH_BYTES];

    ranges_add_zeros(r, size);
    CU_ASSERT_FALSE(ranges_too_much(r));
    CU_ASSERT_FALSE(ranges_are_everything(r));
    sums = ranges_finish(r, hash, &list);
    expected = sums_of_zeros(size);
    CU_ASSERT_TRUE(g_bytes_equal(sums, expected));
    CU_ASSERT_EQUAL_FATAL(g_bytes_get_size(list), sizeof(Range));
    const Range *range = g_bytes_get_data(list, NULL);
    CU_ASSERT_EQUAL(GUINT64_FROM_LE(range->offset), 0); /* the short block grew */
    CU_ASSERT_EQUAL(GUINT64_FROM_LE(range->length), size);
    CU_ASSERT_EQUAL(GUINT64_FROM_LE(range->zeros), 1);
}

static void
nobody_has_to_believe_in_endless_ranges(void)
{
    const guint64 blocks = 131076, size = blocks * BLOCK; /* 2 GiB */
    g_autofree guint64 *sums = g_new0(guint64, blocks);   /* of nothing that there is */
    g_autoptr(GBytes) zero = sums_of_zeros(BLOCK);
    guint64 zeros = sums_get(zero, 0), added = 0;

    for (guint64 i = 0; i < blocks; i += 2) /* every second block is as recorded */
        sums[i] = GUINT64_TO_LE(zeros);
    g_autoptr(GBytes) recorded = g_bytes_new(sums, blocks * sizeof *sums);
    g_auto(Fd) fd = fd_memfd("content", NULL);
    g_autoptr(Ranges) r = ranges_new(recorded, size, size, fd);
    for (; added < blocks && !ranges_too_much(r); added++)
        ranges_add_zeros(r, BLOCK);
    CU_ASSERT_EQUAL(added, 2 * 65537);
}

static void
content_of_which_nothing_is_left_is_everything(void)
{
    g_autoptr(GBytes) recorded = sums_of_zeros(2 * BLOCK), list = NULL, sums = NULL;
    g_auto(Fd) fd = fd_memfd("content", NULL);
    g_autoptr(Ranges) r = ranges_new(recorded, 2 * BLOCK, BLOCK + 5, fd);
    g_autofree guint8 *data = g_malloc(BLOCK + 5);
    guint8 hash[HASH_BYTES], same[HASH_BYTES];

    memset(data, 'x', BLOCK + 5);
    CU_ASSERT_TRUE(ranges_add(r, data, BLOCK + 5));
    CU_ASSERT_TRUE(ranges_are_everything(r));
    CU_ASSERT_FALSE(ranges_too_much(r));
    sums = ranges_finish(r, hash, &list);
    sums_hash(sums, BLOCK + 5, same);
    CU_ASSERT_EQUAL(memcmp(hash, same, HASH_BYTES), 0);
    CU_ASSERT_EQUAL(content_size(fd), BLOCK + 5);
    CU_ASSERT_EQUAL(g_bytes_get_size(list), sizeof(Range));
}

static const UnitTest tests[] = {
    UNIT_TEST(data_up_to_the_limit_and_no_further),
    UNIT_TEST(holes_over_most_of_a_large_file_are_too_much),
    UNIT_TEST(a_hole_beyond_the_recorded_end_replaces_nothing),
    UNIT_TEST(nobody_has_to_believe_in_endless_ranges),
    UNIT_TEST(content_of_which_nothing_is_left_is_everything),
};
UNIT_MAIN("ranges", tests)
