/* recovery.c - restoring a file (H9), in steps
 *
 * STATES  WAITING -> SAVING (in place only: what is there becomes a point first)
 *                 -> FETCHING (the keeper hands out the content)
 *                 -> MARKING (a fuzzy newest content becomes a point)
 *                 -> RESTORING (the copier stages, swaps, verifies)
 *                 -> KEEPING (what was swapped out becomes a point)
 *                 -> DISCARDING (only then is it removed) -> done
 * INVARIANT 1: what a restore replaced is removed only when it is durable as a point, or equal to the
 * store's newest content. If the power fails between the swap and the point, it stands under its
 * temporary name beside the file.
 * INVARIANT 2: the store's newest content outlives the restore. A file that is half written in place,
 * or an older point, is captured in its turn and takes the mirror. A stable content that is superseded
 * stays as a point, and policies thin none that was the newest within the last hour: it needs nothing.
 * A fuzzy one would be merged away, so before the first byte is written it is marked, and stays as
 * others do.
 */

#include "config.h"

#include <string.h>

#include "base/error.h"
#include "base/fd.h"
#include "base/path.h"
#include "base/sums.h"
#include "daemon/access.h"
#include "daemon/event.h"
#include "daemon/recovery.h"
#include "daemon/schedule.h"
#include "daemon/transfer.h"

#define TO_FD_TIMEOUT_SEC 60 /* the caller's descriptor may be a pipe that nobody reads */
#define SUMS_MAX_BYTES    ((gsize) 1 << 30) /* of a file of 2 TiB */

#define OPENING_PATIENCE_SEC 15

struct Recovery {
    Entry *entry;
    gint64 asked_usec;
    guint patience; /* ends the waiting for a store that opens */
    uid_t caller;
    RestoreFlags flags;
    guint64 point;
    gint64 at_usec;
    Store *store;
    int target_fd;
    RecoveryFunc func;
    gpointer data;

    Target *target;
    gboolean newest;        /* the content that comes back is the newest one */
    FileStat saved_stat;    /* in place: of what was saved; ino 0 if nothing was */
    int source_fd, sums_fd; /* while MARKING */
    guint64 copier_job, store_job;
    Transfer *transfer;
    char *swapped;
    guint64 swapped_dev, swapped_ino;

    RecoveryResult result;
};

static void
recovery_free(Recovery *r)
{
    g_clear_handle_id(&r->patience, g_source_remove);
    g_clear_error(&r->result.error);
    g_free(r->result.store);
    g_free(r->result.left);
    g_free(r->result.problems);
    g_clear_pointer(&r->result.attributes, g_bytes_unref);
    g_free(r->swapped);
    fd_clear(r->target_fd);
    fd_clear(r->source_fd);
    fd_clear(r->sums_fd);
    g_free(r);
}

static gboolean
writes_original(const Recovery *r)
{
    return !(r->flags & (RESTORE_TO_FD | RESTORE_DRY_RUN));
}

/* Whoever asked is told; the row is none the worse for it. */
static gboolean
was_refused(const Recovery *r)
{
    const GError *error = r->result.error;

    return g_error_matches(error, FILEDUP_ERROR, FILEDUP_ERROR_BUSY) ||
           g_error_matches(error, FILEDUP_ERROR, FILEDUP_ERROR_DENIED) ||
           g_error_matches(error, FILEDUP_ERROR, FILEDUP_ERROR_REFUSED) ||
           g_error_matches(error, FILEDUP_ERROR, FILEDUP_ERROR_NO_ENTRY);
}

static void
finish(Recovery *r)
{
    Entry *e = r->entry;
    Schedule *s = e->schedule;

    e->recovery = NULL;
    if (writes_original(r) && !was_refused(r)) {
        e->last_job = JOB_RECOVERY;
        e->result = r->result.error ? RESULT_FAILED : RESULT_OK;
        if (r->result.error) {
            entry_set_error(e, "restore: %s", r->result.error->message);
            event_restore_failed(e, r->result.error->message);
        } else {
            entry_set_error(e, NULL);
            event_restored(e, r->result.store, r->result.written_bytes);
        }
    }
    r->func(&r->result, r->data);
    gboolean touched = writes_original(r);
    recovery_free(r);
    if (touched)
        schedule_touch(s, e);
    else
        schedule_look(s, e);
}

