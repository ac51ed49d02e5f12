#pragma once

/* Point: one content of a file, with what belongs to it, that can be had back.
 *
 * The contents of a file are a chain, by id. The newest is `current` (view.h), the others are
 * points, each by one of two ways: from a whole file in history/, or from the next newer content of
 * the chain; with its undo laid over. A content that a restore replaced (CAUSE_BEFORE_RESTORE) is
 * beside the chain: always a whole file, and nothing starts from it. */

#include <glib.h>

#include "base/sums.h"
#include "store/transaction.h"
#include "store/undo.h"

G_BEGIN_DECLS

typedef enum {
    POINT_IN_MIRROR,  /* current; or, while its successors are pending, the mirror as it is       */
    POINT_IN_HISTORY, /* whole file history/<file>-<whole>-<name>, undo (if any) laid over        */
    POINT_IN_UNDO,    /* the next newer content of the chain, undo laid over; with no newer one
                         left, nothing: its undo then covers all of it                            */
    POINT_IN_JOURNAL, /* `source`, over what it changes                                           */
} PointPlace;

typedef struct Point {
    guint64    id; /* the sequence of the transaction that brought the content: never changes */
    gint64     time_usec;
    PointCause cause;
    Quality    quality;
    guint64    size_bytes;
    FileStat   stat;
    GBytes    *attributes;
    guint8     hash[HASH_BYTES];
    guint32    kept;          /* Kept bits: why it outlasts its policy                     */
    char      *name;          /* that somebody gave it, or NULL                            */
    guint64    changed_bytes; /* since the content before (about, while it is pending)     */
    gint64     deleted_usec;  /* when the original was found deleted after it; 0: was not  */

    PointPlace place;
    guint64    whole; /* POINT_IN_HISTORY: id of the content that was kept whole there */
    Undo      *undo;  /* NULL: none, or not loaded (CATALOG_UNDO)                      */

    const Transaction *source; /* borrowed */
    gboolean           fresh;  /* not in the catalog as a point yet, or not like this */
    GBytes            *sums;   /* NULL: not read yet; points in undo have none */
    gboolean           lost;   /* it is not what was captured, or not there: nothing can be built */
} Point;

Point *point_new(const Transaction *t); /* of one that brings a content */
Point *point_copy(const Point *p);
void   point_free(Point *p);
G_DEFINE_AUTOPTR_CLEANUP_FUNC(Point, point_free)

/* A whole file that no other content depends on. */
static inline gboolean
point_is_beside(const Point *p)
{
    return p->cause == CAUSE_BEFORE_RESTORE;
}

/* The sums (base/sums.h) of bytes, and of a file's first size_bytes; NULL with an error. */
GBytes *point_sums(const guint8 *content, gsize n);
GBytes *point_sums_read(int fd, guint64 size_bytes, GError **error);

G_END_DECLS
