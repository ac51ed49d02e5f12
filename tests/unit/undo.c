/* Undo: pieces laid over a newer content, merged, encoded. */

#include "config.h"

#include <string.h>
#include <xxhash.h>

#include "store/undo.h"
#include "tests/unit/unit.h"

/* ---- a model: contents are byte strings, and pack k holds content k as one frame ---- */

#define MAX_BYTES 96
#define CHAIN     8

typedef struct Content {
    guint8 bytes[MAX_BYTES];
    guint n;
} Content;

static guint32
pick(GRand *random, guint32 below)
{
    return (guint32) g_rand_int_range(random, 0, (gint32) below);
}

/* What changes from one content to the next: size, and some runs of bytes or zeros. */
static void
change(GRand *random, const Content *before, Content *after)
{
    guint by = pick(random, 8);

    *after = *before;
    switch (pick(random, 4)) {
    case 0:
        after->n = pick(random, MAX_BYTES + 1);
        break;
    case 1:
        after->n = MIN(before->n + by, MAX_BYTES);
        break;
    case 2:
        after->n = before->n - MIN(before->n, by);
        break;
    default:
        break;
    }
    if (after->n > before->n)
        memset(after->bytes + before->n, 0, after->n - before->n);
    for (guint i = pick(random, 5); i > 0 && after->n > 0; i--) {
        guint at = pick(random, after->n), n = pick(random, 12);
        n = MIN(n, after->n - at);
        gboolean zero = pick(random, 3) == 0;
        for (guint k = 0; k < n; k++)
            after->bytes[at + k] = zero ? 0 : (guint8) pick(random, 4);
    }
}

/* By comparison, as apply does; now and then a byte more than is needed. */
static Undo *
undo_between(GRand *random, const Content *newer, const Content *older, guint64 pack)
{
    Undo *u = undo_new(older->n);

    for (guint i = 0; i < older->n; i++) {
        guint8 there = i < newer->n ? newer->bytes[i] : 0;
        if (there == older->bytes[i] && pick(random, 10) != 0)
            continue;
        Piece piece = {.offset = i, .length = 1, .kind = PIECE_ZERO};
        if (older->bytes[i] != 0 || pick(random, 2) == 0) {
            piece.kind = PIECE_PACK;
            piece.pack = pack;
            piece.skip = i;
        }
        undo_add(u, &piece);
    }
    return u;
}

static void
lay(const Content *newer, const Undo *u, const Content *packs, Content *ret_older)
{
    memset(ret_older, 0, sizeof *ret_older);
    ret_older->n = (guint) u->size_bytes;
    memcpy(ret_older->bytes, newer->bytes, MIN(newer->n, ret_older->n));
    for (guint i = 0; i < u->pieces->len; i++) {
        const Piece *p = &g_array_index(u->pieces, Piece, i);
        if (p->kind == PIECE_ZERO)
            memset(ret_older->bytes + p->offset, 0, p->length);
        else
            memcpy(ret_older->bytes + p->offset, packs[p->pack].bytes + p->skip, p->length);
    }
}

static gboolean
is_sound(const Undo *u)
{
    guint64 at = 0;

    for (guint i = 0; i < u->pieces->len; i++) {
        const Piece *p = &g_array_index(u->pieces, Piece, i);
        if (p->length == 0 || p->offset < at || p->offset + p->length > u->size_bytes)
            return FALSE;
        at = p->offset + p->length;
    }
    return TRUE;
}

static gboolean
same(const Undo *a, const Undo *b)
{
    if (a->size_bytes != b->size_bytes || a->pieces->len != b->pieces->len)
        return FALSE;
    for (guint i = 0; i < a->pieces->len; i++) {
        const Piece *p = &g_array_index(a->pieces, Piece, i);
        const Piece *q = &g_array_index(b->pieces, Piece, i);
        if (p->offset != q->offset || p->length != q->length || p->kind != q->kind ||
            p->pack != q->pack || p->frame != q->frame || p->skip != q->skip)
            return FALSE;
    }
    return TRUE;
}

/* One random chain, thinned in random order down to its ends; every content that is left is laid
 * and compared at every step. */
