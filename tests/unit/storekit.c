/* storekit.c - stores, captures and keepers for the tests of service/store */

#include "config.h"

#include <signal.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/wait.h>

#include "base/path.h"
#include "base/role.h"
#include "base/sums.h"
#include "store/mirror.h"
#include "store/staged.h"
#include "tests/unit/storekit.h"
#include "tests/unit/unit.h"

#define KIT_SEGMENT_BYTES (1024 * 1024)

gboolean
kit_try_open(Kit *k, const char *path, guint64 segment_bytes, GError **error)
{
    g_autofree char *catalog = g_build_filename(path, CATALOG_NAME, NULL);

    memset(k, 0, sizeof *k);
    k->store.pending = pending_new();
    k->store.layout = layout_open(path, "", LAYOUT_CREATE, FALSE, NULL, error);
    if (!k->store.layout || !(k->store.catalog = catalog_open(catalog, FALSE, error)) ||
        !catalog_state(k->store.catalog, &k->state, error))
        return FALSE;
    JournalOptions options = {.uuid = k->store.layout->uuid,
                              .segment_bytes = segment_bytes,
                              .applied = k->state.applied,
                              .last_seq = k->state.last_seq,
                              .last_time_usec = k->state.last_time_usec,
                              .incarnation = k->state.incarnation,
                              .clean = k->state.clean,
                              .lost = k->state.lost};
    k->store.journal =
        journal_open(k->store.layout->journal, &options, k->store.pending, &k->report, error);
    k->next_file = k->state.last_file + 100;
    return k->store.journal &&
           catalog_set_open(k->store.catalog, journal_incarnation(k->store.journal), error);
}

void
kit_open(Kit *k, const char *path)
{
    g_autoptr(GError) error = NULL;

    (void) kit_try_open(k, path, KIT_SEGMENT_BYTES, &error);
    UNIT_NO_ERROR(error);
}

void
kit_close(Kit *k)
{
    g_clear_pointer(&k->store.pending, pending_free);
    g_clear_pointer(&k->store.journal, journal_close);
    g_clear_pointer(&k->store.catalog, catalog_close);
    g_clear_pointer(&k->store.layout, layout_close);
    journal_report_clear(&k->report);
}

static FileStat
kit_stat(gsize n)
{
    return (FileStat){.dev = 1,
                      .ino = 4711,
                      .mode = S_IFREG | 0640,
                      .uid = geteuid(),
                      .gid = getegid(),
                      .nlink = 1,
                      .size_bytes = n,
                      .mtime_ns = G_GINT64_CONSTANT(1600000000123456789),
                      .ctime_ns = G_GINT64_CONSTANT(1600000001000000000),
                      .fsid = 99};
}

Capture
kit_capture(const char *path, const void *data, gsize n, PointCause cause, Quality quality)
{
    Capture c = {
        .path = g_strdup(path),
        .principal = geteuid(),
        .kind = APPEND_CONTENT,
        .stat = kit_stat(n),
        .attributes = g_bytes_new(NULL, 0),
        .quality = quality,
        .cause = cause,
        .size_bytes = n,
    };
    g_autoptr(GBytes) sums = point_sums(data, n);

    sums_hash(sums, n, c.hash);
    return c;
}

static guint64
kit_file(Kit *k, const char *path)
{
    g_autoptr(GError) error = NULL;
    g_autoptr(FileView) v = store_view(&k->store, path, &error);

    UNIT_NO_ERROR(error);
    return v->id ? v->id : k->next_file++;
}

static guint64
write_one(Kit *k, Capture *c, const void *data, GArray *extents)
{
    g_autoptr(GError) error = NULL;

    c->file = kit_file(k, c->path);
    JournalRoom room = journal_make_room(k->store.journal, journal_need(c, extents), &error);
    UNIT_NO_ERROR(error);
    CU_ASSERT_EQUAL_FATAL(room, JOURNAL_ROOM);
    Transaction *t = journal_write(k->store.journal, c, data, extents, &error);
    UNIT_NO_ERROR(error);
    (void) journal_sync(k->store.journal, &error);
    UNIT_NO_ERROR(error);
    pending_add(k->store.pending, t);
    return t->seq;
}

