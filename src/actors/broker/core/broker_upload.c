/* SPDX-License-Identifier: BSD-3-Clause */
/* broker_upload.c -- arguments that come in chunks (docs/extensions.md, huge
 * arguments): the broker looks at nothing, it hands chunks on to the worker
 * that has the call, and that one's credit back to the client.
 *
 * Law: a chunk never waits for a worker to be found: none comes before the
 * worker that has the call gave credit. */

#include <stdio.h>
#include <string.h>
#include "broker/core/broker_calls.h"
#include "broker/core/broker_peers.h"
#include "broker/core/broker_services.h"
#include "broker/core/broker_workers.h"

#define S_TEXT (GI_ID_MAX + 320)

void gi_broker_args_note(gi_broker_call_t *call, const gate_bytes_t *body,
                         unsigned n_body) {
    gi_ext_t ext;
    call->args_size = -1;
    if (n_body < 2 || !gi_ext_is(body[n_body - 1]) ||
        gi_ext_parse(body[n_body - 1], &ext) != GATE_OK)
        return;
    gi_broker_stall_begin(call, &ext);
    call->traced = ext.traced;
    if (n_body != 4 || ext.args_size < 0)
        return;
    int64_t kwargs = ext.kwargs_size > 0 ? ext.kwargs_size : 0;
    call->args_size =
        kwargs < INT64_MAX - ext.args_size ? ext.args_size + kwargs : INT64_MAX;
}

/* ---- which worker --------------------------------------------------------*/
static bool s_any(const gi_broker_service_t *service) {
    for (gi_list_t *l = service->workers.next; l != &service->workers;
         l = l->next)
        if (GI_OF(l, gi_broker_worker_t, of_service)->takes_args)
            return true;
    return false;
}

gi_broker_worker_t *gi_broker_args_pick(gi_broker_service_t *service) {
    for (unsigned b = 0; b < GI_BUCKETS; b++) {
        gi_list_t *bucket = &service->buckets[b];
        for (gi_list_t *l = bucket->next; l != bucket; l = l->next) {
            gi_broker_worker_t *worker = GI_OF(l, gi_broker_worker_t, place);
            if (worker->takes_args)
                return worker;
        }
    }
    return NULL;
}

/* It must not wait in the queue while others have room: who is behind it would
 * wait as well. */
void gi_broker_args_refuse(gi_broker_core_t *core, gi_broker_call_t *call) {
    const char *name = call->service->name;
    char text[S_TEXT];
    int64_t max = gi_rpc_plain_max(core->settings);
    core->count.args_refused++;
    if (s_any(call->service)) {
        snprintf(text, sizeof text,
                 "Arguments of %lld bytes in chunks: the workers of %s that "
                 "take them so are busy.",
                 (long long)call->args_size, name);
        gi_broker_call_fail(core, call, "BusyWorkerError", text);
        return;
    }
    snprintf(text, sizeof text,
             "Arguments of %lld bytes in chunks: no worker of %s has announced "
             "that it takes them so; plain ones are %lld bytes at most (the "
             "smaller of message_bytes_max and msgpack_bin_max), and a Python "
             "worker takes no others.",
             (long long)call->args_size, name, (long long)max);
    gi_broker_call_fail(core, call, "ValueError", text);
}

bool gi_broker_args_may_wait(gi_broker_service_t *service, bool room) {
    return !room && s_any(service);
}

/* ---- client to worker ----------------------------------------------------*/
bool gi_broker_args_is(const gate_bytes_t *body, unsigned n_body) {
    return n_body == 2 && body[0].size == strlen(GI_HUGE_TAG) &&
           memcmp(body[0].data, GI_HUGE_TAG, body[0].size) == 0;
}

/* id "" MDPC01 service {zap} request_id tag chunk -> worker "" MDPW01 06 id ""
 * request_id tag chunk, nothing copied. */
static bool s_compose(gi_broker_core_t *core, const gi_broker_peer_t *worker,
                      gi_frames_t *frames, const gi_mdp_request_t *at) {
    gi_frames_t *out = &core->out;
    if (!gi_broker_to_worker(core, (gate_bytes_t){worker->id, worker->id_size},
                             GI_MDP_EXT))
        return false;
    gi_frames_pass(out, frames, 0);
    gi_frames_pass(out, frames, 1);
    gi_frames_pass(out, frames, 1 + at->request_id);
    gi_frames_pass(out, frames, 1 + at->body);
    gi_frames_pass(out, frames, 2 + at->body);
    return true;
}

void gi_broker_args_chunk(gi_broker_core_t *core, gi_broker_peer_t *client,
                          gi_frames_t *frames, const gate_bytes_t *f,
                          const gi_mdp_request_t *at) {
    gi_broker_call_t *call = gi_broker_call_find(
        core, (gate_bytes_t){client->id, client->id_size}, f[at->request_id]);
    gi_broker_peer_t *peer = call && call->worker ? call->worker->peer : NULL;
    if (!peer || call->muted || call->request || call->args_size < 0) {
        core->count.control_unknown++;
        return;
    }
    core->count.args_chunks++;
    if (call->worker->frame_max &&
        (int64_t)f[at->body + 1].size > call->worker->frame_max) {
        gi_broker_call_give_up(core, call, "ValueError",
                               "A chunk of its arguments is larger than the "
                               "worker takes (its message_bytes_max).");
        return;
    }
    bool made = s_compose(core, peer, frames, at);
    call->worker->sent_ms = core->clock.now_ms;
    if (!made)
        core->count.no_memory++;
    if (!made || gi_broker_peer_send(core, peer, false, NULL) == GI_OVERFLOW)
        gi_broker_call_give_up(core, call, "BusyWorkerError",
                               "The worker does not keep up with the chunks "
                               "of its arguments.");
    gi_frames_close(&core->out);
}

/* ---- worker to client ----------------------------------------------------*/
void gi_broker_args_credit(gi_broker_core_t *core, gi_broker_worker_t *worker,
                           const gate_bytes_t *f, const gi_mdp_worker_t *at) {
    gate_bytes_t client = f[at->client_id], id = f[at->request_id];
    gi_broker_call_t *call = gi_broker_call_find(core, client, id);
    if (at->n_body != 1 || !gi_ext_is(f[at->body])) {
        core->count.malformed++;
    } else if (!call || call->worker != worker || call->muted) {
        core->count.control_unknown++;
        gi_broker_tell_cancel(core, worker, client, id);
    } else if (call->args_size < 0) {
        core->count.control_unknown++;
    } else if (gi_broker_to_client(core, call->client,
                                   (gate_bytes_t){call->service->name,
                                                  call->service->name_size},
                                   id) &&
               gi_frames_add(&core->out, f[at->body].data, f[at->body].size)) {
        gi_broker_sent_t sent =
            gi_broker_peer_send(core, call->client, true, NULL);
        core->count.dropped_full += sent == GI_OVERFLOW;
        core->count.dropped_gone += sent == GI_GONE;
    } else {
        core->count.no_memory++;
    }
    gi_frames_close(&core->out);
}
