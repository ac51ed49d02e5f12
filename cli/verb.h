#pragma once

/* Verbs: one function each. It says what went wrong itself, and returns the exit status. */

#include "cli/option.h"
#include "cli/report.h"

G_BEGIN_DECLS

Status verb_add(const Options *options);
Status verb_set(const Options *options);
Status verb_suspend(const Options *options);
Status verb_resume(const Options *options);
Status verb_remove(const Options *options);
Status verb_status(const Options *options);
Status verb_sync(const Options *options);
Status verb_restore(const Options *options);
Status verb_log(const Options *options);
Status verb_diff(const Options *options);
Status verb_cat(const Options *options);
Status verb_point(const Options *options);
Status verb_prune(const Options *options);
Status verb_forget(const Options *options);
Status verb_verify(const Options *options);
Status verb_approve(const Options *options);
Status verb_store_add(const Options *options);
Status verb_store_list(const Options *options);
Status verb_store_set(const Options *options);
Status verb_store_check(const Options *options);
Status verb_store_rebuild(const Options *options);
Status verb_store_remove(const Options *options);
Status verb_doctor(const Options *options);

G_END_DECLS
