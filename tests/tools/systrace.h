#pragma once

/* SysTrace: the system calls of a process seen from outside, to know that the interposer sees all
 * that change a file. */

#include <glib.h>

#include "tests/tools/interpose.h"

typedef struct SysTrace {
    guint64 seen;      /* system calls that may change a file */
    guint64 missed;    /* of them, did not pass the interposer */
    char what[8][160]; /* the first few of those               */
} SysTrace;

SysTrace *systrace_new(void); /* in shared memory */
void systrace_free(SysTrace *t);

/* In a child: goes on in a child of its own, which is traced; the process that called waits for it
 * and ends as it does, without returning. Where tracing is refused, `seen` stays 0. */
void systrace_begin(SysTrace *t, Interpose *ip);
