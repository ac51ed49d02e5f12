/* leftover.c - the temporary file of a restore that was killed
 *
 * A killed restore may leave .NAME.filedup-XXXXXX, and what that holds depends on the instruction
 * it died at: the new content, not yet swapped in, or after the swap what was there before, not
 * yet saved as a point, so that there may be no other copy of it. The two look alike. So the name
 * and the owner alone prove nothing, and only this is swept: a regular file of our own under such
 * a name, with no other name, that nobody has open, and that is byte for byte (by its sums) the
 * content that was restored just now, which the store has and the protected file has. Everything
 * else stays, and is named.
 */

#include "config.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/fd.h"
#include "base/path.h"
#include "copy/leftover.h"
#include "copy/source.h"
#include "copy/stage.h"

/* A write lease is granted only if nobody else has the file open. */
static gboolean
nobody_has_it_open(int fd)
{
    (void) fcntl(fd, F_SETSIG, SIGURG); /* SIGIO, of a break in between, would kill us */
    if (fcntl(fd, F_SETLEASE, F_WRLCK) < 0)
        return FALSE;
    (void) fcntl(fd, F_SETLEASE, F_UNLCK);
    return TRUE;
}

static gboolean
is_redundant(int folder_fd, const char *temporary, const Content *content, FileStat *ret_stat)
{
    g_auto(Fd) look_fd = source_look(folder_fd, temporary, ret_stat);

    if (look_fd < 0 || source_irregular(ret_stat->mode) || ret_stat->nlink != 1 ||
        ret_stat->uid != geteuid() || ret_stat->size_bytes != content->size_bytes)
        return FALSE;
    g_auto(Fd) fd = source_open(look_fd, O_RDONLY);
    Content same = *content;
    same.fd = fd;
    return fd >= 0 && content_check(&same, NULL) && nobody_has_it_open(fd);
}

char *
leftover_sweep(int folder_fd, const char *name, const char *except, const Content *content)
{
    int list_fd = path_open(folder_fd, ".", O_RDONLY | O_DIRECTORY, 0);
    DIR *dir = list_fd < 0 ? NULL : fdopendir(list_fd);
    GString *stay = NULL;
    struct dirent *e;
    FileStat stat;

    if (!dir) {
        fd_clear(list_fd);
        return NULL; /* a folder that may not be listed */
    }
    while ((e = readdir(dir))) {
        if (!stage_is_temporary_of(e->d_name, name) || g_strcmp0(e->d_name, except) == 0)
            continue;
        if (is_redundant(folder_fd, e->d_name, content, &stat) &&
            stage_discard(folder_fd, e->d_name, stat.dev, stat.ino, NULL))
            continue;
        g_autofree char *shown = path_escape(e->d_name);
        if (!stay)
            stay = g_string_new("beside it, left by an interrupted restore (look at it, it may "
                                "hold what was there before, then remove it):");
        g_string_append_printf(stay, " '%s'", shown);
    }
    closedir(dir);
    return stay ? g_string_free(stay, FALSE) : NULL;
}
