#pragma once

/* Entry: a row of the management table: what a user asked for one file, and how it stands. */

#include <glib.h>
#include <libconfig.h>
#include <sys/types.h>

#include "base/message.h"

G_BEGIN_DECLS

typedef struct Store Store;

typedef enum { BACKUP_ON_CLOSE, BACKUP_PER_WRITE, BACKUP_COUNT } BackupMode;
typedef enum { RECOVER_AUTO, RECOVER_MANUAL, RECOVER_NOTIFY, RECOVER_COUNT } RecoverMode;
typedef enum { JOB_NONE, JOB_BACKUP, JOB_RECOVERY } JobKind;
typedef enum { RESULT_NONE, RESULT_OK, RESULT_FAILED } JobResult;
typedef enum { PENDING_NONE, PENDING_UPDATE, PENDING_SUSPEND, PENDING_DELETE } PendingChange;

#define ENTRY_RETRIES_DEFAULT 3
#define ENTRY_RETRIES_MAX     1000
#define ENTRY_TIMEOUT_DEFAULT 60
#define ENTRY_TIMEOUT_MAX     86400
#define ENTRY_KEEP_DEFAULT    "24h 7d 4w 12m"
#define ENTRY_STORES_MAX      8
#define ENTRY_KEEP_LAST_MAX   1000000
#define ENTRY_MAX_LAG_MAX     86400

/* What a row says; what is compared when the table changes. */
typedef struct Row {
    char       *path;      /* canonical */
    BackupMode  backup;
    RecoverMode recover;
    uid_t       principal; /* who registered it; copiers become this user */
    char      **to;        /* names of stores; NULL: the default one */
    guint       retries;
    guint       timeout_sec;
    char       *keep;
    guint       keep_last;   /* points that stay whatever their age; 0: not set */
    guint       max_lag_sec; /* 0: not set; row_max_lag_sec() is in effect      */
    gboolean    suspended;
    char       *source;    /* the file that declares it; read-only here unless it is our own table */
    gboolean    declared;  /* by the settings or entries.d */
} Row;

void     row_free(Row *row);
Row     *row_copy(const Row *row);
gboolean row_equal(const Row *a, const Row *b);
G_DEFINE_AUTOPTR_CLEANUP_FUNC(Row, row_free)

/* How far the backup may be behind its file. */
guint row_max_lag_sec(const Row *row);

const char *backup_mode_name(BackupMode mode);
const char *recover_mode_name(RecoverMode mode);
gboolean    backup_mode_parse(const char *text, BackupMode *ret_mode, GError **error);
gboolean    recover_mode_parse(const char *text, RecoverMode *ret_mode, GError **error);

/* "24h 7d 4w 12m": numbers with a unit, each unit at most once, in that order. */
gboolean keep_check(const char *keep, GError **error);

/* One group of `entries`, and back. `principal` is used unless `own` (our own table, where rows say
 * whose they are). */
Row *row_from_setting(const config_setting_t *group, uid_t principal, gboolean own,
                      GError **error);
void row_to_setting(const Row *row, config_setting_t *list);

/* How far one store of a row is. The recorded values are the store's own, asked once and kept. */
typedef struct Target {
    Store   *store;
    gboolean known;              /* the store has answered what it has               */
    gboolean asking;
    guint64  asking_job;
    guint64  durable_generation; /* everything up to it is durable there             */
    char    *error;              /* why the last append failed, or NULL              */
    guint    tried;              /* the entry's attempt that was for it, the last one */

    StoredState state;
    FileStat    stat;
    guint8      hash[HASH_BYTES];
    gboolean    has_hash;
    GBytes     *attributes;
    Quality     quality;
    gint64      time_usec;
    char       *mirror;          /* relative to the store */
    guint64     sequence;
    guint       suspicion;       /* Suspicion bits: its newest content may not be wanted */
    gint64      suspicious_usec; /* since the epoch                                      */
    guint64     good_point;      /* the content before, which is kept for it             */
    guint64     compare;     /* the generation whose capture reads whatever the stat says; or 0 */
    gboolean    send_whole;      /* it has not what it said it has: nothing relative to that */
    guint64     marked; /* sequence of the content that stood still and has become a point */
    gint64      behind_usec; /* since the epoch: the file has, or may have, what is not durable here
                                since then; 0: nothing */
} Target;

typedef struct Entry {
    Row    *row;
    guint64 id; /* of this run */
    char   *folder, *name;
    guint64 device; /* of the folder, 0 while unknown: picks watcher and copiers */

    WatchState watch;
    int        watch_errno;
    guint64    watch_needed;

    GPtrArray *targets; /* of Target, in the row's order */
    char      *unbound; /* a store of the row that does not exist, and the remedy; or NULL */

    /* A generation is a reason to look at the file; events of the watcher are counted apart, since
     * they alone can spoil a capture. */
    guint64  generation, event_serial;

    struct Transfer *transfer; /* the capture that runs now, or NULL          */
    struct Recovery *recovery; /* the restore that runs now, or NULL          */
    GQueue           requests; /* recoveries that wait, in order              */
    guint64          capture_generation; /* what the running capture covers   */
    guint64          inspect_job;        /* its device is being asked, or 0   */
    guint            timer;              /* the next look, or 0               */
    gint64           not_before_usec;    /* CLOCK_MONOTONIC                   */
    gboolean         active;
    struct Schedule *schedule;     /* while active */
    gboolean         rescan;       /* look again later: a writer may change it without an event */
    gint64           scanned_usec; /* CLOCK_MONOTONIC of the last look */
    gboolean         young; /* captured so soon after a change that a second one may have left the
                               same time stamps */

    JobKind   last_job;
    gint64    started_usec; /* since the epoch */
    JobResult result;
    char     *error;
    guint     failures, unstable; /* in a row */
    guint     attempts;           /* transfers that have ended */
    gboolean  told_failed;        /* the event of its failure waits for that of its end */
    guint     told_suspicion;     /* Suspicion bits of which an event has told */
    gint64    last_fuzzy_usec; /* CLOCK_MONOTONIC of the last fuzzy capture, or 0 */
    gint64    captured_usec;   /* CLOCK_MONOTONIC of the last capture that succeeded, or 0 */
    gint64    gone_since_usec; /* CLOCK_MONOTONIC, or 0 */
    gboolean  confirm_gone;    /* it was seen gone again after the settling time */
    gboolean  absent;          /* its folder is not there, or another file system is */
    gboolean  missing;         /* the file is not there */
    guint64   stuck_job;       /* of a copier that will not die, or 0 */
    char     *writer;
    gint64    current_usec; /* since the epoch: the content of that moment is durable everywhere */
    gint64 capture_usec; /* since the epoch: when the running capture began */
    PendingChange pending;
} Entry;

Entry *entry_new(Row *row_taken);
void   entry_free(Entry *e);
void   target_free(Target *t);

/* Generations that some usable store has still to take. */
gboolean entry_is_dirty(const Entry *e);
Target  *entry_find_target(const Entry *e, const Store *store);
void     entry_set_error(Entry *e, const char *format, ...) G_GNUC_PRINTF(2, 3);

G_END_DECLS
