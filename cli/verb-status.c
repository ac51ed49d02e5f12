/* verb-status.c - status: what is protected, trouble first */

#include "config.h"

#include <string.h>

#include "base/error.h"
#include "base/path.h"
#include "base/principal.h"
#include "cli/client.h"
#include "cli/dict.h"
#include "cli/offline.h"
#include "cli/output.h"
#include "cli/time.h"
#include "cli/verb.h"

static const char *const row_times[] = {
    "started", "current_as_of", "dirty_since", "compared", "suspicious_since", "drilled", NULL};

/* Trouble first; a state that is not known here (a newer daemon's) is trouble, too. */
static const struct {
    const char *name;
    gboolean trouble;
} states[] = {
    {"failed", TRUE},   {"stuck", TRUE}, {"absent", TRUE},     {"stale", TRUE},
    {"deleted", FALSE}, {"new", FALSE},  {"suspended", FALSE}, {"current", FALSE},
};

static guint
state_rank(GVariant *row)
{
    const char *state = dict_text(row, "state");

    for (guint i = 0; i < G_N_ELEMENTS(states); i++)
        if (g_str_equal(states[i].name, state))
            return i + 1;
    return 0;
}

static gboolean
is_trouble(GVariant *row)
{
    guint rank = state_rank(row);

    return rank == 0 || states[rank - 1].trouble || *dict_text(row, "suspicion") ||
           g_str_equal(dict_text(row, "result"), "failed");
}

/* What is wrong with it, for --check; "" if nothing is. */
static const char *
wrong_with(GVariant *row)
{
    const char *check = dict_text(row, "check");

    if (*check)
        return g_str_equal(check, "ok") ? "" : check;
    return is_trouble(row) ? dict_text(row, "state") : ""; /* an older daemon's */
}

static gint
compare_rows(gconstpointer a, gconstpointer b)
{
    GVariant *left = *(GVariant *const *) a, *right = *(GVariant *const *) b;
    gboolean left_trouble = is_trouble(left), right_trouble = is_trouble(right);
    guint left_rank = state_rank(left), right_rank = state_rank(right);

    if (left_trouble != right_trouble)
        return left_trouble ? -1 : 1;
    if (left_rank != right_rank)
        return left_rank < right_rank ? -1 : 1;
    return strcmp(dict_path(left, "path"), dict_path(right, "path"));
}

/* For people ---------------------------------------------------------------------------------- */

static void G_GNUC_PRINTF(2, 3) detail(const char *name, const char *format, ...)
{
    va_list args;

    va_start(args, format);
    g_autofree char *text = g_strdup_vprintf(format, args);
    va_end(args);
    output_print("  %-16s %s\n", name, text);
}

static char *
moment(gint64 usec, const char *otherwise)
{
    return usec ? time_full(usec) : g_strdup(otherwise);
}

static void
print_job(GVariant *row)
{
    const char *job = dict_text(row, "job"), *result = dict_text(row, "result");
    g_autofree char *started = moment(dict_time(row, "started"), "not yet");
    guint32 copier = dict_u32(row, "copier");

    if (*job)
        detail("last job", "%s, started %s", job, started);
    else
        detail("last job", "none yet");
    detail("result", "%s%s%s", *result ? result : "none yet", *dict_text(row, "error") ? ": " : "",
           dict_text(row, "error"));
    if (copier)
        detail("copier", "process %u", copier);
    else
        detail("copier", "none at work");
}

static void
print_stores(GVariant *row)
{
    g_autoptr(GVariant) stores = g_variant_lookup_value(row, "stores", G_VARIANT_TYPE("a(sssx)"));
    GVariantIter iter;
    const char *name, *state, *path;
    gint64 durable;

    if (!stores)
        return;
    g_variant_iter_init(&iter, stores);
    while (g_variant_iter_next(&iter, "(&s&s&sx)", &name, &state, &path, &durable)) {
        g_autofree char *when = moment(durable, "no backup yet");
        g_autofree char *shown = path_escape(*path ? path : "none yet");
        detail("backup file", "%s", shown);
        detail("in store", "%s (%s), last durable: %s", name, state, when);
    }
}

/* How that it is current is known, and whether it could be restored. */
static void
print_proof(GVariant *row)
{
    gint64 compared = dict_time(row, "compared"), drilled = dict_time(row, "drilled");
    g_autofree char *compared_text = moment(compared, "");
    g_autofree char *drilled_text = moment(drilled, "");

    if (*dict_text(row, "known"))
        detail("known by", "%s", dict_text(row, "known"));
    if (*dict_text(row, "exactness"))
        detail("exactness", "%s", dict_text(row, "exactness"));
    if (compared)
        detail("compared", "%s", compared_text);
    if (drilled)
        detail("restore drill", "%s, %s", dict_text(row, "drill"), drilled_text);
}

