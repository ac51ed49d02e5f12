/* The journal: what recovery finds after a crash, and after damage. */

#include "config.h"

#include <fcntl.h>
#include <ftw.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/wait.h>

#include "base/error.h"
#include "store/scan.h"
#include "tests/unit/storekit.h"
#include "tests/unit/unit.h"

#define SMALL (64 * 1024)

typedef struct Log {
    char *path; /* of the store */
    char uuid[UUID_TEXT_BYTES];
    guint64 seqs[16]; /* of the transactions, first_seq beside */
    guint64 first[16];
    guint64 position[16], bytes[16];
    guint n;
    char *segment; /* path of the one that has them */
} Log;

static void
log_clear(Log *l)
{
    g_free(l->path);
    g_free(l->segment);
}
G_DEFINE_AUTO_CLEANUP_CLEAR_FUNC(Log, log_clear)

static int
journal_fd(const char *path)
{
    g_autofree char *name = g_build_filename(path, "journal", NULL);
    int fd = open(name, O_RDONLY | O_DIRECTORY | O_CLOEXEC);

    CU_ASSERT_TRUE_FATAL(fd >= 0);
    return fd;
}

static Scan *
scan(const Log *l)
{
    g_auto(Fd) fd = journal_fd(l->path);
    g_autoptr(GError) error = NULL;
    Scan *s = scan_journal(fd, l->uuid, FALSE, 0, &error);

    UNIT_NO_ERROR(error);
    return s;
}

/* A store whose journal has n transactions, none applied. */
static void
make_log(Log *l, const char *folder, guint n)
{
    g_autoptr(GError) error = NULL;
    Kit k;

    *l = (Log){.path = g_build_filename(folder, "store", NULL), .n = n};
    CU_ASSERT_TRUE_FATAL(kit_try_open(&k, l->path, SMALL, &error));
    g_strlcpy(l->uuid, k.store.layout->uuid, sizeof l->uuid);
    for (guint i = 0; i < n; i++) {
        g_autofree char *name = g_strdup_printf("/f%u", i);
        g_autofree char *text = g_strdup_printf("content of file %u", i);
        l->seqs[i] = kit_append(&k, name, text, strlen(text), CAUSE_CLOSE, QUALITY_STABLE);
    }
    kit_close(&k);
    g_autoptr(Scan) s = scan(l);
    CU_ASSERT_EQUAL_FATAL(s->transactions->len, n);
    for (guint i = 0; i < n; i++) {
        const Transaction *t = s->transactions->pdata[i];
        l->position[i] = t->position;
        l->bytes[i] = t->bytes;
        l->first[i] = t->first_seq;
        CU_ASSERT_EQUAL(t->position % TRANSACTION_ALIGN, 0);
    }
    l->segment = g_build_filename(l->path, "journal",
                                  ((Transaction *) s->transactions->pdata[0])->segment->name, NULL);
}

static void
poke(const Log *l, guint64 at, const void *data, gsize n)
{
    g_auto(Fd) fd = open(l->segment, O_RDWR | O_CLOEXEC);

    CU_ASSERT_TRUE_FATAL(fd >= 0);
    CU_ASSERT_TRUE(fd_pwrite_full(fd, data, n, (goffset) at));
}

static void
flip(const Log *l, guint64 at)
{
    g_auto(Fd) fd = open(l->segment, O_RDWR | O_CLOEXEC);
    guint8 byte;

    CU_ASSERT_TRUE_FATAL(fd >= 0 && fd_pread_full(fd, &byte, 1, (goffset) at));
    byte ^= 0x40;
    CU_ASSERT_TRUE(fd_pwrite_full(fd, &byte, 1, (goffset) at));
}

static int
remove_one(const char *path, G_GNUC_UNUSED const struct stat *st, G_GNUC_UNUSED int type,
           G_GNUC_UNUSED struct FTW *ftw)
{
    return remove(path);
}

