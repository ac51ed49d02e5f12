/* Apply: pending transactions become mirrors and points, whatever interrupts. */

#include "config.h"

#include <fcntl.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>

#include "base/error.h"
#include "store/mirror.h"
#include "store/reader.h"
#include "store/staged.h"
#include "tests/unit/storekit.h"
#include "tests/unit/unit.h"

#define APPEND(k, path, text, cause, quality)                                                      \
    kit_append(k, path, text, strlen(text), cause, quality)

static guint
count_points(Kit *k, const char *path)
{
    g_autoptr(FileView) v = store_view(&k->store, path, CATALOG_UNDO, NULL);

    return v->points->len;
}

static StoredState
state_of(Kit *k, const char *path)
{
    g_autoptr(FileView) v = store_view(&k->store, path, CATALOG_UNDO, NULL);

    return v->state;
}

static guint
count_files(const char *store, const char *folder)
{
    g_autofree char *path = g_build_filename(store, folder, NULL);
    g_autoptr(GDir) dir = g_dir_open(path, 0, NULL);
    guint n = 0;

    while (g_dir_read_name(dir))
        n++;
    return n;
}

static void
of_several_contents_the_newest_is_the_mirror(void)
{
    g_autofree char *store = unit_path("store");
    Kit k;

    kit_open(&k, store);
    guint64 one = APPEND(&k, "/f", "one", CAUSE_FIRST, QUALITY_STABLE);
    guint64 two = APPEND(&k, "/f", "two", CAUSE_CLOSE, QUALITY_STABLE);
    (void) APPEND(&k, "/f", "three", CAUSE_CLOSE, QUALITY_STABLE);
    for (guint applied = 0; applied < 2; applied++) { /* from the journal, and from the pack */
        kit_expect(&k, "/f", 0, "three");
        kit_expect(&k, "/f", one, "one");
        kit_expect(&k, "/f", two, "two");
        CU_ASSERT_EQUAL(count_points(&k, "/f"), 2);
        kit_apply_all(&k);
    }
    CU_ASSERT_EQUAL(count_files(store, "history"), 1);
    CU_ASSERT_EQUAL(count_files(store, "staged"), 0);
    kit_close(&k);
}

static void
a_file_deleted_and_made_again_keeps_its_deleted_content(void)
{
    g_autofree char *store = unit_path("store");
    Kit k;

    for (guint applied = 0; applied < 2; applied++) { /* with and without a mirror in between */
        g_autofree char *path = g_strdup_printf("/f%u", applied);
        kit_open(&k, store);
        guint64 one = APPEND(&k, path, "one", CAUSE_FIRST, QUALITY_STABLE);
        if (applied)
            kit_apply_all(&k);
        (void) kit_append_kind(&k, path, APPEND_DELETE);
        CU_ASSERT_EQUAL(state_of(&k, path), STORED_DELETED);
        if (applied)
            kit_apply_all(&k);
        kit_expect(&k, path, 0, "one"); /* the last content stays */
        (void) APPEND(&k, path, "two", CAUSE_CLOSE, QUALITY_STABLE);
        kit_apply_all(&k);
        CU_ASSERT_EQUAL(state_of(&k, path), STORED_CURRENT);
        kit_expect(&k, path, 0, "two");
        kit_expect(&k, path, one, "one");
        g_autoptr(FileView) v = store_view(&k.store, path, CATALOG_UNDO, NULL);
        CU_ASSERT_EQUAL(view_point(v, one)->cause, CAUSE_DELETED);
        kit_close(&k);
    }
}

static void
what_a_restore_replaced_is_a_point_and_not_the_mirror(void)
{
    g_autofree char *store = unit_path("store");
    Kit k;

    kit_open(&k, store);
    (void) APPEND(&k, "/f", "good", CAUSE_FIRST, QUALITY_STABLE);
    guint64 mine = APPEND(&k, "/f", "mine", CAUSE_BEFORE_RESTORE, QUALITY_STABLE);
    kit_expect(&k, "/f", 0, "good");
    kit_apply_all(&k);
    kit_expect(&k, "/f", 0, "good");
    kit_expect(&k, "/f", mine, "mine");
    guint64 again = kit_append_staged(&k, "/f", "staged mine", 11, CAUSE_BEFORE_RESTORE);
    kit_apply_all(&k);
    kit_expect(&k, "/f", 0, "good");
    kit_expect(&k, "/f", again, "staged mine");
    kit_expect(&k, "/f", mine, "mine");
    kit_close(&k);
}

