#pragma once

/* Leftover: the temporary file of a restore that was killed. */

#include <glib.h>

#include "copy/content.h"

G_BEGIN_DECLS

/* After a restore of `content` to `name`: removes the leftovers beside it that hold that very
 * content. `except` (or NULL) is a temporary name in use. Those that hold something else stay: a
 * text for the operator names them, or NULL. */
char *leftover_sweep(int folder_fd, const char *name, const char *except, const Content *content);

G_END_DECLS
