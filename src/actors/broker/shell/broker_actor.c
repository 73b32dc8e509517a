/* SPDX-License-Identifier: BSD-3-Clause */
/* broker_actor.c -- the actor around the core: two ROUTERs, each bound to any
 * number of endpoints, and a monitor for each.
 *
 * A pass: what waits for full peers, what is due, then a batch from each
 * socket. Sockets are read last, because a send swallows the edge that ZMQ_FD
 * gives for a message come in; after a pass that sent anything there is another
 * one. */
#include "net/affinity.h"
#include "broker/gate/broker_gate.h"
#include "broker/trust/broker_credentials.h"
#include "broker/shell/broker_impl.h"

#include <errno.h>
#include <gaterpc/log.h>
#include <stdio.h>
#include <poll.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>
#include "sync/clock.h"
#include "base/identity.h"
#include "base/trusted.h"

#define S_RETRY_MAX 64  /* blocked peers tried per pass */
#define S_RETRY_MS 3    /* while there are any */
#define S_NEWCOMER_MS 3 /* it has said nothing yet */
#define S_DOUBT_MS 100  /* between questions to the workers */
#define S_REST_MAX 16   /* times 64 frames: that is no slip */
#define S_ROUND_LOOK 4  /* messages between looks at the clock */
#define S_ROUND_NS 500000
#define S_FRAMES "a message of more frames than frames_max"
#define S_GUARD_SMALL (1 << 20)
#define S_LIGHT (1 << 20) /* bytes that wait: what was freed may go */
#define S_LINGER_MS 1000  /* for the last answers and DISCONNECTs */
#define S_LAST_MS 250     /* for whoever reads that its call has ended */
#define S_HANDSHAKE_FAILED                  \
    (ZMQ_EVENT_HANDSHAKE_FAILED_NO_DETAIL | \
     ZMQ_EVENT_HANDSHAKE_FAILED_PROTOCOL | ZMQ_EVENT_HANDSHAKE_FAILED_AUTH)
/* A request is two frames longer on its way to a worker. */
#define S_FRAMES_MAX (GI_FRAMES_MAX - 4)

/* ---- passes -------------------------------------------------------------- */
/* A round ends when its time is over, too: of messages that cost much (the
 * broker's own functions, long frames) few are read before the other side's
 * turn comes, so that who floods one side does not hold up the other. */
static bool s_round_over(int64_t n, int64_t since_ns) {
    return n % S_ROUND_LOOK == 0 && gi_clock_ns() - since_ns > S_ROUND_NS;
}

/* True: something came. *empty: nothing is left. */
static bool s_drain_side(gate_broker_t *self, gi_broker_side_t *side,
                         int64_t now_ms, bool *empty) {
    unsigned max = (unsigned)self->settings->frames_max;
    int64_t n = 0, since_ns = gi_clock_ns();
    max = max < S_FRAMES_MAX ? max : S_FRAMES_MAX;
    *empty = false;
    for (; n < self->settings->batch_max; n++) {
        if (n && s_round_over(n, since_ns))
            break;
        int rc = gi_sock_recv(&side->sock, &self->in, max);
        if (rc == 0) {
            *empty = true;
            break;
        }
        if (rc == -2) {
            if (side->sock.n_rest == S_REST_MAX)
                gi_guard_cut(&self->guard, side->sock.culprit, S_FRAMES);
            continue;
        }
        int fd = rc < 0 ? -1 : gi_sock_srcfd(&side->sock, &self->in);
        if (rc > 0 && self->rings &&
            gi_broker_rings_heard(self->rings, side->number, fd))
            continue;
        if (rc < 0 || !gi_frames_unpack(&self->in, 1, max)) {
            gi_broker_core_oversized(self->core);
            continue;
        }
        gi_guard_delivered(&self->guard, &self->in, fd);
        gi_broker_core_message(self->core, side->number, &self->in, fd, now_ms);
    }
    return n > 0;
}

/* One too many is shut down: libzmq sees an end and closes it. So is one that
 * was for the broker that has our listeners now. */
static void s_accepted(gate_broker_t *self, gi_broker_side_t *side, int fd) {
    int64_t max = self->settings->connections_max;
    bool many = ++self->n_connections > max && max > 0;
    side->n_open++;
    if (many)
        gi_broker_core_connection_refused(self->core);
    if (many || gi_handover_away(self))
        gi_guard_shut(&self->guard, fd);
}

