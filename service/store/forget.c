/* forget.c - a point, all points or all of a file really goes
 *
 * STEPS      1  which packs have ever had bytes of the file (their footers tell, so what thinning
 *               left dead in them counts too), its mirror if that is to go, and the journal, are
 *               written to STORE/forgetting
 *            2  the points are dropped in one catalog transaction, and whole files removed (thin.c)
 *            3  each of the packs is emptied: what is live in it moves, the pack goes (compact.c)
 *            4  the journal: used segments are removed; what is pending (of other files) is copied to
 *               a new one, and the old ones are removed too
 *            5  the catalog's -wal is emptied (its pages were overwritten by secure_delete)
 *            6  STORE/forgetting goes
 *
 * INVARIANTS
 *  (1) Step 6 comes last: as long as the list is there, an opening goes on with 3.
 *  (2) What is done twice harms nothing: a pack that is gone is gone; a mirror is removed only if the
 *      catalog has not that file.
 *  (3) What other files and points need is moved before it is removed; it is checked while it is.
 *  (4) No older point goes on starting from a whole file of what was forgotten: it gets one of its
 *      own before step 1.
 *
 * CRASH POINTS  forget-listed, forget-dropped, forget-packs, forget-journal, forget-scrubbed; and
 *            those of thin.c and compact.c
 */

#include "config.h"

#include <fcntl.h>
#include <stdio.h>
#include <unistd.h>

#include "base/crash.h"
#include "base/error.h"
#include "base/fd.h"
#include "base/path.h"
#include "store/catalog_thin.h"
#include "store/compact.h"
#include "store/doomed.h"
#include "store/footer.h"
#include "store/forget.h"
#include "store/mirror.h"
#include "store/thin.h"

struct Forgetting {
    Doomed *doomed;
    guint next; /* of the packs: to be tried now */
};

void
forget_free(Forgetting *f)
{
    if (!f)
        return;
    g_clear_pointer(&f->doomed, doomed_free);
    g_free(f);
}

/* ---- step 1 ---- */

typedef struct Search {
    guint64 file;
    gboolean found;
} Search;

static void
look_in_footer(guint64 pack, GBytes *bytes, gpointer data)
{
    Search *search = data;
    g_autoptr(Footer) footer = footer_decode(bytes, NULL);

    (void) pack;
    for (guint i = 0; footer && i < footer->files->len; i++)
        search->found |= ((const FooterFile *) footer->files->pdata[i])->id == search->file;
}

/* Only packs that the catalog has: what it does not know is not ours to remove. */
static gboolean
find_packs(Store *s, guint64 file, Doomed *doomed, GError **error)
{
    g_autoptr(GArray) packs = catalog_packs(s->catalog, error);

    for (guint i = 0; packs && i < packs->len; i++) {
        const CatalogPackUse *use = &g_array_index(packs, CatalogPackUse, i);
        Search search = {.file = file};
        g_autoptr(GError) local = NULL;
        if (use->length_bytes == 0)
            continue;
        if (!packs_footers(s->packs, use->id, look_in_footer, &search, &local))
            g_warning("forgetting: %s: there may be something of it there", local->message);
        if (search.found)
            doomed_add_pack(doomed, use->id);
    }
    return packs != NULL;
}

static void
add_undo_packs(const Point *p, Doomed *doomed)
{
    for (guint i = 0; p->undo && i < p->undo->pieces->len; i++) {
        const Piece *piece = &g_array_index(p->undo->pieces, Piece, i);
        if (piece->kind == PIECE_PACK)
            doomed_add_pack(doomed, piece->pack);
    }
}

/* ---- step 2 ---- */

