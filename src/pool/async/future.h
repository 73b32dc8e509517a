/* SPDX-License-Identifier: BSD-3-Clause */
/* future.h (private) -- the completing side of futures.
 * A future has two references: the user's and the completer's. The completer's
 * goes with the one complete/fail call. What is completed first wins; a later
 * completion frees what it brought. */
#ifndef GI_FUTURE_H
#define GI_FUTURE_H

#include <gaterpc/future.h>
#include <stdatomic.h>
#include "value/value.h"

/* User's and completer's reference both held by the caller. settings are used
 * to decode; owner (may be NULL) is released when the future dies, so that
 * settings outlive it. NULL: no memory. */
gate_future_t *gi_future_new(const gate_settings_t *settings,
                             gi_release_fn *release_owner, void *owner);
/* The same with extra bytes of the completer's (not zeroed) in the future's own
 * block, as long as the future lives. */
gate_future_t *gi_future_new_with(const gate_settings_t *settings,
                                  gi_release_fn *release_owner, void *owner,
                                  size_t extra);
void *gi_future_extra(gate_future_t *self);
/* One reference more, for who already has one: so the block outlives the
 * completion; let go of by drop. */
void gi_future_hold(gate_future_t *self);
void gi_future_drop(gate_future_t *self);
/* A thread of group (gi_thread_wait_mark) that waits for it calls help first:
 * what it waits for may be waiting for this thread. always: no deadline. Set
 * before it is shared. */
void gi_future_on_wait(gate_future_t *self, const void *group,
                       void (*help)(gate_future_t *self, bool always));
/* Its answer comes within microseconds as a rule: who waits lingers. */
void gi_future_brief(gate_future_t *self);
/* One that has failed already; never NULL (a static one for no memory). */
gate_future_t *gi_future_failed(const gate_error_t *story);
/* What cancel asks for; runs at most once, on the cancelling thread, never
 * after the completion has returned. Must not block. Set before it is shared.
 */
void gi_future_on_cancel(gate_future_t *self,
                         void (*cancel)(void *ctx, gate_future_t *f),
                         void *ctx);
/* The completions; each drops the completer's reference. */
void gi_future_complete(gate_future_t *self, gate_value_t *value); /* takes */
/* Takes a single reply's bytes (rpc.h); decoded by whoever waits. */
void gi_future_complete_reply(gate_future_t *self, const void *data,
                              size_t size, gi_release_fn *release, void *hint);
/* The same for one packed value, as a job's result. */
void gi_future_complete_packed(gate_future_t *self, const void *data,
                               size_t size, gi_release_fn *release, void *hint);
/* The same for a value that came as a huge one (gi_value_take_huge). */
void gi_future_complete_huge(gate_future_t *self, const void *data, size_t size,
                             gi_release_fn *release, void *hint);
/* Copies the bytes of a job's result, whose strings may be as long as
 * huge_max_bytes: up to GI_FUTURE_SMALL into the future's own block. */
#define GI_FUTURE_SMALL 120
void gi_future_complete_copy(gate_future_t *self, const void *data,
                             size_t size);
/* The same, already read: true when the bytes are short and plain. False:
 * nothing has happened. For whoever keeps the settings alive until then only
 * (gi_future_own). */
bool gi_future_complete_plain(gate_future_t *self, const void *data,
                              size_t size);
/* Gives it its owner late: before the completion, by the completer. */
void gi_future_own(gate_future_t *self, gi_release_fn *release_owner,
                   void *owner);
void gi_future_fail(gate_future_t *self, const gate_error_t *story);
/* Between these, what this thread completes is told in batches: waiters and
 * queues are woken at the end, and before it when age_ns are over (0: not; it
 * is looked at every few completions). */
#define GI_FUTURE_WAKES 64
typedef struct gi_future_batch {
    struct gate_cq *cq;          /* where the chain belongs */
    gate_future_t *first, *last; /* done, for cq */
    size_t n;
    int64_t age_ns, due_ns;
    unsigned unseen; /* completions since it was looked at */
    size_t n_waited;
    atomic_uint *waited[GI_FUTURE_WAKES]; /* done, their waiters asleep */
} gi_future_batch_t;
void gi_future_batch_begin(gi_future_batch_t *batch, int64_t age_ns);
void gi_future_batch_end(gi_future_batch_t *batch);
/* A synchronous call's end: waits and stores as gate_future_wait_. Takes the
 * future in every case and keeps it, and so the strings stored, until this
 * thread's next such call or its end. */
gate_err_t gi_future_wait_call(gate_future_t **f, int64_t timeout_ms,
                               gate_slot_t out) GATE_MUST;

#endif
