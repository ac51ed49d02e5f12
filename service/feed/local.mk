noinst_LIBRARIES += libfeed.a
libfeed_a_SOURCES =
