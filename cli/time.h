#pragma once

/* Time, as people and as programs write and read it. All times are microseconds since the epoch. */

#include <glib.h>

G_BEGIN_DECLS

/* "just now", "3 min ago", "2 h ago", "5 days ago"; "in 3 min" for the future. */
char *time_phrase(gint64 usec, gint64 now_usec);

/* "2026-11-20 21:38:18", local time. */
char *time_local(gint64 usec);

/* Both: "2026-11-20 21:38:18 (3 min ago)", counted from now. */
char *time_full(gint64 usec);

/* RFC 3339, UTC: "2026-11-20T21:38:18.000250Z". */
char *time_rfc3339(gint64 usec);

typedef enum {
    TIME_READ,
    TIME_WRONG,  /* it is meant as a time, but names none that was */
    TIME_NO_TIME /* it is not like a time at all                   */
} TimeReading;

/* A moment that has been, as people write it: "10 minutes ago", "yesterday 18:00", "monday 12:00",
 * "18:00", "2026-11-20 18:00:05", RFC 3339, "@1700000000", "now". Local time where no zone is named;
 * a time of day without a day is today's. Without a fraction of a second the whole second is meant:
 * its last microsecond, so that a time copied from `filedup log` finds that point.
 * An error is CLI_ERROR_USAGE (report.h). */
TimeReading time_parse(const char *text, gint64 now_usec, gint64 *ret_usec, GError **error);

G_END_DECLS
