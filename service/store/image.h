#pragma once

/* Image: of what a content is put together: pieces of the mirror or a whole file, of packs, of the
 * journal. A plan: it has descriptors of its own, and no catalog, so it can be used in another
 * thread while its maker goes on.
 *
 * While it is used: the mirror is not applied to, no pack is removed, the journal is not compacted
 * (then reading says DAMAGED, never something wrong: a new image is made and all is well). */

#include <glib.h>

#include "store/pack.h"
#include "store/view.h"

G_BEGIN_DECLS

typedef struct Image Image;

/* Of a content of the view (for a point that starts from newer ones: loaded with CATALOG_UNDO).
 * Opens what it needs. DAMAGED: something is not there. */
Image *image_of(int root_fd, const FileView *v, const Point *p, GError **error);
/* Of the mirror as the catalog knows it. */
Image *image_of_mirror(int root_fd, const FileView *v, GError **error);
void   image_free(Image *i);
G_DEFINE_AUTOPTR_CLEANUP_FUNC(Image, image_free)

guint64  image_bytes(const Image *i);
gboolean image_needs_packs(const Image *i);

/* Bytes that could not be saved at the time: Range (message.h). */
GArray *image_bad_ranges(const Image *i);

/* [offset, offset + n) of the content; n lies within. `packs` of this thread (NULL if it needs
 * none). Bad pieces are zeros; DAMAGED: something is not what was written, or cannot be read. */
gboolean image_read(Image *i, Packs *packs, guint64 offset, void *buffer, gsize n, GError **error);

/* Where the two are not put together of the same: Range, ascending, up to the larger size. */
GArray *image_differences(const Image *a, const Image *b);

/* Writes what is not the base file's own at its own place into `fd`, which has these bytes already
 * (or, not `over_base`, is empty), and gives it the size. Can be done again. Without packs. */
gboolean image_write(Image *i, int fd, gboolean over_base, GError **error);

/* The file that it starts from, to be cloned; -1: none. */
int image_base_fd(const Image *i);

/* Bytes done so far; FALSE: stop. */
typedef gboolean (*ImageProgress)(guint64 done_bytes, gpointer data);

/* Builds it in the empty file `fd` (open for reading and writing; zeros become holes; cloned where
 * the file system can), with *ret_sums (may be NULL), and checks it against `hash`. DAMAGED: it is
 * not; then, if there are bad ranges, the error names them, and the file has zeros there, and all
 * else. AGAIN: `progress` (NULL: none) said stop. */
gboolean image_build(Image *i, Packs *packs, int fd, const guint8 hash[HASH_BYTES],
                     ImageProgress progress, gpointer data, GBytes **ret_sums, GError **error);

/* Its sums, read; NULL with an error. */
GBytes *image_sums(Image *i, Packs *packs, GError **error);

/* The same as image_build, read and checked only (verify). */
gboolean image_check(Image *i, Packs *packs, const guint8 hash[HASH_BYTES], ImageProgress progress,
                     gpointer data, GError **error);

G_END_DECLS
