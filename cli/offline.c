/* offline.c - what a store says without a daemon: its files, their points, itself */

#include "config.h"

#include "base/error.h"
#include "base/path.h"
#include "cli/offline.h"
#include "cli/operand.h"
#include "cli/output.h"
#include "cli/points.h"
#include "cli/time.h"

const char *
offline_quality(Quality quality)
{
    switch (quality) {
    case QUALITY_NONE:
        return "none";
    case QUALITY_FUZZY:
        return "fuzzy";
    case QUALITY_STABLE:
        return "stable";
    case QUALITY_EXACT:
        return "exact";
    }
    return "unknown";
}

const char *
offline_cause(PointCause cause)
{
    switch (cause) {
    case CAUSE_FIRST:
        return "first";
    case CAUSE_CLOSE:
        return "close";
    case CAUSE_BEFORE_RESTORE:
        return "before-restore";
    case CAUSE_DELETED:
        return "deleted";
    }
    return "unknown";
}

const char *
offline_state(StoredState state)
{
    switch (state) {
    case STORED_NOTHING:
        return "nothing";
    case STORED_CURRENT:
        return "kept";
    case STORED_DELETED:
        return "deleted";
    }
    return "unknown";
}

StoreReader *
offline_open(const Options *options, Status *ret_status)
{
    g_autoptr(GError) error = NULL;
    const char *folder = options_value(options, OPTION_STORE);
    StoreReader *reader = store_reader_open(folder, &error);

    if (!reader) {
        gboolean busy = g_error_matches(error, FILEDUP_ERROR, FILEDUP_ERROR_BUSY);
        report_error(folder, error,
                     busy ? "Ask its daemon: the same command without --store" : NULL);
        *ret_status = report_status_of(error);
    }
    return reader;
}

/* The files as the daemon would tell them, as far as a store knows: a{sv}. */
static GVariant *
file_dict(const StoredFile *f)
{
    g_auto(GVariantDict) dict = G_VARIANT_DICT_INIT(NULL);
    g_autofree char *mirror = path_escape(f->mirror ? f->mirror : "");

    g_variant_dict_insert_value(&dict, "path", path_to_variant(f->path));
    g_variant_dict_insert(&dict, "state", "s", offline_state(f->state));
    g_variant_dict_insert(&dict, "principal", "u", (guint32) f->principal);
    g_variant_dict_insert(&dict, "time", "x", f->time_usec);
    g_variant_dict_insert(&dict, "quality", "s", offline_quality(f->quality));
    g_variant_dict_insert(&dict, "size", "t", f->stat.size_bytes);
    g_variant_dict_insert(&dict, "sequence", "t", f->sequence);
    g_variant_dict_insert(&dict, "backup_file", "s", mirror);
    return g_variant_ref_sink(g_variant_dict_end(&dict));
}

static void
print_files(GPtrArray *files)
{
    static const char *const headings[] = {"STATE", "QUALITY", ">SIZE", "OF", "FILE", NULL};
    g_autoptr(Table) table = table_new(headings);

    for (guint i = 0; i < files->len; i++) {
        const StoredFile *f = files->pdata[i];
        g_autofree char *size = output_size(f->stat.size_bytes);
        g_autofree char *when = time_local(f->time_usec);
        g_autofree char *path = path_escape(f->path);
        const char *cells[] = {offline_state(f->state), offline_quality(f->quality), size, when,
                               path};
        table_add(table, cells);
    }
    g_autofree char *text = table_text(table);
    output_print("%s", *text ? text : "The store is empty.\n");
}

static void
print_files_json(GPtrArray *files)
{
    static const char *const times[] = {"time", NULL};
    g_autoptr(JsonBuilder) b = json_builder_new();

    json_builder_begin_object(b);
    json_builder_set_member_name(b, "daemon");
    json_builder_add_null_value(b);
    json_builder_set_member_name(b, "entries");
    json_builder_begin_array(b);
    for (guint i = 0; i < files->len; i++) {
        g_autoptr(GVariant) dict = file_dict(files->pdata[i]);
        json_builder_begin_object(b);
        output_json_dict(b, dict, times);
        json_builder_end_object(b);
    }
    json_builder_end_array(b);
    json_builder_end_object(b);
    output_json(b);
}

