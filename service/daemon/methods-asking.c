/* methods-asking.c - calls that stores answer
 *
 * If the client goes away, what is under way is cancelled: a keeper does not verify a terabyte for
 * nobody.
 */

#include "config.h"

#include "base/error.h"
#include "base/fd.h"
#include "base/path.h"
#include "daemon/access.h"
#include "daemon/control.h"
#include "daemon/methods-asking.h"

#define PER_CALLER     16 /* what takes long, at once */
#define LIST_MAX_BYTES ((gsize) 512 * 1024 * 1024)
#define PATIENCE_SEC   15 /* with a store that is being opened */

static void
asking_free(Asking *a)
{
    a->methods->asking = g_list_remove(a->methods->asking, a);
    g_clear_error(&a->error);
    g_string_free(a->note, TRUE);
    g_variant_builder_clear(&a->list);
    g_clear_pointer(&a->result, g_variant_unref);
    g_clear_handle_id(&a->patience, g_source_remove);
    g_free(a->path);
    g_free(a->store);
    g_free(a->name);
    g_free(a->not_current);
    g_free(a);
}

/* What is under way for it ends. */
static void
stop(Asking *a)
{
    if (a->syncing)
        syncs_cancel(a->methods->syncs, a);
    drill_cancel(g_steal_pointer(&a->drill));
    round_cancel(g_steal_pointer(&a->round));
}

static void
on_gone(gpointer data)
{
    Asking *a = data;

    a->call = NULL;
    stop(a);
    asking_free(a);
}

gboolean
asking_check(Methods *m, GDBusMethodInvocation *invocation, GError **error)
{
    uid_t caller = control_caller(invocation);
    guint n = 0;

    for (GList *l = m->asking; l; l = l->next)
        n += ((Asking *) l->data)->caller == caller;
    return n < PER_CALLER || throw_error(error, FILEDUP_ERROR_BUSY,
                                         "%d of your calls wait for stores already", PER_CALLER);
}

Asking *
asking_new(Methods *m, GDBusMethodInvocation *invocation, const char *path, const RoundFuncs *funcs)
{
    Asking *a = g_new0(Asking, 1);

    a->methods = m;
    a->caller = control_caller(invocation);
    a->call = call_new(invocation, on_gone, a);
    a->round = round_new(m->manager, funcs, a);
    a->note = g_string_new(NULL);
    a->path = g_strdup(path);
    g_variant_builder_init(&a->list, G_VARIANT_TYPE("aa{sv}"));
    m->asking = g_list_prepend(m->asking, a);
    return a;
}

void
asking_return(Asking *a, GVariant *value)
{
    call_return(a->call, value);
    asking_free(a);
}

void
asking_refuse(Asking *a, const GError *error)
{
    call_refuse(a->call, error);
    asking_free(a);
}

static gboolean
waits_for_store(const Asking *a)
{
    const Entry *e = manager_find(a->methods->manager, a->path);

    for (GList *l = stores_list(manager_stores(a->methods->manager)); l; l = l->next)
        if (store_state(l->data) == STORE_OPENING && (!e || entry_find_target(e, l->data)))
            return TRUE;
    return FALSE;
}

static void
begin(Asking *a)
{
    AskingBegin func = a->begin;

    g_clear_handle_id(&a->patience, g_source_remove);
    a->begin = NULL;
    func(a);
}

static gboolean
on_impatient(gpointer data)
{
    Asking *a = data;

    a->patience = 0;
    begin(a);
    return G_SOURCE_REMOVE;
}

void
asking_when_open(Asking *a, AskingBegin func)
{
    a->begin = func;
    if (waits_for_store(a))
        a->patience = g_timeout_add_seconds(PATIENCE_SEC, on_impatient, a);
    else
        begin(a);
}

void
asking_settled(Methods *m)
{
    for (GList *l = m->asking, *next; l; l = next) {
        next = l->next;
        if (((Asking *) l->data)->begin && !waits_for_store(l->data))
            begin(l->data);
    }
}

Entry *
asking_entry(Asking *a)
{
    g_autoptr(GError) error = NULL;
    Entry *e = manager_find(a->methods->manager, a->path);

    if (e && access_may_use(a->caller, e->row, &error))
        return e;
    if (!e)
        throw_error(&error, FILEDUP_ERROR_NO_ENTRY, "its row was removed meanwhile");
    round_cancel(g_steal_pointer(&a->round));
    asking_refuse(a, error);
    return NULL;
}

void
asking_start(Asking *a, const char *nothing)
{
    g_autoptr(GError) error = NULL;

    if (round_count(a->round) > 0) {
        round_go_on(a->round);
        return;
    }
    round_cancel(g_steal_pointer(&a->round));
    throw_error(&error, FILEDUP_ERROR_AGAIN, "%s%s%s", nothing, a->note->len ? ": " : "",
                a->note->str);
    asking_refuse(a, error);
}

static void
add_note(Asking *a, const char *store, const char *text)
{
    g_autofree char *valid = g_utf8_make_valid(text, -1);

    g_string_append_printf(a->note, "%sstore \"%s\": %s", a->note->len ? "; " : "", store, valid);
}

void
asking_note_error(Asking *a, const RoundPart *part, const GError *error)
{
    add_note(a, part->store, error->message);
    if (!a->error)
        a->error = g_error_copy(error);
}

void
asking_note_absent(Asking *a, const Entry *e, const char *store)
{
    for (GList *l = stores_list(manager_stores(a->methods->manager)); l; l = l->next) {
        const Store *s = l->data;
        if (store_is_ready(s) || (e && !entry_find_target(e, s)) ||
            (store[0] && !g_str_equal(store, store_name(s))))
            continue;
        g_autofree char *text = g_strdup_printf("it is %s%s%s", store_state_name(s),
                                                store_note(s)[0] ? ": " : "", store_note(s));
        add_note(a, store_name(s), text);
    }
}

const char *
asking_first_store(const Entry *e, const char *name)
{
    for (guint i = 0; i < e->targets->len && !name[0]; i++) {
        const Target *t = e->targets->pdata[i];
        if (store_is_ready(t->store))
            return store_name(t->store);
    }
    return name;
}

GVariant *
asking_take_list(Message *m, const char *type, GError **error)
{
    if (m->n_fds < 1 || m->fds[0] < 0) {
        throw_error(error, FILEDUP_ERROR_FATAL, "the store sent no list");
        return NULL;
    }
    g_autoptr(GBytes) bytes = fd_to_bytes(m->fds[0], LIST_MAX_BYTES, error);
    if (!bytes)
        return NULL;
    GVariant *list =
        g_variant_ref_sink(g_variant_new_from_bytes(G_VARIANT_TYPE(type), bytes, FALSE));
    if (g_variant_is_normal_form(list))
        return list;
    g_variant_unref(list);
    throw_error(error, FILEDUP_ERROR_FATAL, "the store sent a list that cannot be read");
    return NULL;
}

void
asking_cancel_all(Methods *m)
{
    g_autoptr(GError) error = NULL;

    throw_error(&error, FILEDUP_ERROR_AGAIN, "the daemon stops");
    while (m->asking) {
        Asking *a = m->asking->data;
        a->syncing = FALSE; /* the syncs have ended before */
        stop(a);
        asking_refuse(a, error);
    }
}
