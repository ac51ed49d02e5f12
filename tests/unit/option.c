/* option.c - the command line, and that help, completion and man page say what the table says */

#include "config.h"

#include <string.h>

#include "cli/option-table.h"
#include "cli/report.h"
#include "tests/unit/unit.h"

/* NULL with *ret_error set, or the options. Words are parted by single spaces. */
static Options *
parse(const char *line, GError **error)
{
    g_auto(GStrv) words = g_strsplit(line, " ", -1);

    return options_parse((int) g_strv_length(words), words, error);
}

static Options *
parsed(const char *line)
{
    g_autoptr(GError) error = NULL;
    Options *o = parse(line, &error);

    UNIT_NO_ERROR(error);
    return o;
}

static void
refused(const char *line, const char *says)
{
    g_autoptr(GError) error = NULL;
    g_autoptr(Options) o = parse(line, &error);

    CU_ASSERT_PTR_NULL(o);
    CU_ASSERT_TRUE_FATAL(g_error_matches(error, CLI_ERROR, CLI_ERROR_USAGE));
    if (!strstr(error->message, says))
        g_printerr("    %s: %s\n", line, error->message);
    CU_ASSERT_PTR_NOT_NULL(strstr(error->message, says));
    CU_ASSERT_EQUAL(report_status_of(error), STATUS_USAGE);
}

static void
options_stand_anywhere(void)
{
    g_autoptr(Options) o = parsed("filedup --json add a --backup=per-write b --recover auto "
                                  "--to usb --to=nas -q --retries 0");

    CU_ASSERT_EQUAL(options_verb(o), VERB_ADD);
    CU_ASSERT_EQUAL(g_strv_length((char **) options_operands(o)), 2);
    CU_ASSERT_STRING_EQUAL(options_operands(o)[1], "b");
    CU_ASSERT_STRING_EQUAL(options_value(o, OPTION_BACKUP), "per-write");
    CU_ASSERT_STRING_EQUAL(options_values(o, OPTION_TO_STORE)[0], "usb");
    CU_ASSERT_STRING_EQUAL(options_value(o, OPTION_TO_STORE), "nas");
    CU_ASSERT_PTR_NULL(options_values(o, OPTION_TO_STORE)[2]);
    CU_ASSERT_EQUAL(options_number(o, OPTION_RETRIES, 9), 0);
    CU_ASSERT_EQUAL(options_number(o, OPTION_TIMEOUT, 9), 9);
    CU_ASSERT_TRUE(options_has(o, OPTION_JSON) && options_has(o, OPTION_QUIET));
    CU_ASSERT_FALSE(options_has(o, OPTION_USER));
}

static void
two_dashes_end_the_options(void)
{
    g_autoptr(Options) o = parsed("filedup remove -- --json -");

    CU_ASSERT_STRING_EQUAL(options_operands(o)[0], "--json");
    CU_ASSERT_STRING_EQUAL(options_operands(o)[1], "-");
    CU_ASSERT_FALSE(options_has(o, OPTION_JSON));
}

static void
letters_may_stand_together(void)
{
    g_autoptr(Options) o = parsed("filedup restore x -nf");

    CU_ASSERT_TRUE(options_has(o, OPTION_DRY_RUN) && options_has(o, OPTION_FORCE));
    refused("filedup restore x -nz", "'-z'");
    refused("filedup remove x -f", "not for 'remove'");
}

static void
a_letter_is_the_verb_s_before_it(void)
{
    g_autoptr(Options) apart = parsed("filedup log x -n 3");
    g_autoptr(Options) joined = parsed("filedup log -qn12 x");
    g_autoptr(Options) flag = parsed("filedup restore -n 3");

    CU_ASSERT_EQUAL(options_number(apart, OPTION_LIMIT, 0), 3);
    CU_ASSERT_STRING_EQUAL(options_operands(apart)[0], "x");
    CU_ASSERT_PTR_NULL(options_operands(apart)[1]);
    CU_ASSERT_EQUAL(options_number(joined, OPTION_LIMIT, 0), 12);
    CU_ASSERT_TRUE(options_has(joined, OPTION_QUIET));
    CU_ASSERT_TRUE(options_has(flag, OPTION_DRY_RUN));
    CU_ASSERT_STRING_EQUAL(options_operands(flag)[0], "3");
    refused("filedup log x -n", "'-n' needs a value");
    refused("filedup log x -nq", "whole number");
    refused("filedup -n 3 log x", "unknown verb '3'");
}

static void
one_name_means_to_each_verb_its_own(void)
{
    g_autoptr(Options) o = parsed("filedup --to /tmp restore x");

    CU_ASSERT_STRING_EQUAL(options_value(o, OPTION_TO_PATH), "/tmp");
    CU_ASSERT_FALSE(options_has(o, OPTION_TO_STORE));
    refused("filedup restore x --to a --to b", "twice");
}

