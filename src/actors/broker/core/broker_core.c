/* SPDX-License-Identifier: BSD-3-Clause */
/* broker_core.c -- the way in: one message, one closed connection or one look
 * at the clock becomes calls of the other broker files.
 *
 * What is found dead while something else is being done (a peer that cannot be
 * reached, its worker, the requests that had not left) is only noted there and
 * dealt with at the end of the event, in settle: no loop over a list ever has
 * the list changed under it. */
#include "broker/core/broker_state.h"
#include <gaterpc/log.h>

#include <string.h>
#include "base/identity.h"
#include "base/mem.h"
#include "broker/core/broker_calls.h"
#include "broker/core/broker_peers.h"
#include "broker/core/broker_services.h"
#include "broker/core/broker_users.h"
#include "broker/core/broker_workers.h"

/* A request gets two frames more on its way to a worker. */
#define S_FRAMES_MAX (GI_FRAMES_MAX - 4)

/* ---- timers -------------------------------------------------------------- */
void gi_broker_arm(gi_broker_core_t *core, gi_broker_timer_t *timer,
                   int64_t due_ms) {
    gi_broker_disarm(core, timer);
    gi_wheel_arm(core->clock.wheel, &timer->timer, due_ms);
}

void gi_broker_disarm(gi_broker_core_t *core, gi_broker_timer_t *timer) {
    if (gi_timer_armed(&timer->timer))
        gi_wheel_cancel(core->clock.wheel, &timer->timer);
}

/* It waited too long; or it, or its answer, was lost on the way; or nobody waits
 * for that answer, and it does not come. */
static void s_call_due(gi_broker_core_t *self, gi_broker_call_t *call) {
    if (call->muted) {
        self->count.abandoned++;
        gi_broker_call_free(self, call);
        return;
    }
    if (call->worker) {
        gi_broker_call_fail(self, call, "WorkerLostError", GI_CALL_SHAKEN);
        return;
    }
    char text[GI_ID_MAX + 64];
    bool full = call->service->n_far > 0 &&
                self->far.ops->full(call, text, sizeof text);
    self->count.queue_timeouts++;
    gi_broker_unqueue(self, call);
    gi_broker_call_fail(self, call, "BusyWorkerError",
                        full ? text : "No idle worker.");
}

static void s_due(gi_broker_core_t *self, gi_broker_timer_t *timer) {
    switch (timer->due) {
    case GI_DUE_CALL:
        s_call_due(self, GI_OF(timer, gi_broker_call_t, deadline));
        break;
    case GI_DUE_BEAT:
        gi_broker_worker_beat(self, GI_OF(timer, gi_broker_worker_t, beat));
        break;
    case GI_DUE_PEER:
        gi_broker_peer_idle(self, GI_OF(timer, gi_broker_peer_t, idle));
        break;
    case GI_DUE_ASK:
        self->auth.ops->due(self, timer);
        break;
    case GI_DUE_SERVICE:
        gi_broker_service_idle(self, GI_OF(timer, gi_broker_service_t, idle));
        break;
    case GI_DUE_EXPECT:
        gi_broker_expect_due(self);
        break;
    case GI_DUE_FAR:
        self->far.ops->due(self);
        break;
    }
}

/* ---- settling ------------------------------------------------------------ */
/* The request never left, so it may go to another worker; unless the one it was
 * meant for has "answered" it all the same. */
static void s_redo(gi_broker_core_t *self, gi_broker_call_t *call) {
    gi_list_remove(&call->of_owner);
    if (call->muted || call->streaming || call->huge) {
        gi_broker_call_fail(self, call, "WorkerLostError",
                            "The worker is lost.");
        return;
    }
    gi_broker_message_t *request = call->request;
    call->request = NULL;
    if (!gi_broker_message_restore(self, &self->out, request)) {
        gi_broker_call_fail(self, call, "MemoryError",
                            "The broker has no memory.");
        return;
    }
    self->count.requeued++;
    gi_broker_dispatch(self, call);
}

