/* table.c - the table's files
 *
 * table.conf in the state folder is ours and is replaced atomically; the settings file and
 * entries.d are the administrator's and are only read. Uuids that stores turned out to have are
 * remembered in table.conf for declared stores too: by them a store that is not there is told from
 * an empty mount point.
 */

#include "config.h"

#include <errno.h>
#include <fcntl.h>
#include <glib/gstdio.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/error.h"
#include "base/fd.h"
#include "base/path.h"
#include "daemon/table.h"

#define TABLE_NAME "table.conf"

static const char *const table_keys[] = {"version", "stores", "entries", NULL};
static const char *const drop_in_keys[] = {"entries", NULL};
static const char *const store_keys[] = {"name", "path", "uuid", "max-size", NULL};

static void
store_row_free(StoreRow *s)
{
    g_free(s->name);
    g_free(s->path);
    g_free(s->uuid);
    g_free(s);
}

Table *
table_new(void)
{
    Table *t = g_new0(Table, 1);

    t->rows = g_hash_table_new_full(g_str_hash, g_str_equal, NULL, (GDestroyNotify) row_free);
    t->stores = g_ptr_array_new_with_free_func((GDestroyNotify) store_row_free);
    return t;
}

void
table_free(Table *t)
{
    if (!t)
        return;
    g_hash_table_unref(t->rows);
    g_ptr_array_unref(t->stores);
    g_free(t);
}

Row *
table_find(const Table *t, const char *path)
{
    return g_hash_table_lookup(t->rows, path);
}

StoreRow *
table_find_store(const Table *t, const char *name)
{
    for (guint i = 0; i < t->stores->len; i++) {
        StoreRow *s = t->stores->pdata[i];
        if (g_str_equal(s->name, name))
            return s;
    }
    return NULL;
}

void
table_take(Table *t, Row *row)
{
    g_hash_table_replace(t->rows, row->path, row);
}

void
table_drop(Table *t, const char *path)
{
    g_hash_table_remove(t->rows, path);
}

StoreRow *
table_add_store(Table *t, const char *name, const char *path, const char *uuid)
{
    StoreRow *s = g_new0(StoreRow, 1);

    s->name = g_strdup(name);
    s->path = g_strdup(path);
    s->uuid = g_strdup(uuid);
    g_ptr_array_add(t->stores, s);
    return s;
}

gboolean
store_name_check(const char *name, GError **error)
{
    gsize n = strlen(name);

    if (n >= 1 && n <= 64 && strspn(name, G_CSET_A_2_Z G_CSET_a_2_z G_CSET_DIGITS "-_.") == n)
        return TRUE;
    return throw_error(error, FILEDUP_ERROR_REFUSED,
                       "store name \"%s\": use 1 to 64 letters, digits, \"-\", \"_\" or \".\"",
                       name);
}

static gboolean
read_stores(Table *t, const config_setting_t *root, gboolean declared, GError **error)
{
    config_setting_t *list = config_setting_get_member(root, "stores");
    int n = list ? config_setting_length(list) : 0;

    if (list && !config_setting_is_list(list))
        return settings_refuse(list, error, "'stores' must be a list in parentheses");
    for (int i = 0; i < n; i++) {
        config_setting_t *group = config_setting_get_elem(list, (unsigned) i);
        const char *name = NULL, *path = NULL, *uuid = "";
        guint64 max_size = 0;
        g_autoptr(GError) local = NULL;
        if (!config_setting_is_group(group))
            return settings_refuse(group, error, "a store must be a group in braces");
        if (!settings_check_keys(group, store_keys, error) ||
            !settings_get_string(group, "name", &name, error) ||
            !settings_get_string(group, "path", &path, error) ||
            !settings_get_string(group, "uuid", &uuid, error) ||
            !settings_get_size(group, "max-size", &max_size, error))
            return FALSE;
        if (!name || !path)
            return settings_refuse(group, error, "'%s' is missing; it is mandatory",
                                   name ? "path" : "name");
        if (!store_name_check(name, &local))
            return settings_refuse(group, error, "%s", local->message);
        if (!path_is_canonical(path))
            return settings_refuse(group, error,
                                   "store \"%s\": 'path' must be absolute, without "
                                   "\".\", \"..\" or doubled slashes",
                                   name);
        StoreRow *known = table_find_store(t, name);
        if (known && !(declared && !known->declared))
            return settings_refuse(group, error, "store \"%s\" is named twice", name);
        if (known) { /* our table remembers its uuid; the declaration says where it is */
            g_free(known->path);
            known->path = g_strdup(path);
            known->max_size_bytes = max_size;
            known->declared = TRUE;
            if (uuid[0]) {
                g_free(known->uuid);
                known->uuid = g_strdup(uuid);
            }
            continue;
        }
        StoreRow *s = table_add_store(t, name, path, uuid);
        s->declared = declared;
        s->max_size_bytes = max_size;
    }
    return TRUE;
}

