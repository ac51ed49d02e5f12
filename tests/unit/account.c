/* account.c - what a store must have of a file
 *
 * A simple account of it: for each content whether it must be there, may be, or must not; without a
 * journal, mirrors or undo, and so with nothing that could go wrong in the same way.
 */

#include "config.h"

#include "tests/unit/proof-inside.h"

void
state_clear(State *s)
{
    for (guint i = 0; s->all && i < s->all->len; i++)
        g_free(g_array_index(s->all, Must, i).name);
    g_clear_pointer(&s->all, g_array_unref);
}
Must *
must_of(State *s, const Version *v)
{
    for (guint i = 0; i < s->all->len; i++)
        if (g_array_index(s->all, Must, i).version == v)
            return &g_array_index(s->all, Must, i);
    return NULL;
}

void
state_start(State *s, const ProofFile *f)
{
    s->all = g_array_new(FALSE, FALSE, sizeof(Must));
    s->current = f->current;
    s->deleted = f->deleted;
    s->mode = f->mode;
    for (guint i = 0; i < f->versions->len; i++) {
        Version *v = f->versions->pdata[i];
        Must m = {.version = v, .state = v->state, .name = g_strdup(v->name), .kept = v->kept};
        g_array_append_val(s->all, m);
    }
}

static void
supersede(State *s)
{
    Must *m = s->current ? must_of(s, s->current) : NULL;

    if (m && m->version->quality == QUALITY_FUZZY && !m->kept && !s->deleted &&
        m->version->cause != CAUSE_QUIET)
        m->state = VERSION_MAYBE;
}

/* The newest stable content is kept, whatever comes. */
static const Version *
newest_stable(const State *s)
{
    for (guint i = s->all->len; i-- > 0;) {
        const Must *m = &g_array_index(s->all, Must, i);
        if (m->version->quality >= QUALITY_STABLE && !m->version->aside && m->state != VERSION_GONE)
            return m->version;
    }
    return NULL;
}

void
state_thin(State *s)
{
    const Version *stable = newest_stable(s);

    for (guint i = 0; i < s->all->len; i++) {
        Must *m = &g_array_index(s->all, Must, i);
        if (m->state == VERSION_THERE && !m->kept && m->version != s->current &&
            m->version != stable)
            m->state = VERSION_MAYBE;
    }
}

static void
forget(State *s, const ProofOp *op, VersionState state)
{
    for (guint i = 0; i < s->all->len; i++) {
        Must *m = &g_array_index(s->all, Must, i);
        gboolean meant =
            op->version ? m->version == op->version : (op->all || m->version != s->current);
        if (meant && m->state != VERSION_GONE)
            m->state = state;
    }
    if (op->all && state == VERSION_GONE) {
        s->current = NULL;
        s->deleted = FALSE;
    }
}

/* It has happened. */
void
state_apply(State *s, const ProofOp *op)
{
    Must *m;

    switch (op->kind) {
    case OP_IS_CONTENT:
    case OP_IS_RANGES:
    case OP_IS_STAGED: {
        Must new = {.version = op->version, .state = VERSION_THERE};
        if (!op->version->aside) {
            supersede(s);
            s->current = op->version;
            s->deleted = FALSE;
            s->mode = op->mode;
        }
        g_array_append_val(s->all, new);
        return;
    }
    case OP_IS_ATTRIBUTES: /* so it is there */
        s->mode = op->mode;
        s->deleted = FALSE;
        return;
    case OP_IS_DELETE:
        s->deleted = TRUE;
        return;
    case OP_IS_MARK:
        if ((m = must_of(s, op->version))) {
            if (op->name[0]) { /* none given: it keeps the one it has */
                g_free(m->name);
                m->name = g_strdup(op->name);
            }
            m->kept = TRUE;
        }
        return;
    case OP_IS_FORGET:
        forget(s, op, VERSION_GONE);
        return;
    case OP_IS_PRUNE:
        state_thin(s);
        return;
    }
}

/* It was asked for, and is not answered. */
void
state_perhaps(State *s, const ProofOp *op)
{
    if (op->kind == OP_IS_FORGET)
        forget(s, op, VERSION_MAYBE);
    if (op->kind == OP_IS_PRUNE)
        state_thin(s);
}
