/* store.c - a store as a whole: recovery of what was being applied, and what it has of a file
 *
 * OPENING  layout, catalog, journal (which brings what is pending); then here: the packs, and the
 *          batch that a crash left prepared. Its footer says what its files were to become; their
 *          transactions are in the journal, so it is finished (apply.c) before anything is accepted.
 *
 * INVARIANTS
 *  (1) A batch that compaction prepared is dropped only while all packs that the catalog names are
 *      there. If one is missing, the catalog is older than that compaction (it was put back): then
 *      the batch may be the only copy of those bytes. The move is done again, and the batch becomes
 *      the catalog's.
 *  (2) As long as a pack is missing, compaction removes none.
 *  (3) What turns out to be lost while a batch is finished is said by this very opening, for its end
 *      clears the mark that says so to the next one (catalog_set_open).
 *  (4) The catalog learns of each incarnation of the journal after the switch to it, whoever has it
 *      compacted.
 */

#include "config.h"

#include <string.h>

#include "base/error.h"
#include "base/path.h"
#include "base/sums.h"
#include "store/apply.h"
#include "store/applying.h"
#include "store/mirror.h"
#include "store/staged.h"

/* ---- recovery ---- */

static void
add_note(char **note, char *more)
{
    g_autofree char *before = g_steal_pointer(note);
    g_autofree char *added = more;

    *note = before ? g_strdup_printf("%s; %s", before, added) : g_steal_pointer(&added);
}

static gboolean
has_id(const GArray *ids, guint64 id)
{
    for (guint i = 0; i < ids->len; i++)
        if (g_array_index(ids, guint64, i) == id)
            return TRUE;
    return FALSE;
}

/* Of the packs that the catalog names (CatalogPackUse) the ids of those that are not there. */
static GArray *
missing_packs(Store *s, const GArray *uses)
{
    GArray *missing = g_array_new(FALSE, FALSE, sizeof(guint64));
    g_autoptr(GArray) there = packs_list(s->packs);
    g_autoptr(GArray) ids = g_array_new(FALSE, FALSE, sizeof(guint64));

    for (guint i = 0; i < there->len; i++)
        g_array_append_val(ids, g_array_index(there, PackInfo, i).id);
    for (guint i = 0; i < uses->len; i++) {
        const CatalogPackUse *use = &g_array_index(uses, CatalogPackUse, i);
        if (use->length_bytes > 0 && !has_id(ids, use->id))
            g_array_append_val(missing, use->id);
    }
    return missing;
}

static gboolean
open_packs(Store *s, char **ret_note, GError **error)
{
    g_autoptr(GArray) uses = catalog_packs(s->catalog, error);
    g_autoptr(GArray) known = g_array_new(FALSE, FALSE, sizeof(PackInfo));

    if (!uses)
        return FALSE;
    for (guint i = 0; i < uses->len; i++) {
        const CatalogPackUse *use = &g_array_index(uses, CatalogPackUse, i);
        PackInfo info = {.id = use->id, .length_bytes = use->length_bytes};
        g_array_append_val(known, info);
    }
    s->packs = packs_open(s->layout->history, s->layout->uuid, (const PackInfo *) known->data,
                          known->len, ret_note, error);
    if (s->packs)
        s->pack_missing = missing_packs(s, uses)->len > 0;
    return s->packs != NULL;
}

/* ---- a compaction that the catalog does not know (invariant 1) ---- */

static gboolean
starts_from_missing(const Point *p, const GArray *missing)
{
    for (guint i = 0; p->undo && i < p->undo->pieces->len; i++) {
        const Piece *piece = &g_array_index(p->undo->pieces, Piece, i);
        if (piece->kind == PIECE_PACK && has_id(missing, piece->pack))
            return TRUE;
    }
    return FALSE;
}

/* Where the catalog still has the point: its bytes are where the footer says. (That they are the right
 * ones, the point's hash says whenever it is read.) */
static guint
take_points(FileView *v, const FooterFile *f, const GArray *missing)
{
    guint n = 0;

    for (guint i = 0; i < f->points->len; i++) {
        Point *from = f->points->pdata[i], *to = view_point(v, from->id);
        if (!to || to == v->current || !from->undo || !starts_from_missing(to, missing) ||
            memcmp(to->hash, from->hash, HASH_BYTES) != 0)
            continue;
        undo_free(to->undo);
        to->undo = g_steal_pointer(&from->undo);
        to->whole = from->whole;
        to->place = to->whole ? POINT_IN_HISTORY : POINT_IN_UNDO;
        to->fresh = TRUE;
        n++;
    }
    return n;
}

