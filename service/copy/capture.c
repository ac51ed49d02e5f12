/* capture.c - one reading of a protected file, and whether it is one moment of it
 *
 * STABLE   probe free; statx; read; probe free; the path leads to the same inode, statx equal. The
 *          statx is taken first of all: what a writer does between it and the probe only costs a
 *          second try.
 * UNKNOWN  where leases are not to be had, ctime must lie two ticks before the read instead: then a
 *          change during the read moves it.
 * WRITER   pages are cleaned before the read, so that a store through a mapping moves a time stamp
 *          again. The result may be FUZZY at best.
 *
 * No lease is held while bytes are read. What is summed is the private buffer that is written on,
 * never the file a second time: sums and content cannot differ.
 *
 * Large content streams into staged files, and their write-back is kept going a window behind, so
 * that the fsync at the end is short and the time monitor sees progress.
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
#include "copy/source.h"
#include "copy/stable.h"

#define CHUNK_BYTES     (1024 * 1024)
#define WINDOW_BYTES    (G_GUINT64_CONSTANT(8) * 1024 * 1024)
#define REOPEN_ATTEMPTS 3        /* the name led to another inode after the read */
#define ROUNDS          2        /* it changed during the read, but nobody has it any more */
#define ROUNDS_WRITTEN  5        /* per-write */
#define QUIET_NS        20000000 /* two clock ticks, at the slowest clock (HZ=100) */
#define QUIET_WAITS     3
#define NAMING_USEC     G_USEC_PER_SEC

typedef struct Capture {
    const CaptureRequest *q;
    CaptureResult *r;
    char *path;
    Fd fd;
    gboolean hash_only;
    gboolean staged;
    int staged_fds[MESSAGE_MAX_FDS];
    guint n_staged;
    guint8 *buffer;
    gsize buffer_bytes;
    guint64 done_bytes; /* over all rounds, for the progress */
    GBytes *sums;
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
    r->sums = r->content = -1;
}

