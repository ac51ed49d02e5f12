/* compact.c - gives back the space of packs that are mostly dead
 *
 * STEPS      1  bytes that are live in the pack are read, checked, and saved once more in a batch of
 *               the newest pack; its footer (FOOTER_MOVED) has the undo that points to them there;
 *               prepared
 *            2  one catalog transaction: that undo, the length of the newest pack; and, once nothing
 *               is live in the old pack, its length as 0
 *            3  the old pack is removed; its row goes later (pack.h: no id is used twice)
 *
 * INVARIANTS
 *  (1) Before 2 everything is as it was, and a recovered batch of kind "moved" is dropped. After 2
 *      nothing refers to the old bytes. So a crash anywhere loses nothing, and costs a step.
 *  (2) A pack that cannot be read whole is left as it is: what is unreadable today may be readable
 *      tomorrow. Forgetting waits too where the disk did not let us read; bytes that are not what was
 *      written it gives up (they become PIECE_BAD, and a warning names them).
 *  (3) The pack that is being filled is no candidate, and files that are busy (thin.c) stay where
 *      they are.
 *
 *  (4) While a pack that the catalog names is missing, none is given up by itself: what nobody seems to
 *      need may be the only copy of what was in that one (store.c).
 *
 * CRASH POINTS  compact-begin, compact-prepared, compact-saved, compact-removed; pack-... (pack.c)
 */

#include "config.h"

#include <string.h>

#include "base/crash.h"
#include "base/error.h"
#include "base/path.h"
#include "store/compact.h"
#include "store/footer.h"
#include "store/thin.h"

/* One step of emptying one pack. */
typedef struct Move {
    Store *store;
    guint64 pack;
    gboolean forced;  /* invariant 2 */
    guint8 *buffer;   /* a frame */
    guint64 bytes;    /* saved so far */
    GPtrArray *views; /* that change */
    GPtrArray *words; /* FooterFile: of the others that the pack speaks of */
    GHashTable *said; /* guint64 file -> table of guint64 points that it speaks of */
    gboolean left;    /* something live stays in it: a file is busy, or the step is over */
    gboolean written; /* there is a batch */
    gboolean saving;  /* the catalog may have it */
} Move;

static void
move_clear(Move *m)
{
    g_clear_pointer(&m->views, g_ptr_array_unref);
    g_clear_pointer(&m->words, g_ptr_array_unref);
    g_clear_pointer(&m->said, g_hash_table_unref);
    g_clear_pointer(&m->buffer, g_free);
}

G_DEFINE_AUTO_CLEANUP_CLEAR_FUNC(Move, move_clear)

/* ---- step 1 ---- */

/* Of forgetting alone: the bytes are lost, and it is said. */
static void
give_up(const FileView *v, const Point *p, const Piece *piece, const GError *why, Piece *ret_piece)
{
    g_autofree char *text = path_escape(v->path);

    g_warning("'%s', point %" G_GUINT64_FORMAT ": %" G_GUINT64_FORMAT " bytes at %" G_GUINT64_FORMAT
              " are lost: %s",
              text, p->id, piece->length, piece->offset, why->message);
    *ret_piece = (Piece){.offset = piece->offset, .length = piece->length, .kind = PIECE_BAD};
}

static gboolean
move_piece(Move *m, const FileView *v, const Point *p, const Piece *piece, Piece *ret_piece,
           GError **error)
{
    g_autoptr(GError) local = NULL;
    gsize n = (gsize) piece->length;

    if (piece->length > PACK_FRAME_BYTES)
        throw_error(&local, FILEDUP_ERROR_DAMAGED, "a piece that is larger than a frame");
    else if (packs_read(m->store->packs, piece, 0, m->buffer, n, &local)) {
        m->written = TRUE;
        m->bytes += n;
        return packs_add(m->store->packs, piece->offset, m->buffer, n, ret_piece, error);
    }
    gboolean damaged = g_error_matches(local, FILEDUP_ERROR, FILEDUP_ERROR_DAMAGED);
    if (m->forced && damaged && packs_is_unreadable(m->store->packs)) {
        local->code = FILEDUP_ERROR_AGAIN;
    } else if (m->forced && damaged) {
        give_up(v, p, piece, local, ret_piece);
        return TRUE;
    }
    g_propagate_error(error, g_steal_pointer(&local));
    return FALSE;
}

