/* option-text.c - what the table says to people: help, completion, the man page's synopsis */

#include "config.h"

#include <string.h>

#include "cli/option-table.h"

#define HELP_COLUMN 25

/* "--to STORE", "-f, --force" */
static char *
option_term(Option i)
{
    const OptionSpec *spec = &OPTIONS[i];
    g_autofree char *letter = spec->letter ? g_strdup_printf("-%c, ", spec->letter) : g_strdup("");

    return g_strconcat(letter, "--", spec->name, spec->argument ? " " : "",
                       spec->argument ? spec->argument : "", NULL);
}

static void
append_term(GString *text, const char *term, const char *help)
{
    g_string_append_printf(text, "  %-*s %s\n", HELP_COLUMN, term, help);
}

static void
append_option(GString *text, Option i)
{
    const OptionSpec *spec = &OPTIONS[i];
    g_autofree char *term = option_term(i);
    g_autofree char *help =
        spec->choices ? g_strdup_printf("%s: %s", spec->help, spec->choices) : g_strdup(spec->help);

    append_term(text, term, help);
}

static void
append_usage(GString *text, Verb verb)
{
    const VerbSpec *spec = &VERBS[verb];
    gboolean others = FALSE;

    g_string_append_printf(text, "Usage: filedup %s", spec->name);
    if (spec->operands[0])
        g_string_append_printf(text, " %s", spec->operands);
    for (Option i = 0; i < OPTION_COUNT; i++) {
        if (!option_is_of(i, verb))
            continue;
        if (OPTIONS[i].required_by & (1u << verb))
            g_string_append_printf(text, " --%s %s", OPTIONS[i].name, OPTIONS[i].argument);
        else
            others = TRUE;
    }
    g_string_append(text, others ? " [OPTION...]\n" : "\n");
}

static char *
help_of_all(void)
{
    GString *text = g_string_new("Usage: filedup VERB [ARGUMENT...] [OPTION...]\n");

    for (Verb v = 0; v < VERB_COUNT; v++) {
        g_autofree char *term = g_strconcat(VERBS[v].name, " ", VERBS[v].operands, NULL);
        append_term(text, term, VERBS[v].summary);
    }
    g_string_append(text, "Options for every verb:\n");
    for (Option i = 0; i < OPTION_COUNT; i++)
        if (option_is_global(i))
            append_option(text, i);
    return g_string_free(text, FALSE);
}

char *
option_help(Verb verb)
{
    if (verb == VERB_NONE)
        return help_of_all();

    GString *text = g_string_new(NULL);
    append_usage(text, verb);
    g_string_append_printf(text, "%c%s.\n", g_ascii_toupper(VERBS[verb].summary[0]),
                           VERBS[verb].summary + 1);
    gsize before = text->len;
    for (Option i = 0; i < OPTION_COUNT; i++)
        if (option_is_of(i, verb))
            append_option(text, i);
    if (text->len > before)
        g_string_insert_c(text, (gssize) before, '\n');
    if (VERBS[verb].detail)
        g_string_append_printf(text, "\n%s\n", VERBS[verb].detail);
    g_string_append(text, "\n'filedup --help' lists the options that every verb has.\n");
    return g_string_free(text, FALSE);
}

/* Completion ------------------------------------------------------------------------------- */

static void
append_flags(GString *text, Verb verb)
{
    for (Option i = 0; i < OPTION_COUNT; i++)
        if (verb == VERB_NONE ? option_is_global(i) : option_is_of(i, verb))
            g_string_append_printf(text, " --%s", OPTIONS[i].name);
}

/* One line of 'case "$verb $prev"' for each option that takes a value. */
static void
append_values(GString *text, Option i)
{
    const OptionSpec *spec = &OPTIONS[i];

    if (!spec->argument || (spec->verbs & HIDDEN))
        return;
    g_string_append(text, "    ");
    if (spec->verbs & GLOBAL) {
        g_string_append_printf(text, "*\" --%s\"", spec->name);
    } else {
        const char *bar = "";
        for (Verb v = 0; v < VERB_COUNT; v++)
            if (option_is_of(i, v)) {
                g_string_append_printf(text, "%s\"%s --%s\"", bar, VERBS[v].name, spec->name);
                bar = "|";
            }
    }
    switch (spec->kind) {
    case KIND_CHOICE: {
        g_autofree char *words = g_strdelimit(g_strdup(spec->choices), "|", ' ');
        g_string_append_printf(text, ") COMPREPLY=($(compgen -W '%s' -- \"$cur\")); return ;;\n",
                               words);
        break;
    }
    case KIND_FILE:
        g_string_append(text, ") compopt -o filenames; mapfile -t COMPREPLY "
                              "< <(compgen -f -- \"$cur\"); return ;;\n");
        break;
    case KIND_FOLDER:
        g_string_append(text, ") compopt -o filenames; mapfile -t COMPREPLY "
                              "< <(compgen -d -- \"$cur\"); return ;;\n");
        break;
    case KIND_FLAG:
    case KIND_TEXT:
    case KIND_NUMBER:
    case KIND_SIZE:
        g_string_append(text, ") return ;;\n");
        break;
    }
}

