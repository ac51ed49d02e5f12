/* work.c - what becomes of a file's contents when its pending transactions are applied
 *
 * The mirror's content and the pending ones that stay are taken in pairs, an older and the next newer
 * one. Of each pair it is decided how the older one can be had from now on: by its undo, saved in the
 * packs, or as a whole file in history/ (where a large content is replaced by one that has little of
 * it). Contents between that do not stay cost nothing: the pair's difference is taken at once.
 *
 * ROUNDS     Not all that is pending is done at once: a round ends
 *            (1) before ranges over a staged file that is itself pending: it is the mirror first;
 *            (2) before a whole content that follows large ranges: what is kept whole must be a file;
 *            (3) before a content that turns out not to be what was captured. Then that one is given
 *                up alone, in a round of its own, and so are ranges over it, by their base's hash.
 *
 * INVARIANTS (1) The hash of each content is checked before anything depends on it.
 *            (2) Nothing here changes a mirror; what it puts into history/ is synced by the batch
 *                before the footer that names it.
 *
 * CRASH POINTS  apply-folder, apply-point-built, apply-point, apply-kept
 */

#include "config.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/crash.h"
#include "base/error.h"
#include "base/path.h"
#include "store/difference.h"
#include "store/mirror.h"
#include "store/staged.h"
#include "store/work.h"

Work *
work_new(const char *path, GPtrArray *transactions)
{
    Work *w = g_new0(Work, 1);

    w->path = g_strdup(path);
    w->transactions = transactions;
    w->fd = w->origin = -1;
    return w;
}

static void
work_reset(Work *w)
{
    g_clear_pointer(&w->v, view_free);
    w->has_points = w->kept_whole = w->point_lost = FALSE;
}

void
work_free(Work *w)
{
    if (!w)
        return;
    work_reset(w);
    g_clear_error(&w->error);
    fd_clear(w->fd);
    footer_file_free(w->footer);
    g_free(w->staged_name);
    g_free(w->path);
    g_free(w);
}

gboolean
work_of_this_file(gboolean ok, GError **error)
{
    if (!ok && error && *error &&
        (g_error_matches(*error, FILEDUP_ERROR, FILEDUP_ERROR_FATAL) ||
         g_error_matches(*error, FILEDUP_ERROR, FILEDUP_ERROR_BUSY)))
        (*error)->code = FILEDUP_ERROR_DENIED;
    return ok;
}

/* ---- rounds ---- */

static guint64
end_of_round(const Work *w, guint64 applied, guint64 limit)
{
    gboolean staged = FALSE, large = FALSE;
    guint64 through = applied;

    for (guint i = 0; i < w->transactions->len; i++) {
        const Transaction *t = w->transactions->pdata[i];
        const Capture *c = &t->capture;
        gboolean chain = capture_has_content(c) && c->cause != CAUSE_BEFORE_RESTORE;
        if (t->seq > limit)
            break;
        if (t->seq <= applied)
            continue;
        if (chain && c->kind == APPEND_RANGES ? staged : chain && large)
            break;
        if (chain) {
            staged = c->kind == APPEND_STAGED;
            large = c->kind == APPEND_RANGES && c->size_bytes > MIRROR_COPY_BYTES;
        }
        through = t->seq;
    }
    return through;
}

/* ---- contents ---- */

typedef struct Content {
    Point *point; /* NULL: there is nothing before */
    Image *image; /* NULL: it cannot be had        */
    GBytes *sums; /* NULL: not known               */
} Content;

static void
content_clear(Content *c)
{
    g_clear_pointer(&c->image, image_free);
    g_clear_pointer(&c->sums, g_bytes_unref);
}

G_DEFINE_AUTO_CLEANUP_CLEAR_FUNC(Content, content_clear)

static gboolean
throw_lost(Point *p, GError **error)
{
    p->lost = TRUE;
    return throw_error(error, FILEDUP_ERROR_DAMAGED, "a content is not what was captured");
}

static gboolean
has_hash(GBytes *sums, const Point *p)
{
    guint8 hash[HASH_BYTES];

    if (g_bytes_get_size(sums) != sums_length(p->size_bytes))
        return FALSE;
    sums_hash(sums, p->size_bytes, hash);
    return memcmp(hash, p->hash, HASH_BYTES) == 0;
}

