noinst_LIBRARIES += libcopy.a
libcopy_a_SOURCES = \
	service/copy/attributes.c service/copy/attributes.h \
	service/copy/stage.c service/copy/stage.h
