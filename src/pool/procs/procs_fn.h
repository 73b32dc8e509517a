/* SPDX-License-Identifier: BSD-3-Clause */
/* procs_fn.h -- functions across processes. What was mapped when the zygote was
 * forked lies at the same address in every worker; what was loaded later goes
 * as object and offset, and the worker loads it; anything else is refused by
 * name. Thread: any. */
#ifndef GI_PROCS_FN_H
#define GI_PROCS_FN_H

#include "shared/shm.h"

/* Notes what is mapped now; right before the zygote's fork. */
gate_err_t gi_fn_snapshot(void) GATE_MUST;
/* Parent: fn is an address in this process, what names it in the error. NULL
 * gives an empty reference. */
gate_err_t gi_fn_refer(uintptr_t fn, const char *what,
                       gi_fn_ref_t *out) GATE_MUST;
/* How many objects were unloaded so far: what is known of addresses outside the
 * program itself holds while this does. */
unsigned long long gi_fn_unloads(void);
/* Worker: the address here; loads the object when it must. */
gate_err_t gi_fn_resolve(const char *object, uint64_t at,
                         uintptr_t *out) GATE_MUST;

#endif
