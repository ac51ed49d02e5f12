/* The keeper over its socket: what it acknowledges, refuses and answers. */

#include "config.h"

#include <fcntl.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/wait.h>

#include "base/error.h"
#include "base/path.h"
#include "tests/unit/keeperkit.h"
#include "tests/unit/storekit.h"
#include "tests/unit/unit.h"

static char *
wait_opened(KitKeeper *k, int *ret_errno, GError **error)
{
    return kit_keeper_opened(k, ret_errno, NULL, error);
}

static char *
start(KitKeeper *k, const char *path)
{
    g_autoptr(GError) error = NULL;

    kit_keeper_start(k, path, "", TRUE);
    char *uuid = wait_opened(k, NULL, &error);
    UNIT_NO_ERROR(error);
    return uuid;
}

static void
append_text(KitKeeper *k, guint64 job, const char *path, const char *text)
{
    kit_keeper_append(k, job, path, APPEND_CONTENT, text, strlen(text), CAUSE_CLOSE);
}

static void
expect_text(KitKeeper *k, const char *path, guint64 point, const char *text)
{
    g_autoptr(GError) error = NULL;
    g_autoptr(GBytes) data = kit_keeper_content(k, path, point, &error);
    g_autoptr(GBytes) wanted = g_bytes_new(text, strlen(text));

    UNIT_NO_ERROR(error);
    CU_ASSERT_TRUE(g_bytes_equal(data, wanted));
}

static void
an_appended_content_is_durable_and_comes_back_equal(void)
{
    KitKeeper k;
    g_autofree char *path = unit_path("store");
    g_autofree char *uuid = start(&k, path);
    g_autoptr(GError) error = NULL;

    append_text(&k, 7, "/home/a b.txt", "hello");
    CU_ASSERT_TRUE(kit_keeper_durable(&k, 7, &error) > 0);
    UNIT_NO_ERROR(error);
    expect_text(&k, "/home/a b.txt", 0, "hello");
    append_text(&k, 8, "/home/a b.txt", "");
    CU_ASSERT_TRUE(kit_keeper_durable(&k, 8, &error) > 0);
    expect_text(&k, "/home/a b.txt", 0, "");
    CU_ASSERT_EQUAL(kit_keeper_stop(&k), 0);
}

static void
what_was_acknowledged_survives_kill_9_of_the_keeper(void)
{
    KitKeeper k;
    g_autofree char *path = unit_path("store");
    g_autofree char *uuid = start(&k, path);
    g_autoptr(GError) error = NULL;

    for (guint i = 0; i < 20; i++) {
        g_autofree char *name = g_strdup_printf("/d/%u", i % 5);
        g_autofree char *text = g_strdup_printf("version %u", i);
        append_text(&k, i, name, text);
        CU_ASSERT_TRUE(kit_keeper_durable(&k, i, &error) > 0);
    }
    CU_ASSERT_EQUAL(kill(k.pid, SIGKILL), 0);
    CU_ASSERT_EQUAL(kit_keeper_end(&k), -SIGKILL);

    kit_keeper_start(&k, path, uuid, FALSE);
    g_autofree char *again = wait_opened(&k, NULL, &error);
    UNIT_NO_ERROR(error);
    CU_ASSERT_STRING_EQUAL(again, uuid);
    for (guint i = 0; i < 5; i++) {
        g_autofree char *name = g_strdup_printf("/d/%u", i);
        g_autofree char *text = g_strdup_printf("version %u", 15 + i);
        expect_text(&k, name, 0, text);
    }
    CU_ASSERT_EQUAL(kit_keeper_stop(&k), 0);
}

