/* SPDX-License-Identifier: BSD-3-Clause */
/* trace.h -- where one call's time went. A trace is given among the arguments
 * of a call and read when that has ended:
 *
 *   gate_trace_t *trace = gate_trace_new(NULL);
 *   gate_client_call(cli, "Demo.fib", &n, 30, gate_trace_arg(trace));
 *   printf("%lld us in its handler\n",
 *          (long long)gate_trace_us(trace, GATE_TRACE_HANDLER));
 *   gate_trace_destroy(&trace);
 *
 * Broker and service measure with their own clocks and tell durations, so no
 * two clocks are compared. What a peer does not tell (a Python one, an older
 * one) is -1. */
#ifndef GATERPC_TRACE_H
#define GATERPC_TRACE_H

#include <gaterpc/value.h>

GATE_BEGIN_DECLS

/* Where one call's time went. */
typedef struct gate_trace gate_trace_t;

/* The parts of a call, as gate_trace_us tells them. */
typedef enum gate_trace_part {
    GATE_TRACE_TOTAL,         /* for its caller: from the call to its end */
    GATE_TRACE_BROKER,        /* at the broker: from the request's coming in to
                               * the last answer's going out */
    GATE_TRACE_BROKER_QUEUE,  /* of that: until a worker had room for it */
    GATE_TRACE_SERVICE_QUEUE, /* at the service: until its handler was started,
                               * or given to a pool */
    GATE_TRACE_POOL_WAIT,     /* until the pool began with it; -1: no pool */
    GATE_TRACE_HANDLER,       /* from there to its last answer */
    GATE_TRACE_PARTS
} gate_trace_part_t;

/* Gives. traceparent: the W3C header of whoever is above, whose trace goes on,
 * sampled or not as it says (of a later version than 00 what version 00 has);
 * NULL: a new trace begins. NULL with GATE_BADARG for what is no such header,
 * GATE_NOMEM. Blocks: not. */
GATE_API gate_trace_t *gate_trace_new(const char *traceparent);
/* Any time: a call that is under way has a reference of its own. */
GATE_API void gate_trace_destroy(gate_trace_t **self_p);
/* Among a call's arguments. Its header goes along as the metadata "traceparent".
 * Each call needs a trace of its own. Borrows. */
GATE_API gate_arg_t gate_trace_arg(gate_trace_t *self);
/* Borrows: the header that goes along, "00-TRACE-SPAN-01", 00 at its end when
 * who is above does not record; 55 characters. NULL
 * gives "". */
GATE_API const char *gate_trace_parent(const gate_trace_t *self);
/* Microseconds; -1: not known, or the call has not ended. Any thread. */
GATE_API int64_t gate_trace_us(const gate_trace_t *self,
                               gate_trace_part_t part);
/* Which run of the call was answered: 1, 2, ...; 0: not known. */
GATE_API int gate_trace_run(const gate_trace_t *self);
/* Borrows: who ran it, "host:pid"; "": not known. */
GATE_API const char *gate_trace_worker(const gate_trace_t *self);

GATE_END_DECLS

#endif
