/* scan.c - reading a journal as a crash, or a bad disk, may have left it
 *
 * Only the segments of the highest incarnation count (journal.c, SWITCH), in the order of their
 * indexes; those of older ones were copied before the highest came to be.
 *
 * RULES
 *  (1) Records are read in sequence. The log ends before the first that is not valid (record.c,
 *      VALID 2). A transaction without its commit does not exist.
 *  (2) But an invalid record is *damage*, not the end, if it had been durable: its sequence is at
 *      or below the `durable_through` of any other record or segment header, or a later segment of
 *      the chain exists (the one before is synced before a header is written).
 *  (3) To find that out, the rest of the segment is searched for begin records, which lie on
 *      multiples of 4096, and later segments are read. What is found there counts if there is
 *      damage before it, and else not: then it was never acknowledged, and reached the disk out of
 *      order.
 *  (4) What was lost matters only above `applied`.
 */

#include "config.h"

#include <dirent.h>
#include <fcntl.h>
#include <string.h>

#include "base/error.h"
#include "store/scan.h"

typedef struct Walk {
    Scan   *scan;
    guint64 applied;
    guint64 expected;   /* sequence of the next record                                 */
    guint64 chain;      /* sum of the last one                                         */
    guint64 missing;    /* sequence at which the log broke off; 0: it did not (rule 3) */
    guint   kept;       /* transactions before that                                    */
    guint64 durable;    /* highest durable_through seen                                */

    const Segment *segment;
    const guint8  *image;
    gsize          image_bytes;
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

static void
note_damage(Walk *w, guint64 from, guint64 to)
{
    g_autofree char *before = g_steal_pointer(&w->scan->note);

    w->scan->damage = TRUE;
    w->scan->note = g_strdup_printf("%s%sjournal records %" G_GUINT64_FORMAT " to %" G_GUINT64_FORMAT
                                    " are damaged",
                                    before ? before : "", before ? "; " : "", from, to);
}

/* Records from `missing` up to before `next` are gone, though they had been durable. */
static void
confirm_damage(Walk *w, guint64 next)
{
    guint64 from = MAX(w->missing, w->applied + 1);

    if (next > from) /* rule 4 */
        note_damage(w, from, next - 1);
    w->missing = 0;
}

/* At `seq` no valid record was found. */
static void
break_off(Walk *w, guint64 seq)
{
    if (w->missing)
        return;
    w->missing = seq;
    w->kept = w->scan->transactions->len;
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

static gboolean
add_to_transaction(const Walk *w, Transaction *t, const Record *r, guint64 at)
{
    const guint8 *payload = w->image + at + RECORD_HEADER_BYTES;
    Extent extent = {.offset = r->offset, .length = r->length, .sum = r->payload_sum,
                     .position = at + RECORD_HEADER_BYTES, .hole = r->type == RECORD_HOLE};

    switch (r->type) {
    case RECORD_DATA:
    case RECORD_HOLE:
        if (r->type == RECORD_DATA && r->length != r->payload_bytes)
            return FALSE;
        if (r->offset > t->capture.size_bytes || r->length > t->capture.size_bytes - r->offset)
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

/* Reads a whole transaction from `at`, whose begin record is in sequence or, in a search, is taken
 * wherever the sequence stands. NULL: there is none. *ret_end is where the next one starts. */
static Transaction *
transaction_at(Walk *w, guint64 at, gboolean search, guint64 *ret_end, gboolean *ret_confirms)
{
    g_autoptr(Transaction) t = g_new0(Transaction, 1);
    guint64 expected = w->expected, chain = w->chain, durable = w->durable;
    guint64 start = at, sum;
    Record r;

    t->link.data = t;
    if (!record_at(w, at, &r, &sum) || r.type != RECORD_BEGIN)
        return NULL;
    if (search ? r.seq < w->expected : !in_sequence(w, &r))
        return NULL;
    if (!capture_parse_begin(w->image + at + RECORD_HEADER_BYTES, r.payload_bytes, r.file,
                             &t->capture))
        return NULL;
    t->extents = g_array_new(FALSE, FALSE, sizeof(Extent));
    t->first_seq = r.seq;
    t->time_usec = r.time_usec;
    t->segment = (Segment *) w->segment;
    t->position = start;

    for (;;) {
        at += record_bytes(&r);
        durable = MAX(durable, r.durable_through);
        if (r.type == RECORD_COMMIT)
            break;
        w->expected = r.seq + 1;
        w->chain = sum;
        if (!record_at(w, at, &r, &sum) || r.type == RECORD_BEGIN || !in_sequence(w, &r) ||
            r.file != t->capture.file || !add_to_transaction(w, t, &r, at)) {
            w->expected = expected;
            w->chain = chain;
            return NULL;
        }
    }
    w->expected = r.seq + 1;
    w->chain = sum;
    w->durable = durable;
    t->seq = r.seq;
    t->bytes = at - start;
    *ret_end = at;
    *ret_confirms = w->missing && durable >= w->missing;
    return g_steal_pointer(&t);
}

static void
take(Walk *w, Transaction *t)
{
    Scan *s = w->scan;

    s->last_seq = MAX(s->last_seq, t->seq);
    s->last_time_usec = MAX(s->last_time_usec, t->time_usec);
    if (t->seq > w->applied)
        g_ptr_array_add(s->transactions, t);
    else
        transaction_free(t);
}

static void
walk_segment(Walk *w, Segment *segment)
{
    guint64 at = SEGMENT_HEADER_BYTES;
    gboolean search = FALSE;

    while (at + RECORD_HEADER_BYTES <= w->image_bytes) {
        guint64 end = 0, before = w->expected;
        gboolean confirms = FALSE;
        Transaction *t = transaction_at(w, at, search, &end, &confirms);
        if (!t) {
            break_off(w, before);
            search = TRUE;
            at = align_up(at + 1, TRANSACTION_ALIGN); /* rule 3 */
            continue;
        }
        segment->last_seq = MAX(segment->last_seq, t->seq);
        if (search && !w->missing && t->first_seq > before)
            note_damage(w, MAX(before, w->applied + 1), t->first_seq - 1);
        if (confirms) /* rule 2 */
            confirm_damage(w, w->kept < w->scan->transactions->len
                                  ? ((Transaction *) w->scan->transactions->pdata[w->kept])->first_seq
                                  : t->first_seq);
        search = FALSE;
        take(w, t);
        at = end;
    }
    if (at > SEGMENT_HEADER_BYTES || w->image_bytes <= SEGMENT_HEADER_BYTES)
        break_off(w, w->expected); /* the end, until a later segment shows otherwise */
}

/* A later segment means that all before its first record had been durable (rule 2). */
static void
enter_segment(Walk *w, const Segment *s, gboolean first)
{
    if (first) {
        /* Index 0 starts where the switch put it; a later one follows recycled, applied ones. */
        w->missing = 0;
        w->expected = s->header.first_seq;
        if (s->header.index > 0 && s->header.first_seq > w->applied + 1)
            note_damage(w, w->applied + 1, s->header.first_seq - 1);
    } else {
        g_assert(w->missing);
        if (w->kept < w->scan->transactions->len)
            confirm_damage(w, ((Transaction *) w->scan->transactions->pdata[w->kept])->first_seq);
        w->missing = MIN(w->missing ? w->missing : w->expected, w->expected);
        confirm_damage(w, MAX(s->header.first_seq, w->expected));
        w->expected = MAX(s->header.first_seq, w->expected);
    }
    w->chain = s->header.chain;
    w->durable = MAX(w->durable, s->header.durable_through);
}
