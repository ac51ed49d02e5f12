/* inotify.c - all use of libinotifytools
 *
 * The library keeps its descriptor to itself and knows watches by path. It calls inotify_init(),
 * inotify_add_watch() and inotify_rm_watch() through the PLT, so that the definitions here take
 * their place, for three things:
 *
 *   - the descriptor becomes known, close-on-exec and non-blocking;
 *   - a watch is put on the inode of a descriptor that the caller has opened without following
 *     symbolic links: a path swapped meanwhile leads to nobody else's folder;
 *   - removing a watch that the kernel has ended already succeeds. The library would keep the entry
 *     for ever otherwise, and find it in the place of a new one of the same path.
 *
 * Other users of these calls in the process (GIO) find them unchanged.
 *
 * INVARIANTS (1) a kernel watch exists exactly as long as `watches` has it;
 *            (2) its mask has every bit that a user asked for. It may have more, after a user has
 *                left: that costs events, which their receiver ignores, and nothing else.
 */

#include "config.h"

#include <errno.h>
#include <fcntl.h>
#include <inotifytools/inotifytools.h>
#include <sys/ioctl.h>
#include <sys/select.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "base/fd.h"
#include "feed/inotify.h"

/* The library's buffer: MAX_EVENTS of them without names. */
#define LIBRARY_BUFFER_BYTES (4096 * sizeof(struct inotify_event))

#define NOT_ADDING (-1)

typedef struct InodeWatch {
    int wd;
    guint32 mask;
    GPtrArray *users; /* of InotifyUser, borrowed */
} InodeWatch;

static int inotify_fd = -1;
static int open_errno = EMFILE;
static GHashTable *watches; /* wd -> InodeWatch */

/* What the library's calls are about; not set for anybody else's. */
static gboolean opening, removing;
static int adding_fd = NOT_ADDING;
static int added_wd;

int
inotify_init(void)
{
    int fd = (int) syscall(SYS_inotify_init1, opening ? IN_CLOEXEC | IN_NONBLOCK : 0);

    if (fd < 0 || !opening)
        return fd;
    if (fd >= FD_SETSIZE) {
        fd_clear(fd);
        errno = EMFILE;
        return -1;
    }
    return inotify_fd = fd;
}

/* By /proc, since there is no inotify_add_watch at a descriptor. The link is one of the kernel's:
 * it leads to the inode, whatever has become of its path. */
static int
add_by_fd(int fd, guint32 mask)
{
    char link[32];

    g_snprintf(link, sizeof link, "/proc/self/fd/%d", fd);
    return (int) syscall(SYS_inotify_add_watch, inotify_fd, link, mask);
}

int
inotify_add_watch(int fd, const char *path, uint32_t mask)
{
    if (adding_fd == NOT_ADDING)
        return (int) syscall(SYS_inotify_add_watch, fd, path, mask);
    return added_wd = add_by_fd(adding_fd, mask);
}

int
inotify_rm_watch(int fd, int wd)
{
    int result = (int) syscall(SYS_inotify_rm_watch, fd, wd);

    return result < 0 && removing && errno == EINVAL ? 0 : result;
}

static void
inode_watch_free(InodeWatch *w)
{
    g_ptr_array_unref(w->users);
    g_free(w);
}

gboolean
inotify_open(void)
{
    if (inotify_fd >= 0)
        return TRUE;
    opening = TRUE;
    gboolean done = inotifytools_initialize();
    opening = FALSE;
    if (!done) {
        errno = open_errno = inotifytools_error();
        return FALSE;
    }
    if (!watches)
        watches = g_hash_table_new_full(NULL, NULL, NULL, (GDestroyNotify) inode_watch_free);
    return TRUE;
}

void
inotify_close(void)
{
    if (inotify_fd < 0)
        return;
    g_assert(g_hash_table_size(watches) == 0);
    inotifytools_cleanup();
    inotify_fd = -1;
    g_clear_pointer(&watches, g_hash_table_unref);
}

int
inotify_descriptor(void)
{
    return inotify_fd;
}

