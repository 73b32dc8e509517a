/* SPDX-License-Identifier: BSD-3-Clause */
/* broker_peers.c -- the peers of each socket by routing id, and the bounded
 * queue of each that is full.
 *
 * A message goes to the socket unless something waits already, so that each
 * peer's order is kept. A peer with a queue stands in the ring core->blocked,
 * which gi_broker_core_retry walks; POLLOUT says nothing about one peer. */
#include "broker/core/broker_peers.h"

#include <errno.h>
#include <string.h>
#include "base/mem.h"
#include "broker/core/broker_calls.h"
#include "broker/core/broker_services.h"
#include "broker/core/broker_users.h"
#include "broker/core/broker_workers.h"

static void s_queue_drop(gi_broker_core_t *core, gi_broker_peer_t *peer) {
    while (!gi_list_empty(&peer->queue)) {
        gi_broker_message_t *message =
            GI_OF(peer->queue.next, gi_broker_message_t, link);
        if (message->call)
            message->call->request = NULL;
        gi_broker_message_unqueue(core, peer, message);
        gi_broker_message_free(core, message);
        core->count.dropped_gone++;
    }
}

/* What libzmq may hold for it (below); a little of many is not counted. */
static void s_hand(gi_broker_core_t *core, gi_broker_peer_t *peer,
                   size_t handed) {
    size_t before = gi_broker_peer_handed(peer);
    peer->handed = handed;
    size_t after = gi_broker_peer_handed(peer);
    core->handed += after - before;
    if (after && !before)
        gi_list_append(&core->handing, &peer->handing);
    else if (!after)
        gi_list_remove(&peer->handing);
}

/* ---- the table ----------------------------------------------------------- */
static gi_broker_peer_t *s_find(gi_broker_core_t *core, unsigned socket,
                                uint64_t hash, gate_bytes_t id) {
    gi_node_t *node = gi_table_chain(&core->sockets[socket].peers, hash);
    for (; node; node = node->next) {
        gi_broker_peer_t *peer = GI_OF(node, gi_broker_peer_t, node);
        if (node->hash == hash && peer->id_size == id.size &&
            memcmp(peer->id, id.data, id.size) == 0)
            return peer;
    }
    return NULL;
}

static gi_broker_peer_t *s_new(gi_broker_core_t *core, unsigned socket,
                               uint64_t hash, gate_bytes_t id) {
    if (core->n_peers >= GI_PEERS_MAX)
        return NULL;
    gi_broker_peer_t *peer = gi_free_take(&core->memory.peers);
    if (peer == NULL)
        return NULL;
    memset(peer, 0, offsetof(gi_broker_peer_t, id));
    gi_list_init(&peer->ring);
    gi_list_init(&peer->doomed);
    gi_list_init(&peer->queue);
    gi_list_init(&peer->loaded);
    gi_list_init(&peer->handing);
    gi_list_init(&peer->calls);
    peer->node.hash = hash;
    peer->idle.due = GI_DUE_PEER;
    peer->scolded_ms = peer->since_ms = core->clock.now_ms;
    peer->srcfd = -1;
    peer->socket = (uint8_t)socket;
    peer->far = core->sockets[socket].far;
    peer->id_size = (uint8_t)id.size;
    memcpy(peer->id, id.data, id.size);
    gi_table_insert(&core->sockets[socket].peers, &peer->node);
    core->n_peers++;
    gi_broker_arm(core, &peer->idle,
                  core->clock.now_ms + core->clock.forget_ms);
    return peer;
}

gi_broker_peer_t *gi_broker_peer_find(gi_broker_core_t *core, unsigned socket,
                                      gate_bytes_t id) {
    return s_find(core, socket, gi_table_hash(core->seed, id.data, id.size),
                  id);
}

gi_broker_peer_t *gi_broker_peer_heard(gi_broker_core_t *core, unsigned socket,
                                       gate_bytes_t id) {
    gi_broker_socket_t *s = &core->sockets[socket];
    gi_broker_peer_t *peer = s->last;
    if (peer == NULL || peer->id_size != id.size ||
        memcmp(peer->id, id.data, id.size) != 0) {
        uint64_t hash = gi_table_hash(core->seed, id.data, id.size);
        peer = s_find(core, socket, hash, id);
        if (peer == NULL)
            peer = s_new(core, socket, hash, id);
        if (peer == NULL)
            return NULL;
        s->last = peer;
    }
    peer->seen_ms = core->clock.now_ms;
    peer->away_ms = 0;
    peer->gone = false;
    return peer;
}

