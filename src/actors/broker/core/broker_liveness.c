/* SPDX-License-Identifier: BSD-3-Clause */
/* broker_liveness.c -- whether a peer is still there.
 *
 * A client whose connection closes is looked for: whoever chose its routing id
 * may come back under it without a word, because libzmq mends the connection;
 * an id that the socket made is gone with its connection.
 *
 *   here --closed, unreachable--> away --reached, speaks--> here
 *                                   `--not within the grace--> gone
 *
 * What is sent to it meanwhile waits; when it is gone its calls are cancelled.
 *
 * An extended worker (ours) whose connection closes, or that falls silent, is
 * lost: it registers again by itself. Any other, a Python one above all, never
 * speaks unasked, comes back as clients do, and may end for good when it is
 * told DISCONNECT.
 *
 *   registered --closed, silent--> suspended --too long--> past --> forgotten
 *       ^`----------speaks------------'                      |
 *       `-----------speaks-----------------------------------'
 *
 * Suspended it keeps its calls and gets nothing but heartbeats, which make it
 * speak; past its calls have ended (WorkerLostError) and its registration is
 * restored as it was when it speaks. Nothing is sent to it before: whoever has
 * its id must first have said who it is. */
#include "broker/core/broker_workers.h"

#include <gaterpc/log.h>
#include <errno.h>
#include <string.h>
#include "base/mem.h"
#include "broker/core/broker_calls.h"
#include "broker/core/broker_peers.h"
#include "broker/core/broker_services.h"
#include "broker/core/broker_users.h"

#define S_PART "broker"
#define S_PROBE_MS 10
#define S_PROBE_MAX_MS 250
#define S_FLEETING_SIZE 5 /* a zero byte and a number of libzmq's */
#define S_CLOSED "its connection is closed"

static int64_t s_min(int64_t a, int64_t b) { return a < b ? a : b; }

static int64_t s_max(int64_t a, int64_t b) { return a > b ? a : b; }

/* ---- heartbeats ---------------------------------------------------------- */
static void s_send(gi_broker_core_t *core, gi_broker_peer_t *peer,
                   const gi_buf_t *ext) {
    if (gi_broker_to_worker(core, (gate_bytes_t){peer->id, peer->id_size},
                            GI_MDP_HEARTBEAT) &&
        gi_frames_add(&core->out, ext->data, ext->size))
        gi_broker_peer_send(core, peer, true, NULL);
    gi_frames_close(&core->out);
}

/* With the extension frame that says what we are; Python workers ignore it. */
void gi_broker_worker_greet(gi_broker_core_t *core,
                            gi_broker_worker_t *worker) {
    worker->sent_ms = core->clock.now_ms;
    gi_broker_seen_look_over(core);
    s_send(core, worker->peer,
           worker->draining ? &core->farewell : &core->hello);
}

static void s_heartbeat(gi_broker_core_t *core, gi_broker_worker_t *worker) {
    if (worker->peer->n_queued == 0) {
        gi_broker_worker_greet(core, worker);
        return;
    }
    worker->sent_ms = core->clock.now_ms;
    gi_broker_peer_flush(core, worker->peer);
}

/* ---- the past ------------------------------------------------------------ */
struct gi_broker_past {
    gi_broker_user_t *user;
    int64_t until_ms, max;
    size_t size;
    char name[]; /* its service's */
};

void gi_broker_past_forget(gi_broker_core_t *core, gi_broker_peer_t *peer) {
    if (peer->past == NULL)
        return;
    gi_broker_user_drop(core, peer->past->user);
    gi_mem_free(peer->past);
    peer->past = NULL;
}

static int64_t s_past_beat(const gi_broker_core_t *core,
                           const gi_broker_peer_t *peer) {
    int64_t beat = core->clock.beat_ms;
    return peer->closed && beat > S_PROBE_MAX_MS ? S_PROBE_MAX_MS : beat;
}

/* Without memory it is lost like others. */
static void s_remember(gi_broker_core_t *core,
                       const gi_broker_worker_t *worker) {
    gi_broker_peer_t *peer = worker->peer;
    const gi_broker_service_t *service = worker->service;
    gi_broker_past_t *past = gi_mem_alloc(sizeof *past + service->name_size);
    if (past == NULL) {
        core->count.no_memory++;
        return;
    }
    past->user = gi_broker_user_share(worker->user);
    past->until_ms = core->clock.now_ms + 2 * core->clock.silence_ms;
    past->max = worker->max;
    past->size = service->name_size;
    memcpy(past->name, service->name, service->name_size);
    peer->past = past;
    gi_broker_arm(core, &peer->idle,
                  core->clock.now_ms + s_past_beat(core, peer));
}

