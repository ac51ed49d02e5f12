#pragma once

/* Thin, the inside: what its files (thin.c, thin_space.c) share. */

#include "store/thin.h"

G_BEGIN_DECLS

/* What one step changes. */
typedef struct Group {
    GPtrArray *views;     /* with points dropped */
    GArray    *forgotten; /* guint64: files that go as a whole */
    guint64    n_loaded;  /* points, with undo */
} Group;

Group group_new(void);
void  group_clear(Group *g);
G_DEFINE_AUTO_CLEANUP_CLEAR_FUNC(Group, group_clear)

#define THIN_STEP_FILES  32   /* looked at in a step                        */
#define THIN_STEP_POINTS 4096 /* loaded with their undo in a step: it ends  */

/* Bytes in packs that the view's points have, and in whole files that they do not need any more. */
guint64 thin_undo_total(const FileView *v);
guint64 thin_wholes_bytes(const Store *s, const FileView *v);

G_END_DECLS
