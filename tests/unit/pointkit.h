#pragma once

/* PointKit: a store (storekit.h) with an account of every content that was given to it, for the tests
 * of what gives up points: thinning, compaction, forgetting. */

#include <glib.h>

#include "store/retention.h"
#include "tests/unit/storekit.h"

typedef struct PointKit {
    Kit        kit;
    char      *path;     /* of the store       */
    GPtrArray *contents; /* of all files, ever */
    guint64    noise;
} PointKit;

void pointkit_init(PointKit *p); /* in the test's folder */
void pointkit_clear(PointKit *p);
void pointkit_close(PointKit *p); /* and open it again, as after a crash: with thin_sweep */
void pointkit_open(PointKit *p);

/* Bytes that cannot be compressed, unlike any before. */
void pointkit_noise(PointKit *p, guint8 *data, gsize n);

/* A new content of the file, applied: its point. */
guint64 pointkit_save(PointKit *p, const char *path, const void *data, gsize n);
/* The same, given as a whole: what has little of the one before leaves it whole in history/. */
guint64 pointkit_save_whole(PointKit *p, const char *path, const void *data, gsize n);
/* The one before, with so many bytes at `at` changed. */
guint64 pointkit_change(PointKit *p, const char *path, gsize at, gsize n);
/* The newest content: a random size up to `most`, and some runs changed. */
guint64 pointkit_vary(PointKit *p, GRand *random, const char *path, gsize most);

void pointkit_name(PointKit *p, const char *path, guint64 point, const char *name);
void pointkit_policy(PointKit *p, const char *path, const char *keep, guint last);

/* Reads every content that the catalog lists, and compares it with what was given. Their number. */
guint pointkit_check(PointKit *p);
/* Ids of a path's contents, newest first: "7 5 2". */
char *pointkit_ids(PointKit *p, const char *path);

/* After everything that was saved, by so much. */
RetentionNow pointkit_now(gint64 later_usec);

/* Does `run` in a process of its own, that is killed at the nth `step`. FALSE: it came to its end.
 * The store is closed before, and open after it. */
typedef void (*PointKitFunc)(PointKit *p);
gboolean pointkit_crash(PointKit *p, const char *step, guint nth, PointKitFunc run);

/* Files of history/ that are no packs, and packs. */
guint pointkit_n_wholes(PointKit *p);
guint pointkit_n_packs(PointKit *p);

/* Whether any file of the store (names, too) has these bytes. */
gboolean pointkit_finds(PointKit *p, const void *needle, gsize n);
