/* filestat.c - reading, comparing and carrying a file's statx */

#include "config.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/statfs.h>
#include <sys/sysmacros.h>
#include <unistd.h>

#include "base/fd.h"
#include "base/filestat.h"

static gint64
ns(const struct statx_timestamp *t)
{
    return t->tv_sec * G_GINT64_CONSTANT(1000000000) + t->tv_nsec;
}

/* f_fsid comes from the UUID on ext4 and btrfs, from the device number on xfs. The type keeps tmpfs
 * and a disk apart. (FS_IOC_GETFSUUID would be better, but needs a readable descriptor: the answer
 * must not depend on what the caller may open.) */
static guint64
read_fsid(int dirfd, const char *name)
{
    struct statfs fs;
    guint64 id;
    g_auto(Fd) fd = -1;

    if (name[0] && (fd = openat(dirfd, name, O_PATH | O_NOFOLLOW | O_CLOEXEC)) < 0)
        return 0;
    if (fstatfs(name[0] ? fd : dirfd, &fs) < 0)
        return 0;
    memcpy(&id, &fs.f_fsid, sizeof id);
    return id ^ ((guint64) fs.f_type << 32);
}

int
filestat_read(int dirfd, const char *name, FileStat *ret_stat)
{
    struct statx st;

    if (statx(dirfd, name, AT_SYMLINK_NOFOLLOW | (name[0] ? 0 : AT_EMPTY_PATH),
              STATX_BASIC_STATS | STATX_BTIME, &st) < 0)
        return -1;
    *ret_stat = (FileStat){
        .dev = makedev(st.stx_dev_major, st.stx_dev_minor),
        .ino = st.stx_ino,
        .mode = st.stx_mode,
        .uid = st.stx_uid,
        .gid = st.stx_gid,
        .nlink = st.stx_nlink,
        .size_bytes = st.stx_size,
        .mtime_ns = ns(&st.stx_mtime),
        .ctime_ns = ns(&st.stx_ctime),
        .btime_ns = st.stx_mask & STATX_BTIME ? ns(&st.stx_btime) : 0,
        .fsid = read_fsid(dirfd, name),
    };
    return 0;
}

gboolean
filestat_unchanged(const FileStat *a, const FileStat *b, gboolean same_boot)
{
    return a->ino == b->ino && a->size_bytes == b->size_bytes && a->mtime_ns == b->mtime_ns &&
           a->ctime_ns == b->ctime_ns && a->mode == b->mode && a->fsid == b->fsid &&
           (!same_boot || a->dev == b->dev);
}

GVariant *
filestat_to_variant(const FileStat *s)
{
    return g_variant_new(FILESTAT_TYPE, s->dev, s->ino, s->mode, s->uid, s->gid, s->nlink,
                         s->size_bytes, s->mtime_ns, s->ctime_ns, s->btime_ns, s->fsid);
}

void
filestat_from_variant(GVariant *value, FileStat *s)
{
    g_variant_get(value, FILESTAT_TYPE, &s->dev, &s->ino, &s->mode, &s->uid, &s->gid, &s->nlink,
                  &s->size_bytes, &s->mtime_ns, &s->ctime_ns, &s->btime_ns, &s->fsid);
}
