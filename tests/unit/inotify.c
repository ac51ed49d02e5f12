/* inotify.c - watches on inodes, shared, replaced and ended */

#include "config.h"

#include <CUnit/CUnit.h>
#include <errno.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "base/fd.h"
#include "feed/inotify.h"
#include "tests/unit/unit.h"

#define MASK (IN_CREATE | IN_DELETE_SELF | IN_ONLYDIR)

static void
make_folder(const char *path)
{
    CU_ASSERT_EQUAL_FATAL(mkdir(path, 0755), 0);
}

static int
open_path(const char *path)
{
    int fd = open(path, O_PATH | O_CLOEXEC);

    CU_ASSERT_FATAL(fd >= 0);
    return fd;
}

static void
join(InotifyUser *user, const char *path, guint32 mask)
{
    g_auto(Fd) fd = open_path(path);

    CU_ASSERT_EQUAL_FATAL(inotify_join(user, fd, path, mask), 0);
}

static void
touch_in(const char *folder, const char *name)
{
    g_autofree char *path = g_build_filename(folder, name, NULL);

    unit_write(path, "x", 1);
}

/* The wd of the next event with this bit; -1 if there is none. */
static int
next_with(guint32 bit)
{
    const struct inotify_event *event;

    while ((event = inotify_next()))
        if (event->mask & bit)
            return event->wd;
    return -1;
}

static void
the_descriptor_is_small_nonblocking_and_not_inherited(void)
{
    CU_ASSERT_TRUE_FATAL(inotify_open());
    CU_ASSERT_TRUE(inotify_open()); /* again is fine */
    int fd = inotify_descriptor();
    CU_ASSERT_TRUE(fd >= 0 && fd < 1024);
    CU_ASSERT_TRUE(fcntl(fd, F_GETFD) & FD_CLOEXEC);
    CU_ASSERT_TRUE(fcntl(fd, F_GETFL) & O_NONBLOCK);
    CU_ASSERT_PTR_NULL(inotify_next());
    inotify_close();
    CU_ASSERT_EQUAL(inotify_descriptor(), -1);
}

static void
two_paths_to_one_inode_share_a_watch(void)
{
    g_autofree char *path = unit_path("d");
    InotifyUser a = {.wd = -1}, b = {.wd = -1};

    CU_ASSERT_TRUE_FATAL(inotify_open());
    make_folder(path);
    join(&a, path, MASK);
    g_auto(Fd) fd = open_path(path);
    CU_ASSERT_EQUAL(inotify_join(&b, fd, "/somewhere/else", IN_ATTRIB), 0);
    CU_ASSERT_EQUAL(a.wd, b.wd);
    CU_ASSERT_EQUAL_FATAL(inotify_users(a.wd)->len, 2);

    inotify_leave(&b);
    CU_ASSERT_EQUAL(b.wd, -1);
    touch_in(path, "file");
    CU_ASSERT_EQUAL(next_with(IN_CREATE), a.wd);
    int wd = a.wd;
    inotify_leave(&a);
    CU_ASSERT_PTR_NULL(inotify_users(wd));
    touch_in(path, "other");
    CU_ASSERT_EQUAL(next_with(IN_CREATE), -1);
    inotify_close();
}

static void
a_mask_can_grow_and_shrink(void)
{
    g_autofree char *path = unit_path("d");
    InotifyUser a = {.wd = -1};

    CU_ASSERT_TRUE_FATAL(inotify_open());
    make_folder(path);
    join(&a, path, IN_DELETE_SELF);
    touch_in(path, "1");
    CU_ASSERT_EQUAL(next_with(IN_CREATE), -1);
    int wd = a.wd;
    join(&a, path, IN_DELETE_SELF | IN_CREATE);
    CU_ASSERT_EQUAL(a.wd, wd);
    touch_in(path, "2");
    CU_ASSERT_EQUAL(next_with(IN_CREATE), wd);
    join(&a, path, IN_DELETE_SELF);
    touch_in(path, "3");
    CU_ASSERT_EQUAL(next_with(IN_CREATE), -1);
    inotify_leave(&a);
    inotify_close();
}

static void
a_folder_made_anew_is_watched_anew(void)
{
    g_autofree char *path = unit_path("d");
    InotifyUser a = {.wd = -1};

    CU_ASSERT_TRUE_FATAL(inotify_open());
    make_folder(path);
    for (int i = 0; i < 5; i++) {
        join(&a, path, MASK);
        int wd = a.wd;
        CU_ASSERT_EQUAL(rmdir(path), 0);
        CU_ASSERT_EQUAL(next_with(IN_IGNORED), wd);
        g_autoptr(GPtrArray) users = inotify_forget(wd);
        CU_ASSERT_EQUAL(users->len, 1);
        CU_ASSERT_EQUAL(a.wd, -1);

        make_folder(path);
        join(&a, path, MASK);
        CU_ASSERT_NOT_EQUAL(a.wd, wd);
        g_autofree char *name = g_strdup_printf("%d", i);
        touch_in(path, name);
        CU_ASSERT_EQUAL(next_with(IN_CREATE), a.wd);
        g_autofree char *file = g_build_filename(path, name, NULL);
        CU_ASSERT_EQUAL(unlink(file), 0);
    }
    inotify_leave(&a);
    inotify_close();
}

/* The number of an inode can be used again before the old one's end has been read. */
static void
a_mask_change_on_a_replaced_inode_watches_the_new_one(void)
{
    g_autofree char *one = unit_path("one"), *two = unit_path("two");
    InotifyUser a = {.wd = -1};

    CU_ASSERT_TRUE_FATAL(inotify_open());
    make_folder(one);
    make_folder(two);
    join(&a, one, IN_DELETE_SELF);
    join(&a, two, MASK);
    touch_in(one, "file");
    CU_ASSERT_EQUAL(next_with(IN_CREATE), -1);
    touch_in(two, "file");
    CU_ASSERT_EQUAL(next_with(IN_CREATE), a.wd);
    CU_ASSERT_PTR_NOT_NULL(inotify_users(a.wd));
    inotify_leave(&a);
    inotify_close();
}

static void
others_in_the_process_keep_their_own_inotify(void)
{
    CU_ASSERT_TRUE_FATAL(inotify_open());
    g_auto(Fd) fd = inotify_init1(IN_CLOEXEC);
    int wd = inotify_add_watch(fd, unit_folder(), IN_CREATE);
    CU_ASSERT_TRUE(wd > 0);
    CU_ASSERT_EQUAL(inotify_rm_watch(fd, wd), 0);
    CU_ASSERT_EQUAL(inotify_rm_watch(fd, wd), -1);
    CU_ASSERT_EQUAL(errno, EINVAL);
    inotify_close();
}

static const UnitTest tests[] = {
    UNIT_TEST(the_descriptor_is_small_nonblocking_and_not_inherited),
    UNIT_TEST(two_paths_to_one_inode_share_a_watch),
    UNIT_TEST(a_mask_can_grow_and_shrink),
    UNIT_TEST(a_folder_made_anew_is_watched_anew),
    UNIT_TEST(a_mask_change_on_a_replaced_inode_watches_the_new_one),
    UNIT_TEST(others_in_the_process_keep_their_own_inotify),
};
UNIT_MAIN("inotify", tests)
