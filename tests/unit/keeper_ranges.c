/* The keeper, ranges: exact in the mirror and in every point, or refused; whatever it dies of. */

#include "config.h"

#include <fcntl.h>
#include <ftw.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/stat.h>

#include "base/error.h"
#include "base/fd.h"
#include "base/sums.h"
#include "store/point.h"
#include "store/reader.h"
#include "tests/unit/keeperkit.h"
#include "tests/unit/storekit.h"
#include "tests/unit/unit.h"

#define B SUM_BLOCK_BYTES

/* The versions of one file as they were sent. */
typedef struct Versions {
    GPtrArray *contents; /* GBytes */
    GArray *ids;         /* guint64 */
    GRand *rand;
} Versions;

static Versions
versions_new(guint32 seed)
{
    return (Versions){.contents = g_ptr_array_new_with_free_func((GDestroyNotify) g_bytes_unref),
                      .ids = g_array_new(FALSE, FALSE, sizeof(guint64)),
                      .rand = g_rand_new_with_seed(seed)};
}

static void
versions_clear(Versions *v)
{
    g_ptr_array_unref(v->contents);
    g_array_unref(v->ids);
    g_rand_free(v->rand);
}

static GBytes *
newest(const Versions *v)
{
    return v->contents->pdata[v->contents->len - 1];
}

static void
add(Versions *v, guint64 id, gconstpointer data, gsize n)
{
    g_ptr_array_add(v->contents, g_bytes_new(data, n));
    g_array_append_val(v->ids, id);
}

static void
fill(Versions *v, guint8 *data, gsize n)
{
    for (gsize i = 0; i < n; i++)
        data[i] = (guint8) g_rand_int_range(v->rand, 1, 256);
}

static guint64
send_whole(KitKeeper *k, Versions *v, const char *path, gsize n)
{
    g_autofree guint8 *data = g_malloc(n + 1);
    g_autoptr(GError) error = NULL;

    fill(v, data, n);
    if (n > CAPTURE_BUFFER_BYTES)
        kit_keeper_append_staged(k, 1, path, data, n, CAUSE_CLOSE);
    else
        kit_keeper_append(k, 1, path, APPEND_CONTENT, data, n, CAUSE_CLOSE);
    guint64 id = kit_keeper_durable(k, 1, &error);
    UNIT_NO_ERROR(error);
    add(v, id, data, n);
    return id;
}

/* The next version: some pages written, some zeroed, now and then cut or extended. */
static GBytes *
change(Versions *v)
{
    GBytes *old = newest(v);
    gsize n = g_bytes_get_size(old), size = n;
    guint what = (guint) g_rand_int_range(v->rand, 0, 4);

    if (what == 0)
        size = n > 3 * B ? n - (gsize) g_rand_int_range(v->rand, 1, 2 * B) : n;
    if (what == 1)
        size = n + (gsize) g_rand_int_range(v->rand, 1, 3 * B);
    g_autofree guint8 *data = g_malloc0(size + 1);
    memcpy(data, g_bytes_get_data(old, NULL), MIN(n, size));
    if (size > n && g_rand_boolean(v->rand))
        fill(v, data + n, size - n);
    for (guint i = (guint) g_rand_int_range(v->rand, 1, 5); i > 0; i--) {
        gsize at = (gsize) g_rand_int_range(v->rand, 0, (gint32) size);
        gsize length = (gsize) g_rand_int_range(v->rand, 1, 9000);
        length = MIN(length, size - at);
        if (g_rand_int_range(v->rand, 0, 4) == 0)
            memset(data + at, 0, length);
        else
            fill(v, data + at, length);
    }
    return g_bytes_new(data, size);
}

static void
send_change(KitKeeper *k, guint64 job, const char *path, GBytes *old, GBytes *new)
{
    gsize n_old, n_new;
    gconstpointer from = g_bytes_get_data(old, &n_old), to = g_bytes_get_data(new, &n_new);

    kit_keeper_ranges(k, job, path, from, n_old, to, n_new);
}

static void
next(KitKeeper *k, Versions *v, const char *path)
{
    g_autoptr(GBytes) data = change(v);
    g_autoptr(GError) error = NULL;

    send_change(k, 2, path, newest(v), data);
    guint64 id = kit_keeper_durable(k, 2, &error);
    UNIT_NO_ERROR(error);
    add(v, id, g_bytes_get_data(data, NULL), g_bytes_get_size(data));
}

