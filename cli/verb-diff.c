/* verb-diff.c - diff: what differs between two contents
 *
 * Text is given to diff(1), as two private files without a name: nobody else sees them, and nothing
 * is left behind. Everything else, and text where there is no diff(1), is told in ranges of bytes.
 */

#include "config.h"

#include <fcntl.h>
#include <gio/gio.h>
#include <stdio.h>
#include <sys/stat.h>

#include "base/error.h"
#include "base/path.h"
#include "cli/backups.h"
#include "cli/compare.h"
#include "cli/extract.h"
#include "cli/output.h"
#include "cli/time.h"
#include "cli/verb.h"

#define TEXT_BYTES (G_GUINT64_CONSTANT(64) * 1024 * 1024) /* more is not for people to read */
#define COPY_BYTES ((gsize) 256 * 1024)
#define DIFF_FD    3 /* in diff(1): this one and the next */

/* One of the two. */
typedef struct Side {
    char *path;
    gboolean on_disk;
    Fetched content;
} Side;

static void
side_clear(Side *side)
{
    g_clear_pointer(&side->path, g_free);
    fetched_clear(&side->content);
}

G_DEFINE_AUTO_CLEANUP_CLEAR_FUNC(Side, side_clear)

static char *
side_name(const Side *side)
{
    g_autofree char *when = time_local(side->content.time_usec);

    if (side->on_disk)
        return g_strdup("the file on the disk");
    if (!side->content.point)
        return g_strdup_printf("the newest backup, of %s", when);
    return g_strdup_printf("point %" G_GUINT64_FORMAT ", of %s", side->content.point, when);
}

/* Where they come from ------------------------------------------------------------------------- */

static gboolean
open_backup(Backups *backups, const char *operand, Side *ret_side, GError **error)
{
    g_auto(When) when = {0};

    return backups_find(backups, operand, &ret_side->path, &when, error) &&
           backups_fetch(backups, ret_side->path, &when, &ret_side->content, error);
}

static gboolean
open_other_point(Backups *backups, const char *path, const char *text, Side *ret_side,
                 GError **error)
{
    g_auto(When) when = {0};

    ret_side->path = g_strdup(path);
    return backups_when(backups, path, text, &when, error) &&
           backups_fetch(backups, path, &when, &ret_side->content, error);
}

static gboolean
open_on_disk(const char *path, Side *ret_side, GError **error)
{
    struct stat st;
    int fd = path_open(AT_FDCWD, path, O_RDONLY | O_NONBLOCK, 0);

    ret_side->path = g_strdup(path);
    ret_side->on_disk = TRUE;
    ret_side->content.fd = fd;
    if (fd < 0 || fstat(fd, &st) < 0)
        return throw_errno(error, "the file on the disk");
    if (!S_ISREG(st.st_mode))
        return throw_error(error, FILEDUP_ERROR_REFUSED, "the file on the disk is no regular file");
    ret_side->content.size_bytes = (guint64) st.st_size;
    return TRUE;
}

static gboolean
open_sides(Backups *backups, const char *const *operands, Side *a, Side *b, GError **error)
{
    if (!open_backup(backups, operands[0], a, error))
        return FALSE;
    if (!operands[1])
        return open_on_disk(a->path, b, error);
    if (operands[1][0] == '@')
        return open_other_point(backups, a->path, operands[1] + 1, b, error);
    return open_backup(backups, operands[1], b, error);
}

/* Text ---------------------------------------------------------------------------------------- */

/* A copy that nobody changes while it is compared, readable whatever the mode of the original. */
static int
private_copy(const Fetched *content)
{
    g_auto(Fd) copy = extract_scratch(NULL);
    g_autofree char *buffer = g_malloc(COPY_BYTES);

    for (guint64 offset = 0; copy >= 0 && offset < content->size_bytes;) {
        gssize n = fd_pread_most(content->fd, buffer, MIN(COPY_BYTES, content->size_bytes - offset),
                                 (goffset) offset);
        if (n <= 0 || !fd_pwrite_full(copy, buffer, (gsize) n, (goffset) offset))
            return -1;
        offset += (guint64) n;
    }
    return fd_steal(&copy);
}

static char *
label_of(const Side *side)
{
    g_autofree char *path = path_escape(side->path);
    g_autofree char *name = side_name(side);

    return g_strdup_printf("%s (%s)", path, name);
}

/* FALSE: it cannot be told this way; nothing has been printed. */
static gboolean
print_text(const Side *a, const Side *b)
{
    g_autofree char *program = g_find_program_in_path("diff");
    g_autofree char *label_a = label_of(a);
    g_autofree char *label_b = label_of(b);

    if (!program || MAX(a->content.size_bytes, b->content.size_bytes) > TEXT_BYTES)
        return FALSE;
    g_auto(Fd) copy_a = private_copy(&a->content), copy_b = private_copy(&b->content);
    if (copy_a < 0 || copy_b < 0 || !compare_is_text(copy_a, a->content.size_bytes) ||
        !compare_is_text(copy_b, b->content.size_bytes))
        return FALSE;
    g_autoptr(GSubprocessLauncher) launcher =
        g_subprocess_launcher_new(G_SUBPROCESS_FLAGS_STDERR_SILENCE);
    g_subprocess_launcher_take_fd(launcher, fd_steal(&copy_a), DIFF_FD);
    g_subprocess_launcher_take_fd(launcher, fd_steal(&copy_b), DIFF_FD + 1);
    (void) fflush(stdout);
    g_autoptr(GSubprocess) diff =
        g_subprocess_launcher_spawn(launcher, NULL, program, "-u", "--label", label_a, "--label",
                                    label_b, "/dev/fd/3", "/dev/fd/4", NULL);
    return diff && g_subprocess_wait(diff, NULL, NULL) && g_subprocess_get_if_exited(diff) &&
           g_subprocess_get_exit_status(diff) <= 1; /* 2: it could not */
}

