/* Retention: which contents are kept, and why. */

#include "config.h"

#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "base/error.h"
#include "store/retention.h"
#include "tests/unit/unit.h"

#define SECOND ((gint64) G_USEC_PER_SEC)
#define MINUTE (60 * SECOND)
#define HOUR   (60 * MINUTE)
#define DAY    (24 * HOUR)

static void
zone(const char *name)
{
    g_setenv("TZ", name, TRUE);
    tzset();
}

/* Local time. */
static gint64
at(int year, int month, int day, int hour, int minute)
{
    struct tm tm = {.tm_year = year - 1900,
                    .tm_mon = month - 1,
                    .tm_mday = day,
                    .tm_hour = hour,
                    .tm_min = minute,
                    .tm_isdst = -1};

    return (gint64) mktime(&tm) * SECOND;
}

static FileView *
view(const char *keep)
{
    FileView *v = view_new("/etc/app.db");

    v->id = 1;
    v->state = STORED_CURRENT;
    v->keep = g_strdup(keep);
    return v;
}

/* Contents come oldest first; the last one is the current one. */
static Point *
add(FileView *v, gint64 time_usec)
{
    Point *p = g_new0(Point, 1);

    if (v->current) {
        p->id = v->current->id + 10;
        g_ptr_array_add(v->points, v->current);
    } else {
        p->id = 10;
    }
    p->time_usec = time_usec;
    p->quality = QUALITY_STABLE;
    p->cause = CAUSE_CLOSE;
    return v->current = p;
}

static Point *
add_beside(FileView *v, gint64 time_usec)
{
    Point *p = g_new0(Point, 1), *last = v->current;

    p->id = last->id + 5;
    p->time_usec = time_usec;
    p->quality = QUALITY_STABLE;
    p->cause = CAUSE_BEFORE_RESTORE;
    g_ptr_array_add(v->points, p);
    return p;
}

static RetentionNow
when(gint64 usec)
{
    return (RetentionNow){.usec = usec, .trusted = TRUE};
}

static const char *
verdict(const FileView *v, gint64 now_usec, const Point *p, gboolean *ret_keep)
{
    RetentionNow now = when(now_usec);
    g_autoptr(GArray) verdicts = retention_judge(v, &now);

    for (guint i = 0; i < verdicts->len; i++) {
        const RetentionVerdict *verdict = &g_array_index(verdicts, RetentionVerdict, i);
        CU_ASSERT_PTR_NOT_NULL(verdict->why);
        if (verdict->point != p)
            continue;
        *ret_keep = verdict->keep;
        return verdict->why;
    }
    CU_FAIL_FATAL("a content without a verdict");
    return NULL;
}

static void
expect(const FileView *v, gint64 now_usec, const Point *p, gboolean keep, const char *why)
{
    gboolean kept = !keep;
    const char *reason = verdict(v, now_usec, p, &kept);

    if (kept == keep && g_str_equal(reason, why))
        return;
    g_printerr("    %s: %s, expected %s: %s\n", kept ? "kept" : "goes", reason,
               keep ? "kept" : "goes", why);
    CU_FAIL("another verdict");
}

static guint
n_kept(const FileView *v, gint64 now_usec)
{
    RetentionNow now = when(now_usec);
    g_autoptr(GArray) verdicts = retention_judge(v, &now);
    guint n = 0;

    for (guint i = 0; i < verdicts->len; i++)
        n += g_array_index(verdicts, RetentionVerdict, i).keep;
    return n;
}

/* ---- the policy ---- */

static void
a_policy_is_read(void)
{
    Retention r;

    CU_ASSERT_TRUE(retention_parse("24h 7d 4w 12m", 3, &r, NULL));
    CU_ASSERT_TRUE(r.hours == 24 && r.days == 7 && r.weeks == 4 && r.months == 12 && r.last == 3);
    CU_ASSERT_TRUE(retention_parse("7d 12m", 0, &r, NULL));
    CU_ASSERT_TRUE(r.hours == 0 && r.days == 7 && r.weeks == 0 && r.months == 12);
    CU_ASSERT_TRUE(retention_parse("", 0, &r, NULL));
    CU_ASSERT_TRUE(r.hours == 0 && r.months == 0);
    CU_ASSERT_TRUE(retention_parse(RETENTION_DEFAULT, 0, &r, NULL));
}

