/* undo.c - what is laid over a newer content to have an older one back
 *
 * FORMAT  of undo_encode; a varint is 7 bits a byte, the lowest first, the top bit set on all but
 *         the last byte
 *           u8      format version, 1
 *           varint  size_bytes
 *           varint  number of pieces
 *           each piece:
 *             varint  bytes between the end of the piece before (or 0) and this one
 *             varint  length, not 0
 *             u8      0-3 kind; 4: of the same frame as the last piece of kind PIECE_PACK;
 *                     8 (with 4): its bytes follow on that one's
 *             varint  pack   (PIECE_PACK without 4)
 *             varint  frame  (PIECE_PACK without 4)
 *             varint  skip   (PIECE_PACK without 8)
 *           u64     XXH3-64 of all before
 *
 * INVARIANTS
 *  (1) Pieces ascend, are disjoint, not empty and within size_bytes. undo_add asserts it, and
 *      undo_decode takes nothing else.
 *  (2) What a piece does not cover is the newer content's byte, or zero where that one is shorter.
 *
 * MERGE   N -> P by `newer`, P -> O by `older`. A byte of O is: older's piece; or else P's byte at
 *         that place, which is newer's piece or N's byte; or else, behind P's end, zero. P's end
 *         is known to `newer` only, and N's may lie behind it: so what O has behind P's end must
 *         be told as zeros, lest N's bytes show there.
 */

#include "config.h"

#include <string.h>
#include <xxhash.h>

#include "store/undo.h"

#define UNDO_FORMAT 1
#define KIND_MASK   3
#define SAME_FRAME  4
#define FOLLOWS     8
#define SUM_BYTES   8

Undo *
undo_new(guint64 size_bytes)
{
    Undo *u = g_new0(Undo, 1);

    u->size_bytes = size_bytes;
    u->pieces = g_array_new(FALSE, FALSE, sizeof(Piece));
    return u;
}

Undo *
undo_copy(const Undo *u)
{
    Undo *copy = undo_new(u->size_bytes);

    if (u->pieces->len > 0)
        g_array_append_vals(copy->pieces, u->pieces->data, u->pieces->len);
    return copy;
}

void
undo_free(Undo *u)
{
    if (!u)
        return;
    g_array_unref(u->pieces);
    g_free(u);
}

static guint64
piece_end(const Piece *p)
{
    return p->offset + p->length;
}

static const Piece *
piece_at(const Undo *u, guint i)
{
    return i < u->pieces->len ? &g_array_index(u->pieces, Piece, i) : NULL;
}

static gboolean
same_frame(const Piece *a, const Piece *b)
{
    return a->kind == PIECE_PACK && b->kind == PIECE_PACK && a->pack == b->pack &&
           a->frame == b->frame;
}

/* Is b the rest of a, as one run of bytes? */
static gboolean
follows(const Piece *a, const Piece *b)
{
    return same_frame(a, b) && (guint64) a->skip + a->length == b->skip;
}

void
undo_add(Undo *u, const Piece *piece)
{
    Piece *last = u->pieces->len > 0 ? &g_array_index(u->pieces, Piece, u->pieces->len - 1) : NULL;

    if (piece->length == 0)
        return;
    g_assert(piece->offset <= u->size_bytes && piece->length <= u->size_bytes - piece->offset);
    g_assert(!last || piece->offset >= piece_end(last)); /* invariant 1 */
    if (last && piece_end(last) == piece->offset && last->kind == piece->kind &&
        (piece->kind != PIECE_PACK || follows(last, piece))) {
        last->length += piece->length;
        return;
    }
    Piece copy = *piece;
    if (copy.kind != PIECE_PACK) {
        copy.pack = copy.frame = 0;
        copy.skip = 0;
    }
    g_array_append_val(u->pieces, copy);
}

