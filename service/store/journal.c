/* journal.c - the append-only record of changes
 *
 * A change has been backed up exactly when its transaction is here and durable: replaying the
 * transactions after `applied` rebuilds the mirrors.
 *
 * FORMAT   journal/<anything>: segments (segment.c) of records (record.c) that make transactions
 *          (transaction.c). The segments of one incarnation are a chain, by index. At most 8, of
 *          16 MiB (or what the largest transaction needs): 128 MiB.
 *
 * INVARIANTS
 *  (1) Acknowledged means that journal_sync has returned TRUE after the write.
 *  (2) After a failed write or sync the journal is FAILED until opened again: what reached the
 *      disk is unknown, and recovery is what finds out. It is never retried as if it could succeed.
 *  (3) A transaction never spans segments, and starts on a multiple of 4096: an append rewrites no
 *      acknowledged block.
 *  (4) A segment is synced before the header of the next is written.
 *  (5) A segment is used again only when the catalog durably says that its last sequence is
 * applied. (6) `seq` never goes back, nor does the record time.
 *
 * COMPACT  What cannot be applied for now (keeper.c) would hold its segments, and all after them, for
 *          ever. When no more can be had, the journal makes a switch of what still waits while open.
 *
 * SWITCH   Opening copies the valid tail into one segment of the next incarnation, as large as need
 *          be: its records first, synced; then its header, synced; then the folder. Only segments
 * of the highest valid incarnation count, so that header is the switch: before it the old chain is
 * the journal, after it the new one. Nothing is applied or acknowledged earlier.
 *
 * STATES   journal_open -> OPEN -> FAILED (journal_fail)
 *
 * CRASH POINTS  journal-recover-records, journal-recover-synced, journal-recover-header,
 *          journal-recover-switched; journal-roll, journal-write, journal-written, journal-synced
 */

#include "config.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>

#include "base/crash.h"
#include "base/error.h"
#include "store/journal.h"
#include "store/scan.h"

#define BUFFER_KEEP_BYTES (1024 * 1024)

struct Journal {
    Fd folder;
    char *uuid;
    guint64 segment_bytes;

    gboolean failed;
    gboolean damage; /* was found when it was opened */
    GByteArray
        *buffer; /* of the transaction being written; kept, for its pages are there already */
    GPtrArray *segments; /* all files */
    Segment *current;
    guint64 at; /* where the next transaction goes in it */
    gboolean dirty;
    guint32 incarnation, epoch;
    guint64 index;
    guint64 prev_seq, prev_sum; /* of the last record in the chain */
    guint64 next_seq;
    guint64 durable;  /* sequence */
    guint64 released; /* sequence */
    gint64 last_time_usec;
};

void
journal_report_clear(JournalReport *r)
{
    g_clear_pointer(&r->note, g_free);
}

void
journal_close(Journal *j)
{
    if (!j)
        return;
    g_clear_pointer(&j->segments, g_ptr_array_unref);
    g_clear_pointer(&j->buffer, g_byte_array_unref);
    fd_clear(j->folder);
    g_free(j->uuid);
    g_free(j);
}

guint64
journal_last_seq(const Journal *j)
{
    return j->next_seq - 1;
}

guint32
journal_incarnation(const Journal *j)
{
    return j->incarnation;
}

static gboolean
journal_fail(Journal *j, GError **error)
{
    j->failed = TRUE; /* invariant 2 */
    return throw_prefixed(error, "journal");
}

static gboolean
refuse_failed(GError **error)
{
    return throw_error(error, FILEDUP_ERROR_FATAL, "journal: a write failed before");
}

/* ---- encoding ---- */

/* Appends one record, continuing the journal's chain; commits are padded to TRANSACTION_ALIGN
 * counted from `base`, the transaction's start. Returns where its payload is. */
