/* path.c - paths as bytes: canonical form, escaping for people, opening without symbolic links */

#include "config.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <linux/openat2.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "base/path.h"

gboolean
path_is_canonical(const char *path)
{
    gsize length = strlen(path);

    if (path[0] != '/' || length >= PATH_MAX)
        return FALSE;
    if (length == 1)
        return TRUE;
    for (const char *slash = path; slash; slash = strchr(slash + 1, '/')) {
        const char *part = slash + 1;
        gsize n = strcspn(part, "/");
        if (n == 0 || (n == 1 && part[0] == '.') || (n == 2 && part[0] == '.' && part[1] == '.'))
            return FALSE;
    }
    return TRUE;
}

void
path_split(const char *path, char **ret_folder, char **ret_name)
{
    const char *slash = strrchr(path, '/');

    g_assert(slash && slash[1]);
    *ret_folder = slash == path ? g_strdup("/") : g_strndup(path, (gsize) (slash - path));
    *ret_name = g_strdup(slash + 1);
}

char *
path_join(const char *folder, const char *name)
{
    return g_str_equal(folder, "/") ? g_strconcat("/", name, NULL)
                                    : g_strconcat(folder, "/", name, NULL);
}

gboolean
path_is_beneath(const char *path, const char *folder)
{
    gsize n = strlen(folder);

    if (g_str_equal(folder, "/"))
        return TRUE;
    return strncmp(path, folder, n) == 0 && (path[n] == '/' || path[n] == '\0');
}

char *
path_escape(const char *path)
{
    GString *text = g_string_sized_new(strlen(path) + 16);

    for (const char *p = path; *p;) {
        gunichar c = g_utf8_get_char_validated(p, -1);
        if (c == (gunichar) -1 || c == (gunichar) -2) {
            g_string_append_printf(text, "\\x%02x", (guchar) *p++);
            continue;
        }
        if (c == '\n')
            g_string_append(text, "\\n");
        else if (c == '\t')
            g_string_append(text, "\\t");
        else if (c == '\\')
            g_string_append(text, "\\\\");
        else if (g_unichar_isprint(c))
            g_string_append_unichar(text, c);
        else /* control and direction-changing characters, byte by byte */
            for (const char *end = g_utf8_next_char(p), *q = p; q < end; q++)
                g_string_append_printf(text, "\\x%02x", (guchar) *q);
        p = g_utf8_next_char(p);
    }
    return g_string_free(text, FALSE);
}

GVariant *
path_to_variant(const char *path)
{
    return g_variant_new_bytestring(path);
}

const char *
path_from_variant(GVariant *bytes)
{
    gsize n;
    const char *data = g_variant_get_fixed_array(bytes, &n, 1);

    if (n == 0 || memchr(data, '\0', n) != data + n - 1)
        return NULL;
    return data;
}

int
path_open(int dirfd, const char *path, int flags, guint mode)
{
    struct open_how how = {
        .flags = (guint64) (flags | O_CLOEXEC),
        .mode = (flags & (O_CREAT | __O_TMPFILE)) ? mode : 0,
        .resolve = RESOLVE_NO_SYMLINKS | (dirfd == AT_FDCWD ? 0 : RESOLVE_BENEATH),
    };
    long fd;

    do
        fd = syscall(SYS_openat2, dirfd, path, &how, sizeof how);
    while (fd < 0 && errno == EINTR);
    return (int) fd;
}
