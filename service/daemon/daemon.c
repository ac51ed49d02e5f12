/* daemon.c - the life of filedupd: options, signals, systemd, start and stop
 *
 * The parent owns the table and decides; it touches no protected path. It runs in the foreground.
 * SIGTERM and SIGINT stop it in order within stop-timeout seconds (default 10): no new copies, the
 * keepers finish what they accepted. SIGHUP reads the table again.
 *
 * state/running holds the boot id while a daemon runs. Found at the start with another boot id, the
 * machine went down without a clean stop: a power cut may keep data and lose time stamps, and every
 * file's content is compared once. Until that is done the file says "compare" too, and a stop leaves
 * it.
 */

#include "config.h"

#include <errno.h>
#include <fcntl.h>
#include <gio/gio.h>
#include <glib-unix.h>
#include <glib/gstdio.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/file.h>
#include <sys/resource.h>
#include <unistd.h>
#ifdef HAVE_SYSTEMD
#include <systemd/sd-daemon.h>
#endif

#include "base/error.h"
#include "base/fd.h"
#include "daemon/control.h"
#include "daemon/daemon.h"
#include "daemon/manager.h"

#define RUNNING_NAME "running"
#define COMPARE_LINE "compare\n"

typedef struct Daemon {
    Settings *settings;
    Manager *manager;
    Drills *drills;
    Control *control;
    GMainLoop *loop;
    int lock_fd;
    gboolean stopping;
    gboolean comparing; /* after a crash of the machine, until every content was compared */
    gint64 stop_deadline_usec;
    int status;
} Daemon;

static void
notify_systemd(const char *text)
{
#ifdef HAVE_SYSTEMD
    (void) sd_notify(0, text);
#else
    (void) text;
#endif
}

static void
on_durable(Entry *e, Store *store, guint64 sequence, gint64 stamp_usec, gpointer data)
{
    Daemon *d = data;

    control_durable(d->control, e, store, sequence, stamp_usec);
}

static void
on_settled(gpointer data)
{
    Daemon *d = data;

    control_settled(d->control);
}

static gboolean
on_stop_tick(gpointer data)
{
    Daemon *d = data;

    if (!manager_is_stopped(d->manager)) {
        if (g_get_monotonic_time() < d->stop_deadline_usec)
            return G_SOURCE_CONTINUE;
        g_warning("a keeper did not stop within %u s and is killed; its journal is replayed at the "
                  "next start",
                  d->settings->stop_timeout_sec);
        d->status = 1;
    }
    g_main_loop_quit(d->loop);
    return G_SOURCE_REMOVE;
}

static gboolean
on_stop(gpointer data)
{
    Daemon *d = data;

    if (d->stopping)
        return G_SOURCE_CONTINUE;
    d->stopping = TRUE;
    notify_systemd("STOPPING=1\nSTATUS=Finishing what was accepted");
    d->comparing = d->comparing && manager_is_comparing(d->manager);
    d->stop_deadline_usec = g_get_monotonic_time() + d->settings->stop_timeout_sec * G_USEC_PER_SEC;
    manager_stop(d->manager);
    g_timeout_add(10, on_stop_tick, d);
    return G_SOURCE_CONTINUE;
}

static gboolean
on_reload(gpointer data)
{
    Daemon *d = data;
    g_autoptr(GError) error = NULL;

    if (d->stopping)
        return G_SOURCE_CONTINUE;
    notify_systemd("RELOADING=1");
    if (manager_reload(d->manager, &error))
        g_message("the table was read again");
    else
        g_warning("the table stays as it was: %s", error->message);
    notify_systemd("READY=1");
    return G_SOURCE_CONTINUE;
}

static gboolean
on_mounts(G_GNUC_UNUSED gint fd, G_GNUC_UNUSED GIOCondition condition, gpointer data)
{
    Daemon *d = data;
    char buffer[4096];

    /* Reading it through re-arms the notification. */
    (void) lseek(fd, 0, SEEK_SET);
    while (read(fd, buffer, sizeof buffer) > 0)
        ;
    if (!d->stopping)
        manager_mounts_changed(d->manager);
    return G_SOURCE_CONTINUE;
}

