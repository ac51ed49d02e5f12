/* view.c - what a store has of one file
 *
 * Apply makes this state real in the mirrors, the keeper answers from it, the offline reader shows
 * it: one function, view_fold, says what a transaction means.
 *
 * INVARIANTS
 *  (1) Each stable content that another one follows stays as a point. A fuzzy one is merged away,
 *      unless somebody marked it, it is kept for a reason (Kept), or the original was deleted after
 *      it.
 *  (2) A stable content that a fuzzy one follows is KEPT_STABLE until the next stable one comes.
 *  (3) What a restore replaced becomes a point beside the chain, and never the mirror.
 *  (4) A point's id is the sequence of the transaction that brought its content, so it is known
 *      before it is applied, and the same after.
 *  (5) A point in undo starts from the next newer content of the chain. While what follows the
 *      mirror's content (or the one that a prepared apply makes of it) is pending, that content is one
 *      of the chain, whatever becomes of it.
 *  (6) A row says that it fits an original (stat) only if that was seen with this very content.
 *  (7) A content that nobody has seen stand still, and without a byte, is not what was before: the
 *      content that a suspicion pins is the newest stable one then. (It may be raised by mere
 *      attributes: the empty file, seen to stand still.)
 */

#include "config.h"

#include <string.h>

#include "store/footer.h"
#include "store/view.h"

FileView *
view_new(const char *path)
{
    FileView *v = g_new0(FileView, 1);

    v->path = g_strdup(path);
    v->points = g_ptr_array_new_with_free_func((GDestroyNotify) point_free);
    v->dropped = g_ptr_array_new_with_free_func((GDestroyNotify) point_free);
    v->journalled = g_ptr_array_new();
    return v;
}

void
view_free(FileView *v)
{
    if (!v)
        return;
    g_free(v->path);
    g_free(v->keep);
    point_free(v->current);
    point_free(v->superseded);
    g_ptr_array_unref(v->points);
    g_ptr_array_unref(v->dropped);
    g_ptr_array_unref(v->journalled);
    g_free(v);
}

/* ---- what a transaction means ---- */

static void
insert_point(FileView *v, Point *p)
{
    guint at = v->points->len;

    while (at > 0 && ((const Point *) v->points->pdata[at - 1])->id > p->id)
        at--;
    g_ptr_array_insert(v->points, (gint) at, p);
}

static void
set_kept(Point *p, guint32 kept)
{
    p->fresh |= p->kept != kept; /* its row changes */
    p->kept = kept;
}

/* Invariant 2: there is a newer stable one now. */
static void
end_kept_stable(FileView *v)
{
    for (guint i = 0; i < v->points->len; i++) {
        Point *p = v->points->pdata[i];
        set_kept(p, p->kept & ~(guint32) KEPT_STABLE);
    }
}

/* Invariant 7. `old` is in the view's list, or not. */
static Point *
good_before(const FileView *v, Point *old)
{
    if (!old || old->size_bytes > 0 || old->quality >= QUALITY_STABLE)
        return old;
    for (guint i = v->points->len; i-- > 0;) {
        Point *p = v->points->pdata[i];
        if (p->quality >= QUALITY_STABLE && !point_is_beside(p))
            return p;
    }
    return old;
}

static void
suspect(FileView *v, const Transaction *t, Point *old)
{
    Point *good = good_before(v, old);

    if (t->capture.suspicion == 0)
        return;
    if (v->suspicion == 0) { /* what comes later is not what was good */
        v->suspicion_since_usec = t->time_usec;
        v->suspicion_point = good ? good->id : 0;
        if (good)
            set_kept(good, good->kept | KEPT_SUSPICION);
    }
    v->suspicion |= t->capture.suspicion;
}

static gboolean
stays(const Point *old)
{
    return old->quality >= QUALITY_STABLE || old->kept != 0 || old->cause == CAUSE_QUIET ||
           old->cause == CAUSE_DELETED; /* invariant 1 */
}

/* The current content steps down for the one that `t` brings: stays as a point, or not. */
static void
replace_current(FileView *v, const Transaction *t)
{
    g_autoptr(Point) old = g_steal_pointer(&v->current);
    Point *next = point_new(t);

    v->current = next;
    v->attributes_changed = FALSE;
    g_ptr_array_add(v->journalled, (gpointer) t);
    suspect(v, t, old);
    if (old && v->state == STORED_DELETED)
        old->cause = CAUSE_DELETED;
    if (old && old->id <= v->boot_seq && t->seq > v->boot_seq)
        old->kept |= KEPT_BOOT;
    if (next->quality >= QUALITY_STABLE) {
        end_kept_stable(v);
    } else if (old && old->quality >= QUALITY_STABLE) {
        end_kept_stable(v);
        old->kept |= KEPT_STABLE;
    }
    if (!old)
        return;
    if (stays(old)) {
        old->fresh = TRUE;
        insert_point(v, g_steal_pointer(&old));
    } else if (old->place == POINT_IN_MIRROR || old->id == v->prepared_point) { /* invariant 5 */
        v->superseded = g_steal_pointer(&old);
    }
}

