/* watcher.c - the watcher role, in a child of its own, over its channel */

#include "config.h"

#include <CUnit/CUnit.h>
#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/fd.h"
#include "base/path.h"
#include "base/role.h"
#include "feed/inotify.h"
#include "tests/unit/unit.h"

#define PATIENCE_MSEC 20000
#define NOBODY        65534

static Channel *channel;
static pid_t child;
static guint64 drains;

static GArray *changes; /* of Seen */
static GArray *states;

typedef struct Seen {
    guint64 entry;
    guint what; /* ChangeWhat bits, or the WatchState */
    int errnum;
    guint64 needed;
} Seen;

static gboolean
write_text(const char *path, const char *text)
{
    g_auto(Fd) fd = open(path, O_WRONLY | O_CLOEXEC);

    return fd >= 0 && write(fd, text, strlen(text)) == (gssize) strlen(text);
}

/* A user namespace has a limit of its own on watches; the machine's is everybody's. */
static gboolean
limit_watches(guint n)
{
    g_autofree char *uids = g_strdup_printf("0 %u 1", getuid());
    g_autofree char *limit = g_strdup_printf("%u", n);

    return unshare(CLONE_NEWUSER) == 0 && write_text("/proc/self/uid_map", uids) &&
           write_text("/proc/sys/user/max_inotify_watches", limit);
}

static void
run_watcher(int fd, pid_t parent, uid_t principal, guint max_watches)
{
    RoleArgs args;
    g_autofree char *parent_arg = g_strdup_printf("--parent=%d", (int) parent);
    g_autofree char *principal_arg = NULL;

    if (max_watches > 0 && !limit_watches(max_watches))
        _exit(77);
    principal_arg = g_strdup_printf("--principal=%u", max_watches > 0 ? 0 : principal);
    char *argv[] = {(char *) "filedupd", (char *) "--role=watcher", parent_arg, principal_arg,
                    NULL};
    if (!role_parse(4, argv, &args))
        _exit(2);
    _exit(watcher_main(&args, channel_new(fd)));
}

static Message *
receive(void)
{
    g_autoptr(GError) error = NULL;
    Message *m = channel_wait(channel, PATIENCE_MSEC, &error);

    UNIT_NO_ERROR(error);
    CU_ASSERT_PTR_NOT_NULL_FATAL(m);
    return m;
}

/* Takes in one message; returns its type. */
static MessageType
take(void)
{
    g_autoptr(Message) m = receive();
    Seen seen = {0};

    if (m->type == MESSAGE_WATCHER_CHANGE) {
        g_variant_get(m->body, "(tu)", &seen.entry, &seen.what);
        g_array_append_val(changes, seen);
    } else if (m->type == MESSAGE_WATCHER_STATE) {
        g_variant_get(m->body, "(tuit)", &seen.entry, &seen.what, &seen.errnum, &seen.needed);
        g_array_append_val(states, seen);
    }
    return m->type;
}

static void
await(MessageType type)
{
    while (take() != type)
        ;
}

/* FALSE: the limit on watches could not be had here. */
static gboolean
start_limited(uid_t principal, guint max_watches)
{
    int pair[2], status;
    pid_t self = getpid();

    CU_ASSERT_EQUAL_FATAL(socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, pair), 0);
    child = fork();
    CU_ASSERT_FATAL(child >= 0);
    if (child == 0) {
        close(pair[0]);
        run_watcher(pair[1], self, principal, max_watches);
    }
    close(pair[1]);
    channel = channel_new(pair[0]);
    changes = g_array_new(FALSE, FALSE, sizeof(Seen));
    states = g_array_new(FALSE, FALSE, sizeof(Seen));

    g_autoptr(GError) error = NULL;
    g_autoptr(Message) m = channel_wait(channel, PATIENCE_MSEC, &error);
    if (m) {
        CU_ASSERT_EQUAL(m->type, MESSAGE_ROLE_READY);
        return TRUE;
    }
    waitpid(child, &status, 0);
    CU_ASSERT_FATAL(max_watches > 0 && WIFEXITED(status) && WEXITSTATUS(status) == 77);
    g_clear_pointer(&channel, channel_free);
    g_array_unref(changes);
    g_array_unref(states);
    return FALSE;
}

static void
start(void)
{
    (void) start_limited(geteuid(), 0);
}

