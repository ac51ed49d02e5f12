/* stable.c - tests of the probe for writers */

#include "config.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/fd.h"
#include "copy/stable.h"
#include "tests/unit/unit.h"

typedef enum { READER, WRITER, SHARED_MAPPING, PRIVATE_MAPPING } Use;

static pid_t
other_process(const char *path, Use use)
{
    int ready[2];
    char byte;

    CU_ASSERT_EQUAL_FATAL(pipe(ready), 0);
    pid_t pid = fork();
    if (pid == 0) {
        int fd = open(path, use == READER || use == PRIVATE_MAPPING ? O_RDONLY : O_RDWR);
        if (use == SHARED_MAPPING || use == PRIVATE_MAPPING) {
            (void) mmap(NULL, 4096, PROT_READ | PROT_WRITE,
                        use == SHARED_MAPPING ? MAP_SHARED : MAP_PRIVATE, fd, 0);
            close(fd);
        }
        (void) !write(ready[1], "", 1);
        for (;;)
            pause();
    }
    close(ready[1]);
    CU_ASSERT_EQUAL(read(ready[0], &byte, 1), 1);
    close(ready[0]);
    return pid;
}

static void
assert_use(Use use, Probe probe, gboolean writer, gboolean user)
{
    g_autofree char *path = unit_path("file");

    unit_write(path, "hello", 5);
    pid_t pid = other_process(path, use);
    g_autofree char *number = g_strdup_printf("(%d)", (int) pid);
    g_auto(Fd) fd = open(path, O_RDONLY | O_CLOEXEC);
    CU_ASSERT_EQUAL(stable_probe(fd), probe);
    g_autofree char *found = stable_find_writer(fd), *any = stable_find_user(fd);
    CU_ASSERT_EQUAL(found && strstr(found, number) != NULL, writer);
    CU_ASSERT_EQUAL(any && strstr(any, number) != NULL, user);
    kill(pid, SIGKILL);
    waitpid(pid, NULL, 0);
    CU_ASSERT_EQUAL(stable_probe(fd), PROBE_FREE);
    g_autofree char *nobody = stable_find_user(fd);
    CU_ASSERT_PTR_NULL(nobody); /* we ourselves do not count */
}

static void
a_writer_is_seen_and_named(void)
{
    assert_use(WRITER, PROBE_WRITER, TRUE, TRUE);
}

static void
a_shared_writable_mapping_is_a_writer(void)
{
    assert_use(SHARED_MAPPING, PROBE_WRITER, TRUE, TRUE);
}

static void
readers_are_no_writers(void)
{
    assert_use(READER, PROBE_FREE, FALSE, TRUE);
    assert_use(PRIVATE_MAPPING, PROBE_FREE, FALSE, TRUE);
}

static void
a_probe_leaves_no_lease_and_no_signal(void)
{
    g_autofree char *path = unit_path("file");

    unit_write(path, "hello", 5);
    g_auto(Fd) fd = open(path, O_RDONLY | O_CLOEXEC);
    CU_ASSERT_EQUAL(stable_probe(fd), PROBE_FREE);
    CU_ASSERT_EQUAL(fcntl(fd, F_GETLEASE), F_UNLCK);
    g_auto(Fd) writer = open(path, O_WRONLY | O_NONBLOCK | O_CLOEXEC);
    CU_ASSERT_TRUE(writer >= 0);
}

static void
where_there_are_no_leases_the_answer_is_unknown(void)
{
    g_auto(Fd) fd = open("/proc/self/status", O_RDONLY | O_CLOEXEC);
    g_auto(Fd) folder = open(unit_folder(), O_RDONLY | O_CLOEXEC);

    CU_ASSERT_NOT_EQUAL(stable_probe(fd), PROBE_WRITER);
    CU_ASSERT_EQUAL(stable_probe(folder), PROBE_UNKNOWN);
}

static const UnitTest tests[] = {
    UNIT_TEST(a_writer_is_seen_and_named),
    UNIT_TEST(a_shared_writable_mapping_is_a_writer),
    UNIT_TEST(readers_are_no_writers),
    UNIT_TEST(a_probe_leaves_no_lease_and_no_signal),
    UNIT_TEST(where_there_are_no_leases_the_answer_is_unknown),
};
UNIT_MAIN("stable", tests)