static void
a_fuzzy_content_does_not_cost_the_stable_one(void)
{
    g_autofree char *store = unit_path("store");
    Kit k;

    for (guint applied = 0; applied < 2; applied++) {
        g_autofree char *path = g_strdup_printf("/f%u", applied);
        kit_open(&k, store);
        guint64 stable = APPEND(&k, path, "stable", CAUSE_FIRST, QUALITY_STABLE);
        if (applied)
            kit_apply_all(&k);
        (void) APPEND(&k, path, "fuzzy 1", CAUSE_CLOSE, QUALITY_FUZZY);
        (void) APPEND(&k, path, "fuzzy 2", CAUSE_CLOSE, QUALITY_FUZZY);
        kit_apply_all(&k);
        kit_expect(&k, path, 0, "fuzzy 2");
        kit_expect(&k, path, stable, "stable");
        g_autoptr(FileView) v = store_view(&k.store, path, CATALOG_UNDO, NULL);
        CU_ASSERT_EQUAL(view_stable_point(v), stable);
        (void) APPEND(&k, path, "stable again", CAUSE_CLOSE, QUALITY_STABLE);
        kit_apply_all(&k);
        g_autoptr(FileView) after = store_view(&k.store, path, CATALOG_UNDO, NULL);
        CU_ASSERT_EQUAL(after->points->len, 1); /* the fuzzy ones are merged away */
        CU_ASSERT_EQUAL(view_point(v, stable)->kept, KEPT_STABLE);
        CU_ASSERT_EQUAL(view_point(after, stable)->kept, 0);
        kit_expect(&k, path, stable, "stable");
        kit_close(&k);
    }
}

static void
a_fuzzy_content_that_stands_still_becomes_the_stable_one(void)
{
    g_autofree char *store = unit_path("store");
    Kit k;

    for (guint applied = 0; applied < 2; applied++) {
        g_autofree char *path = g_strdup_printf("/f%u", applied);
        kit_open(&k, store);
        (void) APPEND(&k, path, "stable", CAUSE_FIRST, QUALITY_STABLE);
        (void) APPEND(&k, path, "fuzzy", CAUSE_CLOSE, QUALITY_FUZZY);
        if (applied)
            kit_apply_all(&k);
        (void) kit_append_kind(&k, path, APPEND_ATTRIBUTES); /* the same, by now stable */
        kit_apply_all(&k);
        g_autoptr(FileView) v = catalog_load(k.store.catalog, path, CATALOG_UNDO, NULL);
        CU_ASSERT_EQUAL(v->current->quality, QUALITY_STABLE);
        CU_ASSERT_EQUAL_FATAL(v->points->len, 1);
        CU_ASSERT_EQUAL(((Point *) v->points->pdata[0])->kept, 0);
        kit_expect(&k, path, 0, "fuzzy");
        kit_close(&k);
    }
}

static void
a_deleted_file_keeps_its_stable_content_beside_a_fuzzy_one(void)
{
    g_autofree char *store = unit_path("store");
    Kit k;

    for (guint applied = 0; applied < 2; applied++) {
        g_autofree char *path = g_strdup_printf("/f%u", applied);
        kit_open(&k, store);
        guint64 stable = APPEND(&k, path, "stable", CAUSE_FIRST, QUALITY_STABLE);
        guint64 fuzzy = APPEND(&k, path, "fuzzy", CAUSE_CLOSE, QUALITY_FUZZY);
        (void) kit_append_kind(&k, path, APPEND_DELETE);
        if (applied)
            kit_apply_all(&k);
        for (guint i = 0; i < 2; i++) { /* and it stays */
            (void) APPEND(&k, path, "another file", CAUSE_CLOSE, QUALITY_STABLE);
            kit_apply_all(&k);
            CU_ASSERT_EQUAL(count_points(&k, path), 2 + i);
            kit_expect(&k, path, stable, "stable");
            kit_expect(&k, path, fuzzy, "fuzzy");
            kit_expect(&k, path, 0, "another file");
        }
        kit_close(&k);
    }
}

