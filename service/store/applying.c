/* applying.c - which mirrors are in the middle of an update in place
 *
 * A store can be read without filedup; this file says which of its few large mirrors must not be
 * taken for what they seem. It is there only while there are any.
 *
 * FORMAT  text: a line for people, beginning with '#'; then a line for each mirror: its path in the
 *         store, as path_escape shows it
 *
 * CRASH POINTS  applying-written, applying-named
 */

#include "config.h"

#include <fcntl.h>
#include <stdio.h>
#include <string.h>

#include "base/crash.h"
#include "base/error.h"
#include "store/applying.h"

#define NEW_NAME       APPLYING_NAME ".new"
#define LIST_MAX_BYTES ((gsize) 8 * 1024 * 1024)

gboolean
applying_set(const Layout *l, const GPtrArray *mirrors, GError **error)
{
    g_autoptr(GString) text = g_string_new(
        "# Being updated in place: mixed of old and new. filedup --store reads them right.\n");

    for (guint i = 0; i < mirrors->len; i++)
        g_string_append_printf(text, "%s\n", (const char *) mirrors->pdata[i]);
    g_auto(Fd) fd =
        openat(l->root, NEW_NAME, O_WRONLY | O_CREAT | O_TRUNC | O_NOFOLLOW | O_CLOEXEC, 0600);
    if (fd < 0 || !fd_pwrite_full(fd, text->str, text->len, 0) || fsync(fd) < 0)
        return throw_errno(error, "writing '" NEW_NAME "'");
    crash_point("applying-written");
    if (renameat(l->root, NEW_NAME, l->root, APPLYING_NAME) < 0)
        return throw_errno(error, "renaming to '" APPLYING_NAME "'");
    crash_point("applying-named");
    return fd_sync_folder(l->root, ".", error);
}

void
applying_clear(const Layout *l)
{
    (void) unlinkat(l->root, APPLYING_NAME, 0);
    (void) unlinkat(l->root, NEW_NAME, 0);
}

GPtrArray *
applying_get(int root_fd, GError **error)
{
    g_autoptr(GPtrArray) mirrors = g_ptr_array_new_with_free_func(g_free);
    g_auto(Fd) fd = openat(root_fd, APPLYING_NAME, O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC);
    g_autofree char *text = NULL;

    if (fd < 0 && errno == ENOENT)
        return g_steal_pointer(&mirrors);
    text = g_malloc0(LIST_MAX_BYTES + 1);
    if (fd < 0 || fd_pread_most(fd, text, LIST_MAX_BYTES, 0) < 0) {
        throw_errno(error, "reading '" APPLYING_NAME "'");
        return NULL;
    }
    g_auto(GStrv) lines = g_strsplit(text, "\n", -1);
    for (char **line = lines; *line; line++)
        if (**line && **line != '#')
            g_ptr_array_add(mirrors, g_strdup(*line));
    return g_steal_pointer(&mirrors);
}
