/* folder.c - which inode each path leads to, and noticing when it leads elsewhere
 *
 * The tree has a node for every folder of an entry and for every folder above one. A node is
 * resolved by opening its path without following symbolic links; then its inode is watched:
 *
 *   every folder               for being moved or removed
 *   one with entries           for what happens to the names in it
 *   one with a *hollow* child  for names that come and go
 *
 * A node is hollow while it, one of its entries, or a node below it does not exist. Removal of a
 * folder that some process has as its working directory is announced to the folder above it alone;
 * files go before their folder, so the folders above a hollow one listen for that.
 *
 * Each watch is set before the name below it is looked at, and a node that turns hollow is resolved
 * once more after the folders above have been told: what happens in between gives an event.
 *
 * A mount announces itself to no watch: after one, everything is resolved (folders_refresh).
 *
 * Not seen: truncation by path, of an entry that is not watched for writes (IN_MODIFY alone tells
 * it, and costs every writer half as much again); a change through another hard link that was made
 * after the file was last looked at.
 */

#include "config.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>

#include "base/fd.h"
#include "base/path.h"
#include "feed/folder.h"

#define MASK_SELF    (IN_MOVE_SELF | IN_DELETE_SELF)
#define MASK_CONTENT (IN_CLOSE_WRITE | IN_ATTRIB)

Folder *
folder_new(FolderWork *work, Folder *parent, const char *path)
{
    Folder *f = g_new0(Folder, 1);

    f->work = work;
    f->path = g_strdup(path);
    f->name = strrchr(f->path, '/') + 1;
    f->children = g_hash_table_new(g_str_hash, g_str_equal);
    f->entries =
        g_hash_table_new_full(g_str_hash, g_str_equal, NULL, (GDestroyNotify) g_ptr_array_unref);
    f->inode = (InotifyUser){.wd = -1, .owner = f};
    f->errnum = ENOENT;
    f->parent = parent;
    f->hollow = TRUE; /* until it is resolved */
    if (parent) {
        parent->n_hollow++;
        g_hash_table_insert(parent->children, (char *) f->name, f);
    }
    g_hash_table_add(f->work->stale, f);
    return f;
}

static void
set_failing(Folder *f, gboolean failing)
{
    if (failing == f->failing)
        return;
    f->failing = failing;
    f->work->n_failing += failing ? 1 : -1;
}

void
folder_free(Folder *f)
{
    if (!f)
        return;
    g_assert(g_hash_table_size(f->children) == 0 && g_hash_table_size(f->entries) == 0);
    set_failing(f, FALSE);
    g_hash_table_remove(f->work->stale, f);
    inotify_leave(&f->inode);
    g_hash_table_unref(f->children);
    g_hash_table_unref(f->entries);
    g_free(f->path);
    g_free(f);
}

typedef void (*WatchFunc)(Watch *w);

static void
each_entry(Folder *f, WatchFunc func)
{
    GHashTableIter iter;
    GPtrArray *same;

    g_hash_table_iter_init(&iter, f->entries);
    while (g_hash_table_iter_next(&iter, NULL, (gpointer *) &same))
        for (guint i = 0; i < same->len; i++)
            func(same->pdata[i]);
}

static void
mark_pending(Watch *w)
{
    g_hash_table_add(w->folder->work->pending, w);
}

static void
mark_moved(Watch *w)
{
    w->moved = TRUE;
    mark_pending(w);
}

static void
mark_pending_below(Folder *f)
{
    GHashTableIter iter;
    Folder *child;

    each_entry(f, mark_pending);
    g_hash_table_iter_init(&iter, f->children);
    while (g_hash_table_iter_next(&iter, NULL, (gpointer *) &child))
        mark_pending_below(child);
}

guint32
folder_wanted_mask(Folder *f)
{
    guint32 mask = 0;

    if (g_hash_table_size(f->children) > 0 || g_hash_table_size(f->entries) > 0)
        mask |= MASK_SELF;
    if (g_hash_table_size(f->entries) > 0)
        mask |= FOLDER_MASK_NAMES | MASK_CONTENT;
    if (f->n_writes > 0)
        mask |= IN_MODIFY;
    if (f->n_hollow > 0)
        mask |= FOLDER_MASK_NAMES;
    return mask ? mask | IN_ONLYDIR : 0;
}

/* `fd` is the inode of f. */
static void
apply_mask(Folder *f, int fd)
{
    guint32 mask = folder_wanted_mask(f);
    int old = f->inode.wd;

    if (mask == 0)
        inotify_leave(&f->inode);
    f->errnum = mask != 0 ? inotify_join(&f->inode, fd, f->path, mask) : 0;
    set_failing(f, f->errnum != 0);
    if (old >= 0 && mask != 0 && f->inode.wd != old) { /* the inode's number was used again */
        f->renewed = TRUE;
        g_hash_table_add(f->work->stale, f);
    }
}

static int
open_folder(Folder *f, struct stat *ret_stat)
{
    g_auto(Fd) fd = path_open(AT_FDCWD, f->path, O_PATH | O_DIRECTORY, 0);

    if (fd < 0 || fstat(fd, ret_stat) < 0)
        return -1;
    return fd_steal(&fd);
}

