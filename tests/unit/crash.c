/* crash.c - the keeper is killed before every call by which it changes a file
 *
 * Each scenario is run once for every such call that it makes: the process is killed before the
 * first, before the second, and so on to the last, by itself (interpose.c), so that no call is left
 * out. Then the store is opened again, and must have all that was acknowledged, and nothing that is
 * half (proofkit.c). In other rounds a write does a part before the kill, or the call fails once
 * with EIO or ENOSPC and the keeper goes on, or ends and is started again.
 *
 * The number of calls is a result too: `floor` in the table of scenarios (workload.c) says how many
 * there are at least. Fewer mean that the interposer sees less, or that a scenario does not reach what
 * it is there for.
 *
 * PROOF_FULL=1 kills before every call (in the heavy scenarios before every other one), and samples
 * the variants; else all is sampled, with the stride printed. FILEDUP_SEED moves the samples.
 */

#include "config.h"

#include <errno.h>
#include <ftw.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "tests/unit/proofkit.h"
#include "tests/unit/unit.h"
#include "tests/unit/workload.h"

static char *base; /* folder for the stores */
static gboolean full;
static guint64 seed, points;
static SysTrace *traced;

/* ---- one round ---- */

static int
remove_one(const char *path, G_GNUC_UNUSED const struct stat *st, G_GNUC_UNUSED int type,
           G_GNUC_UNUSED struct FTW *ftw)
{
    return remove(path);
}

static void
remove_tree(const char *path)
{
    (void) nftw(path, remove_one, 16, FTW_DEPTH | FTW_PHYS);
}

static const char *
action_name(InterposeAction action)
{
    static const char *const names[] = {"counting", "kill",   "short write, then kill",
                                        "EIO",      "ENOSPC", "short write"};
    return names[action];
}

typedef struct Round {
    guint64 calls; /* that `act` made */
    gboolean fired;
    char where[192];
} Round;

/* Opens the store, and has it checked. */
static void
examine(Proof *p, guint64 n)
{
    g_autofree char *error = NULL;

    if (n % 3 == 0 && p->uuid[0] && !proof_check_offline(p, G_MAXUINT64))
        return;
    if (!proof_start(p, &error)) {
        g_string_append_printf(p->problems, "    it cannot be opened any more: %s\n",
                               error ? error : "no answer");
        return;
    }
    if (n % 4 == 1 && !proof_check(p, G_MAXUINT64, FALSE))
        return;
    if (!proof_settle(p))
        g_string_append(p->problems, "    the keeper does not come to rest\n");
    else if (!proof_check(p, G_MAXUINT64, TRUE) || !proof_check_doomed(p))
        return;
    if (n % 8 == 2) { /* and it goes on */
        workload_more(p);
        (void) proof_check(p, G_MAXUINT64, TRUE);
    }
    int status = proof_stop(p);
    if (status != 0)
        g_string_append_printf(p->problems, "    its orderly end has status %d\n", status);
}

static gboolean
run_round(const Scenario *s, InterposeAction action, guint64 n, Round *ret)
{
    g_autofree char *path = g_build_filename(base, "store", NULL);
    g_autofree char *log = g_strconcat(path, ".log", NULL);
    Interpose *ip = interpose_new(base, 0);
    Proof *p = proof_new(path, ip);

    ip->skip_sync = TRUE;
    ip->total_bytes = WORKLOAD_TOTAL_BYTES;
    ip->action = action;
    p->trace = traced;
    if (s->prepare) {
        gboolean started = proof_start(p, NULL);
        CU_ASSERT_TRUE_FATAL(started);
        s->prepare(p);
    }
    guint64 before = ip->calls;
    ip->stop_at = n ? before + n : 0;
    s->act(p);
    ret->calls = ip->calls - before;
    ret->fired = ip->fired;
    g_strlcpy(ret->where, ip->where, sizeof ret->where);
    ip->stop_at = 0;
    int status = p->pid ? (p->gone ? proof_end(p) : proof_kill(p)) : 0;
    if (action >= INTERPOSE_EIO && status != -SIGKILL && status != 0 && status != 1)
        g_string_append_printf(p->problems, "    the keeper ended with %d\n", status);
    if (p->problems->len == 0)
        examine(p, n);
    gboolean ok = p->problems->len == 0;
    if (!ok) {
        g_autofree char *said = NULL;
        printf("\n  %s: %s before call %" G_GUINT64_FORMAT " (%s):\n%s", s->name,
               action_name(action), n, ret->where, p->problems->str);
        if (g_file_get_contents(log, &said, NULL, NULL))
            printf("    the keeper said:\n%s\n", said);
    }
    proof_free(p);
    interpose_free(ip);
    if (!ok && g_getenv("PROOF_KEEP"))
        exit(3);
    remove_tree(path);
    (void) unlink(log);
    return ok;
}

/* Rounds for every `stride`th call; FALSE: at least one has failed. */
static gboolean
run_rounds(const Scenario *s, InterposeAction action, guint64 stride, guint64 *ret_calls)
{
    guint failed = 0;
    guint64 n = stride > 1 ? seed % stride + 1 : 1, done = 0;

    for (;; n += stride) {
        Round r;
        gboolean ok = run_round(s, action, n, &r);
        failed += !ok;
        if (!r.fired || failed >= 3)
            break;
        done++;
        *ret_calls = n;
    }
    points += done;
    return failed == 0;
}

