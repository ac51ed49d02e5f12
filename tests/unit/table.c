/* table.c - rows and stores: reading, refusing, writing */

#include "config.h"

#include <glib/gstdio.h>
#include <string.h>
#include <unistd.h>

#include "base/error.h"
#include "daemon/settings.h"
#include "daemon/table.h"
#include "tests/unit/unit.h"

static Settings *
settings(const char *text)
{
    g_autofree char *path = unit_path("filedupd.conf");
    g_autofree char *state = unit_path("state");
    g_autofree char *drop_ins = unit_path("entries.d");
    g_autoptr(GError) error = NULL;

    unit_write(path, text, -1);
    (void) g_mkdir(state, 0700);
    (void) g_mkdir(drop_ins, 0700);
    Settings *s = settings_load(FALSE, path, &error);
    UNIT_NO_ERROR(error);
    return s;
}

static Table *
load(const Settings *s, GStrv *ret_warnings)
{
    g_autoptr(GError) error = NULL;
    Table *t = table_load(s, ret_warnings, &error);

    UNIT_NO_ERROR(error);
    return t;
}

static void
write_table(const char *text)
{
    g_autofree char *path = unit_path("state/table.conf");

    unit_write(path, text, -1);
}

/* The message of loading a table with this text, which must fail. */
static char *
refusal(const char *text)
{
    g_autoptr(Settings) s = settings("");
    g_auto(GStrv) warnings = NULL;
    g_autoptr(GError) error = NULL;

    write_table(text);
    Table *t = table_load(s, &warnings, &error);
    CU_ASSERT_PTR_NULL_FATAL(t);
    CU_ASSERT_PTR_NOT_NULL_FATAL(error);
    return g_strdup(error->message);
}

static void
an_empty_table_has_just_the_default_store(void)
{
    g_autoptr(Settings) s = settings("");
    g_auto(GStrv) warnings = NULL;
    g_autoptr(Table) t = load(s, &warnings);

    CU_ASSERT_EQUAL(g_hash_table_size(t->rows), 0);
    CU_ASSERT_EQUAL(t->stores->len, 1);
    CU_ASSERT_PTR_NOT_NULL(table_find_store(t, DEFAULT_STORE_NAME));
    CU_ASSERT_PTR_NULL(warnings[0]);
}

static void
rows_and_stores_survive_saving_and_loading(void)
{
    g_autoptr(Settings) s = settings("");
    g_auto(GStrv) warnings = NULL;
    g_autoptr(GError) error = NULL;
    /* A newline, a quote, a backslash, bytes that are no UTF-8. */
    const char *path = "/srv/a \"b\"\\\n\xff\xfe\x01z";
    {
        g_autoptr(Table) t = load(s, &warnings);
        Row *row = g_new0(Row, 1);
        *row = (Row){.path = g_strdup(path),
                     .backup = BACKUP_PER_WRITE,
                     .recover = RECOVER_NOTIFY,
                     .principal = 1234,
                     .to = g_strsplit("usb,nas", ",", -1),
                     .retries = 7,
                     .timeout_sec = 90,
                     .keep = g_strdup("3d"),
                     .keep_last = 12,
                     .max_lag_sec = 30,
                     .suspended = TRUE};
        table_take(t, row);
        table_add_store(t, "usb", "/mnt/usb", "u-1");
        table_add_store(t, "nas", "/mnt/nas", "u-2")->max_size_bytes = (guint64) 3 << 40;
        table_save(t, s, &error);
        UNIT_NO_ERROR(error);
    }
    g_auto(GStrv) again = NULL;
    g_autoptr(Table) t = load(s, &again);
    const Row *row = table_find(t, path);
    CU_ASSERT_PTR_NOT_NULL_FATAL(row);
    CU_ASSERT_EQUAL(row->backup, BACKUP_PER_WRITE);
    CU_ASSERT_EQUAL(row->recover, RECOVER_NOTIFY);
    CU_ASSERT_EQUAL(row->principal, 1234);
    CU_ASSERT_STRING_EQUAL(row->to[1], "nas");
    CU_ASSERT_EQUAL(row->retries, 7);
    CU_ASSERT_EQUAL(row->timeout_sec, 90);
    CU_ASSERT_STRING_EQUAL(row->keep, "3d");
    CU_ASSERT_EQUAL(row->keep_last, 12);
    CU_ASSERT_EQUAL(row->max_lag_sec, 30);
    CU_ASSERT_TRUE(row->suspended);
    CU_ASSERT_FALSE(row->declared);
    CU_ASSERT_STRING_EQUAL(table_find_store(t, "usb")->uuid, "u-1");
    CU_ASSERT_EQUAL(table_find_store(t, "usb")->max_size_bytes, 0);
    CU_ASSERT_EQUAL(table_find_store(t, "nas")->max_size_bytes, (guint64) 3 << 40);
}

