/* inquiry.c - what can be asked of a store without its daemon, answered from a reader
 *
 * This may run where nothing that it says is believed (parser.c): it only ever reads.
 */

#include "config.h"

#include "base/error.h"
#include "base/path.h"
#include "cli/inquiry.h"
#include "cli/offline.h"
#include "store/verify.h"

const char *
inquiry_type(InquiryKind kind)
{
    switch (kind) {
    case INQUIRY_LIST:
    case INQUIRY_POINTS:
        return "aa{sv}";
    case INQUIRY_CONTENT:
        return INQUIRY_CONTENT_TYPE;
    case INQUIRY_VERIFY:
        return "a{sv}";
    }
    return "";
}

/* The files as the daemon would tell them, as far as a store knows. */
static GVariant *
answer_list(StoreReader *r, GError **error)
{
    g_autoptr(GPtrArray) files = store_reader_list(r, error);
    GVariantBuilder list;

    if (!files)
        return NULL;
    g_variant_builder_init(&list, G_VARIANT_TYPE("aa{sv}"));
    for (guint i = 0; i < files->len; i++) {
        const StoredFile *f = files->pdata[i];
        g_auto(GVariantDict) dict = G_VARIANT_DICT_INIT(NULL);
        g_autofree char *mirror = path_escape(f->mirror ? f->mirror : "");
        g_autofree char *suspicion = offline_suspicion(f->suspicion);
        g_variant_dict_insert_value(&dict, "path", path_to_variant(f->path));
        g_variant_dict_insert(&dict, "state", "s", offline_state(f->state));
        g_variant_dict_insert(&dict, "principal", "u", (guint32) f->principal);
        g_variant_dict_insert(&dict, "time", "x", f->time_usec);
        g_variant_dict_insert(&dict, "quality", "s", offline_quality(f->quality));
        g_variant_dict_insert(&dict, "size", "t", f->stat.size_bytes);
        g_variant_dict_insert(&dict, "sequence", "t", f->sequence);
        g_variant_dict_insert(&dict, "backup_file", "s", mirror);
        g_variant_dict_insert(&dict, "suspicion", "s", suspicion);
        g_variant_dict_insert(&dict, "suspicious_since", "x", f->suspicion_since_usec);
        g_variant_dict_insert(&dict, "good_point", "t", f->suspicion_point);
        g_variant_builder_add_value(&list, g_variant_dict_end(&dict));
    }
    return g_variant_ref_sink(g_variant_builder_end(&list));
}

static GVariant *
point_dict(const StoredPoint *p)
{
    g_auto(GVariantDict) dict = G_VARIANT_DICT_INIT(NULL);
    g_autofree char *kept = offline_kept(p->kept);

    g_variant_dict_insert(&dict, "id", "t", p->id);
    g_variant_dict_insert(&dict, "sequence", "t", p->sequence);
    g_variant_dict_insert(&dict, "time", "x", p->time_usec);
    g_variant_dict_insert(&dict, "cause", "s", offline_cause(p->cause));
    g_variant_dict_insert(&dict, "quality", "s", offline_quality(p->quality));
    g_variant_dict_insert(&dict, "size", "t", p->size_bytes);
    g_variant_dict_insert(&dict, "changed", "t", p->changed_bytes);
    g_variant_dict_insert(&dict, "name", "s", p->name ? p->name : "");
    g_variant_dict_insert(&dict, "kept", "s", kept);
    g_variant_dict_insert(&dict, "deleted", "x", p->deleted_usec);
    g_variant_dict_insert(&dict, "newest", "b", p->newest);
    return g_variant_dict_end(&dict);
}

static GVariant *
answer_points(StoreReader *r, const char *path, guint limit, GError **error)
{
    g_autoptr(GArray) points = store_reader_points(r, path, error);
    GVariantBuilder list;

    if (!points)
        return NULL;
    g_variant_builder_init(&list, G_VARIANT_TYPE("aa{sv}"));
    for (guint i = 0; i < points->len && (limit == 0 || i < limit); i++)
        g_variant_builder_add_value(&list, point_dict(&g_array_index(points, StoredPoint, i)));
    return g_variant_ref_sink(g_variant_builder_end(&list));
}

