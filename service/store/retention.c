/* retention.c - which contents of a file are kept, and why
 *
 * RULES    the first that applies is the reason that is told:
 *   (1) Without a policy, or while the clock is not believed, all is kept.
 *   (2) While a file is suspicious, all of it is kept.
 *   (3) The newest content is kept (of a deleted file: see 8).
 *   (4) What somebody named is kept for ever, what came before a suspicious change until somebody
 *       approves, what was there when the machine went down without a stop (KEPT_BOOT) for 7 days.
 *   (5) The newest stable content is kept, so a fuzzy one never replaces it. (KEPT_STABLE says the
 *       same of the chain's state, and is not asked.)
 *   (6) All of the last hour is kept: what came within it, and what was the newest when it began, so
 *       that an overwrite can be taken back for an hour, however old what it replaced. And so are the
 *       newest `last` contents.
 *   (7) Of each of the newest `hours` hours that have a content at all, the newest is kept; the same
 *       with days, weeks, months. Empty periods do not count, as restic has it: so it takes newer
 *       contents, not the passing of time, to push an old one out, and a file that rests loses
 *       nothing. Of a period that has a stable content, the newest stable one. Hours are those of
 *       UTC (so none comes twice when clocks are changed), days, ISO weeks and months local.
 *       Contents that a restore replaced are counted by themselves: they do not push out the
 *       others, nor are they by them.
 *   (8) The last content before a deletion is kept for the longest period of the policy (n months
 *       are n * 31 days), at least 90 days, counted from when the deletion was found. After that a
 *       file that is still deleted may go as a whole, if nothing else of it is kept.
 *
 * THE CLOCK  Rules (4), (6) and (8) read it, and a wrong one must not cost points. It is not believed
 *   when it is more than a day ahead of the newest record (at the start), or of where
 *   CLOCK_BOOTTIME says it should be (later), until it has stayed so for a day. A machine that was
 *   off for a week therefore thins a day later. A clock that goes back drops nothing by itself:
 *   contents of the future are of the last hour.
 */

#include "config.h"

#include <string.h>
#include <time.h>

#include "base/error.h"
#include "store/retention.h"

#define HOUR_USEC      (G_GINT64_CONSTANT(3600) * G_USEC_PER_SEC)
#define DAY_USEC       (24 * HOUR_USEC)
#define KEPT_BOOT_DAYS 7
#define DELETED_DAYS   90
#define PERIODS_MAX    9999

/* ---- the policy ---- */

gboolean
retention_parse(const char *keep, guint keep_last, Retention *ret_retention, GError **error)
{
    Retention r = {.last = keep_last};
    guint *const fields[] = {&r.hours, &r.days, &r.weeks, &r.months};
    static const char units[] = "hdwm";
    g_auto(GStrv) parts = g_strsplit(keep, " ", -1);
    guint next = 0;

    for (char **part = parts; *part; part++) {
        char *end = NULL;
        guint64 n = g_ascii_strtoull(*part, &end, 10);
        const char *found = *end && next < strlen(units) ? strchr(units + next, *end) : NULL;
        if (!g_ascii_isdigit(**part) || n < 1 || n > PERIODS_MAX || !found || end[1] != '\0')
            return throw_error(error, FILEDUP_ERROR_REFUSED, "keep \"%s\" is not understood", keep);
        *fields[found - units] = (guint) n;
        next = (guint) (found - units) + 1;
    }
    *ret_retention = r;
    return TRUE;
}

static gint64
longest_usec(const Retention *r)
{
    gint64 days = MAX((gint64) r->days, (gint64) r->weeks * 7);

    days = MAX(days, (gint64) r->months * 31);
    days = MAX(days, ((gint64) r->hours + 23) / 24);
    return MAX(days, DELETED_DAYS) * DAY_USEC;
}

/* ---- the clock ---- */

gboolean
retention_clock_check(RetentionClock *c, gint64 real_usec, gint64 boot_usec, gint64 newest_usec)
{
    if (!c->started) {
        c->started = TRUE;
        c->real_usec = newest_usec > 0 ? newest_usec : real_usec;
        c->boot_usec = boot_usec;
    }
    gint64 expected = c->real_usec + (boot_usec - c->boot_usec);
    gboolean ahead = real_usec - expected > DAY_USEC;
    if (ahead && c->jumped_usec == 0)
        c->jumped_usec = MAX(boot_usec, 1);
    if (ahead && boot_usec - c->jumped_usec < DAY_USEC)
        return FALSE;
    c->real_usec = real_usec;
    c->boot_usec = boot_usec;
    c->jumped_usec = 0;
    return TRUE;
}

