/* watch.c - one watched entry
 *
 * Its changes are collected between two sendings: a busy file costs one message a turn, however
 * many events it had. Nothing is lost by that, since every change says no more than "look again".
 */

#include "config.h"

#include "base/path.h"
#include "feed/watch.h"

Watch *
watch_new(guint64 entry, const char *folder, const char *name, WatchFlags flags)
{
    Watch *w = g_new0(Watch, 1);

    w->entry = entry;
    w->path = path_join(folder, name);
    w->name = g_strdup(name);
    w->flags = flags;
    w->file = (InotifyUser){.wd = -1, .owner = w, .is_file = TRUE};
    w->state = WATCH_NONE;
    return w;
}

void
watch_free(Watch *w)
{
    if (!w)
        return;
    inotify_leave(&w->file);
    g_free(w->path);
    g_free(w->name);
    g_free(w);
}

guint
watch_changes(guint32 event_mask, WatchFlags flags)
{
    guint what = 0;

    if (event_mask & IN_CLOSE_WRITE)
        what |= CHANGE_CLOSED;
    if (event_mask & IN_MODIFY && flags & WATCH_WRITES)
        what |= CHANGE_WRITTEN;
    if (event_mask & (IN_CREATE | IN_MOVED_TO))
        what |= CHANGE_APPEARED;
    if (event_mask & (IN_DELETE | IN_MOVED_FROM))
        what |= CHANGE_GONE;
    if (event_mask & IN_ATTRIB)
        what |= CHANGE_ATTRIB;
    return what;
}

gboolean
watch_set_state(Watch *w, WatchState state, int errnum, guint64 needed)
{
    gboolean send = w->moved || state != w->state || errnum != w->errnum || needed != w->needed;

    w->moved = FALSE;
    w->state = state;
    w->errnum = errnum;
    w->needed = needed;
    return send;
}