static void s_forget_fd(gi_broker_core_t *core, gi_broker_peer_t *peer) {
    gi_broker_socket_t *s = &core->sockets[peer->socket];
    if (peer->srcfd >= 0 && (size_t)peer->srcfd < s->n_by_fd &&
        s->by_fd[peer->srcfd] == peer)
        s->by_fd[peer->srcfd] = NULL;
}

/* What libzmq had for it went with the connection. */
static void s_disconnect(gi_broker_core_t *core, gi_broker_peer_t *peer) {
    s_forget_fd(core, peer);
    peer->srcfd = -1;
    peer->closed = true;
    s_hand(core, peer, 0);
}

static bool s_fd_room(gi_broker_socket_t *s, size_t fd) {
    if (fd < s->n_by_fd)
        return true;
    size_t n = s->n_by_fd ? s->n_by_fd : 64;
    while (n <= fd)
        n *= 2;
    gi_broker_peer_t **by_fd = gi_mem_realloc(s->by_fd, n * sizeof *by_fd);
    if (by_fd == NULL)
        return false;
    memset(by_fd + s->n_by_fd, 0, (n - s->n_by_fd) * sizeof *by_fd);
    s->by_fd = by_fd;
    s->n_by_fd = n;
    return true;
}

static uint64_t s_connection(const gi_broker_core_t *core, int srcfd) {
    return core->effects->connection && srcfd >= 0
               ? core->effects->connection(core->ctx, srcfd)
               : 0;
}

/* Whoever had the descriptor before has lost its connection, even if that was
 * not noticed. */
static void s_take_fd(gi_broker_core_t *core, gi_broker_peer_t *peer) {
    gi_broker_socket_t *s = &core->sockets[peer->socket];
    if (peer->srcfd < 0 || !s_fd_room(s, (size_t)peer->srcfd))
        return;
    gi_broker_peer_t *before = s->by_fd[peer->srcfd];
    s->by_fd[peer->srcfd] = peer;
    if (before) {
        s_disconnect(core, before);
        gi_broker_peer_cut(core, before);
    }
}

bool gi_broker_peer_closed(gi_broker_core_t *core, gi_broker_peer_t *peer) {
    uint64_t now = s_connection(core, peer->srcfd);
    if (peer->srcfd >= 0 && (now == 0 || now != peer->connection))
        s_disconnect(core, peer);
    return peer->closed;
}

/* Another one has its routing id: libzmq hears nothing over it any more, and who
 * is there would learn that by silence alone. It may come back at once. */
static void s_abandon(gi_broker_core_t *core, gi_broker_peer_t *peer) {
    if (peer->srcfd < 0 || gi_broker_peer_closed(core, peer) ||
        !core->effects->shut || !core->effects->shut(core->ctx, peer->srcfd))
        return;
    core->count.workers_robbed += peer->worker != NULL;
}

bool gi_broker_peer_moved(gi_broker_core_t *core, gi_broker_peer_t *peer,
                          int srcfd, zmq_msg_t *frame) {
    if (srcfd == peer->srcfd && !peer->closed &&
        !(peer->worker && gi_broker_worker_replaced(core, peer->worker)))
        return false;
    bool moved = peer->srcfd >= 0 || peer->closed;
    s_abandon(core, peer);
    s_forget_fd(core, peer);
    peer->srcfd = srcfd;
    peer->closed = false;
    s_hand(core, peer, 0); /* libzmq dropped what it had for the other one */
    peer->connection = s_connection(core, srcfd);
    peer->strict =
        core->effects->strict && core->effects->strict(core->ctx, frame);
    s_take_fd(core, peer);
    return moved;
}

