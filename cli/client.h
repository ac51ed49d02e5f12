#pragma once

/* Client: the connection to a daemon. */

#include <glib.h>

#include "cli/option.h"
#include "daemon/manager1.h"

G_BEGIN_DECLS

typedef struct Client Client;

/* Which daemon: --socket, --user or --system; else what FILEDUP_SOCKET names; else the user's own if
 * it runs, else the system's, said on stderr. CLI_ERROR_NO_DAEMON (with a remedy) if there is
 * none. */
Client *client_open(const Options *options, GError **error);
void    client_close(Client *c);
G_DEFINE_AUTOPTR_CLEANUP_FUNC(Client, client_close)

FiledupManager1 *client_manager(Client *c);

/* Something asked of one row. */
typedef gboolean (*ClientCall)(FiledupManager1 *manager, const char *path, gpointer data,
                               GError **error);

/* Makes the call with each path that the operand may mean, until the daemon knows the row.
 * *ret_path is set also on an error (to the likeliest), NULL if there is none. */
gboolean client_call(Client *c, const char *operand, ClientCall call, gpointer data,
                     char **ret_path, GError **error);

/* Where a daemon listens. */
char *client_user_socket(void);
char *client_system_socket(void);

G_END_DECLS
