#pragma once

/* Round: one question about files, put to the stores that have them, one after another. */

#include "daemon/manager.h"

G_BEGIN_DECLS

typedef struct Round Round;

typedef struct RoundPart {
    char *path;
    char *store; /* its name */
} RoundPart;

typedef struct RoundFuncs {
    MessageType type;
    /* The body for this part. */
    GVariant *(*ask)(guint64 job, const RoundPart *part, gpointer data);
    /* The answer; NULL with an error: none came, or the store is not there. FALSE: go on with the next
     * part only when round_go_on() is called. */
    gboolean (*answered)(const RoundPart *part, Message *m, const GError *error, gpointer data);
    /* All parts are done; the round is freed after it. */
    void (*done)(gpointer data);
} RoundFuncs;

/* `funcs` must outlive the round. */
Round *round_new(Manager *m, const RoundFuncs *funcs, gpointer data);
void   round_add(Round *r, const char *path, const char *store);
/* Every store of the entry that is there, or also those that are not; or just the one of that name
 * ("" for all). */
void   round_add_entry(Round *r, const Entry *e, const char *store, gboolean absent_too);
guint  round_count(const Round *r); /* parts to come */
void   round_go_on(Round *r);      /* starts it, too */
void   round_cancel(Round *r);     /* no function is called any more */

G_END_DECLS
