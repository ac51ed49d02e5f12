/* powercut.c - power cuts on a real file system
 *
 *     powercut DEVICE FOLDER TYPE CUTS
 *
 * Mounts DEVICE at FOLDER, lets a keeper work on a store there, and shuts the file system down under
 * it: nothing that is not on the device by then will be. Then kill, umount, mount (which replays the
 * file system's journal), open the store again, and check that all is there that was acknowledged.
 * The cut comes before a call that changes a file, drawn at random, or at a random instant.
 *
 * The store lives on from cut to cut; every 25 there is a new one. FILEDUP_SEED=N draws the same.
 */

#include "config.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "tests/unit/life.h"
#include "tests/unit/workload.h"

#define CUTS_PER_STORE 25

typedef struct Bench {
    const char *device, *folder, *type;
    Interpose *ip;
    int folder_fd;
} Bench;

static void G_GNUC_PRINTF(1, 2) G_GNUC_NORETURN fail(const char *format, ...)
{
    va_list list;

    va_start(list, format);
    vfprintf(stderr, format, list);
    va_end(list);
    fputc('\n', stderr);
    exit(1);
}

static void
unmount_it(Bench *b)
{
    (void) close(b->folder_fd);
    for (guint i = 0; umount(b->folder) < 0; i++) {
        if (errno != EBUSY || i > 500)
            fail("umount: %s", g_strerror(errno));
        g_usleep(5000);
    }
}

/* Where something still holds on to the old mount (another mount namespace, a moment long), the same
 * one comes back, shut down as it is. */
static gboolean
is_alive(const Bench *b)
{
    int fd = openat(b->folder_fd, "probe", O_WRONLY | O_CREAT | O_CLOEXEC, 0600);

    if (fd < 0)
        return FALSE;
    (void) close(fd);
    return unlinkat(b->folder_fd, "probe", 0) == 0;
}

static void
mount_it(Bench *b)
{
    struct stat st;

    for (guint i = 0;; i++) {
        if (mount(b->device, b->folder, b->type, MS_NOATIME, NULL) < 0)
            fail("mount: %s", g_strerror(errno));
        b->folder_fd = open(b->folder, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
        if (b->folder_fd < 0 || fstat(b->folder_fd, &st) < 0)
            fail("'%s': %s", b->folder, g_strerror(errno));
        if (is_alive(b))
            break;
        if (i > 100)
            fail("'%s' stays shut down", b->folder);
        unmount_it(b);
        g_usleep(20000);
    }
    b->ip->dev = st.st_dev;
    b->ip->power_fd = b->folder_fd;
}

/* A process that cuts after so long. */
static pid_t
cut_after(Bench *b, guint usec)
{
    pid_t pid = fork();

    if (pid == 0) {
        g_usleep(usec);
        (void) interpose_power_off(b->folder_fd);
        _exit(0);
    }
    return pid;
}

/* Work until the keeper has noticed, or has had enough. */
static void
work(Bench *b, Life *l, guint32 draw)
{
    gboolean at_call = draw % 3 != 0;
    pid_t cutter = 0;

    b->ip->action = INTERPOSE_POWER;
    b->ip->fired = FALSE;
    b->ip->stop_at = at_call ? b->ip->calls + 1 + draw / 3 % 250 : 0;
    if (!at_call)
        cutter = cut_after(b, draw / 3 % 30000);
    for (guint i = 0; i < 60 && !l->p->gone && !b->ip->fired; i++) {
        life_operation(l);
        if (i % 10 == 9 && !proof_settle(l->p))
            break;
        if (cutter && waitpid(cutter, NULL, WNOHANG) == cutter) {
            cutter = 0;
            break;
        }
    }
    if (cutter)
        (void) waitpid(cutter, NULL, 0);
    if (at_call && !b->ip->fired)
        (void) interpose_power_off(b->folder_fd);
    /* It may say once more that something is durable: it must not. */
    (void) kill(l->p->pid, SIGKILL);
    (void) proof_end(l->p);
    b->ip->stop_at = 0;
}

static void
tell(const Bench *b, Life *l, guint cut)
{
    g_autofree char *said = NULL;

    fprintf(stderr, "%s, cut %u (%s):\n%s", b->type, cut, b->ip->where, l->p->problems->str);
    if (g_file_get_contents(l->p->log_path, &said, NULL, NULL))
        fprintf(stderr, "    the keeper said:\n%s\n", said);
}

static gboolean
one_cut(Bench *b, Life *l, guint cut)
{
    g_autofree char *error = NULL;
    guint32 draw = g_rand_int(l->rand);

    g_assert_true(truncate(l->p->log_path, 0) == 0 || errno == ENOENT);
    if (!l->p->pid && !proof_start(l->p, &error)) {
        g_string_append_printf(l->p->problems, "    it cannot be opened: %s\n", error);
    } else {
        work(b, l, draw);
        unmount_it(b);
        mount_it(b);
        if (!proof_start(l->p, &error))
            g_string_append_printf(l->p->problems, "    it cannot be opened after the cut: %s\n",
                                   error ? error : "no answer");
        else
            (void) life_check(l, draw % 4 != 0);
    }
    if (l->p->problems->len == 0)
        return TRUE;
    tell(b, l, cut);
    return FALSE;
}

static Life
new_store(const Bench *b, GRand *rand, const char *log, guint number)
{
    g_autofree char *path = g_strdup_printf("%s/store%u", b->folder, number);
    Life l = {.p = proof_new(path, b->ip), .rand = rand, .files = 8, .small = TRUE};

    g_free(l.p->log_path);
    l.p->log_path = g_strdup(log);
    return l;
}

int
main(int argc, char **argv)
{
    const char *text = g_getenv("FILEDUP_SEED");
    guint64 seed = text ? g_ascii_strtoull(text, NULL, 10) : (guint64) g_get_real_time() % 1000000;
    g_autoptr(GRand) rand = g_rand_new_with_seed((guint32) seed);
    gint64 start = g_get_monotonic_time();
    guint cuts, done = 0;
    gboolean ok = TRUE;

    if (argc != 5)
        fail("usage: powercut DEVICE FOLDER TYPE CUTS");
    Bench b = {.device = argv[1], .folder = argv[2], .type = argv[3], .folder_fd = -1};
    g_autofree char *log = g_strconcat(b.folder, ".keeper", NULL);
    cuts = (guint) g_ascii_strtoull(argv[4], NULL, 10);
    b.ip = interpose_new(b.folder, 0);
    b.ip->total_bytes = WORKLOAD_TOTAL_BYTES;
    printf("FILEDUP_SEED=%" G_GUINT64_FORMAT "\n", seed);
    while (ok && done < cuts) {
        mount_it(&b);
        Life l = new_store(&b, rand, log, done);
        for (guint i = 0; ok && i < CUTS_PER_STORE && done < cuts; i++) {
            ok = one_cut(&b, &l, done);
            done += ok;
        }
        proof_free(l.p);
        if (ok) {
            g_autofree char *command = g_strdup_printf("rm -rf '%s'/store*", b.folder);
            (void) !system(command);
        }
        unmount_it(&b);
    }
    printf("%s: %u power cuts in %.1f s\n", b.type, done,
           (double) (g_get_monotonic_time() - start) / 1e6);
    return ok ? 0 : 1;
}