static void
send_to_watcher(MessageType type, GVariant *body)
{
    g_autoptr(GError) error = NULL;

    channel_send(channel, type, body, NULL, 0, &error);
    UNIT_NO_ERROR(error);
}

static void
stop(void)
{
    int status;

    send_to_watcher(MESSAGE_DAEMON_STOP, g_variant_new("()"));
    CU_ASSERT_EQUAL(waitpid(child, &status, 0), child);
    CU_ASSERT_TRUE(WIFEXITED(status) && WEXITSTATUS(status) == 0);
    g_clear_pointer(&channel, channel_free);
    g_array_unref(changes);
    g_array_unref(states);
}

static void
watch_with(guint64 entry, const char *path, guint flags)
{
    g_autofree char *folder = NULL, *name = NULL;

    path_split(path, &folder, &name);
    send_to_watcher(
        MESSAGE_DAEMON_WATCH,
        g_variant_new("(t@ay@ayu)", entry, path_to_variant(folder), path_to_variant(name), flags));
}

static void
drain(void)
{
    guint64 answer;

    send_to_watcher(MESSAGE_DAEMON_DRAIN, g_variant_new("(t)", ++drains));
    for (;;) {
        g_autoptr(Message) m = receive();
        Seen seen = {0};
        if (m->type == MESSAGE_WATCHER_CHANGE) {
            g_variant_get(m->body, "(tu)", &seen.entry, &seen.what);
            g_array_append_val(changes, seen);
        } else if (m->type == MESSAGE_WATCHER_STATE) {
            g_variant_get(m->body, "(tuit)", &seen.entry, &seen.what, &seen.errnum, &seen.needed);
            g_array_append_val(states, seen);
        } else {
            CU_ASSERT_EQUAL_FATAL(m->type, MESSAGE_WATCHER_DRAINED);
            g_variant_get(m->body, "(t)", &answer);
            CU_ASSERT_EQUAL(answer, drains);
            return;
        }
    }
}

/* What an entry's changes since the last call say together. */
static guint
changed(guint64 entry)
{
    guint what = 0;

    for (guint i = 0; i < changes->len;) {
        Seen *s = &g_array_index(changes, Seen, i);
        if (s->entry != entry) {
            i++;
            continue;
        }
        what |= s->what;
        g_array_remove_index(changes, i);
    }
    return what;
}

/* The last state sent for an entry since the last call; WATCH_NONE if there is none. */
static WatchState
take_state(guint64 entry, Seen *ret_seen)
{
    WatchState state = WATCH_NONE;

    for (guint i = 0; i < states->len;) {
        Seen *s = &g_array_index(states, Seen, i);
        if (s->entry != entry) {
            i++;
            continue;
        }
        state = s->what;
        if (ret_seen)
            *ret_seen = *s;
        g_array_remove_index(states, i);
    }
    return state;
}

static void
await_state(guint64 entry, WatchState state)
{
    while (take_state(entry, NULL) != state)
        await(MESSAGE_WATCHER_STATE);
}

static void
watch(guint64 entry, const char *path)
{
    watch_with(entry, path, 0);
    drain();
}

static void
watch_active(guint64 entry, const char *path)
{
    watch(entry, path);
    CU_ASSERT_EQUAL_FATAL(take_state(entry, NULL), WATCH_ACTIVE);
}

static void
save(const char *path, const char *text)
{
    g_auto(Fd) fd = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0644);

    CU_ASSERT_FATAL(fd >= 0);
    CU_ASSERT_EQUAL(write(fd, text, strlen(text)), (gssize) strlen(text));
}

static void
save_by_rename(const char *path, const char *text)
{
    g_autofree char *temporary = g_strconcat(path, ".new", NULL);

    save(temporary, text);
    CU_ASSERT_EQUAL(rename(temporary, path), 0);
}

static void
make_folders(const char *path)
{
    CU_ASSERT_EQUAL_FATAL(g_mkdir_with_parents(path, 0755), 0);
}

static void
move(const char *from, const char *to)
{
    CU_ASSERT_EQUAL_FATAL(rename(from, to), 0);
}

static void
a_close_after_a_write_is_told_before_the_drain_ends(void)
{
    g_autofree char *path = unit_path("file");

    save(path, "one");
    start();
    watch_active(1, path);
    drain();
    CU_ASSERT_EQUAL(changed(1), 0);
    for (int i = 0; i < 200; i++) {
        save(path, "two");
        drain();
        CU_ASSERT_TRUE(changed(1) & CHANGE_CLOSED);
    }
    stop();
}