static void
fail(Recovery *r, FiledupError code, const char *text)
{
    if (!r->result.error)
        throw_error(&r->result.error, code, "%s", text);
    finish(r);
}

static void
leave(Recovery *r, const char *why)
{
    g_autofree char *shown = NULL;

    r->result.left = path_join(r->entry->folder, r->swapped);
    shown = path_escape(r->result.left);
    g_warning("what was there before the restore could not be kept as a point (%s): it is left at "
              "'%s'",
              why, shown);
    finish(r);
}

static void
on_discarded(guint64 job, Message *m, const GError *failure, gboolean stuck, gpointer data)
{
    Recovery *r = data;
    g_autoptr(GError) error = failure ? g_error_copy(failure) : NULL;

    r->copier_job = 0;
    if (stuck)
        schedule_stuck(r->entry->schedule, r->entry, job);
    if (m) {
        g_autoptr(GVariant) outcome = NULL;
        g_variant_get(m->body, "(t@" MESSAGE_ERROR_TYPE ")", NULL, &outcome);
        (void) message_error_check(outcome, NULL, &error);
    }
    if (error)
        leave(r, error->message);
    else
        finish(r);
}

static void
submit(Recovery *r, MessageType type, GVariant *body, const int *fds, guint n_fds, CopierFunc func)
{
    Entry *e = r->entry;

    copiers_submit(schedule_copiers(e->schedule), r->copier_job, e->row->principal, e->device,
                   r->flags & RESTORE_TO_FD ? MIN(e->row->timeout_sec, TO_FD_TIMEOUT_SEC)
                                            : e->row->timeout_sec,
                   type, body, fds, n_fds, func, r);
}

static void
discard(Recovery *r)
{
    r->copier_job = store_next_job();
    submit(r, MESSAGE_DAEMON_DISCARD,
           g_variant_new("(t@ay@aytt)", r->copier_job, path_to_variant(r->entry->folder),
                         path_to_variant(r->swapped), r->swapped_dev, r->swapped_ino),
           NULL, 0, on_discarded);
}

/* A transfer of what is there, or was, as a point of the chosen store. Only when it is known that the
 * store's newest content is what comes back, "equal to the newest" means that nothing is lost:
 * otherwise the next capture puts the restored content in the newest one's place. */
static void
save(Recovery *r, const char *name, TransferFunc func)
{
    g_autoptr(GPtrArray) targets = g_ptr_array_new();
    TransferRequest request = {
        .copiers = schedule_copiers(r->entry->schedule),
        .watchers = schedule_watchers(r->entry->schedule),
        .entry = r->entry,
        .name = name,
        .flags = CAPTURE_ALLOW_FUZZY | CAPTURE_COMPARE_CONTENT,
        .recorded = r->newest && r->target->state == STORED_CURRENT && r->target->has_hash
                        ? r->target
                        : NULL,
        .cause = CAUSE_BEFORE_RESTORE,
        .targets = targets,
    };

    g_ptr_array_add(targets, r->target);
    r->transfer = transfer_start(&request, func, r);
}

static void
note_stuck(Recovery *r, const TransferResult *t)
{
    if (t->stuck)
        schedule_stuck(r->entry->schedule, r->entry, transfer_job(r->transfer));
}

static void
note_saved(Recovery *r, const TransferResult *t)
{
    if (t->appended && t->targets[0].durable) {
        r->result.saved = TRUE;
        r->result.saved_point = t->targets[0].sequence;
    }
}

static const char *
why_not_saved(const TransferResult *t)
{
    if (t->outcome == CAPTURE_UNCHANGED || t->outcome == CAPTURE_ATTRIBUTES)
        return NULL; /* the store has it */
    if (t->appended)
        return t->targets[0].durable ? NULL
               : t->targets[0].error ? t->targets[0].error
                                     : "not stored";
    return t->error ? t->error : "it could not be read";
}

