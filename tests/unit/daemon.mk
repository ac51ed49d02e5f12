UNIT_TESTS += unit-table
unit_table_SOURCES = tests/unit/table.c
unit_table_CFLAGS = $(UNIT_CFLAGS)
unit_table_LDADD = libunit.a libdaemon.a libcontrol.a libbase.a $(UNIT_LIBS)
