/* schedule.c - the life of an entry's backups
 *
 * A *generation* is a reason to look: an event, a request to sync, a store that came back. A target
 * (one store of a row) is current when its durable generation has reached the entry's. The first
 * reason for a quiet file is acted on at once; after a capture the next waits a multiple of what the
 * last one took, so that a busy file costs a bounded share of the machine (and never longer than the
 * row's max-lag).
 *
 * INVARIANTS
 *  (1) An entry has at most one transfer or one recovery at a time.
 *  (2) A target's durable generation moves only to a generation that was current when the capture
 *      began, and only when its keeper has said "durable", or the file was seen unchanged.
 *  (3) A file that a stuck copier has is left alone until that copier is dead; then its content is
 *      compared, whatever the time stamps say.
 *  (4) Targets that have different contents are served one after another, each with what changed since
 *      its own; where that saves nothing, they get the whole file together. Who was tried the longest
 *      ago comes first: neither a busy file nor a store that takes nothing keeps another one waiting.
 *  (5) A file's absence is a deletion only when it was seen twice, DELETION_SETTLE apart, in a folder
 *      on the recorded file system.
 */

#include "config.h"

#include <errno.h>
#include <string.h>

#include "base/error.h"
#include "base/path.h"
#include "daemon/event.h"
#include "daemon/recovery.h"
#include "daemon/schedule.h"
#include "daemon/target.h"
#include "daemon/transfer.h"

#define MSEC             G_GINT64_CONSTANT(1000)
#define SEC              G_GINT64_CONSTANT(1000000)
#define DELETION_SETTLE  (1 * SEC)
#define FUZZY_RENEW      3 /* max-lags */
#define RETRY_MIN        (250 * MSEC)
#define RETRY_MAX        (60 * SEC)
#define UNSTABLE_MIN     (20 * MSEC)
#define SCAN_INTERVAL    (10 * SEC)
#define VERIFY_LAG       (600 * SEC) /* for what no event tells, such as truncate(path) */
#define YOUNG            (100 * MSEC)
#define UNSTABLE_TELLING 5 /* attempts after which a waiting sync is told */

struct Schedule {
    Copiers *copiers;
    Watchers *watchers;
    gboolean compare_all;
    ScheduleEvents events;
    gpointer data;
    GHashTable *entries; /* id -> Entry, the started ones */
    GHashTable *stuck;   /* job -> id */
};

static gint64
max_lag(const Entry *e)
{
    return row_max_lag_sec(e->row) * SEC;
}

/* ---- timer ---- */

static gboolean
on_timer(gpointer data)
{
    Entry *e = data;

    e->timer = 0;
    schedule_look(e->schedule, e);
    return G_SOURCE_REMOVE;
}

static void
wait_until(Entry *e, gint64 due_usec)
{
    gint64 left = MAX(due_usec - g_get_monotonic_time(), 0);

    g_clear_handle_id(&e->timer, g_source_remove);
    e->timer = g_timeout_add((guint) ((left + 999) / 1000), on_timer, e);
}

static void
delay(Entry *e, gint64 usec)
{
    e->not_before_usec = g_get_monotonic_time() + usec;
}

static gint64
backoff(gint64 first, guint attempt, gint64 most)
{
    return attempt > 16 ? most : MIN(first << attempt, most);
}

void
schedule_stuck(Schedule *s, Entry *e, guint64 job)
{
    e->stuck_job = job; /* invariant 3 */
    g_hash_table_insert(s->stuck, g_memdup2(&job, sizeof job), g_memdup2(&e->id, sizeof e->id));
}

/* ---- outcome of a transfer ---- */

static void
flag_failed(Entry *e, const char *what)
{
    gboolean was = e->result == RESULT_FAILED;

    e->result = RESULT_FAILED;
    if (!was) {
        e->told_failed = TRUE;
        event_backup_failed(e, what);
    }
}

static void
count_failure(Entry *e, const char *what)
{
    entry_set_error(e, "%s", what);
    e->failures++;
    delay(e, backoff(RETRY_MIN, e->failures - 1, RETRY_MAX));
    if (e->failures > e->row->retries)
        flag_failed(e, what);
    else
        g_debug("entry '%s': backup: %s; attempt %u of %u", e->row->path, what, e->failures,
                e->row->retries + 1);
}

/* The file can be looked at again, though no backup has succeeded yet: what kept the file from being
 * read is over. What a store said stands until that store takes something. */
