/* SPDX-License-Identifier: BSD-3-Clause */
/* hello.c -- service and client in one process: no broker, no socket. */
#include <gaterpc.h>
#include <stdio.h>
#include <string.h>

static gate_err_t greet(gate_call_t *call) {
    const char *name;
    int times = 1;
    gate_err_t e =
        gate_args(call, gate_named("name", &name), gate_kwopt("times", &times));
    if (e)
        return e; /* a TypeError at the caller */
    if (times < 1)
        return gate_raise(call, "ValueError", "times is %d", times);
    char text[64];
    snprintf(text, sizeof text, "hello %s x%d", name, times);
    return gate_return(call, (const char *)text);
}

static const gate_method_t methods[] = {
    GATE_METHOD(greet, .signature = "(name, times=1)", .doc = "says hello"),
    GATE_END,
};

int main(void) {
    GATE_OWN(gate_runtime) rt = gate_runtime_new(NULL);
    GATE_OWN(gate_service) service = gate_service_new(rt, "Hello");
    GATE_OWN(gate_client) client = gate_client_new(rt);
    gate_service_methods(service, methods, NULL);
    if (gate_service_start(service, NULL) || gate_client_connect(client, NULL))
        return gate_perror("hello");

    const char *text;
    if (gate_client_call(client, "Hello.greet", &text, "you"))
        return gate_perror("greet");
    printf("%s\n", text);
    if (strcmp(text, "hello you x1"))
        return 1;

    /* By keyword; and an error arrives as class and text. */
    if (gate_client_call(client, "Hello.greet", &text, "you",
                         gate_kw("times", 3)))
        return gate_perror("greet");
    if (strcmp(text, "hello you x3"))
        return 1;
    gate_err_t e = gate_client_call(client, "Hello.greet", NULL, "you", 0);
    printf("%s: %s\n", gate_error()->cls, gate_error()->text);
    return !e || strcmp(gate_error()->cls, "ValueError");
}
