/* copier.c - tests of the role: this program re-executes itself as a copier */

#include "config.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/error.h"
#include "base/fd.h"
#include "base/path.h"
#include "base/role.h"
#include "base/sums.h"
#include "copy/stage.h"
#include "tests/unit/unit.h"

#define NOBODY 65534
#define MIB    (1024 * 1024)
#define WAIT   20000 /* ms, only ever used up by a failure */

typedef struct Child {
    pid_t pid;
    Channel *channel;
} Child;

/* The exit status, after DAEMON_STOP. */
static int
child_end(Child *c)
{
    int status;

    if (!c->channel)
        return -1;
    (void) channel_send(c->channel, MESSAGE_DAEMON_STOP, g_variant_new("()"), NULL, 0, NULL);
    waitpid(c->pid, &status, 0);
    g_clear_pointer(&c->channel, channel_free);
    return WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
}

static void
child_clear(Child *c)
{
    (void) child_end(c);
}
G_DEFINE_AUTO_CLEANUP_CLEAR_FUNC(Child, child_clear)

static Message *
answer(Child *c, MessageType type)
{
    g_autoptr(GError) error = NULL;
    Message *m = channel_wait(c->channel, WAIT, &error);

    UNIT_NO_ERROR(error);
    CU_ASSERT_PTR_NOT_NULL_FATAL(m);
    CU_ASSERT_EQUAL_FATAL(m->type, type);
    return m;
}

static void
child_start(Child *c, uid_t principal)
{
    RoleArgs args = {.kind = ROLE_COPIER, .principal = principal};
    g_autoptr(GError) error = NULL;

    role_spawn(&args, &c->pid, &c->channel, &error);
    UNIT_NO_ERROR(error);
    g_autoptr(Message) ready = answer(c, MESSAGE_ROLE_READY);
}

static void
ask(Child *c, MessageType type, GVariant *body, const int *fds, guint n_fds)
{
    g_autoptr(GError) error = NULL;

    CU_ASSERT_TRUE(channel_send(c->channel, type, body, fds, n_fds, &error));
    UNIT_NO_ERROR(error);
}

/* --- inspect --- */

typedef struct Seen {
    gint32 code;
    char *folder, *name, *note;
    guint32 type;
    guint64 dev;
} Seen;

static void
seen_clear(Seen *s)
{
    g_free(s->folder);
    g_free(s->name);
    g_free(s->note);
}
G_DEFINE_AUTO_CLEANUP_CLEAR_FUNC(Seen, seen_clear)

static Seen
inspect(Child *c, const char *path, gboolean must_write)
{
    g_autoptr(GVariant) stat = NULL;
    gint32 errnum;
    guint64 job;
    const char *text;
    Seen s = {0};

    ask(c, MESSAGE_DAEMON_INSPECT,
        g_variant_new("(t@ayb)", (guint64) 7, path_to_variant(path), must_write), NULL, 0);
    g_autoptr(Message) m = answer(c, MESSAGE_COPIER_INSPECTED);
    g_variant_get(m->body, "(t(ii&s)^ay^ayu@" FILESTAT_TYPE "ts)", &job, &s.code, &errnum, &text,
                  &s.folder, &s.name, &s.type, &stat, &s.dev, &s.note);
    CU_ASSERT_EQUAL(job, 7);
    return s;
}

static void
a_path_is_made_canonical(void)
{
    g_auto(Child) c = {0};
    g_autofree char *real = unit_path("real"), *link = unit_path("link");
    g_autofree char *file = unit_path("real/fi\nle\xff"), *alias = unit_path("alias");
    g_autofree char *crooked = unit_path("link/../link/.//fi\nle\xff");
    g_autofree char *canonical_folder = realpath(unit_folder(), NULL);
    g_autofree char *expected = g_build_filename(canonical_folder, "real", NULL);

    CU_ASSERT_EQUAL(mkdir(real, 0700) | symlink("real", link), 0);
    unit_write(file, "x", 1);
    CU_ASSERT_EQUAL(symlink(file, alias), 0);
    child_start(&c, geteuid());
    g_auto(Seen) a = inspect(&c, crooked, FALSE), b = inspect(&c, alias, TRUE);
    CU_ASSERT_EQUAL(a.code, -1);
    CU_ASSERT_STRING_EQUAL(a.folder, expected);
    CU_ASSERT_STRING_EQUAL(a.name, "fi\nle\xff");
    CU_ASSERT_EQUAL(a.type, INSPECT_REGULAR);
    CU_ASSERT_STRING_EQUAL(b.folder, expected);
    g_auto(Seen) folder = inspect(&c, link, FALSE), root = inspect(&c, "/", FALSE);
    CU_ASSERT_EQUAL(folder.type, INSPECT_FOLDER);
    CU_ASSERT_EQUAL(root.type, INSPECT_FOLDER);
    g_auto(Seen) device = inspect(&c, "/dev/null", TRUE), relative = inspect(&c, "x", FALSE);
    CU_ASSERT_EQUAL(device.type, INSPECT_OTHER);
    CU_ASSERT_EQUAL(relative.code, FILEDUP_ERROR_REFUSED);
}

