#pragma once

/* PackReader: content of frames, with a few files kept open and a few frames kept decompressed. */

#include <glib.h>

#include "store/frame.h"

G_BEGIN_DECLS

typedef struct PackReader PackReader;

PackReader *packreader_new(int history_fd, const char *uuid); /* history_fd stays the caller's */
void        packreader_free(PackReader *r);
G_DEFINE_AUTOPTR_CLEANUP_FUNC(PackReader, packreader_free)

/* n bytes of the frame, from its byte `skip` on. DAMAGED: not there, or not what was written. */
gboolean packreader_read(PackReader *r, guint64 pack, guint64 frame, guint64 skip, void *buffer,
                         gsize n, GError **error);

/* The last one failed because the disk did not let us read, or open, what may be there. */
gboolean packreader_is_unreadable(const PackReader *r);

/* Something was cut or removed. */
void packreader_clear(PackReader *r);

G_END_DECLS
