#pragma once

/* Crash points: named steps at which a test can stop a role dead. */

#include <glib.h>

G_BEGIN_DECLS

#ifdef CRASH_POINTS
/* If the environment's FILEDUP_CRASH is "<name>" or "<name>:<n>" (the n-th time, from 1), this
 * process kills itself by SIGKILL here. FILEDUP_CRASH_ONCE names a file: it is created by the kill,
 * and no kill happens where it exists, so that the restarted role lives. */
void crash_point(const char *name);
#else
static inline void
crash_point(G_GNUC_UNUSED const char *name)
{
}
#endif

G_END_DECLS
