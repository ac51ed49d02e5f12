/* methods-stores.c - StoreAdd, StoreList, StoreSet, StoreRemove */

#include "config.h"

#include "base/error.h"
#include "daemon/access.h"
#include "daemon/control.h"
#include "daemon/methods.h"
#include "daemon/report.h"

typedef struct Adding {
    FiledupManager1 *skeleton;
    GDBusMethodInvocation *invocation;
} Adding;

static void
on_store_added(const char *note, const GError *error, gpointer data)
{
    g_autofree Adding *adding = data;
    g_autoptr(FiledupManager1) skeleton = adding->skeleton;

    if (error)
        g_dbus_method_invocation_return_gerror(adding->invocation, error);
    else
        filedup_manager1_complete_store_add(skeleton, adding->invocation, note);
}

static gboolean
on_store_add(FiledupManager1 *skeleton, GDBusMethodInvocation *invocation, const gchar *folder,
             const gchar *name, gpointer data)
{
    Methods *m = data;
    g_autoptr(GError) error = NULL;

    if (!access_may_manage(control_caller(invocation), manager_settings(m->manager)->system,
                           &error))
        return methods_refuse(invocation, error);
    Adding *adding = g_new0(Adding, 1);
    adding->skeleton = g_object_ref(skeleton);
    adding->invocation = invocation;
    manager_add_store(m->manager, name, folder, on_store_added, adding);
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
        return methods_refuse(invocation, error);
    filedup_manager1_complete_store_remove(skeleton, invocation);
    return TRUE;
}

static gboolean
on_store_set(FiledupManager1 *skeleton, GDBusMethodInvocation *invocation, const gchar *name,
             GVariant *options, gpointer data)
{
    Methods *m = data;
    g_autoptr(GError) error = NULL;
    GVariantIter iter;
    const char *key;
    GVariant *value;

    if (!access_may_manage(control_caller(invocation), manager_settings(m->manager)->system,
                           &error))
        return methods_refuse(invocation, error);
    g_variant_iter_init(&iter, options);
    while (!error && g_variant_iter_next(&iter, "{&sv}", &key, &value)) {
        g_autoptr(GVariant) owned = value;
        if (g_str_equal(key, "max_size") && g_variant_is_of_type(value, G_VARIANT_TYPE_UINT64))
            (void) manager_limit_store(m->manager, name, g_variant_get_uint64(value), &error);
        else
            throw_error(&error, FILEDUP_ERROR_REFUSED, "option '%s' of type %s is not known", key,
                        g_variant_get_type_string(value));
    }
    if (error)
        return methods_refuse(invocation, error);
    filedup_manager1_complete_store_set(skeleton, invocation);
    return TRUE;
}

const MethodsHandler methods_stores[] = {
    {"handle-store-add", G_CALLBACK(on_store_add)},
    {"handle-store-list", G_CALLBACK(on_store_list)},
    {"handle-store-set", G_CALLBACK(on_store_set)},
    {"handle-store-remove", G_CALLBACK(on_store_remove)},
    {NULL, NULL},
};
