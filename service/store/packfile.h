#pragma once

/* PackFile: one pack, as a file. */

#include <glib.h>

#include "base/fd.h"
#include "store/frame.h"

G_BEGIN_DECLS

#define PACK_HEADER_BYTES 96
#define PACK_ALIGN        4096 /* batches end at multiples of it */

typedef struct PackFile {
    guint64 id, salt;
    Fd      fd;
} PackFile;

void packfile_free(PackFile *f);
G_DEFINE_AUTOPTR_CLEANUP_FUNC(PackFile, packfile_free)

char    *packfile_name(guint64 id); /* within history/; free it */
gboolean packfile_parse_name(const char *name, guint64 *ret_id);

typedef enum {
    PACKFILE_GOOD,
    PACKFILE_MISSING,
    PACKFILE_BLANK,   /* shorter than a header, or zeros there: nothing was ever synced */
    PACKFILE_DAMAGED, /* something else, or it cannot be read                           */
    PACKFILE_FOREIGN, /* another store's                                                */
} PackFileState;

const char *packfile_state_text(PackFileState state); /* "is missing" */

/* NULL with an error (a newer format: FATAL), or NULL with *ret_state, or (GOOD) the file. */
PackFile *packfile_open(int history_fd, guint64 id, gboolean writable, const char *uuid,
                        PackFileState *ret_state, GError **error);

/* With its header written, nothing synced. */
PackFile *packfile_create(int history_fd, guint64 id, const char *uuid, GError **error);

guint64 packfile_size(const PackFile *f); /* 0 if it cannot be had */

/* The frame at `position`: its content, *ret_raw_bytes of it, in `raw` (room for PACK_FRAME_BYTES).
 * Through the page cache. DAMAGED: there is none, or its bytes are not what was written, or
 * (*ret_unreadable) the disk did not let us read them. */
gboolean packfile_read(const PackFile *f, guint64 position, Codec *codec, guint8 *raw,
                       gsize *ret_raw_bytes, gboolean *ret_unreadable, GError **error);

typedef void (*PackFileFunc)(guint64 pack, GBytes *footer, gpointer data);

/* The footers alone, of whole batches or not, up to `until`: content is passed over, not checked. */
gboolean packfile_footers(const PackFile *f, guint64 until, Codec *codec, PackFileFunc func,
                          gpointer data, GError **error);

/* Throws DAMAGED, and names the place. */
gboolean packfile_damaged(const PackFile *f, guint64 position, const char *what, GError **error);

typedef struct PackWalk {
    guint64  good;       /* where the last whole batch ends                                    */
    gboolean unreadable; /* the disk did not say what comes then: it may be a whole batch      */
} PackWalk;

/* Goes through the batches from `from` (an end of a batch, or PACK_HEADER_BYTES) to `until`, from
 * the disk if the file system can. DAMAGED: something else than whole batches comes then. */
gboolean packfile_walk(int history_fd, const PackFile *f, guint64 from, guint64 until, Codec *codec,
                       PackFileFunc func, gpointer data, PackWalk *ret_walk, GError **error);

G_END_DECLS