static void
a_log_cut_at_any_byte_recovers_its_whole_records(void)
{
    g_auto(Log) l = {0};
    g_autofree char *memory = g_strdup("/dev/shm/filedup-unit-XXXXXX"); /* thousands of scans */
    const char *folder = g_mkdtemp(memory) ? memory : unit_folder();
    gsize n;

    make_log(&l, folder, 3);
    g_autoptr(GBytes) bytes = unit_read(l.segment);
    const guint8 *data = g_bytes_get_data(bytes, &n);
    guint64 end = l.position[2] + l.bytes[2];
    for (guint64 cut = end + 8; cut >= SEGMENT_HEADER_BYTES; cut--) {
        CU_ASSERT_EQUAL_FATAL(truncate(l.segment, (off_t) cut), 0);
        if (cut % 3 == 0) { /* and sometimes with rubbish in place of the rest */
            guint8 rubbish[512];
            memset(rubbish, 0xa5, sizeof rubbish);
            poke(&l, cut, rubbish, sizeof rubbish);
        }
        g_autoptr(Scan) s = scan(&l);
        guint whole = 0;
        /* The padding of the last record is not needed to know that it is whole; but the record
         * that says so includes it. */
        while (whole < 3 && l.position[whole] + l.bytes[whole] <= cut)
            whole++;
        if (cut % 3 == 0 && s->transactions->len == whole + 1)
            whole++; /* the cut took only padding, which nobody reads */
        CU_ASSERT_EQUAL(s->transactions->len, whole);
        CU_ASSERT_FALSE(s->damage);
        for (guint i = 0; i < s->transactions->len; i++)
            CU_ASSERT_EQUAL(((Transaction *) s->transactions->pdata[i])->seq, l.seqs[i]);
    }
    unit_write(l.segment, data, (gssize) n);
    if (folder == memory)
        (void) nftw(memory, remove_one, 16, FTW_DEPTH | FTW_PHYS);
}

static void
a_damaged_record_in_the_middle_is_damage_and_not_the_end(void)
{
    for (guint bad = 0; bad < 3; bad++) {
        g_autofree char *folder = g_strdup_printf("%s/%u", unit_folder(), bad);
        g_auto(Log) l = {0};
        CU_ASSERT_EQUAL(mkdir(folder, 0700), 0);
        make_log(&l, folder, 4);
        flip(&l, l.position[bad] + RECORD_HEADER_BYTES + 20); /* in the begin record's payload */
        g_autoptr(Scan) s = scan(&l);
        CU_ASSERT_TRUE(s->damage);
        CU_ASSERT_PTR_NOT_NULL(s->note);
        CU_ASSERT_EQUAL_FATAL(s->transactions->len, 3);
        for (guint i = 0, k = 0; i < 4; i++)
            if (i != bad)
                CU_ASSERT_EQUAL(((Transaction *) s->transactions->pdata[k++])->seq, l.seqs[i]);
        CU_ASSERT_EQUAL(s->last_seq, l.seqs[3]);
    }
}

static void
a_damaged_commit_in_the_middle_is_damage(void)
{
    g_auto(Log) l = {0};
    Record r;
    guint64 sum;

    make_log(&l, unit_folder(), 3);
    g_autoptr(GBytes) bytes = unit_read(l.segment);
    const guint8 *data = g_bytes_get_data(bytes, NULL);
    g_autoptr(Scan) before = scan(&l);
    guint64 salt = ((Transaction *) before->transactions->pdata[0])->segment->header.salt;
    guint64 at = l.position[1];
    do {
        CU_ASSERT_TRUE_FATAL(record_decode(data + at, salt, &r, &sum));
        if (r.type != RECORD_COMMIT)
            at += record_bytes(&r);
    } while (r.type != RECORD_COMMIT);
    flip(&l, at + 10);
    g_autoptr(Scan) s = scan(&l);
    CU_ASSERT_TRUE(s->damage);
    CU_ASSERT_EQUAL(s->transactions->len, 2);
}

static void
a_damaged_last_record_is_the_end(void)
{
    g_auto(Log) l = {0};

    make_log(&l, unit_folder(), 3);
    flip(&l, l.position[2] + 10);
    g_autoptr(Scan) s = scan(&l);
    CU_ASSERT_FALSE(s->damage);
    CU_ASSERT_EQUAL(s->transactions->len, 2);
}

