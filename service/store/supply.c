/* supply.c - contents that are asked for
 *
 * A content that is a file as it is (store_is_plain) is handed out as that file. Any other is put
 * together by the worker in an unnamed file, from a plan that the loop has made (image.h): so
 * appends go on, of this file too; only its apply waits (keeper_hold).
 *
 * What is handed out never changes. A file in history/ and a staged one are written once. A mirror is
 * replaced by a rename, or, if it is large and the file system cannot clone, updated in place: so it
 * is lent (loan.c), or where that is not possible, copied like the others.
 *
 * The unnamed file is in the store; if that has no room beside all that waits, in $TMPDIR: a full
 * store must not keep anybody from getting his file back, nor that fill a store up.
 */

#include "config.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>

#include "base/error.h"
#include "base/path.h"
#include "store/keeper.h"
#include "store/mirror.h"

#define TRIES 5 /* of a plan from under which something was pulled */

/* What KEEPER_CONTENT says. */
typedef struct Answer {
    guint64 job;
    guint64 size_bytes;
    FileStat stat;
    GBytes *attributes;
    Quality quality;
    gint64 time_usec;
    guint64 point, stable_point;
} Answer;

typedef struct Supply {
    Task task;
    char *path;
    guint64 id; /* of the content: the same whatever happens meanwhile */
    Answer answer;
    guint8 hash[HASH_BYTES];
    Image *image;
    const Layout *layout;
    guint64 spare_bytes; /* of the disk, that are not his */
    guint64 changes;     /* of the keeper, when the plan was made */
    guint tries;

    /* the result */
    Fd fd;
    GBytes *sums;
    GError *error;
} Supply;

static void
answer_of(const FileView *v, const Point *p, guint64 job, Answer *a)
{
    gboolean current = p == v->current;

    g_clear_pointer(&a->attributes, g_bytes_unref);
    *a = (Answer){.job = job,
                  .size_bytes = p->size_bytes,
                  .stat = p->stat,
                  .attributes = p->attributes ? g_bytes_ref(p->attributes) : NULL,
                  .quality = p->quality,
                  .time_usec = p->time_usec,
                  .point = current ? 0 : p->id,
                  .stable_point = current ? view_stable_point(v) : 0};
}

static void
send_error(Keeper *k, guint64 job, const GError *error)
{
    static const FileStat none;

    if (k->failed)
        return;
    keeper_send(k, MESSAGE_KEEPER_CONTENT,
                g_variant_new("(t@" MESSAGE_ERROR_TYPE "t@" FILESTAT_TYPE "@ayuxtt)", job,
                              message_error_new(error, 0), G_GUINT64_CONSTANT(0),
                              filestat_to_variant(&none), keeper_bytes(NULL, 0), 0u,
                              G_GINT64_CONSTANT(0), G_GUINT64_CONSTANT(0), G_GUINT64_CONSTANT(0)),
                NULL, 0);
}

static void
send_content(Keeper *k, const Answer *a, int fd, GBytes *sums)
{
    g_autoptr(GError) error = NULL;
    gsize n;
    const void *data = g_bytes_get_data(sums, &n);
    g_auto(Fd) sums_fd = fd_from_bytes("filedup-sums", data, n, &error);
    int fds[2] = {fd, sums_fd};

    if (sums_fd < 0) {
        send_error(k, a->job, error);
        return;
    }
    keeper_send(k, MESSAGE_KEEPER_CONTENT,
                g_variant_new("(t@" MESSAGE_ERROR_TYPE "t@" FILESTAT_TYPE "@ayuxtt)", a->job,
                              message_error_new(NULL, 0), a->size_bytes,
                              filestat_to_variant(&a->stat), keeper_gbytes(a->attributes),
                              (guint32) a->quality, a->time_usec, a->point, a->stable_point),
                fds, 2);
}

/* ---- as a file that is there ---- */

