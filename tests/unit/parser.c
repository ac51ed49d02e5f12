/* parser.c - who reads a store, and what is believed of the answers */

#include "config.h"

#include <errno.h>
#include <fcntl.h>
#include <glib/gstdio.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/error.h"
#include "base/fd.h"
#include "cli/dict.h"
#include "cli/parser.h"
#include "tests/unit/fakestore.h"
#include "tests/unit/unit.h"

#define NOBODY 65534

/* Of root, or of somebody else. */
static Parser *
opened(uid_t owner)
{
    g_autoptr(GError) error = NULL;

    CU_ASSERT_EQUAL_FATAL(chown(unit_folder(), owner, owner), 0);
    Parser *p = parser_open(unit_folder(), &error);
    UNIT_NO_ERROR(error);
    return p;
}

static gboolean
is_root(void)
{
    if (geteuid() == 0)
        return TRUE;
    unit_skip("needs root");
    return FALSE;
}

static void
reader_is(Parser *p, uid_t uid, gboolean here)
{
    g_autoptr(GError) error = NULL;
    g_autoptr(GVariant) files = parser_list(p, &error);

    UNIT_NO_ERROR(error);
    CU_ASSERT_EQUAL_FATAL(g_variant_n_children(files), 1);
    g_autoptr(GVariant) file = g_variant_get_child_value(files, 0);
    CU_ASSERT_STRING_EQUAL(dict_path(file, "path"), "/a\n\xff");
    CU_ASSERT_EQUAL(dict_u32(file, "principal"), uid);
    CU_ASSERT_EQUAL(dict_u64(file, "sequence") == (guint64) getpid(), here);
    CU_ASSERT_STRING_EQUAL(parser_uuid(p), FAKESTORE_UUID);
}

static void
one_s_own_store_is_read_here(void)
{
    g_autoptr(Parser) p = opened(geteuid());

    reader_is(p, geteuid(), TRUE);
    CU_ASSERT_TRUE(parser_is_trusted(p));
}

static void
root_has_another_s_store_read_by_a_process_of_the_owner_s(void)
{
    if (!is_root())
        return;
    g_autoptr(Parser) p = opened(NOBODY);
    reader_is(p, NOBODY, FALSE);
    CU_ASSERT_FALSE(parser_is_trusted(p));
    CU_ASSERT_TRUE(parser_is_maker(p, NOBODY, NOBODY));
    CU_ASSERT_FALSE(parser_is_maker(p, NOBODY, 0));
    CU_ASSERT_FALSE(parser_is_maker(p, 0, NOBODY));
    CU_ASSERT_EQUAL(geteuid(), 0);
}

/* A disk from another machine. */
static void
the_owner_needs_no_account(void)
{
    if (!is_root())
        return;
    g_autoptr(Parser) p = opened(3999999999u);
    reader_is(p, 3999999999u, FALSE);
}

static void
nor_any_right_above_the_store(void)
{
    g_autoptr(GError) error = NULL;
    g_autofree char *above = unit_path("above");
    g_autofree char *folder = unit_path("above/store");

    if (!is_root())
        return;
    CU_ASSERT_EQUAL_FATAL(g_mkdir(above, 0700) | g_mkdir(folder, 0700), 0);
    CU_ASSERT_EQUAL_FATAL(chown(folder, NOBODY, NOBODY), 0);
    g_autoptr(Parser) p = parser_open(folder, &error);
    UNIT_NO_ERROR(error);
    reader_is(p, NOBODY, FALSE);
}