static void
wrong_input_is_refused_with_file_and_line(void)
{
    static const struct {
        const char *text, *says;
    } cases[] = {
        {"entries = (\n{ path = \"/a\"; recover = \"auto\"; });\n", ":2: 'backup' is missing"},
        {"entries = ({ path = \"/a\"; backup = \"on-close\"; });", ":1: 'recover' is missing"},
        {"entries = ({ path = \"/a\"; backup = \"hourly\"; recover = \"auto\"; });",
         "backup mode \"hourly\" is not known"},
        {"entries = ({ path = \"a\"; backup = \"on-close\"; recover = \"auto\"; });",
         "'path' must be the absolute path"},
        {"entries = ({ path = \"/a/../b\"; backup = \"on-close\"; recover = \"auto\"; });",
         "'path' must be the absolute path"},
        {"entries = ({ path = \"/a\"; backup = \"on-close\"; recover = \"auto\";\n retrys = 3; });",
         ":2: 'retrys' is not known here"},
        {"entries = ({ path = \"/a\"; backup = \"on-close\"; recover = \"auto\"; retries = -1; });",
         "'retries' is -1; it must be from 0 to 1000"},
        {"entries = ({ path = \"/a\"; backup = \"on-close\"; recover = \"auto\"; retries = 1001; "
         "});",
         "'retries' is 1001"},
        {"entries = ({ path = \"/a\"; backup = \"on-close\"; recover = \"auto\"; timeout = 0; });",
         "'timeout' is 0"},
        {"entries = ({ path = \"/a\"; backup = \"on-close\"; recover = \"auto\"; keep = \"4x\"; "
         "});",
         "keep \"4x\" is not understood"},
        {"entries = (\n{ path = \"/a\"; backup = \"on-close\"; recover = \"auto\"; },\n"
         "{ path = \"/a\"; backup = \"on-close\"; recover = \"auto\"; });",
         ":3: /a has a row already"},
        {"entries = ({ path = \"/a\"; backup = \"on-close\"; recover = \"auto\"; max-lag = 0; });",
         "'max-lag' is 0; it must be from 1 to 86400"},
        {"entries = ({ path = \"/a\"; backup = \"on-close\"; recover = \"auto\"; keep-last = -1; "
         "});",
         "'keep-last' is -1"},
        {"stores = ({ name = \"x\"; path = \"/s\";\n max-size = \"20 G\"; });",
         ":2: 'max-size' is \"20 G\""},
        {"stores = ({ name = \"x\"; path = \"/s\"; max-size = 20; });",
         "'max-size' must be a string"},
        {"stores = ({ name = \"x y\"; path = \"/s\"; });", "store name \"x y\""},
        {"stores = ({ name = \"x\"; });", "'path' is missing"},
        {"entries = (\n\n;", "table.conf:3: syntax error"},
    };

    for (gsize i = 0; i < G_N_ELEMENTS(cases); i++) {
        g_autofree char *message = refusal(cases[i].text);
        if (!strstr(message, cases[i].says))
            g_printerr("    case %zu says: %s\n", i, message);
        CU_ASSERT_PTR_NOT_NULL(strstr(message, cases[i].says));
        CU_ASSERT_PTR_NOT_NULL(strstr(message, "table.conf"));
    }
}

static void
a_row_has_the_max_lag_of_its_backup_mode_unless_it_says_its_own(void)
{
    Row row = {.backup = BACKUP_ON_CLOSE};

    CU_ASSERT_EQUAL(row_max_lag_sec(&row), 60);
    row.backup = BACKUP_PER_WRITE;
    CU_ASSERT_EQUAL(row_max_lag_sec(&row), 1);
    row.max_lag_sec = 17;
    CU_ASSERT_EQUAL(row_max_lag_sec(&row), 17);
}

