/* copiers.c - who copies what, and for how long (H10, H11)
 *
 * A copier has one job at a time and serves one principal for its life. A pool is a principal and a
 * source device, so that one sick disk or one user delays only itself; jobs whose device is not known
 * yet (0) have a pool of their own.
 *
 * STATES of a copier  IDLE -> BUSY (job sent) -> IDLE (its last message)
 *                     BUSY -> KILLED (no progress, cancelled) -> gone (reaped)
 *                     KILLED -> STUCK (not reaped within KILL_PATIENCE_SEC) -> gone
 * A STUCK copier does not count against its pool's size, at most STUCK_MAX of them: after that the
 * pool waits.
 */

#include "config.h"

#include <fcntl.h>
#include <string.h>
#include <unistd.h>

#include "base/error.h"
#include "daemon/copiers.h"
#include "daemon/link.h"

#define KILL_PATIENCE_SEC      5
#define IDLE_SEC               30
#define STUCK_MAX              4
#define UNKNOWN_DEVICE_COPIERS 4

typedef struct Pool Pool;

typedef struct Job {
    guint64 number;
    guint timeout_sec;
    MessageType type;
    GVariant *body;
    int fds[MESSAGE_MAX_FDS];
    guint n_fds;
    CopierFunc func; /* NULL: cancelled */
    gpointer data;
} Job;

typedef enum { COPIER_IDLE, COPIER_BUSY, COPIER_KILLED, COPIER_STUCK } CopierState;

typedef struct Copier {
    Pool *pool;
    Link *link;
    CopierState state;
    Job *job;
    guint timer; /* IDLE: end of idleness; BUSY: the time monitor; KILLED: patience */
} Copier;

struct Pool {
    Copiers *all;
    uid_t principal;
    guint64 device;
    GQueue waiting; /* of Job */
    GList *copiers;
    guint retry_source;
};

struct Copiers {
    gboolean system;
    guint per_device;
    CopierFreedFunc freed;
    gpointer data;
    GList *pools;
    guint stuck;
};

static void pool_run(Pool *pool);

static void
job_free(Job *job)
{
    if (!job)
        return;
    for (guint i = 0; i < job->n_fds; i++)
        close(job->fds[i]);
    if (job->body)
        g_variant_unref(job->body);
    g_free(job);
}

static void
copier_free(Copier *copier)
{
    g_clear_handle_id(&copier->timer, g_source_remove);
    copier->pool->copiers = g_list_remove(copier->pool->copiers, copier);
    link_free(copier->link);
    job_free(copier->job);
    g_free(copier);
}

static void
end_job(Copier *copier, const GError *error, gboolean stuck)
{
    Job *job = copier->job;
    CopierFunc func = job->func;

    job->func = NULL;
    if (func)
        func(job->number, NULL, error, stuck, job->data);
}

static gboolean
on_impatient(gpointer data)
{
    Copier *copier = data;
    g_autoptr(GError) error = NULL;

    copier->timer = 0;
    copier->state = COPIER_STUCK;
    copier->pool->all->stuck++;
    g_warning("copier %d does not die: the disk under its file hangs; it is abandoned, another "
              "takes its place",
              (int) link_pid(copier->link));
    throw_error(&error, FILEDUP_ERROR_AGAIN,
                "no progress within %u s, and copier %d does not die: its disk hangs",
                copier->job->timeout_sec, (int) link_pid(copier->link));
    Pool *pool = copier->pool;
    end_job(copier, error, TRUE);
    pool_run(pool);
    return G_SOURCE_REMOVE;
}

static void
kill_copier(Copier *copier)
{
    g_clear_handle_id(&copier->timer, g_source_remove);
    copier->state = COPIER_KILLED;
    link_kill(copier->link);
    copier->timer = g_timeout_add_seconds(KILL_PATIENCE_SEC, on_impatient, copier);
}

static gboolean
on_no_progress(gpointer data)
{
    Copier *copier = data;

    copier->timer = 0;
    g_message("copier %d made no progress within %u s and is stopped", (int) link_pid(copier->link),
              copier->job->timeout_sec);
    kill_copier(copier);
    return G_SOURCE_REMOVE;
}

static void
watch_time(Copier *copier)
{
    g_clear_handle_id(&copier->timer, g_source_remove);
    copier->timer = g_timeout_add_seconds(copier->job->timeout_sec, on_no_progress, copier);
}

static gboolean
on_idle_end(gpointer data)
{
    Copier *copier = data;

    copier->timer = 0;
    copier_free(copier);
    return G_SOURCE_REMOVE;
}