/* As much of it as the step still takes. */
static gboolean
move_point(Move *m, const FileView *v, Point *p, GError **error)
{
    g_autoptr(Undo) moved = undo_new(p->undo->size_bytes);
    guint64 before = m->bytes;

    for (guint i = 0; i < p->undo->pieces->len; i++) {
        Piece piece = g_array_index(p->undo->pieces, Piece, i), copy = piece;
        gboolean ours = piece.kind == PIECE_PACK && piece.pack == m->pack;
        if (ours && m->bytes >= COMPACT_STEP_BYTES)
            m->left = TRUE;
        else if (ours && !move_piece(m, v, p, &piece, &copy, error))
            return FALSE;
        undo_add(moved, &copy);
    }
    if (m->bytes == before && !m->forced)
        return TRUE;
    undo_free(p->undo);
    p->undo = g_steal_pointer(&moved);
    p->fresh = TRUE;
    return TRUE;
}

static gboolean
uses_pack(const Point *p, guint64 pack)
{
    for (guint i = 0; p->undo && i < p->undo->pieces->len; i++) {
        const Piece *piece = &g_array_index(p->undo->pieces, Piece, i);
        if (piece->kind == PIECE_PACK && piece->pack == pack)
            return TRUE;
    }
    return FALSE;
}

static gboolean
move_file(Move *m, guint64 file, GError **error)
{
    gboolean busy;
    g_autoptr(FileView) v = catalog_load_file(m->store->catalog, file, CATALOG_UNDO, error);

    if (!v || !thin_is_busy(m->store, v, &busy, error))
        return FALSE;
    if (busy) { /* invariant 3 */
        m->left = TRUE;
        return TRUE;
    }
    for (guint i = 0; i < v->points->len; i++) {
        Point *p = v->points->pdata[i];
        if (uses_pack(p, m->pack) && !move_point(m, v, p, error))
            return FALSE;
    }
    g_ptr_array_add(m->views, g_steal_pointer(&v));
    return TRUE;
}

static gboolean
move_all(Move *m, GError **error)
{
    g_autoptr(GArray) users = catalog_pack_users(m->store->catalog, m->pack, error);
    guint64 last = 0;

    if (!users)
        return FALSE;
    for (guint i = 0; i < users->len; i++) {
        guint64 file = g_array_index(users, CatalogUser, i).file;
        if (file == last)
            continue;
        last = file;
        if (m->bytes >= COMPACT_STEP_BYTES) {
            m->left = TRUE;
            return TRUE;
        }
        if (!move_file(m, file, error))
            return FALSE;
    }
    return TRUE;
}

/* ---- what the pack says ---- */

static void
hear_file(Move *m, const FooterFile *f)
{
    GHashTable *points = g_hash_table_lookup(m->said, &f->id);

    if (!points) {
        points = g_hash_table_new_full(g_int64_hash, g_int64_equal, g_free, NULL);
        g_hash_table_insert(m->said, g_memdup2(&f->id, sizeof f->id), points);
    }
    for (guint i = 0; i < f->points->len; i++)
        g_hash_table_add(points, g_memdup2(&((const Point *) f->points->pdata[i])->id,
                                           sizeof(guint64)));
    for (guint i = 0; i < f->dropped->len; i++)
        g_hash_table_add(points, g_memdup2(&g_array_index(f->dropped, guint64, i),
                                           sizeof(guint64)));
}

static void
hear(guint64 pack, GBytes *bytes, gpointer data)
{
    g_autoptr(Footer) footer = footer_decode(bytes, NULL);

    (void) pack;
    for (guint i = 0; footer && i < footer->files->len; i++)
        hear_file(data, footer->files->pdata[i]);
}

