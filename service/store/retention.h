#pragma once

/* Retention: which contents of a file are kept, and why. Pure policy: it touches nothing. */

#include <glib.h>

#include "store/view.h"

G_BEGIN_DECLS

#define RETENTION_DEFAULT "24h 7d 4w 12m"

typedef struct Retention {
    guint hours, days, weeks, months; /* of the newest periods that have a content, so many */
    guint last;                       /* contents, whatever their age                       */
} Retention;

/* "24h 7d 4w 12m", each at most once, in this order; "" is nothing but what is kept anyway.
 * REFUSED: it is something else. */
gboolean retention_parse(const char *keep, guint keep_last, Retention *ret_retention,
                         GError **error);

/* The clock, and whether to believe it: one for the life of a keeper (zeros to begin with). */
typedef struct RetentionClock {
    gint64   real_usec, boot_usec; /* the last moment that was believed           */
    gint64   jumped_usec;          /* of CLOCK_BOOTTIME: since when it is ahead; 0: it is not */
    gboolean started;
} RetentionClock;

/* `newest_usec`: the newest record of the store (0: none). FALSE: the clock is more than a day ahead
 * of what it should be, and has not been for a day yet: nothing is to be dropped. */
gboolean retention_clock_check(RetentionClock *c, gint64 real_usec, gint64 boot_usec,
                               gint64 newest_usec);

typedef struct RetentionNow {
    gint64   usec;
    gboolean trusted;        /* retention_clock_check                                      */
    gint64   unclean_usec;   /* when KEPT_BOOT was last given (CatalogState.boot_usec); or 0 */
} RetentionNow;

/* Of the system's clocks, with the check. */
RetentionNow retention_now(RetentionClock *c, gint64 newest_usec, gint64 unclean_usec);

typedef struct RetentionVerdict {
    Point      *point; /* borrowed */
    gboolean    keep;
    const char *why; /* "newest", "last hour", "hourly", "named", ...; or why not. Static */
} RetentionVerdict;

/* RetentionVerdict of each content of the view (view_points: newest first, current included). A view
 * without a policy keeps all. The current content goes only together with all others: of a file that
 * was deleted long ago. */
GArray *retention_judge(const FileView *v, const RetentionNow *now);

/* For a store over its limit: whether a point may go before its time, whatever the policy and the
 * clock say. Never the newest content, the newest stable one, or what is kept for a reason (Kept);
 * nothing of a suspicious file. NULL: it may go; else why not. */
const char *retention_must_stay(const FileView *v, const Point *p, const RetentionNow *now);

G_END_DECLS