static void
what_does_not_exist_yet_is_allowed_and_said(void)
{
    g_auto(Child) c = {0};
    g_autofree char *file = unit_path("later"), *deep = unit_path("link/a/b/later");
    g_autofree char *link = unit_path("link"), *dangling = unit_path("dangling");
    g_autofree char *canonical = realpath(unit_folder(), NULL);
    g_autofree char *deep_folder = g_build_filename(canonical, "a/b", NULL);
    g_autofree char *below_file = unit_path("plain/x");
    g_autofree char *plain = unit_path("plain"), *crooked = unit_path("nowhere/../x");
    struct stat st;

    CU_ASSERT_EQUAL(symlink(".", link) | symlink("nowhere", dangling), 0);
    unit_write(plain, "", 0);
    child_start(&c, geteuid());
    g_auto(Seen) a = inspect(&c, file, TRUE), b = inspect(&c, deep, TRUE);
    CU_ASSERT_EQUAL(a.code, -1);
    CU_ASSERT_EQUAL(a.type, INSPECT_ABSENT);
    CU_ASSERT_STRING_EQUAL(a.name, "later");
    CU_ASSERT_NOT_EQUAL(a.note[0], '\0');
    CU_ASSERT_EQUAL(b.code, -1);
    CU_ASSERT_STRING_EQUAL(b.folder,
                           deep_folder); /* the link is resolved though the rest is missing */
    CU_ASSERT_PTR_NOT_NULL(strstr(b.note, "folder"));
    CU_ASSERT_EQUAL(stat(unit_folder(), &st), 0);
    CU_ASSERT_EQUAL(b.dev, st.st_dev);
    g_auto(Seen) d = inspect(&c, dangling, FALSE), e = inspect(&c, crooked, FALSE);
    CU_ASSERT_EQUAL(d.code, FILEDUP_ERROR_REFUSED);
    CU_ASSERT_EQUAL(e.code, FILEDUP_ERROR_REFUSED);
    g_auto(Seen) f = inspect(&c, below_file, FALSE);
    CU_ASSERT_EQUAL(f.code, FILEDUP_ERROR_REFUSED);
}

static void
a_user_needs_to_be_able_to_write_the_file(void)
{
    g_auto(Child) c = {0};
    g_autofree char *theirs = unit_path("theirs"), *mine = unit_path("mine");
    g_autofree char *later = unit_path("later"), *open_later = unit_path("open/later");
    g_autofree char *open_folder = unit_path("open"), *closed = unit_path("closed");
    g_autofree char *hidden = unit_path("closed/file");

    if (geteuid() != 0) {
        unit_skip("only root can become another user");
        return;
    }
    CU_ASSERT_EQUAL(chmod(unit_folder(), 0755), 0);
    unit_write(theirs, "x", 1);
    unit_write(mine, "x", 1);
    CU_ASSERT_EQUAL(chown(mine, NOBODY, NOBODY), 0);
    CU_ASSERT_EQUAL(mkdir(open_folder, 0777) | chmod(open_folder, 0777) | mkdir(closed, 0700), 0);
    unit_write(hidden, "x", 1);
    child_start(&c, NOBODY);
    g_auto(Seen) a = inspect(&c, theirs, TRUE), b = inspect(&c, mine, TRUE);
    CU_ASSERT_EQUAL(a.code, FILEDUP_ERROR_DENIED);
    CU_ASSERT_EQUAL(b.code, -1);
    g_auto(Seen) d = inspect(&c, later, TRUE), e = inspect(&c, open_later, TRUE);
    CU_ASSERT_EQUAL(d.code, FILEDUP_ERROR_DENIED);
    CU_ASSERT_EQUAL(e.code, -1);
    g_auto(Seen) f = inspect(&c, hidden, FALSE), g = inspect(&c, theirs, FALSE);
    CU_ASSERT_EQUAL(f.code, FILEDUP_ERROR_DENIED);
    CU_ASSERT_EQUAL(g.code, -1);
}

