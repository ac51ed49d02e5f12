/* sink.c - where the bytes of one reading go, summed on the way
 *
 * Sums are of the bytes that are handed on, in the caller's buffer: they cannot differ from what
 * the store gets.
 *
 * Large content streams into staged files, and their write-back is kept going a window behind, so
 * that the fsync at the end is short and the time monitor sees progress. A store whose staged file
 * fails gets nothing; the others get theirs.
 */

#include "config.h"

#include <errno.h>
#include <fcntl.h>
#include <unistd.h>

#include "base/error.h"
#include "base/fd.h"
#include "base/sums.h"
#include "copy/ranges.h"
#include "copy/sink.h"

#define WINDOW_BYTES (G_GUINT64_CONSTANT(8) * 1024 * 1024)

struct Sink {
    GBytes *recorded;
    guint64 recorded_bytes;
    gboolean has_staged;
    int staged_fds[MESSAGE_MAX_FDS];
    guint n_staged;

    /* this round's */
    SinkKind kind;
    guint64 size_bytes;
    guint64 offset;
    guint64 pushed;
    Fd content;
    Sums *summing;
    Ranges *ranges;
    GBytes *sums; /* both: at its end */
    GBytes *list;
};

Sink *
sink_new(void)
{
    Sink *s = g_new0(Sink, 1);

    s->content = -1;
    return s;
}

static void
clear_round(Sink *s)
{
    fd_clear(fd_steal(&s->content));
    g_clear_pointer(&s->summing, sums_free);
    g_clear_pointer(&s->ranges, ranges_free);
    g_clear_pointer(&s->sums, g_bytes_unref);
    g_clear_pointer(&s->list, g_bytes_unref);
    s->offset = s->pushed = 0;
}

void
sink_free(Sink *s)
{
    if (!s)
        return;
    clear_round(s);
    for (guint i = 0; i < s->n_staged; i++)
        fd_clear(s->staged_fds[i]);
    g_clear_pointer(&s->recorded, g_bytes_unref);
    g_free(s);
}

void
sink_take_staged(Sink *s, const int *fds, guint n_fds)
{
    g_assert(!s->has_staged && n_fds <= MESSAGE_MAX_FDS);
    s->has_staged = TRUE;
    s->n_staged = n_fds;
    for (guint i = 0; i < n_fds; i++)
        s->staged_fds[i] = fds[i];
}

gboolean
sink_has_staged(const Sink *s)
{
    return s->has_staged;
}

void
sink_set_recorded(Sink *s, GBytes *recorded, guint64 recorded_bytes)
{
    g_clear_pointer(&s->recorded, g_bytes_unref);
    s->recorded = recorded ? g_bytes_ref(recorded) : NULL;
    s->recorded_bytes = recorded_bytes;
}

/* One store's staged file is of no more use. It is left empty, so that its store, which checks the
 * size, does not take it. FALSE with errno: it was the last one. */
static gboolean
give_up_staged(Sink *s, guint i)
{
    int errnum = errno;

    if (s->n_staged == 1) {
        errno = errnum;
        return FALSE;
    }
    (void) ftruncate(s->staged_fds[i], 0);
    fd_clear(s->staged_fds[i]);
    s->staged_fds[i] = s->staged_fds[--s->n_staged];
    return TRUE;
}

static gboolean
set_staged_size(Sink *s, guint64 size_bytes)
{
    for (guint i = s->n_staged; i-- > 0;)
        if (ftruncate(s->staged_fds[i], (off_t) size_bytes) < 0 && !give_up_staged(s, i))
            return FALSE;
    return TRUE;
}

gboolean
sink_begin(Sink *s, SinkKind kind, guint64 size_bytes, GError **error)
{
    clear_round(s);
    s->kind = kind;
    s->size_bytes = size_bytes;
    if (kind == SINK_STAGED && !set_staged_size(s, 0))
        return throw_errno(error, "emptying the staged file");
    if (kind == SINK_MEMORY || kind == SINK_RANGES)
        s->content = fd_memfd("filedup-content", error);
    if ((kind == SINK_MEMORY || kind == SINK_RANGES) && s->content < 0)
        return FALSE;
    if (kind == SINK_RANGES)
        s->ranges = ranges_new(s->recorded, s->recorded_bytes, size_bytes, s->content);
    else
        s->summing = sums_new(size_bytes);
    return TRUE;
}

/* Starts the write-back of whole windows that are complete. Never waits for it: sync_file_range's
 * wait takes a write-back error away from the fsync that has to report it. */
