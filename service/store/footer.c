/* footer.c - what a prepared batch is for
 *
 * A batch of apply has saved old bytes in a pack, and is about to change mirrors. Its footer says
 * where each content of its files is once that is done: what the catalog is going to be told. So a
 * crash after it costs nothing, and a lost catalog can be made anew from the packs.
 *
 * FORMAT  the serialised GVariant FOOTER_TYPE, little-endian: format (the first four bytes), kind,
 *         files; a file: id, path, principal, through, mirror's size before, suspicion, since,
 *         point; current (an array of one or none), points, dropped ids; a point: id, time, cause,
 *         quality, size, changed, stat, attributes, hash, kept, name, deleted, whole, undo.
 */

#include "config.h"

#include <string.h>

#include "base/error.h"
#include "base/path.h"
#include "store/footer.h"

#define POINT_TYPE  "(txuutt" FILESTAT_TYPE "ayayusxtay)"
#define FILE_TYPE   "(tayuttuxta" POINT_TYPE "a" POINT_TYPE "at)"
#define FOOTER_TYPE "(uua" FILE_TYPE ")"
#define ALONE_TYPE  "(u" FILE_TYPE ")"

FooterFile *
footer_file_new(const FileView *v)
{
    FooterFile *f = g_new0(FooterFile, 1);

    f->id = v->id;
    f->path = g_strdup(v->path);
    f->principal = v->principal;
    f->through = v->newest_seq;
    f->before_bytes = v->mirror_bytes;
    f->suspicion = v->suspicion;
    f->suspicion_since_usec = v->suspicion_since_usec;
    f->suspicion_point = v->suspicion_point;
    f->current = v->current ? point_copy(v->current) : NULL;
    f->points = g_ptr_array_new_with_free_func((GDestroyNotify) point_free);
    f->dropped = g_array_new(FALSE, FALSE, sizeof(guint64));
    for (guint i = 0; i < v->points->len; i++) {
        const Point *p = v->points->pdata[i];
        if (p->fresh)
            g_ptr_array_add(f->points, point_copy(p));
    }
    for (guint i = 0; i < v->dropped->len; i++)
        g_array_append_val(f->dropped, ((const Point *) v->dropped->pdata[i])->id);
    return f;
}

FooterFile *
footer_file_copy(const FooterFile *f)
{
    FooterFile *copy = g_memdup2(f, sizeof *f);

    copy->path = g_strdup(f->path);
    copy->current = f->current ? point_copy(f->current) : NULL;
    copy->points = g_ptr_array_new_with_free_func((GDestroyNotify) point_free);
    for (guint i = 0; i < f->points->len; i++)
        g_ptr_array_add(copy->points, point_copy(f->points->pdata[i]));
    copy->dropped = g_array_copy(f->dropped);
    return copy;
}

void
footer_file_free(FooterFile *f)
{
    if (!f)
        return;
    g_free(f->path);
    point_free(f->current);
    g_clear_pointer(&f->points, g_ptr_array_unref);
    g_clear_pointer(&f->dropped, g_array_unref);
    g_free(f);
}

Footer *
footer_new(FooterKind kind)
{
    Footer *f = g_new0(Footer, 1);

    f->kind = kind;
    f->files = g_ptr_array_new_with_free_func((GDestroyNotify) footer_file_free);
    return f;
}

void
footer_free(Footer *f)
{
    if (!f)
        return;
    g_ptr_array_unref(f->files);
    g_free(f);
}

/* ---- writing ---- */

static GVariant *
bytes_variant(const void *data, gsize n)
{
    return g_variant_new_fixed_array(G_VARIANT_TYPE_BYTE, data, n, 1);
}

static GVariant *
gbytes_variant(GBytes *bytes)
{
    gsize n = 0;
    const void *data = bytes ? g_bytes_get_data(bytes, &n) : NULL;

    return bytes_variant(data, n);
}