static void
many_appends_that_wait_together_are_committed_together(void)
{
    KitKeeper k;
    g_autofree char *path = unit_path("store");
    g_autofree char *uuid = start(&k, path);
    g_autoptr(GError) error = NULL;
    g_autoptr(GHashTable) stamps = g_hash_table_new_full(g_int64_hash, g_int64_equal, g_free, NULL);
    guint64 before = 0;

    CU_ASSERT_EQUAL(kill(k.pid, SIGSTOP), 0); /* so that all of them wait */
    for (guint i = 0; i < 8; i++) {
        g_autofree char *name = g_strdup_printf("/d/%u", i);
        append_text(&k, i, name, "x");
    }
    CU_ASSERT_EQUAL(kill(k.pid, SIGCONT), 0);
    for (guint i = 0; i < 8; i++) {
        g_autoptr(Message) m = kit_keeper_wait(&k, MESSAGE_KEEPER_DURABLE);
        CU_ASSERT_PTR_NOT_NULL_FATAL(m);
        guint64 seq;
        gint64 stamp;
        g_variant_get_child(m->body, 2, "t", &seq);
        g_variant_get_child(m->body, 3, "x", &stamp);
        CU_ASSERT_TRUE(seq > before);
        before = seq;
        g_hash_table_add(stamps, g_memdup2(&stamp, sizeof stamp));
    }
    CU_ASSERT_EQUAL(g_hash_table_size(stamps), 1); /* one fdatasync, one time */
    CU_ASSERT_EQUAL(kit_keeper_stop(&k), 0);
}

static void
an_unsealed_or_untrue_content_is_refused(void)
{
    KitKeeper k;
    g_autofree char *path = unit_path("store");
    g_autofree char *uuid = start(&k, path);
    g_auto(Capture) c = kit_capture("/x", "abc", 3, CAUSE_CLOSE, QUALITY_STABLE);
    g_autoptr(GBytes) sums = point_sums((const guint8 *) "abc", 3);

    for (guint round = 0; round < 3; round++) {
        g_autoptr(GError) error = NULL;
        int fds[2];
        fds[0] = fd_from_bytes("sums", g_bytes_get_data(sums, NULL), g_bytes_get_size(sums), NULL);
        if (round == 0) { /* not sealed */
            fds[1] = fd_memfd("content", NULL);
            CU_ASSERT_TRUE(fd_pwrite_full(fds[1], "abc", 3, 0));
        } else { /* other bytes, another size */
            fds[1] = fd_from_bytes("content", "abdx", round == 1 ? 3 : 4, NULL);
        }
        (void) channel_send(
            k.channel, MESSAGE_DAEMON_APPEND,
            g_variant_new("(t@ayuu@" FILESTAT_TYPE "@ay@ayuut@ay)", (guint64) round,
                          path_to_variant("/x"), 0u, (guint32) APPEND_CONTENT,
                          filestat_to_variant(&c.stat),
                          g_variant_new_fixed_array(G_VARIANT_TYPE_BYTE, c.hash, HASH_BYTES, 1),
                          g_variant_new_fixed_array(G_VARIANT_TYPE_BYTE, NULL, 0, 1),
                          (guint32) QUALITY_STABLE, (guint32) CAUSE_CLOSE, G_GUINT64_CONSTANT(0),
                          g_variant_new_fixed_array(G_VARIANT_TYPE_BYTE, NULL, 0, 1)),
            fds, 2, NULL);
        fd_clear(fds[0]);
        fd_clear(fds[1]);
        CU_ASSERT_EQUAL(kit_keeper_durable(&k, round, &error), 0);
        CU_ASSERT_TRUE(g_error_matches(error, FILEDUP_ERROR, FILEDUP_ERROR_REFUSED));
    }
    g_autoptr(GError) error = NULL;
    g_autoptr(GBytes) data = kit_keeper_content(&k, "/x", 0, &error);
    CU_ASSERT_PTR_NULL(data);
    CU_ASSERT_TRUE(g_error_matches(error, FILEDUP_ERROR, FILEDUP_ERROR_NO_ENTRY));
    CU_ASSERT_EQUAL(kit_keeper_stop(&k), 0);
}

