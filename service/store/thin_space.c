/* thin_space.c - the oldest points of all files go, for a store that is over its limit
 *
 * The policies are not asked, only what must stay whatever happens (retention_must_stay). Oldest first
 * over all files, so that no file is stripped for another; what the oldest points alone need lies
 * mostly in the oldest packs, which then go without compaction.
 *
 * INVARIANTS
 *  (1) Whoever thins for something that may never fit asks thin_could_give first: what cannot be
 *      helped costs nobody a point.
 */

#include "config.h"

#include "store/thin_private.h"

#define SPACE_POINTS 512 /* given up in a step */

/* A point that may go before its time. */
typedef struct Candidate {
    gint64 time_usec;
    guint64 file, point;
} Candidate;

static gint
oldest_first(gconstpointer a, gconstpointer b)
{
    const Candidate *x = a, *y = b;

    if (x->time_usec != y->time_usec)
        return x->time_usec < y->time_usec ? -1 : 1;
    return x->point < y->point ? -1 : x->point > y->point;
}

static gboolean
collect_file(Store *s, const CatalogFile *file, const Thinning *t, GArray *candidates,
             GError **error)
{
    gboolean busy;
    g_autoptr(FileView) v = catalog_load(s->catalog, file->path, CATALOG_POINTS, error);

    if (!v || !thin_is_busy(s, v, &busy, error))
        return FALSE;
    if (busy) /* invariant 2 */
        return TRUE;
    for (guint i = 0; i < v->points->len; i++) {
        const Point *p = v->points->pdata[i];
        Candidate candidate = {p->time_usec, v->id, p->id};
        if (!retention_must_stay(v, p, &t->now))
            g_array_append_val(candidates, candidate);
    }
    return TRUE;
}

/* The oldest points of all files that may go. */
static GArray *
collect(Store *s, const Thinning *t, GError **error)
{
    g_autoptr(GArray) candidates = g_array_new(FALSE, FALSE, sizeof(Candidate));
    guint64 after = 0;

    for (;;) {
        g_autoptr(GPtrArray) files =
            catalog_files_with_points(s->catalog, after, THIN_STEP_FILES, error);
        if (!files)
            return NULL;
        for (guint i = 0; i < files->len; i++)
            if (!collect_file(s, files->pdata[i], t, candidates, error))
                return NULL;
        g_array_sort(candidates, oldest_first);
        g_array_set_size(candidates, MIN(candidates->len, SPACE_POINTS));
        if (files->len < THIN_STEP_FILES)
            return g_steal_pointer(&candidates);
        after = ((const CatalogFile *) files->pdata[files->len - 1])->id;
    }
}

/* ---- what could be had ---- */

/* Bytes in packs are compressed: how much of one content byte is there, all packs together. */
static gboolean
pack_share(Store *s, gdouble *ret_share, GError **error)
{
    g_autoptr(GArray) packs = catalog_packs(s->catalog, error);
    guint64 length = 0, saved = 0;

    for (guint i = 0; packs && i < packs->len; i++) {
        const CatalogPackUse *use = &g_array_index(packs, CatalogPackUse, i);
        if (use->length_bytes == 0)
            continue;
        length += use->length_bytes;
        saved += use->saved_bytes;
    }
    *ret_share = saved > 0 ? MIN(1.0, (gdouble) length / (gdouble) saved) : 1.0;
    return packs != NULL;
}

static gboolean
could_give(Store *s, const CatalogFile *file, const RetentionNow *now, gdouble share,
           guint64 *bytes, GError **error)
{
    gboolean busy;
    g_autoptr(FileView) v = catalog_load(s->catalog, file->path, CATALOG_UNDO, error);

    if (!v || !thin_is_busy(s, v, &busy, error))
        return FALSE;
    if (busy)
        return TRUE;
    guint64 before = thin_undo_total(v);
    for (guint i = 0; i < v->points->len;) { /* the oldest first: they hand on nothing */
        Point *p = v->points->pdata[i];
        if (retention_must_stay(v, p, now))
            i++;
        else
            view_drop(v, p);
    }
    guint64 undo = before - MIN(before, thin_undo_total(v));
    *bytes += (guint64) ((gdouble) undo * share) + thin_wholes_bytes(s, v);
    return TRUE;
}

gboolean
thin_could_give(Store *s, const RetentionNow *now, guint64 enough, guint64 *ret_bytes,
                GError **error)
{
    guint64 after = 0;
    gdouble share;

    *ret_bytes = 0;
    if (!pack_share(s, &share, error))
        return FALSE;
    for (;;) {
        g_autoptr(GPtrArray) files =
            catalog_files_with_points(s->catalog, after, THIN_STEP_FILES, error);
        if (!files)
            return FALSE;
        for (guint i = 0; i < files->len && *ret_bytes < enough; i++)
            if (!could_give(s, files->pdata[i], now, share, ret_bytes, error))
                return FALSE;
        if (*ret_bytes >= enough || files->len < THIN_STEP_FILES)
            return TRUE;
        after = ((const CatalogFile *) files->pdata[files->len - 1])->id;
    }
}

/* ---- giving it up ---- */

static FileView *
group_view(Store *s, Group *g, guint64 file, GError **error)
{
    for (guint i = 0; i < g->views->len; i++)
        if (((FileView *) g->views->pdata[i])->id == file)
            return g->views->pdata[i];
    FileView *v = catalog_load_file(s->catalog, file, CATALOG_UNDO, error);
    if (!v)
        return NULL;
    g->n_loaded += v->points->len;
    g_ptr_array_add(g->views, v);
    return v;
}

static gboolean
drop_candidate(Store *s, const Candidate *candidate, Group *g, Thinning *t, GError **error)
{
    FileView *v = group_view(s, g, candidate->file, error);
    Point *p = v ? view_point(v, candidate->point) : NULL;

    if (!v)
        return FALSE;
    if (!p || retention_must_stay(v, p, &t->now))
        return TRUE;
    guint64 before = thin_undo_total(v), wholes = thin_wholes_bytes(s, v);
    if (t->told)
        t->told(v, p, "the store is over its limit", t->data);
    view_drop(v, p);
    t->bytes += before - MIN(before, thin_undo_total(v)) + thin_wholes_bytes(s, v) - wholes;
    t->n_points++;
    return TRUE;
}

gboolean
thin_for_space(Store *s, Thinning *t, guint64 bytes, gboolean *ret_more, GError **error)
{
    g_auto(Group) g = group_new();
    guint64 target = t->bytes + bytes, n = t->n_points;
    g_autoptr(GArray) candidates = collect(s, t, error);

    if (!candidates)
        return FALSE;
    for (guint i = 0; i < candidates->len && t->bytes < target && g.n_loaded < THIN_STEP_POINTS;
         i++)
        if (!drop_candidate(s, &g_array_index(candidates, Candidate, i), &g, t, error))
            return FALSE;
    *ret_more = t->n_points > n && t->bytes < target;
    return thin_commit(s, g.views, g.forgotten, error);
}