static void
expect_version(KitKeeper *k, const Versions *v, const char *path, guint i)
{
    g_autoptr(GError) error = NULL;
    g_autoptr(GBytes) data = kit_keeper_content(k, path, g_array_index(v->ids, guint64, i), &error);

    UNIT_NO_ERROR(error);
    CU_ASSERT_TRUE(g_bytes_equal(data, v->contents->pdata[i]));
}

/* All that was acknowledged is a point, and is what was sent. */
static void
expect_all(KitKeeper *k, const Versions *v, const char *path)
{
    g_autoptr(GVariant) points = kit_keeper_points(k, path);

    CU_ASSERT_EQUAL(g_variant_n_children(points), v->ids->len);
    for (guint i = 0; i < v->ids->len && i < g_variant_n_children(points); i++) {
        guint64 id, size;
        gboolean current;
        g_autoptr(GVariant) p = g_variant_get_child_value(points, v->ids->len - 1 - i);
        g_variant_get_child(p, 0, "t", &id);
        g_variant_get_child(p, 5, "t", &size);
        g_variant_get_child(p, 10, "b", &current);
        CU_ASSERT_EQUAL(id, g_array_index(v->ids, guint64, i));
        CU_ASSERT_EQUAL(size, g_bytes_get_size(v->contents->pdata[i]));
        CU_ASSERT_EQUAL(current, i == v->ids->len - 1);
        expect_version(k, v, path, i);
    }
    g_autoptr(GError) error = NULL;
    g_autoptr(GBytes) now = kit_keeper_content(k, path, 0, &error);
    UNIT_NO_ERROR(error);
    CU_ASSERT_TRUE(g_bytes_equal(now, newest(v)));
}

static void
start(KitKeeper *k, const char *path)
{
    g_autoptr(GError) error = NULL;

    kit_keeper_start(k, path, "", TRUE);
    g_free(kit_keeper_opened(k, NULL, NULL, &error));
    UNIT_NO_ERROR(error);
}

static void
expect_sound(KitKeeper *k, const char *path, guint n_points)
{
    g_autoptr(GError) error = NULL;
    guint points, bad_points;
    g_autofree char *bad = kit_keeper_verify(k, path, TRUE, &points, &bad_points, &error);

    UNIT_NO_ERROR(error);
    CU_ASSERT_STRING_EQUAL(bad, "");
    CU_ASSERT_EQUAL(points, n_points);
    CU_ASSERT_EQUAL(bad_points, 0);
}

static void
ranges_are_exact_in_the_mirror_and_in_every_point(void)
{
    const gsize sizes[] = {100000, 3000000,
                           9000000}; /* copied, in place, first from a staged file */

    for (guint i = 0; i < G_N_ELEMENTS(sizes); i++) {
        g_autofree char *name = g_strdup_printf("store-%u", i);
        g_autofree char *path = unit_path(name);
        Versions v = versions_new(i + 1);
        KitKeeper k;

        start(&k, path);
        (void) send_whole(&k, &v, "/f", sizes[i]);
        for (guint round = 0; round < 12; round++) {
            next(&k, &v, "/f");
            if (round % 4 == 1) /* several that wait, and some that are applied */
                expect_version(&k, &v, "/f", v.ids->len - 1);
        }
        expect_all(&k, &v, "/f");
        expect_sound(&k, "/f", v.ids->len - 1);
        CU_ASSERT_EQUAL(kit_keeper_stop(&k), 0);

        start(&k, path);
        expect_all(&k, &v, "/f");
        next(&k, &v, "/f");
        expect_all(&k, &v, "/f");
        CU_ASSERT_EQUAL(kit_keeper_stop(&k), 0);
        versions_clear(&v);
    }
}

