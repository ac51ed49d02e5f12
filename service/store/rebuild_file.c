/* rebuild_file.c - one file of a store that has no catalog
 *
 * WHAT THERE IS  the mirror, with its hash; the words of the packs, in order: after each batch, where
 *             every content is; whole files in history/; and the journal, which may have transactions
 *             that were applied long ago beside those that were not.
 *
 * THE STATE   is found by the mirror's hash. A batch is finished before the next one of the file is
 *             prepared, so the mirror has (1) what the last word says, or (2) what a transaction after it
 *             brought (contents that left no point behind have no word), or (3) what was there before
 *             the last word, whose batch was then only prepared: the word before it, a point in the
 *             last word itself, or a transaction between the two. Of several the one that leaves more in
 *             the journal to be done: to do it once more gives the same.
 *             Words of later than the state are not believed: what they say was prepared is pending,
 *             and apply says it again.
 *
 * IN THE MIDDLE  If it is none of these, and the last word's transactions are in the journal (or the
 *             mirror is listed in `applying`), an update in place was cut short. The journal's pieces laid
 *             over the mirror give the new content, whatever of it is there: if that has its hash, the
 *             mirror is written, as a normal start does it.
 *
 * UNKNOWN     Else the mirror is a content without a record, after all points and before all that is
 *             pending. It is fuzzy (nobody says that it is one moment of the file), so what is captured
 *             next takes its place; but it stays as a point then (KEPT_BOOT),
 *             and the newest stable point is KEPT_STABLE meanwhile. Owner, mode and times are the
 *             mirror's; its inode is none that an original can have, so the daemon compares contents.
 *             Where words speak of another content, that is damage, and said.
 *
 * POINTS      The newest word on each counts. Each is put together and compared with its hash. One that
 *             is not what it was is left out, by name; older points that start from it get its undo
 *             (view_drop), so they lose nothing by it.
 *             A whole file in history/ that no point needs becomes one of its own. In the chain it is
 *             only where no older point could take it for what it starts from; else it is beside it.
 *
 * NOT THERE   (the footers have it not, so it is gone with the catalog) what was thinned: it comes back
 *             as far as its bytes are there, and is named if they are only partly; marks on the newest
 *             content (its name comes with the first word after it is superseded); that the original
 *             was deleted, and an approval: both are found, or asked for, once more.
 */

#include "config.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>

#include "base/crash.h"
#include "base/error.h"
#include "base/fd.h"
#include "base/path.h"
#include "copy/attributes.h"
#include "store/image.h"
#include "store/mirror.h"
#include "store/rebuild_file.h"

typedef struct Mirror {
    Fd fd; /* -1: there is none */
    struct stat st;
    guint64 size_bytes;
    GBytes *sums; /* NULL: it cannot be read */
    guint8 hash[HASH_BYTES];
} Mirror;

static void
mirror_clear(Mirror *m)
{
    fd_clear(m->fd);
    g_clear_pointer(&m->sums, g_bytes_unref);
}

G_DEFINE_AUTO_CLEANUP_CLEAR_FUNC(Mirror, mirror_clear)

RebuildFile *
rebuild_file_new(guint64 id, const char *path)
{
    RebuildFile *f = g_new0(RebuildFile, 1);

    f->id = id;
    f->path = g_strdup(path);
    f->wholes = g_ptr_array_new();
    return f;
}

void
rebuild_file_free(RebuildFile *f)
{
    if (!f)
        return;
    g_free(f->path);
    g_clear_pointer(&f->wholes, g_ptr_array_unref);
    g_clear_pointer(&f->v, view_free);
    g_free(f);
}

/* ---- the mirror ---- */

