/* scan.c - reading a journal as a crash, or a bad disk, may have left it
 *
 * Only the segments of the highest incarnation count (journal.c, SWITCH), in the order of their
 * indexes; those of older ones were copied before the highest came to be.
 *
 * RULES
 *  (1) Records are read in sequence. The log ends before the first that is not valid (record.c,
 *      VALID 2). A transaction without its commit does not exist.
 *  (2) But what had been *durable* and is not there is damage, not the end. Durable is all up to
 * the highest `durable_through` of any valid transaction or segment header, and all before the
 *      first sequence of a later segment of the chain (a segment is synced before the next begins).
 *  (3) So the rest of a segment is searched behind an invalid record for whole transactions, which
 *      start on multiples of 4096, and later segments are read, before (2) can be told. What is
 *      found there counts if what is missing before it was damage; else it was never acknowledged,
 *      and reached the disk out of order.
 *      (A record whose chain does not fit is found by that search too, so it counts only if it is
 *      as durable as what it follows.)
 *  (4) What was lost matters only above `applied`.
 *  (5) A damaged header is damage. Its segment is read all the same if its salt makes sense of the
 *      first record: that one says then which incarnation it belongs to, and where. If that is an
 *      older one, nothing was lost. If there is no sense in it, its sequences are taken for used.
 */

#include "config.h"

#include <dirent.h>
#include <fcntl.h>
#include <string.h>

#include "base/error.h"
#include "store/scan.h"

typedef struct Found {
    Transaction *transaction;
    gboolean in_sequence; /* what it follows is there, or never was */
} Found;

typedef struct Walk {
    Scan *scan;
    guint64 applied;
    guint64 expected; /* sequence of the next record  */
    guint64 chain;    /* sum of the last one          */
    guint64 durable;  /* rule 2                       */
    GArray *found;    /* of Found, in the chain's order */
    gboolean newer;   /* a valid record of a later format: nothing here can be judged */

    const Segment *segment;
    const guint8 *image;
    gsize image_bytes;
} Walk;

void
scan_free(Scan *s)
{
    if (!s)
        return;
    g_clear_pointer(&s->transactions, g_ptr_array_unref);
    g_clear_pointer(&s->segments, g_ptr_array_unref);
    g_free(s->note);
    g_free(s);
}

/* The record at `at`, valid by itself and with its payload; not yet its place in the sequence. */
static gboolean
record_at(const Walk *w, guint64 at, Record *r, guint64 *ret_sum)
{
    if (at + RECORD_HEADER_BYTES > w->image_bytes)
        return FALSE;
    if (!record_decode(w->image + at, w->segment->header.salt, r, ret_sum))
        return FALSE;
    if (r->incarnation != w->segment->header.incarnation || r->payload_bytes > RECORD_PAYLOAD_MAX ||
        r->pad_bytes > TRANSACTION_ALIGN || at + record_bytes(r) > w->image_bytes)
        return FALSE;
    return record_payload_sum(w->image + at + RECORD_HEADER_BYTES, r->payload_bytes) ==
           r->payload_sum;
}

static gboolean
in_sequence(const Walk *w, const Record *r)
{
    if (r->chain != w->chain)
        return FALSE;
    if (r->type == RECORD_BEGIN && (r->flags & RECORD_GAP))
        return r->seq >= w->expected;
    return r->seq == w->expected;
}

static guint64
extents_end(const Transaction *t)
{
    const Extent *last =
        t->extents->len > 0 ? &g_array_index(t->extents, Extent, t->extents->len - 1) : NULL;

    return last ? last->offset + last->length : 0;
}

