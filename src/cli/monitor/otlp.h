/* SPDX-License-Identifier: BSD-3-Clause */
/* otlp.h -- one call as spans of OpenTelemetry (OTLP, JSON): to a file, a line
 * each, or to a collector over plain HTTP. Blocks: until that has them, five
 * seconds at most. */
#ifndef GI_CLI_OTLP_H
#define GI_CLI_OTLP_H

#include <gaterpc.h>

typedef struct gi_otlp {
    const gate_trace_t *trace;
    const char *above;  /* traceparent of who is above; NULL: nobody */
    const char *method; /* "Service.method" */
    const char *error;  /* its class; NULL: it ended well */
} gi_otlp_t;

/* False: text is neither a file nor http://HOST[:PORT][/PATH], and why. */
bool gi_otlp_check(const char *where, const char **why);
/* Says on stderr what went wrong; a trace that is not sampled is not told. */
void gi_otlp_send(const gi_otlp_t *self, const char *where);

#endif
