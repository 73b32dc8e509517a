/* SPDX-License-Identifier: BSD-3-Clause */
/* broker_doubt.c -- whether workers are still who they were. Whoever connects
 * under a worker's routing id gets what is sent to it, and the worker's own
 * connection stays open: only that it is not heard any more. Each is asked by a
 * heartbeat, which workers of any kind answer at once, and gets nothing else
 * until it has spoken, as who it is.
 *
 * When it does not, and the kernel says that nothing of what was sent to it has
 * left over the connection that it spoke over, twice in a row (libzmq's thread may
 * have stood still once), the id is another's: that connection is shut down, so
 * that the worker comes back at once, and not after the silence that it bears.
 *
 * A heartbeat asks our own workers something else, too: how far they have read.
 * libzmq and the kernel take megabytes for a worker, first in first out, and a
 * caller of something small would wait behind all of it. So a worker has a window:
 * once half of it is unread it is asked, beyond it calls wait in its service,
 * where clients take turns. The window is twice what one question's time takes
 * at the rate at which it reads, by its fastest answer: so a long way makes it
 * larger, and what piles up does not. Alone, a client has a quarter of what
 * may wait for a peer. */
#include "broker/core/broker_workers.h"

#include <errno.h>
#include "broker/core/broker_peers.h"
#include "broker/core/broker_services.h"

#define S_INSIST_MS 400
#define S_WINDOW_LEAST (512 << 10)
#define S_MIXED_MS 1000 /* since another client had a call there */

/* Not known: -1. */
static int64_t s_carried(gi_broker_core_t *core, const gi_broker_peer_t *peer) {
    return core->effects->carried
               ? core->effects->carried(core->ctx, peer->srcfd)
               : -1;
}

/* 0, or an errno; EAGAIN, ENOMEM: nothing goes to it anyhow. */
static int s_ask(gi_broker_core_t *core, gi_broker_worker_t *worker) {
    gi_broker_peer_t *peer = worker->peer;
    const gi_buf_t *ext = worker->draining ? &core->farewell : &core->hello;
    int64_t carried = s_carried(core, peer);
    int rc = ENOMEM;
    if (gi_broker_to_worker(core, (gate_bytes_t){peer->id, peer->id_size},
                            GI_MDP_HEARTBEAT) &&
        gi_frames_add(&core->out, ext->data, ext->size))
        rc = core->effects->send(core->ctx, peer->socket, &core->out);
    gi_frames_close(&core->out);
    if (rc)
        return rc;
    worker->sent_ms = core->clock.now_ms;
    worker->carried = carried;
    worker->insist_ms = core->clock.now_ms + S_INSIST_MS;
    return 0;
}

static void s_doubt(gi_broker_core_t *core, gi_broker_worker_t *worker) {
    gi_broker_peer_t *peer = worker->peer;
    if (peer->doubted || peer->srcfd < 0 || s_ask(core, worker))
        return;
    peer->doubted = true;
    worker->stood = false;
    gi_broker_worker_place(core, worker); /* nowhere */
    if (worker->insist_ms < worker->beat.timer.due_ms)
        gi_broker_arm(core, &worker->beat, worker->insist_ms);
}

void gi_broker_service_doubt(gi_broker_core_t *core,
                             gi_broker_service_t *service) {
    gi_list_t *l = service->workers.next;
    for (; l != &service->workers; l = l->next)
        s_doubt(core, GI_OF(l, gi_broker_worker_t, of_service));
}

int64_t gi_broker_worker_insist(gi_broker_core_t *core,
                                gi_broker_worker_t *worker) {
    gi_broker_peer_t *peer = worker->peer;
    if (core->clock.now_ms < worker->insist_ms)
        return worker->insist_ms;
    bool stood = worker->carried >= 0 && !gi_broker_peer_closed(core, peer) &&
                 s_carried(core, peer) == worker->carried;
    bool robbed = stood && worker->stood;
    worker->stood = stood;
    worker->insist_ms = core->clock.now_ms + S_INSIST_MS;
    if (!robbed || !core->effects->shut(core->ctx, peer->srcfd)) {
        int rc = s_ask(core, worker);
        if (rc && rc != EAGAIN && rc != ENOMEM) /* nobody is there any more */
            gi_broker_worker_unreachable(core, worker);
        return worker->insist_ms;
    }
    core->count.workers_robbed++;
    if (worker->ext) /* it takes another id; others come back under theirs */
        gi_broker_worker_lose(core, worker, "another took its routing id");
    return worker->insist_ms;
}

void gi_broker_worker_believe(gi_broker_core_t *core,
                              gi_broker_worker_t *worker) {
    worker->peer->doubted = false;
    gi_broker_worker_place(core, worker);
    gi_broker_service_wake(core, worker->service);
}

/* ---- how far it has read ------------------------------------------------- */
bool gi_broker_worker_behind(const gi_broker_worker_t *worker) {
    return worker->unread > 0 && worker->unread >= worker->limit;
}

static int64_t s_most(const gi_broker_core_t *core) {
    int64_t most = core->settings->peer_queue_max_bytes / 4;
    return most > S_WINDOW_LEAST ? most : S_WINDOW_LEAST;
}

static void s_limit(const gi_broker_core_t *core, gi_broker_worker_t *worker) {
    bool mixed = core->clock.now_ms - worker->mixed_ms < S_MIXED_MS;
    int64_t window = worker->window ? worker->window : (int64_t)S_WINDOW_LEAST;
    worker->limit = mixed ? window : s_most(core);
}

static void s_mark(gi_broker_core_t *core, gi_broker_worker_t *worker) {
    if (worker->marked || worker->unread < S_WINDOW_LEAST / 2 || !worker->peer)
        return;
    worker->marked = worker->unread;
    worker->mark_ns = gi_broker_now_ns(core);
    gi_broker_worker_greet(core, worker);
}

void gi_broker_worker_sent(gi_broker_core_t *core, gi_broker_worker_t *worker,
                           const gi_broker_peer_t *client, size_t bytes) {
    if (!worker->ext || worker->far)
        return;
    if (worker->client != client)
        worker->mixed_ms = worker->client ? core->clock.now_ms : 0;
    worker->client = client;
    worker->unread += (int64_t)bytes;
    s_limit(core, worker);
    s_mark(core, worker);
}

static int64_t s_window(const gi_broker_core_t *core,
                        gi_broker_worker_t *worker) {
    int64_t took = gi_broker_now_ns(core) - worker->mark_ns;
    took = took > 1 ? took : 1;
    if (worker->least_ns == 0 || took < worker->least_ns)
        worker->least_ns = took;
    double share = (double)worker->least_ns / (double)took;
    int64_t window = (int64_t)(2 * share * (double)worker->marked);
    if (window > s_most(core))
        window = s_most(core);
    return window > S_WINDOW_LEAST ? window : S_WINDOW_LEAST;
}

void gi_broker_worker_beats(gi_broker_core_t *core,
                            gi_broker_worker_t *worker) {
    if (worker->marked == 0)
        return;
    worker->window = s_window(core, worker);
    worker->unread -= worker->marked;
    worker->marked = 0;
    s_limit(core, worker);
    s_mark(core, worker);
    gi_broker_worker_place(core, worker);
    gi_broker_service_wake(core, worker->service);
}
