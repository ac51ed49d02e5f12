/* rebuild.c - a store that has lost its catalog */

#include "config.h"

#include <fcntl.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/error.h"
#include "store/check.h"
#include "store/compact.h"
#include "store/mirror.h"
#include "store/rebuild.h"
#include "store/thin.h"
#include "tests/unit/pointkit.h"
#include "tests/unit/unit.h"

#define MIB 1048576

/* ---- a store with an account of what it was given, and has not applied yet perhaps ---- */

typedef struct Given {
    char *path;
    guint64 id;
    GBytes *bytes;
} Given;

typedef struct Model {
    Kit kit;
    char *path;
    GPtrArray *given; /* Given: all stable */
    GRand *random;
} Model;

static void
given_free(gpointer data)
{
    Given *g = data;

    g_free(g->path);
    g_bytes_unref(g->bytes);
    g_free(g);
}

static void
model_init(Model *m, const char *name, guint32 seed)
{
    *m = (Model){.path = unit_path(name), .random = g_rand_new_with_seed(seed)};
    m->given = g_ptr_array_new_with_free_func(given_free);
    kit_open(&m->kit, m->path);
}

static void
model_clear(Model *m)
{
    kit_close(&m->kit);
    g_ptr_array_unref(m->given);
    g_rand_free(m->random);
    g_free(m->path);
}

static const Given *
newest(const Model *m, const char *path)
{
    for (guint i = m->given->len; i-- > 0;)
        if (g_str_equal(((const Given *) m->given->pdata[i])->path, path))
            return m->given->pdata[i];
    return NULL;
}

static void
give(Model *m, const char *path, const void *data, gsize n, gboolean whole)
{
    const Given *before = newest(m, path);
    Given *g = g_new0(Given, 1);
    gsize n_old = 0;
    const void *old = before ? g_bytes_get_data(before->bytes, &n_old) : NULL;

    g->path = g_strdup(path);
    g->bytes = g_bytes_new(data, n);
    if (!before || whole)
        g->id = n > 4 * MIB ? kit_append_staged(&m->kit, path, data, n, CAUSE_CLOSE)
                            : kit_append(&m->kit, path, data, n, CAUSE_CLOSE, QUALITY_STABLE);
    else
        g->id = kit_append_ranges(&m->kit, path, old, n_old, data, n, QUALITY_STABLE);
    g_ptr_array_add(m->given, g);
}

static void
scribble(Model *m, guint8 *data, gsize n)
{
    for (gsize i = 0; i < n; i++)
        data[i] = (guint8) g_rand_int(m->random);
}

/* The newest content, some of it changed; or all of it. */
static void
give_change(Model *m, const char *path, gsize most)
{
    const Given *before = newest(m, path);
    gsize n_old = before ? g_bytes_get_size(before->bytes) : 0, n = n_old;
    gboolean whole = !before || g_rand_int_range(m->random, 0, 6) == 0;

    if (n == 0 || g_rand_int_range(m->random, 0, 4) == 0)
        n = (gsize) g_rand_int_range(m->random, (gint32) most / 2, (gint32) most);
    g_autofree guint8 *data = g_malloc0(n);
    if (before)
        memcpy(data, g_bytes_get_data(before->bytes, NULL), MIN(n, n_old));
    for (gint i = g_rand_int_range(m->random, 1, 4); i > 0; i--) {
        gsize at = (gsize) g_rand_int_range(m->random, 0, (gint32) n);
        gsize length = (gsize) g_rand_int_range(m->random, 1, 30000);
        length = MIN(length, n - at);
        if (g_rand_int_range(m->random, 0, 4) == 0)
            memset(data + at, 0, length);
        else
            scribble(m, data + at, length);
    }
    scribble(m, data, 8); /* no two are the same */
    give(m, path, data, n, whole);
}

/* A file's first content has no word in a pack: when the journal has forgotten it, it comes back with
 * another id. */
static gboolean
is_there_unrecorded(Model *m, const Given *g)
{
    g_autoptr(GError) error = NULL;
    g_autoptr(FileView) v = store_view(&m->kit.store, g->path, CATALOG_POINTS, &error);

    UNIT_NO_ERROR(error);
    g_autoptr(GPtrArray) points = view_points(v);
    for (guint i = 0; i < points->len; i++) {
        const Point *p = points->pdata[i];
        if (p->quality != QUALITY_FUZZY)
            continue;
        g_autoptr(GBytes) data = kit_content(&m->kit, g->path, p->id);
        if (g_bytes_equal(data, g->bytes))
            return TRUE;
    }
    return FALSE;
}

