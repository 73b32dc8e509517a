/* SPDX-License-Identifier: BSD-3-Clause */
/* look.c -- one answer of the broker is for all who ask within 250 ms: asking us
 * often is no way to load it. A broker that knows no Gate.observe (Python's) is
 * shown by the names of its services. */
#include "monitor/monitor.h"

#include <time.h>

#define S_FRESH_MS 250
#define S_WAIT_MS 1000

static int64_t s_now_ms(void) {
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (int64_t)now.tv_sec * 1000 + now.tv_nsec / 1000000;
}

static void s_service(msgpack_packer *pk, const msgpack_object *name) {
    msgpack_pack_map(pk, 2);
    msgpack_pack_str_with_body(pk, "name", 4);
    msgpack_pack_object(pk, *name);
    msgpack_pack_str_with_body(pk, "plain_name", 10);
    msgpack_pack_false(pk);
}

/* {broker: {limited: true}, services: [{name}]} */
static gate_err_t s_names(gi_look_t *self) {
    GATE_OWN(gate_value) names = NULL;
    msgpack_sbuffer out;
    msgpack_packer pk;
    gate_err_t e = gate_client_services(self->client, &names);
    if (e)
        return e;
    const msgpack_object *list = gate_value_object(names);
    uint32_t n = list->type == MSGPACK_OBJECT_ARRAY ? list->via.array.size : 0;
    msgpack_sbuffer_init(&out);
    msgpack_packer_init(&pk, &out, msgpack_sbuffer_write);
    msgpack_pack_map(&pk, 2);
    msgpack_pack_str_with_body(&pk, "broker", 6);
    msgpack_pack_map(&pk, 2);
    msgpack_pack_str_with_body(&pk, "limited", 7);
    msgpack_pack_true(&pk);
    msgpack_pack_str_with_body(&pk, "state", 5);
    msgpack_pack_str_with_body(&pk, "ready", 5);
    msgpack_pack_str_with_body(&pk, "services", 8);
    msgpack_pack_array(&pk, n);
    for (uint32_t i = 0; i < n; i++)
        s_service(&pk, &list->via.array.ptr[i]);
    e = gate_value_decode(out.data, out.size, NULL, &self->value);
    msgpack_sbuffer_destroy(&out);
    return e;
}

static gate_err_t s_ask(gi_look_t *self) {
    gate_arg_t none = gate_list_here_(NULL, 0);
    gate_arg_t all = gate_list(GATE_ARG("workers"), GATE_ARG("clients"),
                               GATE_ARG("slow"), GATE_ARG("reports"));
    gate_err_t e =
        gate_client_call(self->client, "Gate.observe", &self->value,
                         self->parts ? all : none, gate_timeout_ms(S_WAIT_MS));
    return e == GATE_NOMETHOD ? s_names(self) : e;
}

const gate_value_t *gi_look_get(gi_look_t *self) {
    int64_t now_ms = s_now_ms();
    if (self->at_ms && now_ms - self->at_ms < S_FRESH_MS)
        return self->value;
    gate_value_destroy(&self->value);
    if (s_ask(self) != GATE_OK)
        gate_value_destroy(&self->value);
    self->at_ms = s_now_ms();
    return self->value;
}

void gi_look_fini(gi_look_t *self) { gate_value_destroy(&self->value); }
