/* The keeper at its edges: what one file, one request or one message must not do to the others. */

#include "config.h"

#include <fcntl.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/resource.h>
#include <sys/stat.h>

#include "base/error.h"
#include "base/fd.h"
#include "base/path.h"
#include "tests/unit/keeperkit.h"
#include "tests/unit/storekit.h"
#include "tests/unit/unit.h"

#define MIB ((gsize) 1024 * 1024)

static void
start(KitKeeper *k, const char *path)
{
    g_autoptr(GError) error = NULL;

    kit_keeper_start(k, path, "", TRUE);
    g_free(kit_keeper_opened(k, NULL, NULL, &error));
    UNIT_NO_ERROR(error);
}

static guint64
send(KitKeeper *k, const char *path, const void *data, gsize n)
{
    g_autoptr(GError) error = NULL;

    kit_keeper_append(k, 1, path, APPEND_CONTENT, data, n, CAUSE_CLOSE);
    guint64 id = kit_keeper_durable(k, 1, &error);
    UNIT_NO_ERROR(error);
    return id;
}

static guint64
send_text(KitKeeper *k, const char *path, const char *text)
{
    return send(k, path, text, strlen(text));
}

static gboolean
has(KitKeeper *k, const char *path, guint64 point, const void *data, gsize n)
{
    g_autoptr(GError) error = NULL;
    g_autoptr(GBytes) got = kit_keeper_content(k, path, point, &error);
    g_autoptr(GBytes) wanted = g_bytes_new(data, n);

    if (error)
        g_printerr("    %s\n", error->message);
    return got && g_bytes_equal(got, wanted);
}

static guint8 *
noise(gsize n, guint32 seed)
{
    guint8 *data = g_malloc(n + 4);
    g_autoptr(GRand) rand = g_rand_new_with_seed(seed);

    for (gsize i = 0; i < n; i += 4) {
        guint32 word = g_rand_int(rand);
        memcpy(data + i, &word, 4);
    }
    return data;
}

/* The only mirror of that name. */
static char *
find_mirror(const char *store, const char *name)
{
    g_autofree char *mirrors = g_build_filename(store, "mirrors", NULL);
    g_autofree char *suffix = g_strconcat("-", name, NULL);
    g_autoptr(GDir) dir = g_dir_open(mirrors, 0, NULL);
    const char *item;

    CU_ASSERT_PTR_NOT_NULL_FATAL(dir);
    while ((item = g_dir_read_name(dir)))
        if (g_str_has_suffix(item, suffix))
            return g_build_filename(mirrors, item, name, NULL);
    return NULL;
}

/* ---- requests ---- */

static void
a_file_that_is_stuck_cannot_be_forgotten_and_hinders_no_other_request(void)
{
    g_autofree char *path = unit_path("store");
    g_autoptr(GError) error = NULL;
    KitKeeper k;

    start(&k, path);
    (void) send_text(&k, "/stuck", "old");
    (void) send_text(&k, "/other", "first");
    (void) send_text(&k, "/other", "second");
    CU_ASSERT_TRUE(has(&k, "/stuck", 0, "old", 3)); /* applied */
    g_autofree char *mirror = find_mirror(path, "stuck");
    CU_ASSERT_EQUAL(unlink(mirror), 0);
    CU_ASSERT_EQUAL(mkdir(mirror, 0700), 0);
    (void) send_text(&k, "/stuck", "new");
    CU_ASSERT_EQUAL(kit_keeper_forget(&k, "/stuck", 0, TRUE, &error), G_MAXUINT);
    CU_ASSERT_PTR_NOT_NULL_FATAL(error);
    CU_ASSERT_PTR_NOT_NULL(strstr(error->message, "must be applied first"));
    g_clear_error(&error);
    CU_ASSERT_EQUAL(kit_keeper_forget(&k, "/unknown", 0, TRUE, &error), G_MAXUINT);
    CU_ASSERT_TRUE(g_error_matches(error, FILEDUP_ERROR, FILEDUP_ERROR_NO_ENTRY));
    g_clear_error(&error);
    CU_ASSERT_EQUAL(kit_keeper_forget(&k, "", 0, TRUE, &error), G_MAXUINT);
    g_clear_error(&error);
    CU_ASSERT_EQUAL(kit_keeper_forget(&k, "/other", 0, TRUE, &error), 2);
    UNIT_NO_ERROR(error);
    g_autoptr(GVariant) pruned = kit_keeper_prune(&k, "", FALSE, &error);
    UNIT_NO_ERROR(error);
    CU_ASSERT_TRUE(has(&k, "/stuck", 0, "new", 3)); /* from the journal */
    CU_ASSERT_EQUAL(rmdir(mirror), 0);
    CU_ASSERT_EQUAL(kit_keeper_stop(&k), 0);
}