int
folder_reopen(Folder *f)
{
    struct stat st;
    g_auto(Fd) fd = open_folder(f, &st);

    if (fd >= 0 && st.st_dev == f->dev && st.st_ino == f->ino)
        return fd_steal(&fd);
    g_hash_table_add(f->work->stale, f);
    return -1;
}

static void
update_mask(Folder *f)
{
    if (!f->present || folder_wanted_mask(f) == f->inode.mask)
        return;
    g_auto(Fd) fd = folder_reopen(f);
    if (fd >= 0)
        apply_mask(f, fd);
}

static void
update_hollow(Folder *f)
{
    gboolean hollow = !f->present || f->n_absent > 0 || f->n_hollow > 0;

    if (hollow == f->hollow)
        return;
    f->hollow = hollow;
    if (!f->parent)
        return;
    f->parent->n_hollow += hollow ? 1 : -1;
    update_hollow(f->parent);
    update_mask(f->parent);
    if (hollow)
        g_hash_table_add(f->work->stale, f); /* it may have gone before they listened */
}

void
folder_update(Folder *f)
{
    update_hollow(f);
    update_mask(f);
}

void
folder_set_present(Watch *w, gboolean present)
{
    if (present == w->present)
        return;
    w->present = present;
    w->folder->n_absent += present ? -1 : 1;
}

static void
forget_entry(Watch *w)
{
    folder_set_present(w, FALSE);
    inotify_leave(&w->file);
}

/* A file with more than one name can be changed under another one, of which the folder's watch
 * learns nothing. A watch of the file itself goes stale with each save by renaming, which is why it
 * comes in addition only. */
static void
watch_file(Watch *w, int folder_fd)
{
    struct stat st;
    g_auto(Fd) fd = path_open(folder_fd, w->name, O_PATH | O_NOFOLLOW, 0);

    if (fd < 0 || fstat(fd, &st) < 0 || !S_ISREG(st.st_mode) || st.st_nlink < 2) {
        inotify_leave(&w->file);
        return;
    }
    if (st.st_dev != w->dev || st.st_ino != w->ino)
        inotify_leave(&w->file);
    w->dev = st.st_dev;
    w->ino = st.st_ino;
    (void) inotify_join(&w->file, fd, w->path,
                        MASK_CONTENT | (w->flags & WATCH_WRITES ? IN_MODIFY : 0));
}

void
folder_look_at(Watch *w, int folder_fd)
{
    struct stat st;
    gboolean present = fstatat(folder_fd, w->name, &st, AT_SYMLINK_NOFOLLOW) == 0;

    folder_set_present(w, present);
    if (present && S_ISREG(st.st_mode) && st.st_nlink > 1)
        watch_file(w, folder_fd);
    else
        inotify_leave(&w->file);
}

static void
look_at_entries(Folder *f, int fd)
{
    GHashTableIter iter;
    GPtrArray *same;

    g_hash_table_iter_init(&iter, f->entries);
    while (g_hash_table_iter_next(&iter, NULL, (gpointer *) &same))
        for (guint i = 0; i < same->len; i++)
            folder_look_at(same->pdata[i], fd);
}

static void
lose_folder(Folder *f, int errnum)
{
    inotify_leave(&f->inode);
    each_entry(f, forget_entry);
    f->present = FALSE;
    f->dev = f->ino = 0;
    f->errnum = errnum;
    /* What does not exist is listened for; what cannot be opened is tried again. */
    set_failing(f, errnum != ENOENT && errnum != ENOTDIR && errnum != ELOOP);
}

/* TRUE if the path leads elsewhere than before, or events may have been missed. */
static gboolean
resolve_one(Folder *f)
{
    struct stat st;
    g_auto(Fd) fd = -1;
    gboolean was_present = f->present, was_watched = f->inode.wd >= 0;

    if (f->parent && !f->parent->present)
        errno = f->parent->errnum;
    else
        fd = open_folder(f, &st);
    if (fd < 0) {
        lose_folder(f, errno);
        update_hollow(f);
        return was_present;
    }

    gboolean moved = !was_present || st.st_dev != f->dev || st.st_ino != f->ino || f->renewed;
    f->renewed = FALSE;
    if (moved) {
        inotify_leave(&f->inode);
        each_entry(f, forget_entry);
    }
    f->present = TRUE;
    f->dev = st.st_dev;
    f->ino = st.st_ino;
    apply_mask(f, fd);
    look_at_entries(f, fd);
    update_hollow(f);
    return moved || (!was_watched && f->inode.wd >= 0);
}

void
folder_resolve(Folder *f, gboolean deep)
{
    GHashTableIter iter;
    Folder *child;
    gboolean was_present = f->present, was_watched = f->inode.wd >= 0;
    int was_errnum = f->errnum;

    g_hash_table_remove(f->work->stale, f);
    gboolean moved = resolve_one(f);
    if (moved)
        each_entry(f, mark_moved);
    if (f->present != was_present || (f->inode.wd >= 0) != was_watched || f->errnum != was_errnum)
        mark_pending_below(f);
    if (!moved && !deep)
        return;
    g_hash_table_iter_init(&iter, f->children);
    while (g_hash_table_iter_next(&iter, NULL, (gpointer *) &child))
        folder_resolve(child, deep);
}
