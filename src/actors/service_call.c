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
#include "service_impl.h"

#include <string.h>
#include "clock.h"
#include "err.h"
#include "mem.h"
#include "procs.h"
#include "scan.h"

#define S_FREE_MAX 256
#define S_KEEP_BYTES 16384 /* buffers above this are not kept for reuse */

/* ---- life -------------------------------------------------------------------- */
static void s_fill(gi_scall_t *c, gate_service_t *self)
{
    c->service = self;
    c->method = NULL;
    c->prev = c->next = c->hash_next = c->queue_next = NULL;
    c->gen_prev = c->gen_next = NULL;
    c->state = GI_SCALL_NEW;
    c->outcome = GATE_OK;
    c->live = c->returned = c->finished = c->orphan = false;
    c->generating = c->gen_active = c->credited = false;
    c->timer = (gi_timer_t){0};
    c->call.deadline_ms = INT64_MAX;
    c->call.attempt = 1;
    c->call.user = "";
    c->call.client = (gate_bytes_t){NULL, 0};
    c->call.method = NULL;
    c->job_done = NULL;
    c->link = NULL;
    c->has_frames = false;
    c->packed = NULL;
    c->future = NULL;
    c->stream = NULL;
    gi_ref_init(&c->refs);
    c->unsent_items = c->unsent_bytes = 0;
    c->gen_next_item = NULL;
    c->gen_state = NULL;
    c->gen_done = NULL;
    c->pool = NULL;
    c->ticket = 0;
}

static gi_scall_t *s_alloc(gate_service_t *self)
{
    gi_scall_t *c = gi_mem_calloc(1, sizeof *c);
    if (!c)
        return NULL;
    gi_call_init(&c->call, &gi_scall_ops, self->rt, self->settings);
    gi_credit_init(&c->credit, GI_CREDIT_FREE, GI_CREDIT_FREE);
    s_fill(c, self);
    return c;
}

gi_scall_t *gi_scall_new(gate_service_t *self)
{
    gi_scall_t *c = self->free_calls;
    if (!c)
        return s_alloc(self);
    self->free_calls = c->next;
    self->n_free--;
    s_fill(c, self);
    return c;
}

static void s_release_parts(gi_scall_t *c)
{
    if (c->has_frames) {
        zmq_msg_close(&c->client_id);
        zmq_msg_close(&c->request_id);
        zmq_msg_close(&c->args);
        zmq_msg_close(&c->kwargs);
        c->has_frames = false;
    }
    gi_mem_free(c->packed);
    c->packed = NULL;
    if (c->stream)
        gi_stream_release(&c->stream);
}

void gi_scall_drop(gi_scall_t *c)
{
    if (!gi_ref_drop(&c->refs))
        return;
    s_release_parts(c);
    gi_call_fini(&c->call);
    gi_credit_fini(&c->credit);
    gi_mem_free(c);
}

void gi_scall_free(gi_scall_t *c)
{
    gate_service_t *self = c->service;
    if (!gi_ref_drop(&c->refs))
        return;
    s_release_parts(c);
    if (self->n_free >= S_FREE_MAX || self->stopping) {
        gi_call_fini(&c->call);
        gi_credit_fini(&c->credit);
        gi_mem_free(c);
        return;
    }
    gi_call_reset(&c->call);
    c->credit.cancelled = false;
    c->next = self->free_calls;
    self->free_calls = c;
    self->n_free++;
}

/* ---- the tables of live calls ------------------------------------------------ */
static size_t s_slot(gate_bytes_t request)
{
    uint64_t h = 1469598103934665603u;
    const unsigned char *p = request.data;
    for (size_t i = 0; i < request.size; i++)
        h = (h ^ p[i]) * 1099511628211u;
    return (size_t)(h >> 20) & (GI_SCALL_HASH - 1);
}

static gate_bytes_t s_bytes(zmq_msg_t *frame)
{
    return (gate_bytes_t){zmq_msg_data(frame), zmq_msg_size(frame)};
}

static bool s_same(zmq_msg_t *frame, gate_bytes_t b)
{
    return zmq_msg_size(frame) == b.size &&
           memcmp(zmq_msg_data(frame), b.data, b.size) == 0;
}

