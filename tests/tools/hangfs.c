/* hangfs.c - a FUSE file system that hangs, or cannot read some bytes, when told to
 *
 * Usage: hangfs [FUSE options] SOURCE MOUNTPOINT
 *
 * Shows the folder SOURCE, and a control file `.ctl` in its top. One command a line:
 *
 *   hang                    from now on every access to a file but .ctl waits; a process that waits
 *                           cannot even be killed (D state), as with a dead disk
 *   hang killable           the same, but who is killed is let go, as with an interruptible mount
 *   go                      who waits goes on
 *   eio NAME OFFSET LENGTH  these bytes of NAME (a path below SOURCE) cannot be read: a read ends
 *                           short before them, and fails with EIO at them
 *   clear                   no bad bytes any more
 *
 * Reading .ctl gives "running" or "hanging", and how many requests wait, so that a test can await
 * the moment at which somebody hangs.
 *
 * Nothing is cached by the kernel, or a read would not get here. SIGTERM ends the process also
 * while requests wait: they fail. `fusermount3 -u` ends it when nobody has a file of it open, with
 * `-z` it is out of sight at once.
 */

#include "config.h"

#define FUSE_USE_VERSION 312

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <fuse.h>
#include <fuse_lowlevel.h>
#include <glib.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <sys/xattr.h>
#include <unistd.h>

#define CONTROL     "/.ctl"
#define LOOK_MSEC   20    /* how often one who waits looks whether it was killed */
#define MAX_THREADS "200" /* each request that waits has one */

typedef enum { RUNNING, HANGING, HANGING_KILLABLE } Mode;

typedef struct BadRange {
    char *path;
    off_t start, end;
} BadRange;

static int source_fd = -1;
static GMutex lock;
static GCond mode_changed;
static Mode mode;
static guint waiting;
static GArray *bad; /* of BadRange */

static int
result(int status)
{
    return status < 0 ? -errno : status;
}

/* 0, or a negative errno with which the request ends. */
static int
gate(const char *path)
{
    struct fuse_session *session = fuse_get_session(fuse_get_context()->fuse);
    int error = 0;

    if (g_str_equal(path, CONTROL) || g_str_equal(path, "/"))
        return 0;
    g_mutex_lock(&lock);
    waiting++;
    while (mode != RUNNING && error == 0) {
        gint64 look = g_get_monotonic_time() + LOOK_MSEC * G_TIME_SPAN_MILLISECOND;
        (void) g_cond_wait_until(&mode_changed, &lock, look);
        if (fuse_session_exited(session))
            error = -EIO;
        else if (mode == HANGING_KILLABLE && fuse_interrupted())
            error = -EINTR;
    }
    waiting--;
    g_mutex_unlock(&lock);
    return error;
}

/* Where `path` is below SOURCE. */
static const char *
below(const char *path)
{
    return path[1] ? path + 1 : ".";
}

static void
bad_clear(gpointer data)
{
    g_free(((BadRange *) data)->path);
}

static gboolean
command_eio(const char *arguments)
{
    g_autofree char *text = g_strdup(arguments);
    guint64 number[2];

    for (int i = 1; i >= 0; i--) { /* from the end: a name may have spaces */
        char *space = strrchr(text, ' ');
        if (!space ||
            !g_ascii_string_to_unsigned(space + 1, 10, 0, G_MAXINT64 / 2, &number[i], NULL))
            return FALSE;
        *space = '\0';
    }
    BadRange range = {g_strconcat("/", text, NULL), (off_t) number[0],
                      (off_t) (number[0] + number[1])};
    g_array_append_val(bad, range);
    return TRUE;
}

static gboolean
command(const char *line)
{
    if (g_str_equal(line, "hang"))
        mode = HANGING;
    else if (g_str_equal(line, "hang killable"))
        mode = HANGING_KILLABLE;
    else if (g_str_equal(line, "go"))
        mode = RUNNING;
    else if (g_str_has_prefix(line, "eio "))
        return command_eio(line + strlen("eio "));
    else if (g_str_equal(line, "clear"))
        g_array_set_size(bad, 0);
    else
        return line[0] == '\0';
    return TRUE;
}

