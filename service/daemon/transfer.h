#pragma once

/* Transfer: one capture of a file and its way into the stores: sums, capture, drain, append, durable. */

#include <glib.h>

#include "daemon/copiers.h"
#include "daemon/entry.h"
#include "daemon/stores.h"
#include "daemon/watchers.h"

G_BEGIN_DECLS

/* Of a larger file only what changed is sent, if its stores have the sums of what it was. */
#define TRANSFER_RANGES_MIN (256 * 1024)

typedef struct Transfer Transfer;

typedef struct TransferRequest {
    Copiers      *copiers;
    Watchers     *watchers;
    Entry        *entry;
    const char   *name;     /* in the entry's folder; another one than the entry's for what a
                               restore swapped out */
    CaptureFlags  flags;
    const Target *recorded; /* what to compare with, or NULL */
    const Target *place;    /* where the file was seen last, or NULL: tells a deletion from another
                               file system in its folder's place */
    PointCause    cause;
    gboolean      deletion; /* no capture: the file is gone, say so to the stores */
    gboolean      ranges;   /* what changed will do: every target has the recorded content */
    GPtrArray    *targets;  /* of Target of the entry: who receives it (borrowed) */
} TransferRequest;

typedef struct TransferTarget {
    Target  *target;
    gboolean durable;
    guint64  sequence;
    gint64   stamp_usec; /* CLOCK_MONOTONIC, the keeper's */
    gint64   time_usec;  /* of the record */
    char    *error;      /* why not durable */
    guint    suspicion;  /* Suspicion bits, with durable */
    gboolean damaged;    /* the store has lost what it was to be changed: ask it anew */
    int      errnum;
} TransferTarget;

typedef struct TransferResult {
    CaptureOutcome  outcome;
    gboolean        spoiled; /* an event came meanwhile: nothing was sent to a store */
    gboolean        stuck;   /* the copier does not die: transfer_freed will be told */
    FileStat        stat;
    guint8          hash[HASH_BYTES];
    GBytes         *attributes;
    Quality         quality;
    char           *writer;
    char           *error; /* of the capture */
    int             errnum;
    gboolean        appended; /* the targets were told something */
    TransferTarget *targets;
    guint           n_targets;
    gint64          started_real_usec, duration_usec;
} TransferResult;

/* The transfer is over and freed after the call. */
typedef void (*TransferFunc)(const TransferResult *result, gpointer data);

Transfer *transfer_start(const TransferRequest *request, TransferFunc func, gpointer data);
void      transfer_cancel(Transfer *t); /* func is not called */
pid_t     transfer_copier(const Transfer *t);

/* A copier that was stuck with this job is dead: its staged files are given back. */
void    transfer_copier_freed(guint64 job);
guint64 transfer_job(const Transfer *t); /* the copier's */

/* The store goes away: nothing is given back to it. */
void transfer_forget_store(Store *store);

G_END_DECLS