void gi_broker_past_due(gi_broker_core_t *core, gi_broker_peer_t *peer) {
    if (core->clock.now_ms >= peer->past->until_ms) {
        gi_broker_past_forget(core, peer);
        gi_broker_peer_idle(core, peer);
        return;
    }
    s_send(core, peer, &core->hello);
    gi_broker_arm(core, &peer->idle,
                  core->clock.now_ms + s_past_beat(core, peer));
}

bool gi_broker_past_is(const gi_broker_core_t *core,
                       const gi_broker_peer_t *peer, gi_mdp_ready_t *ready) {
    const gi_broker_past_t *past = peer->past;
    if (past == NULL || past->user != core->users.current)
        return false;
    *ready = (gi_mdp_ready_t){.name = {past->name, past->size},
                              .description = {"", 0},
                              .max = past->max};
    return true;
}

/* ---- suspension ---------------------------------------------------------- */
/* What was on its way may be lost with the connection: a final message of a
 * muted call, items of a stream, a request, an answer. The last two do not
 * show: such a call ends when a caller of Python's has given up, too. */
static void s_shake(gi_broker_core_t *core, gi_broker_worker_t *worker) {
    gi_list_t *l = worker->calls.next, *next;
    for (; l != &worker->calls; l = next) {
        gi_broker_call_t *call = GI_OF(l, gi_broker_call_t, of_owner);
        next = l->next;
        if (call->muted) {
            gi_broker_call_free(core, call);
        } else if (!call->shaken) {
            call->shaken = true;
            gi_broker_arm(core, &call->deadline,
                          core->clock.now_ms + core->clock.reply_ms);
        }
    }
}

/* Not while another message is being made. */
static void s_end_streams(gi_broker_core_t *core, gi_broker_worker_t *worker) {
    gi_list_t *l = worker->calls.next, *next;
    for (; l != &worker->calls; l = next) {
        gi_broker_call_t *call = GI_OF(l, gi_broker_call_t, of_owner);
        next = l->next;
        if (call->shaken && (call->streaming || call->huge))
            gi_broker_call_fail(core, call, "WorkerLostError",
                                GI_STREAM_SHAKEN);
    }
}

static void s_suspend(gi_broker_core_t *core, gi_broker_worker_t *worker,
                      const char *why) {
    if (worker->suspended)
        return;
    gate_log(GATE_INFO, S_PART, "a worker of %s is suspended: %s",
             worker->service->name, why);
    core->count.suspended++;
    worker->suspended = true;
    gi_broker_worker_take_back(core, worker);
    gi_broker_worker_place(core, worker); /* nowhere */
}

static void s_suspend_closed(gi_broker_core_t *core,
                             gi_broker_worker_t *worker) {
    if (worker->until_ms)
        return;
    worker->until_ms = core->clock.now_ms + gi_broker_peer_grace(core);
    worker->suspect_ms = 0;
    worker->probe_ms = S_PROBE_MS;
    s_suspend(core, worker, S_CLOSED);
    s_shake(core, worker);
    gi_broker_arm(core, &worker->beat, core->clock.now_ms + S_PROBE_MS);
}

void gi_broker_worker_resume(gi_broker_core_t *core,
                             gi_broker_worker_t *worker) {
    s_end_streams(core, worker);
    worker->suspended = false;
    worker->until_ms = worker->suspect_ms = 0;
    gi_broker_worker_place(core, worker);
    gi_broker_service_wake(core, worker->service);
    gi_broker_arm(
        core, &worker->beat,
        s_max(core->clock.now_ms, worker->sent_ms + core->clock.beat_ms));
}

/* A connection that is mended at once may have the descriptor of the one that
 * was cut, and what comes over it is read before the event. Of a plain worker,
 * whose id and calls stay, nothing else shows it. */
bool gi_broker_worker_replaced(const gi_broker_core_t *core,
                               const gi_broker_worker_t *worker) {
    const gi_broker_peer_t *peer = worker->peer;
    if (worker->ext || !peer->connection)
        return false;
    uint64_t now = core->effects->connection(core->ctx, peer->srcfd);
    return now && now != peer->connection; /* 0: its last words */
}

void gi_broker_worker_moved(gi_broker_core_t *core,
                            gi_broker_worker_t *worker) {
    if (worker->ext)
        gi_broker_worker_lose(core, worker, "its connection was replaced");
    else
        s_suspend_closed(core, worker);
}

void gi_broker_worker_unreachable(gi_broker_core_t *core,
                                  gi_broker_worker_t *worker) {
    if (worker->ext)
        gi_broker_peer_gone(core, worker->peer);
    else
        s_suspend_closed(core, worker);
}

