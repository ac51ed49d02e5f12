/* keeper.c - the role that owns a store
 *
 * PURPOSE     journal, catalog, mirrors and history of one store. Contents come to it in sealed
 *             memory files, or in staged files whose descriptors it handed out.
 * PRIVILEGES  the store's owner: root in system mode. It never opens a protected path.
 *
 * Start-up is recovery: lock, catalog, journal (journal.c), packs and what a crash left prepared
 * (store_recover), then KEEPER_OPENED, then service. What recovery found pending is applied like
 * anything else.
 *
 * LOOP        Take all messages that wait; write all their transactions; one fdatasync for all of
 *             them (group commit); answer each. A question is answered after a commit, so it sees
 *             nothing that is not durable. Apply in between, a batch at a time: 20 ms after the last
 *             append, or when something has waited for a second. Then a turn of upkeep.c, if one is
 *             due. What takes long (putting a content together, verifying one) is the worker's, a
 *             thread with descriptors of its own (worker.c).
 *
 * INVARIANTS
 *  (1) KEEPER_DURABLE without an error is sent after the fdatasync that covers it, and only then.
 *      Nothing is applied before that fdatasync either.
 *  (2) After an error of journal, packs or catalog (`failed`) nothing is acknowledged: the role
 *      exits with 1, and recovery finds out what is true. A full store is no such error, and what is
 *      wrong with one file (its mirror cannot be read or replaced) is none either: that file is
 *      stuck, tried again with back-off, and hinders no other.
 *  (3) `clean` is set only with nothing pending, and cleared before anything is accepted.
 *  (4) A content that had to be given up (apply.c) is made known by the next opening: once all else
 *      is applied, the role exits for it.
 *  (5) What is being read is not applied to (`held`), unless the journal is full. That, and what else
 *      may change under a reader (a pack that is removed, a journal that is compacted), raises
 *      `changes`, and he begins anew.
 */

#include "config.h"

#include <errno.h>
#include <poll.h>
#include <string.h>

#include "base/error.h"
#include "base/path.h"
#include "base/role.h"
#include "store/keeper.h"
#include "store/staged.h"

#define STOP_USEC                                                                                  \
    (3 * G_USEC_PER_SEC)                    /* an orderly stop applies so long, and waits
                                                so long for the worker                    */
#define TELL_USEC      (G_USEC_PER_SEC / 2) /* between two looks at the worker's progress  */
#define BATCH_MESSAGES 256
#define BATCH_BYTES    (32 * 1024 * 1024)

void
keeper_fail(Keeper *k, const GError *error)
{
    if (!k->failed)
        g_warning("keeper of '%s': %s: starting again", k->store.layout->path,
                  error ? error->message : "failed");
    k->failed = TRUE; /* invariant 2 */
}

void
keeper_send(Keeper *k, MessageType type, GVariant *body, const int *fds, guint n_fds)
{
    g_autoptr(GError) error = NULL;

    if (!channel_send(k->channel, type, body, fds, n_fds, &error))
        g_debug("keeper: %s", error->message); /* the end of the channel shows when receiving */
}

gboolean
keeper_commit(Keeper *k)
{
    g_autoptr(GError) error = NULL;

    if (k->failed)
        return FALSE;
    if (k->unacked->len == 0)
        return TRUE;
    if (!journal_sync(k->store.journal, &error)) {
        keeper_fail(k, error);
        return FALSE;
    }
    gint64 now = g_get_monotonic_time();
    for (guint i = 0; i < k->unacked->len; i++) { /* invariant 1 */
        const Unacked *u = &g_array_index(k->unacked, Unacked, i);
        keeper_send(k, MESSAGE_KEEPER_DURABLE,
                    g_variant_new("(t@" MESSAGE_ERROR_TYPE "txxu)", u->job,
                                  message_error_new(NULL, 0), u->seq, now, u->time_usec,
                                  u->suspicion),
                    NULL, 0);
    }
    g_array_set_size(k->unacked, 0);
    k->unacked_bytes = 0;
    return TRUE;
}

GVariant *
keeper_bytes(const void *data, gsize n)
{
    return g_variant_new_fixed_array(G_VARIANT_TYPE_BYTE, data, n, 1);
}

GVariant *
keeper_gbytes(GBytes *bytes)
{
    gsize n = 0;
    const void *data = bytes ? g_bytes_get_data(bytes, &n) : NULL;

    return keeper_bytes(data, n);
}

/* ---- the loop ---- */

/* Invariant 4. */
static void
tell_what_is_lost(Keeper *k)
{
    static const GError lost = {.message = (char *) "a content had to be given up"};

    if (k->lost && !pending_oldest_but(k->store.pending, k->held))
        keeper_fail(k, &lost);
}

