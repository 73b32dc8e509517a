/* SPDX-License-Identifier: BSD-3-Clause */
/* cmd_health.c -- gate health: for containers and units without curl. */
#include "cli/cli.h"
#include "cli/opts.h"
#include "cli/peer.h"
#include "monitor/monitor.h"
#include "text/json_arg.h"

#include <string.h>

static const gi_usage_t s_usage = {
    "health [OPTION]...",
    "Says whether a broker answers: exit code 0; with --ready, whether it "
    "takes\n"
    "new calls, with --service whether that service has workers; 1: it does\n"
    "not, 2: usage, 3: nobody answers, 4: it does not let us in, or ask. With\n"
    "--monitor it asks over HTTP."};

enum { S_HEALTH_MS = 1500 }; /* for each of two questions */

typedef struct s_args {
    gi_peer_t peer;
    const char *monitor, *service;
    bool ready;
} s_args_t;

static int s_said(bool good, const char *bad) {
    if (good)
        puts("ok");
    else
        fprintf(stderr, "gate: %s\n", bad);
    return good ? GI_EXIT_OK : GI_EXIT_REMOTE;
}

static int s_http(const s_args_t *args) {
    int status =
        gi_fetch_status(args->monitor, args->ready ? "/readyz" : "/healthz");
    if (status == 401 || status == 421) {
        fprintf(stderr, "gate: refused (%d)\n", status);
        return 4;
    }
    return status == 0 ? GI_EXIT_GONE : s_said(status == 200, "not ready");
}

/* GATE_NOMETHOD: an older broker, which tells names alone, or Python's, which
 * says nothing at all to what it does not know. */
static gate_err_t s_stats(gate_client_t *client, gate_value_t **stats) {
    gate_err_t e = gate_client_call(client, "Gate.stats", stats,
                                    gate_timeout_ms(S_HEALTH_MS));
    bool unknown =
        e == GATE_RAISED && strcmp(gate_error()->cls, "AttributeError") == 0;
    return unknown || e == GATE_TIMEOUT ? GATE_NOMETHOD : e;
}

/* By the names that every broker tells everybody; NULL: that it tells them. */
static int s_is_named(gate_client_t *client, const char *service) {
    GATE_OWN(gate_value) names = NULL;
    gate_err_t e = gate_client_call(client, "Gate.get_services", &names,
                                    gate_timeout_ms(S_HEALTH_MS));
    return e ? gi_peer_fail(e, true)
             : s_said(!service || gi_json_lists(gate_value_object(names),
                                                service, strlen(service)),
                      "no worker of that service");
}

/* Who does not tell a state takes calls while it answers. */
static int s_is_ready(gate_client_t *client) {
    GATE_OWN(gate_value) stats = NULL;
    const char *state = "ready";
    gate_err_t e = s_stats(client, &stats);
    if (e == GATE_NOMETHOD)
        return s_is_named(client, NULL);
    if (e)
        return gi_peer_fail(e, true);
    if (gate_value_read(stats, "state", &state))
        state = "ready";
    return s_said(strcmp(state, "ready") == 0, "the broker is not ready");
}

static int s_has(gate_client_t *client, const char *service) {
    GATE_OWN(gate_value) stats = NULL;
    char path[512];
    long workers = 0;
    gate_err_t e = s_stats(client, &stats);
    if (e == GATE_NOMETHOD || e == GATE_REFUSED)
        return s_is_named(client, service);
    if (e)
        return gi_peer_fail(e, true);
    snprintf(path, sizeof path, "services.%s.workers", service);
    if (gate_value_read(stats, path, &workers))
        workers = 0;
    return s_said(workers > 0, "no worker of that service");
}

static int s_ask(s_args_t *args) {
    int code = gi_peer_open(&args->peer);
    if (!code)
        code = args->service ? s_has(args->peer.client, args->service)
               : args->ready ? s_is_ready(args->peer.client)
                             : s_said(true, "");
    gi_peer_close(&args->peer);
    return code;
}

int gi_health_main(int argc, char **argv) {
    s_args_t args = {0};
    const gi_opt_t table[] = {
        GI_PEER_OPTS(args.peer),
        {"monitor", GI_OPT_TEXT, &args.monitor, "ADDR",
         "ask a monitor at PORT, ADDRESS:PORT or unix:PATH"},
        {"ready", GI_OPT_FLAG, &args.ready, NULL, "does it take new calls?"},
        {"service", GI_OPT_TEXT, &args.service, "NAME", "has it workers?"},
        GI_OPT_END,
    };
    int code = gi_opts_parse(argc, argv, &s_usage, table, NULL);
    if (code < 0 && args.monitor && args.service)
        code = gi_opts_fail(&s_usage, "--service is asked of --broker");
    if (code < 0 && !args.monitor)
        code = gi_peer_check(&args.peer, &s_usage);
    if (code < 0)
        code = args.monitor ? s_http(&args) : s_ask(&args);
    gi_peer_forget(&args.peer.auth);
    return code;
}
