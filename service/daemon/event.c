/* event.c - structured events; the ids never change */

#include "config.h"

#include <errno.h>
#include <string.h>

#include "base/path.h"
#include "daemon/event.h"

#define ID_BACKUP_FAILED    "7c0b3c1c9d6f4b0e8a5e0c6f2f1d4a01"
#define ID_BACKUP_RECOVERED "7c0b3c1c9d6f4b0e8a5e0c6f2f1d4a02"
#define ID_RESTORED         "7c0b3c1c9d6f4b0e8a5e0c6f2f1d4a03"
#define ID_RESTORE_FAILED   "7c0b3c1c9d6f4b0e8a5e0c6f2f1d4a04"
#define ID_NOT_WATCHED      "7c0b3c1c9d6f4b0e8a5e0c6f2f1d4a05"
#define ID_SUSPICIOUS       "7c0b3c1c9d6f4b0e8a5e0c6f2f1d4a06"
#define ID_DRILL_FAILED     "7c0b3c1c9d6f4b0e8a5e0c6f2f1d4a07"

static void emit(GLogLevelFlags level, const char *id, const Entry *e, const char *format, ...)
    G_GNUC_PRINTF(4, 5);

static void
emit(GLogLevelFlags level, const char *id, const Entry *e, const char *format, ...)
{
    va_list args;
    g_autofree char *shown = path_escape(e->row->path);

    va_start(args, format);
    g_autofree char *text = g_strdup_vprintf(format, args);
    va_end(args);
    g_log_structured(G_LOG_DOMAIN, level, "MESSAGE_ID", id, "FILEDUP_ENTRY", shown, "MESSAGE",
                     "entry '%s': %s", shown, text);
}

void
event_backup_failed(const Entry *e, const char *why)
{
    emit(G_LOG_LEVEL_WARNING, ID_BACKUP_FAILED, e,
         "backup failed %u times: %s; the last good copy stays, retrying at most every 60 s",
         e->failures, why);
}

void
event_backup_recovered(const Entry *e)
{
    emit(G_LOG_LEVEL_MESSAGE, ID_BACKUP_RECOVERED, e, "backups succeed again");
}

void
event_restored(const Entry *e, const char *store, guint64 bytes)
{
    emit(G_LOG_LEVEL_MESSAGE, ID_RESTORED, e,
         "restored from store \"%s\", %" G_GUINT64_FORMAT " bytes written and verified", store,
         bytes);
}

void
event_restore_failed(const Entry *e, const char *why)
{
    emit(G_LOG_LEVEL_WARNING, ID_RESTORE_FAILED, e, "restore failed: %s", why);
}

char *
event_suspicion_note(guint suspicion)
{
    return g_strdup(
        !suspicion                       ? ""
        : suspicion == SUSPICION_EMPTIED ? "it had content, and has none"
        : suspicion == SUSPICION_ENCRYPTED
            ? "most of it was rewritten with what cannot be compressed, as by encryption"
            : "it was emptied, or rewritten as by encryption");
}

void
event_suspicious(const Entry *e, guint suspicion)
{
    g_autofree char *note = event_suspicion_note(suspicion);

    emit(G_LOG_LEVEL_WARNING, ID_SUSPICIOUS, e,
         "a suspicious change: %s; the content before is kept and nothing of it is thinned until "
         "'filedup approve'",
         note);
}

void
event_drill_failed(const Entry *e, const char *why)
{
    emit(G_LOG_LEVEL_WARNING, ID_DRILL_FAILED, e,
         "a restore to scratch, made to see whether it can be had, failed: %s", why);
}

char *
event_watch_note(int errnum, guint64 needed)
{
    switch (errnum) {
    case ENOSPC:
        return g_strdup_printf(
            "no inotify watches left: set sysctl fs.inotify.max_user_watches to at least "
            "%" G_GUINT64_FORMAT " more than other programs use; scanned every 10 s meanwhile",
            needed);
    case EMFILE:
        return g_strdup("no inotify instances left: raise sysctl fs.inotify.max_user_instances by "
                        "at least 1; scanned every 10 s meanwhile");
    case EACCES:
        return g_strdup("its folder may not be read: scanned every 10 s");
    default:
        return g_strdup_printf("its folder cannot be watched (%s): scanned every 10 s",
                               g_strerror(errnum));
    }
}

void
event_not_watched(const Entry *e, int errnum, guint64 needed)
{
    g_autofree char *note = event_watch_note(errnum, needed);

    emit(G_LOG_LEVEL_WARNING, ID_NOT_WATCHED, e, "%s", note);
}
