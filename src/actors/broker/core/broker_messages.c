/* SPDX-License-Identifier: BSD-3-Clause */
/* broker_messages.c -- messages that wait, what they cost, and who may have how
 * much of the room for them (broker_queue_max_bytes).
 *
 * A message that waits is one block: its small frames' bytes lie in it, so what
 * it weighs is what it takes. Each is in somebody's share, a request in its
 * client's, whoever it waits for. Nobody may have more than what is still free:
 * one alone gets half of the room, two a third each, and whoever comes next
 * always finds some. Nor does whoever has sent more hold up the others: of the
 * calls that wait for a service, clients take turns. */
#include "broker/core/broker_calls.h"
#include "broker/core/broker_peers.h"
#include "broker/core/broker_services.h"

#include <string.h>
#include "base/mem.h"
#include "wire/packed.h"

#define S_LARGE UINT32_MAX  /* in the place of a size */
#define S_SMALL_MAX 8192    /* libzmq receives larger ones by themselves */
#define S_BLOCK 16          /* what the heap adds, about */
#define S_CALLS_LEAST 16384 /* calls under way, however small the room */
#define S_CALL (sizeof(gi_broker_call_t) + S_BLOCK)

/* ---- room ---------------------------------------------------------------- */
/* What is free; SIZE_MAX: nobody has chosen a bound. */
static size_t s_free(const gi_broker_core_t *core) {
    size_t max = (size_t)core->settings->broker_queue_max_bytes;
    size_t used = core->queued_bytes + core->n_calls * S_CALL;
    return max == 0 ? SIZE_MAX : used < max ? max - used : 0;
}

bool gi_broker_has_share(const gi_broker_core_t *core,
                         const gi_broker_peer_t *owner) {
    return owner->weight + owner->n_calls * S_CALL < s_free(core);
}

bool gi_broker_may_refuse(const gi_broker_core_t *core,
                          const gi_broker_peer_t *client) {
    size_t half = (size_t)core->settings->broker_queue_max_bytes / 2;
    return s_free(core) > half && gi_broker_has_share(core, client);
}

/* A quarter of the room in all. */
bool gi_broker_has_place(const gi_broker_core_t *core,
                         const gi_broker_peer_t *client) {
    size_t max = (size_t)core->settings->broker_queue_max_bytes / 4 / S_CALL;
    if (core->settings->broker_queue_max_bytes == 0)
        return true;
    max = max > S_CALLS_LEAST ? max : S_CALLS_LEAST;
    return core->n_calls < max && client->n_calls < max - core->n_calls;
}

/* ---- messages ------------------------------------------------------------ */
static uint32_t *s_sizes(gi_broker_message_t *message) {
    return (uint32_t *)(message->large + message->n_large);
}

static gi_broker_message_t *s_make(const gate_bytes_t *view, unsigned n) {
    size_t kept = 0, elsewhere = 0, n_large = 0;
    for (unsigned i = 0; i < n; i++) {
        bool large = view[i].size > S_SMALL_MAX;
        n_large += large;
        *(large ? &elsewhere : &kept) += view[i].size;
    }
    gi_broker_message_t *message;
    size_t size = sizeof *message + n_large * sizeof(zmq_msg_t) +
                  n * sizeof(uint32_t) + kept;
    message = gi_mem_alloc(size);
    if (message == NULL)
        return NULL;
    gi_list_init(&message->link);
    message->call = NULL;
    message->paced = false;
    message->weight = size + elsewhere + (1 + n_large) * S_BLOCK;
    message->n = n;
    message->n_large = (unsigned)n_large;
    return message;
}

/* What is to lie outside the block is a message of libzmq's, also what came in
 * a packed one larger than ours are. */
static bool s_large_ready(gi_frames_t *frames, const gate_bytes_t *view) {
    for (unsigned i = 0; i < frames->n; i++)
        if (view[i].size > S_SMALL_MAX && !gi_frames_message(frames, i))
            return false;
    return true;
}

