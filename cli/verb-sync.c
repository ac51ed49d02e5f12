/* verb-sync.c - sync: returns when what the files have now is durable */

#include "config.h"

#include "base/error.h"
#include "base/path.h"
#include "cli/client.h"
#include "cli/dict.h"
#include "cli/verb.h"

static gboolean
call_sync(FiledupManager1 *m, const char *path, gpointer data, GError **error)
{
    return filedup_manager1_call_sync_sync(m, path, data, NULL, error);
}

/* One answer: each file that is not current is a failure of its own. */
static void
report_answer(Report *report, const char *asked, GVariant *not_current)
{
    GVariantIter iter;
    GVariant *row;

    if (*asked && g_variant_n_children(not_current) == 0)
        report_done(report, asked, NULL, NULL);
    g_variant_iter_init(&iter, not_current);
    while ((row = g_variant_iter_next_value(&iter))) {
        g_autoptr(GVariant) owned = row;
        g_autoptr(GError) error = NULL;
        const char *writer = dict_text(row, "writer");
        g_autofree char *remedy =
            *writer ? g_strdup_printf("It is being written by %s", writer) : NULL;
        (void) throw_error(&error, FILEDUP_ERROR_NOT_CURRENT, "not current: %s",
                           dict_text(row, "reason"));
        report_failed(report, dict_path(row, "path"), error, remedy);
    }
}

Status
verb_sync(const Options *options)
{
    g_autoptr(GError) error = NULL;
    const char *const *operands = options_operands(options);
    guint n_asked = g_strv_length((char **) operands);

    g_autoptr(Client) client = client_open(options, &error);
    if (!client) {
        report_error(NULL, error, NULL);
        return report_status_of(error);
    }
    g_autoptr(Report) report = report_new(options);
    if (!n_asked) {
        g_autoptr(GVariant) not_current = NULL;
        if (!call_sync(client_manager(client), "", &not_current, &error)) {
            report_error(NULL, error, NULL);
            return report_status_of(error);
        }
        report_answer(report, "", not_current);
    }
    for (; *operands; operands++) {
        g_autoptr(GVariant) not_current = NULL;
        g_autoptr(GError) failed = NULL;
        g_autofree char *path = NULL;
        if (client_call(client, *operands, call_sync, &not_current, &path, &failed))
            report_answer(report, path, not_current);
        else
            report_failed(report, path ? path : *operands, failed, NULL);
    }
    Status status = report_finish(report);
    if (status == STATUS_OK)
        report_say(report, n_asked == 1 ? "Current and durable.\n" : "All current and durable.\n");
    return status;
}
