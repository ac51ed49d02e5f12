/* Compaction: space comes back, contents stay, wherever it is interrupted. */

#include "config.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "base/error.h"
#include "store/compact.h"
#include "store/image.h"
#include "store/packfile.h"
#include "store/thin.h"
#include "tests/unit/pointkit.h"
#include "tests/unit/unit.h"

#define HOUR ((gint64) 3600 * G_USEC_PER_SEC)
#define A    "/srv/a.db"
#define B    "/srv/b.db"

/* A disk that is full on demand: stands before libc's. */
static gboolean full;

ssize_t
pwrite(int fd, const void *buffer, size_t n, off_t offset)
{
    if (!full)
        return (ssize_t) syscall(SYS_pwrite64, fd, buffer, n, offset);
    errno = ENOSPC;
    return -1;
}

/* A disk that does not let a frame be read. */
static gboolean sick;

ssize_t
pread(int fd, void *buffer, size_t n, off_t offset)
{
    if (!sick || (n != FRAME_HEADER_BYTES + PACK_FRAME_BYTES && n != FRAME_HEADER_BYTES))
        return (ssize_t) syscall(SYS_pread64, fd, buffer, n, offset);
    errno = EIO;
    return -1;
}

static void
thin_all(PointKit *p)
{
    Thinning t = {.now = pointkit_now(2 * HOUR)};
    g_autoptr(GError) error = NULL;
    gboolean more = TRUE;

    while (more) {
        (void) thin_step(&p->kit.store, &t, &more, &error);
        UNIT_NO_ERROR(error);
    }
}

static guint
compact_all(PointKit *p)
{
    g_autoptr(GError) error = NULL;
    gboolean more = TRUE, removed;
    guint n = 0;

    while (more) {
        (void) compact_step(&p->kit.store, &more, &removed, &error);
        UNIT_NO_ERROR(error);
        n += removed;
    }
    return n;
}

static void
roll(PointKit *p)
{
    packs_roll(p->kit.store.packs);
}

/* Two files, twelve contents each, in pack 1; two of each are named, the rest is thinned. The file
 * b.db goes on in pack 2. */
static void
mostly_dead(PointKit *p)
{
    g_autofree guint8 *data = g_malloc0(200000);
    guint64 id;

    pointkit_init(p);
    pointkit_noise(p, data, 200000);
    (void) pointkit_save(p, A, data, 200000);
    (void) pointkit_save(p, B, data, 200000);
    for (guint i = 0; i < 12; i++) {
        id = pointkit_change(p, A, i * 8192, 20000);
        if (i == 2 || i == 7)
            pointkit_name(p, A, id, "a");
        id = pointkit_change(p, B, i * 12288, 20000);
        if (i == 3 || i == 4)
            pointkit_name(p, B, id, "b");
    }
    roll(p);
    (void) pointkit_change(p, B, 0, 4096);
    pointkit_policy(p, A, "", 0);
    pointkit_policy(p, B, "", 2);
    thin_all(p);
    CU_ASSERT_EQUAL(pointkit_check(p), 3 + 4);
    CU_ASSERT_EQUAL(pointkit_n_packs(p), 2);
}

static gboolean
has_pack(PointKit *p, guint64 pack)
{
    g_autofree char *name = packfile_name(pack);
    g_autofree char *path = g_build_filename(p->path, "history", name, NULL);

    return access(path, F_OK) == 0;
}

static void
a_mostly_dead_pack_is_emptied_and_goes(void)
{
    PointKit p;

    mostly_dead(&p);
    CU_ASSERT_TRUE(compact_dead_bytes(&p.kit.store) > 200000);
    CU_ASSERT_EQUAL(compact_all(&p), 1);
    CU_ASSERT_EQUAL(compact_dead_bytes(&p.kit.store), 0);
    CU_ASSERT_FALSE(has_pack(&p, 1));
    CU_ASSERT_EQUAL(pointkit_n_packs(&p), 1);
    CU_ASSERT_EQUAL(pointkit_check(&p), 7);
    pointkit_close(&p);
    pointkit_open(&p);
    CU_ASSERT_EQUAL(pointkit_check(&p), 7);
    CU_ASSERT_EQUAL(compact_all(&p), 0);
    (void) pointkit_change(&p, A, 100, 50000);
    CU_ASSERT_EQUAL(pointkit_check(&p), 8);
    pointkit_clear(&p);
}

