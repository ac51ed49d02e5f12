/* The catalog: what is saved comes back. */

#include "config.h"

#include <string.h>
#include <sys/stat.h>

#include "base/error.h"
#include "store/catalog.h"
#include "tests/unit/unit.h"

static Catalog *
open_new(void)
{
    g_autofree char *path = unit_path("catalog.db");
    g_autoptr(GError) error = NULL;
    Catalog *c = catalog_open(path, TRUE, &error);

    UNIT_NO_ERROR(error);
    return c;
}

static Point *
make_point(guint64 id, gsize n_sums)
{
    Point *p = g_new0(Point, 1);
    guint8 *sums = g_malloc0(n_sums + 1);

    for (gsize i = 0; i < n_sums; i++)
        sums[i] = (guint8) (i * 31 + id);
    p->id = id;
    p->time_usec = 1700000000000000 + (gint64) id;
    p->cause = CAUSE_CLOSE;
    p->quality = QUALITY_STABLE;
    p->size_bytes = 12345;
    p->stat = (FileStat){.dev = 1,
                         .ino = G_MAXUINT64,
                         .mode = S_IFREG | 0640,
                         .uid = 1000,
                         .gid = 100,
                         .nlink = 2,
                         .size_bytes = 12345,
                         .mtime_ns = -5,
                         .ctime_ns = 6,
                         .btime_ns = 7,
                         .fsid = G_MAXUINT64 - 1};
    p->attributes = g_bytes_new("attr", 4);
    memset(p->hash, (int) id, HASH_BYTES);
    p->sums = g_bytes_new_take(sums, n_sums);
    p->fresh = TRUE;
    return p;
}

static void
a_file_and_its_points_come_back_as_they_were_saved(void)
{
    g_autoptr(Catalog) c = open_new();
    g_autoptr(FileView) v = view_new("/etc/with\nnewline\xff.db");
    g_autoptr(GError) error = NULL;

    v->id = 9;
    v->principal = 1000;
    v->state = STORED_DELETED;
    v->newest_seq = 77;
    v->mirror_ino = 4711;
    v->current = make_point(70, 200000); /* several rows of sums */
    g_ptr_array_add(v->points, make_point(50, 16));
    g_ptr_array_add(v->points, make_point(60, 0));
    CU_ASSERT_TRUE(catalog_save(c, v, 77, &error));
    UNIT_NO_ERROR(error);

    g_autoptr(FileView) back = catalog_load(c, v->path, &error);
    UNIT_NO_ERROR(error);
    CU_ASSERT_EQUAL(back->id, 9);
    CU_ASSERT_EQUAL(back->principal, 1000);
    CU_ASSERT_EQUAL(back->state, STORED_DELETED);
    CU_ASSERT_EQUAL(back->newest_seq, 77);
    CU_ASSERT_EQUAL(back->applied, 77);
    CU_ASSERT_EQUAL(back->mirror_ino, 4711);
    CU_ASSERT_PTR_NOT_NULL_FATAL(back->current);
    CU_ASSERT_EQUAL(back->current->id, 70);
    CU_ASSERT_EQUAL(back->current->place, POINT_IN_MIRROR);
    CU_ASSERT_EQUAL(memcmp(&back->current->stat, &v->current->stat, sizeof(FileStat)), 0);
    CU_ASSERT_TRUE(g_bytes_equal(back->current->attributes, v->current->attributes));
    CU_ASSERT_EQUAL(memcmp(back->current->hash, v->current->hash, HASH_BYTES), 0);
    CU_ASSERT_EQUAL_FATAL(back->points->len, 2);
    const Point *p = back->points->pdata[0];
    CU_ASSERT_EQUAL(p->id, 50);
    CU_ASSERT_EQUAL(memcmp(&p->stat, &v->current->stat, sizeof(FileStat)), 0);
    g_autoptr(GBytes) sums = catalog_sums(c, 9, &error);
    CU_ASSERT_TRUE(g_bytes_equal(sums, v->current->sums));
    g_autoptr(GBytes) point_sums_back = catalog_point_sums(c, 9, 50, &error);
    CU_ASSERT_TRUE(g_bytes_equal(point_sums_back, ((Point *) v->points->pdata[0])->sums));
}