static gsize
encode(Journal *j, GByteArray *out, guint64 salt, Record *r, const void *payload)
{
    gsize start = out->len;
    guint64 end = start + RECORD_HEADER_BYTES + r->payload_bytes;
    guint64 padded = align_up(end, r->type == RECORD_COMMIT ? TRANSACTION_ALIGN : RECORD_ALIGN);

    r->incarnation = j->incarnation;
    r->epoch = j->epoch;
    r->chain = j->prev_sum;
    r->pad_bytes = (guint32) (padded - end);
    r->payload_sum = record_payload_sum(payload, r->payload_bytes);
    if (r->type == RECORD_BEGIN && r->seq != j->prev_seq + 1)
        r->flags |= RECORD_GAP;
    g_byte_array_set_size(out, (guint) padded);
    j->prev_sum = record_encode(r, salt, out->data + start);
    j->prev_seq = r->seq;
    if (r->payload_bytes > 0)
        memcpy(out->data + start + RECORD_HEADER_BYTES, payload, r->payload_bytes);
    memset(out->data + end, 0, padded - end);
    return start + RECORD_HEADER_BYTES;
}

/* ---- segments ---- */

static char *
free_name(const Journal *j)
{
    for (guint n = 0;; n++) {
        g_autofree char *name = g_strdup_printf("%08u.segment", n);
        gboolean taken = FALSE;
        for (guint i = 0; i < j->segments->len && !taken; i++)
            taken = g_str_equal(((Segment *) j->segments->pdata[i])->name, name);
        /* Nor one that could not be removed, half made as it was. */
        if (!taken && faccessat(j->folder, name, F_OK, AT_SYMLINK_NOFOLLOW) < 0)
            return g_steal_pointer(&name);
    }
}

static gboolean
is_free(const Journal *j, const Segment *s)
{
    return s != j->current && !s->damaged &&
           (!s->valid || s->last_seq <= j->released); /* invariant 5 */
}

static Segment *
find_free(const Journal *j, guint64 size_bytes, const Segment *but)
{
    Segment *best = NULL;

    for (guint i = 0; i < j->segments->len; i++) {
        Segment *s = j->segments->pdata[i];
        if (s != but && is_free(j, s) && s->header.size_bytes >= size_bytes &&
            (!best || s->header.size_bytes < best->header.size_bytes))
            best = s;
    }
    return best;
}

static Segment *
create_segment(Journal *j, guint64 size_bytes, GError **error)
{
    g_autofree char *name = free_name(j);
    Segment *s = segment_create(j->folder, name, align_up(size_bytes, TRANSACTION_ALIGN), error);

    if (s)
        g_ptr_array_add(j->segments, s);
    return s;
}

/* Removes a free segment that is too small, or one too many: the largest. */
static gboolean
drop_one_free(Journal *j)
{
    Segment *largest = NULL;

    for (guint i = 0; i < j->segments->len; i++) {
        Segment *s = j->segments->pdata[i];
        if (is_free(j, s) && (!largest || s->header.size_bytes > largest->header.size_bytes))
            largest = s;
    }
    if (!largest || (unlinkat(j->folder, largest->name, 0) < 0 && errno != ENOENT))
        return FALSE; /* it stays one of them: its name is taken, and what is in it is still there */
    g_ptr_array_remove(j->segments, largest);
    return TRUE;
}

guint
journal_spares(const Journal *j)
{
    guint n = 0;

    for (guint i = 0; i < j->segments->len; i++)
        n += is_free(j, j->segments->pdata[i]);
    return n;
}

gboolean
journal_shrink(Journal *j, guint spares)
{
    guint n = journal_spares(j);
    gboolean shrunk = FALSE;

    for (; n > spares && drop_one_free(j); n--)
        shrunk = TRUE;
    return shrunk;
}

static Segment *
next_segment(Journal *j, guint64 size_bytes, GError **error)
{
    Segment *s = find_free(j, size_bytes, NULL);

    if (s)
        return s;
    while (j->segments->len >= JOURNAL_MAX_SEGMENTS)
        if (!drop_one_free(j))
            return NULL;
    return create_segment(j, MAX(size_bytes, j->segment_bytes), error);
}

