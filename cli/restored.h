#pragma once

/* Restored: where a restore goes, what becomes of the file that stood there, and the account of it. */

#include <glib.h>

#include "base/fd.h"
#include "cli/report.h"
#include "copy/stage.h"

G_BEGIN_DECLS

/* The place that --to names (a folder: the file's own name in it). */
typedef struct Place {
    char    *path;
    char    *name;
    Fd       folder_fd;
    gboolean exists;
} Place;

/* REFUSED if something stands there and not `force`, or if it is the file itself (`original`, its
 * canonical path). `many`: it must be a folder. */
gboolean place_open(const char *to, const char *original, gboolean force, gboolean many,
                    Place *ret_place, GError **error);
void     place_clear(Place *p);
G_DEFINE_AUTO_CLEANUP_CLEAR_FUNC(Place, place_clear)

/* Gives a swapped-out file a name that people find: "NAME.before-restore-<time>". The name it has
 * now, even if that failed. */
char *restored_keep(int folder_fd, const char *name, const Swapped *swapped);

/* What Manager1.Restore answers (a{sv}; also made by us for the other ways): said, or kept for
 * --json. `target` NULL: in its own place. Sinks `result`. */
void restored_report(Report *report, const char *path, const char *target, gboolean dry_run,
                     GVariant *result);

G_END_DECLS
