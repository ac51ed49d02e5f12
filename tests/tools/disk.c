/* disk.c - what a power cut may leave
 *
 * PERMITTED   After the cut a file has what it had at its last fsync or fdatasync before, and of
 *             what was done to it since, each block by itself may be as it was at any moment between
 *             that sync and the cut; so may the size. (The page cache is written back in any order.)
 *             A folder has the names that it had at its last fsync, and of what was done to its
 *             names since, the first so many, in order. A rename from one folder to another is in
 *             both or in neither. A file's sync promises nothing about its name, nor about other
 *             files: less than ext4 and xfs promise, and what POSIX does.
 *
 * The log is read once into nodes (files and folders, which live on when their inode numbers are
 * used again) and steps. A state is then drawn: for each folder a step up to which its names are
 * taken, for each block one up to which its writes are.
 */

#include "config.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "tests/tools/disk.h"
#include "tests/tools/oplog.h"

/* One name of a folder is given to a node, or (node 0) taken away. */
typedef struct Change {
    guint dir, node;
    const char *name;
} Change;

typedef struct Step {
    const Op *op;
    guint64 position;
    guint node;        /* that is written, resized or synced */
    guint site;        /* of a sync                          */
    Change changes[2]; /* of names                           */
    guint n_changes;
} Step;

typedef struct Node {
    gboolean folder;
    GArray *steps;    /* guint: that concern it (a folder: its names), syncs included */
    GHashTable *live; /* folder: name -> node, as the log goes */
} Node;

typedef struct Site {
    guint64 key;
    const char *name;
    GArray *steps;
} Site;

typedef struct Sent {
    guint64 process, number, position;
} Sent;

struct Disk {
    GArray *steps; /* Step */
    GArray *nodes; /* Node; 0 is none, 1 the root */
    GArray *sites;
    GArray *sent;
    GHashTable *of_ino; /* while reading: inode number -> node */
};

static Step *
step_at(const Disk *d, guint i)
{
    return &g_array_index(d->steps, Step, i);
}

static Node *
node_at(const Disk *d, guint i)
{
    return &g_array_index(d->nodes, Node, i);
}

/* ---- reading the log ---- */

static guint
node_new(Disk *d, guint64 ino, gboolean folder)
{
    Node n = {.folder = folder, .steps = g_array_new(FALSE, FALSE, sizeof(guint))};

    if (folder)
        n.live = g_hash_table_new(g_str_hash, g_str_equal);
    g_array_append_val(d->nodes, n);
    g_hash_table_insert(d->of_ino, GSIZE_TO_POINTER((gsize) ino),
                        GUINT_TO_POINTER(d->nodes->len - 1));
    return d->nodes->len - 1;
}

static guint
node_of(const Disk *d, guint64 ino)
{
    return GPOINTER_TO_UINT(g_hash_table_lookup(d->of_ino, GSIZE_TO_POINTER((gsize) ino)));
}

static void
concern(Disk *d, guint node, guint step)
{
    if (node == 0)
        return;
    GArray *steps = node_at(d, node)->steps;
    if (steps->len == 0 || g_array_index(steps, guint, steps->len - 1) != step)
        g_array_append_val(steps, step);
}

static void
change(Disk *d, Step *s, guint64 dir_ino, const char *name, guint node)
{
    guint dir = node_of(d, dir_ino);

    if (dir == 0) /* outside */
        return;
    s->changes[s->n_changes++] = (Change){.dir = dir, .node = node, .name = name};
    if (node)
        g_hash_table_insert(node_at(d, dir)->live, (gpointer) name, GUINT_TO_POINTER(node));
    else
        g_hash_table_remove(node_at(d, dir)->live, name);
}

static guint
live_node(const Disk *d, guint64 dir_ino, const char *name)
{
    guint dir = node_of(d, dir_ino);

    return dir ? GPOINTER_TO_UINT(g_hash_table_lookup(node_at(d, dir)->live, name)) : 0;
}

static guint
site_of(Disk *d, const Op *op, guint step)
{
    guint i;

    for (i = 0; i < d->sites->len; i++)
        if (g_array_index(d->sites, Site, i).key == op->site)
            break;
    if (i == d->sites->len) {
        Site s = {.key = op->site,
                  .name = op_name(op),
                  .steps = g_array_new(FALSE, FALSE, sizeof(guint))};
        g_array_append_val(d->sites, s);
    }
    g_array_append_val(g_array_index(d->sites, Site, i).steps, step);
    return i;
}

