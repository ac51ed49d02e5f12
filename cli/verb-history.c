/* verb-history.c - point, prune, forget: which recovery points there are */

#include "config.h"

#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "base/error.h"
#include "base/path.h"
#include "cli/backups.h"
#include "cli/dict.h"
#include "cli/operand.h"
#include "cli/output.h"
#include "cli/time.h"
#include "cli/verb.h"

static Status
failed_with(const char *path, GError *error, const char *remedy)
{
    report_error(path, error, remedy);
    return report_status_of(error);
}

/* point --------------------------------------------------------------------------------------- */

static void
say_point(Report *report, const char *path, const char *name, GVariant *result)
{
    g_autofree char *shown = path_escape(path);
    g_autofree char *when = time_local(dict_time(result, "time"));
    g_autofree char *size = output_size(dict_u64(result, "size"));
    const char *quality = dict_text(result, "quality"), *note = dict_text(result, "note");

    report_say(report, "%s: point %" G_GUINT64_FORMAT ", '%s': content of %s%s%s, %s\n", shown,
               dict_u64(result, "id"), name, when, *quality ? ", " : "", quality, size);
    if (*note)
        report_say(report, "  %s\n", note);
}

Status
verb_point(const Options *options)
{
    static const char *const times[] = {"time", NULL};
    g_autoptr(GError) error = NULL;
    g_autoptr(GVariant) result = NULL;
    g_autofree char *path = NULL;
    const char *operand = options_operands(options)[0];
    const char *name = options_value(options, OPTION_POINT_NAME);
    Status status = STATUS_OK;

    if (!when_check_name(name, &error))
        return failed_with(NULL, error, NULL);
    g_autoptr(Backups) backups = backups_open(options, &status);
    if (!backups)
        return status;
    g_autoptr(Report) report = report_new(options);
    if (!backups_find(backups, operand, &path, NULL, &error) ||
        !filedup_manager1_call_point_sync(backups_manager(backups), path, name, &result, NULL,
                                          &error)) {
        report_failed(report, path ? path : operand, error, NULL);
        return report_finish(report);
    }
    const char *not_current = dict_text(result, "not_current");
    say_point(report, path, name, result);
    if (*not_current)
        (void) throw_error(&error, FILEDUP_ERROR_NOT_CURRENT,
                           "the point is not what the file is now: %s", not_current);
    if (error)
        report_failed(report, path, error, NULL);
    else
        report_done(report, path, result, times);
    return report_finish(report);
}

/* prune --------------------------------------------------------------------------------------- */

static void
print_pruned(GVariant *points, guint64 bytes, gboolean dry_run)
{
    static const char *const headings[] = {">POINT", "TIME", ">SIZE", "WHY", "STORE", "FILE", NULL};
    g_autoptr(Table) table = table_new(headings);
    g_autofree char *size = output_size(bytes);
    gsize n = g_variant_n_children(points);

    for (gsize i = 0; i < n; i++) {
        g_autoptr(GVariant) point = g_variant_get_child_value(points, i);
        g_autofree char *number = g_strdup_printf("%" G_GUINT64_FORMAT, dict_u64(point, "id"));
        g_autofree char *when = time_local(dict_time(point, "time"));
        g_autofree char *point_size = output_size(dict_u64(point, "size"));
        g_autofree char *path = path_escape(dict_path(point, "path"));
        const char *cells[] = {
            number, when, point_size, dict_text(point, "why"), dict_text(point, "store"), path};
        table_add(table, cells);
    }
    g_autofree char *text = table_text(table);
    if (n == 0)
        output_print("Nothing to remove: every point is kept by its policy.\n");
    else
        output_print("%s%" G_GSIZE_FORMAT " point%s %s, about %s.\n", text, n, n == 1 ? "" : "s",
                     dry_run ? "would be removed" : "removed", size);
}

