/* manager.c - the table and what runs, kept equal (H1-H3)
 *
 * Every change goes the same way: check, write the new table durably, then touch just the rows that
 * differ. A change that cannot be written is not made.
 */

#include "config.h"

#include <string.h>

#include "base/error.h"
#include "base/path.h"
#include "daemon/manager.h"
#include "daemon/target.h"
#include "daemon/transfer.h"

typedef struct Trial {
    Manager *manager;
    char *name;
    Store *store;
    ManagerStoreFunc func;
    gpointer data;
    gboolean over;
} Trial;

struct Manager {
    const Settings *settings;
    Table *table;
    Stores *stores;
    Schedule *schedule;
    GHashTable *entries; /* path -> Entry */
    GList *trials;       /* stores that are being added */
    ManagerEvents events;
    gpointer data;
    guint save_source;
    gboolean stopping;
};

/* ---- stores ---- */

static gboolean
on_save(gpointer data)
{
    Manager *m = data;
    g_autoptr(GError) error = NULL;

    m->save_source = 0;
    if (!table_save(m->table, m->settings, &error))
        g_warning("the table could not be written: %s", error->message);
    return G_SOURCE_REMOVE;
}

/* The store that has moved here: an absent one of the table with the same uuid. */
static StoreRow *
find_moved(Manager *m, const char *uuid)
{
    for (guint i = 0; i < m->table->stores->len; i++) {
        StoreRow *row = m->table->stores->pdata[i];
        Store *store = stores_find(m->stores, row->name);
        if (g_str_equal(row->uuid, uuid) && !(store && store_is_ready(store)))
            return row;
    }
    return NULL;
}

static void
trial_free(Trial *trial)
{
    g_free(trial->name);
    g_free(trial);
}

static void
end_trial(Trial *trial, const char *note, const GError *error)
{
    Manager *m = trial->manager;

    m->trials = g_list_remove(m->trials, trial);
    trial->func(note, error, trial->data);
    trial_free(trial);
}

static void bind_targets(Manager *m, Entry *e);

/* Their stores have changed: all rows', or just of those that lack one. */
static void
rebind(Manager *m, gboolean only_unbound)
{
    GHashTableIter iter;
    gpointer value;

    g_hash_table_iter_init(&iter, m->entries);
    while (g_hash_table_iter_next(&iter, NULL, &value)) {
        Entry *e = value;
        if (only_unbound && !e->unbound)
            continue;
        schedule_stop(m->schedule, e);
        bind_targets(m, e);
        schedule_start(m->schedule, e);
    }
    m->events.settled(m->data);
}

static gboolean
on_trial_over(gpointer data)
{
    Trial *trial = data;
    Manager *m = trial->manager;
    Store *store = trial->store;
    g_autoptr(GError) error = NULL;

    if (!store_is_ready(store)) {
        throw_error(&error,
                    store_state(store) == STORE_BUSY ? FILEDUP_ERROR_BUSY : FILEDUP_ERROR_REFUSED,
                    "%s", store_note(store));
        stores_remove(m->stores, store);
        end_trial(trial, "", error);
        return G_SOURCE_REMOVE;
    }
    StoreRow *moved = find_moved(m, store_uuid(store));
    if (moved) { /* the row keeps its name, and gets the new place */
        g_autofree char *path = g_strdup(store_path(store));
        g_autofree char *note = g_strdup_printf("this is store \"%s\", which was at %s; its place "
                                                "in the table is changed",
                                                moved->name, moved->path);
        Store *old = stores_find(m->stores, moved->name);
        stores_remove(m->stores, store);
        g_free(moved->path);
        moved->path = g_steal_pointer(&path);
        if (table_save(m->table, m->settings, &error) && old) {
            transfer_forget_store(old);
            GHashTableIter iter;
            gpointer value;
            g_hash_table_iter_init(&iter, m->entries);
            while (g_hash_table_iter_next(&iter, NULL, &value))
                schedule_stop(m->schedule, value);
            stores_remove(m->stores, old);
            rebind(m, FALSE);
        }
        end_trial(trial, note, error);
        return G_SOURCE_REMOVE;
    }
    table_add_store(m->table, store_name(store), store_path(store), store_uuid(store));
    if (!table_save(m->table, m->settings, &error)) {
        g_ptr_array_remove_index(m->table->stores, m->table->stores->len - 1);
        stores_remove(m->stores, store);
    } else {
        rebind(m, TRUE);
    }
    end_trial(trial, "", error);
    return G_SOURCE_REMOVE;
}