static void
a_pack_that_is_mostly_alive_or_being_filled_stays(void)
{
    PointKit p;
    g_autofree guint8 *data = g_malloc0(100000);

    pointkit_init(&p);
    pointkit_noise(&p, data, 100000);
    (void) pointkit_save(&p, A, data, 100000);
    for (guint i = 0; i < 6; i++)
        (void) pointkit_change(&p, A, i * 8192, 8192);
    pointkit_policy(&p, A, "", 5);
    thin_all(&p);
    CU_ASSERT_EQUAL(compact_all(&p), 0); /* the newest */
    roll(&p);
    (void) pointkit_change(&p, A, 60000, 8192);
    CU_ASSERT_EQUAL(compact_all(&p), 0); /* alive */
    pointkit_policy(&p, A, "", 1);
    thin_all(&p);
    CU_ASSERT_EQUAL(compact_all(&p), 1);
    CU_ASSERT_TRUE(has_pack(&p, 2)); /* dead, and the newest */
    CU_ASSERT_EQUAL(pointkit_check(&p), 1);
    pointkit_clear(&p);
}

static void
no_number_of_a_pack_is_used_twice(void)
{
    PointKit p;

    mostly_dead(&p);
    CU_ASSERT_EQUAL(compact_all(&p), 1);
    roll(&p);
    (void) pointkit_change(&p, A, 0, 4096);
    CU_ASSERT_TRUE(has_pack(&p, 3));
    pointkit_close(&p);
    pointkit_open(&p);
    roll(&p);
    (void) pointkit_change(&p, A, 0, 4096);
    CU_ASSERT_TRUE(has_pack(&p, 4));
    pointkit_policy(&p, A, "", 1);
    pointkit_policy(&p, B, "", 1);
    for (guint i = 0; i < 2; i++) {
        (void) pointkit_change(&p, B, 0, 4096);
        thin_all(&p);
        (void) compact_all(&p);
    }
    g_autoptr(GArray) packs = catalog_packs(p.kit.store.catalog, NULL);
    CU_ASSERT_TRUE(packs->len < 5);
    for (guint i = 0; i < packs->len; i++) { /* rows of those that are gone go in the end */
        const CatalogPackUse *use = &g_array_index(packs, CatalogPackUse, i);
        CU_ASSERT_EQUAL(use->length_bytes > 0, has_pack(&p, use->id));
    }
    (void) pointkit_check(&p);
    pointkit_clear(&p);
}

static void
a_step_is_bounded(void)
{
    PointKit p;
    gsize size = 40 << 20, part = 17 << 20;
    g_autofree guint8 *data = g_malloc0(size);
    gboolean more, removed;
    guint64 first;

    pointkit_init(&p);
    pointkit_noise(&p, data, part);
    first = pointkit_save(&p, A, data, size);
    for (guint i = 0; i < 3; i++)
        (void) pointkit_change(&p, A, 0, part);
    roll(&p);
    (void) pointkit_change(&p, A, 30 << 20, 4096);
    pointkit_name(&p, A, first, "first");
    pointkit_policy(&p, A, "", 1);
    thin_all(&p);
    CU_ASSERT_TRUE(compact_step(&p.kit.store, &more, &removed, NULL));
    CU_ASSERT_TRUE(more && !removed);
    CU_ASSERT_TRUE(has_pack(&p, 1));
    CU_ASSERT_EQUAL(pointkit_check(&p), 2); /* half here, half there */
    g_autofree char *name = packfile_name(2);
    g_autofree char *path = g_build_filename(p.path, "history", name, NULL);
    struct stat st;
    CU_ASSERT_EQUAL(stat(path, &st), 0);
    CU_ASSERT_TRUE((guint64) st.st_size < COMPACT_STEP_BYTES + 2 * PACK_FRAME_BYTES);
    CU_ASSERT_EQUAL(compact_all(&p), 1);
    CU_ASSERT_FALSE(has_pack(&p, 1));
    CU_ASSERT_EQUAL(pointkit_check(&p), 2);
    pointkit_clear(&p);
}

/* ---- interrupted ---- */

static void
run_compaction(PointKit *p)
{
    (void) compact_all(p);
}

