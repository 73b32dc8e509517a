/* SPDX-License-Identifier: BSD-3-Clause */
/* broker_workers.h -- the life of a worker: registered, alive, suspected,
 * lost. It is in its service's list until it is lost, then settled. */
#ifndef GI_BROKER_WORKERS_H
#define GI_BROKER_WORKERS_H

#include "broker/core/broker_state.h"

struct gi_broker_worker {
    gi_broker_peer_t *peer; /* NULL once lost */
    gi_broker_service_t *service;
    gi_broker_user_t *user; /* who registered it; NULL = nobody */
    gi_list_t place;        /* in a bucket of service, if placed */
    gi_list_t of_service;   /* in service->workers */
    gi_list_t calls;        /* what it runs */
    gi_list_t lost;         /* in core->work.lost once it is lost */
    gi_broker_timer_t beat;
    int64_t in_flight, max;
    int64_t sent_ms;    /* last message to it */
    int64_t suspect_ms; /* its connection may be closed: probed until then */
    int64_t until_ms;   /* it is closed: suspended until then; 0 = no */
    int64_t probe_ms;   /* wait before the next probe */
    int64_t judge_ms;   /* a plain one: when its silence is next looked at */
    int64_t insist_ms;  /* doubted: when it is asked again */
    int64_t carried;    /* by its connection, when it was; -1 not known */
    bool stood;         /* nothing more by the next time; then it is robbed */
    int64_t epoch;      /* which life of this identity it is; -1 not known */
    int64_t unread;     /* bytes sent to it that it may not have read; ext */
    int64_t marked;     /* of those, what it was asked about; 0: nothing */
    int64_t window;     /* what it reads in the time of a question, twice */
    int64_t limit;      /* it gets no call while so many are unread */
    int64_t mixed_ms;   /* when the client whose call it got was another one */
    const gi_broker_peer_t *client; /* that; compared alone */
    int64_t mark_ns, least_ns;      /* when it was asked; the fastest answer */
    gi_broker_far_worker_t *far;    /* another broker's; NULL: it is ours */
    int64_t frame_max; /* bytes of a frame that it takes; 0 not known */
    const char *why;   /* lost: the reason, a static text */
    char *idempotent;  /* its methods that may run again: "a,b=5"; NULL: none */
    unsigned bucket;   /* valid while placed */
    void *report;      /* its last, a packed map; NULL: none */
    size_t report_size;
    int64_t report_ms; /* when it came */
    bool placed, ext, draining;
    bool suspended;  /* gets nothing new until it speaks; never an ext one */
    bool behind;     /* it would be placed, had it read what it got */
    bool takes_args; /* arguments in chunks */
};

/* Registers the peer's worker of that service, which may be new; it gets calls
 * once it is placed. NULL: no memory, too many services. */
gi_broker_worker_t *gi_broker_worker_new(gi_broker_core_t *core,
                                         gi_broker_peer_t *peer,
                                         gate_bytes_t name,
                                         gate_bytes_t description, int64_t max);
void gi_broker_worker_message(gi_broker_core_t *core, gi_broker_peer_t *peer,
                              gi_frames_t *frames);
/* Requests that still wait in our own queue may go to other workers. */
void gi_broker_worker_take_back(gi_broker_core_t *core,
                                gi_broker_worker_t *worker);
/* Takes it out of service at once; the rest is settled after the event. */
void gi_broker_worker_lose(gi_broker_core_t *core, gi_broker_worker_t *worker,
                           const char *why);
/* It gets nothing new, and is told so. False: it would not understand. */
bool gi_broker_worker_drain(gi_broker_core_t *core, gi_broker_worker_t *worker);
void gi_broker_worker_settle(gi_broker_core_t *core,
                             gi_broker_worker_t *worker);
void gi_broker_worker_disconnect(gi_broker_core_t *core,
                                 gi_broker_peer_t *peer);
/* The same, a few times per heartbeat: it is not registered. */
void gi_broker_worker_scold(gi_broker_core_t *core, gi_broker_peer_t *peer);
/* False: it was told so a few times within this heartbeat. */
bool gi_broker_may_scold(gi_broker_core_t *core, gi_broker_peer_t *peer);

/* ---- broker_liveness.c --------------------------------------------------- */
#define GI_CALL_SHAKEN \
    "The connection to the worker was cut, and no answer came since."
#define GI_STREAM_SHAKEN \
    "The connection to the worker was cut: items may be missing."
/* Its timer: heartbeats, probes, silence. */
void gi_broker_worker_beat(gi_broker_core_t *core, gi_broker_worker_t *worker);
/* A heartbeat, at once. */
void gi_broker_worker_greet(gi_broker_core_t *core, gi_broker_worker_t *worker);
/* It speaks over another connection than before, of the same descriptor. */
bool gi_broker_worker_replaced(const gi_broker_core_t *core,
                               const gi_broker_worker_t *worker) GATE_MUST;
/* It speaks over another connection than before. */
void gi_broker_worker_moved(gi_broker_core_t *core, gi_broker_worker_t *worker);
/* Nothing can be sent to it. Leaves core->out alone. */
void gi_broker_worker_unreachable(gi_broker_core_t *core,
                                  gi_broker_worker_t *worker);
