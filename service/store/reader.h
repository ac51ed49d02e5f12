#pragma once

/* StoreReader: a store read without its keeper, and without writing to it. */

#include <glib.h>
#include <sys/types.h>

#include "base/filestat.h"
#include "base/message.h"

G_BEGIN_DECLS

typedef struct StoreReader StoreReader;

typedef struct StoredFile {
    char       *path;     /* the original's */
    uid_t       principal;
    StoredState state;
    FileStat    stat;
    guint8      hash[HASH_BYTES];
    GBytes     *attributes;
    Quality     quality;
    gint64      time_usec; /* of the record, since the epoch */
    guint64     sequence;
    char       *mirror;    /* relative to the store; the content may still be in the journal */
    guint32     suspicion; /* Suspicion bits, until somebody approves */
    gint64      suspicion_since_usec;
    guint64     suspicion_point; /* the good point before it, or 0 */
} StoredFile;
void stored_file_free(StoredFile *f);
G_DEFINE_AUTOPTR_CLEANUP_FUNC(StoredFile, stored_file_free)

/* What POINTS_TYPE (base/message.h) says of one. */
typedef struct StoredPoint {
    guint64    id; /* the sequence that brought it: the same while it is the newest, and after */
    guint64    sequence;
    gint64     time_usec;
    PointCause cause;
    Quality    quality;
    guint64    size_bytes;
    guint64    changed_bytes; /* since the point before */
    char      *name;          /* "" for none */
    guint32    kept;          /* Kept bits */
    gint64     deleted_usec;  /* when the original was found deleted after it, or 0 */
    gboolean   newest;
} StoredPoint;

typedef struct StoredContent {
    int        fd; /* read-only; owned */
    GBytes    *sums;
    guint64    size_bytes;
    FileStat   stat;
    GBytes    *attributes;
    Quality    quality;
    gint64     time_usec;
    guint64    point;        /* 0: the newest */
    guint64    stable_point; /* the newest stable one, if this is fuzzy; else 0 */
} StoredContent;
void stored_content_clear(StoredContent *c);
G_DEFINE_AUTO_CLEANUP_CLEAR_FUNC(StoredContent, stored_content_clear)

/* What a verification found. */
typedef struct StoredCheck {
    guint64 bytes;      /* read */
    GArray *bad;        /* BadRange (store/verify.h): of the newest content */
    guint   points;     /* read */
    GArray *bad_points; /* guint64 */
} StoredCheck;
void stored_check_clear(StoredCheck *c);
G_DEFINE_AUTO_CLEANUP_CLEAR_FUNC(StoredCheck, stored_check_clear)

/* BUSY if a keeper has the store (the message names its pid and host). Works on a read-only mount;
 * catalog and its -wal are read from a scratch copy in $TMPDIR. Committed journal records that are
 * not applied yet are seen. */
StoreReader *store_reader_open(const char *path, GError **error);
void         store_reader_close(StoreReader *r);
G_DEFINE_AUTOPTR_CLEANUP_FUNC(StoreReader, store_reader_close)

const char *store_reader_uuid(StoreReader *r);
GPtrArray  *store_reader_list(StoreReader *r, GError **error); /* of StoredFile, by path */
/* Of StoredPoint, newest first; its free function frees all that is in it. */
GArray *store_reader_points(StoreReader *r, const char *path, GError **error);

/* NO_ENTRY if the store has nothing of it. Point 0 is the newest content. One that has to be put
 * together is, in an unnamed file in $TMPDIR. */
gboolean store_reader_content(StoreReader *r, const char *path, guint64 point,
                              StoredContent *ret_content, GError **error);
/* The newest content at that time (us since the epoch). */
gboolean store_reader_content_at(StoreReader *r, const char *path, gint64 time_usec,
                                 StoredContent *ret_content, GError **error);

/* Reads what the store has of a path against its sums: the newest content, and with `points` all
 * others. What is bad is no error. */
gboolean store_reader_verify(StoreReader *r, const char *path, gboolean points,
                             StoredCheck *ret_check, GError **error);

G_END_DECLS
