/* apply.c - pending transactions become mirrors, points and catalog rows
 *
 * A redo, in batches of files. What is pending of a file is folded into a view (view.c) and prepared
 * (work.c); files that fail are left out, the others go on.
 *
 * STEPS      1  for each file: folder and .origin, what its contents become (work.c): old bytes into
 *               the packs' batch, whole contents into history/
 *            2  folders mirrors/ and history/ synced; then the batch's footer, synced: *prepared*.
 *               (A batch in which no point is new, or changed, has none.)
 *            3  mirrors that are to be written in place are listed in `applying`, synced
 *            4  each new content: a staged copy, or the mirror itself; attributes. Then all synced
 *            5  staged copies renamed over their mirrors. Then all their folders synced
 *            6  one catalog transaction: rows, sums, points, packs, `applied`
 *            7  what is not needed any more is removed; the transactions are no longer pending
 *
 * INVARIANTS
 *  (1) Before 2 nothing has changed that anybody reads, and all is done anew. After 2 old bytes are
 *      taken from the footer only, for the mirror may have lost them; 3 to 5 can be done again over
 *      whatever is there, since what they write does not depend on it.
 *  (2) A file that fails after 2 is kept in the catalog as prepared (6), and so done again. A batch
 *      that the catalog cannot take stays `unfinished`, and is done before anything else.
 *  (3) `applied` is the sequence before the oldest transaction that is still pending.
 *  (4) A content that turns out not to be what was captured never becomes a mirror. Its
 *      transaction is given up, what the mirror has stays, and the next opening reports damage; the
 *      file's row fits no original any more, so it is captured anew.
 *  (5) A mirror that somebody has removed stops nothing: its content is gone, the row says that there
 *      is none (so the original is captured anew), and the points stay that need nothing of it.
 *  (6) An error of catalog or packs is FATAL or, without space, AGAIN. Any other concerns its file
 *      alone.
 *
 * CRASH POINTS  apply-begin, (work.c) apply-folder, apply-point-built, apply-point, apply-kept,
 *            apply-saved, apply-prepared, (applying.c) applying-written, applying-named, apply-listed,
 *            (mirror.c) mirror-written, apply-attributes, apply-built, apply-synced, apply-renamed,
 *            apply-placed, apply-committed, apply-cleaned
 */

#include "config.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <unistd.h>

#include "base/crash.h"
#include "base/error.h"
#include "base/path.h"
#include "store/applying.h"
#include "store/mirror.h"
#include "store/staged.h"
#include "store/work.h"

typedef struct Batch {
    Store *s;
    GPtrArray *works; /* Work */
    gboolean redo;    /* of what is unfinished */
} Batch;

static void
batch_clear(Batch *b)
{
    g_clear_pointer(&b->works, g_ptr_array_unref);
}

G_DEFINE_AUTO_CLEANUP_CLEAR_FUNC(Batch, batch_clear)

static gboolean
goes_on(const Work *w)
{
    return !w->error && !w->given_up && !w->done;
}

/* Steps that concern one file: an error is its own. */
typedef gboolean (*StepFunc)(Batch *b, Work *w, GError **error);

static void
each(Batch *b, StepFunc step)
{
    for (guint i = 0; i < b->works->len; i++) {
        Work *w = b->works->pdata[i];
        if (goes_on(w) && !step(b, w, &w->error))
            (void) work_of_this_file(FALSE, &w->error);
    }
}

/* ---- steps 1 and 2 ---- */

/* So that the first fsync of a batch finds the others' blocks allocated, and commits them with its
 * own: one by one each would cost a commit of the file system. */
static void
start_writing(int fd)
{
    if (fd >= 0)
        (void) sync_file_range(fd, 0, 0, SYNC_FILE_RANGE_WRITE);
}

static gboolean
sync_folders(Batch *b, GError **error)
{
    gboolean made = FALSE, kept = FALSE;

    for (guint i = 0; i < b->works->len; i++)
        start_writing(((const Work *) b->works->pdata[i])->origin);
    for (guint i = 0; i < b->works->len; i++) {
        Work *w = b->works->pdata[i];
        if (w->origin >= 0 && fsync(w->origin) < 0)
            return throw_errno(error, "fsync of an .origin");
        made |= w->origin >= 0;
        kept |= w->kept_whole;
        fd_clear(fd_steal(&w->origin));
    }
    return (!made || fd_sync_folder(b->s->layout->mirrors, ".", error)) &&
           (!kept || fd_sync_folder(b->s->layout->history, ".", error));
}