JournalRoom
journal_make_room(Journal *j, guint64 bytes, GError **error)
{
    g_autoptr(GError) local = NULL;

    if (j->failed) {
        refuse_failed(error);
        return JOURNAL_ERROR;
    }
    if (j->at + bytes <= j->current->header.size_bytes)
        return JOURNAL_ROOM;
    if (!journal_sync(j, error)) /* invariant 4 */
        return JOURNAL_ERROR;
    crash_point("journal-roll");
    Segment *s = next_segment(j, SEGMENT_HEADER_BYTES + bytes, &local);
    if (!s) {
        if (local)
            g_propagate_prefixed_error(error, g_steal_pointer(&local), "journal: ");
        return JOURNAL_FULL; /* nothing was harmed: a new file could not be had */
    }
    SegmentHeader header = {
        .incarnation = j->incarnation,
        .epoch = j->epoch,
        .index = j->index + 1,
        .first_seq = j->prev_seq + 1,
        .chain = j->prev_sum,
        .durable_through = j->durable,
        .used_through = j->next_seq - 1,
    };
    g_strlcpy(header.uuid, j->uuid, sizeof header.uuid);
    if (!segment_use(s, &header, error)) {
        journal_fail(j, error);
        return JOURNAL_ERROR;
    }
    j->index++;
    j->current = s;
    j->at = SEGMENT_HEADER_BYTES;
    j->dirty = TRUE;
    s->last_seq = j->next_seq - 1;
    return JOURNAL_ROOM;
}

void
journal_release(Journal *j, guint64 applied)
{
    j->released = MAX(j->released, applied);
}

void
journal_prepare(Journal *j)
{
    g_autoptr(GError) error = NULL;

    if (j->failed || j->at < j->current->header.size_bytes / 2 ||
        j->segments->len >= JOURNAL_MAX_SEGMENTS || find_free(j, j->segment_bytes, NULL))
        return;
    if (!create_segment(j, j->segment_bytes, &error))
        g_debug("journal: no spare segment: %s", error->message);
}

/* ---- appending ---- */

guint64
journal_need(const Capture *c, const GArray *extents)
{
    gsize attributes = c->attributes ? g_bytes_get_size(c->attributes) : 0;
    guint64 need = TRANSACTION_ALIGN + 4 * RECORD_HEADER_BYTES + 1024 + strlen(c->path) +
                   (c->name ? strlen(c->name) : 0) + attributes;

    for (guint i = 0; extents && i < extents->len; i++) {
        const Extent *e = &g_array_index(extents, Extent, i);
        guint64 records = e->hole ? 1 : e->length / RECORD_PAYLOAD_MAX + 1;
        need += records * (RECORD_HEADER_BYTES + RECORD_ALIGN) + (e->hole ? 0 : e->length);
    }
    return align_up(need, TRANSACTION_ALIGN);
}

static gint64
record_time(Journal *j)
{
    j->last_time_usec = MAX(j->last_time_usec, g_get_real_time()); /* invariant 6 */
    return j->last_time_usec;
}

static void
encode_extents(Journal *j, GByteArray *out, Transaction *t, Record *r, const guint8 *content,
               const GArray *extents)
{
    for (guint i = 0; i < extents->len; i++) {
        Extent e = g_array_index(extents, Extent, i);
        guint64 left = e.length;
        guint64 from = t->capture.kind == APPEND_RANGES ? e.position : e.offset;
        do {
            e.length = e.hole ? left : MIN(left, RECORD_PAYLOAD_MAX);
            r->type = e.hole ? RECORD_HOLE : RECORD_DATA;
            r->offset = e.offset;
            r->length = e.length;
            r->payload_bytes = e.hole ? 0 : (guint32) e.length;
            e.position =
                j->at + encode(j, out, j->current->header.salt, r, content ? content + from : NULL);
            from += e.length;
            e.sum = r->payload_sum;
            r->seq++;
            g_array_append_val(t->extents, e);
            e.offset += e.length;
            left -= e.length;
        } while (left > 0);
    }
}

