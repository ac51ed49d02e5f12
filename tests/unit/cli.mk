UNIT_TESTS += unit-backups unit-compare unit-operand unit-option unit-output unit-parser unit-restored unit-time unit-when
CLI_LIBS = libunit.a libcli.a libcontrol.a libbase.a $(UNIT_LIBS)

unit_backups_SOURCES = tests/unit/backups.c tests/unit/fakestore.c tests/unit/fakestore.h
unit_backups_CFLAGS = $(UNIT_CFLAGS)
unit_backups_LDADD = $(CLI_LIBS)

unit_compare_SOURCES = tests/unit/compare.c
unit_compare_CFLAGS = $(UNIT_CFLAGS)
unit_compare_LDADD = $(CLI_LIBS)

unit_operand_SOURCES = tests/unit/operand.c
unit_operand_CFLAGS = $(UNIT_CFLAGS)
unit_operand_LDADD = $(CLI_LIBS)

# Reads the man page.
unit_option_SOURCES = tests/unit/option.c
unit_option_CFLAGS = $(UNIT_CFLAGS) -DSOURCE_FOLDER=\"$(abs_top_srcdir)\"
unit_option_LDADD = $(CLI_LIBS)

unit_output_SOURCES = tests/unit/output.c
unit_output_CFLAGS = $(UNIT_CFLAGS)
unit_output_LDADD = $(CLI_LIBS)

unit_parser_SOURCES = tests/unit/parser.c tests/unit/fakestore.c tests/unit/fakestore.h
unit_parser_CFLAGS = $(UNIT_CFLAGS)
unit_parser_LDADD = $(CLI_LIBS)

unit_restored_SOURCES = tests/unit/restored.c
unit_restored_CFLAGS = $(UNIT_CFLAGS)
unit_restored_LDADD = $(CLI_LIBS)

unit_time_SOURCES = tests/unit/time.c
unit_time_CFLAGS = $(UNIT_CFLAGS)
unit_time_LDADD = $(CLI_LIBS)

unit_when_SOURCES = tests/unit/when.c
unit_when_CFLAGS = $(UNIT_CFLAGS)
unit_when_LDADD = $(CLI_LIBS)
