#pragma once

/* Staged files: contents too large for memory, filled by a copier, then moved into the store. */

#include <glib.h>

G_BEGIN_DECLS

/* An empty file, open for reading and writing; -1 with an error. *ret_own is another open file of it,
 * for staged_finish: opened before the first byte is written, so that its fsync sees every error of
 * writing back, which a later open would not. */
int staged_create(int staged_fd, guint64 number, int *ret_own, GError **error);

/* Makes file and sums durable, before a replace record names them. The file must have that size. */
gboolean staged_finish(int staged_fd, int own, guint64 number, guint64 size_bytes, GBytes *sums,
                       guint64 *ret_ino, GError **error);

/* The sums that staged_finish wrote; NULL with an error and errno. */
GBytes *staged_sums(int staged_fd, guint64 number, guint64 size_bytes, GError **error);
void    staged_remove(int staged_fd, guint64 number);

/* Removes all but these: `needed` has pointers to guint64 as keys (g_int64_hash). */
gboolean staged_sweep(int staged_fd, GHashTable *needed, GError **error);

char *staged_name(guint64 number);

G_END_DECLS