/* NULL: nothing of it is for a footer. */
static Footer *
footer_of(const Batch *b)
{
    g_autoptr(Footer) f = footer_new(FOOTER_APPLY);

    for (guint i = 0; i < b->works->len; i++) {
        const Work *w = b->works->pdata[i];
        if (goes_on(w) && w->has_points)
            g_ptr_array_add(f->files, footer_file_new(w->v));
    }
    return f->files->len > 0 ? g_steal_pointer(&f) : NULL;
}

static gboolean
write_footer(Batch *b, GError **error)
{
    g_autoptr(Footer) f = footer_of(b);

    crash_point("apply-saved");
    if (!f)
        return TRUE;
    g_autoptr(GBytes) bytes = footer_encode(f);
    if (!packs_prepare(b->s->packs, bytes, error))
        return FALSE;
    crash_point("apply-prepared");
    b->s->unfinished = g_steal_pointer(&f); /* invariant 2: until the catalog has it */
    return TRUE;
}

static FooterFile *
footer_file_of(const Store *s, const char *path)
{
    for (guint i = 0; s->unfinished && i < s->unfinished->files->len; i++) {
        FooterFile *f = s->unfinished->files->pdata[i];
        if (g_str_equal(f->path, path))
            return f;
    }
    return NULL;
}

/* ---- steps 3 to 5 ---- */

static gboolean
is_new_content(const Work *w)
{
    return w->v->current && w->v->current->place == POINT_IN_JOURNAL;
}

/* All that are mixed, or may be from now on. */
static gboolean
list_mixed(Store *s, GError **error)
{
    g_autoptr(GPtrArray) names = g_ptr_array_new();
    GHashTableIter iter;
    gpointer name;

    g_hash_table_iter_init(&iter, s->mixed);
    while (g_hash_table_iter_next(&iter, &name, NULL))
        g_ptr_array_add(names, name);
    if (names->len > 0)
        return applying_set(s->layout, names, error);
    applying_clear(s->layout);
    return TRUE;
}

static char *
listed_name(const Work *w)
{
    g_autofree char *name = mirror_path(w->v->id, w->v->path);

    return path_escape(name);
}

static gboolean
list_in_place(Batch *b, GError **error)
{
    gboolean any = FALSE;

    for (guint i = 0; i < b->works->len; i++) {
        Work *w = b->works->pdata[i];
        w->in_place = goes_on(w) && is_new_content(w) &&
                      mirror_is_in_place(b->s->layout, w->v, w->v->current);
        if (w->in_place)
            g_hash_table_add(b->s->mixed, listed_name(w));
        any |= w->in_place;
    }
    if (!any)
        return TRUE;
    if (!list_mixed(b->s, error))
        return FALSE;
    crash_point("apply-listed");
    return TRUE;
}

/* Invariant 5. */
static gboolean
set_attributes(Batch *b, Work *w, GError **error)
{
    g_autoptr(GError) local = NULL;
    FileView *v = w->v;

    if (mirror_set_attributes(b->s->layout, v, &w->fd, &local))
        return TRUE;
    if (!v->current->lost) {
        g_propagate_error(error, g_steal_pointer(&local));
        return FALSE;
    }
    g_autofree char *text = path_escape(v->path);
    g_warning("'%s': its mirror is gone: %s: it is to be captured anew", text, local->message);
    w->mirror_gone = TRUE;
    return TRUE;
}

static gboolean
build_content(Batch *b, Work *w, GError **error)
{
    g_autofree char *target = mirror_path(w->v->id, w->v->path);
    Point *p = w->v->current;
    g_autoptr(Image) image = image_of(b->s->layout->root, w->v, p, error);

    if (!image)
        return FALSE;
    return w->in_place
               ? mirror_write(b->s->layout, w->v, p, image, &w->fd, error)
               : mirror_build(b->s->layout, w->v, p, image, target, &w->staged_name, &w->fd, error);
}

static gboolean
build(Batch *b, Work *w, GError **error)
{
    if (is_new_content(w)) {
        if (!build_content(b, w, error))
            return FALSE;
        crash_point("apply-built");
    } else if (w->v->current && w->v->attributes_changed) {
        if (!set_attributes(b, w, error))
            return FALSE;
        crash_point("apply-attributes");
    }
    return TRUE;
}

static gboolean
sync_content(G_GNUC_UNUSED Batch *b, Work *w, GError **error)
{
    if (w->fd >= 0 && fsync(w->fd) < 0) /* of all at once: the first one pays for the others */
        return throw_errno(error, "fsync of a mirror");
    fd_clear(fd_steal(&w->fd));
    return TRUE;
}

