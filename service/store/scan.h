#pragma once

/* Scan: what a journal on the disk holds. Reads only: recovery and offline reading begin with it. */

#include <glib.h>

#include "store/transaction.h"

G_BEGIN_DECLS

typedef struct Scan {
    GPtrArray *segments;     /* Segment, all files of the folder; owned                       */
    GPtrArray *transactions; /* Transaction, committed and not applied, by sequence; owned    */
    guint32    incarnation;  /* the highest of a valid header; 0: no journal yet              */
    guint64    last_seq;     /* the highest sequence seen in a valid record, or given out     */
    gint64     last_time_usec;
    gboolean   direct;       /* read past the page cache                                      */
    gboolean   damage;       /* something that was durable is not there any more              */
    gboolean   was_damaged; /* so the opening before said, in the header it wrote         */
    guint64    unread_bytes; /* of segments of which nothing is known */
    char      *note;         /* what, for the operator; NULL without damage                   */
} Scan;

/* Transactions up to `applied` are left out. `writable`: the segments' descriptors. FATAL: there are
 * records of a later filedup. */
Scan *scan_journal(int journal_fd, const char *uuid, gboolean writable, guint64 applied,
                   GError **error);
void  scan_free(Scan *s);
G_DEFINE_AUTOPTR_CLEANUP_FUNC(Scan, scan_free)

G_END_DECLS
