/* The keeper, history: points and how they are read, verified, suspected, pruned and forgotten. */

#include "config.h"

#include <fcntl.h>
#include <ftw.h>
#include <signal.h>
#include <sqlite3.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/stat.h>

#include "base/error.h"
#include "base/fd.h"
#include "base/path.h"
#include "base/sums.h"
#include "store/journal.h"
#include "tests/unit/keeperkit.h"
#include "tests/unit/storekit.h"
#include "tests/unit/unit.h"

#define B SUM_BLOCK_BYTES

static void
start(KitKeeper *k, const char *path)
{
    g_autoptr(GError) error = NULL;

    kit_keeper_start(k, path, "", TRUE);
    g_free(kit_keeper_opened(k, NULL, NULL, &error));
    UNIT_NO_ERROR(error);
}

static guint64
send(KitKeeper *k, const char *path, const void *data, gsize n)
{
    g_autoptr(GError) error = NULL;

    kit_keeper_append(k, 1, path, APPEND_CONTENT, data, n, CAUSE_CLOSE);
    guint64 id = kit_keeper_durable(k, 1, &error);
    UNIT_NO_ERROR(error);
    return id;
}

static guint64
send_text(KitKeeper *k, const char *path, const char *text)
{
    return send(k, path, text, strlen(text));
}

static guint64
send_ranges(KitKeeper *k, const char *path, const void *old, const void *new, gsize n)
{
    g_autoptr(GError) error = NULL;

    kit_keeper_ranges(k, 1, path, old, n, new, n);
    guint64 id = kit_keeper_durable(k, 1, &error);
    UNIT_NO_ERROR(error);
    return id;
}

static gboolean
has(KitKeeper *k, const char *path, guint64 point, const void *data, gsize n)
{
    g_autoptr(GError) error = NULL;
    g_autoptr(GBytes) got = kit_keeper_content(k, path, point, &error);
    g_autoptr(GBytes) wanted = g_bytes_new(data, n);

    if (error)
        g_printerr("    %s\n", error->message);
    return got && g_bytes_equal(got, wanted);
}

static gboolean
has_text(KitKeeper *k, const char *path, guint64 point, const char *text)
{
    return has(k, path, point, text, strlen(text));
}

static guint8 *
noise(gsize n, guint32 seed)
{
    guint8 *data = g_malloc(n + 1);
    g_autoptr(GRand) rand = g_rand_new_with_seed(seed);

    for (gsize i = 0; i < n; i++)
        data[i] = (guint8) g_rand_int(rand);
    return data;
}

static guint
count_points(KitKeeper *k, const char *path)
{
    g_autoptr(GVariant) points = kit_keeper_points(k, path);

    return (guint) g_variant_n_children(points);
}

/* What one of the points says; `index` 0 is the newest. */
typedef struct Said {
    guint64 id, sequence;
    gint64 time_usec;
    guint32 cause, quality;
    guint64 size, changed;
    char *name;
    guint32 kept;
    gint64 deleted;
    gboolean newest;
} Said;

static Said
said(KitKeeper *k, const char *path, guint index)
{
    g_autoptr(GVariant) points = kit_keeper_points(k, path);
    Said s = {0};

    CU_ASSERT_TRUE_FATAL(g_variant_n_children(points) > index);
    g_variant_get_child(points, index, "(ttxuuttsuxb)", &s.id, &s.sequence, &s.time_usec, &s.cause,
                        &s.quality, &s.size, &s.changed, &s.name, &s.kept, &s.deleted, &s.newest);
    return s;
}

/* ---- points ---- */

static void
each_stable_content_is_a_point_and_keeps_its_number(void)
{
    g_autofree char *path = unit_path("store");
    guint64 ids[4];
    KitKeeper k;

    start(&k, path);
    for (guint i = 0; i < 4; i++) {
        g_autofree char *text = g_strdup_printf("content %u", i);
        ids[i] = send_text(&k, "/f", text);
        Said s = said(&k, "/f", 0);
        CU_ASSERT_EQUAL(s.id, ids[i]);
        CU_ASSERT_TRUE(s.newest);
        g_free(s.name);
    }
    CU_ASSERT_EQUAL(count_points(&k, "/f"), 4);
    for (guint i = 0; i < 4; i++) {
        g_autofree char *text = g_strdup_printf("content %u", i);
        Said s = said(&k, "/f", 3 - i);
        CU_ASSERT_EQUAL(s.id, ids[i]);
        CU_ASSERT_EQUAL(s.newest, i == 3);
        CU_ASSERT_EQUAL(s.quality, QUALITY_STABLE);
        CU_ASSERT_EQUAL(s.size, strlen(text));
        g_free(s.name);
        CU_ASSERT_TRUE(has_text(&k, "/f", ids[i], text));
    }
    CU_ASSERT_EQUAL(kit_keeper_stop(&k), 0);
}

static void
a_content_is_found_by_a_time(void)
{
    g_autofree char *path = unit_path("store");
    gint64 times[3];
    KitKeeper k;

    start(&k, path);
    for (guint i = 0; i < 3; i++) {
        g_autofree char *text = g_strdup_printf("content %u", i);
        (void) send_text(&k, "/f", text);
        Said s = said(&k, "/f", 0);
        times[i] = s.time_usec;
        g_free(s.name);
        while (g_get_real_time() <= times[i])
            ;
    }
    for (guint i = 0; i < 3; i++) {
        g_autofree char *text = g_strdup_printf("content %u", i);
        g_autoptr(GError) error = NULL;
        gint64 until = i < 2 ? times[i + 1] - 1 : times[i] + 1000000;
        g_autoptr(GBytes) at = kit_keeper_content_at(&k, "/f", times[i], &error);
        g_autoptr(GBytes) after = kit_keeper_content_at(&k, "/f", until, &error);
        UNIT_NO_ERROR(error);
        CU_ASSERT_EQUAL(memcmp(g_bytes_get_data(at, NULL), text, strlen(text)), 0);
        CU_ASSERT_EQUAL(memcmp(g_bytes_get_data(after, NULL), text, strlen(text)), 0);
    }
    g_autoptr(GError) error = NULL;
    g_autoptr(GBytes) before = kit_keeper_content_at(&k, "/f", times[0] - 1, &error);
    CU_ASSERT_PTR_NULL(before);
    CU_ASSERT_TRUE(g_error_matches(error, FILEDUP_ERROR, FILEDUP_ERROR_NO_ENTRY));
    CU_ASSERT_EQUAL(kit_keeper_stop(&k), 0);
}

