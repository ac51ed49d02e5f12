#pragma once

/* Messages between the roles: one enum, one type string each, over a SOCK_SEQPACKET pair.
 *
 * A message is named by its sender, then by what it says. Its body is a GVariant tuple of exactly
 * the type given here (checked on both ends, must be in normal form), at most
 * MESSAGE_MAX_BYTES; descriptors travel beside it. Paths are "ay" (path.h), FileStat is
 * FILESTAT_TYPE, a `job` is the parent's number for the request that an answer belongs to. */

#include <glib.h>
#include <sys/types.h>

#include "base/filestat.h"

G_BEGIN_DECLS

#define MESSAGE_MAX_BYTES (128 * 1024)
#define MESSAGE_MAX_FDS   16

/* An error as messages carry it: code (FiledupError), errno or 0, text. code -1 means none. */
#define MESSAGE_ERROR_TYPE "(iis)"

/* clang-format off */
#define MESSAGE_LIST(X)                                                                            \
    /* every role, once, when it is ready to serve */                                              \
    X(ROLE_READY,        "()")                                                                     \
    /* parent -> any role: finish what you do, then exit 0 */                                      \
    X(DAEMON_STOP,       "()")                                                                     \
                                                                                                   \
    /* parent -> watcher. entry, folder, name, flags (WatchFlags). Again for an entry that is      \
       watched already: resolve its path anew. */                                                  \
    X(DAEMON_WATCH,      "(tayayu)")                                                               \
    X(DAEMON_UNWATCH,    "(t)")                                                                    \
    /* number: answered by WATCHER_DRAINED once all events that had happened before are sent */    \
    X(DAEMON_DRAIN,      "(t)")                                                                    \
    /* entry, what (ChangeWhat bits) */                                                            \
    X(WATCHER_CHANGE,    "(tu)")                                                                   \
    /* entry, state (WatchState), errno, how many watches are needed or 0. Sent when it changes;   \
       whatever the state, the file must be compared anew after it. */                             \
    X(WATCHER_STATE,     "(tuit)")                                                                 \
    X(WATCHER_DRAINED,   "(t)")                                                                    \
    /* events were lost: compare every entry of this watcher */                                    \
    X(WATCHER_OVERFLOW,  "()")                                                                     \
                                                                                                   \
    /* parent -> copier. job, path as the caller gave it (absolute), must the caller be able to    \
       write it. Answer: job, error, folder, name, type (InspectType), stat (zeros if none),       \
       st_dev of the folder (or of the nearest folder that exists), note */                        \
    X(DAEMON_INSPECT,    "(tayb)")                                                                 \
    X(COPIER_INSPECTED,  "(t" MESSAGE_ERROR_TYPE "ayayu" FILESTAT_TYPE "ts)")                      \
    /* job, folder, name, flags (CaptureFlags), as recorded: stat (zeros if none), content hash    \
       (16 bytes or empty), attributes; + [sums] as recorded, of content of stat's size: then      \
       CAPTURE_RANGES may be the answer */                                                         \
    X(DAEMON_CAPTURE,    "(tayayu" FILESTAT_TYPE "ayay)")                                          \
    /* job, size: the content is too large for a memory buffer, send staged files */               \
    X(COPIER_STAGE,      "(tt)")                                                                   \
    /* job, go on? + one descriptor per store */                                                   \
    X(DAEMON_STAGED,     "(tb)")                                                                   \
    /* job, bytes done: proof of life for the time monitor */                                      \
    X(COPIER_PROGRESS,   "(tt)")                                                                   \
    /* job, outcome (CaptureOutcome), error, stat taken before the read, quality (Quality),        \
       content hash (16 bytes), attributes, who has the file open for writing ("" if not known);   \
       + for CAPTURE_CONTENT: [sums] and, unless it went to staged files, [content]; for           \
       CAPTURE_RANGES: [sums] of the whole content, [content] of the ranges one after the other,   \
       [ranges]. All are sealed memory files; sums are little-endian XXH3-64 per SUM_BLOCK_BYTES,  \
       ranges are Range (little-endian), ascending, disjoint, within the new size */               \
    X(COPIER_CAPTURED,   "(tu" MESSAGE_ERROR_TYPE FILESTAT_TYPE "uayays)")                         \
    /* job, folder, name, flags (RestoreFlags), size, stat and attributes to give it, may it set   \
       owner and privileged attributes; in place: the stat of what was saved as a point before     \
       (zeros: nothing was); + [source, sums] and with RESTORE_TO_FD [target] */                   \
    X(DAEMON_RESTORE,    "(tayayut" FILESTAT_TYPE "ayb" FILESTAT_TYPE ")")                         \
    /* job, error, what was there before: its temporary name in the same folder or "", its dev     \
       and ino; bytes written; attributes that could not be set or ""; who is in the way or "" */  \
    X(COPIER_RESTORED,   "(t" MESSAGE_ERROR_TYPE "aytttss)")                                       \
    /* job, folder, temporary name, dev, ino: remove what a restore swapped out; job, error */     \
    X(DAEMON_DISCARD,    "(tayaytt)")                                                              \
    X(COPIER_DISCARDED,  "(t" MESSAGE_ERROR_TYPE ")")                                              \
                                                                                                   \
    /* keeper, once after start-up instead of ROLE_READY: error, uuid, applied sequence, damage    \
       found (what it knows of each file may be wrong: compare content), notes for the operator */ \
    X(KEEPER_OPENED,     "(" MESSAGE_ERROR_TYPE "stbs)")                                           \
    /* job, path of the file: what does the store have of it? Answer: job, state (StoredState),    \
       stat, content hash, attributes, quality, record time in us, mirror's path in the store,     \
       newest sequence, suspicion (Suspicion bits), since when in us, the good point that is       \
       pinned for it */                                                                            \
    X(DAEMON_LOOKUP,     "(tay)")                                                                  \
    X(KEEPER_FOUND,      "(tu" FILESTAT_TYPE "ayayuxaytuxt)")                                      \
    /* path, keep ("24h 7d ..."), keep-last: how its points are thinned, until told otherwise; a   \
       file of which the store has nothing yet may be named. No answer. */                         \
    X(DAEMON_POLICY,     "(aysu)")                                                                 \
    /* bytes that the store may take in all, 0 for no limit. No answer. */                         \
    X(DAEMON_LIMIT,      "(t)")                                                                    \
    /* job, path: the sums of its newest content. Answer: job, error, its hash, size; + [sums] */  \
    X(DAEMON_SUMS,       "(tay)")                                                                  \
    X(KEEPER_SUMS,       "(t" MESSAGE_ERROR_TYPE "ayt)")                                           \
    /* job, size: a staged file; answer: job, error, number; + [descriptor] */                     \
    X(DAEMON_STAGE,      "(tt)")                                                                   \
    X(KEEPER_STAGED,     "(t" MESSAGE_ERROR_TYPE "t)")                                             \
    /* number: not needed any more */                                                              \
    X(DAEMON_UNSTAGE,    "(t)")                                                                    \
    /* job, path of the file, principal, kind (AppendKind), stat, content hash, attributes,        \
       quality, cause (PointCause), staged number or 0, and for APPEND_RANGES the hash of the      \
       content that the ranges change; + for APPEND_CONTENT: [sums, content], for APPEND_STAGED:   \
       [sums], for APPEND_RANGES: [sums, content, ranges] as in COPIER_CAPTURED. DAMAGED: the      \
       store has not what was to be changed: look it up anew, and send it whole */                 \
    X(DAEMON_APPEND,     "(tayuu" FILESTAT_TYPE "ayayuutay)")                                      \
    /* job, error, sequence of the commit, CLOCK_MONOTONIC in us after its fdatasync, record time  \
       in us of CLOCK_REALTIME, suspicion (Suspicion bits; set since this commit or before) */     \
    X(KEEPER_DURABLE,    "(t" MESSAGE_ERROR_TYPE "txxu)")                                          \
    /* job, path, name ("" for none), cause: makes the newest content a recovery point that is     \
       kept until it is forgotten. Answered by KEEPER_DURABLE; its sequence is the point's id. */  \
    X(DAEMON_MARK,       "(taysu)")                                                                \
    /* job, path: the suspicious change was wanted; unpins, thins again. KEEPER_DURABLE answers */ \
    X(DAEMON_APPROVE,    "(tay)")                                                                  \
    /* job, path, point (0: what a restore should take by default), as of this time in us (0: no   \
       matter; else the newest content then). Answer: job, error, size, stat, attributes, quality, \
       time in us, point (0: the newest), newest stable point or 0; + [content read-only, sums] */ \
    X(DAEMON_CONTENT,    "(taytx)")                                                                \
    X(KEEPER_CONTENT,    "(t" MESSAGE_ERROR_TYPE "t" FILESTAT_TYPE "ayuxtt)")                      \
    /* job, path, how many at most (0: all). Answer: job, error, how many; + [points]: a sealed    \
       memory file with a GVariant of POINTS_TYPE, newest first */                                 \
    X(DAEMON_POINTS,     "(tayu)")                                                                 \
    X(KEEPER_POINTS,     "(t" MESSAGE_ERROR_TYPE "u)")                                             \
    /* job, path ("": all), dry run: thins by the policies. Answer: job, error, points removed,    \
       bytes given back (about); + [list]: a memory file with PRUNED_TYPE */                       \
    X(DAEMON_PRUNE,      "(tayb)")                                                                 \
    X(KEEPER_PRUNED,     "(t" MESSAGE_ERROR_TYPE "tt)")                                            \
    /* job, path, point (0: all points), the current content too (then the store has nothing of    \
       it any more; only with point 0). Gone from the disk when it answers: job, error, points */  \
    X(DAEMON_FORGET,     "(taytb)")                                                                \
    X(KEEPER_FORGOTTEN,  "(t" MESSAGE_ERROR_TYPE "u)")                                             \
    /* job, path, the points too: reads what is there against the sums. Answer: job, error, bytes  \
       read, bad ranges of the mirror (offset, length), points read, points that are bad */        \
    X(DAEMON_VERIFY,     "(tayb)")                                                                 \
    X(KEEPER_VERIFIED,   "(t" MESSAGE_ERROR_TYPE "ta(tt)uat)")                                     \
    /* job of a long answer (content, prune, forget, verify), bytes done: it is being worked on */ \
    X(KEEPER_PROGRESS,   "(tt)")                                                                   \
    /* job: not wanted any more; there may still be an answer */                                   \
    X(DAEMON_CANCEL,     "(t)")                                                                    \
    /* keeper, unasked: free bytes, of bytes, journal bytes waiting to be applied, files, bytes    \
       in mirrors, bytes of history, points */                                                     \
    X(KEEPER_SPACE,      "(ttttttt)")

