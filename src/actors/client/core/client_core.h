/* SPDX-License-Identifier: BSD-3-Clause */
/* client_core.h -- the client's state machine: calls, messages and time go in,
 * messages and outcomes go out through one table of functions. Knows no socket,
 * thread or clock, so tests and the fuzzer drive it as the actor does.
 *
 *   the shell: call, cancel, credit, message, connected, closed, refused, tick
 *   the core:  send, answer, item, end, fail, left; reopen, move, trouble
 *
 * Thread: one. Blocks: never. Units: ms on the caller's monotonic clock. Owns:
 * its tables; a call is its shell's, from start until left. Law:
 * gi_client_core_valid. Each call that was started ends once: answer, end or
 * fail, then left. Survives: any bytes from the broker; no memory. */
#ifndef GI_CLIENT_CORE_H
#define GI_CLIENT_CORE_H

#include <gaterpc/settings.h>
#include "net/frames.h"
#include "net/login.h"
#include "wire/rpc.h"
#include "sync/wheel.h"

typedef struct gi_client_core gi_client_core_t;

/* What an answer is for. */
typedef enum gi_asks {
    GI_ASKS_USER,     /* a future or a stream waits */
    GI_ASKS_INFO,     /* Gate.info: what the broker is */
    GI_ASKS_SERVICES, /* Gate.get_services: that it is there at all */
    GI_ASKS_ALIVE     /* Gate.keepalive */
} gi_asks_t;

typedef enum gi_ccall_state {
    GI_CCALL_NEW,
    GI_CCALL_UNSENT, /* the socket would not take it yet */
    GI_CCALL_SENT,
    GI_CCALL_PAUSE, /* it was turned away and will be sent again */
    GI_CCALL_DONE
} gi_ccall_state_t;

/* Arguments that go out in chunks (docs/extensions.md, huge arguments). */
typedef enum gi_ccall_upload {
    GI_CUPLOAD_NONE,
    GI_CUPLOAD_WAITS, /* for the first credit: the worker has room */
    GI_CUPLOAD_RUNS,
    GI_CUPLOAD_OVER
} gi_ccall_upload_t;

/* A call under way. Zeroed but for what its shell sets before start. */
typedef struct gi_ccall {
    /* the shell's: borrowed until left */
    gate_bytes_t service;
    const unsigned char *body; /* func, args, kwargs (unless an upload), meta */
    gi_rpc_request_t request;
    bool stream;           /* opened as one; else one result is wanted */
    bool deadline_travels; /* it was asked for: the worker keeps it too */
    bool traced;           /* it is wanted where its time went */
    int64_t deadline_ms;   /* of one result; of a stream: the next look */
    int64_t timeout_ms;
    int retries;      /* further tries that it may have */
    int64_t pause_ms; /* before the next one */
    gi_ccall_upload_t upload;
    uint64_t args_size, kwargs_size; /* of the upload */
    const char *codec;
    /* the core's */
    gi_timer_t timer;
    struct gi_ccall *prev, *next; /* in the list of its state */
    gi_ccall_state_t state;
    gi_asks_t asks;
    bool cut;            /* the connection went away after it was sent */
    bool unheard;        /* and the broker had not said a word on it */
    bool chunks;         /* a huge answer is coming in */
    bool inflates;       /* and somebody inflates it for a single result */
    bool triple_follows; /* HugeDataException came (wire.md 7) */
    uint8_t former; /* on which connection: 0 the current, else a former one */
    unsigned slot;
    unsigned char id[GI_ID_SIZE];
    size_t owed_items, owed_bytes; /* credit the socket would not take */
    int64_t upload_credit;
} gi_ccall_t;

/* About that frame of a message, which may be taken from there. */
typedef gate_err_t gi_cframe_fn(void *, gi_ccall_t *, gi_frames_t *, unsigned);
typedef struct gi_client_effects {
    /* gi_frames_send there: 0 sent; else an errno, frames is as it was. */
    int (*send)(void *ctx, uint8_t conn, gi_frames_t *frames);
    /* The current connection is closed and another opened, if fresh under a new
     * identity. Not GATE_OK: there is none. */
    gate_err_t (*reopen)(void *ctx, bool fresh);
    /* The current connection becomes that former one, and another is opened. */
    gate_err_t (*move)(void *ctx, uint8_t former);
    void (*close)(void *ctx); /* the current one */
    /* Why nothing is answered; "" nothing is wrong. Who waits looks again. */
    void (*trouble)(void *ctx, const char *text);
    gi_cframe_fn *answer; /* one result; not GATE_OK: no memory, it fails */
    /* An item, or a chunk of a huge one; an error is published and ends it. */
    gi_cframe_fn *item;
    gate_err_t (*row_item)(void *ctx, gi_ccall_t *, gate_bytes_t borrowed);
    void (*end)(void *ctx, gi_ccall_t *call); /* of a stream, regularly */
    void (*fail)(void *ctx, gi_ccall_t *call, const gate_error_t *story);
    void (*times)(void *, gi_ccall_t *, const gi_times_t *); /* at its end */
    /* A huge answer begins; its chunks come as item, or, of a single result, as
     * chunk, and what came of them is told by gi_client_core_inflated. */
    gate_err_t (*huge)(void *ctx, gi_ccall_t *call, const gi_ext_t *ext);
    gi_cframe_fn *chunk;
    gate_err_t (*chunks_end)(void *ctx, gi_ccall_t *call);
    /* The upload may begin. */
    gate_err_t (*upload)(void *ctx, gi_ccall_t *call);
    /* For how long what came has waited for a stream's reader. */
    int64_t (*idle_ms)(void *ctx, gi_ccall_t *call, int64_t now_ms);
    void (*left)(void *ctx, gi_ccall_t *call); /* the core has forgotten it */
    void (*offered)(void *ctx, gate_bytes_t offer); /* of lanes; NULL: none */
} gi_client_effects_t;

