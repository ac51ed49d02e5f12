/* record.c - the journal's record: header and checks
 *
 * FORMAT  little-endian; a record starts on a multiple of 8, a begin record on one of 4096
 *           0  u32  magic "FDJR"
 *           4  u16  type
 *           6  u16  flags
 *           8  u64  sequence
 *          16  u32  incarnation: counts the openings of the journal
 *          20  u32  epoch: counts takeovers
 *          24  u64  file
 *          32  i64  time, us since 1970, never smaller than the record's before
 *          40  u64  offset   of the extent in the file
 *          48  u64  length   of the extent: payload bytes for data, the hole's for a hole
 *          56  u32  payload bytes, at most 1 MiB
 *          60  u32  padding: zeros after the payload, so that the next record starts aligned
 *          64  u64  XXH3-64 of the payload
 *          72  u64  chain: the sum (88) of the record before; of a segment's first: in its header
 *          80  u64  durable through: records up to this sequence were on the disk when this one
 *                   was written
 *          88  u64  XXH3-64 of bytes 0 to 87, seeded by the segment's salt
 *          96       payload, padding
 *
 * VALID   (1) A header is valid iff magic, type and its salted sum are right. The salt is drawn
 *             anew for each use of a segment, so what an earlier use left there is never valid,
 *             and no content that is backed up can pretend to be a record.
 *         (2) A record is valid iff its header is, its incarnation is the segment's, its sequence
 *             is the last one's + 1 (a begin record with RECORD_GAP: larger), its chain is the
 *             last one's sum, it lies within the segment and its payload has its sum.
 * This file checks (1); scan.c, who sees the records in their order, checks (2).
 */

#include "config.h"

#include <string.h>
#include <xxhash.h>

#include "store/record.h"

#define RECORD_MAGIC  0x524a4446u /* "FDJR" */
#define AT_HEADER_SUM 88

G_STATIC_ASSERT(AT_HEADER_SUM + 8 == RECORD_HEADER_BYTES);

static void
put16(guint8 *p, guint16 v)
{
    v = GUINT16_TO_LE(v);
    memcpy(p, &v, sizeof v);
}

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

static guint16
get16(const guint8 *p)
{
    guint16 v;
    memcpy(&v, p, sizeof v);
    return GUINT16_FROM_LE(v);
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
record_encode(const Record *r, guint64 salt, guint8 *h)
{
    put32(h + 0, RECORD_MAGIC);
    put16(h + 4, (guint16) r->type);
    put16(h + 6, r->flags);
    put64(h + 8, r->seq);
    put32(h + 16, r->incarnation);
    put32(h + 20, r->epoch);
    put64(h + 24, r->file);
    put64(h + 32, (guint64) r->time_usec);
    put64(h + 40, r->offset);
    put64(h + 48, r->length);
    put32(h + 56, r->payload_bytes);
    put32(h + 60, r->pad_bytes);
    put64(h + 64, r->payload_sum);
    put64(h + 72, r->chain);
    put64(h + 80, r->durable_through);
    guint64 sum = XXH3_64bits_withSeed(h, AT_HEADER_SUM, salt);
    put64(h + AT_HEADER_SUM, sum);
    return sum;
}

gboolean
record_decode(const guint8 *h, guint64 salt, Record *r, guint64 *ret_sum)
{
    if (get32(h) != RECORD_MAGIC)
        return FALSE;
    guint64 sum = XXH3_64bits_withSeed(h, AT_HEADER_SUM, salt);
    if (get64(h + AT_HEADER_SUM) != sum)
        return FALSE;
    guint16 type = get16(h + 4);
    if (type == RECORD_NONE || type >= RECORD_TYPE_COUNT)
        return FALSE;
    *r = (Record){
        .type = (RecordType) type,
        .flags = get16(h + 6),
        .seq = get64(h + 8),
        .incarnation = get32(h + 16),
        .epoch = get32(h + 20),
        .file = get64(h + 24),
        .time_usec = (gint64) get64(h + 32),
        .offset = get64(h + 40),
        .length = get64(h + 48),
        .payload_bytes = get32(h + 56),
        .pad_bytes = get32(h + 60),
        .payload_sum = get64(h + 64),
        .chain = get64(h + 72),
        .durable_through = get64(h + 80),
    };
    *ret_sum = sum;
    return TRUE;
}

guint64
record_payload_sum(const void *payload, gsize n)
{
    return XXH3_64bits(payload, n);
}
