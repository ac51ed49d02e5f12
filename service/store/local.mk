noinst_LIBRARIES += libstore.a
libstore_a_SOURCES = \
	service/store/answer.c \
	service/store/apply.c service/store/apply.h \
	service/store/applying.c service/store/applying.h \
	service/store/catalog.c service/store/catalog.h \
	service/store/catalog_copy.c service/store/catalog_copy.h \
	service/store/catalog_load.c service/store/catalog_private.h \
	service/store/catalog_save.c \
	service/store/catalog_thin.c service/store/catalog_thin.h \
	service/store/check.c service/store/check.h \
	service/store/checking.c \
	service/store/compact.c service/store/compact.h \
	service/store/difference.c service/store/difference.h \
	service/store/doomed.c service/store/doomed.h \
	service/store/draining.c \
	service/store/footer.c service/store/footer.h \
	service/store/forget.c service/store/forget.h \
	service/store/frame.c service/store/frame.h \
	service/store/image.c service/store/image.h \
	service/store/intake.c service/store/intake.h \
	service/store/inventory.c service/store/inventory.h \
	service/store/journal.c service/store/journal.h \
	service/store/keeper.c service/store/keeper.h \
	service/store/layout.c service/store/layout.h \
	service/store/loan.c service/store/loan.h \
	service/store/mark.c \
	service/store/mirror.c service/store/mirror.h \
	service/store/newest.c \
	service/store/pack.c service/store/pack.h \
	service/store/pack_open.c service/store/pack_private.h \
	service/store/packfile.c service/store/packfile.h \
	service/store/packreader.c service/store/packreader.h \
	service/store/packwalk.c \
	service/store/patch.c service/store/patch.h \
	service/store/pending.c service/store/pending.h \
	service/store/point.c service/store/point.h \
	service/store/reader.c service/store/reader.h \
	service/store/rebuild.c service/store/rebuild.h \
	service/store/rebuild_file.c service/store/rebuild_file.h \
	service/store/record.c service/store/record.h \
	service/store/request.c \
	service/store/retention.c service/store/retention.h \
	service/store/room.c \
	service/store/scan.c service/store/scan.h \
	service/store/segment.c service/store/segment.h \
	service/store/space.c \
	service/store/staged.c service/store/staged.h \
	service/store/store.c \
	service/store/supply.c \
	service/store/suspect.c \
	service/store/suspicion.c service/store/suspicion.h \
	service/store/thin.c service/store/thin.h \
	service/store/thin_private.h service/store/thin_space.c \
	service/store/thin_sweep.c \
	service/store/transaction.c service/store/transaction.h \
	service/store/trouble.c service/store/trouble.h \
	service/store/undo.c service/store/undo.h \
	service/store/upkeep.c service/store/upkeep.h \
	service/store/verify.c service/store/verify.h \
	service/store/view.c service/store/view.h \
	service/store/words.c service/store/words.h \
	service/store/work.c service/store/work.h \
	service/store/worker.c service/store/worker.h
