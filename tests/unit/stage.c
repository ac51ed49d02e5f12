/* stage.c - tests of swapping new content in */

#include "config.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/error.h"
#include "base/fd.h"
#include "copy/stage.h"
#include "tests/unit/unit.h"

static int
open_folder(void)
{
    int fd = open(unit_folder(), O_RDONLY | O_DIRECTORY | O_CLOEXEC);

    CU_ASSERT_FATAL(fd >= 0);
    return fd;
}

static void
assert_file(const char *name, const char *expected)
{
    g_autofree char *path = unit_path(name);
    g_autoptr(GBytes) data = unit_read(path);

    CU_ASSERT_EQUAL(g_bytes_get_size(data), strlen(expected));
    CU_ASSERT_EQUAL(memcmp(g_bytes_get_data(data, NULL), expected, strlen(expected)), 0);
}

static guint
count_files(void)
{
    g_autoptr(GDir) dir = g_dir_open(unit_folder(), 0, NULL);
    guint n = 0;

    while (g_dir_read_name(dir))
        n++;
    return n;
}

static gboolean
publish(int folder, const char *name, const char *content, Swapped *swapped, GError **error)
{
    g_autoptr(Stage) stage = stage_new(folder, name, error);

    if (!stage)
        return FALSE;
    CU_ASSERT_TRUE(fd_pwrite_full(stage_fd(stage), content, strlen(content), 0));
    return stage_publish(stage, swapped, error);
}

static void
what_is_not_published_leaves_nothing(void)
{
    g_autoptr(GError) error = NULL;
    g_auto(Fd) folder = open_folder();

    g_autoptr(Stage) stage = stage_new(folder, "file", &error);
    UNIT_NO_ERROR(error);
    CU_ASSERT_TRUE(fd_pwrite_full(stage_fd(stage), "new", 3, 0));
    g_clear_pointer(&stage, stage_free);
    CU_ASSERT_EQUAL(count_files(), 0);
}

static void
a_free_name_is_taken(void)
{
    g_autoptr(GError) error = NULL;
    g_auto(Fd) folder = open_folder();
    g_auto(Swapped) swapped = {0};

    CU_ASSERT_TRUE(publish(folder, "file", "new", &swapped, &error));
    UNIT_NO_ERROR(error);
    CU_ASSERT_PTR_NULL(swapped.name);
    assert_file("file", "new");
    CU_ASSERT_EQUAL(count_files(), 1);
}

static void
what_was_there_is_kept_under_the_swapped_name(void)
{
    g_autoptr(GError) error = NULL;
    g_auto(Fd) folder = open_folder();
    g_auto(Swapped) swapped = {0};
    g_autofree char *path = unit_path("file");
    struct stat before;

    unit_write(path, "old", 3);
    CU_ASSERT_EQUAL(stat(path, &before), 0);
    CU_ASSERT_TRUE(publish(folder, "file", "new", &swapped, &error));
    UNIT_NO_ERROR(error);
    assert_file("file", "new");
    CU_ASSERT_PTR_NOT_NULL_FATAL(swapped.name);
    assert_file(swapped.name, "old");
    CU_ASSERT_EQUAL(swapped.ino, before.st_ino);
    CU_ASSERT_EQUAL(swapped.dev, before.st_dev);
    CU_ASSERT_TRUE(stage_discard(folder, swapped.name, swapped.dev, swapped.ino, &error));
    CU_ASSERT_TRUE(
        stage_discard(folder, swapped.name, swapped.dev, swapped.ino, &error)); /* gone */
    CU_ASSERT_EQUAL(count_files(), 1);
}

static void
only_the_very_inode_is_discarded(void)
{
    g_autoptr(GError) error = NULL;
    g_auto(Fd) folder = open_folder();
    g_autofree char *temporary = unit_path(".file.filedup-abc123"), *path = unit_path("file");
    struct stat st;

    unit_write(path, "mine", 4);
    unit_write(temporary, "other", 5);
    CU_ASSERT_EQUAL(stat(temporary, &st), 0);
    CU_ASSERT_FALSE(
        stage_discard(folder, ".file.filedup-abc123", st.st_dev, st.st_ino + 1, &error));
    CU_ASSERT_TRUE(g_error_matches(error, FILEDUP_ERROR, FILEDUP_ERROR_REFUSED));
    g_clear_error(&error);
    CU_ASSERT_EQUAL(stat(path, &st), 0);
    CU_ASSERT_FALSE(stage_discard(folder, "file", st.st_dev, st.st_ino, &error));
    g_clear_error(&error);
    CU_ASSERT_FALSE(stage_discard(folder, "x/../.f.filedup-abc123", 1, 1, &error));
    CU_ASSERT_EQUAL(count_files(), 2);
}

