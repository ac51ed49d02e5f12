/* points.c - recovery points for people and for programs */

#include "config.h"

#include "base/path.h"
#include "cli/dict.h"
#include "cli/output.h"
#include "cli/points.h"
#include "cli/time.h"

/* For people ---------------------------------------------------------------------------------- */

/* A daemon that does not number the newest content tells it by 0. */
static gboolean
is_newest(GVariant *point)
{
    return dict_bool(point, "newest") || dict_u64(point, "id") == 0;
}

static void append_note(GString *note, const char *format, ...) G_GNUC_PRINTF(2, 3);

static void
append_note(GString *note, const char *format, ...)
{
    va_list args;

    if (note->len)
        g_string_append(note, ", ");
    va_start(args, format);
    g_string_append_vprintf(note, format, args);
    va_end(args);
}

/* What is particular about it. */
static char *
note_of(GVariant *point)
{
    static const struct {
        const char *word, *phrase;
    } kept[] = {
        {"stable", "kept: the newest stable one"},
        {"suspicion", "kept: before a suspicious change"},
        {"boot", "kept: the machine went down after it"},
    };
    g_auto(GStrv) words = g_strsplit(dict_text(point, "kept"), " ", -1);
    gint64 deleted = dict_time(point, "deleted");
    GString *note = g_string_new(is_newest(point) ? "newest" : NULL);

    if (*dict_text(point, "name"))
        append_note(note, "'%s'", dict_text(point, "name"));
    for (guint i = 0; i < G_N_ELEMENTS(kept); i++)
        if (g_strv_contains((const char *const *) words, kept[i].word))
            append_note(note, "%s", kept[i].phrase);
    if (deleted) {
        g_autofree char *when = time_local(deleted);
        append_note(note, "deleted %s", when);
    }
    return g_string_free(note, FALSE);
}

static void
print_table(GVariant *points)
{
    static const char *const headings[] = {">POINT", "TIME",     "AGE",  "CAUSE", "QUALITY",
                                           ">SIZE",  ">CHANGED", "NOTE", NULL};
    g_autoptr(Table) table = table_new(headings);
    gint64 now = g_get_real_time();

    for (gsize i = 0; i < g_variant_n_children(points); i++) {
        g_autoptr(GVariant) point = g_variant_get_child_value(points, i);
        gint64 time = dict_time(point, "time");
        g_autofree char *number = g_strdup_printf("%" G_GUINT64_FORMAT, dict_u64(point, "id"));
        g_autofree char *when = time_local(time);
        g_autofree char *age = time_phrase(time, now);
        g_autofree char *size = output_size(dict_u64(point, "size"));
        g_autofree char *changed = output_size(dict_u64(point, "changed"));
        g_autofree char *note = note_of(point);
        const char *cells[] = {
            number, when,    age, dict_text(point, "cause"), dict_text(point, "quality"),
            size,   changed, note};
        table_add(table, cells);
    }
    g_autofree char *text = table_text(table);
    output_print("%s", text);
}

/* For programs -------------------------------------------------------------------------------- */

static void
add_words(JsonBuilder *b, const char *name, const char *text)
{
    g_auto(GStrv) words = g_strsplit(text, " ", -1);

    json_builder_set_member_name(b, name);
    json_builder_begin_array(b);
    for (char **word = words; *word; word++)
        if (**word)
            json_builder_add_string_value(b, *word);
    json_builder_end_array(b);
}

/* In an order for people, too; what a newer daemon tells besides comes last. */
static void
add_point(JsonBuilder *b, GVariant *point)
{
    static const char *const times[] = {"time", "deleted", NULL};
    static const char *const keys[] = {"id",      "sequence", "time",    "cause",
                                       "quality", "size",     "changed", "name",
                                       "kept",    "deleted",  "newest",  "store"};
    g_auto(GVariantDict) rest = G_VARIANT_DICT_INIT(point);

    json_builder_begin_object(b);
    for (guint i = 0; i < G_N_ELEMENTS(keys); i++) {
        g_auto(GVariantDict) one = G_VARIANT_DICT_INIT(NULL);
        g_autoptr(GVariant) value = g_variant_dict_lookup_value(&rest, keys[i], NULL);
        if (!value)
            continue;
        g_variant_dict_remove(&rest, keys[i]);
        if (g_str_equal(keys[i], "kept")) {
            add_words(b, "kept", dict_text(point, "kept"));
            continue;
        }
        g_variant_dict_insert_value(&one, keys[i], value);
        g_autoptr(GVariant) dict = g_variant_ref_sink(g_variant_dict_end(&one));
        output_json_dict(b, dict, times);
    }
    g_autoptr(GVariant) others = g_variant_ref_sink(g_variant_dict_end(&rest));
    output_json_dict(b, others, times);
    json_builder_end_object(b);
}

static void
print_json(GVariant *points, const char *path)
{
    g_autoptr(JsonBuilder) b = json_builder_new();

    json_builder_begin_object(b);
    output_json_path(b, "path", path);
    json_builder_set_member_name(b, "points");
    json_builder_begin_array(b);
    for (gsize i = 0; i < g_variant_n_children(points); i++) {
        g_autoptr(GVariant) point = g_variant_get_child_value(points, i);
        add_point(b, point);
    }
    json_builder_end_array(b);
    json_builder_end_object(b);
    output_json(b);
}

void
points_print(GVariant *points, const char *path, gboolean json)
{
    g_autofree char *shown = path_escape(path);

    if (json) {
        print_json(points, path);
    } else if (g_variant_n_children(points) == 0) {
        output_print("%s: no recovery point yet.\n", shown);
    } else {
        output_print("%s\n", shown);
        print_table(points);
    }
}
