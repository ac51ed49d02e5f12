/* principal.c - tests of becoming a user completely */

#include "config.h"

#include <errno.h>
#include <fcntl.h>
#include <grp.h>
#include <linux/capability.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/error.h"
#include "base/fd.h"
#include "base/principal.h"
#include "tests/unit/unit.h"

#define NOBODY 65534
#define GROUP  12345

/* Runs the check in a process that was root with an extra group and has become nobody. */
static void
assert_as_nobody(gboolean (*check)(void))
{
    const gid_t groups[] = {0, GROUP};
    int status;

    if (geteuid() != 0) {
        unit_skip("only root can become another user");
        return;
    }
    CU_ASSERT_EQUAL(chmod(unit_folder(), 0755), 0);
    pid_t pid = fork();
    if (pid == 0) {
        if (setgroups(2, groups) < 0)
            _exit(3);
        if (!principal_become(NOBODY, NULL))
            _exit(2);
        _exit(check() ? 0 : 1);
    }
    waitpid(pid, &status, 0);
    CU_ASSERT_EQUAL(status, 0);
}

static gboolean
is_denied(const char *name, int flags)
{
    g_autofree char *path = unit_path(name);
    g_auto(Fd) fd = open(path, flags | O_CLOEXEC);

    return fd < 0 && errno == EACCES;
}

static gboolean
secrets_are_denied(void)
{
    return is_denied("secret", O_RDONLY) && is_denied("secret", O_WRONLY) &&
           is_denied("group", O_RDONLY);
}

static void
roots_files_and_groups_are_left_behind(void)
{
    g_autofree char *secret = unit_path("secret"), *group = unit_path("group");

    unit_write(secret, "x", 1);
    unit_write(group, "x", 1);
    CU_ASSERT_EQUAL(chmod(secret, 0600), 0);
    if (geteuid() == 0)
        CU_ASSERT_EQUAL(chown(group, 0, GROUP) | chmod(group, 0640), 0);
    assert_as_nobody(secrets_are_denied);
}

static guint64
capability_set(const char *key)
{
    g_autofree char *text = NULL;

    g_file_get_contents("/proc/self/status", &text, NULL, NULL);
    const char *at = text ? strstr(text, key) : NULL;
    return at ? g_ascii_strtoull(at + strlen(key), NULL, 16) : G_MAXUINT64;
}

static gboolean
only_leases_are_left(void)
{
    const guint64 lease = G_GUINT64_CONSTANT(1) << CAP_LEASE;

    return (capability_set("CapEff:\t") & ~lease) == 0 &&
           (capability_set("CapPrm:\t") & ~lease) == 0 && capability_set("CapInh:\t") == 0 &&
           capability_set("CapAmb:\t") == 0;
}

static void
no_capability_is_left_but_the_one_for_leases(void)
{
    assert_as_nobody(only_leases_are_left);
}

static gboolean
root_is_out_of_reach(void)
{
    return setuid(0) < 0 && setgid(0) < 0 && setgroups(0, NULL) < 0 && geteuid() == NOBODY &&
           !principal_become(0, NULL);
}

static void
there_is_no_way_back(void)
{
    assert_as_nobody(root_is_out_of_reach);
}

static void
a_uid_without_an_account_is_refused(void)
{
    int status;

    if (geteuid() != 0) {
        unit_skip("only root can become another user");
        return;
    }
    pid_t pid = fork();
    if (pid == 0) {
        g_autoptr(GError) error = NULL;
        gboolean became = principal_become(3999999999u, &error);
        _exit(!became && g_error_matches(error, FILEDUP_ERROR, FILEDUP_ERROR_REFUSED) &&
                      geteuid() == 0
                  ? 0
                  : 1);
    }
    waitpid(pid, &status, 0);
    CU_ASSERT_EQUAL(status, 0);
}

static void
being_that_user_already_changes_nothing(void)
{
    g_autoptr(GError) error = NULL;

    CU_ASSERT_TRUE(principal_become(geteuid(), &error));
    UNIT_NO_ERROR(error);
    g_autofree char *text = principal_describe(0), *unknown = principal_describe(3999999999u);
    CU_ASSERT_STRING_EQUAL(text, "root (0)");
    CU_ASSERT_STRING_EQUAL(unknown, "uid 3999999999");
}

static const UnitTest tests[] = {
    UNIT_TEST(roots_files_and_groups_are_left_behind),
    UNIT_TEST(no_capability_is_left_but_the_one_for_leases),
    UNIT_TEST(there_is_no_way_back),
    UNIT_TEST(a_uid_without_an_account_is_refused),
    UNIT_TEST(being_that_user_already_changes_nothing),
};
UNIT_MAIN("principal", tests)