static gboolean
place(Batch *b, Work *w, GError **error)
{
    g_autofree char *target = mirror_path(w->v->id, w->v->path);

    if (!is_new_content(w))
        return TRUE;
    if (!mirror_place(b->s->layout, w->staged_name, target, &w->v->mirror_ino, error))
        return FALSE;
    crash_point("apply-renamed");
    return TRUE;
}

static gboolean
sync_place(Batch *b, Work *w, GError **error)
{
    g_autofree char *target = mirror_path(w->v->id, w->v->path);
    g_autofree char *folder = g_path_get_dirname(target);

    return !is_new_content(w) || w->in_place || fd_sync_folder(b->s->layout->root, folder, error);
}

static gboolean
change_mirrors(Batch *b, GError **error)
{
    if (!list_in_place(b, error))
        return work_of_this_file(FALSE, error); /* no error of the catalog */
    each(b, build);
    for (guint i = 0; i < b->works->len; i++)
        start_writing(((const Work *) b->works->pdata[i])->fd);
    each(b, sync_content);
    crash_point("apply-synced");
    each(b, place);
    each(b, sync_place);
    crash_point("apply-placed");
    return TRUE;
}

/* ---- step 6 ---- */

/* What the packs have got, of which the catalog does not know yet. */
static gboolean
count_added(const Store *s, CatalogPack *pack, GError **error)
{
    guint64 known;

    if (!catalog_pack_length(s->catalog, pack->id, &known, error))
        return FALSE;
    for (guint i = 0; i < s->unfinished->files->len; i++) {
        const FooterFile *f = s->unfinished->files->pdata[i];
        for (guint k = 0; k < f->points->len; k++) {
            const Undo *undo = ((const Point *) f->points->pdata[k])->undo;
            for (guint n = 0; undo && n < undo->pieces->len; n++) {
                const Piece *piece = &g_array_index(undo->pieces, Piece, n);
                if (piece->kind == PIECE_PACK && piece->pack == pack->id && piece->frame >= known)
                    pack->added_bytes += piece->length;
            }
        }
    }
    return TRUE;
}

static GArray *
changed_packs(const Store *s, GError **error)
{
    g_autoptr(GArray) packs = g_array_new(FALSE, FALSE, sizeof(CatalogPack));
    const GArray *changed = packs_changed(s->packs);

    for (guint i = 0; i < changed->len; i++) {
        const PackInfo *info = &g_array_index(changed, PackInfo, i);
        CatalogPack pack = {.id = info->id, .length_bytes = info->length_bytes};
        if (!count_added(s, &pack, error))
            return NULL;
        g_array_append_val(packs, pack);
    }
    return g_steal_pointer(&packs);
}

static guint64
applied_after(const Batch *b)
{
    g_autoptr(GHashTable) through = g_hash_table_new(g_str_hash, g_str_equal);

    for (guint i = 0; i < b->works->len; i++) {
        Work *w = b->works->pdata[i];
        if (goes_on(w) || w->done || w->given_up)
            g_hash_table_insert(through, w->path, &w->through);
    }
    return pending_applied_after(b->s->pending, through, journal_last_seq(b->s->journal));
}

/* Invariant 5. */
static void
bury_mirror(FileView *v)
{
    (void) view_bury(v);
    g_clear_pointer(&v->current, point_free);
    v->state = STORED_NOTHING;
    v->mirror_ino = 0;
}

/* What the catalog is to be told of the files. */
static gboolean
collect(Batch *b, GPtrArray *views, GPtrArray *abandoned, GPtrArray *prepared, gboolean *ret_lost,
        GError **error)
{
    for (guint i = 0; i < b->works->len; i++) {
        Work *w = b->works->pdata[i];
        FooterFile *f = footer_file_of(b->s, w->path);
        *ret_lost |= w->given_up || w->point_lost;
        if (w->given_up) {
            FileView *v = work_abandon(w, b->s, error);
            if (!v)
                return FALSE;
            g_ptr_array_add(abandoned, v);
            g_ptr_array_add(views, v);
        } else if (goes_on(w)) {
            if (w->mirror_gone)
                bury_mirror(w->v);
            g_ptr_array_add(views, w->v);
        } else if (w->error && f) { /* invariant 2 */
            g_ptr_array_add(prepared, f);
        }
    }
    return TRUE;
}

