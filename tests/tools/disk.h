#pragma once

/* Disk: from a log of what was done to files (oplog.h), the states in which a power cut may leave
 * them. */

#include <glib.h>

#include "tests/tools/interpose.h"

typedef struct Disk Disk;

/* Reads the log; `root_ino` is the folder that was empty when the log began. */
Disk *disk_new(const Interpose *ip, guint64 root_ino);
void disk_free(Disk *d);
G_DEFINE_AUTOPTR_CLEANUP_FUNC(Disk, disk_free)

guint disk_steps(const Disk *d);
guint64 disk_position(const Disk *d, guint step); /* in the log: all before it has been done */

/* Position of the message that this process (from 1) sent as its nth (from 1); G_MAXUINT64: none. */
guint64 disk_sent_at(const Disk *d, guint process, guint64 number);

/* The places in the program that sync, told apart by what they sync. */
guint disk_sites(const Disk *d);
const char *disk_site_name(const Disk *d, guint site);
guint disk_site_uses(const Disk *d, guint site);
/* The step of one of its uses. */
guint disk_site_step(const Disk *d, guint site, guint use);

#define DISK_NO_SITE G_MAXUINT

typedef enum {
    DISK_RANDOM,   /* what was not synced: each block, each folder by itself */
    DISK_NOTHING,  /* nothing of it is there                                 */
    DISK_ALL,      /* all of it, as after a kill                             */
    DISK_NAMES,    /* names are there, contents are not                      */
    DISK_CONTENTS, /* the reverse                                            */
    DISK_MODES,
} DiskMode;

/* Makes one of the permitted states in `folder`, which is made. The syncs of `ignored` count for
 * nothing. Unsynced blocks are of block_bytes. */
void disk_build(const Disk *d, guint step, DiskMode mode, guint ignored, gsize block_bytes,
                GRand *rand, const char *folder);