void gi_broker_settle(gi_broker_core_t *self) {
    for (;;) {
        if (!gi_list_empty(&self->work.redo))
            s_redo(self,
                   GI_OF(self->work.redo.next, gi_broker_call_t, of_owner));
        else if (!gi_list_empty(&self->work.pumps))
            gi_broker_service_pump(
                self, GI_OF(self->work.pumps.next, gi_broker_service_t, pump));
        else if (!gi_list_empty(&self->work.lost))
            gi_broker_worker_settle(
                self, GI_OF(self->work.lost.next, gi_broker_worker_t, lost));
        else if (!gi_list_empty(&self->work.doomed))
            gi_broker_peer_settle(
                self, GI_OF(self->work.doomed.next, gi_broker_peer_t, doomed));
        else if (!gi_list_empty(&self->work.judged))
            self->auth.ops->go(self);
        else
            return;
    }
}

/* ---- messages at the wrong side ------------------------------------------ */
enum { S_TELL_MS = 60000 }; /* between two lines of the log of one kind */

void gi_broker_tell(gi_broker_core_t *self, gi_broker_tell_t what,
                    const char *text) {
    int64_t *told_ms = &self->told_ms[what];
    if (*told_ms && self->clock.now_ms - *told_ms < S_TELL_MS)
        return;
    *told_ms = self->clock.now_ms;
    gate_log(GATE_WARN, "broker", "%s", text);
}

static void s_refuse_astray(gi_broker_core_t *self, gi_broker_peer_t *peer,
                            const gate_bytes_t *f, size_t n) {
    gi_mdp_request_t at;
    if ((gi_mdp_parse_request(f, n, true, &at) == GATE_OK ||
         gi_mdp_parse_request(f, n, false, &at) == GATE_OK) &&
        f[at.request_id].size <= GI_ID_MAX && gi_broker_may_scold(self, peer))
        gi_broker_refuse(self, peer, f[at.service], f[at.request_id],
                         "AccessDeniedError",
                         "This is a broker's backend: clients connect to its "
                         "frontend.");
}

bool gi_broker_astray(gi_broker_core_t *self, gi_broker_peer_t *peer,
                      gi_frames_t *frames) {
    bool backend = self->sockets[peer->socket].backend;
    if (frames->n < 4 || peer->far ||
        !gi_bytes_is(gi_frames_at(frames, 2),
                     backend ? GI_MDP_CLIENT : GI_MDP_WORKER))
        return false;
    self->count.astray++;
    if (backend) {
        gi_broker_tell(self, GI_TELL_CLIENT,
                       "a client came to a backend: clients connect to a "
                       "frontend of this broker");
        s_refuse_astray(self, peer, gi_frames_views(frames) + 1, frames->n - 1);
    } else {
        gi_broker_tell(self, GI_TELL_SERVICE,
                       "a service came to a frontend: services connect to a "
                       "backend of this broker");
        gi_broker_worker_scold(self, peer);
    }
    return true;
}

/* ---- clients' messages --------------------------------------------------- */
/* wire.md, client to broker: what can still be answered is answered. */
static void s_malformed(gi_broker_core_t *self, gi_broker_peer_t *client,
                        const gate_bytes_t *f, size_t n) {
    self->count.malformed++;
    if (!self->auth.ops && n == 4 && f[0].size == 0 &&
        f[1].size == GI_MDP_TAG_SIZE &&
        memcmp(f[1].data, GI_MDP_CLIENT, GI_MDP_TAG_SIZE) == 0 && f[3].size &&
        f[3].size <= GI_ID_MAX)
        gi_broker_refuse(self, client, f[2], f[3], "ValueError",
                         "The request has no body.");
}

/* id "" MDPC01 service {zap} request_id body -> "" "" MDPW01 02 id ""
 * request_id body in core->out, nothing copied. */
static bool s_compose_request(gi_broker_core_t *self, gi_frames_t *frames,
                              const gi_mdp_request_t *at) {
    gi_frames_t *out = &self->out;
    if (!gi_broker_to_worker(self, (gate_bytes_t){"", 0}, GI_MDP_REQUEST))
        return false;
    gi_frames_pass(out, frames, 0);
    gi_frames_pass(out, frames, 1);
    gi_frames_pass(out, frames, 1 + at->request_id);
    for (unsigned i = 0; i < at->n_body; i++)
        gi_frames_pass(out, frames, 1 + at->body + i);
    return true;
}

