/* pack_open.c - finding out which packs and batches there are
 *
 * The catalog names the packs and their lengths. What the folder has besides is a batch that was
 * prepared, and whose catalog transaction did not come to be, or the rest of one that was not: the
 * invariants (3) to (6) of pack.c say what becomes of it.
 *
 *   the catalog   the file                      becomes
 *   a length      that long                     as it is
 *                 longer, whole batches there   those are recovered, what follows is cut off
 *                 longer, unreadable there      sealed, noted
 *                 shorter, damaged, missing     sealed, noted
 *   0 (given up)  there                         removed
 *   -             whole batches                 recovered
 *                 none, or blank                removed
 *                 not ours, damaged, unreadable left alone, noted
 */

#include "config.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/crash.h"
#include "base/error.h"
#include "store/pack_private.h"

static gint
by_id(gconstpointer a, gconstpointer b)
{
    const PackInfo *x = a, *y = b;

    return x->id < y->id ? -1 : x->id > y->id;
}

static GArray *
list_files(int folder, GError **error)
{
    int fd = openat(folder, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    DIR *dir = fd < 0 ? NULL : fdopendir(fd);
    const struct dirent *d;
    PackInfo info;
    struct stat st;

    if (!dir) {
        throw_errno(error, "listing the packs");
        fd_clear(fd);
        return NULL;
    }
    g_autoptr(GArray) list = g_array_new(FALSE, FALSE, sizeof(PackInfo));
    while ((void) (errno = 0), (d = readdir(dir)) != NULL) {
        if (!packfile_parse_name(d->d_name, &info.id))
            continue;
        if (fstatat(folder, d->d_name, &st, AT_SYMLINK_NOFOLLOW) < 0)
            st.st_size = 0;
        info.length_bytes = (guint64) st.st_size;
        g_array_append_val(list, info);
    }
    int errnum = errno;
    (void) closedir(dir);
    if (errnum != 0) { /* half a list would have us use an id twice */
        errno = errnum;
        throw_errno(error, "listing the packs");
        return NULL;
    }
    g_array_sort(list, by_id);
    return g_steal_pointer(&list);
}

GArray *
packs_list(Packs *p)
{
    GArray *list = list_files(p->folder, NULL);

    return list ? list : g_array_new(FALSE, FALSE, sizeof(PackInfo));
}

typedef struct Opening {
    Packs *p;
    GString *note;
    gboolean sync_folder;
} Opening;

static void G_GNUC_PRINTF(3, 4) note(Opening *o, guint64 id, const char *format, ...)
{
    va_list args;

    if (!o->note)
        return;
    va_start(args, format);
    g_string_append_printf(o->note, "%spack %" G_GUINT64_FORMAT " ", o->note->len ? "; " : "", id);
    g_string_append_vprintf(o->note, format, args);
    va_end(args);
}

static void
take_footer(guint64 pack, GBytes *footer, gpointer data)
{
    Packs *p = data;

    (void) pack;
    g_ptr_array_add(p->recovered, g_bytes_ref(footer));
}

/* Invariants 3 and 4: `good` bytes stay. */
static gboolean
settle(Opening *o, const PackFile *f, guint64 good, GError **error)
{
    if (!o->p->writable)
        return TRUE;
    if (packfile_size(f) > good && ftruncate(f->fd, (off_t) good) < 0)
        return throw_errno(error, "cutting pack %" G_GUINT64_FORMAT, f->id);
    crash_point("pack-cut");
    if (fsync(f->fd) < 0)
        return throw_errno(error, "fsync of pack %" G_GUINT64_FORMAT, f->id);
    o->sync_folder = TRUE;
    return TRUE;
}

/* What lies behind the catalog's length. */
static gboolean
look_behind(Opening *o, const PackFile *f, Pack *pack, GError **error)
{
    guint64 size = packfile_size(f);
    guint n = o->p->recovered->len;
    g_autoptr(GError) local = NULL;
    PackWalk walk;

    if (size == pack->known)
        return TRUE;
    if (!packfile_walk(o->p->folder, f, pack->known, size, o->p->codec, take_footer, o->p, &walk,
                       &local) &&
        walk.unreadable) {
        note(o, f->id, "cannot be read where a batch may be: %s", local->message);
        pack->sealed = TRUE; /* invariant 5 */
        g_ptr_array_set_size(o->p->recovered, (gint) n);
        return TRUE;
    }
    if (walk.good == pack->known && pack->fresh)
        return TRUE; /* it will be removed */
    pack->end = walk.good;
    pack->prepared = walk.good > pack->known;
    return settle(o, f, walk.good, error);
}

static gboolean
open_known(Opening *o, const PackInfo *info, GError **error)
{
    Pack pack = {.id = info->id, .known = info->length_bytes, .end = info->length_bytes};
    PackFileState state = PACKFILE_GOOD;
    g_autoptr(GError) local = NULL;
    g_autoptr(PackFile) f = NULL;

    if (info->length_bytes == 0) { /* given up */
        o->sync_folder = TRUE;
        return !o->p->writable || pack_unlink(o->p, info->id, error);
    }
    f = packfile_open(o->p->folder, info->id, o->p->writable, o->p->uuid, &state, &local);
    if (local) {
        g_propagate_error(error, g_steal_pointer(&local));
        return FALSE;
    }
    pack.sealed = TRUE;
    if (!f)
        note(o, info->id, "%s", packfile_state_text(state));
    else if (packfile_size(f) < info->length_bytes)
        note(o, info->id, "is shorter than it should be");
    else if (info->length_bytes % PACK_ALIGN != 0)
        note(o, info->id, "has a length in the catalog that no batch can end at");
    else
        pack.sealed = FALSE;
    if (!pack.sealed && !look_behind(o, f, &pack, error))
        return FALSE;
    g_array_append_val(o->p->packs, pack);
    return TRUE;
}

static gboolean
open_unknown(Opening *o, guint64 id, GError **error)
{
    Pack pack = {.id = id, .known = PACK_HEADER_BYTES, .end = PACK_HEADER_BYTES, .fresh = TRUE};
    PackFileState state = PACKFILE_GOOD;
    g_autoptr(GError) local = NULL;
    g_autoptr(PackFile) f =
        packfile_open(o->p->folder, id, o->p->writable, o->p->uuid, &state, &local);

    if (local) {
        g_propagate_error(error, g_steal_pointer(&local));
        return FALSE;
    }
    if (f && !look_behind(o, f, &pack, error))
        return FALSE;
    if (pack.sealed || state == PACKFILE_MISSING) /* invariant 5 */
        return TRUE;
    if (pack.prepared) {
        g_array_append_val(o->p->packs, pack);
        return TRUE;
    }
    if (state == PACKFILE_DAMAGED || state == PACKFILE_FOREIGN) { /* invariant 5 */
        note(o, id, "%s, and the catalog does not know it: left alone", packfile_state_text(state));
        return TRUE;
    }
    o->sync_folder = TRUE;
    return !o->p->writable || pack_unlink(o->p, id, error);
}

static gboolean
open_all(Opening *o, const PackInfo *known, guint n_known, GError **error)
{
    g_autoptr(GArray) files = list_files(o->p->folder, error);
    g_autoptr(GArray) sorted = g_array_new(FALSE, FALSE, sizeof(PackInfo));

    if (!files)
        return FALSE;
    if (n_known > 0)
        g_array_append_vals(sorted, known, n_known);
    g_array_sort(sorted, by_id);
    for (guint i = 0, k = 0; i < files->len || k < sorted->len;) {
        const PackInfo *file = i < files->len ? &g_array_index(files, PackInfo, i) : NULL;
        const PackInfo *info = k < sorted->len ? &g_array_index(sorted, PackInfo, k) : NULL;
        gboolean ok;

        if (info && (!file || info->id <= file->id)) {
            i += file && info->id == file->id;
            k++;
            o->p->next_id = MAX(o->p->next_id, info->id + 1); /* invariant 6 */
            ok = open_known(o, info, error);
        } else {
            i++;
            o->p->next_id = MAX(o->p->next_id, file->id + 1);
            ok = open_unknown(o, file->id, error);
        }
        if (!ok)
            return FALSE;
    }
    return !o->sync_folder || !o->p->writable || fd_sync_folder(o->p->folder, ".", error);
}

Packs *
packs_open(int history_fd, const char *uuid, const PackInfo *known, guint n_known, char **ret_note,
           GError **error)
{
    g_autoptr(Packs) p = packs_new(history_fd, uuid, TRUE, error);
    g_autoptr(GString) notes = g_string_new(NULL);
    Opening o = {.p = p, .note = notes};

    if (!p || !open_all(&o, known, n_known, error))
        return NULL;
    p->gathered = g_malloc(PACK_FRAME_BYTES);
    p->out = g_malloc(FRAME_HEADER_BYTES + PACK_FRAME_BYTES);
    if (ret_note)
        *ret_note = notes->len > 0 ? g_strdup(notes->str) : NULL;
    return g_steal_pointer(&p);
}

Packs *
packs_open_read(int history_fd, const char *uuid, GError **error)
{
    return packs_new(history_fd, uuid, FALSE, error);
}

gboolean
packs_look_behind(Packs *p, const PackInfo *known, guint n_known, GError **error)
{
    Opening o = {.p = p};

    g_assert(!p->writable && p->packs->len == 0);
    return open_all(&o, known, n_known, error);
}
