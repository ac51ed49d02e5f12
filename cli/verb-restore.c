/* verb-restore.c - restore: puts files back
 *
 * In its own place a file is put back by the daemon, whose copier is the row's principal. Elsewhere
 * (--to) it is we who write, with the caller's rights: the daemon opens no path for a caller, it
 * writes the content into a descriptor of ours. That is an unnamed file; it gets its name only
 * after its content, read back, has the hash that the daemon told (extract.c).
 */

#include "config.h"

#include <sys/stat.h>
#include <unistd.h>

#include "base/error.h"
#include "base/path.h"
#include "cli/backups.h"
#include "cli/dict.h"
#include "cli/extract.h"
#include "cli/offline.h"
#include "cli/operand.h"
#include "cli/restored.h"
#include "cli/verb.h"
#include "copy/attributes.h"

/* In its own place ---------------------------------------------------------------------------- */

static GVariant *
call_restore(FiledupManager1 *m, const Options *options, const char *path, const When *when,
             gboolean dry_run, gboolean force, GError **error)
{
    g_autoptr(GVariant) chosen = extract_options(when);
    g_auto(GVariantDict) dict = G_VARIANT_DICT_INIT(chosen);
    GVariant *answer = NULL;

    g_variant_dict_insert(&dict, "force", "b", force);
    g_variant_dict_insert(&dict, "dry_run", "b", dry_run);
    g_variant_dict_insert(&dict, "in_place", "b", options_has(options, OPTION_IN_PLACE));
    (void) filedup_manager1_call_restore_sync(m, path, g_variant_dict_end(&dict), &answer, NULL,
                                              error);
    return answer;
}

static const char *
remedy_for(const When *when, const GError *error)
{
    if (g_error_matches(error, FILEDUP_ERROR, FILEDUP_ERROR_BUSY))
        return "Close it there, or use --force";
    if (!g_error_matches(error, FILEDUP_ERROR, FILEDUP_ERROR_NO_ENTRY))
        return NULL;
    return when->text || when->point
               ? "'filedup log FILE' lists its points; --store-name NAME looks in another store"
               : "A store may still have it: 'filedup --store DIR restore FILE'";
}

static gboolean
restore_in_place_of(Backups *backups, const Options *options, const char *path, const When *when,
                    Report *report, GError **error)
{
    gboolean dry_run = options_has(options, OPTION_DRY_RUN);
    g_autoptr(GVariant) answer = call_restore(backups_manager(backups), options, path, when,
                                              dry_run, options_has(options, OPTION_FORCE), error);

    if (!answer)
        return FALSE;
    restored_report(report, path, NULL, dry_run, answer);
    return TRUE;
}

/* Elsewhere ----------------------------------------------------------------------------------- */

static char *
apply_attributes(int fd, GVariant *answer)
{
    g_autoptr(GBytes) attributes = extract_bytes(answer, "attributes");
    char *problems = NULL;
    FileStat stat = {
        .mode = dict_u32(answer, "mode"),
        .uid = dict_u32(answer, "uid"),
        .gid = dict_u32(answer, "gid"),
        .size_bytes = dict_u64(answer, "size"),
        .mtime_ns = dict_time(answer, "mtime"),
    };

    attributes_apply(fd, &stat, attributes, geteuid() == 0, &problems);
    return problems;
}

static GVariant *
account(GVariant *answer, const Place *place, gboolean verified, const char *problems,
        const char *left)
{
    g_auto(GVariantDict) dict = G_VARIANT_DICT_INIT(NULL);

    g_variant_dict_insert(&dict, "size", "t", dict_u64(answer, "size"));
    g_variant_dict_insert(&dict, "time", "x", dict_time(answer, "time"));
    g_variant_dict_insert(&dict, "quality", "s", dict_text(answer, "quality"));
    g_variant_dict_insert(&dict, "written", "t", dict_u64(answer, "size"));
    g_variant_dict_insert(&dict, "store", "s", dict_text(answer, "store"));
    g_variant_dict_insert(&dict, "stable_point", "t", dict_u64(answer, "stable_point"));
    g_variant_dict_insert(&dict, "point", "t", dict_u64(answer, "point"));
    g_variant_dict_insert(&dict, "problems", "s", problems ? problems : "");
    g_variant_dict_insert(&dict, "existed", "b", place->exists);
    g_variant_dict_insert(&dict, "saved", "b", FALSE);
    g_variant_dict_insert(&dict, "verified", "b", verified);
    if (left) {
        g_autofree char *folder = g_path_get_dirname(place->path);
        g_autofree char *path = path_join(folder, left);
        g_variant_dict_insert_value(&dict, "left", path_to_variant(path));
    }
    return g_variant_dict_end(&dict);
}

static gboolean
restore_to(Backups *backups, const Options *options, const char *path, const When *when,
           Report *report, GError **error)
{
    gboolean force = options_has(options, OPTION_FORCE);
    gboolean many = options_operands(options)[1] != NULL;
    g_auto(Place) place = {.folder_fd = -1};
    g_autofree char *problems = NULL;
    g_autofree char *left = NULL;
    gboolean verified = FALSE;

    if (!place_open(options_value(options, OPTION_TO_PATH), path, force, many, &place, error))
        return FALSE;
    if (options_has(options, OPTION_DRY_RUN)) {
        g_autoptr(GVariant) would =
            call_restore(backups_manager(backups), options, path, when, TRUE, TRUE, error);
        if (would)
            restored_report(report, path, place.path, TRUE, would);
        return would != NULL;
    }
    g_autoptr(Stage) stage = stage_new(place.folder_fd, place.name, error);
    if (!stage)
        return FALSE;
    g_autoptr(GVariant) chosen = extract_options(when);
    g_autoptr(GVariant) answer = extract_content(backups_manager(backups), path, chosen,
                                                 stage_fd(stage), TRUE, &verified, error);
    if (!answer)
        return FALSE;
    problems = apply_attributes(stage_fd(stage), answer);
    g_auto(Swapped) swapped = {0};
    if (!stage_publish(stage, &swapped, error))
        return FALSE;
    /* Something may have come to stand there since we looked: only what --force meant is removed.
     */
    if (swapped.name &&
        (!force || !stage_discard(place.folder_fd, swapped.name, swapped.dev, swapped.ino, NULL)))
        left = restored_keep(place.folder_fd, place.name, &swapped);
    restored_report(report, path, place.path, FALSE,
                    account(answer, &place, verified, problems, left));
    return TRUE;
}

static void
restore_one(Backups *backups, const Options *options, const char *operand, Report *report)
{
    g_autoptr(GError) error = NULL;
    g_autofree char *path = NULL;
    g_auto(When) when = {0};

    if (backups_choose(backups, options, operand, &path, &when, &error) &&
        (options_has(options, OPTION_TO_PATH)
             ? restore_to(backups, options, path, &when, report, &error)
             : restore_in_place_of(backups, options, path, &when, report, &error)))
        return;
    report_failed(report, path ? path : operand, error, remedy_for(&when, error));
}

Status
verb_restore(const Options *options)
{
    Status status = STATUS_OK;

    g_autoptr(Backups) backups = backups_open(options, &status);
    if (!backups)
        return status;
    if (backups_parser(backups))
        return offline_restore(backups, options);
    g_autoptr(Report) report = report_new(options);
    for (const char *const *operand = options_operands(options); *operand; operand++)
        restore_one(backups, options, *operand, report);
    return report_finish(report);
}
