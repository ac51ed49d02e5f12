/* image.c - of what a content is put together
 *
 * PARTS  The content is cut into parts that ascend and cover all of it; each says where its bytes
 *        are. Laying an undo, or the extents of a transaction, over an image puts parts in the place
 *        of what was there. So, laid from the newest to the oldest, what remains is read once, and
 *        what a later content changed and an older one changed back is not read at all.
 *
 * INVARIANTS
 *  (1) Parts ascend, are disjoint, not empty, and cover [0, size).
 *  (2) What comes from packs or journal is checked against its own sum. What comes from a file is
 *      checked by whoever has the sums of the content: here, as a whole, by its hash.
 */

#include "config.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/fs.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/stat.h>

#include "base/error.h"
#include "base/fd.h"
#include "base/sums.h"
#include "store/image.h"
#include "store/mirror.h"

#define STEP_BYTES   ((gsize) 1024 * 1024)
#define WINDOW_BYTES ((gsize) 32 * 1024 * 1024) /* with packs: frames are read once in each */
#define PAGE_BYTES   ((gsize) 4096)

typedef enum { PART_FILE, PART_JOURNAL, PART_PACK, PART_ZERO, PART_BAD } PartKind;

typedef struct Part {
    guint64 offset, length;
    PartKind kind;
    guint index; /* of the file, or of the payload          */
    guint64 at;  /* in the file, the payload, the frame     */
    guint64 pack, frame;
} Part;

typedef struct ImageFile {
    Fd fd;
    guint64 dev, ino;
} ImageFile;

/* A data record of the journal. */
typedef struct Payload {
    guint file;
    guint64 position, length, sum;
} Payload;

struct Image {
    guint64 size_bytes;
    GArray *parts;    /* Part      */
    GArray *files;    /* ImageFile */
    GArray *payloads; /* Payload   */
    gint base;        /* of the files; -1: none */

    guint8 *payload; /* the last one read */
    gint payload_index;
};

static Image *
image_new(void)
{
    Image *i = g_new0(Image, 1);

    i->parts = g_array_new(FALSE, FALSE, sizeof(Part));
    i->files = g_array_new(FALSE, FALSE, sizeof(ImageFile));
    i->payloads = g_array_new(FALSE, FALSE, sizeof(Payload));
    i->base = i->payload_index = -1;
    return i;
}

void
image_free(Image *i)
{
    if (!i)
        return;
    for (guint k = 0; k < i->files->len; k++)
        fd_clear(g_array_index(i->files, ImageFile, k).fd);
    g_array_unref(i->parts);
    g_array_unref(i->files);
    g_array_unref(i->payloads);
    g_free(i->payload);
    g_free(i);
}

guint64
image_bytes(const Image *i)
{
    return i->size_bytes;
}

static const Part *
part_at(const Image *i, guint k)
{
    return &g_array_index(i->parts, Part, k);
}

gboolean
image_needs_packs(const Image *i)
{
    for (guint k = 0; k < i->parts->len; k++)
        if (part_at(i, k)->kind == PART_PACK)
            return TRUE;
    return FALSE;
}

int
image_base_fd(const Image *i)
{
    return i->base < 0 ? -1 : g_array_index(i->files, ImageFile, i->base).fd;
}

GArray *
image_bad_ranges(const Image *i)
{
    GArray *bad = g_array_new(FALSE, FALSE, sizeof(Range));

    for (guint k = 0; k < i->parts->len; k++) {
        const Part *p = part_at(i, k);
        Range *last = bad->len > 0 ? &g_array_index(bad, Range, bad->len - 1) : NULL;
        Range range = {.offset = p->offset, .length = p->length};
        if (p->kind != PART_BAD)
            continue;
        if (last && last->offset + last->length == p->offset)
            last->length += p->length;
        else
            g_array_append_val(bad, range);
    }
    return bad;
}

/* ---- laying parts over ---- */

