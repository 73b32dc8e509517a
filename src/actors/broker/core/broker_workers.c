/* SPDX-License-Identifier: BSD-3-Clause */
/* broker_workers.c -- a worker's life (wire.md, broker and worker).
 *
 *   READY -> registered --silent, closed, DISCONNECT, READY again--> lost
 *                    `--the same, of a plain one--> broker_liveness.c
 *
 * The broker drives the heartbeats: one at once, then one whenever nothing else
 * went to the worker for an interval. A worker is lost in two steps: at once it
 * gets nothing more (lose), after the event its calls are dealt with (settle).
 */
#include "broker/core/broker_workers.h"

#include <gaterpc/log.h>
#include <stdio.h>
#include <string.h>
#include "base/mem.h"
#include "broker/core/broker_calls.h"
#include "broker/core/broker_peers.h"
#include "broker/core/broker_services.h"
#include "broker/core/broker_users.h"

#define S_PART "broker"
#define S_CALLS_MAX 1000000 /* of one worker, whatever it announces */
#define S_READY_MAX 65536
#define S_SCOLD_MAX 4

/* ---- messages to workers ------------------------------------------------- */
bool gi_broker_to_worker(gi_broker_core_t *core, gate_bytes_t id, int command) {
    gi_frames_t *out = &core->out;
    gi_frames_close(out);
    if (!gi_frames_add(out, id.data, id.size))
        return false;
    gi_frames_add_const(out, GI_FRAME_EMPTY);
    gi_frames_add_const(out, GI_FRAME_WORKER_TAG);
    gi_frames_add_const(out, GI_FRAME_COMMAND + (unsigned)command);
    return true;
}

void gi_broker_worker_disconnect(gi_broker_core_t *core,
                                 gi_broker_peer_t *peer) {
    if (gi_broker_to_worker(core, (gate_bytes_t){peer->id, peer->id_size},
                            GI_MDP_DISCONNECT) &&
        gi_broker_peer_send(core, peer, true, NULL) <= GI_QUEUED)
        core->count.disconnects++;
    gi_frames_close(&core->out);
}

/* A few times per heartbeat. */
bool gi_broker_may_scold(gi_broker_core_t *core, gi_broker_peer_t *peer) {
    if (core->clock.now_ms - peer->scolded_ms >= core->clock.beat_ms) {
        peer->scolded_ms = core->clock.now_ms;
        peer->n_scolded = 0;
    }
    if (peer->n_scolded == S_SCOLD_MAX)
        return false;
    peer->n_scolded++;
    return true;
}

/* Whoever is not registered is told so. */
void gi_broker_worker_scold(gi_broker_core_t *core, gi_broker_peer_t *peer) {
    if (gi_broker_may_scold(core, peer))
        gi_broker_worker_disconnect(core, peer);
}

/* ---- registering --------------------------------------------------------- */
/* Whoever registers names has a share of those that are kept: a user, or a
 * connection of nobody's. */
static uint64_t s_maker(const gi_broker_core_t *core,
                        const gi_broker_peer_t *peer) {
    const gi_broker_user_t *user = core->users.current;
    return (user ? user->node.hash : peer->node.hash) | 1;
}

gi_broker_worker_t *
gi_broker_worker_new(gi_broker_core_t *core, gi_broker_peer_t *peer,
                     gate_bytes_t name, gate_bytes_t description, int64_t max) {
    gi_broker_worker_t *worker = gi_mem_calloc(1, sizeof *worker);
    gi_broker_service_t *service =
        worker ? gi_broker_service_make(core, name, description,
                                        s_maker(core, peer))
               : NULL;
    if (service == NULL) {
        gi_mem_free(worker);
        return NULL;
    }
    worker->peer = peer;
    worker->service = service;
    worker->user = gi_broker_user_share(core->users.current);
    worker->max = max < S_CALLS_MAX ? max : S_CALLS_MAX;
    worker->epoch = -1;
    worker->judge_ms = core->clock.now_ms + core->clock.silence_ms;
    worker->beat.due = GI_DUE_BEAT;
    gi_list_init(&worker->place);
    gi_list_init(&worker->calls);
    gi_list_init(&worker->lost);
    gi_list_init(&worker->of_service);
    gi_list_append(&service->workers, &worker->of_service);
    gi_broker_service_unpark(core, service);
    service->n_workers++;
    core->n_workers++;
    peer->worker = worker;
    return worker;
}

