/* Points: whatever follows a content, it comes back bit by bit. */

#include "config.h"

#include <fcntl.h>
#include <linux/fs.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/error.h"
#include "store/applying.h"
#include "store/mirror.h"
#include "tests/unit/storekit.h"
#include "tests/unit/unit.h"

#define KIB ((gsize) 1024)
#define MIB (1024 * KIB)

/* A content in memory. */
typedef struct Bytes {
    guint8 *data;
    gsize n;
} Bytes;

static Bytes
bytes_random(gsize n, guint seed)
{
    Bytes b = {.data = g_malloc0(n + 8), .n = n};
    g_autoptr(GRand) rand = g_rand_new_with_seed(seed);

    for (gsize i = 0; i < n; i += 4)
        memcpy(b.data + i, &(guint32){g_rand_int(rand)}, 4);
    memset(b.data + n, 0, 8);
    return b;
}

static Bytes
bytes_resized(const Bytes *from, gsize n)
{
    Bytes b = {.data = g_malloc0(n + 8), .n = n};

    if (MIN(n, from->n) > 0)
        memcpy(b.data, from->data, MIN(n, from->n));
    return b;
}

static void
bytes_clear(Bytes *b)
{
    g_clear_pointer(&b->data, g_free);
}

static void
expect(Kit *k, const char *path, guint64 point, const Bytes *b)
{
    kit_expect_bytes(k, path, point, b->data, b->n);
}

typedef enum { BY_CONTENT, BY_STAGED, BY_RANGES, BY_COUNT } Way;

static guint64
append(Kit *k, const char *path, const Bytes *old, const Bytes *b, Way way, Quality quality)
{
    if (way == BY_STAGED && quality == QUALITY_STABLE)
        return kit_append_staged(k, path, b->data, b->n, CAUSE_CLOSE);
    if (way == BY_RANGES && old)
        return kit_append_ranges(k, path, old->data, old->n, b->data, b->n, quality);
    return kit_append(k, path, b->data, b->n, CAUSE_CLOSE, quality);
}

/* ---- each transition ---- */

/* What `i` does to a content. */
static Bytes
changed(const Bytes *from, guint i)
{
    Bytes b = bytes_resized(from, from->n);

    switch (i) {
    case 0: /* a page */
        if (b.n > 5000)
            memset(b.data + 4096, 'x', 100);
        return b;
    case 1: /* over the limits of blocks and pages */
        if (b.n > 40000)
            memset(b.data + 16000, 'y', 20000);
        return b;
    case 2: /* cut, not at a limit */
        bytes_clear(&b);
        return bytes_resized(from, from->n / 2 + 1);
    case 3: /* cut at a block's limit */
        bytes_clear(&b);
        return bytes_resized(from, from->n / 2 / 16384 * 16384);
    case 4: /* longer, with zeros */
        bytes_clear(&b);
        return bytes_resized(from, from->n + 100001);
    case 5: /* longer, with more */
        bytes_clear(&b);
        b = bytes_resized(from, from->n + 30000);
        memset(b.data + from->n, 'z', 30000);
        return b;
    case 6: /* a hole */
        memset(b.data + b.n / 3, 0, b.n / 3);
        return b;
    case 7: /* nothing left */
        bytes_clear(&b);
        return bytes_resized(from, 0);
    case 8: /* all of it */
        bytes_clear(&b);
        return bytes_random(from->n, 99);
    case 9: /* the same once more */
        return b;
    default: /* the last byte */
        if (b.n > 0)
            b.data[b.n - 1] ^= 1;
        return b;
    }
}

#define CHANGES 11

/* One file for each change; what waits is applied for all together. */
static void
transitions(Kit *k, guint number, gsize n, Way way, gboolean applied)
{
    Bytes contents[CHANGES][4];
    guint64 ids[CHANGES][4];
    char *paths[CHANGES];

    for (guint i = 0; i < CHANGES; i++) {
        Bytes *c = contents[i];
        paths[i] = g_strdup_printf("/f-%u-%u", number, i);
        c[0] = bytes_random(n, 1);
        c[1] = changed(&c[0], 0);
        c[2] = changed(&c[1], i);
        c[3] = changed(&c[2], 1);
    }
    for (guint step = 0; step < 4; step++) {
        for (guint i = 0; i < CHANGES; i++)
            ids[i][step] = append(k, paths[i], step ? &contents[i][step - 1] : NULL,
                                  &contents[i][step], step == 2 ? way : BY_RANGES, QUALITY_STABLE);
        if (applied)
            kit_apply_all(k);
    }
    for (guint round = 0; round < 2; round++) { /* waiting, and applied */
        for (guint i = 0; i < CHANGES; i++)
            for (guint step = 0; step < 4; step++)
                expect(k, paths[i], step < 3 ? ids[i][step] : 0, &contents[i][step]);
        kit_apply_all(k);
    }
    for (guint i = 0; i < CHANGES; i++) {
        g_free(paths[i]);
        for (guint step = 0; step < 4; step++)
            bytes_clear(&contents[i][step]);
    }
}