/* The part's piece within [from, to), if any. */
static void
append_clipped(GArray *out, const Part *p, guint64 from, guint64 to)
{
    guint64 start = MAX(p->offset, from), end = MIN(p->offset + p->length, to);
    Part clip = *p;

    if (start >= end)
        return;
    clip.at += start - p->offset;
    clip.offset = start;
    clip.length = end - start;
    g_array_append_val(out, clip);
}

/* What was there in [from, to); zeros behind its end. *k is where to go on. */
static void
append_old(const Image *i, GArray *out, guint *k, guint64 from, guint64 to)
{
    while (*k < i->parts->len && part_at(i, *k)->offset + part_at(i, *k)->length <= from)
        (*k)++;
    for (guint n = *k; n < i->parts->len && part_at(i, n)->offset < to; n++)
        append_clipped(out, part_at(i, n), from, to);
    Part zeros = {.offset = MAX(from, i->size_bytes), .kind = PART_ZERO};
    zeros.length = to > zeros.offset ? to - zeros.offset : 0;
    if (zeros.length > 0)
        g_array_append_val(out, zeros);
}

/* Cuts or extends to size_bytes, then lays `over` (Part, ascending, disjoint, within) over it. */
static void
lay(Image *i, guint64 size_bytes, const GArray *over)
{
    GArray *out = g_array_sized_new(FALSE, FALSE, sizeof(Part), i->parts->len + 2 * over->len + 1);
    guint64 at = 0;
    guint k = 0;

    for (guint n = 0; n < over->len; n++) {
        const Part *p = &g_array_index(over, Part, n);
        append_old(i, out, &k, at, p->offset);
        g_array_append_val(out, *p);
        at = p->offset + p->length;
    }
    append_old(i, out, &k, at, size_bytes);
    g_array_unref(i->parts);
    i->parts = out;
    i->size_bytes = size_bytes;
}

static void
lay_undo(Image *i, const Undo *undo)
{
    g_autoptr(GArray) over = g_array_new(FALSE, FALSE, sizeof(Part));

    for (guint k = 0; k < undo->pieces->len; k++) {
        const Piece *piece = &g_array_index(undo->pieces, Piece, k);
        Part p = {.offset = piece->offset,
                  .length = piece->length,
                  .kind = piece->kind == PIECE_PACK   ? PART_PACK
                          : piece->kind == PIECE_ZERO ? PART_ZERO
                                                      : PART_BAD,
                  .at = piece->skip,
                  .pack = piece->pack,
                  .frame = piece->frame};
        g_array_append_val(over, p);
    }
    lay(i, undo->size_bytes, over);
}

static gboolean
add_fd(Image *i, int fd, guint *ret_index, GError **error)
{
    ImageFile file = {.fd = fd};
    struct stat st;

    if (fd < 0)
        return FALSE;
    if (fstat(fd, &st) < 0) {
        fd_clear(fd);
        return throw_errno(error, "fstat");
    }
    file.dev = st.st_dev;
    file.ino = st.st_ino;
    g_array_append_val(i->files, file);
    *ret_index = i->files->len - 1;
    return TRUE;
}

/* Takes the descriptor of a file: all of it, as far as size_bytes, is the image. */
static gboolean
start_from_file(Image *i, int fd, guint64 size_bytes, GError **error)
{
    Part all = {.length = size_bytes, .kind = PART_FILE};

    if (!add_fd(i, fd, &all.index, error))
        return FALSE;
    g_array_set_size(i->parts, 0);
    if (size_bytes > 0)
        g_array_append_val(i->parts, all);
    i->size_bytes = size_bytes;
    i->base = (gint) all.index;
    return TRUE;
}