static void
sums_that_become_fewer_leave_no_rest(void)
{
    g_autoptr(Catalog) c = open_new();
    g_autoptr(FileView) v = view_new("/f");
    g_autoptr(GError) error = NULL;

    v->id = 1;
    v->current = make_point(1, 200000);
    CU_ASSERT_TRUE(catalog_save(c, v, 1, &error));
    point_free(v->current);
    v->current = make_point(2, 8);
    CU_ASSERT_TRUE(catalog_save(c, v, 2, &error));
    g_autoptr(GBytes) sums = catalog_sums(c, 1, &error);
    CU_ASSERT_EQUAL(g_bytes_get_size(sums), 8);
}

static void
dropped_points_are_gone(void)
{
    g_autoptr(Catalog) c = open_new();
    g_autoptr(FileView) v = view_new("/f");
    g_autoptr(GError) error = NULL;

    v->id = 1;
    v->current = make_point(3, 8);
    g_ptr_array_add(v->points, make_point(1, 8));
    CU_ASSERT_TRUE(catalog_save(c, v, 3, &error));
    g_ptr_array_add(v->dropped, g_ptr_array_steal_index(v->points, 0));
    CU_ASSERT_TRUE(catalog_save(c, v, 3, &error));
    g_autoptr(FileView) back = catalog_load(c, "/f", &error);
    CU_ASSERT_EQUAL(back->points->len, 0);
}

static void
an_unknown_path_is_an_empty_view_and_no_error(void)
{
    g_autoptr(Catalog) c = open_new();
    g_autoptr(GError) error = NULL;
    g_autoptr(FileView) v = catalog_load(c, "/unknown", &error);

    UNIT_NO_ERROR(error);
    CU_ASSERT_EQUAL(v->id, 0);
    CU_ASSERT_PTR_NULL(v->current);
}

static void
state_survives_and_applied_never_goes_back(void)
{
    g_autofree char *path = unit_path("catalog.db");
    g_autoptr(GError) error = NULL;
    CatalogState state;

    {
        g_autoptr(Catalog) c = open_new();
        g_autoptr(FileView) v = view_new("/f");
        v->id = 5;
        v->newest_seq = 40;
        v->current = make_point(40, 8);
        CU_ASSERT_TRUE(catalog_set_open(c, 3, &error));
        CU_ASSERT_TRUE(catalog_save(c, v, 40, &error));
        CU_ASSERT_TRUE(catalog_save(c, v, 20, &error));
    }
    {
        g_autoptr(Catalog) c = catalog_open(path, FALSE, &error);
        UNIT_NO_ERROR(error);
        CU_ASSERT_TRUE(catalog_state(c, &state, &error));
        CU_ASSERT_EQUAL(state.applied, 40);
        CU_ASSERT_EQUAL(state.last_seq, 40);
        CU_ASSERT_EQUAL(state.last_file, 5);
        CU_ASSERT_EQUAL(state.incarnation, 3);
        CU_ASSERT_FALSE(state.clean);
        CU_ASSERT_TRUE(catalog_set_clean(c, 45, &error));
    }
    g_autoptr(Catalog) c = catalog_open(path, FALSE, &error);
    CU_ASSERT_TRUE(catalog_state(c, &state, &error));
    CU_ASSERT_TRUE(state.clean);
    CU_ASSERT_EQUAL(state.applied, 45);
}

static void
a_file_that_is_no_catalog_is_refused(void)
{
    g_autofree char *path = unit_path("catalog.db");
    g_autoptr(GError) error = NULL;

    unit_write(path, "this is not a database, and long enough to be looked at as one.......", -1);
    g_autoptr(Catalog) c = catalog_open(path, FALSE, &error);
    CU_ASSERT_PTR_NULL(c);
    CU_ASSERT_TRUE(g_error_matches(error, FILEDUP_ERROR, FILEDUP_ERROR_FATAL));
}

static const UnitTest tests[] = {
    UNIT_TEST(a_file_and_its_points_come_back_as_they_were_saved),
    UNIT_TEST(sums_that_become_fewer_leave_no_rest),
    UNIT_TEST(dropped_points_are_gone),
    UNIT_TEST(an_unknown_path_is_an_empty_view_and_no_error),
    UNIT_TEST(state_survives_and_applied_never_goes_back),
    UNIT_TEST(a_file_that_is_no_catalog_is_refused),
};
UNIT_MAIN("catalog", tests)
