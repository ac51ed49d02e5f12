/* apply.c - pending transactions become mirrors, points and catalog rows
 *
 * A redo, file by file. All that is pending of a file is folded into one view (view.c), so of
 * several contents only the newest is built, and those that must be kept as points.
 *
 * STEPS      1  the entry's folder and its .origin
 *            2  each point that is still in the journal: built, moved into history/, synced
 *            3  an old mirror that must be kept: its second name in history/, synced
 *            4  the new content: built as a staged copy with its attributes, synced
 *            5  renamed over the mirror, folder synced
 *            6  one catalog transaction: rows, sums, points, `applied`
 *            7  what is not needed any more is removed; the transactions are no longer pending
 *
 * INVARIANTS
 *  (1) Before 6 the catalog says what was, and every step can be done again: 2 and 4 build anew, 3
 *      finds its name there, and a staged file that 5 or 2 has moved is recognised in its place.
 *  (2) Step 3 is durable before 5: at no instant is a kept content without a name.
 *  (3) `applied` is the sequence before the oldest transaction that is still pending.
 *
 *  (4) A content that turns out not to be what was captured never becomes a mirror. Its
 * transactions are given up (apply_abandon), what the mirror has stays, and the next opening
 * reports damage; the file's row fits no original any more, so it is captured anew. A point that is
 * so is left out, and what else is pending of the file applied. (5) A mirror that somebody has
 * removed stops nothing: its content is gone, the row says that there is none (so the original is
 * captured anew), and the points stay. (6) An error of the catalog is FATAL or, without space,
 * AGAIN. Any other concerns this file alone.
 *
 * CRASH POINTS  apply-begin, apply-folder, apply-point-built, apply-point, apply-kept, apply-built,
 *            apply-renamed, apply-attributes, apply-committed, apply-cleaned
 */

#include "config.h"

#include <fcntl.h>
#include <string.h>
#include <unistd.h>

#include "base/crash.h"
#include "base/error.h"
#include "base/path.h"
#include "store/apply.h"
#include "store/mirror.h"
#include "store/staged.h"

FileView *
store_view(const Store *s, const char *path, GError **error)
{
    FileView *v = catalog_load(s->catalog, path, error);

    if (v)
        view_fold(v, pending_of(s->pending, path));
    return v;
}

GBytes *
store_sums(Catalog *catalog, int staged_fd, const FileView *v, const Point *p, GError **error)
{
    if (p->sums)
        return g_bytes_ref(p->sums);
    if (p->place == POINT_IN_MIRROR)
        return catalog_sums(catalog, v->id, error);
    if (p->place == POINT_IN_HISTORY)
        return catalog_point_sums(catalog, v->id, p->id, error);
    if (p->source->capture.kind == APPEND_STAGED)
        return staged_sums(staged_fd, p->source->capture.staged, p->size_bytes, error);
    g_auto(Fd) fd = mirror_open(-1, v, p, error);
    return fd < 0 ? NULL : point_sums_read(fd, p->size_bytes, error);
}

/* Step 2. */
static gboolean
apply_point(const Store *s, const FileView *v, Point *p, GError **error)
{
    g_autofree char *target = mirror_history_path(v->id, p->id, v->path);
    g_autofree char *name = NULL;
    guint64 ino;

    if (!mirror_build(s->layout, v, p, target, &name, error))
        return FALSE;
    crash_point("apply-point-built");
    if (!mirror_place(s->layout, name, target, &ino, error))
        return FALSE;
    crash_point("apply-point");
    return TRUE;
}

/* Errors of the kinds that concern all files are not this one's (invariant 6). */
static gboolean
of_this_file(gboolean ok, GError **error)
{
    if (!ok && error && *error &&
        (g_error_matches(*error, FILEDUP_ERROR, FILEDUP_ERROR_FATAL) ||
         g_error_matches(*error, FILEDUP_ERROR, FILEDUP_ERROR_BUSY)))
        (*error)->code = FILEDUP_ERROR_DENIED;
    return ok;
}

/* Step 3. */
static gboolean
apply_keep(const Store *s, const FileView *v, Point *p, GError **error)
{
    if (!(p->sums = catalog_sums(s->catalog, v->id, error)))
        return FALSE;
    if (!of_this_file(mirror_keep(s->layout, v, p, error), error))
        return FALSE;
    crash_point("apply-kept");
    return TRUE;
}

/* Steps 2 and 3. *ret_lost: a point that was acknowledged had to be left out. */
static gboolean
apply_points(const Store *s, FileView *v, gboolean *ret_lost, GError **error)
{
    for (guint i = 0; i < v->points->len;) {
        g_autoptr(GError) local = NULL;
        Point *p = v->points->pdata[i];
        gboolean journal = p->place == POINT_IN_JOURNAL;
        gboolean ok = TRUE;

        if (p->fresh && journal)
            ok = of_this_file(apply_point(s, v, p, &local), &local);
        else if (p->fresh && p->place == POINT_IN_MIRROR)
            ok = apply_keep(s, v, p, &local);
        else if (p->fresh && !p->sums) /* only its row changes */
            ok = (p->sums = catalog_point_sums(s->catalog, v->id, p->id, &local)) != NULL;
        if (ok) {
            i++;
            continue;
        }
        if (!p->lost) {
            g_propagate_error(error, g_steal_pointer(&local));
            return FALSE;
        }
        g_autofree char *text = path_escape(v->path); /* invariants 4 and 5 */
        g_warning("'%s': a point cannot be kept: %s", text, local->message);
        *ret_lost |= journal;
        g_ptr_array_remove_index(v->points, i);
    }
    return TRUE;
}