static void
read_mirror(RebuildFile *f, Mirror *m)
{
    g_autofree char *name = mirror_path(f->id, f->path);
    g_autoptr(GError) error = NULL;

    mirror_clear(m);
    *m = (Mirror){.fd = -1};
    m->fd = openat(f->layout->root, name, O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC);
    if (m->fd < 0 && errno == ENOENT)
        return;
    if (m->fd < 0 || fstat(m->fd, &m->st) < 0 || !S_ISREG(m->st.st_mode)) {
        troubles_add(f->troubles, TRUE, f->path, 0, "its mirror cannot be opened: %s",
                     m->fd < 0 ? g_strerror(errno) : "it is no ordinary file");
        fd_clear(fd_steal(&m->fd));
        return;
    }
    m->size_bytes = (guint64) m->st.st_size;
    m->sums = point_sums_read(m->fd, m->size_bytes, &error);
    if (!m->sums) {
        troubles_add(f->troubles, TRUE, f->path, 0, "its mirror: %s", error->message);
        fd_clear(fd_steal(&m->fd));
        return;
    }
    sums_hash(m->sums, m->size_bytes, m->hash);
}

static gboolean
is_content(const Mirror *m, guint64 size_bytes, const guint8 *hash)
{
    return m->fd >= 0 && m->size_bytes == size_bytes && memcmp(m->hash, hash, HASH_BYTES) == 0;
}

/* ---- what is said ---- */

static const FooterFile *
apply_word(const RebuildFile *f, guint before_last)
{
    for (guint i = f->words ? f->words->len : 0; i-- > 0;) {
        const Word *w = f->words->pdata[i];
        if (w->kind == FOOTER_APPLY && before_last-- == 0)
            return w->file;
    }
    return NULL;
}

static const Transaction *
transaction_of(const RebuildFile *f, guint64 seq)
{
    for (guint i = 0; f->transactions && i < f->transactions->len; i++)
        if (((const Transaction *) f->transactions->pdata[i])->seq == seq)
            return f->transactions->pdata[i];
    return NULL;
}

static gboolean
is_of_chain(const Transaction *t)
{
    return capture_has_content(&t->capture) && t->capture.cause != CAUSE_BEFORE_RESTORE;
}

typedef struct State {
    guint64 through; /* what the mirror has of the journal */
    Point *current;  /* NULL: unknown                      */
} State;

static gboolean
take_state(State *s, guint64 through, Point *current)
{
    s->through = through;
    s->current = current;
    current->place = POINT_IN_MIRROR;
    current->source = NULL;
    g_clear_pointer(&current->undo, undo_free);
    current->whole = 0;
    return TRUE;
}

/* The oldest one in (after, before) that brought it. */
static gboolean
by_transaction(const RebuildFile *f, const Mirror *m, guint64 after, guint64 before, State *s)
{
    for (guint i = 0; f->transactions && i < f->transactions->len; i++) {
        const Transaction *t = f->transactions->pdata[i];
        if (t->seq > after && t->seq < before && is_of_chain(t) &&
            is_content(m, t->capture.size_bytes, t->capture.hash))
            return take_state(s, t->seq, point_new(t));
    }
    return FALSE;
}

static gboolean
by_word(const Mirror *m, const FooterFile *w, State *s)
{
    return w && w->current && is_content(m, w->current->size_bytes, w->current->hash) &&
           take_state(s, w->through, point_copy(w->current));
}

/* What the last word's batch was about to replace. */
static gboolean
by_point(const Mirror *m, const FooterFile *w, State *s)
{
    for (guint i = w->points->len; i-- > 0;) {
        const Point *p = w->points->pdata[i];
        if (!point_is_beside(p) && is_content(m, p->size_bytes, p->hash))
            return take_state(s, p->id, point_copy(p));
    }
    return FALSE;
}

static gboolean
find_state(const RebuildFile *f, const Mirror *m, State *s)
{
    const FooterFile *last = apply_word(f, 0), *before = apply_word(f, 1);
    guint64 through = last ? last->through : 0;

    if (by_word(m, last, s) || by_transaction(f, m, through, G_MAXUINT64, s))
        return TRUE;
    return last && transaction_of(f, through) &&
           (by_word(m, before, s) || by_point(m, last, s) ||
            by_transaction(f, m, before ? before->through : 0, through, s));
}