/* --- capture and restore --- */

static void
ask_capture(Child *c, guint64 job, const char *name, CaptureFlags flags)
{
    FileStat none = {0};

    ask(c, MESSAGE_DAEMON_CAPTURE,
        g_variant_new("(t@ay@ayu@" FILESTAT_TYPE "@ay@ay)", job, path_to_variant(unit_folder()),
                      path_to_variant(name), (guint32) flags, filestat_to_variant(&none),
                      g_variant_new_fixed_array(G_VARIANT_TYPE_BYTE, NULL, 0, 1),
                      g_variant_new_fixed_array(G_VARIANT_TYPE_BYTE, NULL, 0, 1)),
        NULL, 0);
}

static guint32
captured_outcome(Message *m, guint64 *ret_job, gint32 *ret_code)
{
    guint32 result;

    g_variant_get_child(m->body, 0, "t", ret_job);
    g_variant_get_child(m->body, 1, "u", &result);
    g_autoptr(GVariant) error = g_variant_get_child_value(m->body, 2);
    g_variant_get_child(error, 0, "i", ret_code);
    return result;
}

static void
captures_are_answered_with_sealed_memory(void)
{
    g_auto(Child) c = {0};
    g_autoptr(GError) error = NULL;
    g_autofree char *path = unit_path("file");
    guint64 job;
    gint32 code;

    unit_write(path, "hello", 5);
    child_start(&c, geteuid());
    ask_capture(&c, 1, "file", 0);
    g_autoptr(Message) m = answer(&c, MESSAGE_COPIER_CAPTURED);
    CU_ASSERT_EQUAL(captured_outcome(m, &job, &code), CAPTURE_CONTENT);
    CU_ASSERT_EQUAL(job, 1);
    CU_ASSERT_EQUAL_FATAL(m->n_fds, 2);
    g_autoptr(GBytes) sums = fd_to_bytes(m->fds[0], 100, &error);
    g_autoptr(GBytes) content = fd_to_bytes(m->fds[1], 100, &error);
    UNIT_NO_ERROR(error);
    CU_ASSERT_EQUAL(memcmp(g_bytes_get_data(content, NULL), "hello", 5), 0);
    CU_ASSERT_EQUAL(sums_get(sums, 0), sums_of_block("hello", 5));
    ask_capture(&c, 2, "nothing", 0);
    g_autoptr(Message) gone = answer(&c, MESSAGE_COPIER_CAPTURED);
    CU_ASSERT_EQUAL(captured_outcome(gone, &job, &code), CAPTURE_GONE);
    CU_ASSERT_EQUAL(child_end(&c), 0);
}

