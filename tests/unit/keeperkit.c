/* keeperkit.c - a keeper in a process of its own, driven over its channel */

#include "config.h"

#include <fcntl.h>
#include <signal.h>
#include <string.h>
#ifdef __SANITIZE_ADDRESS__
#include <sanitizer/lsan_interface.h>
#endif
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/wait.h>

#include "base/fd.h"
#include "base/path.h"
#include "base/role.h"
#include "base/sums.h"
#include "store/point.h"
#include "tests/unit/keeperkit.h"
#include "tests/unit/storekit.h"
#include "tests/unit/unit.h"

#define WAIT_MSEC 120000

void
kit_keeper_start(KitKeeper *k, const char *path, const char *uuid, gboolean create)
{
    int pair[2];

    CU_ASSERT_EQUAL_FATAL(socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, pair), 0);
    k->pid = fork();
    CU_ASSERT_TRUE_FATAL(k->pid >= 0);
    if (k->pid == 0) {
        RoleArgs args = {
            .kind = ROLE_KEEPER, .store_path = path, .store_uuid = uuid, .store_create = create};
        (void) signal(SIGPIPE, SIG_IGN);
        (void) signal(SIGIO, SIG_IGN);
        close(pair[0]);
        int status = keeper_main(&args, channel_new(pair[1]));
#ifdef __SANITIZE_ADDRESS__
        if (status == 0 && __lsan_do_recoverable_leak_check())
            status = 99;
#endif
        _exit(status);
    }
    close(pair[1]);
    k->channel = channel_new(pair[0]);
}

char *
kit_keeper_opened(KitKeeper *k, int *ret_errno, gboolean *ret_damage, GError **error)
{
    g_autoptr(Message) m = kit_keeper_wait(k, MESSAGE_KEEPER_OPENED);
    g_autoptr(GVariant) carried = NULL;
    const char *uuid, *note;
    guint64 applied;
    gboolean damage;

    CU_ASSERT_PTR_NOT_NULL_FATAL(m);
    g_variant_get(m->body, "(@" MESSAGE_ERROR_TYPE "&stb&s)", &carried, &uuid, &applied, &damage,
                  &note);
    if (ret_damage)
        *ret_damage = damage;
    else if (damage)
        g_printerr("    damage: %s\n", note);
    CU_ASSERT_TRUE(ret_damage || !damage);
    return message_error_check(carried, ret_errno, error) ? g_strdup(uuid) : NULL;
}

Message *
kit_keeper_wait(KitKeeper *k, MessageType type)
{
    for (;;) {
        g_autoptr(GError) error = NULL;
        g_autoptr(Message) m = channel_wait(k->channel, WAIT_MSEC, &error);
        if (!m)
            return NULL;
        if (m->type == type)
            return g_steal_pointer(&m);
        if (m->type != MESSAGE_KEEPER_SPACE && m->type != MESSAGE_KEEPER_PROGRESS)
            g_printerr("    %s instead of %s\n", message_name(m->type), message_name(type));
        CU_ASSERT_TRUE(m->type == MESSAGE_KEEPER_SPACE || m->type == MESSAGE_KEEPER_PROGRESS);
    }
}

int
kit_keeper_end(KitKeeper *k)
{
    int status = 0;

    g_clear_pointer(&k->channel, channel_free);
    CU_ASSERT_EQUAL(waitpid(k->pid, &status, 0), k->pid);
    return WIFEXITED(status) ? WEXITSTATUS(status) : -WTERMSIG(status);
}

int
kit_keeper_stop(KitKeeper *k)
{
    (void) channel_send(k->channel, MESSAGE_DAEMON_STOP, g_variant_new("()"), NULL, 0, NULL);
    while (TRUE) { /* reads on, so that it never blocks on us */
        g_autoptr(GError) error = NULL;
        g_autoptr(Message) m = channel_wait(k->channel, WAIT_MSEC, &error);
        if (!m)
            break;
    }
    return kit_keeper_end(k);
}

void
kit_keeper_kill(KitKeeper *k)
{
    CU_ASSERT_EQUAL(kill(k->pid, SIGKILL), 0);
    CU_ASSERT_EQUAL(kit_keeper_end(k), -SIGKILL);
}

