#pragma once

/* Intake: what a message brought, until it is a transaction. Shared by the files that take it in:
 * intake.c (captures), mark.c, newest.c (what it is checked against), suspect.c, room.c. */

#include <glib.h>

#include "base/fd.h"
#include "store/keeper.h"

G_BEGIN_DECLS

typedef struct Intake {
    guint64 job;
    Capture capture;
    GBytes *content;
    GBytes *sums;
    GArray *ranges; /* Range, of APPEND_RANGES */
    GArray *extents;
    guint64 base_bytes; /* of what the ranges change */
    guint64 due_bytes;  /* room.c */
    guint64 answer; /* what KEEPER_DURABLE says instead of the sequence; 0: the sequence */
    int     errnum;
} Intake;
void intake_clear(Intake *in);
G_DEFINE_AUTO_CLEANUP_CLEAR_FUNC(Intake, intake_clear)

/* A staged file that was handed out, and not appended. */
typedef struct Staged {
    guint64 size_bytes;
    int     own; /* staged_create */
} Staged;

/* What an append must know of a path: remembered, so that the catalog is kept out of its way. It is
 * forgotten where anything but an append changes the file. */
typedef struct Head {
    guint64 file;
    guint64 content; /* the newest content's id; 0: there is none */
    guint64 size_bytes;
    guint64 emptied_bytes; /* of the content before, if the newest is fuzzy and has none */
    guint32 suspicion;
} Head;

/* newest.c */
gboolean head_find(Keeper *k, const char *path, Head *ret_head, GError **error);
void     head_remember(Keeper *k, const Transaction *t, Head head);

/* suspect.c: sets the capture's suspicion. */
void suspect(Keeper *k, Intake *in, const Head *head);

/* room.c: in the store for so many bytes; in store and journal for this one. `small`: it needs rows
 * of the catalog only. AGAIN: the store is full. */
gboolean room_for_bytes(Keeper *k, guint64 bytes, gboolean small, int *ret_errno, GError **error);
gboolean room_for(Keeper *k, Intake *in, GError **error);
/* It waits to be applied now. */
void room_add_due(Keeper *k, const char *path, guint64 bytes);

/* intake.c */
gboolean intake_parse_path(GVariant *path, Capture *c, GError **error);
/* The store has a content of the path that the capture can be about. *ret_view may be NULL. */
gboolean intake_check_known(Keeper *k, const Capture *c, FileView **ret_view, GError **error);
/* The transaction is in the journal, and becomes durable with the next commit. */
gboolean intake_write(Keeper *k, Intake *in, Head head, GError **error);
void     intake_refuse(Keeper *k, const Intake *in, const GError *error);

G_END_DECLS