RetentionNow
retention_now(RetentionClock *c, gint64 newest_usec, gint64 unclean_usec)
{
    RetentionNow now = {.usec = g_get_real_time(), .unclean_usec = unclean_usec};
    struct timespec boot = {0};

    (void) clock_gettime(CLOCK_BOOTTIME, &boot);
    now.trusted = retention_clock_check(
        c, now.usec, (gint64) boot.tv_sec * G_USEC_PER_SEC + boot.tv_nsec / 1000, newest_usec);
    return now;
}

/* ---- periods ---- */

typedef enum { PERIOD_HOUR, PERIOD_DAY, PERIOD_WEEK, PERIOD_MONTH, PERIODS } Period;

static const char *const period_kept[PERIODS] = {"hourly", "daily", "weekly", "monthly"};
static const char *const period_passed[PERIODS] = {
    "a newer one of its hour is kept",
    "a newer one of its day is kept",
    "a newer one of its week is kept",
    "a newer one of its month is kept",
};

/* Rounded down, before 1970 too. */
static gint64
floor_div(gint64 a, gint64 b)
{
    return a / b - (a % b < 0);
}

static gint64
period_of(Period period, gint64 time_usec)
{
    time_t seconds = (time_t) floor_div(time_usec, G_USEC_PER_SEC);
    struct tm tm;

    if (period == PERIOD_HOUR)
        return floor_div(time_usec, HOUR_USEC);
    if (!localtime_r(&seconds, &tm))
        return 0; /* of a year that no int holds */
    if (period == PERIOD_MONTH)
        return (gint64) tm.tm_year * 12 + tm.tm_mon;
    gint64 day = floor_div((gint64) seconds + tm.tm_gmtoff, 24 * 3600);
    return period == PERIOD_DAY ? day : floor_div(day + 3, 7); /* 1970-01-01 was a Thursday */
}

static RetentionVerdict *
verdict_at(GArray *verdicts, guint i)
{
    return &g_array_index(verdicts, RetentionVerdict, i);
}

static void
keep(RetentionVerdict *v, const char *why)
{
    if (v->keep)
        return; /* the first reason is told */
    v->keep = TRUE;
    v->why = why;
}

/* Of the run [from, to) of one period: the newest stable one, or else the newest. */
static guint
best_of(GArray *verdicts, guint from, guint to, gboolean beside)
{
    guint newest = to;

    for (guint i = from; i < to; i++) {
        const Point *p = verdict_at(verdicts, i)->point;
        if (point_is_beside(p) != beside)
            continue;
        if (p->quality >= QUALITY_STABLE)
            return i;
        newest = MIN(newest, i);
    }
    return newest;
}

/* Rule (7), for one kind of period. */
static void
keep_periods(GArray *verdicts, Period period, guint n, gboolean beside)
{
    for (guint from = 0, to; from < verdicts->len && n > 0; from = to) {
        gint64 key = period_of(period, verdict_at(verdicts, from)->point->time_usec);
        for (to = from + 1; to < verdicts->len; to++)
            if (period_of(period, verdict_at(verdicts, to)->point->time_usec) != key)
                break;
        guint best = best_of(verdicts, from, to, beside);
        if (best == to)
            continue;
        n--;
        for (guint i = from; i < to; i++) /* what is told of those that go */
            if (point_is_beside(verdict_at(verdicts, i)->point) == beside &&
                !verdict_at(verdicts, i)->keep && !verdict_at(verdicts, i)->why)
                verdict_at(verdicts, i)->why = period_passed[period];
        keep(verdict_at(verdicts, best), period_kept[period]);
    }
}

/* ---- the judgement ---- */

/* Rule (4); NULL: no reason. */
static const char *
kept_for_a_reason(const Point *p, const RetentionNow *now)
{
    if (p->kept & KEPT_NAMED)
        return "named";
    if (p->kept & KEPT_SUSPICION)
        return "before a suspicious change";
    if ((p->kept & KEPT_BOOT) &&
        now->usec - MAX(now->unclean_usec, p->time_usec) < KEPT_BOOT_DAYS * DAY_USEC)
        return "before an unclean stop";
    return NULL;
}

