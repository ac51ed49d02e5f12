/* proof-check.c - whether a store has what it must have
 *
 * The account is kept by file: the contents that are certain, and the operations sent since. An
 * operation is certain once it is answered; until then it may have happened or not, but not in
 * part, and what the journal takes it takes in order: so the operations that have happened are the
 * first so many of those that were sent. The check asks for everything and looks for a
 * number of operations that explains all of it.
 */

#include "config.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>

#include "base/fd.h"

#include "tests/unit/proof-inside.h"

/* By its number; one that was never answered by its bytes. */
static gboolean
is_of(const Seen *s, const Version *v)
{
    return v->id ? s->id == v->id
                 : s->unknown && s->version && g_bytes_equal(s->version->bytes, v->bytes);
}

static const Seen *
seen_of(const Found *found, const Version *v)
{
    for (guint i = 0; i < found->seen->len; i++)
        if (is_of(&g_array_index(found->seen, Seen, i), v))
            return &g_array_index(found->seen, Seen, i);
    return NULL;
}

static gboolean
is_explained(const Seen *s, const State *state)
{
    for (guint i = 0; i < state->all->len; i++) {
        const Must *m = &g_array_index(state->all, Must, i);
        if (m->state != VERSION_GONE && is_of(s, m->version))
            return TRUE;
    }
    return FALSE;
}

static const Seen *
newest_of(const Found *found)
{
    for (guint i = 0; i < found->seen->len; i++)
        if (g_array_index(found->seen, Seen, i).newest)
            return &g_array_index(found->seen, Seen, i);
    return NULL;
}

/* NULL if what was found is this state; else what is not. Free it. */
static char *
differs(const Found *found, State *state)
{
    guint32 wanted = !state->current  ? STORED_NOTHING
                     : state->deleted ? STORED_DELETED
                                      : STORED_CURRENT;
    const Seen *newest = newest_of(found);

    if (found->state != wanted)
        return g_strdup_printf("its state is %u, not %u", found->state, wanted);
    if (state->current && memcmp(found->hash, state->current->hash, HASH_BYTES) != 0)
        return g_strdup_printf("its newest content is not that of %" G_GUINT64_FORMAT,
                               state->current->id);
    if (state->current && !state->deleted && found->mode != state->mode)
        return g_strdup_printf("its mode is %o, not %o", found->mode, state->mode);
    if (state->current && (!newest || newest != seen_of(found, state->current)))
        return g_strdup_printf("the newest point listed is not that of %" G_GUINT64_FORMAT,
                               state->current->id);
    for (guint i = 0; i < state->all->len; i++) {
        const Must *m = &g_array_index(state->all, Must, i);
        const Seen *s = seen_of(found, m->version);
        if (m->state == VERSION_THERE && !s)
            return g_strdup_printf("point %" G_GUINT64_FORMAT " (%" G_GSIZE_FORMAT
                                   " bytes) is not listed",
                                   m->version->id, g_bytes_get_size(m->version->bytes));
        if (s && m->kept != !!(s->kept & KEPT_NAMED))
            return g_strdup_printf("point %" G_GUINT64_FORMAT " is %skept for its name", s->id,
                                   m->kept ? "not " : "");
        if (s && m->state == VERSION_THERE && g_strcmp0(s->name, m->name ? m->name : "") != 0)
            return g_strdup_printf("point %" G_GUINT64_FORMAT " has the name '%s', not '%s'", s->id,
                                   s->name, m->name ? m->name : "");
    }
    for (guint i = 0; i < found->seen->len; i++) {
        const Seen *s = &g_array_index(found->seen, Seen, i);
        if (!is_explained(s, state))
            return g_strdup_printf("point %" G_GUINT64_FORMAT " should not be listed", s->id);
    }
    return NULL;
}

static gboolean
is_certain(const ProofOp *op, guint64 cut)
{
    return op->answered && !op->refused && !op->failed &&
           (cut == G_MAXUINT64 || op->answer_at <= cut);
}

