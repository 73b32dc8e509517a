/* SPDX-License-Identifier: BSD-3-Clause */
/* cmd_monitor.c -- gate monitor: the monitor beside a broker that has none. */
#include "cli/cli.h"
#include "cli/interrupt.h"
#include "cli/opts.h"
#include "cli/peer.h"
#include "monitor/monitor.h"

#include <stdlib.h>

static const gi_usage_t s_usage = {
    "monitor [OPTION]...", "Serves what a broker tells over HTTP: a page, "
                           "/metrics, /healthz, /readyz,\n"
                           "/api/v1/snapshot. For brokers without --monitor, "
                           "Python's too, which tell\n"
                           "less. Prints one line 'ready monitor=URL'."};

static void s_print_ready(const gi_monitor_t *monitor) {
    char *line = NULL;
    if (asprintf(&line, "ready monitor=%s\n", gi_monitor_url(monitor)) < 0)
        return;
    gi_main_ready(line);
    free(line);
}

static int s_run(gi_peer_t *peer, const char *listen) {
    gi_interrupt_stay();
    int code = gi_peer_open(peer);
    if (code)
        return code;
    gi_monitor_t *monitor = gi_monitor_start(
        listen, peer->client, gate_runtime_settings(peer->runtime));
    if (!monitor)
        return GI_EXIT_USAGE;
    s_print_ready(monitor);
    code = gate_runtime_wait(peer->runtime);
    gi_monitor_stop(&monitor);
    return code;
}

int gi_monitor_main(int argc, char **argv) {
    gi_peer_t peer = {0};
    const char *listen = "127.0.0.1:9464";
    const gi_opt_t table[] = {
        GI_PEER_OPTS(peer),
        {"listen", GI_OPT_TEXT, &listen, "ADDR",
         "PORT, ADDRESS:PORT or unix:PATH (127.0.0.1:9464)"},
        GI_OPT_END,
    };
    int code = gi_opts_parse(argc, argv, &s_usage, table, NULL);
    if (code < 0)
        code = gi_peer_check(&peer, &s_usage);
    if (code < 0) {
        code = s_run(&peer, listen);
        gi_peer_close(&peer);
    }
    gi_peer_forget(&peer.auth);
    return code;
}
