/* SPDX-License-Identifier: BSD-3-Clause */
/* gate_rig.c -- the library under test, by its public API alone: broker,
 * services and clients, in one process or each in its own. */
#include "bench/rigs/gate_rig.h"

#include <poll.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

enum {
    S_READY_MS = 20000,
    S_LOOK_MS = 10,
    S_CALL_MS = 20000,
    S_BATCH = 256,
    S_SYNC_MAX = 1,
    S_WORKERS_MAX = 25
};

/* ---- the service --------------------------------------------------------- */
gate_err_t gi_gate_rig_echo(gate_call_t *call) {
    gate_bytes_t in;
    gate_err_t e = gate_args(call, &in);
    return e ? e : gate_return(call, in);
}

/* A stream of the same item for ever; its reader leaves. */
static gate_err_t s_next(gate_call_t *call, void *state) {
    const gi_item_t *item = state;
    gate_bytes_t out = {item->data, item->size};
    return gate_yield(call, out);
}

static gate_err_t s_stream(gate_call_t *call) {
    int64_t size;
    gate_err_t e = gate_args(call, &size);
    if (e)
        return e;
    if (size < 0 || size > 1 << 20)
        return GATE_BADARG;
    gi_item_t *item = calloc(1, sizeof *item + (size_t)size);
    if (!item)
        return GATE_NOMEM;
    item->size = (size_t)size;
    return gate_generate(call, s_next, item, free);
}

static gate_err_t s_huge(gate_call_t *call) {
    int64_t size;
    const char *kind;
    gate_err_t e = gate_args(call, &size, &kind);
    if (e)
        return e;
    gate_bytes_t data = gi_huge_data(kind, (size_t)size);
    return data.data ? gate_return(call, data) : GATE_NOMEM;
}

static const gate_method_t s_methods[] = {
    {.name = "echo", .fn = gi_gate_rig_echo},
    {.name = "stream", .fn = s_stream, .runs = GATE_INLINE},
    {.name = "huge", .fn = s_huge, .runs = GATE_THREAD},
    GATE_END,
};

/* ---- coming up ----------------------------------------------------------- */
static gate_settings_t *s_settings(const gi_spec_t *spec) {
    gate_settings_t *settings = gate_settings_new();
    int room = spec->tasks > 5000 ? spec->tasks : 5000;
    bool local = !strcmp(spec->transport, "registry");
    if (!settings)
        return NULL;
    gate_settings_set(settings, "log_level", "error");
    gate_settings_set(settings, "message_max", room);
    gate_settings_set(settings, "local_max", room);
    gate_settings_set(settings, "route", local ? "local" : "broker");
    gate_settings_set(settings, "zmq_context", "max_sockets=65536");
    gate_settings_set(settings, "packed", !spec->frames);
    gate_settings_set(settings, "lane", spec->lane);
    if (spec->runs == GATE_PROCESS && spec->pool)
        gate_settings_set(settings, "processes", spec->pool);
    if (spec->runs != GATE_PROCESS && spec->pool)
        gate_settings_set(settings, "threads", spec->pool);
    return settings;
}

/* In-band PLAIN: a ZAP service of ours beside the broker. */
static gate_err_t s_up_zap(gi_gate_rig_t *self) {
    const gi_spec_t *spec = self->spec;
    self->zap = gate_zap_new(self->runtime, "inproc://bench-zap");
    if (!self->zap)
        return GATE_NOMEM;
    gate_zap_plain(self->zap, "*", spec->user, spec->password);
    gate_broker_use_zap(self->broker, "inproc://bench-zap", "gate");
    return gate_zap_start(self->zap);
}

static bool s_is_far(const gi_spec_t *spec) {
    return spec->kind == &gi_kind_far || spec->kind == &gi_kind_huge_far;
}

/* A second broker, in the same process: clients have that one. */
static gate_err_t s_up_near(gi_gate_rig_t *self) {
    self->near = gate_broker_new(self->runtime);
    if (!self->near)
        return GATE_NOMEM;
    gate_broker_bind(self->near, "tcp://127.0.0.1:*");
    gate_broker_bind_backend(self->near, "tcp://127.0.0.1:*");
    gate_broker_uplink(self->near, self->spec->uplink);
    return gate_broker_start(self->near);
}