static void
every_point_survives_every_transition(void)
{
    static const gsize sizes[] = {0, 100, 100 * KIB, 1200 * KIB + 77};
    g_autofree char *store = unit_path("store");
    guint number = 0;
    Kit k;

    kit_open(&k, store);
    for (guint size = 0; size < G_N_ELEMENTS(sizes); size++)
        for (Way way = 0; way < BY_COUNT; way++)
            for (guint applied = 0; applied < 2; applied++)
                transitions(&k, number++, sizes[size], way, applied != 0);
    kit_close(&k);
}

/* ---- at random, against a model ---- */

typedef struct Known {
    guint64 id;
    Bytes bytes;
} Known;

typedef struct Model {
    char *path;
    GArray *points; /* Known: that must be there */
    Known current;
    Quality quality;
} Model;

static Bytes
random_change(GRand *rand, const Bytes *from)
{
    Bytes b = bytes_resized(from, from->n);

    switch (g_rand_int_range(rand, 0, 8)) {
    case 0:
        bytes_clear(&b);
        return bytes_random((gsize) g_rand_int_range(rand, 0, 2000000), g_rand_int(rand));
    case 1:
        bytes_clear(&b);
        return bytes_resized(from, from->n ? g_rand_int(rand) % from->n : 0);
    case 2:
        bytes_clear(&b);
        return bytes_resized(from, from->n + g_rand_int(rand) % 300000);
    case 3:
        if (b.n > 0)
            memset(b.data + g_rand_int(rand) % b.n, 0, 1);
        return b;
    default:
        for (gint i = g_rand_int_range(rand, 1, 20); i > 0 && b.n > 0; i--) {
            gsize at = g_rand_int(rand) % b.n;
            gsize n = (gsize) g_rand_int_range(rand, 1, 9000);
            memset(b.data + at, g_rand_int_range(rand, 0, 256), MIN(n, b.n - at));
        }
        return b;
    }
}

static void
check_model(Kit *k, const Model *m)
{
    g_autoptr(GError) error = NULL;
    g_autoptr(FileView) v = store_view(&k->store, m->path, CATALOG_UNDO, &error);

    UNIT_NO_ERROR(error);
    CU_ASSERT_EQUAL(v->points->len, m->points->len);
    for (guint i = 0; i < m->points->len; i++) {
        const Known *known = &g_array_index(m->points, Known, i);
        expect(k, m->path, known->id, &known->bytes);
    }
    if (m->current.id)
        expect(k, m->path, 0, &m->current.bytes);
}

static void
model_append(Kit *k, Model *m, GRand *rand)
{
    Bytes next = random_change(rand, &m->current.bytes);
    Quality quality = g_rand_int_range(rand, 0, 3) ? QUALITY_STABLE : QUALITY_FUZZY;
    Way way = (Way) g_rand_int_range(rand, 0, BY_COUNT);
    guint64 id = append(k, m->path, m->current.id ? &m->current.bytes : NULL, &next, way, quality);

    if (m->current.id && m->quality == QUALITY_STABLE)
        g_array_append_val(m->points, m->current);
    else
        bytes_clear(&m->current.bytes);
    m->current = (Known){.id = id, .bytes = next};
    m->quality = quality;
}

