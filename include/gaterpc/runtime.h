/* SPDX-License-Identifier: BSD-3-Clause */
/* runtime.h -- what brokers, services, clients and pools of one program part
 * share: settings, the two default pools, the log, the registry of services
 * that can be called without a socket. Several per process are fine. */
#ifndef GATERPC_RUNTIME_H
#define GATERPC_RUNTIME_H

#include <gaterpc/settings.h>

GATE_BEGIN_DECLS

/* Forks the zygote, the small process that forks all worker processes. Call it
 * first in main, before any thread, ZeroMQ context or CZMQ call; idempotent.
 * GATE_CLOSED when this process already has threads (the text names the cure);
 * GATE_SYSTEM when fork or the socket pair fails. Only programs that run
 * methods or jobs on processes need it. */
GATE_API gate_err_t gate_process_init(void) GATE_MUST;

/* NULL settings = defaults and environment. NULL only for lack of memory. */
GATE_API gate_runtime_t *gate_runtime_new(const gate_settings_t *settings);
/* Stops and frees. Children (brokers, services, clients, pools) keep the
 * runtime alive: destroying them first is right, the other order is safe. */
GATE_API void gate_runtime_destroy(gate_runtime_t **self_p);
/* Reports what stuck in the settings, starts the log actor, checks limits.
 * Children start it by themselves when you have not. */
GATE_API gate_err_t gate_runtime_start(gate_runtime_t *self) GATE_MUST;
/* Reads the settings' files again and opens the log file anew; of the settings
 * access, log_level, log_levels and debug take effect, brokers and calls of this
 * process follow the new rules from then on. Users files and keys are looked at
 * at each question anyway. An error is in the log too, and all stays as it was.
 */
GATE_API gate_err_t gate_runtime_reload(gate_runtime_t *self) GATE_MUST;
/* Waits for SIGTERM or SIGINT (taken only inside this call), or until each of
 * its services was told to drain (gate drain), then drains every
 * broker and service of the runtime; a second signal stops at once. Or until a
 * supervisor (supervisor.h) gives up. Or until the default process pool, when
 * it is in use, can start no worker any more, or could start none for 5 s.
 * Returns the exit code: 0, or that of the error; then whoever supervises the
 * program starts it again. SIGHUP, SIGUSR1 and SIGUSR2, where they would end the
 * process, reload it meanwhile. Call it from main, with no other signal
 * handling. 1 at once, and a line in the log, in a child of fork(): what a
 * runtime serves is in the process that started it, so daemon() comes first. */
GATE_API int gate_runtime_wait(gate_runtime_t *self);
/* Borrows: the default executors, made on first use: threads, worker processes
 * (gate_runtime_procs). NULL with gate_error() set when they cannot be had. */
GATE_API gate_pool_t *gate_runtime_threads(gate_runtime_t *self);
GATE_API gate_pool_t *gate_runtime_procs(gate_runtime_t *self);
/* Waits up to timeout_ms until the default process pool, if it is in use (a
 * service with process methods uses it once gate_process_init was called), has
 * a worker: gate_pool_ready. */
GATE_API gate_err_t gate_runtime_ready(gate_runtime_t *self,
                                       int64_t timeout_ms) GATE_MUST;
/* Borrows: the runtime's own copy. */
GATE_API const gate_settings_t *
gate_runtime_settings(const gate_runtime_t *self);

GATE_END_DECLS

#endif
