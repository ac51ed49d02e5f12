/* loan.c - mirrors that are not to change under whoever reads them
 *
 * The newest content of a large file is handed out as what it is, the mirror's descriptor: a copy
 * would double the cost of a restore. But where the file system cannot clone, a large mirror is
 * updated in place, and nobody tells when the reader is done. So a mirror that is lent gets a second
 * name, staged/lent-<n>: a file with two names is never written in place (mirror.c), but replaced by
 * a copy, and the reader keeps what he has.
 *
 * Whether he still has it is what the kernel knows: a write lease is granted only on a file that
 * nobody else has open. Then the second name is removed. After a crash they are swept with all else
 * in staged/; who reads on then has the sums.
 */

#include "config.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <unistd.h>

#include "base/fd.h"
#include "store/loan.h"

#define LOOK_USEC     G_USEC_PER_SEC
#define LOOK_MAX_USEC (8 * G_USEC_PER_SEC)
#define LOANS_MAX     1024

struct Loans {
    int staged;
    guint64 next;
    GPtrArray *list; /* Loan */
    gint64 due_usec, delay_usec;
};

typedef struct Loan {
    char *name; /* in staged/ */
    char *path; /* the original's */
} Loan;

static void
loan_free(gpointer data)
{
    Loan *loan = data;

    g_free(loan->name);
    g_free(loan->path);
    g_free(loan);
}

Loans *
loans_new(int staged_fd)
{
    Loans *l = g_new0(Loans, 1);

    l->staged = staged_fd;
    l->list = g_ptr_array_new_with_free_func(loan_free);
    return l;
}

static void
end(Loans *l, guint i)
{
    (void) unlinkat(l->staged, ((const Loan *) l->list->pdata[i])->name, 0);
    g_ptr_array_remove_index_fast(l->list, i);
}

void
loans_end(Loans *l, const char *path)
{
    for (guint i = l->list->len; i-- > 0;)
        if (g_str_equal(((const Loan *) l->list->pdata[i])->path, path))
            end(l, i);
}

void
loans_free(Loans *l)
{
    if (!l)
        return;
    while (l->list->len > 0)
        end(l, 0);
    g_ptr_array_unref(l->list);
    g_free(l);
}

typedef enum { LOAN_OPEN, LOAN_ENDED, LOAN_UNKNOWN } LoanState;

static LoanState
look(const Loans *l, const char *name)
{
    g_auto(Fd) fd = openat(l->staged, name, O_RDONLY | O_NOFOLLOW | O_CLOEXEC);

    if (fd < 0)
        return errno == ENOENT ? LOAN_ENDED : LOAN_UNKNOWN;
    if (fcntl(fd, F_SETLEASE, F_WRLCK) < 0)
        return errno == EAGAIN ? LOAN_OPEN : LOAN_UNKNOWN;
    (void) fcntl(fd, F_SETLEASE, F_UNLCK);
    return LOAN_ENDED;
}

gboolean
loans_add(Loans *l, const char *path, int fd)
{
    g_autofree char *from = g_strdup_printf("/proc/self/fd/%d", fd);
    g_autofree char *name = g_strdup_printf("lent-%" G_GUINT64_FORMAT, l->next);

    if (l->list->len >= LOANS_MAX)
        return FALSE;
    if (linkat(AT_FDCWD, from, l->staged, name, AT_SYMLINK_FOLLOW) < 0)
        return FALSE;
    if (look(l, name) != LOAN_OPEN) { /* `fd` is open: no other answer is true */
        (void) unlinkat(l->staged, name, 0);
        return FALSE;
    }
    l->next++;
    Loan *loan = g_new(Loan, 1);
    *loan = (Loan){.name = g_steal_pointer(&name), .path = g_strdup(path)};
    g_ptr_array_add(l->list, loan);
    l->delay_usec = LOOK_USEC;
    l->due_usec = g_get_monotonic_time() + l->delay_usec;
    return TRUE;
}

gint64
loans_due(const Loans *l)
{
    return l->list->len > 0 ? l->due_usec : G_MAXINT64;
}

void
loans_look(Loans *l)
{
    for (guint i = l->list->len; i-- > 0;)
        if (look(l, ((const Loan *) l->list->pdata[i])->name) == LOAN_ENDED)
            end(l, i);
    l->delay_usec = MIN(2 * l->delay_usec, LOOK_MAX_USEC);
    l->due_usec = g_get_monotonic_time() + l->delay_usec;
}
