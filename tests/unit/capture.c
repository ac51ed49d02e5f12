/* capture.c - tests of reading a protected file */

#include "config.h"

#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/mount.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <sys/xattr.h>
#include <time.h>
#include <unistd.h>

#include "base/error.h"
#include "base/path.h"
#include "base/principal.h"
#include "base/sums.h"
#include "copy/attributes.h"
#include "copy/capture.h"
#include "tests/unit/unit.h"

#define NOBODY 65534
#define MIB    (1024 * 1024)

typedef struct Scene {
    CaptureRequest q;
    int stage_calls;
    guint n_stages;
    gboolean refuse_stage;
    char *path;
    int touches; /* how often the progress callback changes the file */
    goffset touch_offset;
    gboolean truncate;
    guint32 count_up;        /* a number at the start, then the same at the end */
    const char *replacement; /* is renamed to the name instead */
} Scene;

static gboolean
scene_stage(G_GNUC_UNUSED guint64 size, int *ret_fds, guint *ret_n, gpointer data, GError **error)
{
    Scene *s = data;

    s->stage_calls++;
    if (s->refuse_stage)
        return throw_error(error, FILEDUP_ERROR_AGAIN, "no store can take it now");
    for (*ret_n = 0; *ret_n < s->n_stages; (*ret_n)++) {
        g_autofree char *name = g_strdup_printf("staged-%u", *ret_n);
        g_autofree char *path = unit_path(name);
        ret_fds[*ret_n] = open(path, O_RDWR | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
    }
    return TRUE;
}

/* Time stamps move with the kernel's clock only: two ticks, and the next change shows. */
static void
let_the_clock_tick(void)
{
    struct timespec start, now;

    for (int ticks = 0; ticks < 2; ticks++) {
        clock_gettime(CLOCK_REALTIME_COARSE, &start);
        do
            clock_gettime(CLOCK_REALTIME_COARSE, &now);
        while (now.tv_sec == start.tv_sec && now.tv_nsec == start.tv_nsec);
    }
}

static void
put(const char *path, const void *data, gsize n, goffset offset)
{
    g_auto(Fd) fd = open(path, O_WRONLY | O_CLOEXEC);

    CU_ASSERT_TRUE(fd_pwrite_full(fd, data, n, offset));
}

/* A change from outside, in the middle of the read. */
static void
scene_progress(G_GNUC_UNUSED guint64 bytes, gpointer data)
{
    Scene *s = data;

    if (s->touches == 0)
        return;
    s->touches--;
    let_the_clock_tick();
    if (s->replacement) {
        CU_ASSERT_EQUAL(rename(s->replacement, s->path), 0);
        return;
    }
    if (s->count_up) {
        put(s->path, &s->count_up, sizeof s->count_up, 0);
        put(s->path, &s->count_up, sizeof s->count_up, s->touch_offset);
        s->count_up++;
        return;
    }
    if (s->truncate) {
        CU_ASSERT_EQUAL(truncate(s->path, 10), 0);
        return;
    }
    g_auto(Fd) fd = open(s->path, O_WRONLY | O_CLOEXEC);
    CU_ASSERT_EQUAL(pwrite(fd, "changed", 7, s->touch_offset), 7);
}

static void
scene_init(Scene *s, const char *name)
{
    *s = (Scene){.n_stages = 1, .path = unit_path(name)};
    s->q = (CaptureRequest){.folder = unit_folder(),
                            .name = name,
                            .stage = scene_stage,
                            .progress = scene_progress,
                            .data = s};
}

static void
scene_clear(Scene *s)
{
    g_free(s->path);
    g_clear_pointer(&s->q.attributes, g_bytes_unref);
    g_clear_pointer(&s->q.sums, g_bytes_unref);
    g_free((gpointer) s->q.hash);
}
G_DEFINE_AUTO_CLEANUP_CLEAR_FUNC(Scene, scene_clear)

/* What a store would remember of it. */
static void
record(Scene *s, const CaptureResult *r)
{
    s->q.recorded = r->stat;
    g_free((gpointer) s->q.hash);
    s->q.hash = g_memdup2(r->hash, HASH_BYTES);
    g_clear_pointer(&s->q.attributes, g_bytes_unref);
    s->q.attributes = g_bytes_ref(r->attributes);
    g_clear_pointer(&s->q.sums, g_bytes_unref);
    s->q.sums = fd_to_bytes(r->sums, sums_length(r->stat.size_bytes), NULL);
}

static CaptureOutcome
outcome(Scene *s)
{
    g_auto(CaptureResult) r = {.sums = -1, .content = -1, .ranges = -1};

    capture_run(&s->q, &r);
    return r.outcome;
}

static char *
pattern(gsize n)
{
    char *data = g_malloc(n + 1);

    for (gsize i = 0; i < n; i++)
        data[i] = (char) (i * 7 + i / 4096 + 1);
    return data;
}

static void
assert_content(const CaptureResult *r, const char *path)
{
    g_autoptr(GError) error = NULL;
    g_autoptr(GBytes) file = unit_read(path);
    gsize n = g_bytes_get_size(file);
    guint8 hash[HASH_BYTES];

    CU_ASSERT_EQUAL_FATAL(r->outcome, CAPTURE_CONTENT);
    g_autoptr(GBytes) content = fd_to_bytes(r->content, 16 * MIB, &error);
    UNIT_NO_ERROR(error);
    CU_ASSERT_TRUE(g_bytes_equal(content, file));
    g_autoptr(GBytes) sums = fd_to_bytes(r->sums, MIB, &error);
    UNIT_NO_ERROR(error);
    CU_ASSERT_TRUE(sums_check(r->content, sums, n, &error));
    sums_hash(sums, n, hash);
    CU_ASSERT_EQUAL(memcmp(hash, r->hash, HASH_BYTES), 0);
}

static void
a_quiet_file_is_captured_with_its_sums_and_hash(void)
{
    static const gsize sizes[] = {0, 1, 16384, 16385, 100000, 3 * MIB + 5};

    for (gsize i = 0; i < G_N_ELEMENTS(sizes); i++) {
        g_auto(Scene) s = {0};
        g_auto(CaptureResult) r = {.sums = -1, .content = -1, .ranges = -1};
        g_autofree char *data = pattern(sizes[i]);
        scene_init(&s, "file");
        unit_write(s.path, data, (gssize) sizes[i]);
        capture_run(&s.q, &r);
        UNIT_NO_ERROR(r.error);
        CU_ASSERT_EQUAL(r.quality, QUALITY_STABLE);
        CU_ASSERT_EQUAL(r.stat.size_bytes, sizes[i]);
        assert_content(&r, s.path);
    }
}

static void
what_is_as_recorded_is_not_sent_again(void)
{
    g_auto(Scene) s = {0};
    g_auto(CaptureResult) r = {.sums = -1, .content = -1, .ranges = -1};

    scene_init(&s, "file");
    unit_write(s.path, "hello", 5);
    capture_run(&s.q, &r);
    assert_content(&r, s.path);
    record(&s, &r);
    CU_ASSERT_EQUAL(outcome(&s), CAPTURE_UNCHANGED);
    s.q.flags = CAPTURE_COMPARE_CONTENT;
    CU_ASSERT_EQUAL(outcome(&s), CAPTURE_UNCHANGED);
    s.q.flags = CAPTURE_UNCONDITIONAL;
    CU_ASSERT_EQUAL(outcome(&s), CAPTURE_CONTENT);
    s.q.flags = 0;
    CU_ASSERT_EQUAL(chmod(s.path, 0601), 0);
    CU_ASSERT_EQUAL(outcome(&s), CAPTURE_ATTRIBUTES);
    unit_write(s.path, "hello", 5); /* another inode, the same bytes */
    CU_ASSERT_EQUAL(outcome(&s), CAPTURE_ATTRIBUTES);
    unit_write(s.path, "hellO", 5);
    CU_ASSERT_EQUAL(outcome(&s), CAPTURE_CONTENT);
}

static void
a_changed_extended_attribute_is_a_change_of_attributes(void)
{
    g_auto(Scene) s = {0};
    g_auto(CaptureResult) r = {.sums = -1, .content = -1, .ranges = -1};

    scene_init(&s, "file");
    unit_write(s.path, "hello", 5);
    if (setxattr(s.path, "user.one", "1", 1, 0) < 0) {
        unit_skip("no user attributes in the temporary folder");
        return;
    }
    capture_run(&s.q, &r);
    record(&s, &r);
    CU_ASSERT_EQUAL(outcome(&s), CAPTURE_UNCHANGED);
    CU_ASSERT_EQUAL(setxattr(s.path, "user.one", "2", 1, 0), 0);
    CU_ASSERT_EQUAL(outcome(&s), CAPTURE_ATTRIBUTES);
}

static void
a_deleted_file_and_an_absent_folder_are_told_apart(void)
{
    g_auto(Scene) s = {0};
    g_auto(CaptureResult) r = {.sums = -1, .content = -1, .ranges = -1};

    scene_init(&s, "file");
    CU_ASSERT_EQUAL(outcome(&s), CAPTURE_GONE);
    unit_write(s.path, "hello", 5);
    capture_run(&s.q, &r);
    record(&s, &r);
    CU_ASSERT_EQUAL(unlink(s.path), 0);
    CU_ASSERT_EQUAL(outcome(&s), CAPTURE_GONE);
    s.q.recorded.fsid ^= 1; /* what is mounted here now is another file system */
    CU_ASSERT_EQUAL(outcome(&s), CAPTURE_ABSENT);
    unit_write(s.path, "other", 5);
    CU_ASSERT_EQUAL(outcome(&s), CAPTURE_ABSENT);
    s.q.recorded.fsid ^= 1;
    g_autofree char *nowhere = unit_path("nowhere");
    s.q.folder = nowhere;
    CU_ASSERT_EQUAL(outcome(&s), CAPTURE_ABSENT);
}

static void
assert_refused(Scene *s, const char *why)
{
    g_auto(CaptureResult) r = {.sums = -1, .content = -1, .ranges = -1};

    alarm(20); /* opening the pipe would hang */
    capture_run(&s->q, &r);
    alarm(0);
    CU_ASSERT_EQUAL(r.outcome, CAPTURE_FAILED);
    CU_ASSERT_TRUE_FATAL(g_error_matches(r.error, FILEDUP_ERROR, FILEDUP_ERROR_REFUSED));
    CU_ASSERT_PTR_NOT_NULL(strstr(r.error->message, why));
}

static void
what_is_no_regular_file_is_refused_and_not_opened(void)
{
    g_auto(Scene) s = {0};
    g_autofree char *target = unit_path("target");
    struct sockaddr_un address = {.sun_family = AF_UNIX};

    scene_init(&s, "file");
    CU_ASSERT_EQUAL(mkfifo(s.path, 0600), 0);
    g_auto(Fd) writer = -1;
    assert_refused(&s, "a named pipe");
    writer = open(s.path, O_WRONLY | O_NONBLOCK | O_CLOEXEC);
    CU_ASSERT_EQUAL(writer, -1); /* ENXIO: nobody reads it */
    unlink(s.path);

    unit_write(target, "secret", 6);
    CU_ASSERT_EQUAL(symlink(target, s.path), 0);
    assert_refused(&s, "a symbolic link");
    unlink(s.path);

    CU_ASSERT_EQUAL(mkdir(s.path, 0700), 0);
    assert_refused(&s, "a folder");
    rmdir(s.path);

    g_auto(Fd) sock = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    g_strlcpy(address.sun_path, s.path, sizeof address.sun_path);
    CU_ASSERT_EQUAL(bind(sock, (struct sockaddr *) &address, sizeof address), 0);
    assert_refused(&s, "a socket");
    unlink(s.path);

    if (mknod(s.path, S_IFCHR | 0600, makedev(1, 5)) < 0) /* endless zeros */
        unit_skip("device nodes cannot be made here");
    else
        assert_refused(&s, "a device");
}

static void
a_symbolic_link_in_the_path_is_not_followed(void)
{
    g_auto(Scene) s = {0};
    g_autofree char *real = unit_path("real"), *link = unit_path("link");
    g_autofree char *file = unit_path("real/file");

    CU_ASSERT_EQUAL(mkdir(real, 0700), 0);
    unit_write(file, "hello", 5);
    CU_ASSERT_EQUAL(symlink("real", link), 0);
    scene_init(&s, "file");
    s.q.folder = link;
    assert_refused(&s, "symbolic link");
    s.q.folder = real;
    CU_ASSERT_EQUAL(outcome(&s), CAPTURE_CONTENT);
}

/* Exchanges two names until it is killed. */
static pid_t
exchanger(const char *a, const char *b)
{
    pid_t pid = fork();

    if (pid == 0)
        for (;;)
            (void) renameat2(AT_FDCWD, a, AT_FDCWD, b, RENAME_EXCHANGE);
    return pid;
}

static void
end_child(pid_t pid)
{
    kill(pid, SIGKILL);
    waitpid(pid, NULL, 0);
}

/* 0 if nothing but "mine" was ever captured. */
static int
captures_only_mine(Scene *s)
{
    int captured = 0;

    for (int i = 0; i < 20000 && captured < 200; i++) {
        g_auto(CaptureResult) r = {.sums = -1, .content = -1, .ranges = -1};
        capture_run(&s->q, &r);
        if (r.outcome != CAPTURE_CONTENT)
            continue;
        captured++;
        g_autoptr(GBytes) content = fd_to_bytes(r.content, MIB, NULL);
        if (!content || g_bytes_get_size(content) != 4 ||
            memcmp(g_bytes_get_data(content, NULL), "mine", 4) != 0)
            return 1;
    }
    return 0;
}

static void
what_is_swapped_in_during_a_capture_is_never_read(void)
{
    g_auto(Scene) s = {0};
    g_autofree char *secret = unit_path("secret"), *link = unit_path("link");

    scene_init(&s, "file");
    unit_write(secret, "root", 4);
    unit_write(s.path, "mine", 4);
    CU_ASSERT_EQUAL(symlink(secret, link), 0);
    pid_t pid = exchanger(s.path, link);
    CU_ASSERT_EQUAL(captures_only_mine(&s), 0);
    end_child(pid);
}

static void
a_parent_folder_swapped_for_a_link_is_never_followed(void)
{
    g_auto(Scene) s = {0};
    g_autofree char *mine = unit_path("mine"), *mine_file = unit_path("mine/file");
    g_autofree char *secret = unit_path("secret"), *secret_file = unit_path("secret/file");
    g_autofree char *link = unit_path("link");

    CU_ASSERT_EQUAL(mkdir(mine, 0700) | mkdir(secret, 0700), 0);
    unit_write(mine_file, "mine", 4);
    unit_write(secret_file, "root", 4);
    CU_ASSERT_EQUAL(symlink("secret", link), 0);
    scene_init(&s, "file");
    s.q.folder = mine;
    pid_t pid = exchanger(mine, link);
    CU_ASSERT_EQUAL(captures_only_mine(&s), 0);
    end_child(pid);
}

/* A process that has the file open (or only mapped) for writing, ready when this returns. */
static pid_t
writer_process(const char *path, gboolean mapped)
{
    int ready[2];
    char byte;

    CU_ASSERT_EQUAL_FATAL(pipe(ready), 0);
    pid_t pid = fork();
    if (pid == 0) {
        int fd = open(path, O_RDWR);
        if (mapped) {
            void *map = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
            close(fd);
            if (map == MAP_FAILED)
                _exit(1);
        }
        (void) !write(ready[1], "", 1);
        for (;;)
            pause();
    }
    close(ready[1]);
    CU_ASSERT_EQUAL(read(ready[0], &byte, 1), 1);
    close(ready[0]);
    return pid;
}

static void
a_file_open_for_writing_is_unstable_and_its_writer_named(void)
{
    g_auto(Scene) s = {0};
    g_auto(CaptureResult) r = {.sums = -1, .content = -1, .ranges = -1};
    g_auto(CaptureResult) fuzzy = {.sums = -1, .content = -1, .ranges = -1};

    scene_init(&s, "file");
    unit_write(s.path, "hello", 5);
    pid_t pid = writer_process(s.path, FALSE);
    g_autofree char *number = g_strdup_printf("(%d)", (int) pid);
    capture_run(&s.q, &r);
    CU_ASSERT_EQUAL(r.outcome, CAPTURE_UNSTABLE);
    CU_ASSERT_PTR_NOT_NULL_FATAL(r.writer);
    CU_ASSERT_PTR_NOT_NULL(strstr(r.writer, number));
    s.q.flags = CAPTURE_ALLOW_FUZZY;
    capture_run(&s.q, &fuzzy);
    CU_ASSERT_EQUAL(fuzzy.quality, QUALITY_FUZZY);
    assert_content(&fuzzy, s.path);
    end_child(pid);
    s.q.flags = 0;
    CU_ASSERT_EQUAL(outcome(&s), CAPTURE_CONTENT);
}

static void
a_shared_mapping_after_close_is_a_writer_too(void)
{
    g_auto(Scene) s = {0};
    g_auto(CaptureResult) r = {.sums = -1, .content = -1, .ranges = -1};

    scene_init(&s, "file");
    unit_write(s.path, "hello", 5);
    capture_run(&s.q, &r);
    record(&s, &r);
    pid_t pid = writer_process(s.path, TRUE);
    CU_ASSERT_EQUAL(outcome(&s), CAPTURE_UNSTABLE); /* though nothing differs from the record */
    end_child(pid);
    CU_ASSERT_EQUAL(outcome(&s), CAPTURE_UNCHANGED);
}

static void
a_change_during_the_read_costs_a_second_one(void)
{
    g_auto(Scene) s = {0};
    g_auto(CaptureResult) r = {.sums = -1, .content = -1, .ranges = -1};
    g_autofree char *data = pattern(3 * MIB);

    scene_init(&s, "file");
    unit_write(s.path, data, 3 * MIB);
    s.touches = 1;
    capture_run(&s.q, &r);
    CU_ASSERT_EQUAL(r.quality, QUALITY_STABLE);
    assert_content(&r, s.path);
    s.touches = 1000;
    CU_ASSERT_EQUAL(outcome(&s), CAPTURE_UNSTABLE);
}

static void
a_file_that_grows_or_shrinks_is_never_half_a_backup(void)
{
    g_auto(Scene) s = {0};
    g_auto(CaptureResult) r = {.sums = -1, .content = -1, .ranges = -1};
    g_autofree char *data = pattern(3 * MIB);

    scene_init(&s, "file");
    unit_write(s.path, data, 3 * MIB);
    s.touches = 1;
    s.touch_offset = 4 * MIB;
    capture_run(&s.q, &r);
    assert_content(&r, s.path);
    s.touches = 1;
    s.truncate = TRUE;
    capture_result_clear(&r);
    capture_run(&s.q, &r);
    CU_ASSERT_EQUAL(r.stat.size_bytes, 10);
    assert_content(&r, s.path);
}

static void
a_file_replaced_during_the_read_is_read_anew(void)
{
    g_auto(Scene) s = {0};
    g_auto(CaptureResult) r = {.sums = -1, .content = -1, .ranges = -1};
    g_autofree char *data = pattern(3 * MIB), *replacement = unit_path("new");

    scene_init(&s, "file");
    unit_write(s.path, data, 3 * MIB);
    data[0] ^= 1;
    unit_write(replacement, data, 3 * MIB);
    s.touches = 1;
    s.replacement = replacement;
    capture_run(&s.q, &r);
    CU_ASSERT_EQUAL(r.quality, QUALITY_STABLE);
    assert_content(&r, s.path);
}

static void
a_file_written_without_end_becomes_a_fuzzy_capture_after_five_rounds(void)
{
    g_auto(Scene) s = {0};
    g_auto(CaptureResult) r = {.sums = -1, .content = -1, .ranges = -1};
    g_autofree char *data = pattern(MIB);

    scene_init(&s, "file");
    unit_write(s.path, data, MIB);
    s.q.flags = CAPTURE_PER_WRITE;
    s.touches = 1000;
    capture_run(&s.q, &r);
    CU_ASSERT_EQUAL(r.outcome, CAPTURE_CONTENT);
    CU_ASSERT_EQUAL(r.quality, QUALITY_FUZZY);
    CU_ASSERT_EQUAL(s.touches, 1000 - 5);
    capture_result_clear(&r);
    s.touches = 2;
    capture_run(&s.q, &r);
    CU_ASSERT_EQUAL(r.quality, QUALITY_STABLE);
    assert_content(&r, s.path);
}

static void
large_content_goes_to_every_staged_file(void)
{
    g_auto(Scene) s = {0};
    g_auto(CaptureResult) r = {.sums = -1, .content = -1, .ranges = -1};
    const gsize size = 9 * MIB + 77;
    g_autofree char *data = pattern(size);
    guint8 hash[HASH_BYTES];

    scene_init(&s, "file");
    unit_write(s.path, data, (gssize) size);
    s.n_stages = 2;
    s.touches = 1; /* a second round takes the same files */
    capture_run(&s.q, &r);
    UNIT_NO_ERROR(r.error);
    CU_ASSERT_EQUAL(r.outcome, CAPTURE_CONTENT);
    CU_ASSERT_EQUAL(r.quality, QUALITY_STABLE);
    CU_ASSERT_EQUAL(r.content, -1);
    CU_ASSERT_EQUAL(s.stage_calls, 1);
    g_autoptr(GBytes) file = unit_read(s.path);
    for (int i = 0; i < 2; i++) {
        g_autofree char *path = unit_path(i ? "staged-1" : "staged-0");
        g_autoptr(GBytes) staged = unit_read(path);
        CU_ASSERT_TRUE(g_bytes_equal(staged, file));
    }
    g_autoptr(Sums) sums = sums_new(0);
    sums_add(sums, g_bytes_get_data(file, NULL), size);
    g_autoptr(GBytes) expected = sums_finish(sums, hash);
    g_autoptr(GBytes) got = fd_to_bytes(r.sums, MIB, NULL);
    CU_ASSERT_TRUE(g_bytes_equal(expected, got));
    CU_ASSERT_EQUAL(memcmp(hash, r.hash, HASH_BYTES), 0);

    record(&s, &r);
    CU_ASSERT_EQUAL(chmod(s.path, 0600), 0);
    CU_ASSERT_EQUAL(outcome(&s), CAPTURE_ATTRIBUTES);
    CU_ASSERT_EQUAL(s.stage_calls, 1); /* it was only hashed */
}

static void
a_store_that_cannot_take_it_fails_the_capture(void)
{
    g_auto(Scene) s = {0};
    g_auto(CaptureResult) r = {.sums = -1, .content = -1, .ranges = -1};

    scene_init(&s, "file");
    unit_write(s.path, "", 0);
    CU_ASSERT_EQUAL(truncate(s.path, 9 * MIB), 0);
    s.refuse_stage = TRUE;
    capture_run(&s.q, &r);
    CU_ASSERT_EQUAL(r.outcome, CAPTURE_FAILED);
    CU_ASSERT_TRUE(g_error_matches(r.error, FILEDUP_ERROR, FILEDUP_ERROR_AGAIN));
}

/* Records the file as it is, without asking that it be captured: what a store would have of it. */
static void
record_file(Scene *s)
{
    g_autoptr(GBytes) file = unit_read(s->path);
    g_autoptr(Sums) sums = sums_new(0);
    guint8 hash[HASH_BYTES];

    CU_ASSERT_EQUAL(filestat_read(AT_FDCWD, s->path, &s->q.recorded), 0);
    sums_add(sums, g_bytes_get_data(file, NULL), g_bytes_get_size(file));
    g_clear_pointer(&s->q.sums, g_bytes_unref);
    s->q.sums = sums_finish(sums, hash);
    g_free((gpointer) s->q.hash);
    s->q.hash = g_memdup2(hash, HASH_BYTES);
}

/* The ranges of a capture, laid over the old content, make the file; they are whole blocks,
 * ascending, apart from each other, and all that differs. */
static GArray *
assert_ranges(const CaptureResult *r, GBytes *old, const char *path)
{
    g_autoptr(GError) error = NULL;
    g_autoptr(GBytes) file = unit_read(path);
    gsize n = g_bytes_get_size(file), n_old = g_bytes_get_size(old), n_content, n_ranges;
    guint64 at = 0, end = 0;
    guint8 hash[HASH_BYTES];

    UNIT_NO_ERROR(r->error);
    CU_ASSERT_EQUAL_FATAL(r->outcome, CAPTURE_RANGES);
    CU_ASSERT_EQUAL(r->stat.size_bytes, n);
    g_autoptr(GBytes) content = fd_to_bytes(r->content, RANGES_BUFFER_BYTES, &error);
    UNIT_NO_ERROR(error);
    g_autoptr(GBytes) list = fd_to_bytes(r->ranges, 16 * MIB, &error);
    UNIT_NO_ERROR(error);
    const guint8 *bytes = g_bytes_get_data(content, &n_content);
    const Range *range = g_bytes_get_data(list, &n_ranges);
    CU_ASSERT_EQUAL(n_ranges % sizeof *range, 0);
    g_autofree guint8 *made = g_malloc0(n + 1);
    memcpy(made, g_bytes_get_data(old, NULL), MIN(n, n_old));
    GArray *found = g_array_new(FALSE, FALSE, sizeof *range);
    for (gsize i = 0; i < n_ranges / sizeof *range; i++, range++) {
        Range host = {GUINT64_FROM_LE(range->offset), GUINT64_FROM_LE(range->length),
                      GUINT64_FROM_LE(range->zeros)};
        g_array_append_val(found, host);
        CU_ASSERT_TRUE(host.offset >= end && host.length > 0 && host.offset + host.length <= n);
        CU_ASSERT_EQUAL(host.offset % SUM_BLOCK_BYTES, 0);
        end = host.offset + host.length;
        CU_ASSERT_TRUE(end % SUM_BLOCK_BYTES == 0 || end == n);
        if (host.zeros) {
            memset(made + host.offset, 0, host.length);
            continue;
        }
        CU_ASSERT_TRUE_FATAL(at + host.length <= n_content);
        memcpy(made + host.offset, bytes + at, host.length);
        at += host.length;
    }
    CU_ASSERT_EQUAL(at, n_content);
    CU_ASSERT_EQUAL(memcmp(made, g_bytes_get_data(file, NULL), n), 0);

    g_autoptr(Sums) sums = sums_new(0);
    sums_add(sums, made, n);
    g_autoptr(GBytes) expected = sums_finish(sums, hash);
    g_autoptr(GBytes) got = fd_to_bytes(r->sums, MIB, &error);
    UNIT_NO_ERROR(error);
    CU_ASSERT_TRUE(g_bytes_equal(expected, got));
    CU_ASSERT_EQUAL(memcmp(hash, r->hash, HASH_BYTES), 0);
    return found;
}

static void
with_recorded_sums_only_what_differs_is_sent(void)
{
    g_auto(Scene) s = {0};
    g_auto(CaptureResult) first = {.sums = -1, .content = -1, .ranges = -1};
    g_auto(CaptureResult) r = {.sums = -1, .content = -1, .ranges = -1};
    g_autofree char *data = pattern(12 * MIB + 100);

    scene_init(&s, "file");
    unit_write(s.path, data, 12 * MIB + 100);
    capture_run(&s.q, &first);
    CU_ASSERT_EQUAL_FATAL(first.outcome, CAPTURE_CONTENT);
    record(&s, &first);
    g_autoptr(GBytes) old = unit_read(s.path);
    put(s.path, "one", 3, 0);
    put(s.path, "two", 3, SUM_BLOCK_BYTES * 5 - 1); /* over the border of two blocks */
    put(s.path, "end", 3, 12 * MIB + 97);
    s.stage_calls = 0;
    capture_run(&s.q, &r);
    CU_ASSERT_EQUAL(r.quality, QUALITY_STABLE);
    CU_ASSERT_EQUAL(s.stage_calls, 0);
    g_autoptr(GArray) ranges = assert_ranges(&r, old, s.path);
    CU_ASSERT_EQUAL_FATAL(ranges->len, 3);
    CU_ASSERT_EQUAL(g_array_index(ranges, Range, 1).offset, SUM_BLOCK_BYTES * 4);
    CU_ASSERT_EQUAL(g_array_index(ranges, Range, 1).length, SUM_BLOCK_BYTES * 2);
    CU_ASSERT_EQUAL(g_array_index(ranges, Range, 2).length, 100);
}

static void
nothing_differs_from_the_recorded_sums(void)
{
    g_auto(Scene) s = {0};
    g_autofree char *data = pattern(9 * MIB);

    scene_init(&s, "file");
    unit_write(s.path, data, 9 * MIB);
    record_file(&s);
    s.q.flags = CAPTURE_COMPARE_CONTENT;
    CU_ASSERT_EQUAL(outcome(&s), CAPTURE_UNCHANGED);
    CU_ASSERT_EQUAL(chmod(s.path, 0601), 0);
    CU_ASSERT_EQUAL(outcome(&s), CAPTURE_ATTRIBUTES);
    unit_write(s.path, data, 9 * MIB); /* another inode, the same bytes */
    CU_ASSERT_EQUAL(outcome(&s), CAPTURE_ATTRIBUTES);
    CU_ASSERT_EQUAL(s.stage_calls, 0);
}

static void
what_is_cut_off_is_told_by_the_size(void)
{
    g_auto(Scene) s = {0};
    g_auto(CaptureResult) r = {.sums = -1, .content = -1, .ranges = -1};
    g_autofree char *data = pattern(MIB);

    scene_init(&s, "file");
    unit_write(s.path, data, MIB);
    record_file(&s);
    g_autoptr(GBytes) old = unit_read(s.path);
    CU_ASSERT_EQUAL(truncate(s.path, MIB / 2), 0);
    capture_run(&s.q, &r);
    g_autoptr(GArray) none = assert_ranges(&r, old, s.path);
    CU_ASSERT_EQUAL(none->len, 0);
    CU_ASSERT_EQUAL(truncate(s.path, MIB / 2 - 1), 0); /* the last block is another by its length */
    capture_result_clear(&r);
    capture_run(&s.q, &r);
    g_autoptr(GArray) one = assert_ranges(&r, old, s.path);
    CU_ASSERT_EQUAL(one->len, 1);
}

static void
what_is_added_is_a_range_and_a_hole_takes_no_bytes(void)
{
    g_auto(Scene) s = {0};
    g_auto(CaptureResult) r = {.sums = -1, .content = -1, .ranges = -1};
    g_autofree char *data = pattern(MIB);
    struct stat st;

    scene_init(&s, "file");
    unit_write(s.path, data, MIB - 10); /* its last block grows */
    record_file(&s);
    g_autoptr(GBytes) old = unit_read(s.path);
    put(s.path, "tail", 4, 40 * MIB + 100);
    capture_run(&s.q, &r);
    g_autoptr(GArray) ranges = assert_ranges(&r, old, s.path);
    CU_ASSERT_EQUAL_FATAL(ranges->len, 3);
    CU_ASSERT_EQUAL(g_array_index(ranges, Range, 1).zeros, 1);
    CU_ASSERT_EQUAL(g_array_index(ranges, Range, 1).offset, MIB);
    CU_ASSERT_EQUAL(g_array_index(ranges, Range, 1).length, 39 * MIB);
    CU_ASSERT_EQUAL(fstat(r.content, &st), 0);
    CU_ASSERT_EQUAL(st.st_size, SUM_BLOCK_BYTES + 104);
}

static void
a_hole_punched_into_data_is_a_range_of_zeros(void)
{
    g_auto(Scene) s = {0};
    g_auto(CaptureResult) r = {.sums = -1, .content = -1, .ranges = -1};
    g_autofree char *data = pattern(2 * MIB);

    scene_init(&s, "file");
    unit_write(s.path, data, 2 * MIB);
    record_file(&s);
    g_autoptr(GBytes) old = unit_read(s.path);
    g_auto(Fd) fd = open(s.path, O_RDWR | O_CLOEXEC);
    if (fallocate(fd, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, 4096, 5 * SUM_BLOCK_BYTES) < 0) {
        unit_skip("no holes can be punched here");
        return;
    }
    fd_clear(fd_steal(&fd));
    capture_run(&s.q, &r);
    g_autoptr(GArray) ranges = assert_ranges(&r, old, s.path);
    CU_ASSERT_EQUAL_FATAL(ranges->len, 3); /* the blocks at its edges are part hole, part data */
    CU_ASSERT_EQUAL(g_array_index(ranges, Range, 0).zeros, 0);
    CU_ASSERT_EQUAL(g_array_index(ranges, Range, 1).zeros, 1);
    CU_ASSERT_EQUAL(g_array_index(ranges, Range, 1).length, 4 * SUM_BLOCK_BYTES);
    CU_ASSERT_EQUAL(g_array_index(ranges, Range, 2).zeros, 0);
}

static void
small_files_and_those_of_unfit_sums_are_sent_whole(void)
{
    g_auto(Scene) s = {0};
    g_auto(CaptureResult) r = {.sums = -1, .content = -1, .ranges = -1};
    g_autofree char *data = pattern(MIB);

    scene_init(&s, "file");
    unit_write(s.path, data, 256 * 1024);
    record_file(&s);
    put(s.path, "x", 1, 7);
    capture_run(&s.q, &r);
    assert_content(&r, s.path);

    unit_write(s.path, data, MIB);
    record_file(&s);
    put(s.path, "x", 1, 7);
    CU_ASSERT_EQUAL(outcome(&s), CAPTURE_RANGES);
    s.q.flags = CAPTURE_UNCONDITIONAL;
    CU_ASSERT_EQUAL(outcome(&s), CAPTURE_CONTENT);
    s.q.flags = 0;
    ((guint8 *) s.q.hash)[3] ^= 1; /* these sums are of something else */
    CU_ASSERT_EQUAL(outcome(&s), CAPTURE_CONTENT);
    ((guint8 *) s.q.hash)[3] ^= 1;
    s.q.recorded.size_bytes += SUM_BLOCK_BYTES;
    CU_ASSERT_EQUAL(outcome(&s), CAPTURE_CONTENT);
}

static void
a_file_of_which_most_has_changed_is_sent_whole(void)
{
    g_auto(Scene) s = {0};
    g_auto(CaptureResult) r = {.sums = -1, .content = -1, .ranges = -1};
    g_autofree char *data = pattern(12 * MIB), *staged = unit_path("staged-0");

    scene_init(&s, "file");
    unit_write(s.path, data, MIB);
    record_file(&s);
    for (gsize i = 0; i < 12 * MIB; i++)
        data[i] ^= 1;
    put(s.path, data, MIB, 0);
    capture_run(&s.q, &r);
    assert_content(&r, s.path); /* all of it: no ranges, and no second reading */

    unit_write(s.path, data, 12 * MIB);
    record_file(&s);
    for (gsize i = 0; i < 12 * MIB; i++)
        data[i] ^= 1;
    put(s.path, data, 5 * MIB, 0);
    capture_result_clear(&r);
    capture_run(&s.q, &r);
    CU_ASSERT_EQUAL(r.outcome, CAPTURE_RANGES);
    CU_ASSERT_EQUAL(s.stage_calls, 0);
    put(s.path, data, 7 * MIB, 0);
    capture_result_clear(&r);
    capture_run(&s.q, &r);
    CU_ASSERT_EQUAL(r.outcome, CAPTURE_CONTENT);
    CU_ASSERT_EQUAL(r.quality, QUALITY_STABLE);
    CU_ASSERT_EQUAL(r.content, -1);
    CU_ASSERT_EQUAL(s.stage_calls, 1);
    g_autoptr(GBytes) a = unit_read(staged), b = unit_read(s.path);
    CU_ASSERT_TRUE(g_bytes_equal(a, b));
}

static void
a_change_during_the_read_leaves_no_old_range_behind(void)
{
    g_auto(Scene) s = {0};
    g_auto(CaptureResult) r = {.sums = -1, .content = -1, .ranges = -1};
    g_autofree char *data = pattern(3 * MIB);

    scene_init(&s, "file");
    unit_write(s.path, data, 3 * MIB);
    record_file(&s);
    g_autoptr(GBytes) old = unit_read(s.path);
    put(s.path, "x", 1, 2 * MIB);
    s.touches = 1; /* before the block that the first round finds */
    capture_run(&s.q, &r);
    CU_ASSERT_EQUAL(r.quality, QUALITY_STABLE);
    g_autoptr(GArray) ranges = assert_ranges(&r, old, s.path);
    CU_ASSERT_EQUAL(ranges->len, 2);
    s.touches = 1000;
    CU_ASSERT_EQUAL(outcome(&s), CAPTURE_UNSTABLE);
    s.touches = 1;
    s.truncate = TRUE; /* small by the second round */
    capture_result_clear(&r);
    capture_run(&s.q, &r);
    CU_ASSERT_EQUAL(r.stat.size_bytes, 10);
    assert_content(&r, s.path);
}

static void
a_writers_file_is_fuzzy_by_ranges_too(void)
{
    g_auto(Scene) s = {0};
    g_auto(CaptureResult) r = {.sums = -1, .content = -1, .ranges = -1};
    g_autofree char *data = pattern(MIB);

    scene_init(&s, "file");
    unit_write(s.path, data, MIB);
    record_file(&s);
    g_autoptr(GBytes) old = unit_read(s.path);
    put(s.path, "x", 1, 4711);
    pid_t pid = writer_process(s.path, FALSE);
    CU_ASSERT_EQUAL(outcome(&s), CAPTURE_UNSTABLE);
    s.q.flags = CAPTURE_ALLOW_FUZZY;
    capture_run(&s.q, &r);
    end_child(pid);
    CU_ASSERT_EQUAL(r.quality, QUALITY_FUZZY);
    g_autoptr(GArray) ranges = assert_ranges(&r, old, s.path);
    CU_ASSERT_EQUAL(ranges->len, 1);
}

/* Mounts a file system that can clone on <folder>/disk, for this process alone. */
static gboolean
mount_clones(void)
{
    g_autofree char *disk = unit_path("disk"), *image = unit_path("image");
    g_autofree char *command = g_strdup_printf(
        "PATH=$PATH:/usr/sbin:/sbin; truncate -s 320M '%s' && mkfs.xfs -q -m reflink=1 '%s' && "
        "mount -o loop '%s' '%s'",
        image, image, image, disk);

    CU_ASSERT_EQUAL(mkdir(disk, 0700), 0);
    const char *const argv[] = {"sh", "-c", command, NULL};
    int status = -1;
    return unshare(CLONE_NEWNS) == 0 && mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL) == 0 &&
           g_spawn_sync(NULL, (char **) argv, NULL,
                        G_SPAWN_SEARCH_PATH | G_SPAWN_STDOUT_TO_DEV_NULL |
                            G_SPAWN_STDERR_TO_DEV_NULL,
                        NULL, NULL, NULL, NULL, &status, NULL) &&
           status == 0;
}