static char *
read_boot_id(void)
{
    char *boot = NULL;

    if (!g_file_get_contents("/proc/sys/kernel/random/boot_id", &boot, NULL, NULL))
        boot = g_strdup("?\n");
    return boot;
}

static void write_running(Daemon *d);

static gboolean
on_watchdog(gpointer data)
{
    Daemon *d = data;
    g_autoptr(GList) entries = manager_entries(d->manager);
    guint trouble = 0;

    for (GList *l = entries; l; l = l->next) {
        const Entry *e = l->data;
        trouble += e->result == RESULT_FAILED || e->stuck_job != 0 || e->told_suspicion != 0;
    }
    g_autofree char *text = g_strdup_printf("WATCHDOG=1\nSTATUS=%u files protected, %u in trouble",
                                            g_list_length(entries), trouble);
    notify_systemd(text);
    if (d->comparing && !d->stopping && !manager_is_comparing(d->manager)) {
        d->comparing = FALSE;
        write_running(d);
    }
    return G_SOURCE_CONTINUE;
}

static void
start_watchdog(Daemon *d)
{
    guint64 interval_usec = 0;

#ifdef HAVE_SYSTEMD
    if (sd_watchdog_enabled(0, &interval_usec) <= 0)
        interval_usec = 0;
#endif
    guint msec = interval_usec ? (guint) MAX(interval_usec / 2000, 10) : 30000;
    g_timeout_add(msec, on_watchdog, d);
}

/* One daemon per state folder. */
static gboolean
lock_state(Daemon *d, GError **error)
{
    const char *folder = d->settings->state_folder;
    g_autofree char *path = g_build_filename(folder, "lock", NULL);

    if (g_mkdir_with_parents(folder, 0700) < 0)
        return throw_errno(error, "creating folder '%s'", folder);
    d->lock_fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0600);
    if (d->lock_fd < 0)
        return throw_errno(error, "opening '%s'", path);
    if (flock(d->lock_fd, LOCK_EX | LOCK_NB) < 0)
        return throw_error(error, FILEDUP_ERROR_BUSY,
                           "another filedupd uses the state folder '%s'; stop it first", folder);
    return TRUE;
}

static void
write_running(Daemon *d)
{
    g_autofree char *path = g_build_filename(d->settings->state_folder, RUNNING_NAME, NULL);
    g_autofree char *boot = read_boot_id();
    g_autofree char *text = g_strconcat(boot, d->comparing ? COMPARE_LINE : "", NULL);
    g_autoptr(GError) error = NULL;

    if (!g_file_set_contents_full(path, text, -1,
                                  G_FILE_SET_CONTENTS_CONSISTENT | G_FILE_SET_CONTENTS_DURABLE,
                                  0600, &error) ||
        !fd_sync_folder(AT_FDCWD, d->settings->state_folder, &error))
        g_warning("%s", error->message);
}

/* TRUE if the machine went down without a clean stop of the last daemon, or did so before and the
 * comparison that follows has not come to its end. */
static gboolean
mark_running(Daemon *d)
{
    g_autofree char *path = g_build_filename(d->settings->state_folder, RUNNING_NAME, NULL);
    g_autofree char *boot = read_boot_id(), *before = NULL;

    d->comparing = g_file_get_contents(path, &before, NULL, NULL) && strcmp(before, boot) != 0;
    write_running(d);
    return d->comparing;
}

static void
unmark_running(Daemon *d)
{
    g_autofree char *path = g_build_filename(d->settings->state_folder, RUNNING_NAME, NULL);

    if (!d->comparing)
        (void) g_unlink(path);
}

