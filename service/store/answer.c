/* answer.c - what the keeper tells: from the catalog's rows with what is pending laid over */

#include "config.h"

#include <string.h>

#include "base/error.h"
#include "base/path.h"
#include "store/keeper.h"
#include "store/mirror.h"
#include "store/reader.h"

#define SPACE_EVERY_USEC (60 * G_USEC_PER_SEC)
#define SPACE_LOOK_USEC  G_USEC_PER_SEC

static GVariant *
bytes_variant(const void *data, gsize n)
{
    return g_variant_new_fixed_array(G_VARIANT_TYPE_BYTE, data, n, 1);
}

static GVariant *
gbytes_variant(GBytes *bytes)
{
    gsize n = 0;
    const void *data = bytes ? g_bytes_get_data(bytes, &n) : NULL;

    return bytes_variant(data, n);
}

/* The view of a path, or a failed keeper: an error here is the catalog's. */
static FileView *
view(Keeper *k, const char *path)
{
    g_autoptr(GError) error = NULL;
    FileView *v = store_view(&k->store, path ? path : "", &error);

    if (!v)
        keeper_fail(k, error);
    return v;
}

void
answer_lookup(Keeper *k, GVariant *body)
{
    static const Point nothing;
    g_autoptr(GVariant) bytes = NULL;
    guint64 job;

    g_variant_get(body, "(t@ay)", &job, &bytes);
    g_autoptr(FileView) v = view(k, path_from_variant(bytes));
    if (!v)
        return;
    /* A mirror that somebody has removed is no content: what is said is that there is none. */
    if (v->current && v->current->place == POINT_IN_MIRROR && mirror_is_missing(k->store.layout, v))
        g_clear_pointer(&v->current, point_free);
    const Point *p = v->current ? v->current : &nothing;
    g_autofree char *mirror = v->current ? mirror_path(v->id, v->path) : g_strdup("");
    keeper_send(k, MESSAGE_KEEPER_FOUND,
                g_variant_new("(tu@" FILESTAT_TYPE "@ay@ayux@ayt)", job,
                              v->current ? (guint32) v->state : (guint32) STORED_NOTHING,
                              filestat_to_variant(&p->stat),
                              bytes_variant(p->hash, v->current ? HASH_BYTES : 0),
                              gbytes_variant(p->attributes), (guint32) p->quality, p->time_usec,
                              path_to_variant(mirror), v->newest_seq),
                NULL, 0);
}

static void
send_content(Keeper *k, guint64 job, const FileView *v, const Point *p, const int fds[2],
             const GError *error)
{
    static const Point nothing;
    gboolean current = p && p == v->current;
    const Point *shown = error || !p ? &nothing : p;

    keeper_send(k, MESSAGE_KEEPER_CONTENT,
                g_variant_new("(t@" MESSAGE_ERROR_TYPE "t@" FILESTAT_TYPE "@ayuxtt)", job,
                              message_error_new(error, 0), shown->size_bytes,
                              filestat_to_variant(&shown->stat), gbytes_variant(shown->attributes),
                              (guint32) shown->quality, shown->time_usec,
                              error || current ? G_GUINT64_CONSTANT(0) : shown->id,
                              error || !current ? G_GUINT64_CONSTANT(0) : view_stable_point(v)),
                fds, error ? 0 : 2);
}

static gboolean
open_content(Keeper *k, const FileView *v, const Point *p, int fds[2], GError **error)
{
    if (!p)
        return throw_error(error, FILEDUP_ERROR_NO_ENTRY,
                           v->id ? "there is no such point" : "the store has nothing of it");
    fds[0] = mirror_open(k->store.layout->root, v, p, error);
    if (fds[0] < 0)
        return FALSE;
    g_autoptr(GBytes) sums = store_sums(k->store.catalog, k->store.layout->staged, v, p, error);
    if (!sums)
        return FALSE;
    gsize n;
    const void *data = g_bytes_get_data(sums, &n);
    fds[1] = fd_from_bytes("filedup-sums", data, n, error);
    return fds[1] >= 0;
}

void
answer_content(Keeper *k, GVariant *body)
{
    g_autoptr(GVariant) bytes = NULL;
    g_autoptr(GError) error = NULL;
    guint64 job, point;
    int fds[2] = {-1, -1};

    g_variant_get(body, "(t@ayt)", &job, &bytes, &point);
    const char *path = path_from_variant(bytes);
    /* What waits is applied first, so that the content is a file; without the space for that, it is
     * read from where it is. */
    if (path && !keeper_apply(k, path, NULL) && k->failed)
        return;
    g_autoptr(FileView) v = view(k, path);
    if (!v)
        return;
    Point *p = view_point(v, point);
    (void) open_content(k, v, p, fds, &error);
    send_content(k, job, v, p, fds, error);
    fd_clear(fds[0]);
    fd_clear(fds[1]);
}

void
answer_points(Keeper *k, GVariant *body)
{
    g_autoptr(GVariant) bytes = NULL;
    GVariantBuilder list;
    guint64 job;

    g_variant_get(body, "(t@ay)", &job, &bytes);
    g_autoptr(FileView) v = view(k, path_from_variant(bytes));
    if (!v)
        return;
    g_autoptr(GArray) points = view_points(v);
    g_variant_builder_init(&list, G_VARIANT_TYPE("a(ttxuut)"));
    /* A message has its limit; the newest are what is asked for. */
    for (guint i = 0; i < MIN(points->len, 2000); i++) {
        const StoredPoint *p = &g_array_index(points, StoredPoint, i);
        g_variant_builder_add(&list, "(ttxuut)", p->id, p->sequence, p->time_usec,
                              (guint32) p->cause, (guint32) p->quality, p->size_bytes);
    }
    keeper_send(k, MESSAGE_KEEPER_POINTS, g_variant_new("(ta(ttxuut))", job, &list), NULL, 0);
}

void
answer_space(Keeper *k, gboolean always)
{
    g_autoptr(GError) error = NULL;
    gint64 now = g_get_monotonic_time();
    guint64 files = 0, bytes = 0;
    LayoutSpace space;

    if (!always && now - k->space_looked_usec < SPACE_LOOK_USEC)
        return;
    k->space_looked_usec = now;
    if (!layout_space(k->store.layout, &space, NULL))
        return;
    guint64 moved = space.free_bytes > k->space_said_free ? space.free_bytes - k->space_said_free
                                                          : k->space_said_free - space.free_bytes;
    if (!always && now - k->space_said_usec < SPACE_EVERY_USEC &&
        moved < MAX(space.total_bytes / 20, 1024 * 1024))
        return;
    if (!catalog_totals(k->store.catalog, &files, &bytes, &error)) {
        keeper_fail(k, error);
        return;
    }
    k->space_said_usec = now;
    k->space_said_free = space.free_bytes;
    keeper_send(k, MESSAGE_KEEPER_SPACE,
                g_variant_new("(ttttt)", space.free_bytes, space.total_bytes,
                              pending_bytes(k->store.pending), files, bytes),
                NULL, 0);
}
