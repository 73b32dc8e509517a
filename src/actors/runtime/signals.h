/* SPDX-License-Identifier: BSD-3-Clause */
/* signals.h -- what gate_runtime_wait takes: SIGTERM and SIGINT, and SIGHUP,
 * SIGUSR1, SIGUSR2 where they would end the process without draining. One that
 * is ignored (nohup) or handled by the program stays so. Thread: one at a time.
 */
#ifndef GI_SIGNALS_H
#define GI_SIGNALS_H

#include <signal.h>
#include <stdbool.h>

#define GI_SIGNALS 5

typedef struct gi_signals {
    struct sigaction before[GI_SIGNALS];
    bool ours[GI_SIGNALS];
    sigset_t mask; /* this thread's, before */
    sigset_t open; /* to wait with: ours come then, and only then */
} gi_signals_t;

void gi_signals_take(gi_signals_t *self);
void gi_signals_give(const gi_signals_t *self);
/* Waits up to that long for one. */
void gi_signals_wait(const gi_signals_t *self, int timeout_ms);
int gi_signals_ends(void);    /* how many SIGTERM and SIGINT came since take */
bool gi_signals_reload(void); /* one of the others came since this was asked */

#endif