/* FALSE: it has to be put together, or to be copied. An error: it cannot be had. */
static gboolean
read_plain(Keeper *k, const FileView *v, const Point *p, guint64 job, GError **error)
{
    g_autoptr(GError) local = NULL;
    g_auto(Fd) fd = -1;
    Answer a = {0};

    if (!store_is_plain(v, p))
        return FALSE;
    fd = mirror_open(k->store.layout->root, v, p, &local);
    g_autoptr(GBytes) sums =
        fd < 0 ? NULL : store_sums(k->store.catalog, k->store.layout->staged, v, p, &local);
    if (!sums) {
        g_propagate_error(error, g_steal_pointer(&local));
        return FALSE;
    }
    if (p->size_bytes > MIRROR_COPY_BYTES && p->place != POINT_IN_HISTORY &&
        !loans_add(k->loans, v->path, fd))
        return FALSE;
    answer_of(v, p, job, &a);
    send_content(k, &a, fd, sums);
    g_clear_pointer(&a.attributes, g_bytes_unref);
    return TRUE;
}

/* ---- put together ---- */

/* Where there are no unnamed files (some FUSE file systems, vfat) it has a name for a moment. */
static int
scratch_file(const Layout *l, guint64 job, guint try)
{
    g_autofree char *name = NULL;

    if (try == 0) {
        int fd = openat(l->staged, ".", O_RDWR | O_TMPFILE | O_CLOEXEC, 0600);
        if (fd >= 0)
            return fd;
        name = g_strdup_printf("scratch-%" G_GUINT64_FORMAT, job);
        fd = openat(l->staged, name, O_RDWR | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0600);
        if (fd >= 0)
            (void) unlinkat(l->staged, name, 0);
        return fd;
    }
    int fd = open(g_get_tmp_dir(), O_RDWR | O_TMPFILE | O_CLOEXEC, 0600);
    if (fd >= 0)
        return fd;
    name = g_build_filename(g_get_tmp_dir(), "filedup-point-XXXXXX", NULL);
    fd = g_mkstemp_full(name, O_RDWR | O_CLOEXEC, 0600);
    if (fd >= 0)
        (void) unlink(name);
    return fd;
}

static gboolean
made_progress(guint64 done_bytes, gpointer data)
{
    Task *t = data;

    return task_progress(t, done_bytes - MIN(t->bytes, done_bytes));
}

static gboolean
build(Supply *r, guint try, GError **error)
{
    g_autoptr(Packs) packs = NULL;
    LayoutSpace space;
    g_auto(Fd) fd = scratch_file(r->layout, r->task.job, try);

    if (fd < 0)
        return throw_errno(error, "an unnamed file");
    if (try == 0 && layout_space(r->layout, &space, NULL) &&
        space.free_bytes < space.reserve_bytes + r->spare_bytes + r->answer.size_bytes)
        return throw_error(error, FILEDUP_ERROR_AGAIN, "the store has no room to spare");
    if (image_needs_packs(r->image) &&
        !(packs = packs_open_read(r->layout->history, r->layout->uuid, error)))
        return FALSE;
    if (!image_build(r->image, packs, fd, r->hash, made_progress, &r->task, &r->sums, error))
        return FALSE;
    g_autofree char *name = g_strdup_printf("/proc/self/fd/%d", fd);
    r->fd = open(name, O_RDONLY | O_CLOEXEC);
    return r->fd >= 0 || throw_errno(error, "an unnamed file");
}

/* In the worker. */
static void
supply_run(Task *t)
{
    Supply *r = (Supply *) t;

    for (guint try = 0; try < 2; try++) {
        g_clear_error(&r->error);
        if (g_atomic_int_get(&t->cancelled)) {
            throw_error(&r->error, FILEDUP_ERROR_AGAIN, "not wanted any more");
            return;
        }
        __atomic_store_n(&t->bytes, 0, __ATOMIC_RELAXED);
        /* DAMAGED is said of what was read, and another place to write to is no help. */
        if (build(r, try, &r->error) ||
            g_error_matches(r->error, FILEDUP_ERROR, FILEDUP_ERROR_DAMAGED))
            return;
    }
}

static gboolean supply_plan(Keeper *k, Supply *r, const FileView *v, const Point *p,
                            GError **error);

