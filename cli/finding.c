/* finding.c - what doctor has found, as lines and as JSON */

#include "config.h"

#include "cli/finding.h"
#include "cli/output.h"

typedef struct Finding {
    FindingGrade grade;
    char *what, *text, *remedy;
} Finding;

struct Findings {
    GPtrArray *all;
};

static const char *const grade_names[] = {
    [FINDING_OK] = "ok",
    [FINDING_ADVICE] = "advice",
    [FINDING_PROBLEM] = "problem",
};

static void
finding_free(gpointer data)
{
    Finding *finding = data;

    g_free(finding->what);
    g_free(finding->text);
    g_free(finding->remedy);
    g_free(finding);
}

Findings *
findings_new(void)
{
    Findings *f = g_new0(Findings, 1);

    f->all = g_ptr_array_new_with_free_func(finding_free);
    return f;
}

void
findings_free(Findings *f)
{
    if (!f)
        return;
    g_ptr_array_unref(f->all);
    g_free(f);
}

void
findings_add(Findings *f, FindingGrade grade, const char *what, const char *remedy,
             const char *format, ...)
{
    Finding *finding = g_new0(Finding, 1);
    va_list args;

    va_start(args, format);
    g_autofree char *text = g_strdup_vprintf(format, args);
    va_end(args);
    finding->grade = grade;
    finding->what = g_strdup(what);
    finding->text = g_utf8_make_valid(text, -1);
    finding->remedy = remedy ? g_utf8_make_valid(remedy, -1) : NULL;
    g_ptr_array_add(f->all, finding);
}

static void
print_json(Findings *f)
{
    g_autoptr(JsonBuilder) b = json_builder_new();

    json_builder_begin_array(b);
    for (guint i = 0; i < f->all->len; i++) {
        const Finding *finding = f->all->pdata[i];
        json_builder_begin_object(b);
        json_builder_set_member_name(b, "grade");
        json_builder_add_string_value(b, grade_names[finding->grade]);
        json_builder_set_member_name(b, "what");
        json_builder_add_string_value(b, finding->what);
        json_builder_set_member_name(b, "text");
        json_builder_add_string_value(b, finding->text);
        json_builder_set_member_name(b, "remedy");
        if (finding->remedy)
            json_builder_add_string_value(b, finding->remedy);
        else
            json_builder_add_null_value(b);
        json_builder_end_object(b);
    }
    json_builder_end_array(b);
    output_json(b);
}

Status
findings_print(Findings *f, gboolean json, gboolean quiet)
{
    Status status = STATUS_OK;

    if (json)
        print_json(f);
    for (guint i = 0; i < f->all->len; i++) {
        const Finding *finding = f->all->pdata[i];
        if (finding->grade == FINDING_PROBLEM)
            status = STATUS_ERROR;
        if (json || (quiet && finding->grade == FINDING_OK))
            continue;
        output_print("%-8s %s: %s\n", grade_names[finding->grade], finding->what, finding->text);
        if (finding->remedy)
            output_print("         %s\n", finding->remedy);
    }
    return status;
}
