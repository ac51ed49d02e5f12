/* when.c - which content is meant */

#include "config.h"

#include <string.h>

#include "cli/report.h"
#include "cli/when.h"
#include "tests/unit/unit.h"

#define NOW G_GINT64_CONSTANT(1700000000000000) /* 2023-11-14T22:13:20Z */

static void
means(const char *text, guint64 point, gint64 time_usec, const char *name)
{
    g_autoptr(GError) error = NULL;
    g_auto(When) w = {0};

    CU_ASSERT_TRUE(when_parse(text, NOW, &w, &error));
    UNIT_NO_ERROR(error);
    CU_ASSERT_EQUAL(w.point, point);
    CU_ASSERT_EQUAL(w.time_usec, time_usec);
    CU_ASSERT_EQUAL(w.name != NULL, name != NULL);
    if (w.name && name)
        CU_ASSERT_STRING_EQUAL(w.name, name);
    CU_ASSERT_STRING_EQUAL(w.text, text);
}

static void
refused(const char *text, const char *says)
{
    g_autoptr(GError) error = NULL;
    g_auto(When) w = {0};

    CU_ASSERT_FALSE(when_parse(text, NOW, &w, &error));
    CU_ASSERT_TRUE_FATAL(g_error_matches(error, CLI_ERROR, CLI_ERROR_USAGE));
    CU_ASSERT_PTR_NOT_NULL(strstr(error->message, says));
    CU_ASSERT_PTR_NULL(w.text);
}

static void
a_content_is_told_by_number_time_or_name(void)
{
    means("12", 12, 0, NULL);
    means("newest", 0, 0, NULL);
    means("10 s ago", 0, NOW - 10 * G_USEC_PER_SEC, NULL);
    means("2023-11-14T22:13:19.5Z", 0, NOW - G_USEC_PER_SEC / 2, NULL);
    means("@1699999999", 0, NOW - 1, NULL);
    means("release-1.2", 0, 0, "release-1.2");
    means("v1@home", 0, 0, "v1@home");
    means("vor dem \xc3\x84ndern", 0, 0, "vor dem \xc3\x84ndern");
}

static void
what_can_be_none_of_them_is_refused(void)
{
    refused("0", "no point's number");
    refused("99999999999999999999", "no point's number");
    refused("", "yesterday 18:00");
    refused(" x", "is no time");
    refused("a\tb", "is no time");
    refused("\xff", "is no time");
    refused("@tomorrow", "seconds since 1970");
    refused("2023-11-15 18:00Z", "still to come");
    refused("yesterday", "time of day");
}

static void
a_name_is_taken_only_if_it_can_be_found_again(void)
{
    static const char *const good[] = {"release", "before 1.2", "a/b", "x@y", NULL};
    static const char *const bad[] = {"12", "now", "newest", "1 day ago", "monday", "18:00",
                                      "@5", "",    " x",     "x ",        "a\nb",   NULL};
    g_autofree char *longest = g_strnfill(WHEN_NAME_BYTES, 'x');
    g_autofree char *too_long = g_strnfill(WHEN_NAME_BYTES + 1, 'x');

    for (guint i = 0; good[i]; i++)
        CU_ASSERT_TRUE(when_check_name(good[i], NULL));
    for (guint i = 0; bad[i]; i++) {
        g_autoptr(GError) error = NULL;
        CU_ASSERT_FALSE(when_check_name(bad[i], &error));
        CU_ASSERT_TRUE(g_error_matches(error, CLI_ERROR, CLI_ERROR_USAGE));
    }
    CU_ASSERT_TRUE(when_check_name(longest, NULL));
    CU_ASSERT_FALSE(when_check_name(too_long, NULL));
}

static const UnitTest tests[] = {
    UNIT_TEST(a_content_is_told_by_number_time_or_name),
    UNIT_TEST(what_can_be_none_of_them_is_refused),
    UNIT_TEST(a_name_is_taken_only_if_it_can_be_found_again),
};

UNIT_MAIN("when", tests)
