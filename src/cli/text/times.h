/* SPDX-License-Identifier: BSD-3-Clause */
/* times.h -- what `gate call --trace` prints of where a call's time went. */
#ifndef GI_CLI_TIMES_H
#define GI_CLI_TIMES_H

#include <gaterpc.h>

/* To stderr, behind the result: how it ended, and each part as a bar on the
 * whole; json: one line of JSON. */
void gi_times_print(const gate_trace_t *trace, const char *method, bool ok,
                    bool json);

#endif
