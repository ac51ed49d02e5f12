#pragma once

/* Frames: what a pack is made of after its header: compressed content, and footers. */

#include <glib.h>

G_BEGIN_DECLS

#define FRAME_HEADER_BYTES 48
#define FOOTER_MAX_BYTES   (G_GUINT64_CONSTANT(256) * 1024 * 1024)

typedef enum { FRAME_CONTENT, FRAME_FOOTER } FrameType;

typedef struct Frame {
    FrameType type;
    gboolean  plain; /* stored as it is */
    guint32   stored_bytes, raw_bytes;
    guint64   batch; /* where its batch begins in the pack                                 */
    guint64   chain; /* the sum of the frame before; of a batch's first: a number drawn    */
    guint64   stored_sum;
} Frame;

/* Both are bound to the pack (by its salt) and to the place in it. encode returns, decode fills in,
 * the header's sum, which the next frame carries as its chain. decode: FALSE if it is none. */
guint64  frame_encode(const Frame *f, guint64 salt, guint64 position,
                      guint8 out[FRAME_HEADER_BYTES]);
gboolean frame_decode(const guint8 in[FRAME_HEADER_BYTES], guint64 salt, guint64 position,
                      Frame *ret_frame, guint64 *ret_sum);

/* Compresses and decompresses. */
typedef struct Codec Codec;

Codec *codec_new(void);
void   codec_free(Codec *c);
G_DEFINE_AUTOPTR_CLEANUP_FUNC(Codec, codec_free)

/* Into `out`, of n bytes: fills in plain, stored_bytes, raw_bytes and stored_sum. */
void codec_pack(Codec *c, const void *raw, gsize n, guint8 *out, Frame *ret_frame);

/* `stored` has f->stored_bytes, `raw` room for f->raw_bytes. FALSE if it is not what was packed. */
gboolean codec_unpack(Codec *c, const Frame *f, const guint8 *stored, guint8 *raw);

G_END_DECLS