static void
become_idle(Copier *copier)
{
    g_clear_handle_id(&copier->timer, g_source_remove);
    g_clear_pointer(&copier->job, job_free);
    copier->state = COPIER_IDLE;
    copier->timer = g_timeout_add_seconds(IDLE_SEC, on_idle_end, copier);
    link_proved(copier->link);
}

static gboolean
is_last(MessageType type)
{
    return type == MESSAGE_COPIER_INSPECTED || type == MESSAGE_COPIER_CAPTURED ||
           type == MESSAGE_COPIER_RESTORED || type == MESSAGE_COPIER_DISCARDED;
}

/* Who asked takes the answer apart, and must not be given another one's. */
static gboolean
suits(MessageType answer, MessageType asked)
{
    switch (answer) {
    case MESSAGE_COPIER_INSPECTED:
        return asked == MESSAGE_DAEMON_INSPECT;
    case MESSAGE_COPIER_STAGE:
    case MESSAGE_COPIER_CAPTURED:
        return asked == MESSAGE_DAEMON_CAPTURE;
    case MESSAGE_COPIER_RESTORED:
        return asked == MESSAGE_DAEMON_RESTORE;
    case MESSAGE_COPIER_DISCARDED:
        return asked == MESSAGE_DAEMON_DISCARD;
    default:
        return answer == MESSAGE_COPIER_PROGRESS;
    }
}

static void
on_copier_end(Copier *copier)
{
    Pool *pool = copier->pool;
    gboolean by_monitor = copier->state == COPIER_KILLED;
    g_autoptr(GError) error = NULL;

    g_clear_handle_id(&copier->timer, g_source_remove);
    if (copier->state == COPIER_STUCK) {
        pool->all->stuck--;
        pool->all->freed(copier->job->number, pool->all->data);
    } else if (copier->job) {
        if (by_monitor)
            throw_error(&error, FILEDUP_ERROR_AGAIN,
                        "no progress within %u s: the copier was stopped",
                        copier->job->timeout_sec);
        else
            throw_error(&error, FILEDUP_ERROR_AGAIN, "the copier ended unexpectedly");
        end_job(copier, error, FALSE);
    }
    copier_free(copier);
    pool_run(pool);
}

static void
on_link(G_GNUC_UNUSED Link *link, Message *m, gpointer data)
{
    Copier *copier = data;
    guint64 number;

    if (!m) {
        on_copier_end(copier);
        return;
    }
    if (m->type == MESSAGE_ROLE_READY)
        return;
    if (copier->state != COPIER_BUSY || !(is_last(m->type) || m->type == MESSAGE_COPIER_PROGRESS ||
                                          m->type == MESSAGE_COPIER_STAGE))
        return; /* what a killed one had still to say */
    g_variant_get_child(m->body, 0, "t", &number);
    if (number != copier->job->number || !suits(m->type, copier->job->type)) {
        g_warning("copier %d answers a job that it does not have", (int) link_pid(copier->link));
        kill_copier(copier);
        return;
    }
    watch_time(copier);
    if (m->type == MESSAGE_COPIER_PROGRESS)
        return;
    if (!is_last(m->type)) {
        g_clear_handle_id(&copier->timer, g_source_remove); /* until copiers_send(): it waits */
        if (copier->job->func)
            copier->job->func(number, m, NULL, FALSE, copier->job->data);
        return;
    }
    Job *job = g_steal_pointer(&copier->job);
    Pool *pool = copier->pool;
    become_idle(copier);
    if (job->func)
        job->func(number, m, NULL, FALSE, job->data);
    job_free(job);
    pool_run(pool);
}

static Copier *
copier_new(Pool *pool)
{
    Copier *copier = g_new0(Copier, 1);
    RoleArgs args = {
        .kind = ROLE_COPIER, .principal = pool->principal, .system = pool->all->system};

    copier->pool = pool;
    copier->link = link_new(&args, FALSE, on_link, copier);
    pool->copiers = g_list_prepend(pool->copiers, copier);
    link_start(copier->link);
    return copier;
}

/* An idle copier, or a new one if the pool has room. */
static Copier *
pick(Pool *pool)
{
    guint living = 0, stuck = 0;
    guint limit = pool->device ? pool->all->per_device : UNKNOWN_DEVICE_COPIERS;

    for (GList *l = pool->copiers; l; l = l->next) {
        Copier *copier = l->data;
        if (copier->state == COPIER_IDLE && link_is_running(copier->link))
            return copier;
        if (copier->state == COPIER_STUCK)
            stuck++;
        else
            living++;
    }
    return living < limit && stuck < STUCK_MAX ? copier_new(pool) : NULL;
}