static gi_broker_message_t *s_fill(gi_broker_core_t *core, gi_frames_t *out,
                                   gi_broker_peer_t *owner, bool share) {
    const gate_bytes_t *view = gi_frames_views(out);
    gi_broker_message_t *message =
        s_large_ready(out, view) ? s_make(view, out->n) : NULL;
    if (message == NULL)
        return NULL;
    uint32_t *size = s_sizes(message);
    unsigned char *to = (unsigned char *)(size + out->n);
    zmq_msg_t *large = message->large;
    for (unsigned i = 0; i < out->n;
         to += size[i] == S_LARGE ? 0 : size[i], i++) {
        size[i] = view[i].size > S_SMALL_MAX ? S_LARGE : (uint32_t)view[i].size;
        if (size[i] != S_LARGE) {
            if (size[i])
                memcpy(to, view[i].data, size[i]);
            continue;
        }
        zmq_msg_init(large);
        (share ? zmq_msg_copy : zmq_msg_move)(large++, &out->f[i]);
    }
    message->owner = owner;
    owner->weight += message->weight;
    core->queued_bytes += message->weight;
    return message;
}

gi_broker_message_t *gi_broker_message_keep(gi_broker_core_t *core,
                                            gi_frames_t *frames,
                                            gi_broker_peer_t *owner) {
    gi_broker_message_t *message = s_fill(core, frames, owner, false);
    if (message)
        gi_frames_close(frames);
    return message;
}

gi_broker_message_t *gi_broker_message_copy(gi_broker_core_t *core,
                                            gi_broker_peer_t *owner) {
    gi_broker_message_t *message = s_fill(core, &core->out, owner, true);
    core->count.no_memory += message == NULL;
    return message;
}

bool gi_broker_message_open(gi_frames_t *out, gi_broker_message_t *message) {
    const uint32_t *size = s_sizes(message);
    const unsigned char *from = (const unsigned char *)(size + message->n);
    zmq_msg_t *large = message->large;
    for (unsigned i = 0; i < message->n; i++) {
        if (size[i] == S_LARGE) {
            gi_frames_move(out, large++);
            continue;
        }
        if (!gi_frames_add(out, from, size[i]))
            return false;
        from += size[i];
    }
    return true;
}

void gi_broker_message_shut(gi_broker_core_t *core,
                            gi_broker_message_t *message) {
    const uint32_t *size = s_sizes(message);
    zmq_msg_t *large = message->large;
    for (unsigned i = 0; i < core->out.n; i++)
        if (size[i] == S_LARGE)
            zmq_msg_move(large++, &core->out.f[i]);
    gi_frames_close(&core->out);
}

bool gi_broker_message_restore(gi_broker_core_t *core, gi_frames_t *frames,
                               gi_broker_message_t *message) {
    gi_frames_close(frames);
    bool ok = gi_broker_message_open(frames, message);
    if (!ok) {
        gi_frames_close(frames);
        core->count.no_memory++;
    }
    gi_broker_message_free(core, message);
    return ok;
}

void gi_broker_message_free(gi_broker_core_t *core,
                            gi_broker_message_t *message) {
    core->queued_bytes -= message->weight;
    message->owner->weight -= message->weight;
    for (unsigned i = 0; i < message->n_large; i++)
        zmq_msg_close(&message->large[i]);
    gi_mem_free(message);
}

/* ---- batches --------------------------------------------------------------
 * What goes to a peer in one pass goes together, when the peer has sent batches
 * itself. One lasts until the pass ends, so it is no part of the peer's queue;
 * when the peer takes nothing its messages become such a part, each by itself:
 * whoever comes back under the routing id may read no batches. */
#define S_LOADED_MAX 64 /* peers with a batch: 512 KiB; others have none */

