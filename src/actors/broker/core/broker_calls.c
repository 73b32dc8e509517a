/* SPDX-License-Identifier: BSD-3-Clause */
/* broker_calls.c -- calls under way, by (client, request id), and what their
 * clients get to see.
 *
 *   queued --worker found--> under way --final message--> gone, credit back
 *      |                        |  `--worker lost--> answered with an error
 *      `--deadline, cancel-->   `--muted: cancelled, orphaned or overflowed;
 *          gone                    what comes is dropped up to the end
 *
 * Law: credit comes back once per call, when it is freed. */
#include "broker/core/broker_calls.h"

#include <stdio.h>
#include <string.h>
#include "base/mem.h"
#include "base/origin.h"
#include "base/utf8.h"
#include "broker/core/broker_peers.h"
#include "broker/core/broker_services.h"
#include "broker/core/broker_users.h"
#include "broker/core/broker_workers.h"

/* ---- the table ----------------------------------------------------------- */
static uint64_t s_hash(const gi_broker_core_t *core, gate_bytes_t client,
                       gate_bytes_t id) {
    uint64_t seed = gi_table_hash(core->seed, client.data, client.size);
    return gi_table_hash(seed, id.data, id.size);
}

static gi_broker_call_t *s_find(gi_broker_core_t *core, uint64_t hash,
                                gate_bytes_t client, gate_bytes_t id) {
    gi_node_t *node = gi_table_chain(&core->calls, hash);
    for (; node; node = node->next) {
        gi_broker_call_t *call = GI_OF(node, gi_broker_call_t, node);
        if (node->hash == hash && call->id_size == id.size &&
            memcmp(call->id, id.data, id.size) == 0 &&
            call->client->id_size == client.size &&
            memcmp(call->client->id, client.data, client.size) == 0)
            return call;
    }
    return NULL;
}

gi_broker_call_t *gi_broker_call_find(gi_broker_core_t *core,
                                      gate_bytes_t client, gate_bytes_t id) {
    return s_find(core, s_hash(core, client, id), client, id);
}

static bool s_set_id(gi_broker_call_t *call, gate_bytes_t id) {
    call->id_size = (uint8_t)id.size;
    call->id = call->id_inline;
    if (id.size > sizeof call->id_inline)
        call->id = gi_mem_alloc(id.size);
    if (call->id == NULL)
        return false;
    memcpy(call->id, id.data, id.size);
    return true;
}

gi_broker_call_t *gi_broker_call_new(gi_broker_core_t *core,
                                     gi_broker_peer_t *client,
                                     gi_broker_service_t *service,
                                     gate_bytes_t id) {
    gi_broker_call_t *call = gi_free_take(&core->memory.calls);
    if (call == NULL)
        return NULL;
    memset(call, 0, offsetof(gi_broker_call_t, id_inline));
    if (!s_set_id(call, id)) {
        gi_free_give(&core->memory.calls, call);
        return NULL;
    }
    call->client = client;
    call->service = service;
    call->ext_ms = core->clock.now_ms - core->far.age_ms;
    call->attempt = 1;
    call->user = gi_broker_user_share(core->users.current);
    call->deadline.due = GI_DUE_CALL;
    gi_list_init(&call->of_owner);
    gi_list_init(&call->of_client);
    gi_list_append(&client->calls, &call->of_client);
    client->n_calls++;
    call->node.hash =
        s_hash(core, (gate_bytes_t){client->id, client->id_size}, id);
    gi_table_insert(&core->calls, &call->node);
    core->n_calls++;
    return call;
}

static void s_release(gi_broker_core_t *core, gi_broker_call_t *call) {
    gi_broker_worker_t *worker = call->worker;
    call->worker = NULL;
    worker->in_flight--;
    if (worker->peer) { /* not lost */
        gi_broker_worker_place(core, worker);
        gi_broker_service_wake(core, worker->service);
    }
}

