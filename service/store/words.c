/* words.c - what the packs say of the files when there is no catalog
 *
 * A pack is gone through frame by frame, from its start. Where something is damaged, the next batch is
 * looked for, which starts at a multiple of 4096 and names that place: so one bad block costs one
 * batch's footer, or (if it is one of content) the points that need it.
 *
 * THE LENGTH that the new catalog is given decides what the next opening cuts off (pack_open.c). It is
 * where the last whole batch ends, if there is only the beginning of one behind it: an apply that was
 * cut short. Where a footer, or another batch, is behind a damaged place, the pack is given a length
 * that no batch can end at: then it is neither cut, nor removed, nor written again.
 */

#include "config.h"

#include "base/error.h"
#include "store/catalog.h"
#include "store/packfile.h"
#include "store/words.h"

typedef struct PackScan {
    const PackFile *file;
    Codec *codec;
    Words *words;
    GPtrArray *troubles;
    guint64 content_bytes;
    guint64 last_footer;  /* where one ended last               */
    guint64 last_start;   /* the last place at which a batch starts */
    gboolean newer;       /* a footer of a later format         */
} PackScan;

static void
word_free(gpointer data)
{
    Word *w = data;

    footer_file_free(w->file);
    g_free(w);
}

void
words_free(Words *w)
{
    if (!w)
        return;
    g_hash_table_unref(w->files);
    g_array_unref(w->packs);
    g_free(w);
}

static void
see(Words *w, const FooterFile *f)
{
    w->last_seq = MAX(w->last_seq, f->through);
    if (f->current)
        w->last_seq = MAX(w->last_seq, f->current->id);
    for (guint i = 0; i < f->points->len; i++)
        w->last_seq = MAX(w->last_seq, ((const Point *) f->points->pdata[i])->id);
}

static void
take_footer(PackScan *s, GBytes *bytes)
{
    g_autoptr(GError) error = NULL;
    g_autoptr(Footer) footer = footer_decode(bytes, &error);

    if (!footer) {
        s->newer |= g_error_matches(error, FILEDUP_ERROR, FILEDUP_ERROR_FATAL);
        troubles_add(s->troubles, TRUE, NULL, 0, "pack %" G_GUINT64_FORMAT ": %s", s->file->id,
                     error->message);
        return;
    }
    g_ptr_array_set_free_func(footer->files, NULL);
    for (guint i = 0; i < footer->files->len; i++) {
        Word *word = g_new0(Word, 1);
        word->kind = footer->kind;
        word->file = footer->files->pdata[i];
        see(s->words, word->file);
        GPtrArray *list = g_hash_table_lookup(s->words->files, &word->file->id);
        if (!list) {
            list = g_ptr_array_new_with_free_func(word_free);
            g_hash_table_insert(s->words->files,
                                g_memdup2(&word->file->id, sizeof word->file->id), list);
        }
        g_ptr_array_add(list, word);
    }
}

static gboolean
read_footer(PackScan *s, guint64 at, const Frame *frame)
{
    g_autofree guint8 *stored = g_malloc(frame->stored_bytes + 1);
    g_autofree guint8 *raw = g_malloc(frame->raw_bytes + 1);

    if (!fd_pread_full(s->file->fd, stored, frame->stored_bytes,
                       (goffset) (at + FRAME_HEADER_BYTES)) ||
        !codec_unpack(s->codec, frame, stored, raw))
        return FALSE;
    g_autoptr(GBytes) bytes = g_bytes_new_take(g_steal_pointer(&raw), frame->raw_bytes);
    take_footer(s, bytes);
    return TRUE;
}

static guint64
aligned(guint64 at)
{
    return (at + PACK_ALIGN - 1) / PACK_ALIGN * PACK_ALIGN;
}

/* All footers that can be read, whatever is wrong between them. */
static void
scan(PackScan *s, guint64 size)
{
    guint8 header[FRAME_HEADER_BYTES];
    guint64 at = PACK_HEADER_BYTES, sum;
    gboolean lost = FALSE;
    Frame f;

    while (at + FRAME_HEADER_BYTES <= size) {
        gboolean good = fd_pread_full(s->file->fd, header, sizeof header, (goffset) at) &&
                        frame_decode(header, s->file->salt, at, &f, &sum) &&
                        f.stored_bytes <= size - at - FRAME_HEADER_BYTES;
        good = good && (!lost || f.batch == at);
        if (!good) {
            lost = TRUE;
            at = aligned(at + 1);
            continue;
        }
        lost = FALSE;
        if (f.batch == at)
            s->last_start = at;
        guint64 end = at + FRAME_HEADER_BYTES + f.stored_bytes;
        if (f.type == FRAME_FOOTER) {
            end = aligned(end);
            if (read_footer(s, at, &f))
                s->last_footer = end;
        } else {
            s->content_bytes += f.raw_bytes;
        }
        at = end;
    }
}

static gboolean
gather_pack(Words *w, int history_fd, const char *uuid, guint64 id, GPtrArray *troubles,
            GError **error)
{
    PackFileState state = PACKFILE_GOOD;
    g_autoptr(GError) local = NULL;
    g_autoptr(PackFile) f = packfile_open(history_fd, id, FALSE, uuid, &state, &local);
    PackWalk walk = {0};

    if (local) {
        g_propagate_error(error, g_steal_pointer(&local));
        return FALSE;
    }
    if (!f) { /* the next opening leaves it alone */
        troubles_add(troubles, state != PACKFILE_BLANK, NULL, 0,
                     "pack %" G_GUINT64_FORMAT " %s", id, packfile_state_text(state));
        return TRUE;
    }
    Codec *codec = codec_new();
    PackScan s = {.file = f, .codec = codec, .words = w, .troubles = troubles};
    guint64 size = packfile_size(f);
    scan(&s, size);
    gboolean whole = packfile_walk(history_fd, f, PACK_HEADER_BYTES, size, codec, NULL, NULL, &walk,
                                   &local);
    codec_free(codec);
    if (s.newer)
        return throw_error(error, FILEDUP_ERROR_FATAL,
                           "pack %" G_GUINT64_FORMAT " is of a later format: use a newer filedup",
                           id);
    CatalogPack pack = {.id = id, .length_bytes = walk.good, .added_bytes = s.content_bytes};
    if (!whole && (walk.unreadable || s.last_footer > walk.good || s.last_start > walk.good)) {
        troubles_add(troubles, TRUE, NULL, 0, "%s", local->message);
        pack.length_bytes = size % PACK_ALIGN ? size : size - 1;
    }
    if (pack.length_bytes > PACK_HEADER_BYTES)
        g_array_append_val(w->packs, pack);
    return TRUE;
}

Words *
words_gather(int history_fd, const char *uuid, GPtrArray *troubles, GError **error)
{
    g_autoptr(Packs) packs = packs_open_read(history_fd, uuid, error);
    g_autoptr(Words) w = g_new0(Words, 1);

    w->files = g_hash_table_new_full(g_int64_hash, g_int64_equal, g_free,
                                     (GDestroyNotify) g_ptr_array_unref);
    w->packs = g_array_new(FALSE, FALSE, sizeof(CatalogPack));
    if (!packs)
        return NULL;
    g_autoptr(GArray) list = packs_list(packs); /* by id: in the order in which they were written */
    for (guint i = 0; i < list->len; i++)
        if (!gather_pack(w, history_fd, uuid, g_array_index(list, PackInfo, i).id, troubles, error))
            return NULL;
    return g_steal_pointer(&w);
}
