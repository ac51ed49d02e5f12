#pragma once

/* Sync: who waits until files are durable, and what they are told. */

#include <gio/gio.h>
#include <sys/types.h>

#include "daemon/manager.h"
#include "daemon/manager1.h"

G_BEGIN_DECLS

typedef struct Syncs Syncs;

Syncs *syncs_new(Manager *manager);
void   syncs_free(Syncs *syncs); /* answers that the daemon stops */

/* Answers the invocation when every file (path "" for all that the caller may use) is durable with
 * the content that it has now, or cannot be. */
void syncs_start(Syncs *syncs, FiledupManager1 *skeleton, GDBusMethodInvocation *invocation,
                 uid_t caller, const char *path);

/* An entry or a store changed its state: answers whoever waited for that. */
void syncs_settled(Syncs *syncs);

G_END_DECLS
