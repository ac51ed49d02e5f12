#pragma once

/* Folder: one path in the tree of folders, with the inode that it led to. For folders.c alone. */

#include <glib.h>
#include <sys/inotify.h>

#include "feed/inotify.h"
#include "feed/watch.h"

G_BEGIN_DECLS

#define FOLDER_MASK_NAMES (IN_CREATE | IN_MOVED_TO | IN_DELETE | IN_MOVED_FROM)

/* What the nodes of a tree have in common. */
typedef struct FolderWork {
    GHashTable *stale;   /* Folder: to be resolved */
    GHashTable *pending; /* Watch: has something to say */
    guint       n_failing;
} FolderWork;

struct Folder {
    FolderWork *work;
    char       *path;
    const char *name; /* in path */
    Folder     *parent;
    GHashTable *children; /* name -> Folder */
    GHashTable *entries;  /* name -> GPtrArray of Watch */
    guint       n_writes; /* entries with WATCH_WRITES */

    gboolean    present;
    guint64     dev, ino; /* while present */
    InotifyUser inode;
    gboolean    renewed; /* its watch was replaced: events may have been missed */
    int         errnum;  /* why it is not present, or not watched; else 0 */
    gboolean    failing; /* should be watched, and cannot be */
    guint       n_absent, n_hollow; /* entries, children */
    gboolean    hollow;
};

/* Joins its parent (NULL: it is "/"), and is stale. Free it when nothing is in it any more. */
Folder *folder_new(FolderWork *work, Folder *parent, const char *path);
void    folder_free(Folder *f);

/* Opens the path anew, watches what it leads to, and looks at the entries; goes on below where it
 * leads elsewhere than before, or everywhere (`deep`). */
void folder_resolve(Folder *f, gboolean deep);

/* An O_PATH descriptor if the path still leads to the same inode; else -1, and it is stale. */
int folder_reopen(Folder *f);

/* Looks at one entry: is it there, has it other names? */
void folder_look_at(Watch *w, int folder_fd);
void folder_set_present(Watch *w, gboolean present);

/* After a change of what is in it. */
void    folder_update(Folder *f);
guint32 folder_wanted_mask(Folder *f);

G_END_DECLS