/* Suspended, it has spoken. */
void gi_broker_worker_resume(gi_broker_core_t *core,
                             gi_broker_worker_t *worker);
/* Lost; an ext one is told, any other may come back without a word. */
void gi_broker_worker_give_up(gi_broker_core_t *core,
                              gi_broker_worker_t *worker, const char *why);
/* The peer's timer while it has a past. */
void gi_broker_past_due(gi_broker_core_t *core, gi_broker_peer_t *peer);
void gi_broker_past_forget(gi_broker_core_t *core, gi_broker_peer_t *peer);
/* core->users.current may have the registration that the peer had: *ready,
 * which borrows from it. */
bool gi_broker_past_is(const gi_broker_core_t *core,
                       const gi_broker_peer_t *peer, gi_mdp_ready_t *ready);

/* ---- broker_doubt.c ------------------------------------------------------ */
/* Asks all workers of a service whether they are still who they were. */
void gi_broker_service_doubt(gi_broker_core_t *core,
                             gi_broker_service_t *service);
/* It has not spoken yet; when to look again. */
int64_t gi_broker_worker_insist(gi_broker_core_t *core,
                                gi_broker_worker_t *worker);
/* It has spoken. */
void gi_broker_worker_believe(gi_broker_core_t *core,
                              gi_broker_worker_t *worker);

/* It got a request of so many bytes from that client. */
void gi_broker_worker_sent(gi_broker_core_t *core, gi_broker_worker_t *worker,
                           const gi_broker_peer_t *client, size_t bytes);
/* A heartbeat of its came: it may be the answer. */
void gi_broker_worker_beats(gi_broker_core_t *core, gi_broker_worker_t *worker);
bool gi_broker_worker_behind(const gi_broker_worker_t *worker);

/* ---- broker_workers.c ---------------------------------------------------- */
/* Begins a message to a worker in core->out: id "" MDPW01 command. */
bool gi_broker_to_worker(gi_broker_core_t *core, gate_bytes_t id, int command);

/* ---- broker_seen.c: what workers tell of themselves ------------------------ */
#define GI_BROKER_LOOK_MS 1000 /* between a worker's reports */
/* Somebody looks at what workers report: they are asked to, for a while. */
void gi_broker_seen_look(gi_broker_core_t *core);
/* Before a heartbeat: nobody has looked for that while. */
void gi_broker_seen_look_over(gi_broker_core_t *core);
/* A worker's report replaces its last one; borrows. */
void gi_broker_seen_report(gi_broker_core_t *core, gi_broker_worker_t *worker,
                           gate_bytes_t report);
void gi_broker_seen_forget(gi_broker_core_t *core, gi_broker_worker_t *worker);
/* {total, left_out, reports: [{service, worker, age_ms, report}]} */
void gi_broker_seen_pack_reports(gi_broker_core_t *core, msgpack_packer *pk);

/* ---- broker_life.c --------------------------------------------------------- */
/* What a broker says of itself to its workers. */
void gi_broker_life_announce(const gi_broker_core_t *self, gi_ext_t *ext);
/* Makes core->hello anew. */
void gi_broker_life_hello(gi_broker_core_t *self);

/* ---- other brokers -------------------------------------------------------- */
/* What the core asks of broker/far, when there is an uplink. */
struct gi_broker_far_ops {
    /* The one with the least to do that may have this call; NULL: none. */
    gi_broker_worker_t *(*pick)(gi_broker_service_t *service,
                                const gi_broker_call_t *call);
    /* Of those that wait, the first that a far worker with credit may have. */
    gi_broker_call_t *(*first)(gi_broker_service_t *service);
    /* The call waits since what it would go over is full: says so. */
    bool (*full)(const gi_broker_call_t *call, char *text, size_t room);
    /* A far caller has given up: its broker waits for the end. */
    void (*cancel)(gi_broker_core_t *core, gi_broker_call_t *call);
    /* What an error in the place of an answer says about the call: it never ran,
     * its worker is lost. Bits of GI_LINK_UNRUN and GI_LINK_LOST; call NULL:
     * refused. */
    unsigned char (*flags)(gi_broker_core_t *core, const gi_broker_call_t *call,
                           const char *cls);
    /* No local worker is left: queued calls of far clients end unrun. */
    void (*abandon)(gi_broker_core_t *core, gi_broker_service_t *service);
    /* The service is about to be freed. */
    void (*forget)(gi_broker_core_t *core, const gi_broker_service_t *service);
    /* Why a far worker's calls end; false: as any worker's would. */
    bool (*text)(const gi_broker_worker_t *worker, char *text, size_t room);
    /* A far worker is lost, settled, and about to be freed. */
    void (*free)(gi_broker_worker_t *worker);
    void (*due)(gi_broker_core_t *core); /* its timer */
    void (*fini)(gi_broker_core_t *core);
    bool (*valid)(const gi_broker_core_t *core);
};

/* Our offers have changed. */
static inline void gi_broker_far_changed(gi_broker_core_t *core) {
    core->far.rev++;
}

#endif