void gi_broker_call_free(gi_broker_core_t *core, gi_broker_call_t *call) {
    gi_broker_unqueue(core, call);
    if (call->shaken || call->muted)
        gi_broker_disarm(core, &call->deadline);
    if (call->request && call->worker)
        gi_broker_message_unqueue(core, call->worker->peer, call->request);
    if (call->request)
        gi_broker_message_free(core, call->request);
    gi_broker_again_forget(core, call);
    gi_list_remove(&call->of_owner);
    if (call->worker)
        s_release(core, call);
    gi_list_remove(&call->of_client);
    if (--call->client->n_calls == 0 && call->client->gone)
        gi_broker_peer_gone(core, call->client); /* nothing keeps it now */
    gi_broker_user_drop(core, call->user);
    gi_table_remove(&core->calls, &call->node);
    core->n_calls--;
    if (call->id != call->id_inline)
        gi_mem_free(call->id);
    gi_free_give(&core->memory.calls, call);
}

/* ---- messages to clients ------------------------------------------------- */
bool gi_broker_to_client(gi_broker_core_t *core, const gi_broker_peer_t *client,
                         gate_bytes_t service, gate_bytes_t id) {
    gi_frames_t *out = &core->out;
    gi_frames_close(out);
    if (!gi_frames_add(out, client->id, client->id_size))
        return false;
    gi_frames_add_const(out, GI_FRAME_EMPTY);
    gi_frames_add_const(out, GI_FRAME_CLIENT_TAG);
    return gi_frames_add(out, service.data, service.size) &&
           gi_frames_add(out, id.data, id.size);
}

/* Sends core->out to a client, whatever has to be said about losing it. */
static gi_broker_sent_t s_to_client(gi_broker_core_t *core,
                                    gi_broker_peer_t *client, bool reserve,
                                    bool paced) {
    gi_broker_sent_t sent =
        paced ? gi_broker_peer_pace(core, client)
              : gi_broker_peer_send(core, client, reserve, NULL);
    if (sent == GI_OVERFLOW)
        core->count.dropped_full++;
    if (sent == GI_GONE)
        core->count.dropped_gone++;
    return sent;
}

void gi_broker_text(char to[GI_ID_MAX + 1], gate_bytes_t name) {
    size_t n = name.size < GI_ID_MAX ? name.size : GI_ID_MAX;
    memcpy(to, name.data, n);
    to[n] = 0;
    for (size_t i = 0, step; i < n; i += step) {
        unsigned char *p = (unsigned char *)to + i;
        step = *p ? gi_utf8_next(p, n - i) : 0;
        if (step == 0) {
            *p = '?';
            step = 1;
        }
    }
}

static void s_unavailable(char *text, size_t room, gate_bytes_t name) {
    char safe[GI_ID_MAX + 1];
    gi_broker_text(safe, name);
    snprintf(text, room, "The %s Service unavailable.", safe);
}

typedef enum s_form { S_SINGLE, S_STREAM, S_HUGE } s_form_t;

static bool s_add_error(gi_broker_core_t *core, s_form_t form,
                        const gate_error_t *story) {
    gi_frames_t *out = &core->out;
    gi_buf_t *body = &core->body;
    gi_buf_reset(body, 65536);
    if (form == S_SINGLE)
        return gi_rpc_pack_exception(body, story->cls, story->text,
                                     story->traceback) == GATE_OK &&
               gi_frames_add(out, body->data, body->size);
    const char *tag = form == S_HUGE ? GI_HUGE_TAG : GI_STREAM_TAG;
    return gi_rpc_pack_triple(body, story->cls, story->text,
                              story->traceback) == GATE_OK &&
           gi_frames_add(out, tag, strlen(tag)) &&
           gi_frames_add(out, GI_STREAM_EXCEPTION,
                         strlen(GI_STREAM_EXCEPTION)) &&
           gi_frames_add(out, body->data, body->size);
}

/* What its broker should know about a far client's call. */
static bool s_flag(gi_broker_core_t *core, const gi_broker_peer_t *client,
                   unsigned char flags) {
    return !client->far || flags == 0 ||
           gi_frames_replace(&core->out, 1, &flags, 1);
}

/* story.cls NULL: the service is not available. final: a call's end, for which some
 * room is reserved. */
static void s_send_error(gi_broker_core_t *core, gi_broker_peer_t *client,
                         gate_bytes_t service, gate_bytes_t id, s_form_t form,
                         gate_error_t story, bool final, unsigned char flags) {
    char unavailable[GI_ID_MAX + 64];
    if (story.cls == NULL) {
        s_unavailable(unavailable, sizeof unavailable, service);
        story.cls = "ServiceUnAvailableError";
        story.text = unavailable;
    }
    core->count.errors++;
    if (gi_broker_to_client(core, client, service, id) &&
        s_flag(core, client, flags) && s_add_error(core, form, &story))
        s_to_client(core, client, final, false);
    else
        core->count.no_memory++;
    gi_frames_close(&core->out);
}

