/* room.c - what is accepted can be completed
 *
 * In the journal there is room for the transaction; in the store for what its apply will need, beside
 * all that waits and above the reserve (layout.h). Before anything is refused for want of room, what
 * waits is applied, the journal gives back what it does not use, and upkeep.c gives up what it may.
 *
 * DUE        What apply will save of old contents can be more than what was captured: the tail that a
 *            range cut off, what a staged file replaces. As long as such a transaction waits, that
 *            room is nobody else's. (What a content in the journal replaces is at most as large as
 *            what the reserve and the file itself, applied alone, give back.)
 */

#include "config.h"

#include <errno.h>

#include "base/error.h"
#include "base/path.h"
#include "base/sums.h"
#include "store/intake.h"
#include "store/mirror.h"

static gboolean
throw_full(Keeper *k, guint64 free_bytes, int *ret_errno, GError **error)
{
    g_autofree char *text = path_escape(k->store.layout->path);
    g_autofree char *left = g_format_size_full(free_bytes, G_FORMAT_SIZE_IEC_UNITS);

    *ret_errno = ENOSPC;
    return throw_error(error, FILEDUP_ERROR_AGAIN,
                       "store '%s' is full: %s (%" G_GUINT64_FORMAT " bytes) free", text, left,
                       free_bytes);
}

void
room_add_due(Keeper *k, const char *path, guint64 bytes)
{
    guint64 *due = bytes > 0 ? g_hash_table_lookup(k->dues, path) : NULL;

    if (due)
        *due += bytes;
    else if (bytes > 0)
        g_hash_table_insert(k->dues, g_strdup(path), g_memdup2(&bytes, sizeof bytes));
    k->due_bytes += bytes;
}

void
keeper_end_due(Keeper *k, const char *path)
{
    const guint64 *due = g_hash_table_lookup(k->dues, path);

    if (!due)
        return;
    k->due_bytes -= *due;
    g_hash_table_remove(k->dues, path);
}

/* A deletion, attributes or a mark (`small`) need rows of the catalog only: they may dip
 * into the reserve. */
gboolean
room_for_bytes(Keeper *k, guint64 bytes, gboolean small, int *ret_errno, GError **error)
{
    LayoutSpace space;

    for (;;) {
        if (!upkeep_space(k, &space, error))
            return FALSE;
        guint64 reserve = small ? space.reserve_bytes / 4 : space.reserve_bytes;
        /* Twice: what is applied takes room as it is, and as what it supersedes. */
        guint64 wanted = reserve + 2 * pending_bytes(k->store.pending) + k->due_bytes + bytes;
        if (space.free_bytes >= wanted)
            return TRUE;
        /* What waits may give back space when it is applied: superseded contents that are not kept.
         * And so do segments that nobody needs, and points that the policies give up. */
        if (journal_shrink(k->store.journal, 1))
            continue;
        if (pending_oldest_but(k->store.pending, k->held) && keeper_apply_oldest(k, NULL))
            continue;
        if (k->failed || !upkeep_make_space(k, wanted))
            return throw_full(k, space.free_bytes, ret_errno, error);
    }
}

/* Files that are stuck hold the journal's segments: what waits of them is moved together. */
static gboolean
compact(Keeper *k)
{
    g_autoptr(GError) error = NULL;
    JournalRoom room = store_compact_journal(&k->store, &error);

    if (room == JOURNAL_FULL)
        return FALSE;
    k->changes++;
    if (room == JOURNAL_ROOM)
        return TRUE;
    keeper_fail(k, error);
    return FALSE;
}

/* What a staged content leaves of the one before: undo, or (half of it changed) the file as it is. */
static guint64
undo_of_staged(Keeper *k, const Intake *in)
{
    const Capture *c = &in->capture;
    g_auto(Newest) newest = {0};
    guint64 sum = 0;

    if (c->cause == CAUSE_BEFORE_RESTORE || !intake_newest(k, c->path, &newest, NULL))
        return 0;
    for (guint64 at = 0; at < newest.size_bytes; at += SUM_BLOCK_BYTES) {
        guint64 b = at / SUM_BLOCK_BYTES;
        if (at >= c->size_bytes || sums_get(newest.sums, b) != sums_get(in->sums, b))
            sum += MIN(newest.size_bytes - at, SUM_BLOCK_BYTES);
    }
    return sum < newest.size_bytes / 2 || newest.size_bytes <= MIRROR_COPY_BYTES ? sum : 0;
}

static guint64
due_of(Keeper *k, const Intake *in)
{
    if (in->capture.kind == APPEND_STAGED)
        return undo_of_staged(k, in);
    if (in->capture.kind == APPEND_RANGES && in->base_bytes > in->capture.size_bytes)
        return in->base_bytes - in->capture.size_bytes;
    return 0;
}

/* What the store grows by, once this is applied, beside what is due: a mirror as large as it is, and as
 * undo what it changed. (What a whole content replaces gives its own space back, or is kept where it
 * is.) */
static guint64
space_of(const Intake *in)
{
    guint64 sum = 0;

    if (in->capture.kind == APPEND_CONTENT)
        return in->capture.size_bytes;
    /* A staged file has its own room already. */
    for (guint i = 0; in->extents && i < in->extents->len; i++)
        sum += 2 * g_array_index(in->extents, Extent, i).length; /* new, and old */
    return sum;
}

static gboolean
make_room(Keeper *k, Intake *in, GError **error)
{
    guint64 need = journal_need(&in->capture, in->extents);
    guint64 space = space_of(in) + (in->due_bytes = due_of(k, in));
    gboolean compacted = FALSE;
    LayoutSpace now;

    if (!room_for_bytes(k, space, !capture_has_content(&in->capture), &in->errnum, error))
        return FALSE;
    for (;;) {
        g_autoptr(GError) local = NULL;
        JournalRoom room = journal_make_room(k->store.journal, need, &local);
        if (room == JOURNAL_ROOM)
            return TRUE;
        if (room == JOURNAL_ERROR) {
            keeper_fail(k, local);
            g_propagate_error(error, g_steal_pointer(&local));
            return FALSE;
        }
        if (pending_count(k->store.pending) > 0) {
            if (!keeper_commit(k))
                return FALSE;
            if (keeper_apply_oldest(k, NULL) || keeper_apply_read(k))
                continue;
            if (!k->failed && !compacted && (compacted = compact(k)))
                continue;
            if (k->failed)
                return FALSE;
        }
        if (local && upkeep_make_space(k, 0)) /* there was none for a segment */
            continue;
        if (k->failed || !layout_space(k->store.layout, &now, error))
            return FALSE;
        return throw_full(k, now.free_bytes, &in->errnum, error);
    }
}

/* Making room may apply what the ranges build upon; should that turn out to be lost, so are they. */
gboolean
room_for(Keeper *k, Intake *in, GError **error)
{
    gboolean lost = k->lost;

    if (!make_room(k, in, error))
        return FALSE;
    if (in->capture.kind == APPEND_RANGES && k->lost && !lost)
        return throw_error(error, FILEDUP_ERROR_DAMAGED,
                           "its content is not in the store any more");
    return TRUE;
}
