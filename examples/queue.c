/* SPDX-License-Identifier: BSD-3-Clause */
/* queue.c -- two shared-memory queues between a thread and a job in a worker
 * process while the job runs: numbers go down, their squares come up. */
#include <gaterpc.h>
#include <stdio.h>

enum { ITEMS = 10000, WAIT_MS = 10000 };

/* In the worker: until the queue ends. */
static gate_err_t square(gate_call_t *call) {
    GATE_OWN(gate_queue) down = NULL;
    GATE_OWN(gate_queue) up = NULL;
    long n, count = 0;
    gate_err_t e = gate_args(call, &down, &up);
    while (!e && !(e = gate_queue_get(down, &n, WAIT_MS))) {
        e = gate_queue_put(up, n * n, WAIT_MS);
        count++;
    }
    if (up)
        gate_queue_close(up);
    return e == GATE_EOS ? gate_return(call, count) : e;
}

/* One thread on both ends: never more under way than the queues hold. */
static int exchange(gate_queue_t *down, gate_queue_t *up, long *sum) {
    long n = 0, got = 0, v;
    while (got < ITEMS) {
        if (n < ITEMS && n - got < 64) {
            if (gate_queue_put(down, n, WAIT_MS))
                return gate_perror("put");
            if (++n == ITEMS)
                gate_queue_close(down);
        } else {
            if (gate_queue_get(up, &v, WAIT_MS))
                return gate_perror("get");
            *sum += v;
            got++;
        }
    }
    return gate_queue_get(up, &v, WAIT_MS) != GATE_EOS;
}

int main(void) {
    if (gate_process_init())
        return gate_perror("process_init");
    GATE_OWN(gate_runtime) rt = gate_runtime_new(NULL);
    GATE_OWN(gate_pool)
    pool = gate_procs_new(rt, &(gate_pool_options_t){.workers = 1});
    GATE_OWN(gate_queue) down = gate_queue_new(rt, 128, 8192);
    GATE_OWN(gate_queue) up = gate_queue_new(rt, 128, 8192);
    if (!pool || !down || !up)
        return gate_perror("start");
    GATE_OWN(gate_future) job = gate_submit(pool, square, down, up);
    long sum = 0, count = 0;
    int code = exchange(down, up, &sum);
    if (gate_future_wait(job, WAIT_MS, &count))
        return gate_perror("job");
    printf("%ld items, sum of squares %ld\n", count, sum);
    return code || count != ITEMS || sum != 333283335000;
}