static void
on_kept(const TransferResult *t, gpointer data)
{
    Recovery *r = data;
    const char *why = why_not_saved(t);

    note_stuck(r, t);
    r->transfer = NULL;
    note_saved(r, t);
    if (why)
        leave(r, why);
    else
        discard(r);
}

static void
on_restored(guint64 job, Message *m, const GError *failure, gboolean stuck, gpointer data)
{
    Recovery *r = data;
    g_autoptr(GVariant) outcome = NULL, swapped = NULL;
    const char *problems, *in_the_way;

    r->copier_job = 0;
    if (stuck)
        schedule_stuck(r->entry->schedule, r->entry, job);
    if (!m) {
        g_autofree char *text =
            g_strdup_printf("%s%s", failure->message,
                            stuck ? "; the file is left alone until that copier is dead" : "");
        fail(r, FILEDUP_ERROR_AGAIN, text);
        return;
    }
    g_variant_get(m->body, "(t@" MESSAGE_ERROR_TYPE "@ayttt&s&s)", NULL, &outcome, &swapped,
                  &r->swapped_dev, &r->swapped_ino, &r->result.written_bytes, &problems,
                  &in_the_way);
    const char *name = path_from_variant(swapped);
    if (name && name[0])
        r->swapped = g_strdup(name);
    r->result.existed = r->swapped || (r->flags & RESTORE_IN_PLACE);
    r->result.problems = problems[0] ? g_strdup(problems) : NULL;
    (void) message_error_check(outcome, NULL, &r->result.error); /* it names who is in the way */
    if (r->swapped)
        save(r, r->swapped, on_kept);
    else
        finish(r);
}

static void
restore(Recovery *r)
{
    Entry *e = r->entry;
    gsize n = 0;
    const void *blob = g_bytes_get_data(r->result.attributes, &n);
    int fds[3] = {r->source_fd, r->sums_fd, r->target_fd};

    e->last_job = writes_original(r) ? JOB_RECOVERY : e->last_job;
    e->started_usec = writes_original(r) ? g_get_real_time() : e->started_usec;
    r->copier_job = store_next_job();
    submit(r, MESSAGE_DAEMON_RESTORE,
           g_variant_new("(t@ay@ayut@" FILESTAT_TYPE "@ayb@" FILESTAT_TYPE ")", r->copier_job,
                         path_to_variant(e->folder), path_to_variant(e->name), (guint32) r->flags,
                         r->result.size_bytes, filestat_to_variant(&r->result.stat),
                         g_variant_new_fixed_array(G_VARIANT_TYPE_BYTE, n ? blob : NULL, n, 1),
                         (gboolean) (e->row->principal == 0), filestat_to_variant(&r->saved_stat)),
           fds, r->flags & RESTORE_TO_FD ? 3 : 2, on_restored);
}

static void
on_marked(G_GNUC_UNUSED Store *store, Message *m, const GError *failure, gpointer data)
{
    Recovery *r = data;
    g_autoptr(GError) error = failure ? g_error_copy(failure) : NULL;

    r->store_job = 0;
    if (m) {
        g_autoptr(GVariant) outcome = g_variant_get_child_value(m->body, 1);
        (void) message_error_check(outcome, NULL, &error);
    }
    if (error) {
        g_autofree char *text = g_strdup_printf(
            "the store's newest content could not be made safe first: %s", error->message);
        fail(r, FILEDUP_ERROR_AGAIN, text);
        return;
    }
    restore(r);
}

static void
mark(Recovery *r) /* invariant 2 */
{
    r->store_job = store_next_job();
    store_request(r->target->store, r->store_job, MESSAGE_DAEMON_MARK,
                  g_variant_new("(t@aysu)", r->store_job, path_to_variant(r->entry->row->path), "",
                                (guint32) CAUSE_QUIET),
                  NULL, 0, on_marked, r);
}