static GVariant *
point_variant(const Point *p)
{
    g_autoptr(GBytes) undo = p->undo ? undo_encode(p->undo) : NULL;

    return g_variant_new("(txuutt@" FILESTAT_TYPE "@ay@ayusxt@ay)", p->id, p->time_usec,
                         (guint32) p->cause, (guint32) p->quality, p->size_bytes, p->changed_bytes,
                         filestat_to_variant(&p->stat), gbytes_variant(p->attributes),
                         bytes_variant(p->hash, HASH_BYTES), p->kept, p->name ? p->name : "",
                         p->deleted_usec, p->whole, gbytes_variant(undo));
}

static GVariant *
file_variant(const FooterFile *f)
{
    g_auto(GVariantBuilder) current = G_VARIANT_BUILDER_INIT(G_VARIANT_TYPE("a" POINT_TYPE));
    g_auto(GVariantBuilder) points = G_VARIANT_BUILDER_INIT(G_VARIANT_TYPE("a" POINT_TYPE));

    if (f->current)
        g_variant_builder_add_value(&current, point_variant(f->current));
    for (guint i = 0; i < f->points->len; i++)
        g_variant_builder_add_value(&points, point_variant(f->points->pdata[i]));
    GVariant *dropped = g_variant_new_fixed_array(G_VARIANT_TYPE_UINT64, f->dropped->data,
                                                  f->dropped->len, sizeof(guint64));
    return g_variant_new("(t@ayuttuxta" POINT_TYPE "a" POINT_TYPE "@at)", f->id,
                         path_to_variant(f->path), (guint32) f->principal, f->through,
                         f->before_bytes, f->suspicion, f->suspicion_since_usec, f->suspicion_point,
                         &current, &points, dropped);
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

GBytes *
footer_encode(const Footer *f)
{
    g_auto(GVariantBuilder) files = G_VARIANT_BUILDER_INIT(G_VARIANT_TYPE("a" FILE_TYPE));

    for (guint i = 0; i < f->files->len; i++)
        g_variant_builder_add_value(&files, file_variant(f->files->pdata[i]));
    return serialise(g_variant_new("(uua" FILE_TYPE ")", FOOTER_FORMAT, (guint32) f->kind, &files));
}

GBytes *
footer_file_encode(const FooterFile *f)
{
    return serialise(g_variant_new("(u@" FILE_TYPE ")", FOOTER_FORMAT, file_variant(f)));
}

/* ---- reading ---- */

static GVariant *
deserialise(const char *type, GBytes *bytes, GError **error)
{
    gsize n;
    const guint8 *data = g_bytes_get_data(bytes, &n);
    guint32 format = 0;

    if (n >= sizeof format)
        memcpy(&format, data, sizeof format);
    format = GUINT32_FROM_LE(format);
    if (format > FOOTER_FORMAT) {
        throw_error(error, FILEDUP_ERROR_FATAL, "a batch of format %u: use a newer filedup",
                    format);
        return NULL;
    }
    g_autoptr(GBytes) aligned = g_bytes_new(data, n);
    g_autoptr(GVariant) value =
        g_variant_ref_sink(g_variant_new_from_bytes(G_VARIANT_TYPE(type), aligned, FALSE));
#if G_BYTE_ORDER == G_BIG_ENDIAN
    g_autoptr(GVariant) little = g_steal_pointer(&value);
    value = g_variant_byteswap(little);
#endif
    if (format == FOOTER_FORMAT && g_variant_is_normal_form(value))
        return g_steal_pointer(&value);
    throw_error(error, FILEDUP_ERROR_DAMAGED, "a batch whose footer makes no sense");
    return NULL;
}

/* NULL: it makes no sense. */
static Point *
parse_point(GVariant *value)
{
    g_autoptr(GVariant) stat = NULL, attributes = NULL, hash = NULL, undo = NULL;
    g_autofree char *name = NULL;
    g_autoptr(Point) p = g_new0(Point, 1);
    guint32 cause, quality;
    gsize n_hash;

    g_variant_get(value, "(txuutt@" FILESTAT_TYPE "@ay@ayusxt@ay)", &p->id, &p->time_usec, &cause,
                  &quality, &p->size_bytes, &p->changed_bytes, &stat, &attributes, &hash, &p->kept,
                  &name, &p->deleted_usec, &p->whole, &undo);
    p->cause = (PointCause) cause;
    p->quality = (Quality) quality;
    p->name = name[0] ? g_steal_pointer(&name) : NULL;
    p->attributes = g_variant_get_data_as_bytes(attributes);
    filestat_from_variant(stat, &p->stat);
    const void *hash_bytes = g_variant_get_fixed_array(hash, &n_hash, 1);
    if (n_hash != HASH_BYTES)
        return NULL;
    memcpy(p->hash, hash_bytes, HASH_BYTES);
    g_autoptr(GBytes) blob = g_variant_get_data_as_bytes(undo);
    if (g_bytes_get_size(blob) > 0 && !(p->undo = undo_decode(blob)))
        return NULL;
    p->place = p->whole ? POINT_IN_HISTORY : POINT_IN_UNDO;
    p->fresh = TRUE;
    return g_steal_pointer(&p);
}

static FooterFile *
parse_file(GVariant *value)
{
    g_autoptr(FooterFile) f = g_new0(FooterFile, 1);
    g_autoptr(GVariant) path = NULL, current = NULL, points = NULL, dropped = NULL;
    guint32 principal;
    gsize n;

    g_variant_get(value, "(t@ayuttuxt@a" POINT_TYPE "@a" POINT_TYPE "@at)", &f->id, &path,
                  &principal, &f->through, &f->before_bytes, &f->suspicion,
                  &f->suspicion_since_usec, &f->suspicion_point, &current, &points, &dropped);
    f->principal = principal;
    f->path = g_strdup(path_from_variant(path));
    f->points = g_ptr_array_new_with_free_func((GDestroyNotify) point_free);
    f->dropped = g_array_new(FALSE, FALSE, sizeof(guint64));
    const void *ids = g_variant_get_fixed_array(dropped, &n, sizeof(guint64));
    if (n > 0)
        g_array_append_vals(f->dropped, ids, (guint) n);
    for (gsize i = 0; i < g_variant_n_children(points); i++) {
        g_autoptr(GVariant) child = g_variant_get_child_value(points, i);
        Point *p = parse_point(child);
        if (!p)
            return NULL;
        g_ptr_array_add(f->points, p);
    }
    if (g_variant_n_children(current) > 0) {
        g_autoptr(GVariant) child = g_variant_get_child_value(current, 0);
        if (!(f->current = parse_point(child)))
            return NULL;
        f->current->fresh = FALSE;
    }
    return f->path && path_is_canonical(f->path) ? g_steal_pointer(&f) : NULL;
}

static FooterFile *
check_file(GVariant *value, GError **error)
{
    FooterFile *f = parse_file(value);

    if (!f)
        throw_error(error, FILEDUP_ERROR_DAMAGED, "a batch with a file that makes no sense");
    return f;
}

Footer *
footer_decode(GBytes *bytes, GError **error)
{
    g_autoptr(GVariant) value = deserialise(FOOTER_TYPE, bytes, error);
    g_autoptr(GVariant) files = NULL;
    guint32 format, kind;

    if (!value)
        return NULL;
    g_variant_get(value, "(uu@a" FILE_TYPE ")", &format, &kind, &files);
    if (kind > FOOTER_MOVED) {
        throw_error(error, FILEDUP_ERROR_FATAL, "a batch of kind %u: use a newer filedup", kind);
        return NULL;
    }
    g_autoptr(Footer) f = footer_new((FooterKind) kind);
    for (gsize i = 0; i < g_variant_n_children(files); i++) {
        g_autoptr(GVariant) child = g_variant_get_child_value(files, i);
        FooterFile *file = check_file(child, error);
        if (!file)
            return NULL;
        g_ptr_array_add(f->files, file);
    }
    return g_steal_pointer(&f);
}

FooterFile *
footer_file_decode(GBytes *bytes, GError **error)
{
    g_autoptr(GVariant) value = deserialise(ALONE_TYPE, bytes, error);
    g_autoptr(GVariant) file = value ? g_variant_get_child_value(value, 1) : NULL;

    return file ? check_file(file, error) : NULL;
}
