/* SPDX-License-Identifier: BSD-3-Clause */
/* wait.h -- waiting with a bound on the monotonic clock: condition variables,
 * futex words and descriptors. Room-internal.
 * Units: timeout_ms < 0 = for ever; a deadline is on gi_clock_ns, INT64_MAX =
 * never. */
#ifndef GI_WAIT_H
#define GI_WAIT_H

#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

/* A mutex that is held for less than a microsecond as a rule: who finds it
 * taken looks a few more times before it sleeps. */
void gi_wait_mutex_init(pthread_mutex_t *mutex);
/* A condition variable on the monotonic clock. */
void gi_wait_cond_init(pthread_cond_t *cond);
int64_t gi_wait_deadline(int64_t timeout_ms);
/* False when the deadline has passed (a last look is the caller's). */
bool gi_wait_cond(pthread_cond_t *cond, pthread_mutex_t *mutex,
                  int64_t deadline_ns);
/* Sleeps while *word == value; false when the deadline has passed. */
bool gi_wait_word(atomic_uint *word, unsigned value, int64_t deadline_ns);
void gi_wait_word_wake(atomic_uint *word);
/* An eventfd that never blocks, or -1 (errno). */
int gi_wait_eventfd(void);
void gi_wait_ring(int fd);
/* Empties it; what it held. */
uint64_t gi_wait_hush(int fd);

/* Lingering: before a sleep that will probably be short a thread yields a few
 * times instead. Where both sides share a CPU this hands it over without a
 * wake-up; where each has its own, nobody sleeps at all. A yield that others
 * answer by taking a whole time slice ends it for this thread, for a while: who
 * sleeps is preferred when it wakes, who yields is not. */
typedef struct gi_linger {
    unsigned left;
    int64_t at_ns; /* coarse */
} gi_linger_t;
gi_linger_t gi_linger_begin(void);
bool gi_linger(gi_linger_t *self); /* false: sleep */

#endif
