#pragma once

/* Findings: what `filedup doctor` has looked at, what it thinks of it, and what to do. */

#include <glib.h>

#include "cli/report.h"

G_BEGIN_DECLS

typedef enum { FINDING_OK, FINDING_ADVICE, FINDING_PROBLEM } FindingGrade;

typedef struct Findings Findings;

Findings *findings_new(void);
void      findings_free(Findings *f);
G_DEFINE_AUTOPTR_CLEANUP_FUNC(Findings, findings_free)

/* `what` is a few fixed words, `remedy` NULL if there is none or none is needed. */
void findings_add(Findings *f, FindingGrade grade, const char *what, const char *remedy,
                  const char *format, ...) G_GNUC_PRINTF(5, 6);

/* OK if there is no problem, ERROR otherwise. */
Status findings_print(Findings *f, gboolean json, gboolean quiet);

G_END_DECLS
