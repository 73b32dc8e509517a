/* SPDX-License-Identifier: BSD-3-Clause */
/* broker_valid.c -- the broker's law, and its counters by name. */
#include "broker/core/broker_state.h"

#include <assert.h>
#include <string.h>
#include "broker/core/broker_calls.h"
#include "broker/core/broker_peers.h"
#include "broker/core/broker_services.h"
#include "broker/core/broker_users.h"
#include "broker/core/broker_workers.h"

uint64_t gi_broker_core_count(const gi_broker_core_t *self, const char *name) {
#define GI_C(n, doc)           \
    if (strcmp(name, #n) == 0) \
        return self->count.n;
#include "broker/core/broker_counters.def"
#undef GI_C
    assert(false && "a counter's name");
    return 0;
}

/* ---- the law ------------------------------------------------------------- */
/* What a walk has counted. */
typedef struct s_sum {
    size_t calls, peers, workers, queued, weight, owned, parked, blocked,
        waiting, believed, asking, loaded, handed;
} s_sum_t;

static bool s_peer_valid(const gi_broker_core_t *self,
                         const gi_broker_peer_t *peer, s_sum_t *sum) {
    size_t n = 0, bytes = 0, calls = 0;
    for (gi_list_t *l = peer->queue.next; l != &peer->queue; l = l->next) {
        gi_broker_message_t *m = GI_OF(l, gi_broker_message_t, link);
        if (m->call && (m->call->request != m || m->call->worker == NULL ||
                        m->call->worker->peer != peer))
            return false;
        bytes += m->weight;
        n++;
    }
    for (gi_list_t *l = peer->calls.next; l != &peer->calls; l = l->next) {
        if (GI_OF(l, gi_broker_call_t, of_client)->client != peer)
            return false;
        calls++;
    }
    sum->peers++;
    sum->weight += bytes;
    sum->owned += peer->weight;
    sum->blocked += n > 0;
    sum->loaded += peer->batch != NULL;
    sum->handed += gi_broker_peer_handed(peer);
    return (peer->worker || !peer->doubted) &&
           (peer->trust == NULL ||
            self->auth.ops->valid(peer, &sum->waiting, &sum->believed,
                                  &sum->asking)) &&
           n == peer->n_queued && bytes == peer->queued_bytes &&
           calls == peer->n_calls && gi_list_empty(&peer->doomed) &&
           (n > 0) != gi_list_empty(&peer->ring) &&
           (peer->batch != NULL) != gi_list_empty(&peer->loaded) &&
           (gi_broker_peer_handed(peer) > 0) != gi_list_empty(&peer->handing) &&
           (!peer->batch || (peer->batch->n > 0 && peer->batches)) &&
           gi_timer_armed(&peer->idle.timer) && !(peer->past && peer->worker) &&
           !(peer->away_ms && peer->gone) &&
           (!peer->worker || (peer->worker->peer == peer &&
                              self->sockets[peer->socket].backend));
}

static bool s_running_valid(const gi_broker_call_t *call,
                            const gi_broker_worker_t *worker) {
    bool begun = call->streaming || call->huge;
    return call->worker == worker && !(call->again && (begun || call->muted));
}

static bool s_worker_valid(const gi_broker_core_t *self,
                           const gi_broker_worker_t *worker, s_sum_t *sum) {
    int64_t n = 0;
    gi_list_t *l = worker->calls.next;
    for (; l != &worker->calls; l = l->next, n++) {
        const gi_broker_call_t *call = GI_OF(l, gi_broker_call_t, of_owner);
        if (!s_running_valid(call, worker))
            return false;
        sum->weight += call->again ? call->again->weight : 0;
    }
    sum->workers++;
    sum->calls += (size_t)n;
    bool has_credit = worker->in_flight < worker->max && !worker->draining &&
                      !worker->suspended && !worker->peer->doubted &&
                      gi_broker_peer_has_room(self, worker->peer);
    bool behind = has_credit && gi_broker_worker_behind(worker);
    has_credit &= !behind;
    return n == worker->in_flight && worker->placed == has_credit &&
           worker->behind == behind && (n <= worker->max || worker->far) &&
           (worker->far != NULL) != gi_timer_armed(&worker->beat.timer) &&
           !(worker->suspended && worker->ext) &&
           !(worker->until_ms && !worker->suspended);
}

static bool s_service_valid(const gi_broker_core_t *self,
                            gi_broker_service_t *service, s_sum_t *sum) {
    size_t workers = 0, queued = 0;
    size_t n_far = 0, n_behind = 0;
    bool credit = false, far = false;
    gi_list_t *l;
    for (l = service->workers.next; l != &service->workers; l = l->next) {
        gi_broker_worker_t *worker = GI_OF(l, gi_broker_worker_t, of_service);
        if (worker->service != service || !s_worker_valid(self, worker, sum))
            return false;
        credit |= worker->placed && !worker->far;
        far |= worker->placed && worker->far;
        n_far += worker->far != NULL;
        n_behind += worker->behind;
        workers++;
    }
    gi_broker_call_t *call = NULL;
    while ((call = gi_broker_waiting_next(service, call))) {
        if (!call->queued ||
            (call->attempt == 1) != (call->turn.lane != NULL) || call->worker ||
            !call->request || call->muted || call->again ||
            !gi_timer_armed(&call->deadline.timer))
            return false;
        sum->weight += call->request->weight;
        if (far && !service->n_behind && self->far.ops->pick(service, call))
            return false;
        queued++;
    }
    if (workers == 0)
        sum->parked += gi_broker_service_weight(service);
    sum->queued += queued;
    sum->calls += queued;
    return workers == service->n_workers && queued == service->n_queued &&
           n_far == service->n_far && n_behind == service->n_behind &&
           !(queued && credit) &&
           !(queued && workers == 0 && !gi_broker_expects(self)) &&
           (workers == 0) == gi_timer_armed(&service->idle.timer);
}

bool gi_broker_core_valid(const gi_broker_core_t *self) {
    s_sum_t sum = {0};
    size_t services = 0;
    if (self->out.n || !gi_list_empty(&self->work.redo) ||
        !gi_list_empty(&self->work.lost) ||
        !gi_list_empty(&self->work.doomed) ||
        !gi_list_empty(&self->work.pumps) ||
        !gi_list_empty(&self->work.judged) || self->users.current ||
        self->auth.late.n || (self->far.ops && !self->far.ops->valid(self)))
        return false;
    for (unsigned i = 0; i < self->n_sockets; i++) {
        const gi_table_t *t = &self->sockets[i].peers;
        for (size_t j = 0; j <= t->mask; j++)
            for (gi_node_t *n = t->slots[j]; n; n = n->next)
                if (!s_peer_valid(self, GI_OF(n, gi_broker_peer_t, node), &sum))
                    return false;
    }
    for (gi_list_t *l = self->order.next; l != &self->order; l = l->next) {
        if (!s_service_valid(self, GI_OF(l, gi_broker_service_t, order), &sum))
            return false;
        services++;
    }
    return sum.peers == self->n_peers && sum.calls == self->n_calls &&
           self->calls.n == self->n_calls && sum.workers == self->n_workers &&
           sum.queued == self->n_queued && services == self->n_services &&
           sum.weight + self->auth.waiting_bytes == self->queued_bytes &&
           sum.owned == self->queued_bytes &&
           sum.parked == self->parked_bytes &&
           sum.blocked == gi_broker_peers_blocked(self) &&
           sum.handed == self->handed && sum.loaded == self->n_loaded &&
           self->load.n == 0 && sum.waiting == self->auth.n_waiting &&
           sum.believed == self->auth.n_believed &&
           sum.asking == self->auth.asks.n;
}
