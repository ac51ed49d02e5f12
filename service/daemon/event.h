#pragma once

/* Events: what is worth counting, as structured journal messages with a fixed MESSAGE_ID. */

#include "daemon/entry.h"

G_BEGIN_DECLS

void event_backup_failed(const Entry *e, const char *why);
void event_backup_recovered(const Entry *e); /* backups succeed again */
void event_restored(const Entry *e, const char *store, guint64 bytes);
void event_restore_failed(const Entry *e, const char *why);
void event_suspicious(const Entry *e, guint suspicion);
void event_drill_failed(const Entry *e, const char *why);
void event_not_watched(const Entry *e, int errnum, guint64 needed);

/* What speaks against a change, for people. */
char *event_suspicion_note(guint suspicion);

/* Why a folder is not watched, and the remedy. */
char *event_watch_note(int errnum, guint64 needed);

G_END_DECLS
