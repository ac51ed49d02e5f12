/* crash-restore.c - the copier is killed before every call by which a restore changes a file
 *
 * As crash.c does with the keeper. At every moment what was there, or the whole new content, must be
 * under the name, and what was there must be somewhere until the parent has had it discarded; in
 * place, where the store has it, a restore that is begun again must come to its end.
 */

#include "config.h"

#include <ftw.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/error.h"
#include "base/fd.h"
#include "base/path.h"
#include "base/role.h"
#include "base/sums.h"
#include "tests/tools/interpose.h"
#include "tests/unit/unit.h"

#define SIZE      150000
#define WAIT_MSEC 60000

typedef struct Case {
    const char *name;
    gboolean exists;
    guint32 flags;
    guint floor; /* calls, at least */
} Case;

static const Case cases[] = {
    {"over nothing", FALSE, 0, 6},
    {"over a file", TRUE, 0, 9},
    {"in place", TRUE, RESTORE_IN_PLACE, 4},
};

static char *base, *folder;
static GBytes *old, *new;
static guint64 points;

static int
remove_one(const char *path, G_GNUC_UNUSED const struct stat *st, G_GNUC_UNUSED int type,
           G_GNUC_UNUSED struct FTW *ftw)
{
    return remove(path);
}

static void
remove_tree(const char *path)
{
    (void) nftw(path, remove_one, 16, FTW_DEPTH | FTW_PHYS);
}

static GBytes *
some_bytes(guint8 first)
{
    guint8 *bytes = g_malloc(SIZE);

    for (gsize i = 0; i < SIZE; i++)
        bytes[i] = (guint8) (first + i / 4096 % (first + 2) + i % 7);
    return g_bytes_new_take(bytes, SIZE);
}

/* ---- the process ---- */

typedef struct Copier {
    pid_t pid;
    Channel *channel;
} Copier;

static void
start(Copier *c, Interpose *ip)
{
    int pair[2];

    CU_ASSERT_EQUAL_FATAL(socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, pair), 0);
    fflush(NULL);
    c->pid = fork();
    CU_ASSERT_TRUE_FATAL(c->pid >= 0);
    if (c->pid == 0) {
        g_autofree char *parent = g_strdup_printf("--parent=%d", (int) getppid());
        g_autofree char *principal = g_strdup_printf("--principal=%u", geteuid());
        char role[] = "--role=copier";
        char *argv[] = {role, role, parent, principal, NULL};
        RoleArgs args;
        g_assert_true(role_parse(4, argv, &args));
        (void) prctl(PR_SET_PDEATHSIG, SIGKILL);
        (void) signal(SIGPIPE, SIG_IGN);
        (void) signal(SIGIO, SIG_IGN);
        close(pair[0]);
        interpose_begin(ip);
        _exit(copier_main(&args, channel_new(pair[1])));
    }
    close(pair[1]);
    c->channel = channel_new(pair[0]);
}

/* NULL: it has gone. */
static Message *
answer(Copier *c, MessageType type)
{
    for (;;) {
        g_autoptr(GError) error = NULL;
        g_autoptr(Message) m = channel_wait(c->channel, WAIT_MSEC, &error);
        if (!m || m->type == type)
            return g_steal_pointer(&m);
    }
}

static void
end(Copier *c)
{
    (void) channel_send(c->channel, MESSAGE_DAEMON_STOP, g_variant_new("()"), NULL, 0, NULL);
    (void) waitpid(c->pid, NULL, 0);
    g_clear_pointer(&c->channel, channel_free);
}

/* ---- one restore ---- */

typedef struct Outcome {
    gboolean answered, ok, discarding;
    char error[256];
} Outcome;

static GVariant *
no_bytes(void)
{
    return g_variant_new_fixed_array(G_VARIANT_TYPE_BYTE, NULL, 0, 1);
}

static void
ask_restore(Copier *c, guint32 flags)
{
    g_autoptr(Sums) sums = sums_new(SIZE);
    guint8 hash[HASH_BYTES];
    FileStat none = {0}, st = {.mode = S_IFREG | 0640,
                               .uid = geteuid(),
                               .gid = getegid(),
                               .size_bytes = SIZE,
                               .mtime_ns = G_GINT64_CONSTANT(1600000000000000000)};

    sums_add(sums, g_bytes_get_data(new, NULL), SIZE);
    g_autoptr(GBytes) all = sums_finish(sums, hash);
    int fds[2] = {fd_from_bytes("content", g_bytes_get_data(new, NULL), SIZE, NULL),
                  fd_from_bytes("sums", g_bytes_get_data(all, NULL), g_bytes_get_size(all), NULL)};
    (void) channel_send(c->channel, MESSAGE_DAEMON_RESTORE,
                        g_variant_new("(t@ay@ayut@" FILESTAT_TYPE "@ayb@" FILESTAT_TYPE ")",
                                      (guint64) 1, path_to_variant(folder), path_to_variant("f"),
                                      flags, (guint64) SIZE, filestat_to_variant(&st), no_bytes(),
                                      geteuid() == 0, filestat_to_variant(&none)),
                        fds, 2, NULL);
    fd_clear(fds[0]);
    fd_clear(fds[1]);
}

