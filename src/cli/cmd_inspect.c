/* SPDX-License-Identifier: BSD-3-Clause */
/* cmd_inspect.c -- gate inspect: asks a service for its get_interfaces. A Python
 * service tells signature and doc; ours also tells where a method runs. */
#include "cli/cli.h"
#include "text/json_arg.h"
#include "text/rows.h"
#include "cli/opts.h"
#include "cli/peer.h"

static const gi_usage_t s_usage = {
    "inspect [OPTION]... SERVICE",
    "Prints a line for each method: name, signature, where it runs, doc. What\n"
    "the service does not tell is '-'.\n" GI_ROWS_SAYS};

enum { S_INSPECT_MS = 5000 };

static const gi_column_t s_columns[] = {
    {"METHOD", false}, {"SIGNATURE", false}, {"RUNS", false}, {"DOC", false}};

static void s_print_lines(const msgpack_object *methods) {
    gi_rows_t table;
    gi_rows_begin(&table, s_columns, sizeof s_columns / sizeof *s_columns);
    for (uint32_t i = 0; i < methods->via.map.size; i++) {
        const msgpack_object_kv *kv = &methods->via.map.ptr[i];
        gi_rows_object(&table, &kv->key);
        gi_rows_object(&table, gi_json_get(&kv->val, "signature"));
        gi_rows_object(&table, gi_json_get(&kv->val, "runs"));
        gi_rows_object(&table, gi_json_get(&kv->val, "doc"));
    }
    gi_rows_end(&table);
}

static int s_print(const gate_value_t *interfaces, bool as_json) {
    const msgpack_object *methods = gate_value_object(interfaces);
    if (methods->type != MSGPACK_OBJECT_MAP) {
        fprintf(stderr, "ValueError: the service's method table is none\n");
        return GI_EXIT_REMOTE;
    }
    if (!as_json) {
        s_print_lines(methods);
        return GI_EXIT_OK;
    }
    return gi_json_print(methods) ? GI_EXIT_OK : GI_EXIT_REMOTE;
}

static int s_inspect(gate_client_t *client, const char *service, bool as_json) {
    char method[512];
    int n = snprintf(method, sizeof method, "%s.get_interfaces", service);
    if (n < 0 || (size_t)n >= sizeof method)
        return gi_opts_fail(&s_usage, "the name is too long");
    GATE_OWN(gate_value) interfaces = NULL;
    gate_err_t e = gate_client_call(client, method, &interfaces,
                                    gate_timeout_ms(S_INSPECT_MS));
    return e ? gi_peer_fail(e, true) : s_print(interfaces, as_json);
}

int gi_inspect_main(int argc, char **argv) {
    gi_peer_t peer = {0};
    gi_words_t words = {0};
    bool as_json = false;
    const gi_opt_t table[] = {
        GI_PEER_OPTS(peer),
        {"json", GI_OPT_FLAG, &as_json, NULL, "as one line of JSON"},
        GI_OPT_END,
    };
    int code = gi_opts_parse(argc, argv, &s_usage, table, &words);
    if (code < 0)
        code = words.n == 1 && *words.items[0]
                   ? gi_peer_check(&peer, &s_usage)
                   : gi_opts_fail(&s_usage, "inspect one service");
    if (code < 0) {
        code = gi_peer_open(&peer);
        if (!code)
            code = s_inspect(peer.client, words.items[0], as_json);
        gi_peer_close(&peer);
    }
    gi_peer_forget(&peer.auth);
    gi_words_fini(&words);
    return code;
}
