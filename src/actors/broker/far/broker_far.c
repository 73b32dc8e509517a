/* SPDX-License-Identifier: BSD-3-Clause */
/* broker_far.c -- far workers and far clients (docs/uplink.md).
 *
 *   A: caller - call - far worker ==link== B: far client - call - worker
 *
 * The request id passes unchanged, and A alone counts runs: what B did not run,
 * or lost the worker of, it says with the answer, and A gives the call to
 * somebody else. How much A may send is B's word, its share of what B's workers
 * have free; what is too much waits in B's queue. */
#include "broker/far/broker_far.h"

#include <gaterpc/log.h>
#include <stdio.h>
#include <string.h>
#include "base/mem.h"
#include "broker/core/broker_calls.h"
#include "broker/core/broker_peers.h"
#include "broker/core/broker_services.h"
#include "broker/core/broker_users.h"
#include "broker/core/broker_workers.h"

#define S_PART "uplink"
#define S_CALLS_MAX 1000000

/* ---- nodes --------------------------------------------------------------- */
gi_broker_node_t *gi_broker_far_node(gi_broker_core_t *core,
                                     const unsigned char *id) {
    gi_list_t *l = core->far.nodes.next;
    for (; l != &core->far.nodes; l = l->next) {
        gi_broker_node_t *node = GI_OF(l, gi_broker_node_t, place);
        if (memcmp(node->id, id, GI_FAR_NODE_SIZE) == 0)
            return node;
    }
    return NULL;
}

gi_broker_node_t *gi_broker_far_node_new(gi_broker_core_t *core,
                                         const unsigned char *id) {
    gi_broker_node_t *node = gi_mem_calloc(1, sizeof *node);
    if (node == NULL) {
        core->count.no_memory++;
        return NULL;
    }
    memcpy(node->id, id, GI_FAR_NODE_SIZE);
    gi_list_init(&node->workers);
    gi_list_init(&node->uses);
    gi_list_append(&core->far.nodes, &node->place);
    return node;
}

static void s_node_free(gi_broker_node_t *node) {
    gi_broker_far_unused(node, NULL);
    gi_list_remove(&node->place);
    gi_mem_free(node);
}

static void s_fini(gi_broker_core_t *core) {
    while (core->far.nodes.next && !gi_list_empty(&core->far.nodes))
        s_node_free(GI_OF(core->far.nodes.next, gi_broker_node_t, place));
}

static void s_forget(gi_broker_core_t *core,
                     const gi_broker_service_t *service) {
    gi_list_t *l = core->far.nodes.next;
    for (; l != &core->far.nodes; l = l->next)
        gi_broker_far_unused(GI_OF(l, gi_broker_node_t, place), service);
}

/* ---- far workers --------------------------------------------------------- */
static size_t s_worker_id(const gi_broker_node_t *node, uint32_t index,
                          unsigned char to[GI_FAR_NODE_SIZE + 4]) {
    memcpy(to, node->id, GI_FAR_NODE_SIZE);
    gi_link_put32(to + GI_FAR_NODE_SIZE, index);
    return GI_FAR_NODE_SIZE + 4;
}

static gi_broker_worker_t *s_worker_new(gi_broker_core_t *core,
                                        gi_broker_node_t *node,
                                        const gi_link_offer_t *offer) {
    unsigned char id[GI_FAR_NODE_SIZE + 4];
    gate_bytes_t view = {id, s_worker_id(node, offer->index, id)};
    gi_broker_peer_t *peer =
        gi_broker_peer_heard(core, core->far.workers, view);
    gi_broker_far_worker_t *far = gi_mem_calloc(1, sizeof *far);
    gi_broker_worker_t *worker =
        peer && far ? gi_broker_worker_new(core, peer, offer->name,
                                           offer->description, offer->max)
                    : NULL;
    if (worker == NULL) {
        core->count.no_memory++;
        gi_mem_free(far);
        return NULL;
    }
    *far = (gi_broker_far_worker_t){
        .node = node, .worker = worker, .index = offer->index};
    gi_list_init(&far->of_node);
    gi_list_append(&node->workers, &far->of_node);
    worker->far = far;
    worker->ext = true;
    worker->service->n_far++;
    return worker;
}

static gi_broker_far_worker_t *s_worker(gi_broker_node_t *node,
                                        uint32_t index) {
    for (gi_list_t *l = node->workers.next; l != &node->workers; l = l->next) {
        gi_broker_far_worker_t *far = GI_OF(l, gi_broker_far_worker_t, of_node);
        if (far->index == index && far->worker->peer)
            return far;
    }
    return NULL;
}

