#pragma once

/* FileView: what a store has of one file: the catalog's rows with the pending transactions laid over. */

#include <glib.h>

#include "store/pending.h"
#include "store/point.h"

G_BEGIN_DECLS

typedef struct FooterFile FooterFile; /* footer.h */

typedef struct FileView {
    guint64     id; /* 0: nothing is known of it */
    char       *path;
    uid_t       principal;
    StoredState state;
    guint64     newest_seq; /* of anything about it */
    guint64     applied;    /* transactions up to here are in the catalog's rows */
    guint64     mirror_ino;
    guint64     mirror_bytes; /* size of the content that the catalog says is in the mirror */
    guint64     mirror_point; /* its id; 0: there is no mirror                              */
    guint64     prepared_point; /* the content that a prepared apply makes of it; 0: none   */
    Point      *current;      /* NULL: there are only points */
    gboolean    attributes_changed; /* of a mirror whose content stays */
    GPtrArray  *points;  /* Point, without current, by id; all of them only if `all_points` */
    GPtrArray  *dropped; /* Point: not kept any more */
    gboolean    all_points;
    Point      *superseded; /* the mirror's content, if it is merged away once what is pending is
                               applied: older points still start from it; NULL: none */

    guint32 suspicion;            /* Suspicion bits, until somebody approves                  */
    gint64  suspicion_since_usec;
    guint64 suspicion_point;      /* the last content before it; it is KEPT_SUSPICION; 0: none */
    guint64 boot_seq;             /* contents up to here were there when the machine last went down
                                     without a stop: superseded later, they are KEPT_BOOT      */
    char   *keep;                 /* the policy; NULL: none was said */
    guint32 keep_last;

    GPtrArray *journalled; /* Transaction, borrowed, oldest first: the chain's pending contents */
} FileView;

FileView *view_new(const char *path);
void      view_free(FileView *v);
G_DEFINE_AUTOPTR_CLEANUP_FUNC(FileView, view_free)

/* Lays the transactions (of this file, oldest first; NULL: none) over it. Those that are in it
 * already change nothing. */
void view_fold(FileView *v, const GPtrArray *transactions);
/* The same for those with a sequence up to `through`. */
void view_fold_through(FileView *v, const GPtrArray *transactions, guint64 through);

/* After view_fold_through(f->through): an apply of just these was prepared, and may have changed
 * the mirror. So contents before the newest are where the footer says. */
void view_lay_prepared(FileView *v, const FooterFile *f);

/* A content of it that was to be built is lost. */
gboolean view_lost(const FileView *v);

/* NULL: no such point. Id 0 is the current content. */
Point *view_point(const FileView *v, guint64 id);

/* The content that was the newest then; NULL: there was none yet, or it was deleted. */
Point *view_point_at(const FileView *v, gint64 time_usec);

/* The next newer content of the chain (NULL: none), and the next older one. */
Point *view_newer(const FileView *v, const Point *p);
Point *view_older(const FileView *v, const Point *p);

/* The newest stable content's point; 0 if it is the current one, or there is none. */
guint64 view_stable_point(const FileView *v);

/* All that can be had, newest first, current included: Point, borrowed. */
GPtrArray *view_points(const FileView *v);

/* Gives up one point (of a view loaded with CATALOG_UNDO, nothing pending): it moves to `dropped`,
 * and the next older content that started from it starts from what it started from (fresh). */
void view_drop(FileView *v, Point *p);

/* Nothing is left of the mirror's content: what starts from it starts from nothing, and is damaged.
 * TRUE: there is such a point. */
gboolean view_bury(FileView *v);

/* Gives up all points, the ones beside the chain too. */
void view_drop_all(FileView *v);

/* Ids of whole files in history/ of which a dropped point was a user, and that no point of the view
 * needs any more (guint64): to be unlinked once the catalog has it (mirror_history_path). */
GArray *view_unused_wholes(const FileView *v);

G_END_DECLS