static void
changes_are_told_without_being_asked_for(void)
{
    g_autofree char *path = unit_path("file");

    save(path, "one");
    start();
    watch_active(1, path);
    save(path, "two");
    await(MESSAGE_WATCHER_CHANGE);
    CU_ASSERT_TRUE(changed(1) & CHANGE_CLOSED);
    stop();
}

static void
a_write_is_told_at_once_to_per_write_entries_only(void)
{
    g_autofree char *a = unit_path("a"), *b = unit_path("b");

    save(a, "");
    save(b, "");
    start();
    watch_active(1, a);
    watch_with(2, b, WATCH_WRITES);
    drain();
    g_auto(Fd) fd_a = open(a, O_WRONLY | O_CLOEXEC);
    g_auto(Fd) fd_b = open(b, O_WRONLY | O_CLOEXEC);
    CU_ASSERT_EQUAL(write(fd_a, "x", 1), 1);
    CU_ASSERT_EQUAL(write(fd_b, "x", 1), 1);
    drain();
    CU_ASSERT_EQUAL(changed(1), 0);
    CU_ASSERT_EQUAL(changed(2), CHANGE_WRITTEN);

    /* The mode of a row is told anew. */
    watch_with(1, a, WATCH_WRITES);
    watch_with(2, b, 0);
    drain();
    CU_ASSERT_EQUAL(write(fd_a, "x", 1), 1);
    CU_ASSERT_EQUAL(write(fd_b, "x", 1), 1);
    drain();
    CU_ASSERT_EQUAL(changed(1), CHANGE_WRITTEN);
    CU_ASSERT_EQUAL(changed(2), 0);
    stop();
}

static void
a_save_by_renaming_is_seen_again_and_again(void)
{
    g_autofree char *path = unit_path("file");

    save(path, "one");
    start();
    watch_active(1, path);
    for (int i = 0; i < 3; i++) {
        save_by_rename(path, "two");
        drain();
        CU_ASSERT_TRUE(changed(1) & CHANGE_APPEARED);
    }
    save(path, "three");
    drain();
    CU_ASSERT_TRUE(changed(1) & CHANGE_CLOSED);
    CU_ASSERT_EQUAL(states->len, 0);
    stop();
}

static void
a_file_deleted_and_made_again_is_seen_each_time(void)
{
    g_autofree char *path = unit_path("file");

    save(path, "one");
    start();
    watch_active(1, path);
    for (int i = 0; i < 3; i++) {
        CU_ASSERT_EQUAL(unlink(path), 0);
        drain();
        CU_ASSERT_EQUAL(changed(1), CHANGE_GONE);
        save(path, "two");
        drain();
        CU_ASSERT_EQUAL(changed(1), CHANGE_APPEARED | CHANGE_CLOSED);
    }
    CU_ASSERT_EQUAL(states->len, 0);
    stop();
}

static void
attributes_are_told(void)
{
    g_autofree char *path = unit_path("file");

    save(path, "one");
    start();
    watch_active(1, path);
    CU_ASSERT_EQUAL(chmod(path, 0600), 0);
    drain();
    CU_ASSERT_EQUAL(changed(1), CHANGE_ATTRIB);
    stop();
}

static void
a_file_that_does_not_exist_yet_is_seen_to_appear(void)
{
    g_autofree char *path = unit_path("file");

    start();
    watch_active(1, path); /* its folder can be watched */
    save(path, "one");
    drain();
    CU_ASSERT_EQUAL(changed(1), CHANGE_APPEARED | CHANGE_CLOSED);
    stop();
}

static void
only_the_named_files_of_a_folder_are_told(void)
{
    start();
    for (guint i = 0; i < 100; i++) {
        g_autofree char *name = g_strdup_printf("file-%u", i);
        g_autofree char *path = unit_path(name);
        save(path, "one");
        watch_with(i, path, 0);
    }
    drain();
    CU_ASSERT_EQUAL(states->len, 100);
    g_array_set_size(changes, 0); /* a file may be named before the event of its creation is read */
    for (guint i = 0; i < 200; i += 2) { /* 50 of them, and 50 strangers */
        g_autofree char *name = g_strdup_printf("file-%u", i);
        g_autofree char *path = unit_path(name);
        save(path, "two");
    }
    drain();
    for (guint i = 0; i < 200; i++)
        CU_ASSERT_EQUAL(changed(i) != 0, i < 100 && i % 2 == 0);
    CU_ASSERT_EQUAL(changes->len, 0);
    stop();
}