static void
what_is_no_policy_is_refused(void)
{
    const char *bad[] = {"24",  "h",   "24x", "0h",     "7d 24h", "7d 7d",  "24h  7d", " 24h",
                         "-1h", "+1h", "1hh", "12m 1h", "12m x",  "99999h", "7d,4w"};
    Retention r;

    for (guint i = 0; i < G_N_ELEMENTS(bad); i++) {
        g_autoptr(GError) error = NULL;
        CU_ASSERT_FALSE(retention_parse(bad[i], 0, &r, &error));
        CU_ASSERT_TRUE(g_error_matches(error, FILEDUP_ERROR, FILEDUP_ERROR_REFUSED));
    }
}

/* ---- the rules ---- */

static void
all_of_the_last_hour_is_kept(void)
{
    zone("UTC");
    g_autoptr(FileView) v = view("");
    gint64 now = at(2026, 3, 4, 12, 30);
    const Point *old = add(v, now - 30 * DAY);
    const Point *overwritten = add(v, now - 61 * MINUTE); /* 59 minutes ago, that is */
    const Point *young = add(v, now - 59 * MINUTE);

    for (int i = 58; i > 0; i--)
        (void) add(v, now - i * MINUTE);
    expect(v, now, old, FALSE, "older than what the policy keeps");
    expect(v, now, overwritten, TRUE, "last hour");
    expect(v, now, young, TRUE, "last hour");
    expect(v, now, v->current, TRUE, "newest");
    CU_ASSERT_EQUAL(n_kept(v, now), 60);
}

static void
the_newest_of_each_hour_day_week_and_month_is_kept(void)
{
    zone("UTC");
    g_autoptr(FileView) v = view("2h 2d 2w 2m");
    gint64 now = at(2026, 3, 20, 18, 30); /* a Friday */
    const Point *february = add(v, at(2026, 2, 27, 12, 0));
    const Point *monday = add(v, at(2026, 3, 9, 10, 0));
    const Point *sunday = add(v, at(2026, 3, 15, 10, 0));
    const Point *yesterday = add(v, at(2026, 3, 19, 10, 0));
    const Point *yesterday_late = add(v, at(2026, 3, 19, 23, 59));
    const Point *ten = add(v, at(2026, 3, 20, 10, 10));
    const Point *eleven = add(v, at(2026, 3, 20, 11, 10));
    const Point *eleven_later = add(v, at(2026, 3, 20, 11, 50));

    (void) add(v, at(2026, 3, 20, 16, 0));
    expect(v, now, v->current, TRUE, "newest");
    expect(v, now, eleven_later, TRUE, "hourly");
    expect(v, now, eleven, FALSE, "a newer one of its hour is kept");
    expect(v, now, ten, FALSE, "a newer one of its day is kept");
    expect(v, now, yesterday_late, TRUE, "daily");
    expect(v, now, yesterday, FALSE, "a newer one of its day is kept");
    expect(v, now, sunday, TRUE, "weekly");
    expect(v, now, monday, FALSE, "a newer one of its week is kept");
    expect(v, now, february, TRUE, "monthly");
}

static void
a_file_that_rests_loses_nothing_more(void)
{
    zone("UTC");
    g_autoptr(FileView) v = view(RETENTION_DEFAULT);

    for (int i = 0; i < 20; i++)
        (void) add(v, at(2020, 1, 1, 0, 0) + i * 40 * DAY);
    CU_ASSERT_EQUAL(n_kept(v, at(2026, 1, 1, 0, 0)), 20); /* 24 hours that have one */
}

