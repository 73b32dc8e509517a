/* SPDX-License-Identifier: BSD-3-Clause */
/* broker_services.c -- services by name, their workers by load, and the calls
 * that wait for a worker.
 *
 * Workers with credit stand in buckets by their number of calls in flight,
 * exact below 64 and in eighths of a power of two above: the least loaded is
 * the first of the first bucket that is not empty, found by one look at a
 * bitmap. Taken from the front and put back at the end, equals take turns.
 * So do the clients whose calls wait, by what their requests weigh.
 *
 * Law: a service's queue is not empty only while no worker of it has credit,
 * and without workers only while some are to come (broker_move.c). */
#include "broker/core/broker_services.h"

#include <stdio.h>
#include <string.h>
#include "base/mem.h"
#include "wire/meta.h"
#include "broker/core/broker_calls.h"
#include "broker/core/broker_peers.h"
#include "broker/core/broker_users.h"
#include "broker/core/broker_workers.h"
#define S_DESCRIPTION_MAX 1024
/* Names without workers, in all and of one maker; each costs some 5 KiB. */
#define S_PARKED_BYTES (8u << 20)
#define S_PARKED_EACH 64
#define S_FUNC_AT 7
#define S_EXT_AT 10 /* id "" MDPW01 02 client "" id func args kwargs ext */

/* ---- the table ----------------------------------------------------------- */
static gi_broker_service_t *s_find(gi_broker_core_t *core, uint64_t hash,
                                   gate_bytes_t name) {
    gi_node_t *node = gi_table_chain(&core->services, hash);
    for (; node; node = node->next) {
        gi_broker_service_t *service = GI_OF(node, gi_broker_service_t, node);
        if (node->hash == hash && service->name_size == name.size &&
            memcmp(service->name, name.data, name.size) == 0)
            return service;
    }
    return NULL;
}

gi_broker_service_t *gi_broker_service_find(gi_broker_core_t *core,
                                            gate_bytes_t name) {
    return s_find(core, gi_table_hash(core->seed, name.data, name.size), name);
}

bool gi_broker_service_reserved(const gi_broker_core_t *core,
                                gate_bytes_t name) {
    return name.size == core->internal.size &&
           memcmp(name.data, core->internal.data, name.size) == 0;
}

/* Cut between two characters. */
static size_t s_short(gate_bytes_t text) {
    const unsigned char *p = text.data;
    size_t n = text.size;
    if (n <= S_DESCRIPTION_MAX)
        return n;
    for (n = S_DESCRIPTION_MAX; n > 0 && (p[n] & 0xc0) == 0x80; n--)
        continue;
    return n;
}

static bool s_name(gi_broker_service_t *service, gate_bytes_t name,
                   gate_bytes_t description) {
    description.size = s_short(description);
    service->name = gi_mem_alloc(name.size + description.size + 2);
    if (service->name == NULL)
        return false;
    service->name_size = name.size;
    memcpy(service->name, name.data, name.size);
    service->name[name.size] = 0;
    service->description = service->name + name.size + 1;
    service->description_size = description.size;
    memcpy(service->description, description.data, description.size);
    service->description[description.size] = 0;
    return true;
}

/* Its first worker: the description comes with it. */
static void s_learn(gi_broker_service_t *service, gate_bytes_t name,
                    gate_bytes_t description) {
    char *before = service->name;
    if (s_name(service, name, description))
        gi_mem_free(before);
    else
        service->name = before;
    service->guessed = false;
}

/* ---- names without workers ----------------------------------------------- */
size_t gi_broker_service_weight(const gi_broker_service_t *service) {
    return sizeof *service + service->name_size + service->description_size;
}

void gi_broker_service_unpark(gi_broker_core_t *core,
                              gi_broker_service_t *service) {
    gi_broker_disarm(core, &service->idle);
    if (!gi_list_empty(&service->parked))
        core->parked_bytes -= gi_broker_service_weight(service);
    gi_list_remove(&service->parked);
}