static void s_read_events(gate_broker_t *self, gi_broker_side_t *side,
                          int64_t now_ms) {
    int event, value;
    while (side->n_closed < GI_BROKER_CLOSED_MAX &&
           gi_sock_event(&side->sock, &event, &value))
        if (event == ZMQ_EVENT_ACCEPTED) {
            gi_guard_accepted(&self->guard, side->number, value, now_ms);
            s_accepted(self, side, value);
        } else if (event == ZMQ_EVENT_ACCEPT_FAILED) {
            gi_guard_refused(&self->guard, value);
        } else if (event == ZMQ_EVENT_HANDSHAKE_SUCCEEDED) {
            if (side == &self->sides[GI_BACK] && !self->newcomer_ms)
                self->newcomer_ms = now_ms + S_NEWCOMER_MS;
        } else if (event & S_HANDSHAKE_FAILED) {
            gi_broker_core_handshake_failed(self->core);
        } else if (event == ZMQ_EVENT_DISCONNECTED) {
            gi_guard_closed(&self->guard, side->number, value);
            side->closed[side->n_closed++] = value;
            side->sock.maybe = true; /* its last messages come first */
            self->n_connections -= self->n_connections > 0;
            side->n_open -= side->n_open > 0;
        }
}

static bool s_side(gate_broker_t *self, gi_broker_side_t *side, int64_t now_ms,
                   bool *all_read) {
    bool empty;
    s_read_events(self, side, now_ms);
    bool any = s_drain_side(self, side, now_ms, &empty);
    gi_broker_core_flush(self->core, now_ms);
    *all_read &= empty;
    if (!empty || side->n_closed == 0)
        return any;
    while (side->n_closed > 0) {
        int fd = side->closed[--side->n_closed];
        if (self->rings)
            gi_broker_rings_closed(self->rings, side->number, fd, now_ms);
        gi_broker_core_closed(self->core, side->number, fd, now_ms);
    }
    return true;
}

static bool s_is_believed(gate_broker_t *self) {
    int fd = gi_frame_srcfd(&self->in.f[0]);
    if (!self->zap_ipc || (fd >= 0 && gi_ipc_peer_is_ours(fd)))
        return true;
    gi_broker_effects_stranger(self);
    gi_frames_close(&self->in);
    return false;
}

/* Whoever is honest says at once who it is. */
static void s_newcomers(gate_broker_t *self, int64_t now_ms) {
    if (!self->newcomer_ms || now_ms < self->newcomer_ms ||
        now_ms < self->doubted_ms + S_DOUBT_MS)
        return;
    self->newcomer_ms = 0;
    if (self->guard.n_silent[GI_BACK] == 0)
        return;
    self->doubted_ms = now_ms;
    gi_broker_core_newcomer(self->core, now_ms);
}

static bool s_verdicts(gate_broker_t *self, int64_t now_ms) {
    int64_t n = 0;
    for (; self->zap_sock.raw && n < self->settings->batch_max; n++) {
        int rc = gi_sock_recv(&self->zap_sock, &self->in, S_FRAMES_MAX);
        if (rc == 0)
            break;
        if (rc > 0 && s_is_believed(self))
            gi_broker_core_verdict(self->core, &self->in, now_ms);
    }
    return n > 0;
}

static void s_tell_idle(gate_broker_t *self) {
    bool idle = gi_broker_core_idle(self->core);
    if (idle && !self->idle)
        gi_news_tell(&self->news);
    self->idle = idle;
}

