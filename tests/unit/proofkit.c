/* proofkit.c - a keeper under test: its process, and what is said to it
 *
 * Nothing here sleeps: time stands still for a keeper that waits, unless the test lets it go on
 * (interpose.c), so an answer comes, or it is known that none will.
 */

#include "config.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/error.h"
#include "base/fd.h"
#include "base/path.h"
#include "base/role.h"
#include "base/sums.h"
#include "tests/unit/proof-inside.h"

#define PATIENCE_MSEC 60000

static void
version_free(gpointer data)
{
    Version *v = data;

    g_bytes_unref(v->bytes);
    g_free(v->name);
    g_free(v);
}

static void
file_free(gpointer data)
{
    ProofFile *f = data;

    g_ptr_array_unref(f->versions);
    g_ptr_array_unref(f->ops);
    g_free(f->path);
    g_free(f);
}

static void
op_free(gpointer data)
{
    ProofOp *op = data;

    g_free(op->name);
    g_free(op->error);
    g_free(op);
}

static void
doomed_clear(gpointer data)
{
    g_bytes_unref(((Doomed *) data)->bytes);
}

Proof *
proof_new(const char *path, Interpose *ip)
{
    Proof *p = g_new0(Proof, 1);

    p->path = g_strdup(path);
    p->uuid = g_strdup("");
    p->ip = ip;
    p->files = g_ptr_array_new_with_free_func(file_free);
    p->ops = g_ptr_array_new_with_free_func(op_free);
    p->all_versions = g_ptr_array_new_with_free_func(version_free);
    p->doomed = g_array_new(FALSE, FALSE, sizeof(Doomed));
    g_array_set_clear_func(p->doomed, doomed_clear);
    p->problems = g_string_new(NULL);
    p->log_path = g_strconcat(path, ".log", NULL);
    p->note = g_strdup("");
    return p;
}

void
proof_free(Proof *p)
{
    if (p->pid)
        (void) proof_kill(p);
    g_ptr_array_unref(p->files);
    g_ptr_array_unref(p->ops);
    g_ptr_array_unref(p->all_versions);
    g_array_unref(p->doomed);
    g_string_free(p->problems, TRUE);
    g_free(p->path);
    g_free(p->uuid);
    g_free(p->log_path);
    g_free(p->note);
    g_free(p);
}

ProofFile *
proof_file(Proof *p, const char *path)
{
    for (guint i = 0; i < p->files->len; i++) {
        ProofFile *f = p->files->pdata[i];
        if (g_str_equal(f->path, path))
            return f;
    }
    ProofFile *f = g_new0(ProofFile, 1);
    f->path = g_strdup(path);
    f->versions = g_ptr_array_new();
    f->ops = g_ptr_array_new();
    g_ptr_array_add(p->files, f);
    return f;
}

void
proof_problem(Proof *p, const char *format, ...)
{
    va_list list;

    va_start(list, format);
    g_autofree char *text = g_strdup_vprintf(format, list);
    va_end(list);
    g_string_append_printf(p->problems, "    %s\n", text);
}

/* ---- messages ---- */

/* PROOF_TRACE=1: what is done, for the shortest way to a failure. */
void
proof_trace(const Proof *p, const char *format, ...)
{
    va_list list;

    if (!g_getenv("PROOF_TRACE"))
        return;
    va_start(list, format);
    g_autofree char *text = g_strdup_vprintf(format, list);
    va_end(list);
    fprintf(stderr, "%6" G_GUINT64_FORMAT " %s\n", p->ip->calls, text);
}

static ProofOp *
op_of_job(Proof *p, guint64 job)
{
    for (guint i = p->ops->len; i-- > 0;) {
        ProofOp *op = p->ops->pdata[i];
        if (op->job == job)
            return op;
    }
    return NULL;
}

static void
take_answer(Proof *p, guint64 job, GVariant *carried, guint64 id)
{
    ProofOp *op = op_of_job(p, job);
    g_autoptr(GError) error = NULL;

    if (!op)
        return;
    op->answered = TRUE;
    op->answer_number = p->received;
    op->id = id;
    op->refused = !message_error_check(carried, NULL, &error);
    proof_trace(p, "    job %" G_GUINT64_FORMAT ": %" G_GUINT64_FORMAT " %s", job, id,
                op->refused ? error->message : "");
    if (op->refused)
        op->error = g_strdup(error->message);
    op->failed = op->refused && op->kind == OP_IS_FORGET; /* it may have begun, and go on */
    op->refused &= !op->failed;
    if (!op->refused && op->version && op->kind <= OP_IS_STAGED)
        op->version->id = id;
}