static void
on_store(Store *store, gpointer data)
{
    Manager *m = data;
    GHashTableIter iter;
    gpointer value;

    for (GList *l = m->trials; l; l = l->next) {
        Trial *trial = l->data;
        if (trial->over || store_state(store) == STORE_OPENING)
            continue;
        if (g_str_equal(trial->name, store_name(store))) {
            trial->store = store;
            trial->over = TRUE;
            g_idle_add(on_trial_over, trial); /* not inside the store's own callback */
            return;
        }
    }
    StoreRow *row = table_find_store(m->table, store_name(store));
    if (row && store_is_ready(store) && !g_str_equal(row->uuid, store_uuid(store))) {
        g_free(row->uuid);
        row->uuid = g_strdup(store_uuid(store));
        if (!m->save_source)
            m->save_source = g_idle_add(on_save, m);
    }
    g_hash_table_iter_init(&iter, m->entries);
    while (g_hash_table_iter_next(&iter, NULL, &value))
        schedule_store_changed(m->schedule, value, store);
    m->events.settled(m->data);
}

/* The running store of that name, started if it does not run yet. */
static Store *
need_store(Manager *m, const char *name)
{
    Store *store = stores_find(m->stores, name);
    StoreRow *row = table_find_store(m->table, name);

    if (store || !row)
        return store;
    /* Only the default store makes itself: an empty folder of another one may be a mount point. */
    gboolean create = !row->uuid[0] && !row->declared && g_str_equal(name, DEFAULT_STORE_NAME);
    store = stores_add(m->stores, row->name, row->path, row->uuid, create);
    store_set_limit(store, row->max_size_bytes);
    return store;
}

static void
bind_targets(Manager *m, Entry *e)
{
    static const char *const only_default[] = {DEFAULT_STORE_NAME, NULL};
    const char *const *names = e->row->to ? (const char *const *) e->row->to : only_default;

    g_ptr_array_set_size(e->targets, 0);
    g_clear_pointer(&e->unbound, g_free);
    for (; *names; names++) {
        Store *store = need_store(m, *names);
        if (!store) {
            g_free(e->unbound);
            e->unbound = g_strdup_printf(
                "store \"%s\" does not exist: filedup store add DIR --name %s", *names, *names);
            g_warning("entry '%s': %s", e->row->path, e->unbound);
            continue;
        }
        Target *t = g_new0(Target, 1);
        t->store = store;
        g_ptr_array_add(e->targets, t);
    }
}

/* ---- reconciliation ---- */

static void
start_entry(Manager *m, Row *row, guint64 device)
{
    Entry *e = entry_new(row_copy(row));

    e->device = device;
    g_hash_table_insert(m->entries, e->row->path, e);
    bind_targets(m, e);
    schedule_start(m->schedule, e);
}

static void
end_entry(Manager *m, Entry *e)
{
    schedule_stop(m->schedule, e);
    g_hash_table_steal(m->entries, e->row->path);
    entry_free(e);
}

/* Fields that change without touching the watch or the targets. */
static gboolean
differs_lightly(const Row *a, const Row *b)
{
    g_autoptr(Row) same = row_copy(a);

    same->retries = b->retries;
    same->timeout_sec = b->timeout_sec;
    g_free(same->keep);
    same->keep = g_strdup(b->keep);
    same->keep_last = b->keep_last;
    same->max_lag_sec = b->max_lag_sec;
    return row_equal(same, b);
}

