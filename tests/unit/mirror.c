/* Mirrors: ordinary files that people find without filedup. */

#include "config.h"

#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>

#include "store/mirror.h"
#include "tests/unit/storekit.h"
#include "tests/unit/unit.h"

static guint64
file_id(Kit *k, const char *path)
{
    g_autoptr(FileView) v = store_view(&k->store, path, CATALOG_UNDO, NULL);

    return v->id;
}

static void
a_mirror_has_the_originals_name_and_the_origin_beside_it_its_path(void)
{
    static const char *const paths[] = {"/etc/app.db", "/a b/new\nline", "/x/\xff\xfe bytes",
                                        "/x/-rf", "/x/\xc3\xa4.txt"};
    g_autofree char *store = unit_path("store");
    Kit k;

    kit_open(&k, store);
    for (guint i = 0; i < G_N_ELEMENTS(paths); i++)
        (void) kit_append(&k, paths[i], "content", 7, CAUSE_FIRST, QUALITY_STABLE);
    kit_apply_all(&k);
    for (guint i = 0; i < G_N_ELEMENTS(paths); i++) {
        g_autofree char *relative = mirror_path(file_id(&k, paths[i]), paths[i]);
        g_autofree char *mirror = g_build_filename(store, relative, NULL);
        g_autofree char *entry = g_path_get_dirname(mirror);
        g_autofree char *origin = g_strconcat(entry, ".origin", NULL);
        g_autoptr(GBytes) content = unit_read(mirror);
        g_autoptr(GBytes) path = unit_read(origin);
        CU_ASSERT_EQUAL(g_bytes_get_size(content), 7);
        CU_ASSERT_EQUAL(g_bytes_get_size(path), strlen(paths[i]));
        CU_ASSERT_EQUAL(memcmp(g_bytes_get_data(path, NULL), paths[i], strlen(paths[i])), 0);
        CU_ASSERT_STRING_EQUAL(strrchr(mirror, '/'), strrchr(paths[i], '/'));
        CU_ASSERT_PTR_NULL(strchr(entry, '\n'));
        CU_ASSERT_TRUE(g_utf8_validate(entry, -1, NULL));
    }
    kit_close(&k);
}

static void
the_longest_name_fits(void)
{
    g_autofree char *store = unit_path("store");
    g_autofree char *name = g_strnfill(255, 'n');
    g_autofree char *path = g_strconcat("/d/", name, NULL);
    Kit k;

    kit_open(&k, store);
    (void) kit_append(&k, path, "1", 1, CAUSE_FIRST, QUALITY_STABLE);
    kit_apply_all(&k);
    (void) kit_append_kind(&k, path, APPEND_DELETE);
    (void) kit_append(&k, path, "2", 1, CAUSE_FIRST, QUALITY_STABLE);
    kit_apply_all(&k);
    kit_expect(&k, path, 0, "2");
    kit_close(&k);
}

static void
a_mirror_has_mode_and_times_but_no_set_uid_bit(void)
{
    g_autofree char *store = unit_path("store");
    g_autoptr(GArray) extents = g_array_new(FALSE, FALSE, sizeof(Extent));
    g_autoptr(GError) error = NULL;
    struct stat st;
    Kit k;

    kit_open(&k, store);
    g_auto(Capture) c = kit_capture("/bin/tool", "", 0, CAUSE_FIRST, QUALITY_STABLE);
    c.stat.mode = S_IFREG | 06751;
    c.file = 5;
    Transaction *t = journal_write(k.store.journal, &c, (const guint8 *) "", extents, NULL, &error);
    UNIT_NO_ERROR(error);
    CU_ASSERT_TRUE(journal_sync(k.store.journal, &error));
    pending_add(k.store.pending, t);
    kit_apply_all(&k);
    g_autofree char *relative = mirror_path(5, "/bin/tool");
    CU_ASSERT_EQUAL(fstatat(k.store.layout->root, relative, &st, 0), 0);
    CU_ASSERT_EQUAL(st.st_mode & 07777, 0751);
    CU_ASSERT_EQUAL(st.st_mtim.tv_sec, 1600000000);
    CU_ASSERT_EQUAL(st.st_mtim.tv_nsec, 123456789);
    g_autoptr(FileView) v = store_view(&k.store, "/bin/tool", CATALOG_UNDO, &error);
    CU_ASSERT_EQUAL(v->current->stat.mode & 07777, 06751); /* what a restore sets */
    kit_close(&k);
}

static void
sparse_content_stays_sparse_and_equal(void)
{
    g_autofree char *store = unit_path("store");
    const gsize n = 4 * 1024 * 1024;
    g_autofree guint8 *data = g_malloc0(n);
    g_autoptr(GArray) extents = g_array_new(FALSE, FALSE, sizeof(Extent));
    g_autoptr(GError) error = NULL;
    struct stat st;
    Kit k;

    memset(data + 1024 * 1024, 'x', 4096);
    Extent pieces[] = {
        {.offset = 0, .length = 1024 * 1024, .hole = TRUE},
        {.offset = 1024 * 1024, .length = 4096},
        {.offset = 1024 * 1024 + 4096, .length = n - 1024 * 1024 - 4096, .hole = TRUE}};
    g_array_append_vals(extents, pieces, 3);
    kit_open(&k, store);
    g_auto(Capture) c = kit_capture("/sparse", data, n, CAUSE_FIRST, QUALITY_STABLE);
    c.file = 5;
    Transaction *t = journal_write(k.store.journal, &c, data, extents, NULL, &error);
    UNIT_NO_ERROR(error);
    CU_ASSERT_TRUE(t->bytes < 16384);
    CU_ASSERT_TRUE(journal_sync(k.store.journal, &error));
    pending_add(k.store.pending, t);
    kit_close(&k); /* and over a recovery */
    kit_open(&k, store);
    kit_apply_all(&k);
    g_autofree char *relative = mirror_path(5, "/sparse");
    CU_ASSERT_EQUAL(fstatat(k.store.layout->root, relative, &st, 0), 0);
    CU_ASSERT_EQUAL(st.st_size, (off_t) n);
    CU_ASSERT_TRUE(st.st_blocks * 512 <= 65536);
    g_autoptr(GBytes) back = kit_content(&k, "/sparse", 0);
    CU_ASSERT_EQUAL(memcmp(g_bytes_get_data(back, NULL), data, n), 0);
    kit_close(&k);
}

static const UnitTest tests[] = {
    UNIT_TEST(a_mirror_has_the_originals_name_and_the_origin_beside_it_its_path),
    UNIT_TEST(the_longest_name_fits),
    UNIT_TEST(a_mirror_has_mode_and_times_but_no_set_uid_bit),
    UNIT_TEST(sparse_content_stays_sparse_and_equal),
};
UNIT_MAIN("mirror", tests)