static gi_broker_worker_t *s_register(gi_broker_core_t *core,
                                      gi_broker_peer_t *peer,
                                      const gi_mdp_ready_t *ready) {
    gi_broker_far_changed(core);
    return gi_broker_worker_new(core, peer, ready->name, ready->description,
                                ready->max);
}

static void s_reject(gi_broker_core_t *core, gi_broker_peer_t *peer,
                     const char *why) {
    gate_log(GATE_WARN, S_PART, "READY refused: %s", why);
    core->count.workers_rejected++;
    gi_broker_worker_disconnect(core, peer);
}

/* From now on it gets calls. */
static void s_begin(gi_broker_core_t *core, gi_broker_worker_t *worker) {
    if (!gi_timer_armed(&worker->beat.timer))
        gi_broker_arm(core, &worker->beat,
                      core->clock.now_ms + core->clock.beat_ms);
    gi_broker_worker_place(core, worker);
    gi_broker_service_wake(core, worker->service);
}

/* It comes back without a word: the registration that it had. */
static bool s_restore(gi_broker_core_t *core, gi_broker_peer_t *peer) {
    gi_mdp_ready_t ready;
    if (!gi_broker_past_is(core, peer, &ready))
        return false;
    gi_broker_worker_t *worker = s_register(core, peer, &ready);
    if (worker == NULL)
        return false;
    gi_broker_past_forget(core, peer);
    core->count.restored++;
    gate_log(GATE_INFO, S_PART, "a worker of %s is back",
             worker->service->name);
    s_begin(core, worker);
    return true;
}

static void s_ready(gi_broker_core_t *core, gi_broker_peer_t *peer,
                    gate_bytes_t line) {
    gi_mdp_ready_t ready;
    gi_broker_past_forget(core, peer);
    if (peer->worker &&
        (peer->worker->until_ms || gi_broker_peer_closed(core, peer))) {
        gi_broker_worker_lose(core, peer->worker,
                              "its connection was replaced");
    } else if (peer->worker) {
        gi_broker_worker_lose(core, peer->worker, "it sent READY twice");
        s_reject(core, peer, "registered already");
        return;
    }
    if (line.size > S_READY_MAX || memchr(line.data, 0, line.size) ||
        gi_mdp_parse_ready(line, core->settings->message_max, &ready) !=
            GATE_OK ||
        ready.name.size == 0 || ready.name.size > GI_ID_MAX) {
        s_reject(core, peer, "its line is malformed");
        return;
    }
    if (gi_broker_service_reserved(core, ready.name)) {
        s_reject(core, peer, "the name is the broker's own service");
        return;
    }
    gi_broker_worker_t *worker = s_register(core, peer, &ready);
    if (worker == NULL) {
        s_reject(core, peer, "no memory, or too many services");
        return;
    }
    gate_log(GATE_INFO, S_PART, "a worker of %s registered, for %lld calls",
             worker->service->name, (long long)worker->max);
    gi_broker_worker_greet(core, worker);
    if (worker->peer)
        s_begin(core, worker);
}

/* False: it is another life than the one that registered; lost. */
static bool s_same_life(gi_broker_core_t *core, gi_broker_worker_t *worker,
                        int64_t epoch) {
    gi_broker_peer_t *peer = worker->peer;
    if (epoch < 0 || worker->epoch < 0 || epoch == worker->epoch) {
        worker->epoch = epoch < 0 ? worker->epoch : epoch;
        return true;
    }
    core->count.epochs_differ++;
    gi_broker_worker_lose(core, worker, "another life took its identity");
    gi_broker_worker_disconnect(core, peer);
    return false;
}

