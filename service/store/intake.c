/* intake.c - what the keeper takes in: captures, marks and staged files
 *
 * INVARIANTS
 *  (1) Nothing is journalled that has not been checked: content against its sums, sums against the
 *      hash, all in private memory, from files that nobody can change any more.
 *  (2) A staged file, its sums and their folder are durable before a record names them.
 *  (3) What is accepted can be completed: its mirror and what it supersedes have room beside all
 *      that waits, above the reserve (layout.h). What is not accepted leaves no trace, and the keeper
 *      goes on.
 *  (4) Ranges are accepted for one content only, the newest there is, told by its hash; and base and
 *      ranges together have been shown to be the content announced (patch.c).
 *  (5) A suspicion is part of the transaction that raises it: as durable, and in the same instant.
 */

#include "config.h"

#include <errno.h>
#include <string.h>

#include "base/error.h"
#include "base/path.h"
#include "base/sums.h"
#include "store/intake.h"
#include "store/mirror.h"
#include "store/patch.h"
#include "store/staged.h"

#define SUMS_MAX_BYTES   ((gsize) 1 << 30)
#define RANGES_MAX_BYTES ((gsize) 64 * 1024 * 1024)
#define PROVE_MAX_BYTES  (G_GUINT64_CONSTANT(64) * 1024 * 1024) /* of a mirror, read in between */

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

void
intake_clear(Intake *in)
{
    capture_clear(&in->capture);
    g_clear_pointer(&in->content, g_bytes_unref);
    g_clear_pointer(&in->sums, g_bytes_unref);
    g_clear_pointer(&in->ranges, g_array_unref);
    g_clear_pointer(&in->extents, g_array_unref);
}

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
    if (room_for_bytes(k, size + staged_bytes(k), FALSE, &errnum, &error))
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

gboolean
intake_parse_path(GVariant *path, Capture *c, GError **error)
{
    const char *bytes = path_from_variant(path);

    if (!bytes || !path_is_canonical(bytes) || bytes[1] == '\0')
        return throw_error(error, FILEDUP_ERROR_REFUSED, "not the path of a file");
    c->path = g_strdup(bytes);
    return TRUE;
}

static gboolean
parse_hash(GVariant *hash, gboolean needed, guint8 *ret_hash, GError **error)
{
    gsize n;
    const void *bytes = g_variant_get_fixed_array(hash, &n, 1);

    if (n == HASH_BYTES)
        memcpy(ret_hash, bytes, HASH_BYTES);
    else if (n != 0 || needed)
        return throw_error(error, FILEDUP_ERROR_REFUSED, "a hash of %" G_GSIZE_FORMAT " bytes", n);
    return TRUE;
}

