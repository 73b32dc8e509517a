/* SPDX-License-Identifier: BSD-3-Clause */
/* service_methods.c -- a service's methods: found by name, told to others, and
 * where each runs. Constant once it has started. */
#include "service/service_call.h"

#include <stdio.h>
#include <string.h>
#include "base/err.h"
#include "base/mem.h"
#include "base/pack.h"

/* ---- method table -------------------------------------------------------- */
static uint32_t s_hash(const void *data, size_t size) {
    const unsigned char *p = data;
    uint32_t h = 2166136261u;
    for (size_t i = 0; i < size; i++)
        h = (h ^ p[i]) * 16777619u;
    return h;
}

gi_smethod_t *gi_service_method(gate_service_t *self, gate_bytes_t name) {
    size_t mask = self->is.methods.hash_size - 1;
    for (size_t i = s_hash(name.data, name.size) & mask;
         self->is.methods.hash[i]; i = (i + 1) & mask) {
        gi_smethod_t *method =
            &self->is.methods.all[self->is.methods.hash[i] - 1];
        if (method->name_size == name.size &&
            memcmp(method->m->name, name.data, name.size) == 0)
            return method;
    }
    return NULL;
}

static void s_resolve(gate_service_t *self, gi_smethod_t *method) {
    const gate_method_t *m = method->m;
    method->runs = m->runs == GATE_DEFAULT ? self->is.default_runs : m->runs;
    method->pool = m->pool ? m->pool : NULL;
    if (!method->pool && m->runs == GATE_DEFAULT)
        method->pool = self->is.default_pool;
}

int gi_service_runs(const gate_service_t *self, const gate_method_t *m) {
    int64_t max = self->is.settings->attempts_max;
    int runs = m->max_attempts > 0 ? m->max_attempts : GI_RUNS_DEFAULT;
    return runs < max ? runs : (int)max;
}

const char *gi_service_runs_name(const gi_smethod_t *method) {
    static const char *const names[] = {"", "inline", "thread", "process",
                                        "custom"};
    return method->m->fn == gi_call_foreign ? "foreign" : names[method->runs];
}

/* Names the idempotent methods for the broker: "a,b=5". */
static gate_err_t s_list_idempotent(gate_service_t *self) {
    gi_buf_t list = {0};
    for (size_t i = 0; i < self->is.methods.n; i++) {
        const gate_method_t *m = self->is.methods.all[i].m;
        if (!m->idempotent)
            continue;
        if (list.size)
            gi_buf_append(&list, ",", 1);
        char runs[16] = "";
        if (m->max_attempts > 0 && m->max_attempts != GI_RUNS_DEFAULT)
            snprintf(runs, sizeof runs, "=%d", m->max_attempts);
        gi_buf_append(&list, m->name, strlen(m->name));
        gi_buf_append(&list, runs, strlen(runs));
    }
    gi_buf_append(&list, "", 1);
    if (list.failed) {
        gi_buf_fini(&list);
        return gi_err(GATE_NOMEM, "service %s: no memory", self->is.name);
    }
    size_t size;
    gi_mem_free(self->is.idempotent);
    self->is.idempotent = (char *)gi_buf_take(&list, &size);
    return GATE_OK;
}

gate_err_t gi_service_build_table(gate_service_t *self) {
    size_t size = 16;
    while (size < 2 * self->is.methods.n)
        size *= 2;
    gi_mem_free(self->is.methods.hash);
    self->is.methods.hash = gi_mem_calloc(size, sizeof *self->is.methods.hash);
    if (!self->is.methods.hash)
        return gi_err(GATE_NOMEM, "service %s: no memory", self->is.name);
    self->is.methods.hash_size = size;
    for (size_t i = 0; i < self->is.methods.n; i++) {
        const char *name = self->is.methods.all[i].m->name;
        gate_bytes_t key = {name, strlen(name)};
        if (gi_service_method(self, key))
            return gi_err(GATE_BADARG, "service %s: two methods named %s",
                          self->is.name, name);
        size_t at = s_hash(name, key.size) & (size - 1);
        while (self->is.methods.hash[at])
            at = (at + 1) & (size - 1);
        self->is.methods.hash[at] = (uint32_t)(i + 1);
        s_resolve(self, &self->is.methods.all[i]);
    }
    return s_list_idempotent(self);
}

/* ---- the service's own ---------------------------------------------------- */
/* get_interfaces() -> {name: {"doc", "signature", "runs"}}, as the peers have
 * it; the order is the table's. */
static gate_err_t s_get_interfaces(gate_call_t *call) {
    gate_service_t *self = ((gi_scall_t *)call)->service;
    gate_err_t e = gate_no_args(call);
    if (e)
        return e;
    msgpack_packer *pk = gate_call_packer(call);
    msgpack_pack_map(pk, self->is.methods.n);
    for (size_t i = 0; i < self->is.methods.n; i++) {
        const gi_smethod_t *method = &self->is.methods.all[i];
        const char *name = method->m->name;
        const char *signature =
            method->m->signature ? method->m->signature : "(*args, **kwargs)";
        gi_pack_text(pk, name);
        msgpack_pack_map(pk, 3);
        gi_pack_text(pk, "doc");
        if (method->m->doc)
            msgpack_pack_str_with_body(pk, method->m->doc,
                                       strlen(method->m->doc));
        else
            msgpack_pack_nil(pk);
        gi_pack_str(pk, "signature", signature);
        gi_pack_str(pk, "runs", gi_service_runs_name(method));
    }
    return GATE_OK;
}

const gate_method_t gi_service_builtin[] = {
    {.name = "get_interfaces",
     .fn = s_get_interfaces,
     .runs = GATE_INLINE,
     .signature = "()",
     .doc = "The methods of this service."},
    GATE_END};
