# The control interface's generated code is shared with the command line.
MANAGER1_XML = service/daemon/org.filedup.Manager1.xml
BUILT_SOURCES += service/daemon/manager1.c service/daemon/manager1.h
CLEANFILES += service/daemon/manager1.c service/daemon/manager1.h
EXTRA_DIST += $(MANAGER1_XML)

service/daemon/manager1.c: $(MANAGER1_XML)
	$(AM_V_GEN)$(MKDIR_P) service/daemon && $(GDBUS_CODEGEN) --interface-prefix org.filedup. \
		--c-namespace Filedup --c-generate-autocleanup all --body --output $@ $(srcdir)/$(MANAGER1_XML)
service/daemon/manager1.h: $(MANAGER1_XML)
	$(AM_V_GEN)$(MKDIR_P) service/daemon && $(GDBUS_CODEGEN) --interface-prefix org.filedup. \
		--c-namespace Filedup --c-generate-autocleanup all --header --output $@ $(srcdir)/$(MANAGER1_XML)

noinst_LIBRARIES += libcontrol.a libdaemon.a
nodist_libcontrol_a_SOURCES = service/daemon/manager1.c service/daemon/manager1.h
libcontrol_a_SOURCES =
# Generated code is not ours to warn about.
libcontrol_a_CFLAGS = -std=gnu11 -w $(SANITIZER_FLAGS) $(DEPS_CFLAGS)

libdaemon_a_SOURCES = \
	service/daemon/access.c service/daemon/access.h \
	service/daemon/call.c service/daemon/call.h \
	service/daemon/control.c service/daemon/control.h \
	service/daemon/copiers.c service/daemon/copiers.h \
	service/daemon/daemon.c service/daemon/daemon.h \
	service/daemon/drill.c service/daemon/drill.h \
	service/daemon/drills.c service/daemon/drills.h \
	service/daemon/entry.c service/daemon/entry.h \
	service/daemon/event.c service/daemon/event.h \
	service/daemon/health.c service/daemon/health.h \
	service/daemon/link.c service/daemon/link.h \
	service/daemon/manager.c service/daemon/manager.h \
	service/daemon/methods-asking.c service/daemon/methods-asking.h \
	service/daemon/methods-content.c \
	service/daemon/methods-points.c \
	service/daemon/methods-prune.c \
	service/daemon/methods-rows.c \
	service/daemon/methods-stores.c \
	service/daemon/methods-verify.c \
	service/daemon/methods.c service/daemon/methods.h \
	service/daemon/recovery.c service/daemon/recovery.h \
	service/daemon/report.c service/daemon/report.h \
	service/daemon/round.c service/daemon/round.h \
	service/daemon/schedule.c service/daemon/schedule.h \
	service/daemon/settings.c service/daemon/settings.h \
	service/daemon/stores.c service/daemon/stores.h \
	service/daemon/sync.c service/daemon/sync.h \
	service/daemon/table.c service/daemon/table.h \
	service/daemon/target.c service/daemon/target.h \
	service/daemon/transfer.c service/daemon/transfer.h \
	service/daemon/watchers.c service/daemon/watchers.h