/* The number at the start and the one at the end of a fuzzy capture of a file that is counted up
 * while it is read. */
static void
capture_counted(Scene *s, CaptureFlags flags, guint32 *ret_first, guint32 *ret_last)
{
    g_auto(CaptureResult) r = {.sums = -1, .content = -1, .ranges = -1};

    s->q.flags = flags;
    s->touches = 1000;
    s->count_up = 1;
    capture_run(&s->q, &r);
    CU_ASSERT_EQUAL_FATAL(r.outcome, CAPTURE_CONTENT);
    CU_ASSERT_EQUAL(r.quality, QUALITY_FUZZY);
    CU_ASSERT_TRUE(fd_pread_full(r.content, ret_first, sizeof *ret_first, 0));
    CU_ASSERT_TRUE(fd_pread_full(r.content, ret_last, sizeof *ret_last, s->touch_offset));
}

static void
where_files_can_be_cloned_a_fuzzy_capture_is_one_instant(void)
{
    g_auto(Scene) s = {0};
    g_autofree char *disk = unit_path("disk"), *data = pattern(6 * MIB);
    guint32 first, last;

    if (!mount_clones()) {
        unit_skip("no loop device with xfs here");
        return;
    }
    scene_init(&s, "disk/file");
    s.q.folder = disk;
    s.q.name = "file";
    s.touch_offset = 5 * MIB;
    unit_write(s.path, data, 6 * MIB);
    pid_t pid = writer_process(s.path, FALSE);
    capture_counted(&s, CAPTURE_PER_WRITE, &first, &last);
    CU_ASSERT_TRUE(last > first); /* the end was read later than the start */
    capture_counted(&s, CAPTURE_ALLOW_FUZZY, &first, &last);
    CU_ASSERT_EQUAL(last, first);
    end_child(pid);
    CU_ASSERT_EQUAL(umount2(disk, 0), 0); /* no clone of it is left open */
}

