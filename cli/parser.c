/* parser.c - a foreign store, read by a process that can do no harm
 *
 * What is in a store's catalog, journal and packs decides what a parser of them does, and whoever
 * owns the store decides what is in them. Root does not parse what is not root's: a child process
 * becomes the store's owner, for good, and reads. What it could be made to do, that owner could have
 * done anyhow. Everybody else, and root with a store of root's own, reads in this process.
 *
 * One datagram asks (INQUIRY_QUESTION_TYPE), one answers: an error (MESSAGE_ERROR_TYPE) and, if
 * there is none, a sealed memory file with the answer, and the content's descriptor. The answer is
 * believed as far as any file's content would be: its type is checked, a descriptor must lead to a
 * regular file, and what is restored from it is checked against the sums after it was written.
 *
 * Root's own is what only root can have made: a folder of root's that nobody else may write to. It is
 * judged by its descriptor, and read through the same: its path may lead elsewhere a moment later.
 *
 * The child needs no account (a disk may come from another machine), and no path: the folder is
 * opened before the switch.
 */

#include "config.h"

#include <fcntl.h>
#include <grp.h>
#include <signal.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/error.h"
#include "base/fd.h"
#include "base/path.h"
#include "base/sums.h"
#include "cli/inquiry.h"
#include "cli/parser.h"

#define DATAGRAM_BYTES (16 * 1024)
#define ANSWER_BYTES   ((gsize) 1024 * 1024 * 1024)
#define HERE_PREFIX    "store '.': "

struct Parser {
    char *uuid;
    uid_t owner;
    gid_t group;
    gboolean trusted;
    Fd folder;           /* by which root reads a store of root's */
    StoreReader *reader; /* in this process; or: */
    pid_t pid;
    Fd socket;
};

/* Datagrams ----------------------------------------------------------------------------------- */

static gboolean
send_datagram(int socket, GVariant *body, const int *fds, guint n_fds)
{
    g_autoptr(GVariant) owned = g_variant_ref_sink(body);
    union {
        char bytes[CMSG_SPACE(sizeof(int) * 2)];
        struct cmsghdr align;
    } control = {0};
    struct iovec part = {(void *) g_variant_get_data(owned), g_variant_get_size(owned)};
    struct msghdr header = {.msg_iov = &part, .msg_iovlen = 1};

    if (n_fds) {
        header.msg_control = control.bytes;
        header.msg_controllen = CMSG_SPACE(sizeof(int) * n_fds);
        struct cmsghdr *c = CMSG_FIRSTHDR(&header);
        c->cmsg_level = SOL_SOCKET;
        c->cmsg_type = SCM_RIGHTS;
        c->cmsg_len = CMSG_LEN(sizeof(int) * n_fds);
        memcpy(CMSG_DATA(c), fds, sizeof(int) * n_fds);
    }
    return sendmsg(socket, &header, MSG_NOSIGNAL) == (gssize) part.iov_len;
}

/* NULL: the other end is gone, or said what it must not. Descriptors that did not come are -1. */
static GVariant *
receive_datagram(int socket, const char *type, int ret_fds[2])
{
    union {
        char bytes[CMSG_SPACE(sizeof(int) * 2)];
        struct cmsghdr align;
    } control = {0};
    g_autofree char *buffer = g_malloc(DATAGRAM_BYTES);
    struct iovec part = {buffer, DATAGRAM_BYTES};
    struct msghdr header = {.msg_iov = &part,
                            .msg_iovlen = 1,
                            .msg_control = control.bytes,
                            .msg_controllen = sizeof control.bytes};
    gssize n;

    ret_fds[0] = ret_fds[1] = -1;
    do
        n = recvmsg(socket, &header, MSG_CMSG_CLOEXEC);
    while (n < 0 && errno == EINTR);
    struct cmsghdr *c = n > 0 ? CMSG_FIRSTHDR(&header) : NULL;
    if (c && c->cmsg_level == SOL_SOCKET && c->cmsg_type == SCM_RIGHTS)
        memcpy(ret_fds, CMSG_DATA(c), MIN(c->cmsg_len - CMSG_LEN(0), sizeof(int) * 2));
    if (n > 0 && !(header.msg_flags & (MSG_TRUNC | MSG_CTRUNC))) {
        g_autoptr(GBytes) bytes = g_bytes_new(buffer, (gsize) n);
        g_autoptr(GVariant) body =
            g_variant_ref_sink(g_variant_new_from_bytes(G_VARIANT_TYPE(type), bytes, FALSE));
        if (g_variant_is_normal_form(body))
            return g_steal_pointer(&body);
    }
    fd_clear(ret_fds[0]);
    fd_clear(ret_fds[1]);
    ret_fds[0] = ret_fds[1] = -1;
    return NULL;
}

