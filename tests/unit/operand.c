/* operand.c - which rows a file named on the command line may mean */

#include "config.h"

#include <glib/gstdio.h>
#include <sys/stat.h>
#include <unistd.h>

#include "cli/operand.h"
#include "tests/unit/unit.h"

static void
lexical_is(const char *path, const char *expected)
{
    g_autofree char *lexical = operand_lexical(path);

    CU_ASSERT_STRING_EQUAL(lexical, expected);
}

static void
dots_and_doubled_slashes_go_by_the_text(void)
{
    lexical_is("/", "/");
    lexical_is("//a///b/", "/a/b");
    lexical_is("/a/./b/../c", "/a/c");
    lexical_is("/../..", "/");
    lexical_is("/a/..", "/");
    lexical_is("/...", "/...");
    lexical_is("/\xff/../b\n", "/b\n");
}

static void
a_relative_name_is_joined_and_not_resolved(void)
{
    g_autoptr(GError) error = NULL;

    CU_ASSERT_EQUAL_FATAL(chdir(unit_folder()), 0);
    g_autofree char *here = g_get_current_dir();
    g_autofree char *expected = g_strconcat(here, "/x/../\xff", NULL);
    g_autofree char *path = operand_absolute("x/../\xff", &error);
    UNIT_NO_ERROR(error);
    CU_ASSERT_STRING_EQUAL(path, expected);
    CU_ASSERT_EQUAL(chdir("/"), 0);
}

static void
a_file_that_is_gone_is_found_through_a_link_above_it(void)
{
    g_autoptr(GError) error = NULL;
    g_autofree char *folder = unit_path("real");
    g_autofree char *link = unit_path("link");
    g_autofree char *named = unit_path("link/gone/deeper");
    g_autofree char *meant = g_strconcat(folder, "/gone/deeper", NULL);

    CU_ASSERT_EQUAL_FATAL(g_mkdir(folder, 0700), 0);
    CU_ASSERT_EQUAL_FATAL(symlink("real", link), 0);
    g_auto(GStrv) candidates = operand_candidates(named, &error);
    UNIT_NO_ERROR(error);
    CU_ASSERT_STRING_EQUAL(candidates[0], meant);
    CU_ASSERT_STRING_EQUAL(candidates[1], named);
    CU_ASSERT_PTR_NULL(candidates[2]);
}

static void
the_row_of_the_very_name_comes_before_what_a_link_leads_to(void)
{
    g_autoptr(GError) error = NULL;
    g_autofree char *file = unit_path("file");
    g_autofree char *link = unit_path("name");

    unit_write(file, "x", 1);
    CU_ASSERT_EQUAL_FATAL(symlink("file", link), 0);
    g_auto(GStrv) candidates = operand_candidates(link, &error);
    UNIT_NO_ERROR(error);
    CU_ASSERT_STRING_EQUAL(candidates[0], link);
    CU_ASSERT_STRING_EQUAL(candidates[1], file);
    CU_ASSERT_PTR_NULL(candidates[2]);
}

static void
a_folder_that_is_to_be_made_has_a_canonical_path(void)
{
    g_autoptr(GError) error = NULL;
    g_autofree char *folder = unit_path("real");
    g_autofree char *link = unit_path("link");
    g_autofree char *named = unit_path("link/./new/");
    g_autofree char *meant = g_strconcat(folder, "/new", NULL);

    CU_ASSERT_EQUAL_FATAL(g_mkdir(folder, 0700), 0);
    CU_ASSERT_EQUAL_FATAL(symlink("real", link), 0);
    g_autofree char *fresh = operand_real(named, &error);
    g_autofree char *there = operand_real(link, &error);
    UNIT_NO_ERROR(error);
    CU_ASSERT_STRING_EQUAL(fresh, meant);
    CU_ASSERT_STRING_EQUAL(there, folder);
}

static void
parts_are(const char *operand, guint n, const char *file, const char *point)
{
    g_autofree char *got_file = NULL;
    g_autofree char *got_point = NULL;

    CU_ASSERT_TRUE_FATAL(operand_part(operand, n, &got_file, &got_point));
    CU_ASSERT_STRING_EQUAL(got_file, file);
    CU_ASSERT_EQUAL(got_point != NULL, point != NULL);
    if (got_point && point)
        CU_ASSERT_STRING_EQUAL(got_point, point);
}

static void
there_is_no_part(const char *operand, guint n)
{
    g_autofree char *file = NULL;
    g_autofree char *point = NULL;

    CU_ASSERT_FALSE(operand_part(operand, n, &file, &point));
    CU_ASSERT_TRUE(!file && !point);
}

static void
a_file_and_a_point_are_parted_longest_file_first(void)
{
    parts_are("a", 0, "a", NULL);
    there_is_no_part("a", 1);
    parts_are("a@b@3", 0, "a@b@3", NULL);
    parts_are("a@b@3", 1, "a@b", "3");
    parts_are("a@b@3", 2, "a", "b@3");
    there_is_no_part("a@b@3", 3);
    parts_are("a@@17", 1, "a@", "17");
    parts_are("a@@17", 2, "a", "@17");
    parts_are("\xff\n@", 1, "\xff\n", "");
    parts_are("@3", 0, "@3", NULL);
    there_is_no_part("@3", 1);
}

static const UnitTest tests[] = {
    UNIT_TEST(dots_and_doubled_slashes_go_by_the_text),
    UNIT_TEST(a_relative_name_is_joined_and_not_resolved),
    UNIT_TEST(a_file_that_is_gone_is_found_through_a_link_above_it),
    UNIT_TEST(the_row_of_the_very_name_comes_before_what_a_link_leads_to),
    UNIT_TEST(a_folder_that_is_to_be_made_has_a_canonical_path),
    UNIT_TEST(a_file_and_a_point_are_parted_longest_file_first),
};

UNIT_MAIN("operand", tests)
