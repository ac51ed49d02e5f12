#pragma once

/* Asking: a call that goes round the stores, and what came of it so far. */

#include "daemon/call.h"
#include "daemon/methods.h"
#include "daemon/round.h"

G_BEGIN_DECLS

typedef struct Asking Asking;
typedef void (*AskingBegin)(Asking *a);

struct Asking {
    Methods *methods;
    uid_t    caller;
    Call    *call;
    Round   *round;
    Drill   *drill;        /* that runs in between, or NULL  */
    gboolean syncing;      /* before the round               */
    AskingBegin begin;     /* when no store of it is being opened any more, or NULL */
    guint    patience;     /* until when that is waited for  */
    GError  *error;        /* the first one                  */
    guint    answers;      /* stores that did as asked       */
    GString *note;         /* what the others said           */
    GVariantBuilder list;  /* aa{sv} */
    guint64  points, bytes;

    char    *path, *store, *name, *not_current;
    guint64  point;
    guint    limit;
    gboolean all, with_points, with_drill, dry_run;
    GVariant *result; /* of Point */
};

/* Room for one more of this caller's. FALSE: BUSY. */
gboolean asking_check(Methods *m, GDBusMethodInvocation *invocation, GError **error);

Asking *asking_new(Methods *m, GDBusMethodInvocation *invocation, const char *path,
                   const RoundFuncs *funcs);

/* Both answer and free it. In the round's `done` the round is over already. */
void asking_return(Asking *a, GVariant *value);
void asking_refuse(Asking *a, const GError *error);

/* Calls it now, or when the stores that are being opened are open, or it lasts too long. */
void asking_when_open(Asking *a, AskingBegin begin);
/* A store changed its state. */
void asking_settled(Methods *m);

/* The entry that the call is about, if it is still there and the caller's; else refuses. */
Entry *asking_entry(Asking *a);

/* Starts the round; refuses with `nothing` if it has no part. */
void asking_start(Asking *a, const char *nothing);

/* For RoundFuncs.answered: remembers what a store said that did not do it. */
void asking_note_error(Asking *a, const RoundPart *part, const GError *error);

/* Stores of the entry, or of the daemon (e NULL), that are not there: in the note. */
void asking_note_absent(Asking *a, const Entry *e, const char *store);

/* The first store of the entry that is there, or the one of that name; "" if there is none. */
const char *asking_first_store(const Entry *e, const char *name);

/* A list that came with the answer in a sealed memory file; NULL with an error. */
GVariant *asking_take_list(Message *m, const char *type, GError **error);

/* The daemon ends. */
void asking_cancel_all(Methods *m);

G_END_DECLS
