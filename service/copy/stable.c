/* stable.c - can somebody still write this file, and who?
 *
 * The kernel grants a read lease exactly if nobody has the file open for writing; a shared writable
 * mapping keeps its file open. The lease is given up at once: held, it would make the next writer
 * wait for us. Whoever opens the file in between waits for that microsecond.
 *
 * The name is for people only: /proc shows what the process may see, at another moment.
 */

#include "config.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/magic.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/statfs.h>
#include <sys/sysmacros.h>
#include <unistd.h>

#include "base/path.h"
#include "copy/stable.h"

typedef struct Wanted {
    dev_t dev;
    ino_t ino;
    char *path; /* as /proc shows our descriptor */
    gboolean writers_only;
} Wanted;

/* Behind FUSE there may be another host's writers, of whom this kernel knows nothing. */
static gboolean
knows_all_writers(int fd)
{
    struct statfs fs;

    return fstatfs(fd, &fs) == 0 && fs.f_type != FUSE_SUPER_MAGIC;
}

Probe
stable_probe(int fd)
{
    /* A break in between would send SIGIO, which kills who does not expect it. */
    (void) fcntl(fd, F_SETSIG, SIGURG);
    if (fcntl(fd, F_SETLEASE, F_RDLCK) == 0) {
        (void) fcntl(fd, F_SETLEASE, F_UNLCK);
        return knows_all_writers(fd) ? PROBE_FREE : PROBE_UNKNOWN;
    }
    return errno == EAGAIN ? PROBE_WRITER : PROBE_UNKNOWN;
}

/* By fdinfo first: a stat through /proc could hang on somebody else's dead mount. */
static gboolean
descriptor_matches(const char *pid, const char *number, const Wanted *w)
{
    g_autofree char *link = g_strdup_printf("/proc/%s/fd/%s", pid, number);
    g_autofree char *info = g_strdup_printf("/proc/%s/fdinfo/%s", pid, number);
    g_autofree char *text = NULL;
    char first;
    struct stat st;

    if (readlink(link, &first, 1) != 1 || first != '/') /* sockets, pipes, ... */
        return FALSE;
    if (!g_file_get_contents(info, &text, NULL, NULL))
        return FALSE;
    const char *flags = strstr(text, "flags:\t");
    const char *ino = strstr(text, "\nino:\t"); /* since Linux 5.14 */
    if (!flags)
        return FALSE;
    gulong bits = strtoul(flags + strlen("flags:\t"), NULL, 8);
    if ((bits & O_PATH) || (w->writers_only && (bits & O_ACCMODE) == O_RDONLY))
        return FALSE;
    if (ino && strtoull(ino + strlen("\nino:\t"), NULL, 10) != w->ino)
        return FALSE;
    return stat(link, &st) == 0 && st.st_dev == w->dev && st.st_ino == w->ino;
}

static gboolean
has_descriptor(const char *pid, const Wanted *w)
{
    g_autofree char *folder = g_strdup_printf("/proc/%s/fd", pid);
    g_autoptr(GDir) dir = g_dir_open(folder, 0, NULL);
    const char *number;

    while (dir && (number = g_dir_read_name(dir)))
        if (descriptor_matches(pid, number, w))
            return TRUE;
    return FALSE;
}

/* The device in `maps` is not st_dev on btrfs: there the path decides. */
static gboolean
has_mapping(const char *pid, const Wanted *w)
{
    g_autofree char *path = g_strdup_printf("/proc/%s/maps", pid);
    g_autofree char *text = NULL;
    guint major_no, minor_no;
    guint64 ino;
    char perms[5];
    int name_at;

    if (!g_file_get_contents(path, &text, NULL, NULL))
        return FALSE;
    g_auto(GStrv) lines = g_strsplit(text, "\n", -1);
    for (char **line = lines; *line; line++) {
        name_at = 0;
        if (sscanf(*line, "%*s %4s %*s %x:%x %" G_GUINT64_FORMAT " %n", perms, &major_no, &minor_no,
                   &ino, &name_at) < 4)
            continue;
        if (ino != w->ino || (w->writers_only && (perms[1] != 'w' || perms[3] != 's')))
            continue;
        if (makedev(major_no, minor_no) == w->dev || g_str_equal(*line + name_at, w->path))
            return TRUE;
    }
    return FALSE;
}

static char *
describe(const char *pid)
{
    g_autofree char *path = g_strdup_printf("/proc/%s/comm", pid);
    g_autofree char *comm = NULL;

    if (!g_file_get_contents(path, &comm, NULL, NULL))
        comm = g_strdup("?");
    g_strchomp(comm);
    g_autofree char *shown = path_escape(comm);
    return g_strdup_printf("%s (%s)", shown, pid);
}

static char *
find_process(const Wanted *w, gboolean (*matches)(const char *pid, const Wanted *w))
{
    g_autoptr(GDir) proc = g_dir_open("/proc", 0, NULL);
    g_autofree char *self = g_strdup_printf("%d", (int) getpid());
    const char *pid;

    while (proc && (pid = g_dir_read_name(proc)))
        if (g_ascii_isdigit(pid[0]) && !g_str_equal(pid, self) && matches(pid, w))
            return describe(pid);
    return NULL;
}

static char *
find(int fd, gboolean writers_only)
{
    g_autofree char *link = g_strdup_printf("/proc/self/fd/%d", fd);
    g_autofree char *path = g_file_read_link(link, NULL);
    struct stat st;

    if (!path || fstat(fd, &st) < 0)
        return NULL;
    Wanted w = {st.st_dev, st.st_ino, path, writers_only};
    char *found = find_process(&w, has_descriptor);
    return found ? found : find_process(&w, has_mapping);
}

char *
stable_find_writer(int fd)
{
    return find(fd, TRUE);
}

char *
stable_find_user(int fd)
{
    return find(fd, FALSE);
}
