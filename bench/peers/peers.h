/* SPDX-License-Identifier: BSD-3-Clause */
/* peers.h -- other people's systems as kinds of rigs, so that `gate bench`'s
 * own loop drives and measures them as it does ours. Built by
 * script/bench-peers alone.
 * Thread: role processes, as rig.h says. */
#ifndef GI_PEERS_H
#define GI_PEERS_H

#ifdef __cplusplus
extern "C" {
#endif

#include "bench/rigs/rig.h"

extern const gi_kind_t gi_kind_nats;       /* buffered, for throughput */
extern const gi_kind_t gi_kind_nats_asap;  /* each message sent at once */
extern const gi_kind_t gi_kind_nats_flush; /* a flush for each batch */
extern const gi_kind_t gi_kind_gearman;    /* gearmand, libgearman */
extern const gi_kind_t gi_kind_grpc;       /* no broker */
extern const gi_kind_t gi_kind_nng;        /* no broker */
extern const gi_kind_t gi_kind_nng_device; /* nng_device between */

/* A port of 127.0.0.1 that nobody has now. */
int gi_peer_port(void);
/* Starts a server that ends with this process and waits until its port takes
 * connections; -1 after saying why. */
pid_t gi_peer_spawn(const char *const *argv, int port);
void gi_peer_end(pid_t pid);
/* False after saying it. */
bool gi_peer_fail(const char *what, const char *why);
/* A payload begins with its call's stamp and number. */
enum { GI_PEER_HEAD = 16 };

#ifdef __cplusplus
}
#endif

#endif
