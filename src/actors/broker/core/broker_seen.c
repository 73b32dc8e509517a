/* SPDX-License-Identifier: BSD-3-Clause */
/* broker_seen.c -- how calls end, by service and method, whatever language their
 * workers are in: the broker reads the class of an exception and nothing else
 * of a body. And what workers tell of themselves while somebody looks: state
 * that is replaced, never queued, and never read here.
 * Law: a call is counted once, when its client's answer is decided. */
#include "broker/core/broker_calls.h"

#include <gaterpc/log.h>
#include <string.h>
#include "base/mem.h"
#include "base/pack.h"
#include "base/utf8.h"
#include "broker/core/broker_peers.h"
#include "broker/core/broker_services.h"
#include "broker/core/broker_users.h"
#include "broker/core/broker_workers.h"
#include "value/mp.h"

#define S_ROOM (24u << 20) /* bytes of all tallies */
#define S_LOG_MS 1000
#define S_STOOD_MS 100              /* shorter ones are not looked at */
#define S_LOOK_MS 30000             /* an answer to "reports" is good for */
#define S_REPORT_BYTES (32u << 10)  /* of one worker */
#define S_REPORTS_BYTES (16u << 20) /* of all */
#define S_TOLD_BYTES (1u << 20)     /* of one answer */
#define S_REPORT_TEXT 1024
#define S_GREET_AT_ONCE 8 /* workers a ms */
#define S_MS INT64_C(1000000)
/* Not inlined, or each call would save registers for it. */
#define S_RARE __attribute__((noinline))
#define S_LABELLED 100 /* services; metrics.c has room for as many */
#define S_GOOD_READS 4 /* of one look at the clock */

bool gi_broker_seen_init(gi_broker_core_t *core) {
    gi_broker_seen_t *seen = &core->seen;
    seen->room.left = S_ROOM;
    seen->slow_ns =
        core->settings->slow_ms ? core->settings->slow_ms * S_MS : INT64_MAX;
    seen->logged_ms = core->clock.now_ms - S_LOG_MS;
    if (core->settings->slow_ms)
        seen->slow = gi_mem_calloc(1, sizeof *seen->slow);
    seen->other = gi_tally_new(&seen->room);
    return seen->other && (seen->slow || seen->slow_ns == INT64_MAX);
}

void gi_broker_seen_fini(gi_broker_core_t *core) {
    gi_tally_destroy(&core->seen.other);
    gi_mem_free(core->seen.slow);
}

void gi_broker_seen_pass(gi_broker_core_t *core) { core->seen.good_reads = 0; }

S_RARE static void s_look(gi_broker_core_t *core) {
    core->seen.now_ns = gi_broker_now_ns(core);
    core->seen.good_reads = core->effects->now_ns ? S_GOOD_READS : 1;
}

int64_t gi_broker_seen_now(gi_broker_core_t *core) {
    if (core->seen.good_reads == 0)
        s_look(core);
    core->seen.good_reads--;
    return core->seen.now_ns;
}

void gi_broker_seen_begin(gi_broker_core_t *core, gi_broker_call_t *call,
                          gate_bytes_t func) {
    call->stood_ms = core->clock.stood_ms;
    gi_tally_name(&call->method, func);
    call->begun_ns = call->given_ns = gi_broker_seen_now(core);
}

bool gi_broker_seen_plain(const gi_broker_service_t *service) {
    for (size_t i = 0; i < service->name_size; i++)
        if ((unsigned char)service->name[i] < ' ' || service->name[i] == 0x7f)
            return false;
    return gi_utf8_valid(service->name, service->name_size);
}

/* One that is shown by its own name: what cannot be in a label shares "_other",
 * and so does who is too much. For good: counts that move go back elsewhere. */
static bool s_may_label(const gi_broker_core_t *core,
                        const gi_broker_service_t *service) {
    return core->seen.n_labelled < S_LABELLED &&
           gi_broker_seen_plain(service) &&
           strcmp(service->name, "_other") != 0;
}