static gboolean
is_first(const Model *m, const Given *g)
{
    for (guint i = 0; m->given->pdata[i] != g; i++)
        if (g_str_equal(((const Given *) m->given->pdata[i])->path, g->path))
            return FALSE;
    return TRUE;
}

/* Everything that was given is there, under its id. */
static void
expect_all(Model *m)
{
    for (guint i = 0; i < m->given->len; i++) {
        const Given *g = m->given->pdata[i];
        gsize n;
        const void *data = g_bytes_get_data(g->bytes, &n);
        g_autoptr(GError) error = NULL;
        g_autoptr(GBytes) there = kit_try_content(&m->kit, g->path, g->id, &error);
        if (!there && is_first(m, g) && is_there_unrecorded(m, g))
            continue;
        if (!there)
            g_printerr("    %s %s %" G_GUINT64_FORMAT ": %s\n", m->path, g->path, g->id,
                       error ? error->message : "no such point");
        kit_expect_bytes(&m->kit, g->path, g->id, data, n);
    }
    for (guint i = 0; i < m->given->len; i++) { /* and the newest is the newest */
        const Given *g = m->given->pdata[i];
        if (newest(m, g->path) != g)
            continue;
        gsize n;
        const void *data = g_bytes_get_data(g->bytes, &n);
        kit_expect_bytes(&m->kit, g->path, 0, data, n);
    }
}

/* ---- losing it ---- */

static void
lose_catalog(const char *store)
{
    static const char *const names[] = {"catalog.db", "catalog.db-wal", "catalog.db-shm"};

    for (guint i = 0; i < G_N_ELEMENTS(names); i++) {
        g_autofree char *name = g_build_filename(store, names[i], NULL);
        (void) unlink(name);
    }
}

static void
print_troubles(const Rebuilt *r)
{
    for (guint i = 0; i < r->troubles->len; i++) {
        const Trouble *t = r->troubles->pdata[i];
        g_printerr("    %s %s %" G_GUINT64_FORMAT ": %s\n", t->damage ? "damage" : "note",
                   t->path ? t->path : "-", t->point, t->text);
    }
}

static void
rebuild_with(const char *store, gboolean force, Rebuilt *r)
{
    g_autoptr(GError) error = NULL;

    (void) store_rebuild(store, force, r, &error);
    UNIT_NO_ERROR(error);
}

/* With nothing lost. */
static void
rebuild_whole(const char *store)
{
    g_auto(Rebuilt) r = {0};

    rebuild_with(store, FALSE, &r);
    if (troubles_have_damage(r.troubles))
        print_troubles(&r);
    CU_ASSERT_FALSE(troubles_have_damage(r.troubles));
}

static void
lose_and_rebuild(Model *m)
{
    kit_close(&m->kit);
    lose_catalog(m->path);
    rebuild_whole(m->path);
    kit_open(&m->kit, m->path);
    CU_ASSERT_TRUE(m->kit.report.damage); /* so the daemon compares all contents */
}

static void
live(Model *m, guint n)
{
    static const char *const paths[] = {"/a", "/b/c", "/large", "/staged"};
    static const gsize sizes[] = {20000, 300000, 2 * MIB, 5 * MIB};

    for (guint i = 0; i < n; i++) {
        guint k = i < 4 ? i : (guint) g_rand_int_range(m->random, 0, i % 7 == 0 ? 4 : 3);
        give_change(m, paths[k], sizes[k]);
        if (g_rand_int_range(m->random, 0, 3) == 0)
            kit_apply_all(&m->kit);
    }
}

static void
everything_comes_back(void)
{
    for (guint32 seed = 1; seed <= 4; seed++) {
        g_autofree char *name = g_strdup_printf("store-%u", seed);
        Model m;
        model_init(&m, name, seed);
        live(&m, 40); /* some of it is not applied */
        lose_and_rebuild(&m);
        expect_all(&m);
        kit_apply_all(&m.kit);
        expect_all(&m);
        live(&m, 10);
        kit_apply_all(&m.kit);
        lose_and_rebuild(&m); /* all is applied */
        expect_all(&m);
        model_clear(&m);
    }
}

