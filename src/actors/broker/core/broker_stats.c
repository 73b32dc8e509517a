/* SPDX-License-Identifier: BSD-3-Clause */
/* broker_stats.c -- what the broker can tell of itself, and its law. */
#include "broker/core/broker_state.h"

#include <assert.h>
#include <string.h>
#include "base/utf8.h"
#include "broker/core/broker_calls.h"
#include "broker/core/broker_users.h"
#include "broker/core/broker_far.h"
#include "broker/core/broker_peers.h"
#include "broker/core/broker_services.h"
#include "broker/core/broker_workers.h"

/* ---- numbers ------------------------------------------------------------- */
static void s_key(msgpack_packer *pk, const char *key) {
    size_t n = strlen(key);
    msgpack_pack_str(pk, n);
    msgpack_pack_str_body(pk, key, n);
}

static void s_number(msgpack_packer *pk, const char *key, uint64_t value) {
    s_key(pk, key);
    msgpack_pack_uint64(pk, value);
}

int64_t gi_broker_service_credit(const gi_broker_service_t *service) {
    int64_t credit = 0;
    const gi_list_t *l = service->workers.next;
    for (; l != &service->workers; l = l->next) {
        const gi_broker_worker_t *worker =
            GI_OF((uintptr_t)l, gi_broker_worker_t, of_service);
        if (!worker->draining && !worker->suspended && !worker->peer->doubted &&
            worker->max > worker->in_flight &&
            worker->max - worker->in_flight < INT64_MAX - credit)
            credit += worker->max - worker->in_flight;
    }
    return credit;
}

static int64_t s_since(const gi_broker_core_t *self, int64_t queued_ms) {
    return self->clock.now_ms - queued_ms;
}

/* Of those that take turns, the one that has waited longest is the first of its
 * client's. */
static int64_t s_oldest_turn(const gi_broker_core_t *self,
                             const gi_fair_t *turns) {
    int64_t oldest = 0;
    for (gi_fair_item_t *at = NULL; (at = gi_fair_next_lane(turns, at));) {
        int64_t waited =
            s_since(self, GI_OF(at, gi_broker_call_t, turn)->queued_ms);
        oldest = waited > oldest ? waited : oldest;
    }
    return oldest;
}

static int64_t s_oldest(const gi_broker_core_t *self,
                        const gi_broker_service_t *service) {
    int64_t oldest = s_oldest_turn(self, &service->urgent);
    int64_t other = s_oldest_turn(self, &service->waiting);
    oldest = other > oldest ? other : oldest;
    for (const gi_list_t *l = service->queue.next; l != &service->queue;
         l = l->next) {
        other = s_since(
            self, GI_OF((uintptr_t)l, gi_broker_call_t, of_owner)->queued_ms);
        oldest = other > oldest ? other : oldest;
    }
    return oldest;
}

static void s_numbers(const gi_broker_core_t *self, msgpack_packer *pk,
                      const gi_broker_service_t *service) {
    int64_t oldest = s_oldest(self, service);
    s_number(pk, "workers", service->n_workers);
    s_number(pk, "far", service->n_far);
    s_number(pk, "credit", (uint64_t)gi_broker_service_credit(service));
    s_number(pk, "queued", service->n_queued);
    s_number(pk, "oldest_ms", oldest > 0 ? (uint64_t)oldest : 0);
    s_number(pk, "calls", service->n_calls);
    s_number(pk, "errors",
             service->tally ? gi_tally_errors(service->tally) : 0);
}
#define S_NUMBERS 7

static size_t s_blocked(const gi_broker_core_t *self) {
    size_t n = 0;
    for (gi_list_t *l = self->blocked.next; l != &self->blocked; l = l->next)
        n++;
    return n;
}

enum {
    S_COUNTERS = 0
#define GI_C(name, doc) +1
#include "broker/core/broker_counters.def"
#undef GI_C
};

/* All counters, with the gauges before them. */
static void s_counters(const gi_broker_core_t *self, msgpack_packer *pk) {
    const gi_broker_counters_t *c = &self->count;
    s_number(pk, "peers", self->n_peers);
    s_number(pk, "workers", self->n_workers);
    s_number(pk, "in_flight", self->n_calls - self->n_queued);
    s_number(pk, "queued", self->n_queued);
    s_number(pk, "queued_bytes", self->queued_bytes);
    s_number(pk, "blocked_peers", s_blocked(self));
    s_number(pk, "lanes", self->n_lanes);
#define GI_C(name, doc) s_number(pk, #name, c->name);
#include "broker/core/broker_counters.def"
#undef GI_C
}
#define S_ALL (7 + S_COUNTERS)

/* What it is: state, and the shell's map about the process. */
static void s_self(const gi_broker_core_t *self, msgpack_packer *pk) {
    s_key(pk, "state");
    s_key(pk, self->moving ? "moved" : self->draining ? "draining" : "ready");
    s_key(pk, "process");
    if (self->effects->process)
        self->effects->process(self->ctx, pk);
    else
        msgpack_pack_map(pk, 0);
}
#define S_SELF 2