static void
on_content(G_GNUC_UNUSED Store *store, Message *m, const GError *failure, gpointer data)
{
    Recovery *r = data;
    g_autoptr(GVariant) outcome = NULL, stat = NULL, attributes = NULL;
    guint32 quality;
    gsize n;

    r->store_job = 0;
    if (!m) {
        fail(r, FILEDUP_ERROR_AGAIN, failure->message);
        return;
    }
    g_variant_get(m->body, "(t@" MESSAGE_ERROR_TYPE "t@" FILESTAT_TYPE "@ayuxtt)", NULL, &outcome,
                  &r->result.size_bytes, &stat, &attributes, &quality, &r->result.time_usec,
                  &r->result.point, &r->result.stable_point);
    filestat_from_variant(stat, &r->result.stat);
    r->result.quality = (Quality) quality;
    gconstpointer blob = g_variant_get_fixed_array(attributes, &n, 1);
    r->result.attributes = g_bytes_new(blob, n);
    if (!message_error_check(outcome, NULL, &r->result.error)) {
        finish(r);
        return;
    }
    if (m->n_fds < 2) {
        fail(r, FILEDUP_ERROR_FATAL, "the store sent no content");
        return;
    }
    if (!access_may_read(r->caller, &r->result.stat, &r->result.error)) {
        finish(r);
        return;
    }
    g_autoptr(GBytes) sums = fd_to_bytes(m->fds[1], SUMS_MAX_BYTES, &r->result.error);
    if (!sums) {
        finish(r);
        return;
    }
    sums_hash(sums, r->result.size_bytes, r->result.hash);
    r->newest = r->result.point == 0;
    r->source_fd = message_take_fd(m, 0);
    r->sums_fd = message_take_fd(m, 1);
    if (writes_original(r) && r->target->state == STORED_CURRENT &&
        r->target->quality < QUALITY_STABLE && (!r->newest || (r->flags & RESTORE_IN_PLACE)))
        mark(r);
    else
        restore(r);
}

static void
fetch(Recovery *r)
{
    r->store_job = store_next_job();
    store_request(r->target->store, r->store_job, MESSAGE_DAEMON_CONTENT,
                  g_variant_new("(t@aytx)", r->store_job, path_to_variant(r->entry->row->path),
                                r->point, r->at_usec),
                  NULL, 0, on_content, r);
}

static void
on_saved(const TransferResult *t, gpointer data)
{
    Recovery *r = data;
    const char *why = t->outcome == CAPTURE_GONE ? NULL : why_not_saved(t);

    note_stuck(r, t);
    r->transfer = NULL;
    note_saved(r, t);
    if (r->result.saved)
        r->saved_stat = t->stat;
    if (why && !(r->flags & RESTORE_FORCE)) {
        g_autofree char *text = g_strdup_printf(
            "what is there could not be saved first (%s); restore without --in-place, which keeps "
            "it beside, or use --force",
            why);
        fail(r, FILEDUP_ERROR_REFUSED, text);
        return;
    }
    fetch(r);
}

static Target *
choose_target(const Recovery *r)
{
    if (r->store)
        return entry_find_target(r->entry, r->store);
    for (guint i = 0; i < r->entry->targets->len; i++) {
        Target *t = r->entry->targets->pdata[i];
        if (store_is_ready(t->store) && t->known &&
            (t->state != STORED_NOTHING || r->point || r->at_usec))
            return t;
    }
    return NULL;
}

/* Why there is nothing to restore from. */
static void
refuse_no_backup(Recovery *r)
{
    for (guint i = 0; i < r->entry->targets->len; i++) {
        const Target *t = r->entry->targets->pdata[i];
        if (!store_is_ready(t->store)) {
            g_autofree char *text =
                g_strdup_printf("store \"%s\" is %s: %s", store_name(t->store),
                                store_state_name(t->store), store_note(t->store));
            fail(r, FILEDUP_ERROR_AGAIN, text);
            return;
        }
    }
    fail(r, FILEDUP_ERROR_REFUSED, "no backup of it exists yet");
}

