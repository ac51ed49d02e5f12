/* methods.c - the calls of org.filedup.Manager1: check who asks, do it, answer
 *
 * A call that needs a copier or a keeper keeps its invocation in a request object and answers when
 * they have; the main loop never waits.
 */

#include "config.h"

#include <gio/gunixfdlist.h>
#include <string.h>
#include <unistd.h>

#include "base/error.h"
#include "base/fd.h"
#include "base/path.h"
#include "daemon/access.h"
#include "daemon/control.h"
#include "daemon/methods.h"
#include "daemon/report.h"
#include "daemon/sync.h"

#define INSPECT_TIMEOUT_SEC 20
#define REQUESTS_MAX        8 /* recoveries of one row that wait */

struct Methods {
    Manager *manager;
    Syncs *syncs;
};

static gboolean
refuse(GDBusMethodInvocation *invocation, const GError *error)
{
    g_dbus_method_invocation_return_gerror(invocation, error);
    return TRUE;
}

/* The entry, if it exists and the caller may use it. */
static Entry *
find_entry(Methods *m, GDBusMethodInvocation *invocation, const char *path, GError **error)
{
    Entry *e = manager_find(m->manager, path);

    if (!e) {
        throw_error(error, FILEDUP_ERROR_NO_ENTRY,
                    "no such entry; 'filedup status' lists them, 'filedup add' makes one");
        return NULL;
    }
    return access_may_use(control_caller(invocation), e->row, error) ? e : NULL;
}

/* ---- Add, Set, Suspend, Resume, Remove ---- */

static gboolean
apply_options(Row *row, GVariant *options, gboolean modes, GError **error)
{
    GVariantIter iter;
    const char *key;
    GVariant *value;

    g_variant_iter_init(&iter, options);
    while (g_variant_iter_next(&iter, "{&sv}", &key, &value)) {
        g_autoptr(GVariant) owned = value;
        const char *type = g_variant_get_type_string(value);
        if (g_str_equal(key, "backup") && g_str_equal(type, "s") && modes) {
            if (!backup_mode_parse(g_variant_get_string(value, NULL), &row->backup, error))
                return FALSE;
        } else if (g_str_equal(key, "recover") && g_str_equal(type, "s") && modes) {
            if (!recover_mode_parse(g_variant_get_string(value, NULL), &row->recover, error))
                return FALSE;
        } else if (g_str_equal(key, "to") && g_str_equal(type, "as")) {
            gsize n = g_variant_n_children(value);
            if (n < 1 || n > ENTRY_STORES_MAX)
                return throw_error(error, FILEDUP_ERROR_REFUSED, "give 1 to %d stores",
                                   ENTRY_STORES_MAX);
            g_strfreev(row->to);
            row->to = g_variant_dup_strv(value, NULL);
        } else if (g_str_equal(key, "retries") && g_str_equal(type, "u")) {
            row->retries = g_variant_get_uint32(value);
        } else if (g_str_equal(key, "timeout") && g_str_equal(type, "u")) {
            row->timeout_sec = g_variant_get_uint32(value);
        } else if (g_str_equal(key, "keep") && g_str_equal(type, "s")) {
            g_free(row->keep);
            row->keep = g_variant_dup_string(value, NULL);
        } else if (g_str_equal(key, "backup") || g_str_equal(key, "recover")) {
            return throw_error(error, FILEDUP_ERROR_REFUSED,
                               "the %s mode of a row does not change: it would be another row; "
                               "remove it and add it anew (the backup stays)",
                               key);
        } else {
            return throw_error(error, FILEDUP_ERROR_REFUSED, "option '%s' of type %s is not known",
                               key, type);
        }
    }
    if (row->retries > ENTRY_RETRIES_MAX)
        return throw_error(error, FILEDUP_ERROR_REFUSED, "retries must be from 0 to %d",
                           ENTRY_RETRIES_MAX);
    if (row->timeout_sec < 1 || row->timeout_sec > ENTRY_TIMEOUT_MAX)
        return throw_error(error, FILEDUP_ERROR_REFUSED, "the timeout must be from 1 to %d seconds",
                           ENTRY_TIMEOUT_MAX);
    for (char **a = row->to; a && *a; a++)
        for (char **b = a + 1; *b; b++)
            if (g_str_equal(*a, *b))
                return throw_error(error, FILEDUP_ERROR_REFUSED, "store \"%s\" is given twice", *a);
    return keep_check(row->keep, error);
}

