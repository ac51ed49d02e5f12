/* storekit.c - stores, captures and keepers for the tests of service/store */

#include "config.h"

#include <string.h>
#include <sys/stat.h>

#include "base/path.h"
#include "base/sums.h"
#include "store/image.h"
#include "store/mirror.h"
#include "store/staged.h"
#include "tests/unit/storekit.h"
#include "tests/unit/unit.h"

#define KIT_SEGMENT_BYTES (1024 * 1024)

gboolean
kit_try_open(Kit *k, const char *path, guint64 segment_bytes, GError **error)
{
    g_autofree char *catalog = g_build_filename(path, CATALOG_NAME, NULL);

    memset(k, 0, sizeof *k);
    k->store.pending = pending_new();
    k->store.layout = layout_open(path, "", LAYOUT_CREATE, FALSE, NULL, error);
    if (!k->store.layout || !(k->store.catalog = catalog_open(catalog, FALSE, error)) ||
        !catalog_state(k->store.catalog, &k->state, error))
        return FALSE;
    JournalOptions options = {.uuid = k->store.layout->uuid,
                              .segment_bytes = segment_bytes,
                              .applied = k->state.applied,
                              .last_seq = k->state.last_seq,
                              .last_time_usec = k->state.last_time_usec,
                              .incarnation = k->state.incarnation,
                              .clean = k->state.clean,
                              .lost = k->state.lost};
    k->store.journal =
        journal_open(k->store.layout->journal, &options, k->store.pending, &k->report, error);
    g_autoptr(GPtrArray) waiting = pending_all(k->store.pending);
    k->next_file = k->state.last_file + 100;
    for (guint i = 0; i < waiting->len; i++)
        k->next_file =
            MAX(k->next_file, ((const Transaction *) waiting->pdata[i])->capture.file + 1);
    if (!k->store.journal ||
        !store_recover(&k->store, &k->recovered_note, &k->recovered_damage, error))
        return FALSE;
    g_autofree char *boot = layout_boot_id();
    return catalog_set_open(k->store.catalog, journal_incarnation(k->store.journal), boot,
                            journal_last_seq(k->store.journal), error);
}

void
kit_open(Kit *k, const char *path)
{
    g_autoptr(GError) error = NULL;

    (void) kit_try_open(k, path, KIT_SEGMENT_BYTES, &error);
    UNIT_NO_ERROR(error);
}

void
kit_close(Kit *k)
{
    store_clear(&k->store);
    g_clear_pointer(&k->recovered_note, g_free);
    journal_report_clear(&k->report);
}

static FileStat
kit_stat(gsize n)
{
    return (FileStat){.dev = 1,
                      .ino = 4711,
                      .mode = S_IFREG | 0640,
                      .uid = geteuid(),
                      .gid = getegid(),
                      .nlink = 1,
                      .size_bytes = n,
                      .mtime_ns = G_GINT64_CONSTANT(1600000000123456789),
                      .ctime_ns = G_GINT64_CONSTANT(1600000001000000000),
                      .fsid = 99};
}

Capture
kit_capture(const char *path, const void *data, gsize n, PointCause cause, Quality quality)
{
    Capture c = {
        .path = g_strdup(path),
        .principal = geteuid(),
        .kind = APPEND_CONTENT,
        .stat = kit_stat(n),
        .attributes = g_bytes_new(NULL, 0),
        .quality = quality,
        .cause = cause,
        .size_bytes = n,
    };
    g_autoptr(GBytes) sums = point_sums(data, n);

    sums_hash(sums, n, c.hash);
    return c;
}

static guint64
kit_file(Kit *k, const char *path)
{
    g_autoptr(GError) error = NULL;
    g_autoptr(FileView) v = store_view(&k->store, path, CATALOG_NEWEST, &error);

    UNIT_NO_ERROR(error);
    return v->id ? v->id : k->next_file++;
}

