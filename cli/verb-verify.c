/* verb-verify.c - verify: what is in the stores, against its sums
 *
 * Two questions that are easily taken for one. "Is it still what was written?" is answered by reading
 * it where it lies. "Could it be restored?" (--drill) by restoring it to a place that is thrown away,
 * and comparing what arrived.
 */

#include "config.h"

#include <fcntl.h>
#include <string.h>
#include <unistd.h>

#include "base/error.h"
#include "base/path.h"
#include "base/sums.h"
#include "cli/backups.h"
#include "cli/dict.h"
#include "cli/extract.h"
#include "cli/offline.h"
#include "cli/output.h"
#include "cli/verb.h"

#define COPY_BYTES ((gsize) 256 * 1024)

/* One result is an a{sv} as of Manager1.Verify. */

static gsize
count(GVariant *result, const char *key, const char *type)
{
    g_autoptr(GVariant) list = g_variant_lookup_value(result, key, G_VARIANT_TYPE(type));

    return list ? g_variant_n_children(list) : 0;
}

static gboolean
drill_failed(GVariant *result)
{
    const char *drill = dict_text(result, "drill");

    return *drill && !g_str_equal(drill, "ok");
}

static gboolean
is_damaged(GVariant *result)
{
    return count(result, "bad", "a(tt)") || count(result, "bad_points", "at") ||
           drill_failed(result);
}

static gboolean
is_well(GVariant *result)
{
    return !is_damaged(result) && !*dict_text(result, "error");
}

/* For people ---------------------------------------------------------------------------------- */

static void
note_damage(Table *table, GVariant *result)
{
    g_autoptr(GVariant) bad = g_variant_lookup_value(result, "bad", G_VARIANT_TYPE("a(tt)"));
    g_autoptr(GVariant) points = g_variant_lookup_value(result, "bad_points", G_VARIANT_TYPE("at"));

    for (gsize i = 0; bad && i < g_variant_n_children(bad); i++) {
        guint64 offset, length;
        g_variant_get_child(bad, i, "(tt)", &offset, &length);
        g_autofree char *note = g_strdup_printf(
            "damaged: %" G_GUINT64_FORMAT " bytes at %" G_GUINT64_FORMAT, length, offset);
        table_note(table, note);
    }
    for (gsize i = 0; points && i < g_variant_n_children(points); i++) {
        guint64 point;
        g_variant_get_child(points, i, "t", &point);
        g_autofree char *note = g_strdup_printf("damaged: point %" G_GUINT64_FORMAT, point);
        table_note(table, note);
    }
    if (drill_failed(result)) {
        g_autofree char *note = g_strconcat("drill: ", dict_text(result, "drill"), NULL);
        table_note(table, note);
    }
    if (*dict_text(result, "error"))
        table_note(table, dict_text(result, "error"));
}

static void
print_table(GPtrArray *results, gboolean quiet)
{
    static const char *const headings[] = {"RESULT", ">READ", ">POINTS", "DRILL",
                                           "STORE",  "FILE",  NULL};
    g_autoptr(Table) table = table_new(headings);

    for (guint i = 0; i < results->len; i++) {
        GVariant *result = results->pdata[i];
        g_autofree char *read = output_size(dict_u64(result, "bytes"));
        g_autofree char *points = g_strdup_printf("%u", dict_u32(result, "points"));
        g_autofree char *path = path_escape(dict_path(result, "path"));
        const char *drill = dict_text(result, "drill");
        const char *cells[] = {
            is_damaged(result) ? "DAMAGED"
            : is_well(result)  ? "ok"
                               : "unknown",
            read,
            points,
            !*drill                ? "-"
            : drill_failed(result) ? "failed"
                                   : "ok",
            dict_text(result, "store"),
            path,
        };
        if (quiet && is_well(result))
            continue;
        table_add(table, cells);
        note_damage(table, result);
    }
    g_autofree char *text = table_text(table);
    output_print("%s", *text || quiet ? text : "Nothing to verify.\n");
}

/* For programs -------------------------------------------------------------------------------- */

