/* SPDX-License-Identifier: BSD-3-Clause */
/* module.c -- a service that `gate serve` loads.
 *   cc -shared -fPIC -o module.so module.c $(pkg-config --cflags --libs
 * gaterpc) gate serve ./module.so gate call Greeter.greet you */
#include <gaterpc.h>
#include <stdio.h>

typedef struct state {
    unsigned long calls; /* inline methods share one thread: no lock */
} state_t;
static state_t the_state;

static gate_err_t greet(gate_call_t *call) {
    const char *name;
    gate_err_t e = gate_args(call, gate_named("name", &name));
    if (e)
        return e;
    state_t *state = gate_call_ctx(call);
    state->calls++;
    char text[128];
    snprintf(text, sizeof text, "hello %s", name);
    return gate_return(call, (const char *)text);
}

static gate_err_t calls(gate_call_t *call) {
    const state_t *state = gate_call_ctx(call);
    gate_err_t e = gate_no_args(call);
    return e ? e : gate_return(call, state->calls);
}

static const gate_method_t methods[] = {
    GATE_METHOD(greet, .signature = "(name)", .doc = "says hello"),
    GATE_METHOD(calls, .signature = "()", .doc = "how often greet ran"),
    GATE_END,
};

static gate_err_t init(gate_runtime_t *rt, gate_service_t *service) {
    (void)rt;
    gate_service_methods(service, methods, &the_state);
    return GATE_OK;
}

static const gate_module_t module = {
    .abi = GATE_MODULE_ABI,
    .name = "Greeter",
    .description = "an example module",
    .init = init,
};

GATE_MODULE_EXPORT const gate_module_t *gate_module(void);
const gate_module_t *gate_module(void) { return &module; }