static void
a_staged_file_becomes_the_mirror(void)
{
    KitKeeper k;
    g_autofree char *path = unit_path("store");
    g_autofree char *uuid = start(&k, path);
    g_autoptr(GError) error = NULL;

    kit_keeper_append_staged(&k, 2, "/big", "staged bytes", 12, CAUSE_FIRST);
    CU_ASSERT_TRUE(kit_keeper_durable(&k, 2, &error) > 0);
    UNIT_NO_ERROR(error);
    expect_text(&k, "/big", 0, "staged bytes");
    CU_ASSERT_EQUAL(kit_keeper_stop(&k), 0);

    g_autofree char *folder = g_build_filename(path, "staged", NULL);
    g_autoptr(GDir) dir = g_dir_open(folder, 0, NULL);
    CU_ASSERT_PTR_NULL(g_dir_read_name(dir)); /* nothing is left behind */
}

static void
a_second_keeper_is_refused_and_told_who_has_the_store(void)
{
    KitKeeper k, second;
    g_autofree char *path = unit_path("store");
    g_autofree char *uuid = start(&k, path);
    g_autofree char *pid = g_strdup_printf("process %d ", (int) k.pid);
    g_autoptr(GError) error = NULL;
    int errnum = 0;

    kit_keeper_start(&second, path, uuid, FALSE);
    g_autofree char *none = wait_opened(&second, &errnum, &error);
    CU_ASSERT_PTR_NULL(none);
    CU_ASSERT_TRUE(g_error_matches(error, FILEDUP_ERROR, FILEDUP_ERROR_BUSY));
    CU_ASSERT_EQUAL(errnum, EBUSY);
    CU_ASSERT_PTR_NOT_NULL(strstr(error->message, pid));
    CU_ASSERT_EQUAL(kit_keeper_end(&second), 1);
    CU_ASSERT_EQUAL(kit_keeper_stop(&k), 0);
}

static void
an_absent_store_is_not_written_to(void)
{
    KitKeeper k;
    g_autofree char *path = unit_path("mount");
    g_autofree char *uuid = g_uuid_string_random();
    g_autoptr(GError) error = NULL;
    int errnum = 0;

    CU_ASSERT_EQUAL(mkdir(path, 0700), 0);
    kit_keeper_start(&k, path, uuid, FALSE);
    g_autofree char *none = wait_opened(&k, &errnum, &error);
    CU_ASSERT_PTR_NULL(none);
    CU_ASSERT_EQUAL(errnum, ENOENT);
    CU_ASSERT_EQUAL(kit_keeper_end(&k), 1);
    g_autoptr(GDir) dir = g_dir_open(path, 0, NULL);
    CU_ASSERT_PTR_NULL(g_dir_read_name(dir));

    g_autofree char *other = unit_path("other");
    g_autofree char *other_uuid = start(&k, other);
    CU_ASSERT_EQUAL(kit_keeper_stop(&k), 0);
    kit_keeper_start(&k, other, uuid, FALSE);
    g_clear_error(&error);
    g_autofree char *nothing = wait_opened(&k, &errnum, &error);
    CU_ASSERT_PTR_NULL(nothing);
    CU_ASSERT_EQUAL(errnum, ENOENT);
    CU_ASSERT_EQUAL(kit_keeper_end(&k), 1);
}

static void
a_folder_with_other_things_is_not_made_a_store(void)
{
    KitKeeper k;
    g_autofree char *path = unit_path("folder");
    g_autofree char *thing = g_build_filename(path, "holiday.jpg", NULL);
    g_autoptr(GError) error = NULL;

    CU_ASSERT_EQUAL(mkdir(path, 0755), 0);
    unit_write(thing, "x", 1);
    kit_keeper_start(&k, path, "", TRUE);
    g_autofree char *none = wait_opened(&k, NULL, &error);
    CU_ASSERT_PTR_NULL(none);
    CU_ASSERT_TRUE(g_error_matches(error, FILEDUP_ERROR, FILEDUP_ERROR_REFUSED));
    CU_ASSERT_EQUAL(kit_keeper_end(&k), 1);
    g_autofree char *lock = g_build_filename(path, "lock", NULL);
    CU_ASSERT_NOT_EQUAL(access(lock, F_OK), 0);
}

