#pragma once

/* FileStat: what filedup remembers of a file's inode, and how it tells that nothing moved. */

#include <glib.h>

G_BEGIN_DECLS

typedef struct FileStat {
    guint64 dev;  /* as st_dev: holds within one boot only */
    guint64 ino;
    guint32 mode; /* type and permission bits */
    guint32 uid, gid;
    guint32 nlink;
    guint64 size_bytes;
    gint64  mtime_ns, ctime_ns; /* since the epoch */
    gint64  btime_ns;           /* 0 where the file system has none */
    guint64 fsid;               /* of the file system, stable over boots where it has a UUID */
} FileStat;

#define FILESTAT_TYPE "(ttuuuutxxxt)"

/* By statx; -1 with errno. `name` may be "" with AT_EMPTY_PATH semantics (dirfd itself).
 * Symbolic links are not followed. */
int filestat_read(int dirfd, const char *name, FileStat *ret_stat);

/* No sign of a change between two reads: same inode, size, mtime, ctime. (Not a proof: a change
 * within one clock tick moves nothing.) Compares dev too only if `same_boot`. */
gboolean filestat_unchanged(const FileStat *a, const FileStat *b, gboolean same_boot);

/* Floating GVariant of FILESTAT_TYPE, and back. */
GVariant *filestat_to_variant(const FileStat *stat);
void      filestat_from_variant(GVariant *value, FileStat *ret_stat);

G_END_DECLS
