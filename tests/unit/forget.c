/* Forgetting: what was to go is nowhere in the store any more, and nothing else is missing. */

#include "config.h"

#include <string.h>
#include <unistd.h>

#include "base/error.h"
#include "store/doomed.h"
#include "store/forget.h"
#include "store/thin.h"
#include "tests/unit/pointkit.h"
#include "tests/unit/unit.h"

#define HOUR   ((gint64) 3600 * G_USEC_PER_SEC)
#define A      "/srv/leaked-name.db"
#define B      "/srv/b.db"
#define SECRET "a password that nobody was to see: 7c9e6679f7"

/* In the middle of what cannot be compressed: it lies in a pack as it is. */
static guint64
save_secret(PointKit *p, const char *path, gsize at)
{
    g_autofree guint8 *data = g_malloc(120000);

    pointkit_noise(p, data, 120000);
    memcpy(data + at, SECRET, strlen(SECRET));
    return pointkit_save(p, path, data, 120000);
}

static gboolean
leaks(PointKit *p)
{
    return pointkit_finds(p, SECRET, strlen(SECRET));
}

static guint
forget(PointKit *p, const char *path, guint64 point, gboolean current_too)
{
    g_autoptr(GError) error = NULL;
    guint n = 0;
    gboolean more = TRUE;
    g_autoptr(Forgetting) f = forget_begin(&p->kit.store, path, point, current_too, &n, &error);

    UNIT_NO_ERROR(error);
    while (more) {
        (void) forget_step(f, &p->kit.store, &more, &error);
        UNIT_NO_ERROR(error);
    }
    return n;
}

/* Both files have contents before and after, in three packs; the secret is one content of a.db. */
static guint64
leaky(PointKit *p)
{
    g_autofree guint8 *data = g_malloc(120000);
    guint64 secret;

    pointkit_init(p);
    pointkit_noise(p, data, 120000);
    (void) pointkit_save(p, A, data, 120000);
    (void) pointkit_save(p, B, data, 120000);
    (void) pointkit_change(p, A, 5000, 5000);
    (void) pointkit_change(p, B, 5000, 5000);
    secret = save_secret(p, A, 70001);
    packs_roll(p->kit.store.packs);
    (void) pointkit_change(p, B, 15000, 25000);
    pointkit_noise(p, data, 120000);
    (void) pointkit_save(p, A, data, 120000);
    packs_roll(p->kit.store.packs);
    (void) pointkit_change(p, B, 85000, 25000);
    (void) pointkit_change(p, A, 100, 9000);
    CU_ASSERT_TRUE(leaks(p)); /* or the tests show nothing */
    CU_ASSERT_EQUAL(pointkit_check(p), 5 + 4);
    return secret;
}

static void
expect_no_list(PointKit *p)
{
    g_autofree char *list = g_build_filename(p->path, "forgetting", NULL);

    CU_ASSERT_NOT_EQUAL(access(list, F_OK), 0);
}

static void
a_forgotten_point_is_nowhere(void)
{
    PointKit p;
    guint64 secret = leaky(&p);

    CU_ASSERT_EQUAL(forget(&p, A, secret, FALSE), 1);
    CU_ASSERT_FALSE(leaks(&p));
    CU_ASSERT_EQUAL(pointkit_check(&p), 4 + 4);
    CU_ASSERT_EQUAL(pointkit_n_packs(&p), 1); /* nothing was moved more often than needed */
    expect_no_list(&p);
    (void) pointkit_change(&p, A, 100, 9000);
    pointkit_close(&p);
    pointkit_open(&p);
    CU_ASSERT_FALSE(leaks(&p));
    CU_ASSERT_EQUAL(pointkit_check(&p), 5 + 4);
    pointkit_clear(&p);
}

static void
all_points_go_and_the_newest_content_stays(void)
{
    PointKit p;

    (void) leaky(&p);
    CU_ASSERT_EQUAL(forget(&p, A, 0, FALSE), 4);
    CU_ASSERT_FALSE(leaks(&p));
    CU_ASSERT_EQUAL(pointkit_check(&p), 1 + 4);
    CU_ASSERT_EQUAL(forget(&p, A, 0, FALSE), 0);
    pointkit_clear(&p);
}

static void
all_of_a_file_goes_its_name_too(void)
{
    PointKit p;

    (void) leaky(&p);
    (void) save_secret(&p, A, 300); /* and it is the newest again */
    CU_ASSERT_TRUE(pointkit_finds(&p, "leaked-name", 11));
    CU_ASSERT_EQUAL(forget(&p, A, 0, TRUE), 6);
    CU_ASSERT_FALSE(leaks(&p));
    CU_ASSERT_FALSE(pointkit_finds(&p, "leaked-name", 11));
    CU_ASSERT_EQUAL(pointkit_check(&p), 4);
    (void) kit_append(&p.kit, A, "anew", 4, CAUSE_FIRST, QUALITY_STABLE);
    kit_apply_all(&p.kit);
    kit_expect(&p.kit, A, 0, "anew");
    pointkit_clear(&p);
}