static void
a_crash_at_any_step_loses_nothing(void)
{
    static const char *const steps[] = {
        "compact-begin",    "pack-frame",    "pack-footer",  "pack-synced",     "pack-prepared",
        "compact-prepared", "compact-saved", "pack-removed", "compact-removed", "pack-created"};
    guint crashes = 0;

    for (guint i = 0; i < G_N_ELEMENTS(steps); i++) {
        for (guint nth = 1; nth < 3; nth++) {
            PointKit p;
            mostly_dead(&p);
            gboolean crashed = pointkit_crash(&p, steps[i], nth, run_compaction);
            CU_ASSERT_EQUAL(pointkit_check(&p), 7);
            (void) compact_all(&p);
            CU_ASSERT_EQUAL(pointkit_check(&p), 7);
            CU_ASSERT_FALSE(has_pack(&p, 1));
            (void) pointkit_change(&p, B, 0, 4096);
            CU_ASSERT_EQUAL(pointkit_check(&p), 8);
            pointkit_clear(&p);
            g_autofree char *remove = g_strdup_printf("rm -rf '%s/store'", unit_folder());
            CU_ASSERT_TRUE_FATAL(g_spawn_command_line_sync(remove, NULL, NULL, NULL, NULL));
            if (!crashed)
                break;
            crashes++;
        }
    }
    CU_ASSERT_TRUE(crashes >= 9); /* or steps have lost their names */
}

static void
keep_catalog(PointKit *p, const char *from, const char *to)
{
    g_autofree char *command =
        g_strdup_printf("rm -f '%s/%s-wal' '%s/%s-shm'; cp '%s/%s' '%s/%s'", p->path, to, p->path,
                        to, p->path, from, p->path, to);
    const char *argv[] = {"sh", "-c", command, NULL};
    CU_ASSERT_TRUE_FATAL(g_spawn_sync(NULL, (char **) argv, NULL, G_SPAWN_SEARCH_PATH, NULL, NULL,
                                      NULL, NULL, NULL, NULL));
}

/* The pack that it names is gone: the only copy is where compaction put it, unknown to it. */
static void
a_catalog_from_before_a_compaction_finds_what_was_moved(void)
{
    PointKit p;

    for (guint pending = 0; pending < 2; pending++) {
        mostly_dead(&p);
        pointkit_close(&p);
        keep_catalog(&p, CATALOG_NAME, "kept");
        pointkit_open(&p);
        CU_ASSERT_EQUAL(compact_all(&p), 1);
        CU_ASSERT_FALSE(has_pack(&p, 1));
        if (pending) /* with a batch of apply behind it, which is to be done again */
            (void) pointkit_change(&p, B, 0, 4096);
        pointkit_close(&p);
        keep_catalog(&p, "kept", CATALOG_NAME);
        for (guint i = 0; i < 2; i++) {
            pointkit_open(&p);
            CU_ASSERT_EQUAL(p.kit.recovered_damage, i == 0);
            if (i == 0)
                CU_ASSERT_PTR_NOT_NULL(strstr(p.kit.recovered_note, "store rebuild"));
            CU_ASSERT_FALSE(p.kit.store.pack_missing);
            CU_ASSERT_EQUAL(pointkit_check(&p), pending ? 8 : 7);
            pointkit_close(&p);
        }
        pointkit_open(&p);
        pointkit_clear(&p);
        g_autofree char *remove = g_strdup_printf("rm -rf '%s/store'", unit_folder());
        CU_ASSERT_TRUE_FATAL(g_spawn_command_line_sync(remove, NULL, NULL, NULL, NULL));
    }
}

static void
while_a_pack_is_missing_none_is_given_up(void)
{
    PointKit p;
    gboolean more = TRUE, removed = TRUE;

    mostly_dead(&p);
    g_autofree guint8 *data = g_malloc0(100000);
    pointkit_noise(&p, data, 100000);
    (void) pointkit_save(&p, "/srv/c.db", data, 100000);
    for (guint i = 0; i < 3; i++)
        (void) pointkit_change(&p, "/srv/c.db", 0, 50000);
    roll(&p);
    (void) pointkit_change(&p, B, 0, 4096);
    pointkit_close(&p);
    g_autofree char *pack = packfile_name(1);
    g_autofree char *path = g_build_filename(p.path, "history", pack, NULL);
    CU_ASSERT_EQUAL(unlink(path), 0);
    pointkit_open(&p);
    CU_ASSERT_TRUE(p.kit.store.pack_missing);
    pointkit_policy(&p, "/srv/c.db", "", 0);
    thin_all(&p); /* pack 2 is mostly dead by that */
    CU_ASSERT_TRUE(compact_step(&p.kit.store, &more, &removed, NULL));
    CU_ASSERT_FALSE(more || removed);
    CU_ASSERT_TRUE(has_pack(&p, 2));
    CU_ASSERT_EQUAL(unlink(path), -1);
    p.kit.store.pack_missing = FALSE;
    CU_ASSERT_EQUAL(compact_all(&p), 1); /* or the test shows nothing */
    CU_ASSERT_FALSE(has_pack(&p, 2));
    pointkit_clear(&p);
}