static void
garbled_and_cut_catalogs_are_put_aside(void)
{
    for (guint how = 0; how < 3; how++) {
        g_autofree char *name = g_strdup_printf("store-%u", how);
        g_auto(Rebuilt) r = {0};
        Model m;
        model_init(&m, name, how);
        live(&m, 12);
        kit_close(&m.kit);
        g_autofree char *catalog = g_build_filename(m.path, "catalog.db", NULL);
        g_autofree char *wal = g_build_filename(m.path, "catalog.db-wal", NULL);
        (void) unlink(wal);
        g_auto(Fd) fd = open(catalog, O_WRONLY);
        guint8 noise[20000];
        scribble(&m, noise, sizeof noise);
        if (how == 0)
            CU_ASSERT_TRUE(fd_pwrite_full(fd, noise, sizeof noise, 0));
        if (how == 1)
            CU_ASSERT_EQUAL(ftruncate(fd, 5000), 0);
        if (how == 2)
            CU_ASSERT_TRUE(fd_pwrite_full(fd, noise, sizeof noise, 8192));
        rebuild_with(m.path, FALSE, &r);
        CU_ASSERT_STRING_EQUAL(r.aside, "catalog.db.before-rebuild-1");
        g_autofree char *aside = g_build_filename(m.path, r.aside, NULL);
        CU_ASSERT_EQUAL(access(aside, F_OK), 0);
        kit_open(&m.kit, m.path);
        expect_all(&m);
        model_clear(&m);
    }
}

static void
a_whole_catalog_is_left_alone_unless_forced(void)
{
    g_auto(Rebuilt) r = {0}, forced = {0};
    g_autoptr(GError) error = NULL;
    Model m;

    model_init(&m, "store", 1);
    live(&m, 12);
    kit_apply_all(&m.kit);
    CU_ASSERT_FALSE(store_rebuild(m.path, FALSE, &r, &error));
    CU_ASSERT_TRUE(g_error_matches(error, FILEDUP_ERROR, FILEDUP_ERROR_BUSY));
    g_autofree char *pid = g_strdup_printf("process %d", (int) getpid());
    CU_ASSERT_PTR_NOT_NULL(strstr(error->message, pid));
    g_clear_error(&error);
    rebuilt_clear(&r);
    kit_close(&m.kit);
    CU_ASSERT_FALSE(store_rebuild(m.path, FALSE, &r, &error));
    CU_ASSERT_TRUE(g_error_matches(error, FILEDUP_ERROR, FILEDUP_ERROR_REFUSED));
    rebuild_with(m.path, TRUE, &forced);
    CU_ASSERT_FALSE(troubles_have_damage(forced.troubles));
    kit_open(&m.kit, m.path);
    expect_all(&m);
    model_clear(&m);
}

/* ---- kills ---- */

/* Opens and applies in a process that is killed at the nth of these steps. FALSE: it was not. */
static gboolean
apply_and_crash(Model *m, const char *step, guint nth)
{
    g_autofree char *crash = g_strdup_printf("%s:%u", step, nth);
    int status = 0;

    kit_close(&m->kit);
    pid_t child = fork();
    if (child == 0) {
        kit_open(&m->kit, m->path);
        g_setenv("FILEDUP_CRASH", crash, TRUE);
        kit_apply_all(&m->kit);
        _exit(0);
    }
    CU_ASSERT_EQUAL_FATAL(waitpid(child, &status, 0), child);
    if (WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL)
        return TRUE;
    CU_ASSERT_TRUE_FATAL(WIFEXITED(status) && WEXITSTATUS(status) == 0);
    return FALSE;
}

static void
a_kill_in_the_middle_of_apply_costs_nothing(void)
{
    static const char *const steps[] = {
        "apply-begin",    "apply-folder",    "apply-point-built", "apply-point",
        "apply-kept",     "apply-saved",     "apply-prepared",    "applying-written",
        "applying-named", "apply-listed",    "mirror-cut",        "mirror-written",
        "apply-built",    "apply-synced",    "apply-renamed",     "apply-placed",
        "apply-committed", "apply-cleaned",  "pack-frame",        "pack-footer"};

    for (guint i = 0; i < G_N_ELEMENTS(steps); i++) {
        for (guint nth = 1; nth <= 3; nth++) {
            g_autofree char *name = g_strdup_printf("store-%u-%u", i, nth);
            Model m;
            model_init(&m, name, 7 * i + nth);
            live(&m, 10);
            kit_apply_all(&m.kit);
            live(&m, 6);
            for (guint k = 0; k < 4; k++)
                give_change(&m, "/large", 2 * MIB);
            gboolean crashed = apply_and_crash(&m, steps[i], nth);
            lose_catalog(m.path);
            rebuild_whole(m.path);
            kit_open(&m.kit, m.path);
            expect_all(&m);
            kit_apply_all(&m.kit);
            expect_all(&m);
            if (crashed && nth == 1) { /* and once more, over what was finished */
                lose_and_rebuild(&m);
                expect_all(&m);
            }
            model_clear(&m);
        }
    }
}

