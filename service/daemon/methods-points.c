/* methods-points.c - Points, Point: the recovery points of a row
 *
 * The number of a point is that of one store: the same content has another number in another store.
 * So a number is given back to the store that told it: the one named, else the first that is there.
 */

#include "config.h"

#include <string.h>

#include "base/error.h"
#include "base/path.h"
#include "daemon/control.h"
#include "daemon/methods-asking.h"
#include "daemon/report.h"

#define POINTS_MAX     100000 /* a D-Bus message has an end */
#define NAME_MAX_BYTES 255

static void
add(GVariantBuilder *b, const char *key, GVariant *value)
{
    g_variant_builder_add(b, "{sv}", key, value);
}

/* ---- Points ---- */

static GVariant *
ask_points(guint64 job, const RoundPart *part, gpointer data)
{
    const Asking *a = data;

    return g_variant_new("(t@ayu)", job, path_to_variant(part->path), a->limit);
}

static gboolean
take_points(const RoundPart *part, Message *m, const GError *failure, gpointer data)
{
    Asking *a = data;
    g_autoptr(GError) error = failure ? g_error_copy(failure) : NULL;
    g_autoptr(GVariant) points = m ? asking_take_list(m, POINTS_TYPE, &error) : NULL;
    GVariantIter iter;
    guint64 id, sequence, size, changed;
    gint64 time_usec, deleted_usec;
    guint32 cause, quality, kept;
    const char *name;
    gboolean newest;

    if (!points) {
        a->error = g_steal_pointer(&error);
        return TRUE;
    }
    g_variant_iter_init(&iter, points);
    while (g_variant_iter_next(&iter, "(ttxuutt&suxb)", &id, &sequence, &time_usec, &cause,
                               &quality, &size, &changed, &name, &kept, &deleted_usec, &newest)) {
        g_autofree char *kept_names = report_kept(kept);
        g_variant_builder_open(&a->list, G_VARIANT_TYPE_VARDICT);
        add(&a->list, "id", g_variant_new_uint64(id));
        add(&a->list, "sequence", g_variant_new_uint64(sequence));
        add(&a->list, "time", g_variant_new_int64(time_usec));
        add(&a->list, "cause", g_variant_new_string(report_cause((PointCause) cause)));
        add(&a->list, "quality", g_variant_new_string(report_quality((Quality) quality)));
        add(&a->list, "size", g_variant_new_uint64(size));
        add(&a->list, "changed", g_variant_new_uint64(changed));
        add(&a->list, "name", g_variant_new_string(name));
        add(&a->list, "kept", g_variant_new_string(kept_names));
        add(&a->list, "deleted", g_variant_new_int64(deleted_usec));
        add(&a->list, "newest", g_variant_new_boolean(newest));
        add(&a->list, "store", g_variant_new_string(part->store));
        g_variant_builder_close(&a->list);
    }
    return TRUE;
}

/* With an error of its only store, or with the list. */
static void
return_list(gpointer data)
{
    Asking *a = data;

    a->round = NULL;
    if (a->error)
        asking_refuse(a, a->error);
    else
        asking_return(a, g_variant_new("(aa{sv})", &a->list));
}

static void
begin_points(Asking *a)
{
    Entry *e = asking_entry(a);

    if (!e)
        return;
    const char *store = asking_first_store(e, a->store);
    if (store[0])
        round_add_entry(a->round, e, store, FALSE);
    else
        asking_note_absent(a, e, "");
    asking_start(a, "none of its stores is available now");
}

static gboolean
on_points(G_GNUC_UNUSED FiledupManager1 *skeleton, GDBusMethodInvocation *invocation,
          const gchar *path, GVariant *options, gpointer data)
{
    static const RoundFuncs funcs = {MESSAGE_DAEMON_POINTS, ask_points, take_points, return_list};
    Methods *m = data;
    g_autoptr(GError) error = NULL;
    const char *store;
    Entry *e = methods_find(m, invocation, path, &error);

    if (!e || !methods_store_option(m, e, options, &store, NULL, &error) ||
        !asking_check(m, invocation, &error))
        return methods_refuse(invocation, error);
    Asking *a = asking_new(m, invocation, path, &funcs);
    (void) g_variant_lookup(options, "limit", "u", &a->limit);
    a->limit = a->limit ? MIN(a->limit, POINTS_MAX) : POINTS_MAX;
    a->store = g_strdup(store);
    asking_when_open(a, begin_points);
    return TRUE;
}