static void
run_scenario(const char *name)
{
    static const InterposeAction variants[] = {INTERPOSE_SHORT_KILL, INTERPOSE_EIO,
                                               INTERPOSE_ENOSPC, INTERPOSE_SHORT};
    const Scenario *s = NULL;
    guint64 calls = 0, ignored = 0, before;
    gint64 start = g_get_monotonic_time();
    guint64 stride = full ? 1 : 5, variants_stride = full ? 6 : 20;
    Round whole;

    for (guint i = 0; i < n_scenarios; i++)
        if (g_str_equal(scenarios[i].name, name))
            s = &scenarios[i];
    CU_ASSERT_PTR_NOT_NULL_FATAL(s);
    before = points;
    CU_ASSERT_TRUE(run_round(s, INTERPOSE_COUNT, 0, &whole));
    CU_ASSERT_TRUE(run_rounds(s, INTERPOSE_KILL, stride * s->heavy, &calls));
    for (guint i = 0; i < G_N_ELEMENTS(variants); i++)
        CU_ASSERT_TRUE(run_rounds(s, variants[i], variants_stride * s->heavy, &ignored));
    printf(" %" G_GUINT64_FORMAT " calls, %" G_GUINT64_FORMAT " points (stride %" G_GUINT64_FORMAT
           "), %.1f s ",
           calls, points - before, stride * s->heavy,
           (double) (g_get_monotonic_time() - start) / G_USEC_PER_SEC);
    if (calls + stride * s->heavy <= s->floor)
        printf("\n  fewer calls than the %u of the table\n", s->floor);
    CU_ASSERT_TRUE(calls + stride * s->heavy > s->floor);
}

static void
a_store_that_is_being_made(void)
{
    run_scenario("a store is made");
}

static void
contents_that_are_captured_and_applied(void)
{
    run_scenario("contents");
}

static void
ranges_that_are_captured_and_applied(void)
{
    run_scenario("ranges");
}

static void
staged_files_that_become_mirrors(void)
{
    run_scenario("staged files");
}

static void
attributes_and_deletions_and_what_comes_after(void)
{
    run_scenario("attributes and deletions");
}

static void
fuzzy_contents_quiet_ones_and_names(void)
{
    run_scenario("qualities and names");
}

static void
points_that_are_thinned(void)
{
    run_scenario("thinning");
}

static void
points_that_are_forgotten(void)
{
    run_scenario("forgetting");
}

static void
a_recovery_that_is_interrupted_itself(void)
{
    run_scenario("a recovery");
}

static void
an_orderly_stop(void)
{
    run_scenario("an orderly stop");
}

static void
a_journal_that_goes_round(void)
{
    run_scenario("a journal that goes round");
}

static void
points_that_are_being_read(void)
{
    run_scenario("points being read");
}

/* Every scenario, traced: no call that changes a file escapes the interposer. */
static void
all_calls_are_counted(void)
{
    SysTrace *t = systrace_new();
    guint64 seen = 0;

    for (guint i = 0; i < n_scenarios; i++) {
        Round r;
        traced = t;
        CU_ASSERT_TRUE(run_round(&scenarios[i], INTERPOSE_COUNT, 0, &r));
        traced = NULL;
        for (guint j = 0; j < MIN(t->missed, G_N_ELEMENTS(t->what)); j++)
            printf("\n  %s: not counted: %s\n", scenarios[i].name, t->what[j]);
        CU_ASSERT_EQUAL(t->missed, 0);
        seen += t->seen;
        *t = (SysTrace){0};
    }
    if (seen == 0)
        unit_skip("processes cannot be traced here");
    printf(" %" G_GUINT64_FORMAT " system calls ", seen);
    systrace_free(t);
}

int
main(void)
{
    static const UnitTest tests[] = {
        UNIT_TEST(all_calls_are_counted),
        UNIT_TEST(a_store_that_is_being_made),
        UNIT_TEST(contents_that_are_captured_and_applied),
        UNIT_TEST(ranges_that_are_captured_and_applied),
        UNIT_TEST(staged_files_that_become_mirrors),
        UNIT_TEST(attributes_and_deletions_and_what_comes_after),
        UNIT_TEST(fuzzy_contents_quiet_ones_and_names),
        UNIT_TEST(points_that_are_thinned),
        UNIT_TEST(points_that_are_forgotten),
        UNIT_TEST(a_recovery_that_is_interrupted_itself),
        UNIT_TEST(an_orderly_stop),
        UNIT_TEST(a_journal_that_goes_round),
        UNIT_TEST(points_that_are_being_read),
    };
    g_autofree char *shm = g_strdup("/dev/shm/filedup-crash-XXXXXX");
    const char *text = g_getenv("FILEDUP_SEED");

    full = g_getenv("PROOF_FULL") != NULL;
    seed = text ? g_ascii_strtoull(text, NULL, 10) : (guint64) g_get_real_time() % 1000;
    base = g_mkdtemp(shm) ? g_steal_pointer(&shm) : g_dir_make_tmp("filedup-crash-XXXXXX", NULL);
    printf("FILEDUP_SEED=%" G_GUINT64_FORMAT "%s\n", seed, full ? "" : " (sampled)");
    (void) alarm(full ? 1200 : 400); /* nothing here may hang a whole check */
    int status = unit_main("crash", tests, G_N_ELEMENTS(tests));
    printf("%" G_GUINT64_FORMAT " points of interruption\n", points);
    remove_tree(base);
    return status;
}
