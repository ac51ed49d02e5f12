/* option-table.c - the one table of verbs and options */

#include "config.h"

#include "cli/option-table.h"

#define FOR_EVER   G_MAXUINT
#define LAST_POINT G_MAXINT64

#define ANOTHER_ROW                                                                                \
    "backup mode and recovery mode of a row are fixed: another mode makes another row. "           \
    "Use 'filedup remove FILE' (the backup stays), then 'filedup add FILE' with the new mode"

#define WHEN_IS                                                                                    \
    "WHEN, and what follows the @, is a point's number or name, or a time: \"10 minutes ago\",\n"  \
    "\"yesterday 18:00\", \"monday 12:00\", \"2026-11-20 18:00:05\", \"2026-11-20T18:00:05Z\"."

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
        "One FILE, or --long, shows everything there is to know about a row. --check is for\n"
        "monitoring: it prints only what is wrong, and returns 4 then: a backup older than its\n"
        "--max-lag allows, a failure, a suspicious change."},
    [VERB_SYNC] = {"sync", "[FILE...]", 0, FOR_EVER, "wait until backups are current and on disk",
        "Returns 0 when the content that the files have now is durable in all their stores, 4 if\n"
        "it cannot be had, with the reason and with who is writing."},
    [VERB_RESTORE] = {"restore", "FILE[@POINT]...", 1, FOR_EVER, "put files back",
        "What was there before is kept as a recovery point. With --store DIR no daemon is needed.\n"
        WHEN_IS},
    [VERB_LOG] = {"log", "FILE", 1, 1, "list a file's recovery points, newest first", NULL},
    [VERB_DIFF] = {"diff", "FILE[@A] [FILE[@B]]", 1, 2, "tell what differs between two contents",
        "Without B the other one is the file on the disk; '@B' alone is of the same FILE. Without A\n"
        "it is the newest backup. Text is compared line by line, anything else by bytes."},
    [VERB_CAT] = {"cat", "FILE[@POINT]", 1, 1, "print a backup's content", WHEN_IS},
    [VERB_POINT] = {"point", "FILE", 1, 1, "keep what a file is now, under a name",
        "'filedup restore FILE@NAME' brings it back. It is kept until 'filedup forget FILE@NAME'."},
    [VERB_PRUNE] = {"prune", "[FILE]", 0, 1, "thin recovery points by their policies now",
        "This also happens by itself. The newest stable content is never removed."},
    [VERB_FORGET] = {"forget", "FILE[@POINT]", 1, 1, "remove recovery points for good",
        "FILE alone: all points but the newest content. What is forgotten cannot be had back from\n"
        "any store that is there. Asks first, on a terminal."},
    [VERB_VERIFY] = {"verify", "[FILE...]", 0, FOR_EVER, "read backups, and check them against their sums",
        "Returns 3 if anything is damaged."},
    [VERB_APPROVE] = {"approve", "FILE...", 1, FOR_EVER, "say that a suspicious change was wanted",
        "The points before it are thinned by the policy again."},
    [VERB_STORE_ADD] = {"store add", "DIR", 1, 1, "make a store in a folder, or take up the one there", NULL},
    [VERB_STORE_LIST] = {"store list", "", 0, 0, "show the stores", NULL},
    [VERB_STORE_SET] = {"store set", "NAME", 1, 1, "limit the space that a store may take", NULL},
    [VERB_STORE_CHECK] = {"store check", "DIR", 1, 1, "check that all parts of a store are there and fit",
        "Needs no daemon, and no daemon may have the store. Returns 3 if anything is damaged."},
    [VERB_STORE_REBUILD] = {"store rebuild", "DIR", 1, 1, "make a new catalog for a store that has lost its own",
        "Needs no daemon, and no daemon may have the store. The catalog before is put aside. Returns 3\n"
        "if something could not be brought back; says what, and why."},
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
    [OPTION_KEEP_LAST] = {"keep-last", "N", "keep the last N points, whatever their age", KIND_NUMBER,
        .verbs = BIT(ADD) | BIT(SET), .least = 0, .most = 1000000},
    [OPTION_MAX_LAG] = {"max-lag", "SECONDS", "how far a backup may be behind its file", KIND_NUMBER,
        .verbs = BIT(ADD) | BIT(SET), .least = 1, .most = 86400},
    [OPTION_LONG] = {"long", NULL, "everything about each row", KIND_FLAG, 'l', .verbs = BIT(STATUS)},
    [OPTION_CHECK] = {"check", NULL, "print only what is wrong; 4 if anything is", KIND_FLAG, .verbs = BIT(STATUS)},
    [OPTION_TO_PATH] = {"to", "PATH", "write to PATH instead (a folder: under the file's name)", KIND_FILE,
        .verbs = BIT(RESTORE)},
    [OPTION_IN_PLACE] = {"in-place", NULL, "keep the inode, write only the blocks that differ", KIND_FLAG,
        .verbs = BIT(RESTORE)},
    [OPTION_DRY_RUN] = {"dry-run", NULL, "only say what would be done", KIND_FLAG, 'n',
        .verbs = BIT(RESTORE) | BIT(PRUNE)},
    [OPTION_FORCE] = {"force", NULL, "even if a program has the file open, or PATH exists", KIND_FLAG, 'f',
        .verbs = BIT(RESTORE)},
    [OPTION_FORCE_BINARY] = {"force", NULL, "print to a terminal what is no text", KIND_FLAG, 'f',
        .verbs = BIT(CAT)},
    [OPTION_AT] = {"at", "WHEN", "the content as of then: a time, or a point", KIND_TEXT,
        .verbs = BIT(RESTORE) | BIT(CAT)},
    [OPTION_POINT] = {"point", "N", "the recovery point that 'filedup log' shows under N", KIND_NUMBER,
        .verbs = BIT(RESTORE), .least = 1, .most = LAST_POINT},
    [OPTION_STORE_NAME] = {"store-name", "NAME", "of the row's stores, this one", KIND_TEXT,
        .verbs = BIT(RESTORE) | BIT(LOG) | BIT(DIFF) | BIT(CAT) | BIT(FORGET) | BIT(VERIFY)},
    [OPTION_LIMIT] = {"limit", "N", "the newest N only", KIND_NUMBER, 'n',
        .verbs = BIT(LOG), .least = 1, .most = G_MAXUINT32},
    [OPTION_POINT_NAME] = {"name", "NAME", "what to call the point", KIND_TEXT,
        .verbs = BIT(POINT), .required_by = BIT(POINT)},
    [OPTION_ALL] = {"all", NULL, "the newest content too: nothing is left of the file", KIND_FLAG,
        .verbs = BIT(FORGET)},
    [OPTION_YES] = {"yes", NULL, "do not ask", KIND_FLAG, 'y', .verbs = BIT(FORGET)},
    [OPTION_POINTS] = {"points", NULL, "all recovery points, too", KIND_FLAG, .verbs = BIT(VERIFY)},
    [OPTION_READ] = {"read", NULL, "the contents too, each against its sums", KIND_FLAG,
        .verbs = BIT(STORE_CHECK)},
    [OPTION_FORCE_REBUILD] = {"force", NULL, "even if the catalog is whole", KIND_FLAG, 'f',
        .verbs = BIT(STORE_REBUILD)},
    [OPTION_DRILL] = {"drill", NULL, "restore to scratch, and compare what arrived", KIND_FLAG,
        .verbs = BIT(VERIFY)},
    [OPTION_STORE_NAMED] = {"name", "NAME", "what to call the store (else: the folder's name)", KIND_TEXT,
        .verbs = BIT(STORE_ADD)},
    [OPTION_MAX_SIZE] = {"max-size", "SIZE", "as \"500G\" or \"1.5T\"; 0 for no limit", KIND_SIZE,
        .verbs = BIT(STORE_SET), .required_by = BIT(STORE_SET), .most = G_MAXINT64},

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
