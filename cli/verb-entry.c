/* verb-entry.c - add, set, suspend, resume, remove, approve: what is asked of rows */

#include "config.h"

#include "base/path.h"
#include "cli/client.h"
#include "cli/operand.h"
#include "cli/verb.h"

/* The options as Add and Set take them. */
static GVariant *
row_options(const Options *options)
{
    g_auto(GVariantDict) dict = G_VARIANT_DICT_INIT(NULL);
    const char *const *stores = options_values(options, OPTION_TO_STORE);

    if (options_has(options, OPTION_BACKUP))
        g_variant_dict_insert(&dict, "backup", "s", options_value(options, OPTION_BACKUP));
    if (options_has(options, OPTION_RECOVER))
        g_variant_dict_insert(&dict, "recover", "s", options_value(options, OPTION_RECOVER));
    if (stores)
        g_variant_dict_insert_value(&dict, "to", g_variant_new_strv(stores, -1));
    if (options_has(options, OPTION_RETRIES))
        g_variant_dict_insert(&dict, "retries", "u",
                              (guint32) options_number(options, OPTION_RETRIES, 0));
    if (options_has(options, OPTION_TIMEOUT))
        g_variant_dict_insert(&dict, "timeout", "u",
                              (guint32) options_number(options, OPTION_TIMEOUT, 0));
    if (options_has(options, OPTION_KEEP))
        g_variant_dict_insert(&dict, "keep", "s", options_value(options, OPTION_KEEP));
    if (options_has(options, OPTION_KEEP_LAST))
        g_variant_dict_insert(&dict, "keep_last", "u",
                              (guint32) options_number(options, OPTION_KEEP_LAST, 0));
    if (options_has(options, OPTION_MAX_LAG))
        g_variant_dict_insert(&dict, "max_lag", "u",
                              (guint32) options_number(options, OPTION_MAX_LAG, 0));
    return g_variant_dict_end(&dict);
}

/* D-Bus strings are UTF-8; a store's name is one. */
static gboolean
check_text(const Options *options, GError **error)
{
    static const Option texts[] = {OPTION_TO_STORE, OPTION_KEEP};

    for (guint i = 0; i < G_N_ELEMENTS(texts); i++) {
        const char *const *values = options_values(options, texts[i]);
        for (; values && *values; values++)
            if (!g_utf8_validate(*values, -1, NULL)) {
                g_set_error(error, CLI_ERROR, CLI_ERROR_USAGE, "'%s' is no valid text", *values);
                return FALSE;
            }
    }
    return TRUE;
}

static gboolean
add_one(Client *client, const Options *options, const char *operand, Report *report)
{
    g_autoptr(GError) error = NULL;
    g_autofree char *canonical = NULL;
    g_autofree char *note = NULL;
    g_autofree char *path = operand_absolute(operand, &error);

    if (!path || !filedup_manager1_call_add_sync(client_manager(client), path, row_options(options),
                                                 &canonical, &note, NULL, &error)) {
        report_failed(report, path ? path : operand, error, NULL);
        return FALSE;
    }
    g_autofree char *shown = path_escape(canonical);
    if (*note)
        report_say(report, "%s: protected; %s\n", shown, note);
    else
        report_say(report, "%s: protected; first backup under way. 'filedup status' shows it.\n",
                   shown);
    g_auto(GVariantDict) dict = G_VARIANT_DICT_INIT(NULL);
    g_variant_dict_insert(&dict, "note", "s", note);
    report_done(report, canonical, g_variant_dict_end(&dict), NULL);
    return TRUE;
}

Status
verb_add(const Options *options)
{
    g_autoptr(GError) error = NULL;
    g_autoptr(Client) client = NULL;

    if (!check_text(options, &error) || !(client = client_open(options, &error))) {
        report_error(NULL, error, NULL);
        return report_status_of(error);
    }
    g_autoptr(Report) report = report_new(options);
    for (const char *const *operand = options_operands(options); *operand; operand++)
        (void) add_one(client, options, *operand, report);
    return report_finish(report);
}

/* The rest asks something of a row that is there. */

static gboolean
call_set(FiledupManager1 *m, const char *path, gpointer data, GError **error)
{
    return filedup_manager1_call_set_sync(m, path, row_options(data), NULL, error);
}

static gboolean
call_suspend(FiledupManager1 *m, const char *path, G_GNUC_UNUSED gpointer data, GError **error)
{
    return filedup_manager1_call_suspend_sync(m, path, NULL, error);
}

static gboolean
call_resume(FiledupManager1 *m, const char *path, G_GNUC_UNUSED gpointer data, GError **error)
{
    return filedup_manager1_call_resume_sync(m, path, NULL, error);
}

static gboolean
call_remove(FiledupManager1 *m, const char *path, G_GNUC_UNUSED gpointer data, GError **error)
{
    return filedup_manager1_call_remove_sync(m, path, NULL, error);
}

static gboolean
call_approve(FiledupManager1 *m, const char *path, G_GNUC_UNUSED gpointer data, GError **error)
{
    return filedup_manager1_call_approve_sync(m, path, NULL, error);
}

static Status
each(const Options *options, ClientCall call, const char *outcome)
{
    g_autoptr(GError) error = NULL;
    g_autoptr(Client) client = NULL;

    if (!check_text(options, &error) || !(client = client_open(options, &error))) {
        report_error(NULL, error, NULL);
        return report_status_of(error);
    }
    g_autoptr(Report) report = report_new(options);
    for (const char *const *operand = options_operands(options); *operand; operand++) {
        g_autoptr(GError) failed = NULL;
        g_autofree char *path = NULL;
        if (!client_call(client, *operand, call, (gpointer) options, &path, &failed)) {
            report_failed(report, path ? path : *operand, failed, NULL);
            continue;
        }
        g_autofree char *shown = path_escape(path);
        report_say(report, "%s: %s\n", shown, outcome);
        report_done(report, path, NULL, NULL);
    }
    return report_finish(report);
}

Status
verb_set(const Options *options)
{
    return each(options, call_set, "changed");
}

Status
verb_suspend(const Options *options)
{
    return each(options, call_suspend, "suspended; 'filedup resume' goes on");
}

Status
verb_resume(const Options *options)
{
    return each(options, call_resume, "resumed; what changed meanwhile is backed up now");
}

Status
verb_remove(const Options *options)
{
    return each(options, call_remove, "not protected any more; its backup stays in the store");
}

Status
verb_approve(const Options *options)
{
    return each(options, call_approve, "approved; its points are thinned by its policy again");
}