static void
a_format_that_is_newer_is_refused(void)
{
    KitKeeper k;
    g_autofree char *path = unit_path("store");
    g_autofree char *uuid = start(&k, path);
    g_autofree char *conf = g_build_filename(path, "store.conf", NULL);
    g_autofree char *text = g_strdup_printf("format = 2; uuid = \"%s\";", uuid);
    g_autoptr(GError) error = NULL;

    CU_ASSERT_EQUAL(kit_keeper_stop(&k), 0);
    unit_write(conf, text, -1);
    kit_keeper_start(&k, path, uuid, FALSE);
    g_autofree char *none = wait_opened(&k, NULL, &error);
    CU_ASSERT_PTR_NULL(none);
    CU_ASSERT_PTR_NOT_NULL(strstr(error->message, "newer"));
    CU_ASSERT_EQUAL(kit_keeper_end(&k), 1);
}

static void
a_missing_catalog_is_not_replaced_by_an_empty_one(void)
{
    KitKeeper k;
    g_autofree char *path = unit_path("store");
    g_autofree char *uuid = start(&k, path);
    g_autofree char *catalog = g_build_filename(path, "catalog.db", NULL);
    g_autoptr(GError) error = NULL;

    CU_ASSERT_EQUAL(kit_keeper_stop(&k), 0);
    CU_ASSERT_EQUAL(unlink(catalog), 0);
    kit_keeper_start(&k, path, uuid, FALSE);
    g_autofree char *none = wait_opened(&k, NULL, &error);
    CU_ASSERT_PTR_NULL(none);
    CU_ASSERT_PTR_NOT_NULL(error);
    CU_ASSERT_EQUAL(kit_keeper_end(&k), 1);
    CU_ASSERT_NOT_EQUAL(access(catalog, F_OK), 0);
}

static void
lookup_tells_what_was_stored_before_and_after_it_is_applied(void)
{
    KitKeeper k;
    g_autofree char *path = unit_path("store");
    g_autofree char *uuid = start(&k, path);
    g_autoptr(GError) error = NULL;
    const guint32 wanted[] = {STORED_NOTHING, STORED_CURRENT, STORED_DELETED};

    for (guint round = 0; round < 3; round++) {
        if (round == 1)
            append_text(&k, 1, "/f", "one");
        if (round == 2)
            kit_keeper_append(&k, 1, "/f", APPEND_DELETE, NULL, 0, CAUSE_CLOSE);
        if (round > 0)
            CU_ASSERT_TRUE(kit_keeper_durable(&k, 1, &error) > 0);
        UNIT_NO_ERROR(error);
        CU_ASSERT_EQUAL(kit_keeper_state(&k, "/f", NULL, NULL), wanted[round]);
    }
    kit_keeper_append(&k, 9, "/unknown", APPEND_DELETE, NULL, 0, CAUSE_CLOSE);
    CU_ASSERT_EQUAL(kit_keeper_durable(&k, 9, &error), 0);
    CU_ASSERT_TRUE(g_error_matches(error, FILEDUP_ERROR, FILEDUP_ERROR_NO_ENTRY));
    CU_ASSERT_EQUAL(kit_keeper_stop(&k), 0);
}

/* The mirror of a path; the test's store has no other of that name. */
static char *
find_mirror(const char *store, const char *name)
{
    g_autofree char *mirrors = g_build_filename(store, "mirrors", NULL);
    g_autofree char *end = g_strconcat("-", name, NULL);
    g_autoptr(GDir) dir = g_dir_open(mirrors, 0, NULL);
    const char *entry;

    while ((entry = g_dir_read_name(dir)))
        if (g_str_has_suffix(entry, end))
            return g_build_filename(mirrors, entry, name, NULL);
    CU_FAIL_FATAL("no mirror");
    return NULL;
}