static void
forget_failure(Entry *e)
{
    for (guint i = 0; i < e->targets->len; i++)
        if (((Target *) e->targets->pdata[i])->error)
            return;
    e->failures = 0;
    if (e->result == RESULT_FAILED)
        e->result = RESULT_NONE;
    entry_set_error(e, NULL);
}

/* A bounded share of the time goes into a file that changes without end. One change after a quiet time
 * (or after the first backup, which may have been long) costs no pause. */
static void
rest(Entry *e, gint64 duration_usec)
{
    gint64 now = g_get_monotonic_time();
    gint64 pause = MIN(duration_usec * (e->row->backup == BACKUP_PER_WRITE ? 10 : 4), max_lag(e));
    gboolean busy = e->captured_usec && now - e->captured_usec < duration_usec + 2 * pause;

    e->captured_usec = now;
    if (busy)
        delay(e, pause);
}

/* What one store takes does not end the failure of another one. */
static gboolean
another_fails(const Entry *e)
{
    for (guint i = 0; i < e->targets->len; i++) {
        const Target *t = e->targets->pdata[i];
        if (t->error && store_is_ready(t->store) && t->tried != e->attempts)
            return TRUE;
    }
    return FALSE;
}

static void
count_success(Entry *e, const TransferResult *r)
{
    e->unstable = 0;
    e->gone_since_usec = 0;
    g_clear_pointer(&e->writer, g_free);
    e->young = r->started_real_usec * 1000 - r->stat.ctime_ns < YOUNG * 1000;
    if (another_fails(e)) {
        delay(e, backoff(RETRY_MIN, MAX(e->failures, 1) - 1, RETRY_MAX));
        return;
    }
    if (e->told_failed) /* however its failure ended */
        event_backup_recovered(e);
    e->told_failed = FALSE;
    e->failures = 0;
    e->result = RESULT_OK;
    entry_set_error(e, NULL);
    e->current_usec = r->started_real_usec;
    rest(e, r->duration_usec);
}

static void
on_appended(Schedule *s, Entry *e, const TransferResult *r)
{
    gboolean fuzzy = r->outcome != CAPTURE_GONE && r->quality == QUALITY_FUZZY;
    const char *failed = NULL;

    for (guint i = 0; i < r->n_targets; i++) {
        const TransferTarget *part = &r->targets[i];
        Target *t = part->target;
        g_clear_pointer(&t->error, g_free);
        store_set_full(t->store, !part->durable && part->errnum == ENOSPC);
        if (!part->durable) {
            t->error = g_strdup(part->error ? part->error : "not stored");
            t->known = t->known && !part->damaged;
            t->send_whole = t->send_whole || part->damaged;
            failed = t->error;
            continue;
        }
        target_record(t, r, part);
        if (!fuzzy || e->row->backup == BACKUP_PER_WRITE) /* on-close: still not current */
            target_set_durable(t, e, e->capture_generation, e->capture_usec);
        s->events.durable(e, t->store, part->sequence, part->stamp_usec, s->data);
    }
    if (failed) {
        count_failure(e, failed);
        return;
    }
    if (!fuzzy) {
        count_success(e, r);
        return;
    }
    e->last_fuzzy_usec = g_get_monotonic_time();
    g_free(e->writer);
    e->writer = g_strdup(r->writer);
    if (e->row->backup == BACKUP_PER_WRITE) {
        count_success(e, r);
        e->writer = g_strdup(r->writer);
        e->rescan = TRUE; /* a mapping may be stored to without an event */
        return;
    }
    e->unstable++;
    delay(e, backoff(UNSTABLE_MIN, e->unstable, max_lag(e)));
}

static void
mark_unchanged(Entry *e, const TransferResult *r)
{
    for (guint i = 0; i < r->n_targets; i++) {
        g_clear_pointer(&r->targets[i].target->error, g_free);
        target_set_durable(r->targets[i].target, e, e->capture_generation, e->capture_usec);
    }
}

/* Nobody closes the file, but it has stood still for a while. */
static void
mark_quiet(Entry *e, const TransferResult *r)
{
    if (e->row->backup != BACKUP_PER_WRITE || r->quality != QUALITY_FUZZY)
        return;
    for (guint i = 0; i < r->n_targets; i++)
        if (!target_mark_quiet(e, r->targets[i].target))
            e->rescan = TRUE;
}

