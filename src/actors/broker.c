/* SPDX-License-Identifier: BSD-3-Clause */
/* broker.c -- the public face and the actor around the core: two ROUTERs, each
 * bound to any number of endpoints, and a monitor for each.
 *
 * A pass: what waits for full peers, what is due, then a batch from each
 * socket. Sockets are read last, because a send swallows the edge that ZMQ_FD
 * gives for a message come in; after a pass that sent anything there is another
 * one. Law: the core is touched by the actor's thread alone. */
#include <gaterpc/client.h>
#include <gaterpc/log.h>

#include <stdio.h>
#include <string.h>
#include <time.h>
#include <unistd.h>
#include "actor.h"
#include "broker_core.h"
#include "clock.h"
#include "err.h"
#include "identity.h"
#include "lock.h"
#include "mem.h"
#include "registry.h"
#include "runtime.h"
#include "sock.h"

#define S_PART "broker"
#define S_SIDES 2
#define S_ENDPOINT_MAX 256
#define S_CLOSED_MAX 256
#define S_RETRY_MAX 64  /* blocked peers tried per pass */
#define S_RETRY_MS 10   /* while there are any */
#define S_LINGER_MS 200 /* for the last DISCONNECTs */
#define S_MAILBOX 64    /* nobody posts here; commands come by the pipe */
#define S_IDLE_POLL_MS 5
/* A request is two frames longer on its way to a worker. */
#define S_FRAMES_MAX (GI_FRAMES_MAX - 4)

typedef enum s_side_name { S_FRONT, S_BACK } s_side_name_t;

/* Where one side is to be bound, and where it is. */
typedef struct s_endpoint {
    struct s_endpoint *next;
    int listener_fd; /* tcp: a dup of the listening socket; else -1 */
    char asked[S_ENDPOINT_MAX], bound[S_ENDPOINT_MAX];
} s_endpoint_t;

typedef struct s_side {
    gi_sock_t sock;
    unsigned number; /* the core's */
    s_endpoint_t *endpoints;
    int closed[S_CLOSED_MAX]; /* connections that went while messages waited */
    unsigned n_closed;
} s_side_t;

typedef struct s_methods {
    struct s_methods *next;
    const gate_method_t *table;
    void *ctx;
} s_methods_t;

struct gate_broker {
    gate_runtime_t *rt;
    const gate_settings_t *settings;
    s_side_t sides[S_SIDES];
    s_methods_t *methods; /* in order */
    gi_error_t stuck;     /* the setters' first error */
    gi_actor_t *actor;    /* NULL before start and after destroy */
    gi_broker_core_t *core;
    gi_frames_t in; /* the message being received */
    gi_drainable_t drainable;
    gi_lock_t lock;        /* of client alone */
    gate_client_t *client; /* made on first use */
    char inside[64];       /* its endpoint */
    bool inside_bound;     /* the actor's thread only */
};

/* ---- effects
 * ------------------------------------------------------------------- */
static int s_send(void *ctx, unsigned socket, gi_frames_t *frames) {
    gate_broker_t *self = ctx;
    return gi_frames_send(self->sides[socket].sock.raw, frames);
}

static const gi_broker_effects_t s_effects = {s_send};

/* ---- passes
 * --------------------------------------------------------------------- */
/* True: something came. *empty: nothing is left. */
static bool s_drain_side(gate_broker_t *self, s_side_t *side, int64_t now_ms,
                         bool *empty) {
    unsigned max = (unsigned)self->settings->frames_max;
    int64_t n = 0;
    *empty = false;
    for (; n < self->settings->batch_max; n++) {
        int rc = gi_frames_recv(side->sock.raw, &self->in,
                                max < S_FRAMES_MAX ? max : S_FRAMES_MAX);
        if (rc == 0) {
            *empty = true;
            break;
        }
        if (rc < 0)
            gi_broker_core_oversized(self->core);
        else
            gi_broker_core_message(self->core, side->number, &self->in,
                                   gi_frame_srcfd(&self->in.f[0]), now_ms);
    }
    return n > 0;
}

static void s_read_events(s_side_t *side) {
    int event, value;
    while (side->n_closed < S_CLOSED_MAX &&
           gi_sock_event(&side->sock, &event, &value))
        if (event == ZMQ_EVENT_DISCONNECTED)
            side->closed[side->n_closed++] = value;
}

