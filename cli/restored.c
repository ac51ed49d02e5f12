/* restored.c - where a restore goes, and the account of it */

#include "config.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h> /* renameat2 */
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/error.h"
#include "base/path.h"
#include "cli/dict.h"
#include "cli/operand.h"
#include "cli/output.h"
#include "cli/restored.h"
#include "cli/time.h"

#define NAMES_TRIED 100

/* Where it goes ------------------------------------------------------------------------------- */

gboolean
place_open(const char *to, const char *original, gboolean force, gboolean many, Place *ret_place,
           GError **error)
{
    g_auto(Place) p = {.folder_fd = -1};
    struct stat st;
    g_autofree char *shown = path_escape(to);
    g_autofree char *absolute = operand_absolute(to, error);

    if (!absolute)
        return FALSE;
    gboolean is_folder = stat(absolute, &st) == 0 && S_ISDIR(st.st_mode);
    if (!is_folder && (many || g_str_has_suffix(absolute, "/")))
        return throw_error(error, FILEDUP_ERROR_REFUSED, "--to '%s' is no folder", shown);

    /* The folder's own path may lead through links: it is the caller's choice. */
    const char *slash = strrchr(absolute, '/');
    const char *original_slash = strrchr(original, '/');
    g_autofree char *folder = is_folder           ? g_strdup(absolute)
                              : slash == absolute ? g_strdup("/")
                                                  : g_strndup(absolute, (gsize) (slash - absolute));
    p.name = g_strdup(is_folder ? (original_slash ? original_slash + 1 : original) : slash + 1);
    if (!*p.name || g_str_equal(p.name, ".") || g_str_equal(p.name, ".."))
        return throw_error(error, FILEDUP_ERROR_REFUSED, "--to '%s' names no file", shown);
    g_autofree char *real_folder = operand_real(folder, NULL);
    p.path = path_join(real_folder ? real_folder : folder, p.name);
    if (g_str_equal(p.path, original)) /* --force would remove what is there, and keep no point */
        return throw_error(error, FILEDUP_ERROR_REFUSED,
                           "--to '%s' is the file itself: leave it out", shown);
    p.folder_fd = open(folder, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (p.folder_fd < 0)
        return throw_errno(error, "--to '%s'", shown);
    p.exists = fstatat(p.folder_fd, p.name, &st, AT_SYMLINK_NOFOLLOW) == 0;
    if (p.exists && S_ISDIR(st.st_mode))
        return throw_error(error, FILEDUP_ERROR_REFUSED,
                           "--to '%s': a folder of that name stands there", shown);
    if (p.exists && !force)
        return throw_error(error, FILEDUP_ERROR_REFUSED,
                           "--to '%s': a file of that name exists. --force replaces it", shown);
    *ret_place = p;
    p = (Place){.folder_fd = -1};
    return TRUE;
}

void
place_clear(Place *p)
{
    g_clear_pointer(&p->path, g_free);
    g_clear_pointer(&p->name, g_free);
    fd_clear(fd_steal(&p->folder_fd));
}

char *
restored_keep(int folder_fd, const char *name, const Swapped *swapped)
{
    g_autoptr(GDateTime) now = g_date_time_new_now_local();
    g_autofree char *stamp = g_date_time_format(now, "%Y%m%d-%H%M%S");

    for (guint i = 1; i <= NAMES_TRIED; i++) {
        g_autofree char *number = i > 1 ? g_strdup_printf("-%u", i) : g_strdup("");
        g_autofree char *kept = g_strconcat(name, ".before-restore-", stamp, number, NULL);
        if (renameat2(folder_fd, swapped->name, folder_fd, kept, RENAME_NOREPLACE) == 0) {
            (void) fd_sync_folder(folder_fd, ".", NULL); /* either name is fine after a crash */
            return g_steal_pointer(&kept);
        }
        if (errno != EEXIST)
            break;
    }
    return g_strdup(swapped->name);
}

/* The account --------------------------------------------------------------------------------- */

static void
say_saved(Report *report, GVariant *result)
{
    const char *left = dict_path(result, "left");
    guint64 saved = dict_u64(result, "saved_point");

    if (dict_bool(result, "saved") && saved)
        report_say(report,
                   "  What was there before is recovery point %" G_GUINT64_FORMAT
                   ": 'filedup restore FILE@%" G_GUINT64_FORMAT "' brings it back.\n",
                   saved, saved);
    else if (dict_bool(result, "saved"))
        report_say(report,
                   "  What was there before is a recovery point: 'filedup log' lists it.\n");
    if (*left) {
        g_autofree char *left_shown = path_escape(left);
        report_say(report, "  What was there before is left at %s\n", left_shown);
    }
}

void
restored_report(Report *report, const char *path, const char *target, gboolean dry_run,
                GVariant *result)
{
    static const char *const times[] = {"time", NULL};
    g_autoptr(GVariant) dict = g_variant_ref_sink(result);
    g_autofree char *shown = path_escape(path);
    g_autofree char *target_shown = target ? path_escape(target) : NULL;
    g_autofree char *when = time_full(dict_time(dict, "time"));
    g_autofree char *size = output_size(dict_u64(dict, "size"));
    g_autofree char *written = output_size(dict_u64(dict, "written"));
    const char *quality = dict_text(dict, "quality"), *store = dict_text(dict, "store");
    const char *problems = dict_text(dict, "problems");
    guint64 stable = dict_u64(dict, "stable_point"), point = dict_u64(dict, "point");
    g_autofree char *number =
        point ? g_strdup_printf(", point %" G_GUINT64_FORMAT, point) : g_strdup("");
    gboolean verified = TRUE; /* the daemon answers only then */

    (void) g_variant_lookup(dict, "verified", "b", &verified);

    report_say(report, "%s: %s%s%s\n", shown, dry_run ? "would be restored" : "restored",
               target ? " to " : "", target ? target_shown : "");
    report_say(report, "  content of %s%s, %s, %s%s%s\n", when, number, quality, size,
               *store ? ", from store " : "", store);
    if (!dry_run)
        report_say(report, "  %s written%s\n", written,
                   verified ? ", and verified" : "; NOT verified: the daemon told no hash for it");
    if (g_str_equal(quality, "fuzzy") && stable)
        report_say(
            report,
            "  Fuzzy: it may mix moments. The newest stable point: --point %" G_GUINT64_FORMAT "\n",
            stable);
    else if (g_str_equal(quality, "fuzzy"))
        report_say(report, "  Fuzzy: it may mix moments; 'filedup log' lists its points.\n");
    if (!dry_run)
        say_saved(report, dict);
    if (*problems)
        report_say(report, "  Could not be set: %s\n", problems);

    g_auto(GVariantDict) full = G_VARIANT_DICT_INIT(dict);
    if (target)
        g_variant_dict_insert_value(&full, "target", path_to_variant(target));
    g_variant_dict_insert(&full, "dry_run", "b", dry_run);
    g_variant_dict_insert(&full, "verified", "b", verified && !dry_run);
    report_done(report, path, g_variant_dict_end(&full), times);
}