/* Forgets the oldest of that maker's (0: of all) that nobody waits for, but not
 * this one. False: there is none. */
static bool s_forget_one(gi_broker_core_t *core, uint64_t maker,
                         const gi_broker_service_t *but) {
    for (gi_list_t *l = core->parked.next; l != &core->parked; l = l->next) {
        gi_broker_service_t *old = GI_OF(l, gi_broker_service_t, parked);
        if (old == but || old->n_queued > 0 || (maker && old->maker != maker))
            continue;
        gi_broker_service_free(core, old);
        return true;
    }
    return false;
}

static size_t s_parked_of(gi_broker_core_t *core, uint64_t maker) {
    size_t n = 0;
    for (gi_list_t *l = core->parked.next; l != &core->parked; l = l->next)
        n += GI_OF(l, gi_broker_service_t, parked)->maker == maker;
    return n;
}

/* It has no workers: its name is kept for a while, unless others make too many.
 */
static void s_park(gi_broker_core_t *core, gi_broker_service_t *service) {
    gi_broker_service_unpark(core, service);
    gi_broker_arm(core, &service->idle,
                  core->clock.now_ms + core->clock.forget_ms);
    gi_list_append(&core->parked, &service->parked);
    core->parked_bytes += gi_broker_service_weight(service);
    if (service->maker && s_parked_of(core, service->maker) > S_PARKED_EACH)
        s_forget_one(core, service->maker, service);
    while (core->parked_bytes > S_PARKED_BYTES &&
           s_forget_one(core, 0, service))
        continue;
}

gi_broker_service_t *gi_broker_service_make(gi_broker_core_t *core,
                                            gate_bytes_t name,
                                            gate_bytes_t description,
                                            uint64_t maker) {
    uint64_t hash = gi_table_hash(core->seed, name.data, name.size);
    gi_broker_service_t *service = s_find(core, hash, name);
    if (service && service->guessed) {
        gi_broker_service_unpark(core, service);
        s_learn(service, name, description);
        service->maker = maker;
        s_park(core, service);
    }
    if (service)
        return service;
    if (core->n_services >= GI_SERVICES_MAX)
        return NULL;
    service = gi_mem_calloc(1, sizeof *service);
    if (service == NULL || !s_name(service, name, description)) {
        gi_mem_free(service);
        return NULL;
    }
    service->node.hash = hash;
    service->index = ++core->far.next_index;
    service->maker = maker;
    service->ruled = gi_access_concerns(core->users.access, name);
    service->idle.due = GI_DUE_SERVICE;
    gi_list_init(&service->queue);
    gi_fair_init(&service->urgent);
    gi_fair_init(&service->waiting);
    gi_list_init(&service->workers);
    gi_list_init(&service->far);
    for (unsigned i = 0; i < GI_BUCKETS; i++)
        gi_list_init(&service->buckets[i]);
    gi_list_init(&service->pump);
    gi_list_init(&service->order);
    gi_list_init(&service->parked);
    gi_list_append(&core->order, &service->order);
    gi_table_insert(&core->services, &service->node);
    core->n_services++;
    s_park(core, service);
    return service;
}

void gi_broker_service_free(gi_broker_core_t *core,
                            gi_broker_service_t *service) {
    gi_broker_service_unpark(core, service);
    if (core->far.ops)
        core->far.ops->forget(core, service);
    gi_list_remove(&service->pump);
    gi_list_remove(&service->order);
    gi_table_remove(&core->services, &service->node);
    core->n_services--;
    gi_broker_seen_gone(core, service);
    gi_fair_fini(&service->urgent);
    gi_fair_fini(&service->waiting);
    gi_mem_free(service->name);
    gi_mem_free(service);
}

/* A name without workers stays listed for a while, so that a client that asks
 * while they restart learns of it; not for ever, as names cost memory. */
