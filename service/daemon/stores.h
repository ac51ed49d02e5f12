#pragma once

/* Stores: the parent's view of each store and its keeper. */

#include <glib.h>

#include "base/message.h"

G_BEGIN_DECLS

typedef struct Stores Stores;
typedef struct Store  Store;

typedef enum {
    STORE_OPENING,
    STORE_READY,
    STORE_ABSENT,    /* the folder does not hold it: not mounted, moved */
    STORE_READ_ONLY,
    STORE_BUSY,      /* another daemon has it */
    STORE_FAILED,
} StoreState;

/* A store became ready or ceased to be, or its uuid became known. */
typedef void (*StoresFunc)(Store *store, gpointer data);

/* The answer to a request; NULL with an error: the keeper ended before it. */
typedef void (*StoreAnswer)(Store *store, Message *m, const GError *error, gpointer data);

Stores *stores_new(gboolean system, StoresFunc func, gpointer data);
void    stores_free(Stores *s);

Store *stores_add(Stores *s, const char *name, const char *path, const char *uuid, gboolean create);
void   stores_remove(Stores *s, Store *store);
Store *stores_find(Stores *s, const char *name);
GList *stores_list(Stores *s); /* borrowed, by name */
void   stores_retry_absent(Stores *s); /* a mount changed */

/* Asks all keepers to stop; stores_are_stopped tells when they have. */
void     stores_stop(Stores *s);
gboolean stores_are_stopped(Stores *s);

const char *store_name(const Store *store);
const char *store_path(const Store *store);
const char *store_uuid(const Store *store);
StoreState  store_state(const Store *store);
const char *store_state_name(const Store *store); /* "full" too */
const char *store_note(const Store *store);
gboolean    store_is_ready(const Store *store);
gboolean    store_was_damaged(const Store *store); /* at its last opening */
gboolean    store_is_created(const Store *store);
gint64      store_seen_usec(const Store *store);
typedef struct StoreUsage {
    guint64 free_bytes, size_bytes; /* of its file system                    */
    guint64 journal_bytes;          /* that wait to be applied               */
    guint64 files, mirror_bytes, history_bytes, points;
} StoreUsage;
const StoreUsage *store_usage(const Store *store);
/* How much it may take in all, 0: no limit. Its keeper is told now and at each opening. */
void        store_set_limit(Store *store, guint64 bytes);
guint64     store_limit(const Store *store);
void        store_set_full(Store *store, gboolean full);

/* The next job number for a body. */
guint64 store_next_job(void);

/* Sends; `func` is called exactly once, unless all stores are freed before. */
void store_request(Store *store, guint64 job, MessageType type, GVariant *body, const int *fds,
                   guint n_fds, StoreAnswer func, gpointer data);
/* The answer is not wanted any more. */
void store_forget(Store *store, guint64 job);
/* Nor need it be worked on any longer: for what takes long (content, prune, forget, verify). */
void store_cancel(Store *store, guint64 job);
void store_tell(Store *store, MessageType type, GVariant *body);

G_END_DECLS
