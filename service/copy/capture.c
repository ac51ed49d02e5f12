/* capture.c - one reading of a protected file, and whether it is one moment of it
 *
 * STABLE   probe free; statx; read; probe free; the path leads to the same inode, statx equal. The
 *          statx is taken first of all: what a writer does between it and the probe only costs a
 *          second try.
 * UNKNOWN  where leases are not to be had, ctime must lie two ticks before the read instead: then a
 *          change during the read moves it.
 * WRITER   pages are cleaned before the read, so that a store through a mapping moves a time stamp
 *          again. The result may be FUZZY at best.
 * CLONE    the fuzzy copy of an on-close file that changed while it was read is taken from a clone,
 *          where there are any: one instant, as a power cut would leave it, which a database can
 *          open. It is still fuzzy: nobody asked the writer whether that instant is between two
 *          of its updates or within one. Not for every capture of a busy file, and not for
 *          per-write rows: what is written after a clone lands in new places, and a file that is
 *          cloned every second is soon in pieces.
 *
 * No lease is held while bytes are read. What is summed is the private buffer that is handed on
 * (sink.c), never the file a second time: sums and content cannot differ.
 *
 * WHAT IS SENT  With the recorded sums at hand, what differs from them, found in the one reading
 *               that all of this takes. When that turns out to be too much, and for small files,
 *               the whole content: up to CAPTURE_BUFFER_BYTES in memory, else in staged files. The
 *               second reading then belongs to the same round: its statx and probe lie before both.
 */

#include "config.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "base/error.h"
#include "base/path.h"
#include "base/sums.h"
#include "copy/attributes.h"
#include "copy/capture.h"
#include "copy/reading.h"
#include "copy/sink.h"
#include "copy/source.h"
#include "copy/stable.h"

#define SLACK_BYTES     (1024 * 1024)
#define WHOLE_BYTES     (256 * 1024) /* up to here the whole content costs no more than ranges */
#define REOPEN_ATTEMPTS 3            /* the name led to another inode after the read */
#define ROUNDS          2            /* it changed during the read, but nobody has it any more */
#define ROUNDS_WRITTEN  5            /* per-write */
#define QUIET_NS        20000000     /* two clock ticks, at the slowest clock (HZ=100) */
#define QUIET_WAITS     3
#define NAMING_USEC     G_USEC_PER_SEC

typedef struct Capture {
    const CaptureRequest *q;
    CaptureResult *r;
    char *path;
    Fd fd;
    Fd clone; /* this round is read from it; -1: from the file itself */
    gboolean hash_only;
    gboolean by_ranges;
    Sink *sink;
    Reading reading;
} Capture;

typedef enum {
    STEP_DONE,  /* the outcome is set          */
    STEP_GO_ON, /* so far so good              */
    STEP_MOVED, /* another inode: from the top */
} Step;

void
capture_result_clear(CaptureResult *r)
{
    g_clear_error(&r->error);
    g_clear_pointer(&r->attributes, g_bytes_unref);
    g_clear_pointer(&r->writer, g_free);
    g_clear_pointer(&r->note, g_free);
    fd_clear(r->sums);
    fd_clear(r->content);
    fd_clear(r->ranges);
    r->sums = r->content = r->ranges = -1;
}

static void
capture_clear(Capture *c)
{
    fd_clear(c->fd);
    fd_clear(c->clone);
    sink_free(c->sink);
    reading_clear(&c->reading);
    g_free(c->path);
}

static Step
done(Capture *c, CaptureOutcome outcome)
{
    c->r->outcome = outcome;
    return STEP_DONE;
}

/* r->error is set; errno says why, if a system call failed. */
static Step
failed(Capture *c, int errnum)
{
    c->r->errnum = errnum;
    return done(c, CAPTURE_FAILED);
}

static Step
failed_errno(Capture *c, const char *what)
{
    int errnum = errno;

    throw_errno(&c->r->error, "%s", what);
    return failed(c, errnum);
}

/* Reading all of /proc is for people's eyes: at most once a second. */
static char *
name_writer(int fd, const FileStat *stat)
{
    static gint64 named_usec;
    static guint64 dev, ino;
    static char *name;
    gint64 now = g_get_monotonic_time();

    if (named_usec == 0 || now - named_usec >= NAMING_USEC) {
        g_free(name);
        name = stable_find_writer(fd);
        named_usec = now;
        dev = stat->dev;
        ino = stat->ino;
    }
    return dev == stat->dev && ino == stat->ino ? g_strdup(name) : NULL;
}

