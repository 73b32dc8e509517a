/* SPDX-License-Identifier: BSD-3-Clause */
#include "faults.h"
#include "settings/settings.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static char s_file[] = "/tmp/gate-settings-XXXXXX";

static void s_setup(void) {
    extern char **environ;
    for (char **var = environ; *var;)
        if (!strncmp(*var, "GATE_", 5)) {
            char name[100];
            snprintf(name, sizeof name, "%.*s", (int)strcspn(*var, "="), *var);
            unsetenv(name);
        } else {
            var++;
        }
    int fd = mkstemp(s_file);
    cr_assert_geq(fd, 0);
    close(fd);
}

static void s_teardown(void) { unlink(s_file); }
TestSuite(settings, .init = s_setup, .fini = s_teardown);

static gate_err_t s_load(gate_settings_t *s, const char *text) {
    FILE *file = fopen(s_file, "w");
    fputs(text, file);
    fclose(file);
    return gate_settings_load(s, s_file);
}

Test(settings, defaults_are_the_seed_s) {
    gate_settings_t *s = gate_settings_new();
    cr_assert_eq(s->heartbeat, 5000);
    cr_assert_eq(gi_settings_heartbeat_ms(s), 5000);
    cr_assert_eq(gi_settings_reply_timeout_ms(s), 60000);
    cr_assert_eq(gi_settings_huge_threshold(s), 0);
    cr_assert_eq(s->huge_chunk_bytes, 131072);
    cr_assert_str_eq(gi_settings_internal(s), "Gate");
    cr_assert_str_eq(gi_settings_warning(s), "");
    cr_assert_null(s->run_path);
    cr_assert_eq(gate_settings_check(s), GATE_OK);
    cr_assert_str_eq(gi_settings_defaults()->service_default_name, "GateRPC");
    gate_settings_destroy(&s);
    gate_settings_destroy(&s);
}

Test(settings, code_beats_environment_beats_file) {
    setenv("GATE_TIMEOUT", "7", 1);
    setenv("GATE_REPLY_TIMEOUT", "8.5", 1);
    gate_settings_t *s = gate_settings_new();
    gate_settings_set(s, "timeout", 9);
    cr_assert_eq(s_load(s, "timeout = 1\nreply_timeout = 2\nheartbeat = 99\n"
                           "route = local\n"),
                 GATE_OK);
    cr_assert_eq(s->timeout, 9.0);
    cr_assert_eq(s->reply_timeout, 8.5);
    cr_assert_eq(s->heartbeat, 99);
    cr_assert_str_eq(s->route, "local");
    gate_settings_set(s, "route", "broker");
    gate_settings_parse(s, "heartbeat", "100");
    cr_assert_str_eq(s->route, "broker");
    cr_assert_eq(s->heartbeat, 100);
    cr_assert_eq(gate_settings_check(s), GATE_OK);
    gate_settings_destroy(&s);
}

Test(settings, file_syntax) {
    gate_settings_t *s = gate_settings_new();
    cr_assert_eq(s_load(s, "# a comment\n\n  \t\ntimeout=2.5 # behind\r\n"
                           "log_levels = \"broker=debug,service.X=warn\" # q\n"
                           "local_user = 'a # b'\nbase_path = /a#b\n"
                           "debug = yes\nlog_stderr = off\nlog_file ="),
                 GATE_OK);
    cr_assert_eq(s->timeout, 2.5);
    cr_assert_str_eq(s->log_levels, "broker=debug,service.X=warn");
    cr_assert_str_eq(s->local_user, "a # b");
    cr_assert_str_eq(s->base_path, "/a#b");
    cr_assert(s->debug && !s->log_stderr);
    cr_assert_str_eq(s->log_file, "");
    cr_assert_eq(s_load(s, "\xef\xbb\xbftimeout = 3\n"), GATE_OK); /* a BOM */
    cr_assert_eq(s->timeout, 3);
    gate_settings_destroy(&s);
}

