/* message.c - the messages between roles, and the socket that carries them
 *
 * FORMAT  one SOCK_SEQPACKET packet a message, so that boundaries are the kernel's:
 *           0  u16  version (MESSAGE_VERSION)
 *           2  u16  type
 *           4  u32  body's length
 *           8       body: serialised GVariant, host byte order (both ends are one executable)
 *         descriptors in one SCM_RIGHTS.
 * A packet of the wrong version, length, type or form ends the channel: the peer is treated as
 * dead, never half understood.
 */

#include "config.h"

#include <errno.h>
#include <glib-unix.h>
#include <poll.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/error.h"
#include "base/fd.h"
#include "base/message.h"

#define MESSAGE_VERSION 1

typedef struct Header {
    guint16 version;
    guint16 type;
    guint32 length;
} Header;

static const struct {
    const char *name;
    const char *type;
} kinds[] = {[MESSAGE_NONE] = {"NONE", "()"},
#define X(name, type) [MESSAGE_##name] = {#name, type},
             MESSAGE_LIST(X)
#undef X
};

typedef struct Outgoing {
    GBytes *packet;
    int fds[MESSAGE_MAX_FDS];
    guint n_fds;
} Outgoing;

struct Channel {
    int fd;
    GQueue queue; /* of Outgoing */
    guint8 *buffer;

    ChannelFunc func;
    gpointer data;
    guint in_source, out_source;
    gboolean *freed; /* set while the callback runs, to see that it freed us */
};

const char *
message_name(MessageType type)
{
    return type < MESSAGE_COUNT ? kinds[type].name : "?";
}

static void
close_fds(int *fds, guint n)
{
    for (guint i = 0; i < n; i++)
        fd_clear(fds[i]);
}

void
message_free(Message *m)
{
    if (!m)
        return;
    close_fds(m->fds, m->n_fds);
    g_clear_pointer(&m->body, g_variant_unref);
    g_free(m);
}

int
message_take_fd(Message *m, guint i)
{
    return i < m->n_fds ? fd_steal(&m->fds[i]) : -1;
}

GVariant *
message_error_new(const GError *error, int errnum)
{
    if (!error)
        return g_variant_new(MESSAGE_ERROR_TYPE, -1, errnum, "");
    g_autofree char *text = g_utf8_make_valid(error->message, -1);
    gint code = error->domain == FILEDUP_ERROR ? error->code : (gint) FILEDUP_ERROR_FATAL;
    return g_variant_new(MESSAGE_ERROR_TYPE, code, errnum, text);
}

gboolean
message_error_check(GVariant *value, int *ret_errnum, GError **error)
{
    gint32 code, errnum;
    const char *text;

    g_variant_get(value, "(ii&s)", &code, &errnum, &text);
    if (ret_errnum)
        *ret_errnum = errnum;
    return code < 0 ? TRUE : throw_error(error, (FiledupError) code, "%s", text);
}

static void
outgoing_free(Outgoing *o)
{
    close_fds(o->fds, o->n_fds);
    g_bytes_unref(o->packet);
    g_free(o);
}

Channel *
channel_new(int fd)
{
    Channel *c = g_new0(Channel, 1);
    int size = 4 * MESSAGE_MAX_BYTES;

    c->fd = fd;
    c->buffer = g_malloc(sizeof(Header) + MESSAGE_MAX_BYTES);
    g_queue_init(&c->queue);
    g_unix_set_fd_nonblocking(fd, TRUE, NULL);
    (void) setsockopt(fd, SOL_SOCKET, SO_SNDBUF, &size, sizeof size);
    return c;
}

void
channel_free(Channel *c)
{
    if (!c)
        return;
    if (c->freed)
        *c->freed = TRUE;
    g_clear_handle_id(&c->in_source, g_source_remove);
    g_clear_handle_id(&c->out_source, g_source_remove);
    g_queue_clear_full(&c->queue, (GDestroyNotify) outgoing_free);
    fd_clear(c->fd);
    g_free(c->buffer);
    g_free(c);
}

int
channel_fd(Channel *c)
{
    return c->fd;
}

/* 1 sent, 0 the socket is full, -1 with errno. */
static int
send_packet(int fd, GBytes *packet, const int *fds, guint n_fds)
{
    gsize n;
    union {
        struct cmsghdr align;
        char space[CMSG_SPACE(sizeof(int) * MESSAGE_MAX_FDS)];
    } control = {0};
    struct iovec iov = {.iov_base = (void *) g_bytes_get_data(packet, &n)};
    struct msghdr msg = {.msg_iov = &iov, .msg_iovlen = 1};

    iov.iov_len = n;
    if (n_fds > 0) {
        msg.msg_control = control.space;
        msg.msg_controllen = CMSG_SPACE(sizeof(int) * n_fds);
        struct cmsghdr *cmsg = CMSG_FIRSTHDR(&msg);
        cmsg->cmsg_level = SOL_SOCKET;
        cmsg->cmsg_type = SCM_RIGHTS;
        cmsg->cmsg_len = CMSG_LEN(sizeof(int) * n_fds);
        memcpy(CMSG_DATA(cmsg), fds, sizeof(int) * n_fds);
    }
    for (;;) {
        if (sendmsg(fd, &msg, MSG_NOSIGNAL) >= 0)
            return 1;
        if (errno == EINTR)
            continue;
        return errno == EAGAIN || errno == ENOBUFS ? 0 : -1;
    }
}

