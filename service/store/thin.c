/* thin.c - gives up the points that no policy needs
 *
 * A point that goes hands its undo on to the next older content that started from it (view_drop), so
 * only rows change, in one transaction for a group of files; no content is touched. What is then
 * referred to by nobody is removed after it.
 *
 * INVARIANTS
 *  (1) A whole file in history/, or a mirror, is removed only after the transaction that says that
 *      nobody needs it. What a crash in between leaves is thin_sweep.c's.
 *  (2) A file of which something is pending, or whose apply is unfinished, is not touched: its rows
 *      are not all that is true of it.
 *  (3) The current content goes only together with all others.
 *
 * CRASH POINTS  thin-begin, thin-saved, thin-removed
 */

#include "config.h"

#include <errno.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/crash.h"
#include "base/error.h"
#include "base/path.h"
#include "store/catalog_thin.h"
#include "store/doomed.h"
#include "store/mirror.h"
#include "store/thin_private.h"

/* ---- what is busy ---- */

gboolean
thin_is_busy(const Store *s, const FileView *v, gboolean *ret_busy, GError **error)
{
    g_autoptr(GError) local = NULL;

    *ret_busy = TRUE;
    if (s->unfinished || pending_of(s->pending, v->path) || v->journalled->len > 0)
        return TRUE;
    g_autoptr(FooterFile) prepared = catalog_prepared(s->catalog, v->id, &local);
    if (local) {
        g_propagate_error(error, g_steal_pointer(&local));
        return FALSE;
    }
    *ret_busy = prepared != NULL;
    return TRUE;
}

/* ---- carrying it out ---- */

void
group_clear(Group *g)
{
    g_clear_pointer(&g->views, g_ptr_array_unref);
    g_clear_pointer(&g->forgotten, g_array_unref);
}

Group
group_new(void)
{
    return (Group){.views = g_ptr_array_new_with_free_func((GDestroyNotify) view_free),
                   .forgotten = g_array_new(FALSE, FALSE, sizeof(guint64))};
}

static void
remove_wholes(const Store *s, const FileView *v)
{
    g_autoptr(GArray) unused = view_unused_wholes(v);

    for (guint i = 0; i < unused->len; i++) {
        g_autofree char *name =
            mirror_history_path(v->id, g_array_index(unused, guint64, i), v->path);
        if (unlinkat(s->layout->root, name, 0) < 0 && errno != ENOENT)
            g_warning("removing '%s': %s", name, g_strerror(errno));
    }
}

static gboolean
is_forgotten(const GArray *forgotten, guint64 id)
{
    for (guint i = 0; i < forgotten->len; i++)
        if (g_array_index(forgotten, guint64, i) == id)
            return TRUE;
    return FALSE;
}

gboolean
thin_commit(Store *s, const GPtrArray *views, GArray *forgotten, GError **error)
{
    g_autoptr(GPtrArray) rows = g_ptr_array_new();
    CatalogChange change = {.views = rows, .forgotten = forgotten};

    for (guint i = 0; i < views->len; i++)
        if (!is_forgotten(forgotten, ((const FileView *) views->pdata[i])->id))
            g_ptr_array_add(rows, views->pdata[i]);
    if (rows->len == 0 && forgotten->len == 0)
        return TRUE;
    crash_point("thin-begin");
    if (!catalog_save(s->catalog, &change, error))
        return FALSE;
    crash_point("thin-saved");
    for (guint i = 0; i < views->len; i++) /* invariant 1 */
        remove_wholes(s, views->pdata[i]);
    crash_point("thin-removed");
    return TRUE;
}

/* The same where files go as a whole: their mirrors, which no row names any more, are told of first. */
static gboolean
commit_all(Store *s, const Group *g, GError **error)
{
    g_autoptr(Doomed) doomed = NULL;

    if (g->forgotten->len == 0)
        return thin_commit(s, g->views, g->forgotten, error);
    if (!(doomed = doomed_load(s->layout, error)))
        return FALSE;
    for (guint i = 0; i < g->views->len; i++) {
        const FileView *v = g->views->pdata[i];
        if (is_forgotten(g->forgotten, v->id))
            doomed_add_file(doomed, v->id, v->path);
    }
    return doomed_save(doomed, s->layout, error) && thin_commit(s, g->views, g->forgotten, error) &&
           thin_remove_doomed(s, doomed, error);
}

/* ---- what it gives back ---- */

guint64
thin_undo_total(const FileView *v)
{
    guint64 bytes = 0;

    for (guint i = 0; i < v->points->len; i++) {
        const Point *p = v->points->pdata[i];
        bytes += p->undo ? undo_bytes(p->undo) : 0;
    }
    return bytes;
}

static guint64
file_bytes(int root_fd, const char *name)
{
    struct stat st;

    if (fstatat(root_fd, name, &st, AT_SYMLINK_NOFOLLOW) < 0 || st.st_nlink > 1)
        return 0;
    return (guint64) st.st_blocks * 512;
}

