#pragma once

/* Restore: content from a store, checked against its sums, put where it belongs. Used by the copier
 * and, for --to and without the daemon, by the command line. */

#include <glib.h>

#include "base/filestat.h"
#include "base/message.h"
#include "copy/stage.h"

G_BEGIN_DECLS

typedef struct RestoreRequest {
    int          source_fd;  /* the content                                         */
    GBytes      *sums;       /* XXH3-64, little-endian, one per SUM_BLOCK_BYTES     */
    guint64      size_bytes;
    FileStat     stat;       /* owner, mode, times to give it                       */
    GBytes      *attributes;
    gboolean     privileged;
    FileStat     saved;      /* in place: what was saved before; if something else is there by now,
                                BUSY. ino 0: not known */
    RestoreFlags flags;
    int          target_fd;  /* RESTORE_TO_FD; else -1                              */
    int          folder_fd;  /* else: the folder, open for reading, and the name    */
    const char  *name;
    void       (*progress)(guint64 bytes, gpointer data); /* may be NULL */
    gpointer     data;
} RestoreRequest;

typedef struct RestoreResult {
    Swapped swapped;       /* what was there before, for the caller to save and discard */
    guint64 written_bytes;
    char   *problems;      /* attributes that could not be set, or NULL */
    char   *in_the_way;    /* who has the file open for writing, or NULL */
    char   *note;          /* for the operator, or NULL */
} RestoreResult;
void restore_result_clear(RestoreResult *r);
G_DEFINE_AUTO_CLEANUP_CLEAR_FUNC(RestoreResult, restore_result_clear)

/* Verified after writing: what was written is read back past the page cache where the file system
 * lets it, and compared with the sums. BUSY: a writer has the target open and RESTORE_FORCE is not
 * given, or (in place) somebody wanted in. DAMAGED: the source does not have the sums; nothing was
 * replaced. *ret_result is valid (cleared by the caller) also on an error. */
gboolean restore_run(const RestoreRequest *request, RestoreResult *ret_result, GError **error);

G_END_DECLS
