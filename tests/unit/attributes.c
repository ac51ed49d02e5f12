/* attributes.c - tests of extended attributes, owner, mode and times */

#include "config.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <sys/xattr.h>
#include <unistd.h>

#include "base/fd.h"
#include "base/principal.h"
#include "copy/attributes.h"
#include "tests/unit/unit.h"

#define NOBODY 65534

/* user::rw-, user:65534:r--, group::r--, mask::r--, other::--- */
static const guint8 acl[] = {2,    0,    0,    0,    1,    0,    6,    0,    0xff, 0xff, 0xff,
                             0xff, 2,    0,    4,    0,    0xfe, 0xff, 0,    0,    4,    0,
                             4,    0,    0xff, 0xff, 0xff, 0xff, 0x10, 0,    4,    0,    0xff,
                             0xff, 0xff, 0xff, 0x20, 0,    0,    0,    0xff, 0xff, 0xff, 0xff};

static int
open_new(const char *name)
{
    g_autofree char *path = unit_path(name);
    int fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0600);

    CU_ASSERT_FATAL(fd >= 0);
    return fd;
}

static gboolean
have_user_attributes(int fd)
{
    if (fsetxattr(fd, "user.probe", "", 0, 0) == 0 && fremovexattr(fd, "user.probe") == 0)
        return TRUE;
    unit_skip("no user attributes in the temporary folder");
    return FALSE;
}

static GBytes *
read_blob(int fd)
{
    g_autoptr(GError) error = NULL;
    GBytes *blob = attributes_read(fd, NULL, &error);

    UNIT_NO_ERROR(error);
    return blob;
}

static void
equal_attributes_give_equal_bytes(void)
{
    g_auto(Fd) a = open_new("a"), b = open_new("b");

    if (!have_user_attributes(a))
        return;
    CU_ASSERT_EQUAL(fsetxattr(a, "user.one", "1", 1, 0) | fsetxattr(a, "user.two", "", 0, 0), 0);
    CU_ASSERT_EQUAL(fsetxattr(b, "user.two", "", 0, 0) | fsetxattr(b, "user.one", "1", 1, 0), 0);
    g_autoptr(GBytes) blob_a = read_blob(a), blob_b = read_blob(b);
    CU_ASSERT_TRUE(g_bytes_equal(blob_a, blob_b));
    CU_ASSERT_EQUAL(fsetxattr(b, "user.one", "2", 1, 0), 0);
    g_autoptr(GBytes) other = read_blob(b);
    CU_ASSERT_FALSE(g_bytes_equal(blob_a, other));
}

static void
a_file_without_attributes_has_an_empty_blob(void)
{
    g_auto(Fd) fd = open_new("a");
    g_autoptr(GBytes) blob = read_blob(fd);

    CU_ASSERT_EQUAL(g_bytes_get_size(blob), 0);
}

static void
attributes_acl_mode_owner_and_times_make_the_round_trip(void)
{
    g_auto(Fd) a = open_new("a"), b = open_new("b");
    g_autofree char *problems = NULL;
    guint8 bytes[300];
    FileStat stat, got;

    if (!have_user_attributes(a))
        return;
    for (gsize i = 0; i < sizeof bytes; i++)
        bytes[i] = (guint8) i;
    CU_ASSERT_EQUAL(fsetxattr(a, "user.binary", bytes, sizeof bytes, 0), 0);
    CU_ASSERT_EQUAL(fsetxattr(a, "user.bad\xff", "x", 1, 0), 0);
    gboolean has_acl = fsetxattr(a, "system.posix_acl_access", acl, sizeof acl, 0) == 0;
    if (!has_acl)
        unit_skip("no ACLs in the temporary folder");
    if (geteuid() == 0)
        CU_ASSERT_EQUAL(fchown(a, NOBODY, NOBODY) | fchmod(a, 04640), 0);
    struct timespec times[2] = {{.tv_nsec = UTIME_OMIT}, {.tv_sec = -5, .tv_nsec = 123456789}};
    CU_ASSERT_EQUAL(futimens(a, times), 0);
    CU_ASSERT_EQUAL(filestat_read(a, "", &stat), 0);

    CU_ASSERT_EQUAL(fsetxattr(b, "user.stale", "x", 1, 0), 0); /* must go */
    g_autoptr(GBytes) blob = read_blob(a);
    attributes_apply(b, &stat, blob, TRUE, &problems);
    CU_ASSERT_PTR_NULL(problems);
    CU_ASSERT_EQUAL(filestat_read(b, "", &got), 0);
    CU_ASSERT_EQUAL(got.mode, stat.mode);
    CU_ASSERT_EQUAL(got.uid, stat.uid);
    CU_ASSERT_EQUAL(got.gid, stat.gid);
    CU_ASSERT_EQUAL(got.mtime_ns, stat.mtime_ns);
    g_autoptr(GBytes) again = read_blob(b);
    CU_ASSERT_TRUE(g_bytes_equal(blob, again));
    CU_ASSERT_EQUAL(fgetxattr(b, "user.stale", NULL, 0), -1);
}

