#pragma once

/* Targets: how far each store of a row is, and what is asked and told there besides backups. */

#include "daemon/entry.h"
#include "daemon/transfer.h"

G_BEGIN_DECLS

/* Asks the store what it has of the entry, if that is not known; schedule_found() follows. TRUE: it is
 * known. */
gboolean target_know(Entry *e, Target *t);

/* What a transfer has made durable there. */
void target_record(Target *t, const TransferResult *r, const TransferTarget *part);

/* Everything up to `generation` is durable there, as the file was at `usec` (since the epoch). */
void target_set_durable(Target *t, const Entry *e, guint64 generation, gint64 usec);

/* There was a reason to look: targets that are not behind yet are from now on. */
void targets_note_behind(Entry *e);
/* Since when (us since the epoch) some store of the row is, or may be, behind the file; 0: none is. */
gint64 targets_behind_usec(const Entry *e);

/* The file stands still with a fuzzy content: it becomes a point, once. FALSE: not for long enough yet. */
gboolean target_mark_quiet(const Entry *e, Target *t);

/* Its store was told that a suspicious change was wanted. */
void target_approved(Entry *e, Target *t);

/* Tells the stores of the entry how its points are thinned: the row has changed. */
void targets_tell_policy(const Entry *e);

/* At the next touch the content is compared with what every store has, or this one (NULL: every one),
 * whatever the stat says. */
void targets_compare(Entry *e, const Target *only);

G_END_DECLS
