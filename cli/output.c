/* output.c - tables for people, JSON for programs */

#include "config.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "base/path.h"
#include "cli/output.h"
#include "cli/time.h"

#define GAP "  "

struct Table {
    guint n_columns;
    GPtrArray *rows; /* of GStrv; the heading first; a row of one NULL-led cell is a note */
    gboolean *right;
};

/* Tables -------------------------------------------------------------------------------------- */

static guint
width(const char *text)
{
    guint n = 0;

    for (const char *p = text; *p; p = g_utf8_next_char(p)) {
        gunichar c = g_utf8_get_char(p);
        n += g_unichar_iszerowidth(c) ? 0 : g_unichar_iswide(c) ? 2 : 1;
    }
    return n;
}

Table *
table_new(const char *const *headings)
{
    Table *t = g_new0(Table, 1);

    t->n_columns = g_strv_length((char **) headings);
    t->rows = g_ptr_array_new_with_free_func((GDestroyNotify) g_strfreev);
    t->right = g_new0(gboolean, t->n_columns);
    char **row = g_new0(char *, t->n_columns + 1);
    for (guint i = 0; i < t->n_columns; i++) {
        t->right[i] = headings[i][0] == '>';
        row[i] = g_strdup(headings[i] + t->right[i]);
    }
    g_ptr_array_add(t->rows, row);
    return t;
}

void
table_free(Table *t)
{
    if (!t)
        return;
    g_ptr_array_unref(t->rows);
    g_free(t->right);
    g_free(t);
}

void
table_add(Table *t, const char *const *cells)
{
    char **row = g_new0(char *, t->n_columns + 1);

    for (guint i = 0; i < t->n_columns; i++)
        row[i] = g_utf8_make_valid(cells[i] ? cells[i] : "", -1);
    g_ptr_array_add(t->rows, row);
}

/* A note is a row with one cell; with one column only, there is no telling, so none has notes. */
void
table_note(Table *t, const char *note)
{
    char **row = g_new0(char *, 2);

    g_assert(t->n_columns > 1);
    row[0] = g_utf8_make_valid(note, -1);
    g_ptr_array_add(t->rows, row);
}

static gboolean
is_note(Table *t, char **row)
{
    return t->n_columns > 1 && !row[1];
}

char *
table_text(Table *t)
{
    GString *text = g_string_new(NULL);
    g_autofree guint *widths = g_new0(guint, t->n_columns);

    if (t->rows->len < 2)
        return g_string_free(text, FALSE);
    for (guint r = 0; r < t->rows->len; r++) {
        char **row = t->rows->pdata[r];
        for (guint i = 0; i < t->n_columns && !is_note(t, row); i++)
            widths[i] = MAX(widths[i], width(row[i]));
    }
    for (guint r = 0; r < t->rows->len; r++) {
        char **row = t->rows->pdata[r];
        if (is_note(t, row)) {
            g_string_append_printf(text, "    %s\n", row[0]);
            continue;
        }
        for (guint i = 0; i < t->n_columns; i++) {
            guint pad = widths[i] - width(row[i]);
            gboolean last = i + 1 == t->n_columns;
            if (t->right[i])
                g_string_append_printf(text, "%*s%s", (int) pad, "", row[i]);
            else
                g_string_append_printf(text, "%s%*s", row[i], last ? 0 : (int) pad, "");
            g_string_append(text, last ? "" : GAP);
        }
        while (text->len && text->str[text->len - 1] == ' ')
            g_string_truncate(text, text->len - 1);
        g_string_append_c(text, '\n');
    }
    return g_string_free(text, FALSE);
}

char *
output_size(guint64 bytes)
{
    static const char *const names[] = {"B", "KiB", "MiB", "GiB", "TiB", "PiB", "EiB"};
    double value = (double) bytes;
    guint i = 0;

    /* 1023.95 would be printed as "1024.0" */
    while (value >= (i ? 1023.95 : 1024) && i + 1 < G_N_ELEMENTS(names)) {
        value /= 1024;
        i++;
    }
    return g_strdup_printf(i == 0 || value >= 99.95 ? "%.0f %s" : "%.1f %s", value, names[i]);
}

char *
output_clean(const char *text)
{
    g_autofree char *valid = g_utf8_make_valid(text, -1);
    GString *clean = g_string_sized_new(strlen(valid));

    for (const char *p = valid; *p; p = g_utf8_next_char(p)) {
        gunichar c = g_utf8_get_char(p);
        g_string_append_unichar(clean, c == '\n' || g_unichar_isprint(c) ? c : '?');
    }
    return g_string_free(clean, FALSE);
}

