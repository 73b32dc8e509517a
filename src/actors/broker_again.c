/* SPDX-License-Identifier: BSD-3-Clause */
/* broker_again.c -- idempotent calls run again when their worker is lost, and
 * what the broker writes into a request's extension frame: which run it is, and
 * how much of the caller's time is left.
 *
 *   given to a worker, a copy kept --worker lost--> given to another one
 *        `--first item of a stream, final message--> no copy any more
 *
 * A copy shares its frames' bodies with what was sent (libzmq counts).
 * Law: a call's copy is what was sent to call->worker. */
#include "broker_state.h"

#include <string.h>
#include "mem.h"

#define S_FUNC_AT 7 /* id "" MDPW01 02 client "" id func args kwargs ext */
#define S_BODY_MAX 3
#define S_ATTEMPTS_MAX 3

/* ---- which methods
 * ------------------------------------------------------------------ */
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

/* One of "a,b,c". */
static bool s_listed(const char *list, gate_bytes_t name) {
    while (*list) {
        size_t n = strcspn(list, ",");
        if (n == name.size && memcmp(list, name.data, n) == 0)
            return true;
        list += n + (list[n] == ',');
    }
    return false;
}

static bool s_idempotent(const gi_broker_core_t *core,
                         const gi_broker_worker_t *worker) {
    zmq_msg_t *frame = (zmq_msg_t *)(uintptr_t)&core->out.f[S_FUNC_AT];
    gate_bytes_t name;
    return core->out.n > S_FUNC_AT &&
           gi_rpc_parse_func(
               (gate_bytes_t){zmq_msg_data(frame), zmq_msg_size(frame)},
               &name) == GATE_OK &&
           s_listed(worker->idempotent, name);
}

/* ---- the extension frame of the request in core->out
 * ------------------------------------ */
/* False: there is none that parses. */
static bool s_ext(gi_broker_core_t *core, gi_ext_t *ext) {
    gi_frames_t *out = &core->out;
    gi_ext_init(ext);
    if (out->n <= S_FUNC_AT + 1)
        return false;
    zmq_msg_t *last = &out->f[out->n - 1];
    gate_bytes_t view = {zmq_msg_data(last), zmq_msg_size(last)};
    return gi_ext_is(view) && gi_ext_parse(view, ext) == GATE_OK;
}

bool gi_broker_expired(gi_broker_core_t *core, const gi_broker_call_t *call) {
    gi_ext_t ext;
    return core->now_ms != call->ext_ms && s_ext(core, &ext) &&
           ext.timeout_ms >= 0 && ext.timeout_ms <= core->now_ms - call->ext_ms;
}

/* Packed anew with the run and the time left. Without memory it goes as it is:
 * the worker then knows less. */
static void s_fit(gi_broker_core_t *core, gi_broker_call_t *call) {
    gi_frames_t *out = &core->out;
    gi_ext_t ext;
    zmq_msg_t fresh;
    bool has = s_ext(core, &ext);
    if (!has && (call->attempt == 1 || out->n > S_FUNC_AT + S_BODY_MAX))
        return;
    if (ext.timeout_ms >= 0)
        ext.timeout_ms -= core->now_ms - call->ext_ms;
    if (call->attempt > 1)
        ext.attempt = call->attempt;
    gi_buf_reset(&core->body, 65536);
    if (gi_ext_pack(&core->body, &ext) != GATE_OK ||
        !gi_frame_init(&fresh, core->body.data, core->body.size)) {
        core->count.no_memory++;
        return;
    }
    if (has)
        zmq_msg_close(&out->f[--out->n]);
    gi_frames_move(out, &fresh);
    zmq_msg_close(&fresh);
    call->ext_ms = core->now_ms;
}

/* ---- the copy
 * ------------------------------------------------------------------------ */
void gi_broker_again_forget(gi_broker_core_t *core, gi_broker_call_t *call) {
    if (call->again == NULL)
        return;
    gi_broker_message_free(core, call->again);
    call->again = NULL;
}

void gi_broker_again_prepare(gi_broker_core_t *core, gi_broker_call_t *call,
                             gi_broker_worker_t *worker) {
    gi_broker_again_forget(core, call);
    if (!worker->ext)
        return;
    if (call->attempt > 1 || call->ext_ms != core->now_ms)
        s_fit(core, call);
    if (call->args_size < 0 && worker->idempotent &&
        call->attempt < S_ATTEMPTS_MAX && gi_broker_has_room(core) &&
        s_idempotent(core, worker))
        call->again = gi_broker_message_copy(core);
}

bool gi_broker_again(gi_broker_core_t *core, gi_broker_call_t *call) {
    gi_broker_worker_t *worker = call->worker;
    if (call->again == NULL || call->muted || call->service->n_workers == 0)
        return false;
    gi_link_remove(&call->of_owner);
    worker->in_flight--;
    call->worker = NULL;
    gi_broker_message_t *request = call->again;
    call->again = NULL;
    gi_broker_message_restore(core, request);
    call->attempt++;
    core->count.ran_again++;
    gi_broker_dispatch(core, call);
    return true;
}
