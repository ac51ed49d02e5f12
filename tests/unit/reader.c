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
    CU_ASSERT_EQUAL(g_array_index(points, StoredPoint, 0).id, 0);
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

static const UnitTest tests[] = {
    UNIT_TEST(a_reader_sees_what_is_applied_and_what_is_not),
    UNIT_TEST(a_reader_works_on_a_read_only_mount),
    UNIT_TEST(a_store_that_a_keeper_has_is_busy),
    UNIT_TEST(a_folder_that_is_no_store_is_refused_and_not_touched),
};
UNIT_MAIN("reader", tests)