static bool s_side(gate_broker_t *self, s_side_t *side, int64_t now_ms) {
    bool empty;
    s_read_events(side);
    bool any = s_drain_side(self, side, now_ms, &empty);
    if (!empty || side->n_closed == 0)
        return any;
    while (side->n_closed > 0)
        gi_broker_core_closed(self->core, side->number,
                              side->closed[--side->n_closed], now_ms);
    return true;
}

static bool s_work(void *ctx, int64_t now_ms) {
    gate_broker_t *self = ctx;
    bool any = gi_broker_core_retry(self->core, S_RETRY_MAX, now_ms);
    any |= gi_broker_core_tick(self->core, now_ms);
    for (unsigned i = 0; i < S_SIDES; i++)
        any |= s_side(self, &self->sides[i], now_ms);
    return any;
}

static int64_t s_next(void *ctx, int64_t now_ms) {
    gate_broker_t *self = ctx;
    int64_t next = gi_broker_core_next(self->core);
    if (gi_broker_core_blocked(self->core) && next > now_ms + S_RETRY_MS)
        next = now_ms + S_RETRY_MS;
    return next;
}

static size_t s_fds(void *ctx, struct pollfd *out, size_t max) {
    gate_broker_t *self = ctx;
    size_t n = 0;
    for (unsigned i = 0; i < S_SIDES && n + 2 <= max; i++) {
        out[n++] = (struct pollfd){self->sides[i].sock.fd, POLLIN, 0};
        out[n++] = (struct pollfd){self->sides[i].sock.monitor_fd, POLLIN, 0};
    }
    return n;
}

static void s_mail(void *ctx, void **items, size_t n, int64_t now_ms) {
    (void)ctx, (void)items, (void)n, (void)now_ms; /* nobody has the mailbox */
}

/* ---- start and stop, on the actor's thread
 * ----------------------------------------- */
static void s_option(gi_sock_t *sock, int option, int value) {
    zmq_setsockopt(sock->raw, option, &value, sizeof value);
}

static gate_err_t s_bind(s_side_t *side, s_endpoint_t *endpoint) {
    return gi_sock_bind(&side->sock, endpoint->asked, endpoint->bound,
                        sizeof endpoint->bound, &endpoint->listener_fd);
}

/* ROUTER_HANDOVER lets a worker come back under its identity; at the frontend
 * it would let anybody take a client's replies. */
static gate_err_t s_open(gate_broker_t *self, s_side_t *side, bool backend) {
    gate_err_t e = gi_sock_open(&side->sock, ZMQ_ROUTER, (gate_bytes_t){"", 0},
                                self->settings);
    if (!e)
        e = gi_broker_core_socket(self->core, backend, &side->number);
    if (e)
        return e;
    s_option(&side->sock, ZMQ_ROUTER_MANDATORY, 1);
    s_option(&side->sock, ZMQ_ROUTER_HANDOVER, backend);
    e = gi_sock_watch(&side->sock, ZMQ_EVENT_DISCONNECTED);
    for (s_endpoint_t *p = side->endpoints; p && !e; p = p->next)
        e = s_bind(side, p);
    return e;
}

static gate_err_t s_make_core(gate_broker_t *self) {
    char name[32];
    unsigned char id[GI_ID_SIZE];
    gate_err_t e = GATE_OK;
    gi_identity_fresh("gm-", name, sizeof name);
    gi_identity_of(name, id);
    self->core =
        gi_broker_core_new(self->settings, id, &s_effects, self, gi_clock_ms());
    if (self->core == NULL)
        return gi_err(GATE_NOMEM, "no memory for a broker");
    for (s_methods_t *m = self->methods; m && !e; m = m->next)
        e = gi_broker_core_methods(self->core, m->table, m->ctx, self->rt);
    return e;
}

