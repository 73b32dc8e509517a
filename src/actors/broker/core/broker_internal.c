/* SPDX-License-Identifier: BSD-3-Clause */
/* broker_internal.c -- the internal service: the broker's own functions and the
 * program's. Everything runs here and now, before the next message (wire.md).
 * Keyword arguments of the own functions are ignored: Python adds some. */
#include "broker/core/broker_state.h"

#include <stdio.h>
#include <string.h>
#include <strings.h>
#include "base/bytes.h"
#include "base/mem.h"
#include "jobs/call.h"
#include "wire/meta.h"
#include "broker/core/broker_calls.h"
#include "broker/core/broker_peers.h"
#include "broker/core/broker_services.h"
#include "broker/core/broker_users.h"
#include "broker/core/broker_workers.h"

#define S_ARGS_MAX 65536 /* bytes, of an own function: none needs a KiB */
/* One call of the internal service. */
typedef struct s_gate {
    gi_broker_core_t *core;
    gi_broker_peer_t *client;
    gate_bytes_t service, id;
    const gate_bytes_t *body;
    size_t n_body;
    gate_bytes_t ext; /* empty: none came */
} s_gate_t;

/* A user function's call, made once and used again. */
typedef struct s_host {
    gate_call_t call;
    const s_gate_t *gate;
} s_host_t;

/* ---- answers ------------------------------------------------------------- */
static void s_error(const s_gate_t *gate, const char *cls, const char *text) {
    gi_broker_refuse(gate->core, gate->client, gate->service, gate->id, cls,
                     text);
}

static void s_no_memory(const s_gate_t *gate) {
    gate->core->count.no_memory++;
    s_error(gate, "MemoryError", "The broker has no memory.");
}

static void s_send(const s_gate_t *gate, bool last) {
    gi_broker_sent_t sent =
        gi_broker_peer_send(gate->core, gate->client, last, NULL);
    gate->core->count.dropped_full += sent == GI_OVERFLOW;
    gate->core->count.dropped_gone += sent == GI_GONE;
    gi_frames_close(&gate->core->out);
}

/* One frame: {"result": the packed value, "exception": nil}. */
static void s_answer(const s_gate_t *gate, gate_bytes_t value) {
    gi_frames_t *out = &gate->core->out;
    size_t size = value.size + GI_RPC_OK_OVERHEAD;
    unsigned char *p;
    if (!gi_broker_to_client(gate->core, gate->client, gate->service,
                             gate->id) ||
        !(p = gi_frames_room(out, size))) {
        s_no_memory(gate);
        return;
    }
    memcpy(p, gi_rpc_ok_prefix, sizeof gi_rpc_ok_prefix);
    memcpy(p + sizeof gi_rpc_ok_prefix, value.data, value.size);
    memcpy(p + sizeof gi_rpc_ok_prefix + value.size, gi_rpc_ok_suffix,
           sizeof gi_rpc_ok_suffix);
    s_send(gate, false);
}

/* ---- own functions ------------------------------------------------------- */
static void s_pack_str(msgpack_packer *pk, const char *text) {
    size_t n = strlen(text);
    msgpack_pack_str_with_body(pk, text, n);
}

static void s_pack_number(msgpack_packer *pk, const char *name, int64_t n) {
    s_pack_str(pk, name);
    msgpack_pack_int64(pk, n);
}

static void s_pack_names(gi_broker_core_t *core, msgpack_packer *pk,
                         bool internal) {
    size_t n = 0;
    gi_list_t *l;
    for (l = core->order.next; l != &core->order; l = l->next)
        n += !GI_OF(l, gi_broker_service_t, order)->guessed;
    msgpack_pack_array(pk, n + internal);
    for (l = core->order.next; l != &core->order; l = l->next)
        if (!GI_OF(l, gi_broker_service_t, order)->guessed)
            s_pack_str(pk, GI_OF(l, gi_broker_service_t, order)->name);
    if (internal)
        s_pack_str(pk, core->internal.data);
}

