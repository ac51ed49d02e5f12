# The command line: main.c over libcli, which the tests link too.

noinst_LIBRARIES += libcli.a
libcli_a_SOURCES = \
	cli/backups.c cli/backups.h \
	cli/client.c cli/client.h \
	cli/compare.c cli/compare.h \
	cli/dict.h \
	cli/extract.c cli/extract.h \
	cli/finding.c cli/finding.h \
	cli/inquiry.c cli/inquiry.h \
	cli/kernel.c cli/kernel.h \
	cli/offline-restore.c \
	cli/offline.c cli/offline.h \
	cli/operand.c cli/operand.h \
	cli/option-table.c cli/option-table.h \
	cli/option-text.c \
	cli/option.c cli/option.h \
	cli/output.c cli/output.h \
	cli/parser.c cli/parser.h \
	cli/points.c cli/points.h \
	cli/report.c cli/report.h \
	cli/restored.c cli/restored.h \
	cli/time-parse.c \
	cli/time.c cli/time.h \
	cli/verb-cat.c \
	cli/verb-diff.c \
	cli/verb-doctor.c \
	cli/verb-entry.c \
	cli/verb-history.c \
	cli/verb-log.c \
	cli/verb-restore.c \
	cli/verb-status.c \
	cli/verb-store-check.c \
	cli/verb-store.c \
	cli/verb-sync.c \
	cli/verb-verify.c \
	cli/verb.h \
	cli/when.c cli/when.h

# BUILT_SOURCES come first in `make all` only.
$(libcli_a_OBJECTS): service/daemon/manager1.h

bin_PROGRAMS += filedup
filedup_SOURCES = cli/main.c
filedup_LDADD = libcli.a libcontrol.a libstore.a libcopy.a libbase.a $(DEPS_LIBS)

# bash looks for a completion by the command's name.
bashcompletiondir = $(datadir)/bash-completion/completions
bashcompletion_DATA = cli/filedup.bash
cli/filedup.bash: cli/completion.bash
	$(AM_V_GEN)$(MKDIR_P) cli && cp $(srcdir)/cli/completion.bash $@
CLEANFILES += cli/filedup.bash
EXTRA_DIST += cli/completion.bash

dist_man_MANS += doc/filedup.1
