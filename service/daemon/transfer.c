/* transfer.c - from a file to "durable" in its stores
 *
 * A capture enters a journal only when it is validated: the copier has seen it stable, and the
 * watcher, drained after the read, knows of no event meanwhile (INVARIANT 1). A file whose ctime lies
 * further back than two clock ticks before the read needs no drain: any write would have moved it.
 *
 * A larger file of which the stores have a content is captured relative to that: the first store gives
 * its sums, the copier finds the blocks that differ, and only they are read into memory and sent. The
 * append names the content that it changes by its hash (BASE); a store that has another one by now
 * says DAMAGED, is asked anew, and gets the whole.
 *
 * STATES  (ASKING ->) CAPTURING -> (STAGING -> CAPTURING) -> DRAINING -> APPENDING -> done
 * INVARIANT 2: a staged file is given back to its store exactly once, and never while a copier that
 * may still write it lives: those of a stuck copier wait in `held`.
 */

#include "config.h"

#include <string.h>

#include "base/error.h"
#include "base/fd.h"
#include "base/path.h"
#include "daemon/transfer.h"

/* Two ticks of the slowest configured clock (100 Hz). */
#define YOUNG_NS (20 * G_GINT64_CONSTANT(1000000))

typedef struct Part {
    TransferTarget result;
    struct Transfer *transfer;
    guint64 request; /* the job under way at the store, or 0 */
    guint64 staged;  /* number of the staged file, or 0 */
    gboolean asked_to_stage;
    AppendKind kind; /* as appended */
    int staged_fd;
} Part;

struct Transfer {
    TransferRequest request;
    TransferFunc func;
    gpointer data;
    char *name;
    guint64 job;
    guint64 event_serial;
    gint64 started_usec;
    Part *parts;
    guint n_parts, waiting;
    gboolean capturing, staged, refused; /* refused: no store had room to stage it */
    Store *asked;                        /* ASKING: for its sums */
    guint64 asking_job;
    guint8 base[HASH_BYTES]; /* of what the ranges change */
    int content_fd, sums_fd, ranges_fd;
    TransferResult result;
};

typedef struct Held {
    Store *store;
    guint64 staged;
} Held;

static GHashTable *held; /* job -> GPtrArray of Held */

static void
give_back(Transfer *t)
{
    for (guint i = 0; i < t->n_parts; i++) {
        Part *p = &t->parts[i];
        if (!p->staged)
            continue;
        if (t->result.stuck) {
            if (!held)
                held = g_hash_table_new_full(g_int64_hash, g_int64_equal, g_free,
                                             (GDestroyNotify) g_ptr_array_unref);
            GPtrArray *list = g_hash_table_lookup(held, &t->job);
            if (!list) {
                list = g_ptr_array_new_with_free_func(g_free);
                g_hash_table_insert(held, g_memdup2(&t->job, sizeof t->job), list);
            }
            Held *h = g_new0(Held, 1);
            h->store = p->result.target->store;
            h->staged = p->staged;
            g_ptr_array_add(list, h);
        } else {
            store_tell(p->result.target->store, MESSAGE_DAEMON_UNSTAGE,
                       g_variant_new("(t)", p->staged));
        }
        p->staged = 0;
    }
}

void
transfer_copier_freed(guint64 job)
{
    GPtrArray *list = held ? g_hash_table_lookup(held, &job) : NULL;

    for (guint i = 0; list && i < list->len; i++) {
        Held *h = list->pdata[i];
        store_tell(h->store, MESSAGE_DAEMON_UNSTAGE, g_variant_new("(t)", h->staged));
    }
    if (list)
        g_hash_table_remove(held, &job);
}

void
transfer_forget_store(Store *store)
{
    GHashTableIter iter;
    gpointer list;

    if (!held)
        return;
    g_hash_table_iter_init(&iter, held);
    while (g_hash_table_iter_next(&iter, NULL, &list))
        for (guint i = ((GPtrArray *) list)->len; i-- > 0;)
            if (((Held *) ((GPtrArray *) list)->pdata[i])->store == store)
                g_ptr_array_remove_index_fast(list, i);
}

