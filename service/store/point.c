/* point.c - contents: what belongs to one, and its sums */

#include "config.h"

#include <string.h>

#include "base/error.h"
#include "base/fd.h"
#include "base/sums.h"
#include "store/point.h"

#define READ_BYTES (1024 * 1024)

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
        .changed_bytes = c->kind == APPEND_RANGES ? transaction_extent_bytes(t) : c->size_bytes,
        .stat = c->stat,
        .attributes = c->attributes ? g_bytes_ref(c->attributes) : g_bytes_new(NULL, 0),
        .place = POINT_IN_JOURNAL,
        .source = t,
        .fresh = TRUE,
    };
    memcpy(p->hash, c->hash, HASH_BYTES);
    return p;
}

Point *
point_copy(const Point *p)
{
    Point *copy = g_memdup2(p, sizeof *p);

    copy->attributes = p->attributes ? g_bytes_ref(p->attributes) : NULL;
    copy->name = g_strdup(p->name);
    copy->undo = p->undo ? undo_copy(p->undo) : NULL;
    copy->sums = p->sums ? g_bytes_ref(p->sums) : NULL;
    return copy;
}

void
point_free(Point *p)
{
    if (!p)
        return;
    g_clear_pointer(&p->attributes, g_bytes_unref);
    g_clear_pointer(&p->sums, g_bytes_unref);
    g_clear_pointer(&p->undo, undo_free);
    g_free(p->name);
    g_free(p);
}

GBytes *
point_sums(const guint8 *content, gsize n)
{
    g_autoptr(Sums) sums = sums_new(n);
    guint8 hash[HASH_BYTES];

    sums_add(sums, content, n);
    return sums_finish(sums, hash);
}

GBytes *
point_sums_read(int fd, guint64 size_bytes, GError **error)
{
    g_autoptr(Sums) sums = sums_new(size_bytes);
    g_autofree guint8 *buffer = g_malloc(READ_BYTES);
    guint8 hash[HASH_BYTES];

    for (guint64 at = 0; at < size_bytes; at += READ_BYTES) {
        gsize n = (gsize) MIN(READ_BYTES, size_bytes - at);
        if (!fd_pread_full(fd, buffer, n, (goffset) at)) {
            throw_errno(error, "reading a copy");
            return NULL;
        }
        sums_add(sums, buffer, n);
    }
    return sums_finish(sums, hash);
}