Test(settings, a_bad_file_changes_nothing_and_names_the_line) {
    static const struct {
        const char *text, *said;
    } rows[] = {
        {"timeout = 3\nnope = 1\n", ":2: nope: no such setting"},
        {"timeout = 3\n  heartbeat = 1000\n", ":2: indented"},
        {"timeout\n", ":1: must be: name = value"},
        {"timeout = 3\nroute = \"local\n", ":2: route: a quote is not closed"},
        {"route = \"local\" x\n", ":1: route: something follows"},
        {"timeout = 3\nheartbeat = 9\n",
         ":2: heartbeat: 9 is out of bounds: must be an integer from 10 to "
         "3600000 ms"},
        {"heartbeat = 1.5\n", ":1: heartbeat: '1.5' must be an integer, ms"},
        {"heartbeat = 99999999999999999999\n", "must be an integer"},
        {"timeout = 1,5\n", ":1: timeout: '1,5' must be a number, s"},
        {"timeout = nan\n", "must be a number"},
        {"timeout = 0x1p3\n", ":1: timeout: '0x1p3' must be a number, s"},
        {"timeout = inf\n", "must be a number"},
        {"timeout = 0\n", "must be a number from 0.001 to 86400 s"},
        {"debug = maybe\n", ":1: debug: 'maybe' must be true or false"},
        {"route = x\n", "route: 'x' must be one of: auto, broker, local"},
        {"huge_policy = x\n", "adaptive, compress, store"},
        {"log_level = loud\n", "debug, info, warn, error, silent"},
        {"log_levels = broker\n", "must be part=level"},
        {"log_levels = broker=loud\n", "log_levels: 'loud' must be one of"},
        {"mdp_internal_service =\n", "empty"},
    };
    gate_settings_t *s = gate_settings_new();
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        cr_assert_eq(s_load(s, rows[i].text), GATE_BADDATA, "%zu", i);
        cr_assert(strstr(gate_error()->text, s_file));
        cr_assert(strstr(gate_error()->text, rows[i].said), "%s",
                  gate_error()->text);
        cr_assert_eq(s->timeout, 30.0);
    }
    cr_assert_eq(gate_settings_check(s), GATE_OK);
    cr_assert_eq(gate_settings_load(s, "/nonexistent/x"), GATE_SYSTEM);
    gate_settings_destroy(&s);
}

Test(settings, a_nul_in_a_file_is_refused) {
    gate_settings_t *s = gate_settings_new();
    FILE *file = fopen(s_file, "w");
    fwrite("timeout = 3\0\n", 1, 13, file);
    fclose(file);
    cr_assert_eq(gate_settings_load(s, s_file), GATE_BADDATA);
    gate_settings_destroy(&s);
}

/* The environment is checked although a file of lower rank says the same. */
Test(settings, values_below_are_checked_too) {
    gate_settings_t *s = gate_settings_new();
    gate_settings_set(s, "heartbeat", 1000);
    cr_assert_eq(s_load(s, "heartbeat = 1\n"), GATE_BADDATA);
    gate_settings_destroy(&s);
}

Test(settings, environment_warns_of_the_unknown_and_sticks_the_bad) {
    setenv("GATE_NOPE", "1", 1);
    setenv("GATE_heartbeat", "1", 1);
    setenv("GATE_CLUSTER_NAME", "c", 1);
    setenv("GATE_HEARTBEAT", "x", 1);
    gate_settings_t *s = gate_settings_new();
    const char *warning = gi_settings_warning(s);
    cr_assert(strstr(warning, "GATE_NOPE: no such setting"));
    cr_assert(strstr(warning, "GATE_heartbeat: no such setting"));
    cr_assert(
        strstr(warning, "gate_cluster_name: Gate clusters are not available"));
    cr_assert_str_eq(s->gate_cluster_name, "c");
    cr_assert_eq(gate_settings_check(s), GATE_BADARG);
    cr_assert(strstr(gate_error()->text, "heartbeat: 'x' must be an integer"));
    gate_settings_destroy(&s);
}

Test(settings, environment_has_one_prefix) {
    setenv("GATE_GATE_VERSION", "7", 1);
    setenv("GATE_GATE_HEARTBEAT", "77", 1);
    gate_settings_t *s = gate_settings_new();
    const char *warning = gi_settings_warning(s);
    cr_assert(strstr(warning, "is GATE_VERSION meant?"), "%s", warning);
    cr_assert(strstr(warning, "GATE_GATE_HEARTBEAT: no such setting"));
    cr_assert_str_eq(s->gate_version, "01");
    cr_assert_eq(s->heartbeat, 5000);
    gate_settings_destroy(&s);
}