static void
add_numbers(JsonBuilder *b, GVariant *result)
{
    g_autoptr(GVariant) bad = g_variant_lookup_value(result, "bad", G_VARIANT_TYPE("a(tt)"));
    g_autoptr(GVariant) points = g_variant_lookup_value(result, "bad_points", G_VARIANT_TYPE("at"));

    json_builder_set_member_name(b, "bad");
    json_builder_begin_array(b);
    for (gsize i = 0; bad && i < g_variant_n_children(bad); i++) {
        guint64 offset, length;
        g_variant_get_child(bad, i, "(tt)", &offset, &length);
        json_builder_begin_object(b);
        json_builder_set_member_name(b, "offset");
        json_builder_add_int_value(b, (gint64) offset);
        json_builder_set_member_name(b, "length");
        json_builder_add_int_value(b, (gint64) length);
        json_builder_end_object(b);
    }
    json_builder_end_array(b);
    json_builder_set_member_name(b, "bad_points");
    json_builder_begin_array(b);
    for (gsize i = 0; points && i < g_variant_n_children(points); i++) {
        guint64 point;
        g_variant_get_child(points, i, "t", &point);
        json_builder_add_int_value(b, (gint64) point);
    }
    json_builder_end_array(b);
}

static void
print_json(GPtrArray *results)
{
    g_autoptr(JsonBuilder) b = json_builder_new();

    json_builder_begin_array(b);
    for (guint i = 0; i < results->len; i++) {
        g_auto(GVariantDict) dict = G_VARIANT_DICT_INIT(results->pdata[i]);
        g_variant_dict_remove(&dict, "bad");
        g_variant_dict_remove(&dict, "bad_points");
        g_variant_dict_insert(&dict, "ok", "b", is_well(results->pdata[i]));
        g_autoptr(GVariant) rest = g_variant_ref_sink(g_variant_dict_end(&dict));
        json_builder_begin_object(b);
        output_json_dict(b, rest, NULL);
        add_numbers(b, results->pdata[i]);
        json_builder_end_object(b);
    }
    json_builder_end_array(b);
    output_json(b);
}

/* Without a daemon ---------------------------------------------------------------------------- */

/* Through the same reading as a restore, to a file without a name, and back from its disk. */
static gboolean
drill(Parser *parser, const char *path, GError **error)
{
    g_auto(StoredContent) content = {.fd = -1};
    g_autofree char *buffer = g_malloc(COPY_BYTES);
    g_auto(Fd) scratch = extract_scratch(error);

    if (scratch < 0 || !parser_content(parser, path, 0, 0, &content, error))
        return FALSE;
    for (guint64 offset = 0; offset < content.size_bytes;) {
        gssize n = fd_pread_most(content.fd, buffer, MIN(COPY_BYTES, content.size_bytes - offset),
                                 (goffset) offset);
        if (n == 0)
            return throw_error(error, FILEDUP_ERROR_DAMAGED,
                               "the content ends at %" G_GUINT64_FORMAT, offset);
        if (n < 0 || !fd_pwrite_full(scratch, buffer, (gsize) n, (goffset) offset))
            return throw_errno(error, "copying at %" G_GUINT64_FORMAT, offset);
        offset += (guint64) n;
    }
    if (fdatasync(scratch) < 0)
        return throw_errno(error, "writing a temporary file");
    (void) posix_fadvise(scratch, 0, 0, POSIX_FADV_DONTNEED); /* a hint */
    return sums_check(scratch, content.sums, content.size_bytes, error);
}

static GVariant *
verify_in_store(Parser *parser, const char *path, gboolean points, gboolean drills, GError **error)
{
    g_autoptr(GVariant) result = parser_verify(parser, path, points, error);
    g_autoptr(GError) failed = NULL;

    if (!result || !drills)
        return g_steal_pointer(&result);
    g_auto(GVariantDict) dict = G_VARIANT_DICT_INIT(result);
    if (drill(parser, path, &failed))
        g_variant_dict_insert(&dict, "drill", "s", "ok");
    else
        g_variant_dict_insert(&dict, "drill", "s", failed->message);
    return g_variant_ref_sink(g_variant_dict_end(&dict));
}

