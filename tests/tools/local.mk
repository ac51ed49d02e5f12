# Programs that tests drive. hangfs: a file system that hangs, or has bad blocks, when told to.

if HAVE_FUSE
check_PROGRAMS += hangfs
hangfs_SOURCES = tests/tools/hangfs.c
hangfs_CFLAGS = $(AM_CFLAGS) $(FUSE_CFLAGS)
hangfs_LDADD = $(FUSE_LIBS) $(DEPS_LIBS)
endif