static void
days_are_local_and_survive_changed_clocks(void)
{
    zone("Europe/Berlin");
    g_autoptr(FileView) v = view("3d");
    const Point *first = add(v, at(2026, 10, 24, 23, 30));
    const Point *short_before = add(v, at(2026, 10, 25, 0, 30)); /* 22:30 of the 24th in UTC */
    const Point *last = add(v, at(2026, 10, 25, 23, 30));        /* a day of 25 hours */

    (void) add(v, at(2026, 10, 26, 0, 30));
    gint64 now = at(2026, 10, 27, 12, 0);
    expect(v, now, last, TRUE, "daily");
    expect(v, now, short_before, FALSE, "a newer one of its day is kept");
    expect(v, now, first, TRUE, "daily");
    zone("UTC");
}

static void
keep_last_counts_the_newest(void)
{
    zone("UTC");
    g_autoptr(FileView) v = view("");
    gint64 now = at(2026, 3, 4, 12, 0);

    v->keep_last = 3;
    for (int i = 10; i > 0; i--)
        (void) add(v, now - i * DAY);
    CU_ASSERT_EQUAL(n_kept(v, now), 3);
    expect(v, now, v->points->pdata[8], TRUE, "keep-last");
}

static void
a_fuzzy_content_never_takes_a_stable_ones_place(void)
{
    zone("UTC");
    g_autoptr(FileView) v = view("1d");
    gint64 now = at(2026, 3, 10, 12, 0);
    Point *stable = add(v, at(2026, 3, 4, 10, 0));
    Point *fuzzy = add(v, at(2026, 3, 4, 11, 0));
    const Point *older = add(v, at(2026, 3, 5, 9, 0));
    Point *daily = add(v, at(2026, 3, 6, 9, 0));

    fuzzy->quality = QUALITY_FUZZY;
    add(v, at(2026, 3, 6, 10, 0))->quality = QUALITY_FUZZY;
    expect(v, now, daily, TRUE, "newest stable");
    expect(v, now, older, FALSE, "older than what the policy keeps");
    expect(v, now, v->current, TRUE, "newest");
    daily->quality = QUALITY_FUZZY;
    expect(v, now, older, TRUE, "newest stable");
    g_free(v->keep);
    v->keep = g_strdup("2d 2m");
    g_ptr_array_set_size(v->points, 2);
    expect(v, now, stable, TRUE, "newest stable");
    stable->kept = KEPT_NAMED;
    expect(v, now, stable, TRUE, "named");
    expect(v, now, fuzzy, FALSE, "a newer one of its day is kept");
}

static void
what_is_kept_for_a_reason_stays_as_long_as_that(void)
{
    zone("UTC");
    g_autoptr(FileView) v = view("1h");
    gint64 now = at(2026, 3, 10, 12, 0);
    Point *named = add(v, at(2020, 1, 1, 0, 0));
    Point *before = add(v, at(2020, 1, 2, 0, 0));
    Point *boot = add(v, at(2020, 1, 3, 0, 0));
    Point *deleted = add(v, at(2020, 1, 4, 0, 0));

    (void) add(v, at(2025, 1, 5, 0, 0));
    named->kept = KEPT_NAMED;
    before->kept = KEPT_SUSPICION;
    boot->kept = KEPT_BOOT;
    deleted->deleted_usec = now - 89 * DAY;
    expect(v, now, named, TRUE, "named");
    expect(v, now, before, TRUE, "before a suspicious change");
    expect(v, now, boot, FALSE, "older than what the policy keeps");
    expect(v, now, deleted, TRUE, "deleted");
    expect(v, now + 2 * DAY, deleted, FALSE, "older than what the policy keeps");

    RetentionNow crashed = {.usec = now, .trusted = TRUE, .unclean_usec = now - 6 * DAY};
    g_autoptr(GArray) verdicts = retention_judge(v, &crashed);
    const RetentionVerdict *third = &g_array_index(verdicts, RetentionVerdict, 2);
    CU_ASSERT_PTR_EQUAL(third->point, boot);
    CU_ASSERT_TRUE(third->keep);
    CU_ASSERT_STRING_EQUAL(third->why, "before an unclean stop");
}