static gboolean
is_journalled(const ProofOp *op)
{
    return op->kind != OP_IS_FORGET && op->kind != OP_IS_PRUNE;
}

/* The operations that may have happened by then. */
static GPtrArray *
ops_until(const ProofFile *f, guint64 cut)
{
    GPtrArray *ops = g_ptr_array_new();

    for (guint i = 0; i < f->ops->len; i++) {
        ProofOp *op = f->ops->pdata[i];
        if (!op->refused && op->sent_at <= cut)
            g_ptr_array_add(ops, op);
    }
    return ops;
}

static gboolean
is_open_forget(const ProofOp *op, guint64 cut)
{
    return op->kind == OP_IS_FORGET && !is_certain(op, cut);
}

/* After the first n; of the forgets that are open those whose bit is set have come to their end. */
static void
state_after(State *s, const ProofFile *f, const GPtrArray *ops, guint n, guint done, guint64 cut)
{
    guint bit = 1;

    state_start(s, f);
    for (guint i = 0; i < ops->len; i++) {
        const ProofOp *op = ops->pdata[i];
        gboolean open = is_open_forget(op, cut), ended = open && (done & bit);
        bit <<= open;
        if (ended || (!open && i < n && (is_journalled(op) || is_certain(op, cut))))
            state_apply(s, op);
        else if (i < n || !is_journalled(op))
            state_perhaps(s, op);
    }
    if (f->thinned) /* the keeper does so by itself */
        state_thin(s);
}

static void
settle_account(ProofFile *f, const Found *found, State *s)
{
    g_ptr_array_set_size(f->versions, 0);
    for (guint i = 0; i < s->all->len; i++) {
        Must *m = &g_array_index(s->all, Must, i);
        const Seen *seen = seen_of(found, m->version);
        if (!seen)
            continue; /* what is gone does not come back: were it listed, nothing would explain it */
        m->version->id = seen->id;
        gboolean unsure = f->thinned || m->version->quality == QUALITY_FUZZY;
        m->version->state = unsure ? m->state : VERSION_THERE;
        m->version->kept = m->kept;
        g_free(m->version->name);
        m->version->name = g_steal_pointer(&m->name);
        g_ptr_array_add(f->versions, m->version);
    }
    f->current = s->current;
    f->deleted = s->deleted;
    f->mode = s->mode;
    g_ptr_array_set_size(f->ops, 0);
}

static guint
index_of(Proof *p, const ProofOp *op)
{
    for (guint i = p->ops->len; i-- > 0;)
        if (p->ops->pdata[i] == op)
            return i;
    return 0;
}

/* The operations [*low, *high) of all files can have been the last one to happen. */
static void
narrow(Proof *p, const GPtrArray *ops, guint first, guint last, guint *low, guint *high)
{
    for (guint i = MIN(first, ops->len); i-- > 0;)
        if (is_journalled(ops->pdata[i])) {
            *low = MAX(*low, index_of(p, ops->pdata[i]) + 1);
            break;
        }
    for (guint i = last; i < ops->len; i++)
        if (is_journalled(ops->pdata[i])) {
            *high = MIN(*high, index_of(p, ops->pdata[i]) + 1);
            break;
        }
}

static void
check_mirror(Proof *p, const ProofFile *f, const Found *found, const Version *current)
{
    g_autofree char *path = g_build_filename(p->path, found->mirror, NULL);
    g_auto(Fd) fd = open(path, O_RDONLY | O_CLOEXEC);
    g_autoptr(GBytes) bytes = proof_read_whole(fd, ALL_OF_IT);

    if (!bytes)
        proof_problem(p, "%s: its mirror '%s' cannot be read: %s", f->path, found->mirror,
                      g_strerror(errno));
    else if (!g_bytes_equal(bytes, current->bytes))
        proof_problem(p, "%s: all is applied, and its mirror is not its newest content", f->path);
}

