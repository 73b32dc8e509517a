/* SPDX-License-Identifier: BSD-3-Clause */
/* report.h -- what people and programs read: table, JSON, comparison, HTML. */
#ifndef GI_REPORT_H
#define GI_REPORT_H

#include "bench/session.h"

/* Gives: {machine, settings, results, references}; NULL no memory. */
json_t *gi_report_json(const gi_session_t *self);
void gi_report_table(const gi_session_t *self);
/* Prints what changed since the older file, to stderr; how many results became
 * worse by more than percent, -1 when the file is not a report. */
int gi_report_compare(const json_t *now, const char *file, int64_t percent);
/* False after saying why. */
bool gi_report_html(const json_t *report, const char *file);

#endif
