/* proof-operations.c - what the keeper under test is told, as the parent tells it
 *
 * Each content that is sent is kept, to be compared with what comes back.
 */

#include "config.h"

#include <string.h>
#include <sys/stat.h>

#include "base/fd.h"
#include "base/path.h"
#include "base/sums.h"

#include "tests/unit/proof-inside.h"

GBytes *
proof_bytes(Proof *p, gsize n)
{
    guint8 *bytes = g_malloc(n + 8);
    guint64 state = ++p->counter * G_GUINT64_CONSTANT(0x9E3779B97F4A7C15) + 1;

    for (gsize i = 0; i < n; i += 8) {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        guint64 word = i % 4096 < 2048 ? state : p->counter;
        memcpy(bytes + i, &word, 8);
    }
    return g_bytes_new_take(bytes, n);
}

static ProofOp *
op_new(Proof *p, ProofFile *f, ProofOpKind kind)
{
    ProofOp *op = g_new0(ProofOp, 1);

    static const char *const names[] = {"content", "ranges", "staged", "attributes",
                                        "delete",  "mark",   "forget", "prune"};
    op->process = p->process;
    op->job = ++p->job + 100;
    op->kind = kind;
    op->file = f;
    op->sent_at = interpose_position(p->ip);
    op->answer_at = G_MAXUINT64;
    proof_trace(p, "%s %s (job %" G_GUINT64_FORMAT ")", names[kind], f ? f->path : "", op->job);
    g_ptr_array_add(p->ops, op);
    if (f)
        g_ptr_array_add(f->ops, op);
    return op;
}

static Version *
version_new(Proof *p, GBytes *bytes, Quality quality, PointCause cause)
{
    Version *v = g_new0(Version, 1);
    g_autoptr(Sums) sums = sums_new(g_bytes_get_size(bytes));

    v->bytes = g_bytes_ref(bytes);
    v->quality = quality;
    v->cause = cause;
    v->aside = cause == CAUSE_BEFORE_RESTORE;
    v->mode = S_IFREG | (p->counter % 2 ? 0640 : 0600);
    sums_add(sums, g_bytes_get_data(bytes, NULL), g_bytes_get_size(bytes));
    g_autoptr(GBytes) all = sums_finish(sums, v->hash);
    g_ptr_array_add(p->all_versions, v);
    return v;
}

static void
trace_version(const Proof *p, const Version *v)
{
    proof_trace(p, "    %" G_GSIZE_FORMAT " bytes, quality %d, cause %d",
                g_bytes_get_size(v->bytes), v->quality, v->cause);
}

static int
memory_file(const void *data, gsize n)
{
    g_autoptr(GError) error = NULL;
    int fd = fd_from_bytes("proof", data, n, &error);

    g_assert_no_error(error);
    return fd;
}

static int
sums_file(GBytes *bytes)
{
    g_autoptr(Sums) sums = sums_new(g_bytes_get_size(bytes));
    guint8 hash[HASH_BYTES];

    sums_add(sums, g_bytes_get_data(bytes, NULL), g_bytes_get_size(bytes));
    g_autoptr(GBytes) all = sums_finish(sums, hash);
    return memory_file(g_bytes_get_data(all, NULL), g_bytes_get_size(all));
}

static FileStat
stat_of(gsize size_bytes, guint32 mode)
{
    return (FileStat){.dev = 1,
                      .ino = 4711,
                      .mode = mode,
                      .uid = geteuid(),
                      .gid = getegid(),
                      .nlink = 1,
                      .size_bytes = size_bytes,
                      .mtime_ns = G_GINT64_CONSTANT(1600000000123456789),
                      .ctime_ns = G_GINT64_CONSTANT(1600000001000000000),
                      .fsid = 99};
}