typedef enum {
    MESSAGE_NONE,
#define X(name, type) MESSAGE_##name,
    MESSAGE_LIST(X)
#undef X
    MESSAGE_COUNT,
} MessageType;

typedef enum { WATCH_WRITES = 1 << 0 /* MODIFY too: per-write rows */ } WatchFlags;

typedef enum {
    CHANGE_CLOSED   = 1 << 0, /* a writer closed it                                 */
    CHANGE_WRITTEN  = 1 << 1, /* written or truncated, still open                   */
    CHANGE_APPEARED = 1 << 2, /* created, or moved in: another inode under the name */
    CHANGE_GONE     = 1 << 3, /* deleted, or moved away                             */
    CHANGE_ATTRIB   = 1 << 4,
} ChangeWhat;

typedef enum {
    WATCH_NONE,      /* not asked for, or not yet                                       */
    WATCH_ACTIVE,    /* the folder is watched                                           */
    WATCH_WAITING,   /* the folder does not exist; its appearance will be noticed       */
    WATCH_SCAN,      /* cannot be watched (errno says why): scan it from time to time   */
} WatchState;

typedef enum {
    INSPECT_ABSENT,  /* nothing there yet; the folder may not exist either */
    INSPECT_REGULAR,
    INSPECT_FOLDER,
    INSPECT_OTHER,
} InspectType;

