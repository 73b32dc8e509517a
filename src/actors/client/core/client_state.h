/* SPDX-License-Identifier: BSD-3-Clause */
/* client_state.h -- what the files of the client's core share.
 *
 *   client_core.c     connection, liveness, time, the law
 *   client_slots.c    request ids, and which call has which
 *   client_calls.c    calls under way: states, deadlines, cuts
 *   client_send.c     what goes out about them: requests, cancels, credit, chunks
 *   client_answer.c   what an answer does: from the frames to the outcome
 *   client_trouble.c  why there is none */
#ifndef GI_CLIENT_STATE_H
#define GI_CLIENT_STATE_H

#include "client/core/client_core.h"
#include "base/err.h"

/* What keeps the broker from answering. */
typedef enum gi_trouble {
    GI_TROUBLE_NONE,
    GI_TROUBLE_AWAY,   /* it was never reached */
    GI_TROUBLE_LOST,   /* it was, and is not now */
    GI_TROUBLE_SILENT, /* it is there and has not said a word */
    GI_TROUBLE_REFUSED /* it does not let us in */
} gi_trouble_t;

typedef struct gi_ccounters {
#define GI_C(name, meaning) uint64_t name;
#include "client/core/client_counters.def"
#undef GI_C
} gi_ccounters_t;

typedef struct gi_cslot {
    gi_ccall_t *call; /* NULL: free */
    uint32_t generation;
    unsigned next_free;
} gi_cslot_t;

/* The current connection. */
typedef struct gi_clink {
    bool open;           /* there is a socket */
    bool up;             /* the transport is there */
    bool ready;          /* the broker has answered on it */
    bool informed;       /* Gate.info was answered, or will not be */
    bool known;          /* it was answered for good: no need to ask again */
    bool ext;            /* it announced GX1 */
    bool ext_args;       /* and HA1 */
    bool traces;         /* and TR1: it tells where a call's time went */
    int64_t frame_max;   /* bytes of a frame that it takes; 0 not known */
    bool packs;          /* and that it reads packed messages */
    bool batches;        /* and that it reads many of them in one frame */
    bool rows;           /* and that it hands on rows of items */
    bool fresh_id;       /* the next one under a fresh identity */
    unsigned n_requests; /* since ext was learnt: who is told when */
    bool met;            /* broker is whom the last one that spoke called
                            itself: another name is another life */
    unsigned char broker[GI_ID_SIZE];
    int64_t heard_ms, sent_ms, asked_ms;
} gi_clink_t;

/* One to a broker that was replaced: kept for what is under way on it. */
typedef struct gi_cformer {
    bool used;
    size_t n; /* calls that wait for their answer on it */
} gi_cformer_t;

typedef struct gi_ctable {
    gi_cslot_t *slots;
    unsigned n_slots;
    unsigned n_used;    /* of them; the others have never been touched */
    unsigned free_slot; /* of the used; n_slots = none */
    gi_ccall_t *unsent, *unsent_last, *sent;
    unsigned char id_prefix[8];
} gi_ctable_t;

struct gi_client_core {
    gi_client_core_options_t is; /* constant */
    const gi_client_effects_t *effects;
    void *ctx;
    int64_t now_ms, tick_ms; /* of the last tick */
    uint64_t seed;
    gi_clink_t link;
    gi_cformer_t formers[GI_CFORMERS_MAX];
    uint8_t hearing; /* whose message is handled: 0 the current connection's */
    gi_trouble_t trouble;
    gi_error_t refused; /* why the broker does not let us in; empty: it does */
    const char *nobody; /* why there is none where nothing more is known */
    char why[128];      /* the last try failed */
    gi_ctable_t table;
    gi_wheel_t *wheel;
    unsigned n_inflating; /* huge answers coming in to single results */
    double retry_budget;  /* further tries that are left */
    bool stopped;
    gi_buf_t scratch;
    gi_ccounters_t count;
    gi_frames_t out; /* last: touched when something goes out */
};

#define GI_RETRIES_FREE 10 /* tries that the budget always has at first */

