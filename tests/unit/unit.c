/* unit.c - the frame around CUnit */

#include "config.h"

#include <CUnit/Basic.h>
#include <ftw.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "tests/unit/unit.h"

static char *folder;
static guint skipped;

static int
remove_one(const char *path, G_GNUC_UNUSED const struct stat *st, G_GNUC_UNUSED int type,
           G_GNUC_UNUSED struct FTW *ftw)
{
    return remove(path);
}

static void
set_up(void)
{
    const char *base = g_get_tmp_dir();

    folder = g_build_filename(base, "filedup-unit-XXXXXX", NULL);
    if (!g_mkdtemp(folder)) {
        perror(folder);
        exit(99); /* automake: hard error */
    }
}

static void
tear_down(void)
{
    (void) nftw(folder, remove_one, 16, FTW_DEPTH | FTW_PHYS);
    g_clear_pointer(&folder, g_free);
}

const char *
unit_folder(void)
{
    return folder;
}

char *
unit_path(const char *name)
{
    return g_build_filename(folder, name, NULL);
}

void
unit_skip(const char *reason)
{
    skipped++;
    fprintf(stderr, "\n*** SKIPPED: %s ***\n", reason);
}

void
unit_write(const char *path, const void *data, gssize n)
{
    gsize size = n < 0 ? strlen(data) : (gsize) n;
    FILE *f = fopen(path, "we"); /* truncates: GLib's in-place writing does not */

    CU_ASSERT_PTR_NOT_NULL_FATAL(f);
    CU_ASSERT_EQUAL_FATAL(fwrite(data, 1, size, f), size);
    CU_ASSERT_EQUAL_FATAL(fclose(f), 0);
}

GBytes *
unit_read(const char *path)
{
    g_autoptr(GError) error = NULL;
    char *data = NULL;
    gsize n = 0;

    g_file_get_contents(path, &data, &n, &error);
    UNIT_NO_ERROR(error);
    return g_bytes_new_take(data, n);
}

int
unit_main(const char *suite_name, const UnitTest *tests, gsize n_tests)
{
    const char *only = getenv("UNIT_TEST"); /* a part of a name: run just these */

    setvbuf(stdout, NULL, _IOLBF, 0);
    if (CU_initialize_registry() != CUE_SUCCESS)
        return 99;
    CU_pSuite suite = CU_add_suite_with_setup_and_teardown(suite_name, NULL, NULL, set_up, tear_down);
    for (gsize i = 0; i < n_tests; i++)
        if (!only || strstr(tests[i].name, only))
            CU_add_test(suite, tests[i].name, tests[i].run);
    CU_basic_set_mode(CU_BRM_VERBOSE);
    CU_basic_run_tests();
    guint failed = CU_get_number_of_tests_failed();
    guint run = CU_get_number_of_tests_run();
    printf("%u passed, %u failed, %u skipped\n", run - failed - MIN(skipped, run - failed), failed,
           skipped);
    CU_cleanup_registry();
    return failed > 0 || run == 0 ? 1 : 0;
}
