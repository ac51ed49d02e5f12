/* transaction.c - what one capture did to one file
 *
 * FORMAT  begin:    the serialised GVariant BEGIN_TYPE below, little-endian:
 *                   format, path, principal, kind, stat, hash, attributes, quality, cause, size
 *         data:     the bytes at `offset`
 *         hole:     no payload
 *         replace:  serialised GVariant REPLACE_TYPE: number of the staged file, its inode, size,
 *                   hash (of its sums, which lie in staged/<number>.sums)
 *         delete:   no payload
 *         commit:   no payload, padding up to the next multiple of 4096
 */

#include "config.h"

#include <string.h>

#include "base/error.h"
#include "base/path.h"
#include "store/transaction.h"

#define BEGIN_FORMAT 1
#define BEGIN_TYPE   "(uayuu" FILESTAT_TYPE "ayayuut)"
#define REPLACE_TYPE "(tttay)"

void
capture_clear(Capture *c)
{
    g_clear_pointer(&c->path, g_free);
    g_clear_pointer(&c->attributes, g_bytes_unref);
}

void
transaction_free(Transaction *t)
{
    if (!t)
        return;
    capture_clear(&t->capture);
    g_clear_pointer(&t->extents, g_array_unref);
    g_free(t);
}

gboolean
capture_has_content(const Capture *c)
{
    return c->kind == APPEND_CONTENT || c->kind == APPEND_STAGED;
}

static GVariant *
bytes_to_variant(const void *data, gsize n)
{
    return g_variant_new_fixed_array(G_VARIANT_TYPE_BYTE, data, n, 1);
}

static GBytes *
serialise(GVariant *floating)
{
    g_autoptr(GVariant) value = g_variant_ref_sink(floating);
#if G_BYTE_ORDER == G_BIG_ENDIAN
    g_autoptr(GVariant) native = g_steal_pointer(&value);
    value = g_variant_byteswap(native);
#endif
    return g_variant_get_data_as_bytes(value);
}

/* NULL unless the bytes are such a value in normal form. */
static GVariant *
deserialise(const char *type, const guint8 *payload, gsize n)
{
    g_autoptr(GBytes) bytes = g_bytes_new(payload, n); /* a copy is aligned */
    g_autoptr(GVariant) value =
        g_variant_ref_sink(g_variant_new_from_bytes(G_VARIANT_TYPE(type), bytes, FALSE));
#if G_BYTE_ORDER == G_BIG_ENDIAN
    g_autoptr(GVariant) little = g_steal_pointer(&value);
    value = g_variant_byteswap(little);
#endif
    return g_variant_is_normal_form(value) ? g_steal_pointer(&value) : NULL;
}

GBytes *
capture_begin_payload(const Capture *c)
{
    gsize n = 0;
    const void *attributes = c->attributes ? g_bytes_get_data(c->attributes, &n) : NULL;

    return serialise(
        g_variant_new("(u@ayuu@" FILESTAT_TYPE "@ay@ayuut)", BEGIN_FORMAT, path_to_variant(c->path),
                      (guint32) c->principal, (guint32) c->kind, filestat_to_variant(&c->stat),
                      bytes_to_variant(c->hash, HASH_BYTES), bytes_to_variant(attributes, n),
                      (guint32) c->quality, (guint32) c->cause, c->size_bytes));
}

GBytes *
capture_replace_payload(const Capture *c)
{
    return serialise(g_variant_new("(ttt@ay)", c->staged, c->staged_ino, c->size_bytes,
                                   bytes_to_variant(c->hash, HASH_BYTES)));
}

gboolean
capture_parse_begin(const guint8 *payload, gsize n, guint64 file, Capture *ret_capture)
{
    g_autoptr(GVariant) value = deserialise(BEGIN_TYPE, payload, n);
    g_autoptr(GVariant) path = NULL, stat = NULL, hash = NULL, attributes = NULL;
    guint32 format, principal, kind, quality, cause;
    guint64 size_bytes;
    gsize n_hash;

    if (!value)
        return FALSE;
    g_variant_get(value, "(u@ayuu@" FILESTAT_TYPE "@ay@ayuut)", &format, &path, &principal, &kind,
                  &stat, &hash, &attributes, &quality, &cause, &size_bytes);
    const void *hash_bytes = g_variant_get_fixed_array(hash, &n_hash, 1);
    if (format != BEGIN_FORMAT || !path_from_variant(path) || kind > APPEND_DELETE ||
        n_hash != HASH_BYTES)
        return FALSE;

    *ret_capture = (Capture){
        .file = file,
        .path = g_strdup(path_from_variant(path)),
        .principal = principal,
        .kind = (AppendKind) kind,
        .attributes = g_variant_get_data_as_bytes(attributes),
        .quality = (Quality) quality,
        .cause = (PointCause) cause,
        .size_bytes = size_bytes,
    };
    filestat_from_variant(stat, &ret_capture->stat);
    memcpy(ret_capture->hash, hash_bytes, HASH_BYTES);
    return TRUE;
}

gboolean
capture_parse_replace(const guint8 *payload, gsize n, Capture *c)
{
    g_autoptr(GVariant) value = deserialise(REPLACE_TYPE, payload, n);
    g_autoptr(GVariant) hash = NULL;
    guint64 size_bytes;

    if (!value)
        return FALSE;
    g_variant_get(value, "(ttt@ay)", &c->staged, &c->staged_ino, &size_bytes, &hash);
    return size_bytes == c->size_bytes;
}

gboolean
transaction_write_content(const Transaction *t, int fd, gboolean *ret_lost, GError **error)
{
    g_autofree guint8 *buffer = g_malloc(RECORD_PAYLOAD_MAX);

    g_assert(t->capture.kind == APPEND_CONTENT);
    for (guint i = 0; i < t->extents->len; i++) {
        const Extent *e = &g_array_index(t->extents, Extent, i);
        if (e->hole)
            continue;
        if (!fd_pread_full(t->segment->fd, buffer, (gsize) e->length, (goffset) e->position)) {
            *ret_lost = errno == EIO;
            return throw_errno(error, "reading journal segment '%s'", t->segment->name);
        }
        *ret_lost = record_payload_sum(buffer, (gsize) e->length) != e->sum;
        if (*ret_lost)
            return throw_error(
                error, FILEDUP_ERROR_DAMAGED,
                "journal segment '%s' differs from what was written at %" G_GUINT64_FORMAT,
                t->segment->name, e->position);
        if (!fd_pwrite_full(fd, buffer, (gsize) e->length, (goffset) e->offset))
            return throw_errno(error, "writing a copy");
    }
    if (ftruncate(fd, (off_t) t->capture.size_bytes) < 0)
        return throw_errno(error, "writing a copy");
    return TRUE;
}
