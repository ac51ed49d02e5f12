#pragma once

/* Interpose: the calls by which a program changes files, counted, stopped, made to fail, and written
 * down. A test program that links it has them in place of the C library's, for itself and for all
 * libraries; they do something else only in a process that has called interpose_begin(). */

#include <glib.h>
#include <sys/types.h>

G_BEGIN_DECLS

typedef enum {
    INTERPOSE_COUNT,      /* nothing but counting                                   */
    INTERPOSE_KILL,       /* SIGKILL before the call                                */
    INTERPOSE_SHORT_KILL, /* a write does whole pages of it first; other calls: as KILL */
    INTERPOSE_EIO,        /* the call fails, once, and does nothing                 */
    INTERPOSE_ENOSPC,
    INTERPOSE_SHORT, /* a write does a part of it, and says so                 */
    INTERPOSE_POWER, /* the file system is shut down before the call           */
} InterposeAction;

/* Shared by a test and the process it watches. The test writes the first part. */
typedef struct Interpose {
    dev_t dev;      /* only files of this file system matter               */
    char root[256]; /* folder that names are told from                     */
    InterposeAction action;
    guint64 stop_at;     /* the action is taken at this call, counted from 1; 0: never */
    int power_fd;        /* of the folder for INTERPOSE_POWER                   */
    gboolean skip_sync;  /* nothing is synced: for tests of processes, not of power */
    guint64 total_bytes; /* what statvfs says, so that segments are small; 0: the truth */
    gboolean own_time;   /* clocks do not follow the machine's: the same in each run */
    gboolean flowing;    /* time: FALSE stands still while the process waits    */
    guint32 held;        /* a futex: while not 0 the process does not see messages */
    gint64 clock_usec;   /* its clocks are so far ahead                         */
    gint64 wall_usec;    /* CLOCK_REALTIME besides                              */

    guint64 calls;          /* that change something, by all processes so far      */
    gboolean fired;         /* the action was taken ...                            */
    char where[192];        /* ... at this call                                    */
    guint64 begun;          /* processes                                           */
    guint64 received, sent; /* messages, of the process that runs                  */
    gboolean idle;          /* it waits, with all timers run out if time flows ... */
    guint64 idle_received;  /* ... after so many messages                          */
    gboolean idle_flowing;
    gboolean announced; /* the next system call has been seen                  */
    guint32 idle_count; /* a futex: goes up with each wait                     */

    gboolean logging;  /* write down what is done (oplog.h)                   */
    guint64 log_bytes; /* so much is in the log                               */
    guint64 log_limit;
    guint32 lock;
    guint8 *log; /* a mapping of its own                                */
} Interpose;

/* In shared memory, inherited by fork. log_limit 0: no log. */
Interpose *interpose_new(const char *root, guint64 log_limit);
void interpose_free(Interpose *i);

/* In the child: from now on its calls count. */
void interpose_begin(Interpose *i);

/* Shuts the file system of a folder down, as a power cut: ext4 and xfs, for root. */
gboolean interpose_power_off(int folder_fd);

/* Where the log stands. */
guint64 interpose_position(Interpose *i);

/* What the test itself has written to a file that the process knows (a staged one). */
void interpose_note_write(Interpose *i, int fd, guint64 offset, const void *bytes, gsize n);

/* What is sent from now on is seen together, when it is released. The process must be idle. */
void interpose_hold(Interpose *i);
void interpose_release(Interpose *i);

/* Waits until the process has taken `sent` messages and waits for more. FALSE: it has ended, or
 * does not come to rest within 60 s. */
gboolean interpose_wait_idle(Interpose *i, pid_t pid, guint64 sent);

G_END_DECLS