static gboolean
lay_extents(Image *i, const Transaction *t, GError **error)
{
    g_autoptr(GArray) over = g_array_new(FALSE, FALSE, sizeof(Part));
    guint file = 0;

    if (t->extents->len > 0) {
        int fd = fcntl(t->segment->fd, F_DUPFD_CLOEXEC, 0);
        if (fd < 0)
            return throw_errno(error, "journal segment '%s'", t->segment->name);
        if (!add_fd(i, fd, &file, error))
            return FALSE;
    }
    for (guint k = 0; k < t->extents->len; k++) {
        const Extent *e = &g_array_index(t->extents, Extent, k);
        Part p = {.offset = e->offset, .length = e->length, .kind = PART_ZERO};
        if (e->length == 0)
            continue;
        if (!e->hole) {
            Payload payload = {
                .file = file, .position = e->position, .length = e->length, .sum = e->sum};
            p.kind = PART_JOURNAL;
            p.index = i->payloads->len;
            g_array_append_val(i->payloads, payload);
        }
        g_array_append_val(over, p);
    }
    lay(i, t->capture.size_bytes, over);
    return TRUE;
}

/* ---- of a content ---- */

static gboolean
start_from_mirror(Image *i, int root_fd, const FileView *v, GError **error)
{
    g_autofree char *name = mirror_path(v->id, v->path);

    if (v->mirror_point == 0)
        return throw_error(error, FILEDUP_ERROR_DAMAGED, "what was changed is not in the store");
    int fd = openat(root_fd, name, O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC);
    if (fd < 0)
        return throw_error(error, errno == ENOENT ? FILEDUP_ERROR_DAMAGED : error_from_errno(errno),
                           "'%s': %s", name, g_strerror(errno));
    return start_from_file(i, fd, v->mirror_bytes, error);
}

static gboolean
lay_transaction(Image *i, int root_fd, const FileView *v, const Transaction *t, GError **error)
{
    g_autoptr(GArray) nothing = g_array_new(FALSE, FALSE, sizeof(Part));

    if (t->capture.kind == APPEND_STAGED)
        return start_from_file(i, mirror_open_staged(root_fd, v, t, error), t->capture.size_bytes,
                               error);
    if (t->capture.kind == APPEND_CONTENT) {
        lay(i, 0, nothing);
        i->base = -1;
    }
    return lay_extents(i, t, error);
}

static gboolean
start_from_journal(Image *i, int root_fd, const FileView *v, const Transaction *source,
                   GError **error)
{
    guint last = v->journalled->len, first;

    if (source->capture.cause == CAUSE_BEFORE_RESTORE)
        return lay_transaction(i, root_fd, v, source, error);
    while (last > 0 && v->journalled->pdata[last - 1] != source)
        last--;
    g_assert(last > 0);
    for (first = last - 1; first > 0; first--)
        if (capture_is_whole(&((const Transaction *) v->journalled->pdata[first])->capture))
            break;
    const Transaction *t = v->journalled->pdata[first];
    if (!capture_is_whole(&t->capture) && !start_from_mirror(i, root_fd, v, error))
        return FALSE;
    for (; first < last; first++)
        if (!lay_transaction(i, root_fd, v, v->journalled->pdata[first], error))
            return FALSE;
    return TRUE;
}

static gboolean
start_from_whole(Image *i, int root_fd, const FileView *v, const Point *p, GError **error)
{
    g_autofree char *name = mirror_history_path(v->id, p->whole, v->path);
    int fd = openat(root_fd, name, O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC);
    struct stat st;

    if (fd < 0 || fstat(fd, &st) < 0) {
        int errnum = errno;
        fd_clear(fd);
        return throw_error(error,
                           errnum == ENOENT ? FILEDUP_ERROR_DAMAGED : error_from_errno(errnum),
                           "'%s': %s", name, g_strerror(errnum));
    }
    return start_from_file(i, fd, (guint64) st.st_size, error);
}

/* The content from which the points in undo before it start. */
static gboolean
start_from(Image *i, int root_fd, const FileView *v, const Point *p, GError **error)
{
    if (p->place == POINT_IN_JOURNAL)
        return start_from_journal(i, root_fd, v, p->source, error);
    if (p->place == POINT_IN_HISTORY)
        return start_from_whole(i, root_fd, v, p, error);
    int fd = mirror_open_named(root_fd, v, p, error);
    return start_from_file(i, fd, p->size_bytes, error);
}