static void
print_suspicion(GVariant *row)
{
    g_autofree char *since = moment(dict_time(row, "suspicious_since"), "?");
    guint64 good = dict_u64(row, "good_point");

    if (!*dict_text(row, "suspicion"))
        return;
    detail("suspicious", "%s, since %s", dict_text(row, "suspicion"), since);
    if (good)
        detail("",
               "point %" G_GUINT64_FORMAT
               " is the last before it: 'filedup restore FILE@%" G_GUINT64_FORMAT
               "' brings it back, 'filedup approve FILE' says that the change "
               "was wanted",
               good, good);
    else
        detail("", "'filedup approve FILE' says that the change was wanted");
}

static void
print_details(GVariant *row)
{
    g_autofree char *path = path_escape(dict_path(row, "path"));
    g_autofree char *current = moment(dict_time(row, "current_as_of"), "never");
    g_autofree char *size = output_size(dict_u64(row, "size"));
    g_autofree char *source = path_escape(dict_text(row, "source"));
    g_autofree char *principal = principal_describe(dict_u32(row, "principal"));
    g_autofree char *last = dict_u32(row, "keep_last")
                                ? g_strdup_printf(", and the last %u", dict_u32(row, "keep_last"))
                                : g_strdup("");
    const char *quality = dict_text(row, "quality");

    output_print("%s\n", path);
    detail("state", "%s%s%s", dict_text(row, "state"), *dict_text(row, "state_note") ? ": " : "",
           dict_text(row, "state_note"));
    detail("current as of", "%s", current);
    print_proof(row);
    print_suspicion(row);
    detail("backup mode", "%s", dict_text(row, "backup"));
    detail("recovery mode", "%s", dict_text(row, "recover"));
    print_job(row);
    print_stores(row);
    detail("content", "%s%s%s", size, *quality ? ", " : "", quality);
    detail("watched", "%s%s%s", dict_text(row, "watched"),
           *dict_text(row, "watch_note") ? ": " : "", dict_text(row, "watch_note"));
    detail("retry limit", "%u (%u failed in a row)", dict_u32(row, "retries"),
           dict_u32(row, "failures"));
    detail("time limit", "%u s without progress", dict_u32(row, "timeout"));
    if (dict_u32(row, "max_lag"))
        detail("max lag", "%u s", dict_u32(row, "max_lag"));
    if (*dict_text(row, "keep"))
        detail("keep", "%s%s", dict_text(row, "keep"), last);
    detail("pending change", "%s", dict_text(row, "pending"));
    detail("request pending", "%s", dict_bool(row, "request") ? "yes" : "no");
    detail("queue", "%" G_GUINT64_FORMAT, dict_u64(row, "queue"));
    if (*dict_text(row, "writer"))
        detail("being written by", "%s", dict_text(row, "writer"));
    detail("registered by", "%s", principal);
    if (*source)
        detail("declared in", "%s", source);
}

static void
print_table(GPtrArray *rows)
{
    static const char *const headings[] = {"STATE",         "BACKUP", "RECOVER",
                                           "CURRENT AS OF", "FILE",   NULL};
    g_autoptr(Table) table = table_new(headings);
    gint64 now = g_get_real_time();
    guint trouble = 0;

    for (guint i = 0; i < rows->len; i++) {
        GVariant *row = rows->pdata[i];
        gint64 current = dict_time(row, "current_as_of");
        g_autofree char *path = path_escape(dict_path(row, "path"));
        g_autofree char *age = current ? time_phrase(current, now) : g_strdup("never");
        const char *note = dict_text(row, "state_note");
        const char *cells[] = {dict_text(row, "state"), dict_text(row, "backup"),
                               dict_text(row, "recover"), age, path};
        table_add(table, cells);
        if (!is_trouble(row))
            continue;
        trouble++;
        if (!*note)
            note = dict_text(row, "suspicion");
        if (!*note)
            note = dict_text(row, "error");
        if (*note)
            table_note(table, note);
    }
    g_autofree char *text = table_text(table);
    output_print("%s", text);
    if (trouble)
        output_print("%u of %u in trouble.\n", trouble, rows->len);
}

static void
print_for_people(GPtrArray *rows, GVariant *daemon, gboolean details)
{
    guint32 stuck = daemon ? dict_u32(daemon, "stuck") : 0;

    if (!rows->len)
        output_print("Nothing is protected yet. 'filedup add FILE --backup on-close --recover "
                     "manual' begins.\n");
    else if (!details)
        print_table(rows);
    for (guint i = 0; details && i < rows->len; i++) {
        if (i)
            output_print("\n");
        print_details(rows->pdata[i]);
    }
    if (stuck)
        output_print("%u copier process%s will not die: see 'filedup doctor'.\n", stuck,
                     stuck == 1 ? "" : "es");
}