static void
large_captures_ask_for_staged_files_and_others_wait(void)
{
    g_auto(Child) c = {0};
    g_autofree char *path = unit_path("large"), *small = unit_path("small");
    g_autofree char *staged = unit_path("staged");
    guint64 job, size;
    gint32 code;

    unit_write(small, "x", 1);
    g_autofree char *data = g_malloc(20 * MIB);
    memset(data, 'y', 20 * MIB);
    unit_write(path, data, 20 * MIB);
    child_start(&c, geteuid());
    ask_capture(&c, 1, "large", 0);
    g_autoptr(Message) wants = answer(&c, MESSAGE_COPIER_STAGE);
    g_variant_get(wants->body, "(tt)", &job, &size);
    CU_ASSERT_EQUAL(size, 20 * MIB);
    ask_capture(&c, 2, "small", 0); /* meanwhile */
    g_auto(Fd) fd = open(staged, O_RDWR | O_CREAT | O_CLOEXEC, 0600);
    ask(&c, MESSAGE_DAEMON_STAGED, g_variant_new("(tb)", (guint64) 1, TRUE), &fd, 1);
    g_autoptr(Message) progress = answer(&c, MESSAGE_COPIER_PROGRESS);
    g_autoptr(Message) m = answer(&c, MESSAGE_COPIER_CAPTURED);
    CU_ASSERT_EQUAL(captured_outcome(m, &job, &code), CAPTURE_CONTENT);
    CU_ASSERT_EQUAL(job, 1);
    CU_ASSERT_EQUAL(m->n_fds, 1); /* the sums */
    g_autoptr(Message) second = answer(&c, MESSAGE_COPIER_CAPTURED);
    CU_ASSERT_EQUAL(captured_outcome(second, &job, &code), CAPTURE_CONTENT);
    CU_ASSERT_EQUAL(job, 2);
    g_autoptr(GBytes) got = unit_read(staged);
    CU_ASSERT_EQUAL_FATAL(g_bytes_get_size(got), 20 * MIB);
    CU_ASSERT_EQUAL(memcmp(g_bytes_get_data(got, NULL), data, 20 * MIB), 0);

    ask_capture(&c, 3, "large", 0);
    g_autoptr(Message) again = answer(&c, MESSAGE_COPIER_STAGE);
    ask(&c, MESSAGE_DAEMON_STAGED, g_variant_new("(tb)", (guint64) 3, FALSE), NULL, 0);
    g_autoptr(Message) refused = answer(&c, MESSAGE_COPIER_CAPTURED);
    CU_ASSERT_EQUAL(captured_outcome(refused, &job, &code), CAPTURE_FAILED);
    CU_ASSERT_EQUAL(code, FILEDUP_ERROR_AGAIN);
}

/* As if a store had it: asks for what differs from the recorded sums. */
static void
ask_difference(Child *c, guint64 job, const char *name, const FileStat *recorded, GBytes *sums)
{
    gsize n;
    const void *data = g_bytes_get_data(sums, &n);
    guint8 hash[HASH_BYTES];
    g_auto(Fd) fd = fd_from_bytes("sums", data, n, NULL);
    int fds[] = {fd};

    sums_hash(sums, recorded->size_bytes, hash);
    ask(c, MESSAGE_DAEMON_CAPTURE,
        g_variant_new("(t@ay@ayu@" FILESTAT_TYPE "@ay@ay)", job, path_to_variant(unit_folder()),
                      path_to_variant(name), 0, filestat_to_variant(recorded),
                      g_variant_new_fixed_array(G_VARIANT_TYPE_BYTE, hash, HASH_BYTES, 1),
                      g_variant_new_fixed_array(G_VARIANT_TYPE_BYTE, NULL, 0, 1)),
        fds, 1);
}

static void
with_recorded_sums_the_answer_is_ranges(void)
{
    g_auto(Child) c = {0};
    g_autoptr(GError) error = NULL;
    g_autofree char *path = unit_path("file"), *data = g_malloc0(MIB);
    g_autoptr(Sums) summing = sums_new(0);
    guint8 hash[HASH_BYTES];
    FileStat recorded;
    guint64 job;
    gint32 code;

    unit_write(path, data, MIB);
    CU_ASSERT_EQUAL(filestat_read(AT_FDCWD, path, &recorded), 0);
    sums_add(summing, data, MIB);
    g_autoptr(GBytes) sums = sums_finish(summing, hash);
    memcpy(data + 3 * SUM_BLOCK_BYTES + 5, "hello", 5);
    unit_write(path, data, MIB);
    child_start(&c, geteuid());
    ask_difference(&c, 1, "file", &recorded, sums);
    g_autoptr(Message) m = answer(&c, MESSAGE_COPIER_CAPTURED);
    CU_ASSERT_EQUAL(captured_outcome(m, &job, &code), CAPTURE_RANGES);
    CU_ASSERT_EQUAL_FATAL(m->n_fds, 3);
    g_autoptr(GBytes) all = fd_to_bytes(m->fds[0], MIB, &error);
    g_autoptr(GBytes) content = fd_to_bytes(m->fds[1], MIB, &error);
    g_autoptr(GBytes) ranges = fd_to_bytes(m->fds[2], MIB, &error);
    UNIT_NO_ERROR(error);
    CU_ASSERT_EQUAL(g_bytes_get_size(all), sums_length(MIB));
    CU_ASSERT_EQUAL_FATAL(g_bytes_get_size(content), SUM_BLOCK_BYTES);
    CU_ASSERT_EQUAL(
        memcmp(g_bytes_get_data(content, NULL), data + 3 * SUM_BLOCK_BYTES, SUM_BLOCK_BYTES), 0);
    CU_ASSERT_EQUAL_FATAL(g_bytes_get_size(ranges), sizeof(Range));
    const Range *range = g_bytes_get_data(ranges, NULL);
    CU_ASSERT_EQUAL(GUINT64_FROM_LE(range->offset), 3 * SUM_BLOCK_BYTES);
    CU_ASSERT_EQUAL(GUINT64_FROM_LE(range->length), SUM_BLOCK_BYTES);

    recorded.size_bytes = 1; /* more sums than that can have: not used, and not believed */
    ask_difference(&c, 2, "file", &recorded, sums);
    g_autoptr(Message) whole = answer(&c, MESSAGE_COPIER_CAPTURED);
    CU_ASSERT_EQUAL(captured_outcome(whole, &job, &code), CAPTURE_CONTENT);
    CU_ASSERT_EQUAL(whole->n_fds, 2);
}

