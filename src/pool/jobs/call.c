/* SPDX-License-Identifier: BSD-3-Clause */
/* call.c -- a request as its handler sees it. Everything that depends on where
 * the handler runs goes through self->ops. */
#include "jobs/call.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "sync/clock.h"
#include <gaterpc/log.h>
#include <gaterpc/shared.h>
#include "base/mem.h"
#include "base/origin.h"
#include "wire/meta.h"
#include "value/mp.h"
#include "memory/spare.h"
#include "value/scan.h"

#define S_ZONE_CHUNK 2048
#define S_OUT_KEEP 65536
#define S_OUT_SMALL 512

gate_fn *gi_call_foreign;

/* ---- life ---------------------------------------------------------------- */
void gi_call_init(gate_call_t *self, const gi_call_ops_t *ops,
                  gate_runtime_t *runtime, const gate_settings_t *settings) {
    memset(self, 0, sizeof *self);
    self->ops = ops;
    self->runtime = runtime;
    self->settings = settings;
    self->deadline_ms = INT64_MAX;
    atomic_init(&self->cancel, false);
    atomic_init(&self->finished, false);
    gi_error_init(&self->error);
    gi_error_init(&self->last_error);
}

/* What a kept call left, which few do. */
static void s_drop_last(gate_call_t *self) {
    gi_buf_fini(&self->last_out);
    gi_error_fini(&self->last_error);
    atomic_store_explicit(&self->finished, false, memory_order_relaxed);
    self->promise = GI_PROMISE_NONE;
}

static void s_drop_out(gate_call_t *self) {
    size_t size;
    if (self->out.room >= GI_SPARE_MIN)
        gi_spare_give(gi_buf_take(&self->out, &size));
    gi_buf_reset(&self->out, S_OUT_KEEP);
}

void gi_call_reset(gate_call_t *self) {
    self->args_packed = self->kwargs_packed = self->meta =
        (gate_bytes_t){NULL, 0};
    self->decoded = self->packed = self->answered = self->streamed = false;
    self->huge = self->args_huge = false;
    self->lent = false;
    atomic_store_explicit(&self->cancel, false, memory_order_relaxed);
    if (self->zone)
        msgpack_zone_clear(self->zone);
    gi_arena_fini(&self->arena);
    s_drop_out(self);
    if (self->error.story.code)
        gi_error_fini(&self->error);
    if (self->promise)
        s_drop_last(self);
}

void gi_call_trim(gate_call_t *self) {
    gi_call_reset(self);
    gi_buf_reset(&self->out, S_OUT_SMALL);
    if (self->zone)
        msgpack_zone_free(self->zone);
    self->zone = NULL;
}

void gi_call_fini(gate_call_t *self) {
    if (self->zone)
        msgpack_zone_free(self->zone);
    self->zone = NULL;
    self->decoded = false;
    gi_arena_fini(&self->arena);
    s_drop_out(self);
    gi_buf_fini(&self->out);
    gi_error_fini(&self->error);
    s_drop_last(self);
}

/* ---- arguments ----------------------------------------------------------- */
static gate_err_t s_decode_one(gate_call_t *self, gate_bytes_t packed,
                               msgpack_object_type type, const char *what,
                               msgpack_object *few, msgpack_object *out) {
    gate_err_t e = GATE_OK;

    if (!packed.size) { /* an empty array or map: both members are zero */
        memset(out, 0, sizeof *out);
        out->type = type;
        return GATE_OK;
    }
    if (!gi_value_decode_few(packed, self->settings, few, GI_CALL_FEW, out)) {
        gi_limits_t limits = self->args_huge
                                 ? gi_scan_limits_huge(self->settings)
                                 : gi_scan_limits(self->settings);

        if (!self->zone && !(self->zone = msgpack_zone_new(S_ZONE_CHUNK)))
            return gi_err(GATE_NOMEM, "the arguments of a call");
        e = gi_value_decode_within(packed.data, packed.size, self->zone,
                                   self->settings, &limits, out);
    }
    if (e == GATE_OK && out->type != type)
        e = gi_err(GATE_BADARG, "%s: %s is not a msgpack %s", self->method,
                   what, type == MSGPACK_OBJECT_ARRAY ? "array" : "map");
    return e;
}