static void
links_folders_and_devices_are_not_replaced(void)
{
    g_auto(Fd) folder = open_folder();
    g_autofree char *link = unit_path("link"), *sub = unit_path("sub"), *fifo = unit_path("fifo");
    static const char *const names[] = {"link", "sub", "fifo"};

    CU_ASSERT_EQUAL(symlink("elsewhere", link), 0);
    CU_ASSERT_EQUAL(mkdir(sub, 0700) | mkfifo(fifo, 0600), 0);
    for (gsize i = 0; i < G_N_ELEMENTS(names); i++) {
        g_autoptr(GError) error = NULL;
        g_auto(Swapped) swapped = {0};
        CU_ASSERT_FALSE(publish(folder, names[i], "new", &swapped, &error));
        CU_ASSERT_TRUE(g_error_matches(error, FILEDUP_ERROR, FILEDUP_ERROR_REFUSED));
    }
    CU_ASSERT_EQUAL(count_files(), 3);
}

static void
a_name_of_the_greatest_length_has_room_for_the_temporary_one(void)
{
    g_autoptr(GError) error = NULL;
    g_auto(Fd) folder = open_folder();
    g_autofree char *name = g_strnfill(255, 'x');
    g_autofree char *path = unit_path(name);

    for (gsize i = 1; i < 255; i += 2)
        name[i] = '\xff'; /* bytes, not characters */
    g_free(path);
    path = unit_path(name);
    unit_write(path, "old", 3);
    g_auto(Swapped) swapped = {0};
    CU_ASSERT_TRUE(publish(folder, name, "new", &swapped, &error));
    UNIT_NO_ERROR(error);
    CU_ASSERT_EQUAL(strlen(swapped.name), 255);
    assert_file(name, "new");
    assert_file(swapped.name, "old");
}

/* Meanwhile another process exchanges the file for a link, a folder and nothing: whatever is
 * published, they are never replaced nor removed. */
static void
a_race_for_the_name_loses_nothing(void)
{
    g_auto(Fd) folder = open_folder();
    g_autofree char *path = unit_path("file"), *link = unit_path("link");
    char target[64];

    unit_write(path, "old", 3);
    CU_ASSERT_EQUAL(symlink("elsewhere", link), 0);
    pid_t pid = fork();
    if (pid == 0)
        for (;;)
            (void) renameat2(AT_FDCWD, path, AT_FDCWD, link, RENAME_EXCHANGE);
    for (int i = 0; i < 300; i++) {
        g_auto(Swapped) swapped = {0};
        if (publish(folder, "file", "new", &swapped, NULL) && swapped.name)
            CU_ASSERT_TRUE(stage_discard(folder, swapped.name, swapped.dev, swapped.ino, NULL));
    }
    kill(pid, SIGKILL);
    waitpid(pid, NULL, 0);
    gssize n = readlink(link, target, sizeof target);
    if (n < 0)
        n = readlink(path, target, sizeof target);
    CU_ASSERT_EQUAL(n, 9);
    CU_ASSERT_EQUAL(count_files(), 2);
}

static const UnitTest tests[] = {
    UNIT_TEST(what_is_not_published_leaves_nothing),
    UNIT_TEST(a_free_name_is_taken),
    UNIT_TEST(what_was_there_is_kept_under_the_swapped_name),
    UNIT_TEST(only_the_very_inode_is_discarded),
    UNIT_TEST(links_folders_and_devices_are_not_replaced),
    UNIT_TEST(a_name_of_the_greatest_length_has_room_for_the_temporary_one),
    UNIT_TEST(a_race_for_the_name_loses_nothing),
};
UNIT_MAIN("stage", tests)
