/* checking.c - what the store has of a file, read against its sums
 *
 * A verification is a row of slices, each a task of the worker: some seconds of the mirror, or one
 * point. Between two the file's pending transactions are applied, so that a long verification holds
 * up nothing for long; then it goes on with the sums as they are now. If the content has changed
 * meanwhile and something bad had been found, it begins anew: what was found may not be there now. A
 * file that changes all the time must not make that endless: after some tries nothing is applied to it
 * until its mirror has been read.
 *
 * What is verified is what the catalog says is in mirrors and history. A content that is still in
 * the journal has its own sums there.
 */

#include "config.h"

#include <string.h>

#include "base/error.h"
#include "base/path.h"
#include "base/sums.h"
#include "store/keeper.h"
#include "store/mirror.h"
#include "store/verify.h"

#define SLICE_BYTES (G_GUINT64_CONSTANT(512) * 1024 * 1024)
#define BAD_MAX     2000 /* ranges, and points: a message has its limit */
#define TRIES       5

G_STATIC_ASSERT(SLICE_BYTES % SUM_BLOCK_BYTES == 0);

typedef struct Checking {
    Task task;
    char *path;
    const Layout *layout;
    gboolean points_too;

    /* how far it has come */
    guint64 at; /* in the mirror */
    gboolean mirror_done;
    guint8 hash[HASH_BYTES]; /* of the content, in the slice before */
    GArray *points; /* guint64: still to be read; the last one is next; NULL: not listed yet */
    guint n_points;
    GArray *bad; /* BadRange */
    GArray *bad_points;
    guint tries;    /* of this point */
    guint restarts; /* of the mirror */
    GError *error;

    /* the slice */
    Fd fd;
    GBytes *sums;
    guint64 size_bytes;
    Image *image;
    guint64 point, changes;
    guint8 point_hash[HASH_BYTES];
    GError *slice_error;
} Checking;

static void
clear_slice(Checking *c)
{
    g_clear_pointer(&c->sums, g_bytes_unref);
    g_clear_pointer(&c->image, image_free);
    g_clear_error(&c->slice_error);
    fd_clear(c->fd);
    c->fd = -1;
}

static void
checking_free(Task *t)
{
    Checking *c = (Checking *) t;

    clear_slice(c);
    g_clear_pointer(&c->points, g_array_unref);
    g_array_unref(c->bad);
    g_array_unref(c->bad_points);
    g_clear_error(&c->error);
    g_free(c->path);
    g_free(c);
}

/* ---- in the worker ---- */

static gboolean
read_bytes(guint64 bytes, gpointer data)
{
    return task_progress(data, bytes);
}

typedef struct Done {
    Task *task;
    guint64 before;
} Done;

static gboolean
read_so_far(guint64 done_bytes, gpointer data)
{
    Done *d = data;
    guint64 more = done_bytes - d->before;

    d->before = done_bytes;
    return task_progress(d->task, more);
}

static void
checking_run(Task *t)
{
    Checking *c = (Checking *) t;
    g_autoptr(Packs) packs = NULL;
    Done done = {.task = t};

    if (g_atomic_int_get(&t->cancelled)) {
        throw_error(&c->slice_error, FILEDUP_ERROR_AGAIN, "not wanted any more");
    } else if (!c->image) {
        (void) verify_content(c->fd, c->sums, c->size_bytes, c->at, c->at + SLICE_BYTES, read_bytes,
                              t, c->bad, &c->slice_error);
    } else if (!image_needs_packs(c->image) ||
               (packs = packs_open_read(c->layout->history, c->layout->uuid, &c->slice_error))) {
        (void) image_check(c->image, packs, c->point_hash, read_so_far, &done, &c->slice_error);
    }
}

/* ---- in the loop ---- */

static void
list_points(Checking *c, const FileView *v)
{
    c->points = g_array_new(FALSE, FALSE, sizeof(guint64));
    for (guint i = 0; c->points_too && i < v->points->len; i++)
        g_array_append_val(c->points, ((const Point *) v->points->pdata[i])->id);
}

static gboolean
plan_mirror(Keeper *k, Checking *c, FileView *v, GError **error)
{
    static const guint8 none[HASH_BYTES];
    g_autoptr(GError) local = NULL;
    Point *p = v->current;

    if (!p) {
        c->mirror_done = TRUE;
        return TRUE;
    }
    if (c->at > 0 && c->bad->len > 0 && c->restarts < TRIES &&
        (memcmp(c->hash, p->hash, HASH_BYTES) != 0 || c->changes != k->changes)) {
        c->at = 0;
        c->restarts++;
        g_array_set_size(c->bad, 0);
    }
    c->changes = k->changes;
    memcpy(c->hash, p->hash, HASH_BYTES);
    c->size_bytes = p->size_bytes;
    c->fd = mirror_open_named(k->store.layout->root, v, p, &local);
    if (g_error_matches(local, FILEDUP_ERROR, FILEDUP_ERROR_AGAIN)) {
        g_propagate_error(&c->error, g_steal_pointer(&local));
        return TRUE;
    }
    c->sums = catalog_sums(k->store.catalog, v->id, error);
    if (!c->sums)
        return FALSE;
    if (c->fd < 0 || g_bytes_get_size(c->sums) != sums_length(p->size_bytes) ||
        memcmp(p->hash, none, HASH_BYTES) == 0) { /* gone, or given up (apply.c) */
        g_array_set_size(c->bad, 0);
        verify_bad_add(c->bad, 0, MAX(p->size_bytes, 1));
        c->mirror_done = TRUE;
    } else if (c->at >= p->size_bytes) {
        c->mirror_done = TRUE;
    }
    return TRUE;
}