void gi_broker_peer_free(gi_broker_core_t *core, gi_broker_peer_t *peer) {
    gi_broker_socket_t *s = &core->sockets[peer->socket];
    (void)gi_broker_batch_flush(core, peer); /* its last words */
    gi_broker_batch_drop(core, peer);
    s_queue_drop(core, peer);
    s_forget_fd(core, peer);
    s_hand(core, peer, 0);
    gi_list_remove(&peer->doomed);
    gi_broker_disarm(core, &peer->idle);
    gi_broker_past_forget(core, peer);
    if (peer->trust)
        core->auth.ops->forget(core, peer);
    gi_broker_user_drop(core, peer->user);
    gi_table_remove(&s->peers, &peer->node);
    if (s->last == peer)
        s->last = NULL;
    core->n_peers--;
    gi_free_give(&core->memory.peers, peer);
}

void gi_broker_peer_speaks(gi_broker_core_t *core, gi_broker_peer_t *peer,
                           const gi_frames_t *frames, bool again) {
    if (again || !frames->packed)
        gi_broker_batch_unload(core, peer);
    peer->packed = frames->packed;
    peer->batches =
        frames->packed && (frames->batched || (peer->batches && !again));
}

void gi_broker_peer_hex(char to[2 * GI_ID_MAX + 1],
                        const gi_broker_peer_t *peer) {
    static const char digits[] = "0123456789abcdef";
    for (size_t i = 0; i < peer->id_size; i++) {
        to[2 * i] = digits[peer->id[i] >> 4];
        to[2 * i + 1] = digits[peer->id[i] & 15];
    }
    to[2 * peer->id_size] = 0;
}

/* ---- the queue ----------------------------------------------------------- */
/* What libzmq keeps of a message, about. */
#define S_HANDED_EACH (8 * sizeof(zmq_msg_t))

/* A quarter of peer_queue_max_bytes may be libzmq's, the rest ours. */
static size_t s_handed_max(const gi_broker_core_t *core) {
    return (size_t)core->settings->peer_queue_max_bytes / 4;
}

static size_t s_queue_max(const gi_broker_core_t *core) {
    return (size_t)core->settings->peer_queue_max_bytes - s_handed_max(core);
}

bool gi_broker_peer_has_room(const gi_broker_core_t *core,
                             const gi_broker_peer_t *peer) {
    const gate_settings_t *s = core->settings;
    return peer->n_queued < (size_t)s->peer_queue_max &&
           peer->queued_bytes < s_queue_max(core);
}

static bool s_reserve(const gi_broker_core_t *core,
                      const gi_broker_peer_t *peer) {
    const gate_settings_t *s = core->settings;
    return peer->n_queued < (size_t)s->peer_queue_max + GI_RESERVE_MESSAGES &&
           peer->queued_bytes < s_queue_max(core) + GI_RESERVE_BYTES;
}

/* ---- what libzmq holds for it -----------------------------------------------
 * It takes messages by their number, however large, and says nothing about one
 * peer. Whoever does not read has a full socket in the kernel, though: what was
 * handed over counts as waiting until that could be written to at two looks
 * with some time between them, in which libzmq would have. All together have an
 * eighth of broker_queue_max_bytes, a peer of it as much as is still free, and
 * a little in any case. */
#define S_HANDED_LOOK_MS 2

static void s_look(gi_broker_core_t *core, gi_broker_peer_t *peer) {
    if (core->clock.now_ms - peer->looked_ms < S_HANDED_LOOK_MS)
        return;
    bool dry = core->effects->writable == NULL ||
               core->effects->writable(core->ctx, peer->srcfd);
    peer->looked_ms = core->clock.now_ms;
    if (dry && peer->dry)
        s_hand(core, peer, 0);
    peer->dry = dry && !peer->dry;
}

/* Of somebody who was sent much and then nothing nobody would look. */
static void s_look_at_another(gi_broker_core_t *core) {
    gi_broker_peer_t *other =
        GI_OF(core->handing.next, gi_broker_peer_t, handing);
    gi_list_remove(&other->handing);
    gi_list_append(&core->handing, &other->handing);
    s_look(core, other);
}

/* 0: nobody has chosen a bound. */
static size_t s_handed_all(const gi_broker_core_t *core) {
    return (size_t)core->settings->broker_queue_max_bytes / 8;
}

static size_t s_handed_share(const gi_broker_core_t *core) {
    size_t max = s_handed_max(core), all = s_handed_all(core);
    size_t left = core->handed < all ? all - core->handed : 0;
    if (all == 0 || left > max)
        return max;
    return left > GI_HANDED_LITTLE ? left : GI_HANDED_LITTLE;
}