/* ---- an update that was cut short ---- */

static gboolean
put_in_place(RebuildFile *f, FileView *v, Point *p, Image *image, gboolean there, GError **error)
{
    g_autofree char *target = mirror_path(f->id, f->path);
    g_autofree char *folder = g_path_get_dirname(target);
    g_autofree char *name = NULL;
    g_auto(Fd) fd = -1, origin = -1;
    guint64 ino;

    if (there) {
        if (!mirror_write(f->layout, v, p, image, &fd, error))
            return FALSE;
        crash_point("rebuild-written");
        return fsync(fd) == 0 || throw_errno(error, "fsync of '%s'", target);
    }
    if (!mirror_prepare(f->layout, v, &origin, error) ||
        (origin >= 0 && (fsync(origin) < 0 || !fd_sync_folder(f->layout->mirrors, ".", NULL))) ||
        !mirror_build(f->layout, v, p, image, target, &name, &fd, error))
        return (error && *error) || throw_errno(error, "making '%s'", target);
    if (fd >= 0 && fsync(fd) < 0)
        return throw_errno(error, "fsync of a copy");
    return mirror_place(f->layout, name, target, &ino, error) &&
           fd_sync_folder(f->layout->root, folder, error);
}

/* TRUE: the mirror has what these transactions make of it. */
static gboolean
complete(RebuildFile *f, const Mirror *m, guint64 after, guint64 through)
{
    g_autoptr(FileView) v = view_new(f->path);
    g_autoptr(GError) error = NULL;
    guint8 hash[HASH_BYTES];

    v->id = f->id;
    v->applied = after;
    v->mirror_point = m->fd >= 0 ? 1 : 0;
    v->mirror_bytes = m->size_bytes;
    view_fold_through(v, f->transactions, through);
    Point *p = v->current;
    if (!p || p->place != POINT_IN_JOURNAL)
        return FALSE;
    g_autoptr(Image) image = image_of(f->layout->root, v, p, &error);
    p->sums = image ? image_sums(image, NULL, &error) : NULL;
    if (!p->sums)
        return FALSE;
    sums_hash(p->sums, p->size_bytes, hash);
    if (memcmp(hash, p->hash, HASH_BYTES) != 0)
        return FALSE;
    if (put_in_place(f, v, p, image, m->fd >= 0, &error))
        return TRUE;
    troubles_add(f->troubles, TRUE, f->path, p->id, "an update of its mirror: %s", error->message);
    return FALSE;
}

/* The last word's batch; or one after it, that had no points to speak of. */
static gboolean
complete_any(RebuildFile *f, const Mirror *m)
{
    const FooterFile *last = apply_word(f, 0), *before = apply_word(f, 1);
    guint64 through = last ? last->through : 0;

    if (last && transaction_of(f, through) &&
        complete(f, m, before ? before->through : 0, through))
        return TRUE;
    for (guint i = 0; f->in_place && m->fd >= 0 && f->transactions && i < f->transactions->len;
         i++) {
        const Transaction *t = f->transactions->pdata[i];
        if (t->seq > through && is_of_chain(t) && complete(f, m, through, t->seq))
            return TRUE;
    }
    return FALSE;
}

/* ---- contents without a record ---- */

static FileStat
stat_of_copy(const struct stat *st)
{
    return (FileStat){
        .mode = (guint32) st->st_mode,
        .uid = st->st_uid,
        .gid = st->st_gid,
        .nlink = 1,
        .size_bytes = (guint64) st->st_size,
        .mtime_ns = st->st_mtim.tv_sec * G_GINT64_CONSTANT(1000000000) + st->st_mtim.tv_nsec,
    };
}

