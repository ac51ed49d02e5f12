/* backups.c - where a file's contents come from, with or without a daemon */

#include "config.h"

#include <string.h>

#include "base/error.h"
#include "base/sums.h"
#include "cli/backups.h"
#include "cli/dict.h"
#include "cli/extract.h"
#include "cli/offline.h"
#include "cli/operand.h"
#include "cli/time.h"

struct Backups {
    Client *client; /* or: */
    Parser *parser;
    char *store; /* --store-name */
};

Backups *
backups_open(const Options *options, Status *ret_status)
{
    g_autoptr(Backups) b = g_new0(Backups, 1);
    g_autoptr(GError) error = NULL;
    const char *name = options_value(options, OPTION_STORE_NAME);

    if (options_has(options, OPTION_STORE)) {
        b->parser = offline_open(options_value(options, OPTION_STORE), ret_status);
        return b->parser ? g_steal_pointer(&b) : NULL;
    }
    if (name && !g_utf8_validate(name, -1, NULL))
        g_set_error(&error, CLI_ERROR, CLI_ERROR_USAGE, "--store-name is no valid text");
    else
        b->client = client_open(options, &error);
    b->store = g_strdup(name);
    if (b->client)
        return g_steal_pointer(&b);
    report_error(NULL, error, NULL);
    *ret_status = report_status_of(error);
    return NULL;
}

void
backups_close(Backups *b)
{
    if (!b)
        return;
    client_close(b->client);
    parser_close(b->parser);
    g_free(b->store);
    g_free(b);
}

FiledupManager1 *
backups_manager(Backups *b)
{
    return b->client ? client_manager(b->client) : NULL;
}

Parser *
backups_parser(Backups *b)
{
    return b->parser;
}

/* Files --------------------------------------------------------------------------------------- */

static gboolean
call_list(FiledupManager1 *m, const char *path, G_GNUC_UNUSED gpointer data, GError **error)
{
    g_autoptr(GVariant) rows = NULL;
    g_autoptr(GVariant) daemon = NULL;

    if (!filedup_manager1_call_list_sync(m, path, &rows, &daemon, NULL, error))
        return FALSE;
    return g_variant_n_children(rows) > 0 ||
           throw_error(error, FILEDUP_ERROR_NO_ENTRY, "is not protected");
}

static gboolean
find_in_store(Parser *p, const char *file, char **ret_path, GError **error)
{
    g_auto(GStrv) candidates = operand_candidates(file, error);

    *ret_path = candidates ? g_strdup(candidates[0]) : NULL;
    for (char **path = candidates; path && *path; path++) {
        g_clear_error(error);
        g_autoptr(GVariant) points = parser_points(p, *path, 1, error);
        if (points || !g_error_matches(*error, FILEDUP_ERROR, FILEDUP_ERROR_NO_ENTRY)) {
            g_free(*ret_path);
            *ret_path = g_strdup(*path);
            return points != NULL;
        }
    }
    return FALSE;
}

static gboolean
find_file(Backups *b, const char *file, char **ret_path, GError **error)
{
    return b->parser ? find_in_store(b->parser, file, ret_path, error)
                     : client_call(b->client, file, call_list, NULL, ret_path, error);
}

gboolean
backups_find(Backups *b, const char *operand, char **ret_path, When *ret_when, GError **error)
{
    g_autofree char *file = NULL;
    g_autofree char *point = NULL;
    g_autoptr(GError) said = NULL;

    *ret_path = NULL;
    for (guint n = 0; operand_part(operand, n, &file, &point) && (n == 0 || ret_when); n++) {
        g_autoptr(GError) failed = NULL;
        g_autofree char *path = NULL;
        gboolean found = find_file(b, file, &path, &failed);
        if (found || n <= 1 || !g_error_matches(failed, FILEDUP_ERROR, FILEDUP_ERROR_NO_ENTRY)) {
            g_free(*ret_path);
            *ret_path = g_steal_pointer(&path);
            g_clear_error(&said);
            said = g_steal_pointer(&failed);
        }
        if (found && ret_when && !backups_when(b, *ret_path, point, ret_when, error)) {
            ret_when->text = g_strdup(point);
            return FALSE;
        }
        if (found)
            return TRUE;
        if (!g_error_matches(said, FILEDUP_ERROR, FILEDUP_ERROR_NO_ENTRY))
            break;
        g_clear_pointer(&file, g_free);
        g_clear_pointer(&point, g_free);
    }
    if (!said)
        g_set_error(&said, CLI_ERROR, CLI_ERROR_USAGE, "'%s' names no file", operand);
    g_propagate_error(error, g_steal_pointer(&said));
    return FALSE;
}

/* Points -------------------------------------------------------------------------------------- */

