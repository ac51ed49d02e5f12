/* main.c - filedupd: the daemon, or one of its roles */

#include "config.h"

#include "base/role.h"
#include "daemon/daemon.h"

int
main(int argc, char **argv)
{
    RoleArgs args;

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
