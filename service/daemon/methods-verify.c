/* methods-verify.c - Verify: what the stores have against its sums, and by a restore to scratch */

#include "config.h"

#include "base/error.h"
#include "base/path.h"
#include "daemon/access.h"
#include "daemon/control.h"
#include "daemon/methods-asking.h"

static GVariant *
ask(guint64 job, const RoundPart *part, gpointer data)
{
    const Asking *a = data;

    return g_variant_new("(t@ayb)", job, path_to_variant(part->path), a->with_points);
}

static void
add_text(GVariantBuilder *b, const char *key, const char *text)
{
    g_autofree char *valid = g_utf8_make_valid(text, -1);

    g_variant_builder_add(b, "{sv}", key, g_variant_new_string(valid));
}

/* One result without its end: the drill's comes later. */
static void
open_result(Asking *a, const RoundPart *part, Message *m, const char *error)
{
    g_autoptr(GVariant) bad = NULL, bad_points = NULL;
    guint64 bytes = 0;
    guint32 points = 0;

    if (m)
        g_variant_get(m->body, "(t@" MESSAGE_ERROR_TYPE "t@a(tt)u@at)", NULL, NULL, &bytes, &bad,
                      &points, &bad_points);
    else {
        bad = g_variant_ref_sink(g_variant_new_array(G_VARIANT_TYPE("(tt)"), NULL, 0));
        bad_points = g_variant_ref_sink(g_variant_new_array(G_VARIANT_TYPE_UINT64, NULL, 0));
    }
    g_variant_builder_open(&a->list, G_VARIANT_TYPE_VARDICT);
    g_variant_builder_add(&a->list, "{sv}", "path", path_to_variant(part->path));
    add_text(&a->list, "store", part->store);
    add_text(&a->list, "error", error);
    g_variant_builder_add(&a->list, "{sv}", "bytes", g_variant_new_uint64(bytes));
    g_variant_builder_add(&a->list, "{sv}", "bad", bad);
    g_variant_builder_add(&a->list, "{sv}", "points", g_variant_new_uint32(points));
    g_variant_builder_add(&a->list, "{sv}", "bad_points", bad_points);
}

static void
close_result(Asking *a, const char *drill)
{
    add_text(&a->list, "drill", drill);
    g_variant_builder_close(&a->list);
}

static void
on_drilled(gboolean ran, const char *why, gpointer data)
{
    Asking *a = data;
    Entry *e = manager_find(a->methods->manager, a->path);

    a->drill = NULL;
    close_result(a, why ? why : "ok");
    if (e && ran)
        drills_note(a->methods->drills, e, why);
    round_go_on(a->round);
}

static gboolean
take(const RoundPart *part, Message *m, const GError *error, gpointer data)
{
    Asking *a = data;
    Entry *e = manager_find(a->methods->manager, part->path);
    Store *store = stores_find(manager_stores(a->methods->manager), part->store);

    open_result(a, part, m, error ? error->message : "");
    if (!a->with_drill || !e || !store) {
        close_result(a, a->with_drill ? "its row or its store has gone" : "");
        return TRUE;
    }
    g_free(a->path);
    a->path = g_strdup(part->path);
    Drill *drill = drill_start(a->methods->manager, e, store, on_drilled, a);
    if (drill)
        a->drill = drill;
    return FALSE;
}

static void
done(gpointer data)
{
    Asking *a = data;

    a->round = NULL;
    asking_return(a, g_variant_new("(aa{sv})", &a->list));
}

static void
begin(Asking *a)
{
    g_autoptr(GList) entries = manager_entries(a->methods->manager);

    for (GList *l = entries; l; l = l->next) {
        const Entry *e = l->data;
        if ((!a->path[0] || g_str_equal(a->path, e->row->path)) &&
            access_may_use(a->caller, e->row, NULL))
            round_add_entry(a->round, e, a->store, TRUE);
    }
    round_go_on(a->round); /* no row is no error: nothing is bad */
}

static gboolean
on_verify(G_GNUC_UNUSED FiledupManager1 *skeleton, GDBusMethodInvocation *invocation,
          const gchar *path, GVariant *options, gpointer data)
{
    static const RoundFuncs funcs = {MESSAGE_DAEMON_VERIFY, ask, take, done};
    Methods *m = data;
    g_autoptr(GError) error = NULL;
    Entry *only = path[0] ? methods_find(m, invocation, path, &error) : NULL;
    const char *store;

    if ((path[0] && !only) || !methods_store_option(m, only, options, &store, NULL, &error) ||
        !asking_check(m, invocation, &error))
        return methods_refuse(invocation, error);
    Asking *a = asking_new(m, invocation, path, &funcs);
    a->with_points = methods_option_is_set(options, "points");
    a->with_drill = methods_option_is_set(options, "drill");
    a->store = g_strdup(store);
    asking_when_open(a, begin);
    return TRUE;
}

const MethodsHandler methods_verify[] = {
    {"handle-verify", G_CALLBACK(on_verify)},
    {NULL, NULL},
};
