/* restore.c - content from a store, put where it belongs
 *
 * The rule is that at every moment either what was there or the checked new content is whole under
 * the name (stage.c), or, in place, that the caller has saved what was there and blocks are
 * replaced one by one. Bytes are checked before they are written (content.c) and read back
 * afterwards, before the swap: a failing disk costs the attempt, not the file.
 *
 * Somebody who has the file open for writing would go on writing to what is swapped out, or into
 * what is restored in place: so that is refused without RESTORE_FORCE, at the start and once more
 * before the swap.
 */

#include "config.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/error.h"
#include "base/fd.h"
#include "copy/attributes.h"
#include "copy/content.h"
#include "copy/delta.h"
#include "copy/leftover.h"
#include "copy/restore.h"
#include "copy/source.h"
#include "copy/stable.h"

/* What is under the name now. */
typedef struct Target {
    gboolean exists;
    FileStat stat;
    Fd look_fd; /* O_PATH */
    Fd read_fd; /* -1 if it is ours but cannot be read */
} Target;

static void
target_clear(Target *t)
{
    fd_clear(t->look_fd);
    fd_clear(t->read_fd);
    *t = (Target){.look_fd = -1, .read_fd = -1};
}
G_DEFINE_AUTO_CLEANUP_CLEAR_FUNC(Target, target_clear)

void
restore_result_clear(RestoreResult *r)
{
    swapped_clear(&r->swapped);
    g_clear_pointer(&r->problems, g_free);
    g_clear_pointer(&r->in_the_way, g_free);
    g_clear_pointer(&r->note, g_free);
}

static gboolean
busy(RestoreResult *r, GError **error)
{
    return throw_error(error, FILEDUP_ERROR_BUSY, "%s has it open for writing",
                       r->in_the_way ? r->in_the_way : "another process");
}

static gboolean
target_look(const RestoreRequest *q, Target *t, RestoreResult *r, GError **error)
{
    target_clear(t);
    t->look_fd = source_look(q->folder_fd, q->name, &t->stat);
    if (t->look_fd < 0 && errno == ENOENT)
        return TRUE;
    if (t->look_fd < 0)
        return throw_errno(error, "looking at what is there");
    if (source_irregular(t->stat.mode))
        return throw_error(error, FILEDUP_ERROR_REFUSED, "%s is there now: it is not replaced",
                           source_irregular(t->stat.mode));
    t->exists = TRUE;
    t->read_fd = source_open(t->look_fd, O_RDONLY);
    if (t->read_fd < 0 && errno == EAGAIN)
        return throw_error(error, FILEDUP_ERROR_BUSY, "another process has a lease on it");
    if (t->read_fd < 0 && t->stat.uid != geteuid())
        return throw_errno(error, "what is there now cannot be kept: opening it");
    if (t->read_fd < 0 || stable_probe(t->read_fd) != PROBE_WRITER)
        return TRUE;
    g_free(r->in_the_way);
    r->in_the_way = stable_find_writer(t->read_fd);
    return (q->flags & (RESTORE_FORCE | RESTORE_DRY_RUN)) ? TRUE : busy(r, error);
}

static gboolean
dry_run(const RestoreRequest *q, Content *content, RestoreResult *r, GError **error)
{
    g_auto(Target) target = {.look_fd = -1, .read_fd = -1};

    if (q->flags & RESTORE_TO_FD) {
        r->written_bytes = q->size_bytes;
        return content_check(content, error);
    }
    if (!target_look(q, &target, r, error))
        return FALSE;
    if (target.read_fd >= 0)
        return delta_run(content, target.read_fd, DELTA_COUNT, &r->written_bytes, error);
    r->written_bytes = q->size_bytes;
    return content_check(content, error);
}

static gboolean
to_fd(const RestoreRequest *q, Content *content, RestoreResult *r, GError **error)
{
    int flags = fcntl(q->target_fd, F_GETFL);
    struct stat st;

    if (flags < 0 || (flags & O_ACCMODE) == O_RDONLY || (flags & O_PATH))
        return throw_error(error, FILEDUP_ERROR_REFUSED, "the descriptor is not open for writing");
    if (fstat(q->target_fd, &st) < 0)
        return throw_errno(error, "fstat");
    r->written_bytes = q->size_bytes;
    if (!S_ISREG(st.st_mode))
        return content_pipe(content, q->target_fd, error);

    /* What is there is not ours to lose to a damaged backup. */
    if (st.st_size > 0 && !content_check(content, error))
        return FALSE;
    if (ftruncate(q->target_fd, 0) < 0)
        return throw_errno(error, "emptying the file");
    if (!content_copy(content, q->target_fd, error))
        return FALSE;
    if ((flags & O_ACCMODE) == O_RDWR)
        return content_read_back(content, q->target_fd, error);
    return fsync(q->target_fd) == 0 ? TRUE : throw_errno(error, "fsync");
}

