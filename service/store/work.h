#pragma once

/* Work: one file of a batch, from its pending transactions to what the catalog is to be told. */

#include <glib.h>

#include "store/apply.h"

G_BEGIN_DECLS

typedef struct Work {
    char      *path;
    GPtrArray *transactions; /* of the path, borrowed from Pending                                */
    guint64    through;      /* those up to here are done in this round                           */
    gboolean   done;         /* by a run before, out of order: only to be cleaned up              */
    gboolean   redo;         /* it was prepared before: undo is as the footer says                */
    FileView  *v;            /* as it will be                                                     */

    gboolean   has_points;   /* something for a footer                                            */
    gboolean   kept_whole;   /* there are new files in history/                                   */
    Fd         origin;       /* of a new folder in mirrors/, to be synced; else -1                */
    gboolean   in_place;
    char      *staged_name;
    Fd         fd;           /* of the mirror, to be synced                                       */
    gboolean   mirror_gone;  /* somebody has removed it                                           */

    FooterFile *footer;      /* of a redo                                                         */
    gboolean   point_lost;   /* an acknowledged point had to be left out                          */
    gboolean   given_up;     /* what `through` covers is not what was captured                    */
    GError    *error;        /* left out                                                          */
} Work;

Work *work_new(const char *path, GPtrArray *transactions);
void  work_free(Work *w);
G_DEFINE_AUTOPTR_CLEANUP_FUNC(Work, work_free)

/* Errors of the kinds that concern all files are not this one's. */
gboolean work_of_this_file(gboolean ok, GError **error);

/* Says what the round does, saves old bytes in the packs' batch, and puts whole contents into
 * history/. Changes no mirror. FALSE: w->error, or w->given_up, or (with *error) one that concerns all:
 * FATAL, or AGAIN (the packs have no space). */
gboolean work_prepare(Work *w, Store *s, GError **error);

/* The same for what a footer (taken over) says was prepared. */
gboolean work_resume(Work *w, Store *s, FooterFile *f, GError **error);

/* What the catalog is told of what was given up: the row stays, but fits no original any more. */
FileView *work_abandon(const Work *w, const Store *s, GError **error);

G_END_DECLS