static void
ask(KitKeeper *k, gboolean forget)
{
    (void) channel_send(
        k->channel, forget ? MESSAGE_DAEMON_FORGET : MESSAGE_DAEMON_PRUNE,
        forget ? g_variant_new("(t@aytb)", G_GUINT64_CONSTANT(77), path_to_variant("/old"),
                               G_GUINT64_CONSTANT(0), TRUE)
               : g_variant_new("(t@ayb)", G_GUINT64_CONSTANT(77), path_to_variant(""), FALSE),
        NULL, 0, NULL);
}

/* Something is always on its way; FALSE: no answer came between so many. */
static gboolean
is_answered_under_load(KitKeeper *k, gboolean forget)
{
    guint64 job = 100;

    ask(k, forget);
    for (guint i = 0; i < 8; i++)
        kit_keeper_append(k, job++, "/busy", APPEND_CONTENT, &i, sizeof i, CAUSE_CLOSE);
    for (guint durable = 0; durable < 4000;) {
        g_autoptr(GError) error = NULL;
        g_autoptr(Message) m = channel_wait(k->channel, 60000, &error);
        CU_ASSERT_PTR_NOT_NULL_FATAL(m);
        if (m->type == MESSAGE_KEEPER_FORGOTTEN || m->type == MESSAGE_KEEPER_PRUNED) {
            for (guint64 left = job - 100 - durable; left > 0;) {
                g_autoptr(Message) rest = channel_wait(k->channel, 60000, &error);
                CU_ASSERT_PTR_NOT_NULL_FATAL(rest);
                left -= rest->type == MESSAGE_KEEPER_DURABLE;
            }
            return TRUE;
        }
        if (m->type != MESSAGE_KEEPER_DURABLE)
            continue;
        durable++;
        kit_keeper_append(k, job++, "/busy", APPEND_CONTENT, &job, sizeof job, CAUSE_CLOSE);
    }
    return FALSE;
}

static void
requests_are_answered_however_much_is_appended(void)
{
    g_autofree char *path = unit_path("store");
    KitKeeper k;

    start(&k, path);
    (void) send_text(&k, "/old", "1");
    (void) send_text(&k, "/old", "2");
    CU_ASSERT_TRUE(is_answered_under_load(&k, TRUE));
    CU_ASSERT_TRUE(is_answered_under_load(&k, FALSE));
    CU_ASSERT_EQUAL(kit_keeper_stop(&k), 0);
}

/* ---- messages ---- */

static void
a_mark_cannot_move_a_content_out_of_the_chain(void)
{
    g_autofree char *path = unit_path("store");
    KitKeeper k;

    start(&k, path);
    guint64 first = send_text(&k, "/f", "one, and some more");
    for (guint32 cause = 0; cause < CAUSE_COUNT + 2; cause++) {
        g_autoptr(GError) error = NULL;
        (void) channel_send(
            k.channel, MESSAGE_DAEMON_MARK,
            g_variant_new("(t@aysu)", (guint64) cause, path_to_variant("/f"), "", cause), NULL, 0,
            NULL);
        gboolean good = cause == CAUSE_QUIET || cause == CAUSE_NAMED;
        CU_ASSERT_EQUAL(kit_keeper_durable(&k, cause, &error), good ? first : 0);
        CU_ASSERT_EQUAL(g_error_matches(error, FILEDUP_ERROR, FILEDUP_ERROR_REFUSED), !good);
    }
    guint64 second = send_text(&k, "/f", "two");
    (void) send_text(&k, "/f", "three");
    CU_ASSERT_TRUE(has(&k, "/f", first, "one, and some more", 18));
    CU_ASSERT_TRUE(has(&k, "/f", second, "two", 3));
    CU_ASSERT_EQUAL(kit_keeper_stop(&k), 0);
}

/* ---- reading ---- */