static void
set_uid_and_foreign_owners_are_for_root_only(void)
{
    g_auto(Fd) a = open_new("a");
    g_autofree char *problems = NULL;
    g_autoptr(GBytes) none = g_bytes_new_static("", 0);
    FileStat stat, got;

    CU_ASSERT_EQUAL(filestat_read(a, "", &stat), 0);
    stat.mode = S_IFREG | 06755;
    stat.uid += 1;
    attributes_apply(a, &stat, none, FALSE, &problems);
    CU_ASSERT_PTR_NOT_NULL_FATAL(problems);
    CU_ASSERT_PTR_NOT_NULL(strstr(problems, "owner"));
    CU_ASSERT_PTR_NOT_NULL(strstr(problems, "set-uid"));
    CU_ASSERT_EQUAL(filestat_read(a, "", &got), 0);
    CU_ASSERT_EQUAL(got.mode, S_IFREG | 0755);
    CU_ASSERT_EQUAL(got.uid, stat.uid - 1);
}

static void
a_user_gets_no_set_uid_file_even_when_called_privileged(void)
{
    g_auto(Fd) a = open_new("a");
    g_autoptr(GBytes) none = g_bytes_new_static("", 0);
    FileStat stat, got;

    if (geteuid() != 0) {
        unit_skip("only root can become another user");
        return;
    }
    CU_ASSERT_EQUAL(filestat_read(a, "", &stat), 0);
    stat.mode = S_IFREG | 04755; /* root's */
    CU_ASSERT_EQUAL(fchown(a, NOBODY, NOBODY), 0);
    pid_t pid = fork();
    if (pid == 0) {
        if (!principal_become(NOBODY, NULL))
            _exit(1);
        attributes_apply(a, &stat, none, TRUE, NULL);
        _exit(0);
    }
    int status;
    waitpid(pid, &status, 0);
    CU_ASSERT_EQUAL(status, 0);
    CU_ASSERT_EQUAL(filestat_read(a, "", &got), 0);
    CU_ASSERT_EQUAL(got.mode, S_IFREG | 0755);
}

static void
too_many_attributes_are_left_out_with_a_note(void)
{
    g_auto(Fd) a = open_new("a");
    g_autofree char *note = NULL, *value = g_malloc0(3000);
    guint set = 0;

    if (!have_user_attributes(a))
        return;
    for (guint i = 0; i < 40; i++) {
        g_autofree char *name = g_strdup_printf("user.many%u", i);
        set += fsetxattr(a, name, value, 3000, 0) == 0;
    }
    if (set * 3000 < 48 * 1024) {
        unit_skip("this file system takes few attributes");
        return;
    }
    g_autoptr(GBytes) blob = attributes_read(a, &note, NULL);
    CU_ASSERT_PTR_NOT_NULL(note);
    CU_ASSERT_TRUE(g_bytes_get_size(blob) <= 48 * 1024);
}

static void
a_malformed_blob_is_a_problem_and_no_crash(void)
{
    g_auto(Fd) a = open_new("a");
    g_autoptr(GBytes) junk = g_bytes_new_static("\xff\x00junk\xfe\xff\xff", 9);
    g_autofree char *problems = NULL;
    FileStat stat;

    CU_ASSERT_EQUAL(filestat_read(a, "", &stat), 0);
    attributes_apply(a, &stat, junk, TRUE, &problems);
    CU_ASSERT_PTR_NOT_NULL(problems);
}

static const UnitTest tests[] = {
    UNIT_TEST(equal_attributes_give_equal_bytes),
    UNIT_TEST(a_file_without_attributes_has_an_empty_blob),
    UNIT_TEST(attributes_acl_mode_owner_and_times_make_the_round_trip),
    UNIT_TEST(set_uid_and_foreign_owners_are_for_root_only),
    UNIT_TEST(a_user_gets_no_set_uid_file_even_when_called_privileged),
    UNIT_TEST(too_many_attributes_are_left_out_with_a_note),
    UNIT_TEST(a_malformed_blob_is_a_problem_and_no_crash),
};
UNIT_MAIN("attributes", tests)