void gi_broker_service_idle(gi_broker_core_t *core,
                            gi_broker_service_t *service) {
    if (!gi_list_empty(&service->workers))
        return;
    if (service->n_queued == 0)
        gi_broker_service_free(core, service);
    else /* workers are to come */
        s_park(core, service);
}

/* ---- load ---------------------------------------------------------------- */
static unsigned s_bucket(int64_t load) {
    if (load < 64)
        return (unsigned)load;
    unsigned power = 63u - (unsigned)__builtin_clzll((uint64_t)load);
    unsigned eighth = (unsigned)((uint64_t)load >> (power - 3)) & 7u;
    unsigned bucket = 64 + (power - 6) * 8 + eighth;
    return bucket < GI_BUCKETS ? bucket : GI_BUCKETS - 1;
}

static void s_unplace(gi_broker_worker_t *worker) {
    gi_broker_service_t *service = worker->service;
    unsigned b = worker->bucket;
    if (!worker->placed)
        return;
    worker->placed = false;
    gi_list_remove(&worker->place);
    if (worker->far == NULL && gi_list_empty(&service->buckets[b]))
        service->busy[b / 64] &= ~(UINT64_C(1) << (b % 64));
}

void gi_broker_worker_place(gi_broker_core_t *core,
                            gi_broker_worker_t *worker) {
    gi_broker_service_t *service = worker->service;
    s_unplace(worker);
    service->n_behind -= worker->behind;
    worker->behind = false;
    if (worker->peer == NULL || worker->draining || worker->suspended ||
        worker->peer->doubted || worker->in_flight >= worker->max ||
        !gi_broker_peer_has_room(core, worker->peer))
        return;
    worker->behind = gi_broker_worker_behind(worker);
    service->n_behind += worker->behind;
    if (worker->behind)
        return;
    unsigned b = s_bucket(worker->in_flight);
    worker->bucket = b;
    worker->placed = true;
    if (worker->far)
        gi_list_append(&service->far, &worker->place);
    if (worker->far)
        return;
    gi_list_append(&service->buckets[b], &worker->place);
    service->busy[b / 64] |= UINT64_C(1) << (b % 64);
}

static gi_broker_worker_t *s_pick(gi_broker_service_t *service) {
    for (unsigned i = 0; i < GI_BUCKETS / 64; i++) {
        if (service->busy[i] == 0)
            continue;
        unsigned b = i * 64 + (unsigned)__builtin_ctzll(service->busy[i]);
        return GI_OF(service->buckets[b].next, gi_broker_worker_t, place);
    }
    return NULL;
}

static gi_broker_worker_t *s_choose(const gi_broker_core_t *core,
                                    gi_broker_service_t *service,
                                    const gi_broker_call_t *call) {
    gi_broker_worker_t *worker =
        call->args_size < 0 ? s_pick(service) : gi_broker_args_pick(service);
    if (worker || service->n_behind || gi_list_empty(&service->far))
        return worker;
    return core->far.ops->pick(service, call);
}

/* Some worker may take it, now or later. */
static bool s_has_workers(const gi_broker_service_t *service,
                          const gi_broker_call_t *call) {
    return (call->client->far ? gi_broker_service_local(service)
                              : service->n_workers) > 0;
}

/* ---- dispatch ------------------------------------------------------------ */
/* Packs ext into core->body, with the call's user in the place of whatever the
 * client said. */
static bool s_pack_ext(gi_broker_core_t *core, gi_ext_t *ext,
                       const gi_broker_user_t *user) {
    ext->user =
        user ? (gate_bytes_t){user->name, user->size} : (gate_bytes_t){NULL, 0};
    gi_buf_reset(&core->body, 65536);
    return gi_ext_pack(&core->body, ext) == GATE_OK;
}

/* docs/extensions.md: the last body frame goes to extended workers alone, and
 * what a client says about the user is not believed. */
