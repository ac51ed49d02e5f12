/* The reader: a store without its keeper. */

#include "config.h"

#include <fcntl.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/stat.h>

#include "base/error.h"
#include "store/reader.h"
#include "store/verify.h"
#include "tests/unit/keeperkit.h"
#include "tests/unit/storekit.h"
#include "tests/unit/unit.h"

static void
expect_content(StoreReader *r, const char *path, guint64 point, const char *text)
{
    g_auto(StoredContent) content = {.fd = -1};
    g_autoptr(GError) error = NULL;
    gsize n = strlen(text);
    g_autofree char *data = g_malloc0(n + 1);

    CU_ASSERT_TRUE(store_reader_content(r, path, point, &content, &error));
    UNIT_NO_ERROR(error);
    CU_ASSERT_EQUAL(content.size_bytes, n);
    CU_ASSERT_TRUE(fd_pread_full(content.fd, data, n, 0));
    CU_ASSERT_STRING_EQUAL(data, text);
    CU_ASSERT_EQUAL(fcntl(content.fd, F_GETFL) & O_ACCMODE, O_RDONLY);
    g_autoptr(GBytes) sums = point_sums((const guint8 *) data, n);
    CU_ASSERT_TRUE(g_bytes_equal(sums, content.sums));
}

/* Applied, pending and deleted files. */
static char *
make_store(guint64 *ret_deleted)
{
    char *store = unit_path("store");
    Kit k;

    kit_open(&k, store);
    *ret_deleted = kit_append(&k, "/applied", "old", 3, CAUSE_FIRST, QUALITY_STABLE);
    (void) kit_append_kind(&k, "/applied", APPEND_DELETE);
    (void) kit_append(&k, "/applied", "applied", 7, CAUSE_CLOSE, QUALITY_STABLE);
    kit_apply_all(&k);
    (void) kit_append(&k, "/pending", "pending", 7, CAUSE_FIRST, QUALITY_STABLE);
    (void) kit_append_staged(&k, "/staged", "staged", 6, CAUSE_FIRST);
    (void) kit_append(&k, "/gone", "gone", 4, CAUSE_FIRST, QUALITY_STABLE);
    (void) kit_append_kind(&k, "/gone", APPEND_DELETE);
    kit_close(&k);
    return store;
}

static void
expect_all(StoreReader *r, guint64 deleted)
{
    static const char *const paths[] = {"/applied", "/gone", "/pending", "/staged"};
    g_autoptr(GError) error = NULL;
    g_autoptr(GPtrArray) files = store_reader_list(r, &error);

    UNIT_NO_ERROR(error);
    CU_ASSERT_EQUAL_FATAL(files->len, G_N_ELEMENTS(paths));
    for (guint i = 0; i < files->len; i++) {
        const StoredFile *f = files->pdata[i];
        CU_ASSERT_STRING_EQUAL(f->path, paths[i]);
        CU_ASSERT_EQUAL(f->state, i == 1 ? STORED_DELETED : STORED_CURRENT);
        CU_ASSERT_TRUE(g_str_has_prefix(f->mirror, "mirrors/"));
    }
    expect_content(r, "/applied", 0, "applied");
    expect_content(r, "/applied", deleted, "old");
    expect_content(r, "/pending", 0, "pending");
    expect_content(r, "/staged", 0, "staged");
    expect_content(r, "/gone", 0, "gone");
    g_autoptr(GArray) points = store_reader_points(r, "/applied", &error);
    UNIT_NO_ERROR(error);
    CU_ASSERT_EQUAL_FATAL(points->len, 2);
    CU_ASSERT_TRUE(g_array_index(points, StoredPoint, 0).newest);
    CU_ASSERT_EQUAL(g_array_index(points, StoredPoint, 1).id, deleted);
    CU_ASSERT_EQUAL(g_array_index(points, StoredPoint, 1).cause, CAUSE_DELETED);
}

static void
a_reader_sees_what_is_applied_and_what_is_not(void)
{
    guint64 deleted;
    g_autofree char *store = make_store(&deleted);
    g_autoptr(GError) error = NULL;
    g_autoptr(StoreReader) r = store_reader_open(store, &error);

    UNIT_NO_ERROR(error);
    expect_all(r, deleted);
    CU_ASSERT_TRUE(g_uuid_string_is_valid(store_reader_uuid(r)));
    g_auto(StoredContent) content = {.fd = -1};
    CU_ASSERT_FALSE(store_reader_content(r, "/unknown", 0, &content, &error));
    CU_ASSERT_TRUE(g_error_matches(error, FILEDUP_ERROR, FILEDUP_ERROR_NO_ENTRY));
}

