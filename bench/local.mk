# `make bench` measures, prints a table, and keeps it in bench/results (see bench/README.md).

EXTRA_DIST += \
	bench/README.md \
	bench/close_to_durable.py \
	bench/delta.py \
	bench/first_backup.py \
	bench/harness.py \
	bench/history.py \
	bench/results/foundation.md bench/results/store.md \
	bench/run \
	bench/verify.py

EXTRA_PROGRAMS = bench/durable-listener
CLEANFILES += bench/durable-listener
bench_durable_listener_SOURCES = bench/durable-listener.c
bench_durable_listener_LDADD = $(DEPS_LIBS)

BENCH_FLAGS =

.PHONY: bench
bench: all bench/durable-listener
	$(srcdir)/bench/run --bindir $(abs_builddir) --results $(srcdir)/bench/results $(BENCH_FLAGS)