static void
a_mark_is_durable_and_has_the_points_number(void)
{
    g_autofree char *path = unit_path("store");
    g_autoptr(GError) error = NULL;
    KitKeeper k;

    start(&k, path);
    CU_ASSERT_EQUAL(kit_keeper_mark(&k, "/f", "early", &error), 0);
    CU_ASSERT_TRUE(g_error_matches(error, FILEDUP_ERROR, FILEDUP_ERROR_NO_ENTRY));
    g_clear_error(&error);
    guint64 id = send_text(&k, "/f", "release");
    CU_ASSERT_EQUAL(kit_keeper_mark(&k, "/f", "v1.0", &error), id);
    UNIT_NO_ERROR(error);
    CU_ASSERT_EQUAL(kit_keeper_mark(&k, "/f", "a\nb", &error), 0);
    CU_ASSERT_TRUE(g_error_matches(error, FILEDUP_ERROR, FILEDUP_ERROR_REFUSED));
    g_clear_error(&error);
    kit_keeper_kill(&k);

    start(&k, path);
    (void) send_text(&k, "/f", "next");
    for (guint i = 0; i < 2; i++) { /* pending, and applied */
        Said s = said(&k, "/f", 1);
        CU_ASSERT_EQUAL(s.id, id);
        CU_ASSERT_STRING_EQUAL(s.name, "v1.0");
        CU_ASSERT_TRUE(s.kept & KEPT_NAMED);
        g_free(s.name);
        CU_ASSERT_TRUE(has_text(&k, "/f", id, "release"));
    }
    CU_ASSERT_EQUAL(kit_keeper_stop(&k), 0);
}

static void
what_a_restore_replaced_is_stored_once(void)
{
    g_autofree char *path = unit_path("store");
    g_autoptr(GError) error = NULL;
    KitKeeper k;

    start(&k, path);
    guint64 id = send_text(&k, "/f", "current");
    kit_keeper_append(&k, 2, "/f", APPEND_CONTENT, "current", 7, CAUSE_BEFORE_RESTORE);
    CU_ASSERT_EQUAL(kit_keeper_durable(&k, 2, &error), id);
    UNIT_NO_ERROR(error);
    CU_ASSERT_EQUAL(count_points(&k, "/f"), 1);
    kit_keeper_append(&k, 3, "/f", APPEND_CONTENT, "edited!", 7, CAUSE_BEFORE_RESTORE);
    guint64 saved = kit_keeper_durable(&k, 3, &error);
    CU_ASSERT_TRUE(saved > id);
    kit_keeper_append_staged(&k, 4, "/f", "current", 7, CAUSE_BEFORE_RESTORE);
    CU_ASSERT_EQUAL(kit_keeper_durable(&k, 4, &error), id);
    CU_ASSERT_EQUAL(count_points(&k, "/f"), 2);
    CU_ASSERT_TRUE(has_text(&k, "/f", saved, "edited!"));
    CU_ASSERT_TRUE(has_text(&k, "/f", 0, "current"));

    /* A mirror that has rotted proves nothing: then it is stored. */
    g_autofree char *mirrors = g_build_filename(path, "mirrors", NULL);
    g_autoptr(GDir) dir = g_dir_open(mirrors, 0, NULL);
    const char *item;
    while ((item = g_dir_read_name(dir)))
        if (g_str_has_suffix(item, "-f")) {
            g_autofree char *mirror = g_build_filename(mirrors, item, "f", NULL);
            g_auto(Fd) fd = open(mirror, O_WRONLY | O_CLOEXEC);
            CU_ASSERT_TRUE(fd_pwrite_full(fd, "X", 1, 2));
        }
    kit_keeper_append(&k, 5, "/f", APPEND_CONTENT, "current", 7, CAUSE_BEFORE_RESTORE);
    guint64 healed = kit_keeper_durable(&k, 5, &error);
    CU_ASSERT_TRUE(healed > saved);
    CU_ASSERT_TRUE(has_text(&k, "/f", healed, "current"));
    CU_ASSERT_EQUAL(kit_keeper_stop(&k), 0);
}

/* ---- reading while it goes on ---- */

/* Nobody waits while its mirror is read. */
static void
what_a_restore_replaced_is_stored_again_if_it_is_large(void)
{
    g_autofree char *path = unit_path("store");
    const gsize n = 64 * 1024 * 1024;
    g_autofree guint8 *data = g_malloc0(n + 1);
    g_autoptr(GError) error = NULL;
    KitKeeper k;

    start(&k, path);
    for (guint more = 0; more < 2; more++) {
        const char *name = more ? "/more" : "/f";
        kit_keeper_append_staged(&k, 1, name, data, n + more, CAUSE_CLOSE);
        guint64 first = kit_keeper_durable(&k, 1, &error);
        kit_keeper_append_staged(&k, 1, name, data, n + more, CAUSE_BEFORE_RESTORE);
        guint64 again = kit_keeper_durable(&k, 1, &error);
        UNIT_NO_ERROR(error);
        CU_ASSERT_TRUE(first > 0 && again > 0);
        CU_ASSERT_EQUAL(again == first, more == 0);
    }
    CU_ASSERT_EQUAL(kit_keeper_stop(&k), 0);
}

