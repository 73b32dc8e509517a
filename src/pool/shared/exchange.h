/* SPDX-License-Identifier: BSD-3-Clause */
/* exchange.h -- shared memory cut into units, given out in runs of them: what
 * large arguments and results are built in. The parent's books alone say what
 * is in use; nothing of them lies in the shared memory.
 *
 *   inbox:  one a pool, written by the parent, mapped read-only by its workers
 *   outbox: one a worker; the worker picks a free run and fills it, the parent
 *           checks that the run is free and lends it to whoever reads
 *
 * How a worker knows what is free: for each unit it counts how often it gave it
 * away, the parent (in gi_shm_ctl_t) how often it came back; equal is free.
 * Thread: any. Owns: a memfd and its mapping, until the last run is released.
 */
#ifndef GI_EXCHANGE_H
#define GI_EXCHANGE_H

#include <gaterpc/error.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define GI_UNIT_BYTES ((size_t)65536)
#define GI_INBOX_UNITS 16384u /* 1 GiB, of which pages exist as needed */
#define GI_OUTBOX_UNITS 2048u /* 128 MiB */

typedef struct gi_exchange gi_exchange_t;
typedef struct gate_shared gi_run_t;

/* No memory yet but for the books. NULL with the story set. */
gi_exchange_t *gi_exchange_new(const char *name, uint32_t max_units);
/* The pool or worker goes; the rest when the last run is released. */
void gi_exchange_release(gi_exchange_t **self_p);
int gi_exchange_fd(const gi_exchange_t *self);
/* Pages for n units in all, at least; returns how many there are. All of them
 * exist: a full machine is fewer than asked for, and no SIGBUS. */
uint32_t gi_exchange_grow(gi_exchange_t *self, uint32_t n);

/* Outbox, without a worker: the pages of its free end go back. */
void gi_exchange_trim(gi_exchange_t *self);

/* A run for size bytes, GATE_BUSY, GATE_NOMEM. Grows. */
gate_err_t gi_exchange_take(gi_exchange_t *self, size_t size,
                            gi_run_t **out) GATE_MUST;
/* Outbox: the run that a worker says it has filled; NULL when that cannot be.
 */
gi_run_t *gi_exchange_lend(gi_exchange_t *self, uint32_t unit, size_t size);
/* Outbox: where released units are counted (NULL: nowhere any more). For a new
 * worker: returned starts at 0, given at 1 for what is still lent. */
void gi_exchange_count(gi_exchange_t *self, _Atomic uint32_t *returned,
                       uint32_t *given);

/* True when the address is in its range. */
bool gi_exchange_has(gi_exchange_t *self, const void *data);
/* The run that [data, data + size) lies in, shared; NULL: none. */
gi_run_t *gi_exchange_find(gi_exchange_t *self, const void *data, size_t size);
gi_run_t *gi_run_share(gi_run_t *self);
void gi_run_release(void *run);
void *gi_run_data(const gi_run_t *self);
size_t gi_run_size(const gi_run_t *self);
/* Where data lies in its exchange. */
uint64_t gi_run_at(const gi_run_t *self, const void *data);

#endif
