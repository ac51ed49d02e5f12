/* main.c - filedup: the command line of filedupd */

#include "config.h"

#include <locale.h>
#include <signal.h>

#include "cli/option.h"
#include "cli/output.h"
#include "cli/report.h"
#include "cli/verb.h"

typedef Status (*VerbFunc)(const Options *options);

static const VerbFunc functions[VERB_COUNT] = {
    [VERB_ADD] = verb_add,
    [VERB_SET] = verb_set,
    [VERB_SUSPEND] = verb_suspend,
    [VERB_RESUME] = verb_resume,
    [VERB_REMOVE] = verb_remove,
    [VERB_STATUS] = verb_status,
    [VERB_SYNC] = verb_sync,
    [VERB_RESTORE] = verb_restore,
    [VERB_LOG] = verb_log,
    [VERB_DIFF] = verb_diff,
    [VERB_CAT] = verb_cat,
    [VERB_POINT] = verb_point,
    [VERB_PRUNE] = verb_prune,
    [VERB_FORGET] = verb_forget,
    [VERB_VERIFY] = verb_verify,
    [VERB_APPROVE] = verb_approve,
    [VERB_STORE_ADD] = verb_store_add,
    [VERB_STORE_LIST] = verb_store_list,
    [VERB_STORE_SET] = verb_store_set,
    [VERB_STORE_CHECK] = verb_store_check,
    [VERB_STORE_REBUILD] = verb_store_rebuild,
    [VERB_STORE_REMOVE] = verb_store_remove,
    [VERB_DOCTOR] = verb_doctor,
};

static Status
run(const Options *options)
{
    if (options_has(options, OPTION_HELP)) {
        g_autofree char *text = option_help(options_verb(options));
        output_print("%s", text);
        return STATUS_OK;
    }
    if (options_has(options, OPTION_VERSION)) {
        output_print("filedup %s\n", PACKAGE_VERSION);
        return STATUS_OK;
    }
    if (options_has(options, OPTION_COMPLETION)) {
        g_autofree char *text = option_completion_bash();
        output_print("%s", text);
        return STATUS_OK;
    }
    return functions[options_verb(options)](options);
}

int
main(int argc, char **argv)
{
    g_autoptr(GError) error = NULL;

    (void) setlocale(LC_ALL, "");
    (void) signal(SIGPIPE, SIG_IGN); /* scratch is removed, whoever has read enough */
    g_autoptr(Options) options = options_parse(argc, argv, &error);
    if (!options) {
        report_error(NULL, error, NULL);
        return STATUS_USAGE;
    }
    Status status = run(options);
    if (!output_finish() && status == STATUS_OK)
        status = STATUS_ERROR;
    return (int) status;
}