static gboolean
add_to_transaction(const Walk *w, Transaction *t, const Record *r, guint64 at)
{
    const guint8 *payload = w->image + at + RECORD_HEADER_BYTES;
    Extent extent = {.offset = r->offset,
                     .length = r->length,
                     .sum = r->payload_sum,
                     .position = at + RECORD_HEADER_BYTES,
                     .hole = r->type == RECORD_HOLE};

    switch (r->type) {
    case RECORD_DATA:
    case RECORD_HOLE:
        if (r->type == RECORD_DATA && r->length != r->payload_bytes)
            return FALSE;
        if (r->offset > t->capture.size_bytes || r->length > t->capture.size_bytes - r->offset ||
            r->offset < extents_end(t))
            return FALSE;
        g_array_append_val(t->extents, extent);
        return TRUE;
    case RECORD_REPLACE:
        return capture_parse_replace(payload, r->payload_bytes, &t->capture);
    case RECORD_DELETE:
    case RECORD_COMMIT:
        return TRUE;
    default: /* of a later version: it would not be understood by half */
        return FALSE;
    }
}

/* The whole transaction at `at`; NULL: there is none. In a search its begin record is taken
 * wherever the sequence stands, if only not before. *ret_end is where the next one starts. */
static Transaction *
transaction_at(Walk *w, guint64 at, gboolean search, guint64 *ret_end)
{
    g_autoptr(Transaction) t = g_new0(Transaction, 1);
    Walk was = *w;
    guint64 start = at, durable = w->durable, sum;
    Record r;

    t->link.data = t;
    if (!record_at(w, at, &r, &sum) || r.type != RECORD_BEGIN)
        return NULL;
    if (search ? r.seq < w->expected : !in_sequence(w, &r))
        return NULL;
    gboolean newer;
    if (!capture_parse_begin(w->image + at + RECORD_HEADER_BYTES, r.payload_bytes, r.file,
                             &t->capture, &newer)) {
        w->newer |= newer;
        return NULL;
    }
    t->extents = g_array_new(FALSE, FALSE, sizeof(Extent));
    t->first_seq = r.seq;
    t->time_usec = r.time_usec;
    t->segment = (Segment *) w->segment;
    t->position = start;

    for (;;) {
        at += record_bytes(&r);
        durable = MAX(durable, r.durable_through);
        w->expected = r.seq + 1;
        w->chain = sum;
        if (r.type == RECORD_COMMIT)
            break;
        if (!record_at(w, at, &r, &sum) || r.type == RECORD_BEGIN || !in_sequence(w, &r) ||
            r.file != t->capture.file || !add_to_transaction(w, t, &r, at)) {
            w->expected = was.expected;
            w->chain = was.chain;
            return NULL;
        }
    }
    w->durable = durable;
    t->seq = r.seq;
    t->bytes = at - start;
    *ret_end = at;
    return g_steal_pointer(&t);
}

static void
walk_segment(Walk *w, Segment *segment, gboolean follows)
{
    guint64 at = SEGMENT_HEADER_BYTES, end = 0;
    gboolean search = FALSE;

    while (at + RECORD_HEADER_BYTES <= w->image_bytes) {
        Transaction *t = transaction_at(w, at, search, &end);
        if (!t && search)
            at = align_up(at + 1, TRANSACTION_ALIGN);
        if (!t) { /* rule 3 */
            search = TRUE;
            follows = FALSE;
            continue;
        }
        Found f = {.transaction = t, .in_sequence = follows};
        g_array_append_val(w->found, f);
        segment->last_seq = MAX(segment->last_seq, t->seq);
        search = FALSE;
        follows = TRUE;
        at = end;
    }
}

static gint
by_place(gconstpointer a, gconstpointer b)
{
    const Segment *x = *(Segment *const *) a, *y = *(Segment *const *) b;

    if (x->header.first_seq != y->header.first_seq) /* rule 5: of a damaged one, this is known */
        return x->header.first_seq < y->header.first_seq ? -1 : 1;
    return x->header.index < y->header.index ? -1 : x->header.index > y->header.index;
}

