/* settings.c - filedupd.conf, and reading libconfig files with errors that name file and line */

#include "config.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "base/error.h"
#include "base/path.h"
#include "daemon/settings.h"

static const char *const known_keys[] = {
    "state",        "socket", "entries-d", "default-store", "copiers-per-device",
    "stop-timeout", "drill",  "stores",    "entries",       NULL,
};

void
settings_free(Settings *s)
{
    if (!s)
        return;
    g_free(s->config_path);
    g_free(s->state_folder);
    g_free(s->socket_path);
    g_free(s->entries_folder);
    g_free(s->default_store);
    g_free(s);
}

gboolean
settings_refuse(const config_setting_t *at, GError **error, const char *format, ...)
{
    va_list args;

    va_start(args, format);
    g_autofree char *text = g_strdup_vprintf(format, args);
    va_end(args);
    const char *file = config_setting_source_file(at);
    return throw_error(error, FILEDUP_ERROR_REFUSED, "%s:%u: %s", file ? file : "?",
                       config_setting_source_line(at), text);
}

gboolean
settings_read_file(const char *path, config_t *ret_config, GError **error)
{
    config_init(ret_config);
    if (access(path, F_OK) < 0 && errno == ENOENT)
        return throw_error(error, FILEDUP_ERROR_NO_ENTRY, "%s does not exist", path);
    errno = 0;
    if (config_read_file(ret_config, path) == CONFIG_TRUE)
        return TRUE;
    if (config_error_type(ret_config) == CONFIG_ERR_FILE_IO)
        return errno
                   ? throw_errno(error, "reading %s", path)
                   : throw_error(error, FILEDUP_ERROR_REFUSED, "reading %s: no regular file", path);
    const char *file = config_error_file(ret_config);
    return throw_error(error, FILEDUP_ERROR_REFUSED, "%s:%d: %s", file ? file : path,
                       config_error_line(ret_config), config_error_text(ret_config));
}

gboolean
settings_check_keys(const config_setting_t *group, const char *const *known, GError **error)
{
    int n = config_setting_length(group);

    for (int i = 0; i < n; i++) {
        const config_setting_t *member = config_setting_get_elem(group, (unsigned) i);
        const char *name = config_setting_name(member);
        if (!g_strv_contains(known, name)) {
            g_autofree char *list = g_strjoinv(", ", (char **) known);
            return settings_refuse(member, error, "'%s' is not known here; known are: %s", name,
                                   list);
        }
    }
    return TRUE;
}

gboolean
settings_get_string(const config_setting_t *group, const char *key, const char **ret,
                    GError **error)
{
    config_setting_t *member = config_setting_get_member(group, key);

    if (!member)
        return TRUE;
    if (config_setting_type(member) != CONFIG_TYPE_STRING)
        return settings_refuse(member, error, "'%s' must be a string in double quotes", key);
    *ret = config_setting_get_string(member);
    return TRUE;
}

gboolean
settings_get_number(const config_setting_t *group, const char *key, guint min, guint max,
                    guint *ret, GError **error)
{
    config_setting_t *member = config_setting_get_member(group, key);

    if (!member)
        return TRUE;
    if (config_setting_type(member) != CONFIG_TYPE_INT)
        return settings_refuse(member, error, "'%s' must be a whole number", key);
    int value = config_setting_get_int(member);
    if (value < 0 || (guint) value < min || (guint) value > max)
        return settings_refuse(member, error, "'%s' is %d; it must be from %u to %u", key, value,
                               min, max);
    *ret = (guint) value;
    return TRUE;
}

gboolean
settings_get_bool(const config_setting_t *group, const char *key, gboolean *ret, GError **error)
{
    config_setting_t *member = config_setting_get_member(group, key);

    if (!member)
        return TRUE;
    if (config_setting_type(member) != CONFIG_TYPE_BOOL)
        return settings_refuse(member, error, "'%s' must be true or false", key);
    *ret = config_setting_get_bool(member) != CONFIG_FALSE;
    return TRUE;
}

static const char size_units[] = "KMGT";

gboolean
size_parse(const char *text, guint64 *ret_bytes)
{
    char *end;
    guint64 n = g_ascii_strtoull(text, &end, 10);
    const char *unit = *end ? strchr(size_units, g_ascii_toupper(*end)) : NULL;
    guint shift = unit ? 10 * (guint) (unit - size_units + 1) : 0;

    if (!g_ascii_isdigit(text[0]) || (*end && (!unit || end[1])) ||
        n > (guint64) G_MAXINT64 >> shift)
        return FALSE;
    *ret_bytes = n << shift;
    return TRUE;
}