static bool s_work(void *ctx, int64_t now_ms) {
    gate_broker_t *self = ctx;
    bool any = gi_broker_core_retry(self->core, S_RETRY_MAX, now_ms);
    any |= gi_broker_core_tick(self->core, now_ms);
    any |= s_verdicts(self, now_ms);
    any |= gi_handover_work(self, now_ms);
    s_newcomers(self, now_ms);
    bool all_read = true;
    for (unsigned i = 0; i < GI_BROKER_SIDES; i++)
        any |= s_side(self, &self->sides[i], now_ms, &all_read);
    if (self->rings)
        any |= gi_broker_rings_work(self->rings, now_ms);
    size_t kept = gi_broker_core_kept(self->core);
    gi_guard_look(&self->guard, all_read, kept, now_ms);
    if (kept < S_LIGHT)
        gi_guard_trim(&self->guard, now_ms);
    gi_broker_core_guarded(self->core, self->guard.n_cut, self->guard.n_shut);
    if (self->uplink)
        gi_broker_uplink_work(self->uplink, now_ms);
    any |= gi_broker_core_flush(self->core, now_ms);
    if (self->drained)
        s_tell_idle(self);
    if (self->rings)
        any |= gi_broker_rings_flush(self->rings);
    return any;
}

static int64_t s_next(void *ctx, int64_t now_ms) {
    gate_broker_t *self = ctx;
    int64_t next = gi_broker_core_next(self->core);
    if (gi_broker_core_blocked(self->core) && next > now_ms + S_RETRY_MS)
        next = now_ms + S_RETRY_MS;
    int64_t look = gi_guard_next(&self->guard);
    if (self->newcomer_ms && next > now_ms + S_NEWCOMER_MS)
        next = now_ms + S_NEWCOMER_MS;
    int64_t hand = gi_handover_next(self);
    next = hand < next ? hand : next;
    if (self->uplink) {
        int64_t up = gi_broker_uplink_next(self->uplink, now_ms);
        next = up < next ? up : next;
    }
    if (self->rings) {
        int64_t lane = gi_broker_rings_next(self->rings, now_ms);
        next = lane < next ? lane : next;
    }
    return look < next ? look : next;
}

static void s_fds(void *ctx, gi_polled_t *polled) {
    gate_broker_t *self = ctx;
    for (unsigned i = 0; i < GI_BROKER_SIDES; i++)
        gi_sock_poll(&self->sides[i].sock, polled);
    gi_sock_poll(&self->zap_sock, polled);
    gi_handover_fds(self, polled);
    if (self->rings)
        gi_broker_rings_fds(self->rings, polled);
}

static bool s_calm(void *ctx) {
    gate_broker_t *self = ctx;
    return self->rings && gi_broker_rings_calm(self->rings);
}

static bool s_there(void *ctx) {
    gate_broker_t *self = ctx;
    return gi_broker_rings_there(self->rings);
}

static void s_mail(void *ctx, void **items, size_t n, int64_t now_ms) {
    gate_broker_t *self = ctx; /* the uplink alone has the mailbox */
    if (self->core)
        gi_broker_uplink_mail(self->uplink, items, n, now_ms);
}

/* ---- start and stop, on the actor's thread ------------------------------- */
static void s_option(gi_sock_t *sock, int option, int value) {
    zmq_setsockopt(sock->raw, option, &value, sizeof value);
}

static gate_err_t s_bind(gate_broker_t *self, gi_broker_side_t *side,
                         gi_broker_endpoint_t *endpoint) {
    gate_err_t e;
    do
        e = gi_sock_bind(&side->sock, endpoint->asked, endpoint->bound,
                         sizeof endpoint->bound, &endpoint->listener);
    while (e == GATE_SYSTEM && gi_handover_dies(self));
    if (!e && strncmp(endpoint->asked, "tcp:", 4) == 0)
        gi_guard_listener(&self->guard, endpoint->listener.fd);
    if (!e)
        gi_guard_endpoint(&self->guard, endpoint->bound);
    if (!e && strncmp(endpoint->asked, "ipc:", 4) == 0)
        gi_guard_turns(&self->guard, endpoint->listener.zmq_fd);
    return e;
}

/* ROUTER_HANDOVER lets a worker come back under its identity; at the frontend
 * it would let anybody take a client's replies. */
