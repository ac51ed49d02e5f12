#pragma once

/* Segment: a file of the journal, written front to back, then used again. */

#include <glib.h>

#include "base/fd.h"

G_BEGIN_DECLS

#define SEGMENT_HEADER_BYTES 4096
#define SEGMENT_FORMAT       1
#define UUID_TEXT_BYTES      37 /* with its NUL */

typedef enum {
    SEGMENT_DAMAGE = 1 << 0, /* the opening that wrote this had found damage */
} SegmentFlags;

/* What a segment's first block says of its present use. */
typedef struct SegmentHeader {
    char    uuid[UUID_TEXT_BYTES];
    guint32 incarnation;
    guint32 epoch;
    guint32 flags;
    guint64 index;           /* within the incarnation, from 0                            */
    guint64 first_seq;       /* of its first record                                       */
    guint64 chain;           /* of its first record                                       */
    guint64 salt;            /* seeds the sums of its record headers                      */
    guint64 size_bytes;      /* of the file                                               */
    guint64 durable_through; /* records up to here were durable when this was written     */
    guint64 used_through;    /* sequences up to here were given out, there or not         */
} SegmentHeader;

typedef struct Segment {
    char         *name; /* in the journal's folder: means nothing, the header does */
    Fd            fd;
    gboolean      valid; /* the header is one of this store; else `header` has only the size */
    gboolean      damaged; /* not valid, and no other's: it holds what was written, without the sum */
    SegmentHeader header;
    guint64       last_seq; /* highest sequence written in this use */
} Segment;

void segment_free(Segment *s);
G_DEFINE_AUTOPTR_CLEANUP_FUNC(Segment, segment_free)

/* Preallocated, written with zeros, synced, the folder too: appends change no metadata. */
Segment *segment_create(int journal_fd, const char *name, guint64 size_bytes, GError **error);

/* Opens and reads the header. Zeros, or another store's, is `valid` FALSE and no error; what is
 * neither is `damaged` too. One that cannot be read is AGAIN (or, if not `writable`, damaged), a format
 * newer than ours is refused. */
Segment *segment_open(int journal_fd, const char *name, gboolean writable, const char *uuid,
                      GError **error);

/* Puts the header in place; not durable before the next sync of `fd`. Draws the salt. */
gboolean segment_use(Segment *s, const SegmentHeader *header, GError **error);

/* The header as a use would have it: salt drawn, nothing written. segment_seal writes it later. */
void     segment_plan(Segment *s, const SegmentHeader *header);
gboolean segment_seal(Segment *s, GError **error);

/* Makes the header invalid, durably. */
gboolean segment_void(Segment *s, GError **error);

/* The whole file as the disk has it: past the page cache by O_DIRECT; where there is none,
 * *ret_direct is FALSE, and the cache was written and dropped first. *ret_bytes may be less than
 * the header's size if the file was cut. Free with segment_image_free. */
guint8 *segment_image(int journal_fd, const Segment *s, gsize *ret_bytes, gboolean *ret_direct,
                      GError **error);
void segment_image_free(guint8 *image);

G_END_DECLS
