/* The catalog: what is saved comes back. */

#include "config.h"

#include <sqlite3.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/error.h"
#include "store/catalog.h"
#include "store/footer.h"
#include "tests/unit/unit.h"

static Catalog *
open_new(void)
{
    g_autofree char *path = unit_path("catalog.db");
    g_autoptr(GError) error = NULL;
    Catalog *c = catalog_open(path, TRUE, &error);

    UNIT_NO_ERROR(error);
    return c;
}

static Point *
make_point(guint64 id, gsize n_sums)
{
    Point *p = g_new0(Point, 1);
    guint8 *sums = g_malloc0(n_sums + 1);

    for (gsize i = 0; i < n_sums; i++)
        sums[i] = (guint8) (i * 31 + id);
    p->id = id;
    p->time_usec = 1700000000000000 + (gint64) id;
    p->cause = CAUSE_CLOSE;
    p->quality = QUALITY_STABLE;
    p->size_bytes = 12345;
    p->stat = (FileStat){.dev = 1,
                         .ino = G_MAXUINT64,
                         .mode = S_IFREG | 0640,
                         .uid = 1000,
                         .gid = 100,
                         .nlink = 2,
                         .size_bytes = 12345,
                         .mtime_ns = -5,
                         .ctime_ns = 6,
                         .btime_ns = 7,
                         .fsid = G_MAXUINT64 - 1};
    p->attributes = g_bytes_new("attr", 4);
    memset(p->hash, (int) id, HASH_BYTES);
    p->sums = g_bytes_new_take(sums, n_sums);
    p->place = POINT_IN_HISTORY;
    p->whole = id;
    p->fresh = TRUE;
    return p;
}

static gboolean
save(Catalog *c, FileView *v, guint64 applied, GError **error)
{
    g_autoptr(GPtrArray) views = g_ptr_array_new();
    CatalogChange change = {.views = views, .applied = applied};

    g_ptr_array_add(views, v);
    return catalog_save(c, &change, error);
}

static Undo *
make_undo(guint64 size_bytes, guint64 pack, guint64 frame)
{
    Undo *undo = undo_new(size_bytes);
    Piece pieces[] = {
        {.offset = 0, .length = 100, .kind = PIECE_PACK, .pack = pack, .frame = frame},
        {.offset = 4096, .length = 50, .kind = PIECE_BAD},
        {.offset = 8192, .length = 60, .kind = PIECE_ZERO},
        {.offset = 9000, .length = 11, .kind = PIECE_PACK, .pack = pack + 1}};

    for (guint i = 0; i < G_N_ELEMENTS(pieces); i++)
        undo_add(undo, &pieces[i]);
    return undo;
}