char *
option_completion_bash(void)
{
    GString *text = g_string_new(
        "_filedup() {\n"
        "    local cur=${COMP_WORDS[COMP_CWORD]} prev=${COMP_WORDS[COMP_CWORD-1]} verb= i word\n"
        "    COMPREPLY=()\n"
        "    for ((i = 1; i < COMP_CWORD; i++)); do\n"
        "        word=${COMP_WORDS[i]}\n"
        "        case $word in\n");

    g_string_append(text, "        ");
    const char *bar = "";
    for (Option i = 0; i < OPTION_COUNT; i++)
        if (OPTIONS[i].argument && option_is_global(i)) {
            g_string_append_printf(text, "%s--%s", bar, OPTIONS[i].name);
            bar = "|";
        }
    g_string_append(text, ") ((i++)) ;;\n"
                          "        -*) ;;\n"
                          "        *) verb=${verb:+$verb }$word; [[ $verb == store ]] || break ;;\n"
                          "        esac\n"
                          "    done\n"
                          "    case \"$verb $prev\" in\n");
    for (Option i = 0; i < OPTION_COUNT; i++)
        append_values(text, i);
    g_string_append(text, "    esac\n"
                          "    local global='");
    append_flags(text, VERB_NONE);
    g_string_append(text, "' words=\n"
                          "    case $verb in\n");

    g_autoptr(GString) first = g_string_new(NULL);
    g_autoptr(GString) second = g_string_new(NULL);
    for (Verb v = 0; v < VERB_COUNT; v++) {
        const char *space = strchr(VERBS[v].name, ' ');
        if (!space) {
            g_string_append_printf(first, "%s ", VERBS[v].name);
        } else {
            if (!second->len)
                g_string_append(first, "store ");
            g_string_append_printf(second, "%s ", space + 1);
        }
        g_string_append_printf(text, "    \"%s\") words='", VERBS[v].name);
        append_flags(text, v);
        g_string_append(text, "' ;;\n");
    }
    g_string_append_printf(text,
                           "    store) COMPREPLY=($(compgen -W '%s' -- \"$cur\")); return ;;\n"
                           "    '') [[ $cur == -* ]] || words='%s' ;;\n"
                           "    esac\n",
                           second->str, first->str);
    g_string_append(text, "    if [[ $cur == -* || -z $verb ]]; then\n"
                          "        [[ $cur == -* ]] && words+=$global\n"
                          "        COMPREPLY=($(compgen -W \"$words\" -- \"$cur\"))\n"
                          "    else\n"
                          "        compopt -o filenames\n"
                          "        mapfile -t COMPREPLY < <(compgen -f -- \"$cur\")\n"
                          "    fi\n"
                          "}\n"
                          "complete -F _filedup filedup\n");
    return g_string_free(text, FALSE);
}

/* The man page ----------------------------------------------------------------------------- */

/* "FILE" -> "Ar FILE", "FILE[@A]" -> "Ar FILE Ns Oo @ Ns Ar A Oc", with " ..." behind if there may be
 * several. */
static void
append_man_operand(GString *text, const char *operand)
{
    gboolean many = g_str_has_suffix(operand, "...");
    gsize n = strcspn(operand, "[.");

    g_string_append_printf(text, "Ar %.*s", (int) n, operand);
    if (operand[n] == '[')
        g_string_append_printf(text, " Ns Oo @ Ns Ar %.*s Oc", (int) strcspn(operand + n + 2, "]"),
                               operand + n + 2);
    g_string_append(text, many ? " ..." : "");
}

/* One line for each: ".Ar FILE ...", ".Op Ar FILE", ".Oo Ar FILE Ns Oo @ Ns Ar B Oc Oc". */
static void
append_man_operands(GString *text, const char *operands)
{
    g_auto(GStrv) all = g_strsplit(operands, " ", -1);

    for (char **operand = all; *operand; operand++) {
        gboolean optional = (*operand)[0] == '[';
        g_autofree char *bare = g_strdup(*operand + optional);
        if (optional)
            bare[strlen(bare) - 1] = '\0';
        gboolean nested = optional && strchr(bare, '[');
        g_string_append(text, nested ? ".Oo " : optional ? ".Op " : ".");
        append_man_operand(text, bare);
        g_string_append(text, nested ? " Oc\n" : "\n");
    }
}

char *
option_man_synopsis(void)
{
    GString *text = g_string_new(NULL);

    for (Verb v = 0; v < VERB_COUNT; v++) {
        g_string_append_printf(text, ".Nm\n.Cm %s\n", VERBS[v].name);
        if (VERBS[v].operands[0])
            append_man_operands(text, VERBS[v].operands);
        for (Option i = 0; i < OPTION_COUNT; i++) {
            const OptionSpec *spec = &OPTIONS[i];
            if (!option_is_of(i, v))
                continue;
            g_autofree char *argument =
                spec->argument ? g_strdup_printf(" Ar %s", spec->argument) : g_strdup("");
            if (spec->required_by & (1u << v))
                g_string_append_printf(text, ".Fl -%s%s\n", spec->name, argument);
            else if (spec->repeats)
                g_string_append_printf(text, ".Oo Fl -%s%s Oc ...\n", spec->name, argument);
            else
                g_string_append_printf(text, ".Op Fl -%s%s\n", spec->name, argument);
        }
    }
    return g_string_free(text, FALSE);
}

char *
option_man_items(Verb verb)
{
    GString *text = g_string_new(NULL);

    for (Option i = 0; i < OPTION_COUNT; i++) {
        const OptionSpec *spec = &OPTIONS[i];
        if (verb == VERB_NONE ? !option_is_global(i) : !option_is_of(i, verb))
            continue;
        g_string_append(text, ".It ");
        if (spec->letter)
            g_string_append_printf(text, "Fl %c , ", spec->letter);
        g_string_append_printf(text, "Fl -%s", spec->name);
        if (spec->argument)
            g_string_append_printf(text, " Ar %s", spec->argument);
        g_string_append_c(text, '\n');
    }
    return g_string_free(text, FALSE);
}