static void
points_are_read_while_appends_go_on(void)
{
    g_autofree char *path = unit_path("store");
    const gsize n = 6 * 1024 * 1024;
    g_autoptr(GPtrArray) contents = g_ptr_array_new_with_free_func(g_free);
    g_autoptr(GArray) ids = g_array_new(FALSE, FALSE, sizeof(guint64));
    KitKeeper k;

    start(&k, path);
    g_ptr_array_add(contents, noise(n, 1));
    guint64 id = send(&k, "/f", contents->pdata[0], n);
    g_array_append_val(ids, id);
    for (guint i = 1; i < 30; i++) {
        guint8 *next = g_memdup2(contents->pdata[i - 1], n);
        g_autofree guint8 *bytes = noise(5000, i + 1);
        memcpy(next + (gsize) i * 100000, bytes, 5000);
        g_ptr_array_add(contents, next);
        kit_keeper_ranges(&k, 100 + i, "/f", contents->pdata[i - 1], n, next, n);
        kit_keeper_ask_content(&k, i, "/f", g_array_index(ids, guint64, i / 2));
        /* The answers come as they come. */
        gboolean durable = FALSE, content = FALSE;
        while (!durable || !content) {
            g_autoptr(GError) error = NULL;
            g_autoptr(Message) m = channel_wait(k.channel, 60000, &error);
            CU_ASSERT_PTR_NOT_NULL_FATAL(m);
            if (m->type == MESSAGE_KEEPER_DURABLE) {
                g_variant_get_child(m->body, 2, "t", &id);
                CU_ASSERT_TRUE(id > 0);
                g_array_append_val(ids, id);
                durable = TRUE;
            } else if (m->type == MESSAGE_KEEPER_CONTENT) {
                g_autofree guint8 *got = g_malloc(n);
                g_auto(Fd) fd = message_take_fd(m, 0);
                CU_ASSERT_TRUE_FATAL(fd >= 0);
                CU_ASSERT_TRUE(fd_pread_full(fd, got, n, 0));
                CU_ASSERT_EQUAL(memcmp(got, contents->pdata[i / 2], n), 0);
                content = TRUE;
            }
        }
    }
    CU_ASSERT_EQUAL(count_points(&k, "/f"), 30);
    for (guint i = 0; i < 30; i += 7)
        CU_ASSERT_TRUE(has(&k, "/f", g_array_index(ids, guint64, i), contents->pdata[i], n));
    CU_ASSERT_EQUAL(kit_keeper_stop(&k), 0);
}

static void
what_is_not_wanted_any_more_is_answered_too_and_the_others_come(void)
{
    g_autofree char *path = unit_path("store");
    const gsize n = 4 * 1024 * 1024;
    g_autofree guint8 *old = noise(n, 1), *new = g_memdup2(old, n);
    gboolean seen[6] = {FALSE};
    KitKeeper k;

    new[n / 2] ^= 1;
    start(&k, path);
    guint64 id = send(&k, "/f", old, n);
    CU_ASSERT_TRUE(has(&k, "/f", 0, old, n));
    (void) send_ranges(&k, "/f", old, new, n);
    CU_ASSERT_EQUAL(kill(k.pid, SIGSTOP), 0); /* so that all of them wait */
    for (guint i = 0; i < 6; i++)
        kit_keeper_ask_content(&k, i, "/f", id);
    (void) channel_send(k.channel, MESSAGE_DAEMON_CANCEL,
                        g_variant_new("(t)", G_GUINT64_CONSTANT(5)), NULL, 0, NULL);
    CU_ASSERT_EQUAL(kill(k.pid, SIGCONT), 0);
    for (guint i = 0; i < 6; i++) {
        g_autoptr(GError) error = NULL;
        guint64 job = 99;
        g_autoptr(GBytes) data = kit_keeper_take_content(&k, &job, NULL, &error);
        CU_ASSERT_TRUE_FATAL(job < 6 && !seen[job]);
        seen[job] = TRUE;
        if (job == 5 && error) {
            CU_ASSERT_TRUE(g_error_matches(error, FILEDUP_ERROR, FILEDUP_ERROR_AGAIN));
            continue;
        }
        UNIT_NO_ERROR(error);
        CU_ASSERT_EQUAL(memcmp(g_bytes_get_data(data, NULL), old, n), 0);
    }
    /* A stop does not wait for readers. */
    for (guint i = 0; i < 6; i++)
        kit_keeper_ask_content(&k, i, "/f", id);
    (void) channel_send(k.channel, MESSAGE_DAEMON_STOP, g_variant_new("()"), NULL, 0, NULL);
    g_autoptr(Message) none = NULL;
    do
        g_clear_pointer(&none, message_free);
    while ((none = channel_wait(k.channel, 60000, NULL)));
    CU_ASSERT_EQUAL(kit_keeper_end(&k), 0);
}

static void
what_was_handed_out_does_not_change(void)
{
    g_autofree char *path = unit_path("store");
    const gsize n = 3 * 1024 * 1024;
    g_autofree guint8 *old = noise(n, 1), *new = g_memdup2(old, n), *third = NULL;
    g_autofree guint8 *got = g_malloc(n);
    g_autoptr(GError) error = NULL;
    g_auto(Fd) fd = -1;
    KitKeeper k;

    memset(new + n / 2, 7, 4096);
    third = g_memdup2(new, n);
    memset(third, 9, 4096);
    start(&k, path);
    (void) send(&k, "/f", old, n);
    kit_keeper_ask_content(&k, 1, "/f", 0);
    g_autoptr(GBytes) data = kit_keeper_take_content(&k, NULL, &fd, &error);
    UNIT_NO_ERROR(error);
    (void) send_ranges(&k, "/f", old, new, n);
    CU_ASSERT_TRUE(has(&k, "/f", 0, new, n)); /* applied */
    CU_ASSERT_TRUE(fd_pread_full(fd, got, n, 0));
    CU_ASSERT_EQUAL(memcmp(got, old, n), 0);
    fd_clear(fd_steal(&fd));
    (void) send_ranges(&k, "/f", new, third, n);
    CU_ASSERT_TRUE(has(&k, "/f", 0, third, n));
    CU_ASSERT_EQUAL(kit_keeper_stop(&k), 0);
    g_autofree char *staged = g_build_filename(path, "staged", NULL);
    g_autoptr(GDir) dir = g_dir_open(staged, 0, NULL);
    CU_ASSERT_PTR_NULL(g_dir_read_name(dir)); /* nothing is lent for ever */
}

