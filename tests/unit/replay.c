/* replay.c - power cuts, by what they may leave on the disk
 *
 * A keeper is given a day's work, and all that it does to files is written down, syncs included.
 * Then states are made in which a power cut at some moment may leave the disk (disk.c): more of
 * them, and worse ones, than any one file system makes. In each the store is opened, and must have
 * all that had been acknowledged before the cut, and nothing that is half (proofkit.c).
 *
 * That this catches something is tested too: one after the other, the places in the program that sync
 * are taken for not being there. The table `essential` says for which of them a state must be found
 * that loses something.
 *
 * PROOF_FULL=1 makes more states; FILEDUP_SEED makes the same ones again.
 */

#include "config.h"

#include <fcntl.h>
#include <ftw.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "tests/tools/disk.h"
#include "tests/unit/proofkit.h"
#include "tests/unit/unit.h"
#include "tests/unit/workload.h"

#define LOG_BYTES (G_GUINT64_CONSTANT(1) << 30)

/* What cannot be left out; numbers are '#'. The others are for what this test does not see (modes and
 * times, which disk.c has no account of), or for names that a later sync covers as well. */
static const char *const essential[] = {
    "fdatasync /store/catalog.db",
    "fdatasync /store/catalog.db-wal",
    "fdatasync /store/journal/#.segment",
    "fsync /store/history",
    "fsync /store/history/#.pack",
    "fsync /store/journal",
    "fsync /store/mirrors",
    "fsync /store/mirrors/#-large",
    "fsync /store/mirrors/#-large/large",
    "fsync /store/mirrors/#-small",
    "fsync /store/staged",
    "fsync /store/staged/#",
    "fsync /store/staged/#.sums",
    "fsync /store/staged/apply-#",
    "fsync /store/store.conf.new",
};

static char *base, *record_folder, *state_folder;
static Interpose *recorder, *player;
static Proof *proof;
static Disk *disk;
static gboolean full;
static guint64 seed;

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

/* ---- recording ---- */

static void
know_positions(void)
{
    for (guint i = 0; i < proof->ops->len; i++) {
        ProofOp *op = proof->ops->pdata[i];
        if (op->answered)
            op->answer_at = disk_sent_at(disk, op->process, op->answer_number);
    }
}

static void
record(void)
{
    g_autofree char *store = g_build_filename(record_folder, "store", NULL);
    struct stat st;

    CU_ASSERT_EQUAL_FATAL(mkdir(record_folder, 0700), 0);
    CU_ASSERT_EQUAL_FATAL(stat(record_folder, &st), 0);
    recorder = interpose_new(record_folder, LOG_BYTES);
    recorder->skip_sync = TRUE; /* written down, and not done */
    recorder->total_bytes = WORKLOAD_TOTAL_BYTES;
    recorder->logging = TRUE;
    proof = proof_new(store, recorder);
    proof->keep_ops = TRUE;
    CU_ASSERT_TRUE_FATAL(proof_start(proof, NULL));
    workload_day(proof);
    CU_ASSERT_EQUAL(proof_kill(proof), -9);
    recorder->logging = FALSE;
    disk = disk_new(recorder, st.st_ino);
    know_positions();
    printf(" %u steps, %u kinds of sync, %u operations ", disk_steps(disk), disk_sites(disk),
           proof->ops->len);
    CU_ASSERT_TRUE(disk_steps(disk) > 300);
}

/* ---- one state ---- */

