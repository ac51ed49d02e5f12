/* operand.c - from a file named on the command line to the paths that the daemon may know it by
 *
 * A row has a canonical path: no symbolic link in it when it was registered. The file may be gone
 * since, and folders above it, too. So there is more than one candidate:
 *   1. the real path of the deepest folder that exists, and the rest as it is: the row of exactly
 *      this name, even if a link stands there now;
 *   2. the real path of the whole: the name is a link to a protected file;
 *   3. the text alone, ".." resolved without looking: a folder above was replaced by a link.
 */

#include "config.h"

#include <errno.h>
#include <limits.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/error.h"
#include "base/path.h"
#include "cli/operand.h"

char *
operand_absolute(const char *operand, GError **error)
{
    char here[PATH_MAX];

    if (operand[0] == '/')
        return g_strdup(operand);
    if (!getcwd(here, sizeof here)) {
        throw_errno(error, "the current folder");
        return NULL;
    }
    return path_join(here, operand);
}

char *
operand_lexical(const char *absolute)
{
    g_auto(GStrv) parts = g_strsplit(absolute, "/", -1);
    g_autoptr(GPtrArray) kept = g_ptr_array_new();

    for (char **part = parts; *part; part++) {
        if (!**part || g_str_equal(*part, "."))
            continue;
        if (!g_str_equal(*part, ".."))
            g_ptr_array_add(kept, *part);
        else if (kept->len)
            g_ptr_array_set_size(kept, (gint) kept->len - 1);
    }
    if (!kept->len)
        return g_strdup("/");
    g_ptr_array_add(kept, NULL);
    g_autofree char *joined = g_strjoinv("/", (char **) kept->pdata);
    return g_strconcat("/", joined, NULL);
}

/* NULL if the path does not exist, or may not be looked at. */
static char *
real(const char *path)
{
    char *resolved = realpath(path, NULL);
    char *copy = g_strdup(resolved);

    free(resolved);
    return copy;
}

/* The last component is not followed; folders that do not exist are kept as text. */
static char *
real_but_name(const char *absolute)
{
    g_autofree char *head = g_strdup(absolute);
    gsize n = strlen(head);

    while (n > 1 && head[n - 1] == '/')
        head[--n] = '\0';
    for (;;) {
        char *slash = strrchr(head, '/');
        if (!slash || slash == head)
            return operand_lexical(absolute);
        const char *rest = absolute + (slash - head) + 1;
        *slash = '\0';
        g_autofree char *folder = real(head);
        if (!folder)
            continue;
        g_autofree char *joined = path_join(folder, rest);
        return operand_lexical(joined);
    }
}

char *
operand_real(const char *operand, GError **error)
{
    g_autofree char *absolute = operand_absolute(operand, error);

    if (!absolute)
        return NULL;
    char *whole = real(absolute);
    return whole ? whole : real_but_name(absolute);
}

char **
operand_candidates(const char *operand, GError **error)
{
    g_autofree char *absolute = operand_absolute(operand, error);

    if (!absolute)
        return NULL;
    char *all[] = {real_but_name(absolute), real(absolute), operand_lexical(absolute)};
    g_autoptr(GPtrArray) found = g_ptr_array_new();
    for (guint i = 0; i < G_N_ELEMENTS(all); i++) {
        if (all[i] && !g_ptr_array_find_with_equal_func(found, all[i], g_str_equal, NULL))
            g_ptr_array_add(found, all[i]);
        else
            g_free(all[i]);
    }
    g_ptr_array_add(found, NULL);
    return (char **) g_ptr_array_free(g_steal_pointer(&found), FALSE);
}

gboolean
operand_part(const char *operand, guint n, char **ret_file, char **ret_point)
{
    const char *at = operand + strlen(operand);

    for (guint i = 0; i < n; i++) {
        do {
            if (at == operand)
                return FALSE;
            at--;
        } while (*at != '@');
    }
    if (at == operand) /* "@POINT" has no file */
        return FALSE;
    *ret_file = g_strndup(operand, (gsize) (at - operand));
    *ret_point = n > 0 ? g_strdup(at + 1) : NULL;
    return TRUE;
}
