/* SPDX-License-Identifier: BSD-3-Clause */
/* service_trace.c -- where the time of a call goes whose caller asked
 * (docs/extensions.md, times; gaterpc/trace.h). Any other call costs a look. */
#include "service/service_own.h"
#include "service/service_call.h"

#include <stdio.h>
#include <string.h>
#include <unistd.h>
#include "sync/clock.h"

void gi_service_trace_begin(gi_scall_t *c, gate_trace_t *told) {
    c->trace.taken_ns = gi_clock_ns();
    c->trace.queued_ns = 0;
    atomic_init(&c->trace.started_ns, 0);
    c->trace.told = told;
}

void gi_service_trace_start(gi_scall_t *c) {
    atomic_store_explicit(&c->trace.started_ns, gi_clock_ns(),
                          memory_order_relaxed);
}

void gi_service_trace_queue(gi_scall_t *c) {
    c->trace.queued_ns = gi_clock_ns();
}

static int64_t s_us(int64_t from_ns, int64_t to_ns) {
    return from_ns && to_ns > from_ns ? (to_ns - from_ns) / 1000
           : from_ns                  ? 0
                                      : -1;
}

static void s_worker(char *to, size_t room) {
    char host[65] = "";
    (void)gethostname(host, sizeof host - 1);
    snprintf(to, room, "%s:%ld", host, (long)getpid());
}

static gi_times_t s_times(const gi_scall_t *c, const char *worker) {
    const gi_strace_t *t = &c->trace;
    int64_t now = gi_clock_ns(),
            started =
                atomic_load_explicit(&t->started_ns, memory_order_relaxed);
    int64_t left = t->queued_ns ? t->queued_ns : started ? started : now;
    return (gi_times_t){
        .broker_us = -1,
        .broker_queue_us = -1,
        .service_queue_us = s_us(t->taken_ns, left),
        .pool_wait_us = t->queued_ns ? s_us(left, started ? started : now) : -1,
        .handler_us = s_us(started, now),
        .run = c->call.attempt > 1 ? c->call.attempt : 1,
        .worker = {worker, strlen(worker)}};
}

void gi_service_trace_add(gi_scall_t *c, gi_frames_t *out) {
    gate_service_t *self = c->service;
    char worker[96];
    gi_ext_t ext;
    s_worker(worker, sizeof worker);
    gi_ext_init(&ext);
    ext.times = s_times(c, worker);
    gi_buf_reset(&self->own->scratch, GI_SCALL_KEEP_BYTES);
    if (!gi_ext_pack(&self->own->scratch, &ext))
        gi_frames_add(out, self->own->scratch.data, self->own->scratch.size);
}

void gi_service_trace_tell(gi_scall_t *c) {
    gate_trace_t *trace = c->trace.told;
    char worker[96];
    c->trace.told = NULL;
    s_worker(worker, sizeof worker);
    gi_times_t times = s_times(c, worker);
    gi_trace_told(trace, &times);
    gi_trace_end(trace);
    gi_trace_drop(trace);
}
