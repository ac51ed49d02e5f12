# The example settings: installed once, never over what somebody has edited.

EXTRA_DIST += etc/filedupd.conf etc/entries.d/README

filedupconfdir = $(sysconfdir)/filedup

install-data-local: install-filedup-conf
uninstall-local: uninstall-filedup-conf

.PHONY: install-filedup-conf uninstall-filedup-conf
install-filedup-conf:
	$(MKDIR_P) "$(DESTDIR)$(filedupconfdir)/entries.d"
	$(INSTALL_DATA) $(srcdir)/etc/entries.d/README "$(DESTDIR)$(filedupconfdir)/entries.d/README"
	test -e "$(DESTDIR)$(filedupconfdir)/filedupd.conf" || \
	  $(INSTALL_DATA) $(srcdir)/etc/filedupd.conf "$(DESTDIR)$(filedupconfdir)/filedupd.conf"

uninstall-filedup-conf:
	rm -f "$(DESTDIR)$(filedupconfdir)/entries.d/README"
	! cmp -s $(srcdir)/etc/filedupd.conf "$(DESTDIR)$(filedupconfdir)/filedupd.conf" || \
	  rm -f "$(DESTDIR)$(filedupconfdir)/filedupd.conf"
	-rmdir "$(DESTDIR)$(filedupconfdir)/entries.d" "$(DESTDIR)$(filedupconfdir)" 2>/dev/null