static void
a_stale_record_in_the_middle_is_not_taken_for_a_new_one(void)
{
    g_auto(Log) l = {0};

    make_log(&l, unit_folder(), 4);
    g_autoptr(GBytes) bytes = unit_read(l.segment);
    const guint8 *data = g_bytes_get_data(bytes, NULL);
    /* The first transaction once more, where the third should be: a write that never arrived. */
    CU_ASSERT_EQUAL_FATAL(l.bytes[0], l.bytes[2]);
    poke(&l, l.position[2], data + l.position[0], l.bytes[0]);
    g_autoptr(Scan) s = scan(&l);
    CU_ASSERT_TRUE(s->damage);
    CU_ASSERT_EQUAL_FATAL(s->transactions->len, 3);
    CU_ASSERT_EQUAL(((Transaction *) s->transactions->pdata[2])->seq, l.seqs[3]);
}

static void
stale_records_in_a_row_are_not_taken_for_new_ones(void)
{
    g_auto(Log) l = {0};

    make_log(&l, unit_folder(), 5);
    g_autoptr(GBytes) bytes = unit_read(l.segment);
    const guint8 *data = g_bytes_get_data(bytes, NULL);
    poke(&l, l.position[2], data + l.position[0], l.bytes[0] + l.bytes[1]);
    g_autoptr(Scan) s = scan(&l);
    CU_ASSERT_TRUE(s->damage);
    CU_ASSERT_EQUAL_FATAL(s->transactions->len, 3);
    CU_ASSERT_EQUAL(((Transaction *) s->transactions->pdata[2])->seq, l.seqs[4]);
}

static void
a_record_that_does_not_continue_the_chain_is_noticed(void)
{
    g_auto(Log) l = {0};
    Record r, last = {0};
    guint64 sum, last_at = 0;

    make_log(&l, unit_folder(), 4);
    g_autoptr(GBytes) bytes = unit_read(l.segment);
    const guint8 *data = g_bytes_get_data(bytes, NULL);
    g_autoptr(Scan) before = scan(&l);
    guint64 salt = ((Transaction *) before->transactions->pdata[0])->segment->header.salt;
    for (guint64 at = l.position[1]; at < l.position[2]; at += record_bytes(&r)) {
        CU_ASSERT_TRUE_FATAL(record_decode(data + at, salt, &r, &sum));
        last = r;
        last_at = at;
    }
    guint8 header[RECORD_HEADER_BYTES];
    last.time_usec++; /* valid by itself; not what the third transaction followed */
    (void) record_encode(&last, salt, header);
    poke(&l, last_at, header, sizeof header);
    g_autoptr(Scan) s = scan(&l);
    CU_ASSERT_EQUAL(s->transactions->len, 4);
    CU_ASSERT_TRUE(s->damage);
}

static void
a_damaged_last_record_of_a_recovered_tail_is_damage(void)
{
    g_auto(Log) l = {0};
    g_autoptr(GError) error = NULL;
    Kit k;

    make_log(&l, unit_folder(), 3);
    CU_ASSERT_TRUE_FATAL(kit_try_open(&k, l.path, SMALL, &error)); /* promises all three */
    kit_close(&k);
    g_autoptr(Scan) before = scan(&l);
    const Transaction *t = before->transactions->pdata[2];
    g_free(l.segment);
    l.segment = g_build_filename(l.path, "journal", t->segment->name, NULL);
    flip(&l, t->position + 10);
    g_autoptr(Scan) s = scan(&l);
    CU_ASSERT_TRUE(s->damage);
    CU_ASSERT_EQUAL(s->transactions->len, 2);
}

static void
what_was_never_acknowledged_does_not_count_behind_a_gap(void)
{
    g_autofree char *path = unit_path("store");
    g_autoptr(GError) error = NULL;
    g_autofree char *segment = NULL;
    Kit k;

    /* Two transactions and one sync: the disk has the second, and not the first. */
    CU_ASSERT_TRUE_FATAL(kit_try_open(&k, path, SMALL, &error));
    guint64 position[2];
    for (guint i = 0; i < 2; i++) {
        g_auto(Capture) c = kit_capture(i ? "/b" : "/a", "", 0, CAUSE_CLOSE, QUALITY_STABLE);
        g_autoptr(GArray) none = g_array_new(FALSE, FALSE, sizeof(Extent));
        c.file = i + 1;
        g_autoptr(Transaction) t =
            journal_write(k.store.journal, &c, (const guint8 *) "", none, NULL, &error);
        UNIT_NO_ERROR(error);
        position[i] = t->position;
        if (!segment)
            segment = g_build_filename(path, "journal", t->segment->name, NULL);
    }
    CU_ASSERT_TRUE(journal_sync(k.store.journal, &error));
    Log l = {.path = path, .segment = segment};
    g_strlcpy(l.uuid, k.store.layout->uuid, sizeof l.uuid);
    kit_close(&k);
    flip(&l, position[0] + 9);
    g_autoptr(Scan) s = scan(&l);
    CU_ASSERT_FALSE(s->damage);
    CU_ASSERT_EQUAL(s->transactions->len, 0);
}