static void s_close(gate_broker_t *self) {
    for (unsigned i = 0; i < S_SIDES; i++) {
        s_side_t *side = &self->sides[i];
        if (side->sock.raw) {
            s_option(&side->sock, ZMQ_LINGER, S_LINGER_MS);
            gi_sock_close(&side->sock);
        }
        for (s_endpoint_t *p = side->endpoints; p; p = p->next) {
            if (p->listener_fd >= 0)
                close(p->listener_fd);
            p->listener_fd = -1;
        }
    }
    gi_frames_close(&self->in);
    gi_broker_core_destroy(&self->core);
}

static gate_err_t s_start(void *ctx) {
    gate_broker_t *self = ctx;
    gate_err_t e = s_make_core(self);
    for (unsigned i = 0; i < S_SIDES && !e; i++)
        e = s_open(self, &self->sides[i], i == S_BACK);
    if (e)
        s_close(self);
    return e;
}

static void s_stop(void *ctx) {
    gate_broker_t *self = ctx;
    gi_broker_core_stop(self->core, gi_clock_ms());
    s_close(self);
}

/* ---- commands
 * ------------------------------------------------------------------------ */
static gate_err_t s_cmd_stats(void *ctx, const char *arg, gi_buf_t *out) {
    (void)arg;
    return gi_broker_core_stats(((gate_broker_t *)ctx)->core, out);
}

static gate_err_t s_cmd_drain(void *ctx, const char *arg, gi_buf_t *out) {
    (void)arg, (void)out;
    gi_broker_core_drain(((gate_broker_t *)ctx)->core);
    return GATE_OK;
}

static gate_err_t s_cmd_idle(void *ctx, const char *arg, gi_buf_t *out) {
    (void)arg;
    bool idle = gi_broker_core_idle(((gate_broker_t *)ctx)->core);
    gi_buf_append(out, idle ? "1" : "0", 1);
    return GATE_OK;
}

static gate_err_t s_cmd_dismiss(void *ctx, const char *arg, gi_buf_t *out) {
    (void)arg, (void)out;
    gi_broker_core_stop(((gate_broker_t *)ctx)->core, gi_clock_ms());
    return GATE_OK;
}

/* The endpoint for calls of the broker itself. */
static gate_err_t s_cmd_inside(void *ctx, const char *arg, gi_buf_t *out) {
    (void)arg, (void)out;
    gate_broker_t *self = ctx;
    char bound[S_ENDPOINT_MAX];
    int listener_fd;
    if (self->inside_bound)
        return GATE_OK;
    gate_err_t e = gi_sock_bind(&self->sides[S_FRONT].sock, self->inside, bound,
                                sizeof bound, &listener_fd);
    self->inside_bound = !e;
    return e;
}

static const gi_command_t s_commands[] = {
    {"STATS", s_cmd_stats},     {"DRAIN", s_cmd_drain},   {"IDLE", s_cmd_idle},
    {"DISMISS", s_cmd_dismiss}, {"INSIDE", s_cmd_inside}, {NULL, NULL},
};

static const gi_actor_ops_t s_ops = {
    .name = "gate-broker",
    .commands = s_commands,
    .start = s_start,
    .stop = s_stop,
    .mail = s_mail,
    .work = s_work,
    .next = s_next,
    .fds = s_fds,
};

/* ---- building one
 * --------------------------------------------------------------------- */
static void s_stick(gate_broker_t *self, gate_err_t e) {
    if (e && !self->stuck.story.code)
        gi_error_set(&self->stuck, gate_error());
}

static bool s_building(gate_broker_t *self, const char *what) {
    if (self->actor)
        s_stick(self, gi_err(GATE_BADARG, "broker: %s after start", what));
    return self->actor == NULL;
}

static void s_add(gate_broker_t *self, s_side_name_t side,
                  const char *endpoint) {
    s_endpoint_t **at = &self->sides[side].endpoints;
    if (endpoint == NULL || strlen(endpoint) >= S_ENDPOINT_MAX) {
        s_stick(self, gi_err(GATE_BADARG,
                             "broker: an endpoint has 1 to %d "
                             "bytes",
                             S_ENDPOINT_MAX - 1));
        return;
    }
    s_endpoint_t *p = gi_mem_calloc(1, sizeof *p);
    if (p == NULL) {
        s_stick(self, gi_err(GATE_NOMEM, "broker: no memory"));
        return;
    }
    p->listener_fd = -1;
    strcpy(p->asked, endpoint);
    while (*at)
        at = &(*at)->next;
    *at = p;
}