static void
encode_step(Journal *j, GByteArray *out, Record *r, RecordType type, GBytes *payload)
{
    gsize n = 0;
    const void *data = payload ? g_bytes_get_data(payload, &n) : NULL;

    r->type = type;
    r->offset = r->length = 0;
    r->payload_bytes = (guint32) n;
    encode(j, out, j->current->header.salt, r, data);
    r->flags = 0;
    r->seq++;
}

Transaction *
journal_write(Journal *j, Capture *c, const guint8 *content, const GArray *extents, GBytes *sums,
              GError **error)
{
    g_autoptr(Transaction) t = g_new0(Transaction, 1);
    g_autoptr(GBytes) begin = capture_begin_payload(c);
    GByteArray *out = j->buffer;

    if (j->failed) {
        refuse_failed(error);
        return NULL;
    }
    g_byte_array_set_size(out, 0);
    t->capture = *c;
    *c = (Capture){0};
    t->extents = g_array_new(FALSE, FALSE, sizeof(Extent));
    t->sums = sums ? g_bytes_ref(sums) : NULL;
    t->first_seq = j->next_seq;
    t->time_usec = record_time(j);
    t->segment = j->current;
    t->position = j->at;

    Record r = {.seq = j->next_seq,
                .file = t->capture.file,
                .time_usec = t->time_usec,
                .durable_through = j->durable};
    encode_step(j, out, &r, RECORD_BEGIN, begin);
    if (t->capture.kind == APPEND_CONTENT || t->capture.kind == APPEND_RANGES)
        encode_extents(j, out, t, &r, content, extents);
    if (t->capture.kind == APPEND_STAGED) {
        g_autoptr(GBytes) replace = capture_replace_payload(&t->capture);
        encode_step(j, out, &r, RECORD_REPLACE, replace);
    }
    if (t->capture.kind == APPEND_DELETE)
        encode_step(j, out, &r, RECORD_DELETE, NULL);
    encode_step(j, out, &r, RECORD_COMMIT, NULL);
    g_assert(j->at + out->len <= j->current->header.size_bytes); /* invariant 3 */

    crash_point("journal-write");
    if (!fd_pwrite_full(j->current->fd, out->data, out->len, (goffset) j->at)) {
        throw_errno(error, "writing segment '%s'", j->current->name);
        journal_fail(j, error);
        return NULL;
    }
    crash_point("journal-written");
    t->seq = r.seq - 1;
    t->bytes = out->len;
    j->next_seq = r.seq;
    j->at += out->len;
    j->current->last_seq = t->seq;
    j->dirty = TRUE;
    if (out->len > BUFFER_KEEP_BYTES) {
        g_byte_array_unref(j->buffer);
        j->buffer = g_byte_array_new();
    }
    return g_steal_pointer(&t);
}

gboolean
journal_sync(Journal *j, GError **error)
{
    if (j->failed)
        return refuse_failed(error);
    if (!j->dirty)
        return TRUE;
    if (fdatasync(j->current->fd) < 0) {
        throw_errno(error, "fdatasync of segment '%s'", j->current->name);
        return journal_fail(j, error);
    }
    crash_point("journal-synced");
    j->dirty = FALSE;
    j->durable = j->prev_seq; /* invariant 1 */
    return TRUE;
}

/* ---- opening, and copying the tail ---- */

/* The one whose header tells the last incarnation, and how far the sequences had come. */
static const Segment *
last_of_all(const Journal *j)
{
    const Segment *last = NULL;

    for (guint i = 0; i < j->segments->len; i++) {
        const Segment *s = j->segments->pdata[i];
        if (s->valid && (!last || s->header.incarnation > last->header.incarnation ||
                         (s->header.incarnation == last->header.incarnation &&
                          s->header.index > last->header.index)))
            last = s;
    }
    return last;
}

/* Not the last one of all, as long as there is another or the space for one: until the new one has
 * its header, a crash would leave a journal that seems older than the catalog. */
