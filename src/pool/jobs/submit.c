/* SPDX-License-Identifier: BSD-3-Clause */
/* submit.c -- jobs for any kind of pool: arguments packed, a sink that
 * completes a future or feeds a stream. */
#include "jobs/submit.h"

#include <stdatomic.h>
#include <string.h>

#include "sync/clock.h"
#include "async/future.h"
#include "base/mem.h"
#include "base/err.h"
#include "shared/exchange.h"
#include "shared/queue.h"
#include "sync/ref.h"
#include "wire/rpc.h"
#include "memory/scratch.h"
#include "async/stream.h"

#define S_LENT_MAX 65536 /* bytes of arguments */

/* ---- arguments ----------------------------------------------------------- */
/* What an argument packs as in its place. */
static void s_replace(gate_arg_t *arg, const gi_buf_t *refs, size_t at) {
    arg->type = GATE_A_RAW;
    arg->as.p = refs->data + at;
    arg->n = refs->size - at;
}

static gate_err_t s_refer_queue(gi_submit_t *self, gate_arg_t *arg,
                                gi_buf_t *refs) {
    gi_request_t *request = &self->request;
    size_t at = refs->size;
    gate_err_t e;

    if (request->n_queues == GI_SUBMIT_QUEUES_MAX)
        return gi_err(GATE_BADARG, "more than %d queues for one job",
                      GI_SUBMIT_QUEUES_MAX);
    e = gi_queue_pack_ref(refs, request->n_queues);
    if (e != GATE_OK)
        return e;
    self->queues[request->n_queues++] = (gate_queue_t *)(uintptr_t)arg->as.p;
    s_replace(arg, refs, at);
    return GATE_OK;
}

/* Bytes that lie in the pool's inbox; what is too much for one job is copied.
 */
static void s_refer_run(gi_submit_t *self, gate_pool_t *pool, gate_arg_t *arg,
                        gi_buf_t *refs) {
    size_t at = refs->size, i = self->request.n_runs;
    unsigned char ref[3] = {0xd4, GI_EXT_RUN, (unsigned char)i};

    if (i == GI_JOB_RUNS ||
        !(self->runs[i] = gi_pool_run_of(pool, arg->as.p, arg->n)))
        return;
    self->run_refs[i] =
        (gi_run_ref_t){gi_run_at(self->runs[i], arg->as.p), arg->n};
    self->request.n_runs++;
    gi_buf_append(refs, ref, sizeof ref);
    s_replace(arg, refs, at);
}

static gate_err_t s_refer(gi_submit_t *self, gate_pool_t *pool,
                          gate_arg_t *args, size_t n, gi_buf_t *refs) {
    gate_err_t e = GATE_OK;
    size_t i;

    self->request.queues = self->queues;
    self->request.runs = self->runs;
    self->request.run_refs = self->run_refs;
    /* The most that all references take, so that none moves while packing. */
    if (!gi_buf_reserve(refs, n * 16))
        return gi_err(GATE_NOMEM, "the arguments of a job");
    for (i = 0; i < n && e == GATE_OK; i++)
        if (args[i].type == GATE_A_QUEUE)
            e = s_refer_queue(self, &args[i], refs);
        else if (args[i].type == GATE_A_BIN)
            s_refer_run(self, pool, &args[i], refs);
    return e;
}

static gate_err_t s_pack(gi_submit_t *self, gate_pool_t *pool,
                         const gate_arg_t *args, size_t n) {
    gi_rpc_request_t sizes;
    gi_buf_t *packed;
    gate_err_t e;

    if (!n && !gi_pool_is_procs(pool)) /* a call reads nothing as empty */
        return GATE_OK;
    packed = gi_scratch();
    if (!packed)
        return gi_err(GATE_NOMEM, "the arguments of a job");
    e = gi_rpc_pack_request(packed, "", 0, args, n, pool->settings, &sizes);
    if (e != GATE_OK)
        return e;
    self->request.args.data = packed->data + sizes.func_size;
    self->request.args.size = sizes.args_size;
    self->request.kwargs.data =
        packed->data + sizes.func_size + sizes.args_size;
    self->request.kwargs.size = sizes.kwargs_size;
    self->timeout_ms = sizes.timeout_ms;
    return GATE_OK;
}

