/* SPDX-License-Identifier: BSD-3-Clause */
/* slips.c -- what concerns who gets in fails closed in code too: a table of
 * setters that were given nothing, half a pair, or came too late. */
#include <criterion/criterion.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include "rig.h"

/* ---- brokers ------------------------------------------------------------- */
typedef void s_broker_slip(gate_broker_t *broker);

static void no_cert(gate_broker_t *b) { gate_broker_curve(b, NULL, "allow"); }
static void empty_cert(gate_broker_t *b) { gate_broker_curve(b, "", "allow"); }
static void no_dir(gate_broker_t *b) { gate_broker_curve(b, "cert", NULL); }
static void empty_dir(gate_broker_t *b) { gate_broker_curve(b, "cert", ""); }
static void no_users(gate_broker_t *b) { gate_broker_plain(b, NULL); }
static void empty_users(gate_broker_t *b) { gate_broker_plain(b, ""); }
static void empty_zap(gate_broker_t *b) { gate_broker_use_zap(b, "", NULL); }

static const struct {
    s_broker_slip *fn;
    const char *word;
} s_brokers[] = {
    {no_cert, "certificate file"}, {empty_cert, "certificate file"},
    {no_dir, "allowed keys"},      {empty_dir, "allowed keys"},
    {no_users, "users file"},      {empty_users, "users file"},
    {empty_zap, "ZAP service"}};

Test(slips, brokers, .timeout = 30) {
    gate_settings_t *settings = rig_settings();
    gate_runtime_t *rt = gate_runtime_new(settings);
    for (size_t i = 0; i < sizeof s_brokers / sizeof *s_brokers; i++) {
        gate_broker_t *broker = gate_broker_new(rt);
        gate_broker_bind(broker, "tcp://127.0.0.1:*");
        s_brokers[i].fn(broker);
        cr_expect_eq(gate_broker_start(broker), GATE_BADARG, "%zu", i);
        cr_expect(strstr(gate_error()->text, s_brokers[i].word), "%s: %s",
                  s_brokers[i].word, gate_error()->text);
        gate_broker_destroy(&broker);
    }
    gate_runtime_destroy(&rt);
    gate_settings_destroy(&settings);
}

/* ---- those who log in ---------------------------------------------------- */
Test(slips, clients_and_services, .timeout = 30) {
    gate_settings_t *settings = rig_settings();
    gate_runtime_t *rt = gate_runtime_new(settings);
    for (int i = 0; i < 9; i++) {
        if (i == 3 || i == 6)
            continue; /* no credentials at all are no slip: refused elsewhere */
        const char *a = i % 3 == 1 ? "a" : NULL, *b = i % 3 == 2 ? "b" : NULL;
        gate_client_t *c = gate_client_new(rt);
        gate_service_t *s = gate_service_new(rt, "Slip");
        (i < 3   ? gate_client_curve
         : i < 6 ? gate_client_plain
                 : gate_client_plain_transport)(c, a, b);
        (i < 3   ? gate_service_curve
         : i < 6 ? gate_service_plain
                 : gate_service_plain_transport)(s, a, b);
        cr_expect_eq(gate_client_connect(c, "tcp://127.0.0.1:1"), GATE_BADARG,
                     "client %d", i);
        cr_expect(strstr(gate_error()->text, "both are needed"), "%s",
                  gate_error()->text);
        cr_expect_eq(gate_service_start(s, "tcp://127.0.0.1:1"), GATE_BADARG,
                     "service %d", i);
        cr_expect(strstr(gate_error()->text, "both are needed"), "%s",
                  gate_error()->text);
        gate_client_destroy(&c);
        gate_service_destroy(&s);
    }
    gate_runtime_destroy(&rt);
    gate_settings_destroy(&settings);
}

/* ---- the service that is asked ------------------------------------------- */
typedef void s_zap_slip(gate_zap_t *zap);

static void z_user(gate_zap_t *z) { gate_zap_plain(z, NULL, NULL, "pw"); }
static void z_none(gate_zap_t *z) { gate_zap_plain(z, NULL, "ann", NULL); }
static void z_empty(gate_zap_t *z) { gate_zap_plain(z, NULL, "ann", ""); }
static void z_domain(gate_zap_t *z) { gate_zap_plain(z, "", "ann", "pw"); }
static void z_file(gate_zap_t *z) { gate_zap_plain_file(z, NULL); }
static void z_check(gate_zap_t *z) { gate_zap_check(z, NULL, NULL); }
static void z_allow(gate_zap_t *z) { gate_zap_allow(z, ""); }
static void z_deny(gate_zap_t *z) { gate_zap_deny(z, NULL); }
static void z_name(gate_zap_t *z) { gate_zap_deny(z, "badhost"); }
static void z_odd(gate_zap_t *z) { gate_zap_allow(z, "abc"); }
static void z_typo(gate_zap_t *z) { gate_zap_deny(z, "10.0.0.256"); }

static const struct {
    s_zap_slip *fn;
    const char *word;
} s_zaps[] = {
    {z_user, "user"},     {z_none, "password"},   {z_empty, "password"},
    {z_domain, "domain"}, {z_file, "users file"}, {z_check, "function"},
    {z_allow, "address"}, {z_deny, "address"},    {z_name, "badhost"},
    {z_odd, "abc"},       {z_typo, "10.0.0.256"}};

