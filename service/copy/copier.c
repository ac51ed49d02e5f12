/* copier.c - the role that touches protected files
 *
 * PURPOSE     inspects, captures, restores and discards, one request at a time, for the parent.
 * PRIVILEGES  those of one principal, whom it becomes before the first request; CAP_LEASE besides,
 *             which opens nothing.
 * It is disposable: it holds no lock and keeps nothing from one request to the next, so that the
 * parent may kill it at any instruction. Half a capture is dropped with its memory; half a restore
 * is a file without a name (stage.c).
 *
 * While a capture waits for its staged files, other requests wait in `deferred`.
 */

#include "config.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <string.h>

#include "base/crash.h"
#include "base/error.h"
#include "base/fd.h"
#include "base/path.h"
#include "base/principal.h"
#include "base/role.h"
#include "base/sums.h"
#include "copy/capture.h"
#include "copy/inspect.h"
#include "copy/restore.h"
#include "copy/source.h"
#include "copy/stage.h"

#define PROGRESS_BYTES (G_GUINT64_CONSTANT(16) * 1024 * 1024)
#define PROGRESS_USEC  G_USEC_PER_SEC

typedef struct Copier {
    Channel *channel;
    GQueue deferred; /* of Message */
    gboolean stop;
} Copier;

typedef struct Job {
    Copier *copier;
    guint64 number;
    guint64 told_bytes;
    gint64 told_usec;
} Job;

static void
report_progress(guint64 bytes, gpointer data)
{
    Job *job = data;
    gint64 now = g_get_monotonic_time();

    if (job->told_usec == 0)
        job->told_usec = now;
    if (bytes - job->told_bytes < PROGRESS_BYTES && now - job->told_usec < PROGRESS_USEC)
        return;
    job->told_bytes = bytes;
    job->told_usec = now;
    /* A parent that is gone shows when we answer. */
    (void) channel_send(job->copier->channel, MESSAGE_COPIER_PROGRESS,
                        g_variant_new("(tt)", job->number, bytes), NULL, 0, NULL);
}

/* "" for NULL, and never anything that a GVariant string cannot be. */
static GVariant *
text(const char *s)
{
    return g_variant_new_take_string(g_utf8_make_valid(s ? s : "", -1));
}

static GVariant *
bytes_variant(const void *data, gsize n)
{
    return g_variant_new_fixed_array(G_VARIANT_TYPE_BYTE, data, n, 1);
}

static GBytes *
bytes_from_variant(GVariant *v)
{
    return g_variant_get_data_as_bytes(v);
}

static void
log_note(const char *folder, const char *name, const char *note)
{
    if (!note)
        return;
    g_autofree char *path = path_join(folder, name);
    g_autofree char *shown = path_escape(path);
    g_warning("'%s': %s", shown, note);
}

static gboolean
is_name(const char *name)
{
    return name && name[0] && !strchr(name, '/') && !g_str_equal(name, ".") &&
           !g_str_equal(name, "..");
}

static gboolean
malformed(MessageType type, GError **error)
{
    return throw_error(error, FILEDUP_ERROR_FATAL, "%s is malformed", message_name(type));
}

/* --- DAEMON_INSPECT --- */

static gboolean
serve_inspect(Copier *c, Message *m, GError **error)
{
    g_autoptr(GVariant) path = NULL;
    g_autoptr(GError) local = NULL;
    g_auto(Inspection) i = {0};
    gboolean must_write;
    guint64 job;

    g_variant_get(m->body, "(t@ayb)", &job, &path, &must_write);
    if (!path_from_variant(path))
        return malformed(m->type, error);
    (void) inspect_path(path_from_variant(path), must_write, &i, &local);
    return channel_send(c->channel, MESSAGE_COPIER_INSPECTED,
                        g_variant_new("(t@" MESSAGE_ERROR_TYPE "@ay@ayu@" FILESTAT_TYPE "t@s)", job,
                                      message_error_new(local, 0),
                                      path_to_variant(i.folder ? i.folder : ""),
                                      path_to_variant(i.name ? i.name : ""), (guint32) i.type,
                                      filestat_to_variant(&i.stat), i.dev, text(i.note)),
                        NULL, 0, error);
}

