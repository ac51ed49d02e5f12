noinst_LIBRARIES += libcopy.a
libcopy_a_SOURCES = \
	service/copy/attributes.c service/copy/attributes.h \
	service/copy/capture.c service/copy/capture.h \
	service/copy/content.c service/copy/content.h \
	service/copy/copier.c \
	service/copy/delta.c service/copy/delta.h \
	service/copy/inspect.c service/copy/inspect.h \
	service/copy/leftover.c service/copy/leftover.h \
	service/copy/ranges.c service/copy/ranges.h \
	service/copy/reading.c service/copy/reading.h \
	service/copy/restore.c service/copy/restore.h \
	service/copy/sink.c service/copy/sink.h \
	service/copy/source.c service/copy/source.h \
	service/copy/stable.c service/copy/stable.h \
	service/copy/stage.c service/copy/stage.h
