UNIT_TESTS += unit-inotify unit-watch unit-watcher

unit_inotify_SOURCES = tests/unit/inotify.c
unit_inotify_CFLAGS = $(UNIT_CFLAGS)
unit_inotify_LDADD = libunit.a libfeed.a libbase.a $(UNIT_LIBS) $(INOTIFYTOOLS_LIBS)

unit_watch_SOURCES = tests/unit/watch.c
unit_watch_CFLAGS = $(UNIT_CFLAGS)
unit_watch_LDADD = libunit.a libfeed.a libbase.a $(UNIT_LIBS) $(INOTIFYTOOLS_LIBS)

unit_watcher_SOURCES = tests/unit/watcher.c
unit_watcher_CFLAGS = $(UNIT_CFLAGS)
unit_watcher_LDADD = libunit.a libfeed.a libbase.a $(UNIT_LIBS) $(INOTIFYTOOLS_LIBS)
