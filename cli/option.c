/* option.c - reading the command line by the table
 *
 * Options may stand anywhere before "--", joined to their value by "=" or followed by it; flags of
 * one letter may stand together. One name may mean different things to different verbs (--to is a
 * store for `add`, a path for `restore`), so there are two passes: the first finds the operands,
 * and with them the verb; the second gives each option its meaning. A verb of two words ("store
 * add") is the first two operands.
 *
 * All options of one name take a value, or none does, so that the first pass needs no verb. A letter
 * is taken as the verb before it has it (-n of `log` takes a value, that of `restore` does not).
 */

#include "config.h"

#include <string.h>

#include "cli/option-table.h"
#include "cli/report.h"

struct Options {
    Verb verb;
    GPtrArray *operands;             /* NULL-terminated */
    GPtrArray *values[OPTION_COUNT]; /* NULL-terminated; NULL: not given. A flag has "" */
};

/* An option as it was written. */
typedef struct Given {
    char *text; /* "--to" or "-f", for messages */
    const char *name;
    char letter;
    gboolean joined; /* by "=" */
    char *value;     /* NULL: none */
} Given;

static void
given_free(gpointer data)
{
    Given *g = data;

    g_free(g->text);
    g_free(g->value);
    g_free(g);
}

static gboolean usage_error(GError **error, const char *format, ...) G_GNUC_PRINTF(2, 3);

static gboolean
usage_error(GError **error, const char *format, ...)
{
    va_list args;

    va_start(args, format);
    g_autofree char *text = g_strdup_vprintf(format, args);
    va_end(args);
    g_set_error_literal(error, CLI_ERROR, CLI_ERROR_USAGE, text);
    return FALSE;
}

static gboolean
is_called(Option i, const Given *given)
{
    return given->name ? g_str_equal(OPTIONS[i].name, given->name)
                       : OPTIONS[i].letter == given->letter;
}

/* What the option means to the verb, or OPTION_COUNT. */
static Option
find(Verb verb, const Given *given)
{
    Option global = OPTION_COUNT;

    for (Option i = 0; i < OPTION_COUNT; i++) {
        if (!is_called(i, given))
            continue;
        if (verb != VERB_NONE && (OPTIONS[i].verbs & (1u << verb)))
            return i;
        if (OPTIONS[i].verbs & GLOBAL)
            global = i;
    }
    return global;
}

/* Any row of that name. All of them take a value, or none does. */
static Option
find_any(const Given *given)
{
    for (Option i = 0; i < OPTION_COUNT; i++)
        if (is_called(i, given))
            return i;
    return OPTION_COUNT;
}

/* VERB_NONE: it is not told by these words. */
static Verb
verb_of(const GPtrArray *words)
{
    const char *first = words->len > 0 ? words->pdata[0] : "";
    const char *second = words->len > 1 ? words->pdata[1] : "";
    g_autofree char *both = g_strconcat(first, " ", second, NULL);

    for (Verb v = 0; v < VERB_COUNT; v++)
        if (g_str_equal(VERBS[v].name, first) || g_str_equal(VERBS[v].name, both))
            return v;
    return VERB_NONE;
}

/* First pass ------------------------------------------------------------------------------- */

static gboolean
read_long(int argc, char **argv, int *i, GPtrArray *given, GError **error)
{
    const char *argument = argv[*i];
    const char *equals = strchr(argument, '=');
    Given *g = g_new0(Given, 1);

    g_ptr_array_add(given, g);
    g->text = equals ? g_strndup(argument, (gsize) (equals - argument)) : g_strdup(argument);
    g->name = g->text + 2;
    Option any = find_any(g);
    if (any == OPTION_COUNT)
        return usage_error(error, "unknown option '%s'", g->text);
    if (equals) {
        g->joined = TRUE;
        g->value = g_strdup(equals + 1);
    } else if (OPTIONS[any].argument) {
        if (*i + 1 >= argc)
            return usage_error(error, "option '%s' needs a value: %s", g->text,
                               OPTIONS[any].argument);
        g->value = g_strdup(argv[++*i]);
    }
    return TRUE;
}