static gboolean
read_entries(Table *t, const config_setting_t *root, uid_t principal, gboolean own, GError **error)
{
    config_setting_t *list = config_setting_get_member(root, "entries");
    int n = list ? config_setting_length(list) : 0;
    g_autoptr(GPtrArray) rows = g_ptr_array_new_with_free_func((GDestroyNotify) row_free);

    if (list && !config_setting_is_list(list))
        return settings_refuse(list, error, "'entries' must be a list in parentheses");
    for (int i = 0; i < n; i++) {
        config_setting_t *group = config_setting_get_elem(list, (unsigned) i);
        Row *row = row_from_setting(group, principal, own, error);
        if (!row)
            return FALSE;
        g_ptr_array_add(rows, row);
        const Row *first = table_find(t, row->path);
        for (guint k = 0; !first && k + 1 < rows->len; k++)
            if (g_str_equal(((Row *) rows->pdata[k])->path, row->path))
                first = rows->pdata[k];
        if (first) {
            g_autofree char *shown = path_escape(row->path);
            return settings_refuse(group, error, "%s has a row already, in %s", shown,
                                   first->source ? first->source : "the table");
        }
    }
    /* Only now: a file with one bad row changes nothing. */
    while (rows->len > 0)
        table_take(t, g_ptr_array_steal_index(rows, 0));
    return TRUE;
}

/* In system mode a drop-in makes rows of root: only root may write it. */
static gboolean
drop_in_is_trusted(const char *path, gboolean system, GError **error)
{
    struct stat st;

    if (stat(path, &st) < 0)
        return throw_errno(error, "%s", path);
    if (system && (st.st_uid != 0 || (st.st_mode & 022)))
        return throw_error(error, FILEDUP_ERROR_REFUSED,
                           "%s must be owned by root and writable by nobody else", path);
    return TRUE;
}

static gint
compare_strings(gconstpointer a, gconstpointer b)
{
    return strcmp(*(char *const *) a, *(char *const *) b);
}

static void
read_drop_ins(Table *t, const Settings *settings, uid_t principal, GStrvBuilder *warnings)
{
    g_autoptr(GDir) dir = g_dir_open(settings->entries_folder, 0, NULL);
    g_autoptr(GPtrArray) names = g_ptr_array_new_with_free_func(g_free);
    const char *name;

    while (dir && (name = g_dir_read_name(dir)))
        if (g_str_has_suffix(name, ".conf") && name[0] != '.')
            g_ptr_array_add(names, g_build_filename(settings->entries_folder, name, NULL));
    g_ptr_array_sort(names, compare_strings);
    for (guint i = 0; i < names->len; i++) {
        g_auto(config_t) config;
        g_autoptr(GError) error = NULL;
        if (settings_read_file(names->pdata[i], &config, &error) &&
            drop_in_is_trusted(names->pdata[i], settings->system, &error) &&
            settings_check_keys(config_root_setting(&config), drop_in_keys, &error))
            (void) read_entries(t, config_root_setting(&config), principal, FALSE, &error);
        if (error) {
            g_autofree char *text =
                g_strdup_printf("%s; the whole file is left out", error->message);
            g_strv_builder_add(warnings, text);
        }
    }
}