void
output_vprint(const char *format, va_list args)
{
    g_autofree char *text = g_strdup_vprintf(format, args);
    g_autofree char *clean = output_clean(text);

    (void) fputs(clean, stdout); /* output_finish tells */
}

void
output_print(const char *format, ...)
{
    va_list args;

    va_start(args, format);
    output_vprint(format, args);
    va_end(args);
}

/* JSON ---------------------------------------------------------------------------------------- */

void
output_json_path(JsonBuilder *b, const char *name, const char *path)
{
    g_autofree char *text = path_escape(path);
    g_autofree char *name_b64 = g_strconcat(name, "_b64", NULL);
    g_autofree char *b64 = g_base64_encode((const guchar *) path, strlen(path));

    json_builder_set_member_name(b, name);
    json_builder_add_string_value(b, text);
    json_builder_set_member_name(b, name_b64);
    json_builder_add_string_value(b, b64);
}

static void
add_text(JsonBuilder *b, const char *text)
{
    g_autofree char *valid = g_utf8_make_valid(text, -1);

    json_builder_add_string_value(b, valid);
}

static void
add_time(JsonBuilder *b, gint64 usec)
{
    g_autofree char *text = time_rfc3339(usec);

    if (usec)
        json_builder_add_string_value(b, text);
    else
        json_builder_add_null_value(b);
}

/* a(sssx): a row's stores. */
static void
add_stores(JsonBuilder *b, GVariant *stores)
{
    GVariantIter iter;
    const char *name, *state, *path;
    gint64 durable;

    json_builder_begin_array(b);
    g_variant_iter_init(&iter, stores);
    while (g_variant_iter_next(&iter, "(&s&s&sx)", &name, &state, &path, &durable)) {
        json_builder_begin_object(b);
        json_builder_set_member_name(b, "name");
        add_text(b, name);
        json_builder_set_member_name(b, "state");
        add_text(b, state);
        json_builder_set_member_name(b, "backup_file");
        add_text(b, path);
        json_builder_set_member_name(b, "durable");
        add_time(b, durable);
        json_builder_end_object(b);
    }
    json_builder_end_array(b);
}

static void
add_value(JsonBuilder *b, GVariant *value)
{
    switch (g_variant_classify(value)) {
    case G_VARIANT_CLASS_STRING:
        add_text(b, g_variant_get_string(value, NULL));
        return;
    case G_VARIANT_CLASS_BOOLEAN:
        json_builder_add_boolean_value(b, g_variant_get_boolean(value));
        return;
    case G_VARIANT_CLASS_UINT32:
        json_builder_add_int_value(b, g_variant_get_uint32(value));
        return;
    case G_VARIANT_CLASS_INT32:
        json_builder_add_int_value(b, g_variant_get_int32(value));
        return;
    case G_VARIANT_CLASS_INT64:
        json_builder_add_int_value(b, g_variant_get_int64(value));
        return;
    case G_VARIANT_CLASS_UINT64:
        json_builder_add_int_value(b, (gint64) MIN(g_variant_get_uint64(value), G_MAXINT64));
        return;
    default:
        break;
    }
    if (g_variant_is_of_type(value, G_VARIANT_TYPE("a(sssx)"))) {
        add_stores(b, value);
        return;
    }
    g_autofree char *text = g_variant_print(value, FALSE); /* a newer daemon's */
    add_text(b, text);
}

void
output_json_dict(JsonBuilder *b, GVariant *dict, const char *const *times)
{
    GVariantIter iter;
    const char *key;
    GVariant *value;

    g_variant_iter_init(&iter, dict);
    while (g_variant_iter_loop(&iter, "{&sv}", &key, &value)) {
        if (g_variant_is_of_type(value, G_VARIANT_TYPE_BYTESTRING)) {
            output_json_path(b, key, g_variant_get_bytestring(value));
            continue;
        }
        json_builder_set_member_name(b, key);
        if (g_variant_is_of_type(value, G_VARIANT_TYPE_INT64) && times &&
            g_strv_contains(times, key))
            add_time(b, g_variant_get_int64(value));
        else
            add_value(b, value);
    }
}

void
output_json(JsonBuilder *b)
{
    g_autoptr(JsonNode) root = json_builder_get_root(b);
    g_autofree char *text = json_to_string(root, TRUE);

    (void) puts(text); /* output_finish tells */
}

gboolean
output_finish(void)
{
    if (fflush(stdout) == 0 && !ferror(stdout))
        return TRUE;
    if (errno != EPIPE)
        fprintf(stderr, "filedup: standard output: %s\n", g_strerror(errno));
    return FALSE;
}
