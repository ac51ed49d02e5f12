/* role.c - starting a role, and a role's first steps */

#include "config.h"

#include <errno.h>
#include <fcntl.h>
#include <gio/gio.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/error.h"
#include "base/fd.h"
#include "base/role.h"

#define ROLE_FD 3

static const char *const names[ROLE_COUNT] = {
    [ROLE_WATCHER] = "watcher",
    [ROLE_COPIER] = "copier",
    [ROLE_KEEPER] = "keeper",
};

static pid_t parent_pid;

const char *
role_name(RoleKind kind)
{
    return names[kind];
}

gboolean
role_spawn(const RoleArgs *args, pid_t *ret_pid, Channel **ret_channel, GError **error)
{
    int pair[2];
    GPid pid;
    g_autoptr(GPtrArray) argv = g_ptr_array_new_with_free_func(g_free);
    const int target = ROLE_FD;

    if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, pair) < 0)
        return throw_errno(error, "socketpair");
    g_auto(Fd) mine = pair[0], theirs = pair[1];

    g_ptr_array_add(argv, g_strdup("filedupd"));
    g_ptr_array_add(argv, g_strdup_printf("--role=%s", names[args->kind]));
    g_ptr_array_add(argv, g_strdup_printf("--parent=%d", (int) getpid()));
    if (args->kind != ROLE_KEEPER)
        g_ptr_array_add(argv, g_strdup_printf("--principal=%u", args->principal));
    if (args->store_path)
        g_ptr_array_add(argv, g_strdup_printf("--store=%s", args->store_path));
    if (args->store_uuid)
        g_ptr_array_add(argv, g_strdup_printf("--uuid=%s", args->store_uuid));
    if (args->store_create)
        g_ptr_array_add(argv, g_strdup("--create"));
    if (args->system)
        g_ptr_array_add(argv, g_strdup("--system"));
    g_ptr_array_add(argv, NULL);

    g_autoptr(GError) local = NULL;
    g_autoptr(GPtrArray) full = g_ptr_array_new();
    g_ptr_array_add(full, (char *) "/proc/self/exe");
    for (guint i = 0; i < argv->len; i++)
        g_ptr_array_add(full, argv->pdata[i]);
    if (!g_spawn_async_with_pipes_and_fds(
            "/", (const char *const *) full->pdata, NULL,
            G_SPAWN_DO_NOT_REAP_CHILD | G_SPAWN_FILE_AND_ARGV_ZERO | G_SPAWN_CLOEXEC_PIPES, NULL,
            NULL, -1, -1, -1 /* inherited; if named, it would be closed on exec */, &theirs,
            &target, 1, &pid, NULL, NULL, NULL, &local))
        return throw_error(error, FILEDUP_ERROR_AGAIN, "starting the %s: %s", names[args->kind],
                           local->message);
    *ret_pid = pid;
    *ret_channel = channel_new(fd_steal(&mine));
    return TRUE;
}

static void
bad_role(const char *what)
{
    fprintf(stderr, "filedupd: %s: roles are started by filedupd itself\n", what);
    exit(2);
}

gboolean
role_parse(int argc, char **argv, RoleArgs *ret_args)
{
    RoleArgs args = {.kind = ROLE_COUNT};

    if (argc < 2 || !g_str_has_prefix(argv[1], "--role="))
        return FALSE;
    for (int i = 1; i < argc; i++) {
        const char *value = strchr(argv[i], '=');
        value = value ? value + 1 : "";
        if (g_str_has_prefix(argv[i], "--role=")) {
            for (int k = 0; k < ROLE_COUNT; k++)
                if (g_str_equal(value, names[k]))
                    args.kind = (RoleKind) k;
        } else if (g_str_has_prefix(argv[i], "--parent=")) {
            parent_pid = (pid_t) g_ascii_strtoll(value, NULL, 10);
        } else if (g_str_has_prefix(argv[i], "--principal=")) {
            args.principal = (uid_t) g_ascii_strtoull(value, NULL, 10);
        } else if (g_str_has_prefix(argv[i], "--store=")) {
            args.store_path = value;
        } else if (g_str_has_prefix(argv[i], "--uuid=")) {
            args.store_uuid = value;
        } else if (g_str_equal(argv[i], "--create")) {
            args.store_create = TRUE;
        } else if (g_str_equal(argv[i], "--system")) {
            args.system = TRUE;
        } else {
            bad_role(argv[i]);
        }
    }
    if (args.kind == ROLE_COUNT || parent_pid <= 0 ||
        (args.kind == ROLE_KEEPER && !args.store_path))
        bad_role(argv[1]);
    *ret_args = args;
    return TRUE;
}

void
role_tie_to_parent(void)
{
    (void) prctl(PR_SET_PDEATHSIG, SIGKILL);
    if (getppid() != parent_pid)
        _exit(1); /* it died before the prctl */
}

Channel *
role_begin(const RoleArgs *args)
{
    char name[16];

    role_tie_to_parent();
    (void) signal(SIGINT, SIG_IGN); /* a terminal's Ctrl-C reaches the group; the parent decides */
    (void) signal(SIGHUP, SIG_IGN);
    (void) signal(SIGTERM, SIG_IGN);
    (void) signal(SIGPIPE, SIG_IGN);
    (void) signal(SIGIO, SIG_IGN); /* lease breaks */
    (void) prctl(PR_SET_DUMPABLE, 0);
    g_snprintf(name, sizeof name, "fd-%s", names[args->kind]);
    (void) prctl(PR_SET_NAME, name);
    if (fcntl(ROLE_FD, F_SETFD, FD_CLOEXEC) < 0)
        bad_role("no channel");
    return channel_new(ROLE_FD);
}
