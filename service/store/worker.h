#pragma once

/* Worker: the thread of a keeper that does what takes long, one task after another. */

#include <glib.h>

G_BEGIN_DECLS

typedef struct Worker Worker;
typedef struct Task Task;

/* Embedded at the start of what a task needs. `run` is called in the thread, and touches nothing that
 * the keeper's loop touches; `done` in the loop, and what it returns NULL for is freed with `free`. */
struct Task {
    void (*run)(Task *t);
    gboolean (*done)(Task *t, gpointer data); /* TRUE: it goes on, at the end of the queue */
    void (*free)(Task *t);
    guint64 job;
    gint    cancelled; /* atomic */
    guint64 bytes;     /* atomic (task_progress) */
};

Worker *worker_new(void);
/* Cancels all, and waits so long for the one that runs. FALSE: it does not end (a disk hangs): then
 * nothing that it uses may be freed. */
gboolean worker_stop(Worker *w, gint64 timeout_usec);
void     worker_free(Worker *w); /* after worker_stop has returned TRUE */

/* Readable when a task has ended. */
int worker_fd(const Worker *w);

void worker_push(Worker *w, Task *t); /* takes it */

/* In the loop: calls `done` of all that have ended. */
void worker_finish(Worker *w, gpointer data);

/* The task is told; `done` is called as ever. */
void worker_cancel(Worker *w, guint64 job);

guint worker_count(const Worker *w); /* tasks that have not ended */

/* Calls back for each task, if the one that runs has come further since the last time. */
void worker_tell(Worker *w, void (*tell)(const Task *t, gpointer data), gpointer data);

/* In the thread: so many bytes more. FALSE: it is cancelled. */
gboolean task_progress(Task *t, guint64 bytes);

G_END_DECLS
