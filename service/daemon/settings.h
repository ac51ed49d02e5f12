#pragma once

/* Settings: where this instance lives, and its few knobs. */

#include <glib.h>
#include <libconfig.h>

G_BEGIN_DECLS

typedef struct Settings {
    gboolean system;         /* root's service; else one user's own */
    char    *config_path;    /* may not exist */
    char    *state_folder;   /* table.conf and what the daemon remembers */
    char    *socket_path;
    char    *entries_folder; /* entries.d */
    char    *default_store;  /* folder of the store that makes itself */
    guint    copiers_per_device;
    guint    stop_timeout_sec;
    gboolean drill;          /* restore a few files to scratch every day, and compare */
} Settings;

/* config_path NULL: /etc/filedup/filedupd.conf or, for a user, the XDG folder's. With a path given
 * every other path defaults to the folder of that file. A missing default file is fine, a missing
 * named one is not. The message of an error names file and line. */
Settings *settings_load(gboolean system, const char *config_path, GError **error);
void      settings_free(Settings *s);
G_DEFINE_AUTOPTR_CLEANUP_FUNC(Settings, settings_free)

/* Reads a libconfig file: errors as "file:line: text". A missing file is NO_ENTRY. */
gboolean settings_read_file(const char *path, config_t *ret_config, GError **error);

/* REFUSED, with "file:line: " of the setting in front. Always FALSE. */
gboolean settings_refuse(const config_setting_t *at, GError **error, const char *format, ...)
    G_GNUC_PRINTF(3, 4);

/* Refuses a key of the group that is not in the NULL-terminated list. */
gboolean settings_check_keys(const config_setting_t *group, const char *const *known,
                             GError **error);

/* Optional members of a group: FALSE only if present and of the wrong type or out of range. */
gboolean settings_get_string(const config_setting_t *group, const char *key, const char **ret,
                             GError **error);
gboolean settings_get_number(const config_setting_t *group, const char *key, guint min, guint max,
                             guint *ret, GError **error);
gboolean settings_get_bool(const config_setting_t *group, const char *key, gboolean *ret,
                           GError **error);
/* "200G": bytes, with K, M, G or T for powers of 1024. */
gboolean settings_get_size(const config_setting_t *group, const char *key, guint64 *ret,
                           GError **error);

gboolean size_parse(const char *text, guint64 *ret_bytes); /* FALSE: not understood */
char    *size_format(guint64 bytes);                       /* as size_parse reads it */

G_DEFINE_AUTO_CLEANUP_CLEAR_FUNC(config_t, config_destroy)

G_END_DECLS