static Point *
unrecorded(guint64 id, int fd, const struct stat *st, GBytes *sums, gint64 not_before_usec)
{
    Point *p = g_new0(Point, 1);
    g_autofree char *note = NULL;

    p->id = id;
    p->stat = stat_of_copy(st);
    p->time_usec = CLAMP(p->stat.mtime_ns / 1000, not_before_usec,
                         MAX(not_before_usec, g_get_real_time()));
    p->cause = CAUSE_CLOSE;
    p->quality = QUALITY_FUZZY;
    p->size_bytes = p->changed_bytes = (guint64) st->st_size;
    p->attributes = attributes_read(fd, &note, NULL);
    if (!p->attributes)
        p->attributes = g_bytes_new(NULL, 0);
    p->sums = g_bytes_ref(sums);
    sums_hash(sums, p->size_bytes, p->hash);
    return p;
}

/* Above all that is known of the file, below all that is pending. A begin record's own sequence names
 * no content. */
static guint64
id_between(const RebuildFile *f, guint64 through)
{
    for (guint i = 0; f->transactions && i < f->transactions->len; i++) {
        const Transaction *t = f->transactions->pdata[i];
        if (t->seq > through)
            return t->first_seq;
    }
    return ++*f->last_seq;
}

/* ---- points ---- */

static gint
index_of(const GPtrArray *points, guint64 id)
{
    for (guint i = 0; i < points->len; i++)
        if (((const Point *) points->pdata[i])->id == id)
            return (gint) i;
    return -1;
}

static gint
by_id(gconstpointer a, gconstpointer b)
{
    const Point *x = *(Point *const *) a, *y = *(Point *const *) b;

    return x->id < y->id ? -1 : x->id > y->id;
}

/* The newest word on each, up to the state. */
static void
lay_words(RebuildFile *f, guint64 through)
{
    FileView *v = f->v;

    for (guint i = 0; f->words && i < f->words->len; i++) {
        const Word *w = f->words->pdata[i];
        if (w->kind == FOOTER_APPLY && w->file->through > through)
            continue;
        v->principal = w->file->principal;
        v->suspicion = w->file->suspicion;
        v->suspicion_since_usec = w->file->suspicion_since_usec;
        v->suspicion_point = w->file->suspicion_point;
        for (guint k = 0; k < w->file->dropped->len; k++) {
            gint at = index_of(v->points, g_array_index(w->file->dropped, guint64, k));
            if (at >= 0)
                g_ptr_array_remove_index(v->points, (guint) at);
        }
        for (guint k = 0; k < w->file->points->len; k++) {
            Point *p = point_copy(w->file->points->pdata[k]);
            gint at = index_of(v->points, p->id);
            if (at >= 0)
                g_ptr_array_remove_index(v->points, (guint) at);
            p->fresh = TRUE;
            g_ptr_array_add(v->points, p);
        }
    }
    g_ptr_array_sort(v->points, by_id);
}

/* A later word may know more of the newest content: its name. */
static void
lay_current(RebuildFile *f)
{
    Point *p = f->v->current;

    for (guint i = 0; f->words && i < f->words->len; i++) {
        const Point *said = ((const Word *) f->words->pdata[i])->file->current;
        if (!said || said->id != p->id)
            continue;
        p->kept = said->kept;
        g_free(p->name);
        p->name = g_strdup(said->name);
        p->quality = said->quality;
        p->cause = said->cause;
        p->deleted_usec = said->deleted_usec;
        p->stat = said->stat;
        g_bytes_unref(p->attributes);
        p->attributes = g_bytes_ref(said->attributes);
        p->changed_bytes = said->changed_bytes;
    }
}

/* NULL: it is what it was. */
static char *
verify_point(const RebuildFile *f, Point *p)
{
    g_autoptr(GError) error = NULL;
    guint8 hash[HASH_BYTES];
    g_autoptr(Image) image = image_of(f->layout->root, f->v, p, &error);
    g_autoptr(GBytes) sums = image ? image_sums(image, f->packs, &error) : NULL;

    if (!sums)
        return g_strdup(error->message);
    sums_hash(sums, p->size_bytes, hash);
    if (memcmp(hash, p->hash, HASH_BYTES) != 0)
        return g_strdup("what can be put together is not what was recorded");
    if (p->place == POINT_IN_HISTORY && p->whole == p->id && !p->undo)
        p->sums = g_steal_pointer(&sums);
    return NULL;
}

