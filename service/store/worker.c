/* worker.c - the thread of a keeper that does what takes long
 *
 * A keeper is one loop: what it acknowledges depends on nobody. What takes as long as reading a large
 * file takes (putting a content together, checking one) is a task for this thread, which has its own
 * descriptors and touches neither catalog nor journal.
 *
 * QUEUES  waiting -> running (the thread takes it) -> ended (the loop is woken by an eventfd)
 *         -> freed, or waiting again: a long task is cut into slices, so that others come in between.
 */

#include "config.h"

#include <errno.h>
#include <poll.h>
#include <sys/eventfd.h>

#include "base/fd.h"
#include "store/worker.h"

struct Worker {
    GThread *thread; /* NULL before the first task */
    GAsyncQueue *waiting;
    GAsyncQueue *ended;
    Fd event;
    GPtrArray *tasks; /* all, of the loop; borrowed by the queues */
    guint64 told;
};

static Task stop_task; /* ends the thread */

static gpointer
work(gpointer data)
{
    Worker *w = data;
    const guint64 one = 1;

    for (;;) {
        Task *t = g_async_queue_pop(w->waiting);
        if (t == &stop_task)
            return NULL;
        t->run(t);
        g_async_queue_push(w->ended, t);
        while (write(w->event, &one, sizeof one) < 0 && errno == EINTR)
            ;
    }
}

Worker *
worker_new(void)
{
    Worker *w = g_new0(Worker, 1);

    w->waiting = g_async_queue_new();
    w->ended = g_async_queue_new();
    w->tasks = g_ptr_array_new();
    w->event = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    g_assert(w->event >= 0);
    return w;
}

gboolean
worker_stop(Worker *w, gint64 timeout_usec)
{
    gint64 end = g_get_monotonic_time() + timeout_usec;

    for (guint i = 0; i < w->tasks->len; i++)
        g_atomic_int_set(&((Task *) w->tasks->pdata[i])->cancelled, 1);
    if (!w->thread)
        return TRUE;
    while (g_async_queue_length(w->ended) < (gint) w->tasks->len) {
        gint64 left = end - g_get_monotonic_time();
        struct pollfd p = {.fd = w->event, .events = POLLIN};
        guint64 count;
        if (left <= 0)
            return FALSE;
        if (poll(&p, 1, (int) (left / 1000) + 1) > 0)
            (void) !read(w->event, &count, sizeof count);
    }
    g_async_queue_push(w->waiting, &stop_task);
    g_thread_join(g_steal_pointer(&w->thread));
    return TRUE;
}

void
worker_free(Worker *w)
{
    if (!w)
        return;
    g_assert(!w->thread);
    for (guint i = 0; i < w->tasks->len; i++) {
        Task *t = w->tasks->pdata[i];
        t->free(t);
    }
    g_ptr_array_unref(w->tasks);
    g_async_queue_unref(w->waiting);
    g_async_queue_unref(w->ended);
    fd_clear(w->event);
    g_free(w);
}

int
worker_fd(const Worker *w)
{
    return w->event;
}

void
worker_push(Worker *w, Task *t)
{
    if (!w->thread)
        w->thread = g_thread_new("reading", work, w);
    g_ptr_array_add(w->tasks, t);
    g_async_queue_push(w->waiting, t);
}

void
worker_finish(Worker *w, gpointer data)
{
    guint64 count;
    Task *t;

    (void) !read(w->event, &count, sizeof count);
    for (gint n = g_async_queue_length(w->ended); n > 0 && (t = g_async_queue_try_pop(w->ended));
         n--) {
        g_ptr_array_remove(w->tasks, t);
        w->told = 0; /* something has come further */
        if (t->done(t, data))
            worker_push(w, t);
        else
            t->free(t);
    }
}

void
worker_cancel(Worker *w, guint64 job)
{
    for (guint i = 0; i < w->tasks->len; i++) {
        Task *t = w->tasks->pdata[i];
        if (t->job == job)
            g_atomic_int_set(&t->cancelled, 1);
    }
}

guint
worker_count(const Worker *w)
{
    return w->tasks->len;
}

void
worker_tell(Worker *w, void (*tell)(const Task *t, gpointer data), gpointer data)
{
    guint64 sum = 1;

    for (guint i = 0; i < w->tasks->len; i++)
        sum += __atomic_load_n(&((Task *) w->tasks->pdata[i])->bytes, __ATOMIC_RELAXED);
    if (sum == w->told)
        return;
    w->told = sum;
    for (guint i = 0; i < w->tasks->len; i++)
        tell(w->tasks->pdata[i], data);
}

gboolean
task_progress(Task *t, guint64 bytes)
{
    __atomic_add_fetch(&t->bytes, bytes, __ATOMIC_RELAXED);
    return !g_atomic_int_get(&t->cancelled);
}
