#pragma once

/* Mirror: the ordinary files of a store: the newest contents in mirrors/, points in history/. */

#include <glib.h>

#include "store/layout.h"
#include "store/view.h"

G_BEGIN_DECLS

/* Relative to the store. */
char *mirror_path(guint64 id, const char *path);
char *mirror_history_path(guint64 id, guint64 point, const char *path);

/* The entry's folder and the .origin beside it, durable. */
gboolean mirror_prepare(const Layout *l, const FileView *v, GError **error);

/* Builds the content of p (POINT_IN_JOURNAL) with its attributes as a staged copy, synced, and sets
 * p->sums. *ret_name is its name in staged/; NULL if it is the staged file of a replace and has its
 * name `target` (relative to the store) already. */
gboolean mirror_build(const Layout *l, const FileView *v, Point *p, const char *target,
                      char **ret_name, GError **error);

/* Moves it to `target`, and syncs the folder there. *ret_ino: the inode. */
gboolean mirror_place(const Layout *l, const char *name, const char *target, guint64 *ret_ino,
                      GError **error);

/* A second name, in history/, for the mirror that is about to be replaced; durable. Done already is
 * fine. p->lost: there is no mirror any more. */
gboolean mirror_keep(const Layout *l, const FileView *v, Point *p, GError **error);

/* Gives the mirror the attributes of v->current; that is `lost` if there is no mirror any more. */
gboolean mirror_set_attributes(const Layout *l, FileView *v, GError **error);

/* Somebody has removed it. */
gboolean mirror_is_missing(const Layout *l, const FileView *v);

/* The content of a point, read-only, wherever it is now; -1 with an error. */
int mirror_open(int root_fd, const FileView *v, const Point *p, GError **error);

G_END_DECLS
