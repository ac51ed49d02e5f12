#pragma once

/* Manager: the management table as it runs: rows, stores, and the changes that users make to them. */

#include <glib.h>

#include "daemon/schedule.h"
#include "daemon/settings.h"
#include "daemon/table.h"

G_BEGIN_DECLS

typedef struct Manager Manager;

typedef struct ManagerEvents {
    void (*durable)(Entry *e, Store *store, guint64 sequence, gint64 stamp_usec, gpointer data);
    void (*settled)(gpointer data); /* an entry or a store changed its state */
} ManagerEvents;

/* Loads the table and applies it. `compare_all`: the last stop was not clean, compare contents. */
Manager *manager_new(const Settings *settings, gboolean compare_all, const ManagerEvents *events,
                     gpointer data, GError **error);
void     manager_free(Manager *m);

/* SIGHUP: reads the files again and reconciles; on an error everything stays as it was. */
gboolean manager_reload(Manager *m, GError **error);

/* An orderly stop: no new work, keepers finish theirs. */
void     manager_stop(Manager *m);
gboolean manager_is_stopped(Manager *m);

const Settings *manager_settings(Manager *m);
Schedule       *manager_schedule(Manager *m);
Stores         *manager_stores(Manager *m);
const Table    *manager_table(Manager *m);
Entry          *manager_find(Manager *m, const char *path);
GList          *manager_entries(Manager *m); /* by path; free the list */
void            manager_mounts_changed(Manager *m);
gboolean        manager_is_comparing(Manager *m); /* some file's content is still to be compared */

/* Changes of the table: checked, saved, applied. On an error the table is as it was. The row is
 * taken in any case. `device` of its folder, 0 if not known. */
gboolean manager_add(Manager *m, Row *row, guint64 device, GError **error);
gboolean manager_replace(Manager *m, Row *row, GError **error);
gboolean manager_remove(Manager *m, const char *path, GError **error);

/* A store is tried out first: `func` hears whether it opened; then it is in the table. */
typedef void (*ManagerStoreFunc)(const char *note, const GError *error, gpointer data);
void     manager_add_store(Manager *m, const char *name, const char *path, ManagerStoreFunc func,
                           gpointer data);
gboolean manager_remove_store(Manager *m, const char *name, GError **error);
/* How much the store may take in all, 0: no limit. */
gboolean manager_limit_store(Manager *m, const char *name, guint64 bytes, GError **error);
guint    manager_count_rows(Manager *m, const Store *store);

G_END_DECLS
