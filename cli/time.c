/* time.c - times as people and as programs read them. How they are written: time-parse.c */

#include "config.h"

#include "cli/time.h"

#define SECOND G_USEC_PER_SEC
#define MINUTE (60 * (gint64) SECOND)
#define HOUR   (60 * MINUTE)
#define DAY    (24 * HOUR)

/* A unit is used up to where the next one says it well enough: "90 min" tells more than "1 h". */
static const struct {
    gint64 below, unit;
    const char *name;
    gboolean plural;
} units[] = {
    {2 * MINUTE, SECOND, "s", FALSE},     {2 * HOUR, MINUTE, "min", FALSE},
    {2 * DAY, HOUR, "h", FALSE},          {60 * DAY, DAY, "day", TRUE},
    {730 * DAY, 30 * DAY, "month", TRUE}, {G_MAXINT64, 365 * DAY, "year", TRUE},
};

char *
time_phrase(gint64 usec, gint64 now_usec)
{
    gint64 age;
    guint i = 0;

    if (__builtin_sub_overflow(now_usec, usec, &age) || age == G_MININT64)
        return g_strdup("?"); /* a damaged record's */
    gint64 distance = age < 0 ? -age : age;
    if (distance < SECOND)
        return g_strdup("just now");
    while (i + 1 < G_N_ELEMENTS(units) && distance >= units[i].below)
        i++;
    gint64 n = distance / units[i].unit;
    return g_strdup_printf("%s%" G_GINT64_FORMAT " %s%s%s", age < 0 ? "in " : "", n, units[i].name,
                           units[i].plural && n != 1 ? "s" : "", age < 0 ? "" : " ago");
}

static char *
format(GDateTime *time, const char *pattern)
{
    return time ? g_date_time_format(time, pattern) : g_strdup("?");
}

char *
time_local(gint64 usec)
{
    g_autoptr(GDateTime) time = g_date_time_new_from_unix_local(usec / SECOND);

    return format(time, "%Y-%m-%d %H:%M:%S");
}

char *
time_full(gint64 usec)
{
    g_autofree char *local = time_local(usec);
    g_autofree char *phrase = time_phrase(usec, g_get_real_time());

    return g_strdup_printf("%s (%s)", local, phrase);
}

char *
time_rfc3339(gint64 usec)
{
    gint64 second = usec / SECOND, rest = usec % SECOND;

    if (rest < 0) { /* before 1970 */
        rest += SECOND;
        second--;
    }
    g_autoptr(GDateTime) time = g_date_time_new_from_unix_utc(second);
    g_autofree char *whole = format(time, "%Y-%m-%dT%H:%M:%S");
    return g_strdup_printf("%s.%06" G_GINT64_FORMAT "Z", whole, rest);
}
