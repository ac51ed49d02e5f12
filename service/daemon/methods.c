/* methods.c - the calls of org.filedup.Manager1: check who asks, do it, answer
 *
 * A call that needs a copier or a keeper keeps its invocation in a request object and answers when
 * they have; the main loop never waits. What may take long is given up when its client goes away
 * (call.h).
 */

#include "config.h"

#include "base/error.h"
#include "base/path.h"
#include "daemon/access.h"
#include "daemon/call.h"
#include "daemon/control.h"
#include "daemon/methods-asking.h"
#include "daemon/report.h"

gboolean
methods_refuse(GDBusMethodInvocation *invocation, const GError *error)
{
    g_dbus_method_invocation_return_gerror(invocation, error);
    return TRUE;
}

Entry *
methods_find(Methods *m, GDBusMethodInvocation *invocation, const char *path, GError **error)
{
    Entry *e = manager_find(m->manager, path);

    if (!e) {
        throw_error(error, FILEDUP_ERROR_NO_ENTRY,
                    "no such entry; 'filedup status' lists them, 'filedup add' makes one");
        return NULL;
    }
    return access_may_use(control_caller(invocation), e->row, error) ? e : NULL;
}

gboolean
methods_option_is_set(GVariant *options, const char *key)
{
    gboolean value = FALSE;

    return g_variant_lookup(options, key, "b", &value) && value;
}

gboolean
methods_store_option(Methods *m, const Entry *e, GVariant *options, const char **ret_name,
                     Store **ret_store, GError **error)
{
    const char *name = "";
    Store *store = NULL;

    (void) g_variant_lookup(options, "store", "&s", &name);
    if (name[0]) {
        store = stores_find(manager_stores(m->manager), name);
        if (!store)
            return throw_error(error, FILEDUP_ERROR_REFUSED, "there is no store \"%s\"", name);
        if (e && !entry_find_target(e, store))
            return throw_error(error, FILEDUP_ERROR_REFUSED, "its row has no store \"%s\"", name);
    }
    *ret_name = name;
    if (ret_store)
        *ret_store = store;
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

    if (path[0] && !methods_find(m, invocation, path, &error))
        return methods_refuse(invocation, error);
    g_autoptr(GList) entries = manager_entries(m->manager);
    g_variant_builder_init(&rows, G_VARIANT_TYPE("aa{sv}"));
    for (GList *l = entries; l; l = l->next) {
        const Entry *e = l->data;
        if ((!path[0] || g_str_equal(path, e->row->path)) && access_may_use(caller, e->row, NULL))
            g_variant_builder_add_value(&rows, report_entry(e, m->drills));
    }
    filedup_manager1_complete_list(skeleton, invocation, g_variant_builder_end(&rows),
                                   report_daemon(m->manager));
    return TRUE;
}

/* ---- Sync ---- */

typedef struct Syncing {
    Methods *methods;
    Call *call;
} Syncing;

static void
on_synced(const GPtrArray *files, const GError *error, gpointer data)
{
    g_autofree Syncing *s = data;
    GVariantBuilder list;

    if (error) {
        call_refuse(s->call, error);
        return;
    }
    g_variant_builder_init(&list, G_VARIANT_TYPE("aa{sv}"));
    for (guint i = 0; i < files->len; i++) {
        const SyncFile *f = files->pdata[i];
        if (!f->reason)
            continue;
        g_autofree char *reason = g_utf8_make_valid(f->reason, -1);
        g_autofree char *writer = g_utf8_make_valid(f->writer ? f->writer : "", -1);
        g_variant_builder_open(&list, G_VARIANT_TYPE_VARDICT);
        g_variant_builder_add(&list, "{sv}", "path", path_to_variant(f->path));
        g_variant_builder_add(&list, "{sv}", "reason", g_variant_new_string(reason));
        g_variant_builder_add(&list, "{sv}", "writer", g_variant_new_string(writer));
        g_variant_builder_close(&list);
    }
    call_return(s->call, g_variant_new("(aa{sv})", &list));
}

static void
on_sync_gone(gpointer data)
{
    Syncing *s = data;

    syncs_cancel(s->methods->syncs, s);
    g_free(s);
}

static gboolean
on_sync(G_GNUC_UNUSED FiledupManager1 *skeleton, GDBusMethodInvocation *invocation,
        const gchar *path, gpointer data)
{
    Methods *m = data;
    g_autoptr(GError) error = NULL;
    uid_t caller = control_caller(invocation);

    if (path[0] && !methods_find(m, invocation, path, &error))
        return methods_refuse(invocation, error);
    Syncing *s = g_new0(Syncing, 1);
    s->methods = m;
    s->call = call_new(invocation, on_sync_gone, s);
    syncs_start(m->syncs, caller, path, on_synced, s);
    return TRUE;
}

void
methods_settled(Methods *m)
{
    syncs_settled(m->syncs);
    asking_settled(m);
}

/* ---- all of them ---- */

static void
connect(Methods *m, FiledupManager1 *skeleton, const MethodsHandler *handlers)
{
    for (; handlers->signal; handlers++)
        g_signal_connect(skeleton, handlers->signal, handlers->handler, m);
}

Methods *
methods_new(Manager *manager, Drills *drills, FiledupManager1 *skeleton)
{
    static const MethodsHandler own[] = {
        {"handle-list", G_CALLBACK(on_list)}, {"handle-sync", G_CALLBACK(on_sync)}, {NULL, NULL}};
    Methods *m = g_new0(Methods, 1);

    m->manager = manager;
    m->drills = drills;
    m->syncs = syncs_new(manager);
    connect(m, skeleton, own);
    connect(m, skeleton, methods_content);
    connect(m, skeleton, methods_points);
    connect(m, skeleton, methods_prune);
    connect(m, skeleton, methods_rows);
    connect(m, skeleton, methods_stores);
    connect(m, skeleton, methods_verify);
    return m;
}

void
methods_free(Methods *m)
{
    if (!m)
        return;
    syncs_free(m->syncs);
    asking_cancel_all(m);
    g_free(m);
}