/* ---- verification ---- */

/* Flips one byte of the only file below `folder` that has at least so many bytes. */
static char flip_folder[4096];
static goffset flip_at;
static guint flipped;

static int
flip_one(const char *path, const struct stat *st, int type, G_GNUC_UNUSED struct FTW *ftw)
{
    if (type != FTW_F || st->st_size <= flip_at || g_str_has_suffix(path, ".origin"))
        return 0;
    g_auto(Fd) fd = open(path, O_RDWR | O_CLOEXEC);
    guint8 byte;
    CU_ASSERT_TRUE(fd_pread_full(fd, &byte, 1, flip_at));
    byte ^= 0x40;
    CU_ASSERT_TRUE(fd_pwrite_full(fd, &byte, 1, flip_at));
    flipped++;
    return 0;
}

static guint
flip(const char *store, const char *folder, goffset at)
{
    g_snprintf(flip_folder, sizeof flip_folder, "%s/%s", store, folder);
    flip_at = at;
    flipped = 0;
    (void) nftw(flip_folder, flip_one, 16, FTW_PHYS);
    return flipped;
}

static void
verify_finds_a_flipped_byte_and_says_where(void)
{
    g_autofree char *path = unit_path("store");
    const gsize n = 2 * 1024 * 1024 + 100;
    g_autofree guint8 *old = noise(n, 1), *new = g_memdup2(old, n);
    g_autoptr(GError) error = NULL;
    guint points, bad_points;
    KitKeeper k;

    memset(new + 10 * B, 1, 4096);
    start(&k, path);
    (void) send(&k, "/f", old, n);
    CU_ASSERT_TRUE(has(&k, "/f", 0, old, n));
    (void) send_ranges(&k, "/f", old, new, n);
    CU_ASSERT_TRUE(has(&k, "/f", 0, new, n));
    g_autofree char *sound = kit_keeper_verify(&k, "/f", TRUE, &points, &bad_points, &error);
    UNIT_NO_ERROR(error);
    CU_ASSERT_STRING_EQUAL(sound, "");
    CU_ASSERT_EQUAL(points, 1);
    CU_ASSERT_EQUAL(bad_points, 0);

    CU_ASSERT_EQUAL(flip(path, "mirrors", 5 * B + 77), 1);
    CU_ASSERT_EQUAL(flip(path, "mirrors", n - 1), 1);
    g_autofree char *where = g_strdup_printf("%u+%u %u+%u", 5 * B, B, 128 * B, 100);
    g_autofree char *bad = kit_keeper_verify(&k, "/f", FALSE, &points, &bad_points, &error);
    UNIT_NO_ERROR(error);
    CU_ASSERT_STRING_EQUAL(bad, where);
    CU_ASSERT_EQUAL(points, 0);
    CU_ASSERT_EQUAL(flip(path, "mirrors", 5 * B + 77), 1); /* and back */
    CU_ASSERT_EQUAL(flip(path, "mirrors", n - 1), 1);

    CU_ASSERT_TRUE(flip(path, "history", 600) > 0);
    g_autofree char *mirror = kit_keeper_verify(&k, "/f", TRUE, &points, &bad_points, &error);
    UNIT_NO_ERROR(error);
    CU_ASSERT_STRING_EQUAL(mirror, "");
    CU_ASSERT_EQUAL(points, 1);
    CU_ASSERT_EQUAL(bad_points, 1);

    g_autofree char *none = kit_keeper_verify(&k, "/none", TRUE, NULL, NULL, &error);
    CU_ASSERT_PTR_NULL(none);
    CU_ASSERT_TRUE(g_error_matches(error, FILEDUP_ERROR, FILEDUP_ERROR_NO_ENTRY));
    CU_ASSERT_EQUAL(kit_keeper_stop(&k), 0);
}

/* ---- suspicion ---- */

static guint8 *
prose(gsize n)
{
    g_autoptr(GString) text = g_string_sized_new(n + 40);

    for (guint i = 0; text->len < n; i++)
        g_string_append_printf(text, "line %u of a report that nobody reads\n", i);
    return (guint8 *) g_string_free(g_steal_pointer(&text), FALSE);
}

static void
expect_suspicion(KitKeeper *k, guint32 wanted, guint64 good)
{
    guint32 suspicion;
    guint64 point;

    (void) kit_keeper_state(k, "/f", &suspicion, &point);
    CU_ASSERT_EQUAL(suspicion, wanted);
    CU_ASSERT_EQUAL(point, good);
}