static void
on_gone(Entry *e, const TransferResult *r)
{
    gint64 now = g_get_monotonic_time();
    gboolean stored = FALSE;

    e->missing = TRUE;
    for (guint i = 0; i < r->n_targets; i++)
        stored = stored || r->targets[i].target->state == STORED_CURRENT;
    if (!stored) { /* nothing to lose: it has not existed yet, or the deletion is known */
        mark_unchanged(e, r);
        count_success(e, r);
        return;
    }
    if (!e->gone_since_usec)
        e->gone_since_usec = now; /* invariant 5 */
    delay(e, MAX(e->gone_since_usec + DELETION_SETTLE - now, 10 * MSEC));
}

static void
on_unstable(Entry *e, const TransferResult *r)
{
    e->unstable++;
    forget_failure(e);
    g_free(e->writer);
    e->writer = g_strdup(r->writer);
    delay(e, backoff(UNSTABLE_MIN, e->unstable, max_lag(e)));
}

static void
on_transfer(const TransferResult *r, gpointer data)
{
    Entry *e = data;
    Schedule *s = e->schedule;
    guint64 job = transfer_job(e->transfer);

    e->transfer = NULL;
    e->attempts++;
    if (r->outcome != CAPTURE_FAILED && r->outcome != CAPTURE_ABSENT)
        e->absent = FALSE;
    if (r->outcome != CAPTURE_GONE) {
        e->missing = FALSE;
        e->gone_since_usec = 0;
    }
    if (r->stuck)
        schedule_stuck(s, e, job);
    if (r->spoiled)
        on_unstable(e, r);
    else if (r->appended)
        on_appended(s, e, r);
    else
        switch (r->outcome) {
        case CAPTURE_UNCHANGED:
            mark_quiet(e, r);
            mark_unchanged(e, r);
            count_success(e, r);
            break;
        case CAPTURE_ATTRIBUTES:
        case CAPTURE_CONTENT:
        case CAPTURE_RANGES:
            mark_unchanged(e, r);
            count_success(e, r);
            break;
        case CAPTURE_GONE:
            on_gone(e, r);
            break;
        case CAPTURE_ABSENT:
            e->absent = TRUE;
            mark_unchanged(e, r);
            break;
        case CAPTURE_UNSTABLE:
            on_unstable(e, r);
            break;
        case CAPTURE_FAILED:
            count_failure(e, r->error ? r->error : "the capture failed");
            break;
        }
    for (guint i = 0; i < e->targets->len; i++) { /* invariant 4: the others at once */
        const Target *t = e->targets->pdata[i];
        gboolean its_turn = r->appended && !t->error && t->tried != e->attempts;
        if ((e->failures == 0 || its_turn) && e->unstable == 0 && store_is_ready(t->store) &&
            t->known && t->durable_generation < e->capture_generation && r->outcome != CAPTURE_GONE)
            e->not_before_usec = g_get_monotonic_time();
    }
    s->events.settled(e, s->data);
    schedule_look(s, e);
}

/* ---- starting one ---- */

static gboolean
has_same_record(const Target *a, const Target *b)
{
    return b->state == STORED_CURRENT && b->has_hash && memcmp(a->hash, b->hash, HASH_BYTES) == 0 &&
           filestat_unchanged(&a->stat, &b->stat, FALSE) && a->quality == b->quality;
}

/* What all of them have recorded, so that the copier can answer "unchanged": NULL if they differ. */
static const Target *
common_record(const GPtrArray *targets)
{
    const Target *first = targets->pdata[0];

    for (guint i = 0; i < targets->len; i++) {
        const Target *t = targets->pdata[i];
        if (!has_same_record(first, t))
            return NULL;
    }
    return first;
}

static gboolean
can_be_base(const Target *t)
{
    return t->state == STORED_CURRENT && t->has_hash && !t->send_whole &&
           t->stat.size_bytes > TRANSFER_RANGES_MIN;
}

/* Whose turn it is. */
static const Target *
find_next(const GPtrArray *targets)
{
    const Target *next = targets->pdata[0];

    for (guint i = 1; i < targets->len; i++) {
        const Target *t = targets->pdata[i];
        if (t->tried < next->tried ||
            (t->tried == next->tried && can_be_base(t) && !can_be_base(next)))
            next = t;
    }
    return next;
}

/* Leaves those in the array whose content is that of the one whose turn it is, if what changed since
 * then is likely to be little against the whole file; else those that need the whole. TRUE: the
 * first, and they have one content. (invariant 4) */
