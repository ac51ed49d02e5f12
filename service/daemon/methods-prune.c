/* methods-prune.c - Prune, Forget, Approve: what is given up of a row's history, and what is not */

#include "config.h"

#include "base/error.h"
#include "base/path.h"
#include "daemon/access.h"
#include "daemon/control.h"
#include "daemon/methods-asking.h"
#include "daemon/target.h"

static void
add(GVariantBuilder *b, const char *key, GVariant *value)
{
    g_variant_builder_add(b, "{sv}", key, value);
}

/* ---- Prune ---- */

static GVariant *
ask_prune(guint64 job, const RoundPart *part, gpointer data)
{
    const Asking *a = data;

    return g_variant_new("(t@ayb)", job, path_to_variant(part->path), a->dry_run);
}

static gboolean
take_pruned(const RoundPart *part, Message *m, const GError *failure, gpointer data)
{
    Asking *a = data;
    g_autoptr(GError) error = failure ? g_error_copy(failure) : NULL;
    g_autoptr(GVariant) list = m ? asking_take_list(m, PRUNED_TYPE, &error) : NULL;
    GVariantIter iter;
    GVariant *path;
    guint64 id, size, bytes;
    gint64 time_usec;
    const char *why;

    if (!list) {
        asking_note_error(a, part, error);
        return TRUE;
    }
    a->answers++;
    g_variant_get_child(m->body, 3, "t", &bytes);
    a->bytes += bytes;
    g_variant_iter_init(&iter, list);
    while (g_variant_iter_next(&iter, "(@aytxt&s)", &path, &id, &time_usec, &size, &why)) {
        g_variant_builder_open(&a->list, G_VARIANT_TYPE_VARDICT);
        add(&a->list, "path", path);
        add(&a->list, "store", g_variant_new_string(part->store));
        add(&a->list, "id", g_variant_new_uint64(id));
        add(&a->list, "time", g_variant_new_int64(time_usec));
        add(&a->list, "size", g_variant_new_uint64(size));
        add(&a->list, "why", g_variant_new_string(why));
        g_variant_builder_close(&a->list);
        g_variant_unref(path);
    }
    return TRUE;
}

static void
return_pruned(gpointer data)
{
    Asking *a = data;

    a->round = NULL;
    if (a->error)
        asking_refuse(a, a->error);
    else
        asking_return(a, g_variant_new("(taa{sv})", a->bytes, &a->list));
}

static void
begin_prune(Asking *a)
{
    Manager *m = a->methods->manager;
    g_autoptr(GList) entries = manager_entries(m);

    for (GList *l = stores_list(manager_stores(m)); a->all && l; l = l->next)
        if (store_is_ready(l->data)) /* with what they have of rows that are gone */
            round_add(a->round, "", store_name(l->data));
    for (GList *l = entries; !a->all && l; l = l->next) {
        const Entry *e = l->data;
        if ((!a->path[0] || g_str_equal(a->path, e->row->path)) &&
            access_may_use(a->caller, e->row, NULL))
            round_add_entry(a->round, e, "", FALSE);
    }
    if (!a->path[0] && round_count(a->round) == 0 && !a->all)
        round_go_on(a->round); /* nothing of the caller's: nothing to thin */
    else
        asking_start(a, "no store is available now");
}

static gboolean
on_prune(G_GNUC_UNUSED FiledupManager1 *skeleton, GDBusMethodInvocation *invocation,
         const gchar *path, gboolean dry_run, gpointer data)
{
    static const RoundFuncs funcs = {MESSAGE_DAEMON_PRUNE, ask_prune, take_pruned, return_pruned};
    Methods *m = data;
    g_autoptr(GError) error = NULL;
    uid_t caller = control_caller(invocation);
    gboolean all =
        !path[0] && access_may_manage(caller, manager_settings(m->manager)->system, NULL);

    if ((path[0] && !methods_find(m, invocation, path, &error)) ||
        !asking_check(m, invocation, &error))
        return methods_refuse(invocation, error);
    Asking *a = asking_new(m, invocation, path, &funcs);
    a->dry_run = dry_run;
    a->all = all;
    asking_when_open(a, begin_prune);
    return TRUE;
}

/* ---- Forget ---- */

static GVariant *
ask_forget(guint64 job, const RoundPart *part, gpointer data)
{
    const Asking *a = data;

    return g_variant_new("(t@aytb)", job, path_to_variant(part->path), a->point, a->all);
}

static gboolean
take_forgotten(const RoundPart *part, Message *m, const GError *error, gpointer data)
{
    Asking *a = data;
    guint32 n;

    if (!m && g_error_matches(error, FILEDUP_ERROR, FILEDUP_ERROR_NO_ENTRY)) {
        if (!a->error) /* told only if no store had anything of it */
            a->error = g_error_copy(error);
        return TRUE;
    }
    if (!m) {
        asking_note_error(a, part, error);
        return TRUE;
    }
    a->answers++;
    g_variant_get_child(m->body, 2, "u", &n);
    a->points += n;
    return TRUE;
}

static void
return_forgotten(gpointer data)
{
    Asking *a = data;

    a->round = NULL;
    if (a->answers == 0)
        asking_refuse(a, a->error);
    else
        asking_return(a, g_variant_new("(us)", (guint32) a->points, a->note->str));
}

