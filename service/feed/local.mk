noinst_LIBRARIES += libfeed.a
libfeed_a_SOURCES = \
	service/feed/folder.c service/feed/folder.h \
	service/feed/folders.c service/feed/folders.h \
	service/feed/inotify.c service/feed/inotify.h \
	service/feed/watch.c service/feed/watch.h \
	service/feed/watcher.c
