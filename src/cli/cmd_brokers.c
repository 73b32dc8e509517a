/* SPDX-License-Identifier: BSD-3-Clause */
/* cmd_brokers.c -- gate brokers. */
#include "cli/cli.h"
#include "text/clean.h"
#include "text/json_arg.h"
#include "text/rows.h"
#include "cli/opts.h"
#include "cli/peer.h"

enum { S_ANSWER_MS = 10000 };

static const gi_usage_t s_usage = {
    "brokers [OPTION]...",
    "Lists the brokers that a broker is joined with: name, node, state, zone,\n"
    "round trip in ms, services, calls under way to it and from it, bytes not\n"
    "acknowledged, batches sent again, for how many ms it is so, and for how\n"
    "many something waited until the other side took more.\n"
    "On stderr, when the NATS server is away, why.\n" GI_ROWS_SAYS};

static int64_t s_of(const msgpack_object *map, const char *name) {
    const msgpack_object *v = gi_json_get(map, name);
    return v && v->type == MSGPACK_OBJECT_POSITIVE_INTEGER ? v->via.i64 : 0;
}

static const gi_column_t s_columns[] = {
    {"BROKER", false}, {"NODE", false},  {"STATE", false},
    {"ZONE", false},   {"RTT ms", true}, {"SERVICES", true},
    {"TO", true},      {"FROM", true},   {"KEPT bytes", true},
    {"RESENT", true},  {"AGE ms", true}, {"STALLED ms", true}};

static void s_print(gi_rows_t *table, const msgpack_object *broker) {
    static const char *const texts[] = {"name", "node", "state", "zone"};
    static const char *const numbers[] = {"services",   "to",     "from",
                                          "kept_bytes", "resent", "age_ms",
                                          "stalled_ms"};
    for (size_t i = 0; i < sizeof texts / sizeof *texts; i++)
        gi_rows_object(table, gi_json_get(broker, texts[i]));
    gi_rows_real(table, (double)s_of(broker, "rtt_us") / 1000);
    for (size_t i = 0; i < sizeof numbers / sizeof *numbers; i++)
        gi_rows_number(table, s_of(broker, numbers[i]));
}

/* An empty list has a reason, and a list of brokers that are down too. */
static void s_say_why(gate_client_t *client) {
    GATE_OWN(gate_value) stats = NULL;
    if (gate_client_call(client, "Gate.stats", &stats,
                         gate_timeout_ms(S_ANSWER_MS)))
        return;
    const msgpack_object *uplink =
        gi_json_get(gate_value_object(stats), "uplink");
    const msgpack_object *why = uplink ? gi_json_get(uplink, "why") : NULL;
    if (uplink && s_of(uplink, "up"))
        return;
    fprintf(stderr, uplink ? "no NATS server: " : "no --uplink: ");
    if (why && why->type == MSGPACK_OBJECT_STR && why->via.str.size)
        gi_clean_put(stderr, why->via.str.ptr, why->via.str.size, false);
    else
        fprintf(stderr, uplink ? "none has answered yet"
                               : "this broker is joined with no other");
    fprintf(stderr, "\n");
}

static int s_brokers(gate_client_t *client, bool as_json) {
    GATE_OWN(gate_value) brokers = NULL;
    gate_err_t e = gate_client_call(client, "Gate.brokers", &brokers,
                                    gate_timeout_ms(S_ANSWER_MS));
    if (e)
        return gi_peer_fail(e, true);
    const msgpack_object *list = gate_value_object(brokers);
    if (as_json)
        return gi_json_print(list) ? GI_EXIT_OK : GI_EXIT_REMOTE;
    gi_rows_t table;
    gi_rows_begin(&table, s_columns, sizeof s_columns / sizeof *s_columns);
    for (uint32_t i = 0;
         list->type == MSGPACK_OBJECT_ARRAY && i < list->via.array.size; i++)
        s_print(&table, &list->via.array.ptr[i]);
    gi_rows_end(&table);
    s_say_why(client);
    return GI_EXIT_OK;
}

int gi_brokers_main(int argc, char **argv) {
    gi_peer_t peer = {0};
    bool as_json = false;
    const gi_opt_t table[] = {
        GI_PEER_OPTS(peer),
        {"json", GI_OPT_FLAG, &as_json, NULL, "as one line of JSON"},
        GI_OPT_END,
    };
    int code = gi_opts_parse(argc, argv, &s_usage, table, NULL);
    if (code < 0)
        code = gi_peer_check(&peer, &s_usage);
    if (code < 0) {
        code = gi_peer_open(&peer);
        if (!code)
            code = s_brokers(peer.client, as_json);
        gi_peer_close(&peer);
    }
    gi_peer_forget(&peer.auth);
    return code;
}
