/* SPDX-License-Identifier: BSD-3-Clause */
/* demo_basic.c -- the demo service's short methods. */
#include "demo/demo.h"

#include <ctype.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

enum { S_STEP_MS = 20 };

gate_err_t gi_demo_echo(gate_call_t *call) {
    return gate_return(call,
                       gate_map(gate_kw("args", gate_call_raw_args(call)),
                                gate_kw("kwargs", gate_call_raw_kwargs(call))));
}

/* ---- add ----------------------------------------------------------------- */

/* A number as msgpack has them; one of the two is meant by is_int. */
typedef struct s_number {
    bool is_int;
    __int128 i;
    double d;
} s_number_t;

static bool s_number(const msgpack_object *o, s_number_t *n) {
    switch ((int)o->type) {
    case MSGPACK_OBJECT_POSITIVE_INTEGER:
        *n = (s_number_t){true, o->via.u64, (double)o->via.u64};
        return true;
    case MSGPACK_OBJECT_NEGATIVE_INTEGER:
        *n = (s_number_t){true, o->via.i64, (double)o->via.i64};
        return true;
    case MSGPACK_OBJECT_FLOAT32:
    case MSGPACK_OBJECT_FLOAT64:
        *n = (s_number_t){false, 0, o->via.f64};
        return true;
    default:
        return false;
    }
}

static gate_err_t s_return_int(gate_call_t *call, __int128 sum) {
    if (sum < INT64_MIN || sum > UINT64_MAX)
        return gate_raise(call, "OverflowError",
                          "the sum does not fit into 64 bits");
    if (sum < 0)
        return gate_return(call, (int64_t)sum);
    return gate_return(call, (uint64_t)sum);
}

gate_err_t gi_demo_add(gate_call_t *call) {
    const msgpack_object *a, *b;
    s_number_t x, y;
    gate_err_t e = gate_args(call, gate_named("a", &a), gate_named("b", &b));
    if (e)
        return e;
    if (!s_number(a, &x) || !s_number(b, &y))
        return gate_raise(call, "TypeError",
                          "add() takes integers and floats only");
    if (x.is_int && y.is_int)
        return s_return_int(call, x.i + y.i);
    return gate_return(call, x.d + y.d);
}

/* ---- the rest ------------------------------------------------------------ */

gate_err_t gi_demo_none(gate_call_t *call) {
    gate_err_t e = gate_no_args(call);
    return e ? e : gate_return(call, NULL);
}

gate_err_t gi_demo_boom(gate_call_t *call) {
    const char *text = "boom!";
    gate_err_t e = gate_args(call, gate_kwopt("text", &text));
    return e ? e : gate_raise(call, "ValueError", "%s", text);
}

gate_err_t gi_demo_upper(gate_call_t *call) {
    const char *text;
    gate_err_t e = gate_args(call, gate_named("text", &text));
    if (e)
        return e;
    char *copy = strdup(text);
    if (!copy)
        return GATE_NOMEM;
    for (char *c = copy; *c; c++)
        if ((unsigned char)*c < 0x80)
            *c = (char)toupper((unsigned char)*c);
    e = gate_return(call, copy);
    free(copy);
    return e;
}

/* Metadata is bounded: 16 keys. */
gate_err_t gi_demo_about(gate_call_t *call) {
    gate_arg_t meta[16];
    const char *key, *value;
    size_t n = 0;
    gate_err_t e = gate_no_args(call);
    if (e)
        return e;
    for (; n < 16 && (key = gate_call_meta_at(call, n, &value)); n++)
        meta[n] = gate_kw_(key, gate_str(value));
    return gate_return(
        call, gate_map(gate_kw("user", gate_call_user(call)),
                       gate_kw("attempt", gate_call_attempt(call)),
                       gate_kw("priority", gate_call_priority(call) == GATE_HIGH
                                               ? "high"
                                               : "normal"),
                       gate_kw("meta", gate_map_(meta, n))));
}

gate_err_t gi_demo_nap(gate_call_t *call, int64_t ms) {
    while (ms > 0) {
        if (gate_call_cancelled(call))
            return GATE_CANCELLED;
        int64_t step_ms = ms < S_STEP_MS ? ms : S_STEP_MS;
        struct timespec ts = {0, step_ms * 1000000};
        while (nanosleep(&ts, &ts) && errno == EINTR)
            ;
        ms -= step_ms;
    }
    return GATE_OK;
}

gate_err_t gi_demo_sleep(gate_call_t *call) {
    int64_t ms;
    gate_err_t e = gate_args(call, gate_named("ms", &ms));
    if (e)
        return e;
    if (ms < 0)
        return gate_raise(call, "ValueError", "ms must not be negative");
    e = gi_demo_nap(call, ms);
    return e ? e : gate_return(call, ms);
}

gate_err_t gi_demo_blob(gate_call_t *call) {
    gate_bytes_t data;
    gate_err_t e = gate_args(call, gate_named("data", &data));
    return e ? e : gate_return(call, data.size);
}

gate_err_t gi_demo_oserror(gate_call_t *call, int code, const char *path) {
    char text[128];
    return gate_raise(call, "OSError", "[Errno %d] %s: '%s'", code,
                      strerror_r(code, text, sizeof text), path);
}
