/* intake.c - what the keeper takes in: captures and staged files
 *
 * INVARIANTS
 *  (1) Nothing is journalled that has not been checked: content against its sums, sums against the
 *      hash, all in private memory, from files that nobody can change any more.
 *  (2) A staged file, its sums and their folder are durable before a record names them.
 *  (3) What is accepted can be completed: its mirror has room beside all that waits, above the
 *      reserve (layout.h). What is not accepted leaves no trace, and the keeper goes on.
 */

#include "config.h"

#include <errno.h>
#include <string.h>

#include "base/error.h"
#include "base/path.h"
#include "base/sums.h"
#include "store/keeper.h"
#include "store/mirror.h"
#include "store/staged.h"

#define IDS_MAX        16384
#define SUMS_MAX_BYTES ((gsize) 1 << 30)

/* What DAEMON_APPEND brought, until it is a transaction. */
typedef struct Intake {
    guint64 job;
    Capture capture;
    GBytes *content;
    GBytes *sums;
    GArray *extents;
    int errnum;
} Intake;

/* A staged file that was handed out, and not appended. */
typedef struct Staged {
    guint64 size_bytes;
    int own; /* staged_create */
} Staged;

static void
staged_free(gpointer data)
{
    Staged *staged = data;

    fd_clear(staged->own);
    g_free(staged);
}

GHashTable *
intake_staged_new(void)
{
    return g_hash_table_new_full(g_int64_hash, g_int64_equal, g_free, staged_free);
}

static void
intake_clear(Intake *in)
{
    capture_clear(&in->capture);
    g_clear_pointer(&in->content, g_bytes_unref);
    g_clear_pointer(&in->sums, g_bytes_unref);
    g_clear_pointer(&in->extents, g_array_unref);
}

G_DEFINE_AUTO_CLEANUP_CLEAR_FUNC(Intake, intake_clear)

/* ---- space ---- */

static guint64
staged_bytes(Keeper *k)
{
    GHashTableIter iter;
    gpointer staged;
    guint64 sum = 0;

    g_hash_table_iter_init(&iter, k->staged);
    while (g_hash_table_iter_next(&iter, NULL, &staged))
        sum += ((const Staged *) staged)->size_bytes;
    return sum;
}

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

/* Invariant 3. A deletion or attributes (`small`) need rows of the catalog only: they may dip into
 * the reserve. */
static gboolean
check_space(Keeper *k, guint64 bytes, gboolean small, int *ret_errno, GError **error)
{
    LayoutSpace space;

    for (;;) {
        if (!layout_space(k->store.layout, &space, error))
            return FALSE;
        guint64 reserve = small ? space.reserve_bytes / 4 : space.reserve_bytes;
        if (space.free_bytes >= reserve + pending_bytes(k->store.pending) + bytes)
            return TRUE;
        /* What waits gives back space when it is applied: old mirrors, superseded contents. And so
         * do segments that nobody needs. */
        if (journal_shrink(k->store.journal, 1))
            continue;
        if (pending_count(k->store.pending) == 0 || !keeper_commit(k) ||
            !keeper_apply_oldest(k, NULL))
            return throw_full(k, space.free_bytes, ret_errno, error);
    }
}

/* ---- staged files ---- */

void
intake_stage(Keeper *k, GVariant *body)
{
    g_autoptr(GError) error = NULL;
    guint64 job, size;
    int errnum = 0;
    g_auto(Fd) fd = -1;

    g_variant_get(body, "(tt)", &job, &size);
    guint64 number = k->next_staged;
    int own = -1;
    if (check_space(k, size + staged_bytes(k), FALSE, &errnum, &error))
        fd = staged_create(k->store.layout->staged, number, &own, &error);
    if (fd >= 0) {
        guint64 *key = g_memdup2(&number, sizeof number);
        Staged staged = {.size_bytes = size, .own = own};
        g_hash_table_insert(k->staged, key, g_memdup2(&staged, sizeof staged));
        k->next_staged++;
    }
    keeper_send(k, MESSAGE_KEEPER_STAGED,
                g_variant_new("(t@" MESSAGE_ERROR_TYPE "t)", job, message_error_new(error, errnum),
                              fd >= 0 ? number : G_GUINT64_CONSTANT(0)),
                &fd, fd >= 0 ? 1 : 0);
}