static int
control_write(const char *data, size_t size)
{
    g_autofree char *text = g_strndup(data, size);
    g_auto(GStrv) lines = g_strsplit(text, "\n", -1);
    gboolean valid = TRUE;

    g_mutex_lock(&lock);
    for (char **line = lines; *line; line++)
        valid = command(*line) && valid;
    g_cond_broadcast(&mode_changed);
    g_mutex_unlock(&lock);
    return valid ? (int) size : -EINVAL;
}

static int
control_read(char *buffer, size_t size, off_t offset)
{
    g_mutex_lock(&lock);
    g_autofree char *text =
        g_strdup_printf("%s %u\n", mode == RUNNING ? "running" : "hanging", waiting);
    g_mutex_unlock(&lock);
    size_t length = strlen(text);
    if ((size_t) offset >= length)
        return 0;
    size = MIN(size, length - (size_t) offset);
    memcpy(buffer, text + offset, size);
    return (int) size;
}

/* How many of these bytes can be read: `size`, less, or 0 for a failure. */
static size_t
readable(const char *path, size_t size, off_t offset)
{
    g_mutex_lock(&lock);
    for (guint i = 0; i < bad->len; i++) {
        const BadRange *range = &g_array_index(bad, BadRange, i);
        if (!g_str_equal(range->path, path) || range->end <= offset)
            continue;
        if (range->start <= offset)
            size = 0;
        else if (range->start < offset + (off_t) size)
            size = (size_t) (range->start - offset);
    }
    g_mutex_unlock(&lock);
    return size;
}

static void *
hang_init(G_GNUC_UNUSED struct fuse_conn_info *connection, struct fuse_config *config)
{
    config->use_ino = 1;
    config->entry_timeout = config->attr_timeout = config->negative_timeout = 0;
    config->nullpath_ok = 0;
    config->hard_remove = 1;
    config->direct_io = 1;
    return NULL;
}

static int
hang_getattr(const char *path, struct stat *st, struct fuse_file_info *info)
{
    int error = gate(path);

    if (error)
        return error;
    if (g_str_equal(path, CONTROL)) {
        *st = (struct stat){.st_mode = S_IFREG | 0666, .st_nlink = 1};
        return 0;
    }
    if (info)
        return result(fstat((int) info->fh, st));
    return result(fstatat(source_fd, below(path), st, AT_SYMLINK_NOFOLLOW));
}

static int
hang_open(const char *path, struct fuse_file_info *info)
{
    int error = gate(path);

    if (error)
        return error;
    if (g_str_equal(path, CONTROL))
        return 0;
    int fd = openat(source_fd, below(path), (info->flags & ~O_DIRECT) | O_NOFOLLOW | O_CLOEXEC);
    info->fh = (guint64) fd;
    return fd < 0 ? -errno : 0;
}

static int
hang_create(const char *path, mode_t permissions, struct fuse_file_info *info)
{
    int error = gate(path);

    if (error)
        return error;
    int fd = openat(source_fd, below(path),
                    (info->flags & ~O_DIRECT) | O_CREAT | O_NOFOLLOW | O_CLOEXEC, permissions);
    info->fh = (guint64) fd;
    return fd < 0 ? -errno : 0;
}

static int
hang_read(const char *path, char *buffer, size_t size, off_t offset, struct fuse_file_info *info)
{
    int error = gate(path);

    if (error)
        return error;
    if (g_str_equal(path, CONTROL))
        return control_read(buffer, size, offset);
    size_t good = readable(path, size, offset);
    return good == 0 && size > 0 ? -EIO : result((int) pread((int) info->fh, buffer, good, offset));
}

static int
hang_write(const char *path, const char *data, size_t size, off_t offset,
           struct fuse_file_info *info)
{
    int error = gate(path);

