#pragma once

/* Methods: what org.filedup.Manager1's calls do. One file for each family of them. */

#include "daemon/drills.h"
#include "daemon/manager.h"
#include "daemon/manager1.h"
#include "daemon/sync.h"

G_BEGIN_DECLS

typedef struct Methods {
    Manager *manager;
    Drills  *drills;
    Syncs   *syncs;
    GList   *asking; /* of Asking (methods-asking.h): what waits for stores */
} Methods;

/* Connects the skeleton's handlers. */
Methods *methods_new(Manager *m, Drills *drills, FiledupManager1 *skeleton);
void     methods_free(Methods *methods);

/* Something changed: answers the calls to Sync that were waiting for it. */
void methods_settled(Methods *methods);

/* The families. */
typedef struct MethodsHandler {
    const char *signal;
    GCallback   handler;
} MethodsHandler;
extern const MethodsHandler methods_content[], methods_points[], methods_prune[], methods_rows[],
    methods_stores[], methods_verify[];

/* Answers with the error; always TRUE, as a handler returns. */
gboolean methods_refuse(GDBusMethodInvocation *invocation, const GError *error);

/* The entry, if it exists and the caller may use it. */
Entry *methods_find(Methods *m, GDBusMethodInvocation *invocation, const char *path, GError **error);
gboolean methods_option_is_set(GVariant *options, const char *key);
/* The option `store` as *ret_name ("" if none), a store of the entry (NULL: any); *ret_store may be
 * NULL. */
gboolean methods_store_option(Methods *m, const Entry *e, GVariant *options, const char **ret_name,
                              Store **ret_store, GError **error);

G_END_DECLS