static Segment *
segment_for_tail(Journal *j, const GPtrArray *tail, GError **error)
{
    guint64 need = 2 * SEGMENT_HEADER_BYTES;
    g_autoptr(GError) local = NULL;

    for (guint i = 0; i < tail->len; i++)
        need += ((const Transaction *) tail->pdata[i])->bytes;
    need = MAX(need, j->segment_bytes);
    Segment *to = find_free(j, need, last_of_all(j));
    if (!to)
        to = create_segment(j, need, &local);
    if (!to)
        to = find_free(j, need, NULL);
    if (!to)
        g_propagate_error(error, g_steal_pointer(&local));
    return to;
}

/* Copies one transaction's records, checked again, to the end of the new segment. */
static gboolean
copy_transaction(Journal *j, Segment *to, Transaction *t, guint64 durable, GError **error)
{
    g_autofree guint8 *from = g_malloc((gsize) t->bytes);
    g_autoptr(GByteArray) out = g_byte_array_new();
    guint64 salt = t->segment->header.salt, at = 0, sum;
    guint extent = 0;
    Record r;

    if (!fd_pread_full(t->segment->fd, from, (gsize) t->bytes, (goffset) t->position))
        return throw_errno(error, "reading segment '%s'", t->segment->name);
    while (at < t->bytes) {
        const guint8 *payload = from + at + RECORD_HEADER_BYTES;
        if (!record_decode(from + at, salt, &r, &sum) || at + record_bytes(&r) > t->bytes ||
            record_payload_sum(payload, r.payload_bytes) != r.payload_sum)
            return throw_error(error, FILEDUP_ERROR_DAMAGED,
                               "segment '%s' does not read the same twice", t->segment->name);
        at += record_bytes(&r);
        r.durable_through = durable;
        r.flags &= (guint16) ~RECORD_GAP;
        guint64 position = j->at + encode(j, out, to->header.salt, &r, payload);
        if (r.type == RECORD_DATA || r.type == RECORD_HOLE)
            g_array_index(t->extents, Extent, extent++).position = position;
    }
    if (!fd_pwrite_full(to->fd, out->data, out->len, (goffset) j->at))
        return throw_errno(error, "writing segment '%s'", to->name);
    t->segment = to;
    t->position = j->at;
    j->at += out->len;
    return TRUE;
}

static gboolean
switch_incarnation(Journal *j, const GPtrArray *tail, Segment *to, GError **error)
{
    const Transaction *first = tail->len ? tail->pdata[0] : NULL;
    const Transaction *last = tail->len ? tail->pdata[tail->len - 1] : NULL;

    if (to->valid && !segment_void(to, error))
        return FALSE;

    SegmentHeader header = {.incarnation = j->incarnation,
                            .epoch = j->epoch,
                            .flags = j->damage ? SEGMENT_DAMAGE : 0,
                            .first_seq = first ? first->first_seq : j->next_seq,
                            .durable_through = last ? last->seq : j->next_seq - 1,
                            .used_through = j->next_seq - 1};
    g_strlcpy(header.uuid, j->uuid, sizeof header.uuid);
    segment_plan(to, &header);
    j->at = SEGMENT_HEADER_BYTES;
    j->index = 0;
    j->prev_sum = 0;
    j->prev_seq = header.first_seq - 1;
    for (guint i = 0; i < tail->len; i++)
        if (!copy_transaction(j, to, tail->pdata[i], header.durable_through, error))
            return FALSE;
    crash_point("journal-recover-records");
    if (fdatasync(to->fd) < 0)
        return throw_errno(error, "fdatasync of segment '%s'", to->name);
    crash_point("journal-recover-synced");
    if (!segment_seal(to, error))
        return FALSE;
    crash_point("journal-recover-header");
    if (fsync(to->fd) < 0)
        return throw_errno(error, "fsync of segment '%s'", to->name);
    if (!fd_sync_folder(j->folder, ".", error))
        return FALSE;
    crash_point("journal-recover-switched");

    to->last_seq = last ? last->seq : header.first_seq - 1;
    j->current = to;
    j->durable = j->prev_seq;
    for (guint i = 0; i < j->segments->len; i++) { /* the old chain: not the journal any more */
        Segment *s = j->segments->pdata[i];
        if (s == to)
            continue;
        s->valid = FALSE;
        if (s->damaged && !segment_void(s, error)) /* `to` says from now on that there was damage */
            return FALSE;
    }
    while (j->segments->len > JOURNAL_MAX_SEGMENTS && drop_one_free(j))
        ;
    return TRUE;
}