static void
damage_before_a_later_segment_is_damage_even_at_the_end_of_its_own(void)
{
    g_autofree char *path = unit_path("store");
    g_autoptr(GError) error = NULL;
    g_autofree guint8 *data = g_malloc0(20000);
    Log l = {.path = path};
    Kit k;

    memset(data, 7, 20000);
    CU_ASSERT_TRUE_FATAL(kit_try_open(&k, path, SMALL, &error));
    for (guint i = 0; i < 5; i++) {
        g_autofree char *name = g_strdup_printf("/f%u", i);
        (void) kit_append(&k, name, data, 20000, CAUSE_CLOSE, QUALITY_STABLE);
    }
    g_strlcpy(l.uuid, k.store.layout->uuid, sizeof l.uuid);
    kit_close(&k);
    g_autoptr(Scan) before = scan(&l);
    CU_ASSERT_EQUAL_FATAL(before->transactions->len, 5);
    const Transaction *last = NULL; /* of the first segment */
    for (guint i = 0; i < 5; i++) {
        const Transaction *t = before->transactions->pdata[i];
        if (t->segment == ((Transaction *) before->transactions->pdata[0])->segment)
            last = t;
    }
    CU_ASSERT_PTR_NOT_NULL_FATAL(last);
    CU_ASSERT_NOT_EQUAL(last, before->transactions->pdata[4]);
    g_autofree char *segment = g_build_filename(path, "journal", last->segment->name, NULL);
    l.segment = segment;
    flip(&l, last->position + 2000);
    g_autoptr(Scan) s = scan(&l);
    CU_ASSERT_TRUE(s->damage);
    CU_ASSERT_EQUAL(s->transactions->len, 4);

    CU_ASSERT_EQUAL(unlink(segment), 0); /* and the whole segment gone */
    g_autoptr(Scan) gone = scan(&l);
    CU_ASSERT_TRUE(gone->damage);
}

static void
a_damaged_header_is_damage_and_its_records_are_read_all_the_same(void)
{
    g_auto(Log) l = {0};
    g_autoptr(GError) error = NULL;
    Kit k;

    make_log(&l, unit_folder(), 3);
    flip(&l, 56); /* the first sequence: the salt is whole */
    CU_ASSERT_TRUE_FATAL(kit_try_open(&k, l.path, SMALL, &error));
    CU_ASSERT_TRUE(k.report.damage);
    CU_ASSERT_PTR_NOT_NULL(k.report.note);
    CU_ASSERT_EQUAL(k.report.recovered, 3);
    for (guint i = 0; i < 3; i++) {
        g_autofree char *name = g_strdup_printf("/f%u", i);
        g_autofree char *text = g_strdup_printf("content of file %u", i);
        kit_expect(&k, name, 0, text);
    }
    CU_ASSERT_EQUAL(journal_last_seq(k.store.journal), l.seqs[2]);
    kit_apply_all(&k);
    CU_ASSERT_TRUE(
        catalog_set_clean(k.store.catalog, journal_last_seq(k.store.journal), &error));
    kit_close(&k);
    CU_ASSERT_TRUE_FATAL(kit_try_open(&k, l.path, SMALL, &error));
    CU_ASSERT_FALSE(k.report.damage); /* it was cleared */
    kit_close(&k);
}