static void
a_copier_that_waits_for_a_staged_file_can_be_stopped(void)
{
    g_auto(Child) c = {0};
    g_autofree char *path = unit_path("large");

    unit_write(path, "", 0);
    CU_ASSERT_EQUAL(truncate(path, 20 * MIB), 0);
    child_start(&c, geteuid());
    ask_capture(&c, 1, "large", 0);
    g_autoptr(Message) wants = answer(&c, MESSAGE_COPIER_STAGE);
    CU_ASSERT_EQUAL(child_end(&c), 0);
}

static void
a_copier_is_its_principal(void)
{
    g_auto(Child) c = {0};
    g_autofree char *path = unit_path("file");
    guint64 job;
    gint32 code;

    if (geteuid() != 0) {
        unit_skip("only root can become another user");
        return;
    }
    CU_ASSERT_EQUAL(chmod(unit_folder(), 0755), 0);
    unit_write(path, "secret", 6);
    CU_ASSERT_EQUAL(chmod(path, 0600), 0);
    child_start(&c, NOBODY);
    ask_capture(&c, 1, "file", CAPTURE_ALLOW_FUZZY);
    g_autoptr(Message) m = answer(&c, MESSAGE_COPIER_CAPTURED);
    CU_ASSERT_EQUAL(captured_outcome(m, &job, &code), CAPTURE_FAILED);
    CU_ASSERT_EQUAL(code, FILEDUP_ERROR_DENIED);
    CU_ASSERT_EQUAL(m->n_fds, 0);
    CU_ASSERT_EQUAL(chmod(path, 0644), 0); /* CAP_LEASE: the probe works on others' files */
    ask_capture(&c, 2, "file", 0);
    g_autoptr(Message) readable = answer(&c, MESSAGE_COPIER_CAPTURED);
    CU_ASSERT_EQUAL(captured_outcome(readable, &job, &code), CAPTURE_CONTENT);
}

static Message *
restore(Child *c, const char *folder, const char *content)
{
    FileStat stat = {.mode = S_IFREG | 0644, .uid = geteuid(), .gid = getegid()};
    g_autoptr(Sums) sums = sums_new(0);
    guint8 hash[HASH_BYTES];
    gsize n = strlen(content);

    sums_add(sums, content, n);
    g_autoptr(GBytes) bytes = sums_finish(sums, hash);
    g_auto(Fd) source = fd_from_bytes("source", content, n, NULL);
    g_auto(Fd) sums_fd =
        fd_from_bytes("sums", g_bytes_get_data(bytes, NULL), g_bytes_get_size(bytes), NULL);
    int fds[] = {source, sums_fd};
    ask(c, MESSAGE_DAEMON_RESTORE,
        g_variant_new("(t@ay@ayut@" FILESTAT_TYPE "@ayb@" FILESTAT_TYPE ")", (guint64) 9,
                      path_to_variant(folder), path_to_variant("file"), 0, (guint64) n,
                      filestat_to_variant(&stat),
                      g_variant_new_fixed_array(G_VARIANT_TYPE_BYTE, NULL, 0, 1), TRUE,
                      filestat_to_variant(&(FileStat){0})),
        fds, 2);
    return answer(c, MESSAGE_COPIER_RESTORED);
}

