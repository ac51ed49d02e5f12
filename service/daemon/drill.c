/* drill.c - a restore that changes nothing
 *
 * The content takes the way of every restore: the keeper hands it out, a copier of the row's principal
 * writes it, checks each block against its sums, reads it back. Only the target is another one: a
 * staged file of the store. What was written has then the hash that the sums have; it must be the one
 * that the store recorded when the content was captured, and that of the original if that is
 * unchanged since.
 *
 * STATES  STAGING -> RESTORING -> COMPARING (if the original is as recorded) -> done
 *
 * An original whose content differs though its time stamps do not is either damaged or was changed
 * past them. Which of both, nobody knows here; it is told, and captured anew: a change must not be
 * missed, and the content before stays as a point.
 */

#include "config.h"

#include <string.h>

#include "base/error.h"
#include "base/fd.h"
#include "base/path.h"
#include "daemon/drill.h"
#include "daemon/recovery.h"
#include "daemon/target.h"

struct Drill {
    Manager *manager;
    char *path, *store_name;
    guint64 entry_id;
    Store *store; /* while it is asked, or has the scratch file */
    DrillFunc func;
    gpointer data;
    guint64 store_job, copier_job;
    guint64 staged;
    gboolean starting, over, restoring, cancelled, differs;
};

static Entry *
find_entry(const Drill *d)
{
    Entry *e = manager_find(d->manager, d->path);

    return e && e->id == d->entry_id ? e : NULL;
}

static void
drill_free(Drill *d)
{
    Store *store = stores_find(manager_stores(d->manager), d->store_name);

    if (d->staged && store)
        store_tell(store, MESSAGE_DAEMON_UNSTAGE, g_variant_new("(t)", d->staged));
    g_free(d->path);
    g_free(d->store_name);
    g_free(d);
}

static void
finish(Drill *d, gboolean ran, const char *why)
{
    if (!d->cancelled)
        d->func(ran, why, d->data);
    d->over = TRUE;
    if (!d->starting)
        drill_free(d);
}

/* Of a capture that nobody stores: it reads the original and says whether it has the recorded content. */
static void
on_compared(guint64 job, Message *m, G_GNUC_UNUSED const GError *failure, gboolean stuck,
            gpointer data)
{
    Drill *d = data;
    Entry *e = find_entry(d);
    const Target *t = e ? entry_find_target(e, d->store) : NULL;
    Copiers *copiers = schedule_copiers(manager_schedule(d->manager));
    g_autoptr(GVariant) stat = NULL;
    guint32 outcome;
    FileStat now;

    if (m && m->type == MESSAGE_COPIER_STAGE) { /* a large file has another content */
        d->differs = TRUE;
        copiers_send(copiers, job, MESSAGE_DAEMON_STAGED, g_variant_new("(tb)", job, FALSE), NULL,
                     0);
        return;
    }
    d->copier_job = 0;
    if (stuck && e)
        schedule_stuck(manager_schedule(d->manager), e, job);
    if (!m || m->type != MESSAGE_COPIER_CAPTURED || !t) { /* it could not be read: not our matter */
        finish(d, TRUE, NULL);
        return;
    }
    g_variant_get_child(m->body, 1, "u", &outcome);
    stat = g_variant_get_child_value(m->body, 3);
    filestat_from_variant(stat, &now);
    d->differs = d->differs || outcome == CAPTURE_CONTENT || outcome == CAPTURE_RANGES;
    if (!d->differs || e->generation != t->durable_generation ||
        !filestat_unchanged(&now, &t->stat, FALSE)) {
        finish(d, TRUE, NULL);
        return;
    }
    targets_compare(e, NULL);
    schedule_touch(manager_schedule(d->manager), e);
    finish(
        d, TRUE,
        "the original differs from its backup, though its time stamps are as recorded: it is "
        "damaged, or was changed past them; its content now is captured, the one before stays as "
        "a recovery point");
}