static void
plan_point(Keeper *k, Checking *c, const FileView *v)
{
    g_autoptr(GError) error = NULL;

    while (!c->image && c->points->len > 0) {
        c->point = g_array_index(c->points, guint64, c->points->len - 1);
        Point *p = view_point(v, c->point);
        if (!p || p == v->current) { /* it is gone */
            g_array_set_size(c->points, c->points->len - 1);
            continue;
        }
        memcpy(c->point_hash, p->hash, HASH_BYTES);
        c->changes = k->changes;
        c->image = image_of(k->store.layout->root, v, p, &error);
        if (c->image)
            return;
        if (g_error_matches(error, FILEDUP_ERROR, FILEDUP_ERROR_AGAIN)) { /* says nothing of it */
            c->error = g_steal_pointer(&error);
            return;
        }
        g_array_set_size(c->points, c->points->len - 1);
        c->n_points++;
        g_array_append_val(c->bad_points, c->point);
        g_clear_error(&error);
    }
}

/* FALSE: there is nothing more to do, or c->error says why not. */
static gboolean
plan(Keeper *k, Checking *c)
{
    g_autoptr(GError) local = NULL;

    gboolean wait = !c->mirror_done && c->restarts >= TRIES;
    clear_slice(c);
    /* If it cannot be applied, then as it is, unless it may be between two contents. */
    if ((wait || !keeper_apply(k, c->path, &local)) &&
        (k->failed || g_hash_table_size(k->store.mixed) > 0 || k->store.unfinished)) {
        c->error = g_steal_pointer(&local);
        return c->error != NULL ? FALSE
                                : throw_error(&c->error, FILEDUP_ERROR_AGAIN,
                                              "what is being applied cannot be finished for now");
    }
    g_autoptr(FileView) v = catalog_load(k->store.catalog, c->path, CATALOG_UNDO, &c->error);
    if (!v) {
        keeper_fail(k, c->error);
        return FALSE;
    }
    if (v->id == 0)
        return throw_error(&c->error, FILEDUP_ERROR_NO_ENTRY, "the store has nothing of it");
    if (!c->points)
        list_points(c, v);
    if (!c->mirror_done && !plan_mirror(k, c, v, &c->error))
        keeper_fail(k, c->error);
    if (c->error)
        return FALSE;
    if (c->mirror_done)
        plan_point(k, c, v);
    if (c->error || (c->mirror_done && !c->image))
        return FALSE;
    keeper_hold(k, c->path);
    return TRUE;
}

static void
answer(Keeper *k, Checking *c)
{
    GVariantBuilder bad, points;

    if (k->failed)
        return;
    g_variant_builder_init(&bad, G_VARIANT_TYPE("a(tt)"));
    for (guint i = 0; !c->error && i < c->bad->len; i++) {
        BadRange r = g_array_index(c->bad, BadRange, i);
        const BadRange *last = &g_array_index(c->bad, BadRange, c->bad->len - 1);
        if (i == BAD_MAX) { /* what there is no room for is one range */
            r.length = last->offset + last->length - r.offset;
            g_array_set_size(c->bad, i + 1);
        }
        g_variant_builder_add(&bad, "(tt)", r.offset, r.length);
    }
    g_variant_builder_init(&points, G_VARIANT_TYPE("at"));
    for (guint i = 0; !c->error && i < MIN(c->bad_points->len, BAD_MAX); i++)
        g_variant_builder_add(&points, "t", g_array_index(c->bad_points, guint64, i));
    keeper_send(k, MESSAGE_KEEPER_VERIFIED,
                g_variant_new("(t@" MESSAGE_ERROR_TYPE "ta(tt)uat)", c->task.job,
                              message_error_new(c->error, 0), c->task.bytes, &bad, c->n_points,
                              &points),
                NULL, 0);
}

/* The point was read. FALSE: it has to be read again. */
static gboolean
take_point(Keeper *k, Checking *c)
{
    if (c->slice_error && c->changes != k->changes && c->tries++ < TRIES)
        return FALSE;
    if (c->slice_error)
        g_array_append_val(c->bad_points, c->point);
    g_array_set_size(c->points, c->points->len - 1);
    c->n_points++;
    c->tries = 0;
    return TRUE;
}

static gboolean
checking_done(Task *t, gpointer data)
{
    Checking *c = (Checking *) t;
    Keeper *k = data;

    keeper_release(k, c->path);
    if (k->failed)
        return FALSE;
    if (g_error_matches(c->slice_error, FILEDUP_ERROR, FILEDUP_ERROR_AGAIN) ||
        (c->slice_error && !c->image)) {
        c->error = g_steal_pointer(&c->slice_error);
    } else if (c->image) {
        (void) take_point(k, c);
    } else {
        c->at += SLICE_BYTES;
    }
    if (!c->error && plan(k, c))
        return TRUE;
    answer(k, c);
    return FALSE;
}

void
checking_verify(Keeper *k, GVariant *body)
{
    g_autoptr(GVariant) bytes = NULL;
    Checking *c = g_new0(Checking, 1);
    gboolean points;
    guint64 job;

    g_variant_get(body, "(t@ayb)", &job, &bytes, &points);
    const char *path = path_from_variant(bytes);
    *c = (Checking){
        .task = {.run = checking_run, .done = checking_done, .free = checking_free, .job = job},
        .path = g_strdup(path ? path : ""),
        .layout = k->store.layout,
        .points_too = points,
        .bad = verify_bad_new(),
        .bad_points = g_array_new(FALSE, FALSE, sizeof(guint64)),
        .fd = -1};
    if (plan(k, c)) {
        worker_push(k->worker, &c->task);
        return;
    }
    answer(k, c);
    checking_free(&c->task);
}
