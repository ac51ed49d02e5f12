#pragma once

/* Workload: what a keeper is given to do, in scenarios that each reach one part of it. */

#include "tests/unit/proofkit.h"

#define WORKLOAD_TOTAL_BYTES                                                                       \
    (G_GUINT64_CONSTANT(96) * 1024 * 1024) /* of the pretended disk: segments are of 1 MiB */

typedef struct Scenario {
    const char *name;
    void (*prepare)(Proof *p); /* NULL: the keeper is not started */
    void (*act)(Proof *p);
    guint floor; /* workload.c */
    guint heavy; /* only every so many calls are tried */
} Scenario;

extern const Scenario scenarios[];
extern const guint n_scenarios;

/* A little more, after anything. */
void workload_more(Proof *p);

/* A bit of everything, with kills and restarts; the keeper runs before it and after it. */
void workload_day(Proof *p);

/* The newest content with n bytes at `at` replaced, and of that size. */
GBytes *workload_edited(Proof *p, ProofFile *f, gsize at, gsize n, gsize size);
