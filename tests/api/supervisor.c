/* SPDX-License-Identifier: BSD-3-Clause */
/* supervisor.c -- supervision by the public face: children that fail in all the
 * ways there are, services behind brokers and without, supervisors below
 * supervisors. */
#include <criterion/criterion.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>
#include <time.h>
#include "rig.h"

#define PATIENCE_MS 20000

/* A child that does as it is told. */
typedef struct puppet {
    atomic_int starts, stops;
    atomic_int start_fails; /* so many times */
    atomic_int died;        /* what check says, once */
} puppet_t;

static gate_err_t s_start(void *ctx) {
    puppet_t *self = ctx;
    if (atomic_fetch_sub(&self->start_fails, 1) > 0)
        return GATE_SYSTEM;
    atomic_fetch_add(&self->starts, 1);
    return GATE_OK;
}

static gate_err_t s_check(void *ctx) {
    return (gate_err_t)atomic_exchange(&((puppet_t *)ctx)->died, GATE_OK);
}

static void s_stop(void *ctx) {
    atomic_fetch_add(&((puppet_t *)ctx)->stops, 1);
}

static gate_child_t s_child(const char *name, puppet_t *puppet) {
    return (gate_child_t){.name = name,
                          .start = s_start,
                          .check = s_check,
                          .stop = s_stop,
                          .ctx = puppet};
}

static const gate_supervisor_options_t s_quick = {.intensity = 5,
                                                  .period_ms = 60000,
                                                  .backoff_ms = 1,
                                                  .backoff_max_ms = 5,
                                                  .check_ms = 5};

static gate_runtime_t *s_runtime(void) {
    GATE_OWN(gate_settings) settings = gate_settings_new();
    gate_settings_set(settings, "log_level", "silent");
    gate_runtime_t *runtime = gate_runtime_new(settings);
    cr_assert_not_null(runtime);
    return runtime;
}

static void s_pause(void) {
    nanosleep(&(struct timespec){.tv_nsec = 2000000}, NULL);
}

static void s_until(atomic_int *n, int want) {
    for (int i = 0; i < PATIENCE_MS / 2 && atomic_load(n) < want; i++)
        s_pause();
    cr_assert_geq(atomic_load(n), want);
}

static void s_until_gave_up(gate_supervisor_t *supervisor) {
    for (int i = 0; i < PATIENCE_MS / 2; i++) {
        if (gate_supervisor_check(supervisor))
            return;
        s_pause();
    }
    cr_assert_fail("it does not give up");
}

Test(supervisor, restarts_who_dies_by_check_or_report, .timeout = 60) {
    GATE_OWN(gate_runtime) runtime = s_runtime();
    GATE_OWN(gate_supervisor) s = gate_supervisor_new(runtime, &s_quick);
    puppet_t a = {0}, b = {.start_fails = 2};
    gate_child_t child = s_child("a", &a);
    gate_supervisor_add(s, &child);
    child = s_child("b", &b);
    gate_supervisor_add(s, &child);
    cr_assert_eq(gate_supervisor_start(s), GATE_OK);
    cr_assert_eq(gate_supervisor_ready(s, PATIENCE_MS), GATE_OK);
    cr_expect_eq(b.starts, 1);
    atomic_store(&a.died, GATE_LOST);
    s_until(&a.starts, 2);
    gate_supervisor_failed(s, "a", GATE_NOMEM);
    s_until(&a.starts, 3);
    cr_expect_eq(b.starts, 1);
    cr_assert_eq(gate_supervisor_ready(s, PATIENCE_MS), GATE_OK);
    GATE_OWN(gate_value) stats = gate_supervisor_stats(s);
    const msgpack_object *o = gate_value_object(stats);
    cr_assert_eq(o->type, MSGPACK_OBJECT_MAP);
    cr_expect_eq(o->via.map.size, 6);
    gate_supervisor_destroy(&s);
    cr_expect_eq(a.starts, a.stops);
    cr_expect_eq(b.starts, b.stops);
}

Test(supervisor, gives_up_and_says_why, .timeout = 60) {
    GATE_OWN(gate_runtime) runtime = s_runtime();
    GATE_OWN(gate_supervisor) s = gate_supervisor_new(runtime, &s_quick);
    puppet_t a = {0}, b = {.start_fails = 1000000};
    gate_child_t child = s_child("a", &a);
    gate_supervisor_add(s, &child);
    child = s_child("b", &b);
    gate_supervisor_add(s, &child);
    cr_assert_eq(gate_supervisor_start(s), GATE_OK);
    s_until_gave_up(s);
    cr_expect_eq(gate_supervisor_check(s), GATE_SYSTEM);
    cr_expect_eq(gate_supervisor_ready(s, 0), GATE_SYSTEM);
    s_until(&a.stops, 1);
    cr_expect_eq(gate_runtime_wait(runtime), gate_exit_code(GATE_SYSTEM));
}

Test(supervisor, mistakes_come_out_of_start, .timeout = 60) {
    GATE_OWN(gate_runtime) runtime = s_runtime();
    puppet_t a = {0};
    gate_child_t child = s_child("a", &a), none = {.name = "x"};
    GATE_OWN(gate_supervisor) s = gate_supervisor_new(runtime, NULL);
    gate_supervisor_add(s, &child);
    gate_supervisor_add(s, &child);
    cr_expect_eq(gate_supervisor_start(s), GATE_BADARG);
    cr_expect(strstr(gate_error()->text, "two children named a"));
    gate_supervisor_destroy(&s);
    s = gate_supervisor_new(runtime, NULL);
    gate_supervisor_add(s, &none);
    cr_expect_eq(gate_supervisor_start(s), GATE_BADARG);
    gate_supervisor_destroy(&s);
    const gate_supervisor_options_t bad = {.period_ms = -1};
    s = gate_supervisor_new(runtime, &bad);
    cr_expect_eq(gate_supervisor_start(s), GATE_BADARG);
    gate_supervisor_destroy(&s);
    s = gate_supervisor_new(runtime, NULL);
    gate_supervisor_add(s, &child);
    cr_expect_eq(gate_supervisor_start(s), GATE_OK);
    cr_expect_eq(gate_supervisor_start(s), GATE_BADARG);
    gate_supervisor_failed(s, "nobody", GATE_LOST);
}