/* In the loop again. */
static gboolean
supply_done(Task *t, gpointer data)
{
    Supply *r = (Supply *) t;
    Keeper *k = data;

    keeper_release(k, r->path);
    if (k->failed)
        return FALSE;
    if (g_error_matches(r->error, FILEDUP_ERROR, FILEDUP_ERROR_DAMAGED) &&
        r->changes != k->changes && r->tries++ < TRIES) {
        g_autoptr(FileView) v = answer_view(k, r->path, CATALOG_UNDO);
        Point *p = v ? view_point(v, r->id) : NULL;
        g_clear_error(&r->error);
        if (!v)
            return FALSE;
        if (p && supply_plan(k, r, v, p, &r->error))
            return TRUE;
        if (!r->error)
            throw_error(&r->error, FILEDUP_ERROR_NO_ENTRY, "there is no such point any more");
    }
    if (g_error_matches(r->error, FILEDUP_ERROR, FILEDUP_ERROR_DAMAGED) &&
        r->changes != k->changes) { /* nothing is known to be wrong with it */
        g_clear_error(&r->error);
        throw_error(&r->error, FILEDUP_ERROR_AGAIN, "it was changed each time it was read");
    }
    if (r->error)
        send_error(k, r->answer.job, r->error);
    else
        send_content(k, &r->answer, r->fd, r->sums);
    return FALSE;
}

static void
supply_free(Task *t)
{
    Supply *r = (Supply *) t;

    g_clear_pointer(&r->image, image_free);
    g_clear_pointer(&r->sums, g_bytes_unref);
    g_clear_pointer(&r->answer.attributes, g_bytes_unref);
    g_clear_error(&r->error);
    fd_clear(r->fd);
    g_free(r->path);
    g_free(r);
}

/* The path is held when this returns TRUE. */
static gboolean
supply_plan(Keeper *k, Supply *r, const FileView *v, const Point *p, GError **error)
{
    g_clear_pointer(&r->image, image_free);
    r->image = image_of(k->store.layout->root, v, p, error);
    if (!r->image)
        return FALSE;
    memcpy(r->hash, p->hash, HASH_BYTES);
    answer_of(v, p, r->task.job, &r->answer);
    r->changes = k->changes;
    r->spare_bytes = 2 * pending_bytes(k->store.pending) + k->due_bytes;
    keeper_hold(k, r->path);
    return TRUE;
}

static void
read_image(Keeper *k, const FileView *v, const Point *p, guint64 job)
{
    g_autoptr(GError) error = NULL;
    Supply *r = g_new0(Supply, 1);

    *r = (Supply){.task = {.run = supply_run, .done = supply_done, .free = supply_free, .job = job},
                  .path = g_strdup(v->path),
                  .id = p->id,
                  .layout = k->store.layout,
                  .fd = -1};
    if (supply_plan(k, r, v, p, &error)) {
        worker_push(k->worker, &r->task);
        return;
    }
    send_error(k, job, error);
    supply_free(&r->task);
}

/* ---- the question ---- */

static Point *
find_point(const FileView *v, guint64 point, gint64 time_usec, GError **error)
{
    Point *p = point == 0 && time_usec != 0 ? view_point_at(v, time_usec) : view_point(v, point);

    if (!p)
        throw_error(error, FILEDUP_ERROR_NO_ENTRY, "%s",
                    v->id == 0                     ? "the store has nothing of it"
                    : point == 0 && time_usec != 0 ? "at that time it did not exist, or was deleted"
                    : point == 0                   ? "the store has no content of it"
                                                   : "there is no such point");
    return p;
}

void
supply_content(Keeper *k, GVariant *body)
{
    g_autoptr(GVariant) bytes = NULL;
    g_autoptr(GError) error = NULL;
    guint64 job, point;
    gint64 time_usec;

    g_variant_get(body, "(t@aytx)", &job, &bytes, &point, &time_usec);
    const char *path = path_from_variant(bytes);
    /* What waits is applied first, so that the content is a file; without the space for that, and
     * while another reads it, it is read from where it is. */
    if (path && !keeper_apply(k, path, NULL) && k->failed)
        return;
    g_autoptr(FileView) v =
        answer_view(k, path, point || time_usec ? CATALOG_UNDO : CATALOG_NEWEST);
    if (!v)
        return;
    Point *p = find_point(v, point, time_usec, &error);
    if (p && !read_plain(k, v, p, job, &error) && !error)
        read_image(k, v, p, job);
    if (error)
        send_error(k, job, error);
}
