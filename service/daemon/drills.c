/* drills.c - the daily drill, and the memory of all drills
 *
 * A backup that has never been restored is a hope. Every day the files that were restored the longest
 * time ago have their turn, so many that each has one within a month. A drill that failed is an event
 * and stays in status until one succeeds. Between two drills is a pause of PAUSE times what the last
 * one took: they cost a small share of a disk.
 *
 * FORMAT of state/drills, a GVariant of STATE_TYPE: version, when the last daily round began, and of
 * each file its path, when it was drilled, and the result. It is replaced as a whole (temporary file,
 * fsync, rename).
 */

#include "config.h"

#include <string.h>

#include "base/error.h"
#include "base/fd.h"
#include "base/path.h"
#include "daemon/drills.h"
#include "daemon/event.h"

#define STATE_NAME    "drills"
#define STATE_TYPE    "(uxa(ayxs))"
#define STATE_VERSION 1
#define FIRST_SEC     600 /* after the start: there is other work */
#define LOOK_SEC      3600
#define DAY_USEC      (G_GINT64_CONSTANT(24) * 3600 * G_USEC_PER_SEC)
#define PAUSE         10
#define PAUSE_MIN_SEC 1
#define DAYS_OF_TURN  30
#define PER_DAY_MIN   3
#define PER_DAY_MAX   200

struct Drills {
    Manager *manager;
    GHashTable *records; /* path -> DrillRecord */
    gint64 round_usec;   /* since the epoch: when the last daily round began */
    GPtrArray *waiting;  /* paths of this round */
    char *path;          /* the one that runs */
    Drill *drill;
    gint64 started_usec;
    guint timer;
};

static void wait_for(Drills *d, guint sec);

static void
record_free(DrillRecord *r)
{
    g_free(r->result);
    g_free(r);
}

static void
set_record(Drills *d, const char *path, gint64 usec, const char *result)
{
    DrillRecord *r = g_new0(DrillRecord, 1);

    r->usec = usec;
    r->result = g_strdup(result);
    g_hash_table_insert(d->records, g_strdup(path), r);
}

static char *
state_path(const Drills *d)
{
    return g_build_filename(manager_settings(d->manager)->state_folder, STATE_NAME, NULL);
}

static void
load(Drills *d)
{
    g_autofree char *path = state_path(d), *data = NULL;
    g_autoptr(GVariantIter) iter = NULL;
    gsize n;
    guint32 version;
    GVariant *file;
    gint64 usec;
    const char *result;

    if (!g_file_get_contents(path, &data, &n, NULL))
        return;
    g_autoptr(GBytes) bytes = g_bytes_new(data, n);
    g_autoptr(GVariant) state =
        g_variant_ref_sink(g_variant_new_from_bytes(G_VARIANT_TYPE(STATE_TYPE), bytes, FALSE));
    if (g_variant_is_normal_form(state))
        g_variant_get_child(state, 0, "u", &version);
    else
        version = 0;
    if (version != STATE_VERSION) {
        g_warning("'%s' is not understood: it is begun anew, every file has its drill again", path);
        return;
    }
    g_variant_get(state, STATE_TYPE, NULL, &d->round_usec, &iter);
    while (g_variant_iter_next(iter, "(@ayx&s)", &file, &usec, &result)) {
        g_autoptr(GVariant) owned = file;
        const char *name = path_from_variant(file);
        if (name)
            set_record(d, name, usec, result);
    }
}

static void
save(const Drills *d)
{
    g_autofree char *path = state_path(d);
    g_autoptr(GError) error = NULL;
    GVariantBuilder files;
    GHashTableIter iter;
    gpointer key, value;

    g_variant_builder_init(&files, G_VARIANT_TYPE("a(ayxs)"));
    g_hash_table_iter_init(&iter, d->records);
    while (g_hash_table_iter_next(&iter, &key, &value)) {
        const DrillRecord *r = value;
        g_autofree char *valid = g_utf8_make_valid(r->result, -1);
        if (manager_find(d->manager, key)) /* rows that are gone are forgotten */
            g_variant_builder_add(&files, "(@ayxs)", path_to_variant(key), r->usec, valid);
    }
    g_autoptr(GVariant) state = g_variant_ref_sink(
        g_variant_new(STATE_TYPE, (guint32) STATE_VERSION, d->round_usec, &files));
    if (!g_file_set_contents_full(
            path, g_variant_get_data(state), (gssize) g_variant_get_size(state),
            G_FILE_SET_CONTENTS_CONSISTENT | G_FILE_SET_CONTENTS_DURABLE, 0600, &error))
        g_warning("%s; which files were drilled is known until the daemon ends", error->message);
}

const DrillRecord *
drills_find(const Drills *d, const char *path)
{
    return g_hash_table_lookup(d->records, path);
}

