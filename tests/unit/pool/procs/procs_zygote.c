/* SPDX-License-Identifier: BSD-3-Clause */
/* A zygote that dies: what is seen of it comes one by one. */
#include "procs_kit.h"
#include <errno.h>
#include <signal.h>
#include <stdatomic.h>
#include <sys/socket.h>
#include <unistd.h>
#include "procs/zygote.h"

/* So many looks at whether a zygote lives say that it does. */
static atomic_int s_lies;

ssize_t recv(int fd, void *data, size_t size, int flags) {
    if ((flags & MSG_PEEK) && atomic_load(&s_lies) > 0 &&
        atomic_fetch_sub(&s_lies, 1) > 0) {
        errno = EAGAIN;
        return -1;
    }
    return recvfrom(fd, data, size, flags, NULL, NULL);
}

static gate_err_t same(gate_call_t *call) {
    long x;
    gate_err_t e = gate_args(call, &x);
    return e ? e : gate_return(call, x);
}

/* The pool's channel ends before the zygote's main socket does. */
Test(zygote, one_that_seems_to_live_yet_is_followed_by_its_spare) {
    GATE_OWN(gate_pool) pool = s_pool(1);
    GATE_OWN(gate_future) before = gate_submit(pool, same, 1);
    long x;
    ok(gate_future_wait(before, 20000, &x));
    pid_t zygote = gi_zygote_pid();
    cr_assert_gt(zygote, 0);
    atomic_store(&s_lies, 1);
    kill(zygote, SIGKILL);
    gate_job_options_t o = {.idempotent = true};
    for (long i = 0; atomic_load(&s_lies) > 0; i++) { /* the pool has looked */
        cr_assert_lt(i, 20000);
        usleep(1000);
    }
    GATE_OWN(gate_future) f = gate_submit_with(pool, same, &o, 2);
    ok(gate_future_wait(f, 20000, &x));
    cr_assert_eq(x, 2);
    cr_assert_neq(gi_zygote_pid(), zygote);
}