static void
a_file_and_its_points_come_back_as_they_were_saved(void)
{
    g_autoptr(Catalog) c = open_new();
    g_autoptr(FileView) v = view_new("/etc/with\nnewline\xff.db");
    g_autoptr(GError) error = NULL;

    v->id = 9;
    v->principal = 1000;
    v->state = STORED_DELETED;
    v->newest_seq = 77;
    v->mirror_ino = 4711;
    v->current = make_point(70, 200000); /* several rows of sums */
    g_ptr_array_add(v->points, make_point(50, 16));
    Point *undone = make_point(60, 0);
    undone->place = POINT_IN_UNDO;
    undone->whole = 0;
    undone->undo = make_undo(12345, 3, 7);
    undone->kept = KEPT_NAMED;
    undone->name = g_strdup("before");
    undone->changed_bytes = 171;
    undone->deleted_usec = 99;
    g_ptr_array_add(v->points, undone);
    v->suspicion = SUSPICION_EMPTIED;
    v->suspicion_since_usec = 5;
    v->suspicion_point = 50;
    v->current->name = g_strdup("now");
    v->current->kept = KEPT_NAMED | KEPT_SUSPICION;
    CU_ASSERT_TRUE(save(c, v, 77, &error));
    UNIT_NO_ERROR(error);

    g_autoptr(FileView) back = catalog_load(c, v->path, CATALOG_UNDO, &error);
    UNIT_NO_ERROR(error);
    CU_ASSERT_EQUAL(back->id, 9);
    CU_ASSERT_EQUAL(back->principal, 1000);
    CU_ASSERT_EQUAL(back->state, STORED_DELETED);
    CU_ASSERT_EQUAL(back->newest_seq, 77);
    CU_ASSERT_EQUAL(back->applied, 77);
    CU_ASSERT_EQUAL(back->mirror_ino, 4711);
    CU_ASSERT_PTR_NOT_NULL_FATAL(back->current);
    CU_ASSERT_EQUAL(back->current->id, 70);
    CU_ASSERT_EQUAL(back->current->place, POINT_IN_MIRROR);
    CU_ASSERT_EQUAL(memcmp(&back->current->stat, &v->current->stat, sizeof(FileStat)), 0);
    CU_ASSERT_TRUE(g_bytes_equal(back->current->attributes, v->current->attributes));
    CU_ASSERT_EQUAL(memcmp(back->current->hash, v->current->hash, HASH_BYTES), 0);
    CU_ASSERT_EQUAL_FATAL(back->points->len, 2);
    const Point *p = back->points->pdata[0];
    CU_ASSERT_EQUAL(p->id, 50);
    CU_ASSERT_EQUAL(memcmp(&p->stat, &v->current->stat, sizeof(FileStat)), 0);
    CU_ASSERT_EQUAL(p->place, POINT_IN_HISTORY);
    CU_ASSERT_EQUAL(p->whole, 50);
    p = back->points->pdata[1];
    CU_ASSERT_EQUAL(p->place, POINT_IN_UNDO);
    CU_ASSERT_EQUAL(p->kept, KEPT_NAMED);
    CU_ASSERT_STRING_EQUAL(p->name, "before");
    CU_ASSERT_EQUAL(p->changed_bytes, 171);
    CU_ASSERT_EQUAL(p->deleted_usec, 99);
    CU_ASSERT_PTR_NOT_NULL_FATAL(p->undo);
    g_autoptr(GBytes) undo = undo_encode(p->undo);
    g_autoptr(GBytes) undo_saved = undo_encode(undone->undo);
    CU_ASSERT_TRUE(g_bytes_equal(undo, undo_saved));
    CU_ASSERT_EQUAL(back->suspicion, SUSPICION_EMPTIED);
    CU_ASSERT_EQUAL(back->suspicion_since_usec, 5);
    CU_ASSERT_EQUAL(back->suspicion_point, 50);
    CU_ASSERT_STRING_EQUAL(back->current->name, "now");
    CU_ASSERT_EQUAL(back->current->kept, KEPT_NAMED | KEPT_SUSPICION);
    CU_ASSERT_TRUE(catalog_approve(c, 9, &error));
    g_autoptr(FileView) approved = catalog_load(c, v->path, CATALOG_UNDO, &error);
    CU_ASSERT_EQUAL(approved->suspicion, 0);
    CU_ASSERT_EQUAL(approved->current->kept, KEPT_NAMED);
    g_autoptr(GBytes) sums = catalog_sums(c, 9, &error);
    CU_ASSERT_TRUE(g_bytes_equal(sums, v->current->sums));
    g_autoptr(GBytes) point_sums_back = catalog_point_sums(c, 9, 50, &error);
    CU_ASSERT_TRUE(g_bytes_equal(point_sums_back, ((Point *) v->points->pdata[0])->sums));
}

static void
sums_that_become_fewer_leave_no_rest(void)
{
    g_autoptr(Catalog) c = open_new();
    g_autoptr(FileView) v = view_new("/f");
    g_autoptr(GError) error = NULL;

    v->id = 1;
    v->current = make_point(1, 200000);
    CU_ASSERT_TRUE(save(c, v, 1, &error));
    point_free(v->current);
    v->current = make_point(2, 8);
    CU_ASSERT_TRUE(save(c, v, 2, &error));
    g_autoptr(GBytes) sums = catalog_sums(c, 1, &error);
    CU_ASSERT_EQUAL(g_bytes_get_size(sums), 8);
}

