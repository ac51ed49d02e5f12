/* Ways in which a content could be lost, or be handed out wrong, that were thought of afterwards. */

#include "config.h"

#include <fcntl.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/error.h"
#include "store/applying.h"
#include "store/doomed.h"
#include "store/forget.h"
#include "store/mirror.h"
#include "store/staged.h"
#include "store/thin.h"
#include "tests/unit/storekit.h"
#include "tests/unit/unit.h"

#define MIB ((gsize) 1024 * 1024)

static guint8 *
noise(gsize n, guint32 seed)
{
    g_autoptr(GRand) random = g_rand_new_with_seed(seed);
    guint8 *data = g_malloc(n + 4);

    for (gsize i = 0; i < n; i += 4) {
        guint32 word = g_rand_int(random);
        memcpy(data + i, &word, sizeof word);
    }
    return data;
}

static guint64
id_of(Kit *k, const char *path)
{
    g_autoptr(FileView) v = store_view(&k->store, path, CATALOG_NEWEST, NULL);

    return v->id;
}

static gboolean
is_there(Kit *k, const char *name)
{
    return faccessat(k->store.layout->root, name, F_OK, AT_SYMLINK_NOFOLLOW) == 0;
}

static void
put(Kit *k, const char *name, const char *text)
{
    g_auto(Fd) fd = openat(k->store.layout->root, name, O_WRONLY | O_CREAT | O_TRUNC, 0600);

    CU_ASSERT_TRUE_FATAL(fd >= 0 && fd_pwrite_full(fd, text, strlen(text), 0));
}

/* In a process of its own, which is killed at this step. */
static void
killed_at(const char *store, const char *step)
{
    int status = 0;
    Kit k;

    pid_t pid = fork();
    if (pid == 0) {
        setenv("FILEDUP_CRASH", step, 1);
        kit_open(&k, store);
        k.store.layout->no_clone = TRUE;
        kit_apply_all(&k);
        _exit(0);
    }
    CU_ASSERT_EQUAL(waitpid(pid, &status, 0), pid);
    CU_ASSERT_TRUE_FATAL(WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL);
}

/* ---- whole files ---- */

static void
an_opening_removes_no_whole_file_that_an_older_catalog_does_not_know(void)
{
    g_autofree char *store = unit_path("store");
    Kit k;

    kit_open(&k, store);
    (void) kit_append(&k, "/f", "one", 3, CAUSE_FIRST, QUALITY_STABLE);
    kit_apply_all(&k);
    g_autofree char *later = mirror_history_path(id_of(&k, "/f"), 4711, "/f");
    put(&k, "history/123456-7-other", "the only copy");
    put(&k, later, "the only copy");
    kit_close(&k);
    kit_open(&k, store);
    CU_ASSERT_TRUE(is_there(&k, "history/123456-7-other"));
    CU_ASSERT_TRUE(is_there(&k, later));
    kit_close(&k);
}

/* The catalog was put back from before the content was superseded, and kept whole. */
static void
a_whole_file_of_what_should_be_in_the_mirror_stays_unless_it_is_that(void)
{
    g_autofree char *store = unit_path("store");
    Kit k;

    kit_open(&k, store);
    guint64 one = kit_append(&k, "/f", "one", 3, CAUSE_FIRST, QUALITY_STABLE);
    kit_apply_all(&k);
    g_autofree char *mirror = mirror_path(id_of(&k, "/f"), "/f");
    g_autofree char *whole = mirror_history_path(id_of(&k, "/f"), one, "/f");
    put(&k, whole, "one");
    CU_ASSERT_TRUE(thin_sweep(&k.store, NULL));
    CU_ASSERT_TRUE(is_there(&k, whole));
    int root = k.store.layout->root;
    CU_ASSERT_EQUAL(unlinkat(root, whole, 0), 0);
    CU_ASSERT_EQUAL(linkat(root, mirror, root, whole, 0), 0);
    CU_ASSERT_TRUE(thin_sweep(&k.store, NULL));
    CU_ASSERT_FALSE(is_there(&k, whole)); /* a second name only */
    kit_expect(&k, "/f", 0, "one");
    kit_close(&k);
}

