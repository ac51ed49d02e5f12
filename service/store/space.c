/* space.c - how much room a store has, and what it gives up to have more
 *
 * A limit of the store counts like the end of the disk: mirrors, history and journal together.
 *
 * FOR SPACE   upkeep_make_space, before an append is refused: a pass of thinning by the policies, but
 *             not again within a minute; compaction, of packs that are mostly alive too; and where the
 *             limit is what is in the way, the oldest points, before their time. A disk that is full
 *             costs nobody a point that his policy would keep.
 *
 * INVARIANTS
 *  (1) A point goes before its time only if what is wanted will have room by that: its share in the
 *      limit can be given back, and the disk has it. What never fits costs no point.
 *  (2) Nothing goes before its time once there is enough. A little more goes at once (AHEAD_BYTES), so
 *      that not each append has a pack written anew.
 */

#include "config.h"

#include <dirent.h>
#include <fcntl.h>
#include <sys/stat.h>

#include "base/error.h"
#include "store/upkeep.h"

#define SHORT_USEC  (60 * G_USEC_PER_SEC) /* between two passes for space */
#define THIN_USEC   (G_USEC_PER_SEC / 4)  /* of one, within an append */
#define WORTH_BYTES 65536 /* dead in a pack: then it is worth compacting for space */
#define AHEAD_BYTES (G_GUINT64_CONSTANT(16) * 1024 * 1024)