static bool s_takes(gi_broker_core_t *core, gi_broker_peer_t *peer) {
    if (core->handed > s_handed_all(core) / 2 && !gi_list_empty(&core->handing))
        s_look_at_another(core);
    size_t max = s_handed_share(core);
    if (peer->handed < max / 2)
        return true;
    s_look(core, peer);
    return peer->handed < max;
}

static int s_send(gi_broker_core_t *core, gi_broker_peer_t *peer) {
    size_t bytes = gi_frames_bytes(&core->out, 1);
    core->out.packed = peer->packed;
    int rc = peer->batches
                 ? gi_broker_batch_send(core, peer)
                 : core->effects->send(core->ctx, peer->socket, &core->out);
    if (rc == 0 && peer->srcfd >= 0)
        s_hand(core, peer, peer->handed + bytes + S_HANDED_EACH);
    return rc;
}

static gi_broker_sent_t s_queue(gi_broker_core_t *core, gi_broker_peer_t *peer,
                                bool reserve, gi_broker_call_t *call) {
    gi_broker_peer_t *owner = call ? call->client : peer;
    bool room = gi_broker_peer_has_room(core, peer) ||
                (reserve && s_reserve(core, peer));
    if (!room || ((call || !reserve) && !gi_broker_has_share(core, owner)))
        return GI_OVERFLOW;
    gi_broker_message_t *message =
        gi_broker_message_keep(core, &core->out, owner);
    if (message == NULL) {
        core->count.no_memory++;
        return GI_OVERFLOW;
    }
    if (call) {
        message->call = call;
        call->request = message;
    }
    gi_list_append(&peer->queue, &message->link);
    peer->queued_bytes += message->weight;
    if (peer->n_queued++ == 0)
        gi_list_append(&core->blocked, &peer->ring);
    if (peer->worker && !gi_broker_peer_has_room(core, peer))
        gi_broker_worker_place(core, peer->worker); /* nowhere, for now */
    return GI_QUEUED;
}

/* ---- pace -----------------------------------------------------------------
 * Python's client reads whatever is there before it looks at any of it, and mixes
 * the items of a stream up when more than the 1,024 of its queue wait (wire.md
 * 3.2). So those of a long one go out in time; when too many wait, as they
 * come. Nothing that such a client does shows how far it has read: libzmq takes
 * 3,000 messages for it, and it speaks once a heartbeat. On a busy machine it
 * takes less, as Python's broker would give it less: twice a busy program's
 * share of the rate, at most all of it. */
#define S_PACED_MAX 15000
#define S_PACE_BURST 100.0

static bool s_paces(const gi_broker_core_t *core,
                    const gi_broker_peer_t *peer) {
    const gate_settings_t *s = core->settings;
    return s->stream_plain_rate > 0 && !peer->away_ms &&
           peer->n_queued <= S_PACED_MAX &&
           s->peer_queue_max >= 2 * S_PACED_MAX &&
           peer->queued_bytes <= s_queue_max(core) / 4;
}

static bool s_may_go(gi_broker_core_t *core, gi_broker_peer_t *peer) {
    double share = core->effects->share ? core->effects->share(core->ctx) : 1;
    double part = share < 0.5 ? 2 * share : 1;
    double burst = S_PACE_BURST * part;
    return gi_bucket_take(&peer->pace,
                          (double)core->settings->stream_plain_rate * part,
                          burst < 2 ? 2 : burst, core->clock.now_ms);
}

int gi_broker_peer_try(gi_broker_core_t *core, gi_broker_peer_t *peer) {
    while (!gi_list_empty(&peer->queue)) {
        gi_broker_message_t *message =
            GI_OF(peer->queue.next, gi_broker_message_t, link);
        if (message->paced && s_paces(core, peer) && !s_may_go(core, peer))
            return EAGAIN;
        int rc = !peer->doubted && s_takes(core, peer) &&
                         gi_broker_message_open(&core->out, message)
                     ? s_send(core, peer)
                     : EAGAIN;
        if (rc != 0) {
            gi_broker_message_shut(core, message);
            return rc;
        }
        if (message->call)
            message->call->request = NULL;
        gi_broker_message_unqueue(core, peer, message);
        gi_broker_message_free(core, message);
    }
    return 0;
}

