#pragma once

/* Attributes: extended attributes and ACLs as one blob; owner, mode and times come from FileStat. */

#include <glib.h>

#include "base/filestat.h"

G_BEGIN_DECLS

/* All extended attributes that the process may read (ACLs are among them as system.posix_acl_*), as
 * a serialised GVariant a(ayay) sorted by name: equal attributes give equal bytes. At most 48 KiB
 * together: what is over is left out, and *ret_note says so (else NULL). */
GBytes *attributes_read(int fd, char **ret_note, GError **error);

/* Gives fd the owner, mode, extended attributes and times of (stat, blob). `privileged` (root's
 * rows): also foreign owners, set-uid and set-gid bits, security.* and trusted.*. What could not be
 * set is named in *ret_problems (NULL if nothing); it is no error. Times are set last. */
void attributes_apply(int fd, const FileStat *stat, GBytes *blob, gboolean privileged,
                      char **ret_problems);

G_END_DECLS