/* Thins one point. */
static void
model_drop(Kit *k, Model *m, GRand *rand)
{
    g_autoptr(GError) error = NULL;

    if (m->points->len == 0 || pending_of(k->store.pending, m->path))
        return;
    guint at = (guint) g_rand_int_range(rand, 0, (gint32) m->points->len);
    g_autoptr(FileView) v = store_view(&k->store, m->path, CATALOG_UNDO, &error);
    g_autoptr(GPtrArray) views = g_ptr_array_new();
    CatalogChange change = {.views = views};
    g_ptr_array_add(views, v);
    Point *p = view_point(v, g_array_index(m->points, Known, at).id);
    CU_ASSERT_PTR_NOT_NULL_FATAL(p);
    view_drop(v, p);
    g_autoptr(GArray) unused = view_unused_wholes(v);
    CU_ASSERT_TRUE(catalog_save(k->store.catalog, &change, &error));
    UNIT_NO_ERROR(error);
    for (guint i = 0; i < unused->len; i++) {
        g_autofree char *name =
            mirror_history_path(v->id, g_array_index(unused, guint64, i), v->path);
        CU_ASSERT_EQUAL(unlinkat(k->store.layout->root, name, 0), 0);
    }
    bytes_clear(&g_array_index(m->points, Known, at).bytes);
    g_array_remove_index(m->points, at);
}

static void
at_random_every_point_is_what_it_was(void)
{
    g_autofree char *store = unit_path("store");
    const char *given = g_getenv("FILEDUP_SEED");
    guint32 seed = given ? (guint32) g_ascii_strtoull(given, NULL, 10) : g_random_int();
    g_autoptr(GRand) rand = g_rand_new_with_seed(seed);
    Model models[4] = {0};
    Kit k;

    g_print("    seed %u\n", seed);
    kit_open(&k, store);
    for (guint i = 0; i < G_N_ELEMENTS(models); i++) {
        models[i].path = g_strdup_printf("/f%u", i);
        models[i].points = g_array_new(FALSE, FALSE, sizeof(Known));
        models[i].current.bytes = bytes_random(i * 700000, i);
    }
    for (guint step = 0; step < 300 && CU_get_number_of_failures() == 0; step++) {
        Model *m = &models[g_rand_int_range(rand, 0, G_N_ELEMENTS(models))];
        switch (g_rand_int_range(rand, 0, 10)) {
        case 0:
            kit_apply_all(&k);
            break;
        case 1:
            kit_close(&k);
            kit_open(&k, store);
            CU_ASSERT_FALSE(k.report.damage);
            break;
        case 2:
            check_model(&k, m);
            break;
        case 3:
            model_drop(&k, m, rand);
            break;
        default:
            model_append(&k, m, rand);
        }
    }
    for (guint round = 0; round < 2; round++) {
        for (guint i = 0; i < G_N_ELEMENTS(models); i++)
            check_model(&k, &models[i]);
        kit_apply_all(&k);
    }
    for (guint i = 0; i < G_N_ELEMENTS(models); i++) {
        for (guint n = 0; n < models[i].points->len; n++)
            bytes_clear(&g_array_index(models[i].points, Known, n).bytes);
        g_array_unref(models[i].points);
        bytes_clear(&models[i].current.bytes);
        g_free(models[i].path);
    }
    kit_close(&k);
}

/* ---- what outlasts what ---- */

static void
what_is_marked_outlasts_what_follows(void)
{
    g_autofree char *store = unit_path("store");
    Kit k;

    kit_open(&k, store);
    for (guint applied = 0; applied < 2; applied++) {
        g_autofree char *path = g_strdup_printf("/f%u", applied);
        guint64 ids[3];
        static const PointCause causes[] = {CAUSE_NAMED, CAUSE_QUIET, CAUSE_CLOSE};
        for (guint i = 0; i < 3; i++) {
            g_autofree char *text = g_strdup_printf("fuzzy %u", i);
            ids[i] = kit_append(&k, path, text, strlen(text), CAUSE_CLOSE, QUALITY_FUZZY);
            g_auto(Capture) c = kit_capture(path, "", 0, causes[i], QUALITY_STABLE);
            c.kind = APPEND_MARK;
            c.name = i == 0 ? g_strdup("a name") : NULL;
            if (i < 2)
                (void) kit_append_capture(&k, &c);
            if (applied)
                kit_apply_all(&k);
        }
        (void) kit_append(&k, path, "last", 4, CAUSE_CLOSE, QUALITY_FUZZY);
        for (guint round = 0; round < 2; round++) {
            kit_expect(&k, path, ids[0], "fuzzy 0");
            kit_expect(&k, path, ids[1], "fuzzy 1");
            kit_expect(&k, path, 0, "last");
            g_autoptr(FileView) v = store_view(&k.store, path, CATALOG_UNDO, NULL);
            CU_ASSERT_EQUAL(v->points->len, 2);
            CU_ASSERT_EQUAL(view_point(v, ids[0])->kept, KEPT_NAMED);
            CU_ASSERT_STRING_EQUAL(view_point(v, ids[0])->name, "a name");
            CU_ASSERT_EQUAL(view_point(v, ids[1])->cause, CAUSE_QUIET);
            CU_ASSERT_PTR_NULL(view_point(v, ids[2]));
            kit_apply_all(&k);
        }
    }
    kit_close(&k);
}