static void
print_pruned_json(GVariant *points, guint64 bytes, gboolean dry_run)
{
    static const char *const times[] = {"time", NULL};
    g_autoptr(JsonBuilder) b = json_builder_new();

    json_builder_begin_object(b);
    json_builder_set_member_name(b, "dry_run");
    json_builder_add_boolean_value(b, dry_run);
    json_builder_set_member_name(b, "bytes");
    json_builder_add_int_value(b, (gint64) bytes);
    json_builder_set_member_name(b, "points");
    json_builder_begin_array(b);
    for (gsize i = 0; i < g_variant_n_children(points); i++) {
        g_autoptr(GVariant) point = g_variant_get_child_value(points, i);
        json_builder_begin_object(b);
        output_json_dict(b, point, times);
        json_builder_end_object(b);
    }
    json_builder_end_array(b);
    json_builder_end_object(b);
    output_json(b);
}

Status
verb_prune(const Options *options)
{
    g_autoptr(GError) error = NULL;
    g_autoptr(GVariant) points = NULL;
    g_autofree char *path = NULL;
    const char *operand = options_operands(options)[0];
    gboolean dry_run = options_has(options, OPTION_DRY_RUN);
    guint64 bytes = 0;
    Status status = STATUS_OK;

    g_autoptr(Backups) backups = backups_open(options, &status);
    if (!backups)
        return status;
    if ((operand && !backups_find(backups, operand, &path, NULL, &error)) ||
        !filedup_manager1_call_prune_sync(backups_manager(backups), path ? path : "", dry_run,
                                          &bytes, &points, NULL, &error))
        return failed_with(path ? path : operand, error, NULL);
    if (options_has(options, OPTION_JSON))
        print_pruned_json(points, bytes, dry_run);
    else if (dry_run || !options_has(options, OPTION_QUIET))
        print_pruned(points, bytes, dry_run);
    return STATUS_OK;
}

/* forget -------------------------------------------------------------------------------------- */

/* What is to be forgotten. */
typedef struct Forgotten {
    char *path;
    guint64 point; /* 0: all points */
    char *store;   /* whose number it is, or NULL */
    gboolean all;  /* the newest content, too */
    char *question;
} Forgotten;

static void
forgotten_clear(Forgotten *f)
{
    g_free(f->path);
    g_free(f->store);
    g_free(f->question);
}

G_DEFINE_AUTO_CLEANUP_CLEAR_FUNC(Forgotten, forgotten_clear)

static gboolean
is_meant(GVariant *point, const When *when)
{
    return when->point ? dict_u64(point, "id") == when->point
                       : dict_time(point, "time") <= when->time_usec;
}

/* One point: as the list has it, so that the question can say what it is. */
static gboolean
choose_point(Backups *backups, const When *when, Forgotten *f, GError **error)
{
    g_autoptr(GVariant) points = backups_points(backups, f->path, 0, error);

    for (gsize i = 0; points && i < g_variant_n_children(points); i++) {
        g_autoptr(GVariant) point = g_variant_get_child_value(points, i);
        if (!is_meant(point, when))
            continue;
        if (dict_bool(point, "newest"))
            return throw_error(
                error, FILEDUP_ERROR_REFUSED,
                "'%s' is the newest content, which a backup is never without. Change "
                "the file first, or 'filedup remove' it and forget --all",
                when->text);
        g_autofree char *time = time_local(dict_time(point, "time"));
        g_autofree char *size = output_size(dict_u64(point, "size"));
        const char *name = dict_text(point, "name");
        f->point = dict_u64(point, "id");
        f->store = g_strdup(when->store                  ? when->store
                            : *dict_text(point, "store") ? dict_text(point, "store")
                                                         : NULL);
        f->question = g_strdup_printf("point %" G_GUINT64_FORMAT "%s%s%s of %s, %s", f->point,
                                      *name ? " '" : "", name, *name ? "'" : "", time, size);
        return TRUE;
    }
    return points &&
           throw_error(error, FILEDUP_ERROR_NO_ENTRY,
                       "there is no point '%s'. 'filedup log FILE' lists them", when->text);
}

