#pragma once

/* Folders: the folders of all watched entries and every folder above them, as a tree of paths, each
 * with the inode that its path led to. */

#include <glib.h>
#include <sys/inotify.h>

#include "feed/watch.h"

G_BEGIN_DECLS

typedef struct Folders Folders;

Folders *folders_new(void);
void     folders_free(Folders *t); /* no watch may be in it any more */
G_DEFINE_AUTOPTR_CLEANUP_FUNC(Folders, folders_free)

/* Puts a watch into the folder of its path (borrowed until removed), or resolves its path anew. */
void folders_add(Folders *t, Watch *w);
void folders_resolve(Folders *t, Watch *w);
void folders_remove(Folders *t, Watch *w);

/* Other flags for a watch that is in the tree. */
void folders_set_flags(Watch *w, WatchFlags flags);

/* Takes in one event (not an overflow). What it says of the paths is acted on by folders_settle. */
void folders_event(Folders *t, const struct inotify_event *event);

/* All paths may lead elsewhere: after a change of mounts, lost events, or to retry what failed. */
void folders_refresh(Folders *t);

/* Resolves what events have put in doubt. Call it before taking watches. */
void folders_settle(Folders *t);

/* A watch that has something to say: changes, or a state to be looked at. NULL: no more. */
Watch *folders_take(Folders *t);

/* The state to show for a watch, with an errno or 0, and, where watches have run out, how many are
 * needed in all. */
WatchState folders_state(Folders *t, Watch *w, int *ret_errnum, guint64 *ret_needed);

/* Folders that should be watched and cannot be: their paths must be looked at from time to time. */
guint folders_failing(Folders *t);

G_END_DECLS