static void s_fit_ext(gi_broker_core_t *core, const gi_broker_worker_t *worker,
                      const gi_broker_user_t *user) {
    gi_frames_t *out = &core->out;
    gate_bytes_t view = gi_frames_at(out, out->n - 1);
    bool has = out->n > S_FUNC_AT + 1 && gi_ext_is(view), keep = worker->ext;
    gi_ext_t ext;
    gi_ext_init(&ext);
    if (keep && has && gi_ext_parse(view, &ext) != GATE_OK) {
        core->count.bad_ext++;
        gi_ext_init(&ext);
        keep = user != NULL;
    }
    if (!has && (!keep || user == NULL))
        return;
    if (has && keep && ext.user.size == 0 && user == NULL)
        return;
    keep = keep && s_pack_ext(core, &ext, user);
    if (has)
        gi_frames_pop(out);
    if (keep)
        gi_frames_add(out, core->body.data, core->body.size);
}

static bool s_no_memory(gi_broker_core_t *core, gi_broker_call_t *call) {
    core->count.no_memory++;
    gi_broker_call_fail(core, call, "MemoryError", "The broker has no memory.");
    return true;
}

static bool s_full(gi_broker_core_t *core, gi_broker_call_t *call) {
    core->count.queue_full++;
    gi_broker_call_fail(core, call, "BusyWorkerError",
                        "The broker's queues are full: "
                        "broker_queue_max_bytes.");
    return true;
}

/* Sends core->out to this worker. False: it is lost, try another. */
static bool s_give(gi_broker_core_t *core, gi_broker_call_t *call,
                   gi_broker_worker_t *worker) {
    gi_broker_peer_t *peer = worker->peer;
    if (!gi_frames_replace(&core->out, 0, peer->id, peer->id_size))
        return s_no_memory(core, call);
    s_fit_ext(core, worker, call->user);
    if (!gi_broker_again_prepare(core, call, worker))
        return s_no_memory(core, call);
    size_t bytes = worker->ext ? gi_frames_bytes(&core->out, 1) : 0;
    switch (gi_broker_peer_send(core, peer, true, call)) {
    case GI_SENT:
    case GI_QUEUED:
        break;
    case GI_OVERFLOW: /* a placed worker's queue has room */
        return s_full(core, call);
    case GI_GONE:
        return false;
    }
    call->worker = worker;
    gi_list_append(&worker->calls, &call->of_owner);
    worker->in_flight++;
    worker->sent_ms = call->moved_ms = core->clock.now_ms;
    call->service->n_calls++;
    call->stood_ms = core->clock.stood_ms;
    call->given_ns = call->deadline_ms ? gi_broker_seen_now(core)
                                       : call->begun_ns; /* it never waited */
    gi_broker_worker_sent(core, worker, call->client, bytes);
    gi_broker_worker_place(core, worker);
    return true;
}

/* The call begins to wait: until the earlier of the setting timeout and what
 * the caller said it has left; and with what priority. */
static void s_begin_wait(gi_broker_core_t *core, gi_broker_call_t *call) {
    gi_frames_t *out = &core->out;
    gate_bytes_t view = gi_frames_at(out, out->n - 1);
    gi_ext_t ext;
    call->queued_ms = core->clock.now_ms;
    call->deadline_ms = core->clock.now_ms + core->clock.timeout_ms;
    if (out->n != S_EXT_AT + 1 || !gi_ext_is(view) ||
        gi_ext_parse(view, &ext) != GATE_OK)
        return;
    if (ext.timeout_ms >= 0 && ext.timeout_ms < core->clock.timeout_ms)
        call->deadline_ms = core->clock.now_ms + ext.timeout_ms;
    call->urgent = gi_meta_urgent(ext.meta);
}