static void
cancel(Keeper *k, GVariant *body)
{
    guint64 job;

    g_variant_get(body, "(t)", &job);
    worker_cancel(k->worker, job);
    upkeep_cancel(k, job);
}

/* FALSE: stop. */
static gboolean
handle(Keeper *k, Message *m)
{
    if (m->type == MESSAGE_DAEMON_APPEND) {
        intake_append(k, m);
        return TRUE;
    }
    if (m->type == MESSAGE_DAEMON_MARK) {
        intake_mark(k, m->body);
        return TRUE;
    }
    if (!keeper_commit(k))
        return FALSE;
    switch (m->type) {
    case MESSAGE_DAEMON_STAGE:
        intake_stage(k, m->body);
        return TRUE;
    case MESSAGE_DAEMON_UNSTAGE:
        intake_unstage(k, m->body);
        return TRUE;
    case MESSAGE_DAEMON_LOOKUP:
        answer_lookup(k, m->body);
        return TRUE;
    case MESSAGE_DAEMON_SUMS:
        answer_sums(k, m->body);
        return TRUE;
    case MESSAGE_DAEMON_CONTENT:
        supply_content(k, m->body);
        return TRUE;
    case MESSAGE_DAEMON_VERIFY:
        checking_verify(k, m->body);
        return TRUE;
    case MESSAGE_DAEMON_POINTS:
        answer_points(k, m->body);
        return TRUE;
    case MESSAGE_DAEMON_APPROVE:
        intake_approve(k, m->body);
        return TRUE;
    case MESSAGE_DAEMON_POLICY:
        upkeep_policy(k, m->body);
        return TRUE;
    case MESSAGE_DAEMON_LIMIT:
        upkeep_limit(k, m->body);
        return TRUE;
    case MESSAGE_DAEMON_PRUNE:
        upkeep_prune(k, m->body);
        return TRUE;
    case MESSAGE_DAEMON_FORGET:
        upkeep_forget(k, m->body);
        return TRUE;
    case MESSAGE_DAEMON_CANCEL:
        cancel(k, m->body);
        return TRUE;
    case MESSAGE_DAEMON_STOP:
        return FALSE;
    default:
        g_debug("keeper: %s is not for a keeper", message_name(m->type));
        return TRUE;
    }
}

typedef enum { TURN_AGAIN, TURN_STOP, TURN_GONE } Turn;

/* All messages that wait, then one commit for all. */
static Turn
take_messages(Keeper *k)
{
    Turn turn = TURN_AGAIN;

    for (guint i = 0; i < BATCH_MESSAGES && k->unacked_bytes < BATCH_BYTES && !k->failed; i++) {
        g_autoptr(GError) error = NULL;
        g_autoptr(Message) m = channel_receive(k->channel, &error);
        if (error) {
            g_debug("keeper: %s", error->message);
            turn = TURN_GONE;
            break;
        }
        if (!m)
            break;
        if (!handle(k, m)) {
            turn = TURN_STOP;
            break;
        }
    }
    (void) keeper_commit(k);
    return turn;
}

static void
wait(Keeper *k)
{
    gint64 now = g_get_monotonic_time();
    gint64 due = MIN(keeper_apply_due(k), k->space_looked_usec + 60 * G_USEC_PER_SEC);
    struct pollfd p[] = {
        {.fd = channel_fd(k->channel),
         .events = (short) (POLLIN | (channel_has_queue(k->channel) ? POLLOUT : 0))},
        {.fd = worker_fd(k->worker), .events = POLLIN}};

    due = MIN(due, MIN(upkeep_due(k), loans_due(k->loans)));
    if (worker_count(k->worker) > 0)
        due = MIN(due, k->told_usec + TELL_USEC);
    (void) poll(p, G_N_ELEMENTS(p), due <= now ? 0 : (int) MIN((due - now + 999) / 1000, 60000));
    if (p[0].revents & POLLOUT)
        (void) channel_flush(k->channel, NULL);
}

static gboolean
has_input(Keeper *k)
{
    struct pollfd p = {.fd = channel_fd(k->channel), .events = POLLIN};

    return poll(&p, 1, 0) > 0;
}

static void
prepare_when_idle(Keeper *k)
{
    LayoutSpace space;

    if (pending_oldest_but(k->store.pending, k->held) || has_input(k))
        return;
    if (upkeep_space(k, &space, NULL) &&
        space.free_bytes > space.reserve_bytes + 4 * space.segment_bytes)
        journal_prepare(k->store.journal);
}

