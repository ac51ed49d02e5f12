#pragma once

/* Roles: the processes that filedupd starts by re-executing itself. */

#include <glib.h>
#include <sys/types.h>

#include "base/message.h"

G_BEGIN_DECLS

typedef enum { ROLE_WATCHER, ROLE_COPIER, ROLE_KEEPER, ROLE_COUNT } RoleKind;

const char *role_name(RoleKind kind);

/* What a role is told on its command line. */
typedef struct RoleArgs {
    RoleKind    kind;
    uid_t       principal;    /* watcher, copier: become this user completely         */
    const char *store_path;   /* keeper                                                */
    const char *store_uuid;   /* keeper: the store that must be there ("" when made)   */
    gboolean    store_create; /* keeper: make it                                       */
    gboolean    system;       /* system mode: owners of folders above are checked      */
} RoleArgs;

/* Starts the role. The child's end of the socket pair is its descriptor 3; standard error is shared.
 * The caller watches the pid (g_child_watch_add) and attaches the channel. */
gboolean role_spawn(const RoleArgs *args, pid_t *ret_pid, Channel **ret_channel, GError **error);

/* In the child: TRUE if argv says that this process is a role (--role=...). Exits with 2 on bad
 * arguments. The strings live as long as argv. */
gboolean role_parse(int argc, char **argv, RoleArgs *ret_args);

/* In the child, first thing: ties its life to the parent's (also again after a switch of user),
 * ignores SIGINT, SIGHUP, SIGPIPE and SIGIO, makes itself non-dumpable, takes the channel. Exits if
 * the parent is gone. */
Channel *role_begin(const RoleArgs *args);
void     role_tie_to_parent(void);

/* The roles. Each returns the process's exit status. */
int watcher_main(const RoleArgs *args, Channel *channel);
int copier_main(const RoleArgs *args, Channel *channel);
int keeper_main(const RoleArgs *args, Channel *channel);

G_END_DECLS
