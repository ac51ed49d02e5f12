#pragma once

/* Forget: a point, all points or all of a file really goes: from the catalog, the packs, the whole
 * files, the journal. What its bytes were in is removed (files) or written anew without them; the
 * blocks are then the file system's.
 *
 * What is to go is written to STORE/forgetting (doomed.h) before anything goes: after a crash,
 * forget_resume goes on. */

#include <glib.h>

#include "store/apply.h"

G_BEGIN_DECLS

typedef struct Forgetting Forgetting;

/* Drops the points at once; `point` 0: all of them, and with `current_too` all that the store has of
 * the file. What is pending of the path is applied first (so nobody may be reading its mirror).
 * NO_ENTRY: there is no such file or point. REFUSED: that point is the newest content. AGAIN: for now
 * it cannot be. *ret_points: how many contents it drops. NULL with an error. */
Forgetting *forget_begin(Store *s, const char *path, guint64 point, gboolean current_too,
                         guint *ret_points, GError **error);

/* What a crash interrupted; NULL without an error: nothing. */
Forgetting *forget_resume(Store *s, GError **error);

/* One bounded step of emptying packs and journal. *ret_more FALSE: it is gone from the disk. Packs are
 * removed (compact.h), and the journal compacted. AGAIN: for now it cannot go on (no space, or a file
 * that is still to be applied uses a pack): apply, and come again. */
gboolean forget_step(Forgetting *f, Store *s, gboolean *ret_more, GError **error);
void     forget_free(Forgetting *f);
G_DEFINE_AUTOPTR_CLEANUP_FUNC(Forgetting, forget_free)

G_END_DECLS
