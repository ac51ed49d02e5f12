#pragma once

/* Source: a protected file, opened so that nothing but that file is opened, and read in extents. */

#include <glib.h>

#include "base/fd.h"
#include "base/filestat.h"

G_BEGIN_DECLS

/* The folder, no symbolic link anywhere on the way: -1 with errno. Good for openat and statx, also
 * where the principal may not list it. */
int source_open_folder(const char *folder);

/* What lies under the name, not opened (O_PATH), and what it is: -1 with errno. */
int source_look(int folder_fd, const char *name, FileStat *ret_stat);

/* "a symbolic link", "a folder", ...; NULL for a regular file. */
const char *source_irregular(guint32 mode);

/* Opens the very inode that source_look saw, without waiting: -1 with errno. It must be regular. */
int source_open(int look_fd, int flags);

/* A clone of it without a name, in that folder: one moment of what the page cache has, and no copy of
 * bytes. -1 with errno where the file system cannot, or the folder may not be written. */
int source_clone(const char *folder, int fd);

/* The next run of bytes that are no hole, from offset and before size_bytes: FALSE if there are only
 * holes. Where the file system does not tell, everything is data. */
gboolean source_next_data(int fd, guint64 offset, guint64 size_bytes, guint64 *ret_start,
                          guint64 *ret_end);

/* After a read error: the first 4 KiB block at or after offset that cannot be read. */
guint64 source_bad_offset(int fd, guint64 offset, guint64 end);

G_END_DECLS