/* What recovery left behind may be larger than what a journal needs. */
static void
shrink_if_short(Keeper *k)
{
    LayoutSpace space;

    if (upkeep_space(k, &space, NULL) &&
        space.free_bytes < space.reserve_bytes + 4 * space.segment_bytes)
        (void) journal_shrink(k->store.journal, 1);
}

static void
tell(const Task *t, gpointer data)
{
    keeper_send(data, MESSAGE_KEEPER_PROGRESS,
                g_variant_new("(tt)", t->job, __atomic_load_n(&t->bytes, __ATOMIC_RELAXED)), NULL,
                0);
}

static void
finish_readings(Keeper *k)
{
    gint64 now = g_get_monotonic_time();

    worker_finish(k->worker, k);
    if (now - k->told_usec < TELL_USEC)
        return;
    k->told_usec = now;
    worker_tell(k->worker, tell, k);
}

static Turn
serve(Keeper *k)
{
    for (;;) {
        Turn turn = take_messages(k);
        if (turn != TURN_AGAIN || k->failed)
            return turn;
        answer_space(k, FALSE);
        finish_readings(k);
        if (loans_due(k->loans) <= g_get_monotonic_time())
            loans_look(k->loans);
        keeper_apply_if_due(k, g_get_monotonic_time());
        tell_what_is_lost(k);
        if (!k->failed && upkeep_due(k) <= g_get_monotonic_time())
            upkeep_turn(k);
        if (k->failed)
            return turn;
        prepare_when_idle(k);
        wait(k);
    }
}

/* ---- opening ---- */

static gboolean
sweep_staged(Keeper *k, GError **error)
{
    g_autoptr(GHashTable) needed = g_hash_table_new(g_int64_hash, g_int64_equal);
    g_autoptr(GList) paths = pending_paths(k->store.pending);

    for (GList *l = paths; l; l = l->next) {
        GPtrArray *list = pending_of(k->store.pending, l->data);
        for (guint i = 0; i < list->len; i++) {
            Transaction *t = list->pdata[i];
            if (t->capture.kind == APPEND_STAGED)
                g_hash_table_add(needed, &t->capture.staged);
        }
    }
    return staged_sweep(k->store.layout->staged, needed, error);
}

static guint64
highest_file(const Keeper *k)
{
    g_autoptr(GList) paths = pending_paths(k->store.pending);
    guint64 highest = 0;

    for (GList *l = paths; l; l = l->next) {
        GPtrArray *list = pending_of(k->store.pending, l->data);
        highest = MAX(highest, ((Transaction *) list->pdata[0])->capture.file);
    }
    return highest;
}

static gboolean
open_journal(Keeper *k, const CatalogState *state, JournalReport *report, GError **error)
{
    LayoutSpace space;

    if (!layout_space(k->store.layout, &space, error))
        return FALSE;
    JournalOptions options = {
        .uuid = k->store.layout->uuid,
        .segment_bytes = space.segment_bytes,
        .applied = state->applied,
        .last_seq = state->last_seq,
        .last_time_usec = state->last_time_usec,
        .incarnation = state->incarnation,
        .clean = state->clean,
        .lost = state->lost,
    };
    k->store.journal =
        journal_open(k->store.layout->journal, &options, k->store.pending, report, error);
    if (!k->store.journal)
        return FALSE;
    if (!state->clean)
        g_debug("keeper: it was not stopped in order; %u transactions recovered",
                report->recovered);
    if (!report->direct)
        g_debug("keeper: no O_DIRECT here: recovery reads through the page cache");
    return TRUE;
}

/* Packs, and what a crash left prepared. */
static gboolean
recover(Keeper *k, JournalReport *report, GError **error)
{
    g_autofree char *note = NULL;
    gboolean damage = FALSE;

    if (!store_recover(&k->store, &note, &damage, error))
        return FALSE;
    report->damage |= damage;
    if (note && report->note) {
        g_autofree char *journal = g_steal_pointer(&report->note);
        report->note = g_strconcat(journal, "; ", note, NULL);
    } else if (note) {
        report->note = g_steal_pointer(&note);
    }
    return TRUE;
}

/* Never an empty one in its stead. */
static gboolean
open_catalog(Keeper *k, CatalogState *state, GError **error)
{
    g_autofree char *catalog = g_build_filename(k->store.layout->path, CATALOG_NAME, NULL);
    g_autofree char *folder = path_escape(k->store.layout->path);
    g_autoptr(GError) local = NULL;

    if (access(catalog, F_OK) < 0)
        (void) throw_errno(&local, "its catalog '%s' cannot be opened", CATALOG_NAME);
    else if ((k->store.catalog = catalog_open(catalog, FALSE, &local)) &&
             catalog_state(k->store.catalog, state, &local))
        return TRUE;
    return throw_error(error, (FiledupError) local->code,
                       "%s; if it is lost or damaged, 'filedup store rebuild %s' makes a new one",
                       local->message, folder);
}