static Step
unstable(Capture *c, Probe probe)
{
    if (probe == PROBE_WRITER)
        c->r->writer = name_writer(c->fd, &c->r->stat);
    return done(c, CAPTURE_UNSTABLE);
}

static gboolean
is_recorded(const FileStat *recorded)
{
    return recorded->ino != 0;
}

/* Whether what lies there lies where it was recorded. Some file systems (xfs) have no id that stays
 * over a boot: then the inode and its birth say that it is the same. */
static gboolean
on_recorded_file_system(const FileStat *now, const FileStat *recorded)
{
    return !is_recorded(recorded) || recorded->fsid == 0 || now->fsid == recorded->fsid ||
           (now->btime_ns != 0 && now->ino == recorded->ino && now->btime_ns == recorded->btime_ns);
}

static Step
open_file(Capture *c)
{
    const CaptureRequest *q = c->q;
    FileStat folder;
    g_auto(Fd) folder_fd = source_open_folder(q->folder);

    if (folder_fd < 0 && (errno == ENOENT || errno == ENOTDIR))
        return done(c, CAPTURE_ABSENT);
    if (folder_fd < 0 && errno == ELOOP) {
        throw_error(&c->r->error, FILEDUP_ERROR_REFUSED,
                    "a symbolic link has come into the path: it is not followed");
        return failed(c, ELOOP);
    }
    if (folder_fd < 0)
        return failed_errno(c, "opening its folder");

    g_auto(Fd) look_fd = source_look(folder_fd, q->name, &c->r->stat);
    if (look_fd < 0 && errno == ENOENT) {
        if (filestat_read(folder_fd, "", &folder) < 0)
            return failed_errno(c, "statx of its folder");
        gboolean elsewhere =
            is_recorded(&q->recorded) && q->recorded.fsid != 0 && folder.fsid != q->recorded.fsid;
        return done(c, elsewhere ? CAPTURE_ABSENT : CAPTURE_GONE);
    }
    if (look_fd < 0)
        return failed_errno(c, "opening");
    if (!on_recorded_file_system(&c->r->stat, &q->recorded))
        return done(c, CAPTURE_ABSENT);
    if (source_irregular(c->r->stat.mode)) {
        throw_error(&c->r->error, FILEDUP_ERROR_REFUSED, "not a regular file but %s",
                    source_irregular(c->r->stat.mode));
        return failed(c, 0);
    }
    fd_clear(c->fd);
    c->fd = source_open(look_fd, O_RDONLY);
    return c->fd < 0 ? failed_errno(c, "opening") : STEP_GO_ON;
}

static Step
read_attributes(Capture *c)
{
    g_clear_pointer(&c->r->attributes, g_bytes_unref);
    g_clear_pointer(&c->r->note, g_free);
    c->r->attributes = attributes_read(c->fd, &c->r->note, &c->r->error);
    return c->r->attributes ? STEP_GO_ON : failed(c, errno);
}

static gboolean
as_recorded(Capture *c)
{
    const FileStat *now = &c->r->stat, *recorded = &c->q->recorded;

    return is_recorded(recorded) && c->q->hash && filestat_unchanged(now, recorded, FALSE) &&
           now->uid == recorded->uid && now->gid == recorded->gid &&
           (c->q->attributes ? g_bytes_equal(c->r->attributes, c->q->attributes)
                             : g_bytes_get_size(c->r->attributes) == 0);
}

/* TRUE if ctime lies far enough back. */
static gboolean
wait_until_quiet(Capture *c)
{
    for (int i = 0; i < QUIET_WAITS; i++) {
        gint64 age = g_get_real_time() * 1000 - c->r->stat.ctime_ns;
        if (age > QUIET_NS)
            return TRUE;
        if (age < -QUIET_NS)
            return FALSE; /* another clock's, or a wrong one */
        g_usleep((gulong) ((QUIET_NS - age) / 1000 + 1000));
    }
    return FALSE;
}

static int
read_fd(Capture *c)
{
    return c->clone >= 0 ? c->clone : c->fd;
}

/* What a copy takes: holes take nothing. */
static guint64
space_needed(Capture *c)
{
    struct stat st;

    if (fstat(c->fd, &st) < 0)
        return c->r->stat.size_bytes;
    return MIN(c->r->stat.size_bytes, (guint64) st.st_blocks * 512 + SLACK_BYTES);
}

