#pragma once

/* Catalog: what is in the mirrors and in the history, as of `applied`. */

#include <glib.h>

#include "store/pack.h"
#include "store/view.h"

G_BEGIN_DECLS

#define CATALOG_FORMAT 2
#define CATALOG_NAME   "catalog.db"

typedef struct Catalog Catalog;

typedef struct CatalogState {
    guint64  applied;  /* all transactions up to here are in the rows */
    guint64  last_seq; /* the highest sequence in any row             */
    guint64  last_file;
    gint64   last_time_usec;
    guint32  incarnation;
    gboolean clean; /* stopped in order, with nothing pending */
    gboolean lost;  /* a content had to be given up (catalog_set_lost) */
    gint64   boot_usec; /* when KEPT_BOOT was last given (catalog_set_open); 0: never */
} CatalogState;

/* The keeper's: `create` makes the tables in a new file; without it the file must be there. One of
 * format 1 is migrated. */
Catalog *catalog_open(const char *path, gboolean create, GError **error);

/* A scratch copy of a store that may be foreign: no rows are written, nothing in it is trusted (one
 * of format 1 is migrated: it is a copy). */
Catalog *catalog_open_foreign(const char *path, GError **error);
void     catalog_close(Catalog *c);
G_DEFINE_AUTOPTR_CLEANUP_FUNC(Catalog, catalog_close)

gboolean catalog_state(Catalog *c, CatalogState *ret_state, GError **error);

/* clean = 0. If the last opening had no orderly end, and another boot (layout_boot_id), contents up
 * to last_seq are KEPT_BOOT when they are superseded. */
gboolean catalog_set_open(Catalog *c, guint32 incarnation, const char *boot_id, guint64 last_seq,
                          GError **error);
gboolean catalog_set_incarnation(Catalog *c, guint32 incarnation, GError **error); /* that alone */
gboolean catalog_set_clean(Catalog *c, guint64 applied, GError **error);

/* For the next opening to say that there was damage; only catalog_set_open clears it. */
gboolean catalog_set_lost(Catalog *c, GError **error);

/* Made anew by rebuild.c: as set_lost; and contents up to last_seq are KEPT_BOOT when they are
 * superseded. */
gboolean catalog_set_rebuilt(Catalog *c, guint64 applied, guint32 incarnation, guint64 last_seq,
                             GError **error);

typedef enum {
    CATALOG_NEWEST, /* current and the points that a fold can touch (the chain's newest, with undo) */
    CATALOG_POINTS, /* all points, without undo                                                     */
    CATALOG_UNDO,   /* all points, with undo: to read a point, to thin                              */
} CatalogLoad;

/* What the rows say of a path; view->id is 0 if they do not know it. */
FileView *catalog_load(Catalog *c, const char *path, CatalogLoad how, GError **error);
FileView *catalog_load_file(Catalog *c, guint64 file, CatalogLoad how, GError **error);

/* One transaction of all that a batch, thinning, forgetting or compaction changes. */
typedef struct CatalogPack {
    guint64 id, length_bytes;
    guint64 added_bytes; /* of content, that this change saved in it (packs_add)              */
} CatalogPack;
typedef struct CatalogChange {
    GPtrArray *views;    /* FileView: their rows: file, sums that are set, points that are fresh,
                            minus dropped points; NULL: none                                   */
    GPtrArray *prepared; /* FooterFile of files that could not be finished: kept for their redo;
                            NULL: none. Saving the view of a file ends it.                     */
    GArray    *packs;    /* CatalogPack: as they are now (packs_changed); NULL: none           */
    GArray    *removed_packs; /* guint64: given up, their length is 0 from now on (pack.h)     */
    GArray    *gone_packs;    /* guint64: removed, their rows go; NULL: none                   */
    GArray    *forgotten;     /* guint64 files: all rows of them go; NULL: none                */
    guint64    applied;       /* 0: as it is                                                   */
} CatalogChange;
gboolean catalog_save(Catalog *c, const CatalogChange *change, GError **error);

GBytes   *catalog_sums(Catalog *c, guint64 file, GError **error); /* of the mirror */
GBytes   *catalog_point_sums(Catalog *c, guint64 file, guint64 point, GError **error); /* of a whole
                                            one; empty for a point that is not one */
GPtrArray *catalog_paths(Catalog *c, GError **error); /* of char *, sorted bytewise */

typedef struct CatalogTotals {
    guint64 files, mirror_bytes; /* contents in mirrors                              */
    guint64 points;              /* without the current ones                         */
    guint64 history_bytes;       /* packs, and whole files by their sizes            */
} CatalogTotals;
gboolean catalog_totals(Catalog *c, CatalogTotals *ret_totals, GError **error);

/* ---- policy and suspicion ---- */

/* How a path's points are thinned. Saved with the next change (it is said anew at every start), and
 * seen by catalog_load at once. */
void catalog_set_policy(Catalog *c, const char *path, const char *keep, guint32 keep_last);

/* The suspicious change was wanted: one transaction, durable. Nothing of the file may be pending. */
gboolean catalog_approve(Catalog *c, guint64 file, GError **error);

/* ---- for thinning and compaction ---- */

typedef struct CatalogFile {
    guint64 id;
    char   *path;
    guint   n_points; /* without the current content */
} CatalogFile;
void catalog_file_free(CatalogFile *f);
G_DEFINE_AUTOPTR_CLEANUP_FUNC(CatalogFile, catalog_file_free)

/* Files with at least one point besides the current content, by id, above `after`, at most `max`. */
GPtrArray *catalog_files_with_points(Catalog *c, guint64 after, guint max, GError **error);

typedef struct CatalogPackUse {
    guint64  id, length_bytes;
    guint64  saved_bytes; /* of content, ever                                                   */
    guint64  live_bytes;  /* of these, how many some point uses                                 */
    gboolean held;        /* an unfinished apply uses it: neither compact nor remove it         */
} CatalogPackUse;
GArray *catalog_packs(Catalog *c, GError **error); /* of CatalogPackUse, by id; length 0: given up */

typedef struct CatalogUser {
    guint64 file, point;
} CatalogUser;
gboolean catalog_pack_length(Catalog *c, guint64 pack, guint64 *ret_bytes, GError **error); /* 0: none */
GArray *catalog_pack_users(Catalog *c, guint64 pack, GError **error); /* of CatalogUser, by file */

/* Whether any point starts from that whole file. */
gboolean catalog_uses_whole(Catalog *c, guint64 file, guint64 whole, gboolean *ret_used,
                            GError **error);

/* What is kept for the redo of a file's apply (CatalogChange.prepared); NULL without an error: nothing. */
gboolean    catalog_has_prepared(const Catalog *c);
FooterFile *catalog_prepared(Catalog *c, guint64 file, GError **error);

G_END_DECLS
