/* fd.c - tests of descriptors and sealed memory */

#include "config.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/error.h"
#include "base/fd.h"
#include "tests/unit/unit.h"

static void
bytes_make_the_round_trip_through_sealed_memory(void)
{
    g_autoptr(GError) error = NULL;
    g_auto(Fd) fd = fd_from_bytes("test", "hello", 5, &error);

    UNIT_NO_ERROR(error);
    CU_ASSERT_TRUE(fd_is_sealed(fd));
    g_autoptr(GBytes) bytes = fd_to_bytes(fd, 5, &error);
    UNIT_NO_ERROR(error);
    CU_ASSERT_EQUAL(g_bytes_get_size(bytes), 5);
    CU_ASSERT_EQUAL(memcmp(g_bytes_get_data(bytes, NULL), "hello", 5), 0);
    CU_ASSERT_EQUAL(pwrite(fd, "x", 1, 0), -1);
    CU_ASSERT_EQUAL(ftruncate(fd, 0), -1);
    g_auto(Fd) empty = fd_from_bytes("test", "", 0, &error);
    g_autoptr(GBytes) none = fd_to_bytes(empty, 0, &error);
    UNIT_NO_ERROR(error);
    CU_ASSERT_EQUAL(g_bytes_get_size(none), 0);
}

static void
what_is_not_sealed_or_too_large_is_refused(void)
{
    g_autoptr(GError) error = NULL;
    g_autofree char *path = unit_path("file");

    g_auto(Fd) open_fd = fd_memfd("test", &error);
    CU_ASSERT_PTR_NULL(fd_to_bytes(open_fd, 5, &error));
    CU_ASSERT_TRUE(g_error_matches(error, FILEDUP_ERROR, FILEDUP_ERROR_REFUSED));
    g_clear_error(&error);
    g_auto(Fd) six = fd_from_bytes("test", "longer", 6, &error);
    CU_ASSERT_PTR_NULL(fd_to_bytes(six, 5, &error));
    g_clear_error(&error);
    unit_write(path, "x", 1);
    g_auto(Fd) file = open(path, O_RDONLY | O_CLOEXEC);
    CU_ASSERT_PTR_NULL(fd_to_bytes(file, 5, &error));
}

static void
a_short_file_is_an_error_for_full_reads_only(void)
{
    g_autofree char *path = unit_path("file");
    char buffer[10];

    unit_write(path, "hello", 5);
    g_auto(Fd) fd = open(path, O_RDWR | O_CLOEXEC);
    CU_ASSERT_TRUE(fd_pread_full(fd, buffer, 5, 0));
    CU_ASSERT_FALSE(fd_pread_full(fd, buffer, 6, 0));
    CU_ASSERT_EQUAL(errno, ENODATA);
    CU_ASSERT_EQUAL(fd_pread_most(fd, buffer, 10, 2), 3);
    CU_ASSERT_EQUAL(fd_pread_most(fd, buffer, 10, 100), 0);
    CU_ASSERT_TRUE(fd_pwrite_full(fd, "J", 1, 0));
    CU_ASSERT_EQUAL(fd_pread_most(-1, buffer, 1, 0), -1);
}

static void
clearing_keeps_errno_and_stealing_leaves_nothing(void)
{
    Fd fd = open("/dev/null", O_RDONLY | O_CLOEXEC);
    Fd stolen = fd_steal(&fd);

    CU_ASSERT_EQUAL(fd, -1);
    errno = ELOOP;
    fd_clear(stolen);
    CU_ASSERT_EQUAL(errno, ELOOP);
    CU_ASSERT_EQUAL(fcntl(stolen, F_GETFD), -1);
    fd_clear(-1);
}

static void
folders_are_synced_by_name(void)
{
    g_autoptr(GError) error = NULL;

    CU_ASSERT_TRUE(fd_sync_folder(AT_FDCWD, unit_folder(), &error));
    g_auto(Fd) folder = open(unit_folder(), O_PATH | O_DIRECTORY | O_CLOEXEC);
    CU_ASSERT_TRUE(fd_sync_folder(folder, ".", &error));
    UNIT_NO_ERROR(error);
    CU_ASSERT_FALSE(fd_sync_folder(folder, "nowhere", &error));
}

static const UnitTest tests[] = {
    UNIT_TEST(bytes_make_the_round_trip_through_sealed_memory),
    UNIT_TEST(what_is_not_sealed_or_too_large_is_refused),
    UNIT_TEST(a_short_file_is_an_error_for_full_reads_only),
    UNIT_TEST(clearing_keeps_errno_and_stealing_leaves_nothing),
    UNIT_TEST(folders_are_synced_by_name),
};
UNIT_MAIN("fd", tests)