/* One of: bytes, a new size, a hole. */
static void
change_at_random(int fd, GRand *rand, gsize size)
{
    g_autofree guint8 *data = NULL;
    gsize offset = (gsize) g_rand_int_range(rand, 0, (gint32) size + 1);
    gsize n = (gsize) g_rand_int_range(rand, 1, g_rand_boolean(rand) ? 100 : 200000);

    switch (g_rand_int_range(rand, 0, 6)) {
    case 0:
        CU_ASSERT_EQUAL(ftruncate(fd, (off_t) g_rand_int_range(rand, 300000, 3 * MIB)), 0);
        break;
    case 1:
        (void) fallocate(fd, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, (off_t) offset, (off_t) n);
        break;
    default:
        data = g_malloc(n);
        for (gsize i = 0; i < n; i++)
            data[i] = (guint8) g_rand_int(rand);
        CU_ASSERT_TRUE(fd_pwrite_full(fd, data, n, (goffset) offset));
    }
}

static void
ranges_laid_over_the_old_content_make_the_new_one(void)
{
    guint32 seed = g_random_int();
    g_autoptr(GRand) rand = g_rand_new_with_seed(seed);
    g_auto(Scene) s = {0};
    int by_ranges = 0;

    g_print("    seed %u\n", seed);
    scene_init(&s, "file");
    unit_write(s.path, "", 0);
    CU_ASSERT_EQUAL(truncate(s.path, MIB), 0);
    for (int i = 0; i < 200; i++) {
        g_auto(CaptureResult) r = {.sums = -1, .content = -1, .ranges = -1};
        record_file(&s);
        g_autoptr(GBytes) old = unit_read(s.path);
        g_auto(Fd) fd = open(s.path, O_RDWR | O_CLOEXEC);
        for (int changes = g_rand_int_range(rand, 1, 5); changes > 0; changes--)
            change_at_random(fd, rand, s.q.recorded.size_bytes);
        fd_clear(fd_steal(&fd));
        s.q.flags = CAPTURE_COMPARE_CONTENT;
        capture_run(&s.q, &r);
        if (r.outcome == CAPTURE_RANGES) {
            g_autoptr(GArray) ranges = assert_ranges(&r, old, s.path);
            by_ranges++;
        } else if (r.outcome == CAPTURE_CONTENT) {
            assert_content(&r, s.path);
        } else {
            g_autoptr(GBytes) now = unit_read(s.path);
            CU_ASSERT_TRUE(g_bytes_equal(old, now));
        }
    }
    CU_ASSERT_TRUE(by_ranges > 150);
}

