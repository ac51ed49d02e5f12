/* offline-restore.c - restore from a bare store, without a daemon
 *
 * The store is only read: what stood in the file's place cannot become a recovery point there. So
 * it is kept beside the restored file, under a name that tells what it is, unless it has the same
 * content.
 *
 * Root believes a store that is not root's no more than whoever made it: the restored file belongs to
 * the maker, if that is what the store says, else to root, and it has no privileges.
 */

#include "config.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/error.h"
#include "base/path.h"
#include "base/sums.h"
#include "cli/offline.h"
#include "cli/restored.h"
#include "copy/restore.h"

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
    g_variant_dict_insert(&dict, "point", "t", content->point);
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

/* Without security.* and trusted.*: NULL if there are none. */
static GBytes *
without_privileges(GBytes *attributes)
{
    g_autoptr(GVariant) all =
        g_variant_ref_sink(g_variant_new_from_bytes(G_VARIANT_TYPE("a(ayay)"), attributes, FALSE));
    GVariantBuilder rest;
    guint n_out = 0;

    g_variant_builder_init(&rest, G_VARIANT_TYPE("a(ayay)"));
    for (gsize i = 0; i < g_variant_n_children(all); i++) {
        g_autoptr(GVariant) one = g_variant_get_child_value(all, i);
        g_autoptr(GVariant) key = g_variant_get_child_value(one, 0);
        const char *name = path_from_variant(key);
        if (!name || g_str_has_prefix(name, "security.") || g_str_has_prefix(name, "trusted."))
            n_out++;
        else
            g_variant_builder_add_value(&rest, one);
    }
    g_autoptr(GVariant) kept = g_variant_ref_sink(g_variant_builder_end(&rest));
    return n_out ? g_variant_get_data_as_bytes(kept) : NULL;
}

/* Whether the owner that the store tells may be set; what only root may give is taken out of the
 * content, and named. */
static gboolean
may_set_owner(Parser *parser, StoredContent *content, char **ret_problems)
{
    if (geteuid() != 0 || parser_is_trusted(parser))
        return geteuid() == 0;
    if (!parser_is_maker(parser, content->stat.uid, content->stat.gid))
        return FALSE;
    GBytes *rest = without_privileges(content->attributes);
    if (rest || (content->stat.mode & (S_ISUID | S_ISGID)))
        *ret_problems =
            g_strdup("set-uid bits and privileged attributes (the store is not root's)");
    if (rest) {
        g_bytes_unref(content->attributes);
        content->attributes = rest;
    }
    content->stat.mode &= ~(guint32) (S_ISUID | S_ISGID);
    return TRUE;
}

static gboolean
restore_content(Parser *parser, const Options *options, const char *path, StoredContent *content,
                Report *report, GError **error)
{
    const char *to = options_value(options, OPTION_TO_PATH);
    gboolean force = options_has(options, OPTION_FORCE);
    gboolean dry_run = options_has(options, OPTION_DRY_RUN);
    gboolean many = options_operands(options)[1] != NULL;
    g_auto(Place) place = {.folder_fd = -1};
    g_auto(RestoreResult) result = {0};
    g_autofree char *left_out = NULL;
    gboolean privileged = may_set_owner(parser, content, &left_out);

    if (!(to ? place_open(to, path, force, many, &place, error) : own_place(path, &place, error)))
        return FALSE;
    RestoreRequest request = {
        .source_fd = content->fd,
        .sums = content->sums,
        .size_bytes = content->size_bytes,
        .stat = content->stat,
        .attributes = content->attributes,
        .privileged = privileged,
        .flags = (force ? RESTORE_FORCE : 0) | (dry_run ? RESTORE_DRY_RUN : 0),
        .target_fd = -1,
        .folder_fd = place.folder_fd,
        .name = place.name,
    };
    gboolean done = restore_run(&request, &result, error);
    g_autofree char *left = settle(&place, &result.swapped, content, done && to && force);
    if (!done)
        return left ? throw_prefixed(error, "what was there before is left as '%s'", left) : FALSE;
    if (left_out && !result.problems)
        result.problems = g_steal_pointer(&left_out);
    restored_report(report, path, to ? place.path : NULL, dry_run,
                    account(content, &result, &place, left));
    return TRUE;
}

static gboolean
restore_one(Backups *backups, const Options *options, const char *operand, char **ret_path,
            Report *report, GError **error)
{
    Parser *parser = backups_parser(backups);
    g_auto(When) when = {0};
    g_auto(StoredContent) content = {.fd = -1};

    return backups_choose(backups, options, operand, ret_path, &when, error) &&
           parser_content(parser, *ret_path, when.point, when.time_usec, &content, error) &&
           restore_content(parser, options, *ret_path, &content, report, error);
}

Status
offline_restore(Backups *backups, const Options *options)
{
    g_autoptr(Report) report = report_new(options);

    for (const char *const *operand = options_operands(options); *operand; operand++) {
        g_autoptr(GError) error = NULL;
        g_autofree char *path = NULL;
        if (!restore_one(backups, options, *operand, &path, report, &error))
            report_failed(report, path ? path : *operand, error,
                          g_error_matches(error, FILEDUP_ERROR, FILEDUP_ERROR_BUSY)
                              ? "Close it there, or use --force"
                              : NULL);
    }
    return report_finish(report);
}
