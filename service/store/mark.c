/* mark.c - points that somebody asked for, and changes that somebody approved
 *
 * A mark is a transaction like a capture, so it is as durable and as fast; an approval is a row of the
 * catalog, and waits until nothing of the file is pending.
 */

#include "config.h"

#include <string.h>

#include "base/error.h"
#include "base/path.h"
#include "store/intake.h"

#define NAME_MAX_BYTES 255

static gboolean
check_name(const char *name, GError **error)
{
    gboolean good = strlen(name) <= NAME_MAX_BYTES;

    for (const char *p = name; good && *p; p = g_utf8_next_char(p))
        good = g_unichar_isprint(g_utf8_get_char(p));
    return good || throw_error(error, FILEDUP_ERROR_REFUSED, "a name that nobody could type");
}

static gboolean
mark(Keeper *k, GVariant *body, Intake *in, GError **error)
{
    g_autoptr(GVariant) path = NULL;
    g_autoptr(FileView) v = NULL;
    Capture *c = &in->capture;
    const char *name;
    guint32 cause;
    Head head;

    g_variant_get(body, "(t@ay&su)", &in->job, &path, &name, &cause);
    if (!intake_parse_path(path, c, error) || !check_name(name, error))
        return FALSE;
    if (cause != CAUSE_QUIET && cause != CAUSE_NAMED) /* any other says where a content stands */
        return throw_error(error, FILEDUP_ERROR_REFUSED, "a point of a cause that is no reason");
    c->kind = APPEND_MARK;
    c->name = *name ? g_strdup(name) : NULL;
    c->cause = (PointCause) cause;
    if (!intake_check_known(k, c, &v, error))
        return FALSE;
    c->principal = v->principal;
    c->stat = v->current->stat;
    c->attributes = g_bytes_new(NULL, 0);
    c->quality = v->current->quality;
    in->answer = v->current->id;
    return head_find(k, c->path, &head, error) && room_for(k, in, error) &&
           intake_write(k, in, head, error);
}

void
intake_mark(Keeper *k, GVariant *body)
{
    g_auto(Intake) in = {0};
    g_autoptr(GError) error = NULL;

    if (!mark(k, body, &in, &error))
        intake_refuse(k, &in, error);
}

static gboolean
approve(Keeper *k, GVariant *body, Intake *in, Unacked *ret_done, GError **error)
{
    g_autoptr(GVariant) path = NULL;
    g_autoptr(GError) local = NULL;

    g_variant_get(body, "(t@ay)", &in->job, &path);
    if (!intake_parse_path(path, &in->capture, error) || !keeper_apply(k, in->capture.path, error))
        return FALSE;
    g_autoptr(FileView) v = answer_view(k, in->capture.path, CATALOG_NEWEST);
    if (!v)
        return FALSE;
    if (v->id == 0)
        return throw_error(error, FILEDUP_ERROR_NO_ENTRY, "the store has nothing of it");
    if (v->suspicion && !catalog_approve(k->store.catalog, v->id, &local)) {
        if (g_error_matches(local, FILEDUP_ERROR, FILEDUP_ERROR_FATAL))
            keeper_fail(k, local);
        g_propagate_error(error, g_steal_pointer(&local));
        return FALSE;
    }
    g_hash_table_remove(k->heads, in->capture.path);
    *ret_done = (Unacked){.job = in->job,
                          .seq = v->current ? v->current->id : v->newest_seq,
                          .time_usec = g_get_real_time()};
    return TRUE;
}

void
intake_approve(Keeper *k, GVariant *body)
{
    g_auto(Intake) in = {0};
    g_autoptr(GError) error = NULL;
    Unacked done;

    if (approve(k, body, &in, &done, &error))
        g_array_append_val(k->unacked, done); /* durable already: answered with the next commit */
    else
        intake_refuse(k, &in, error);
}
