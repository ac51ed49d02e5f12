#pragma once

/* Upkeep: the inside of what a keeper gives up, shared by upkeep.c (by itself), space.c (when it is
 * short of it) and request.c (when somebody asks). The outside is keeper.h. */

#include <glib.h>

#include "store/compact.h"
#include "store/forget.h"
#include "store/keeper.h"
#include "store/thin.h"

G_BEGIN_DECLS

typedef struct Request Request; /* request.c */

struct Upkeep {
    guint64        limit_bytes; /* 0: none */
    RetentionClock clock;

    Thinning pass; /* of all files, by itself */
    gboolean in_pass, compacting;
    gint64   next_usec;    /* of the pass, or of its next turn */
    gint64   short_usec;   /* when looking for space is worth while again; */
    guint64  short_bytes;  /* before, for less than this only */
    gint64   thinned_usec; /* and a pass of thinning for it */
    Thinning space_pass;   /* that pass, if it is under way (after != 0) */

    GQueue      requests;     /* Request */
    gint64      request_usec; /* when the first one goes on */
    Forgetting *forgetting;   /* that nobody waits for any more */
    gint64      forgetting_usec;
    gint64      told_usec;

    gboolean used_stale;
    guint64  used_bytes;
};

/* FALSE, and the keeper has failed, if it is an error of the catalog or the packs. */
gboolean upkeep_bearable(Keeper *k, const GError *error);
gboolean upkeep_now(Keeper *k, RetentionNow *ret_now);
/* Points are gone, and maybe files with them. */
void     upkeep_thinned(Keeper *k);

/* space.c. One step of compaction; FALSE: there is no more to be had from it. By how much the limit
 * is exceeded; and a step down to it. */
gboolean space_compact(Keeper *k);
guint64  space_over_limit(Keeper *k);
gboolean space_down_to_limit(Keeper *k);

/* request.c */
void     request_free(Request *r);
void     request_turn(Keeper *k);
void     request_forgetting_turn(Keeper *k);

G_END_DECLS