static void
forgetting_one_file_changes_nothing_under_who_reads_another(void)
{
    g_autofree char *path = unit_path("store");
    const gsize n = 3 * MIB;
    g_autofree guint8 *old = noise(n, 1), *new = g_memdup2(old, n), *got = g_malloc(n);
    g_autoptr(GError) error = NULL;
    g_auto(Fd) fd = -1;
    KitKeeper k;

    memset(new + n / 2, 7, 4096);
    start(&k, path);
    (void) send(&k, "/f", old, n);
    (void) send_text(&k, "/g", "gone");
    kit_keeper_ask_content(&k, 1, "/f", 0);
    g_autoptr(GBytes) data = kit_keeper_take_content(&k, NULL, &fd, &error);
    UNIT_NO_ERROR(error);
    CU_ASSERT_EQUAL(kit_keeper_forget(&k, "/g", 0, TRUE, &error), 1);
    UNIT_NO_ERROR(error);
    kit_keeper_ranges(&k, 2, "/f", old, n, new, n);
    CU_ASSERT_TRUE(kit_keeper_durable(&k, 2, &error) > 0);
    CU_ASSERT_TRUE(has(&k, "/f", 0, new, n)); /* applied */
    CU_ASSERT_TRUE(fd_pread_full(fd, got, n, 0));
    CU_ASSERT_EQUAL(memcmp(got, old, n), 0);
    CU_ASSERT_EQUAL(kit_keeper_stop(&k), 0);
}

/* The highest of its descriptors. */
static guint
highest_fd(pid_t pid)
{
    g_autofree char *folder = g_strdup_printf("/proc/%d/fd", pid);
    g_autoptr(GDir) dir = g_dir_open(folder, 0, NULL);
    const char *item;
    guint highest = 0;

    CU_ASSERT_PTR_NOT_NULL_FATAL(dir);
    while ((item = g_dir_read_name(dir)))
        highest = MAX(highest, (guint) g_ascii_strtoull(item, NULL, 10));
    return highest;
}

static void
without_descriptors_nothing_is_called_bad(void)
{
    g_autofree char *path = unit_path("store");
    const gsize n = 2 * MIB;
    g_autofree guint8 *old = noise(n, 1), *new = g_memdup2(old, n);
    KitKeeper k;

    memset(new, 7, 70000);
    start(&k, path);
    guint64 id = send(&k, "/f", old, n);
    CU_ASSERT_TRUE(has(&k, "/f", 0, old, n));
    (void) send(&k, "/f", new, n);
    CU_ASSERT_TRUE(has(&k, "/f", 0, new, n));
    CU_ASSERT_TRUE(has(&k, "/f", id, old, n));
    struct rlimit before;
    CU_ASSERT_EQUAL(prlimit(k.pid, RLIMIT_NOFILE, NULL, &before), 0);
    guint highest = highest_fd(k.pid), told = 0;
    for (guint more = 0; more < 12; more++) {
        g_autoptr(GError) error = NULL;
        struct rlimit few = {.rlim_cur = highest + 1 + more, .rlim_max = before.rlim_max};
        guint points = 0, bad_points = 0;
        CU_ASSERT_EQUAL(prlimit(k.pid, RLIMIT_NOFILE, &few, NULL), 0);
        g_autofree char *bad = kit_keeper_verify(&k, "/f", TRUE, &points, &bad_points, &error);
        CU_ASSERT_TRUE(bad || g_error_matches(error, FILEDUP_ERROR, FILEDUP_ERROR_AGAIN));
        if (bad) {
            CU_ASSERT_STRING_EQUAL(bad, "");
        }
        CU_ASSERT_EQUAL(bad_points, 0);
        told += bad != NULL;
    }
    CU_ASSERT_TRUE(told > 0);
    CU_ASSERT_EQUAL(prlimit(k.pid, RLIMIT_NOFILE, &before, NULL), 0);
    CU_ASSERT_TRUE(has(&k, "/f", id, old, n));
    CU_ASSERT_EQUAL(kit_keeper_stop(&k), 0);
}

/* Readers hold up the apply of what they read; not until the journal is full, and nobody's appends are
 * taken any more. */