/* The content that they were seen with was given up since. */
static gboolean
is_of_another(const Point *p, const Capture *c)
{
    static const guint8 none[HASH_BYTES];

    return memcmp(c->hash, none, HASH_BYTES) != 0 && memcmp(p->hash, none, HASH_BYTES) != 0 &&
           memcmp(c->hash, p->hash, HASH_BYTES) != 0;
}

static void
change_attributes(FileView *v, const Capture *c)
{
    if (!v->current)
        return;
    /* The same content, looked at again: it may have been seen to stand still by now. */
    if (!is_of_another(v->current, c))
        v->current->quality = MAX(v->current->quality, c->quality);
    if (v->current->quality >= QUALITY_STABLE)
        end_kept_stable(v);
    v->current->stat = c->stat;
    if (is_of_another(v->current, c)) /* invariant 6 */
        v->current->stat.ino = (guint64) (v->current->stat.ctime_ns = 0);
    g_clear_pointer(&v->current->attributes, g_bytes_unref);
    v->current->attributes = c->attributes ? g_bytes_ref(c->attributes) : g_bytes_new(NULL, 0);
    v->current->deleted_usec = 0;
    v->attributes_changed = TRUE;
    v->state = STORED_CURRENT;
}

static void
mark(FileView *v, const Capture *c)
{
    Point *p = v->current;

    if (!p)
        return;
    p->cause = c->cause;
    if (c->cause == CAUSE_NAMED || c->name)
        p->kept |= KEPT_NAMED;
    if (c->name) {
        g_free(p->name);
        p->name = g_strdup(c->name);
    }
}

static void
fold_one(FileView *v, const Transaction *t)
{
    const Capture *c = &t->capture;

    v->id = c->file;
    v->principal = c->principal;
    v->newest_seq = t->seq;
    if (capture_has_content(c) && c->cause == CAUSE_BEFORE_RESTORE) {
        insert_point(v, point_new(t)); /* invariant 3 */
    } else if (capture_has_content(c)) {
        replace_current(v, t);
        v->state = STORED_CURRENT;
    } else if (c->kind == APPEND_ATTRIBUTES) {
        suspect(v, t, v->current);
        change_attributes(v, c);
    } else if (c->kind == APPEND_MARK) {
        mark(v, c);
    } else if (v->current) {
        v->state = STORED_DELETED;
        v->current->deleted_usec = t->time_usec;
    }
}

void
view_fold_through(FileView *v, const GPtrArray *transactions, guint64 through)
{
    for (guint i = 0; transactions && i < transactions->len; i++) {
        const Transaction *t = transactions->pdata[i];
        if (t->seq > MAX(v->applied, v->newest_seq) && t->seq <= through)
            fold_one(v, t);
    }
}

void
view_fold(FileView *v, const GPtrArray *transactions)
{
    view_fold_through(v, transactions, G_MAXUINT64);
}

static gint
index_of(const FileView *v, guint64 id)
{
    for (guint i = v->points->len; i-- > 0;)
        if (((const Point *) v->points->pdata[i])->id == id)
            return (gint) i;
    return -1;
}

void
view_lay_prepared(FileView *v, const FooterFile *f)
{
    for (guint i = 0; i < f->dropped->len; i++) {
        gint at = index_of(v, g_array_index(f->dropped, guint64, i));
        if (at >= 0)
            g_ptr_array_add(v->dropped, g_ptr_array_steal_index(v->points, (guint) at));
    }
    for (guint i = 0; i < f->points->len; i++) {
        Point *p = point_copy(f->points->pdata[i]);
        gint at = index_of(v, p->id);
        if (at >= 0)
            g_ptr_array_remove_index(v->points, (guint) at);
        p->place = p->whole ? POINT_IN_HISTORY : POINT_IN_UNDO;
        p->fresh = TRUE;
        insert_point(v, p);
    }
    g_clear_pointer(&v->superseded, point_free);
    v->prepared_point = v->current ? v->current->id : 0;
}

/* ---- questions ---- */

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
    gint at = index_of(v, id);
    return at < 0 ? NULL : v->points->pdata[at];
}

