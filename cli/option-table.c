/* option-table.c - the one table of verbs and options */

#include "config.h"

#include "cli/option-table.h"

#define FOR_EVER   G_MAXUINT
#define LAST_POINT G_MAXINT64

#define ANOTHER_ROW                                                                                \
    "backup mode and recovery mode of a row are fixed: another mode makes another row. "           \
    "Use 'filedup remove FILE' (the backup stays), then 'filedup add FILE' with the new mode"

/* clang-format off */
const VerbSpec VERBS[VERB_COUNT] = {
    [VERB_ADD] = {"add", "FILE...", 1, FOR_EVER, "protect files; the first backup is taken at once",
        "A FILE that does not exist yet is protected from the moment it appears."},
    [VERB_SET] = {"set", "FILE...", 1, FOR_EVER, "change where and how persistently files are backed up",
        "What is not named stays as it is. Backup and recovery mode cannot be changed: use\n"
        "'filedup remove' (the backup stays) and 'filedup add'."},
    [VERB_SUSPEND] = {"suspend", "FILE...", 1, FOR_EVER, "take no backups of files for now", NULL},
    [VERB_RESUME] = {"resume", "FILE...", 1, FOR_EVER, "go on, catching up with what changed meanwhile", NULL},
    [VERB_REMOVE] = {"remove", "FILE...", 1, FOR_EVER, "end protection; the backups stay", NULL},
    [VERB_STATUS] = {"status", "[FILE...]", 0, FOR_EVER, "show what is protected, trouble first",
        "One FILE, or --long, shows everything there is to know about a row."},
    [VERB_SYNC] = {"sync", "[FILE...]", 0, FOR_EVER, "wait until backups are current and on disk",
        "Returns 0 when the content that the files have now is durable in all their stores, 4 if\n"
        "it cannot be had, with the reason and with who is writing."},
    [VERB_RESTORE] = {"restore", "FILE...", 1, FOR_EVER, "put files back",
        "What was there before is kept as a recovery point. With --store DIR no daemon is needed."},
    [VERB_LOG] = {"log", "FILE", 1, 1, "list a file's recovery points, newest first", NULL},
    [VERB_STORE_ADD] = {"store add", "DIR", 1, 1, "make a store in a folder, or take up the one there", NULL},
    [VERB_STORE_LIST] = {"store list", "", 0, 0, "show the stores", NULL},
    [VERB_STORE_REMOVE] = {"store remove", "NAME", 1, 1, "use a store no more; its content stays", NULL},
    [VERB_DOCTOR] = {"doctor", "", 0, 0, "check this machine, and advise",
        "Returns 0 if no problem was found, 1 otherwise. Works without the daemon, too."},
};

const OptionSpec OPTIONS[OPTION_COUNT] = {
    [OPTION_BACKUP] = {"backup", "MODE", "when a backup is taken", KIND_CHOICE,
        .verbs = BIT(ADD), .required_by = BIT(ADD), .choices = "on-close|per-write",
        .refused_by = BIT(SET), .refusal = ANOTHER_ROW},
    [OPTION_RECOVER] = {"recover", "MODE", "how the file comes back", KIND_CHOICE,
        .verbs = BIT(ADD), .required_by = BIT(ADD), .choices = "auto|manual|notify",
        .refused_by = BIT(SET), .refusal = ANOTHER_ROW},
    [OPTION_TO_STORE] = {"to", "STORE", "a store to back up to (may be repeated)", KIND_TEXT,
        .repeats = TRUE, .verbs = BIT(ADD) | BIT(SET)},
    [OPTION_RETRIES] = {"retries", "N", "retry limit", KIND_NUMBER,
        .verbs = BIT(ADD) | BIT(SET), .least = 0, .most = 1000},
    [OPTION_TIMEOUT] = {"timeout", "SECONDS", "stop a copy that makes no progress for so long", KIND_NUMBER,
        .verbs = BIT(ADD) | BIT(SET), .least = 1, .most = 86400},
    [OPTION_KEEP] = {"keep", "SPEC", "recovery points to keep, as \"24h 7d 4w 12m\"", KIND_TEXT,
        .verbs = BIT(ADD) | BIT(SET)},
    [OPTION_LONG] = {"long", NULL, "everything about each row", KIND_FLAG, 'l', .verbs = BIT(STATUS)},
    [OPTION_TO_PATH] = {"to", "PATH", "write to PATH instead (a folder: under the file's name)", KIND_FILE,
        .verbs = BIT(RESTORE)},
    [OPTION_IN_PLACE] = {"in-place", NULL, "keep the inode, write only the blocks that differ", KIND_FLAG,
        .verbs = BIT(RESTORE)},
    [OPTION_DRY_RUN] = {"dry-run", NULL, "only say what would be done", KIND_FLAG, 'n', .verbs = BIT(RESTORE)},
    [OPTION_FORCE] = {"force", NULL, "even if a program has the file open, or PATH exists", KIND_FLAG, 'f',
        .verbs = BIT(RESTORE)},
    [OPTION_POINT] = {"point", "N", "the recovery point that 'filedup log' shows under N", KIND_NUMBER,
        .verbs = BIT(RESTORE), .least = 1, .most = LAST_POINT},
    [OPTION_STORE_NAME] = {"store-name", "NAME", "take it from this store of the row", KIND_TEXT,
        .verbs = BIT(RESTORE)},
    [OPTION_NAME] = {"name", "NAME", "what to call the store (else: the folder's name)", KIND_TEXT,
        .verbs = BIT(STORE_ADD)},

    [OPTION_USER] = {"user", NULL, "talk to your own daemon", KIND_FLAG, .verbs = GLOBAL},
    [OPTION_SYSTEM] = {"system", NULL, "talk to the system's daemon", KIND_FLAG, .verbs = GLOBAL},
    [OPTION_SOCKET] = {"socket", "PATH", "talk to the daemon that listens there", KIND_FILE, .verbs = GLOBAL},
    [OPTION_STORE] = {"store", "DIR", "read this store, without a daemon", KIND_FOLDER, .verbs = GLOBAL},
    [OPTION_JSON] = {"json", NULL, "results as JSON", KIND_FLAG, .verbs = GLOBAL},
    [OPTION_QUIET] = {"quiet", NULL, "no messages but errors", KIND_FLAG, 'q', .verbs = GLOBAL},
    [OPTION_HELP] = {"help", NULL, "this help; after a verb, help on the verb", KIND_FLAG, 'h', .verbs = GLOBAL},
    [OPTION_VERSION] = {"version", NULL, "the version", KIND_FLAG, .verbs = GLOBAL},
    [OPTION_COMPLETION] = {"completion", "SHELL", NULL, KIND_CHOICE, .verbs = GLOBAL | HIDDEN, .choices = "bash"},
};
/* clang-format on */
