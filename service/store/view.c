/* view.c - what a store has of one file
 *
 * Apply makes this state real in the mirrors, the keeper answers from it, the offline reader shows
 * it: one function, view_fold, says what a transaction means.
 *
 * INVARIANTS
 *  (1) A content that came before a deletion is kept as a point when another content comes; if it
 *      was fuzzy, the stable one before it is kept too, and not only until the next stable one.
 *  (2) A stable content that a fuzzy one follows is kept, pinned, until the next stable one is.
 *  (3) What a restore replaced becomes a point, and never the mirror.
 *  (4) A point's id is the sequence of the transaction that brought its content, so it is known
 *      before it is applied, and the same after.
 */

#include "config.h"

#include <string.h>

#include "store/reader.h"
#include "store/view.h"

FileView *
view_new(const char *path)
{
    FileView *v = g_new0(FileView, 1);

    v->path = g_strdup(path);
    v->points = g_ptr_array_new_with_free_func((GDestroyNotify) point_free);
    v->dropped = g_ptr_array_new_with_free_func((GDestroyNotify) point_free);
    return v;
}

void
view_free(FileView *v)
{
    if (!v)
        return;
    g_free(v->path);
    point_free(v->current);
    g_ptr_array_unref(v->points);
    g_ptr_array_unref(v->dropped);
    g_free(v);
}

static void
drop_pinned(FileView *v)
{
    for (guint i = v->points->len; i-- > 0;) {
        Point *p = v->points->pdata[i];
        if (p->pinned)
            g_ptr_array_add(v->dropped, g_ptr_array_steal_index(v->points, i));
    }
}

/* Pinned points become ones that stay. */
static void
keep_pinned(FileView *v)
{
    for (guint i = 0; i < v->points->len; i++) {
        Point *p = v->points->pdata[i];
        p->fresh |= p->pinned; /* its row changes */
        p->pinned = FALSE;
    }
}

/* The current content steps down for `next`: kept as a point, or not. */
static void
replace_current(FileView *v, Point *next)
{
    g_autoptr(Point) old = g_steal_pointer(&v->current);

    v->current = next;
    v->attributes_changed = FALSE;
    gboolean deleted = v->state == STORED_DELETED;
    gboolean outlasts = next->quality < QUALITY_STABLE && old && old->quality >= QUALITY_STABLE;
    if (deleted && old && old->quality < QUALITY_STABLE)
        keep_pinned(v); /* invariant 1 */
    if (next->quality >= QUALITY_STABLE)
        drop_pinned(v);
    if (!old || (!deleted && !outlasts))
        return;
    if (deleted)
        old->cause = CAUSE_DELETED; /* invariant 1 */
    if (outlasts && !deleted) {     /* invariant 2 */
        drop_pinned(v);
        old->pinned = TRUE;
    }
    old->fresh = TRUE;
    g_ptr_array_add(v->points, g_steal_pointer(&old));
}

static void
change_attributes(FileView *v, const Capture *c)
{
    if (!v->current)
        return;
    /* The same content, looked at again: it may have been seen to stand still by now. */
    v->current->quality = MAX(v->current->quality, c->quality);
    if (v->current->quality >= QUALITY_STABLE)
        drop_pinned(v);
    v->current->stat = c->stat;
    g_clear_pointer(&v->current->attributes, g_bytes_unref);
    v->current->attributes = c->attributes ? g_bytes_ref(c->attributes) : g_bytes_new(NULL, 0);
    v->attributes_changed = TRUE;
    v->state = STORED_CURRENT;
}

void
view_fold(FileView *v, const GPtrArray *transactions)
{
    for (guint i = 0; transactions && i < transactions->len; i++) {
        const Transaction *t = transactions->pdata[i];
        const Capture *c = &t->capture;
        if (t->seq <= v->applied)
            continue;
        v->id = c->file;
        v->principal = c->principal;
        v->newest_seq = t->seq;
        if (capture_has_content(c) && c->cause == CAUSE_BEFORE_RESTORE) {
            g_ptr_array_add(v->points, point_new(t)); /* invariant 3 */
        } else if (capture_has_content(c)) {
            replace_current(v, point_new(t));
            v->state = STORED_CURRENT;
        } else if (c->kind == APPEND_ATTRIBUTES) {
            change_attributes(v, c);
        } else if (v->current) {
            v->state = STORED_DELETED;
        }
    }
}

gboolean
view_lost(const FileView *v)
{
    gboolean lost = v->current && v->current->lost;

    for (guint i = 0; i < v->points->len; i++)
        lost |= ((const Point *) v->points->pdata[i])->lost;
    return lost;
}

Point *
view_point(const FileView *v, guint64 id)
{
    if (v->current && (id == 0 || id == v->current->id))
        return v->current;
    for (guint i = 0; i < v->points->len; i++) {
        Point *p = v->points->pdata[i];
        if (p->id == id)
            return p;
    }
    return NULL;
}

guint64
view_stable_point(const FileView *v)
{
    guint64 newest = 0;

    if (v->current && v->current->quality >= QUALITY_STABLE)
        return 0;
    for (guint i = 0; i < v->points->len; i++) {
        const Point *p = v->points->pdata[i];
        if (p->quality >= QUALITY_STABLE && p->cause != CAUSE_BEFORE_RESTORE)
            newest = MAX(newest, p->id);
    }
    return newest;
}

static gint
newest_first(gconstpointer a, gconstpointer b)
{
    const StoredPoint *x = a, *y = b;

    return x->sequence > y->sequence ? -1 : x->sequence < y->sequence;
}

static void
add_point(GArray *list, const FileView *v, const Point *p)
{
    gboolean current = p == v->current;
    StoredPoint point = {
        .id = current ? 0 : p->id,
        .sequence = p->id,
        .time_usec = p->time_usec,
        .cause = current && v->state == STORED_DELETED ? CAUSE_DELETED : p->cause,
        .quality = p->quality,
        .size_bytes = p->size_bytes,
    };

    g_array_append_val(list, point);
}

GArray *
view_points(const FileView *v)
{
    GArray *list = g_array_new(FALSE, FALSE, sizeof(StoredPoint));

    if (v->current)
        add_point(list, v, v->current);
    for (guint i = 0; i < v->points->len; i++)
        add_point(list, v, v->points->pdata[i]);
    g_array_sort(list, newest_first);
    return list;
}