/* ---- liveness ------------------------------------------------------------ */
void gi_broker_worker_give_up(gi_broker_core_t *core,
                              gi_broker_worker_t *worker, const char *why) {
    gi_broker_peer_t *peer = worker->peer;
    bool ext = worker->ext;
    if (!ext && !gi_broker_peer_fleeting(peer))
        s_remember(core, worker);
    gi_broker_worker_lose(core, worker, why);
    if (ext)
        gi_broker_worker_disconnect(core, peer);
}

/* A Python broker looks every 3 heartbeats only, from the registration on, so
 * it bears a worker whose loop is busy for up to 6: so do we with one that may
 * be Python's; but it gets nothing new after the usual silence. */
static int64_t s_expiry(gi_broker_core_t *core, gi_broker_worker_t *worker) {
    int64_t silence = core->clock.silence_ms, now = core->clock.now_ms;
    int64_t expiry =
        s_max(worker->peer->seen_ms, core->clock.awake_ms) + silence;
    if (worker->ext)
        return expiry;
    if (now >= expiry)
        s_suspend(core, worker, "it is silent");
    if (now >= worker->judge_ms && expiry > worker->judge_ms)
        worker->judge_ms =
            silence +
            (now - worker->judge_ms < silence ? worker->judge_ms : now);
    return s_max(worker->judge_ms, worker->suspended ? 0 : expiry);
}

/* Lost by now. */
static bool s_silent(gi_broker_core_t *core, gi_broker_worker_t *worker,
                     int64_t expiry_ms) {
    gi_broker_peer_t *peer = worker->peer;
    if (core->clock.now_ms >= expiry_ms) {
        core->count.workers_expired++;
        gi_broker_worker_lose(core, worker, "it fell silent");
        gi_broker_worker_disconnect(core, peer);
    } else if (worker->until_ms && core->clock.now_ms >= worker->until_ms) {
        gi_broker_worker_give_up(core, worker, S_CLOSED);
    }
    return worker->peer == NULL;
}

static int64_t s_probe(gi_broker_core_t *core, gi_broker_worker_t *worker) {
    s_heartbeat(core, worker);
    worker->probe_ms = s_min(2 * worker->probe_ms,
                             worker->until_ms ? S_PROBE_MAX_MS : INT64_MAX);
    int64_t next = core->clock.now_ms + worker->probe_ms;
    if (worker->suspect_ms && next > worker->suspect_ms)
        worker->suspect_ms = 0; /* it was another connection's descriptor */
    return worker->until_ms ? s_min(next, worker->until_ms) : next;
}

/* It may be another connection that had this descriptor, a closed one may still
 * hold unread messages, and libzmq lets go of it a little later: looked at
 * again and again for a heartbeat. */
static void s_worker_cut(gi_broker_core_t *core, gi_broker_worker_t *worker) {
    gi_broker_peer_t *peer = worker->peer;
    bool closed = gi_broker_peer_closed(core, peer);
    if (closed && gi_broker_peer_fleeting(peer)) {
        gi_broker_worker_lose(core, worker, S_CLOSED);
    } else if (closed && !worker->ext) {
        s_suspend_closed(core, worker);
    } else {
        worker->suspect_ms = core->clock.now_ms + core->clock.beat_ms;
        worker->probe_ms = S_PROBE_MS / 2;
        gi_broker_worker_beat(core, worker);
    }
}

void gi_broker_worker_beat(gi_broker_core_t *core, gi_broker_worker_t *worker) {
    gi_broker_peer_t *peer = worker->peer;
    int64_t expiry = s_expiry(core, worker), next = INT64_MAX;
    if (s_silent(core, worker, expiry))
        return;
    s_end_streams(core, worker);
    if (peer->doubted)
        next = gi_broker_worker_insist(core, worker);
    if (worker->peer == NULL)
        return;
    if (worker->suspect_ms && !worker->until_ms && !worker->ext &&
        gi_broker_peer_closed(core, peer)) {
        s_worker_cut(core, worker);
        return;
    }
    if (worker->suspect_ms || worker->until_ms)
        next = s_min(next, s_probe(core, worker));
    else if (core->clock.now_ms - worker->sent_ms >= core->clock.beat_ms)
        s_heartbeat(core, worker);
    if (worker->peer == NULL)
        return;
    next = s_min(next, s_min(expiry, worker->sent_ms + core->clock.beat_ms));
    gi_broker_arm(core, &worker->beat, next);
    gi_broker_relieve(core, worker->service);
}

/* ---- peers that are idle ------------------------------------------------- */
static bool s_has_nothing(const gi_broker_peer_t *peer) {
    return peer->n_calls == 0 && peer->n_queued == 0 && peer->worker == NULL &&
           peer->past == NULL;
}

/* Peers are not told to say goodbye; whoever has been silent for long and has
 * nothing here is forgotten. */