/* The positional arguments: n of them; *out is the only one. */
static gate_err_t s_take(const s_gate_t *gate, const char *name, uint32_t n,
                         msgpack_zone *zone, msgpack_object *args,
                         const msgpack_object **out) {
    gate_err_t e = GATE_OK;
    *args = (msgpack_object){.type = MSGPACK_OBJECT_ARRAY};
    if (gate->n_body > 1 && gate->body[1].size > S_ARGS_MAX)
        return gi_err(GATE_TOOBIG, "%s takes arguments of %d bytes at most",
                      name, S_ARGS_MAX);
    if (gate->n_body > 1)
        e = gi_value_decode_into(gate->body[1].data, gate->body[1].size, zone,
                                 gate->core->settings, args);
    if (e != GATE_OK)
        return e;
    if (args->type != MSGPACK_OBJECT_ARRAY || args->via.array.size != n)
        return gi_err(GATE_BADARG, "%s takes %s argument", name,
                      n ? "one" : "no");
    *out = n ? &args->via.array.ptr[0] : NULL;
    return GATE_OK;
}

static gate_err_t s_get_services(const s_gate_t *gate,
                                 const msgpack_object *arg,
                                 msgpack_packer *pk) {
    (void)arg;
    s_pack_names(gate->core, pk, true);
    return GATE_OK;
}

/* Python's own Client packs the name twice (a bin): the answer is nil. */
static gate_err_t s_query_service(const s_gate_t *gate,
                                  const msgpack_object *arg,
                                  msgpack_packer *pk) {
    gi_broker_service_t *service = NULL;
    if (arg->type == MSGPACK_OBJECT_STR)
        service = gi_broker_service_find(
            gate->core, (gate_bytes_t){arg->via.str.ptr, arg->via.str.size});
    if (service)
        s_pack_str(pk, service->description);
    else
        msgpack_pack_nil(pk);
    return GATE_OK;
}

static gate_err_t s_info(const s_gate_t *gate, const msgpack_object *arg,
                         msgpack_packer *pk) {
    (void)arg;
    gate->client->asked = true;
    msgpack_pack_map(pk, 3);
    s_pack_str(pk, "my_id");
    msgpack_pack_bin_with_body(pk, gate->core->id, GI_ID_SIZE);
    s_pack_str(pk, "services");
    s_pack_names(gate->core, pk, false);
    s_pack_str(pk, "ext");
    bool packed = gate->core->settings->packed;
    msgpack_pack_array(pk, packed ? 3 : 2);
    s_pack_str(pk, "GX1");
    s_pack_str(pk, "HA1");
    if (packed)
        s_pack_str(pk, "GXP");
    return GATE_OK;
}

static gate_err_t s_keepalive(const s_gate_t *gate, const msgpack_object *arg,
                              msgpack_packer *pk) {
    static const char beat[] = "heartbeat";
    (void)gate;
    bool right = arg->type == MSGPACK_OBJECT_BIN &&
                 arg->via.bin.size == sizeof beat - 1 &&
                 memcmp(arg->via.bin.ptr, beat, sizeof beat - 1) == 0;
    msgpack_pack_bin_with_body(pk, right ? "200" : "400", 3);
    return GATE_OK;
}

static gate_err_t s_stats(const s_gate_t *gate, const msgpack_object *arg,
                          msgpack_packer *pk) {
    (void)arg;
    return gi_broker_core_stats(gate->core, pk->data);
}

/* A worker's routing id as people write it. */
static void s_hex(char to[2 * GI_ID_MAX + 1], const gi_broker_peer_t *peer) {
    static const char digits[] = "0123456789abcdef";
    for (size_t i = 0; i < peer->id_size; i++) {
        to[2 * i] = digits[peer->id[i] >> 4];
        to[2 * i + 1] = digits[peer->id[i] & 15];
    }
    to[2 * peer->id_size] = 0;
}

static gi_broker_service_t *s_service_of(const s_gate_t *gate,
                                         const msgpack_object *arg) {
    if (arg->type != MSGPACK_OBJECT_STR)
        return NULL;
    return gi_broker_service_find(
        gate->core, (gate_bytes_t){arg->via.str.ptr, arg->via.str.size});
}