/* A letter's value is the rest of the argument, or the next one. */
static gboolean
read_letters(Verb verb, int argc, char **argv, int *i, GPtrArray *given, GError **error)
{
    for (const char *letter = argv[*i] + 1; *letter; letter++) {
        Given *g = g_new0(Given, 1);
        g_ptr_array_add(given, g);
        g->text = g_strdup_printf("-%c", *letter);
        g->letter = *letter;
        Option own = find(verb, g), option = own == OPTION_COUNT ? find_any(g) : own;
        if (option == OPTION_COUNT)
            return usage_error(error, "unknown option '%s'", g->text);
        if (!OPTIONS[option].argument)
            continue;
        if (letter[1])
            g->value = g_strdup(letter + 1);
        else if (*i + 1 < argc)
            g->value = g_strdup(argv[++*i]);
        break;
    }
    return TRUE;
}

static gboolean
read_arguments(Options *o, int argc, char **argv, GPtrArray *given, GError **error)
{
    gboolean only_operands = FALSE;

    for (int i = 1; i < argc; i++) {
        const char *argument = argv[i];
        if (only_operands || argument[0] != '-' || !argument[1]) {
            g_ptr_array_add(o->operands, g_strdup(argument));
        } else if (g_str_equal(argument, "--")) {
            only_operands = TRUE;
        } else if (argument[1] == '-') {
            if (!read_long(argc, argv, &i, given, error))
                return FALSE;
        } else if (!read_letters(verb_of(o->operands), argc, argv, &i, given, error)) {
            return FALSE;
        }
    }
    return TRUE;
}

/* Takes the verb's words off the operands. */
static gboolean
take_verb(Options *o, GError **error)
{
    if (o->operands->len == 0)
        return TRUE;

    const char *first = o->operands->pdata[0];
    o->verb = verb_of(o->operands);
    if (o->verb != VERB_NONE) {
        g_ptr_array_remove_range(o->operands, 0, strchr(VERBS[o->verb].name, ' ') ? 2 : 1);
        return TRUE;
    }
    g_autofree char *family = g_strconcat(first, " ", NULL);
    g_autoptr(GString) members = g_string_new(NULL);
    for (Verb v = 0; v < VERB_COUNT; v++)
        if (g_str_has_prefix(VERBS[v].name, family))
            g_string_append_printf(members, "%s%s", members->len ? ", " : "", VERBS[v].name);
    if (members->len)
        return usage_error(error, "'%s' is not all: %s", first, members->str);
    return usage_error(error, "unknown verb '%s'. 'filedup --help' lists the verbs", first);
}

/* Second pass ------------------------------------------------------------------------------ */

static gboolean
is_choice(const char *choices, const char *value)
{
    g_auto(GStrv) all = g_strsplit(choices, "|", -1);

    return g_strv_contains((const char *const *) all, value);
}

/* "1.5G", "500 MiB", "1024": units are of 1024. */
static gboolean
parse_size(const char *text, guint64 *ret_bytes)
{
    static const char letters[] = "KMGTPE";
    char *end = NULL;
    double value = g_ascii_strtod(text, &end);
    double factor = 1;

    if (!g_ascii_isdigit(text[0]) || memchr(text, 'x', (gsize) (end - text)))
        return FALSE;
    end += strspn(end, " ");
    const char *letter = *end ? strchr(letters, g_ascii_toupper(*end)) : NULL;
    if (letter) {
        for (const char *p = letters; p <= letter; p++)
            factor *= 1024;
        end++;
        if (g_ascii_tolower(*end) == 'i' && g_ascii_tolower(end[1]) == 'b')
            end++;
    }
    if (g_ascii_tolower(*end) == 'b')
        end++;
    if (*end || !(value * factor < (double) G_MAXINT64))
        return FALSE;
    *ret_bytes = (guint64) (value * factor);
    return TRUE;
}

static gboolean
check_value(const OptionSpec *spec, const Given *given, GError **error)
{
    const char *value = given->value;
    guint64 number;

    if (!spec->argument)
        return !given->joined || usage_error(error, "option '%s' takes no value", given->text);
    if (!value || !value[0])
        return usage_error(error, "option '%s' needs a value: %s", given->text, spec->argument);
    if (spec->kind == KIND_CHOICE && !is_choice(spec->choices, value))
        return usage_error(error, "option '%s' cannot be '%s'. It is one of %s", given->text, value,
                           spec->choices);
    if (spec->kind == KIND_SIZE && !parse_size(value, &number))
        return usage_error(error, "option '%s' needs a size, as 500G or 1.5T, not '%s'",
                           given->text, value);
    if (spec->kind == KIND_NUMBER &&
        !g_ascii_string_to_unsigned(value, 10, spec->least, spec->most, &number, NULL)) {
        if (spec->most == G_MAXINT64)
            return usage_error(error, "option '%s' needs a whole number, not '%s'", given->text,
                               value);
        return usage_error(error,
                           "option '%s' needs a whole number from %" G_GUINT64_FORMAT
                           " to %" G_GUINT64_FORMAT ", not '%s'",
                           given->text, spec->least, spec->most, value);
    }
    return TRUE;
}