static void
a_file_that_is_stuck_hinders_no_other_and_no_keeper(void)
{
    KitKeeper k;
    g_autofree char *path = unit_path("store");
    g_autofree char *uuid = start(&k, path);
    g_autoptr(GError) error = NULL;

    append_text(&k, 1, "/stuck", "old");
    CU_ASSERT_TRUE(kit_keeper_durable(&k, 1, &error) > 0);
    expect_text(&k, "/stuck", 0, "old"); /* applied */
    g_autofree char *mirror = find_mirror(path, "stuck");
    CU_ASSERT_EQUAL(unlink(mirror), 0);
    CU_ASSERT_EQUAL(mkdir(mirror, 0700), 0);
    append_text(&k, 2, "/stuck", "new");
    CU_ASSERT_TRUE(kit_keeper_durable(&k, 2, &error) > 0);
    for (guint i = 3; i < 6; i++) {
        g_autofree char *text = g_strdup_printf("other %u", i);
        append_text(&k, i, "/other", text);
        CU_ASSERT_TRUE(kit_keeper_durable(&k, i, &error) > 0);
        expect_text(&k, "/other", 0, text);
        expect_text(&k, "/stuck", 0, "new"); /* from the journal, and tried once more */
    }
    g_autofree char *other = find_mirror(path, "other");
    CU_ASSERT_EQUAL(kit_keeper_stop(&k), 0);
    g_autoptr(GBytes) applied = unit_read(other);
    CU_ASSERT_EQUAL(g_bytes_get_size(applied), 7);

    CU_ASSERT_EQUAL(rmdir(mirror), 0);
    kit_keeper_start(&k, path, uuid, FALSE);
    g_autofree char *again = wait_opened(&k, NULL, &error);
    UNIT_NO_ERROR(error);
    expect_text(&k, "/stuck", 0, "new");
    CU_ASSERT_EQUAL(kit_keeper_stop(&k), 0);
    g_autoptr(GBytes) mended = unit_read(mirror);
    CU_ASSERT_EQUAL(g_bytes_get_size(mended), 3);
}

static void
a_mirror_that_was_removed_is_nothing_stored(void)
{
    KitKeeper k;
    g_autofree char *path = unit_path("store");
    g_autofree char *uuid = start(&k, path);
    g_autoptr(GError) error = NULL;

    append_text(&k, 1, "/f", "");
    CU_ASSERT_TRUE(kit_keeper_durable(&k, 1, &error) > 0);
    expect_text(&k, "/f", 0, "");
    g_autofree char *mirror = find_mirror(path, "f");
    CU_ASSERT_EQUAL(kit_keeper_state(&k, "/f", NULL, NULL), STORED_CURRENT);
    CU_ASSERT_EQUAL(unlink(mirror), 0);
    kit_keeper_append(&k, 2, "/f", APPEND_ATTRIBUTES, NULL, 0, CAUSE_CLOSE);
    CU_ASSERT_EQUAL(kit_keeper_durable(&k, 2, &error), 0);
    CU_ASSERT_TRUE(g_error_matches(error, FILEDUP_ERROR, FILEDUP_ERROR_DAMAGED));
    g_clear_error(&error);
    CU_ASSERT_EQUAL(kit_keeper_state(&k, "/f", NULL, NULL), STORED_NOTHING);
    append_text(&k, 3, "/f", "anew");
    CU_ASSERT_TRUE(kit_keeper_durable(&k, 3, &error) > 0);
    expect_text(&k, "/f", 0, "anew");
    CU_ASSERT_EQUAL(kit_keeper_state(&k, "/f", NULL, NULL), STORED_CURRENT);
    CU_ASSERT_EQUAL(kit_keeper_stop(&k), 0);
}

static void
a_content_that_is_lost_is_made_known_after_all_others_are_applied(void)
{
    g_autofree char *path = unit_path("store");
    g_autoptr(GError) error = NULL;
    KitKeeper k;
    Kit kit;

    kit_open(&kit, path);
    (void) kit_append_staged(&kit, "/lost", "content", 7, CAUSE_FIRST);
    (void) kit_append(&kit, "/other", "good", 4, CAUSE_FIRST, QUALITY_STABLE);
    const Transaction *t = pending_oldest(kit.store.pending);
    g_autofree char *staged =
        g_strdup_printf("%s/staged/%" G_GUINT64_FORMAT, path, t->capture.staged);
    g_autofree char *sums = g_strconcat(staged, ".sums", NULL);
    unit_write(staged, "rubbish", 7);
    unit_write(sums, "rubbish!", 8); /* these alone would be no loss */
    kit_close(&kit);

    kit_keeper_start(&k, path, "", FALSE);
    g_autofree char *uuid = wait_opened(&k, NULL, &error);
    UNIT_NO_ERROR(error);
    CU_ASSERT_PTR_NULL(kit_keeper_wait(&k, MESSAGE_KEEPER_FOUND)); /* it ends by itself */
    CU_ASSERT_EQUAL(kit_keeper_end(&k), 1);

    kit_open(&kit, path);
    CU_ASSERT_TRUE(kit.report.damage);
    CU_ASSERT_EQUAL(pending_count(kit.store.pending), 0);
    kit_expect(&kit, "/other", 0, "good");
    kit_close(&kit);
}

