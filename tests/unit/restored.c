/* restored.c - where --to leads, and what becomes of the file that stood there */

#include "config.h"

#include <fcntl.h>
#include <glib/gstdio.h>
#include <string.h>
#include <unistd.h>

#include "base/error.h"
#include "cli/restored.h"
#include "tests/unit/unit.h"

static void
leads_to(const char *to, const char *original, gboolean force, const char *expected)
{
    g_autoptr(GError) error = NULL;
    g_auto(Place) place = {.folder_fd = -1};

    (void) place_open(to, original, force, FALSE, &place, &error);
    UNIT_NO_ERROR(error);
    CU_ASSERT_STRING_EQUAL(place.path, expected);
    CU_ASSERT_TRUE(place.folder_fd >= 0);
}

static void
is_refused(const char *to, const char *original, gboolean force, gboolean many, const char *says)
{
    g_autoptr(GError) error = NULL;
    g_auto(Place) place = {.folder_fd = -1};

    CU_ASSERT_FALSE(place_open(to, original, force, many, &place, &error));
    CU_ASSERT_TRUE_FATAL(error && error->domain == FILEDUP_ERROR);
    CU_ASSERT_PTR_NOT_NULL(strstr(error->message, says));
}

static void
a_folder_takes_the_file_under_its_own_name(void)
{
    g_autofree char *expected = unit_path("app.db");
    g_autofree char *slash = g_strconcat(unit_folder(), "/", NULL);
    g_autofree char *file = unit_path("other");

    leads_to(unit_folder(), "/etc/app.db", FALSE, expected);
    leads_to(slash, "/etc/app.db", FALSE, expected);
    leads_to(file, "/etc/app.db", FALSE, file);
}

static void
a_file_that_exists_needs_force(void)
{
    g_autofree char *file = unit_path("there");
    g_autofree char *dangling = unit_path("dangling");

    unit_write(file, "x", 1);
    CU_ASSERT_EQUAL_FATAL(symlink("nowhere", dangling), 0);
    is_refused(file, "/etc/app.db", FALSE, FALSE, "--force replaces it");
    is_refused(dangling, "/etc/app.db", FALSE, FALSE, "--force replaces it");
    leads_to(file, "/etc/app.db", TRUE, file);
}

static void
what_is_no_place_for_a_file_is_refused(void)
{
    g_autofree char *file = unit_path("there");
    g_autofree char *missing = unit_path("missing/file");
    g_autofree char *new_folder = unit_path("new/");
    g_autofree char *taken = unit_path("app.db");

    unit_write(file, "x", 1);
    CU_ASSERT_EQUAL_FATAL(g_mkdir(taken, 0700), 0);
    is_refused(file, "/etc/app.db", TRUE, TRUE, "no folder");
    is_refused(new_folder, "/etc/app.db", TRUE, FALSE, "no folder");
    is_refused(missing, "/etc/app.db", TRUE, FALSE, "No such file");
    is_refused(unit_folder(), "/etc/app.db", TRUE, FALSE, "a folder of that name");
}

/* It would be removed without having become a recovery point. */
static void
the_file_itself_is_no_other_place_even_with_force(void)
{
    g_autofree char *file = unit_path("app.db");
    g_autofree char *link = unit_path("link");
    g_autofree char *through = unit_path("link/app.db");

    unit_write(file, "x", 1);
    CU_ASSERT_EQUAL_FATAL(symlink(".", link), 0);
    is_refused(file, file, TRUE, FALSE, "the file itself");
    is_refused(unit_folder(), file, TRUE, FALSE, "the file itself");
    is_refused(through, file, TRUE, FALSE, "the file itself");
}

static void
what_stood_there_is_kept_under_a_name_of_its_own(void)
{
    g_autofree char *first = unit_path(".tmp-1");
    g_autofree char *second = unit_path(".tmp-2");
    g_auto(Fd) folder = open(unit_folder(), O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    Swapped one = {.name = (char *) ".tmp-1"}, two = {.name = (char *) ".tmp-2"};

    unit_write(first, "1", 1);
    unit_write(second, "2", 1);
    g_autofree char *kept = restored_keep(folder, "app.db", &one);
    g_autofree char *again = restored_keep(folder, "app.db", &two);
    CU_ASSERT_TRUE(g_str_has_prefix(kept, "app.db.before-restore-"));
    CU_ASSERT_STRING_NOT_EQUAL(kept, again);
    CU_ASSERT_EQUAL(faccessat(folder, kept, F_OK, 0), 0);
    CU_ASSERT_EQUAL(faccessat(folder, again, F_OK, 0), 0);
    CU_ASSERT_NOT_EQUAL(faccessat(folder, ".tmp-1", F_OK, 0), 0);
}

/* A name too long for the addition stays under its temporary one: told, not lost. */
static void
what_cannot_be_renamed_is_told_by_the_name_it_has(void)
{
    g_autofree char *temporary = unit_path(".tmp");
    g_autofree char *name = g_strnfill(250, 'x');
    g_auto(Fd) folder = open(unit_folder(), O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    Swapped swapped = {.name = (char *) ".tmp"};

    unit_write(temporary, "1", 1);
    g_autofree char *kept = restored_keep(folder, name, &swapped);
    CU_ASSERT_STRING_EQUAL(kept, ".tmp");
    CU_ASSERT_EQUAL(access(temporary, F_OK), 0);
}

static const UnitTest tests[] = {
    UNIT_TEST(a_folder_takes_the_file_under_its_own_name),
    UNIT_TEST(a_file_that_exists_needs_force),
    UNIT_TEST(what_is_no_place_for_a_file_is_refused),
    UNIT_TEST(the_file_itself_is_no_other_place_even_with_force),
    UNIT_TEST(what_stood_there_is_kept_under_a_name_of_its_own),
    UNIT_TEST(what_cannot_be_renamed_is_told_by_the_name_it_has),
};

UNIT_MAIN("restored", tests)
