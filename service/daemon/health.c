/* health.c - what may be said of a row's backup without guessing
 *
 * A backup is *behind* from the moment when there was a reason to look at the file (an event, a store
 * that came back, a start) until what the file was after that moment is durable. Nothing is assumed in
 * between: a look that has not ended counts as behind, and becomes a finding when it lasts longer than
 * the row's max-lag.
 */

#include "config.h"

#include "base/path.h"
#include "daemon/event.h"
#include "daemon/health.h"
#include "daemon/schedule.h"
#include "daemon/stores.h"
#include "daemon/target.h"

static char *
format_time(gint64 usec)
{
    g_autoptr(GDateTime) time = g_date_time_new_from_unix_local(usec / G_USEC_PER_SEC);

    return time ? g_date_time_format(time, "%Y-%m-%d %H:%M:%S") : g_strdup("?");
}

const char *
health_exactness(const Entry *e)
{
    if (e->row->suspended || e->stuck_job || e->unbound || e->watch == WATCH_NONE)
        return "none";
    return e->watch == WATCH_SCAN ? "scan" : "file";
}

char *
health_known(const Entry *e)
{
    const char *why;

    if (!schedule_is_current(e, e->generation, &why) || !e->current_usec)
        return g_strdup("");
    g_autofree char *when = format_time(e->current_usec);
    if (e->watch == WATCH_ACTIVE || e->watch == WATCH_WAITING)
        return g_strdup_printf("compared at %s, and no event has told of a change since", when);
    return g_strdup_printf("compared at %s; compared again every 10 s", when);
}

char *
health_suspicion(const Entry *e, guint *ret_suspicion, gint64 *ret_since_usec,
                 guint64 *ret_good_point)
{
    const Target *found = NULL;

    for (guint i = 0; i < e->targets->len && !found; i++)
        if (((const Target *) e->targets->pdata[i])->suspicion)
            found = e->targets->pdata[i];
    if (ret_suspicion)
        *ret_suspicion = found ? found->suspicion : 0;
    if (ret_since_usec)
        *ret_since_usec = found ? found->suspicious_usec : 0;
    if (ret_good_point)
        *ret_good_point = found ? found->good_point : 0;
    if (!found)
        return NULL;
    g_autofree char *what = event_suspicion_note(found->suspicion);
    g_autofree char *when = format_time(found->suspicious_usec);
    g_autofree char *point =
        found->good_point ? g_strdup_printf(" as point %" G_GUINT64_FORMAT, found->good_point)
                          : g_strdup("");
    return g_strdup_printf(
        "a suspicious change at %s: %s; the content before is kept%s, nothing is "
        "thinned; restore that, or 'filedup approve' if the change was wanted",
        when, what, point);
}

static char *
check_stores(const Entry *e)
{
    for (guint i = 0; i < e->targets->len; i++) {
        const Target *t = e->targets->pdata[i];
        if (!store_is_ready(t->store) && store_state(t->store) != STORE_OPENING)
            return g_strdup_printf("store \"%s\" is %s: %s", store_name(t->store),
                                   store_state_name(t->store), store_note(t->store));
    }
    return NULL;
}

static char *
check_lag(const Entry *e)
{
    gint64 since = targets_behind_usec(e), now = g_get_real_time();
    guint most = row_max_lag_sec(e->row);
    const char *why = NULL;

    if (!since || now - since <= (gint64) most * G_USEC_PER_SEC)
        return NULL;
    (void) schedule_is_current(e, e->generation, &why);
    if (!why)
        why = e->error ? e->error : e->writer ? "it is open for writing" : NULL;
    return g_strdup_printf("the backup is %" G_GINT64_FORMAT
                           " s behind the file, %u s are permitted%s%s",
                           (now - since) / G_USEC_PER_SEC, most, why ? ": " : "", why ? why : "");
}

char *
health_check(const Entry *e, const DrillRecord *drill)
{
    const char *why = NULL;
    char *found;

    if (e->row->suspended)
        return g_strdup("it is suspended: its backup grows old");
    if (e->unbound)
        return g_strdup(e->unbound);
    if (e->stuck_job)
        return g_strdup("its disk hangs: a copier that will not die has the file");
    if (e->result == RESULT_FAILED)
        return g_strdup(e->error ? e->error : "the last job failed");
    if ((found = health_suspicion(e, NULL, NULL, NULL)) || (found = check_stores(e)) ||
        (found = check_lag(e)))
        return found;
    if (e->absent || e->missing)
        if (!schedule_is_current(e, e->generation, &why) && why)
            return g_strdup(why);
    if (drill && !g_str_equal(drill->result, "ok"))
        return g_strdup_printf("its last restore drill failed: %s", drill->result);
    return NULL;
}
