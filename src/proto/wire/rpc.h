/* SPDX-License-Identifier: BSD-3-Clause */
/* rpc.h -- what is inside an envelope's body: requests, single replies, stream
 * and huge messages, exceptions. Pure. Sources: docs/wire.md (replies, streams,
 * huge data). */
#ifndef GI_RPC_H
#define GI_RPC_H

#include "base/tags.h"
#include "value/value.h"

/* ---- requests: func, args, kwargs ---------------------------------------- */
/* Three packed values behind each other in one buffer, then metadata. */
typedef struct gi_rpc_request {
    size_t func_size, args_size, kwargs_size;
    size_t meta_size;         /* of gate_meta's, behind kwargs; 0 = none */
    int retries;              /* from gate_retry */
    int64_t timeout_ms;       /* from gate_timeout_ms; -1 when not given */
    bool no_timeout;          /* gate_timeout_ms(-1): there shall be none */
    struct gate_trace *trace; /* from gate_trace_arg; NULL = none */
} gi_rpc_request_t;
gate_err_t gi_rpc_pack_request(gi_buf_t *out, const char *func, size_t func_len,
                               const gate_arg_t *args, size_t n,
                               const gate_settings_t *settings,
                               gi_rpc_request_t *req) GATE_MUST;

/* Where the bytes of one belong: behind so many of args and kwargs. */
typedef struct gi_rpc_hole {
    size_t at;
    bool in_kwargs;
    const gi_huge_head_t *huge;
} gi_rpc_hole_t;

#define GI_RPC_HOLES_MAX 8
typedef struct gi_rpc_holes {
    gi_rpc_hole_t hole[GI_RPC_HOLES_MAX];
    unsigned n; /* 0 before */
} gi_rpc_holes_t;

/* The same where huge values may stand among the arguments: packed without
 * their bytes. */
gate_err_t gi_rpc_pack_holes(gi_buf_t *out, gate_bytes_t func,
                             const gate_arg_t *args, size_t n,
                             const gate_settings_t *settings,
                             gi_rpc_request_t *req,
                             gi_rpc_holes_t *holes) GATE_MUST;
/* The largest frame of arguments that every peer takes; larger ones travel in
 * chunks (docs/extensions.md, huge arguments). */
int64_t gi_rpc_plain_max(const gate_settings_t *settings);
bool gi_rpc_args_huge(const gate_settings_t *settings,
                      const gi_rpc_request_t *req);
/* "Service.method" at the last dot; without one, service = fallback. Borrows.
 */
gate_err_t gi_rpc_split_name(const char *name, const char *fallback,
                             gate_bytes_t *service,
                             gate_bytes_t *func) GATE_MUST;
/* A func frame: msgpack str. Borrows. GATE_BADARG (TypeError) when it is
 * another type, GATE_BADDATA when it is no msgpack. */
gate_err_t gi_rpc_parse_func(gate_bytes_t frame, gate_bytes_t *func) GATE_MUST;

/* ---- single replies -------------------------------------------------------*/
/* {"result": value, "exception": nil} is prefix + packed value + suffix. */
extern const unsigned char gi_rpc_ok_prefix[8];
extern const unsigned char gi_rpc_ok_suffix[11];
#define GI_RPC_OK_OVERHEAD (8 + 11)
/* {"result": nil, "exception": [cls, repr, traceback]} appended to out; repr is
 * made of cls and text: cls('text'), quoted as Python does. */
gate_err_t gi_rpc_pack_exception(gi_buf_t *out, const char *cls,
                                 const char *text,
                                 const char *traceback) GATE_MUST;
/* [cls, repr, traceback] alone: the last frame of stream and huge exceptions.
 */
gate_err_t gi_rpc_pack_triple(gi_buf_t *out, const char *cls, const char *text,
                              const char *traceback) GATE_MUST;
/* Takes the bytes of a reply (see gi_value_take). GATE_OK gives the result's
 * value; else the remote error is gate_error() (GATE_RAISED or the code of its
 * class), or GATE_BADDATA. Lenient as Python's client is: missing and extra
 * keys, exception a str. */
gate_err_t gi_rpc_take_reply(const void *data, size_t size,
                             gi_release_fn *release, void *hint,
                             const gate_settings_t *settings,
                             gate_value_t **out) GATE_MUST;
/* Makes a packed triple (or str) this thread's story; never GATE_OK. */
gate_err_t gi_rpc_publish_triple(gate_bytes_t packed,
                                 const gate_settings_t *settings);