static void
read_step(Disk *d, const Op *op, guint64 position)
{
    Step s = {.op = op, .position = position, .site = DISK_NO_SITE};
    guint index = d->steps->len, a, b;

    switch ((OpKind) op->kind) {
    case OP_CREATE:
    case OP_MKDIR:
        s.node = node_new(d, op->ino, op->kind == OP_MKDIR);
        change(d, &s, op->dir, op_name(op), s.node);
        break;
    case OP_TMPFILE:
        s.node = node_new(d, op->ino, FALSE);
        break;
    case OP_WRITE:
    case OP_ZERO:
    case OP_SIZE:
    case OP_GROW:
        s.node = node_of(d, op->ino);
        break;
    case OP_SYNC:
        s.node = node_of(d, op->ino);
        s.site = site_of(d, op, index);
        break;
    case OP_RENAME:
        a = live_node(d, op->dir, op_name(op));
        change(d, &s, op->dir, op_name(op), 0);
        change(d, &s, op->dir2, op_name2(op), a);
        break;
    case OP_EXCHANGE:
        a = live_node(d, op->dir, op_name(op));
        b = live_node(d, op->dir2, op_name2(op));
        change(d, &s, op->dir, op_name(op), b);
        change(d, &s, op->dir2, op_name2(op), a);
        break;
    case OP_LINK:
        change(d, &s, op->dir2, op_name2(op), node_of(d, op->ino));
        break;
    case OP_UNLINK:
        change(d, &s, op->dir, op_name(op), 0);
        break;
    case OP_SENT: {
        Sent sent = {.process = op->dir, .number = op->offset, .position = position};
        g_array_append_val(d->sent, sent);
        return;
    }
    }
    concern(d, s.node, index);
    for (guint i = 0; i < s.n_changes; i++)
        concern(d, s.changes[i].dir, index);
    g_array_append_val(d->steps, s);
}

static void
clear_node(gpointer data)
{
    Node *n = data;

    g_clear_pointer(&n->steps, g_array_unref);
    g_clear_pointer(&n->live, g_hash_table_unref);
}

static void
clear_site(gpointer data)
{
    g_array_unref(((Site *) data)->steps);
}

Disk *
disk_new(const Interpose *ip, guint64 root_ino)
{
    Disk *d = g_new0(Disk, 1);
    Node none = {0};

    d->steps = g_array_new(FALSE, FALSE, sizeof(Step));
    d->nodes = g_array_new(FALSE, FALSE, sizeof(Node));
    g_array_set_clear_func(d->nodes, clear_node);
    d->sites = g_array_new(FALSE, FALSE, sizeof(Site));
    g_array_set_clear_func(d->sites, clear_site);
    d->sent = g_array_new(FALSE, FALSE, sizeof(Sent));
    d->of_ino = g_hash_table_new(NULL, NULL);
    g_array_append_val(d->nodes, none);
    (void) node_new(d, root_ino, TRUE);
    for (guint64 at = 0; at < ip->log_bytes;) {
        const Op *op = (const Op *) (const void *) (ip->log + at);
        read_step(d, op, at);
        at += op->bytes;
    }
    return d;
}

void
disk_free(Disk *d)
{
    g_array_unref(d->steps);
    g_array_unref(d->nodes);
    g_array_unref(d->sites);
    g_array_unref(d->sent);
    g_hash_table_unref(d->of_ino);
    g_free(d);
}

guint
disk_steps(const Disk *d)
{
    return d->steps->len;
}

guint64
disk_position(const Disk *d, guint step)
{
    return step < d->steps->len ? step_at(d, step)->position : G_MAXUINT64 - 1;
}

guint64
disk_sent_at(const Disk *d, guint process, guint64 number)
{
    for (guint i = 0; i < d->sent->len; i++) {
        const Sent *s = &g_array_index(d->sent, Sent, i);
        if (s->process == process && s->number == number)
            return s->position;
    }
    return G_MAXUINT64;
}

guint
disk_sites(const Disk *d)
{
    return d->sites->len;
}

const char *
disk_site_name(const Disk *d, guint site)
{
    return g_array_index(d->sites, Site, site).name;
}

