/* compare.c - where two contents differ, and what can be shown */

#include "config.h"

#include <string.h>

#include "base/fd.h"
#include "cli/compare.h"
#include "tests/unit/unit.h"

static int
content(const void *bytes, gsize n)
{
    g_autoptr(GError) error = NULL;
    int fd = fd_from_bytes("content", bytes, n, &error);

    UNIT_NO_ERROR(error);
    return fd;
}

static GArray *
compared(const void *a, gsize size_a, const void *b, gsize size_b)
{
    g_autoptr(GError) error = NULL;
    g_auto(Fd) fd_a = content(a, size_a), fd_b = content(b, size_b);
    GArray *ranges = compare_contents(fd_a, size_a, fd_b, size_b, &error);

    UNIT_NO_ERROR(error);
    return ranges;
}

static void
range_is(GArray *ranges, guint i, guint64 offset, guint64 length)
{
    CU_ASSERT_TRUE_FATAL(i < ranges->len);
    CU_ASSERT_EQUAL(g_array_index(ranges, DiffRange, i).offset, offset);
    CU_ASSERT_EQUAL(g_array_index(ranges, DiffRange, i).length, length);
}

static void
equal_contents_have_no_ranges(void)
{
    g_autoptr(GArray) same = compared("abc", 3, "abc", 3);
    g_autoptr(GArray) empty = compared("", 0, "", 0);

    CU_ASSERT_EQUAL(same->len, 0);
    CU_ASSERT_EQUAL(empty->len, 0);
}

static void
ranges_are_exact_at_their_ends(void)
{
    enum { N = 600 * 1024 }; /* more than is read at once */
    g_autofree guint8 *a = g_malloc0(N);
    g_autofree guint8 *b = g_malloc0(N);

    b[0] = 1;
    memset(b + 1000, 1, 500);
    memset(b + 256 * 1024 - 3, 1, 6); /* over the edge of a buffer */
    b[N - 1] = 1;
    g_autoptr(GArray) ranges = compared(a, N, b, N);
    CU_ASSERT_EQUAL(ranges->len, 4);
    range_is(ranges, 0, 0, 1);
    range_is(ranges, 1, 1000, 500);
    range_is(ranges, 2, 256 * 1024 - 3, 6);
    range_is(ranges, 3, N - 1, 1);
}

static void
what_lies_close_together_is_one(void)
{
    guint8 a[200] = {0}, b[200] = {0};

    b[10] = b[10 + COMPARE_JOIN_BYTES] = 1;
    b[100] = b[101 + COMPARE_JOIN_BYTES] = 1;
    g_autoptr(GArray) ranges = compared(a, sizeof a, b, sizeof b);
    CU_ASSERT_EQUAL(ranges->len, 3);
    range_is(ranges, 0, 10, COMPARE_JOIN_BYTES + 1);
    range_is(ranges, 1, 100, 1);
    range_is(ranges, 2, 101 + COMPARE_JOIN_BYTES, 1);
}

static void
what_only_one_has_is_a_range(void)
{
    g_autoptr(GArray) longer = compared("abc", 3, "abcdef", 6);
    g_autoptr(GArray) shorter = compared("abX", 3, "a", 1);
    g_autoptr(GArray) joined = compared("abX", 3, "abYdef", 6);

    CU_ASSERT_EQUAL(longer->len, 1);
    range_is(longer, 0, 3, 3);
    CU_ASSERT_EQUAL(shorter->len, 1);
    range_is(shorter, 0, 1, 2);
    CU_ASSERT_EQUAL(joined->len, 1);
    range_is(joined, 0, 2, 4);
}

static gboolean
is_text(const char *bytes)
{
    g_auto(Fd) fd = content(bytes, strlen(bytes));

    return compare_is_text(fd, strlen(bytes));
}

static void
what_a_terminal_would_obey_is_no_text(void)
{
    g_auto(Fd) zero = content("a\0b", 3);

    CU_ASSERT_TRUE(is_text(""));
    CU_ASSERT_TRUE(is_text("one\n\ttwo\r\n\f"));
    CU_ASSERT_TRUE(is_text("\xc3\x84 \xe2\x82\xac \xe4")); /* UTF-8, and Latin 1 */
    CU_ASSERT_FALSE(is_text("\x1b[2J"));
    CU_ASSERT_FALSE(is_text("\xc2\x9b"
                            "2J"));
    CU_ASSERT_FALSE(is_text("\x7f"));
    CU_ASSERT_FALSE(is_text("\b"));
    CU_ASSERT_FALSE(compare_is_text(zero, 3));
}

static const UnitTest tests[] = {
    UNIT_TEST(equal_contents_have_no_ranges),         UNIT_TEST(ranges_are_exact_at_their_ends),
    UNIT_TEST(what_lies_close_together_is_one),       UNIT_TEST(what_only_one_has_is_a_range),
    UNIT_TEST(what_a_terminal_would_obey_is_no_text),
};

UNIT_MAIN("compare", tests)