static void
staged_contents_are_moved_and_superseded_ones_removed(void)
{
    g_autofree char *store = unit_path("store");
    Kit k;

    kit_open(&k, store);
    guint64 first = kit_append_staged(&k, "/f", "first", 5, CAUSE_FIRST);
    (void) kit_append_staged(&k, "/f", "second", 6, CAUSE_CLOSE);
    kit_expect(&k, "/f", 0, "second");
    kit_expect(&k, "/f", first, "first");
    kit_apply_all(&k);
    kit_expect(&k, "/f", 0, "second");
    kit_expect(&k, "/f", first, "first");
    CU_ASSERT_EQUAL(count_files(store, "staged"), 0);
    kit_close(&k);
}

static void
a_staged_file_is_synced_as_it_was_handed_out_or_refused(void)
{
    g_autofree char *store = unit_path("store");
    g_autoptr(GError) error = NULL;
    g_autoptr(GBytes) sums = point_sums((const guint8 *) "abc", 3);
    g_auto(Fd) own = -1;
    guint64 ino;
    Kit k;

    kit_open(&k, store);
    int staged = k.store.layout->staged;
    g_auto(Fd) fd = staged_create(staged, 7, &own, &error);
    UNIT_NO_ERROR(error);
    CU_ASSERT_TRUE(fd_pwrite_full(fd, "abc", 3, 0));
    CU_ASSERT_NOT_EQUAL(lseek(fd, 1, SEEK_SET), lseek(own, 0, SEEK_CUR)); /* not a duplicate */
    CU_ASSERT_TRUE(staged_finish(staged, own, 7, 3, sums, &ino, &error));
    UNIT_NO_ERROR(error);
    CU_ASSERT_EQUAL(renameat(staged, "7", staged, "8"), 0);
    g_auto(Fd) other = openat(staged, "7", O_WRONLY | O_CREAT | O_CLOEXEC, 0600);
    CU_ASSERT_TRUE(fd_pwrite_full(other, "abd", 3, 0));
    CU_ASSERT_FALSE(staged_finish(staged, own, 7, 3, sums, &ino, &error));
    CU_ASSERT_TRUE(g_error_matches(error, FILEDUP_ERROR, FILEDUP_ERROR_REFUSED));
    kit_close(&k);
}

static void
attributes_alone_change_the_mirror_and_not_its_content(void)
{
    g_autofree char *store = unit_path("store");
    g_autoptr(GError) error = NULL;
    struct stat st;
    Kit k;

    kit_open(&k, store);
    (void) APPEND(&k, "/f", "content", CAUSE_FIRST, QUALITY_STABLE);
    kit_apply_all(&k);
    g_auto(Capture) c = kit_capture("/f", "content", 7, CAUSE_CLOSE, QUALITY_STABLE);
    g_autoptr(FileView) v = store_view(&k.store, "/f", CATALOG_UNDO, &error);
    c.kind = APPEND_ATTRIBUTES;
    c.file = v->id;
    c.stat.mode = S_IFREG | 0604;
    Transaction *t = journal_write(k.store.journal, &c, NULL, NULL, NULL, &error);
    UNIT_NO_ERROR(error);
    CU_ASSERT_TRUE(journal_sync(k.store.journal, &error));
    pending_add(k.store.pending, t);
    kit_apply_all(&k);
    g_autofree char *mirror = mirror_path(v->id, "/f");
    CU_ASSERT_EQUAL(fstatat(k.store.layout->root, mirror, &st, 0), 0);
    CU_ASSERT_EQUAL(st.st_mode & 07777, 0604);
    kit_expect(&k, "/f", 0, "content");
    kit_close(&k);
}

#define LARGE_BYTES ((gsize) 1536 * 1024)

