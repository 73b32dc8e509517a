/* SPDX-License-Identifier: BSD-3-Clause */
#include "faults.h"
#include "wire/mdp.h"

#include <string.h>

static gate_bytes_t s_frame(const char *s) {
    return (gate_bytes_t){s, strlen(s)};
}

/* Frames of a list of C strings. */
#define FRAMES(...)                                   \
    static const char *const texts[] = {__VA_ARGS__}; \
    enum { n = sizeof texts / sizeof *texts };        \
    gate_bytes_t f[n];                                \
    for (int k = 0; k < n; k++)                       \
    f[k] = s_frame(texts[k])

Test(mdp, request) {
    gi_mdp_request_t m;
    FRAMES("", "MDPC01", "Svc", "id", "func", "args", "kwargs");
    cr_assert_eq(gi_mdp_parse_request(f, n, false, &m), GATE_OK);
    cr_assert(m.service == 2 && m.n_zap == 0 && m.request_id == 3 &&
              m.body == 4 && m.n_body == 3);
    cr_assert_eq(gi_mdp_parse_request(f, 5, false, &m), GATE_OK);
    cr_assert_eq(m.n_body, 1);
    for (size_t less = 0; less < 5; less++)
        cr_assert_eq(gi_mdp_parse_request(f, less, false, &m), GATE_BADDATA);
    cr_assert_eq(gi_mdp_parse_request(f, n, true, &m), GATE_REFUSED);
}

Test(mdp, request_with_credentials) {
    gi_mdp_request_t m;
    FRAMES("", "MDPC01", "Svc", "PLAIN", "user", "pass", "id", "func");
    cr_assert_eq(gi_mdp_parse_request(f, n, true, &m), GATE_OK);
    cr_assert(m.zap == 3 && m.n_zap == 3 && m.request_id == 6 && m.body == 7 &&
              m.n_body == 1);
    cr_assert_eq(gi_mdp_parse_request(f, 5, true, &m), GATE_REFUSED);
    cr_assert_eq(gi_mdp_parse_request(f, 7, true, &m), GATE_BADDATA);
    /* wire.md 8: not stripped when ZAP is off */
    cr_assert_eq(gi_mdp_parse_request(f, n, false, &m), GATE_OK);
    cr_assert(m.request_id == 3 && m.n_body == 4);
    static const char *const others[] = {"NULL", "CURVE", "GSSAPI", "plain"};
    for (int k = 0; k < 4; k++) {
        f[3] = s_frame(others[k]);
        cr_assert_eq(gi_mdp_parse_request(f, n, true, &m), GATE_REFUSED);
    }
}

Test(mdp, envelopes_are_checked) {
    gi_mdp_request_t m;
    FRAMES("", "MDPC01", "Svc", "id", "func");
    char big[300] = {0};
    gate_bytes_t keep = f[0];
    f[0] = s_frame("x");
    cr_assert_eq(gi_mdp_parse_request(f, n, false, &m), GATE_BADDATA);
    cr_assert_str_eq(gate_error()->text, "frame 1 of 5: must be empty");
    f[0] = keep;
    f[1] = s_frame("MDPW01");
    cr_assert_eq(gi_mdp_parse_request(f, n, false, &m), GATE_BADDATA);
    f[1] = s_frame("MDPC01x");
    cr_assert_eq(gi_mdp_parse_request(f, n, false, &m), GATE_BADDATA);
    f[1] = s_frame("MDPC01");
    f[3] = (gate_bytes_t){big, 256};
    cr_assert_eq(gi_mdp_parse_request(f, n, false, &m), GATE_BADDATA);
    f[3] = (gate_bytes_t){big, 255};
    cr_assert_eq(gi_mdp_parse_request(f, n, false, &m), GATE_OK);
    f[2] = (gate_bytes_t){big, 256};
    cr_assert_eq(gi_mdp_parse_request(f, n, false, &m), GATE_BADDATA);
}