static void
restore(Copier *c, guint32 flags, Outcome *ret)
{
    g_autoptr(GVariant) carried = NULL, name = NULL;
    g_autoptr(GError) error = NULL;
    guint64 job, dev, ino, written;

    g_autoptr(Message) ready = answer(c, MESSAGE_ROLE_READY);
    ask_restore(c, flags);
    g_autoptr(Message) m = answer(c, MESSAGE_COPIER_RESTORED);
    if (!m)
        return;
    ret->answered = TRUE;
    g_variant_get(m->body, "(t@" MESSAGE_ERROR_TYPE "@aytttss)", &job, &carried, &name, &dev, &ino,
                  &written, NULL, NULL);
    ret->ok = message_error_check(carried, NULL, &error);
    g_strlcpy(ret->error, error ? error->message : "", sizeof ret->error);
    const char *swapped = path_from_variant(name);
    if (!swapped || !swapped[0])
        return;
    ret->discarding = TRUE; /* the parent has saved it */
    (void) channel_send(c->channel, MESSAGE_DAEMON_DISCARD,
                        g_variant_new("(t@ay@aytt)", (guint64) 2, path_to_variant(folder),
                                      path_to_variant(swapped), dev, ino),
                        NULL, 0, NULL);
    g_autoptr(Message) gone = answer(c, MESSAGE_COPIER_DISCARDED);
}

/* ---- what is there ---- */

static GBytes *
content_of(const char *name)
{
    g_autofree char *path = g_build_filename(folder, name, NULL);
    char *data = NULL;
    gsize n;

    return g_file_get_contents(path, &data, &n, NULL) ? g_bytes_new_take(data, n) : NULL;
}

static gboolean
old_is_somewhere(void)
{
    g_autoptr(GDir) dir = g_dir_open(folder, 0, NULL);
    const char *name;

    while (dir && (name = g_dir_read_name(dir))) {
        g_autoptr(GBytes) bytes = content_of(name);
        if (bytes && g_bytes_equal(bytes, old))
            return TRUE;
    }
    return FALSE;
}

/* NULL: all is well. */
static const char *
what_is_wrong(const Case *c, const Outcome *o)
{
    g_autoptr(GBytes) now = content_of("f");
    gboolean is_old = now && g_bytes_equal(now, old), is_new = now && g_bytes_equal(now, new);

    if (o->ok && !is_new)
        return "it says that it is done, and the file has something else";
    if (c->flags & RESTORE_IN_PLACE)
        return now ? NULL : "the file is gone";
    if (now && !is_old && !is_new)
        return "the file has something half";
    if (c->exists && !now)
        return "the file is gone";
    if (c->exists && !o->discarding && !old_is_somewhere())
        return "what was there is nowhere";
    return NULL;
}

static gboolean
run_round(const Case *c, InterposeAction action, guint64 n, guint64 *ret_calls, gboolean *ret_fired)
{
    g_autofree char *path = g_build_filename(folder, "f", NULL);
    Interpose *ip = interpose_new(base, 0);
    Outcome first = {0}, again = {0};
    Copier copier;

    CU_ASSERT_EQUAL_FATAL(mkdir(folder, 0700), 0);
    if (c->exists)
        unit_write(path, g_bytes_get_data(old, NULL), SIZE);
    ip->skip_sync = TRUE;
    ip->action = action;
    ip->stop_at = n;
    start(&copier, ip);
    restore(&copier, c->flags, &first);
    end(&copier);
    *ret_calls = ip->calls;
    *ret_fired = ip->fired;
    const char *wrong = what_is_wrong(c, &first);
    if (!wrong && !first.answered && !ip->fired)
        wrong = "no answer";
    if (!wrong && !first.ok) { /* the parent tries again */
        ip->stop_at = 0;
        start(&copier, ip);
        restore(&copier, c->flags, &again);
        end(&copier);
        wrong =
            again.ok ? what_is_wrong(&(Case){.exists = FALSE}, &again) : "it cannot be done again";
    }
    if (wrong)
        printf("\n  %s: action %d before call %" G_GUINT64_FORMAT " (%s): %s; %s; %s\n", c->name,
               action, n, ip->where, wrong, first.error, again.error);
    remove_tree(folder);
    interpose_free(ip);
    return !wrong;
}

static void
run_case(const Case *c)
{
    static const InterposeAction actions[] = {INTERPOSE_KILL, INTERPOSE_SHORT_KILL, INTERPOSE_EIO,
                                              INTERPOSE_ENOSPC, INTERPOSE_SHORT};
    guint64 calls, ignored, most = 0;
    gboolean fired;

    CU_ASSERT_TRUE(run_round(c, INTERPOSE_COUNT, 0, &calls, &fired));
    for (guint i = 0; i < G_N_ELEMENTS(actions); i++) {
        guint failed = 0;
        for (guint64 n = 1; failed < 3; n++) {
            failed += !run_round(c, actions[i], n, &ignored, &fired);
            if (!fired)
                break;
            points++;
            most = MAX(most, n);
        }
        CU_ASSERT_EQUAL(failed, 0);
    }
    printf(" %" G_GUINT64_FORMAT " calls ", calls);
    CU_ASSERT_TRUE(most >= c->floor);
}

static void
a_restore_over_nothing(void)
{
    run_case(&cases[0]);
}

static void
a_restore_over_a_file(void)
{
    run_case(&cases[1]);
}

static void
a_restore_in_place(void)
{
    run_case(&cases[2]);
}

int
main(void)
{
    static const UnitTest tests[] = {
        UNIT_TEST(a_restore_over_nothing),
        UNIT_TEST(a_restore_over_a_file),
        UNIT_TEST(a_restore_in_place),
    };
    g_autofree char *shm = g_strdup("/dev/shm/filedup-restore-XXXXXX");

    base = g_mkdtemp(shm) ? g_steal_pointer(&shm) : g_dir_make_tmp("filedup-restore-XXXXXX", NULL);
    folder = g_build_filename(base, "folder", NULL);
    old = some_bytes(3);
    new = some_bytes(90);
    (void) alarm(300); /* nothing here may hang a whole check */
    int status = unit_main("crash-restore", tests, G_N_ELEMENTS(tests));
    printf("%" G_GUINT64_FORMAT " points of interruption\n", points);
    remove_tree(base);
    return status;
}