static void s_request(gi_broker_core_t *self, gi_broker_peer_t *client,
                      gi_frames_t *frames, const gate_bytes_t *f,
                      const gi_mdp_request_t *at) {
    gate_bytes_t name = f[at->service], id = f[at->request_id];
    self->count.requests++;
    client->n_requests++;
    if (gi_broker_call_find(self, (gate_bytes_t){client->id, client->id_size},
                            id)) {
        self->count.duplicate_ids++;
        return;
    }
    if (self->draining) {
        self->count.draining++;
        gi_broker_refuse(self, client, name, id, "BusyWorkerError",
                         "The broker is draining.");
        return;
    }
    gi_broker_service_t *service = gi_broker_service_find(self, name);
    if (service == NULL && gi_broker_expects(self))
        service = gi_broker_expected(self, name);
    if (service == NULL || ((client->far ? gi_broker_service_local(service)
                                         : service->n_workers) == 0 &&
                            !gi_broker_expects(self))) {
        self->count.unavailable++;
        gi_broker_refuse(self, client, name, id, NULL, NULL);
        return;
    }
    if (service->ruled && !gi_broker_may(self, client, name, id, f[at->body])) {
        gi_broker_seen_refused(self, service, "AccessDeniedError");
        return;
    }
    if (!client->far && !gi_broker_rate(self, client, name, id)) {
        gi_broker_seen_refused(self, service, "BusyWorkerError");
        return;
    }
    if (!gi_broker_has_place(self, client)) {
        self->count.calls_full++;
        gi_broker_seen_refused(self, service, "BusyWorkerError");
        gi_broker_refuse(self, client, name, id, "BusyWorkerError",
                         "Too many calls are under way: of this client, or of "
                         "all (a quarter of broker_queue_max_bytes).");
        return;
    }
    gi_broker_call_t *call = gi_broker_call_new(self, client, service, id);
    if (call) {
        gi_broker_seen_begin(self, call, f[at->body]);
        gi_broker_args_note(call, &f[at->body], at->n_body);
        call->paced = at->n_body <= 3;
    }
    if (call && s_compose_request(self, frames, at)) {
        gi_broker_dispatch(self, call);
        return;
    }
    self->count.no_memory++;
    if (call)
        gi_broker_call_fail(self, call, "MemoryError",
                            "The broker has no memory.");
    else
        gi_broker_refuse(self, client, name, id, "MemoryError",
                         "The broker has no memory.");
}

static void s_gate(gi_broker_core_t *self, gi_broker_peer_t *client,
                   const gate_bytes_t *f, const gi_mdp_request_t *at) {
    const gi_broker_gate_ops_t *gate = self->effects->gate;
    gate_bytes_t name = f[at->service], id = f[at->request_id];
    if (self->users.internal_ruled &&
        !gi_broker_may(self, client, name, id, f[at->body]))
        return;
    if (gate)
        gate->ask(self, client, name, id, &f[at->body], at->n_body);
    else
        gi_broker_refuse(self, client, name, id, NULL, NULL);
    gi_broker_seen_pass(self); /* that may have taken long */
}

static void s_client_message(gi_broker_core_t *self, gi_broker_peer_t *client,
                             gi_frames_t *frames) {
    const gate_bytes_t *f = gi_frames_views(frames) + 1;
    gi_mdp_request_t at;
    if (gi_mdp_parse_request(f, frames->n - 1, self->auth.ops && !client->far,
                             &at) != GATE_OK ||
        f[at.request_id].size > GI_ID_MAX) {
        if (!gi_broker_astray(self, client, frames))
            s_malformed(self, client, f, frames->n - 1);
        return;
    }
    const gate_bytes_t *body = &f[at.body];
    if (at.n_body == 1 && gi_ext_is(body[0]))
        gi_broker_control(self, client, f[at.request_id], body[0]);
    else if (gi_broker_args_is(body, at.n_body))
        gi_broker_args_chunk(self, client, frames, f, &at);
    else if (!client->far && gi_broker_service_reserved(self, f[at.service]))
        s_gate(self, client, f, &at);
    else
        s_request(self, client, frames, f, &at);
}

