/* access.c - permission decisions, all in one place */

#include "config.h"

#include <grp.h>
#include <pwd.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/error.h"
#include "base/principal.h"
#include "daemon/access.h"

gboolean
access_may_use(uid_t caller, const Row *row, GError **error)
{
    if (caller == 0 || caller == row->principal)
        return TRUE;
    g_autofree char *owner = principal_describe(row->principal);
    return throw_error(error, FILEDUP_ERROR_DENIED,
                       "its row was registered by %s: only that user and root may use it", owner);
}

static gboolean
is_member(uid_t uid, gid_t gid)
{
    struct passwd account, *found = NULL;
    char buffer[16384];
    gid_t groups[1024];
    int n = (int) G_N_ELEMENTS(groups);

    if (getpwuid_r(uid, &account, buffer, sizeof buffer, &found) != 0 || !found)
        return FALSE;
    if (getgrouplist(account.pw_name, account.pw_gid, groups, &n) < 0)
        return FALSE;
    for (int i = 0; i < n; i++)
        if (groups[i] == gid)
            return TRUE;
    return FALSE;
}

gboolean
access_may_read(uid_t caller, const FileStat *stat, GError **error)
{
    guint bit = caller == stat->uid ? S_IRUSR : is_member(caller, stat->gid) ? S_IRGRP : S_IROTH;

    if (caller == 0 || (stat->mode & bit))
        return TRUE;
    return throw_error(error, FILEDUP_ERROR_DENIED,
                       "the backed-up file belonged to uid %u with mode %04o: you could not have "
                       "read it; ask root",
                       stat->uid, stat->mode & 07777);
}

gboolean
access_may_manage(uid_t caller, gboolean system, GError **error)
{
    if (caller == 0 || (!system && caller == getuid()))
        return TRUE;
    return throw_error(error, FILEDUP_ERROR_DENIED,
                       system ? "only root may do this" : "only the daemon's own user may do this");
}