static void
dropped_points_are_gone(void)
{
    g_autoptr(Catalog) c = open_new();
    g_autoptr(FileView) v = view_new("/f");
    g_autoptr(GError) error = NULL;

    v->id = 1;
    v->current = make_point(3, 8);
    g_ptr_array_add(v->points, make_point(1, 8));
    CU_ASSERT_TRUE(save(c, v, 3, &error));
    g_ptr_array_add(v->dropped, g_ptr_array_steal_index(v->points, 0));
    CU_ASSERT_TRUE(save(c, v, 3, &error));
    g_autoptr(FileView) back = catalog_load(c, "/f", CATALOG_UNDO, &error);
    CU_ASSERT_EQUAL(back->points->len, 0);
}

static void
an_unknown_path_is_an_empty_view_and_no_error(void)
{
    g_autoptr(Catalog) c = open_new();
    g_autoptr(GError) error = NULL;
    g_autoptr(FileView) v = catalog_load(c, "/unknown", CATALOG_UNDO, &error);

    UNIT_NO_ERROR(error);
    CU_ASSERT_EQUAL(v->id, 0);
    CU_ASSERT_PTR_NULL(v->current);
}

static void
state_survives_and_applied_never_goes_back(void)
{
    g_autofree char *path = unit_path("catalog.db");
    g_autoptr(GError) error = NULL;
    CatalogState state;

    {
        g_autoptr(Catalog) c = open_new();
        g_autoptr(FileView) v = view_new("/f");
        v->id = 5;
        v->newest_seq = 40;
        v->current = make_point(40, 8);
        CU_ASSERT_TRUE(catalog_set_open(c, 3, "this boot", 40, &error));
        CU_ASSERT_TRUE(save(c, v, 40, &error));
        CU_ASSERT_TRUE(save(c, v, 20, &error));
    }
    {
        g_autoptr(Catalog) c = catalog_open(path, FALSE, &error);
        UNIT_NO_ERROR(error);
        CU_ASSERT_TRUE(catalog_state(c, &state, &error));
        CU_ASSERT_EQUAL(state.applied, 40);
        CU_ASSERT_EQUAL(state.last_seq, 40);
        CU_ASSERT_EQUAL(state.last_file, 5);
        CU_ASSERT_EQUAL(state.incarnation, 3);
        CU_ASSERT_FALSE(state.clean);
        CU_ASSERT_TRUE(catalog_set_clean(c, 45, &error));
    }
    g_autoptr(Catalog) c = catalog_open(path, FALSE, &error);
    CU_ASSERT_TRUE(catalog_state(c, &state, &error));
    CU_ASSERT_TRUE(state.clean);
    CU_ASSERT_EQUAL(state.applied, 45);
}

static void
a_file_that_is_no_catalog_is_refused(void)
{
    g_autofree char *path = unit_path("catalog.db");
    g_autoptr(GError) error = NULL;

    unit_write(path, "this is not a database, and long enough to be looked at as one.......", -1);
    g_autoptr(Catalog) c = catalog_open(path, FALSE, &error);
    CU_ASSERT_PTR_NULL(c);
    CU_ASSERT_TRUE(g_error_matches(error, FILEDUP_ERROR, FILEDUP_ERROR_FATAL));
}