typedef struct Adding {
    Methods *methods;
    FiledupManager1 *skeleton;
    GDBusMethodInvocation *invocation;
    Row *row;
} Adding;

static void
adding_free(Adding *a)
{
    g_object_unref(a->skeleton);
    row_free(a->row);
    g_free(a);
}

G_DEFINE_AUTOPTR_CLEANUP_FUNC(Adding, adding_free)

static gboolean
take_inspected(Adding *a, Message *m, guint64 *ret_device, char **ret_note, GError **error)
{
    g_autoptr(GVariant) outcome = NULL, folder = NULL, name = NULL, stat = NULL;
    guint32 type;
    const char *note;

    g_variant_get(m->body, "(t@" MESSAGE_ERROR_TYPE "@ay@ayu@" FILESTAT_TYPE "t&s)", NULL, &outcome,
                  &folder, &name, &type, &stat, ret_device, &note);
    if (!message_error_check(outcome, NULL, error))
        return FALSE;
    if (type == INSPECT_FOLDER)
        return throw_error(error, FILEDUP_ERROR_REFUSED,
                           "it is a folder; this version protects single files: name the files");
    if (type == INSPECT_OTHER)
        return throw_error(
            error, FILEDUP_ERROR_REFUSED,
            "it is no regular file (a device, socket or pipe has no content to keep)");
    const char *f = path_from_variant(folder), *n = path_from_variant(name);
    if (!f || !n || !n[0] || strchr(n, '/'))
        return throw_error(error, FILEDUP_ERROR_FATAL, "the copier answered with no path");
    g_free(a->row->path);
    a->row->path = path_join(f, n);
    if (!path_is_canonical(a->row->path))
        return throw_error(error, FILEDUP_ERROR_REFUSED, "its path cannot be made canonical");
    *ret_note = g_strdup(note);
    return TRUE;
}

/* A mode that is remembered and not acted on yet must not be believed to protect. */
static void
add_promise(const Row *row, char **note)
{
    if (row->recover == RECOVER_MANUAL)
        return;
    g_autofree char *before = g_steal_pointer(note);
    *note = g_strdup_printf("%s%sthis version recovers only by 'filedup restore': recovery mode "
                            "\"%s\" is remembered, but nothing acts on I/O errors by itself yet",
                            before ? before : "", before && before[0] ? "; " : "",
                            recover_mode_name(row->recover));
}

static void
on_inspected(G_GNUC_UNUSED guint64 job, Message *m, const GError *failure,
             G_GNUC_UNUSED gboolean stuck, gpointer data)
{
    g_autoptr(Adding) a = data;
    g_autoptr(GError) error = NULL;
    g_autofree char *note = NULL;
    guint64 device = 0;

    if (!m || m->type != MESSAGE_COPIER_INSPECTED) {
        throw_error(&error, FILEDUP_ERROR_AGAIN, "looking at it: %s",
                    failure ? failure->message : "no answer");
        refuse(a->invocation, error);
        return;
    }
    g_autofree char *path = NULL;
    if (take_inspected(a, m, &device, &note, &error)) {
        path = g_strdup(a->row->path);
        add_promise(a->row, &note);
        (void) manager_add(a->methods->manager, g_steal_pointer(&a->row), device, &error);
    }
    if (error)
        refuse(a->invocation, error);
    else
        filedup_manager1_complete_add(a->skeleton, a->invocation, path, note ? note : "");
}