guint64
kit_append(Kit *k, const char *path, const void *data, gsize n, PointCause cause, Quality quality)
{
    Capture c = kit_capture(path, data, n, cause, quality);
    g_autoptr(GArray) extents = g_array_new(FALSE, FALSE, sizeof(Extent));
    Extent all = {.length = n};

    if (n > 0)
        g_array_append_val(extents, all);
    return write_one(k, &c, data, extents);
}

guint64
kit_append_kind(Kit *k, const char *path, AppendKind kind)
{
    Capture c = kit_capture(path, "", 0, CAUSE_CLOSE, QUALITY_STABLE);

    c.kind = kind;
    return write_one(k, &c, NULL, NULL);
}

guint64
kit_append_staged(Kit *k, const char *path, const void *data, gsize n, PointCause cause)
{
    static guint64 number = 1000;
    g_autoptr(GError) error = NULL;
    Capture c = kit_capture(path, data, n, cause, QUALITY_STABLE);
    g_autoptr(GBytes) sums = point_sums(data, n);

    c.kind = APPEND_STAGED;
    c.staged = ++number;
    g_auto(Fd) own = -1;
    g_auto(Fd) fd = staged_create(k->store.layout->staged, c.staged, &own, &error);
    UNIT_NO_ERROR(error);
    CU_ASSERT_TRUE_FATAL(fd_pwrite_full(fd, data, n, 0));
    (void) staged_finish(k->store.layout->staged, own, c.staged, n, sums, &c.staged_ino, &error);
    UNIT_NO_ERROR(error);
    return write_one(k, &c, NULL, NULL);
}

void
kit_apply_all(Kit *k)
{
    const Transaction *t;

    while ((t = pending_oldest(k->store.pending))) {
        g_autoptr(GError) error = NULL;
        (void) apply_file(&k->store, t->capture.path, &error);
        UNIT_NO_ERROR(error);
    }
}

static GBytes *
read_whole(int fd)
{
    struct stat st;

    CU_ASSERT_EQUAL_FATAL(fstat(fd, &st), 0);
    g_autofree guint8 *data = g_malloc((gsize) st.st_size + 1);
    CU_ASSERT_TRUE_FATAL(fd_pread_full(fd, data, (gsize) st.st_size, 0));
    return g_bytes_new(data, (gsize) st.st_size);
}

GBytes *
kit_content(Kit *k, const char *path, guint64 point)
{
    g_autoptr(GError) error = NULL;
    g_autoptr(FileView) v = store_view(&k->store, path, &error);

    UNIT_NO_ERROR(error);
    Point *p = view_point(v, point);
    if (!p)
        return NULL;
    g_auto(Fd) fd = mirror_open(k->store.layout->root, v, p, &error);
    UNIT_NO_ERROR(error);
    g_autoptr(GBytes) data = read_whole(fd);
    g_autoptr(GBytes) sums = store_sums(k->store.catalog, k->store.layout->staged, v, p, &error);
    UNIT_NO_ERROR(error);
    g_autoptr(GBytes) own = point_sums(g_bytes_get_data(data, NULL), g_bytes_get_size(data));
    CU_ASSERT_TRUE(g_bytes_equal(sums, own));
    return g_steal_pointer(&data);
}

void
kit_expect(Kit *k, const char *path, guint64 point, const char *text)
{
    g_autoptr(GBytes) data = kit_content(k, path, point);
    g_autoptr(GBytes) wanted = g_bytes_new(text, strlen(text));

    CU_ASSERT_PTR_NOT_NULL_FATAL(data);
    CU_ASSERT_TRUE(g_bytes_equal(data, wanted));
}