/* ---- Point ---- */

static GVariant *
ask_mark(guint64 job, const RoundPart *part, gpointer data)
{
    const Asking *a = data;

    return g_variant_new("(t@aysu)", job, path_to_variant(part->path), a->name,
                         (guint32) CAUSE_NAMED);
}

static gboolean
take_marked(const RoundPart *part, Message *m, const GError *error, gpointer data)
{
    Asking *a = data;
    Entry *e = manager_find(a->methods->manager, part->path);
    Store *store = stores_find(manager_stores(a->methods->manager), part->store);
    const Target *t = e && store ? entry_find_target(e, store) : NULL;
    GVariantBuilder b;
    guint64 id;

    if (!m) {
        asking_note_error(a, part, error);
        return TRUE;
    }
    if (a->answers++ > 0)
        return TRUE;
    g_variant_get_child(m->body, 2, "t", &id);
    g_variant_builder_init(&b, G_VARIANT_TYPE_VARDICT);
    add(&b, "id", g_variant_new_uint64(id));
    add(&b, "time", g_variant_new_int64(t ? t->time_usec : 0));
    add(&b, "quality", g_variant_new_string(t ? report_quality(t->quality) : ""));
    add(&b, "size", g_variant_new_uint64(t ? t->stat.size_bytes : 0));
    add(&b, "store", g_variant_new_string(part->store));
    a->result = g_variant_ref_sink(g_variant_builder_end(&b));
    return TRUE;
}

static void
return_mark(gpointer data)
{
    Asking *a = data;
    GVariantDict dict;

    a->round = NULL;
    if (!a->result) {
        asking_refuse(a, a->error);
        return;
    }
    g_variant_dict_init(&dict, a->result);
    g_variant_dict_insert(&dict, "note", "s", a->note->str);
    g_variant_dict_insert(&dict, "not_current", "s", a->not_current ? a->not_current : "");
    asking_return(a, g_variant_new("(@a{sv})", g_variant_dict_end(&dict)));
}

static void
on_point_synced(const GPtrArray *files, const GError *error, gpointer data)
{
    Asking *a = data;
    Entry *e = manager_find(a->methods->manager, a->path);

    a->syncing = FALSE;
    if (error) {
        round_cancel(g_steal_pointer(&a->round));
        asking_refuse(a, error);
        return;
    }
    const SyncFile *f = files->len > 0 ? files->pdata[0] : NULL;
    if (f && f->reason)
        a->not_current = g_utf8_make_valid(f->reason, -1);
    if (e) {
        round_add_entry(a->round, e, "", FALSE);
        asking_note_absent(a, e, "");
    }
    asking_start(a, "none of its stores is available now");
}

/* As people write it after an "@": nothing that cannot be seen, and not what reads as a number. */
static gboolean
name_check(const char *name, GError **error)
{
    gboolean plain = strlen(name) <= NAME_MAX_BYTES && !g_str_has_prefix(name, " ") &&
                     !g_str_has_suffix(name, " ") &&
                     (!name[0] || name[strspn(name, G_CSET_DIGITS)] != '\0');

    for (const char *c = name; plain && *c; c = g_utf8_next_char(c))
        plain = g_unichar_isprint(g_utf8_get_char(c));
    return plain ||
           throw_error(error, FILEDUP_ERROR_REFUSED,
                       "a point's name is text of at most %d bytes, without control characters and "
                       "without spaces at its ends, and is no number",
                       NAME_MAX_BYTES);
}

static gboolean
on_point(G_GNUC_UNUSED FiledupManager1 *skeleton, GDBusMethodInvocation *invocation,
         const gchar *path, const gchar *name, gpointer data)
{
    static const RoundFuncs funcs = {MESSAGE_DAEMON_MARK, ask_mark, take_marked, return_mark};
    Methods *m = data;
    g_autoptr(GError) error = NULL;

    if (!methods_find(m, invocation, path, &error) || !name_check(name, &error) ||
        !asking_check(m, invocation, &error))
        return methods_refuse(invocation, error);
    uid_t caller = control_caller(invocation);
    Asking *a = asking_new(m, invocation, path, &funcs);
    a->name = g_strdup(name);
    a->syncing = TRUE;
    syncs_start(m->syncs, caller, path, on_point_synced, a);
    return TRUE;
}

const MethodsHandler methods_points[] = {
    {"handle-points", G_CALLBACK(on_points)},
    {"handle-point", G_CALLBACK(on_point)},
    {NULL, NULL},
};
