/* SPDX-License-Identifier: BSD-3-Clause */
/* procs.c -- CPU work on forked worker processes, without any RPC. */
#include <gaterpc.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

/* How many primes there are from a on and below b, the slow way: something to
 * keep a core busy. */
static gate_err_t primes(gate_call_t *call) {
    int a, b, count = 0;
    gate_err_t e = gate_args(call, &a, &b);
    for (int i = a < 2 ? 2 : a; i < b && !e; i++) {
        int d = 2;
        while (d * d <= i && i % d)
            d++;
        count += d * d > i;
    }
    return e ? e : gate_return(call, count);
}

static gate_err_t die(gate_call_t *call) {
    (void)call;
    raise(SIGKILL);
    return GATE_OK;
}

static int map(gate_pool_t *pool) {
    static const int expected[] = {168, 135, 127, 120, 119, 114, 117, 107};
    GATE_OWN(gate_items) inputs = gate_items_new();
    for (int i = 0; i < 8; i++) /* a list is spread over the parameters */
        if (gate_items_add(inputs, gate_list(1000 * i, 1000 * (i + 1))))
            return gate_perror("inputs");
    GATE_OWN(gate_stream) results = NULL;
    if (gate_pool_map(pool, primes, gate_items_data(inputs),
                      gate_items_size(inputs), true, &results))
        return gate_perror("map");
    gate_err_t e;
    int n, wrong = 0;
    while (!(e = gate_stream_next(results, &n))) {
        size_t i = gate_stream_index(results);
        printf("below %zu: %d more\n", 1000 * (i + 1), n);
        wrong += i >= 8 || n != expected[i];
    }
    return e != GATE_EOS ? gate_perror("next") : wrong;
}

int main(void) {
    /* Before any thread exists: forks the process that forks the workers. */
    if (gate_process_init())
        return gate_perror("process_init");
    GATE_OWN(gate_runtime) rt = gate_runtime_new(NULL);
    GATE_OWN(gate_pool)
    pool = gate_procs_new(rt, &(gate_pool_options_t){.workers = 2});
    if (!pool)
        return gate_perror("pool");
    int code = map(pool);

    /* A killed worker costs its own job and nothing else. */
    GATE_OWN(gate_future) dead = gate_submit(pool, die);
    gate_err_t e = gate_future_wait(dead, 10000, NULL);
    printf("%s: %s\n", gate_error()->cls, gate_error()->text);
    int n = 0;
    GATE_OWN(gate_future) alive = gate_submit(pool, primes, 0, 1000);
    if (gate_future_wait(alive, 10000, &n))
        return gate_perror("after a death");
    return code || e != GATE_WORKERLOST || n != 168;
}