static void
a_suspicion_stands_until_it_is_approved(void)
{
    const gsize n = 200000;
    g_autofree guint8 *text = prose(n), *cipher = noise(n, 1), *small = g_memdup2(cipher, n);

    small[5] ^= 1;
    for (guint round = 0; round < 3; round++) { /* whole, by ranges, through a staged file */
        g_autofree char *name = g_strdup_printf("store-%u", round);
        g_autofree char *path = unit_path(name);
        g_autoptr(GError) error = NULL;
        guint32 suspicion;
        KitKeeper k;

        start(&k, path);
        guint64 good = send(&k, "/f", text, n);
        expect_suspicion(&k, 0, 0);
        if (round == 0)
            kit_keeper_append(&k, 1, "/f", APPEND_CONTENT, cipher, n, CAUSE_CLOSE);
        else if (round == 1)
            kit_keeper_ranges(&k, 1, "/f", text, n, cipher, n);
        else
            kit_keeper_append_staged(&k, 1, "/f", cipher, n, CAUSE_CLOSE);
        CU_ASSERT_TRUE(kit_keeper_durable_as(&k, 1, &suspicion, &error) > 0);
        UNIT_NO_ERROR(error);
        CU_ASSERT_EQUAL(suspicion, SUSPICION_ENCRYPTED);
        expect_suspicion(&k, SUSPICION_ENCRYPTED, good);
        kit_keeper_kill(&k);

        start(&k, path);
        expect_suspicion(&k, SUSPICION_ENCRYPTED, good);
        kit_keeper_ranges(&k, 1, "/f", cipher, n, small, n); /* what comes later is said so too */
        CU_ASSERT_TRUE(kit_keeper_durable_as(&k, 1, &suspicion, &error) > 0);
        CU_ASSERT_EQUAL(suspicion, SUSPICION_ENCRYPTED);
        kit_keeper_policy(&k, "/f", "", 0);
        g_autoptr(GVariant) pruned = kit_keeper_prune(&k, "/f", FALSE, &error);
        UNIT_NO_ERROR(error);
        CU_ASSERT_EQUAL(g_variant_n_children(pruned), 0); /* frozen */
        CU_ASSERT_TRUE(has(&k, "/f", good, text, n));
        Said s = said(&k, "/f", 2);
        CU_ASSERT_EQUAL(s.id, good);
        CU_ASSERT_TRUE(s.kept & KEPT_SUSPICION);
        g_free(s.name);

        CU_ASSERT_TRUE(kit_keeper_approve(&k, "/f", &error));
        UNIT_NO_ERROR(error);
        expect_suspicion(&k, 0, 0);
        s = said(&k, "/f", 2);
        CU_ASSERT_FALSE(s.kept & KEPT_SUSPICION);
        g_free(s.name);
        kit_keeper_append(&k, 1, "/f", APPEND_CONTENT, text, n, CAUSE_CLOSE);
        CU_ASSERT_TRUE(kit_keeper_durable_as(&k, 1, &suspicion, &error) > 0);
        CU_ASSERT_EQUAL(suspicion, 0);
        kit_keeper_kill(&k);
        start(&k, path);
        expect_suspicion(&k, 0, 0);
        CU_ASSERT_EQUAL(kit_keeper_stop(&k), 0);
    }
}

static void
an_emptied_file_is_suspected_and_the_content_before_is_pinned(void)
{
    g_autofree char *path = unit_path("store");
    g_autoptr(GError) error = NULL;
    guint32 suspicion;
    KitKeeper k;

    start(&k, path);
    guint64 good = send_text(&k, "/f", "something");
    CU_ASSERT_TRUE(has_text(&k, "/f", 0, "something"));
    kit_keeper_ranges(&k, 1, "/f", "something", 9, "", 0);
    CU_ASSERT_TRUE(kit_keeper_durable_as(&k, 1, &suspicion, &error) > 0);
    UNIT_NO_ERROR(error);
    CU_ASSERT_EQUAL(suspicion, SUSPICION_EMPTIED);
    expect_suspicion(&k, SUSPICION_EMPTIED, good);
    CU_ASSERT_TRUE(has_text(&k, "/f", good, "something"));
    CU_ASSERT_TRUE(has_text(&k, "/f", 0, ""));
    CU_ASSERT_FALSE(kit_keeper_approve(&k, "/none", &error));
    CU_ASSERT_TRUE(g_error_matches(error, FILEDUP_ERROR, FILEDUP_ERROR_NO_ENTRY));
    CU_ASSERT_EQUAL(kit_keeper_stop(&k), 0);
}

/* Fuzzy first: it was being written when it was seen. Then stable: as a content, or as attributes only;
 * with what is before applied by then, or waiting, or known to the head or not. */
static void
a_file_seen_empty_before_it_stands_still_is_suspected_then(void)
{
    g_autofree char *path = unit_path("store");
    KitKeeper k;

    start(&k, path);
    for (guint i = 0; i < 8; i++) {
        g_autofree char *name = g_strdup_printf("/f%u", i);
        g_autoptr(GError) error = NULL;
        guint32 suspicion = 0, state = 0;
        guint64 pinned = 0;
        guint64 good = send_text(&k, name, "something");
        kit_keeper_append_fuzzy(&k, 1, name, "", 0);
        CU_ASSERT_TRUE(kit_keeper_durable_as(&k, 1, &suspicion, &error) > 0);
        CU_ASSERT_EQUAL(suspicion, 0);
        if (i & 1)
            CU_ASSERT_TRUE(has_text(&k, name, good, "something"));
        if (i & 4) {
            CU_ASSERT_EQUAL(kit_keeper_stop(&k), 0);
            start(&k, path);
        }
        kit_keeper_append(&k, 1, name, i & 2 ? APPEND_ATTRIBUTES : APPEND_CONTENT,
                          i & 2 ? NULL : "", 0, CAUSE_CLOSE);
        CU_ASSERT_TRUE(kit_keeper_durable_as(&k, 1, &suspicion, &error) > 0);
        UNIT_NO_ERROR(error);
        CU_ASSERT_EQUAL(suspicion, SUSPICION_EMPTIED);
        for (guint again = 0; again < 2; again++) {
            (void) kit_keeper_state(&k, name, &state, &pinned);
            CU_ASSERT_EQUAL(state, SUSPICION_EMPTIED);
            CU_ASSERT_EQUAL(pinned, good);
            CU_ASSERT_TRUE(has_text(&k, name, good, "something"));
            CU_ASSERT_EQUAL(kit_keeper_stop(&k), 0);
            start(&k, path);
        }
        CU_ASSERT_TRUE(kit_keeper_approve(&k, name, &error));
        kit_keeper_append(&k, 1, name, APPEND_ATTRIBUTES, NULL, 0, CAUSE_CLOSE);
        CU_ASSERT_TRUE(kit_keeper_durable_as(&k, 1, &suspicion, &error) > 0);
        CU_ASSERT_EQUAL(suspicion, 0);
    }
    CU_ASSERT_EQUAL(kit_keeper_stop(&k), 0);
}

/* ---- giving up ---- */

/* Makes all that a store has 40 days old. */
static void
age(const char *path)
{
    g_autofree char *catalog = g_build_filename(path, "catalog.db", NULL);
    sqlite3 *db = NULL;

    CU_ASSERT_EQUAL_FATAL(sqlite3_open(catalog, &db), SQLITE_OK);
    CU_ASSERT_EQUAL_FATAL(sqlite3_exec(db,
                                       "UPDATE point SET time = time - 3456000000000;"
                                       "UPDATE file SET time = time - 3456000000000;",
                                       NULL, NULL, NULL),
                          SQLITE_OK);
    (void) sqlite3_close(db);
}

