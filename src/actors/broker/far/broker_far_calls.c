/* SPDX-License-Identifier: BSD-3-Clause */
/* broker_far_calls.c -- messages from other brokers: of far clients, and of far
 * workers. They become what a ROUTER would have delivered, so the rest of the
 * core does not know the difference. */
#include "broker/far/broker_far.h"

#include <string.h>
#include "base/mem.h"
#include "broker/core/broker_calls.h"
#include "broker/core/broker_peers.h"
#include "broker/core/broker_services.h"
#include "broker/core/broker_users.h"
#include "broker/core/broker_workers.h"

#define S_EXT_AT 6 /* service client id func args kwargs ext */

/* ---- messages from far clients ------------------------------------------- */
/* A client's message, as if it had come to a ROUTER. False: no memory. */
static bool s_client_frames(gi_frames_t *in, const gi_broker_peer_t *peer,
                            gate_bytes_t service, const gate_bytes_t *f,
                            unsigned n) {
    bool ok = gi_frames_add(in, peer->id, peer->id_size);
    gi_frames_add_const(in, GI_FRAME_EMPTY);
    gi_frames_add_const(in, GI_FRAME_CLIENT_TAG);
    ok = ok && gi_frames_add(in, service.data, service.size);
    for (unsigned i = 0; i < n && ok; i++)
        ok = gi_frames_add(in, f[i].data, f[i].size);
    return ok;
}

static gi_broker_peer_t *s_client(gi_broker_core_t *core,
                                  const unsigned char *node, gate_bytes_t id) {
    unsigned char name[GI_ID_MAX];
    if (id.size == 0 || id.size > GI_ID_MAX - GI_FAR_NODE_SIZE)
        return NULL;
    memcpy(name, node, GI_FAR_NODE_SIZE);
    memcpy(name + GI_FAR_NODE_SIZE, id.data, id.size);
    return gi_broker_peer_heard(
        core, core->far.clients,
        (gate_bytes_t){name, GI_FAR_NODE_SIZE + id.size});
}

/* The broker of entry has authenticated its caller: believed if the setting
 * says so. */
static gi_broker_user_t *s_user(gi_broker_core_t *core, const gate_bytes_t *f,
                                unsigned n) {
    gi_ext_t ext;
    if (!core->far.believe || n <= S_EXT_AT || !gi_ext_is(f[n - 1]) ||
        gi_ext_parse(f[n - 1], &ext) != GATE_OK || ext.user.size == 0)
        return NULL;
    return gi_broker_user_of(core, ext.user);
}

static void s_from_client(gi_broker_core_t *core, gi_broker_peer_t *peer,
                          gate_bytes_t service, const gate_bytes_t *f,
                          unsigned n) {
    gi_frames_t *in = &core->far.in;
    if (peer && s_client_frames(in, peer, service, f, n))
        gi_broker_admit(core, peer, in);
    else
        core->count.no_memory++;
    gi_frames_close(in);
    gi_frames_close(&core->out);
    gi_broker_user_drop(core, core->users.current);
    core->users.current = NULL;
    gi_broker_settle(core);
}

bool gi_broker_core_far_request(gi_broker_core_t *self, const unsigned char *id,
                                const gate_bytes_t *f, unsigned n,
                                int64_t age_ms, int64_t now_ms) {
    self->clock.now_ms = now_ms;
    gi_broker_node_t *node = gi_broker_far_node(self, id);
    if (node == NULL && (node = gi_broker_far_node_new(self, id)) != NULL)
        gi_broker_text(node->name, (gate_bytes_t){"?", 1});
    if (node == NULL)
        return true;
    if (n < 4 || n > GI_FRAMES_MAX - 8 || f[2].size == 0)
        return false;
    gi_broker_far_used(self, node, f[0]);
    self->count.far_requests_in++;
    self->far.age_ms = age_ms;
    self->users.current = s_user(self, f, n);
    s_from_client(self, s_client(self, id, f[1]), f[0], f + 2, n - 2);
    self->far.age_ms = 0;
    return true;
}

/* About a call that is under way; the service is not looked at. */
bool gi_broker_core_far_control(gi_broker_core_t *self, const unsigned char *id,
                                const gate_bytes_t *f, unsigned n,
                                int64_t now_ms) {
    static const gate_bytes_t any = {"-", 1};
    self->clock.now_ms = now_ms;
    if (n < 4 || n > 5 || f[2].size == 0)
        return false;
    bool control = n == 4 && gi_ext_is(f[3]);
    if (!control && n != 5)
        return false;
    s_from_client(self, s_client(self, id, f[1]), any, f + 2, n - 2);
    return true;
}