static void
a_rebuild_that_is_killed_is_begun_anew(void)
{
    static const char *const steps[] = {"rebuild-saved", "rebuild-aside", "rebuild-cleared",
                                        "rebuild-named", "rebuild-written"};

    for (guint i = 0; i < G_N_ELEMENTS(steps); i++) {
        g_autofree char *name = g_strdup_printf("store-%u", i);
        g_autofree char *crash = g_strdup_printf("%s:1", steps[i]);
        Model m;
        int status = 0;
        model_init(&m, name, i);
        live(&m, 10);
        kit_apply_all(&m.kit);
        for (guint k = 0; k < 3; k++)
            give_change(&m, "/large", 2 * MIB);
        (void) apply_and_crash(&m, "mirror-written", 1);
        g_autofree char *catalog = g_build_filename(m.path, "catalog.db", NULL);
        CU_ASSERT_EQUAL(truncate(catalog, 3000), 0);
        pid_t child = fork();
        if (child == 0) {
            g_auto(Rebuilt) r = {0};
            g_setenv("FILEDUP_CRASH", crash, TRUE);
            _exit(store_rebuild(m.path, FALSE, &r, NULL) ? 0 : 1);
        }
        CU_ASSERT_EQUAL_FATAL(waitpid(child, &status, 0), child);
        if (strcmp(steps[i], "rebuild-written") != 0) /* only where mirrors are written in place */
            CU_ASSERT_TRUE(WIFSIGNALED(status));
        g_auto(Rebuilt) r = {0};
        g_autoptr(GError) error = NULL;
        if (!store_rebuild(m.path, FALSE, &r, &error)) /* it was done, but for the last sync */
            CU_ASSERT_TRUE(g_error_matches(error, FILEDUP_ERROR, FILEDUP_ERROR_REFUSED));
        kit_open(&m.kit, m.path);
        expect_all(&m);
        kit_apply_all(&m.kit);
        expect_all(&m);
        model_clear(&m);
    }
}

/* As a crash in the middle of writing it leaves it: the first half is new, or the second. */
static gboolean
mix_mirror(Model *m, gboolean second)
{
    const Given *g = newest(m, "/large");
    g_autoptr(GError) error = NULL;
    g_autofree char *pattern = g_build_filename(m->path, "mirrors", NULL);
    g_autoptr(GDir) dir = g_dir_open(pattern, 0, &error);
    const char *name;
    gsize n;

    UNIT_NO_ERROR(error);
    const guint8 *data = g_bytes_get_data(g->bytes, &n);
    while ((name = g_dir_read_name(dir))) {
        if (!g_str_has_suffix(name, "-large"))
            continue;
        g_autofree char *mirror = g_build_filename(pattern, name, "large", NULL);
        g_auto(Fd) fd = open(mirror, O_RDWR);
        return fd >= 0 && ftruncate(fd, (off_t) n) == 0 &&
               fd_pwrite_full(fd, data + (second ? n / 2 : 0), n / 2, second ? n / 2 : 0);
    }
    return FALSE;
}

static void
an_update_in_place_is_finished(void)
{
    for (guint32 seed = 0; seed < 8; seed++) {
        g_autofree char *name = g_strdup_printf("store-%u", seed);
        Model m;
        int status = 0;
        model_init(&m, name, 100 + seed);
        live(&m, 10);
        kit_apply_all(&m.kit);
        const Given *before = newest(&m, "/large");
        gsize n;
        const void *old = g_bytes_get_data(before->bytes, &n);
        g_autofree guint8 *data = g_malloc0(n + 50000);
        memcpy(data, old, n);
        for (guint k = 0; k < 12; k++) /* more than one pending, and of another size */
            scribble(&m, data + k * (n / 12), 5000);
        give(&m, "/large", data, n + (seed % 3 == 0 ? 50000 : 0) - (seed % 3 == 1 ? 9000 : 0), FALSE);
        if (seed % 2) {
            memset(data + 100000, 7, 100000);
            give(&m, "/large", data, n, FALSE);
        }
        if (!apply_and_crash(&m, "apply-listed", 1)) {
            unit_skip("mirrors are cloned here, not written in place");
            kit_open(&m.kit, m.path);
            model_clear(&m);
            return;
        }
        CU_ASSERT_TRUE(mix_mirror(&m, seed & 4));
        lose_catalog(m.path);
        pid_t child = fork();
        if (child == 0) {
            g_auto(Rebuilt) r = {0};
            g_setenv("FILEDUP_CRASH", "rebuild-written:1", TRUE);
            _exit(store_rebuild(m.path, FALSE, &r, NULL) ? 0 : 1);
        }
        CU_ASSERT_EQUAL_FATAL(waitpid(child, &status, 0), child);
        CU_ASSERT_TRUE(WIFSIGNALED(status));
        if (seed % 2 == 0)
            CU_ASSERT_TRUE(mix_mirror(&m, !(seed & 4)));
        rebuild_whole(m.path);
        kit_open(&m.kit, m.path);
        expect_all(&m);
        kit_apply_all(&m.kit);
        expect_all(&m);
        model_clear(&m);
    }
}