static void
a_header_without_sense_is_damage_and_no_sequence_comes_twice(void)
{
    g_auto(Log) l = {0};
    g_autoptr(GError) error = NULL;
    Kit k;

    make_log(&l, unit_folder(), 3);
    flip(&l, 72); /* the salt */
    CU_ASSERT_TRUE_FATAL(kit_try_open(&k, l.path, SMALL, &error));
    CU_ASSERT_TRUE(k.report.damage);
    CU_ASSERT_EQUAL(k.report.recovered, 0);
    guint64 seq = kit_append(&k, "/f", "x", 1, CAUSE_CLOSE, QUALITY_STABLE);
    CU_ASSERT_TRUE(seq > l.seqs[2]);
    kit_close(&k);
    CU_ASSERT_TRUE_FATAL(kit_try_open(&k, l.path, SMALL, &error));
    CU_ASSERT_TRUE(k.report.damage); /* not stopped in order: said again */
    kit_expect(&k, "/f", 0, "x");
    CU_ASSERT_TRUE(journal_last_seq(k.store.journal) >= seq);
    kit_apply_all(&k);
    CU_ASSERT_TRUE(
        catalog_set_clean(k.store.catalog, journal_last_seq(k.store.journal), &error));
    kit_close(&k);
    CU_ASSERT_TRUE_FATAL(kit_try_open(&k, l.path, SMALL, &error));
    CU_ASSERT_FALSE(k.report.damage);
    kit_close(&k);
}

static void
a_catalog_that_is_ahead_of_the_journal_is_damage(void)
{
    g_auto(Log) l = {0};
    g_autoptr(GError) error = NULL;

    make_log(&l, unit_folder(), 3);
    g_auto(Fd) fd = journal_fd(l.path);
    for (guint i = 0; i < 3; i++) { /* as far, ahead, and after an opening that knew of it */
        g_auto(JournalReport) report = {0};
        g_autoptr(Pending) pending = pending_new();
        JournalOptions options = {.uuid = l.uuid,
                                  .segment_bytes = SMALL,
                                  .last_seq = l.seqs[2] + (i > 0 ? 5 : 0),
                                  .clean = TRUE};
        g_autoptr(Journal) j = journal_open(fd, &options, pending, &report, &error);
        UNIT_NO_ERROR(error);
        CU_ASSERT_EQUAL(report.damage, i == 1);
        CU_ASSERT_EQUAL(journal_last_seq(j), options.last_seq);
    }
}

static void
damage_is_said_again_until_the_store_was_stopped_in_order(void)
{
    g_auto(Log) l = {0};
    g_autoptr(GError) error = NULL;
    Kit k;

    make_log(&l, unit_folder(), 3);
    flip(&l, l.position[1] + 10);
    for (guint i = 0; i < 3; i++) {
        CU_ASSERT_TRUE_FATAL(kit_try_open(&k, l.path, SMALL, &error));
        CU_ASSERT_EQUAL(k.report.damage, i < 2);
        if (i == 1) {
            kit_apply_all(&k);
            CU_ASSERT_TRUE(
                catalog_set_clean(k.store.catalog, journal_last_seq(k.store.journal), &error));
        }
        kit_close(&k);
    }
}

static void
recycled_segments_never_show_old_records(void)
{
    g_autofree char *path = unit_path("store");
    g_autoptr(GError) error = NULL;
    g_autofree guint8 *data = g_malloc0(9000);
    Log l = {.path = path};
    Kit k;

    CU_ASSERT_TRUE_FATAL(kit_try_open(&k, path, SMALL, &error));
    g_strlcpy(l.uuid, k.store.layout->uuid, sizeof l.uuid);
    for (guint i = 0; i < 60; i++) { /* about ten segments' worth */
        memset(data, (int) i, 9000);
        (void) kit_append(&k, i % 2 ? "/a" : "/b", data, 9000, CAUSE_CLOSE, QUALITY_STABLE);
        if (i % 4 == 3)
            kit_apply_all(&k);
    }
    CatalogState state;
    CU_ASSERT_TRUE(catalog_state(k.store.catalog, &state, &error));
    (void) kit_append(&k, "/a", "last", 4, CAUSE_CLOSE, QUALITY_STABLE);
    guint64 last = journal_last_seq(k.store.journal);
    kit_close(&k);

    g_auto(Fd) fd = journal_fd(path);
    g_autoptr(Scan) s = scan_journal(fd, l.uuid, FALSE, state.applied, &error);
    UNIT_NO_ERROR(error);
    CU_ASSERT_FALSE(s->damage);
    CU_ASSERT_TRUE(s->segments->len <= JOURNAL_MAX_SEGMENTS);
    CU_ASSERT_EQUAL_FATAL(s->transactions->len, 1);
    CU_ASSERT_EQUAL(((Transaction *) s->transactions->pdata[0])->seq, last);
}