char *
size_format(guint64 bytes)
{
    guint unit = 0;

    while (unit < strlen(size_units) && bytes > 0 && bytes % 1024 == 0) {
        bytes /= 1024;
        unit++;
    }
    return unit ? g_strdup_printf("%" G_GUINT64_FORMAT "%c", bytes, size_units[unit - 1])
                : g_strdup_printf("%" G_GUINT64_FORMAT, bytes);
}

gboolean
settings_get_size(const config_setting_t *group, const char *key, guint64 *ret, GError **error)
{
    const char *text = NULL;

    if (!settings_get_string(group, key, &text, error))
        return FALSE;
    if (text && !size_parse(text, ret))
        return settings_refuse(config_setting_get_member(group, key), error,
                               "'%s' is \"%s\"; write a number of bytes, or one with K, M, G or T, "
                               "such as \"200G\"",
                               key, text);
    return TRUE;
}

/* A path setting: absolute and canonical; a relative one is taken from the settings file's folder. */
static gboolean
get_path(const config_setting_t *root, const char *key, const char *folder, char **path,
         GError **error)
{
    const char *value = NULL;

    if (!settings_get_string(root, key, &value, error))
        return FALSE;
    if (!value)
        return TRUE;
    g_autofree char *full = value[0] == '/' ? g_strdup(value) : path_join(folder, value);
    if (!path_is_canonical(full))
        return settings_refuse(config_setting_get_member(root, key), error,
                               "'%s' is \"%s\"; give a path without \".\", \"..\" or doubled "
                               "slashes",
                               key, value);
    g_free(*path);
    *path = g_steal_pointer(&full);
    return TRUE;
}

static Settings *
settings_default(gboolean system, const char *config_path)
{
    Settings *s = g_new0(Settings, 1);

    s->system = system;
    s->copiers_per_device = 2;
    s->stop_timeout_sec = 10;
    s->drill = TRUE;
    if (config_path) {
        s->config_path = g_canonicalize_filename(config_path, NULL);
        g_autofree char *folder = g_path_get_dirname(s->config_path);
        s->state_folder = path_join(folder, "state");
        s->socket_path = path_join(folder, "control");
        s->entries_folder = path_join(folder, "entries.d");
        s->default_store = path_join(folder, "store");
    } else if (system) {
        s->config_path = g_strdup(SYSCONFDIR "/filedup/filedupd.conf");
        s->entries_folder = g_strdup(SYSCONFDIR "/filedup/entries.d");
        s->state_folder = g_strdup(LOCALSTATEDIR "/lib/filedup");
        s->default_store = g_strdup(LOCALSTATEDIR "/lib/filedup/store");
        s->socket_path = g_strdup("/run/filedup/control");
    } else {
        s->config_path = g_build_filename(g_get_user_config_dir(), "filedup/filedupd.conf", NULL);
        s->entries_folder = g_build_filename(g_get_user_config_dir(), "filedup/entries.d", NULL);
        s->state_folder = g_build_filename(g_get_user_state_dir(), "filedup", NULL);
        s->default_store = g_build_filename(g_get_user_data_dir(), "filedup/store", NULL);
        s->socket_path = g_build_filename(g_get_user_runtime_dir(), "filedup/control", NULL);
    }
    return s;
}

Settings *
settings_load(gboolean system, const char *config_path, GError **error)
{
    g_autoptr(Settings) s = settings_default(system, config_path);
    g_autofree char *folder = g_path_get_dirname(s->config_path);
    g_auto(config_t) config;
    g_autoptr(GError) local = NULL;

    if (!settings_read_file(s->config_path, &config, &local)) {
        if (config_path || !g_error_matches(local, FILEDUP_ERROR, FILEDUP_ERROR_NO_ENTRY)) {
            g_propagate_error(error, g_steal_pointer(&local));
            return NULL;
        }
    } else {
        const config_setting_t *root = config_root_setting(&config);
        if (!settings_check_keys(root, known_keys, error) ||
            !get_path(root, "state", folder, &s->state_folder, error) ||
            !get_path(root, "socket", folder, &s->socket_path, error) ||
            !get_path(root, "entries-d", folder, &s->entries_folder, error) ||
            !get_path(root, "default-store", folder, &s->default_store, error) ||
            !settings_get_number(root, "copiers-per-device", 1, 64, &s->copiers_per_device,
                                 error) ||
            !settings_get_number(root, "stop-timeout", 1, 600, &s->stop_timeout_sec, error) ||
            !settings_get_bool(root, "drill", &s->drill, error))
            return NULL;
    }

    const char *moved = g_getenv("FILEDUP_SOCKET");
    if (moved && *moved) {
        g_free(s->socket_path);
        s->socket_path = g_canonicalize_filename(moved, NULL);
    }
    return g_steal_pointer(&s);
}