static void
ranges_of_another_content_are_damaged_and_change_nothing(void)
{
    g_autofree char *path = unit_path("store");
    Versions v = versions_new(1);
    g_autoptr(GError) error = NULL;
    KitKeeper k;

    start(&k, path);
    kit_keeper_ranges(&k, 1, "/f", "abc", 3, "abd", 3); /* of a file that it has nothing of */
    CU_ASSERT_EQUAL(kit_keeper_durable(&k, 1, &error), 0);
    CU_ASSERT_TRUE(g_error_matches(error, FILEDUP_ERROR, FILEDUP_ERROR_DAMAGED));
    g_clear_error(&error);

    (void) send_whole(&k, &v, "/f", 200000);
    for (guint round = 0; round < 4; round++) {
        g_autoptr(GBytes) data = change(&v), other = change(&v);
        if (round % 2)
            expect_version(&k, &v, "/f", v.ids->len - 1); /* applied; else it is pending */
        send_change(&k, 1, "/f", other, data);
        CU_ASSERT_EQUAL(kit_keeper_durable(&k, 1, &error), 0);
        CU_ASSERT_TRUE(g_error_matches(error, FILEDUP_ERROR, FILEDUP_ERROR_DAMAGED));
        g_clear_error(&error);
        next(&k, &v, "/f");
    }
    /* The content before the newest one is not the base any more either. */
    g_autoptr(GBytes) data = change(&v);
    send_change(&k, 1, "/f", v.contents->pdata[v.contents->len - 2], data);
    CU_ASSERT_EQUAL(kit_keeper_durable(&k, 1, &error), 0);
    CU_ASSERT_TRUE(g_error_matches(error, FILEDUP_ERROR, FILEDUP_ERROR_DAMAGED));
    expect_all(&k, &v, "/f");
    CU_ASSERT_EQUAL(kit_keeper_stop(&k), 0);
    versions_clear(&v);
}

/* What can be wrong with ranges, one at a time. */
static void
spoil(KitRanges *r, guint what)
{
    Range *first = &g_array_index(r->ranges, Range, 0), same = *first;

    switch (what) {
    case 0:
        first->offset += 1;
        break;
    case 1:
        first->length -= 1;
        break;
    case 2:
        first->length = 0;
        break;
    case 3:
        first->offset = G_MAXUINT64 - B + 1;
        break;
    case 4:
        first->length = G_MAXUINT64 - B + 1;
        break;
    case 5:
        first->zeros = 2;
        break;
    case 6:
        first->zeros = 1;
        break; /* they are not */
    case 7:
        g_array_append_val(r->ranges, same);
        break;
    case 8:
        r->cut = 5;
        break;
    case 9:
        g_byte_array_set_size(r->content, r->content->len - 1);
        break;
    case 10:
        g_byte_array_append(r->content, (const guint8 *) "x", 1);
        break;
    case 11:
        r->content->data[3] ^= 1;
        break;
    case 12:
        r->sums->data[0] ^= 1;
        break; /* not the hash's */
    case 13:
        r->sums->data[0] ^= 1;
        kit_ranges_hash(r);
        break; /* nor the content's */
    case 14:
        g_byte_array_set_size(r->sums, r->sums->len - 8);
        break;
    case 15:
        r->hash[0] ^= 1;
        break;
    case 16:
        r->unsealed = TRUE;
        break;
    case 17:
        r->n_fds = 2;
        break;
    case 18:
        r->n_fds = 1;
        break;
    case 19:
        r->cause = CAUSE_BEFORE_RESTORE;
        break;
    case 20:
        g_array_set_size(r->ranges, 0);
        g_byte_array_set_size(r->content, 0);
        break;
    case 21:
        r->size_bytes += B;
        kit_ranges_hash(r);
        break;
    case 22:
        r->base_hash[0] ^= 1;
        break;
    default:
        g_assert_not_reached();
    }
}

static void
malformed_ranges_are_refused_one_by_one(void)
{
    g_autofree char *path = unit_path("store");
    Versions v = versions_new(5);
    KitKeeper k;

    start(&k, path);
    (void) send_whole(&k, &v, "/f", 10 * B);
    for (guint what = 0; what <= 22; what++) {
        g_autoptr(GError) error = NULL;
        g_autofree guint8 *data = g_memdup2(g_bytes_get_data(newest(&v), NULL), 10 * B);
        data[0] ^= 1;
        data[5 * B] ^= 1;
        KitRanges r = kit_ranges(g_bytes_get_data(newest(&v), NULL), 10 * B, data, 10 * B);
        CU_ASSERT_EQUAL(r.ranges->len, 2);
        spoil(&r, what);
        kit_keeper_send_ranges(&k, what, "/f", &r);
        CU_ASSERT_EQUAL(kit_keeper_durable(&k, what, &error), 0);
        CU_ASSERT_TRUE(
            g_error_matches(error, FILEDUP_ERROR, FILEDUP_ERROR_REFUSED) ||
            (what >= 20 && g_error_matches(error, FILEDUP_ERROR, FILEDUP_ERROR_DAMAGED)));
        kit_ranges_clear(&r);
    }
    expect_all(&k, &v, "/f");
    next(&k, &v, "/f"); /* and it goes on */
    expect_all(&k, &v, "/f");
    CU_ASSERT_EQUAL(kit_keeper_stop(&k), 0);
    versions_clear(&v);
}

