#pragma once

/* Paths: bytes, not text. A path of a protected file travels as a folder and a name. */

#include <glib.h>

G_BEGIN_DECLS

/* Absolute, no "." or "..", no doubled or trailing slash (but "/" itself), shorter than PATH_MAX. */
gboolean path_is_canonical(const char *path);

/* "/etc/app.db" -> "/etc" and "app.db". The path must be canonical and not "/". */
void path_split(const char *path, char **ret_folder, char **ret_name);
char *path_join(const char *folder, const char *name);

/* `path` is `folder` or lies below it. Both canonical. */
gboolean path_is_beneath(const char *path, const char *folder);

/* For people: valid UTF-8 on one line; control characters, backslash and bytes that are no text
 * become \n, \t, \\ or \xNN. */
char *path_escape(const char *path);

/* A path as D-Bus and role messages carry it ("ay", with the final NUL), and back. NULL if the
 * bytes are not a NUL-terminated string. path_from_variant borrows from the variant. */
GVariant   *path_to_variant(const char *path);
const char *path_from_variant(GVariant *bytes);

/* openat2 with RESOLVE_NO_SYMLINKS, and RESOLVE_BENEATH unless dirfd is AT_FDCWD: -1 with errno.
 * No component of the path may be a symbolic link. */
int path_open(int dirfd, const char *path, int flags, guint mode);

G_END_DECLS
