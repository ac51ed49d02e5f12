#pragma once

/* Extract: a content that the daemon writes into a descriptor of ours, and what tells that it is
 * that content. */

#include <glib.h>

#include "cli/client.h"
#include "cli/when.h"

G_BEGIN_DECLS

/* A file without a name in the folder for temporary files; -1 with an error. */
int extract_scratch(GError **error);

/* What of a file: `when` (NULL: the newest) by number or time, names are for backups.h to look up. To
 * be completed by whoever asks: full reference. */
GVariant *extract_options(const When *when);

/* Has the row's content written into `fd` (empty, for reading and writing): Manager1.Extract's
 * metadata, full reference. Checked against its hash, where it `lasts` after it has reached the disk:
 * *ret_verified is FALSE if none was told. */
GVariant *extract_content(FiledupManager1 *manager, const char *path, GVariant *options, int fd,
                          gboolean lasts, gboolean *ret_verified, GError **error);

/* An "ay" of the metadata that is no string; empty if it is not there. */
GBytes *extract_bytes(GVariant *answer, const char *key);

G_END_DECLS