Image *
image_of(int root_fd, const FileView *v, const Point *p, GError **error)
{
    g_autoptr(GPtrArray) way = g_ptr_array_new(); /* from p to the one that all start from */
    g_autoptr(Image) i = image_new();
    const Point *at = p;

    for (; at && at->place == POINT_IN_UNDO; at = view_newer(v, at)) {
        if (way->len > v->points->len) /* a foreign catalog, in no order */
            break;
        g_ptr_array_add(way, (gpointer) at);
    }
    if (p->size_bytes > G_MAXINT64 || (at && at->place == POINT_IN_UNDO)) {
        throw_error(error, FILEDUP_ERROR_DAMAGED, "its rows make no sense");
        return NULL;
    }
    if (at && !start_from(i, root_fd, v, at, error))
        return NULL;
    if (at && at->undo)
        lay_undo(i, at->undo);
    while (way->len > 0) {
        at = g_ptr_array_steal_index(way, way->len - 1);
        if (!at->undo) {
            throw_error(error, FILEDUP_ERROR_DAMAGED, "the undo of %" G_GUINT64_FORMAT " is gone",
                        at->id);
            return NULL;
        }
        lay_undo(i, at->undo);
    }
    if (i->size_bytes != p->size_bytes) {
        throw_error(error, FILEDUP_ERROR_DAMAGED,
                    "what there is has %" G_GUINT64_FORMAT " bytes, not %" G_GUINT64_FORMAT,
                    i->size_bytes, p->size_bytes);
        return NULL;
    }
    return g_steal_pointer(&i);
}

Image *
image_of_mirror(int root_fd, const FileView *v, GError **error)
{
    g_autoptr(Image) i = image_new();

    return start_from_mirror(i, root_fd, v, error) ? g_steal_pointer(&i) : NULL;
}

/* ---- what differs ---- */

static gboolean
same_source(const Image *a, const Part *x, const Image *b, const Part *y, guint64 offset)
{
    guint64 at = x->at + (offset - x->offset), other = y->at + (offset - y->offset);

    if (x->kind != y->kind)
        return FALSE;
    if (x->kind == PART_ZERO)
        return TRUE;
    if (x->kind == PART_PACK)
        return x->pack == y->pack && x->frame == y->frame && at == other;
    if (x->kind == PART_BAD)
        return FALSE;
    const Payload *p =
        x->kind == PART_JOURNAL ? &g_array_index(a->payloads, Payload, x->index) : NULL;
    const Payload *q =
        y->kind == PART_JOURNAL ? &g_array_index(b->payloads, Payload, y->index) : NULL;
    const ImageFile *f = &g_array_index(a->files, ImageFile, p ? p->file : x->index);
    const ImageFile *g = &g_array_index(b->files, ImageFile, q ? q->file : y->index);
    return f->dev == g->dev && f->ino == g->ino &&
           at + (p ? p->position : 0) == other + (q ? q->position : 0);
}

GArray *
image_differences(const Image *a, const Image *b)
{
    GArray *ranges = g_array_new(FALSE, FALSE, sizeof(Range));
    guint64 both = MIN(a->size_bytes, b->size_bytes), at = 0;
    guint64 end = MAX(a->size_bytes, b->size_bytes);
    guint x = 0, y = 0;

    while (at < end) {
        guint64 until = end;
        gboolean same = FALSE;
        if (at < both) {
            const Part *p = part_at(a, x), *q = part_at(b, y);
            until = MIN(MIN(p->offset + p->length, q->offset + q->length), both);
            same = same_source(a, p, b, q, at);
            x += until == p->offset + p->length;
            y += until == q->offset + q->length;
        }
        Range *last = ranges->len > 0 ? &g_array_index(ranges, Range, ranges->len - 1) : NULL;
        Range range = {.offset = at, .length = until - at};
        if (!same && last && last->offset + last->length == at)
            last->length += range.length;
        else if (!same)
            g_array_append_val(ranges, range);
        at = until;
    }
    return ranges;
}

/* ---- reading ---- */

