/* SPDX-License-Identifier: BSD-3-Clause */
/* gearman.c -- Gearman: gearmand between libgearman's client (non-blocking, all
 * tasks on one connection, short unique ids of our own instead of a UUID each)
 * and workers, several in the service's process since a worker has one job at
 * a time. */
#include "peers.h"

#include <libgearman/gearman.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { S_WORKERS = 4 };

typedef struct s_gearman {
    gi_spec_t *spec;
    pid_t server;
    gearman_client_st *client;
    gi_lane_t *lane;
    char *payload;
    uint64_t unique;
} s_gearman_t;

static bool s_up_server(s_gearman_t *self) {
    char port[24];
    int number = gi_peer_port();
    snprintf(port, sizeof port, "--port=%d", number);
    const char *const argv[] = {"gearmand", "--listen=127.0.0.1", port,
                                "--log-file=none", NULL};
    snprintf(self->spec->frontend, sizeof self->spec->frontend, "%d", number);
    self->server = gi_peer_spawn(argv, number);
    return self->server > 0;
}

/* ---- workers: they end with the process ---------------------------------- */
static gearman_return_t s_echo(gearman_job_st *job, void *ctx) {
    (void)ctx;
    return gearman_job_send_complete(job, gearman_job_workload(job),
                                     gearman_job_workload_size(job));
}

static void *s_work(void *arg) {
    const gi_spec_t *spec = arg;
    gearman_function_t echo = gearman_function_create(s_echo);
    gearman_worker_st *worker = gearman_worker_create(NULL);
    gearman_worker_add_server(worker, "127.0.0.1",
                              (in_port_t)strtol(spec->frontend, NULL, 10));
    gearman_worker_define_function(worker, "echo", 4, echo, 0, NULL);
    while (gearman_success(gearman_worker_work(worker)))
        ;
    return NULL;
}

static bool s_up_service(s_gearman_t *self) {
    pthread_t thread;
    for (int i = 0; i < S_WORKERS; i++)
        if (pthread_create(&thread, NULL, s_work, self->spec) ||
            pthread_detach(thread))
            return gi_peer_fail("gearman", "no thread");
    return true;
}

static void *s_up(gi_spec_t *spec) {
    s_gearman_t *self = calloc(1, sizeof *self);
    bool ok = self != NULL;
    if (!ok)
        return NULL;
    self->spec = spec;
    if (spec->parts & GI_BROKER)
        ok = s_up_server(self);
    if (ok && spec->parts & GI_SERVICE)
        ok = s_up_service(self);
    if (ok)
        return self;
    free(self);
    return NULL;
}

static void s_down(void *arg) {
    s_gearman_t *self = arg;
    if (self->spec->parts & GI_SERVICE)
        _exit(0); /* its threads wait in the library for ever */
    if (self->client)
        gearman_client_free(self->client);
    if (self->server > 0)
        gi_peer_end(self->server);
    free(self->payload);
    free(self);
}

/* ---- the client ---------------------------------------------------------- */
static gearman_return_t s_complete(gearman_task_st *task) {
    gi_lane_t *lane = gearman_task_context(task);
    uint64_t stamp = 0;
    bool ok = gearman_task_data_size(task) == lane->load->size;
    if (ok)
        memcpy(&stamp, gearman_task_data(task), sizeof stamp);
    gi_lane_done(lane, stamp, ok);
    return GEARMAN_SUCCESS;
}

static gearman_return_t s_failed(gearman_task_st *task) {
    gi_lane_done(gearman_task_context(task), 0, false);
    return GEARMAN_SUCCESS;
}

static bool s_send(gi_lane_t *lane, uint64_t stamp) {
    s_gearman_t *self = lane->self;
    gearman_return_t code;
    char unique[24];
    snprintf(unique, sizeof unique, "%llx", (unsigned long long)self->unique++);
    memcpy(self->payload, &stamp, sizeof stamp);
    return gearman_client_add_task(self->client, NULL, lane, "echo", unique,
                                   self->payload, lane->load->size, &code) &&
           code == GEARMAN_SUCCESS;
}

static void s_reap(gi_lane_t *lane, int64_t wait_ns) {
    s_gearman_t *self = lane->self;
    int64_t out = lane->out;
    gearman_return_t code = gearman_client_run_tasks(self->client);
    if (code == GEARMAN_IO_WAIT && lane->out == out && wait_ns)
        gearman_client_wait(self->client);
}

/* A task's workload must live as long as it is not sent: one buffer does, since
 * add_task copies nothing but run_tasks sends it at once. */
static bool s_prepare(gi_lane_t *lane) {
    s_gearman_t *self = lane->self;
    free(self->payload);
    self->payload = calloc(1, lane->load->size);
    return self->payload && lane->load->size >= GI_PEER_HEAD;
}

static bool s_lane(void *arg, int i, gi_lane_t *lane) {
    s_gearman_t *self = arg;
    (void)i;
    self->lane = lane;
    *lane = (gi_lane_t){
        .self = self, .prepare = s_prepare, .send = s_send, .reap = s_reap};
    self->client = gearman_client_create(NULL);
    if (!self->client)
        return gi_peer_fail("gearman", "no client");
    gearman_client_add_options(self->client, GEARMAN_CLIENT_NON_BLOCKING |
                                                 GEARMAN_CLIENT_FREE_TASKS);
    gearman_client_set_timeout(self->client, 100);
    gearman_client_set_complete_fn(self->client, s_complete);
    gearman_client_set_fail_fn(self->client, s_failed);
    return gearman_success(gearman_client_add_server(
        self->client, "127.0.0.1",
        (in_port_t)strtol(self->spec->frontend, NULL, 10)));
}

const gi_kind_t gi_kind_gearman = {
    "gearman", GI_BROKER | GI_SERVICE | GI_CLIENT, s_up, s_lane, s_down};
