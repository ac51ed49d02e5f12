#pragma once

/* Loans: mirrors of which somebody was given the descriptor, and which are not to change under him. */

#include <glib.h>

G_BEGIN_DECLS

typedef struct Loans Loans;

Loans *loans_new(int staged_fd); /* borrowed */
void   loans_free(Loans *l);     /* gives up all of them */

/* The file of `fd`, the mirror of `path`, has a second name from now on, until nobody has it open. FALSE: that is not to be
 * had here, or its end could not be noticed: hand out a copy. */
gboolean loans_add(Loans *l, const char *path, int fd);

/* Gives up the names of one file at once: who reads it has only his sums from now on. */
void loans_end(Loans *l, const char *path);

/* When to look for ends, on the monotonic clock (G_MAXINT64: there are no loans); and the look. */
gint64 loans_due(const Loans *l);
void   loans_look(Loans *l);

G_END_DECLS