S_RARE static gi_tally_t *s_first(gi_broker_core_t *core,
                                  gi_broker_service_t *service) {
    if (!service->guessed)
        service->tally = gi_tally_new(&core->seen.room);
    if (service->tally == NULL)
        return core->seen.other;
    service->labelled = s_may_label(core, service);
    core->seen.n_labelled += service->labelled;
    return service->tally;
}

void gi_broker_seen_gone(gi_broker_core_t *core, gi_broker_service_t *service) {
    if (service->labelled)
        core->seen.n_labelled--;
    else if (service->tally)
        gi_tally_fold(core->seen.other, service->tally);
    gi_tally_destroy(&service->tally);
}

static gi_tally_t *s_tally(gi_broker_core_t *core,
                           gi_broker_service_t *service) {
    return service->tally ? service->tally : s_first(core, service);
}

/* A timer was due, and nothing came to us since then: this process was stopped,
 * or had no CPU, or was busy. That is no worker's time. */
void gi_broker_seen_time(gi_broker_core_t *core, int64_t now_ms) {
    gi_broker_clock_t *clock = &core->clock;
    if (now_ms - clock->now_ms > S_STOOD_MS) {
        int64_t from = gi_wheel_next(clock->wheel);
        from = from > clock->now_ms ? from : clock->now_ms;
        clock->stood_ms += now_ms - from > S_STOOD_MS ? now_ms - from : 0;
    }
    clock->now_ms = now_ms;
}

/* ---- slow ones ----------------------------------------------------------- */
static void s_name(char to[GI_SLOW_NAME], const char *from) {
    strncpy(to, from, GI_SLOW_NAME - 1);
}

static void s_log_slow(gi_broker_core_t *core, const gi_slow_t *slow) {
    char method[GI_ID_MAX + 1], service[GI_ID_MAX + 1], stood[64] = "";
    if (core->clock.now_ms - core->seen.logged_ms < S_LOG_MS)
        return;
    core->seen.logged_ms = core->clock.now_ms;
    gi_broker_text(service,
                   (gate_bytes_t){slow->service, strlen(slow->service)});
    gi_broker_text(
        method, (gate_bytes_t){slow->method.text, strlen(slow->method.text)});
    if (slow->stood_ns)
        snprintf(stood, sizeof stood, "this broker stood still %lld ms, ",
                 (long long)(slow->stood_ns / S_MS));
    gate_log(
        GATE_WARN, "broker",
        "slow: %s.%s %lld ms (queue %lld ms, %sworker %lld ms): %s%s%s",
        service, method, (long long)(slow->total_ns / S_MS),
        (long long)(slow->wait_ns / S_MS), stood,
        (long long)((slow->total_ns - slow->wait_ns - slow->stood_ns) / S_MS),
        gi_tally_outcomes[slow->outcome], *slow->user ? ", user " : "",
        slow->user);
}

S_RARE static void s_note_slow(gi_broker_core_t *core,
                               const gi_broker_call_t *call,
                               gi_outcome_t outcome, int64_t total_ns,
                               int64_t wait_ns, int64_t stood_ns) {
    gi_slow_t *slow =
        gi_slow_add(core->seen.slow, core->clock.now_ms, total_ns);
    if (slow == NULL)
        return;
    slow->outcome = outcome;
    slow->wait_ns = wait_ns;
    slow->stood_ns = stood_ns;
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
                    gi_outcome_t outcome, const gi_tally_error_t *error) {
    int64_t now_ns = gi_broker_seen_now(core);
    int64_t left_ns = call->worker ? call->given_ns : now_ns; /* the queue */
    int64_t total_ns = now_ns - call->begun_ns;
    int64_t wait_ns = left_ns - call->begun_ns, stood_ns = 0;
    call->counted = true;
    if (call->worker)
        stood_ns = (core->clock.stood_ms - call->stood_ms) * S_MS;
    if (stood_ns > total_ns - wait_ns)
        stood_ns = total_ns - wait_ns;
    if (total_ns >= core->seen.slow_ns)
        s_note_slow(core, call, outcome, total_ns, wait_ns, stood_ns);
    gi_tally_count(s_tally(core, call->service), &call->method, outcome, error,
                   total_ns, wait_ns + stood_ns);
}

