#pragma once

/* Record: one step of a transaction in the journal: a header of fixed size, then its payload. */

#include <glib.h>

G_BEGIN_DECLS

#define RECORD_HEADER_BYTES 96
#define RECORD_PAYLOAD_MAX  (1024 * 1024)
#define RECORD_ALIGN        8
#define TRANSACTION_ALIGN   4096 /* where a transaction starts: no acknowledged block is rewritten */

typedef enum {
    RECORD_NONE,
    RECORD_BEGIN,      /* payload: what was captured (transaction.c)          */
    RECORD_DATA,       /* payload: bytes at `offset`                          */
    RECORD_HOLE,       /* `length` zeros at `offset`                          */
    RECORD_TRUNCATE,   /* not written yet: size is `length`                   */
    RECORD_ATTRIBUTES, /* not written yet: begin carries them                 */
    RECORD_CREATE,     /* not written yet                                     */
    RECORD_REPLACE,    /* payload: the staged file that is the content        */
    RECORD_DELETE,     /* the original is gone                                */
    RECORD_RENAME,     /* not written yet                                     */
    RECORD_POINT,      /* not written yet                                     */
    RECORD_CHECKPOINT, /* not written yet                                     */
    RECORD_ROLLBACK,   /* not written yet                                     */
    RECORD_COMMIT,     /* what came since begin is one step, and complete     */
    RECORD_TYPE_COUNT,
} RecordType;

typedef enum {
    RECORD_GAP = 1 << 0, /* begin: `seq` need not follow the record before (record.c, VALID) */
} RecordFlags;

typedef struct Record {
    RecordType type;
    guint16    flags;
    guint64    seq;
    guint32    incarnation;
    guint32    epoch;
    guint64    file;
    gint64     time_usec;
    guint64    offset;
    guint64    length;
    guint32    payload_bytes;
    guint32    pad_bytes; /* zeros between the payload and the next record */
    guint64    payload_sum;
    guint64    chain; /* header sum of the record before */
    guint64    durable_through;
} Record;

/* Writes the header at `ret_header` and returns its sum: the next record's chain. */
guint64 record_encode(const Record *r, guint64 salt, guint8 *ret_header);

/* FALSE: these RECORD_HEADER_BYTES are no header written under this salt. *ret_sum: its sum. */
gboolean record_decode(const guint8 *header, guint64 salt, Record *ret_record, guint64 *ret_sum);

guint64 record_payload_sum(const void *payload, gsize n);

/* Header, payload and padding. */
static inline guint64
record_bytes(const Record *r)
{
    return RECORD_HEADER_BYTES + (guint64) r->payload_bytes + r->pad_bytes;
}

static inline guint64
align_up(guint64 value, guint64 to)
{
    return (value + to - 1) / to * to;
}

G_END_DECLS