static void
take_message(Proof *p, const Message *m)
{
    g_autoptr(GVariant) carried = NULL;
    guint64 job, id = 0, bytes;

    switch (m->type) {
    case MESSAGE_KEEPER_DURABLE:
        g_variant_get_child(m->body, 0, "t", &job);
        g_variant_get_child(m->body, 2, "t", &id);
        break;
    case MESSAGE_KEEPER_PRUNED:
        g_variant_get(m->body, "(t@" MESSAGE_ERROR_TYPE "tt)", &job, NULL, &id, &bytes);
        break;
    case MESSAGE_KEEPER_FORGOTTEN:
        g_variant_get_child(m->body, 0, "t", &job);
        break;
    default:
        return;
    }
    carried = g_variant_get_child_value(m->body, 1);
    take_answer(p, job, carried, id);
}

/* The next message within so long; NULL: none, or the keeper has gone. */
static Message *
receive(Proof *p, int timeout_msec)
{
    g_autoptr(GError) error = NULL;
    Message *m = p->channel ? channel_wait(p->channel, timeout_msec, &error) : NULL;

    if (!m) {
        if (error && !p->gone)
            proof_trace(p, "%s", error->message);
        p->gone |= !p->channel || error;
        return NULL;
    }
    p->received++;
    take_message(p, m);
    return m;
}

/* Something harmless, that wakes it. */
static void
poke(Proof *p)
{
    proof_ask(p, MESSAGE_DAEMON_CANCEL, g_variant_new("(t)", G_GUINT64_CONSTANT(0)), NULL, 0);
}

static void
push(Proof *p)
{
    interpose_release(p->ip);
    while (p->channel && channel_has_queue(p->channel) && !p->gone) {
        g_autoptr(Message) m = receive(p, 1);
    }
}

/* The next message. Time stands still for a keeper that waits; one that waits for time to answer
 * gets some. */
static Message *
next_message(Proof *p)
{
    gint64 end = g_get_monotonic_time() + PATIENCE_MSEC * 1000;

    push(p);
    while (!p->gone && g_get_monotonic_time() < end) {
        Message *m = receive(p, 0);
        if (m || p->gone)
            return m;
        if (interpose_wait_idle(p->ip, p->pid, p->sent)) {
            if ((m = receive(p, 0)))
                return m;
            if (p->gone)
                return NULL;
            if ((m = receive(p, 20))) /* of a thread of the keeper's */
                return m;
            p->ip->flowing = TRUE;
            poke(p);
            (void) interpose_wait_idle(p->ip, p->pid, p->sent);
            p->ip->flowing = FALSE;
        } else if ((m = receive(p, 10))) {
            return m;
        }
    }
    return NULL;
}

Message *
proof_wait_for(Proof *p, MessageType type)
{
    gint64 end = g_get_monotonic_time() + PATIENCE_MSEC * 1000;

    while (!p->gone && g_get_monotonic_time() < end) {
        g_autoptr(Message) m = next_message(p);
        if (m && m->type == type)
            return g_steal_pointer(&m);
    }
    if (!p->gone)
        proof_problem(p, "no %s within %d s", message_name(type), PATIENCE_MSEC / 1000);
    return NULL;
}

void
proof_ask(Proof *p, MessageType type, GVariant *body, const int *fds, guint n_fds)
{
    g_autoptr(GError) error = NULL;

    if (!p->channel) {
        g_variant_unref(g_variant_ref_sink(body));
        return;
    }
    p->gone |= !channel_send(p->channel, type, body, fds, n_fds, &error);
    p->sent++;
}

/* ---- the process ---- */

