/* transaction.c - what one capture did to one file
 *
 * FORMAT  begin:    the serialised GVariant BEGIN_TYPE below, little-endian:
 *                   format, path, principal, kind, stat, hash, attributes, quality, cause, size;
 *                   since format 2: hash of what ranges change (or empty), name, suspicion.
 *                   The first four bytes are the format: what follows is read by it.
 *         data:     the bytes at `offset`; of ranges they are laid over the content before
 *         hole:     no payload; zeros
 *         replace:  serialised GVariant REPLACE_TYPE: number of the staged file, its inode, size,
 *                   hash (of its sums, which lie in staged/<number>.sums)
 *         delete:   no payload
 *         commit:   no payload, padding up to the next multiple of 4096
 */

#include "config.h"

#include <string.h>

#include "base/path.h"
#include "store/transaction.h"

#define BEGIN_FORMAT 2
#define BEGIN_TYPE_1 "(uayuu" FILESTAT_TYPE "ayayuut)"
#define BEGIN_TYPE   "(uayuu" FILESTAT_TYPE "ayayuutaysu)"
#define REPLACE_TYPE "(tttay)"

void
capture_clear(Capture *c)
{
    g_clear_pointer(&c->path, g_free);
    g_clear_pointer(&c->attributes, g_bytes_unref);
    g_clear_pointer(&c->name, g_free);
}

void
transaction_free(Transaction *t)
{
    if (!t)
        return;
    capture_clear(&t->capture);
    g_clear_pointer(&t->extents, g_array_unref);
    g_clear_pointer(&t->sums, g_bytes_unref);
    g_free(t);
}

gboolean
capture_has_content(const Capture *c)
{
    return capture_is_whole(c) || c->kind == APPEND_RANGES;
}

gboolean
capture_is_whole(const Capture *c)
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
    gsize n_base = c->kind == APPEND_RANGES ? HASH_BYTES : 0;

    return serialise(g_variant_new(
        "(u@ayuu@" FILESTAT_TYPE "@ay@ayuut@aysu)", BEGIN_FORMAT, path_to_variant(c->path),
        (guint32) c->principal, (guint32) c->kind, filestat_to_variant(&c->stat),
        bytes_to_variant(c->hash, HASH_BYTES), bytes_to_variant(attributes, n),
        (guint32) c->quality, (guint32) c->cause, c->size_bytes,
        bytes_to_variant(c->base_hash, n_base), c->name ? c->name : "", c->suspicion));
}

GBytes *
capture_replace_payload(const Capture *c)
{
    return serialise(g_variant_new("(ttt@ay)", c->staged, c->staged_ino, c->size_bytes,
                                   bytes_to_variant(c->hash, HASH_BYTES)));
}

static gboolean
parse_hash(GVariant *bytes, guint8 *ret_hash)
{
    gsize n;
    const void *data = g_variant_get_fixed_array(bytes, &n, 1);

    if (n == HASH_BYTES)
        memcpy(ret_hash, data, HASH_BYTES);
    return n == HASH_BYTES;
}

/* What came with format 2. */
static gboolean
parse_later_fields(GVariant *value, Capture *c)
{
    g_autoptr(GVariant) base = g_variant_get_child_value(value, 10);
    const char *name;

    g_variant_get_child(value, 11, "&s", &name);
    g_variant_get_child(value, 12, "u", &c->suspicion);
    c->name = name[0] ? g_strdup(name) : NULL;
    if (c->kind != APPEND_RANGES)
        return TRUE;
    return parse_hash(base, c->base_hash) && c->cause != CAUSE_BEFORE_RESTORE;
}

gboolean
capture_parse_begin(const guint8 *payload, gsize n, guint64 file, Capture *ret_capture,
                    gboolean *ret_newer)
{
    guint32 format, principal, kind, quality, cause;
    g_autoptr(GVariant) path = NULL, stat = NULL, hash = NULL, attributes = NULL;
    g_auto(Capture) c = {.file = file};

    if (ret_newer)
        *ret_newer = FALSE;
    if (n < sizeof format)
        return FALSE;
    memcpy(&format, payload, sizeof format);
    format = GUINT32_FROM_LE(format);
    if (ret_newer)
        *ret_newer = format > BEGIN_FORMAT;
    if (format < 1 || format > BEGIN_FORMAT)
        return FALSE;
    g_autoptr(GVariant) value = deserialise(format == 1 ? BEGIN_TYPE_1 : BEGIN_TYPE, payload, n);
    if (!value)
        return FALSE;
    g_variant_get_child(value, 1, "@ay", &path);
    g_variant_get_child(value, 2, "u", &principal);
    g_variant_get_child(value, 3, "u", &kind);
    g_variant_get_child(value, 4, "@" FILESTAT_TYPE, &stat);
    g_variant_get_child(value, 5, "@ay", &hash);
    g_variant_get_child(value, 6, "@ay", &attributes);
    g_variant_get_child(value, 7, "u", &quality);
    g_variant_get_child(value, 8, "u", &cause);
    g_variant_get_child(value, 9, "t", &c.size_bytes);
    if (!path_from_variant(path) || !path_is_canonical(path_from_variant(path)) ||
        kind > (format == 1 ? APPEND_DELETE : APPEND_COUNT - 1) || !parse_hash(hash, c.hash))
        return FALSE;
    c.path = g_strdup(path_from_variant(path));
    c.principal = principal;
    c.kind = (AppendKind) kind;
    c.attributes = g_variant_get_data_as_bytes(attributes);
    c.quality = (Quality) quality;
    c.cause = (PointCause) cause;
    filestat_from_variant(stat, &c.stat);
    if (format > 1 && !parse_later_fields(value, &c))
        return FALSE;
    *ret_capture = c;
    c = (Capture){0};
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

guint64
transaction_extent_bytes(const Transaction *t)
{
    guint64 sum = 0;

    for (guint i = 0; i < t->extents->len; i++) {
        const Extent *e = &g_array_index(t->extents, Extent, i);
        sum += e->hole ? 0 : e->length;
    }
    return sum;
}