/* {id: {in_flight, max, ext, draining, silent_ms}} of a service's workers. */
static gate_err_t s_workers(const s_gate_t *gate, const msgpack_object *arg,
                            msgpack_packer *pk) {
    char id[2 * GI_ID_MAX + 1];
    const gi_broker_service_t *service = s_service_of(gate, arg);
    if (service == NULL)
        return gi_err(GATE_NOSERVICE, "no service of that name");
    msgpack_pack_map(pk, service->n_workers);
    const gi_list_t *l = service->workers.next;
    for (; l != &service->workers; l = l->next) {
        const gi_broker_worker_t *worker =
            GI_OF((uintptr_t)l, gi_broker_worker_t, of_service);
        s_hex(id, worker->peer);
        s_pack_str(pk, id);
        msgpack_pack_map(pk, 5);
        s_pack_number(pk, "in_flight", worker->in_flight);
        s_pack_number(pk, "max", worker->max);
        s_pack_str(pk, "ext");
        (worker->ext ? msgpack_pack_true : msgpack_pack_false)(pk);
        s_pack_str(pk, "draining");
        (worker->draining ? msgpack_pack_true : msgpack_pack_false)(pk);
        s_pack_number(pk, "silent_ms",
                      gate->core->clock.now_ms - worker->peer->seen_ms);
    }
    return GATE_OK;
}

/* Tells a service's workers to finish and leave: all, or the one with that id
 * (""). How many were told; -1: no such worker. One that knows no extensions
 * cannot be told. */
static int64_t s_tell(const s_gate_t *gate, gi_broker_service_t *service,
                      gate_bytes_t only) {
    char id[2 * GI_ID_MAX + 1];
    int64_t n = -1;
    for (gi_list_t *l = service->workers.next, *next; l != &service->workers;
         l = next) {
        gi_broker_worker_t *worker = GI_OF(l, gi_broker_worker_t, of_service);
        next = l->next; /* one that turns out to be gone leaves the list */
        if (only.size && only.size != 2u * worker->peer->id_size)
            continue;
        s_hex(id, worker->peer);
        if (only.size && strncasecmp(id, only.data, only.size) != 0)
            continue;
        n += (n < 0) + gi_broker_worker_drain(gate->core, worker);
    }
    return n;
}

/* By a service's name, or by a worker's id. */
static gate_err_t s_drain(const s_gate_t *gate, const msgpack_object *arg,
                          msgpack_packer *pk) {
    gi_broker_service_t *service = s_service_of(gate, arg);
    gate_bytes_t none = {"", 0}, id = none;
    int64_t n = service ? s_tell(gate, service, none) : -1;
    if (arg->type == MSGPACK_OBJECT_STR)
        id = (gate_bytes_t){arg->via.str.ptr, arg->via.str.size};
    gi_list_t *l = gate->core->order.next;
    for (; id.size && n < 0 && l != &gate->core->order; l = l->next)
        n = s_tell(gate, GI_OF(l, gi_broker_service_t, order), id);
    if (n < 0)
        return gi_err(GATE_NOSERVICE, "no worker serves that name, and none "
                                      "has that id");
    msgpack_pack_int64(pk, n);
    return GATE_OK;
}

static const struct {
    const char *name;
    gate_err_t (*run)(const s_gate_t *gate, const msgpack_object *arg,
                      msgpack_packer *pk);
    bool takes_one;
} s_functions[] = {
    {"keepalive", s_keepalive, true}, {"get_services", s_get_services, false},
    {"info", s_info, false},          {"query_service", s_query_service, true},
    {"stats", s_stats, false},        {"drain", s_drain, true},
    {"workers", s_workers, true},
};
#define S_OPEN 4 /* the first ones are for everybody */

static void s_run_own(const s_gate_t *gate, size_t i) {
    gi_buf_t *out = &gate->core->body;
    const msgpack_object *arg = NULL;
    msgpack_object args;
    msgpack_packer pk;
    msgpack_zone zone;
    gate_err_t e = GATE_OK;
    if (!msgpack_zone_init(&zone, 1024)) {
        s_no_memory(gate);
        return;
    }
    gi_buf_reset(out, 65536);
    msgpack_packer_init(&pk, out, gi_buf_write);
    e = s_take(gate, s_functions[i].name, s_functions[i].takes_one, &zone,
               &args, &arg);
    if (e == GATE_OK)
        e = s_functions[i].run(gate, arg, &pk);
    msgpack_zone_destroy(&zone);
    if (out->failed)
        s_no_memory(gate);
    else if (e != GATE_OK)
        s_error(gate, gi_err_class(e), gate_error()->text);
    else
        s_answer(gate, (gate_bytes_t){out->data, out->size});
}

