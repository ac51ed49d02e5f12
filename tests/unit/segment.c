/* Segments: headers, and what counts as one. */

#include "config.h"

#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>

#include "base/error.h"
#include "store/segment.h"
#include "tests/unit/unit.h"

#define UUID  "0b9a2c1e-1111-4222-8333-444455556666"
#define OTHER "ffffffff-1111-4222-8333-444455556666"

static Segment *
make(int folder, const char *name)
{
    g_autoptr(GError) error = NULL;
    Segment *s = segment_create(folder, name, 65536, &error);
    SegmentHeader header = {.uuid = UUID,
                            .incarnation = 4,
                            .epoch = 1,
                            .flags = SEGMENT_DAMAGE,
                            .index = 2,
                            .first_seq = 1000,
                            .chain = 77,
                            .durable_through = 999};

    UNIT_NO_ERROR(error);
    (void) segment_use(s, &header, &error);
    UNIT_NO_ERROR(error);
    return s;
}

static int
folder_fd(void)
{
    int fd = open(unit_folder(), O_RDONLY | O_DIRECTORY | O_CLOEXEC);

    CU_ASSERT_TRUE_FATAL(fd >= 0);
    return fd;
}

static void
a_header_comes_back_as_it_was_written(void)
{
    g_auto(Fd) folder = folder_fd();
    g_autoptr(Segment) s = make(folder, "a");
    g_autoptr(GError) error = NULL;
    g_autoptr(Segment) back = segment_open(folder, "a", FALSE, UUID, &error);

    UNIT_NO_ERROR(error);
    CU_ASSERT_TRUE_FATAL(back->valid);
    CU_ASSERT_EQUAL(back->header.incarnation, 4);
    CU_ASSERT_EQUAL(back->header.epoch, 1);
    CU_ASSERT_EQUAL(back->header.flags, SEGMENT_DAMAGE);
    CU_ASSERT_EQUAL(back->header.index, 2);
    CU_ASSERT_EQUAL(back->header.first_seq, 1000);
    CU_ASSERT_EQUAL(back->header.chain, 77);
    CU_ASSERT_EQUAL(back->header.durable_through, 999);
    CU_ASSERT_EQUAL(back->header.size_bytes, 65536);
    CU_ASSERT_EQUAL(back->header.salt, s->header.salt);
}

static void
a_new_segment_has_its_full_size_and_no_holes(void)
{
    g_auto(Fd) folder = folder_fd();
    g_autoptr(Segment) s = make(folder, "a");
    struct stat st;

    CU_ASSERT_EQUAL(fstat(s->fd, &st), 0);
    CU_ASSERT_EQUAL(st.st_size, 65536);
    CU_ASSERT_TRUE(st.st_blocks * 512 >= 65536);
}

static void
each_use_draws_another_salt(void)
{
    g_auto(Fd) folder = folder_fd();
    g_autoptr(Segment) s = make(folder, "a");
    SegmentHeader header = s->header;
    guint64 salt = s->header.salt;

    CU_ASSERT_TRUE(segment_use(s, &header, NULL));
    CU_ASSERT_NOT_EQUAL(s->header.salt, salt);
}

static void
a_torn_void_or_foreign_header_is_none(void)
{
    g_auto(Fd) folder = folder_fd();
    g_autoptr(Segment) s = make(folder, "a");
    g_autoptr(GError) error = NULL;
    g_autoptr(Segment) foreign = segment_open(folder, "a", FALSE, OTHER, &error);

    UNIT_NO_ERROR(error);
    CU_ASSERT_FALSE(foreign->valid);
    CU_ASSERT_FALSE(foreign->damaged);
    CU_ASSERT_TRUE(fd_pwrite_full(s->fd, "x", 1, 60));
    g_autoptr(Segment) torn = segment_open(folder, "a", FALSE, UUID, &error);
    UNIT_NO_ERROR(error);
    CU_ASSERT_FALSE(torn->valid);
    CU_ASSERT_TRUE(torn->damaged);
    CU_ASSERT_TRUE(segment_seal(s, NULL));
    g_autoptr(Segment) whole = segment_open(folder, "a", FALSE, UUID, &error);
    CU_ASSERT_TRUE(whole->valid);
    CU_ASSERT_TRUE(segment_void(s, NULL));
    g_autoptr(Segment) void_one = segment_open(folder, "a", FALSE, UUID, &error);
    CU_ASSERT_FALSE(void_one->valid);
    CU_ASSERT_FALSE(void_one->damaged);
    CU_ASSERT_EQUAL(void_one->header.size_bytes, 65536);
}

static void
a_short_file_is_no_segment(void)
{
    g_auto(Fd) folder = folder_fd();
    g_autofree char *path = unit_path("b");
    g_autoptr(GError) error = NULL;

    unit_write(path, "short", 5);
    g_autoptr(Segment) s = segment_open(folder, "b", FALSE, UUID, &error);
    UNIT_NO_ERROR(error);
    CU_ASSERT_FALSE(s->valid);
}

static const UnitTest tests[] = {
    UNIT_TEST(a_header_comes_back_as_it_was_written),
    UNIT_TEST(a_new_segment_has_its_full_size_and_no_holes),
    UNIT_TEST(each_use_draws_another_salt),
    UNIT_TEST(a_torn_void_or_foreign_header_is_none),
    UNIT_TEST(a_short_file_is_no_segment),
};
UNIT_MAIN("segment", tests)
