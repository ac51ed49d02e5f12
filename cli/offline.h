#pragma once

/* Offline: a store read without a daemon (--store DIR). */

#include "cli/option.h"
#include "cli/report.h"
#include "store/reader.h"

G_BEGIN_DECLS

Status offline_status(const Options *options);
Status offline_store(const Options *options);
Status offline_log(const Options *options);
Status offline_restore(const Options *options); /* offline-restore.c */

/* Opens the store that --store names; says itself what went wrong. */
StoreReader *offline_open(const Options *options, Status *ret_status);

/* Words for what a store records. */
const char *offline_quality(Quality quality);
const char *offline_cause(PointCause cause);
const char *offline_state(StoredState state);

G_END_DECLS