static void
names_are_bytes(void)
{
    g_autofree char *newline = unit_path("a\nb"), *bytes = unit_path("\xff\xfe\x01 x");

    save(newline, "one");
    save(bytes, "one");
    start();
    watch_active(1, newline);
    watch_active(2, bytes);
    save(newline, "two");
    save(bytes, "two");
    drain();
    CU_ASSERT_TRUE(changed(1) & CHANGE_CLOSED);
    CU_ASSERT_TRUE(changed(2) & CHANGE_CLOSED);
    stop();
}

static void
an_unwatched_entry_is_silent(void)
{
    g_autofree char *a = unit_path("a"), *b = unit_path("b");

    start();
    watch_active(1, a);
    watch_active(2, b);
    send_to_watcher(MESSAGE_DAEMON_UNWATCH, g_variant_new("(t)", G_GUINT64_CONSTANT(1)));
    send_to_watcher(MESSAGE_DAEMON_UNWATCH, g_variant_new("(t)", G_GUINT64_CONSTANT(99)));
    save(a, "one");
    save(b, "one");
    drain();
    CU_ASSERT_EQUAL(changed(1), 0);
    CU_ASSERT_TRUE(changed(2) & CHANGE_CLOSED);
    stop();
}

static void
an_entry_watched_again_is_answered_again(void)
{
    g_autofree char *a = unit_path("a"), *other = unit_path("d/other");

    start();
    watch_active(1, a);
    watch_active(1, a);
    watch(1, other); /* another path under the same number */
    CU_ASSERT_EQUAL(take_state(1, NULL), WATCH_WAITING);
    save(a, "one");
    drain();
    CU_ASSERT_EQUAL(changed(1), 0);
    stop();
}

static void
a_folder_moved_away_and_back_is_followed(void)
{
    g_autofree char *folder = unit_path("d"), *away = unit_path("away"),
                    *path = unit_path("d/file"), *moved = unit_path("away/file");

    make_folders(folder);
    save(path, "one");
    start();
    watch_active(1, path);
    move(folder, away);
    drain();
    CU_ASSERT_EQUAL(take_state(1, NULL), WATCH_WAITING);
    save(moved, "not ours any more");
    drain();
    CU_ASSERT_EQUAL(changed(1), 0);
    move(away, folder);
    drain();
    CU_ASSERT_EQUAL(take_state(1, NULL), WATCH_ACTIVE);
    save(path, "two");
    drain();
    CU_ASSERT_TRUE(changed(1) & CHANGE_CLOSED);

    /* Away and back between two looks: the watch was there all the time. */
    kill(child, SIGSTOP);
    move(folder, away);
    save(moved, "three");
    move(away, folder);
    kill(child, SIGCONT);
    drain();
    CU_ASSERT_TRUE(changed(1) & CHANGE_CLOSED);
    stop();
}

static void
another_folder_in_the_place_is_watched_instead(void)
{
    g_autofree char *folder = unit_path("d"), *away = unit_path("away"),
                    *path = unit_path("d/file"), *new = unit_path("new");

    make_folders(folder);
    make_folders(new);
    save(path, "one");
    start();
    watch_active(1, path);
    CU_ASSERT_EQUAL_FATAL(renameat2(AT_FDCWD, folder, AT_FDCWD, new, RENAME_EXCHANGE), 0);
    drain();
    CU_ASSERT_EQUAL(take_state(1, NULL), WATCH_ACTIVE); /* said, since the file is another one */
    save(path, "two");
    drain();
    CU_ASSERT_EQUAL(changed(1), CHANGE_APPEARED | CHANGE_CLOSED);
    move(folder, away);
    make_folders(folder);
    drain();
    CU_ASSERT_EQUAL(take_state(1, NULL), WATCH_ACTIVE);
    save(path, "three");
    drain();
    CU_ASSERT_TRUE(changed(1) & CHANGE_CLOSED);
    stop();
}