static void
without_space_all_stays_as_it_was(void)
{
    PointKit p;
    g_autoptr(GError) error = NULL;
    gboolean more, removed;

    mostly_dead(&p);
    full = TRUE;
    CU_ASSERT_FALSE(compact_step(&p.kit.store, &more, &removed, &error));
    full = FALSE;
    CU_ASSERT_TRUE(g_error_matches(error, FILEDUP_ERROR, FILEDUP_ERROR_AGAIN));
    CU_ASSERT_EQUAL(pointkit_check(&p), 7);
    CU_ASSERT_EQUAL(compact_all(&p), 1);
    CU_ASSERT_EQUAL(pointkit_check(&p), 7);
    pointkit_clear(&p);
}

static void
a_file_with_something_pending_is_waited_for(void)
{
    PointKit p;
    g_autoptr(GError) error = NULL;
    gboolean more;

    mostly_dead(&p);
    (void) kit_append(&p.kit, A, "pending", 7, CAUSE_CLOSE, QUALITY_STABLE);
    CU_ASSERT_EQUAL(compact_all(&p), 0); /* b.db's part has moved */
    CU_ASSERT_TRUE(has_pack(&p, 1));
    CU_ASSERT_FALSE(compact_pack(&p.kit.store, 1, &more, &error));
    CU_ASSERT_TRUE(g_error_matches(error, FILEDUP_ERROR, FILEDUP_ERROR_AGAIN));
    kit_apply_all(&p.kit);
    CU_ASSERT_EQUAL(compact_all(&p), 1);
    kit_expect(&p.kit, A, 0, "pending");
    pointkit_clear(&p);
}

/* ---- damage ---- */

static Piece
find_piece(PointKit *p, const char *path, guint64 pack, guint64 *ret_point)
{
    g_autoptr(FileView) v = catalog_load(p->kit.store.catalog, path, CATALOG_UNDO, NULL);

    for (guint i = 0; i < v->points->len; i++) {
        const Point *point = v->points->pdata[i];
        for (guint k = 0; point->undo && k < point->undo->pieces->len; k++) {
            Piece piece = g_array_index(point->undo->pieces, Piece, k);
            *ret_point = point->id;
            if (piece.kind == PIECE_PACK && piece.pack == pack)
                return piece;
        }
    }
    CU_FAIL_FATAL("no such piece");
    return (Piece){0};
}

static void
flip(PointKit *p, const Piece *piece)
{
    g_autofree char *name = packfile_name(piece->pack);
    g_autofree char *path = g_build_filename(p->path, "history", name, NULL);
    g_auto(Fd) fd = open(path, O_RDWR | O_CLOEXEC);
    goffset at = (goffset) (piece->frame + FRAME_HEADER_BYTES + piece->skip);
    guint8 byte;

    CU_ASSERT_TRUE_FATAL(fd_pread_full(fd, &byte, 1, at));
    byte ^= 1;
    CU_ASSERT_TRUE_FATAL(fd_pwrite_full(fd, &byte, 1, at));
}

static guint
n_readable(PointKit *p, const char *path, guint *ret_bad)
{
    g_autoptr(FileView) v = store_view(&p->kit.store, path, CATALOG_UNDO, NULL);
    g_autoptr(GPtrArray) points = view_points(v);
    guint n = 0;

    *ret_bad = 0;
    for (guint i = 0; i < points->len; i++) {
        const Point *point = points->pdata[i];
        g_autoptr(GBytes) data = kit_try_content(&p->kit, path, point->id, NULL);
        n += data != NULL;
        *ret_bad += point->undo && undo_is_bad(point->undo);
    }
    return n;
}