static gboolean
throw_reading(GError **error, const char *what)
{
    int errnum = errno;
    gboolean damaged = errnum == EIO || errnum == ENODATA || errnum == EUCLEAN;

    return throw_error(error, damaged ? FILEDUP_ERROR_DAMAGED : error_from_errno(errnum),
                       "reading %s: %s", what,
                       errnum == ENODATA ? "it is too short" : g_strerror(errnum));
}

static gboolean
read_payload(Image *i, const Part *p, guint64 skip, void *buffer, gsize n, GError **error)
{
    const Payload *payload = &g_array_index(i->payloads, Payload, p->index);

    if (i->payload_index != (gint) p->index) {
        int fd = g_array_index(i->files, ImageFile, payload->file).fd;
        if (!i->payload)
            i->payload = g_malloc(RECORD_PAYLOAD_MAX);
        i->payload_index = -1;
        if (!fd_pread_full(fd, i->payload, (gsize) payload->length, (goffset) payload->position))
            return throw_reading(error, "the journal");
        if (record_payload_sum(i->payload, (gsize) payload->length) != payload->sum)
            return throw_error(error, FILEDUP_ERROR_DAMAGED,
                               "the journal differs from what was written");
        i->payload_index = (gint) p->index;
    }
    memcpy(buffer, i->payload + p->at + skip, n);
    return TRUE;
}

/* [skip, skip + n) of a part. */
static gboolean
read_part(Image *i, Packs *packs, const Part *p, guint64 skip, void *buffer, gsize n,
          GError **error)
{
    switch (p->kind) {
    case PART_FILE:
        return fd_pread_full(g_array_index(i->files, ImageFile, p->index).fd, buffer, n,
                             (goffset) (p->at + skip)) ||
               throw_reading(error, "a copy");
    case PART_JOURNAL:
        return read_payload(i, p, skip, buffer, n, error);
    case PART_PACK: {
        Piece piece = {.offset = p->offset,
                       .length = p->length,
                       .kind = PIECE_PACK,
                       .pack = p->pack,
                       .frame = p->frame,
                       .skip = (guint32) p->at};
        return packs_read(packs, &piece, skip, buffer, n, error);
    }
    default:
        memset(buffer, 0, n);
        return TRUE;
    }
}

static guint
first_part(const Image *i, guint64 offset)
{
    guint low = 0, high = i->parts->len;

    while (low < high) {
        guint middle = low + (high - low) / 2;
        if (part_at(i, middle)->offset + part_at(i, middle)->length > offset)
            high = middle;
        else
            low = middle + 1;
    }
    return low;
}

static gint
by_frame(gconstpointer a, gconstpointer b)
{
    const Part *x = *(Part *const *) a, *y = *(Part *const *) b;

    if (x->pack != y->pack)
        return x->pack < y->pack ? -1 : 1;
    if (x->frame != y->frame)
        return x->frame < y->frame ? -1 : 1;
    return x->at < y->at ? -1 : x->at > y->at;
}

static gboolean
read_clipped(Image *i, Packs *packs, const Part *p, guint64 offset, guint8 *buffer, gsize n,
             GError **error)
{
    guint64 start = MAX(p->offset, offset);
    guint64 end = MIN(p->offset + p->length, offset + n);

    return read_part(i, packs, p, start - p->offset, buffer + (start - offset),
                     (gsize) (end - start), error);
}

gboolean
image_read(Image *i, Packs *packs, guint64 offset, void *buffer, gsize n, GError **error)
{
    g_autoptr(GPtrArray) packed = NULL;

    g_assert(offset <= i->size_bytes && n <= i->size_bytes - offset);
    for (guint k = first_part(i, offset); k < i->parts->len; k++) {
        const Part *p = part_at(i, k);
        if (p->offset >= offset + n)
            break;
        if (p->kind == PART_PACK) {
            packed = packed ? packed : g_ptr_array_new();
            g_ptr_array_add(packed, (gpointer) p);
        } else if (!read_clipped(i, packs, p, offset, buffer, n, error)) {
            return FALSE;
        }
    }
    if (packed)
        g_ptr_array_sort(packed, by_frame);
    for (guint k = 0; packed && k < packed->len; k++)
        if (!read_clipped(i, packs, packed->pdata[k], offset, buffer, n, error))
            return FALSE;
    return TRUE;
}

