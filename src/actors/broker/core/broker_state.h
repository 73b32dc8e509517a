/* SPDX-License-Identifier: BSD-3-Clause */
/* broker_state.h -- the broker core itself, seen by broker_*.c alone; what it
 * is made of has a header each.
 *
 *   socket --peers--> peer --worker--> worker --calls--> call
 *                       `---calls (a client's)----------->'
 *   services --> service --workers--> worker;  --queue--> call (waiting)
 *
 * A call is in its client's list, in the table of calls, and either in its
 * service's queue (worker NULL) or in its worker's list. */
#ifndef GI_BROKER_STATE_H
#define GI_BROKER_STATE_H

#include "broker/core/broker_core.h"
#include "broker/core/broker_time.h"
#include "base/list.h"
#include "base/table.h"
#include "rules/access.h"
#include "rules/bucket.h"
#include "rules/fair.h"
#include "rules/guess.h"
#include "rules/secret.h"
#include "wire/batch.h"
#include "wire/mdp.h"
#include "wire/rpc.h"
#include "settings/settings.h"
#include "sync/wheel.h"
#include "tally/slow.h"

#define GI_ID_MAX 255
#define GI_REQUEST_ID_INLINE 32
#define GI_BUCKETS 256
/* What a peer's queue takes beyond its bound: final messages and errors. */
#define GI_RESERVE_MESSAGES 256
#define GI_RESERVE_BYTES (1024 * 1024)
#define GI_PEERS_MAX (1u << 20) /* that are remembered, of both sides */
#define GI_SERVICES_MAX 65536

typedef struct gi_broker_worker gi_broker_worker_t;
typedef struct gi_broker_service gi_broker_service_t;
typedef struct gi_broker_call gi_broker_call_t;
typedef struct gi_broker_user gi_broker_user_t;
typedef struct gi_broker_message gi_broker_message_t;
typedef struct gi_broker_past gi_broker_past_t;   /* broker_workers.c's */
typedef struct gi_broker_trust gi_broker_trust_t; /* broker_credentials.c's */
typedef struct gi_broker_node gi_broker_node_t;   /* another broker */
typedef struct gi_broker_far_worker gi_broker_far_worker_t;
typedef struct gi_broker_far_ops gi_broker_far_ops_t;   /* broker_workers.h */
typedef struct gi_broker_auth_ops gi_broker_auth_ops_t; /* broker_users.h */

typedef struct gi_broker_socket {
    gi_table_t peers;
    gi_broker_peer_t *last;   /* the peer that spoke last: skips a look-up */
    gi_broker_peer_t **by_fd; /* the peer behind a connection; may be NULL */
    size_t n_by_fd;
    bool backend;
    bool far; /* no socket: its peers are other brokers' */
} gi_broker_socket_t;

typedef struct gi_broker_counters {
#define GI_C(name, doc) uint64_t name;
#include "broker/core/broker_counters.def"
#undef GI_C
} gi_broker_counters_t;

typedef struct gi_broker_function {
    struct gi_broker_function *next;
    const gate_method_t *method;
    void *ctx;
    gate_runtime_t *runtime;
} gi_broker_function_t;

/* broker_users.c: who is who. */
typedef struct gi_broker_users {
    gi_broker_user_t *current; /* of the message that is handled */
    gi_broker_user_t *local;   /* of the broker's own client */
    gi_table_t table;
    gi_list_t idle; /* longest idle first */
    size_t n_idle;
    const gi_access_t *access; /* NULL: no rules */
    bool internal_ruled;       /* some rule is about the internal service */
} gi_broker_users_t;

/* broker/trust: in-band credentials. */
typedef struct gi_broker_auth {
    const gi_broker_auth_ops_t *ops; /* NULL: none are expected */
    const char *domain;
    gi_secret_t inside;    /* what our own client says */
    gi_table_t asks;       /* questions under way, by key */
    gi_guesses_t *guesses; /* wrong credentials; when on alone */
    gi_guess_t *told;      /* workers told DISCONNECT, by address and user */
    gi_list_t believed;    /* verdicts that are, oldest first */
    size_t n_believed, n_waiting, waiting_bytes;
    gi_frames_t late; /* the message that goes on */
} gi_broker_auth_t;

