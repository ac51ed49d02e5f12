#pragma once

/* Delta: the blocks in which a file differs from its content in the store. */

#include <glib.h>

#include "copy/content.h"

G_BEGIN_DECLS

typedef enum {
    DELTA_COUNT, /* read only                                                        */
    DELTA_WRITE, /* write what differs                                               */
    DELTA_LEASE, /* the same while target_fd has its write lease; BUSY when it is broken */
} DeltaMode;

/* Up to the content's size; the target's own is not changed. *ret_bytes: what differs, or was
 * written so far; valid also on an error. A block that cannot be read differs. */
gboolean delta_run(Content *content, int target_fd, DeltaMode mode, guint64 *ret_bytes,
                   GError **error);

G_END_DECLS
