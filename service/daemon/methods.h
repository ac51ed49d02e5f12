#pragma once

/* Methods: what org.filedup.Manager1's calls do. */

#include "daemon/manager.h"
#include "daemon/manager1.h"

G_BEGIN_DECLS

typedef struct Methods Methods;

/* Connects the skeleton's handlers. */
Methods *methods_new(Manager *m, FiledupManager1 *skeleton);
void     methods_free(Methods *methods);

/* Something changed: answers the calls to Sync that were waiting for it. */
void methods_settled(Methods *methods);

G_END_DECLS
