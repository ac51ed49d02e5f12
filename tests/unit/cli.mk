UNIT_TESTS += unit-operand unit-option unit-output unit-restored unit-time
CLI_LIBS = libunit.a libcli.a libcontrol.a libbase.a $(UNIT_LIBS)

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

unit_restored_SOURCES = tests/unit/restored.c
unit_restored_CFLAGS = $(UNIT_CFLAGS)
unit_restored_LDADD = $(CLI_LIBS)

unit_time_SOURCES = tests/unit/time.c
unit_time_CFLAGS = $(UNIT_CFLAGS)
unit_time_LDADD = $(CLI_LIBS)
