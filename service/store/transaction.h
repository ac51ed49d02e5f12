#pragma once

/* Transaction: what one capture did to one file, as the journal holds it: begin ... commit. */

#include <glib.h>
#include <sys/types.h>

#include "base/filestat.h"
#include "base/message.h"
#include "store/record.h"
#include "store/segment.h"

G_BEGIN_DECLS

/* What the begin record says: enough to make the catalog's rows anew. */
typedef struct Capture {
    guint64    file;
    char      *path; /* of the original */
    uid_t      principal;
    AppendKind kind;
    FileStat   stat;
    guint8     hash[HASH_BYTES]; /* of contents only: of the whole new content */
    GBytes    *attributes;
    Quality    quality;
    PointCause cause;      /* CAUSE_BEFORE_RESTORE is not for APPEND_RANGES */
    guint64    size_bytes; /* of the whole new content */
    guint8     base_hash[HASH_BYTES]; /* APPEND_RANGES: of the content that the ranges change   */
    char      *name;                  /* APPEND_MARK: what the point is called; NULL: no name   */
    guint32    suspicion;             /* Suspicion bits that this content raises (keeper's word) */
    guint64    staged, staged_ino;    /* APPEND_STAGED: the file in staged/ */
} Capture;

/* A piece of content. APPEND_CONTENT: together they are the content. APPEND_RANGES: they are laid
 * over the content before, which is first cut or extended with zeros to size_bytes. They ascend and
 * are disjoint. */
typedef struct Extent {
    guint64  offset, length; /* in the file */
    guint64  position;       /* of the payload in the segment (journal_write: see there) */
    guint64  sum;
    gboolean hole;           /* zeros, and no payload */
} Extent;

typedef struct Transaction {
    Capture  capture;
    guint64  first_seq, seq; /* of begin and of commit: the latter names the transaction */
    gint64   time_usec;
    GArray  *extents; /* Extent, of APPEND_CONTENT and APPEND_RANGES */
    GBytes  *sums;    /* of the whole new content, where the keeper had them; NULL after a replay */
    Segment *segment; /* borrowed */
    guint64  position, bytes; /* of the records */
    GList    link;            /* in Pending */
} Transaction;

void transaction_free(Transaction *t);
G_DEFINE_AUTOPTR_CLEANUP_FUNC(Transaction, transaction_free)

void capture_clear(Capture *c);
G_DEFINE_AUTO_CLEANUP_CLEAR_FUNC(Capture, capture_clear)

/* Whether it brings a content (whole or by ranges), and whether it brings all of it. */
gboolean capture_has_content(const Capture *c);
gboolean capture_is_whole(const Capture *c);

/* Payloads of begin and replace, and back. FALSE: not such a payload; *ret_newer (may be NULL): it
 * was written by a later filedup. */
GBytes  *capture_begin_payload(const Capture *c);
GBytes  *capture_replace_payload(const Capture *c);
gboolean capture_parse_begin(const guint8 *payload, gsize n, guint64 file, Capture *ret_capture,
                             gboolean *ret_newer);
gboolean capture_parse_replace(const guint8 *payload, gsize n, Capture *c);

/* Bytes that the extents have in the journal. */
guint64 transaction_extent_bytes(const Transaction *t);

G_END_DECLS
