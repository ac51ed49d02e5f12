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
    guint8     hash[HASH_BYTES]; /* of contents only */
    GBytes    *attributes;
    Quality    quality;
    PointCause cause;
    guint64    size_bytes;
    guint64    staged, staged_ino; /* APPEND_STAGED: the file in staged/ */
} Capture;

typedef struct Extent {
    guint64  offset, length; /* in the file */
    guint64  position;       /* of the payload in the segment */
    guint64  sum;
    gboolean hole;
} Extent;

typedef struct Transaction {
    Capture  capture;
    guint64  first_seq, seq; /* of begin and of commit: the latter names the transaction */
    gint64   time_usec;
    GArray  *extents; /* Extent, of APPEND_CONTENT */
    Segment *segment; /* borrowed */
    guint64  position, bytes; /* of the records */
    GList    link;            /* in Pending */
} Transaction;

void transaction_free(Transaction *t);
G_DEFINE_AUTOPTR_CLEANUP_FUNC(Transaction, transaction_free)

void capture_clear(Capture *c);
G_DEFINE_AUTO_CLEANUP_CLEAR_FUNC(Capture, capture_clear)

/* Whether it brings a content. */
gboolean capture_has_content(const Capture *c);

/* Payloads of begin and replace, and back. FALSE: not such a payload (or one of a later format). */
GBytes  *capture_begin_payload(const Capture *c);
GBytes  *capture_replace_payload(const Capture *c);
gboolean capture_parse_begin(const guint8 *payload, gsize n, guint64 file, Capture *ret_capture);
gboolean capture_parse_replace(const guint8 *payload, gsize n, Capture *c);

/* Writes the content of an APPEND_CONTENT transaction into the empty file `fd`, holes as holes, each
 * piece checked against its sum. *ret_lost: the journal does not have it any more (DAMAGED). */
gboolean transaction_write_content(const Transaction *t, int fd, gboolean *ret_lost,
                                   GError **error);

G_END_DECLS
