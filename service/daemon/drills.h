#pragma once

/* Drills: every day a few files are restored to scratch, and what came of it is remembered. */

#include "daemon/drill.h"

G_BEGIN_DECLS

typedef struct Drills Drills;

typedef struct DrillRecord {
    gint64 usec;   /* since the epoch */
    char  *result; /* "ok", or why it failed */
} DrillRecord;

/* Reads what is remembered in the state folder; a file that cannot be read is begun anew. */
Drills *drills_new(Manager *m);
void    drills_free(Drills *d);

/* NULL: none yet. */
const DrillRecord *drills_find(const Drills *d, const char *path);

/* A drill of the entry has come to its end: remembered, and an event if it failed (why not NULL). */
void drills_note(Drills *d, const Entry *e, const char *why);

/* How many of so many files a day, so that each has its turn within a month. */
guint drills_per_day(guint files);

/* Those of the paths (char *) whose turn it is: drilled least recently, at most so many. */
GPtrArray *drills_pick(const Drills *d, const GPtrArray *paths, guint most);

G_END_DECLS
