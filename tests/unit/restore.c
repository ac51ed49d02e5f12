/* restore.c - tests of putting content back */

#include "config.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/error.h"
#include "base/fd.h"
#include "base/principal.h"
#include "base/sums.h"
#include "copy/restore.h"
#include "tests/unit/unit.h"

#define NOBODY 65534
#define MIB    (1024 * 1024)
#define SIZE   (3 * MIB + 1234)

typedef struct Scene {
    RestoreRequest q;
    Fd source, folder;
    char *path;
    char *data;
    void (*meddle)(void); /* once, at the progress call with this number */
    int meddle_at, calls;
} Scene;

static void
scene_clear(Scene *s)
{
    fd_clear(s->source);
    fd_clear(s->folder);
    g_free(s->path);
    g_free(s->data);
    g_clear_pointer(&s->q.sums, g_bytes_unref);
    g_clear_pointer(&s->q.attributes, g_bytes_unref);
}
G_DEFINE_AUTO_CLEANUP_CLEAR_FUNC(Scene, scene_clear)

static void
scene_progress(G_GNUC_UNUSED guint64 bytes, gpointer data)
{
    Scene *s = data;

    if (s->meddle && ++s->calls == s->meddle_at)
        s->meddle();
}

/* A backup of SIZE bytes, 0640, of 2001; nothing under the name "file" yet. */
static void
scene_init(Scene *s)
{
    g_autofree char *source = unit_path("backup");
    guint8 hash[HASH_BYTES];
    g_autoptr(Sums) sums = sums_new(SIZE);

    *s = (Scene){.path = unit_path("file"), .data = g_malloc(SIZE)};
    for (gsize i = 0; i < SIZE; i++)
        s->data[i] = (char) (i * 13 + i / 4096);
    unit_write(source, s->data, SIZE);
    s->source = open(source, O_RDONLY | O_CLOEXEC);
    s->folder = open(unit_folder(), O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    sums_add(sums, s->data, SIZE);
    s->q = (RestoreRequest){.source_fd = s->source,
                            .sums = sums_finish(sums, hash),
                            .size_bytes = SIZE,
                            .attributes = g_bytes_new_static("", 0),
                            .target_fd = -1,
                            .folder_fd = s->folder,
                            .name = "file",
                            .progress = scene_progress,
                            .data = s};
    CU_ASSERT_EQUAL(filestat_read(s->source, "", &s->q.stat), 0);
    s->q.stat.mode = S_IFREG | 0640;
    s->q.stat.mtime_ns = G_GINT64_CONSTANT(1000000000123456789);
}

static void
damage_backup(guint64 offset)
{
    g_autofree char *path = unit_path("backup");
    g_auto(Fd) fd = open(path, O_WRONLY | O_CLOEXEC);

    CU_ASSERT_EQUAL(pwrite(fd, "rot", 3, (off_t) offset), 3);
}

static void
assert_restored(Scene *s)
{
    g_autoptr(GBytes) file = unit_read(s->path);
    struct stat st;

    CU_ASSERT_EQUAL_FATAL(g_bytes_get_size(file), SIZE);
    CU_ASSERT_EQUAL(memcmp(g_bytes_get_data(file, NULL), s->data, SIZE), 0);
    CU_ASSERT_EQUAL(stat(s->path, &st), 0);
    CU_ASSERT_EQUAL(st.st_mode, S_IFREG | 0640);
    CU_ASSERT_EQUAL(st.st_mtim.tv_sec, 1000000000);
    CU_ASSERT_EQUAL(st.st_mtim.tv_nsec, 123456789);
}

static void
assert_holds(const char *path, const char *expected)
{
    g_autoptr(GBytes) file = unit_read(path);

    CU_ASSERT_EQUAL(g_bytes_get_size(file), strlen(expected));
    CU_ASSERT_EQUAL(memcmp(g_bytes_get_data(file, NULL), expected, strlen(expected)), 0);
}

static guint
count_files(void)
{
    g_autoptr(GDir) dir = g_dir_open(unit_folder(), 0, NULL);
    guint n = 0;

    while (g_dir_read_name(dir))
        n++;
    return n;
}

static void
a_deleted_file_comes_back(void)
{
    g_auto(Scene) s = {.source = -1, .folder = -1};
    g_auto(RestoreResult) r = {0};
    g_autoptr(GError) error = NULL;

    scene_init(&s);
    CU_ASSERT_TRUE(restore_run(&s.q, &r, &error));
    UNIT_NO_ERROR(error);
    assert_restored(&s);
    CU_ASSERT_PTR_NULL(r.swapped.name);
    CU_ASSERT_PTR_NULL(r.problems);
    CU_ASSERT_EQUAL(count_files(), 2);
}

static void
what_was_there_is_kept_beside_it(void)
{
    g_auto(Scene) s = {.source = -1, .folder = -1};
    g_auto(RestoreResult) r = {0};
    g_autoptr(GError) error = NULL;

    scene_init(&s);
    unit_write(s.path, "old", 3);
    CU_ASSERT_TRUE(restore_run(&s.q, &r, &error));
    UNIT_NO_ERROR(error);
    assert_restored(&s);
    CU_ASSERT_PTR_NOT_NULL_FATAL(r.swapped.name);
    g_autofree char *old = unit_path(r.swapped.name);
    assert_holds(old, "old");
}

static void
a_damaged_backup_replaces_nothing(void)
{
    static const RestoreFlags flags[] = {0, RESTORE_IN_PLACE, RESTORE_FORCE};

    for (gsize i = 0; i < G_N_ELEMENTS(flags); i++) {
        g_auto(Scene) s = {.source = -1, .folder = -1};
        g_auto(RestoreResult) r = {0};
        g_autoptr(GError) error = NULL;
        scene_init(&s);
        unit_write(s.path, "old", 3);
        damage_backup(2 * MIB + 100);
        s.q.flags = flags[i];
        CU_ASSERT_FALSE(restore_run(&s.q, &r, &error));
        CU_ASSERT_TRUE_FATAL(g_error_matches(error, FILEDUP_ERROR, FILEDUP_ERROR_DAMAGED));
        CU_ASSERT_PTR_NOT_NULL(
            strstr(error->message, "the backup itself is damaged at offset 2097152"));
        assert_holds(s.path, "old");
        CU_ASSERT_EQUAL(count_files(), 2);
    }
}

static void
a_backup_cut_short_or_with_other_sums_replaces_nothing(void)
{
    g_auto(Scene) s = {.source = -1, .folder = -1};
    g_auto(RestoreResult) r = {0};
    g_autoptr(GError) error = NULL;
    g_autofree char *backup = unit_path("backup");

    scene_init(&s);
    unit_write(s.path, "old", 3);
    s.q.size_bytes = SIZE + SUM_BLOCK_BYTES;
    CU_ASSERT_FALSE(restore_run(&s.q, &r, &error));
    CU_ASSERT_TRUE(g_error_matches(error, FILEDUP_ERROR, FILEDUP_ERROR_DAMAGED));
    g_clear_error(&error);
    s.q.size_bytes = SIZE;
    CU_ASSERT_EQUAL(truncate(backup, SIZE - 1), 0);
    CU_ASSERT_FALSE(restore_run(&s.q, &r, &error));
    CU_ASSERT_TRUE(g_error_matches(error, FILEDUP_ERROR, FILEDUP_ERROR_DAMAGED));
    assert_holds(s.path, "old");
}

/* The staged file, before it has a name, is spoiled: a disk that stores something else. */
static void
spoil_staged_file(void)
{
    g_autoptr(GDir) dir = g_dir_open("/proc/self/fd", 0, NULL);
    const char *number;
    guint spoiled = 0;

    while ((number = g_dir_read_name(dir))) {
        g_autofree char *link = g_build_filename("/proc/self/fd", number, NULL);
        g_autofree char *path = g_file_read_link(link, NULL);
        if (!path || !g_str_has_prefix(path, unit_folder()) || !strstr(path, "(deleted)"))
            continue;
        g_auto(Fd) fd = open(link, O_WRONLY | O_CLOEXEC);
        spoiled += pwrite(fd, "rot", 3, 2 * MIB) == 3 && fsync(fd) == 0;
    }
    CU_ASSERT_EQUAL(spoiled, 1);
}

static void
what_does_not_read_back_is_not_swapped_in(void)
{
    g_auto(Scene) s = {.source = -1, .folder = -1};
    g_auto(RestoreResult) r = {0};
    g_autoptr(GError) error = NULL;

    scene_init(&s);
    unit_write(s.path, "old", 3);
    s.meddle = spoil_staged_file;
    s.meddle_at = 4; /* SIZE has four chunks: all is written, nothing read back */
    CU_ASSERT_FALSE(restore_run(&s.q, &r, &error));
    CU_ASSERT_TRUE_FATAL(g_error_matches(error, FILEDUP_ERROR, FILEDUP_ERROR_DAMAGED));
    CU_ASSERT_PTR_NOT_NULL(strstr(error->message, "does not read back"));
    assert_holds(s.path, "old");
    CU_ASSERT_EQUAL(count_files(), 2);
}

static pid_t
holder_process(const char *path, int flags)
{
    int ready[2];
    char byte;

    CU_ASSERT_EQUAL_FATAL(pipe(ready), 0);
    pid_t pid = fork();
    if (pid == 0) {
        (void) open(path, flags);
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
end_child(pid_t pid)
{
    kill(pid, SIGKILL);
    waitpid(pid, NULL, 0);
}

static void
a_file_open_for_writing_is_busy_unless_forced(void)
{
    static const RestoreFlags flags[] = {0, RESTORE_IN_PLACE};

    for (gsize i = 0; i < G_N_ELEMENTS(flags); i++) {
        g_auto(Scene) s = {.source = -1, .folder = -1};
        g_auto(RestoreResult) r = {0}, forced = {0};
        g_autoptr(GError) error = NULL;
        scene_init(&s);
        unit_write(s.path, "old", 3);
        pid_t pid = holder_process(s.path, O_WRONLY);
        g_autofree char *number = g_strdup_printf("(%d)", (int) pid);
        s.q.flags = flags[i];
        CU_ASSERT_FALSE(restore_run(&s.q, &r, &error));
        CU_ASSERT_TRUE_FATAL(g_error_matches(error, FILEDUP_ERROR, FILEDUP_ERROR_BUSY));
        CU_ASSERT_PTR_NOT_NULL(strstr(error->message, number));
        CU_ASSERT_PTR_NOT_NULL(r.in_the_way);
        assert_holds(s.path, "old");
        g_clear_error(&error);
        s.q.flags |= RESTORE_FORCE;
        CU_ASSERT_TRUE(restore_run(&s.q, &forced, &error));
        UNIT_NO_ERROR(error);
        assert_restored(&s);
        end_child(pid);
        unlink(s.path);
        if (forced.swapped.name)
            (void) stage_discard(s.folder, forced.swapped.name, forced.swapped.dev,
                                 forced.swapped.ino, NULL);
    }
}

/* Somebody opens the file for writing between the first look and the swap. */
static pid_t latecomer;

static void
latecomer_opens(void)
{
    g_autofree char *path = unit_path("file");

    latecomer = holder_process(path, O_WRONLY);
}

static void
a_writer_that_comes_before_the_swap_is_noticed(void)
{
    g_auto(Scene) s = {.source = -1, .folder = -1};
    g_auto(RestoreResult) r = {0};
    g_autoptr(GError) error = NULL;

    scene_init(&s);
    unit_write(s.path, "old", 3);
    s.meddle = latecomer_opens;
    s.meddle_at = 2;
    CU_ASSERT_FALSE(restore_run(&s.q, &r, &error));
    CU_ASSERT_TRUE(g_error_matches(error, FILEDUP_ERROR, FILEDUP_ERROR_BUSY));
    end_child(latecomer);
    assert_holds(s.path, "old");
}

static void
in_place_keeps_the_inode_and_writes_only_what_differs(void)
{
    g_auto(Scene) s = {.source = -1, .folder = -1};
    g_auto(RestoreResult) r = {0};
    g_autoptr(GError) error = NULL;
    struct stat before, after;

    scene_init(&s);
    g_autofree char *there = g_memdup2(s.data, SIZE);
    there[5000] ^= 1;
    there[MIB] ^= 1;
    there[MIB + 4096] ^= 1; /* the next block: one run with it */
    there[SIZE - 1] ^= 1;
    unit_write(s.path, there, SIZE);
    CU_ASSERT_EQUAL(truncate(s.path, SIZE + 100), 0);
    CU_ASSERT_EQUAL(stat(s.path, &before), 0);
    s.q.flags = RESTORE_IN_PLACE;
    CU_ASSERT_TRUE(restore_run(&s.q, &r, &error));
    UNIT_NO_ERROR(error);
    CU_ASSERT_EQUAL(r.written_bytes, 3 * 4096 + SIZE % 4096);
    CU_ASSERT_PTR_NULL(r.swapped.name);
    CU_ASSERT_EQUAL(stat(s.path, &after), 0);
    CU_ASSERT_EQUAL(before.st_ino, after.st_ino);
    assert_restored(&s);
    g_auto(Fd) fd = open(s.path, O_WRONLY | O_NONBLOCK | O_CLOEXEC);
    CU_ASSERT_TRUE(fd >= 0); /* no lease is left */
}

static void
somebody_appends(void)
{
    g_autofree char *path = unit_path("file");
    g_auto(Fd) fd = open(path, O_WRONLY | O_APPEND | O_CLOEXEC);

    CU_ASSERT_EQUAL(write(fd, "new", 3), 3);
}

/* The backup is checked as a whole first, which takes its time. */
static void
in_place_leaves_alone_what_changed_after_it_was_saved(void)
{
    g_auto(Scene) s = {.source = -1, .folder = -1};
    g_auto(RestoreResult) r = {0};
    g_autoptr(GError) error = NULL;

    scene_init(&s);
    unit_write(s.path, "old", 3);
    s.meddle = somebody_appends;
    s.meddle_at = 2;
    s.q.flags = RESTORE_IN_PLACE;
    CU_ASSERT_FALSE(restore_run(&s.q, &r, &error));
    CU_ASSERT_TRUE(g_error_matches(error, FILEDUP_ERROR, FILEDUP_ERROR_BUSY));
    assert_holds(s.path, "oldnew");
    g_clear_error(&error);

    /* The same between the saving and the restore. */
    CU_ASSERT_EQUAL(filestat_read(AT_FDCWD, s.path, &s.q.saved), 0);
    s.meddle = NULL;
    unit_write(s.path, "newer", 5);
    CU_ASSERT_FALSE(restore_run(&s.q, &r, &error));
    CU_ASSERT_TRUE(g_error_matches(error, FILEDUP_ERROR, FILEDUP_ERROR_BUSY));
    assert_holds(s.path, "newer");
}

static void
a_reader_makes_a_restore_in_place_busy(void)
{
    g_auto(Scene) s = {.source = -1, .folder = -1};
    g_auto(RestoreResult) r = {0};
    g_autoptr(GError) error = NULL;

    scene_init(&s);
    unit_write(s.path, "old", 3);
    pid_t pid = holder_process(s.path, O_RDONLY);
    s.q.flags = RESTORE_IN_PLACE;
    CU_ASSERT_FALSE(restore_run(&s.q, &r, &error));
    CU_ASSERT_TRUE(g_error_matches(error, FILEDUP_ERROR, FILEDUP_ERROR_BUSY));
    CU_ASSERT_PTR_NOT_NULL(r.in_the_way);
    end_child(pid);
    assert_holds(s.path, "old");
}

static void
latecomer_wants_in(void)
{
    g_autofree char *path = unit_path("file");

    g_auto(Fd) fd = open(path, O_RDONLY | O_NONBLOCK | O_CLOEXEC);
    CU_ASSERT_EQUAL(fd, -1); /* the lease holds, and is asked for */
    CU_ASSERT_EQUAL(errno, EWOULDBLOCK);
}

static void
in_place_gives_up_at_the_next_block_when_somebody_wants_in(void)
{
    g_auto(Scene) s = {.source = -1, .folder = -1};
    g_auto(RestoreResult) r = {0};
    g_autoptr(GError) error = NULL;

    scene_init(&s);
    g_autofree char *there = g_malloc0(SIZE);
    unit_write(s.path, there, SIZE);
    s.q.flags = RESTORE_IN_PLACE;
    s.meddle = latecomer_wants_in;
    s.meddle_at = 4 + 2; /* the check of the source has four, then two chunks are written */
    CU_ASSERT_FALSE(restore_run(&s.q, &r, &error));
    CU_ASSERT_TRUE_FATAL(g_error_matches(error, FILEDUP_ERROR, FILEDUP_ERROR_BUSY));
    CU_ASSERT_EQUAL(r.written_bytes, 2 * MIB);
    g_autoptr(GBytes) file = unit_read(s.path); /* waits for no lease any more */
    CU_ASSERT_EQUAL(memcmp(g_bytes_get_data(file, NULL), s.data, 2 * MIB), 0);
    CU_ASSERT_EQUAL(memcmp((const char *) g_bytes_get_data(file, NULL) + 2 * MIB, there, MIB), 0);
    restore_result_clear(&r);
    s.meddle = NULL;
    g_clear_error(&error);
    CU_ASSERT_TRUE(restore_run(&s.q, &r, &error));
    CU_ASSERT_EQUAL(r.written_bytes, SIZE - 2 * MIB); /* it goes on */
    assert_restored(&s);
}

static void
a_dry_run_counts_and_writes_nothing(void)
{
    g_auto(Scene) s = {.source = -1, .folder = -1};
    g_auto(RestoreResult) r = {0};
    g_autoptr(GError) error = NULL;

    scene_init(&s);
    s.q.flags = RESTORE_DRY_RUN;
    CU_ASSERT_TRUE(restore_run(&s.q, &r, &error));
    CU_ASSERT_EQUAL(r.written_bytes, SIZE);
    CU_ASSERT_EQUAL(count_files(), 1);
    g_autofree char *there = g_memdup2(s.data, SIZE);
    there[77] ^= 1;
    unit_write(s.path, there, SIZE);
    CU_ASSERT_TRUE(restore_run(&s.q, &r, &error));
    CU_ASSERT_EQUAL(r.written_bytes, 4096);
    g_autoptr(GBytes) file = unit_read(s.path);
    CU_ASSERT_EQUAL(memcmp(g_bytes_get_data(file, NULL), there, SIZE), 0);
}

static void
a_descriptor_takes_the_content_and_keeps_its_own_mode(void)
{
    g_auto(Scene) s = {.source = -1, .folder = -1};
    g_auto(RestoreResult) r = {0};
    g_autoptr(GError) error = NULL;
    g_autofree char *other = unit_path("other");
    struct stat st;

    scene_init(&s);
    s.q.flags = RESTORE_TO_FD;
    g_auto(Fd) target = open(other, O_RDWR | O_CREAT | O_CLOEXEC, 0600);
    s.q.target_fd = target;
    CU_ASSERT_TRUE(restore_run(&s.q, &r, &error));
    UNIT_NO_ERROR(error);
    g_autoptr(GBytes) file = unit_read(other);
    CU_ASSERT_EQUAL(g_bytes_get_size(file), SIZE);
    CU_ASSERT_EQUAL(memcmp(g_bytes_get_data(file, NULL), s.data, SIZE), 0);
    CU_ASSERT_EQUAL(fstat(target, &st), 0);
    CU_ASSERT_EQUAL(st.st_mode & 07777, 0600);

    damage_backup(SIZE - 10); /* what the file holds is not lost to a damaged backup */
    CU_ASSERT_FALSE(restore_run(&s.q, &r, &error));
    CU_ASSERT_EQUAL(fstat(target, &st), 0);
    CU_ASSERT_EQUAL(st.st_size, SIZE);
    g_clear_error(&error);
    s.q.target_fd = s.source; /* read-only */
    CU_ASSERT_FALSE(restore_run(&s.q, &r, &error));
    CU_ASSERT_TRUE(g_error_matches(error, FILEDUP_ERROR, FILEDUP_ERROR_REFUSED));
}

static void
what_is_no_regular_file_is_left_alone(void)
{
    g_auto(Scene) s = {.source = -1, .folder = -1};
    struct stat st;

    scene_init(&s);
    for (int i = 0; i < 3; i++) {
        g_auto(RestoreResult) r = {0};
        g_autoptr(GError) error = NULL;
        int made = i == 0   ? symlink("backup", s.path)
                   : i == 1 ? mkdir(s.path, 0700)
                            : mkfifo(s.path, 0600);
        CU_ASSERT_EQUAL(made, 0);
        s.q.flags = RESTORE_FORCE;
        CU_ASSERT_FALSE(restore_run(&s.q, &r, &error));
        CU_ASSERT_TRUE(g_error_matches(error, FILEDUP_ERROR, FILEDUP_ERROR_REFUSED));
        CU_ASSERT_EQUAL(lstat(s.path, &st), 0);
        CU_ASSERT_FALSE(S_ISREG(st.st_mode));
        CU_ASSERT_EQUAL(remove(s.path), 0);
    }
}

static void
holes_come_back_as_holes(void)
{
    g_auto(Scene) s = {.source = -1, .folder = -1};
    g_auto(RestoreResult) r = {0};
    g_autoptr(GError) error = NULL;
    g_autoptr(Sums) sums = sums_new(0);
    g_autofree char *backup = unit_path("backup");
    guint8 hash[HASH_BYTES];
    struct stat st;

    scene_init(&s);
    CU_ASSERT_EQUAL(truncate(backup, 0) | truncate(backup, 20 * MIB), 0);
    damage_backup(10 * MIB); /* not damage here: its only data */
    sums_add_zeros(sums, 10 * MIB);
    sums_add(sums, "rot", 3);
    sums_add_zeros(sums, 10 * MIB - 3);
    g_bytes_unref(s.q.sums);
    s.q.sums = sums_finish(sums, hash);
    s.q.size_bytes = 20 * MIB;
    CU_ASSERT_TRUE(restore_run(&s.q, &r, &error));
    UNIT_NO_ERROR(error);
    CU_ASSERT_EQUAL(stat(s.path, &st), 0);
    CU_ASSERT_EQUAL(st.st_size, 20 * MIB);
    CU_ASSERT_TRUE(st.st_blocks * 512 <= MIB);
}

static void
a_user_does_not_swap_out_what_could_not_be_kept(void)
{
    g_auto(Scene) s = {.source = -1, .folder = -1};
    int status;

    if (geteuid() != 0) {
        unit_skip("only root can become another user");
        return;
    }
    scene_init(&s);
    CU_ASSERT_EQUAL(chmod(unit_folder(), 0777), 0);
    unit_write(s.path, "root's", 6);
    CU_ASSERT_EQUAL(chmod(s.path, 0600), 0);
    pid_t pid = fork();
    if (pid == 0) {
        g_auto(RestoreResult) r = {0};
        g_autoptr(GError) error = NULL;
        if (!principal_become(NOBODY, NULL) || restore_run(&s.q, &r, &error))
            _exit(1);
        _exit(g_error_matches(error, FILEDUP_ERROR, FILEDUP_ERROR_DENIED) ? 0 : 2);
    }
    waitpid(pid, &status, 0);
    CU_ASSERT_EQUAL(status, 0);
    assert_holds(s.path, "root's");

    CU_ASSERT_EQUAL(unlink(s.path), 0);
    pid = fork();
    if (pid == 0) { /* what the user makes is the user's, whatever the backup says */
        g_auto(RestoreResult) r = {0};
        struct stat st;
        s.q.stat.mode = S_IFREG | 04755;
        if (!principal_become(NOBODY, NULL) || !restore_run(&s.q, &r, NULL))
            _exit(1);
        _exit(r.problems && stat(s.path, &st) == 0 && st.st_uid == NOBODY &&
                      st.st_mode == (S_IFREG | 0755)
                  ? 0
                  : 2);
    }
    waitpid(pid, &status, 0);
    CU_ASSERT_EQUAL(status, 0);
}

static gboolean
exists(const char *name)
{
    g_autofree char *path = unit_path(name);

    return access(path, F_OK) == 0;
}

static void
only_leftovers_with_the_restored_content_are_swept(void)
{
    static const char *const stay[] = {".file.filedup-other1",  /* what was there, perhaps */
                                       ".file.filedup-short1",  /* cut short               */
                                       ".file.filedup-linked",  /* has another name too    */
                                       ".file.filedup-in0use",  /* somebody has it open    */
                                       ".file.filedup-UPPER1",  /* not such a name         */
                                       ".other.filedup-abcdef", /* of another file         */
                                       ".file.filedup-toolong"};
    g_auto(Scene) s = {0};
    g_auto(RestoreResult) r = {0};
    g_autoptr(GError) error = NULL;
    g_autofree char *same = unit_path(".file.filedup-same01"), *name = unit_path("second");
    g_autofree char *linked = unit_path(stay[2]), *used = unit_path(stay[3]);

    scene_init(&s);
    unit_write(s.path, "old", 3);
    unit_write(same, s.data, SIZE);
    for (gsize i = 0; i < G_N_ELEMENTS(stay); i++) {
        g_autofree char *path = unit_path(stay[i]);
        s.data[SIZE - 1] ^= i == 0;
        unit_write(path, s.data, i == 1 ? SIZE - 1 : SIZE);
        s.data[SIZE - 1] ^= i == 0;
    }
    CU_ASSERT_EQUAL(link(linked, name), 0);
    g_auto(Fd) user = open(used, O_RDONLY | O_CLOEXEC);
    CU_ASSERT_TRUE(restore_run(&s.q, &r, &error));
    UNIT_NO_ERROR(error);
    assert_restored(&s);
    CU_ASSERT_FALSE(exists(".file.filedup-same01"));
    CU_ASSERT_PTR_NOT_NULL_FATAL(r.note);
    CU_ASSERT_PTR_NULL(strstr(r.note, "same01"));
    for (gsize i = 0; i < G_N_ELEMENTS(stay); i++) {
        CU_ASSERT_TRUE(exists(stay[i]));
        CU_ASSERT_EQUAL(strstr(r.note, stay[i]) != NULL, i < 4);
    }
    CU_ASSERT_PTR_NOT_NULL_FATAL(r.swapped.name); /* the caller saves and removes it */
    CU_ASSERT_PTR_NULL(strstr(r.note, r.swapped.name));
    CU_ASSERT_TRUE(exists(r.swapped.name));
}

static const UnitTest tests[] = {
    UNIT_TEST(a_deleted_file_comes_back),
    UNIT_TEST(what_was_there_is_kept_beside_it),
    UNIT_TEST(a_damaged_backup_replaces_nothing),
    UNIT_TEST(a_backup_cut_short_or_with_other_sums_replaces_nothing),
    UNIT_TEST(what_does_not_read_back_is_not_swapped_in),
    UNIT_TEST(a_file_open_for_writing_is_busy_unless_forced),
    UNIT_TEST(a_writer_that_comes_before_the_swap_is_noticed),
    UNIT_TEST(in_place_keeps_the_inode_and_writes_only_what_differs),
    UNIT_TEST(in_place_leaves_alone_what_changed_after_it_was_saved),
    UNIT_TEST(a_reader_makes_a_restore_in_place_busy),
    UNIT_TEST(in_place_gives_up_at_the_next_block_when_somebody_wants_in),
    UNIT_TEST(a_dry_run_counts_and_writes_nothing),
    UNIT_TEST(a_descriptor_takes_the_content_and_keeps_its_own_mode),
    UNIT_TEST(what_is_no_regular_file_is_left_alone),
    UNIT_TEST(holes_come_back_as_holes),
    UNIT_TEST(a_user_does_not_swap_out_what_could_not_be_kept),
    UNIT_TEST(only_leftovers_with_the_restored_content_are_swept),
};
UNIT_MAIN("restore", tests)