static void
transfer_free(Transfer *t)
{
    watchers_forget(t->request.watchers, t);
    if (t->asking_job)
        store_forget(t->asked, t->asking_job);
    if (t->capturing)
        copiers_cancel(t->request.copiers, t->job);
    give_back(t);
    for (guint i = 0; i < t->n_parts; i++) {
        Part *p = &t->parts[i];
        if (p->request)
            store_forget(p->result.target->store, p->request);
        fd_clear(p->staged_fd);
        g_free(p->result.error);
    }
    fd_clear(t->content_fd);
    fd_clear(t->sums_fd);
    fd_clear(t->ranges_fd);
    g_clear_pointer(&t->result.attributes, g_bytes_unref);
    g_free(t->result.writer);
    g_free(t->result.error);
    g_free(t->result.targets);
    g_free(t->parts);
    g_free(t->name);
    g_free(t);
}

static void
finish(Transfer *t)
{
    TransferResult *r = &t->result;

    r->duration_usec = g_get_monotonic_time() - t->started_usec;
    r->n_targets = t->n_parts;
    r->targets = g_new0(TransferTarget, t->n_parts);
    for (guint i = 0; i < t->n_parts; i++)
        r->targets[i] = t->parts[i].result;
    t->func(r, t->data);
    transfer_free(t);
}

static void
fail(Transfer *t, const char *message, int errnum)
{
    t->result.outcome = CAPTURE_FAILED;
    g_free(t->result.error);
    t->result.error = g_strdup(message);
    t->result.errnum = errnum;
    finish(t);
}

static void
on_durable(G_GNUC_UNUSED Store *store, Message *m, const GError *failure, gpointer data)
{
    Part *p = data;
    Transfer *t = p->transfer;
    g_autoptr(GError) error = failure ? g_error_copy(failure) : NULL;

    p->request = 0;
    if (m) {
        g_autoptr(GVariant) outcome = NULL;
        g_variant_get(m->body, "(t@" MESSAGE_ERROR_TYPE "txxu)", NULL, &outcome,
                      &p->result.sequence, &p->result.stamp_usec, &p->result.time_usec,
                      &p->result.suspicion);
        p->result.durable = message_error_check(outcome, &p->result.errnum, &error);
    }
    if (p->result.durable && p->kind == APPEND_STAGED)
        p->staged = 0; /* it belongs to the store's journal now */
    p->result.damaged = g_error_matches(error, FILEDUP_ERROR, FILEDUP_ERROR_DAMAGED);
    if (error)
        p->result.error = g_strdup(error->message);
    if (--t->waiting == 0)
        finish(t);
}

static AppendKind
append_kind(const Transfer *t, const Target *target)
{
    if (t->request.deletion)
        return APPEND_DELETE;
    if (t->request.cause != CAUSE_BEFORE_RESTORE && !target->send_whole &&
        target->state == STORED_CURRENT && target->has_hash &&
        memcmp(target->hash, t->result.hash, HASH_BYTES) == 0)
        return APPEND_ATTRIBUTES;
    return t->result.outcome == CAPTURE_RANGES ? APPEND_RANGES
           : t->staged                         ? APPEND_STAGED
                                               : APPEND_CONTENT;
}

/* What goes with an append of that kind, and how many descriptors that must be. */
static guint
append_fds(const Transfer *t, AppendKind kind, int fds[3])
{
    guint n = kind == APPEND_RANGES ? 3 : kind == APPEND_CONTENT ? 2 : kind == APPEND_STAGED;

    fds[0] = t->sums_fd;
    fds[1] = t->content_fd;
    fds[2] = t->ranges_fd;
    return n;
}

static GVariant *
bytes_to_variant(const void *data, gsize n)
{
    return g_variant_new_fixed_array(G_VARIANT_TYPE_BYTE, n ? data : NULL, n, 1);
}

static GVariant *
attributes_to_variant(GBytes *attributes)
{
    gsize n = 0;
    const void *data = attributes ? g_bytes_get_data(attributes, &n) : NULL;

    return bytes_to_variant(data, n);
}

