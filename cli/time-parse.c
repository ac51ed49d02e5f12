/* time-parse.c - a moment in the past, as people write it
 *
 *     now | @SECONDS[.FRACTION]
 *     N UNIT [N UNIT ...] ago          2h ago, 1 day 3 hours ago, an hour ago
 *     [DAY [at]] H:MM[:SS[.FRACTION]]  DAY: today, yesterday, monday ... sunday (the last one that
 *                                      had this time of day), YYYY-MM-DD
 *     YYYY-MM-DD(T| )H:MM[...][ZONE]   ZONE: Z, +HH:MM, -HHMM
 *
 * What is read must have been: the future is refused. A day alone is refused too: "as of yesterday"
 * may mean its beginning, its end, or 24 hours ago, and a restore must not guess.
 *
 * Local times are turned into moments here and not by g_date_time_new, which silently takes one of
 * the two moments of an hour that comes twice, and moves a time that the clocks skipped: either is
 * refused, with what to write instead.
 *
 * Days, weeks, months and years are the calendar's (yesterday at this time of day, whatever the
 * clocks did), hours and below are time that went by.
 */

#include "config.h"

#include <string.h>

#include "cli/report.h"
#include "cli/time.h"

#define SECOND  ((gint64) G_USEC_PER_SEC)
#define DAY_SEC 86400
#define MOST    1000000 /* of a unit: no arithmetic of ours overflows */

#define EXAMPLES                                                                                   \
    "\"10 minutes ago\", \"yesterday 18:00\", \"monday 12:00\", \"2026-11-20 18:00\", "            \
    "\"2026-11-20T18:00:05Z\""

static TimeReading wrong(GError **error, const char *format, ...) G_GNUC_PRINTF(2, 3);

static TimeReading
wrong(GError **error, const char *format, ...)
{
    va_list args;

    va_start(args, format);
    g_autofree char *text = g_strdup_vprintf(format, args);
    va_end(args);
    g_set_error_literal(error, CLI_ERROR, CLI_ERROR_USAGE, text);
    return TIME_WRONG;
}

static TimeReading
no_time(const char *text, GError **error)
{
    (void) wrong(error, "'%s' is no time. Times are written like " EXAMPLES, text);
    return TIME_NO_TIME;
}

static TimeReading
to_come(const char *text, GError **error)
{
    return wrong(error, "'%s' is still to come. Times are written like " EXAMPLES, text);
}

/* "...ago" ------------------------------------------------------------------------------------ */

typedef enum {
    UNIT_SECOND,
    UNIT_MINUTE,
    UNIT_HOUR,
    UNIT_DAY,
    UNIT_WEEK,
    UNIT_MONTH,
    UNIT_YEAR
} Unit;

static const struct {
    const char *names; /* each between spaces */
    Unit unit;
} units[] = {
    {" s sec secs second seconds ", UNIT_SECOND},
    {" m min mins minute minutes ", UNIT_MINUTE},
    {" h hour hours ", UNIT_HOUR},
    {" d day days ", UNIT_DAY},
    {" w week weeks ", UNIT_WEEK},
    {" month months ", UNIT_MONTH},
    {" y year years ", UNIT_YEAR},
};

static gboolean
find_unit(const char *word, Unit *ret_unit)
{
    g_autofree char *padded = g_strconcat(" ", word, " ", NULL);

    for (guint i = 0; i < G_N_ELEMENTS(units); i++)
        if (strstr(units[i].names, padded)) {
            *ret_unit = units[i].unit;
            return TRUE;
        }
    return FALSE;
}

/* NULL: out of the calendar. */
static GDateTime *
before(GDateTime *time, Unit unit, int n)
{
    switch (unit) {
    case UNIT_SECOND:
        return g_date_time_add_seconds(time, -n);
    case UNIT_MINUTE:
        return g_date_time_add_minutes(time, -n);
    case UNIT_HOUR:
        return g_date_time_add_hours(time, -n);
    case UNIT_DAY:
        return g_date_time_add_days(time, -n);
    case UNIT_WEEK:
        return g_date_time_add_weeks(time, -n);
    case UNIT_MONTH:
        return g_date_time_add_months(time, -n);
    case UNIT_YEAR:
        return g_date_time_add_years(time, -n);
    }
    return NULL;
}

