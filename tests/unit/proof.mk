# What proves that the store loses nothing: kills, power cuts, a long random life. See each .c.
UNIT_TESTS += unit-crash unit-crash-restore unit-model unit-replay
check_PROGRAMS += powercut
INTERPOSER = \
	tests/tools/interpose-inside.h \
	tests/tools/interpose.c tests/tools/interpose.h \
	tests/tools/interposed-files.c tests/tools/interposed-names.c tests/tools/interposed-time.c \
	tests/tools/oplog.h
PROOF_KIT = $(INTERPOSER) \
	tests/tools/systrace.c tests/tools/systrace.h \
	tests/unit/account.c \
	tests/unit/found.c \
	tests/unit/proof-check.c tests/unit/proof-inside.h \
	tests/unit/proof-operations.c \
	tests/unit/proofkit.c tests/unit/proofkit.h \
	tests/unit/workload.c tests/unit/workload.h
PROOF_LDADD = libstore.a libcopy.a libbase.a
unit_crash_SOURCES = tests/unit/crash.c $(PROOF_KIT)
unit_crash_CFLAGS = $(UNIT_CFLAGS)
unit_crash_LDADD = libunit.a $(PROOF_LDADD) $(UNIT_LIBS)
unit_crash_restore_SOURCES = tests/unit/crash-restore.c $(INTERPOSER)
unit_crash_restore_CFLAGS = $(UNIT_CFLAGS)
unit_crash_restore_LDADD = libunit.a libcopy.a libbase.a $(UNIT_LIBS)
unit_model_SOURCES = tests/unit/life.c tests/unit/life.h tests/unit/model.c $(PROOF_KIT)
unit_model_CFLAGS = $(UNIT_CFLAGS)
unit_model_LDADD = libunit.a $(PROOF_LDADD) $(UNIT_LIBS)
unit_replay_SOURCES = tests/tools/disk.c tests/tools/disk.h tests/unit/replay.c $(PROOF_KIT)
unit_replay_CFLAGS = $(UNIT_CFLAGS)
unit_replay_LDADD = libunit.a $(PROOF_LDADD) $(UNIT_LIBS)
powercut_SOURCES = tests/tools/powercut.c tests/unit/life.c tests/unit/life.h $(PROOF_KIT)
powercut_LDADD = $(PROOF_LDADD) $(DEPS_LIBS)