static gboolean
walk_chain(Walk *w, int journal_fd, GPtrArray *chain, GError **error)
{
    for (guint i = 0; i < chain->len; i++) {
        Segment *segment = chain->pdata[i];
        const SegmentHeader *h = &segment->header;
        gboolean direct;
        guint8 *image = segment_image(journal_fd, segment, &w->image_bytes, &direct, error);
        if (!image)
            return FALSE;
        if (i == 0)
            w->expected = h->first_seq;
        else
            w->durable = MAX(w->durable, h->first_seq - 1); /* rule 2 */
        w->durable = MAX(w->durable, h->durable_through);
        gboolean follows = w->expected == h->first_seq;
        w->expected = MAX(w->expected, h->first_seq);
        w->chain = h->chain;
        w->segment = segment;
        w->image = image;
        w->scan->direct &= direct;
        segment->last_seq = h->first_seq - 1;
        w->scan->last_seq = MAX(w->scan->last_seq, h->used_through);
        w->scan->was_damaged |= (h->flags & SEGMENT_DAMAGE) != 0;
        walk_segment(w, segment, follows);
        segment_image_free(image);
    }
    return TRUE;
}

static void
add_note(Scan *s, char *note)
{
    g_autofree char *before = g_steal_pointer(&s->note);
    g_autofree char *added = note;

    s->damage = TRUE;
    s->note = before ? g_strdup_printf("%s; %s", before, added) : g_steal_pointer(&added);
}

/* Sequences `from` to `to` had been durable and are not there; if there are none between, the one
 * before `from` was not what `from` followed. */
static void
note_damage(Walk *w, guint64 from, guint64 to)
{
    if (from > to)
        from = to;
    if (to <= w->applied) /* rule 4 */
        return;
    from = MAX(from, w->applied + 1);
    add_note(w->scan, g_strdup_printf("journal records %" G_GUINT64_FORMAT " to %" G_GUINT64_FORMAT
                                      " are damaged",
                                      from, to));
}

/* Sorts what was found into what counts and what does not (rules 1 to 4). */
static void
judge(Walk *w, const SegmentHeader *first)
{
    Scan *s = w->scan;
    guint64 expected = first->first_seq;
    gboolean ended = FALSE;

    /* Index 0 begins where the switch put it; a later one where applied ones were recycled. */
    if (first->index > 0)
        note_damage(w, w->applied + 1, first->first_seq - 1);
    s->last_seq = MAX(s->last_seq, MAX(first->first_seq - 1, w->durable));
    for (guint i = 0; i < w->found->len; i++) {
        Found *f = &g_array_index(w->found, Found, i);
        g_autoptr(Transaction) t = g_steal_pointer(&f->transaction);
        if (!f->in_sequence) {
            if (expected > w->durable)
                ended = TRUE;
            else if (!ended)
                note_damage(w, expected, t->first_seq - 1);
        }
        if (ended)
            continue;
        expected = t->seq + 1;
        s->last_seq = MAX(s->last_seq, t->seq);
        s->last_time_usec = MAX(s->last_time_usec, t->time_usec);
        if (t->seq > w->applied)
            g_ptr_array_add(s->transactions, g_steal_pointer(&t));
    }
    if (!ended && expected <= w->durable)
        note_damage(w, expected, w->durable);
}

static Scan *
scan_new(void)
{
    Scan *s = g_new0(Scan, 1);

    s->segments = g_ptr_array_new_with_free_func((GDestroyNotify) segment_free);
    s->transactions = g_ptr_array_new_with_free_func((GDestroyNotify) transaction_free);
    s->direct = TRUE;
    return s;
}

