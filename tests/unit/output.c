/* output.c - tables, sizes, JSON of names that are no text */

#include "config.h"

#include <string.h>

#include "base/path.h"
#include "cli/output.h"
#include "tests/unit/unit.h"

#define NASTY "/tmp/a b\n\xff\"\\\xe2\x80\xaez"

static const char *const headings[] = {"STATE", ">SIZE", "FILE", NULL};

static void
columns_are_as_wide_as_their_widest_cell(void)
{
    g_autoptr(Table) table = table_new(headings);

    table_add(table, (const char *[]){"ok", "1 B", "/a"});
    table_add(table, (const char *[]){"suspended", "1.5 MiB", "/b"});
    g_autofree char *text = table_text(table);
    CU_ASSERT_STRING_EQUAL(text, "STATE         SIZE  FILE\n"
                                 "ok             1 B  /a\n"
                                 "suspended  1.5 MiB  /b\n");
}

static void
wide_characters_take_two_columns(void)
{
    g_autoptr(Table) table = table_new(headings);

    table_add(table, (const char *[]){"\xe6\xbc\xa2", "1 B", "/a"});
    table_add(table, (const char *[]){"abc", "1 B", "/b"});
    g_autofree char *text = table_text(table);
    CU_ASSERT_PTR_NOT_NULL(strstr(text, "\n\xe6\xbc\xa2      1 B"));
    CU_ASSERT_PTR_NOT_NULL(strstr(text, "\nabc     1 B"));
}

static void
a_note_has_a_line_of_its_own_and_widens_nothing(void)
{
    g_autoptr(Table) table = table_new(headings);

    table_add(table, (const char *[]){"failed", "1 B", "/a"});
    table_note(table, "no space left on the store, since yesterday at noon");
    g_autofree char *text = table_text(table);
    CU_ASSERT_STRING_EQUAL(text, "STATE   SIZE  FILE\n"
                                 "failed   1 B  /a\n"
                                 "    no space left on the store, since yesterday at noon\n");
}

static void
a_table_without_rows_is_nothing(void)
{
    g_autoptr(Table) table = table_new(headings);
    g_autofree char *text = table_text(table);

    CU_ASSERT_STRING_EQUAL(text, "");
}

static void
size_is(guint64 bytes, const char *expected)
{
    g_autofree char *size = output_size(bytes);

    CU_ASSERT_STRING_EQUAL(size, expected);
}

static void
sizes_have_two_or_three_digits_and_a_unit(void)
{
    size_is(0, "0 B");
    size_is(1023, "1023 B");
    size_is(1024, "1.0 KiB");
    size_is(65536, "64.0 KiB");
    size_is(1048575, "1.0 MiB");
    size_is(G_GUINT64_CONSTANT(12884901888), "12.0 GiB");
    size_is(150 * 1024, "150 KiB");
    size_is(G_MAXUINT64, "16.0 EiB");
}

static void
a_terminal_gets_no_control_characters(void)
{
    g_autofree char *clean = output_clean("a\033[31mb\nc\xff\x7f");

    CU_ASSERT_STRING_EQUAL(clean, "a?[31mb\nc\xef\xbf\xbd?");
}

/* Builds {dict}, and reads it back as a program would. */
static JsonObject *
built(GVariant *dict, const char *const *times, JsonParser *parser)
{
    g_autoptr(JsonBuilder) b = json_builder_new();
    g_autoptr(GVariant) owned = g_variant_ref_sink(dict);
    g_autoptr(GError) error = NULL;

    json_builder_begin_object(b);
    output_json_dict(b, owned, times);
    json_builder_end_object(b);
    g_autoptr(JsonNode) root = json_builder_get_root(b);
    g_autofree char *text = json_to_string(root, TRUE);
    CU_ASSERT_TRUE(g_utf8_validate(text, -1, NULL));
    json_parser_load_from_data(parser, text, -1, &error);
    UNIT_NO_ERROR(error);
    return json_node_get_object(json_parser_get_root(parser));
}

