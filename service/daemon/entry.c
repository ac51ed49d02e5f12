/* entry.c - rows: reading, checking, writing, comparing them; and the state beside a row */

#include "config.h"

#include <stdlib.h>
#include <string.h>

#include "base/error.h"
#include "base/path.h"
#include "daemon/entry.h"
#include "daemon/settings.h"
#include "daemon/stores.h"

static const char *const backup_names[BACKUP_COUNT] = {"on-close", "per-write"};
static const char *const recover_names[RECOVER_COUNT] = {"auto", "manual", "notify"};
static const char *const row_keys[] = {"path", "backup",    "recover", "to",  "retries", "timeout",
                                       "keep", "keep-last", "max-lag", "uid", "state",   NULL};

void
row_free(Row *row)
{
    if (!row)
        return;
    g_free(row->path);
    g_strfreev(row->to);
    g_free(row->keep);
    g_free(row->source);
    g_free(row);
}

Row *
row_copy(const Row *row)
{
    Row *copy = g_memdup2(row, sizeof *row);

    copy->path = g_strdup(row->path);
    copy->to = g_strdupv(row->to);
    copy->keep = g_strdup(row->keep);
    copy->source = g_strdup(row->source);
    return copy;
}

static gboolean
names_equal(char **a, char **b)
{
    return a && b ? g_strv_equal((const char *const *) a, (const char *const *) b) : a == b;
}

gboolean
row_equal(const Row *a, const Row *b)
{
    return g_str_equal(a->path, b->path) && a->backup == b->backup && a->recover == b->recover &&
           a->principal == b->principal && names_equal(a->to, b->to) && a->retries == b->retries &&
           a->timeout_sec == b->timeout_sec && g_str_equal(a->keep, b->keep) &&
           a->keep_last == b->keep_last && a->max_lag_sec == b->max_lag_sec &&
           a->suspended == b->suspended;
}

guint
row_max_lag_sec(const Row *row)
{
    return row->max_lag_sec ? row->max_lag_sec : row->backup == BACKUP_PER_WRITE ? 1 : 60;
}

const char *
backup_mode_name(BackupMode mode)
{
    return backup_names[mode];
}

const char *
recover_mode_name(RecoverMode mode)
{
    return recover_names[mode];
}

gboolean
backup_mode_parse(const char *text, BackupMode *ret_mode, GError **error)
{
    for (int i = 0; i < BACKUP_COUNT; i++)
        if (g_str_equal(text, backup_names[i])) {
            *ret_mode = (BackupMode) i;
            return TRUE;
        }
    return throw_error(error, FILEDUP_ERROR_REFUSED,
                       "backup mode \"%s\" is not known; use \"on-close\" or \"per-write\"", text);
}

gboolean
recover_mode_parse(const char *text, RecoverMode *ret_mode, GError **error)
{
    for (int i = 0; i < RECOVER_COUNT; i++)
        if (g_str_equal(text, recover_names[i])) {
            *ret_mode = (RecoverMode) i;
            return TRUE;
        }
    return throw_error(error, FILEDUP_ERROR_REFUSED,
                       "recovery mode \"%s\" is not known; use \"auto\", \"manual\" or \"notify\"",
                       text);
}

gboolean
keep_check(const char *keep, GError **error)
{
    static const char units[] = "hdwm";
    g_auto(GStrv) parts = g_strsplit(keep, " ", -1);
    const char *unit = units;

    for (char **part = parts; *part; part++) {
        char *end;
        guint64 n = g_ascii_strtoull(*part, &end, 10);
        const char *found = *end ? strchr(unit, *end) : NULL;
        if (end == *part || !g_ascii_isdigit(**part) || n < 1 || n > 9999 || !found || end[1])
            return throw_error(error, FILEDUP_ERROR_REFUSED,
                               "keep \"%s\" is not understood; write, for example, \"%s\" (hours, "
                               "days, weeks, months, in this order)",
                               keep, ENTRY_KEEP_DEFAULT);
        unit = found + 1;
    }
    return TRUE;
}

static gboolean
read_stores(const config_setting_t *group, char ***ret_names, GError **error)
{
    config_setting_t *list = config_setting_get_member(group, "to");
    g_autoptr(GStrvBuilder) names = g_strv_builder_new();

    if (!list)
        return TRUE;
    int n = config_setting_is_aggregate(list) ? config_setting_length(list) : -1;
    if (n < 1 || n > ENTRY_STORES_MAX)
        return settings_refuse(list, error, "'to' must be a list of 1 to %d store names",
                               ENTRY_STORES_MAX);
    for (int i = 0; i < n; i++) {
        const char *name = config_setting_get_string_elem(list, i);
        if (!name)
            return settings_refuse(list, error, "'to' must hold store names in double quotes");
        for (int k = 0; k < i; k++)
            if (g_str_equal(name, config_setting_get_string_elem(list, k)))
                return settings_refuse(list, error, "store \"%s\" is named twice in 'to'", name);
        g_strv_builder_add(names, name);
    }
    *ret_names = g_strv_builder_end(names);
    return TRUE;
}

static gboolean
read_modes(const config_setting_t *group, Row *row, GError **error)
{
    const char *backup = NULL, *recover = NULL, *state = NULL;
    g_autoptr(GError) local = NULL;

    if (!settings_get_string(group, "backup", &backup, error) ||
        !settings_get_string(group, "recover", &recover, error) ||
        !settings_get_string(group, "state", &state, error))
        return FALSE;
    if (!backup || !recover)
        return settings_refuse(group, error, "'%s' is missing; it is mandatory",
                               backup ? "recover" : "backup");
    if (!backup_mode_parse(backup, &row->backup, &local) ||
        !recover_mode_parse(recover, &row->recover, &local))
        return settings_refuse(group, error, "%s", local->message);
    if (state && !g_str_equal(state, "suspended") && !g_str_equal(state, "active"))
        return settings_refuse(group, error, "'state' is \"%s\"; it is \"active\" or \"suspended\"",
                               state);
    row->suspended = state && g_str_equal(state, "suspended");
    return TRUE;
}