static gboolean
take_option(Options *o, Given *given, GError **error)
{
    Option i = find(o->verb, given);

    if (i == OPTION_COUNT) {
        const OptionSpec *any = &OPTIONS[find_any(given)];
        if (o->verb == VERB_NONE)
            return usage_error(error, "option '%s' needs a verb before it", given->text);
        if (any->refused_by & (1u << o->verb))
            return usage_error(error, "option '%s' is not for '%s': %s", given->text,
                               VERBS[o->verb].name, any->refusal);
        return usage_error(error,
                           "option '%s' is not for '%s'. 'filedup %s --help' lists its options",
                           given->text, VERBS[o->verb].name, VERBS[o->verb].name);
    }
    if (!check_value(&OPTIONS[i], given, error))
        return FALSE;
    if (!o->values[i]) {
        o->values[i] = g_ptr_array_new_with_free_func(g_free);
    } else if (!OPTIONS[i].repeats) {
        if (OPTIONS[i].argument)
            return usage_error(error, "option '%s' is given twice", given->text);
        return TRUE;
    }
    g_ptr_array_add(o->values[i], given->value ? g_steal_pointer(&given->value) : g_strdup(""));
    return TRUE;
}

/* What is missing is said at once, with the choices: "add" without modes is a common first try. */
static gboolean
check_required(const Options *o, GError **error)
{
    g_autoptr(GString) missing = g_string_new(NULL);
    guint n = 0;

    for (Option i = 0; i < OPTION_COUNT; i++) {
        const OptionSpec *spec = &OPTIONS[i];
        if (!(spec->required_by & (1u << o->verb)) || o->values[i])
            continue;
        g_string_append_printf(missing, "%s--%s %s", n++ ? " and " : "", spec->name,
                               spec->choices ? spec->choices : spec->argument);
    }
    if (n)
        return usage_error(error, "'%s' needs %s", VERBS[o->verb].name, missing->str);
    return TRUE;
}

static gboolean
check_operands(const Options *o, GError **error)
{
    const VerbSpec *verb = &VERBS[o->verb];

    if (o->operands->len < verb->least)
        return usage_error(error, "'%s' needs %s", verb->name, verb->operands);
    if (o->operands->len > verb->most)
        return usage_error(error, "'%s' takes %s, not '%s'", verb->name,
                           verb->most ? "one argument" : "no argument",
                           (const char *) o->operands->pdata[verb->most]);
    for (guint i = 0; i < o->operands->len; i++)
        if (!*(const char *) o->operands->pdata[i])
            return usage_error(error, "an empty argument names nothing");
    return TRUE;
}

static gboolean
exclude_each_other(const Options *o, const Option *options, guint n, GError **error)
{
    Option chosen = OPTION_COUNT;

    for (guint i = 0; i < n; i++) {
        if (!o->values[options[i]])
            continue;
        if (chosen != OPTION_COUNT)
            return usage_error(error, "--%s and --%s exclude each other", OPTIONS[chosen].name,
                               OPTIONS[options[i]].name);
        chosen = options[i];
    }
    return TRUE;
}

static gboolean
check_offline(const Options *o, GError **error)
{
    if (!(OFFLINE & (1u << o->verb))) {
        g_autoptr(GString) can = g_string_new(NULL);
        for (Verb v = 0; v < VERB_COUNT; v++)
            if (OFFLINE & (1u << v))
                g_string_append_printf(can, "%s%s", can->len ? ", " : "", VERBS[v].name);
        return usage_error(error, "'%s' needs the daemon. With --store there are only: %s",
                           VERBS[o->verb].name, can->str);
    }
    if (o->values[OPTION_IN_PLACE])
        return usage_error(error, "--in-place needs the daemon: with --store, what would be "
                                  "overwritten cannot be kept as a recovery point");
    if (o->values[OPTION_CHECK])
        return usage_error(error, "--check needs the daemon: a store does not know how current it "
                                  "has to be");
    return TRUE;
}

