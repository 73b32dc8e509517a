/* SPDX-License-Identifier: BSD-3-Clause */
/* rig.h -- a system under test: one process that holds all of it (registry,
 * inproc, pools), or broker, service and each client in one of their own (ipc,
 * tcp), forked from the bench process, which stays free of threads and sockets.
 *
 *   bench process                       role process
 *   gi_rig_run: load  --- link --->     gi_load_run on each of its lanes
 *               'B'   <-- link ----     counting begins
 *            sample   <-- link ----     merged over its lanes
 *
 * Law: every process of a rig ends with its link. */
#ifndef GI_RIG_H
#define GI_RIG_H

#include "bench/rigs/load.h"
#include <gaterpc.h>
#include <sys/types.h>

enum { GI_BROKER = 1, GI_SERVICE = 2, GI_CLIENT = 4 };

typedef struct gi_kind gi_kind_t;

/* What a rig is made of. Strings are borrowed unless arrays. */
typedef struct gi_spec {
    const gi_kind_t *kind;
    const char *transport; /* registry, inproc, ipc, tcp */
    unsigned parts;        /* those of this process */
    char frontend[160], backend[160];
    int clients, services, workers;
    int pool;         /* workers of a pool; 0 = default */
    int tasks;        /* largest number under way */
    int crowd;        /* sockets of each client process; kind_crowd alone */
    int pin;          /* CPU; -1 = free */
    const char *lane; /* the setting */
    bool frames; /* setting packed off: each frame by itself, as Python does */
    gate_runs_t runs;
    const char *method; /* "echo", "huge", "Demo.echo" on a foreign broker */
    const char *data;   /* kind of huge data */
    const char *user, *password, *curve_cert, *curve_server;
    const char *plain_user, *plain_password;
    const char *uplink; /* a nats-server's URL; NULL: none */
} gi_spec_t;

/* A kind of system: how its parts come up in this process. */
struct gi_kind {
    const char *name;
    unsigned parts; /* those that it has */
    /* Brings spec->parts up; writes endpoints that it bound into spec. NULL
     * after saying why on stderr. */
    void *(*up)(gi_spec_t *spec);
    /* Makes the i-th lane of a client part; false after saying why. */
    bool (*lane)(void *self, int i, gi_lane_t *lane);
    void (*down)(void *self);
};

extern const gi_kind_t gi_kind_gate;      /* the library: calls */
extern const gi_kind_t gi_kind_far;       /* calls from another broker */
extern const gi_kind_t gi_kind_idle;      /* a broker with an idle uplink */
extern const gi_kind_t gi_kind_huge_far;  /* huge results from another broker */
extern const gi_kind_t gi_kind_stream;    /* the library: one stream a lane */
extern const gi_kind_t gi_kind_huge;      /* the library: huge results */
extern const gi_kind_t gi_kind_threads;   /* the library's pools, without RPC */
extern const gi_kind_t gi_kind_processes; /* */
extern const gi_kind_t gi_kind_proxy;     /* zmq_proxy, gate-rpc's frames */
extern const gi_kind_t gi_kind_one_frame; /* zmq_proxy, one frame a message */
extern const gi_kind_t gi_kind_direct;    /* no broker, gate-rpc's frames */
extern const gi_kind_t gi_kind_items;     /* zmq_proxy, a stream's frames */
extern const gi_kind_t gi_kind_chunks;    /* zmq_proxy, 128 KiB frames */
extern const gi_kind_t gi_kind_ring;      /* two threads, pointers */
extern const gi_kind_t gi_kind_list;      /* mutex, list, condition */
extern const gi_kind_t gi_kind_pipes;     /* children behind pipes */
extern const gi_kind_t gi_kind_crowd;     /* the library; many raw clients */
extern const gi_kind_t gi_kind_crowd_proxy; /* zmq_proxy; the same clients */

/* Where spec's broker is to be, unless spec says; of ipc in a fresh folder, which
 * gi_rig_unlink takes away ("": none). False: there can be none. */
#define GI_RIG_FOLDER 64
bool gi_rig_endpoints(gi_spec_t *spec, char folder[GI_RIG_FOLDER]);
void gi_rig_unlink(const char *folder);

typedef struct gi_rig gi_rig_t;

/* What one run gave, all clients together. */
typedef struct gi_run {
    gi_sample_t sample;
    double cpu_s;        /* of all processes while counting */
    double broker_cpu_s; /* of the broker's alone, where it has its own */
    long rss_kib;        /* peak of all processes together */
} gi_run_t;

/* NULL after saying why. */
gi_rig_t *gi_rig_new(const gi_spec_t *spec);
void gi_rig_destroy(gi_rig_t **self_p);
/* False after saying why: a process died or did not answer. */
bool gi_rig_run(gi_rig_t *self, const gi_load_t *load, gi_run_t *run);
/* Borrows. */
const gi_spec_t *gi_rig_spec(const gi_rig_t *self);
/* Present resident size of the process with that part, in KiB. */
long gi_rig_rss(const gi_rig_t *self, unsigned part);

#endif