static void
a_deleted_file_goes_as_a_whole_and_late(void)
{
    zone("UTC");
    g_autoptr(FileView) v = view("24h 12m");
    gint64 gone = at(2026, 1, 1, 0, 0);
    Point *old = add(v, gone - 50 * DAY);

    add(v, gone - 10 * DAY)->deleted_usec = gone;
    v->state = STORED_DELETED;
    CU_ASSERT_EQUAL(n_kept(v, gone + 12 * 31 * DAY - 1), 2);
    CU_ASSERT_EQUAL(n_kept(v, gone + 12 * 31 * DAY), 0);
    g_free(v->keep);
    v->keep = g_strdup("1h");
    CU_ASSERT_EQUAL(n_kept(v, gone + 89 * DAY), 1);
    expect(v, gone + 90 * DAY, v->current, FALSE, "deleted long ago");
    old->kept = KEPT_NAMED;
    CU_ASSERT_EQUAL(n_kept(v, gone + 900 * DAY), 2);
    old->kept = 0;
    v->current->deleted_usec = 0; /* since when is not known */
    CU_ASSERT_EQUAL(n_kept(v, gone + 900 * DAY), 1);
}

static void
suspicion_a_jumped_clock_or_no_policy_keep_all(void)
{
    zone("UTC");
    g_autoptr(FileView) v = view("");
    RetentionNow now = when(at(2026, 3, 10, 12, 0));
    const Point *old = add(v, now.usec - 100 * DAY);

    (void) add(v, now.usec - 50 * DAY);
    expect(v, now.usec, old, FALSE, "older than what the policy keeps");
    v->suspicion = SUSPICION_EMPTIED;
    expect(v, now.usec, old, TRUE, "suspicious");
    CU_ASSERT_STRING_EQUAL(retention_must_stay(v, old, &now), "suspicious");
    v->suspicion = 0;
    now.trusted = FALSE;
    g_autoptr(GArray) verdicts = retention_judge(v, &now);
    CU_ASSERT_TRUE(g_array_index(verdicts, RetentionVerdict, 1).keep);
    CU_ASSERT_STRING_EQUAL(g_array_index(verdicts, RetentionVerdict, 1).why, "the clock jumped");
    g_clear_pointer(&v->keep, g_free);
    expect(v, now.usec, old, TRUE, "no policy");
    v->keep = g_strdup("what later versions write");
    expect(v, now.usec, old, TRUE, "no policy");
}

static void
what_a_restore_replaced_is_counted_by_itself(void)
{
    zone("UTC");
    g_autoptr(FileView) v = view("1d");
    gint64 now = at(2026, 3, 10, 12, 0);
    const Point *daily = NULL, *beside, *older;

    (void) add(v, at(2026, 3, 3, 9, 0));
    older = add_beside(v, at(2026, 3, 3, 10, 0));
    daily = add(v, at(2026, 3, 4, 9, 0));
    v->current->id += 10;
    beside = add_beside(v, at(2026, 3, 4, 10, 0));
    expect(v, now, daily, TRUE, "newest");
    expect(v, now, beside, TRUE, "daily");
    expect(v, now, older, FALSE, "older than what the policy keeps");
}

