/* error.c - error codes, and the one-line ways to raise them */

#include "config.h"

#include <errno.h>
#include <gio/gio.h>

#include "base/error.h"

static const GDBusErrorEntry dbus_names[] = {
    {FILEDUP_ERROR_AGAIN, "org.filedup.Error.Again"},
    {FILEDUP_ERROR_DAMAGED, "org.filedup.Error.Damaged"},
    {FILEDUP_ERROR_REFUSED, "org.filedup.Error.Refused"},
    {FILEDUP_ERROR_FATAL, "org.filedup.Error.Fatal"},
    {FILEDUP_ERROR_BUSY, "org.filedup.Error.Busy"},
    {FILEDUP_ERROR_DENIED, "org.filedup.Error.Denied"},
    {FILEDUP_ERROR_NO_ENTRY, "org.filedup.Error.NoEntry"},
    {FILEDUP_ERROR_NOT_CURRENT, "org.filedup.Error.NotCurrent"},
};

GQuark
filedup_error_quark(void)
{
    static gsize quark;

    g_dbus_error_register_error_domain("filedup-error-quark", &quark, dbus_names,
                                       G_N_ELEMENTS(dbus_names));
    return (GQuark) quark;
}

FiledupError
error_from_errno(int errnum)
{
    switch (errnum) {
    case EIO:
    case EUCLEAN: /* what file systems call EFSCORRUPTED */
    case EBADMSG: /* what file systems call EFSBADCRC */
        return FILEDUP_ERROR_DAMAGED;
    case EACCES:
    case EPERM:
        return FILEDUP_ERROR_DENIED;
    case EAGAIN:
    case EINTR:
    case ENOSPC:
    case EDQUOT:
    case ENOMEM:
    case EMFILE:
    case ENFILE:
    case ESTALE:
    case ENOTCONN: /* what a FUSE file system without its server says */
    case ETIMEDOUT:
    case EHOSTDOWN:
    case EHOSTUNREACH:
    case ENETUNREACH:
        return FILEDUP_ERROR_AGAIN;
    case EBUSY:
    case ETXTBSY:
        return FILEDUP_ERROR_BUSY;
    case EISDIR:
    case ELOOP:
    case EROFS:
    case ENAMETOOLONG:
    case ENOTDIR:
        return FILEDUP_ERROR_REFUSED;
    default:
        return FILEDUP_ERROR_FATAL;
    }
}

gboolean
throw_error(GError **error, FiledupError code, const char *format, ...)
{
    va_list args;

    if (!error)
        return FALSE;
    va_start(args, format);
    *error = g_error_new_valist(FILEDUP_ERROR, (gint) code, format, args);
    va_end(args);
    return FALSE;
}

gboolean
throw_errno(GError **error, const char *format, ...)
{
    int errnum = errno;
    va_list args;

    if (!error)
        return FALSE;
    va_start(args, format);
    g_autofree char *what = g_strdup_vprintf(format, args);
    va_end(args);
    return throw_error(error, error_from_errno(errnum), "%s: %s", what, g_strerror(errnum));
}

gboolean
throw_prefixed(GError **error, const char *format, ...)
{
    va_list args;

    if (!error || !*error)
        return FALSE;
    va_start(args, format);
    g_autofree char *what = g_strdup_vprintf(format, args);
    va_end(args);
    g_prefix_error(error, "%s: ", what);
    return FALSE;
}
