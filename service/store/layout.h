#pragma once

/* Layout: the folders of a store, its identity, and who has it. */

#include <glib.h>

#include "base/fd.h"
#include "store/segment.h"

G_BEGIN_DECLS

#define STORE_FORMAT 1

typedef struct Layout {
    char *path;
    char  uuid[UUID_TEXT_BYTES];
    Fd    root, journal, mirrors, history, staged;
    Fd    lock;
    gboolean no_clone; /* FICLONE was tried: the file system has none */
} Layout;

typedef enum {
    LAYOUT_KEEP,   /* it must be there; locked for us alone              */
    LAYOUT_CREATE, /* made if it is not; locked for us alone             */
    LAYOUT_READ,   /* nothing is written; shared with other readers      */
} LayoutMode;

/* `uuid` "" takes any. `system`: folders above must be root's. *ret_errno (if not NULL) tells
 * ENOENT (absent: not there, or another store), EROFS, EBUSY (the message says who has it), else
 * 0 or the errno of what failed. */
Layout *layout_open(const char *path, const char *uuid, LayoutMode mode, gboolean system,
                    int *ret_errno, GError **error);
void    layout_close(Layout *l);
G_DEFINE_AUTOPTR_CLEANUP_FUNC(Layout, layout_close)

/* Leaves no name in the lock: an orderly end. */
void layout_release(Layout *l);

/* Of this boot of the machine, as the kernel names it. */
char *layout_boot_id(void);

typedef struct LayoutSpace {
    guint64 free_bytes, total_bytes;
    guint64 reserve_bytes; /* not given to new content: the smaller of 64 MiB and 5 % */
    guint64 segment_bytes; /* of the journal: 16 MiB, less in a store under 1 GiB     */
} LayoutSpace;

gboolean layout_space(const Layout *l, LayoutSpace *ret_space, GError **error);

G_END_DECLS