/* ---- messages from workers ----------------------------------------------- */
/* It could not be told before that nobody waits for them any more. */
static void s_tell_cancelled(gi_broker_core_t *core,
                             gi_broker_worker_t *worker) {
    gi_list_t *l = worker->calls.next, *next;
    for (; worker->peer && l != &worker->calls; l = next) {
        gi_broker_call_t *call = GI_OF(l, gi_broker_call_t, of_owner);
        next = l->next;
        if (call->muted && !call->request)
            gi_broker_call_cancel(core, call);
    }
}

static void s_hello(gi_broker_core_t *core, gi_broker_worker_t *worker,
                    gate_bytes_t frame) {
    gi_ext_t ext;
    if (!gi_ext_is(frame))
        return;
    if (gi_ext_parse(frame, &ext) != GATE_OK) {
        core->count.bad_ext++;
        return;
    }
    if (!s_same_life(core, worker, ext.epoch))
        return;
    bool first = !worker->ext;
    worker->ext = true;
    if (first)
        s_tell_cancelled(core, worker);
    worker->takes_args = ext.huge;
    worker->frame_max = ext.frame_max > 0 ? ext.frame_max : GI_FRAME_DEFAULT;
    if (ext.report.size)
        gi_broker_seen_report(core, worker, ext.report);
    if (ext.drain)
        gi_broker_worker_drain(core, worker);
    if (worker->peer == NULL)
        return;
    gi_broker_far_changed(core);
    gi_broker_again_learn(core, worker, ext.idempotent);
    gi_broker_worker_place(core, worker);
    gi_broker_service_wake(core, worker->service);
}

static void s_registered(gi_broker_core_t *core, gi_broker_worker_t *worker,
                         gi_frames_t *frames, const gate_bytes_t *f,
                         gi_mdp_worker_t *at) {
    if (worker->peer->doubted)
        gi_broker_worker_believe(core, worker);
    if (worker->suspended)
        gi_broker_worker_resume(core, worker);
    if (worker->peer == NULL)
        return;
    switch (at->command) {
    case GI_MDP_REPLY:
        gi_broker_reply(core, worker, frames, f, at);
        break;
    case GI_MDP_EXT:
        gi_broker_args_credit(core, worker, f, at);
        break;
    case GI_MDP_HEARTBEAT:
        gi_broker_worker_beats(core, worker);
        if (at->n_body > 0 && worker->peer)
            s_hello(core, worker, f[at->body]);
        break;
    case GI_MDP_DISCONNECT:
        gi_broker_worker_lose(core, worker, NULL);
        break;
    default:
        core->count.malformed++;
    }
}

/* A worker's identity belongs to whoever registered it. */
static void s_other_user(gi_broker_core_t *core, gi_broker_peer_t *peer) {
    core->count.users_differ++;
    gi_broker_worker_lose(core, peer->worker, "another user took its identity");
    gi_broker_worker_disconnect(core, peer);
}

/* Late answers of who was given up are the strangers that matter. */
static void s_stranger(gi_broker_core_t *core, gi_broker_peer_t *peer,
                       int command) {
    core->count.replies_unknown += command == GI_MDP_REPLY;
    gi_broker_worker_scold(core, peer);
}

