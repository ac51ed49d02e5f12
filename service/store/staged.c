/* staged.c - contents on their way into the store
 *
 *   staged/<number>        the content, the copier's descriptor writes it
 *   staged/<number>.sums   its sums, written before the replace record
 *   staged/apply-...       what apply is building (mirror.c); made anew after a crash
 *
 * CRASH POINTS  staged-synced, staged-sums
 */

#include "config.h"

#include <dirent.h>
#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>

#include "base/crash.h"
#include "base/error.h"
#include "base/fd.h"
#include "base/sums.h"
#include "store/point.h"
#include "store/staged.h"

char *
staged_name(guint64 number)
{
    return g_strdup_printf("%" G_GUINT64_FORMAT, number);
}

static char *
sums_name(guint64 number)
{
    return g_strdup_printf("%" G_GUINT64_FORMAT ".sums", number);
}

int
staged_create(int staged_fd, guint64 number, int *ret_own, GError **error)
{
    g_autofree char *name = staged_name(number);
    g_auto(Fd) fd = openat(staged_fd, name, O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC, 0600);

    *ret_own = fd < 0 ? -1 : openat(staged_fd, name, O_RDONLY | O_NOFOLLOW | O_CLOEXEC);
    if (*ret_own >= 0)
        return fd_steal(&fd);
    throw_errno(error, "creating staged file %s", name);
    if (fd >= 0)
        (void) unlinkat(staged_fd, name, 0);
    return -1;
}

static gboolean
write_sums(int staged_fd, guint64 number, GBytes *sums, GError **error)
{
    g_autofree char *name = sums_name(number);
    g_auto(Fd) fd = openat(staged_fd, name, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
    gsize n;
    const void *data = g_bytes_get_data(sums, &n);

    if (fd < 0 || !fd_pwrite_full(fd, data, n, 0) || fsync(fd) < 0)
        return throw_errno(error, "writing staged file %s", name);
    return TRUE;
}

gboolean
staged_finish(int staged_fd, int own, guint64 number, guint64 size_bytes, GBytes *sums,
              guint64 *ret_ino, GError **error)
{
    g_autofree char *name = staged_name(number);
    struct stat st, named;

    if (fstat(own, &st) < 0 || fstatat(staged_fd, name, &named, AT_SYMLINK_NOFOLLOW) < 0)
        return throw_errno(error, "staged file %s", name);
    if (named.st_ino != st.st_ino)
        return throw_error(error, FILEDUP_ERROR_REFUSED, "staged file %s is another one", name);
    if ((guint64) st.st_size != size_bytes)
        return throw_error(error, FILEDUP_ERROR_REFUSED,
                           "staged file %s has %" G_GINT64_FORMAT " bytes, not %" G_GUINT64_FORMAT,
                           name, (gint64) st.st_size, size_bytes);
    if (fsync(own) < 0)
        return throw_errno(error, "fsync of staged file %s", name);
    crash_point("staged-synced");
    if (!write_sums(staged_fd, number, sums, error) || !fd_sync_folder(staged_fd, ".", error))
        return FALSE;
    crash_point("staged-sums");
    *ret_ino = st.st_ino;
    return TRUE;
}

GBytes *
staged_sums(int staged_fd, guint64 number, guint64 size_bytes, GError **error)
{
    g_autofree char *name = sums_name(number);
    g_auto(Fd) fd = openat(staged_fd, name, O_RDONLY | O_NOFOLLOW | O_CLOEXEC);
    gsize n = sums_length(size_bytes);
    g_autofree guint8 *data = g_malloc(MAX(n, 1));

    if (fd < 0 || !fd_pread_full(fd, data, n, 0)) {
        int errnum = errno;
        throw_errno(error, "reading staged file %s", name);
        errno = errnum;
        return NULL;
    }
    return g_bytes_new_take(g_steal_pointer(&data), n);
}

void
staged_remove(int staged_fd, guint64 number)
{
    g_autofree char *name = staged_name(number);
    g_autofree char *sums = sums_name(number);

    (void) unlinkat(staged_fd, name, 0);
    (void) unlinkat(staged_fd, sums, 0);
}

gboolean
staged_sweep(int staged_fd, GHashTable *needed, GError **error)
{
    int fd = openat(staged_fd, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    DIR *dir = fd < 0 ? NULL : fdopendir(fd);
    const struct dirent *item;

    if (!dir) {
        throw_errno(error, "reading folder 'staged'");
        fd_clear(fd);
        return FALSE;
    }
    while ((item = readdir(dir))) {
        guint64 number = g_ascii_strtoull(item->d_name, NULL, 10); /* also of its .sums */
        if (item->d_name[0] != '.' && !g_hash_table_contains(needed, &number))
            (void) unlinkat(staged_fd, item->d_name, 0);
    }
    closedir(dir);
    return TRUE;
}
