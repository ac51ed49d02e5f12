#pragma once

/* Fakestore: a StoreReader (store/reader.h) of files that are only said to be there. BUSY if its
 * folder has a file "lock". */

#include "store/reader.h"

G_BEGIN_DECLS

#define FAKESTORE_UUID "6ba7b810-9dad-11d1-80b4-00c04fd430c8"

/* NULL-terminated. Each has points 3 (the newest), 2 and 1 (which is called "the first"), of so many
 * thousand seconds after the epoch. A list is of one file whose principal is the reader's uid and
 * whose sequence is its pid. */
extern const char *const *fakestore_files;

/* Any path has a content of 7 bytes, "content", with the point that was asked for, or the time in its
 * place; but "/crash" ends the process, "/fifo" and "/folder" are what they say, and "/sums" has
 * sums of the wrong length. */

G_END_DECLS