/* ---- below one another --------------------------------------------------- */
Test(supervisor, one_that_gives_up_is_restarted_by_its_own, .timeout = 60) {
    GATE_OWN(gate_runtime) runtime = s_runtime();
    gate_supervisor_options_t options = s_quick;
    GATE_OWN(gate_supervisor) top = gate_supervisor_new(runtime, &options);
    options.intensity = 1;
    gate_supervisor_t *sub = gate_supervisor_new(runtime, &options);
    puppet_t a = {.start_fails = 5};
    gate_child_t child = s_child("a", &a);
    gate_supervisor_add(sub, &child);
    gate_supervisor_add_supervisor(top, "sub", &sub);
    cr_assert_null(sub);
    cr_assert_eq(gate_supervisor_start(top), GATE_OK);
    s_until(&a.starts, 1); /* 2 failures a time, so the third sub has it */
    cr_expect_eq(gate_supervisor_check(top), GATE_OK);
    gate_supervisor_destroy(&top);
    cr_expect_eq(a.starts, a.stops);
}

/* ---- services ------------------------------------------------------------ */
static gate_err_t one(gate_call_t *call) { return gate_return(call, 1); }
static const gate_method_t s_table[] = {GATE_METHOD(one), GATE_END};

static gate_err_t s_init(gate_runtime_t *rt, gate_service_t *svc, void *ctx) {
    atomic_int *fails = ctx;
    (void)rt;
    if (atomic_fetch_sub(fails, 1) > 0)
        return GATE_SYSTEM;
    gate_service_methods(svc, s_table, NULL);
    return GATE_OK;
}

Test(supervisor, a_service_whose_init_fails_at_first, .timeout = 60) {
    GATE_OWN(gate_runtime) runtime = s_runtime();
    GATE_OWN(gate_supervisor) s = gate_supervisor_new(runtime, &s_quick);
    GATE_OWN(gate_client) client = gate_client_new(runtime);
    atomic_int fails = 3;
    const gate_service_spec_t spec = {
        .name = "Test", .init = s_init, .ctx = &fails};
    int64_t n = 0;
    gate_supervisor_add_service(s, &spec);
    cr_assert_eq(gate_supervisor_start(s), GATE_OK);
    cr_assert_eq(gate_supervisor_ready(s, PATIENCE_MS), GATE_OK);
    cr_assert_eq(gate_client_connect(client, NULL), GATE_OK);
    cr_assert_eq(gate_client_call(client, "Test.one", &n), GATE_OK);
    cr_expect_eq(n, 1);
    gate_supervisor_failed(s, "Test", GATE_LOST); /* under a client */
    for (int i = 0; i < 200; i++) {
        gate_err_t e = gate_client_call(client, "Test.one", &n);
        cr_expect(e == GATE_OK || e == GATE_NOSERVICE || e == GATE_WORKERLOST ||
                      e == GATE_BUSY || e == GATE_CLOSED,
                  "%s", gate_error()->text);
        s_pause();
    }
    cr_expect_eq(gate_client_call(client, "Test.one", &n), GATE_OK);
}

/* No broker is there: it dies of that, is restarted, and after too many the
 * supervisor gives up. */
Test(supervisor, a_service_that_reaches_no_broker, .timeout = 60) {
    GATE_OWN(gate_runtime) runtime = s_runtime();
    GATE_OWN(gate_supervisor) s = gate_supervisor_new(runtime, &s_quick);
    atomic_int fails = 0;
    const gate_service_spec_t spec = {.name = "Test",
                                      .backend = "tcp://127.0.0.1:1",
                                      .init = s_init,
                                      .ctx = &fails,
                                      .unreachable_ms = 50};
    gate_supervisor_add_service(s, &spec);
    cr_assert_eq(gate_supervisor_start(s), GATE_OK);
    s_until_gave_up(s);
    cr_expect_eq(gate_supervisor_check(s), GATE_LOST);
}

static void *s_terminate(void *arg) {
    nanosleep(&(struct timespec){.tv_nsec = 200000000}, NULL);
    kill(*(pid_t *)arg, SIGTERM);
    return NULL;
}

/* SIGTERM while services come and go: wait drains what there is and ends. */
Test(supervisor, wait_ends_while_children_are_restarted, .timeout = 60) {
    GATE_OWN(gate_runtime) runtime = s_runtime();
    gate_supervisor_options_t options = s_quick;
    options.intensity = 10000;
    GATE_OWN(gate_supervisor) s = gate_supervisor_new(runtime, &options);
    atomic_int fails = 0;
    const gate_service_spec_t spec = {.name = "Test",
                                      .backend = "tcp://127.0.0.1:1",
                                      .init = s_init,
                                      .ctx = &fails,
                                      .unreachable_ms = 1};
    gate_supervisor_add_service(s, &spec);
    cr_assert_eq(gate_supervisor_start(s), GATE_OK);
    pthread_t thread;
    pid_t self = getpid();
    pthread_create(&thread, NULL, s_terminate, &self);
    cr_expect_eq(gate_runtime_wait(runtime), 0);
    pthread_join(thread, NULL);
}