static gint64
usec_of(GDateTime *time)
{
    return g_date_time_to_unix(time) * SECOND + g_date_time_get_microsecond(time);
}

static GDateTime *
local_time(gint64 usec)
{
    g_autoptr(GDateTime) whole = g_date_time_new_from_unix_local(usec / SECOND);

    return whole ? g_date_time_add(whole, usec % SECOND) : NULL;
}

/* A number, "a" or "an"; -1: none. */
static int
take_number(const char **p)
{
    if (g_ascii_isdigit(**p)) {
        char *end;
        guint64 n = g_ascii_strtoull(*p, &end, 10);
        *p = end;
        return (int) MIN(n, MOST + 1);
    }
    for (guint n = 2; n >= 1; n--)
        if (strncmp(*p, "an", n) == 0 && (*p)[n] == ' ') {
            *p += n;
            return 1;
        }
    return -1;
}

/* `text` without "ago". */
static TimeReading
read_ago(const char *whole, const char *text, gint64 now_usec, gint64 *ret_usec, GError **error)
{
    g_autoptr(GDateTime) time = local_time(now_usec);
    const char *p = text;

    while (time && *p) {
        int n = take_number(&p);
        p += strspn(p, " ");
        gsize length = strspn(p, "abcdefghijklmnopqrstuvwxyz");
        g_autofree char *word = g_strndup(p, length);
        Unit unit;
        if (n < 0 || length == 0)
            return no_time(whole, error);
        if (!find_unit(word, &unit))
            return wrong(error,
                         "'%s': '%s' is no unit of time. Units are s, min, h, days, weeks, months "
                         "and years",
                         whole, word);
        if (n > MOST)
            return wrong(error, "'%s' is too long ago", whole);
        p += length;
        p += strspn(p, " ,");
        if (g_str_has_prefix(p, "and "))
            p += strspn(p + 3, " ") + 3;
        GDateTime *earlier = before(time, unit, n);
        g_date_time_unref(time);
        time = earlier;
    }
    if (!time || p == text)
        return time ? no_time(whole, error) : wrong(error, "'%s' is too long ago", whole);
    *ret_usec = usec_of(time);
    return TIME_READ;
}

/* The calendar's ------------------------------------------------------------------------------ */

typedef struct Civil {
    gboolean dated; /* else the day is told by a word */
    int year, month, day, hour, minute, second;
    int fraction_usec; /* -1: the second as a whole */
} Civil;

static gboolean
civil_is_valid(const Civil *c)
{
    return c->year >= 1 && c->month >= 1 && c->month <= 12 && c->day >= 1 && c->day <= 31 &&
           g_date_valid_dmy((GDateDay) c->day, (GDateMonth) c->month, (GDateYear) c->year) &&
           c->hour <= 23 && c->minute <= 59 && c->second <= 59;
}

/* Seconds since the epoch, were it UTC. */
static gint64
civil_seconds(const Civil *c)
{
    g_autoptr(GDateTime) utc =
        g_date_time_new_utc(c->year, c->month, c->day, c->hour, c->minute, c->second);

    return g_date_time_to_unix(utc);
}

static gint64
offset_at(gint64 second)
{
    g_autoptr(GDateTime) time = g_date_time_new_from_unix_local(second);

    return time ? g_date_time_get_utc_offset(time) / SECOND : 0;
}

/* The clocks are not put twice within two days: the offset is that of the day before, or that of
 * the day after. */
static TimeReading
resolve_local(const char *whole, const Civil *c, gint64 *ret_second, GError **error)
{
    gint64 civil = civil_seconds(c);
    gint64 first = civil - offset_at(civil - DAY_SEC), last = civil - offset_at(civil + DAY_SEC);
    gboolean is_first = offset_at(first) == civil - first,
             is_last = offset_at(last) == civil - last;

    if (is_first && is_last && first != last) {
        g_autofree char *one = time_rfc3339(MIN(first, last) * SECOND);
        g_autofree char *other = time_rfc3339(MAX(first, last) * SECOND);
        return wrong(error,
                     "'%s' came twice, because the clocks were put back. Name the zone: %.19sZ or "
                     "%.19sZ",
                     whole, one, other);
    }
    if (!is_first && !is_last)
        return wrong(error, "'%s' never was: the clocks were put forward over it", whole);
    *ret_second = is_first ? first : last;
    return TIME_READ;
}

