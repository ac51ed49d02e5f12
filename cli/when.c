/* when.c - which of a file's contents is meant */

#include "config.h"

#include <string.h>

#include "cli/report.h"
#include "cli/time.h"
#include "cli/when.h"

void
when_clear(When *w)
{
    g_clear_pointer(&w->text, g_free);
    g_clear_pointer(&w->name, g_free);
    g_clear_pointer(&w->store, g_free);
    *w = (When){0};
}

static gboolean
is_number(const char *text)
{
    return *text && strspn(text, "0123456789") == strlen(text);
}

static gboolean
can_be_a_name(const char *text)
{
    gsize n = strlen(text);

    if (n == 0 || n > WHEN_NAME_BYTES || !g_utf8_validate(text, (gssize) n, NULL))
        return FALSE;
    for (const char *p = text; *p; p = g_utf8_next_char(p))
        if (!g_unichar_isprint(g_utf8_get_char(p)))
            return FALSE;
    return text[0] != ' ' && text[n - 1] != ' ';
}

gboolean
when_parse(const char *text, gint64 now_usec, When *ret_when, GError **error)
{
    g_autoptr(GError) failed = NULL;
    g_auto(When) w = {0};

    if (is_number(text)) {
        if (!g_ascii_string_to_unsigned(text, 10, 1, G_MAXINT64, &w.point, NULL)) {
            g_set_error(error, CLI_ERROR, CLI_ERROR_USAGE, "'%s' is no point's number", text);
            return FALSE;
        }
    } else if (!g_str_equal(text, "newest")) {
        switch (time_parse(text, now_usec, &w.time_usec, &failed)) {
        case TIME_READ:
            break;
        case TIME_NO_TIME:
            if (can_be_a_name(text)) {
                w.name = g_strdup(text);
                break;
            }
            /* fall through */
        case TIME_WRONG:
            g_propagate_error(error, g_steal_pointer(&failed));
            return FALSE;
        }
    }
    w.text = g_strdup(text);
    *ret_when = w;
    w = (When){0};
    return TRUE;
}

gboolean
when_check_name(const char *name, GError **error)
{
    g_auto(When) w = {0};

    if (!can_be_a_name(name)) {
        g_set_error(error, CLI_ERROR, CLI_ERROR_USAGE,
                    "a point's name is text of at most %d bytes, without control characters and "
                    "without spaces at its ends",
                    WHEN_NAME_BYTES);
        return FALSE;
    }
    if (when_parse(name, g_get_real_time(), &w, NULL) && w.name)
        return TRUE;
    g_set_error(error, CLI_ERROR, CLI_ERROR_USAGE,
                "'%s' cannot be a point's name: it reads as a number or a time", name);
    return FALSE;
}
