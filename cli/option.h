#pragma once

/* Options: the command line. One table of verbs and options is what parsing, --help, completion and
 * the man page's synopsis are made from. */

#include <glib.h>

G_BEGIN_DECLS

typedef enum {
    VERB_ADD,
    VERB_SET,
    VERB_SUSPEND,
    VERB_RESUME,
    VERB_REMOVE,
    VERB_STATUS,
    VERB_SYNC,
    VERB_RESTORE,
    VERB_LOG,
    VERB_DIFF,
    VERB_CAT,
    VERB_POINT,
    VERB_PRUNE,
    VERB_FORGET,
    VERB_VERIFY,
    VERB_APPROVE,
    VERB_STORE_ADD,
    VERB_STORE_LIST,
    VERB_STORE_SET,
    VERB_STORE_CHECK,
    VERB_STORE_REBUILD,
    VERB_STORE_REMOVE,
    VERB_DOCTOR,
    VERB_COUNT,
    VERB_NONE = VERB_COUNT, /* --help, --version or --completion alone */
} Verb;

typedef enum {
    OPTION_BACKUP,
    OPTION_RECOVER,
    OPTION_TO_STORE,
    OPTION_RETRIES,
    OPTION_TIMEOUT,
    OPTION_KEEP,
    OPTION_KEEP_LAST,
    OPTION_MAX_LAG,
    OPTION_LONG,
    OPTION_CHECK,
    OPTION_TO_PATH,
    OPTION_IN_PLACE,
    OPTION_DRY_RUN,
    OPTION_FORCE,
    OPTION_FORCE_BINARY,
    OPTION_AT,
    OPTION_POINT,
    OPTION_STORE_NAME,
    OPTION_LIMIT,
    OPTION_POINT_NAME,
    OPTION_ALL,
    OPTION_YES,
    OPTION_POINTS,
    OPTION_READ,
    OPTION_FORCE_REBUILD,
    OPTION_DRILL,
    OPTION_STORE_NAMED,
    OPTION_MAX_SIZE,
    /* global */
    OPTION_USER,
    OPTION_SYSTEM,
    OPTION_SOCKET,
    OPTION_STORE,
    OPTION_JSON,
    OPTION_QUIET,
    OPTION_HELP,
    OPTION_VERSION,
    OPTION_COMPLETION, /* hidden */
    OPTION_COUNT,
} Option;

typedef struct Options Options;

/* Any error is CLI_ERROR_USAGE (report.h). Strings are bytes as given; they are copied. */
Options *options_parse(int argc, char **argv, GError **error);
void     options_free(Options *o);
G_DEFINE_AUTOPTR_CLEANUP_FUNC(Options, options_free)

Verb               options_verb(const Options *o);
const char *const *options_operands(const Options *o); /* NULL-terminated */
gboolean           options_has(const Options *o, Option option);
const char        *options_value(const Options *o, Option option);  /* the last one, or NULL */
const char *const *options_values(const Options *o, Option option); /* all, in order, or NULL */
guint64            options_number(const Options *o, Option option, guint64 otherwise); /* sizes too */

/* What the table says, as text to free. */
char       *option_help(Verb verb);               /* VERB_NONE: filedup --help */
char       *option_completion_bash(void);
char       *option_man_synopsis(void);            /* mdoc: the body of SYNOPSIS */
char       *option_man_items(Verb verb);          /* mdoc: its .It lines; VERB_NONE: global ones */
const char *option_verb_name(Verb verb);          /* "add", "store list" */

G_END_DECLS
