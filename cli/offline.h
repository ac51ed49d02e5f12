#pragma once

/* Offline: a store read without a daemon (--store DIR). */

#include "cli/option.h"
#include "cli/parser.h"
#include "cli/report.h"
#include "cli/backups.h"

G_BEGIN_DECLS

Status offline_status(const Options *options);
Status offline_store(const Options *options);
Status offline_restore(Backups *backups, const Options *options); /* offline-restore.c */

/* Opens the store in a folder; says itself what went wrong. */
Parser *offline_open(const char *folder, Status *ret_status);

/* Words for what a store records. */
const char *offline_quality(Quality quality);
const char *offline_cause(PointCause cause);
const char *offline_state(StoredState state);
char       *offline_kept(guint32 kept); /* "named boot" */
char       *offline_suspicion(guint32 suspicion);

G_END_DECLS