static gate_bytes_t s_bytes(const char *text) {
    return text ? (gate_bytes_t){text, strlen(text)} : (gate_bytes_t){"", 0};
}

void gi_broker_seen_end(gi_broker_core_t *core, gi_broker_call_t *call,
                        gi_outcome_t outcome, const char *cls,
                        const char *text) {
    if (outcome == GI_OUT_REFUSED && cls == NULL)
        cls = "ServiceUnAvailableError";
    gi_tally_error_t error = {s_bytes(cls), s_bytes(text), core->clock.now_ms};
    if (!call->counted)
        s_count(core, call, outcome, cls ? &error : NULL);
}

/* Of a single reply it reads no more than it must: the most are well. */
static bool s_may_fail(gi_body_kind_t kind, gate_bytes_t reply) {
    if (kind == GI_BODY_SINGLE)
        return gi_tally_may_fail(reply);
    return kind == GI_BODY_EXCEPTION || kind == GI_BODY_HUGE_EXCEPTION;
}

/* One that may have failed. */
S_RARE static void s_count_reply(gi_broker_core_t *core, gi_broker_call_t *call,
                                 gi_body_kind_t kind, const gate_bytes_t *body,
                                 size_t n_body) {
    gi_tally_error_t error = {.now_ms = core->clock.now_ms};
    bool failed = kind != GI_BODY_SINGLE;
    if (!failed)
        failed = gi_tally_reply(body[0], &error.cls, &error.text);
    else if (n_body > 2)
        gi_tally_triple(body[2], &error.cls, &error.text);
    s_count(core, call, failed ? GI_OUT_EXCEPTION : GI_OUT_OK,
            failed ? &error : NULL);
}

void gi_broker_seen_reply(gi_broker_core_t *core, gi_broker_call_t *call,
                          gi_body_kind_t kind, const gate_bytes_t *body,
                          size_t n_body) {
    if (call->counted)
        return;
    if (s_may_fail(kind, body[0]))
        s_count_reply(core, call, kind, body, n_body);
    else
        s_count(core, call, GI_OUT_OK, NULL);
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
    gi_tally_error_t error = {.cls = s_bytes(cls),
                              .now_ms = core->clock.now_ms};
    gi_tally_count(s_tally(core, service), &none, GI_OUT_REFUSED, &error, 0, 0);
}

/* ---- what workers report --------------------------------------------------- */
/* Those that would tell are asked at once, a few a millisecond; what they told
 * when somebody looked before is old. */
static void s_ask_all(gi_broker_core_t *core) {
    int64_t now = core->clock.now_ms, n = 0;
    for (gi_list_t *l = core->order.next; l != &core->order; l = l->next) {
        gi_broker_service_t *service = GI_OF(l, gi_broker_service_t, order);
        gi_list_t *w = service->workers.next;
        for (; w != &service->workers; w = w->next) {
            gi_broker_worker_t *worker =
                GI_OF(w, gi_broker_worker_t, of_service);
            if (!worker->ext || worker->far)
                continue;
            gi_broker_seen_forget(core, worker);
            worker->sent_ms = now - core->clock.beat_ms;
            gi_broker_arm(core, &worker->beat, now + n++ / S_GREET_AT_ONCE);
        }
    }
}

void gi_broker_seen_look(gi_broker_core_t *core) {
    bool begins = core->seen.look_ms == 0;
    core->seen.look_ms = core->clock.now_ms + S_LOOK_MS;
    if (!begins)
        return;
    gi_broker_life_hello(core);
    s_ask_all(core);
}

void gi_broker_seen_look_over(gi_broker_core_t *core) {
    if (core->seen.look_ms == 0 || core->clock.now_ms < core->seen.look_ms)
        return;
    core->seen.look_ms = 0;
    gi_broker_life_hello(core);
}

