/* message.c - tests of the messages between roles */

#include "config.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/error.h"
#include "base/fd.h"
#include "base/message.h"
#include "base/path.h"
#include "tests/unit/unit.h"

#define WIRE_VERSION 1

/* A channel, and the bare socket of a peer that may send anything. */
typedef struct Pair {
    Channel *channel;
    Fd peer;
} Pair;

static void
pair_clear(Pair *p)
{
    g_clear_pointer(&p->channel, channel_free);
    fd_clear(p->peer);
}
G_DEFINE_AUTO_CLEANUP_CLEAR_FUNC(Pair, pair_clear)

static void
pair_init(Pair *p)
{
    int fds[2];

    CU_ASSERT_EQUAL_FATAL(socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, fds), 0);
    p->channel = channel_new(fds[0]);
    p->peer = fds[1];
}

static guint
count_fds(void)
{
    g_autoptr(GDir) dir = g_dir_open("/proc/self/fd", 0, NULL);
    guint n = 0;

    while (g_dir_read_name(dir))
        n++;
    return n;
}

static void
send_raw(int fd, const void *data, gsize n, const int *fds, guint n_fds)
{
    char control[CMSG_SPACE(sizeof(int) * 64)] = {0};
    struct iovec iov = {(void *) data, n};
    struct msghdr msg = {.msg_iov = &iov, .msg_iovlen = 1};

    if (n_fds > 0) {
        msg.msg_control = control;
        msg.msg_controllen = CMSG_SPACE(sizeof(int) * n_fds);
        struct cmsghdr *cmsg = CMSG_FIRSTHDR(&msg);
        cmsg->cmsg_level = SOL_SOCKET;
        cmsg->cmsg_type = SCM_RIGHTS;
        cmsg->cmsg_len = CMSG_LEN(sizeof(int) * n_fds);
        memcpy(CMSG_DATA(cmsg), fds, sizeof(int) * n_fds);
    }
    CU_ASSERT_EQUAL(sendmsg(fd, &msg, 0), (gssize) n);
}

static GByteArray *
packet(guint16 version, guint16 type, guint32 length, const void *body, gsize n)
{
    GByteArray *a = g_byte_array_new();

    g_byte_array_append(a, (const guint8 *) &version, 2);
    g_byte_array_append(a, (const guint8 *) &type, 2);
    g_byte_array_append(a, (const guint8 *) &length, 4);
    g_byte_array_append(a, body, (guint) n);
    return a;
}

static void
messages_and_descriptors_arrive_as_they_were_sent(void)
{
    g_autoptr(GError) error = NULL;
    g_auto(Pair) p = {.peer = -1};
    guint64 job, size;
    struct stat a, b;

    pair_init(&p);
    g_autoptr(Channel) other = channel_new(fd_steal(&p.peer));
    g_auto(Fd) fd = fd_from_bytes("test", "hello", 5, &error);
    CU_ASSERT_TRUE(channel_send(p.channel, MESSAGE_COPIER_STAGE,
                                g_variant_new("(tt)", (guint64) 3, G_MAXUINT64), &fd, 1, &error));
    g_autoptr(Message) m = channel_wait(other, 10000, &error);
    UNIT_NO_ERROR(error);
    CU_ASSERT_EQUAL_FATAL(m->type, MESSAGE_COPIER_STAGE);
    g_variant_get(m->body, "(tt)", &job, &size);
    CU_ASSERT_EQUAL(job, 3);
    CU_ASSERT_EQUAL(size, G_MAXUINT64);
    CU_ASSERT_EQUAL_FATAL(m->n_fds, 1);
    g_auto(Fd) got = message_take_fd(m, 0);
    CU_ASSERT_EQUAL(fstat(got, &a) | fstat(fd, &b), 0);
    CU_ASSERT_EQUAL(a.st_ino, b.st_ino);
    CU_ASSERT_EQUAL(fcntl(got, F_GETFD), FD_CLOEXEC);
    CU_ASSERT_EQUAL(message_take_fd(m, 0), -1);
    CU_ASSERT_EQUAL(message_take_fd(m, 5), -1);
    CU_ASSERT_PTR_NULL(channel_receive(other, &error));
    UNIT_NO_ERROR(error);
}

