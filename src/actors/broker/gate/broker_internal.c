/* SPDX-License-Identifier: BSD-3-Clause */
/* broker_internal.c -- the internal service: the broker's own functions and the
 * program's. Everything runs here and now, before the next message (wire.md).
 * Keyword arguments of the own functions are ignored: Python adds some. */
#include "broker/gate/broker_gate.h"

#include <stdio.h>
#include <string.h>
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
/* The positional arguments, as many as it takes. */
static gate_err_t s_take(const s_gate_t *gate, const gi_broker_own_t *own,
                         msgpack_zone *zone, msgpack_object *args) {
    static const char *const counts[] = {"no", "one", "two"};
    const char *name = own->name;
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
    if (args->type != MSGPACK_OBJECT_ARRAY ||
        args->via.array.size < own->least || args->via.array.size > own->most)
        return gi_err(GATE_BADARG, "%s takes %s%s argument%s", name,
                      own->least < own->most ? "at most " : "",
                      counts[own->most], own->most > 1 ? "s" : "");
    return GATE_OK;
}

static void s_run_own(const s_gate_t *gate, const gi_broker_own_t *own) {
    gi_buf_t *out = &gate->core->body;
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
    e = s_take(gate, own, &zone, &args);
    if (e == GATE_OK)
        e = own->run(
            &(gi_broker_ask_t){gate->core, gate->client, args.via.array.size},
            args.via.array.size ? args.via.array.ptr : NULL, &pk);
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
        gi_broker_answer_error(gate->core, gate->client, gate->service,
                               gate->id, &call->error.story);
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

/* Clients and workers count on them (Gate.info tells who speaks what). */
static gate_err_t s_may_add(const gi_broker_core_t *self,
                            const gate_method_t *m) {
    if (!*m->name || !m->fn)
        return gi_err(GATE_BADARG, "broker: a method without a %s",
                      *m->name ? "function" : "name");
    if (gi_broker_own_find((gate_bytes_t){m->name, strlen(m->name)}))
        return gi_err(GATE_BADARG,
                      "broker: %s is a function of its own service: another "
                      "name",
                      m->name);
    for (const gi_broker_function_t *f = self->functions; f; f = f->next)
        if (strcmp(f->method->name, m->name) == 0)
            return gi_err(GATE_BADARG, "broker: two methods named %s", m->name);
    return GATE_OK;
}

gate_err_t gi_broker_core_methods(gi_broker_core_t *self,
                                  const gate_method_t *table, void *ctx,
                                  gate_runtime_t *runtime) {
    gate_err_t e = s_make_host(self, runtime);
    for (; e == GATE_OK && table->name; table++) {
        e = s_may_add(self, table);
        if (e)
            return e;
        gi_broker_function_t *f = gi_mem_alloc(sizeof *f);
        if (f == NULL)
            return gi_err(GATE_NOMEM, "no memory for a broker's functions");
        *f = (gi_broker_function_t){self->functions, table, ctx, runtime};
        self->functions = f;
    }
    return e;
}

static void s_fini(gi_broker_core_t *core) {
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
    const gi_broker_own_t *own = gi_broker_own_find(name);
    if (own == NULL)
        s_unknown(gate, name);
    else if (own->open ||
             gi_broker_may_administer(gate->core, gate->client, gate->service,
                                      gate->id, name))
        s_run_own(gate, own);
}

static void s_ask(gi_broker_core_t *core, gi_broker_peer_t *client,
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

const gi_broker_gate_ops_t gi_broker_internal_ops = {.ask = s_ask,
                                                     .fini = s_fini};