static void
a_reader_works_on_a_read_only_mount(void)
{
    guint64 deleted;
    g_autofree char *store = make_store(&deleted);
    g_autoptr(GError) error = NULL;

    if (geteuid() != 0 || mount(store, store, NULL, MS_BIND, NULL) != 0) {
        unit_skip("a read-only mount needs root");
        return;
    }
    CU_ASSERT_EQUAL(mount(NULL, store, NULL, MS_REMOUNT | MS_BIND | MS_RDONLY, NULL), 0);
    {
        g_autoptr(StoreReader) r = store_reader_open(store, &error);
        CU_ASSERT_PTR_NULL(error);
        if (r)
            expect_all(r, deleted);
    }
    KitKeeper keeper; /* and a keeper says what is the matter */
    kit_keeper_start(&keeper, store, "", FALSE);
    g_autoptr(Message) m = kit_keeper_wait(&keeper, MESSAGE_KEEPER_OPENED);
    CU_ASSERT_PTR_NOT_NULL(m);
    if (m) {
        g_autoptr(GVariant) carried = g_variant_get_child_value(m->body, 0);
        int errnum = 0;
        CU_ASSERT_FALSE(message_error_check(carried, &errnum, &error));
        CU_ASSERT_EQUAL(errnum, EROFS);
    }
    (void) kit_keeper_end(&keeper);
    CU_ASSERT_EQUAL(umount2(store, MNT_DETACH), 0);
}

static void
a_store_that_a_keeper_has_is_busy(void)
{
    g_autofree char *store = unit_path("store");
    g_autoptr(GError) error = NULL;
    KitKeeper keeper;

    kit_keeper_start(&keeper, store, "", TRUE);
    g_autoptr(Message) m = kit_keeper_wait(&keeper, MESSAGE_KEEPER_OPENED);
    CU_ASSERT_PTR_NOT_NULL(m);
    g_autoptr(StoreReader) r = store_reader_open(store, &error);
    CU_ASSERT_PTR_NULL(r);
    CU_ASSERT_TRUE(g_error_matches(error, FILEDUP_ERROR, FILEDUP_ERROR_BUSY));
    g_autofree char *pid = g_strdup_printf("process %d ", (int) keeper.pid);
    CU_ASSERT_PTR_NOT_NULL(strstr(error->message, pid));
    CU_ASSERT_EQUAL(kit_keeper_stop(&keeper), 0);

    g_clear_error(&error);
    g_autoptr(StoreReader) one = store_reader_open(store, &error);
    g_autoptr(StoreReader) two = store_reader_open(store, &error); /* readers share */
    UNIT_NO_ERROR(error);
    CU_ASSERT_PTR_NOT_NULL(two);
}

static void
a_folder_that_is_no_store_is_refused_and_not_touched(void)
{
    g_autoptr(GError) error = NULL;
    g_autofree char *path = unit_path("empty");

    CU_ASSERT_EQUAL(mkdir(path, 0700), 0);
    g_autoptr(StoreReader) r = store_reader_open(path, &error);
    CU_ASSERT_PTR_NULL(r);
    CU_ASSERT_PTR_NOT_NULL(error);
    CU_ASSERT_EQUAL(rmdir(path), 0);
}

/* ---- history ---- */

static void
versions(KitKeeper *k, const char *path, guint n, guint64 *ids, gint64 *times)
{
    for (guint i = 0; i < n; i++) {
        g_autofree char *text = g_strdup_printf("version %u", i);
        g_autoptr(GError) error = NULL;
        kit_keeper_append(k, i, path, APPEND_CONTENT, text, strlen(text), CAUSE_CLOSE);
        ids[i] = kit_keeper_durable(k, i, &error);
        UNIT_NO_ERROR(error);
        times[i] = g_get_real_time();
        while (g_get_real_time() <= times[i])
            ;
    }
}

