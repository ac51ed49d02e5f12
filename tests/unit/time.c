/* time.c - times as people and as programs read them */

#include "config.h"

#include "cli/time.h"
#include "tests/unit/unit.h"

#define NOW G_GINT64_CONSTANT(1700000000000000) /* 2023-11-14T22:13:20Z */
#define S   ((gint64) G_USEC_PER_SEC)

static void
phrase_is(gint64 age_usec, const char *expected)
{
    g_autofree char *phrase = time_phrase(NOW - age_usec, NOW);

    CU_ASSERT_STRING_EQUAL(phrase, expected);
}

static void
an_age_is_told_in_the_unit_that_says_it_best(void)
{
    phrase_is(0, "just now");
    phrase_is(S - 1, "just now");
    phrase_is(S, "1 s ago");
    phrase_is(119 * S, "119 s ago");
    phrase_is(120 * S, "2 min ago");
    phrase_is(180 * S, "3 min ago");
    phrase_is(90 * 60 * S, "90 min ago");
    phrase_is(2 * 3600 * S, "2 h ago");
    phrase_is(47 * 3600 * S, "47 h ago");
    phrase_is(48 * 3600 * S, "2 days ago");
    phrase_is(59 * 86400 * S, "59 days ago");
    phrase_is(60 * 86400 * S, "2 months ago");
    phrase_is(730 * 86400 * S, "2 years ago");
}

static void
a_time_to_come_is_told_as_such(void)
{
    phrase_is(-S / 2, "just now");
    phrase_is(-180 * S, "in 3 min");
    phrase_is(-3 * 86400 * S, "in 3 days");
}

static void
programs_get_utc_with_microseconds(void)
{
    g_autofree char *usual = time_rfc3339(NOW + 250);
    g_autofree char *epoch = time_rfc3339(0);
    g_autofree char *before = time_rfc3339(-1);

    CU_ASSERT_STRING_EQUAL(usual, "2023-11-14T22:13:20.000250Z");
    CU_ASSERT_STRING_EQUAL(epoch, "1970-01-01T00:00:00.000000Z");
    CU_ASSERT_STRING_EQUAL(before, "1969-12-31T23:59:59.999999Z");
}

static void
a_time_out_of_every_range_is_no_crash(void)
{
    g_autofree char *local = time_local(G_MAXINT64);
    g_autofree char *exact = time_rfc3339(G_MININT64);
    g_autofree char *phrase = time_phrase(0, G_MAXINT64);
    g_autofree char *wild = time_phrase(G_MININT64, G_MAXINT64);

    CU_ASSERT_PTR_NOT_NULL(local);
    CU_ASSERT_PTR_NOT_NULL(exact);
    CU_ASSERT_PTR_NOT_NULL(phrase);
    CU_ASSERT_STRING_EQUAL(wild, "?");
}

static const UnitTest tests[] = {
    UNIT_TEST(an_age_is_told_in_the_unit_that_says_it_best),
    UNIT_TEST(a_time_to_come_is_told_as_such),
    UNIT_TEST(programs_get_utc_with_microseconds),
    UNIT_TEST(a_time_out_of_every_range_is_no_crash),
};

UNIT_MAIN("time", tests)
