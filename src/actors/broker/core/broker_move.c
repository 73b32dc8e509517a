/* SPDX-License-Identifier: BSD-3-Clause */
/* broker_move.c -- a broker that is replaced, and the one that replaces it.
 *
 * The old one goes on as ever and only asks its peers to go
 * (docs/extensions.md, moving): a worker registers at both, a client keeps its
 * connection for what is under way. The new one lets calls to services whose
 * workers are still on their way wait for them. Law: until the last of them has
 * left, each peer is served where it is. */
#include "broker/core/broker_state.h"

#include <string.h>
#include "base/utf8.h"
#include "broker/core/broker_calls.h"
#include "broker/core/broker_peers.h"
#include "broker/core/broker_services.h"
#include "broker/core/broker_workers.h"

/* ---- the old one --------------------------------------------------------- */
/* A reply that nobody asked for: its request id is all zero. */
void gi_broker_move_tell(gi_broker_core_t *core, gi_broker_peer_t *client) {
    static const unsigned char none[GI_ID_SIZE];
    if (!core->moving || !client->asked || client->told || client->gone)
        return;
    client->told = true;
    if (gi_broker_to_client(core, client, core->internal,
                            (gate_bytes_t){none, sizeof none}) &&
        gi_frames_add(&core->out, core->hello.data, core->hello.size))
        gi_broker_peer_send(core, client, true, NULL);
    gi_frames_close(&core->out);
}

static void s_tell_clients(gi_broker_core_t *core,
                           const gi_broker_socket_t *socket) {
    for (size_t i = 0; i <= socket->peers.mask; i++)
        for (gi_node_t *n = socket->peers.slots[i], *next; n; n = next) {
            next = n->next;
            gi_broker_move_tell(core, GI_OF(n, gi_broker_peer_t, node));
        }
}

static void s_tell_workers(gi_broker_core_t *core,
                           gi_broker_service_t *service) {
    gi_list_t *l = service->workers.next, *next;
    for (; l != &service->workers; l = next) {
        next = l->next; /* one that turns out to be gone leaves the list */
        gi_broker_worker_t *worker = GI_OF(l, gi_broker_worker_t, of_service);
        if (worker->ext)
            gi_broker_worker_greet(core, worker);
    }
}

static void s_forget_told(gi_broker_socket_t *socket) {
    for (size_t i = 0; i <= socket->peers.mask; i++)
        for (gi_node_t *n = socket->peers.slots[i]; n; n = n->next)
            GI_OF(n, gi_broker_peer_t, node)->told = false;
}

/* Without memory for the frame nobody is told; they leave when we end. */
void gi_broker_core_move(gi_broker_core_t *self, bool away, int64_t now_ms) {
    self->clock.now_ms = now_ms;
    self->moving = away;
    gi_broker_life_hello(self);
    for (gi_list_t *l = self->order.next; away && l != &self->order;
         l = l->next)
        s_tell_workers(self, GI_OF(l, gi_broker_service_t, order));
    for (unsigned i = 0; i < self->n_sockets; i++) {
        gi_broker_socket_t *socket = &self->sockets[i];
        if (!away)
            s_forget_told(socket);
        else if (!socket->backend)
            s_tell_clients(self, socket);
    }
    gi_broker_settle(self);
}

int64_t gi_broker_core_quiet(const gi_broker_core_t *self, unsigned socket,
                             int fd, int64_t now_ms, bool *told) {
    const gi_broker_socket_t *s = &self->sockets[socket];
    const gi_broker_peer_t *peer =
        fd >= 0 && (size_t)fd < s->n_by_fd ? s->by_fd[fd] : NULL;
    *told = peer && peer->told;
    if (peer == NULL)
        return INT64_MAX;
    return peer->n_calls || peer->n_queued ? -1 : now_ms - peer->seen_ms;
}

/* ---- the new one --------------------------------------------------------- */
bool gi_broker_expects(const gi_broker_core_t *core) {
    return gi_timer_armed(&core->expect.timer);
}

void gi_broker_core_expect(gi_broker_core_t *self, int64_t until_ms) {
    gi_broker_arm(self, &self->expect, until_ms);
}

gi_broker_service_t *gi_broker_expected(gi_broker_core_t *core,
                                        gate_bytes_t name) {
    if (name.size == 0 || name.size > GI_ID_MAX ||
        memchr(name.data, 0, name.size) || !gi_utf8_valid(name.data, name.size))
        return NULL;
    gi_broker_service_t *service =
        gi_broker_service_make(core, name, (gate_bytes_t){"", 0}, 0);
    if (service)
        service->guessed = true;
    return service;
}

/* Whoever has not come by now is not there. */
void gi_broker_expect_due(gi_broker_core_t *core) {
    gi_list_t *l = core->order.next, *next;
    for (; l != &core->order; l = next) {
        gi_broker_service_t *service = GI_OF(l, gi_broker_service_t, order);
        next = l->next;
        if (service->n_workers > 0)
            continue;
        gi_broker_service_abandon(core, service);
        if (service->guessed)
            gi_broker_service_free(core, service);
    }
}
