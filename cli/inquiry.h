#pragma once

/* Inquiry: what can be asked of a store without its daemon. Questions and answers are variants and
 * descriptors, so that another process may be asked (parser.h). */

#include "store/reader.h"

G_BEGIN_DECLS

typedef enum {
    INQUIRY_LIST,    /* the files: aa{sv}                                                        */
    INQUIRY_POINTS,  /* of a path: aa{sv}, as Manager1.Points, at most `limit` (0: all)          */
    INQUIRY_CONTENT, /* of a path, a point or as of a time: INQUIRY_CONTENT_TYPE + [content]     */
    INQUIRY_VERIFY,  /* of a path, with its points: a{sv}, as one of Manager1.Verify             */
} InquiryKind;

/* kind, path, point, time in us, limit, points too */
#define INQUIRY_QUESTION_TYPE "(uaytxub)"

/* size, stat, attributes, quality, time in us, point, stable point, sums */
#define INQUIRY_CONTENT_TYPE "(t" FILESTAT_TYPE "ayuxttay)"

const char *inquiry_type(InquiryKind kind); /* of the answer */

/* A full reference, of inquiry_type. *ret_fd is -1 if none belongs to it. */
GVariant *inquiry_answer(StoreReader *r, GVariant *question, int *ret_fd, GError **error);

G_END_DECLS