static void
fuzzy_contents_between_are_merged_away(void)
{
    g_autofree char *store = unit_path("store");
    Bytes contents[6];
    Kit k;

    contents[0] = bytes_random(2 * MIB, 5);
    for (guint i = 1; i < 6; i++) {
        contents[i] = bytes_resized(&contents[i - 1], 2 * MIB + i * 10000);
        memset(contents[i].data + i * 100000, (int) ('a' + i), 120000); /* each over the last one */
    }
    kit_open(&k, store);
    for (guint applied = 0; applied < 2; applied++) {
        g_autofree char *path = g_strdup_printf("/f%u", applied);
        guint64 stable = append(&k, path, NULL, &contents[0], BY_STAGED, QUALITY_STABLE),
                second = 0;
        kit_apply_all(&k);
        for (guint i = 1; i < 6; i++) {
            guint64 id = append(&k, path, &contents[i - 1], &contents[i], BY_RANGES,
                                i == 3 ? QUALITY_STABLE : QUALITY_FUZZY);
            second = i == 3 ? id : second;
            if (applied)
                kit_apply_all(&k);
            expect(&k, path, stable, &contents[0]);
            expect(&k, path, 0, &contents[i]);
        }
        kit_apply_all(&k);
        g_autoptr(FileView) v = store_view(&k.store, path, CATALOG_UNDO, NULL);
        CU_ASSERT_EQUAL(v->points->len, 2);
        expect(&k, path, stable, &contents[0]);
        expect(&k, path, second, &contents[3]);
        expect(&k, path, 0, &contents[5]);
        CU_ASSERT_EQUAL(view_point(v, second)->kept, KEPT_STABLE);
    }
    kit_close(&k);
    for (guint i = 0; i < 6; i++)
        bytes_clear(&contents[i]);
}

static void
a_suspicious_change_pins_what_was_before_it(void)
{
    g_autofree char *store = unit_path("store");
    g_autoptr(GError) error = NULL;
    Kit k;

    kit_open(&k, store);
    guint64 good = kit_append(&k, "/f", "good", 4, CAUSE_FIRST, QUALITY_FUZZY);
    g_auto(Capture) c = kit_capture("/f", "", 0, CAUSE_CLOSE, QUALITY_STABLE);
    c.suspicion = SUSPICION_EMPTIED;
    (void) kit_append_capture(&k, &c);
    (void) kit_append(&k, "/f", "later", 5, CAUSE_CLOSE, QUALITY_STABLE);
    kit_close(&k); /* it is in the journal */
    kit_open(&k, store);
    for (guint round = 0; round < 2; round++) {
        g_autoptr(FileView) v = store_view(&k.store, "/f", CATALOG_UNDO, &error);
        CU_ASSERT_EQUAL(v->suspicion, SUSPICION_EMPTIED);
        CU_ASSERT_EQUAL(v->suspicion_point, good);
        CU_ASSERT_TRUE(v->suspicion_since_usec > 0);
        CU_ASSERT_PTR_NOT_NULL_FATAL(view_point(v, good));
        CU_ASSERT_EQUAL(view_point(v, good)->kept, KEPT_SUSPICION);
        kit_expect(&k, "/f", good, "good");
        kit_apply_all(&k);
    }
    kit_close(&k);
}

static void
after_a_crash_of_the_machine_the_last_content_is_kept(void)
{
    g_autofree char *store = unit_path("store");
    g_autoptr(GError) error = NULL;
    Kit k;

    kit_open(&k, store);
    guint64 before = kit_append(&k, "/f", "before", 6, CAUSE_FIRST, QUALITY_FUZZY);
    CU_ASSERT_TRUE(catalog_set_open(k.store.catalog, 9, "another boot", before, &error));
    CU_ASSERT_TRUE(catalog_set_open(k.store.catalog, 9, "this boot", before, &error));
    (void) kit_append(&k, "/f", "after", 5, CAUSE_CLOSE, QUALITY_STABLE);
    (void) kit_append(&k, "/f", "later", 5, CAUSE_CLOSE, QUALITY_STABLE);
    kit_apply_all(&k);
    g_autoptr(FileView) v = store_view(&k.store, "/f", CATALOG_UNDO, &error);
    CU_ASSERT_EQUAL(v->points->len, 2);
    CU_ASSERT_EQUAL(view_point(v, before)->kept, KEPT_BOOT);
    CU_ASSERT_EQUAL(((Point *) v->points->pdata[1])->kept, 0);
    kit_expect(&k, "/f", before, "before");
    kit_close(&k);
}