static guint64
write_one(Kit *k, Capture *c, const void *data, GArray *extents, GBytes *sums)
{
    g_autoptr(GError) error = NULL;

    c->file = kit_file(k, c->path);
    guint64 need = journal_need(c, extents);
    JournalRoom room = journal_make_room(k->store.journal, need, &error);
    if (room == JOURNAL_FULL) { /* as the keeper does */
        kit_apply_all(k);
        room = journal_make_room(k->store.journal, need, &error);
    }
    UNIT_NO_ERROR(error);
    CU_ASSERT_EQUAL_FATAL(room, JOURNAL_ROOM);
    Transaction *t = journal_write(k->store.journal, c, data, extents, sums, &error);
    UNIT_NO_ERROR(error);
    (void) journal_sync(k->store.journal, &error);
    UNIT_NO_ERROR(error);
    pending_add(k->store.pending, t);
    return t->seq;
}

guint64
kit_append(Kit *k, const char *path, const void *data, gsize n, PointCause cause, Quality quality)
{
    Capture c = kit_capture(path, data, n, cause, quality);
    g_autoptr(GArray) extents = g_array_new(FALSE, FALSE, sizeof(Extent));
    Extent all = {.length = n};

    if (n > 0)
        g_array_append_val(extents, all);
    g_autoptr(GBytes) sums = point_sums(data, n);
    return write_one(k, &c, data, extents, sums);
}

/* Pages of 4 KiB that differ, in runs; such as become zeros are holes. */
static GArray *
changed_extents(const guint8 *old, gsize n_old, const guint8 *data, gsize n, GByteArray *content)
{
    static const guint8 zeros[4096];
    GArray *extents = g_array_new(FALSE, FALSE, sizeof(Extent));

    for (gsize at = 0; at < n; at += 4096) {
        gsize length = MIN(4096, n - at), both = at < n_old ? MIN(length, n_old - at) : 0;
        gboolean hole = memcmp(data + at, zeros, length) == 0;
        if (memcmp(old + at, data + at, both) == 0 &&
            (both == length || memcmp(data + at + both, zeros, length - both) == 0))
            continue;
        Extent e = {.offset = at, .length = length, .position = content->len, .hole = hole};
        Extent *last = extents->len > 0 ? &g_array_index(extents, Extent, extents->len - 1) : NULL;
        if (!hole)
            g_byte_array_append(content, data + at, (guint) length);
        if (last && last->hole == hole && last->offset + last->length == at)
            last->length += length;
        else
            g_array_append_val(extents, e);
    }
    return extents;
}

guint64
kit_append_ranges(Kit *k, const char *path, const void *old, gsize n_old, const void *data, gsize n,
                  Quality quality)
{
    Capture c = kit_capture(path, data, n, CAUSE_CLOSE, quality);
    g_autoptr(GByteArray) content = g_byte_array_new();
    g_autoptr(GArray) extents = changed_extents(old, n_old, data, n, content);
    g_autoptr(GBytes) sums = point_sums(data, n);
    g_autoptr(GBytes) old_sums = point_sums(old, n_old);

    c.kind = APPEND_RANGES;
    sums_hash(old_sums, n_old, c.base_hash);
    return write_one(k, &c, content->data, extents, sums);
}

guint64
kit_append_capture(Kit *k, Capture *c)
{
    g_autoptr(GArray) none = g_array_new(FALSE, FALSE, sizeof(Extent));

    return write_one(k, c, NULL, none, NULL);
}

guint64
kit_append_kind(Kit *k, const char *path, AppendKind kind)
{
    Capture c = kit_capture(path, "", 0, CAUSE_CLOSE, QUALITY_STABLE);

    c.kind = kind;
    memset(c.hash, 0, sizeof c.hash); /* of whatever content there is */
    return write_one(k, &c, NULL, NULL, NULL);
}