static void
sums_are_of_the_newest_content_applied_or_not(void)
{
    g_autofree char *path = unit_path("store");
    Versions v = versions_new(6);
    KitKeeper k;

    start(&k, path);
    (void) send_whole(&k, &v, "/f", 3 * B + 17);
    for (guint round = 0; round < 4; round++) {
        g_autoptr(GError) error = NULL;
        guint8 hash[HASH_BYTES], own[HASH_BYTES];
        guint64 size;
        g_autoptr(GBytes) sums = kit_keeper_sums(&k, "/f", hash, &size, &error);
        UNIT_NO_ERROR(error);
        gsize n = g_bytes_get_size(newest(&v));
        g_autoptr(GBytes) wanted = point_sums(g_bytes_get_data(newest(&v), NULL), n);
        sums_hash(wanted, n, own);
        CU_ASSERT_EQUAL(size, n);
        CU_ASSERT_TRUE(g_bytes_equal(sums, wanted));
        CU_ASSERT_EQUAL(memcmp(hash, own, HASH_BYTES), 0);
        next(&k, &v, "/f");
        if (round == 1) /* applied */
            expect_version(&k, &v, "/f", v.ids->len - 1);
        if (round == 2) { /* replayed: nothing in memory, and asked before it can be applied */
            g_autoptr(GBytes) data = change(&v);
            kit_keeper_kill(&k);
            kit_keeper_start(&k, path, "", FALSE);
            send_change(&k, 2, "/f", newest(&v), data);
            g_free(kit_keeper_opened(&k, NULL, NULL, &error));
            UNIT_NO_ERROR(error);
            guint64 id = kit_keeper_durable(&k, 2, &error);
            UNIT_NO_ERROR(error);
            add(&v, id, g_bytes_get_data(data, NULL), g_bytes_get_size(data));
        }
    }
    g_autoptr(GError) error = NULL;
    guint8 hash[HASH_BYTES];
    guint64 size;
    CU_ASSERT_PTR_NULL(kit_keeper_sums(&k, "/none", hash, &size, &error));
    CU_ASSERT_TRUE(g_error_matches(error, FILEDUP_ERROR, FILEDUP_ERROR_NO_ENTRY));
    CU_ASSERT_EQUAL(kit_keeper_stop(&k), 0);
    versions_clear(&v);
}

/* The same without a keeper, from what one left behind. `more`: a content that was not acknowledged,
 * and may be there. */
static void
expect_offline(StoreReader *r, const Versions *v, const char *path, GBytes *more)
{
    g_autoptr(GError) error = NULL;
    g_autoptr(GArray) points = store_reader_points(r, path, &error);

    UNIT_NO_ERROR(error);
    gboolean one_more = more && points->len == v->ids->len + 1;
    CU_ASSERT_TRUE(one_more || points->len == v->ids->len);
    for (guint i = 0; i < points->len; i++) {
        const StoredPoint *p = &g_array_index(points, StoredPoint, points->len - 1 - i);
        GBytes *wanted = i < v->ids->len ? v->contents->pdata[i] : more;
        g_auto(StoredContent) c = {.fd = -1};
        CU_ASSERT_TRUE(i >= v->ids->len || p->id == g_array_index(v->ids, guint64, i));
        CU_ASSERT_EQUAL(p->newest, i == points->len - 1);
        (void) store_reader_content(r, path, p->id, &c, &error);
        UNIT_NO_ERROR(error);
        gsize n = g_bytes_get_size(wanted);
        g_autofree guint8 *data = g_malloc(n + 1);
        CU_ASSERT_EQUAL_FATAL(c.size_bytes, n);
        CU_ASSERT_TRUE(fd_pread_full(c.fd, data, n, 0));
        CU_ASSERT_EQUAL(memcmp(data, g_bytes_get_data(wanted, NULL), n), 0);
    }
    g_auto(StoredCheck) check = {0};
    (void) store_reader_verify(r, path, TRUE, &check, &error);
    UNIT_NO_ERROR(error);
    CU_ASSERT_EQUAL(check.bad->len, 0);
    CU_ASSERT_EQUAL(check.points, points->len - 1);
    CU_ASSERT_EQUAL(check.bad_points->len, 0);
}

