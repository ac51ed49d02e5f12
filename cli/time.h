#pragma once

/* Time, as people and as programs read it. All times are microseconds since the epoch. */

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

G_END_DECLS
