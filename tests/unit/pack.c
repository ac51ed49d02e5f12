/* Packs: batches that are whole or not there, whatever happens. */

#include "config.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "base/error.h"
#include "base/fd.h"
#include "base/sums.h"
#include "store/pack.h"
#include "store/packfile.h"
#include "tests/unit/unit.h"

#define UUID  "0b9a2c1e-1111-4222-8333-444455556666"
#define OTHER "ffffffff-1111-4222-8333-444455556666"

/* ---- a disk that fails on demand: these stand before libc's ---- */

static int write_errno, fsync_errno;

ssize_t
pwrite(int fd, const void *buffer, size_t n, off_t offset)
{
    if (write_errno == 0)
        return (ssize_t) syscall(SYS_pwrite64, fd, buffer, n, offset);
    if (n > 1 && write_errno == ENOSPC) /* as a full disk does it: a part, then nothing */
        (void) syscall(SYS_pwrite64, fd, buffer, n / 2, offset);
    errno = write_errno;
    return -1;
}

int
fsync(int fd)
{
    if (fsync_errno == 0)
        return (int) syscall(SYS_fsync, fd);
    errno = fsync_errno;
    return -1;
}

/* ---- helpers ---- */

static int folder_fd;

static void
begin(void)
{
    write_errno = fsync_errno = 0;
    if (folder_fd > 0)
        (void) close(folder_fd);
    folder_fd = open(unit_folder(), O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    CU_ASSERT_TRUE_FATAL(folder_fd >= 0);
}

static Packs *
packs(const PackInfo *known, guint n)
{
    g_autoptr(GError) error = NULL;
    g_autofree char *note = NULL;
    Packs *p = packs_open(folder_fd, UUID, known, n, &note, &error);

    UNIT_NO_ERROR(error);
    CU_ASSERT_PTR_NULL_FATAL(note);
    return p;
}

static Packs *
packs_noted(const PackInfo *known, guint n, const char *expected)
{
    g_autoptr(GError) error = NULL;
    g_autofree char *note = NULL;
    Packs *p = packs_open(folder_fd, UUID, known, n, &note, &error);

    UNIT_NO_ERROR(error);
    CU_ASSERT_TRUE_FATAL(note && strstr(note, expected));
    return p;
}

/* What is behind the catalog, without touching it. */
static guint
n_behind(const PackInfo *known, guint n)
{
    g_autoptr(GError) error = NULL;
    g_autoptr(Packs) p = packs_open_read(folder_fd, UUID, &error);

    UNIT_NO_ERROR(error);
    (void) packs_look_behind(p, known, n, &error);
    UNIT_NO_ERROR(error);
    return packs_recovered(p)->len;
}

static void
noise(guint8 *data, gsize n, guint64 seed)
{
    for (gsize i = 0; i < n; i++) {
        seed = seed * G_GUINT64_CONSTANT(6364136223846793005) + 1442695040888963407u;
        data[i] = (guint8) (seed >> 33);
    }
}

static Piece
save(Packs *p, guint64 offset, gsize n, guint64 seed)
{
    g_autofree guint8 *data = g_malloc(n);
    g_autoptr(GError) error = NULL;
    Piece piece = {0};

    noise(data, n, seed);
    (void) packs_add(p, offset, data, n, &piece, &error);
    UNIT_NO_ERROR(error);
    return piece;
}

static gboolean
holds(Packs *p, const Piece *piece, guint64 seed)
{
    g_autofree guint8 *data = g_malloc(piece->length), *got = g_malloc(piece->length);

    noise(data, piece->length, seed);
    return packs_read(p, piece, 0, got, piece->length, NULL) &&
           memcmp(data, got, piece->length) == 0;
}

static void
prepare(Packs *p, const char *text)
{
    g_autoptr(GBytes) footer = g_bytes_new_static(text, strlen(text));
    g_autoptr(GError) error = NULL;

    (void) packs_prepare(p, footer, &error);
    UNIT_NO_ERROR(error);
}

static PackInfo
done(Packs *p)
{
    const GArray *changed = packs_changed(p);

    CU_ASSERT_EQUAL_FATAL(changed->len, 1);
    PackInfo info = g_array_index(changed, PackInfo, 0);
    packs_done(p);
    return info;
}

static void
expect_footer(Packs *p, guint i, const char *text)
{
    gsize n;

    CU_ASSERT_TRUE_FATAL(i < packs_recovered(p)->len);
    const char *footer = g_bytes_get_data(packs_recovered(p)->pdata[i], &n);
    CU_ASSERT_TRUE(n == strlen(text) && (n == 0 || memcmp(footer, text, n) == 0));
}

static guint
n_files(Packs *p)
{
    g_autoptr(GArray) list = packs_list(p);

    return list->len;
}

/* A pack with one batch that the catalog has, and one behind it. */
static PackInfo
two_batches(Piece *ret_first, Piece *ret_second)
{
    g_autoptr(Packs) p = packs(NULL, 0);

    *ret_first = save(p, 0, 5000, 1);
    prepare(p, "first");
    PackInfo info = done(p);
    *ret_second = save(p, 4096, 3000, 2);
    (void) save(p, 90000, 1000, 3);
    prepare(p, "second");
    return info;
}

static char *
pack_path(guint64 id)
{
    g_autofree char *name = packfile_name(id);

    return unit_path(name);
}

static void
flip(const char *path, goffset at)
{
    g_auto(Fd) fd = open(path, O_RDWR | O_CLOEXEC);
    guint8 byte;

    CU_ASSERT_TRUE_FATAL(fd_pread_full(fd, &byte, 1, at));
    byte ^= 0x20;
    CU_ASSERT_TRUE_FATAL(fd_pwrite_full(fd, &byte, 1, at));
}

/* ---- content ---- */

static void
what_was_saved_comes_back_at_once_and_after_an_opening(void)
{
    begin();
    g_autoptr(Packs) p = packs(NULL, 0);
    Piece a = save(p, 0, 4096, 1), b = save(p, 8192, 100000, 2), c = save(p, 500000, 262144, 3);
    Piece d = save(p, 900000, 7, 4);

    CU_ASSERT_TRUE(holds(p, &d, 4)); /* not even written yet */
    CU_ASSERT_TRUE(holds(p, &a, 1));
    prepare(p, "footer");
    PackInfo known = done(p);
    CU_ASSERT_TRUE(holds(p, &a, 1) && holds(p, &b, 2) && holds(p, &c, 3) && holds(p, &d, 4));
    CU_ASSERT_EQUAL(a.frame, b.frame); /* neighbours share one */
    CU_ASSERT_EQUAL(b.skip, 4096);
    CU_ASSERT_EQUAL(known.length_bytes % PACK_ALIGN, 0);
    g_clear_pointer(&p, packs_close);

    g_autoptr(Packs) again = packs(&known, 1);
    CU_ASSERT_EQUAL(packs_recovered(again)->len, 0);
    CU_ASSERT_TRUE(holds(again, &a, 1) && holds(again, &b, 2) && holds(again, &c, 3));
    guint8 part[10], all[4096];
    noise(all, sizeof all, 1);
    CU_ASSERT_TRUE(packs_read(again, &a, 100, part, sizeof part, NULL));
    CU_ASSERT_EQUAL(memcmp(part, all + 100, sizeof part), 0);
    CU_ASSERT_FALSE(packs_read(again, &a, 4090, part, sizeof part, NULL));
    g_autoptr(Packs) reader = packs_open_read(folder_fd, UUID, NULL);
    CU_ASSERT_TRUE(holds(reader, &b, 2) && holds(reader, &d, 4));
}

static void
zeros_take_no_room_and_begin_nothing(void)
{
    begin();
    g_autoptr(Packs) p = packs(NULL, 0);
    const guint8 zeros[4096] = {0};
    guint8 got[10] = "xxxxxxxxx";
    Piece piece;

    CU_ASSERT_TRUE(packs_add(p, 4096, zeros, sizeof zeros, &piece, NULL));
    CU_ASSERT_EQUAL(piece.kind, PIECE_ZERO);
    CU_ASSERT_EQUAL(piece.offset, 4096);
    CU_ASSERT_TRUE(packs_read(p, &piece, 5, got, sizeof got, NULL));
    CU_ASSERT_EQUAL(memcmp(got, zeros, sizeof got), 0);
    CU_ASSERT_EQUAL(n_files(p), 0);
}

static void
text_is_compressed_and_noise_is_not(void)
{
    begin();
    g_autoptr(Packs) p = packs(NULL, 0);
    g_autofree char *text = g_malloc(200000);
    Piece piece;
    guint8 got[100];

    for (gsize i = 0; i < 200000; i++)
        text[i] = "All happy families are alike. "[i % 30];
    CU_ASSERT_TRUE(packs_add(p, 0, text, 200000, &piece, NULL));
    prepare(p, "text");
    PackInfo known = done(p);
    CU_ASSERT_EQUAL(known.length_bytes, 4096);
    CU_ASSERT_TRUE(packs_read(p, &piece, 150000, got, sizeof got, NULL));
    CU_ASSERT_EQUAL(memcmp(got, text + 150000, sizeof got), 0);
    (void) save(p, 0, 200000, 9);
    prepare(p, "noise");
    PackInfo after = done(p);
    CU_ASSERT_TRUE(after.length_bytes - known.length_bytes <= 200000 + 4096 + 100);
}

/* ---- batches ---- */

static void
a_prepared_batch_is_found_again_until_it_is_done(void)
{
    begin();
    Piece first, second;
    PackInfo info = two_batches(&first, &second);
    g_autoptr(Packs) p = packs(&info, 1);

    CU_ASSERT_EQUAL(packs_recovered(p)->len, 1);
    expect_footer(p, 0, "second");
    CU_ASSERT_TRUE(holds(p, &second, 2));
    g_clear_pointer(&p, packs_close);
    p = packs(&info, 1);
    expect_footer(p, 0, "second");
    PackInfo after = done(p);
    CU_ASSERT_EQUAL(packs_recovered(p)->len, 0);
    CU_ASSERT_TRUE(after.length_bytes > info.length_bytes);
    g_clear_pointer(&p, packs_close);
    p = packs(&after, 1);
    CU_ASSERT_EQUAL(packs_recovered(p)->len, 0);
    CU_ASSERT_TRUE(holds(p, &first, 1) && holds(p, &second, 2));
}

static void
a_batch_in_a_pack_that_the_catalog_does_not_know_is_found(void)
{
    begin();
    g_autoptr(Packs) p = packs(NULL, 0);
    Piece piece = save(p, 0, 5000, 1);

    prepare(p, "first");
    g_clear_pointer(&p, packs_close);
    p = packs(NULL, 0);
    expect_footer(p, 0, "first");
    CU_ASSERT_TRUE(holds(p, &piece, 1));
    PackInfo info = done(p);
    CU_ASSERT_EQUAL(info.id, 1);
    g_clear_pointer(&p, packs_close);
    p = packs(&info, 1);
    CU_ASSERT_EQUAL(packs_recovered(p)->len, 0);
}

static void
a_footer_alone_is_a_batch(void)
{
    begin();
    g_autoptr(Packs) p = packs(NULL, 0);

    prepare(p, "");
    g_clear_pointer(&p, packs_close);
    p = packs(NULL, 0);
    expect_footer(p, 0, "");
}

static void
a_batch_without_its_footer_was_never_there(void)
{
    begin();
    g_autoptr(Packs) p = packs(NULL, 0);
    Piece piece = save(p, 0, 5000, 1);

    prepare(p, "first");
    PackInfo info = done(p);
    for (guint i = 0; i < 4; i++)
        (void) save(p, i, 200000, i); /* three of them are in the file */
    g_clear_pointer(&p, packs_close);
    p = packs(&info, 1);
    CU_ASSERT_EQUAL(packs_recovered(p)->len, 0);
    CU_ASSERT_TRUE(holds(p, &piece, 1));
    g_autoptr(GArray) list = packs_list(p);
    CU_ASSERT_EQUAL(g_array_index(list, PackInfo, 0).length_bytes, info.length_bytes);
    g_clear_pointer(&p, packs_close);
    p = packs(NULL, 0); /* and the same where there is no pack in the catalog */
    CU_ASSERT_EQUAL(packs_recovered(p)->len, 1);
}

static void
a_new_pack_without_a_batch_is_removed(void)
{
    begin();
    g_autofree char *blank = pack_path(2);
    g_autoptr(Packs) p = packs(NULL, 0);

    (void) save(p, 0, 5000, 1);
    (void) save(p, 0, PACK_FRAME_BYTES, 1);
    g_clear_pointer(&p, packs_close);
    unit_write(blank, "", 0);
    p = packs(NULL, 0);
    CU_ASSERT_EQUAL(n_files(p), 0);
    (void) save(p, 0, 10, 1);
    prepare(p, "x");
    CU_ASSERT_EQUAL(done(p).id, 3); /* no id twice */
}

static void
a_batch_cut_at_any_byte_is_none(void)
{
    begin();
    Piece first, second;
    PackInfo info = two_batches(&first, &second);
    g_autofree char *path = pack_path(info.id);
    g_autoptr(GBytes) whole = unit_read(path);
    gsize end = g_bytes_get_size(whole);

    CU_ASSERT_EQUAL(n_behind(&info, 1), 1);
    for (gsize n = end; n-- > info.length_bytes;) {
        CU_ASSERT_EQUAL_FATAL(truncate(path, (off_t) n), 0);
        CU_ASSERT_EQUAL(n_behind(&info, 1), 0);
        if (n % 97 != 0)
            continue;
        g_autoptr(Packs) p = packs(&info, 1);
        CU_ASSERT_EQUAL(packs_recovered(p)->len, 0);
        CU_ASSERT_TRUE(holds(p, &first, 1));
        unit_write(path, g_bytes_get_data(whole, NULL), (gssize) n);
    }
    CU_ASSERT_EQUAL_FATAL(truncate(path, (off_t) info.length_bytes), 0);
    g_autoptr(Packs) p = packs(&info, 1);
    CU_ASSERT_TRUE(holds(p, &first, 1));
    CU_ASSERT_FALSE(holds(p, &second, 2));
}

/* As when the file's size was on the disk before its blocks were. */
static void
a_batch_with_any_block_missing_is_none(void)
{
    begin();
    Piece first, second;
    PackInfo info = two_batches(&first, &second);
    g_autofree char *path = pack_path(info.id);
    g_autoptr(GBytes) whole = unit_read(path);
    gsize end = g_bytes_get_size(whole), step = 128;

    for (gsize at = info.length_bytes; at < end; at += step) {
        gsize n;
        g_autofree guint8 *torn = g_memdup2(g_bytes_get_data(whole, &n), end);
        memset(torn + at, 0, step);
        if (memcmp(torn, g_bytes_get_data(whole, NULL), end) == 0)
            continue; /* padding */
        unit_write(path, torn, (gssize) end);
        CU_ASSERT_EQUAL(n_behind(&info, 1), 0);
    }
}

static void
a_flipped_bit_anywhere_in_a_batch_makes_it_none(void)
{
    begin();
    Piece first, second;
    PackInfo info = two_batches(&first, &second);
    g_autofree char *path = pack_path(info.id);
    g_autoptr(GBytes) whole = unit_read(path);
    gsize end = g_bytes_get_size(whole);

    for (gsize at = info.length_bytes; at < end; at += at % 1024 < 64 ? 1 : 5) {
        flip(path, (goffset) at);
        CU_ASSERT_EQUAL(n_behind(&info, 1), 0);
        flip(path, (goffset) at);
    }
    CU_ASSERT_EQUAL(n_behind(&info, 1), 1);
}

/* A dropped batch's footer lies where the next batch's would come, behind the same bytes. */
static void
what_was_dropped_or_torn_does_not_complete_a_later_batch(void)
{
    begin();
    g_autofree char *path = pack_path(1);
    g_autoptr(Packs) p = packs(NULL, 0);

    (void) save(p, 0, 5000, 1);
    prepare(p, "first");
    PackInfo info = done(p);
    for (guint i = 0; i < 2; i++)
        (void) save(p, 0, PACK_FRAME_BYTES, 7 + i);
    prepare(p, "second");
    g_autoptr(GBytes) before = unit_read(path);
    CU_ASSERT_TRUE(packs_drop(p, NULL));
    CU_ASSERT_EQUAL(packs_changed(p)->len, 0);
    for (guint i = 0; i < 2; i++) /* the same bytes once more, the first frame of them written */
        (void) save(p, 0, PACK_FRAME_BYTES, 7 + i);
    g_clear_pointer(&p, packs_close);

    g_autoptr(GBytes) after = unit_read(path);
    gsize n = g_bytes_get_size(before), written = g_bytes_get_size(after);
    CU_ASSERT_TRUE_FATAL(written < n);
    g_autofree guint8 *mixed = g_memdup2(g_bytes_get_data(before, NULL), n);
    memcpy(mixed, g_bytes_get_data(after, NULL), written);
    unit_write(path, mixed, (gssize) n); /* the cut never reached the disk */
    CU_ASSERT_EQUAL(n_behind(&info, 1), 0);
    unit_write(path, g_bytes_get_data(before, NULL), (gssize) n);
    CU_ASSERT_EQUAL(n_behind(&info, 1), 1); /* or the test would show nothing */
}

static void
a_dropped_batch_leaves_no_trace(void)
{
    begin();
    g_autoptr(Packs) p = packs(NULL, 0);

    (void) save(p, 0, 5000, 1);
    CU_ASSERT_TRUE(packs_drop(p, NULL));
    CU_ASSERT_EQUAL(n_files(p), 0);
    Piece kept = save(p, 0, 5000, 2);
    prepare(p, "kept");
    PackInfo info = done(p);
    (void) save(p, 0, 500000 / 2, 3);
    (void) save(p, 0, 500000 / 2, 4);
    CU_ASSERT_TRUE(packs_drop(p, NULL));
    (void) save(p, 0, 5000, 5);
    prepare(p, "given up");
    CU_ASSERT_TRUE(packs_drop(p, NULL));
    g_autoptr(GArray) list = packs_list(p);
    CU_ASSERT_EQUAL(list->len, 1);
    CU_ASSERT_EQUAL(g_array_index(list, PackInfo, 0).length_bytes, info.length_bytes);
    Piece later = save(p, 0, 5000, 6);
    prepare(p, "later");
    CU_ASSERT_TRUE(holds(p, &kept, 2) && holds(p, &later, 6));
    g_clear_pointer(&p, packs_close);
    p = packs(&info, 1);
    CU_ASSERT_EQUAL(packs_recovered(p)->len, 1);
    expect_footer(p, 0, "later");
    CU_ASSERT_TRUE(packs_drop(p, NULL)); /* what was recovered can be given up too */
    CU_ASSERT_EQUAL(packs_recovered(p)->len, 0);
    g_clear_pointer(&p, packs_close);
    p = packs(&info, 1);
    CU_ASSERT_EQUAL(packs_recovered(p)->len, 0);
    CU_ASSERT_TRUE(holds(p, &kept, 2));
}

static void
a_batch_waits_for_the_one_before(void)
{
    begin();
    g_autoptr(Packs) p = packs(NULL, 0);
    g_autoptr(GError) error = NULL;
    Piece piece;

    (void) save(p, 0, 5000, 1);
    prepare(p, "first");
    CU_ASSERT_FALSE(packs_add(p, 0, "x", 1, &piece, &error));
    CU_ASSERT_TRUE(g_error_matches(error, FILEDUP_ERROR, FILEDUP_ERROR_FATAL));
    (void) done(p);
    CU_ASSERT_TRUE(packs_add(p, 0, "x", 1, &piece, NULL));
}

static void
a_full_pack_is_followed_by_another(void)
{
    begin();
    g_autoptr(Packs) p = packs(NULL, 0);
    Piece a, b, c;

    a = save(p, 0, 5000, 1);
    prepare(p, "a");
    PackInfo known[2] = {done(p)};
    packs_roll(p);
    b = save(p, 0, 5000, 2);
    prepare(p, "b");
    known[1] = done(p);
    CU_ASSERT_EQUAL(known[1].id, 2);
    g_clear_pointer(&p, packs_close);
    p = packs(known, 2);
    c = save(p, 0, 5000, 3);
    CU_ASSERT_EQUAL(c.pack, 2);
    CU_ASSERT_TRUE(packs_drop(p, NULL));
    CU_ASSERT_TRUE(holds(p, &a, 1) && holds(p, &b, 2));
}

/* ---- what an opening finds ---- */

static void
missing_and_short_packs_are_named_and_never_written(void)
{
    begin();
    Piece first, second;
    PackInfo known[3] = {two_batches(&first, &second), {9, 8192}, {11, 4096}};
    g_autofree char *path = pack_path(11);

    unit_write(path, "much too short, and no header either", 36);
    known[0].length_bytes = 1 << 20;
    g_autoptr(Packs) p = packs_noted(known, 3, "pack 9 is missing");
    CU_ASSERT_TRUE(holds(p, &first, 1)); /* what there is can be had */
    Piece lost = {.length = 10, .kind = PIECE_PACK, .pack = 9, .frame = 96};
    guint8 buffer[10];
    g_autoptr(GError) error = NULL;
    CU_ASSERT_FALSE(packs_read(p, &lost, 0, buffer, sizeof buffer, &error));
    CU_ASSERT_TRUE(g_error_matches(error, FILEDUP_ERROR, FILEDUP_ERROR_DAMAGED));
    Piece piece = save(p, 0, 10, 1);
    CU_ASSERT_EQUAL(piece.pack, 12);
    g_clear_pointer(&p, packs_close);
    p = packs_noted(known, 3, "pack 1 is shorter");
    g_clear_pointer(&p, packs_close);
    p = packs_noted(known, 3, "pack 11 is empty");
    CU_ASSERT_EQUAL(n_files(p), 2);
}

static void
what_is_not_ours_is_left_alone(void)
{
    begin();
    Piece first, second;
    PackInfo known = two_batches(&first, &second);
    g_autofree char *path = pack_path(1);
    g_autofree char *damaged = pack_path(5);
    g_autofree char *whole = unit_path("1-2-notes.pack");
    g_autofree char *odd = unit_path("7.pack");
    g_autoptr(GError) error = NULL;
    g_autoptr(Packs) foreign = packs_open(folder_fd, OTHER, NULL, 0, NULL, &error);

    UNIT_NO_ERROR(error);
    CU_ASSERT_EQUAL(packs_recovered(foreign)->len, 0);
    Piece piece = save(foreign, 0, 10, 1);
    CU_ASSERT_EQUAL(piece.pack, 2);
    CU_ASSERT_TRUE(packs_drop(foreign, NULL));
    unit_write(whole, "x", 1);
    unit_write(odd, "x", 1);
    g_autofree guint8 *bytes = g_malloc(10000);
    noise(bytes, 10000, 5);
    unit_write(damaged, bytes, 10000);
    g_autoptr(Packs) p = packs_noted(&known, 1, "pack 5 has no valid header");
    CU_ASSERT_EQUAL(packs_recovered(p)->len, 1);
    CU_ASSERT_EQUAL(n_files(p), 2);
    CU_ASSERT_EQUAL(access(whole, F_OK), 0);
    CU_ASSERT_EQUAL(access(odd, F_OK), 0);
    CU_ASSERT_EQUAL(access(path, F_OK), 0);
}

static void
a_newer_format_is_refused_by_name(void)
{
    begin();
    Piece first, second;
    PackInfo known = two_batches(&first, &second);
    g_autofree char *path = pack_path(1);
    g_autoptr(GError) error = NULL;
    g_auto(Fd) fd = open(path, O_RDWR | O_CLOEXEC);
    guint8 header[96];

    CU_ASSERT_TRUE_FATAL(fd_pread_full(fd, header, sizeof header, 0));
    header[4] = 2;
    guint64 sum = GUINT64_TO_LE(sums_of_block(header, 88));
    memcpy(header + 88, &sum, 8);
    CU_ASSERT_TRUE_FATAL(fd_pwrite_full(fd, header, sizeof header, 0));
    CU_ASSERT_PTR_NULL(packs_open(folder_fd, UUID, &known, 1, NULL, &error));
    CU_ASSERT_TRUE_FATAL(error != NULL);
    CU_ASSERT_TRUE(g_error_matches(error, FILEDUP_ERROR, FILEDUP_ERROR_FATAL));
    CU_ASSERT_PTR_NOT_NULL(strstr(error->message, "use a newer one"));
}

static void
a_pack_that_was_given_up_is_removed_and_its_id_not_used_again(void)
{
    begin();
    Piece first, second;
    PackInfo known = two_batches(&first, &second);

    known.length_bytes = 0;
    g_autoptr(Packs) p = packs(&known, 1);
    CU_ASSERT_EQUAL(packs_recovered(p)->len, 0);
    CU_ASSERT_EQUAL(n_files(p), 0);
    Piece piece = save(p, 0, 5000, 1);
    CU_ASSERT_EQUAL(piece.pack, 2);
    prepare(p, "x");
    (void) done(p);
    CU_ASSERT_TRUE(packs_remove(p, 2, NULL));
    CU_ASSERT_TRUE(packs_remove(p, 2, NULL));
    CU_ASSERT_EQUAL(n_files(p), 0);
    CU_ASSERT_FALSE(holds(p, &piece, 1));
    piece = save(p, 0, 10, 1);
    CU_ASSERT_EQUAL(piece.pack, 3);
}

static void
count_footer(guint64 pack, GBytes *footer, gpointer data)
{
    (void) pack;
    (void) footer;
    ++*(guint *) data;
}

static void
a_check_sees_every_flipped_bit(void)
{
    begin();
    Piece first, second;
    PackInfo info = two_batches(&first, &second);
    g_autofree char *path = pack_path(1);
    g_autoptr(Packs) p = packs_open_read(folder_fd, UUID, NULL);
    guint n = 0;
    struct stat st;

    CU_ASSERT_TRUE(packs_check(p, 1, 0, count_footer, &n, NULL));
    CU_ASSERT_EQUAL(n, 2);
    CU_ASSERT_TRUE(packs_check(p, 1, info.length_bytes, count_footer, &n, NULL));
    CU_ASSERT_EQUAL(n, 3);
    CU_ASSERT_EQUAL_FATAL(stat(path, &st), 0);
    for (goffset at = 0; at < st.st_size; at += at % 4096 < 100 ? 1 : 29) {
        g_autoptr(GError) error = NULL;
        flip(path, at);
        CU_ASSERT_FALSE(packs_check(p, 1, 0, NULL, NULL, &error));
        CU_ASSERT_TRUE(g_error_matches(error, FILEDUP_ERROR, FILEDUP_ERROR_DAMAGED));
        flip(path, at);
    }
    CU_ASSERT_FALSE(packs_check(p, 4, 0, NULL, NULL, NULL));
}

static void
a_read_sees_a_flipped_bit_in_its_frame(void)
{
    begin();
    Piece first, second;
    PackInfo info = two_batches(&first, &second);
    g_autofree char *path = pack_path(1);

    for (goffset at = 0; at < 96 + FRAME_HEADER_BYTES + 5000; at += 7) {
        if (at >= 44 && at < 48)
            continue;
        flip(path, at);
        g_autoptr(Packs) p = packs_open_read(folder_fd, UUID, NULL);
        CU_ASSERT_FALSE(holds(p, &first, 1));
        flip(path, at);
    }
    g_autoptr(Packs) p = packs(&info, 1);
    CU_ASSERT_TRUE(holds(p, &first, 1));
    guint8 byte;
    for (guint64 at = 90; at < 300; at++) { /* what is no frame's start is none */
        Piece astray = {.length = 1, .kind = PIECE_PACK, .pack = 1, .frame = at};
        CU_ASSERT_EQUAL(packs_read(p, &astray, 0, &byte, 1, NULL), at == 96);
    }
}

/* ---- failures ---- */

static void
expect_failed(Packs *p)
{
    g_autoptr(GBytes) footer = g_bytes_new_static("x", 1);
    g_autoptr(GError) error = NULL;
    Piece piece;

    CU_ASSERT_FALSE(packs_add(p, 0, "x", 1, &piece, &error));
    CU_ASSERT_TRUE(g_error_matches(error, FILEDUP_ERROR, FILEDUP_ERROR_FATAL));
    CU_ASSERT_FALSE(packs_prepare(p, footer, NULL));
    CU_ASSERT_FALSE(packs_drop(p, NULL));
    CU_ASSERT_FALSE(packs_remove(p, 77, NULL));
}

static void
after_a_failed_write_nothing_is_written_until_it_is_opened_again(void)
{
    begin();
    g_autoptr(Packs) p = packs(NULL, 0);
    g_autoptr(GBytes) footer = g_bytes_new_static("second", 6);
    g_autoptr(GError) error = NULL;
    Piece first = save(p, 0, 5000, 1);

    prepare(p, "first");
    PackInfo info = done(p);
    (void) save(p, 0, 5000, 2);
    write_errno = EIO;
    CU_ASSERT_FALSE(packs_prepare(p, footer, &error));
    CU_ASSERT_TRUE(g_error_matches(error, FILEDUP_ERROR, FILEDUP_ERROR_FATAL));
    write_errno = 0;
    expect_failed(p);
    CU_ASSERT_TRUE(holds(p, &first, 1)); /* reading goes on */
    g_clear_pointer(&p, packs_close);
    p = packs(&info, 1);
    CU_ASSERT_EQUAL(packs_recovered(p)->len, 0);
    CU_ASSERT_TRUE(holds(p, &first, 1));
}

static void
after_a_failed_sync_nothing_is_written_until_it_is_opened_again(void)
{
    begin();
    g_autoptr(Packs) p = packs(NULL, 0);
    g_autoptr(GBytes) footer = g_bytes_new_static("first", 5);
    g_autoptr(GError) error = NULL;

    (void) save(p, 0, 5000, 1);
    fsync_errno = EIO;
    CU_ASSERT_FALSE(packs_prepare(p, footer, &error));
    CU_ASSERT_TRUE(g_error_matches(error, FILEDUP_ERROR, FILEDUP_ERROR_FATAL));
    fsync_errno = 0;
    CU_ASSERT_EQUAL(packs_changed(p)->len, 0); /* it is not prepared */
    expect_failed(p);
    g_clear_pointer(&p, packs_close);
    fsync_errno = EIO; /* it may be there, but it is not durable */
    g_clear_error(&error);
    CU_ASSERT_PTR_NULL(packs_open(folder_fd, UUID, NULL, 0, NULL, &error));
}

static void
without_space_the_batch_is_dropped_and_all_goes_on(void)
{
    begin();
    g_autoptr(Packs) p = packs(NULL, 0);
    g_autoptr(GBytes) footer = g_bytes_new_static("second", 6);
    g_autoptr(GError) error = NULL;
    Piece piece, first = save(p, 0, 5000, 1);

    prepare(p, "first");
    PackInfo info = done(p);
    (void) save(p, 0, 5000, 2);
    write_errno = ENOSPC;
    CU_ASSERT_FALSE(packs_prepare(p, footer, &error));
    CU_ASSERT_TRUE(g_error_matches(error, FILEDUP_ERROR, FILEDUP_ERROR_AGAIN));
    write_errno = 0;
    CU_ASSERT_FALSE(packs_add(p, 0, "x", 1, &piece, NULL)); /* it has a hole now */
    CU_ASSERT_FALSE(packs_prepare(p, footer, NULL));
    CU_ASSERT_TRUE(packs_drop(p, NULL));
    Piece third = save(p, 0, 5000, 3);
    prepare(p, "third");
    CU_ASSERT_TRUE(holds(p, &first, 1) && holds(p, &third, 3));
    g_clear_pointer(&p, packs_close);
    p = packs(&info, 1);
    CU_ASSERT_EQUAL(packs_recovered(p)->len, 1);
    expect_footer(p, 0, "third");
}

static void
without_space_for_a_new_pack_nothing_is_left(void)
{
    begin();
    g_autoptr(Packs) p = packs(NULL, 0);
    g_autoptr(GError) error = NULL;
    Piece piece;

    write_errno = ENOSPC;
    CU_ASSERT_FALSE(packs_add(p, 0, "x", 1, &piece, &error));
    CU_ASSERT_TRUE(g_error_matches(error, FILEDUP_ERROR, FILEDUP_ERROR_AGAIN));
    write_errno = 0;
    CU_ASSERT_EQUAL(n_files(p), 0);
    CU_ASSERT_TRUE(packs_drop(p, NULL));
    CU_ASSERT_TRUE(packs_add(p, 0, "x", 1, &piece, NULL));
    prepare(p, "x");
    (void) done(p);
}

static const UnitTest tests[] = {
    UNIT_TEST(what_was_saved_comes_back_at_once_and_after_an_opening),
    UNIT_TEST(zeros_take_no_room_and_begin_nothing),
    UNIT_TEST(text_is_compressed_and_noise_is_not),
    UNIT_TEST(a_prepared_batch_is_found_again_until_it_is_done),
    UNIT_TEST(a_batch_in_a_pack_that_the_catalog_does_not_know_is_found),
    UNIT_TEST(a_footer_alone_is_a_batch),
    UNIT_TEST(a_batch_without_its_footer_was_never_there),
    UNIT_TEST(a_new_pack_without_a_batch_is_removed),
    UNIT_TEST(a_batch_cut_at_any_byte_is_none),
    UNIT_TEST(a_batch_with_any_block_missing_is_none),
    UNIT_TEST(a_flipped_bit_anywhere_in_a_batch_makes_it_none),
    UNIT_TEST(what_was_dropped_or_torn_does_not_complete_a_later_batch),
    UNIT_TEST(a_dropped_batch_leaves_no_trace),
    UNIT_TEST(a_batch_waits_for_the_one_before),
    UNIT_TEST(a_full_pack_is_followed_by_another),
    UNIT_TEST(missing_and_short_packs_are_named_and_never_written),
    UNIT_TEST(what_is_not_ours_is_left_alone),
    UNIT_TEST(a_newer_format_is_refused_by_name),
    UNIT_TEST(a_pack_that_was_given_up_is_removed_and_its_id_not_used_again),
    UNIT_TEST(a_check_sees_every_flipped_bit),
    UNIT_TEST(a_read_sees_a_flipped_bit_in_its_frame),
    UNIT_TEST(after_a_failed_write_nothing_is_written_until_it_is_opened_again),
    UNIT_TEST(after_a_failed_sync_nothing_is_written_until_it_is_opened_again),
    UNIT_TEST(without_space_the_batch_is_dropped_and_all_goes_on),
    UNIT_TEST(without_space_for_a_new_pack_nothing_is_left),
};
UNIT_MAIN("pack", tests)
