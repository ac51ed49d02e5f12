/* folders.c - the tree of folders, and what events mean for it
 *
 * Events only mark: a watch that has something to say is *pending*, a folder whose path may lead
 * elsewhere is *stale*. folders_settle resolves the stale ones, topmost first, since what is below
 * may go with them; then pending watches can be taken.
 */

#include "config.h"

#include <errno.h>
#include <string.h>

#include "base/fd.h"
#include "feed/folder.h"
#include "feed/folders.h"

struct Folders {
    Folder *root;
    FolderWork work;
};

Folders *
folders_new(void)
{
    Folders *t = g_new0(Folders, 1);

    t->work.stale = g_hash_table_new(NULL, NULL);
    t->work.pending = g_hash_table_new(NULL, NULL);
    return t;
}

void
folders_free(Folders *t)
{
    if (!t)
        return;
    folder_free(t->root);
    g_hash_table_unref(t->work.stale);
    g_hash_table_unref(t->work.pending);
    g_free(t);
}

/* The node of a canonical path, with those above it. */
static Folder *
find_folder(Folders *t, const char *path, gsize length)
{
    g_autofree char *part = length > 0 ? g_strndup(path, length) : g_strdup("/");

    if (length == 0) {
        if (!t->root)
            t->root = folder_new(&t->work, NULL, part);
        return t->root;
    }
    char *slash = strrchr(part, '/');
    Folder *parent = find_folder(t, path, (gsize) (slash - part));
    Folder *f = g_hash_table_lookup(parent->children, slash + 1);
    return f ? f : folder_new(&t->work, parent, part);
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
    g_hash_table_add(t->work.pending, w);
    for (Folder *f = w->folder; f; f = f->parent)
        g_hash_table_add(t->work.stale, f);
}

/* Up from a folder, what has no use any more. */
static void
prune(Folder *f)
{
    while (f && f->parent && g_hash_table_size(f->entries) == 0 &&
           g_hash_table_size(f->children) == 0) {
        Folder *parent = f->parent;
        g_hash_table_remove(parent->children, f->name);
        if (f->hollow)
            parent->n_hollow--;
        folder_free(f);
        f = parent;
    }
    folder_update(f);
}

void
folders_remove(Folders *t, Watch *w)
{
    Folder *f = w->folder;
    GPtrArray *same = g_hash_table_lookup(f->entries, w->name);

    g_hash_table_remove(t->work.pending, w);
    inotify_leave(&w->file);
    folder_set_present(w, TRUE);
    if (w->flags & WATCH_WRITES)
        f->n_writes--;
    g_hash_table_steal(f->entries, w->name);
    g_ptr_array_remove_fast(same, w);
    if (same->len > 0)
        g_hash_table_insert(f->entries, ((Watch *) same->pdata[0])->name, same);
    else
        g_ptr_array_unref(same);
    w->folder = NULL;
    prune(f);
}

void
folders_set_flags(Watch *w, WatchFlags flags)
{
    if ((flags & WATCH_WRITES) != (w->flags & WATCH_WRITES))
        w->folder->n_writes += flags & WATCH_WRITES ? 1 : -1;
    w->flags = flags;
    folder_update(w->folder);
}

static void
note_change(Folders *t, Watch *w, guint32 event_mask)
{
    guint what = watch_changes(event_mask, w->flags);

    if (what == 0)
        return;
    w->changes |= what;
    g_hash_table_add(t->work.pending, w);
}

static void
folder_event(Folders *t, Folder *f, const struct inotify_event *event)
{
    if (event->mask & (IN_MOVE_SELF | IN_DELETE_SELF | IN_UNMOUNT))
        g_hash_table_add(t->work.stale, f);
    if (event->len == 0)
        return;
    GPtrArray *same = g_hash_table_lookup(f->entries, event->name);
    for (guint i = 0; same && i < same->len; i++)
        note_change(t, same->pdata[i], event->mask);
    Folder *child =
        event->mask & FOLDER_MASK_NAMES ? g_hash_table_lookup(f->children, event->name) : NULL;
    if (child)
        g_hash_table_add(t->work.stale, child);
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
            g_hash_table_add(t->work.stale, user->owner);
        else
            folder_event(t, user->owner, event);
    }
}

void
folders_refresh(Folders *t)
{
    if (t->root)
        folder_resolve(t->root, TRUE);
}

/* After a change that can make a name another inode, or give it a second name. */
static void
look_again(Folders *t)
{
    guint n;
    g_autofree gpointer *all = g_hash_table_get_keys_as_array(t->work.pending, &n);
    g_auto(Fd) fd = -1;
    Folder *opened = NULL; /* by fd: the next one is often in the same folder */

    for (guint i = 0; i < n; i++) {
        Watch *w = all[i];
        if (!(w->changes & ~(guint) CHANGE_WRITTEN) || !w->folder->present)
            continue;
        if (opened != w->folder) {
            fd_clear(fd_steal(&fd));
            opened = w->folder;
            fd = folder_reopen(opened);
        }
        if (fd < 0)
            continue;
        folder_look_at(w, fd);
        folder_update(w->folder);
    }
}

static Folder *
topmost_stale(Folders *t)
{
    GHashTableIter iter;
    gpointer any;

    g_hash_table_iter_init(&iter, t->work.stale);
    if (!g_hash_table_iter_next(&iter, &any, NULL))
        return NULL;
    Folder *top = any;
    for (Folder *f = top; f; f = f->parent)
        if (g_hash_table_contains(t->work.stale, f))
            top = f;
    return top;
}

void
folders_settle(Folders *t)
{
    Folder *f;

    look_again(t);
    while ((f = topmost_stale(t)))
        folder_resolve(f, FALSE);
}

Watch *
folders_take(Folders *t)
{
    GHashTableIter iter;
    gpointer w;

    g_hash_table_iter_init(&iter, t->work.pending);
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
    guint64 n = folder_wanted_mask(f) != 0;

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
    return t->work.n_failing;
}
