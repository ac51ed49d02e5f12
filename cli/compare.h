#pragma once

/* Compare: where two contents differ, and whether they can be shown to a person. */

#include <glib.h>

G_BEGIN_DECLS

typedef struct DiffRange {
    guint64 offset, length;
} DiffRange;

/* Ranges (DiffRange, ascending) that are not the same in both; what only one of them has, at its end,
 * is one, too. Differences with less than COMPARE_JOIN_BYTES between them are told as one. */
#define COMPARE_JOIN_BYTES 32
GArray *compare_contents(int fd_a, guint64 size_a, int fd_b, guint64 size_b, GError **error);

/* No bytes that a terminal would obey: text, as far as it is shown. FALSE also on an error. */
gboolean compare_is_text(int fd, guint64 size_bytes);

G_END_DECLS