static gboolean
take_file(Store *s, const FooterFile *f, const GArray *missing, GPtrArray *views, GError **error)
{
    g_autoptr(GError) local = NULL;

    for (guint i = 0; i < views->len; i++)
        if (((const FileView *) views->pdata[i])->id == f->id) {
            (void) take_points(views->pdata[i], f, missing);
            return TRUE;
        }
    g_autoptr(FileView) v = catalog_load_file(s->catalog, f->id, CATALOG_UNDO, &local);
    g_autoptr(FooterFile) prepared = v ? catalog_prepared(s->catalog, v->id, &local) : NULL;
    if (local && !g_error_matches(local, FILEDUP_ERROR, FILEDUP_ERROR_NO_ENTRY)) {
        g_propagate_error(error, g_steal_pointer(&local));
        return FALSE;
    }
    if (v && !prepared && g_str_equal(v->path, f->path) && take_points(v, f, missing) > 0)
        g_ptr_array_add(views, g_steal_pointer(&v));
    return TRUE;
}

/* The latest word on a point counts. */
static gboolean
find_moved(Store *s, const GArray *missing, GPtrArray *views, gboolean *ret_any, GError **error)
{
    GPtrArray *recovered = packs_recovered(s->packs);

    for (guint i = recovered->len; i-- > 0;) {
        g_autoptr(Footer) f = footer_decode(recovered->pdata[i], error);
        if (!f)
            return FALSE;
        if (f->kind != FOOTER_MOVED)
            continue;
        *ret_any = TRUE;
        for (guint k = 0; k < f->files->len; k++)
            if (!take_file(s, f->files->pdata[k], missing, views, error))
                return FALSE;
    }
    return TRUE;
}

/* What is behind the catalog, as its own; what of it is dead, compaction finds out. */
static GArray *
all_recovered(Store *s)
{
    GArray *packs = g_array_new(FALSE, TRUE, sizeof(CatalogPack));
    const GArray *changed = packs_changed(s->packs);

    for (guint i = 0; i < changed->len; i++) {
        const PackInfo *info = &g_array_index(changed, PackInfo, i);
        CatalogPack pack = {info->id, info->length_bytes, info->length_bytes};
        g_array_append_val(packs, pack);
    }
    return packs;
}

/* Missing packs of which nobody needs anything any more. */
static gboolean
end_missing(Store *s, const GArray *missing, GError **error)
{
    g_autoptr(GArray) removed = g_array_new(FALSE, FALSE, sizeof(guint64));
    CatalogChange change = {.removed_packs = removed};

    for (guint i = 0; i < missing->len; i++) {
        guint64 pack = g_array_index(missing, guint64, i);
        g_autoptr(GArray) users = catalog_pack_users(s->catalog, pack, error);
        if (!users)
            return FALSE;
        if (users->len == 0)
            g_array_append_val(removed, pack);
    }
    s->pack_missing = removed->len < missing->len;
    return removed->len == 0 || catalog_save(s->catalog, &change, error);
}

/* `alone`: there is no batch of apply that would bring the packs' lengths with it. */
static gboolean
redo_moves(Store *s, gboolean alone, char **note, gboolean *ret_damage, GError **error)
{
    g_autoptr(GPtrArray) views = g_ptr_array_new_with_free_func((GDestroyNotify) view_free);
    g_autoptr(GArray) uses = catalog_packs(s->catalog, error);
    g_autoptr(GArray) missing = uses ? missing_packs(s, uses) : NULL;
    g_autoptr(GArray) packs = alone ? all_recovered(s) : NULL;
    g_autofree char *folder = path_escape(s->layout->path);
    CatalogChange change = {.views = views, .packs = packs};
    gboolean any = FALSE;

    if (!missing || !find_moved(s, missing, views, &any, error))
        return FALSE;
    if (any) {
        *ret_damage = TRUE;
        add_note(note, g_strdup_printf("the catalog is older than the packs: of %u files old "
                                       "contents were found where they have moved to; if others "
                                       "are missing, 'filedup store rebuild %s' looks for them",
                                       views->len, folder));
    }
    if (!catalog_save(s->catalog, &change, error))
        return FALSE;
    if (alone)
        packs_done(s->packs);
    return !any || end_missing(s, missing, error);
}