static gboolean
keep_alike(GPtrArray *targets)
{
    const Target *base = find_next(targets);
    gboolean ranges = can_be_base(base);

    for (guint i = targets->len; i-- > 0;) {
        const Target *t = targets->pdata[i];
        if (ranges ? !can_be_base(t) || !has_same_record(base, t) : can_be_base(t))
            g_ptr_array_remove_index(targets, i);
    }
    return ranges;
}

static gboolean
have_stable(const GPtrArray *targets)
{
    for (guint i = 0; i < targets->len; i++) {
        const Target *t = targets->pdata[i];
        if (t->state != STORED_NOTHING && t->quality >= QUALITY_STABLE)
            return TRUE;
    }
    return FALSE;
}

static CaptureFlags
choose_flags(const Entry *e, const GPtrArray *targets, const Target *recorded)
{
    gint64 now = g_get_monotonic_time();
    guint flags = 0;

    if (e->row->backup == BACKUP_PER_WRITE)
        flags |= CAPTURE_PER_WRITE;
    else if (!have_stable(targets) &&
             (!e->last_fuzzy_usec || now - e->last_fuzzy_usec >= FUZZY_RENEW * max_lag(e)))
        flags |= CAPTURE_ALLOW_FUZZY;
    if (e->young || (recorded && recorded->quality < QUALITY_STABLE))
        flags |= CAPTURE_COMPARE_CONTENT;
    for (guint i = 0; i < targets->len; i++) {
        const Target *t = targets->pdata[i];
        flags |= t->compare ? CAPTURE_COMPARE_CONTENT : 0;
        flags |= t->send_whole ? CAPTURE_UNCONDITIONAL : 0;
    }
    return (CaptureFlags) flags;
}

static void
start_transfer(Schedule *s, Entry *e)
{
    g_autoptr(GPtrArray) targets = g_ptr_array_new();
    gboolean deletion, ranges;

    for (guint i = 0; i < e->targets->len; i++) {
        Target *t = e->targets->pdata[i];
        if (store_is_ready(t->store) && t->known && t->durable_generation < e->generation)
            g_ptr_array_add(targets, t);
    }
    if (targets->len == 0)
        return;
    deletion = e->gone_since_usec &&
               g_get_monotonic_time() - e->gone_since_usec >= DELETION_SETTLE && e->confirm_gone;
    e->confirm_gone = e->gone_since_usec && !deletion &&
                      g_get_monotonic_time() - e->gone_since_usec >= DELETION_SETTLE;

    ranges = !deletion && keep_alike(targets);
    const Target *recorded = common_record(targets), *place = NULL;
    gboolean first = TRUE;
    for (guint i = 0; i < e->targets->len && !place; i++) /* any store's, also a stale one's */
        if (((Target *) e->targets->pdata[i])->state == STORED_CURRENT)
            place = e->targets->pdata[i];
    for (guint i = 0; i < targets->len; i++)
        first = first && ((Target *) targets->pdata[i])->state == STORED_NOTHING;
    TransferRequest request = {
        .copiers = s->copiers,
        .watchers = s->watchers,
        .entry = e,
        .name = e->name,
        .flags = choose_flags(e, targets, recorded),
        .recorded = deletion ? targets->pdata[0] : recorded,
        .place = place,
        .cause = deletion ? CAUSE_DELETED
                 : first  ? CAUSE_FIRST
                          : CAUSE_CLOSE,
        .deletion = deletion,
        .ranges = ranges,
        .targets = targets,
    };
    for (guint i = 0; i < targets->len; i++)
        ((Target *) targets->pdata[i])->tried = e->attempts + 1;
    e->capture_usec = g_get_real_time();
    e->capture_generation = e->generation;
    e->last_job = JOB_BACKUP;
    e->started_usec = g_get_real_time();
    e->transfer = transfer_start(&request, on_transfer, e);
}

/* ---- the device, and the watch ---- */

