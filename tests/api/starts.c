/* SPDX-License-Identifier: BSD-3-Clause */
/* starts.c -- what cannot be is said by name when it starts, and not by the
 * first call that meets it; a second runtime is told what it does not get. */
#include <criterion/criterion.h>
#include <stdio.h>
#include <string.h>
#include "rig.h"

/* ---- settings ------------------------------------------------------------ */
static const struct {
    const char *name, *value, *word;
} s_bad[] = {
    {"zmq_context", "io_threads=0", "io_threads"},
    {"zmq_context", "io_threads=65", "io_threads"},
    {"zmq_context", "io_threads=-1", "io_threads"},
    {"zmq_context", "io_threads=two", "io_threads"},
    {"zmq_context", "io_threads=", "io_threads"},
    {"zmq_context", "max_sockets=1", "max_sockets"},
    {"zmq_context", "max_sockets=99999999999", "max_sockets"},
    {"heartbeat", "1", "heartbeat"},
    {"threads", "20000", "threads"},
    {"service_default_name", "a:b", "service_default_name"},
    {"log_path", "", "log_path"},
};

Test(starts, settings, .timeout = 30) {
    for (size_t i = 0; i < sizeof s_bad / sizeof *s_bad; i++) {
        gate_settings_t *settings = rig_settings();
        gate_settings_set(settings, s_bad[i].name, s_bad[i].value);
        gate_runtime_t *rt = gate_runtime_new(settings);
        cr_expect_eq(gate_runtime_start(rt), GATE_BADARG, "%s = %s",
                     s_bad[i].name, s_bad[i].value);
        cr_expect(strstr(gate_error()->text, s_bad[i].word), "%s: %s",
                  s_bad[i].word, gate_error()->text);
        gate_runtime_destroy(&rt);
        gate_settings_destroy(&settings);
    }
}

/* ---- methods, codecs, addresses ------------------------------------------ */
static gate_err_t s_nothing(gate_call_t *call) { return gate_return(call, 1L); }

static const struct {
    gate_method_t method;
    const char *word;
} s_methods[] = {
    {{.name = "", .fn = s_nothing}, "name is empty"},
    {{.name = "none"}, "has no function"},
    {{.name = "far", .fn = s_nothing, .runs = (gate_runs_t)77}, ".runs = 77"},
    {{.name = "low", .fn = s_nothing, .runs = (gate_runs_t)-2}, ".runs = -2"},
    {{.name = "own", .fn = s_nothing, .runs = GATE_CUSTOM}, ".pool"},
};

Test(starts, methods, .timeout = 30) {
    gate_settings_t *settings = rig_settings();
    gate_runtime_t *rt = gate_runtime_new(settings);
    for (size_t i = 0; i < sizeof s_methods / sizeof *s_methods; i++) {
        gate_service_t *service = gate_service_new(rt, "Bad");
        gate_method_t table[] = {s_methods[i].method, GATE_END};
        gate_service_methods(service, table, NULL);
        cr_expect_eq(gate_service_start(service, "tcp://127.0.0.1:1"),
                     GATE_BADARG, "%zu", i);
        cr_expect(strstr(gate_error()->text, s_methods[i].word), "%s: %s",
                  s_methods[i].word, gate_error()->text);
        gate_service_destroy(&service);
    }
    gate_runtime_destroy(&rt);
    gate_settings_destroy(&settings);
}

Test(starts, codec, .timeout = 30) {
    gate_settings_t *settings = rig_settings();
    gate_settings_set(settings, "huge_data_compress_module", "gzipp");
    gate_runtime_t *rt = gate_runtime_new(settings);
    gate_service_t *service = gate_service_new(rt, "Packer");
    gate_client_t *client = gate_client_new(rt);
    cr_expect_neq(gate_service_start(service, "tcp://127.0.0.1:1"), GATE_OK);
    cr_expect(strstr(gate_error()->text, "gzipp"), "%s", gate_error()->text);
    cr_expect_neq(gate_client_connect(client, "tcp://127.0.0.1:1"), GATE_OK);
    cr_expect(strstr(gate_error()->text, "gzipp"), "%s", gate_error()->text);
    gate_client_destroy(&client);
    gate_service_destroy(&service);
    gate_runtime_destroy(&rt);
    gate_settings_destroy(&settings);
}

Test(starts, ports, .timeout = 30) {
    gate_settings_t *settings = rig_settings();
    gate_runtime_t *rt = gate_runtime_new(settings);
    gate_broker_t *broker = gate_broker_new(rt);
    gate_client_t *client = gate_client_new(rt);
    gate_service_t *service = gate_service_new(rt, "Lost");
    gate_broker_bind(broker, "tcp://127.0.0.1:99999");
    cr_expect_neq(gate_broker_start(broker), GATE_OK);
    cr_expect(strstr(gate_error()->text, "99999"), "%s", gate_error()->text);
    cr_expect_neq(gate_client_connect(client, "tcp://127.0.0.1:99999"),
                  GATE_OK);
    cr_expect(strstr(gate_error()->text, "99999"), "%s", gate_error()->text);
    cr_expect_neq(gate_service_start(service, "tcp://127.0.0.1:99999"),
                  GATE_OK);
    cr_expect(strstr(gate_error()->text, "99999"), "%s", gate_error()->text);
    gate_service_destroy(&service);
    gate_client_destroy(&client);
    gate_broker_destroy(&broker);
    gate_runtime_destroy(&rt);
    gate_settings_destroy(&settings);
}

/* ---- a second runtime ---------------------------------------------------- */
static int s_told;

static void s_sink(void *ctx, gate_level_t level, const char *part,
                   const char *text) {
    (void)ctx, (void)part;
    s_told += level == GATE_WARN && (strstr(text, "zmq_context") != NULL ||
                                     strstr(text, "log_levels") != NULL);
}

/* A process has one log and one ZeroMQ context: the first runtime's. */
Test(starts, a_second_runtime, .timeout = 30) {
    gate_settings_t *one = rig_settings(), *two = rig_settings();
    gate_settings_set(one, "log_level", "warn");
    gate_settings_set(two, "zmq_context", "io_threads=4");
    gate_settings_set(two, "log_levels", "broker=debug");
    gate_runtime_t *first = gate_runtime_new(one);
    cr_assert_eq(gate_runtime_start(first), GATE_OK);
    gate_log_sink(s_sink, NULL);
    gate_runtime_t *second = gate_runtime_new(two);
    cr_expect_eq(gate_runtime_start(second), GATE_OK);
    cr_assert(gate_log_flush(5000));
    cr_expect_eq(s_told, 2);
    gate_log_sink(NULL, NULL);
    gate_runtime_destroy(&second);
    gate_runtime_destroy(&first);
    gate_settings_destroy(&one);
    gate_settings_destroy(&two);
}