Point *
view_point_at(const FileView *v, gint64 time_usec)
{
    Point *found = v->current && v->current->time_usec <= time_usec ? v->current : NULL;

    for (guint i = v->points->len; i-- > 0 && !found;) {
        Point *p = v->points->pdata[i];
        if (!point_is_beside(p) && p->time_usec <= time_usec)
            found = p;
    }
    return found && found->deleted_usec && found->deleted_usec <= time_usec ? NULL : found;
}

/* The first of the points with an id above this one. */
static guint
first_above(const FileView *v, guint64 id)
{
    guint low = 0, high = v->points->len;

    while (low < high) {
        guint middle = low + (high - low) / 2;
        if (((const Point *) v->points->pdata[middle])->id > id)
            high = middle;
        else
            low = middle + 1;
    }
    return low;
}

Point *
view_newer(const FileView *v, const Point *p)
{
    Point *newer = p == v->current ? NULL : v->current;

    for (guint i = first_above(v, p->id); i < v->points->len; i++) {
        if (point_is_beside(v->points->pdata[i]))
            continue;
        newer = v->points->pdata[i];
        break;
    }
    if (v->superseded && v->superseded->id > p->id && newer && newer->id > v->superseded->id)
        newer = v->superseded; /* invariant 5 */
    return newer;
}

Point *
view_older(const FileView *v, const Point *p)
{
    for (guint i = first_above(v, p->id); i-- > 0;) {
        Point *other = v->points->pdata[i];
        if (other->id < p->id && !point_is_beside(other))
            return other;
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
        if (p->quality >= QUALITY_STABLE && !point_is_beside(p))
            newest = MAX(newest, p->id);
    }
    return newest;
}

static gint
newest_first(gconstpointer a, gconstpointer b)
{
    const Point *x = *(Point *const *) a, *y = *(Point *const *) b;

    return x->id > y->id ? -1 : x->id < y->id;
}

GPtrArray *
view_points(const FileView *v)
{
    GPtrArray *list = g_ptr_array_new();

    if (v->current)
        g_ptr_array_add(list, v->current);
    for (guint i = 0; i < v->points->len; i++)
        g_ptr_array_add(list, v->points->pdata[i]);
    g_ptr_array_sort(list, newest_first);
    return list;
}

/* ---- giving up points ---- */

/* `older` started from `p`, which goes: now it starts from what p started from. */
static void
inherit(Point *older, const Point *p)
{
    if (p->undo) {
        g_autoptr(Undo) before = g_steal_pointer(&older->undo);
        older->undo = undo_merge(p->undo, before);
    }
    older->place = p->place;
    older->whole = p->whole;
    older->changed_bytes = MIN(older->changed_bytes, older->size_bytes);
    older->fresh = TRUE;
}

void
view_drop(FileView *v, Point *p)
{
    Point *older = point_is_beside(p) ? NULL : view_older(v, p);
    gint at = index_of(v, p->id);

    g_assert(at >= 0 && v->points->pdata[at] == p && v->journalled->len == 0);
    if (older && older->place == POINT_IN_UNDO) {
        g_assert(older->undo);
        inherit(older, p);
    }
    g_ptr_array_add(v->dropped, g_ptr_array_steal_index(v->points, (guint) at));
}

gboolean
view_bury(FileView *v)
{
    Point content = {.id = v->mirror_point};
    Point *older = view_older(v, &content);
    g_autoptr(Undo) all = undo_new(v->mirror_bytes);
    Piece bad = {.length = v->mirror_bytes, .kind = PIECE_BAD};

    if (!older || older->place != POINT_IN_UNDO)
        return FALSE;
    undo_add(all, &bad);
    g_autoptr(Undo) before = g_steal_pointer(&older->undo);
    older->undo = undo_merge(all, before);
    older->fresh = TRUE;
    return TRUE;
}

void
view_drop_all(FileView *v)
{
    while (v->points->len > 0)
        g_ptr_array_add(v->dropped, g_ptr_array_steal_index(v->points, v->points->len - 1));
}

static gboolean
has_number(const GArray *numbers, guint64 number)
{
    for (guint i = 0; i < numbers->len; i++)
        if (g_array_index(numbers, guint64, i) == number)
            return TRUE;
    return FALSE;
}

GArray *
view_unused_wholes(const FileView *v)
{
    GArray *unused = g_array_new(FALSE, FALSE, sizeof(guint64));

    for (guint i = 0; i < v->dropped->len; i++) {
        guint64 whole = ((const Point *) v->dropped->pdata[i])->whole;
        gboolean used = whole == 0 || has_number(unused, whole);
        for (guint k = 0; k < v->points->len && !used; k++)
            used = ((const Point *) v->points->pdata[k])->whole == whole;
        if (!used)
            g_array_append_val(unused, whole);
    }
    return unused;
}
