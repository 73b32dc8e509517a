/* SPDX-License-Identifier: BSD-3-Clause */
/* run.c -- a method that has a part of its work done by a worker process and
 * goes on with the result, without holding a thread meanwhile. */
#include <gaterpc.h>
#include <stdio.h>

/* In the worker. */
static gate_err_t collatz(gate_call_t *call) {
    unsigned long n;
    long steps = 0;
    gate_err_t e = gate_args(call, &n);
    if (e)
        return e;
    if (!n)
        return gate_raise(call, "ValueError", "n must be positive");
    for (; n != 1; steps++)
        n = n % 2 ? 3 * n + 1 : n / 2;
    return gate_return(call, steps);
}

/* Back on the service's actor. */
static gate_err_t tell(gate_call_t *call, gate_err_t e,
                       const gate_value_t *value) {
    long steps;
    if (e || (e = gate_value_read(value, "", &steps)))
        return e; /* the job's error becomes the call's */
    return gate_return(call, gate_map(gate_kw("steps", steps),
                                      gate_kw("odd", steps % 2 == 1)));
}

static gate_err_t walk(gate_call_t *call) {
    unsigned long n;
    gate_err_t e = gate_args(call, &n);
    if (e)
        return e;
    gate_pool_t *procs = gate_runtime_procs(gate_call_runtime(call));
    if (!procs)
        return gate_error()->code;
    return gate_call_run(call, procs, collatz, gate_uint(n), tell);
}

static const gate_method_t methods[] = {GATE_METHOD(walk), GATE_END};

int main(void) {
    if (gate_process_init())
        return gate_perror("process_init");
    GATE_OWN(gate_runtime) rt = gate_runtime_new(NULL);
    GATE_OWN(gate_service) service = gate_service_new(rt, "Walk");
    GATE_OWN(gate_client) client = gate_client_new(rt);
    gate_service_methods(service, methods, NULL);
    if (gate_service_start(service, NULL) || gate_client_connect(client, NULL))
        return gate_perror("start");

    GATE_OWN(gate_value) answer = NULL;
    long steps = 0;
    if (gate_client_call(client, "Walk.walk", &answer, 27) ||
        gate_value_read(answer, "steps", &steps))
        return gate_perror("walk");
    printf("27 takes %ld steps\n", steps);
    gate_err_t e = gate_client_call(client, "Walk.walk", NULL, 0);
    printf("0: %s\n", gate_error()->cls);
    return steps != 111 || e == GATE_OK;
}