void
intake_unstage(Keeper *k, GVariant *body)
{
    guint64 number;

    g_variant_get(body, "(t)", &number);
    if (g_hash_table_remove(k->staged, &number)) /* only what was handed out, and not appended */
        staged_remove(k->store.layout->staged, number);
}

/* ---- checking what came ---- */

static gboolean
parse(const Message *m, Intake *in, GError **error)
{
    g_autoptr(GVariant) path = NULL, stat = NULL, hash = NULL, attributes = NULL;
    guint32 principal, kind, quality, cause;
    Capture *c = &in->capture;
    gsize n_hash;

    g_variant_get(m->body, "(t@ayuu@" FILESTAT_TYPE "@ay@ayuut)", &in->job, &path, &principal,
                  &kind, &stat, &hash, &attributes, &quality, &cause, &c->staged);
    const char *bytes = path_from_variant(path);
    if (!bytes || !path_is_canonical(bytes) || bytes[1] == '\0')
        return throw_error(error, FILEDUP_ERROR_REFUSED, "not the path of a file");
    if (kind > APPEND_DELETE || quality > QUALITY_EXACT || cause > CAUSE_DELETED)
        return throw_error(error, FILEDUP_ERROR_REFUSED, "a capture of an unknown kind");
    c->path = g_strdup(bytes);
    c->principal = principal;
    c->kind = (AppendKind) kind;
    c->quality = (Quality) quality;
    c->cause = (PointCause) cause;
    c->attributes = g_variant_get_data_as_bytes(attributes);
    filestat_from_variant(stat, &c->stat);
    const void *hash_bytes = g_variant_get_fixed_array(hash, &n_hash, 1);
    if (n_hash == HASH_BYTES)
        memcpy(c->hash, hash_bytes, HASH_BYTES);
    else if (n_hash != 0 || capture_has_content(c))
        return throw_error(error, FILEDUP_ERROR_REFUSED, "a hash of %" G_GSIZE_FORMAT " bytes",
                           n_hash);
    if (capture_has_content(c))
        c->size_bytes = c->stat.size_bytes;
    return TRUE;
}

static gboolean
take_sums(Message *m, Intake *in, GError **error)
{
    const Capture *c = &in->capture;
    g_auto(Fd) fd = message_take_fd(m, 0);
    guint8 hash[HASH_BYTES];

    if (fd < 0 && c->size_bytes > 0)
        return throw_error(error, FILEDUP_ERROR_REFUSED, "a content without sums");
    in->sums = fd < 0 ? g_bytes_new(NULL, 0) : fd_to_bytes(fd, SUMS_MAX_BYTES, error);
    if (!in->sums)
        return FALSE;
    if (g_bytes_get_size(in->sums) != sums_length(c->size_bytes))
        return throw_error(error, FILEDUP_ERROR_REFUSED, "sums of another size than the content's");
    sums_hash(in->sums, c->size_bytes, hash);
    if (memcmp(hash, c->hash, HASH_BYTES) != 0)
        return throw_error(error, FILEDUP_ERROR_REFUSED, "a hash that is not the sums'");
    return TRUE;
}

/* Where the memory file has pages; what lies between is a hole. */
static GArray *
find_extents(int fd, guint64 size_bytes)
{
    GArray *extents = g_array_new(FALSE, FALSE, sizeof(Extent));
    guint64 at = 0;

    while (at < size_bytes) {
        off_t data = lseek(fd, (off_t) at, SEEK_DATA);
        guint64 start = data < 0 ? (errno == ENXIO ? size_bytes : at) : (guint64) data;
        start = MIN(start, size_bytes);
        if (start > at) {
            Extent hole = {.offset = at, .length = start - at, .hole = TRUE};
            g_array_append_val(extents, hole);
        }
        if (start == size_bytes)
            break;
        off_t hole = lseek(fd, (off_t) start, SEEK_HOLE);
        guint64 end = hole < 0 ? size_bytes : MIN((guint64) hole, size_bytes);
        Extent piece = {.offset = start, .length = end - start};
        g_array_append_val(extents, piece);
        at = end;
    }
    return extents;
}