static void
on_inspected(guint64 job, Message *m, const GError *failure, gboolean stuck, gpointer data)
{
    Entry *e = data;
    Schedule *s = e->schedule;
    guint64 device = 0;

    g_autoptr(GError) error = failure ? g_error_copy(failure) : NULL;

    e->inspect_job = 0;
    if (m && m->type == MESSAGE_COPIER_INSPECTED) {
        g_autoptr(GVariant) outcome = g_variant_get_child_value(m->body, 1);
        (void) message_error_check(outcome, NULL, &error);
        g_variant_get_child(m->body, 6, "t", &device);
    }
    if (stuck)
        schedule_stuck(s, e, job);
    if (!device) {
        e->attempts++;
        count_failure(e, error ? error->message : "its folder cannot be looked at");
    }
    if (device) {
        e->device = device;
        forget_failure(e);
    }
    if (e->device)
        watchers_add(s->watchers, e);
    s->events.settled(e, s->data);
    schedule_look(s, e);
}

static void
inspect(Schedule *s, Entry *e)
{
    e->inspect_job = store_next_job();
    copiers_submit(s->copiers, e->inspect_job, e->row->principal, 0, e->row->timeout_sec,
                   MESSAGE_DAEMON_INSPECT,
                   g_variant_new("(t@ayb)", e->inspect_job, path_to_variant(e->row->path), FALSE),
                   NULL, 0, on_inspected, e);
}

void
schedule_look(Schedule *s, Entry *e)
{
    gint64 now = g_get_monotonic_time();
    gboolean asking = FALSE;

    if (!e->active || e->transfer || e->recovery || e->inspect_job || e->stuck_job)
        return; /* invariants 1, 3 */
    for (guint i = 0; i < e->targets->len; i++) {
        Target *t = e->targets->pdata[i];
        if (store_is_ready(t->store) && !target_know(e, t))
            asking = TRUE;
    }
    if (asking)
        return;
    if (recovery_run_next(s, e))
        return;
    if (e->row->suspended)
        return;
    if (e->not_before_usec > now) {
        wait_until(e, e->not_before_usec); /* for what is dirty, and to arm the next scan */
        return;
    }
    if (!e->device) {
        inspect(s, e);
        return;
    }
    if (entry_is_dirty(e)) {
        start_transfer(s, e);
        return;
    }
    /* Not watched, or not wholly: scan often. Watched: now and then, for what no event tells. */
    gint64 due =
        e->scanned_usec + (e->watch != WATCH_ACTIVE || e->rescan ? SCAN_INTERVAL : VERIFY_LAG);
    if (due > now) {
        wait_until(e, due);
        return;
    }
    e->rescan = FALSE;
    schedule_touch(s, e);
}

void
schedule_found(Entry *e)
{
    schedule_look(e->schedule, e);
    e->schedule->events.settled(e, e->schedule->data);
}

void
schedule_touch(Schedule *s, Entry *e)
{
    e->generation++;
    targets_note_behind(e);
    e->scanned_usec = g_get_monotonic_time();
    schedule_look(s, e);
}

static Entry *
find(Schedule *s, guint64 id)
{
    return g_hash_table_lookup(s->entries, &id);
}

static void
on_changed(guint64 id, guint what, gpointer data)
{
    Schedule *s = data;
    Entry *e = find(s, id);

    if (!e)
        return;
    e->event_serial++;
    if (what & (CHANGE_CLOSED | CHANGE_APPEARED)) {
        e->gone_since_usec = 0;
        if (e->unstable) /* what it waited for, perhaps */
            e->not_before_usec =
                MIN(e->not_before_usec,
                    g_get_monotonic_time() + backoff(UNSTABLE_MIN / 4, MIN(e->unstable, 5), SEC));
    }
    schedule_touch(s, e);
}

static void
on_watch_state(guint64 id, WatchState state, int errnum, guint64 needed, gpointer data)
{
    Schedule *s = data;
    Entry *e = find(s, id);

    if (!e)
        return;
    if (state == WATCH_SCAN && e->watch != WATCH_SCAN)
        event_not_watched(e, errnum, needed);
    e->watch = state;
    e->watch_errno = errnum;
    e->watch_needed = needed;
    e->event_serial++;
    if (state == WATCH_NONE)
        return;
    e->not_before_usec = MIN(e->not_before_usec, g_get_monotonic_time());
    schedule_touch(s, e);
    s->events.settled(e, s->data);
}

static void
on_overflow(guint64 id, gpointer data)
{
    on_changed(id, 0, data);
}

static void
on_copier_freed(guint64 job, gpointer data)
{
    Schedule *s = data;
    guint64 *id = g_hash_table_lookup(s->stuck, &job);
    Entry *e = id ? find(s, *id) : NULL;

    transfer_copier_freed(job);
    if (e && e->stuck_job == job) {
        e->stuck_job = 0;
        targets_compare(e, NULL); /* invariant 3 */
        schedule_touch(s, e);
    }
    g_hash_table_remove(s->stuck, &job);
}