/* ---- appends ---- */

static GVariant *
bytes_variant(const void *data, gsize n)
{
    return g_variant_new_fixed_array(G_VARIANT_TYPE_BYTE, data, n, 1);
}

static void
send_append(KitKeeper *k, guint64 job, const Capture *c, gboolean with_hash, const int *fds,
            guint n_fds)
{
    (void) channel_send(
        k->channel, MESSAGE_DAEMON_APPEND,
        g_variant_new("(t@ayuu@" FILESTAT_TYPE "@ay@ayuut@ay)", job, path_to_variant(c->path),
                      (guint32) geteuid(), (guint32) c->kind, filestat_to_variant(&c->stat),
                      bytes_variant(c->hash, with_hash ? HASH_BYTES : 0), bytes_variant(NULL, 0),
                      (guint32) c->quality, (guint32) c->cause, c->staged,
                      bytes_variant(c->base_hash, c->kind == APPEND_RANGES ? HASH_BYTES : 0)),
        fds, n_fds, NULL); /* a keeper that is gone gives no answer */
}

static int
memory_file(const void *data, gsize n)
{
    g_autoptr(GError) error = NULL;
    int fd = fd_from_bytes("kit", data, n, &error);

    UNIT_NO_ERROR(error);
    return fd;
}

static void
append(KitKeeper *k, guint64 job, const char *path, AppendKind kind, const void *data, gsize n,
       PointCause cause, Quality quality)
{
    g_auto(Capture) c = kit_capture(path, data ? data : "", n, cause, quality);
    g_autoptr(GBytes) sums = point_sums(data ? data : (const void *) "", n);
    int fds[2] = {-1, -1};

    c.kind = kind;
    if (kind == APPEND_CONTENT) {
        fds[0] = memory_file(g_bytes_get_data(sums, NULL), g_bytes_get_size(sums));
        fds[1] = memory_file(data, n);
    }
    send_append(k, job, &c, kind == APPEND_CONTENT, fds, kind == APPEND_CONTENT ? 2 : 0);
    fd_clear(fds[0]);
    fd_clear(fds[1]);
}

void
kit_keeper_append(KitKeeper *k, guint64 job, const char *path, AppendKind kind, const void *data,
                  gsize n, PointCause cause)
{
    append(k, job, path, kind, data, n, cause, QUALITY_STABLE);
}

void
kit_keeper_append_fuzzy(KitKeeper *k, guint64 job, const char *path, const void *data, gsize n)
{
    append(k, job, path, APPEND_CONTENT, data, n, CAUSE_CLOSE, QUALITY_FUZZY);
}

void
kit_keeper_append_staged(KitKeeper *k, guint64 job, const char *path, const void *data, gsize n,
                         PointCause cause)
{
    g_auto(Capture) c = kit_capture(path, data, n, cause, QUALITY_STABLE);
    g_autoptr(GBytes) sums = point_sums(data, n);

    (void) channel_send(k->channel, MESSAGE_DAEMON_STAGE,
                        g_variant_new("(tt)", G_GUINT64_CONSTANT(1), (guint64) n), NULL, 0, NULL);
    g_autoptr(Message) m = kit_keeper_wait(k, MESSAGE_KEEPER_STAGED);
    CU_ASSERT_PTR_NOT_NULL_FATAL(m);
    g_variant_get_child(m->body, 2, "t", &c.staged);
    g_auto(Fd) staged = message_take_fd(m, 0);
    CU_ASSERT_TRUE_FATAL(staged >= 0);
    CU_ASSERT_TRUE(fd_pwrite_full(staged, data, n, 0));
    g_auto(Fd) fd = memory_file(g_bytes_get_data(sums, NULL), g_bytes_get_size(sums));
    c.kind = APPEND_STAGED;
    send_append(k, job, &c, TRUE, &fd, 1);
}

/* ---- ranges ---- */

static void
hash_of(const void *data, gsize n, guint8 *ret_hash)
{
    g_autoptr(GBytes) sums = point_sums(data, n);

    sums_hash(sums, n, ret_hash);
}

