#pragma once

/* Daemon: filedupd's parent process. */

int daemon_main(int argc, char **argv);
