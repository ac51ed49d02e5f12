/* stage.c - new content for a name, swapped in atomically
 *
 * WHERE THE LAST GOOD COPY IS, if the power fails:
 *   while the stage is filled        under the name; the unnamed file vanishes by itself
 *   after the temporary link         under the name; the new one, fsynced, beside it
 *   after RENAME_EXCHANGE            new under the name or old under it, the other one beside it:
 *                                    a rename is all or nothing
 *   after the folder's fsync         new under the name for good, the old one beside it
 * Where the file system has no RENAME_EXCHANGE, the old file gets a second name first, and then
 * the new one is renamed over it. Where it has no hard links either, nothing is replaced:
 * no order of steps would keep both.
 */

#include "config.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/crash.h"
#include "base/error.h"
#include "base/fd.h"
#include "base/path.h"
#include "copy/stage.h"

#define MARK          ".filedup-"
#define RANDOM_CHARS  6
#define NAME_ATTEMPTS 100
#define SWAP_ATTEMPTS 16

struct Stage {
    int folder_fd; /* borrowed */
    char *name;
    int fd;
    char *temporary; /* its name in the folder, NULL while it has none */
};

void
swapped_clear(Swapped *s)
{
    g_clear_pointer(&s->name, g_free);
    s->dev = s->ino = 0;
}

static const char letters[] = "abcdefghijklmnopqrstuvwxyz0123456789";

/* ".NAME.filedup-XXXXXX", NAME cut so that it stays within NAME_MAX bytes. */
static char *
temporary_name(const char *name)
{
    char suffix[sizeof MARK + RANDOM_CHARS] = MARK;
    gsize room = NAME_MAX - 1 - (sizeof suffix - 1);

    for (gsize i = 0; i < RANDOM_CHARS; i++)
        suffix[sizeof MARK - 1 + i] = letters[g_random_int_range(0, sizeof letters - 1)];
    suffix[sizeof suffix - 1] = '\0';
    g_autofree char *cut = g_strndup(name, MIN(strlen(name), room));
    return g_strconcat(".", cut, suffix, NULL);
}

static gboolean
is_temporary_name(const char *name)
{
    gsize n = strlen(name);

    return name[0] == '.' && !strchr(name, '/') && n > sizeof MARK + RANDOM_CHARS &&
           strncmp(name + n - RANDOM_CHARS - (sizeof MARK - 1), MARK, sizeof MARK - 1) == 0;
}

gboolean
stage_is_temporary_of(const char *temporary, const char *name)
{
    g_autofree char *ours = temporary_name(name);
    gsize n = strlen(ours);

    return strlen(temporary) == n && strncmp(temporary, ours, n - RANDOM_CHARS) == 0 &&
           strspn(temporary + n - RANDOM_CHARS, letters) == RANDOM_CHARS;
}

static gboolean
open_named(Stage *s)
{
    for (int i = 0; i < NAME_ATTEMPTS; i++) {
        g_autofree char *temporary = temporary_name(s->name);
        s->fd = path_open(s->folder_fd, temporary, O_RDWR | O_CREAT | O_EXCL | O_NOFOLLOW, 0600);
        if (s->fd >= 0) {
            s->temporary = g_steal_pointer(&temporary);
            return TRUE;
        }
        if (errno != EEXIST)
            return FALSE;
    }
    return FALSE;
}

Stage *
stage_new(int folder_fd, const char *name, GError **error)
{
    g_autoptr(Stage) s = g_new0(Stage, 1);

    s->folder_fd = folder_fd;
    s->name = g_strdup(name);
    s->fd = path_open(folder_fd, ".", O_TMPFILE | O_RDWR, 0600);
    if (s->fd < 0 && (errno == EOPNOTSUPP || errno == EISDIR || errno == EINVAL || errno == ENOSYS))
        (void) open_named(s);
    if (s->fd < 0) {
        throw_errno(error, "making a new file beside it");
        return NULL;
    }
    return g_steal_pointer(&s);
}

int
stage_fd(Stage *s)
{
    return s->fd;
}

void
stage_free(Stage *s)
{
    if (!s)
        return;
    if (s->temporary)
        (void) unlinkat(s->folder_fd, s->temporary, 0);
    fd_clear(s->fd);
    g_free(s->temporary);
    g_free(s->name);
    g_free(s);
}

static gboolean
give_name(Stage *s, GError **error)
{
    char self[64];

    g_snprintf(self, sizeof self, "/proc/self/fd/%d", s->fd);
    for (int i = 0; i < NAME_ATTEMPTS && !s->temporary; i++) {
        g_autofree char *temporary = temporary_name(s->name);
        /* Without /proc: allowed to the one who opened it since Linux 6.10, to root always. */
        if (linkat(AT_FDCWD, self, s->folder_fd, temporary, AT_SYMLINK_FOLLOW) == 0 ||
            (errno == ENOENT && linkat(s->fd, "", s->folder_fd, temporary, AT_EMPTY_PATH) == 0))
            s->temporary = g_steal_pointer(&temporary);
        else if (errno != EEXIST)
            break;
    }
    return s->temporary ? TRUE : throw_errno(error, "linking the new file");
}

/* What a swap would displace: 1 a regular file, 0 nothing, -1 with an error. */
static int
check_target(Stage *s, GError **error)
{
    struct stat st;

    if (fstatat(s->folder_fd, s->name, &st, AT_SYMLINK_NOFOLLOW) < 0) {
        if (errno == ENOENT)
            return 0;
        throw_errno(error, "fstatat");
        return -1;
    }
    if (!S_ISREG(st.st_mode)) {
        throw_error(error, FILEDUP_ERROR_REFUSED, "not a regular file: it is not replaced");
        return -1;
    }
    return 1;
}

