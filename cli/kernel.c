/* kernel.c - tries out what filedup uses of the kernel and of a file system */

#include "config.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h> /* renameat2 */
#include <sys/utsname.h>
#include <unistd.h>

#include "base/fd.h"
#include "base/filestat.h"
#include "base/path.h"
#include "cli/kernel.h"

#define INOTIFY "/proc/sys/fs/inotify/"
#define BTF     "/sys/kernel/btf/vmlinux"

/* Other programs of the user need watches and instances too. */
#define WATCHES_SPARE    8192
#define INSTANCES_WANTED 32
#define QUEUE_WANTED     16384

static gboolean
read_limit(const char *path, guint64 *ret_value)
{
    g_autofree char *text = NULL;

    if (!g_file_get_contents(path, &text, NULL, NULL))
        return FALSE;
    *ret_value = g_ascii_strtoull(text, NULL, 10);
    return TRUE;
}

static void
check_limit(Findings *f, const char *name, guint64 needed, gboolean is_hard)
{
    g_autofree char *path = g_strconcat(INOTIFY, name, NULL);
    g_autofree char *what = g_strconcat("inotify ", name, NULL);
    g_autofree char *remedy = g_strdup_printf("'sysctl fs.inotify.%s=%" G_GUINT64_FORMAT
                                              "', and a line in /etc/sysctl.d to keep it",
                                              name, needed);
    guint64 value;

    if (!read_limit(path, &value))
        findings_add(f, FINDING_ADVICE, what, NULL, "unknown: no %s", path);
    else if (value >= needed)
        findings_add(f, FINDING_OK, what, NULL, "%" G_GUINT64_FORMAT, value);
    else
        findings_add(f, is_hard ? FINDING_PROBLEM : FINDING_ADVICE, what, remedy,
                     "%" G_GUINT64_FORMAT ", wanted are %" G_GUINT64_FORMAT, value, needed);
}

void
kernel_check_inotify(Findings *f, guint64 folders)
{
    guint64 watches = 0;

    /* Too few for what is protected already is a problem, little to spare is advice. */
    (void) read_limit(INOTIFY "max_user_watches", &watches);
    check_limit(f, "max_user_watches", watches < folders ? folders : folders + WATCHES_SPARE,
                watches < folders);
    check_limit(f, "max_user_instances", INSTANCES_WANTED, FALSE);
    check_limit(f, "max_queued_events", QUEUE_WANTED, FALSE);
}

/* Trials: each says what is lost without it. --------------------------------------------------- */

static void
try_openat2(Findings *f)
{
    g_auto(Fd) fd = path_open(AT_FDCWD, "/", O_RDONLY | O_DIRECTORY, 0);

    if (fd >= 0)
        findings_add(f, FINDING_OK, "openat2", NULL, "there");
    else
        findings_add(f, FINDING_PROBLEM, "openat2", "Linux 5.6 or newer is needed",
                     "%s: nothing can be backed up", g_strerror(errno));
}

static void
try_memfd(Findings *f)
{
    g_autoptr(GError) error = NULL;
    g_auto(Fd) fd = fd_from_bytes("filedup-doctor", "x", 1, &error);

    if (fd >= 0)
        findings_add(f, FINDING_OK, "sealed memory files", NULL, "there");
    else
        findings_add(f, FINDING_PROBLEM, "sealed memory files", NULL,
                     "%s: nothing can be backed up", error->message);
}

static void
try_lease(Findings *f, int folder)
{
    g_auto(Fd) made = openat(folder, "a", O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
    fd_clear(fd_steal(&made));
    g_auto(Fd) fd = openat(folder, "a", O_RDONLY | O_CLOEXEC);

    if (fd >= 0 && fcntl(fd, F_SETLEASE, F_RDLCK) == 0) {
        (void) fcntl(fd, F_SETLEASE, F_UNLCK);
        findings_add(f, FINDING_OK, "leases", NULL, "there");
    } else {
        findings_add(f, FINDING_ADVICE, "leases", NULL,
                     "%s: whether a file has a writer is concluded from its time stamps, which "
                     "takes a little longer",
                     g_strerror(errno));
    }
}

static void
try_exchange(Findings *f, int folder)
{
    g_auto(Fd) b = openat(folder, "b", O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC, 0600);

    if (renameat2(folder, "a", folder, "b", RENAME_EXCHANGE) == 0)
        findings_add(f, FINDING_OK, "RENAME_EXCHANGE", NULL, "there");
    else
        findings_add(f, FINDING_PROBLEM, "RENAME_EXCHANGE",
                     "Restore such files with --in-place, or to another folder with --to",
                     "%s: a restore cannot swap a file in atomically here", g_strerror(errno));
}

static void
try_btime(Findings *f, int folder)
{
    FileStat stat = {0};

    if (filestat_read(folder, "a", &stat) == 0 && stat.btime_ns)
        findings_add(f, FINDING_OK, "birth times", NULL, "there");
    else
        findings_add(f, FINDING_ADVICE, "birth times", NULL,
                     "none here: a file that is replaced is told by its inode number alone");
}

static void
try_tmpfile(Findings *f, int folder)
{
    g_auto(Fd) fd = openat(folder, ".", O_TMPFILE | O_RDWR | O_CLOEXEC, 0600);

    if (fd >= 0)
        findings_add(f, FINDING_OK, "O_TMPFILE", NULL, "there");
    else
        findings_add(f, FINDING_ADVICE, "O_TMPFILE", NULL,
                     "%s: files being restored are hidden files with a name meanwhile",
                     g_strerror(errno));
}

static void
try_btf(Findings *f)
{
    struct utsname name;

    (void) uname(&name);
    if (access(BTF, R_OK) == 0)
        findings_add(f, FINDING_OK, "BTF", NULL, "kernel %s describes its types", name.release);
    else
        findings_add(f, FINDING_ADVICE, "BTF", NULL,
                     "kernel %s has no %s: writes are seen by inotify only", name.release, BTF);
}

void
kernel_check(Findings *f, const char *folder)
{
    g_autofree char *scratch = g_build_filename(folder, ".filedup-doctor-XXXXXX", NULL);
    g_autofree char *shown = path_escape(folder);

    try_openat2(f);
    try_memfd(f);
    try_btf(f);
    if (!g_mkdtemp(scratch)) {
        findings_add(f, FINDING_ADVICE, "file system", NULL, "%s: not tried out: %s", shown,
                     g_strerror(errno));
        return;
    }
    g_auto(Fd) fd = open(scratch, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (fd >= 0) {
        try_lease(f, fd);
        try_exchange(f, fd);
        try_btime(f, fd);
        try_tmpfile(f, fd);
        (void) unlinkat(fd, "a", 0);
        (void) unlinkat(fd, "b", 0);
    }
    (void) rmdir(scratch);
}
