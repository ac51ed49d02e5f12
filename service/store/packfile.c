/* packfile.c - one pack, as a file
 *
 * FORMAT  history/<id, at least 8 digits>.pack, little-endian
 *           0  u32  magic "FDPK"
 *           4  u32  format version, 1
 *           8       the store's uuid as text, 36 bytes
 *          44  u32  0
 *          48  u64  id
 *          56  u64  salt, drawn when the file is made
 *          64       zeros
 *          88  u64  XXH3-64 of bytes 0 to 87
 *          96       batches, one after the other: frames (frame.c), the last one a footer, then
 *                   zeros up to a multiple of 4096
 *
 * VALID   A batch is valid iff its frames follow each other without a gap, every header is valid and
 *         names the place of the first as its batch's, every chain is the sum of the header before,
 *         all stored bytes have their sums, it ends with the first footer, and the padding is there.
 *         So a batch of which any byte is not yet on the disk is none: nothing tells of its length
 *         but itself.
 *
 * INVARIANTS
 *  (1) No block that a valid batch lies in is written again: batches end at multiples of 4096.
 *  (2) What a frame says of its size is believed only after its sum and the file's size.
 */

#include "config.h"

#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>
#include <sys/stat.h>
#include <xxhash.h>

#include "base/error.h"
#include "store/pack.h"
#include "store/packfile.h"

#define PACK_MAGIC 0x4b504446u /* "FDPK" */
#define UUID_BYTES 36
#define AT_SUM     88

void
packfile_free(PackFile *f)
{
    if (!f)
        return;
    fd_clear(f->fd);
    g_free(f);
}

char *
packfile_name(guint64 id)
{
    return g_strdup_printf("%08" G_GUINT64_FORMAT ".pack", id);
}

gboolean
packfile_parse_name(const char *name, guint64 *ret_id)
{
    char *end = NULL;

    if (!g_ascii_isdigit(name[0]))
        return FALSE;
    guint64 id = g_ascii_strtoull(name, &end, 10);
    g_autofree char *canonical = packfile_name(id);
    if (id == 0 || id == G_MAXUINT64 || !g_str_equal(canonical, name))
        return FALSE;
    *ret_id = id;
    return TRUE;
}

/* ---- the header ---- */

