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
 *  (4) A content that turns out not to be what was captured never becomes a mirror. Its transactions
 *      are given up (apply_abandon), what the mirror has stays, and the keeper ends: the next
 *      opening reports damage, and the file's row fits no original any more, so it is captured anew.
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

    if (!mirror_build(s->layout, p, target, &name, error))
        return FALSE;
    crash_point("apply-point-built");
    if (!mirror_place(s->layout, name, target, &ino, error))
        return FALSE;
    crash_point("apply-point");
    return TRUE;
}

/* Steps 2 and 3. */
static gboolean
apply_points(const Store *s, FileView *v, GError **error)
{
    for (guint i = 0; i < v->points->len; i++) {
        Point *p = v->points->pdata[i];
        if (!p->fresh)
            continue;
        if (p->place == POINT_IN_JOURNAL) {
            if (!apply_point(s, v, p, error))
                return FALSE;
        } else if (p->place == POINT_IN_MIRROR) {
            if (!(p->sums = catalog_sums(s->catalog, v->id, error)) ||
                !mirror_keep(s->layout, v, p, error))
                return FALSE;
            crash_point("apply-kept");
        }
    }
    return TRUE;
}

/* Steps 4 and 5. */
static gboolean
apply_content(const Store *s, FileView *v, GError **error)
{
    g_autofree char *target = mirror_path(v->id, v->path);
    g_autofree char *name = NULL;

    if (!mirror_build(s->layout, v->current, target, &name, error))
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

static gboolean
apply_steps(Store *s, FileView *v, GError **error)
{
    crash_point("apply-begin");
    if (!mirror_prepare(s->layout, v, error))
        return FALSE;
    crash_point("apply-folder");
    if (!apply_points(s, v, error))
        return FALSE;
    if (v->current && v->current->place == POINT_IN_JOURNAL)
        return apply_content(s, v, error);
    if (v->current && v->attributes_changed && !mirror_set_attributes(s->layout, v, error))
        return FALSE;
    crash_point("apply-attributes");
    return TRUE;
}

/* Invariant 4. */
static gboolean
apply_abandon(Store *s, const char *path, const GPtrArray *transactions, GError **error)
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
    return catalog_save(s->catalog, v, 0, error) && catalog_set_lost(s->catalog, error);
}

gboolean
apply_file(Store *s, const char *path, GError **error)
{
    GPtrArray *transactions = pending_of(s->pending, path);
    guint64 last = journal_last_seq(s->journal);
    guint64 applied = pending_applied_without(s->pending, path, last); /* invariant 3 */
    g_autofree char *text = path_escape(path);

    if (!transactions)
        return TRUE;
    g_autoptr(FileView) v = store_view(s, path, error);
    const Transaction *newest = transactions->pdata[transactions->len - 1];
    gboolean done = v && newest->seq <= v->applied; /* by a run before, out of order */
    if (v && !done && !apply_steps(s, v, error)) {
        g_autoptr(GError) local = NULL;
        if (view_lost(v) && !apply_abandon(s, path, transactions, &local))
            g_warning("applying '%s': giving it up: %s", text, local->message);
        return throw_prefixed(error, "applying '%s'", text);
    }
    if (!v || !catalog_save(s->catalog, v, applied, error))
        return throw_prefixed(error, "applying '%s'", text);
    crash_point("apply-committed");
    clean_up(s, v, transactions);
    crash_point("apply-cleaned");
    g_autofree char *key = g_strdup(path); /* it may be the transaction's own */
    pending_remove(s->pending, key);
    journal_release(s->journal, applied);
    return TRUE;
}
