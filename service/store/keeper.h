#pragma once

/* Keeper: the inside of the role that owns a store, shared by its files (keeper.c, draining.c,
 * intake.c, answer.c, supply.c, checking.c, upkeep.c). The outside is keeper_main (base/role.h). */

#include <glib.h>

#include "base/message.h"
#include "store/apply.h"
#include "store/loan.h"
#include "store/worker.h"

G_BEGIN_DECLS

typedef struct Unacked {
    guint64 job, seq;
    gint64  time_usec;
    guint32 suspicion;
} Unacked;

typedef struct Upkeep Upkeep;

typedef struct Keeper {
    Channel *channel;
    Store    store;

    GArray     *unacked;       /* Unacked: written, and not durable yet          */
    gsize       unacked_bytes;
    GHashTable *held;          /* path -> Hold: not applied for now              */
    GHashTable *staged;        /* number (guint64) -> Staged: handed out         */
    GHashTable *dues;          /* path -> guint64: bytes of due_bytes (room.c)   */
    guint64     due_bytes;
    guint64     next_staged;
    guint64     next_file;
    GHashTable *heads;         /* path -> Head (intake.c), of recent appends     */
    Worker     *worker;        /* what takes long                                */
    guint64     changes;       /* counts what may pull the rug from under a plan */
    Upkeep     *upkeep;
    Loans      *loans;         /* mirrors that somebody was given the descriptor of */

    gint64  last_time_usec;     /* of the newest record: CLOCK_REALTIME          */
    gint64  last_append_usec;   /* of the monotonic clock, as all that follow    */
    gint64  first_pending_usec; /* since when something waits to be applied      */
    guint64 drain_through;      /* apply up to this sequence, however busy       */
    guint   batch_files;        /* at most so many in one turn                   */
    gint64  told_usec;          /* when the worker's progress was looked at      */
    gint64  space_said_usec, space_looked_usec;
    guint64 space_said_free;
    gboolean lost;              /* a content was given up: the next opening says so, soon        */
    gboolean failed;            /* nothing may be acknowledged any more: the role exits non-zero */
} Keeper;

/* One fdatasync for all that was written, then the answers. FALSE: k->failed. */
gboolean keeper_commit(Keeper *k);

/* ---- draining.c ---- */

/* Commits, and applies one path. FALSE with an error: it is retried later, as no other path is
 * hindered by, or it is being read, or its content was given up (k->lost), or k->failed. */
gboolean keeper_apply(Keeper *k, const char *path, GError **error);

/* Commits, and takes the oldest paths that are not held one step on: they are applied, or stuck.
 * FALSE with an error: there are none (AGAIN), or k->failed. */
gboolean keeper_apply_oldest(Keeper *k, GError **error);

/* Commits, and takes the oldest path that is held by readers only one step on; `changes` tells them.
 * FALSE: there is none, or k->failed. */
gboolean keeper_apply_read(Keeper *k);

/* Somebody reads what the store has of the path: it is not applied to before all have released it,
 * unless the journal is full. */
void keeper_hold(Keeper *k, const char *path);
void keeper_release(Keeper *k, const char *path);
void keeper_release_all(Keeper *k);
gboolean keeper_is_read(Keeper *k, const char *path);

/* When the next step of apply is due, on the monotonic clock; G_MAXINT64: nothing waits. */
gint64 keeper_apply_due(Keeper *k);
void   keeper_apply_if_due(Keeper *k, gint64 now);

/* room.c: nothing of the path waits any more. */
void keeper_end_due(Keeper *k, const char *path);

/* ---- keeper.c ---- */

/* Said once where nothing goes on. */
void keeper_fail(Keeper *k, const GError *error);
void keeper_send(Keeper *k, MessageType type, GVariant *body, const int *fds, guint n_fds);

/* For bodies. */
GVariant *keeper_bytes(const void *data, gsize n);
GVariant *keeper_gbytes(GBytes *bytes);

GHashTable *intake_staged_new(void);
GHashTable *intake_heads_new(void);

/* intake.c: DAEMON_STAGE, DAEMON_UNSTAGE, DAEMON_APPEND, DAEMON_MARK, DAEMON_APPROVE. */
void intake_stage(Keeper *k, GVariant *body);
void intake_unstage(Keeper *k, GVariant *body);
void intake_append(Keeper *k, Message *m);
void intake_mark(Keeper *k, GVariant *body);
void intake_approve(Keeper *k, GVariant *body);

/* What an append is checked against: the newest content, pending or not, by its sums. */
typedef struct Newest {
    guint64   size_bytes;
    guint8    hash[HASH_BYTES];
    GBytes   *sums;
    FileView *view; /* NULL if it is pending: else the catalog's, and it is in the mirror */
} Newest;
void newest_clear(Newest *n);
G_DEFINE_AUTO_CLEANUP_CLEAR_FUNC(Newest, newest_clear)

/* NO_ENTRY: there is none. DAMAGED: it is not in the store any more. */
gboolean intake_newest(Keeper *k, const char *path, Newest *ret_newest, GError **error);

/* answer.c: DAEMON_LOOKUP, DAEMON_SUMS, DAEMON_POINTS; KEEPER_SPACE. */
void answer_lookup(Keeper *k, GVariant *body);
void answer_sums(Keeper *k, GVariant *body);
void answer_points(Keeper *k, GVariant *body);
void answer_space(Keeper *k, gboolean always);
/* The view of a path, or a failed keeper: an error here is the catalog's. */
FileView *answer_view(Keeper *k, const char *path, CatalogLoad how);

/* supply.c: DAEMON_CONTENT; checking.c: DAEMON_VERIFY. */
void supply_content(Keeper *k, GVariant *body);
void checking_verify(Keeper *k, GVariant *body);

/* upkeep.c: DAEMON_LIMIT, DAEMON_POLICY, DAEMON_PRUNE, DAEMON_FORGET, and what goes on by itself. */
Upkeep  *upkeep_new(void);
gboolean upkeep_open(Keeper *k, GError **error); /* the store is open: what a crash interrupted */
void     upkeep_free(Upkeep *u);
void    upkeep_limit(Keeper *k, GVariant *body);
void    upkeep_policy(Keeper *k, GVariant *body);
void    upkeep_prune(Keeper *k, GVariant *body);
void    upkeep_forget(Keeper *k, GVariant *body);
void    upkeep_cancel(Keeper *k, guint64 job);
/* When its next turn is due, on the monotonic clock; and a turn, which takes some milliseconds. */
gint64  upkeep_due(const Keeper *k);
void    upkeep_turn(Keeper *k);
/* Bytes that may still be taken in: what the disk has free, or what the limit leaves. FALSE with an
 * error: it cannot be told. */
gboolean upkeep_space(Keeper *k, LayoutSpace *ret_space, GError **error);
/* The catalog's totals may have changed. */
void     upkeep_changed(Keeper *k);
/* One step of thinning and compacting, so that so much is free (upkeep_space); 0: for the disk alone,
 * as much as there is. FALSE: that cannot be had. */
gboolean upkeep_make_space(Keeper *k, guint64 wanted_bytes);

G_END_DECLS
