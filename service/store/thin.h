#pragma once

/* Thin: gives up the points that no policy needs.
 *
 * A file of which something is pending, or whose apply is unfinished, is left as it is: apply it
 * first. Only the catalog changes: what was undo becomes dead in its packs (compact.h). What is given
 * up is gone durably when a function returns; AGAIN and FATAL are the catalog's. */

#include <glib.h>

#include "store/apply.h"
#include "store/doomed.h"
#include "store/retention.h"

G_BEGIN_DECLS

/* Told of each point that goes (dry run: that would go). The view is as it was before. */
typedef void (*ThinFunc)(const FileView *v, const Point *p, const char *why, gpointer data);

typedef struct Thinning {
    RetentionNow now;
    gboolean     dry_run;
    ThinFunc     told; /* NULL: nobody is */
    gpointer     data;
    guint64      after;    /* thin_step: file id; 0 to begin with              */
    guint64      n_points; /* given up so far                                  */
    guint64      bytes;    /* that are given back by it, about, once compacted */
} Thinning;

/* By the file's policy. A deleted file whose time is over goes as a whole. */
gboolean thin_file(Store *s, const char *path, Thinning *t, GError **error);

/* The next few files, in one transaction. *ret_more: there are others. */
gboolean thin_step(Store *s, Thinning *t, gboolean *ret_more, GError **error);

/* Gives up the oldest points of all files, whatever the policies, until about so many bytes more are
 * given back (t->bytes says how many are), at most a few hundred in one step. Not in a dry run.
 * *ret_more: there may be others that could go. */
gboolean thin_for_space(Store *s, Thinning *t, guint64 bytes, gboolean *ret_more, GError **error);

/* How much that would give back, were it to go on to its end; it is looked for until there is `enough`.
 * Changes nothing. */
gboolean thin_could_give(Store *s, const RetentionNow *now, guint64 enough, guint64 *ret_bytes,
                         GError **error);

/* For compact.c and forget.c. Whether the file is one that is left as it is. */
gboolean thin_is_busy(const Store *s, const FileView *v, gboolean *ret_busy, GError **error);

/* Saves what was dropped of these views (FileView), and the files (guint64) of which all goes; then
 * removes whole files that nobody needs any more. */
gboolean thin_commit(Store *s, const GPtrArray *views, GArray *forgotten, GError **error);

/* Removes all files of `files`, unless the catalog (still) has them, and takes them off the list. */
gboolean thin_remove_doomed(Store *s, Doomed *d, GError **error);

/* After store_recover: what a crash left between a transaction and its removal of files. */
gboolean thin_sweep(Store *s, GError **error);

G_END_DECLS
