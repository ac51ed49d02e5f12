#pragma once

/* ProofKit: a keeper in a process of its own, driven as the parent does it, and beside it a simple
 * account of what its store must have: for every file all contents that were acknowledged. The
 * keeper may be killed at any moment; proof_check then tells whether the store keeps its promises. */

#include <glib.h>
#include <sys/types.h>

#include "base/message.h"
#include "store/reader.h"
#include "tests/tools/interpose.h"
#include "tests/tools/systrace.h"

typedef enum {
    VERSION_THERE, /* must be listed, bit-exact                                     */
    VERSION_MAYBE, /* may have been thinned or merged away; if listed, bit-exact    */
    VERSION_GONE,  /* forgotten: must not be listed                                 */
} VersionState;

typedef struct Version {
    guint64 id; /* 0: not known (it was never acknowledged) */
    GBytes *bytes;
    guint8 hash[HASH_BYTES];
    Quality quality;
    PointCause cause;
    guint32 mode; /* that it came with                           */
    char *name;
    gboolean kept, aside; /* named; beside the chain (before a restore) */
    VersionState state;
} Version;

typedef struct ProofFile {
    char *path;
    GPtrArray *versions; /* Version, those that are certain, oldest first     */
    Version *current;    /* borrowed; NULL: none                              */
    gboolean deleted;
    guint32 mode;
    gboolean thinned; /* a policy was told: points may go at any time       */
    GPtrArray *ops;   /* ProofOp, borrowed: sent since the last proof_check */
} ProofFile;

typedef enum {
    OP_IS_CONTENT,
    OP_IS_RANGES,
    OP_IS_STAGED,
    OP_IS_ATTRIBUTES,
    OP_IS_DELETE,
    OP_IS_MARK,
    OP_IS_FORGET, /* of `version`, or (NULL) of all points; `all`: of the current content too */
    OP_IS_PRUNE,
} ProofOpKind;

typedef struct ProofOp {
    guint64 job;
    ProofOpKind kind;
    ProofFile *file; /* NULL: all (prune) */
    Version *version;
    gboolean all;
    char *name;
    guint32 mode;
    gboolean answered, refused, failed; /* failed: a forget, of which a part may be done */
    guint process;                      /* that it was sent to */
    guint64 id;                         /* of the answer */
    guint64 sent_at;                    /* position in the log */
    guint64 answer_number;              /* of the message that answered, from 1 (of that process) */
    guint64 answer_at;                  /* its position in the log: set by whoever has the log */
    char *error;
} ProofOp;

/* Once `file` has no point of that number, the bytes must be nowhere. */
typedef struct Doomed {
    ProofFile *file;
    guint64 id;
    GBytes *bytes;
} Doomed;

typedef struct Proof {
    char *path, *uuid;
    Interpose *ip;
    pid_t pid; /* 0: none */
    Channel *channel;
    guint process;           /* how many there have been                    */
    gboolean gone;           /* the process closed its end                  */
    guint64 sent, received;  /* messages                                    */
    GPtrArray *files, *ops;  /* ops: owned, in the order in which they were sent */
    GPtrArray *all_versions; /* owned                                       */
    GArray *doomed;          /* Doomed: what is being forgotten             */
    guint64 job;
    guint64 counter;   /* makes contents unlike one another           */
    GString *problems; /* what proof_check found                      */
    char *log_path;    /* what the keeper said                        */
    gboolean damage;   /* as KEEPER_OPENED said                       */
    char *note;
    SysTrace *trace;     /* borrowed; NULL: not traced                  */
    StoreReader *reader; /* it is asked, instead of the keeper          */
    GRand *sample;       /* borrowed; not NULL: older points' bytes are read now and then */
    gboolean keep_ops;   /* proof_check leaves everything as it is      */
} Proof;

Proof *proof_new(const char *path, Interpose *ip);
void proof_free(Proof *p);
G_DEFINE_AUTOPTR_CLEANUP_FUNC(Proof, proof_free)

/* The file of that path: made known when first asked for. */
ProofFile *proof_file(Proof *p, const char *path);

/* Starts a keeper. FALSE: it did not open the store; *ret_error has what it said (or NULL). */
gboolean proof_start(Proof *p, char **ret_error);

/* Exit status, or -signal; what it had sent is taken in first. */
int proof_end(Proof *p);
int proof_stop(Proof *p); /* in order */
int proof_kill(Proof *p);

/* Bytes that no other content has: n of them, of which a part can be compressed. */
GBytes *proof_bytes(Proof *p, gsize n);

/* These send, and do not wait. */
Version *proof_content(Proof *p, ProofFile *f, GBytes *bytes, Quality quality, PointCause cause);
Version *proof_ranges(Proof *p, ProofFile *f, GBytes *bytes, Quality quality, PointCause cause);
void proof_attributes(Proof *p, ProofFile *f, guint32 mode);
void proof_delete(Proof *p, ProofFile *f);
void proof_mark(Proof *p, ProofFile *f, const char *name);
void proof_forget(Proof *p, ProofFile *f, Version *v, gboolean all);
void proof_prune(Proof *p, ProofFile *f);
void proof_policy(Proof *p, ProofFile *f, const char *keep, guint32 keep_last);

/* Waits for the staged file, fills it, sends the append. NULL: the keeper has gone, or refused. */
Version *proof_staged(Proof *p, ProofFile *f, GBytes *bytes, Quality quality, PointCause cause);

/* The newest content that has been sent, answered or not; NULL: none, or the answer is open. */
Version *proof_newest(ProofFile *f);

/* All that was sent is answered. FALSE: the keeper has gone. */
gboolean proof_flush(Proof *p);

/* The keeper has done what can be done without time. FALSE: it has gone. */
gboolean proof_rest(Proof *p);

/* What is sent from now on comes to it as one, when something is waited for. So a run does not depend
 * on how fast either of the two is. */
void proof_hold(Proof *p);

/* Time goes on until nothing is left to do. FALSE: the keeper has gone. */
gboolean proof_settle(Proof *p);

/* Compares what the keeper answers with what must be, as of the position `cut` of the log
 * (G_MAXUINT64: now). FALSE: p->problems has more. With `settled`, mirrors are compared too. Unless
 * keep_ops is set, what was found of unanswered operations is certain from then on. */
gboolean proof_check(Proof *p, guint64 cut, gboolean settled);

/* The same, without a keeper: what `filedup --store` would see. No store there is fine too. */
gboolean proof_check_offline(Proof *p, guint64 cut);

/* These contents (which share nothing with others) are to be forgotten; and: those that are, by what
 * the last proof_check has found, are in no file of the store. */
void proof_doom(Proof *p, ProofFile *f);
gboolean proof_check_doomed(Proof *p);
