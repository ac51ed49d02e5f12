#pragma once

/* Verify: reads what is there, and tells where it is not what was stored. */

#include <glib.h>

G_BEGIN_DECLS

typedef struct BadRange {
    guint64 offset, length;
} BadRange;

GArray *verify_bad_new(void); /* of BadRange */

/* Behind all that are there; joined with the last one where the two touch. */
void verify_bad_add(GArray *bad, guint64 offset, guint64 length);

/* Told now and then how many bytes have been read since the last time. FALSE: stop. */
typedef gboolean (*VerifyProgress)(guint64 bytes, gpointer data);

/* Reads [from, to) of a content of size_bytes (`from` at a block's start, `to` at one or the end) and
 * checks each block against its sum. What differs, cannot be read or is missing goes to `bad`; that
 * is no error. FALSE: `progress` (may be NULL) said stop, or the sums are not those of such a content
 * (DAMAGED). */
gboolean verify_content(int fd, GBytes *sums, guint64 size_bytes, guint64 from, guint64 to,
                        VerifyProgress progress, gpointer data, GArray *bad, GError **error);

G_END_DECLS