static void
a_folder_moved_far_above_is_noticed(void)
{
    g_autofree char *top = unit_path("a"), *away = unit_path("away"), *deep = unit_path("a/b/c/d"),
                    *path = unit_path("a/b/c/d/file"), *middle = unit_path("a/b");

    make_folders(deep);
    save(path, "one");
    start();
    watch_active(1, path);
    move(top, away);
    drain();
    CU_ASSERT_EQUAL(take_state(1, NULL), WATCH_WAITING);
    move(away, top);
    drain();
    CU_ASSERT_EQUAL(take_state(1, NULL), WATCH_ACTIVE);
    move(middle, away);
    drain();
    CU_ASSERT_EQUAL(take_state(1, NULL), WATCH_WAITING);
    make_folders(deep);
    drain();
    CU_ASSERT_EQUAL(take_state(1, NULL), WATCH_ACTIVE);
    save(path, "two");
    drain();
    CU_ASSERT_TRUE(changed(1) & CHANGE_CLOSED);
    stop();
}

static void
a_folder_that_appears_later_is_found_level_by_level(void)
{
    g_autofree char *a = unit_path("a"), *b = unit_path("a/b"), *c = unit_path("a/b/c"),
                    *path = unit_path("a/b/c/file");

    start();
    watch(1, path);
    CU_ASSERT_EQUAL(take_state(1, NULL), WATCH_WAITING);
    CU_ASSERT_EQUAL(mkdir(a, 0755), 0);
    drain();
    CU_ASSERT_EQUAL(take_state(1, NULL), WATCH_NONE); /* still waiting: nothing to say */
    CU_ASSERT_EQUAL(mkdir(b, 0755), 0);
    CU_ASSERT_EQUAL(mkdir(c, 0755), 0);
    drain();
    CU_ASSERT_EQUAL(take_state(1, NULL), WATCH_ACTIVE);
    save(path, "one");
    drain();
    CU_ASSERT_TRUE(changed(1) & CHANGE_CLOSED);
    stop();
}

static void
folders_removed_and_made_again_quickly_are_never_lost(void)
{
    g_autofree char *a = unit_path("a"), *b = unit_path("a/b"), *path = unit_path("a/b/file");

    make_folders(b);
    start();
    watch_active(1, path);
    for (int i = 0; i < 300; i++) {
        save(path, "one");
        CU_ASSERT_EQUAL(unlink(path), 0);
        CU_ASSERT_EQUAL(rmdir(b), 0);
        CU_ASSERT_EQUAL(rmdir(a), 0);
        make_folders(b);
        if (i % 3 == 0)
            drain();
    }
    drain();
    CU_ASSERT_TRUE(changed(1) != 0);
    CU_ASSERT_EQUAL(take_state(1, NULL), WATCH_ACTIVE);
    save(path, "two");
    drain();
    CU_ASSERT_TRUE(changed(1) & CHANGE_CLOSED);
    stop();
}

/* A folder that is some process's working directory announces its removal to nobody but the folder
 * above it. */
