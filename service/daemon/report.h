#pragma once

/* Report: rows and stores as the control interface tells them (org.filedup.Manager1.xml). */

#include <glib.h>

#include "daemon/drills.h"
#include "daemon/manager.h"
#include "daemon/recovery.h"

G_BEGIN_DECLS

GVariant *report_entry(const Entry *e, const Drills *drills);    /* floating a{sv} */
GVariant *report_store(Manager *m, Store *store);                /* floating a{sv} */
GVariant *report_daemon(Manager *m);                             /* floating a{sv} */
GVariant *report_restore(const RecoveryResult *r);               /* floating a{sv} */
GVariant *report_extract(const RecoveryResult *r);               /* floating a{sv} */
const char *report_cause(PointCause cause);
const char *report_quality(Quality quality);
char       *report_kept(guint kept); /* Kept bits as words */

G_END_DECLS
