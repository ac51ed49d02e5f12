/* found.c - what a store says that it has of a file, from its keeper or from the offline reader
 *
 * Every point that is listed is read, and its bytes are compared with all that the file ever had.
 */

#include "config.h"

#include <string.h>
#include <sys/stat.h>

#include "base/error.h"
#include "base/fd.h"
#include "base/path.h"

#include "tests/unit/proof-inside.h"

void
found_clear(Found *f)
{
    for (guint i = 0; f->seen && i < f->seen->len; i++)
        g_free(g_array_index(f->seen, Seen, i).name);
    g_clear_pointer(&f->seen, g_array_unref);
    g_free(f->mirror);
}
/* Without a keeper: what the offline reader says. */
static gboolean
read_found(Proof *p, const ProofFile *f, Found *ret)
{
    g_autoptr(GError) error = NULL;
    g_autoptr(GPtrArray) list = store_reader_list(p->reader, &error);

    if (!list) {
        proof_problem(p, "%s: the reader's list: %s", f->path, error->message);
        return FALSE;
    }
    for (guint i = 0; i < list->len; i++) {
        const StoredFile *stored = list->pdata[i];
        if (!g_str_equal(stored->path, f->path))
            continue;
        ret->state = stored->state;
        ret->mode = stored->stat.mode;
        memcpy(ret->hash, stored->hash, HASH_BYTES);
        ret->mirror = g_strdup(stored->mirror);
        return TRUE;
    }
    ret->state = STORED_NOTHING;
    return TRUE;
}

gboolean
found_look_up(Proof *p, const ProofFile *f, Found *ret)
{
    g_autoptr(GVariant) stat = NULL, hash = NULL, attributes = NULL, mirror = NULL;
    guint32 quality;
    guint64 job, seq;
    gint64 time_usec;
    FileStat st;
    gsize n;

    if (p->reader)
        return read_found(p, f, ret);
    proof_ask(p, MESSAGE_DAEMON_LOOKUP,
              g_variant_new("(t@ay)", G_GUINT64_CONSTANT(1), path_to_variant(f->path)), NULL, 0);
    g_autoptr(Message) m = proof_wait_for(p, MESSAGE_KEEPER_FOUND);
    if (!m)
        return FALSE;
    g_variant_get(m->body, "(tu@" FILESTAT_TYPE "@ay@ayux@aytuxt)", &job, &ret->state, &stat, &hash,
                  &attributes, &quality, &time_usec, &mirror, &seq, NULL, NULL, NULL);
    filestat_from_variant(stat, &st);
    ret->mode = st.mode;
    const void *bytes = g_variant_get_fixed_array(hash, &n, 1);
    if (n == HASH_BYTES)
        memcpy(ret->hash, bytes, HASH_BYTES);
    ret->mirror = g_strdup(path_from_variant(mirror));
    return TRUE;
}

GBytes *
proof_read_whole(int fd, guint64 size_bytes)
{
    struct stat st;

    if (fd < 0 || fstat(fd, &st) < 0)
        return NULL;
    gsize n = size_bytes == ALL_OF_IT ? (gsize) st.st_size : (gsize) size_bytes;
    g_autofree guint8 *data = g_malloc(n + 1);
    if (!fd_pread_full(fd, data, n, 0))
        return NULL;
    return g_bytes_new_take(g_steal_pointer(&data), n);
}

static GBytes *
read_content(Proof *p, const ProofFile *f, guint64 point, gboolean *ret_thinned, char **ret_error)
{
    g_autoptr(GError) error = NULL;
    g_auto(StoredContent) c = {.fd = -1};

    if (!store_reader_content(p->reader, f->path, point, &c, &error)) {
        *ret_thinned = g_error_matches(error, FILEDUP_ERROR, FILEDUP_ERROR_NO_ENTRY);
        *ret_error = g_strdup(error->message);
        return NULL;
    }
    GBytes *bytes = proof_read_whole(c.fd, c.size_bytes);
    if (!bytes)
        *ret_error = g_strdup("the content cannot be read");
    return bytes;
}

