/* SPDX-License-Identifier: BSD-3-Clause */
/* epoll.c -- many calls at once from one thread: futures complete into a
 * completion queue whose descriptor stands in an ordinary epoll loop. */
#include "local.h"
#include <sys/epoll.h>

enum { CALLS = 1000 };

static gate_err_t square(gate_call_t *call) {
    long n;
    gate_err_t e = gate_args(call, &n);
    return e ? e : gate_return(call, n * n);
}

static const gate_method_t methods[] = {GATE_METHOD(square), GATE_END};

typedef struct sum {
    long done, failed, total;
} sum_t;

/* Runs inside gate_cq_dispatch, on the loop's own thread: no locks. */
static void add(void *ctx, gate_err_t e, const gate_value_t *value) {
    sum_t *sum = ctx;
    long n = 0;
    if (e || gate_value_read(value, "", &n))
        sum->failed++;
    sum->done++;
    sum->total += n;
}

int main(void) {
    local_t local = {0};
    local_start(&local, NULL, "Math", methods);
    gate_cq_t *cq = gate_cq_new();
    sum_t sum = {0};
    for (long i = 0; i < CALLS; i++) {
        gate_future_t *f = gate_client_start(local.client, "Math.square", i);
        gate_future_then(&f, cq, add, &sum);
    }

    int loop = epoll_create1(EPOLL_CLOEXEC);
    struct epoll_event want = {.events = EPOLLIN, .data.ptr = cq}, got;
    epoll_ctl(loop, EPOLL_CTL_ADD, gate_cq_fd(cq), &want);
    while (sum.done < CALLS) {
        if (epoll_wait(loop, &got, 1, 10000) != 1)
            break; /* nothing for 10 s: the check below fails */
        gate_cq_dispatch(cq, 64);
    }
    close(loop);
    gate_cq_destroy(&cq);
    local_stop(&local);

    printf("%ld answers, sum of squares %ld\n", sum.done, sum.total);
    return sum.done != CALLS || sum.failed || sum.total != 332833500;
}
