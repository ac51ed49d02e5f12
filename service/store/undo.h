#pragma once

/* Undo: what is laid over a newer content to have an older one back. */

#include <glib.h>

G_BEGIN_DECLS

typedef enum {
    PIECE_PACK, /* bytes of a frame of a pack                                        */
    PIECE_ZERO, /* zeros                                                             */
    PIECE_BAD,  /* the bytes could not be saved: they were damaged before            */
} PieceKind;

/* `length` bytes at `offset` of the older content. */
typedef struct Piece {
    guint64   offset, length;
    PieceKind kind;
    guint64   pack, frame; /* PIECE_PACK: which pack, where its frame starts,        */
    guint32   skip;        /* and how far into the frame's bytes                     */
} Piece;

/* The newer content is first cut or extended with zeros to size_bytes; pieces ascend, and are
 * disjoint and within size_bytes. */
typedef struct Undo {
    guint64 size_bytes; /* of the older content */
    GArray *pieces;     /* Piece */
} Undo;

Undo *undo_new(guint64 size_bytes);
Undo *undo_copy(const Undo *u);
void  undo_free(Undo *u);
G_DEFINE_AUTOPTR_CLEANUP_FUNC(Undo, undo_free)

/* Behind all pieces that are there; joined with the last one where the two are one run. */
void undo_add(Undo *u, const Piece *piece);

/* The content between the two is given up: what leads from the newest straight to the oldest.
 * `newer` leads from the newest to it, `older` from it to the oldest. */
Undo *undo_merge(const Undo *newer, const Undo *older);

/* The piece that covers `offset`, or the first one behind it (NULL: none). */
const Piece *undo_find(const Undo *u, guint64 offset);

guint64  undo_bytes(const Undo *u); /* of PIECE_PACK */
gboolean undo_is_bad(const Undo *u);

/* Compact, little-endian, checked: NULL if `bytes` is no such thing. */
GBytes *undo_encode(const Undo *u);
Undo   *undo_decode(GBytes *bytes);

G_END_DECLS