guint
disk_site_uses(const Disk *d, guint site)
{
    return g_array_index(d->sites, Site, site).steps->len;
}

guint
disk_site_step(const Disk *d, guint site, guint use)
{
    return g_array_index(g_array_index(d->sites, Site, site).steps, guint, use);
}

/* ---- drawing a state ---- */

typedef struct Draw {
    const Disk *disk;
    guint step; /* the cut is before it */
    DiskMode mode;
    guint ignored;
    gsize block_bytes;
    GRand *rand;
    guint *until; /* by node: a folder's names are as before this step */
    char **path;  /* by node: where it has been put already            */
} Draw;

/* All of the node that came before this step is certain. */
static guint
certain_until(const Draw *w, guint node)
{
    const GArray *steps = node_at(w->disk, node)->steps;
    guint until = 0;

    for (guint i = 0; i < steps->len; i++) {
        guint at = g_array_index(steps, guint, i);
        const Step *s = step_at(w->disk, at);
        if (at >= w->step)
            break;
        if (s->op->kind == OP_SYNC && s->site != w->ignored)
            until = at;
    }
    return until;
}

static guint
draw_until(const Draw *w, guint from, gboolean names)
{
    switch (w->mode) {
    case DISK_NOTHING:
        return from;
    case DISK_ALL:
        return w->step;
    case DISK_NAMES:
        return names ? w->step : from;
    case DISK_CONTENTS:
        return names ? from : w->step;
    default:
        break;
    }
    switch (g_rand_int_range(w->rand, 0, 4)) {
    case 0:
        return from;
    case 1:
        return w->step;
    default:
        return from >= w->step
                   ? from
                   : (guint) g_rand_int_range(w->rand, (gint32) from, (gint32) w->step + 1);
    }
}

static void
draw_names(Draw *w)
{
    gboolean again = TRUE;

    for (guint i = 1; i < w->disk->nodes->len; i++)
        if (node_at(w->disk, i)->folder)
            w->until[i] = draw_until(w, certain_until(w, i), TRUE);
    while (again) { /* what touches two folders is in both */
        again = FALSE;
        for (guint i = 0; i < w->step; i++) {
            const Step *s = step_at(w->disk, i);
            if (s->n_changes < 2)
                continue;
            guint a = s->changes[0].dir, b = s->changes[1].dir;
            if ((w->until[a] > i) == (w->until[b] > i))
                continue;
            w->until[a] = MAX(w->until[a], i + 1);
            w->until[b] = MAX(w->until[b], i + 1);
            again = TRUE;
        }
    }
}

/* What a node's file has. */
typedef struct Image {
    guint8 *bytes;
    gsize room, size;
} Image;

static void
image_reach(Image *m, gsize end)
{
    if (end <= m->room)
        return;
    gsize room = MAX(end, m->room * 2);
    m->bytes = g_realloc(m->bytes, room);
    memset(m->bytes + m->room, 0, room - m->room);
    m->room = room;
}

/* Does a step to the bytes [from, to) of the image, size apart. */
static void
do_bytes(Image *m, const Op *op, gsize from, gsize to)
{
    gsize start = MAX(from, op->offset), end = MIN(to, op->offset + op->length);

    if (op->kind == OP_SIZE) {
        start = MAX(from, op->offset);
        end = MIN(to, m->room);
    }
    if (start >= end)
        return;
    image_reach(m, end);
    if (op->kind == OP_WRITE)
        memcpy(m->bytes + start, op_payload(op) + (start - op->offset), end - start);
    else if (op->kind == OP_ZERO || op->kind == OP_SIZE)
        memset(m->bytes + start, 0, end - start);
}

static gsize
size_after(gsize size, const Op *op)
{
    switch (op->kind) {
    case OP_WRITE:
        return MAX(size, op->offset + op->length);
    case OP_SIZE:
        return op->offset;
    case OP_GROW:
        return MAX(size, op->offset);
    default:
        return size;
    }
}

static gboolean
is_data(const Op *op)
{
    return op->kind == OP_WRITE || op->kind == OP_ZERO || op->kind == OP_SIZE ||
           op->kind == OP_GROW;
}