static void
add_block(KitRanges *r, guint64 offset, const guint8 *data, gsize n)
{
    Range *last = r->ranges->len ? &g_array_index(r->ranges, Range, r->ranges->len - 1) : NULL;
    Range range = {.offset = offset, .length = n};

    range.zeros = data[0] == 0 && memcmp(data, data + 1, n - 1) == 0;
    if (last && last->zeros == range.zeros && last->offset + last->length == offset)
        last->length += n;
    else
        g_array_append_val(r->ranges, range);
    if (!range.zeros)
        g_byte_array_append(r->content, data, (guint) n);
}

KitRanges
kit_ranges(const void *old, gsize n_old, const void *data, gsize n)
{
    g_autoptr(GBytes) sums = point_sums(data, n);
    KitRanges r = {.ranges = g_array_new(FALSE, FALSE, sizeof(Range)),
                   .content = g_byte_array_new(),
                   .sums = g_bytes_unref_to_array(g_steal_pointer(&sums)),
                   .size_bytes = n,
                   .cause = CAUSE_CLOSE,
                   .n_fds = 3};

    hash_of(old, n_old, r.base_hash);
    hash_of(data, n, r.hash);
    for (gsize at = 0; at < n; at += SUM_BLOCK_BYTES) {
        gsize length = MIN(n - at, SUM_BLOCK_BYTES);
        gsize length_old = at < n_old ? MIN(n_old - at, SUM_BLOCK_BYTES) : 0;
        if (length == length_old &&
            memcmp((const guint8 *) old + at, (const guint8 *) data + at, length) == 0)
            continue;
        add_block(&r, at, (const guint8 *) data + at, length);
    }
    return r;
}

void
kit_ranges_clear(KitRanges *r)
{
    g_clear_pointer(&r->ranges, g_array_unref);
    g_clear_pointer(&r->content, g_byte_array_unref);
    g_clear_pointer(&r->sums, g_byte_array_unref);
}

void
kit_ranges_hash(KitRanges *r)
{
    g_autoptr(GBytes) sums = g_bytes_new(r->sums->data, r->sums->len);

    sums_hash(sums, r->size_bytes, r->hash);
}

void
kit_keeper_send_ranges(KitKeeper *k, guint64 job, const char *path, const KitRanges *r)
{
    g_auto(Capture) c = kit_capture(path, "", 0, r->cause, QUALITY_STABLE);
    gsize n_ranges = r->ranges->len * sizeof(Range) - r->cut;
    int fds[3];

    c.kind = APPEND_RANGES;
    c.stat.size_bytes = r->size_bytes;
    memcpy(c.hash, r->hash, HASH_BYTES);
    memcpy(c.base_hash, r->base_hash, HASH_BYTES);
    fds[0] = memory_file(r->sums->data, r->sums->len);
    fds[1] = memory_file(r->content->data, r->content->len);
    if (r->unsealed) {
        fds[2] = fd_memfd("kit", NULL);
        CU_ASSERT_TRUE(fd_pwrite_full(fds[2], r->ranges->data, n_ranges, 0));
    } else {
        fds[2] = memory_file(r->ranges->data, n_ranges);
    }
    send_append(k, job, &c, TRUE, fds, r->n_fds);
    for (guint i = 0; i < G_N_ELEMENTS(fds); i++)
        fd_clear(fds[i]);
}

void
kit_keeper_ranges(KitKeeper *k, guint64 job, const char *path, const void *old, gsize n_old,
                  const void *data, gsize n)
{
    KitRanges r = kit_ranges(old, n_old, data, n);

    kit_keeper_send_ranges(k, job, path, &r);
    kit_ranges_clear(&r);
}

/* ---- answers ---- */