/* ---- rot ---- */

static void
spoil(Kit *k, const char *path, gsize at)
{
    g_autoptr(FileView) v = store_view(&k->store, path, CATALOG_NEWEST, NULL);
    g_autofree char *name = mirror_path(v->id, path);
    g_auto(Fd) fd = openat(k->store.layout->root, name, O_RDWR | O_CLOEXEC);
    guint8 byte;

    CU_ASSERT_TRUE_FATAL(fd_pread_full(fd, &byte, 1, (goffset) at));
    byte ^= 0x40;
    CU_ASSERT_TRUE_FATAL(fd_pwrite_full(fd, &byte, 1, (goffset) at));
}

static void
a_rotten_block_is_never_saved_as_if_it_were_good(void)
{
    g_autofree char *store = unit_path("store");
    Bytes first = bytes_random(2 * MIB, 7), second = bytes_resized(&first, first.n), third;
    g_autoptr(GError) error = NULL;
    Kit k;

    memset(second.data + 64 * KIB, 'x', 16 * KIB);  /* rotten there ... */
    memset(second.data + 512 * KIB, 'y', 16 * KIB); /* ... and good there */
    third = changed(&second, 1);
    kit_open(&k, store);
    guint64 one = append(&k, "/f", NULL, &first, BY_STAGED, QUALITY_STABLE);
    kit_apply_all(&k);
    spoil(&k, "/f", 70 * KIB);
    guint64 two = append(&k, "/f", &first, &second, BY_RANGES, QUALITY_STABLE);
    kit_apply_all(&k);
    (void) append(&k, "/f", &second, &third, BY_RANGES, QUALITY_STABLE);
    kit_apply_all(&k);
    expect(&k, "/f", two, &second); /* healed by what came */
    expect(&k, "/f", 0, &third);
    g_autoptr(GBytes) lost = kit_try_content(&k, "/f", one, &error);
    CU_ASSERT_PTR_NULL(lost);
    CU_ASSERT_TRUE(g_error_matches(error, FILEDUP_ERROR, FILEDUP_ERROR_DAMAGED));

    g_autoptr(FileView) v = store_view(&k.store, "/f", CATALOG_UNDO, NULL);
    g_autoptr(Image) image = image_of(k.store.layout->root, v, view_point(v, one), NULL);
    g_autoptr(GArray) bad = image_bad_ranges(image);
    CU_ASSERT_EQUAL_FATAL(bad->len, 1); /* that block alone */
    const Range *range = &g_array_index(bad, Range, 0);
    CU_ASSERT_EQUAL(range->offset, 64 * KIB);
    CU_ASSERT_EQUAL(range->length, 16 * KIB);
    g_autofree guint8 *all = g_malloc(first.n);
    CU_ASSERT_TRUE(image_read(image, k.store.packs, 0, all, first.n, NULL));
    memcpy(all + range->offset, first.data + range->offset, range->length);
    CU_ASSERT_EQUAL(memcmp(all, first.data, first.n), 0); /* and all else is there */
    kit_close(&k);
    bytes_clear(&first);
    bytes_clear(&second);
    bytes_clear(&third);
}

