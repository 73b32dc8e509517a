/* SPDX-License-Identifier: BSD-3-Clause */
/* executor.c -- methods on an executor of your own: here one thread that takes
 * jobs in order, so that its methods never run beside each other. */
#include <gaterpc.h>
#include <pthread.h>
#include <stdio.h>

enum { ROOM = 64 };

typedef struct lane {
    pthread_mutex_t lock;
    pthread_cond_t work;
    struct {
        void (*run)(void *arg);
        void *arg;
    } jobs[ROOM];
    unsigned head, tail;
    bool closed;
} lane_t;

/* The contract: run(arg) is run exactly once, or an error and never. */
static gate_err_t submit(void *ctx, void (*run)(void *arg), void *arg) {
    lane_t *lane = ctx;
    gate_err_t e = GATE_BUSY;
    pthread_mutex_lock(&lane->lock);
    if (!lane->closed && lane->tail - lane->head < ROOM) {
        lane->jobs[lane->tail % ROOM].run = run;
        lane->jobs[lane->tail++ % ROOM].arg = arg;
        pthread_cond_signal(&lane->work);
        e = GATE_OK;
    }
    pthread_mutex_unlock(&lane->lock);
    return e;
}

static void *work(void *arg) {
    lane_t *lane = arg;
    pthread_mutex_lock(&lane->lock);
    for (;;) {
        while (lane->head == lane->tail && !lane->closed)
            pthread_cond_wait(&lane->work, &lane->lock);
        if (lane->head == lane->tail)
            break;
        unsigned i = lane->head++ % ROOM;
        void (*run)(void *) = lane->jobs[i].run;
        void *job = lane->jobs[i].arg;
        pthread_mutex_unlock(&lane->lock);
        run(job);
        pthread_mutex_lock(&lane->lock);
    }
    pthread_mutex_unlock(&lane->lock);
    return NULL;
}

static long counter; /* only ever touched in the lane */

static gate_err_t count(gate_call_t *call) {
    gate_err_t e = gate_no_args(call);
    return e ? e : gate_return(call, ++counter);
}

static int run(gate_runtime_t *rt, gate_pool_t *pool) {
    const gate_method_t methods[] = {
        GATE_METHOD(count, .runs = GATE_CUSTOM, .pool = pool), GATE_END};
    GATE_OWN(gate_service) service = gate_service_new(rt, "Lane");
    GATE_OWN(gate_client) client = gate_client_new(rt);
    gate_service_methods(service, methods, NULL);
    if (gate_service_start(service, NULL) || gate_client_connect(client, NULL))
        return gate_perror("start");
    long n = 0;
    for (int i = 0; i < 100; i++)
        if (gate_client_call(client, "Lane.count", &n))
            return gate_perror("count");
    printf("counted to %ld\n", n);
    return n != 100;
}

int main(void) {
    static lane_t lane = {.lock = PTHREAD_MUTEX_INITIALIZER,
                          .work = PTHREAD_COND_INITIALIZER};
    pthread_t thread;
    if (pthread_create(&thread, NULL, work, &lane))
        return 1;
    gate_runtime_t *rt = gate_runtime_new(NULL);
    gate_pool_t *pool = gate_pool_custom(rt, submit, &lane);
    int code = pool ? run(rt, pool) : gate_perror("pool");
    gate_pool_destroy(&pool); /* waits for jobs under way */
    gate_runtime_destroy(&rt);
    pthread_mutex_lock(&lane.lock);
    lane.closed = true;
    pthread_cond_signal(&lane.work);
    pthread_mutex_unlock(&lane.lock);
    pthread_join(thread, NULL);
    return code;
}
