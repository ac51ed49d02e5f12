/* Thinning: what stays is bit-exact, whatever goes, and whenever it is interrupted. */

#include "config.h"

#include <fcntl.h>
#include <string.h>
#include <unistd.h>

#include "base/error.h"
#include "store/doomed.h"
#include "store/mirror.h"
#include "store/thin.h"
#include "tests/unit/pointkit.h"
#include "tests/unit/unit.h"

#define HOUR      ((gint64) 3600 * G_USEC_PER_SEC)
#define DAY       (24 * HOUR)
#define FILE_PATH "/srv/data/app.db"

static void
thin_all(PointKit *p, Thinning *t)
{
    g_autoptr(GError) error = NULL;
    gboolean more = TRUE;

    while (more) {
        (void) thin_step(&p->kit.store, t, &more, &error);
        UNIT_NO_ERROR(error);
    }
}

static void
thin_one(PointKit *p, const char *path, Thinning *t)
{
    g_autoptr(GError) error = NULL;

    (void) thin_file(&p->kit.store, path, t, &error);
    UNIT_NO_ERROR(error);
}

static void
what_the_policy_keeps_is_bit_exact(void)
{
    for (guint32 seed = 0; seed < 12; seed++) {
        g_autoptr(GRand) random = g_rand_new_with_seed(seed);
        g_autoptr(GString) expected = g_string_new(NULL);
        PointKit p;
        guint64 ids[24];

        pointkit_init(&p);
        for (guint i = 0; i < G_N_ELEMENTS(ids); i++)
            ids[i] = pointkit_vary(&p, random, FILE_PATH, 150000);
        CU_ASSERT_EQUAL(pointkit_check(&p), G_N_ELEMENTS(ids));
        pointkit_policy(&p, FILE_PATH, "", 2);
        for (guint i = 0; i < G_N_ELEMENTS(ids) - 2; i++) {
            if (g_rand_int_range(random, 0, 3) != 0)
                continue;
            pointkit_name(&p, FILE_PATH, ids[i], "named");
            g_autofree char *before = g_strdup(expected->str);
            g_string_printf(expected, " %" G_GUINT64_FORMAT "%s", ids[i], before);
        }
        g_autofree char *wanted = g_strdup_printf("%" G_GUINT64_FORMAT " %" G_GUINT64_FORMAT "%s",
                                                  ids[23], ids[22], expected->str);
        Thinning t = {.now = pointkit_now(2 * HOUR)};
        thin_all(&p, &t);
        g_autofree char *got = pointkit_ids(&p, FILE_PATH);
        CU_ASSERT_STRING_EQUAL(got, wanted);
        guint n = pointkit_check(&p);
        CU_ASSERT_EQUAL(n + t.n_points, G_N_ELEMENTS(ids));
        CU_ASSERT_TRUE(t.bytes > 0);
        pointkit_close(&p);
        pointkit_open(&p);
        CU_ASSERT_EQUAL(pointkit_check(&p), n);
        Thinning again = {.now = pointkit_now(2 * HOUR)};
        thin_all(&p, &again);
        CU_ASSERT_EQUAL(again.n_points, 0);
        (void) pointkit_vary(&p, random, FILE_PATH, 150000); /* and it goes on */
        CU_ASSERT_EQUAL(pointkit_check(&p), n + 1);
        pointkit_clear(&p);
        g_autofree char *remove = g_strdup_printf("rm -rf '%s/store'", unit_folder());
        CU_ASSERT_TRUE_FATAL(g_spawn_command_line_sync(remove, NULL, NULL, NULL, NULL));
    }
}

static void
all_files_have_their_turn(void)
{
    PointKit p;
    Thinning t = {.now = pointkit_now(2 * HOUR)};

    pointkit_init(&p);
    for (guint i = 0; i < 70; i++) {
        g_autofree char *path = g_strdup_printf("/srv/%u", i);
        guint8 data[300] = {0};
        pointkit_noise(&p, data, sizeof data);
        (void) pointkit_save(&p, path, data, sizeof data);
        (void) pointkit_change(&p, path, 10, 100);
        (void) pointkit_change(&p, path, 50, 100);
        pointkit_policy(&p, path, "", i % 2 ? 2 : 1);
    }
    thin_all(&p, &t);
    CU_ASSERT_EQUAL(t.n_points, 35 + 70);
    CU_ASSERT_EQUAL(pointkit_check(&p), 35 * 2 + 35);
    pointkit_clear(&p);
}

