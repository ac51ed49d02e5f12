#pragma once

/* RebuildFile: one file of a store that has no catalog, from what is left of it elsewhere. */

#include <glib.h>

#include "store/inventory.h"
#include "store/pack.h"
#include "store/words.h"

G_BEGIN_DECLS

typedef struct RebuildFile {
    Layout    *layout;
    Packs     *packs;
    GPtrArray *troubles;
    guint64    id;
    char      *path;
    gboolean   has_mirror;   /* there is a folder of it in mirrors/                 */
    gboolean   in_place;     /* it is listed in `applying`                          */
    GPtrArray *words;        /* Word, oldest first; NULL: none                      */
    GPtrArray *transactions; /* of the journal, applied or not, by sequence; NULL   */
    GPtrArray *wholes;       /* FoundWhole, borrowed, by id                         */
    guint64   *last_seq;     /* the highest sequence of the store: raised for new ones */

    FileView  *v;            /* the result: what the new catalog is to be told      */
    guint64    needed;       /* the first record that is still to be applied; 0: none */
} RebuildFile;

RebuildFile *rebuild_file_new(guint64 id, const char *path);
void         rebuild_file_free(RebuildFile *f);
G_DEFINE_AUTOPTR_CLEANUP_FUNC(RebuildFile, rebuild_file_free)

/* Reads all of it. What is wrong is a trouble. */
void rebuild_file(RebuildFile *f);

G_END_DECLS