/* ---- thinned and compacted ---- */

static void
what_thinning_left_comes_back(void)
{
    g_autoptr(GRand) random = g_rand_new_with_seed(5);
    g_autoptr(GError) error = NULL;
    g_auto(Rebuilt) r = {0};
    PointKit p;

    pointkit_init(&p);
    for (guint i = 0; i < 60; i++)
        (void) pointkit_vary(&p, random, i % 3 ? "/one" : "/two", 200000);
    pointkit_policy(&p, "/one", "2h", 3);
    RetentionNow now = pointkit_now(G_GINT64_CONSTANT(2) * 3600 * G_USEC_PER_SEC);
    Thinning t = {.now = now};
    gboolean more = TRUE;
    while (more)
        CU_ASSERT_TRUE_FATAL(thin_step(&p.kit.store, &t, &more, &error));
    CU_ASSERT_TRUE(t.n_points > 10);
    packs_roll(p.kit.store.packs);
    (void) pointkit_vary(&p, random, "/two", 200000);
    for (more = TRUE; more;)
        CU_ASSERT_TRUE_FATAL(compact_step(&p.kit.store, &more, NULL, &error));
    g_autofree char *one = pointkit_ids(&p, "/one"), *two = pointkit_ids(&p, "/two");
    pointkit_close(&p);
    lose_catalog(p.path);
    rebuild_with(p.path, FALSE, &r);
    pointkit_open(&p);
    (void) pointkit_check(&p); /* what is listed is what was given */
    g_autofree char *one_now = pointkit_ids(&p, "/one"), *two_now = pointkit_ids(&p, "/two");
    g_auto(GStrv) wanted = g_strsplit(one, " ", -1), there = g_strsplit(one_now, " ", -1);
    for (char **id = wanted; *id; id++)
        CU_ASSERT_TRUE(g_strv_contains((const char *const *) there, *id));
    CU_ASSERT_STRING_EQUAL(two, two_now);
    pointkit_clear(&p);
}

/* ---- what is not as it should be ---- */

static void
a_damaged_pack_costs_the_points_that_need_it(void)
{
    g_autofree char *pack = NULL;
    g_auto(Rebuilt) r = {0};
    PointKit p;
    guint64 ids[8];
    struct stat st;

    pointkit_init(&p);
    g_autofree guint8 *data = g_malloc(400000);
    pointkit_noise(&p, data, 400000);
    ids[0] = pointkit_save(&p, "/one", data, 400000);
    for (guint i = 1; i < 8; i++) /* each at a place of its own */
        ids[i] = pointkit_change(&p, "/one", i * 40960, 8192);
    pack = g_build_filename(p.path, "history", "00000001.pack", NULL);
    pointkit_close(&p);
    CU_ASSERT_EQUAL(stat(pack, &st), 0);
    g_auto(Fd) fd = open(pack, O_RDWR);
    guint8 bad[64] = {1, 2, 3};
    CU_ASSERT_TRUE(fd_pwrite_full(fd, bad, sizeof bad, 96 + 48 + 2000)); /* of the first batch */
    lose_catalog(p.path);
    rebuild_with(p.path, FALSE, &r);
    CU_ASSERT_TRUE(troubles_have_damage(r.troubles));
    guint n_left_out = 0;
    for (guint i = 0; i < r.troubles->len; i++) {
        const Trouble *t = r.troubles->pdata[i];
        if (t->point == 0)
            continue;
        CU_ASSERT_EQUAL(t->point, ids[0]);
        CU_ASSERT_STRING_EQUAL(t->path, "/one");
        n_left_out++;
    }
    CU_ASSERT_EQUAL(n_left_out, 1);
    struct stat now;
    pointkit_open(&p);
    CU_ASSERT_EQUAL(pointkit_check(&p), 7);
    CU_ASSERT_EQUAL(stat(pack, &now), 0);
    CU_ASSERT_EQUAL(now.st_size, st.st_size); /* nothing was cut off */
    (void) pointkit_change(&p, "/one", 0, 100);
    CU_ASSERT_EQUAL(pointkit_check(&p), 8);
    pointkit_close(&p);
    lose_catalog(p.path);
    g_auto(Rebuilt) again = {0};
    rebuild_with(p.path, FALSE, &again);
    pointkit_open(&p);
    CU_ASSERT_EQUAL(pointkit_check(&p), 8);
    pointkit_clear(&p);
}

