/* packwalk.c - goes through the batches of a pack, as the disk has them
 *
 * What makes a batch valid is told in packfile.c. Nothing is believed of a batch before its last byte
 * is seen, and nothing that a frame says of its size before its sum.
 */

#include "config.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>

#include "base/error.h"
#include "store/packfile.h"

#define WINDOW_BYTES ((gsize) 1024 * 1024)

static gboolean
is_zero(const guint8 *data, gsize n)
{
    for (gsize i = 0; i < n; i++)
        if (data[i] != 0)
            return FALSE;
    return TRUE;
}

/* ---- reading from the disk ---- */

/* The page cache may hold what the disk does not, after a write that failed. */
typedef struct Disk {
    Fd direct; /* -1: this file system has no O_DIRECT */
    int fd;
    guint8 *window;
    guint64 at;
    gsize n;
} Disk;

static void
disk_clear(Disk *d)
{
    fd_clear(d->direct);
    free(d->window);
}

G_DEFINE_AUTO_CLEANUP_CLEAR_FUNC(Disk, disk_clear)

static void
disk_forget_cache(int fd)
{
    (void) fdatasync(fd); /* a read-only file has nothing to sync */
    (void) posix_fadvise(fd, 0, 0, POSIX_FADV_DONTNEED);
}

static void
disk_open(Disk *d, int history_fd, const PackFile *f)
{
    g_autofree char *name = packfile_name(f->id);
    void *window = NULL;

    if (posix_memalign(&window, PACK_ALIGN, WINDOW_BYTES) != 0)
        g_error("no memory for %" G_GSIZE_FORMAT " bytes of a pack", WINDOW_BYTES);
    d->window = window;
    d->fd = f->fd;
    d->direct = openat(history_fd, name, O_RDONLY | O_DIRECT | O_NOFOLLOW | O_CLOEXEC);
    if (d->direct < 0)
        disk_forget_cache(f->fd);
}

/* An unreadable block further on is none of the bytes that are wanted now. */
static gssize
disk_pread(const Disk *d, guint64 at)
{
    int fd = d->direct >= 0 ? d->direct : d->fd;
    gssize got = fd_pread_most(fd, d->window, WINDOW_BYTES, (goffset) at);

    if (got < 0 && errno == EIO)
        got = fd_pread_most(fd, d->window, PACK_ALIGN, (goffset) at);
    return got;
}

static gboolean
disk_fill(Disk *d, guint64 position)
{
    guint64 at = position / PACK_ALIGN * PACK_ALIGN;
    gssize got = disk_pread(d, at);

    if (got < 0 && errno == EINVAL && d->direct >= 0) {
        fd_clear(fd_steal(&d->direct));
        disk_forget_cache(d->fd);
        got = disk_pread(d, at);
    }
    d->at = at;
    d->n = got < 0 ? 0 : (gsize) got;
    return got >= 0;
}

/* FALSE with errno; ENODATA: the file ends before. */
static gboolean
disk_read(Disk *d, guint64 position, guint8 *out, gsize n)
{
    while (n > 0) {
        if ((position < d->at || position >= d->at + d->n) && !disk_fill(d, position))
            return FALSE;
        if (position >= d->at + d->n) {
            errno = ENODATA;
            return FALSE;
        }
        gsize take = MIN(n, (gsize) (d->at + d->n - position));
        memcpy(out, d->window + (position - d->at), take);
        out += take;
        position += take;
        n -= take;
    }
    return TRUE;
}

/* ---- going through batches ---- */

typedef struct Walk {
    const PackFile *file;
    Codec *codec;
    guint64 until;
    guint64 batch, chain; /* of the batch that is being read */
    guint64 at;
    GByteArray *stored, *raw;
    Disk *disk;
    gboolean unreadable;
} Walk;

static gboolean
walk_read(Walk *w, guint8 *out, gsize n, GError **error)
{
    if (n > w->until - w->at) /* invariant 2 */
        return packfile_damaged(w->file, w->at, "a batch is cut off", error);
    if (!disk_read(w->disk, w->at, out, n)) {
        if (errno == ENODATA)
            return packfile_damaged(w->file, w->at, "a batch is cut off", error);
        w->unreadable = TRUE;
        return throw_errno(error, "reading pack %" G_GUINT64_FORMAT " at %" G_GUINT64_FORMAT,
                           w->file->id, w->at);
    }
    w->at += n;
    return TRUE;
}

/* One frame of the batch; *ret_footer if it is that. */
static gboolean
walk_frame(Walk *w, GBytes **ret_footer, GError **error)
{
    guint8 header[FRAME_HEADER_BYTES];
    guint64 position = w->at, sum;
    Frame f;

    if (!walk_read(w, header, sizeof header, error))
        return FALSE;
    if (!frame_decode(header, w->file->salt, position, &f, &sum) || f.batch != w->batch ||
        (position != w->batch && f.chain != w->chain))
        return packfile_damaged(w->file, position, "there is no frame of the batch", error);
    if (f.stored_bytes > w->until - w->at) /* invariant 2 */
        return packfile_damaged(w->file, position, "a batch is cut off", error);
    g_byte_array_set_size(w->stored, f.stored_bytes);
    if (!walk_read(w, w->stored->data, f.stored_bytes, error))
        return FALSE;
    g_byte_array_set_size(w->raw, f.raw_bytes);
    if (!codec_unpack(w->codec, &f, w->stored->data, w->raw->data))
        return packfile_damaged(w->file, position, "a frame has not its sum", error);
    w->chain = sum;
    if (f.type == FRAME_FOOTER)
        *ret_footer = g_bytes_new(w->raw->data, w->raw->len);
    return TRUE;
}

static gboolean
walk_padding(Walk *w, GError **error)
{
    guint8 padding[PACK_ALIGN];
    guint64 position = w->at;
    gsize n = (gsize) ((PACK_ALIGN - position % PACK_ALIGN) % PACK_ALIGN);

    if (!walk_read(w, padding, n, error))
        return FALSE;
    return is_zero(padding, n) ||
           packfile_damaged(w->file, position, "the padding is not zeros", error);
}

static GBytes *
walk_batch(Walk *w, GError **error)
{
    g_autoptr(GBytes) footer = NULL;

    w->batch = w->at;
    while (!footer)
        if (!walk_frame(w, &footer, error))
            return NULL;
    return walk_padding(w, error) ? g_steal_pointer(&footer) : NULL;
}

gboolean
packfile_walk(int history_fd, const PackFile *f, guint64 from, guint64 until, Codec *codec,
              PackFileFunc func, gpointer data, PackWalk *ret_walk, GError **error)
{
    g_autoptr(GByteArray) stored = g_byte_array_new();
    g_autoptr(GByteArray) raw = g_byte_array_new();
    g_auto(Disk) disk = {.direct = -1};
    Walk w = {.file = f, .codec = codec, .until = until, .at = from};
    gboolean ok = TRUE;

    w.stored = stored;
    w.raw = raw;
    w.disk = &disk;
    disk_open(&disk, history_fd, f);
    ret_walk->good = from;
    while (ok && w.at < until) {
        g_autoptr(GBytes) footer = walk_batch(&w, error);
        if (!(ok = footer != NULL))
            break;
        ret_walk->good = w.at;
        if (func)
            func(f->id, footer, data);
    }
    ret_walk->unreadable = w.unreadable;
    return ok;
}