/* FALSE: what must be there is not; proof->problems says what. */
static gboolean
examine(guint step)
{
    g_autofree char *store = g_build_filename(state_folder, "store", NULL);
    g_autofree char *error = NULL;
    guint64 cut = disk_position(disk, step);
    gboolean opened = disk_sent_at(disk, 1, 1) < cut;
    g_autofree char *uuid = g_strdup(opened ? proof->uuid : "");
    g_autofree char *kept_uuid = g_steal_pointer(&proof->uuid);
    g_autofree char *kept_path = g_steal_pointer(&proof->path);
    Interpose *kept_ip = proof->ip;

    proof->uuid = g_steal_pointer(&uuid);
    proof->path = g_steal_pointer(&store);
    proof->ip = player;
    g_string_truncate(proof->problems, 0);
    if (opened && step % 3 == 0 && !proof_check_offline(proof, cut))
        g_string_append(proof->problems, "    (offline)\n");
    else if (!proof_start(proof, &error))
        g_string_append_printf(proof->problems, "    it cannot be opened: %s\n",
                               error ? error : "no answer");
    else if (step % 4 != 1 || proof_check(proof, cut, FALSE)) {
        if (!proof_settle(proof))
            g_string_append(proof->problems, "    the keeper does not come to rest\n");
        else
            (void) proof_check(proof, cut, TRUE);
    }
    (void) proof_kill(proof);
    g_free(proof->uuid);
    g_free(proof->path);
    proof->uuid = g_steal_pointer(&kept_uuid);
    proof->path = g_steal_pointer(&kept_path);
    proof->ip = kept_ip;
    return proof->problems->len == 0;
}

static gboolean
try_state(guint step, DiskMode mode, guint site, gsize block_bytes, GRand *rand)
{
    remove_tree(state_folder);
    disk_build(disk, step, mode, site, block_bytes, rand, state_folder);
    return examine(step);
}

static void
tell(guint step, DiskMode mode, guint32 state_seed)
{
    g_autofree char *log = g_strdup(proof->log_path);
    g_autofree char *said = NULL;

    printf("\n  cut before step %u of %u, mode %d, state %u:\n%s", step, disk_steps(disk), mode,
           state_seed, proof->problems->str);
    if (g_file_get_contents(log, &said, NULL, NULL) && said[0])
        printf("    the keeper said:\n%.2000s\n", said);
}

/* ---- tests ---- */

static int
compare_trees(const char *a, const char *b)
{
    g_autofree char *command = g_strdup_printf("diff -r '%s' '%s'", a, b);
    int status = 0;

    return g_spawn_command_line_sync(command, NULL, NULL, &status, NULL) ? status : -1;
}

/* The last state, with all that was done, is what is really there. */
static void
the_log_is_complete(void)
{
    g_autoptr(GRand) rand = g_rand_new_with_seed(1);
    g_autofree char *a = g_build_filename(record_folder, "store", NULL);
    g_autofree char *b = g_build_filename(state_folder, "store", NULL);

    record();
    remove_tree(state_folder);
    disk_build(disk, disk_steps(disk), DISK_ALL, DISK_NO_SITE, 4096, rand, state_folder);
    CU_ASSERT_EQUAL(compare_trees(a, b), 0);
}

static void
what_a_power_cut_may_leave_has_all_that_was_acknowledged(void)
{
    guint states = full ? 1000 : 150, failed = 0, done = 0;
    gint64 start = g_get_monotonic_time();

    CU_ASSERT_PTR_NOT_NULL_FATAL(disk);
    for (guint i = 0; i < states && failed < 3; i++) {
        guint32 state_seed = (guint32) (seed * 100000 + i);
        g_autoptr(GRand) rand = g_rand_new_with_seed(state_seed);
        guint step = (guint) g_rand_int_range(rand, 1, (gint32) disk_steps(disk) + 1);
        gsize unit_bytes = g_getenv("PROOF_SECTOR") ? 512 : 4096;
        DiskMode mode = i % 3 ? DISK_RANDOM : (DiskMode) g_rand_int_range(rand, 0, DISK_MODES);
        done++;
        if (!try_state(step, mode, DISK_NO_SITE, unit_bytes, rand)) {
            failed++;
            tell(step, mode, state_seed);
        }
    }
    printf(" %u states in %.1f s ", done, (double) (g_get_monotonic_time() - start) / 1e6);
    CU_ASSERT_EQUAL(failed, 0);
}

