/* SPDX-License-Identifier: BSD-3-Clause */
/* call.h (private) -- what is inside a gate_call_t. A host (a service's actor,
 * a thread pool's job, a worker process) embeds one, fills the borrowed part,
 * runs the handler with gi_call_invoke and reads the outcome. Thread: the
 * handler's, then the host's; never both at once. */
#ifndef GI_CALL_H
#define GI_CALL_H

#include <gaterpc/call.h>
#include <stdatomic.h>
#include "value/value.h"

/* What a host can do for a handler; NULL members are refused with a clear
 * error. */
typedef struct gi_call_ops {
    /* One packed item in self->out; may wait for credit. */
    gate_err_t (*yield)(gate_call_t *self);
    /* The same, now or GATE_BUSY. */
    gate_err_t (*yield_now)(gate_call_t *self);
    /* Gives the call to the user; NULL = cannot. */
    gate_call_t *(*keep)(gate_call_t *self);
    /* A kept call has its outcome in place: deliver. Takes. Any thread. */
    void (*finish)(gate_call_t *self);
    gate_err_t (*generate)(gate_call_t *self,
                           gate_err_t (*next)(gate_call_t *, void *),
                           void *state, void (*done)(void *));
    gate_err_t (*run)(gate_call_t *self, gate_pool_t *pool, gate_fn *job,
                      gate_arg_t args, gate_then_fn *then);
    bool (*cancelled)(gate_call_t *self);
    gi_slot_queue_fn *queue; /* resolves queue arguments; ctx = the call */
    /* Puts bytes in the place of references among the decoded arguments. */
    gate_err_t (*refer)(gate_call_t *self);
    /* Memory for a result of so many bytes that is read where it is; NULL: it
     * must be copied. */
    void *(*lend)(gate_call_t *self, size_t size);
    /* Where gate_raise was called; out is "" before. */
    void (*traceback)(gate_call_t *self, char *out, size_t room);
    const struct gi_huge_ops *huge; /* huge results (huge_feed.h) */
} gi_call_ops_t;

/* What a handler that returns GATE_KEPT refers to. */
typedef enum gi_promise {
    GI_PROMISE_NONE,
    GI_PROMISE_KEPT,  /* gate_call_keep */
    GI_PROMISE_RUN,   /* gate_call_run */
    GI_PROMISE_PULLED /* gate_generate */
} gi_promise_t;

#define GI_CALL_FEW 6

struct gate_call {
    /* filled by the host, borrowed */
    const gi_call_ops_t *ops;
    gate_runtime_t *runtime;
    const gate_settings_t *settings;
    gate_bytes_t args_packed, kwargs_packed; /* empty = none given */
    const char *method;                      /* NUL-terminated */
    gate_bytes_t client;
    const char *user;
    gate_bytes_t meta; /* flat (meta.h) */
    void *ctx;
    int64_t deadline_ms; /* on gi_clock_ms; INT64_MAX = not known */
    int attempt;
    /* the call's own */
    atomic_bool cancel; /* set by the host from any thread */
    bool decoded;       /* args, kwargs are valid */
    bool args_huge;     /* they are larger than plain ones may be */
    bool packed;        /* the user has a packer onto out */
    bool answered;      /* gate_return stored a result */
    bool lent;          /* it lies in what ops->lend gave */
    bool streamed;      /* gate_yield was called */
    bool huge;          /* its result is a huge one that was begun */
    msgpack_zone *zone; /* of args and kwargs; reused */
    msgpack_object args, kwargs;
    /* of short arguments, which need no zone then */
    msgpack_object few_args[GI_CALL_FEW], few_kwargs[GI_CALL_FEW];
    gi_arena_t arena;
    gi_buf_t out; /* the packed result, or one packed item */
    msgpack_packer packer;
    gi_error_t error; /* code GATE_OK: none */
    gi_promise_t promise;
    /* the keeper's: gate_finish and gate_fail write nothing else, so that a
     * handler that has not returned yet may still say what it says */
    atomic_bool finished;
    gi_buf_t last_out;
    gi_error_t last_error;
};

void gi_call_init(gate_call_t *self, const gi_call_ops_t *ops,
                  gate_runtime_t *runtime, const gate_settings_t *settings);
/* Ready for the next call; keeps memory worth keeping. */
void gi_call_reset(gate_call_t *self);
/* The same, keeping next to nothing. */
void gi_call_trim(gate_call_t *self);
void gi_call_fini(gate_call_t *self);
/* Checks (scan, array, map) and runs fn. GATE_OK: exactly one packed value in
 * out (nil for a handler that returned nothing; GATE_BADARG when what was built
 * by hand is not one value); GATE_KEPT; else error is set and its code
 * returned. Streams: yields were called or fn returned GATE_EOS; out is empty
 * (self->streamed). */
gate_err_t gi_call_invoke(gate_call_t *self, gate_fn *fn);
/* Packs v, the call's result, into out. */
gate_err_t gi_call_pack(const gate_call_t *self, gi_buf_t *out,
                        const gate_arg_t *v) GATE_MUST;
/* GATE_BADARG after items or a huge result. */
gate_err_t gi_call_may_answer(const gate_call_t *self) GATE_MUST;
/* The second half of invoke, for handlers called otherwise (gate_then_fn): e is
 * what the handler returned. */
gate_err_t gi_call_settle(gate_call_t *self, gate_err_t e);

#define GI_CALL_WHERE 320
/* error is the handler's: its traceback says where, whatever the error was
 * before that (one of a broker below, say); origin.h. */
void gi_call_raised(gate_call_t *self, gi_error_t *error);

/* ---- call_later.c --------------------------------------------------------- */
/* gate_fail with the traceback of another language. */
void gi_call_fail(gate_call_t **self_p, const char *cls, const char *text,
                  const char *traceback);
/* A kept call was ended elsewhere; false: it was already, or never kept. */
bool gi_call_end_kept(gate_call_t *self) GATE_MUST;
/* What gate_finish or gate_fail left becomes the call's outcome, whose code is
 * returned. The host's, once the call is its own again. */
gate_err_t gi_call_take_last(gate_call_t *self);
/* This thread runs something for host now (NULL: for nobody); gives whom it did
 * before. What waits for the end of all that runs for a host would wait for
 * itself there. */
const void *gi_call_work_for(const void *host);
bool gi_call_works_for(const void *host);
/* The method of services whose calls another language takes (src/actors/foreign);
 * NULL where there is none. Set when the library is loaded. */
extern gate_fn *gi_call_foreign;

#endif