static void
a_light_load_brings_what_a_fold_can_touch(void)
{
    g_autoptr(Catalog) c = open_new();
    g_autoptr(FileView) v = view_new("/f");
    g_autoptr(GError) error = NULL;

    v->id = 1;
    v->current = make_point(10, 8);
    for (guint id = 1; id < 9; id++)
        g_ptr_array_add(v->points, make_point(id, 8));
    ((Point *) v->points->pdata[2])->kept = KEPT_STABLE;
    ((Point *) v->points->pdata[3])->kept = KEPT_NAMED;
    ((Point *) v->points->pdata[7])->cause = CAUSE_BEFORE_RESTORE;
    CU_ASSERT_TRUE(save(c, v, 10, &error));
    UNIT_NO_ERROR(error);
    g_autoptr(FileView) light = catalog_load(c, "/f", CATALOG_NEWEST, &error);
    UNIT_NO_ERROR(error);
    CU_ASSERT_EQUAL_FATAL(light->points->len, 2);
    CU_ASSERT_EQUAL(((Point *) light->points->pdata[0])->id, 3); /* KEPT_STABLE */
    CU_ASSERT_EQUAL(((Point *) light->points->pdata[1])->id, 7); /* the chain's newest */
    CU_ASSERT_FALSE(light->all_points);
}

static void
what_packs_hold_follows_the_points(void)
{
    g_autoptr(Catalog) c = open_new();
    g_autoptr(FileView) v = view_new("/f");
    g_autoptr(GPtrArray) views = g_ptr_array_new();
    g_autoptr(GArray) packs = g_array_new(FALSE, FALSE, sizeof(CatalogPack));
    g_autoptr(GArray) removed = g_array_new(FALSE, FALSE, sizeof(guint64));
    g_autoptr(GError) error = NULL;
    CatalogPack pack[] = {{.id = 3, .length_bytes = 5000, .added_bytes = 300},
                          {.id = 4, .length_bytes = 6000, .added_bytes = 11}};
    CatalogChange change = {.views = views, .packs = packs, .applied = 9};
    guint64 three = 3, length;

    v->id = 1;
    v->current = make_point(10, 8);
    for (guint id = 1; id < 3; id++) {
        Point *p = make_point(id, 0);
        p->place = POINT_IN_UNDO;
        p->whole = 0;
        p->undo = make_undo(12345, 3, 7);
        g_ptr_array_add(v->points, p);
    }
    g_ptr_array_add(views, v);
    g_array_append_vals(packs, pack, 2);
    CU_ASSERT_TRUE(catalog_save(c, &change, &error));
    UNIT_NO_ERROR(error);
    g_autoptr(GArray) uses = catalog_packs(c, &error);
    CU_ASSERT_EQUAL_FATAL(uses->len, 2);
    const CatalogPackUse *use = &g_array_index(uses, CatalogPackUse, 0);
    CU_ASSERT_EQUAL(use->id, 3);
    CU_ASSERT_EQUAL(use->length_bytes, 5000);
    CU_ASSERT_EQUAL(use->saved_bytes, 300);
    CU_ASSERT_EQUAL(use->live_bytes, 200);
    CU_ASSERT_FALSE(use->held);
    g_autoptr(GArray) users = catalog_pack_users(c, 4, &error);
    CU_ASSERT_EQUAL(users->len, 2);
    CU_ASSERT_TRUE(catalog_pack_length(c, 4, &length, &error));
    CU_ASSERT_EQUAL(length, 6000);

    /* A thinned point gives its share back; a merged one has what it inherits. */
    g_autoptr(FileView) full = catalog_load(c, "/f", CATALOG_UNDO, &error);
    view_drop(full, view_point(full, 2));
    views->pdata[0] = full;
    change.packs = NULL;
    g_array_append_val(removed, three);
    change.removed_packs = removed;
    CU_ASSERT_TRUE(catalog_save(c, &change, &error));
    g_autoptr(GArray) after = catalog_packs(c, &error);
    use = &g_array_index(after, CatalogPackUse, 0);
    CU_ASSERT_EQUAL(use->live_bytes, 100);
    CU_ASSERT_EQUAL(use->length_bytes, 0);
    g_autoptr(GPtrArray) files = catalog_files_with_points(c, 0, 10, &error);
    CU_ASSERT_EQUAL_FATAL(files->len, 1);
    CU_ASSERT_EQUAL(((CatalogFile *) files->pdata[0])->n_points, 1);
}