/* The blocks that a step touches, each if the draw has it. */
static void
do_blocks(const Draw *w, Image *m, const Step *s, guint at, GHashTable *blocks, guint from)
{
    gsize unit = w->block_bytes;
    gsize start = s->op->offset / unit, end = (s->op->offset + s->op->length + unit - 1) / unit;

    if (s->op->kind == OP_GROW)
        return;
    if (s->op->kind == OP_SIZE)
        end = (m->room + unit - 1) / unit;
    for (gsize i = start; i < end; i++) {
        gpointer key = GSIZE_TO_POINTER(i), until;
        if (!g_hash_table_lookup_extended(blocks, key, NULL, &until)) {
            until = GUINT_TO_POINTER(draw_until(w, from, FALSE));
            g_hash_table_insert(blocks, key, until);
        }
        if (at < GPOINTER_TO_UINT(until))
            do_bytes(m, s->op, i * unit, (i + 1) * unit);
    }
}

static void
draw_file(const Draw *w, guint node, Image *m)
{
    const GArray *steps = node_at(w->disk, node)->steps;
    g_autoptr(GHashTable) blocks = g_hash_table_new(NULL, NULL);
    guint certain = certain_until(w, node);
    guint size_until = draw_until(w, certain, FALSE);

    for (guint i = 0; i < steps->len; i++) {
        guint at = g_array_index(steps, guint, i);
        const Step *s = step_at(w->disk, at);
        if (at >= w->step)
            break;
        if (!is_data(s->op))
            continue;
        if (at < certain)
            do_bytes(m, s->op, 0, G_MAXSIZE);
        else
            do_blocks(w, m, s, at, blocks, certain);
        if (at < certain || at < size_until)
            m->size = size_after(m->size, s->op);
    }
    image_reach(m, m->size);
}

static void
put_file(Draw *w, guint node, const char *path)
{
    Image m = {0};

    if (w->path[node]) { /* another name of it */
        g_assert_cmpint(link(w->path[node], path), ==, 0);
        return;
    }
    draw_file(w, node, &m);
    int fd = open(path, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
    g_assert_cmpint(fd, >=, 0);
    for (gsize at = 0; at < m.size;) {
        gssize n = pwrite(fd, m.bytes + at, m.size - at, (off_t) at);
        g_assert_cmpint(n, >, 0);
        at += (gsize) n;
    }
    (void) close(fd);
    g_free(m.bytes);
    w->path[node] = g_strdup(path);
}

static void
put_folder(Draw *w, guint node, const char *path)
{
    const GArray *steps = node_at(w->disk, node)->steps;
    g_autoptr(GHashTable) names = g_hash_table_new(g_str_hash, g_str_equal);
    GHashTableIter iter;
    gpointer name, child;

    g_assert_true(mkdir(path, 0700) == 0 || errno == EEXIST);
    w->path[node] = g_strdup(path);
    for (guint i = 0; i < steps->len; i++) {
        guint at = g_array_index(steps, guint, i);
        const Step *s = step_at(w->disk, at);
        if (at >= w->until[node])
            break;
        for (guint j = 0; j < s->n_changes; j++) {
            const Change *c = &s->changes[j];
            if (c->dir == node && c->node)
                g_hash_table_insert(names, (gpointer) c->name, GUINT_TO_POINTER(c->node));
            else if (c->dir == node)
                g_hash_table_remove(names, c->name);
        }
    }
    g_hash_table_iter_init(&iter, names);
    while (g_hash_table_iter_next(&iter, &name, &child)) {
        g_autofree char *below = g_build_filename(path, name, NULL);
        guint n = GPOINTER_TO_UINT(child);
        if (!node_at(w->disk, n)->folder)
            put_file(w, n, below);
        else if (!w->path[n])
            put_folder(w, n, below);
    }
}

void
disk_build(const Disk *d, guint step, DiskMode mode, guint ignored, gsize block_bytes, GRand *rand,
           const char *folder)
{
    Draw w = {.disk = d,
              .step = step,
              .mode = mode,
              .ignored = ignored,
              .block_bytes = block_bytes,
              .rand = rand,
              .until = g_new0(guint, d->nodes->len),
              .path = g_new0(char *, d->nodes->len)};

    draw_names(&w);
    put_folder(&w, 1, folder);
    for (guint i = 0; i < d->nodes->len; i++)
        g_free(w.path[i]);
    g_free(w.path);
    g_free(w.until);
}