/* Nothing is under the name: one try. FALSE with errno (EEXIST: now there is something). */
static gboolean
place(Stage *s)
{
    if (renameat2(s->folder_fd, s->temporary, s->folder_fd, s->name, RENAME_NOREPLACE) == 0) {
        g_clear_pointer(&s->temporary, g_free);
        return TRUE;
    }
    if (errno != EINVAL && errno != ENOSYS)
        return FALSE;
    if (linkat(s->folder_fd, s->temporary, s->folder_fd, s->name, 0) < 0)
        return FALSE;
    (void) unlinkat(s->folder_fd, s->temporary, 0);
    g_clear_pointer(&s->temporary, g_free);
    return TRUE;
}

/* FALSE with errno; EINVAL: not on this file system. From the exchange on, the temporary name is no
 * longer ours to remove: it leads to what was there. */
static gboolean
exchange(Stage *s, Swapped *ret_swapped, GError **error)
{
    struct stat st;

    if (renameat2(s->folder_fd, s->temporary, s->folder_fd, s->name, RENAME_EXCHANGE) < 0)
        return FALSE;
    g_autofree char *old = g_steal_pointer(&s->temporary);
    if (fstatat(s->folder_fd, old, &st, AT_SYMLINK_NOFOLLOW) == 0 && S_ISREG(st.st_mode)) {
        *ret_swapped = (Swapped){g_steal_pointer(&old), st.st_dev, st.st_ino};
        return TRUE;
    }
    /* It came between our look and the swap: put it back. */
    if (renameat2(s->folder_fd, old, s->folder_fd, s->name, RENAME_EXCHANGE) < 0)
        return throw_errno(error, "putting back what is no regular file (it is now '%s')", old);
    s->temporary = g_steal_pointer(&old);
    return throw_error(error, FILEDUP_ERROR_REFUSED, "not a regular file: it is not replaced");
}

/* Somebody who renames another file to the name between the two steps loses that one: only file
 * systems without RENAME_EXCHANGE come here. */
static gboolean
link_and_replace(Stage *s, Swapped *ret_swapped, GError **error)
{
    struct stat st;
    g_autofree char *old = NULL;

    do {
        g_free(old);
        old = temporary_name(s->name);
    } while (linkat(s->folder_fd, s->name, s->folder_fd, old, 0) < 0 && errno == EEXIST);
    if (fstatat(s->folder_fd, old, &st, AT_SYMLINK_NOFOLLOW) < 0)
        return throw_error(error, FILEDUP_ERROR_REFUSED,
                           "this file system can neither exchange two names nor link a file: "
                           "restore it in place instead");
    crash_point("stage-linked");
    if (renameat(s->folder_fd, s->temporary, s->folder_fd, s->name) < 0) {
        throw_errno(error, "renaming the new file");
        (void) unlinkat(s->folder_fd, old, 0);
        return FALSE;
    }
    g_clear_pointer(&s->temporary, g_free);
    *ret_swapped = (Swapped){g_steal_pointer(&old), st.st_dev, st.st_ino};
    return TRUE;
}

static gboolean
swap(Stage *s, Swapped *ret_swapped, GError **error)
{
    for (int i = 0; i < SWAP_ATTEMPTS; i++) {
        g_autoptr(GError) local = NULL;
        int there = check_target(s, error);
        if (there < 0)
            return FALSE;
        if (there > 0 ? exchange(s, ret_swapped, &local) : place(s))
            return TRUE;
        if (local) {
            g_propagate_error(error, g_steal_pointer(&local));
            return FALSE;
        }
        if (there > 0 && (errno == EINVAL || errno == ENOSYS))
            return link_and_replace(s, ret_swapped, error);
        if (errno != (there > 0 ? ENOENT : EEXIST))
            return throw_errno(error, "swapping the new file in");
    }
    return throw_error(error, FILEDUP_ERROR_BUSY, "the name keeps appearing and disappearing");
}

/* A folder that may be written but not read can only be synced with its whole file system. */
static gboolean
sync_folder(Stage *s, GError **error)
{
    g_autoptr(GError) local = NULL;

    if (fd_sync_folder(s->folder_fd, ".", &local))
        return TRUE;
    if (g_error_matches(local, FILEDUP_ERROR, FILEDUP_ERROR_DENIED) && syncfs(s->fd) == 0)
        return TRUE;
    g_propagate_error(error, g_steal_pointer(&local));
    return FALSE;
}

gboolean
stage_publish(Stage *s, Swapped *ret_swapped, GError **error)
{
    *ret_swapped = (Swapped){0};
    if (fsync(s->fd) < 0)
        return throw_errno(error, "fsync of the new file");
    if (!s->temporary && !give_name(s, error))
        return FALSE;
    crash_point("stage-named");
    if (!swap(s, ret_swapped, error))
        return FALSE;
    crash_point("stage-swapped");
    /* *ret_swapped stays valid if this fails: the caller must know of both files. */
    return sync_folder(s, error);
}

gboolean
stage_discard(int folder_fd, const char *name, guint64 dev, guint64 ino, GError **error)
{
    struct stat st;

    if (!is_temporary_name(name))
        return throw_error(error, FILEDUP_ERROR_REFUSED, "not a temporary name of filedup's");
    if (fstatat(folder_fd, name, &st, AT_SYMLINK_NOFOLLOW) < 0)
        return errno == ENOENT ? TRUE : throw_errno(error, "fstatat of '%s'", name);
    if (st.st_dev != dev || st.st_ino != ino || !S_ISREG(st.st_mode))
        return throw_error(error, FILEDUP_ERROR_REFUSED, "'%s' is another file by now", name);
    if (unlinkat(folder_fd, name, 0) < 0 && errno != ENOENT)
        return throw_errno(error, "removing '%s'", name);
    return TRUE;
}