/* Rule (8): within its time. */
static gboolean
is_deleted_lately(const Point *p, const Retention *r, const RetentionNow *now)
{
    return p->deleted_usec != 0 && now->usec - p->deleted_usec < longest_usec(r);
}

/* Rule (6): what came within it, and what was the newest when it began. */
static void
keep_last_hour(GArray *verdicts, const RetentionNow *now)
{
    gboolean began = FALSE;

    for (guint i = 0; i < verdicts->len; i++) {
        const Point *p = verdict_at(verdicts, i)->point;
        gboolean within = p->time_usec > now->usec - HOUR_USEC;
        if (!within && (began || point_is_beside(p)))
            continue;
        began = began || !within;
        keep(verdict_at(verdicts, i), "last hour");
    }
}

static void
keep_newest_stable(GArray *verdicts)
{
    for (guint i = 0; i < verdicts->len; i++) {
        const Point *p = verdict_at(verdicts, i)->point;
        if (point_is_beside(p) || p->quality < QUALITY_STABLE)
            continue;
        keep(verdict_at(verdicts, i), "newest stable");
        return;
    }
}

/* Rules (3) to (8), of a file that does not go as a whole. */
static void
judge(const FileView *v, const Retention *r, const RetentionNow *now, GArray *verdicts)
{
    const guint n[PERIODS] = {r->hours, r->days, r->weeks, r->months};

    for (guint i = 0; i < verdicts->len; i++) {
        RetentionVerdict *verdict = verdict_at(verdicts, i);
        const char *why = kept_for_a_reason(verdict->point, now);
        if (verdict->point == v->current)
            why = "newest";
        else if (!why && is_deleted_lately(verdict->point, r, now))
            why = "deleted";
        if (why)
            keep(verdict, why);
    }
    keep_newest_stable(verdicts);
    keep_last_hour(verdicts, now);
    for (guint i = 0; i < verdicts->len; i++) {
        if (i < r->last)
            keep(verdict_at(verdicts, i), "keep-last");
    }
    for (Period period = PERIOD_HOUR; period < PERIODS; period++) {
        keep_periods(verdicts, period, n[period], FALSE);
        keep_periods(verdicts, period, n[period], TRUE);
    }
    for (guint i = 0; i < verdicts->len; i++)
        if (!verdict_at(verdicts, i)->why)
            verdict_at(verdicts, i)->why = "older than what the policy keeps";
}

/* Rule (8): it may go as a whole. */
static gboolean
is_over(const FileView *v, const Retention *r, const RetentionNow *now)
{
    if (v->state != STORED_DELETED || !v->current || v->current->deleted_usec == 0)
        return FALSE;
    g_autoptr(GPtrArray) points = view_points(v);
    for (guint i = 0; i < points->len; i++)
        if (kept_for_a_reason(points->pdata[i], now) || is_deleted_lately(points->pdata[i], r, now))
            return FALSE;
    return TRUE;
}

static void
judge_all(GArray *verdicts, gboolean kept, const char *why)
{
    for (guint i = 0; i < verdicts->len; i++) {
        verdict_at(verdicts, i)->keep = kept;
        verdict_at(verdicts, i)->why = why;
    }
}

GArray *
retention_judge(const FileView *v, const RetentionNow *now)
{
    GArray *verdicts = g_array_new(FALSE, TRUE, sizeof(RetentionVerdict));
    g_autoptr(GPtrArray) points = view_points(v);
    Retention r;

    for (guint i = 0; i < points->len; i++) {
        RetentionVerdict verdict = {.point = points->pdata[i]};
        g_array_append_val(verdicts, verdict);
    }
    if (!v->keep || !retention_parse(v->keep, v->keep_last, &r, NULL))
        judge_all(verdicts, TRUE, "no policy");
    else if (!now->trusted)
        judge_all(verdicts, TRUE, "the clock jumped");
    else if (v->suspicion != 0)
        judge_all(verdicts, TRUE, "suspicious");
    else if (is_over(v, &r, now)) /* rule (8) */
        judge_all(verdicts, FALSE, "deleted long ago");
    else
        judge(v, &r, now, verdicts);
    return verdicts;
}

const char *
retention_must_stay(const FileView *v, const Point *p, const RetentionNow *now)
{
    if (v->suspicion != 0)
        return "suspicious";
    if (p == v->current)
        return "newest";
    if (p->id == view_stable_point(v))
        return "newest stable";
    return kept_for_a_reason(p, now);
}