static void
what_is_to_go_is_not_the_file_that_has_its_number_now(void)
{
    g_autofree char *store = unit_path("store");
    Kit k;

    kit_open(&k, store);
    guint64 point = kit_append(&k, "/b/x", "one", 3, CAUSE_BEFORE_RESTORE, QUALITY_STABLE);
    (void) kit_append(&k, "/b/x", "two", 3, CAUSE_FIRST, QUALITY_STABLE);
    kit_apply_all(&k);
    g_autoptr(Doomed) doomed = doomed_load(k.store.layout, NULL);
    doomed_add_file(doomed, id_of(&k, "/b/x"), "/a/x"); /* the same name in mirrors/ */
    CU_ASSERT_TRUE(doomed_save(doomed, k.store.layout, NULL));
    CU_ASSERT_TRUE(thin_sweep(&k.store, NULL));
    kit_expect(&k, "/b/x", 0, "two");
    kit_expect(&k, "/b/x", point, "one");
    g_autoptr(Doomed) left = doomed_load(k.store.layout, NULL);
    CU_ASSERT_TRUE(left && doomed_is_empty(left));
    kit_close(&k);
}

/* A first try moved it there, to make room for the next content; which is lost by now. */
static void
a_staged_file_that_went_to_history_can_still_become_the_mirror(void)
{
    g_autofree char *store = unit_path("store");
    g_autofree guint8 *data = noise(2 * MIB, 1);
    g_autoptr(GError) error = NULL;
    Kit k;

    kit_open(&k, store);
    (void) kit_append(&k, "/f", "one", 3, CAUSE_FIRST, QUALITY_STABLE);
    kit_apply_all(&k);
    guint64 two = kit_append_staged(&k, "/f", data, 2 * MIB, CAUSE_CLOSE);
    const Transaction *t = pending_of(k.store.pending, "/f")->pdata[0];
    g_autofree char *staged = staged_name(t->capture.staged);
    g_autofree char *whole = mirror_history_path(t->capture.file, two, "/f");
    CU_ASSERT_EQUAL(renameat(k.store.layout->staged, staged, k.store.layout->root, whole), 0);
    (void) apply_file(&k.store, "/f", &error);
    UNIT_NO_ERROR(error);
    kit_expect_bytes(&k, "/f", 0, data, 2 * MIB);
    CU_ASSERT_EQUAL(pending_count(k.store.pending), 0);
    kit_close(&k);
}

/* An older point started from the whole file of what is forgotten. */
static void
a_forgotten_whole_file_goes_though_an_older_point_needs_bytes_of_it(void)
{
    static const char secret[] = "a password that nobody was to see: 7c9e6679f7";
    g_autofree char *store = unit_path("store");
    g_autofree guint8 *one = noise(2 * MIB, 1), *two = g_memdup2(one, 2 * MIB),
                      *three = noise(2 * MIB, 3);
    g_autoptr(GError) error = NULL;
    gboolean more = TRUE;
    guint n;
    Kit k;

    memcpy(two + 500000, secret, sizeof secret);
    kit_open(&k, store);
    guint64 first = kit_append(&k, "/f", one, 2 * MIB, CAUSE_FIRST, QUALITY_STABLE);
    kit_apply_all(&k);
    guint64 second = kit_append_ranges(&k, "/f", one, 2 * MIB, two, 2 * MIB, QUALITY_STABLE);
    kit_apply_all(&k);
    (void) kit_append(&k, "/f", three, 2 * MIB, CAUSE_CLOSE, QUALITY_STABLE);
    kit_apply_all(&k);
    g_autofree char *whole = mirror_history_path(id_of(&k, "/f"), second, "/f");
    CU_ASSERT_TRUE(is_there(&k, whole));
    g_autoptr(Forgetting) f = forget_begin(&k.store, "/f", second, FALSE, &n, &error);
    UNIT_NO_ERROR(error);
    while (more) {
        (void) forget_step(f, &k.store, &more, &error);
        UNIT_NO_ERROR(error);
    }
    CU_ASSERT_FALSE(is_there(&k, whole));
    for (guint i = 0; i < 2; i++) { /* and after another opening */
        kit_expect_bytes(&k, "/f", first, one, 2 * MIB);
        kit_expect_bytes(&k, "/f", 0, three, 2 * MIB);
        CU_ASSERT_TRUE(thin_sweep(&k.store, NULL));
        kit_close(&k);
        kit_open(&k, store);
    }
    kit_close(&k);
    g_autofree char *grep = g_strdup_printf("grep -rqF 7c9e6679f7 '%s'", store);
    CU_ASSERT_NOT_EQUAL(system(grep), 0);
}

/* ---- what is lost, and what is not ---- */

static void
a_staged_content_whose_sums_are_gone_is_not_given_up(void)
{
    g_autofree char *store = unit_path("store");
    Kit k;

    for (guint gone = 0; gone < 2; gone++) {
        g_autofree char *path = g_strdup_printf("/f%u", gone);
        g_autoptr(GError) error = NULL;
        kit_open(&k, store);
        (void) kit_append_staged(&k, path, "the only copy", 13, CAUSE_FIRST);
        const Transaction *t = pending_of(k.store.pending, path)->pdata[0];
        g_autofree char *sums =
            g_strdup_printf("%s/staged/%" G_GUINT64_FORMAT ".sums", store, t->capture.staged);
        unit_write(sums, "rubbish!", 8);
        if (gone)
            (void) unlink(sums);
        kit_apply_all(&k);
        kit_expect(&k, path, 0, "the only copy");
        kit_close(&k);
    }
}