static gboolean
on_writable(G_GNUC_UNUSED gint fd, G_GNUC_UNUSED GIOCondition condition, gpointer data)
{
    Channel *c = data;

    /* A failure shows on the reading side, as the peer's end. */
    if (channel_flush(c, NULL) && channel_has_queue(c))
        return G_SOURCE_CONTINUE;
    c->out_source = 0;
    return G_SOURCE_REMOVE;
}

static GBytes *
packet_new(MessageType type, GVariant *body)
{
    gsize n = g_variant_get_size(body);
    guint8 *packet = g_malloc(sizeof(Header) + n);
    Header header = {.version = MESSAGE_VERSION, .type = (guint16) type, .length = (guint32) n};

    memcpy(packet, &header, sizeof header);
    g_variant_store(body, packet + sizeof header);
    return g_bytes_new_take(packet, sizeof header + n);
}

gboolean
channel_send(Channel *c, MessageType type, GVariant *body_floating, const int *fds, guint n_fds,
             GError **error)
{
    g_autoptr(GVariant) body = g_variant_ref_sink(body_floating);

    g_assert(type < MESSAGE_COUNT && n_fds <= MESSAGE_MAX_FDS);
    if (!g_variant_is_of_type(body, G_VARIANT_TYPE(kinds[type].type)))
        g_error("%s has body %s, not %s", kinds[type].name, g_variant_get_type_string(body),
                kinds[type].type);
    if (g_variant_get_size(body) > MESSAGE_MAX_BYTES)
        return throw_error(error, FILEDUP_ERROR_REFUSED, "%s: a body of %" G_GSIZE_FORMAT " bytes",
                           kinds[type].name, g_variant_get_size(body));

    g_autoptr(GBytes) packet = packet_new(type, body);
    int sent = g_queue_is_empty(&c->queue) ? send_packet(c->fd, packet, fds, n_fds) : 0;
    if (sent < 0)
        return throw_errno(error, "sending %s", kinds[type].name);
    if (sent > 0)
        return TRUE;

    Outgoing *o = g_new0(Outgoing, 1);
    o->packet = g_bytes_ref(packet);
    for (guint i = 0; i < n_fds; i++) {
        int copy = fcntl(fds[i], F_DUPFD_CLOEXEC, 0);
        if (copy < 0) {
            throw_errno(error, "duplicating a descriptor for %s", kinds[type].name);
            outgoing_free(o);
            return FALSE;
        }
        o->fds[o->n_fds++] = copy;
    }
    g_queue_push_tail(&c->queue, o);
    if (c->func && !c->out_source)
        c->out_source = g_unix_fd_add(c->fd, G_IO_OUT | G_IO_ERR | G_IO_HUP, on_writable, c);
    return TRUE;
}

gboolean
channel_has_queue(Channel *c)
{
    return !g_queue_is_empty(&c->queue);
}

gboolean
channel_flush(Channel *c, GError **error)
{
    Outgoing *o;

    while ((o = g_queue_peek_head(&c->queue))) {
        int sent = send_packet(c->fd, o->packet, o->fds, o->n_fds);
        if (sent < 0)
            return throw_errno(error, "sending to a role");
        if (sent == 0)
            break;
        outgoing_free(g_queue_pop_head(&c->queue));
    }
    return TRUE;
}

/* All descriptors of the packet, so that none leaks whatever else is wrong with it. */
static void
take_control(struct msghdr *msg, Message *m)
{
    for (struct cmsghdr *cmsg = CMSG_FIRSTHDR(msg); cmsg; cmsg = CMSG_NXTHDR(msg, cmsg)) {
        if (cmsg->cmsg_level != SOL_SOCKET || cmsg->cmsg_type != SCM_RIGHTS)
            continue;
        guint n = (guint) ((cmsg->cmsg_len - CMSG_LEN(0)) / sizeof(int));
        for (guint i = 0; i < n; i++) {
            int fd;
            memcpy(&fd, CMSG_DATA(cmsg) + i * sizeof fd, sizeof fd);
            if (m->n_fds < MESSAGE_MAX_FDS)
                m->fds[m->n_fds++] = fd;
            else
                fd_clear(fd);
        }
    }
}