static gate_err_t s_pack_with_refs(gi_submit_t *self, gate_pool_t *pool,
                                   const gate_arg_t *args, size_t n) {
    gate_arg_t *copy = gi_mem_alloc(n * sizeof *copy);
    gi_buf_t refs = {0};
    gate_err_t e;

    if (!copy)
        return gi_err(GATE_NOMEM, "the arguments of a job");
    memcpy(copy, args, n * sizeof *copy);
    e = s_refer(self, pool, copy, n, &refs);
    if (e == GATE_OK)
        e = s_pack(self, pool, copy, n);
    gi_buf_fini(&refs);
    gi_mem_free(copy);
    return e;
}

static bool s_has_refs(gate_pool_t *pool, const gate_arg_t *args, size_t n) {
    size_t i;

    for (i = 0; i < n; i++)
        if (args[i].type == GATE_A_QUEUE ||
            (args[i].type == GATE_A_BIN &&
             gi_pool_in_inbox(pool, args[i].as.p)))
            return true;
    return false;
}

gate_err_t gi_submit_init(gi_submit_t *self, gate_pool_t *pool, gate_fn *fn,
                          const gate_arg_t *args, size_t n) {
    memset(&self->request, 0, sizeof self->request);
    self->timeout_ms = -1;
    self->request.fn = fn;
    self->request.name = gi_pool_fn_name(fn);
    self->request.deadline_ms = INT64_MAX;
    if (args && gi_pool_is_procs(pool) && s_has_refs(pool, args, n))
        return s_pack_with_refs(self, pool, args, n);
    return s_pack(self, pool, args, n);
}

void gi_submit_fini(gi_submit_t *self) {
    while (self->request.n_runs > 0)
        gi_run_release(self->runs[--self->request.n_runs]);
}

size_t gi_submit_room(const gate_pool_t *pool, const gi_request_t *request) {
    size_t room = pool->ops->room_bytes;
    size_t copied = request->args.size + request->kwargs.size;

    return room && copied <= S_LENT_MAX ? room + copied : 0;
}

const gate_error_t gi_submit_a_stream = {
    GATE_BADARG, "TypeError", "the job yields a stream; use gate_submit_stream",
    ""};

/* ---- one result ---------------------------------------------------------- */
/* In its future's own block: the sink has the completer's reference, the
 * submitting thread the user's until it gives the future away. */
typedef struct s_one {
    gate_pool_t *pool;
    gate_future_t *future;
    _Atomic gi_ticket_t ticket;
} s_one_t;

static const gate_error_t s_nomem = {GATE_NOMEM, "MemoryError",
                                     "no memory for a job's result", ""};

/* Where a job may lie, behind s_one_t. */
static void *s_one_room(s_one_t *self) {
    return (char *)self + ((sizeof *self + 15) & ~(size_t)15);
}

/* What is short and plain is read here: who waits finds it ready, and nothing
 * keeps the pool's settings alive. The pool lives: it waits for its jobs. */
static void s_one_result(s_one_t *self, const void *data, size_t size) {
    gate_future_t *future = self->future;

    if (gi_future_complete_plain(future, data, size))
        return;
    gi_future_own(future, gi_pool_shared_release, gi_pool_share(self->pool));
    gi_future_complete_copy(future, data, size);
}

static void s_one_done(void *ctx, const void *data, size_t size,
                       const gate_error_t *err) {
    s_one_t *self = ctx;

    if (err)
        gi_future_fail(self->future,
                       err->code == GATE_EOS ? &gi_submit_a_stream : err);
    else
        s_one_result(self, data, size);
}

/* One that need not be copied once more. */
static void s_one_taken(void *ctx, void *data, size_t size) {
    s_one_t *self = ctx;

    gi_future_own(self->future, gi_pool_shared_release,
                  gi_pool_share(self->pool));
    gi_future_complete_huge(self->future, data, size, gi_mem_free, data);
}

static void s_one_lent(void *ctx, gi_run_t *run) {
    s_one_t *self = ctx;
    gate_value_t *value =
        gi_value_bin(gi_run_data(run), gi_run_size(run), gi_run_release, run);

    if (value) {
        gi_future_complete(self->future, value);
        return;
    }
    gi_run_release(run);
    gi_future_fail(self->future, &s_nomem);
}

static void s_one_cancel(void *ctx, gate_future_t *future) {
    s_one_t *self = ctx;
    gi_ticket_t ticket = atomic_load(&self->ticket);

    (void)future;
    if (ticket)
        gi_pool_cancel(self->pool, ticket);
    else
        gi_pool_cancel_room(self->pool, s_one_room(self));
}

