#pragma once

/* Health: how fresh a row's backup is, how that is known, and whether anybody should worry. */

#include "daemon/drills.h"
#include "daemon/entry.h"

G_BEGIN_DECLS

/* How precisely changes of the file are told: "file" (an event says that it changed), "scan" (it is
 * compared from time to time), "none" (nobody looks at it now). */
const char *health_exactness(const Entry *e);

/* How it is known that the backup is current, for people; "" if it is not current. */
char *health_known(const Entry *e);

/* NULL: all is well. Else what is wrong, for a probe: the backup is behind its file by more than the
 * row's max-lag, or failed, or suspicious, or one of its stores is not there, or its drill failed. */
char *health_check(const Entry *e, const DrillRecord *drill);

/* What speaks against the newest content, with the remedy; NULL: nothing. The values (0 if nothing)
 * are of the first store that says so; each may be NULL. */
char *health_suspicion(const Entry *e, guint *ret_suspicion, gint64 *ret_since_usec,
                       guint64 *ret_good_point);

G_END_DECLS