/* --- DAEMON_CAPTURE --- */

static gboolean
take_staged(Message *m, guint64 number, int *ret_fds, guint *ret_n_fds, GError **error)
{
    gboolean go_on;
    guint64 job;

    g_variant_get(m->body, "(tb)", &job, &go_on);
    if (job != number)
        return throw_error(error, FILEDUP_ERROR_FATAL, "staged files for another job");
    if (!go_on || m->n_fds == 0)
        return throw_error(error, FILEDUP_ERROR_AGAIN, "no store can take it now");
    *ret_n_fds = m->n_fds;
    for (guint i = 0; i < m->n_fds; i++)
        ret_fds[i] = message_take_fd(m, i);
    return TRUE;
}

static gboolean
ask_for_stage(guint64 size_bytes, int *ret_fds, guint *ret_n_fds, gpointer data, GError **error)
{
    Job *job = data;
    Copier *c = job->copier;

    if (!channel_send(c->channel, MESSAGE_COPIER_STAGE,
                      g_variant_new("(tt)", job->number, size_bytes), NULL, 0, error))
        return FALSE;
    for (;;) {
        g_autoptr(Message) m = channel_wait(c->channel, -1, error);
        if (!m)
            return FALSE;
        if (m->type == MESSAGE_DAEMON_STAGED)
            return take_staged(m, job->number, ret_fds, ret_n_fds, error);
        if (m->type == MESSAGE_DAEMON_STOP) {
            c->stop = TRUE;
            return throw_error(error, FILEDUP_ERROR_AGAIN, "stopping");
        }
        g_queue_push_tail(&c->deferred, g_steal_pointer(&m));
    }
}

static gboolean
send_captured(Copier *c, guint64 job, CaptureResult *r, GError **error)
{
    gsize n = 0;
    const void *attributes = r->attributes ? g_bytes_get_data(r->attributes, &n) : NULL;
    int fds[3] = {r->sums, r->content, r->ranges};
    guint n_fds = r->sums < 0 ? 0 : r->content < 0 ? 1 : r->ranges < 0 ? 2 : 3;
    gboolean has_hash = r->outcome <= CAPTURE_RANGES;

    return channel_send(c->channel, MESSAGE_COPIER_CAPTURED,
                        g_variant_new("(tu@" MESSAGE_ERROR_TYPE "@" FILESTAT_TYPE "u@ay@ay@s)", job,
                                      (guint32) r->outcome, message_error_new(r->error, r->errnum),
                                      filestat_to_variant(&r->stat), (guint32) r->quality,
                                      bytes_variant(r->hash, has_hash ? HASH_BYTES : 0),
                                      bytes_variant(attributes, n), text(r->writer)),
                        fds, n_fds, error);
}

/* What cannot be used only costs the ranges. */
static GBytes *
take_sums(Message *m, guint64 recorded_bytes)
{
    g_auto(Fd) fd = message_take_fd(m, 0);
    g_autoptr(GError) error = NULL;

    if (fd < 0)
        return NULL;
    GBytes *sums = fd_to_bytes(fd, sums_length(recorded_bytes), &error);
    if (!sums)
        g_warning("copier: the recorded sums: %s; going on without", error->message);
    return sums;
}

