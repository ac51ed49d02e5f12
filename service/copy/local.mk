noinst_LIBRARIES += libcopy.a
libcopy_a_SOURCES =