static void s_free(gi_broker_worker_t *worker) {
    gi_list_remove(&worker->far->of_node);
    gi_mem_free(worker->far);
    worker->far = NULL;
}

static bool s_text(const gi_broker_worker_t *worker, char *text, size_t room) {
    if (!worker->far->node->lost)
        return false;
    snprintf(text, room, "The broker %s is lost.", worker->far->node->name);
    return true;
}

/* It has left: without a word, its broker is told of once. */
void gi_broker_far_leave(gi_broker_core_t *core, gi_broker_worker_t *worker) {
    gi_broker_peer_t *peer = worker->peer;
    gi_broker_worker_lose(core, worker, NULL);
    gi_broker_peer_gone(core, peer);
}

static void s_worker_learn(gi_broker_core_t *core, gi_broker_worker_t *worker,
                           const gi_link_offer_t *offer, bool draining) {
    worker->takes_args = offer->takes_args;
    worker->draining = draining;
    worker->far->listed = true;
    worker->far->gone = false;
    gi_broker_again_learn(core, worker, offer->idempotent);
    gi_broker_worker_place(core, worker);
    gi_broker_service_wake(core, worker->service);
}

/* What runs there may still answer. */
static void s_worker_unlisted(gi_broker_core_t *core,
                              gi_broker_worker_t *worker) {
    worker->draining = worker->far->gone = true;
    gi_broker_worker_place(core, worker); /* nowhere */
    if (worker->in_flight == 0)
        gi_broker_far_leave(core, worker);
}

void gi_broker_core_far_news(gi_broker_core_t *self, const unsigned char *id,
                             const gi_broker_far_news_t *news, int64_t now_ms) {
    self->clock.now_ms = now_ms;
    gi_broker_node_t *node = gi_broker_far_node(self, id);
    if (node == NULL)
        node = gi_broker_far_node_new(self, id);
    if (node == NULL)
        return;
    gi_broker_text(node->name, news->name);
    node->same_zone = news->same_zone;
    for (gi_list_t *l = node->workers.next; l != &node->workers; l = l->next)
        GI_OF(l, gi_broker_far_worker_t, of_node)->listed = false;
    for (size_t i = 0; i < news->n_offers; i++) {
        const gi_link_offer_t *offer = &news->offers[i];
        if (gi_broker_service_reserved(self, offer->name))
            continue; /* there it is a service as others are */
        gi_broker_far_worker_t *far = s_worker(node, offer->index);
        gi_broker_worker_t *worker =
            far ? far->worker : s_worker_new(self, node, offer);
        if (worker)
            s_worker_learn(self, worker, offer, news->draining);
    }
    for (gi_list_t *l = node->workers.next, *next; l != &node->workers;
         l = next) {
        gi_broker_far_worker_t *far = GI_OF(l, gi_broker_far_worker_t, of_node);
        next = l->next;
        if (!far->listed && far->worker->peer)
            s_worker_unlisted(self, far->worker);
    }
    gi_broker_settle(self);
}

static void s_clients_gone(gi_broker_core_t *core,
                           const gi_broker_node_t *node) {
    gi_table_t *peers = &core->sockets[core->far.clients].peers;
    for (size_t i = 0; i <= peers->mask; i++)
        for (gi_node_t *n = peers->slots[i]; n; n = n->next) {
            gi_broker_peer_t *peer = GI_OF(n, gi_broker_peer_t, node);
            if (memcmp(peer->id, node->id, GI_FAR_NODE_SIZE) == 0)
                gi_broker_peer_gone(core, peer);
        }
}

void gi_broker_core_far_lost(gi_broker_core_t *self, const unsigned char *id,
                             int64_t now_ms) {
    self->clock.now_ms = now_ms;
    gi_broker_node_t *node = gi_broker_far_node(self, id);
    if (node == NULL)
        return;
    node->lost = true;
    for (gi_list_t *l = node->workers.next; l != &node->workers; l = l->next) {
        gi_broker_worker_t *worker =
            GI_OF(l, gi_broker_far_worker_t, of_node)->worker;
        if (worker->peer) {
            self->count.far_lost += (uint64_t)worker->in_flight;
            gi_broker_far_leave(self, worker);
        }
    }
    s_clients_gone(self, node);
    gi_broker_settle(self);
    s_node_free(node);
}