static void s_batch_free(gi_broker_core_t *core, gi_broker_peer_t *peer) {
    gi_free_give(&core->memory.batches, peer->batch);
    peer->batch = NULL;
    gi_list_remove(&peer->loaded);
    core->n_loaded--;
}

void gi_broker_batch_drop(gi_broker_core_t *core, gi_broker_peer_t *peer) {
    if (peer->batch)
        s_batch_free(core, peer);
}

/* The call whose request a message to that worker is; NULL: it is none. */
static gi_broker_call_t *s_call_of(gi_broker_core_t *core,
                                   const gi_broker_peer_t *peer) {
    const gate_bytes_t *f = gi_frames_views(&core->load) + 1;
    gi_mdp_worker_t at;
    if (!peer->worker || gi_mdp_parse_broker(f, core->load.n - 1, &at) ||
        at.command != GI_MDP_REQUEST)
        return NULL;
    gi_broker_call_t *call =
        gi_broker_call_find(core, f[at.client_id], f[at.request_id]);
    if (!call)
        call = gi_broker_again_find(core, f[at.client_id], f[at.request_id]);
    return call && call->worker == peer->worker && !call->request ? call : NULL;
}

/* A message of its batch, kept. NULL: no memory. */
static gi_broker_message_t *s_keep_packed(gi_broker_core_t *core,
                                          gi_broker_peer_t *peer,
                                          gate_bytes_t packed) {
    gate_bytes_t f[GI_PACKED_FRAMES_MAX];
    unsigned n = 0, n_outside;
    gi_frames_lent(&core->load, (gate_bytes_t){peer->id, peer->id_size});
    gi_frames_add_const(&core->load, GI_FRAME_EMPTY);
    if (gi_packed_parse(packed, GI_FRAMES_MAX - 2, f, &n, &n_outside))
        n = 0; /* never: we wrote it */
    for (unsigned i = 0; i < n; i++)
        gi_frames_lent(&core->load, f[i]);
    gi_broker_call_t *call = s_call_of(core, peer);
    gi_broker_message_t *message =
        gi_broker_message_keep(core, &core->load, call ? call->client : peer);
    gi_frames_close(&core->load);
    if (message && call) {
        message->call = call;
        call->request = message;
    }
    core->count.no_memory += message == NULL;
    return message;
}

/* Before all that waits, in its order. */
void gi_broker_batch_unload(gi_broker_core_t *core, gi_broker_peer_t *peer) {
    gi_list_t *before = peer->queue.next;
    gi_batch_reader_t reader;
    gate_bytes_t packed;
    if (!peer->batch)
        return;
    gi_batch_read(&reader, gi_batch_frame(peer->batch, false));
    while (gi_batch_left(&reader) && !gi_batch_next(&reader, &packed)) {
        gi_broker_message_t *message = s_keep_packed(core, peer, packed);
        if (!message)
            continue;
        gi_list_append(before, &message->link);
        peer->queued_bytes += message->weight;
        if (peer->n_queued++ == 0)
            gi_list_append(&core->blocked, &peer->ring);
    }
    s_batch_free(core, peer);
}

int gi_broker_batch_flush(gi_broker_core_t *core, gi_broker_peer_t *peer) {
    if (!peer->batch)
        return 0;
    gate_bytes_t frame = gi_batch_frame(peer->batch, true);
    gi_frames_lent(&core->load, (gate_bytes_t){peer->id, peer->id_size});
    gi_frames_lent(&core->load, frame);
    int rc = core->effects->send(core->ctx, peer->socket, &core->load);
    gi_frames_close(&core->load);
    if (rc != 0)
        gi_broker_batch_unload(core, peer);
    else
        s_batch_free(core, peer);
    return rc;
}

