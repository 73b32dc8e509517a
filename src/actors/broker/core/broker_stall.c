/* SPDX-License-Identifier: BSD-3-Clause */
/* broker_stall.c -- streams and huge results that nobody reads: each holds a
 * slot of its worker for as long as its client gives no credit, and with all of
 * them held nobody else is served.
 *
 * While others wait for a slot (and not until a worker has read), a client may
 * have as many streams that stood still for a second as there are slots without
 * such a one: with more (and more than one) the first of them are ended, and for
 * some heartbeats it begins no new stream while it has as many calls under way.
 * Trying makes that no longer. */

#include <stdio.h>
#include "broker/core/broker_calls.h"
#include "broker/core/broker_peers.h"
#include "broker/core/broker_services.h"
#include "broker/core/broker_workers.h"
#include "wire/row.h"

#define S_BEATS 4      /* heartbeats without new streams */
#define S_LOOKS 4      /* at a service, in that second */
#define S_TORN_MS 2000 /* what was sent longer ago has arrived */
#define S_STALLED                                                             \
    "Nobody read this stream for %lld ms, and others wait for a worker: its " \
    "client had %zu such."
#define S_SLOW                                                               \
    "This client has streams that it does not read while others wait for a " \
    "worker: it gets no more than %zu calls."

/* ---- credit -------------------------------------------------------------- */
static int64_t s_more(int64_t credit, int64_t more) {
    return more <= 0 || credit == INT64_MAX              ? credit
           : credit > 0 && more > INT64_MAX - 1 - credit ? INT64_MAX - 1
                                                         : credit + more;
}

/* One that is absent does not count. */
void gi_broker_stall_begin(gi_broker_call_t *call, const gi_ext_t *ext) {
    call->credited = ext->credit_items >= 0 || ext->credit_bytes >= 0;
    call->items = ext->credit_items >= 0 ? ext->credit_items : INT64_MAX;
    call->bytes = ext->credit_bytes >= 0 ? ext->credit_bytes : INT64_MAX;
}

void gi_broker_stall_credit(gi_broker_core_t *core, gi_broker_call_t *call,
                            const gi_ext_t *ext) {
    call->items = s_more(call->items, ext->credit_items);
    call->bytes = s_more(call->bytes, ext->credit_bytes);
    call->moved_ms = core->clock.now_ms;
}

void gi_broker_stall_spend(gi_broker_core_t *core, gi_broker_call_t *call,
                           gi_body_kind_t kind, gate_bytes_t payload) {
    unsigned n = kind == GI_BODY_ROW ? gi_row_count(payload) : 1;
    size_t lengths = kind == GI_BODY_ROW ? n * GI_ROW_LENGTH : 0;
    if (call->items != INT64_MAX)
        call->items -= n;
    if (call->bytes != INT64_MAX)
        call->bytes -= (int64_t)(payload.size - lengths);
    call->moved_ms = core->clock.now_ms;
}

/* A second, or a heartbeat if that is shorter. */
static int64_t s_bound_ms(const gi_broker_core_t *core) {
    return core->clock.beat_ms < 1000 ? core->clock.beat_ms : 1000;
}

/* ---- torn ------------------------------------------------------------------ */
#define S_TORN                                                               \
    "The connection of this client was cut while it was sent a stream or a " \
    "huge answer: some of it may be lost."

static bool s_may_miss(const gi_broker_core_t *core,
                       const gi_broker_call_t *call) {
    return call->streaming && core->clock.now_ms - call->moved_ms < S_TORN_MS;
}

/* What was under way to it is lost, or what it said about them: a cancel, more
 * credit. One of ours knows nothing of a huge answer whose first chunks were, and
 * would wait for more. A client that gives no credit reads on, as at a Python
 * broker, if its stream stood still: else items may be missing. */
void gi_broker_stall_torn(gi_broker_core_t *core, gi_broker_peer_t *client,
                          bool ours) {
    for (gi_list_t *l = client->calls.next; l != &client->calls; l = l->next) {
        gi_broker_call_t *call = GI_OF(l, gi_broker_call_t, of_client);
        if ((call->credited || (ours && call->huge) ||
             s_may_miss(core, call)) &&
            !call->muted && call->worker && !call->request)
            gi_broker_call_give_up(core, call, "ConnectionLostError", S_TORN);
    }
}

