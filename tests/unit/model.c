/* model.c - a long random life of a store, against a simple account of it
 *
 * Files are written, cut, extended, punched, replaced, deleted, made again, given attributes and
 * names, thinned and forgotten, in bursts of which the keeper knows one part as durable and another
 * as pending. Now and then it is killed before a call that changes a file, or stopped, or time goes
 * on by hours. After each of these, and in between, every point of every file is compared
 * (proofkit.c).
 *
 * All of it follows from the seed: time is the test's own, and the keeper sees it only pass when the
 * test says so. FILEDUP_SEED=N does the same again; FILEDUP_OPS=N does more or less of it.
 */

#include "config.h"

#include <ftw.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "tests/unit/life.h"
#include "tests/unit/unit.h"
#include "tests/unit/workload.h"

#define FILES 14

static char *base;
static guint64 seed, operations;

static int
remove_one(const char *path, G_GNUC_UNUSED const struct stat *st, G_GNUC_UNUSED int type,
           G_GNUC_UNUSED struct FTW *ftw)
{
    return remove(path);
}

static void
every_point_is_what_it_was(void)
{
    g_autofree char *path = g_build_filename(base, "store", NULL);
    Interpose *ip = interpose_new(base, 0);
    gint64 start = g_get_monotonic_time();
    Life l = {
        .p = proof_new(path, ip), .rand = g_rand_new_with_seed((guint32) seed), .files = FILES};

    ip->skip_sync = TRUE;
    ip->total_bytes = WORKLOAD_TOTAL_BYTES;
    ip->own_time = TRUE;
    CU_ASSERT_TRUE_FATAL(proof_start(l.p, NULL));
    gboolean ok = TRUE;
    while (ok && l.done < operations)
        ok = life_step(&l);
    if (ok && l.p->gone)
        ok = life_start_again(&l);
    ip->stop_at = 0;
    ok = ok && (!l.p->gone || life_start_again(&l)) && life_check(&l, TRUE);
    if (!ok) {
        g_autofree char *said = NULL;
        printf("\n  FILEDUP_SEED=%" G_GUINT64_FORMAT ": after %" G_GUINT64_FORMAT
               " operations:\n%s",
               seed, l.done, l.p->problems->str);
        if (ip->where[0])
            printf("    it was last killed at: %s\n", ip->where);
        if (g_file_get_contents(l.p->log_path, &said, NULL, NULL))
            printf("    the keeper said at the end:\n%s\n",
                   said + MAX(0, (gssize) strlen(said) - 2000));
    }
    CU_ASSERT_TRUE(ok);
    printf(" %" G_GUINT64_FORMAT " operations, %" G_GUINT64_FORMAT " kills, %" G_GUINT64_FORMAT
           " stops, %" G_GUINT64_FORMAT " checks of %" G_GUINT64_FORMAT " contents, %.1f s ",
           l.done, l.kills, l.stops, l.checks, l.seen,
           (double) (g_get_monotonic_time() - start) / 1e6);
    CU_ASSERT_TRUE(!ok || l.kills > l.done / 200);
    if (!ok && g_getenv("PROOF_KEEP"))
        exit(3);
    proof_free(l.p);
    interpose_free(ip);
    g_rand_free(l.rand);
}

int
main(void)
{
    static const UnitTest tests[] = {UNIT_TEST(every_point_is_what_it_was)};
    g_autofree char *shm = g_strdup("/dev/shm/filedup-model-XXXXXX");
    const char *text = g_getenv("FILEDUP_SEED"), *ops = g_getenv("FILEDUP_OPS");
    gboolean full = g_getenv("PROOF_FULL") != NULL;

    seed = text ? g_ascii_strtoull(text, NULL, 10) : (guint64) g_get_real_time() % 1000000;
    operations = ops ? g_ascii_strtoull(ops, NULL, 10) : full ? 10000 : 1500;
    base = g_mkdtemp(shm) ? g_steal_pointer(&shm) : g_dir_make_tmp("filedup-model-XXXXXX", NULL);
    printf("FILEDUP_SEED=%" G_GUINT64_FORMAT "\n", seed);
    (void) alarm(full ? 1200 : 400); /* nothing here may hang a whole check */
    int status = unit_main("model", tests, G_N_ELEMENTS(tests));
    (void) nftw(base, remove_one, 16, FTW_DEPTH | FTW_PHYS);
    return status;
}