static gate_err_t s_decode(gate_call_t *self) {
    gate_err_t e;

    if (self->decoded)
        return GATE_OK;
    e = s_decode_one(self, self->args_packed, MSGPACK_OBJECT_ARRAY, "args",
                     self->few_args, &self->args);
    if (e == GATE_OK)
        e = s_decode_one(self, self->kwargs_packed, MSGPACK_OBJECT_MAP,
                         "kwargs", self->few_kwargs, &self->kwargs);
    if (e == GATE_OK && self->ops->refer)
        e = self->ops->refer(self);
    self->decoded = e == GATE_OK;
    return e;
}

gate_err_t gate_args_(gate_call_t *self, const gate_slot_t *slots, size_t n) {
    gate_err_t e = s_decode(self);

    if (e == GATE_OK)
        e = gi_slots_store(slots, n, &self->args, &self->kwargs, &self->arena,
                           self->ops->queue, self);
    return e;
}

const msgpack_object *gate_call_raw_args(const gate_call_t *self) {
    return self->decoded ? &self->args : NULL;
}

const msgpack_object *gate_call_raw_kwargs(const gate_call_t *self) {
    return self->decoded ? &self->kwargs : NULL;
}

/* ---- the answer ---------------------------------------------------------- */
static void s_large_out(gi_buf_t *out, size_t size) {
    gi_buf_fini(out);
    out->data = gi_spare_take(size, &out->room);
    if (!out->data) /* packing says so */
        out->room = 0;
}

gate_err_t gi_call_pack(const gate_call_t *self, gi_buf_t *out,
                        const gate_arg_t *v) {
    gate_err_t e;

    gi_buf_reset(out, S_OUT_KEEP);
    if ((v->type == GATE_A_BIN || v->type == GATE_A_STR) && v->n > GI_SPARE_MIN)
        s_large_out(out, v->n + 8);
    e = gi_arg_pack(out, v, self->settings);
    if (e == GATE_OK && out->failed)
        e = gi_err(GATE_NOMEM, "%s: the result", self->method);
    if (e != GATE_OK)
        gi_buf_reset(out, S_OUT_KEEP);
    return e;
}

static gate_err_t s_pack(gate_call_t *self, const gate_arg_t *v) {
    self->packed = self->answered = self->lent = false;
    return gi_call_pack(self, &self->out, v);
}

gate_err_t gi_call_may_answer(const gate_call_t *self) {
    if (self->streamed || self->huge)
        return gi_err(GATE_BADARG, "%s: a result after %s", self->method,
                      self->huge ? "a huge one" : "yielded items");
    return GATE_OK;
}

gate_err_t gate_return_(gate_call_t *self, gate_arg_t v) {
    gate_err_t e;

    e = gi_call_may_answer(self);
    if (e == GATE_OK && self->answered)
        e = gi_err(GATE_BADARG, "%s: a second result", self->method);
    if (e == GATE_OK)
        e = s_pack(self, &v);
    if (e == GATE_OK) {
        self->answered = true;
        gi_error_fini(&self->error);
    }
    return e;
}

/* Where nothing can be lent the result is packed as any other. */
gate_err_t gate_return_shared(gate_call_t *self, size_t size, void **data) {
    if (self->streamed)
        return gi_err(GATE_BADARG, "%s: a result after yielded items",
                      self->method);
    gi_buf_reset(&self->out, S_OUT_KEEP);
    self->packed = self->answered = false;
    *data = self->ops->lend ? self->ops->lend(self, size) : NULL;
    self->lent = *data != NULL;
    if (!self->lent) {
        if (size > UINT32_MAX || !gi_buf_reserve(&self->out, size + 8)) {
            gi_buf_reset(&self->out, S_OUT_KEEP);
            return gi_err(GATE_NOMEM, "%s: the result", self->method);
        }
        gi_mp_put_bin_head(&self->out, size);
        *data = self->out.data + self->out.size;
        self->out.size += size;
    }
    self->answered = true;
    gi_error_fini(&self->error);
    return GATE_OK;
}