static void
a_dry_run_changes_nothing_and_a_run_what_it_said(void)
{
    g_autofree char *path = unit_path("store");
    g_autoptr(GError) error = NULL;
    guint64 first = 0, last = 0;
    KitKeeper k;

    start(&k, path);
    for (guint i = 0; i < 10; i++) {
        g_autofree char *text = g_strdup_printf("content %u", i);
        guint64 id = send_text(&k, "/f", text);
        first = first ? first : id;
        last = id;
        CU_ASSERT_TRUE(has_text(&k, "/f", 0, text));
    }
    CU_ASSERT_EQUAL(kit_keeper_stop(&k), 0);
    age(path);
    start(&k, path);
    (void) send_text(&k, "/today", "so that the clock is believed");
    kit_keeper_policy(&k, "/f", "", 3);
    g_autoptr(GVariant) would = kit_keeper_prune(&k, "", TRUE, &error);
    UNIT_NO_ERROR(error);
    CU_ASSERT_EQUAL(g_variant_n_children(would), 7);
    CU_ASSERT_EQUAL(count_points(&k, "/f"), 10);
    CU_ASSERT_TRUE(has_text(&k, "/f", first, "content 0"));
    g_autoptr(GVariant) done = kit_keeper_prune(&k, "", FALSE, &error);
    UNIT_NO_ERROR(error);
    CU_ASSERT_TRUE(g_variant_equal(would, done));
    CU_ASSERT_EQUAL(count_points(&k, "/f"), 3);
    CU_ASSERT_TRUE(has_text(&k, "/f", last, "content 9"));
    g_autoptr(GBytes) gone = kit_keeper_content(&k, "/f", first, &error);
    CU_ASSERT_PTR_NULL(gone);
    CU_ASSERT_TRUE(g_error_matches(error, FILEDUP_ERROR, FILEDUP_ERROR_NO_ENTRY));
    g_clear_error(&error);
    guint points, bad;
    g_autofree char *sound = kit_keeper_verify(&k, "/f", TRUE, &points, &bad, &error);
    UNIT_NO_ERROR(error);
    CU_ASSERT_EQUAL(points, 2);
    CU_ASSERT_EQUAL(bad, 0);
    CU_ASSERT_EQUAL(kit_keeper_stop(&k), 0);
}

static const char *secret;
static guint found;

static int
look_for_secret(const char *path, const struct stat *st, int type, G_GNUC_UNUSED struct FTW *ftw)
{
    if (type != FTW_F || st->st_size == 0)
        return 0;
    g_autoptr(GBytes) bytes = unit_read(path);
    gsize n;
    const void *data = g_bytes_get_data(bytes, &n);
    if (memmem(data, n, secret, strlen(secret))) {
        found++;
        if (found == 1)
            g_debug("found in %s", path);
    }
    return 0;
}

static guint
files_with(const char *store, const char *text)
{
    secret = text;
    found = 0;
    (void) nftw(store, look_for_secret, 16, FTW_PHYS);
    return found;
}

static void
what_is_forgotten_is_gone_from_every_file_of_the_store(void)
{
    static const char hidden[] = "correct horse battery staple 7351";

    for (guint round = 0; round < 2; round++) { /* one point; all that the store has of the file */
        g_autofree char *name = g_strdup_printf("store-%u", round);
        g_autofree char *path = unit_path(name);
        g_autofree guint8 *old = noise(3 * B, 4), *with = g_memdup2(old, 3 * B);
        g_autoptr(GError) error = NULL;
        KitKeeper k;

        memcpy(with + B + 100, hidden, sizeof hidden);
        start(&k, path);
        (void) send_text(&k, "/other", "untouched");
        (void) send(&k, "/f", old, 3 * B);
        guint64 leaked = send(&k, "/f", with, 3 * B);
        if (round == 0)
            (void) send_ranges(&k, "/f", with, old, 3 * B);
        CU_ASSERT_TRUE(files_with(path, hidden) > 0);
        guint n = kit_keeper_forget(&k, "/f", round == 0 ? leaked : 0, round == 1, &error);
        UNIT_NO_ERROR(error);
        CU_ASSERT_EQUAL(n, round == 0 ? 1 : 2);
        CU_ASSERT_EQUAL(files_with(path, hidden), 0);
        CU_ASSERT_TRUE(has_text(&k, "/other", 0, "untouched"));
        if (round == 0) {
            CU_ASSERT_TRUE(has(&k, "/f", 0, old, 3 * B));
            CU_ASSERT_EQUAL(count_points(&k, "/f"), 2);
        } else {
            CU_ASSERT_EQUAL(kit_keeper_state(&k, "/f", NULL, NULL), STORED_NOTHING);
            (void) send_text(&k, "/f", "anew");
            CU_ASSERT_TRUE(has_text(&k, "/f", 0, "anew"));
        }
        CU_ASSERT_EQUAL(kit_keeper_stop(&k), 0);
        CU_ASSERT_EQUAL(files_with(path, hidden), 0);
    }
}

