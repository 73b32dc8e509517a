/* SPDX-License-Identifier: BSD-3-Clause */
/* service_call.c -- a call's way through the service.
 *
 *   request -> NEW -> [WAITING] -> RUNNING -> outcome -> answered -> DONE
 *                                     |          ^
 *                                     +-> KEPT --+   finish, a job's end
 *                                     +-> GENERATING   items, then its end
 *
 * Law: each request that was taken is answered once, whatever happens
 * (docs/wire.md: a worker's slot is lost for ever otherwise). A handler on a
 * pool owns the call until its RETURNED mail; what other threads bring earlier
 * (finish, a job's end) waits for that. */
#include "service/service_impl.h"

#include <string.h>
#include "sync/clock.h"
#include "base/err.h"
#include "base/mem.h"
#include "base/moment.h"
#include "wire/meta.h"
#include "jobs/pool.h"
#include "value/scan.h"
#include <gaterpc/log.h>
#include "procs/zygote.h"

/* ---- running ------------------------------------------------------------- */
/* The handler has come back with e; the actor owns the call again. */
void gi_scall_after(gi_scall_t *c, gate_err_t e) {
    c->returned = true;
    c->ticket = 0;
    if (e != GATE_KEPT) {
        gi_scall_end(c, e);
        return;
    }
    gi_scall_enlist(c);
    if (c->gen_next_item) {
        c->state = GI_SCALL_GENERATING;
        if (atomic_load(&c->call.cancel))
            gi_scall_cancel(c);
        else
            gi_sstream_start(c);
        return;
    }
    c->state = GI_SCALL_KEPT;
    if (c->huge && c->huge->ended) {
        gi_shuge_go_on(c, GATE_OK);
        return;
    }
    if (c->job)
        gi_sjob_start(c);
    else if (c->finished)
        gi_scall_end(c, gi_call_take_last(&c->call));
}

/* Brings a call back from another thread. */
static void s_bring_back(gi_scall_t *c, gate_err_t outcome) {
    gate_service_t *self = c->service;
    c->said = outcome;
    c->mail.kind = GI_SMAIL_RETURNED;
    if (gi_mailbox_push(self->mailbox, &c->mail, -1))
        gi_scall_drop(c);
    gi_latch_done(&self->away);
}

static void s_job_run(gi_job_t *job) {
    gi_scall_t *c =
        (gi_scall_t *)(void *)((char *)job - offsetof(gi_scall_t, run));
    gate_err_t e;
    if (c->call.deadline_ms <= gi_clock_coarse_ns() / 1000000) {
        e = GATE_TIMEOUT;
        gi_error_story(&c->call.error, e, NULL,
                       "its deadline passed before it could run", NULL);
    } else if (atomic_load(&c->call.cancel)) {
        e = GATE_CANCELLED;
    } else {
        e = gi_call_invoke(&c->call, c->method->m->fn);
    }
    s_bring_back(c, e);
}

void gi_scall_returned(gi_scall_t *c) {
    gi_mailbox_linger(c->service->mailbox); /* others of its batch follow */
    c->away = false;
    if (c->state == GI_SCALL_DONE) { /* its caller was told long ago */
        gi_sstream_stop(c);
        gi_scall_free(c);
        return;
    }
    gi_scall_after(c, c->said);
}

static gate_err_t s_pool(gate_service_t *self, gi_smethod_t *method,
                         gate_pool_t **out) {
    if (!method->pool)
        method->pool = method->runs == GATE_PROCESS
                           ? gate_runtime_procs(self->rt)
                           : gate_runtime_threads(self->rt);
    *out = method->pool;
    return method->pool ? GATE_OK : gate_error()->code;
}

/* Its workers come up while the service does, not with the first call. Where
 * there is no zygote each call says so. */
void gi_service_begin_processes(gate_service_t *self) {
    bool any = false;
    for (size_t i = 0; i < self->n_methods; i++)
        any |= self->methods[i].runs == GATE_PROCESS;
    if (any && gi_zygote_pid() && !gate_runtime_procs(self->rt))
        gate_log(GATE_ERROR, "service", "%s: no process pool: %s", self->name,
                 gate_error()->text);
}