static void
send_append(Proof *p, const ProofOp *op, AppendKind kind, const Version *v, guint32 mode,
            guint64 staged, const guint8 *base, const int *fds, guint n_fds)
{
    FileStat stat = stat_of(v ? g_bytes_get_size(v->bytes) : 0, mode);
    gboolean hash = kind != APPEND_DELETE;
    GVariant *attributes = g_variant_new_fixed_array(G_VARIANT_TYPE_BYTE, NULL, 0, 1);

    proof_ask(p, MESSAGE_DAEMON_APPEND,
              g_variant_new(
                  "(t@ayuu@" FILESTAT_TYPE "@ay@ayuut@ay)", op->job,
                  path_to_variant(op->file->path), (guint32) geteuid(), (guint32) kind,
                  filestat_to_variant(&stat),
                  g_variant_new_fixed_array(G_VARIANT_TYPE_BYTE, hash ? v->hash : NULL,
                                            hash ? HASH_BYTES : 0, 1),
                  attributes, (guint32) (v ? v->quality : QUALITY_STABLE),
                  (guint32) (v ? v->cause : CAUSE_CLOSE), staged,
                  g_variant_new_fixed_array(G_VARIANT_TYPE_BYTE, base, base ? HASH_BYTES : 0, 1)),
              fds, n_fds);
}

Version *
proof_content(Proof *p, ProofFile *f, GBytes *bytes, Quality quality, PointCause cause)
{
    ProofOp *op = op_new(p, f, OP_IS_CONTENT);
    gsize n = g_bytes_get_size(bytes);
    int fds[2] = {sums_file(bytes), memory_file(g_bytes_get_data(bytes, NULL), n)};

    op->version = version_new(p, bytes, quality, cause);
    trace_version(p, op->version);
    op->mode = op->version->mode;
    send_append(p, op, APPEND_CONTENT, op->version, op->mode, 0, NULL, fds, 2);
    fd_clear(fds[0]);
    fd_clear(fds[1]);
    return op->version;
}

Version *
proof_newest(ProofFile *f)
{
    Version *newest = f->current;

    for (guint i = 0; i < f->ops->len; i++) {
        const ProofOp *op = f->ops->pdata[i];
        if (op->kind <= OP_IS_STAGED && !op->refused && !op->version->aside)
            newest = op->version;
        if (op->kind == OP_IS_FORGET && op->all && !op->refused)
            newest = NULL;
    }
    return newest;
}

static gboolean
all_zeros(const guint8 *bytes, gsize n)
{
    for (gsize i = 0; i < n; i++)
        if (bytes[i])
            return FALSE;
    return TRUE;
}

/* As the copier tells them: whole blocks, neighbours of one kind joined. */
static GArray *
find_ranges(GBytes *older, GBytes *newer, GByteArray *ret_content)
{
    GArray *ranges = g_array_new(FALSE, FALSE, sizeof(Range));
    gsize n_old, n_new;
    const guint8 *old = g_bytes_get_data(older, &n_old), *new = g_bytes_get_data(newer, &n_new);

    for (gsize at = 0; at < n_new; at += SUM_BLOCK_BYTES) {
        gsize n = MIN(n_new - at, SUM_BLOCK_BYTES);
        gsize had = at < n_old ? MIN(n_old - at, SUM_BLOCK_BYTES) : 0;
        if (n == had && memcmp(old + at, new + at, n) == 0)
            continue;
        Range r = {.offset = at, .length = n, .zeros = all_zeros(new + at, n)};
        Range *last = ranges->len ? &g_array_index(ranges, Range, ranges->len - 1) : NULL;
        if (!r.zeros)
            g_byte_array_append(ret_content, new + at, (guint) n);
        if (last && last->offset + last->length == at && last->zeros == r.zeros)
            last->length += n;
        else
            g_array_append_val(ranges, r);
    }
    return ranges;
}

Version *
proof_ranges(Proof *p, ProofFile *f, GBytes *bytes, Quality quality, PointCause cause)
{
    Version *base = proof_newest(f);
    g_autoptr(GByteArray) content = g_byte_array_new();

    if (!base)
        return proof_content(p, f, bytes, quality, cause);
    g_autoptr(GArray) ranges = find_ranges(base->bytes, bytes, content);
    ProofOp *op = op_new(p, f, OP_IS_RANGES);
    int fds[3] = {sums_file(bytes), memory_file(content->data, content->len),
                  memory_file(ranges->data, ranges->len * sizeof(Range))};
    op->version = version_new(p, bytes, quality, cause);
    trace_version(p, op->version);
    op->mode = op->version->mode;
    send_append(p, op, APPEND_RANGES, op->version, op->mode, 0, base->hash, fds, 3);
    for (guint i = 0; i < 3; i++)
        fd_clear(fds[i]);
    return op->version;
}