static gboolean
get_staged(Capture *c)
{
    int fds[MESSAGE_MAX_FDS];
    guint n_fds = 0;

    if (sink_has_staged(c->sink))
        return TRUE;
    if (!c->q->stage(space_needed(c), fds, &n_fds, c->q->data, &c->r->error)) {
        errno = 0;
        return FALSE;
    }
    sink_take_staged(c->sink, fds, n_fds);
    return TRUE;
}

/* Once staged files are there, they are what the parent expects. */
static SinkKind
choose_kind(Capture *c)
{
    guint64 size = c->r->stat.size_bytes;

    if (c->hash_only)
        return SINK_NOTHING;
    if (sink_has_staged(c->sink))
        return SINK_STAGED;
    if (c->by_ranges && size > WHOLE_BYTES)
        return SINK_RANGES;
    return size > CAPTURE_BUFFER_BYTES ? SINK_STAGED : SINK_MEMORY;
}

static ReadResult
read_all(Capture *c)
{
    SinkKind kind = choose_kind(c);

    if (kind == SINK_STAGED && !get_staged(c))
        return READ_FAILED;
    return reading_run(&c->reading, read_fd(c), c->r->stat.size_bytes, kind, c->r->hash,
                       &c->r->error);
}

static Step
copy_content(Capture *c, gboolean *ret_short)
{
    ReadResult result = read_all(c);

    if (result == READ_FULL) {
        c->by_ranges = FALSE;
        result = read_all(c);
    }
    *ret_short = result == READ_SHORT;
    return result == READ_FAILED ? failed(c, errno) : STEP_GO_ON;
}

/* Whether nothing moved during the read: ret_stat is the file's now, for the next round. */
static Step
look_again(Capture *c, FileStat *ret_stat)
{
    g_auto(Fd) fd = source_look(AT_FDCWD, c->path, ret_stat);

    if (fd < 0 && (errno == ENOENT || errno == ENOTDIR || errno == ELOOP))
        return STEP_MOVED;
    if (fd < 0)
        return failed_errno(c, "statx after the read");
    return ret_stat->ino == c->r->stat.ino && ret_stat->dev == c->r->stat.dev ? STEP_GO_ON
                                                                              : STEP_MOVED;
}

/* The statx stays the one before the clone, so that whatever came later shows; but a clone has the
 * size that it has. */
static void
try_clone(Capture *c)
{
    FileStat stat;
    g_auto(Fd) clone = source_clone(c->q->folder, c->fd);

    if (clone < 0 || filestat_read(clone, "", &stat) < 0)
        return;
    c->r->stat.size_bytes = stat.size_bytes;
    c->clone = fd_steal(&clone);
}

/* Reads until it is stable, or as good as it gets. GO_ON: sums, hash and quality are set. */
static Step
read_content(Capture *c)
{
    gboolean per_write = (c->q->flags & CAPTURE_PER_WRITE) != 0;
    gboolean fuzzy_will_do = per_write || (c->q->flags & CAPTURE_ALLOW_FUZZY);
    int rounds = per_write ? ROUNDS_WRITTEN : ROUNDS;

    for (int round = 1;; round++) {
        FileStat after;
        gboolean cut_short, quiet = TRUE;
        fd_clear(fd_steal(&c->clone));
        Probe before_read = stable_probe(c->fd);

        if (before_read == PROBE_WRITER && !fuzzy_will_do)
            return unstable(c, PROBE_WRITER);
        if (before_read == PROBE_WRITER)
            (void) sync_file_range(c->fd, 0, 0,
                                   SYNC_FILE_RANGE_WAIT_BEFORE | SYNC_FILE_RANGE_WRITE |
                                       SYNC_FILE_RANGE_WAIT_AFTER);
        if (before_read == PROBE_WRITER && round > 1 && !per_write)
            try_clone(c);
        if (before_read == PROBE_UNKNOWN)
            quiet = wait_until_quiet(c);
        if (copy_content(c, &cut_short) == STEP_DONE)
            return STEP_DONE;

        Probe after_read = stable_probe(c->fd);
        Step step = look_again(c, &after);
        if (step != STEP_GO_ON)
            return step;
        gboolean same = !cut_short && filestat_unchanged(&c->r->stat, &after, TRUE);
        gboolean writer = before_read == PROBE_WRITER || after_read == PROBE_WRITER;
        if (same && !writer && quiet) {
            c->r->quality = QUALITY_STABLE;
            return STEP_GO_ON;
        }
        /* The statx of the next round is this one: what happens in between shows after it. */
        if (fuzzy_will_do ? (same && writer) || round >= rounds
                          : after_read == PROBE_WRITER || round >= rounds) {
            if (!fuzzy_will_do || cut_short)
                return unstable(c, after_read);
            c->r->quality = QUALITY_FUZZY;
            return STEP_GO_ON;
        }
        c->r->stat = after;
        if (read_attributes(c) == STEP_DONE)
            return STEP_DONE;
    }
}

