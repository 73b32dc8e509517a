/* SPDX-License-Identifier: BSD-3-Clause */
/* queue.h (private) -- a gate_queue across the fork: its descriptor goes to the
 * worker with the job, the job's argument is an index among the job's queues.
 * Thread: any. */
#ifndef GI_QUEUE_H
#define GI_QUEUE_H

#include <gaterpc/queue.h>
#include "base/buf.h"
#include "shared/owner.h"

/* The maker behind gate_queue_new. NULL with gate_error() set. */
gate_queue_t *gi_queue_new(const gi_pool_base_t *base, size_t n_items,
                           size_t size_bytes);
/* A queue as an argument: packs a reference (msgpack ext type GI_EXT_QUEUE, the
 * index among the request's queues). */
#define GI_EXT_QUEUE 0x51
/* The same for bytes in the pool's inbox. */
#define GI_EXT_RUN 0x52
/* Collects the queues among args in order; at most max; returns how many. */
size_t gi_queue_collect(const gate_arg_t *args, size_t n, gate_queue_t **out,
                        size_t max);
gate_err_t gi_queue_pack_ref(gi_buf_t *out, size_t index) GATE_MUST;

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