static void
what_is_prepared_is_kept_until_its_file_is_saved(void)
{
    g_autofree char *path = unit_path("catalog.db");
    g_autoptr(FileView) v = view_new("/f");
    g_autoptr(GPtrArray) prepared = g_ptr_array_new();
    g_autoptr(GError) error = NULL;
    CatalogChange change = {.prepared = prepared};

    v->id = 1;
    v->newest_seq = 12;
    v->current = make_point(10, 8);
    Point *p = make_point(5, 0);
    p->place = POINT_IN_UNDO;
    p->whole = 0;
    p->undo = make_undo(12345, 3, 7);
    g_ptr_array_add(v->points, p);
    g_autoptr(FooterFile) f = footer_file_new(v);
    g_ptr_array_add(prepared, f);
    {
        g_autoptr(Catalog) c = open_new();
        CU_ASSERT_TRUE(catalog_save(c, &change, &error));
        UNIT_NO_ERROR(error);
    }
    g_autoptr(Catalog) c = catalog_open(path, FALSE, &error);
    g_autoptr(FooterFile) back = catalog_prepared(c, 1, &error);
    UNIT_NO_ERROR(error);
    CU_ASSERT_PTR_NOT_NULL_FATAL(back);
    CU_ASSERT_EQUAL(back->through, 12);
    CU_ASSERT_STRING_EQUAL(back->path, "/f");
    CU_ASSERT_EQUAL_FATAL(back->points->len, 1);
    CU_ASSERT_EQUAL(((Point *) back->points->pdata[0])->undo->pieces->len, 4);
    CU_ASSERT_EQUAL(back->current->id, 10);
    CU_ASSERT_TRUE(save(c, v, 12, &error));
    CU_ASSERT_PTR_NULL(catalog_prepared(c, 1, &error));
    UNIT_NO_ERROR(error);
}

static void
a_policy_is_seen_at_once_and_saved_with_the_next_change(void)
{
    g_autofree char *path = unit_path("catalog.db");
    g_autoptr(GError) error = NULL;

    {
        g_autoptr(Catalog) c = open_new();
        CatalogChange nothing = {0};
        catalog_set_policy(c, "/f", "24h 7d", 3);
        g_autoptr(FileView) v = catalog_load(c, "/f", CATALOG_NEWEST, &error);
        CU_ASSERT_STRING_EQUAL(v->keep, "24h 7d");
        CU_ASSERT_TRUE(catalog_save(c, &nothing, &error));
    }
    g_autoptr(Catalog) c = catalog_open(path, FALSE, &error);
    g_autoptr(FileView) v = catalog_load(c, "/f", CATALOG_NEWEST, &error);
    UNIT_NO_ERROR(error);
    CU_ASSERT_STRING_EQUAL(v->keep, "24h 7d");
    CU_ASSERT_EQUAL(v->keep_last, 3);
}

static void
a_boot_without_a_stop_is_noticed_once(void)
{
    g_autoptr(Catalog) c = open_new();
    g_autoptr(GError) error = NULL;
    static const struct {
        const char *boot;
        gboolean stopped;
        guint64 last, expected;
    } openings[] = {{"a", FALSE, 10, 0},  {"a", FALSE, 20, 0}, {"b", FALSE, 30, 30},
                    {"b", FALSE, 40, 30}, {"c", TRUE, 50, 30}, {"d", FALSE, 60, 60}};

    for (guint i = 0; i < G_N_ELEMENTS(openings); i++) {
        if (openings[i].stopped)
            CU_ASSERT_TRUE(catalog_set_clean(c, 1, &error));
        CU_ASSERT_TRUE(catalog_set_open(c, i, openings[i].boot, openings[i].last, &error));
        g_autoptr(FileView) v = catalog_load(c, "/f", CATALOG_NEWEST, &error);
        CU_ASSERT_EQUAL(v->boot_seq, openings[i].expected);
    }
}