static void
append(Transfer *t)
{
    t->result.appended = TRUE;
    t->waiting = 1; /* held until all are sent: an answer may come at once */
    for (guint i = 0; i < t->n_parts; i++) {
        Part *p = &t->parts[i];
        AppendKind kind = p->kind = append_kind(t, p->result.target);
        int fds[3];
        guint n_fds = append_fds(t, kind, fds);
        gboolean complete = TRUE;
        for (guint k = 0; k < n_fds; k++)
            complete = complete && fds[k] >= 0;
        if (kind == APPEND_STAGED && !p->staged)
            continue; /* it could not stage: its error says why */
        if (!complete) {
            p->result.error = g_strdup("the copier sent no content");
            continue;
        }
        g_clear_pointer(&p->result.error, g_free);
        p->request = store_next_job();
        t->waiting++;
        store_request(
            p->result.target->store, p->request, MESSAGE_DAEMON_APPEND,
            g_variant_new(
                "(t@ayuu@" FILESTAT_TYPE "@ay@ayuut@ay)", p->request,
                path_to_variant(t->request.entry->row->path),
                (guint32) t->request.entry->row->principal, (guint32) kind,
                filestat_to_variant(&t->result.stat), bytes_to_variant(t->result.hash, HASH_BYTES),
                attributes_to_variant(t->result.attributes), (guint32) t->result.quality,
                (guint32) t->request.cause, kind == APPEND_STAGED ? p->staged : (guint64) 0,
                bytes_to_variant(t->base, kind == APPEND_RANGES ? HASH_BYTES : 0)),
            fds, n_fds, on_durable, p);
    }
    if (--t->waiting == 0)
        finish(t);
}

static void
on_drained(gboolean drained, gpointer data)
{
    Transfer *t = data;

    /* Undrained and young: the next attempt will find it older. */
    if (!drained || t->request.entry->event_serial != t->event_serial) { /* invariant 1 */
        t->result.spoiled = TRUE;
        finish(t);
        return;
    }
    append(t);
}

static gboolean
needs_drain(const Transfer *t)
{
    gint64 read_ns = t->result.started_real_usec * 1000;

    return t->result.quality >= QUALITY_STABLE && t->request.cause != CAUSE_BEFORE_RESTORE &&
           t->result.stat.ctime_ns > read_ns - YOUNG_NS;
}

static void
parse_captured(Transfer *t, Message *m)
{
    g_autoptr(GVariant) failure = NULL, stat = NULL, hash = NULL, attributes = NULL;
    g_autoptr(GError) error = NULL;
    guint32 outcome, quality;
    const char *writer;
    gsize n;

    g_variant_get(m->body, "(tu@" MESSAGE_ERROR_TYPE "@" FILESTAT_TYPE "u@ay@ay&s)", NULL, &outcome,
                  &failure, &stat, &quality, &hash, &attributes, &writer);
    t->result.outcome = outcome <= CAPTURE_FAILED ? (CaptureOutcome) outcome : CAPTURE_FAILED;
    t->result.quality = quality <= QUALITY_EXACT ? (Quality) quality : QUALITY_FUZZY;
    filestat_from_variant(stat, &t->result.stat);
    gconstpointer bytes = g_variant_get_fixed_array(hash, &n, 1);
    if (n == HASH_BYTES)
        memcpy(t->result.hash, bytes, HASH_BYTES);
    bytes = g_variant_get_fixed_array(attributes, &n, 1);
    t->result.attributes = g_bytes_new(bytes, n);
    t->result.writer = writer[0] ? g_strdup(writer) : NULL;
    if (!message_error_check(failure, &t->result.errnum, &error)) {
        t->result.outcome =
            t->result.outcome == CAPTURE_UNSTABLE ? CAPTURE_UNSTABLE : CAPTURE_FAILED;
        t->result.error = g_strdup(error->message);
    }
    t->sums_fd = message_take_fd(m, 0);
    t->content_fd = message_take_fd(m, 1);
    t->ranges_fd = message_take_fd(m, 2);
    if (t->result.outcome == CAPTURE_RANGES && !t->request.ranges) {
        t->result.outcome = CAPTURE_FAILED;
        t->result.error = g_strdup("the copier sent ranges, and was not asked for them");
    }
}

