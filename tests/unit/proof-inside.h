#pragma once

/* The inside of ProofKit, shared by its files: proofkit.c (the process, messages), proof-operations.c
 * (what it is told), account.c (what its store must have), found.c (what it says that it has), and
 * proof-check.c (whether the one is the other). */

#include "tests/unit/proofkit.h"

/* What is wrong, a line of p->problems. */
void proof_problem(Proof *p, const char *format, ...) G_GNUC_PRINTF(2, 3);
/* PROOF_TRACE=1: what is done, for the shortest way to a failure. */
void proof_trace(const Proof *p, const char *format, ...) G_GNUC_PRINTF(2, 3);

void proof_ask(Proof *p, MessageType type, GVariant *body, const int *fds, guint n_fds);
Message *proof_wait_for(Proof *p, MessageType type); /* NULL: the keeper has gone */

/* The content that was answered with this number; NULL: none. */
Version *proof_version(const ProofFile *f, guint64 id);

#define ALL_OF_IT G_MAXUINT64
GBytes *proof_read_whole(int fd, guint64 size_bytes);

/* ---- what must be there ---- */

typedef struct Must {
    Version *version;
    VersionState state;
    char *name;
    gboolean kept;
} Must;

typedef struct State {
    GArray *all; /* Must, oldest first */
    Version *current;
    gboolean deleted;
    guint32 mode;
} State;

void state_clear(State *s);
G_DEFINE_AUTO_CLEANUP_CLEAR_FUNC(State, state_clear)

Must *must_of(State *s, const Version *v);

/* What is certain; then, one after the other, what was done: it has happened, or may have, in part. */
void state_start(State *s, const ProofFile *f);
void state_apply(State *s, const ProofOp *op);
void state_perhaps(State *s, const ProofOp *op);
void state_thin(State *s); /* by a policy: what nothing else keeps may be gone */

/* ---- what is there ---- */

typedef struct Seen {
    guint64 id, size_bytes;
    guint32 quality, kept;
    char *name;
    gboolean newest, thinned; /* thinned: after it was listed */
    gboolean unknown;         /* unknown: no answer has named it */
    Version *version;         /* whose bytes it has */
} Seen;

typedef struct Found {
    guint32 state, mode;
    guint8 hash[HASH_BYTES];
    char *mirror;
    GArray *seen; /* newest first */
} Found;

void found_clear(Found *f);
G_DEFINE_AUTO_CLEANUP_CLEAR_FUNC(Found, found_clear)

/* FALSE: it cannot be had, or is not bit-exact what it was; p->problems says what. */
gboolean found_look_up(Proof *p, const ProofFile *f, Found *ret);
gboolean found_list(Proof *p, const ProofFile *f, Found *ret);