/* For whoever looks for the reason. */
static void
tell_all(Proof *p, const ProofFile *f, const GPtrArray *ops, const Found *found, State *state)
{
    static const char *const states[] = {"there", "perhaps", "gone"};

    for (guint i = 0; i < state->all->len; i++) {
        const Must *m = &g_array_index(state->all, Must, i);
        proof_problem(p, "    %s: %" G_GUINT64_FORMAT " %s%s%s%s", f->path, m->version->id,
                      states[m->state], m->kept ? ", kept" : "",
                      m->version->quality == QUALITY_FUZZY ? ", fuzzy" : "",
                      m->version == state->current ? ", newest" : "");
    }
    for (guint i = 0; i < ops->len; i++) {
        const ProofOp *op = ops->pdata[i];
        proof_problem(p, "    operation %d, job %" G_GUINT64_FORMAT ", %s %" G_GUINT64_FORMAT " %s",
                      op->kind, op->job, op->answered ? "answered" : "open", op->id,
                      op->error ? op->error : "");
    }
    for (guint i = 0; i < found->seen->len; i++) {
        const Seen *s = &g_array_index(found->seen, Seen, i);
        proof_problem(p, "    listed: %" G_GUINT64_FORMAT " quality %u%s, '%s'", s->id, s->quality,
                      s->newest ? ", newest" : "", s->name);
    }
}

static gboolean
check_file(Proof *p, ProofFile *f, guint64 cut, gboolean settled, guint *low, guint *high)
{
    g_autoptr(GPtrArray) ops = ops_until(f, cut);
    g_auto(Found) found = {0};
    g_autofree char *first_reason = NULL;
    guint certain = 0, first = G_MAXUINT, last = 0, masks = 1, last_mask = 0;

    if (!found_look_up(p, f, &found) || !found_list(p, f, &found)) {
        proof_problem(p, "%s: cannot be looked at", f->path);
        return FALSE;
    }
    for (guint i = 0; i < ops->len; i++)
        if (is_certain(ops->pdata[i], cut))
            certain = i + 1;
    for (guint i = 0; i < ops->len; i++)
        masks <<= is_open_forget(ops->pdata[i], cut) && masks < 16;
    for (guint n = certain; n <= ops->len; n++)
        for (guint mask = 0; mask < masks; mask++) {
            g_auto(State) state = {0};
            state_after(&state, f, ops, n, mask, cut);
            g_autofree char *reason = differs(&found, &state);
            if (!reason) {
                first = MIN(first, n);
                last = n;
                last_mask = mask;
            } else if (!first_reason) {
                first_reason = g_steal_pointer(&reason);
            }
        }
    if (first == G_MAXUINT) {
        g_auto(State) state = {0};
        state_after(&state, f, ops, certain, 0, cut);
        proof_problem(p, "%s: %s (%u of %u operations are certain)", f->path, first_reason, certain,
                      ops->len);
        tell_all(p, f, ops, &found, &state);
        return FALSE;
    }
    narrow(p, ops, first, last, low, high);
    g_auto(State) state = {0};
    state_after(&state, f, ops, last, last_mask, cut);
    if (settled && state.current)
        check_mirror(p, f, &found, state.current);
    if (!p->keep_ops)
        settle_account(f, &found, &state);
    return TRUE;
}

static void
check_leftovers(Proof *p)
{
    g_autofree char *staged = g_build_filename(p->path, "staged", NULL);
    g_autofree char *applying = g_build_filename(p->path, "applying", NULL);
    g_autoptr(GDir) dir = g_dir_open(staged, 0, NULL);
    const char *name;
    struct stat st;

    while (dir && (name = g_dir_read_name(dir)))
        if (!g_str_has_prefix(name, "lent-")) /* what was just read here (loan.c) */
            proof_problem(p, "all is applied, and staged/%s is left behind", name);
    if (stat(applying, &st) == 0 && st.st_size > 4096)
        proof_problem(p, "all is applied, and 'applying' has %d bytes", (int) st.st_size);
}