static gboolean
chain_holds(guint32 seed)
{
    g_autoptr(GRand) random = g_rand_new_with_seed(seed);
    Content contents[CHAIN], got;
    Undo *undo[CHAIN] = {NULL}; /* [i]: from the one before that is left */
    gboolean ok = TRUE;

    memset(contents, 0, sizeof contents);
    contents[0].n = pick(random, MAX_BYTES + 1);
    for (guint i = 0; i < contents[0].n; i++)
        contents[0].bytes[i] = (guint8) pick(random, 4);
    for (guint i = 1; i < CHAIN; i++) { /* backwards in time */
        change(random, &contents[i - 1], &contents[i]);
        undo[i] = undo_between(random, &contents[i - 1], &contents[i], i);
    }
    for (guint left = CHAIN - 1; left > 0 && ok; left--) {
        Content at = contents[0];
        for (guint i = 1; i < CHAIN && ok; i++) {
            if (!undo[i])
                continue;
            lay(&at, undo[i], contents, &got);
            ok = is_sound(undo[i]) && got.n == contents[i].n &&
                 memcmp(got.bytes, contents[i].bytes, got.n) == 0;
            g_autoptr(GBytes) code = undo_encode(undo[i]);
            g_autoptr(Undo) back = undo_decode(code);
            ok = ok && back && same(back, undo[i]);
            at = contents[i];
        }
        guint which = 1 + pick(random, left), older = 1;
        for (older = 1; !undo[older] || --which > 0; older++)
            ;
        guint next = older + 1;
        while (next < CHAIN && !undo[next])
            next++;
        if (next < CHAIN) {
            Undo *merged = undo_merge(undo[older], undo[next]);
            undo_free(undo[next]);
            undo[next] = merged;
        }
        g_clear_pointer(&undo[older], undo_free);
    }
    for (guint i = 0; i < CHAIN; i++)
        undo_free(undo[i]);
    return ok;
}

static void
thinning_any_chain_in_any_order_keeps_what_is_left(void)
{
    for (guint32 seed = 0; seed < 6000; seed++) {
        if (chain_holds(seed))
            continue;
        g_printerr("    seed %u\n", seed);
        CU_FAIL_FATAL("a content of the chain is not what it was");
    }
}

/* ---- by hand ---- */

static void
add(Undo *u, guint64 offset, guint64 length, PieceKind kind, guint64 frame, guint32 skip)
{
    Piece piece = {.offset = offset,
                   .length = length,
                   .kind = kind,
                   .pack = kind == PIECE_PACK ? 7 : 0,
                   .frame = frame,
                   .skip = skip};

    undo_add(u, &piece);
}

static void
neighbours_of_one_run_become_one_piece(void)
{
    g_autoptr(Undo) u = undo_new(1000);

    add(u, 0, 10, PIECE_PACK, 96, 0);
    add(u, 10, 10, PIECE_PACK, 96, 10); /* the same run */
    add(u, 20, 10, PIECE_PACK, 96, 40); /* elsewhere in the frame */
    add(u, 30, 10, PIECE_PACK, 500, 50);
    add(u, 40, 10, PIECE_ZERO, 0, 0);
    add(u, 50, 10, PIECE_ZERO, 0, 0);
    add(u, 60, 10, PIECE_BAD, 0, 0);
    add(u, 75, 10, PIECE_BAD, 0, 0); /* a gap */
    add(u, 85, 0, PIECE_ZERO, 0, 0);
    CU_ASSERT_EQUAL(u->pieces->len, 6);
    CU_ASSERT_EQUAL(undo_bytes(u), 40);
    CU_ASSERT_TRUE(undo_is_bad(u));
    CU_ASSERT_EQUAL(undo_find(u, 19)->length, 20);
    CU_ASSERT_EQUAL(undo_find(u, 70)->offset, 75);
    CU_ASSERT_PTR_NULL(undo_find(u, 85));
}

static void
what_lies_behind_the_content_between_is_zeros(void)
{
    g_autoptr(Undo) newer = undo_new(10); /* the newest may have 100 bytes */
    g_autoptr(Undo) older = undo_new(50);
    g_autoptr(Undo) merged = undo_merge(newer, older);

    CU_ASSERT_EQUAL(merged->size_bytes, 50);
    CU_ASSERT_EQUAL(merged->pieces->len, 1);
    CU_ASSERT_EQUAL(undo_find(merged, 0)->offset, 10);
    CU_ASSERT_EQUAL(undo_find(merged, 0)->length, 40);
    CU_ASSERT_EQUAL(undo_find(merged, 0)->kind, PIECE_ZERO);
}

static void
damage_is_inherited_only_where_it_shows(void)
{
    g_autoptr(Undo) newer = undo_new(100);
    g_autoptr(Undo) covered = undo_new(100);
    g_autoptr(Undo) shown = undo_new(100);

    add(newer, 10, 10, PIECE_BAD, 0, 0);
    add(covered, 5, 20, PIECE_ZERO, 0, 0);
    add(shown, 5, 10, PIECE_ZERO, 0, 0);
    g_autoptr(Undo) a = undo_merge(newer, covered);
    g_autoptr(Undo) b = undo_merge(newer, shown);
    CU_ASSERT_FALSE(undo_is_bad(a));
    CU_ASSERT_TRUE(undo_is_bad(b));
    CU_ASSERT_EQUAL(undo_find(b, 15)->offset, 15);
    CU_ASSERT_EQUAL(undo_find(b, 15)->length, 5);
}

