/* offline-restore.c - restore from a bare store, without a daemon
 *
 * The store is only read: what stood in the file's place cannot become a recovery point there. So
 * it is kept beside the restored file, under a name that tells what it is, unless it has the same
 * content.
 */

#include "config.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/error.h"
#include "base/path.h"
#include "base/sums.h"
#include "cli/offline.h"
#include "cli/operand.h"
#include "cli/restored.h"
#include "copy/restore.h"

/* The file's content under one of the paths that the operand may mean. */
static gboolean
find_content(StoreReader *reader, const char *operand, guint64 point, StoredContent *ret_content,
             char **ret_path, GError **error)
{
    g_auto(GStrv) candidates = operand_candidates(operand, error);
    g_autoptr(GError) first = NULL;

    if (!candidates)
        return FALSE;
    *ret_path = g_strdup(candidates[0]);
    for (char **path = candidates; *path; path++) {
        g_autoptr(GError) failed = NULL;
        if (store_reader_content(reader, *path, point, ret_content, &failed)) {
            g_free(*ret_path);
            *ret_path = g_strdup(*path);
            return TRUE;
        }
        if (!g_error_matches(failed, FILEDUP_ERROR, FILEDUP_ERROR_NO_ENTRY)) {
            g_propagate_error(error, g_steal_pointer(&failed));
            return FALSE;
        }
        if (!first)
            first = g_steal_pointer(&failed);
    }
    g_propagate_error(error, g_steal_pointer(&first));
    return FALSE;
}

/* The file's own place. No link is followed on the way: the path was canonical when recorded. */
static gboolean
own_place(const char *path, Place *ret_place, GError **error)
{
    g_autofree char *folder = NULL;
    g_autofree char *name = NULL;
    struct stat st;

    path_split(path, &folder, &name);
    Fd fd = path_open(AT_FDCWD, folder, O_RDONLY | O_DIRECTORY, 0);
    if (fd < 0) {
        (void) throw_errno(error, "its folder");
        g_autofree char *text = g_strconcat((*error)->message, ". Use --to PATH", NULL);
        int code = (*error)->code;
        g_clear_error(error);
        return throw_error(error, (FiledupError) code, "%s", text);
    }
    ret_place->path = g_strdup(path);
    ret_place->name = g_steal_pointer(&name);
    ret_place->folder_fd = fd;
    ret_place->exists = fstatat(fd, ret_place->name, &st, AT_SYMLINK_NOFOLLOW) == 0;
    return TRUE;
}

static gboolean
has_content(int folder_fd, const char *name, const StoredContent *content)
{
    struct stat st;
    g_auto(Fd) fd = openat(folder_fd, name, O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC);

    return fd >= 0 && fstat(fd, &st) == 0 && S_ISREG(st.st_mode) &&
           (guint64) st.st_size == content->size_bytes &&
           sums_check(fd, content->sums, content->size_bytes, NULL);
}

/* What was swapped out: removed if that is what was asked for, or nothing is lost by it. Returns
 * the name under which it is left, or NULL. */
static char *
settle(const Place *place, const Swapped *swapped, const StoredContent *content, gboolean replace)
{
    if (!swapped->name)
        return NULL;
    if ((replace || has_content(place->folder_fd, swapped->name, content)) &&
        stage_discard(place->folder_fd, swapped->name, swapped->dev, swapped->ino, NULL))
        return NULL;
    return restored_keep(place->folder_fd, place->name, swapped);
}

static GVariant *
account(const StoredContent *content, const RestoreResult *result, const Place *place,
        const char *left)
{
    g_auto(GVariantDict) dict = G_VARIANT_DICT_INIT(NULL);

    g_variant_dict_insert(&dict, "size", "t", content->size_bytes);
    g_variant_dict_insert(&dict, "time", "x", content->time_usec);
    g_variant_dict_insert(&dict, "quality", "s", offline_quality(content->quality));
    g_variant_dict_insert(&dict, "written", "t", result->written_bytes);
    g_variant_dict_insert(&dict, "stable_point", "t", content->stable_point);
    g_variant_dict_insert(&dict, "problems", "s", result->problems ? result->problems : "");
    g_variant_dict_insert(&dict, "existed", "b", place->exists);
    g_variant_dict_insert(&dict, "saved", "b", FALSE);
    if (left) {
        g_autofree char *folder = g_path_get_dirname(place->path);
        g_autofree char *path = path_join(folder, left);
        g_variant_dict_insert_value(&dict, "left", path_to_variant(path));
    }
    return g_variant_dict_end(&dict);
}

static gboolean
restore_one(StoreReader *reader, const Options *options, const char *operand, gboolean many,
            char **ret_path, Report *report, GError **error)
{
    const char *to = options_value(options, OPTION_TO_PATH);
    gboolean force = options_has(options, OPTION_FORCE);
    gboolean dry_run = options_has(options, OPTION_DRY_RUN);
    g_auto(StoredContent) content = {.fd = -1};
    g_auto(Place) place = {.folder_fd = -1};
    g_auto(RestoreResult) result = {0};

    if (!find_content(reader, operand, options_number(options, OPTION_POINT, 0), &content, ret_path,
                      error))
        return FALSE;
    if (!(to ? place_open(to, *ret_path, force, many, &place, error)
             : own_place(*ret_path, &place, error)))
        return FALSE;
    RestoreRequest request = {
        .source_fd = content.fd,
        .sums = content.sums,
        .size_bytes = content.size_bytes,
        .stat = content.stat,
        .attributes = content.attributes,
        .privileged = geteuid() == 0,
        .flags = (force ? RESTORE_FORCE : 0) | (dry_run ? RESTORE_DRY_RUN : 0),
        .target_fd = -1,
        .folder_fd = place.folder_fd,
        .name = place.name,
    };
    gboolean done = restore_run(&request, &result, error);
    g_autofree char *left = settle(&place, &result.swapped, &content, done && to && force);
    if (!done) {
        return left ? throw_prefixed(error, "what was there before is left as '%s'", left) : FALSE;
    }
    restored_report(report, *ret_path, to ? place.path : NULL, dry_run,
                    account(&content, &result, &place, left));
    return TRUE;
}

Status
offline_restore(const Options *options)
{
    const char *const *operands = options_operands(options);
    gboolean many = operands[1] != NULL;
    Status status = STATUS_OK;

    g_autoptr(StoreReader) reader = offline_open(options, &status);
    if (!reader)
        return status;
    g_autoptr(Report) report = report_new(options);
    for (; *operands; operands++) {
        g_autoptr(GError) error = NULL;
        g_autofree char *path = NULL;
        if (!restore_one(reader, options, *operands, many, &path, report, &error))
            report_failed(report, path ? path : *operands, error,
                          g_error_matches(error, FILEDUP_ERROR, FILEDUP_ERROR_BUSY)
                              ? "Close it there, or use --force"
                              : NULL);
    }
    return report_finish(report);
}
