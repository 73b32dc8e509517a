/* SPDX-License-Identifier: BSD-3-Clause */
/* interrupt.h -- SIGINT and SIGTERM while a call is under way: it is cancelled
 * at its worker before the process ends, within S_LEAVE_S seconds. And signals of
 * the verbs that stay: broker, serve, zap. Thread: the main one. */
#ifndef GI_INTERRUPT_H
#define GI_INTERRUPT_H

#include <gaterpc.h>
#include <signal.h>

/* Before the call is made: the signals wait. */
void gi_interrupt_hold(void);
/* It is under way: from now on a signal destroys the client, which cancels it,
 * and whatever this thread waits for, its stream or stdout, ends. */
void gi_interrupt_begin(gate_client_t **client);
/* It is over. 0, or 128 and the signal's number: the exit code. */
int gi_interrupt_end(void);

/* For verbs that stay, before other threads: SIGTERM and SIGINT, and SIGHUP,
 * SIGUSR1, SIGUSR2 where they would end us, wait from now on and are taken in
 * gate_runtime_wait alone. One that comes before or behind that does not end us
 * undrained. */
void gi_interrupt_stay(void);
/* Of those, the ones that mean: read anew. */
void gi_interrupt_reloads(sigset_t *set);

#endif
