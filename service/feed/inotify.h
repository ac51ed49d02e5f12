#pragma once

/* Inotify: the one instance of libinotifytools in this process. Each inode has one watch, shared by
 * all that are interested in it, since two paths may lead to it. */

#include <glib.h>
#include <sys/inotify.h>

G_BEGIN_DECLS

/* An interest in one inode. Zeroed but for wd = -1 when it has none. */
typedef struct InotifyUser {
    int      wd;
    guint32  mask;
    gpointer owner;
    gboolean is_file; /* the owner is a Watch, else a Folder */
} InotifyUser;

/* FALSE with errno. Call it early: the library uses select(), so the descriptor must be small.
 * Not thread-safe, and fine to call again while it fails. */
gboolean inotify_open(void);
void     inotify_close(void);
int      inotify_descriptor(void); /* to poll; -1 while it is not open */

/* Watches the inode that `fd` (O_PATH is enough) leads to; `path` is a name for it, nothing is
 * looked up by it that matters. A user that has a watch already must bring the same inode, and just
 * changes its mask. 0 or an errno. */
int  inotify_join(InotifyUser *user, int fd, const char *path, guint32 mask);
void inotify_leave(InotifyUser *user);

/* The users (InotifyUser) of a watch: NULL if it is none of ours (any more). */
GPtrArray *inotify_users(int wd);

/* The kernel has ended this watch (IN_IGNORED): its users have none now. Returns them; free it. */
GPtrArray *inotify_forget(int wd);

/* The next event, NULL when all that had happened is read. Valid until the next call. */
const struct inotify_event *inotify_next(void);

/* At least as many bytes as are waiting, here and in the kernel: when events of that length have
 * been read, whatever happened before this call has been. */
gsize inotify_waiting_bytes(void);

G_END_DECLS
