#pragma once

/* Applying: the list of the mirrors that are in the middle of an update in place. */

#include <glib.h>

#include "store/layout.h"

G_BEGIN_DECLS

#define APPLYING_NAME "applying"

/* `mirrors` (char *, relative to the store, as path_escape shows them), durable when this returns
 * TRUE. */
gboolean applying_set(const Layout *l, const GPtrArray *mirrors, GError **error);

/* None is any more. (After a power cut the list may be there again: then its mirrors are whole.) */
void applying_clear(const Layout *l);

/* As they were set; empty: none. */
GPtrArray *applying_get(int root_fd, GError **error);

G_END_DECLS
