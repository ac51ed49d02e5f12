/* verb-log.c - log: a file's recovery points, newest first */

#include "config.h"

#include "cli/backups.h"
#include "cli/points.h"
#include "cli/verb.h"

Status
verb_log(const Options *options)
{
    g_autoptr(GError) error = NULL;
    g_autofree char *path = NULL;
    const char *operand = options_operands(options)[0];
    guint limit = (guint) options_number(options, OPTION_LIMIT, 0);
    Status status = STATUS_OK;

    g_autoptr(Backups) backups = backups_open(options, &status);
    if (!backups)
        return status;
    g_autoptr(GVariant) points = backups_find(backups, operand, &path, NULL, &error)
                                     ? backups_points(backups, path, limit, &error)
                                     : NULL;
    if (!points) {
        report_error(path ? path : operand, error, NULL);
        return report_status_of(error);
    }
    points_print(points, path, options_has(options, OPTION_JSON));
    return STATUS_OK;
}
