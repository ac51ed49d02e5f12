/* verb-restore.c - restore: puts files back
 *
 * In its own place a file is put back by the daemon, whose copier is the row's principal. Elsewhere
 * (--to) it is we who write, with the caller's rights: the daemon opens no path for a caller, it
 * writes the content into a descriptor of ours. That is an unnamed file; it gets its name only
 * after its content, read back, has the hash that the daemon told.
 */

#include "config.h"

#include <fcntl.h>
#include <gio/gunixfdlist.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/error.h"
#include "base/path.h"
#include "base/sums.h"
#include "cli/client.h"
#include "cli/dict.h"
#include "cli/offline.h"
#include "cli/operand.h"
#include "cli/restored.h"
#include "cli/verb.h"
#include "copy/attributes.h"

#define READ_BYTES (256 * 1024)

/* In its own place ---------------------------------------------------------------------------- */

typedef struct Call {
    const Options *options;
    gboolean dry_run, force;
    int target_fd;    /* Extract */
    GVariant *answer; /* a{sv}, owned */
} Call;

static GVariant *
choice(const Options *options)
{
    g_auto(GVariantDict) dict = G_VARIANT_DICT_INIT(NULL);

    if (options_has(options, OPTION_POINT))
        g_variant_dict_insert(&dict, "point", "t", options_number(options, OPTION_POINT, 0));
    if (options_has(options, OPTION_STORE_NAME))
        g_variant_dict_insert(&dict, "store", "s", options_value(options, OPTION_STORE_NAME));
    return g_variant_ref_sink(g_variant_dict_end(&dict));
}

static gboolean
call_restore(FiledupManager1 *m, const char *path, gpointer data, GError **error)
{
    Call *call = data;
    g_autoptr(GVariant) chosen = choice(call->options);
    g_auto(GVariantDict) dict = G_VARIANT_DICT_INIT(chosen);

    g_variant_dict_insert(&dict, "force", "b", call->force);
    g_variant_dict_insert(&dict, "dry_run", "b", call->dry_run);
    g_variant_dict_insert(&dict, "in_place", "b", options_has(call->options, OPTION_IN_PLACE));
    return filedup_manager1_call_restore_sync(m, path, g_variant_dict_end(&dict), &call->answer,
                                              NULL, error);
}

static const char *
remedy_for(const Options *options, const GError *error)
{
    if (g_error_matches(error, FILEDUP_ERROR, FILEDUP_ERROR_BUSY))
        return "Close it there, or use --force";
    if (!g_error_matches(error, FILEDUP_ERROR, FILEDUP_ERROR_NO_ENTRY))
        return NULL;
    return options_has(options, OPTION_POINT)
               ? "'filedup log FILE' lists them; --store-name NAME looks in another store"
               : "A store may still have it: 'filedup --store DIR restore FILE'";
}

static void
restore_in_place_of(Client *client, const Options *options, const char *operand, Report *report)
{
    Call call = {
        .options = options,
        .force = options_has(options, OPTION_FORCE),
        .dry_run = options_has(options, OPTION_DRY_RUN),
    };
    g_autoptr(GError) error = NULL;
    g_autofree char *path = NULL;

    if (!client_call(client, operand, call_restore, &call, &path, &error)) {
        report_failed(report, path ? path : operand, error, remedy_for(options, error));
        return;
    }
    g_autoptr(GVariant) answer = call.answer;
    restored_report(report, path, NULL, call.dry_run, answer);
}

/* Elsewhere ----------------------------------------------------------------------------------- */

static gboolean
call_extract(FiledupManager1 *m, const char *path, gpointer data, GError **error)
{
    Call *call = data;
    g_autoptr(GVariant) chosen = choice(call->options);
    g_autoptr(GUnixFDList) fds = g_unix_fd_list_new();
    int index = g_unix_fd_list_append(fds, call->target_fd, error);

    if (index < 0)
        return FALSE;
    return filedup_manager1_call_extract_sync(m, path, g_variant_new_handle(index), chosen, fds,
                                              &call->answer, NULL, NULL, error);
}

/* An "ay" of the answer that is no string. */
static GBytes *
answer_bytes(GVariant *answer, const char *key)
{
    g_autoptr(GVariant) value = g_variant_lookup_value(answer, key, G_VARIANT_TYPE_BYTESTRING);

    return value ? g_variant_get_data_as_bytes(value) : g_bytes_new(NULL, 0);
}

/* What arrived is what the store has: read back, past the page cache where there is a way. Without
 * a hash in the answer there is only the size to compare; then it is not called verified. */