static void
capture_clear(Capture *c)
{
    fd_clear(c->fd);
    for (guint i = 0; i < c->n_staged; i++)
        fd_clear(c->staged_fds[i]);
    g_free(c->path);
    g_free(c->buffer);
    g_clear_pointer(&c->sums, g_bytes_unref);
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

static void
progress(Capture *c, gsize n)
{
    c->done_bytes += n;
    if (c->q->progress)
        c->q->progress(c->done_bytes, c->q->data);
}

/* What a copy takes: holes take nothing. */
static guint64
space_needed(Capture *c)
{
    struct stat st;

    if (fstat(c->fd, &st) < 0)
        return c->r->stat.size_bytes;
    return MIN(c->r->stat.size_bytes, (guint64) st.st_blocks * 512 + CHUNK_BYTES);
}

/* One store's staged file is of no more use; the other stores get theirs. It is left empty, so that
 * its store, which checks the size, does not take it. FALSE with errno: it was the last one. */
static gboolean
give_up_staged(Capture *c, guint i)
{
    int errnum = errno;

    if (c->n_staged == 1) {
        errno = errnum;
        return FALSE;
    }
    (void) ftruncate(c->staged_fds[i], 0);
    fd_clear(c->staged_fds[i]);
    c->staged_fds[i] = c->staged_fds[--c->n_staged];
    return TRUE;
}

/* Where this round's bytes go. */
static Step
prepare_target(Capture *c)
{
    guint64 size = c->r->stat.size_bytes;

    c->buffer_bytes = MAX(c->buffer_bytes, (gsize) MIN(size, CHUNK_BYTES));
    c->buffer = g_realloc(c->buffer, c->buffer_bytes + 1);
    if (c->hash_only)
        return STEP_GO_ON;
    if (size > CAPTURE_BUFFER_BYTES && !c->staged) {
        if (!c->q->stage(space_needed(c), c->staged_fds, &c->n_staged, c->q->data, &c->r->error))
            return failed(c, 0);
        c->staged = TRUE;
    }
    if (size > CHUNK_BYTES)
        (void) posix_fadvise(c->fd, 0, 0, POSIX_FADV_SEQUENTIAL);
    for (guint i = c->n_staged; i-- > 0;)
        if (ftruncate(c->staged_fds[i], 0) < 0 && !give_up_staged(c, i))
            return failed_errno(c, "emptying the staged file");
    if (c->staged)
        return STEP_GO_ON;
    fd_clear(c->r->content);
    c->r->content = fd_memfd("filedup-content", &c->r->error);
    return c->r->content < 0 ? failed(c, errno) : STEP_GO_ON;
}

static gboolean
write_out(Capture *c, gsize n, guint64 offset)
{
    if (c->hash_only)
        return TRUE;
    if (!c->staged)
        return fd_pwrite_full(c->r->content, c->buffer, n, (goffset) offset);
    for (guint i = c->n_staged; i-- > 0;)
        if (!fd_pwrite_full(c->staged_fds[i], c->buffer, n, (goffset) offset) &&
            !give_up_staged(c, i))
            return FALSE;
    return TRUE;
}

/* Starts the write-back of whole windows below `offset`. Never waits for it: sync_file_range's wait
 * takes a write-back error away from the fsync that has to report it. */
static gboolean
push_write_back(Capture *c, guint64 offset, guint64 *pushed)
{
    for (; offset - *pushed >= WINDOW_BYTES; *pushed += WINDOW_BYTES)
        for (guint i = c->n_staged; i-- > 0;)
            if (sync_file_range(c->staged_fds[i], (off_t) *pushed, WINDOW_BYTES,
                                SYNC_FILE_RANGE_WRITE) < 0 &&
                errno != ESPIPE && errno != ENOSYS && !give_up_staged(c, i))
                return FALSE;
    return TRUE;
}

static gboolean
set_size(Capture *c)
{
    off_t size = (off_t) c->r->stat.size_bytes;

    if (!c->hash_only && !c->staged && ftruncate(c->r->content, size) < 0)
        return FALSE;
    for (guint i = c->hash_only ? 0 : c->n_staged; i-- > 0;)
        if (ftruncate(c->staged_fds[i], size) < 0 && !give_up_staged(c, i))
            return FALSE;
    return TRUE;
}

static Step
failed_read(Capture *c, guint64 offset, guint64 end)
{
    int errnum = errno;

    if (errnum == EIO || errnum == EUCLEAN || errnum == EBADMSG)
        offset = source_bad_offset(c->fd, offset, end);
    errno = errnum;
    throw_errno(&c->r->error, "reading at offset %" G_GUINT64_FORMAT, offset);
    return failed(c, errnum);
}

/* One run of data. *ret_short: the file is not as long as it was. */
static Step
copy_run(Capture *c, Sums *sums, guint64 start, guint64 end, guint64 *pushed, gboolean *ret_short)
{
    while (start < end) {
        gsize n = (gsize) MIN(end - start, c->buffer_bytes);
        gssize got = fd_pread_most(c->fd, c->buffer, n, (goffset) start);
        if (got < 0)
            return failed_read(c, start, start + n);
        if ((gsize) got < n) {
            *ret_short = TRUE;
            return STEP_GO_ON;
        }
        sums_add(sums, c->buffer, n);
        if (!write_out(c, n, start))
            return failed_errno(c, c->staged ? "writing the staged file" : "writing to memory");
        start += n;
        if (!push_write_back(c, start, pushed))
            return failed_errno(c, "writing the staged file back");
        progress(c, n);
    }
    return STEP_GO_ON;
}

static Step
copy_content(Capture *c, gboolean *ret_short)
{
    g_autoptr(Sums) sums = sums_new(c->r->stat.size_bytes);
    guint64 offset = 0, pushed = 0, start, end, size = c->r->stat.size_bytes;

    *ret_short = FALSE;
    g_clear_pointer(&c->sums, g_bytes_unref);
    while (source_next_data(c->fd, offset, size, &start, &end)) {
        sums_add_zeros(sums, start - offset);
        if (start > offset)
            pushed = start;
        if (copy_run(c, sums, start, end, &pushed, ret_short) == STEP_DONE)
            return STEP_DONE;
        if (*ret_short)
            return STEP_GO_ON;
        offset = end;
    }
    sums_add_zeros(sums, size - offset);
    if (!set_size(c))
        return failed_errno(c, "setting the size of the copy");
    c->sums = sums_finish(sums, c->r->hash);
    return STEP_GO_ON;
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
        Probe before_read = stable_probe(c->fd);

        if (before_read == PROBE_WRITER && !fuzzy_will_do)
            return unstable(c, PROBE_WRITER);
        if (before_read == PROBE_WRITER)
            (void) sync_file_range(c->fd, 0, 0,
                                   SYNC_FILE_RANGE_WAIT_BEFORE | SYNC_FILE_RANGE_WRITE |
                                       SYNC_FILE_RANGE_WAIT_AFTER);
        if (before_read == PROBE_UNKNOWN)
            quiet = wait_until_quiet(c);
        if (prepare_target(c) == STEP_DONE || copy_content(c, &cut_short) == STEP_DONE)
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

static Step
finish_content(Capture *c)
{
    gsize n;
    const void *data = g_bytes_get_data(c->sums, &n);

    for (guint i = c->n_staged; i-- > 0;) {
        if (fsync(c->staged_fds[i]) < 0 && !give_up_staged(c, i))
            return failed_errno(c, "fsync of the staged file");
        progress(c, 0);
    }
    if (!c->staged && !fd_seal(c->r->content, &c->r->error))
        return failed(c, 0);
    c->r->sums = fd_from_bytes("filedup-sums", data ? data : "", n, &c->r->error);
    return c->r->sums < 0 ? failed(c, 0) : done(c, CAPTURE_CONTENT);
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
    c->hash_only = worth_hashing_first(c);
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
    Capture c = {.q = request, .r = ret_result, .fd = -1};
    Step step = STEP_MOVED;

    *ret_result = (CaptureResult){.sums = -1, .content = -1};
    c.path = path_join(request->folder, request->name);
    for (int i = 0; i < REOPEN_ATTEMPTS && step == STEP_MOVED; i++)
        step = run_once(&c);
    if (step == STEP_MOVED)
        ret_result->outcome = CAPTURE_UNSTABLE;
    if (ret_result->outcome != CAPTURE_CONTENT)
        fd_clear(fd_steal(&ret_result->content));
    else if (c.staged)
        fd_clear(fd_steal(&ret_result->content)); /* an earlier round was small */
    capture_clear(&c);
}