static void
verbs_of_two_words(void)
{
    g_autoptr(Options) o = parsed("filedup store --json list");

    CU_ASSERT_EQUAL(options_verb(o), VERB_STORE_LIST);
    CU_ASSERT_PTR_NULL(options_operands(o)[0]);
    refused("filedup store", "store remove");
    refused("filedup store frobnicate", "store remove");
    refused("filedup store list x", "no argument");
}

static void
size_is(const char *text, guint64 bytes)
{
    g_autofree char *line = g_strconcat("filedup store set usb --max-size ", text, NULL);
    g_autoptr(Options) o = parsed(line);

    CU_ASSERT_EQUAL(options_number(o, OPTION_MAX_SIZE, 1), bytes);
}

static void
sizes_have_units_of_1024(void)
{
    size_is("0", 0);
    size_is("4096", 4096);
    size_is("1K", 1024);
    size_is("1.5M", 1024 * 1024 * 3 / 2);
    size_is("500GiB", G_GUINT64_CONSTANT(500) << 30);
    size_is("2tb", G_GUINT64_CONSTANT(2) << 40);
    refused("filedup store set usb --max-size much", "needs a size");
    refused("filedup store set usb --max-size -1", "needs a size");
    refused("filedup store set usb --max-size 1X", "needs a size");
    refused("filedup store set usb --max-size 0x10", "needs a size");
    refused("filedup store set usb --max-size 9999999E", "needs a size");
    refused("filedup store set usb --max-size nan", "needs a size");
    refused("filedup store set usb", "needs --max-size SIZE");
}

static void
add_names_both_modes_and_their_choices(void)
{
    refused("filedup add x", "--backup on-close|per-write and --recover auto|manual|notify");
    refused("filedup add x --backup on-close", "needs --recover auto|manual|notify");
    refused("filedup add x --backup sometimes --recover auto", "on-close|per-write");
    refused("filedup add --backup on-close --recover auto", "needs FILE...");
}

static void
set_says_why_a_mode_cannot_be_changed(void)
{
    refused("filedup set x --backup on-close", "another mode makes another row");
    refused("filedup set x --recover auto", "'filedup remove FILE' (the backup stays)");
    refused("filedup set x", "something to set");
}

static void
wrong_values_are_refused(void)
{
    refused("filedup set x --retries -1", "from 0 to 1000");
    refused("filedup set x --retries 1001", "from 0 to 1000");
    refused("filedup set x --timeout 0", "from 1 to 86400");
    refused("filedup set x --timeout 5s", "'5s'");
    refused("filedup set x --retries", "needs a value");
    refused("filedup set x --keep=", "needs a value");
    refused("filedup restore x --point 0", "whole number");
    refused("filedup status --json=yes", "takes no value");
    refused("filedup status --frob", "unknown option '--frob'");
    refused("filedup status --force", "not for 'status'");
    refused("filedup frob", "unknown verb 'frob'");
    refused("filedup", "a verb is missing");
    refused("filedup --force", "needs a verb");
    refused("filedup log a b", "one argument, not 'b'");
    refused("filedup remove ", "empty argument");
}

static void
what_does_not_go_together_is_refused(void)
{
    refused("filedup --user --system status", "exclude each other");
    refused("filedup --user --store /s status", "exclude each other");
    refused("filedup --store /s sync", "needs the daemon");
    refused("filedup --store /s restore x --in-place", "needs the daemon");
    refused("filedup restore x --to y --in-place", "exclude each other");
    refused("filedup restore x y --point 3", "one FILE");
    refused("filedup restore x --point 3 --at now", "exclude each other");
    refused("filedup --store /s cat x --store-name y", "exclude each other");
    refused("filedup --store /s forget x", "verify, store list");
    refused("filedup --store /s status --check", "needs the daemon");
    refused("filedup cat x --json", "no --json");
    refused("filedup point x", "needs --name NAME");
    refused("filedup diff a b c", "not 'c'");
}

static void
help_needs_nothing_else(void)
{
    g_autoptr(Options) all = parsed("filedup --help");
    g_autoptr(Options) one = parsed("filedup add --help");

    CU_ASSERT_EQUAL(options_verb(all), VERB_NONE);
    CU_ASSERT_EQUAL(options_verb(one), VERB_ADD);
}

static void
help_fits_on_a_screen(void)
{
    for (guint v = 0; v <= VERB_COUNT; v++) {
        g_autofree char *text = option_help((Verb) v);
        g_auto(GStrv) lines = g_strsplit(text, "\n", -1);
        /* The last one is empty. All verbs together are more than the smallest screen has. */
        CU_ASSERT_TRUE(g_strv_length(lines) <= (v == VERB_NONE ? 35 : 25));
        for (char **line = lines; *line; line++)
            CU_ASSERT_TRUE(strlen(*line) <= 100);
    }
}

/* The first pass of the parser depends on it. */
static void
options_of_one_name_all_take_a_value_or_none_does(void)
{
    for (guint i = 0; i < OPTION_COUNT; i++)
        for (guint j = 0; j < i; j++)
            if (g_str_equal(OPTIONS[i].name, OPTIONS[j].name)) {
                CU_ASSERT_EQUAL(!OPTIONS[i].argument, !OPTIONS[j].argument);
                CU_ASSERT_EQUAL(OPTIONS[i].verbs & OPTIONS[j].verbs, 0);
            }
}