/* *ret_thinned: there is no such point (any more). */
static GBytes *
ask_content(Proof *p, const ProofFile *f, guint64 point, gboolean *ret_thinned, char **ret_error)
{
    g_autoptr(GError) error = NULL;

    if (p->reader)
        return read_content(p, f, point, ret_thinned, ret_error);
    proof_ask(p, MESSAGE_DAEMON_CONTENT,
              g_variant_new("(t@aytx)", G_GUINT64_CONSTANT(2), path_to_variant(f->path), point,
                            G_GINT64_CONSTANT(0)),
              NULL, 0);
    g_autoptr(Message) m = proof_wait_for(p, MESSAGE_KEEPER_CONTENT);
    if (!m) {
        *ret_error = g_strdup("the keeper has gone");
        return NULL;
    }
    g_autoptr(GVariant) carried = g_variant_get_child_value(m->body, 1);
    if (!message_error_check(carried, NULL, &error)) {
        *ret_error = g_strdup(error->message);
        *ret_thinned = g_error_matches(error, FILEDUP_ERROR, FILEDUP_ERROR_NO_ENTRY);
        return NULL;
    }
    g_auto(Fd) fd = message_take_fd(m, 0);
    GBytes *bytes = proof_read_whole(fd, ALL_OF_IT);
    if (!bytes)
        *ret_error = g_strdup("the content cannot be read");
    return bytes;
}

static Version *
version_with(const ProofFile *f, GBytes *bytes, guint64 id)
{
    Version *found = NULL;

    for (guint i = 0; i < f->versions->len; i++) {
        Version *v = f->versions->pdata[i];
        if (g_bytes_equal(v->bytes, bytes) && (!found || v->id == id))
            found = v;
    }
    for (guint i = 0; i < f->ops->len; i++) {
        const ProofOp *op = f->ops->pdata[i];
        if (op->kind <= OP_IS_STAGED && g_bytes_equal(op->version->bytes, bytes) &&
            (!found || op->version->id == id))
            found = op->version;
    }
    return found;
}

Version *
proof_version(const ProofFile *f, guint64 id)
{
    if (id == 0)
        return NULL;
    for (guint i = 0; i < f->versions->len; i++)
        if (((Version *) f->versions->pdata[i])->id == id)
            return f->versions->pdata[i];
    for (guint i = 0; i < f->ops->len; i++) {
        const ProofOp *op = f->ops->pdata[i];
        if (op->kind <= OP_IS_STAGED && op->version->id == id)
            return op->version;
    }
    return NULL;
}

/* Of two that are equal, and were not both answered, nobody knows which one is there. */
static gboolean
has_twin(const ProofFile *f, const Version *v)
{
    for (guint i = 0; i < f->versions->len; i++)
        if (f->versions->pdata[i] != v &&
            g_bytes_equal(((Version *) f->versions->pdata[i])->bytes, v->bytes))
            return TRUE;
    for (guint i = 0; i < f->ops->len; i++) {
        const ProofOp *op = f->ops->pdata[i];
        if (op->kind <= OP_IS_STAGED && op->version != v &&
            g_bytes_equal(op->version->bytes, v->bytes))
            return TRUE;
    }
    return FALSE;
}

static gboolean
look_at(Proof *p, const ProofFile *f, Seen *s)
{
    Version *wanted = proof_version(f, s->id);
    g_autofree char *error = NULL;
    g_autoptr(GBytes) bytes = NULL;

    if (p->sample && wanted && !s->newest && g_rand_int(p->sample) % 8) {
        s->version = wanted;
        return TRUE;
    }
    bytes = ask_content(p, f, s->id, &s->thinned, &error);
    if (s->thinned && f->thinned)
        return TRUE;
    if (!bytes) {
        proof_problem(p, "%s: point %" G_GUINT64_FORMAT " is listed, and cannot be had: %s",
                      f->path, s->id, error);
        return FALSE;
    }
    s->unknown = !wanted;
    s->version = version_with(f, bytes, s->id);
    if (!s->version) {
        gsize same = 0, n, n_wanted = 0;
        const guint8 *data = g_bytes_get_data(bytes, &n);
        const guint8 *was = wanted ? g_bytes_get_data(wanted->bytes, &n_wanted) : NULL;
        while (was && same < MIN(n, n_wanted) && data[same] == was[same])
            same++;
        proof_problem(p,
                      "%s: point %" G_GUINT64_FORMAT
                      " has bytes that were never its content (%" G_GSIZE_FORMAT
                      " bytes, not %" G_GSIZE_FORMAT "; they differ at %" G_GSIZE_FORMAT ")",
                      f->path, s->id, n, n_wanted, same);
        return FALSE;
    }
    if (wanted && s->version != wanted && !g_bytes_equal(s->version->bytes, wanted->bytes)) {
        proof_problem(p,
                      "%s: point %" G_GUINT64_FORMAT
                      " has another point's content (%" G_GUINT64_FORMAT "'s)",
                      f->path, s->id, s->version->id);
        return FALSE;
    }
    /* The same content may have been seen again, and found better (attributes). */
    gboolean better = (Quality) s->quality > s->version->quality;
    if (better)
        s->version->quality = (Quality) s->quality;
    if (s->size_bytes != g_bytes_get_size(bytes) ||
        (s->quality != s->version->quality && !has_twin(f, s->version))) {
        proof_problem(p, "%s: point %" G_GUINT64_FORMAT " is listed with another size or quality",
                      f->path, s->id);
        return FALSE;
    }
    return TRUE;
}