static void
answers_say_the_same(uid_t owner)
{
    g_autoptr(GError) error = NULL;
    g_autoptr(Parser) p = opened(owner);
    g_autoptr(GVariant) points = parser_points(p, "/a", 2, &error);
    g_autoptr(GVariant) check = parser_verify(p, "/a", TRUE, &error);
    g_auto(StoredContent) c = {.fd = -1};
    char text[8] = "";

    UNIT_NO_ERROR(error);
    CU_ASSERT_EQUAL_FATAL(g_variant_n_children(points), 2);
    g_autoptr(GVariant) first = g_variant_get_child_value(points, 0);
    CU_ASSERT_EQUAL(dict_u64(first, "id"), 3);
    CU_ASSERT_TRUE(dict_bool(first, "newest"));
    CU_ASSERT_STRING_EQUAL(dict_text(first, "cause"), "quiet");
    CU_ASSERT_STRING_EQUAL(dict_text(first, "kept"), "named boot");
    CU_ASSERT_EQUAL(dict_u32(check, "points"), 2);

    CU_ASSERT_TRUE_FATAL(parser_content(p, "/a", 17, 0, &c, &error));
    CU_ASSERT_TRUE(fd_pread_full(c.fd, text, 7, 0));
    CU_ASSERT_STRING_EQUAL(text, "content");
    CU_ASSERT_EQUAL(c.point, 17);
    CU_ASSERT_EQUAL(c.stat.mode, 0100640);
    CU_ASSERT_EQUAL(c.quality, QUALITY_STABLE);
    CU_ASSERT_EQUAL(g_bytes_get_size(c.attributes), 10);
    CU_ASSERT_EQUAL(memcmp(g_bytes_get_data(c.sums, NULL), "12345678", 8), 0);
}

static void
answers_from_there_and_from_here_say_the_same(void)
{
    answers_say_the_same(geteuid());
    if (geteuid() == 0)
        answers_say_the_same(NOBODY);
}

static void
errors_keep_their_code(void)
{
    if (!is_root())
        return;
    g_autoptr(GError) error = NULL;
    g_autoptr(Parser) p = opened(NOBODY);
    g_autoptr(GVariant) none = parser_points(p, "/none", 0, &error);

    CU_ASSERT_PTR_NULL(none);
    CU_ASSERT_TRUE(g_error_matches(error, FILEDUP_ERROR, FILEDUP_ERROR_NO_ENTRY));
    reader_is(p, NOBODY, FALSE); /* and it goes on */

    g_autofree char *lock = unit_path("lock");
    unit_write(lock, "", 0);
    g_clear_error(&error);
    CU_ASSERT_PTR_NULL(parser_open(unit_folder(), &error));
    CU_ASSERT_TRUE(g_error_matches(error, FILEDUP_ERROR, FILEDUP_ERROR_BUSY));
    g_autofree char *expected = g_strdup_printf("store '%s': in use", unit_folder());
    CU_ASSERT_STRING_EQUAL(error->message, expected);
}

static void
is_not_believed(Parser *p, const char *path)
{
    g_autoptr(GError) error = NULL;
    g_auto(StoredContent) c = {.fd = -1};

    CU_ASSERT_FALSE(parser_content(p, path, 0, 0, &c, &error));
    CU_ASSERT_TRUE(g_error_matches(error, FILEDUP_ERROR, FILEDUP_ERROR_DAMAGED));
    CU_ASSERT_EQUAL(c.fd, -1);
}

static void
what_cannot_be_a_content_is_not_believed(void)
{
    if (!is_root())
        return;
    g_autoptr(Parser) p = opened(NOBODY);
    is_not_believed(p, "/fifo");
    is_not_believed(p, "/folder");
    is_not_believed(p, "/sums");
    is_not_believed(p, "/crash");
    is_not_believed(p, "/a"); /* nobody is there any more */
}

static void
the_process_ends_with_its_parser(void)
{
    if (!is_root())
        return;
    Parser *p = opened(NOBODY);
    parser_close(p);
    CU_ASSERT_EQUAL(waitpid(-1, NULL, WNOHANG), -1);
    CU_ASSERT_EQUAL(errno, ECHILD);
}

static const UnitTest tests[] = {
    UNIT_TEST(one_s_own_store_is_read_here),
    UNIT_TEST(root_has_another_s_store_read_by_a_process_of_the_owner_s),
    UNIT_TEST(the_owner_needs_no_account),
    UNIT_TEST(nor_any_right_above_the_store),
    UNIT_TEST(answers_from_there_and_from_here_say_the_same),
    UNIT_TEST(errors_keep_their_code),
    UNIT_TEST(what_cannot_be_a_content_is_not_believed),
    UNIT_TEST(the_process_ends_with_its_parser),
};

UNIT_MAIN("parser", tests)
