/* methods-content.c - Restore and Extract: content back to the file, or into a descriptor */

#include "config.h"

#include <gio/gunixfdlist.h>

#include "base/error.h"
#include "base/fd.h"
#include "daemon/call.h"
#include "daemon/control.h"
#include "daemon/methods.h"
#include "daemon/report.h"

#define REQUESTS_MAX 8 /* recoveries of one row that wait */

typedef struct Restoring {
    Methods *methods;
    Call *call; /* NULL: the client is gone */
    char *path;
    gboolean extract;
} Restoring;

static void
on_recovered(const RecoveryResult *r, gpointer data)
{
    Restoring *restoring = data;

    if (restoring->call && r->error)
        call_refuse(restoring->call, r->error);
    else if (restoring->call)
        call_return(
            restoring->call,
            g_variant_new("(@a{sv})", restoring->extract ? report_extract(r) : report_restore(r)));
    g_free(restoring->path);
    g_free(restoring);
}

/* A restore that writes already goes on to its end. */
static void
on_gone(gpointer data)
{
    Restoring *restoring = data;
    Entry *e = manager_find(restoring->methods->manager, restoring->path);

    restoring->call = NULL;
    if (e)
        recovery_drop(e, restoring);
}

static gboolean
start_recovery(Methods *m, GDBusMethodInvocation *invocation, const char *path, GVariant *options,
               int target_fd)
{
    g_autoptr(GError) error = NULL;
    g_auto(Fd) target = target_fd;
    const char *name;
    guint64 point = 0;
    gint64 at_usec = 0;
    guint flags = target >= 0 ? RESTORE_TO_FD : 0;
    Store *store = NULL;
    Entry *e = methods_find(m, invocation, path, &error);

    if (!e || !methods_store_option(m, e, options, &name, &store, &error))
        return methods_refuse(invocation, error);
    if (e->requests.length >= REQUESTS_MAX) {
        throw_error(&error, FILEDUP_ERROR_BUSY, "%d restores of it wait already", REQUESTS_MAX);
        return methods_refuse(invocation, error);
    }
    (void) g_variant_lookup(options, "point", "t", &point);
    (void) g_variant_lookup(options, "at", "x", &at_usec);
    if (at_usec < 0 || (at_usec && point)) {
        throw_error(&error, FILEDUP_ERROR_REFUSED,
                    point ? "either a point or a time" : "there is nothing from before 1970");
        return methods_refuse(invocation, error);
    }
    flags |= methods_option_is_set(options, "force") ? RESTORE_FORCE : 0;
    flags |= methods_option_is_set(options, "in_place") ? RESTORE_IN_PLACE : 0;
    flags |= methods_option_is_set(options, "dry_run") ? RESTORE_DRY_RUN : 0;

    Restoring *restoring = g_new0(Restoring, 1);
    uid_t caller = control_caller(invocation);
    restoring->methods = m;
    restoring->call = call_new(invocation, on_gone, restoring);
    restoring->path = g_strdup(path);
    restoring->extract = target >= 0;
    recovery_request(e, caller, (RestoreFlags) flags, point, at_usec, store, fd_steal(&target),
                     on_recovered, restoring);
    return TRUE;
}

static gboolean
on_restore(G_GNUC_UNUSED FiledupManager1 *skeleton, GDBusMethodInvocation *invocation,
           const gchar *path, GVariant *options, gpointer data)
{
    return start_recovery(data, invocation, path, options, -1);
}

static gboolean
on_extract(G_GNUC_UNUSED FiledupManager1 *skeleton, GDBusMethodInvocation *invocation,
           GUnixFDList *fds, const gchar *path, GVariant *target, GVariant *options, gpointer data)
{
    g_autoptr(GError) error = NULL;
    int fd = -1;

    if (fds)
        fd = g_unix_fd_list_get(fds, g_variant_get_handle(target), &error);
    if (fd < 0) {
        if (!error)
            throw_error(&error, FILEDUP_ERROR_REFUSED, "no descriptor came with the call");
        return methods_refuse(invocation, error);
    }
    return start_recovery(data, invocation, path, options, fd);
}

const MethodsHandler methods_content[] = {
    {"handle-restore", G_CALLBACK(on_restore)},
    {"handle-extract", G_CALLBACK(on_extract)},
    {NULL, NULL},
};