/* ---- which one ----------------------------------------------------------- */
/* Of two with credit: the same zone, then the smaller part of its share. */
static bool s_better(const gi_broker_worker_t *a, const gi_broker_worker_t *b) {
    bool zone_a = a->far->node->same_zone, zone_b = b->far->node->same_zone;
    if (zone_a != zone_b)
        return zone_a;
    return a->in_flight * b->max < b->in_flight * a->max;
}

static gi_broker_worker_t *s_pick(gi_broker_service_t *service,
                                  const gi_broker_call_t *call) {
    gi_broker_worker_t *best = NULL;
    if (call->client->far ||
        call->client->id_size > GI_ID_MAX - GI_FAR_NODE_SIZE)
        return NULL;
    for (gi_list_t *l = service->far.next; l != &service->far; l = l->next) {
        gi_broker_worker_t *worker = GI_OF(l, gi_broker_worker_t, place);
        if ((call->args_size < 0 || worker->takes_args) &&
            (best == NULL || s_better(worker, best)))
            best = worker;
    }
    return best;
}

static bool s_full(const gi_broker_call_t *call, char *text, size_t room) {
    const gi_list_t *workers = &call->service->workers;
    if (call->client->far)
        return false;
    for (const gi_list_t *l = workers->next; l != workers; l = l->next) {
        const gi_broker_worker_t *worker =
            GI_OF((uintptr_t)l, gi_broker_worker_t, of_service);
        if (worker->far && worker->peer && worker->peer->n_queued > 0) {
            snprintf(text, room, "The uplink to %s is full: uplink_node_bytes.",
                     worker->far->node->name);
            return true;
        }
    }
    return false;
}

static gi_broker_call_t *s_first(gi_broker_service_t *service) {
    gi_broker_call_t *call = NULL;
    while (!gi_list_empty(&service->far) &&
           (call = gi_broker_waiting_next(service, call)))
        if (s_pick(service, call))
            return call;
    return NULL;
}

static void s_abandon(gi_broker_core_t *core, gi_broker_service_t *service) {
    gi_broker_call_t *call = gi_broker_waiting_next(service, NULL), *next;
    for (; call; call = next) {
        next = gi_broker_waiting_next(service, call);
        if (!call->client->far)
            continue;
        gi_broker_unqueue(core, call);
        core->count.unavailable++;
        gi_broker_call_fail(core, call, NULL, NULL);
    }
}

static void s_cancel(gi_broker_core_t *core, gi_broker_call_t *call) {
    unsigned char id[GI_ID_MAX];
    call->hushed = true;
    if (call->worker == NULL || call->request || call->shaken) {
        gi_broker_call_fail(core, call, "CancelledError",
                            "The caller has given up.");
        return;
    }
    gi_broker_tell_cancel(
        core, call->worker,
        (gate_bytes_t){call->client->id, call->client->id_size},
        (gate_bytes_t){id, gi_broker_again_id(call, id)});
}

static unsigned char s_flags(gi_broker_core_t *core,
                             const gi_broker_call_t *call, const char *cls) {
    if (call && call->worker)
        return call->worker->peer ? 0 : GI_LINK_LOST;
    bool passes = cls == NULL || strcmp(cls, "BusyWorkerError") == 0 ||
                  strcmp(cls, "MemoryError") == 0;
    core->far.retell |= passes; /* it stops until it hears of its share */
    return passes ? GI_LINK_UNRUN : 0;
}

void gi_broker_core_far_share(gi_broker_core_t *self, const unsigned char *id,
                              uint32_t index, uint32_t share, int64_t now_ms) {
    self->clock.now_ms = now_ms;
    gi_broker_node_t *node = gi_broker_far_node(self, id);
    gi_broker_far_worker_t *far = node ? s_worker(node, index) : NULL;
    if (far == NULL)
        return;
    int64_t more = share < S_CALLS_MAX ? share : S_CALLS_MAX;
    far->worker->max = far->worker->in_flight + more;
    gi_broker_worker_place(self, far->worker);
    gi_broker_service_wake(self, far->worker->service);
    gi_broker_settle(self);
}

/* ---- what we offer, and what the shell asks ------------------------------ */
uint64_t gi_broker_core_far_rev(const gi_broker_core_t *self) {
    return self->far.rev;
}

bool gi_broker_core_far_draining(const gi_broker_core_t *self) {
    return self->draining || self->moving;
}

