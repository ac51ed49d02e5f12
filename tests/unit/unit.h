#pragma once

/* Unit tests: names are sentences, each test has a temporary folder of its own. */

#include <CUnit/CUnit.h>
#include <glib.h>

typedef struct UnitTest {
    const char *name;
    void (*run)(void);
} UnitTest;

#define UNIT_TEST(function) {#function, function}

/* Runs the tests, prints CUnit's summary and "N passed, N failed", returns the exit status. */
int unit_main(const char *suite, const UnitTest *tests, gsize n_tests);
#define UNIT_MAIN(suite, tests)                                                                    \
    int main(void)                                                                                 \
    {                                                                                              \
        return unit_main(suite, tests, G_N_ELEMENTS(tests));                                       \
    }

/* The running test's folder (below $TMPDIR), empty at its start, removed at its end. */
const char *unit_folder(void);
char       *unit_path(const char *name); /* in that folder; free it */

/* Says loudly that the running test could not run here, and counts it as skipped. */
void unit_skip(const char *reason);

/* Fails the test with the error's text, if there is one. */
#define UNIT_NO_ERROR(error)                                                                       \
    do {                                                                                           \
        if (error)                                                                                 \
            g_printerr("    %s:%d: %s\n", __FILE__, __LINE__, (error)->message);                   \
        CU_ASSERT_PTR_NULL_FATAL(error);                                                           \
    } while (0)

/* Writes a file, replacing its content; reads one whole (asserting that it is there). */
void   unit_write(const char *path, const void *data, gssize n);
GBytes *unit_read(const char *path);