static void s_begin_drain(void *ctx);
static bool s_is_idle(void *ctx);

gate_broker_t *gate_broker_new(gate_runtime_t *rt) {
    gate_broker_t *self = gi_mem_calloc(1, sizeof *self);
    if (self == NULL) {
        gi_err(GATE_NOMEM, "no memory for a broker");
        return NULL;
    }
    self->rt = gi_runtime_share(rt);
    self->settings = gi_runtime_settings(rt);
    self->drainable = (gi_drainable_t){
        .self = self, .begin = s_begin_drain, .idle = s_is_idle};
    gi_error_init(&self->stuck);
    gi_lock_init(&self->lock);
    snprintf(self->inside, sizeof self->inside, "inproc://gate-broker-%p",
             (void *)self);
    return self;
}

void gate_broker_bind(gate_broker_t *self, const char *frontend) {
    if (s_building(self, "bind"))
        s_add(self, S_FRONT, frontend);
}

void gate_broker_bind_backend(gate_broker_t *self, const char *backend) {
    if (s_building(self, "bind_backend"))
        s_add(self, S_BACK, backend);
}

void gate_broker_methods(gate_broker_t *self, const gate_method_t *table,
                         void *ctx) {
    s_methods_t **at = &self->methods;
    if (!s_building(self, "methods"))
        return;
    s_methods_t *m = gi_mem_alloc(sizeof *m);
    if (m == NULL) {
        s_stick(self, gi_err(GATE_NOMEM, "broker: no memory"));
        return;
    }
    *m = (s_methods_t){NULL, table, ctx};
    while (*at)
        at = &(*at)->next;
    *at = m;
}

void gate_broker_use_zap(gate_broker_t *self, const char *zap_endpoint,
                         const char *domain) {
    (void)zap_endpoint, (void)domain;
    s_stick(self, gi_err(GATE_NOTIMPL, "broker: in-band authentication is not "
                                       "available in this build"));
}

void gate_broker_curve(gate_broker_t *self, const char *cert_file,
                       const char *allowed_dir) {
    (void)cert_file, (void)allowed_dir;
    s_stick(self, gi_err(GATE_NOTIMPL,
                         "broker: CURVE is not available in this build"));
}

/* ---- life
 * ---------------------------------------------------------------------------------
 */
static gate_err_t s_check(gate_broker_t *self) {
    const gate_settings_t *s = self->settings;
    if (self->actor)
        return gi_err(GATE_CLOSED, "broker: started already");
    if (!self->sides[S_BACK].endpoints && s->worker_addr)
        s_add(self, S_BACK, s->worker_addr);
    if (s->gate_cluster_name)
        gate_log(GATE_WARN, S_PART,
                 "gate_cluster_name = %s: Python's Gate clusters are not "
                 "available in this build; the broker runs on its own",
                 s->gate_cluster_name);
    return gi_error_publish(&self->stuck);
}

/* Calls of this runtime may skip the sockets when both ends are attached here.
 */
static gate_err_t s_register(gate_broker_t *self) {
    gi_registry_t *registry = gi_runtime_registry(self->rt);
    gate_err_t e = gi_registry_endpoint(registry, self->inside, self);
    for (unsigned i = 0; i < S_SIDES; i++)
        for (s_endpoint_t *p = self->sides[i].endpoints; p && !e; p = p->next)
            e = gi_registry_endpoint(registry, p->bound, self);
    return e;
}

static void s_halt(gate_broker_t *self) {
    gi_registry_endpoints_gone(gi_runtime_registry(self->rt), self);
    gi_runtime_remove(self->rt, &self->drainable);
    gi_actor_destroy(&self->actor);
}

gate_err_t gate_broker_start(gate_broker_t *self) {
    gate_err_t e = gate_runtime_start(self->rt);
    if (!e)
        e = s_check(self);
    if (!e)
        e = gi_actor_new(&s_ops, self, S_MAILBOX, &self->actor);
    if (e)
        return e;
    gi_runtime_add(self->rt, &self->drainable);
    e = s_register(self);
    if (e)
        s_halt(self);
    return e;
}