/* Of a whole content; of ranges they are made from those of the content before. */
static gboolean
whole_sums(const Store *s, Point *p, Image *image, GBytes **ret_sums, GError **error)
{
    const Transaction *t = p->source;
    g_autoptr(GError) local = NULL;

    *ret_sums = NULL;
    if (t->capture.kind == APPEND_RANGES)
        return TRUE;
    if (t->sums)
        *ret_sums = g_bytes_ref(t->sums);
    else if (t->capture.kind == APPEND_STAGED)
        *ret_sums = staged_sums(s->layout->staged, t->capture.staged, p->size_bytes, &local);
    else
        *ret_sums = image_sums(image, NULL, &local);
    /* Whatever has become of its sums: it is lost only if it is not what was captured itself. */
    if (t->capture.kind == APPEND_STAGED && (!*ret_sums || !has_hash(*ret_sums, p))) {
        g_clear_error(&local);
        g_clear_pointer(ret_sums, g_bytes_unref);
        *ret_sums = image_sums(image, NULL, &local);
    }
    if (!*ret_sums) {
        p->lost = g_error_matches(local, FILEDUP_ERROR, FILEDUP_ERROR_DAMAGED);
        g_propagate_error(error, g_steal_pointer(&local));
        return FALSE;
    }
    if (!has_hash(*ret_sums, p)) {
        g_clear_pointer(ret_sums, g_bytes_unref);
        return throw_lost(p, error);
    }
    return TRUE;
}

static gboolean
open_content(const Work *w, const Store *s, Content *c, GError **error)
{
    g_autoptr(GError) local = NULL;

    c->image = image_of(s->layout->root, w->v, c->point, &local);
    if (c->image)
        return whole_sums(s, c->point, c->image, &c->sums, error);
    c->point->lost = g_error_matches(local, FILEDUP_ERROR, FILEDUP_ERROR_DAMAGED);
    g_propagate_error(error, g_steal_pointer(&local));
    return FALSE;
}

/* The mirror's, as the catalog knows it. Without its file it is a content that cannot be had; but one
 * that only cannot be opened for now is not given up, nor replaced: that is this file's error. */
static gboolean
open_mirror(const Work *w, const Store *s, Content *c, GError **error)
{
    static const guint8 none[HASH_BYTES];
    g_autoptr(GError) local = NULL;
    FileView *v = w->v;

    if (v->mirror_point == 0)
        return TRUE;
    c->point = v->superseded ? v->superseded : view_point(v, v->mirror_point);
    c->image = image_of_mirror(s->layout->root, v, &local);
    if (!c->image && !mirror_is_missing(s->layout, v)) {
        g_propagate_error(error, g_steal_pointer(&local));
        return work_of_this_file(FALSE, error);
    }
    c->sums = catalog_sums(s->catalog, v->id, error);
    if (c->sums && memcmp(c->point->hash, none, HASH_BYTES) == 0) /* given up, in format 1 */
        sums_hash(c->sums, v->mirror_bytes, c->point->hash);
    return c->sums != NULL;
}

/* ---- keeping a content whole ---- */

/* One that is pending: built, or its staged file moved. */
static gboolean
put_into_history(Work *w, Store *s, Point *p, Image *image, GError **error)
{
    g_autofree char *target = mirror_history_path(w->v->id, p->id, w->v->path);
    g_autofree char *name = NULL;
    g_auto(Fd) fd = -1;
    guint64 ino;

    if (!mirror_build(s->layout, w->v, p, image, target, &name, &fd, error))
        return FALSE;
    if (fd >= 0 && fsync(fd) < 0)
        return throw_errno(error, "fsync of a copy");
    crash_point("apply-point-built");
    if (!mirror_place(s->layout, name, target, &ino, error))
        return FALSE;
    crash_point("apply-point");
    p->place = POINT_IN_HISTORY;
    p->whole = p->id;
    w->kept_whole = TRUE;
    return TRUE;
}

