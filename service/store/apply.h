#pragma once

/* Apply: pending transactions become mirrors, points and catalog rows, batch by batch. */

#include <glib.h>

#include "store/catalog.h"
#include "store/footer.h"
#include "store/journal.h"
#include "store/layout.h"
#include "store/pack.h"

G_BEGIN_DECLS

#define APPLY_BATCH_FILES 256
#define APPLY_BATCH_BYTES (G_GUINT64_CONSTANT(64) * 1024 * 1024)

typedef struct Store {
    Layout  *layout;
    Catalog *catalog;
    Journal *journal;
    Pending *pending;
    Packs   *packs;
    GHashTable *mixed;   /* names of mirrors that may be in the middle of an update */
    Footer  *unfinished; /* of a prepared batch that the catalog has not: it is done first */
    gboolean pack_missing; /* one that the catalog names: what others hold may be a copy of it */
} Store;

/* After layout, catalog and journal (which fills `pending`), before anything is accepted: opens the
 * packs, and finishes what a crash left prepared. (What it left over is thin_sweep's.) *ret_note
 * (NULL: none) for the operator; *ret_damage: something durable was lost, as the note says. */
gboolean store_recover(Store *s, char **ret_note, gboolean *ret_damage, GError **error);
void     store_clear(Store *s); /* closes all that is open */

/* What the store has of a path, pending transactions included. */
FileView *store_view(const Store *s, const char *path, CatalogLoad how, GError **error);

/* Told of each path of a batch. error NULL: nothing of it is pending any more. `given_up`: a content
 * of it turned out not to be what was captured (DAMAGED), and is not pending any more either. Any
 * other error concerns this file alone; it is still pending. */
typedef void (*AppliedFunc)(const char *path, const GError *error, gboolean given_up,
                            gpointer data);

/* Applies all that is pending of these paths (char *). FALSE: FATAL is the catalog's or the packs'
 * (the keeper ends), AGAIN means no space: nothing was lost, and it can be done again. */
gboolean apply_batch(Store *s, const GPtrArray *paths, AppliedFunc told, gpointer data,
                     GError **error);

/* The paths of the next batch: the oldest ones, but these keys (NULL: all), within the limits. Empty:
 * there are none. */
GPtrArray *apply_choose(const Store *s, GHashTable *but);

/* One path alone. FALSE with an error: FATAL is the catalog's; any other concerns this file alone,
 * and it can be done again, unless nothing is pending of the path any more: then its content had to
 * be given up (DAMAGED). */
gboolean apply_file(Store *s, const char *path, GError **error);

/* The sums of a content that is a whole file (mirror, staged, in the journal, whole in history). For
 * others they come from image_build. */
GBytes *store_sums(Catalog *catalog, int staged_fd, const FileView *v, const Point *p,
                   GError **error);

/* journal_compact, and the catalog learns of it: a journal from before is not taken for this one. */
JournalRoom store_compact_journal(Store *s, GError **error);

/* It is a file as it is: mirror_open and store_sums have it, no image need be built. */
gboolean store_is_plain(const FileView *v, const Point *p);

G_END_DECLS