/* As filedup wrote it in format 1. */
static const char *const format_1 =
    "CREATE TABLE entry(id INTEGER PRIMARY KEY, path BLOB NOT NULL UNIQUE,"
    " principal INTEGER NOT NULL);"
    "CREATE TABLE file(id INTEGER PRIMARY KEY, entry INTEGER NOT NULL REFERENCES entry(id),"
    " path BLOB NOT NULL, type INTEGER NOT NULL, dev INTEGER, ino INTEGER, mode INTEGER,"
    " uid INTEGER, gid INTEGER, nlink INTEGER, stat_size INTEGER, mtime INTEGER, ctime INTEGER,"
    " btime INTEGER, fsid INTEGER, attributes BLOB, mirror_ino INTEGER NOT NULL,"
    " size INTEGER NOT NULL, state INTEGER NOT NULL, quality INTEGER NOT NULL, hash BLOB,"
    " time INTEGER NOT NULL, seq INTEGER NOT NULL, cause INTEGER NOT NULL,"
    " content INTEGER NOT NULL, UNIQUE(entry, path));"
    "CREATE TABLE sums(file INTEGER NOT NULL, row INTEGER NOT NULL, blob BLOB NOT NULL,"
    " PRIMARY KEY(file, row)) WITHOUT ROWID;"
    "CREATE TABLE point(id INTEGER NOT NULL, file INTEGER NOT NULL, seq INTEGER NOT NULL,"
    " time INTEGER NOT NULL, cause INTEGER NOT NULL, quality INTEGER NOT NULL,"
    " size INTEGER NOT NULL, stat BLOB NOT NULL, attributes BLOB, hash BLOB NOT NULL,"
    " sums BLOB NOT NULL, name BLOB, pin INTEGER NOT NULL, PRIMARY KEY(file, id)) WITHOUT ROWID;"
    "CREATE TABLE state(one INTEGER PRIMARY KEY CHECK(one = 1), applied INTEGER NOT NULL,"
    " incarnation INTEGER NOT NULL, clean INTEGER NOT NULL);"
    "INSERT INTO state VALUES(1, 55, 4, 0);"
    "INSERT INTO entry VALUES(7, CAST('/f' AS BLOB), 1000);"
    "INSERT INTO file VALUES(7, 7, CAST('f' AS BLOB), 32768, 1, 2, 33188, 3, 4, 1, 16, 8, 9, 10, "
    "11,"
    " NULL, 4711, 16, 1, 1, zeroblob(16), 77, 55, 1, 50);"
    "INSERT INTO sums VALUES(7, 0, zeroblob(8));"
    "INSERT INTO point VALUES(20, 7, 20, 66, 3, 2, 12, zeroblob(88), NULL, zeroblob(16),"
    " zeroblob(8), CAST('f' AS BLOB), 1);"
    "INSERT INTO point VALUES(30, 7, 30, 67, 2, 2, 13, zeroblob(88), NULL, zeroblob(16),"
    " zeroblob(8), CAST('f' AS BLOB), 0);";

static void
write_format_1(const char *path, const char *end)
{
    sqlite3 *db = NULL;

    CU_ASSERT_EQUAL_FATAL(sqlite3_open(path, &db), SQLITE_OK);
    CU_ASSERT_EQUAL_FATAL(sqlite3_exec(db, format_1, NULL, NULL, NULL), SQLITE_OK);
    CU_ASSERT_EQUAL_FATAL(sqlite3_exec(db, end, NULL, NULL, NULL), SQLITE_OK);
    (void) sqlite3_close(db);
}