static gboolean
take_seen(Proof *p, const ProofFile *f, Found *ret, Seen *s)
{
    gboolean ok = look_at(p, f, s);

    if (s->thinned && f->thinned)
        g_free(s->name);
    else
        g_array_append_val(ret->seen, *s);
    return ok;
}

static gboolean
read_points(Proof *p, const ProofFile *f, Found *ret)
{
    g_autoptr(GError) error = NULL;
    g_autoptr(GArray) points = store_reader_points(p->reader, f->path, &error);
    gboolean ok = TRUE;

    ret->seen = g_array_new(FALSE, TRUE, sizeof(Seen));
    if (!points && g_error_matches(error, FILEDUP_ERROR, FILEDUP_ERROR_NO_ENTRY))
        return TRUE;
    if (!points) {
        proof_problem(p, "%s: the reader's points: %s", f->path, error->message);
        return FALSE;
    }
    for (guint i = 0; i < points->len; i++) {
        const StoredPoint *stored = &g_array_index(points, StoredPoint, i);
        Seen s = {.id = stored->id,
                  .size_bytes = stored->size_bytes,
                  .quality = stored->quality,
                  .kept = stored->kept,
                  .name = g_strdup(stored->name),
                  .newest = stored->newest};
        ok = take_seen(p, f, ret, &s) && ok;
    }
    return ok;
}

gboolean
found_list(Proof *p, const ProofFile *f, Found *ret)
{
    g_autoptr(GVariant) carried = NULL, points = NULL;
    g_autoptr(GError) error = NULL;
    guint64 job;
    guint32 count;
    gboolean ok = TRUE;

    if (p->reader)
        return read_points(p, f, ret);
    ret->seen = g_array_new(FALSE, TRUE, sizeof(Seen));
    proof_ask(p, MESSAGE_DAEMON_POINTS,
              g_variant_new("(t@ayu)", G_GUINT64_CONSTANT(3), path_to_variant(f->path), 0u), NULL,
              0);
    g_autoptr(Message) m = proof_wait_for(p, MESSAGE_KEEPER_POINTS);
    if (!m)
        return FALSE;
    g_variant_get(m->body, "(t@" MESSAGE_ERROR_TYPE "u)", &job, &carried, &count);
    if (!message_error_check(carried, NULL, &error)) {
        if (g_error_matches(error, FILEDUP_ERROR, FILEDUP_ERROR_NO_ENTRY))
            return TRUE;
        proof_problem(p, "%s: points: %s", f->path, error->message);
        return FALSE;
    }
    g_auto(Fd) fd = message_take_fd(m, 0);
    GBytes *bytes = proof_read_whole(fd, ALL_OF_IT);
    g_assert_nonnull(bytes);
    points =
        g_variant_ref_sink(g_variant_new_from_bytes(G_VARIANT_TYPE(POINTS_TYPE), bytes, FALSE));
    g_bytes_unref(bytes);
    for (gsize i = 0; i < g_variant_n_children(points); i++) {
        Seen s = {0};
        guint64 seq, changed;
        gint64 time_usec, deleted;
        guint32 cause;
        g_variant_get_child(points, i, "(ttxuuttsuxb)", &s.id, &seq, &time_usec, &cause, &s.quality,
                            &s.size_bytes, &changed, &s.name, &s.kept, &deleted, &s.newest);
        ok = take_seen(p, f, ret, &s) && ok;
    }
    return ok;
}