static gboolean
check_content(int fd, GVariant *answer, gboolean *ret_verified, GError **error)
{
    guint64 size = dict_u64(answer, "size");
    g_autoptr(GBytes) expected = answer_bytes(answer, "hash");
    g_autofree guint8 *buffer = g_malloc(READ_BYTES);
    guint8 hash[HASH_BYTES];
    struct stat st;

    if (fdatasync(fd) < 0)
        return throw_errno(error, "writing what was restored");
    if (fstat(fd, &st) < 0)
        return throw_errno(error, "fstat of what was restored");
    if (st.st_size < 0 || (guint64) st.st_size != size)
        return throw_error(error, FILEDUP_ERROR_DAMAGED,
                           "%" G_GUINT64_FORMAT " bytes were expected, %" G_GINT64_FORMAT
                           " arrived",
                           size, (gint64) st.st_size);
    (void) posix_fadvise(fd, 0, 0, POSIX_FADV_DONTNEED); /* a hint */
    g_autoptr(Sums) sums = sums_new(size);
    for (guint64 at = 0; at < size;) {
        gssize n = fd_pread_most(fd, buffer, MIN(READ_BYTES, size - at), (goffset) at);
        if (n <= 0)
            return throw_errno(error, "reading back what was restored");
        sums_add(sums, buffer, (gsize) n);
        at += (guint64) n;
    }
    g_autoptr(GBytes) all = sums_finish(sums, hash);
    *ret_verified = g_bytes_get_size(expected) == HASH_BYTES;
    if (*ret_verified && memcmp(g_bytes_get_data(expected, NULL), hash, HASH_BYTES) != 0)
        return throw_error(error, FILEDUP_ERROR_DAMAGED,
                           "what was restored is not what the store has recorded. Nothing was "
                           "replaced. Try another --point or --store-name");
    return TRUE;
}

static char *
apply_attributes(int fd, GVariant *answer)
{
    g_autoptr(GBytes) attributes = answer_bytes(answer, "attributes");
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
restore_to(Client *client, const Options *options, const char *operand, gboolean many,
           char **ret_path, Report *report, GError **error)
{
    gboolean force = options_has(options, OPTION_FORCE);
    Call call = {.options = options, .target_fd = -1, .dry_run = TRUE, .force = TRUE};
    g_auto(Place) place = {.folder_fd = -1};
    g_autofree char *problems = NULL;
    g_autofree char *left = NULL;
    gboolean verified = FALSE;
    g_auto(GStrv) candidates = operand_candidates(operand, error);

    if (!candidates || !place_open(options_value(options, OPTION_TO_PATH), candidates[0], force,
                                   many, &place, error))
        return FALSE;
    if (options_has(options, OPTION_DRY_RUN)) {
        if (!client_call(client, operand, call_restore, &call, ret_path, error))
            return FALSE;
        g_autoptr(GVariant) would = call.answer;
        restored_report(report, *ret_path, place.path, TRUE, would);
        return TRUE;
    }
    g_autoptr(Stage) stage = stage_new(place.folder_fd, place.name, error);
    if (!stage)
        return FALSE;
    call.target_fd = stage_fd(stage);
    if (!client_call(client, operand, call_extract, &call, ret_path, error))
        return FALSE;
    g_autoptr(GVariant) answer = call.answer;
    if (!check_content(stage_fd(stage), answer, &verified, error))
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
    restored_report(report, *ret_path, place.path, FALSE,
                    account(answer, &place, verified, problems, left));
    return TRUE;
}

Status
verb_restore(const Options *options)
{
    if (options_has(options, OPTION_STORE))
        return offline_restore(options);

    g_autoptr(GError) error = NULL;
    const char *const *operands = options_operands(options);
    gboolean many = operands[1] != NULL;
    const char *store = options_value(options, OPTION_STORE_NAME);

    if (store && !g_utf8_validate(store, -1, NULL))
        g_set_error(&error, CLI_ERROR, CLI_ERROR_USAGE, "--store-name is no valid text");
    g_autoptr(Client) client = error ? NULL : client_open(options, &error);
    if (!client) {
        report_error(NULL, error, NULL);
        return report_status_of(error);
    }
    g_autoptr(Report) report = report_new(options);
    for (; *operands; operands++) {
        g_autoptr(GError) failed = NULL;
        g_autofree char *path = NULL;
        if (!options_has(options, OPTION_TO_PATH))
            restore_in_place_of(client, options, *operands, report);
        else if (!restore_to(client, options, *operands, many, &path, report, &failed))
            report_failed(report, path ? path : *operands, failed, remedy_for(options, failed));
    }
    return report_finish(report);
}
