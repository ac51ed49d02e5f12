/* Suspicion: what looks like an accident or an attack, and what only looks busy. */

#include "config.h"

#include <string.h>

#include "base/sums.h"
#include "store/point.h"
#include "store/suspicion.h"
#include "tests/unit/unit.h"

#define N ((gsize) 40 * SUM_BLOCK_BYTES)

static gboolean
read_memory(gpointer data, void *buffer, gsize n, guint64 offset)
{
    memcpy(buffer, (const guint8 *) data + offset, n);
    return TRUE;
}

static gboolean
read_nothing(G_GNUC_UNUSED gpointer data, G_GNUC_UNUSED void *buffer, G_GNUC_UNUSED gsize n,
             G_GNUC_UNUSED guint64 offset)
{
    return FALSE;
}

static guint8 *
noise(gsize n, guint32 seed)
{
    guint8 *data = g_malloc(n);
    g_autoptr(GRand) rand = g_rand_new_with_seed(seed);

    for (gsize i = 0; i < n; i++)
        data[i] = (guint8) g_rand_int(rand);
    return data;
}

static guint8 *
prose(gsize n, guint32 seed)
{
    static const char *const words[] = {"the ", "store ", "keeps ", "what ", "was ", "there\n"};
    g_autoptr(GString) text = g_string_sized_new(n + 16);
    g_autoptr(GRand) rand = g_rand_new_with_seed(seed);

    while (text->len < n)
        g_string_append(text, words[g_rand_int_range(rand, 0, G_N_ELEMENTS(words))]);
    return (guint8 *) g_string_free(g_steal_pointer(&text), FALSE);
}

static guint
judged(const guint8 *old, gsize n_old, const guint8 *new, gsize n_new)
{
    g_autoptr(GBytes) old_sums = point_sums(old, n_old);
    g_autoptr(GBytes) new_sums = point_sums(new, n_new);

    if (!suspicion_is_rewritten(old_sums, n_old, new_sums, n_new))
        return 0;
    return suspicion_of_bytes(old_sums, n_old, read_memory, (gpointer) old, new_sums, n_new,
                              read_memory, (gpointer) new);
}

static void
a_text_that_becomes_noise_is_suspected(void)
{
    g_autofree guint8 *old = prose(N, 1), *new = noise(N, 2);

    CU_ASSERT_EQUAL(judged(old, N, new, N), SUSPICION_ENCRYPTED);
    CU_ASSERT_EQUAL(judged(old, N, new, N - 5000), SUSPICION_ENCRYPTED);
    CU_ASSERT_EQUAL(judged(old, N - 5000, new, N), SUSPICION_ENCRYPTED);
}

static void
what_never_compressed_and_what_still_does_is_not(void)
{
    g_autofree guint8 *text = prose(N, 1), *other = prose(N, 2);
    g_autofree guint8 *image = noise(N, 3), *next = noise(N, 4);

    CU_ASSERT_EQUAL(judged(image, N, next, N), 0);
    CU_ASSERT_EQUAL(judged(text, N, other, N), 0);
    CU_ASSERT_EQUAL(judged(image, N, text, N), 0);
}

static void
a_part_of_a_file_or_a_small_one_is_not(void)
{
    g_autofree guint8 *old = prose(N, 1), *new = g_memdup2(old, N), *bytes = noise(N, 2);
    gsize half = N / 2, most = N * 7 / 10;

    memcpy(new, bytes, half);
    CU_ASSERT_EQUAL(judged(old, N, new, N), 0);
    memcpy(new, bytes, most);
    CU_ASSERT_EQUAL(judged(old, N, new, N), SUSPICION_ENCRYPTED);
    CU_ASSERT_EQUAL(judged(old, 60000, bytes, 60000), 0);
    CU_ASSERT_EQUAL(judged(old, 65536, bytes, 65536), SUSPICION_ENCRYPTED);
}

static void
what_cannot_be_read_raises_nothing(void)
{
    g_autofree guint8 *old = prose(N, 1), *new = noise(N, 2);
    g_autoptr(GBytes) old_sums = point_sums(old, N), new_sums = point_sums(new, N);

    CU_ASSERT_EQUAL(suspicion_of_bytes(old_sums, N, read_nothing, NULL, new_sums, N, read_memory,
                                       new),
                    0);
    CU_ASSERT_EQUAL(suspicion_of_bytes(old_sums, N, read_memory, old, new_sums, N, read_nothing,
                                       NULL),
                    0);
}

static void
a_stable_content_without_a_byte_is_suspected(void)
{
    CU_ASSERT_EQUAL(suspicion_of_sizes(1, 0, QUALITY_STABLE), SUSPICION_EMPTIED);
    CU_ASSERT_EQUAL(suspicion_of_sizes(1, 0, QUALITY_FUZZY), 0);
    CU_ASSERT_EQUAL(suspicion_of_sizes(0, 0, QUALITY_STABLE), 0);
    CU_ASSERT_EQUAL(suspicion_of_sizes(5, 1, QUALITY_STABLE), 0);
}

static const UnitTest tests[] = {
    UNIT_TEST(a_text_that_becomes_noise_is_suspected),
    UNIT_TEST(what_never_compressed_and_what_still_does_is_not),
    UNIT_TEST(a_part_of_a_file_or_a_small_one_is_not),
    UNIT_TEST(what_cannot_be_read_raises_nothing),
    UNIT_TEST(a_stable_content_without_a_byte_is_suspected),
};
UNIT_MAIN("suspicion", tests)