static void
reconcile(Manager *m)
{
    g_autoptr(GList) entries = g_hash_table_get_values(m->entries);
    g_autoptr(GList) rows = g_hash_table_get_values(m->table->rows);

    for (GList *l = entries; l; l = l->next) {
        Entry *e = l->data;
        Row *row = table_find(m->table, e->row->path);
        if (!row || !differs_lightly(e->row, row)) {
            end_entry(m, e);
            continue;
        }
        gboolean policy =
            !g_str_equal(e->row->keep, row->keep) || e->row->keep_last != row->keep_last;
        Row *copy = row_copy(row);
        g_hash_table_steal(m->entries, e->row->path);
        row_free(e->row);
        e->row = copy;
        g_hash_table_insert(m->entries, e->row->path, e);
        if (policy)
            targets_tell_policy(e);
    }
    for (GList *l = rows; l; l = l->next) {
        Row *row = l->data;
        if (!manager_find(m, row->path))
            start_entry(m, row, 0);
    }
    m->events.settled(m->data); /* who waits for a row that is gone hears of it */
}

/* Every store that has been made, or that somebody declared, is opened, used by a row or not. */
static void
start_stores(Manager *m)
{
    for (guint i = 0; i < m->table->stores->len; i++) {
        const StoreRow *row = m->table->stores->pdata[i];
        Store *store = row->uuid[0] || row->declared ? need_store(m, row->name)
                                                     : stores_find(m->stores, row->name);
        if (store)
            store_set_limit(store, row->max_size_bytes);
    }
}

gboolean
manager_reload(Manager *m, GError **error)
{
    g_auto(GStrv) warnings = NULL;
    Table *table = table_load(m->settings, &warnings, error);

    if (!table)
        return FALSE;
    for (char **w = warnings; *w; w++)
        g_warning("%s", *w);
    table_free(m->table);
    m->table = table;
    start_stores(m);
    reconcile(m);
    return TRUE;
}

static void
on_durable(Entry *e, Store *store, guint64 sequence, gint64 stamp_usec, gpointer data)
{
    Manager *m = data;

    m->events.durable(e, store, sequence, stamp_usec, m->data);
}

static void
on_settled(G_GNUC_UNUSED Entry *e, gpointer data)
{
    Manager *m = data;

    m->events.settled(m->data);
}

Manager *
manager_new(const Settings *settings, gboolean compare_all, const ManagerEvents *events,
            gpointer data, GError **error)
{
    Manager *m = g_new0(Manager, 1);
    static const ScheduleEvents schedule_events = {.durable = on_durable, .settled = on_settled};

    m->settings = settings;
    m->events = *events;
    m->data = data;
    m->table = table_new();
    m->entries = g_hash_table_new(g_str_hash, g_str_equal);
    m->stores = stores_new(settings->system, on_store, m);
    m->schedule = schedule_new(settings->system, settings->copiers_per_device, compare_all,
                               &schedule_events, m);
    if (!manager_reload(m, error)) {
        manager_free(m);
        return NULL;
    }
    return m;
}

void
manager_stop(Manager *m)
{
    g_autoptr(GList) entries = g_hash_table_get_values(m->entries);

    m->stopping = TRUE;
    for (GList *l = entries; l; l = l->next)
        end_entry(m, l->data);
    stores_stop(m->stores);
    m->events.settled(m->data);
}

gboolean
manager_is_stopped(Manager *m)
{
    return stores_are_stopped(m->stores);
}

void
manager_free(Manager *m)
{
    if (!m)
        return;
    g_autoptr(GList) entries = g_hash_table_get_values(m->entries);
    for (GList *l = entries; l; l = l->next)
        end_entry(m, l->data);
    g_clear_handle_id(&m->save_source, g_source_remove);
    for (GList *l = m->trials; l; l = l->next)
        g_source_remove_by_user_data(l->data);
    g_list_free_full(m->trials, (GDestroyNotify) trial_free);
    schedule_free(m->schedule);
    stores_free(m->stores);
    g_hash_table_unref(m->entries);
    table_free(m->table);
    g_free(m);
}

/* ---- changes by users ---- */

