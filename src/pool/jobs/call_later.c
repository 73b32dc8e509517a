/* SPDX-License-Identifier: BSD-3-Clause */
/* call_later.c -- answers that come when the handler has returned: kept calls,
 * jobs to go on after, pulled streams.
 * Law: a call is answered in one of these ways, once; what a keeper says stands
 * in members that nobody else writes until the host takes it. */
#include "jobs/call.h"

#include <gaterpc/log.h>
#include "base/err.h"

/* One of the three ways, once. */
static bool s_may_be_later(const gate_call_t *self, const char *what) {
    static const char *const before[] = {"", "gate_call_keep", "gate_call_run",
                                         "gate_generate"};

    if (!self->promise)
        return true;
    gi_err(GATE_BADARG, "%s: %s after %s: a call is answered in one way",
           self->method, what, before[self->promise]);
    return false;
}

gate_err_t gate_generate(gate_call_t *self,
                         gate_err_t (*next)(gate_call_t *call, void *state),
                         void *state, void (*done)(void *state)) {
    gate_err_t e;

    if (self->ops->generate && s_may_be_later(self, "gate_generate")) {
        e = self->ops->generate(self, next, state, done);
        if (e == GATE_KEPT)
            self->promise = GI_PROMISE_PULLED;
        return e;
    }
    if (done)
        done(state);
    return self->ops->generate
               ? gate_error()->code
               : gi_err(GATE_NOTIMPL, "%s: gate_generate is not possible here",
                        self->method);
}

/* ---- answering later ----------------------------------------------------- */
gate_call_t *gate_call_keep(gate_call_t *self) {
    if (!self->ops->keep) {
        gi_err(GATE_NOTIMPL, "%s: a job cannot be kept", self->method);
        return NULL;
    }
    if (!s_may_be_later(self, "gate_call_keep"))
        return NULL;
    self->promise = GI_PROMISE_KEPT;
    return self->ops->keep(self);
}

bool gi_call_end_kept(gate_call_t *self) {
    return self->promise == GI_PROMISE_KEPT &&
           !atomic_exchange(&self->finished, true);
}

/* False: there is nothing to end (the story says so). */
static bool s_last_word(gate_call_t **self_p) {
    gate_call_t *self = *self_p;

    *self_p = NULL;
    if (!self)
        return false;
    if (gi_call_end_kept(self))
        return true;
    gi_err(GATE_BADARG, "%s: %s", gate_call_method(self),
           self->promise == GI_PROMISE_KEPT
               ? "this call was ended already"
               : "only a kept call can be ended so");
    gate_log(GATE_ERROR, "service", "%s", gate_error()->text);
    return false;
}

gate_err_t gi_call_take_last(gate_call_t *self) {
    gi_buf_t out = self->out;

    self->out = self->last_out;
    self->last_out = out;
    self->answered = true;
    self->packed = self->lent = false;
    if (self->last_error.story.code)
        gi_error_set(&self->error, &self->last_error.story);
    else
        gi_error_fini(&self->error);
    gi_call_raised(self, &self->error);
    return self->error.story.code;
}

void gate_finish_(gate_call_t **self_p, gate_arg_t v) {
    gate_call_t *self = *self_p;
    gate_err_t e;

    if (!s_last_word(self_p))
        return;
    e = gi_call_may_answer(self);
    if (e == GATE_OK)
        e = gi_call_pack(self, &self->last_out, &v);
    if (e != GATE_OK)
        gi_error_set(&self->last_error, gate_error());
    self->ops->finish(self);
}

/* Its story is GATE_EOS, which the host takes for a stream's end. */
void gate_end(gate_call_t **self_p) {
    gate_call_t *self = *self_p;

    if (!s_last_word(self_p))
        return;
    gi_error_story(&self->last_error, GATE_EOS, NULL, "", NULL);
    self->ops->finish(self);
}

void gi_call_fail(gate_call_t **self_p, const char *cls, const char *text,
                  const char *traceback) {
    gate_call_t *self = *self_p;

    if (!s_last_word(self_p))
        return;
    gi_error_story(&self->last_error, GATE_RAISED, cls, text, traceback);
    self->ops->finish(self);
}

void gate_fail(gate_call_t **self_p, const char *cls, const char *text) {
    gi_call_fail(self_p, cls, text, NULL);
}

gate_err_t gate_call_run(gate_call_t *self, gate_pool_t *pool, gate_fn *job,
                         gate_arg_t args, gate_then_fn *then) {
    gate_err_t e;

    if (self->ops->run) {
        if (!s_may_be_later(self, "gate_call_run"))
            return gate_error()->code;
        e = self->ops->run(self, pool, job, args, then);
        if (e == GATE_KEPT)
            self->promise = GI_PROMISE_RUN;
        return e;
    }
    return gi_err(GATE_NOTIMPL, "%s: a job cannot run another one and go on",
                  self->method);
}

/* ---- for whom a thread works ---------------------------------------------- */
static _Thread_local const void *s_host;

const void *gi_call_work_for(const void *host) {
    const void *before = s_host;

    s_host = host;
    return before;
}

bool gi_call_works_for(const void *host) { return host && s_host == host; }