guint64
kit_keeper_durable_as(KitKeeper *k, guint64 job, guint32 *ret_suspicion, GError **error)
{
    g_autoptr(Message) m = kit_keeper_wait(k, MESSAGE_KEEPER_DURABLE);
    g_autoptr(GVariant) carried = NULL;
    guint64 its_job, seq;
    gint64 stamp, time_usec;
    guint32 suspicion;

    CU_ASSERT_PTR_NOT_NULL_FATAL(m);
    g_variant_get(m->body, "(t@" MESSAGE_ERROR_TYPE "txxu)", &its_job, &carried, &seq, &stamp,
                  &time_usec, &suspicion);
    CU_ASSERT_EQUAL(its_job, job);
    if (ret_suspicion)
        *ret_suspicion = suspicion;
    return message_error_check(carried, NULL, error) ? seq : 0;
}

guint64
kit_keeper_durable(KitKeeper *k, guint64 job, GError **error)
{
    return kit_keeper_durable_as(k, job, NULL, error);
}

static GBytes *
read_whole(int fd)
{
    struct stat st;

    CU_ASSERT_EQUAL_FATAL(fstat(fd, &st), 0);
    g_autofree guint8 *data = g_malloc((gsize) st.st_size + 1);
    CU_ASSERT_TRUE_FATAL(fd_pread_full(fd, data, (gsize) st.st_size, 0));
    return g_bytes_new_take(g_steal_pointer(&data), (gsize) st.st_size);
}

static void
ask_content(KitKeeper *k, guint64 job, const char *path, guint64 point, gint64 time_usec)
{
    (void) channel_send(k->channel, MESSAGE_DAEMON_CONTENT,
                        g_variant_new("(t@aytx)", job, path_to_variant(path), point, time_usec),
                        NULL, 0, NULL);
}

void
kit_keeper_ask_content(KitKeeper *k, guint64 job, const char *path, guint64 point)
{
    ask_content(k, job, path, point, 0);
}

GBytes *
kit_keeper_take_content(KitKeeper *k, guint64 *ret_job, int *ret_fd, GError **error)
{
    g_autoptr(Message) m = kit_keeper_wait(k, MESSAGE_KEEPER_CONTENT);
    g_autoptr(GVariant) carried = NULL;
    guint64 size_bytes;

    CU_ASSERT_PTR_NOT_NULL_FATAL(m);
    if (ret_job)
        g_variant_get_child(m->body, 0, "t", ret_job);
    carried = g_variant_get_child_value(m->body, 1);
    if (!message_error_check(carried, NULL, error))
        return NULL;
    g_variant_get_child(m->body, 2, "t", &size_bytes);
    g_auto(Fd) fd = message_take_fd(m, 0), sums_fd = message_take_fd(m, 1);
    CU_ASSERT_TRUE_FATAL(fd >= 0 && sums_fd >= 0);
    CU_ASSERT_EQUAL(fcntl(fd, F_GETFL) & O_ACCMODE, O_RDONLY);
    g_autoptr(GBytes) data = read_whole(fd);
    g_autoptr(GBytes) sums = read_whole(sums_fd);
    g_autoptr(GBytes) own = point_sums(g_bytes_get_data(data, NULL), g_bytes_get_size(data));
    CU_ASSERT_EQUAL(g_bytes_get_size(data), size_bytes);
    CU_ASSERT_TRUE(g_bytes_equal(sums, own));
    if (ret_fd)
        *ret_fd = fd_steal(&fd);
    return g_steal_pointer(&data);
}

GBytes *
kit_keeper_content(KitKeeper *k, const char *path, guint64 point, GError **error)
{
    ask_content(k, 1, path, point, 0);
    return kit_keeper_take_content(k, NULL, NULL, error);
}

GBytes *
kit_keeper_content_at(KitKeeper *k, const char *path, gint64 time_usec, GError **error)
{
    ask_content(k, 1, path, 0, time_usec);
    return kit_keeper_take_content(k, NULL, NULL, error);
}

static GVariant *
take_list(Message *m, const char *type)
{
    g_auto(Fd) fd = message_take_fd(m, 0);
    g_autoptr(GError) error = NULL;

    CU_ASSERT_TRUE_FATAL(fd >= 0);
    g_autoptr(GBytes) bytes = fd_to_bytes(fd, 1 << 30, &error);
    UNIT_NO_ERROR(error);
    g_autoptr(GVariant) list =
        g_variant_ref_sink(g_variant_new_from_bytes(G_VARIANT_TYPE(type), bytes, FALSE));
    CU_ASSERT_TRUE(g_variant_is_normal_form(list));
    return g_steal_pointer(&list);
}