/* All files of it. */
static gboolean
verify_store(Parser *parser, gboolean points, gboolean drills, GPtrArray *results, GError **error)
{
    g_autoptr(GVariant) files = parser_list(parser, error);

    for (gsize i = 0; files && i < g_variant_n_children(files); i++) {
        g_autoptr(GVariant) file = g_variant_get_child_value(files, i);
        g_autoptr(GError) failed = NULL;
        const char *path = dict_path(file, "path");
        GVariant *result = verify_in_store(parser, path, points, drills, &failed);
        if (!result) {
            g_auto(GVariantDict) dict = G_VARIANT_DICT_INIT(NULL);
            g_variant_dict_insert_value(&dict, "path", path_to_variant(path));
            g_variant_dict_insert(&dict, "error", "s", failed->message);
            result = g_variant_ref_sink(g_variant_dict_end(&dict));
        }
        g_ptr_array_add(results, result);
    }
    return files != NULL;
}

/* With one ------------------------------------------------------------------------------------ */

static gboolean
verify_by_daemon(FiledupManager1 *manager, const Options *options, const char *path,
                 GPtrArray *results, GError **error)
{
    g_auto(GVariantDict) dict = G_VARIANT_DICT_INIT(NULL);
    g_autoptr(GVariant) answer = NULL;

    g_variant_dict_insert(&dict, "points", "b", options_has(options, OPTION_POINTS));
    g_variant_dict_insert(&dict, "drill", "b", options_has(options, OPTION_DRILL));
    if (options_has(options, OPTION_STORE_NAME))
        g_variant_dict_insert(&dict, "store", "s", options_value(options, OPTION_STORE_NAME));
    if (!filedup_manager1_call_verify_sync(manager, path, g_variant_dict_end(&dict), &answer, NULL,
                                           error))
        return FALSE;
    for (gsize i = 0; i < g_variant_n_children(answer); i++)
        g_ptr_array_add(results, g_variant_get_child_value(answer, i));
    return TRUE;
}

static gboolean
verify_one(Backups *backups, const Options *options, const char *operand, GPtrArray *results,
           char **ret_path, GError **error)
{
    Parser *parser = backups_parser(backups);

    if (!backups_find(backups, operand, ret_path, NULL, error))
        return FALSE;
    if (!parser)
        return verify_by_daemon(backups_manager(backups), options, *ret_path, results, error);
    GVariant *result = verify_in_store(parser, *ret_path, options_has(options, OPTION_POINTS),
                                       options_has(options, OPTION_DRILL), error);
    if (result)
        g_ptr_array_add(results, result);
    return result != NULL;
}

static gboolean
verify_all(Backups *backups, const Options *options, GPtrArray *results, GError **error)
{
    Parser *parser = backups_parser(backups);

    return parser ? verify_store(parser, options_has(options, OPTION_POINTS),
                                 options_has(options, OPTION_DRILL), results, error)
                  : verify_by_daemon(backups_manager(backups), options, "", results, error);
}

/* Damage outdoes everything: it is what was asked about. */
static Status
status_of(GPtrArray *results, Status failure, guint n_failed)
{
    for (guint i = 0; i < results->len; i++)
        if (is_damaged(results->pdata[i]))
            return STATUS_PARTLY;
    for (guint i = 0; i < results->len; i++)
        if (!is_well(results->pdata[i]))
            return STATUS_ERROR;
    return n_failed && results->len ? STATUS_PARTLY : failure;
}

Status
verb_verify(const Options *options)
{
    g_autoptr(GPtrArray) results = g_ptr_array_new_with_free_func((GDestroyNotify) g_variant_unref);
    g_autoptr(GError) all_failed = NULL;
    const char *const *operands = options_operands(options);
    Status status = STATUS_OK, failure = STATUS_OK;
    guint n_failed = 0;

    g_autoptr(Backups) backups = backups_open(options, &status);
    if (!backups)
        return status;
    if (!*operands && !verify_all(backups, options, results, &all_failed)) {
        report_error(options_value(options, OPTION_STORE), all_failed, NULL);
        return report_status_of(all_failed);
    }
    for (; *operands; operands++) {
        g_autoptr(GError) error = NULL;
        g_autofree char *path = NULL;
        if (verify_one(backups, options, *operands, results, &path, &error))
            continue;
        report_error(path ? path : *operands, error, NULL);
        status = report_status_of(error);
        failure = n_failed++ == 0 || failure == status ? status : STATUS_ERROR;
    }
    if (options_has(options, OPTION_JSON))
        print_json(results);
    else if (results->len || !n_failed)
        print_table(results, options_has(options, OPTION_QUIET));
    return status_of(results, failure, n_failed);
}