/* "z", "+02:00", "-0500" */
static gboolean
zone_seconds(const char *zone, gint64 *ret_seconds)
{
    if (zone[0] == 'z') {
        *ret_seconds = 0;
        return TRUE;
    }
    const char *minutes = zone + (zone[3] == ':' ? 4 : 3);
    int h = (zone[1] - '0') * 10 + zone[2] - '0', m = (minutes[0] - '0') * 10 + minutes[1] - '0';
    *ret_seconds = (zone[0] == '-' ? -1 : 1) * (h * 3600 + m * 60);
    return h <= 23 && m <= 59;
}

/* How many days before today; -1: no such word. *ret_weekday: today may be meant, or a week ago. */
static int
days_back(const char *word, GDateTime *now, gboolean *ret_weekday)
{
    static const char *const weekdays[] = {"monday", "tuesday",  "wednesday", "thursday",
                                           "friday", "saturday", "sunday"};

    *ret_weekday = FALSE;
    if (!*word || g_str_equal(word, "today"))
        return 0;
    if (g_str_equal(word, "yesterday"))
        return 1;
    for (int i = 0; i < (int) G_N_ELEMENTS(weekdays); i++)
        if (g_str_equal(word, weekdays[i]) ||
            (strlen(word) == 3 && g_str_has_prefix(weekdays[i], word))) {
            *ret_weekday = TRUE;
            return (g_date_time_get_day_of_week(now) - 1 - i + 7) % 7;
        }
    return -1;
}

static gboolean
set_day(Civil *c, GDateTime *now, int back)
{
    g_autoptr(GDateTime) noon =
        g_date_time_new_utc(g_date_time_get_year(now), g_date_time_get_month(now),
                            g_date_time_get_day_of_month(now), 12, 0, 0);
    g_autoptr(GDateTime) day = noon ? g_date_time_add_days(noon, -back) : NULL;

    if (!day)
        return FALSE;
    g_date_time_get_ymd(day, &c->year, &c->month, &c->day);
    return TRUE;
}

/* What is meant of a second that is not over yet has been. */
static TimeReading
finish(const char *whole, gint64 second, int fraction_usec, gint64 now_usec, gint64 *ret_usec,
       GError **error)
{
    gint64 usec = second * SECOND + MAX(fraction_usec, 0);

    if (usec > now_usec)
        return to_come(whole, error);
    *ret_usec = fraction_usec < 0 ? MIN(usec + SECOND - 1, now_usec) : usec;
    return TIME_READ;
}

static int
number_of(GMatchInfo *match, const char *name)
{
    g_autofree char *text = g_match_info_fetch_named(match, name);

    return text && *text ? (int) g_ascii_strtoll(text, NULL, 10) : 0;
}

static int
fraction_of(GMatchInfo *match)
{
    g_autofree char *text = g_match_info_fetch_named(match, "fraction");

    if (!text || !*text)
        return -1;
    g_autofree char *six = g_strconcat(text, "000000", NULL);
    six[6] = '\0';
    return (int) g_ascii_strtoll(six, NULL, 10);
}

static TimeReading
read_local(const char *whole, Civil *c, const char *word, gint64 now_usec, gint64 *ret_usec,
           GError **error)
{
    g_autoptr(GDateTime) now = local_time(now_usec);
    gboolean weekday = FALSE;
    int back = now && !c->dated ? days_back(word, now, &weekday) : 0;
    gint64 second;

    if (!now || back < 0)
        return no_time(whole, error);
    if (!c->dated && !set_day(c, now, back))
        return no_time(whole, error);
    if (!civil_is_valid(c))
        return wrong(error, "'%s': there is no such day or time of day", whole);
    TimeReading reading = resolve_local(whole, c, &second, error);
    if (reading != TIME_READ)
        return reading;
    if (weekday && back == 0 && second * SECOND > now_usec) { /* the last one that has been */
        (void) set_day(c, now, 7);
        reading = resolve_local(whole, c, &second, error);
        if (reading != TIME_READ)
            return reading;
    }
    return finish(whole, second, c->fraction_usec, now_usec, ret_usec, error);
}

