/* path.c - tests of paths as bytes */

#include "config.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/fd.h"
#include "base/path.h"
#include "tests/unit/unit.h"

static void
canonical_paths_are_known(void)
{
    static const char *const good[] = {"/", "/a", "/a/b", "/a/..b", "/a/.b", "/a/b...", "/ /\n"};
    static const char *const bad[] = {"",      "a",     "a/b",  "//",     "/a/",
                                      "/a//b", "/.",    "/a/.", "/a/./b", "/..",
                                      "/a/..", "/../a", "./a",  "/a/../b"};

    for (gsize i = 0; i < G_N_ELEMENTS(good); i++)
        CU_ASSERT_TRUE(path_is_canonical(good[i]));
    for (gsize i = 0; i < G_N_ELEMENTS(bad); i++)
        CU_ASSERT_FALSE(path_is_canonical(bad[i]));
    g_autofree char *longest = g_strnfill(PATH_MAX, 'x');
    longest[0] = '/';
    CU_ASSERT_FALSE(path_is_canonical(longest));
    longest[PATH_MAX - 1] = '\0';
    CU_ASSERT_TRUE(path_is_canonical(longest));
}

static void
split_and_join_are_each_others_reverse(void)
{
    static const char *const paths[] = {"/a", "/a/b", "/a/b/c", "/x\xff/\n"};

    for (gsize i = 0; i < G_N_ELEMENTS(paths); i++) {
        g_autofree char *folder = NULL, *name = NULL;
        path_split(paths[i], &folder, &name);
        CU_ASSERT_PTR_NULL(strchr(name, '/'));
        g_autofree char *joined = path_join(folder, name);
        CU_ASSERT_STRING_EQUAL(joined, paths[i]);
    }
}

static void
beneath_is_about_whole_names(void)
{
    CU_ASSERT_TRUE(path_is_beneath("/a/b", "/a"));
    CU_ASSERT_TRUE(path_is_beneath("/a", "/a"));
    CU_ASSERT_TRUE(path_is_beneath("/a", "/"));
    CU_ASSERT_FALSE(path_is_beneath("/ab", "/a"));
    CU_ASSERT_FALSE(path_is_beneath("/a", "/a/b"));
}

static void
escaping_gives_one_line_of_text(void)
{
    static const char *const pairs[][2] = {
        {"/plain path", "/plain path"},
        {"/line\nbreak\ttab\\", "/line\\nbreak\\ttab\\\\"},
        {"/bad\xff\xfe!", "/bad\\xff\\xfe!"},
        {"/esc\x1b[31m", "/esc\\x1b[31m"},
        {"/gr\xc3\xbc\xc3\x9f", "/gr\xc3\xbc\xc3\x9f"},
        {"/\xe2\x80\xae"
         "evil",
         "/\\xe2\\x80\\xaeevil"}, /* right-to-left override */
        {"/cut\xc3", "/cut\\xc3"},
    };

    for (gsize i = 0; i < G_N_ELEMENTS(pairs); i++) {
        g_autofree char *text = path_escape(pairs[i][0]);
        CU_ASSERT_STRING_EQUAL(text, pairs[i][1]);
        CU_ASSERT_TRUE(g_utf8_validate(text, -1, NULL));
    }
}

static void
variants_carry_every_byte_and_nothing_else(void)
{
    g_autoptr(GVariant) v = g_variant_ref_sink(path_to_variant("/a\n\xff"));
    static const struct {
        const char *data;
        gsize n;
    } bad[] = {{"", 0}, {"abc", 3}, {"a\0b", 4}, {"a\0", 3}};

    CU_ASSERT_STRING_EQUAL(path_from_variant(v), "/a\n\xff");
    for (gsize i = 0; i < G_N_ELEMENTS(bad); i++) {
        g_autoptr(GVariant) b = g_variant_ref_sink(
            g_variant_new_fixed_array(G_VARIANT_TYPE_BYTE, bad[i].data, bad[i].n, 1));
        CU_ASSERT_PTR_NULL(path_from_variant(b));
    }
}

static void
no_component_may_be_a_link_and_none_leads_out(void)
{
    g_autofree char *sub = unit_path("sub"), *file = unit_path("sub/file");
    g_autofree char *link = unit_path("link"), *through = unit_path("link/file");
    g_autofree char *alias = unit_path("sub/alias");

    CU_ASSERT_EQUAL(mkdir(sub, 0700) | symlink("sub", link), 0);
    unit_write(file, "x", 1);
    CU_ASSERT_EQUAL(symlink("file", alias), 0);
    g_auto(Fd) folder = path_open(AT_FDCWD, sub, O_PATH | O_DIRECTORY, 0);
    CU_ASSERT_TRUE_FATAL(folder >= 0);
    g_auto(Fd) good = path_open(folder, "file", O_RDONLY, 0);
    CU_ASSERT_TRUE(good >= 0);
    CU_ASSERT_EQUAL(fcntl(good, F_GETFD), FD_CLOEXEC);
    CU_ASSERT_EQUAL(path_open(AT_FDCWD, through, O_RDONLY, 0), -1);
    CU_ASSERT_EQUAL(errno, ELOOP);
    CU_ASSERT_EQUAL(path_open(folder, "alias", O_RDONLY, 0), -1);
    CU_ASSERT_EQUAL(errno, ELOOP);
    CU_ASSERT_EQUAL(path_open(folder, "../sub/file", O_RDONLY, 0), -1);
    CU_ASSERT_EQUAL(errno, EXDEV);
    CU_ASSERT_EQUAL(path_open(folder, file, O_RDONLY, 0), -1);
    CU_ASSERT_EQUAL(errno, EXDEV);
    g_auto(Fd) seen = path_open(folder, "alias", O_PATH | O_NOFOLLOW, 0); /* the link itself */
    CU_ASSERT_TRUE(seen >= 0);
    g_auto(Fd) made = path_open(folder, "made", O_WRONLY | O_CREAT | O_EXCL, 0600);
    CU_ASSERT_TRUE(made >= 0);
}

static const UnitTest tests[] = {
    UNIT_TEST(canonical_paths_are_known),
    UNIT_TEST(split_and_join_are_each_others_reverse),
    UNIT_TEST(beneath_is_about_whole_names),
    UNIT_TEST(escaping_gives_one_line_of_text),
    UNIT_TEST(variants_carry_every_byte_and_nothing_else),
    UNIT_TEST(no_component_may_be_a_link_and_none_leads_out),
};
UNIT_MAIN("path", tests)