static gboolean
open_store(Keeper *k, const RoleArgs *args, JournalReport *report, CatalogState *state,
           int *ret_errno, GError **error)
{
    k->store.layout = layout_open(args->store_path, args->store_uuid,
                                  args->store_create ? LAYOUT_CREATE : LAYOUT_KEEP, args->system,
                                  ret_errno, error);
    if (!k->store.layout)
        return FALSE;
    if (!open_catalog(k, state, error) || !open_journal(k, state, report, error))
        return FALSE;
    if (!recover(k, report, error) || !upkeep_open(k, error))
        return FALSE;
    k->loans = loans_new(k->store.layout->staged);
    k->next_file = MAX(state->last_file, highest_file(k)) + 1;
    k->next_staged = (guint64) g_get_real_time(); /* not a number that an earlier keeper gave out */
    g_autofree char *boot = layout_boot_id();
    return sweep_staged(k, error) &&
           catalog_set_open(k->store.catalog, journal_incarnation(k->store.journal), boot,
                            journal_last_seq(k->store.journal), error);
}

static gboolean
open_and_say(Keeper *k, const RoleArgs *args)
{
    g_autoptr(GError) error = NULL;
    g_auto(JournalReport) report = {0};
    CatalogState state = {0};
    int errnum = 0;

    gboolean ok = open_store(k, args, &report, &state, &errnum, &error);
    keeper_send(k, MESSAGE_KEEPER_OPENED,
                g_variant_new("(@" MESSAGE_ERROR_TYPE "stbs)", message_error_new(error, errnum),
                              k->store.layout ? k->store.layout->uuid : "", state.applied,
                              report.damage, report.note ? report.note : ""),
                NULL, 0);
    return ok;
}

/* ---- life ---- */

static void
keeper_clear(Keeper *k)
{
    if (!worker_stop(k->worker, STOP_USEC))
        return; /* what it uses ends with the process */
    g_clear_pointer(&k->worker, worker_free);
    g_clear_pointer(&k->upkeep, upkeep_free);
    g_clear_pointer(&k->loans, loans_free);
    store_clear(&k->store);
    g_clear_pointer(&k->unacked, g_array_unref);
    g_clear_pointer(&k->held, g_hash_table_unref);
    g_clear_pointer(&k->staged, g_hash_table_unref);
    g_clear_pointer(&k->heads, g_hash_table_unref);
    g_clear_pointer(&k->dues, g_hash_table_unref);
    g_clear_pointer(&k->channel, channel_free);
}

static void
stop(Keeper *k)
{
    gint64 end = g_get_monotonic_time() + STOP_USEC;
    g_autoptr(GError) error = NULL;

    if (worker_stop(k->worker, STOP_USEC)) /* nobody waits for what is being read any more */
        keeper_release_all(k);
    while (g_get_monotonic_time() < end && keeper_apply_oldest(k, NULL))
        ;
    if (k->failed || k->lost || pending_oldest(k->store.pending)) /* invariants 3 and 4 */
        return;
    if (!catalog_set_clean(k->store.catalog, journal_last_seq(k->store.journal), &error)) {
        keeper_fail(k, error);
        return;
    }
    layout_release(k->store.layout);
}

int
keeper_main(const RoleArgs *args, Channel *channel)
{
    Keeper k = {.channel = channel, .batch_files = 8};

    k.store.pending = pending_new();
    k.unacked = g_array_new(FALSE, FALSE, sizeof(Unacked));
    k.held = g_hash_table_new_full(g_str_hash, g_str_equal, g_free, g_free);
    k.staged = intake_staged_new();
    k.heads = intake_heads_new();
    k.dues = g_hash_table_new_full(g_str_hash, g_str_equal, g_free, g_free);
    k.worker = worker_new();
    k.upkeep = upkeep_new();
    gboolean ok = open_and_say(&k, args);
    if (ok) {
        shrink_if_short(&k);
        answer_space(&k, TRUE);
        if (serve(&k) == TURN_STOP && !k.failed)
            stop(&k);
        ok = !k.failed;
    }
    while (channel_has_queue(k.channel) && channel_flush(k.channel, NULL) &&
           channel_has_queue(k.channel)) {
        struct pollfd p = {.fd = channel_fd(k.channel), .events = POLLOUT};
        if (poll(&p, 1, 1000) <= 0)
            break;
    }
    keeper_clear(&k);
    return ok ? 0 : 1;
}
