/* sync.c - calls to Sync that wait until the files they name are durable
 *
 * A file is done when every store of its row has the generation of the call, or when an attempt made
 * since the call says why not: an old reason does not count.
 */

#include "config.h"

#include "base/error.h"
#include "base/path.h"
#include "daemon/access.h"
#include "daemon/sync.h"

typedef struct Sync {
    SyncsFunc func;
    gpointer data;
    GPtrArray *files;
} Sync;

static void
sync_file_free(SyncFile *f)
{
    g_free(f->path);
    g_free(f->reason);
    g_free(f->writer);
    g_free(f);
}

static void
sync_free(Sync *s)
{
    g_ptr_array_unref(s->files);
    g_free(s);
}

/* An old reason does not count: at least one attempt must have been made since the call, unless none
 * can be made. */
static gboolean
tried(const Entry *e, const SyncFile *f)
{
    if (e->attempts > f->attempts || e->stuck_job || e->row->suspended || e->unbound ||
        e->targets->len == 0)
        return TRUE;
    for (guint i = 0; i < e->targets->len; i++) {
        const Store *store = ((Target *) e->targets->pdata[i])->store;
        if (store_is_ready(store) || store_state(store) == STORE_OPENING)
            return FALSE;
    }
    return TRUE;
}

static void
look_at(Manager *m, SyncFile *f)
{
    Entry *e = manager_find(m, f->path);
    const char *why;

    if (!e || e->id != f->id) {
        f->done = TRUE;
        f->reason = g_strdup("its row was changed or removed meanwhile");
        return;
    }
    if (schedule_is_current(e, f->generation, &why)) {
        f->done = TRUE;
    } else if (why && tried(e, f)) {
        f->done = TRUE;
        f->reason = g_strdup(why);
        f->writer = g_strdup(e->writer);
    }
}

static gboolean
sync_is_done(Manager *m, Sync *s)
{
    gboolean all = TRUE;

    for (guint i = 0; i < s->files->len; i++) {
        SyncFile *f = s->files->pdata[i];
        if (!f->done)
            look_at(m, f);
        all = all && f->done;
    }
    return all;
}

struct Syncs {
    Manager *manager;
    GList *waiting; /* of Sync */
};

Syncs *
syncs_new(Manager *manager)
{
    Syncs *syncs = g_new0(Syncs, 1);

    syncs->manager = manager;
    return syncs;
}

void
syncs_free(Syncs *syncs)
{
    if (!syncs)
        return;
    for (GList *l = syncs->waiting; l; l = l->next) {
        Sync *s = l->data;
        g_autoptr(GError) error = NULL;
        throw_error(&error, FILEDUP_ERROR_AGAIN, "the daemon stops");
        s->func(NULL, error, s->data);
        sync_free(s);
    }
    g_list_free(syncs->waiting);
    g_free(syncs);
}

void
syncs_settled(Syncs *syncs)
{
    for (GList *l = syncs->waiting, *next; l; l = next) {
        Sync *s = l->data;
        next = l->next;
        if (sync_is_done(syncs->manager, s)) {
            syncs->waiting = g_list_delete_link(syncs->waiting, l);
            s->func(s->files, NULL, s->data);
            sync_free(s);
        }
    }
}

void
syncs_cancel(Syncs *syncs, gconstpointer data)
{
    for (GList *l = syncs->waiting; l; l = l->next) {
        Sync *s = l->data;
        if (s->data != data)
            continue;
        syncs->waiting = g_list_delete_link(syncs->waiting, l);
        sync_free(s);
        return;
    }
}

void
syncs_start(Syncs *syncs, uid_t caller, const char *path, SyncsFunc func, gpointer data)
{
    Sync *s = g_new0(Sync, 1);

    s->func = func;
    s->data = data;
    s->files = g_ptr_array_new_with_free_func((GDestroyNotify) sync_file_free);
    g_autoptr(GList) entries = manager_entries(syncs->manager);
    for (GList *l = entries; l; l = l->next) {
        Entry *e = l->data;
        if ((path[0] && !g_str_equal(path, e->row->path)) ||
            !access_may_use(caller, e->row, NULL) || (!path[0] && e->row->suspended))
            continue;
        SyncFile *f = g_new0(SyncFile, 1);
        f->path = g_strdup(e->row->path);
        f->id = e->id;
        /* What runs now began before the call: it does not count as an attempt. */
        f->attempts = e->attempts + (e->transfer != NULL || e->inspect_job != 0);
        f->generation = e->generation + 1;
        g_ptr_array_add(s->files, f);
        e->unstable = 0;
        e->not_before_usec = 0;
        if (e->gone_since_usec == 0)
            schedule_touch(manager_schedule(syncs->manager), e);
        else
            e->generation++;
    }
    syncs->waiting = g_list_prepend(syncs->waiting, s);
    syncs_settled(syncs);
}
