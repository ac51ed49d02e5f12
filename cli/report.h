#pragma once

/* Report: what became of each file of a command, and the exit status that follows. */

#include <glib.h>
#include <json-glib/json-glib.h>

#include "cli/option.h"

G_BEGIN_DECLS

typedef enum {
    STATUS_OK          = 0,
    STATUS_ERROR       = 1,
    STATUS_USAGE       = 2,
    STATUS_PARTLY      = 3, /* several files, some failed */
    STATUS_NOT_CURRENT = 4,
    STATUS_NO_ENTRY    = 10,
    STATUS_BUSY        = 11,
    STATUS_DENIED      = 12,
    STATUS_NO_DAEMON   = 13,
} Status;

/* Errors that only the command line has. */
typedef enum { CLI_ERROR_USAGE, CLI_ERROR_NO_DAEMON } CliError;
#define CLI_ERROR (cli_error_quark())
GQuark cli_error_quark(void);

Status report_status_of(const GError *error);

/* "filedup: /path: reason. remedy" on stderr; path and remedy may be NULL. Takes the name of a
 * remote D-Bus error off the message. */
void report_error(const char *path, GError *error, const char *remedy);

typedef struct Report Report;

Report *report_new(const Options *options);
void    report_free(Report *r);
G_DEFINE_AUTOPTR_CLEANUP_FUNC(Report, report_free)

/* One of these per file. `result` is an a{sv} for --json, or NULL; floating ones are sunk. */
void report_done  (Report *r, const char *path, GVariant *result, const char *const *times);
void report_failed(Report *r, const char *path, GError *error, const char *remedy);

/* For people: on stdout, unless --quiet or --json. */
void report_say(Report *r, const char *format, ...) G_GNUC_PRINTF(2, 3);

/* Prints what --json collected: an array of {"path", "path_b64", "ok", ..., "error"}. Returns the
 * exit status: OK, PARTLY if some failed, else what they failed of (ERROR if of several kinds). */
Status report_finish(Report *r);

G_END_DECLS