static void
a_store_over_its_limit_gives_up_anything_but_the_last_good_copy(void)
{
    zone("UTC");
    g_autoptr(FileView) v = view(RETENTION_DEFAULT);
    RetentionNow now = when(at(2026, 3, 10, 12, 0));
    Point *any = add(v, now.usec - 50 * DAY), *named = add(v, now.usec - 40 * DAY);
    const Point *stable = add(v, now.usec - 2 * MINUTE);

    named->kept = KEPT_NAMED;
    add(v, now.usec - MINUTE)->quality = QUALITY_FUZZY;
    CU_ASSERT_PTR_NULL(retention_must_stay(v, any, &now));
    CU_ASSERT_STRING_EQUAL(retention_must_stay(v, named, &now), "named");
    CU_ASSERT_STRING_EQUAL(retention_must_stay(v, stable, &now), "newest stable");
    CU_ASSERT_STRING_EQUAL(retention_must_stay(v, v->current, &now), "newest");
}

/* ---- properties ---- */

/* Thins it; what is dropped is taken out. */
static void
thin(FileView *v, gint64 now_usec)
{
    RetentionNow now = when(now_usec);
    g_autoptr(GArray) verdicts = retention_judge(v, &now);

    for (guint i = 0; i < verdicts->len; i++) {
        const RetentionVerdict *verdict = &g_array_index(verdicts, RetentionVerdict, i);
        if (!verdict->keep)
            (void) g_ptr_array_remove(v->points, verdict->point);
    }
}

static char *
ids(const FileView *v)
{
    GString *text = g_string_new(NULL);
    g_autoptr(GPtrArray) points = view_points(v);

    for (guint i = 0; i < points->len; i++)
        g_string_append_printf(text, "%" G_GUINT64_FORMAT " ", ((Point *) points->pdata[i])->id);
    return g_string_free(text, FALSE);
}

static void
thinning_often_or_once_comes_to_the_same(void)
{
    const char *policies[] = {"24h 7d 4w 12m", "3h", "2d 5w", "", "1h 1d 1w 1m", "6h 12m"};

    zone("Europe/Berlin");
    for (guint32 seed = 0; seed < 300; seed++) {
        g_autoptr(GRand) random = g_rand_new_with_seed(seed);
        const char *policy = policies[seed % G_N_ELEMENTS(policies)];
        g_autoptr(FileView) once = view(policy), often = view(policy);
        gint64 now = at(2025, 1, 1, 0, 0) + g_rand_int_range(random, 0, 500) * DAY, stable = 0;

        once->keep_last = often->keep_last = (guint) g_rand_int_range(random, 0, 4);
        for (guint i = 0; i < 150; i++) {
            gint64 step =
                (gint64[]){SECOND, 20 * MINUTE, 5 * HOUR, 9 * DAY}[g_rand_int(random) % 4];
            now += (gint64) (g_rand_double(random) * (double) step);
            Quality quality = g_rand_int_range(random, 0, 4) ? QUALITY_STABLE : QUALITY_FUZZY;
            add(once, now)->quality = quality;
            add(often, now)->quality = quality;
            if (g_rand_int_range(random, 0, 3) == 0)
                thin(often, now + MINUTE);
            if (quality == QUALITY_STABLE)
                stable = (gint64) once->current->id;
        }
        now += (gint64) (g_rand_double(random) * 2 * (double) HOUR);
        thin(once, now);
        thin(often, now);
        g_autofree char *a = ids(once), *b = ids(often);
        CU_ASSERT_STRING_EQUAL(a, b);
        thin(once, now);
        g_autofree char *c = ids(once);
        CU_ASSERT_STRING_EQUAL(a, c);
        CU_ASSERT_TRUE(stable == 0 || view_point(once, (guint64) stable) != NULL);
        guint lately = 0, limit = 0;
        for (guint i = 0; i < once->points->len; i++)
            lately += ((Point *) once->points->pdata[i])->time_usec > now - HOUR;
        Retention r;
        CU_ASSERT_TRUE(retention_parse(policy, 0, &r, NULL));
        limit = r.hours + r.days + r.weeks + r.months + once->keep_last + lately + 3;
        CU_ASSERT_TRUE(once->points->len + 1 <= limit);
    }
    zone("UTC");
}

/* ---- the clock ---- */