/* The child ----------------------------------------------------------------------------------- */

static gboolean
become(uid_t uid, gid_t gid, pid_t parent)
{
    uid_t r, e, s;

    if (setgroups(0, NULL) < 0 || setresgid(gid, gid, gid) < 0 || setresuid(uid, uid, uid) < 0 ||
        prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) < 0)
        return FALSE;
    (void) prctl(PR_SET_DUMPABLE, 0); /* that owner's other processes have no hold on it */
    (void) prctl(PR_SET_PDEATHSIG, SIGKILL);
    return getresuid(&r, &e, &s) == 0 && r == uid && e == uid && s == uid && uid != 0 &&
           getppid() == parent;
}

static gboolean
answer_question(int socket, StoreReader *r, GVariant *question)
{
    g_autoptr(GError) error = NULL;
    g_auto(Fd) content = -1;
    g_autoptr(GVariant) answer = inquiry_answer(r, question, &content, &error);
    g_auto(Fd) memory = -1;

    if (answer)
        memory =
            fd_from_bytes("answer", g_variant_get_data(answer), g_variant_get_size(answer), &error);
    if (memory < 0)
        return send_datagram(
            socket, g_variant_new("(@" MESSAGE_ERROR_TYPE ")", message_error_new(error, 0)), NULL,
            0);
    int fds[2] = {memory, content};
    return send_datagram(socket,
                         g_variant_new("(@" MESSAGE_ERROR_TYPE ")", message_error_new(NULL, 0)),
                         fds, content >= 0 ? 2 : 1);
}

/* First it says whether it could open the store, with the uuid in the memory file. */
static G_NORETURN void
child_run(int socket, int folder_fd, const struct stat *st, pid_t parent)
{
    g_autoptr(GError) error = NULL;
    g_autoptr(StoreReader) r = NULL;
    g_auto(Fd) memory = -1;
    int none[2];

    if (fchdir(folder_fd) < 0 || !become(st->st_uid, st->st_gid, parent)) {
        throw_errno(&error, "becoming uid %u to read the store", st->st_uid);
    } else {
        if (access(g_getenv("TMPDIR") ? g_getenv("TMPDIR") : "", W_OK) < 0)
            g_unsetenv("TMPDIR"); /* root's own: scratch goes to where everybody's does */
        r = store_reader_open(".", &error);
    }
    if (error && g_str_has_prefix(error->message, HERE_PREFIX))
        memmove(error->message, error->message + strlen(HERE_PREFIX),
                strlen(error->message) - strlen(HERE_PREFIX) + 1);
    if (r)
        memory = fd_from_bytes("uuid", store_reader_uuid(r), strlen(store_reader_uuid(r)), &error);
    gboolean going =
        send_datagram(socket,
                      g_variant_new("(@" MESSAGE_ERROR_TYPE ")", message_error_new(error, 0)),
                      &memory, memory >= 0 ? 1 : 0) &&
        memory >= 0;
    while (going) {
        g_autoptr(GVariant) question = receive_datagram(socket, INQUIRY_QUESTION_TYPE, none);
        going = question && answer_question(socket, r, question);
    }
    store_reader_close(g_steal_pointer(&r)); /* its scratch folder goes */
    _exit(0);
}

/* The parent ---------------------------------------------------------------------------------- */

