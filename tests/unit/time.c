/* time.c - times as people and as programs read and write them */

#include "config.h"

#include <string.h>

#include "cli/report.h"
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

/* Reading --------------------------------------------------------------------------------------- */

/* In Berlin: 2026-11-20 is a Friday, 21:38:18.5 there, 20:38:18.5 UTC. */
#define BERLIN "Europe/Berlin"
#define THEN   "2026-11-20T20:38:18.500000Z"

static gint64
utc(const char *rfc3339)
{
    g_autoptr(GDateTime) time = g_date_time_new_from_iso8601(rfc3339, NULL);

    CU_ASSERT_PTR_NOT_NULL_FATAL(time);
    return g_date_time_to_unix(time) * S + g_date_time_get_microsecond(time);
}

static gboolean
in_zone(const char *zone)
{
    g_autoptr(GTimeZone) there = g_time_zone_new_identifier(zone);

    if (!there)
        unit_skip("this machine has no time zone data");
    g_setenv("TZ", zone, TRUE);
    return there != NULL;
}

static void
reads_at(const char *now, const char *text, const char *expected)
{
    g_autoptr(GError) error = NULL;
    gint64 usec = 0;

    TimeReading reading = time_parse(text, utc(now), &usec, &error);
    g_autofree char *got = time_rfc3339(usec);
    if (reading != TIME_READ || strcmp(got, expected) != 0)
        g_printerr("    '%s': %s\n", text, error ? error->message : got);
    CU_ASSERT_EQUAL(reading, TIME_READ);
    CU_ASSERT_STRING_EQUAL(got, expected);
}

static void
reads(const char *text, const char *expected)
{
    reads_at(THEN, text, expected);
}

static void
refuses_at(const char *now, const char *text, TimeReading expected, const char *says)
{
    g_autoptr(GError) error = NULL;
    gint64 usec = 1;

    TimeReading reading = time_parse(text, utc(now), &usec, &error);
    CU_ASSERT_EQUAL(usec, 1);
    CU_ASSERT_EQUAL(reading, expected);
    CU_ASSERT_TRUE_FATAL(g_error_matches(error, CLI_ERROR, CLI_ERROR_USAGE));
    if (reading != expected || !strstr(error->message, says))
        g_printerr("    '%s': %s\n", text, error->message);
    CU_ASSERT_PTR_NOT_NULL(strstr(error->message, says));
}

static void
refuses(const char *text, const char *says)
{
    refuses_at(THEN, text, TIME_WRONG, says);
}

static void
so_long_ago(void)
{
    if (!in_zone(BERLIN))
        return;
    reads("now", THEN);
    reads("10 minutes ago", "2026-11-20T20:28:18.500000Z");
    reads("2h ago", "2026-11-20T18:38:18.500000Z");
    reads("an hour ago", "2026-11-20T19:38:18.500000Z");
    reads("A Minute Ago", "2026-11-20T20:37:18.500000Z");
    reads("90s ago", "2026-11-20T20:36:48.500000Z");
    reads("1 hour 30 min ago", "2026-11-20T19:08:18.500000Z");
    reads("1 day, 2 hours and 3 minutes ago", "2026-11-19T18:35:18.500000Z");
    reads("2 weeks ago", "2026-11-06T20:38:18.500000Z");
    reads(" 1  month  ago ", "2026-10-20T19:38:18.500000Z"); /* summer time then */
    reads("a year ago", "2025-11-20T20:38:18.500000Z");
    reads("0 s ago", THEN);
    refuses("3 fortnights ago", "'fortnights' is no unit of time");
    refuses("9999999 days ago", "too long ago");
    refuses("999999 years ago", "too long ago");
}

static void
a_time_of_day_is_today_s_and_local(void)
{
    if (!in_zone(BERLIN))
        return;
    reads("18:00", "2026-11-20T17:00:00.999999Z");
    reads("today 9:15", "2026-11-20T08:15:00.999999Z");
    reads("today at 9:15:30.25", "2026-11-20T08:15:30.250000Z");
    reads("yesterday 18:00", "2026-11-19T17:00:00.999999Z");
    reads("Yesterday 0:00", "2026-11-18T23:00:00.999999Z");
    reads("2026-11-20 18:00", "2026-11-20T17:00:00.999999Z");
    reads("2026-11-20 18:00:05.25", "2026-11-20T17:00:05.250000Z");
    reads("2026-07-01 18:00", "2026-07-01T16:00:00.999999Z");
    reads("2026-11-20T18:00:05", "2026-11-20T17:00:05.999999Z");
    refuses("22:00", "still to come");
    refuses("today 22:00", "still to come");
}

static void
a_day_of_the_week_is_the_last_one(void)
{
    if (!in_zone(BERLIN))
        return;
    reads("monday 12:00", "2026-11-16T11:00:00.999999Z");
    reads("thu 12:00", "2026-11-19T11:00:00.999999Z");
    reads("friday 12:00", "2026-11-20T11:00:00.999999Z"); /* today, it has been */
    reads("friday 22:00", "2026-11-13T21:00:00.999999Z"); /* not yet today */
    reads("saturday 22:00", "2026-11-14T21:00:00.999999Z");
    reads("Sunday at 1:00", "2026-11-15T00:00:00.999999Z");
}