/* It rots between the mark "prepared" and the redo. */
static void
a_redo_makes_no_good_sums_of_a_whole_file_that_has_rotted(void)
{
    g_autofree char *store = unit_path("store");
    g_autofree guint8 *one = noise(2 * MIB, 1), *two = noise(2 * MIB, 2),
                      *three = noise(2 * MIB, 3);
    g_autoptr(GError) error = NULL;
    Kit k;

    kit_open(&k, store);
    (void) kit_append(&k, "/f", one, 2 * MIB, CAUSE_FIRST, QUALITY_STABLE);
    kit_apply_all(&k);
    guint64 point = kit_append(&k, "/f", two, 2 * MIB, CAUSE_CLOSE, QUALITY_STABLE);
    (void) kit_append(&k, "/f", three, 2 * MIB, CAUSE_CLOSE, QUALITY_STABLE);
    g_autofree char *whole = mirror_history_path(id_of(&k, "/f"), point, "/f");
    g_autofree char *path = g_build_filename(store, whole, NULL);
    kit_close(&k);
    killed_at(store, "apply-prepared");
    g_auto(Fd) fd = open(path, O_WRONLY | O_CLOEXEC);
    CU_ASSERT_TRUE_FATAL(fd >= 0 && fd_pwrite_full(fd, "rotten", 6, 100000));
    kit_open(&k, store);
    CU_ASSERT_TRUE(k.recovered_damage); /* whoever opens it hears of it */
    CU_ASSERT_PTR_NOT_NULL(k.recovered_note);
    kit_apply_all(&k);
    kit_expect_bytes(&k, "/f", 0, three, 2 * MIB);
    CU_ASSERT_PTR_NULL(kit_try_content(&k, "/f", point, &error));
    CU_ASSERT_TRUE(g_error_matches(error, FILEDUP_ERROR, FILEDUP_ERROR_DAMAGED));
    g_autoptr(FileView) v = store_view(&k.store, "/f", CATALOG_UNDO, NULL);
    g_autoptr(GBytes) sums =
        store_sums(k.store.catalog, k.store.layout->staged, v, view_point(v, point), NULL);
    g_auto(Fd) read = open(path, O_RDONLY | O_CLOEXEC);
    g_autoptr(GBytes) rotten = point_sums_read(read, 2 * MIB, NULL);
    CU_ASSERT_FALSE(sums && g_bytes_equal(sums, rotten));
    kit_close(&k);
}

/* As long as no opening has said it. */
static void
a_stop_in_order_does_not_hide_what_was_lost(void)
{
    g_autofree char *store = unit_path("store");
    Kit k;

    kit_open(&k, store);
    CU_ASSERT_TRUE(catalog_set_lost(k.store.catalog, NULL));
    CU_ASSERT_TRUE(catalog_set_clean(k.store.catalog, 0, NULL));
    kit_close(&k);
    for (guint i = 0; i < 2; i++) {
        kit_open(&k, store);
        CU_ASSERT_EQUAL(k.report.damage, i == 0);
        CU_ASSERT_TRUE(catalog_set_clean(k.store.catalog, 0, NULL));
        kit_close(&k);
    }
}

/* Attributes of a content that was given up say nothing of the one before. */
static void
attributes_of_a_lost_content_are_not_the_mirrors(void)
{
    g_autofree char *store = unit_path("store");
    Kit k;

    for (guint i = 0; i < 2; i++) {
        g_autofree char *path = g_strdup_printf("/f%u", i);
        g_autoptr(GError) error = NULL;
        kit_open(&k, store);
        (void) kit_append(&k, path, "one", 3, CAUSE_FIRST, QUALITY_STABLE);
        kit_apply_all(&k);
        (void) kit_append_staged(&k, path, i ? "twotwo" : "two", i ? 6 : 3, CAUSE_CLOSE);
        const Transaction *t = pending_of(k.store.pending, path)->pdata[0];
        g_autofree char *staged = staged_name(t->capture.staged);
        CU_ASSERT_EQUAL(unlinkat(k.store.layout->staged, staged, 0), 0);
        Capture c = kit_capture(path, i ? "twotwo" : "two", i ? 6 : 3, CAUSE_CLOSE, QUALITY_STABLE);
        c.kind = APPEND_ATTRIBUTES;
        (void) kit_append_capture(&k, &c);
        CU_ASSERT_FALSE(apply_file(&k.store, path, &error));
        CU_ASSERT_EQUAL(pending_count(k.store.pending), 0);
        kit_expect(&k, path, 0, "one");
        g_autoptr(FileView) v = store_view(&k.store, path, CATALOG_UNDO, NULL);
        CU_ASSERT_EQUAL(v->current->stat.ino, 0); /* fits no original: it is captured anew */
        CU_ASSERT_EQUAL(v->current->stat.ctime_ns, 0);
        kit_close(&k);
    }
}

