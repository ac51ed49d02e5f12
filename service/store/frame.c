/* frame.c - what a pack is made of after its header
 *
 * FORMAT  little-endian
 *           0  u32  magic: "FDPF" content, "FDPE" footer (the end of a batch)
 *           4  u32  flags: 1 stored as it is; otherwise as one zstd frame
 *           8  u32  bytes stored
 *          12  u32  bytes of content: at most PACK_FRAME_BYTES (a footer: FOOTER_MAX_BYTES)
 *          16  u64  where the batch begins in the pack: the place of its first frame
 *          24  u64  chain: the sum (40) of the batch's frame before; of its first: a number drawn
 *                   anew for each batch
 *          32  u64  XXH3-64 of the bytes stored
 *          40  u64  XXH3-64 of bytes 0 to 39, seeded by the pack's salt + the frame's place
 *          48       the bytes stored
 *
 * VALID   A header is valid iff magic, bounds and sum are right. Its sum is bound to the pack and
 *         the place, so that bytes of another pack, of an earlier file in the same blocks, or of a
 *         content that is saved, are never one. What lies together as a batch is for packfile.c.
 */

#include "config.h"

#include <string.h>
#include <xxhash.h>
#include <zstd.h>

#include "store/frame.h"
#include "store/pack.h"

#define MAGIC_CONTENT 0x46504446u /* "FDPF" */
#define MAGIC_FOOTER  0x45504446u /* "FDPE" */
#define FLAG_PLAIN    1u
#define AT_SUM        40
#define ZSTD_LEVEL    1 /* 1.5 GB/s of what cannot be compressed; higher ones gain little here */

G_STATIC_ASSERT(AT_SUM + 8 == FRAME_HEADER_BYTES);

static void
put32(guint8 *p, guint32 v)
{
    v = GUINT32_TO_LE(v);
    memcpy(p, &v, sizeof v);
}

static void
put64(guint8 *p, guint64 v)
{
    v = GUINT64_TO_LE(v);
    memcpy(p, &v, sizeof v);
}

static guint32
get32(const guint8 *p)
{
    guint32 v;

    memcpy(&v, p, sizeof v);
    return GUINT32_FROM_LE(v);
}

static guint64
get64(const guint8 *p)
{
    guint64 v;

    memcpy(&v, p, sizeof v);
    return GUINT64_FROM_LE(v);
}

guint64
frame_encode(const Frame *f, guint64 salt, guint64 position, guint8 out[FRAME_HEADER_BYTES])
{
    put32(out, f->type == FRAME_FOOTER ? MAGIC_FOOTER : MAGIC_CONTENT);
    put32(out + 4, f->plain ? FLAG_PLAIN : 0);
    put32(out + 8, f->stored_bytes);
    put32(out + 12, f->raw_bytes);
    put64(out + 16, f->batch);
    put64(out + 24, f->chain);
    put64(out + 32, f->stored_sum);
    guint64 sum = XXH3_64bits_withSeed(out, AT_SUM, salt + position);
    put64(out + AT_SUM, sum);
    return sum;
}

gboolean
frame_decode(const guint8 in[FRAME_HEADER_BYTES], guint64 salt, guint64 position, Frame *ret_frame,
             guint64 *ret_sum)
{
    guint32 magic = get32(in), flags = get32(in + 4);
    guint64 sum = get64(in + AT_SUM);
    Frame f = {.type = magic == MAGIC_FOOTER ? FRAME_FOOTER : FRAME_CONTENT,
               .plain = (flags & FLAG_PLAIN) != 0,
               .stored_bytes = get32(in + 8),
               .raw_bytes = get32(in + 12),
               .batch = get64(in + 16),
               .chain = get64(in + 24),
               .stored_sum = get64(in + 32)};

    if ((magic != MAGIC_CONTENT && magic != MAGIC_FOOTER) ||
        sum != XXH3_64bits_withSeed(in, AT_SUM, salt + position))
        return FALSE;
    if ((flags & ~FLAG_PLAIN) != 0 || f.stored_bytes > f.raw_bytes ||
        (f.plain && f.stored_bytes != f.raw_bytes) ||
        f.raw_bytes > (f.type == FRAME_FOOTER ? FOOTER_MAX_BYTES : PACK_FRAME_BYTES))
        return FALSE;
    *ret_frame = f;
    *ret_sum = sum;
    return TRUE;
}

struct Codec {
    ZSTD_CCtx *compress;
    ZSTD_DCtx *decompress;
};

Codec *
codec_new(void)
{
    return g_new0(Codec, 1);
}

void
codec_free(Codec *c)
{
    if (!c)
        return;
    ZSTD_freeCCtx(c->compress);
    ZSTD_freeDCtx(c->decompress);
    g_free(c);
}

void
codec_pack(Codec *c, const void *raw, gsize n, guint8 *out, Frame *ret_frame)
{
    gsize room = n - n / 32; /* less gain than that is not worth decompressing */
    gsize stored = 0;

    if (!c->compress)
        c->compress = ZSTD_createCCtx();
    if (c->compress && n > 64)
        stored = ZSTD_compressCCtx(c->compress, out, room, raw, n, ZSTD_LEVEL);
    ret_frame->plain = stored == 0 || ZSTD_isError(stored);
    if (ret_frame->plain && n > 0)
        memcpy(out, raw, n);
    ret_frame->raw_bytes = (guint32) n;
    ret_frame->stored_bytes = (guint32) (ret_frame->plain ? n : stored);
    ret_frame->stored_sum = XXH3_64bits(out, ret_frame->stored_bytes);
}

gboolean
codec_unpack(Codec *c, const Frame *f, const guint8 *stored, guint8 *raw)
{
    if (XXH3_64bits(stored, f->stored_bytes) != f->stored_sum)
        return FALSE;
    if (f->plain) {
        if (f->raw_bytes > 0)
            memcpy(raw, stored, f->raw_bytes);
        return TRUE;
    }
    if (!c->decompress && !(c->decompress = ZSTD_createDCtx()))
        return FALSE;
    return ZSTD_decompressDCtx(c->decompress, raw, f->raw_bytes, stored, f->stored_bytes) ==
           f->raw_bytes;
}