JournalRoom
journal_compact(Journal *j, const Pending *pending, GError **error)
{
    g_autoptr(GPtrArray) tail = pending_all(pending);
    g_autoptr(GError) local = NULL;
    guint64 bytes = 0;

    for (guint i = 0; i < tail->len; i++)
        bytes += ((const Transaction *) tail->pdata[i])->bytes;
    if (bytes > JOURNAL_MAX_SEGMENTS / 2 * j->segment_bytes)
        return JOURNAL_FULL; /* little would come of it */
    if (!journal_sync(j, error))
        return JOURNAL_ERROR;
    Segment *to = segment_for_tail(j, tail, &local);
    if (!to) {
        g_debug("journal: not compacted: %s", local->message);
        return JOURNAL_FULL;
    }
    j->incarnation++;
    if (switch_incarnation(j, tail, to, error))
        return JOURNAL_ROOM;
    journal_fail(j, error); /* what it copied by halves, the next opening sorts out */
    return JOURNAL_ERROR;
}

Journal *
journal_open(int journal_fd, const JournalOptions *o, Pending *pending, JournalReport *report,
             GError **error)
{
    g_autoptr(Scan) scan = scan_journal(journal_fd, o->uuid, TRUE, o->applied, error);

    if (!scan) {
        throw_prefixed(error, "journal");
        return NULL;
    }
    *report = (JournalReport){.damage = scan->damage,
                              .direct = scan->direct,
                              .recovered = scan->transactions->len,
                              .note = g_steal_pointer(&scan->note)};
    /* Said again after a crash: nobody may have heard it, or have done something about it. */
    report->damage |= scan->was_damaged && !o->clean;
    if (o->lost) {
        report->damage = TRUE;
        if (!report->note)
            report->note =
                g_strdup("a content in the journal or in staged/ could not be read back");
    }
    if (o->last_seq > scan->last_seq && !report->damage) {
        report->damage = TRUE; /* nothing is applied that was not durable here before */
        report->note = g_strdup_printf("the journal ends at %" G_GUINT64_FORMAT
                                       ", the catalog knows of %" G_GUINT64_FORMAT,
                                       scan->last_seq, o->last_seq);
    }
    if (o->incarnation > scan->incarnation) { /* the catalog learns of one after the switch to it */
        report->damage = TRUE;
        g_free(report->note);
        report->note = g_strdup("the journal is gone, or older than the catalog");
    }

    g_autoptr(Journal) j = g_new0(Journal, 1);
    j->buffer = g_byte_array_new();
    j->folder = fcntl(journal_fd, F_DUPFD_CLOEXEC, 0);
    j->uuid = g_strdup(o->uuid);
    j->segment_bytes = o->segment_bytes;
    j->segments = g_steal_pointer(&scan->segments);
    j->incarnation = MAX(o->incarnation, scan->incarnation) + 1;
    j->next_seq = MAX(o->last_seq, scan->last_seq) + 1;
    j->last_time_usec = MAX(o->last_time_usec, scan->last_time_usec);
    j->released = o->applied;
    j->damage = report->damage;
    Segment *to = segment_for_tail(j, scan->transactions, error);
    if (!to || !switch_incarnation(j, scan->transactions, to, error)) {
        throw_prefixed(error, "journal");
        return NULL;
    }
    g_ptr_array_set_free_func(scan->transactions, NULL);
    for (guint i = 0; i < scan->transactions->len; i++)
        pending_add(pending, scan->transactions->pdata[i]);
    return g_steal_pointer(&j);
}