/* What is settled after each event. */
typedef struct gi_broker_work {
    gi_list_t doomed; /* peers found gone */
    gi_list_t lost;   /* workers found lost */
    gi_list_t pumps;  /* services with a queue and credit */
    gi_list_t redo;   /* calls whose request never left */
    gi_list_t judged; /* whose messages may go on */
} gi_broker_work_t;

/* broker/far: other brokers. */
typedef struct gi_broker_far {
    const gi_broker_far_ops_t *ops; /* NULL: no uplink */
    gi_list_t nodes;
    gi_broker_timer_t timer;
    unsigned workers, clients; /* sockets, once there are any */
    uint32_t next_index;       /* of a service */
    uint64_t rev;              /* of what we offer */
    int64_t age_ms;            /* of the far request that is handled */
    bool believe;              /* what links say about users */
    bool busy, retell; /* since the last look: calls came; some went back */
    gi_frames_t in;    /* a far message as its socket's would be */
} gi_broker_far_t;

/* broker_seen.c: how calls end. */
typedef struct gi_broker_seen {
    gi_tally_room_t room;
    gi_tally_t *other;    /* of services without a tally of their own */
    gi_slow_list_t *slow; /* NULL: slow_ms is 0 */
    int64_t slow_ns, logged_ms, look_ms; /* somebody looks until then */
    size_t report_bytes;                 /* of workers' reports */
    unsigned n_labelled;                 /* services */
    int64_t now_ns;      /* gi_broker_seen_now's last look at the clock */
    unsigned good_reads; /* for so many more */
} gi_broker_seen_t;

/* Objects that were freed, for their next use. */
typedef struct gi_broker_memory {
    gi_free_t calls, peers, batches;
} gi_broker_memory_t;

struct gi_broker_core {
    const gate_settings_t *settings;
    const gi_broker_effects_t *effects;
    void *ctx;
    unsigned char id[GI_ID_SIZE];
    gate_bytes_t internal; /* the internal service's name */
    uint64_t seed;
    gi_broker_clock_t clock;
    gi_broker_socket_t sockets[GI_BROKER_SOCKETS_MAX];
    unsigned n_sockets;
    size_t queued_bytes; /* weight of all messages that wait or are kept */
    size_t handed;       /* bytes that libzmq may hold for peers, at most */
    size_t n_peers, n_calls, n_workers, n_services, n_queued, n_lanes;
    gi_table_t calls, services;
    gi_list_t order;  /* services */
    gi_list_t parked; /* those without workers, longest first */
    size_t parked_bytes;
    gi_list_t blocked;       /* peers with a queue */
    gi_list_t handing;       /* peers for whom libzmq may hold much */
    gi_list_t loaded;        /* peers with a batch, oldest first */
    unsigned n_loaded, pass; /* how many; gi_broker_core_flush's number */
    gi_broker_work_t work;
    gi_broker_memory_t memory;
    gi_frames_t out;   /* the message being made */
    gi_frames_t load;  /* a batch, or a message of one, beside it */
    gi_buf_t body;     /* a body being packed */
    gi_buf_t hello;    /* the extension frame of our heartbeats */
    gi_buf_t farewell; /* the same to a draining worker: nothing new comes */
    gi_broker_counters_t count;
    gi_broker_function_t *functions; /* user's, of the internal service */
    void *host;         /* broker_internal.c: their call; made with the first */
    int64_t told_ms[3]; /* by gi_broker_tell_t */
    bool draining, moving;    /* to another broker, which has our listeners */
    gi_broker_timer_t expect; /* armed: workers are to come */
    gi_broker_users_t users;
    gi_broker_auth_t auth;
    gi_broker_seen_t seen;
    gi_broker_far_t far;
};

static inline int64_t gi_broker_now_ns(const gi_broker_core_t *core) {
    return core->effects->now_ns ? core->effects->now_ns(core->ctx)
                                 : core->clock.now_ms * 1000000;
}

/* ---- broker_core.c ------------------------------------------------------- */
void gi_broker_arm(gi_broker_core_t *core, gi_broker_timer_t *timer,
                   int64_t due_ms);
void gi_broker_disarm(gi_broker_core_t *core, gi_broker_timer_t *timer);
/* Deals with what was found dead during an event. */
void gi_broker_settle(gi_broker_core_t *core);
/* Handles a message of core->users.current. */
void gi_broker_admit(gi_broker_core_t *core, gi_broker_peer_t *peer,
                     gi_frames_t *frames);

#endif