/* ---- the program's functions --------------------------------------------- */
static bool s_tagged(const s_gate_t *gate, gate_bytes_t a, gate_bytes_t b) {
    gi_frames_t *out = &gate->core->out;
    bool ok = gi_broker_to_client(gate->core, gate->client, gate->service,
                                  gate->id) &&
              gi_frames_add(out, GI_STREAM_TAG, strlen(GI_STREAM_TAG)) &&
              gi_frames_add(out, a.data, a.size) &&
              (b.data == NULL || gi_frames_add(out, b.data, b.size));
    if (!ok) {
        gate->core->count.no_memory++;
        gi_frames_close(out);
    }
    return ok;
}

/* Nobody can be waited for here: a reader that is full ends the stream. */
static gate_err_t s_takes(const s_gate_t *gate) {
    if (gate->client->gone)
        return gi_err(GATE_CANCELLED, "the client is gone");
    if (!gi_broker_peer_has_room(gate->core, gate->client))
        return gi_err_story(GATE_BUSY, "StreamOverflowError",
                            "the reader is too slow", "");
    return GATE_OK;
}

static gate_err_t s_yield(gate_call_t *call) {
    const s_gate_t *gate = GI_OF(call, s_host_t, call)->gate;
    gate_err_t e = s_takes(gate);
    if (e)
        return e;
    if (!s_tagged(gate, (gate_bytes_t){call->out.data, call->out.size},
                  (gate_bytes_t){NULL, 0}))
        return GATE_NOMEM;
    s_send(gate, false);
    return GATE_OK;
}

/* All of it at once; next may not care what became of an item. */
static gate_err_t s_generate(gate_call_t *call,
                             gate_err_t (*next)(gate_call_t *, void *),
                             void *state, void (*done)(void *)) {
    gate_err_t e = GATE_OK;
    while (e == GATE_OK) {
        e = next(call, state);
        if (e == GATE_OK)
            e = s_takes(GI_OF(call, s_host_t, call)->gate);
    }
    if (done)
        done(state);
    return e;
}

static const gi_call_ops_t s_ops = {.yield = s_yield, .generate = s_generate};

static void s_end_stream(const s_gate_t *gate, gate_err_t e,
                         const gate_error_t *error) {
    static const gate_bytes_t end = {GI_STREAM_END, sizeof GI_STREAM_END - 1};
    static const gate_bytes_t exception = {GI_STREAM_EXCEPTION,
                                           sizeof GI_STREAM_EXCEPTION - 1};
    gi_buf_t *out = &gate->core->body;
    gi_buf_reset(out, 65536);
    if (e == GATE_OK) {
        if (s_tagged(gate, end, (gate_bytes_t){NULL, 0}))
            s_send(gate, true);
    } else if (gi_rpc_pack_triple(out, error->cls, error->text,
                                  error->traceback) == GATE_OK &&
               s_tagged(gate, exception,
                        (gate_bytes_t){out->data, out->size})) {
        s_send(gate, true);
    }
}

static void s_finish(const s_gate_t *gate, gate_call_t *call, gate_err_t e) {
    if (e == GATE_KEPT) {
        gi_error_story(&call->error, GATE_NOTIMPL, NULL,
                       "The broker's own functions answer at once.", NULL);
        e = GATE_NOTIMPL;
    }
    if (call->streamed)
        s_end_stream(gate, e, &call->error.story);
    else if (e == GATE_OK)
        s_answer(gate, (gate_bytes_t){call->out.data, call->out.size});
    else
        s_error(gate, call->error.story.cls, call->error.story.text);
}

static void s_meta(const s_gate_t *gate, gate_call_t *call) {
    gi_ext_t ext;
    if (!gate->ext.size || gi_ext_parse(gate->ext, &ext) != GATE_OK ||
        !ext.meta.size || ext.meta.size > GI_META_BYTES_MAX)
        return;
    char *flat = gi_arena_alloc(&call->arena, ext.meta.size);
    if (flat)
        call->meta = (gate_bytes_t){flat, gi_meta_flatten(ext.meta, flat)};
}