static void
a_folder_removed_while_somebody_is_in_it_is_noticed(void)
{
    g_autofree char *a = unit_path("a"), *b = unit_path("a/b"), *path = unit_path("a/b/file");

    make_folders(b);
    save(path, "one");
    start();
    watch_active(1, path);
    g_auto(Fd) in_a = open(a, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    g_auto(Fd) in_b = open(b, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    CU_ASSERT_EQUAL(unlink(path), 0);
    drain(); /* the folders above are told to listen */
    CU_ASSERT_EQUAL(rmdir(b), 0);
    CU_ASSERT_EQUAL(rmdir(a), 0);
    drain();
    CU_ASSERT_EQUAL(take_state(1, NULL), WATCH_WAITING);
    make_folders(b);
    save(path, "two");
    drain();
    CU_ASSERT_EQUAL(take_state(1, NULL), WATCH_ACTIVE);
    save(path, "three");
    drain();
    CU_ASSERT_TRUE(changed(1) & CHANGE_CLOSED);

    /* All of it between two looks. */
    g_auto(Fd) again = open(b, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    kill(child, SIGSTOP);
    CU_ASSERT_EQUAL(unlink(path), 0);
    CU_ASSERT_EQUAL(rmdir(b), 0);
    kill(child, SIGCONT);
    drain();
    CU_ASSERT_EQUAL(take_state(1, NULL), WATCH_WAITING);
    stop();
}

static void
a_symbolic_link_in_the_place_of_a_folder_is_not_followed(void)
{
    g_autofree char *folder = unit_path("d"), *away = unit_path("away"),
                    *path = unit_path("d/file"), *moved = unit_path("away/file");
    Seen seen = {0};

    make_folders(folder);
    start();
    watch_active(1, path);
    kill(child, SIGSTOP);
    move(folder, away);
    CU_ASSERT_EQUAL(symlink(away, folder), 0);
    kill(child, SIGCONT);
    drain();
    CU_ASSERT_EQUAL(take_state(1, &seen), WATCH_WAITING);
    CU_ASSERT_TRUE(seen.errnum == ENOTDIR || seen.errnum == ELOOP);
    save(moved, "not ours");
    drain();
    CU_ASSERT_EQUAL(changed(1), 0);
    CU_ASSERT_EQUAL(unlink(folder), 0);
    move(away, folder);
    drain();
    CU_ASSERT_EQUAL(take_state(1, NULL), WATCH_ACTIVE);
    stop();
}

static void
a_change_under_another_hard_link_is_told(void)
{
    g_autofree char *path = unit_path("d/file"), *folder = unit_path("d"),
                    *other = unit_path("other");

    make_folders(folder);
    save(path, "one");
    CU_ASSERT_EQUAL(link(path, other), 0);
    start();
    watch_active(1, path);
    save(other, "two");
    drain();
    CU_ASSERT_TRUE(changed(1) & CHANGE_CLOSED);

    save_by_rename(path, "three"); /* now a file of its own */
    drain();
    CU_ASSERT_TRUE(changed(1) & CHANGE_APPEARED);
    save(other, "four");
    drain();
    CU_ASSERT_EQUAL(changed(1), 0);

    CU_ASSERT_EQUAL(unlink(path), 0);
    CU_ASSERT_EQUAL(link(other, path), 0);
    drain();
    (void) changed(1);
    save(other, "five");
    drain();
    CU_ASSERT_TRUE(changed(1) & CHANGE_CLOSED);
    stop();
}

static gboolean
own_mounts(void)
{
    static gboolean tried, have;

    if (!tried)
        have = geteuid() == 0 && unshare(CLONE_NEWNS) == 0 &&
               mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL) == 0;
    tried = TRUE;
    if (!have)
        unit_skip("mounting needs root");
    return have;
}

static void
a_mount_over_the_folder_is_noticed_and_so_is_its_end(void)
{
    g_autofree char *folder = unit_path("a/b"), *above = unit_path("a"),
                    *path = unit_path("a/b/file");

    if (!own_mounts())
        return;
    make_folders(folder);
    save(path, "below");
    start();
    watch_active(1, path);

    CU_ASSERT_EQUAL_FATAL(mount("tmpfs", above, "tmpfs", 0, "size=1m"), 0);
    await_state(1, WATCH_WAITING);
    make_folders(folder);
    await_state(1, WATCH_ACTIVE);
    save(path, "on the mount");
    drain();
    CU_ASSERT_TRUE(changed(1) & CHANGE_CLOSED);

    CU_ASSERT_EQUAL(umount2(above, MNT_DETACH), 0);
    await_state(1, WATCH_ACTIVE);
    save(path, "below");
    drain();
    CU_ASSERT_TRUE(changed(1) & CHANGE_CLOSED);
    stop();
}

static void
two_paths_to_one_folder_are_both_told(void)
{
    g_autofree char *one = unit_path("one"), *two = unit_path("two"), *a = unit_path("one/file"),
                    *b = unit_path("two/file");

    if (!own_mounts())
        return;
    make_folders(one);
    make_folders(two);
    CU_ASSERT_EQUAL_FATAL(mount(one, two, NULL, MS_BIND, NULL), 0);
    start();
    watch_active(1, a);
    watch_active(2, b);
    save(a, "one");
    drain();
    CU_ASSERT_TRUE(changed(1) & CHANGE_CLOSED);
    CU_ASSERT_TRUE(changed(2) & CHANGE_CLOSED);
    CU_ASSERT_EQUAL(umount2(two, MNT_DETACH), 0);
    await_state(2, WATCH_ACTIVE);
    save(a, "two");
    drain();
    CU_ASSERT_TRUE(changed(1) & CHANGE_CLOSED);
    CU_ASSERT_EQUAL(changed(2), 0);
    stop();
}

static guint
queue_limit(void)
{
    g_autofree char *text = NULL;

    if (!g_file_get_contents("/proc/sys/fs/inotify/max_queued_events", &text, NULL, NULL))
        return 0;
    return (guint) g_ascii_strtoull(text, NULL, 10);
}

static void
lost_events_are_reported(void)
{
    g_autofree char *a = unit_path("a"), *b = unit_path("b");
    guint n = queue_limit();

    if (n == 0 || n > 1000000) {
        unit_skip("the inotify queue cannot be filled");
        return;
    }
    save(a, "one");
    save(b, "one");
    start();
    watch_active(1, a);
    watch_active(2, b);
    kill(child, SIGSTOP);
    for (guint i = 0; i < n / 2 + 100; i++) { /* by turns, or they would be merged */
        (void) chmod(a, 0600);
        (void) chmod(b, 0600);
    }
    save(b, "two");
    kill(child, SIGCONT);
    await(MESSAGE_WATCHER_OVERFLOW);
    drain();
    CU_ASSERT_TRUE(changed(1) & CHANGE_ATTRIB);
    (void) changed(2);
    save(b, "three");
    drain();
    CU_ASSERT_TRUE(changed(2) & CHANGE_CLOSED);
    stop();
}

static void
an_unreadable_folder_is_scanned_and_tried_again(void)
{
    g_autofree char *folder = unit_path("d"), *path = unit_path("d/file"),
                    *other = unit_path("e/file"), *other_folder = unit_path("e");
    uid_t principal = geteuid() == 0 ? NOBODY : geteuid();
    Seen seen = {0};

    make_folders(folder);
    make_folders(other_folder);
    (void) chmod(unit_folder(), 0755);
    CU_ASSERT_EQUAL(chmod(folder, geteuid() == 0 ? 0711 : 0300), 0);
    if (!start_limited(principal, 0))
        return;
    watch(1, path);
    CU_ASSERT_EQUAL(take_state(1, &seen), WATCH_SCAN);
    CU_ASSERT_EQUAL(seen.errnum, EACCES);
    watch_active(2, other);

    /* Asked again, or when a watch was freed, it is tried at once; else every 30 s. */
    CU_ASSERT_EQUAL(chmod(folder, 0755), 0);
    send_to_watcher(MESSAGE_DAEMON_UNWATCH, g_variant_new("(t)", G_GUINT64_CONSTANT(2)));
    drain();
    CU_ASSERT_EQUAL(take_state(1, &seen), WATCH_ACTIVE);
    CU_ASSERT_EQUAL(seen.errnum, 0);
    save(path, "one");
    drain();
    CU_ASSERT_TRUE(changed(1) & CHANGE_CLOSED);
    stop();
}

static void
a_folder_that_cannot_be_entered_is_scanned(void)
{
    g_autofree char *folder = unit_path("d"), *deep = unit_path("d/e/f"),
                    *path = unit_path("d/e/f/g");
    uid_t principal = geteuid() == 0 ? NOBODY : geteuid();
    Seen seen = {0};

    make_folders(deep);
    (void) chmod(unit_folder(), 0755);
    CU_ASSERT_EQUAL(chmod(folder, 0000), 0);
    if (!start_limited(principal, 0))
        return;
    watch(1, path);
    CU_ASSERT_EQUAL(take_state(1, &seen), WATCH_SCAN);
    CU_ASSERT_EQUAL(seen.errnum, EACCES);
    CU_ASSERT_EQUAL(chmod(folder, 0755), 0);
    watch_active(1, path);
    stop();
}

static void
running_out_of_watches_says_how_many_are_needed(void)
{
    Seen seen = {0};
    WatchState last[20];
    guint64 needed = 0;
    guint scanned = 0, above = 0;

    if (!start_limited(geteuid(), 12)) {
        unit_skip("no user namespaces: the limit on watches cannot be set for a test alone");
        return;
    }
    for (const char *p = unit_folder(); *p; p++)
        above += *p == '/';
    for (guint i = 0; i < 20; i++) {
        g_autofree char *name = g_strdup_printf("d%u/file", i);
        g_autofree char *path = unit_path(name);
        g_autofree char *folder = g_path_get_dirname(path);
        make_folders(folder);
        save(path, "one");
        watch_with(i, path, 0);
    }
    drain();
    for (guint i = 0; i < 20; i++) {
        last[i] = take_state(i, &seen);
        if (last[i] == WATCH_ACTIVE)
            continue;
        CU_ASSERT_EQUAL(last[i], WATCH_SCAN);
        CU_ASSERT_EQUAL(seen.errnum, ENOSPC);
        needed = MAX(needed, seen.needed);
        scanned++;
    }
    CU_ASSERT_TRUE(scanned >= 8 && scanned < 20);
    CU_ASSERT_EQUAL(needed, 20 + 1 + above);

    /* Most go: there is room for the others. */
    for (guint i = 0; i < 15; i++)
        send_to_watcher(MESSAGE_DAEMON_UNWATCH, g_variant_new("(t)", (guint64) i));
    drain();
    for (guint i = 15; i < 20; i++)
        if (last[i] == WATCH_SCAN) {
            CU_ASSERT_EQUAL(take_state(i, &seen), WATCH_ACTIVE);
            CU_ASSERT_EQUAL(seen.errnum, 0);
        }
    stop();
}

static void
the_watcher_ends_with_its_channel(void)
{
    int status;

    start();
    g_clear_pointer(&channel, channel_free);
    CU_ASSERT_EQUAL(waitpid(child, &status, 0), child);
    CU_ASSERT_TRUE(WIFEXITED(status) && WEXITSTATUS(status) == 0);
    g_array_unref(changes);
    g_array_unref(states);
}

/* The parent does not read: nothing is lost, and the watcher does not wait for it. */
static void
a_parent_that_is_slow_gets_everything_later(void)
{
    enum { N = 2000 };

    start();
    for (guint i = 0; i < N; i++) {
        g_autofree char *name = g_strdup_printf("%u", i);
        g_autofree char *path = unit_path(name);
        watch_with(i, path, 0);
        if (i % 100 == 0)
            drain();
    }
    drain();
    CU_ASSERT_EQUAL(states->len, N);
    for (int round = 0; round < 3; round++)
        for (guint i = 0; i < N; i++) {
            g_autofree char *name = g_strdup_printf("%u", i);
            g_autofree char *path = unit_path(name);
            save(path, "x");
        }
    drain();
    for (guint i = 0; i < N; i++)
        if (!(changed(i) & CHANGE_CLOSED))
            CU_FAIL("a change was lost");
    stop();
}

static const UnitTest tests[] = {
    UNIT_TEST(a_close_after_a_write_is_told_before_the_drain_ends),
    UNIT_TEST(changes_are_told_without_being_asked_for),
    UNIT_TEST(a_write_is_told_at_once_to_per_write_entries_only),
    UNIT_TEST(a_save_by_renaming_is_seen_again_and_again),
    UNIT_TEST(a_file_deleted_and_made_again_is_seen_each_time),
    UNIT_TEST(attributes_are_told),
    UNIT_TEST(a_file_that_does_not_exist_yet_is_seen_to_appear),
    UNIT_TEST(only_the_named_files_of_a_folder_are_told),
    UNIT_TEST(names_are_bytes),
    UNIT_TEST(an_unwatched_entry_is_silent),
    UNIT_TEST(an_entry_watched_again_is_answered_again),
    UNIT_TEST(a_folder_moved_away_and_back_is_followed),
    UNIT_TEST(another_folder_in_the_place_is_watched_instead),
    UNIT_TEST(a_folder_moved_far_above_is_noticed),
    UNIT_TEST(a_folder_that_appears_later_is_found_level_by_level),
    UNIT_TEST(folders_removed_and_made_again_quickly_are_never_lost),
    UNIT_TEST(a_folder_removed_while_somebody_is_in_it_is_noticed),
    UNIT_TEST(a_symbolic_link_in_the_place_of_a_folder_is_not_followed),
    UNIT_TEST(a_change_under_another_hard_link_is_told),
    UNIT_TEST(a_mount_over_the_folder_is_noticed_and_so_is_its_end),
    UNIT_TEST(two_paths_to_one_folder_are_both_told),
    UNIT_TEST(lost_events_are_reported),
    UNIT_TEST(an_unreadable_folder_is_scanned_and_tried_again),
    UNIT_TEST(a_folder_that_cannot_be_entered_is_scanned),
    UNIT_TEST(running_out_of_watches_says_how_many_are_needed),
    UNIT_TEST(the_watcher_ends_with_its_channel),
    UNIT_TEST(a_parent_that_is_slow_gets_everything_later),
};
UNIT_MAIN("watcher", tests)
