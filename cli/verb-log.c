/* verb-log.c - log: a file's recovery points, newest first */

#include "config.h"

#include "cli/client.h"
#include "cli/dict.h"
#include "cli/offline.h"
#include "cli/points.h"
#include "cli/verb.h"

static gboolean
call_points(FiledupManager1 *m, const char *path, gpointer data, GError **error)
{
    return filedup_manager1_call_points_sync(m, path, data, NULL, error);
}

Status
verb_log(const Options *options)
{
    if (options_has(options, OPTION_STORE))
        return offline_log(options);

    g_autoptr(GError) error = NULL;
    g_autoptr(GVariant) points = NULL;
    g_autofree char *path = NULL;
    const char *operand = options_operands(options)[0];

    g_autoptr(Client) client = client_open(options, &error);
    if (!client) {
        report_error(NULL, error, NULL);
        return report_status_of(error);
    }
    if (!client_call(client, operand, call_points, &points, &path, &error)) {
        report_error(path ? path : operand, error, NULL);
        return report_status_of(error);
    }
    g_autoptr(Points) list = points_new();
    GVariantIter iter;
    GVariant *point;
    g_variant_iter_init(&iter, points);
    while ((point = g_variant_iter_next_value(&iter))) {
        g_autoptr(GVariant) owned = point;
        points_add(list, dict_u64(point, "id"), dict_u64(point, "sequence"),
                   dict_time(point, "time"), dict_text(point, "cause"), dict_text(point, "quality"),
                   dict_u64(point, "size"));
    }
    points_print(list, path, options_has(options, OPTION_JSON));
    return STATUS_OK;
}