Test(settings, environment_says_what_may_be_meant) {
    setenv("GATE_HARTBEAT", "1", 1);
    setenv("GATE_LOG_LEVLE", "debug", 1);
    setenv("GATE_BROKR", "b", 1);
    setenv("GATE_PORT", "80", 1);
    gate_settings_t *s = gate_settings_new();
    const char *warning = gi_settings_warning(s);
    cr_assert(strstr(warning, "GATE_HARTBEAT: no such setting (environment): "
                              "is GATE_HEARTBEAT meant?"));
    cr_assert(strstr(warning, "is GATE_LOG_LEVEL meant?"));
    cr_assert(strstr(warning, "is GATE_BROKER meant?"));
    cr_assert(strstr(warning, "GATE_PORT: no such setting (environment)"));
    cr_assert_eq(gate_settings_check(s), GATE_OK);
    gate_settings_destroy(&s);
}

Test(settings, the_first_error_sticks) {
    gate_settings_t *s = gate_settings_new();
    gate_settings_set(s, "nope", 1);
    gate_settings_set(s, "heartbeat", 1);
    gate_settings_t *copy = gate_settings_dup(s);
    gate_settings_destroy(&s);
    cr_assert_eq(gate_settings_check(copy), GATE_BADARG);
    cr_assert_str_eq(gate_error()->text, "nope: no such setting");
    gate_settings_destroy(&copy);
}

#define STUCK(name, v, said)                                                   \
    do {                                                                       \
        gate_settings_t *t = gate_settings_new();                              \
        gate_settings_set(t, name, v);                                         \
        cr_assert_eq(gate_settings_check(t), GATE_BADARG);                     \
        cr_assert(strstr(gate_error()->text, said), "%s", gate_error()->text); \
        gate_settings_destroy(&t);                                             \
    } while (0)

Test(settings, code_is_typed) {
    STUCK("heartbeat", "1000", "must be int, not str");
    STUCK("heartbeat", 1000.0, "must be int, not float");
    STUCK("heartbeat", (_Bool)1, "must be int, not bool");
    STUCK("heartbeat", UINT64_MAX, "out of bounds");
    STUCK("route", 1, "must be str, not int");
    STUCK("route", (void *)NULL, "must be str, not None");
    STUCK("debug", 2, "out of bounds");
    STUCK("debug", "yes", "must be bool, not str");
    STUCK("timeout", 1e9, "out of bounds");
    STUCK("log_file", gate_strn("a\0b", 3), "a NUL inside");
    gate_settings_t *s = gate_settings_new();
    gate_settings_set(s, "debug", true);
    gate_settings_set(s, "timeout", 2);
    gate_settings_set(s, "run_path", gate_strn("abcd", 2));
    cr_assert(s->debug);
    cr_assert_eq(s->timeout, 2.0);
    cr_assert_str_eq(s->run_path, "ab");
    gate_settings_set(s, "run_path", (void *)NULL);
    cr_assert_null(s->run_path);
    cr_assert_eq(gate_settings_check(s), GATE_OK);
    gate_settings_destroy(&s);
}

Test(settings, reads_by_name_and_type) {
    gate_settings_t *s = gate_settings_new();
    int64_t i;
    int n;
    double d;
    bool b;
    const char *text;
    char *own;
    cr_assert_eq(gate_settings_get(s, "heartbeat", &i), GATE_OK);
    cr_assert_eq(gate_settings_get(s, "heartbeat", &n), GATE_OK);
    cr_assert_eq(gate_settings_get(s, "timeout", &d), GATE_OK);
    cr_assert_eq(gate_settings_get(s, "debug", &b), GATE_OK);
    cr_assert_eq(gate_settings_get(s, "route", &text), GATE_OK);
    cr_assert_eq(gate_settings_get(s, "route", &own), GATE_OK);
    cr_assert(i == 5000 && n == 5000 && d == 30.0 && !b);
    cr_assert_str_eq(text, "auto");
    cr_assert_str_eq(own, "auto");
    free(own);
    cr_assert_eq(gate_settings_get(s, "route", &i), GATE_BADARG);
    cr_assert_str_eq(gate_error()->text, "route: is read into a const char *");
    cr_assert_eq(gate_settings_get(s, "nope", &i), GATE_BADARG);
    gate_settings_set(s, "huge_max_bytes", 1L << 40);
    cr_assert_eq(gate_settings_get(s, "huge_max_bytes", &n), GATE_BADARG);
    gate_settings_destroy(&s);
}