void
schedule_store_changed(Schedule *s, Entry *e, Store *store)
{
    Target *t = entry_find_target(e, store);

    if (!t)
        return;
    if (!store_is_ready(store)) {
        t->known = FALSE;
        targets_note_behind(e);
        schedule_look(s, e); /* the other stores go on; a restore may wait for this one */
        return;
    }
    t->durable_generation = 0;
    if (store_was_damaged(store))
        targets_compare(e, t);
    e->not_before_usec = MIN(e->not_before_usec, g_get_monotonic_time());
    schedule_touch(s, e);
}

void
schedule_start(Schedule *s, Entry *e)
{
    e->schedule = s;
    e->active = TRUE;
    if (s->compare_all)
        targets_compare(e, NULL);
    targets_note_behind(e);
    g_hash_table_insert(s->entries, &e->id, e);
    if (e->device && !e->row->suspended)
        watchers_add(s->watchers, e);
    schedule_touch(s, e);
}

void
schedule_stop(Schedule *s, Entry *e)
{
    e->active = FALSE;
    g_clear_handle_id(&e->timer, g_source_remove);
    if (e->inspect_job)
        copiers_cancel(s->copiers, e->inspect_job);
    e->inspect_job = 0;
    g_clear_pointer(&e->transfer, transfer_cancel);
    recovery_cancel_all(e);
    for (guint i = 0; i < e->targets->len; i++) {
        Target *t = e->targets->pdata[i];
        if (t->asking)
            store_forget(t->store, t->asking_job);
        t->asking = FALSE;
    }
    watchers_remove(s->watchers, e->id);
    e->watch = WATCH_NONE;
    g_hash_table_remove(s->entries, &e->id);
}

gboolean
schedule_is_current(const Entry *e, guint64 generation, const char **ret_why)
{
    *ret_why = NULL;
    if (e->row->suspended)
        *ret_why = "it is suspended";
    else if (e->unbound)
        *ret_why = e->unbound;
    else if (e->stuck_job)
        *ret_why = "the disk hangs: a copier that will not die has the file";
    else if (e->result == RESULT_FAILED || e->failures > e->row->retries)
        *ret_why = e->error ? e->error : "the backup failed";
    for (guint i = 0; i < e->targets->len && !*ret_why; i++) {
        const Target *t = e->targets->pdata[i];
        if (!store_is_ready(t->store) && store_state(t->store) != STORE_OPENING)
            *ret_why = store_note(t->store);
        else if (t->durable_generation < generation || !store_is_ready(t->store)) {
            if (e->unstable >= UNSTABLE_TELLING)
                *ret_why =
                    e->writer ? "somebody has it open for writing" : "it changes all the time";
            return FALSE;
        }
    }
    if (*ret_why)
        return FALSE;
    if (e->absent)
        *ret_why = "its folder is not there, or another file system is in its place";
    else if (e->missing)
        for (guint i = 0; i < e->targets->len; i++)
            if (((Target *) e->targets->pdata[i])->state == STORED_NOTHING)
                *ret_why = "the file does not exist";
    return *ret_why == NULL;
}

Schedule *
schedule_new(gboolean system, guint copiers_per_device, gboolean compare_all,
             const ScheduleEvents *events, gpointer data)
{
    static const WatchersEvents watch_events = {on_changed, on_watch_state, on_overflow};
    Schedule *s = g_new0(Schedule, 1);

    s->events = *events;
    s->data = data;
    s->compare_all = compare_all;
    s->copiers = copiers_new(system, copiers_per_device, on_copier_freed, s);
    s->watchers = watchers_new(system, &watch_events, s);
    s->entries = g_hash_table_new(g_int64_hash, g_int64_equal);
    s->stuck = g_hash_table_new_full(g_int64_hash, g_int64_equal, g_free, g_free);
    return s;
}

void
schedule_free(Schedule *s)
{
    if (!s)
        return;
    copiers_free(s->copiers);
    watchers_free(s->watchers);
    g_hash_table_unref(s->entries);
    g_hash_table_unref(s->stuck);
    g_free(s);
}

Copiers *
schedule_copiers(Schedule *s)
{
    return s->copiers;
}

Watchers *
schedule_watchers(Schedule *s)
{
    return s->watchers;
}
