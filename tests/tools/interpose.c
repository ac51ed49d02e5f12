/* interpose.c - the calls by which a program changes files
 *
 * A function of the program has precedence over the C library's of the same name, for the program
 * itself and for the libraries it uses (SQLite, GLib): all go through the PLT. What does not (stdio
 * inside the C library) would be missed: a test that counts system calls from outside (crash.c) says
 * whether there is any.
 *
 * COUNTING    A call counts if it is about to change a file of the watched file system. Messages,
 *             memory files and standard error are not of it.
 * TIME        is the test's, so that nothing waits and nothing depends on the machine: clocks run
 *             on, and are `clock_usec` ahead. A poll with a time limit returns at once when time
 *             flows and nothing is there, and the clocks are put forward; else it waits without
 *             limit, which is the sign that the process is idle.
 * LOG         Call and entry are one step under a lock, so the order in the log is the order in the
 *             file system. A message is noted before it is sent: what it acknowledges was done
 *             before.
 */

#include "config.h"

#include <dlfcn.h>
#include <errno.h>
#include <linux/futex.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "tests/tools/interpose-inside.h"

Interpose *interpose_now;

/* ---- the test's side ---- */

Interpose *
interpose_new(const char *root, guint64 log_limit)
{
    Interpose *i = mmap(NULL, sizeof *i, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    struct stat st;

    g_assert(i != MAP_FAILED);
    g_strlcpy(i->root, root, sizeof i->root);
    if (stat(root, &st) == 0)
        i->dev = st.st_dev;
    if (log_limit > 0) {
        i->log = mmap(NULL, log_limit, PROT_READ | PROT_WRITE,
                      MAP_SHARED | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
        g_assert(i->log != MAP_FAILED);
        i->log_limit = log_limit;
    }
    return i;
}

void
interpose_free(Interpose *i)
{
    if (i && i->log)
        (void) munmap(i->log, i->log_limit);
    if (i)
        (void) munmap(i, sizeof *i);
}

guint64
interpose_position(Interpose *i)
{
    return __atomic_load_n(&i->log_bytes, __ATOMIC_SEQ_CST);
}

void
interpose_begin(Interpose *i)
{
    i->received = i->sent = 0;
    i->idle = FALSE;
    i->held = 0;
    i->begun++;
    i->lock = 0; /* a process that was killed may have had it */
    interpose_now = i;
}

static gboolean
has_ended(pid_t pid)
{
    siginfo_t info = {0};

    return waitid(P_PID, (id_t) pid, &info, WEXITED | WNOHANG | WNOWAIT) < 0 || info.si_pid == pid;
}

gboolean
interpose_wait_idle(Interpose *i, pid_t pid, guint64 sent)
{
    struct timespec limit = {.tv_nsec = 20 * 1000 * 1000};

    for (guint round = 0; round < 3000; round++) {
        guint32 seen = __atomic_load_n(&i->idle_count, __ATOMIC_SEQ_CST);
        if (__atomic_load_n(&i->idle, __ATOMIC_SEQ_CST) && i->idle_received >= sent &&
            (i->idle_flowing || !i->flowing))
            return TRUE;
        (void) syscall(SYS_futex, &i->idle_count, FUTEX_WAIT, seen, &limit, NULL, 0);
        if (__atomic_load_n(&i->idle_count, __ATOMIC_SEQ_CST) == seen && has_ended(pid))
            return FALSE;
    }
    return FALSE;
}

long
interpose_futex(guint32 *word, int what, guint32 value)
{
    return syscall(SYS_futex, word, what, value, NULL, NULL, 0);
}

void
interpose_hold(Interpose *i)
{
    __atomic_store_n(&i->held, 1, __ATOMIC_SEQ_CST);
}

void
interpose_release(Interpose *i)
{
    __atomic_store_n(&i->held, 0, __ATOMIC_SEQ_CST);
    (void) interpose_futex(&i->held, FUTEX_WAKE, G_MAXINT);
}

/* ---- naming a call ---- */

/* Numbers say nothing from one run to the next. */
static void
blur(char *text)
{
    char *out = text;

    for (const char *p = text; *p; p++) {
        if (!g_ascii_isdigit(*p))
            *out++ = *p;
        else if (out == text || out[-1] != '#')
            *out++ = '#';
    }
    *out = '\0';
}

void
interpose_describe(char *text, gsize n, const char *call, int fd, const char *name)
{
    char link[64], path[512] = "";
    const char *shown = path;

    if (fd >= 0) {
        (void) snprintf(link, sizeof link, "/proc/self/fd/%d", fd);
        ssize_t length = readlink(link, path, sizeof path - 1);
        path[MAX(length, 0)] = '\0';
    }
    if (strncmp(path, interpose_now->root, strlen(interpose_now->root)) == 0)
        shown = path + strlen(interpose_now->root);
    if (name && strncmp(name, interpose_now->root, strlen(interpose_now->root)) == 0)
        name += strlen(interpose_now->root);
    (void) snprintf(text, n, "%s %s%s%s", call, shown, shown[0] && name ? "/" : "",
                    name ? name : "");
    blur(text);
}

/* ---- counting ---- */

/* For systrace.c: the system call that comes has passed here. */
void
interpose_announce(void)
{
    if (interpose_now)
        interpose_now->announced = TRUE;
}

void G_GNUC_NORETURN
interpose_end(void)
{
    (void) kill(getpid(), SIGKILL);
    for (;;)
        (void) syscall(SYS_pause);
}

/* The file system is shut down, without a flush of its own journal. */
gboolean
interpose_power_off(int folder_fd)
{
    guint32 how = 2; /* EXT4_GOING_FLAGS_NOLOGFLUSH, and the same of xfs */

    return syscall(SYS_ioctl, folder_fd, 0x8004587dUL, &how) == 0;
}

/* What is to become of this call. FAIL: errno is set. */
Verdict
interpose_count(const char *call, int fd, const char *name, gboolean is_write)
{
    guint64 n = __atomic_add_fetch(&interpose_now->calls, 1, __ATOMIC_SEQ_CST);

    if (getenv("INTERPOSE_TRACE")) {
        char text[256];
        interpose_describe(text, sizeof text - 2, call, fd, name);
        int length = (int) strlen(text);
        char line[300];
        length = snprintf(line, sizeof line, "%" G_GUINT64_FORMAT " %s\n", n, text);
        (void) !syscall(SYS_write, 2, line, length);
    }
    if (n != interpose_now->stop_at)
        return GO_ON;
    interpose_now->fired = TRUE;
    interpose_describe(interpose_now->where, sizeof interpose_now->where, call, fd, name);
    switch (interpose_now->action) {
    case INTERPOSE_COUNT:
        return GO_ON;
    case INTERPOSE_KILL:
        interpose_end();
    case INTERPOSE_SHORT_KILL:
        if (!is_write)
            interpose_end();
        return PART_AND_KILL;
    case INTERPOSE_SHORT:
        return is_write ? PART : GO_ON;
    case INTERPOSE_POWER:
        interpose_power_off(interpose_now->power_fd);
        return GO_ON;
    case INTERPOSE_EIO:
        errno = EIO;
        return FAIL;
    case INTERPOSE_ENOSPC:
        errno = ENOSPC;
        return FAIL;
    }
    return GO_ON;
}

gboolean
interpose_watches(int fd, struct stat *ret_stat)
{
    interpose_announce();
    return interpose_now && fd > 2 && fstat(fd, ret_stat) == 0 &&
           ret_stat->st_dev == interpose_now->dev &&
           (S_ISREG(ret_stat->st_mode) || S_ISDIR(ret_stat->st_mode));
}

/* ---- the log ---- */

void
interpose_lock(void)
{
    while (interpose_now->logging && __atomic_exchange_n(&interpose_now->lock, 1, __ATOMIC_ACQUIRE))
        sched_yield();
}

void
interpose_unlock(void)
{
    int saved = errno;

    if (interpose_now->logging)
        __atomic_store_n(&interpose_now->lock, 0, __ATOMIC_RELEASE);
    errno = saved;
}

/* With the lock held. */
void
interpose_note(const Op *what, const char *name, const char *name2, const struct iovec *pieces,
               int n_pieces, gsize n_payload)
{
    Op op = *what;
    guint8 *to = interpose_now->log + interpose_now->log_bytes;
    gsize left = n_payload;

    if (!interpose_now->logging)
        return;
    op.name_bytes = (guint32) (name ? strlen(name) : 0) + 1;
    op.name2_bytes = (guint32) (name2 ? strlen(name2) : 0) + 1;
    op.bytes = (guint32) ((sizeof op + op.name_bytes + op.name2_bytes + n_payload + 7) / 8 * 8);
    g_assert(interpose_now->log_bytes + op.bytes <= interpose_now->log_limit);
    memcpy(to, &op, sizeof op);
    to += sizeof op;
    memcpy(to, name ? name : "", op.name_bytes);
    to += op.name_bytes;
    memcpy(to, name2 ? name2 : "", op.name2_bytes);
    to += op.name2_bytes;
    for (int i = 0; i < n_pieces && left > 0; i++) {
        gsize n = MIN(left, pieces[i].iov_len);
        memcpy(to, pieces[i].iov_base, n);
        to += n;
        left -= n;
    }
    __atomic_store_n(&interpose_now->log_bytes, interpose_now->log_bytes + op.bytes,
                     __ATOMIC_SEQ_CST);
}

/* The folder of a name, and its last component. */
guint64
interpose_folder(int dirfd, const char *path, const char **ret_name)
{
    const char *slash = strrchr(path, '/');
    struct stat st = {0};
    char folder[4096];

    *ret_name = slash ? slash + 1 : path;
    if (!slash)
        (void) fstatat(dirfd, ".", &st, 0);
    else {
        gsize n = MIN((gsize) (slash - path), sizeof folder - 1);
        memcpy(folder, path, n);
        folder[n] = '\0';
        (void) fstatat(dirfd, n == 0 ? "/" : folder, &st, 0);
    }
    return st.st_ino;
}

guint64
interpose_ino(int dirfd, const char *path)
{
    struct stat st = {0};

    (void) fstatat(dirfd, path, &st, AT_SYMLINK_NOFOLLOW);
    return st.st_ino;
}

void
interpose_note_write(Interpose *i, int fd, guint64 offset, const void *bytes, gsize n)
{
    Interpose *mine = interpose_now;
    struct stat st;

    if (!i->logging || fstat(fd, &st) < 0)
        return;
    interpose_now = i;
    interpose_lock();
    interpose_note(&(Op){.kind = OP_WRITE, .ino = st.st_ino, .offset = offset, .length = n}, NULL,
                   NULL, &(struct iovec){.iov_base = (void *) (guintptr) bytes, .iov_len = n}, 1,
                   n);
    interpose_unlock();
    interpose_now = mine;
}
