#pragma once

/* Link: the parent's end of one role process: its start, its messages, its end, and its back-off. */

#include <glib.h>

#include "base/role.h"

G_BEGIN_DECLS

typedef struct Link Link;

/* Message NULL: the process has ended (status as of waitpid; `error` text for the log), and will be
 * started again after the back-off if the link was made with `restart`. */
typedef void (*LinkFunc)(Link *link, Message *m, gpointer data);

/* The strings of `args` are borrowed for the link's life. */
Link *link_new(const RoleArgs *args, gboolean restart, LinkFunc func, gpointer data);
void  link_start(Link *link); /* now, if it does not run; forgets the back-off */

/* Asks it to stop (link_stop) or kills it (link_kill); func hears of the end. */
void link_stop(Link *link);
void link_kill(Link *link);

/* Frees at once: the process is killed if it still runs, and reaped in the background. */
void link_free(Link *link);

gboolean link_is_running(const Link *link);
pid_t    link_pid(const Link *link); /* 0 if it does not run */
gboolean link_send(Link *link, MessageType type, GVariant *body, const int *fds, guint n_fds);

/* A role that has served well: the next failure starts again with the shortest delay. */
void link_proved(Link *link);

/* All children of all links that have not ended yet, also of freed links. */
guint link_count_alive(void);

G_END_DECLS