/* False: this message goes at once. */
static bool s_batch_begin(gi_broker_core_t *core, gi_broker_peer_t *peer) {
    if (peer->batch)
        return true;
    if (core->n_loaded == S_LOADED_MAX)
        return false;
    peer->batch = gi_free_take(&core->memory.batches);
    if (!peer->batch)
        return false;
    gi_batch_init(peer->batch);
    gi_list_append(&core->loaded, &peer->loaded);
    core->n_loaded++;
    return true;
}

int gi_broker_batch_send(gi_broker_core_t *core, gi_broker_peer_t *peer) {
    bool alone = gi_batch_alone(&peer->gathering, core->pass);
    gi_batch_put_t put = GI_BATCH_ALONE;
    while (!alone || peer->batch) {
        if (!s_batch_begin(core, peer))
            break;
        put = gi_batch_put(peer->batch, gi_frames_views(&core->out) + 2,
                           core->out.n - 2);
        if (put == GI_BATCH_IN) {
            gi_frames_close(&core->out);
            return 0;
        }
        int rc = peer->batch->n ? gi_broker_batch_flush(core, peer) : 0;
        if (rc != 0)
            return rc;
        if (put == GI_BATCH_ALONE)
            break;
    }
    gi_broker_batch_drop(core, peer); /* an empty one */
    return core->effects->send(core->ctx, peer->socket, &core->out);
}

/* ---- the queue ----------------------------------------------------------- */
void gi_broker_message_unqueue(gi_broker_core_t *core, gi_broker_peer_t *peer,
                               gi_broker_message_t *message) {
    (void)core;
    gi_list_remove(&message->link);
    peer->n_queued--;
    peer->queued_bytes -= message->weight;
    if (peer->n_queued == 0)
        gi_list_remove(&peer->ring);
}

/* ---- calls that wait: whose turn ----------------------------------------- */
static gi_fair_t *s_turns(const gi_broker_call_t *call) {
    return call->urgent ? &call->service->urgent : &call->service->waiting;
}

/* First come, first served of each client; what runs again goes first. */
bool gi_broker_waiting_add(gi_broker_call_t *call) {
    if (call->attempt == 1)
        return gi_fair_add(s_turns(call), &call->turn, call->client,
                           call->request->weight);
    gi_list_prepend(&call->service->queue, &call->of_owner);
    return true;
}

void gi_broker_waiting_leave(gi_broker_call_t *call) {
    if (call->turn.lane)
        gi_fair_remove(s_turns(call), &call->turn);
    gi_list_remove(&call->of_owner);
}

void gi_broker_waiting_pay(gi_broker_call_t *call) {
    if (call->turn.lane)
        gi_fair_take(s_turns(call), &call->turn);
}

static gi_broker_call_t *s_call(const gi_fair_item_t *item) {
    return item ? GI_OF((uintptr_t)item, gi_broker_call_t, turn) : NULL;
}

static gi_broker_call_t *s_in_queue(const gi_broker_service_t *service,
                                    const gi_list_t *l) {
    return l == &service->queue
               ? NULL
               : GI_OF((uintptr_t)l, gi_broker_call_t, of_owner);
}

gi_broker_call_t *gi_broker_waiting_next(const gi_broker_service_t *service,
                                         const gi_broker_call_t *call) {
    bool again = !call || !call->turn.lane;
    gi_broker_call_t *next =
        again ? s_in_queue(service,
                           call ? call->of_owner.next : service->queue.next)
              : NULL;
    const gi_fair_item_t *at = again ? NULL : &call->turn;
    if (!next && (again || call->urgent))
        next = s_call(gi_fair_next(&service->urgent, at));
    if (next)
        return next;
    return s_call(
        gi_fair_next(&service->waiting, again || call->urgent ? NULL : at));
}

gi_broker_call_t *gi_broker_waiting_first(gi_broker_service_t *service) {
    gi_broker_call_t *call = s_in_queue(service, service->queue.next);
    if (!call)
        call = s_call(gi_fair_first(&service->urgent));
    return call ? call : s_call(gi_fair_first(&service->waiting));
}