static void s_enqueue(gi_broker_core_t *core, gi_broker_call_t *call) {
    gi_broker_service_t *service = call->service;
    char text[GI_ID_MAX + 64];
    bool first = call->attempt == 1;
    if (first && service->n_queued >= (size_t)core->settings->queue_max) {
        core->count.queue_full++;
        if (service->n_far == 0 ||
            !core->far.ops->full(call, text, sizeof text))
            snprintf(text, sizeof text, "The queue of service %.*s is full.",
                     (int)service->name_size, service->name);
        gi_broker_call_fail(core, call, "BusyWorkerError", text);
        return;
    }
    if (first && !gi_broker_has_share(core, call->client)) {
        s_full(core, call);
        return;
    }
    if (call->deadline_ms == 0) /* else it was queued before */
        s_begin_wait(core, call);
    gi_broker_again_forget(core, call);
    call->request = gi_broker_message_keep(core, &core->out, call->client);
    if (call->request == NULL) {
        s_no_memory(core, call);
        return;
    }
    if (!gi_broker_waiting_add(call)) {
        s_no_memory(core, call);
        return;
    }
    call->queued = true;
    service->n_queued++;
    core->n_queued++;
    gi_broker_arm(core, &call->deadline, call->deadline_ms);
    gi_broker_relieve(core, service);
}

void gi_broker_dispatch(gi_broker_core_t *core, gi_broker_call_t *call) {
    gi_broker_service_t *service = call->service;
    gi_broker_worker_t *worker;
    if (gi_broker_expired(core, call)) {
        core->count.expired++;
        gi_broker_call_fail(core, call, "TimeoutError",
                            "The deadline passed before it could run.");
        return;
    }
    if (gi_broker_is_slow(core, call))
        return;
    while ((worker = s_choose(core, service, call)))
        if (gi_broker_call_exceeds(core, call, worker) ||
            s_give(core, call, worker))
            return;
    if (s_has_workers(service, call) || gi_broker_expects(core)) {
        if (call->args_size < 0 ||
            gi_broker_args_may_wait(service, s_pick(service) != NULL) ||
            service->n_workers == 0)
            s_enqueue(core, call);
        else
            gi_broker_args_refuse(core, call);
        return;
    }
    core->count.unavailable++;
    gi_broker_call_fail(core, call, NULL, NULL);
}

/* ---- the queue ----------------------------------------------------------- */
void gi_broker_unqueue(gi_broker_core_t *core, gi_broker_call_t *call) {
    if (!call->queued)
        return;
    gi_broker_disarm(core, &call->deadline);
    gi_broker_waiting_leave(call);
    call->queued = false;
    call->service->n_queued--;
    core->n_queued--;
}

static gi_broker_call_t *s_first(const gi_broker_core_t *core,
                                 gi_broker_service_t *service) {
    if (s_pick(service))
        return gi_broker_waiting_first(service);
    if (service->n_behind || gi_list_empty(&service->far))
        return NULL;
    return core->far.ops->first(service);
}

void gi_broker_service_pump(gi_broker_core_t *core,
                            gi_broker_service_t *service) {
    gi_broker_call_t *call;
    gi_list_remove(&service->pump);
    while ((call = s_first(core, service))) {
        gi_broker_waiting_pay(call);
        gi_broker_unqueue(core, call);
        gi_broker_message_t *request = call->request;
        call->request = NULL;
        if (gi_broker_message_restore(core, &core->out, request))
            gi_broker_dispatch(core, call);
        else
            s_no_memory(core, call);
    }
}

void gi_broker_service_empty(gi_broker_core_t *core,
                             gi_broker_service_t *service) {
    if (gi_broker_expects(core))
        s_park(core, service);
    else
        gi_broker_service_abandon(core, service);
}

void gi_broker_service_abandon(gi_broker_core_t *core,
                               gi_broker_service_t *service) {
    gi_broker_call_t *call;
    while ((call = gi_broker_waiting_next(service, NULL))) {
        gi_broker_unqueue(core, call);
        core->count.unavailable++;
        gi_broker_call_fail(core, call, NULL, NULL);
    }
    s_park(core, service);
}