static FileView *
moved_view(const Move *m, guint64 file)
{
    for (guint i = 0; i < m->views->len; i++)
        if (((const FileView *) m->views->pdata[i])->id == file)
            return m->views->pdata[i];
    return NULL;
}

/* A word on what is still there of the points, and on what is not. */
static FooterFile *
word_on(FileView *v, GHashTable *points)
{
    GHashTableIter iter;
    gpointer id;

    for (guint i = 0; i < v->points->len; i++) {
        Point *p = v->points->pdata[i];
        p->fresh |= g_hash_table_remove(points, &p->id);
    }
    FooterFile *f = footer_file_new(v);
    f->through = 0;
    g_hash_table_iter_init(&iter, points);
    while (g_hash_table_iter_next(&iter, &id, NULL))
        if (!v->current || *(guint64 *) id != v->current->id)
            g_array_append_val(f->dropped, *(guint64 *) id);
    return f;
}

static gboolean
say_again_of(Move *m, guint64 file, GHashTable *points, GError **error)
{
    g_autoptr(GError) local = NULL;
    g_autoptr(FileView) own = NULL;
    FileView *v = moved_view(m, file);
    gboolean busy = FALSE;

    if (!v) {
        v = own = catalog_load_file(m->store->catalog, file, CATALOG_UNDO, &local);
        if (g_error_matches(local, FILEDUP_ERROR, FILEDUP_ERROR_NO_ENTRY))
            return TRUE; /* forgotten, or gone */
        if (local) {
            g_propagate_error(error, g_steal_pointer(&local));
            return FALSE;
        }
        if (!thin_is_busy(m->store, v, &busy, error))
            return FALSE;
    }
    if (busy)
        m->left = TRUE;
    else
        g_ptr_array_add(m->words, word_on(v, points));
    return TRUE;
}

/* Nothing of it is said where something stays in the pack, for then the pack stays. */
static gboolean
say_again(Move *m, GError **error)
{
    g_autoptr(GError) local = NULL;
    GHashTableIter iter;
    gpointer file, points;

    if (m->left)
        return TRUE;
    if (!packs_footers(m->store->packs, m->pack, hear, m, &local) && !m->forced) {
        g_propagate_error(error, g_steal_pointer(&local));
        return FALSE;
    }
    g_hash_table_iter_init(&iter, m->said);
    while (g_hash_table_iter_next(&iter, &file, &points))
        if (!say_again_of(m, *(guint64 *) file, points, error))
            return FALSE;
    m->written |= !m->left && m->words->len > 0;
    return TRUE;
}

static gboolean
has_word(const Move *m, guint64 file)
{
    for (guint i = 0; !m->left && i < m->words->len; i++)
        if (((const FooterFile *) m->words->pdata[i])->id == file)
            return TRUE;
    return FALSE;
}

static gboolean
prepare(Move *m, GError **error)
{
    g_autoptr(Footer) footer = footer_new(FOOTER_MOVED);

    for (guint i = 0; i < m->views->len; i++) {
        const FileView *v = m->views->pdata[i];
        if (has_word(m, v->id))
            continue;
        FooterFile *f = footer_file_new(v);
        f->through = 0;
        g_ptr_array_add(footer->files, f);
    }
    for (guint i = 0; !m->left && i < m->words->len; i++)
        g_ptr_array_add(footer->files, footer_file_copy(m->words->pdata[i]));
    g_autoptr(GBytes) bytes = footer_encode(footer);
    return packs_prepare(m->store->packs, bytes, error);
}

/* ---- steps 2 and 3 ---- */