static gboolean
parse(const Message *m, Intake *in, GError **error)
{
    g_autoptr(GVariant) path = NULL, stat = NULL, hash = NULL, attributes = NULL, base = NULL;
    guint32 principal, kind, quality, cause;
    Capture *c = &in->capture;

    g_variant_get(m->body, "(t@ayuu@" FILESTAT_TYPE "@ay@ayuut@ay)", &in->job, &path, &principal,
                  &kind, &stat, &hash, &attributes, &quality, &cause, &c->staged, &base);
    if (!intake_parse_path(path, c, error))
        return FALSE;
    if (kind >= APPEND_MARK || quality > QUALITY_EXACT || cause >= CAUSE_COUNT)
        return throw_error(error, FILEDUP_ERROR_REFUSED, "a capture of an unknown kind");
    c->principal = principal;
    c->kind = (AppendKind) kind;
    c->quality = (Quality) quality;
    c->cause = (PointCause) cause;
    c->attributes = g_variant_get_data_as_bytes(attributes);
    filestat_from_variant(stat, &c->stat);
    if (!parse_hash(hash, capture_has_content(c), c->hash, error))
        return FALSE;
    if (c->kind == APPEND_RANGES && c->cause == CAUSE_BEFORE_RESTORE)
        return throw_error(error, FILEDUP_ERROR_REFUSED, "ranges of what a restore replaced");
    if (c->kind == APPEND_RANGES && !parse_hash(base, TRUE, c->base_hash, error))
        return FALSE;
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

/* Attributes, deletions and marks concern a content that the store has. */
gboolean
intake_check_known(Keeper *k, const Capture *c, FileView **ret_view, GError **error)
{
    static const guint8 none[HASH_BYTES];
    g_autoptr(FileView) v = store_view(&k->store, c->path, CATALOG_NEWEST, error);

    if (!v)
        return FALSE;
    if (!v->current)
        return throw_error(error, FILEDUP_ERROR_NO_ENTRY, "the store has nothing of it");
    gboolean bare = v->current->place == POINT_IN_MIRROR &&
                    (memcmp(v->current->hash, none, HASH_BYTES) == 0 || /* given up (apply.c) */
                     mirror_is_missing(k->store.layout, v));
    if (c->kind != APPEND_DELETE && bare)
        return throw_error(error, FILEDUP_ERROR_DAMAGED,
                           "its content is not in the store any more");
    if (c->kind == APPEND_ATTRIBUTES && memcmp(c->hash, none, HASH_BYTES) != 0 &&
        memcmp(c->hash, v->current->hash, HASH_BYTES) != 0)
        return throw_error(error, FILEDUP_ERROR_REFUSED, "attributes of another content");
    if (c->kind == APPEND_ATTRIBUTES && c->stat.size_bytes != v->current->size_bytes)
        return throw_error(error, FILEDUP_ERROR_REFUSED, "attributes of a content of another size");
    if (ret_view)
        *ret_view = g_steal_pointer(&v);
    return TRUE;
}

/* Invariant 4. */
static gboolean
take_ranges(Keeper *k, Message *m, Intake *in, GError **error)
{
    const Capture *c = &in->capture;
    g_auto(Fd) content = message_take_fd(m, 1), list = message_take_fd(m, 2), base = -1;
    g_autoptr(GBytes) bytes = NULL;
    g_auto(Newest) newest = {0};

    if (content < 0 || list < 0)
        return throw_error(error, FILEDUP_ERROR_REFUSED, "ranges without their content");
    if (!(in->content = fd_to_bytes(content, RANGES_BUFFER_BYTES, error)) ||
        !(bytes = fd_to_bytes(list, RANGES_MAX_BYTES, error)))
        return FALSE;
    in->ranges = patch_parse(bytes, c->size_bytes, g_bytes_get_size(in->content), error);
    if (!in->ranges)
        return FALSE;
    if (!intake_newest(k, c->path, &newest, error)) {
        if (error && *error && g_error_matches(*error, FILEDUP_ERROR, FILEDUP_ERROR_NO_ENTRY))
            (*error)->code = FILEDUP_ERROR_DAMAGED;
        return FALSE;
    }
    if (memcmp(newest.hash, c->base_hash, HASH_BYTES) != 0)
        return throw_error(error, FILEDUP_ERROR_DAMAGED,
                           "ranges of a content that is not the newest in the store");
    Patch ranges = {
        .list = in->ranges, .content = in->content, .sums = in->sums, .size_bytes = c->size_bytes};
    if (!patch_check(&ranges, newest.sums, newest.size_bytes, error))
        return FALSE;
    if (newest.view && !pending_of(k->store.pending, c->path))
        base = mirror_open(k->store.layout->root, newest.view, newest.view->current, NULL);
    in->extents = patch_extents(&ranges, base, newest.size_bytes);
    in->base_bytes = newest.size_bytes;
    return TRUE;
}

static gboolean
take(Keeper *k, Message *m, Intake *in, GError **error)
{
    Capture *c = &in->capture;

    if (!capture_has_content(c))
        return intake_check_known(k, c, NULL, error);
    if (!take_sums(m, in, error))
        return FALSE;
    if (c->kind == APPEND_RANGES)
        return take_ranges(k, m, in, error);
    return c->kind == APPEND_CONTENT ? take_content(m, in, error) : take_staged(k, in, error);
}

/* ---- journalling ---- */

gboolean
intake_write(Keeper *k, Intake *in, Head head, GError **error)
{
    Capture *c = &in->capture;
    guint64 staged = c->kind == APPEND_STAGED ? c->staged : 0;
    const guint8 *content = in->content ? g_bytes_get_data(in->content, NULL) : NULL;

    c->file = head.file;
    Transaction *t = journal_write(k->store.journal, c, content, in->extents, in->sums, error);
    if (!t) {
        keeper_fail(k, error ? *error : NULL);
        return FALSE;
    }
    if (staged)
        g_hash_table_remove(k->staged, &staged); /* the journal's now */
    Unacked u = {.job = in->job,
                 .seq = in->answer ? in->answer : t->seq,
                 .time_usec = t->time_usec,
                 .suspicion = head.suspicion | t->capture.suspicion};
    g_array_append_val(k->unacked, u);
    k->unacked_bytes += t->bytes;
    k->last_time_usec = t->time_usec;
    k->last_append_usec = g_get_monotonic_time();
    if (pending_count(k->store.pending) == 0)
        k->first_pending_usec = k->last_append_usec;
    head_remember(k, t, head);
    room_add_due(k, t->capture.path, in->due_bytes);
    pending_add(k->store.pending, t);
    return TRUE;
}

/* What a restore replaced is the newest content, and the mirror proves to have it: nothing is to be
 * stored, for that content outlasts the restore as a point of the chain. Of a large one that is not
 * found out: everybody would wait while its mirror is read. */
static gboolean
is_stored_already(Keeper *k, const Intake *in, Unacked *ret_known)
{
    const Capture *c = &in->capture;
    g_auto(Newest) newest = {0};

    if (c->cause != CAUSE_BEFORE_RESTORE || c->size_bytes > PROVE_MAX_BYTES ||
        !keeper_apply(k, c->path, NULL) || !intake_newest(k, c->path, &newest, NULL) ||
        !newest.view)
        return FALSE;
    const Point *p = newest.view->current;
    g_auto(Fd) fd = mirror_open(k->store.layout->root, newest.view, p, NULL);
    if (fd < 0 || p->quality < QUALITY_STABLE || p->size_bytes != c->size_bytes ||
        memcmp(p->hash, c->hash, HASH_BYTES) != 0 ||
        !sums_check(fd, newest.sums, p->size_bytes, NULL))
        return FALSE;
    *ret_known = (Unacked){.job = in->job,
                           .seq = p->id,
                           .time_usec = p->time_usec,
                           .suspicion = newest.view->suspicion};
    return TRUE;
}

static gboolean
append(Keeper *k, Message *m, Intake *in, GError **error)
{
    Unacked known;
    Head head;

    if (!parse(m, in, error) || !take(k, m, in, error))
        return FALSE;
    if (is_stored_already(k, in, &known)) {
        if (in->capture.kind == APPEND_STAGED &&
            g_hash_table_remove(k->staged, &in->capture.staged))
            staged_remove(k->store.layout->staged, in->capture.staged);
        g_array_append_val(k->unacked, known);
        return TRUE;
    }
    if (k->failed || !head_find(k, in->capture.path, &head, error))
        return FALSE;
    suspect(k, in, &head);
    return !k->failed && room_for(k, in, error) && intake_write(k, in, head, error);
}

void
intake_refuse(Keeper *k, const Intake *in, const GError *error)
{
    if (k->failed || !error) /* failed, maybe in an earlier commit: no answer is the answer */
        return;
    keeper_send(k, MESSAGE_KEEPER_DURABLE,
                g_variant_new("(t@" MESSAGE_ERROR_TYPE "txxu)", in->job,
                              message_error_new(error, in->errnum), G_GUINT64_CONSTANT(0),
                              G_GINT64_CONSTANT(0), G_GINT64_CONSTANT(0), 0u),
                NULL, 0);
}

void
intake_append(Keeper *k, Message *m)
{
    g_auto(Intake) in = {0};
    g_autoptr(GError) error = NULL;

    if (!append(k, m, &in, &error))
        intake_refuse(k, &in, error);
}
