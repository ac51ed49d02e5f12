#pragma once

/* Copiers: a pool of copier processes per principal and source device, with the time monitor. */

#include <glib.h>
#include <sys/types.h>

#include "base/message.h"

G_BEGIN_DECLS

typedef struct Copiers Copiers;

/* Messages of the job as they come; the one that ends it (COPIER_INSPECTED, _CAPTURED, _RESTORED,
 * _DISCARDED) is the last. NULL with an error: it ended without one: the copier died, or made no
 * progress and was killed (AGAIN). `stuck`: it does not die; its descriptors may still be written
 * through until `free_func` is called for the job. */
typedef void (*CopierFunc)(guint64 job, Message *m, const GError *error, gboolean stuck,
                           gpointer data);
/* The copier of a stuck job is dead at last. */
typedef void (*CopierFreedFunc)(guint64 job, gpointer data);

Copiers *copiers_new(gboolean system, guint per_device, CopierFreedFunc freed, gpointer data);
void     copiers_free(Copiers *c); /* kills; calls no job back */

/* Queues the request. Killed when timeout_sec pass without progress, counted from its start. */
void copiers_submit(Copiers *c, guint64 job, uid_t principal, guint64 device, guint timeout_sec,
                    MessageType type, GVariant *body, const int *fds, guint n_fds, CopierFunc func,
                    gpointer data);
/* A further message to the copier that has the job. */
void copiers_send(Copiers *c, guint64 job, MessageType type, GVariant *body, const int *fds,
                  guint n_fds);
/* Not wanted any more: `func` is not called; a running copier is killed. */
void copiers_cancel(Copiers *c, guint64 job);

pid_t copiers_pid(Copiers *c, guint64 job); /* 0: it waits, or is over */
guint copiers_count_stuck(const Copiers *c);

G_END_DECLS
