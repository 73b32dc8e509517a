/* SPDX-License-Identifier: BSD-3-Clause */
/* broker_life.c -- the core's birth and end, and what it is given in between:
 * sockets and rules. */
#include "broker/core/broker_state.h"

#include <string.h>
#include "base/identity.h"
#include "base/mem.h"
#include "broker/core/broker_calls.h"
#include "broker/core/broker_peers.h"
#include "broker/core/broker_services.h"
#include "broker/core/broker_users.h"
#include "broker/core/broker_workers.h"

#define S_KEEP_CALLS 8192
#define S_KEEP_PEERS 64
#define S_KEEP_BATCHES 16 /* of 8 KiB */
#define S_FORGET_SILENCES 10
#define S_TABLE 16 /* slots at first; they grow with what is in them */

void gi_broker_life_announce(const gi_broker_core_t *self, gi_ext_t *ext) {
    gi_ext_init(ext);
    ext->packed = ext->batches = ext->rows = self->settings->packed;
    ext->traced = true;
    if (self->effects->offer)
        ext->lane =
            (gate_bytes_t){self->effects->offer, strlen(self->effects->offer)};
    ext->frame_max = gi_ext_frame_max(self->settings->message_bytes_max);
}

/* What heartbeats say; farewell: to workers that drain. */
static bool s_hello(gi_broker_core_t *self, gi_buf_t *to, bool farewell) {
    gi_ext_t ext;
    gi_broker_life_announce(self, &ext);
    ext.drain = farewell;
    ext.moved = self->moving && !farewell;
    ext.look_ms = self->seen.look_ms ? GI_BROKER_LOOK_MS : -1;
    gi_buf_reset(to, 65536);
    return gi_ext_pack(to, &ext) == GATE_OK;
}

void gi_broker_life_hello(gi_broker_core_t *self) {
    if (!s_hello(self, &self->hello, false) ||
        !s_hello(self, &self->farewell, true))
        self->count.no_memory++;
}

static bool s_local_user(gi_broker_core_t *self) {
    const char *name = self->settings->local_user;
    if (*name)
        self->users.local =
            gi_broker_user_of(self, (gate_bytes_t){name, strlen(name)});
    return !*name || self->users.local;
}

static bool s_make(gi_broker_core_t *self, int64_t now_ms) {
    gi_free_init(&self->memory.calls, sizeof(gi_broker_call_t), S_KEEP_CALLS);
    gi_free_init(&self->memory.peers, sizeof(gi_broker_peer_t), S_KEEP_PEERS);
    gi_free_init(&self->memory.batches, sizeof(gi_batch_t), S_KEEP_BATCHES);
    gi_list_init(&self->order);
    gi_list_init(&self->parked);
    gi_list_init(&self->blocked);
    gi_list_init(&self->loaded);
    gi_list_init(&self->handing);
    gi_list_init(&self->work.doomed);
    gi_list_init(&self->work.lost);
    gi_list_init(&self->work.redo);
    gi_list_init(&self->work.pumps);
    gi_list_init(&self->users.idle);
    gi_list_init(&self->auth.believed);
    gi_list_init(&self->work.judged);
    gi_list_init(&self->far.nodes);
    self->far.timer.due = GI_DUE_FAR;
    self->far.rev = 1;
    self->expect.due = GI_DUE_EXPECT;
    self->clock.wheel = gi_wheel_new(now_ms);
    return self->clock.wheel && gi_broker_seen_init(self) &&
           gi_table_init(&self->calls, S_TABLE) &&
           gi_table_init(&self->services, S_TABLE) &&
           gi_table_init(&self->users.table, S_TABLE) &&
           gi_table_init(&self->auth.asks, S_TABLE) && s_local_user(self) &&
           s_hello(self, &self->hello, false) &&
           s_hello(self, &self->farewell, true);
}

gi_broker_core_t *gi_broker_core_new(const gate_settings_t *settings,
                                     const unsigned char id[GI_ID_SIZE],
                                     const gi_broker_effects_t *effects,
                                     void *ctx, int64_t now_ms) {
    gi_broker_core_t *self = gi_mem_calloc(1, sizeof *self);
    if (self == NULL)
        return NULL;
    const char *internal = gi_settings_internal(settings);
    self->settings = settings;
    self->effects = effects;
    self->ctx = ctx;
    memcpy(self->id, id, GI_ID_SIZE);
    self->internal = (gate_bytes_t){internal, strlen(internal)};
    self->clock.now_ms = self->clock.tick_ms = now_ms;
    self->clock.beat_ms = gi_settings_heartbeat_ms(settings);
    self->clock.silence_ms =
        self->clock.beat_ms * settings->mdp_heartbeat_liveness;
    self->clock.forget_ms = self->clock.silence_ms * S_FORGET_SILENCES;
    self->clock.timeout_ms = gi_settings_ms(settings->timeout);
    self->clock.reply_ms = gi_settings_reply_timeout_ms(settings);
    gi_random(&self->seed, sizeof self->seed);
    if (!s_make(self, now_ms))
        gi_broker_core_destroy(&self);
    return self;
}