gate_err_t gi_broker_core_stats(gi_broker_core_t *self, gi_buf_t *out) {
    msgpack_packer pk;
    msgpack_packer_init(&pk, out, gi_buf_write);
    bool uplink = self->effects->uplink != NULL;
    msgpack_pack_map(&pk, 1 + S_ALL + S_SELF + uplink);
    s_key(&pk, "services");
    msgpack_pack_map(&pk, self->n_services);
    for (gi_list_t *l = self->order.next; l != &self->order; l = l->next) {
        s_key(&pk, GI_OF(l, gi_broker_service_t, order)->name);
        msgpack_pack_map(&pk, S_NUMBERS);
        s_numbers(self, &pk, GI_OF(l, gi_broker_service_t, order));
    }
    s_counters(self, &pk);
    s_self(self, &pk);
    if (uplink) {
        s_key(&pk, "uplink");
        self->effects->uplink(self->ctx, out);
    }
    return out->failed ? gi_err(GATE_NOMEM, "no memory for statistics")
                       : GATE_OK;
}

/* ---- with histograms ----------------------------------------------------- */
static size_t s_draining(const gi_broker_service_t *service, bool ext) {
    size_t n = 0;
    const gi_list_t *l = service->workers.next;
    for (; l != &service->workers; l = l->next) {
        const gi_broker_worker_t *w =
            GI_OF((uintptr_t)l, gi_broker_worker_t, of_service);
        n += ext ? !w->ext : w->draining;
    }
    return n;
}

static size_t s_running(const gi_broker_service_t *service) {
    size_t n = 0;
    const gi_list_t *l = service->workers.next;
    for (; l != &service->workers; l = l->next)
        n += (size_t)GI_OF((uintptr_t)l, gi_broker_worker_t, of_service)
                 ->in_flight;
    return n;
}

/* A name that is told as it is; others share one label where labels must
 * differ. */
static bool s_plain(const gi_broker_service_t *service) {
    for (size_t i = 0; i < service->name_size; i++)
        if ((unsigned char)service->name[i] < ' ' || service->name[i] == 0x7f)
            return false;
    return gi_utf8_valid(service->name, service->name_size);
}

static void s_observe_service(const gi_broker_core_t *self,
                              const gi_broker_service_t *service,
                              msgpack_packer *pk) {
    const gi_tally_t *tally = service->tally;
    msgpack_pack_map(pk, 7 + S_NUMBERS + (tally ? GI_TALLY_ENTRIES : 0));
    s_key(pk, "name");
    gi_tally_pack_text(pk, service->name, service->name_size);
    s_key(pk, "plain_name");
    (s_plain(service) ? msgpack_pack_true : msgpack_pack_false)(pk);
    s_key(pk, "description");
    gi_tally_pack_text(pk, service->description, service->description_size);
    s_number(pk, "draining", s_draining(service, false));
    s_number(pk, "plain", s_draining(service, true));
    s_number(pk, "in_flight", s_running(service));
    s_key(pk, "left");
    (service->left ? msgpack_pack_true : msgpack_pack_false)(pk);
    s_numbers(self, pk, service);
    if (tally)
        gi_tally_pack(tally, pk, self->clock.now_ms);
}

void gi_broker_stats_observe(gi_broker_core_t *self, msgpack_packer *pk) {
    s_key(pk, "broker");
    msgpack_pack_map(pk, S_ALL + S_SELF + 3);
    s_counters(self, pk);
    s_self(self, pk);
    s_number(pk, "folded", self->seen.room.folded);
    s_number(pk, "monotonic_ms", (uint64_t)self->clock.now_ms);
    s_key(pk, "other");
    msgpack_pack_map(pk, GI_TALLY_ENTRIES);
    gi_tally_pack(self->seen.other, pk, self->clock.now_ms);
    s_key(pk, "services");
    msgpack_pack_array(pk, self->n_services);
    for (gi_list_t *l = self->order.next; l != &self->order; l = l->next)
        s_observe_service(self, GI_OF(l, gi_broker_service_t, order), pk);
}

gate_err_t gi_broker_core_observe(gi_broker_core_t *self, gi_buf_t *out) {
    msgpack_packer pk;
    msgpack_packer_init(&pk, out, gi_buf_write);
    msgpack_pack_map(&pk, GI_BROKER_OBSERVED);
    gi_broker_stats_observe(self, &pk);
    return out->failed ? gi_err(GATE_NOMEM, "no memory for statistics")
                       : GATE_OK;
}

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
        waiting, believed, asking, loaded;
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
    return (peer->worker || !peer->doubted) &&
           gi_broker_auth_valid(peer, &sum->waiting, &sum->believed,
                                &sum->asking) &&
           n == peer->n_queued && bytes == peer->queued_bytes &&
           calls == peer->n_calls && gi_list_empty(&peer->doomed) &&
           (n > 0) != gi_list_empty(&peer->ring) &&
           (peer->batch != NULL) != gi_list_empty(&peer->loaded) &&
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
        if (far && !service->n_behind && gi_broker_far_pick(service, call))
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
        self->auth.late.n || !gi_broker_far_valid(self))
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
           sum.parked == self->parked_bytes && sum.blocked == s_blocked(self) &&
           sum.loaded == self->n_loaded && self->load.n == 0 &&
           sum.waiting == self->auth.n_waiting &&
           sum.believed == self->auth.n_believed &&
           sum.asking == self->auth.asks.n;
}
