#pragma once

/* Output: tables for people, JSON for programs. Names of files are bytes: people see them escaped
 * (path_escape), programs get `path` (the same text) and `path_b64` (the bytes). */

#include <glib.h>
#include <json-glib/json-glib.h>
#include <stdarg.h>

G_BEGIN_DECLS

/* A table: cells are text for people already; columns are as wide as their widest cell. */
typedef struct Table Table;

/* Headings, NULL-terminated; one that starts with '>' is of a column set flush right. */
Table *table_new(const char *const *headings);
void   table_free(Table *t);
G_DEFINE_AUTOPTR_CLEANUP_FUNC(Table, table_free)

/* As many cells as there are headings; they are copied. */
void  table_add(Table *t, const char *const *cells);
/* A line of its own below the last row, indented. */
void  table_note(Table *t, const char *note);
char *table_text(Table *t); /* with the heading; "" without rows */

/* "0 B", "1.5 KiB", "12 GiB". */
char *output_size(guint64 bytes);

/* To standard output, as UTF-8 whatever the locale, and cleaned: names of processes and stores are
 * not ours, and a terminal obeys control characters. */
void output_print(const char *format, ...) G_GNUC_PRINTF(1, 2);
void output_vprint(const char *format, va_list args) G_GNUC_PRINTF(1, 0);

/* Valid UTF-8, and "?" for what cannot be printed, but for new lines. */
char *output_clean(const char *text);

/* Adds `<name>` and `<name>_b64` of a path to the object that is being built. */
void output_json_path(JsonBuilder *b, const char *name, const char *path);

/* Adds the members of an a{sv} to the object that is being built. Keys in `times` are microseconds
 * since the epoch: they become RFC 3339, and 0 becomes null. Byte strings are paths. */
void output_json_dict(JsonBuilder *b, GVariant *dict, const char *const *times);

/* Prints what was built. */
void output_json(JsonBuilder *b);

/* FALSE if standard output could not take everything (a full disk): said on stderr. */
gboolean output_finish(void);

G_END_DECLS