static void s_refuse_pool(gi_scall_t *c, gate_err_t e, const char *what) {
    char text[200];
    if (e == GATE_BUSY)
        snprintf(text, sizeof text, "The %s of service %s is full.", what,
                 c->service->name);
    else
        snprintf(text, sizeof text, "%s", gate_error()->text);
    gi_scall_refuse(c, e, NULL, text);
}

static void s_refused_by_pool(gi_scall_t *c, gate_err_t e) {
    if (e != GATE_BUSY)
        (void)gi_err(e, "the pool of %s refused it: %s", c->method->m->name,
                     gate_err_text(e));
    s_refuse_pool(c, e, "thread pool");
}

/* Calls for threads are gathered while a batch of mail or messages is read: the
 * pool takes them under one lock and wakes one thread. */
void gi_scall_to_threads(gate_service_t *self) {
    gi_job_t *jobs[GI_SERVICE_JOBS];
    size_t n = self->n_jobs;
    gate_err_t e;
    if (!n)
        return;
    self->n_jobs = 0; /* refusing may bring new ones */
    memcpy(jobs, self->jobs, n * sizeof *jobs);
    gi_latch_add_n(&self->away, n);
    size_t taken = gi_pool_run_many(self->jobs_pool, jobs, n, &e);
    for (; taken < n; taken++) {
        gi_scall_t *c = (gi_scall_t *)(void *)((char *)jobs[taken] -
                                               offsetof(gi_scall_t, run));
        gi_latch_done(&self->away);
        c->away = false;
        if (c->state == GI_SCALL_DONE)
            gi_scall_free(c);
        else
            s_refused_by_pool(c, e);
    }
}

static void s_run_thread(gi_scall_t *c) {
    gate_service_t *self = c->service;
    gate_pool_t *pool;
    gate_err_t e = s_pool(self, c->method, &pool);
    if (e) {
        s_refuse_pool(c, e, "thread pool");
        return;
    }
    if (self->n_jobs == GI_SERVICE_JOBS || self->jobs_pool != pool)
        gi_scall_to_threads(self);
    c->run.run = s_job_run;
    c->run.urgent = gate_call_priority(&c->call) == GATE_HIGH;
    c->away = true;
    self->jobs_pool = pool;
    self->jobs[self->n_jobs++] = &c->run;
}

/* From the process pool's thread: the method's own items and end. */
static void s_proc_item(void *ctx, const void *data, size_t size) {
    gi_sstream_sink(ctx, data, size);
}

static void s_proc_done(void *ctx, const void *data, size_t size,
                        const gate_error_t *err) {
    gi_scall_t *c = ctx;
    gate_err_t e = err ? err->code : GATE_OK;
    if (e == GATE_EOS) {
        c->call.streamed = true;
    } else if (e) {
        gi_error_set(&c->call.error, err);
    } else if (!gi_buf_append(&c->call.out, data, size)) {
        e = GATE_NOMEM;
    }
    s_bring_back(c, e);
}

static const gi_sink_t s_proc_sink = {
    .item = s_proc_item, .done = s_proc_done, .huge = true};

/* A pool's window: 0 = not limited. */
size_t gi_scall_window(int64_t credit) {
    return credit == GI_CREDIT_FREE ? 0 : credit > 0 ? (size_t)credit : 1;
}

