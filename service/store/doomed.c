/* doomed.c - what is to go from the disk
 *
 * Written before the transaction after which nobody refers to it, so that no crash leaves behind
 * what somebody was told is gone.
 *
 * FORMAT  STORE/forgetting, replaced atomically, not there if there is nothing; lines:
 *           filedup forgetting 1
 *           file ID PATH      the path escaped as in a URI
 *           pack ID
 *           journal
 */

#include "config.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/error.h"
#include "base/fd.h"
#include "store/doomed.h"

#define DOOMED_NAME      "forgetting"
#define DOOMED_TEMPORARY "forgetting.new"
#define DOOMED_HEAD      "filedup forgetting "
#define DOOMED_FORMAT    1
#define DOOMED_MAX_BYTES (64 * 1024 * 1024)

static void
file_free(gpointer data)
{
    DoomedFile *f = data;

    g_free(f->path);
    g_free(f);
}

static Doomed *
doomed_new(void)
{
    Doomed *d = g_new0(Doomed, 1);

    d->files = g_ptr_array_new_with_free_func(file_free);
    d->packs = g_array_new(FALSE, FALSE, sizeof(guint64));
    return d;
}

void
doomed_free(Doomed *d)
{
    if (!d)
        return;
    g_ptr_array_unref(d->files);
    g_array_unref(d->packs);
    g_free(d);
}

void
doomed_add_file(Doomed *d, guint64 id, const char *path)
{
    DoomedFile *f = g_new0(DoomedFile, 1);

    f->id = id;
    f->path = g_strdup(path);
    g_ptr_array_add(d->files, f);
}

static gint
index_of(const Doomed *d, guint64 pack)
{
    for (guint i = 0; i < d->packs->len; i++)
        if (g_array_index(d->packs, guint64, i) == pack)
            return (gint) i;
    return -1;
}

gboolean
doomed_has_pack(const Doomed *d, guint64 pack)
{
    return index_of(d, pack) >= 0;
}

void
doomed_add_pack(Doomed *d, guint64 pack)
{
    if (!doomed_has_pack(d, pack))
        g_array_append_val(d->packs, pack);
}

void
doomed_remove_pack(Doomed *d, guint64 pack)
{
    gint at = index_of(d, pack);

    if (at >= 0)
        g_array_remove_index(d->packs, (guint) at);
}

gboolean
doomed_is_empty(const Doomed *d)
{
    return d->files->len == 0 && d->packs->len == 0 && !d->journal;
}

/* ---- reading ---- */

static gboolean
parse_line(Doomed *d, const char *line)
{
    char *end = NULL;

    if (g_str_equal(line, "journal")) {
        d->journal = TRUE;
        return TRUE;
    }
    if (!g_str_has_prefix(line, "pack ") && !g_str_has_prefix(line, "file "))
        return FALSE;
    guint64 id = g_ascii_strtoull(line + 5, &end, 10);
    if (line[0] == 'p') {
        doomed_add_pack(d, id);
        return *end == '\0';
    }
    g_autofree char *path = *end == ' ' ? g_uri_unescape_string(end + 1, NULL) : NULL;
    if (path)
        doomed_add_file(d, id, path);
    return path != NULL;
}

static Doomed *
parse(const char *text, GError **error)
{
    g_autoptr(Doomed) d = doomed_new();
    g_auto(GStrv) lines = g_strsplit(text, "\n", -1);
    guint64 format = lines[0] && g_str_has_prefix(lines[0], DOOMED_HEAD)
                         ? g_ascii_strtoull(lines[0] + strlen(DOOMED_HEAD), NULL, 10)
                         : 0;

    if (format > DOOMED_FORMAT) {
        throw_error(error, FILEDUP_ERROR_FATAL,
                    "'" DOOMED_NAME "' has format %" G_GUINT64_FORMAT
                    ", this filedup knows %d: use a newer one",
                    format, DOOMED_FORMAT);
        return NULL;
    }
    for (char **line = lines + 1; format > 0 && *line; line++)
        if (**line && !parse_line(d, *line))
            format = 0;
    if (format > 0)
        return g_steal_pointer(&d);
    throw_error(error, FILEDUP_ERROR_FATAL, "'" DOOMED_NAME "' makes no sense");
    return NULL;
}

Doomed *
doomed_load(const Layout *l, GError **error)
{
    g_auto(Fd) fd = openat(l->root, DOOMED_NAME, O_RDONLY | O_NOFOLLOW | O_CLOEXEC);
    struct stat st;

    if (fd < 0 && errno == ENOENT)
        return doomed_new();
    if (fd < 0 || fstat(fd, &st) < 0) {
        throw_errno(error, "opening '" DOOMED_NAME "'");
        return NULL;
    }
    if (!S_ISREG(st.st_mode) || st.st_size > DOOMED_MAX_BYTES) {
        throw_error(error, FILEDUP_ERROR_FATAL, "'" DOOMED_NAME "' makes no sense");
        return NULL;
    }
    g_autofree char *text = g_malloc0((gsize) st.st_size + 1);
    if (!fd_pread_full(fd, text, (gsize) st.st_size, 0)) {
        throw_errno(error, "reading '" DOOMED_NAME "'");
        return NULL;
    }
    return parse(text, error);
}

/* ---- writing ---- */

static char *
format_text(const Doomed *d)
{
    GString *text = g_string_new(NULL);

    g_string_append_printf(text, DOOMED_HEAD "%d\n", DOOMED_FORMAT);
    for (guint i = 0; i < d->files->len; i++) {
        const DoomedFile *f = d->files->pdata[i];
        g_autofree char *path = g_uri_escape_string(f->path, "/", FALSE);
        g_string_append_printf(text, "file %" G_GUINT64_FORMAT " %s\n", f->id, path);
    }
    for (guint i = 0; i < d->packs->len; i++)
        g_string_append_printf(text, "pack %" G_GUINT64_FORMAT "\n",
                               g_array_index(d->packs, guint64, i));
    if (d->journal)
        g_string_append(text, "journal\n");
    return g_string_free(text, FALSE);
}

gboolean
doomed_save(const Doomed *d, const Layout *l, GError **error)
{
    if (doomed_is_empty(d)) {
        if (unlinkat(l->root, DOOMED_NAME, 0) < 0 && errno != ENOENT)
            return throw_errno(error, "removing '" DOOMED_NAME "'");
        return fd_sync_folder(l->root, ".", error);
    }
    g_autofree char *text = format_text(d);
    g_auto(Fd) fd = openat(l->root, DOOMED_TEMPORARY,
                           O_WRONLY | O_CREAT | O_TRUNC | O_NOFOLLOW | O_CLOEXEC, 0600);
    if (fd < 0 || !fd_pwrite_full(fd, text, strlen(text), 0) || fsync(fd) < 0 ||
        renameat(l->root, DOOMED_TEMPORARY, l->root, DOOMED_NAME) < 0) {
        throw_errno(error, "writing '" DOOMED_NAME "'");
        (void) unlinkat(l->root, DOOMED_TEMPORARY, 0);
        return FALSE;
    }
    return fd_sync_folder(l->root, ".", error);
}
