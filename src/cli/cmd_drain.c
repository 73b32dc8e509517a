/* SPDX-License-Identifier: BSD-3-Clause */
/* cmd_drain.c -- gate drain: the broker tells the workers of a service to finish
 * and leave. */
#include "cli/cli.h"
#include "cli/opts.h"
#include "cli/peer.h"

#include <inttypes.h>

static const gi_usage_t s_usage = {
    "drain [OPTION]... SERVICE|WORKER",
    "Tells the workers of a service, or the one with that id (as 'gate\n"
    "services --workers' shows it), to take no new calls, to finish and to\n"
    "leave; 'gate serve' ends then. Prints how many were told. Workers that\n"
    "are not gaterpc's cannot be told and stay."};

enum { S_DRAIN_MS = 5000 };

static int s_drain(gate_client_t *client, const char *service) {
    int64_t n = 0;
    gate_err_t e = gate_client_call(client, "Gate.drain", &n, service,
                                    gate_timeout_ms(S_DRAIN_MS));
    if (e)
        return gi_peer_fail(e, true);
    printf("%" PRId64 "\n", n);
    return GI_EXIT_OK;
}

int gi_drain_main(int argc, char **argv) {
    gi_peer_t peer = {0};
    gi_words_t words = {0};
    const gi_opt_t table[] = {
        GI_PEER_OPTS(peer),
        GI_OPT_END,
    };
    int code = gi_opts_parse(argc, argv, &s_usage, table, &words);
    if (code < 0)
        code = words.n == 1 && *words.items[0]
                   ? gi_peer_check(&peer, &s_usage)
                   : gi_opts_fail(&s_usage, "drain one service or worker");
    if (code < 0) {
        code = gi_peer_open(&peer);
        if (!code)
            code = s_drain(peer.client, words.items[0]);
        gi_peer_close(&peer);
    }
    gi_peer_forget(&peer.auth);
    gi_words_fini(&words);
    return code;
}