static gboolean
open_segments(Scan *s, int journal_fd, const char *uuid, gboolean writable, GError **error)
{
    int fd = openat(journal_fd, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    DIR *dir = fd < 0 ? NULL : fdopendir(fd);
    const struct dirent *item;
    gboolean ok = TRUE;

    if (!dir) {
        throw_errno(error, "opening the journal");
        fd_clear(fd);
        return FALSE;
    }
    while (ok && (errno = 0, item = readdir(dir))) {
        if (item->d_name[0] == '.')
            continue;
        Segment *segment = segment_open(journal_fd, item->d_name, writable, uuid, error);
        if (segment)
            g_ptr_array_add(s->segments, segment);
        ok = segment != NULL;
    }
    if (ok && errno)
        ok = throw_errno(error, "reading the journal's folder");
    closedir(dir);
    return ok;
}

/* Rule 5. */
static gboolean
salvage(Scan *s, int journal_fd, Segment *segment, GError **error)
{
    Walk w = {.scan = s, .segment = segment};
    SegmentHeader *h = &segment->header;
    gboolean direct;
    guint64 sum;
    Record r = {0};
    guint8 *image = segment_image(journal_fd, segment, &w.image_bytes, &direct, error);

    if (!image)
        return FALSE;
    w.image = image;
    gboolean sense = w.image_bytes >= SEGMENT_HEADER_BYTES + RECORD_HEADER_BYTES &&
                     record_decode(image + SEGMENT_HEADER_BYTES, h->salt, &r, &sum);
    if (sense) { /* the rest of the header is as good as its word */
        h->incarnation = r.incarnation;
        sense = record_at(&w, SEGMENT_HEADER_BYTES, &r, &sum) && r.type == RECORD_BEGIN;
    }
    segment_image_free(image);
    if (!sense)
        h->incarnation = 0;
    h->first_seq = r.seq;
    h->chain = r.chain;
    h->durable_through = h->used_through = 0;
    h->flags = 0;
    return TRUE;
}

static gboolean
salvage_all(Scan *s, int journal_fd, GError **error)
{
    for (guint i = 0; i < s->segments->len; i++) {
        Segment *segment = s->segments->pdata[i];
        if (segment->damaged && !salvage(s, journal_fd, segment, error))
            return FALSE;
        if (segment->valid || segment->damaged)
            s->incarnation = MAX(s->incarnation, segment->header.incarnation);
    }
    for (guint i = 0; i < s->segments->len; i++) {
        const Segment *segment = s->segments->pdata[i];
        guint32 incarnation = segment->header.incarnation;
        if (!segment->damaged || (incarnation > 0 && incarnation < s->incarnation))
            continue;
        add_note(s,
                 g_strdup_printf("the header of journal segment '%s' is damaged", segment->name));
        if (incarnation == 0)
            s->unread_bytes += segment->header.size_bytes;
    }
    return TRUE;
}

Scan *
scan_journal(int journal_fd, const char *uuid, gboolean writable, guint64 applied, GError **error)
{
    g_autoptr(Scan) s = scan_new();
    g_autoptr(GPtrArray) chain = g_ptr_array_new();
    Walk w = {.scan = s, .applied = applied};

    if (!open_segments(s, journal_fd, uuid, writable, error) || !salvage_all(s, journal_fd, error))
        return NULL;
    for (guint i = 0; i < s->segments->len; i++) {
        Segment *segment = s->segments->pdata[i];
        if ((segment->valid || segment->damaged) && s->incarnation > 0 &&
            segment->header.incarnation == s->incarnation)
            g_ptr_array_add(chain, segment);
    }
    gboolean ok = TRUE;
    if (chain->len > 0) {
        g_ptr_array_sort(chain, by_place);
        w.found = g_array_new(FALSE, FALSE, sizeof(Found));
        ok = walk_chain(&w, journal_fd, chain, error);
        if (ok && w.newer)
            ok = throw_error(error, FILEDUP_ERROR_FATAL,
                             "it has records of a later format: use a newer filedup");
        if (ok)
            judge(&w, &((Segment *) chain->pdata[0])->header);
        for (guint i = 0; i < w.found->len; i++)
            transaction_free(g_array_index(w.found, Found, i).transaction);
        g_array_unref(w.found);
    }
    s->last_seq += s->unread_bytes / RECORD_HEADER_BYTES; /* rule 5: more it cannot have had */
    return ok ? g_steal_pointer(&s) : NULL;
}