/* A kill takes nothing from the page cache, so the disk may as well be memory: a small one, whose
 * journal has small segments. Without the right to mount it is a folder. */
static char *
in_memory(void)
{
    char *folder = unit_path("memory");

    CU_ASSERT_EQUAL(mkdir(folder, 0700), 0);
    if (geteuid() != 0 || mount("none", folder, "tmpfs", 0, "size=256m") != 0)
        g_printerr("    on the disk: no right to mount a tmpfs\n");
    return folder;
}

static int
remove_one(const char *path, G_GNUC_UNUSED const struct stat *st, G_GNUC_UNUSED int type,
           G_GNUC_UNUSED struct FTW *ftw)
{
    return remove(path);
}

/* A crash at this step, with ranges of two files in flight. TRUE: it was reached. */
static gboolean
crash_at(const char *disk, const char *name, guint n)
{
    g_autofree char *where = g_strdup_printf("%s:%u", name, n);
    g_autofree char *path = g_build_filename(disk, "store", NULL);
    Versions small = versions_new(n + 1), large = versions_new(n + 2);
    gboolean dead = FALSE;
    KitKeeper k;

    start(&k, path);
    (void) send_whole(&k, &small, "/small", 70000);
    (void) send_whole(&k, &large, "/large", 1500000);
    expect_version(&k, &small, "/small", 0);
    expect_version(&k, &large, "/large", 0);
    CU_ASSERT_EQUAL(kit_keeper_stop(&k), 0);

    g_setenv("FILEDUP_CRASH", where, TRUE);
    kit_keeper_start(&k, path, "", FALSE);
    g_unsetenv("FILEDUP_CRASH");
    GBytes *unsure_small = NULL, *unsure_large = NULL;
    for (guint round = 0; round < 4 && !dead; round++) {
        Versions *v = round % 2 ? &large : &small;
        GBytes **unsure = round % 2 ? &unsure_large : &unsure_small;
        g_autoptr(GBytes) data = change(v);
        send_change(&k, 2, round % 2 ? "/large" : "/small", newest(v), data);
        g_autoptr(Message) m = NULL;
        for (;;) { /* the opening may be in front of it */
            g_autoptr(GError) error = NULL;
            g_clear_pointer(&m, message_free);
            m = channel_wait(k.channel, 60000, &error);
            if (!m || m->type == MESSAGE_KEEPER_DURABLE)
                break;
        }
        dead = m == NULL;
        if (dead) {
            *unsure = g_bytes_ref(data);
        } else {
            guint64 id;
            g_variant_get_child(m->body, 2, "t", &id);
            CU_ASSERT_TRUE(id > 0);
            add(v, id, g_bytes_get_data(data, NULL), g_bytes_get_size(data));
        }
        if (!dead && round % 2) { /* let it apply, and maybe die of that */
            kit_keeper_ask_content(&k, 7, "/small", 0);
            kit_keeper_ask_content(&k, 7, "/large", 0);
            for (guint answers = 0; answers < 2 && !dead;) {
                g_autoptr(GError) error = NULL;
                g_autoptr(Message) a = channel_wait(k.channel, 60000, &error);
                dead = a == NULL;
                answers += a && a->type == MESSAGE_KEEPER_CONTENT;
            }
        }
    }
    if (dead)
        (void) kit_keeper_end(&k);
    else if (kit_keeper_stop(&k) != 0)
        dead = TRUE;
    {
        g_autoptr(GError) error = NULL;
        g_autoptr(StoreReader) r = store_reader_open(path, &error);
        UNIT_NO_ERROR(error);
        expect_offline(r, &small, "/small", unsure_small);
        expect_offline(r, &large, "/large", unsure_large);
    }
    start(&k, path);
    for (guint i = 0; i < 2; i++) { /* what was not acknowledged may be there, whole */
        Versions *v = i ? &large : &small;
        GBytes *unsure = i ? unsure_large : unsure_small;
        g_autoptr(GVariant) points = kit_keeper_points(&k, i ? "/large" : "/small");
        if (unsure && g_variant_n_children(points) == v->ids->len + 1) {
            g_autoptr(GVariant) p = g_variant_get_child_value(points, 0);
            guint64 id;
            g_variant_get_child(p, 0, "t", &id);
            add(v, id, g_bytes_get_data(unsure, NULL), g_bytes_get_size(unsure));
        }
        expect_all(&k, v, i ? "/large" : "/small");
        expect_sound(&k, i ? "/large" : "/small", v->ids->len - 1);
        next(&k, v, i ? "/large" : "/small");
        expect_all(&k, v, i ? "/large" : "/small");
    }
    CU_ASSERT_EQUAL(kit_keeper_stop(&k), 0);
    g_clear_pointer(&unsure_small, g_bytes_unref);
    g_clear_pointer(&unsure_large, g_bytes_unref);
    versions_clear(&small);
    versions_clear(&large);
    (void) nftw(path, remove_one, 16, FTW_DEPTH | FTW_PHYS);
    return dead;
}

