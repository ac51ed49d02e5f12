/* drills.c - whose turn it is, and what is remembered */

#include "config.h"

#include <glib/gstdio.h>
#include <string.h>

#include "daemon/drills.h"
#include "tests/unit/unit.h"

static Settings *settings;

static void
on_durable(G_GNUC_UNUSED Entry *e, G_GNUC_UNUSED Store *store, G_GNUC_UNUSED guint64 sequence,
           G_GNUC_UNUSED gint64 stamp_usec, G_GNUC_UNUSED gpointer data)
{
}

static void
on_settled(G_GNUC_UNUSED gpointer data)
{
}

/* An empty table: nothing runs. */
static Manager *
manager(void)
{
    static const ManagerEvents events = {on_durable, on_settled};
    g_autofree char *path = unit_path("filedupd.conf");
    g_autofree char *state = unit_path("state");
    g_autoptr(GError) error = NULL;

    unit_write(path, "drill = true;\n", -1);
    (void) g_mkdir(state, 0700);
    settings = settings_load(FALSE, path, &error);
    UNIT_NO_ERROR(error);
    Manager *m = manager_new(settings, FALSE, &events, NULL, &error);
    UNIT_NO_ERROR(error);
    return m;
}

static Entry *
entry(const char *path)
{
    Row *row = g_new0(Row, 1);

    row->path = g_strdup(path);
    row->keep = g_strdup("");
    return entry_new(row);
}

static void
end(Manager *m, Drills *d)
{
    drills_free(d);
    manager_free(m);
    g_clear_pointer(&settings, settings_free);
}

static void
every_file_has_its_turn_within_a_month(void)
{
    CU_ASSERT_EQUAL(drills_per_day(0), 0);
    CU_ASSERT_EQUAL(drills_per_day(2), 2);
    CU_ASSERT_EQUAL(drills_per_day(3), 3);
    CU_ASSERT_EQUAL(drills_per_day(90), 3);
    CU_ASSERT_EQUAL(drills_per_day(91), 4);
    CU_ASSERT_EQUAL(drills_per_day(3000), 100);
    CU_ASSERT_EQUAL(drills_per_day(1000000), 200);
}

static void
files_that_were_drilled_least_recently_come_first(void)
{
    Manager *m = manager();
    Drills *d = drills_new(m);
    Entry *a = entry("/a"), *b = entry("/b");
    g_autoptr(GPtrArray) paths = g_ptr_array_new();

    drills_note(d, b, NULL);
    while (drills_find(d, "/b")->usec == g_get_real_time()) /* the clock moves */
        ;
    drills_note(d, a, NULL);
    g_ptr_array_add(paths, (gpointer) "/a");
    g_ptr_array_add(paths, (gpointer) "/b");
    g_ptr_array_add(paths, (gpointer) "/d");
    g_ptr_array_add(paths, (gpointer) "/c");
    g_autoptr(GPtrArray) all = drills_pick(d, paths, 10);
    CU_ASSERT_EQUAL_FATAL(all->len, 4);
    CU_ASSERT_STRING_EQUAL(all->pdata[0], "/c");
    CU_ASSERT_STRING_EQUAL(all->pdata[1], "/d");
    CU_ASSERT_STRING_EQUAL(all->pdata[2], "/b");
    CU_ASSERT_STRING_EQUAL(all->pdata[3], "/a");
    g_autoptr(GPtrArray) some = drills_pick(d, paths, 3);
    CU_ASSERT_EQUAL_FATAL(some->len, 3);
    CU_ASSERT_STRING_EQUAL(some->pdata[2], "/b");
    entry_free(a);
    entry_free(b);
    end(m, d);
}

static void
a_failed_drill_is_remembered_until_one_succeeds(void)
{
    Manager *m = manager();
    Drills *d = drills_new(m);
    Entry *e = entry("/a");

    CU_ASSERT_PTR_NULL(drills_find(d, "/a"));
    drills_note(d, e, "it is not what it was");
    CU_ASSERT_STRING_EQUAL(drills_find(d, "/a")->result, "it is not what it was");
    drills_note(d, e, NULL);
    CU_ASSERT_STRING_EQUAL(drills_find(d, "/a")->result, "ok");
    entry_free(e);
    end(m, d);
}

static void
a_file_that_is_not_understood_is_begun_anew(void)
{
    g_autofree char *path = unit_path("state/drills");
    Manager *m = manager();

    for (gsize n = 0; n < 64; n += 7) {
        g_autofree char *noise = g_strnfill(n, (char) 0xa5);
        unit_write(path, noise, (gssize) n);
        Drills *d = drills_new(m);
        CU_ASSERT_PTR_NULL(drills_find(d, "/a"));
        drills_free(d);
    }
    manager_free(m);
    g_clear_pointer(&settings, settings_free);
}

static const UnitTest tests[] = {
    UNIT_TEST(every_file_has_its_turn_within_a_month),
    UNIT_TEST(files_that_were_drilled_least_recently_come_first),
    UNIT_TEST(a_failed_drill_is_remembered_until_one_succeeds),
    UNIT_TEST(a_file_that_is_not_understood_is_begun_anew),
};

UNIT_MAIN("drills", tests)
