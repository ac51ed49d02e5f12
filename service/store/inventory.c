/* inventory.c - the files that are in a store's folders */

#include "config.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>

#include "base/error.h"
#include "base/path.h"
#include "store/inventory.h"
#include "store/packfile.h"

#define ORIGIN       ".origin"
#define ORIGIN_BYTES 65536

static void
mirror_free(gpointer data)
{
    FoundMirror *m = data;

    g_free(m->folder);
    g_free(m->origin);
    g_free(m->name);
    g_free(m);
}

static void
whole_free(gpointer data)
{
    FoundWhole *w = data;

    g_free(w->name);
    g_free(w);
}

void
inventory_free(Inventory *i)
{
    if (!i)
        return;
    g_ptr_array_unref(i->mirrors);
    g_ptr_array_unref(i->wholes);
    g_ptr_array_unref(i->strange);
    g_free(i);
}

/* The names of a folder, sorted; NULL with an error. */
static GPtrArray *
list(int folder_fd, const char *name, GError **error)
{
    int fd = openat(folder_fd, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
    DIR *dir = fd < 0 ? NULL : fdopendir(fd);
    g_autoptr(GPtrArray) names = g_ptr_array_new_with_free_func(g_free);
    const struct dirent *d;

    if (!dir) {
        throw_errno(error, "reading folder '%s'", name);
        fd_clear(fd);
        return NULL;
    }
    while ((void) (errno = 0), (d = readdir(dir)) != NULL)
        if (!g_str_equal(d->d_name, ".") && !g_str_equal(d->d_name, ".."))
            g_ptr_array_add(names, g_strdup(d->d_name));
    int errnum = errno;
    (void) closedir(dir);
    if (errnum != 0) { /* half a list is none */
        errno = errnum;
        throw_errno(error, "reading folder '%s'", name);
        return NULL;
    }
    return g_steal_pointer(&names);
}

/* "<number>-..."; *ret_rest behind the '-'. */
static gboolean
parse_number(const char *text, guint64 *ret_number, const char **ret_rest)
{
    char *end = NULL;

    if (!g_ascii_isdigit(text[0]))
        return FALSE;
    *ret_number = g_ascii_strtoull(text, &end, 10);
    *ret_rest = end + 1;
    return *end == '-' && *ret_number > 0 && *ret_number < G_MAXINT64;
}

static char *
read_origin(const Layout *l, const char *folder)
{
    g_autofree char *name = g_strconcat(folder, ORIGIN, NULL);
    g_auto(Fd) fd = openat(l->mirrors, name, O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC);
    g_autofree char *text = g_malloc0(ORIGIN_BYTES);

    gssize n = fd < 0 ? -1 : fd_pread_most(fd, text, ORIGIN_BYTES - 1, 0);
    if (n <= 1 || strlen(text) != (gsize) n || !path_is_canonical(text))
        return NULL;
    return g_steal_pointer(&text);
}

static gboolean
add_mirror(Inventory *i, const Layout *l, const char *folder, GError **error)
{
    FoundMirror m = {0};
    const char *rest;
    struct stat st;

    if (g_str_has_suffix(folder, ORIGIN) &&
        fstatat(l->mirrors, folder, &st, AT_SYMLINK_NOFOLLOW) == 0 && S_ISREG(st.st_mode))
        return TRUE;
    if (!parse_number(folder, &m.id, &rest) ||
        fstatat(l->mirrors, folder, &st, AT_SYMLINK_NOFOLLOW) < 0 || !S_ISDIR(st.st_mode)) {
        g_ptr_array_add(i->strange, g_strconcat("mirrors/", folder, NULL));
        return TRUE;
    }
    g_autoptr(GPtrArray) names = list(l->mirrors, folder, error);
    if (!names)
        return FALSE;
    m.folder = g_strdup(folder);
    m.origin = read_origin(l, folder);
    m.n_names = names->len;
    m.name = names->len == 1 ? g_strdup(names->pdata[0]) : NULL;
    g_ptr_array_add(i->mirrors, g_memdup2(&m, sizeof m));
    return TRUE;
}

static void
add_history(Inventory *i, const char *name)
{
    FoundWhole w = {0};
    const char *rest;
    guint64 pack;

    if (packfile_parse_name(name, &pack))
        return;
    if (!parse_number(name, &w.file, &rest) || !parse_number(rest, &w.id, &rest)) {
        g_ptr_array_add(i->strange, g_strconcat("history/", name, NULL));
        return;
    }
    w.name = g_strdup(name);
    g_ptr_array_add(i->wholes, g_memdup2(&w, sizeof w));
}

static gint
by_id(gconstpointer a, gconstpointer b)
{
    const FoundMirror *x = *(FoundMirror *const *) a, *y = *(FoundMirror *const *) b;

    return x->id < y->id ? -1 : x->id > y->id;
}

static gint
by_file(gconstpointer a, gconstpointer b)
{
    const FoundWhole *x = *(FoundWhole *const *) a, *y = *(FoundWhole *const *) b;

    if (x->file != y->file)
        return x->file < y->file ? -1 : 1;
    return x->id < y->id ? -1 : x->id > y->id;
}

Inventory *
inventory_new(const Layout *l, GError **error)
{
    g_autoptr(Inventory) i = g_new0(Inventory, 1);
    i->mirrors = g_ptr_array_new_with_free_func(mirror_free);
    i->wholes = g_ptr_array_new_with_free_func(whole_free);
    i->strange = g_ptr_array_new_with_free_func(g_free);
    g_autoptr(GPtrArray) mirrors = list(l->mirrors, ".", error);
    g_autoptr(GPtrArray) history = mirrors ? list(l->history, ".", error) : NULL;

    if (!history)
        return NULL;
    for (guint k = 0; k < mirrors->len; k++)
        if (!add_mirror(i, l, mirrors->pdata[k], error))
            return NULL;
    for (guint k = 0; k < history->len; k++)
        add_history(i, history->pdata[k]);
    g_ptr_array_sort(i->mirrors, by_id);
    g_ptr_array_sort(i->wholes, by_file);
    return g_steal_pointer(&i);
}
