#pragma once

/* Mirror: the ordinary files of a store: the newest contents in mirrors/, whole ones in history/. */

#include <glib.h>

#include "store/image.h"
#include "store/layout.h"
#include "store/view.h"

G_BEGIN_DECLS

/* Up to this size a mirror is always replaced by a staged copy; larger ones are updated in place
 * where the file system cannot clone. */
#define MIRROR_COPY_BYTES ((guint64) 1024 * 1024)

/* Relative to the store. */
char *mirror_path(guint64 id, const char *path);
char *mirror_history_path(guint64 id, guint64 whole, const char *path);

/* The entry's folder and the .origin beside it. *ret_fd (-1: they were there): the latter, still to be
 * synced, and then the folder mirrors/. */
gboolean mirror_prepare(const Layout *l, const FileView *v, Fd *ret_fd, GError **error);

/* Builds the content of p (POINT_IN_JOURNAL) with its attributes as a staged copy; p->sums must be
 * set, and are checked against its hash. *ret_name is its name in staged/; NULL if it is the staged
 * file of a replace and has its name `target` (relative to the store) already. *ret_fd is still to be
 * synced (-1: nothing is). */
gboolean mirror_build(Layout *l, const FileView *v, Point *p, Image *image, const char *target,
                      char **ret_name, Fd *ret_fd, GError **error);

/* Whether p (POINT_IN_JOURNAL, by ranges from the mirror) is to be written into the mirror itself. */
gboolean mirror_is_in_place(Layout *l, const FileView *v, const Point *p);

/* Does that, attributes included; it can be done again. Its name is in `applying` (applying.h).
 * *ret_fd is still to be synced. */
gboolean mirror_write(const Layout *l, const FileView *v, Point *p, Image *image, Fd *ret_fd,
                      GError **error);

/* Moves it to `target`; the folder there is still to be synced. *ret_ino: the inode. */
gboolean mirror_place(const Layout *l, const char *name, const char *target, guint64 *ret_ino,
                      GError **error);

/* A second name, in history/, for the mirror that is about to be replaced; `history` is still to be
 * synced. Done already is fine. p->lost: there is no mirror any more. */
gboolean mirror_keep(const Layout *l, const FileView *v, Point *p, GError **error);

/* Gives the mirror the attributes of v->current; that is `lost` if there is no mirror any more.
 * *ret_fd is still to be synced. */
gboolean mirror_set_attributes(const Layout *l, FileView *v, Fd *ret_fd, GError **error);

/* Somebody has removed it. */
gboolean mirror_is_missing(const Layout *l, const FileView *v);

/* A content that is a file as it is (store_is_plain), read-only; -1 with an error. */
int mirror_open(int root_fd, const FileView *v, const Point *p, GError **error);

/* The file of a content in mirror or history, whatever its size is; and of one that a staged file
 * brings, wherever that has been moved by now. -1 with an error. */
int mirror_open_named(int root_fd, const FileView *v, const Point *p, GError **error);
int mirror_open_staged(int root_fd, const FileView *v, const Transaction *t, GError **error);

G_END_DECLS
