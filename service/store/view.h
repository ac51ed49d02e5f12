#pragma once

/* FileView: what a store has of one file: the catalog's rows with the pending transactions laid over. */

#include <glib.h>

#include "store/pending.h"
#include "store/point.h"

G_BEGIN_DECLS

typedef struct FileView {
    guint64     id; /* 0: nothing is known of it */
    char       *path;
    uid_t       principal;
    StoredState state;
    guint64     newest_seq; /* of anything about it */
    guint64     applied;    /* transactions up to here are in the catalog's rows */
    guint64     mirror_ino;
    Point      *current; /* NULL: there are only points */
    gboolean    attributes_changed; /* of a mirror whose content stays */
    GPtrArray  *points;  /* Point, without current, by id */
    GPtrArray  *dropped; /* Point: not kept any more */
} FileView;

FileView *view_new(const char *path);
void      view_free(FileView *v);
G_DEFINE_AUTOPTR_CLEANUP_FUNC(FileView, view_free)

/* Lays the transactions (of this file, oldest first; NULL: none) over it. Those that are in it
 * already change nothing. */
void view_fold(FileView *v, const GPtrArray *transactions);

/* A content of it that was to be built is lost. */
gboolean view_lost(const FileView *v);

/* NULL: no such point. Id 0 is the current content. */
Point *view_point(const FileView *v, guint64 id);

/* The newest stable content's point; 0 if it is the current one, or there is none. */
guint64 view_stable_point(const FileView *v);

/* All that can be had, newest first, current included with id 0: StoredPoint (reader.h). */
GArray *view_points(const FileView *v);

G_END_DECLS