/* Rows of packs that were given up before, and whose files are gone. */
static gboolean
find_gone(Store *s, GArray *gone, GError **error)
{
    g_autoptr(GArray) packs = catalog_packs(s->catalog, error);

    for (guint i = 0; packs && i + 1 < packs->len; i++) { /* not the highest id (pack.h) */
        const CatalogPackUse *use = &g_array_index(packs, CatalogPackUse, i);
        if (use->length_bytes != 0)
            continue;
        if (!packs_remove(s->packs, use->id, error))
            return FALSE;
        g_array_append_val(gone, use->id);
    }
    return packs != NULL;
}

static gboolean
save(Move *m, GError **error)
{
    g_autoptr(GArray) packs = g_array_new(FALSE, TRUE, sizeof(CatalogPack));
    g_autoptr(GArray) removed = g_array_new(FALSE, FALSE, sizeof(guint64));
    g_autoptr(GArray) gone = g_array_new(FALSE, FALSE, sizeof(guint64));
    CatalogChange change = {
        .views = m->views, .packs = packs, .removed_packs = removed, .gone_packs = gone};

    const GArray *changed = packs_changed(m->store->packs);
    for (guint i = 0; m->written && i < changed->len; i++) {
        const PackInfo *info = &g_array_index(changed, PackInfo, i);
        CatalogPack pack = {info->id, info->length_bytes, m->bytes}; /* there is but one */
        g_array_append_val(packs, pack);
    }
    if (!m->left)
        g_array_append_val(removed, m->pack);
    if (!find_gone(m->store, gone, error))
        return FALSE;
    m->saving = TRUE;
    return catalog_save(m->store->catalog, &change, error);
}

static gboolean
settle(Move *m, GError **error)
{
    if (m->written && !prepare(m, error))
        return FALSE;
    crash_point("compact-prepared");
    if (!save(m, error))
        return FALSE;
    crash_point("compact-saved");
    if (m->written)
        packs_done(m->store->packs);
    m->written = FALSE;
    if (!m->left && !packs_remove(m->store->packs, m->pack, error))
        return FALSE;
    crash_point("compact-removed");
    return TRUE;
}

/* Unless the catalog may have it: what a FATAL error of it means, the next opening finds out, and
 * takes the batch or drops it. */
static void
drop(const Move *m, const GError *why)
{
    g_autoptr(GError) error = NULL;

    if (m->written && !(m->saving && g_error_matches(why, FILEDUP_ERROR, FILEDUP_ERROR_FATAL)) &&
        !packs_drop(m->store->packs, &error))
        g_warning("%s", error->message);
}

static gboolean
move_some(Store *s, guint64 pack, gboolean forced, gboolean *ret_progress, gboolean *ret_removed,
          GError **error)
{
    g_auto(Move) m = {.store = s, .pack = pack, .forced = forced};
    g_autoptr(GError) local = NULL;

    m.views = g_ptr_array_new_with_free_func((GDestroyNotify) view_free);
    m.words = g_ptr_array_new_with_free_func((GDestroyNotify) footer_file_free);
    m.said = g_hash_table_new_full(g_int64_hash, g_int64_equal, g_free,
                                   (GDestroyNotify) g_hash_table_unref);
    m.buffer = g_malloc(PACK_FRAME_BYTES);
    crash_point("compact-begin");
    gboolean ok = move_all(&m, &local) && say_again(&m, &local);
    *ret_progress = ok && (m.views->len > 0 || !m.left);
    *ret_removed = *ret_progress && !m.left;
    if (*ret_progress)
        ok = settle(&m, &local);
    if (ok)
        return TRUE;
    drop(&m, local);
    g_propagate_error(error, g_steal_pointer(&local));
    return FALSE;
}

/* ---- which one ---- */

static gdouble
live_share(const CatalogPackUse *use)
{
    return use->saved_bytes ? (gdouble) use->live_bytes / (gdouble) use->saved_bytes : 0;
}

static gint
by_share(gconstpointer a, gconstpointer b)
{
    gdouble x = live_share(a), y = live_share(b);

    return x < y ? -1 : x > y;
}

