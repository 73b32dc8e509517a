/* SPDX-License-Identifier: BSD-3-Clause */
/* given.h -- what decides who gets in is never "nothing" by a slip, such as a
 * getenv() of what is not set. Thread: any; sets this thread's story. */
#ifndef GI_GIVEN_H
#define GI_GIVEN_H

#include <gaterpc/error.h>

/* GATE_BADARG for NULL and "". */
gate_err_t gi_given(const char *who, const char *what,
                    const char *text) GATE_MUST;

#endif