void gi_broker_refuse(gi_broker_core_t *core, gi_broker_peer_t *client,
                      gate_bytes_t service, gate_bytes_t id, const char *cls,
                      const char *text) {
    gi_broker_answer_error(core, client, service, id,
                           &(gate_error_t){GATE_RAISED, cls, text, GI_UNRUN});
}

void gi_broker_answer_error(gi_broker_core_t *core, gi_broker_peer_t *client,
                            gate_bytes_t service, gate_bytes_t id,
                            const gate_error_t *story) {
    if (client->n_queued > 0 && !gi_broker_may_refuse(core, client)) {
        core->count.dropped_full++; /* it does not read them */
        return;
    }
    s_send_error(core, client, service, id, S_SINGLE, *story, false,
                 client->far ? core->far.ops->flags(core, NULL, story->cls)
                             : 0);
}

/* No worker has it, or has had it. */
static bool s_unrun(const gi_broker_call_t *call) {
    bool with_worker = call->worker && call->request == NULL;
    return !with_worker && call->attempt == 1 && !call->shaken &&
           !call->streaming && !call->huge;
}

/* What it is called by which the broker itself ends a call. */
static gi_outcome_t s_outcome(const char *cls) {
    if (cls && strcmp(cls, "WorkerLostError") == 0)
        return GI_OUT_LOST;
    return cls && strcmp(cls, "TimeoutError") == 0 ? GI_OUT_EXPIRED
                                                   : GI_OUT_REFUSED;
}

static void s_tell_error(gi_broker_core_t *core, gi_broker_call_t *call,
                         const char *cls, const char *text) {
    gi_broker_service_t *service = call->service;
    s_form_t form = call->huge ? S_HUGE : call->streaming ? S_STREAM : S_SINGLE;
    gi_broker_seen_end(core, call, s_outcome(cls), cls, text);
    s_send_error(
        core, call->client, (gate_bytes_t){service->name, service->name_size},
        (gate_bytes_t){call->id, call->id_size}, form,
        (gate_error_t){GATE_RAISED, cls, text, s_unrun(call) ? GI_UNRUN : ""},
        true, call->client->far ? core->far.ops->flags(core, call, cls) : 0);
}

void gi_broker_call_fail(gi_broker_core_t *core, gi_broker_call_t *call,
                         const char *cls, const char *text) {
    if (!call->muted)
        s_tell_error(core, call, cls, text);
    gi_frames_close(&core->out);
    gi_broker_call_free(core, call);
}

#define S_FRAME_TEXT \
    "%zu bytes in a frame: the worker takes %lld (its message_bytes_max)."
/* libzmq would close its connection, and end all calls that it has. */
bool gi_broker_call_exceeds(gi_broker_core_t *core, gi_broker_call_t *call,
                            const gi_broker_worker_t *worker) {
    gi_frames_t *out = &core->out;
    char text[200];
    size_t largest = 0;
    for (unsigned i = 0; i < out->n; i++) {
        size_t size = gi_frames_at(out, i).size;
        largest = size > largest ? size : largest;
    }
    if (worker->frame_max == 0 || (int64_t)largest <= worker->frame_max)
        return false;
    snprintf(text, sizeof text, S_FRAME_TEXT, largest,
             (long long)worker->frame_max);
    gi_broker_call_fail(core, call, "ValueError", text);
    return true;
}

/* ---- muting -------------------------------------------------------------- */
/* EXT to a worker, if it understands. */
static void s_tell_worker(gi_broker_core_t *core, gi_broker_worker_t *worker,
                          gate_bytes_t client, gate_bytes_t id,
                          gate_bytes_t ext) {
    gi_broker_peer_t *peer = worker->peer;
    gi_frames_t *out = &core->out;
    if (peer == NULL || !worker->ext) {
        core->count.control_unknown++;
        return;
    }
    if (gi_broker_to_worker(core, (gate_bytes_t){peer->id, peer->id_size},
                            GI_MDP_EXT) &&
        gi_frames_add(out, client.data, client.size) &&
        gi_frames_add(out, NULL, 0) && gi_frames_add(out, id.data, id.size) &&
        gi_frames_add(out, ext.data, ext.size)) {
        worker->sent_ms = core->clock.now_ms;
        if (gi_broker_peer_send(core, peer, false, NULL) == GI_OVERFLOW)
            core->count.dropped_full++;
    } else {
        core->count.no_memory++;
    }
    gi_frames_close(out);
}