static guint64
journal_bytes(const Layout *l)
{
    int fd = openat(l->journal, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    DIR *dir = fd < 0 ? NULL : fdopendir(fd);
    const struct dirent *item;
    guint64 sum = 0;
    struct stat st;

    if (!dir) {
        fd_clear(fd);
        return 0;
    }
    while ((item = readdir(dir)))
        if (fstatat(l->journal, item->d_name, &st, AT_SYMLINK_NOFOLLOW) == 0 && S_ISREG(st.st_mode))
            sum += (guint64) st.st_size;
    closedir(dir);
    return sum;
}

static gboolean
used_bytes(Keeper *k, guint64 *ret_bytes, GError **error)
{
    Upkeep *u = k->upkeep;
    CatalogTotals totals;

    if (u->used_stale) {
        if (!catalog_totals(k->store.catalog, &totals, error))
            return FALSE;
        u->used_bytes = totals.mirror_bytes + totals.history_bytes;
        u->used_stale = FALSE;
    }
    *ret_bytes = u->used_bytes + journal_bytes(k->store.layout);
    return TRUE;
}

gboolean
upkeep_space(Keeper *k, LayoutSpace *ret_space, GError **error)
{
    guint64 limit = k->upkeep->limit_bytes, used;

    if (!layout_space(k->store.layout, ret_space, error))
        return FALSE;
    if (limit == 0)
        return TRUE;
    if (!used_bytes(k, &used, error))
        return FALSE;
    ret_space->free_bytes = MIN(ret_space->free_bytes, limit > used ? limit - used : 0);
    ret_space->total_bytes = MIN(ret_space->total_bytes, limit);
    ret_space->reserve_bytes = MIN(ret_space->reserve_bytes, limit / 20);
    return TRUE;
}

/* By how much the limit is exceeded, what waits to be applied included. */
guint64
space_over_limit(Keeper *k)
{
    g_autoptr(GError) error = NULL;
    guint64 used, limit = k->upkeep->limit_bytes;

    if (limit == 0)
        return 0;
    if (!used_bytes(k, &used, &error)) {
        (void) upkeep_bearable(k, error);
        return 0;
    }
    return used > limit ? used - limit : 0;
}

/* One step. FALSE: there is no more to be had from it. */
gboolean
space_compact(Keeper *k)
{
    g_autoptr(GError) error = NULL;
    gboolean more = FALSE, removed = FALSE;

    if (!compact_step(&k->store, &more, &removed, &error)) {
        if (upkeep_bearable(k, error))
            g_debug("keeper: compaction: %s", error->message);
        return FALSE;
    }
    if (removed) {
        k->changes++;
        upkeep_changed(k);
    }
    return more;
}

/* The same for the pack with the most dead bytes, even if most of it is alive: where space is short,
 * it is worth the trouble. FALSE: nothing came of it. */
static gboolean
compact_for_space(Keeper *k)
{
    g_autoptr(GError) error = NULL;
    g_autoptr(GArray) packs = catalog_packs(k->store.catalog, &error);
    guint64 id = 0, most = WORTH_BYTES;
    gboolean more = FALSE;

    if (k->store.pack_missing) /* compact.c, invariant 4 */
        return FALSE;
    for (guint i = 0; packs && i < packs->len; i++) {
        const CatalogPackUse *p = &g_array_index(packs, CatalogPackUse, i);
        guint64 live = MIN(p->live_bytes, p->saved_bytes);
        gdouble share = p->saved_bytes ? 1 - (gdouble) live / (gdouble) p->saved_bytes : 1;
        guint64 dead = (guint64) (share * (gdouble) p->length_bytes);
        if (p->held || dead < most)
            continue;
        id = p->id;
        most = dead;
    }
    if (!error && id == 0)
        return FALSE;
    if (error || !compact_pack(&k->store, id, &more, &error)) {
        if (upkeep_bearable(k, error))
            g_debug("keeper: compaction: %s", error->message);
        return FALSE;
    }
    k->changes++;
    upkeep_changed(k);
    return TRUE;
}

/* The oldest points, before their time: only for a limit. */
static gboolean
thin_to_limit(Keeper *k, guint64 bytes)
{
    g_autoptr(GError) error = NULL;
    Thinning t = {0};
    gboolean more = FALSE;

    if (k->store.pack_missing || !upkeep_now(k, &t.now)) /* nothing would come back of it */
        return FALSE;
    if (!thin_for_space(&k->store, &t, bytes, &more, &error)) {
        (void) upkeep_bearable(k, error);
        return FALSE;
    }
    if (t.n_points == 0)
        return FALSE;
    g_message("store '%s': over its limit: %" G_GUINT64_FORMAT " of the oldest points given up",
              k->store.layout->path, t.n_points);
    upkeep_thinned(k);
    return TRUE;
}

/* A pass by the policies, until something is given up by it; the next call goes on from there. An
 * append does not wait for all of a long one: upkeep.c has its own. */
static gboolean
thin_some(Keeper *k)
{
    g_autoptr(GError) error = NULL;
    Upkeep *u = k->upkeep;
    Thinning *t = &u->space_pass;
    gint64 end = g_get_monotonic_time() + THIN_USEC;
    gboolean more = TRUE;

    if (g_get_monotonic_time() < u->thinned_usec)
        return FALSE;
    t->n_points = 0;
    if (!upkeep_now(k, &t->now))
        return FALSE;
    while (more && t->n_points == 0 && thin_step(&k->store, t, &more, &error))
        if (g_get_monotonic_time() > end)
            break;
    if (error)
        (void) upkeep_bearable(k, error);
    if (!more || error) {
        t->after = 0;
        u->thinned_usec = g_get_monotonic_time() + SHORT_USEC;
    }
    if (t->n_points > 0)
        upkeep_thinned(k);
    return t->n_points > 0;
}

/* Invariant 1: the limit alone is in the way, and the oldest points are what it takes. *ret_bytes: so
 * much must be given back. */
static gboolean
limit_can_be_met(Keeper *k, guint64 wanted, guint64 *ret_bytes)
{
    g_autoptr(GError) error = NULL;
    LayoutSpace disk, both;
    CatalogTotals totals;
    RetentionNow now;
    guint64 could = 0;

    if (k->upkeep->limit_bytes == 0 || wanted > k->upkeep->limit_bytes ||
        !layout_space(k->store.layout, &disk, NULL) || !upkeep_space(k, &both, NULL) ||
        both.free_bytes >= wanted || disk.free_bytes < wanted || !upkeep_now(k, &now))
        return FALSE;
    *ret_bytes = space_over_limit(k) + wanted - both.free_bytes;
    if (catalog_totals(k->store.catalog, &totals, &error) && totals.history_bytes < *ret_bytes)
        return FALSE; /* whatever may go of it */
    if (!error && thin_could_give(&k->store, &now, *ret_bytes, &could, &error))
        return could >= *ret_bytes;
    (void) upkeep_bearable(k, error);
    return FALSE;
}

/* What was done may have been all it took (invariant 2). */
static gboolean
is_free(Keeper *k, guint64 wanted)
{
    LayoutSpace space;

    return wanted > 0 && upkeep_space(k, &space, NULL) && space.free_bytes >= wanted;
}

gboolean
upkeep_make_space(Keeper *k, guint64 wanted)
{
    Upkeep *u = k->upkeep;
    guint64 bytes = wanted ? wanted : G_MAXUINT64, missing = 0;
    gboolean waiting = g_get_monotonic_time() < u->short_usec;

    if (k->failed || (waiting && bytes >= u->short_bytes))
        return FALSE;
    if (thin_some(k))
        return TRUE;
    if (!k->failed && (space_compact(k) || compact_for_space(k) ||
                       journal_shrink(k->store.journal, 0) || is_free(k, wanted)))
        return TRUE;
    if (!k->failed && limit_can_be_met(k, wanted, &missing) &&
        thin_to_limit(k, MAX(missing, MIN(u->limit_bytes / 20, AHEAD_BYTES))))
        return TRUE;
    if (u->space_pass.after != 0) { /* it may give something yet */
        u->next_usec = MIN(u->next_usec, g_get_monotonic_time());
        return FALSE;
    }
    u->short_usec = g_get_monotonic_time() + SHORT_USEC;
    u->short_bytes = waiting ? MIN(u->short_bytes, bytes) : bytes;
    return FALSE;
}

/* One step: first what costs nobody a point. */
gboolean
space_down_to_limit(Keeper *k)
{
    return journal_shrink(k->store.journal, 1) || compact_for_space(k) ||
           journal_shrink(k->store.journal, 0) || thin_to_limit(k, space_over_limit(k));
}

void
upkeep_limit(Keeper *k, GVariant *body)
{
    Upkeep *u = k->upkeep;

    g_variant_get(body, "(t)", &u->limit_bytes);
    u->short_usec = u->thinned_usec = 0;
    if (space_over_limit(k) > 0)
        u->next_usec = MIN(u->next_usec, g_get_monotonic_time());
    k->space_said_usec = 0; /* what is free is another number now */
}