/* ---- writing ---- */

/* A disk that cannot be written to says nothing about what was to be written: that is as good as it
 * was, and not DAMAGED. */
static gboolean
throw_unwritten(GError **error, const char *what)
{
    throw_errno(error, "%s", what);
    if (error && g_error_matches(*error, FILEDUP_ERROR, FILEDUP_ERROR_DAMAGED))
        (*error)->code = FILEDUP_ERROR_AGAIN;
    return FALSE;
}

static gboolean
is_zero(const guint8 *data, gsize n)
{
    return n == 0 || (data[0] == 0 && memcmp(data, data + 1, n - 1) == 0);
}

/* Leaves out pages of zeros: they are holes. */
static gboolean
write_sparse(int fd, const guint8 *data, gsize n, guint64 offset, GError **error)
{
    gsize start = 0;

    for (gsize at = 0; at <= n; at += PAGE_BYTES) {
        gsize length = at < n ? MIN(PAGE_BYTES, n - at) : 0;
        if (length > 0 && !is_zero(data + at, length))
            continue;
        if (at > start && !fd_pwrite_full(fd, data + start, at - start, (goffset) (offset + start)))
            return throw_unwritten(error, "writing a copy");
        start = at + length;
    }
    if (start < n && !fd_pwrite_full(fd, data + start, n - start, (goffset) (offset + start)))
        return throw_unwritten(error, "writing a copy");
    return TRUE;
}

static gboolean
is_in_base(const Image *i, const Part *p)
{
    return p->kind == PART_FILE && (gint) p->index == i->base && p->at == p->offset;
}

static gboolean
write_zeros(int fd, guint64 offset, guint64 length, GError **error)
{
    static const guint8 zeros[65536];

    if (fallocate(fd, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, (off_t) offset, (off_t) length) ==
        0)
        return TRUE;
    for (guint64 done = 0; done < length; done += sizeof zeros) {
        gsize n = (gsize) MIN(sizeof zeros, length - done);
        if (!fd_pwrite_full(fd, zeros, n, (goffset) (offset + done)))
            return throw_unwritten(error, "writing a copy");
    }
    return TRUE;
}

static gboolean
write_part(Image *i, int fd, const Part *p, guint8 *buffer, gboolean sparse, GError **error)
{
    for (guint64 done = 0; done < p->length; done += STEP_BYTES) {
        gsize n = (gsize) MIN(STEP_BYTES, p->length - done);
        if (!read_part(i, NULL, p, done, buffer, n, error))
            return FALSE;
        if (sparse ? !write_sparse(fd, buffer, n, p->offset + done, error)
                   : (!fd_pwrite_full(fd, buffer, n, (goffset) (p->offset + done)) &&
                      !throw_unwritten(error, "writing a copy")))
            return FALSE;
    }
    return TRUE;
}

gboolean
image_write(Image *i, int fd, gboolean over_base, GError **error)
{
    g_autofree guint8 *buffer = g_malloc(STEP_BYTES);

    /* Zeros are written by cutting first what is to be cut, and by extending. */
    if (ftruncate(fd, (off_t) i->size_bytes) < 0)
        return throw_unwritten(error, "giving a copy its size");
    for (guint k = 0; k < i->parts->len; k++) {
        const Part *p = part_at(i, k);
        gboolean ok = TRUE;
        g_assert(p->kind != PART_PACK && p->kind != PART_BAD);
        if (p->kind == PART_ZERO)
            ok = !over_base || write_zeros(fd, p->offset, p->length, error);
        else if (!over_base || !is_in_base(i, p))
            ok = write_part(i, fd, p, buffer, !over_base && p->kind == PART_FILE, error);
        if (!ok)
            return FALSE;
    }
    return TRUE;
}