static void
sizes_are_read_with_their_unit_and_written_as_they_are_read(void)
{
    static const struct {
        const char *text;
        guint64 bytes;
    } good[] = {{"0", 0},
                {"1", 1},
                {"1000", 1000},
                {"1K", 1024},
                {"200G", (guint64) 200 << 30},
                {"3T", (guint64) 3 << 40},
                {"5m", 5 << 20}};
    static const char *const bad[] = {"", "K", "-1", "1 G", "1GB", "1.5G", "x", "9999999999T"};
    guint64 bytes = 7;

    for (gsize i = 0; i < G_N_ELEMENTS(good); i++) {
        CU_ASSERT_TRUE(size_parse(good[i].text, &bytes));
        CU_ASSERT_EQUAL(bytes, good[i].bytes);
        g_autofree char *text = size_format(bytes);
        guint64 again;
        CU_ASSERT_TRUE(size_parse(text, &again));
        CU_ASSERT_EQUAL(again, bytes);
    }
    for (gsize i = 0; i < G_N_ELEMENTS(bad); i++)
        CU_ASSERT_FALSE(size_parse(bad[i], &bytes));
    g_autofree char *text = size_format((guint64) 200 << 30);
    CU_ASSERT_STRING_EQUAL(text, "200G");
}

static void
limits_are_accepted_at_their_edge(void)
{
    g_autoptr(Settings) s = settings("");
    g_auto(GStrv) warnings = NULL;

    write_table("entries = ({ path = \"/a\"; backup = \"on-close\"; recover = \"auto\";"
                " retries = 1000; timeout = 86400; },"
                "{ path = \"/b\"; backup = \"on-close\"; recover = \"auto\";"
                " retries = 0; timeout = 1; });");
    g_autoptr(Table) t = load(s, &warnings);
    CU_ASSERT_EQUAL(table_find(t, "/a")->timeout_sec, ENTRY_TIMEOUT_MAX);
    CU_ASSERT_EQUAL(table_find(t, "/b")->retries, 0);
}

static void
a_bad_drop_in_is_left_out_as_a_whole_and_named(void)
{
    g_autoptr(Settings) s = settings("");
    g_auto(GStrv) warnings = NULL;
    g_autofree char *good = unit_path("entries.d/10-good.conf");
    g_autofree char *bad = unit_path("entries.d/20-bad.conf");

    unit_write(good, "entries = ({ path = \"/g\"; backup = \"on-close\"; recover = \"manual\"; });",
               -1);
    unit_write(bad,
               "entries = ({ path = \"/b\"; backup = \"on-close\"; recover = \"manual\"; },\n"
               "{ path = \"/g\"; backup = \"on-close\"; recover = \"manual\"; });",
               -1);
    g_autoptr(Table) t = load(s, &warnings);
    CU_ASSERT_PTR_NOT_NULL(table_find(t, "/g"));
    CU_ASSERT_PTR_NULL(table_find(t, "/b"));
    CU_ASSERT_TRUE(table_find(t, "/g")->declared);
    CU_ASSERT_EQUAL(table_find(t, "/g")->principal, getuid());
    CU_ASSERT_PTR_NOT_NULL_FATAL(warnings[0]);
    CU_ASSERT_PTR_NOT_NULL(strstr(warnings[0], "20-bad.conf:2: /g has a row already"));
}

static void
declared_rows_are_not_written_to_our_table(void)
{
    g_autoptr(Settings) s =
        settings("entries = ({ path = \"/d\"; backup = \"on-close\"; recover = \"manual\"; });\n"
                 "stores = ({ name = \"usb\"; path = \"/mnt/usb\"; max-size = \"2G\"; });\n"
                 "drill = false;");
    g_auto(GStrv) warnings = NULL;
    g_autoptr(GError) error = NULL;
    g_autoptr(Table) t = load(s, &warnings);
    StoreRow *usb = table_find_store(t, "usb");

    CU_ASSERT_FALSE(s->drill);
    CU_ASSERT_TRUE_FATAL(usb && usb->declared);
    CU_ASSERT_EQUAL(usb->max_size_bytes, (guint64) 2 << 30);
    usb->uuid = (g_free(usb->uuid), g_strdup("u-9"));
    table_save(t, s, &error);
    UNIT_NO_ERROR(error);
    g_autofree char *path = unit_path("state/table.conf");
    g_autoptr(GBytes) text = unit_read(path);
    CU_ASSERT_PTR_NULL(g_strstr_len(g_bytes_get_data(text, NULL), g_bytes_get_size(text), "/d\""));
    g_auto(GStrv) again = NULL;
    g_autoptr(Table) t2 = load(s, &again);
    CU_ASSERT_STRING_EQUAL(table_find_store(t2, "usb")->uuid, "u-9");
    CU_ASSERT_TRUE(table_find_store(t2, "usb")->declared);
}

