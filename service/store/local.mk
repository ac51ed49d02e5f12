noinst_LIBRARIES += libstore.a
libstore_a_SOURCES = \
	service/store/answer.c \
	service/store/apply.c service/store/apply.h \
	service/store/catalog.c service/store/catalog.h \
	service/store/journal.c service/store/journal.h \
	service/store/intake.c \
	service/store/keeper.c service/store/keeper.h \
	service/store/layout.c service/store/layout.h \
	service/store/mirror.c service/store/mirror.h \
	service/store/pending.c service/store/pending.h \
	service/store/point.c service/store/point.h \
	service/store/reader.c service/store/reader.h \
	service/store/record.c service/store/record.h \
	service/store/scan.c service/store/scan.h \
	service/store/segment.c service/store/segment.h \
	service/store/staged.c service/store/staged.h \
	service/store/transaction.c service/store/transaction.h \
	service/store/view.c service/store/view.h
