/* principal.c - becoming a user, completely
 *
 * setfsuid alone would not do: supplementary groups and capabilities still open files. The order is
 * groups, gid, uid; keepcaps carries CAP_LEASE over, everything else is dropped, and what was done
 * is read back, because a half switch would open root's files for a user.
 */

#include "config.h"

#include <errno.h>
#include <grp.h>
#include <linux/capability.h>
#include <pwd.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "base/error.h"
#include "base/principal.h"

/* Without libcap: two system calls with a stable ABI. */
static gboolean
capabilities_limit(guint32 low)
{
    struct __user_cap_header_struct header = {.version = _LINUX_CAPABILITY_VERSION_3};
    struct __user_cap_data_struct now[2] = {0}, data[2] = {0}, left[2] = {0};

    if (syscall(SYS_capget, &header, now) < 0)
        return FALSE;
    data[0].permitted = data[0].effective = now[0].permitted & low;
    if (syscall(SYS_capset, &header, data) < 0 || syscall(SYS_capget, &header, left) < 0)
        return FALSE;
    errno = EPERM;
    return memcmp(left, data, sizeof left) == 0;
}

static gboolean
switched_completely(uid_t uid, gid_t gid)
{
    uid_t r, e, s;
    gid_t gr, ge, gs;

    return getresuid(&r, &e, &s) == 0 && getresgid(&gr, &ge, &gs) == 0 && r == uid && e == uid &&
           s == uid && gr == gid && ge == gid && gs == gid;
}

gboolean
principal_become(uid_t uid, GError **error)
{
    struct passwd account, *found = NULL;
    char buffer[16384];

    if (geteuid() == uid)
        return TRUE; /* user mode, or root's own rows */
    if (geteuid() != 0)
        return throw_error(error, FILEDUP_ERROR_DENIED, "uid %u: only root can become another user",
                           uid);
    int failed = getpwuid_r(uid, &account, buffer, sizeof buffer, &found);
    if (!found)
        return throw_error(error, FILEDUP_ERROR_REFUSED, "uid %u has no account%s%s", uid,
                           failed ? ": " : "", failed ? g_strerror(failed) : "");

    if (prctl(PR_SET_KEEPCAPS, 1) < 0)
        return throw_errno(error, "prctl(PR_SET_KEEPCAPS)");
    if (initgroups(account.pw_name, account.pw_gid) < 0)
        return throw_errno(error, "initgroups for '%s'", account.pw_name);
    if (setresgid(account.pw_gid, account.pw_gid, account.pw_gid) < 0)
        return throw_errno(error, "setresgid to %u", account.pw_gid);
    if (setresuid(uid, uid, uid) < 0)
        return throw_errno(error, "setresuid to %u", uid);
    if (!capabilities_limit(1u << CAP_LEASE))
        return throw_errno(error, "dropping capabilities");
    (void) prctl(PR_SET_KEEPCAPS, 0);
    if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) < 0)
        return throw_errno(error, "prctl(PR_SET_NO_NEW_PRIVS)");
    if (!switched_completely(uid, account.pw_gid))
        return throw_error(error, FILEDUP_ERROR_FATAL, "uid %u: the switch was not complete", uid);
    (void) prctl(PR_SET_DUMPABLE, 0); /* nobody reads our descriptors through /proc */
    return TRUE;
}

char *
principal_describe(uid_t uid)
{
    struct passwd account, *found = NULL;
    char buffer[16384];

    (void) getpwuid_r(uid, &account, buffer, sizeof buffer, &found);
    return found ? g_strdup_printf("%s (%u)", found->pw_name, uid) : g_strdup_printf("uid %u", uid);
}