static gboolean
on_add(FiledupManager1 *skeleton, GDBusMethodInvocation *invocation, const gchar *path,
       GVariant *options, gpointer data)
{
    Methods *m = data;
    g_autoptr(GError) error = NULL;
    uid_t caller = control_caller(invocation);
    g_autoptr(Row) row = g_new0(Row, 1);

    row->retries = ENTRY_RETRIES_DEFAULT;
    row->timeout_sec = ENTRY_TIMEOUT_DEFAULT;
    row->keep = g_strdup(ENTRY_KEEP_DEFAULT);
    /* A user's own daemon works as that user, whoever calls. */
    row->principal = manager_settings(m->manager)->system ? caller : getuid();
    row->path = g_strdup(path);
    if (path[0] != '/') {
        throw_error(&error, FILEDUP_ERROR_REFUSED, "the path must be absolute");
        return refuse(invocation, error);
    }
    if (!g_variant_lookup(options, "backup", "s", NULL) ||
        !g_variant_lookup(options, "recover", "s", NULL)) {
        throw_error(&error, FILEDUP_ERROR_REFUSED, "backup and recovery mode are mandatory");
        return refuse(invocation, error);
    }
    if (!apply_options(row, options, TRUE, &error))
        return refuse(invocation, error);

    Adding *a = g_new0(Adding, 1);
    guint64 job = store_next_job();
    a->methods = m;
    a->skeleton = g_object_ref(skeleton);
    a->invocation = invocation;
    a->row = g_steal_pointer(&row);
    copiers_submit(
        schedule_copiers(manager_schedule(m->manager)), job, a->row->principal, 0,
        INSPECT_TIMEOUT_SEC, MESSAGE_DAEMON_INSPECT,
        g_variant_new("(t@ayb)", job, path_to_variant(path), (gboolean) (a->row->principal != 0)),
        NULL, 0, on_inspected, a);
    return TRUE;
}

typedef gboolean (*RowChange)(Row *row, GVariant *options, GError **error);

static gboolean
change_row(Methods *m, GDBusMethodInvocation *invocation, const char *path, RowChange change,
           GVariant *options)
{
    g_autoptr(GError) error = NULL;
    Entry *e = find_entry(m, invocation, path, &error);

    if (!e)
        return refuse(invocation, error);
    g_autoptr(Row) row = row_copy(e->row);
    if (!change(row, options, &error) ||
        !manager_replace(m->manager, g_steal_pointer(&row), &error))
        return refuse(invocation, error);
    g_dbus_method_invocation_return_value(invocation, NULL);
    return TRUE;
}

static gboolean
change_options(Row *row, GVariant *options, GError **error)
{
    return apply_options(row, options, FALSE, error);
}

static gboolean
change_to_suspended(Row *row, G_GNUC_UNUSED GVariant *options, G_GNUC_UNUSED GError **error)
{
    row->suspended = TRUE;
    return TRUE;
}

static gboolean
change_to_active(Row *row, G_GNUC_UNUSED GVariant *options, G_GNUC_UNUSED GError **error)
{
    row->suspended = FALSE;
    return TRUE;
}

static gboolean
on_set(G_GNUC_UNUSED FiledupManager1 *skeleton, GDBusMethodInvocation *invocation,
       const gchar *path, GVariant *options, gpointer data)
{
    return change_row(data, invocation, path, change_options, options);
}

static gboolean
on_suspend(G_GNUC_UNUSED FiledupManager1 *skeleton, GDBusMethodInvocation *invocation,
           const gchar *path, gpointer data)
{
    return change_row(data, invocation, path, change_to_suspended, NULL);
}

static gboolean
on_resume(G_GNUC_UNUSED FiledupManager1 *skeleton, GDBusMethodInvocation *invocation,
          const gchar *path, gpointer data)
{
    return change_row(data, invocation, path, change_to_active, NULL);
}

