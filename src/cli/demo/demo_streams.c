/* SPDX-License-Identifier: BSD-3-Clause */
/* demo_streams.c -- the demo service's streams: pulled on the service's actor,
 * yielded on a thread, and relayed from a worker process. */
#include "demo/demo.h"

#include <stdlib.h>

/* ---- pulled -------------------------------------------------------------- */

typedef struct s_count {
    int64_t next, end;
    bool nil;
} s_count_t;

static gate_err_t s_next(gate_call_t *call, void *state) {
    s_count_t *count = state;
    if (count->next >= count->end)
        return GATE_EOS;
    int64_t i = count->next++;
    return count->nil ? gate_yield(call, NULL) : gate_yield(call, i);
}

static gate_err_t s_generate(gate_call_t *call, bool nil) {
    int64_t n;
    gate_err_t e = gate_args(call, gate_named("n", &n));
    if (e)
        return e;
    s_count_t *count = malloc(sizeof *count);
    if (!count)
        return GATE_NOMEM;
    *count = (s_count_t){0, n, nil};
    return gate_generate(call, s_next, count, free);
}

gate_err_t gi_demo_gen(gate_call_t *call) { return s_generate(call, false); }

gate_err_t gi_demo_nils(gate_call_t *call) { return s_generate(call, true); }

/* ---- yielded ------------------------------------------------------------- */

gate_err_t gi_demo_slow_gen(gate_call_t *call) {
    int64_t n, ms;
    gate_err_t e = gate_args(call, gate_named("n", &n), gate_named("ms", &ms));
    for (int64_t i = 0; i < n && !e; i++) {
        e = gi_demo_nap(call, ms);
        if (!e)
            e = gate_yield(call, i);
    }
    return e ? e : GATE_EOS;
}

gate_err_t gi_demo_gen_boom(gate_call_t *call) {
    int64_t n;
    gate_err_t e = gate_args(call, gate_named("n", &n));
    for (int64_t i = 0; i < n && !e; i++)
        e = gate_yield(call, i);
    return e ? e
             : gate_raise(call, "RuntimeError", "boom after %lld items",
                          (long long)n);
}

/* ---- relayed ------------------------------------------------------------- */

enum { S_ITEMS = 256, S_BYTES = 16384, S_ITEM_MS = 60000 };

/* In the worker: n items into the queue, then its end. */
static gate_err_t s_send(gate_call_t *call) {
    GATE_OWN(gate_queue) queue = NULL;
    int64_t n;
    gate_err_t e = gate_args(call, &queue, &n);
    for (int64_t i = 0; i < n && !e; i++)
        e = gate_queue_put(queue, i, S_ITEM_MS);
    if (queue)
        gate_queue_close(queue);
    return e ? e : gate_return(call, n);
}

static gate_err_t s_relay(gate_call_t *call, gate_queue_t *queue) {
    for (;;) {
        int64_t item;
        gate_err_t e = gate_queue_get(queue, &item, S_ITEM_MS);
        if (e == GATE_CLOSED) /* before either end was used: n is 0 */
            return GATE_EOS;
        if (!e)
            e = gate_yield(call, item);
        if (e)
            return e;
    }
}

gate_err_t gi_demo_progress(gate_call_t *call) {
    int64_t n;
    gate_err_t e = gate_args(call, gate_named("n", &n));
    if (e)
        return e;
    gate_pool_t *procs = gate_runtime_procs(gate_call_runtime(call));
    if (!procs)
        return gate_error()->code;
    GATE_OWN(gate_queue)
    queue = gate_queue_new(gate_call_runtime(call), S_ITEMS, S_BYTES);
    if (!queue)
        return gate_error()->code;
    GATE_OWN(gate_future) job = gate_submit(procs, s_send, queue, n);
    e = s_relay(call, queue);
    gate_queue_close(queue);
    if (e != GATE_EOS && e != GATE_WORKERLOST) {
        gate_future_cancel(job); /* the reader left */
        return e;
    }
    gate_err_t job_e = gate_future_wait(job, S_ITEM_MS, NULL);
    return job_e ? job_e : e;
}