static void s_free_calls(gi_broker_core_t *self) {
    for (size_t i = 0; self->calls.slots && i <= self->calls.mask; i++) {
        while (self->calls.slots[i]) {
            gi_broker_call_t *call =
                GI_OF(self->calls.slots[i], gi_broker_call_t, node);
            call->muted = true;
            gi_broker_call_free(self, call);
        }
    }
}

static void s_free_workers(gi_broker_core_t *self) {
    for (gi_list_t *l = self->order.next; l != &self->order; l = l->next) {
        gi_broker_service_t *service = GI_OF(l, gi_broker_service_t, order);
        while (!gi_list_empty(&service->workers)) {
            gi_broker_worker_t *worker =
                GI_OF(service->workers.next, gi_broker_worker_t, of_service);
            gi_broker_worker_lose(self, worker, NULL);
            gi_broker_worker_settle(self, worker);
        }
    }
}

static void s_free_socket(gi_broker_core_t *self, gi_broker_socket_t *socket) {
    for (size_t i = 0; socket->peers.slots && i <= socket->peers.mask; i++)
        while (socket->peers.slots[i])
            gi_broker_peer_free(
                self, GI_OF(socket->peers.slots[i], gi_broker_peer_t, node));
    gi_table_fini(&socket->peers);
    gi_mem_free(socket->by_fd);
}

void gi_broker_core_destroy(gi_broker_core_t **self_p) {
    gi_broker_core_t *self = *self_p;
    if (self == NULL)
        return;
    if (self->clock.wheel) {
        gi_broker_disarm(self, &self->expect);
        gi_broker_disarm(self, &self->far.timer);
    }
    s_free_calls(self);
    s_free_workers(self);
    for (unsigned i = 0; i < self->n_sockets; i++)
        s_free_socket(self, &self->sockets[i]);
    while (!gi_list_empty(&self->order))
        gi_broker_service_free(
            self, GI_OF(self->order.next, gi_broker_service_t, order));
    if (self->far.ops)
        self->far.ops->fini(self);
    if (self->effects->gate)
        self->effects->gate->fini(self);
    gi_broker_seen_fini(self);
    if (self->auth.ops)
        self->auth.ops->fini(self);
    gi_broker_users_fini(self);
    gi_table_fini(&self->auth.asks);
    gi_frames_close(&self->auth.late);
    gi_frames_close(&self->out);
    gi_table_fini(&self->calls);
    gi_table_fini(&self->services);
    gi_free_fini(&self->memory.calls);
    gi_free_fini(&self->memory.peers);
    gi_free_fini(&self->memory.batches);
    gi_buf_fini(&self->body);
    gi_buf_fini(&self->hello);
    gi_buf_fini(&self->farewell);
    gi_wheel_destroy(&self->clock.wheel);
    gi_mem_free(self);
    *self_p = NULL;
}

void gi_broker_core_access(gi_broker_core_t *self, const gi_access_t *access) {
    self->users.access = access;
    self->users.internal_ruled = gi_access_concerns(access, self->internal);
    for (gi_list_t *at = self->order.next; at != &self->order; at = at->next) {
        gi_broker_service_t *service = GI_OF(at, gi_broker_service_t, order);
        service->ruled = gi_access_concerns(
            access, (gate_bytes_t){service->name, service->name_size});
    }
}

gate_err_t gi_broker_core_socket(gi_broker_core_t *self, bool backend,
                                 unsigned *socket) {
    if (self->n_sockets == GI_BROKER_SOCKETS_MAX)
        return gi_err(GATE_TOOBIG, "a broker has at most %d sockets",
                      GI_BROKER_SOCKETS_MAX);
    gi_broker_socket_t *new = &self->sockets[self->n_sockets];
    if (!gi_table_init(&new->peers, S_TABLE))
        return gi_err(GATE_NOMEM, "no memory for a broker's socket");
    new->backend = backend;
    *socket = self->n_sockets++;
    return GATE_OK;
}