static TimeReading
read_calendar(const char *whole, const char *text, gint64 now_usec, gint64 *ret_usec,
              GError **error)
{
    static const char *const pattern =
        "^(?:(?:(?<year>\\d{4})-(?<month>\\d\\d)-(?<day>\\d\\d)|(?<word>[a-z]+))"
        "(?:t(?=\\d)| +(?:at +)?|$))?"
        "(?:(?<hour>\\d{1,2}):(?<minute>\\d\\d)(?::(?<second>\\d\\d)(?:\\.(?<fraction>\\d{1,9}))?)?"
        ")?"
        " *(?<zone>z|[+-]\\d\\d:?\\d\\d)?$";
    g_autoptr(GRegex) regex = g_regex_new(pattern, G_REGEX_RAW, 0, NULL);
    g_autoptr(GMatchInfo) match = NULL;
    gint64 zone_sec;

    if (!*text || !g_regex_match(regex, text, 0, &match))
        return no_time(whole, error);
    g_autofree char *year = g_match_info_fetch_named(match, "year");
    Civil c = {
        .dated = year && *year,
        .year = number_of(match, "year"),
        .month = number_of(match, "month"),
        .day = number_of(match, "day"),
        .hour = number_of(match, "hour"),
        .minute = number_of(match, "minute"),
        .second = number_of(match, "second"),
        .fraction_usec = fraction_of(match),
    };
    g_autofree char *minute = g_match_info_fetch_named(match, "minute");
    g_autofree char *zone = g_match_info_fetch_named(match, "zone");
    g_autofree char *word = g_match_info_fetch_named(match, "word");
    if (!minute || !*minute) { /* a day alone, or a word that is something else */
        g_autoptr(GDateTime) now = local_time(now_usec);
        gboolean weekday;
        if (c.dated || (now && word && *word && days_back(word, now, &weekday) >= 0))
            return wrong(error, "'%s' needs a time of day: '%s 18:00'", whole, whole);
        return no_time(whole, error);
    }
    if (!zone || !*zone)
        return read_local(whole, &c, word ? word : "", now_usec, ret_usec, error);
    if (!c.dated)
        return wrong(error, "'%s': a time with a zone needs its date: 2026-11-20T18:00Z", whole);
    if (!civil_is_valid(&c) || !zone_seconds(zone, &zone_sec))
        return wrong(error, "'%s': there is no such day, time of day or zone", whole);
    return finish(whole, civil_seconds(&c) - zone_sec, c.fraction_usec, now_usec, ret_usec, error);
}

/* "@1700000000.25" */
static TimeReading
read_epoch(const char *whole, const char *text, gint64 now_usec, gint64 *ret_usec, GError **error)
{
    g_autoptr(GRegex) regex =
        g_regex_new("^(?<second>\\d{1,12})(?:\\.(?<fraction>\\d{1,9}))?$", G_REGEX_RAW, 0, NULL);
    g_autoptr(GMatchInfo) match = NULL;

    if (!g_regex_match(regex, text, 0, &match))
        return wrong(error, "'%s': after '@' come the seconds since 1970", whole);
    g_autofree char *second = g_match_info_fetch_named(match, "second");
    return finish(whole, g_ascii_strtoll(second, NULL, 10), fraction_of(match), now_usec, ret_usec,
                  error);
}

TimeReading
time_parse(const char *text, gint64 now_usec, gint64 *ret_usec, GError **error)
{
    g_autofree char *lower = g_strstrip(g_ascii_strdown(text, -1));
    gsize n = strlen(lower);

    if (g_str_equal(lower, "now")) {
        *ret_usec = now_usec;
        return TIME_READ;
    }
    if (lower[0] == '@')
        return read_epoch(text, lower + 1, now_usec, ret_usec, error);
    if (n > 4 && g_str_has_suffix(lower, " ago")) {
        lower[n - 4] = '\0';
        return read_ago(text, g_strchomp(lower), now_usec, ret_usec, error);
    }
    return read_calendar(text, lower, now_usec, ret_usec, error);
}
