/* verb-store.c - store add, store list, store set, store remove */

#include "config.h"

#include "base/path.h"
#include "cli/client.h"
#include "cli/dict.h"
#include "cli/offline.h"
#include "cli/operand.h"
#include "cli/output.h"
#include "cli/time.h"
#include "cli/verb.h"

static const char *const store_times[] = {"seen", NULL};

/* A store has a name that people type: the folder's, as far as it can be one. */
static char *
name_from_folder(const char *folder)
{
    char *name = g_path_get_basename(folder);

    for (char *p = name; *p; p++)
        if (!g_ascii_isalnum(*p) && *p != '-' && *p != '_' && *p != '.')
            *p = '-';
    return name;
}

Status
verb_store_add(const Options *options)
{
    g_autoptr(GError) error = NULL;
    g_autofree char *note = NULL;
    const char *operand = options_operands(options)[0];
    g_autofree char *folder = operand_real(operand, &error);
    g_autofree char *name = NULL;
    g_autoptr(Client) client = NULL;

    if (folder)
        name = options_has(options, OPTION_STORE_NAMED)
                   ? g_strdup(options_value(options, OPTION_STORE_NAMED))
                   : name_from_folder(folder);
    if (name && !g_utf8_validate(name, -1, NULL)) {
        g_set_error(&error, CLI_ERROR, CLI_ERROR_USAGE, "the store's name is no valid text");
        report_error(NULL, error, NULL);
        return STATUS_USAGE;
    }
    if (folder && !(client = client_open(options, &error))) {
        report_error(NULL, error, NULL);
        return report_status_of(error);
    }
    g_autoptr(Report) report = report_new(options);
    if (!client || !filedup_manager1_call_store_add_sync(client_manager(client), folder, name,
                                                         &note, NULL, &error)) {
        report_failed(report, folder ? folder : operand, error, NULL);
        return report_finish(report);
    }
    g_autofree char *shown = path_escape(folder);
    report_say(report, "Store '%s' is in %s%s%s\n", name, shown, *note ? "; " : "", note);
    g_auto(GVariantDict) dict = G_VARIANT_DICT_INIT(NULL);
    g_variant_dict_insert(&dict, "name", "s", name);
    g_variant_dict_insert(&dict, "note", "s", note);
    report_done(report, folder, g_variant_dict_end(&dict), NULL);
    return report_finish(report);
}

/* "1.2 GiB", "1.2 GiB of 5.0 GiB" where there is a limit. */
static char *
used_text(GVariant *store)
{
    guint64 limit = dict_u64(store, "max_size"), used = dict_u64(store, "used");
    g_autofree char *limit_text = output_size(limit);
    char *text = used ? output_size(used) : g_strdup("?");

    if (!limit)
        return text;
    g_autofree char *alone = text;
    return g_strdup_printf("%s of %s", alone, limit_text);
}

static void
print_stores(GVariant *stores)
{
    static const char *const headings[] = {"NAME", "STATE", ">ROWS",  ">FREE",
                                           ">OF",  ">USED", "FOLDER", NULL};
    g_autoptr(Table) table = table_new(headings);
    GVariantIter iter;
    GVariant *store;

    g_variant_iter_init(&iter, stores);
    while ((store = g_variant_iter_next_value(&iter))) {
        g_autoptr(GVariant) owned = store;
        guint64 size = dict_u64(store, "size");
        gint64 seen = dict_time(store, "seen");
        const char *note = dict_text(store, "note");
        gboolean is_default =
            dict_bool(store, "default") && !g_str_equal(dict_text(store, "name"), "default");
        g_autofree char *rows = g_strdup_printf("%u", dict_u32(store, "rows"));
        g_autofree char *free_text = size ? output_size(dict_u64(store, "free")) : g_strdup("?");
        g_autofree char *size_text = size ? output_size(size) : g_strdup("?");
        g_autofree char *used = used_text(store);
        g_autofree char *path = path_escape(dict_path(store, "path"));
        g_autofree char *name =
            g_strconcat(dict_text(store, "name"), is_default ? " (default)" : "", NULL);
        const char *cells[] = {name, dict_text(store, "state"), rows, free_text, size_text, used,
                               path};
        table_add(table, cells);
        if (*note)
            table_note(table, note);
        if (seen && g_str_equal(dict_text(store, "state"), "absent")) {
            g_autofree char *when = time_full(seen);
            g_autofree char *last = g_strconcat("last seen ", when, NULL);
            table_note(table, last);
        }
    }
    g_autofree char *text = table_text(table);
    output_print("%s", *text ? text : "No stores. 'filedup store add DIR' makes one.\n");
}

