#pragma once

/* Points: a file's recovery points as `filedup log` shows them, from a daemon or from a store. */

#include <glib.h>

G_BEGIN_DECLS

/* aa{sv} as Manager1.Points, newest first. */
void points_print(GVariant *points, const char *path, gboolean json);

G_END_DECLS