/* Of a large file, each content differs from the others all over. */
static guint8 *
large_content(guint seed)
{
    guint8 *data = g_malloc(LARGE_BYTES);
    g_autoptr(GRand) rand = g_rand_new_with_seed(seed);

    for (gsize i = 0; i < LARGE_BYTES; i += 4)
        memcpy(data + i, &(guint32){g_rand_int(rand)}, 4);
    return data;
}

/* A history with everything in it: contents kept whole, in undo, merged away; staged copies, and a
 * mirror that is written in place; points beside the chain. What it must come to is in check_scene. */
typedef struct Scene {
    guint64 deleted, mine, big_mine, stable, big, whole, ranges[3];
    guint8 *large[2], *changed[3];
} Scene;

static void
make_scene(Kit *k, Scene *s)
{
    for (guint i = 0; i < 2; i++)
        s->large[i] = large_content(i);
    for (guint i = 0; i < 3; i++) {
        s->changed[i] = g_memdup2(s->large[0], LARGE_BYTES);
        for (guint n = 0; n <= i; n++)
            memset(s->changed[i] + 300000 * (n + 1), (int) ('a' + i), 5000);
    }
    s->deleted = APPEND(k, "/kept", "the old one", CAUSE_FIRST, QUALITY_STABLE);
    s->stable = APPEND(k, "/fuzzy", "stable", CAUSE_FIRST, QUALITY_STABLE);
    (void) APPEND(k, "/attributes", "same", CAUSE_FIRST, QUALITY_STABLE);
    s->whole = kit_append_staged(k, "/whole", s->large[0], LARGE_BYTES, CAUSE_FIRST);
    s->ranges[0] = kit_append_staged(k, "/ranges", s->large[0], LARGE_BYTES, CAUSE_FIRST);
    (void) APPEND(k, "/merged", "stable", CAUSE_FIRST, QUALITY_STABLE);
    (void) APPEND(k, "/merged", "fuzzy", CAUSE_CLOSE, QUALITY_FUZZY);
    kit_apply_all(k);
    (void) kit_append_kind(k, "/kept", APPEND_DELETE);
    (void) APPEND(k, "/kept", "the new one", CAUSE_CLOSE, QUALITY_STABLE);
    s->mine = APPEND(k, "/kept", "mine", CAUSE_BEFORE_RESTORE, QUALITY_STABLE);
    s->big_mine = kit_append_staged(k, "/kept", "big mine", 8, CAUSE_BEFORE_RESTORE);
    (void) APPEND(k, "/fuzzy", "fuzzy", CAUSE_CLOSE, QUALITY_FUZZY);
    s->big = kit_append_staged(k, "/big", "superseded", 10, CAUSE_FIRST);
    (void) kit_append_staged(k, "/big", "big content", 11, CAUSE_CLOSE);
    (void) kit_append_kind(k, "/attributes", APPEND_ATTRIBUTES);
    (void) APPEND(k, "/gone", "last words", CAUSE_FIRST, QUALITY_STABLE);
    (void) kit_append_kind(k, "/gone", APPEND_DELETE);
    (void) kit_append_staged(k, "/whole", s->large[1], LARGE_BYTES, CAUSE_CLOSE);
    s->ranges[1] = kit_append_ranges(k, "/ranges", s->large[0], LARGE_BYTES, s->changed[0],
                                     LARGE_BYTES, QUALITY_STABLE);
    s->ranges[2] = kit_append_ranges(k, "/ranges", s->changed[0], LARGE_BYTES, s->changed[1],
                                     LARGE_BYTES - 100000, QUALITY_STABLE);
    (void) kit_append_ranges(k, "/ranges", s->changed[1], LARGE_BYTES - 100000, s->changed[2],
                             LARGE_BYTES, QUALITY_STABLE);
    (void) APPEND(k, "/merged", "stable again", CAUSE_CLOSE, QUALITY_STABLE);
}

static void
clear_scene(Scene *s)
{
    for (guint i = 0; i < 2; i++)
        g_free(s->large[i]);
    for (guint i = 0; i < 3; i++)
        g_free(s->changed[i]);
}