GVariant *
kit_keeper_points(KitKeeper *k, const char *path)
{
    g_autoptr(GVariant) carried = NULL;
    g_autoptr(GError) error = NULL;
    guint32 n;

    (void) channel_send(k->channel, MESSAGE_DAEMON_POINTS,
                        g_variant_new("(t@ayu)", G_GUINT64_CONSTANT(1), path_to_variant(path), 0u),
                        NULL, 0, NULL);
    g_autoptr(Message) m = kit_keeper_wait(k, MESSAGE_KEEPER_POINTS);
    CU_ASSERT_PTR_NOT_NULL_FATAL(m);
    g_variant_get(m->body, "(t@" MESSAGE_ERROR_TYPE "u)", NULL, &carried, &n);
    (void) message_error_check(carried, NULL, &error);
    UNIT_NO_ERROR(error);
    g_autoptr(GVariant) list = take_list(m, POINTS_TYPE);
    CU_ASSERT_EQUAL(g_variant_n_children(list), n);
    return g_steal_pointer(&list);
}

guint64
kit_keeper_mark(KitKeeper *k, const char *path, const char *name, GError **error)
{
    (void) channel_send(k->channel, MESSAGE_DAEMON_MARK,
                        g_variant_new("(t@aysu)", G_GUINT64_CONSTANT(77), path_to_variant(path),
                                      name, (guint32) CAUSE_NAMED),
                        NULL, 0, NULL);
    return kit_keeper_durable(k, 77, error);
}

gboolean
kit_keeper_approve(KitKeeper *k, const char *path, GError **error)
{
    (void) channel_send(k->channel, MESSAGE_DAEMON_APPROVE,
                        g_variant_new("(t@ay)", G_GUINT64_CONSTANT(78), path_to_variant(path)),
                        NULL, 0, NULL);
    return kit_keeper_durable(k, 78, error) > 0;
}

guint32
kit_keeper_state(KitKeeper *k, const char *path, guint32 *ret_suspicion, guint64 *ret_good)
{
    guint32 state, suspicion;
    guint64 good;

    (void) channel_send(k->channel, MESSAGE_DAEMON_LOOKUP,
                        g_variant_new("(t@ay)", G_GUINT64_CONSTANT(5), path_to_variant(path)), NULL,
                        0, NULL);
    g_autoptr(Message) m = kit_keeper_wait(k, MESSAGE_KEEPER_FOUND);
    CU_ASSERT_PTR_NOT_NULL_FATAL(m);
    g_variant_get_child(m->body, 1, "u", &state);
    g_variant_get_child(m->body, 9, "u", &suspicion);
    g_variant_get_child(m->body, 11, "t", &good);
    if (ret_suspicion)
        *ret_suspicion = suspicion;
    if (ret_good)
        *ret_good = good;
    return state;
}

GBytes *
kit_keeper_sums(KitKeeper *k, const char *path, guint8 *ret_hash, guint64 *ret_size, GError **error)
{
    g_autoptr(GVariant) carried = NULL, hash = NULL;
    gsize n;

    (void) channel_send(k->channel, MESSAGE_DAEMON_SUMS,
                        g_variant_new("(t@ay)", G_GUINT64_CONSTANT(6), path_to_variant(path)), NULL,
                        0, NULL);
    g_autoptr(Message) m = kit_keeper_wait(k, MESSAGE_KEEPER_SUMS);
    CU_ASSERT_PTR_NOT_NULL_FATAL(m);
    g_variant_get(m->body, "(t@" MESSAGE_ERROR_TYPE "@ayt)", NULL, &carried, &hash, ret_size);
    if (!message_error_check(carried, NULL, error))
        return NULL;
    const void *bytes = g_variant_get_fixed_array(hash, &n, 1);
    CU_ASSERT_EQUAL_FATAL(n, HASH_BYTES);
    memcpy(ret_hash, bytes, HASH_BYTES);
    g_auto(Fd) fd = message_take_fd(m, 0);
    return fd_to_bytes(fd, 1 << 30, error);
}