/* Steps 4 and 5. */
static gboolean
apply_content(const Store *s, FileView *v, GError **error)
{
    g_autofree char *target = mirror_path(v->id, v->path);
    g_autofree char *name = NULL;

    if (!mirror_build(s->layout, v, v->current, target, &name, error))
        return FALSE;
    crash_point("apply-built");
    if (!mirror_place(s->layout, name, target, &v->mirror_ino, error))
        return FALSE;
    crash_point("apply-renamed");
    return TRUE;
}

/* Step 7: staged files that were moved have no name any more; those of superseded contents do. */
static void
clean_up(const Store *s, const FileView *v, const GPtrArray *transactions)
{
    for (guint i = 0; i < transactions->len; i++) {
        const Capture *c = &((const Transaction *) transactions->pdata[i])->capture;
        if (c->kind == APPEND_STAGED)
            staged_remove(s->layout->staged, c->staged);
    }
    for (guint i = 0; i < v->dropped->len; i++) {
        const Point *p = v->dropped->pdata[i];
        g_autofree char *name = mirror_history_path(v->id, p->id, v->path);
        (void) unlinkat(s->layout->root, name, 0);
    }
}

/* Invariant 5. */
static gboolean
apply_attributes(const Store *s, FileView *v, GError **error)
{
    g_autoptr(GError) local = NULL;

    if (of_this_file(mirror_set_attributes(s->layout, v, &local), &local))
        return TRUE;
    if (!v->current->lost) {
        g_propagate_error(error, g_steal_pointer(&local));
        return FALSE;
    }
    g_autofree char *text = path_escape(v->path);
    g_warning("'%s': its mirror is gone: %s: it is to be captured anew", text, local->message);
    g_clear_pointer(&v->current, point_free);
    v->state = STORED_NOTHING;
    v->mirror_ino = 0;
    return TRUE;
}

static gboolean
apply_steps(Store *s, FileView *v, gboolean *ret_lost, GError **error)
{
    crash_point("apply-begin");
    if (!of_this_file(mirror_prepare(s->layout, v, error), error))
        return FALSE;
    crash_point("apply-folder");
    if (!apply_points(s, v, ret_lost, error))
        return FALSE;
    if (v->current && v->current->place == POINT_IN_JOURNAL)
        return of_this_file(apply_content(s, v, error), error);
    if (v->current && v->attributes_changed && !apply_attributes(s, v, error))
        return FALSE;
    crash_point("apply-attributes");
    return TRUE;
}

/* Invariant 4. */
static gboolean
apply_abandon(Store *s, const char *path, const GPtrArray *transactions, guint64 applied,
              GError **error)
{
    const Transaction *newest = transactions->pdata[transactions->len - 1];
    g_autoptr(FileView) v = catalog_load(s->catalog, path, error);

    if (!v)
        return FALSE;
    v->id = newest->capture.file;
    v->principal = newest->capture.principal;
    v->newest_seq = newest->seq;
    if (v->current) {
        v->current->stat = (FileStat){0};
        memset(v->current->hash, 0, HASH_BYTES);
    }
    return catalog_set_lost(s->catalog, error) && catalog_save(s->catalog, v, applied, error);
}

/* Steps 6 and 7. */
static gboolean
apply_finish(Store *s, const FileView *v, const GPtrArray *transactions, guint64 applied,
             GError **error)
{
    if (!catalog_save(s->catalog, v, applied, error))
        return FALSE;
    crash_point("apply-committed");
    clean_up(s, v, transactions);
    crash_point("apply-cleaned");
    return TRUE;
}

static void
forget(Store *s, const char *path, guint64 applied)
{
    g_autofree char *key = g_strdup(path); /* it may be the transaction's own */

    pending_remove(s->pending, key);
    journal_release(s->journal, applied);
}

static gboolean
apply_view(Store *s, FileView *v, const GPtrArray *transactions, guint64 applied,
           gboolean *ret_given_up, GError **error)
{
    const Transaction *newest = transactions->pdata[transactions->len - 1];
    gboolean done = newest->seq <= v->applied; /* by a run before, out of order */
    gboolean point_lost = FALSE;
    g_autoptr(GError) local = NULL;

    if (done || apply_steps(s, v, &point_lost, error))
        return (!point_lost || catalog_set_lost(s->catalog, error)) &&
               apply_finish(s, v, transactions, applied, error);
    if (!view_lost(v))
        return FALSE;
    *ret_given_up = apply_abandon(s, v->path, transactions, applied, &local);
    if (local) { /* the catalog's counts for more */
        g_clear_error(error);
        g_propagate_error(error, g_steal_pointer(&local));
    }
    return FALSE;
}

gboolean
apply_file(Store *s, const char *path, GError **error)
{
    GPtrArray *transactions = pending_of(s->pending, path);
    guint64 last = journal_last_seq(s->journal);
    guint64 applied = pending_applied_without(s->pending, path, last); /* invariant 3 */
    g_autofree char *text = path_escape(path);
    g_autoptr(GError) local = NULL;
    gboolean given_up = FALSE;

    if (!transactions)
        return TRUE;
    g_autoptr(FileView) v = store_view(s, path, &local);
    gboolean ok = v && apply_view(s, v, transactions, applied, &given_up, &local);
    if (ok || given_up)
        forget(s, path, applied);
    if (ok)
        return TRUE;
    if (g_error_matches(local, FILEDUP_ERROR, FILEDUP_ERROR_BUSY))
        local->code = FILEDUP_ERROR_FATAL; /* the catalog's, which is ours alone */
    if (given_up)
        local->code = FILEDUP_ERROR_DAMAGED;
    (void) throw_prefixed(&local, "applying '%s'", text);
    g_propagate_error(error, g_steal_pointer(&local));
    return FALSE;
}