/* The mirror's content: `p` is that content's point, or (it does not stay) the one before. */
static gboolean
keep_mirror(Work *w, Store *s, Content *mirror, Point *p, GError **error)
{
    if (!mirror_keep(s->layout, w->v, mirror->point, error))
        return FALSE;
    crash_point("apply-kept");
    if (p == mirror->point) {
        g_clear_pointer(&p->sums, g_bytes_unref);
        p->sums = g_bytes_ref(mirror->sums);
    }
    p->place = POINT_IN_HISTORY;
    p->whole = mirror->point->id;
    p->fresh = TRUE;
    w->kept_whole = TRUE;
    return TRUE;
}

/* ---- a pair ---- */

/* The chain's newest point that starts from the mirror's content; NULL: none does. */
static Point *
dependant(const Work *w)
{
    Point content = {.id = w->v->mirror_point};
    Point *older = view_older(w->v, &content);

    return older && older->place == POINT_IN_UNDO ? older : NULL;
}

static void
bury_mirror(Work *w, const Content *mirror)
{
    g_autofree char *text = path_escape(w->path);
    gboolean damaged = view_bury(w->v);

    g_warning("'%s': its mirror is gone: its last content cannot be kept%s", text,
              damaged ? ", and points before it are damaged" : "");
    if (mirror->point == w->v->superseded)
        g_clear_pointer(&w->v->superseded, point_free);
    else
        g_ptr_array_remove(w->v->points, mirror->point);
}

static gboolean
has_little_of(const Content *older, const Content *newer)
{
    guint64 bytes = older->point->size_bytes;
    guint64 blocks = sums_length(bytes) / sizeof(guint64);

    if (bytes <= MIRROR_COPY_BYTES || !newer->sums || !older->sums ||
        g_bytes_get_size(older->sums) != sums_length(bytes))
        return FALSE;
    return 2 * difference_count(older->sums, bytes, newer->sums, newer->point->size_bytes) >=
           blocks;
}

/* How `older` can be had once `newer` is there; and newer's sums. */
static gboolean
take_pair(Work *w, Store *s, Content *older, Content *newer, GError **error)
{
    Point *stays = older->point; /* what needs older's bytes */
    gboolean whole = FALSE;

    if (older->point && older->point == w->v->superseded)
        stays = dependant(w);
    if (stays && !older->image) {
        bury_mirror(w, older);
        stays = NULL;
    }
    if (stays && has_little_of(older, newer)) {
        whole = TRUE;
        if (older->point->place == POINT_IN_MIRROR
                ? !keep_mirror(w, s, older, stays, error)
                : !put_into_history(w, s, older->point, older->image, error))
            return FALSE;
    }
    gboolean merged = stays && stays != older->point;
    g_auto(Difference) d = {.path = w->path,
                            .older = older->image,
                            .older_sums = older->sums,
                            .newer = newer->image,
                            .newer_sums = newer->sums,
                            .packs = stays && !whole ? s->packs : NULL,
                            .covered = merged ? stays->undo : NULL};
    gboolean ok = difference_save(&d, error);
    newer->point->lost |= d.lost;
    if (!ok)
        return FALSE;
    if (!has_hash(d.sums, newer->point))
        return throw_lost(newer->point, error);
    newer->point->changed_bytes = d.changed_bytes;
    g_clear_pointer(&newer->sums, g_bytes_unref);
    newer->sums = g_steal_pointer(&d.sums);
    g_clear_pointer(&newer->point->sums, g_bytes_unref);
    newer->point->sums = g_bytes_ref(newer->sums);
    if (d.undo && merged) {
        g_autoptr(Undo) before = g_steal_pointer(&stays->undo);
        stays->undo = undo_merge(d.undo, before);
        stays->fresh = TRUE;
    } else if (d.undo) {
        stays->undo = g_steal_pointer(&d.undo);
        stays->place = POINT_IN_UNDO;
        stays->fresh = TRUE;
    }
    return TRUE;
}

