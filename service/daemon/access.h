#pragma once

/* Access: who may do what with which row (DESIGN: root everything, others their own rows). */

#include <glib.h>
#include <sys/types.h>

#include "base/filestat.h"
#include "daemon/entry.h"

G_BEGIN_DECLS

/* Root, or the row's principal. DENIED otherwise. */
gboolean access_may_use(uid_t caller, const Row *row, GError **error);

/* The content's recorded owner and mode permit the caller to read it. */
gboolean access_may_read(uid_t caller, const FileStat *stat, GError **error);

/* Only root in system mode; the daemon's user in user mode. */
gboolean access_may_manage(uid_t caller, gboolean system, GError **error);

G_END_DECLS
