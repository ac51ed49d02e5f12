/* systrace.c - the system calls of a process, seen from outside
 *
 * By ptrace: at the entry of each system call that may change a file, the interposer must just have
 * been passed (Interpose.announced). A call that has not, on a file of the watched folder, would
 * escape all tests that count.
 */

#include "config.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/ptrace.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "tests/tools/systrace.h"

typedef struct Call {
    long number;
    const char *name;
    int fd; /* which argument is the descriptor of what changes; -1: told by name */
} Call;

static const Call calls[] = {
    {SYS_write, "write", 0},
    {SYS_writev, "writev", 0},
    {SYS_pwrite64, "pwrite64", 0},
    {SYS_pwritev, "pwritev", 0},
    {SYS_pwritev2, "pwritev2", 0},
    {SYS_fsync, "fsync", 0},
    {SYS_fdatasync, "fdatasync", 0},
    {SYS_syncfs, "syncfs", 0},
    {SYS_sync, "sync", -1},
    {SYS_sync_file_range, "sync_file_range", 0},
    {SYS_ftruncate, "ftruncate", 0},
    {SYS_truncate, "truncate", -1},
    {SYS_fallocate, "fallocate", 0},
    {SYS_copy_file_range, "copy_file_range", 2},
    {SYS_sendfile, "sendfile", 0},
    {SYS_splice, "splice", 2},
    {SYS_renameat, "renameat", -1},
    {SYS_renameat2, "renameat2", -1},
    {SYS_linkat, "linkat", -1},
    {SYS_symlinkat, "symlinkat", -1},
    {SYS_unlinkat, "unlinkat", -1},
    {SYS_mkdirat, "mkdirat", -1},
    {SYS_mknodat, "mknodat", -1},
    {SYS_fchmod, "fchmod", 0},
    {SYS_fchmodat, "fchmodat", -1},
    {SYS_fchown, "fchown", 0},
    {SYS_fchownat, "fchownat", -1},
    {SYS_utimensat, "utimensat", -1},
    {SYS_fsetxattr, "fsetxattr", 0},
    {SYS_setxattr, "setxattr", -1},
    {SYS_lsetxattr, "lsetxattr", -1},
    {SYS_fremovexattr, "fremovexattr", 0},
    {SYS_removexattr, "removexattr", -1},
#ifdef SYS_rename
    {SYS_rename, "rename", -1},
    {SYS_link, "link", -1},
    {SYS_symlink, "symlink", -1},
    {SYS_unlink, "unlink", -1},
    {SYS_mkdir, "mkdir", -1},
    {SYS_rmdir, "rmdir", -1},
    {SYS_creat, "creat", -1},
    {SYS_chmod, "chmod", -1},
    {SYS_chown, "chown", -1},
    {SYS_lchown, "lchown", -1},
    {SYS_futimesat, "futimesat", -1},
    {SYS_utimes, "utimes", -1},
#endif
};

SysTrace *
systrace_new(void)
{
    SysTrace *t = mmap(NULL, sizeof *t, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);

    g_assert(t != MAP_FAILED);
    return t;
}

void
systrace_free(SysTrace *t)
{
    (void) munmap(t, sizeof *t);
}

/* Opening changes something only with these flags. */
static gboolean
open_changes(pid_t pid, const struct __ptrace_syscall_info *info)
{
    guint64 flags = 0;

    if (info->entry.nr == SYS_openat)
        flags = info->entry.args[2];
#ifdef SYS_open
    else if (info->entry.nr == SYS_open)
        flags = info->entry.args[1];
#endif
    else if (info->entry.nr == SYS_openat2)
        flags = (guint64) ptrace(PTRACE_PEEKDATA, pid, info->entry.args[2], NULL);
    else
        return FALSE;
    return (flags & (O_CREAT | O_TRUNC)) || (flags & O_TMPFILE) == O_TMPFILE;
}

static const Call *
call_of(pid_t pid, const struct __ptrace_syscall_info *info)
{
    static const Call open_call = {SYS_openat, "open", -1};

    for (guint i = 0; i < G_N_ELEMENTS(calls); i++)
        if ((guint64) calls[i].number == info->entry.nr)
            return &calls[i];
    return open_changes(pid, info) ? &open_call : NULL;
}

static void
at_entry(SysTrace *t, Interpose *ip, pid_t pid)
{
    struct __ptrace_syscall_info info = {0};
    char link[64], path[256] = "";

    if (ptrace(PTRACE_GET_SYSCALL_INFO, pid, sizeof info, &info) <= 0 ||
        info.op != PTRACE_SYSCALL_INFO_ENTRY)
        return;
    const Call *c = call_of(pid, &info);
    if (!c)
        return;
    gboolean announced = ip->announced;
    ip->announced = FALSE;
    if (c->fd >= 0) {
        (void) snprintf(link, sizeof link, "/proc/%d/fd/%d", (int) pid,
                        (int) info.entry.args[c->fd]);
        (void) !readlink(link, path, sizeof path - 1);
        if (strncmp(path, ip->root, strlen(ip->root)) != 0)
            return;
    }
    t->seen++;
    if (announced)
        return;
    if (t->missed < G_N_ELEMENTS(t->what))
        (void) snprintf(t->what[t->missed], sizeof t->what[0], "%s %.120s", c->name, path);
    t->missed++;
}

static void G_GNUC_NORETURN
end_as(int status)
{
    if (WIFSIGNALED(status)) {
        (void) signal(WTERMSIG(status), SIG_DFL);
        (void) kill(getpid(), WTERMSIG(status));
    }
    _exit(WEXITSTATUS(status));
}

static void G_GNUC_NORETURN
trace(SysTrace *t, Interpose *ip, pid_t first)
{
    int status;
    pid_t pid;

    while ((pid = waitpid(-1, &status, __WALL)) > 0) {
        if (WIFEXITED(status) || WIFSIGNALED(status)) {
            if (pid == first)
                end_as(status);
            continue;
        }
        int signal_number = WSTOPSIG(status), event = status >> 16;
        if (signal_number == (SIGTRAP | 0x80))
            at_entry(t, ip, pid);
        gboolean ours = signal_number == (SIGTRAP | 0x80) || event != 0;
        (void) ptrace(PTRACE_SYSCALL, pid, NULL, ours ? 0 : signal_number);
    }
    _exit(1);
}

void
systrace_begin(SysTrace *t, Interpose *ip)
{
    int gate[2];

    g_assert(pipe(gate) == 0);
    pid_t pid = fork();
    g_assert(pid >= 0);
    if (pid == 0) {
        char byte;
        (void) prctl(PR_SET_PDEATHSIG, SIGKILL);
        (void) prctl(PR_SET_PTRACER, (unsigned long) getppid());
        close(gate[1]);
        (void) !read(gate[0], &byte, 1); /* until it is traced */
        close(gate[0]);
        return;
    }
    close(gate[0]);
    long options = PTRACE_O_TRACESYSGOOD | PTRACE_O_TRACECLONE | PTRACE_O_EXITKILL;
    if (ptrace(PTRACE_SEIZE, pid, NULL, options) < 0) {
        int status;
        close(gate[1]);
        (void) waitpid(pid, &status, 0);
        end_as(status);
    }
    (void) ptrace(PTRACE_INTERRUPT, pid, NULL, NULL); /* stops, and goes on by PTRACE_SYSCALL */
    close(gate[1]);
    trace(t, ip, pid);
}