static void s_run_process(gi_scall_t *c) {
    gate_service_t *self = c->service;
    const gate_method_t *m = c->method->m;
    gate_pool_t *pool = NULL;
    gi_limits_t limits = c->call.args_huge ? gi_scan_limits_huge(self->settings)
                                           : gi_scan_limits(self->settings);
    gate_err_t e = GATE_OK;
    if (c->call.args_packed.size)
        e = gi_scan(c->call.args_packed.data, c->call.args_packed.size,
                    &limits);
    if (!e && c->call.kwargs_packed.size)
        e = gi_scan(c->call.kwargs_packed.data, c->call.kwargs_packed.size,
                    &limits);
    if (e) {
        gi_scall_refuse(c, e, NULL, gate_error()->text);
        return;
    }
    e = s_pool(self, c->method, &pool);
    if (!e) {
        gi_request_t request = {
            .fn = m->fn,
            .name = m->name,
            .args = c->call.args_packed,
            .kwargs = c->call.kwargs_packed,
            .options = {.priority = gate_call_priority(&c->call),
                        .idempotent = m->idempotent,
                        .max_attempts = gi_service_runs(self, m),
                        .soft_ms = m->soft_ms,
                        .hard_ms = m->hard_ms},
            .deadline_ms = c->call.deadline_ms,
            .attempt = c->call.attempt,
            .credit_items = gi_scall_window(c->credit.items),
            .credit_bytes = gi_scall_window(c->credit.bytes),
            .user = c->call.user,
            .meta = c->call.meta,
            .sink = &s_proc_sink,
            .ctx = c};
        c->pool = pool;
        c->away = true;
        gi_latch_add(&self->away);
        e = gi_pool_submit(pool, &request, &c->ticket);
        if (!e)
            return;
        gi_latch_done(&self->away);
        c->away = false;
        c->ticket = 0;
    }
    /* it did not run: others may have workers, and so may we later */
    if (e == GATE_CLOSED || e == GATE_BUSY || e == GATE_SYSTEM)
        gi_scall_refuse(c, GATE_BUSY, NULL, gate_error()->text);
    else
        s_refuse_pool(c, e, "process pool");
}

static void s_run_inline(gi_scall_t *c) {
    gi_scall_after(c, gi_call_invoke(&c->call, c->method->m->fn));
}

void gi_scall_start(gi_scall_t *c) {
    if (c->args_coming) {
        gi_sargs_start(c);
        return;
    }
    c->state = GI_SCALL_RUNNING;
    if (c->method->runs == GATE_INLINE) {
        s_run_inline(c);
        return;
    }
    gi_scall_enlist(c);
    if (c->method->runs == GATE_PROCESS)
        s_run_process(c);
    else
        s_run_thread(c);
}

/* Urgent ones before others. */
static void s_wait(gi_scall_t *c) {
    gate_service_t *self = c->service;
    gi_scall_t **at = self->waiting_tail;
    if (gate_call_priority(&c->call) == GATE_HIGH)
        for (at = &self->waiting_head;
             *at && gate_call_priority(&(*at)->call) == GATE_HIGH;)
            at = &(*at)->queue_next;
    c->state = GI_SCALL_WAITING;
    c->queue_next = *at;
    *at = c;
    if (!c->queue_next)
        self->waiting_tail = &c->queue_next;
    self->n_waiting++;
    gi_scall_arm(c);
}

/* Over the limit it waits here: a Python broker sends more than was announced
 * after each stream (docs/wire.md, flow control). */
static void s_admit(gi_scall_t *c) {
    gate_service_t *self = c->service;
    if (c->method->runs == GATE_INLINE || (int64_t)self->n_live < self->limit) {
        gi_scall_start(c);
        return;
    }
    if ((int64_t)self->n_waiting >= self->limit) {
        char text[80];
        snprintf(text, sizeof text,
                 "Request count exceeds the maximum value(%lld).",
                 (long long)self->limit);
        gi_scall_refuse(c, GATE_BUSY, NULL, text);
        return;
    }
    s_wait(c);
}

void gi_scall_next_waiting(gate_service_t *self) {
    while (self->waiting_head && (int64_t)self->n_live < self->limit) {
        gi_scall_t *c = self->waiting_head;
        self->waiting_head = c->queue_next;
        if (!self->waiting_head)
            self->waiting_tail = &self->waiting_head;
        self->n_waiting--;
        gi_wheel_cancel(self->wheel, &c->timer);
        gi_scall_start(c);
    }
}

/* ---- requests ------------------------------------------------------------ */
/* Finds the method and starts; func and the packed arguments are in place. */
void gi_scall_dispatch(gi_scall_t *c, gate_bytes_t func_frame) {
    gate_service_t *self = c->service;
    gate_bytes_t func;
    c->begun_ms = c->quiet_ms = self->now_ms;
    gate_err_t e = gi_rpc_parse_func(func_frame, &func);
    if (e) {
        gi_scall_refuse(c, e, NULL, gate_error()->text);
        return;
    }
    size_t n = func.size < sizeof c->method_name - 1
                   ? func.size
                   : sizeof c->method_name - 1;
    memcpy(c->method_name, func.data, n);
    c->method_name[n] = 0;
    c->call.method = c->method_name;
    c->method = gi_service_method(self, func);
    if (!c->method) {
        char text[256];
        snprintf(text, sizeof text, "service %s has no method '%.*s'",
                 self->name, (int)n, c->method_name);
        gi_scall_refuse(c, GATE_NOMETHOD, NULL, text);
        return;
    }
    c->call.ctx = c->method->ctx;
    s_admit(c);
}