static void
what_the_socket_does_not_take_is_queued_in_order(void)
{
    g_autoptr(GError) error = NULL;
    g_auto(Pair) p = {.peer = -1};
    g_autofree char *big = g_malloc0(60000);
    guint64 sent = 0, got = 0, number;
    g_auto(Fd) fd = open("/dev/null", O_RDONLY | O_CLOEXEC);

    pair_init(&p);
    g_autoptr(Channel) other = channel_new(fd_steal(&p.peer));
    for (; sent < 100; sent++)
        CU_ASSERT_TRUE(channel_send(
            p.channel, MESSAGE_DAEMON_INSPECT,
            g_variant_new("(t@ayb)", sent,
                          g_variant_new_fixed_array(G_VARIANT_TYPE_BYTE, big, 60000, 1), TRUE),
            &fd, 1, &error));
    CU_ASSERT_TRUE(channel_has_queue(p.channel));
    while (got < sent) {
        g_autoptr(Message) m = channel_receive(other, &error);
        UNIT_NO_ERROR(error);
        if (!m) {
            CU_ASSERT_TRUE_FATAL(channel_flush(p.channel, &error));
            continue;
        }
        g_variant_get_child(m->body, 0, "t", &number);
        CU_ASSERT_EQUAL(number, got++);
        CU_ASSERT_EQUAL(m->n_fds, 1);
    }
    CU_ASSERT_FALSE(channel_has_queue(p.channel));
}

/* Each sent with descriptors, which must not stay open. */
static void
malformed_packets_end_the_channel_and_leak_nothing(void)
{
    g_autoptr(GVariant) body = g_variant_ref_sink(g_variant_new("(tt)", (guint64) 1, (guint64) 2));
    const void *data = g_variant_get_data(body);
    const guint8 wild_bool[16] = {[8] = 7}; /* DAEMON_STAGED with a boolean of 7 */
    int fds[] = {0, 1, 2};
    const struct {
        guint16 version, type;
        guint32 length;
        const void *body;
        gsize n;
    } cases[] = {
        {WIRE_VERSION + 1, MESSAGE_COPIER_STAGE, 16, data, 16},
        {WIRE_VERSION, MESSAGE_NONE, 0, "", 0},
        {WIRE_VERSION, MESSAGE_COUNT, 16, data, 16},
        {WIRE_VERSION, 0xffff, 16, data, 16},
        {WIRE_VERSION, MESSAGE_COPIER_STAGE, 15, data, 16},
        {WIRE_VERSION, MESSAGE_COPIER_STAGE, 17, data, 16},
        {WIRE_VERSION, MESSAGE_COPIER_STAGE, 0xffffffff, data, 16},
        {WIRE_VERSION, MESSAGE_COPIER_STAGE, 8, data, 8},
        {WIRE_VERSION, MESSAGE_COPIER_STAGE, 0, "", 0},
        {WIRE_VERSION, MESSAGE_DAEMON_STAGED, 9, wild_bool, 9},
        {WIRE_VERSION, MESSAGE_DAEMON_WATCH, 16,
         "\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff", 16},
    };
    guint before = count_fds();

    for (gsize i = 0; i < G_N_ELEMENTS(cases); i++) {
        g_autoptr(GError) error = NULL;
        g_auto(Pair) p = {.peer = -1};
        pair_init(&p);
        g_autoptr(GByteArray) raw =
            packet(cases[i].version, cases[i].type, cases[i].length, cases[i].body, cases[i].n);
        send_raw(p.peer, raw->data, raw->len, fds, 3);
        CU_ASSERT_PTR_NULL(channel_receive(p.channel, &error));
        CU_ASSERT_PTR_NOT_NULL(error);
        CU_ASSERT_EQUAL(count_fds(), before + 2);
    }
    for (gsize n = 1; n < 8; n++) { /* cut within the header */
        g_autoptr(GError) error = NULL;
        g_auto(Pair) p = {.peer = -1};
        pair_init(&p);
        send_raw(p.peer, "\1\0\1\0\0\0\0", n, fds, 3);
        CU_ASSERT_PTR_NULL(channel_receive(p.channel, &error));
        CU_ASSERT_PTR_NOT_NULL(error);
    }
    CU_ASSERT_EQUAL(count_fds(), before);
}

static void
too_many_bytes_or_descriptors_end_the_channel(void)
{
    g_autoptr(GVariant) body = g_variant_ref_sink(g_variant_new("(tt)", (guint64) 1, (guint64) 2));
    g_autofree guint8 *huge = g_malloc0(MESSAGE_MAX_BYTES + 100);
    int fds[MESSAGE_MAX_FDS + 8] = {0};
    guint before = count_fds();

    for (int i = 0; i < 2; i++) {
        g_autoptr(GError) error = NULL;
        g_auto(Pair) p = {.peer = -1};
        pair_init(&p);
        g_autoptr(GByteArray) raw =
            i ? packet(WIRE_VERSION, MESSAGE_COPIER_STAGE, MESSAGE_MAX_BYTES + 100, huge,
                       MESSAGE_MAX_BYTES + 100)
              : packet(WIRE_VERSION, MESSAGE_COPIER_STAGE, 16, g_variant_get_data(body), 16);
        send_raw(p.peer, raw->data, raw->len, fds, G_N_ELEMENTS(fds));
        CU_ASSERT_PTR_NULL(channel_receive(p.channel, &error));
        CU_ASSERT_TRUE(g_error_matches(error, FILEDUP_ERROR, FILEDUP_ERROR_FATAL));
    }
    CU_ASSERT_EQUAL(count_fds(), before);
}