void gi_broker_seen_forget(gi_broker_core_t *core, gi_broker_worker_t *worker) {
    core->seen.report_bytes -= worker->report_size;
    gi_mem_free(worker->report);
    worker->report = NULL;
    worker->report_size = 0;
}

/* Nothing but maps, lists, numbers and text: it is well formed, as all that
 * comes in an extension frame. */
static bool s_may_tell(gate_bytes_t report) {
    const unsigned char *p = report.data;
    size_t left = report.size;
    gi_mp_t h;
    while (left) {
        size_t size = gi_mp_head(p, left, &h);
        if (h.kind == GI_MP_STR &&
            (h.n > S_REPORT_TEXT || !gi_utf8_valid(p + size, h.n)))
            return false;
        if (h.kind == GI_MP_BIN || h.kind == GI_MP_EXT || h.kind == GI_MP_F32 ||
            h.kind == GI_MP_F64)
            return false;
        size += h.kind == GI_MP_STR ? h.n : 0;
        p += size;
        left -= size;
    }
    return true;
}

void gi_broker_seen_report(gi_broker_core_t *core, gi_broker_worker_t *worker,
                           gate_bytes_t report) {
    size_t others = core->seen.report_bytes - worker->report_size;
    bool may = core->seen.look_ms && report.size <= S_REPORT_BYTES &&
               others + report.size <= S_REPORTS_BYTES && s_may_tell(report);
    void *kept = may ? gi_mem_alloc(report.size) : NULL;
    if (kept == NULL) {
        core->count.reports_dropped++;
        return;
    }
    gi_broker_seen_forget(core, worker);
    memcpy(kept, report.data, report.size);
    worker->report = kept;
    worker->report_size = report.size;
    worker->report_ms = core->clock.now_ms;
    core->seen.report_bytes += report.size;
    core->count.reports++;
}

static void s_pack_report(const gi_broker_core_t *core,
                          const gi_broker_worker_t *worker,
                          msgpack_packer *pk) {
    const gi_broker_service_t *service = worker->service;
    char id[2 * GI_ID_MAX + 1];
    gi_broker_peer_hex(id, worker->peer);
    msgpack_pack_map(pk, 4);
    gi_pack_text(pk, "service");
    gi_tally_pack_text(pk, service->name, service->name_size);
    gi_pack_str(pk, "worker", id);
    gi_pack_int(pk, "age_ms", core->clock.now_ms - worker->report_ms);
    gi_pack_text(pk, "report");
    pk->callback(pk->data, worker->report, worker->report_size);
}

/* Those that have room in one answer, packed unless pk is NULL; how many. *all:
 * how many there are. */
static size_t s_each_report(const gi_broker_core_t *core, msgpack_packer *pk,
                            size_t *all) {
    size_t n = 0, room = S_TOLD_BYTES;
    *all = 0;
    for (gi_list_t *l = core->order.next; l != &core->order; l = l->next) {
        gi_broker_service_t *service = GI_OF(l, gi_broker_service_t, order);
        gi_list_t *w = service->workers.next;
        for (; w != &service->workers; w = w->next) {
            gi_broker_worker_t *worker =
                GI_OF(w, gi_broker_worker_t, of_service);
            *all += worker->report != NULL;
            if (!worker->report || worker->report_size > room)
                continue;
            room -= worker->report_size;
            n++;
            if (pk)
                s_pack_report(core, worker, pk);
        }
    }
    return n;
}

void gi_broker_seen_pack_reports(gi_broker_core_t *core, msgpack_packer *pk) {
    size_t all, told = s_each_report(core, NULL, &all);
    msgpack_pack_map(pk, 3);
    gi_pack_uint(pk, "total", all);
    gi_pack_uint(pk, "left_out", all - told);
    gi_pack_text(pk, "reports");
    msgpack_pack_array(pk, told);
    s_each_report(core, pk, &all);
}