static void
on_captured(Transfer *t, Message *m)
{
    const Target *recorded = t->request.recorded;
    gboolean better;

    t->capturing = FALSE;
    parse_captured(t, m);
    if (t->result.outcome == CAPTURE_FAILED && t->refused) {
        t->result.appended = TRUE; /* it failed for what the stores said */
        finish(t);
        return;
    }
    switch (t->result.outcome) {
    case CAPTURE_UNCHANGED:
    case CAPTURE_ATTRIBUTES:
        if (t->request.cause == CAUSE_BEFORE_RESTORE) { /* the store has this content */
            finish(t);
            return;
        }
        if (t->result.outcome == CAPTURE_ATTRIBUTES)
            break;
        better = recorded && t->result.quality > recorded->quality;
        if (!better) {
            finish(t);
            return;
        }
        break; /* a fuzzy backup turned out to be right: say so */
    case CAPTURE_CONTENT:
    case CAPTURE_RANGES:
        break;
    default:
        finish(t);
        return;
    }
    if (needs_drain(t))
        watchers_drain(t->request.watchers, t->request.entry->id, on_drained, t);
    else
        append(t);
}

static void
answer_stage(Transfer *t)
{
    int fds[MESSAGE_MAX_FDS];
    guint n = 0;

    for (guint i = 0; i < t->n_parts && n < MESSAGE_MAX_FDS; i++)
        if (t->parts[i].staged)
            fds[n++] = t->parts[i].staged_fd;
    t->staged = n > 0;
    t->refused = n == 0;
    copiers_send(t->request.copiers, t->job, MESSAGE_DAEMON_STAGED,
                 g_variant_new("(tb)", t->job, n > 0), fds, n);
    for (guint i = 0; i < t->n_parts; i++)
        fd_clear(fd_steal(&t->parts[i].staged_fd));
}

static void
on_staged(G_GNUC_UNUSED Store *store, Message *m, const GError *failure, gpointer data)
{
    Part *p = data;
    Transfer *t = p->transfer;
    g_autoptr(GError) error = failure ? g_error_copy(failure) : NULL;

    p->request = 0;
    if (m) {
        g_autoptr(GVariant) outcome = NULL;
        guint64 number;
        g_variant_get(m->body, "(t@" MESSAGE_ERROR_TYPE "t)", NULL, &outcome, &number);
        if (message_error_check(outcome, &p->result.errnum, &error)) {
            p->staged = number;
            p->staged_fd = message_take_fd(m, 0);
        }
    }
    if (error) {
        g_free(p->result.error);
        p->result.error = g_strdup(error->message);
    }
    if (--t->waiting == 0)
        answer_stage(t);
}

static void
stage(Transfer *t, guint64 size)
{
    t->waiting = 1;
    for (guint i = 0; i < t->n_parts; i++) {
        Part *p = &t->parts[i];
        if (p->asked_to_stage)
            continue;
        p->asked_to_stage = TRUE;
        p->request = store_next_job();
        t->waiting++;
        store_request(p->result.target->store, p->request, MESSAGE_DAEMON_STAGE,
                      g_variant_new("(tt)", p->request, size), NULL, 0, on_staged, p);
    }
    if (--t->waiting == 0)
        answer_stage(t);
}

static void
on_copier(G_GNUC_UNUSED guint64 job, Message *m, const GError *error, gboolean stuck, gpointer data)
{
    Transfer *t = data;

    if (!m) {
        t->capturing = FALSE;
        t->result.stuck = stuck;
        fail(t, error->message, 0);
    } else if (m->type == MESSAGE_COPIER_STAGE) {
        guint64 size;
        g_variant_get(m->body, "(tt)", NULL, &size);
        stage(t, size);
    } else if (m->type == MESSAGE_COPIER_CAPTURED) {
        on_captured(t, m);
    } else {
        t->capturing = FALSE;
        fail(t, "the copier answered something else", 0);
    }
}

static gboolean
start_deletion(gpointer data)
{
    append(data);
    return G_SOURCE_REMOVE;
}