/* All that service/store names, so that a new one is tried too. */
static GPtrArray *
crash_names(void)
{
    g_autofree char *folder = g_build_filename(SOURCE_FOLDER, "service", "store", NULL);
    g_autoptr(GHashTable) seen = g_hash_table_new_full(g_str_hash, g_str_equal, g_free, NULL);
    g_autoptr(GRegex) regex = g_regex_new("crash_point\\(\"([^\"]+)\"\\)", 0, 0, NULL);
    g_autoptr(GDir) dir = g_dir_open(folder, 0, NULL);
    GPtrArray *names = g_ptr_array_new_with_free_func(g_free);
    const char *item;

    CU_ASSERT_PTR_NOT_NULL_FATAL(dir);
    while ((item = g_dir_read_name(dir))) {
        g_autofree char *path = g_build_filename(folder, item, NULL);
        g_autofree char *text = NULL;
        g_autoptr(GMatchInfo) match = NULL;
        if (!g_str_has_suffix(item, ".c") || !g_file_get_contents(path, &text, NULL, NULL))
            continue;
        for (g_regex_match(regex, text, 0, &match); g_match_info_matches(match);
             g_match_info_next(match, NULL)) {
            g_autofree char *name = g_match_info_fetch(match, 1);
            if (g_hash_table_add(seen, g_strdup(name)))
                g_ptr_array_add(names, g_steal_pointer(&name));
        }
    }
    return names;
}

static void
a_kill_at_each_crash_point_with_ranges_in_flight_loses_nothing(void)
{
    g_autoptr(GPtrArray) names = crash_names();
    g_autofree char *disk = in_memory();
    guint reached = 0;

    for (guint i = 0; i < names->len; i++) {
        gboolean more = TRUE; /* what is not reached once is not reached twice */
        for (guint n = 1; n <= 2 && more; n++) {
            guint failures = CU_get_number_of_failures();
            reached += more = crash_at(disk, names->pdata[i], n);
            if (CU_get_number_of_failures() > failures)
                g_printerr("    at %s:%u\n", (const char *) names->pdata[i], n);
        }
    }
    (void) umount2(disk, MNT_DETACH);
    CU_ASSERT_TRUE(reached >= 20);
    g_printerr("    %u kills, of %u crash points\n", reached, names->len);
}

static const UnitTest tests[] = {
    UNIT_TEST(ranges_are_exact_in_the_mirror_and_in_every_point),
    UNIT_TEST(ranges_of_another_content_are_damaged_and_change_nothing),
    UNIT_TEST(malformed_ranges_are_refused_one_by_one),
    UNIT_TEST(sums_are_of_the_newest_content_applied_or_not),
    UNIT_TEST(a_kill_at_each_crash_point_with_ranges_in_flight_loses_nothing),
};
UNIT_MAIN("keeper: ranges", tests)