static void
points_are_read_by_number_by_time_and_with_their_names(void)
{
    g_autofree char *store = unit_path("store");
    g_autoptr(GError) error = NULL;
    guint64 ids[5];
    gint64 times[5];
    KitKeeper k;

    kit_keeper_start(&k, store, "", TRUE);
    g_free(kit_keeper_opened(&k, NULL, NULL, &error));
    versions(&k, "/f", 4, ids, times);
    CU_ASSERT_EQUAL(kit_keeper_mark(&k, "/f", "release", &error), ids[3]);
    kit_keeper_append(&k, 1, "/f", APPEND_DELETE, NULL, 0, CAUSE_CLOSE);
    CU_ASSERT_TRUE(kit_keeper_durable(&k, 1, &error) > 0);
    for (guint round = 0; round < 2; round++) { /* killed with it in the journal; then applied */
        if (round == 0)
            kit_keeper_kill(&k);
        else
            CU_ASSERT_EQUAL(kit_keeper_stop(&k), 0);
        {
            g_autoptr(StoreReader) r = store_reader_open(store, &error);
            UNIT_NO_ERROR(error);
            g_autoptr(GArray) points = store_reader_points(r, "/f", &error);
            UNIT_NO_ERROR(error);
            CU_ASSERT_EQUAL_FATAL(points->len, 4);
            for (guint i = 0; i < 4; i++) {
                const StoredPoint *p = &g_array_index(points, StoredPoint, 3 - i);
                g_autofree char *text = g_strdup_printf("version %u", i);
                g_auto(StoredContent) at = {.fd = -1};
                char data[16] = "";
                CU_ASSERT_EQUAL(p->id, ids[i]);
                CU_ASSERT_STRING_EQUAL(p->name, i == 3 ? "release" : "");
                CU_ASSERT_EQUAL(p->newest, i == 3);
                CU_ASSERT_EQUAL(p->deleted_usec > 0, i == 3);
                CU_ASSERT_EQUAL(p->cause == CAUSE_DELETED, i == 3);
                expect_content(r, "/f", ids[i], text);
                CU_ASSERT_TRUE(store_reader_content_at(r, "/f", times[i], &at, &error));
                UNIT_NO_ERROR(error);
                CU_ASSERT_EQUAL(at.point, i == 3 ? 0 : ids[i]);
                CU_ASSERT_TRUE(fd_pread_full(at.fd, data, strlen(text), 0));
                CU_ASSERT_STRING_EQUAL(data, text);
            }
            g_auto(StoredContent) none = {.fd = -1};
            CU_ASSERT_FALSE(store_reader_content_at(r, "/f", 1, &none, &error));
            CU_ASSERT_TRUE(g_error_matches(error, FILEDUP_ERROR, FILEDUP_ERROR_NO_ENTRY));
            g_clear_error(&error);
            CU_ASSERT_FALSE(store_reader_content(r, "/f", ids[3] + 50, &none, &error));
            CU_ASSERT_TRUE(g_error_matches(error, FILEDUP_ERROR, FILEDUP_ERROR_NO_ENTRY));
            g_clear_error(&error);
        }
        kit_keeper_start(&k, store, "", TRUE);
        g_free(kit_keeper_opened(&k, NULL, NULL, &error));
        UNIT_NO_ERROR(error);
    }
    CU_ASSERT_EQUAL(kit_keeper_stop(&k), 0);
}

static void
what_is_bad_is_found_without_a_keeper(void)
{
    g_autofree char *store = unit_path("store");
    g_autoptr(GError) error = NULL;
    guint64 ids[3];
    gint64 times[3];
    KitKeeper k;

    kit_keeper_start(&k, store, "", TRUE);
    g_free(kit_keeper_opened(&k, NULL, NULL, &error));
    versions(&k, "/f", 3, ids, times);
    CU_ASSERT_EQUAL(kit_keeper_stop(&k), 0);
    g_autofree char *mirrors = g_build_filename(store, "mirrors", NULL);
    g_autoptr(GDir) dir = g_dir_open(mirrors, 0, NULL);
    const char *item;
    while ((item = g_dir_read_name(dir)) && g_str_has_suffix(item, ".origin"))
        ;
    g_autofree char *mirror = g_build_filename(mirrors, item, "f", NULL);
    for (guint round = 0; round < 3; round++) {
        g_autoptr(StoreReader) r = store_reader_open(store, &error);
        g_auto(StoredCheck) check = {0};
        UNIT_NO_ERROR(error);
        if (round == 1)
            unit_write(mirror, "versiom 2", 9);
        if (round == 2)
            CU_ASSERT_EQUAL(unlink(mirror), 0);
        (void) store_reader_verify(r, "/f", TRUE, &check, &error);
        UNIT_NO_ERROR(error);
        CU_ASSERT_EQUAL(check.bad->len, round > 0);
        CU_ASSERT_EQUAL(check.points, 2);
        if (round == 0)
            CU_ASSERT_EQUAL(check.bad_points->len, 0);
        if (round > 0) {
            CU_ASSERT_EQUAL(g_array_index(check.bad, BadRange, 0).offset, 0);
            CU_ASSERT_EQUAL(g_array_index(check.bad, BadRange, 0).length, 9);
        }
    }
}