/* None of its stores can be asked yet, but one soon can: its keeper starts. */
static gboolean
waits_for_store(const Recovery *r)
{
    const Target *t = choose_target(r);

    if ((t && store_is_ready(t->store)) ||
        g_get_monotonic_time() - r->asked_usec > OPENING_PATIENCE_SEC * G_USEC_PER_SEC)
        return FALSE;
    for (guint i = 0; i < r->entry->targets->len; i++) {
        t = r->entry->targets->pdata[i];
        if ((!r->store || t->store == r->store) && store_state(t->store) == STORE_OPENING)
            return TRUE;
    }
    return FALSE;
}

gboolean
recovery_run_next(G_GNUC_UNUSED Schedule *s, Entry *e)
{
    Recovery *r = g_queue_peek_head(&e->requests);

    if (!r || waits_for_store(r)) /* each change of the store's state leads here again */
        return FALSE;
    (void) g_queue_pop_head(&e->requests);
    e->recovery = r;
    r->target = choose_target(r);
    if (!r->target || !store_is_ready(r->target->store)) {
        refuse_no_backup(r);
        return TRUE;
    }
    r->result.store = g_strdup(store_name(r->target->store));
    if ((r->flags & RESTORE_IN_PLACE) && writes_original(r))
        save(r, e->name, on_saved);
    else
        fetch(r);
    return TRUE;
}

static gboolean
on_impatient(gpointer data)
{
    Recovery *r = data;

    r->patience = 0;
    schedule_look(r->entry->schedule, r->entry);
    return G_SOURCE_REMOVE;
}

void
recovery_request(Entry *e, uid_t caller, RestoreFlags flags, guint64 point, gint64 at_usec,
                 Store *store, int target_fd, RecoveryFunc func, gpointer data)
{
    Recovery *r = g_new0(Recovery, 1);

    r->entry = e;
    r->asked_usec = g_get_monotonic_time();
    r->caller = caller;
    r->flags = flags;
    r->point = point;
    r->at_usec = at_usec;
    r->store = store;
    r->target_fd = target_fd;
    r->source_fd = r->sums_fd = -1;
    r->func = func;
    r->data = data;
    if (e->stuck_job) {
        RecoveryResult refused = {0};
        throw_error(&refused.error, FILEDUP_ERROR_BUSY,
                    "a copier that will not die has the file: its disk hangs");
        func(&refused, data);
        g_clear_error(&refused.error);
        recovery_free(r);
        return;
    }
    r->patience = g_timeout_add_seconds(OPENING_PATIENCE_SEC + 1, on_impatient, r);
    g_queue_push_tail(&e->requests, r);
    schedule_look(e->schedule, e);
}

static void
cancel(Recovery *r, const char *why)
{
    if (r->copier_job)
        copiers_cancel(schedule_copiers(r->entry->schedule), r->copier_job);
    if (r->store_job)
        store_cancel(r->target->store, r->store_job);
    transfer_cancel(r->transfer);
    if (!r->result.error)
        throw_error(&r->result.error, FILEDUP_ERROR_AGAIN, "%s", why);
    r->func(&r->result, r->data);
    recovery_free(r);
}

void
recovery_drop(Entry *e, gconstpointer data)
{
    static const char why[] = "nobody waits for it any more";
    Recovery *r = e->recovery;

    for (GList *l = e->requests.head; l; l = l->next)
        if (((Recovery *) l->data)->data == data) {
            Recovery *waiting = l->data;
            g_queue_delete_link(&e->requests, l);
            cancel(waiting, why);
            return;
        }
    if (!r || r->data != data || writes_original(r))
        return;
    e->recovery = NULL;
    cancel(r, why);
    schedule_look(e->schedule, e);
}

void
recovery_cancel_all(Entry *e)
{
    static const char why[] = "the row was changed meanwhile";
    Recovery *r = g_steal_pointer(&e->recovery);

    if (r)
        cancel(r, why);
    while ((r = g_queue_pop_head(&e->requests)))
        cancel(r, why);
}

pid_t
recovery_copier(const Entry *e)
{
    return e->recovery && e->recovery->copier_job
               ? copiers_pid(schedule_copiers(e->schedule), e->recovery->copier_job)
               : 0;
}