/* Invariant 4. */
static gboolean
make_whole(Store *s, FileView *v, Point *p, GError **error)
{
    static const char temporary[] = "apply-forget";
    g_autofree char *target = mirror_history_path(v->id, p->id, v->path);
    g_autoptr(Image) image = image_of(s->layout->root, v, p, error);
    GBytes *sums = NULL;

    if (!image)
        return FALSE;
    (void) unlinkat(s->layout->staged, temporary, 0);
    g_auto(Fd) fd =
        openat(s->layout->staged, temporary, O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
    if (fd < 0)
        return throw_errno(error, "creating a copy");
    if (!image_build(image, s->packs, fd, p->hash, NULL, NULL, &sums, error)) {
        (void) unlinkat(s->layout->staged, temporary, 0);
        return throw_prefixed(error, "point %" G_GUINT64_FORMAT ", which needs bytes of it", p->id);
    }
    g_clear_pointer(&p->sums, g_bytes_unref);
    p->sums = sums;
    if (fsync(fd) < 0 || renameat(s->layout->staged, temporary, s->layout->root, target) < 0)
        return throw_errno(error, "writing '%s'", target);
    g_clear_pointer(&p->undo, undo_free);
    p->undo = undo_new(p->size_bytes); /* none: but what there is in the row is to go */
    p->whole = p->id;
    p->fresh = TRUE;
    return fd_sync_folder(s->layout->history, ".", error);
}

static gboolean
drop_one(Store *s, FileView *v, Point *p, GError **error)
{
    Point *older = point_is_beside(p) ? NULL : view_older(v, p);

    view_drop(v, p);
    return !older || older->place != POINT_IN_HISTORY || older->whole != p->whole ||
           make_whole(s, v, older, error);
}

static gboolean
drop_points(Store *s, FileView *v, guint64 point, Doomed *doomed, guint *ret_points, GError **error)
{
    Point *p = point ? view_point(v, point) : NULL;

    if (point && !p)
        return throw_error(error, FILEDUP_ERROR_NO_ENTRY, "there is no such point");
    if (p && p == v->current)
        return throw_error(error, FILEDUP_ERROR_REFUSED,
                           "that is the newest content: forget all of the file, or wait until it "
                           "has changed");
    for (guint i = 0; i < v->points->len; i++)
        if (!p || v->points->pdata[i] == p)
            add_undo_packs(v->points->pdata[i], doomed);
    *ret_points = p ? 1 : v->points->len;
    if (p)
        return drop_one(s, v, p, error);
    view_drop_all(v);
    return TRUE;
}

/* The file's view, with nothing pending. */
static FileView *
load(Store *s, const char *path, GError **error)
{
    gboolean busy = TRUE;

    if (pending_of(s->pending, path) && !apply_file(s, path, error))
        return NULL;
    g_autoptr(FileView) v = catalog_load(s->catalog, path, CATALOG_UNDO, error);
    if (!v)
        return NULL;
    if (v->id == 0)
        throw_error(error, FILEDUP_ERROR_NO_ENTRY, "the store has nothing of it");
    else if (thin_is_busy(s, v, &busy, error) && busy)
        throw_error(error, FILEDUP_ERROR_AGAIN, "it is still to be applied");
    return busy ? NULL : g_steal_pointer(&v);
}

Forgetting *
forget_begin(Store *s, const char *path, guint64 point, gboolean current_too, guint *ret_points,
             GError **error)
{
    g_autoptr(Forgetting) f = g_new0(Forgetting, 1);
    g_autoptr(GPtrArray) views = g_ptr_array_new_with_free_func((GDestroyNotify) view_free);
    g_autoptr(GArray) forgotten = g_array_new(FALSE, FALSE, sizeof(guint64));
    FileView *v;

    if (point && current_too) {
        throw_error(error, FILEDUP_ERROR_REFUSED, "one point, or all of the file");
        return NULL;
    }
    if (!(f->doomed = doomed_load(s->layout, error)) || !(v = load(s, path, error)))
        return NULL;
    g_ptr_array_add(views, v);
    if (!drop_points(s, v, point, f->doomed, ret_points, error))
        return NULL;
    if (current_too) {
        g_array_append_val(forgotten, v->id);
        doomed_add_file(f->doomed, v->id, v->path);
        *ret_points += v->current != NULL;
    }
    f->doomed->journal = TRUE;
    if (!find_packs(s, v->id, f->doomed, error) || !doomed_save(f->doomed, s->layout, error))
        return NULL;
    crash_point("forget-listed");
    if (!thin_commit(s, views, forgotten, error) || !thin_remove_doomed(s, f->doomed, error))
        return NULL;
    crash_point("forget-dropped");
    packs_roll(s->packs); /* what is moved does not go where it is to be moved from again */
    return g_steal_pointer(&f);
}

Forgetting *
forget_resume(Store *s, GError **error)
{
    g_autoptr(Forgetting) f = g_new0(Forgetting, 1);

    f->doomed = doomed_load(s->layout, error);
    if (!f->doomed || doomed_is_empty(f->doomed))
        return NULL;
    packs_roll(s->packs);
    return thin_remove_doomed(s, f->doomed, error) ? g_steal_pointer(&f) : NULL;
}

/* ---- steps 3 to 6 ---- */

/* The next pack that can be emptied; the others are tried first before it is given up for now. */
static gboolean
empty_pack(Forgetting *f, Store *s, GError **error)
{
    GArray *packs = f->doomed->packs;
    gboolean more = FALSE;
    g_autoptr(GError) local = NULL;

    f->next %= packs->len;
    guint64 pack = g_array_index(packs, guint64, f->next);
    if (compact_pack(s, pack, &more, &local)) {
        if (more)
            return TRUE;
        doomed_remove_pack(f->doomed, pack);
        crash_point("forget-packs");
        return doomed_save(f->doomed, s->layout, error);
    }
    if (++f->next < packs->len && g_error_matches(local, FILEDUP_ERROR, FILEDUP_ERROR_AGAIN))
        return TRUE;
    g_propagate_error(error, g_steal_pointer(&local));
    return FALSE;
}

static gboolean
empty_journal(Store *s, GError **error)
{
    g_autoptr(GError) local = NULL;

    (void) journal_shrink(s->journal, 0); /* so that none of these is the new one */
    switch (store_compact_journal(s, &local)) {
    case JOURNAL_ROOM:
        (void) journal_shrink(s->journal, 0);
        if (journal_spares(s->journal) > 0) /* what is to go may be in them */
            return throw_error(error, FILEDUP_ERROR_AGAIN,
                               "segments of the journal cannot be removed for now");
        return fd_sync_folder(s->layout->journal, ".", error);
    case JOURNAL_FULL:
        return throw_error(error, FILEDUP_ERROR_AGAIN,
                           "the journal cannot be written anew for now%s%s", local ? ": " : "",
                           local ? local->message : "");
    case JOURNAL_ERROR:
        break;
    }
    g_propagate_error(error, g_steal_pointer(&local));
    return FALSE;
}

gboolean
forget_step(Forgetting *f, Store *s, gboolean *ret_more, GError **error)
{
    *ret_more = TRUE;
    if (f->doomed->packs->len > 0)
        return empty_pack(f, s, error);
    if (f->doomed->journal) {
        if (!empty_journal(s, error))
            return FALSE;
        crash_point("forget-journal");
        if (!thin_sweep(s, error) || !fd_sync_folder(s->layout->history, ".", error) ||
            !catalog_scrub(s->catalog, error))
            return FALSE;
        crash_point("forget-scrubbed");
    }
    f->doomed->journal = FALSE;
    *ret_more = FALSE;
    return doomed_save(f->doomed, s->layout, error); /* invariant 1 */
}