Row *
row_from_setting(const config_setting_t *group, uid_t principal, gboolean own, GError **error)
{
    g_autoptr(Row) row = g_new0(Row, 1);
    const char *path = NULL, *keep = ENTRY_KEEP_DEFAULT;
    guint uid = principal;
    g_autoptr(GError) local = NULL;

    row->retries = ENTRY_RETRIES_DEFAULT;
    row->timeout_sec = ENTRY_TIMEOUT_DEFAULT;
    row->declared = !own;
    row->source = g_strdup(config_setting_source_file(group));
    if (!config_setting_is_group(group)) {
        settings_refuse(group, error, "an entry must be a group in braces");
        return NULL;
    }
    if (!settings_check_keys(group, row_keys, error) ||
        !settings_get_string(group, "path", &path, error) ||
        !settings_get_string(group, "keep", &keep, error) || !read_modes(group, row, error) ||
        !settings_get_number(group, "retries", 0, ENTRY_RETRIES_MAX, &row->retries, error) ||
        !settings_get_number(group, "timeout", 1, ENTRY_TIMEOUT_MAX, &row->timeout_sec, error) ||
        !settings_get_number(group, "keep-last", 0, ENTRY_KEEP_LAST_MAX, &row->keep_last, error) ||
        !settings_get_number(group, "max-lag", 1, ENTRY_MAX_LAG_MAX, &row->max_lag_sec, error) ||
        !settings_get_number(group, "uid", 0, G_MAXINT, &uid, error) ||
        !read_stores(group, &row->to, error))
        return NULL;
    if (!path || !path_is_canonical(path) || g_str_equal(path, "/")) {
        settings_refuse(group, error,
                        "'path' must be the absolute path of a file, without \".\", "
                        "\"..\" or doubled slashes");
        return NULL;
    }
    if (!own && uid != principal) {
        settings_refuse(group, error, "'uid' has no place here: rows of this file belong to uid %u",
                        principal);
        return NULL;
    }
    if (!keep_check(keep, &local)) {
        settings_refuse(group, error, "%s", local->message);
        return NULL;
    }
    row->principal = uid;
    row->path = g_strdup(path);
    row->keep = g_strdup(keep);
    return g_steal_pointer(&row);
}

static void
set_string(config_setting_t *group, const char *key, const char *value)
{
    config_setting_set_string(config_setting_add(group, key, CONFIG_TYPE_STRING), value);
}

static void
set_number(config_setting_t *group, const char *key, guint value)
{
    config_setting_set_int(config_setting_add(group, key, CONFIG_TYPE_INT), (int) value);
}

void
row_to_setting(const Row *row, config_setting_t *list)
{
    config_setting_t *group = config_setting_add(list, NULL, CONFIG_TYPE_GROUP);

    set_string(group, "path", row->path);
    set_string(group, "backup", backup_names[row->backup]);
    set_string(group, "recover", recover_names[row->recover]);
    set_number(group, "uid", row->principal);
    if (row->to) {
        config_setting_t *to = config_setting_add(group, "to", CONFIG_TYPE_ARRAY);
        for (char **name = row->to; *name; name++)
            config_setting_set_string_elem(to, -1, *name);
    }
    set_number(group, "retries", row->retries);
    set_number(group, "timeout", row->timeout_sec);
    set_string(group, "keep", row->keep);
    if (row->keep_last)
        set_number(group, "keep-last", row->keep_last);
    if (row->max_lag_sec)
        set_number(group, "max-lag", row->max_lag_sec);
    if (row->suspended)
        set_string(group, "state", "suspended");
}

void
target_free(Target *t)
{
    if (!t)
        return;
    g_free(t->error);
    g_free(t->mirror);
    g_clear_pointer(&t->attributes, g_bytes_unref);
    g_free(t);
}

Entry *
entry_new(Row *row)
{
    static guint64 last_id;
    Entry *e = g_new0(Entry, 1);

    e->row = row;
    e->id = ++last_id;
    e->generation = 1;
    path_split(row->path, &e->folder, &e->name);
    e->targets = g_ptr_array_new_with_free_func((GDestroyNotify) target_free);
    g_queue_init(&e->requests);
    return e;
}

void
entry_free(Entry *e)
{
    if (!e)
        return;
    g_assert(!e->transfer && !e->recovery && g_queue_is_empty(&e->requests));
    g_clear_handle_id(&e->timer, g_source_remove);
    g_ptr_array_unref(e->targets);
    row_free(e->row);
    g_free(e->folder);
    g_free(e->name);
    g_free(e->error);
    g_free(e->writer);
    g_free(e->unbound);
    g_free(e);
}

gboolean
entry_is_dirty(const Entry *e)
{
    for (guint i = 0; i < e->targets->len; i++) {
        const Target *t = e->targets->pdata[i];
        if (store_is_ready(t->store) && t->durable_generation < e->generation)
            return TRUE;
    }
    return FALSE;
}

Target *
entry_find_target(const Entry *e, const Store *store)
{
    for (guint i = 0; i < e->targets->len; i++) {
        Target *t = e->targets->pdata[i];
        if (t->store == store)
            return t;
    }
    return NULL;
}

void
entry_set_error(Entry *e, const char *format, ...)
{
    va_list args;

    g_clear_pointer(&e->error, g_free);
    if (!format)
        return;
    va_start(args, format);
    e->error = g_strdup_vprintf(format, args);
    va_end(args);
}