void gi_broker_tell_cancel(gi_broker_core_t *core, gi_broker_worker_t *worker,
                           gate_bytes_t client, gate_bytes_t id) {
    gi_ext_t ext;
    gi_ext_init(&ext);
    ext.cancel = true;
    if (worker->peer == NULL || !worker->ext)
        return;
    gi_buf_reset(&core->body, 65536);
    if (gi_ext_pack(&core->body, &ext) == GATE_OK)
        s_tell_worker(core, worker, client, id,
                      (gate_bytes_t){core->body.data, core->body.size});
}

static gate_bytes_t s_client_of(const gi_broker_call_t *call) {
    return (gate_bytes_t){call->client->id, call->client->id_size};
}

/* A plain worker learns of nothing, and may never answer: its slot comes back
 * when a caller of Python's would have given up, too. */
void gi_broker_call_cancel(gi_broker_core_t *core, gi_broker_call_t *call) {
    unsigned char id[GI_ID_MAX];
    if (!call->worker->ext && core->clock.reply_ms >= 0) {
        gi_broker_arm(core, &call->deadline,
                      core->clock.now_ms + core->clock.reply_ms);
        return;
    }
    gi_broker_tell_cancel(core, call->worker, s_client_of(call),
                          (gate_bytes_t){id, gi_broker_again_id(call, id)});
}

void gi_broker_call_mute(gi_broker_core_t *core, gi_broker_call_t *call) {
    call->muted = true;
    gi_broker_again_forget(core, call);
    if (call->worker && call->request == NULL && !call->shaken)
        gi_broker_call_cancel(core, call);
    else /* it never left, or its end may have been lost */
        gi_broker_call_free(core, call);
}

void gi_broker_call_give_up(gi_broker_core_t *core, gi_broker_call_t *call,
                            const char *cls, const char *text) {
    s_tell_error(core, call, cls, text);
    call->muted = true;
    gi_broker_call_cancel(core, call);
}

void gi_broker_control(gi_broker_core_t *core, gi_broker_peer_t *client,
                       gate_bytes_t id, gate_bytes_t frame) {
    unsigned char run[GI_ID_MAX];
    gi_ext_t ext;
    gi_broker_call_t *call = gi_broker_call_find(
        core, (gate_bytes_t){client->id, client->id_size}, id);
    if (gi_ext_parse(frame, &ext) != GATE_OK) {
        core->count.bad_ext++;
    } else if (call == NULL || call->muted) {
        core->count.control_unknown++;
    } else if (ext.cancel) {
        core->count.cancelled++;
        gi_broker_seen_end(core, call, GI_OUT_CANCELLED, NULL, NULL);
        (client->far ? core->far.ops->cancel : gi_broker_call_mute)(core, call);
    } else if (call->worker) {
        if (call->credited)
            gi_broker_stall_credit(core, call, &ext);
        s_tell_worker(core, call->worker, s_client_of(call),
                      (gate_bytes_t){run, gi_broker_again_id(call, run)},
                      frame);
    } else {
        core->count.control_unknown++; /* still queued: nothing to pace */
    }
}

/* ---- replies ------------------------------------------------------------- */
/* A stream whose reader does not keep up and gave no credit: it gets told, in
 * the room kept for that, instead of losing items in silence. */
static void s_overflow(gi_broker_core_t *core, gi_broker_call_t *call,
                       bool final) {
    char text[160];
    const gate_settings_t *s = core->settings;
    bool single = !call->streaming && !call->huge;
    core->count.streams_overflowed += !single;
    snprintf(text, sizeof text,
             "The reader is too slow: more than peer_queue_max = %lld messages "
             "or peer_queue_max_bytes = %lld wait for it.",
             (long long)s->peer_queue_max, (long long)s->peer_queue_max_bytes);
    s_tell_error(core, call, single ? "BusyWorkerError" : "StreamOverflowError",
                 text);
    call->muted = true;
    if (!final)
        gi_broker_call_cancel(core, call);
}

