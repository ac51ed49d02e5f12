#pragma once

/* When: which of a file's contents is meant: the newest, or one told by number, time or name. */

#include <glib.h>

G_BEGIN_DECLS

typedef struct When {
    char   *text; /* as it was written; NULL: nothing was said, the newest */
    guint64 point;     /* its number, or 0                  */
    gint64  time_usec; /* what was the newest then, or 0    */
    char   *name;      /* of a point, or NULL               */
    char   *store;     /* the one that has that number; NULL: any, or the only one */
} When;
void when_clear(When *w);
G_DEFINE_AUTO_CLEANUP_CLEAR_FUNC(When, when_clear)

/* A whole number is a point's number, what reads as a time (time.h) is one, "newest" is the newest;
 * anything else can only be a name. An error is CLI_ERROR_USAGE. */
gboolean when_parse(const char *text, gint64 now_usec, When *ret_when, GError **error);

/* A name for a point: one that when_parse takes for a name, of at most WHEN_NAME_BYTES. */
#define WHEN_NAME_BYTES 255
gboolean when_check_name(const char *name, GError **error);

G_END_DECLS