static gboolean
receive_answer(Parser *p, GBytes **ret_bytes, int *ret_fd, GError **error)
{
    int fds[2];
    g_autoptr(GVariant) body = receive_datagram(p->socket, "(" MESSAGE_ERROR_TYPE ")", fds);
    g_auto(Fd) memory = fds[0], content = fds[1];

    if (!body)
        return throw_error(error, FILEDUP_ERROR_DAMAGED,
                           "the process that reads the store ended: is the store damaged?");
    g_autoptr(GVariant) failed = g_variant_get_child_value(body, 0);
    if (!message_error_check(failed, NULL, error))
        return FALSE;
    *ret_bytes = fd_to_bytes(memory, ANSWER_BYTES, error);
    if (!*ret_bytes)
        return FALSE;
    *ret_fd = fd_steal(&content);
    return TRUE;
}

static GVariant *
ask(Parser *p, InquiryKind kind, const char *path, guint64 point, gint64 time_usec, guint limit,
    gboolean points, int *ret_fd, GError **error)
{
    g_autoptr(GVariant) question =
        g_variant_ref_sink(g_variant_new("(u@aytxub)", (guint32) kind, path_to_variant(path), point,
                                         time_usec, (guint32) limit, points));
    g_autoptr(GBytes) bytes = NULL;

    *ret_fd = -1;
    if (p->reader)
        return inquiry_answer(p->reader, question, ret_fd, error);
    (void) send_datagram(p->socket, question, NULL, 0); /* if it is gone, there is no answer */
    if (!receive_answer(p, &bytes, ret_fd, error))
        return NULL;
    g_autoptr(GVariant) answer = g_variant_ref_sink(
        g_variant_new_from_bytes(G_VARIANT_TYPE(inquiry_type(kind)), bytes, FALSE));
    if (g_variant_is_normal_form(answer))
        return g_steal_pointer(&answer);
    fd_clear(fd_steal(ret_fd));
    throw_error(error, FILEDUP_ERROR_DAMAGED, "the process that reads the store answers nonsense");
    return NULL;
}

static gboolean
start_child(Parser *p, const char *folder, int folder_fd, const struct stat *st, GError **error)
{
    int pair[2], no_content = -1;
    pid_t parent = getpid();
    g_autoptr(GBytes) uuid = NULL;

    if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, pair) < 0)
        return throw_errno(error, "socketpair");
    p->socket = pair[0];
    g_auto(Fd) theirs = pair[1];
    p->pid = fork(); /* there are no threads: no daemon is talked to */
    if (p->pid < 0)
        return throw_errno(error, "fork");
    if (p->pid == 0) {
        (void) close(p->socket);
        child_run(theirs, folder_fd, st, parent);
    }
    if (!receive_answer(p, &uuid, &no_content, error)) {
        g_autofree char *shown = path_escape(folder);
        return throw_prefixed(error, "store '%s'", shown);
    }
    fd_clear(no_content);
    gsize n;
    const char *text = g_bytes_get_data(uuid, &n);
    p->uuid = g_strndup(text, n);
    return g_uuid_string_is_valid(p->uuid) ||
           throw_error(error, FILEDUP_ERROR_DAMAGED, "the store has no valid uuid");
}

/* In this process. Root goes through the descriptor that has been judged. */
static gboolean
open_here(Parser *p, const char *folder, GError **error)
{
    g_autofree char *held = g_strdup_printf("/proc/self/fd/%d", p->folder);
    g_autofree char *shown = path_escape(folder);
    g_autofree char *prefix = g_strdup_printf("store '%s': ", held);
    g_autoptr(GError) failed = NULL;

    /* Where there is no such folder, the reader says why. */
    p->reader = store_reader_open(p->folder >= 0 && geteuid() == 0 ? held : folder, &failed);
    if (p->reader)
        return TRUE;
    if (g_str_has_prefix(failed->message, prefix))
        return throw_error(error, (FiledupError) failed->code, "store '%s': %s", shown,
                           failed->message + strlen(prefix));
    g_propagate_error(error, g_steal_pointer(&failed));
    return FALSE;
}