/* ---- which kind of message ----------------------------------------------- */
typedef enum gi_body_kind {
    GI_BODY_SINGLE,
    GI_BODY_ITEM, /* frame 1: one packed item */
    GI_BODY_ROW,  /* frame 1: several (wire/row.h), from ours to ours */
    GI_BODY_END,
    GI_BODY_EXCEPTION, /* frame 2: packed triple */
    GI_BODY_CHUNK,     /* frame 1: bytes of a huge value, may be empty; frame
                        * 2, if n > 2: an extension frame */
    GI_BODY_HUGE_END,
    GI_BODY_HUGE_EXCEPTION, /* frame 2 holds the triple, if n > 2 */
    GI_BODY_BAD
} gi_body_kind_t;
gi_body_kind_t gi_rpc_body_kind(const gate_bytes_t *body, size_t n);
/* True for kinds after which no message with that request id follows. */
bool gi_body_is_final(gi_body_kind_t kind);

/* ---- extensions (docs/extensions.md) ------------------------------------- */
/* The options that ride as a 4th body frame of a request, and EXT payloads: a
 * msgpack map behind the magic GI_EXT_MAGIC. Absent members keep -1 / 0. */
#define GI_EXT_MAGIC "\xc1GX1" /* 0xc1 is never valid msgpack */
#define GI_EXT_MAGIC_SIZE 4
/* Bytes of a huge answer that go to a reader who has given no credit yet. */
#define GI_HUGE_FIRST ((size_t)1 << 20)
/* Of an extended peer that said no "mb": the setting's default. */
#define GI_FRAME_DEFAULT ((int64_t)64 << 20)
#define GI_RUNS_DEFAULT 3 /* of an idempotent method's call, in all */
/* Where a call's time went, microseconds; -1 absent. The last answer to a
 * request that asked for it has them. */
typedef struct gi_times {
    int64_t broker_us;        /* "tb": request in, last answer out */
    int64_t broker_queue_us;  /* "tq" */
    int64_t service_queue_us; /* "ts" */
    int64_t pool_wait_us;     /* "tp" */
    int64_t handler_us;       /* "th" */
    int run;                  /* "tn": which one of it; 0 absent */
    gate_bytes_t worker;      /* "tw": host:pid */
} gi_times_t;

typedef struct gi_ext {
    int64_t credit_items; /* "ci": more items the reader can take; -1 absent */
    int64_t credit_bytes; /* "cb" */
    bool cancel;          /* "x" */
    int64_t timeout_ms;   /* "t": of the call; -1 absent */
    int attempt;          /* "a": 0 absent */
    bool drain;           /* "d": worker takes nothing new */
    bool moved;           /* "mv": another broker has our listeners */
    bool huge;            /* "h": reads huge replies; a worker: huge args */
    gate_bytes_t codecs;  /* "hc": codec names, comma separated */
    int64_t huge_size;    /* "hs": original bytes of a huge value; -1 absent */
    int64_t args_size;    /* "ha": of args that come in chunks; -1 absent */
    int64_t kwargs_size;  /* "hk": of kwargs behind them; -1 absent */
    gate_bytes_t args_codec; /* "ac": what they are in */
    gate_bytes_t idempotent; /* "im": method names, comma separated, each with
                              * "=runs" unless that is the default */
    bool packed;             /* "p": the broker reads packed messages */
    bool batches;            /* "pb": and batches of them */
    bool rows;         /* "ir": rows of items are read; a broker: handed on */
    gate_bytes_t user; /* "u": the authenticated user */
    gate_bytes_t meta; /* "m": a packed map: trace context and the like */
    int64_t epoch;     /* "e": which life of a worker; -1 absent */
    int64_t frame_max; /* "mb": of a frame it takes, bytes; -1 absent */
    bool traced;       /* "tr": times are wanted; a broker: are known */
    gi_times_t times;
    gate_bytes_t lane;   /* "l": the broker offers lanes */
    int64_t look_ms;     /* "o": a report so often is wanted; -1 absent */
    gate_bytes_t report; /* "or": what a worker tells of itself, a map */
} gi_ext_t;
#define GI_LANE_NAME "GXR " /* before the same, in what Gate.info lists */
void gi_ext_init(gi_ext_t *self);
/* What is said of a limit: nothing of the usual one. */
static inline int64_t gi_ext_frame_max(int64_t max) {
    return max == GI_FRAME_DEFAULT ? -1 : max;
}
bool gi_ext_is(gate_bytes_t frame);
gate_err_t gi_ext_parse(gate_bytes_t frame, gi_ext_t *out) GATE_MUST;
gate_err_t gi_ext_pack(gi_buf_t *out, const gi_ext_t *ext) GATE_MUST;

#endif