static GVariant *
bytes_variant(GBytes *bytes)
{
    return g_variant_new_from_bytes(G_VARIANT_TYPE_BYTESTRING, bytes, TRUE);
}

static gboolean
content_of(StoreReader *r, const char *path, guint64 point, gint64 time_usec,
           StoredContent *ret_content, GError **error)
{
    return time_usec ? store_reader_content_at(r, path, time_usec, ret_content, error)
                     : store_reader_content(r, path, point, ret_content, error);
}

static GVariant *
answer_content(StoreReader *r, const char *path, guint64 point, gint64 time_usec, int *ret_fd,
               GError **error)
{
    g_auto(StoredContent) c = {.fd = -1};

    if (!content_of(r, path, point, time_usec, &c, error))
        return NULL;
    *ret_fd = fd_steal(&c.fd);
    return g_variant_ref_sink(
        g_variant_new("(t@" FILESTAT_TYPE "@ayuxtt@ay)", c.size_bytes, filestat_to_variant(&c.stat),
                      bytes_variant(c.attributes), (guint32) c.quality, c.time_usec, c.point,
                      c.stable_point, bytes_variant(c.sums)));
}

/* Damage is an answer, not an error. */
static GVariant *
answer_verify(StoreReader *r, const char *path, gboolean points, GError **error)
{
    g_auto(StoredCheck) check = {0};
    g_auto(GVariantDict) dict = G_VARIANT_DICT_INIT(NULL);
    GVariantBuilder bad, bad_points;

    if (!store_reader_verify(r, path, points, &check, error))
        return NULL;
    g_variant_builder_init(&bad, G_VARIANT_TYPE("a(tt)"));
    for (guint i = 0; i < check.bad->len; i++) {
        const BadRange *range = &g_array_index(check.bad, BadRange, i);
        g_variant_builder_add(&bad, "(tt)", range->offset, range->length);
    }
    g_variant_builder_init(&bad_points, G_VARIANT_TYPE("at"));
    for (guint i = 0; i < check.bad_points->len; i++)
        g_variant_builder_add(&bad_points, "t", g_array_index(check.bad_points, guint64, i));
    g_variant_dict_insert_value(&dict, "path", path_to_variant(path));
    g_variant_dict_insert(&dict, "store", "s", "");
    g_variant_dict_insert(&dict, "error", "s", "");
    g_variant_dict_insert(&dict, "drill", "s", "");
    g_variant_dict_insert(&dict, "bytes", "t", check.bytes);
    g_variant_dict_insert_value(&dict, "bad", g_variant_builder_end(&bad));
    g_variant_dict_insert(&dict, "points", "u", (guint32) check.points);
    g_variant_dict_insert_value(&dict, "bad_points", g_variant_builder_end(&bad_points));
    return g_variant_ref_sink(g_variant_dict_end(&dict));
}

GVariant *
inquiry_answer(StoreReader *r, GVariant *question, int *ret_fd, GError **error)
{
    g_autoptr(GVariant) path_value = NULL;
    guint32 kind, limit;
    guint64 point;
    gint64 time_usec;
    gboolean points;

    *ret_fd = -1;
    g_variant_get(question, "(u@aytxub)", &kind, &path_value, &point, &time_usec, &limit, &points);
    const char *path = path_from_variant(path_value);
    switch ((InquiryKind) kind) {
    case INQUIRY_LIST:
        return answer_list(r, error);
    case INQUIRY_POINTS:
        return answer_points(r, path, limit, error);
    case INQUIRY_CONTENT:
        return answer_content(r, path, point, time_usec, ret_fd, error);
    case INQUIRY_VERIFY:
        return answer_verify(r, path, points, error);
    }
    throw_error(error, FILEDUP_ERROR_REFUSED, "a question of no known kind");
    return NULL;
}