static void
a_file_that_never_changed_is_of_unknown_recording(void)
{
    g_auto(Rebuilt) r = {0};
    Kit k;
    g_autofree char *store = unit_path("store");
    g_autoptr(GError) error = NULL;

    kit_open(&k, store);
    (void) kit_append(&k, "/quiet", "never changed", 13, CAUSE_FIRST, QUALITY_STABLE);
    kit_apply_all(&k);
    (void) catalog_set_clean(k.store.catalog, journal_last_seq(k.store.journal), &error);
    kit_close(&k);
    kit_open(&k, store); /* the journal has nothing of it any more */
    kit_close(&k);
    g_autofree char *journal = g_build_filename(store, "journal", NULL);
    lose_catalog(store);
    rebuild_with(store, FALSE, &r);
    CU_ASSERT_FALSE(troubles_have_damage(r.troubles));
    CU_ASSERT_EQUAL(r.files, 1);
    kit_open(&k, store);
    kit_expect(&k, "/quiet", 0, "never changed");
    g_autoptr(FileView) v = store_view(&k.store, "/quiet", CATALOG_UNDO, &error);
    UNIT_NO_ERROR(error);
    guint64 id = v->current->id;
    CU_ASSERT_EQUAL(v->current->quality, QUALITY_FUZZY);
    CU_ASSERT_EQUAL(v->current->stat.ino, 0);
    /* What comes next does not make it go. */
    (void) kit_append(&k, "/quiet", "changed", 7, CAUSE_CLOSE, QUALITY_STABLE);
    kit_apply_all(&k);
    kit_expect(&k, "/quiet", 0, "changed");
    kit_expect(&k, "/quiet", id, "never changed");
    kit_close(&k);
}

static void
a_mirror_that_somebody_changed_is_not_passed_off_as_good(void)
{
    g_auto(Rebuilt) r = {0};
    PointKit p;

    pointkit_init(&p);
    g_autofree guint8 *data = g_malloc(100000);
    pointkit_noise(&p, data, 100000);
    guint64 first = pointkit_save(&p, "/one", data, 100000);
    (void) pointkit_change(&p, "/one", 0, 4096);
    guint64 id = pointkit_change(&p, "/one", 50000, 4096);
    g_autoptr(GError) error = NULL;
    g_autoptr(FileView) v = store_view(&p.kit.store, "/one", CATALOG_NEWEST, &error);
    g_autofree char *name = mirror_path(v->id, "/one");
    g_autofree char *mirror = g_build_filename(p.path, name, NULL);
    pointkit_close(&p);
    g_auto(Fd) fd = open(mirror, O_WRONLY);
    CU_ASSERT_TRUE(fd_pwrite_full(fd, "bad", 3, 50100)); /* where the older ones have undo */
    g_autofree char *journal = g_build_filename(p.path, "journal", NULL);
    g_autofree char *command = g_strdup_printf("rm -f '%s'/*", journal);
    CU_ASSERT_EQUAL(system(command), 0);
    lose_catalog(p.path);
    rebuild_with(p.path, FALSE, &r);
    CU_ASSERT_TRUE(troubles_have_damage(r.troubles));
    kit_open(&p.kit, p.path);
    g_autoptr(FileView) now = store_view(&p.kit.store, "/one", CATALOG_UNDO, &error);
    UNIT_NO_ERROR(error);
    CU_ASSERT_TRUE(now->current->id > id);
    CU_ASSERT_EQUAL(now->current->quality, QUALITY_FUZZY);
    CU_ASSERT_EQUAL(now->points->len, 2);
    kit_expect_bytes(&p.kit, "/one", first, data, 100000);
    Point *stable = view_point(now, view_stable_point(now));
    CU_ASSERT_TRUE_FATAL(stable != NULL);
    CU_ASSERT_TRUE(stable->kept & KEPT_STABLE);
    pointkit_clear(&p);
}

static void
what_nobody_knows_is_not_swept_away(void)
{
    g_auto(Rebuilt) r = {0};
    Model m;
    struct stat st;

    model_init(&m, "store", 3);
    live(&m, 8);
    kit_apply_all(&m.kit);
    kit_close(&m.kit);
    g_autofree char *whole = g_build_filename(m.path, "history", "9000-17-lost.txt", NULL);
    g_autofree char *folder = g_build_filename(m.path, "mirrors", "9001-odd", NULL);
    g_autofree char *odd = g_build_filename(folder, "odd", NULL);
    unit_write(whole, "whose is it", -1);
    CU_ASSERT_EQUAL(mkdir(folder, 0700), 0);
    unit_write(odd, "and this", -1);
    lose_catalog(m.path);
    rebuild_with(m.path, FALSE, &r);
    CU_ASSERT_TRUE(troubles_have_damage(r.troubles));
    kit_open(&m.kit, m.path);
    expect_all(&m);
    kit_expect(&m.kit, "/filedup-unknown/9000/lost.txt", 17, "whose is it");
    kit_expect(&m.kit, "/filedup-unknown/9001/odd", 0, "and this");
    CU_ASSERT_EQUAL(stat(whole, &st), 0);
    model_clear(&m);
}