static void
a_switch_interrupted_at_any_step_loses_nothing(void)
{
    static const char *const points[] = {"journal-recover-records", "journal-recover-synced",
                                         "journal-recover-header", "journal-recover-switched"};
    g_auto(Log) l = {0};

    make_log(&l, unit_folder(), 5);
    for (guint i = 0; i < 2 * G_N_ELEMENTS(points); i++) {
        pid_t pid = fork();
        if (pid == 0) {
            Kit k;
            setenv("FILEDUP_CRASH", points[i % G_N_ELEMENTS(points)], 1);
            _exit(kit_try_open(&k, l.path, SMALL, NULL) ? 0 : 1);
        }
        int status;
        CU_ASSERT_EQUAL(waitpid(pid, &status, 0), pid);
        CU_ASSERT_TRUE(WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL);
        g_autoptr(Scan) s = scan(&l);
        CU_ASSERT_FALSE(s->damage);
        CU_ASSERT_EQUAL_FATAL(s->transactions->len, 5);
        for (guint t = 0; t < 5; t++)
            CU_ASSERT_EQUAL(((Transaction *) s->transactions->pdata[t])->seq, l.seqs[t]);
    }
    Kit k;
    kit_open(&k, l.path);
    for (guint i = 0; i < 5; i++) {
        g_autofree char *name = g_strdup_printf("/f%u", i);
        g_autofree char *text = g_strdup_printf("content of file %u", i);
        kit_expect(&k, name, 0, text);
    }
    kit_close(&k);
}

static void
an_append_after_a_failed_write_is_refused(void)
{
    g_autofree char *path = unit_path("store");
    g_autoptr(GError) error = NULL;
    struct rlimit limit, tiny;
    Kit k;

    kit_open(&k, path);
    (void) kit_append(&k, "/f", "before", 6, CAUSE_CLOSE, QUALITY_STABLE);
    g_auto(Capture) c = kit_capture("/f", "", 0, CAUSE_CLOSE, QUALITY_STABLE);
    g_auto(Capture) d = kit_capture("/f", "", 0, CAUSE_CLOSE, QUALITY_STABLE);
    g_autoptr(GArray) none = g_array_new(FALSE, FALSE, sizeof(Extent));

    CU_ASSERT_EQUAL(getrlimit(RLIMIT_FSIZE, &limit), 0);
    tiny = (struct rlimit){.rlim_cur = 4096, .rlim_max = limit.rlim_max};
    (void) signal(SIGXFSZ, SIG_IGN);
    CU_ASSERT_EQUAL(setrlimit(RLIMIT_FSIZE, &tiny), 0);
    Transaction *t = journal_write(k.store.journal, &c, (const guint8 *) "", none, NULL, &error);
    CU_ASSERT_EQUAL(setrlimit(RLIMIT_FSIZE, &limit), 0);
    CU_ASSERT_PTR_NULL(t);
    CU_ASSERT_PTR_NOT_NULL(error);
    g_clear_error(&error);

    /* The limit is gone, but nobody knows what reached the disk. */
    t = journal_write(k.store.journal, &d, (const guint8 *) "", none, NULL, &error);
    CU_ASSERT_PTR_NULL(t);
    CU_ASSERT_TRUE(g_error_matches(error, FILEDUP_ERROR, FILEDUP_ERROR_FATAL));
    g_clear_error(&error);
    CU_ASSERT_FALSE(journal_sync(k.store.journal, &error));
    g_clear_error(&error);
    CU_ASSERT_EQUAL(journal_make_room(k.store.journal, 4096, &error), JOURNAL_ERROR);
    kit_close(&k);
    kit_open(&k, path);
    kit_expect(&k, "/f", 0, "before");
    kit_close(&k);
}

