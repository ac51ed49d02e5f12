#pragma once

/* Parser: a store that is read without its daemon; by root only through a process that can do no
 * harm, where somebody else may have made it. */

#include <glib.h>

#include "store/reader.h"

G_BEGIN_DECLS

typedef struct Parser Parser;

Parser *parser_open(const char *folder, GError **error);
void    parser_close(Parser *p);
G_DEFINE_AUTOPTR_CLEANUP_FUNC(Parser, parser_close)

const char *parser_uuid(Parser *p);

/* Whether what it says of owners and privileges may be believed: it is root's, or we are not root. */
gboolean parser_is_trusted(Parser *p);
gboolean parser_is_maker(Parser *p, uid_t uid, gid_t gid);

/* Answers as inquiry.h tells; full references. */
GVariant *parser_list(Parser *p, GError **error);
GVariant *parser_points(Parser *p, const char *path, guint limit, GError **error);
GVariant *parser_verify(Parser *p, const char *path, gboolean points, GError **error);

/* A point, or as of a time (both 0: the newest). NO_ENTRY: the store has nothing of it. What the
 * descriptor leads to is a regular file; whether it is the content, its sums tell. */
gboolean parser_content(Parser *p, const char *path, guint64 point, gint64 time_usec,
                        StoredContent *ret_content, GError **error);

G_END_DECLS
