/* SPDX-License-Identifier: BSD-3-Clause */
/* The latch: its waiter comes through when all is done, not before, and may free
 * it then. */
#include <criterion/criterion.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include "sync/latch.h"

#define THREADS 4
#define ROUNDS 300
#define EACH 50

static gi_latch_t *s_latch;
static atomic_long s_worked;

static void *s_work(void *ctx) {
    gi_latch_t *latch = s_latch;
    for (int i = 0; i < EACH; i++) {
        atomic_fetch_add(&s_worked, 1);
        gi_latch_done(latch);
    }
    return ctx;
}

Test(latch, the_last_one_lets_the_waiter_through, .timeout = 60) {
    for (int round = 0; round < ROUNDS; round++) {
        pthread_t threads[THREADS];
        s_latch = malloc(sizeof *s_latch);
        s_worked = 0;
        gi_latch_init(s_latch);
        gi_latch_add_n(s_latch, THREADS * EACH - 1);
        gi_latch_add(s_latch);
        for (int i = 0; i < THREADS; i++)
            pthread_create(&threads[i], NULL, s_work, NULL);
        gi_latch_wait(s_latch);
        cr_assert_eq(s_worked, THREADS * EACH);
        gi_latch_fini(s_latch);
        memset(s_latch, 0xff, sizeof *s_latch);
        free(s_latch); /* nobody touches it any more */
        for (int i = 0; i < THREADS; i++)
            pthread_join(threads[i], NULL);
    }
}
