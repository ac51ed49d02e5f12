#pragma once

/* Points: a file's recovery points as `filedup log` shows them, from a daemon or from a store. */

#include <glib.h>

G_BEGIN_DECLS

typedef struct Points Points;

Points *points_new(void);
void    points_free(Points *p);
G_DEFINE_AUTOPTR_CLEANUP_FUNC(Points, points_free)

/* Newest first. */
void points_add(Points *p, guint64 id, guint64 sequence, gint64 time_usec, const char *cause,
                const char *quality, guint64 size_bytes);
void points_print(Points *p, const char *path, gboolean json);

G_END_DECLS
