/* target.c - one store of a row: what it has, and since when that is not all
 *
 * What a store has is asked once after its opening and remembered; every append that is durable moves
 * it on. It is forgotten, and asked again, when the keeper ends, says that it has something else
 * (DAMAGED), or suspects a change: the answer tells since when, and which point is kept for it.
 *
 * BEHIND   from the first reason to look at the file until what the file was after that is durable. What
 *          was captured before the last reason only moves the beginning to when it was captured.
 * POLICY   is told with each answer and each change of the row: a keeper thins by what it was told last.
 */

#include "config.h"

#include <string.h>

#include "base/path.h"
#include "daemon/event.h"
#include "daemon/schedule.h"
#include "daemon/stores.h"
#include "daemon/target.h"

#define YOUNG_USEC (G_USEC_PER_SEC / 10)
#define QUIET_USEC                                                                                 \
    (5 * G_USEC_PER_SEC) /* a content that stood still for so long is worth a point */

/* ---- what it has ---- */

static void
tell_policy(const Entry *e, const Target *t)
{
    store_tell(
        t->store, MESSAGE_DAEMON_POLICY,
        g_variant_new("(@aysu)", path_to_variant(e->row->path), e->row->keep, e->row->keep_last));
}

void
targets_tell_policy(const Entry *e)
{
    for (guint i = 0; i < e->targets->len; i++) {
        const Target *t = e->targets->pdata[i];
        if (store_is_ready(t->store))
            tell_policy(e, t);
    }
}

/* Told once, and again when more speaks against it or, after an approval, something does anew. */
static void
tell_suspicion(Entry *e)
{
    guint now = 0;

    for (guint i = 0; i < e->targets->len; i++)
        now |= ((const Target *) e->targets->pdata[i])->suspicion;
    if (now & ~e->told_suspicion)
        event_suspicious(e, now);
    e->told_suspicion = now;
}

static void
on_found(Store *store, Message *m, G_GNUC_UNUSED const GError *error, gpointer data)
{
    Entry *e = data;
    Target *t = entry_find_target(e, store);
    guint32 state, quality, suspicion;
    g_autoptr(GVariant) stat = NULL, hash = NULL, attributes = NULL, mirror = NULL;
    gsize n;

    if (!t)
        return;
    t->asking = FALSE;
    if (!m) { /* the keeper ended; its next opening asks again, the other stores go on */
        if (!store_is_ready(store)) /* else its end is not known yet: we are in target_know() */
            schedule_look(e->schedule, e);
        return;
    }
    g_variant_get(m->body, "(tu@" FILESTAT_TYPE "@ay@ayux@aytuxt)", NULL, &state, &stat, &hash,
                  &attributes, &quality, &t->time_usec, &mirror, &t->sequence, &suspicion,
                  &t->suspicious_usec, &t->good_point);
    t->known = TRUE;
    t->marked = 0;
    t->suspicion = suspicion;
    t->state = (StoredState) state;
    t->quality = (Quality) quality;
    filestat_from_variant(stat, &t->stat);
    gconstpointer bytes = g_variant_get_fixed_array(hash, &n, 1);
    t->has_hash = n == HASH_BYTES;
    if (t->has_hash)
        memcpy(t->hash, bytes, HASH_BYTES);
    g_clear_pointer(&t->attributes, g_bytes_unref);
    bytes = g_variant_get_fixed_array(attributes, &n, 1);
    t->attributes = g_bytes_new(bytes, n);
    g_free(t->mirror);
    t->mirror = g_strdup(path_from_variant(mirror));
    /* Recorded so soon after the file's change that a second change may look the same. */
    if (t->state == STORED_CURRENT && t->time_usec * 1000 - t->stat.ctime_ns < YOUNG_USEC * 1000)
        e->young = TRUE;
    tell_policy(e, t);
    tell_suspicion(e);
    schedule_found(e);
}

gboolean
target_know(Entry *e, Target *t)
{
    guint64 job;

    if (t->known || t->asking || !store_is_ready(t->store))
        return t->known;
    t->asking = TRUE;
    t->asking_job = job = store_next_job();
    store_request(t->store, job, MESSAGE_DAEMON_LOOKUP,
                  g_variant_new("(t@ay)", job, path_to_variant(e->row->path)), NULL, 0, on_found,
                  e);
    return t->known;
}

void
target_record(Target *t, const TransferResult *r, const TransferTarget *part)
{
    t->state = r->outcome == CAPTURE_GONE ? STORED_DELETED : STORED_CURRENT;
    t->sequence = part->sequence;
    t->time_usec = part->time_usec;
    t->send_whole = FALSE;
    if (t->suspicion != part->suspicion)
        t->known = FALSE; /* learn since when, and which point is kept for it */
    if (r->outcome == CAPTURE_GONE)
        return;
    t->stat = r->stat;
    memcpy(t->hash, r->hash, HASH_BYTES);
    t->has_hash = TRUE;
    t->quality = r->quality;
    g_clear_pointer(&t->attributes, g_bytes_unref);
    t->attributes = g_bytes_ref(r->attributes);
    if (!t->mirror || !t->mirror[0])
        t->known = FALSE; /* its first backup: learn where the mirror is */
}

void
target_approved(Entry *e, Target *t)
{
    t->suspicion = 0;
    t->known = FALSE;
    tell_suspicion(e);
    schedule_look(e->schedule, e);
}

/* ---- how far behind ---- */

void
target_set_durable(Target *t, const Entry *e, guint64 generation, gint64 usec)
{
    t->durable_generation = generation; /* schedule.c, invariant 2 */
    t->behind_usec = generation < e->generation ? usec : 0;
    if (generation >= t->compare)
        t->compare = 0;
}

void
targets_note_behind(Entry *e)
{
    for (guint i = 0; i < e->targets->len; i++) {
        Target *t = e->targets->pdata[i];
        if (!t->behind_usec && t->durable_generation < e->generation)
            t->behind_usec = g_get_real_time();
    }
}

gint64
targets_behind_usec(const Entry *e)
{
    gint64 first = 0;

    for (guint i = 0; i < e->targets->len; i++) {
        const Target *t = e->targets->pdata[i];
        if (t->behind_usec && (!first || t->behind_usec < first))
            first = t->behind_usec;
    }
    return first;
}

void
targets_compare(Entry *e, const Target *only)
{
    for (guint i = 0; i < e->targets->len; i++) {
        Target *t = e->targets->pdata[i];
        if (!only || t == only)
            t->compare = e->generation + 1;
    }
}

/* ---- quiet moments ---- */

/* If it fails, its keeper has ended: on_found() lets it be tried again. */
static void
on_marked(G_GNUC_UNUSED Store *store, G_GNUC_UNUSED Message *m, G_GNUC_UNUSED const GError *failure,
          G_GNUC_UNUSED gpointer data)
{
}

gboolean
target_mark_quiet(const Entry *e, Target *t)
{
    if (t->state != STORED_CURRENT || t->quality != QUALITY_FUZZY || t->marked == t->sequence)
        return TRUE;
    if (g_get_real_time() - t->time_usec < QUIET_USEC)
        return FALSE;
    guint64 job = store_next_job();
    t->marked = t->sequence;
    store_request(
        t->store, job, MESSAGE_DAEMON_MARK,
        g_variant_new("(t@aysu)", job, path_to_variant(e->row->path), "", (guint32) CAUSE_QUIET),
        NULL, 0, on_marked, NULL);
    return TRUE;
}