    if (error)
        return error;
    if (g_str_equal(path, CONTROL))
        return control_write(data, size);
    return result((int) pwrite((int) info->fh, data, size, offset));
}

static int
hang_truncate(const char *path, off_t size, struct fuse_file_info *info)
{
    int error = gate(path);

    if (error || g_str_equal(path, CONTROL))
        return error;
    if (info)
        return result(ftruncate((int) info->fh, size));
    int fd = openat(source_fd, below(path), O_WRONLY | O_NOFOLLOW | O_CLOEXEC);
    if (fd < 0)
        return -errno;
    int done = result(ftruncate(fd, size));
    close(fd);
    return done;
}

static int
hang_release(const char *path, struct fuse_file_info *info)
{
    if (!g_str_equal(path, CONTROL))
        close((int) info->fh);
    return 0;
}

static int
hang_fsync(const char *path, int data_only, struct fuse_file_info *info)
{
    int error = gate(path);

    if (error || g_str_equal(path, CONTROL))
        return error;
    return result(data_only ? fdatasync((int) info->fh) : fsync((int) info->fh));
}

static int
hang_fsyncdir(const char *path, G_GNUC_UNUSED int data_only,
              G_GNUC_UNUSED struct fuse_file_info *info)
{
    int error = gate(path);

    if (error)
        return error;
    int fd = openat(source_fd, below(path), O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (fd < 0)
        return -errno;
    int done = result(fsync(fd));
    close(fd);
    return done;
}

static int
hang_readdir(const char *path, void *buffer, fuse_fill_dir_t fill, G_GNUC_UNUSED off_t offset,
             G_GNUC_UNUSED struct fuse_file_info *info, G_GNUC_UNUSED enum fuse_readdir_flags flags)
{
    struct dirent *entry;
    int error = gate(path);

    if (error)
        return error;
    int fd = openat(source_fd, below(path), O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    DIR *folder = fd < 0 ? NULL : fdopendir(fd);
    if (!folder)
        return -errno;
    while ((entry = readdir(folder)))
        fill(buffer, entry->d_name, NULL, 0, 0);
    closedir(folder);
    return 0;
}

static int
hang_mkdir(const char *path, mode_t permissions)
{
    int error = gate(path);

    return error ? error : result(mkdirat(source_fd, below(path), permissions));
}

static int
hang_unlink(const char *path)
{
    int error = gate(path);

    return error ? error : result(unlinkat(source_fd, below(path), 0));
}

static int
hang_rmdir(const char *path)
{
    int error = gate(path);

    return error ? error : result(unlinkat(source_fd, below(path), AT_REMOVEDIR));
}

static int
hang_rename(const char *from, const char *to, unsigned flags)
{
    int error = gate(from);

    return error ? error : result(renameat2(source_fd, below(from), source_fd, below(to), flags));
}

static int
hang_link(const char *from, const char *to)
{
    int error = gate(from);

    return error ? error : result(linkat(source_fd, below(from), source_fd, below(to), 0));
}

static int
hang_symlink(const char *target, const char *path)
{
    int error = gate(path);

    return error ? error : result(symlinkat(target, source_fd, below(path)));
}

static int
hang_readlink(const char *path, char *buffer, size_t size)
{
    int error = gate(path);

    if (error)
        return error;
    ssize_t n = readlinkat(source_fd, below(path), buffer, size - 1);
    if (n < 0)
        return -errno;
    buffer[n] = '\0';
    return 0;
}

static int
hang_chmod(const char *path, mode_t permissions, G_GNUC_UNUSED struct fuse_file_info *info)
{
    int error = gate(path);

    return error ? error : result(fchmodat(source_fd, below(path), permissions, 0));
}

static int
hang_chown(const char *path, uid_t uid, gid_t gid, G_GNUC_UNUSED struct fuse_file_info *info)
{
    int error = gate(path);

    return error ? error : result(fchownat(source_fd, below(path), uid, gid, AT_SYMLINK_NOFOLLOW));
}

static int
hang_utimens(const char *path, const struct timespec times[2],
             G_GNUC_UNUSED struct fuse_file_info *info)
{
    int error = gate(path);

    return error ? error : result(utimensat(source_fd, below(path), times, AT_SYMLINK_NOFOLLOW));
}

static int
hang_statfs(G_GNUC_UNUSED const char *path, struct statvfs *st)
{
    return result(fstatvfs(source_fd, st));
}

/* There are no xattr calls at a descriptor and a name: by /proc. */
static char *
source_path(const char *path)
{
    return g_strdup_printf("/proc/self/fd/%d/%s", source_fd, below(path));
}

static int
hang_getxattr(const char *path, const char *name, char *value, size_t size)
{
    int error = gate(path);

    if (error || g_str_equal(path, CONTROL))
        return error ? error : -ENODATA;
    g_autofree char *full = source_path(path);
    return result((int) lgetxattr(full, name, value, size));
}

static int
hang_setxattr(const char *path, const char *name, const char *value, size_t size, int flags)
{
    int error = gate(path);

    if (error || g_str_equal(path, CONTROL))
        return error ? error : -ENOTSUP;
    g_autofree char *full = source_path(path);
    return result(lsetxattr(full, name, value, size, flags));
}

static int
hang_listxattr(const char *path, char *list, size_t size)
{
    int error = gate(path);

    if (error || g_str_equal(path, CONTROL))
        return error;
    g_autofree char *full = source_path(path);
    return result((int) llistxattr(full, list, size));
}

static int
hang_removexattr(const char *path, const char *name)
{
    int error = gate(path);

    if (error || g_str_equal(path, CONTROL))
        return error ? error : -ENODATA;
    g_autofree char *full = source_path(path);
    return result(lremovexattr(full, name));
}

static const struct fuse_operations operations = {
    .chmod = hang_chmod,
    .chown = hang_chown,
    .create = hang_create,
    .fsync = hang_fsync,
    .fsyncdir = hang_fsyncdir,
    .getattr = hang_getattr,
    .getxattr = hang_getxattr,
    .init = hang_init,
    .link = hang_link,
    .listxattr = hang_listxattr,
    .mkdir = hang_mkdir,
    .open = hang_open,
    .read = hang_read,
    .readdir = hang_readdir,
    .readlink = hang_readlink,
    .release = hang_release,
    .removexattr = hang_removexattr,
    .rename = hang_rename,
    .rmdir = hang_rmdir,
    .setxattr = hang_setxattr,
    .statfs = hang_statfs,
    .symlink = hang_symlink,
    .truncate = hang_truncate,
    .unlink = hang_unlink,
    .utimens = hang_utimens,
    .write = hang_write,
};

/* The first word that is no option is ours, the second FUSE's. */
static int
take_source(G_GNUC_UNUSED void *data, const char *arg, int key,
            G_GNUC_UNUSED struct fuse_args *rest)
{
    if (key != FUSE_OPT_KEY_NONOPT || source_fd >= 0)
        return 1;
    source_fd = open(arg, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (source_fd < 0) {
        perror(arg);
        exit(1);
    }
    return 0;
}

int
main(int argc, char **argv)
{
    struct fuse_args args = FUSE_ARGS_INIT(argc, argv);

    if (fuse_opt_parse(&args, NULL, NULL, take_source) < 0)
        return 1;
    if (source_fd < 0) {
        fputs("usage: hangfs [FUSE options] SOURCE MOUNTPOINT\n", stderr);
        return 2;
    }
    bad = g_array_new(FALSE, FALSE, sizeof(BadRange));
    g_array_set_clear_func(bad, bad_clear);
    umask(0);
    fuse_opt_add_arg(&args, "-omax_threads=" MAX_THREADS);
    int status = fuse_main(args.argc, args.argv, &operations, NULL);
    fuse_opt_free_args(&args);
    g_array_unref(bad);
    close(source_fd);
    return status;
}
