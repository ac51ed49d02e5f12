#pragma once

/* Sums: what content is checked against, block by block and as a whole.
 *
 * A block is SUM_BLOCK_BYTES of the content, the last one may be shorter; its sum is XXH3-64,
 * little-endian. The content hash is XXH3-128 (canonical) of all sums and the size (u64,
 * little-endian), so that it can be had from the sums alone. Empty content has no sums. */

#include <glib.h>

#include "base/message.h"

G_BEGIN_DECLS

typedef struct Sums Sums;

/* expected_bytes only sizes the memory. */
Sums *sums_new(guint64 expected_bytes);
void  sums_free(Sums *s);
G_DEFINE_AUTOPTR_CLEANUP_FUNC(Sums, sums_free)

/* The content in order, in pieces of any length. Zeros need not be at hand as bytes. */
void    sums_add(Sums *s, const void *data, gsize n);
void    sums_add_zeros(Sums *s, guint64 n);
guint64 sums_size(Sums *s); /* bytes added so far */

/* Begins anew. */
void sums_reset(Sums *s);

/* The sums of all that was added, and the content hash. Nothing can be added after it. */
GBytes *sums_finish(Sums *s, guint8 ret_hash[HASH_BYTES]);

/* How many bytes of sums content of that size has. */
gsize sums_length(guint64 size_bytes);

/* The content hash, from sums alone. */
void sums_hash(GBytes *sums, guint64 size_bytes, guint8 ret_hash[HASH_BYTES]);

/* Of one block (n <= SUM_BLOCK_BYTES), and as recorded in `sums`. */
guint64 sums_of_block(const void *data, gsize n);
guint64 sums_get(GBytes *sums, guint64 block);

/* Compares n bytes that start at the block-aligned `offset` of content of size_bytes, all of them
 * whole blocks but for the content's last. FALSE and the first bad block's offset if they differ. */
gboolean sums_match(GBytes *sums, const void *data, gsize n, guint64 offset,
                    guint64 *ret_bad_offset);

/* Reads the content (size_bytes from offset 0) and compares. DAMAGED names the first bad offset. */
gboolean sums_check(int fd, GBytes *sums, guint64 size_bytes, GError **error);

G_END_DECLS