static gboolean
on_remove(FiledupManager1 *skeleton, GDBusMethodInvocation *invocation, const gchar *path,
          gpointer data)
{
    Methods *m = data;
    g_autoptr(GError) error = NULL;

    if (!find_entry(m, invocation, path, &error) || !manager_remove(m->manager, path, &error))
        return refuse(invocation, error);
    filedup_manager1_complete_remove(skeleton, invocation);
    return TRUE;
}

/* ---- List ---- */

static gboolean
on_list(FiledupManager1 *skeleton, GDBusMethodInvocation *invocation, const gchar *path,
        gpointer data)
{
    Methods *m = data;
    g_autoptr(GError) error = NULL;
    GVariantBuilder rows;
    uid_t caller = control_caller(invocation);

    if (path[0] && !find_entry(m, invocation, path, &error))
        return refuse(invocation, error);
    g_autoptr(GList) entries = manager_entries(m->manager);
    g_variant_builder_init(&rows, G_VARIANT_TYPE("aa{sv}"));
    for (GList *l = entries; l; l = l->next) {
        const Entry *e = l->data;
        if ((!path[0] || g_str_equal(path, e->row->path)) && access_may_use(caller, e->row, NULL))
            g_variant_builder_add_value(&rows, report_entry(e));
    }
    filedup_manager1_complete_list(skeleton, invocation, g_variant_builder_end(&rows),
                                   report_daemon(m->manager));
    return TRUE;
}

/* ---- Sync ---- */

void
methods_settled(Methods *m)
{
    syncs_settled(m->syncs);
}

static gboolean
on_sync(FiledupManager1 *skeleton, GDBusMethodInvocation *invocation, const gchar *path,
        gpointer data)
{
    Methods *m = data;
    g_autoptr(GError) error = NULL;

    if (path[0] && !find_entry(m, invocation, path, &error))
        return refuse(invocation, error);
    syncs_start(m->syncs, skeleton, invocation, control_caller(invocation), path);
    return TRUE;
}

/* ---- Restore, Extract, Points ---- */

typedef struct Restoring {
    FiledupManager1 *skeleton;
    GDBusMethodInvocation *invocation;
    gboolean extract;
} Restoring;

static void
on_recovered(const RecoveryResult *r, gpointer data)
{
    g_autofree Restoring *restoring = data;
    g_autoptr(FiledupManager1) skeleton = restoring->skeleton;

    if (r->error)
        g_dbus_method_invocation_return_gerror(restoring->invocation, r->error);
    else if (restoring->extract)
        filedup_manager1_complete_extract(skeleton, restoring->invocation, NULL, report_extract(r));
    else
        filedup_manager1_complete_restore(skeleton, restoring->invocation, report_restore(r));
}

static gboolean
option_is_set(GVariant *options, const char *key)
{
    gboolean value = FALSE;

    return g_variant_lookup(options, key, "b", &value) && value;
}

static gboolean
start_recovery(Methods *m, FiledupManager1 *skeleton, GDBusMethodInvocation *invocation,
               const char *path, GVariant *options, int target_fd)
{
    g_autoptr(GError) error = NULL;
    g_auto(Fd) target = target_fd;
    const char *name = NULL;
    guint64 point = 0;
    guint flags = target >= 0 ? RESTORE_TO_FD : 0;
    Store *store = NULL;
    Entry *e = find_entry(m, invocation, path, &error);

    if (!e)
        return refuse(invocation, error);
    if (g_variant_lookup(options, "store", "&s", &name) && name[0]) {
        store = stores_find(manager_stores(m->manager), name);
        if (!store || !entry_find_target(e, store)) {
            throw_error(&error, FILEDUP_ERROR_REFUSED, "its row has no store \"%s\"", name);
            return refuse(invocation, error);
        }
    }
    if (e->requests.length >= REQUESTS_MAX) {
        throw_error(&error, FILEDUP_ERROR_BUSY, "%d restores of it wait already", REQUESTS_MAX);
        return refuse(invocation, error);
    }
    (void) g_variant_lookup(options, "point", "t", &point);
    flags |= option_is_set(options, "force") ? RESTORE_FORCE : 0;
    flags |= option_is_set(options, "in_place") ? RESTORE_IN_PLACE : 0;
    flags |= option_is_set(options, "dry_run") ? RESTORE_DRY_RUN : 0;

    Restoring *restoring = g_new0(Restoring, 1);
    restoring->skeleton = g_object_ref(skeleton);
    restoring->invocation = invocation;
    restoring->extract = target >= 0;
    recovery_request(e, control_caller(invocation), (RestoreFlags) flags, point, store,
                     fd_steal(&target), on_recovered, restoring);
    return TRUE;
}