static void
check_scene(Kit *k, const Scene *s)
{
    kit_expect(k, "/kept", 0, "the new one");
    kit_expect(k, "/kept", s->deleted, "the old one");
    kit_expect(k, "/kept", s->mine, "mine");
    kit_expect(k, "/kept", s->big_mine, "big mine");
    CU_ASSERT_EQUAL(count_points(k, "/kept"), 3);
    kit_expect(k, "/fuzzy", 0, "fuzzy");
    kit_expect(k, "/fuzzy", s->stable, "stable");
    kit_expect(k, "/big", 0, "big content");
    kit_expect(k, "/big", s->big, "superseded");
    kit_expect(k, "/attributes", 0, "same");
    kit_expect(k, "/gone", 0, "last words");
    CU_ASSERT_EQUAL(state_of(k, "/gone"), STORED_DELETED);
    kit_expect_bytes(k, "/whole", s->whole, s->large[0], LARGE_BYTES);
    kit_expect_bytes(k, "/whole", 0, s->large[1], LARGE_BYTES);
    kit_expect_bytes(k, "/ranges", s->ranges[0], s->large[0], LARGE_BYTES);
    kit_expect_bytes(k, "/ranges", s->ranges[1], s->changed[0], LARGE_BYTES);
    kit_expect_bytes(k, "/ranges", s->ranges[2], s->changed[1], LARGE_BYTES - 100000);
    kit_expect_bytes(k, "/ranges", 0, s->changed[2], LARGE_BYTES);
    kit_expect(k, "/merged", 0, "stable again");
    CU_ASSERT_EQUAL(count_points(k, "/merged"), 1);
}

/* In a process of its own: opens the store, applies all; TRUE if it was killed at that step. */
static gboolean
crashes(const char *store, const char *crash)
{
    Kit k;
    int status;
    pid_t pid = fork();

    if (pid == 0) {
        setenv("FILEDUP_CRASH", crash, 1);
        kit_open(&k, store);
        kit_apply_all(&k);
        kit_close(&k);
        _exit(0);
    }
    CU_ASSERT_EQUAL(waitpid(pid, &status, 0), pid);
    gboolean crashed = WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL;
    CU_ASSERT_TRUE(crashed || (WIFEXITED(status) && WEXITSTATUS(status) == 0));
    return crashed;
}

static void
apply_killed_at_any_step_converges(void)
{
    static const char *const points[] = {
        "apply-begin",    "apply-folder",    "apply-point-built", "apply-point",    "apply-kept",
        "apply-saved",    "apply-prepared",  "applying-written",  "applying-named", "apply-listed",
        "mirror-written", "apply-built",     "apply-attributes",  "apply-synced",   "apply-renamed",
        "apply-placed",   "apply-committed", "apply-cleaned"};

    for (guint i = 0; i < G_N_ELEMENTS(points) * 4; i++) {
        g_autofree char *name = g_strdup_printf("store%u", i);
        g_autofree char *store = unit_path(name);
        /* The first to fourth time that apply comes there; each time once more after it. */
        guint nth = i / (guint) G_N_ELEMENTS(points);
        const char *point = points[i % G_N_ELEMENTS(points)];
        g_autofree char *crash = g_strdup_printf("%s:%u", point, nth + 1);
        Scene scene;
        Kit k;

        kit_open(&k, store);
        make_scene(&k, &scene);
        kit_close(&k);
        for (guint round = 0; round < 20; round++) {
            gboolean crashed = crashes(store, crash);
            if (round == 0 && nth == 0 && !crashed)
                g_printerr("    not there: %s\n", point);
            CU_ASSERT_TRUE(crashed || round > 0 || nth > 0); /* the point is there at all */
            if (!crashed)
                break;
            /* Whatever it was stopped in, everything can be had when it is opened again. */
            kit_open(&k, store);
            CU_ASSERT_FALSE(k.report.damage);
            CU_ASSERT_FALSE(k.recovered_damage);
            if (round == 0)
                check_scene(&k, &scene);
            kit_close(&k);
        }
        kit_open(&k, store);
        check_scene(&k, &scene);
        kit_apply_all(&k);
        check_scene(&k, &scene);
        kit_close(&k);
        clear_scene(&scene);
    }
}