static void
print_json(GPtrArray *rows, GVariant *daemon)
{
    g_autoptr(JsonBuilder) b = json_builder_new();

    json_builder_begin_object(b);
    json_builder_set_member_name(b, "daemon");
    json_builder_begin_object(b);
    if (daemon)
        output_json_dict(b, daemon, NULL);
    json_builder_end_object(b);
    json_builder_set_member_name(b, "entries");
    json_builder_begin_array(b);
    for (guint i = 0; i < rows->len; i++) {
        json_builder_begin_object(b);
        output_json_dict(b, rows->pdata[i], row_times);
        json_builder_end_object(b);
    }
    json_builder_end_array(b);
    json_builder_end_object(b);
    output_json(b);
}

/* For monitoring: nothing is said of what is well. */
static Status
check(GPtrArray *rows, const Options *options)
{
    g_autoptr(JsonBuilder) b = json_builder_new();
    guint n_wrong = 0;

    json_builder_begin_array(b);
    for (guint i = 0; i < rows->len; i++) {
        const char *wrong = wrong_with(rows->pdata[i]);
        g_autofree char *path = path_escape(dict_path(rows->pdata[i], "path"));
        if (!*wrong)
            continue;
        n_wrong++;
        json_builder_begin_object(b);
        output_json_dict(b, rows->pdata[i], row_times);
        json_builder_end_object(b);
        if (!options_has(options, OPTION_JSON) && !options_has(options, OPTION_QUIET))
            output_print("%s: %s\n", path, wrong);
    }
    json_builder_end_array(b);
    if (options_has(options, OPTION_JSON))
        output_json(b);
    return n_wrong ? STATUS_NOT_CURRENT : STATUS_OK;
}

/* Asking -------------------------------------------------------------------------------------- */

typedef struct Listing {
    GPtrArray *rows; /* of a{sv} */
    GVariant *daemon;
} Listing;

static gboolean
call_list(FiledupManager1 *m, const char *path, gpointer data, GError **error)
{
    Listing *listing = data;
    g_autoptr(GVariant) rows = NULL;
    g_autoptr(GVariant) daemon = NULL;

    if (!filedup_manager1_call_list_sync(m, path, &rows, &daemon, NULL, error))
        return FALSE;
    gsize n = g_variant_n_children(rows);
    if (*path && n == 0)
        return throw_error(error, FILEDUP_ERROR_NO_ENTRY, "is not protected");
    for (gsize i = 0; i < n; i++)
        g_ptr_array_add(listing->rows, g_variant_get_child_value(rows, i));
    g_clear_pointer(&listing->daemon, g_variant_unref);
    listing->daemon = g_steal_pointer(&daemon);
    return TRUE;
}

Status
verb_status(const Options *options)
{
    if (options_has(options, OPTION_STORE))
        return offline_status(options);

    g_autoptr(GError) error = NULL;
    const char *const *operands = options_operands(options);
    g_autoptr(GPtrArray) rows = g_ptr_array_new_with_free_func((GDestroyNotify) g_variant_unref);
    Listing listing = {.rows = rows};
    guint n_failed = 0;
    Status failure = STATUS_OK;

    g_autoptr(Client) client = client_open(options, &error);
    if (!client || (!*operands && !call_list(client_manager(client), "", &listing, &error))) {
        report_error(NULL, error, NULL);
        return report_status_of(error);
    }
    for (; *operands; operands++) {
        g_autoptr(GError) failed = NULL;
        g_autofree char *path = NULL;
        if (client_call(client, *operands, call_list, &listing, &path, &failed))
            continue;
        Status status = report_status_of(failed);
        report_error(path ? path : *operands, failed, NULL);
        failure = n_failed++ == 0 || failure == status ? status : STATUS_ERROR;
    }
    g_autoptr(GVariant) daemon = listing.daemon;
    gboolean single = *options_operands(options) && rows->len == 1;
    g_ptr_array_sort(rows, compare_rows);
    if (options_has(options, OPTION_CHECK)) {
        Status checked = check(rows, options);
        return n_failed ? failure : checked;
    }
    if (options_has(options, OPTION_JSON))
        print_json(rows, daemon);
    else if (rows->len || !n_failed)
        print_for_people(rows, daemon, single || options_has(options, OPTION_LONG));
    return n_failed && rows->len ? STATUS_PARTLY : failure;
}