typedef enum {
    CAPTURE_COMPARE_CONTENT = 1 << 0, /* read it even if the stat is as recorded               */
    CAPTURE_ALLOW_FUZZY     = 1 << 1, /* not stable is better than nothing                     */
    CAPTURE_UNCONDITIONAL   = 1 << 2, /* send the content even if it is as recorded            */
    CAPTURE_PER_WRITE       = 1 << 3, /* a writer is normal; re-read what moves, up to 5 times */
} CaptureFlags;

typedef enum {
    CAPTURE_UNCHANGED,  /* as recorded, stat included                          */
    CAPTURE_ATTRIBUTES, /* content as recorded; stat or attributes are not     */
    CAPTURE_CONTENT,    /* new content                                         */
    CAPTURE_RANGES,     /* new content, told by what changed                   */
    CAPTURE_GONE,       /* the folder is there, on the recorded file system; the name is not */
    CAPTURE_ABSENT,     /* the folder is not there, or on another file system  */
    CAPTURE_UNSTABLE,   /* somebody can still write it, or did during the read */
    CAPTURE_FAILED,     /* the error says why                                  */
} CaptureOutcome;

typedef enum {
    QUALITY_NONE,
    QUALITY_FUZZY,  /* may mix moments             */
    QUALITY_STABLE, /* one moment, nobody writing  */
    QUALITY_EXACT,  /* every write, in order       */
} Quality;

