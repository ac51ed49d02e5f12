#pragma once

/* KeeperKit: a keeper in a process of its own, driven over its channel. */

#include <glib.h>
#include <sys/types.h>

#include "base/message.h"

typedef struct KitKeeper {
    pid_t    pid;
    Channel *channel;
} KitKeeper;

void kit_keeper_start(KitKeeper *k, const char *path, const char *uuid, gboolean create);
/* KEEPER_OPENED: the store's uuid, or NULL with the error. *ret_damage may be NULL. */
char *kit_keeper_opened(KitKeeper *k, int *ret_errno, gboolean *ret_damage, GError **error);
/* The next message of that type; KEEPER_SPACE and KEEPER_PROGRESS are passed over. NULL: the keeper
 * is gone. */
Message *kit_keeper_wait(KitKeeper *k, MessageType type);
int      kit_keeper_end(KitKeeper *k); /* closes the channel, waits; the exit status, -signal */
int      kit_keeper_stop(KitKeeper *k);
void     kit_keeper_kill(KitKeeper *k); /* SIGKILL, and waits */

/* Sends a content, or (data NULL) another kind of capture. */
void kit_keeper_append(KitKeeper *k, guint64 job, const char *path, AppendKind kind,
                       const void *data, gsize n, PointCause cause);
void kit_keeper_append_fuzzy(KitKeeper *k, guint64 job, const char *path, const void *data, gsize n);
/* Through a staged file. */
void kit_keeper_append_staged(KitKeeper *k, guint64 job, const char *path, const void *data,
                              gsize n, PointCause cause);

/* What changed from `old` to `data`, as a copier sends it. */
void kit_keeper_ranges(KitKeeper *k, guint64 job, const char *path, const void *old, gsize n_old,
                       const void *data, gsize n);

/* The pieces of that, to be spoilt before they are sent. */
typedef struct KitRanges {
    GArray     *ranges; /* Range */
    GByteArray *content;
    GByteArray *sums;
    guint8      hash[HASH_BYTES], base_hash[HASH_BYTES];
    guint64     size_bytes;
    PointCause  cause;
    gboolean    unsealed;  /* the ranges */
    guint       n_fds;     /* 3 */
    gsize       cut;       /* bytes left out at the end of the ranges */
} KitRanges;
KitRanges kit_ranges(const void *old, gsize n_old, const void *data, gsize n);
void      kit_ranges_clear(KitRanges *r);
void      kit_ranges_hash(KitRanges *r); /* the hash anew, from sums and size */
void      kit_keeper_send_ranges(KitKeeper *k, guint64 job, const char *path, const KitRanges *r);

/* The answer's sequence; 0 with the error. *ret_suspicion may be NULL. */
guint64 kit_keeper_durable(KitKeeper *k, guint64 job, GError **error);
guint64 kit_keeper_durable_as(KitKeeper *k, guint64 job, guint32 *ret_suspicion, GError **error);

GBytes *kit_keeper_content(KitKeeper *k, const char *path, guint64 point, GError **error);
GBytes *kit_keeper_content_at(KitKeeper *k, const char *path, gint64 time_usec, GError **error);
/* Only asks, and only takes the answer (of any job: *ret_job), with its descriptor. */
void    kit_keeper_ask_content(KitKeeper *k, guint64 job, const char *path, guint64 point);
GBytes *kit_keeper_take_content(KitKeeper *k, guint64 *ret_job, int *ret_fd, GError **error);

GVariant *kit_keeper_points(KitKeeper *k, const char *path); /* of POINTS_TYPE */
guint64   kit_keeper_mark(KitKeeper *k, const char *path, const char *name, GError **error);
gboolean  kit_keeper_approve(KitKeeper *k, const char *path, GError **error);
guint32   kit_keeper_state(KitKeeper *k, const char *path, guint32 *ret_suspicion,
                           guint64 *ret_good);
GBytes   *kit_keeper_sums(KitKeeper *k, const char *path, guint8 *ret_hash, guint64 *ret_size,
                          GError **error);
/* Bad ranges as "offset+length offset+length ..."; NULL with the error. */
char *kit_keeper_verify(KitKeeper *k, const char *path, gboolean points, guint *ret_points,
                        guint *ret_bad_points, GError **error);
/* PRUNED_TYPE; NULL with the error. */
GVariant *kit_keeper_prune(KitKeeper *k, const char *path, gboolean dry_run, GError **error);
/* Points that are gone; G_MAXUINT with the error. */
guint kit_keeper_forget(KitKeeper *k, const char *path, guint64 point, gboolean current_too,
                        GError **error);
void  kit_keeper_policy(KitKeeper *k, const char *path, const char *keep, guint32 last);
void  kit_keeper_limit(KitKeeper *k, guint64 bytes);