static void s_run_user(const s_gate_t *gate, const gi_broker_function_t *f) {
    s_host_t *host = gate->core->host;
    gate_call_t *call = &host->call;
    gi_call_reset(call);
    host->gate = gate;
    call->runtime = f->runtime;
    call->ctx = f->ctx;
    call->method = f->method->name;
    call->user =
        gate->core->users.current ? gate->core->users.current->name : "";
    call->deadline_ms = INT64_MAX;
    call->attempt = 1;
    call->client = (gate_bytes_t){gate->client->id, gate->client->id_size};
    call->args_packed = gate->n_body > 1 ? gate->body[1] : (gate_bytes_t){0};
    call->kwargs_packed = gate->n_body > 2 ? gate->body[2] : (gate_bytes_t){0};
    s_meta(gate, call);
    s_finish(gate, call, gi_call_invoke(call, f->method->fn));
}

static gate_err_t s_make_host(gi_broker_core_t *core, gate_runtime_t *runtime) {
    s_host_t *host = core->host;
    if (host)
        return GATE_OK;
    host = gi_mem_calloc(1, sizeof *host);
    if (host == NULL)
        return gi_err(GATE_NOMEM, "no memory for a broker's functions");
    gi_call_init(&host->call, &s_ops, runtime, core->settings);
    core->host = host;
    return GATE_OK;
}

gate_err_t gi_broker_core_methods(gi_broker_core_t *self,
                                  const gate_method_t *table, void *ctx,
                                  gate_runtime_t *runtime) {
    gate_err_t e = s_make_host(self, runtime);
    for (; e == GATE_OK && table->name; table++) {
        gi_broker_function_t *f = gi_mem_alloc(sizeof *f);
        if (f == NULL)
            return gi_err(GATE_NOMEM, "no memory for a broker's functions");
        *f = (gi_broker_function_t){self->functions, table, ctx, runtime};
        self->functions = f;
    }
    return e;
}

void gi_broker_gate_fini(gi_broker_core_t *core) {
    while (core->functions) {
        gi_broker_function_t *next = core->functions->next;
        gi_mem_free(core->functions);
        core->functions = next;
    }
    if (core->host) {
        gi_call_fini(&((s_host_t *)core->host)->call);
        gi_mem_free(core->host);
        core->host = NULL;
    }
}

/* ---- the way in ---------------------------------------------------------- */
static void s_unknown(const s_gate_t *gate, gate_bytes_t name) {
    char safe[GI_ID_MAX + 1], text[sizeof safe + 32];
    gi_broker_text(safe, name);
    snprintf(text, sizeof text, "Function not found: %s", safe);
    s_error(gate, "AttributeError", text);
}

static void s_find_and_run(const s_gate_t *gate, gate_bytes_t name) {
    for (const gi_broker_function_t *f = gate->core->functions; f; f = f->next)
        if (gi_bytes_is(name, f->method->name)) {
            s_run_user(gate, f);
            return;
        }
    for (size_t i = 0; i < sizeof s_functions / sizeof *s_functions; i++)
        if (gi_bytes_is(name, s_functions[i].name)) {
            if (i < S_OPEN ||
                gi_broker_may_administer(gate->core, gate->client,
                                         gate->service, gate->id, name))
                s_run_own(gate, i);
            return;
        }
    s_unknown(gate, name);
}

void gi_broker_gate(gi_broker_core_t *core, gi_broker_peer_t *client,
                    gate_bytes_t service, gate_bytes_t id,
                    const gate_bytes_t *body, size_t n_body) {
    gate_bytes_t name;
    s_gate_t gate = {core, client, service, id, body, n_body, {NULL, 0}};
    core->count.gate_calls++;
    gate_err_t e = gi_rpc_parse_func(body[0], &name);
    if (n_body == 4 && gi_ext_is(body[3])) {
        gate.n_body = 3;
        gate.ext = body[3];
    }
    if (e != GATE_OK)
        s_error(&gate, gi_err_class(e), gate_error()->text);
    else if (gate.n_body > 3)
        s_error(&gate, "ValueError", "More than func, args and kwargs.");
    else
        s_find_and_run(&gate, name);
    gi_broker_move_tell(core, client);
}