Test(mdp, reply) {
    gi_mdp_reply_t m;
    FRAMES("", "MDPC01", "any", "id", "body", "more");
    cr_assert_eq(gi_mdp_parse_reply(f, n, &m), GATE_OK);
    cr_assert(m.service == 2 && m.request_id == 3 && m.body == 4 &&
              m.n_body == 2);
    cr_assert_eq(gi_mdp_parse_reply(f, 4, &m), GATE_BADDATA);
}

Test(mdp, worker_reply_and_ext) {
    gi_mdp_worker_t m;
    FRAMES("", "MDPW01", "\3", "", "", "id", "body", "more");
    cr_assert_eq(gi_mdp_parse_worker(f, n, false, &m), GATE_OK);
    cr_assert(m.command == GI_MDP_REPLY && m.client_id == 3 &&
              m.request_id == 5 && m.body == 6 && m.n_body == 2 && !m.n_zap);
    cr_assert_eq(gi_mdp_parse_worker(f, 6, false, &m), GATE_OK);
    cr_assert(m.request_id == 5 && m.body == 6 && m.n_body == 0);
    cr_assert_eq(gi_mdp_parse_worker(f, 5, false, &m), GATE_BADDATA);
    f[2] = s_frame("\6");
    cr_assert_eq(gi_mdp_parse_worker(f, n, false, &m), GATE_OK);
    cr_assert_eq(m.command, GI_MDP_EXT);
    for (size_t less = 0; less < 7; less++)
        cr_assert_eq(gi_mdp_parse_worker(f, less, false, &m), GATE_BADDATA);
    f[4] = s_frame("x");
    cr_assert_eq(gi_mdp_parse_worker(f, n, false, &m), GATE_BADDATA);
}

Test(mdp, worker_with_credentials) {
    gi_mdp_worker_t m;
    FRAMES("", "MDPW01", "\3", "PLAIN", "u", "p", "cl", "", "id", "body");
    cr_assert_eq(gi_mdp_parse_worker(f, n, true, &m), GATE_OK);
    cr_assert(m.zap == 3 && m.n_zap == 3 && m.client_id == 6 && m.body == 9);
    f[2] = s_frame("\4");
    cr_assert_eq(gi_mdp_parse_worker(f, 6, true, &m), GATE_OK);
    cr_assert_eq(m.n_body, 0);
    cr_assert_eq(gi_mdp_parse_worker(f, 3, true, &m), GATE_REFUSED);
}

Test(mdp, worker_ready_heartbeat_disconnect) {
    gi_mdp_worker_t m;
    FRAMES("", "MDPW01", "\1", "Echo:d:5", "x");
    cr_assert_eq(gi_mdp_parse_worker(f, 4, false, &m), GATE_OK);
    cr_assert(m.command == GI_MDP_READY && m.body == 3 && m.n_body == 1);
    cr_assert_eq(gi_mdp_parse_worker(f, 3, false, &m), GATE_BADDATA);
    cr_assert_eq(gi_mdp_parse_worker(f, 5, false, &m), GATE_BADDATA);
    static const char *const both[] = {"\4", "\5"};
    for (int k = 0; k < 2; k++) {
        f[2] = s_frame(both[k]);
        cr_assert_eq(gi_mdp_parse_worker(f, 3, false, &m), GATE_OK);
        cr_assert_eq(m.n_body, 0);
        cr_assert_eq(gi_mdp_parse_worker(f, 4, false, &m), GATE_OK);
        cr_assert(m.body == 3 && m.n_body == 1);
        cr_assert_eq(gi_mdp_parse_worker(f, 5, false, &m), GATE_BADDATA);
    }
}

