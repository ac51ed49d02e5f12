/* pack.c - the files in history/ that hold the old bytes of mirrors
 *
 * FORMAT     history/<id>.pack (packfile.c): batches of frames (frame.c). A batch is within one pack.
 *
 * INVARIANTS
 *  (1) packs_prepare returns TRUE only after fsync of the file, and of the folder if the file is new.
 *  (2) After a failed write or sync the object is FAILED: what reached the disk is unknown, and the
 *      next opening is what finds out. The lack of space is the one failure that leaves it known:
 *      then the batch is FULL, and can only be dropped.
 *  (3) Nothing behind the catalog's length is taken for good without a whole batch around it
 *      (pack_open.c), read from the disk past the cache, and synced again (a batch that was written,
 *      but whose fsync had not returned, may be in the file and not yet in the folder).
 *  (4) What is behind the last whole batch is cut off durably before anything is written there: no
 *      footer of an earlier batch can become valid by what is written before it.
 *  (5) What the disk would not let us read, or what is not ours, is neither cut nor removed. Such a
 *      pack is *sealed*: never written again.
 *  (6) An id is never used twice: the next one is above all that the catalog or the folder has.
 *
 * STATES     of the object  OPEN -> FAILED (pack_fail)
 *            of a batch     none -> WRITING (packs_add, packs_prepare) -> none, prepared; WRITING ->
 *                           FULL (no space) -> none (packs_drop)
 *
 * CRASH POINTS  pack-created, pack-frame, pack-footer, pack-synced, pack-prepared, pack-cut,
 *            pack-dropped, pack-removed
 */

#include "config.h"

#include <fcntl.h>
#include <string.h>
#include <sys/random.h>

#include "base/crash.h"
#include "base/error.h"
#include "store/pack_private.h"

void
packs_close(Packs *p)
{
    if (!p)
        return;
    packfile_free(p->file);
    packreader_free(p->reader);
    codec_free(p->codec);
    g_clear_pointer(&p->packs, g_array_unref);
    g_clear_pointer(&p->recovered, g_ptr_array_unref);
    g_clear_pointer(&p->changed, g_array_unref);
    g_free(p->gathered);
    g_free(p->out);
    fd_clear(p->folder);
    g_free(p->uuid);
    g_free(p);
}

Packs *
packs_new(int history_fd, const char *uuid, gboolean writable, GError **error)
{
    g_autoptr(Packs) p = g_new0(Packs, 1);

    p->folder = fcntl(history_fd, F_DUPFD_CLOEXEC, 0);
    if (p->folder < 0) {
        throw_errno(error, "the folder of packs");
        return NULL;
    }
    p->uuid = g_strdup(uuid);
    p->writable = writable;
    p->reader = packreader_new(p->folder, uuid);
    p->codec = codec_new();
    p->packs = g_array_new(FALSE, FALSE, sizeof(Pack));
    p->recovered = g_ptr_array_new_with_free_func((GDestroyNotify) g_bytes_unref);
    p->changed = g_array_new(FALSE, FALSE, sizeof(PackInfo));
    p->next_id = 1;
    return g_steal_pointer(&p);
}

Pack *
pack_at(const Packs *p, guint i)
{
    return &g_array_index(p->packs, Pack, i);
}

static Pack *
pack_find(const Packs *p, guint64 id)
{
    for (guint i = p->packs->len; i-- > 0;)
        if (pack_at(p, i)->id == id)
            return pack_at(p, i);
    return NULL;
}

gboolean
pack_unlink(const Packs *p, guint64 id, GError **error)
{
    g_autofree char *name = packfile_name(id);

    if (unlinkat(p->folder, name, 0) < 0 && errno != ENOENT)
        return throw_errno(error, "removing pack '%s'", name);
    return TRUE;
}

GPtrArray *
packs_recovered(Packs *p)
{
    return p->recovered;
}

/* ---- writing a batch ---- */

static gboolean
refuse_failed(GError **error)
{
    return throw_error(error, FILEDUP_ERROR_FATAL, "packs: a write failed before");
}

/* With errno. */
static gboolean
pack_fail(Packs *p, const char *what, guint64 id, GError **error)
{
    p->failed = TRUE; /* invariant 2 */
    return throw_error(error, FILEDUP_ERROR_FATAL, "%s pack %" G_GUINT64_FORMAT ": %s", what, id,
                       g_strerror(errno));
}

