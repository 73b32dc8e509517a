/* SPDX-License-Identifier: BSD-3-Clause */
/* service.h -- our worker: the service's core itself, and around it what its
 * shell is made of: a connection (node_service.c), pools, keepers, processes and
 * the mail that brings their work back (service_hands.c), callers in the same
 * process (service_local.c). */
#ifndef SIM_SERVICE_H
#define SIM_SERVICE_H

#include "service/core/service_core.h"
#include "sim.h"

enum {
    SIM_SCALLS = 48,  /* calls that a service has memory for */
    SIM_WINDOW = 8,   /* items of a stream under way */
    SIM_POOL = 2,     /* threads, and processes */
    SIM_POOL_MAX = 4, /* that wait for one; more are refused */
    SIM_YIELD_MS = 20,
    SIM_HEARS_MS = 20,   /* until who can be told to stop does */
    SIM_DEAF_MS = 20000, /* and who cannot */
    SIM_OUT_MAX = 400,   /* messages that wait for a connection */
    SIM_ITEM_MS = 2000,  /* a reader in this process waits so long */
    SIM_TIMER_MS = 400   /* the coarsest timer: 1/64 of its distance */
};

/* How a method runs, and who ends it. */
typedef enum sim_way {
    SIM_AT_ONCE, /* here: a result, or a generator */
    SIM_THREAD,  /* on a thread of the pool */
    SIM_KEEPER,  /* kept here, ended elsewhere */
    SIM_EARLY,   /* kept on a thread, and ended before its handler is back */
    SIM_JOB,     /* here, then a job in a process, maybe another behind it */
    SIM_PROCESS, /* in a process */
    SIM_WAYS
} sim_way_t;

typedef struct sim_handler {
    sim_way_t way;
    bool stream, local, idempotent;
    bool raises;         /* half way, or at the end */
    bool deaf;           /* does not look whether it was cancelled */
    bool never;          /* does not end by itself */
    bool chained;        /* then a second job, or a generator */
    bool bulky;          /* one of its items cannot be sent */
    unsigned items, bad; /* of a stream; which one is too large or raises */
    int64_t run_ms;
} sim_handler_t;

typedef enum sim_hand {
    SIM_NOBODY,
    SIM_GATHERED, /* goes to the pool at the end of the pass */
    SIM_QUEUED,   /* waits there */
    SIM_WORKS
} sim_hand_t;

typedef struct sim_mail sim_mail_t;

typedef struct sim_scall {
    gi_life_t life; /* first */
    sim_service_t *service;
    struct sim_scall *next; /* used or free */
    sim_handler_t does;
    unsigned call, epoch, refs;
    char client[16], id[32]; /* of a caller elsewhere */
    unsigned client_size, id_size;
    /* who works for it; the one after the other, never two */
    sim_hand_t hand;
    bool in_process; /* of the two pools */
    uint64_t turn;
    bool keeper;    /* kept, and not given back */
    bool generator; /* being pulled */
    bool halted;
    bool after_job;
    bool stays;         /* made its last item, and does not end */
    gate_err_t last;    /* its keeper's word */
    int64_t act_ms;     /* whoever has it does something then */
    unsigned next_item; /* that is made */
    /* accounts */
    bool ran, hidden, broken;
    unsigned answers, overs, unpulls;
    int64_t credit, lent; /* left: by our count; the process's copy */
    int64_t said_ms;      /* when something of it went out last */
    /* a reader in this process */
    unsigned got;
    int64_t unread, unread_ms, heard_ms;
    bool reads, leaves;
} sim_scall_t;

typedef enum sim_link_state {
    SIM_LINK_DOWN, /* none, or not told who we are */
    SIM_LINK_READY_SENT,
    SIM_LINK_UP,
    SIM_LINK_LEFT
} sim_link_state_t;

