#pragma once

/* OpLog: what a process did to files, in order, as interpose.c writes it down. */

#include <glib.h>

G_BEGIN_DECLS

typedef enum {
    OP_CREATE = 1, /* dir, name, ino: an empty file                             */
    OP_TMPFILE,    /* ino: an empty file without a name                         */
    OP_MKDIR,      /* dir, name, ino                                            */
    OP_WRITE,      /* ino, offset, length, payload                              */
    OP_ZERO,       /* ino, offset, length: a hole or zeros; size does not change */
    OP_SIZE,       /* ino, offset: its new size                                 */
    OP_GROW,       /* ino, offset: its size is at least this                    */
    OP_SYNC,       /* ino; site; name says what                                 */
    OP_RENAME,     /* dir, name, dir2, name2                                    */
    OP_EXCHANGE,   /* dir, name, dir2, name2                                    */
    OP_LINK,       /* ino, dir2, name2                                          */
    OP_UNLINK,     /* dir, name                                                 */
    OP_SENT,       /* offset: the number of a message, from 1, about to be sent */
} OpKind;

/* Followed by name, name2 (both NUL-terminated), payload; the next one is 8-aligned. */
typedef struct Op {
    guint32 kind, bytes; /* of all of it */
    guint64 ino, dir, dir2;
    guint64 offset, length;
    guint64 site;
    guint32 name_bytes, name2_bytes;
} Op;

static inline const char *
op_name(const Op *op)
{
    return (const char *) (op + 1);
}

static inline const char *
op_name2(const Op *op)
{
    return op_name(op) + op->name_bytes;
}

static inline const guint8 *
op_payload(const Op *op)
{
    return (const guint8 *) op_name2(op) + op->name2_bytes;
}

G_END_DECLS