static gboolean
parse_packet(const guint8 *packet, gsize n, Message *m, GError **error)
{
    Header header;

    if (n < sizeof header)
        return throw_error(error, FILEDUP_ERROR_FATAL, "a message of %" G_GSIZE_FORMAT " bytes", n);
    memcpy(&header, packet, sizeof header);
    if (header.version != MESSAGE_VERSION || header.length != n - sizeof header ||
        header.type == MESSAGE_NONE || header.type >= MESSAGE_COUNT)
        return throw_error(error, FILEDUP_ERROR_FATAL,
                           "a malformed message (version %u, type %u, length %u)", header.version,
                           header.type, header.length);
    m->type = header.type;
    /* A copy is aligned, and does not change under us. */
    g_autoptr(GBytes) bytes = g_bytes_new(packet + sizeof header, header.length);
    m->body = g_variant_ref_sink(
        g_variant_new_from_bytes(G_VARIANT_TYPE(kinds[m->type].type), bytes, FALSE));
    if (!g_variant_is_normal_form(m->body))
        return throw_error(error, FILEDUP_ERROR_FATAL, "%s with a malformed body",
                           kinds[m->type].name);
    return TRUE;
}

Message *
channel_receive(Channel *c, GError **error)
{
    union {
        struct cmsghdr align;
        char space[CMSG_SPACE(sizeof(int) * MESSAGE_MAX_FDS)];
    } control;
    struct iovec iov = {.iov_base = c->buffer, .iov_len = sizeof(Header) + MESSAGE_MAX_BYTES};
    struct msghdr msg = {.msg_iov = &iov,
                         .msg_iovlen = 1,
                         .msg_control = control.space,
                         .msg_controllen = sizeof control.space};
    gssize n;

    do
        n = recvmsg(c->fd, &msg, MSG_CMSG_CLOEXEC | MSG_DONTWAIT);
    while (n < 0 && errno == EINTR);
    if (n < 0 && errno == EAGAIN)
        return NULL;
    if (n < 0) {
        throw_errno(error, "receiving");
        return NULL;
    }

    g_autoptr(Message) m = g_new0(Message, 1);
    take_control(&msg, m);
    if (n == 0) {
        throw_error(error, FILEDUP_ERROR_AGAIN, "the other side closed");
        return NULL;
    }
    if (msg.msg_flags & (MSG_TRUNC | MSG_CTRUNC)) {
        throw_error(error, FILEDUP_ERROR_FATAL, "a message cut off");
        return NULL;
    }
    if (!parse_packet(c->buffer, (gsize) n, m, error))
        return NULL;
    return g_steal_pointer(&m);
}

Message *
channel_wait(Channel *c, int timeout_msec, GError **error)
{
    gint64 end = g_get_monotonic_time() + timeout_msec * G_GINT64_CONSTANT(1000);

    for (;;) {
        g_autoptr(GError) local = NULL;
        Message *m = channel_receive(c, &local);
        if (m)
            return m;
        if (local) {
            g_propagate_error(error, g_steal_pointer(&local));
            return NULL;
        }
        if (!channel_flush(c, error))
            return NULL;

        int wait = -1;
        if (timeout_msec >= 0) {
            gint64 left = end - g_get_monotonic_time();
            if (left <= 0)
                return NULL;
            wait = (int) MIN((left + 999) / 1000, G_MAXINT);
        }
        struct pollfd p = {.fd = c->fd,
                           .events = (short) (POLLIN | (channel_has_queue(c) ? POLLOUT : 0))};
        if (poll(&p, 1, wait) < 0 && errno != EINTR) {
            throw_errno(error, "poll");
            return NULL;
        }
    }
}

/* At most a batch per turn, so that one busy role does not starve the others. */
static gboolean
on_readable(G_GNUC_UNUSED gint fd, G_GNUC_UNUSED GIOCondition condition, gpointer data)
{
    Channel *c = data;
    gboolean freed = FALSE;

    for (int i = 0; i < 64; i++) {
        g_autoptr(GError) error = NULL;
        g_autoptr(Message) m = channel_receive(c, &error);
        if (!m && !error)
            return G_SOURCE_CONTINUE;
        if (error)
            g_debug("channel: %s", error->message);
        c->freed = &freed;
        if (!m)
            c->in_source = 0;
        c->func(c, m, c->data);
        if (freed)
            return G_SOURCE_REMOVE;
        c->freed = NULL;
        if (!m)
            return G_SOURCE_REMOVE;
    }
    return G_SOURCE_CONTINUE;
}

void
channel_attach(Channel *c, ChannelFunc func, gpointer data)
{
    g_assert(!c->func);
    c->func = func;
    c->data = data;
    c->in_source = g_unix_fd_add(c->fd, G_IO_IN | G_IO_ERR | G_IO_HUP, on_readable, c);
    if (channel_has_queue(c))
        c->out_source = g_unix_fd_add(c->fd, G_IO_OUT | G_IO_ERR | G_IO_HUP, on_writable, c);
}