static void
a_restore_swaps_and_a_discard_removes_what_it_swapped_out(void)
{
    g_auto(Child) c = {0};
    g_autofree char *path = unit_path("file"), *swapped = NULL;
    const char *problems, *who, *text;
    guint64 job, dev, ino, written;
    gint32 code, errnum;

    unit_write(path, "old", 3);
    child_start(&c, geteuid());
    g_autoptr(Message) m = restore(&c, unit_folder(), "restored");
    g_variant_get(m->body, "(t(ii&s)^ayttt&s&s)", &job, &code, &errnum, &text, &swapped, &dev, &ino,
                  &written, &problems, &who);
    CU_ASSERT_EQUAL(code, -1);
    CU_ASSERT_EQUAL(written, 8);
    g_autoptr(GBytes) now = unit_read(path);
    CU_ASSERT_EQUAL(memcmp(g_bytes_get_data(now, NULL), "restored", 8), 0);
    g_autofree char *old = unit_path(swapped);
    CU_ASSERT_EQUAL(access(old, F_OK), 0);
    ask(&c, MESSAGE_DAEMON_DISCARD,
        g_variant_new("(t@ay@aytt)", (guint64) 10, path_to_variant(unit_folder()),
                      path_to_variant(swapped), dev, ino),
        NULL, 0);
    g_autoptr(Message) gone = answer(&c, MESSAGE_COPIER_DISCARDED);
    CU_ASSERT_EQUAL(access(old, F_OK), -1);
}

static void
a_restore_into_a_missing_folder_says_what_to_do(void)
{
    g_auto(Child) c = {0};
    g_autofree char *nowhere = unit_path("nowhere");
    g_autoptr(GError) error = NULL;

    child_start(&c, geteuid());
    g_autoptr(Message) m = restore(&c, nowhere, "restored");
    g_autoptr(GVariant) problem = g_variant_get_child_value(m->body, 1);
    CU_ASSERT_FALSE(message_error_check(problem, NULL, &error));
    CU_ASSERT_TRUE(g_error_matches(error, FILEDUP_ERROR, FILEDUP_ERROR_REFUSED));
    CU_ASSERT_PTR_NOT_NULL(strstr(error->message, "mkdir -p"));
    CU_ASSERT_PTR_NOT_NULL(strstr(error->message, nowhere));
}

static void
a_name_with_a_slash_ends_the_copier(void)
{
    g_auto(Child) c = {0};
    g_autoptr(GError) error = NULL;

    child_start(&c, geteuid());
    ask_capture(&c, 1, "../etc/passwd", 0);
    g_autoptr(Message) m = channel_wait(c.channel, WAIT, &error);
    CU_ASSERT_PTR_NULL(m);
    CU_ASSERT_PTR_NOT_NULL(error);
    CU_ASSERT_EQUAL(child_end(&c), 1);
}

static void
a_copier_ends_with_its_parent(void)
{
    g_auto(Child) c = {0};
    int status;

    child_start(&c, geteuid());
    g_clear_pointer(&c.channel, channel_free);
    CU_ASSERT_EQUAL(waitpid(c.pid, &status, 0), c.pid);
}

static const UnitTest tests[] = {
    UNIT_TEST(a_path_is_made_canonical),
    UNIT_TEST(what_does_not_exist_yet_is_allowed_and_said),
    UNIT_TEST(a_user_needs_to_be_able_to_write_the_file),
    UNIT_TEST(captures_are_answered_with_sealed_memory),
    UNIT_TEST(large_captures_ask_for_staged_files_and_others_wait),
    UNIT_TEST(with_recorded_sums_the_answer_is_ranges),
    UNIT_TEST(a_copier_that_waits_for_a_staged_file_can_be_stopped),
    UNIT_TEST(a_copier_is_its_principal),
    UNIT_TEST(a_restore_swaps_and_a_discard_removes_what_it_swapped_out),
    UNIT_TEST(a_restore_into_a_missing_folder_says_what_to_do),
    UNIT_TEST(a_name_with_a_slash_ends_the_copier),
    UNIT_TEST(a_copier_ends_with_its_parent),
};

int
main(int argc, char **argv)
{
    RoleArgs args;

    if (role_parse(argc, argv, &args))
        return copier_main(&args, role_begin(&args));
    return unit_main("copier", tests, G_N_ELEMENTS(tests));
}
