#pragma once

/* Point: one whole content of a file, with what belongs to it, that can be had back. */

#include <glib.h>

#include "base/sums.h"
#include "store/transaction.h"

G_BEGIN_DECLS

typedef enum {
    POINT_IN_MIRROR,
    POINT_IN_HISTORY,
    POINT_IN_JOURNAL, /* `source` has it, or the staged file that it names */
} PointPlace;

typedef struct Point {
    guint64    id; /* the sequence of the transaction that brought the content */
    gint64     time_usec;
    PointCause cause;
    Quality    quality;
    guint64    size_bytes;
    FileStat   stat;
    GBytes    *attributes;
    guint8     hash[HASH_BYTES];
    gboolean   pinned; /* the newest stable content, kept because a fuzzy one came after it */

    PointPlace         place;
    const Transaction *source; /* borrowed */
    gboolean           fresh;  /* not in the catalog as a point yet, or not like this */
    GBytes            *sums;   /* NULL: not read yet */
    gboolean           lost;   /* it is not what was captured, or not there: nothing can be built */
} Point;

Point *point_new(const Transaction *t); /* of one that brings a content */
void   point_free(Point *p);
G_DEFINE_AUTOPTR_CLEANUP_FUNC(Point, point_free)

/* The sums (base/sums.h) of bytes, and of a file's first size_bytes; NULL with an error. */
GBytes *point_sums(const guint8 *content, gsize n);
GBytes *point_sums_read(int fd, guint64 size_bytes, GError **error);

G_END_DECLS
