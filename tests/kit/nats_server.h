/* SPDX-License-Identifier: BSD-3-Clause */
/* nats_server.h -- nats-servers on loopback for tests: alone, or three in a
 * cluster; killed, started again at the same port, stopped. They die with the
 * thread that started them, which is the test's main.
 * Thread: one. Blocks: start, until the server takes connections. */
#ifndef NATS_SERVER_H
#define NATS_SERVER_H

#include <stdbool.h>
#include <sys/types.h>

#define NATS_CLUSTER 3

typedef struct nats_server {
    pid_t pid; /* 0: does not run */
    int port, route;
    int routes[NATS_CLUSTER]; /* of its cluster; 0 first: alone */
    const char *conf;         /* more of its configuration, a file; or NULL */
    char url[64];
} nats_server_t;

/* NULL when brokers can be joined here; else why not, for "skipped: ...". */
const char *nats_missing(void);
/* Alone, on a free port; false: it did not come up within 20 s. */
bool nats_begin(nats_server_t *self, const char *conf);
/* All of a cluster. */
bool nats_begin_cluster(nats_server_t servers[NATS_CLUSTER]);
/* Where it was before. */
bool nats_start(nats_server_t *self);
/* SIGKILL and reap; nothing when it does not run. */
void nats_kill(nats_server_t *self);
/* The urls of all of a cluster, comma separated. */
void nats_urls(const nats_server_t servers[NATS_CLUSTER], char *to,
               size_t size);

#endif