#define S_UNPACED 900 /* items that fit into a Python client's queue */

/* worker's frames -> core->out for the client; nothing of the body is copied.
 * Positions count from frame 1. */
static bool s_compose_reply(gi_broker_core_t *core,
                            const gi_broker_call_t *call, gi_frames_t *frames,
                            const gi_mdp_worker_t *at) {
    const gi_broker_service_t *service = call->service;
    gi_frames_t *out = &core->out;
    gi_frames_close(out);
    gi_frames_pass(out, frames, 1 + at->client_id);
    gi_frames_pass(out, frames, 1); /* "" */
    gi_frames_add_const(out, GI_FRAME_CLIENT_TAG);
    if (!gi_frames_add(out, service->name, service->name_size))
        return false;
    if (!call->tagged)
        gi_frames_pass(out, frames, 1 + at->request_id);
    else if (!gi_frames_add(out, call->id, call->id_size))
        return false;
    for (unsigned i = 1 + at->body; i < 1 + at->body + at->n_body; i++)
        gi_frames_pass(out, frames, i);
    return true;
}

static void s_forward(gi_broker_core_t *core, gi_broker_call_t *call,
                      gi_frames_t *frames, const gi_mdp_worker_t *at,
                      bool final, const gi_times_t *times) {
    bool last = final && (call->streaming || call->huge);
    core->count.replies++;
    if (!s_compose_reply(core, call, frames, at) ||
        (times && !gi_broker_seen_tell(core, call, times))) {
        core->count.no_memory++;
        s_overflow(core, call, final);
        return;
    }
    bool item =
        call->paced && call->streaming && !final && ++call->n_items > S_UNPACED;
    if (s_to_client(core, call->client, last, item) == GI_OVERFLOW)
        s_overflow(core, call, final);
    gi_frames_close(&core->out);
}

static void s_note_kind(gi_broker_call_t *call, gi_body_kind_t kind) {
    if (kind == GI_BODY_ITEM || kind == GI_BODY_ROW || kind == GI_BODY_END ||
        kind == GI_BODY_EXCEPTION)
        call->streaming = true;
    else if (kind == GI_BODY_CHUNK || kind == GI_BODY_HUGE_END ||
             kind == GI_BODY_HUGE_EXCEPTION)
        call->huge = true;
}

void gi_broker_reply(gi_broker_core_t *core, gi_broker_worker_t *worker,
                     gi_frames_t *frames, const gate_bytes_t *f,
                     gi_mdp_worker_t *at) {
    gi_times_t times;
    gi_broker_call_t *call =
        gi_broker_call_find(core, f[at->client_id], f[at->request_id]);
    if (call == NULL || call->tagged)
        call = gi_broker_again_find(core, f[at->client_id], f[at->request_id]);
    if (call == NULL || call->worker != worker) {
        core->count.replies_unknown++;
        return;
    }
    if (call->traced)
        gi_broker_seen_take(&f[at->body], &at->n_body, &times);
    gi_body_kind_t kind = gi_rpc_body_kind(&f[at->body], at->n_body);
    if (kind == GI_BODY_BAD) {
        gi_broker_call_fail(core, call, "ValueError",
                            "The worker's reply is malformed.");
        return;
    }
    bool final = gi_body_is_final(kind);
    s_note_kind(call, kind);
    if (call->shaken && (call->streaming || call->huge)) {
        gi_broker_call_fail(core, call, "WorkerLostError", GI_STREAM_SHAKEN);
        return;
    }
    if (!final)
        gi_broker_again_forget(core, call); /* a stream has begun */
    bool unread = call->muted || (call->hushed && !final);
    if (unread)
        core->count.replies_late++;
    else if (final)
        gi_broker_seen_reply(core, call, kind, &f[at->body], at->n_body);
    if (!final && at->n_body > 1)
        gi_broker_stall_spend(core, call, kind, f[at->body + 1]);
    if (!unread)
        s_forward(core, call, frames, at, final,
                  final && call->traced ? &times : NULL);
    if (!final)
        return;
    core->count.finished++;
    gi_broker_call_free(core, call);
}