/* What is prepared, of all batches together; NULL without an error: nothing. */
static Footer *
prepared_footer(Store *s, GError **error)
{
    GPtrArray *recovered = packs_recovered(s->packs);
    g_autoptr(Footer) all = footer_new(FOOTER_APPLY);

    for (guint i = 0; i < recovered->len; i++) {
        g_autoptr(Footer) f = footer_decode(recovered->pdata[i], error);
        if (!f)
            return NULL;
        if (f->kind != FOOTER_APPLY)
            continue; /* it has changed nothing before the catalog has (but see invariant 1) */
        g_ptr_array_set_free_func(f->files, NULL);
        for (guint k = 0; k < f->files->len; k++)
            g_ptr_array_add(all->files, f->files->pdata[k]);
    }
    return all->files->len > 0 ? g_steal_pointer(&all) : NULL;
}

typedef struct Lost {
    guint n;
    char *first;
} Lost;

static void
count_lost(G_GNUC_UNUSED const char *path, const GError *error, gboolean given_up, gpointer data)
{
    Lost *lost = data;

    if (given_up && lost->n++ == 0)
        lost->first = g_strdup(error->message);
}

static gboolean
finish_prepared(Store *s, char **note, gboolean *ret_damage, GError **error)
{
    g_autoptr(GError) local = NULL;
    g_autoptr(GPtrArray) none = g_ptr_array_new();
    CatalogState before, after = {0};
    Lost lost = {0};

    s->unfinished = prepared_footer(s, &local);
    if (local) {
        g_propagate_error(error, g_steal_pointer(&local));
        return FALSE;
    }
    if (s->pack_missing && packs_recovered(s->packs)->len > 0 &&
        !redo_moves(s, s->unfinished == NULL, note, ret_damage, error))
        return FALSE;
    if (!s->unfinished)
        return packs_recovered(s->packs)->len == 0 || packs_drop(s->packs, error);
    gboolean ok = catalog_state(s->catalog, &before, &local) &&
                  apply_batch(s, none, count_lost, &lost, &local) &&
                  catalog_state(s->catalog, &after, &local);
    if (after.lost && !before.lost && lost.n == 0) { /* invariant 3 */
        *ret_damage = TRUE;
        add_note(note, g_strdup("an old content that was kept as a whole is not what it was"));
    }
    if (lost.n > 0) {
        *ret_damage = TRUE;
        add_note(note, g_strdup_printf("%u files could not be brought to what was captured (%s)",
                                       lost.n, lost.first));
        g_free(lost.first);
    }
    /* Without space it stays unfinished, and is tried again before anything else. */
    if (ok || g_error_matches(local, FILEDUP_ERROR, FILEDUP_ERROR_AGAIN))
        return TRUE;
    g_propagate_error(error, g_steal_pointer(&local));
    return FALSE;
}

static gboolean
load_mixed(Store *s, GError **error)
{
    g_autoptr(GPtrArray) names = applying_get(s->layout->root, error);

    for (guint i = 0; names && i < names->len; i++)
        g_hash_table_add(s->mixed, g_strdup(names->pdata[i]));
    return names != NULL;
}

/* Of a batch that had no footer (apply.c) only the list tells: a mirror on it is mixed until what is
 * pending of it is applied. */
static gboolean
keep_listed(Store *s, GError **error)
{
    g_autoptr(GPtrArray) names = applying_get(s->layout->root, error);
    g_autoptr(GList) paths = pending_paths(s->pending);

    if (!names)
        return FALSE;
    for (GList *l = paths; l; l = l->next) {
        const GPtrArray *list = pending_of(s->pending, l->data);
        g_autofree char *mirror =
            mirror_path(((const Transaction *) list->pdata[0])->capture.file, l->data);
        g_autofree char *name = path_escape(mirror);
        if (g_ptr_array_find_with_equal_func(names, name, g_str_equal, NULL))
            g_hash_table_add(s->mixed, g_steal_pointer(&name));
    }
    if (g_hash_table_size(s->mixed) == 0)
        applying_clear(s->layout);
    return TRUE;
}