static void
ranges_over_a_rotten_block_are_given_up_and_cost_nothing_before(void)
{
    g_autofree char *store = unit_path("store");
    Bytes first = bytes_random(2 * MIB, 7), second = bytes_resized(&first, first.n);
    Bytes third = bytes_resized(&first, first.n);
    g_autoptr(GError) error = NULL;
    Kit k;

    memset(second.data + 900 * KIB, 'x', 4 * KIB);
    memcpy(third.data, second.data, second.n);
    memset(third.data + 64 * KIB, 'y', 4 * KIB); /* beside the rotten page of the block */
    kit_open(&k, store);
    guint64 one = append(&k, "/f", NULL, &first, BY_STAGED, QUALITY_STABLE);
    kit_apply_all(&k);
    guint64 two = append(&k, "/f", &first, &second, BY_RANGES, QUALITY_STABLE);
    (void) append(&k, "/f", &second, &third, BY_RANGES, QUALITY_STABLE);
    spoil(&k, "/f", 70 * KIB);
    CU_ASSERT_FALSE(apply_file(&k.store, "/f", &error));
    CU_ASSERT_TRUE(g_error_matches(error, FILEDUP_ERROR, FILEDUP_ERROR_DAMAGED));
    g_clear_error(&error);
    CU_ASSERT_PTR_NULL(pending_of(k.store.pending, "/f"));
    g_autoptr(FileView) v = store_view(&k.store, "/f", CATALOG_UNDO, NULL);
    CU_ASSERT_EQUAL(v->current->id, two); /* what could be applied was */
    CU_ASSERT_EQUAL(v->current->stat.ino, 0);
    spoil(&k, "/f", 70 * KIB); /* healed by somebody */
    expect(&k, "/f", one, &first);
    expect(&k, "/f", two, &second);
    kit_close(&k);
    kit_open(&k, store);
    CU_ASSERT_TRUE(k.report.damage);
    kit_close(&k);
    bytes_clear(&first);
    bytes_clear(&second);
    bytes_clear(&third);
}

static void
without_its_mirror_a_point_says_what_it_lacks(void)
{
    g_autofree char *store = unit_path("store");
    Bytes first = bytes_random(100 * KIB, 7), second = changed(&first, 0);
    g_autoptr(GError) error = NULL;
    Kit k;

    kit_open(&k, store);
    guint64 one = append(&k, "/f", NULL, &first, BY_CONTENT, QUALITY_STABLE);
    (void) append(&k, "/f", &first, &second, BY_CONTENT, QUALITY_STABLE);
    kit_apply_all(&k);
    g_autoptr(FileView) v = store_view(&k.store, "/f", CATALOG_UNDO, NULL);
    g_autofree char *name = mirror_path(v->id, "/f");
    CU_ASSERT_EQUAL(unlinkat(k.store.layout->root, name, 0), 0);
    for (guint round = 0; round < 2; round++) { /* gone; and another one in its place */
        g_autoptr(GBytes) lost = kit_try_content(&k, "/f", one, &error);
        CU_ASSERT_PTR_NULL(lost);
        CU_ASSERT_TRUE(g_error_matches(error, FILEDUP_ERROR, FILEDUP_ERROR_DAMAGED));
        g_clear_error(&error);
        (void) kit_append(&k, "/f", "anew", 4, CAUSE_CLOSE, QUALITY_STABLE);
        kit_apply_all(&k);
        kit_expect(&k, "/f", 0, "anew");
    }
    kit_close(&k);
    bytes_clear(&first);
    bytes_clear(&second);
}

/* ---- a file that fails when all is prepared ---- */

static gboolean
set_immutable(int fd, gboolean on)
{
    int flags;

    if (ioctl(fd, FS_IOC_GETFLAGS, &flags) < 0)
        return FALSE;
    flags = on ? flags | FS_IMMUTABLE_FL : flags & ~FS_IMMUTABLE_FL;
    return ioctl(fd, FS_IOC_SETFLAGS, &flags) == 0;
}

