/* watch.c - what events mean for an entry, and when its state is worth sending */

#include "config.h"

#include <CUnit/CUnit.h>
#include <errno.h>

#include "feed/watch.h"
#include "tests/unit/unit.h"

static void
each_event_says_one_thing(void)
{
    CU_ASSERT_EQUAL(watch_changes(IN_CLOSE_WRITE, 0), CHANGE_CLOSED);
    CU_ASSERT_EQUAL(watch_changes(IN_CREATE, 0), CHANGE_APPEARED);
    CU_ASSERT_EQUAL(watch_changes(IN_MOVED_TO, 0), CHANGE_APPEARED);
    CU_ASSERT_EQUAL(watch_changes(IN_DELETE, 0), CHANGE_GONE);
    CU_ASSERT_EQUAL(watch_changes(IN_MOVED_FROM, 0), CHANGE_GONE);
    CU_ASSERT_EQUAL(watch_changes(IN_ATTRIB | IN_ISDIR, 0), CHANGE_ATTRIB);
    CU_ASSERT_EQUAL(watch_changes(IN_ACCESS | IN_OPEN, 0), 0);
}

static void
writes_are_told_to_per_write_entries_only(void)
{
    CU_ASSERT_EQUAL(watch_changes(IN_MODIFY, 0), 0);
    CU_ASSERT_EQUAL(watch_changes(IN_MODIFY, WATCH_WRITES), CHANGE_WRITTEN);
}

static void
a_state_is_sent_when_it_differs_or_the_path_moved(void)
{
    g_autoptr(Watch) w = watch_new(7, "/etc", "hosts", 0);

    CU_ASSERT_TRUE(watch_set_state(w, WATCH_ACTIVE, 0, 0));
    CU_ASSERT_FALSE(watch_set_state(w, WATCH_ACTIVE, 0, 0));
    w->moved = TRUE;
    CU_ASSERT_TRUE(watch_set_state(w, WATCH_ACTIVE, 0, 0));
    CU_ASSERT_FALSE(watch_set_state(w, WATCH_ACTIVE, 0, 0));
    CU_ASSERT_TRUE(watch_set_state(w, WATCH_SCAN, EACCES, 0));
    CU_ASSERT_TRUE(watch_set_state(w, WATCH_SCAN, ENOSPC, 10));
    CU_ASSERT_TRUE(watch_set_state(w, WATCH_SCAN, ENOSPC, 11));
    CU_ASSERT_FALSE(watch_set_state(w, WATCH_SCAN, ENOSPC, 11));
}

static void
a_watch_in_the_root_folder_has_a_canonical_path(void)
{
    g_autoptr(Watch) w = watch_new(1, "/", "file", 0);

    CU_ASSERT_STRING_EQUAL(w->path, "/file");
}

static const UnitTest tests[] = {
    UNIT_TEST(each_event_says_one_thing),
    UNIT_TEST(writes_are_told_to_per_write_entries_only),
    UNIT_TEST(a_state_is_sent_when_it_differs_or_the_path_moved),
    UNIT_TEST(a_watch_in_the_root_folder_has_a_canonical_path),
};
UNIT_MAIN("watch", tests)