/* The first piece that ends behind `offset`. */
static guint
first_behind(const Undo *u, guint64 offset)
{
    guint low = 0, high = u->pieces->len;

    while (low < high) {
        guint middle = low + (high - low) / 2;
        if (piece_end(piece_at(u, middle)) > offset)
            high = middle;
        else
            low = middle + 1;
    }
    return low;
}

const Piece *
undo_find(const Undo *u, guint64 offset)
{
    return piece_at(u, first_behind(u, offset));
}

/* The part of a piece that is within [from, to). */
static Piece
piece_clip(const Piece *piece, guint64 from, guint64 to)
{
    Piece clip = *piece;
    guint64 start = MAX(piece->offset, from);

    clip.skip += (guint32) (start - piece->offset);
    clip.offset = start;
    clip.length = MIN(piece_end(piece), to) - start;
    return clip;
}

/* Adds what the content between has in [from, to), `*i` being the first piece of `newer` that may
 * matter. */
static void
add_between(Undo *merged, const Undo *newer, guint *i, guint64 from, guint64 to)
{
    const Piece *piece;

    for (; (piece = piece_at(newer, *i)) && piece->offset < to; (*i)++) {
        if (piece_end(piece) > from) {
            Piece clip = piece_clip(piece, from, to);
            undo_add(merged, &clip);
        }
        if (piece_end(piece) > to)
            break; /* its rest may show behind the next piece of `older` */
    }
    from = MAX(from, newer->size_bytes);
    if (from < to) {
        Piece zeros = {.offset = from, .length = to - from, .kind = PIECE_ZERO};
        undo_add(merged, &zeros);
    }
}

Undo *
undo_merge(const Undo *newer, const Undo *older)
{
    Undo *merged = undo_new(older->size_bytes);
    guint64 at = 0;
    guint next = 0;

    for (guint i = 0; i < older->pieces->len; i++) {
        const Piece *piece = piece_at(older, i);
        if (piece->offset > at)
            add_between(merged, newer, &next, at, piece->offset);
        undo_add(merged, piece);
        at = piece_end(piece);
    }
    if (at < older->size_bytes)
        add_between(merged, newer, &next, at, older->size_bytes);
    return merged;
}

guint64
undo_bytes(const Undo *u)
{
    guint64 n = 0;

    for (guint i = 0; i < u->pieces->len; i++)
        if (piece_at(u, i)->kind == PIECE_PACK)
            n += piece_at(u, i)->length;
    return n;
}

gboolean
undo_is_bad(const Undo *u)
{
    for (guint i = 0; i < u->pieces->len; i++)
        if (piece_at(u, i)->kind == PIECE_BAD)
            return TRUE;
    return FALSE;
}

/* ---- encoding ---- */

static void
put_varint(GByteArray *out, guint64 value)
{
    guint8 bytes[10];
    guint n = 0;

    for (; value >= 0x80; value >>= 7)
        bytes[n++] = (guint8) (value | 0x80);
    bytes[n++] = (guint8) value;
    g_byte_array_append(out, bytes, n);
}

static void
put_piece(GByteArray *out, const Piece *piece, guint64 before, const Piece *last)
{
    guint8 what = (guint8) piece->kind;

    if (last && same_frame(last, piece))
        what |= SAME_FRAME | (follows(last, piece) ? FOLLOWS : 0);
    put_varint(out, piece->offset - before);
    put_varint(out, piece->length);
    g_byte_array_append(out, &what, 1);
    if (piece->kind == PIECE_PACK && !(what & SAME_FRAME)) {
        put_varint(out, piece->pack);
        put_varint(out, piece->frame);
    }
    if (piece->kind == PIECE_PACK && !(what & FOLLOWS))
        put_varint(out, piece->skip);
}