static void
leave_out(RebuildFile *f, Point *p, const char *why)
{
    Point *older = point_is_beside(p) ? NULL : view_older(f->v, p);

    troubles_add(f->troubles, TRUE, f->path, p->id, "left out: %s", why);
    if (p->place == POINT_IN_UNDO && !p->undo) /* nothing to hand on */
        older = NULL;
    if (older && older->place == POINT_IN_UNDO && older->undo)
        view_drop(f->v, p);
    else
        g_ptr_array_remove(f->v->points, p);
}

static void
verify_points(RebuildFile *f)
{
    g_autoptr(GPtrArray) bad = g_ptr_array_new();
    g_autoptr(GPtrArray) why = g_ptr_array_new_with_free_func(g_free);

    for (guint i = f->v->points->len; i-- > 0;) { /* all, before one is changed */
        char *text = verify_point(f, f->v->points->pdata[i]);
        if (!text)
            continue;
        g_ptr_array_add(bad, f->v->points->pdata[i]);
        g_ptr_array_add(why, text);
    }
    for (guint i = 0; i < bad->len; i++) /* the newest first: each hands on what it got */
        leave_out(f, bad->pdata[i], why->pdata[i]);
}

/* ---- whole files that no point needs ---- */

static gboolean
is_needed(const RebuildFile *f, guint64 whole)
{
    const Transaction *t = transaction_of(f, whole);

    if (t && t->seq > f->v->applied)
        return TRUE; /* apply will make it, or has done so */
    for (guint i = 0; i < f->v->points->len; i++) {
        const Point *p = f->v->points->pdata[i];
        if (p->whole == whole || p->id == whole)
            return TRUE;
    }
    return f->v->current && f->v->current->id == whole;
}

static void
insert_whole(RebuildFile *f, Point *p)
{
    FileView *v = f->v;
    const Point *older = view_older(v, p);
    const Point *newer = v->current && v->current->id > p->id ? view_newer(v, p) : NULL;

    p->place = POINT_IN_HISTORY;
    p->whole = p->id;
    p->fresh = TRUE;
    if (!newer || (older && older->place == POINT_IN_UNDO))
        p->cause = CAUSE_BEFORE_RESTORE; /* nothing starts from it */
    if (older)
        p->time_usec = MAX(p->time_usec, older->time_usec);
    if (newer)
        p->time_usec = MIN(p->time_usec, newer->time_usec);
    g_ptr_array_add(v->points, p);
    g_ptr_array_sort(v->points, by_id);
}

static void
take_wholes(RebuildFile *f)
{
    for (guint i = 0; i < f->wholes->len; i++) {
        const FoundWhole *w = f->wholes->pdata[i];
        g_autofree char *name = mirror_history_path(f->id, w->id, f->path);
        g_autoptr(GError) error = NULL;
        struct stat st;
        if (is_needed(f, w->id))
            continue;
        g_auto(Fd) fd = openat(f->layout->root, name, O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC);
        if (fd < 0 || fstat(fd, &st) < 0 || !S_ISREG(st.st_mode)) {
            troubles_add(f->troubles, TRUE, f->path, w->id, "'history/%s' cannot be opened",
                         w->name);
            continue;
        }
        g_autoptr(GBytes) sums = point_sums_read(fd, (guint64) st.st_size, &error);
        if (!sums) {
            troubles_add(f->troubles, TRUE, f->path, w->id, "'history/%s': %s", w->name,
                         error->message);
            continue;
        }
        insert_whole(f, unrecorded(w->id, fd, &st, sums, 0));
        *f->last_seq = MAX(*f->last_seq, w->id);
        troubles_add(f->troubles, FALSE, f->path, w->id,
                     "a content of which nothing is recorded: kept as a fuzzy point");
    }
}

