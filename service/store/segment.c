/* segment.c - the journal's files
 *
 * FORMAT  the first 4096 bytes, little-endian; records (record.c) from 4096 on
 *           0  u32  magic "FDJS"
 *           4  u32  format version, 1
 *           8       the store's uuid as text, 36 bytes
 *          44  u32  incarnation
 *          48  u64  index within the incarnation
 *          56  u64  sequence of the first record
 *          64  u64  chain of the first record
 *          72  u64  salt of the record headers
 *          80  u64  size of the file
 *          88  u64  durable through
 *          96  u32  epoch
 *         100  u32  flags: 1 the opening that wrote this had found damage
 *         104  u64  used through
 *         112       zeros
 *        4088  u64  XXH3-64 of bytes 0 to 4087
 *
 * INVARIANTS
 *  (1) A segment is what its header says, never what it is called.
 *  (2) A file has its full size, in written blocks, before a header makes it a segment: a
 *      fdatasync of an append has no metadata to write (132 us instead of 198 at the median).
 *  (3) A new use has a new salt (record.c, VALID 1). A header that reaches the disk before or
 *      after the records it stands for therefore shows either all of the old use or none.
 */

#include "config.h"

#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>
#include <sys/stat.h>
#include <xxhash.h>

#include "base/error.h"
#include "store/record.h"
#include "store/segment.h"

#define SEGMENT_MAGIC 0x534a4446u /* "FDJS" */
#define AT_SUM        (SEGMENT_HEADER_BYTES - 8)
#define UUID_BYTES    (UUID_TEXT_BYTES - 1)
#define ZEROS_BYTES   (1024 * 1024)
#define DIRECT_ALIGN  4096

void
segment_free(Segment *s)
{
    if (!s)
        return;
    fd_clear(s->fd);
    g_free(s->name);
    g_free(s);
}

static Segment *
segment_new(const char *name, int fd)
{
    Segment *s = g_new0(Segment, 1);

    s->name = g_strdup(name);
    s->fd = fd;
    return s;
}

static gboolean
write_zeros(int fd, guint64 size_bytes)
{
    g_autofree guint8 *zeros = g_malloc0(ZEROS_BYTES);

    for (guint64 at = 0; at < size_bytes; at += ZEROS_BYTES)
        if (!fd_pwrite_full(fd, zeros, MIN(ZEROS_BYTES, size_bytes - at), (goffset) at))
            return FALSE;
    return TRUE;
}

Segment *
segment_create(int journal_fd, const char *name, guint64 size_bytes, GError **error)
{
    g_auto(Fd) fd = openat(journal_fd, name, O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC, 0600);

    if (fd < 0) {
        throw_errno(error, "creating journal segment '%s'", name);
        return NULL;
    }
    int failed = posix_fallocate(fd, 0, (off_t) size_bytes);
    if (failed == EOPNOTSUPP || failed == EINVAL)
        failed = 0; /* writing the zeros does it too */
    errno = failed;
    if (failed || !write_zeros(fd, size_bytes) || fsync(fd) < 0) {
        throw_errno(error, "preallocating journal segment '%s'", name);
        (void) unlinkat(journal_fd, name, 0);
        return NULL;
    }
    if (!fd_sync_folder(journal_fd, ".", error)) {
        (void) unlinkat(journal_fd, name, 0);
        return NULL;
    }
    Segment *s = segment_new(name, fd_steal(&fd));
    s->header.size_bytes = size_bytes;
    return s;
}

static void
put(guint8 *p, guint64 value, guint bytes)
{
    for (guint i = 0; i < bytes; i++)
        p[i] = (guint8) (value >> (8 * i));
}

static guint64
get(const guint8 *p, guint bytes)
{
    guint64 value = 0;

    for (guint i = 0; i < bytes; i++)
        value |= (guint64) p[i] << (8 * i);
    return value;
}

