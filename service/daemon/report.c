/* report.c - the state of rows and stores, in the words of the interface */

#include "config.h"

#include <unistd.h>

#include "base/path.h"
#include "daemon/event.h"
#include "daemon/health.h"
#include "daemon/report.h"
#include "daemon/target.h"
#include "daemon/transfer.h"

static const char *const job_names[] = {"", "backup", "recovery"};
static const char *const result_names[] = {"", "ok", "failed"};
static const char *const pending_names[] = {"none", "update", "suspend", "delete"};
static const char *const watch_names[] = {"no", "yes", "waiting", "scan"};
static const char *const quality_names[] = {"", "fuzzy", "stable", "exact"};
static const char *const cause_names[CAUSE_COUNT] = {"first",   "close", "before-restore",
                                                     "deleted", "quiet", "named"};
static const char *const kept_names[] = {"stable", "named", "suspicion", "boot"};

const char *
report_cause(PointCause cause)
{
    return (guint) cause < G_N_ELEMENTS(cause_names) ? cause_names[cause] : "?";
}

const char *
report_quality(Quality quality)
{
    return (guint) quality < G_N_ELEMENTS(quality_names) ? quality_names[quality] : "?";
}

char *
report_kept(guint kept)
{
    g_autoptr(GStrvBuilder) words = g_strv_builder_new();

    for (guint i = 0; i < G_N_ELEMENTS(kept_names); i++)
        if (kept & (1u << i))
            g_strv_builder_add(words, kept_names[i]);
    g_auto(GStrv) list = g_strv_builder_end(words);
    return g_strjoinv(" ", list);
}

static void
add(GVariantBuilder *b, const char *key, GVariant *value)
{
    g_variant_builder_add(b, "{sv}", key, value);
}

static void
add_string(GVariantBuilder *b, const char *key, const char *value)
{
    g_autofree char *valid = g_utf8_make_valid(value ? value : "", -1);

    add(b, key, g_variant_new_string(valid));
}

/* One word for the row, and what to do about it. */
static const char *
state_of(const Entry *e, char **ret_note)
{
    gboolean stored = FALSE, deleted = FALSE;
    const char *why = NULL;

    *ret_note = NULL;
    for (guint i = 0; i < e->targets->len; i++) {
        const Target *t = e->targets->pdata[i];
        stored = stored || t->state == STORED_CURRENT;
        deleted = deleted || t->state == STORED_DELETED;
    }
    if (e->row->suspended)
        return "suspended";
    if (e->stuck_job) {
        *ret_note = g_strdup("its disk hangs: a copier that will not die has the file");
        return "stuck";
    }
    if (e->unbound) {
        *ret_note = g_strdup(e->unbound);
        return "failed";
    }
    if (e->result == RESULT_FAILED) {
        *ret_note = g_strdup(e->error);
        return "failed";
    }
    if (e->absent) {
        *ret_note = g_strdup("its folder is not there, or another file system is in its place; the "
                             "backup stays");
        return "absent";
    }
    if (e->missing && deleted && !stored) {
        *ret_note =
            g_strdup("the file was deleted; 'filedup restore' brings its last content back");
        return "deleted";
    }
    if (e->missing && !stored) {
        *ret_note = g_strdup("the file does not exist yet");
        return "absent";
    }
    if (schedule_is_current(e, e->generation, &why))
        return "current";
    if (why)
        *ret_note = g_strdup(why);
    else if (e->error)
        *ret_note = g_strdup(e->error);
    else if (e->unstable > 2)
        *ret_note = g_strdup("it is open for writing, or changes all the time; the last complete "
                             "version stays");
    return stored || deleted ? "stale" : "new";
}

static GVariant *
report_targets(const Entry *e)
{
    GVariantBuilder b;

    g_variant_builder_init(&b, G_VARIANT_TYPE("a(sssx)"));
    for (guint i = 0; i < e->targets->len; i++) {
        const Target *t = e->targets->pdata[i];
        g_autofree char *full = t->mirror && t->mirror[0]
                                    ? g_build_filename(store_path(t->store), t->mirror, NULL)
                                    : g_strdup("");
        g_autofree char *valid = g_utf8_make_valid(full, -1);
        g_variant_builder_add(&b, "(sssx)", store_name(t->store), store_state_name(t->store), valid,
                              t->state == STORED_NOTHING ? (gint64) 0 : t->time_usec);
    }
    return g_variant_builder_end(&b);
}

