/* report.c - what became of each file, and the exit status that follows */

#include "config.h"

#include <gio/gio.h>
#include <stdio.h>
#include <string.h>

#include "base/error.h"
#include "base/path.h"
#include "cli/output.h"
#include "cli/report.h"

struct Report {
    gboolean json, quiet;
    guint n_done, n_failed;
    Status failure; /* of the failed ones, ERROR if they differ */
    JsonBuilder *builder;
};

G_DEFINE_QUARK(filedup - cli - error - quark, cli_error)

Status
report_status_of(const GError *error)
{
    if (error->domain == CLI_ERROR)
        return error->code == CLI_ERROR_USAGE ? STATUS_USAGE : STATUS_NO_DAEMON;
    /* The daemon went away in the middle of it. */
    if (g_error_matches(error, G_IO_ERROR, G_IO_ERROR_CLOSED) ||
        g_error_matches(error, G_DBUS_ERROR, G_DBUS_ERROR_NO_REPLY) ||
        g_error_matches(error, G_DBUS_ERROR, G_DBUS_ERROR_DISCONNECTED))
        return STATUS_NO_DAEMON;
    if (error->domain != FILEDUP_ERROR)
        return STATUS_ERROR;
    switch ((FiledupError) error->code) {
    case FILEDUP_ERROR_BUSY:
        return STATUS_BUSY;
    case FILEDUP_ERROR_DENIED:
        return STATUS_DENIED;
    case FILEDUP_ERROR_NO_ENTRY:
        return STATUS_NO_ENTRY;
    case FILEDUP_ERROR_NOT_CURRENT:
        return STATUS_NOT_CURRENT;
    case FILEDUP_ERROR_AGAIN:
    case FILEDUP_ERROR_DAMAGED:
    case FILEDUP_ERROR_REFUSED:
    case FILEDUP_ERROR_FATAL:
        break;
    }
    return STATUS_ERROR;
}

/* The text alone. A layer below may have named the path already: then it is not said twice. */
static void
print_error(const char *path, const char *message, const char *remedy)
{
    g_autofree char *escaped = path ? path_escape(path) : NULL;
    g_autofree char *valid = output_clean(message);
    gsize n = strlen(valid);

    if (n && valid[n - 1] == '.')
        valid[n - 1] = '\0';
    if (escaped && g_str_has_prefix(valid, escaped))
        g_clear_pointer(&escaped, g_free);
    fprintf(stderr, "filedup: %s%s%s%s%s\n", escaped ? escaped : "", escaped ? ": " : "", valid,
            remedy ? ". " : "", remedy ? remedy : "");
}

void
report_error(const char *path, GError *error, const char *remedy)
{
    g_dbus_error_strip_remote_error(error);
    print_error(path, error->message, remedy);
}

Report *
report_new(const Options *options)
{
    Report *r = g_new0(Report, 1);

    r->json = options_has(options, OPTION_JSON);
    r->quiet = options_has(options, OPTION_QUIET);
    if (r->json) {
        r->builder = json_builder_new();
        json_builder_begin_array(r->builder);
    }
    return r;
}

void
report_free(Report *r)
{
    if (!r)
        return;
    g_clear_object(&r->builder);
    g_free(r);
}

static void
begin_object(Report *r, const char *path, gboolean ok)
{
    json_builder_begin_object(r->builder);
    output_json_path(r->builder, "path", path);
    json_builder_set_member_name(r->builder, "ok");
    json_builder_add_boolean_value(r->builder, ok);
}

void
report_done(Report *r, const char *path, GVariant *result, const char *const *times)
{
    g_autoptr(GVariant) dict = result ? g_variant_ref_sink(result) : NULL;

    r->n_done++;
    if (!r->json)
        return;
    begin_object(r, path, TRUE);
    if (dict)
        output_json_dict(r->builder, dict, times);
    json_builder_end_object(r->builder);
}

void
report_failed(Report *r, const char *path, GError *error, const char *remedy)
{
    Status status = report_status_of(error);

    report_error(path, error, remedy);
    r->failure = r->n_failed++ == 0 || r->failure == status ? status : STATUS_ERROR;
    if (!r->json)
        return;
    g_autofree char *valid = g_utf8_make_valid(error->message, -1);
    begin_object(r, path, FALSE);
    json_builder_set_member_name(r->builder, "error");
    json_builder_add_string_value(r->builder, valid);
    json_builder_set_member_name(r->builder, "status");
    json_builder_add_int_value(r->builder, status);
    json_builder_end_object(r->builder);
}

void
report_say(Report *r, const char *format, ...)
{
    va_list args;

    if (r->json || r->quiet)
        return;
    va_start(args, format);
    output_vprint(format, args);
    va_end(args);
}

Status
report_finish(Report *r)
{
    if (r->json) {
        json_builder_end_array(r->builder);
        output_json(r->builder);
    }
    if (!r->n_failed)
        return STATUS_OK;
    /* "Not current" of one file is the answer to what was asked about all of them. */
    return r->n_done && r->failure != STATUS_NOT_CURRENT ? STATUS_PARTLY : r->failure;
}
