#pragma once

/* Principal: the user on whose behalf a role touches files. */

#include <glib.h>
#include <sys/types.h>

G_BEGIN_DECLS

/* Makes this process that user completely: supplementary groups, gid, uid (real, effective, saved),
 * and no capability left but, for a user other than root, CAP_LEASE where we had it (it opens
 * nothing). Does nothing where we are that user already and not root. A user without an account is
 * refused. Irreversible. */
gboolean principal_become(uid_t uid, GError **error);

/* "name (uid)" for people. */
char *principal_describe(uid_t uid);

G_END_DECLS
