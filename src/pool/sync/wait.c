/* SPDX-License-Identifier: BSD-3-Clause */
#include "sync/wait.h"

#include <errno.h>
#include <limits.h>
#include <linux/futex.h>
#include <sched.h>
#include <sys/eventfd.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#include "sync/clock.h"
#include "sync/fd.h"

void gi_wait_mutex_init(pthread_mutex_t *mutex) {
    pthread_mutexattr_t attr;

    pthread_mutexattr_init(&attr);
    pthread_mutexattr_settype(&attr, PTHREAD_MUTEX_ADAPTIVE_NP);
    pthread_mutex_init(mutex, &attr);
    pthread_mutexattr_destroy(&attr);
}

void gi_wait_cond_init(pthread_cond_t *cond) {
    pthread_condattr_t attr;

    pthread_condattr_init(&attr);
    pthread_condattr_setclock(&attr, CLOCK_MONOTONIC);
    pthread_cond_init(cond, &attr);
    pthread_condattr_destroy(&attr);
}

int64_t gi_wait_deadline(int64_t timeout_ms) {
    int64_t now;

    if (timeout_ms < 0)
        return INT64_MAX;
    now = gi_clock_ns();
    if (timeout_ms > (INT64_MAX - now) / 1000000 - 1)
        return INT64_MAX;
    return now + timeout_ms * 1000000;
}

static struct timespec s_timespec(int64_t ns) {
    struct timespec out = {(time_t)(ns / 1000000000), (long)(ns % 1000000000)};

    return out;
}

bool gi_wait_cond(pthread_cond_t *cond, pthread_mutex_t *mutex,
                  int64_t deadline_ns) {
    struct timespec until;

    if (deadline_ns == INT64_MAX) {
        pthread_cond_wait(cond, mutex);
        return true;
    }
    until = s_timespec(deadline_ns);
    return pthread_cond_timedwait(cond, mutex, &until) != ETIMEDOUT;
}

bool gi_wait_word(atomic_uint *word, unsigned value, int64_t deadline_ns) {
    struct timespec until = {0, 0};

    if (deadline_ns != INT64_MAX)
        until = s_timespec(deadline_ns);
    /* FUTEX_WAIT_BITSET takes an absolute time on the monotonic clock. */
    while (atomic_load_explicit(word, memory_order_acquire) == value) {
        if (syscall(SYS_futex, word, FUTEX_WAIT_BITSET_PRIVATE, value,
                    deadline_ns == INT64_MAX ? NULL : &until, NULL,
                    FUTEX_BITSET_MATCH_ANY) != 0 &&
            errno == ETIMEDOUT)
            return false;
    }
    return true;
}

void gi_wait_word_wake(atomic_uint *word) {
    syscall(SYS_futex, word, FUTEX_WAKE_PRIVATE, INT_MAX, NULL, NULL, 0);
}

int gi_wait_eventfd(void) {
    return gi_fd_high(eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK));
}

void gi_wait_ring(int fd) {
    uint64_t one = 1;

    while (write(fd, &one, sizeof one) < 0 && errno == EINTR)
        ;
}

uint64_t gi_wait_hush(int fd) {
    uint64_t count = 0;

    while (read(fd, &count, sizeof count) < 0) {
        count = 0;
        if (errno != EINTR)
            break;
    }
    return count;
}

/* ---- lingering ----------------------------------------------------------- */
#define S_YIELDS 32        /* about 8 us where nobody else wants the CPU */
#define S_SLICE_NS 5000000 /* longer than a coarse clock's tick */
#define S_OFF_NS 100000000 /* after a yield that took a slice */

static _Thread_local int64_t t_off_until_ns;

gi_linger_t gi_linger_begin(void) {
    int64_t now_ns = gi_clock_coarse_ns();

    return (gi_linger_t){now_ns < t_off_until_ns ? 0 : S_YIELDS, now_ns};
}

bool gi_linger(gi_linger_t *self) {
    int64_t now_ns;

    if (!self->left)
        return false;
    self->left--;
    sched_yield();
    now_ns = gi_clock_coarse_ns();
    if (now_ns != self->at_ns) { /* a tick passed: a slice, or by chance */
        self->left = 0;
        if (now_ns - self->at_ns > S_SLICE_NS)
            t_off_until_ns = now_ns + S_OFF_NS;
    }
    return true;
}