static gboolean
swap_in(const RestoreRequest *q, Content *content, Target *target, RestoreResult *r, GError **error)
{
    g_autoptr(Stage) stage = stage_new(q->folder_fd, q->name, error);

    if (!stage)
        return FALSE;
    if (!content_copy(content, stage_fd(stage), error))
        return FALSE;
    attributes_apply(stage_fd(stage), &q->stat, q->attributes, q->privileged, &r->problems);
    if (!content_read_back(content, stage_fd(stage), error) || !target_look(q, target, r, error))
        return FALSE;
    target_clear(target);
    r->written_bytes = q->size_bytes;
    if (!stage_publish(stage, &r->swapped, error))
        return FALSE;
    r->note = leftover_sweep(q->folder_fd, q->name, r->swapped.name, content);
    return TRUE;
}

/* A write lease is granted only if nobody else has the file open at all. */
static gboolean
take_lease(const RestoreRequest *q, int fd, RestoreResult *r, DeltaMode *ret_mode, GError **error)
{
    (void) fcntl(fd, F_SETSIG, SIGURG); /* a break is seen by F_GETLEASE; SIGIO could kill us */
    *ret_mode = DELTA_WRITE;
    if (fcntl(fd, F_SETLEASE, F_WRLCK) == 0) {
        *ret_mode = DELTA_LEASE;
        return TRUE;
    }
    if (errno != EAGAIN || (q->flags & RESTORE_FORCE))
        return TRUE; /* no leases here: the probe said that nobody writes */
    r->in_the_way = stable_find_user(fd);
    return throw_error(error, FILEDUP_ERROR_BUSY, "%s has it open",
                       r->in_the_way ? r->in_the_way : "another process");
}

static gboolean
in_place(const RestoreRequest *q, Content *content, Target *target, RestoreResult *r,
         GError **error)
{
    DeltaMode mode;

    /* From here on blocks are lost for good: the source must be whole. */
    if (!content_check(content, error))
        return FALSE;
    fd_clear(fd_steal(&target->read_fd)); /* a reader of ours would stand in the lease's way */
    g_auto(Fd) fd = source_open(target->look_fd, O_RDWR);
    if (fd < 0 && errno == ETXTBSY)
        return throw_error(error, FILEDUP_ERROR_BUSY,
                           "it is being executed: it can be replaced, but not written in place");
    if (fd < 0)
        return throw_errno(error, "opening it for writing");
    if (!take_lease(q, fd, r, &mode, error))
        return FALSE;

    /* Under the lease nobody else has it open: what is there now is what will be overwritten. */
    FileStat now;
    if (filestat_read(fd, "", &now) < 0)
        return throw_errno(error, "statx");
    if (!(q->flags & RESTORE_FORCE) &&
        !filestat_unchanged(&now, q->saved.ino ? &q->saved : &target->stat, TRUE))
        return throw_error(error, FILEDUP_ERROR_BUSY,
                           "it changed after what was there had been saved as a point; try again");

    gboolean ok = delta_run(content, fd, mode, &r->written_bytes, error);
    if (ok && now.size_bytes != q->size_bytes && ftruncate(fd, (off_t) q->size_bytes) < 0)
        ok = throw_errno(error, "setting the size");
    if (ok) {
        attributes_apply(fd, &q->stat, q->attributes, q->privileged, &r->problems);
        ok = content_read_back(content, fd, error);
    } else {
        (void) fsync(fd);
    }
    if (mode == DELTA_LEASE)
        (void) fcntl(fd, F_SETLEASE, F_UNLCK);
    return ok;
}

gboolean
restore_run(const RestoreRequest *q, RestoreResult *r, GError **error)
{
    Content content = {.fd = q->source_fd,
                       .sums = q->sums,
                       .size_bytes = q->size_bytes,
                       .progress = q->progress,
                       .data = q->data};
    g_auto(Target) target = {.look_fd = -1, .read_fd = -1};

    *r = (RestoreResult){0};
    if (q->flags & RESTORE_DRY_RUN)
        return dry_run(q, &content, r, error);
    if (q->flags & RESTORE_TO_FD)
        return to_fd(q, &content, r, error);
    if (!target_look(q, &target, r, error))
        return FALSE;
    if ((q->flags & RESTORE_IN_PLACE) && target.exists)
        return in_place(q, &content, &target, r, error);
    return swap_in(q, &content, &target, r, error);
}