/* ---- what is not on the disk yet ---- */

/* Nobody knows whether an apply that failed had synced them. */
static void
a_folder_in_mirrors_is_synced_until_a_mirror_is_known_in_it(void)
{
    g_autofree char *store = unit_path("store");
    g_autoptr(FileView) v = view_new("/f");
    Kit k;

    kit_open(&k, store);
    v->id = 7;
    for (guint i = 0; i < 2; i++) {
        g_auto(Fd) fd = -1;
        CU_ASSERT_TRUE(mirror_prepare(k.store.layout, v, &fd, NULL));
        CU_ASSERT_TRUE(fd >= 0);
    }
    v->mirror_point = 1;
    g_auto(Fd) fd = -1;
    CU_ASSERT_TRUE(mirror_prepare(k.store.layout, v, &fd, NULL));
    CU_ASSERT_TRUE(fd < 0);
    kit_close(&k);
}

/* No point needs the old bytes, so nothing was prepared. */
static void
a_mirror_left_mixed_stays_listed_until_it_is_done(void)
{
    g_autofree char *store = unit_path("store");
    g_autofree guint8 *one = noise(2 * MIB, 1), *two = g_memdup2(one, 2 * MIB);
    Kit k;

    memset(two + 100000, 'x', 200000);
    kit_open(&k, store);
    (void) kit_append(&k, "/f", one, 2 * MIB, CAUSE_FIRST, QUALITY_FUZZY);
    kit_apply_all(&k);
    (void) kit_append_ranges(&k, "/f", one, 2 * MIB, two, 2 * MIB, QUALITY_FUZZY);
    kit_close(&k);
    killed_at(store, "mirror-written");
    for (guint i = 0; i < 2; i++) {
        kit_open(&k, store);
        CU_ASSERT_TRUE(is_there(&k, APPLYING_NAME));
        kit_expect_bytes(&k, "/f", 0, two, 2 * MIB);
        if (i == 0)
            kit_close(&k);
    }
    kit_apply_all(&k);
    CU_ASSERT_FALSE(is_there(&k, APPLYING_NAME));
    kit_expect_bytes(&k, "/f", 0, two, 2 * MIB);
    kit_close(&k);
}

/* A segment that could not be removed, after an error, keeps the journal from nothing. */
static void
a_name_that_is_taken_in_the_journal_is_not_tried_for_ever(void)
{
    g_autofree char *store = unit_path("store");
    g_autoptr(GError) error = NULL;
    Kit k;

    kit_open(&k, store);
    put(&k, "journal/00000001.segment", "");
    (void) kit_append(&k, "/f", "one", 3, CAUSE_FIRST, QUALITY_STABLE);
    JournalRoom room = journal_compact(k.store.journal, k.store.pending, &error);
    CU_ASSERT_EQUAL(room, JOURNAL_ROOM);
    kit_apply_all(&k);
    kit_expect(&k, "/f", 0, "one");
    kit_close(&k);
}

static const UnitTest tests[] = {
    UNIT_TEST(a_name_that_is_taken_in_the_journal_is_not_tried_for_ever),
    UNIT_TEST(an_opening_removes_no_whole_file_that_an_older_catalog_does_not_know),
    UNIT_TEST(a_whole_file_of_what_should_be_in_the_mirror_stays_unless_it_is_that),
    UNIT_TEST(what_is_to_go_is_not_the_file_that_has_its_number_now),
    UNIT_TEST(a_staged_file_that_went_to_history_can_still_become_the_mirror),
    UNIT_TEST(a_forgotten_whole_file_goes_though_an_older_point_needs_bytes_of_it),
    UNIT_TEST(a_staged_content_whose_sums_are_gone_is_not_given_up),
    UNIT_TEST(a_redo_makes_no_good_sums_of_a_whole_file_that_has_rotted),
    UNIT_TEST(a_stop_in_order_does_not_hide_what_was_lost),
    UNIT_TEST(attributes_of_a_lost_content_are_not_the_mirrors),
    UNIT_TEST(a_folder_in_mirrors_is_synced_until_a_mirror_is_known_in_it),
    UNIT_TEST(a_mirror_left_mixed_stays_listed_until_it_is_done),
};
UNIT_MAIN("losses", tests)
