/* SPDX-License-Identifier: BSD-3-Clause */
/* submit_then.c -- jobs without a future: whoever submits is told by a function,
 * or not at all. What there is for one job is one allocation, the job in it; it
 * is small and not of block.h: submitters would take and workers give back. */
#include "jobs/submit.h"

#include <string.h>

#include "base/err.h"
#include "base/mem.h"
#include "memory/block.h"
#include "shared/exchange.h"
#include "sync/clock.h"

#define S_OBJECTS 8 /* of a short result */
#define S_BYTES (GI_BLOCK_BYTES - GI_VALUE_ROOM(S_OBJECTS))

typedef struct s_told {
    gate_pool_t *pool;
    gate_done_fn *done; /* NULL: nobody is told */
    void *ctx;
    _Alignas(16) char room[];
} s_told_t;

static const gate_error_t s_nomem = {GATE_NOMEM, "MemoryError",
                                     "no memory for a job's result", ""};

static void s_fail(s_told_t *self, const gate_error_t *story) {
    if (self->done)
        self->done(self->ctx,
                   gi_err_story(story->code, story->cls, story->text,
                                story->traceback),
                   NULL);
}

static void s_value(s_told_t *self, gate_value_t *value) {
    self->done(self->ctx, GATE_OK, value);
    gate_value_destroy(&value);
}

/* Takes data. */
static void s_result(s_told_t *self, void *data, size_t size) {
    gate_value_t *value = NULL;
    gate_err_t e = gi_value_take_huge(data, size, gi_mem_free, data,
                                      self->pool->settings, &value);

    if (e == GATE_OK)
        s_value(self, value);
    else
        self->done(self->ctx, e, NULL);
}

/* A short plain result: value, objects and bytes in one block of this thread. */
static void s_give_block(void *block) { gi_block_give(block, GI_BLOCK_BYTES); }

static gate_value_t *s_small(s_told_t *self, const void *data, size_t size) {
    char *block = size <= S_BYTES ? gi_block_take(GI_BLOCK_BYTES) : NULL;
    gate_value_t *value;

    if (!block)
        return NULL;
    memcpy(block + GI_VALUE_ROOM(S_OBJECTS), data, size);
    value =
        gi_value_make_at(block, S_OBJECTS,
                         (gate_bytes_t){block + GI_VALUE_ROOM(S_OBJECTS), size},
                         self->pool->settings, s_give_block, block);
    if (!value)
        s_give_block(block);
    return value;
}

static void s_copy(s_told_t *self, const void *data, size_t size) {
    gate_value_t *value = s_small(self, data, size);
    void *copy = value ? NULL : gi_mem_dup(data, size);

    if (value)
        s_value(self, value);
    else if (copy)
        s_result(self, copy, size);
    else
        s_fail(self, &s_nomem);
}

static void s_done(void *ctx, const void *data, size_t size,
                   const gate_error_t *err) {
    s_told_t *self = ctx;

    if (err)
        s_fail(self, err->code == GATE_EOS ? &gi_submit_a_stream : err);
    else if (self->done)
        s_copy(self, data, size);
    gi_mem_free(self);
}

static void s_taken(void *ctx, void *data, size_t size) {
    s_told_t *self = ctx;

    if (self->done)
        s_result(self, data, size);
    else
        gi_mem_free(data);
    gi_mem_free(self);
}

static void s_lent(void *ctx, gi_run_t *run) {
    s_told_t *self = ctx;
    gate_value_t *value = self->done
                              ? gi_value_bin(gi_run_data(run), gi_run_size(run),
                                             gi_run_release, run)
                              : NULL;

    if (value) {
        s_value(self, value);
    } else {
        gi_run_release(run);
        s_fail(self, &s_nomem);
    }
    gi_mem_free(self);
}

/* Lends the job its memory. */
static s_told_t *s_new(gate_pool_t *pool, gi_request_t *request) {
    size_t room = gi_submit_room(pool, request);
    s_told_t *self = gi_mem_alloc(sizeof *self + room);

    if (!self)
        return NULL;
    self->pool = pool;
    request->ctx = self;
    if (room) {
        request->room = self->room;
        request->room_bytes = room;
    }
    return self;
}

static gate_err_t s_start(gate_pool_t *pool, gi_submit_t *submit,
                          gate_done_fn *done, void *ctx) {
    static const gi_sink_t sink = {
        .done = s_done, .lent = s_lent, .taken = s_taken};
    s_told_t *self = s_new(pool, &submit->request);
    gi_ticket_t ticket = 0;
    gate_err_t e;

    if (!self)
        return gi_err(GATE_NOMEM, "a job");
    self->done = done;
    self->ctx = ctx;
    submit->request.sink = &sink;
    if (submit->timeout_ms >= 0)
        submit->request.deadline_ms =
            gi_time_add(gi_clock_ms(), submit->timeout_ms);
    e = gi_pool_submit(pool, &submit->request, &ticket);
    if (e != GATE_OK)
        gi_mem_free(self);
    return e;
}

gate_err_t gate_submit_then_(gate_pool_t *self, gate_fn *fn,
                             const gate_job_options_t *options,
                             gate_done_fn *done, void *ctx,
                             const gate_arg_t *args, size_t n) {
    gi_submit_t submit;
    gate_err_t e;

    if (gi_err_null(self, "gate_submit_then") ||
        gi_err_null(fn ? self : NULL, "gate_submit_then: the function"))
        return GATE_BADARG;
    e = gi_submit_init(&submit, self, fn, args, n);
    if (e == GATE_OK && options)
        submit.request.options = *options;
    if (e == GATE_OK)
        e = s_start(self, &submit, done, ctx);
    gi_submit_fini(&submit);
    return e;
}