static gboolean
is_full(int errnum)
{
    return errnum == ENOSPC || errnum == EDQUOT;
}

static Pack *
pack_to_append(const Packs *p)
{
    Pack *last = p->packs->len > 0 ? pack_at(p, p->packs->len - 1) : NULL;

    return last && !last->sealed && !p->rolled && last->end < PACK_MAX_BYTES ? last : NULL;
}

static gboolean
pack_create(Packs *p, GError **error)
{
    PackFile *f = packfile_create(p->folder, p->next_id, p->uuid, error);
    Pack pack = {
        .id = p->next_id, .known = PACK_HEADER_BYTES, .end = PACK_HEADER_BYTES, .fresh = TRUE};

    if (!f)
        return FALSE;
    g_clear_pointer(&p->file, packfile_free);
    p->file = f;
    p->next_id++;
    p->rolled = FALSE;
    g_array_append_val(p->packs, pack);
    crash_point("pack-created");
    return TRUE;
}

static gboolean
file_reopen(Packs *p, guint64 id, GError **error)
{
    PackFileState state = PACKFILE_GOOD;
    g_autoptr(GError) local = NULL;

    if (p->file && p->file->id == id)
        return TRUE;
    g_clear_pointer(&p->file, packfile_free);
    p->file = packfile_open(p->folder, id, TRUE, p->uuid, &state, &local);
    if (p->file)
        return TRUE;
    if (local)
        g_propagate_error(error, g_steal_pointer(&local));
    else
        throw_error(error, FILEDUP_ERROR_FATAL, "pack %" G_GUINT64_FORMAT " %s", id,
                    packfile_state_text(state));
    return FALSE;
}

static gboolean
batch_begin(Packs *p, GError **error)
{
    Pack *pack = pack_to_append(p);

    for (guint i = 0; i < p->packs->len; i++)
        if (pack_at(p, i)->prepared) /* packs_drop could not tell them apart */
            return throw_error(error, FILEDUP_ERROR_FATAL,
                               "packs: the batch before is neither done nor dropped");
    if (pack ? !file_reopen(p, pack->id, error) : !pack_create(p, error))
        return FALSE;
    p->batch = p->at = pack_find(p, p->file->id)->end;
    if (getrandom(&p->chain, sizeof p->chain, 0) != sizeof p->chain)
        g_error("getrandom: %s", g_strerror(errno));
    p->n_gathered = 0;
    p->writing = TRUE;
    return TRUE;
}

static gboolean
batch_write(Packs *p, FrameType type, const void *raw, gsize n, guint8 *out, gsize padding,
            GError **error)
{
    Frame f = {.type = type, .batch = p->batch, .chain = p->chain};

    codec_pack(p->codec, raw, n, out + FRAME_HEADER_BYTES, &f);
    guint64 sum = frame_encode(&f, p->file->salt, p->at, out);
    gsize length = FRAME_HEADER_BYTES + f.stored_bytes;
    if (padding > 0) {
        gsize pad = (gsize) (-(p->at + length) % padding);
        memset(out + length, 0, pad);
        length += pad;
    }
    if (!fd_pwrite_full(p->file->fd, out, length, (goffset) p->at)) {
        if (!is_full(errno))
            return pack_fail(p, "writing", p->file->id, error);
        p->full = TRUE; /* invariant 2 */
        return throw_errno(error, "writing pack %" G_GUINT64_FORMAT, p->file->id);
    }
    p->chain = sum;
    p->at += length;
    return TRUE;
}

static gboolean
batch_flush(Packs *p, GError **error)
{
    gsize n = p->n_gathered;

    if (n == 0)
        return TRUE;
    if (!batch_write(p, FRAME_CONTENT, p->gathered, n, p->out, 0, error))
        return FALSE;
    p->n_gathered = 0;
    crash_point("pack-frame");
    return TRUE;
}

/* To be had before anything is written. */
static gboolean
batch_want(Packs *p, GError **error)
{
    g_assert(p->writable);
    if (p->failed)
        return refuse_failed(error);
    if (p->full)
        return throw_error(error, FILEDUP_ERROR_AGAIN, "packs: no space for a batch");
    return p->writing || batch_begin(p, error);
}

static gboolean
is_zero(const guint8 *data, gsize n)
{
    return data[0] == 0 && memcmp(data, data + 1, n - 1) == 0;
}

