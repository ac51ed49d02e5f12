/* compare.c - where two contents differ */

#include "config.h"

#include <string.h>

#include "base/error.h"
#include "base/fd.h"
#include "cli/compare.h"

#define READ_BYTES ((gsize) 256 * 1024)

static void
add_range(GArray *ranges, guint64 offset, guint64 length)
{
    DiffRange *last = ranges->len ? &g_array_index(ranges, DiffRange, ranges->len - 1) : NULL;

    if (last && offset - (last->offset + last->length) < COMPARE_JOIN_BYTES)
        last->length = offset + length - last->offset;
    else
        g_array_append_vals(ranges, &(DiffRange){offset, length}, 1);
}

static void
compare_buffers(GArray *ranges, const guint8 *a, const guint8 *b, gsize n, guint64 offset)
{
    if (memcmp(a, b, n) == 0)
        return;
    for (gsize i = 0; i < n;) {
        gsize start = i;
        while (i < n && a[i] != b[i])
            i++;
        if (i > start)
            add_range(ranges, offset + start, i - start);
        else
            i++;
    }
}

GArray *
compare_contents(int fd_a, guint64 size_a, int fd_b, guint64 size_b, GError **error)
{
    g_autoptr(GArray) ranges = g_array_new(FALSE, FALSE, sizeof(DiffRange));
    g_autofree guint8 *a = g_malloc(READ_BYTES);
    g_autofree guint8 *b = g_malloc(READ_BYTES);
    guint64 common = MIN(size_a, size_b);

    for (guint64 offset = 0; offset < common;) {
        gsize n = (gsize) MIN(READ_BYTES, common - offset);
        if (!fd_pread_full(fd_a, a, n, (goffset) offset) ||
            !fd_pread_full(fd_b, b, n, (goffset) offset)) {
            throw_errno(error, "reading at %" G_GUINT64_FORMAT, offset);
            return NULL;
        }
        compare_buffers(ranges, a, b, n, offset);
        offset += n;
    }
    if (size_a != size_b)
        add_range(ranges, common, MAX(size_a, size_b) - common);
    return g_steal_pointer(&ranges);
}

/* C0 controls but for those of text, and C1 controls as UTF-8 has them. */
static gboolean
is_obeyed(guint8 before, guint8 c)
{
    return (c < 0x20 && c != '\t' && c != '\n' && c != '\r' && c != '\f') || c == 0x7f ||
           (before == 0xc2 && c >= 0x80 && c < 0xa0);
}

gboolean
compare_is_text(int fd, guint64 size_bytes)
{
    g_autofree guint8 *buffer = g_malloc(READ_BYTES);
    guint8 before = 0;

    for (guint64 offset = 0; offset < size_bytes;) {
        gsize n = (gsize) MIN(READ_BYTES, size_bytes - offset);
        if (!fd_pread_full(fd, buffer, n, (goffset) offset))
            return FALSE;
        for (gsize i = 0; i < n; i++) {
            if (is_obeyed(before, buffer[i]))
                return FALSE;
            before = buffer[i];
        }
        offset += n;
    }
    return TRUE;
}