static void
a_staged_mirror_that_the_catalog_never_saw_can_become_a_point(void)
{
    g_autofree char *store = unit_path("store");
    Kit k;

    kit_open(&k, store);
    (void) APPEND(&k, "/f", "first", CAUSE_FIRST, QUALITY_STABLE);
    kit_apply_all(&k);
    guint64 staged = kit_append_staged(&k, "/f", "staged content", 14, CAUSE_CLOSE);
    kit_close(&k);
    pid_t pid = fork();
    if (pid == 0) {
        setenv("FILEDUP_CRASH", "apply-renamed", 1);
        kit_open(&k, store);
        kit_apply_all(&k);
        _exit(0);
    }
    int status;
    CU_ASSERT_EQUAL(waitpid(pid, &status, 0), pid);
    CU_ASSERT_TRUE(WIFSIGNALED(status));

    kit_open(&k, store);
    (void) kit_append_kind(&k, "/f", APPEND_DELETE);
    (void) APPEND(&k, "/f", "anew", CAUSE_FIRST, QUALITY_STABLE);
    kit_expect(&k, "/f", staged, "staged content"); /* while it still waits */
    kit_apply_all(&k);
    kit_expect(&k, "/f", staged, "staged content");
    kit_expect(&k, "/f", 0, "anew");
    kit_close(&k);
}

/* The catalog's files, before and after. */
static void
copy_catalog(const char *store, const char *to, gboolean back)
{
    static const char *const names[] = {"catalog.db", "catalog.db-wal"};

    for (guint i = 0; i < G_N_ELEMENTS(names); i++) {
        g_autofree char *a = g_build_filename(store, names[i], NULL);
        g_autofree char *b = g_build_filename(to, names[i], NULL);
        const char *from = back ? b : a, *into = back ? a : b;
        (void) unlink(into);
        if (access(from, F_OK) == 0) {
            g_autoptr(GBytes) data = unit_read(from);
            unit_write(into, g_bytes_get_data(data, NULL), (gssize) g_bytes_get_size(data));
        }
    }
}

static void
applying_what_is_applied_changes_nothing(void)
{
    g_autofree char *store = unit_path("store");
    g_autofree char *saved = unit_path("saved");
    guint64 deleted, mine;
    Kit k;

    CU_ASSERT_EQUAL(mkdir(saved, 0700), 0);
    kit_open(&k, store);
    deleted = APPEND(&k, "/f", "old", CAUSE_FIRST, QUALITY_STABLE);
    kit_apply_all(&k);
    (void) kit_append_kind(&k, "/f", APPEND_DELETE);
    (void) APPEND(&k, "/f", "new", CAUSE_CLOSE, QUALITY_STABLE);
    mine = APPEND(&k, "/f", "mine", CAUSE_BEFORE_RESTORE, QUALITY_STABLE);
    kit_close(&k);
    kit_open(&k, store);
    copy_catalog(store, saved, FALSE);
    for (guint round = 0; round < 3; round++) {
        kit_apply_all(&k);
        kit_expect(&k, "/f", 0, "new");
        kit_expect(&k, "/f", deleted, "old");
        kit_expect(&k, "/f", mine, "mine");
        kit_close(&k);
        copy_catalog(store, saved, TRUE); /* as if its last transaction had not reached the disk */
        kit_open(&k, store);
        CU_ASSERT_EQUAL(pending_count(k.store.pending), 0); /* what was prepared is finished */
        CU_ASSERT_FALSE(k.recovered_damage);
    }
    kit_close(&k);
}