guint64
kit_append_staged(Kit *k, const char *path, const void *data, gsize n, PointCause cause)
{
    static guint64 number = 1000;
    g_autoptr(GError) error = NULL;
    Capture c = kit_capture(path, data, n, cause, QUALITY_STABLE);
    g_autoptr(GBytes) sums = point_sums(data, n);

    c.kind = APPEND_STAGED;
    c.staged = ++number;
    g_auto(Fd) own = -1;
    g_auto(Fd) fd = staged_create(k->store.layout->staged, c.staged, &own, &error);
    UNIT_NO_ERROR(error);
    CU_ASSERT_TRUE_FATAL(fd_pwrite_full(fd, data, n, 0));
    (void) staged_finish(k->store.layout->staged, own, c.staged, n, sums, &c.staged_ino, &error);
    UNIT_NO_ERROR(error);
    return write_one(k, &c, NULL, NULL, NULL);
}

static void
kit_told(const char *path, const GError *error, G_GNUC_UNUSED gboolean given_up,
         G_GNUC_UNUSED gpointer data)
{
    if (error)
        g_printerr("    %s: %s\n", path, error->message);
    CU_ASSERT_PTR_NULL_FATAL(error);
}

void
kit_apply_all(Kit *k)
{
    for (;;) {
        g_autoptr(GPtrArray) paths = apply_choose(&k->store, NULL);
        g_autoptr(GError) error = NULL;
        if (paths->len == 0)
            return;
        (void) apply_batch(&k->store, paths, kit_told, NULL, &error);
        UNIT_NO_ERROR(error);
    }
}

/* The view's content, built; NULL with the error. */
static GBytes *
build(Kit *k, const FileView *v, const Point *p, GError **error)
{
    g_autoptr(Image) image = image_of(k->store.layout->root, v, p, error);
    g_auto(Fd) fd = image ? fd_memfd("content", error) : -1;
    g_autoptr(GBytes) sums = NULL;

    if (fd < 0 || !image_build(image, k->store.packs, fd, p->hash, NULL, NULL, &sums, error))
        return NULL;
    g_autofree guint8 *data = g_malloc((gsize) p->size_bytes + 1);
    CU_ASSERT_TRUE_FATAL(fd_pread_full(fd, data, (gsize) p->size_bytes, 0));
    g_autoptr(GBytes) own = point_sums(data, (gsize) p->size_bytes);
    CU_ASSERT_TRUE(g_bytes_equal(sums, own));
    CU_ASSERT_TRUE(image_check(image, k->store.packs, p->hash, NULL, NULL, NULL));
    if (store_is_plain(v, p)) { /* and the other way */
        g_auto(Fd) plain = mirror_open(k->store.layout->root, v, p, error);
        g_autoptr(GBytes) stored =
            plain < 0 ? NULL : store_sums(k->store.catalog, k->store.layout->staged, v, p, error);
        if (!stored)
            return NULL;
        CU_ASSERT_TRUE(g_bytes_equal(sums, stored));
        CU_ASSERT_TRUE(sums_check(plain, stored, p->size_bytes, error));
    }
    return g_bytes_new(data, (gsize) p->size_bytes);
}

GBytes *
kit_try_content(Kit *k, const char *path, guint64 point, GError **error)
{
    g_autoptr(FileView) v = store_view(&k->store, path, CATALOG_UNDO, error);
    Point *p = v ? view_point(v, point) : NULL;

    return p ? build(k, v, p, error) : NULL;
}

GBytes *
kit_content(Kit *k, const char *path, guint64 point)
{
    g_autoptr(GError) error = NULL;
    GBytes *content = kit_try_content(k, path, point, &error);

    UNIT_NO_ERROR(error);
    return content;
}

void
kit_expect_bytes(Kit *k, const char *path, guint64 point, const void *wanted, gsize n)
{
    g_autoptr(GBytes) data = kit_content(k, path, point);

    CU_ASSERT_PTR_NOT_NULL_FATAL(data);
    CU_ASSERT_EQUAL(g_bytes_get_size(data), n);
    CU_ASSERT_TRUE(g_bytes_get_size(data) == n &&
                   (n == 0 || memcmp(g_bytes_get_data(data, NULL), wanted, n) == 0));
}

void
kit_expect(Kit *k, const char *path, guint64 point, const char *text)
{
    kit_expect_bytes(k, path, point, text, strlen(text));
}