GBytes *
undo_encode(const Undo *u)
{
    const guint8 version = UNDO_FORMAT;
    GByteArray *out = g_byte_array_new();
    const Piece *last = NULL;
    guint64 before = 0;

    g_byte_array_append(out, &version, 1);
    put_varint(out, u->size_bytes);
    put_varint(out, u->pieces->len);
    for (guint i = 0; i < u->pieces->len; i++) {
        const Piece *piece = piece_at(u, i);
        put_piece(out, piece, before, last);
        before = piece_end(piece);
        if (piece->kind == PIECE_PACK)
            last = piece;
    }
    guint64 sum = GUINT64_TO_LE(XXH3_64bits(out->data, out->len));
    g_byte_array_append(out, (const guint8 *) &sum, SUM_BYTES);
    return g_byte_array_free_to_bytes(out);
}

/* What is still to be decoded. */
typedef struct Reader {
    const guint8 *at, *end;
} Reader;

static gboolean
get_varint(Reader *r, guint64 *ret_value)
{
    guint64 value = 0;

    for (guint shift = 0; r->at < r->end && shift < 64; shift += 7) {
        guint8 byte = *r->at++;
        if (shift == 63 && byte > 1)
            return FALSE;
        value |= (guint64) (byte & 0x7f) << shift;
        if (byte & 0x80)
            continue;
        *ret_value = value;
        return TRUE;
    }
    return FALSE;
}

static gboolean
get_source(Reader *r, guint8 what, const Piece *last, Piece *piece)
{
    guint64 skip;

    if (what & SAME_FRAME) {
        if (!last)
            return FALSE;
        piece->pack = last->pack;
        piece->frame = last->frame;
    } else if (!get_varint(r, &piece->pack) || !get_varint(r, &piece->frame)) {
        return FALSE;
    }
    if (what & FOLLOWS)
        skip = (guint64) last->skip + last->length;
    else if (!get_varint(r, &skip))
        return FALSE;
    if (skip > G_MAXUINT32 || piece->length > G_MAXUINT32 - skip)
        return FALSE;
    piece->skip = (guint32) skip;
    return TRUE;
}

static gboolean
get_piece(Reader *r, guint64 size_bytes, guint64 before, const Piece *last, Piece *piece)
{
    guint64 gap;

    *piece = (Piece){0};
    if (!get_varint(r, &gap) || !get_varint(r, &piece->length) || r->at == r->end)
        return FALSE;
    guint8 what = *r->at++;
    if (gap > size_bytes - before || piece->length == 0 ||
        piece->length > size_bytes - before - gap)
        return FALSE; /* invariant 1 */
    piece->offset = before + gap;
    piece->kind = (PieceKind) (what & KIND_MASK);
    if (piece->kind == PIECE_PACK)
        return (what & ~(KIND_MASK | SAME_FRAME | FOLLOWS)) == 0 &&
               (!(what & FOLLOWS) || (what & SAME_FRAME)) && get_source(r, what, last, piece);
    return what == PIECE_ZERO || what == PIECE_BAD;
}

static Undo *
decode_pieces(Reader *r)
{
    guint64 size_bytes, n, before = 0;
    Piece piece, last = {.kind = PIECE_BAD};

    if (!get_varint(r, &size_bytes) || !get_varint(r, &n))
        return NULL;
    g_autoptr(Undo) u = undo_new(size_bytes);
    for (; n > 0; n--) {
        if (!get_piece(r, size_bytes, before, last.kind == PIECE_PACK ? &last : NULL, &piece))
            return NULL;
        undo_add(u, &piece);
        before = piece_end(&piece);
        if (piece.kind == PIECE_PACK)
            last = piece;
    }
    return r->at == r->end ? g_steal_pointer(&u) : NULL;
}

Undo *
undo_decode(GBytes *bytes)
{
    gsize n;
    const guint8 *data = g_bytes_get_data(bytes, &n);
    guint64 sum;

    if (n < 1 + SUM_BYTES || data[0] != UNDO_FORMAT)
        return NULL;
    memcpy(&sum, data + n - SUM_BYTES, SUM_BYTES);
    if (GUINT64_FROM_LE(sum) != XXH3_64bits(data, n - SUM_BYTES))
        return NULL;
    Reader r = {data + 1, data + n - SUM_BYTES};
    return decode_pieces(&r);
}
