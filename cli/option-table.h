#pragma once

/* The table of verbs and options: everything there is to say about the command line. Whoever adds a
 * line has changed parsing, help and completion; tests/unit/option.c then asks for the man page. */

#include "cli/option.h"

G_BEGIN_DECLS

typedef struct VerbSpec {
    const char *name;
    const char *operands; /* for people: "FILE..." */
    guint       least, most;
    const char *summary;
    const char *detail; /* NULL, or prose below the options in the verb's help */
} VerbSpec;

typedef enum { KIND_FLAG, KIND_TEXT, KIND_NUMBER, KIND_SIZE, KIND_CHOICE, KIND_FILE, KIND_FOLDER } OptionKind;

typedef struct OptionSpec {
    const char *name;
    const char *argument; /* NULL for a flag */
    const char *help;
    OptionKind  kind;
    char        letter;
    gboolean    repeats;
    guint       verbs;       /* bits; GLOBAL */
    guint       required_by; /* bits: verbs that do not go without it */
    const char *choices;     /* "a|b" */
    guint64     least, most; /* KIND_NUMBER, KIND_SIZE */
    guint       refused_by;  /* bits: verbs for which `refusal` says why not */
    const char *refusal;
} OptionSpec;

/* Sets of verbs. */
#define BIT(verb) (1u << VERB_##verb)
#define GLOBAL    (1u << VERB_COUNT)
#define HIDDEN    (1u << (VERB_COUNT + 1))
#define OFFLINE /* can do with --store */                                                          \
    (BIT(STATUS) | BIT(RESTORE) | BIT(LOG) | BIT(DIFF) | BIT(CAT) | BIT(VERIFY) | BIT(STORE_LIST))

extern const VerbSpec   VERBS[VERB_COUNT];
extern const OptionSpec OPTIONS[OPTION_COUNT];

static inline gboolean
option_is_of(Option i, Verb verb)
{
    return (OPTIONS[i].verbs & (1u << verb)) && !(OPTIONS[i].verbs & HIDDEN);
}

static inline gboolean
option_is_global(Option i)
{
    return (OPTIONS[i].verbs & GLOBAL) && !(OPTIONS[i].verbs & HIDDEN);
}

G_END_DECLS