/* ---- stores of format 1 ---- */

static gboolean
unpack(const char *sample, const char *to)
{
    g_autofree char *command =
        g_strdup_printf("mkdir '%s' && zstd -dqc '" SOURCE_FOLDER "/tests/data/%s.tar.zst' |"
                        " tar -x -C '%s' --no-same-owner --strip-components=1",
                        to, sample, to);

    if (system(command) == 0)
        return TRUE;
    unit_skip("needs zstd and tar");
    return FALSE;
}

static void
stores_of_format_1_come_back(void)
{
    static const char *const samples[] = {"store-1-clean", "store-1-pending"};

    for (guint i = 0; i < G_N_ELEMENTS(samples); i++) {
        g_autofree char *store = unit_path(samples[i]);
        g_auto(Rebuilt) r = {0};
        g_autoptr(GError) error = NULL;
        Kit k;
        if (!unpack(samples[i], store))
            return;
        lose_catalog(store);
        rebuild_with(store, FALSE, &r);
        kit_open(&k, store);
        kit_expect(&k, "/sample/one", 0, "one, fourth\n");
        kit_expect(&k, "/sample/two", 0,
                   i ? "two, newer than the mirror\n" : "two, overwritten by mistake\n");
        g_autoptr(GBytes) gone = kit_content(&k, "/sample/gone", 0);
        CU_ASSERT_EQUAL(g_bytes_get_size(gone), 100);
        g_autoptr(GBytes) large = kit_content(&k, "/sample/large", 0);
        CU_ASSERT_EQUAL(g_bytes_get_size(large), 9437189);
        g_autoptr(FileView) v = store_view(&k.store, "/sample/one", CATALOG_UNDO, &error);
        gboolean found = FALSE;
        for (guint n = 0; n < v->points->len; n++) {
            g_autoptr(GBytes) point =
                kit_content(&k, "/sample/one", ((const Point *) v->points->pdata[n])->id);
            found |= g_bytes_get_size(point) == 12 &&
                     memcmp(g_bytes_get_data(point, NULL), "one, second", 11) == 0;
        }
        CU_ASSERT_TRUE(found);
        kit_apply_all(&k);
        kit_expect(&k, "/sample/one", 0, "one, fourth\n");
        kit_close(&k);
    }
}

/* ---- store check ---- */

/* The texts of what is damaged (or, not `damage`, only noted), one line each. */
static char *
checked(const char *store, gboolean read, gboolean damage)
{
    g_auto(Checked) c = {0};
    g_autoptr(GError) error = NULL;
    GString *text = g_string_new(NULL);

    CU_ASSERT_TRUE(store_check(store, read, &c, &error));
    UNIT_NO_ERROR(error);
    for (guint i = 0; i < c.troubles->len; i++) {
        const Trouble *t = c.troubles->pdata[i];
        if (t->damage == damage)
            g_string_append_printf(text, "%s\n", t->text);
    }
    return g_string_free(text, FALSE);
}

static void
expect_found(const char *store, gboolean read, gboolean damage, const char *wanted)
{
    g_autofree char *text = checked(store, read, damage);

    if (!strstr(text, wanted))
        g_printerr("    not found: %s, but: %s\n", wanted, text);
    CU_ASSERT_PTR_NOT_NULL(strstr(text, wanted));
}

static void
expect_clean(const char *store)
{
    g_autofree char *text = checked(store, TRUE, TRUE);

    if (*text)
        g_printerr("    %s", text);
    CU_ASSERT_STRING_EQUAL(text, "");
}

static void
poke(const char *file, goffset at)
{
    g_auto(Fd) fd = open(file, O_RDWR);
    guint8 byte;

    CU_ASSERT_TRUE_FATAL(fd_pread_full(fd, &byte, 1, at));
    byte ^= 0x55;
    CU_ASSERT_TRUE_FATAL(fd_pwrite_full(fd, &byte, 1, at));
}

