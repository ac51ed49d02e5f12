noinst_LIBRARIES += libbase.a
libbase_a_SOURCES = \
	service/base/crash.c service/base/crash.h \
	service/base/error.c service/base/error.h \
	service/base/fd.c service/base/fd.h \
	service/base/filestat.c service/base/filestat.h \
	service/base/message.c service/base/message.h \
	service/base/path.c service/base/path.h \
	service/base/principal.c service/base/principal.h \
	service/base/role.c service/base/role.h \
	service/base/sums.c service/base/sums.h
