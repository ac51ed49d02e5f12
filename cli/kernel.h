#pragma once

/* Kernel: what filedup uses of it, tried out in a scratch folder. */

#include "cli/finding.h"

G_BEGIN_DECLS

/* openat2, leases, RENAME_EXCHANGE, birth times, memory files, O_TMPFILE, BTF; on the file system of
 * `folder`, in a folder of its own that is removed again. */
void kernel_check(Findings *f, const char *folder);

/* inotify's limits against the number of folders to be watched. */
void kernel_check_inotify(Findings *f, guint64 folders);

G_END_DECLS
