#pragma once

/* Inspect: what a path means to the principal: its canonical form, what lies there, and whether the
 * principal may write it. Nothing is opened. */

#include <glib.h>

#include "base/filestat.h"
#include "base/message.h"

G_BEGIN_DECLS

typedef struct Inspection {
    char       *folder; /* canonical                                  */
    char       *name;   /* "" for the root folder                     */
    InspectType type;
    FileStat    stat; /* zeros if nothing is there                  */
    guint64     dev;  /* of the folder, or the nearest that exists  */
    char       *note; /* for people, or NULL                        */
} Inspection;
void inspection_clear(Inspection *i);
G_DEFINE_AUTO_CLEANUP_CLEAR_FUNC(Inspection, inspection_clear)

/* `path` is absolute; symbolic links in it are resolved. DENIED: must_write, and it may not be. */
gboolean inspect_path(const char *path, gboolean must_write, Inspection *ret_inspection,
                      GError **error);

G_END_DECLS