static void
who_reads_one_file_keeps_nobody_from_appending(void)
{
    g_autofree char *mount_point = unit_path("small");
    g_autofree char *path = g_build_filename(mount_point, "store", NULL);
    const gsize n = 4 * MIB;
    const guint readers = 30;
    g_autofree guint8 *old = noise(n, 1), *new = g_memdup2(old, n);
    guint contents = 0, durable = 0, refused = 0, again = 0;
    KitKeeper k;

    memset(new, 7, 70000);
    CU_ASSERT_EQUAL(mkdir(mount_point, 0700), 0);
    if (geteuid() != 0 || mount("none", mount_point, "tmpfs", 0, "size=256m") != 0) {
        unit_skip("mounting a small tmpfs needs root"); /* small, so that its journal is */
        return;
    }
    start(&k, path);
    guint64 id = send(&k, "/f", old, n);
    (void) send(&k, "/f", new, n);
    CU_ASSERT_TRUE(has(&k, "/f", id, old, n));
    for (guint i = 0; i < readers; i++)
        kit_keeper_ask_content(&k, 1000 + i, "/f", id);
    for (guint i = 0; i < 40; i++) {
        memset(new + MIB, (int) i, MIB / 2);
        kit_keeper_append(&k, i, i % 4 ? "/f" : "/other", APPEND_CONTENT, new, MIB + MIB / 2,
                          CAUSE_CLOSE);
    }
    while (contents < readers || durable + refused < 40) {
        g_autoptr(GError) error = NULL;
        g_autoptr(GVariant) carried = NULL;
        g_autoptr(Message) m = channel_wait(k.channel, 60000, &error);
        CU_ASSERT_PTR_NOT_NULL_FATAL(m);
        if (m->type != MESSAGE_KEEPER_DURABLE && m->type != MESSAGE_KEEPER_CONTENT)
            continue;
        carried = g_variant_get_child_value(m->body, 1);
        gboolean good = message_error_check(carried, NULL, &error);
        if (m->type == MESSAGE_KEEPER_DURABLE) {
            durable += good;
            refused += !good;
            continue;
        }
        contents++;
        again += !good;
        CU_ASSERT_TRUE(good || g_error_matches(error, FILEDUP_ERROR, FILEDUP_ERROR_AGAIN));
        if (good) {
            g_autofree guint8 *got = g_malloc(n);
            g_auto(Fd) fd = message_take_fd(m, 0);
            CU_ASSERT_TRUE_FATAL(fd_pread_full(fd, got, n, 0));
            CU_ASSERT_EQUAL(memcmp(got, old, n), 0);
        }
    }
    CU_ASSERT_EQUAL(refused, 0);
    CU_ASSERT_TRUE(again < readers / 2);
    CU_ASSERT_TRUE(has(&k, "/f", id, old, n));
    CU_ASSERT_EQUAL(kit_keeper_stop(&k), 0);
    CU_ASSERT_EQUAL(umount2(mount_point, MNT_DETACH), 0);
}

static void
a_verification_ends_although_the_file_changes_all_the_time(void)
{
    g_autofree char *path = unit_path("store");
    const gsize n = MIB + MIB / 2;
    g_autofree guint8 *first = noise(n, 1), *second = g_malloc(n);
    guint8 *const data[2] = {first, second};
    guint64 sent = 0, durable = 0;
    KitKeeper k;

    start(&k, path);
    (void) send(&k, "/f", data[0], n);
    CU_ASSERT_TRUE(has(&k, "/f", 0, data[0], n)); /* applied */
    g_autofree char *mirror = find_mirror(path, "f");
    {
        g_auto(Fd) fd = open(mirror, O_RDWR | O_CLOEXEC);
        CU_ASSERT_TRUE(fd_pwrite_full(fd, "rot", 3, MIB));
    }
    (void) channel_send(
        k.channel, MESSAGE_DAEMON_VERIFY,
        g_variant_new("(t@ayb)", G_GUINT64_CONSTANT(9), path_to_variant("/f"), FALSE), NULL, 0,
        NULL);
    gboolean verified = FALSE;
    for (; !verified && durable < 1000;) {
        while (sent < durable + 3) {
            guint8 *old = data[sent % 2], *new = data[(sent + 1) % 2];
            memcpy(new, old, n);
            memcpy(new, &sent, sizeof sent); /* never the same again */
            kit_keeper_ranges(&k, 100 + sent, "/f", old, n, new, n);
            sent++;
        }
        g_autoptr(GError) error = NULL;
        g_autoptr(Message) m = channel_wait(k.channel, 60000, &error);
        CU_ASSERT_PTR_NOT_NULL_FATAL(m);
        durable += m->type == MESSAGE_KEEPER_DURABLE;
        if (m->type != MESSAGE_KEEPER_VERIFIED)
            continue;
        g_autoptr(GVariant) bad = g_variant_get_child_value(m->body, 3);
        guint64 offset, length;
        verified = TRUE;
        CU_ASSERT_EQUAL_FATAL(g_variant_n_children(bad), 1);
        g_variant_get_child(bad, 0, "(tt)", &offset, &length);
        CU_ASSERT_EQUAL(offset, MIB);
        CU_ASSERT_EQUAL(length, SUM_BLOCK_BYTES);
    }
    CU_ASSERT_TRUE(verified);
    while (durable < sent) {
        g_autoptr(GError) error = NULL;
        g_autoptr(Message) m = channel_wait(k.channel, 60000, &error);
        CU_ASSERT_PTR_NOT_NULL_FATAL(m);
        durable += m->type == MESSAGE_KEEPER_DURABLE;
    }
    CU_ASSERT_EQUAL(kit_keeper_stop(&k), 0);
}