static void
a_full_store_refuses_and_lives_on(void)
{
    KitKeeper k;
    g_autofree char *mount_point = unit_path("small");
    g_autofree char *path = g_build_filename(mount_point, "store", NULL);
    gsize n = 3 * 1024 * 1024;
    g_autofree guint8 *data = g_malloc(n);
    g_autoptr(GError) error = NULL;
    guint stored = 0;

    for (gsize i = 0; i < n; i++)
        data[i] = (guint8) (i * 7 + i / 4096);
    CU_ASSERT_EQUAL(mkdir(mount_point, 0700), 0);
    if (geteuid() != 0 || mount("none", mount_point, "tmpfs", 0, "size=32m") != 0) {
        unit_skip("mounting a small tmpfs needs root");
        return;
    }
    g_autofree char *uuid = start(&k, path);
    for (guint i = 0; i < 20 && !error; i++) {
        g_autofree char *name = g_strdup_printf("/full/%u", i);
        kit_keeper_append(&k, i, name, APPEND_CONTENT, data, n, CAUSE_FIRST);
        if (kit_keeper_durable(&k, i, &error) > 0)
            stored++;
    }
    CU_ASSERT_TRUE(stored >= 3);
    CU_ASSERT_TRUE(g_error_matches(error, FILEDUP_ERROR, FILEDUP_ERROR_AGAIN));
    CU_ASSERT_PTR_NOT_NULL(error);
    if (error) {
        CU_ASSERT_PTR_NOT_NULL(strstr(error->message, "is full"));
    }
    for (guint i = 0; i < stored; i++) {
        g_autofree char *name = g_strdup_printf("/full/%u", i);
        g_autoptr(GBytes) back = kit_keeper_content(&k, name, 0, NULL);
        CU_ASSERT_PTR_NOT_NULL_FATAL(back);
        CU_ASSERT_EQUAL(g_bytes_get_size(back), n);
        CU_ASSERT_EQUAL(memcmp(g_bytes_get_data(back, NULL), data, n), 0);
    }
    g_clear_error(&error);
    append_text(&k, 99, "/full/0", "small again"); /* frees 3 MiB when applied */
    if (kit_keeper_durable(&k, 99, &error) > 0)
        expect_text(&k, "/full/0", 0, "small again");
    CU_ASSERT_EQUAL(kit_keeper_stop(&k), 0);
    CU_ASSERT_EQUAL(umount2(mount_point, MNT_DETACH), 0);
}

static void
a_store_of_the_system_below_a_folder_that_others_write_is_refused(void)
{
    g_autofree char *folder = unit_path("shared");
    g_autofree char *path = g_build_filename(folder, "store", NULL);
    g_autoptr(GError) error = NULL;

    CU_ASSERT_EQUAL(mkdir(folder, 0777), 0);
    CU_ASSERT_EQUAL(chmod(folder, 01777), 0); /* sticky is no better */
    g_autoptr(Layout) l = layout_open(path, "", LAYOUT_CREATE, TRUE, NULL, &error);
    CU_ASSERT_PTR_NULL(l);
    CU_ASSERT_PTR_NOT_NULL(error);
    CU_ASSERT_NOT_EQUAL(access(path, F_OK), 0);
}

