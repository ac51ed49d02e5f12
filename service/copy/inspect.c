/* inspect.c - what a path means to the principal
 *
 * The process is the principal already, so the kernel answers every question of permission.
 * Symbolic links are followed here, once, when a row is registered; from then on the canonical path
 * is opened without following any.
 */

#include "config.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/error.h"
#include "base/fd.h"
#include "base/path.h"
#include "copy/inspect.h"
#include "copy/source.h"

void
inspection_clear(Inspection *i)
{
    g_clear_pointer(&i->folder, g_free);
    g_clear_pointer(&i->name, g_free);
    g_clear_pointer(&i->note, g_free);
}

/* Nothing is at `path`: the nearest folder that exists, resolved, and what is missing below it. */
static gboolean
resolve_absent(const char *path, char **ret_canonical, char **ret_nearest, GError **error)
{
    g_autofree char *above = g_strdup(path);
    struct stat st;

    if (!path_is_canonical(path) || g_str_equal(path, "/"))
        return throw_error(error, FILEDUP_ERROR_REFUSED, "does not exist, and is not a plain path");
    if (lstat(path, &st) == 0 && S_ISLNK(st.st_mode))
        return throw_error(error, FILEDUP_ERROR_REFUSED, "a symbolic link that leads nowhere");
    for (;;) {
        char *slash = strrchr(above, '/');
        g_autofree char *folder = slash == above ? g_strdup("/") : g_strndup(above, slash - above);
        g_autofree char *real = realpath(folder, NULL);
        if (real) {
            *ret_canonical = path_join(real, path + (slash - above) + 1);
            *ret_nearest = g_strdup(real);
            return TRUE;
        }
        if (errno != ENOENT)
            return throw_errno(error, "resolving its folder");
        if (lstat(folder, &st) == 0)
            return throw_error(error, FILEDUP_ERROR_REFUSED,
                               "a folder of it is a symbolic link that leads nowhere");
        *slash = '\0';
    }
}

static gboolean
check_writable(const char *path, int mode, const char *what, GError **error)
{
    if (geteuid() == 0) /* root may protect anything */
        return TRUE;
    if (faccessat(AT_FDCWD, path, mode, AT_EACCESS) == 0)
        return TRUE;
    if (errno == EACCES || errno == EPERM || errno == EROFS)
        return throw_error(error, FILEDUP_ERROR_DENIED, "%s: %s", what, g_strerror(errno));
    return throw_errno(error, "%s", what);
}

static gboolean
inspect_absent(const char *path, const char *nearest, gboolean must_write, Inspection *i,
               GError **error)
{
    gboolean folder_there = g_str_equal(nearest, i->folder);
    FileStat stat;

    i->type = INSPECT_ABSENT;
    g_auto(Fd) fd = path_open(AT_FDCWD, nearest, O_PATH | O_NOFOLLOW, 0);
    if (fd < 0 || filestat_read(fd, "", &stat) < 0)
        return throw_errno(error, "looking at its folder");
    if (!S_ISDIR(stat.mode))
        return throw_error(error, FILEDUP_ERROR_REFUSED, "what should be a folder of it is %s",
                           source_irregular(stat.mode) ? source_irregular(stat.mode) : "a file");
    i->dev = stat.dev;
    g_autofree char *shown = path_escape(folder_there ? path : i->folder);
    i->note = folder_there ? g_strdup_printf("'%s' does not exist yet", shown)
                           : g_strdup_printf("the folder '%s' does not exist yet", shown);
    return !must_write || !folder_there ||
           check_writable(nearest, W_OK | X_OK, "you may not create files in its folder", error);
}

static gboolean
inspect_present(const char *path, gboolean must_write, Inspection *i, GError **error)
{
    FileStat folder;
    g_auto(Fd) folder_fd = path_open(AT_FDCWD, i->folder, O_PATH | O_DIRECTORY, 0);

    if (folder_fd < 0 || filestat_read(folder_fd, "", &folder) < 0)
        return throw_errno(error, "looking at its folder");
    i->dev = folder.dev;
    g_auto(Fd) fd = source_look(folder_fd, i->name[0] ? i->name : ".", &i->stat);
    if (fd < 0)
        return throw_errno(error, "looking at it");
    i->type = S_ISREG(i->stat.mode)   ? INSPECT_REGULAR
              : S_ISDIR(i->stat.mode) ? INSPECT_FOLDER
                                      : INSPECT_OTHER;
    if (!must_write || i->type == INSPECT_OTHER)
        return TRUE;
    return check_writable(path, R_OK | W_OK, "you may not read and write it", error);
}

gboolean
inspect_path(const char *path, gboolean must_write, Inspection *i, GError **error)
{
    g_autofree char *nearest = NULL;

    *i = (Inspection){0};
    if (path[0] != '/')
        return throw_error(error, FILEDUP_ERROR_REFUSED, "not an absolute path");
    g_autofree char *canonical = realpath(path, NULL);
    if (!canonical && errno != ENOENT)
        return throw_errno(error, "resolving it");
    if (!canonical && !resolve_absent(path, &canonical, &nearest, error))
        return FALSE;
    if (g_str_equal(canonical, "/")) {
        i->folder = g_strdup("/");
        i->name = g_strdup("");
    } else {
        path_split(canonical, &i->folder, &i->name);
    }
    if (!path_is_canonical(canonical))
        return throw_error(error, FILEDUP_ERROR_REFUSED, "the path is too long");
    return nearest ? inspect_absent(canonical, nearest, must_write, i, error)
                   : inspect_present(canonical, must_write, i, error);
}
