/* link.c - one role process as the parent sees it
 *
 * STATES  DOWN -> RUNNING (link_start, the back-off's timer) -> ENDING (stop, kill, channel closed)
 *         -> DOWN (reaped). The end is told once, when the process is reaped: before that it may still
 *         write to the disk.
 */

#include "config.h"

#include <signal.h>
#include <string.h>
#include <sys/wait.h>

#include "daemon/link.h"

#define BACKOFF_MIN_MSEC 100
#define BACKOFF_MAX_MSEC 30000

struct Link {
    RoleArgs args;
    gboolean restart;
    LinkFunc func;
    gpointer data;

    pid_t pid; /* 0: down */
    Channel *channel;
    gboolean ending, stopping;
    guint child_source, restart_source;
    guint backoff_msec;
};

static guint alive;

static void on_message(Channel *channel, Message *m, gpointer data);

static void
spawn(Link *link)
{
    g_autoptr(GError) error = NULL;

    if (!role_spawn(&link->args, &link->pid, &link->channel, &error)) {
        g_warning("%s; retrying in %u ms", error->message, link->backoff_msec);
        return;
    }
    alive++;
    link->ending = FALSE;
    channel_attach(link->channel, on_message, link);
}

static gboolean
on_restart(gpointer data)
{
    Link *link = data;

    link->restart_source = 0;
    link_start(link);
    return G_SOURCE_REMOVE;
}

static void
schedule_restart(Link *link)
{
    if (!link->restart || link->stopping || link->restart_source)
        return;
    link->restart_source = g_timeout_add(link->backoff_msec, on_restart, link);
    link->backoff_msec = MIN(link->backoff_msec * 2, BACKOFF_MAX_MSEC);
}

static void
on_reaped(GPid pid, gint status, gpointer data)
{
    Link *link = data;

    alive--;
    g_spawn_close_pid(pid);
    if (!link->stopping && WIFSIGNALED(status))
        g_message("%s %d was killed by signal %d", role_name(link->args.kind), (int) pid,
                  WTERMSIG(status));
    else if (!link->stopping && WIFEXITED(status) && WEXITSTATUS(status) != 0)
        g_message("%s %d ended with status %d", role_name(link->args.kind), (int) pid,
                  WEXITSTATUS(status));
    /* What it sent before its end is heard first. */
    while (link->channel && !link->ending) {
        g_autoptr(Message) m = channel_receive(link->channel, NULL);
        if (!m)
            break;
        link->func(link, m, link->data);
        if (link->pid != pid)
            return;
    }
    g_clear_pointer(&link->channel, channel_free);
    link->child_source = 0;
    link->pid = 0;
    schedule_restart(link);
    link->func(link, NULL, link->data); /* may free the link */
}

static void
on_orphan_reaped(GPid pid, G_GNUC_UNUSED gint status, G_GNUC_UNUSED gpointer data)
{
    alive--;
    g_spawn_close_pid(pid);
}

static void
on_message(G_GNUC_UNUSED Channel *channel, Message *m, gpointer data)
{
    Link *link = data;

    if (m) {
        link->func(link, m, link->data);
        return;
    }
    /* Closed or nonsense: it is of no more use, whatever it believes. */
    if (!link->stopping)
        link_kill(link);
}

Link *
link_new(const RoleArgs *args, gboolean restart, LinkFunc func, gpointer data)
{
    Link *link = g_new0(Link, 1);

    link->args = *args;
    link->restart = restart;
    link->func = func;
    link->data = data;
    link->backoff_msec = BACKOFF_MIN_MSEC;
    return link;
}

void
link_start(Link *link)
{
    if (link->pid)
        return;
    g_clear_handle_id(&link->restart_source, g_source_remove);
    link->stopping = FALSE;
    spawn(link);
    if (link->pid)
        link->child_source = g_child_watch_add(link->pid, on_reaped, link);
    else
        schedule_restart(link);
}

void
link_stop(Link *link)
{
    link->stopping = TRUE;
    g_clear_handle_id(&link->restart_source, g_source_remove);
    if (link->pid)
        (void) link_send(link, MESSAGE_DAEMON_STOP, g_variant_new("()"), NULL, 0);
}

void
link_kill(Link *link)
{
    if (!link->pid || link->ending)
        return;
    link->ending = TRUE;
    (void) kill(link->pid, SIGKILL);
}

void
link_free(Link *link)
{
    if (!link)
        return;
    g_clear_handle_id(&link->restart_source, g_source_remove);
    if (link->pid) {
        g_source_remove(link->child_source);
        g_child_watch_add(link->pid, on_orphan_reaped, NULL);
        (void) kill(link->pid, SIGKILL);
    }
    channel_free(link->channel);
    g_free(link);
}

gboolean
link_is_running(const Link *link)
{
    return link->pid && !link->ending;
}

pid_t
link_pid(const Link *link)
{
    return link->pid;
}

gboolean
link_send(Link *link, MessageType type, GVariant *body, const int *fds, guint n_fds)
{
    g_autoptr(GVariant) sunk = g_variant_ref_sink(body);
    g_autoptr(GError) error = NULL;

    if (!link_is_running(link))
        return FALSE;
    if (channel_send(link->channel, type, sunk, fds, n_fds, &error))
        return TRUE;
    g_debug("%s %d: %s", role_name(link->args.kind), (int) link->pid, error->message);
    return FALSE; /* its end will be told when it is reaped */
}

void
link_proved(Link *link)
{
    link->backoff_msec = BACKOFF_MIN_MSEC;
}

guint
link_count_alive(void)
{
    return alive;
}
