# Units for the system's service and for a user's own (systemctl --user), both named filedupd.service.

EXTRA_DIST += systemd/system.service.in systemd/user.service.in

systemdsystemunit_DATA = systemd/system/filedupd.service
systemduserunit_DATA = systemd/user/filedupd.service
CLEANFILES += $(systemdsystemunit_DATA) $(systemduserunit_DATA)

systemd/%/filedupd.service: systemd/%.service.in Makefile
	$(AM_V_GEN)$(MKDIR_P) $(@D) && \
	  sed -e 's|@sbindir[@]|$(sbindir)|g' $(srcdir)/systemd/$*.service.in >$@.tmp && mv $@.tmp $@
