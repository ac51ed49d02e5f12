/* main.c - filedupd: the daemon, or one of its roles */

#include "config.h"

#include <fcntl.h>
#include <unistd.h>

#include "base/role.h"
#include "daemon/daemon.h"

/* Or the next file opened would be taken for stderr, and a message written into it. */
static void
fill_standard_descriptors(void)
{
    for (int fd = STDIN_FILENO; fd <= STDERR_FILENO; fd++)
        if (fcntl(fd, F_GETFD) < 0 && open("/dev/null", O_RDWR) != fd)
            _exit(1);
}

int
main(int argc, char **argv)
{
    RoleArgs args;

    fill_standard_descriptors();
    if (!role_parse(argc, argv, &args))
        return daemon_main(argc, argv);

    Channel *channel = role_begin(&args);
    switch (args.kind) {
    case ROLE_WATCHER:
        return watcher_main(&args, channel);
    case ROLE_COPIER:
        return copier_main(&args, channel);
    case ROLE_KEEPER:
        return keeper_main(&args, channel);
    case ROLE_COUNT:
        break;
    }
    g_assert_not_reached();
}