static void
check_migrated(Catalog *c)
{
    g_autoptr(GError) error = NULL;
    CatalogState state;

    CU_ASSERT_TRUE(catalog_state(c, &state, &error));
    CU_ASSERT_EQUAL(state.applied, 55);
    CU_ASSERT_EQUAL(state.incarnation, 4);
    g_autoptr(FileView) v = catalog_load(c, "/f", CATALOG_UNDO, &error);
    UNIT_NO_ERROR(error);
    CU_ASSERT_EQUAL(v->id, 7);
    CU_ASSERT_EQUAL(v->current->id, 50);
    CU_ASSERT_EQUAL(v->current->size_bytes, 16);
    CU_ASSERT_EQUAL_FATAL(v->points->len, 2);
    const Point *p = v->points->pdata[0];
    CU_ASSERT_EQUAL(p->place, POINT_IN_HISTORY);
    CU_ASSERT_EQUAL(p->whole, 20);
    CU_ASSERT_EQUAL(p->kept, KEPT_STABLE);
    CU_ASSERT_PTR_NULL(p->undo);
    p = v->points->pdata[1];
    CU_ASSERT_TRUE(point_is_beside(p));
    CU_ASSERT_EQUAL(p->kept, 0);
    g_autoptr(GBytes) sums = catalog_point_sums(c, 7, 20, &error);
    CU_ASSERT_EQUAL(g_bytes_get_size(sums), 8);
}

static void
a_catalog_of_format_1_is_migrated_in_one_step(void)
{
    g_autofree char *path = unit_path("old.db");
    g_autoptr(GError) error = NULL;
    int status;

    write_format_1(path, "PRAGMA user_version = 1");
    pid_t pid = fork();
    if (pid == 0) {
        setenv("FILEDUP_CRASH", "catalog-migrate", 1);
        (void) catalog_open(path, FALSE, NULL);
        _exit(0);
    }
    CU_ASSERT_EQUAL(waitpid(pid, &status, 0), pid);
    CU_ASSERT_TRUE(WIFSIGNALED(status));
    for (guint i = 0; i < 2; i++) { /* and when it is one of format 2 */
        g_autoptr(Catalog) c = catalog_open(path, FALSE, &error);
        UNIT_NO_ERROR(error);
        check_migrated(c);
    }
    g_autofree char *foreign = unit_path("foreign.db");
    write_format_1(foreign, "PRAGMA user_version = 1");
    g_autoptr(Catalog) c = catalog_open_foreign(foreign, &error);
    UNIT_NO_ERROR(error);
    check_migrated(c);
}

static void
a_later_format_is_refused_by_name(void)
{
    g_autofree char *path = unit_path("later.db");
    g_autoptr(GError) error = NULL;

    write_format_1(path, "PRAGMA user_version = 3");
    CU_ASSERT_PTR_NULL(catalog_open(path, FALSE, &error));
    CU_ASSERT_TRUE(g_error_matches(error, FILEDUP_ERROR, FILEDUP_ERROR_FATAL));
    CU_ASSERT_PTR_NOT_NULL(strstr(error->message, "use a newer one"));
}

static const UnitTest tests[] = {
    UNIT_TEST(a_file_and_its_points_come_back_as_they_were_saved),
    UNIT_TEST(sums_that_become_fewer_leave_no_rest),
    UNIT_TEST(dropped_points_are_gone),
    UNIT_TEST(an_unknown_path_is_an_empty_view_and_no_error),
    UNIT_TEST(state_survives_and_applied_never_goes_back),
    UNIT_TEST(a_file_that_is_no_catalog_is_refused),
    UNIT_TEST(a_light_load_brings_what_a_fold_can_touch),
    UNIT_TEST(what_packs_hold_follows_the_points),
    UNIT_TEST(what_is_prepared_is_kept_until_its_file_is_saved),
    UNIT_TEST(a_policy_is_seen_at_once_and_saved_with_the_next_change),
    UNIT_TEST(a_boot_without_a_stop_is_noticed_once),
    UNIT_TEST(a_catalog_of_format_1_is_migrated_in_one_step),
    UNIT_TEST(a_later_format_is_refused_by_name),
};
UNIT_MAIN("catalog", tests)