/* And a letter of a verb means one thing. */
static void
letters_of_a_verb_are_not_taken_twice(void)
{
    for (guint i = 0; i < OPTION_COUNT; i++)
        for (guint j = 0; j < i; j++) {
            guint together = OPTIONS[i].verbs & OPTIONS[j].verbs;
            gboolean global = (OPTIONS[i].verbs | OPTIONS[j].verbs) & GLOBAL;
            if (OPTIONS[i].letter && OPTIONS[i].letter == OPTIONS[j].letter)
                CU_ASSERT_TRUE(!together && !global);
        }
}

static void
completion_knows_every_verb_and_option(void)
{
    g_autofree char *text = option_completion_bash();

    for (guint v = 0; v < VERB_COUNT; v++) {
        g_autofree char *name = g_strdup_printf("\"%s\")", VERBS[v].name);
        CU_ASSERT_PTR_NOT_NULL(strstr(text, name));
    }
    for (guint i = 0; i < OPTION_COUNT; i++) {
        g_autofree char *name = g_strconcat(" --", OPTIONS[i].name, NULL);
        CU_ASSERT_EQUAL(strstr(text, name) != NULL, !(OPTIONS[i].verbs & HIDDEN));
    }
}

/* The man page -------------------------------------------------------------------------------- */

static char *
man_page(void)
{
    g_autoptr(GBytes) bytes = unit_read(SOURCE_FOLDER "/doc/filedup.1");
    gsize n;
    const char *data = g_bytes_get_data(bytes, &n);

    return g_strndup(data, n);
}

/* From the line 'begin' to the next heading of any kind; "" if there is none. */
static char *
man_section(const char *page, const char *begin)
{
    g_autofree char *line = g_strconcat("\n", begin, "\n", NULL);
    const char *start = strstr(page, line);

    if (!start)
        return g_strdup("");
    start += strlen(line);
    const char *section = strstr(start, "\n.Sh "), *part = strstr(start, "\n.Ss ");
    const char *end = section && (!part || section < part) ? section : part;
    return end ? g_strndup(start, (gsize) (end - start) + 1) : g_strdup(start);
}

/* The lines that introduce options. */
static char *
man_items(const char *section)
{
    GString *items = g_string_new(NULL);
    g_auto(GStrv) lines = g_strsplit(section, "\n", -1);

    for (char **line = lines; *line; line++)
        if (g_str_has_prefix(*line, ".It Fl "))
            g_string_append_printf(items, "%s\n", *line);
    return g_string_free(items, FALSE);
}

static void
the_man_page_has_the_table_s_synopsis(void)
{
    g_autofree char *page = man_page();
    g_autofree char *section = man_section(page, ".Sh SYNOPSIS");
    g_autofree char *expected = option_man_synopsis();

    CU_ASSERT_STRING_EQUAL(section, expected);
}

static void
the_man_page_has_a_section_for_each_verb_with_its_options(void)
{
    g_autofree char *page = man_page();

    for (guint v = 0; v < VERB_COUNT; v++) {
        g_autofree char *heading = g_strconcat(".Ss ", VERBS[v].name, NULL);
        g_autofree char *section = man_section(page, heading);
        g_autofree char *items = man_items(section);
        g_autofree char *expected = option_man_items((Verb) v);
        CU_ASSERT_TRUE(section[0] != '\0');
        CU_ASSERT_STRING_EQUAL(items, expected);
    }
    g_autofree char *global = man_section(page, ".Sh GLOBAL OPTIONS");
    g_autofree char *items = man_items(global);
    g_autofree char *expected = option_man_items(VERB_NONE);
    CU_ASSERT_STRING_EQUAL(items, expected);
}

static const UnitTest tests[] = {
    UNIT_TEST(options_stand_anywhere),
    UNIT_TEST(two_dashes_end_the_options),
    UNIT_TEST(letters_may_stand_together),
    UNIT_TEST(a_letter_is_the_verb_s_before_it),
    UNIT_TEST(one_name_means_to_each_verb_its_own),
    UNIT_TEST(verbs_of_two_words),
    UNIT_TEST(sizes_have_units_of_1024),
    UNIT_TEST(add_names_both_modes_and_their_choices),
    UNIT_TEST(set_says_why_a_mode_cannot_be_changed),
    UNIT_TEST(wrong_values_are_refused),
    UNIT_TEST(what_does_not_go_together_is_refused),
    UNIT_TEST(help_needs_nothing_else),
    UNIT_TEST(help_fits_on_a_screen),
    UNIT_TEST(options_of_one_name_all_take_a_value_or_none_does),
    UNIT_TEST(letters_of_a_verb_are_not_taken_twice),
    UNIT_TEST(completion_knows_every_verb_and_option),
    UNIT_TEST(the_man_page_has_the_table_s_synopsis),
    UNIT_TEST(the_man_page_has_a_section_for_each_verb_with_its_options),
};

UNIT_MAIN("option", tests)