static gboolean
commit(Batch *b, GError **error)
{
    g_autoptr(GPtrArray) views = g_ptr_array_new();
    g_autoptr(GPtrArray) abandoned = g_ptr_array_new_with_free_func((GDestroyNotify) view_free);
    g_autoptr(GPtrArray) prepared = g_ptr_array_new();
    g_autoptr(GArray) packs = NULL;
    gboolean lost = FALSE;
    CatalogChange change = {.views = views, .prepared = prepared, .applied = applied_after(b)};

    if (!collect(b, views, abandoned, prepared, &lost, error) ||
        (lost && !catalog_set_lost(b->s->catalog, error)))
        return FALSE;
    if (b->s->unfinished && !(change.packs = packs = changed_packs(b->s, error)))
        return FALSE;
    if (!catalog_save(b->s->catalog, &change, error))
        return FALSE;
    crash_point("apply-committed");
    if (b->s->unfinished)
        packs_done(b->s->packs);
    g_clear_pointer(&b->s->unfinished, footer_free);
    journal_release(b->s->journal, change.applied);
    return TRUE;
}

/* ---- step 7 ---- */

/* Staged files that were moved have no name any more; those of superseded contents do. */
static void
remove_staged(const Store *s, const Work *w)
{
    for (guint i = 0; w->transactions && i < w->transactions->len; i++) {
        const Transaction *t = w->transactions->pdata[i];
        if (t->seq <= w->through && t->capture.kind == APPEND_STAGED)
            staged_remove(s->layout->staged, t->capture.staged);
    }
}

static void
clean_up(Batch *b)
{
    gboolean listed = FALSE;

    for (guint i = 0; i < b->works->len; i++) {
        Work *w = b->works->pdata[i];
        if (!goes_on(w) && !w->done && !w->given_up)
            continue;
        remove_staged(b->s, w);
        g_autofree char *name = w->v ? listed_name(w) : NULL;
        listed |= name && g_hash_table_remove(b->s->mixed, name);
        pending_remove(b->s->pending, w->path, w->through);
        w->transactions = NULL;
    }
    if (listed)
        (void) list_mixed(b->s, NULL); /* that it says too much does no harm */
    crash_point("apply-cleaned");
}

/* ---- a batch ---- */

/* Steps 2 to 7. */
static gboolean
run_batch(Batch *b, GError **error)
{
    gboolean any = FALSE;

    for (guint i = 0; i < b->works->len; i++) {
        const Work *w = b->works->pdata[i];
        any |= !w->error || w->given_up;
    }
    if (!any && !b->redo)
        return packs_drop(b->s->packs, error);
    if (!sync_folders(b, error) || (!b->redo && !write_footer(b, error)))
        return FALSE;
    if (!change_mirrors(b, error) || !commit(b, error))
        return FALSE;
    clean_up(b);
    return TRUE;
}

static void
tell(const Batch *b, AppliedFunc told, gpointer data)
{
    for (guint i = 0; i < b->works->len; i++) {
        Work *w = b->works->pdata[i];
        g_autofree char *text = path_escape(w->path);
        if (!w->error && pending_of(b->s->pending, w->path))
            continue; /* another round */
        if (w->given_up)
            w->error->code = FILEDUP_ERROR_DAMAGED;
        if (w->error)
            (void) throw_prefixed(&w->error, "applying '%s'", text);
        if (told)
            told(w->path, w->error, w->given_up, data);
    }
}

/* Step 1 of one path. */
static gboolean
add_work(Batch *b, const char *path, GError **error)
{
    Work *w = work_new(path, pending_of(b->s->pending, path));
    g_autoptr(GError) local = NULL;
    FooterFile *prepared = NULL;

    g_ptr_array_add(b->works, w);
    crash_point("apply-begin");
    if (catalog_has_prepared(b->s->catalog)) {
        const Transaction *t = w->transactions->pdata[0];
        prepared = catalog_prepared(b->s->catalog, t->capture.file, &local);
        if (local) {
            g_propagate_error(error, g_steal_pointer(&local));
            return FALSE;
        }
    }
    if (prepared ? work_resume(w, b->s, prepared, &local) : work_prepare(w, b->s, &local))
        return TRUE;
    if (local)
        g_propagate_error(error, g_steal_pointer(&local));
    return !error || !*error;
}

static Batch
batch_new(Store *s)
{
    return (Batch){.s = s, .works = g_ptr_array_new_with_free_func((GDestroyNotify) work_free)};
}