/* sums_fd -1: whole, or nothing. */
static void
capture(Transfer *t, int sums_fd)
{
    Entry *e = t->request.entry;
    const Target *recorded = t->request.recorded;
    const Target *place = recorded ? recorded : t->request.place;
    FileStat none = {0};

    t->capturing = TRUE;
    t->request.ranges = sums_fd >= 0;
    copiers_submit(t->request.copiers, t->job, e->row->principal, e->device, e->row->timeout_sec,
                   MESSAGE_DAEMON_CAPTURE,
                   g_variant_new("(t@ay@ayu@" FILESTAT_TYPE "@ay@ay)", t->job,
                                 path_to_variant(e->folder), path_to_variant(t->name),
                                 (guint32) t->request.flags,
                                 filestat_to_variant(place ? &place->stat : &none),
                                 bytes_to_variant(recorded ? recorded->hash : NULL,
                                                  recorded && recorded->has_hash ? HASH_BYTES : 0),
                                 attributes_to_variant(recorded ? recorded->attributes : NULL)),
                   &sums_fd, sums_fd >= 0 ? 1 : 0, on_copier, t);
}

static void
on_sums(G_GNUC_UNUSED Store *store, Message *m, G_GNUC_UNUSED const GError *failure, gpointer data)
{
    Transfer *t = data;
    g_auto(Fd) fd = -1;

    t->asking_job = 0;
    t->event_serial = t->request.entry->event_serial; /* the read begins now */
    t->result.started_real_usec = g_get_real_time();
    if (m) {
        g_autoptr(GVariant) outcome = NULL, hash = NULL;
        guint64 size;
        gsize n;
        g_variant_get(m->body, "(t@" MESSAGE_ERROR_TYPE "@ayt)", NULL, &outcome, &hash, &size);
        gconstpointer bytes = g_variant_get_fixed_array(hash, &n, 1);
        if (message_error_check(outcome, NULL, NULL) && n == HASH_BYTES &&
            memcmp(bytes, t->base, HASH_BYTES) == 0 && size == t->request.recorded->stat.size_bytes)
            fd = message_take_fd(m, 0);
    }
    capture(t, fd);
}

/* The recorded content, if a capture may be relative to it. */
static gboolean
has_base(const Transfer *t)
{
    const Target *recorded = t->request.recorded;

    return t->request.ranges && recorded && recorded->has_hash;
}

Transfer *
transfer_start(const TransferRequest *request, TransferFunc func, gpointer data)
{
    Transfer *t = g_new0(Transfer, 1);
    Entry *e = request->entry;
    const Target *recorded = request->recorded;
    FileStat none = {0};

    t->request = *request;
    t->func = func;
    t->data = data;
    t->name = g_strdup(request->name);
    t->job = store_next_job();
    t->event_serial = e->event_serial;
    t->started_usec = g_get_monotonic_time();
    t->result.started_real_usec = g_get_real_time();
    t->content_fd = t->sums_fd = t->ranges_fd = -1;
    t->n_parts = request->targets->len;
    t->parts = g_new0(Part, t->n_parts);
    for (guint i = 0; i < t->n_parts; i++) {
        t->parts[i].result.target = request->targets->pdata[i];
        t->parts[i].transfer = t;
        t->parts[i].staged_fd = -1;
    }
    t->request.targets = NULL; /* the caller's array ends with its call */
    if (request->deletion) {
        t->result.outcome = CAPTURE_GONE;
        t->result.stat = recorded ? recorded->stat : none;
        g_idle_add_full(G_PRIORITY_DEFAULT, start_deletion, t, NULL);
        return t;
    }
    if (!has_base(t)) {
        capture(t, -1);
        return t;
    }
    memcpy(t->base, recorded->hash, HASH_BYTES);
    t->asked = recorded->store;
    t->asking_job = store_next_job();
    store_request(t->asked, t->asking_job, MESSAGE_DAEMON_SUMS,
                  g_variant_new("(t@ay)", t->asking_job, path_to_variant(e->row->path)), NULL, 0,
                  on_sums, t);
    return t;
}

void
transfer_cancel(Transfer *t)
{
    if (!t)
        return;
    g_source_remove_by_user_data(t); /* a deletion that has not started */
    transfer_free(t);
}

pid_t
transfer_copier(const Transfer *t)
{
    return t->capturing ? copiers_pid(t->request.copiers, t->job) : 0;
}

guint64
transfer_job(const Transfer *t)
{
    return t->job;
}
