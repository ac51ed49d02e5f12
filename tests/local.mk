# Layer 1: nouns, in CUnit. The other layers are scripts that drive the real daemon (tests/run).

if HAVE_CUNIT
noinst_LIBRARIES += libunit.a
libunit_a_SOURCES = tests/unit/unit.c tests/unit/unit.h
libunit_a_CFLAGS = $(AM_CFLAGS) $(CUNIT_CFLAGS)
UNIT_CFLAGS = $(AM_CFLAGS) $(CUNIT_CFLAGS)
UNIT_LIBS = $(DEPS_LIBS) $(CUNIT_LIBS)
# (not UNIT_PROGRAMS: automake takes that ending for a list of programs to install)
UNIT_TESTS =
include tests/unit/base.mk
include tests/unit/cli.mk
include tests/unit/copy.mk
include tests/unit/daemon.mk
include tests/unit/feed.mk
include tests/unit/proof.mk
include tests/unit/store.mk
check_PROGRAMS += $(UNIT_TESTS)
TESTS += $(UNIT_TESTS)
endif

include tests/tools/local.mk

EXTRA_DIST += tests/run tests/lib.sh tests/data tests/daemon tests/fault tests/hostile tests/scenario