char *
kit_keeper_verify(KitKeeper *k, const char *path, gboolean points, guint *ret_points,
                  guint *ret_bad_points, GError **error)
{
    g_autoptr(GVariant) carried = NULL, bad = NULL, bad_points = NULL;
    g_autoptr(GString) text = g_string_new(NULL);
    guint64 bytes, offset, length;
    guint32 n;

    (void) channel_send(
        k->channel, MESSAGE_DAEMON_VERIFY,
        g_variant_new("(t@ayb)", G_GUINT64_CONSTANT(9), path_to_variant(path), points), NULL, 0,
        NULL);
    g_autoptr(Message) m = kit_keeper_wait(k, MESSAGE_KEEPER_VERIFIED);
    CU_ASSERT_PTR_NOT_NULL_FATAL(m);
    g_variant_get(m->body, "(t@" MESSAGE_ERROR_TYPE "t@a(tt)u@at)", NULL, &carried, &bytes, &bad,
                  &n, &bad_points);
    if (!message_error_check(carried, NULL, error))
        return NULL;
    for (gsize i = 0; i < g_variant_n_children(bad); i++) {
        g_variant_get_child(bad, i, "(tt)", &offset, &length);
        g_string_append_printf(text, "%s%" G_GUINT64_FORMAT "+%" G_GUINT64_FORMAT, i ? " " : "",
                               offset, length);
    }
    if (ret_points)
        *ret_points = n;
    if (ret_bad_points)
        *ret_bad_points = (guint) g_variant_n_children(bad_points);
    return g_string_free(g_steal_pointer(&text), FALSE);
}

GVariant *
kit_keeper_prune(KitKeeper *k, const char *path, gboolean dry_run, GError **error)
{
    g_autoptr(GVariant) carried = NULL;
    guint64 points, bytes;

    (void) channel_send(
        k->channel, MESSAGE_DAEMON_PRUNE,
        g_variant_new("(t@ayb)", G_GUINT64_CONSTANT(10), path_to_variant(path), dry_run), NULL, 0,
        NULL);
    g_autoptr(Message) m = kit_keeper_wait(k, MESSAGE_KEEPER_PRUNED);
    CU_ASSERT_PTR_NOT_NULL_FATAL(m);
    g_variant_get(m->body, "(t@" MESSAGE_ERROR_TYPE "tt)", NULL, &carried, &points, &bytes);
    if (!message_error_check(carried, NULL, error))
        return NULL;
    g_autoptr(GVariant) list = take_list(m, PRUNED_TYPE);
    CU_ASSERT_EQUAL(g_variant_n_children(list), points);
    return g_steal_pointer(&list);
}

guint
kit_keeper_forget(KitKeeper *k, const char *path, guint64 point, gboolean current_too,
                  GError **error)
{
    g_autoptr(GVariant) carried = NULL;
    guint32 n;

    (void) channel_send(k->channel, MESSAGE_DAEMON_FORGET,
                        g_variant_new("(t@aytb)", G_GUINT64_CONSTANT(11), path_to_variant(path),
                                      point, current_too),
                        NULL, 0, NULL);
    g_autoptr(Message) m = kit_keeper_wait(k, MESSAGE_KEEPER_FORGOTTEN);
    CU_ASSERT_PTR_NOT_NULL_FATAL(m);
    g_variant_get(m->body, "(t@" MESSAGE_ERROR_TYPE "u)", NULL, &carried, &n);
    return message_error_check(carried, NULL, error) ? n : G_MAXUINT;
}

void
kit_keeper_policy(KitKeeper *k, const char *path, const char *keep, guint32 last)
{
    (void) channel_send(k->channel, MESSAGE_DAEMON_POLICY,
                        g_variant_new("(@aysu)", path_to_variant(path), keep, last), NULL, 0, NULL);
}

void
kit_keeper_limit(KitKeeper *k, guint64 bytes)
{
    (void) channel_send(k->channel, MESSAGE_DAEMON_LIMIT, g_variant_new("(t)", bytes), NULL, 0,
                        NULL);
}