static void
a_zone_may_be_named(void)
{
    if (!in_zone(BERLIN))
        return;
    reads("2026-11-20T18:00:05Z", "2026-11-20T18:00:05.999999Z");
    reads("2026-11-20T18:00:05.000250Z", "2026-11-20T18:00:05.000250Z");
    reads("2026-11-20 18:00+02:00", "2026-11-20T16:00:00.999999Z");
    reads("2026-11-20 13:00:00.123456789-0530", "2026-11-20T18:30:00.123456Z");
    reads("@1700000000", "2023-11-14T22:13:20.999999Z");
    reads("@1700000000.5", "2023-11-14T22:13:20.500000Z");
    refuses("18:00Z", "needs its date");
    refuses("2026-11-20 18:00+25:00", "zone");
    refuses("@x", "seconds since 1970");
    refuses("@99999999999", "still to come");
}

static void
the_second_that_is_passing_has_been(void)
{
    if (!in_zone(BERLIN))
        return;
    reads("21:38:18", THEN);
    reads("2026-11-20T20:38:18Z", THEN);
    refuses("21:38:18.6", "still to come");
    refuses("21:38:19", "still to come");
    refuses("2026-11-21 18:00", "still to come");
}

static void
a_day_alone_is_not_guessed_at(void)
{
    if (!in_zone(BERLIN))
        return;
    refuses("yesterday", "'yesterday 18:00'");
    refuses("2026-11-20", "needs a time of day");
    refuses("monday", "needs a time of day");
}

static void
what_never_was_is_refused(void)
{
    if (!in_zone(BERLIN))
        return;
    refuses("2026-02-29 18:00", "no such day");
    refuses("2026-13-01 18:00", "no such day");
    refuses("0000-01-01 18:00", "no such day");
    refuses("today 24:00", "no such day or time");
    refuses("today 12:60", "no such day or time");
}

static void
what_is_no_time_may_be_a_name(void)
{
    if (!in_zone(BERLIN))
        return;
    refuses_at(THEN, "", TIME_NO_TIME, "yesterday 18:00");
    refuses_at(THEN, "release", TIME_NO_TIME, "10 minutes ago");
    refuses_at(THEN, "before-1.2", TIME_NO_TIME, "is no time");
    refuses_at(THEN, "long ago", TIME_NO_TIME, "is no time");
    refuses_at(THEN, "release 18:00", TIME_NO_TIME, "is no time");
    refuses_at(THEN, "\xff\n", TIME_NO_TIME, "is no time");
}

/* Berlin: 02:00 -> 03:00 on 2026-03-29 at 01:00 UTC, 03:00 -> 02:00 on 2026-10-25 at 01:00 UTC. */
static void
hours_that_never_were_or_were_twice_are_not_guessed_at(void)
{
    if (!in_zone(BERLIN))
        return;
    refuses("2026-03-29 02:30", "never was");
    reads("2026-03-29 01:59", "2026-03-29T00:59:00.999999Z");
    reads("2026-03-29 03:00", "2026-03-29T01:00:00.999999Z");
    refuses("2026-10-25 02:30", "2026-10-25T00:30:00Z or 2026-10-25T01:30:00Z");
    reads("2026-10-25 01:59", "2026-10-24T23:59:00.999999Z");
    reads("2026-10-25 03:00", "2026-10-25T02:00:00.999999Z");
}

static void
days_go_by_the_calendar_and_hours_by_the_clock(void)
{
    if (!in_zone(BERLIN))
        return;
    /* Noon on the day after the clocks were put forward. */
    reads_at("2026-03-29T10:00:00Z", "1 day ago", "2026-03-28T11:00:00.000000Z");
    reads_at("2026-03-29T10:00:00Z", "24 hours ago", "2026-03-28T10:00:00.000000Z");
    reads_at("2026-03-29T10:00:00Z", "yesterday 12:00", "2026-03-28T11:00:00.999999Z");
    refuses_at("2026-03-30T10:00:00Z", "yesterday 02:30", TIME_WRONG, "never was");
}

static void
zones_may_be_far_from_greenwich(void)
{
    if (!in_zone("Pacific/Kiritimati")) /* UTC+14: tomorrow already */
        return;
    reads("yesterday 18:00", "2026-11-20T04:00:00.999999Z");
    reads("0:00", "2026-11-20T10:00:00.999999Z");
    if (!in_zone("America/St_Johns")) /* UTC-3:30 */
        return;
    reads("17:00", "2026-11-20T20:30:00.999999Z");
    if (!in_zone("UTC"))
        return;
    reads("18:00", "2026-11-20T18:00:00.999999Z");
}

static const UnitTest tests[] = {
    UNIT_TEST(an_age_is_told_in_the_unit_that_says_it_best),
    UNIT_TEST(a_time_to_come_is_told_as_such),
    UNIT_TEST(programs_get_utc_with_microseconds),
    UNIT_TEST(a_time_out_of_every_range_is_no_crash),
    UNIT_TEST(so_long_ago),
    UNIT_TEST(a_time_of_day_is_today_s_and_local),
    UNIT_TEST(a_day_of_the_week_is_the_last_one),
    UNIT_TEST(a_zone_may_be_named),
    UNIT_TEST(the_second_that_is_passing_has_been),
    UNIT_TEST(a_day_alone_is_not_guessed_at),
    UNIT_TEST(what_never_was_is_refused),
    UNIT_TEST(what_is_no_time_may_be_a_name),
    UNIT_TEST(hours_that_never_were_or_were_twice_are_not_guessed_at),
    UNIT_TEST(days_go_by_the_calendar_and_hours_by_the_clock),
    UNIT_TEST(zones_may_be_far_from_greenwich),
};

UNIT_MAIN("time", tests)
