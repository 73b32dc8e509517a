/* SPDX-License-Identifier: BSD-3-Clause */
/* service_trace.c -- what is told to who asks: where the time of a call goes
 * (docs/extensions.md, times; gaterpc/trace.h), at the cost of a look at any
 * other; how the service stands, while somebody looks at its broker. */
#include "service/service_own.h"
#include "service/service_call.h"

#include <stdio.h>
#include <string.h>
#include <unistd.h>
#include "base/pack.h"
#include "procs/zygote.h"
#include "runtime/tells.h"
#include "sync/clock.h"
#include "tally/tally.h"

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

/* ---- what the service reports --------------------------------------------- */
#define S_REPORT_METHODS 64
#define S_REPORT_POOLS 8

/* {name: where it runs} */
static void s_report_methods(gate_service_t *self, msgpack_packer *pk) {
    size_t n = self->is.methods.n;
    n = n < S_REPORT_METHODS ? n : S_REPORT_METHODS;
    gi_pack_text(pk, "methods");
    msgpack_pack_map(pk, n);
    for (size_t i = 0; i < n; i++) {
        const gi_smethod_t *method = &self->is.methods.all[i];
        gi_tally_pack_text(pk, method->m->name, method->name_size);
        gi_pack_text(pk, gi_service_runs_name(method));
    }
}

/* Each once, in the order of the table: as far as it was needed yet. */
static size_t s_pools(gate_service_t *self, gate_pool_t *to[S_REPORT_POOLS]) {
    size_t n = 0;
    for (size_t i = 0; i < self->is.methods.n && n < S_REPORT_POOLS; i++) {
        const gi_smethod_t *method = &self->is.methods.all[i];
        gate_pool_t *pool = method->pool;
        if (!pool && method->runs == GATE_PROCESS && gi_zygote_pid())
            pool = gate_runtime_procs(self->is.rt);
        size_t at = 0;
        while (at < n && to[at] != pool)
            at++;
        if (pool && at == n)
            to[n++] = pool;
    }
    return n;
}

void gi_service_report(gate_service_t *self, gi_buf_t *out) {
    const gi_service_core_t *core = &self->own->core;
    gate_pool_t *pools[S_REPORT_POOLS];
    size_t n = s_pools(self, pools);
    msgpack_packer pk;
    msgpack_packer_init(&pk, out, gi_buf_write);
    msgpack_pack_map(&pk, 8);
    gi_pack_text(&pk, "process");
    msgpack_pack_map(&pk, GI_TELLS_PROCESS);
    gi_tells_process(&pk, self->own->born_ms);
    gi_pack_uint(&pk, "in_flight", core->n_live);
    gi_pack_uint(&pk, "waiting", core->n_waiting);
    gi_pack_uint(&pk, "calls", core->stats.calls);
    gi_pack_uint(&pk, "errors", core->stats.errors);
    s_report_methods(self, &pk);
    gi_pack_text(&pk, "pools");
    msgpack_pack_array(&pk, n);
    for (size_t i = 0; i < n; i++)
        gi_tells_pool(&pk, pools[i]);
    gi_pack_text(&pk, "log");
    gi_tells_log(&pk);
}