Version *
proof_staged(Proof *p, ProofFile *f, GBytes *bytes, Quality quality, PointCause cause)
{
    g_autoptr(GVariant) carried = NULL;
    guint64 job, number;
    gsize n = g_bytes_get_size(bytes);

    proof_ask(p, MESSAGE_DAEMON_STAGE, g_variant_new("(tt)", ++p->job, (guint64) n), NULL, 0);
    g_autoptr(Message) m = proof_wait_for(p, MESSAGE_KEEPER_STAGED);
    if (!m)
        return NULL;
    g_variant_get(m->body, "(t@" MESSAGE_ERROR_TYPE "t)", &job, &carried, &number);
    if (!message_error_check(carried, NULL, NULL))
        return NULL;
    g_auto(Fd) staged = message_take_fd(m, 0);
    if (!fd_pwrite_full(staged, g_bytes_get_data(bytes, NULL), n, 0))
        return NULL; /* after a power cut */
    interpose_note_write(p->ip, staged, 0, g_bytes_get_data(bytes, NULL), n);
    int fd = sums_file(bytes);
    ProofOp *op = op_new(p, f, OP_IS_STAGED);
    op->version = version_new(p, bytes, quality, cause);
    trace_version(p, op->version);
    op->mode = op->version->mode;
    send_append(p, op, APPEND_STAGED, op->version, op->mode, number, NULL, &fd, 1);
    fd_clear(fd);
    return op->version;
}

void
proof_attributes(Proof *p, ProofFile *f, guint32 mode)
{
    Version *newest = proof_newest(f);

    if (!newest)
        return;
    ProofOp *op = op_new(p, f, OP_IS_ATTRIBUTES);
    op->mode = S_IFREG | mode;
    send_append(p, op, APPEND_ATTRIBUTES, newest, op->mode, 0, NULL, NULL, 0);
}

void
proof_delete(Proof *p, ProofFile *f)
{
    ProofOp *op = op_new(p, f, OP_IS_DELETE);

    send_append(p, op, APPEND_DELETE, NULL, 0, 0, NULL, NULL, 0);
}

void
proof_mark(Proof *p, ProofFile *f, const char *name)
{
    ProofOp *op = op_new(p, f, OP_IS_MARK);

    op->version = proof_newest(f);
    op->name = g_strdup(name);
    proof_ask(
        p, MESSAGE_DAEMON_MARK,
        g_variant_new("(t@aysu)", op->job, path_to_variant(f->path), name, (guint32) CAUSE_NAMED),
        NULL, 0);
}

void
proof_forget(Proof *p, ProofFile *f, Version *v, gboolean all)
{
    ProofOp *op = op_new(p, f, OP_IS_FORGET);

    op->version = v;
    op->all = all;
    proof_ask(p, MESSAGE_DAEMON_FORGET,
              g_variant_new("(t@aytb)", op->job, path_to_variant(f->path),
                            v ? v->id : G_GUINT64_CONSTANT(0), all),
              NULL, 0);
}

void
proof_prune(Proof *p, ProofFile *f)
{
    ProofOp *op = op_new(p, f, OP_IS_PRUNE);

    for (guint i = 0; i < p->files->len && !f; i++)
        g_ptr_array_add(((ProofFile *) p->files->pdata[i])->ops, op);
    proof_ask(p, MESSAGE_DAEMON_PRUNE,
              g_variant_new("(t@ayb)", op->job, path_to_variant(f ? f->path : ""), FALSE), NULL, 0);
}

void
proof_policy(Proof *p, ProofFile *f, const char *keep, guint32 keep_last)
{
    f->thinned = TRUE;
    proof_ask(p, MESSAGE_DAEMON_POLICY,
              g_variant_new("(@aysu)", path_to_variant(f->path), keep, keep_last), NULL, 0);
}