const char *
packfile_state_text(PackFileState state)
{
    switch (state) {
    case PACKFILE_GOOD:
        break;
    case PACKFILE_MISSING:
        return "is missing";
    case PACKFILE_BLANK:
        return "is empty";
    case PACKFILE_DAMAGED:
        return "has no valid header";
    case PACKFILE_FOREIGN:
        return "is another store's";
    }
    return "is there";
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

static gboolean
is_zero(const guint8 *data, gsize n)
{
    for (gsize i = 0; i < n; i++)
        if (data[i] != 0)
            return FALSE;
    return TRUE;
}

static gboolean
header_decode(const guint8 *in, const char *uuid, PackFile *f, PackFileState *ret_state,
              GError **error)
{
    *ret_state = PACKFILE_DAMAGED;
    if (get(in, 4) != PACK_MAGIC || get(in + AT_SUM, 8) != XXH3_64bits(in, AT_SUM))
        return TRUE;
    *ret_state = PACKFILE_FOREIGN;
    if (strlen(uuid) != UUID_BYTES || memcmp(in + 8, uuid, UUID_BYTES) != 0)
        return TRUE;
    if (get(in + 4, 4) > PACK_FORMAT)
        return throw_error(error, FILEDUP_ERROR_FATAL,
                           "it has format %u, this filedup knows %d: use a newer one",
                           (guint) get(in + 4, 4), PACK_FORMAT);
    *ret_state = get(in + 48, 8) == f->id ? PACKFILE_GOOD : PACKFILE_DAMAGED;
    f->salt = get(in + 56, 8);
    return TRUE;
}

PackFile *
packfile_open(int history_fd, guint64 id, gboolean writable, const char *uuid,
              PackFileState *ret_state, GError **error)
{
    g_autofree char *name = packfile_name(id);
    g_autoptr(PackFile) f = g_new0(PackFile, 1);
    guint8 header[PACK_HEADER_BYTES];
    struct stat st;

    f->id = id;
    f->fd = openat(history_fd, name,
                   (writable ? O_RDWR : O_RDONLY) | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC);
    if (f->fd < 0 && errno == ENOENT) {
        *ret_state = PACKFILE_MISSING;
        return NULL;
    }
    if (f->fd < 0 && errno != ELOOP && errno != EISDIR && errno != EIO) {
        throw_errno(error, "opening pack '%s'", name);
        return NULL;
    }
    *ret_state = PACKFILE_DAMAGED;
    if (f->fd < 0 || fstat(f->fd, &st) < 0 || !S_ISREG(st.st_mode))
        return NULL;
    gssize got = fd_pread_most(f->fd, header, sizeof header, 0);
    if (got < 0 && errno == EIO)
        return NULL;
    if (got < 0) {
        throw_errno(error, "reading pack '%s'", name);
        return NULL;
    }
    if (is_zero(header, (gsize) got) || (gsize) got < sizeof header) {
        *ret_state = PACKFILE_BLANK;
        return NULL;
    }
    if (!header_decode(header, uuid, f, ret_state, error)) {
        throw_prefixed(error, "pack '%s'", name);
        return NULL;
    }
    return *ret_state == PACKFILE_GOOD ? g_steal_pointer(&f) : NULL;
}

PackFile *
packfile_create(int history_fd, guint64 id, const char *uuid, GError **error)
{
    g_autofree char *name = packfile_name(id);
    g_autoptr(PackFile) f = g_new0(PackFile, 1);
    guint8 header[PACK_HEADER_BYTES] = {0};

    g_assert(strlen(uuid) == UUID_BYTES);
    f->id = id;
    if (getrandom(&f->salt, sizeof f->salt, 0) != sizeof f->salt)
        g_error("getrandom: %s", g_strerror(errno));
    put(header, PACK_MAGIC, 4);
    put(header + 4, PACK_FORMAT, 4);
    memcpy(header + 8, uuid, UUID_BYTES);
    put(header + 48, id, 8);
    put(header + 56, f->salt, 8);
    put(header + AT_SUM, XXH3_64bits(header, AT_SUM), 8);

    f->fd = openat(history_fd, name, O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
    if (f->fd < 0) {
        throw_errno(error, "creating pack '%s'", name);
        return NULL;
    }
    if (!fd_pwrite_full(f->fd, header, sizeof header, 0)) {
        throw_errno(error, "writing pack '%s'", name);
        (void) unlinkat(history_fd, name, 0);
        return NULL;
    }
    return g_steal_pointer(&f);
}

guint64
packfile_size(const PackFile *f)
{
    struct stat st;

    return fstat(f->fd, &st) < 0 ? 0 : (guint64) st.st_size;
}

/* ---- reading one frame ---- */

gboolean
packfile_damaged(const PackFile *f, guint64 position, const char *what, GError **error)
{
    return throw_error(error, FILEDUP_ERROR_DAMAGED,
                       "pack %" G_GUINT64_FORMAT " at %" G_GUINT64_FORMAT ": %s", f->id, position,
                       what);
}

/* With errno. */
static gboolean
unreadable(const PackFile *f, guint64 position, gboolean *ret_unreadable, GError **error)
{
    *ret_unreadable = TRUE;
    return throw_errno(error, "reading pack %" G_GUINT64_FORMAT " at %" G_GUINT64_FORMAT, f->id,
                       position);
}

gboolean
packfile_read(const PackFile *f, guint64 position, Codec *codec, guint8 *raw, gsize *ret_raw_bytes,
              gboolean *ret_unreadable, GError **error)
{
    gsize most = FRAME_HEADER_BYTES + PACK_FRAME_BYTES;
    g_autofree guint8 *buffer = g_malloc(most);
    gssize got;
    Frame frame;
    guint64 sum;

    *ret_unreadable = FALSE;
    if (position > G_MAXINT64 - most)
        return packfile_damaged(f, position, "there is no frame", error);
    got = fd_pread_most(f->fd, buffer, most, (goffset) position);
    if (got < 0 && errno == EIO) /* what is behind the frame may be what cannot be read */
        got = fd_pread_most(f->fd, buffer, FRAME_HEADER_BYTES, (goffset) position);
    if (got < 0)
        return unreadable(f, position, ret_unreadable, error);
    if (got < FRAME_HEADER_BYTES || !frame_decode(buffer, f->salt, position, &frame, &sum) ||
        frame.type != FRAME_CONTENT)
        return packfile_damaged(f, position, "there is no frame", error);
    gsize end = FRAME_HEADER_BYTES + frame.stored_bytes;
    if ((gsize) got < end && !fd_pread_full(f->fd, buffer, end, (goffset) position)) {
        if (errno == ENODATA)
            return packfile_damaged(f, position, "the frame is cut off", error);
        return unreadable(f, position, ret_unreadable, error);
    }
    if (!codec_unpack(codec, &frame, buffer + FRAME_HEADER_BYTES, raw))
        return packfile_damaged(f, position, "the frame has not its sum", error);
    *ret_raw_bytes = frame.raw_bytes;
    return TRUE;
}

/* ---- footers alone ---- */

static GBytes *
read_footer(const PackFile *f, guint64 position, const Frame *frame, Codec *codec, GError **error)
{
    g_autofree guint8 *stored = g_malloc(frame->stored_bytes + 1);
    g_autofree guint8 *raw = g_malloc(frame->raw_bytes + 1);

    if (!fd_pread_full(f->fd, stored, frame->stored_bytes,
                       (goffset) position + FRAME_HEADER_BYTES)) {
        throw_errno(error, "reading pack %" G_GUINT64_FORMAT " at %" G_GUINT64_FORMAT, f->id,
                    position);
        return NULL;
    }
    if (!codec_unpack(codec, frame, stored, raw)) {
        packfile_damaged(f, position, "the footer has not its sum", error);
        return NULL;
    }
    return g_bytes_new_take(g_steal_pointer(&raw), frame->raw_bytes);
}

gboolean
packfile_footers(const PackFile *f, guint64 until, Codec *codec, PackFileFunc func, gpointer data,
                 GError **error)
{
    guint8 header[FRAME_HEADER_BYTES];
    guint64 at = PACK_HEADER_BYTES, sum;
    Frame frame;

    while (at < until) {
        if (!fd_pread_full(f->fd, header, sizeof header, (goffset) at) && errno != ENODATA)
            return throw_errno(error, "reading pack %" G_GUINT64_FORMAT " at %" G_GUINT64_FORMAT,
                               f->id, at);
        if (!frame_decode(header, f->salt, at, &frame, &sum) ||
            frame.stored_bytes > until - at) /* invariant 2 */
            return packfile_damaged(f, at, "there is no frame", error);
        guint64 end = at + FRAME_HEADER_BYTES + frame.stored_bytes;
        if (frame.type == FRAME_FOOTER) {
            g_autoptr(GBytes) footer = read_footer(f, at, &frame, codec, error);
            if (!footer)
                return FALSE;
            func(f->id, footer, data);
            end = (end + PACK_ALIGN - 1) / PACK_ALIGN * PACK_ALIGN;
        }
        at = end;
    }
    return TRUE;
}
