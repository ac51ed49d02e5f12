#pragma once

/* Keeper: the inside of the role that owns a store, shared by its files (keeper.c, intake.c,
 * answer.c). The outside is keeper_main (base/role.h). */

#include <glib.h>

#include "base/message.h"
#include "store/apply.h"

G_BEGIN_DECLS

typedef struct Unacked {
    guint64 job, seq;
    gint64  time_usec;
} Unacked;

typedef struct Keeper {
    Channel *channel;
    Store    store;

    GArray     *unacked;       /* Unacked: written, and not durable yet          */
    gsize       unacked_bytes;
    GHashTable *stuck;         /* path -> Stuck: cannot be applied for now       */
    GHashTable *staged;        /* number (guint64) -> Staged: handed out         */
    guint64     next_staged;
    guint64     next_file;
    GHashTable *ids;           /* path -> file id (guint64), of recent appends   */

    gint64  last_append_usec;   /* of the monotonic clock, as all here           */
    gint64  first_pending_usec; /* since when something waits to be applied      */
    guint64 drain_through;      /* apply up to this sequence, however busy       */
    gint64  space_said_usec, space_looked_usec;
    guint64 space_said_free;
    gboolean lost;              /* a content was given up: the next opening says so, soon        */
    gboolean failed;            /* nothing may be acknowledged any more: the role exits non-zero */
} Keeper;

/* One fdatasync for all that was written, then the answers. FALSE: k->failed. */
gboolean keeper_commit(Keeper *k);

/* Applies one path. FALSE with an error: it is retried later, as no other path is hindered by, or
 * its content was given up (k->lost), or k->failed. */
gboolean keeper_apply(Keeper *k, const char *path, GError **error);

/* Takes the oldest path that is not stuck one step on: it is applied, or stuck. FALSE with an error:
 * there is none (AGAIN), or k->failed. */
gboolean keeper_apply_oldest(Keeper *k, GError **error);

/* Said once where nothing goes on. */
void keeper_fail(Keeper *k, const GError *error);
void keeper_send(Keeper *k, MessageType type, GVariant *body, const int *fds, guint n_fds);

GHashTable *intake_staged_new(void);

/* intake.c: DAEMON_STAGE, DAEMON_UNSTAGE, DAEMON_APPEND. */
void intake_stage(Keeper *k, GVariant *body);
void intake_unstage(Keeper *k, GVariant *body);
void intake_append(Keeper *k, Message *m);

/* answer.c: DAEMON_LOOKUP, DAEMON_CONTENT, DAEMON_POINTS; KEEPER_SPACE. */
void answer_lookup(Keeper *k, GVariant *body);
void answer_content(Keeper *k, GVariant *body);
void answer_points(Keeper *k, GVariant *body);
void answer_space(Keeper *k, gboolean always);

G_END_DECLS
