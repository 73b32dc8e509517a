/* SPDX-License-Identifier: BSD-3-Clause */
/* manager.c -- what Python programs share with jobs as Manager().dict() and
 * Manager().Event(), over queues: the data stay with whoever serves them
 * (docs/processes.md). */
#include <gaterpc.h>
#include <stdio.h>
#include <string.h>

enum { WAIT_MS = 10000 };

/* ---- in the worker ------------------------------------------------------- */
/* Counts until it is told to stop, then leaves the number in the dictionary. */
static gate_err_t count(gate_call_t *call) {
    GATE_OWN(gate_queue) ask = NULL;
    GATE_OWN(gate_queue) stop = NULL;
    bool set = false;
    long n = 0;
    gate_err_t e = gate_args(call, &ask, &stop);
    if (e)
        return e;
    while (!set && gate_queue_get(stop, &set, 1) == GATE_TIMEOUT)
        n++;
    e = gate_queue_put(ask, gate_list("set", "count", n), WAIT_MS);
    gate_queue_close(ask);
    return e ? e : gate_return(call, n);
}

/* ---- here ---------------------------------------------------------------- */
static void s_free(void *value) {
    gate_value_t *v = value;
    gate_value_destroy(&v);
}

static gate_err_t set(gate_dict_t *dict, gate_bytes_t key,
                      const gate_value_t *request) {
    gate_value_t *value = NULL;
    gate_err_t e = gate_value_read(request, "2", &value);
    if (!e)
        e = gate_dict_set(dict, key, value, 0);
    if (e)
        gate_value_destroy(&value);
    return e;
}

/* ["set", key, value], until the job closes its end or dies. */
static gate_err_t serve(gate_queue_t *ask, gate_dict_t *dict) {
    for (;;) {
        GATE_OWN(gate_value) request = NULL;
        const char *op, *key;
        gate_err_t e = gate_queue_get(ask, &request, WAIT_MS);
        if (e == GATE_EOS)
            return GATE_OK;
        if (!e)
            e = gate_value_read(request, "0", &op);
        if (!e)
            e = gate_value_read(request, "1", &key);
        if (!e && strcmp(op, "set") == 0)
            e = set(dict, (gate_bytes_t){key, strlen(key)}, request);
        if (e)
            return e;
    }
}

int main(void) {
    if (gate_process_init())
        return gate_perror("process_init");
    GATE_OWN(gate_runtime) rt = gate_runtime_new(NULL);
    GATE_OWN(gate_pool)
    pool = gate_procs_new(rt, &(gate_pool_options_t){.workers = 1});
    GATE_OWN(gate_queue) ask = gate_queue_new(rt, 16, 4096);
    GATE_OWN(gate_queue) stop = gate_queue_new(rt, 1, 64);
    GATE_OWN(gate_dict) dict = gate_dict_new(16, s_free);
    if (!pool || !ask || !stop || !dict)
        return gate_perror("start");
    GATE_OWN(gate_future) job = gate_submit(pool, count, ask, stop);
    if (gate_queue_put(stop, true, 0)) /* event.set() */
        return gate_perror("set");
    if (serve(ask, dict))
        return gate_perror("serve");
    void *value;
    long in_dict = -1, result = -2;
    if (gate_dict_get(dict, (gate_bytes_t){"count", 5}, &value, 0) ||
        gate_value_read(value, "", &in_dict) ||
        gate_future_wait(job, WAIT_MS, &result))
        return gate_perror("result");
    s_free(value);
    printf("the job counted to %ld\n", result);
    return in_dict != result;
}