/* One of tests/data, unpacked: NULL where that cannot be done. */
static char *
sample(const char *name)
{
    g_autofree char *folder = unit_path(name);
    g_autofree char *command =
        g_strdup_printf("mkdir '%s' && zstd -dqc '" SOURCE_FOLDER "/tests/data/%s.tar.zst' |"
                        " tar -x -C '%s' --no-same-owner",
                        folder, name, folder);
    const char *item;

    if (system(command) != 0) {
        unit_skip("unpacking a sample needs tar and zstd");
        return NULL;
    }
    g_autoptr(GDir) dir = g_dir_open(folder, 0, NULL);
    while ((item = g_dir_read_name(dir))) {
        g_autofree char *conf = g_build_filename(folder, item, "store.conf", NULL);
        if (g_file_test(conf, G_FILE_TEST_EXISTS))
            return g_build_filename(folder, item, NULL);
    }
    return g_steal_pointer(&folder);
}

static void
expect_sample(StoreReader *r, gboolean pending)
{
    g_autoptr(GError) error = NULL;
    g_autoptr(GPtrArray) files = store_reader_list(r, &error);

    UNIT_NO_ERROR(error);
    CU_ASSERT_EQUAL_FATAL(files->len, 4);
    const char *one = ((const StoredFile *) files->pdata[2])->path;
    g_autofree char *folder = g_path_get_dirname(one);
    g_autofree char *two = g_build_filename(folder, "two", NULL);
    CU_ASSERT_EQUAL(((const StoredFile *) files->pdata[0])->state, STORED_DELETED); /* gone */
    CU_ASSERT_EQUAL(((const StoredFile *) files->pdata[1])->stat.size_bytes, 9437189);
    expect_content(r, one, 0, "one, fourth\n");
    g_autoptr(GArray) points = store_reader_points(r, one, &error);
    UNIT_NO_ERROR(error);
    CU_ASSERT_TRUE_FATAL(points->len >= 2);
    gboolean second = FALSE;
    for (guint i = 0; i < points->len; i++) {
        const StoredPoint *p = &g_array_index(points, StoredPoint, i);
        if (p->newest || p->cause != CAUSE_DELETED)
            continue;
        expect_content(r, one, p->id, "one, second\n");
        second = TRUE;
    }
    CU_ASSERT_TRUE(second);
    expect_content(r, two, 0,
                   pending ? "two, newer than the mirror\n" : "two, overwritten by mistake\n");
    for (guint i = 0; i < files->len; i++) {
        g_auto(StoredCheck) check = {0};
        (void) store_reader_verify(r, ((const StoredFile *) files->pdata[i])->path, TRUE, &check,
                                   &error);
        UNIT_NO_ERROR(error);
        CU_ASSERT_EQUAL(check.bad->len, 0);
        CU_ASSERT_EQUAL(check.bad_points->len, 0);
    }
}

static void
a_store_of_format_1_is_read_and_goes_on(void)
{
    static const char *const names[] = {"store-1-clean", "store-1-pending"};

    for (guint i = 0; i < G_N_ELEMENTS(names); i++) {
        g_autofree char *store = sample(names[i]);
        g_autoptr(GError) error = NULL;
        KitKeeper k;
        if (!store)
            return;
        for (guint round = 0; round < 2; round++) {
            {
                g_autoptr(StoreReader) r = store_reader_open(store, &error);
                UNIT_NO_ERROR(error);
                expect_sample(r, i == 1);
            }
            kit_keeper_start(&k, store, "", FALSE);
            g_free(kit_keeper_opened(&k, NULL, NULL, &error));
            UNIT_NO_ERROR(error);
            if (round == 1) {
                guint64 ids[2];
                gint64 times[2];
                versions(&k, "/new", 2, ids, times);
            }
            CU_ASSERT_EQUAL(kit_keeper_stop(&k), 0);
        }
        g_autoptr(StoreReader) r = store_reader_open(store, &error);
        UNIT_NO_ERROR(error);
        expect_content(r, "/new", 0, "version 1");
    }
}

static const UnitTest tests[] = {
    UNIT_TEST(a_reader_sees_what_is_applied_and_what_is_not),
    UNIT_TEST(a_reader_works_on_a_read_only_mount),
    UNIT_TEST(a_store_that_a_keeper_has_is_busy),
    UNIT_TEST(a_folder_that_is_no_store_is_refused_and_not_touched),
    UNIT_TEST(points_are_read_by_number_by_time_and_with_their_names),
    UNIT_TEST(what_is_bad_is_found_without_a_keeper),
    UNIT_TEST(a_store_of_format_1_is_read_and_goes_on),
};
UNIT_MAIN("reader", tests)