Parser *
parser_open(const char *folder, GError **error)
{
    g_autoptr(Parser) p = g_new0(Parser, 1);
    struct stat st = {.st_uid = geteuid()};

    p->socket = p->folder = -1;
    g_auto(Fd) folder_fd = open(folder, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (folder_fd >= 0 && fstat(folder_fd, &st) < 0) {
        throw_errno(error, "fstat of the store");
        return NULL;
    }
    p->owner = st.st_uid;
    p->group = st.st_gid;
    p->trusted = geteuid() != 0 || st.st_uid == 0;
    if (!p->trusted)
        return start_child(p, folder, folder_fd, &st, error) ? g_steal_pointer(&p) : NULL;
    if (geteuid() == 0 && folder_fd >= 0 && (st.st_mode & (S_IWGRP | S_IWOTH))) {
        g_autofree char *shown = path_escape(folder);
        throw_error(error, FILEDUP_ERROR_REFUSED,
                    "store '%s': it is root's, but others may write to it, and root would believe "
                    "what they wrote: chmod go-w it, if it is a store of yours",
                    shown);
        return NULL;
    }
    p->folder = fd_steal(&folder_fd);
    if (!open_here(p, folder, error))
        return NULL;
    p->uuid = g_strdup(store_reader_uuid(p->reader));
    return g_steal_pointer(&p);
}

void
parser_close(Parser *p)
{
    if (!p)
        return;
    fd_clear(fd_steal(&p->socket)); /* it sees that, and ends */
    if (p->pid > 0)
        while (waitpid(p->pid, NULL, 0) < 0 && errno == EINTR)
            ;
    store_reader_close(p->reader);
    fd_clear(fd_steal(&p->folder));
    g_free(p->uuid);
    g_free(p);
}

const char *
parser_uuid(Parser *p)
{
    return p->uuid;
}

gboolean
parser_is_trusted(Parser *p)
{
    return p->trusted;
}

gboolean
parser_is_maker(Parser *p, uid_t uid, gid_t gid)
{
    return uid == p->owner && gid == p->group;
}

/* Answers that come without a content. */
static GVariant *
ask_alone(Parser *p, InquiryKind kind, const char *path, guint limit, gboolean points,
          GError **error)
{
    g_auto(Fd) none = -1;

    return ask(p, kind, path, 0, 0, limit, points, &none, error);
}

GVariant *
parser_list(Parser *p, GError **error)
{
    return ask_alone(p, INQUIRY_LIST, "", 0, FALSE, error);
}

GVariant *
parser_points(Parser *p, const char *path, guint limit, GError **error)
{
    return ask_alone(p, INQUIRY_POINTS, path, limit, FALSE, error);
}

GVariant *
parser_verify(Parser *p, const char *path, gboolean points, GError **error)
{
    return ask_alone(p, INQUIRY_VERIFY, path, 0, points, error);
}

gboolean
parser_content(Parser *p, const char *path, guint64 point, gint64 time_usec,
               StoredContent *ret_content, GError **error)
{
    g_auto(Fd) fd = -1;
    g_autoptr(GVariant) answer =
        ask(p, INQUIRY_CONTENT, path, point, time_usec, 0, FALSE, &fd, error);
    g_autoptr(GVariant) stat = NULL, attributes = NULL, sums = NULL;
    StoredContent c = {.fd = -1};
    guint32 quality;
    struct stat st;

    if (!answer)
        return FALSE;
    g_variant_get(answer, "(t@" FILESTAT_TYPE "@ayuxtt@ay)", &c.size_bytes, &stat, &attributes,
                  &quality, &c.time_usec, &c.point, &c.stable_point, &sums);
    if (fd < 0 || fstat(fd, &st) < 0 || !S_ISREG(st.st_mode) ||
        g_variant_get_size(sums) != sums_length(c.size_bytes))
        return throw_error(error, FILEDUP_ERROR_DAMAGED,
                           "the content is not there as it should be");
    filestat_from_variant(stat, &c.stat);
    c.quality = (Quality) quality;
    c.attributes = g_variant_get_data_as_bytes(attributes);
    c.sums = g_variant_get_data_as_bytes(sums);
    c.fd = fd_steal(&fd);
    *ret_content = c;
    return TRUE;
}