gboolean
packs_add(Packs *p, guint64 offset, const void *bytes, gsize n, Piece *ret_piece, GError **error)
{
    g_assert(n > 0 && n <= PACK_FRAME_BYTES);
    if (is_zero(bytes, n)) {
        *ret_piece = (Piece){.offset = offset, .length = n, .kind = PIECE_ZERO};
        return TRUE;
    }
    if (!batch_want(p, error))
        return FALSE;
    if (p->n_gathered + n > PACK_FRAME_BYTES && !batch_flush(p, error))
        return FALSE;
    *ret_piece = (Piece){.offset = offset,
                         .length = n,
                         .kind = PIECE_PACK,
                         .pack = p->file->id,
                         .frame = p->at,
                         .skip = (guint32) p->n_gathered};
    memcpy(p->gathered + p->n_gathered, bytes, n);
    p->n_gathered += n;
    return TRUE;
}

static gboolean
batch_sync(Packs *p, const Pack *pack, GError **error)
{
    g_autoptr(GError) local = NULL;

    if (fsync(p->file->fd) < 0)
        return pack_fail(p, "fsync of", pack->id, error);
    crash_point("pack-synced");
    if (!pack->fresh || fd_sync_folder(p->folder, ".", &local)) /* invariant 1 */
        return TRUE;
    p->failed = TRUE;
    return throw_error(error, FILEDUP_ERROR_FATAL, "%s", local->message);
}

gboolean
packs_prepare(Packs *p, GBytes *footer, GError **error)
{
    gsize n;
    const void *data = g_bytes_get_data(footer, &n);

    if (n > FOOTER_MAX_BYTES)
        return throw_error(error, FILEDUP_ERROR_REFUSED,
                           "packs: a footer of %" G_GSIZE_FORMAT " bytes", n);
    if (!batch_want(p, error) || !batch_flush(p, error))
        return FALSE;
    g_autofree guint8 *out = g_malloc(FRAME_HEADER_BYTES + n + PACK_ALIGN);
    if (!batch_write(p, FRAME_FOOTER, data, n, out, PACK_ALIGN, error))
        return FALSE;
    crash_point("pack-footer");
    Pack *pack = pack_find(p, p->file->id);
    if (!batch_sync(p, pack, error))
        return FALSE;
    pack->end = p->at;
    pack->prepared = TRUE;
    p->writing = FALSE;
    crash_point("pack-prepared");
    return TRUE;
}

/* ---- ending it ---- */

GArray *
packs_changed(Packs *p)
{
    g_array_set_size(p->changed, 0);
    for (guint i = 0; i < p->packs->len; i++) {
        const Pack *pack = pack_at(p, i);
        PackInfo info = {pack->id, pack->end};
        if (pack->prepared)
            g_array_append_val(p->changed, info);
    }
    return p->changed;
}

void
packs_done(Packs *p)
{
    g_assert(!p->writing);
    for (guint i = 0; i < p->packs->len; i++) {
        Pack *pack = pack_at(p, i);
        if (!pack->prepared)
            continue;
        pack->known = pack->end;
        pack->fresh = pack->prepared = FALSE;
    }
    g_ptr_array_set_size(p->recovered, 0);
}

static gboolean
pack_cut(Packs *p, Pack *pack, GError **error)
{
    if (!file_reopen(p, pack->id, error)) {
        p->failed = TRUE;
        return FALSE;
    }
    if (ftruncate(p->file->fd, (off_t) pack->known) < 0)
        return pack_fail(p, "cutting", pack->id, error);
    crash_point("pack-cut");
    if (fsync(p->file->fd) < 0) /* invariant 4 */
        return pack_fail(p, "fsync of", pack->id, error);
    pack->end = pack->known;
    pack->prepared = FALSE;
    return TRUE;
}

/* A file that the catalog does not know is gone as a whole. */
static gboolean
drop_fresh(Packs *p, GError **error)
{
    gboolean any = FALSE;

    for (guint i = p->packs->len; i-- > 0;) {
        guint64 id = pack_at(p, i)->id;
        if (!pack_at(p, i)->fresh)
            continue;
        if (!pack_unlink(p, id, error)) {
            p->failed = TRUE;
            return FALSE;
        }
        if (p->file && p->file->id == id)
            g_clear_pointer(&p->file, packfile_free);
        g_array_remove_index(p->packs, i);
        any = TRUE;
    }
    if (any && !fd_sync_folder(p->folder, ".", error)) {
        p->failed = TRUE;
        return FALSE;
    }
    return TRUE;
}