gi_scall_t *gi_scall_find(gi_link_t *link, gate_bytes_t client,
                          gate_bytes_t request)
{
    gi_scall_t *c = link->service->hash[s_slot(request)];
    while (c && !(c->link == link && c->epoch == link->epoch &&
                  s_same(&c->request_id, request) &&
                  s_same(&c->client_id, client)))
        c = c->hash_next;
    return c;
}

/* It outlives its dispatch: others must be able to find it. */
static void s_enlist(gi_scall_t *c)
{
    gate_service_t *self = c->service;
    if (c->live)
        return;
    c->live = true;
    c->prev = NULL;
    c->next = self->live;
    if (c->next)
        c->next->prev = c;
    self->live = c;
    self->n_live++;
    if (c->link) {
        size_t slot = s_slot(s_bytes(&c->request_id));
        c->hash_next = self->hash[slot];
        self->hash[slot] = c;
        c->link->live++;
    } else if (c->future && c->call.deadline_ms != INT64_MAX) {
        gi_wheel_arm(self->wheel, &c->timer, c->call.deadline_ms);
    }
}

static void s_unlist(gi_scall_t *c)
{
    gate_service_t *self = c->service;
    if (!c->live)
        return;
    c->live = false;
    if (c->prev)
        c->prev->next = c->next;
    else
        self->live = c->next;
    if (c->next)
        c->next->prev = c->prev;
    self->n_live--;
    gi_wheel_cancel(self->wheel, &c->timer);
    if (c->link) {
        gi_scall_t **p = &self->hash[s_slot(s_bytes(&c->request_id))];
        while (*p != c)
            p = &(*p)->hash_next;
        *p = c->hash_next;
        c->link->live--;
    }
}

/* ---- answering --------------------------------------------------------------- */
gi_frames_t *gi_scall_answer(gi_scall_t *c)
{
    gi_link_t *link = c->link;
    if (!link || c->orphan || c->epoch != link->epoch || !link->sock.raw)
        return NULL;
    gi_frames_t *out = gi_link_begin(link, GI_MDP_REPLY);
    zmq_msg_init(&out->f[out->n]);
    zmq_msg_copy(&out->f[out->n++], &c->client_id);
    gi_frames_add(out, "", 0);
    zmq_msg_init(&out->f[out->n]);
    zmq_msg_copy(&out->f[out->n++], &c->request_id);
    return out;
}

static void s_write_ok(unsigned char *to, const gi_buf_t *value)
{
    memcpy(to, gi_rpc_ok_prefix, sizeof gi_rpc_ok_prefix);
    to += sizeof gi_rpc_ok_prefix;
    memcpy(to, value->data, value->size);
    memcpy(to + value->size, gi_rpc_ok_suffix, sizeof gi_rpc_ok_suffix);
}

/* The whole body of a single reply, packed behind the out buffer's value. */
static void s_reply_wire(gi_scall_t *c, const unsigned char *body, size_t size)
{
    const gi_buf_t *value = &c->call.out;
    gi_frames_t *out = gi_scall_answer(c);
    if (!out) {
        c->service->stats.dropped++;
        return;
    }
    if (body) {
        gi_frames_add(out, body, size);
    } else if (zmq_msg_init_size(&out->f[out->n],
                                 value->size + GI_RPC_OK_OVERHEAD) == 0) {
        s_write_ok(zmq_msg_data(&out->f[out->n++]), value);
    } else {
        c->service->stats.dropped++;
        gi_frames_close(out);
        return;
    }
    gi_link_send(c->link);
}

static void s_reply_local(gi_scall_t *c)
{
    const gi_buf_t *value = &c->call.out;
    size_t size = value->size + GI_RPC_OK_OVERHEAD;
    unsigned char *body = gi_mem_alloc(size);
    if (!body) {
        (void)gi_err(GATE_NOMEM, "no memory for a reply");
        if (c->future)
            gi_future_fail(c->future, gate_error());
        else if (c->stream)
            gi_stream_fail(c->stream, gate_error());
        c->future = NULL;
        return;
    }
    s_write_ok(body, value);
    if (c->future)
        gi_future_complete_reply(c->future, body, size, gi_mem_free, body);
    else if (c->stream)
        gi_stream_push_reply(c->stream, body, size, gi_mem_free, body);
    else
        gi_mem_free(body);
    c->future = NULL;
}

/* The story of a failed outcome: the call's own, or the code's. */
static gate_error_t s_story(gi_scall_t *c, gate_err_t outcome)
{
    gate_error_t story = c->call.error.story;
    if (!story.code)
        story = (gate_error_t){outcome, gi_err_class(outcome),
                               gate_err_text(outcome), ""};
    if (c->service->settings->secure)
        story.traceback = "";
    return story;
}

