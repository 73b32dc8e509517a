/* SPDX-License-Identifier: BSD-3-Clause */
/* broker_rerun.c -- idempotent calls run again when their worker is lost, and
 * what the broker writes into a request's extension frame: which run it is, and
 * how much of the caller's time is left.
 *
 *   given to a worker, a copy kept --worker lost--> given to another one
 *        `--first item of a stream, final message--> no copy any more
 *
 * A copy shares its frames' bodies with what was sent (libzmq counts). From the
 * second run on, a worker of ours knows the call by its id and a byte more, the
 * run's number; so what an earlier run still says, whoever says it, is never
 * taken for this one's answer.
 * Law: a call's copy is what was sent to call->worker. */

#include <string.h>
#include "base/mem.h"
#include "broker/core/broker_calls.h"
#include "broker/core/broker_peers.h"
#include "broker/core/broker_services.h"
#include "broker/core/broker_workers.h"

#define S_ID_AT 6
#define S_FUNC_AT 7 /* id "" MDPW01 02 client "" id func args kwargs ext */
#define S_BODY_MAX 3

/* ---- which methods ------------------------------------------------------- */
/* The names hold until the worker says other ones. */
void gi_broker_again_learn(gi_broker_core_t *core, gi_broker_worker_t *worker,
                           gate_bytes_t names) {
    gi_mem_free(worker->idempotent);
    worker->idempotent = NULL;
    if (names.size == 0)
        return;
    worker->idempotent = gi_mem_alloc(names.size + 1);
    if (worker->idempotent == NULL) {
        core->count.no_memory++;
        return;
    }
    memcpy(worker->idempotent, names.data, names.size);
    worker->idempotent[names.size] = 0;
}

/* How many runs a list like "a,b=5" gives a name; 1: it is not in there. */
static int64_t s_listed(const char *list, gate_bytes_t name) {
    while (*list) {
        size_t n = strcspn(list, ",=");
        int64_t runs = GI_RUNS_DEFAULT;
        bool found = n == name.size && memcmp(list, name.data, n) == 0;
        list += n;
        if (*list == '=')
            for (runs = 0, list++; *list >= '0' && *list <= '9'; list++)
                runs = runs < INT16_MAX ? runs * 10 + (*list - '0') : runs;
        if (found)
            return runs;
        list += strcspn(list, ",");
        list += *list == ',';
    }
    return 1;
}

/* How often the call in core->out may run in all. */
static int64_t s_runs(gi_broker_core_t *core,
                      const gi_broker_worker_t *worker) {
    int64_t max = core->settings->attempts_max, runs = 1;
    gate_bytes_t name;
    if (core->out.n > S_FUNC_AT &&
        gi_rpc_parse_func(gi_frames_at(&core->out, S_FUNC_AT), &name) ==
            GATE_OK)
        runs = s_listed(worker->idempotent, name);
    return runs < max ? runs : max;
}

/* ---- the extension frame of the request in core->out --------------------- */
/* False: there is none that parses. */
static bool s_ext(gi_broker_core_t *core, gi_ext_t *ext) {
    gi_frames_t *out = &core->out;
    gi_ext_init(ext);
    if (out->n <= S_FUNC_AT + 1)
        return false;
    gate_bytes_t view = gi_frames_at(out, out->n - 1);
    return gi_ext_is(view) && gi_ext_parse(view, ext) == GATE_OK;
}

bool gi_broker_expired(gi_broker_core_t *core, const gi_broker_call_t *call) {
    gi_ext_t ext;
    return core->clock.now_ms != call->ext_ms && s_ext(core, &ext) &&
           ext.timeout_ms >= 0 &&
           ext.timeout_ms <= core->clock.now_ms - call->ext_ms;
}

/* Packed anew with the run and the time left. Without memory it goes as it is:
 * the worker then knows less. */
static void s_fit(gi_broker_core_t *core, gi_broker_call_t *call) {
    gi_frames_t *out = &core->out;
    gi_ext_t ext;
    bool has = s_ext(core, &ext);
    if (!has && (call->attempt == 1 || out->n > S_FUNC_AT + S_BODY_MAX))
        return;
    if (ext.timeout_ms >= 0)
        ext.timeout_ms -= core->clock.now_ms - call->ext_ms;
    if (call->attempt > 1)
        ext.attempt = call->attempt;
    gi_buf_reset(&core->body, 65536);
    if (gi_ext_pack(&core->body, &ext) != GATE_OK ||
        !(has ? gi_frames_replace(out, out->n - 1, core->body.data,
                                  core->body.size)
              : gi_frames_add(out, core->body.data, core->body.size))) {
        core->count.no_memory++;
        return;
    }
    call->ext_ms = core->clock.now_ms;
}

/* ---- the copy ------------------------------------------------------------ */
void gi_broker_again_forget(gi_broker_core_t *core, gi_broker_call_t *call) {
    if (call->again == NULL)
        return;
    gi_broker_message_free(core, call->again);
    call->again = NULL;
}

size_t gi_broker_again_id(const gi_broker_call_t *call,
                          unsigned char id[GI_ID_MAX]) {
    memcpy(id, call->id, call->id_size);
    if (!call->tagged)
        return call->id_size;
    id[call->id_size] = (unsigned char)call->attempt;
    return call->id_size + 1u;
}

/* The request in core->out gets the id that this run has. */
static bool s_tag(gi_broker_core_t *core, gi_broker_call_t *call, bool ours) {
    unsigned char id[GI_ID_MAX];
    call->tagged = ours && call->id_size < GI_ID_MAX;
    size_t size = gi_broker_again_id(call, id);
    return gi_frames_replace(&core->out, S_ID_AT, id, size);
}

gi_broker_call_t *gi_broker_again_find(gi_broker_core_t *core,
                                       gate_bytes_t client, gate_bytes_t id) {
    if (id.size < 2)
        return NULL;
    unsigned char run = ((const unsigned char *)id.data)[--id.size];
    gi_broker_call_t *call = gi_broker_call_find(core, client, id);
    return call && call->tagged && run == (unsigned char)call->attempt ? call
                                                                       : NULL;
}

bool gi_broker_again_prepare(gi_broker_core_t *core, gi_broker_call_t *call,
                             gi_broker_worker_t *worker) {
    gi_broker_again_forget(core, call);
    if (call->attempt > 1 && !s_tag(core, call, worker->ext))
        return false;
    if (!worker->ext)
        return true;
    if (call->attempt > 1 || call->ext_ms != core->clock.now_ms)
        s_fit(core, call);
    call->reruns = worker->idempotent && call->attempt < s_runs(core, worker);
    if (call->args_size < 0 && !call->client->far &&
        (call->reruns || worker->far) &&
        gi_broker_has_share(core, call->client))
        call->again = gi_broker_message_copy(core, call->client);
    return true;
}

bool gi_broker_again(gi_broker_core_t *core, gi_broker_call_t *call) {
    gi_broker_worker_t *worker = call->worker;
    if (call->again == NULL || !call->reruns || call->muted ||
        call->service->n_workers == 0)
        return false;
    gi_list_remove(&call->of_owner);
    worker->in_flight--;
    if (worker->peer) { /* a far one, whose own worker is lost */
        gi_broker_worker_place(core, worker);
        gi_broker_service_wake(core, worker->service);
    }
    call->worker = NULL;
    gi_broker_message_t *request = call->again;
    call->again = NULL;
    if (!gi_broker_message_restore(core, &core->out, request))
        return false;
    call->attempt++;
    core->count.ran_again++;
    gi_broker_dispatch(core, call);
    return true;
}