static guint64
waiting_changes(const Entry *e)
{
    guint64 most = 0;

    for (guint i = 0; i < e->targets->len; i++) {
        const Target *t = e->targets->pdata[i];
        if (t->durable_generation < e->generation)
            most = MAX(most, e->generation - t->durable_generation);
    }
    return most;
}

static void
add_health(GVariantBuilder *b, const Entry *e, const DrillRecord *drill)
{
    guint suspicion;
    gint64 since;
    guint64 good_point;
    g_autofree char *known = health_known(e), *wrong = health_check(e, drill);
    g_autofree char *suspicious = health_suspicion(e, &suspicion, &since, &good_point);
    g_autofree char *what = event_suspicion_note(suspicion);

    add(b, "dirty_since", g_variant_new_int64(targets_behind_usec(e)));
    add_string(b, "exactness", health_exactness(e));
    add_string(b, "known", known);
    add(b, "compared", g_variant_new_int64(e->current_usec));
    add_string(b, "check", wrong ? wrong : "ok");
    add_string(b, "suspicion", what);
    add(b, "suspicious_since", g_variant_new_int64(since));
    add(b, "good_point", g_variant_new_uint64(good_point));
    add(b, "drilled", g_variant_new_int64(drill ? drill->usec : 0));
    add_string(b, "drill", drill ? drill->result : "");
}

GVariant *
report_entry(const Entry *e, const Drills *drills)
{
    GVariantBuilder b;
    g_autofree char *note = NULL, *watch_note = NULL;
    g_autofree char *suspicious = health_suspicion(e, NULL, NULL, NULL);
    const char *state = state_of(e, &note);
    const Target *first = e->targets->len > 0 ? e->targets->pdata[0] : NULL;
    pid_t copier = e->transfer ? transfer_copier(e->transfer) : recovery_copier(e);

    if (e->watch == WATCH_SCAN)
        watch_note = event_watch_note(e->watch_errno, e->watch_needed);
    g_variant_builder_init(&b, G_VARIANT_TYPE_VARDICT);
    add(&b, "path", path_to_variant(e->row->path));
    add_string(&b, "backup", backup_mode_name(e->row->backup));
    add_string(&b, "recover", recover_mode_name(e->row->recover));
    add(&b, "principal", g_variant_new_uint32(e->row->principal));
    add(&b, "stores", report_targets(e));
    add(&b, "copier", g_variant_new_uint32((guint32) copier));
    add_string(&b, "job", job_names[e->last_job]);
    add(&b, "started", g_variant_new_int64(e->started_usec));
    add_string(&b, "result", result_names[e->result]);
    add_string(&b, "error", e->error);
    add_string(&b, "watched", watch_names[e->watch]);
    add_string(&b, "watch_note", watch_note);
    add(&b, "retries", g_variant_new_uint32(e->row->retries));
    add(&b, "failures", g_variant_new_uint32(e->failures));
    add(&b, "timeout", g_variant_new_uint32(e->row->timeout_sec));
    add_string(&b, "keep", e->row->keep);
    add(&b, "keep_last", g_variant_new_uint32(e->row->keep_last));
    add(&b, "max_lag", g_variant_new_uint32(row_max_lag_sec(e->row)));
    add_string(&b, "pending", pending_names[e->pending]);
    add(&b, "request", g_variant_new_boolean(e->recovery != NULL || e->requests.length > 0));
    add(&b, "queue", g_variant_new_uint64(waiting_changes(e)));
    add_string(&b, "state", state);
    add_string(&b, "state_note", suspicious && !note ? suspicious : note);
    add(&b, "current_as_of",
        g_variant_new_int64(e->current_usec ? e->current_usec
                            : first         ? first->time_usec
                                            : 0));
    add_string(&b, "quality",
               first && first->state != STORED_NOTHING ? report_quality(first->quality) : "");
    add(&b, "size",
        g_variant_new_uint64(first && first->state != STORED_NOTHING ? first->stat.size_bytes : 0));
    add_string(&b, "writer", e->writer);
    add_string(&b, "source", e->row->declared ? e->row->source : "");
    add_health(&b, e, drills_find(drills, e->row->path));
    return g_variant_builder_end(&b);
}