static gboolean
on_retry(gpointer data)
{
    ((Pool *) data)->retry_source = 0;
    pool_run(data);
    return G_SOURCE_REMOVE;
}

static void
pool_run(Pool *pool)
{
    while (!g_queue_is_empty(&pool->waiting)) {
        Copier *copier = pick(pool);
        if (!copier)
            return;
        if (!link_is_running(copier->link)) { /* it could not be started: no process to be had */
            copier_free(copier);
            if (!pool->retry_source)
                pool->retry_source = g_timeout_add_seconds(1, on_retry, pool);
            return;
        }
        copier->job = g_queue_pop_head(&pool->waiting);
        copier->state = COPIER_BUSY;
        watch_time(copier);
        (void) link_send(copier->link, copier->job->type, copier->job->body, copier->job->fds,
                         copier->job->n_fds);
    }
}

static Pool *
find_pool(Copiers *c, uid_t principal, guint64 device)
{
    for (GList *l = c->pools; l; l = l->next) {
        Pool *pool = l->data;
        if (pool->principal == principal && pool->device == device)
            return pool;
    }
    Pool *pool = g_new0(Pool, 1);
    pool->all = c;
    pool->principal = principal;
    pool->device = device;
    g_queue_init(&pool->waiting);
    c->pools = g_list_prepend(c->pools, pool);
    return pool;
}

Copiers *
copiers_new(gboolean system, guint per_device, CopierFreedFunc freed, gpointer data)
{
    Copiers *c = g_new0(Copiers, 1);

    c->system = system;
    c->per_device = per_device;
    c->freed = freed;
    c->data = data;
    return c;
}

static void
pool_free(Pool *pool)
{
    g_clear_handle_id(&pool->retry_source, g_source_remove);
    while (pool->copiers)
        copier_free(pool->copiers->data);
    g_queue_clear_full(&pool->waiting, (GDestroyNotify) job_free);
    g_free(pool);
}

void
copiers_free(Copiers *c)
{
    if (!c)
        return;
    g_list_free_full(c->pools, (GDestroyNotify) pool_free);
    g_free(c);
}

void
copiers_submit(Copiers *c, guint64 number, uid_t principal, guint64 device, guint timeout_sec,
               MessageType type, GVariant *body, const int *fds, guint n_fds, CopierFunc func,
               gpointer data)
{
    Job *job = g_new0(Job, 1);
    Pool *pool = find_pool(c, principal, device);

    job->number = number;
    job->timeout_sec = timeout_sec;
    job->type = type;
    job->body = g_variant_ref_sink(body);
    for (guint i = 0; i < n_fds; i++)
        job->fds[job->n_fds++] = fcntl(fds[i], F_DUPFD_CLOEXEC, 0);
    job->func = func;
    job->data = data;
    g_queue_push_tail(&pool->waiting, job);
    pool_run(pool);
}

static Copier *
find_copier(Copiers *c, guint64 number)
{
    for (GList *l = c->pools; l; l = l->next)
        for (GList *k = ((Pool *) l->data)->copiers; k; k = k->next) {
            Copier *copier = k->data;
            if (copier->job && copier->job->number == number)
                return copier;
        }
    return NULL;
}

void
copiers_send(Copiers *c, guint64 job, MessageType type, GVariant *body, const int *fds, guint n_fds)
{
    g_autoptr(GVariant) sunk = g_variant_ref_sink(body);
    Copier *copier = find_copier(c, job);

    if (copier && copier->state == COPIER_BUSY) {
        watch_time(copier); /* what it waited for was not its own delay */
        (void) link_send(copier->link, type, sunk, fds, n_fds);
    }
}

void
copiers_cancel(Copiers *c, guint64 number)
{
    for (GList *l = c->pools; l; l = l->next) {
        Pool *pool = l->data;
        for (GList *k = pool->waiting.head; k; k = k->next)
            if (((Job *) k->data)->number == number) {
                job_free(k->data);
                g_queue_delete_link(&pool->waiting, k);
                return;
            }
    }
    Copier *copier = find_copier(c, number);
    if (!copier)
        return;
    copier->job->func = NULL;
    if (copier->state == COPIER_BUSY)
        kill_copier(copier);
}

pid_t
copiers_pid(Copiers *c, guint64 job)
{
    Copier *copier = find_copier(c, job);

    return copier ? link_pid(copier->link) : 0;
}

guint
copiers_count_stuck(const Copiers *c)
{
    return c->stuck;
}
