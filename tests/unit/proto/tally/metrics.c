/* SPDX-License-Identifier: BSD-3-Clause */
/* A snapshot as text: what is in it, and what no name can break. */
#include <criterion/criterion.h>
#include <gaterpc/monitor.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/buf.h"
#include "tally/tally.h"

static void s_key(msgpack_packer *pk, const char *key) {
    msgpack_pack_str_with_body(pk, key, strlen(key));
}

static gate_value_t *s_snapshot(const char *const *names, size_t n,
                                gi_tally_t *tally) {
    gi_buf_t buf = {0};
    msgpack_packer pk;
    gate_value_t *value = NULL;
    msgpack_packer_init(&pk, &buf, gi_buf_write);
    msgpack_pack_map(&pk, 2);
    s_key(&pk, "broker");
    msgpack_pack_map(&pk, 1);
    s_key(&pk, "state");
    s_key(&pk, "ready");
    s_key(&pk, "services");
    msgpack_pack_array(&pk, n);
    for (size_t i = 0; i < n; i++) {
        msgpack_pack_map(&pk, 2 + GI_TALLY_ENTRIES);
        s_key(&pk, "name");
        s_key(&pk, names[i]);
        s_key(&pk, "plain_name");
        msgpack_pack_true(&pk);
        gi_tally_pack(tally, &pk, 0);
    }
    cr_assert_eq(gate_value_decode(buf.data, buf.size, NULL, &value), GATE_OK);
    gi_buf_fini(&buf);
    return value;
}

static gate_err_t s_append(void *ctx, const char *text, size_t size) {
    gi_buf_append(ctx, text, size);
    return GATE_OK;
}

static char *s_text(const gate_value_t *snapshot, bool open) {
    gi_buf_t out = {0};
    cr_assert_eq(gate_monitor_metrics(snapshot, open, s_append, &out), GATE_OK);
    gi_buf_append(&out, "", 1);
    return (char *)out.data;
}

static gi_tally_t *s_tally(gi_tally_room_t *room) {
    gi_tally_t *t = gi_tally_new(room);
    gi_tally_name_t name = {.text = "a\"dd"};
    gi_tally_error_t error = {.cls = {"Value\\Error", 11}};
    for (int i = 0; i < 3; i++)
        gi_tally_count(t, &name, GI_OUT_OK, NULL, 20000, 0);
    gi_tally_count(t, &name, GI_OUT_EXCEPTION, &error, 20000, 0);
    return t;
}

Test(metrics, counts_are_what_was_counted) {
    gi_tally_room_t room = {1 << 20, 0};
    gi_tally_t *t = s_tally(&room);
    const char *names[] = {"Demo"};
    gate_value_t *v = s_snapshot(names, 1, t);
    char *text = s_text(v, false);
    const char *lines[] = {
        "\ngaterpc_broker_calls_total{service=\"Demo\",outcome=\"ok\"} 3\n",
        "{service=\"Demo\",outcome=\"exception\"} 1\n",
        "{service=\"Demo\",class=\"Value\\\\Error\"} 1\n",
        "{service=\"Demo\",method=\"a\\\"dd\",outcome=\"ok\"} 3\n",
        "{service=\"Demo\",method=\"a\\\"dd\",outcome=\"error\"} 1\n",
        "call_seconds_bucket{service=\"Demo\",le=\"0.000016\"} 0\n",
        "call_seconds_bucket{service=\"Demo\",le=\"0.000032\"} 4\n",
        "call_seconds_bucket{service=\"Demo\",le=\"67.108864\"} 4\n",
        "call_seconds_bucket{service=\"Demo\",le=\"+Inf\"} 4\n",
        "call_seconds_sum{service=\"Demo\"} 0.000080\n",
        "queue_seconds_count{service=\"Demo\"} 4\n",
        "gaterpc_broker_state{state=\"ready\"} 1\n",
        "# TYPE gaterpc_broker_calls_total counter\n"};
    for (size_t i = 0; i < sizeof lines / sizeof *lines; i++)
        cr_expect(strstr(text, lines[i]), "%s", lines[i]);
    free(text);
    text = s_text(v, true);
    cr_expect(strstr(text, "# TYPE gaterpc_broker_calls counter\n"));
    cr_expect(strstr(text, "# UNIT gaterpc_broker_call_seconds seconds\n"));
    cr_expect_str_eq(text + strlen(text) - 6, "# EOF\n");
    free(text);
    gate_value_destroy(&v);
    gi_tally_destroy(&t);
}

Test(metrics, services_beyond_the_bound_share_a_label) {
    gi_tally_room_t room = {1 << 20, 0};
    gi_tally_t *t = s_tally(&room);
    static char many[1000][16];
    static const char *names[1000];
    for (int i = 0; i < 1000; i++) {
        snprintf(many[i], sizeof many[i], "S%d", i);
        names[i] = many[i];
    }
    gate_value_t *v = s_snapshot(names, 1000, t);
    char *text = s_text(v, false);
    cr_expect(strstr(text, "calls_total{service=\"S99\",outcome=\"ok\"} 3\n"));
    cr_expect_null(strstr(text, "service=\"S100\""));
    cr_expect(
        strstr(text, "calls_total{service=\"_other\",outcome=\"ok\"} 2700\n"));
    cr_expect(strlen(text) < 2u << 20, "%zu bytes", strlen(text));
    free(text);
    gate_value_destroy(&v);
    gi_tally_destroy(&t);
}

static gate_err_t s_refuse(void *ctx, const char *text, size_t size) {
    ++*(int *)ctx;
    (void)text, (void)size;
    return GATE_CLOSED;
}

Test(metrics, what_is_no_snapshot_is_said_and_a_refusal_ends_it) {
    gate_value_t *no = gate_value_new(7);
    int n = 0;
    cr_expect_eq(gate_monitor_metrics(no, false, s_refuse, &n), GATE_BADARG);
    cr_expect_eq(gate_monitor_metrics(NULL, false, s_refuse, &n), GATE_BADARG);
    cr_expect_eq(n, 0);
    gi_tally_room_t room = {1 << 20, 0};
    gi_tally_t *t = s_tally(&room);
    const char *names[] = {"Demo"};
    gate_value_t *v = s_snapshot(names, 1, t);
    cr_expect_eq(gate_monitor_metrics(v, false, s_refuse, &n), GATE_CLOSED);
    cr_expect_eq(n, 1);
    gate_value_destroy(&v);
    gate_value_destroy(&no);
    gi_tally_destroy(&t);
}
