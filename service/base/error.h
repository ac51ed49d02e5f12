#pragma once

/* Errors: a code says what the caller does next, the message says what happened. */

#include <glib.h>

G_BEGIN_DECLS

typedef enum {
    FILEDUP_ERROR_AGAIN,       /* transient: the schedule retries with back-off      */
    FILEDUP_ERROR_DAMAGED,     /* data is bad: repair it from the other copy         */
    FILEDUP_ERROR_REFUSED,     /* the request is wrong: tell whoever asked           */
    FILEDUP_ERROR_FATAL,       /* needs the operator: the role exits                 */
    FILEDUP_ERROR_BUSY,        /* somebody uses the file: ask again later, or force  */
    FILEDUP_ERROR_DENIED,      /* the caller may not: tell whoever asked             */
    FILEDUP_ERROR_NO_ENTRY,    /* no such row: tell whoever asked                    */
    FILEDUP_ERROR_NOT_CURRENT, /* the backup is older than the file: tell who asked  */
} FiledupError;

#define FILEDUP_ERROR (filedup_error_quark())

/* Registers the codes as D-Bus error names (org.filedup.Error.*) as a side effect. */
GQuark filedup_error_quark(void);

/* All of these return FALSE, so that a failure is one line. `throw_errno` reads errno, appends its
 * text, and derives the code from it (error_from_errno). */
gboolean throw_error(GError **error, FiledupError code, const char *format, ...)
    G_GNUC_PRINTF(3, 4);
gboolean throw_errno(GError **error, const char *format, ...) G_GNUC_PRINTF(2, 3);

/* Puts "<noun>: " in front of *error: each layer adds the noun that it knows. */
gboolean throw_prefixed(GError **error, const char *format, ...) G_GNUC_PRINTF(2, 3);

FiledupError error_from_errno(int errnum);

G_END_DECLS