static void
holes_stay_holes(void)
{
    static const gsize sizes[] = {6 * MIB, 40 * MIB};

    for (int i = 0; i < 2; i++) {
        g_auto(Scene) s = {0};
        g_auto(CaptureResult) r = {.sums = -1, .content = -1, .ranges = -1};
        g_autofree char *staged = unit_path("staged-0");
        struct stat st;
        scene_init(&s, i ? "large" : "small");
        g_auto(Fd) fd = open(s.path, O_RDWR | O_CREAT | O_CLOEXEC, 0600);
        CU_ASSERT_EQUAL(pwrite(fd, "data", 4, 5 * MIB - 2), 4);
        CU_ASSERT_EQUAL(ftruncate(fd, (off_t) sizes[i]), 0);
        fd_clear(fd_steal(&fd));
        capture_run(&s.q, &r);
        CU_ASSERT_EQUAL_FATAL(r.outcome, CAPTURE_CONTENT);
        if (i == 0)
            assert_content(&r, s.path);
        CU_ASSERT_EQUAL((i ? stat(staged, &st) : fstat(r.content, &st)), 0);
        CU_ASSERT_EQUAL(st.st_size, sizes[i]);
        CU_ASSERT_TRUE(st.st_blocks * 512 <= MIB);
        if (i) {
            g_autoptr(GBytes) a = unit_read(staged), b = unit_read(s.path);
            CU_ASSERT_TRUE(g_bytes_equal(a, b));
        }
    }
}