#define GI_CFORMERS_MAX 4 /* connections to brokers that were replaced */

typedef struct gi_client_core_options {
    const gate_settings_t *settings; /* borrowed, as all here, until destroy */
    const gi_login_t *login;
    const char *endpoint;
    const char *codecs; /* that we read: what requests announce */
    bool watched;       /* the transport tells of connections */
    uint64_t seed;      /* of request ids and pauses */
} gi_client_core_options_t;

/* NULL: no memory. No connection is there yet: gi_client_core_open. */
gi_client_core_t *gi_client_core_new(const gi_client_core_options_t *options,
                                     const gi_client_effects_t *effects,
                                     void *ctx, int64_t now_ms);
void gi_client_core_destroy(gi_client_core_t **self_p);

/* ---- the connection ------------------------------------------------------ */
/* The shell has opened one by itself, at the start. */
void gi_client_core_open(gi_client_core_t *self, int64_t now_ms);
void gi_client_core_connected(gi_client_core_t *self, int64_t now_ms);
/* 0: the current one; else a former one. */
void gi_client_core_closed(gi_client_core_t *self, uint8_t conn,
                           int64_t now_ms);
/* It could not be made, for that reason; it is tried again. */
void gi_client_core_unreached(gi_client_core_t *self, const char *why,
                              int64_t now_ms);
/* The broker's transport does not let us in. */
void gi_client_core_refused(gi_client_core_t *self, const char *why,
                            int64_t now_ms);
/* A message of that connection, as it was sent (unpacked). May move frames. */
void gi_client_core_message(gi_client_core_t *self, uint8_t conn,
                            gi_frames_t *frames, int64_t now_ms);
void gi_client_core_unreadable(gi_client_core_t *self);
/* True: nothing is under way on that former connection: it is free, close it. */
bool gi_client_core_former_over(gi_client_core_t *self, uint8_t former);
/* Items of a stream that may be under way over a broker, which keeps no more
 * than peer_queue_max messages for a peer. */
static inline int64_t gi_client_window(const gate_settings_t *settings) {
    int64_t half = settings->peer_queue_max / 2,
            asked = settings->stream_reply_maxsize;
    return asked < half ? asked : half;
}
/* GATE_OK: *ready; GATE_REFUSED: the broker does not let us in. */
gate_err_t gi_client_core_ready(const gi_client_core_t *self, bool *ready);

/* ---- client_calls.c: calls ------------------------------------------------ */
void gi_client_core_start(gi_client_core_t *self, gi_ccall_t *call,
                          int64_t now_ms);
/* These may come for a call that has ended: as long as its shell has it. */
void gi_client_core_cancel(gi_client_core_t *self, gi_ccall_t *call,
                           int64_t now_ms);
/* A huge single result was inflated and given, or (e is published) was not. */
void gi_client_core_inflated(gi_client_core_t *self, gi_ccall_t *call,
                             gate_err_t e, int64_t now_ms);
/* It cannot go on, for the published reason. */
void gi_client_core_abort(gi_client_core_t *self, gi_ccall_t *call);
/* Ends all calls with GATE_CLOSED, and cancels them at the broker; true: it was
 * told. Those that are started afterwards end at once. */
bool gi_client_core_stop(gi_client_core_t *self, int64_t now_ms);

/* ---- client_send.c: credit and chunks ------------------------------------- */
/* Its reader can take so much more. May come for one that has ended. */
void gi_client_core_credit(gi_client_core_t *self, gi_ccall_t *call,
                           size_t items, size_t bytes, int64_t now_ms);
/* A chunk of its upload may go out now. */
bool gi_client_core_may_upload(const gi_client_core_t *self,
                               const gi_ccall_t *call);
/* Sends one; GATE_WOULDBLOCK: not now. data NULL: the end. */
gate_err_t gi_client_core_upload(gi_client_core_t *self, gi_ccall_t *call,
                                 gate_bytes_t chunk) GATE_MUST;

/* ---- client_core.c: time -------------------------------------------------- */
/* What could not be sent, deadlines, liveness. True: something was due. */
bool gi_client_core_tick(gi_client_core_t *self, int64_t now_ms);
int64_t gi_client_core_next(const gi_client_core_t *self, int64_t now_ms);

/* ---- looking ------------------------------------------------------------- */
/* Appends the counters as a msgpack map. */
void gi_client_core_stats(const gi_client_core_t *self, uint64_t in_flight,
                          gi_buf_t *out);
/* One by name, for tests; asserts that it exists. */
uint64_t gi_client_core_count(const gi_client_core_t *self, const char *name);
/* The law; walks all calls. */
bool gi_client_core_valid(const gi_client_core_t *self);

#endif