/* Metadata that is out of bounds counts as none. */
void gi_scall_meta(gi_scall_t *c, gate_bytes_t packed) {
    char *flat = packed.size && packed.size <= GI_META_BYTES_MAX
                     ? gi_arena_alloc(&c->call.arena, packed.size)
                     : NULL;
    size_t size = flat ? gi_meta_flatten(packed, flat) : 0;
    c->call.meta = (gate_bytes_t){flat, size};
}

static gate_err_t s_take_ext(gi_scall_t *c, gate_bytes_t frame) {
    gi_ext_t ext;
    if (gi_ext_parse(frame, &ext)) {
        c->service->stats.dropped++;
        return GATE_OK;
    }
    if (ext.timeout_ms >= 0)
        c->call.deadline_ms = gi_time_after(c->service->now_ms, ext.timeout_ms);
    if (ext.attempt)
        c->call.attempt = ext.attempt;
    if (ext.user.size && c->link->ext) { /* else it may be anybody's word */
        char *user = gi_arena_alloc(&c->call.arena, ext.user.size + 1);
        if (user) {
            memcpy(user, ext.user.data, ext.user.size);
            user[ext.user.size] = 0;
            c->call.user = user;
        }
    }
    if (ext.meta.size)
        gi_scall_meta(c, ext.meta);
    if (ext.huge)
        gi_readers_note(c->service, c->link, c->call.client, ext.codecs);
    if (ext.credit_items >= 0 || ext.credit_bytes >= 0) {
        c->credited = true;
        c->credit.items =
            ext.credit_items >= 0 ? ext.credit_items : GI_CREDIT_FREE;
        c->credit.bytes =
            ext.credit_bytes >= 0 ? ext.credit_bytes : GI_CREDIT_FREE;
    }
    return ext.args_size < 0 ? GATE_OK : gi_sargs_expect(c, &ext);
}

void gi_scall_request(gi_link_t *link, const gate_bytes_t *view,
                      unsigned client_id, unsigned request_id, unsigned body,
                      unsigned n_body) {
    gate_service_t *self = link->service;
    gi_frames_t *in = &self->in;
    gi_scall_t *c = gi_scall_new(self);
    if (!c) {
        self->stats.dropped++; /* no memory to answer with either */
        return;
    }
    c->link = link;
    c->epoch = link->epoch;
    zmq_msg_init(&c->args);
    zmq_msg_init(&c->kwargs);
    c->has_frames = true;
    c->credit.items = self->settings->stream_reply_maxsize;
    c->credit.bytes = self->settings->stream_max_bytes;
    gi_frames_take(in, client_id, &c->client_id);
    gi_frames_take(in, request_id, &c->request_id);
    c->call.client = gi_scall_bytes(&c->client_id);
    if (n_body && gi_ext_is(view[body + n_body - 1])) {
        gate_err_t e = s_take_ext(c, view[body + n_body - 1]);
        if (e) {
            gi_scall_refuse(c, e, NULL, gate_error()->text);
            return;
        }
        n_body--;
    }
    if (n_body < 1 || n_body > 3) {
        gi_scall_refuse(c, GATE_BADDATA, NULL,
                        "a request has 1 to 3 frames: func, args, kwargs");
        return;
    }
    if (n_body > 1) {
        gi_frames_take(in, body + 1, &c->args);
        c->call.args_packed = gi_scall_bytes(&c->args);
    }
    if (n_body > 2) {
        gi_frames_take(in, body + 2, &c->kwargs);
        c->call.kwargs_packed = gi_scall_bytes(&c->kwargs);
    }
    gi_scall_dispatch(c, gi_scall_bytes(&in->f[body]));
}