static void s_idle(gi_broker_core_t *core, gi_broker_peer_t *peer) {
    int64_t due = peer->seen_ms + core->clock.forget_ms;
    if (s_has_nothing(peer) && due <= core->clock.now_ms) {
        gi_broker_peer_free(core, peer);
        return;
    }
    if (due <= core->clock.now_ms)
        due = core->clock.now_ms + core->clock.forget_ms;
    gi_broker_arm(core, &peer->idle, due);
}

/* ---- clients that are away ----------------------------------------------- */
bool gi_broker_peer_fleeting(const gi_broker_peer_t *peer) {
    return peer->id_size == S_FLEETING_SIZE && peer->id[0] == 0;
}

int64_t gi_broker_peer_grace(const gi_broker_core_t *core) {
    return core->clock.beat_ms - core->clock.beat_ms / 4;
}

static void s_look_later(gi_broker_core_t *core, gi_broker_peer_t *peer) {
    int64_t now = core->clock.now_ms, due = now + peer->look_ms;
    peer->look_ms = s_min(2 * peer->look_ms, S_PROBE_MAX_MS);
    if (now < peer->away_ms)
        due = s_min(due, peer->away_ms);
    gi_broker_arm(core, &peer->idle, due);
}

void gi_broker_peer_away(gi_broker_core_t *core, gi_broker_peer_t *peer) {
    if (peer->away_ms)
        return;
    peer->away_ms = core->clock.now_ms + gi_broker_peer_grace(core);
    peer->look_ms = S_PROBE_MS;
    gi_broker_batch_unload(core, peer);
    peer->packed = peer->batches = false; /* said on the one that it had */
    s_look_later(core, peer);
}

/* An answer to a request that nobody made: clients ignore it (wire.md 3). */
static int s_ask(gi_broker_core_t *core, gi_broker_peer_t *peer) {
    static const char none[16];
    int rc = ENOMEM;
    if (gi_broker_to_client(core, peer, core->internal,
                            (gate_bytes_t){none, sizeof none}) &&
        gi_frames_add(&core->out, "\xc0", 1)) {
        core->out.packed = peer->packed;
        rc = core->effects->send(core->ctx, peer->socket, &core->out);
    }
    gi_frames_close(&core->out);
    return rc;
}

/* A strict one is reached by its answer alone. */
static bool s_reached(gi_broker_core_t *core, gi_broker_peer_t *peer) {
    int rc = peer->n_queued > 0 ? gi_broker_peer_try(core, peer)
             : peer->strict     ? EHOSTUNREACH
                                : s_ask(core, peer);
    return rc == 0 || rc == EAGAIN;
}

/* It is back, on a connection that is not known before it speaks: looked for
 * once a heartbeat until it does. */
static void s_is_back(gi_broker_core_t *core, gi_broker_peer_t *peer) {
    int64_t next = core->clock.now_ms + core->clock.beat_ms;
    peer->look_ms = S_PROBE_MS;
    peer->away_ms = next + gi_broker_peer_grace(core);
    gi_broker_arm(core, &peer->idle, next);
}

static void s_look(gi_broker_core_t *core, gi_broker_peer_t *peer) {
    bool over = core->clock.now_ms >= peer->away_ms;
    bool closed = gi_broker_peer_closed(core, peer);
    if (closed && s_has_nothing(peer) && !gi_broker_auth_waits(core, peer)) {
        gi_broker_peer_free(core, peer);
    } else if (closed && gi_broker_peer_fleeting(peer)) {
        gi_broker_peer_gone(core, peer);
    } else if (closed && s_reached(core, peer)) {
        s_is_back(core, peer);
    } else if (!over) {
        s_look_later(core, peer);
    } else if (closed && (!peer->strict || peer->n_queued > 0)) {
        gi_broker_peer_gone(core, peer);
    } else { /* it was another one's descriptor; or it answers for itself */
        peer->away_ms = 0;
        s_idle(core, peer);
    }
}

void gi_broker_peer_idle(gi_broker_core_t *core, gi_broker_peer_t *peer) {
    if (peer->past)
        gi_broker_past_due(core, peer);
    else if (peer->away_ms)
        s_look(core, peer);
    else
        s_idle(core, peer);
}

/* ---- a connection is closed ---------------------------------------------- */
void gi_broker_peer_cut(gi_broker_core_t *core, gi_broker_peer_t *peer) {
    bool doomed = !gi_list_empty(&peer->doomed);
    if (peer->worker)
        s_worker_cut(core, peer->worker);
    else if (peer->past)
        gi_broker_peer_closed(core, peer);
    else if (!doomed && s_has_nothing(peer) &&
             !gi_broker_auth_waits(core, peer))
        gi_broker_peer_free(core, peer);
    else if (!doomed && !core->sockets[peer->socket].backend)
        gi_broker_peer_away(core, peer);
}
