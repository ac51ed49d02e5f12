#pragma once

/* Trouble: what somebody who looks at a whole store (check, rebuild) has found, one by one. */

#include <glib.h>

G_BEGIN_DECLS

typedef struct Trouble {
    char    *path;   /* of the original; NULL: it is of no one file */
    guint64  point;  /* 0: of no one point                          */
    char    *text;
    gboolean damage; /* something is lost; else it is only to be known */
} Trouble;

GPtrArray *troubles_new(void); /* of Trouble */

void troubles_add(GPtrArray *troubles, gboolean damage, const char *path, guint64 point,
                  const char *format, ...) G_GNUC_PRINTF(5, 6);

gboolean troubles_have_damage(const GPtrArray *troubles);

G_END_DECLS