/* What ranges change must be what was there when they were captured. */
static gboolean
check_base(const Work *w, const Store *s, const Point *p, GError **error)
{
    g_autoptr(FileView) before = NULL;

    for (guint i = 0; i < w->v->journalled->len; i++) {
        const Transaction *t = w->v->journalled->pdata[i];
        const guint8 *hash = NULL;
        if (t != p->source || t->capture.kind != APPEND_RANGES)
            continue;
        if (i > 0)
            hash = ((const Transaction *) w->v->journalled->pdata[i - 1])->capture.hash;
        else if (!(before = catalog_load(s->catalog, w->path, CATALOG_NEWEST, error)))
            return FALSE;
        else if (before->current)
            hash = before->current->hash;
        if (!hash || memcmp(hash, t->capture.base_hash, HASH_BYTES) != 0)
            return throw_lost((Point *) p, error);
    }
    return TRUE;
}

/* The pending contents of the chain that stay, then the current one if it is pending; oldest first. */
static GPtrArray *
pending_contents(const FileView *v)
{
    GPtrArray *contents = g_ptr_array_new();

    for (guint i = 0; i < v->points->len; i++) {
        Point *p = v->points->pdata[i];
        if (p->place == POINT_IN_JOURNAL && !point_is_beside(p))
            g_ptr_array_add(contents, p);
    }
    if (v->current && v->current->place == POINT_IN_JOURNAL)
        g_ptr_array_add(contents, v->current);
    return contents;
}

/* *ret_lost: the content that is not what was captured. */
static gboolean
take_chain(Work *w, Store *s, Point **ret_lost, GError **error)
{
    g_autoptr(GPtrArray) contents = pending_contents(w->v);
    g_auto(Content) older = {0};

    if (contents->len > 0 && !open_mirror(w, s, &older, error))
        return FALSE;
    for (guint i = 0; i < contents->len; i++) {
        g_auto(Content) newer = {.point = contents->pdata[i]};
        if (!check_base(w, s, newer.point, error) || !open_content(w, s, &newer, error) ||
            !take_pair(w, s, &older, &newer, error)) {
            *ret_lost = newer.point->lost ? newer.point : NULL;
            return FALSE;
        }
        content_clear(&older);
        older = newer;
        newer = (Content){0};
    }
    return TRUE;
}

/* What a restore replaced. One that is lost is left out. */
static gboolean
take_beside(Work *w, Store *s, GError **error)
{
    for (guint i = 0; i < w->v->points->len;) {
        g_autoptr(GError) local = NULL;
        g_auto(Content) c = {.point = w->v->points->pdata[i]};
        gboolean ok = TRUE;
        if (c.point->place == POINT_IN_JOURNAL && point_is_beside(c.point)) {
            ok = open_content(w, s, &c, &local);
            c.point->sums = c.sums ? g_bytes_ref(c.sums) : NULL;
            ok = ok && put_into_history(w, s, c.point, c.image, &local);
        }
        if (ok) {
            i++;
            continue;
        }
        if (!c.point->lost) {
            g_propagate_error(error, g_steal_pointer(&local));
            return FALSE;
        }
        g_autofree char *text = path_escape(w->path);
        g_warning("'%s': a point cannot be kept: %s", text, local->message);
        w->point_lost = TRUE;
        g_ptr_array_remove_index(w->v->points, i);
    }
    return TRUE;
}

/* ---- preparing ---- */

static gboolean
load(Work *w, Store *s, guint64 limit, GError **error)
{
    work_reset(w);
    fd_clear(fd_steal(&w->origin));
    w->v = catalog_load(s->catalog, w->path, CATALOG_NEWEST, error);
    if (!w->v)
        return FALSE;
    guint64 applied = w->v->applied;
    w->through = end_of_round(w, applied, limit);
    w->done = w->through == applied;
    view_fold_through(w->v, w->transactions, w->through);
    return TRUE;
}

/* All steps up to `limit`. */
static gboolean
prepare(Work *w, Store *s, guint64 limit, Point **ret_lost, GError **error)
{
    if (!load(w, s, limit, error))
        return FALSE;
    if (w->done)
        return TRUE;
    if (!work_of_this_file(mirror_prepare(s->layout, w->v, &w->origin, error), error))
        return FALSE;
    crash_point("apply-folder");
    if (!take_beside(w, s, error) || !take_chain(w, s, ret_lost, error))
        return FALSE;
    for (guint i = 0; i < w->v->points->len; i++)
        w->has_points |= ((const Point *) w->v->points->pdata[i])->fresh;
    w->has_points |= w->v->dropped->len > 0;
    return TRUE;
}