static void
a_failed_save_leaves_the_old_table(void)
{
    g_autoptr(Settings) s = settings("");
    g_auto(GStrv) warnings = NULL;
    g_autoptr(GError) error = NULL;
    g_autofree char *in_the_way = unit_path("state/table.conf.new");
    g_autofree char *path = unit_path("state/table.conf");

    write_table("version = 1;\n");
    g_autoptr(Table) t = load(s, &warnings);
    (void) g_mkdir(in_the_way, 0700);
    CU_ASSERT_FALSE(table_save(t, s, &error));
    CU_ASSERT_PTR_NOT_NULL(error);
    g_autoptr(GBytes) text = unit_read(path);
    CU_ASSERT_EQUAL(g_bytes_get_size(text), strlen("version = 1;\n"));
}

static void
a_named_settings_file_moves_every_path(void)
{
    g_autoptr(Settings) s = settings("socket = \"run/s\";\n");
    g_autofree char *socket = unit_path("run/s");
    g_autofree char *state = unit_path("state");

    CU_ASSERT_STRING_EQUAL(s->state_folder, state);
    CU_ASSERT_TRUE(s->drill);
    if (!g_getenv("FILEDUP_SOCKET"))
        CU_ASSERT_STRING_EQUAL(s->socket_path, socket);
}

static void
settings_errors_name_file_and_line(void)
{
    g_autofree char *path = unit_path("filedupd.conf");
    g_autoptr(GError) error = NULL;

    unit_write(path, "\nstat = \"/x\";\n", -1);
    Settings *s = settings_load(FALSE, path, &error);
    CU_ASSERT_PTR_NULL(s);
    CU_ASSERT_PTR_NOT_NULL_FATAL(error);
    CU_ASSERT_PTR_NOT_NULL(strstr(error->message, "filedupd.conf:2: 'stat' is not known"));
    g_clear_error(&error);
    g_autofree char *missing = unit_path("nowhere.conf");
    s = settings_load(FALSE, missing, &error);
    CU_ASSERT_PTR_NULL(s);
    CU_ASSERT_TRUE(g_error_matches(error, FILEDUP_ERROR, FILEDUP_ERROR_NO_ENTRY));
}

static void
keep_takes_units_in_order_and_once(void)
{
    CU_ASSERT_TRUE(keep_check("24h 7d 4w 12m", NULL));
    CU_ASSERT_TRUE(keep_check("9999m", NULL));
    CU_ASSERT_FALSE(keep_check("7d 24h", NULL));
    CU_ASSERT_FALSE(keep_check("7d 7d", NULL));
    CU_ASSERT_FALSE(keep_check("0d", NULL));
    CU_ASSERT_FALSE(keep_check("10000d", NULL));
    CU_ASSERT_FALSE(keep_check("d", NULL));
    CU_ASSERT_FALSE(keep_check("-1d", NULL));
    CU_ASSERT_FALSE(keep_check("3dd", NULL));
}

static const UnitTest tests[] = {
    UNIT_TEST(an_empty_table_has_just_the_default_store),
    UNIT_TEST(rows_and_stores_survive_saving_and_loading),
    UNIT_TEST(wrong_input_is_refused_with_file_and_line),
    UNIT_TEST(a_row_has_the_max_lag_of_its_backup_mode_unless_it_says_its_own),
    UNIT_TEST(sizes_are_read_with_their_unit_and_written_as_they_are_read),
    UNIT_TEST(limits_are_accepted_at_their_edge),
    UNIT_TEST(a_bad_drop_in_is_left_out_as_a_whole_and_named),
    UNIT_TEST(declared_rows_are_not_written_to_our_table),
    UNIT_TEST(a_failed_save_leaves_the_old_table),
    UNIT_TEST(a_named_settings_file_moves_every_path),
    UNIT_TEST(settings_errors_name_file_and_line),
    UNIT_TEST(keep_takes_units_in_order_and_once),
};

UNIT_MAIN("table", tests)