GVariant *
report_store(Manager *m, Store *store)
{
    GVariantBuilder b;
    const StoreUsage *u = store_usage(store);

    g_variant_builder_init(&b, G_VARIANT_TYPE_VARDICT);
    add_string(&b, "name", store_name(store));
    add(&b, "path", path_to_variant(store_path(store)));
    add_string(&b, "uuid", store_uuid(store));
    add_string(&b, "state", store_state_name(store));
    add_string(&b, "note", store_note(store));
    add(&b, "seen", g_variant_new_int64(store_seen_usec(store)));
    add(&b, "free", g_variant_new_uint64(u->free_bytes));
    add(&b, "size", g_variant_new_uint64(u->size_bytes));
    add(&b, "rows", g_variant_new_uint32(manager_count_rows(m, store)));
    add(&b, "default", g_variant_new_boolean(g_str_equal(store_name(store), DEFAULT_STORE_NAME)));
    add(&b, "journal", g_variant_new_uint64(u->journal_bytes));
    add(&b, "max_size", g_variant_new_uint64(store_limit(store)));
    add(&b, "used", g_variant_new_uint64(u->mirror_bytes + u->history_bytes + u->journal_bytes));
    add(&b, "files", g_variant_new_uint64(u->files));
    add(&b, "mirrors", g_variant_new_uint64(u->mirror_bytes));
    add(&b, "history", g_variant_new_uint64(u->history_bytes));
    add(&b, "points", g_variant_new_uint64(u->points));
    return g_variant_builder_end(&b);
}

GVariant *
report_daemon(Manager *m)
{
    GVariantBuilder b;
    const Settings *s = manager_settings(m);

    g_variant_builder_init(&b, G_VARIANT_TYPE_VARDICT);
    add_string(&b, "mode", s->system ? "system" : "user");
    add(&b, "pid", g_variant_new_uint32((guint32) getpid()));
    add_string(&b, "version", PACKAGE_VERSION);
    add(&b, "socket", path_to_variant(s->socket_path));
    add(&b, "stuck",
        g_variant_new_uint32(copiers_count_stuck(schedule_copiers(manager_schedule(m)))));
    return g_variant_builder_end(&b);
}

static void
add_content(GVariantBuilder *b, const RecoveryResult *r)
{
    g_variant_builder_init(b, G_VARIANT_TYPE_VARDICT);
    add(b, "size", g_variant_new_uint64(r->size_bytes));
    add(b, "time", g_variant_new_int64(r->time_usec));
    add_string(b, "quality", report_quality(r->quality));
    add_string(b, "store", r->store);
    add(b, "point", g_variant_new_uint64(r->point));
    add(b, "stable_point", g_variant_new_uint64(r->stable_point));
}

GVariant *
report_restore(const RecoveryResult *r)
{
    GVariantBuilder b;

    add_content(&b, r);
    add(&b, "written", g_variant_new_uint64(r->written_bytes));
    add(&b, "saved", g_variant_new_boolean(r->saved));
    add(&b, "saved_point", g_variant_new_uint64(r->saved_point));
    add(&b, "left", path_to_variant(r->left ? r->left : ""));
    add_string(&b, "problems", r->problems);
    add(&b, "existed", g_variant_new_boolean(r->existed));
    return g_variant_builder_end(&b);
}

static GVariant *
blob(gconstpointer data, gsize n)
{
    return g_variant_new_fixed_array(G_VARIANT_TYPE_BYTE, n ? data : NULL, n, 1);
}

GVariant *
report_extract(const RecoveryResult *r)
{
    GVariantBuilder b;
    gsize n = 0;
    gconstpointer attributes = r->attributes ? g_bytes_get_data(r->attributes, &n) : NULL;

    add_content(&b, r);
    add(&b, "mode", g_variant_new_uint32(r->stat.mode));
    add(&b, "uid", g_variant_new_uint32(r->stat.uid));
    add(&b, "gid", g_variant_new_uint32(r->stat.gid));
    add(&b, "mtime", g_variant_new_int64(r->stat.mtime_ns));
    add(&b, "attributes", blob(attributes, n));
    add(&b, "hash", blob(r->hash, HASH_BYTES));
    return g_variant_builder_end(&b);
}
