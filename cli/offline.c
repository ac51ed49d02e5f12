/* offline.c - what a store says without a daemon: its files, and itself */

#include "config.h"

#include "base/error.h"
#include "base/path.h"
#include "cli/dict.h"
#include "cli/offline.h"
#include "cli/operand.h"
#include "cli/output.h"
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
    case CAUSE_QUIET:
        return "quiet";
    case CAUSE_NAMED:
        return "named";
    case CAUSE_COUNT:
        break;
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

/* The words of the bits that are set, with a space between. */
static char *
words_of(guint32 bits, const char *const *words, guint n)
{
    GString *text = g_string_new(NULL);

    for (guint i = 0; i < n; i++)
        if (bits & (1u << i))
            g_string_append_printf(text, "%s%s", text->len ? " " : "", words[i]);
    return g_string_free(text, FALSE);
}

char *
offline_kept(guint32 kept)
{
    static const char *const words[] = {"stable", "named", "suspicion", "boot"}; /* Kept's order */

    return words_of(kept, words, G_N_ELEMENTS(words));
}

char *
offline_suspicion(guint32 suspicion)
{
    static const char *const words[] = {"emptied", "encrypted"}; /* Suspicion's order */

    return words_of(suspicion, words, G_N_ELEMENTS(words));
}

Parser *
offline_open(const char *folder, Status *ret_status)
{
    g_autoptr(GError) error = NULL;
    Parser *p = parser_open(folder, &error);

    if (!p) {
        gboolean busy = g_error_matches(error, FILEDUP_ERROR, FILEDUP_ERROR_BUSY);
        report_error(NULL, error, busy ? "Ask its daemon: the same command without --store" : NULL);
        *ret_status = report_status_of(error);
    }
    return p;
}

static void
print_files(GPtrArray *files)
{
    static const char *const headings[] = {"STATE", "QUALITY", ">SIZE", "OF", "FILE", NULL};
    g_autoptr(Table) table = table_new(headings);

    for (guint i = 0; i < files->len; i++) {
        GVariant *f = files->pdata[i];
        g_autofree char *size = output_size(dict_u64(f, "size"));
        g_autofree char *when = time_local(dict_time(f, "time"));
        g_autofree char *path = path_escape(dict_path(f, "path"));
        const char *cells[] = {dict_text(f, "state"), dict_text(f, "quality"), size, when, path};
        table_add(table, cells);
        if (*dict_text(f, "suspicion")) {
            g_autofree char *note = g_strdup_printf(
                "suspicious (%s): point %" G_GUINT64_FORMAT " is the last before it",
                dict_text(f, "suspicion"), dict_u64(f, "good_point"));
            table_note(table, note);
        }
    }
    g_autofree char *text = table_text(table);
    output_print("%s", *text ? text : "The store is empty.\n");
}

static void
print_files_json(GPtrArray *files)
{
    static const char *const times[] = {"time", "suspicious_since", NULL};
    g_autoptr(JsonBuilder) b = json_builder_new();

    json_builder_begin_object(b);
    json_builder_set_member_name(b, "daemon");
    json_builder_add_null_value(b);
    json_builder_set_member_name(b, "entries");
    json_builder_begin_array(b);
    for (guint i = 0; i < files->len; i++) {
        json_builder_begin_object(b);
        output_json_dict(b, files->pdata[i], times);
        json_builder_end_object(b);
    }
    json_builder_end_array(b);
    json_builder_end_object(b);
    output_json(b);
}

static GVariant *
find_file(GPtrArray *files, const char *operand)
{
    g_auto(GStrv) candidates = operand_candidates(operand, NULL);

    for (char **path = candidates; path && *path; path++)
        for (guint i = 0; i < files->len; i++)
            if (g_str_equal(dict_path(files->pdata[i], "path"), *path))
                return files->pdata[i];
    return NULL;
}

/* Of a{sv}; NULL: it has said why. */
static GPtrArray *
list_files(Parser *p, const Options *options, Status *ret_status)
{
    g_autoptr(GError) error = NULL;
    g_autoptr(GVariant) list = parser_list(p, &error);
    GPtrArray *files = g_ptr_array_new_with_free_func((GDestroyNotify) g_variant_unref);

    for (gsize i = 0; list && i < g_variant_n_children(list); i++)
        g_ptr_array_add(files, g_variant_get_child_value(list, i));
    if (list)
        return files;
    report_error(options_value(options, OPTION_STORE), error, NULL);
    *ret_status = report_status_of(error);
    g_ptr_array_unref(files);
    return NULL;
}

Status
offline_status(const Options *options)
{
    const char *const *operands = options_operands(options);
    Status status = STATUS_OK;
    guint n_missing = 0;

    g_autoptr(Parser) parser = offline_open(options_value(options, OPTION_STORE), &status);
    g_autoptr(GPtrArray) files = parser ? list_files(parser, options, &status) : NULL;
    if (!files)
        return status;
    g_autoptr(GPtrArray) named = g_ptr_array_new();
    for (; *operands; operands++) {
        GVariant *f = find_file(files, *operands);
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
    const char *folder = options_value(options, OPTION_STORE);
    Status status = STATUS_OK;

    g_autoptr(Parser) parser = offline_open(options_value(options, OPTION_STORE), &status);
    g_autoptr(GPtrArray) files = parser ? list_files(parser, options, &status) : NULL;
    if (!files)
        return status;
    if (!options_has(options, OPTION_JSON)) {
        g_autofree char *shown = path_escape(folder);
        output_print("%s: store %s, %u files. 'filedup --store DIR status' lists them.\n", shown,
                     parser_uuid(parser), files->len);
        return STATUS_OK;
    }
    g_autoptr(JsonBuilder) b = json_builder_new();
    json_builder_begin_array(b);
    json_builder_begin_object(b);
    output_json_path(b, "path", folder);
    json_builder_set_member_name(b, "uuid");
    json_builder_add_string_value(b, parser_uuid(parser));
    json_builder_set_member_name(b, "files");
    json_builder_add_int_value(b, files->len);
    json_builder_end_object(b);
    json_builder_end_array(b);
    output_json(b);
    return STATUS_OK;
}
