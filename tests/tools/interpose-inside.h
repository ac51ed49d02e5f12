#pragma once

/* The inside of the interposer, shared by its files: interpose.c (counting, the log), and the functions
 * that take the place of the C library's: interposed-files.c, interposed-names.c, interposed-time.c. */

#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/uio.h>

#include "tests/tools/interpose.h"
#include "tests/tools/oplog.h"

extern Interpose *interpose_now; /* NULL: this process is not watched */

/* The C library's own. */
#define REAL(name)                                                                                 \
    ({                                                                                             \
        static __typeof__(&name) real_##name;                                                      \
        if (!real_##name)                                                                          \
            real_##name = (__typeof__(&name)) dlsym(RTLD_NEXT, #name);                             \
        real_##name;                                                                               \
    })

/* What is to become of a call. FAIL: errno is set. */
typedef enum { GO_ON, FAIL, PART, PART_AND_KILL } Verdict;

/* For systrace.c: the system call that comes has passed here. */
void interpose_announce(void);

Verdict interpose_count(const char *call, int fd, const char *name, gboolean is_write);
void interpose_end(void) G_GNUC_NORETURN; /* SIGKILL */

/* Whether what is done to this file counts; *ret_stat is its stat. */
gboolean interpose_watches(int fd, struct stat *ret_stat);

/* Around a call that is written down: the order in the log is the order of the calls. */
void interpose_lock(void);
void interpose_unlock(void);
void interpose_note(const Op *what, const char *name, const char *name2, const struct iovec *pieces,
                    int n_pieces, gsize n_payload);

/* "pwrite /store/journal/#.segment": numbers say nothing from one run to the next. */
void interpose_describe(char *text, gsize n, const char *call, int fd, const char *name);

/* The inode of a name's folder (and its last component), and of what has the name. */
guint64 interpose_folder(int dirfd, const char *path, const char **ret_name);
guint64 interpose_ino(int dirfd, const char *path);

long interpose_futex(guint32 *word, int what, guint32 value);