static void
header_encode(const SegmentHeader *h, guint8 *block)
{
    memset(block, 0, SEGMENT_HEADER_BYTES);
    put(block, SEGMENT_MAGIC, 4);
    put(block + 4, SEGMENT_FORMAT, 4);
    memcpy(block + 8, h->uuid, UUID_BYTES);
    put(block + 44, h->incarnation, 4);
    put(block + 48, h->index, 8);
    put(block + 56, h->first_seq, 8);
    put(block + 64, h->chain, 8);
    put(block + 72, h->salt, 8);
    put(block + 80, h->size_bytes, 8);
    put(block + 88, h->durable_through, 8);
    put(block + 96, h->epoch, 4);
    put(block + 100, h->flags, 4);
    put(block + 104, h->used_through, 8);
    put(block + AT_SUM, XXH3_64bits(block, AT_SUM), 8);
}

static gboolean
header_is_whole(const guint8 *block)
{
    return get(block, 4) == SEGMENT_MAGIC && get(block + AT_SUM, 8) == XXH3_64bits(block, AT_SUM);
}

static void
header_decode(const guint8 *block, SegmentHeader *h, guint32 *ret_format)
{
    *ret_format = (guint32) get(block + 4, 4);
    memcpy(h->uuid, block + 8, UUID_BYTES);
    h->uuid[UUID_BYTES] = '\0';
    h->incarnation = (guint32) get(block + 44, 4);
    h->index = get(block + 48, 8);
    h->first_seq = get(block + 56, 8);
    h->chain = get(block + 64, 8);
    h->salt = get(block + 72, 8);
    h->size_bytes = get(block + 80, 8);
    h->durable_through = get(block + 88, 8);
    h->epoch = (guint32) get(block + 96, 4);
    h->flags = (guint32) get(block + 100, 4);
    h->used_through = get(block + 104, 8);
}

static gboolean
is_zero(const guint8 *data, gsize n)
{
    for (gsize i = 0; i < n; i++)
        if (data[i] != 0)
            return FALSE;
    return TRUE;
}

/* As many bytes as there are, past the page cache if we can: the cache may hold what the disk does
 * not, after a write that failed. -1 with errno. */
static gssize
read_from_disk(int journal_fd, const Segment *s, guint8 *buffer, gsize n, gboolean *ret_direct)
{
    g_auto(Fd) direct = openat(journal_fd, s->name, O_RDONLY | O_DIRECT | O_NOFOLLOW | O_CLOEXEC);

    if (direct >= 0) {
        gssize got = fd_pread_most(direct, buffer, n, 0);
        if (got >= 0 || errno != EINVAL) {
            *ret_direct = TRUE;
            return got;
        }
    }
    *ret_direct = FALSE;
    if (fdatasync(s->fd) < 0 && errno != EROFS && errno != EBADF && errno != EINVAL)
        return -1;
    (void) posix_fadvise(s->fd, 0, 0, POSIX_FADV_DONTNEED);
    return fd_pread_most(s->fd, buffer, n, 0);
}

static guint8 *
direct_buffer(gsize n)
{
    void *buffer = NULL;

    if (posix_memalign(&buffer, DIRECT_ALIGN, n) != 0)
        g_error("no memory for %" G_GSIZE_FORMAT " bytes of a journal segment", n);
    return buffer;
}

/* What a first block of `got` bytes says. */
static gboolean
read_header(Segment *s, const guint8 *block, gsize got, const char *uuid, GError **error)
{
    guint64 size_bytes = s->header.size_bytes;
    SegmentHeader header = {0};
    guint32 format = 0;

    s->damaged = got < SEGMENT_HEADER_BYTES || !header_is_whole(block);
    if (s->damaged && is_zero(block, got)) {
        s->damaged = FALSE; /* preallocated, or cleared */
        return TRUE;
    }
    if (got < SEGMENT_HEADER_BYTES)
        return TRUE;
    header_decode(block, &header, &format);
    if (s->damaged) {
        s->header = header;
        s->header.size_bytes = size_bytes;
        return TRUE;
    }
    if (!g_str_equal(header.uuid, uuid))
        return TRUE;
    if (format > SEGMENT_FORMAT)
        return throw_error(
            error, FILEDUP_ERROR_FATAL,
            "journal segment '%s' has format %u, this filedup knows %d: use a newer one", s->name,
            format, SEGMENT_FORMAT);
    s->valid = TRUE;
    s->header = header;
    return TRUE;
}

