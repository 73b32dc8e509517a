/* SPDX-License-Identifier: BSD-3-Clause */
/* queue.h (private) -- a gate_queue across the fork: its descriptor goes to the
 * worker with the job, the job's argument is an index among the job's queues.
 * Thread: any. */
#ifndef GI_QUEUE_H
#define GI_QUEUE_H

#include "procs.h"

/* The index of a packed reference; false when the object is none. */
bool gi_queue_read_ref(const msgpack_object *object, size_t *index);
gate_queue_t *gi_queue_share(gate_queue_t *self);
/* Parent: what to send to the worker. */
int gi_queue_fd(const gate_queue_t *self);
/* Worker: takes the descriptor in every case. settings are borrowed. */
gate_err_t gi_queue_open(int fd, const gate_settings_t *settings,
                         gate_queue_t **out) GATE_MUST;
/* Parent: a job has it, from attach (one more reference) to detach, which says
 * what became of the job's worker, process pid (0: it never ran): ends that the
 * process had claimed, and after the last job ends that nobody has, are closed
 * or, when it died, dead. */
void gi_queue_attach(gate_queue_t *self);
void gi_queue_detach(gate_queue_t *self, int pid, bool died);

#endif