static void
a_forgetting_that_was_cut_short_is_finished_by_the_next_keeper(void)
{
    static const char *const names[] = {"forget-dropped", "compact-saved",  "compact-prepared",
                                        "forget-packs",   "forget-journal", "forget-scrubbed"};
    static const char hidden[] = "correct horse battery staple 7352";

    for (guint i = 0; i < G_N_ELEMENTS(names); i++) {
        g_autofree char *path = unit_path(names[i]);
        g_autofree guint8 *old = noise(3 * B, 4), *with = g_memdup2(old, 3 * B);
        g_autoptr(GError) error = NULL;
        KitKeeper k;

        memcpy(with + B + 100, hidden, sizeof hidden);
        g_setenv("FILEDUP_CRASH", names[i], TRUE);
        start(&k, path);
        g_unsetenv("FILEDUP_CRASH");
        (void) send_text(&k, "/other", "first");
        (void) send_text(&k, "/other", "second");
        guint64 leaked = send(&k, "/f", with, 3 * B);
        (void) send_ranges(&k, "/f", with, old, 3 * B);
        CU_ASSERT_TRUE(has(&k, "/f", 0, old, 3 * B));
        CU_ASSERT_TRUE(files_with(path, hidden) > 0);
        (void) channel_send(
            k.channel, MESSAGE_DAEMON_FORGET,
            g_variant_new("(t@aytb)", G_GUINT64_CONSTANT(11), path_to_variant("/f"), leaked, FALSE),
            NULL, 0, NULL);
        g_autoptr(Message) m = kit_keeper_wait(&k, MESSAGE_KEEPER_FORGOTTEN);
        if (m) {
            CU_ASSERT_EQUAL(kit_keeper_stop(&k), 0); /* it has no such step here */
        } else {
            CU_ASSERT_EQUAL(kit_keeper_end(&k), -SIGKILL);
        }
        start(&k, path);
        g_autoptr(GVariant) after = kit_keeper_prune(&k, "", TRUE, &error); /* comes after it */
        UNIT_NO_ERROR(error);
        CU_ASSERT_EQUAL(files_with(path, hidden), 0);
        CU_ASSERT_TRUE(has(&k, "/f", 0, old, 3 * B));
        CU_ASSERT_TRUE(has_text(&k, "/other", 0, "second"));
        CU_ASSERT_EQUAL(count_points(&k, "/other"), 2);
        Said s = said(&k, "/other", 1);
        CU_ASSERT_TRUE(has_text(&k, "/other", s.id, "first"));
        g_free(s.name);
        CU_ASSERT_EQUAL(kit_keeper_stop(&k), 0);
    }
}

static void
the_newest_content_is_not_forgotten_by_its_number(void)
{
    g_autofree char *path = unit_path("store");
    g_autoptr(GError) error = NULL;
    KitKeeper k;

    start(&k, path);
    guint64 id = send_text(&k, "/f", "only");
    CU_ASSERT_EQUAL(kit_keeper_forget(&k, "/f", id, FALSE, &error), G_MAXUINT);
    CU_ASSERT_TRUE(g_error_matches(error, FILEDUP_ERROR, FILEDUP_ERROR_REFUSED));
    g_clear_error(&error);
    CU_ASSERT_EQUAL(kit_keeper_forget(&k, "/f", id + 1, FALSE, &error), G_MAXUINT);
    CU_ASSERT_TRUE(g_error_matches(error, FILEDUP_ERROR, FILEDUP_ERROR_NO_ENTRY));
    g_clear_error(&error);
    CU_ASSERT_EQUAL(kit_keeper_forget(&k, "/none", 0, TRUE, &error), G_MAXUINT);
    CU_ASSERT_TRUE(g_error_matches(error, FILEDUP_ERROR, FILEDUP_ERROR_NO_ENTRY));
    CU_ASSERT_TRUE(has_text(&k, "/f", id, "only"));
    CU_ASSERT_EQUAL(kit_keeper_stop(&k), 0);
}

/* ---- space ---- */

static int64_t store_bytes;

static int
add_size(G_GNUC_UNUSED const char *path, const struct stat *st, int type,
         G_GNUC_UNUSED struct FTW *ftw)
{
    if (type == FTW_F)
        store_bytes += st->st_blocks * 512;
    return 0;
}

static guint64
size_of(const char *store)
{
    store_bytes = 0;
    (void) nftw(store, add_size, 16, FTW_PHYS);
    return (guint64) store_bytes;
}

static void
a_limit_thins_the_oldest_and_keeps_the_newest(void)
{
    g_autofree char *path = unit_path("store");
    const gsize n = 1024 * 1024;
    g_autoptr(GError) error = NULL;
    KitKeeper k;
    guint64 first = 0;

    start(&k, path);
    for (guint i = 0; i < 30; i++) {
        g_autofree guint8 *data = noise(n, i + 1);
        guint64 id = send(&k, "/f", data, n);
        first = first ? first : id;
        CU_ASSERT_TRUE(has(&k, "/f", 0, data, n));
    }
    CU_ASSERT_EQUAL(count_points(&k, "/f"), 30);
    g_autofree char *journal = g_build_filename(path, "journal", NULL);
    guint64 limit = size_of(path) - size_of(journal) - 12 * n + JOURNAL_SEGMENT_BYTES;
    kit_keeper_policy(&k, "/f", "24h 7d", 0);
    kit_keeper_limit(&k, limit);
    /* Each append asks for room; the keeper finds it, or finds it later. */
    for (guint i = 0; i < 100 && size_of(path) > limit; i++) {
        g_autofree guint8 *data = noise(n, 1000 + i % 2);
        g_clear_error(&error);
        kit_keeper_append(&k, 1, "/f", APPEND_CONTENT, data, n, CAUSE_CLOSE);
        (void) kit_keeper_durable(&k, 1, &error);
        g_usleep(20000);
    }
    CU_ASSERT_TRUE(size_of(path) <= limit);
    g_clear_error(&error);
    g_autoptr(GBytes) gone = kit_keeper_content(&k, "/f", first, &error);
    CU_ASSERT_PTR_NULL(gone);
    g_clear_error(&error);
    guint points, bad_points;
    g_autofree char *bad = kit_keeper_verify(&k, "/f", TRUE, &points, &bad_points, &error);
    UNIT_NO_ERROR(error);
    CU_ASSERT_STRING_EQUAL(bad, "");
    CU_ASSERT_TRUE(points > 0);
    CU_ASSERT_EQUAL(bad_points, 0);
    CU_ASSERT_EQUAL(kit_keeper_stop(&k), 0);
}