gate_error_t gi_scall_as_remote(const gate_error_t *story)
{
    gate_error_t same = *story;
    same.code = gi_err_of_class(story->cls);
    return same;
}

static void s_answer_error(gi_scall_t *c, const gate_error_t *story)
{
    gate_service_t *self = c->service;
    if (!c->link) {
        gate_error_t same = gi_scall_as_remote(story);
        if (c->future)
            gi_future_fail(c->future, &same);
        else if (c->stream)
            gi_stream_fail(c->stream, &same);
        c->future = NULL;
        return;
    }
    gi_buf_reset(&self->scratch, S_KEEP_BYTES);
    if (!gi_rpc_pack_exception(&self->scratch, story->cls, story->text,
                               story->traceback))
        s_reply_wire(c, self->scratch.data, self->scratch.size);
}

bool gi_scall_expire(gate_service_t *self)
{
    gi_timer_t *timer;
    bool any = false;
    while ((timer = gi_wheel_expire(self->wheel, self->now_ms))) {
        gi_scall_t *c =
            (gi_scall_t *)(void *)((char *)timer - offsetof(gi_scall_t, timer));
        char text[200];
        snprintf(text, sizeof text, "%s.%s: no answer within its deadline",
                 self->name, c->method_name);
        any = true;
        if (c->future) {
            gate_error_t story = {GATE_TIMEOUT, gi_err_class(GATE_TIMEOUT),
                                  text, ""};
            gi_future_fail(c->future, &story);
            c->future = NULL;
        }
        gi_scall_cancel(c);
    }
    return any;
}

/* Out of all tables; the reference of whoever ran it goes. */
static void s_finish(gi_scall_t *c)
{
    gate_service_t *self = c->service;
    gi_sstream_stop(c);
    s_unlist(c);
    if (!c->link)
        gi_gauge_leave(&self->local);
    c->state = GI_SCALL_DONE;
    gi_scall_free(c);
}

static gate_err_t s_check_size(gi_scall_t *c)
{
    int64_t max = c->service->settings->message_bytes_max;
    if (!c->link || (int64_t)c->call.out.size + GI_RPC_OK_OVERHEAD <= max)
        return GATE_OK;
    char text[128];
    snprintf(text, sizeof text,
             "a result of %zu bytes: message_bytes_max is %lld",
             c->call.out.size, (long long)max);
    gi_error_story(&c->call.error, GATE_TOOBIG, NULL, text, NULL);
    return GATE_TOOBIG;
}

void gi_scall_end(gi_scall_t *c, gate_err_t outcome)
{
    gate_service_t *self = c->service;
    bool streams = c->call.streamed || c->state == GI_SCALL_GENERATING;
    if (!outcome && !streams)
        outcome = s_check_size(c);
    self->stats.calls++;
    if (c->method)
        c->method->calls++;
    if (outcome && outcome != GATE_EOS) {
        self->stats.errors++;
        if (c->method)
            c->method->errors++;
    }
    if (streams) {
        gi_sstream_end(c, outcome);
    } else if (outcome) {
        gate_error_t story = s_story(c, outcome);
        s_answer_error(c, &story);
    } else if (c->link) {
        s_reply_wire(c, NULL, 0);
    } else {
        s_reply_local(c);
    }
    s_finish(c);
}

void gi_scall_refuse(gi_scall_t *c, gate_err_t code, const char *cls,
                     const char *text)
{
    c->service->stats.refused++;
    gi_error_story(&c->call.error, code, cls, text, NULL);
    gi_scall_end(c, code);
}

/* ---- running ----------------------------------------------------------------- */
/* The handler has come back with e; the actor owns the call again. */
static void s_after(gi_scall_t *c, gate_err_t e)
{
    c->returned = true;
    if (e != GATE_KEPT) {
        gi_scall_end(c, e);
        return;
    }
    s_enlist(c);
    if (c->gen_next_item) {
        c->state = GI_SCALL_GENERATING;
        if (atomic_load(&c->call.cancel))
            gi_scall_cancel(c);
        else
            gi_sstream_start(c);
        return;
    }
    c->state = GI_SCALL_KEPT;
    if (c->ticket && atomic_load(&c->call.cancel))
        gi_pool_cancel(c->pool, c->ticket); /* it came while the handler ran */
    if (c->job_done) {
        gi_sjob_t *job = c->job_done;
        c->job_done = NULL;
        gi_scall_jobdone(job);
    } else if (c->finished) {
        gi_scall_end(c, c->outcome);
    }
}