static gboolean
may_forget(Methods *m, uid_t caller, const char *path, gboolean all, guint64 point, Entry **ret_e,
           GError **error)
{
    *ret_e = manager_find(m->manager, path);
    if (all && point)
        return throw_error(error, FILEDUP_ERROR_REFUSED, "either one point, or all");
    if (path[0] != '/')
        return throw_error(error, FILEDUP_ERROR_REFUSED, "the path must be absolute");
    if (!*ret_e) {
        g_autoptr(GError) local = NULL;
        if (access_may_manage(caller, manager_settings(m->manager)->system, &local))
            return TRUE;
        return throw_error(error, FILEDUP_ERROR_NO_ENTRY,
                           "no such entry; what is left of a file that has no row may be forgotten "
                           "by root only");
    }
    if (!access_may_use(caller, (*ret_e)->row, error))
        return FALSE;
    if (all)
        return throw_error(error, FILEDUP_ERROR_REFUSED,
                           "it is protected: its newest content would be backed up again; 'filedup "
                           "remove' it first");
    return TRUE;
}

static void
begin_forget(Asking *a)
{
    Manager *m = a->methods->manager;
    g_autoptr(GError) error = NULL;
    const char *store = a->store;
    Entry *e;

    if (!may_forget(a->methods, a->caller, a->path, a->all, a->point, &e, &error)) {
        round_cancel(g_steal_pointer(&a->round));
        asking_refuse(a, error);
        return;
    }
    if (a->point && e)
        store = asking_first_store(e, store);
    if (e)
        round_add_entry(a->round, e, store, FALSE);
    for (GList *l = stores_list(manager_stores(m)); !e && l; l = l->next)
        if (store[0] ? g_str_equal(store, store_name(l->data)) : store_is_ready(l->data))
            round_add(a->round, a->path, store_name(l->data));
    asking_note_absent(a, e, store);
    if (a->point && e && e->targets->len > 1)
        g_string_append_printf(
            a->note,
            "%sonly store \"%s\" was asked: another store has another number for "
            "the same content, see 'filedup log --store-name'",
            a->note->len ? "; " : "", store);
    asking_start(a, "no store is available now");
}

static gboolean
on_forget(G_GNUC_UNUSED FiledupManager1 *skeleton, GDBusMethodInvocation *invocation,
          const gchar *path, GVariant *options, gpointer data)
{
    static const RoundFuncs funcs = {MESSAGE_DAEMON_FORGET, ask_forget, take_forgotten,
                                     return_forgotten};
    Methods *m = data;
    g_autoptr(GError) error = NULL;
    gboolean all = methods_option_is_set(options, "all");
    guint64 point = 0;
    const char *store;
    Entry *e;

    (void) g_variant_lookup(options, "point", "t", &point);
    if (!may_forget(m, control_caller(invocation), path, all, point, &e, &error) ||
        !methods_store_option(m, e, options, &store, NULL, &error) ||
        !asking_check(m, invocation, &error))
        return methods_refuse(invocation, error);
    if (point && !e && !store[0]) {
        throw_error(&error, FILEDUP_ERROR_REFUSED,
                    "it has no row: say which store's point, with --store");
        return methods_refuse(invocation, error);
    }
    Asking *a = asking_new(m, invocation, path, &funcs);
    a->all = all;
    a->point = point;
    a->store = g_strdup(store);
    asking_when_open(a, begin_forget);
    return TRUE;
}

/* ---- Approve ---- */

static GVariant *
ask_approve(guint64 job, const RoundPart *part, G_GNUC_UNUSED gpointer data)
{
    return g_variant_new("(t@ay)", job, path_to_variant(part->path));
}

static gboolean
take_approved(const RoundPart *part, Message *m, const GError *error, gpointer data)
{
    Asking *a = data;
    Entry *e = manager_find(a->methods->manager, part->path);
    Store *store = stores_find(manager_stores(a->methods->manager), part->store);
    Target *t = e && store ? entry_find_target(e, store) : NULL;

    if (!m) {
        asking_note_error(a, part, error);
        return TRUE;
    }
    a->answers++;
    if (t)
        target_approved(e, t);
    return TRUE;
}

static void
return_nothing(gpointer data)
{
    Asking *a = data;

    a->round = NULL;
    if (a->error)
        asking_refuse(a, a->error);
    else
        asking_return(a, NULL);
}

static void
begin_approve(Asking *a)
{
    Entry *e = asking_entry(a);

    if (!e)
        return;
    round_add_entry(a->round, e, "", FALSE);
    asking_note_absent(a, e, "");
    asking_start(a, "none of its stores is available now");
}

static gboolean
on_approve(G_GNUC_UNUSED FiledupManager1 *skeleton, GDBusMethodInvocation *invocation,
           const gchar *path, gpointer data)
{
    static const RoundFuncs funcs = {MESSAGE_DAEMON_APPROVE, ask_approve, take_approved,
                                     return_nothing};
    Methods *m = data;
    g_autoptr(GError) error = NULL;
    Entry *e = methods_find(m, invocation, path, &error);

    if (!e || !asking_check(m, invocation, &error))
        return methods_refuse(invocation, error);
    Asking *a = asking_new(m, invocation, path, &funcs);
    asking_when_open(a, begin_approve);
    return TRUE;
}

const MethodsHandler methods_prune[] = {
    {"handle-prune", G_CALLBACK(on_prune)},
    {"handle-forget", G_CALLBACK(on_forget)},
    {"handle-approve", G_CALLBACK(on_approve)},
    {NULL, NULL},
};