/* An ext4 of its own, whose power can be cut. */
static gboolean
mount_ext4(const char *image, const char *mount_point)
{
    g_autofree char *command = g_strdup_printf(
        "PATH=$PATH:/usr/sbin:/sbin; mkfs.ext4 -q -F '%s' && mount -o loop '%s' '%s'", image, image,
        mount_point);
    g_auto(Fd) fd = open(image, O_RDWR | O_CREAT | O_CLOEXEC, 0600);

    return fd >= 0 && ftruncate(fd, 64 * 1024 * 1024) == 0 && mkdir(mount_point, 0700) == 0 &&
           geteuid() == 0 && system(command) == 0;
}

static void
what_was_acknowledged_survives_a_power_cut(void)
{
    g_autofree char *image = unit_path("image");
    g_autofree char *mount_point = unit_path("mount");
    g_autofree char *path = g_build_filename(mount_point, "store", NULL);
    g_autofree char *again = g_strdup_printf("mount -o loop '%s' '%s'", image, mount_point);
    g_autoptr(GError) error = NULL;
    KitKeeper k;

    if (!mount_ext4(image, mount_point)) {
        unit_skip("an ext4 on a loop device needs root");
        return;
    }
    g_free(start(&k, path));
    for (guint round = 0; round < 6 && !error; round++) {
        g_autofree char *text = g_strdup_printf("round %u", round);
        append_text(&k, round, "/f", text);
        CU_ASSERT_TRUE(kit_keeper_durable(&k, round, &error) > 0);
        if (round % 2) /* cut after it is applied as well */
            expect_text(&k, "/f", 0, text);
        g_auto(Fd) fd = open(mount_point, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
        guint32 without_log = 2; /* EXT4_IOC_SHUTDOWN, EXT4_GOING_FLAGS_NOLOGFLUSH */
        CU_ASSERT_EQUAL(ioctl(fd, 0x8004587d, &without_log), 0);
        fd_clear(fd_steal(&fd));
        CU_ASSERT_EQUAL(kill(k.pid, SIGKILL), 0);
        (void) kit_keeper_end(&k);
        CU_ASSERT_EQUAL(umount(mount_point), 0);
        CU_ASSERT_EQUAL_FATAL(system(again), 0);
        kit_keeper_start(&k, path, "", FALSE);
        g_autofree char *uuid = wait_opened(&k, NULL, &error);
        CU_ASSERT_PTR_NULL(error);
        expect_text(&k, "/f", 0, text);
    }
    CU_ASSERT_EQUAL(kit_keeper_stop(&k), 0);
    CU_ASSERT_EQUAL(umount(mount_point), 0);
}

static const UnitTest tests[] = {
    UNIT_TEST(an_appended_content_is_durable_and_comes_back_equal),
    UNIT_TEST(what_was_acknowledged_survives_kill_9_of_the_keeper),
    UNIT_TEST(many_appends_that_wait_together_are_committed_together),
    UNIT_TEST(an_unsealed_or_untrue_content_is_refused),
    UNIT_TEST(a_staged_file_becomes_the_mirror),
    UNIT_TEST(a_second_keeper_is_refused_and_told_who_has_the_store),
    UNIT_TEST(an_absent_store_is_not_written_to),
    UNIT_TEST(a_folder_with_other_things_is_not_made_a_store),
    UNIT_TEST(a_format_that_is_newer_is_refused),
    UNIT_TEST(a_missing_catalog_is_not_replaced_by_an_empty_one),
    UNIT_TEST(lookup_tells_what_was_stored_before_and_after_it_is_applied),
    UNIT_TEST(a_file_that_is_stuck_hinders_no_other_and_no_keeper),
    UNIT_TEST(a_mirror_that_was_removed_is_nothing_stored),
    UNIT_TEST(a_content_that_is_lost_is_made_known_after_all_others_are_applied),
    UNIT_TEST(a_full_store_refuses_and_lives_on),
    UNIT_TEST(a_store_of_the_system_below_a_folder_that_others_write_is_refused),
    UNIT_TEST(what_was_acknowledged_survives_a_power_cut),
};
UNIT_MAIN("keeper", tests)