/* What was prepared, by this process or one before. */
static gboolean
finish(Store *s, AppliedFunc told, gpointer data, GError **error)
{
    g_auto(Batch) b = batch_new(s);

    b.redo = TRUE;
    for (guint i = 0; i < s->unfinished->files->len; i++) {
        const FooterFile *f = s->unfinished->files->pdata[i];
        Work *w = work_new(f->path, pending_of(s->pending, f->path));
        g_autoptr(GError) local = NULL;
        g_ptr_array_add(b.works, w);
        (void) work_resume(w, s, footer_file_copy(f), &local);
        if (local) {
            g_propagate_error(error, g_steal_pointer(&local));
            return FALSE;
        }
    }
    if (!run_batch(&b, error))
        return FALSE;
    tell(&b, told, data);
    return TRUE;
}

/* One round; *ret_again: paths of which something is still pending. */
static gboolean
apply_round(Store *s, const GPtrArray *paths, GPtrArray *ret_again, AppliedFunc told, gpointer data,
            GError **error)
{
    g_auto(Batch) b = batch_new(s);

    for (guint i = 0; i < paths->len; i++) {
        const char *path = paths->pdata[i];
        if (!pending_of(s->pending, path)) {
            if (told)
                told(path, NULL, FALSE, data);
        } else if (!add_work(&b, path, error)) {
            (void) packs_drop(s->packs, NULL);
            return FALSE;
        }
    }
    if (b.works->len == 0)
        return TRUE;
    if (!run_batch(&b, error)) {
        if (!s->unfinished)
            (void) packs_drop(s->packs, NULL);
        return FALSE;
    }
    for (guint i = 0; i < b.works->len; i++) {
        const Work *w = b.works->pdata[i];
        if ((!w->error || w->given_up) && pending_of(s->pending, w->path))
            g_ptr_array_add(ret_again, g_strdup(w->path));
    }
    tell(&b, told, data);
    return TRUE;
}

static gboolean
apply_rounds(Store *s, const GPtrArray *paths, AppliedFunc told, gpointer data, GError **error)
{
    g_autoptr(GPtrArray) list = g_ptr_array_new_with_free_func(g_free);

    if (s->unfinished && !finish(s, told, data, error))
        return FALSE;
    for (guint i = 0; i < paths->len; i++)
        g_ptr_array_add(list, g_strdup(paths->pdata[i]));
    while (list->len > 0) {
        g_autoptr(GPtrArray) again = g_ptr_array_new_with_free_func(g_free);
        if (!apply_round(s, list, again, told, data, error))
            return FALSE;
        g_ptr_array_unref(list);
        list = g_steal_pointer(&again);
    }
    return TRUE;
}

gboolean
apply_batch(Store *s, const GPtrArray *paths, AppliedFunc told, gpointer data, GError **error)
{
    g_autoptr(GError) local = NULL;

    if (apply_rounds(s, paths, told, data, &local))
        return TRUE;
    if (g_error_matches(local, FILEDUP_ERROR, FILEDUP_ERROR_BUSY))
        local->code = FILEDUP_ERROR_FATAL; /* the catalog's, which is ours alone */
    g_propagate_error(error, g_steal_pointer(&local));
    return FALSE;
}

GPtrArray *
apply_choose(const Store *s, GHashTable *but)
{
    g_autoptr(GPtrArray) paths = g_ptr_array_new_with_free_func(g_free);
    g_autoptr(GHashTable) seen = g_hash_table_new(g_str_hash, g_str_equal);
    g_autoptr(GPtrArray) all = pending_all(s->pending);
    guint64 bytes = 0;

    for (guint i = 0; i < all->len && paths->len < APPLY_BATCH_FILES; i++) {
        const Transaction *t = all->pdata[i];
        if (bytes > 0 && bytes + t->bytes > APPLY_BATCH_BYTES)
            break;
        if ((but && g_hash_table_contains(but, t->capture.path)))
            continue;
        bytes += t->bytes;
        if (g_hash_table_add(seen, t->capture.path))
            g_ptr_array_add(paths, g_strdup(t->capture.path));
    }
    return g_steal_pointer(&paths);
}

static void
take_error(G_GNUC_UNUSED const char *path, const GError *error, G_GNUC_UNUSED gboolean given_up,
           gpointer data)
{
    GError **kept = data;

    if (error && !*kept)
        *kept = g_error_copy(error);
}

gboolean
apply_file(Store *s, const char *path, GError **error)
{
    g_autoptr(GPtrArray) paths = g_ptr_array_new_with_free_func(g_free);
    g_autofree char *text = path_escape(path);
    g_autoptr(GError) own = NULL;

    g_ptr_array_add(paths, g_strdup(path)); /* it may be the transaction's own */
    if (!apply_batch(s, paths, take_error, &own, error))
        return throw_prefixed(error, "applying '%s'", text);
    if (own)
        g_propagate_error(error, g_steal_pointer(&own));
    return !error || !*error;
}
