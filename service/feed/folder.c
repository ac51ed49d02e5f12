/* folder.c - which inode each path leads to, and noticing when it leads elsewhere
 *
 * The tree has a node for every folder of an entry and for every folder above one. A node is
 * resolved by opening its path without following symbolic links; then its inode is watched:
 *
 *   a folder with entries         for what happens to names in it
 *   any but "/"                   for being moved or removed
 *   one with a *hollow* child     for names that come and go
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
#define MASK_NAMES   (IN_CREATE | IN_MOVED_TO | IN_DELETE | IN_MOVED_FROM)
#define MASK_CONTENT (IN_CLOSE_WRITE | IN_ATTRIB)

struct Folder {
    char *path;
    const char *name; /* in path */
    Folder *parent;
    GHashTable *children; /* name -> Folder */
    GHashTable *entries;  /* name -> GPtrArray of Watch */
    guint n_writes;       /* entries with WATCH_WRITES */

    gboolean present;
    guint64 dev, ino; /* while present */
    InotifyUser inode;
    int errnum; /* why it is not present, or not watched; else 0 */
    gboolean failing;
    guint n_absent, n_hollow; /* entries, children */
    gboolean hollow;
};

struct Folders {
    Folder *root;
    GHashTable *stale;   /* Folder: to be resolved */
    GHashTable *pending; /* Watch: has something to say */
    guint n_failing;
};

static Folder *
folder_new(Folders *t, Folder *parent, const char *path)
{
    Folder *f = g_new0(Folder, 1);

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
    g_hash_table_add(t->stale, f);
    return f;
}

static void
set_failing(Folders *t, Folder *f, gboolean failing)
{
    if (failing == f->failing)
        return;
    f->failing = failing;
    t->n_failing += failing ? 1 : -1;
}

static void
folder_free(Folders *t, Folder *f)
{
    if (!f)
        return;
    g_assert(g_hash_table_size(f->children) == 0 && g_hash_table_size(f->entries) == 0);
    set_failing(t, f, FALSE);
    g_hash_table_remove(t->stale, f);
    inotify_leave(&f->inode);
    g_hash_table_unref(f->children);
    g_hash_table_unref(f->entries);
    g_free(f->path);
    g_free(f);
}

Folders *
folders_new(void)
{
    Folders *t = g_new0(Folders, 1);

    t->stale = g_hash_table_new(NULL, NULL);
    t->pending = g_hash_table_new(NULL, NULL);
    return t;
}

void
folders_free(Folders *t)
{
    if (!t)
        return;
    folder_free(t, t->root);
    g_hash_table_unref(t->stale);
    g_hash_table_unref(t->pending);
    g_free(t);
}

typedef void (*WatchFunc)(Folders *t, Watch *w);

static void
each_entry(Folders *t, Folder *f, WatchFunc func)
{
    GHashTableIter iter;
    GPtrArray *same;

    g_hash_table_iter_init(&iter, f->entries);
    while (g_hash_table_iter_next(&iter, NULL, (gpointer *) &same))
        for (guint i = 0; i < same->len; i++)
            func(t, same->pdata[i]);
}

static void
mark_pending(Folders *t, Watch *w)
{
    g_hash_table_add(t->pending, w);
}

static void
mark_moved(Folders *t, Watch *w)
{
    w->moved = TRUE;
    g_hash_table_add(t->pending, w);
}

static void
mark_pending_below(Folders *t, Folder *f)
{
    GHashTableIter iter;
    Folder *child;

    each_entry(t, f, mark_pending);
    g_hash_table_iter_init(&iter, f->children);
    while (g_hash_table_iter_next(&iter, NULL, (gpointer *) &child))
        mark_pending_below(t, child);
}

static guint32
wanted_mask(Folder *f)
{
    guint32 mask = 0;

    if (f->parent && (g_hash_table_size(f->children) > 0 || g_hash_table_size(f->entries) > 0))
        mask |= MASK_SELF;
    if (g_hash_table_size(f->entries) > 0)
        mask |= MASK_NAMES | MASK_CONTENT;
    if (f->n_writes > 0)
        mask |= IN_MODIFY;
    if (f->n_hollow > 0)
        mask |= MASK_NAMES;
    return mask ? mask | IN_ONLYDIR : 0;
}