static InodeWatch *
lookup(int wd)
{
    return watches ? g_hash_table_lookup(watches, GINT_TO_POINTER(wd)) : NULL;
}

static void
unwatch(int wd)
{
    g_hash_table_remove(watches, GINT_TO_POINTER(wd));
    removing = TRUE;
    (void) inotifytools_remove_watch_by_wd(wd);
    removing = FALSE;
}

/* A new watch of ours, by the library; -1 with EEXIST if the inode has one. */
static int
add_by_library(int fd, const char *path, guint32 mask)
{
    added_wd = -1;
    adding_fd = fd;
    gboolean done = inotifytools_watch_file(path, (int) (mask | IN_MASK_CREATE));
    adding_fd = NOT_ADDING;
    if (done)
        return added_wd;
    errno = inotifytools_error();
    return -1;
}

static int
join_new(InotifyUser *user, int fd, const char *path, guint32 mask)
{
    int wd = add_by_library(fd, path, mask);

    if (wd < 0 && errno == EEXIST)
        wd = add_by_fd(fd, mask | IN_MASK_ADD);
    if (wd < 0)
        return errno;
    InodeWatch *w = lookup(wd);
    if (!w) {
        w = g_new0(InodeWatch, 1);
        w->wd = wd;
        w->users = g_ptr_array_new();
        g_hash_table_insert(watches, GINT_TO_POINTER(wd), w);
    }
    w->mask |= mask;
    g_ptr_array_add(w->users, user);
    user->wd = wd;
    user->mask = mask;
    return 0;
}

static guint32
wanted_mask(InodeWatch *w)
{
    guint32 mask = 0;

    for (guint i = 0; i < w->users->len; i++)
        mask |= ((InotifyUser *) w->users->pdata[i])->mask;
    return mask;
}

int
inotify_join(InotifyUser *user, int fd, const char *path, guint32 mask)
{
    if (inotify_fd < 0)
        return open_errno;
    if (user->wd < 0)
        return join_new(user, fd, path, mask);

    InodeWatch *w = lookup(user->wd);
    user->mask = mask;
    guint32 wanted = wanted_mask(w);
    if (wanted == w->mask)
        return 0;
    int wd = add_by_fd(fd, wanted);
    if (wd == w->wd) {
        w->mask = wanted;
        return 0;
    }
    /* An inode number that was used again: the event that says so is still to be read. */
    if (wd >= 0)
        (void) inotify_rm_watch(inotify_fd, wd);
    inotify_leave(user);
    return join_new(user, fd, path, mask);
}

void
inotify_leave(InotifyUser *user)
{
    InodeWatch *w = user->wd >= 0 ? lookup(user->wd) : NULL;

    user->wd = -1;
    user->mask = 0;
    if (!w)
        return;
    g_ptr_array_remove_fast(w->users, user);
    if (w->users->len == 0)
        unwatch(w->wd);
}

GPtrArray *
inotify_users(int wd)
{
    InodeWatch *w = lookup(wd);

    return w ? w->users : NULL;
}

GPtrArray *
inotify_forget(int wd)
{
    InodeWatch *w = lookup(wd);

    if (!w)
        return g_ptr_array_new();
    GPtrArray *users = g_ptr_array_ref(w->users);
    for (guint i = 0; i < users->len; i++) {
        InotifyUser *user = users->pdata[i];
        user->wd = -1;
        user->mask = 0;
    }
    unwatch(wd);
    return users;
}

const struct inotify_event *
inotify_next(void)
{
    const struct inotify_event *event;

    if (inotify_fd < 0)
        return NULL;
    do
        event = inotifytools_next_events(0, 1); /* more than 1 would wait for them, spinning */
    while (!event && inotifytools_error() == EINTR);
    return event;
}

gsize
inotify_waiting_bytes(void)
{
    int n = 0;

    if (inotify_fd < 0 || ioctl(inotify_fd, FIONREAD, &n) < 0)
        return 0;
    return (gsize) n + LIBRARY_BUFFER_BYTES;
}