static void
names_are_bytes(void)
{
    static const char *const names[] = {"a b", "line\nbreak", "bad\xff\xfeutf8", "-rf", "'\"\\"};

    for (gsize i = 0; i < G_N_ELEMENTS(names); i++) {
        g_auto(Scene) s = {0};
        scene_init(&s, names[i]);
        unit_write(s.path, "hello", 5);
        CU_ASSERT_EQUAL(outcome(&s), CAPTURE_CONTENT);
    }
}

/* Runs a capture as nobody: 0 captured, 1 denied, 2 anything else. */
static int
capture_as_nobody(Scene *s)
{
    int status = 0;
    pid_t pid = fork();

    if (pid == 0) {
        g_auto(CaptureResult) r = {.sums = -1, .content = -1, .ranges = -1};
        if (!principal_become(NOBODY, NULL))
            _exit(3);
        capture_run(&s->q, &r);
        if (r.outcome == CAPTURE_CONTENT && r.quality == QUALITY_STABLE)
            _exit(0);
        _exit(g_error_matches(r.error, FILEDUP_ERROR, FILEDUP_ERROR_DENIED) ? 1 : 2);
    }
    waitpid(pid, &status, 0);
    return WIFEXITED(status) ? WEXITSTATUS(status) : 99;
}

static void
a_user_captures_only_what_the_user_may_read(void)
{
    g_auto(Scene) s = {0};
    g_autofree char *other = unit_path("other");

    if (geteuid() != 0) {
        unit_skip("only root can become another user");
        return;
    }
    CU_ASSERT_EQUAL(chmod(unit_folder(), 0755), 0);
    scene_init(&s, "file");
    unit_write(s.path, "hello", 5);
    CU_ASSERT_EQUAL(chmod(s.path, 0600), 0);
    CU_ASSERT_EQUAL(capture_as_nobody(&s), 1);
    CU_ASSERT_EQUAL(link(s.path, other), 0);
    CU_ASSERT_EQUAL(chmod(s.path, 0644), 0); /* somebody else's, two names, readable by all */
    CU_ASSERT_EQUAL(capture_as_nobody(&s), 0);
    CU_ASSERT_EQUAL(chmod(unit_folder(), 0711), 0); /* the folder may be passed, not listed */
    CU_ASSERT_EQUAL(capture_as_nobody(&s), 0);
    CU_ASSERT_EQUAL(chmod(unit_folder(), 0700), 0);
    CU_ASSERT_EQUAL(capture_as_nobody(&s), 1);
}