static gboolean
on_restore(FiledupManager1 *skeleton, GDBusMethodInvocation *invocation, const gchar *path,
           GVariant *options, gpointer data)
{
    return start_recovery(data, skeleton, invocation, path, options, -1);
}

static gboolean
on_extract(FiledupManager1 *skeleton, GDBusMethodInvocation *invocation, GUnixFDList *fds,
           const gchar *path, GVariant *target, GVariant *options, gpointer data)
{
    g_autoptr(GError) error = NULL;
    int fd = -1;

    if (fds)
        fd = g_unix_fd_list_get(fds, g_variant_get_handle(target), &error);
    if (fd < 0) {
        if (!error)
            throw_error(&error, FILEDUP_ERROR_REFUSED, "no descriptor came with the call");
        return refuse(invocation, error);
    }
    return start_recovery(data, skeleton, invocation, path, options, fd);
}

static void
on_points_found(G_GNUC_UNUSED Store *store, Message *message, const GError *failure, gpointer data)
{
    g_autofree Restoring *asking = data;
    g_autoptr(FiledupManager1) skeleton = asking->skeleton;
    g_autoptr(GVariantIter) points = NULL;
    GVariantBuilder list;
    guint64 id, sequence, size;
    gint64 time_usec;
    guint32 cause, quality;

    if (!message) {
        g_dbus_method_invocation_return_gerror(asking->invocation, failure);
        return;
    }
    g_variant_get(message->body, "(ta(ttxuut))", NULL, &points);
    g_variant_builder_init(&list, G_VARIANT_TYPE("aa{sv}"));
    while (g_variant_iter_next(points, "(ttxuut)", &id, &sequence, &time_usec, &cause, &quality,
                               &size)) {
        g_variant_builder_open(&list, G_VARIANT_TYPE_VARDICT);
        g_variant_builder_add(&list, "{sv}", "id", g_variant_new_uint64(id));
        g_variant_builder_add(&list, "{sv}", "sequence", g_variant_new_uint64(sequence));
        g_variant_builder_add(&list, "{sv}", "time", g_variant_new_int64(time_usec));
        g_variant_builder_add(&list, "{sv}", "cause",
                              g_variant_new_string(report_cause((PointCause) cause)));
        g_variant_builder_add(&list, "{sv}", "quality",
                              g_variant_new_string(report_quality((Quality) quality)));
        g_variant_builder_add(&list, "{sv}", "size", g_variant_new_uint64(size));
        g_variant_builder_close(&list);
    }
    filedup_manager1_complete_points(skeleton, asking->invocation, g_variant_builder_end(&list));
}

static gboolean
on_points(FiledupManager1 *skeleton, GDBusMethodInvocation *invocation, const gchar *path,
          gpointer data)
{
    Methods *m = data;
    g_autoptr(GError) error = NULL;
    Entry *e = find_entry(m, invocation, path, &error);
    Target *t = NULL;

    if (!e)
        return refuse(invocation, error);
    for (guint i = 0; i < e->targets->len && !t; i++)
        if (store_is_ready(((Target *) e->targets->pdata[i])->store))
            t = e->targets->pdata[i];
    if (!t) {
        throw_error(&error, FILEDUP_ERROR_AGAIN, "none of its stores is available now");
        return refuse(invocation, error);
    }
    Restoring *asking = g_new0(Restoring, 1);
    guint64 job = store_next_job();
    asking->skeleton = g_object_ref(skeleton);
    asking->invocation = invocation;
    store_request(t->store, job, MESSAGE_DAEMON_POINTS,
                  g_variant_new("(t@ay)", job, path_to_variant(path)), NULL, 0, on_points_found,
                  asking);
    return TRUE;
}