/* 4 of 13 points may go: for a content of 1 MiB as many as it takes, for one of 8 none. */
static void
what_never_fits_costs_no_point(void)
{
    g_autofree char *path = unit_path("store");
    const gsize n = 1024 * 1024;
    g_autofree guint8 *large = noise(8 * n, 99), *small = noise(n, 98);
    g_autoptr(GError) error = NULL;
    KitKeeper k;

    start(&k, path);
    for (guint i = 0; i < 14; i++) {
        g_autofree guint8 *data = noise(n, i + 1);
        (void) send(&k, "/f", data, n);
        if (i >= 4)
            CU_ASSERT_TRUE(kit_keeper_mark(&k, "/f", "kept", NULL) > 0);
        CU_ASSERT_TRUE(has(&k, "/f", 0, data, n));
    }
    CU_ASSERT_EQUAL(kit_keeper_stop(&k), 0);
    start(&k, path);
    g_autofree char *journal = g_build_filename(path, "journal", NULL);
    guint64 limit = size_of(path) - size_of(journal) + JOURNAL_SEGMENT_BYTES + 2 * n;
    kit_keeper_policy(&k, "/f", "24h 7d", 0);
    kit_keeper_limit(&k, limit);
    for (guint i = 0; i < 2; i++) {
        g_clear_error(&error);
        kit_keeper_append(&k, 1, "/g", APPEND_CONTENT, large, 8 * n, CAUSE_CLOSE);
        CU_ASSERT_EQUAL(kit_keeper_durable(&k, 1, &error), 0);
        CU_ASSERT_TRUE(g_error_matches(error, FILEDUP_ERROR, FILEDUP_ERROR_AGAIN));
        CU_ASSERT_EQUAL(count_points(&k, "/f"), 14);
    }
    g_clear_error(&error);
    kit_keeper_append(&k, 1, "/g", APPEND_CONTENT, small, n, CAUSE_CLOSE);
    CU_ASSERT_TRUE(kit_keeper_durable(&k, 1, &error) > 0);
    UNIT_NO_ERROR(error);
    CU_ASSERT_TRUE(count_points(&k, "/f") < 14 && count_points(&k, "/f") >= 11);
    CU_ASSERT_EQUAL(kit_keeper_stop(&k), 0);
}

static void
a_full_store_gives_up_what_no_policy_needs(void)
{
    g_autofree char *mount_point = unit_path("small");
    g_autofree char *path = g_build_filename(mount_point, "store", NULL);
    const gsize n = 1024 * 1024;
    KitKeeper k;
    guint64 id = 0;

    CU_ASSERT_EQUAL(mkdir(mount_point, 0700), 0);
    if (geteuid() != 0 || mount("none", mount_point, "tmpfs", 0, "size=48m") != 0) {
        unit_skip("mounting a small tmpfs needs root");
        return;
    }
    start(&k, path);
    guint stored = 0;
    for (; stored < 100; stored++) {
        g_autofree guint8 *data = noise(n, stored + 1);
        g_autoptr(GError) error = NULL;
        kit_keeper_append(&k, 1, "/f", APPEND_CONTENT, data, n, CAUSE_CLOSE);
        guint64 got = kit_keeper_durable(&k, 1, &error);
        if (got == 0) {
            CU_ASSERT_TRUE(g_error_matches(error, FILEDUP_ERROR, FILEDUP_ERROR_AGAIN));
            break;
        }
        id = got;
    }
    CU_ASSERT_TRUE(stored >= 8 && stored < 100);
    CU_ASSERT_EQUAL(count_points(&k, "/f"), stored); /* nothing goes that nobody gave up */
    g_autofree guint8 *newest = noise(n, stored);
    CU_ASSERT_TRUE(has(&k, "/f", id, newest, n));
    CU_ASSERT_EQUAL(kit_keeper_stop(&k), 0);
    age(path);
    start(&k, path);
    (void) kit_keeper_mark(&k, "/f", "x", NULL); /* so that the clock is believed */
    kit_keeper_policy(&k, "/f", "", 2);
    for (guint i = 0; i < 12; i++) {
        g_autofree guint8 *data = noise(n, 500 + i);
        g_autoptr(GError) error = NULL;
        kit_keeper_append(&k, 1, "/f", APPEND_CONTENT, data, n, CAUSE_CLOSE);
        CU_ASSERT_TRUE(kit_keeper_durable(&k, 1, &error) > 0);
        if (error)
            g_printerr("    %u: %s\n", i, error->message);
        if (error)
            break;
        CU_ASSERT_TRUE(has(&k, "/f", 0, data, n));
    }
    CU_ASSERT_TRUE(count_points(&k, "/f") < stored);
    CU_ASSERT_EQUAL(kit_keeper_stop(&k), 0);
    CU_ASSERT_EQUAL(umount2(mount_point, MNT_DETACH), 0);
}

static const UnitTest tests[] = {
    UNIT_TEST(each_stable_content_is_a_point_and_keeps_its_number),
    UNIT_TEST(a_content_is_found_by_a_time),
    UNIT_TEST(a_mark_is_durable_and_has_the_points_number),
    UNIT_TEST(what_a_restore_replaced_is_stored_once),
    UNIT_TEST(what_a_restore_replaced_is_stored_again_if_it_is_large),
    UNIT_TEST(points_are_read_while_appends_go_on),
    UNIT_TEST(what_is_not_wanted_any_more_is_answered_too_and_the_others_come),
    UNIT_TEST(what_was_handed_out_does_not_change),
    UNIT_TEST(verify_finds_a_flipped_byte_and_says_where),
    UNIT_TEST(a_suspicion_stands_until_it_is_approved),
    UNIT_TEST(an_emptied_file_is_suspected_and_the_content_before_is_pinned),
    UNIT_TEST(a_file_seen_empty_before_it_stands_still_is_suspected_then),
    UNIT_TEST(a_dry_run_changes_nothing_and_a_run_what_it_said),
    UNIT_TEST(what_is_forgotten_is_gone_from_every_file_of_the_store),
    UNIT_TEST(a_forgetting_that_was_cut_short_is_finished_by_the_next_keeper),
    UNIT_TEST(the_newest_content_is_not_forgotten_by_its_number),
    UNIT_TEST(a_limit_thins_the_oldest_and_keeps_the_newest),
    UNIT_TEST(what_never_fits_costs_no_point),
    UNIT_TEST(a_full_store_gives_up_what_no_policy_needs),
};
UNIT_MAIN("keeper: history", tests)