/* ---- all of it ---- */

static gint64
newest_time(const FileView *v)
{
    gint64 usec = 0;

    for (guint i = 0; i < v->points->len; i++)
        usec = MAX(usec, ((const Point *) v->points->pdata[i])->time_usec);
    return usec;
}

/* Points that are newer than the state: apply makes them again; the newest is the mirror's. */
static void
remove_newer(FileView *v, guint64 through, guint64 current)
{
    for (guint i = v->points->len; i-- > 0;) {
        const Point *p = v->points->pdata[i];
        if (p->id > through || p->id == current)
            g_ptr_array_remove_index(v->points, i);
    }
}

static void
set_current(RebuildFile *f, const Mirror *m, State *s)
{
    FileView *v = f->v;
    const FooterFile *last = apply_word(f, 0);

    if (s->current) {
        v->current = g_steal_pointer(&s->current);
        lay_current(f);
    } else if (m->fd >= 0) {
        guint64 id = id_between(f, s->through);
        v->current = unrecorded(id, m->fd, &m->st, m->sums, newest_time(v));
        v->current->kept = KEPT_BOOT; /* whatever is pending already */
        v->applied = MAX(v->applied, id);
        troubles_add(f->troubles, last && last->current, f->path, id, "%s",
                     last && last->current
                         ? "its mirror is not what was recorded last: taken as it is"
                         : "nothing is recorded of its newest content: kept as fuzzy");
    } else if (last && last->current) {
        troubles_add(f->troubles, TRUE, f->path, last->current->id, "its mirror is not there");
    }
    if (!v->current)
        return;
    v->current->place = POINT_IN_MIRROR;
    v->current->fresh = FALSE;
    g_clear_pointer(&v->current->sums, g_bytes_unref);
    v->current->sums = g_bytes_ref(m->sums);
    v->state = v->current->deleted_usec ? STORED_DELETED : STORED_CURRENT;
    v->mirror_ino = m->st.st_ino;
    v->mirror_point = v->current->id;
    v->mirror_bytes = m->size_bytes;
}

static void
keep_stable(FileView *v)
{
    guint64 stable = v->current ? view_stable_point(v) : 0;
    Point *p = stable ? view_point(v, stable) : NULL;

    if (p)
        p->kept |= KEPT_STABLE;
}

static void
find_principal(RebuildFile *f, const Mirror *m)
{
    const Transaction *t =
        f->transactions ? f->transactions->pdata[f->transactions->len - 1] : NULL;

    if (t)
        f->v->principal = t->capture.principal;
    else if (!f->words)
        f->v->principal = m->fd >= 0 ? m->st.st_uid : geteuid();
}

static void
find_needed(RebuildFile *f)
{
    for (guint i = 0; f->transactions && i < f->transactions->len && !f->needed; i++) {
        const Transaction *t = f->transactions->pdata[i];
        if (t->seq > f->v->applied)
            f->needed = t->first_seq;
    }
}

void
rebuild_file(RebuildFile *f)
{
    g_auto(Mirror) m = {.fd = -1};
    const FooterFile *last = apply_word(f, 0);
    State s = {.through = last ? last->through : 0};

    read_mirror(f, &m);
    if (!find_state(f, &m, &s) && complete_any(f, &m)) {
        read_mirror(f, &m);
        (void) find_state(f, &m, &s);
    }
    f->v = view_new(f->path);
    f->v->id = f->id;
    f->v->all_points = TRUE;
    f->v->applied = s.through;
    lay_words(f, s.through);
    remove_newer(f->v, s.through, s.current ? s.current->id : 0);
    find_principal(f, &m);
    set_current(f, &m, &s);
    f->v->newest_seq = f->v->applied;
    verify_points(f);
    take_wholes(f);
    keep_stable(f->v);
    find_needed(f);
}