/* ---- client_slots.c ------------------------------------------------------ */
bool gi_client_slots_init(gi_client_core_t *self); /* false: no memory */
/* Gives the call its slot and its id. False: all are taken. */
bool gi_client_slots_take(gi_client_core_t *self, gi_ccall_t *call);
void gi_client_slots_give(gi_client_core_t *self, unsigned i);
/* One that we made, whether it has ended or not. */
bool gi_client_slots_is_ours(const gi_client_core_t *self, gate_bytes_t id);
/* NULL: it has ended, or was never made. */
gi_ccall_t *gi_client_slots_find(const gi_client_core_t *self, gate_bytes_t id);

/* ---- client_calls.c ------------------------------------------------------ */
/* The broker's own functions, asked by the core itself. */
void gi_client_calls_ask(gi_client_core_t *self, gi_asks_t asks);
/* Ends it: answered already; with that error; with this thread's story, and its
 * worker is told to stop. */
void gi_client_calls_done(gi_client_core_t *self, gi_ccall_t *call);
void gi_client_calls_fail(gi_client_core_t *self, gi_ccall_t *call,
                          const gate_error_t *story);
void gi_client_calls_fail_text(gi_client_core_t *self, gi_ccall_t *call,
                               gate_err_t code, const char *text);
void gi_client_calls_abort(gi_client_core_t *self, gi_ccall_t *call);
/* It was turned away unrun: sent again then. */
void gi_client_calls_pause(gi_client_core_t *self, gi_ccall_t *call,
                           int64_t until_ms);
/* Its timer, after what it owes or may wait has changed. */
void gi_client_calls_arm(gi_client_core_t *self, gi_ccall_t *call);
/* Something came: what waits for the next thing waits anew. */
void gi_client_calls_alive(gi_client_core_t *self, gi_ccall_t *call);
bool gi_client_calls_flush(gi_client_core_t *self);
bool gi_client_calls_expire(gi_client_core_t *self);
/* That connection is gone; 0: the current one. */
void gi_client_calls_cut_all(gi_client_core_t *self, uint8_t former);
/* Its connection was cut: tells the next one that it is over, and ends it. */
void gi_client_calls_lost(gi_client_core_t *self, gi_ccall_t *call);
/* The broker speaks again: those whose parts may be lost are. */
void gi_client_calls_mourn(gi_client_core_t *self);
/* What is under way on the current connection stays with that former one. */
size_t gi_client_calls_leave(gi_client_core_t *self, uint8_t former);
/* Those that were not sent end with that. */
void gi_client_calls_refuse_unsent(gi_client_core_t *self,
                                   const gate_error_t *story);

/* ---- client_send.c ------------------------------------------------------- */
/* Its arguments are more than the broker takes in a frame; the story is told. */
bool gi_client_send_exceeds(gi_client_core_t *self, const gi_ccall_t *call);
/* Something goes along that only brokers of ours take: it waits, at most until
 * its deadline, for what this one says of itself. Those behind it wait, too. */
bool gi_client_send_waits(const gi_client_core_t *self, const gi_ccall_t *call);
/* The request; 0 or an errno. */
int gi_client_send_request(gi_client_core_t *self, gi_ccall_t *call);
/* Tells its worker that nobody waits any more. */
void gi_client_send_cancel(gi_client_core_t *self, gi_ccall_t *call);
/* The same for one that has ended here. */
void gi_client_send_disown(gi_client_core_t *self, gate_bytes_t service,
                           gate_bytes_t id);
void gi_client_send_credit(gi_client_core_t *self, gi_ccall_t *call,
                           size_t items, size_t bytes);

/* ---- client_answer.c ----------------------------------------------------- */
void gi_client_answer(gi_client_core_t *self, gi_frames_t *in);

/* ---- client_core.c ------------------------------------------------------- */
/* The broker has given its listeners to another one: new calls go there. */
void gi_client_move(gi_client_core_t *self);

/* ---- client_trouble.c ---------------------------------------------------- */
/* It is so from now on; the shell is told. */
void gi_client_trouble(gi_client_core_t *self, gi_trouble_t trouble);
void gi_client_trouble_text(const gi_client_core_t *self, char *text,
                            size_t room);
/* What a call whose time is over waited for in vain. */
void gi_client_late_text(const gi_client_core_t *self, const gi_ccall_t *call,
                         char *text, size_t room);

#endif