gboolean
proof_start(Proof *p, char **ret_error)
{
    g_autoptr(GVariant) carried = NULL;
    g_autoptr(GError) error = NULL;
    guint64 applied;
    const char *uuid, *note;
    int pair[2];

    if (ret_error)
        *ret_error = NULL;
    g_assert_cmpint(socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, pair), ==, 0);
    fflush(NULL);
    p->pid = fork();
    g_assert_cmpint(p->pid, >=, 0);
    if (p->pid == 0) {
        RoleArgs args = {.kind = ROLE_KEEPER,
                         .store_path = p->path,
                         .store_uuid = p->uuid,
                         .store_create = !p->uuid[0]};
        (void) prctl(PR_SET_PDEATHSIG, SIGKILL);
        (void) signal(SIGPIPE, SIG_IGN);
        close(pair[0]);
        int log = open(p->log_path, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0600);
        if (log >= 0 && !g_getenv("PROOF_LOUD"))
            (void) dup2(log, STDERR_FILENO);
        if (p->trace)
            systrace_begin(p->trace, p->ip);
        interpose_begin(p->ip);
        _exit(keeper_main(&args, channel_new(pair[1])));
    }
    close(pair[1]);
    p->channel = channel_new(pair[0]);
    p->process++;
    p->gone = FALSE;
    p->sent = p->received = 0;
    g_autoptr(Message) m = proof_wait_for(p, MESSAGE_KEEPER_OPENED);
    if (!m)
        return FALSE;
    g_variant_get(m->body, "(@" MESSAGE_ERROR_TYPE "&stb&s)", &carried, &uuid, &applied, &p->damage,
                  &note);
    if (!message_error_check(carried, NULL, &error)) {
        if (ret_error)
            *ret_error = g_strdup(error->message);
        return FALSE;
    }
    proof_trace(p, "the keeper is open");
    g_free(p->uuid);
    p->uuid = g_strdup(uuid);
    g_free(p->note);
    p->note = g_strdup(note);
    return TRUE;
}

int
proof_end(Proof *p)
{
    int status = 0;

    if (!p->pid)
        return 0;
    g_assert_cmpint(waitpid(p->pid, &status, 0), ==, p->pid);
    p->pid = 0;
    proof_trace(p, "the keeper has ended (%x)", status);
    while (p->channel && !p->gone) {
        g_autoptr(Message) m = receive(p, 0);
        if (!m)
            break;
    }
    g_clear_pointer(&p->channel, channel_free);
    return WIFEXITED(status) ? WEXITSTATUS(status) : -WTERMSIG(status);
}

int
proof_stop(Proof *p)
{
    proof_ask(p, MESSAGE_DAEMON_STOP, g_variant_new("()"), NULL, 0);
    p->ip->flowing = TRUE;
    push(p);
    while (!p->gone) { /* reads on, so that it never blocks on us */
        g_autoptr(Message) m = receive(p, PATIENCE_MSEC);
        if (!m)
            break;
    }
    if (!p->gone && p->pid)
        (void) kill(p->pid, SIGKILL);
    int status = proof_end(p);
    p->ip->flowing = FALSE;
    return status;
}

int
proof_kill(Proof *p)
{
    if (p->pid)
        (void) kill(p->pid, SIGKILL);
    return proof_end(p);
}

gboolean
proof_flush(Proof *p)
{
    gint64 end = g_get_monotonic_time() + PATIENCE_MSEC * 1000;

    for (guint i = 0; i < p->ops->len; i++) {
        ProofOp *op = p->ops->pdata[i];
        while (!op->answered && op->process == p->process && !p->gone) {
            g_autoptr(Message) m = next_message(p);
            if (m || p->gone || g_get_monotonic_time() < end)
                continue;
            proof_problem(p, "an operation is not answered");
            return FALSE;
        }
    }
    return !p->gone;
}

gboolean
proof_rest(Proof *p)
{
    push(p);
    if (p->gone)
        return FALSE;
    if (interpose_wait_idle(p->ip, p->pid, p->sent))
        return TRUE;
    for (;;) { /* the end shows behind what it has sent */
        g_autoptr(Message) m = receive(p, 100);
        if (!m)
            return FALSE;
    }
}

gboolean
proof_settle(Proof *p)
{
    gboolean ok;

    proof_trace(p, "settle");
    if (!proof_flush(p))
        return FALSE;
    p->ip->flowing = TRUE;
    poke(p);
    ok = proof_rest(p);
    p->ip->flowing = FALSE;
    return ok;
}

void
proof_hold(Proof *p)
{
    if (proof_rest(p))
        interpose_hold(p->ip);
}
