/* answer.c - what the keeper tells: from the catalog's rows with what is pending laid over */

#include "config.h"

#include "base/error.h"
#include "base/path.h"
#include "store/keeper.h"
#include "store/mirror.h"

#define SPACE_EVERY_USEC (60 * G_USEC_PER_SEC)
#define SPACE_LOOK_USEC  G_USEC_PER_SEC

FileView *
answer_view(Keeper *k, const char *path, CatalogLoad how)
{
    g_autoptr(GError) error = NULL;
    FileView *v = store_view(&k->store, path ? path : "", how, &error);

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
    g_autoptr(FileView) v = answer_view(k, path_from_variant(bytes), CATALOG_NEWEST);
    if (!v)
        return;
    /* A mirror that somebody has removed is no content: what is said is that there is none. */
    if (v->current && v->current->place == POINT_IN_MIRROR && mirror_is_missing(k->store.layout, v))
        g_clear_pointer(&v->current, point_free);
    const Point *p = v->current ? v->current : &nothing;
    g_autofree char *mirror = v->current ? mirror_path(v->id, v->path) : g_strdup("");
    keeper_send(k, MESSAGE_KEEPER_FOUND,
                g_variant_new("(tu@" FILESTAT_TYPE "@ay@ayux@aytuxt)", job,
                              v->current ? (guint32) v->state : (guint32) STORED_NOTHING,
                              filestat_to_variant(&p->stat),
                              keeper_bytes(p->hash, v->current ? HASH_BYTES : 0),
                              keeper_gbytes(p->attributes), (guint32) p->quality, p->time_usec,
                              path_to_variant(mirror), v->newest_seq, v->suspicion,
                              v->suspicion ? v->suspicion_since_usec : 0,
                              v->suspicion ? v->suspicion_point : 0),
                NULL, 0);
}

void
answer_sums(Keeper *k, GVariant *body)
{
    g_autoptr(GVariant) bytes = NULL;
    g_autoptr(GError) error = NULL;
    g_auto(Newest) newest = {0};
    g_auto(Fd) fd = -1;
    guint64 job;

    g_variant_get(body, "(t@ay)", &job, &bytes);
    const char *path = path_from_variant(bytes);
    if (intake_newest(k, path ? path : "", &newest, &error)) {
        gsize n;
        const void *data = g_bytes_get_data(newest.sums, &n);
        fd = fd_from_bytes("filedup-sums", data, n, &error);
    }
    if (k->failed)
        return;
    keeper_send(k, MESSAGE_KEEPER_SUMS,
                g_variant_new("(t@" MESSAGE_ERROR_TYPE "@ayt)", job, message_error_new(error, 0),
                              keeper_bytes(newest.hash, error ? 0 : HASH_BYTES),
                              error ? 0 : newest.size_bytes),
                &fd, fd >= 0 ? 1 : 0);
}

static void
add_point(GVariantBuilder *list, const FileView *v, const Point *p)
{
    gboolean newest = p == v->current;
    PointCause cause = newest && v->state == STORED_DELETED ? CAUSE_DELETED : p->cause;

    g_variant_builder_add(list, "(ttxuuttsuxb)", p->id, p->id, p->time_usec, (guint32) cause,
                          (guint32) p->quality, p->size_bytes, p->changed_bytes,
                          p->name ? p->name : "", p->kept, p->deleted_usec, newest);
}

void
answer_points(Keeper *k, GVariant *body)
{
    g_autoptr(GVariant) bytes = NULL;
    g_autoptr(GError) error = NULL;
    GVariantBuilder builder;
    guint32 max;
    guint64 job;

    g_variant_get(body, "(t@ayu)", &job, &bytes, &max);
    g_autoptr(FileView) v = answer_view(k, path_from_variant(bytes), CATALOG_POINTS);
    if (!v)
        return;
    g_autoptr(GPtrArray) points = view_points(v);
    guint n = max ? MIN(points->len, max) : points->len;
    g_variant_builder_init(&builder, G_VARIANT_TYPE(POINTS_TYPE));
    for (guint i = 0; i < n; i++)
        add_point(&builder, v, points->pdata[i]);
    g_autoptr(GVariant) list = g_variant_ref_sink(g_variant_builder_end(&builder));
    g_auto(Fd) fd =
        fd_from_bytes("filedup-points", g_variant_get_data(list), g_variant_get_size(list), &error);
    keeper_send(k, MESSAGE_KEEPER_POINTS,
                g_variant_new("(t@" MESSAGE_ERROR_TYPE "u)", job, message_error_new(error, 0),
                              error ? 0 : n),
                &fd, fd >= 0 ? 1 : 0);
}

void
answer_space(Keeper *k, gboolean always)
{
    g_autoptr(GError) error = NULL;
    gint64 now = g_get_monotonic_time();
    CatalogTotals totals = {0};
    LayoutSpace space;

    if (!always && now - k->space_looked_usec < SPACE_LOOK_USEC)
        return;
    k->space_looked_usec = now;
    if (!upkeep_space(k, &space, NULL))
        return;
    guint64 moved = space.free_bytes > k->space_said_free ? space.free_bytes - k->space_said_free
                                                          : k->space_said_free - space.free_bytes;
    if (!always && now - k->space_said_usec < SPACE_EVERY_USEC &&
        moved < MAX(space.total_bytes / 20, 1024 * 1024))
        return;
    if (!catalog_totals(k->store.catalog, &totals, &error)) {
        keeper_fail(k, error);
        return;
    }
    k->space_said_usec = now;
    k->space_said_free = space.free_bytes;
    keeper_send(k, MESSAGE_KEEPER_SPACE,
                g_variant_new("(ttttttt)", space.free_bytes, space.total_bytes,
                              pending_bytes(k->store.pending), totals.files, totals.mirror_bytes,
                              totals.history_bytes, totals.points),
                NULL, 0);
}
