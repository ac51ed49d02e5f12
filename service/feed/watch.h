#pragma once

/* Watch: one entry as the watcher sees it: a name in a folder, and what is to be said of it. */

#include <glib.h>

#include "base/message.h"
#include "feed/inotify.h"

G_BEGIN_DECLS

typedef struct Folder Folder;

typedef struct Watch {
    guint64    entry;
    char      *path, *name;
    WatchFlags flags;

    Folder     *folder;  /* where it is in the tree of folders               */
    gboolean    present; /* the name was there when last looked at           */
    InotifyUser file;    /* of the file itself, if it has other names too    */
    guint64     dev, ino; /* of that file                                    */

    guint      changes; /* ChangeWhat: still to be sent                      */
    gboolean   moved;   /* the path leads to another folder, or a new watch  */
    WatchState state;   /* as last sent                                      */
    int        errnum;
    guint64    needed;
} Watch;

Watch *watch_new(guint64 entry, const char *folder, const char *name, WatchFlags flags);
void   watch_free(Watch *w);
G_DEFINE_AUTOPTR_CLEANUP_FUNC(Watch, watch_free)

/* What an event means for an entry with these flags: ChangeWhat bits, or 0. */
guint watch_changes(guint32 event_mask, WatchFlags flags);

/* Takes over a state. TRUE if it must be sent: it differs from the last one sent, or w->moved (which
 * this clears). */
gboolean watch_set_state(Watch *w, WatchState state, int errnum, guint64 needed);

G_END_DECLS