/* Lets go of the contents that nothing refers to any more. */
static void
drop_versions(Proof *p)
{
    g_autoptr(GHashTable) needed = g_hash_table_new(NULL, NULL);

    for (guint i = 0; i < p->files->len; i++) {
        const ProofFile *f = p->files->pdata[i];
        for (guint j = 0; j < f->versions->len; j++)
            g_hash_table_add(needed, f->versions->pdata[j]);
    }
    for (guint i = p->all_versions->len; i-- > 0;)
        if (!g_hash_table_contains(needed, p->all_versions->pdata[i]))
            g_ptr_array_remove_index_fast(p->all_versions, i);
}

gboolean
proof_check(Proof *p, guint64 cut, gboolean settled)
{
    guint low = 0, high = G_MAXUINT;

    if (p->damage && !p->reader)
        proof_problem(p, "the keeper says that there is damage: %s", p->note);
    for (guint i = 0; i < p->files->len && (!p->gone || p->reader); i++)
        (void) check_file(p, p->files->pdata[i], cut, settled, &low, &high);
    if (p->gone && !p->reader)
        proof_problem(p, "the keeper has gone while it was asked");
    if (low >= high)
        proof_problem(p, "a later operation has happened, an earlier one not");
    if (settled)
        check_leftovers(p);
    if (!p->keep_ops && p->problems->len == 0) {
        g_ptr_array_set_size(p->ops, 0);
        drop_versions(p);
    }
    return p->problems->len == 0;
}

gboolean
proof_check_offline(Proof *p, guint64 cut)
{
    g_autoptr(GError) error = NULL;
    gboolean keep_ops = p->keep_ops, ok;

    p->reader = store_reader_open(p->path, &error);
    if (!p->reader) {
        proof_problem(p, "the offline reader: %s", error->message);
        return FALSE;
    }
    p->keep_ops = TRUE;
    ok = proof_check(p, cut, FALSE);
    p->keep_ops = keep_ops;
    g_clear_pointer(&p->reader, store_reader_close);
    if (!ok)
        proof_problem(p, "(so says the offline reader, before any keeper)");
    return ok;
}

/* ---- what is forgotten ---- */

static gboolean
file_has(const char *path, GBytes *needle, gboolean *ret_found)
{
    g_autofree char *data = NULL;
    gsize n;

    if (!g_file_get_contents(path, &data, &n, NULL))
        return FALSE;
    *ret_found = memmem(data, n, g_bytes_get_data(needle, NULL), g_bytes_get_size(needle)) != NULL;
    return TRUE;
}

static gboolean
folder_has(Proof *p, const char *folder, GBytes *needle)
{
    g_autoptr(GDir) dir = g_dir_open(folder, 0, NULL);
    const char *name;
    gboolean has = FALSE;

    while (dir && (name = g_dir_read_name(dir))) {
        g_autofree char *path = g_build_filename(folder, name, NULL);
        gboolean found = FALSE;
        if (g_file_test(path, G_FILE_TEST_IS_DIR))
            found = folder_has(p, path, needle);
        else if (file_has(path, needle, &found) && found)
            proof_problem(p, "what was forgotten is still in %s", path);
        has |= found;
    }
    return has;
}

void
proof_doom(Proof *p, ProofFile *f)
{
    for (guint i = 0; i < f->versions->len; i++) {
        const Version *v = f->versions->pdata[i];
        Doomed d = {.file = f, .id = v->id, .bytes = g_bytes_ref(v->bytes)};
        g_array_append_val(p->doomed, d);
    }
}

gboolean
proof_check_doomed(Proof *p)
{
    for (guint i = 0; i < p->doomed->len; i++) {
        const Doomed *d = &g_array_index(p->doomed, Doomed, i);
        if (proof_version(d->file, d->id) || g_bytes_get_size(d->bytes) < 192)
            continue;
        /* A run that cannot be compressed stays as it is in a compressed frame. */
        g_autoptr(GBytes) needle = g_bytes_new_from_bytes(d->bytes, 128, 64);
        (void) folder_has(p, p->path, needle);
    }
    return p->problems->len == 0;
}