Status
verb_store_list(const Options *options)
{
    if (options_has(options, OPTION_STORE))
        return offline_store(options);

    g_autoptr(GError) error = NULL;
    g_autoptr(GVariant) stores = NULL;
    g_autoptr(Client) client = client_open(options, &error);
    if (!client ||
        !filedup_manager1_call_store_list_sync(client_manager(client), &stores, NULL, &error)) {
        report_error(NULL, error, NULL);
        return report_status_of(error);
    }
    if (!options_has(options, OPTION_JSON)) {
        print_stores(stores);
        return STATUS_OK;
    }
    g_autoptr(JsonBuilder) b = json_builder_new();
    GVariantIter iter;
    GVariant *store;
    json_builder_begin_array(b);
    g_variant_iter_init(&iter, stores);
    while ((store = g_variant_iter_next_value(&iter))) {
        g_autoptr(GVariant) owned = store;
        json_builder_begin_object(b);
        output_json_dict(b, store, store_times);
        json_builder_end_object(b);
    }
    json_builder_end_array(b);
    output_json(b);
    return STATUS_OK;
}

Status
verb_store_set(const Options *options)
{
    g_autoptr(GError) error = NULL;
    g_autoptr(Client) client = NULL;
    const char *name = options_operands(options)[0];
    guint64 limit = options_number(options, OPTION_MAX_SIZE, 0);
    g_auto(GVariantDict) dict = G_VARIANT_DICT_INIT(NULL);

    if (!g_utf8_validate(name, -1, NULL))
        g_set_error(&error, CLI_ERROR, CLI_ERROR_USAGE, "the store's name is no valid text");
    else
        client = client_open(options, &error);
    g_variant_dict_insert(&dict, "max_size", "t", limit);
    if (!client || !filedup_manager1_call_store_set_sync(client_manager(client), name,
                                                         g_variant_dict_end(&dict), NULL, &error)) {
        report_error(NULL, error, client ? "'filedup store list' shows the stores" : NULL);
        return report_status_of(error);
    }
    g_autoptr(Report) report = report_new(options);
    g_autofree char *size = output_size(limit);
    if (limit)
        report_say(report, "Store '%s' takes %s at most.\n", name, size);
    else
        report_say(report, "Store '%s' takes what its disk has.\n", name);
    report_done(report, name, NULL, NULL);
    return report_finish(report);
}

Status
verb_store_remove(const Options *options)
{
    g_autoptr(GError) error = NULL;
    const char *name = options_operands(options)[0];
    g_autoptr(Client) client = NULL;

    if (!g_utf8_validate(name, -1, NULL)) {
        g_set_error(&error, CLI_ERROR, CLI_ERROR_USAGE, "the store's name is no valid text");
        report_error(NULL, error, NULL);
        return STATUS_USAGE;
    }
    if (!(client = client_open(options, &error))) {
        report_error(NULL, error, NULL);
        return report_status_of(error);
    }
    if (!filedup_manager1_call_store_remove_sync(client_manager(client), name, NULL, &error)) {
        report_error(NULL, error, "'filedup store list' shows the stores");
        return report_status_of(error);
    }
    g_autoptr(Report) report = report_new(options);
    report_say(report, "Store '%s' is not used any more; its content stays where it is.\n", name);
    report_done(report, name, NULL, NULL);
    return report_finish(report);
}