/* ---- a keeper in a process of its own ---- */

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
        close(pair[0]);
        _exit(keeper_main(&args, channel_new(pair[1])));
    }
    close(pair[1]);
    k->channel = channel_new(pair[0]);
}

Message *
kit_keeper_wait(KitKeeper *k, MessageType type)
{
    for (;;) {
        g_autoptr(GError) error = NULL;
        g_autoptr(Message) m = channel_wait(k->channel, 60000, &error);
        if (!m)
            return NULL;
        if (m->type == type)
            return g_steal_pointer(&m);
        CU_ASSERT_EQUAL(m->type, MESSAGE_KEEPER_SPACE);
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
        g_autoptr(Message) m = channel_wait(k->channel, 60000, &error);
        if (!m)
            break;
    }
    return kit_keeper_end(k);
}

void
kit_keeper_append(KitKeeper *k, guint64 job, const char *path, AppendKind kind, const void *data,
                  gsize n, PointCause cause)
{
    g_auto(Capture) c = kit_capture(path, data ? data : "", n, cause, QUALITY_STABLE);
    g_autoptr(GError) error = NULL;
    g_autoptr(GBytes) sums = point_sums(data ? data : (const void *) "", n);
    int fds[2] = {-1, -1};

    if (kind == APPEND_CONTENT) {
        fds[0] =
            fd_from_bytes("sums", g_bytes_get_data(sums, NULL), g_bytes_get_size(sums), &error);
        UNIT_NO_ERROR(error);
        fds[1] = fd_from_bytes("content", data, n, &error);
        UNIT_NO_ERROR(error);
    }
    GVariant *hash = g_variant_new_fixed_array(G_VARIANT_TYPE_BYTE, c.hash,
                                               kind == APPEND_CONTENT ? HASH_BYTES : 0, 1);
    (void) channel_send(
        k->channel, MESSAGE_DAEMON_APPEND,
        g_variant_new("(t@ayuu@" FILESTAT_TYPE "@ay@ayuut)", job, path_to_variant(path),
                      (guint32) geteuid(), (guint32) kind, filestat_to_variant(&c.stat), hash,
                      g_variant_new_fixed_array(G_VARIANT_TYPE_BYTE, NULL, 0, 1),
                      (guint32) QUALITY_STABLE, (guint32) cause, G_GUINT64_CONSTANT(0)),
        fds, kind == APPEND_CONTENT ? 2 : 0, &error);
    UNIT_NO_ERROR(error);
    fd_clear(fds[0]);
    fd_clear(fds[1]);
}

guint64
kit_keeper_durable(KitKeeper *k, guint64 job, GError **error)
{
    g_autoptr(Message) m = kit_keeper_wait(k, MESSAGE_KEEPER_DURABLE);
    g_autoptr(GVariant) carried = NULL;
    guint64 its_job, seq;
    gint64 stamp, time_usec;

    CU_ASSERT_PTR_NOT_NULL_FATAL(m);
    g_variant_get(m->body, "(t@" MESSAGE_ERROR_TYPE "txx)", &its_job, &carried, &seq, &stamp,
                  &time_usec);
    CU_ASSERT_EQUAL(its_job, job);
    return message_error_check(carried, NULL, error) ? seq : 0;
}

GBytes *
kit_keeper_content(KitKeeper *k, const char *path, guint64 point, GError **error)
{
    g_autoptr(GVariant) carried = NULL;

    (void) channel_send(
        k->channel, MESSAGE_DAEMON_CONTENT,
        g_variant_new("(t@ayt)", G_GUINT64_CONSTANT(1), path_to_variant(path), point), NULL, 0,
        NULL);
    g_autoptr(Message) m = kit_keeper_wait(k, MESSAGE_KEEPER_CONTENT);
    CU_ASSERT_PTR_NOT_NULL_FATAL(m);
    carried = g_variant_get_child_value(m->body, 1);
    if (!message_error_check(carried, NULL, error))
        return NULL;
    g_auto(Fd) fd = message_take_fd(m, 0);
    return read_whole(fd);
}