static void
count(G_GNUC_UNUSED const FileView *v, const Point *point, const char *why, gpointer data)
{
    CU_ASSERT_TRUE(point->id > 0 && why[0] != '\0');
    ++*(guint *) data;
}

static void
a_dry_run_tells_what_would_go(void)
{
    PointKit p;
    guint n = 0;
    Thinning t = {.now = pointkit_now(2 * HOUR), .dry_run = TRUE, .told = count, .data = &n};
    guint8 data[300] = "x";

    pointkit_init(&p);
    (void) pointkit_save(&p, FILE_PATH, data, sizeof data);
    for (guint i = 0; i < 5; i++)
        (void) pointkit_change(&p, FILE_PATH, 10, 100);
    pointkit_policy(&p, FILE_PATH, "1h", 0);
    thin_one(&p, FILE_PATH, &t);
    CU_ASSERT_EQUAL(n, 5);
    CU_ASSERT_EQUAL(t.n_points, 5);
    CU_ASSERT_EQUAL(pointkit_check(&p), 6);
    t.dry_run = FALSE;
    thin_one(&p, FILE_PATH, &t);
    CU_ASSERT_EQUAL(n, 10);
    CU_ASSERT_EQUAL(pointkit_check(&p), 1);
    pointkit_clear(&p);
}

static void
what_is_pending_is_not_thinned(void)
{
    PointKit p;
    Thinning t = {.now = pointkit_now(2 * HOUR)};
    guint8 data[300] = "x";

    pointkit_init(&p);
    (void) pointkit_save(&p, FILE_PATH, data, sizeof data);
    (void) pointkit_change(&p, FILE_PATH, 10, 100);
    (void) pointkit_change(&p, FILE_PATH, 10, 100);
    pointkit_policy(&p, FILE_PATH, "", 0);
    (void) kit_append(&p.kit, FILE_PATH, "pending", 7, CAUSE_CLOSE, QUALITY_STABLE);
    thin_all(&p, &t);
    CU_ASSERT_EQUAL(t.n_points, 0);
    kit_apply_all(&p.kit);
    t.after = 0;
    thin_all(&p, &t);
    CU_ASSERT_EQUAL(t.n_points, 3);
    kit_expect(&p.kit, FILE_PATH, 0, "pending");
    pointkit_clear(&p);
}

/* ---- whole files ---- */

/* A content that has little of the one before, and is too large for the packs. */
static guint64
save_whole(PointKit *p, const char *path)
{
    gsize n = 1200000;
    g_autofree guint8 *data = g_malloc(n);

    pointkit_noise(p, data, n);
    return pointkit_save_whole(p, path, data, n);
}

static void
a_whole_file_stays_as_long_as_somebody_starts_from_it(void)
{
    PointKit p;
    Thinning t = {.now = pointkit_now(2 * HOUR)};

    pointkit_init(&p);
    (void) save_whole(&p, FILE_PATH);
    guint64 small = pointkit_change(&p, FILE_PATH, 5000, 5000); /* starts from the next one */
    (void) pointkit_change(&p, FILE_PATH, 90000, 5000);
    (void) save_whole(&p, FILE_PATH);
    CU_ASSERT_EQUAL(pointkit_n_wholes(&p), 1);
    pointkit_name(&p, FILE_PATH, small, "start");
    pointkit_policy(&p, FILE_PATH, "", 0);
    thin_one(&p, FILE_PATH, &t);
    CU_ASSERT_EQUAL(pointkit_n_wholes(&p), 1);
    CU_ASSERT_EQUAL(pointkit_check(&p), 2);
    guint64 before = t.bytes;
    g_autoptr(FileView) v = catalog_load(p.kit.store.catalog, FILE_PATH, CATALOG_UNDO, NULL);
    g_autoptr(GPtrArray) views = g_ptr_array_new();
    g_autoptr(GArray) none = g_array_new(FALSE, FALSE, sizeof(guint64));
    g_ptr_array_add(views, v);
    view_drop(v, view_point(v, small));
    CU_ASSERT_TRUE(thin_commit(&p.kit.store, views, none, NULL));
    CU_ASSERT_EQUAL(pointkit_n_wholes(&p), 0);
    CU_ASSERT_EQUAL(pointkit_check(&p), 1);
    CU_ASSERT_EQUAL(t.bytes, before);
    pointkit_clear(&p);
}

