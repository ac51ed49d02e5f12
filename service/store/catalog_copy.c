/* catalog_copy.c - a catalog that is only looked at
 *
 * `immutable=1` would ignore the -wal, a read-only mount has no room for an index, and opening a
 * damaged catalog where it lies would change it.
 */

#include "config.h"

#include <errno.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/error.h"
#include "base/fd.h"
#include "store/catalog_copy.h"
#include "store/catalog_private.h"
#include "store/trouble.h"

#define COPY_BYTES  ((gsize) 1024 * 1024)
#define MOST_TOLD   20

static const char *const suffixes[] = {"", "-wal", "-shm", "-journal"};

void
catalog_copy_free(CatalogCopy *c)
{
    if (!c)
        return;
    g_clear_pointer(&c->catalog, catalog_close);
    for (guint i = 0; c->scratch && i < G_N_ELEMENTS(suffixes); i++) {
        g_autofree char *name = g_strconcat(c->scratch, "/" CATALOG_NAME, suffixes[i], NULL);
        (void) unlink(name);
    }
    if (c->scratch)
        (void) rmdir(c->scratch);
    g_free(c->scratch);
    g_free(c);
}

static gboolean
copy_file(int root_fd, const char *name, const char *target, GError **error)
{
    g_auto(Fd) from = openat(root_fd, name, O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC);
    g_auto(Fd) to = -1;
    g_autofree guint8 *buffer = g_malloc(COPY_BYTES);
    goffset at = 0;
    gssize n;

    if (from < 0)
        return throw_errno(error, "opening '%s'", name);
    to = open(target, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
    if (to < 0)
        return throw_errno(error, "creating '%s'", target);
    while ((n = fd_pread_most(from, buffer, COPY_BYTES, at)) > 0) {
        if (!fd_pwrite_full(to, buffer, (gsize) n, at))
            return throw_errno(error, "writing '%s'", target);
        at += n;
    }
    return n == 0 || throw_errno(error, "reading '%s'", name);
}

CatalogCopy *
catalog_copy_new(int root_fd, gboolean *ret_lost, GError **error)
{
    g_autoptr(CatalogCopy) c = g_new0(CatalogCopy, 1);
    g_autofree char *scratch = g_build_filename(g_get_tmp_dir(), "filedup-read-XXXXXX", NULL);
    g_autoptr(GError) local = NULL;
    struct stat st;

    if (ret_lost)
        *ret_lost = FALSE;
    if (fstatat(root_fd, CATALOG_NAME, &st, AT_SYMLINK_NOFOLLOW) < 0) {
        if (ret_lost)
            *ret_lost = errno == ENOENT;
        throw_errno(error, "'" CATALOG_NAME "'");
        return NULL;
    }
    if (!g_mkdtemp(scratch)) {
        throw_errno(error, "creating a scratch folder in '%s'", g_get_tmp_dir());
        return NULL;
    }
    c->scratch = g_steal_pointer(&scratch);
    g_autofree char *copy = g_build_filename(c->scratch, CATALOG_NAME, NULL);
    g_autofree char *wal = g_strconcat(copy, "-wal", NULL);
    if (!copy_file(root_fd, CATALOG_NAME, copy, error))
        return NULL;
    if (fstatat(root_fd, CATALOG_NAME "-wal", &st, AT_SYMLINK_NOFOLLOW) == 0 &&
        !copy_file(root_fd, CATALOG_NAME "-wal", wal, error))
        return NULL;
    c->catalog = catalog_open_foreign(copy, &local);
    if (c->catalog)
        return g_steal_pointer(&c);
    if (ret_lost)
        *ret_lost = !g_error_matches(local, FILEDUP_ERROR, FILEDUP_ERROR_AGAIN);
    g_propagate_error(error, g_steal_pointer(&local));
    return NULL;
}

/* Each row that it gives is a trouble; `format` is what to say of its first column. */
static gboolean
check_rows(Catalog *c, const char *sql, const char *what, GPtrArray *troubles)
{
    g_autoptr(GError) error = NULL;
    g_autoptr(Statement) s = statement(c, sql, &error);
    guint n = 0;
    int got = s ? 0 : -1;

    while (s && n < MOST_TOLD && (got = statement_step(c, s, &error)) > 0) {
        const char *text = (const char *) sqlite3_column_text(s, 0);
        if (text && g_str_equal(text, "ok"))
            continue;
        troubles_add(troubles, TRUE, NULL, 0, "catalog: %s%s", what, text ? text : "?");
        n++;
    }
    if (got < 0)
        troubles_add(troubles, TRUE, NULL, 0, "%s", error->message);
    return n == 0 && got >= 0;
}

gboolean
catalog_copy_check(CatalogCopy *c, GPtrArray *troubles)
{
    static const char *const checks[][2] = {
        {"PRAGMA integrity_check(20)", ""},
        {"SELECT id FROM entry WHERE id NOT IN (SELECT entry FROM file)", "no contents of file "},
        {"SELECT id FROM file WHERE entry NOT IN (SELECT id FROM entry)", "no entry of file "},
        {"SELECT DISTINCT file FROM point WHERE file NOT IN (SELECT id FROM file)",
         "points of no file: "},
        {"SELECT DISTINCT file FROM sums WHERE file NOT IN (SELECT id FROM file)",
         "sums of no file: "},
        {"SELECT DISTINCT pack FROM uses WHERE pack NOT IN (SELECT id FROM pack WHERE length > 0)",
         "points use a pack that is gone: "},
        {"SELECT file || '-' || point FROM uses WHERE NOT EXISTS"
         " (SELECT 1 FROM point WHERE point.file = uses.file AND point.id = uses.point)",
         "a pack is used by no point: "},
        {"SELECT count(*) FROM state HAVING count(*) <> 1", "rows of state: "},
    };
    gboolean ok = TRUE;

    for (guint i = 0; i < G_N_ELEMENTS(checks); i++) {
        if (!check_rows(c->catalog, checks[i][0], checks[i][1], troubles))
            ok = FALSE;
        if (i == 0 && !ok)
            return FALSE; /* what SQLite cannot read is not to be asked */
    }
    return ok;
}