static gboolean
take_content(Message *m, Intake *in, GError **error)
{
    g_auto(Fd) fd = message_take_fd(m, 1);

    if (fd < 0)
        return throw_error(error, FILEDUP_ERROR_REFUSED, "a capture without its content");
    in->content = fd_to_bytes(fd, CAPTURE_BUFFER_BYTES, error);
    if (!in->content)
        return FALSE;
    gsize n = g_bytes_get_size(in->content);
    if (n != in->capture.size_bytes)
        return throw_error(error, FILEDUP_ERROR_REFUSED,
                           "a content of %" G_GSIZE_FORMAT
                           " bytes for a file of %" G_GUINT64_FORMAT,
                           n, in->capture.size_bytes);
    g_autoptr(GBytes) sums = point_sums(g_bytes_get_data(in->content, NULL), n);
    if (!g_bytes_equal(sums, in->sums))
        return throw_error(error, FILEDUP_ERROR_REFUSED, "a content that has not the sums given");
    in->extents = find_extents(fd, n);
    return TRUE;
}

static gboolean
take_staged(Keeper *k, Intake *in, GError **error)
{
    Capture *c = &in->capture;

    const Staged *staged = g_hash_table_lookup(k->staged, &c->staged);
    if (!staged)
        return throw_error(error, FILEDUP_ERROR_REFUSED, "no staged file %" G_GUINT64_FORMAT,
                           c->staged);
    return staged_finish(k->store.layout->staged, staged->own, c->staged, c->size_bytes, in->sums,
                         &c->staged_ino, error); /* invariant 2 */
}

/* Attributes and deletions concern a content that the store has. */
static gboolean
check_known(Keeper *k, const Capture *c, GError **error)
{
    static const guint8 none[HASH_BYTES];
    g_autoptr(FileView) v = store_view(&k->store, c->path, error);

    if (!v)
        return FALSE;
    if (!v->current)
        return throw_error(error, FILEDUP_ERROR_NO_ENTRY, "the store has nothing of it");
    gboolean bare = v->current->place == POINT_IN_MIRROR &&
                    (memcmp(v->current->hash, none, HASH_BYTES) == 0 || /* given up (apply.c) */
                     mirror_is_missing(k->store.layout, v));
    if (c->kind == APPEND_ATTRIBUTES && bare)
        return throw_error(error, FILEDUP_ERROR_DAMAGED,
                           "its content is not in the store any more");
    if (c->kind == APPEND_ATTRIBUTES && memcmp(c->hash, none, HASH_BYTES) != 0 &&
        memcmp(c->hash, v->current->hash, HASH_BYTES) != 0)
        return throw_error(error, FILEDUP_ERROR_REFUSED, "attributes of another content");
    if (c->kind == APPEND_ATTRIBUTES && c->stat.size_bytes != v->current->size_bytes)
        return throw_error(error, FILEDUP_ERROR_REFUSED, "attributes of a content of another size");
    return TRUE;
}

static gboolean
take(Keeper *k, Message *m, Intake *in, GError **error)
{
    Capture *c = &in->capture;

    if (!capture_has_content(c))
        return check_known(k, c, error);
    if (!take_sums(m, in, error))
        return FALSE;
    return c->kind == APPEND_CONTENT ? take_content(m, in, error) : take_staged(k, in, error);
}

/* ---- journalling ---- */

/* An id stays with its path, so it can be remembered: the catalog is kept out of an append's way.
 */