static void
thin_file_path(PointKit *p)
{
    Thinning t = {.now = pointkit_now(400 * DAY)};

    thin_one(p, FILE_PATH, &t);
}

static const char *const steps[] = {"thin-begin", "thin-saved", "thin-removed"};

static void
a_crash_at_any_step_costs_nothing_and_leaves_nothing(void)
{
    for (guint i = 0; i < G_N_ELEMENTS(steps); i++) {
        PointKit p;
        pointkit_init(&p);
        g_autofree char *path = g_strdup_printf("%s-%u", FILE_PATH, i);
        (void) save_whole(&p, path);
        (void) save_whole(&p, FILE_PATH);
        guint64 named = pointkit_change(&p, FILE_PATH, 5000, 5000);
        (void) save_whole(&p, FILE_PATH);
        (void) save_whole(&p, FILE_PATH);
        CU_ASSERT_EQUAL(pointkit_n_wholes(&p), 2);
        pointkit_name(&p, FILE_PATH, named, "n");
        pointkit_policy(&p, FILE_PATH, "", 0);
        CU_ASSERT_TRUE(pointkit_crash(&p, steps[i], 1, thin_file_path));
        (void) pointkit_check(&p);
        CU_ASSERT_EQUAL(pointkit_n_wholes(&p), i == 0 ? 2 : 1); /* opening has swept */
        thin_file_path(&p);
        CU_ASSERT_EQUAL(pointkit_check(&p), 3);
        CU_ASSERT_EQUAL(pointkit_n_wholes(&p), 1);
        pointkit_clear(&p);
        g_autofree char *remove = g_strdup_printf("rm -rf '%s/store'", unit_folder());
        CU_ASSERT_TRUE_FATAL(g_spawn_command_line_sync(remove, NULL, NULL, NULL, NULL));
    }
}

static void
a_sweep_believes_no_catalog_that_knows_less(void)
{
    PointKit p;

    pointkit_init(&p);
    (void) pointkit_save(&p, FILE_PATH, "one", 3);
    (void) pointkit_save(&p, FILE_PATH, "two", 3);
    g_autoptr(FileView) v = catalog_load(p.kit.store.catalog, FILE_PATH, CATALOG_NEWEST, NULL);
    const char *names[3];
    g_autofree char *unknown = g_strdup("history/123456-7-other");
    g_autofree char *later = mirror_history_path(v->id, v->newest_seq + 1, FILE_PATH);
    g_autofree char *unused = mirror_history_path(v->id, v->newest_seq - 1, FILE_PATH);
    names[0] = unknown, names[1] = later, names[2] = unused;
    for (guint i = 0; i < 3; i++) {
        g_autofree char *path = g_build_filename(p.path, names[i], NULL);
        unit_write(path, "whole", 5);
    }
    CU_ASSERT_TRUE(thin_sweep(&p.kit.store, NULL));
    for (guint i = 0; i < 3; i++) {
        g_autofree char *path = g_build_filename(p.path, names[i], NULL);
        CU_ASSERT_EQUAL(access(path, F_OK), i < 2 ? 0 : -1);
    }
    pointkit_clear(&p);
}

/* ---- deleted files ---- */