static gate_err_t s_up_broker(gi_gate_rig_t *self) {
    gi_spec_t *spec = self->spec;
    self->broker = gate_broker_new(self->runtime);
    if (!self->broker)
        return GATE_NOMEM;
    gate_broker_bind(self->broker, spec->frontend);
    gate_broker_bind_backend(self->broker, spec->backend);
    if (spec->curve_server)
        gate_broker_curve(self->broker, spec->curve_server, "*");
    if (spec->uplink)
        gate_broker_uplink(self->broker, spec->uplink);
    gate_err_t e = spec->user ? s_up_zap(self) : GATE_OK;
    if (!e)
        e = gate_broker_start(self->broker);
    if (!e && s_is_far(spec))
        e = s_up_near(self);
    if (e)
        return e;
    snprintf(spec->frontend, sizeof spec->frontend, "%s",
             gate_broker_frontend(self->near ? self->near : self->broker, 0));
    snprintf(spec->backend, sizeof spec->backend, "%s",
             gate_broker_backend(self->broker, 0));
    return GATE_OK;
}

/* More workers than a service polls well are more objects of the same name. */
static int s_replicas(const gi_spec_t *spec) {
    return (spec->workers + S_WORKERS_MAX - 1) / S_WORKERS_MAX;
}

static gate_err_t s_up_service(gi_gate_rig_t *self, int i) {
    const gi_spec_t *spec = self->spec;
    int replicas = s_replicas(spec), part = i / spec->services;
    char name[32];
    snprintf(name, sizeof name, "Bench%d", i % spec->services);
    gate_service_t *service = gate_service_new(self->runtime, name);
    if (!service)
        return GATE_NOMEM;
    self->services[i] = service;
    gate_service_default_runs(service, spec->runs, NULL);
    gate_service_methods(service, s_methods, NULL);
    gate_service_workers(service, spec->workers / replicas +
                                      (part < spec->workers % replicas));
    if (spec->user)
        gate_service_plain(service, spec->user, spec->password);
    if (spec->plain_user)
        gate_service_plain_transport(service, spec->plain_user,
                                     spec->plain_password);
    if (spec->curve_cert)
        gate_service_curve(service, spec->curve_cert, spec->curve_server);
    return gate_service_start(service, spec->backend[0] ? spec->backend : NULL);
}

static gate_err_t s_up_services(gi_gate_rig_t *self) {
    gate_err_t e = GATE_OK;
    int n = self->spec->services * s_replicas(self->spec);
    self->services = calloc((size_t)n, sizeof *self->services);
    if (!self->services)
        return GATE_NOMEM;
    self->n_services = n;
    for (int i = 0; i < n && !e; i++)
        e = s_up_service(self, i);
    for (int i = 0; i < n && !e; i++)
        e = gate_service_ready(self->services[i], S_READY_MS);
    return e;
}

static gate_err_t s_up(gi_gate_rig_t *self) {
    gate_err_t e = GATE_OK;
    GATE_OWN(gate_settings) settings = s_settings(self->spec);
    self->runtime = settings ? gate_runtime_new(settings) : NULL;
    if (!self->runtime)
        return GATE_NOMEM;
    e = gate_runtime_start(self->runtime);
    if (!e && self->spec->parts & GI_BROKER && self->spec->frontend[0])
        e = s_up_broker(self);
    if (!e && self->spec->parts & GI_SERVICE)
        e = s_up_services(self);
    return e;
}

void *gi_gate_rig_up(gi_spec_t *spec) {
    gi_gate_rig_t *self = calloc(1, sizeof *self);
    if (!self)
        return NULL;
    self->spec = spec;
    gate_err_t e = GATE_OK;
    if (spec->parts & GI_SERVICE && spec->runs == GATE_PROCESS)
        e = gate_process_init();
    if (!e)
        e = s_up(self);
    if (!e)
        return self;
    gate_perror("gate bench");
    gi_gate_rig_down(self);
    return NULL;
}