/* Brings a call back from another thread. */
static void s_bring_back(gi_scall_t *c, gate_err_t outcome)
{
    gate_service_t *self = c->service;
    c->outcome = outcome;
    c->mail.kind = GI_SMAIL_RETURNED;
    if (gi_mailbox_push(self->mailbox, &c->mail, -1))
        gi_scall_drop(c);
    gi_latch_done(&self->away);
}

static void s_job_run(gi_job_t *job)
{
    gi_scall_t *c =
        (gi_scall_t *)(void *)((char *)job - offsetof(gi_scall_t, job));
    gate_err_t e;
    if (c->call.deadline_ms <= gi_clock_ms()) {
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

void gi_scall_returned(gi_scall_t *c)
{
    s_after(c, c->outcome);
}

static void s_refuse_pool(gi_scall_t *c, gate_err_t e, const char *what)
{
    char text[200];
    if (e == GATE_BUSY)
        snprintf(text, sizeof text, "The %s of service %s is full.", what,
                 c->service->name);
    else
        snprintf(text, sizeof text, "%s", gate_error()->text);
    gi_scall_refuse(c, e, NULL, text);
}

static void s_run_thread(gi_scall_t *c)
{
    gate_service_t *self = c->service;
    gate_pool_t *pool;
    gate_err_t e = gi_service_pool(self, c->method, &pool);
    if (!e) {
        c->job.run = s_job_run;
        gi_latch_add(&self->away);
        e = gi_pool_run(pool, &c->job);
        if (!e)
            return;
        gi_latch_done(&self->away);
        if (e != GATE_BUSY)
            (void)gi_err(e, "the pool of %s refused it: %s",
                         c->method->m->name, gate_err_text(e));
    }
    s_refuse_pool(c, e, "thread pool");
}

/* From the process pool's thread: the method's own items and end. */
static void s_proc_item(void *ctx, const void *data, size_t size)
{
    gate_err_t e = gi_sstream_push(ctx, data, size);
    (void)e; /* a closed mailbox: the end will find it closed as well */
}

static void s_proc_done(void *ctx, const void *data, size_t size,
                        const gate_error_t *err)
{
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

static const gi_sink_t s_proc_sink = {s_proc_item, s_proc_done};

/* A pool's window: 0 = not limited. */
static size_t s_window(int64_t credit)
{
    return credit == GI_CREDIT_FREE ? 0 : credit > 0 ? (size_t)credit : 1;
}

static void s_run_process(gi_scall_t *c)
{
    gate_service_t *self = c->service;
    const gate_method_t *m = c->method->m;
    gate_pool_t *pool = NULL;
    gi_limits_t limits = gi_scan_limits(self->settings);
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
    e = gi_service_pool(self, c->method, &pool);
    if (!e) {
        gi_request_t request = {
            .fn = m->fn,
            .name = m->name,
            .args = c->call.args_packed,
            .kwargs = c->call.kwargs_packed,
            .options = {.idempotent = m->idempotent,
                        .max_attempts = m->max_attempts,
                        .soft_ms = m->soft_ms,
                        .hard_ms = m->hard_ms},
            .deadline_ms = c->call.deadline_ms,
            .attempt = c->call.attempt,
            .credit_items = s_window(c->credit.items),
            .credit_bytes = s_window(c->credit.bytes),
            .user = c->call.user,
            .sink = &s_proc_sink,
            .ctx = c};
        c->pool = pool;
        gi_latch_add(&self->away);
        e = gi_pool_submit(pool, &request, &c->ticket);
        if (!e)
            return;
        gi_latch_done(&self->away);
    }
    s_refuse_pool(c, e, "process pool");
}

static void s_run_inline(gi_scall_t *c)
{
    s_after(c, gi_call_invoke(&c->call, c->method->m->fn));
}

static void s_start(gi_scall_t *c)
{
    c->state = GI_SCALL_RUNNING;
    if (c->method->runs == GATE_INLINE) {
        s_run_inline(c);
        return;
    }
    s_enlist(c);
    if (c->method->runs == GATE_PROCESS)
        s_run_process(c);
    else
        s_run_thread(c);
}

/* Over the limit it waits here: a Python broker sends more than was announced
 * after each stream (docs/wire.md, flow control). */
static void s_admit(gi_scall_t *c)
{
    gate_service_t *self = c->service;
    if (c->method->runs == GATE_INLINE || (int64_t)self->n_live < self->limit) {
        s_start(c);
        return;
    }
    if ((int64_t)self->n_waiting >= self->limit) {
        char text[80];
        snprintf(text, sizeof text, "Request count exceeds the maximum value(%lld).",
                 (long long)self->limit);
        gi_scall_refuse(c, GATE_BUSY, NULL, text);
        return;
    }
    c->state = GI_SCALL_WAITING;
    c->queue_next = NULL;
    *self->waiting_tail = c;
    self->waiting_tail = &c->queue_next;
    self->n_waiting++;
}

void gi_scall_next_waiting(gate_service_t *self)
{
    while (self->waiting_head && (int64_t)self->n_live < self->limit) {
        gi_scall_t *c = self->waiting_head;
        self->waiting_head = c->queue_next;
        if (!self->waiting_head)
            self->waiting_tail = &self->waiting_head;
        self->n_waiting--;
        if (atomic_load(&c->call.cancel))
            gi_scall_refuse(c, GATE_CANCELLED, NULL, "cancelled while it waited");
        else
            s_start(c);
    }
}

/* ---- requests ---------------------------------------------------------------- */
/* Finds the method and starts; func and the packed arguments are in place. */
static void s_dispatch(gi_scall_t *c, gate_bytes_t func_frame)
{
    gate_service_t *self = c->service;
    gate_bytes_t func;
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

static void s_take_ext(gi_scall_t *c, gate_bytes_t frame)
{
    gi_ext_t ext;
    if (gi_ext_parse(frame, &ext)) {
        c->service->stats.dropped++;
        return;
    }
    if (ext.timeout_ms >= 0)
        c->call.deadline_ms = c->service->now_ms + ext.timeout_ms;
    if (ext.attempt)
        c->call.attempt = ext.attempt;
    if (ext.user.size) {
        char *user = gi_arena_alloc(&c->call.arena, ext.user.size + 1);
        if (user) {
            memcpy(user, ext.user.data, ext.user.size);
            user[ext.user.size] = 0;
            c->call.user = user;
        }
    }
    if (ext.credit_items >= 0 || ext.credit_bytes >= 0) {
        c->credited = true;
        c->credit.items =
            ext.credit_items >= 0 ? ext.credit_items : GI_CREDIT_FREE;
        c->credit.bytes =
            ext.credit_bytes >= 0 ? ext.credit_bytes : GI_CREDIT_FREE;
    }
}

void gi_scall_request(gi_link_t *link, const gate_bytes_t *view,
                      unsigned client_id, unsigned request_id, unsigned body,
                      unsigned n_body)
{
    gate_service_t *self = link->service;
    gi_frames_t *in = &self->in;
    gi_scall_t *c = gi_scall_new(self);
    if (!c) {
        self->stats.dropped++; /* no memory to answer with either */
        return;
    }
    c->link = link;
    c->epoch = link->epoch;
    zmq_msg_init(&c->client_id);
    zmq_msg_init(&c->request_id);
    zmq_msg_init(&c->args);
    zmq_msg_init(&c->kwargs);
    c->has_frames = true;
    c->credit.items = self->settings->stream_reply_maxsize;
    c->credit.bytes = self->settings->stream_max_bytes;
    zmq_msg_move(&c->client_id, &in->f[client_id]);
    zmq_msg_move(&c->request_id, &in->f[request_id]);
    c->call.client = s_bytes(&c->client_id);
    if (n_body && gi_ext_is(view[body + n_body - 1])) {
        s_take_ext(c, view[body + n_body - 1]);
        n_body--;
    }
    if (n_body < 1 || n_body > 3) {
        gi_scall_refuse(c, GATE_BADDATA, NULL,
                        "a request has 1 to 3 frames: func, args, kwargs");
        return;
    }
    if (n_body > 1) {
        zmq_msg_move(&c->args, &in->f[body + 1]);
        c->call.args_packed = s_bytes(&c->args);
    }
    if (n_body > 2) {
        zmq_msg_move(&c->kwargs, &in->f[body + 2]);
        c->call.kwargs_packed = s_bytes(&c->kwargs);
    }
    s_dispatch(c, s_bytes(&in->f[body]));
}

/* ---- calls of this process --------------------------------------------------- */
static gate_err_t s_control(gi_scall_t *c, gi_smail_kind_t kind, size_t items,
                            size_t bytes, int64_t timeout_ms)
{
    gi_scontrol_t *control = gi_mem_alloc(sizeof *control);
    if (!control)
        return GATE_NOMEM;
    *control = (gi_scontrol_t){{kind}, c, items, bytes};
    gi_ref_take(&c->refs);
    gate_err_t e = gi_mailbox_push(c->service->mailbox, &control->mail,
                                   timeout_ms);
    if (e) {
        gi_scall_drop(c);
        gi_mem_free(control);
    }
    return e;
}

static void s_local_cancel(void *ctx, gate_future_t *future)
{
    (void)future;
    gate_err_t e = s_control(ctx, GI_SMAIL_CANCEL, 0, 0, 0);
    (void)e; /* full or closed: it ends by itself, its answer is dropped */
}

static void s_local_credit(void *ctx, size_t items, size_t bytes)
{
    gi_scall_t *c = ctx;
    if (s_control(c, GI_SMAIL_CREDIT, items, bytes, 100))
        gi_credit_give(&c->credit, (int64_t)items, (int64_t)bytes);
}

static void s_local_stop(void *ctx)
{
    s_local_cancel(ctx, NULL);
}

static const gi_stream_ops_t s_stream_ops = {s_local_credit, s_local_stop};

static void s_release_service(void *service)
{
    gi_service_release(service);
}

/* The reading end, for the caller; our end stays in the call. */
static bool s_open_local(gi_scall_t *c, int64_t item_timeout_ms,
                         gate_future_t **future, gate_stream_t **stream)
{
    gate_service_t *self = c->service;
    if (stream) {
        gi_stream_options_t options = {
            .timeout_ms = item_timeout_ms,
            .max_items = (size_t)self->settings->stream_reply_maxsize,
            .max_bytes = (size_t)self->settings->stream_max_bytes,
            .ops = &s_stream_ops,
            .ctx = c,
            .release_owner = s_release_service,
            .owner = gi_service_share(self)};
        c->stream = *stream = gi_stream_new(self->settings, &options);
    } else {
        c->future = *future = gi_future_new(self->settings, s_release_service,
                                            gi_service_share(self));
        if (c->future)
            gi_future_on_cancel(c->future, s_local_cancel, c);
    }
    if (!c->stream && !c->future)
        gi_service_release(self);
    return c->stream || c->future;
}

gate_err_t gi_service_call_local(gate_service_t *self, unsigned char *packed,
                                 const gi_rpc_request_t *request,
                                 int64_t deadline_ms, int64_t item_timeout_ms,
                                 gate_future_t **future, gate_stream_t **stream)
{
    if (!gi_gauge_enter(&self->local, self->settings->local_max))
        return gi_err(GATE_BUSY, "service %s: local_max calls are in flight",
                      self->name);
    gi_scall_t *c = s_alloc(self);
    if (!c || !s_open_local(c, item_timeout_ms, future, stream)) {
        if (c)
            gi_scall_drop(c);
        gi_gauge_leave(&self->local);
        return gi_err(GATE_NOMEM, "no memory for a call");
    }
    c->packed = packed;
    c->call.args_packed =
        (gate_bytes_t){packed + request->func_size, request->args_size};
    c->call.kwargs_packed =
        (gate_bytes_t){packed + request->func_size + request->args_size,
                       request->kwargs_size};
    c->call.deadline_ms = deadline_ms;
    c->call.user = self->settings->local_user;
    c->credited = true;
    c->credit.items = self->settings->stream_reply_maxsize;
    c->credit.bytes = self->settings->stream_max_bytes;
    c->mail.kind = GI_SMAIL_LOCAL;
    c->local_func = (gate_bytes_t){packed, request->func_size};
    gate_err_t e = gi_mailbox_push(self->mailbox, &c->mail, 0);
    if (!e)
        return GATE_OK;
    (void)gi_err(e, "service %s: %s", self->name,
                 e == GATE_BUSY ? "its mailbox is full" : "it stops");
    c->packed = NULL; /* the caller keeps it */
    gi_gauge_leave(&self->local);
    if (c->future) {
        gi_future_fail(c->future, gate_error());
        c->future = NULL;
        gate_future_destroy(future);
    } else {
        gi_stream_fail(c->stream, gate_error());
        gi_stream_release(&c->stream);
        gate_stream_destroy(stream);
    }
    gi_scall_drop(c);
    return gate_error()->code;
}

void gi_scall_local(gi_scall_t *c)
{
    if (c->service->stopping || c->service->draining) {
        gi_scall_refuse(c, GATE_NOSERVICE, NULL, "the service is leaving");
        return;
    }
    s_dispatch(c, c->local_func);
}

/* ---- kept calls -------------------------------------------------------------- */
static gate_call_t *s_keep(gate_call_t *call)
{
    gi_service_share(((gi_scall_t *)call)->service);
    return call;
}

static void s_finish_kept(gate_call_t *call)
{
    gi_scall_t *c = (gi_scall_t *)call;
    gate_service_t *self = c->service;
    c->finish_mail.kind = GI_SMAIL_FINISHED;
    if (gi_mailbox_push(self->mailbox, &c->finish_mail, -1))
        gi_scall_drop(c);
    gi_service_release(self);
}

void gi_scall_finished(gi_scall_t *c)
{
    gate_err_t outcome = c->call.error.story.code;
    if (c->returned) {
        gi_scall_end(c, outcome);
    } else {
        c->finished = true;
        c->outcome = outcome;
    }
}

/* ---- continuing after a pool job --------------------------------------------- */
static void s_job_free(gi_sjob_t *job)
{
    gi_buf_fini(&job->result);
    gi_error_fini(&job->error);
    gi_mem_free(job);
}

static void s_sub_item(void *ctx, const void *data, size_t size)
{
    gi_sjob_t *job = ctx;
    gate_err_t e = gi_sstream_push(job->call, data, size);
    (void)e;
}

static void s_sub_done(void *ctx, const void *data, size_t size,
                       const gate_error_t *err)
{
    gi_sjob_t *job = ctx;
    gate_service_t *self = job->call->service;
    if (err)
        gi_error_set(&job->error, err);
    else if (!gi_buf_append(&job->result, data, size))
        gi_error_story(&job->error, GATE_NOMEM, NULL, "no memory for a result",
                       NULL);
    job->mail.kind = GI_SMAIL_JOBDONE;
    if (gi_mailbox_push(self->mailbox, &job->mail, -1)) {
        gi_scall_drop(job->call);
        s_job_free(job);
    }
    gi_latch_done(&self->away);
}

static const gi_sink_t s_sub_sink = {s_sub_item, s_sub_done};

/* An array of the arguments; queues become references, in order. */
static gate_err_t s_pack_args(gi_buf_t *out, const gate_arg_t *args, size_t n,
                              const gate_settings_t *settings)
{
    size_t n_queues = 0;
    gate_err_t e = GATE_OK;
    msgpack_packer pk;
    msgpack_packer_init(&pk, out, gi_buf_write);
    msgpack_pack_array(&pk, n);
    for (size_t i = 0; i < n && !e; i++)
        e = args[i].type == GATE_A_QUEUE ? gi_queue_pack_ref(out, n_queues++)
                                         : gi_arg_pack(out, &args[i], settings);
    if (!e && out->failed)
        e = gi_err(GATE_NOMEM, "no memory for a job's arguments");
    return e;
}

static gate_err_t s_run(gate_call_t *call, gate_pool_t *pool, gate_fn *fn,
                        gate_arg_t args, gate_then_fn *then)
{
    gi_scall_t *c = (gi_scall_t *)call;
    gate_service_t *self = c->service;
    gate_queue_t *queues[16];
    gi_buf_t packed = {0};
    bool list = args.type == GATE_A_LIST;
    const gate_arg_t *items = list ? args.as.p : &args;
    size_t n = list ? args.n : 1;
    size_t n_queues = gi_queue_collect(items, n, queues, 16);
    gi_sjob_t *job = gi_mem_calloc(1, sizeof *job);
    gate_err_t e = job ? s_pack_args(&packed, items, n, call->settings)
                       : gi_err(GATE_NOMEM, "no memory for a job");
    if (!e) {
        job->call = c;
        job->then = then;
        gi_request_t request = {
            .fn = fn,
            .args = {packed.data, packed.size},
            .deadline_ms = call->deadline_ms,
            .credit_items = s_window(c->credit.items),
            .credit_bytes = s_window(c->credit.bytes),
            .fn_ctx = call->ctx,
            .runtime = call->runtime,
            .user = call->user,
            .queues = queues,
            .n_queues = n_queues,
            .sink = &s_sub_sink,
            .ctx = job};
        gi_latch_add(&self->away);
        c->pool = pool;
        e = gi_pool_submit(pool, &request, &c->ticket);
        if (e)
            gi_latch_done(&self->away);
    }
    gi_buf_fini(&packed);
    if (e) {
        c->pool = NULL;
        gi_error_set(&call->error, gate_error());
        if (job)
            s_job_free(job);
    }
    return e ? e : GATE_KEPT;
}

void gi_scall_jobdone(gi_sjob_t *job)
{
    gi_scall_t *c = job->call;
    gate_err_t e = job->error.story.code;
    if (!c->returned) {
        c->job_done = job;
        return;
    }
    c->ticket = 0;
    gi_buf_reset(&c->call.out, S_KEEP_BYTES);
    if (job->then) {
        gate_value_t *value = NULL;
        if (!e)
            e = gate_value_decode(job->result.data, job->result.size,
                                  c->call.settings, &value);
        else
            (void)gi_error_publish(&job->error);
        gate_err_t r = job->then(&c->call, e, value);
        gate_value_destroy(&value);
        s_after(c, gi_call_settle(&c->call, r));
    } else {
        if (e == GATE_EOS)
            c->call.streamed = true;
        else if (e)
            gi_error_set(&c->call.error, &job->error.story);
        else
            gi_buf_append(&c->call.out, job->result.data, job->result.size);
        gi_scall_end(c, e);
    }
    s_job_free(job);
}

/* ---- callers that leave ------------------------------------------------------ */
static void s_unqueue(gi_scall_t *c)
{
    gate_service_t *self = c->service;
    gi_scall_t **p = &self->waiting_head;
    while (*p != c)
        p = &(*p)->queue_next;
    *p = c->queue_next;
    if (!*p)
        self->waiting_tail = p;
    self->n_waiting--;
}

void gi_scall_cancel(gi_scall_t *c)
{
    if (c->state == GI_SCALL_DONE)
        return;
    c->service->stats.cancelled++;
    atomic_store(&c->call.cancel, true);
    gi_credit_cancel(&c->credit);
    if (c->ticket && (c->returned || c->method->runs == GATE_PROCESS))
        gi_pool_cancel(c->pool, c->ticket);
    if (c->state == GI_SCALL_GENERATING) {
        gi_error_story(&c->call.error, GATE_CANCELLED, NULL,
                       "the reader left", NULL);
        gi_scall_end(c, GATE_CANCELLED);
    } else if (c->state == GI_SCALL_WAITING) {
        s_unqueue(c);
        gi_scall_refuse(c, GATE_CANCELLED, NULL, "cancelled while it waited");
    }
}

/* Says so to the caller while it can, then only the runner has the call. */
static void s_abandon(gi_scall_t *c)
{
    static const gate_error_t stopped = {GATE_WORKERLOST, "WorkerLostError",
                                         "the service was stopped", ""};
    if (c->call.streamed)
        gi_sstream_end(c, GATE_WORKERLOST);
    else
        s_answer_error(c, &stopped);
    c->orphan = true;
    s_unlist(c);
    if (!c->link)
        gi_gauge_leave(&c->service->local);
}

void gi_scall_orphan_all(gate_service_t *self, gi_link_t *link)
{
    gi_scall_t *next;
    for (gi_scall_t *c = self->waiting_head; c; c = next) {
        next = c->queue_next;
        if (!link || c->link == link) {
            c->orphan = !self->stopping;
            gi_scall_cancel(c);
        }
    }
    for (gi_scall_t *c = self->live; c; c = next) {
        next = c->next;
        if (link && c->link != link)
            continue;
        bool away = c->state != GI_SCALL_GENERATING;
        c->orphan = !self->stopping;
        gi_scall_cancel(c);
        if (away && self->stopping)
            s_abandon(c);
    }
}

static bool s_cancelled(gate_call_t *call)
{
    return atomic_load(&call->cancel);
}

const gi_call_ops_t gi_scall_ops = {.yield = gi_sstream_yield,
                                    .keep = s_keep,
                                    .finish = s_finish_kept,
                                    .generate = gi_sstream_generate,
                                    .run = s_run,
                                    .cancelled = s_cancelled};
