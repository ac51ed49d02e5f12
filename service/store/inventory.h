#pragma once

/* Inventory: the files that are in a store's folders, by their names, whatever the catalog says. */

#include <glib.h>
#include <sys/types.h>

#include "store/layout.h"

G_BEGIN_DECLS

typedef struct FoundMirror {
    guint64 id;
    char   *folder; /* "<id>-<base name>", in mirrors/                                       */
    char   *origin; /* what its .origin says; NULL: there is none, or it is no path          */
    char   *name;   /* of the file in the folder; NULL: there is none, or more than one      */
    guint   n_names;
} FoundMirror;

typedef struct FoundWhole {
    guint64 file, id;
    char   *name; /* "<file>-<id>-<base name>", in history/ */
} FoundWhole;

typedef struct Inventory {
    GPtrArray *mirrors; /* FoundMirror, by id       */
    GPtrArray *wholes;  /* FoundWhole, by file, id  */
    GPtrArray *strange; /* char *, relative to the store: names that are none of filedup's */
} Inventory;

Inventory *inventory_new(const Layout *l, GError **error);
void       inventory_free(Inventory *i);
G_DEFINE_AUTOPTR_CLEANUP_FUNC(Inventory, inventory_free)

G_END_DECLS