static void
sequences_and_times_never_go_back(void)
{
    g_autofree char *path = unit_path("store");
    guint64 last = 0;
    gint64 time_usec = 0;
    Kit k;

    for (guint i = 0; i < 4; i++) {
        kit_open(&k, path);
        guint64 seq = kit_append(&k, "/f", "x", 1, CAUSE_CLOSE, QUALITY_STABLE);
        CU_ASSERT_TRUE(seq > last);
        const GPtrArray *list = pending_of(k.store.pending, "/f");
        const Transaction *t = list->pdata[list->len - 1];
        CU_ASSERT_TRUE(t->time_usec >= time_usec);
        last = seq;
        time_usec = t->time_usec;
        if (i % 2)
            kit_apply_all(&k);
        kit_close(&k);
    }
}

static void
a_full_journal_says_so_and_goes_on_after_a_release(void)
{
    g_autofree char *path = unit_path("store");
    g_autofree guint8 *data = g_malloc0(40000);
    g_autoptr(GArray) extents = g_array_new(FALSE, FALSE, sizeof(Extent));
    g_auto(Capture) c = kit_capture("/f", data, 40000, CAUSE_CLOSE, QUALITY_STABLE);
    g_autoptr(GError) error = NULL;
    Extent all = {.length = 40000};
    guint n = 0;
    Kit k;

    g_array_append_val(extents, all);
    guint64 need = journal_need(&c, extents);
    CU_ASSERT_TRUE_FATAL(kit_try_open(&k, path, SMALL, &error));
    while (n < 100 && journal_make_room(k.store.journal, need, &error) == JOURNAL_ROOM) {
        (void) kit_append(&k, "/f", data, 40000, CAUSE_CLOSE, QUALITY_STABLE);
        n++;
    }
    UNIT_NO_ERROR(error);
    CU_ASSERT_EQUAL(n, JOURNAL_MAX_SEGMENTS); /* one of them in each */
    kit_apply_all(&k);
    CU_ASSERT_EQUAL(journal_make_room(k.store.journal, need, &error), JOURNAL_ROOM);
    UNIT_NO_ERROR(error);
    kit_close(&k);
}

static void
a_journal_gives_back_what_it_does_not_need(void)
{
    g_autofree char *path = unit_path("store");
    g_autofree char *folder = g_build_filename(path, "journal", NULL);
    g_autofree guint8 *data = g_malloc0(40000);
    g_autoptr(GError) error = NULL;
    Kit k;

    CU_ASSERT_TRUE_FATAL(kit_try_open(&k, path, SMALL, &error));
    for (guint i = 0; i < 4; i++)
        (void) kit_append(&k, "/f", data, 40000, CAUSE_CLOSE, QUALITY_STABLE);
    CU_ASSERT_FALSE(journal_shrink(k.store.journal, 0)); /* all of it is needed */
    kit_close(&k);
    CU_ASSERT_TRUE_FATAL(kit_try_open(&k, path, SMALL, &error)); /* one large segment, the old ones */
    CU_ASSERT_TRUE(journal_shrink(k.store.journal, 1));
    CU_ASSERT_FALSE(journal_shrink(k.store.journal, 1));
    g_autoptr(GDir) dir = g_dir_open(folder, 0, NULL);
    for (guint i = 0; i < 2; i++)
        CU_ASSERT_PTR_NOT_NULL(g_dir_read_name(dir));
    CU_ASSERT_PTR_NULL(g_dir_read_name(dir));
    CU_ASSERT_TRUE(journal_shrink(k.store.journal, 0));
    kit_close(&k);
    CU_ASSERT_TRUE_FATAL(kit_try_open(&k, path, SMALL, &error));
    CU_ASSERT_FALSE(k.report.damage);
    CU_ASSERT_EQUAL(k.report.recovered, 4);
    kit_close(&k);
}