/* False: it has no local worker that takes calls. */
static bool s_offer(const gi_broker_service_t *service, gi_link_offer_t *out) {
    *out = (gi_link_offer_t){
        .index = service->index,
        .name = {service->name, service->name_size},
        .description = {service->description, service->description_size}};
    const gi_list_t *l = service->workers.next;
    for (; l != &service->workers; l = l->next) {
        const gi_broker_worker_t *worker =
            GI_OF((uintptr_t)l, gi_broker_worker_t, of_service);
        if (worker->far || worker->draining)
            continue;
        out->workers++;
        out->max += worker->max;
        out->takes_args |= worker->takes_args;
        if (worker->idempotent && out->idempotent.size == 0)
            out->idempotent =
                (gate_bytes_t){worker->idempotent, strlen(worker->idempotent)};
    }
    return out->workers > 0;
}

void gi_broker_core_far_offers(gi_broker_core_t *self,
                               void (*each)(void *ctx,
                                            const gi_link_offer_t *offer),
                               void *ctx) {
    gi_link_offer_t offer;
    for (gi_list_t *l = self->order.next; l != &self->order; l = l->next)
        if (s_offer(GI_OF(l, gi_broker_service_t, order), &offer))
            each(ctx, &offer);
}

gate_bytes_t gi_broker_core_far_name(gi_broker_core_t *self, gate_bytes_t id) {
    gi_broker_peer_t *peer = gi_broker_peer_find(self, self->far.workers, id);
    gi_broker_service_t *service =
        peer && peer->worker ? peer->worker->service : NULL;
    return service ? (gate_bytes_t){service->name, service->name_size}
                   : (gate_bytes_t){NULL, 0};
}

void gi_broker_core_far_load(const gi_broker_core_t *self,
                             const unsigned char *id, int64_t *to,
                             int64_t *from, size_t *services) {
    gi_broker_core_t *core = (gi_broker_core_t *)(uintptr_t)self;
    gi_broker_node_t *node = gi_broker_far_node(core, id);
    *to = *from = 0;
    *services = 0;
    if (node == NULL)
        return;
    for (gi_list_t *l = node->workers.next; l != &node->workers; l = l->next) {
        *to += GI_OF(l, gi_broker_far_worker_t, of_node)->worker->in_flight;
        ++*services;
    }
    const gi_table_t *peers = &self->sockets[self->far.clients].peers;
    for (size_t i = 0; i <= peers->mask; i++)
        for (gi_node_t *n = peers->slots[i]; n; n = n->next) {
            gi_broker_peer_t *peer = GI_OF(n, gi_broker_peer_t, node);
            if (memcmp(peer->id, id, GI_FAR_NODE_SIZE) == 0)
                *from += (int64_t)peer->n_calls;
        }
}

/* ---- the law ------------------------------------------------------------- */
static bool s_valid(const gi_broker_core_t *core) {
    const gi_list_t *l = core->far.nodes.next;
    if (core->far.in.n)
        return false;
    for (; l != &core->far.nodes; l = l->next) {
        const gi_broker_node_t *node =
            GI_OF((uintptr_t)l, gi_broker_node_t, place);
        const gi_list_t *w = node->workers.next;
        for (; w != &node->workers; w = w->next) {
            const gi_broker_far_worker_t *far =
                GI_OF((uintptr_t)w, gi_broker_far_worker_t, of_node);
            if (far->node != node || far->worker->far != far ||
                far->worker->peer == NULL || !far->worker->peer->far)
                return false;
            const gi_list_t *c = far->worker->calls.next;
            for (; c != &far->worker->calls; c = c->next)
                if (GI_OF((uintptr_t)c, gi_broker_call_t, of_owner)
                        ->client->far)
                    return false; /* it would cross two links */
        }
    }
    return true;
}

/* ---- switching it on ------------------------------------------------------ */
static const gi_broker_far_ops_t s_ops = {.pick = s_pick,
                                          .first = s_first,
                                          .full = s_full,
                                          .cancel = s_cancel,
                                          .flags = s_flags,
                                          .abandon = s_abandon,
                                          .forget = s_forget,
                                          .text = s_text,
                                          .free = s_free,
                                          .due = gi_broker_far_due,
                                          .fini = s_fini,
                                          .valid = s_valid};

gate_err_t gi_broker_core_far(gi_broker_core_t *self, bool believe,
                              unsigned *workers, unsigned *clients) {
    gate_err_t e = gi_broker_core_socket(self, true, workers);
    if (!e)
        e = gi_broker_core_socket(self, false, clients);
    if (e)
        return e;
    self->sockets[*workers].far = self->sockets[*clients].far = true;
    self->far.ops = &s_ops;
    self->far.workers = *workers;
    self->far.clients = *clients;
    self->far.believe = believe;
    return GATE_OK;
}