/* ---- sending ------------------------------------------------------------- */
static void s_unreachable(gi_broker_core_t *core, gi_broker_peer_t *peer) {
    s_disconnect(core, peer);
    if (gi_broker_peer_fleeting(peer) || peer->far)
        gi_broker_peer_gone(core, peer);
    else if (peer->worker)
        gi_broker_worker_unreachable(core, peer->worker);
    else if (!core->sockets[peer->socket].backend)
        gi_broker_peer_away(core, peer);
    else if (peer->past == NULL)
        gi_broker_peer_gone(core, peer);
}

gi_broker_sent_t gi_broker_peer_send(gi_broker_core_t *core,
                                     gi_broker_peer_t *peer, bool reserve,
                                     gi_broker_call_t *call) {
    if (peer->gone)
        return GI_GONE;
    if (peer->n_queued > 0 || peer->doubted || !s_takes(core, peer))
        return s_queue(core, peer, reserve, call);
    switch (s_send(core, peer)) {
    case 0:
        return GI_SENT;
    case EAGAIN:
        return s_queue(core, peer, reserve, call);
    default:
        s_unreachable(core, peer);
        return peer->away_ms ? s_queue(core, peer, reserve, call) : GI_GONE;
    }
}

gi_broker_sent_t gi_broker_peer_pace(gi_broker_core_t *core,
                                     gi_broker_peer_t *peer) {
    if (peer->gone || !s_paces(core, peer) ||
        (peer->n_queued == 0 && s_may_go(core, peer)))
        return gi_broker_peer_send(core, peer, false, NULL);
    gi_broker_sent_t sent = s_queue(core, peer, false, NULL);
    if (sent == GI_QUEUED)
        GI_OF(peer->queue.prev, gi_broker_message_t, link)->paced = true;
    return sent;
}

void gi_broker_peer_flush(gi_broker_core_t *core, gi_broker_peer_t *peer) {
    bool had_room = gi_broker_peer_has_room(core, peer);
    int rc = gi_broker_peer_try(core, peer);
    if (rc != 0 && rc != EAGAIN)
        s_unreachable(core, peer);
    if (peer->worker && !had_room && gi_broker_peer_has_room(core, peer)) {
        gi_broker_worker_place(core, peer->worker);
        gi_broker_service_wake(core, peer->worker->service);
    }
}

void gi_broker_peer_hand(gi_broker_core_t *core, gi_broker_peer_t *peer) {
    int rc = gi_broker_batch_flush(core, peer);
    if (rc != 0 && rc != EAGAIN)
        s_unreachable(core, peer);
}

/* ---- gone ---------------------------------------------------------------- */
void gi_broker_peer_gone(gi_broker_core_t *core, gi_broker_peer_t *peer) {
    peer->gone = true;
    peer->away_ms = 0;
    if (!gi_timer_armed(&peer->idle.timer))
        gi_broker_arm(core, &peer->idle,
                      core->clock.now_ms + core->clock.forget_ms);
    if (gi_list_empty(&peer->doomed))
        gi_list_append(&core->work.doomed, &peer->doomed);
    if (peer->worker)
        gi_broker_worker_lose(core, peer->worker, "its connection is closed");
}

void gi_broker_peer_settle(gi_broker_core_t *core, gi_broker_peer_t *peer) {
    gi_list_remove(&peer->doomed);
    gi_broker_batch_drop(core, peer);
    s_queue_drop(core, peer);
    for (gi_list_t *l = peer->calls.next, *next; l != &peer->calls; l = next) {
        next = l->next;
        gi_broker_call_t *call = GI_OF(l, gi_broker_call_t, of_client);
        if (call->muted)
            continue;
        core->count.orphaned++;
        gi_broker_seen_end(core, call, GI_OUT_ORPHANED, NULL, NULL);
        gi_broker_call_mute(core, call);
    }
    if (peer->n_calls == 0 && peer->worker == NULL)
        gi_broker_peer_free(core, peer);
}

size_t gi_broker_peers_blocked(const gi_broker_core_t *self) {
    size_t n = 0;
    for (gi_list_t *l = self->blocked.next; l != &self->blocked; l = l->next)
        n++;
    return n;
}
