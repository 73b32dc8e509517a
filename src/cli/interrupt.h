/* SPDX-License-Identifier: BSD-3-Clause */
/* interrupt.h -- SIGINT and SIGTERM while a call is under way: it is cancelled
 * at its worker before the process ends, within S_LEAVE_S seconds. Thread: the
 * main one. */
#ifndef GI_INTERRUPT_H
#define GI_INTERRUPT_H

#include <gaterpc.h>

/* Before the call is made: the signals wait. */
void gi_interrupt_hold(void);
/* It is under way: from now on a signal destroys the client, which cancels it,
 * and whatever this thread waits for, its stream or stdout, ends. */
void gi_interrupt_begin(gate_client_t **client);
/* It is over. 0, or 128 and the signal's number: the exit code. */
int gi_interrupt_end(void);

#endif