static void
what_was_thinned_before_goes_too(void)
{
    PointKit p;
    Thinning t = {.now = pointkit_now(2 * HOUR)};

    (void) leaky(&p);
    pointkit_policy(&p, A, "", 1);
    CU_ASSERT_TRUE(thin_file(&p.kit.store, A, &t, NULL));
    CU_ASSERT_TRUE(leaks(&p)); /* dead, but there */
    CU_ASSERT_EQUAL(forget(&p, A, 0, FALSE), 0);
    CU_ASSERT_FALSE(leaks(&p));
    CU_ASSERT_EQUAL(pointkit_check(&p), 1 + 4);
    pointkit_clear(&p);
}

static void
a_whole_file_in_history_goes(void)
{
    PointKit p;
    g_autofree guint8 *data = g_malloc(1500000);

    pointkit_init(&p);
    pointkit_noise(&p, data, 1500000);
    memcpy(data + 777777, SECRET, strlen(SECRET));
    guint64 secret = pointkit_save_whole(&p, A, data, 1500000);
    pointkit_noise(&p, data, 1500000);
    (void) pointkit_save_whole(&p, A, data, 1500000);
    CU_ASSERT_EQUAL(pointkit_n_wholes(&p), 1);
    CU_ASSERT_TRUE(leaks(&p));
    CU_ASSERT_EQUAL(forget(&p, A, secret, FALSE), 1);
    CU_ASSERT_EQUAL(pointkit_n_wholes(&p), 0);
    CU_ASSERT_FALSE(leaks(&p));
    CU_ASSERT_EQUAL(pointkit_check(&p), 1);
    pointkit_clear(&p);
}

static void
what_others_have_pending_is_not_lost_with_the_journal(void)
{
    PointKit p;
    guint64 secret = leaky(&p);
    g_autoptr(GError) error = NULL;
    guint n;
    gboolean more = TRUE;

    (void) kit_append(&p.kit, "/srv/new", "pending", 7, CAUSE_FIRST, QUALITY_STABLE);
    CU_ASSERT_EQUAL(forget(&p, A, secret, FALSE), 1);
    CU_ASSERT_FALSE(leaks(&p));
    pointkit_close(&p);
    pointkit_open(&p);
    kit_expect(&p.kit, "/srv/new", 0, "pending");
    kit_apply_all(&p.kit);
    kit_expect(&p.kit, "/srv/new", 0, "pending");

    (void) kit_append(&p.kit, B, "pending", 7, CAUSE_CLOSE, QUALITY_STABLE); /* it uses the packs */
    g_autoptr(Forgetting) f = forget_begin(&p.kit.store, A, 0, FALSE, &n, &error);
    UNIT_NO_ERROR(error);
    for (guint i = 0; i < 20 && !error && more; i++)
        (void) forget_step(f, &p.kit.store, &more, &error);
    CU_ASSERT_TRUE(g_error_matches(error, FILEDUP_ERROR, FILEDUP_ERROR_AGAIN));
    g_clear_error(&error);
    kit_apply_all(&p.kit);
    while (more && forget_step(f, &p.kit.store, &more, &error))
        ;
    UNIT_NO_ERROR(error);
    kit_expect(&p.kit, B, 0, "pending");
    expect_no_list(&p);
    pointkit_clear(&p);
}

/* Or a journal from before would be taken for this one. */
static void
the_catalog_knows_the_journal_that_was_written_anew(void)
{
    PointKit p;
    CatalogState state = {0};
    guint64 secret = leaky(&p);

    (void) kit_append(&p.kit, "/srv/new", "pending", 7, CAUSE_FIRST, QUALITY_STABLE);
    guint32 before = journal_incarnation(p.kit.store.journal);
    CU_ASSERT_EQUAL(forget(&p, A, secret, FALSE), 1);
    CU_ASSERT_TRUE(catalog_set_lost(p.kit.store.catalog, NULL));
    CU_ASSERT_EQUAL(forget(&p, A, 0, FALSE), 3);
    CU_ASSERT_TRUE(journal_incarnation(p.kit.store.journal) > before);
    CU_ASSERT_TRUE(catalog_state(p.kit.store.catalog, &state, NULL));
    CU_ASSERT_EQUAL(state.incarnation, journal_incarnation(p.kit.store.journal));
    CU_ASSERT_TRUE(state.lost); /* nobody has heard of it yet */
    pointkit_clear(&p);
}