/* The one that is being filled. */
static guint64
newest_pack(const GArray *packs)
{
    guint64 newest = 0;

    for (guint i = 0; i < packs->len; i++) {
        const CatalogPackUse *use = &g_array_index(packs, CatalogPackUse, i);
        if (use->length_bytes > 0)
            newest = MAX(newest, use->id);
    }
    return newest;
}

/* Of CatalogPackUse, the smallest share first. */
static GArray *
candidates(Store *s, GError **error)
{
    GArray *packs = catalog_packs(s->catalog, error);
    guint64 newest = packs ? newest_pack(packs) : 0;

    for (guint i = packs ? packs->len : 0; i-- > 0;) {
        const CatalogPackUse *use = &g_array_index(packs, CatalogPackUse, i);
        if (use->length_bytes == 0 || use->held || use->id == newest || /* invariant 3 */
            live_share(use) >= 0.5 || packs_is_bad(s->packs, use->id))
            g_array_remove_index(packs, i);
    }
    if (packs)
        g_array_sort(packs, by_share);
    return packs;
}

gboolean
compact_step(Store *s, gboolean *ret_more, gboolean *ret_removed, GError **error)
{
    gboolean progress = FALSE, removed = FALSE;

    *ret_more = FALSE;
    if (ret_removed)
        *ret_removed = FALSE;
    if (s->unfinished || s->pack_missing) /* invariant 4 */
        return TRUE;
    g_autoptr(GArray) packs = candidates(s, error);
    if (!packs)
        return FALSE;
    for (guint i = 0; i < packs->len && !progress; i++) {
        guint64 pack = g_array_index(packs, CatalogPackUse, i).id;
        g_autoptr(GError) local = NULL;
        if (move_some(s, pack, FALSE, &progress, &removed, &local))
            continue;
        if (!g_error_matches(local, FILEDUP_ERROR, FILEDUP_ERROR_DAMAGED)) {
            g_propagate_error(error, g_steal_pointer(&local));
            return FALSE;
        }
        g_warning("compaction leaves pack %" G_GUINT64_FORMAT " as it is: %s", pack,
                  local->message);
        packs_set_bad(s->packs, pack); /* invariant 2 */
    }
    *ret_more = progress;
    if (ret_removed)
        *ret_removed = removed;
    return TRUE;
}

static const CatalogPackUse *
find_use(const GArray *packs, guint64 pack)
{
    for (guint i = 0; i < packs->len; i++)
        if (g_array_index(packs, CatalogPackUse, i).id == pack)
            return &g_array_index(packs, CatalogPackUse, i);
    return NULL;
}

gboolean
compact_pack(Store *s, guint64 pack, gboolean *ret_more, GError **error)
{
    g_autoptr(GArray) packs = catalog_packs(s->catalog, error);
    gboolean progress = FALSE, removed = FALSE;

    if (!packs)
        return FALSE;
    const CatalogPackUse *use = find_use(packs, pack);
    *ret_more = FALSE;
    if (!use) /* gone, or not ours */
        return TRUE;
    if (use->length_bytes == 0)
        return packs_remove(s->packs, pack, error);
    if (!s->unfinished && !use->held) {
        if (pack == newest_pack(packs)) /* not into itself */
            packs_roll(s->packs);
        if (!move_some(s, pack, TRUE, &progress, &removed, error))
            return FALSE;
    }
    if (!progress)
        return throw_error(
            error, FILEDUP_ERROR_AGAIN,
            "pack %" G_GUINT64_FORMAT " is used by a file that is still to be applied", pack);
    *ret_more = !removed;
    return TRUE;
}

guint64
compact_dead_bytes(Store *s)
{
    g_autoptr(GArray) packs = candidates(s, NULL);
    gdouble bytes = 0;

    for (guint i = 0; packs && i < packs->len; i++) {
        const CatalogPackUse *use = &g_array_index(packs, CatalogPackUse, i);
        bytes += (gdouble) use->length_bytes * (1 - live_share(use));
    }
    return (guint64) bytes;
}