/* ---- room ---- */

static void
what_is_cut_off_has_room_or_is_refused(void)
{
    g_autofree char *mount_point = unit_path("small");
    g_autofree char *path = g_build_filename(mount_point, "store", NULL);
    const gsize n = 12 * MIB;
    g_autofree guint8 *data = noise(n, 1);
    g_autoptr(GError) error = NULL;
    KitKeeper k;

    CU_ASSERT_EQUAL(mkdir(mount_point, 0700), 0);
    if (geteuid() != 0 || mount("none", mount_point, "tmpfs", 0, "size=32m") != 0) {
        unit_skip("mounting a small tmpfs needs root");
        return;
    }
    start(&k, path);
    kit_keeper_append_staged(&k, 1, "/large", data, n, CAUSE_FIRST);
    CU_ASSERT_TRUE(kit_keeper_durable(&k, 1, &error) > 0);
    UNIT_NO_ERROR(error);
    CU_ASSERT_TRUE(has(&k, "/large", 0, data, n)); /* applied */
    for (guint i = 0; i < 40 && !error; i++) {     /* until it is nearly full */
        g_autofree char *name = g_strdup_printf("/full/%u", i);
        kit_keeper_append(&k, 2, name, APPEND_CONTENT, data + i * 1000, MIB, CAUSE_FIRST);
        (void) kit_keeper_durable(&k, 2, &error);
    }
    CU_ASSERT_PTR_NOT_NULL(error);
    g_clear_error(&error);
    /* A third is cut off, so that it is worth keeping as undo. */
    gsize left = n - n / 3;
    kit_keeper_ranges(&k, 3, "/large", data, n, data, left);
    guint64 id = kit_keeper_durable(&k, 3, &error);
    CU_ASSERT_TRUE(id > 0 || g_error_matches(error, FILEDUP_ERROR, FILEDUP_ERROR_AGAIN));
    CU_ASSERT_TRUE(has(&k, "/large", 0, data, id > 0 ? left : n));
    g_autofree char *mirror = find_mirror(path, "large");
    struct stat st;
    CU_ASSERT_EQUAL(stat(mirror, &st), 0);
    CU_ASSERT_EQUAL(st.st_size, (goffset) (id > 0 ? left : n)); /* accepted, so completed */
    CU_ASSERT_EQUAL(kit_keeper_stop(&k), 0);
    CU_ASSERT_EQUAL(umount2(mount_point, MNT_DETACH), 0);
}

static const UnitTest tests[] = {
    UNIT_TEST(a_file_that_is_stuck_cannot_be_forgotten_and_hinders_no_other_request),
    UNIT_TEST(requests_are_answered_however_much_is_appended),
    UNIT_TEST(a_mark_cannot_move_a_content_out_of_the_chain),
    UNIT_TEST(forgetting_one_file_changes_nothing_under_who_reads_another),
    UNIT_TEST(without_descriptors_nothing_is_called_bad),
    UNIT_TEST(who_reads_one_file_keeps_nobody_from_appending),
    UNIT_TEST(a_verification_ends_although_the_file_changes_all_the_time),
    UNIT_TEST(what_is_cut_off_has_room_or_is_refused),
};
UNIT_MAIN("keeper: edges", tests)
