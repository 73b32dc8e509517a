/* SPDX-License-Identifier: BSD-3-Clause */
/* cmd_broker.c -- gate broker. */
#include "cli/cli.h"
#include "cli/interrupt.h"
#include "cli/opts.h"
#include "cli/peer.h"
#ifdef GATE_HAVE_MONITOR
#include "monitor/monitor.h"
#endif

#include <fcntl.h>
#include <stdlib.h>
#include <unistd.h>

static const gi_usage_t s_usage = {
    "broker [OPTION]...",
    "Routes calls between clients on frontends and services on backends.\n"
    "Prints one line 'ready frontend=EP[,EP] backend=EP[,EP]' once bound.\n"
    "SIGTERM or SIGINT drains, a second one stops at once. With --hand-over\n"
    "a second broker, started alike, takes over without a call failing, and\n"
    "the first one ends by itself."};

enum { S_LISTEN_FD = 3 }; /* sd_listen_fds(3): the first one */

/* Options that are settings, above whatever file or environment say. */
#define S_UPLINKS 10
static const char *const s_uplink[S_UPLINKS] = {
    "uplink",       "uplink_name",   "uplink_cluster", "uplink_zone",
    "uplink_creds", "uplink_nkey",   "uplink_ca",      "uplink_cert",
    "uplink_key",   "uplink_wait_ms"};

typedef struct s_args {
    const char *config;
    gi_words_t frontends, backends;
    const char *zap, *zap_domain;
    const char *curve_cert, *curve_allowed, *plain_users;
    const char *hand_over;
    const char *monitor;
    const char *uplink[S_UPLINKS]; /* by s_uplink's order */
} s_args_t;

static void s_setup(gate_broker_t *broker, const s_args_t *args,
                    const char *backend) {
    for (size_t i = 0; i < args->frontends.n; i++)
        gate_broker_bind(broker, args->frontends.items[i]);
    if (!args->frontends.n)
        gate_broker_bind(broker, GI_FRONTEND);
    for (size_t i = 0; i < args->backends.n; i++)
        gate_broker_bind_backend(broker, args->backends.items[i]);
    if (!args->backends.n)
        gate_broker_bind_backend(broker, backend);
    if (args->zap)
        gate_broker_use_zap(broker, args->zap, args->zap_domain);
    if (args->plain_users)
        gate_broker_plain(broker, args->plain_users);
    if (args->curve_cert || args->curve_allowed)
        gate_broker_curve(broker, args->curve_cert, args->curve_allowed);
    if (args->hand_over)
        gate_broker_hand_over(broker, args->hand_over);
}

static void s_print_ready(const gate_broker_t *broker, const char *url) {
    const char *ep;
    char *line = NULL;
    size_t size;
    FILE *to = open_memstream(&line, &size);
    if (!to)
        return;
    fprintf(to, "ready frontend=");
    for (size_t i = 0; (ep = gate_broker_frontend(broker, i)); i++)
        fprintf(to, "%s%s", i ? "," : "", ep);
    fprintf(to, " backend=");
    for (size_t i = 0; (ep = gate_broker_backend(broker, i)); i++)
        fprintf(to, "%s%s", i ? "," : "", ep);
    if (gate_broker_uplink_name(broker))
        fprintf(to, " uplink=%s", gate_broker_uplink_name(broker));
    fprintf(to, "%s%s\n", url ? " monitor=" : "", url ? url : "");
    if (!fclose(to))
        gi_main_ready(line);
    free(line);
}

#ifdef GATE_HAVE_MONITOR
static int s_serve(gate_runtime_t *runtime, gate_broker_t *broker,
                   const char *addr) {
    gi_monitor_t *monitor = NULL;
    gate_client_t *client = addr ? gate_broker_client(broker) : NULL;
    if (addr && !client)
        return gi_peer_fail(GATE_NOMEM, false);
    if (addr && !(monitor = gi_monitor_start(addr, client,
                                             gate_runtime_settings(runtime))))
        return GI_EXIT_USAGE;
    s_print_ready(broker, monitor ? gi_monitor_url(monitor) : NULL);
    int code = gate_runtime_wait(runtime);
    gi_monitor_stop(&monitor);
    return code;
}
#else
static int s_serve(gate_runtime_t *runtime, gate_broker_t *broker,
                   const char *addr) {
    if (addr)
        return gi_opts_fail(&s_usage, "built without libmicrohttpd: no "
                                      "--monitor");
    s_print_ready(broker, NULL);
    return gate_runtime_wait(runtime);
}
#endif

/* An option stands above its own setting, and leaves the other half of the pair
 * to its setting. */
static const char *s_either(const gate_runtime_t *runtime, const char *option,
                            const char *setting) {
    const char *value = NULL;
    gate_err_t e =
        gate_settings_get(gate_runtime_settings(runtime), setting, &value);
    return option ? option : e ? NULL : value;
}

static int s_complete(const gate_runtime_t *runtime, s_args_t *args) {
    const char *zap = s_either(runtime, args->zap, "broker_zap");
    const char *cert = s_either(runtime, args->curve_cert, "broker_curve_cert");
    if (args->zap_domain && !zap)
        return gi_opts_fail(&s_usage, "--zap-domain goes with --zap, or the "
                                      "setting broker_zap");
    if (args->curve_allowed && !cert)
        return gi_opts_fail(&s_usage, "--curve-allow goes with --curve-cert, "
                                      "or the setting broker_curve_cert");
    if (args->zap_domain)
        args->zap = zap;
    if (args->curve_cert || args->curve_allowed) {
        args->curve_allowed =
            s_either(runtime, args->curve_allowed, "broker_curve_allow");
        args->curve_cert = cert;
    }
    return -1;
}