Test(mdp, commands_have_directions) {
    gi_mdp_worker_t m;
    FRAMES("", "MDPW01", "\2", "cl", "", "id", "body");
    cr_assert_eq(gi_mdp_parse_worker(f, n, false, &m), GATE_BADDATA);
    cr_assert_eq(gi_mdp_parse_broker(f, n, &m), GATE_OK);
    cr_assert(m.command == GI_MDP_REQUEST && m.client_id == 3 &&
              m.request_id == 5 && m.body == 6 && m.n_body == 1);
    f[2] = s_frame("\3");
    cr_assert_eq(gi_mdp_parse_broker(f, n, &m), GATE_BADDATA);
    f[2] = s_frame("\1");
    cr_assert_eq(gi_mdp_parse_broker(f, 4, &m), GATE_BADDATA);
    f[2] = s_frame("\4");
    cr_assert_eq(gi_mdp_parse_broker(f, 3, &m), GATE_OK);
    cr_assert_eq(gi_mdp_parse_broker(f, 4, &m), GATE_OK);
    static const char *const none[] = {"", "\7", "\1\1"};
    for (int k = 0; k < 3; k++) {
        f[2] = s_frame(none[k]);
        cr_assert_eq(gi_mdp_parse_broker(f, n, &m), GATE_BADDATA);
        cr_assert_eq(gi_mdp_parse_worker(f, n, false, &m), GATE_BADDATA);
    }
}

static bool s_is(gate_bytes_t b, const char *s) {
    return b.size == strlen(s) && !memcmp(b.data, s, b.size);
}

Test(mdp, ready_lines) {
    gi_mdp_ready_t r;
    cr_assert_eq(gi_mdp_parse_ready(s_frame("Echo:a test: of it:32"), 9, &r),
                 GATE_OK);
    cr_assert(s_is(r.name, "Echo") && s_is(r.description, "a test: of it") &&
              r.max == 32);
    cr_assert_eq(gi_mdp_parse_ready(s_frame("Echo::0"), 9, &r), GATE_OK);
    cr_assert(s_is(r.name, "Echo") && s_is(r.description, "") && r.max == 0);
    cr_assert_eq(gi_mdp_parse_ready(s_frame("Plain"), 9, &r), GATE_OK);
    cr_assert(s_is(r.name, "Plain") && s_is(r.description, "") && r.max == 9);
    static const char *const bad[] = {
        "",        ":d:1",   "a:1",    "a:b:",
        "a:b:-1",  "a:b:1x", "a:b: 1", "a:b:1234567890123456",
        "\xff:b:1"};
    for (size_t k = 0; k < sizeof bad / sizeof *bad; k++)
        cr_assert_eq(gi_mdp_parse_ready(s_frame(bad[k]), 9, &r), GATE_BADDATA,
                     "%s", bad[k]);
    cr_assert_eq(gi_mdp_parse_ready((gate_bytes_t){"a\0b:c:1", 7}, 9, &r),
                 GATE_BADDATA);
    cr_assert_eq(gi_mdp_parse_ready((gate_bytes_t){NULL, 0}, 9, &r),
                 GATE_BADDATA);
}

static gate_err_t s_compose(void *ctx) {
    char *line = NULL;
    gate_err_t e = gi_mdp_compose_ready("Echo", "a test service", 32, &line);
    (void)ctx;
    if (!e)
        cr_assert_str_eq(line, "Echo:a test service:32");
    gi_mem_free(line);
    return e;
}

Test(mdp, ready_is_composed) {
    char *line = NULL, name[300];
    memset(name, 'n', sizeof name);
    name[256] = '\0';
    cr_assert_eq(test_every_fault(s_compose, NULL, GATE_OK), 1);
    cr_assert_eq(gi_mdp_compose_ready("a:b", "", 1, &line), GATE_BADARG);
    cr_assert_eq(gi_mdp_compose_ready("a", "b:c", 1, &line), GATE_BADARG);
    cr_assert_eq(gi_mdp_compose_ready("", "b", 1, &line), GATE_BADARG);
    cr_assert_eq(gi_mdp_compose_ready("a", "\xff", 1, &line), GATE_BADARG);
    cr_assert_eq(gi_mdp_compose_ready("a", "b", -1, &line), GATE_BADARG);
    cr_assert_eq(gi_mdp_compose_ready(name, "b", 1, &line), GATE_BADARG);
    cr_assert_null(line);
}