static void s_free_lists(gate_broker_t *self) {
    for (unsigned i = 0; i < S_SIDES; i++) {
        while (self->sides[i].endpoints) {
            s_endpoint_t *next = self->sides[i].endpoints->next;
            gi_mem_free(self->sides[i].endpoints);
            self->sides[i].endpoints = next;
        }
    }
    while (self->methods) {
        s_methods_t *next = self->methods->next;
        gi_mem_free(self->methods);
        self->methods = next;
    }
}

void gate_broker_destroy(gate_broker_t **self_p) {
    gate_broker_t *self = *self_p;
    if (self == NULL)
        return;
    *self_p = NULL;
    gate_client_destroy(&self->client);
    if (self->actor)
        s_halt(self);
    s_free_lists(self);
    gi_error_fini(&self->stuck);
    gi_lock_fini(&self->lock);
    gi_runtime_release(self->rt);
    gi_mem_free(self);
}

/* ---- asking one
 * --------------------------------------------------------------------------------
 */
static const char *s_endpoint(const gate_broker_t *self, s_side_name_t side,
                              size_t i) {
    const s_endpoint_t *p = self->sides[side].endpoints;
    while (p && i-- > 0)
        p = p->next;
    return p && p->bound[0] ? p->bound : NULL;
}

const char *gate_broker_frontend(const gate_broker_t *self, size_t i) {
    return s_endpoint(self, S_FRONT, i);
}

const char *gate_broker_backend(const gate_broker_t *self, size_t i) {
    return s_endpoint(self, S_BACK, i);
}

static gate_client_t *s_new_client(gate_broker_t *self) {
    if (gi_actor_command(self->actor, "INSIDE", NULL, NULL) != GATE_OK)
        return NULL;
    gate_client_t *client = gate_client_new(self->rt);
    if (client && gate_client_connect(client, self->inside) != GATE_OK)
        gate_client_destroy(&client);
    return client;
}

gate_client_t *gate_broker_client(gate_broker_t *self) {
    gi_lock(&self->lock);
    gate_client_t *client = self->client;
    gi_unlock(&self->lock);
    if (client)
        return client;
    client = s_new_client(self);
    gi_lock(&self->lock); /* two may have made one: the first one stays */
    gate_client_t *spare = self->client ? client : NULL;
    if (self->client == NULL)
        self->client = client;
    client = self->client;
    gi_unlock(&self->lock);
    gate_client_destroy(&spare);
    return client;
}

gate_value_t *gate_broker_stats(gate_broker_t *self) {
    gi_buf_t out = {0};
    gate_value_t *value = NULL;
    gate_err_t e = gi_actor_command(self->actor, "STATS", NULL, &out);
    if (!e)
        e = gate_value_decode(out.data, out.size, self->settings, &value);
    gi_buf_fini(&out);
    return e ? NULL : value;
}

/* ---- draining
 * -------------------------------------------------------------------------------------
 */
static void s_begin_drain(void *ctx) {
    gate_broker_t *self = ctx;
    if (gi_actor_command(self->actor, "DRAIN", NULL, NULL) != GATE_OK)
        gate_log(GATE_WARN, S_PART, "cannot drain: %s", gate_error()->text);
}

/* A broker that does not answer has nothing to wait for either. */
static bool s_is_idle(void *ctx) {
    gate_broker_t *self = ctx;
    gi_buf_t out = {0};
    gate_err_t e = gi_actor_command(self->actor, "IDLE", NULL, &out);
    bool idle = e || (out.size && out.data[0] == '1');
    gi_buf_fini(&out);
    return idle;
}

gate_err_t gate_broker_drain(gate_broker_t *self, int64_t timeout_ms) {
    const struct timespec pause = {0, S_IDLE_POLL_MS * 1000000L};
    int64_t end = gi_clock_ms() + timeout_ms;
    gate_err_t e = gi_actor_command(self->actor, "DRAIN", NULL, NULL);
    while (!e && !s_is_idle(self)) {
        if (gi_clock_ms() >= end)
            return gi_err(GATE_TIMEOUT,
                          "broker: calls are still in flight after %lld ms",
                          (long long)timeout_ms);
        nanosleep(&pause, NULL);
    }
    return e ? e : gi_actor_command(self->actor, "DISMISS", NULL, NULL);
}
