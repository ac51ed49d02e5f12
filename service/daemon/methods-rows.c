/* methods-rows.c - Add, Set, Suspend, Resume, Remove */

#include "config.h"

#include <string.h>
#include <unistd.h>

#include "base/error.h"
#include "base/path.h"
#include "daemon/control.h"
#include "daemon/methods.h"

#define INSPECT_TIMEOUT_SEC 20

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
        } else if (g_str_equal(key, "keep_last") && g_str_equal(type, "u")) {
            row->keep_last = g_variant_get_uint32(value);
        } else if (g_str_equal(key, "max_lag") && g_str_equal(type, "u")) {
            row->max_lag_sec = g_variant_get_uint32(value);
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
    if (row->keep_last > ENTRY_KEEP_LAST_MAX)
        return throw_error(error, FILEDUP_ERROR_REFUSED, "keep-last must be from 0 to %d points",
                           ENTRY_KEEP_LAST_MAX);
    if (row->max_lag_sec > ENTRY_MAX_LAG_MAX)
        return throw_error(error, FILEDUP_ERROR_REFUSED,
                           "max-lag must be from 1 to %d seconds, or 0 for what is usual",
                           ENTRY_MAX_LAG_MAX);
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
        methods_refuse(a->invocation, error);
        return;
    }
    g_autofree char *path = NULL;
    if (take_inspected(a, m, &device, &note, &error)) {
        path = g_strdup(a->row->path);
        add_promise(a->row, &note);
        (void) manager_add(a->methods->manager, g_steal_pointer(&a->row), device, &error);
    }
    if (error)
        methods_refuse(a->invocation, error);
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
        return methods_refuse(invocation, error);
    }
    if (!g_variant_lookup(options, "backup", "s", NULL) ||
        !g_variant_lookup(options, "recover", "s", NULL)) {
        throw_error(&error, FILEDUP_ERROR_REFUSED, "backup and recovery mode are mandatory");
        return methods_refuse(invocation, error);
    }
    if (!apply_options(row, options, TRUE, &error))
        return methods_refuse(invocation, error);

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
    Entry *e = methods_find(m, invocation, path, &error);

    if (!e)
        return methods_refuse(invocation, error);
    g_autoptr(Row) row = row_copy(e->row);
    if (!change(row, options, &error) ||
        !manager_replace(m->manager, g_steal_pointer(&row), &error))
        return methods_refuse(invocation, error);
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

    if (!methods_find(m, invocation, path, &error) || !manager_remove(m->manager, path, &error))
        return methods_refuse(invocation, error);
    filedup_manager1_complete_remove(skeleton, invocation);
    return TRUE;
}

const MethodsHandler methods_rows[] = {
    {"handle-add", G_CALLBACK(on_add)},         {"handle-set", G_CALLBACK(on_set)},
    {"handle-suspend", G_CALLBACK(on_suspend)}, {"handle-resume", G_CALLBACK(on_resume)},
    {"handle-remove", G_CALLBACK(on_remove)},   {NULL, NULL},
};
