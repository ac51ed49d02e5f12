#pragma once

/* Doomed: what somebody has decided is to go from the disk, and may still be there. */

#include <glib.h>

#include "store/layout.h"

G_BEGIN_DECLS

/* A file that the catalog does not know any more, or is about to lose. */
typedef struct DoomedFile {
    guint64 id;
    char   *path;
} DoomedFile;

typedef struct Doomed {
    GPtrArray *files;   /* DoomedFile: their mirrors                    */
    GArray    *packs;   /* guint64: to be emptied, whatever their share */
    gboolean   journal; /* its used segments, and the catalog's -wal    */
} Doomed;

/* Empty if there is nothing. FATAL: it is of a later format. */
Doomed *doomed_load(const Layout *l, GError **error);
void    doomed_free(Doomed *d);
G_DEFINE_AUTOPTR_CLEANUP_FUNC(Doomed, doomed_free)

void     doomed_add_file(Doomed *d, guint64 id, const char *path);
void     doomed_add_pack(Doomed *d, guint64 pack); /* once */
gboolean doomed_has_pack(const Doomed *d, guint64 pack);
void     doomed_remove_pack(Doomed *d, guint64 pack);
gboolean doomed_is_empty(const Doomed *d);

/* Durable when it returns TRUE. */
gboolean doomed_save(const Doomed *d, const Layout *l, GError **error);

G_END_DECLS