static void
compare_original(Drill *d, Entry *e, const Target *t)
{
    gsize n = 0;
    gconstpointer blob = t->attributes ? g_bytes_get_data(t->attributes, &n) : NULL;

    if (e->transfer || e->stuck_job || !e->device || e->generation != t->durable_generation ||
        t->state != STORED_CURRENT) {
        finish(d, TRUE, NULL);
        return;
    }
    d->copier_job = store_next_job();
    copiers_submit(
        schedule_copiers(manager_schedule(d->manager)), d->copier_job, e->row->principal, e->device,
        e->row->timeout_sec, MESSAGE_DAEMON_CAPTURE,
        g_variant_new("(t@ay@ayu@" FILESTAT_TYPE "@ay@ay)", d->copier_job,
                      path_to_variant(e->folder), path_to_variant(e->name),
                      (guint32) CAPTURE_COMPARE_CONTENT, filestat_to_variant(&t->stat),
                      g_variant_new_fixed_array(G_VARIANT_TYPE_BYTE, t->hash, HASH_BYTES, 1),
                      g_variant_new_fixed_array(G_VARIANT_TYPE_BYTE, n ? blob : NULL, n, 1)),
        NULL, 0, on_compared, d);
}

static void
on_restored(const RecoveryResult *r, gpointer data)
{
    Drill *d = data;
    Entry *e = find_entry(d);
    const Target *t = e ? entry_find_target(e, d->store) : NULL;

    d->restoring = FALSE;
    if (d->cancelled || !t) {
        finish(d, FALSE, "the row was changed meanwhile");
        return;
    }
    if (r->error) {
        gboolean not_now = g_error_matches(r->error, FILEDUP_ERROR, FILEDUP_ERROR_AGAIN) ||
                           g_error_matches(r->error, FILEDUP_ERROR, FILEDUP_ERROR_BUSY);
        finish(d, !not_now, r->error->message);
        return;
    }
    if (r->point == 0 && t->has_hash && memcmp(r->hash, t->hash, HASH_BYTES) != 0) {
        finish(d, TRUE, "what was restored is not what was recorded when it was captured");
        return;
    }
    if (r->point == 0 && t->has_hash)
        compare_original(d, e, t);
    else
        finish(d, TRUE, NULL);
}

static void
on_staged(G_GNUC_UNUSED Store *store, Message *m, const GError *failure, gpointer data)
{
    Drill *d = data;
    Entry *e = find_entry(d);
    g_autoptr(GError) error = failure ? g_error_copy(failure) : NULL;

    d->store_job = 0;
    if (m) {
        g_autoptr(GVariant) outcome = NULL;
        guint64 number;
        g_variant_get(m->body, "(t@" MESSAGE_ERROR_TYPE "t)", NULL, &outcome, &number);
        if (message_error_check(outcome, NULL, &error))
            d->staged = number;
    }
    if (!error && !e)
        throw_error(&error, FILEDUP_ERROR_AGAIN, "the row was changed meanwhile");
    int fd = error ? -1 : message_take_fd(m, 0);
    if (fd < 0) {
        g_autofree char *why = g_strdup_printf("no scratch file in the store: %s",
                                               error ? error->message : "none was sent");
        finish(d, FALSE, why);
        return;
    }
    d->restoring = TRUE;
    recovery_request(e, 0, RESTORE_TO_FD, 0, 0, d->store, fd, on_restored, d);
}

Drill *
drill_start(Manager *m, Entry *e, Store *store, DrillFunc func, gpointer data)
{
    const Target *t = entry_find_target(e, store);
    Drill *d;

    if (!t || !store_is_ready(store) || !t->known || t->state == STORED_NOTHING) {
        func(FALSE,
             t && store_is_ready(store) && t->known ? "there is no backup of it yet"
                                                    : "its store is not there",
             data);
        return NULL;
    }
    d = g_new0(Drill, 1);
    d->manager = m;
    d->path = g_strdup(e->row->path);
    d->store_name = g_strdup(store_name(store));
    d->entry_id = e->id;
    d->store = store;
    d->func = func;
    d->data = data;
    d->starting = TRUE;
    d->store_job = store_next_job();
    store_request(store, d->store_job, MESSAGE_DAEMON_STAGE,
                  g_variant_new("(tt)", d->store_job, t->stat.size_bytes), NULL, 0, on_staged, d);
    d->starting = FALSE;
    if (!d->over)
        return d;
    drill_free(d); /* its keeper had ended */
    return NULL;
}

void
drill_cancel(Drill *d)
{
    Entry *e = d ? find_entry(d) : NULL;

    if (!d)
        return;
    d->cancelled = TRUE;
    if (d->store_job)
        store_forget(d->store, d->store_job);
    if (d->copier_job)
        copiers_cancel(schedule_copiers(manager_schedule(d->manager)), d->copier_job);
    if (d->restoring && e)
        recovery_drop(e, d); /* on_restored() frees it */
    else
        drill_free(d);
}