static gboolean
file_id(Keeper *k, const char *path, guint64 *ret_id, GError **error)
{
    const guint64 *known = g_hash_table_lookup(k->ids, path);

    if (known) {
        *ret_id = *known;
        return TRUE;
    }
    g_autoptr(FileView) v = store_view(&k->store, path, error);
    if (!v)
        return FALSE;
    *ret_id = v->id ? v->id : k->next_file++;
    if (g_hash_table_size(k->ids) >= IDS_MAX)
        g_hash_table_remove_all(k->ids);
    g_hash_table_insert(k->ids, g_strdup(path), g_memdup2(ret_id, sizeof *ret_id));
    return TRUE;
}

/* Files that are stuck hold the journal's segments: what waits of them is moved together. */
static gboolean
compact(Keeper *k)
{
    g_autoptr(GError) error = NULL;
    JournalRoom room = journal_compact(k->store.journal, k->store.pending, &error);

    if (room == JOURNAL_FULL)
        return FALSE;
    if (room == JOURNAL_ROOM &&
        catalog_set_open(k->store.catalog, journal_incarnation(k->store.journal), &error) &&
        (!k->lost || catalog_set_lost(k->store.catalog, &error)))
        return TRUE;
    if (room == JOURNAL_ROOM && g_error_matches(error, FILEDUP_ERROR, FILEDUP_ERROR_AGAIN))
        return TRUE; /* without space: the catalog may be behind */
    keeper_fail(k, error);
    return FALSE;
}

static gboolean
make_room(Keeper *k, Intake *in, GError **error)
{
    guint64 need = journal_need(&in->capture, in->extents);
    guint64 space = in->capture.kind == APPEND_CONTENT ? in->capture.size_bytes : 0;
    gboolean compacted = FALSE;
    LayoutSpace now;

    if (!check_space(k, space, !capture_has_content(&in->capture), &in->errnum, error))
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
            if (keeper_apply_oldest(k, NULL))
                continue;
            if (!k->failed && !compacted && (compacted = compact(k)))
                continue;
            if (k->failed)
                return FALSE;
        }
        if (!layout_space(k->store.layout, &now, error))
            return FALSE;
        return throw_full(k, now.free_bytes, &in->errnum, error);
    }
}

static gboolean
append(Keeper *k, Message *m, Intake *in, GError **error)
{
    if (!parse(m, in, error) || !take(k, m, in, error) || !make_room(k, in, error))
        return FALSE;
    if (!file_id(k, in->capture.path, &in->capture.file, error))
        return FALSE;
    guint64 staged = in->capture.kind == APPEND_STAGED ? in->capture.staged : 0;
    const guint8 *content = in->content ? g_bytes_get_data(in->content, NULL) : NULL;
    Transaction *t = journal_write(k->store.journal, &in->capture, content, in->extents, error);
    if (!t) {
        keeper_fail(k, error ? *error : NULL);
        return FALSE;
    }
    if (staged)
        g_hash_table_remove(k->staged, &staged); /* the journal's now */
    Unacked u = {.job = in->job, .seq = t->seq, .time_usec = t->time_usec};
    g_array_append_val(k->unacked, u);
    k->unacked_bytes += t->bytes;
    k->last_append_usec = g_get_monotonic_time();
    if (pending_count(k->store.pending) == 0)
        k->first_pending_usec = k->last_append_usec;
    pending_add(k->store.pending, t);
    return TRUE;
}

void
intake_append(Keeper *k, Message *m)
{
    g_auto(Intake) in = {0};
    g_autoptr(GError) error = NULL;

    if (append(k, m, &in, &error) || k->failed) /* failed: no answer is the answer */
        return;
    if (!error) /* an earlier commit failed on the way */
        return;
    keeper_send(k, MESSAGE_KEEPER_DURABLE,
                g_variant_new("(t@" MESSAGE_ERROR_TYPE "txx)", in.job,
                              message_error_new(error, in.errnum), G_GUINT64_CONSTANT(0),
                              G_GINT64_CONSTANT(0), G_GINT64_CONSTANT(0)),
                NULL, 0);
}