static void
a_body_that_is_too_large_is_refused_by_the_sender(void)
{
    g_autoptr(GError) error = NULL;
    g_auto(Pair) p = {.peer = -1};
    g_autofree char *big = g_malloc0(MESSAGE_MAX_BYTES);

    pair_init(&p);
    CU_ASSERT_FALSE(channel_send(
        p.channel, MESSAGE_DAEMON_INSPECT,
        g_variant_new("(t@ayb)", (guint64) 1,
                      g_variant_new_fixed_array(G_VARIANT_TYPE_BYTE, big, MESSAGE_MAX_BYTES, 1),
                      TRUE),
        NULL, 0, &error));
    CU_ASSERT_TRUE(g_error_matches(error, FILEDUP_ERROR, FILEDUP_ERROR_REFUSED));
}

static void
the_end_of_the_peer_is_an_error_and_time_out_is_none(void)
{
    g_autoptr(GError) error = NULL;
    g_auto(Pair) p = {.peer = -1};

    pair_init(&p);
    CU_ASSERT_PTR_NULL(channel_wait(p.channel, 1, &error));
    UNIT_NO_ERROR(error);
    fd_clear(fd_steal(&p.peer));
    CU_ASSERT_PTR_NULL(channel_wait(p.channel, -1, &error));
    CU_ASSERT_PTR_NOT_NULL(error);
}

static void
errors_make_the_round_trip(void)
{
    g_autoptr(GError) error = g_error_new(FILEDUP_ERROR, FILEDUP_ERROR_BUSY, "bad\xff text");
    g_autoptr(GError) got = NULL, foreign = NULL;
    int errnum;

    g_autoptr(GVariant) v = g_variant_ref_sink(message_error_new(error, EIO));
    CU_ASSERT_FALSE(message_error_check(v, &errnum, &got));
    CU_ASSERT_EQUAL(errnum, EIO);
    CU_ASSERT_TRUE(g_error_matches(got, FILEDUP_ERROR, FILEDUP_ERROR_BUSY));
    CU_ASSERT_TRUE(g_utf8_validate(got->message, -1, NULL));
    g_autoptr(GVariant) none = g_variant_ref_sink(message_error_new(NULL, 0));
    CU_ASSERT_TRUE(message_error_check(none, NULL, &foreign));
}

typedef struct Heard {
    GMainLoop *loop;
    guint messages, ends;
} Heard;

static void
on_message(Channel *c, Message *m, gpointer data)
{
    Heard *h = data;

    if (m) {
        h->messages++;
        return;
    }
    h->ends++;
    channel_free(c); /* from its own callback */
    g_main_loop_quit(h->loop);
}

static void
an_attached_channel_calls_back_and_may_be_freed_there(void)
{
    g_auto(Pair) p = {.peer = -1};
    Heard h = {.loop = g_main_loop_new(NULL, FALSE)};

    pair_init(&p);
    Channel *other = channel_new(fd_steal(&p.peer));
    channel_attach(other, on_message, &h);
    for (int i = 0; i < 100; i++)
        CU_ASSERT_TRUE(
            channel_send(p.channel, MESSAGE_ROLE_READY, g_variant_new("()"), NULL, 0, NULL));
    while (channel_has_queue(p.channel)) {
        CU_ASSERT_TRUE_FATAL(channel_flush(p.channel, NULL));
        g_main_context_iteration(NULL, FALSE);
    }
    g_clear_pointer(&p.channel, channel_free);
    g_main_loop_run(h.loop);
    CU_ASSERT_EQUAL(h.messages, 100);
    CU_ASSERT_EQUAL(h.ends, 1);
    g_main_loop_unref(h.loop);
}

static const UnitTest tests[] = {
    UNIT_TEST(messages_and_descriptors_arrive_as_they_were_sent),
    UNIT_TEST(what_the_socket_does_not_take_is_queued_in_order),
    UNIT_TEST(malformed_packets_end_the_channel_and_leak_nothing),
    UNIT_TEST(too_many_bytes_or_descriptors_end_the_channel),
    UNIT_TEST(a_body_that_is_too_large_is_refused_by_the_sender),
    UNIT_TEST(the_end_of_the_peer_is_an_error_and_time_out_is_none),
    UNIT_TEST(errors_make_the_round_trip),
    UNIT_TEST(an_attached_channel_calls_back_and_may_be_freed_there),
};
UNIT_MAIN("message", tests)
