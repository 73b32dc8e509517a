/* SPDX-License-Identifier: BSD-3-Clause */
/* broker_stats.c -- what the broker can tell of itself. */
#include "broker/gate/broker_gate.h"

#include <string.h>
#include "base/pack.h"
#include "broker/core/broker_calls.h"
#include "broker/core/broker_users.h"
#include "broker/core/broker_peers.h"
#include "broker/core/broker_services.h"
#include "broker/core/broker_workers.h"

/* ---- numbers ------------------------------------------------------------- */
static int64_t s_credit(const gi_broker_service_t *service) {
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
    gi_pack_uint(pk, "workers", service->n_workers);
    gi_pack_uint(pk, "far", service->n_far);
    gi_pack_uint(pk, "credit", (uint64_t)s_credit(service));
    gi_pack_uint(pk, "queued", service->n_queued);
    gi_pack_uint(pk, "oldest_ms", oldest > 0 ? (uint64_t)oldest : 0);
    gi_pack_uint(pk, "calls", service->n_calls);
    gi_pack_uint(pk, "errors",
                 service->tally ? gi_tally_errors(service->tally) : 0);
}
#define S_NUMBERS 7

enum {
    S_COUNTERS = 0
#define GI_C(name, doc) +1
#include "broker/core/broker_counters.def"
#undef GI_C
};

/* All counters, with the gauges before them. */
static void s_counters(const gi_broker_core_t *self, msgpack_packer *pk) {
    const gi_broker_counters_t *c = &self->count;
    gi_pack_uint(pk, "peers", self->n_peers);
    gi_pack_uint(pk, "workers", self->n_workers);
    gi_pack_uint(pk, "in_flight", self->n_calls - self->n_queued);
    gi_pack_uint(pk, "queued", self->n_queued);
    gi_pack_uint(pk, "queued_bytes", self->queued_bytes);
    gi_pack_uint(pk, "blocked_peers", gi_broker_peers_blocked(self));
    gi_pack_uint(pk, "lanes", self->n_lanes);
#define GI_C(name, doc) gi_pack_uint(pk, #name, c->name);
#include "broker/core/broker_counters.def"
#undef GI_C
}
#define S_ALL (7 + S_COUNTERS)

/* What it is: state, and the shell's map about the process. */
static void s_self(const gi_broker_core_t *self, msgpack_packer *pk) {
    gi_pack_str(pk, "state",
                self->moving     ? "moved"
                : self->draining ? "draining"
                                 : "ready");
    gi_pack_text(pk, "process");
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
    gi_pack_text(&pk, "services");
    msgpack_pack_map(&pk, self->n_services);
    for (gi_list_t *l = self->order.next; l != &self->order; l = l->next) {
        gi_pack_text(&pk, GI_OF(l, gi_broker_service_t, order)->name);
        msgpack_pack_map(&pk, S_NUMBERS);
        s_numbers(self, &pk, GI_OF(l, gi_broker_service_t, order));
    }
    s_counters(self, &pk);
    s_self(self, &pk);
    if (uplink) {
        gi_pack_text(&pk, "uplink");
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

static void s_observe_service(const gi_broker_core_t *self,
                              const gi_broker_service_t *service,
                              msgpack_packer *pk) {
    const gi_tally_t *tally = service->tally;
    msgpack_pack_map(pk, 8 + S_NUMBERS + (tally ? GI_TALLY_ENTRIES : 0));
    gi_pack_text(pk, "name");
    gi_tally_pack_text(pk, service->name, service->name_size);
    gi_pack_bool(pk, "plain_name", gi_broker_seen_plain(service));
    gi_pack_bool(pk, "labelled", service->labelled);
    gi_pack_text(pk, "description");
    gi_tally_pack_text(pk, service->description, service->description_size);
    gi_pack_uint(pk, "draining", s_draining(service, false));
    gi_pack_uint(pk, "plain", s_draining(service, true));
    gi_pack_uint(pk, "in_flight", s_running(service));
    gi_pack_bool(pk, "left", service->left);
    s_numbers(self, pk, service);
    if (tally)
        gi_tally_pack(tally, pk, self->clock.now_ms);
}

void gi_broker_stats_observe(gi_broker_core_t *self, msgpack_packer *pk) {
    gi_pack_text(pk, "broker");
    msgpack_pack_map(pk, S_ALL + S_SELF + 3);
    s_counters(self, pk);
    s_self(self, pk);
    gi_pack_uint(pk, "folded", self->seen.room.folded);
    gi_pack_uint(pk, "monotonic_ms", (uint64_t)self->clock.now_ms);
    gi_pack_text(pk, "other");
    msgpack_pack_map(pk, GI_TALLY_ENTRIES);
    gi_tally_pack(self->seen.other, pk, self->clock.now_ms);
    gi_pack_text(pk, "services");
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
