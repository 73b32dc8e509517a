/* SPDX-License-Identifier: BSD-3-Clause */
/* broker_far_share.c -- how much other brokers may send: what our workers have
 * free is divided over those that use a service. Told when it is none, is some
 * again, has doubled or halved; what is too much waits in our queue. */
#include "broker/far/broker_far.h"

#include <string.h>
#include "base/mem.h"
#include "broker/core/broker_calls.h"
#include "broker/core/broker_peers.h"
#include "broker/core/broker_services.h"
#include "broker/core/broker_users.h"
#include "broker/core/broker_workers.h"

#define S_SHARE_MS 5 /* between two looks while calls come */
#define S_SHARE_IDLE_MS 50
#define S_USE_MS 10000 /* a link uses a service so long after a call */

/* A link uses one of our services. */
typedef struct s_use {
    gi_list_t place; /* in node->uses */
    gi_broker_service_t *service;
    int64_t used_ms;
    int64_t told; /* the share that it was told last; -1: none holds */
} s_use_t;

void gi_broker_far_unused(gi_broker_node_t *node,
                          const gi_broker_service_t *service) {
    gi_list_t *l = node->uses.next, *next;
    for (; l != &node->uses; l = next) {
        s_use_t *use = GI_OF(l, s_use_t, place);
        next = l->next;
        if (service && use->service != service)
            continue;
        gi_list_remove(&use->place);
        gi_mem_free(use);
    }
}

/* ---- shares -------------------------------------------------------------- */
static s_use_t *s_use(gi_broker_core_t *core, gi_broker_node_t *node,
                      gi_broker_service_t *service) {
    for (gi_list_t *l = node->uses.next; l != &node->uses; l = l->next) {
        s_use_t *use = GI_OF(l, s_use_t, place);
        if (use->service == service)
            return use;
    }
    s_use_t *use = gi_mem_calloc(1, sizeof *use);
    if (use == NULL)
        return NULL;
    use->service = service;
    use->told = -1;
    gi_list_init(&use->place);
    gi_list_prepend(&node->uses, &use->place);
    if (!gi_timer_armed(&core->far.timer.timer))
        gi_broker_arm(core, &core->far.timer, core->clock.now_ms + S_SHARE_MS);
    return use;
}

void gi_broker_far_used(gi_broker_core_t *core, gi_broker_node_t *node,
                        gate_bytes_t name) {
    gi_broker_service_t *service = gi_broker_service_find(core, name);
    s_use_t *use = service ? s_use(core, node, service) : NULL;
    if (use == NULL)
        return;
    use->used_ms = core->clock.now_ms;
    core->far.busy = true;
}

static size_t s_users_of(const gi_broker_core_t *core,
                         const gi_broker_service_t *service) {
    size_t n = 0;
    const gi_list_t *l = core->far.nodes.next;
    for (; l != &core->far.nodes; l = l->next) {
        const gi_broker_node_t *node =
            GI_OF((uintptr_t)l, gi_broker_node_t, place);
        const gi_list_t *u = node->uses.next;
        for (; u != &node->uses; u = u->next)
            n += GI_OF((uintptr_t)u, s_use_t, place)->service == service;
    }
    return n;
}

static int64_t s_free_of(const gi_broker_service_t *service) {
    int64_t room = -(int64_t)service->n_queued;
    const gi_list_t *l = service->workers.next;
    for (; l != &service->workers; l = l->next) {
        const gi_broker_worker_t *worker =
            GI_OF((uintptr_t)l, gi_broker_worker_t, of_service);
        if (worker->far == NULL && worker->placed)
            room += worker->max - worker->in_flight;
    }
    return room > 0 ? room : 0;
}

static bool s_tells(int64_t told, int64_t share) {
    return told < 0 || (told == 0) != (share == 0) || share >= 2 * told + 1 ||
           2 * share < told;
}

static void s_share(gi_broker_core_t *core, const gi_broker_node_t *node,
                    s_use_t *use) {
    int64_t room = s_free_of(use->service);
    int64_t share = room / (int64_t)s_users_of(core, use->service);
    share = share == 0 && room > 0 ? 1 : share;
    if (!s_tells(use->told, share) || core->effects->far_share == NULL)
        return;
    use->told = share;
    core->effects->far_share(core->ctx, node->id, use->service->index,
                             (uint32_t)share);
}

void gi_broker_far_due(gi_broker_core_t *core) {
    bool any = false, retell = core->far.retell;
    gi_list_t *l = core->far.nodes.next;
    for (; l != &core->far.nodes; l = l->next) {
        gi_broker_node_t *node = GI_OF(l, gi_broker_node_t, place);
        for (gi_list_t *u = node->uses.next, *next; u != &node->uses;
             u = next) {
            s_use_t *use = GI_OF(u, s_use_t, place);
            next = u->next;
            use->told = retell ? -1 : use->told;
            s_share(core, node, use);
            if (core->clock.now_ms - use->used_ms >= S_USE_MS) {
                gi_list_remove(&use->place);
                gi_mem_free(use);
            }
        }
        any |= !gi_list_empty(&node->uses);
    }
    if (any)
        gi_broker_arm(core, &core->far.timer,
                      core->clock.now_ms +
                          (core->far.busy ? S_SHARE_MS : S_SHARE_IDLE_MS));
    core->far.busy = core->far.retell = false;
}
