#pragma once

/* Pending: the committed transactions that are not applied yet, by sequence and by file. */

#include <glib.h>

#include "store/transaction.h"

G_BEGIN_DECLS

typedef struct Pending Pending;

Pending *pending_new(void);
void     pending_free(Pending *p);
G_DEFINE_AUTOPTR_CLEANUP_FUNC(Pending, pending_free)

void               pending_add(Pending *p, Transaction *t); /* takes it */
const Transaction *pending_oldest(const Pending *p);        /* NULL: none */
/* The oldest of the paths that are not among these keys (NULL: none are). */
const Transaction *pending_oldest_but(const Pending *p, GHashTable *paths);
guint              pending_count(const Pending *p);
guint64            pending_bytes(const Pending *p); /* of content in the journal */

/* Of Transaction, oldest first; NULL: none. */
GPtrArray *pending_of(const Pending *p, const char *path);
GList     *pending_paths(const Pending *p); /* free the list only */

GPtrArray *pending_all(const Pending *p);   /* Transaction, borrowed, by sequence */

/* The sequence before the oldest transaction that is left once these are gone: `through` has paths,
 * each with a sequence (guint64 *) up to which its transactions are. `last` if there is none. */
guint64 pending_applied_after(const Pending *p, GHashTable *through, guint64 last);
/* Those of the path with a sequence up to `through` (G_MAXUINT64: all). */
void    pending_remove(Pending *p, const char *path, guint64 through);

G_END_DECLS