static gboolean
check_place(Manager *m, const Row *row, GError **error)
{
    for (guint i = 0; i < m->table->stores->len; i++) {
        const StoreRow *store = m->table->stores->pdata[i];
        if (path_is_beneath(row->path, store->path))
            return throw_error(error, FILEDUP_ERROR_REFUSED,
                               "it lies in store \"%s\" (%s): a store is not backed up to itself",
                               store->name, store->path);
    }
    for (char **name = row->to; name && *name; name++)
        if (!table_find_store(m->table, *name))
            return throw_error(error, FILEDUP_ERROR_REFUSED,
                               "store \"%s\" does not exist: see 'filedup store list', or make it "
                               "with 'filedup store add DIR --name %s'",
                               *name, *name);
    return TRUE;
}

gboolean
manager_add(Manager *m, Row *row_taken, guint64 device, GError **error)
{
    g_autoptr(Row) row = row_taken;
    const Row *old = table_find(m->table, row->path);

    if (m->stopping)
        return throw_error(error, FILEDUP_ERROR_AGAIN, "the daemon stops");
    if (old)
        return throw_error(error, FILEDUP_ERROR_REFUSED,
                           "it is protected already (row of %s); change it with 'filedup set', or "
                           "remove it first",
                           old->source ? old->source : "the table");
    if (!check_place(m, row, error))
        return FALSE;
    table_take(m->table, row_copy(row));
    if (!table_save(m->table, m->settings, error)) {
        table_drop(m->table, row->path);
        return FALSE;
    }
    start_entry(m, row, device);
    return TRUE;
}

static const Row *
find_own(Manager *m, const char *path, GError **error)
{
    const Row *row = table_find(m->table, path);

    if (m->stopping)
        throw_error(error, FILEDUP_ERROR_AGAIN, "the daemon stops");
    else if (!row)
        throw_error(error, FILEDUP_ERROR_NO_ENTRY, "no such entry");
    else if (row->declared)
        throw_error(error, FILEDUP_ERROR_REFUSED,
                    "its row is declared in %s: change it there, then reload the daemon",
                    row->source);
    else
        return row;
    return NULL;
}

gboolean
manager_replace(Manager *m, Row *row_taken, GError **error)
{
    g_autoptr(Row) row = row_taken;
    const Row *old = find_own(m, row->path, error);

    if (!old || !check_place(m, row, error))
        return FALSE;
    Row *before = row_copy(old);
    table_take(m->table, row_copy(row));
    if (!table_save(m->table, m->settings, error)) {
        table_take(m->table, before);
        return FALSE;
    }
    row_free(before);
    reconcile(m);
    return TRUE;
}

gboolean
manager_remove(Manager *m, const char *path, GError **error)
{
    const Row *old = find_own(m, path, error);

    if (!old)
        return FALSE;
    Row *before = row_copy(old);
    table_drop(m->table, path);
    if (!table_save(m->table, m->settings, error)) {
        table_take(m->table, before);
        return FALSE;
    }
    row_free(before);
    reconcile(m);
    return TRUE;
}

void
manager_add_store(Manager *m, const char *name, const char *path, ManagerStoreFunc func,
                  gpointer data)
{
    g_autoptr(GError) error = NULL;
    const StoreRow *same = NULL;

    for (guint i = 0; i < m->table->stores->len; i++) {
        const StoreRow *row = m->table->stores->pdata[i];
        if (g_str_equal(row->path, path) && !g_str_equal(row->name, DEFAULT_STORE_NAME))
            same = row;
    }
    if (m->stopping)
        throw_error(&error, FILEDUP_ERROR_AGAIN, "the daemon stops");
    else if (!store_name_check(name, &error))
        ;
    else if (!path_is_canonical(path))
        throw_error(&error, FILEDUP_ERROR_REFUSED, "the folder's path must be absolute and plain");
    else if (table_find_store(m->table, name) || stores_find(m->stores, name))
        throw_error(&error, FILEDUP_ERROR_REFUSED,
                    "a store \"%s\" exists already; choose another "
                    "--name",
                    name);
    else if (same)
        throw_error(&error, FILEDUP_ERROR_REFUSED, "it is store \"%s\" already", same->name);
    if (error) {
        func("", error, data);
        return;
    }
    Trial *trial = g_new0(Trial, 1);
    trial->manager = m;
    trial->name = g_strdup(name);
    trial->func = func;
    trial->data = data;
    m->trials = g_list_prepend(m->trials, trial);
    trial->store = stores_add(m->stores, name, path, "", TRUE);
}

