/* verb-cat.c - cat: a backup's content on standard output */

#include "config.h"

#include <errno.h>
#include <unistd.h>

#include "base/error.h"
#include "cli/backups.h"
#include "cli/compare.h"
#include "cli/verb.h"

#define READ_BYTES (256 * 1024)

static gboolean
write_all(const char *bytes, gsize n, GError **error)
{
    while (n > 0) {
        gssize put = write(STDOUT_FILENO, bytes, n);
        if (put < 0 && errno == EINTR)
            continue;
        if (put < 0)
            return throw_errno(error, "standard output");
        bytes += put;
        n -= (gsize) put;
    }
    return TRUE;
}

static gboolean
print_content(const Fetched *content, GError **error)
{
    g_autofree char *buffer = g_malloc(READ_BYTES);

    for (guint64 offset = 0; offset < content->size_bytes;) {
        gssize n = fd_pread_most(content->fd, buffer, MIN(READ_BYTES, content->size_bytes - offset),
                                 (goffset) offset);
        if (n <= 0)
            return throw_errno(error, "reading the content");
        if (!write_all(buffer, (gsize) n, error))
            return FALSE;
        offset += (guint64) n;
    }
    return TRUE;
}

static gboolean
cat(Backups *backups, const Options *options, const char *operand, char **ret_path, GError **error)
{
    g_auto(When) when = {0};
    g_auto(Fetched) content = {.fd = -1};

    if (!backups_choose(backups, options, operand, ret_path, &when, error) ||
        !backups_fetch(backups, *ret_path, &when, &content, error))
        return FALSE;
    if (isatty(STDOUT_FILENO) && !options_has(options, OPTION_FORCE_BINARY) &&
        !compare_is_text(content.fd, content.size_bytes))
        return throw_error(error, FILEDUP_ERROR_REFUSED,
                           "is no text, and standard output is a terminal. --force prints it "
                           "nevertheless");
    return print_content(&content, error);
}

Status
verb_cat(const Options *options)
{
    g_autoptr(GError) error = NULL;
    g_autofree char *path = NULL;
    const char *operand = options_operands(options)[0];
    Status status = STATUS_OK;

    g_autoptr(Backups) backups = backups_open(options, &status);
    if (!backups)
        return status;
    if (cat(backups, options, operand, &path, &error))
        return STATUS_OK;
    if (!g_str_has_suffix(error->message, g_strerror(EPIPE))) /* `filedup cat FILE | head` */
        report_error(path ? path : operand, error, NULL);
    return report_status_of(error);
}