gate_err_t gate_raise(gate_call_t *self, const char *cls, const char *fmt,
                      ...) {
    char brief[512], *text = brief;
    va_list args;
    int n;

    va_start(args, fmt);
    n = vsnprintf(brief, sizeof brief, fmt, args);
    va_end(args);
    if (n >= (int)sizeof brief && (text = gi_mem_alloc((size_t)n + 1))) {
        va_start(args, fmt);
        vsnprintf(text, (size_t)n + 1, fmt, args);
        va_end(args);
    }
    char traceback[2048] = "";
    if (self->ops->traceback)
        self->ops->traceback(self, traceback, sizeof traceback);
    gi_error_story(&self->error, GATE_RAISED, cls, text ? text : brief,
                   traceback);
    if (text != brief)
        gi_mem_free(text);
    return GATE_RAISED;
}

msgpack_packer *gate_call_packer(gate_call_t *self) {
    gi_buf_reset(&self->out, S_OUT_KEEP);
    self->answered = self->lent = false;
    self->packed = true;
    msgpack_packer_init(&self->packer, &self->out, gi_buf_write);
    return &self->packer;
}

static gate_err_t s_yield(gate_call_t *self, const gate_arg_t *v,
                          gate_err_t (*yield)(gate_call_t *self)) {
    gate_err_t e;

    if (!yield)
        return gi_err(GATE_WOULDBLOCK,
                      "%s: yield where nothing may wait; use gate_generate",
                      self->method);
    if (self->answered || self->packed || self->huge)
        return gi_err(GATE_BADARG, "%s: an item after a result", self->method);
    e = s_pack(self, v);
    if (e != GATE_OK)
        return e;
    self->streamed = true;
    e = yield(self);
    gi_buf_reset(&self->out, S_OUT_KEEP);
    return e;
}

gate_err_t gate_yield_(gate_call_t *self, gate_arg_t v) {
    return s_yield(self, &v, self->ops->yield);
}

gate_err_t gate_yield_now_(gate_call_t *self, gate_arg_t v) {
    return s_yield(self, &v, self->ops->yield_now);
}

/* ---- who, where, how long ------------------------------------------------ */
void *gate_call_ctx(gate_call_t *self) { return self->ctx; }

gate_runtime_t *gate_call_runtime(gate_call_t *self) { return self->runtime; }

const char *gate_call_method(const gate_call_t *self) {
    return self->method ? self->method : "";
}

const char *gate_call_user(const gate_call_t *self) {
    return self->user ? self->user : "";
}

gate_bytes_t gate_call_client(const gate_call_t *self) { return self->client; }

int64_t gate_call_time_left_ms(const gate_call_t *self) {
    int64_t left;

    if (self->deadline_ms == INT64_MAX)
        return INT64_MAX;
    left = self->deadline_ms - gi_clock_ms();
    return left > 0 ? left : 0;
}

bool gate_call_cancelled(const gate_call_t *self) {
    /* ops takes it without const; it is only looked at. */
    gate_call_t *call = (gate_call_t *)(uintptr_t)self;

    return atomic_load_explicit(&call->cancel, memory_order_acquire) ||
           (self->ops->cancelled && self->ops->cancelled(call));
}

int gate_call_attempt(const gate_call_t *self) {
    return self->attempt > 0 ? self->attempt : 1;
}

const char *gate_call_meta(const gate_call_t *self, const char *key) {
    return key ? gi_meta_find(self->meta, key) : NULL;
}

const char *gate_call_meta_at(const gate_call_t *self, size_t i,
                              const char **value) {
    return gi_meta_at(self->meta, i, value);
}

gate_priority_t gate_call_priority(const gate_call_t *self) {
    const char *said = gi_meta_find(self->meta, GI_META_PRIORITY);

    return said && strcmp(said, GI_META_HIGH) == 0 ? GATE_HIGH : GATE_NORMAL;
}

gate_arg_t gate_meta_of(const gate_call_t *self) {
    return (gate_arg_t){
        .type = GATE_A_META, .n = self->meta.size, .as.p = self->meta.data};
}