static gboolean
concerns_all(const GError *error, gboolean packs)
{
    return g_error_matches(error, FILEDUP_ERROR, FILEDUP_ERROR_FATAL) ||
           g_error_matches(error, FILEDUP_ERROR, FILEDUP_ERROR_BUSY) ||
           (packs && g_error_matches(error, FILEDUP_ERROR, FILEDUP_ERROR_AGAIN));
}

static const Transaction *
first_to_apply(const Work *w)
{
    for (guint i = 0; i < w->transactions->len; i++) {
        const Transaction *t = w->transactions->pdata[i];
        if (t->seq > w->v->applied)
            return t;
    }
    return NULL;
}

gboolean
work_prepare(Work *w, Store *s, GError **error)
{
    guint64 limit = G_MAXUINT64;

    for (;;) {
        g_autoptr(GError) local = NULL;
        Point *lost = NULL;
        if (prepare(w, s, limit, &lost, &local))
            return TRUE;
        if (lost && lost->source != first_to_apply(w)) { /* round (3) */
            limit = lost->source->first_seq - 1;
            continue;
        }
        if (!lost && concerns_all(local, TRUE)) {
            g_propagate_error(error, g_steal_pointer(&local));
            return FALSE;
        }
        if (lost) {
            w->given_up = TRUE;
            w->through = lost->source->seq;
        }
        w->error = g_steal_pointer(&local);
        return FALSE;
    }
}

/* The sums of the content that ranges make of the mirror, whatever of them is there by now. */
static gboolean
sums_again(Work *w, Store *s, Point *p, GError **error)
{
    g_auto(Content) c = {.point = p};
    g_auto(Difference) d = {.path = w->path};

    if (!open_content(w, s, &c, error))
        return FALSE;
    if (!c.sums && w->v->mirror_point == 0) { /* ranges over a content that is pending itself */
        g_autoptr(GError) local = NULL;
        if (!(c.sums = image_sums(c.image, NULL, &local))) {
            p->lost |= g_error_matches(local, FILEDUP_ERROR, FILEDUP_ERROR_DAMAGED);
            g_propagate_error(error, g_steal_pointer(&local));
            return FALSE;
        }
    }
    if (!c.sums) {
        g_autoptr(Image) mirror = image_of_mirror(s->layout->root, w->v, error);
        g_autoptr(GBytes) sums = mirror ? catalog_sums(s->catalog, w->v->id, error) : NULL;
        if (!sums)
            return FALSE;
        d.older = mirror;
        d.older_sums = sums;
        d.newer = c.image;
        if (!difference_save(&d, error)) {
            p->lost |= d.lost;
            return FALSE;
        }
        c.sums = g_bytes_ref(d.sums);
    }
    if (!has_hash(c.sums, p))
        return throw_lost(p, error);
    p->sums = g_bytes_ref(c.sums);
    return TRUE;
}

/* Of whole files that the footer names: it has no room for them. */
static gboolean
whole_sums_again(Work *w, Store *s, GError **error)
{
    for (guint i = 0; i < w->v->points->len; i++) {
        Point *p = w->v->points->pdata[i];
        if (!p->fresh || p->place != POINT_IN_HISTORY || p->undo || p->sums)
            continue;
        if (p->whole == w->v->mirror_point) {
            p->sums = catalog_sums(s->catalog, w->v->id, error);
        } else {
            g_autoptr(Image) image = image_of(s->layout->root, w->v, p, error);
            p->sums = image ? image_sums(image, NULL, error) : NULL;
        }
        if (!p->sums)
            return FALSE;
        if (has_hash(p->sums, p))
            continue;
        g_autofree char *text = path_escape(w->path);
        g_warning("'%s': point %" G_GUINT64_FORMAT " is damaged: it is not what was captured", text,
                  p->id);
        g_clear_pointer(&p->sums, g_bytes_unref); /* never such as make it seem good */
        w->point_lost = TRUE;
    }
    return TRUE;
}