/* One whose mirror nobody may change; FALSE: there are none here. */
static gboolean
fail_and_finish(Kit *k, const char *store, const char *path, const Bytes c[3], Quality quality)
{
    g_autoptr(GError) error = NULL;
    guint64 one = append(k, path, NULL, &c[0], BY_STAGED, QUALITY_STABLE);

    kit_apply_all(k);
    g_autoptr(FileView) v = store_view(&k->store, path, CATALOG_UNDO, NULL);
    g_autofree char *name = mirror_path(v->id, path);
    g_auto(Fd) fd = openat(k->store.layout->root, name, O_RDONLY | O_CLOEXEC);
    if (!set_immutable(fd, TRUE))
        return FALSE;
    guint64 two = append(k, path, &c[0], &c[1], BY_RANGES, quality);
    CU_ASSERT_FALSE(apply_file(&k->store, path, &error));
    CU_ASSERT_FALSE(g_error_matches(error, FILEDUP_ERROR, FILEDUP_ERROR_FATAL));
    g_clear_error(&error);
    (void) kit_append(k, "/other", "another", 7, CAUSE_CLOSE, QUALITY_STABLE);
    CU_ASSERT_TRUE(apply_file(&k->store, "/other", &error));
    UNIT_NO_ERROR(error);
    CU_ASSERT_TRUE(catalog_has_prepared(k->store.catalog));
    (void) append(k, path, &c[1], &c[2], BY_RANGES, QUALITY_STABLE);
    for (guint round = 0; round < 3; round++) {
        expect(k, path, one, &c[0]);
        expect(k, path, 0, &c[2]);
        if (quality == QUALITY_STABLE)
            expect(k, path, two, &c[1]);
        g_autoptr(GPtrArray) listed = applying_get(k->store.layout->root, &error);
        CU_ASSERT_EQUAL(listed->len, round < 2 && k->store.layout->no_clone ? 1 : 0);
        gboolean no_clone = k->store.layout->no_clone;
        kit_close(k);
        kit_open(k, store);
        CU_ASSERT_FALSE(k->recovered_damage);
        k->store.layout->no_clone = no_clone;
        if (round == 1) {
            CU_ASSERT_TRUE(set_immutable(fd, FALSE));
            kit_apply_all(k);
            CU_ASSERT_FALSE(catalog_has_prepared(k->store.catalog));
        }
    }
    return TRUE;
}

static void
a_file_that_fails_when_it_was_prepared_is_finished_later(void)
{
    g_autofree char *store = unit_path("store");
    Bytes c[3];
    Kit k;

    c[0] = bytes_random(2 * MIB, 7);
    c[1] = changed(&c[0], 1);
    c[2] = changed(&c[1], 0);
    kit_open(&k, store);
    if (!fail_and_finish(&k, store, "/stable", c, QUALITY_STABLE) ||
        !fail_and_finish(&k, store, "/fuzzy", c, QUALITY_FUZZY))
        unit_skip("no immutable files here");
    kit_close(&k);
    for (guint i = 0; i < 3; i++)
        bytes_clear(&c[i]);
}

static void
remove_journal(const char *store)
{
    g_autofree char *folder = g_build_filename(store, "journal", NULL);
    g_autoptr(GDir) dir = g_dir_open(folder, 0, NULL);
    const char *name;

    while ((name = g_dir_read_name(dir))) {
        g_autofree char *path = g_build_filename(folder, name, NULL);
        CU_ASSERT_EQUAL(unlink(path), 0);
    }
}

/* The mirror is half of this and half of that, and what it was to become is nowhere any more. */
static void
a_prepared_apply_that_lost_its_journal_costs_nothing_before_it(void)
{
    static const char *const crash_points[] = {"apply-prepared", "mirror-written", "apply-placed"};
    Bytes c[3];

    c[0] = bytes_random(2 * MIB, 7);
    c[1] = changed(&c[0], 1);
    c[2] = changed(&c[1], 3); /* and shorter */
    for (guint i = 0; i < G_N_ELEMENTS(crash_points); i++) {
        g_autofree char *name = g_strdup_printf("store%u", i);
        g_autofree char *store = unit_path(name);
        int status;
        Kit k;

        kit_open(&k, store);
        guint64 one = append(&k, "/f", NULL, &c[0], BY_STAGED, QUALITY_STABLE);
        kit_apply_all(&k);
        guint64 two = append(&k, "/f", &c[0], &c[1], BY_RANGES, QUALITY_STABLE);
        kit_apply_all(&k);
        (void) append(&k, "/f", &c[1], &c[2], BY_RANGES, QUALITY_STABLE);
        kit_close(&k);
        pid_t pid = fork();
        if (pid == 0) {
            setenv("FILEDUP_CRASH", crash_points[i], 1);
            kit_open(&k, store);
            k.store.layout->no_clone = TRUE;
            kit_apply_all(&k);
            _exit(0);
        }
        CU_ASSERT_EQUAL(waitpid(pid, &status, 0), pid);
        CU_ASSERT_TRUE(WIFSIGNALED(status));
        remove_journal(store);
        kit_open(&k, store);
        CU_ASSERT_TRUE(k.report.damage);
        CU_ASSERT_TRUE(k.recovered_damage);
        CU_ASSERT_PTR_NOT_NULL(k.recovered_note);
        expect(&k, "/f", one, &c[0]);
        expect(&k, "/f", two, &c[1]);
        g_autoptr(FileView) v = store_view(&k.store, "/f", CATALOG_UNDO, NULL);
        CU_ASSERT_EQUAL(v->current->quality, QUALITY_FUZZY); /* whatever it is */
        CU_ASSERT_EQUAL(v->current->stat.ino, 0);
        (void) append(&k, "/f", NULL, &c[2], BY_CONTENT, QUALITY_STABLE);
        kit_apply_all(&k);
        expect(&k, "/f", one, &c[0]);
        expect(&k, "/f", two, &c[1]);
        expect(&k, "/f", 0, &c[2]);
        kit_close(&k);
    }
    for (guint i = 0; i < 3; i++)
        bytes_clear(&c[i]);
}