/* ---- who holds how many -------------------------------------------------- */
typedef struct s_held {
    gi_broker_core_t *core;
    const gi_broker_service_t *service;
    size_t slots, stalled;  /* taken; of them by streams that stand still */
    gi_broker_peer_t *most; /* who has most of these */
} s_held_t;

static bool s_is_stalled(const s_held_t *held, const gi_broker_call_t *call) {
    const gi_broker_worker_t *worker = call->worker;
    return call->credited && !call->muted && call->request == NULL && worker &&
           worker->ext && call->service == held->service &&
           (call->items <= 0 || call->bytes <= 0) &&
           held->core->clock.now_ms - call->moved_ms >= s_bound_ms(held->core);
}

typedef void s_visit_fn(s_held_t *held, gi_broker_call_t *call);

static void s_clear(s_held_t *held, gi_broker_call_t *call) {
    held->slots++;
    call->client->n_stalled = 0;
}

static void s_count(s_held_t *held, gi_broker_call_t *call) {
    gi_broker_peer_t *client = call->client;
    if (!s_is_stalled(held, call))
        return;
    held->stalled++;
    client->n_stalled++;
    if (held->most == NULL || client->n_stalled > held->most->n_stalled)
        held->most = client;
}

/* Each call that a worker of the service has. */
static void s_walk(s_held_t *held, s_visit_fn *visit) {
    const gi_list_t *workers = &held->service->workers;
    for (gi_list_t *l = workers->next; l != workers; l = l->next) {
        gi_broker_worker_t *worker = GI_OF(l, gi_broker_worker_t, of_service);
        gi_list_t *calls = &worker->calls;
        for (gi_list_t *c = calls->next; c != calls; c = c->next)
            visit(held, GI_OF(c, gi_broker_call_t, of_owner));
    }
}

/* ---- relief -------------------------------------------------------------- */
static bool s_is_too_much(const s_held_t *held, size_t n) {
    return n > 1 && n > held->slots - held->stalled;
}

static void s_end_first(s_held_t *held) {
    gi_broker_core_t *core = held->core;
    gi_broker_peer_t *client = held->most;
    size_t n = client->n_stalled, had = n;
    char text[200];
    for (gi_list_t *l = client->calls.next, *next;
         l != &client->calls && s_is_too_much(held, n); l = next) {
        gi_broker_call_t *call = GI_OF(l, gi_broker_call_t, of_client);
        next = l->next;
        if (!s_is_stalled(held, call))
            continue;
        snprintf(text, sizeof text, S_STALLED,
                 (long long)(core->clock.now_ms - call->moved_ms), had);
        gi_broker_call_give_up(core, call, "BusyWorkerError", text);
        core->count.streams_stalled++;
        held->stalled--;
        n--;
    }
    client->slow_ms = core->clock.now_ms + S_BEATS * core->clock.beat_ms;
    client->slow_max = n;
}

/* By its first worker's timer, which is due once a heartbeat else. */
static void s_look_again(gi_broker_core_t *core, gi_broker_service_t *service) {
    int64_t due = core->clock.now_ms + s_bound_ms(core) / S_LOOKS;
    if (gi_list_empty(&service->workers))
        return;
    gi_broker_worker_t *worker =
        GI_OF(service->workers.next, gi_broker_worker_t, of_service);
    if (worker->far == NULL && worker->beat.timer.due_ms > due)
        gi_broker_arm(core, &worker->beat, due);
}

void gi_broker_relieve(gi_broker_core_t *core, gi_broker_service_t *service) {
    s_held_t held = {.core = core, .service = service};
    if (service->n_queued == 0 || service->n_behind) /* slots are free */
        return;
    s_look_again(core, service);
    if (core->clock.now_ms < service->relief_ms)
        return;
    service->relief_ms = core->clock.now_ms + s_bound_ms(core) / S_LOOKS;
    s_walk(&held, s_clear);
    s_walk(&held, s_count);
    if (held.most && s_is_too_much(&held, held.most->n_stalled))
        s_end_first(&held);
}

bool gi_broker_is_slow(gi_broker_core_t *core, gi_broker_call_t *call) {
    gi_broker_peer_t *client = call->client;
    char text[200];
    if (!call->credited || core->clock.now_ms >= client->slow_ms ||
        client->n_calls <= client->slow_max)
        return false;
    snprintf(text, sizeof text, S_SLOW, client->slow_max);
    gi_broker_call_fail(core, call, "BusyWorkerError", text);
    return true;
}
