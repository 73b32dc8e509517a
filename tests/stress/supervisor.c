/* SPDX-License-Identifier: BSD-3-Clause */
/* supervisor.c -- a supervisor whose children die by check and by reports of
 * many threads, while others ask for its state; then it is destroyed under
 * them. Under TSan as well: Criterion does not run there. */
#include <gaterpc.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

enum { CHILDREN = 5, THREADS = 4, MS = 500 };

static atomic_bool s_stop;
static atomic_int s_wrong;

typedef struct puppet {
    atomic_int up; /* 0 or 1 */
    atomic_uint n;
} puppet_t;

static gate_err_t s_start(void *ctx) {
    puppet_t *self = ctx;
    if (atomic_fetch_add(&self->n, 1) % 7 == 6)
        return GATE_SYSTEM;
    atomic_fetch_add(&s_wrong, atomic_exchange(&self->up, 1) != 0);
    return GATE_OK;
}

static gate_err_t s_check(void *ctx) {
    puppet_t *self = ctx;
    return atomic_fetch_add(&self->n, 1) % 5 ? GATE_OK : GATE_LOST;
}

static void s_end(void *ctx) {
    puppet_t *self = ctx;
    atomic_fetch_add(&s_wrong, atomic_exchange(&self->up, 0) != 1);
}

static void s_event(void *ctx, const gate_child_event_t *event) {
    atomic_fetch_add((atomic_int *)ctx, event->name != NULL);
}

static void *s_ask(void *arg) {
    gate_supervisor_t *supervisor = arg;
    char name[8];
    for (unsigned i = 0; !atomic_load(&s_stop); i++) {
        snprintf(name, sizeof name, "c%u", i % CHILDREN);
        gate_supervisor_failed(supervisor, name, GATE_NOMEM);
        gate_value_t *stats = gate_supervisor_stats(supervisor);
        gate_value_destroy(&stats);
        gate_err_t e = gate_supervisor_ready(supervisor, 0);
        atomic_fetch_add(&s_wrong, e != GATE_OK && e != GATE_TIMEOUT);
        nanosleep(&(struct timespec){.tv_nsec = 300000}, NULL);
    }
    return NULL;
}

static int s_round(gate_strategy_t strategy) {
    puppet_t puppet[CHILDREN] = {0};
    char names[CHILDREN][8];
    atomic_int events = 0;
    pthread_t thread[THREADS];
    GATE_OWN(gate_settings) settings = gate_settings_new();
    gate_settings_set(settings, "log_level", "silent");
    GATE_OWN(gate_runtime) runtime = gate_runtime_new(settings);
    GATE_OWN(gate_supervisor)
    supervisor = gate_supervisor_new(
        runtime, &(gate_supervisor_options_t){.strategy = strategy,
                                              .intensity = 10000,
                                              .period_ms = 1,
                                              .backoff_ms = 1,
                                              .backoff_max_ms = 2,
                                              .check_ms = 1,
                                              .event = s_event,
                                              .ctx = &events});
    for (int i = 0; i < CHILDREN; i++) {
        snprintf(names[i], sizeof names[i], "c%d", i);
        gate_supervisor_add(supervisor, &(gate_child_t){.name = names[i],
                                                        .start = s_start,
                                                        .check = s_check,
                                                        .stop = s_end,
                                                        .ctx = &puppet[i]});
    }
    if (gate_supervisor_start(supervisor))
        return gate_perror("start");
    atomic_store(&s_stop, false);
    for (int i = 0; i < THREADS; i++)
        pthread_create(&thread[i], NULL, s_ask, supervisor);
    nanosleep(&(struct timespec){.tv_nsec = MS * 1000000L}, NULL);
    atomic_store(&s_stop, true);
    for (int i = 0; i < THREADS; i++)
        pthread_join(thread[i], NULL);
    gate_supervisor_destroy(&supervisor);
    int up = 0;
    for (int i = 0; i < CHILDREN; i++)
        up += atomic_load(&puppet[i].up);
    printf("strategy %d: %d events, %d up at the end, %d wrong\n",
           (int)strategy, atomic_load(&events), up, atomic_load(&s_wrong));
    return up || atomic_load(&s_wrong) || atomic_load(&events) < CHILDREN;
}

int main(void) {
    int failed = 0;
    for (int i = GATE_ONE_FOR_ONE; i <= GATE_ONE_FOR_ALL; i++)
        failed |= s_round((gate_strategy_t)i);
    return failed;
}