static gboolean
hash_as_recorded(Capture *c)
{
    return c->q->hash && memcmp(c->r->hash, c->q->hash, HASH_BYTES) == 0;
}

/* Nothing but attributes seems to differ in a large file: reading it costs less than staging it. */
static gboolean
worth_hashing_first(Capture *c)
{
    const FileStat *now = &c->r->stat, *recorded = &c->q->recorded;

    return is_recorded(recorded) && c->q->hash && !(c->q->flags & CAPTURE_UNCONDITIONAL) &&
           now->size_bytes > CAPTURE_BUFFER_BYTES && now->size_bytes == recorded->size_bytes &&
           now->mtime_ns == recorded->mtime_ns;
}

/* Nothing but the recorded content's own sums may say what has not changed. */
static gboolean
sums_are_recorded(Capture *c)
{
    const CaptureRequest *q = c->q;
    guint8 hash[HASH_BYTES];

    if (!q->sums || !q->hash || !is_recorded(&q->recorded) || (q->flags & CAPTURE_UNCONDITIONAL) ||
        g_bytes_get_size(q->sums) != sums_length(q->recorded.size_bytes))
        return FALSE;
    sums_hash(q->sums, q->recorded.size_bytes, hash);
    return memcmp(hash, q->hash, HASH_BYTES) == 0;
}

static void
alive(gpointer data)
{
    reading_progress(data, 0);
}

static Step
finish_content(Capture *c)
{
    CaptureResult *r = c->r;
    SinkKind kind;

    if (!sink_keep(c->sink, &kind, &r->sums, &r->content, &r->ranges, alive, &c->reading,
                   &r->error))
        return failed(c, errno);
    return done(c, kind == SINK_RANGES ? CAPTURE_RANGES : CAPTURE_CONTENT);
}

static Step
run_once(Capture *c)
{
    CaptureFlags flags = c->q->flags;

    if (open_file(c) == STEP_DONE || read_attributes(c) == STEP_DONE)
        return STEP_DONE;
    if (as_recorded(c) && !(flags & (CAPTURE_COMPARE_CONTENT | CAPTURE_UNCONDITIONAL))) {
        Probe probe = stable_probe(c->fd);
        if (probe != PROBE_WRITER) {
            memcpy(c->r->hash, c->q->hash, HASH_BYTES);
            return done(c, CAPTURE_UNCHANGED);
        }
        /* A second store to a dirty page moves no time stamp: equal means nothing here. */
        if (!(flags & (CAPTURE_ALLOW_FUZZY | CAPTURE_PER_WRITE)))
            return unstable(c, probe);
    }
    c->by_ranges = sums_are_recorded(c);
    if (c->by_ranges)
        sink_set_recorded(c->sink, c->q->sums, c->q->recorded.size_bytes);
    c->hash_only = !c->by_ranges && worth_hashing_first(c);
    Step step = read_content(c);
    if (step == STEP_GO_ON && c->hash_only && !hash_as_recorded(c)) {
        c->hash_only = FALSE;
        step = read_content(c);
    }
    if (step != STEP_GO_ON)
        return step;
    if (hash_as_recorded(c) && !(flags & CAPTURE_UNCONDITIONAL))
        return done(c, as_recorded(c) ? CAPTURE_UNCHANGED : CAPTURE_ATTRIBUTES);
    return finish_content(c);
}

void
capture_run(const CaptureRequest *request, CaptureResult *ret_result)
{
    Capture c = {.q = request, .r = ret_result, .fd = -1, .clone = -1, .sink = sink_new()};
    Step step = STEP_MOVED;

    *ret_result = (CaptureResult){.sums = -1, .content = -1, .ranges = -1};
    c.reading = (Reading){.sink = c.sink, .progress = request->progress, .data = request->data};
    c.path = path_join(request->folder, request->name);
    for (int i = 0; i < REOPEN_ATTEMPTS && step == STEP_MOVED; i++)
        step = run_once(&c);
    if (step == STEP_MOVED)
        ret_result->outcome = CAPTURE_UNSTABLE;
    capture_clear(&c);
}