/* ---- running a handler --------------------------------------------------- */
/* What the handler left behind is one packed value? Makes it so. */
static gate_err_t s_check_result(gate_call_t *self) {
    gi_limits_t limits;
    gate_err_t e;

    if (self->streamed || self->huge) {
        gi_buf_reset(&self->out, S_OUT_KEEP);
        return GATE_OK;
    }
    if (self->answered)
        return GATE_OK;
    if (!self->packed) /* as a Python method without a return */
        return s_pack(self, &(gate_arg_t){.type = GATE_A_NIL});
    if (self->out.failed)
        return gi_err(GATE_NOMEM, "%s: the result", self->method);
    limits = gi_scan_limits(self->settings);
    limits.str_max = limits.bin_max = UINT32_MAX; /* our own, maybe huge */
    limits.utf8 = true;
    e = gi_scan(self->out.data, self->out.size, &limits);
    if (e != GATE_OK)
        e = gi_err(GATE_BADARG, "%s: the result built is not one value: %s",
                   self->method, gate_error()->text);
    return e;
}

void gi_call_raised(gate_call_t *self, gi_error_t *error) {
    char where[GI_CALL_WHERE];
    const gate_error_t *story = &error->story;
    if (story->code == GATE_OK ||
        gi_origin_of(story->traceback) == GI_ORIGIN_HANDLER)
        return;
    snprintf(where, sizeof where, "  in %s\n",
             *gate_call_method(self) ? self->method : "job");
    gi_error_story(error, story->code, story->cls, story->text, where);
}

/* The story of code e: the raised one, the thread's if it is e's, or e's own.
 */
static void s_story(gate_call_t *self, gate_err_t e) {
    if (self->error.story.code != GATE_OK)
        return;
    if (e <= GATE_OK || e >= GATE_ERR_COUNT || e == GATE_KEPT)
        gi_error_story(&self->error, GATE_RAISED, NULL,
                       "the handler returned a code that is none", NULL);
    else if (gate_error()->code == e)
        gi_error_set(&self->error, gate_error());
    else
        gi_error_story(&self->error, e, NULL, gate_err_text(e), NULL);
}

static gate_err_t s_fail(gate_call_t *self, gate_err_t e) {
    if (self->promise != GI_PROMISE_KEPT) /* whoever keeps it may be packing */
        gi_buf_reset(&self->out, S_OUT_KEEP);
    s_story(self, e);
    gi_call_raised(self, &self->error);
    return self->error.story.code;
}

/* GATE_KEPT with nothing kept would never be answered, another code after
 * gate_call_keep twice. */
static gate_err_t s_settle_later(gate_call_t *self, gate_err_t e) {
    if (e == GATE_KEPT && (self->promise || self->huge || !self->ops->keep))
        return e; /* a host that knows no later says so itself */
    if (e == GATE_KEPT) {
        e = gi_err_story(GATE_BADARG, "RuntimeError",
                         "the handler returned GATE_KEPT and kept nothing: "
                         "gate_call_keep, gate_call_run, gate_generate or "
                         "gate_huge_new first",
                         "");
        return s_fail(self, e);
    }
    gate_log(GATE_ERROR, "service",
             "%s: its handler returned %s although the call was answered "
             "elsewhere: only GATE_KEPT may follow",
             self->method, gate_err_name(e));
    if (e == GATE_OK || e == GATE_EOS)
        e = gi_err_story(GATE_BADARG, "RuntimeError",
                         "the handler kept its call and did not return "
                         "GATE_KEPT",
                         "");
    return s_fail(self, e);
}

gate_err_t gi_call_settle(gate_call_t *self, gate_err_t e) {
    if (e == GATE_KEPT || self->promise)
        return s_settle_later(self, e);
    if (e == GATE_EOS && (self->answered || self->packed))
        e = gi_err(GATE_BADARG, "%s: a stream's end after a result",
                   self->method);
    if (e == GATE_EOS) { /* a stream's end, the only word of an empty one */
        self->streamed = true;
        e = GATE_OK;
    }
    if (e == GATE_OK)
        e = self->error.story.code; /* raised, and then GATE_OK returned */
    if (e == GATE_OK)
        e = s_check_result(self);
    return e == GATE_OK ? e : s_fail(self, e);
}

gate_err_t gi_call_invoke(gate_call_t *self, gate_fn *fn) {
    gate_err_t e;

    if (!self->method)
        self->method = "job";
    /* An older call's story must not become this one's. */
    if (gate_error()->code != GATE_OK)
        gi_err_story(GATE_OK, NULL, NULL, NULL);
    e = s_decode(self);
    if (e == GATE_OK)
        e = fn(self);
    return gi_call_settle(self, e);
}