Segment *
segment_open(int journal_fd, const char *name, gboolean writable, const char *uuid, GError **error)
{
    g_auto(Fd) fd = openat(journal_fd, name,
                           (writable ? O_RDWR : O_RDONLY) | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC);
    struct stat st;
    gboolean direct;

    if (fd < 0 || fstat(fd, &st) < 0) {
        throw_errno(error, "opening journal segment '%s'", name);
        return NULL;
    }
    g_autoptr(Segment) s = segment_new(name, fd_steal(&fd));
    s->header.size_bytes = (guint64) st.st_size;
    if (!S_ISREG(st.st_mode))
        return g_steal_pointer(&s);

    guint8 *block = direct_buffer(SEGMENT_HEADER_BYTES);
    gssize got = read_from_disk(journal_fd, s, block, SEGMENT_HEADER_BYTES, &direct);
    int errnum = errno;
    gboolean ok = got >= 0 && read_header(s, block, (gsize) got, uuid, error);
    free(block);
    if (got < 0 && errnum == EIO && !writable) /* a reader takes what it can get */
        ok = s->damaged = TRUE;
    if (ok)
        return g_steal_pointer(&s);
    if (got < 0) /* what it says may matter: it is not taken for a free one */
        throw_error(error, errnum == EIO ? FILEDUP_ERROR_AGAIN : error_from_errno(errnum),
                    "reading journal segment '%s': %s", name, g_strerror(errnum));
    return NULL;
}

void
segment_plan(Segment *s, const SegmentHeader *header)
{
    guint64 size_bytes = s->header.size_bytes, before = s->header.salt;

    s->header = *header;
    s->header.size_bytes = size_bytes;
    do { /* invariant 3 */
        if (getrandom(&s->header.salt, sizeof s->header.salt, 0) != sizeof s->header.salt)
            g_error("getrandom: %s", g_strerror(errno));
    } while (s->header.salt == before || s->header.salt == 0);
    s->last_seq = 0;
}

gboolean
segment_seal(Segment *s, GError **error)
{
    guint8 block[SEGMENT_HEADER_BYTES];

    header_encode(&s->header, block);
    if (!fd_pwrite_full(s->fd, block, sizeof block, 0))
        return throw_errno(error, "writing the header of journal segment '%s'", s->name);
    s->valid = TRUE;
    s->damaged = FALSE;
    return TRUE;
}

gboolean
segment_use(Segment *s, const SegmentHeader *header, GError **error)
{
    segment_plan(s, header);
    return segment_seal(s, error);
}

gboolean
segment_void(Segment *s, GError **error)
{
    const guint8 block[SEGMENT_HEADER_BYTES] = {0};

    s->valid = s->damaged = FALSE;
    if (!fd_pwrite_full(s->fd, block, sizeof block, 0) || fdatasync(s->fd) < 0)
        return throw_errno(error, "clearing the header of journal segment '%s'", s->name);
    return TRUE;
}

/* A block that cannot be read is zeros, and so no record: the scan sees that something is missing.
 */
static gssize
read_readable(int fd, guint8 *buffer, gsize n)
{
    for (gsize at = 0; at < n; at += DIRECT_ALIGN) {
        gssize got = fd_pread_most(fd, buffer + at, DIRECT_ALIGN, (goffset) at);
        if (got < 0 && errno != EIO)
            return -1;
        if (got < 0)
            memset(buffer + at, 0, DIRECT_ALIGN);
        else if (got < DIRECT_ALIGN)
            return (gssize) at + got;
    }
    return (gssize) n;
}

guint8 *
segment_image(int journal_fd, const Segment *s, gsize *ret_bytes, gboolean *ret_direct,
              GError **error)
{
    gsize n = (gsize) align_up(s->header.size_bytes, DIRECT_ALIGN);
    guint8 *image = direct_buffer(n);
    gssize got = read_from_disk(journal_fd, s, image, n, ret_direct);

    if (got < 0 && errno == EIO)
        got = read_readable(s->fd, image, n);
    if (got >= 0) {
        *ret_bytes = MIN((gsize) got, (gsize) s->header.size_bytes);
        return image;
    }
    free(image);
    throw_errno(error, "reading journal segment '%s'", s->name);
    return NULL;
}

void
segment_image_free(guint8 *image)
{
    free(image);
}
