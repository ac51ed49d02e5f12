#pragma once

/* Schedule: when which file is captured, how often it is tried, and what came of it. */

#include <glib.h>

#include "daemon/copiers.h"
#include "daemon/entry.h"
#include "daemon/stores.h"
#include "daemon/watchers.h"

G_BEGIN_DECLS

typedef struct Schedule Schedule;

typedef struct ScheduleEvents {
    /* A backup of the entry became durable in a store. */
    void (*durable)(Entry *e, Store *store, guint64 sequence, gint64 stamp_usec, gpointer data);
    /* An attempt is over, or the entry's state changed: look whether what you wait for is so. */
    void (*settled)(Entry *e, gpointer data);
} ScheduleEvents;

Schedule *schedule_new(gboolean system, guint copiers_per_device, gboolean compare_all,
                       const ScheduleEvents *events, gpointer data);
void      schedule_free(Schedule *s);
Copiers  *schedule_copiers(Schedule *s);
Watchers *schedule_watchers(Schedule *s);

/* Starts the entry: its targets are set, its device may be known. */
void schedule_start(Schedule *s, Entry *e);
/* Ends whatever runs for it; recoveries that wait fail. It may be started again, or freed. */
void schedule_stop(Schedule *s, Entry *e);

/* A reason to look at the file now. */
void schedule_touch(Schedule *s, Entry *e);
/* Whatever may run now runs: call when a recovery was queued or has ended. */
void schedule_look(Schedule *s, Entry *e);

/* A copier that will not die has the entry's file: nothing touches it until that copier is dead. */
void schedule_stuck(Schedule *s, Entry *e, guint64 job);

/* A store of the entry became ready, or ceased to be. */
void schedule_store_changed(Schedule *s, Entry *e, Store *store);

/* A store has answered what it has of the entry (target.h). */
void schedule_found(Entry *e);

/* TRUE if every store of the row has the content as of that generation; else why not (no
 * ownership), NULL while attempts are under way that may still succeed. */
gboolean schedule_is_current(const Entry *e, guint64 generation, const char **ret_why);

G_END_DECLS