void gi_broker_admit(gi_broker_core_t *core, gi_broker_peer_t *peer,
                     gi_frames_t *frames) {
    if (core->sockets[peer->socket].backend)
        gi_broker_worker_message(core, peer, frames);
    else
        s_client_message(core, peer, frames);
}

/* ---- events -------------------------------------------------------------- */
static void s_message(gi_broker_core_t *self, unsigned socket,
                      gi_frames_t *frames, int srcfd) {
    gate_bytes_t id = gi_frames_at(frames, 0);
    zmq_msg_t *first = gi_frames_message(frames, 0);
    gi_broker_peer_t *peer =
        first ? gi_broker_peer_heard(self, socket, id) : NULL;
    if (peer == NULL) {
        self->count.peers_refused++;
        return;
    }
    bool moved = gi_broker_peer_moved(self, peer, srcfd, first);
    gi_broker_peer_speaks(self, peer, frames, moved);
    bool ours = peer->asked; /* before, and it asks anew */
    if (moved)
        peer->asked = peer->told = false;
    if (moved && peer->worker)
        gi_broker_worker_moved(self, peer->worker);
    else if (moved)
        gi_broker_stall_torn(self, peer, ours);
    if (self->auth.ops) {
        self->auth.ops->message(self, peer, frames);
        return;
    }
    self->users.current =
        gi_broker_user_share(gi_broker_transport_user(self, peer, first));
    gi_broker_admit(self, peer, frames);
    gi_broker_user_drop(self, self->users.current);
    self->users.current = NULL;
}

void gi_broker_core_verdict(gi_broker_core_t *self, gi_frames_t *frames,
                            int64_t now_ms) {
    gi_broker_seen_time(self, now_ms);
    self->auth.ops->verdict(self, frames);
    gi_frames_close(frames);
    gi_broker_settle(self);
}

void gi_broker_core_message(gi_broker_core_t *self, unsigned socket,
                            gi_frames_t *frames, int srcfd, int64_t now_ms) {
    gi_broker_seen_time(self, now_ms);
    if (frames->n >= 2 && frames->n <= S_FRAMES_MAX &&
        gi_frames_at(frames, 0).size > 0 &&
        gi_frames_at(frames, 0).size <= GI_ID_MAX)
        s_message(self, socket, frames, srcfd);
    else
        self->count.malformed++;
    gi_frames_close(frames);
    gi_frames_close(&self->out);
    gi_broker_settle(self);
}

void gi_broker_core_guarded(gi_broker_core_t *self, uint64_t cut,
                            uint64_t shut) {
    self->count.peers_cut = cut;
    self->count.listeners_shut = shut;
}

void gi_broker_core_lanes(gi_broker_core_t *self, size_t there, uint64_t opened,
                          uint64_t left, uint64_t refused, uint64_t bad) {
    self->n_lanes = there;
    self->count.lanes_opened = opened;
    self->count.lanes_left = left;
    self->count.lanes_refused = refused;
    self->count.lanes_bad = bad;
}

void gi_broker_core_connection_refused(gi_broker_core_t *self) {
    self->count.connections_refused++;
}

void gi_broker_core_handshake_failed(gi_broker_core_t *self) {
    self->count.handshakes_failed++;
}

void gi_broker_core_newcomer(gi_broker_core_t *self, int64_t now_ms) {
    gi_broker_seen_time(self, now_ms);
    for (gi_list_t *l = self->order.next; l != &self->order; l = l->next)
        gi_broker_service_doubt(self, GI_OF(l, gi_broker_service_t, order));
    gi_broker_settle(self);
}

void gi_broker_core_oversized(gi_broker_core_t *self) {
    self->count.malformed++;
}

/* fd numbers are reused, so the event condemns nobody: who has calls here is
 * looked for. */
