#pragma once

/* Stable: can somebody still write this file, and who? */

#include <glib.h>

G_BEGIN_DECLS

typedef enum {
    PROBE_FREE,    /* nobody has it open for writing, nor mapped shared and writable */
    PROBE_WRITER,  /* somebody has                                                   */
    PROBE_UNKNOWN, /* no leases here (NFS, FUSE), or not ours to ask                 */
} Probe;

/* A read lease, taken and given up at once: `fd` must be open read-only, and be the only descriptor
 * of ours that could write. Never held. */
Probe stable_probe(int fd);

/* "sqlite3 (4711)", from what /proc shows this process; NULL if nobody is found. Only descriptors
 * open for writing (and shared writable mappings) of that inode count; our own process does not. */
char *stable_find_writer(int fd);

/* The same for whoever has it open at all, or mapped. */
char *stable_find_user(int fd);

G_END_DECLS