static void
what_cannot_be_applied_does_not_fill_the_journal(void)
{
    g_autofree char *path = unit_path("store");
    g_autofree guint8 *data = g_malloc0(40000);
    g_autoptr(GArray) extents = g_array_new(FALSE, FALSE, sizeof(Extent));
    g_auto(Capture) c = kit_capture("/f", data, 40000, CAUSE_CLOSE, QUALITY_STABLE);
    g_autoptr(GError) error = NULL;
    Extent all = {.length = 40000};
    guint compacted = 0;
    Kit k;

    g_array_append_val(extents, all);
    guint64 need = journal_need(&c, extents);
    CU_ASSERT_TRUE_FATAL(kit_try_open(&k, path, SMALL, &error));
    (void) kit_append(&k, "/stuck", "it waits", 8, CAUSE_CLOSE, QUALITY_STABLE);
    for (guint i = 0; i < 40; i++) {
        memset(data, (int) i, 40000);
        if (journal_make_room(k.store.journal, need, &error) == JOURNAL_FULL) {
            CU_ASSERT_EQUAL_FATAL(journal_compact(k.store.journal, k.store.pending, &error),
                                  JOURNAL_ROOM);
            compacted++;
            kit_expect(&k, "/stuck", 0, "it waits");
        }
        (void) kit_append(&k, "/f", data, 40000, CAUSE_CLOSE, QUALITY_STABLE);
        CU_ASSERT_TRUE(apply_file(&k.store, "/f", &error));
        UNIT_NO_ERROR(error);
    }
    CU_ASSERT_TRUE(compacted >= 3);
    CU_ASSERT_EQUAL(journal_compact(k.store.journal, k.store.pending, &error), JOURNAL_ROOM);
    guint64 last = journal_last_seq(k.store.journal);
    kit_close(&k);

    CU_ASSERT_TRUE_FATAL(kit_try_open(&k, path, SMALL, &error));
    CU_ASSERT_FALSE(k.report.damage);
    CU_ASSERT_EQUAL(k.report.recovered, 1);
    CU_ASSERT_EQUAL(journal_last_seq(k.store.journal), last);
    guint64 seq = kit_append(&k, "/f", "last", 4, CAUSE_CLOSE, QUALITY_STABLE);
    CU_ASSERT_TRUE(seq > last);
    kit_close(&k);
    CU_ASSERT_TRUE_FATAL(kit_try_open(&k, path, SMALL, &error));
    CU_ASSERT_FALSE(k.report.damage);
    kit_apply_all(&k);
    kit_expect(&k, "/f", 0, "last");
    kit_expect(&k, "/stuck", 0, "it waits");
    kit_close(&k);
}

static const UnitTest tests[] = {
    UNIT_TEST(a_log_cut_at_any_byte_recovers_its_whole_records),
    UNIT_TEST(a_damaged_record_in_the_middle_is_damage_and_not_the_end),
    UNIT_TEST(a_damaged_commit_in_the_middle_is_damage),
    UNIT_TEST(a_damaged_last_record_is_the_end),
    UNIT_TEST(a_stale_record_in_the_middle_is_not_taken_for_a_new_one),
    UNIT_TEST(stale_records_in_a_row_are_not_taken_for_new_ones),
    UNIT_TEST(a_record_that_does_not_continue_the_chain_is_noticed),
    UNIT_TEST(a_damaged_last_record_of_a_recovered_tail_is_damage),
    UNIT_TEST(what_was_never_acknowledged_does_not_count_behind_a_gap),
    UNIT_TEST(damage_before_a_later_segment_is_damage_even_at_the_end_of_its_own),
    UNIT_TEST(a_damaged_header_is_damage_and_its_records_are_read_all_the_same),
    UNIT_TEST(a_header_without_sense_is_damage_and_no_sequence_comes_twice),
    UNIT_TEST(a_catalog_that_is_ahead_of_the_journal_is_damage),
    UNIT_TEST(damage_is_said_again_until_the_store_was_stopped_in_order),
    UNIT_TEST(recycled_segments_never_show_old_records),
    UNIT_TEST(a_switch_interrupted_at_any_step_loses_nothing),
    UNIT_TEST(an_append_after_a_failed_write_is_refused),
    UNIT_TEST(sequences_and_times_never_go_back),
    UNIT_TEST(a_full_journal_says_so_and_goes_on_after_a_release),
    UNIT_TEST(a_journal_gives_back_what_it_does_not_need),
    UNIT_TEST(what_cannot_be_applied_does_not_fill_the_journal),
};
UNIT_MAIN("journal", tests)