Test(slips, zap_services, .timeout = 30) {
    gate_settings_t *settings = rig_settings();
    gate_runtime_t *rt = gate_runtime_new(settings);
    for (size_t i = 0; i < sizeof s_zaps / sizeof *s_zaps; i++) {
        gate_zap_t *zap = gate_zap_new(rt, "tcp://127.0.0.1:*");
        s_zaps[i].fn(zap);
        cr_expect_eq(gate_zap_start(zap), GATE_BADARG, "%zu", i);
        cr_expect(strstr(gate_error()->text, s_zaps[i].word), "%s: %s",
                  s_zaps[i].word, gate_error()->text);
        gate_zap_destroy(&zap);
    }
    char hash[256];
    cr_expect_eq(gate_zap_hash("", hash, sizeof hash), GATE_BADARG);
    cr_expect_eq(gate_zap_hash(NULL, hash, sizeof hash), GATE_BADARG);
    gate_runtime_destroy(&rt);
    gate_settings_destroy(&settings);
}

/* ---- settings ------------------------------------------------------------ */
static const struct {
    const char *name, *value, *word;
} s_settings[] = {
    {"acces", "deny * *", "access"},
    {"broker_curve_cret", "x", "broker_curve_cert"},
    {"access", "", "access"},
    {"access", "permit ann *", "allow or deny"},
    {"broker_plain_users", "", "broker_plain_users"},
    {"plain_user", "ann", "plain_password is missing"},
    {"plain_password", "pw", "plain_user is missing"},
    {"zap_plain_default_user", "ann", "zap_plain_default_password is missing"},
    {"zap_plain_default_password", "pw", "zap_plain_default_user is missing"},
    {"curve_cert", "x", "curve_server is missing"},
    {"curve_server", "x", "curve_cert is missing"},
};

Test(slips, settings, .timeout = 30) {
    for (size_t i = 0; i < sizeof s_settings / sizeof *s_settings; i++) {
        gate_settings_t *settings = rig_settings();
        gate_settings_set(settings, s_settings[i].name, s_settings[i].value);
        gate_runtime_t *rt = gate_runtime_new(settings);
        cr_expect_eq(gate_runtime_start(rt), GATE_BADARG, "%s = %s",
                     s_settings[i].name, s_settings[i].value);
        cr_expect(strstr(gate_error()->text, s_settings[i].word), "%s: %s",
                  s_settings[i].word, gate_error()->text);
        gate_runtime_destroy(&rt);
        gate_settings_destroy(&settings);
    }
}

/* ---- too late ------------------------------------------------------------ */
static int s_warned;

static void s_sink(void *ctx, gate_level_t level, const char *part,
                   const char *text) {
    (void)ctx, (void)part;
    s_warned += level == GATE_WARN && strstr(text, "without effect") != NULL;
}

/* Where the setter returns nothing the log has it too. */
Test(slips, after_start, .timeout = 30) {
    gate_settings_t *settings = rig_settings();
    gate_settings_set(settings, "log_level", "warn");
    gate_runtime_t *rt = gate_runtime_new(settings);
    gate_broker_t *broker = gate_broker_new(rt);
    gate_broker_bind(broker, "tcp://127.0.0.1:*");
    gate_broker_bind_backend(broker, "tcp://127.0.0.1:*");
    gate_zap_t *zap = gate_zap_new(rt, "tcp://127.0.0.1:*");
    gate_service_t *service = gate_service_new(rt, "Late");
    gate_client_t *client = gate_client_new(rt);
    cr_assert_eq(gate_broker_start(broker), GATE_OK);
    cr_assert_eq(gate_zap_start(zap), GATE_OK);
    cr_assert_eq(gate_service_start(service, gate_broker_backend(broker, 0)),
                 GATE_OK);
    cr_assert_eq(gate_client_connect(client, gate_broker_frontend(broker, 0)),
                 GATE_OK);
    gate_log_sink(s_sink, NULL);
    int n = 0;
#define LATE(call)                                               \
    do {                                                         \
        call;                                                    \
        cr_expect_eq(gate_error()->code, GATE_BADARG, #call);    \
        cr_expect(gate_log_flush(2000));                         \
        cr_expect_gt(s_warned, n, #call ": nothing in the log"); \
        n = s_warned;                                            \
    } while (0)
    LATE(gate_broker_plain(broker, "users"));
    LATE(gate_broker_curve(broker, "cert", "allow"));
    LATE(gate_broker_use_zap(broker, "tcp://127.0.0.1:1", NULL));
    LATE(gate_zap_plain(zap, "*", "ann", "pw"));
    LATE(gate_zap_plain_file(zap, "users"));
    LATE(gate_zap_allow(zap, "127.0.0.1"));
    LATE(gate_zap_deny(zap, "127.0.0.1"));
    LATE(gate_service_plain(service, "ann", "pw"));
    LATE(gate_service_curve(service, "cert", "server"));
    LATE(gate_service_plain_transport(service, "ann", "pw"));
    LATE(gate_client_plain(client, "ann", "pw"));
    LATE(gate_client_curve(client, "cert", "server"));
    LATE(gate_client_plain_transport(client, "ann", "pw"));
    gate_log_sink(NULL, NULL);
    gate_client_destroy(&client);
    gate_service_destroy(&service);
    gate_zap_destroy(&zap);
    gate_broker_destroy(&broker);
    gate_runtime_destroy(&rt);
    gate_settings_destroy(&settings);
}
