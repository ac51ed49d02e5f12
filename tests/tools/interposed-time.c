/* interposed-time.c - messages, time and space, in the place of the C library's
 *
 * See interpose.c, TIME.
 */

#include "config.h"

#include <linux/futex.h>
#include <poll.h>
#include <sys/socket.h>
#include <sys/statvfs.h>
#include <sys/syscall.h>
#include <sys/time.h>
#include <time.h>
#include <unistd.h>

#include "tests/tools/interpose-inside.h"

#define OWN_TIME_SEC  1800000000 /* when its own time begins */
#define WARP_MAX_MSEC 10000      /* timers further away than this are left alone */

/* ---- messages ---- */

ssize_t
sendmsg(int fd, const struct msghdr *message, int flags)
{
    if (!interpose_now)
        return REAL(sendmsg)(fd, message, flags);
    interpose_lock();
    guint64 before = interpose_now->log_bytes;
    interpose_note(
        &(Op){.kind = OP_SENT, .dir = interpose_now->begun, .offset = interpose_now->sent + 1},
        NULL, NULL, NULL, 0, 0);
    ssize_t n = REAL(sendmsg)(fd, message, flags);
    if (n >= 0)
        interpose_now->sent++;
    else
        interpose_now->log_bytes = before;
    interpose_unlock();
    return n;
}

ssize_t
recvmsg(int fd, struct msghdr *message, int flags)
{
    ssize_t n = REAL(recvmsg)(fd, message, flags);

    if (interpose_now && n > 0)
        interpose_now->received++;
    return n;
}

/* ---- time and space ---- */

static void
add_usec(struct timespec *t, gint64 usec)
{
    t->tv_sec += usec / G_USEC_PER_SEC;
    t->tv_nsec += usec % G_USEC_PER_SEC * 1000;
    if (t->tv_nsec >= 1000000000) {
        t->tv_nsec -= 1000000000;
        t->tv_sec++;
    }
}

int
clock_gettime(clockid_t id, struct timespec *ret_time)
{
    int result = (int) syscall(SYS_clock_gettime, id, ret_time);

    if (!interpose_now || result < 0 ||
        (id != CLOCK_REALTIME && id != CLOCK_MONOTONIC && id != CLOCK_BOOTTIME))
        return result;
    if (interpose_now->own_time) /* each look takes a microsecond */
        *ret_time = (struct timespec){.tv_sec = id == CLOCK_REALTIME ? OWN_TIME_SEC : 1000};
    gint64 ahead = __atomic_add_fetch(&interpose_now->clock_usec, interpose_now->own_time ? 1 : 0,
                                      __ATOMIC_SEQ_CST);
    add_usec(ret_time, ahead + (id == CLOCK_REALTIME ? interpose_now->wall_usec : 0));
    return result;
}

/* GLib's g_get_real_time. */
int
gettimeofday(struct timeval *restrict ret_time, void *restrict zone)
{
    struct timespec t;

    (void) zone;
    (void) clock_gettime(CLOCK_REALTIME, &t);
    *ret_time = (struct timeval){.tv_sec = t.tv_sec, .tv_usec = t.tv_nsec / 1000};
    return 0;
}

time_t
time(time_t *ret_time)
{
    struct timespec t;

    (void) clock_gettime(CLOCK_REALTIME, &t);
    if (ret_time)
        *ret_time = t.tv_sec;
    return t.tv_sec;
}

int
nanosleep(const struct timespec *wanted, struct timespec *ret_left)
{
    if (!interpose_now || !interpose_now->own_time)
        return REAL(nanosleep)(wanted, ret_left);
    (void) __atomic_add_fetch(&interpose_now->clock_usec,
                              wanted->tv_sec * G_USEC_PER_SEC + wanted->tv_nsec / 1000,
                              __ATOMIC_SEQ_CST);
    return 0;
}

static void
wait_while_held(void)
{
    while (__atomic_load_n(&interpose_now->held, __ATOMIC_SEQ_CST))
        (void) interpose_futex(&interpose_now->held, FUTEX_WAIT, 1);
}

int
poll(struct pollfd *fds, nfds_t n, int timeout_msec)
{
    if (!interpose_now || timeout_msec == 0)
        return REAL(poll)(fds, n, timeout_msec);
    wait_while_held();
    int found = REAL(poll)(fds, n, 0);
    if (found != 0)
        return found;
    gboolean flowing = __atomic_load_n(&interpose_now->flowing, __ATOMIC_SEQ_CST);
    if (flowing && timeout_msec > 0 && timeout_msec <= WARP_MAX_MSEC) {
        (void) __atomic_add_fetch(&interpose_now->clock_usec, (gint64) timeout_msec * 1000,
                                  __ATOMIC_SEQ_CST);
        return 0;
    }
    interpose_now->idle_received = interpose_now->received;
    interpose_now->idle_flowing = flowing;
    __atomic_store_n(&interpose_now->idle, TRUE, __ATOMIC_SEQ_CST);
    (void) __atomic_add_fetch(&interpose_now->idle_count, 1, __ATOMIC_SEQ_CST);
    (void) interpose_futex(&interpose_now->idle_count, FUTEX_WAKE, G_MAXINT);
    found = REAL(poll)(fds, n, -1);
    wait_while_held();
    __atomic_store_n(&interpose_now->idle, FALSE, __ATOMIC_SEQ_CST);
    return found;
}

static void
make_small(struct statvfs *fs)
{
    if (!interpose_now || interpose_now->total_bytes == 0)
        return;
    guint64 unit = MAX(fs->f_frsize, 1);
    fs->f_blocks = interpose_now->total_bytes / unit;
    fs->f_bavail = fs->f_bfree = interpose_now->total_bytes * 9 / 10 / unit;
}

int
fstatvfs(int fd, struct statvfs *ret_fs)
{
    int result = REAL(fstatvfs)(fd, ret_fs);

    if (result == 0)
        make_small(ret_fs);
    return result;
}
