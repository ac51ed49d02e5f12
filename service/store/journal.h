#pragma once

/* Journal: the append-only record of changes that the mirrors have still to take. */

#include <glib.h>

#include "store/pending.h"
#include "store/transaction.h"

G_BEGIN_DECLS

#define JOURNAL_SEGMENT_BYTES (G_GUINT64_CONSTANT(16) * 1024 * 1024)
#define JOURNAL_MAX_SEGMENTS  8

typedef struct Journal Journal;

typedef struct JournalOptions {
    const char *uuid;
    guint64     segment_bytes; /* smaller in a small store */
    guint64     applied;       /* of the catalog, as all that follow */
    guint64     last_seq;
    gint64      last_time_usec;
    guint32     incarnation;
    gboolean    clean; /* stopped in order the last time */
    gboolean    lost;  /* a content was given up: report damage */
} JournalOptions;

typedef struct JournalReport {
    gboolean damage; /* something durable was lost */
    gboolean direct; /* the disk was read past the page cache */
    guint    recovered;
    char    *note; /* for the operator, or NULL */
} JournalReport;
void journal_report_clear(JournalReport *r);
G_DEFINE_AUTO_CLEANUP_CLEAR_FUNC(JournalReport, journal_report_clear)

/* Recovers: what was committed and not applied is in `pending`, and durable in a segment of a new
 * incarnation, when this returns. */
Journal *journal_open(int journal_fd, const JournalOptions *options, Pending *pending,
                      JournalReport *ret_report, GError **error);
void     journal_close(Journal *j);
G_DEFINE_AUTOPTR_CLEANUP_FUNC(Journal, journal_close)

/* Bytes of journal that this capture takes at most (a sparse content may have many pieces). */
guint64 journal_need(const Capture *c, const GArray *extents);

typedef enum {
    JOURNAL_ROOM,
    JOURNAL_FULL,  /* apply and release something first; the error says why, if it is not size */
    JOURNAL_ERROR, /* the journal is FAILED */
} JournalRoom;

/* Makes room for so many bytes in one segment. */
JournalRoom journal_make_room(Journal *j, guint64 bytes, GError **error);

/* Writes one transaction, not durable yet. Takes over what is in *c, and writes its sequence.
 * `content` and `extents` (offset, length, hole) only for APPEND_CONTENT, where an extent's bytes are
 * at its offset in `content`, and APPEND_RANGES, where they are at its `position` in `content`.
 * `sums` (NULL: not known) of the whole new content become the transaction's. There must be room.
 * The transaction belongs to the caller. NULL: the journal is FAILED. */
Transaction *journal_write(Journal *j, Capture *c, const guint8 *content, const GArray *extents,
                           GBytes *sums, GError **error);

/* All that was written is durable when this returns TRUE. Any failure is final for this object. */
gboolean journal_sync(Journal *j, GError **error);

/* Transactions up to `applied` are in the mirrors, durably: their segments may be used again. */
void journal_release(Journal *j, guint64 applied);

/* Has a spare segment ready, so that no append has to wait for its preallocation. Does nothing if
 * there is one, or if it is not needed soon. */
void journal_prepare(Journal *j);

/* Copies all that is pending into one segment, and so frees the others: where what is pending is
 * little, but old. JOURNAL_FULL: it would not help, or there is no space for it. */
JournalRoom journal_compact(Journal *j, const Pending *pending, GError **error);

/* Gives back the space of all segments that nobody needs, but so many. FALSE: there were none. */
gboolean journal_shrink(Journal *j, guint spares);
guint    journal_spares(const Journal *j); /* how many there are */

guint64 journal_last_seq(const Journal *j);
guint32 journal_incarnation(const Journal *j);

G_END_DECLS