void
drills_note(Drills *d, const Entry *e, const char *why)
{
    set_record(d, e->row->path, g_get_real_time(), why ? why : "ok");
    if (why)
        event_drill_failed(e, why);
    save(d);
}

guint
drills_per_day(guint files)
{
    return MIN(files, CLAMP((files + DAYS_OF_TURN - 1) / DAYS_OF_TURN, PER_DAY_MIN, PER_DAY_MAX));
}

static gint
compare_turns(gconstpointer a, gconstpointer b, gpointer data)
{
    const Drills *d = data;
    const char *path_a = *(char *const *) a, *path_b = *(char *const *) b;
    const DrillRecord *record_a = drills_find(d, path_a), *record_b = drills_find(d, path_b);
    gint64 usec_a = record_a ? record_a->usec : 0, usec_b = record_b ? record_b->usec : 0;

    return usec_a != usec_b ? (usec_a < usec_b ? -1 : 1) : strcmp(path_a, path_b);
}

GPtrArray *
drills_pick(const Drills *d, const GPtrArray *paths, guint most)
{
    GPtrArray *picked = g_ptr_array_new_with_free_func(g_free);

    for (guint i = 0; i < paths->len; i++)
        g_ptr_array_add(picked, g_strdup(paths->pdata[i]));
    g_ptr_array_sort_with_data(picked, compare_turns, (gpointer) d);
    if (picked->len > most)
        g_ptr_array_set_size(picked, (gint) most);
    return picked;
}

/* ---- the daily round ---- */

static void
on_drilled(gboolean ran, const char *why, gpointer data)
{
    Drills *d = data;
    Entry *e = manager_find(d->manager, d->path);
    gint64 took_usec = g_get_monotonic_time() - d->started_usec;

    d->drill = NULL;
    if (e && ran)
        drills_note(d, e, why);
    else
        g_debug("no drill of '%s': %s", d->path, why ? why : "its row is gone");
    wait_for(d, (guint) MAX(took_usec * PAUSE / G_USEC_PER_SEC, PAUSE_MIN_SEC));
}

/* The store of the row that has it; each turn of a file takes the next one. */
static Store *
choose_store(const Entry *e)
{
    guint n = e->targets->len, first = n ? (guint) (g_get_real_time() / DAY_USEC) % n : 0;

    for (guint i = 0; i < n; i++) {
        const Target *t = e->targets->pdata[(first + i) % n];
        if (store_is_ready(t->store) && t->known && t->state != STORED_NOTHING)
            return t->store;
    }
    return NULL;
}

static void
drill_next(Drills *d)
{
    while (d->waiting->len > 0) {
        g_free(d->path);
        d->path = g_ptr_array_steal_index(d->waiting, 0);
        Entry *e = manager_find(d->manager, d->path);
        Store *store = e && !e->row->suspended ? choose_store(e) : NULL;
        if (!store)
            continue;
        d->started_usec = g_get_monotonic_time();
        Drill *drill = drill_start(d->manager, e, store, on_drilled, d);
        if (drill)
            d->drill = drill;
        return;
    }
    wait_for(d, LOOK_SEC);
}

static gboolean
on_timer(gpointer data)
{
    Drills *d = data;
    gint64 now = g_get_real_time();

    d->timer = 0;
    if (d->waiting->len == 0 && manager_settings(d->manager)->drill &&
        (now - d->round_usec >= DAY_USEC || now < d->round_usec)) {
        g_autoptr(GList) entries = manager_entries(d->manager);
        g_autoptr(GPtrArray) paths = g_ptr_array_new();
        for (GList *l = entries; l; l = l->next)
            if (!((Entry *) l->data)->row->suspended)
                g_ptr_array_add(paths, ((Entry *) l->data)->row->path);
        g_ptr_array_unref(d->waiting);
        d->waiting = drills_pick(d, paths, drills_per_day(paths->len));
        d->round_usec = now;
        save(d);
    }
    drill_next(d);
    return G_SOURCE_REMOVE;
}

static void
wait_for(Drills *d, guint sec)
{
    g_clear_handle_id(&d->timer, g_source_remove);
    d->timer = g_timeout_add_seconds(sec, on_timer, d);
}

Drills *
drills_new(Manager *m)
{
    Drills *d = g_new0(Drills, 1);

    d->manager = m;
    d->records =
        g_hash_table_new_full(g_str_hash, g_str_equal, g_free, (GDestroyNotify) record_free);
    d->waiting = g_ptr_array_new_with_free_func(g_free);
    load(d);
    wait_for(d, FIRST_SEC);
    return d;
}

void
drills_free(Drills *d)
{
    if (!d)
        return;
    drill_cancel(d->drill);
    g_clear_handle_id(&d->timer, g_source_remove);
    g_ptr_array_unref(d->waiting);
    g_hash_table_unref(d->records);
    g_free(d->path);
    g_free(d);
}