static void
expect_nothing_of_it(PointKit *p)
{
    g_autofree char *mirrors = g_build_filename(p->path, "mirrors", NULL);
    g_autoptr(GDir) dir = g_dir_open(mirrors, 0, NULL);
    g_autoptr(FileView) v = catalog_load(p->kit.store.catalog, FILE_PATH, CATALOG_POINTS, NULL);
    g_autoptr(Doomed) doomed = doomed_load(p->kit.store.layout, NULL);
    guint n = 0;

    while (dir && g_dir_read_name(dir))
        n++;
    CU_ASSERT_EQUAL(v->id, 0);
    CU_ASSERT_EQUAL(n, 2); /* the other file's folder and .origin */
    CU_ASSERT_EQUAL(pointkit_n_wholes(p), 0);
    CU_ASSERT_TRUE(doomed && doomed_is_empty(doomed));
    CU_ASSERT_EQUAL(pointkit_check(p), 1);
}

static void
a_file_that_was_deleted_long_ago_goes_whenever_that_is_interrupted(void)
{
    for (guint i = 0; i <= G_N_ELEMENTS(steps); i++) {
        PointKit p;
        pointkit_init(&p);
        (void) pointkit_save(&p, "/srv/other", "other", 5);
        (void) save_whole(&p, FILE_PATH);
        (void) save_whole(&p, FILE_PATH);
        (void) kit_append_kind(&p.kit, FILE_PATH, APPEND_DELETE);
        kit_apply_all(&p.kit);
        pointkit_policy(&p, FILE_PATH, "24h 7d", 0);
        Thinning early = {.now = pointkit_now(80 * DAY)};
        thin_all(&p, &early);
        CU_ASSERT_EQUAL(pointkit_check(&p),
                        2); /* the newest, and the other file's; one is hourly */
        if (i < G_N_ELEMENTS(steps))
            CU_ASSERT_TRUE(pointkit_crash(&p, steps[i], 1, thin_file_path));
        if (i == 0)
            CU_ASSERT_EQUAL(pointkit_check(&p), 2);
        Thinning late = {.now = pointkit_now(100 * DAY)};
        thin_all(&p, &late);
        expect_nothing_of_it(&p);
        pointkit_clear(&p);
        g_autofree char *remove = g_strdup_printf("rm -rf '%s/store'", unit_folder());
        CU_ASSERT_TRUE_FATAL(g_spawn_command_line_sync(remove, NULL, NULL, NULL, NULL));
    }
}

/* ---- for space ---- */

static void
for_space_the_oldest_of_all_files_go_first(void)
{
    PointKit p;
    Thinning t = {.now = pointkit_now(0)};
    guint64 a[5];
    guint8 data[20000] = {0};
    guint64 could = 0;
    gboolean more = TRUE;

    pointkit_init(&p);
    a[0] = pointkit_save(&p, "/a", data, sizeof data);
    (void) pointkit_save(&p, "/b", data, sizeof data);
    for (guint i = 1; i < 5; i++) {
        a[i] = pointkit_change(&p, "/a", 4096, 8192);
        (void) pointkit_change(&p, "/b", 4096, 8192);
    }
    pointkit_name(&p, "/a", a[1], "kept");
    CU_ASSERT_TRUE(thin_could_give(&p.kit.store, &t.now, G_MAXUINT64, &could, NULL));
    CU_ASSERT_TRUE(could >= 5 * 8192 && could <= 8 * 8192); /* not what the named one needs */
    CU_ASSERT_TRUE(thin_could_give(&p.kit.store, &t.now, 1, &could, NULL));
    CU_ASSERT_TRUE(could >= 1 && could < 5 * 8192); /* no further than asked */
    CU_ASSERT_EQUAL(pointkit_check(&p), 10);        /* it looks, and touches nothing */
    CU_ASSERT_TRUE(thin_for_space(&p.kit.store, &t, 1, &more, NULL));
    CU_ASSERT_TRUE(t.n_points >= 1 && t.n_points <= 3); /* the first two were zeros */
    CU_ASSERT_TRUE(t.bytes >= 1);
    g_autofree char *ids = pointkit_ids(&p, "/a");
    g_autofree char *named = g_strdup_printf(" %" G_GUINT64_FORMAT, a[1]);
    CU_ASSERT_PTR_NOT_NULL(strstr(ids, named));
    guint64 before = t.n_points;
    CU_ASSERT_TRUE(thin_for_space(&p.kit.store, &t, 1 << 30, &more, NULL));
    CU_ASSERT_TRUE(t.n_points > before);
    CU_ASSERT_EQUAL(t.n_points, 7); /* all but the newest two and the named one */
    CU_ASSERT_TRUE(thin_could_give(&p.kit.store, &t.now, G_MAXUINT64, &could, NULL));
    CU_ASSERT_EQUAL(could, 0);
    CU_ASSERT_EQUAL(pointkit_check(&p), 3);
    CU_ASSERT_TRUE(thin_for_space(&p.kit.store, &t, 1 << 30, &more, NULL));
    CU_ASSERT_FALSE(more);
    CU_ASSERT_EQUAL(pointkit_check(&p), 3);
    pointkit_clear(&p);
}