static void
files_applied_out_of_order_are_not_applied_twice(void)
{
    g_autofree char *store = unit_path("store");
    g_autoptr(GError) error = NULL;
    Kit k;

    kit_open(&k, store);
    (void) APPEND(&k, "/a", "a", CAUSE_FIRST, QUALITY_STABLE);
    guint64 old = APPEND(&k, "/b", "old b", CAUSE_FIRST, QUALITY_STABLE);
    (void) kit_append_kind(&k, "/b", APPEND_DELETE);
    (void) kit_append_staged(&k, "/b", "b staged", 8, CAUSE_FIRST);
    CU_ASSERT_TRUE(apply_file(&k.store, "/b", &error));
    UNIT_NO_ERROR(error);
    kit_close(&k);
    kit_open(&k, store); /* `applied` could not move past /a: /b is pending once more */
    CU_ASSERT_EQUAL(pending_count(k.store.pending), 4);
    CU_ASSERT_EQUAL(count_points(&k, "/b"), 1);
    kit_expect(&k, "/b", old, "old b");
    kit_apply_all(&k);
    kit_expect(&k, "/a", 0, "a");
    kit_expect(&k, "/b", 0, "b staged");
    kit_close(&k);
    kit_open(&k, store);
    CU_ASSERT_EQUAL(pending_count(k.store.pending), 0);
    kit_close(&k);
}

static void
a_content_that_is_lost_costs_no_other_and_is_reported(void)
{
    g_autofree char *store = unit_path("store");
    g_autofree char *staged = g_build_filename(store, "staged", NULL);
    g_autoptr(GError) error = NULL;
    Kit k;

    kit_open(&k, store);
    (void) APPEND(&k, "/f", "good", CAUSE_FIRST, QUALITY_STABLE);
    kit_apply_all(&k);
    (void) kit_append_staged(&k, "/f", "will be damaged", 15, CAUSE_CLOSE);
    (void) APPEND(&k, "/g", "another", CAUSE_FIRST, QUALITY_STABLE);
    const GPtrArray *list = pending_of(k.store.pending, "/f");
    const Transaction *t = list->pdata[0];
    for (guint i = 0; i < 2; i++) { /* its sums, and itself */
        g_autofree char *name = g_strdup_printf("%s/%" G_GUINT64_FORMAT "%s", staged,
                                                t->capture.staged, i ? "" : ".sums");
        unit_write(name, "rubbish, really", 8 + 7 * i);
    }
    CU_ASSERT_FALSE(apply_file(&k.store, "/f", &error));
    CU_ASSERT_PTR_NOT_NULL(error);
    kit_close(&k);

    kit_open(&k, store);
    CU_ASSERT_TRUE(k.report.damage);
    CU_ASSERT_PTR_NOT_NULL(k.report.note);
    kit_apply_all(&k);
    kit_expect(&k, "/g", 0, "another");
    kit_expect(&k, "/f", 0, "good");
    g_autoptr(FileView) v = store_view(&k.store, "/f", CATALOG_UNDO, NULL);
    CU_ASSERT_EQUAL(v->current->stat.ino, 0); /* fits no original: it is captured anew */
    kit_close(&k);
}

static void
a_mirror_that_was_removed_stops_nothing_and_costs_no_point(void)
{
    g_autofree char *store = unit_path("store");
    g_autoptr(GError) error = NULL;
    Kit k;

    kit_open(&k, store);
    (void) APPEND(&k, "/f", "content", CAUSE_FIRST, QUALITY_STABLE);
    guint64 mine = APPEND(&k, "/f", "mine", CAUSE_BEFORE_RESTORE, QUALITY_STABLE);
    kit_apply_all(&k);
    g_autoptr(FileView) v = store_view(&k.store, "/f", CATALOG_UNDO, &error);
    g_autofree char *mirror = mirror_path(v->id, "/f");
    for (guint round = 0; round < 2; round++) {
        CU_ASSERT_EQUAL(unlinkat(k.store.layout->root, mirror, 0), 0);
        if (round == 0) /* a chmod of the original */
            (void) kit_append_kind(&k, "/f", APPEND_ATTRIBUTES);
        else /* or the mirror is what would have to be kept */
            (void) kit_append_kind(&k, "/f", APPEND_DELETE);
        if (round == 0) {
            kit_apply_all(&k);
            CU_ASSERT_EQUAL(state_of(&k, "/f"), STORED_NOTHING);
            CU_ASSERT_PTR_NULL(kit_content(&k, "/f", 0));
            kit_expect(&k, "/f", mine, "mine");
        }
        (void) APPEND(&k, "/f", "captured anew", CAUSE_CLOSE, QUALITY_STABLE);
        kit_apply_all(&k);
        kit_expect(&k, "/f", 0, "captured anew");
        kit_expect(&k, "/f", mine, "mine");
        CU_ASSERT_EQUAL(count_points(&k, "/f"), 1);
    }
    kit_close(&k);
}