static void
a_name_that_is_no_text_comes_through_json_unharmed(void)
{
    g_autoptr(JsonParser) parser = json_parser_new();
    g_auto(GVariantDict) dict = G_VARIANT_DICT_INIT(NULL);
    gsize n;

    g_variant_dict_insert_value(&dict, "path", path_to_variant(NASTY));
    JsonObject *object = built(g_variant_dict_end(&dict), NULL, parser);
    CU_ASSERT_STRING_EQUAL(json_object_get_string_member(object, "path"),
                           "/tmp/a b\\n\\xff\"\\\\\\xe2\\x80\\xaez");
    g_autofree guchar *bytes =
        g_base64_decode(json_object_get_string_member(object, "path_b64"), &n);
    CU_ASSERT_EQUAL_FATAL(n, strlen(NASTY));
    CU_ASSERT_EQUAL(memcmp(bytes, NASTY, n), 0);
}

static void
times_become_rfc_3339_and_never_becomes_null(void)
{
    static const char *const times[] = {"started", "seen", NULL};
    g_autoptr(JsonParser) parser = json_parser_new();
    g_auto(GVariantDict) dict = G_VARIANT_DICT_INIT(NULL);

    g_variant_dict_insert(&dict, "started", "x", (gint64) 1000000);
    g_variant_dict_insert(&dict, "seen", "x", (gint64) 0);
    g_variant_dict_insert(&dict, "other", "x", (gint64) 7);
    JsonObject *object = built(g_variant_dict_end(&dict), times, parser);
    CU_ASSERT_STRING_EQUAL(json_object_get_string_member(object, "started"),
                           "1970-01-01T00:00:01.000000Z");
    CU_ASSERT_TRUE(json_object_get_null_member(object, "seen"));
    CU_ASSERT_EQUAL(json_object_get_int_member(object, "other"), 7);
}

static void
a_row_s_stores_become_objects(void)
{
    g_autoptr(JsonParser) parser = json_parser_new();
    g_auto(GVariantDict) dict = G_VARIANT_DICT_INIT(NULL);

    g_variant_dict_insert_value(&dict, "stores",
                                g_variant_new_parsed("[('usb', 'ready', '/mnt/x', int64 0)]"));
    g_variant_dict_insert(&dict, "copier", "u", 4711u);
    g_variant_dict_insert(&dict, "request", "b", TRUE);
    JsonObject *object = built(g_variant_dict_end(&dict), NULL, parser);
    JsonObject *store =
        json_array_get_object_element(json_object_get_array_member(object, "stores"), 0);
    CU_ASSERT_STRING_EQUAL(json_object_get_string_member(store, "name"), "usb");
    CU_ASSERT_STRING_EQUAL(json_object_get_string_member(store, "backup_file"), "/mnt/x");
    CU_ASSERT_TRUE(json_object_get_null_member(store, "durable"));
    CU_ASSERT_EQUAL(json_object_get_int_member(object, "copier"), 4711);
    CU_ASSERT_TRUE(json_object_get_boolean_member(object, "request"));
}

static const UnitTest tests[] = {
    UNIT_TEST(columns_are_as_wide_as_their_widest_cell),
    UNIT_TEST(wide_characters_take_two_columns),
    UNIT_TEST(a_note_has_a_line_of_its_own_and_widens_nothing),
    UNIT_TEST(a_table_without_rows_is_nothing),
    UNIT_TEST(sizes_have_two_or_three_digits_and_a_unit),
    UNIT_TEST(a_terminal_gets_no_control_characters),
    UNIT_TEST(a_name_that_is_no_text_comes_through_json_unharmed),
    UNIT_TEST(times_become_rfc_3339_and_never_becomes_null),
    UNIT_TEST(a_row_s_stores_become_objects),
};

UNIT_MAIN("output", tests)
