/* suspect.c - a capture that is taken in, and what speaks against it (suspicion.c)
 *
 * The bytes before are read from wherever the newest content is. It is part of taking in, and so it
 * costs time only where sizes and sums say that the bytes are worth a look.
 */

#include "config.h"

#include <string.h>

#include "store/image.h"
#include "store/intake.h"
#include "store/suspicion.h"

/* What SuspicionRead needs. */
typedef struct OldBytes {
    Keeper *k;
    Image *image;
} OldBytes;

static gboolean
read_old(gpointer data, void *buffer, gsize n, guint64 offset)
{
    const OldBytes *old = data;

    return image_read(old->image, old->k->store.packs, offset, buffer, n, NULL);
}

typedef struct NewBytes {
    const Intake *in;
    int staged; /* -1: it is in memory */
} NewBytes;

static gboolean
read_new(gpointer data, void *buffer, gsize n, guint64 offset)
{
    const NewBytes *new = data;
    const guint8 *content = new->in->content ? g_bytes_get_data(new->in->content, NULL) : NULL;

    if (new->staged >= 0)
        return fd_pread_full(new->staged, buffer, n, (goffset) offset);
    if (!new->in->ranges) {
        memcpy(buffer, content + offset, n);
        return TRUE;
    }
    for (guint i = 0; i < new->in->ranges->len; i++) {
        const Range *r = &g_array_index(new->in->ranges, Range, i);
        if (offset >= r->offset && offset + n <= r->offset + r->length) {
            if (r->zeros)
                memset(buffer, 0, n);
            else
                memcpy(buffer, content + (offset - r->offset), n);
            return TRUE;
        }
        content += r->zeros ? 0 : r->length;
    }
    return FALSE;
}

/* Whatever cannot be found out raises no suspicion: the capture itself is good. */
static guint32
suspect_bytes(Keeper *k, const Intake *in)
{
    const Capture *c = &in->capture;
    g_auto(Newest) newest = {0};

    if (!intake_newest(k, c->path, &newest, NULL) ||
        !suspicion_is_rewritten(newest.sums, newest.size_bytes, in->sums, c->size_bytes))
        return 0;
    g_autoptr(FileView) v = store_view(&k->store, c->path, CATALOG_NEWEST, NULL);
    g_autoptr(Image) image =
        v && v->current ? image_of(k->store.layout->root, v, v->current, NULL) : NULL;
    const Staged *staged =
        c->kind == APPEND_STAGED ? g_hash_table_lookup(k->staged, &c->staged) : NULL;
    OldBytes old = {.k = k, .image = image};
    NewBytes new = {.in = in, .staged = staged ? staged->own : -1};
    if (!image || image_bytes(image) != newest.size_bytes)
        return 0;
    return suspicion_of_bytes(newest.sums, newest.size_bytes, read_old, &old, in->sums,
                              c->size_bytes, read_new, &new);
}

/* A file found empty while it was being written is compared with what was before that, once it stands
 * still. What is suspected already is not looked for again: it stands until somebody approves. */
void
suspect(Keeper *k, Intake *in, const Head *head)
{
    Capture *c = &in->capture;

    guint64 before = head->size_bytes ? head->size_bytes : head->emptied_bytes;

    if (head->content == 0 || c->cause == CAUSE_BEFORE_RESTORE)
        return;
    if (c->kind == APPEND_ATTRIBUTES && head->size_bytes == 0) /* empty, and it stands still */
        c->suspicion = suspicion_of_sizes(before, 0, c->quality);
    else if (capture_has_content(c))
        c->suspicion = suspicion_of_sizes(before, c->size_bytes, c->quality);
    if (capture_has_content(c) && !(head->suspicion & SUSPICION_ENCRYPTED) &&
        suspicion_is_large(head->size_bytes, c->size_bytes))
        c->suspicion |= suspect_bytes(k, in);
    c->suspicion &= ~head->suspicion;
}
