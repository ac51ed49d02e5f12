/* verb-store-check.c - store check, store rebuild: a store as a whole, without a daemon
 *
 * Root does not parse what is not root's (parser.c): the process becomes the store's owner first, for
 * good. What it does is all it does.
 */

#include "config.h"

#include <grp.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/error.h"
#include "base/path.h"
#include "cli/operand.h"
#include "cli/output.h"
#include "cli/verb.h"
#include "store/check.h"
#include "store/rebuild.h"

/* The folder, once this process may read it without harm; NULL with an error. After a switch it is the
 * current one: the owner may not be able to come to it from above. */
static char *
approach(const char *operand, GError **error)
{
    g_autofree char *folder = operand_real(operand, error);
    struct stat st;

    if (!folder)
        return NULL;
    if (stat(folder, &st) < 0) {
        throw_errno(error, "opening it");
        return NULL;
    }
    if (geteuid() != 0 || st.st_uid == 0)
        return g_steal_pointer(&folder);
    if (chdir(folder) < 0 || setgroups(0, NULL) < 0 || setresgid(st.st_gid, st.st_gid, st.st_gid) < 0 ||
        setresuid(st.st_uid, st.st_uid, st.st_uid) < 0) {
        throw_errno(error, "becoming uid %u, whose store it is", st.st_uid);
        return NULL;
    }
    if (g_getenv("TMPDIR") && access(g_getenv("TMPDIR"), W_OK) < 0)
        g_unsetenv("TMPDIR");
    return g_strdup(".");
}

static void
print_troubles(const GPtrArray *troubles, gboolean quiet)
{
    for (guint i = 0; i < troubles->len; i++) {
        const Trouble *t = troubles->pdata[i];
        g_autofree char *path = t->path ? path_escape(t->path) : NULL;
        g_autofree char *point = t->point ? g_strdup_printf("@%" G_GUINT64_FORMAT, t->point) : NULL;
        if (quiet && !t->damage)
            continue;
        output_print("%-7s  %s%s%s%s\n", t->damage ? "DAMAGED" : "note", path ? path : "",
                     path && point ? point : "", path ? ": " : "", t->text);
    }
}

static void
add_number(JsonBuilder *b, const char *name, guint64 value)
{
    json_builder_set_member_name(b, name);
    json_builder_add_int_value(b, (gint64) value);
}

static void
add_troubles(JsonBuilder *b, const GPtrArray *troubles)
{
    json_builder_set_member_name(b, "ok");
    json_builder_add_boolean_value(b, !troubles_have_damage(troubles));
    json_builder_set_member_name(b, "troubles");
    json_builder_begin_array(b);
    for (guint i = 0; i < troubles->len; i++) {
        const Trouble *t = troubles->pdata[i];
        g_autofree char *text = output_clean(t->text);
        json_builder_begin_object(b);
        json_builder_set_member_name(b, "damage");
        json_builder_add_boolean_value(b, t->damage);
        if (t->path)
            output_json_path(b, "path", t->path);
        if (t->point)
            add_number(b, "point", t->point);
        json_builder_set_member_name(b, "text");
        json_builder_add_string_value(b, text);
        json_builder_end_object(b);
    }
    json_builder_end_array(b);
}

static Status
status_of(const GPtrArray *troubles)
{
    return troubles_have_damage(troubles) ? STATUS_PARTLY : STATUS_OK;
}

static Status
fail(const char *operand, GError *error, const char *remedy)
{
    report_error(operand, error, remedy);
    return report_status_of(error);
}

Status
verb_store_check(const Options *options)
{
    g_autoptr(GError) error = NULL;
    g_auto(Checked) found = {0};
    const char *operand = options_operands(options)[0];
    gboolean read = options_has(options, OPTION_READ), quiet = options_has(options, OPTION_QUIET);
    g_autofree char *folder = approach(operand, &error);

    if (!folder || !store_check(folder, read, &found, &error))
        return fail(operand, error, NULL);
    if (options_has(options, OPTION_JSON)) {
        g_autoptr(JsonBuilder) b = json_builder_new();
        json_builder_begin_object(b);
        output_json_path(b, "path", operand);
        add_number(b, "files", found.files);
        add_number(b, "points", found.points);
        add_number(b, "packs", found.packs);
        add_number(b, "bytes", found.bytes);
        json_builder_set_member_name(b, "catalog");
        json_builder_add_boolean_value(b, !found.no_catalog);
        add_troubles(b, found.troubles);
        json_builder_end_object(b);
        output_json(b);
        return status_of(found.troubles);
    }
    print_troubles(found.troubles, quiet);
    if (found.no_catalog)
        output_print("Its catalog is lost: 'filedup store rebuild DIR' makes a new one.\n");
    else if (!quiet && !troubles_have_damage(found.troubles))
        output_print("%u files, %u points, %u packs: %s.\n", found.files, found.points, found.packs,
                     read ? "everything is as it was written"
                          : "everything is there. --read reads the contents, too");
    return status_of(found.troubles);
}

Status
verb_store_rebuild(const Options *options)
{
    g_autoptr(GError) error = NULL;
    g_auto(Rebuilt) made = {0};
    const char *operand = options_operands(options)[0];
    gboolean quiet = options_has(options, OPTION_QUIET);
    g_autofree char *folder = approach(operand, &error);

    if (!folder || !store_rebuild(folder, options_has(options, OPTION_FORCE_REBUILD), &made, &error))
        return fail(operand, error,
                    g_error_matches(error, FILEDUP_ERROR, FILEDUP_ERROR_REFUSED)
                        ? "'filedup store check' looks at the rest; --force rebuilds all the same"
                        : NULL);
    if (options_has(options, OPTION_JSON)) {
        g_autoptr(JsonBuilder) b = json_builder_new();
        json_builder_begin_object(b);
        output_json_path(b, "path", operand);
        add_number(b, "files", made.files);
        add_number(b, "points", made.points);
        add_number(b, "waiting", made.waiting);
        json_builder_set_member_name(b, "aside");
        json_builder_add_string_value(b, made.aside ? made.aside : "");
        add_troubles(b, made.troubles);
        json_builder_end_object(b);
        output_json(b);
        return status_of(made.troubles);
    }
    print_troubles(made.troubles, quiet);
    if (quiet)
        return status_of(made.troubles);
    output_print("A new catalog: %u files, %u points.\n", made.files, made.points);
    if (made.waiting)
        output_print("Of %u files the journal has more: the next start applies it.\n",
                     made.waiting);
    if (made.aside)
        output_print("The catalog before is in %s.\n", made.aside);
    return status_of(made.troubles);
}