static void
what_cannot_be_forgotten_is_said(void)
{
    PointKit p;
    guint n;

    (void) leaky(&p);
    g_autoptr(FileView) v = catalog_load(p.kit.store.catalog, A, CATALOG_POINTS, NULL);
    const struct {
        const char *path;
        guint64 point;
        gboolean current_too;
        FiledupError code;
    } cases[] = {{"/srv/unknown", 0, FALSE, FILEDUP_ERROR_NO_ENTRY},
                 {A, 987654, FALSE, FILEDUP_ERROR_NO_ENTRY},
                 {A, v->current->id, FALSE, FILEDUP_ERROR_REFUSED},
                 {A, v->current->id, TRUE, FILEDUP_ERROR_REFUSED}};
    for (guint i = 0; i < G_N_ELEMENTS(cases); i++) {
        g_autoptr(GError) error = NULL;
        g_autoptr(Forgetting) f = forget_begin(&p.kit.store, cases[i].path, cases[i].point,
                                               cases[i].current_too, &n, &error);
        CU_ASSERT_PTR_NULL(f);
        CU_ASSERT_TRUE(g_error_matches(error, FILEDUP_ERROR, (gint) cases[i].code));
        expect_no_list(&p);
    }
    CU_ASSERT_EQUAL(pointkit_check(&p), 5 + 4);
    pointkit_clear(&p);
}

/* ---- interrupted ---- */

static gboolean all_of_it;
static guint64 which;

static void
run_forgetting(PointKit *p)
{
    (void) forget(p, A, all_of_it ? 0 : which, all_of_it);
}

/* As the keeper does it at its start. */
static void
resume(PointKit *p)
{
    g_autoptr(GError) error = NULL;
    g_autoptr(Forgetting) f = forget_resume(&p->kit.store, &error);
    gboolean more = f != NULL;

    UNIT_NO_ERROR(error);
    while (more) {
        (void) forget_step(f, &p->kit.store, &more, &error);
        UNIT_NO_ERROR(error);
    }
}

static guint
crash_everywhere(void)
{
    static const char *const steps[] = {"forget-listed",
                                        "thin-begin",
                                        "thin-saved",
                                        "thin-removed",
                                        "forget-dropped",
                                        "compact-begin",
                                        "pack-created",
                                        "pack-footer",
                                        "pack-prepared",
                                        "compact-prepared",
                                        "compact-saved",
                                        "pack-removed",
                                        "compact-removed",
                                        "forget-packs",
                                        "forget-journal",
                                        "forget-scrubbed",
                                        "journal-recover-records",
                                        "journal-recover-header",
                                        "journal-recover-switched"};
    guint crashes = 0;

    for (guint i = 0; i < G_N_ELEMENTS(steps); i++) {
        for (guint nth = 1; nth < (all_of_it ? 2 : 3); nth++) {
            PointKit p;
            which = leaky(&p);
            gboolean crashed = pointkit_crash(&p, steps[i], nth, run_forgetting);
            (void) pointkit_check(&p);
            resume(&p);
            g_autofree char *ids = pointkit_ids(&p, A);
            g_autofree char *id = g_strdup_printf("%" G_GUINT64_FORMAT, which);
            CU_ASSERT_EQUAL(leaks(&p), strstr(ids, id) != NULL);
            if (strstr(ids, id)) /* the transaction had not been */
                run_forgetting(&p);
            CU_ASSERT_EQUAL(pointkit_check(&p), all_of_it ? 4 : 8);
            CU_ASSERT_FALSE(leaks(&p));
            expect_no_list(&p);
            pointkit_clear(&p);
            g_autofree char *remove = g_strdup_printf("rm -rf '%s/store'", unit_folder());
            CU_ASSERT_TRUE_FATAL(g_spawn_command_line_sync(remove, NULL, NULL, NULL, NULL));
            if (!crashed)
                break;
            crashes++;
        }
    }
    return crashes;
}

static void
a_crash_at_any_step_leaves_no_secret_and_loses_nothing_else(void)
{
    all_of_it = FALSE;
    CU_ASSERT_TRUE(crash_everywhere() >= 24); /* or steps have lost their names */
    all_of_it = TRUE;
    CU_ASSERT_TRUE(crash_everywhere() >= 17);
}

static const UnitTest tests[] = {
    UNIT_TEST(a_forgotten_point_is_nowhere),
    UNIT_TEST(all_points_go_and_the_newest_content_stays),
    UNIT_TEST(all_of_a_file_goes_its_name_too),
    UNIT_TEST(what_was_thinned_before_goes_too),
    UNIT_TEST(a_whole_file_in_history_goes),
    UNIT_TEST(what_others_have_pending_is_not_lost_with_the_journal),
    UNIT_TEST(the_catalog_knows_the_journal_that_was_written_anew),
    UNIT_TEST(what_cannot_be_forgotten_is_said),
    UNIT_TEST(a_crash_at_any_step_leaves_no_secret_and_loses_nothing_else),
};
UNIT_MAIN("forget", tests)
