/* trouble.c - what was found, one by one */

#include "config.h"

#include <stdarg.h>

#include "store/trouble.h"

static void
trouble_free(gpointer data)
{
    Trouble *t = data;

    g_free(t->path);
    g_free(t->text);
    g_free(t);
}

GPtrArray *
troubles_new(void)
{
    return g_ptr_array_new_with_free_func(trouble_free);
}

void
troubles_add(GPtrArray *troubles, gboolean damage, const char *path, guint64 point,
             const char *format, ...)
{
    Trouble *t = g_new0(Trouble, 1);
    va_list args;

    va_start(args, format);
    t->text = g_strdup_vprintf(format, args);
    va_end(args);
    t->path = g_strdup(path);
    t->point = point;
    t->damage = damage;
    g_ptr_array_add(troubles, t);
}

gboolean
troubles_have_damage(const GPtrArray *troubles)
{
    for (guint i = 0; i < troubles->len; i++)
        if (((const Trouble *) troubles->pdata[i])->damage)
            return TRUE;
    return FALSE;
}