GVariant *
backups_points(Backups *b, const char *path, guint limit, GError **error)
{
    g_auto(GVariantDict) dict = G_VARIANT_DICT_INIT(NULL);
    GVariant *points = NULL;

    if (b->parser)
        return parser_points(b->parser, path, limit, error);
    if (limit)
        g_variant_dict_insert(&dict, "limit", "u", (guint32) limit);
    if (b->store)
        g_variant_dict_insert(&dict, "store", "s", b->store);
    (void) filedup_manager1_call_points_sync(backups_manager(b), path, g_variant_dict_end(&dict),
                                             &points, NULL, error);
    return points;
}

/* The newest one of that name. */
static gboolean
look_up_name(Backups *b, const char *path, When *w, GError **error)
{
    g_autoptr(GVariant) points = backups_points(b, path, 0, error);
    g_autoptr(GError) no_time = NULL;
    gint64 usec;

    if (!points)
        return FALSE;
    for (gsize i = 0; i < g_variant_n_children(points); i++) {
        g_autoptr(GVariant) point = g_variant_get_child_value(points, i);
        if (!g_str_equal(dict_text(point, "name"), w->name))
            continue;
        w->point = dict_u64(point, "id");
        if (!w->store && *dict_text(point, "store"))
            w->store = g_strdup(dict_text(point, "store"));
        return TRUE;
    }
    (void) time_parse(w->name, g_get_real_time(), &usec, &no_time);
    return throw_error(error, FILEDUP_ERROR_NO_ENTRY, "there is no point of that name, and %s",
                       no_time ? no_time->message : "it is none");
}

gboolean
backups_when(Backups *b, const char *path, const char *text, When *ret_when, GError **error)
{
    g_auto(When) w = {0};

    if (text && !when_parse(text, g_get_real_time(), &w, error))
        return FALSE;
    w.store = g_strdup(b->store);
    if (w.name && !look_up_name(b, path, &w, error))
        return FALSE;
    *ret_when = w;
    w = (When){0};
    return TRUE;
}

static gboolean
usage_error(GError **error, const char *text)
{
    g_set_error_literal(error, CLI_ERROR, CLI_ERROR_USAGE, text);
    return FALSE;
}

gboolean
backups_choose(Backups *b, const Options *options, const char *operand, char **ret_path,
               When *ret_when, GError **error)
{
    const char *at = options_value(options, OPTION_AT);
    guint64 point = options_number(options, OPTION_POINT, 0);
    gboolean many = options_operands(options)[1] != NULL;
    g_auto(When) found = {0}, w = {0};

    gboolean is_there = backups_find(b, operand, ret_path, &found, error);
    if (!is_there || (!at && !point)) {
        *ret_when = found;
        found = (When){0};
        return is_there;
    }
    if (found.text)
        return usage_error(error, "which content is meant is told twice: by FILE@POINT, and by "
                                  "--at or --point");
    if (!backups_when(b, *ret_path, at, &w, error)) {
        ret_when->text = g_strdup(at);
        return FALSE;
    }
    if (at && many && w.point && !w.name)
        return usage_error(error, "a point's number is of one file: name one FILE, or a time");
    if (point)
        w.point = point;
    *ret_when = w;
    w = (When){0};
    return TRUE;
}

/* Contents ------------------------------------------------------------------------------------ */

void
fetched_clear(Fetched *c)
{
    fd_clear(fd_steal(&c->fd));
    g_clear_pointer(&c->quality, g_free);
}

static gboolean
content_of_store(Parser *p, const char *path, const When *when, Fetched *ret_fetched,
                 GError **error)
{
    g_auto(StoredContent) stored = {.fd = -1};

    if (!parser_content(p, path, when->point, when->time_usec, &stored, error) ||
        !sums_check(stored.fd, stored.sums, stored.size_bytes, error))
        return FALSE;
    *ret_fetched = (Fetched){
        .fd = fd_steal(&stored.fd),
        .size_bytes = stored.size_bytes,
        .time_usec = stored.time_usec,
        .point = stored.point,
        .quality = g_strdup(offline_quality(stored.quality)),
    };
    return TRUE;
}

gboolean
backups_fetch(Backups *b, const char *path, const When *when, Fetched *ret_fetched, GError **error)
{
    gboolean verified;

    if (b->parser)
        return content_of_store(b->parser, path, when, ret_fetched, error);
    g_autoptr(GVariant) options = extract_options(when);
    g_auto(Fd) fd = extract_scratch(error);
    if (fd < 0)
        return FALSE;
    g_autoptr(GVariant) answer =
        extract_content(backups_manager(b), path, options, fd, FALSE, &verified, error);
    if (!answer)
        return FALSE;
    *ret_fetched = (Fetched){
        .fd = fd_steal(&fd),
        .size_bytes = dict_u64(answer, "size"),
        .time_usec = dict_time(answer, "time"),
        .point = dict_u64(answer, "point"),
        .quality = g_strdup(dict_text(answer, "quality")),
    };
    return TRUE;
}