Table *
table_load(const Settings *settings, GStrv *ret_warnings, GError **error)
{
    g_autoptr(Table) t = table_new();
    g_autoptr(GStrvBuilder) warnings = g_strv_builder_new();
    g_autofree char *own_path = g_build_filename(settings->state_folder, TABLE_NAME, NULL);
    uid_t principal = settings->system ? 0 : getuid();
    g_auto(config_t) own, config;
    g_autoptr(GError) local = NULL;

    config_init(&config);
    if (settings_read_file(own_path, &own, &local)) {
        const config_setting_t *root = config_root_setting(&own);
        if (!settings_check_keys(root, table_keys, error) || !read_stores(t, root, FALSE, error) ||
            !read_entries(t, root, principal, TRUE, error))
            return NULL;
    } else if (!g_error_matches(local, FILEDUP_ERROR, FILEDUP_ERROR_NO_ENTRY)) {
        g_propagate_error(error, g_steal_pointer(&local));
        return NULL;
    }
    g_clear_error(&local);

    config_destroy(&config);
    if (settings_read_file(settings->config_path, &config, &local)) {
        const config_setting_t *root = config_root_setting(&config);
        if (!read_stores(t, root, TRUE, error) || !read_entries(t, root, principal, FALSE, error))
            return NULL;
    } else if (!g_error_matches(local, FILEDUP_ERROR, FILEDUP_ERROR_NO_ENTRY)) {
        g_propagate_error(error, g_steal_pointer(&local));
        return NULL;
    }

    read_drop_ins(t, settings, principal, warnings);
    if (!table_find_store(t, DEFAULT_STORE_NAME))
        table_add_store(t, DEFAULT_STORE_NAME, settings->default_store, "");
    *ret_warnings = g_strv_builder_end(warnings);
    return g_steal_pointer(&t);
}

static void
write_stores(const Table *t, config_setting_t *list)
{
    for (guint i = 0; i < t->stores->len; i++) {
        const StoreRow *s = t->stores->pdata[i];
        const struct {
            const char *key, *value;
        } members[] = {{"name", s->name}, {"path", s->path}, {"uuid", s->uuid}};
        if (s->declared && !s->uuid[0])
            continue;
        config_setting_t *group = config_setting_add(list, NULL, CONFIG_TYPE_GROUP);
        for (gsize k = 0; k < G_N_ELEMENTS(members); k++)
            config_setting_set_string(config_setting_add(group, members[k].key, CONFIG_TYPE_STRING),
                                      members[k].value);
        if (s->max_size_bytes && !s->declared) {
            g_autofree char *size = size_format(s->max_size_bytes);
            config_setting_set_string(config_setting_add(group, "max-size", CONFIG_TYPE_STRING),
                                      size);
        }
    }
}

gboolean
table_save(const Table *t, const Settings *settings, GError **error)
{
    g_autofree char *path = g_build_filename(settings->state_folder, TABLE_NAME, NULL);
    g_autofree char *temporary = g_strconcat(path, ".new", NULL);
    g_auto(config_t) config;
    g_autoptr(GList) paths = g_list_sort(g_hash_table_get_keys(t->rows), (GCompareFunc) g_strcmp0);

    config_init(&config);
    config_setting_t *root = config_root_setting(&config);
    config_setting_set_int(config_setting_add(root, "version", CONFIG_TYPE_INT), 1);
    write_stores(t, config_setting_add(root, "stores", CONFIG_TYPE_LIST));
    config_setting_t *list = config_setting_add(root, "entries", CONFIG_TYPE_LIST);
    for (GList *l = paths; l; l = l->next) {
        const Row *row = table_find(t, l->data);
        if (!row->declared)
            row_to_setting(row, list);
    }

    FILE *f = fopen(temporary, "we");
    if (!f)
        return throw_errno(error, "creating %s", temporary);
    config_write(&config, f);
    gboolean written =
        fflush(f) == 0 && !ferror(f) && fchmod(fileno(f), 0600) == 0 && fsync(fileno(f)) == 0;
    int errnum = errno;
    written = fclose(f) == 0 && written;
    if (!written) {
        errno = errnum;
        throw_errno(error, "writing %s", temporary);
        (void) g_unlink(temporary);
        return FALSE;
    }
    if (rename(temporary, path) < 0)
        return throw_errno(error, "renaming %s", temporary);
    return fd_sync_folder(AT_FDCWD, settings->state_folder, error);
}