static gboolean
push_write_back(Sink *s)
{
    for (; s->offset - s->pushed >= WINDOW_BYTES; s->pushed += WINDOW_BYTES)
        for (guint i = s->n_staged; i-- > 0;)
            if (sync_file_range(s->staged_fds[i], (off_t) s->pushed, WINDOW_BYTES,
                                SYNC_FILE_RANGE_WRITE) < 0 &&
                errno != ESPIPE && errno != ENOSYS && !give_up_staged(s, i))
                return FALSE;
    return TRUE;
}

static gboolean
add_staged(Sink *s, const void *data, gsize n, GError **error)
{
    for (guint i = s->n_staged; i-- > 0;)
        if (!fd_pwrite_full(s->staged_fds[i], data, n, (goffset) s->offset) &&
            !give_up_staged(s, i))
            return throw_errno(error, "writing the staged file");
    s->offset += n;
    return push_write_back(s) || throw_errno(error, "writing the staged file back");
}

gboolean
sink_add(Sink *s, const void *data, gsize n, GError **error)
{
    if (s->kind == SINK_RANGES)
        return ranges_add(s->ranges, data, n) || throw_errno(error, "writing to memory");
    sums_add(s->summing, data, n);
    if (s->kind == SINK_STAGED)
        return add_staged(s, data, n, error);
    if (s->kind == SINK_MEMORY && !fd_pwrite_full(s->content, data, n, (goffset) s->offset))
        return throw_errno(error, "writing to memory");
    s->offset += n;
    return TRUE;
}

void
sink_add_zeros(Sink *s, guint64 n)
{
    if (n == 0)
        return;
    if (s->kind == SINK_RANGES)
        ranges_add_zeros(s->ranges, n);
    else
        sums_add_zeros(s->summing, n);
    s->offset += n;
    s->pushed = s->offset; /* there is nothing to write back in a hole */
}

gboolean
sink_is_full(const Sink *s)
{
    return s->kind == SINK_RANGES && ranges_too_much(s->ranges);
}

gboolean
sink_end(Sink *s, guint8 ret_hash[HASH_BYTES], GError **error)
{
    gboolean ok = TRUE;

    if (s->kind == SINK_MEMORY)
        ok = ftruncate(s->content, (off_t) s->size_bytes) == 0;
    else if (s->kind == SINK_STAGED)
        ok = set_staged_size(s, s->size_bytes);
    if (!ok)
        return throw_errno(error, "setting the size of the copy");
    s->sums = s->ranges ? ranges_finish(s->ranges, ret_hash, &s->list)
                        : sums_finish(s->summing, ret_hash);
    return TRUE;
}

static gboolean
sync_staged(Sink *s, void (*alive)(gpointer data), gpointer data, GError **error)
{
    for (guint i = s->n_staged; i-- > 0;) {
        if (fsync(s->staged_fds[i]) < 0 && !give_up_staged(s, i))
            return throw_errno(error, "fsync of the staged file");
        alive(data);
    }
    return TRUE;
}

static int
seal(const char *name, GBytes *bytes, GError **error)
{
    gsize n;
    const void *data = g_bytes_get_data(bytes, &n);

    return fd_from_bytes(name, data ? data : "", n, error);
}

gboolean
sink_keep(Sink *s, SinkKind *ret_kind, int *ret_sums, int *ret_content, int *ret_ranges,
          void (*alive)(gpointer data), gpointer data, GError **error)
{
    gboolean all = s->kind == SINK_RANGES && ranges_are_everything(s->ranges);
    SinkKind kind = all ? SINK_MEMORY : s->kind;
    g_auto(Fd) sums = -1, ranges = -1;

    g_assert(s->sums && kind != SINK_NOTHING);
    if (kind == SINK_STAGED && !sync_staged(s, alive, data, error))
        return FALSE;
    if (kind != SINK_STAGED && !fd_seal(s->content, error))
        return FALSE;
    if (kind == SINK_RANGES && (ranges = seal("filedup-ranges", s->list, error)) < 0)
        return FALSE;
    if ((sums = seal("filedup-sums", s->sums, error)) < 0)
        return FALSE;
    *ret_kind = kind;
    *ret_sums = fd_steal(&sums);
    *ret_ranges = fd_steal(&ranges);
    *ret_content = kind == SINK_STAGED ? -1 : fd_steal(&s->content);
    return TRUE;
}
