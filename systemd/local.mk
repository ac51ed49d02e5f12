# Units for the system's service and for a user's own (systemctl --user), both named filedupd.service.

EXTRA_DIST += systemd/system.service.in systemd/user.service.in

systemdsystemunit_DATA = systemd/system/filedupd.service
systemduserunit_DATA = systemd/user/filedupd.service
CLEANFILES += $(systemdsystemunit_DATA) $(systemduserunit_DATA)

UNIT_FROM = $(AM_V_GEN)$(MKDIR_P) $(@D) && sed -e 's|@sbindir[@]|$(sbindir)|g'
systemd/system/filedupd.service: systemd/system.service.in Makefile
	$(UNIT_FROM) $(srcdir)/systemd/system.service.in >$@.tmp && mv $@.tmp $@
systemd/user/filedupd.service: systemd/user.service.in Makefile
	$(UNIT_FROM) $(srcdir)/systemd/user.service.in >$@.tmp && mv $@.tmp $@
