/* SPDX-License-Identifier: BSD-3-Clause */
/* trace.c -- see gaterpc/trace.h. What is told is written before `ended`, which
 * its readers look at first. */
#include "async/trace.h"

#include <stdio.h>
#include <string.h>
#include "base/err.h"
#include "base/identity.h"
#include "base/mem.h"
#include "sync/clock.h"
#include "sync/ref.h"

#define S_PARENT 55 /* "00-" 32 "-" 16 "-" 2 */
#define S_TRACE_AT 3
#define S_SPAN_AT 36
#define S_FLAGS_AT 53
#define S_WORKER 128

struct gate_trace {
    gi_ref_t refs;
    atomic_bool ended;
    int64_t begun_ns;
    int64_t us[GATE_TRACE_PARTS];
    int run;
    char worker[S_WORKER];
    char parent[S_PARENT + 1];
};

/* ---- W3C trace context, version 00 ---------------------------------------- */
/* n digits, not all of them zero. */
static bool s_is_id(const char *hex, size_t n) {
    return strspn(hex, "0123456789abcdef") >= n && strspn(hex, "0") < n;
}

/* A later version begins as this one does, and what it has behind that is not
 * handed on; ff is none. */
static bool s_is_parent(const char *text) {
    size_t size = strnlen(text, S_PARENT + 1);
    bool later = strncmp(text, "00", 2) != 0;
    return size >= S_PARENT && (size == S_PARENT || later) &&
           strspn(text, "0123456789abcdef") >= 2 &&
           strncmp(text, "ff", 2) != 0 && text[2] == '-' &&
           s_is_id(text + S_TRACE_AT, 32) && text[S_SPAN_AT - 1] == '-' &&
           s_is_id(text + S_SPAN_AT, 16) && text[S_FLAGS_AT - 1] == '-' &&
           strspn(text + S_FLAGS_AT, "0123456789abcdef") >= 2 &&
           (size == S_PARENT || text[S_PARENT] == '-');
}

/* n random digits; never zero: one of 2^64 is taken for another. */
static void s_id(char *to, size_t n) {
    unsigned char bytes[16];
    gi_random(bytes, n / 2);
    bytes[0] |= (unsigned char)(bytes[0] == 0);
    for (size_t i = 0; i < n / 2; i++)
        snprintf(to + 2 * i, 3, "%02x", bytes[i]);
}

/* The one flag of version 00: who is above records its trace. */
static bool s_sampled(const char *parent) {
    return strchr("13579bdf", parent[S_FLAGS_AT + 1]) != NULL;
}

static void s_make_parent(gate_trace_t *self, const char *above) {
    char *to = self->parent;
    memcpy(to, "00-", 3);
    if (above)
        memcpy(to + S_TRACE_AT, above + S_TRACE_AT, 32);
    else
        s_id(to + S_TRACE_AT, 32);
    s_id(to + S_SPAN_AT, 16);
    to[S_SPAN_AT - 1] = to[S_FLAGS_AT - 1] = '-';
    memcpy(to + S_FLAGS_AT, above && !s_sampled(above) ? "00" : "01", 3);
}

/* ---- life ----------------------------------------------------------------- */
gate_trace_t *gate_trace_new(const char *traceparent) {
    gate_trace_t *self = NULL;
    if (traceparent && !s_is_parent(traceparent))
        (void)gi_err(GATE_BADARG,
                     "traceparent \"%.80s\": 00-, 32 hex digits, -, 16 hex "
                     "digits, - and 2 are wanted, in lower case and no id "
                     "all zero",
                     traceparent);
    else if (!(self = gi_mem_calloc(1, sizeof *self)))
        (void)gi_err(GATE_NOMEM, "no memory for a trace");
    if (!self)
        return NULL;
    gi_ref_init(&self->refs);
    for (size_t i = 0; i < GATE_TRACE_PARTS; i++)
        self->us[i] = -1;
    s_make_parent(self, traceparent);
    return self;
}

gate_trace_t *gi_trace_share(gate_trace_t *self) {
    if (self)
        gi_ref_take(&self->refs);
    return self;
}

void gi_trace_drop(gate_trace_t *self) {
    if (self && gi_ref_drop(&self->refs))
        gi_mem_free(self);
}

void gate_trace_destroy(gate_trace_t **self_p) {
    if (!self_p)
        return;
    gi_trace_drop(*self_p);
    *self_p = NULL;
}

gate_arg_t gate_trace_arg(gate_trace_t *self) {
    return (gate_arg_t){
        .type = GATE_A_TRACE, .kw = self ? self->parent : NULL, .as.p = self};
}

/* ---- what it is told ------------------------------------------------------ */
void gi_trace_begin(gate_trace_t *self) {
    if (self)
        self->begun_ns = gi_clock_ns();
}

void gi_trace_told(gate_trace_t *self, const gi_times_t *times) {
    if (!self || atomic_load(&self->ended))
        return;
    self->us[GATE_TRACE_BROKER] = times->broker_us;
    self->us[GATE_TRACE_BROKER_QUEUE] = times->broker_queue_us;
    self->us[GATE_TRACE_SERVICE_QUEUE] = times->service_queue_us;
    self->us[GATE_TRACE_POOL_WAIT] = times->pool_wait_us;
    self->us[GATE_TRACE_HANDLER] = times->handler_us;
    self->run = times->run;
    snprintf(self->worker, sizeof self->worker, "%.*s",
             (int)(times->worker.size < sizeof self->worker
                       ? times->worker.size
                       : sizeof self->worker - 1),
             times->worker.size ? (const char *)times->worker.data : "");
}

void gi_trace_end(gate_trace_t *self) {
    if (!self || atomic_load(&self->ended))
        return;
    self->us[GATE_TRACE_TOTAL] = (gi_clock_ns() - self->begun_ns) / 1000;
    atomic_store(&self->ended, true);
}

/* ---- reading -------------------------------------------------------------- */
static bool s_ended(const gate_trace_t *self) {
    return self && atomic_load(&self->ended);
}

const char *gate_trace_parent(const gate_trace_t *self) {
    return self ? self->parent : "";
}

int64_t gate_trace_us(const gate_trace_t *self, gate_trace_part_t part) {
    return s_ended(self) && (unsigned)part < GATE_TRACE_PARTS ? self->us[part]
                                                              : -1;
}

int gate_trace_run(const gate_trace_t *self) {
    return s_ended(self) ? self->run : 0;
}

const char *gate_trace_worker(const gate_trace_t *self) {
    return s_ended(self) ? self->worker : "";
}
