/* verb-doctor.c - doctor: checks this machine and what is protected on it, and advises
 *
 * Without a daemon there are no rows and stores to look at: what can be said about the machine is
 * said nevertheless. Files are looked at with the caller's own rights.
 */

#include "config.h"

#include <sys/stat.h>
#include <unistd.h>

#include "base/path.h"
#include "cli/client.h"
#include "cli/dict.h"
#include "cli/kernel.h"
#include "cli/output.h"
#include "cli/verb.h"

#define FREE_LEAST_PERCENT 10

/* Stores -------------------------------------------------------------------------------------- */

static void
check_store(Findings *f, GVariant *store)
{
    const char *state = dict_text(store, "state"), *note = dict_text(store, "note");
    guint64 size = dict_u64(store, "size"), free_bytes = dict_u64(store, "free");
    g_autofree char *what = g_strdup_printf("store '%s'", dict_text(store, "name"));
    g_autofree char *path = path_escape(dict_path(store, "path"));
    g_autofree char *free_text = output_size(free_bytes);

    if (g_str_equal(state, "absent"))
        findings_add(f, FINDING_PROBLEM, what, "Attach or mount it: backups catch up by themselves",
                     "absent from %s%s%s", path, *note ? ": " : "", note);
    else if (!g_str_equal(state, "ready") && !g_str_equal(state, "opening"))
        findings_add(f, FINDING_PROBLEM, what, NULL, "%s, in %s%s%s", state, path,
                     *note ? ": " : "", note);
    else if (size && free_bytes < size / 100 * FREE_LEAST_PERCENT)
        findings_add(f, FINDING_ADVICE, what, "Make room, or 'filedup set FILE --to' another store",
                     "%s left, less than %d %%, in %s", free_text, FREE_LEAST_PERCENT, path);
    else
        findings_add(f, FINDING_OK, what, NULL, "%s, %s free, in %s", state, free_text, path);
}

/* Rows ---------------------------------------------------------------------------------------- */

/* Names of stores -> st_dev, where the caller may see that. */
static GHashTable *
store_devices(GVariant *stores)
{
    GHashTable *devices = g_hash_table_new_full(g_str_hash, g_str_equal, g_free, g_free);
    GVariantIter iter;
    GVariant *store;

    g_variant_iter_init(&iter, stores);
    while ((store = g_variant_iter_next_value(&iter))) {
        g_autoptr(GVariant) owned = store;
        struct stat st;
        if (stat(dict_path(store, "path"), &st) < 0)
            continue;
        guint64 *device = g_new(guint64, 1);
        *device = st.st_dev;
        g_hash_table_insert(devices, g_strdup(dict_text(store, "name")), device);
    }
    return devices;
}

static gboolean
file_device(const char *path, guint64 *ret_device)
{
    g_autofree char *folder = g_path_get_dirname(path);
    struct stat st;

    if (lstat(path, &st) < 0 && stat(folder, &st) < 0)
        return FALSE;
    *ret_device = st.st_dev;
    return TRUE;
}

/* Every store of the row is on the file's own device: one broken disk takes both. */
static gboolean
shares_device(GVariant *row, GHashTable *devices)
{
    g_autoptr(GVariant) stores = g_variant_lookup_value(row, "stores", G_VARIANT_TYPE("a(sssx)"));
    GVariantIter iter;
    const char *name;
    guint64 own;
    guint n_same = 0;

    if (!stores || !file_device(dict_path(row, "path"), &own))
        return FALSE;
    g_variant_iter_init(&iter, stores);
    while (g_variant_iter_next(&iter, "(&s&s&sx)", &name, NULL, NULL, NULL)) {
        const guint64 *device = g_hash_table_lookup(devices, name);
        if (!device || *device != own)
            return FALSE;
        n_same++;
    }
    return n_same > 0;
}