static void
a_file_that_cannot_be_applied_hinders_no_other(void)
{
    g_autofree char *store = unit_path("store");
    g_autoptr(GError) error = NULL;
    Kit k;

    kit_open(&k, store);
    (void) APPEND(&k, "/f", "old", CAUSE_FIRST, QUALITY_STABLE);
    kit_apply_all(&k);
    g_autoptr(FileView) v = store_view(&k.store, "/f", CATALOG_UNDO, &error);
    g_autofree char *mirror = mirror_path(v->id, "/f");
    CU_ASSERT_EQUAL(unlinkat(k.store.layout->root, mirror, 0), 0);
    CU_ASSERT_EQUAL(mkdirat(k.store.layout->root, mirror, 0700), 0); /* in its place */
    (void) APPEND(&k, "/f", "new", CAUSE_CLOSE, QUALITY_STABLE);
    (void) APPEND(&k, "/g", "another", CAUSE_FIRST, QUALITY_STABLE);
    CU_ASSERT_FALSE(apply_file(&k.store, "/f", &error));
    CU_ASSERT_PTR_NOT_NULL_FATAL(error);
    CU_ASSERT_FALSE(g_error_matches(error, FILEDUP_ERROR, FILEDUP_ERROR_FATAL));
    g_clear_error(&error);
    CU_ASSERT_TRUE(apply_file(&k.store, "/g", &error));
    UNIT_NO_ERROR(error);
    kit_close(&k);

    kit_open(&k, store);
    CU_ASSERT_FALSE(k.report.damage);
    kit_expect(&k, "/f", 0, "new"); /* it still waits */
    CU_ASSERT_EQUAL(unlinkat(k.store.layout->root, mirror, AT_REMOVEDIR), 0);
    int root = k.store.layout->root;
    CU_ASSERT_EQUAL(renameat(root, "mirrors", root, "mirrors-away"), 0); /* an errno of no kind */
    CU_ASSERT_FALSE(apply_file(&k.store, "/f", &error));
    CU_ASSERT_FALSE(g_error_matches(error, FILEDUP_ERROR, FILEDUP_ERROR_FATAL));
    g_clear_error(&error);
    CU_ASSERT_EQUAL(renameat(root, "mirrors-away", root, "mirrors"), 0);
    kit_apply_all(&k);
    kit_expect(&k, "/f", 0, "new");
    kit_expect(&k, "/g", 0, "another");
    kit_close(&k);
}

static const UnitTest tests[] = {
    UNIT_TEST(of_several_contents_the_newest_is_the_mirror),
    UNIT_TEST(a_file_deleted_and_made_again_keeps_its_deleted_content),
    UNIT_TEST(what_a_restore_replaced_is_a_point_and_not_the_mirror),
    UNIT_TEST(a_fuzzy_content_does_not_cost_the_stable_one),
    UNIT_TEST(a_fuzzy_content_that_stands_still_becomes_the_stable_one),
    UNIT_TEST(a_deleted_file_keeps_its_stable_content_beside_a_fuzzy_one),
    UNIT_TEST(staged_contents_are_moved_and_superseded_ones_removed),
    UNIT_TEST(a_staged_file_is_synced_as_it_was_handed_out_or_refused),
    UNIT_TEST(attributes_alone_change_the_mirror_and_not_its_content),
    UNIT_TEST(apply_killed_at_any_step_converges),
    UNIT_TEST(a_staged_mirror_that_the_catalog_never_saw_can_become_a_point),
    UNIT_TEST(applying_what_is_applied_changes_nothing),
    UNIT_TEST(files_applied_out_of_order_are_not_applied_twice),
    UNIT_TEST(a_content_that_is_lost_costs_no_other_and_is_reported),
    UNIT_TEST(a_mirror_that_was_removed_stops_nothing_and_costs_no_point),
    UNIT_TEST(a_file_that_cannot_be_applied_hinders_no_other),
};
UNIT_MAIN("apply", tests)