/* Of n bytes at `at`, what the base file (of which `fd` is a clone) has not. */
static gboolean
write_over_clone(const Image *i, int fd, const guint8 *data, gsize n, guint64 at, GError **error)
{
    for (guint k = first_part(i, at); k < i->parts->len && part_at(i, k)->offset < at + n; k++) {
        const Part *p = part_at(i, k);
        guint64 start = MAX(p->offset, at), end = MIN(p->offset + p->length, at + n);
        if (!is_in_base(i, p) &&
            !fd_pwrite_full(fd, data + (start - at), (gsize) (end - start), (goffset) start))
            return throw_unwritten(error, "writing a copy");
    }
    return TRUE;
}

static gboolean
throw_not_it(const Image *i, GError **error)
{
    g_autoptr(GArray) bad = image_bad_ranges(i);
    g_autoptr(GString) text = g_string_new(NULL);

    for (guint k = 0; k < MIN(bad->len, 8); k++) {
        const Range *r = &g_array_index(bad, Range, k);
        g_string_append_printf(text, "%s%" G_GUINT64_FORMAT " to %" G_GUINT64_FORMAT, k ? ", " : "",
                               r->offset, r->offset + r->length);
    }
    if (bad->len > 0)
        return throw_error(error, FILEDUP_ERROR_DAMAGED,
                           "damaged before it was saved, in %u ranges (bytes %s%s)", bad->len,
                           text->str, bad->len > 8 ? ", ..." : "");
    return throw_error(error, FILEDUP_ERROR_DAMAGED, "it is not what was captured");
}

/* `fd` -1: only reads; `wanted` NULL: whatever its hash is. */
static gboolean
work(Image *i, Packs *packs, int fd, const guint8 *wanted, ImageProgress progress, gpointer data,
     GBytes **ret_sums, GError **error)
{
    gsize window = image_needs_packs(i) ? WINDOW_BYTES : STEP_BYTES;
    g_autofree guint8 *buffer = g_malloc((gsize) MIN(window, MAX(i->size_bytes, 1)));
    g_autoptr(Sums) sums = sums_new(i->size_bytes);
    gboolean cloned = fd >= 0 && i->base >= 0 && ioctl(fd, FICLONE, image_base_fd(i)) == 0;
    guint8 hash[HASH_BYTES];

    for (guint64 at = 0; at < i->size_bytes; at += window) {
        gsize n = (gsize) MIN(window, i->size_bytes - at);
        if (!image_read(i, packs, at, buffer, n, error))
            return FALSE;
        sums_add(sums, buffer, n);
        if (cloned ? !write_over_clone(i, fd, buffer, n, at, error)
                   : fd >= 0 && !write_sparse(fd, buffer, n, at, error))
            return FALSE;
        if (progress && !progress(at + n, data))
            return throw_error(error, FILEDUP_ERROR_AGAIN, "not wanted any more");
    }
    if (fd >= 0 && ftruncate(fd, (off_t) i->size_bytes) < 0)
        return throw_unwritten(error, "giving a copy its size");
    g_autoptr(GBytes) all = sums_finish(sums, hash);
    if (wanted && memcmp(hash, wanted, HASH_BYTES) != 0)
        return throw_not_it(i, error);
    if (ret_sums)
        *ret_sums = g_steal_pointer(&all);
    return TRUE;
}

gboolean
image_build(Image *i, Packs *packs, int fd, const guint8 hash[HASH_BYTES], ImageProgress progress,
            gpointer data, GBytes **ret_sums, GError **error)
{
    return work(i, packs, fd, hash, progress, data, ret_sums, error);
}

gboolean
image_check(Image *i, Packs *packs, const guint8 hash[HASH_BYTES], ImageProgress progress,
            gpointer data, GError **error)
{
    return work(i, packs, -1, hash, progress, data, NULL, error);
}

GBytes *
image_sums(Image *i, Packs *packs, GError **error)
{
    GBytes *sums = NULL;

    return work(i, packs, -1, NULL, NULL, NULL, &sums, error) ? sums : NULL;
}