void gi_broker_core_closed(gi_broker_core_t *self, unsigned socket, int srcfd,
                           int64_t now_ms) {
    gi_broker_socket_t *s = &self->sockets[socket];
    gi_broker_seen_time(self, now_ms);
    if (srcfd < 0 || (size_t)srcfd >= s->n_by_fd || !s->by_fd[srcfd])
        return;
    gi_broker_peer_cut(self, s->by_fd[srcfd]);
    gi_broker_settle(self);
}

/* With a worker there is a timer at least every heartbeat; a longer gap means
 * that this process stood still, and what the peers sent is still unread. */
bool gi_broker_core_tick(gi_broker_core_t *self, int64_t now_ms) {
    bool any = false;
    if (now_ms - self->clock.tick_ms > 2 * self->clock.beat_ms)
        self->clock.awake_ms = now_ms;
    gi_broker_seen_time(self, now_ms);
    self->clock.tick_ms = now_ms;
    for (;;) {
        gi_timer_t *timer = gi_wheel_expire(self->clock.wheel, now_ms);
        if (timer == NULL)
            return any;
        any = true;
        s_due(self, GI_OF(timer, gi_broker_timer_t, timer));
        gi_broker_settle(self);
    }
}

bool gi_broker_core_retry(gi_broker_core_t *self, unsigned max,
                          int64_t now_ms) {
    bool any = false;
    gi_broker_seen_time(self, now_ms);
    gi_broker_seen_pass(self);
    gi_list_t *last = self->blocked.prev; /* once around, no further */
    while (max-- && !gi_list_empty(&self->blocked)) {
        gi_broker_peer_t *peer =
            GI_OF(self->blocked.next, gi_broker_peer_t, ring);
        bool is_last = &peer->ring == last;
        size_t before = peer->n_queued;
        gi_broker_peer_flush(self, peer);
        any |= peer->n_queued != before;
        if (!gi_list_empty(&peer->ring)) {
            gi_list_remove(&peer->ring);
            gi_list_append(&self->blocked, &peer->ring);
        }
        if (is_last)
            break;
    }
    gi_broker_settle(self);
    return any;
}

bool gi_broker_core_flush(gi_broker_core_t *self, int64_t now_ms) {
    unsigned n = self->n_loaded;
    bool any = n > 0;
    self->pass++;
    gi_broker_seen_time(self, now_ms);
    while (n-- && !gi_list_empty(&self->loaded))
        gi_broker_peer_hand(self,
                            GI_OF(self->loaded.next, gi_broker_peer_t, loaded));
    if (any)
        gi_broker_settle(self);
    return any;
}

bool gi_broker_core_blocked(const gi_broker_core_t *self) {
    return !gi_list_empty(&self->blocked);
}

int64_t gi_broker_core_next(const gi_broker_core_t *self) {
    return gi_wheel_next(self->clock.wheel);
}

/* ---- the end ------------------------------------------------------------- */
void gi_broker_core_drain(gi_broker_core_t *self) { self->draining = true; }

size_t gi_broker_core_kept(const gi_broker_core_t *self) {
    return self->queued_bytes;
}

bool gi_broker_core_idle(const gi_broker_core_t *self) {
    return self->n_calls == 0 && self->auth.n_waiting == 0 &&
           gi_list_empty(&self->blocked);
}

void gi_broker_core_stop(gi_broker_core_t *self, int64_t now_ms) {
    gi_broker_seen_time(self, now_ms);
    self->draining = true;
    gi_list_t *l;
    for (l = self->order.next; l != &self->order; l = l->next) {
        gi_broker_service_t *service = GI_OF(l, gi_broker_service_t, order);
        while (!gi_list_empty(&service->workers)) {
            gi_broker_worker_t *worker =
                GI_OF(service->workers.next, gi_broker_worker_t, of_service);
            gi_broker_peer_t *peer = worker->peer;
            gi_broker_worker_lose(self, worker, NULL); /* no news to log */
            worker->why = "the broker stopped";
            gi_broker_worker_disconnect(self, peer);
        }
    }
    if (gi_broker_expects(self)) {
        gi_broker_disarm(self, &self->expect);
        gi_broker_expect_due(self);
    }
    gi_broker_settle(self);
    gi_broker_core_flush(self, now_ms);
}
