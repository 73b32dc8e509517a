/* SPDX-License-Identifier: BSD-3-Clause */
/* given.c -- see given.h. */
#include "runtime/given.h"

#include "base/err.h"

gate_err_t gi_given(const char *who, const char *what, const char *text) {
    if (text && *text)
        return GATE_OK;
    return gi_err(GATE_BADARG, "%s: no %s (%s): name one", who, what,
                  text ? "\"\"" : "NULL");
}
