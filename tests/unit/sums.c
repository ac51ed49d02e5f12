/* sums.c - tests of block sums and the content hash */

#include "config.h"

#include <fcntl.h>
#include <string.h>
#include <unistd.h>
#include <xxhash.h>

#include "base/error.h"
#include "base/fd.h"
#include "base/sums.h"
#include "tests/unit/unit.h"

#define SIZE (5 * SUM_BLOCK_BYTES + 77)

static guint8 data[SIZE];

static void
fill(void)
{
    for (gsize i = 0; i < SIZE; i++)
        data[i] = (guint8) (i * 31 + i / 1000);
    memset(data + SUM_BLOCK_BYTES + 100, 0, 2 * SUM_BLOCK_BYTES + 500); /* zeros across blocks */
}

static void
pieces_of_any_length_give_the_same_sums(void)
{
    static const gsize steps[] = {
        1, 7, 4096, SUM_BLOCK_BYTES - 1, SUM_BLOCK_BYTES, SUM_BLOCK_BYTES + 1, SIZE};
    guint8 first[HASH_BYTES], hash[HASH_BYTES];

    fill();
    g_autoptr(Sums) whole = sums_new(SIZE);
    sums_add(whole, data, SIZE);
    g_autoptr(GBytes) expected = sums_finish(whole, first);
    CU_ASSERT_EQUAL(g_bytes_get_size(expected), sums_length(SIZE));
    CU_ASSERT_EQUAL(sums_length(SIZE), 6 * 8);
    for (gsize i = 0; i < G_N_ELEMENTS(steps); i++) {
        g_autoptr(Sums) s = sums_new(0);
        for (gsize at = 0; at < SIZE; at += steps[i])
            sums_add(s, data + at, MIN(steps[i], SIZE - at));
        CU_ASSERT_EQUAL(sums_size(s), SIZE);
        g_autoptr(GBytes) got = sums_finish(s, hash);
        CU_ASSERT_TRUE(g_bytes_equal(expected, got));
        CU_ASSERT_EQUAL(memcmp(first, hash, HASH_BYTES), 0);
    }
}

static void
zeros_need_not_be_at_hand(void)
{
    guint8 a[HASH_BYTES], b[HASH_BYTES];
    const gsize at = SUM_BLOCK_BYTES + 100, n = 2 * SUM_BLOCK_BYTES + 500;

    fill();
    g_autoptr(Sums) one = sums_new(SIZE), two = sums_new(SIZE);
    sums_add(one, data, SIZE);
    sums_add(two, data, at);
    sums_add_zeros(two, n);
    sums_add(two, data + at + n, SIZE - at - n);
    g_autoptr(GBytes) sums_one = sums_finish(one, a), sums_two = sums_finish(two, b);
    CU_ASSERT_TRUE(g_bytes_equal(sums_one, sums_two));
    CU_ASSERT_EQUAL(memcmp(a, b, HASH_BYTES), 0);
}

static void
the_format_is_fixed(void)
{
    guint8 hash[HASH_BYTES], expected[HASH_BYTES];
    guint64 record[2] = {GUINT64_TO_LE(XXH3_64bits("hello", 5)), GUINT64_TO_LE(5)};
    XXH128_canonical_t canonical;

    g_autoptr(Sums) s = sums_new(5);
    sums_add(s, "hello", 5);
    g_autoptr(GBytes) sums = sums_finish(s, hash);
    CU_ASSERT_EQUAL(g_bytes_get_size(sums), 8);
    CU_ASSERT_EQUAL(memcmp(g_bytes_get_data(sums, NULL), record, 8), 0);
    XXH128_canonicalFromHash(&canonical, XXH3_128bits(record, sizeof record));
    memcpy(expected, &canonical, HASH_BYTES);
    CU_ASSERT_EQUAL(memcmp(hash, expected, HASH_BYTES), 0);
}

static void
empty_content_has_no_sums_but_a_hash(void)
{
    guint8 empty[HASH_BYTES], other[HASH_BYTES];
    g_autoptr(Sums) s = sums_new(0);
    g_autoptr(GBytes) sums = sums_finish(s, empty);

    CU_ASSERT_EQUAL(g_bytes_get_size(sums), 0);
    sums_hash(sums, 0, other);
    CU_ASSERT_EQUAL(memcmp(empty, other, HASH_BYTES), 0);
    sums_hash(sums, 1, other);
    CU_ASSERT_NOT_EQUAL(memcmp(empty, other, HASH_BYTES), 0);
}

static void
one_changed_bit_is_found_at_its_block(void)
{
    g_autoptr(GError) error = NULL;
    guint8 hash[HASH_BYTES];
    guint64 bad = 0;

    fill();
    g_autoptr(Sums) s = sums_new(SIZE);
    sums_add(s, data, SIZE);
    g_autoptr(GBytes) sums = sums_finish(s, hash);
    g_auto(Fd) fd = fd_memfd("test", &error);
    CU_ASSERT_TRUE(fd_pwrite_full(fd, data, SIZE, 0));
    CU_ASSERT_TRUE(sums_check(fd, sums, SIZE, &error));
    UNIT_NO_ERROR(error);

    data[SIZE - 1] ^= 0x80;
    CU_ASSERT_FALSE(sums_match(sums, data, SIZE, 0, &bad));
    CU_ASSERT_EQUAL(bad, 5 * SUM_BLOCK_BYTES);
    CU_ASSERT_TRUE(
        sums_match(sums, data + SUM_BLOCK_BYTES, SUM_BLOCK_BYTES, SUM_BLOCK_BYTES, NULL));
    CU_ASSERT_TRUE(fd_pwrite_full(fd, data, SIZE, 0));
    CU_ASSERT_FALSE(sums_check(fd, sums, SIZE, &error));
    CU_ASSERT_TRUE(g_error_matches(error, FILEDUP_ERROR, FILEDUP_ERROR_DAMAGED));
    g_clear_error(&error);
    CU_ASSERT_EQUAL(ftruncate(fd, SIZE - 1), 0);
    CU_ASSERT_FALSE(sums_check(fd, sums, SIZE, &error));
    g_clear_error(&error);
    CU_ASSERT_FALSE(sums_check(fd, sums, SIZE + SUM_BLOCK_BYTES, &error));
}

static const UnitTest tests[] = {
    UNIT_TEST(pieces_of_any_length_give_the_same_sums),
    UNIT_TEST(zeros_need_not_be_at_hand),
    UNIT_TEST(the_format_is_fixed),
    UNIT_TEST(empty_content_has_no_sums_but_a_hash),
    UNIT_TEST(one_changed_bit_is_found_at_its_block),
};
UNIT_MAIN("sums", tests)
