#pragma once

/* Capture: one reading of a protected file, and whether it is one moment of it. */

#include <glib.h>

#include "base/fd.h"
#include "base/filestat.h"
#include "base/message.h"

G_BEGIN_DECLS

typedef struct CaptureRequest {
    const char   *folder; /* canonical */
    const char   *name;
    CaptureFlags  flags;
    FileStat      recorded;   /* zeros if nothing is          */
    const guint8 *hash;       /* HASH_BYTES, or NULL          */
    GBytes       *attributes; /* as recorded; NULL is none    */
    GBytes       *sums;       /* as recorded: then CAPTURE_RANGES may be the outcome. NULL: not.
                                 What does not fit the recorded size and hash is not used. */

    /* For content over CAPTURE_BUFFER_BYTES: one writable file per store (at most MESSAGE_MAX_FDS),
     * which the capture closes. FALSE: give up. */
    gboolean (*stage)(guint64 size_bytes, int *ret_fds, guint *ret_n_fds, gpointer data,
                      GError **error);
    void (*progress)(guint64 bytes, gpointer data); /* often; NULL is fine */
    gpointer data;
} CaptureRequest;

typedef struct CaptureResult {
    CaptureOutcome outcome;
    GError        *error; /* of CAPTURE_FAILED, its errno beside it */
    int            errnum;
    FileStat       stat; /* taken before the read */
    Quality        quality; /* QUALITY_NONE if it was not read */
    guint8         hash[HASH_BYTES];
    GBytes        *attributes;
    char          *writer;   /* who has the file open for writing, or NULL */
    char          *note;     /* what was left out, or NULL                 */
    Fd             sums;     /* CAPTURE_CONTENT, _RANGES: sealed memory files, */
    Fd             content;  /* as COPIER_CAPTURED has them; this one is -1 if */
    Fd             ranges;   /* it went to staged files                        */
} CaptureResult;
void capture_result_clear(CaptureResult *r);
G_DEFINE_AUTO_CLEANUP_CLEAR_FUNC(CaptureResult, capture_result_clear)

/* Runs as the principal that the process is. The result is always valid. */
void capture_run(const CaptureRequest *request, CaptureResult *ret_result);

G_END_DECLS