static gboolean
choose(Backups *backups, const Options *options, Forgotten *f, GError **error)
{
    const char *operand = options_operands(options)[0];
    g_autoptr(GError) failed = NULL;
    g_auto(When) when = {0};

    f->all = options_has(options, OPTION_ALL);
    f->store = g_strdup(options_value(options, OPTION_STORE_NAME));
    if (!backups_find(backups, operand, &f->path, &when, &failed)) {
        /* Its row may be gone, and what the stores have of it is what is meant. */
        if (f->all && g_error_matches(failed, FILEDUP_ERROR, FILEDUP_ERROR_NO_ENTRY)) {
            g_auto(GStrv) candidates = operand_candidates(operand, NULL);
            g_free(f->path);
            f->path = g_strdup(candidates ? candidates[0] : operand);
            f->question = g_strdup("everything that is kept of it");
            return TRUE;
        }
        g_propagate_error(error, g_steal_pointer(&failed));
        return FALSE;
    }
    if (!when.text) {
        f->question = g_strdup(f->all ? "everything that is kept of it"
                                      : "all points but the newest content");
        return TRUE;
    }
    if (f->all) {
        g_set_error(error, CLI_ERROR, CLI_ERROR_USAGE,
                    "--all is of the whole file: leave '@%s' out", when.text);
        return FALSE;
    }
    g_clear_pointer(&f->store, g_free);
    if (!when.point && !when.time_usec) /* "newest" */
        when.time_usec = G_MAXINT64;
    return choose_point(backups, &when, f, error);
}

/* TRUE: go on. */
static gboolean
ask(const Forgotten *f, const Options *options, GError **error)
{
    g_autofree char *path = path_escape(f->path);
    g_autofree char *question = output_clean(f->question);
    char answer[16] = "";

    if (options_has(options, OPTION_YES))
        return TRUE;
    if (!isatty(STDIN_FILENO) || !isatty(STDERR_FILENO)) {
        g_set_error(error, CLI_ERROR, CLI_ERROR_USAGE,
                    "what is forgotten is gone for good: where nobody can be asked, --yes is "
                    "needed");
        return FALSE;
    }
    fprintf(stderr, "%s: forget %s, for good? [y/N] ", path, question);
    if (!fgets(answer, sizeof answer, stdin))
        answer[0] = '\0';
    return g_ascii_tolower(answer[0]) == 'y' ||
           throw_error(error, FILEDUP_ERROR_REFUSED, "nothing was forgotten");
}

static GVariant *
forget_options(const Forgotten *f)
{
    g_auto(GVariantDict) dict = G_VARIANT_DICT_INIT(NULL);

    if (f->point)
        g_variant_dict_insert(&dict, "point", "t", f->point);
    if (f->store)
        g_variant_dict_insert(&dict, "store", "s", f->store);
    if (f->all)
        g_variant_dict_insert(&dict, "all", "b", TRUE);
    return g_variant_dict_end(&dict);
}

Status
verb_forget(const Options *options)
{
    g_autoptr(GError) error = NULL;
    g_auto(Forgotten) f = {0};
    g_autofree char *note = NULL;
    const char *operand = options_operands(options)[0];
    guint32 n = 0;
    Status status = STATUS_OK;

    g_autoptr(Backups) backups = backups_open(options, &status);
    if (!backups)
        return status;
    g_autoptr(Report) report = report_new(options);
    if (!choose(backups, options, &f, &error) || !ask(&f, options, &error) ||
        !filedup_manager1_call_forget_sync(backups_manager(backups), f.path, forget_options(&f), &n,
                                           &note, NULL, &error)) {
        report_failed(report, f.path ? f.path : operand, error, NULL);
        return report_finish(report);
    }
    g_autofree char *shown = path_escape(f.path);
    report_say(report, "%s: %u point%s forgotten\n", shown, n, n == 1 ? "" : "s");
    if (*note)
        report_say(report, "  %s\n", note);
    g_auto(GVariantDict) dict = G_VARIANT_DICT_INIT(NULL);
    g_variant_dict_insert(&dict, "points", "u", n);
    g_variant_dict_insert(&dict, "note", "s", note);
    report_done(report, f.path, g_variant_dict_end(&dict), NULL);
    return report_finish(report);
}