Test(settings, zero_means_another_setting) {
    gate_settings_t *s = gate_settings_new();
    gate_settings_set(s, "heartbeat", 700);
    gate_settings_set(s, "timeout", 0.25);
    cr_assert_eq(gi_settings_heartbeat_ms(s), 700);
    cr_assert_eq(gi_settings_reply_timeout_ms(s), 500);
    gate_settings_set(s, "mdp_heartbeat_interval", 300);
    gate_settings_set(s, "reply_timeout", 1);
    cr_assert_eq(gi_settings_heartbeat_ms(s), 300);
    cr_assert_eq(gi_settings_reply_timeout_ms(s), 1000);
    cr_assert_eq(gi_settings_ms(0.001), 1);
    cr_assert_eq(gi_settings_ms(0.0001), 1);
    cr_assert_eq(gi_settings_ms(1e300), (int64_t)9e15);
    gate_settings_destroy(&s);
}

Test(settings, older_internal_prefix) {
    gate_settings_t *s = gate_settings_new();
    gate_settings_set(s, "mdp_internal_service_prefix", "Mgmt.");
    cr_assert_str_eq(gi_settings_internal(s), "Mgmt");
    gate_settings_set(s, "mdp_internal_service", "Boss");
    cr_assert_str_eq(gi_settings_internal(s), "Boss");
    gate_settings_destroy(&s);
}

Test(settings, huge_data_sizeof_sets_threshold_and_chunk) {
    gate_settings_t *s = gate_settings_new();
    gate_settings_set(s, "huge_data_sizeof", 4000);
    cr_assert_eq(gi_settings_huge_threshold(s), 4000);
    cr_assert_eq(s->huge_chunk_bytes, 4000);
    gate_settings_set(s, "huge_threshold", 5000);
    cr_assert_eq(gi_settings_huge_threshold(s), 5000);
    cr_assert_eq(s->huge_chunk_bytes, 131072);
    gate_settings_set(s, "huge_chunk_bytes", 2000);
    cr_assert_eq(s->huge_chunk_bytes, 2000);
    gate_settings_destroy(&s);
}

static void s_count(void *ctx, const char *name, const char *type,
                    const char *value, const char *doc) {
    cr_assert(*name && *type && value && *doc);
    ++*(int *)ctx;
}

Test(settings, each_shows_all) {
    int n = 0;
    gate_settings_each(gi_settings_defaults(), s_count, &n);
    cr_assert_gt(n, 70);
}

/* ---- faults -------------------------------------------------------------- */
static gate_err_t s_make(void *ctx) {
    (void)ctx;
    gate_settings_t *s = gate_settings_new();
    if (!s)
        return GATE_NOMEM;
    gate_settings_set(s, "route", "local");
    gate_settings_set(s, "gate_cluster_name", "x");
    gate_settings_parse(s, "log_file", "y");
    gate_err_t e = gate_settings_check(s);
    if (!e)
        e = gate_settings_load(s, s_file);
    gate_settings_t *copy = e ? NULL : gate_settings_dup(s);
    if (!e && !copy)
        e = GATE_NOMEM;
    if (!e)
        cr_assert_str_eq(copy->route, "local");
    gate_settings_destroy(&copy);
    gate_settings_destroy(&s);
    return e;
}

Test(settings, survives_every_allocation_failure) {
    setenv("GATE_NOPE", "1", 1);
    setenv("GATE_LOCAL_USER", "u", 1);
    FILE *file = fopen(s_file, "w");
    fputs("log_path = /x\nbase_path = /y\n", file);
    fclose(file);
    cr_assert_gt(test_every_fault(s_make, NULL, GATE_OK), 10);
}