/* Another's file, and no CAP_LEASE: nobody can tell whether it is being written. */
static void
where_no_lease_is_to_be_had_the_last_change_must_lie_back(void)
{
    g_auto(Scene) s = {0};
    int status;

    if (geteuid() != 0) {
        unit_skip("only root can become another user");
        return;
    }
    CU_ASSERT_EQUAL(chmod(unit_folder(), 0755), 0);
    scene_init(&s, "file");
    unit_write(s.path, "hello", 5);
    pid_t pid = fork();
    if (pid == 0) {
        g_auto(CaptureResult) r = {.sums = -1, .content = -1, .ranges = -1};
        if (setresuid(NOBODY, NOBODY, NOBODY) < 0)
            _exit(1);
        capture_run(&s.q, &r);
        gint64 age_ns = g_get_real_time() * 1000 - r.stat.ctime_ns;
        _exit(r.outcome == CAPTURE_CONTENT && r.quality == QUALITY_STABLE && age_ns > 20000000 ? 0
                                                                                               : 2);
    }
    waitpid(pid, &status, 0);
    CU_ASSERT_EQUAL(status, 0);
}

static const UnitTest tests[] = {
    UNIT_TEST(a_quiet_file_is_captured_with_its_sums_and_hash),
    UNIT_TEST(what_is_as_recorded_is_not_sent_again),
    UNIT_TEST(a_changed_extended_attribute_is_a_change_of_attributes),
    UNIT_TEST(a_deleted_file_and_an_absent_folder_are_told_apart),
    UNIT_TEST(what_is_no_regular_file_is_refused_and_not_opened),
    UNIT_TEST(a_symbolic_link_in_the_path_is_not_followed),
    UNIT_TEST(what_is_swapped_in_during_a_capture_is_never_read),
    UNIT_TEST(a_parent_folder_swapped_for_a_link_is_never_followed),
    UNIT_TEST(a_file_open_for_writing_is_unstable_and_its_writer_named),
    UNIT_TEST(a_shared_mapping_after_close_is_a_writer_too),
    UNIT_TEST(a_change_during_the_read_costs_a_second_one),
    UNIT_TEST(a_file_that_grows_or_shrinks_is_never_half_a_backup),
    UNIT_TEST(a_file_replaced_during_the_read_is_read_anew),
    UNIT_TEST(a_file_written_without_end_becomes_a_fuzzy_capture_after_five_rounds),
    UNIT_TEST(large_content_goes_to_every_staged_file),
    UNIT_TEST(a_store_that_cannot_take_it_fails_the_capture),
    UNIT_TEST(with_recorded_sums_only_what_differs_is_sent),
    UNIT_TEST(nothing_differs_from_the_recorded_sums),
    UNIT_TEST(what_is_cut_off_is_told_by_the_size),
    UNIT_TEST(what_is_added_is_a_range_and_a_hole_takes_no_bytes),
    UNIT_TEST(a_hole_punched_into_data_is_a_range_of_zeros),
    UNIT_TEST(small_files_and_those_of_unfit_sums_are_sent_whole),
    UNIT_TEST(a_file_of_which_most_has_changed_is_sent_whole),
    UNIT_TEST(a_change_during_the_read_leaves_no_old_range_behind),
    UNIT_TEST(a_writers_file_is_fuzzy_by_ranges_too),
    UNIT_TEST(where_files_can_be_cloned_a_fuzzy_capture_is_one_instant),
    UNIT_TEST(ranges_laid_over_the_old_content_make_the_new_one),
    UNIT_TEST(holes_stay_holes),
    UNIT_TEST(names_are_bytes),
    UNIT_TEST(a_user_captures_only_what_the_user_may_read),
    UNIT_TEST(where_no_lease_is_to_be_had_the_last_change_must_lie_back),
};
UNIT_MAIN("capture", tests)
