/* points.c - recovery points for people and for programs */

#include "config.h"

#include "base/path.h"
#include "cli/output.h"
#include "cli/points.h"
#include "cli/time.h"

struct Points {
    Table *table;
    JsonBuilder *builder;
    guint n;
};

Points *
points_new(void)
{
    static const char *const headings[] = {">POINT",  "TIME",  "AGE", "CAUSE",
                                           "QUALITY", ">SIZE", NULL};
    Points *p = g_new0(Points, 1);

    p->table = table_new(headings);
    p->builder = json_builder_new();
    json_builder_begin_object(p->builder);
    json_builder_set_member_name(p->builder, "points");
    json_builder_begin_array(p->builder);
    return p;
}

void
points_free(Points *p)
{
    if (!p)
        return;
    table_free(p->table);
    g_object_unref(p->builder);
    g_free(p);
}

void
points_add(Points *p, guint64 id, guint64 sequence, gint64 time_usec, const char *cause,
           const char *quality, guint64 size_bytes)
{
    g_autofree char *number = id ? g_strdup_printf("%" G_GUINT64_FORMAT, id) : g_strdup("newest");
    g_autofree char *when = time_local(time_usec);
    g_autofree char *age = time_phrase(time_usec, g_get_real_time());
    g_autofree char *size = output_size(size_bytes);
    g_autofree char *exact = time_rfc3339(time_usec);
    const char *cells[] = {number, when, age, cause, quality, size};
    JsonBuilder *b = p->builder;

    p->n++;
    table_add(p->table, cells);
    json_builder_begin_object(b);
    json_builder_set_member_name(b, "id");
    json_builder_add_int_value(b, (gint64) id);
    json_builder_set_member_name(b, "sequence");
    json_builder_add_int_value(b, (gint64) sequence);
    json_builder_set_member_name(b, "time");
    json_builder_add_string_value(b, exact);
    json_builder_set_member_name(b, "cause");
    json_builder_add_string_value(b, cause);
    json_builder_set_member_name(b, "quality");
    json_builder_add_string_value(b, quality);
    json_builder_set_member_name(b, "size");
    json_builder_add_int_value(b, (gint64) size_bytes);
    json_builder_end_object(b);
}

void
points_print(Points *p, const char *path, gboolean json)
{
    g_autofree char *shown = path_escape(path);

    json_builder_end_array(p->builder);
    json_builder_end_object(p->builder);
    if (json) {
        output_json(p->builder);
        return;
    }
    g_autofree char *text = table_text(p->table);
    if (p->n)
        output_print("%s\n%s", shown, text);
    else
        output_print("%s: no recovery point yet.\n", shown);
}