/* ---- stores ---- */

static void
on_store_added(const char *note, const GError *error, gpointer data)
{
    g_autofree Restoring *asking = data;
    g_autoptr(FiledupManager1) skeleton = asking->skeleton;

    if (error)
        g_dbus_method_invocation_return_gerror(asking->invocation, error);
    else
        filedup_manager1_complete_store_add(skeleton, asking->invocation, note);
}

static gboolean
on_store_add(FiledupManager1 *skeleton, GDBusMethodInvocation *invocation, const gchar *folder,
             const gchar *name, gpointer data)
{
    Methods *m = data;
    g_autoptr(GError) error = NULL;

    if (!access_may_manage(control_caller(invocation), manager_settings(m->manager)->system,
                           &error))
        return refuse(invocation, error);
    Restoring *asking = g_new0(Restoring, 1);
    asking->skeleton = g_object_ref(skeleton);
    asking->invocation = invocation;
    manager_add_store(m->manager, name, folder, on_store_added, asking);
    return TRUE;
}

static gboolean
on_store_list(FiledupManager1 *skeleton, GDBusMethodInvocation *invocation, gpointer data)
{
    Methods *m = data;
    GVariantBuilder list;

    g_variant_builder_init(&list, G_VARIANT_TYPE("aa{sv}"));
    for (GList *l = stores_list(manager_stores(m->manager)); l; l = l->next)
        g_variant_builder_add_value(&list, report_store(m->manager, l->data));
    filedup_manager1_complete_store_list(skeleton, invocation, g_variant_builder_end(&list));
    return TRUE;
}

static gboolean
on_store_remove(FiledupManager1 *skeleton, GDBusMethodInvocation *invocation, const gchar *name,
                gpointer data)
{
    Methods *m = data;
    g_autoptr(GError) error = NULL;

    if (!access_may_manage(control_caller(invocation), manager_settings(m->manager)->system,
                           &error) ||
        !manager_remove_store(m->manager, name, &error))
        return refuse(invocation, error);
    filedup_manager1_complete_store_remove(skeleton, invocation);
    return TRUE;
}

Methods *
methods_new(Manager *manager, FiledupManager1 *skeleton)
{
    const struct {
        const char *signal;
        GCallback handler;
    } handlers[] = {
        {"handle-add", G_CALLBACK(on_add)},
        {"handle-set", G_CALLBACK(on_set)},
        {"handle-suspend", G_CALLBACK(on_suspend)},
        {"handle-resume", G_CALLBACK(on_resume)},
        {"handle-remove", G_CALLBACK(on_remove)},
        {"handle-list", G_CALLBACK(on_list)},
        {"handle-sync", G_CALLBACK(on_sync)},
        {"handle-restore", G_CALLBACK(on_restore)},
        {"handle-extract", G_CALLBACK(on_extract)},
        {"handle-points", G_CALLBACK(on_points)},
        {"handle-store-add", G_CALLBACK(on_store_add)},
        {"handle-store-list", G_CALLBACK(on_store_list)},
        {"handle-store-remove", G_CALLBACK(on_store_remove)},
    };
    Methods *m = g_new0(Methods, 1);

    m->manager = manager;
    m->syncs = syncs_new(manager);
    for (gsize i = 0; i < G_N_ELEMENTS(handlers); i++)
        g_signal_connect(skeleton, handlers[i].signal, handlers[i].handler, m);
    return m;
}

void
methods_free(Methods *m)
{
    if (!m)
        return;
    syncs_free(m->syncs);
    g_free(m);
}