typedef enum {
    RESTORE_FORCE    = 1 << 0, /* even over a file that somebody has open for writing */
    RESTORE_IN_PLACE = 1 << 1, /* keep the inode: write only the blocks that differ   */
    RESTORE_TO_FD    = 1 << 2, /* into the caller's descriptor, no attributes         */
    RESTORE_DRY_RUN  = 1 << 3, /* say what would be done                              */
} RestoreFlags;

typedef enum {
    STORED_NOTHING, /* never seen                                              */
    STORED_CURRENT, /* the stat and hash are of the newest committed content   */
    STORED_DELETED, /* the original was deleted; the last content is kept      */
} StoredState;

typedef enum {
    APPEND_CONTENT,    /* whole new content, in a sealed memory file    */
    APPEND_STAGED,     /* whole new content, in a staged file           */
    APPEND_ATTRIBUTES, /* stat and attributes only                      */
    APPEND_DELETE,     /* the original was deleted                      */
    APPEND_RANGES,     /* new content, told by what changed             */
    APPEND_MARK,       /* the newest content is given a name, or kept   */
    APPEND_COUNT,
} AppendKind;

typedef enum {
    CAUSE_FIRST,          /* the full backup at registration             */
    CAUSE_CLOSE,          /* a change in the ordinary course             */
    CAUSE_BEFORE_RESTORE, /* what a restore replaced: kept as a point, does not become the mirror */
    CAUSE_DELETED,        /* the last content before a deletion          */
    CAUSE_QUIET,          /* a file written without end stood still      */
    CAUSE_NAMED,          /* somebody asked for it                       */
    CAUSE_COUNT,
} PointCause;

/* What speaks against a change: the points before it are kept until somebody approves. */
typedef enum {
    SUSPICION_EMPTIED   = 1 << 0, /* it had content, and has none                              */
    SUSPICION_ENCRYPTED = 1 << 1, /* most of it was rewritten, with what cannot be compressed  */
} Suspicion;

