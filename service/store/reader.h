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
} StoredFile;
void stored_file_free(StoredFile *f);
G_DEFINE_AUTOPTR_CLEANUP_FUNC(StoredFile, stored_file_free)

typedef struct StoredPoint {
    guint64    id, sequence;
    gint64     time_usec;
    PointCause cause;
    Quality    quality;
    guint64    size_bytes;
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

/* BUSY if a keeper has the store (the message names its pid and host). Works on a read-only mount;
 * catalog and its -wal are read from a scratch copy in $TMPDIR. Committed journal records that are
 * not applied yet are seen. */
StoreReader *store_reader_open(const char *path, GError **error);
void         store_reader_close(StoreReader *r);
G_DEFINE_AUTOPTR_CLEANUP_FUNC(StoreReader, store_reader_close)

const char *store_reader_uuid(StoreReader *r);
GPtrArray  *store_reader_list(StoreReader *r, GError **error); /* of StoredFile, by path */
GArray     *store_reader_points(StoreReader *r, const char *path, GError **error); /* StoredPoint */

/* NO_ENTRY if the store has nothing of it. */
gboolean store_reader_content(StoreReader *r, const char *path, guint64 point,
                              StoredContent *ret_content, GError **error);

G_END_DECLS