static void
a_damaged_pack_is_left_alone_but_for_forgetting(void)
{
    PointKit p;
    gboolean more = TRUE, removed;
    guint64 point = 0;
    guint bad;

    mostly_dead(&p);
    pointkit_close(&p);
    pointkit_open(&p);
    Piece piece = find_piece(&p, A, 1, &point);
    guint before = n_readable(&p, A, &bad);
    flip(&p, &piece);
    pointkit_close(&p);
    pointkit_open(&p); /* nothing of it is in memory */
    guint left = n_readable(&p, A, &bad);
    CU_ASSERT_TRUE(left < before);
    CU_ASSERT_TRUE(compact_step(&p.kit.store, &more, &removed, NULL));
    CU_ASSERT_FALSE(more || removed);
    CU_ASSERT_TRUE(has_pack(&p, 1));
    CU_ASSERT_TRUE(compact_step(&p.kit.store, &more, &removed, NULL)); /* it is remembered */
    flip(&p, &piece);                                                  /* and readable again */
    pointkit_close(&p);
    pointkit_open(&p);
    CU_ASSERT_EQUAL(n_readable(&p, A, &bad), before);
    flip(&p, &piece);
    pointkit_close(&p);
    pointkit_open(&p);
    for (more = TRUE; more;)
        CU_ASSERT_TRUE_FATAL(compact_pack(&p.kit.store, 1, &more, NULL));
    CU_ASSERT_FALSE(has_pack(&p, 1));
    CU_ASSERT_EQUAL(n_readable(&p, A, &bad), left);
    CU_ASSERT_TRUE(bad > 0);
    g_autoptr(FileView) v = store_view(&p.kit.store, A, CATALOG_UNDO, NULL);
    g_autoptr(Image) image = image_of(p.kit.store.layout->root, v, view_point(v, point), NULL);
    g_autoptr(GArray) ranges = image_bad_ranges(image);
    CU_ASSERT_TRUE(ranges->len > 0); /* it is known which bytes */
    pointkit_clear(&p);
}

static void
what_the_disk_does_not_let_us_read_is_never_given_up(void)
{
    PointKit p;
    g_autoptr(GError) error = NULL;
    gboolean more, removed;

    mostly_dead(&p);
    pointkit_close(&p);
    pointkit_open(&p);
    sick = TRUE;
    CU_ASSERT_FALSE(compact_pack(&p.kit.store, 1, &more, &error));
    CU_ASSERT_TRUE(g_error_matches(error, FILEDUP_ERROR, FILEDUP_ERROR_AGAIN));
    CU_ASSERT_TRUE(compact_step(&p.kit.store, &more, &removed, NULL));
    CU_ASSERT_FALSE(more || removed);
    sick = FALSE;
    CU_ASSERT_EQUAL(pointkit_check(&p), 7);
    for (more = TRUE; more;)
        CU_ASSERT_TRUE_FATAL(compact_pack(&p.kit.store, 1, &more, NULL));
    CU_ASSERT_FALSE(has_pack(&p, 1));
    CU_ASSERT_EQUAL(pointkit_check(&p), 7);
    pointkit_clear(&p);
}

/* ---- anything ---- */

static void
random_histories_survive_thinning_and_compaction(void)
{
    for (guint32 seed = 0; seed < 6; seed++) {
        g_autoptr(GRand) random = g_rand_new_with_seed(seed);
        const char *paths[] = {A, B, "/srv/c"};
        PointKit p;

        pointkit_init(&p);
        for (guint i = 0; i < 90; i++) {
            const char *path = paths[g_rand_int_range(random, 0, 3)];
            guint64 id = pointkit_vary(&p, random, path, 100000);
            gint what = g_rand_int_range(random, 0, 12);
            if (what == 0)
                pointkit_name(&p, path, id, "n");
            if (what == 1)
                roll(&p);
            if (what == 2) {
                pointkit_policy(&p, path, "", (guint) g_rand_int_range(random, 1, 5));
                thin_all(&p);
            }
            if (what == 3)
                (void) compact_all(&p);
            if (what == 4) {
                pointkit_close(&p);
                pointkit_open(&p);
            }
            if (what < 5)
                (void) pointkit_check(&p);
        }
        (void) pointkit_check(&p);
        pointkit_clear(&p);
        g_autofree char *remove = g_strdup_printf("rm -rf '%s/store'", unit_folder());
        CU_ASSERT_TRUE_FATAL(g_spawn_command_line_sync(remove, NULL, NULL, NULL, NULL));
    }
}

static const UnitTest tests[] = {
    UNIT_TEST(a_mostly_dead_pack_is_emptied_and_goes),
    UNIT_TEST(a_pack_that_is_mostly_alive_or_being_filled_stays),
    UNIT_TEST(no_number_of_a_pack_is_used_twice),
    UNIT_TEST(a_step_is_bounded),
    UNIT_TEST(a_crash_at_any_step_loses_nothing),
    UNIT_TEST(a_catalog_from_before_a_compaction_finds_what_was_moved),
    UNIT_TEST(while_a_pack_is_missing_none_is_given_up),
    UNIT_TEST(without_space_all_stays_as_it_was),
    UNIT_TEST(a_file_with_something_pending_is_waited_for),
    UNIT_TEST(a_damaged_pack_is_left_alone_but_for_forgetting),
    UNIT_TEST(what_the_disk_does_not_let_us_read_is_never_given_up),
    UNIT_TEST(random_histories_survive_thinning_and_compaction),
};
UNIT_MAIN("compact", tests)
