/* SPDX-License-Identifier: BSD-3-Clause */
/* broker_seen.c -- how calls end, by service and method, whatever language their
 * workers are in: the broker reads the class of an exception and nothing else
 * of a body.
 * Law: a call is counted once, when its client's answer is decided. */
#include "broker/core/broker_calls.h"

#include <gaterpc/log.h>
#include <string.h>
#include "base/mem.h"
#include "broker/core/broker_services.h"
#include "broker/core/broker_users.h"

#define S_ROOM (24u << 20) /* bytes of all tallies */
#define S_LOG_MS 1000
#define S_MS INT64_C(1000000)

bool gi_broker_seen_init(gi_broker_core_t *core) {
    gi_broker_seen_t *seen = &core->seen;
    seen->room.left = S_ROOM;
    seen->slow_ns = core->settings->slow_ms * S_MS;
    seen->logged_ms = core->clock.now_ms - S_LOG_MS;
    if (seen->slow_ns)
        seen->slow = gi_mem_calloc(1, sizeof *seen->slow);
    seen->other = gi_tally_new(&seen->room);
    return seen->other && (seen->slow || !seen->slow_ns);
}

void gi_broker_seen_fini(gi_broker_core_t *core) {
    gi_tally_destroy(&core->seen.other);
    gi_mem_free(core->seen.slow);
}

void gi_broker_seen_begin(gi_broker_core_t *core, gi_broker_call_t *call,
                          gate_bytes_t func) {
    call->begun_ns = call->given_ns = gi_broker_now_ns(core);
    gi_tally_name(&call->method, func);
}

static gi_tally_t *s_tally(gi_broker_core_t *core,
                           gi_broker_service_t *service) {
    if (service->tally == NULL && !service->guessed)
        service->tally = gi_tally_new(&core->seen.room);
    return service->tally ? service->tally : core->seen.other;
}

/* ---- slow ones ----------------------------------------------------------- */
static void s_name(char to[GI_SLOW_NAME], const char *from) {
    strncpy(to, from, GI_SLOW_NAME - 1);
}

static void s_log_slow(gi_broker_core_t *core, const gi_slow_t *slow) {
    char method[GI_ID_MAX + 1], service[GI_ID_MAX + 1];
    if (core->clock.now_ms - core->seen.logged_ms < S_LOG_MS)
        return;
    core->seen.logged_ms = core->clock.now_ms;
    gi_broker_text(service,
                   (gate_bytes_t){slow->service, strlen(slow->service)});
    gi_broker_text(
        method, (gate_bytes_t){slow->method.text, strlen(slow->method.text)});
    gate_log(GATE_WARN, "broker",
             "slow: %s.%s %lld ms (queue %lld ms, worker %lld ms): %s%s%s",
             service, method, (long long)(slow->total_ns / S_MS),
             (long long)(slow->wait_ns / S_MS),
             (long long)((slow->total_ns - slow->wait_ns) / S_MS),
             gi_tally_outcomes[slow->outcome], *slow->user ? ", user " : "",
             slow->user);
}

static void s_note_slow(gi_broker_core_t *core, const gi_broker_call_t *call,
                        const gi_tally_end_t *end) {
    gi_slow_t *slow =
        gi_slow_add(core->seen.slow, core->clock.now_ms, end->total_ns);
    if (slow == NULL)
        return;
    slow->outcome = end->outcome;
    slow->wait_ns = end->wait_ns;
    slow->attempt = call->attempt;
    slow->method = call->method;
    s_name(slow->service, call->service->name);
    if (call->user)
        s_name(slow->user, call->user->name);
    s_log_slow(core, slow);
}

void gi_broker_seen_pack_slow(const gi_broker_core_t *core, msgpack_packer *pk,
                              uint64_t since) {
    if (core->seen.slow)
        gi_slow_pack(core->seen.slow, pk, since, core->clock.now_ms);
    else
        msgpack_pack_array(pk, 0);
}

/* ---- ends ---------------------------------------------------------------- */
static void s_count(gi_broker_core_t *core, gi_broker_call_t *call,
                    gi_tally_end_t *end) {
    int64_t now_ns = gi_broker_now_ns(core);
    call->counted = true;
    end->method = &call->method;
    end->total_ns = now_ns - call->begun_ns;
    end->wait_ns = (call->worker ? call->given_ns : now_ns) - call->begun_ns;
    end->now_ms = core->clock.now_ms;
    gi_tally_count(s_tally(core, call->service), end);
    if (core->seen.slow && end->total_ns >= core->seen.slow_ns)
        s_note_slow(core, call, end);
}

static gate_bytes_t s_bytes(const char *text) {
    return text ? (gate_bytes_t){text, strlen(text)} : (gate_bytes_t){"", 0};
}

void gi_broker_seen_end(gi_broker_core_t *core, gi_broker_call_t *call,
                        gi_outcome_t outcome, const char *cls,
                        const char *text) {
    gi_tally_end_t end = {
        .outcome = outcome, .cls = s_bytes(cls), .text = s_bytes(text)};
    if (outcome == GI_OUT_REFUSED && cls == NULL)
        end.cls = s_bytes("ServiceUnAvailableError");
    if (!call->counted)
        s_count(core, call, &end);
}

void gi_broker_seen_reply(gi_broker_core_t *core, gi_broker_call_t *call,
                          gi_body_kind_t kind, const gate_bytes_t *body,
                          size_t n_body) {
    gi_tally_end_t end = {.outcome = GI_OUT_OK};
    bool failed = kind == GI_BODY_EXCEPTION || kind == GI_BODY_HUGE_EXCEPTION;
    if (failed && n_body > 2)
        gi_tally_triple(body[2], &end.cls, &end.text);
    if (failed || (kind == GI_BODY_SINGLE &&
                   gi_tally_reply(body[0], &end.cls, &end.text)))
        end.outcome = GI_OUT_EXCEPTION;
    if (!call->counted)
        s_count(core, call, &end);
}

/* ---- where its time went -------------------------------------------------- */
void gi_broker_seen_take(const gate_bytes_t *body, unsigned *n_body,
                         gi_times_t *times) {
    gi_ext_t ext;
    gi_ext_init(&ext);
    *times = ext.times;
    unsigned last = *n_body - 1;
    if (last < 1 || !gi_ext_is(body[last]) ||
        gi_ext_parse(body[last], &ext) != GATE_OK ||
        ext.times.service_queue_us < 0)
        return;
    *times = ext.times;
    *n_body = last;
}

bool gi_broker_seen_tell(gi_broker_core_t *core, const gi_broker_call_t *call,
                         const gi_times_t *times) {
    gi_ext_t ext;
    gi_ext_init(&ext);
    ext.times = *times;
    ext.times.broker_us = (gi_broker_now_ns(core) - call->begun_ns) / 1000;
    ext.times.broker_queue_us = (call->given_ns - call->begun_ns) / 1000;
    gi_buf_reset(&core->body, 65536);
    return gi_ext_pack(&core->body, &ext) == GATE_OK &&
           gi_frames_add(&core->out, core->body.data, core->body.size);
}

void gi_broker_seen_refused(gi_broker_core_t *core,
                            gi_broker_service_t *service, const char *cls) {
    static const gi_tally_name_t none;
    gi_tally_end_t end = {.outcome = GI_OUT_REFUSED,
                          .cls = s_bytes(cls),
                          .method = &none,
                          .now_ms = core->clock.now_ms};
    gi_tally_count(s_tally(core, service), &end);
}