guint
manager_count_rows(Manager *m, const Store *store)
{
    GHashTableIter iter;
    gpointer value;
    guint n = 0;

    g_hash_table_iter_init(&iter, m->entries);
    while (g_hash_table_iter_next(&iter, NULL, &value))
        n += entry_find_target(value, store) != NULL;
    return n;
}

gboolean
manager_remove_store(Manager *m, const char *name, GError **error)
{
    StoreRow *row = table_find_store(m->table, name);
    Store *store = stores_find(m->stores, name);

    if (!row)
        return throw_error(error, FILEDUP_ERROR_NO_ENTRY, "there is no store \"%s\"", name);
    if (row->declared)
        return throw_error(error, FILEDUP_ERROR_REFUSED,
                           "store \"%s\" is declared in the settings: remove it there", name);
    if (g_str_equal(name, DEFAULT_STORE_NAME))
        return throw_error(error, FILEDUP_ERROR_REFUSED,
                           "the default store is always in the table; it is made when a row needs "
                           "it");
    if (store && manager_count_rows(m, store) > 0)
        return throw_error(error, FILEDUP_ERROR_REFUSED,
                           "%u rows use store \"%s\": 'filedup set FILE --to OTHER' first",
                           manager_count_rows(m, store), name);
    guint index;
    g_assert(g_ptr_array_find(m->table->stores, row, &index));
    g_autofree StoreRow *kept = g_ptr_array_steal_index(m->table->stores, index);
    if (!table_save(m->table, m->settings, error)) {
        g_ptr_array_insert(m->table->stores, (gint) index, g_steal_pointer(&kept));
        return FALSE;
    }
    g_free(kept->name);
    g_free(kept->path);
    g_free(kept->uuid);
    if (store) {
        transfer_forget_store(store);
        stores_remove(m->stores, store);
    }
    return TRUE;
}

gboolean
manager_limit_store(Manager *m, const char *name, guint64 bytes, GError **error)
{
    StoreRow *row = table_find_store(m->table, name);
    Store *store = stores_find(m->stores, name);

    if (!row)
        return throw_error(error, FILEDUP_ERROR_NO_ENTRY, "there is no store \"%s\"", name);
    if (row->declared)
        return throw_error(error, FILEDUP_ERROR_REFUSED,
                           "store \"%s\" is declared in the settings: change it there, then reload "
                           "the daemon",
                           name);
    guint64 before = row->max_size_bytes;
    row->max_size_bytes = bytes;
    if (!table_save(m->table, m->settings, error)) {
        row->max_size_bytes = before;
        return FALSE;
    }
    if (store)
        store_set_limit(store, bytes);
    return TRUE;
}

/* ---- queries ---- */

const Settings *
manager_settings(Manager *m)
{
    return m->settings;
}

Schedule *
manager_schedule(Manager *m)
{
    return m->schedule;
}

Stores *
manager_stores(Manager *m)
{
    return m->stores;
}

const Table *
manager_table(Manager *m)
{
    return m->table;
}

Entry *
manager_find(Manager *m, const char *path)
{
    return g_hash_table_lookup(m->entries, path);
}

static gint
compare_entries(gconstpointer a, gconstpointer b)
{
    return strcmp(((const Entry *) a)->row->path, ((const Entry *) b)->row->path);
}

GList *
manager_entries(Manager *m)
{
    return g_list_sort(g_hash_table_get_values(m->entries), compare_entries);
}

gboolean
manager_is_comparing(Manager *m)
{
    GHashTableIter iter;
    gpointer value;

    g_hash_table_iter_init(&iter, m->entries);
    while (g_hash_table_iter_next(&iter, NULL, &value)) {
        const Entry *e = value;
        for (guint i = 0; i < e->targets->len && !e->row->suspended; i++) {
            const Target *t = e->targets->pdata[i];
            if (t->compare) /* also of a store that is not there: it is compared when it is back */
                return TRUE;
        }
    }
    return FALSE;
}

void
manager_mounts_changed(Manager *m)
{
    stores_retry_absent(m->stores);
}