/* ---- messages from far workers ------------------------------------------- */
/* The call that a far broker's answer is about; NULL: none of its. */
static gi_broker_call_t *s_call(gi_broker_core_t *core,
                                const unsigned char *node, gate_bytes_t client,
                                gate_bytes_t id) {
    gi_broker_call_t *call = gi_broker_call_find(core, client, id);
    if (call == NULL || call->tagged)
        call = gi_broker_again_find(core, client, id);
    bool theirs =
        call && call->worker && call->worker->far &&
        memcmp(call->worker->far->node->id, node, GI_FAR_NODE_SIZE) == 0;
    if (!theirs)
        core->count.replies_unknown++;
    return theirs ? call : NULL;
}

/* It did not run there: somebody else may have it, or the same one when that
 * says that it has room. */
static bool s_bounce(gi_broker_core_t *core, gi_broker_call_t *call) {
    gi_broker_worker_t *worker = call->worker;
    core->count.unrun++;
    if (call->again == NULL || call->muted ||
        call->bounces == GI_FAR_BOUNCES_MAX)
        return false;
    call->bounces++;
    worker->max = worker->in_flight - 1;
    gi_list_remove(&call->of_owner);
    worker->in_flight--;
    call->worker = NULL;
    gi_broker_worker_place(core, worker); /* nowhere */
    gi_broker_message_t *request = call->again;
    call->again = NULL;
    if (gi_broker_message_restore(core, &core->out, request))
        gi_broker_dispatch(core, call);
    else
        gi_broker_call_fail(core, call, "MemoryError",
                            "The broker has no memory.");
    return true;
}

/* A worker's message, as if it had come to a ROUTER. */
static bool s_worker_frames(gi_frames_t *in, const gi_broker_peer_t *peer,
                            unsigned command, const gate_bytes_t *f,
                            unsigned n) {
    bool ok = gi_frames_add(in, peer->id, peer->id_size);
    gi_frames_add_const(in, GI_FRAME_EMPTY);
    gi_frames_add_const(in, GI_FRAME_WORKER_TAG);
    gi_frames_add_const(in, GI_FRAME_COMMAND + command);
    ok = ok && gi_frames_add(in, f[0].data, f[0].size);
    gi_frames_add_const(in, GI_FRAME_EMPTY);
    for (unsigned i = 1; i < n && ok; i++)
        ok = gi_frames_add(in, f[i].data, f[i].size);
    return ok;
}

static void s_from_worker(gi_broker_core_t *core, gi_broker_worker_t *worker,
                          unsigned command, const gate_bytes_t *f, unsigned n) {
    gi_frames_t *in = &core->far.in;
    gi_mdp_worker_t at;
    bool ok = s_worker_frames(in, worker->peer, command, f, n);
    worker->peer->seen_ms = core->clock.now_ms;
    const gate_bytes_t *view = gi_frames_views(in) + 1;
    if (!ok)
        core->count.no_memory++;
    else if (gi_mdp_parse_worker(view, in->n - 1, false, &at) != GATE_OK)
        core->count.malformed++;
    else if (command == GI_MDP_REPLY)
        gi_broker_reply(core, worker, in, view, &at);
    else
        gi_broker_args_credit(core, worker, view, &at);
    gi_frames_close(in);
    gi_frames_close(&core->out);
}

/* Nothing runs there any more, and its broker does not offer it. */
static void s_may_leave(gi_broker_core_t *core, gi_broker_worker_t *worker) {
    if (worker->peer && worker->far->gone && worker->in_flight == 0)
        gi_broker_far_leave(core, worker);
}

bool gi_broker_core_far_reply(gi_broker_core_t *self, const unsigned char *id,
                              unsigned flags, const gate_bytes_t *f, unsigned n,
                              int64_t now_ms) {
    self->clock.now_ms = now_ms;
    if (n < 3 || n > GI_FRAMES_MAX - 8 || f[0].size == 0 || f[1].size == 0)
        return false;
    self->count.far_replies_in++;
    gi_broker_call_t *call = s_call(self, id, f[0], f[1]);
    if (call == NULL)
        return true;
    gi_broker_worker_t *worker = call->worker;
    bool again = flags & GI_LINK_UNRUN  ? s_bounce(self, call)
                 : flags & GI_LINK_LOST ? gi_broker_again(self, call)
                                        : false;
    if (!again)
        s_from_worker(self, worker, GI_MDP_REPLY, f, n);
    s_may_leave(self, worker);
    gi_broker_settle(self);
    return true;
}

bool gi_broker_core_far_credit(gi_broker_core_t *self, const unsigned char *id,
                               const gate_bytes_t *f, unsigned n,
                               int64_t now_ms) {
    self->clock.now_ms = now_ms;
    if (n != 3 || f[0].size == 0 || f[1].size == 0 || !gi_ext_is(f[2]))
        return false;
    gi_broker_call_t *call = s_call(self, id, f[0], f[1]);
    if (call)
        s_from_worker(self, call->worker, GI_MDP_EXT, f, n);
    gi_broker_settle(self);
    return true;
}