static gboolean
start(Daemon *d, GError **error)
{
    static const ManagerEvents events = {on_durable, on_settled};

    if (!lock_state(d, error))
        return FALSE;
    gboolean unclean = mark_running(d);
    if (unclean)
        g_message("the machine went down without a clean stop: every file's content is compared");
    d->manager = manager_new(d->settings, unclean, &events, d, error);
    if (!d->manager)
        return FALSE;
    d->drills = drills_new(d->manager);
    d->control = control_new(d->manager, d->drills, error);
    if (!d->control)
        return FALSE;

    g_unix_signal_add(SIGTERM, on_stop, d);
    g_unix_signal_add(SIGINT, on_stop, d);
    g_unix_signal_add(SIGHUP, on_reload, d);
    int mounts = open("/proc/self/mountinfo", O_RDONLY | O_CLOEXEC);
    if (mounts >= 0)
        g_unix_fd_add(mounts, G_IO_PRI | G_IO_ERR, on_mounts, d);
    start_watchdog(d);
    return TRUE;
}

static int
run(Daemon *d)
{
    g_autoptr(GError) error = NULL;

    d->loop = g_main_loop_new(NULL, FALSE);
    if (!start(d, &error)) {
        fprintf(stderr, "filedupd: %s\n", error->message);
        d->status = 1;
    } else {
        g_message("filedupd %s is ready at '%s' (%s mode)", PACKAGE_VERSION,
                  d->settings->socket_path, d->settings->system ? "system" : "user");
        notify_systemd("READY=1");
        on_watchdog(d);
        g_main_loop_run(d->loop);
        if (d->status == 0)
            unmark_running(d);
        g_message("filedupd has stopped");
    }
    control_free(d->control);
    drills_free(d->drills);
    manager_free(d->manager);
    fd_clear(d->lock_fd);
    g_main_loop_unref(d->loop);
    settings_free(d->settings);
    return d->status;
}

static void
raise_descriptor_limit(void)
{
    struct rlimit limit;

    if (getrlimit(RLIMIT_NOFILE, &limit) == 0 && limit.rlim_cur < limit.rlim_max) {
        limit.rlim_cur = limit.rlim_max;
        (void) setrlimit(RLIMIT_NOFILE, &limit);
    }
}

int
daemon_main(int argc, char **argv)
{
    gboolean system = FALSE, user = FALSE, version = FALSE;
    g_autofree char *config = NULL;
    const GOptionEntry options[] = {
        {"system", 0, 0, G_OPTION_ARG_NONE, &system, "Serve the machine (default as root)", NULL},
        {"user", 0, 0, G_OPTION_ARG_NONE, &user, "Serve one user (default otherwise)", NULL},
        {"config", 0, 0, G_OPTION_ARG_FILENAME, &config,
         "Settings file; every other path defaults to its folder", "FILE"},
        {"version", 0, 0, G_OPTION_ARG_NONE, &version, "Print the version", NULL},
        {0}};
    g_autoptr(GOptionContext) context = g_option_context_new("- protect files");
    g_autoptr(GError) error = NULL;
    Daemon d = {.lock_fd = -1};

    g_option_context_add_main_entries(context, options, NULL);
    if (!g_option_context_parse(context, &argc, &argv, &error) || argc > 1 || (system && user)) {
        fprintf(stderr, "filedupd: %s; see filedupd --help\n",
                error      ? error->message
                : argc > 1 ? "it takes no arguments"
                           : "--system and --user exclude each other");
        return 2;
    }
    if (version) {
        printf("filedupd %s\n", PACKAGE_VERSION);
        return 0;
    }
    if (system && geteuid() != 0) {
        fprintf(stderr, "filedupd: --system needs root; use --user\n");
        return 1;
    }
    d.settings = settings_load(system || (!user && geteuid() == 0), config, &error);
    if (!d.settings) {
        fprintf(stderr, "filedupd: %s\n", error->message);
        return 1;
    }
    signal(SIGPIPE, SIG_IGN);
    raise_descriptor_limit();
    return run(&d);
}
