#pragma once

/* Stage: new content for a name, invisible until it is complete, then swapped in atomically. */

#include <glib.h>

#include "base/filestat.h"

G_BEGIN_DECLS

typedef struct Stage Stage;

/* What stood under the name before a publish. */
typedef struct Swapped {
    char   *name; /* its temporary name in the same folder; NULL if nothing was there */
    guint64 dev, ino;
} Swapped;
void swapped_clear(Swapped *s);
G_DEFINE_AUTO_CLEANUP_CLEAR_FUNC(Swapped, swapped_clear)

/* An unnamed file (O_TMPFILE; where the file system has none, a named temporary one that
 * stage_free removes) on the folder's file system. The folder descriptor is borrowed. */
Stage *stage_new(int folder_fd, const char *name, GError **error);
int    stage_fd(Stage *s); /* owned by the stage; open for reading and writing */

/* fsync, a temporary name, RENAME_EXCHANGE (or a plain rename that replaces nothing), fsync of the
 * folder. What was there before is kept under the temporary name: the caller saves and removes it. */
gboolean stage_publish(Stage *s, Swapped *ret_swapped, GError **error);

/* Removes what was not published. */
void stage_free(Stage *s);
G_DEFINE_AUTOPTR_CLEANUP_FUNC(Stage, stage_free)

/* Removes a swapped-out file, but only if the name still leads to that inode. */
gboolean stage_discard(int folder_fd, const char *name, guint64 dev, guint64 ino, GError **error);

/* Could `temporary` be what a restore of `name` calls its file? */
gboolean stage_is_temporary_of(const char *temporary, const char *name);

G_END_DECLS