static gate_err_t s_open(gate_broker_t *self, gi_broker_side_t *side,
                         bool backend) {
    gate_err_t e = gi_sock_open(&side->sock, ZMQ_ROUTER, (gate_bytes_t){"", 0},
                                self->settings);
    if (!e && self->curve_cert)
        e = gi_curve_server(&side->sock, self->curve_cert, self->inside);
    if (!e && self->plain_users)
        e = gi_plain_server(&side->sock, self->inside);
    if (!e)
        e = gi_broker_core_socket(self->core, backend, &side->number);
    if (e)
        return e;
    s_option(&side->sock, ZMQ_ROUTER_MANDATORY, 1);
    s_option(&side->sock, ZMQ_ROUTER_HANDOVER, backend);
    e = gi_sock_watch(&side->sock, ZMQ_EVENT_DISCONNECTED | ZMQ_EVENT_ACCEPTED |
                                       ZMQ_EVENT_ACCEPT_FAILED |
                                       ZMQ_EVENT_HANDSHAKE_SUCCEEDED |
                                       S_HANDSHAKE_FAILED);
    for (gi_broker_endpoint_t *p = side->endpoints; p && !e; p = p->next)
        e = s_bind(self, side, p);
    return e;
}

/* The questions wait in the socket while the service is away: it may come back
 * within zap_reply_timeout. */
static gate_err_t s_open_zap(gate_broker_t *self) {
    unsigned char random[16];
    gi_random(random, sizeof random);
    for (size_t i = 0; i < sizeof random; i++)
        snprintf(self->password + 2 * i, 3, "%02x", random[i]);
    unsigned trusts = self->settings->trust_others ? GI_TRUST_OTHERS : 0;
    self->zap_ipc = !trusts && strncmp(self->zap, "ipc://", 6) == 0;
    gate_err_t e =
        gi_ipc_look("ZAP service", self->zap, trusts, &self->zap_watch);
    if (!e)
        e = gi_sock_open(&self->zap_sock, ZMQ_DEALER, (gate_bytes_t){"", 0},
                         self->settings);
    if (!e)
        e = gi_sock_connect(&self->zap_sock, self->zap);
    return e ? e
             : gi_broker_core_zap(self->core, self->zap_domain, GI_BROKER_SELF,
                                  self->password);
}

static gate_err_t s_make_core(gate_broker_t *self) {
    char name[32];
    unsigned char id[GI_ID_SIZE];
    gate_err_t e = GATE_OK;
    self->rings = gi_broker_rings_new(self);
    gi_identity_fresh("gm-", name, sizeof name);
    gi_identity_of(name, id);
    self->core = gi_broker_core_new(
        self->settings, id, gi_broker_effects_of(self), self, gi_clock_ms());
    if (self->core == NULL)
        return gi_err(GATE_NOMEM, "no memory for a broker");
    gi_broker_core_access(self->core, gi_runtime_access(self->rt));
    if (self->zap)
        e = s_open_zap(self);
    for (gi_broker_methods_t *m = self->methods; m && !e; m = m->next)
        e = gi_broker_core_methods(self->core, m->table, m->ctx, self->rt);
    return e;
}

/* The file of an ipc socket is ours while we are bound, so it goes before the
 * socket does; unless another broker has that. */
static void s_remove_file(const gi_broker_endpoint_t *endpoint) {
    const char *path = gi_ipc_path(endpoint->bound);
    if (path)
        gi_ipc_remove(path, &endpoint->listener.file);
}

static void s_close(gate_broker_t *self) {
    bool shared = gi_handover_shared(self);
    gi_broker_rings_destroy(&self->rings);
    gi_handover_close(self);
    for (unsigned i = 0; i < GI_BROKER_SIDES; i++) {
        gi_broker_side_t *side = &self->sides[i];
        for (gi_broker_endpoint_t *p = side->endpoints; p && !shared;
             p = p->next)
            s_remove_file(p);
        if (side->sock.raw) {
            /* libzmq frees an inproc name only some time after the close */
            for (gi_broker_endpoint_t *p = side->endpoints; p; p = p->next)
                if (strncmp(p->bound, "inproc:", 7) == 0)
                    zmq_unbind(side->sock.raw, p->bound);
            s_option(&side->sock, ZMQ_LINGER, S_LINGER_MS);
            gi_sock_close(&side->sock);
        }
        for (gi_broker_endpoint_t *p = side->endpoints; p; p = p->next)
            gi_listener_close(&p->listener);
    }
    gi_guard_fini(&self->guard);
    gi_frames_close(&self->in);
    gi_broker_core_destroy(&self->core);
    gi_sock_close(&self->zap_sock);
    gi_authority_leave(&self->authority);
}