static void
check_finds_what_was_planted(void)
{
    g_autoptr(GError) error = NULL;
    PointKit p;

    pointkit_init(&p);
    g_autofree guint8 *data = g_malloc(3 * MIB);
    pointkit_noise(&p, data, 3 * MIB);
    guint64 first = pointkit_save(&p, "/one", data, 3 * MIB);
    (void) pointkit_change(&p, "/one", 0, 9000);
    pointkit_noise(&p, data, 3 * MIB);
    guint64 last = pointkit_save_whole(&p, "/one", data, 3 * MIB);
    g_autoptr(FileView) v = store_view(&p.kit.store, "/one", CATALOG_POINTS, &error);
    UNIT_NO_ERROR(error);
    const Point *kept = v->points->pdata[v->points->len - 1];
    g_autofree char *mirror_name = mirror_path(v->id, "/one");
    g_autofree char *whole_name = mirror_history_path(v->id, kept->whole, "/one");
    g_autofree char *mirror = g_build_filename(p.path, mirror_name, NULL);
    g_autofree char *whole = g_build_filename(p.path, whole_name, NULL);
    g_autofree char *pack = g_build_filename(p.path, "history", "00000001.pack", NULL);
    g_autofree char *hidden = g_build_filename(p.path, "hidden", NULL);
    (void) last;
    (void) first;
    pointkit_close(&p);
    expect_clean(p.path);

    poke(mirror, 100000);
    expect_found(p.path, TRUE, TRUE, "damaged: 16384 bytes at 98304");
    g_autofree char *quick = checked(p.path, FALSE, TRUE);
    CU_ASSERT_STRING_EQUAL(quick, ""); /* contents are not read then */
    poke(mirror, 100000);
    expect_clean(p.path);

    CU_ASSERT_EQUAL(truncate(mirror, 3 * MIB + 1), 0);
    expect_found(p.path, FALSE, TRUE, "its mirror has 3145729 bytes");
    CU_ASSERT_EQUAL(truncate(mirror, 3 * MIB), 0);

    CU_ASSERT_EQUAL(rename(mirror, hidden), 0);
    expect_found(p.path, FALSE, TRUE, "its mirror: ");
    CU_ASSERT_EQUAL(rename(hidden, mirror), 0);

    CU_ASSERT_EQUAL(rename(whole, hidden), 0);
    expect_found(p.path, FALSE, TRUE, "is not there");
    CU_ASSERT_EQUAL(rename(hidden, whole), 0);

    poke(pack, 3000);
    expect_found(p.path, FALSE, TRUE, "pack 1 at");
    poke(pack, 3000);
    expect_clean(p.path);

    CU_ASSERT_EQUAL(rename(pack, hidden), 0);
    expect_found(p.path, FALSE, TRUE, "pack 1 is missing");
    CU_ASSERT_EQUAL(rename(hidden, pack), 0);

    g_autofree char *orphan = g_build_filename(p.path, "history", "77-5-odd", NULL);
    g_autofree char *staged = g_build_filename(p.path, "staged", "odd", NULL);
    unit_write(orphan, "x", 1);
    unit_write(staged, "x", 1);
    expect_found(p.path, FALSE, FALSE, "nothing refers to 'history/77-5-odd'");
    expect_found(p.path, FALSE, FALSE, "nothing refers to 'staged/odd'");
    (void) unlink(orphan);
    (void) unlink(staged);

    g_autofree char *catalog = g_build_filename(p.path, "catalog.db", NULL);
    CU_ASSERT_EQUAL(rename(catalog, hidden), 0);
    expect_found(p.path, FALSE, TRUE, "catalog.db");
    CU_ASSERT_EQUAL(rename(hidden, catalog), 0);
    expect_clean(p.path);
    kit_open(&p.kit, p.path);
    pointkit_clear(&p);
}

static const UnitTest tests[] = {
    UNIT_TEST(check_finds_what_was_planted),
    UNIT_TEST(everything_comes_back),
    UNIT_TEST(garbled_and_cut_catalogs_are_put_aside),
    UNIT_TEST(a_whole_catalog_is_left_alone_unless_forced),
    UNIT_TEST(a_kill_in_the_middle_of_apply_costs_nothing),
    UNIT_TEST(a_rebuild_that_is_killed_is_begun_anew),
    UNIT_TEST(an_update_in_place_is_finished),
    UNIT_TEST(what_thinning_left_comes_back),
    UNIT_TEST(a_damaged_pack_costs_the_points_that_need_it),
    UNIT_TEST(a_file_that_never_changed_is_of_unknown_recording),
    UNIT_TEST(a_mirror_that_somebody_changed_is_not_passed_off_as_good),
    UNIT_TEST(what_nobody_knows_is_not_swept_away),
    UNIT_TEST(stores_of_format_1_come_back),
};

UNIT_MAIN("rebuild", tests)
