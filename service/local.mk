# The daemon: main.c over one convenience library per folder, which the tests link too.

include service/base/local.mk
include service/daemon/local.mk
include service/feed/local.mk
include service/copy/local.mk
include service/store/local.mk

sbin_PROGRAMS += filedupd
filedupd_SOURCES = service/main.c
filedupd_LDADD = libdaemon.a libcontrol.a libfeed.a libstore.a libcopy.a libbase.a \
	$(DEPS_LIBS) $(INOTIFYTOOLS_LIBS) $(SYSTEMD_LIBS)
