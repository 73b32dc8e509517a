/* SPDX-License-Identifier: BSD-3-Clause */
/* builder.h -- how something is set up that starts later: setters give no
 * error, the first mistake comes out of start, and one that comes too late is
 * said in the log, since nobody asks any more. Thread: its owner's. */
#ifndef GI_BUILDER_H
#define GI_BUILDER_H

#include "base/err.h"

typedef struct gi_builder {
    const char *part; /* "client": of the log, and what texts begin with */
    const char *name; /* behind it; NULL: none. Both borrowed */
    gi_error_t stuck; /* the first mistake */
    bool over;        /* it has started */
} gi_builder_t;

void gi_builder_init(gi_builder_t *self, const char *part);
void gi_builder_fini(gi_builder_t *self);
/* Remembers this thread's story if e is an error and the first one. */
void gi_builder_stick(gi_builder_t *self, gate_err_t e);
/* False: "part name: step after start" is remembered, and logged. */
bool gi_builder_open(gi_builder_t *self, const char *step);
/* Published: the first mistake, or GATE_OK. */
gate_err_t gi_builder_error(const gi_builder_t *self) GATE_MUST;

#endif
