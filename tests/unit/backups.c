/* backups.c - which file, and which of its contents, a command's operand means */

#include "config.h"

#include <string.h>
#include <unistd.h>

#include "base/error.h"
#include "cli/backups.h"
#include "tests/unit/fakestore.h"
#include "tests/unit/unit.h"

#define S ((gint64) G_USEC_PER_SEC)

static const char *const files[] = {"/x", "/x@5", "/a@@b", "/odd\n\xff@now", "/at@", NULL};

static Options *
options(const char *more)
{
    g_autoptr(GError) error = NULL;
    g_autofree char *line = g_strdup_printf("filedup\n--store\n%s\n%s", unit_folder(), more);
    g_auto(GStrv) words = g_strsplit(line, "\n", -1);
    Options *o = options_parse((int) g_strv_length(words), words, &error);

    UNIT_NO_ERROR(error);
    return o;
}

static Backups *
opened(const Options *o)
{
    Status status = STATUS_OK;

    fakestore_files = files;
    Backups *s = backups_open(o, &status);
    CU_ASSERT_PTR_NOT_NULL_FATAL(s);
    CU_ASSERT_PTR_NULL(backups_manager(s));
    return s;
}

static void
means(const char *operand, const char *path, guint64 point, gint64 time_usec)
{
    g_autoptr(GError) error = NULL;
    g_autoptr(Options) o = options("status");
    g_autoptr(Backups) s = opened(o);
    g_autofree char *got = NULL;
    g_auto(When) w = {0};

    CU_ASSERT_TRUE(backups_find(s, operand, &got, &w, &error));
    UNIT_NO_ERROR(error);
    CU_ASSERT_STRING_EQUAL(got, path);
    CU_ASSERT_EQUAL(w.point, point);
    CU_ASSERT_EQUAL(w.time_usec, time_usec);
}

static void
is_refused(const char *operand, FiledupError code, const char *path, const char *says)
{
    g_autoptr(GError) error = NULL;
    g_autoptr(Options) o = options("status");
    g_autoptr(Backups) s = opened(o);
    g_autofree char *got = NULL;
    g_auto(When) w = {0};

    CU_ASSERT_FALSE(backups_find(s, operand, &got, &w, &error));
    CU_ASSERT_TRUE_FATAL(g_error_matches(error, FILEDUP_ERROR, (int) code));
    CU_ASSERT_PTR_NOT_NULL(strstr(error->message, says));
    CU_ASSERT_STRING_EQUAL(got, path);
}

static void
a_file_alone_means_its_newest_content(void)
{
    means("/x", "/x", 0, 0);
    means("/./odd\n\xff@now", "/odd\n\xff@now", 0, 0);
    means("/at@", "/at@", 0, 0);
}

static void
the_longest_name_that_is_known_is_the_file(void)
{
    means("/x@5", "/x@5", 0, 0);
    means("/x@6", "/x", 6, 0);
    means("/x@5@2", "/x@5", 2, 0);
    means("/a@@b", "/a@@b", 0, 0);
    means("/a@@b@2", "/a@@b", 2, 0);
    means("/x@@1700000000.25", "/x", 0, 1700000000 * S + S / 4);
    means("/at@@2", "/at@", 2, 0);
    means("/odd\n\xff@now@2001-02-03T04:05:06.5Z", "/odd\n\xff@now", 0, 981173106 * S + S / 2);
    means("/x@newest", "/x", 0, 0);
}

static void
a_point_is_found_by_its_name(void)
{
    means("/x@the first", "/x", 1, 0);
    is_refused("/x@the second", FILEDUP_ERROR_NO_ENTRY, "/x", "no point of that name");
}

static void
what_is_not_there_is_named_as_it_was_meant(void)
{
    is_refused("/y", FILEDUP_ERROR_NO_ENTRY, "/y", "nothing of it");
    is_refused("/y@3", FILEDUP_ERROR_NO_ENTRY, "/y", "nothing of it");
    is_refused("/y@z@3", FILEDUP_ERROR_NO_ENTRY, "/y@z", "nothing of it");
}

static void
chooses(const char *line, gboolean chosen, guint64 point, gint64 time_usec)
{
    g_autoptr(GError) error = NULL;
    g_autoptr(Options) o = options(line);
    g_autoptr(Backups) s = opened(o);
    g_autofree char *path = NULL;
    g_auto(When) w = {0};

    CU_ASSERT_EQUAL(backups_choose(s, o, options_operands(o)[0], &path, &w, &error), chosen);
    CU_ASSERT_EQUAL(error == NULL, chosen);
    CU_ASSERT_TRUE(!error || g_error_matches(error, CLI_ERROR, CLI_ERROR_USAGE));
    CU_ASSERT_EQUAL(w.point, point);
    CU_ASSERT_EQUAL(w.time_usec, time_usec);
}

static void
options_say_it_too_but_not_both(void)
{
    chooses("restore\n/x@6", TRUE, 6, 0);
    chooses("restore\n/x\n--point\n6", TRUE, 6, 0);
    chooses("restore\n/x\n--at\n6", TRUE, 6, 0);
    chooses("restore\n/x\n--at\nthe first", TRUE, 1, 0);
    chooses("restore\n/x\n--at\n@1700000000.5", TRUE, 0, 1700000000 * S + S / 2);
    chooses("restore\n/x@6\n--at\n6", FALSE, 0, 0);
    chooses("restore\n/x@newest\n--point\n6", FALSE, 0, 0);
    /* of several files: a time is of all, a number of one */
    chooses("restore\n/x\n/at@\n--at\n@1700000000.5", TRUE, 0, 1700000000 * S + S / 2);
    chooses("restore\n/x\n/at@\n--at\nthe first", TRUE, 1, 0);
    chooses("restore\n/x\n/at@\n--at\n6", FALSE, 0, 0);
}

static void
a_content_that_has_not_its_sums_is_not_handed_out(void)
{
    g_autoptr(GError) error = NULL;
    g_autoptr(Options) o = options("status");
    g_autoptr(Backups) s = opened(o);
    g_auto(When) w = {0};
    g_auto(Fetched) c = {.fd = -1};

    CU_ASSERT_FALSE(backups_fetch(s, "/x", &w, &c, &error));
    CU_ASSERT_TRUE(g_error_matches(error, FILEDUP_ERROR, FILEDUP_ERROR_DAMAGED));
    CU_ASSERT_EQUAL(c.fd, -1);
}

static const UnitTest tests[] = {
    UNIT_TEST(a_file_alone_means_its_newest_content),
    UNIT_TEST(the_longest_name_that_is_known_is_the_file),
    UNIT_TEST(a_point_is_found_by_its_name),
    UNIT_TEST(what_is_not_there_is_named_as_it_was_meant),
    UNIT_TEST(options_say_it_too_but_not_both),
    UNIT_TEST(a_content_that_has_not_its_sums_is_not_handed_out),
};

UNIT_MAIN("backups", tests)
