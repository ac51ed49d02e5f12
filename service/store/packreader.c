/* packreader.c - content of frames
 *
 * A frame is read and checked as a whole, whatever is wanted of it. The last FRAMES_KEPT are kept:
 * an undo that was merged goes to and fro between the frames of a few batches.
 */

#include "config.h"

#include <string.h>

#include "base/error.h"
#include "store/pack.h"
#include "store/packfile.h"
#include "store/packreader.h"

#define FRAMES_KEPT 16
#define FILES_KEPT  8

typedef struct KeptFrame {
    guint64 pack, position, used;
    guint8 *raw;
    gsize n;
} KeptFrame;

struct PackReader {
    int history_fd;
    char *uuid;
    Codec *codec;
    PackFile *files[FILES_KEPT];
    guint next_file;
    KeptFrame frames[FRAMES_KEPT];
    guint64 clock;
    gboolean unreadable; /* the last one */
};

PackReader *
packreader_new(int history_fd, const char *uuid)
{
    PackReader *r = g_new0(PackReader, 1);

    r->history_fd = history_fd;
    r->uuid = g_strdup(uuid);
    r->codec = codec_new();
    return r;
}

void
packreader_clear(PackReader *r)
{
    for (guint i = 0; i < FILES_KEPT; i++)
        g_clear_pointer(&r->files[i], packfile_free);
    for (guint i = 0; i < FRAMES_KEPT; i++) {
        g_free(r->frames[i].raw);
        r->frames[i] = (KeptFrame){0};
    }
}

void
packreader_free(PackReader *r)
{
    if (!r)
        return;
    packreader_clear(r);
    codec_free(r->codec);
    g_free(r->uuid);
    g_free(r);
}

static const PackFile *
find_file(PackReader *r, guint64 pack, GError **error)
{
    PackFileState state = PACKFILE_GOOD;
    g_autoptr(GError) local = NULL;

    for (guint i = 0; i < FILES_KEPT; i++)
        if (r->files[i] && r->files[i]->id == pack)
            return r->files[i];
    PackFile *f = packfile_open(r->history_fd, pack, FALSE, r->uuid, &state, &local);
    if (local) {
        r->unreadable = TRUE;
        g_propagate_error(error, g_steal_pointer(&local));
        return NULL;
    }
    if (!f) {
        throw_error(error, FILEDUP_ERROR_DAMAGED, "pack %" G_GUINT64_FORMAT " %s", pack,
                    packfile_state_text(state));
        return NULL;
    }
    PackFile **slot = &r->files[r->next_file++ % FILES_KEPT];
    g_clear_pointer(slot, packfile_free);
    return *slot = f;
}

/* The one that is there, or else the one that was not used for longest. */
static KeptFrame *
find_slot(PackReader *r, guint64 pack, guint64 position)
{
    KeptFrame *oldest = &r->frames[0];

    for (guint i = 0; i < FRAMES_KEPT; i++) {
        KeptFrame *k = &r->frames[i];
        if (k->n > 0 && k->pack == pack && k->position == position)
            return k;
        if (k->used < oldest->used)
            oldest = k;
    }
    oldest->n = 0;
    return oldest;
}

static const KeptFrame *
find_frame(PackReader *r, guint64 pack, guint64 position, GError **error)
{
    KeptFrame *k = find_slot(r, pack, position);

    k->used = ++r->clock;
    if (k->n > 0)
        return k;
    const PackFile *f = find_file(r, pack, error);
    if (!f)
        return NULL;
    if (!k->raw)
        k->raw = g_malloc(PACK_FRAME_BYTES);
    gsize n = 0;
    if (!packfile_read(f, position, r->codec, k->raw, &n, &r->unreadable, error))
        return NULL;
    k->pack = pack;
    k->position = position;
    k->n = n;
    return k;
}

gboolean
packreader_read(PackReader *r, guint64 pack, guint64 frame, guint64 skip, void *buffer, gsize n,
                GError **error)
{
    r->unreadable = FALSE;
    const KeptFrame *k = find_frame(r, pack, frame, error);
    if (!k)
        return FALSE;
    if (skip > k->n || n > k->n - skip)
        return throw_error(error, FILEDUP_ERROR_DAMAGED,
                           "pack %" G_GUINT64_FORMAT " at %" G_GUINT64_FORMAT
                           ": the frame has only %" G_GSIZE_FORMAT " bytes",
                           pack, frame, k->n);
    memcpy(buffer, k->raw + skip, n);
    return TRUE;
}

gboolean
packreader_is_unreadable(const PackReader *r)
{
    return r->unreadable;
}