static gate_err_t s_trust(gate_broker_t *self) {
    if (!self->curve_cert && !self->plain_users)
        return GATE_OK;
    gi_authority_wish_t wish = {
        .domain = self->inside,
        .users_domain = self->zap_domain ? self->zap_domain
                                         : self->settings->zap_default_domain,
        .keys = self->curve_cert ? self->curve_allowed : NULL,
        .users = self->plain_users,
        .trusts = self->settings->trust_others ? GI_TRUST_OTHERS : 0};
    return gi_authority_join(&wish, &self->authority);
}

static gate_err_t s_start(void *ctx) {
    gate_broker_t *self = ctx;
    self->start_ms = gi_clock_ms();
    gi_affinity_actor(self->settings);
    gi_actor_busy_poll(self->actor, self->settings->busy_poll_us);
    gate_err_t e = s_trust(self);
    gi_guard_bounds_t bounds = {self->settings->message_bytes_max,
                                self->settings->broker_queue_max_bytes,
                                S_GUARD_SMALL};
    gi_guard_init(&self->guard, self->settings, "broker", bounds,
                  self->curve_cert != NULL, gi_clock_ms());
    if (!e)
        e = s_make_core(self);
    if (!e)
        e = gi_handover_ask(self);
    if (!e)
        e = gi_inherit_listeners(self);
    for (unsigned i = 0; i < GI_BROKER_SIDES && !e; i++)
        e = s_open(self, &self->sides[i], i == GI_BACK);
    if (!e)
        e = gi_guard_room(&self->guard);
    if (!e && self->uplink)
        e = gi_broker_uplink_join(self->uplink, self->core);
    if (!e)
        e = gi_handover_take(self);
    if (e)
        s_close(self);
    return e;
}

/* With ZMQ_IMMEDIATE, as our own peers have it, libzmq throws away what has come
 * and is not read yet when the connection ends: a last word is given time. */
static void s_stop(void *ctx) {
    gate_broker_t *self = ctx;
    bool told = !gi_broker_core_idle(self->core);
    gi_broker_core_stop(self->core, gi_clock_ms());
    if (told)
        poll(NULL, 0, S_LAST_MS);
    s_close(self);
    gi_news_tell(&self->news);
}

/* ---- commands ------------------------------------------------------------ */
static gate_err_t s_cmd_stats(void *ctx, const char *arg, gi_buf_t *out) {
    (void)arg;
    return gi_broker_core_stats(((gate_broker_t *)ctx)->core, out);
}

static gate_err_t s_cmd_observe(void *ctx, const char *arg, gi_buf_t *out) {
    (void)arg;
    return gi_broker_core_observe(((gate_broker_t *)ctx)->core, out);
}

static gate_err_t s_cmd_rules(void *ctx, const char *arg, gi_buf_t *out) {
    gate_broker_t *self = ctx;
    (void)arg, (void)out;
    gi_broker_core_access(self->core, gi_runtime_access(self->rt));
    return GATE_OK;
}

static gate_err_t s_cmd_drain(void *ctx, const char *arg, gi_buf_t *out) {
    gate_broker_t *self = ctx;
    (void)arg, (void)out;
    gi_broker_core_drain(self->core);
    self->drained = true;
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
    char bound[GI_BROKER_ENDPOINT_MAX];
    gi_listener_t none = GI_LISTENER_NONE;
    if (self->inside_bound)
        return GATE_OK;
    gate_err_t e = gi_sock_bind(&self->sides[GI_FRONT].sock, self->inside,
                                bound, sizeof bound, &none);
    self->inside_bound = !e;
    return e;
}

static const gi_command_t s_commands[] = {
    {"RULES", s_cmd_rules},     {"STATS", s_cmd_stats},
    {"OBSERVE", s_cmd_observe}, {"DRAIN", s_cmd_drain},
    {"IDLE", s_cmd_idle},       {"DISMISS", s_cmd_dismiss},
    {"INSIDE", s_cmd_inside},   {NULL, NULL},
};

const gi_actor_ops_t gi_broker_actor_ops = {
    .name = "gate-broker",
    .commands = s_commands,
    .start = s_start,
    .stop = s_stop,
    .mail = s_mail,
    .work = s_work,
    .next = s_next,
    .fds = s_fds,
    .calm = s_calm,
    .there = s_there,
};