static gboolean
check_together(const Options *o, GError **error)
{
    static const Option where[] = {OPTION_USER, OPTION_SYSTEM, OPTION_SOCKET, OPTION_STORE};
    static const Option target[] = {OPTION_TO_PATH, OPTION_IN_PLACE};
    static const Option content[] = {OPTION_AT, OPTION_POINT};
    static const Option store[] = {OPTION_STORE, OPTION_STORE_NAME};

    if (!exclude_each_other(o, where, G_N_ELEMENTS(where), error) ||
        !exclude_each_other(o, target, G_N_ELEMENTS(target), error) ||
        !exclude_each_other(o, content, G_N_ELEMENTS(content), error) ||
        !exclude_each_other(o, store, G_N_ELEMENTS(store), error))
        return FALSE;
    if (o->values[OPTION_POINT] && o->operands->len > 1)
        return usage_error(error, "--point is of one file: name one FILE");
    if (o->values[OPTION_STORE] && !check_offline(o, error))
        return FALSE;
    if (o->verb == VERB_CAT && o->values[OPTION_JSON])
        return usage_error(error, "'cat' prints the content as it is: there is no --json");
    if (o->verb == VERB_SET && !o->values[OPTION_TO_STORE] && !o->values[OPTION_RETRIES] &&
        !o->values[OPTION_TIMEOUT] && !o->values[OPTION_KEEP] && !o->values[OPTION_KEEP_LAST] &&
        !o->values[OPTION_MAX_LAG])
        return usage_error(error, "'set' needs something to set: --to, --retries, --timeout, "
                                  "--keep, --keep-last or --max-lag");
    return TRUE;
}

Options *
options_parse(int argc, char **argv, GError **error)
{
    g_autoptr(Options) o = g_new0(Options, 1);
    g_autoptr(GPtrArray) given = g_ptr_array_new_with_free_func(given_free);

    o->verb = VERB_NONE;
    o->operands = g_ptr_array_new_with_free_func(g_free);
    if (!read_arguments(o, argc, argv, given, error) || !take_verb(o, error))
        return NULL;
    for (guint i = 0; i < given->len; i++)
        if (!take_option(o, given->pdata[i], error))
            return NULL;

    gboolean informs =
        o->values[OPTION_HELP] || o->values[OPTION_VERSION] || o->values[OPTION_COMPLETION];
    if (!informs) {
        if (o->verb == VERB_NONE) {
            usage_error(error, "a verb is missing. 'filedup --help' lists the verbs");
            return NULL;
        }
        if (!check_operands(o, error) || !check_required(o, error) || !check_together(o, error))
            return NULL;
    }
    g_ptr_array_add(o->operands, NULL);
    for (Option i = 0; i < OPTION_COUNT; i++)
        if (o->values[i])
            g_ptr_array_add(o->values[i], NULL);
    return g_steal_pointer(&o);
}

void
options_free(Options *o)
{
    if (!o)
        return;
    g_ptr_array_unref(o->operands);
    for (Option i = 0; i < OPTION_COUNT; i++)
        g_clear_pointer(&o->values[i], g_ptr_array_unref);
    g_free(o);
}

/* Queries ---------------------------------------------------------------------------------- */

Verb
options_verb(const Options *o)
{
    return o->verb;
}

const char *const *
options_operands(const Options *o)
{
    return (const char *const *) o->operands->pdata;
}

gboolean
options_has(const Options *o, Option option)
{
    return o->values[option] != NULL;
}

const char *const *
options_values(const Options *o, Option option)
{
    return o->values[option] ? (const char *const *) o->values[option]->pdata : NULL;
}

const char *
options_value(const Options *o, Option option)
{
    const GPtrArray *values = o->values[option];

    return values ? values->pdata[values->len - 2] : NULL; /* before the NULL */
}

guint64
options_number(const Options *o, Option option, guint64 otherwise)
{
    const char *value = options_value(o, option);
    guint64 bytes = 0;

    if (value && OPTIONS[option].kind == KIND_SIZE)
        return parse_size(value, &bytes) ? bytes : otherwise;
    return value ? g_ascii_strtoull(value, NULL, 10) : otherwise;
}

const char *
option_verb_name(Verb verb)
{
    return VERBS[verb].name;
}
