#pragma once

/* Operands: the files named on the command line, as the daemon knows them. Bytes, not text. */

#include <glib.h>

G_BEGIN_DECLS

/* Absolute by the current folder; nothing is resolved ("." and ".." may be left): what a symbolic
 * link leads to is for the daemon's copier to see. For files that are to be registered. */
char *operand_absolute(const char *operand, GError **error);

/* Canonical as far as it exists. For folders that are to be made, or are there. */
char *operand_real(const char *operand, GError **error);

/* The canonical paths under which a row of that file may be known, the likeliest first, for files
 * that may be gone: NULL-terminated, at least one. */
char **operand_candidates(const char *operand, GError **error);

/* "." and ".." and doubled slashes taken out of an absolute path by its text alone. */
char *operand_lexical(const char *absolute);

/* The ways to part "FILE@POINT", the longest FILE first: the whole of it as a file (n = 0, *ret_point
 * is NULL), then at the last @, at the one before ... FALSE: there are no more. What is a known file
 * decides, so that names may have an @ in them. */
gboolean operand_part(const char *operand, guint n, char **ret_file, char **ret_point);

G_END_DECLS