/* ---- the client ---------------------------------------------------------- */
/* The brokers find each other in some 100 ms. */
static gate_err_t s_await_far(gate_client_t *client) {
    const struct timespec pause = {0, S_LOOK_MS * 1000000L};
    gate_err_t e = GATE_NOSERVICE;
    for (int i = 0; i < S_READY_MS / S_LOOK_MS && e == GATE_NOSERVICE; i++) {
        gate_bytes_t in = {"", 0};
        e = gate_client_call(client, "Bench0.echo", gate_onone(NULL), in,
                             gate_timeout_ms(S_CALL_MS));
        if (e == GATE_NOSERVICE)
            nanosleep(&pause, NULL);
    }
    return e;
}

bool gi_gate_rig_client(gi_gate_rig_t *self, gate_client_t **client) {
    const gi_spec_t *spec = self->spec;
    *client = gate_client_new(self->runtime);
    if (!*client)
        return false;
    if (spec->user)
        gate_client_plain(*client, spec->user, spec->password);
    if (spec->plain_user)
        gate_client_plain_transport(*client, spec->plain_user,
                                    spec->plain_password);
    if (spec->curve_cert)
        gate_client_curve(*client, spec->curve_cert, spec->curve_server);
    gate_err_t e =
        gate_client_connect(*client, spec->frontend[0] ? spec->frontend : NULL);
    if (!e)
        e = gate_client_ready(*client, S_READY_MS);
    if (!e && s_is_far(spec))
        e = s_await_far(*client);
    if (e)
        gate_perror("gate bench");
    return !e;
}

typedef struct s_lane s_lane_t;

/* One call under way. */
typedef struct s_ticket {
    s_lane_t *lane;
    uint64_t stamp;
    struct s_ticket *next; /* free */
} s_ticket_t;

struct s_lane {
    gi_lane_t *lane;
    gi_gate_rig_t *rig;
    gate_client_t *client;
    gate_cq_t *cq;
    char (*methods)[48]; /* one of each service, asked in turns */
    size_t n_methods, turn;
    bool foreign; /* the method is not ours: its result is not looked at */
    char *payload;
    s_ticket_t *tickets, *free;
};

/* The first failure tells its story; the others are counted. */
static void s_tell(gate_err_t e) {
    static atomic_flag told = ATOMIC_FLAG_INIT;
    if (e && !atomic_flag_test_and_set(&told))
        gate_perror("gate bench");
}

static bool s_right(const s_lane_t *self, const gate_value_t *value) {
    const msgpack_object *o = gate_value_object(value);
    return self->foreign || (o->type == MSGPACK_OBJECT_BIN &&
                             o->via.bin.size == self->lane->load->size);
}

static void s_done(void *ctx, gate_err_t e, const gate_value_t *value) {
    s_ticket_t *ticket = ctx;
    s_lane_t *self = ticket->lane;
    uint64_t stamp = ticket->stamp;
    s_tell(e);
    ticket->next = self->free;
    self->free = ticket;
    gi_lane_done(self->lane, stamp, !e && s_right(self, value));
}

/* One outstanding is a caller that waits: the synchronous call. */
static void s_sync(s_lane_t *self, const char *method, uint64_t stamp) {
    gate_bytes_t in = {self->payload, self->lane->load->size}, out = {NULL, 0};
    gate_slot_t to = self->foreign ? gate_onone(NULL) : gate_obytes(&out);
    gate_err_t e = gate_client_call(self->client, method, to, in,
                                    gate_timeout_ms(S_CALL_MS));
    s_tell(e);
    gi_lane_done(self->lane, stamp,
                 !e && (self->foreign || out.size == in.size));
}

static bool s_send(gi_lane_t *lane, uint64_t stamp) {
    s_lane_t *self = lane->self;
    const char *method = self->methods[self->turn];
    if (++self->turn == self->n_methods)
        self->turn = 0;
    if (lane->load->outstanding <= S_SYNC_MAX && lane->load->rate <= 0) {
        s_sync(self, method, stamp);
        return true;
    }
    s_ticket_t *ticket = self->free;
    if (!ticket)
        return false;
    self->free = ticket->next;
    ticket->stamp = stamp;
    gate_bytes_t in = {self->payload, lane->load->size};
    gate_future_t *f = gate_client_start(self->client, method, in);
    gate_future_then(&f, self->cq, s_done, ticket);
    return true;
}