static StoredFile *
find_file(GPtrArray *files, const char *operand)
{
    g_auto(GStrv) candidates = operand_candidates(operand, NULL);

    for (char **path = candidates; path && *path; path++)
        for (guint i = 0; i < files->len; i++) {
            StoredFile *f = files->pdata[i];
            if (g_str_equal(f->path, *path))
                return f;
        }
    return NULL;
}

Status
offline_status(const Options *options)
{
    g_autoptr(GError) error = NULL;
    const char *const *operands = options_operands(options);
    Status status = STATUS_OK;
    guint n_missing = 0;

    g_autoptr(StoreReader) reader = offline_open(options, &status);
    if (!reader)
        return status;
    g_autoptr(GPtrArray) files = store_reader_list(reader, &error);
    if (!files) {
        report_error(options_value(options, OPTION_STORE), error, NULL);
        return report_status_of(error);
    }
    g_autoptr(GPtrArray) named = g_ptr_array_new();
    for (; *operands; operands++) {
        StoredFile *f = find_file(files, *operands);
        if (f) {
            g_ptr_array_add(named, f);
            continue;
        }
        g_autoptr(GError) missing = NULL;
        (void) throw_error(&missing, FILEDUP_ERROR_NO_ENTRY, "the store has nothing of it");
        report_error(*operands, missing, NULL);
        n_missing++;
    }
    GPtrArray *shown = *options_operands(options) ? named : files;
    if (options_has(options, OPTION_JSON))
        print_files_json(shown);
    else if (shown->len || !n_missing)
        print_files(shown);
    if (!n_missing)
        return STATUS_OK;
    return named->len ? STATUS_PARTLY : STATUS_NO_ENTRY;
}

Status
offline_store(const Options *options)
{
    g_autoptr(GError) error = NULL;
    const char *folder = options_value(options, OPTION_STORE);
    Status status = STATUS_OK;

    g_autoptr(StoreReader) reader = offline_open(options, &status);
    if (!reader)
        return status;
    g_autoptr(GPtrArray) files = store_reader_list(reader, &error);
    if (!files) {
        report_error(folder, error, NULL);
        return report_status_of(error);
    }
    if (!options_has(options, OPTION_JSON)) {
        g_autofree char *shown = path_escape(folder);
        output_print("%s: store %s, %u files. 'filedup --store DIR status' lists them.\n", shown,
                     store_reader_uuid(reader), files->len);
        return STATUS_OK;
    }
    g_autoptr(JsonBuilder) b = json_builder_new();
    json_builder_begin_array(b);
    json_builder_begin_object(b);
    output_json_path(b, "path", folder);
    json_builder_set_member_name(b, "uuid");
    json_builder_add_string_value(b, store_reader_uuid(reader));
    json_builder_set_member_name(b, "files");
    json_builder_add_int_value(b, files->len);
    json_builder_end_object(b);
    json_builder_end_array(b);
    output_json(b);
    return STATUS_OK;
}

Status
offline_log(const Options *options)
{
    g_autoptr(GError) error = NULL;
    const char *operand = options_operands(options)[0];
    Status status = STATUS_OK;

    g_autoptr(StoreReader) reader = offline_open(options, &status);
    if (!reader)
        return status;
    g_auto(GStrv) candidates = operand_candidates(operand, &error);
    for (char **path = candidates; path && *path; path++) {
        g_clear_error(&error);
        g_autoptr(GArray) points = store_reader_points(reader, *path, &error);
        if (points && points->len) {
            g_autoptr(Points) list = points_new();
            for (guint i = 0; i < points->len; i++) {
                const StoredPoint *p = &g_array_index(points, StoredPoint, i);
                points_add(list, p->id, p->sequence, p->time_usec, offline_cause(p->cause),
                           offline_quality(p->quality), p->size_bytes);
            }
            points_print(list, *path, options_has(options, OPTION_JSON));
            return STATUS_OK;
        }
        if (error && !g_error_matches(error, FILEDUP_ERROR, FILEDUP_ERROR_NO_ENTRY))
            break;
    }
    if (!error)
        (void) throw_error(&error, FILEDUP_ERROR_NO_ENTRY, "the store has nothing of it");
    report_error(operand, error, NULL);
    return report_status_of(error);
}