static void
a_clock_that_jumps_ahead_is_not_believed_for_a_day(void)
{
    RetentionClock c = {0};
    gint64 now = at(2026, 3, 10, 12, 0), boot = 1000 * SECOND;

    CU_ASSERT_TRUE(retention_clock_check(&c, now, boot, now - HOUR));
    CU_ASSERT_TRUE(retention_clock_check(&c, now + HOUR, boot + HOUR, now));
    CU_ASSERT_TRUE(retention_clock_check(&c, now + 23 * HOUR, boot + 2 * HOUR, now)); /* a little */
    now += 400 * DAY;
    boot += 3 * HOUR;
    CU_ASSERT_FALSE(retention_clock_check(&c, now, boot, now));
    CU_ASSERT_FALSE(retention_clock_check(&c, now + 23 * HOUR, boot + 23 * HOUR, now));
    CU_ASSERT_TRUE(retention_clock_check(&c, now + 24 * HOUR, boot + 24 * HOUR, now));
    CU_ASSERT_TRUE(retention_clock_check(&c, now + 25 * HOUR, boot + 25 * HOUR, now));
}

static void
a_clock_that_comes_back_is_believed_at_once(void)
{
    RetentionClock c = {0};
    gint64 now = at(2026, 3, 10, 12, 0), boot = 1000 * SECOND;

    CU_ASSERT_TRUE(retention_clock_check(&c, now, boot, now));
    CU_ASSERT_FALSE(retention_clock_check(&c, now + 400 * DAY, boot + HOUR, now));
    CU_ASSERT_TRUE(retention_clock_check(&c, now + 2 * HOUR, boot + 2 * HOUR, now));
    CU_ASSERT_TRUE(retention_clock_check(&c, now - 400 * DAY, boot + 3 * HOUR, now)); /* and back */
    CU_ASSERT_TRUE(retention_clock_check(&c, now - 400 * DAY + HOUR, boot + 4 * HOUR, now));
}

static void
a_start_long_after_the_newest_record_waits(void)
{
    RetentionClock c = {0}, empty = {0};
    gint64 now = at(2026, 3, 10, 12, 0), boot = 50 * SECOND;

    CU_ASSERT_FALSE(retention_clock_check(&c, now, boot, now - 8 * DAY));
    CU_ASSERT_FALSE(retention_clock_check(&c, now + HOUR, boot + HOUR, now + HOUR));
    CU_ASSERT_TRUE(retention_clock_check(&c, now + DAY, boot + DAY, now));
    CU_ASSERT_TRUE(retention_clock_check(&empty, now, boot, 0));
}

static const UnitTest tests[] = {
    UNIT_TEST(a_policy_is_read),
    UNIT_TEST(what_is_no_policy_is_refused),
    UNIT_TEST(all_of_the_last_hour_is_kept),
    UNIT_TEST(the_newest_of_each_hour_day_week_and_month_is_kept),
    UNIT_TEST(a_file_that_rests_loses_nothing_more),
    UNIT_TEST(days_are_local_and_survive_changed_clocks),
    UNIT_TEST(keep_last_counts_the_newest),
    UNIT_TEST(a_fuzzy_content_never_takes_a_stable_ones_place),
    UNIT_TEST(what_is_kept_for_a_reason_stays_as_long_as_that),
    UNIT_TEST(a_deleted_file_goes_as_a_whole_and_late),
    UNIT_TEST(suspicion_a_jumped_clock_or_no_policy_keep_all),
    UNIT_TEST(what_a_restore_replaced_is_counted_by_itself),
    UNIT_TEST(a_store_over_its_limit_gives_up_anything_but_the_last_good_copy),
    UNIT_TEST(thinning_often_or_once_comes_to_the_same),
    UNIT_TEST(a_clock_that_jumps_ahead_is_not_believed_for_a_day),
    UNIT_TEST(a_clock_that_comes_back_is_believed_at_once),
    UNIT_TEST(a_start_long_after_the_newest_record_waits),
};
UNIT_MAIN("retention", tests)
