#pragma once

/* Words: what the footers of all packs say of the files, in the order in which they said it. */

#include <glib.h>

#include "store/footer.h"
#include "store/trouble.h"

G_BEGIN_DECLS

typedef struct Word {
    FooterKind  kind;
    FooterFile *file;
} Word;

typedef struct Words {
    GHashTable *files;    /* guint64 id -> GPtrArray of Word, oldest first                 */
    GArray     *packs;    /* CatalogPack: as a catalog is to know them                     */
    guint64     last_seq; /* the highest sequence that is named                            */
} Words;

/* All packs are read, and checked. What is wrong with one is told, and costs only what is in that
 * place. An error: the folder cannot be read, or something is of a later format. */
Words *words_gather(int history_fd, const char *uuid, GPtrArray *troubles, GError **error);
void   words_free(Words *w);
G_DEFINE_AUTOPTR_CLEANUP_FUNC(Words, words_free)

G_END_DECLS
