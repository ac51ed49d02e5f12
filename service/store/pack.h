#pragma once

/* Packs: the files in history/ that hold the old bytes of mirrors, compressed, batch by batch.
 *
 * A batch is begun by the first packs_add (or packs_prepare), and *prepared* when packs_prepare has returned TRUE: its
 * frames, and a footer that says what they are for, are durable. packs_done says that the catalog
 * has the batch, length of the pack included. What lies behind the length that the catalog knows is,
 * at the next opening, a prepared batch (packs_recovered) or nothing.
 *
 * After a failed write or sync the object is FAILED: only reading goes on, until it is opened again.
 * Without space (AGAIN) it is not: packs_drop, and go on.
 *
 * A pack is given up in three steps: a catalog transaction after which nothing refers to it and its
 * length is 0; packs_remove; and (whenever it suits, but not for the highest id there is, so that no
 * id is used twice) its row goes. An opening finishes the second. */

#include <glib.h>

#include "store/undo.h"

G_BEGIN_DECLS

#define PACK_FORMAT      1
#define PACK_MAX_BYTES   (G_GUINT64_CONSTANT(64) * 1024 * 1024) /* then a new one is begun */
#define PACK_FRAME_BYTES ((gsize) 256 * 1024)                   /* of content in a frame, at most */

typedef struct Packs Packs;

/* As the catalog has it. length_bytes 0: given up, to be removed. */
typedef struct PackInfo {
    guint64 id, length_bytes;
} PackInfo;

/* `known` are all packs of the catalog: others are removed, unless they hold a prepared batch (or
 * are not ours, or cannot be read). A known one that is missing, shorter or damaged is no error
 * here: reading it is, and it is named in *ret_note (or NULL). */
Packs *packs_open(int history_fd, const char *uuid, const PackInfo *known, guint n_known,
                  char **ret_note, GError **error);
void   packs_close(Packs *p);
G_DEFINE_AUTOPTR_CLEANUP_FUNC(Packs, packs_close)

/* The same for reading only: nothing is cut, removed or synced, and packs that come later are found
 * too. packs_look_behind is for a store without its keeper: then packs_recovered says what lies
 * behind the catalog. */
Packs   *packs_open_read(int history_fd, const char *uuid, GError **error);
gboolean packs_look_behind(Packs *p, const PackInfo *known, guint n_known, GError **error);

/* Footers of the batches that are prepared and behind what the catalog knows, in order; empty: none.
 * They stay until packs_done (they are in the catalog now) or packs_drop (given up). */
GPtrArray *packs_recovered(Packs *p); /* of GBytes, owned by p */

/* Saves bytes in the batch that is being written, `offset` being theirs in the content: fills in
 * *ret_piece. All zeros become PIECE_ZERO. 0 < n <= PACK_FRAME_BYTES. AGAIN: no space. */
gboolean packs_add(Packs *p, guint64 offset, const void *bytes, gsize n, Piece *ret_piece,
                   GError **error);

/* Writes the footer and syncs (a new pack's folder too). A batch may have no frame. */
gboolean packs_prepare(Packs *p, GBytes *footer, GError **error);

/* The packs that prepared batches have touched, with their lengths: what the catalog is to have
 * before packs_done. */
GArray *packs_changed(Packs *p); /* of PackInfo, owned by p, until the next call for p */
void    packs_done(Packs *p);
/* All that is behind what the catalog knows, being written or prepared, is not wanted: cut off
 * again, durably. */
gboolean packs_drop(Packs *p, GError **error);

/* The next batch goes to a new pack. Not while a batch is being written. */
void packs_roll(Packs *p);

/* Bytes [from, from + n) of a piece (PIECE_PACK or PIECE_ZERO). DAMAGED: not there, or not what was
 * written. A few frames are kept decompressed: whoever reads pieces in the order of their frames,
 * not of their offsets, decompresses each once. Safe to call from one other thread if that thread
 * has its own Packs (packs_open_read). */
gboolean packs_read(Packs *p, const Piece *piece, guint64 from, void *buffer, gsize n,
                    GError **error);

/* The last packs_read failed because the disk did not let us read: it may, another time. */
gboolean packs_is_unreadable(const Packs *p);

/* Reads a pack up to length_bytes (0: all that is there), from the disk if the file system can, and
 * checks it; calls `batch` (NULL: not) with each footer in order. DAMAGED names the first bad place;
 * what is before it has been reported. */
typedef void (*PackBatchFunc)(guint64 pack, GBytes *footer, gpointer data);
gboolean packs_check(Packs *p, guint64 pack, guint64 length_bytes, PackBatchFunc batch,
                     gpointer data, GError **error);

/* The footers alone, quickly: what they are of is not read. */
gboolean packs_footers(Packs *p, guint64 pack, PackBatchFunc batch, gpointer data, GError **error);

GArray *packs_list(Packs *p); /* PackInfo of the files that are there, by id; free it */

/* Remembers, as long as p is open, that a pack could not be read whole. */
void     packs_set_bad(Packs *p, guint64 pack);
gboolean packs_is_bad(const Packs *p, guint64 pack);

/* Nothing refers to it any more, durably: removes the file, durably. It may be gone already. */
gboolean packs_remove(Packs *p, guint64 pack, GError **error);

G_END_DECLS