void gi_broker_worker_message(gi_broker_core_t *core, gi_broker_peer_t *peer,
                              gi_frames_t *frames) {
    const gate_bytes_t *f = gi_frames_views(frames) + 1;
    gi_mdp_worker_t at;
    if (gi_mdp_parse_worker(f, frames->n - 1, core->auth.ops, &at) != GATE_OK)
        core->count.malformed += !gi_broker_astray(core, peer, frames);
    else if (peer->worker && peer->worker->user != core->users.current)
        s_other_user(core, peer);
    else if (at.command == GI_MDP_READY)
        s_ready(core, peer, f[at.body]);
    else if (at.command == GI_MDP_DISCONNECT && peer->worker == NULL)
        gi_broker_past_forget(core, peer);
    else if (peer->worker || s_restore(core, peer))
        s_registered(core, peer->worker, frames, f, &at);
    else
        s_stranger(core, peer, at.command);
}

/* ---- loss ---------------------------------------------------------------- */
void gi_broker_worker_take_back(gi_broker_core_t *core,
                                gi_broker_worker_t *worker) {
    gi_list_t *l = worker->calls.next, *next;
    for (; l != &worker->calls; l = next) {
        next = l->next;
        gi_broker_call_t *call = GI_OF(l, gi_broker_call_t, of_owner);
        if (call->request == NULL)
            continue;
        gi_broker_message_unqueue(core, worker->peer, call->request);
        call->request->call = NULL;
        call->worker = NULL;
        worker->in_flight--;
        gi_list_remove(&call->of_owner);
        gi_list_append(&core->work.redo, &call->of_owner);
    }
}

/* Behind this heartbeat no request follows, so the worker knows when it may
 * leave. */
bool gi_broker_worker_drain(gi_broker_core_t *core,
                            gi_broker_worker_t *worker) {
    if (!worker->ext || worker->draining)
        return worker->draining;
    worker->draining = true;
    gi_broker_far_changed(core);
    gi_broker_worker_take_back(core, worker);
    gi_broker_worker_place(core, worker); /* nowhere */
    gi_broker_worker_greet(core, worker);
    return true;
}

/* why NULL: it said goodbye. */
void gi_broker_worker_lose(gi_broker_core_t *core, gi_broker_worker_t *worker,
                           const char *why) {
    gi_broker_peer_t *peer = worker->peer;
    if (why) {
        gate_log(GATE_WARN, S_PART, "a worker of %s is lost: %s",
                 worker->service->name, why);
        core->count.workers_lost++;
    }
    gi_broker_worker_take_back(core, worker);
    gi_broker_disarm(core, &worker->beat);
    worker->why = why ? why : "it said goodbye";
    worker->service->left = !why || worker->draining;
    worker->peer = NULL;
    gi_broker_worker_place(core, worker); /* nowhere */
    gi_list_remove(&worker->of_service);
    worker->service->n_workers--;
    if (worker->far)
        worker->service->n_far--;
    else
        gi_broker_far_changed(core);
    core->n_workers--;
    peer->worker = NULL;
    peer->doubted = false; /* the doubt was about it */
    gi_list_append(&core->work.lost, &worker->lost);
}

void gi_broker_worker_settle(gi_broker_core_t *core,
                             gi_broker_worker_t *worker) {
    gi_broker_service_t *service = worker->service;
    char text[GI_ID_MAX + 96];
    gi_list_remove(&worker->lost);
    if (!worker->far || !core->far.ops->text(worker, text, sizeof text))
        snprintf(text, sizeof text, "The worker of service %s is lost: %s.",
                 service->name, worker->why);
    while (!gi_list_empty(&worker->calls)) {
        gi_broker_call_t *call =
            GI_OF(worker->calls.next, gi_broker_call_t, of_owner);
        if (!gi_broker_again(core, call))
            gi_broker_call_fail(core, call, "WorkerLostError", text);
    }
    if (service->n_workers == 0)
        gi_broker_service_empty(core, service);
    else if (gi_broker_service_local(service) == 0)
        core->far.ops->abandon(core, service);
    if (worker->far)
        core->far.ops->free(worker);
    gi_broker_seen_forget(core, worker);
    gi_mem_free(worker->idempotent);
    gi_broker_user_drop(core, worker->user);
    gi_mem_free(worker);
}