/* Ranges -------------------------------------------------------------------------------------- */

static guint64
total(GArray *ranges)
{
    guint64 bytes = 0;

    for (guint i = 0; i < ranges->len; i++)
        bytes += g_array_index(ranges, DiffRange, i).length;
    return bytes;
}

static void
print_ranges(const Side *a, const Side *b, GArray *ranges)
{
    static const char *const headings[] = {">OFFSET", ">LENGTH", NULL};
    g_autoptr(Table) table = table_new(headings);
    g_autofree char *name_a = side_name(a);
    g_autofree char *name_b = side_name(b);
    g_autofree char *path_a = path_escape(a->path);
    g_autofree char *path_b = path_escape(b->path);
    gboolean same_file = g_str_equal(a->path, b->path);

    output_print("%s: %s (%" G_GUINT64_FORMAT " bytes), and %s%s%s (%" G_GUINT64_FORMAT " bytes)\n",
                 path_a, name_a, a->content.size_bytes, same_file ? "" : path_b,
                 same_file ? "" : ": ", name_b, b->content.size_bytes);
    if (!ranges->len) {
        output_print("They are the same.\n");
        return;
    }
    for (guint i = 0; i < ranges->len; i++) {
        const DiffRange *range = &g_array_index(ranges, DiffRange, i);
        g_autofree char *offset = g_strdup_printf("%" G_GUINT64_FORMAT, range->offset);
        g_autofree char *length = g_strdup_printf("%" G_GUINT64_FORMAT, range->length);
        const char *cells[] = {offset, length};
        table_add(table, cells);
    }
    g_autofree char *text = table_text(table);
    output_print("%s%" G_GUINT64_FORMAT " bytes differ, in %u range%s.\n", text, total(ranges),
                 ranges->len, ranges->len == 1 ? "" : "s");
}

static void
add_side(JsonBuilder *b, const char *name, const Side *side)
{
    g_autofree char *when = time_rfc3339(side->content.time_usec);

    json_builder_set_member_name(b, name);
    json_builder_begin_object(b);
    output_json_path(b, "path", side->path);
    json_builder_set_member_name(b, "on_disk");
    json_builder_add_boolean_value(b, side->on_disk);
    json_builder_set_member_name(b, "point");
    json_builder_add_int_value(b, (gint64) side->content.point);
    json_builder_set_member_name(b, "time");
    if (side->on_disk)
        json_builder_add_null_value(b);
    else
        json_builder_add_string_value(b, when);
    json_builder_set_member_name(b, "size");
    json_builder_add_int_value(b, (gint64) side->content.size_bytes);
    json_builder_end_object(b);
}

static void
print_json(const Side *a, const Side *other, GArray *ranges)
{
    g_autoptr(JsonBuilder) b = json_builder_new();

    json_builder_begin_object(b);
    output_json_path(b, "path", a->path);
    add_side(b, "a", a);
    add_side(b, "b", other);
    json_builder_set_member_name(b, "same");
    json_builder_add_boolean_value(b, ranges->len == 0);
    json_builder_set_member_name(b, "bytes");
    json_builder_add_int_value(b, (gint64) total(ranges));
    json_builder_set_member_name(b, "ranges");
    json_builder_begin_array(b);
    for (guint i = 0; i < ranges->len; i++) {
        const DiffRange *range = &g_array_index(ranges, DiffRange, i);
        json_builder_begin_object(b);
        json_builder_set_member_name(b, "offset");
        json_builder_add_int_value(b, (gint64) range->offset);
        json_builder_set_member_name(b, "length");
        json_builder_add_int_value(b, (gint64) range->length);
        json_builder_end_object(b);
    }
    json_builder_end_array(b);
    json_builder_end_object(b);
    output_json(b);
}

Status
verb_diff(const Options *options)
{
    g_autoptr(GError) error = NULL;
    g_autoptr(GArray) ranges = NULL;
    const char *const *operands = options_operands(options);
    gboolean json = options_has(options, OPTION_JSON);
    g_auto(Side) a = {.content = {.fd = -1}}, b = {.content = {.fd = -1}};
    Status status = STATUS_OK;

    g_autoptr(Backups) backups = backups_open(options, &status);
    if (!backups)
        return status;
    if (open_sides(backups, operands, &a, &b, &error))
        ranges = compare_contents(a.content.fd, a.content.size_bytes, b.content.fd,
                                  b.content.size_bytes, &error);
    if (!ranges) {
        const char *path = b.path ? b.path : a.path;
        report_error(path ? path : operands[0], error, NULL);
        return report_status_of(error);
    }
    if (json)
        print_json(&a, &b, ranges);
    else if (!(ranges->len ? print_text(&a, &b) : options_has(options, OPTION_QUIET)))
        print_ranges(&a, &b, ranges);
    return STATUS_OK;
}
