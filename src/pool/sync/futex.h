/* SPDX-License-Identifier: BSD-3-Clause */
/* futex.h -- waiting on a 32-bit word that two processes share.
 * Blocks: wait, up to its timeout; it may also return early: look again. */
#ifndef GI_FUTEX_H
#define GI_FUTEX_H

#include <limits.h>
#include <linux/futex.h>
#include <stdatomic.h>
#include <stdint.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

/* Sleeps while *word == seen, at most timeout_ms (-1: for ever). */
static inline void gi_futex_wait(_Atomic uint32_t *word, uint32_t seen,
                                 int64_t timeout_ms) {
    struct timespec t = {(time_t)(timeout_ms / 1000),
                         (long)(timeout_ms % 1000) * 1000000};
    syscall(SYS_futex, word, FUTEX_WAIT, seen, timeout_ms < 0 ? NULL : &t, NULL,
            0);
}

static inline void gi_futex_wake(_Atomic uint32_t *word) {
    syscall(SYS_futex, word, FUTEX_WAKE, INT_MAX, NULL, NULL, 0);
}

#endif