/* A state soon after one of its uses, without it, that loses something. */
static gboolean
is_caught(guint site, guint tries, guint *ret_tries)
{
    guint uses = disk_site_uses(disk, site);

    for (guint i = 0; i < tries; i++) {
        g_autoptr(GRand) rand = g_rand_new_with_seed((guint32) (seed * 1000 + i));
        guint use = (guint) g_rand_int_range(rand, 0, (gint32) uses);
        guint at = disk_site_step(disk, site, use) + 1;
        guint step = MIN(at + (guint) g_rand_int_range(rand, 0, 60), disk_steps(disk));
        DiskMode mode = i % 2 ? DISK_NOTHING : (DiskMode) g_rand_int_range(rand, 0, DISK_MODES);
        *ret_tries = i + 1;
        if (!try_state(step, mode, site, 4096, rand))
            return TRUE;
    }
    return FALSE;
}

/* Several places may sync files of one kind, for different reasons: one of them is caught. */
static gboolean
name_is_caught(const char *name, guint tries)
{
    gboolean found = FALSE, there = FALSE;
    guint tried;

    for (guint i = 0; i < disk_sites(disk) && !found; i++) {
        if (!g_str_equal(disk_site_name(disk, i), name))
            continue;
        there = TRUE;
        found = is_caught(i, tries, &tried);
    }
    if (!found)
        printf("\n    '%s' %s ", name,
               there ? "can be left out, and no state shows it" : "is not called any more");
    return found;
}

static void
a_sync_that_is_left_out_is_caught(void)
{
    guint caught = 0;

    CU_ASSERT_PTR_NOT_NULL_FATAL(disk);
    for (guint i = 0; i < G_N_ELEMENTS(essential); i++)
        caught += name_is_caught(essential[i], 300);
    printf(" %u of %u ", caught, (guint) G_N_ELEMENTS(essential));
    CU_ASSERT_EQUAL(caught, G_N_ELEMENTS(essential));
}

/* PROOF_TELL=1: the table, to be looked at. */
static void
every_sync_is_listed(void)
{
    guint tries;

    if (!g_getenv("PROOF_TELL"))
        return;
    for (guint i = 0; disk && i < disk_sites(disk); i++) {
        gboolean found = is_caught(i, 100, &tries);
        printf("\n    %-50s %4u times: %s", disk_site_name(disk, i), disk_site_uses(disk, i),
               found ? "caught" : "not caught");
        if (found)
            printf(" after %u:\n%s", tries, proof->problems->str);
    }
}

int
main(void)
{
    static const UnitTest tests[] = {
        UNIT_TEST(the_log_is_complete),
        UNIT_TEST(what_a_power_cut_may_leave_has_all_that_was_acknowledged),
        UNIT_TEST(a_sync_that_is_left_out_is_caught),
        UNIT_TEST(every_sync_is_listed),
    };
    g_autofree char *shm = g_strdup("/dev/shm/filedup-replay-XXXXXX");
    const char *text = g_getenv("FILEDUP_SEED");

    full = g_getenv("PROOF_FULL") != NULL;
    seed = text ? g_ascii_strtoull(text, NULL, 10) : (guint64) g_get_real_time() % 1000;
    base = g_mkdtemp(shm) ? g_steal_pointer(&shm) : g_dir_make_tmp("filedup-replay-XXXXXX", NULL);
    record_folder = g_build_filename(base, "record", NULL);
    state_folder = g_build_filename(base, "state", NULL);
    player = interpose_new(base, 0);
    player->skip_sync = TRUE;
    player->total_bytes = WORKLOAD_TOTAL_BYTES;
    printf("FILEDUP_SEED=%" G_GUINT64_FORMAT "%s\n", seed, full ? "" : " (sampled)");
    (void) alarm(full ? 1200 : 400); /* nothing here may hang a whole check */
    int status = unit_main("replay", tests, G_N_ELEMENTS(tests));
    remove_tree(base);
    return status;
}