struct sim_service {
    gi_service_core_t core;
    sim_world_t *w;
    unsigned node;
    sim_scall_t calls[SIM_SCALLS];
    sim_scall_t *used, *free;
    sim_mail_t *mail, **mail_last;
    int64_t mail_ms; /* when its last arrives */
    uint64_t turns;
    bool gathered;   /* some go to the pool */
    bool named;      /* its user chose its identity: always the same */
    bool closing;    /* it closes its connection itself */
    int64_t gone_ms; /* it left: its process ends; INT64_MAX */
    /* its connection */
    int link; /* its address is the owner of its calls */
    sim_link_state_t state;
    bool ext, ext_told, released;
    unsigned epoch;
    int64_t backoff_ms, worked_ms;
    int64_t woke_ms; /* it had stood still */
    int64_t told_ms; /* its broker hears that it is one of ours */
    sim_queue_t out;
};

static inline sim_scall_t *sim_scall_of(gi_life_t *life) {
    return (sim_scall_t *)(void *)life;
}

/* service_calls.c */
/* The laws, after every event; those of time when all was done that is due. */
void sim_service_check(sim_service_t *self);
void sim_service_in_time(const sim_service_t *self);
void sim_service_check_gone(const sim_service_t *self);
/* It came by the connection that there is. */
bool sim_scall_on_link(const sim_service_t *self, const sim_scall_t *c);
/* NULL: no memory. */
sim_scall_t *sim_scall_new(sim_service_t *self);
void sim_scall_drop(sim_scall_t *c); /* a reference */

/* node_service.c */
bool sim_is_in_place(const sim_scall_t *c);

/* service_link.c */
void sim_link_begin(gi_frames_t *m, int command);
/* False: it waits in our queue. To who is gone it goes nowhere. */
bool sim_link_send(sim_service_t *self, gi_frames_t *m);
bool sim_link_flush(sim_service_t *self); /* true: something went out */
void sim_link_add_packed(gi_frames_t *m, gate_err_t e, gi_buf_t *packed);
/* The body of a single answer; story: NULL: its result. */
void sim_link_add_single(gi_frames_t *m, const gate_error_t *story);
/* An item, or what is to be said, to its caller elsewhere. */
void sim_link_item(sim_scall_t *c, unsigned item, bool *queued);
void sim_link_answer(sim_scall_t *c, const gate_error_t *story, bool streams);
bool sim_link_is_full(const sim_service_t *self);

/* service_effects.c */
extern const gi_life_ops_t sim_service_ops;

/* service_hands.c */
/* Of a method's name and its two last arguments. */
sim_handler_t sim_handler(const char *func, unsigned what, unsigned how);
/* How it comes back. */
gate_err_t sim_hands_outcome(const sim_handler_t *does);
bool sim_hands_to_process(sim_scall_t *c); /* false: they are full */
void sim_hands_to_thread(sim_scall_t *c);
void sim_hands_to_keeper(sim_scall_t *c);
/* Threads and processes do what is due. */
void sim_hands_work(sim_service_t *self);
/* The actor reads what they sent. */
bool sim_hands_mail(sim_service_t *self);
/* Calls for threads go to their pool. */
void sim_hands_submit(sim_service_t *self);
int64_t sim_hands_next(const sim_service_t *self);
int64_t sim_hands_mail_next(const sim_service_t *self);
void sim_hands_end(sim_service_t *self); /* mail is forgotten */
/* By mail: a reader's word. */
void sim_hands_credit(sim_scall_t *c, unsigned items);
void sim_hands_cancel(sim_scall_t *c);
void sim_hands_open(sim_scall_t *c);

/* service_local.c */
void sim_local_item(sim_scall_t *c, unsigned item);
void sim_local_answer(sim_scall_t *c, const gate_error_t *story, bool streams);
void sim_local_open(sim_scall_t *c); /* on the actor */
void sim_local_work(sim_service_t *self);
int64_t sim_local_next(const sim_service_t *self);

#endif
