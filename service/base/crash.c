/* crash.c - stopping a role at a named step, for tests */

#include "config.h"

#include "base/crash.h"

#ifdef CRASH_POINTS

#include <fcntl.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

void
crash_point(const char *name)
{
    static guint64 seen;
    const char *wanted = getenv("FILEDUP_CRASH");
    const char *once = getenv("FILEDUP_CRASH_ONCE");
    gsize n = strlen(name);

    if (!wanted || strncmp(wanted, name, n) != 0 || (wanted[n] != '\0' && wanted[n] != ':'))
        return;
    guint64 nth = wanted[n] == ':' ? g_ascii_strtoull(wanted + n + 1, NULL, 10) : 1;
    if (++seen != nth)
        return;
    if (once && open(once, O_CREAT | O_EXCL | O_WRONLY | O_CLOEXEC, 0600) < 0)
        return;
    (void) kill(getpid(), SIGKILL);
}

#else

typedef int crash_points_left_out;

#endif