gboolean
packs_drop(Packs *p, GError **error)
{
    g_assert(p->writable);
    if (p->failed)
        return refuse_failed(error);
    packreader_clear(p->reader);
    for (guint i = 0; i < p->packs->len; i++) {
        Pack *pack = pack_at(p, i);
        gboolean written = p->writing && p->file->id == pack->id;
        if (!pack->fresh && (written || pack->prepared) && !pack_cut(p, pack, error))
            return FALSE;
    }
    if (!drop_fresh(p, error))
        return FALSE;
    g_ptr_array_set_size(p->recovered, 0);
    p->writing = p->full = FALSE;
    p->n_gathered = 0;
    crash_point("pack-dropped");
    return TRUE;
}

void
packs_roll(Packs *p)
{
    g_assert(p->writable && !p->writing);
    p->rolled = TRUE;
}

gboolean
packs_remove(Packs *p, guint64 id, GError **error)
{
    g_assert(p->writable && !(p->writing && p->file->id == id));
    if (p->failed)
        return refuse_failed(error);
    packreader_clear(p->reader);
    if (p->file && p->file->id == id)
        g_clear_pointer(&p->file, packfile_free);
    if (!pack_unlink(p, id, error) || !fd_sync_folder(p->folder, ".", error))
        return FALSE;
    for (guint i = p->packs->len; i-- > 0;)
        if (pack_at(p, i)->id == id)
            g_array_remove_index(p->packs, i);
    crash_point("pack-removed");
    return TRUE;
}

void
packs_set_bad(Packs *p, guint64 id)
{
    Pack *pack = pack_find(p, id);

    if (pack)
        pack->bad = TRUE;
}

gboolean
packs_is_bad(const Packs *p, guint64 id)
{
    const Pack *pack = pack_find(p, id);

    return pack && pack->bad;
}

/* ---- reading ---- */

gboolean
packs_read(Packs *p, const Piece *piece, guint64 from, void *buffer, gsize n, GError **error)
{
    if (from > piece->length || n > piece->length - from)
        return throw_error(error, FILEDUP_ERROR_DAMAGED, "bytes behind the end of a piece");
    if (piece->kind == PIECE_ZERO) {
        memset(buffer, 0, n);
        return TRUE;
    }
    if (piece->kind != PIECE_PACK)
        return throw_error(error, FILEDUP_ERROR_DAMAGED, "bytes that were damaged before");
    guint64 skip = piece->skip + from;
    if (p->writing && piece->pack == p->file->id && piece->frame == p->at) {
        if (skip + n > p->n_gathered)
            return throw_error(error, FILEDUP_ERROR_DAMAGED, "bytes that were not saved");
        memcpy(buffer, p->gathered + skip, n);
        return TRUE;
    }
    return packreader_read(p->reader, piece->pack, piece->frame, skip, buffer, n, error);
}

gboolean
packs_is_unreadable(const Packs *p)
{
    return packreader_is_unreadable(p->reader);
}

/* For a look at all of it; *ret_length: how far it is good to look. */
static PackFile *
open_whole(Packs *p, guint64 id, guint64 *ret_length, GError **error)
{
    PackFileState state = PACKFILE_GOOD;
    g_autoptr(GError) local = NULL;
    PackFile *f = packfile_open(p->folder, id, FALSE, p->uuid, &state, &local);
    const Pack *pack = pack_find(p, id);

    if (local)
        g_propagate_error(error, g_steal_pointer(&local));
    else if (!f)
        throw_error(error, FILEDUP_ERROR_DAMAGED, "pack %" G_GUINT64_FORMAT " %s", id,
                    packfile_state_text(state));
    else
        *ret_length = pack ? pack->end : packfile_size(f);
    return f;
}

gboolean
packs_check(Packs *p, guint64 id, guint64 length_bytes, PackBatchFunc batch, gpointer data,
            GError **error)
{
    guint64 length = 0;
    g_autoptr(PackFile) f = open_whole(p, id, &length, error);
    PackWalk walk;

    return f && packfile_walk(p->folder, f, PACK_HEADER_BYTES, length_bytes ? length_bytes : length,
                              p->codec, batch, data, &walk, error);
}

gboolean
packs_footers(Packs *p, guint64 id, PackBatchFunc batch, gpointer data, GError **error)
{
    guint64 length = 0;
    g_autoptr(PackFile) f = open_whole(p, id, &length, error);

    return f && packfile_footers(f, length, p->codec, batch, data, error);
}
