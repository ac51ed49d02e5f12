#pragma once

/* Dict: members of an a{sv} as the daemon sends them; what is missing reads as empty. */

#include <glib.h>

G_BEGIN_DECLS

/* Borrowed from the dictionary. */
static inline const char *
dict_text(GVariant *dict, const char *key)
{
    const char *value = "";

    (void) g_variant_lookup(dict, key, "&s", &value);
    return value;
}

static inline const char *
dict_path(GVariant *dict, const char *key)
{
    const char *value = "";

    (void) g_variant_lookup(dict, key, "^&ay", &value);
    return value;
}

static inline guint32
dict_u32(GVariant *dict, const char *key)
{
    guint32 value = 0;

    (void) g_variant_lookup(dict, key, "u", &value);
    return value;
}

static inline guint64
dict_u64(GVariant *dict, const char *key)
{
    guint64 value = 0;

    (void) g_variant_lookup(dict, key, "t", &value);
    return value;
}

static inline gint64
dict_time(GVariant *dict, const char *key)
{
    gint64 value = 0;

    (void) g_variant_lookup(dict, key, "x", &value);
    return value;
}

static inline gboolean
dict_bool(GVariant *dict, const char *key)
{
    gboolean value = FALSE;

    (void) g_variant_lookup(dict, key, "b", &value);
    return value;
}

G_END_DECLS