static guint64
check_rows(Findings *f, GVariant *rows, GHashTable *devices)
{
    g_autoptr(GHashTable) folders = g_hash_table_new_full(g_str_hash, g_str_equal, g_free, NULL);
    g_autofree char *example = NULL;
    guint n_same = 0, n_failed = 0, n_unwatched = 0, n_suspicious = 0, n_undrilled = 0;
    gsize n_rows = g_variant_n_children(rows);
    GVariantIter iter;
    GVariant *row;

    g_variant_iter_init(&iter, rows);
    while ((row = g_variant_iter_next_value(&iter))) {
        g_autoptr(GVariant) owned = row;
        const char *state = dict_text(row, "state");
        g_hash_table_add(folders, g_path_get_dirname(dict_path(row, "path")));
        n_failed += g_str_equal(state, "failed") || g_str_equal(state, "stuck");
        n_unwatched += g_str_equal(dict_text(row, "watched"), "scan");
        n_suspicious += *dict_text(row, "suspicion") != '\0';
        n_undrilled += dict_time(row, "drilled") && !g_str_equal(dict_text(row, "drill"), "ok");
        if (!shares_device(row, devices))
            continue;
        if (!n_same++)
            example = path_escape(dict_path(row, "path"));
    }
    if (n_failed)
        findings_add(f, FINDING_PROBLEM, "rows", "'filedup status' says why",
                     "%u of %" G_GSIZE_FORMAT " failed", n_failed, n_rows);
    else
        findings_add(f, FINDING_OK, "rows", NULL, "%" G_GSIZE_FORMAT " protected, none failed",
                     n_rows);
    if (n_suspicious)
        findings_add(f, FINDING_PROBLEM, "suspicious changes",
                     "'filedup status FILE' says what and since when; 'filedup approve FILE' if it "
                     "was wanted",
                     "%u of %" G_GSIZE_FORMAT " rows: what was there before is kept", n_suspicious,
                     n_rows);
    if (n_undrilled)
        findings_add(f, FINDING_PROBLEM, "restore drills", "'filedup status FILE' says what failed",
                     "of %u of %" G_GSIZE_FORMAT " rows the last one failed", n_undrilled, n_rows);
    if (n_unwatched)
        findings_add(f, FINDING_ADVICE, "watching", "'filedup status FILE' says why",
                     "%u of %" G_GSIZE_FORMAT
                     " rows cannot be watched: those files are compared from "
                     "time to time instead",
                     n_unwatched, n_rows);
    if (n_same)
        findings_add(f, FINDING_ADVICE, "devices",
                     "'filedup store add DIR' on another disk, then 'filedup set FILE --to NAME'",
                     "%u of %" G_GSIZE_FORMAT
                     " rows have all their backups on the file's own device "
                     "(as %s): a broken disk takes both",
                     n_same, n_rows, example);
    else if (n_rows)
        findings_add(f, FINDING_OK, "devices", NULL,
                     "no file has all its backups on its own device");
    return g_hash_table_size(folders);
}

static guint64
check_daemon(Findings *f, Client *client)
{
    g_autoptr(GError) error = NULL;
    g_autoptr(GVariant) rows = NULL;
    g_autoptr(GVariant) daemon = NULL;
    g_autoptr(GVariant) stores = NULL;
    FiledupManager1 *m = client_manager(client);
    GVariantIter iter;
    GVariant *store;

    if (!filedup_manager1_call_list_sync(m, "", &rows, &daemon, NULL, &error) ||
        !filedup_manager1_call_store_list_sync(m, &stores, NULL, &error)) {
        findings_add(f, FINDING_PROBLEM, "daemon", NULL, "does not answer: %s", error->message);
        return 0;
    }
    findings_add(f, FINDING_OK, "daemon", NULL, "%s mode, version %s, process %u",
                 dict_text(daemon, "mode"), dict_text(daemon, "version"), dict_u32(daemon, "pid"));
    if (dict_u32(daemon, "stuck"))
        findings_add(f, FINDING_PROBLEM, "copiers",
                     "A disk or a network file system hangs: 'filedup status' shows the files, the "
                     "kernel's log the device",
                     "%u will not die", dict_u32(daemon, "stuck"));
    g_variant_iter_init(&iter, stores);
    while ((store = g_variant_iter_next_value(&iter))) {
        g_autoptr(GVariant) owned = store;
        check_store(f, store);
    }
    g_autoptr(GHashTable) devices = store_devices(stores);
    return check_rows(f, rows, devices);
}

Status
verb_doctor(const Options *options)
{
    g_autoptr(GError) error = NULL;
    g_autoptr(Findings) f = findings_new();
    guint64 folders = 0;

    g_autoptr(Client) client = client_open(options, &error);
    if (client)
        folders = check_daemon(f, client);
    else if (g_error_matches(error, CLI_ERROR, CLI_ERROR_NO_DAEMON))
        findings_add(f, FINDING_ADVICE, "daemon", "Rows and stores were not looked at", "%s",
                     error->message);
    else
        findings_add(f, FINDING_PROBLEM, "daemon", NULL, "%s", error->message);
    kernel_check_inotify(f, folders);
    kernel_check(f, geteuid() == 0 ? "/var/tmp" : g_get_home_dir());
    return findings_print(f, options_has(options, OPTION_JSON), options_has(options, OPTION_QUIET));
}