/* `fd` is the inode of f. */
static void
apply_mask(Folders *t, Folder *f, int fd)
{
    guint32 mask = wanted_mask(f);

    if (mask == 0)
        inotify_leave(&f->inode);
    f->errnum = mask != 0 ? inotify_join(&f->inode, fd, f->path, mask) : 0;
    set_failing(t, f, f->errnum != 0);
}

static int
open_folder(Folder *f, struct stat *ret_stat)
{
    g_auto(Fd) fd = path_open(AT_FDCWD, f->path, O_PATH | O_DIRECTORY, 0);

    if (fd < 0 || fstat(fd, ret_stat) < 0)
        return -1;
    return fd_steal(&fd);
}

/* Opens f's path if it still leads to the inode that it is resolved to; else f is stale. */
static int
reopen_folder(Folders *t, Folder *f)
{
    struct stat st;
    g_auto(Fd) fd = open_folder(f, &st);

    if (fd >= 0 && st.st_dev == f->dev && st.st_ino == f->ino)
        return fd_steal(&fd);
    g_hash_table_add(t->stale, f);
    return -1;
}

static void
update_mask(Folders *t, Folder *f)
{
    if (!f->present || wanted_mask(f) == f->inode.mask)
        return;
    g_auto(Fd) fd = reopen_folder(t, f);
    if (fd >= 0)
        apply_mask(t, f, fd);
}

static void
update_hollow(Folders *t, Folder *f)
{
    gboolean hollow = !f->present || f->n_absent > 0 || f->n_hollow > 0;

    if (hollow == f->hollow)
        return;
    f->hollow = hollow;
    if (!f->parent)
        return;
    f->parent->n_hollow += hollow ? 1 : -1;
    update_hollow(t, f->parent);
    update_mask(t, f->parent);
    if (hollow)
        g_hash_table_add(t->stale, f); /* it may have gone before they listened */
}

static void
set_present(Watch *w, gboolean present)
{
    if (present == w->present)
        return;
    w->present = present;
    w->folder->n_absent += present ? -1 : 1;
}