/* ---- the list of what is to go ---- */

static void
the_list_of_what_is_to_go_comes_back(void)
{
    PointKit p;

    pointkit_init(&p);
    const Layout *l = p.kit.store.layout;
    g_autoptr(Doomed) d = doomed_load(l, NULL);
    CU_ASSERT_TRUE_FATAL(d && doomed_is_empty(d));
    doomed_add_file(d, 7, "/srv/a b\n%\xff/x");
    doomed_add_pack(d, 3);
    doomed_add_pack(d, 9);
    doomed_add_pack(d, 3);
    d->journal = TRUE;
    CU_ASSERT_TRUE(doomed_save(d, l, NULL));
    g_autoptr(Doomed) back = doomed_load(l, NULL);
    CU_ASSERT_EQUAL(back->files->len, 1);
    CU_ASSERT_EQUAL(((DoomedFile *) back->files->pdata[0])->id, 7);
    CU_ASSERT_STRING_EQUAL(((DoomedFile *) back->files->pdata[0])->path, "/srv/a b\n%\xff/x");
    CU_ASSERT_TRUE(back->packs->len == 2 && doomed_has_pack(back, 3) && doomed_has_pack(back, 9));
    CU_ASSERT_TRUE(back->journal);
    doomed_remove_pack(back, 3);
    CU_ASSERT_FALSE(doomed_has_pack(back, 3));

    g_autofree char *path = g_build_filename(p.path, "forgetting", NULL);
    const char *bad[] = {"",
                         "filedup forgetting\n",
                         "filedup forgetting 2\n",
                         "filedup forgetting 1\npack x\n",
                         "filedup forgetting 1\nfile 1\n",
                         "filedup forgetting 1\nwhat\n",
                         "filedup forgetting 1\nfile 1 %00\n"};
    for (guint i = 0; i < G_N_ELEMENTS(bad); i++) {
        g_autoptr(GError) error = NULL;
        unit_write(path, bad[i], -1);
        CU_ASSERT_PTR_NULL(doomed_load(l, &error));
        CU_ASSERT_TRUE(g_error_matches(error, FILEDUP_ERROR, FILEDUP_ERROR_FATAL));
    }
    (void) unlink(path);
    pointkit_clear(&p);
}

static const UnitTest tests[] = {
    UNIT_TEST(what_the_policy_keeps_is_bit_exact),
    UNIT_TEST(all_files_have_their_turn),
    UNIT_TEST(a_dry_run_tells_what_would_go),
    UNIT_TEST(what_is_pending_is_not_thinned),
    UNIT_TEST(a_whole_file_stays_as_long_as_somebody_starts_from_it),
    UNIT_TEST(a_crash_at_any_step_costs_nothing_and_leaves_nothing),
    UNIT_TEST(a_sweep_believes_no_catalog_that_knows_less),
    UNIT_TEST(a_file_that_was_deleted_long_ago_goes_whenever_that_is_interrupted),
    UNIT_TEST(for_space_the_oldest_of_all_files_go_first),
    UNIT_TEST(the_list_of_what_is_to_go_comes_back),
};
UNIT_MAIN("thin", tests)
