#pragma once

/* Backups: where a file's contents come from: the stores of a daemon, or one store that is read
 * without it (--store). */

#include <glib.h>

#include "base/fd.h"
#include "cli/client.h"
#include "cli/parser.h"
#include "cli/report.h"
#include "cli/when.h"

G_BEGIN_DECLS

typedef struct Backups Backups;

/* NULL: it has said itself what went wrong. */
Backups *backups_open(const Options *options, Status *ret_status);
void     backups_close(Backups *b);
G_DEFINE_AUTOPTR_CLEANUP_FUNC(Backups, backups_close)

FiledupManager1 *backups_manager(Backups *b); /* NULL: there is no daemon   */
Parser          *backups_parser(Backups *b);  /* NULL: there is one         */

/* The file, and which of its contents, that FILE or FILE@POINT means; a point's name is looked up.
 * The longest FILE that is known is meant. *ret_path is set on an error, too (to the likeliest), NULL
 * if there is none; ret_when->text then, if it is only the point that is not there. `ret_when` NULL:
 * only a file can be meant. */
gboolean backups_find(Backups *b, const char *operand, char **ret_path, When *ret_when,
                      GError **error);

/* What is said about a content apart from the file (--at, "@B"): as above. */
gboolean backups_when(Backups *b, const char *path, const char *text, When *ret_when,
                      GError **error);

/* Both, as --at and --point say it or FILE@POINT. */
gboolean backups_choose(Backups *b, const Options *options, const char *operand, char **ret_path,
                        When *ret_when, GError **error);

/* aa{sv} as Manager1.Points, newest first; full reference. `limit` 0: all. */
GVariant *backups_points(Backups *b, const char *path, guint limit, GError **error);

/* A content, to be read from the start of fd, checked. */
typedef struct Fetched {
    Fd       fd;
    guint64  size_bytes;
    gint64   time_usec;
    guint64  point; /* 0: the newest */
    char    *quality;
} Fetched;
void fetched_clear(Fetched *c);
G_DEFINE_AUTO_CLEANUP_CLEAR_FUNC(Fetched, fetched_clear)

gboolean backups_fetch(Backups *b, const char *path, const When *when, Fetched *ret_fetched,
                       GError **error);

G_END_DECLS