static void
forget_entry(G_GNUC_UNUSED Folders *t, Watch *w)
{
    set_present(w, FALSE);
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

static void
look_at_entry(Watch *w, int folder_fd)
{
    struct stat st;
    gboolean present = fstatat(folder_fd, w->name, &st, AT_SYMLINK_NOFOLLOW) == 0;

    set_present(w, present);
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
            look_at_entry(same->pdata[i], fd);
}

static void
lose_folder(Folders *t, Folder *f, int errnum)
{
    inotify_leave(&f->inode);
    each_entry(t, f, forget_entry);
    f->present = FALSE;
    f->dev = f->ino = 0;
    f->errnum = errnum;
    /* What does not exist is listened for; what cannot be opened is tried again. */
    set_failing(t, f, errnum != ENOENT && errnum != ENOTDIR && errnum != ELOOP);
}

/* TRUE if the path leads elsewhere than before, or events may have been missed. */
static gboolean
resolve_one(Folders *t, Folder *f)
{
    struct stat st;
    g_auto(Fd) fd = -1;
    gboolean was_present = f->present, was_watched = f->inode.wd >= 0;

    if (f->parent && !f->parent->present)
        errno = f->parent->errnum;
    else
        fd = open_folder(f, &st);
    if (fd < 0) {
        lose_folder(t, f, errno);
        update_hollow(t, f);
        return was_present;
    }

    gboolean moved = !was_present || st.st_dev != f->dev || st.st_ino != f->ino;
    if (moved) {
        inotify_leave(&f->inode);
        each_entry(t, f, forget_entry);
    }
    f->present = TRUE;
    f->dev = st.st_dev;
    f->ino = st.st_ino;
    apply_mask(t, f, fd);
    look_at_entries(f, fd);
    update_hollow(t, f);
    return moved || (!was_watched && f->inode.wd >= 0);
}

static void
resolve(Folders *t, Folder *f, gboolean deep)
{
    GHashTableIter iter;
    Folder *child;
    gboolean was_present = f->present, was_watched = f->inode.wd >= 0;
    int was_errnum = f->errnum;

    g_hash_table_remove(t->stale, f);
    gboolean moved = resolve_one(t, f);
    if (moved)
        each_entry(t, f, mark_moved);
    if (f->present != was_present || (f->inode.wd >= 0) != was_watched || f->errnum != was_errnum)
        mark_pending_below(t, f);
    if (!moved && !deep)
        return;
    g_hash_table_iter_init(&iter, f->children);
    while (g_hash_table_iter_next(&iter, NULL, (gpointer *) &child))
        resolve(t, child, deep);
}

/* The node of a canonical path, with those above it. */
static Folder *
find_folder(Folders *t, const char *path, gsize length)
{
    g_autofree char *part = length > 0 ? g_strndup(path, length) : g_strdup("/");

    if (length == 0) {
        if (!t->root)
            t->root = folder_new(t, NULL, part);
        return t->root;
    }
    char *slash = strrchr(part, '/');
    Folder *parent = find_folder(t, path, (gsize) (slash - part));
    Folder *f = g_hash_table_lookup(parent->children, slash + 1);
    return f ? f : folder_new(t, parent, part);
}

void
folders_add(Folders *t, Watch *w)
{
    Folder *f = find_folder(t, w->path, strlen(w->path) - strlen(w->name) - 1);
    GPtrArray *same = g_hash_table_lookup(f->entries, w->name);

    if (!same) {
        same = g_ptr_array_new();
        g_hash_table_insert(f->entries, w->name, same);
    } else {
        /* The key must live as long as any of them. */
        g_hash_table_steal(f->entries, w->name);
        g_hash_table_insert(f->entries, w->name, same);
    }
    g_ptr_array_add(same, w);
    w->folder = f;
    w->present = FALSE;
    f->n_absent++;
    if (w->flags & WATCH_WRITES)
        f->n_writes++;
    folders_resolve(t, w);
}

void
folders_resolve(Folders *t, Watch *w)
{
    w->moved = TRUE; /* whoever asks gets an answer */
    mark_pending(t, w);
    for (Folder *f = w->folder; f; f = f->parent)
        g_hash_table_add(t->stale, f);
}

/* Up from a folder, what has no use any more. */
static void
prune(Folders *t, Folder *f)
{
    while (f && f->parent && g_hash_table_size(f->entries) == 0 &&
           g_hash_table_size(f->children) == 0) {
        Folder *parent = f->parent;
        g_hash_table_remove(parent->children, f->name);
        if (f->hollow)
            parent->n_hollow--;
        folder_free(t, f);
        f = parent;
    }
    update_hollow(t, f);
    update_mask(t, f);
}

void
folders_remove(Folders *t, Watch *w)
{
    Folder *f = w->folder;
    GPtrArray *same = g_hash_table_lookup(f->entries, w->name);

    g_hash_table_remove(t->pending, w);
    inotify_leave(&w->file);
    set_present(w, TRUE);
    if (w->flags & WATCH_WRITES)
        f->n_writes--;
    g_hash_table_steal(f->entries, w->name);
    g_ptr_array_remove_fast(same, w);
    if (same->len > 0)
        g_hash_table_insert(f->entries, ((Watch *) same->pdata[0])->name, same);
    else
        g_ptr_array_unref(same);
    w->folder = NULL;
    prune(t, f);
}

void
folders_set_flags(Folders *t, Watch *w, WatchFlags flags)
{
    if ((flags & WATCH_WRITES) != (w->flags & WATCH_WRITES))
        w->folder->n_writes += flags & WATCH_WRITES ? 1 : -1;
    w->flags = flags;
    update_mask(t, w->folder);
}

static void
note_change(Folders *t, Watch *w, guint32 event_mask)
{
    guint what = watch_changes(event_mask, w->flags);

    if (what == 0)
        return;
    w->changes |= what;
    mark_pending(t, w);
}

static void
folder_event(Folders *t, Folder *f, const struct inotify_event *event)
{
    if (event->mask & (IN_MOVE_SELF | IN_DELETE_SELF | IN_UNMOUNT))
        g_hash_table_add(t->stale, f);
    if (event->len == 0)
        return;
    GPtrArray *same = g_hash_table_lookup(f->entries, event->name);
    for (guint i = 0; same && i < same->len; i++)
        note_change(t, same->pdata[i], event->mask);
    Folder *child = event->mask & MASK_NAMES ? g_hash_table_lookup(f->children, event->name) : NULL;
    if (child)
        g_hash_table_add(t->stale, child);
}

void
folders_event(Folders *t, const struct inotify_event *event)
{
    g_autoptr(GPtrArray) users = NULL;
    gboolean ended = (event->mask & IN_IGNORED) != 0;

    users = ended ? inotify_forget(event->wd) : inotify_users(event->wd);
    if (!users)
        return;
    if (!ended)
        g_ptr_array_ref(users);
    for (guint i = 0; i < users->len; i++) {
        InotifyUser *user = users->pdata[i];
        if (user->is_file)
            note_change(t, user->owner, ended ? IN_ATTRIB : event->mask);
        else if (ended)
            g_hash_table_add(t->stale, user->owner);
        else
            folder_event(t, user->owner, event);
    }
}

void
folders_refresh(Folders *t)
{
    if (t->root)
        resolve(t, t->root, TRUE);
}

/* After a change that can make a name another inode, or give it a second name. */
static void
look_again(Folders *t)
{
    guint n;
    g_autofree gpointer *all = g_hash_table_get_keys_as_array(t->pending, &n);

    for (guint i = 0; i < n; i++) {
        Watch *w = all[i];
        if (!(w->changes & ~(guint) CHANGE_WRITTEN) || !w->folder->present)
            continue;
        g_auto(Fd) fd = reopen_folder(t, w->folder);
        if (fd < 0)
            continue;
        look_at_entry(w, fd);
        update_hollow(t, w->folder);
    }
}

static Folder *
topmost_stale(Folders *t)
{
    GHashTableIter iter;
    gpointer any;

    g_hash_table_iter_init(&iter, t->stale);
    if (!g_hash_table_iter_next(&iter, &any, NULL))
        return NULL;
    Folder *top = any;
    for (Folder *f = top; f; f = f->parent)
        if (g_hash_table_contains(t->stale, f))
            top = f;
    return top;
}

void
folders_settle(Folders *t)
{
    Folder *f;

    look_again(t);
    while ((f = topmost_stale(t)))
        resolve(t, f, FALSE);
}

Watch *
folders_take(Folders *t)
{
    GHashTableIter iter;
    gpointer w;

    g_hash_table_iter_init(&iter, t->pending);
    if (!g_hash_table_iter_next(&iter, &w, NULL))
        return NULL;
    g_hash_table_iter_remove(&iter);
    return w;
}

static guint64
count_wanted(Folder *f)
{
    GHashTableIter iter;
    Folder *child;
    guint64 n = wanted_mask(f) != 0;

    g_hash_table_iter_init(&iter, f->children);
    while (g_hash_table_iter_next(&iter, NULL, (gpointer *) &child))
        n += count_wanted(child);
    return n;
}

WatchState
folders_state(Folders *t, Watch *w, int *ret_errnum, guint64 *ret_needed)
{
    Folder *f = w->folder;

    *ret_needed = 0;
    *ret_errnum = f->errnum;
    if (f->present && f->inode.wd >= 0)
        return WATCH_ACTIVE;
    if (!f->present && !f->failing) {
        while (f->parent && !f->present)
            f = f->parent;
        if (f->inode.wd >= 0)
            return WATCH_WAITING;
        *ret_errnum = f->errnum;
    }
    if (*ret_errnum == ENOSPC)
        *ret_needed = count_wanted(t->root);
    return WATCH_SCAN;
}

guint
folders_failing(Folders *t)
{
    return t->n_failing;
}