static gboolean
is_there(const Work *w, guint64 seq)
{
    for (guint i = 0; w->transactions && i < w->transactions->len; i++)
        if (((const Transaction *) w->transactions->pdata[i])->seq == seq)
            return TRUE;
    return FALSE;
}

static gboolean
resume(Work *w, Store *s, GError **error)
{
    const FooterFile *f = w->footer;

    w->v = catalog_load(s->catalog, w->path, CATALOG_NEWEST, error);
    if (!w->v)
        return FALSE;
    w->done = w->v->applied >= f->through;
    if (w->done)
        return TRUE;
    w->given_up = !is_there(w, f->through);
    if (w->given_up)
        return throw_error(error, FILEDUP_ERROR_DAMAGED,
                           "what was being applied is not in the journal any more");
    view_fold_through(w->v, w->transactions, f->through);
    Point *current =
        w->v->current && w->v->current->place == POINT_IN_JOURNAL ? w->v->current : NULL;
    view_lay_prepared(w->v, f);
    if (current && f->current)
        current->changed_bytes = f->current->changed_bytes;
    if (!work_of_this_file(mirror_prepare(s->layout, w->v, &w->origin, error), error) ||
        !whole_sums_again(w, s, error))
        return FALSE;
    if (!current || sums_again(w, s, current, error))
        return TRUE;
    w->given_up = current->lost;
    return FALSE;
}

gboolean
work_resume(Work *w, Store *s, FooterFile *f, GError **error)
{
    g_autoptr(GError) local = NULL;

    w->redo = w->has_points = TRUE;
    w->footer = f;
    w->through = f->through;
    if (resume(w, s, &local))
        return TRUE;
    if (!w->given_up && concerns_all(local, FALSE))
        g_propagate_error(error, g_steal_pointer(&local));
    else
        w->error = g_steal_pointer(&local);
    return FALSE;
}

/* ---- giving up ---- */

/* After a prepared apply that cannot be finished nobody knows what the mirror has. But with the undo
 * that the footer has, what was before comes back, whatever that is. */
static gboolean
take_mirror_as_it_is(const Work *w, const Store *s, FileView *v, GError **error)
{
    g_autofree char *name = mirror_path(v->id, v->path);
    g_auto(Fd) fd = openat(s->layout->root, name, O_RDONLY | O_NOFOLLOW | O_CLOEXEC);
    struct stat st;

    view_lay_prepared(v, w->footer);
    g_clear_pointer(&v->current, point_free);
    v->state = STORED_NOTHING;
    if (fd < 0 && errno == ENOENT) {
        (void) view_bury(v);
        return TRUE;
    }
    if (fd < 0 || fstat(fd, &st) < 0)
        return throw_errno(error, "opening '%s'", name);
    if (!w->footer->current)
        return TRUE;
    Point *p = v->current = point_copy(w->footer->current);
    v->state = STORED_CURRENT;
    p->place = POINT_IN_MIRROR;
    p->quality = QUALITY_FUZZY;
    p->size_bytes = (guint64) st.st_size;
    p->sums = point_sums_read(fd, p->size_bytes, error);
    if (!p->sums)
        return FALSE;
    sums_hash(p->sums, p->size_bytes, p->hash);
    return TRUE;
}

FileView *
work_abandon(const Work *w, const Store *s, GError **error)
{
    g_autoptr(FileView) v = catalog_load(s->catalog, w->path, CATALOG_NEWEST, error);

    if (!v)
        return NULL;
    if (w->footer) {
        v->id = w->footer->id;
        v->principal = w->footer->principal;
        if (!work_of_this_file(take_mirror_as_it_is(w, s, v, error), error))
            return NULL;
    } else {
        const Transaction *any = w->transactions->pdata[0];
        v->id = any->capture.file;
        v->principal = any->capture.principal;
    }
    v->newest_seq = w->through;
    if (v->current)
        v->current->stat.ino = (guint64) (v->current->stat.ctime_ns = 0);
    return g_steal_pointer(&v);
}
