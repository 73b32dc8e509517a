/* SPDX-License-Identifier: BSD-3-Clause */
/* demo.h -- the demo service's handlers, by the kind of work they do. What each
 * one promises is in the table of demo.c. */
#ifndef GI_DEMO_H
#define GI_DEMO_H

#include <gaterpc.h>

/* demo_basic.c */
gate_err_t gi_demo_echo(gate_call_t *call);
gate_err_t gi_demo_add(gate_call_t *call);
gate_err_t gi_demo_none(gate_call_t *call);
gate_err_t gi_demo_boom(gate_call_t *call);
gate_err_t gi_demo_upper(gate_call_t *call);
gate_err_t gi_demo_sleep(gate_call_t *call);
gate_err_t gi_demo_blob(gate_call_t *call);
gate_err_t gi_demo_about(gate_call_t *call);
/* demo_streams.c */
gate_err_t gi_demo_gen(gate_call_t *call);
gate_err_t gi_demo_nils(gate_call_t *call);
gate_err_t gi_demo_slow_gen(gate_call_t *call);
gate_err_t gi_demo_gen_boom(gate_call_t *call);
gate_err_t gi_demo_progress(gate_call_t *call);
/* demo_bulk.c */
gate_err_t gi_demo_huge(gate_call_t *call);
gate_err_t gi_demo_file(gate_call_t *call);
gate_err_t gi_demo_wc(gate_call_t *call);
/* demo_cpu.c: written to run in worker processes */
gate_err_t gi_demo_fib(gate_call_t *call);
gate_err_t gi_demo_sha256(gate_call_t *call);
gate_err_t gi_demo_spin(gate_call_t *call);
gate_err_t gi_demo_crash(gate_call_t *call);
gate_err_t gi_demo_pid(gate_call_t *call);

/* Sleeps ms in steps; GATE_CANCELLED as soon as the caller has left. */
gate_err_t gi_demo_nap(gate_call_t *call, int64_t ms);
/* Raises OSError as Python words it. */
gate_err_t gi_demo_oserror(gate_call_t *call, int code, const char *path);

#endif