static gboolean
serve_capture(Copier *c, Message *m, GError **error)
{
    g_autoptr(GVariant) folder = NULL, name = NULL, stat = NULL, hash = NULL, attributes = NULL;
    g_auto(CaptureResult) r = {.sums = -1, .content = -1, .ranges = -1};
    Job job = {.copier = c};
    guint32 flags;
    gsize n_hash;

    g_variant_get(m->body, "(t@ay@ayu@" FILESTAT_TYPE "@ay@ay)", &job.number, &folder, &name,
                  &flags, &stat, &hash, &attributes);
    const guint8 *hash_bytes = g_variant_get_fixed_array(hash, &n_hash, 1);
    if (!path_from_variant(folder) || !is_name(path_from_variant(name)) ||
        (n_hash != 0 && n_hash != HASH_BYTES))
        return malformed(m->type, error);
    g_autoptr(GBytes) recorded = bytes_from_variant(attributes);
    CaptureRequest q = {.folder = path_from_variant(folder),
                        .name = path_from_variant(name),
                        .flags = (CaptureFlags) flags,
                        .hash = n_hash ? hash_bytes : NULL,
                        .attributes = recorded,
                        .stage = ask_for_stage,
                        .progress = report_progress,
                        .data = &job};
    filestat_from_variant(stat, &q.recorded);
    g_autoptr(GBytes) sums = take_sums(m, q.recorded.size_bytes);
    q.sums = sums;
    crash_point("copier-capture");
    capture_run(&q, &r);
    log_note(q.folder, q.name, r.note);
    crash_point("copier-captured");
    return send_captured(c, job.number, &r, error);
}

/* --- DAEMON_RESTORE --- */

/* Readable, so that it can be synced; else at least usable. */
static int
open_target_folder(const char *folder, GError **error)
{
    int fd = path_open(AT_FDCWD, folder, O_RDONLY | O_DIRECTORY, 0);

    if (fd < 0 && errno == EACCES)
        fd = source_open_folder(folder);
    if (fd < 0 && errno == ENOENT)
        throw_error(error, FILEDUP_ERROR_REFUSED,
                    "its folder '%s' does not exist: create it first (mkdir -p)", folder);
    else if (fd < 0)
        throw_errno(error, "opening its folder");
    return fd;
}

static gboolean
run_restore(Message *m, RestoreRequest *q, const char *folder, RestoreResult *r, GError **error)
{
    gboolean to_fd = (q->flags & RESTORE_TO_FD) != 0;
    g_auto(Fd) source = message_take_fd(m, 0), sums = message_take_fd(m, 1);
    g_auto(Fd) target = message_take_fd(m, 2), folder_fd = -1;
    g_autoptr(GBytes) sums_bytes = NULL;

    if (source < 0 || sums < 0 || (to_fd && target < 0))
        return throw_error(error, FILEDUP_ERROR_FATAL, "descriptors are missing");
    sums_bytes = fd_to_bytes(sums, sums_length(q->size_bytes), error);
    if (!sums_bytes)
        return throw_prefixed(error, "the backup's sums");
    if (!to_fd && (folder_fd = open_target_folder(folder, error)) < 0)
        return FALSE;
    q->source_fd = source;
    q->sums = sums_bytes;
    q->target_fd = target;
    q->folder_fd = folder_fd;
    return restore_run(q, r, error);
}

static gboolean
serve_restore(Copier *c, Message *m, GError **error)
{
    g_autoptr(GVariant) folder = NULL, name = NULL, stat = NULL, attributes = NULL, saved = NULL;
    g_autoptr(GError) local = NULL;
    g_auto(RestoreResult) r = {0};
    Job job = {.copier = c};
    RestoreRequest q = {.progress = report_progress, .data = &job};
    guint32 flags;

    g_variant_get(m->body, "(t@ay@ayut@" FILESTAT_TYPE "@ayb@" FILESTAT_TYPE ")", &job.number,
                  &folder, &name, &flags, &q.size_bytes, &stat, &attributes, &q.privileged, &saved);
    if (!path_from_variant(folder) || !path_from_variant(name) ||
        (!(flags & RESTORE_TO_FD) && !is_name(path_from_variant(name))))
        return malformed(m->type, error);
    g_autoptr(GBytes) blob = bytes_from_variant(attributes);
    filestat_from_variant(stat, &q.stat);
    filestat_from_variant(saved, &q.saved);
    q.attributes = blob;
    q.flags = (RestoreFlags) flags;
    q.name = path_from_variant(name);
    crash_point("copier-restore");
    (void) run_restore(m, &q, path_from_variant(folder), &r, &local);
    log_note(path_from_variant(folder), q.name, r.note);
    crash_point("copier-restored");
    return channel_send(c->channel, MESSAGE_COPIER_RESTORED,
                        g_variant_new("(t@" MESSAGE_ERROR_TYPE "@ayttt@s@s)", job.number,
                                      message_error_new(local, 0),
                                      path_to_variant(r.swapped.name ? r.swapped.name : ""),
                                      r.swapped.dev, r.swapped.ino, r.written_bytes,
                                      text(r.problems), text(r.in_the_way)),
                        NULL, 0, error);
}