guint64
thin_wholes_bytes(const Store *s, const FileView *v)
{
    g_autoptr(GArray) unused = view_unused_wholes(v);
    guint64 bytes = 0;

    for (guint i = 0; i < unused->len; i++) {
        g_autofree char *name =
            mirror_history_path(v->id, g_array_index(unused, guint64, i), v->path);
        bytes += file_bytes(s->layout->root, name);
    }
    return bytes;
}

/* ---- one file ---- */

static guint
n_to_go(const GArray *verdicts)
{
    guint n = 0;

    for (guint i = 0; i < verdicts->len; i++)
        n += !g_array_index(verdicts, RetentionVerdict, i).keep;
    return n;
}

static void
tell(const Thinning *t, const FileView *v, const GArray *verdicts)
{
    for (guint i = 0; i < verdicts->len; i++) {
        const RetentionVerdict *verdict = &g_array_index(verdicts, RetentionVerdict, i);
        if (!verdict->keep && t->told)
            t->told(v, verdict->point, verdict->why, t->data);
    }
}

/* Neighbours pair by pair, again and again: each piece of undo is merged but a few times, where one
 * point after the other would carry all that there is through every merge. `points`: newest first. */
static void
drop_points(FileView *v, GPtrArray *points)
{
    while (points->len > 0) {
        g_autoptr(GPtrArray) left = g_ptr_array_new();
        for (guint i = 0; i < points->len; i++) {
            Point *p = points->pdata[i], *next = i + 1 < points->len ? points->pdata[i + 1] : NULL;
            const Point *last = left->len > 0 ? left->pdata[left->len - 1] : NULL;
            if (next && !point_is_beside(p) && view_older(v, p) == next) {
                view_drop(v, p);
                g_ptr_array_add(left, next);
                i++;
            } else if (last && !point_is_beside(p) && view_older(v, last) == p) {
                g_ptr_array_add(left, p);
            } else {
                view_drop(v, p);
            }
        }
        g_ptr_array_set_size(points, 0);
        for (guint i = 0; i < left->len; i++)
            g_ptr_array_add(points, left->pdata[i]);
    }
}

/* Gives up what the verdicts say. */
static void
drop(const Store *s, FileView *v, const GArray *verdicts, Group *g, Thinning *t)
{
    guint64 before = thin_undo_total(v);
    g_autoptr(GPtrArray) points = g_ptr_array_new();
    gboolean all = FALSE;

    for (guint i = 0; i < verdicts->len; i++) {
        const RetentionVerdict *verdict = &g_array_index(verdicts, RetentionVerdict, i);
        all |= !verdict->keep && verdict->point == v->current; /* invariant 3 */
        if (!verdict->keep)
            g_ptr_array_add(points, verdict->point);
    }
    if (!all)
        drop_points(v, points);
    if (all) {
        g_autofree char *mirror = mirror_path(v->id, v->path);
        view_drop_all(v);
        g_array_append_val(g->forgotten, v->id);
        t->bytes += file_bytes(s->layout->root, mirror);
    }
    t->bytes += before - MIN(before, thin_undo_total(v)) + thin_wholes_bytes(s, v);
}

/* Adds the file to the group if something of it is to go. */
static gboolean
thin_into(Store *s, const char *path, Group *g, Thinning *t, GError **error)
{
    gboolean busy;
    g_autoptr(FileView) light = catalog_load(s->catalog, path, CATALOG_POINTS, error);

    if (!light || light->id == 0)
        return light != NULL;
    g_autoptr(GArray) first = retention_judge(light, &t->now);
    if (n_to_go(first) == 0)
        return TRUE;
    if (!thin_is_busy(s, light, &busy, error))
        return FALSE;
    if (busy) /* invariant 2 */
        return TRUE;
    g_autoptr(FileView) v = catalog_load(s->catalog, path, CATALOG_UNDO, error);
    if (!v)
        return FALSE;
    g_autoptr(GArray) verdicts = retention_judge(v, &t->now);
    g->n_loaded += v->points->len;
    t->n_points += n_to_go(verdicts);
    tell(t, v, verdicts);
    drop(s, v, verdicts, g, t);
    if (!t->dry_run)
        g_ptr_array_add(g->views, g_steal_pointer(&v));
    return TRUE;
}

gboolean
thin_file(Store *s, const char *path, Thinning *t, GError **error)
{
    g_auto(Group) g = group_new();

    return thin_into(s, path, &g, t, error) && (t->dry_run || commit_all(s, &g, error));
}

gboolean
thin_step(Store *s, Thinning *t, gboolean *ret_more, GError **error)
{
    g_auto(Group) g = group_new();
    g_autoptr(GPtrArray) files =
        catalog_files_to_thin(s->catalog, t->after, THIN_STEP_FILES, error);
    guint i = 0;

    if (!files)
        return FALSE;
    for (; i < files->len && g.n_loaded < THIN_STEP_POINTS; i++)
        if (!thin_into(s, ((const CatalogFile *) files->pdata[i])->path, &g, t, error))
            return FALSE;
    if (!t->dry_run && !commit_all(s, &g, error))
        return FALSE;
    if (i > 0)
        t->after = ((const CatalogFile *) files->pdata[i - 1])->id;
    *ret_more = i < files->len || files->len == THIN_STEP_FILES;
    return TRUE;
}