/* ---- stores of format 1 ---- */

static char *
unpack(const char *sample)
{
    g_autofree char *archive = g_strdup_printf(SOURCE_FOLDER "/tests/data/%s.tar.zst", sample);
    g_autofree char *folder = unit_path(sample);
    const char *const argv[] = {"tar", "--zstd", "-xf", archive, "-C", folder, NULL};
    int status = -1;

    CU_ASSERT_EQUAL_FATAL(mkdir(folder, 0700), 0);
    if (!g_spawn_sync(NULL, (char **) argv, NULL, G_SPAWN_SEARCH_PATH, NULL, NULL, NULL, NULL,
                      &status, NULL) ||
        status != 0)
        return NULL;
    return g_build_filename(folder, "store", NULL);
}

static void
a_store_of_format_1_goes_on_as_it_was(void)
{
    static const char *const samples[] = {"store-1-clean", "store-1-pending"};

    for (guint i = 0; i < G_N_ELEMENTS(samples); i++) {
        g_autofree char *store = unpack(samples[i]);
        const char *two = i ? "two, newer than the mirror\n" : "two, overwritten by mistake\n";
        g_autofree guint8 *zeros = g_malloc0(100);
        Kit k;

        if (!store) {
            unit_skip("tar cannot unpack zstd here");
            return;
        }
        kit_open(&k, store);
        CU_ASSERT_FALSE(k.report.damage);
        for (guint round = 0; round < 2; round++) {
            g_autoptr(FileView) v = store_view(&k.store, "/sample/one", CATALOG_UNDO, NULL);
            CU_ASSERT_EQUAL_FATAL(v->points->len, 1);
            const Point *deleted = v->points->pdata[0];
            CU_ASSERT_EQUAL(deleted->cause, CAUSE_DELETED);
            kit_expect(&k, "/sample/one", deleted->id, "one, second\n");
            kit_expect(&k, "/sample/one", 0, "one, fourth\n");
            kit_expect(&k, "/sample/two", 0, two);
            kit_expect_bytes(&k, "/sample/gone", 0, zeros, 100);
            kit_apply_all(&k);
        }
        g_autoptr(FileView) v = store_view(&k.store, "/sample/two", CATALOG_UNDO, NULL);
        guint64 id = v->current->id;
        (void) kit_append(&k, "/sample/two", "new", 3, CAUSE_CLOSE, QUALITY_STABLE);
        kit_apply_all(&k);
        kit_expect(&k, "/sample/two", id, two);
        kit_expect(&k, "/sample/two", 0, "new");
        g_autoptr(GBytes) large = kit_content(&k, "/sample/large", 0);
        CU_ASSERT_EQUAL(g_bytes_get_size(large), 9437189);
        kit_close(&k);
    }
}

static const UnitTest tests[] = {
    UNIT_TEST(every_point_survives_every_transition),
    UNIT_TEST(at_random_every_point_is_what_it_was),
    UNIT_TEST(what_is_marked_outlasts_what_follows),
    UNIT_TEST(fuzzy_contents_between_are_merged_away),
    UNIT_TEST(a_suspicious_change_pins_what_was_before_it),
    UNIT_TEST(after_a_crash_of_the_machine_the_last_content_is_kept),
    UNIT_TEST(a_rotten_block_is_never_saved_as_if_it_were_good),
    UNIT_TEST(ranges_over_a_rotten_block_are_given_up_and_cost_nothing_before),
    UNIT_TEST(without_its_mirror_a_point_says_what_it_lacks),
    UNIT_TEST(a_file_that_fails_when_it_was_prepared_is_finished_later),
    UNIT_TEST(a_prepared_apply_that_lost_its_journal_costs_nothing_before_it),
    UNIT_TEST(a_store_of_format_1_goes_on_as_it_was),
};
UNIT_MAIN("points", tests)