gboolean
store_recover(Store *s, char **ret_note, gboolean *ret_damage, GError **error)
{
    *ret_note = NULL;
    *ret_damage = FALSE;
    if (!s->mixed)
        s->mixed = g_hash_table_new_full(g_str_hash, g_str_equal, g_free, NULL);
    if (!open_packs(s, ret_note, error) || !finish_prepared(s, ret_note, ret_damage, error))
        return FALSE;
    return s->unfinished || catalog_has_prepared(s->catalog) ? load_mixed(s, error)
                                                             : keep_listed(s, error);
}

void
store_clear(Store *s)
{
    g_clear_pointer(&s->pending, pending_free);
    g_clear_pointer(&s->journal, journal_close);
    g_clear_pointer(&s->packs, packs_close);
    g_clear_pointer(&s->catalog, catalog_close);
    g_clear_pointer(&s->layout, layout_close);
    g_clear_pointer(&s->mixed, g_hash_table_unref);
    g_clear_pointer(&s->unfinished, footer_free);
}

/* Invariant 4. */
JournalRoom
store_compact_journal(Store *s, GError **error)
{
    g_autoptr(GError) local = NULL;
    JournalRoom room = journal_compact(s->journal, s->pending, error);

    if (room != JOURNAL_ROOM ||
        catalog_set_incarnation(s->catalog, journal_incarnation(s->journal), &local) ||
        g_error_matches(local, FILEDUP_ERROR, FILEDUP_ERROR_AGAIN)) /* no space: it is behind */
        return room;
    g_propagate_error(error, g_steal_pointer(&local));
    return JOURNAL_ERROR;
}

/* ---- what it has of a file ---- */

/* Of a file whose apply was prepared, and may have changed its mirror; NULL without an error: it is
 * none. */
static FooterFile *
prepared_of(const Store *s, const FileView *v, GError **error)
{
    for (guint i = 0; s->unfinished && i < s->unfinished->files->len; i++) {
        const FooterFile *f = s->unfinished->files->pdata[i];
        if (f->id == v->id || g_str_equal(f->path, v->path))
            return footer_file_copy(f);
    }
    return v->id ? catalog_prepared(s->catalog, v->id, error) : NULL;
}

FileView *
store_view(const Store *s, const char *path, CatalogLoad how, GError **error)
{
    g_autoptr(FileView) v = catalog_load(s->catalog, path, how, error);
    GPtrArray *transactions = pending_of(s->pending, path);
    g_autoptr(GError) local = NULL;

    if (!v)
        return NULL;
    g_autoptr(FooterFile) prepared = prepared_of(s, v, &local);
    if (local) {
        g_propagate_error(error, g_steal_pointer(&local));
        return NULL;
    }
    if (prepared && prepared->through > v->applied) {
        view_fold_through(v, transactions, prepared->through);
        view_lay_prepared(v, prepared);
    }
    view_fold(v, transactions);
    return g_steal_pointer(&v);
}

gboolean
store_is_plain(G_GNUC_UNUSED const FileView *v, const Point *p)
{
    if (p->place == POINT_IN_UNDO || p->undo)
        return FALSE;
    if (p->place == POINT_IN_MIRROR)
        return TRUE;
    if (p->place == POINT_IN_HISTORY) /* fresh: prepared, and its sums are not in the catalog yet */
        return p->whole == p->id && !p->fresh;
    return capture_is_whole(&p->source->capture);
}

static GBytes *
sums_of(Catalog *catalog, int staged_fd, const FileView *v, const Point *p, GError **error)
{
    if (p->sums)
        return g_bytes_ref(p->sums);
    if (p->place == POINT_IN_MIRROR)
        return catalog_sums(catalog, v->id, error);
    if (p->place == POINT_IN_HISTORY)
        return catalog_point_sums(catalog, v->id, p->id, error);
    if (p->source->sums)
        return g_bytes_ref(p->source->sums);
    if (p->source->capture.kind == APPEND_STAGED)
        return staged_sums(staged_fd, p->source->capture.staged, p->size_bytes, error);
    g_auto(Fd) fd = mirror_open(-1, v, p, error);
    return fd < 0 ? NULL : point_sums_read(fd, p->size_bytes, error);
}

GBytes *
store_sums(Catalog *catalog, int staged_fd, const FileView *v, const Point *p, GError **error)
{
    g_autoptr(GBytes) sums = sums_of(catalog, staged_fd, v, p, error);

    if (!sums || g_bytes_get_size(sums) == sums_length(p->size_bytes))
        return g_steal_pointer(&sums);
    throw_error(error, FILEDUP_ERROR_DAMAGED, "nothing tells whether it is what was captured");
    return NULL;
}
