#pragma once

/* Life: random operations on a store's files, in bursts, with kills and checks in between. */

#include "tests/unit/proofkit.h"

typedef struct Life {
    Proof *p;
    GRand *rand;
    guint files;
    gboolean small; /* nothing past 64 KiB */
    guint64 done, kills, stops, checks, seen;
} Life;

/* One operation, sent and not waited for. */
void life_operation(Life *l);

/* A burst of them, and then perhaps a kill, a stop, a check. FALSE: l->p->problems says what. */
gboolean life_step(Life *l);

/* After the keeper has gone: what it had sent is taken in, and another is started, and checked. */
gboolean life_start_again(Life *l);

/* Everything is compared: `settled` when all is applied. */
gboolean life_check(Life *l, gboolean settled);