static void s_one_help(gate_future_t *future, bool always) {
    s_one_t *self = gi_future_extra(future);

    if (!atomic_load(&self->ticket)) /* it has none: it lies in the room */
        self->pool->ops->help(self->pool, s_one_room(self), always);
}

/* Lends a job its memory. */
static void s_one_lend(s_one_t *self, gi_request_t *request, size_t room) {
    gate_pool_t *pool = self->pool;

    if (!room)
        return;
    request->room = s_one_room(self);
    request->room_bytes = room;
    gi_future_brief(self->future);
    gi_future_on_wait(self->future, pool->ops->group(pool), s_one_help);
}

static s_one_t *s_one_new(gate_pool_t *pool, gi_request_t *request) {
    size_t room = gi_submit_room(pool, request);
    gate_future_t *future;
    s_one_t *self;

    future = gi_future_new_with(pool->settings, NULL, NULL,
                                sizeof(s_one_t) + 15 + room);
    if (!future)
        return NULL;
    self = gi_future_extra(future);
    *self = (s_one_t){.pool = pool, .future = future};
    gi_future_on_cancel(future, s_one_cancel, self);
    s_one_lend(self, request, room);
    return self;
}

static gate_future_t *s_start_one(gate_pool_t *pool, gi_submit_t *submit) {
    static const gi_sink_t sink = {
        .done = s_one_done, .lent = s_one_lent, .taken = s_one_taken};
    s_one_t *self = s_one_new(pool, &submit->request);
    gate_future_t *future;
    gi_ticket_t ticket = 0;

    if (!self)
        return gi_future_failed(&s_nomem);
    future = self->future;
    submit->request.sink = &sink;
    submit->request.ctx = self;
    if (submit->timeout_ms >= 0)
        submit->request.deadline_ms =
            gi_time_add(gi_clock_ms(), submit->timeout_ms);
    if (gi_pool_submit(pool, &submit->request, &ticket) == GATE_OK) {
        atomic_store(&self->ticket, ticket);
    } else {
        gi_future_fail(future, gate_error());
    }
    return future;
}

gate_future_t *gate_submit_with_(gate_pool_t *self, gate_fn *fn,
                                 const gate_job_options_t *options,
                                 const gate_arg_t *args, size_t n) {
    if (gi_err_null(self, "gate_submit_with_"))
        return gi_future_failed(gate_error());
    if (!fn) {
        gi_err_null_say("gate_submit_with_: the function");
        return gi_future_failed(gate_error());
    }
    gate_future_t *future;
    gi_submit_t submit;

    if (gi_submit_init(&submit, self, fn, args, n) == GATE_OK) {
        if (options)
            submit.request.options = *options;
        future = s_start_one(self, &submit);
    } else {
        future = gi_future_failed(gate_error());
    }
    gi_submit_fini(&submit);
    return future;
}

gate_future_t *gate_submit_(gate_pool_t *self, gate_fn *fn,
                            const gate_arg_t *args, size_t n) {
    if (gi_err_null(self, "gate_submit_"))
        return gi_future_failed(gate_error());
    if (!fn) {
        gi_err_null_say("gate_submit_: the function");
        return gi_future_failed(gate_error());
    }
    return gate_submit_with_(self, fn, NULL, args, n);
}

/* ---- a stream ------------------------------------------------------------ */
typedef struct s_many {
    gi_ref_t ref; /* as s_one_t */
    gate_pool_t *pool;
    gate_stream_t *stream;
    size_t index; /* items before the next */
    _Atomic gi_ticket_t ticket;
} s_many_t;

static void s_many_drop(s_many_t *self) {
    if (gi_ref_drop(&self->ref))
        gi_mem_free(self);
}

static void s_many_credit(void *ctx, size_t items, size_t bytes) {
    s_many_t *self = ctx;

    gi_pool_credit(self->pool, atomic_load(&self->ticket), items, bytes);
}

static void s_many_stop(void *ctx) {
    s_many_t *self = ctx;

    gi_pool_cancel(self->pool, atomic_load(&self->ticket));
}

static void s_many_fail(s_many_t *self, gate_err_t e) {
    gate_error_t story = {e, gi_err_class(e), gate_err_text(e), ""};

    gi_stream_fail(self->stream, &story);
    s_many_stop(self);
}

static void s_many_item(void *ctx, const void *data, size_t size) {
    s_many_t *self = ctx;
    char *copy = gi_mem_dup(data, size);
    gate_err_t e = GATE_NOMEM;

    if (copy)
        e = gi_stream_push(self->stream, copy, size, gi_mem_free, copy,
                           self->index++);
    if (e != GATE_OK && e != GATE_CANCELLED)
        s_many_fail(self, e);
}