/* Why a point outlasts its policy. */
typedef enum {
    KEPT_STABLE    = 1 << 0, /* the newest stable content, a fuzzy one came after it    */
    KEPT_NAMED     = 1 << 1, /* somebody asked for it                                   */
    KEPT_SUSPICION = 1 << 2, /* the last one before a suspicious change                 */
    KEPT_BOOT      = 1 << 3, /* the newest one when the machine went down without a stop */
} Kept;

/* id (the sequence that brought it; it stays the same while the content is the newest), sequence,
 * time in us, cause, quality, size, bytes changed since the point before, name, kept (Kept bits),
 * time in us when the original was found deleted after it or 0, is it the newest content? */
#define POINTS_TYPE "a(ttxuuttsuxb)"
/* path, point, its time in us, its size, why */
#define PRUNED_TYPE "a(aytxts)"

/* A piece of content that changed. */
typedef struct Range {
    guint64 offset, length;
    guint64 zeros; /* 1: it is all zeros, and takes no bytes of [content] */
} Range;

/* The ranges of one capture hold at most so much; a file of which more has changed is sent whole. */
#define RANGES_BUFFER_BYTES ((gsize) 64 * 1024 * 1024)

/* Content up to this size travels in memory and through the journal; larger in staged files. */
#define CAPTURE_BUFFER_BYTES ((gsize) 8 * 1024 * 1024)

#define SUM_BLOCK_BYTES 16384
#define HASH_BYTES      16

typedef struct Message {
    MessageType type;
    GVariant   *body;
    int         fds[MESSAGE_MAX_FDS]; /* -1 where taken */
    guint       n_fds;
    pid_t       pid;
} Message;

void message_free(Message *m);
G_DEFINE_AUTOPTR_CLEANUP_FUNC(Message, message_free)

const char *message_name(MessageType type);

/* Moves descriptor i out of the message: -1 if there is none. */
int message_take_fd(Message *m, guint i);

/* Floating MESSAGE_ERROR_TYPE of an error (NULL: none), and back: sets *error and returns FALSE if
 * the message carried one. */
GVariant *message_error_new(const GError *error, int errnum);
gboolean  message_error_check(GVariant *value, int *ret_errnum, GError **error);

/* Channel: one end of the pair. Sends never block: what the socket does not take is queued. */
typedef struct Channel Channel;

/* Takes the descriptor, makes it non-blocking. */
Channel *channel_new(int fd);
void     channel_free(Channel *c);
int      channel_fd(Channel *c);
G_DEFINE_AUTOPTR_CLEANUP_FUNC(Channel, channel_free)

/* Sinks `body`. The descriptors are borrowed (duplicated while queued). FALSE: the peer is gone. */
gboolean channel_send(Channel *c, MessageType type, GVariant *body, const int *fds, guint n_fds,
                      GError **error);

/* Bytes that wait in the queue; call channel_flush when the socket takes more (POLLOUT). */
gboolean channel_has_queue(Channel *c);
gboolean channel_flush(Channel *c, GError **error);

/* The next message. NULL without an error: none now; NULL with an error: the peer is gone, or said
 * what it must not (then treat it as gone). */
Message *channel_receive(Channel *c, GError **error);

/* For roles that do one thing at a time: waits for a message, flushing the queue meanwhile.
 * timeout_msec -1: for ever. NULL without an error: time is up. */
Message *channel_wait(Channel *c, int timeout_msec, GError **error);

/* Calls back with each message in the main loop, and once with NULL when the peer is gone; flushes
 * by itself. The source ends with channel_free. */
typedef void (*ChannelFunc)(Channel *c, Message *m, gpointer data);
void channel_attach(Channel *c, ChannelFunc func, gpointer data);

G_END_DECLS
/* clang-format on */