void gi_gate_rig_reap(gate_cq_t *cq, int64_t wait_ns) {
    if (gate_cq_dispatch(cq, S_BATCH) || !wait_ns)
        return;
    struct pollfd fd = {gate_cq_fd(cq), POLLIN, 0};
    struct timespec wait = {wait_ns / 1000000000, wait_ns % 1000000000};
    if (ppoll(&fd, 1, &wait, NULL) > 0)
        gate_cq_dispatch(cq, S_BATCH);
}

static void s_reap(gi_lane_t *lane, int64_t wait_ns) {
    gi_gate_rig_reap(((s_lane_t *)lane->self)->cq, wait_ns);
}

static bool s_prepare(gi_lane_t *lane) {
    s_lane_t *self = lane->self;
    int room = self->rig->spec->tasks > 5000 ? self->rig->spec->tasks : 5000;
    free(self->payload);
    self->payload = malloc(lane->load->size + 1);
    if (!self->payload)
        return false;
    memset(self->payload, 'x', lane->load->size + 1);
    if (self->tickets)
        return true;
    self->tickets = calloc((size_t)room, sizeof *self->tickets);
    for (int i = 0; i < room && self->tickets; i++) {
        self->tickets[i] = (s_ticket_t){self, 0, self->free};
        self->free = &self->tickets[i];
    }
    return self->tickets != NULL;
}

static bool s_methods_of(s_lane_t *self) {
    const gi_spec_t *spec = self->rig->spec;
    self->foreign = strchr(spec->method, '.') != NULL;
    self->n_methods = self->foreign ? 1 : (size_t)spec->services;
    self->methods = calloc(self->n_methods, sizeof *self->methods);
    for (size_t i = 0; i < self->n_methods && self->methods; i++)
        if (self->foreign)
            snprintf(self->methods[i], sizeof *self->methods, "%s",
                     spec->method);
        else
            snprintf(self->methods[i], sizeof *self->methods, "Bench%zu.%s", i,
                     spec->method);
    return self->methods != NULL;
}

static void s_lane_down(void *arg) {
    s_lane_t *self = arg;
    gate_client_destroy(&self->client);
    gate_cq_destroy(&self->cq);
    free(self->methods);
    free(self->tickets);
    free(self->payload);
    free(self);
}

bool gi_gate_rig_keep(gi_gate_rig_t *self, void *lane, void (*down)(void *)) {
    if (self->n_lanes == GI_GATE_LANES)
        return false;
    self->lanes[self->n_lanes] = lane;
    self->lane_down[self->n_lanes++] = down;
    return true;
}

static bool s_make(void *rig, int i, gi_lane_t *lane) {
    s_lane_t *self = calloc(1, sizeof *self);
    (void)i;
    if (!self || !gi_gate_rig_keep(rig, self, s_lane_down))
        return false;
    self->rig = rig;
    self->lane = lane;
    self->cq = gate_cq_new();
    *lane = (gi_lane_t){
        .self = self, .prepare = s_prepare, .send = s_send, .reap = s_reap};
    return self->cq && s_methods_of(self) &&
           gi_gate_rig_client(rig, &self->client);
}

void gi_gate_rig_down(void *arg) {
    gi_gate_rig_t *self = arg;
    while (self->n_lanes) {
        self->n_lanes--;
        self->lane_down[self->n_lanes](self->lanes[self->n_lanes]);
    }
    for (int i = 0; i < self->n_services; i++)
        gate_service_destroy(&self->services[i]);
    free(self->services);
    gate_broker_destroy(&self->near);
    gate_broker_destroy(&self->broker);
    gate_zap_destroy(&self->zap);
    gate_runtime_destroy(&self->runtime);
    free(self);
}

const gi_kind_t gi_kind_gate = {"gate", GI_BROKER | GI_SERVICE | GI_CLIENT,
                                gi_gate_rig_up, s_make, gi_gate_rig_down};
const gi_kind_t gi_kind_far = {"gate, two brokers",
                               GI_BROKER | GI_SERVICE | GI_CLIENT,
                               gi_gate_rig_up, s_make, gi_gate_rig_down};
const gi_kind_t gi_kind_idle = {"gate, idle uplink",
                                GI_BROKER | GI_SERVICE | GI_CLIENT,
                                gi_gate_rig_up, s_make, gi_gate_rig_down};