static void
large_numbers_come_back(void)
{
    g_autoptr(Undo) u = undo_new(G_MAXUINT64);
    Piece piece = {.offset = G_MAXUINT64 - 5000,
                   .length = 4096,
                   .kind = PIECE_PACK,
                   .pack = G_MAXUINT64,
                   .frame = G_MAXUINT64 - 1,
                   .skip = G_MAXUINT32 - 4096};

    undo_add(u, &piece);
    g_autoptr(GBytes) code = undo_encode(u);
    g_autoptr(Undo) back = undo_decode(code);
    CU_ASSERT_TRUE(back && same(u, back));
    g_autoptr(Undo) none = undo_new(0);
    g_autoptr(GBytes) code_none = undo_encode(none);
    g_autoptr(Undo) back_none = undo_decode(code_none);
    CU_ASSERT_TRUE(back_none && same(none, back_none));
}

/* 655 blocks of a batch share its frames: what the catalog stores of them is small. */
static void
a_block_of_a_batch_costs_a_few_bytes(void)
{
    g_autoptr(Undo) u = undo_new(268435456);

    for (guint i = 0; i < 655; i++)
        add(u, (guint64) i * 400000, 4096, PIECE_PACK, 96 + i / 64 * 262192, i % 64 * 4096);
    g_autoptr(GBytes) code = undo_encode(u);
    CU_ASSERT_TRUE(g_bytes_get_size(code) < 655 * 7);
}

static GBytes *
sample(void)
{
    g_autoptr(Undo) u = undo_new(100000);

    add(u, 0, 4096, PIECE_PACK, 96, 0);
    add(u, 8192, 4096, PIECE_PACK, 96, 4096);
    add(u, 20000, 5, PIECE_PACK, 96, 9000);
    add(u, 30000, 300, PIECE_ZERO, 0, 0);
    add(u, 40000, 300, PIECE_BAD, 0, 0);
    return undo_encode(u);
}

static void
a_flipped_bit_or_a_cut_is_seen(void)
{
    g_autoptr(GBytes) code = sample();
    gsize n = g_bytes_get_size(code);
    g_autofree guint8 *copy = g_memdup2(g_bytes_get_data(code, NULL), n);

    for (gsize i = 0; i < n * 8; i++) {
        copy[i / 8] ^= (guint8) (1u << (i % 8));
        g_autoptr(GBytes) bad = g_bytes_new_static(copy, n);
        CU_ASSERT_PTR_NULL(undo_decode(bad));
        copy[i / 8] ^= (guint8) (1u << (i % 8));
    }
    for (gsize i = 0; i < n; i++) {
        g_autoptr(GBytes) cut = g_bytes_new_static(copy, i);
        CU_ASSERT_PTR_NULL(undo_decode(cut));
    }
}

/* As somebody could who computes the sum anew: whatever is taken is sound. */
static void
a_forged_one_is_sound_or_refused(void)
{
    g_autoptr(GRand) random = g_rand_new_with_seed(11);
    g_autoptr(GBytes) code = sample();
    gsize n = g_bytes_get_size(code);
    guint taken = 0;

    for (guint round = 0; round < 20000; round++) {
        g_autofree guint8 *copy = g_memdup2(g_bytes_get_data(code, NULL), n);
        gsize length = n - (pick(random, 4) == 0 ? pick(random, 8) : 0);
        for (guint i = 1 + pick(random, 3); i > 0; i--)
            copy[1 + pick(random, (guint32) (length - 9))] = (guint8) pick(random, 256);
        guint64 sum = GUINT64_TO_LE(XXH3_64bits(copy, length - 8));
        memcpy(copy + length - 8, &sum, 8);
        g_autoptr(GBytes) forged = g_bytes_new_static(copy, length);
        g_autoptr(Undo) u = undo_decode(forged);
        CU_ASSERT_TRUE(!u || is_sound(u));
        taken += u != NULL;
    }
    CU_ASSERT_TRUE(taken > 0); /* or the test would show nothing */
}

static const UnitTest tests[] = {
    UNIT_TEST(thinning_any_chain_in_any_order_keeps_what_is_left),
    UNIT_TEST(neighbours_of_one_run_become_one_piece),
    UNIT_TEST(what_lies_behind_the_content_between_is_zeros),
    UNIT_TEST(damage_is_inherited_only_where_it_shows),
    UNIT_TEST(large_numbers_come_back),
    UNIT_TEST(a_block_of_a_batch_costs_a_few_bytes),
    UNIT_TEST(a_flipped_bit_or_a_cut_is_seen),
    UNIT_TEST(a_forged_one_is_sound_or_refused),
};
UNIT_MAIN("undo", tests)
