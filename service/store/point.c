/* point.c - contents: what belongs to one, and its sums */

#include "config.h"

#include <string.h>
#include <xxhash.h>

#include "base/sums.h"
#include "base/error.h"
#include "base/fd.h"
#include "store/point.h"

Point *
point_new(const Transaction *t)
{
    const Capture *c = &t->capture;
    Point *p = g_new0(Point, 1);

    g_assert(capture_has_content(c));
    *p = (Point){
        .id = t->seq,
        .time_usec = t->time_usec,
        .cause = c->cause,
        .quality = c->quality,
        .size_bytes = c->size_bytes,
        .stat = c->stat,
        .attributes = c->attributes ? g_bytes_ref(c->attributes) : g_bytes_new(NULL, 0),
        .place = POINT_IN_JOURNAL,
        .source = t,
        .fresh = TRUE,
    };
    memcpy(p->hash, c->hash, HASH_BYTES);
    return p;
}

void
point_free(Point *p)
{
    if (!p)
        return;
    g_clear_pointer(&p->attributes, g_bytes_unref);
    g_clear_pointer(&p->sums, g_bytes_unref);
    g_free(p);
}

guint64
sums_count(guint64 size_bytes)
{
    return size_bytes / SUM_BLOCK_BYTES + (size_bytes % SUM_BLOCK_BYTES != 0);
}

GBytes *
sums_of(const guint8 *content, gsize n)
{
    gsize count = (gsize) sums_count(n);
    guint64 *sums = g_new(guint64, MAX(count, 1));

    for (gsize i = 0; i < count; i++) {
        gsize at = i * SUM_BLOCK_BYTES;
        sums[i] = GUINT64_TO_LE(XXH3_64bits(content + at, MIN(SUM_BLOCK_BYTES, n - at)));
    }
    return g_bytes_new_take(sums, count * sizeof *sums);
}

GBytes *
sums_read(int fd, guint64 size_bytes, GError **error)
{
    g_autoptr(GByteArray) sums = g_byte_array_new();
    const gsize chunk = 64 * SUM_BLOCK_BYTES;
    g_autofree guint8 *buffer = g_malloc(chunk);

    for (guint64 at = 0; at < size_bytes; at += chunk) {
        gsize n = (gsize) MIN(chunk, size_bytes - at);
        if (!fd_pread_full(fd, buffer, n, (goffset) at)) {
            throw_errno(error, "reading a copy");
            return NULL;
        }
        g_autoptr(GBytes) some = sums_of(buffer, n);
        g_byte_array_append(sums, g_bytes_get_data(some, NULL), (guint) g_bytes_get_size(some));
    }
    return g_byte_array_free_to_bytes(g_steal_pointer(&sums));
}

