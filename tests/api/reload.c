/* SPDX-License-Identifier: BSD-3-Clause */
/* reload.c -- gate_runtime_reload: the settings' files are read again, while
 * calls are made; a file with a mistake changes nothing. */
#include <criterion/criterion.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include "rig.h"

static gate_err_t one(gate_call_t *call) { return gate_return(call, 1); }

static const gate_method_t s_table[] = {GATE_METHOD(one), GATE_END};
static char s_path[64];

static void s_write(const char *text) {
    char fresh[80];
    snprintf(fresh, sizeof fresh, "%s.new", s_path);
    FILE *out = fopen(fresh, "w");
    cr_assert(out && fputs(text, out) >= 0 && fclose(out) == 0);
    cr_assert_eq(rename(fresh, s_path), 0);
}

static gate_runtime_t *s_begin(const char *text) {
    gate_settings_t *settings = rig_settings();
    strcpy(s_path, "/tmp/gate-reload-XXXXXX");
    int fd = mkstemp(s_path);
    cr_assert(fd >= 0 && close(fd) == 0);
    s_write(text);
    cr_assert_eq(gate_settings_load(settings, s_path), GATE_OK, "%s",
                 gate_error()->text);
    gate_runtime_t *rt = gate_runtime_new(settings);
    gate_settings_destroy(&settings);
    return rt;
}

static gate_err_t s_call(gate_client_t *client) {
    int got;
    return gate_client_call(client, "Test.one", &got);
}

static gate_client_t *s_client(gate_runtime_t *rt, const char *endpoint) {
    gate_client_t *client = gate_client_new(rt);
    cr_assert_eq(gate_client_connect(client, endpoint), GATE_OK);
    return client;
}

Test(reload, rules_here_and_over_a_broker, .timeout = 60) {
    static const struct {
        const char *text;
        gate_err_t read, call;
    } steps[] = {{"access = 'deny * Test.one'\n", GATE_OK, GATE_REFUSED},
                 {"access = 'deny * Test.two'\n", GATE_OK, GATE_OK},
                 {"access = 'permit * Test.two'\n", GATE_BADARG, GATE_OK},
                 {"access = 'allow ann Test'\n", GATE_OK, GATE_REFUSED},
                 {"acces = ''\n", GATE_BADDATA, GATE_REFUSED},
                 {"# nothing\n", GATE_OK, GATE_OK}};
    gate_runtime_t *rt = s_begin("# no rule\n");
    gate_broker_t *broker = gate_broker_new(rt);
    gate_broker_bind(broker, "tcp://127.0.0.1:*");
    gate_broker_bind_backend(broker, "tcp://127.0.0.1:*");
    cr_expect_eq(gate_runtime_reload(rt), GATE_CLOSED);
    cr_expect_eq(gate_runtime_reload(NULL), GATE_BADARG);
    cr_assert_eq(gate_broker_start(broker), GATE_OK);
    gate_service_t *local = gate_service_new(rt, "Test");
    gate_service_methods(local, s_table, NULL);
    cr_assert_eq(gate_service_start(local, NULL), GATE_OK);
    gate_client_t *here = s_client(rt, NULL);
    gate_runtime_t *other = gate_runtime_new(NULL); /* no rules of its own */
    gate_service_t *far = gate_service_new(other, "Test");
    gate_service_methods(far, s_table, NULL);
    cr_assert_eq(gate_service_start(far, gate_broker_backend(broker, 0)),
                 GATE_OK);
    cr_assert_eq(gate_service_ready(far, 5000), GATE_OK);
    gate_client_t *there = s_client(other, gate_broker_frontend(broker, 0));
    cr_expect_eq(s_call(here), GATE_OK);
    for (int i = 0; i < 500 && s_call(there); i++)
        usleep(10000);
    for (size_t i = 0; i < sizeof steps / sizeof *steps; i++) {
        s_write(steps[i].text);
        cr_expect_eq(gate_runtime_reload(rt), steps[i].read, "%s: %s",
                     steps[i].text, gate_error()->text);
        cr_expect_eq(s_call(here), steps[i].call, "here: %s", steps[i].text);
        cr_expect_eq(s_call(there), steps[i].call, "there: %s", steps[i].text);
    }
    unlink(s_path);
    cr_expect_eq(gate_runtime_reload(rt), GATE_SYSTEM);
    gate_client_destroy(&here);
    gate_client_destroy(&there);
    gate_service_destroy(&local);
    gate_service_destroy(&far);
    gate_broker_destroy(&broker);
    gate_runtime_destroy(&other);
    gate_runtime_destroy(&rt);
}

/* ---- while there are calls ----------------------------------------------- */
static atomic_bool s_stop;

static void *s_caller(void *arg) {
    long n = 0;
    for (; !s_stop; n++) {
        gate_err_t e = s_call(arg);
        cr_expect(e == GATE_OK || e == GATE_REFUSED, "%s", gate_error()->text);
    }
    cr_expect_gt(n, 0);
    return NULL;
}

Test(reload, while_calls_are_made, .timeout = 60) {
    gate_runtime_t *rt = s_begin("access = 'deny * Test.one'\n");
    gate_service_t *local = gate_service_new(rt, "Test");
    gate_service_methods(local, s_table, NULL);
    cr_assert_eq(gate_service_start(local, NULL), GATE_OK);
    gate_client_t *client = s_client(rt, NULL);
    pthread_t threads[2];
    for (int i = 0; i < 2; i++)
        pthread_create(&threads[i], NULL, s_caller, client);
    for (int i = 0; i < 50; i++) {
        s_write(i % 2 ? "access = 'deny * Test.one'\n" : "# none\n");
        cr_expect_eq(gate_runtime_reload(rt), GATE_OK);
    }
    s_stop = true;
    for (int i = 0; i < 2; i++)
        pthread_join(threads[i], NULL);
    cr_expect_eq(s_call(client), GATE_REFUSED);
    unlink(s_path);
    gate_client_destroy(&client);
    gate_service_destroy(&local);
    gate_runtime_destroy(&rt);
}