/* A plain result: the stream's only item, in the form of a single reply. */
static void s_many_single(s_many_t *self, const void *data, size_t size) {
    gi_buf_t reply = {0};
    unsigned char *bytes;
    size_t n;

    gi_buf_append(&reply, gi_rpc_ok_prefix, sizeof gi_rpc_ok_prefix);
    gi_buf_append(&reply, data, size);
    gi_buf_append(&reply, gi_rpc_ok_suffix, sizeof gi_rpc_ok_suffix);
    if (reply.failed) {
        gi_buf_fini(&reply);
        gi_stream_fail(self->stream, &s_nomem);
        return;
    }
    bytes = gi_buf_take(&reply, &n);
    gi_stream_push_reply(self->stream, bytes, n, gi_mem_free, bytes);
}

static void s_many_done(void *ctx, const void *data, size_t size,
                        const gate_error_t *err) {
    s_many_t *self = ctx;

    if (!err)
        s_many_single(self, data, size);
    else if (err->code == GATE_EOS)
        gi_stream_end(self->stream);
    else
        gi_stream_fail(self->stream, err);
    gi_stream_release(&self->stream);
    s_many_drop(self);
}

static s_many_t *s_many_new(gate_pool_t *pool, int64_t timeout_ms) {
    static const gi_stream_ops_t ops = {.credit = s_many_credit,
                                        .stop = s_many_stop};
    s_many_t *self = gi_mem_calloc(1, sizeof *self);
    gi_stream_options_t options = {
        .timeout_ms = timeout_ms,
        .max_items = (size_t)pool->settings->stream_reply_maxsize,
        .max_bytes = (size_t)pool->settings->stream_max_bytes,
        .ops = &ops,
        .ctx = self,
        .release_owner = gi_pool_shared_release,
        .owner = gi_pool_share(pool),
    };

    if (self)
        self->stream = gi_stream_new(pool->settings, &options);
    if (!self || !self->stream) {
        gi_pool_shared_release(options.owner);
        gi_mem_free(self);
        gi_err(GATE_NOMEM, "a stream");
        return NULL;
    }
    self->pool = pool;
    atomic_init(&self->ticket, 0);
    gi_ref_init(&self->ref);
    gi_ref_take(&self->ref);
    return self;
}

static gate_err_t s_start_many(gate_pool_t *pool, gi_submit_t *submit,
                               gate_stream_t **stream) {
    static const gi_sink_t sink = {.item = s_many_item, .done = s_many_done};
    s_many_t *self = s_many_new(pool, submit->timeout_ms);
    gate_stream_t *reader;
    gi_ticket_t ticket = 0;
    gate_err_t e;

    if (!self)
        return GATE_NOMEM;
    reader = self->stream;
    submit->request.sink = &sink;
    submit->request.ctx = self;
    submit->request.credit_items = (size_t)pool->settings->stream_reply_maxsize;
    submit->request.credit_bytes = (size_t)pool->settings->stream_max_bytes;
    e = gi_pool_submit(pool, &submit->request, &ticket);
    if (e == GATE_OK) {
        atomic_store(&self->ticket, ticket);
        *stream = reader;
    } else {
        gi_stream_release(&self->stream);
        gate_stream_destroy(&reader);
        s_many_drop(self); /* the sink's */
    }
    s_many_drop(self);
    return e;
}

gate_err_t gate_submit_stream_with_(gate_pool_t *self, gate_fn *fn,
                                    const gate_job_options_t *options,
                                    gate_stream_t **stream,
                                    const gate_arg_t *args, size_t n) {
    if (gi_err_null(self, "gate_submit_stream") ||
        gi_err_null(fn ? self : NULL, "gate_submit_stream: the function") ||
        gi_err_null(stream, "gate_submit_stream: where the stream goes"))
        return GATE_BADARG;
    gi_submit_t submit;
    gate_err_t e = gi_submit_init(&submit, self, fn, args, n);

    if (e == GATE_OK && options)
        submit.request.options = *options;
    if (e == GATE_OK)
        e = s_start_many(self, &submit, stream);
    gi_submit_fini(&submit);
    return e;
}

gate_err_t gate_submit_stream_(gate_pool_t *self, gate_fn *fn,
                               gate_stream_t **stream, const gate_arg_t *args,
                               size_t n) {
    return gate_submit_stream_with_(self, fn, NULL, stream, args, n);
}