/* --- DAEMON_DISCARD --- */

static gboolean
serve_discard(Copier *c, Message *m, GError **error)
{
    g_autoptr(GVariant) folder = NULL, name = NULL;
    g_autoptr(GError) local = NULL;
    guint64 job, dev, ino;

    g_variant_get(m->body, "(t@ay@aytt)", &job, &folder, &name, &dev, &ino);
    if (!path_from_variant(folder) || !is_name(path_from_variant(name)))
        return malformed(m->type, error);
    g_auto(Fd) folder_fd = source_open_folder(path_from_variant(folder));
    if (folder_fd < 0)
        throw_errno(&local, "opening its folder");
    else
        (void) stage_discard(folder_fd, path_from_variant(name), dev, ino, &local);
    return channel_send(
        c->channel, MESSAGE_COPIER_DISCARDED,
        g_variant_new("(t@" MESSAGE_ERROR_TYPE ")", job, message_error_new(local, 0)), NULL, 0,
        error);
}

static gboolean
serve(Copier *c, Message *m, GError **error)
{
    switch (m->type) {
    case MESSAGE_DAEMON_INSPECT:
        return serve_inspect(c, m, error);
    case MESSAGE_DAEMON_CAPTURE:
        return serve_capture(c, m, error);
    case MESSAGE_DAEMON_RESTORE:
        return serve_restore(c, m, error);
    case MESSAGE_DAEMON_DISCARD:
        return serve_discard(c, m, error);
    case MESSAGE_DAEMON_STOP:
        c->stop = TRUE;
        return TRUE;
    default:
        return throw_error(error, FILEDUP_ERROR_FATAL, "%s is not for a copier",
                           message_name(m->type));
    }
}

/* What is queued must leave before we do. */
static gboolean
flush_all(Channel *channel, GError **error)
{
    while (channel_has_queue(channel)) {
        if (!channel_flush(channel, error))
            return FALSE;
        struct pollfd p = {.fd = channel_fd(channel), .events = POLLOUT};
        if (channel_has_queue(channel))
            (void) poll(&p, 1, -1);
    }
    return TRUE;
}

int
copier_main(const RoleArgs *args, Channel *channel)
{
    g_autoptr(GError) error = NULL;
    g_autoptr(Channel) owned = channel;
    Copier c = {.channel = channel, .deferred = G_QUEUE_INIT};

    if (!principal_become(args->principal, &error)) {
        g_warning("copier: %s", error->message);
        return 1;
    }
    role_tie_to_parent();
    if (!channel_send(channel, MESSAGE_ROLE_READY, g_variant_new("()"), NULL, 0, &error))
        return 1;
    while (!c.stop && !error) {
        g_autoptr(Message) m = g_queue_pop_head(&c.deferred);
        if (!m)
            m = channel_wait(channel, -1, &error);
        if (m)
            (void) serve(&c, m, &error);
    }
    g_queue_clear_full(&c.deferred, (GDestroyNotify) message_free);
    if (!error)
        (void) flush_all(channel, &error);
    if (!error)
        return 0;
    if (!g_error_matches(error, FILEDUP_ERROR, FILEDUP_ERROR_AGAIN)) /* not just that it closed */
        g_warning("copier: %s", error->message);
    return 1;
}