/* Of socket activation: whoever came to a socket that was left alone would wait
 * for ever, for its owner listens and nobody answers. What the broker has taken
 * is close-on-exec. */
static bool s_took_all(void) {
    const char *pid = getenv("LISTEN_PID"), *n = getenv("LISTEN_FDS");
    if (!pid || !n || strtol(pid, NULL, 10) != (long)getpid())
        return true;
    int end = S_LISTEN_FD + (int)strtol(n, NULL, 10);
    for (int fd = S_LISTEN_FD; fd < end; fd++)
        if (!(fcntl(fd, F_GETFD) & FD_CLOEXEC)) {
            fprintf(stderr,
                    "gate: LISTEN_FDS: nobody would answer at descriptor %d: "
                    "FileDescriptorName= frontend or backend, or ListenStream= "
                    "where it is to listen\n",
                    fd);
            return false;
        }
    return true;
}

static int s_run(s_args_t *args) {
    gi_interrupt_stay();
    GATE_OWN(gate_settings) settings = gi_peer_settings(args->config);
    for (size_t i = 0; settings && i < S_UPLINKS; i++)
        if (args->uplink[i])
            gate_settings_parse(settings, s_uplink[i], args->uplink[i]);
    GATE_OWN(gate_runtime) runtime = gi_peer_runtime_of(settings);
    if (!runtime)
        return GI_EXIT_USAGE;
    int code = s_complete(runtime, args);
    if (code >= 0)
        return code;
    GATE_OWN(gate_broker) broker = gate_broker_new(runtime);
    if (!broker)
        return gi_peer_fail(GATE_NOMEM, false);
    s_setup(broker, args, gi_peer_backend(runtime));
    gate_err_t e = gate_broker_start(broker);
    if (e)
        return gi_peer_fail(e, false);
    if (!s_took_all())
        return GI_EXIT_USAGE;
    return s_serve(runtime, broker, args->monitor);
}

int gi_broker_main(int argc, char **argv) {
    s_args_t args = {0};
    const gi_opt_t table[] = {
        {"config", GI_OPT_TEXT, &args.config, "FILE", "settings (ZPL)"},
        {"frontend", GI_OPT_MANY, &args.frontends, "EP",
         "for clients (" GI_FRONTEND "); may be repeated"},
        {"backend", GI_OPT_MANY, &args.backends, "EP",
         "for services (" GI_BACKEND "); may be repeated"},
        {"zap", GI_OPT_TEXT, &args.zap, "EP", "ask this in-band ZAP service"},
        {"zap-domain", GI_OPT_TEXT, &args.zap_domain, "NAME",
         "about this domain (setting zap_default_domain)"},
        {"plain-users", GI_OPT_TEXT, &args.plain_users, "FILE",
         "ask for PLAIN by the transport; a users file as for gate zap"},
        {"curve-cert", GI_OPT_TEXT, &args.curve_cert, "FILE",
         "be a CURVE server with this certificate"},
        {"curve-allow", GI_OPT_TEXT, &args.curve_allowed, "DIR|*",
         "directory of the certificates let in, *: any (setting "
         "broker_curve_allow)"},
        {"hand-over", GI_OPT_TEXT, &args.hand_over, "PATH",
         "take the listeners of the broker that answers at this socket, if "
         "any, and answer there for the next one"},
        {"monitor", GI_OPT_TEXT, &args.monitor, "ADDR",
         "show it over HTTP at PORT, ADDRESS:PORT or unix:PATH"},
        {"uplink", GI_OPT_TEXT, &args.uplink[0], "URL[,URL]",
         "be joined with other brokers over these NATS servers"},
        {"uplink-name", GI_OPT_TEXT, &args.uplink[1], "NAME",
         "this broker's name among them (the host's)"},
        {"uplink-cluster", GI_OPT_TEXT, &args.uplink[2], "NAME",
         "which brokers belong together (default)"},
        {"uplink-zone", GI_OPT_TEXT, &args.uplink[3], "NAME",
         "brokers of the same zone are preferred"},
        {"uplink-creds", GI_OPT_TEXT, &args.uplink[4], "FILE",
         "NATS credentials"},
        {"uplink-nkey", GI_OPT_TEXT, &args.uplink[5], "FILE",
         "seed of a NATS NKEY"},
        {"uplink-ca", GI_OPT_TEXT, &args.uplink[6], "FILE",
         "TLS: certificates that NATS servers are checked against"},
        {"uplink-cert", GI_OPT_TEXT, &args.uplink[7], "FILE",
         "TLS: our certificate"},
        {"uplink-key", GI_OPT_TEXT, &args.uplink[8], "FILE", "TLS: its key"},
        {"uplink-wait", GI_OPT_TEXT, &args.uplink[9], "MS",
         "fail when no NATS server is reached within that time"},
        GI_OPT_END,
    };
    int code = gi_opts_parse(argc, argv, &s_usage, table, NULL);
    if (code < 0)
        code = s_run(&args);
    gi_words_fini(&args.frontends);
    gi_words_fini(&args.backends);
    return code;
}
