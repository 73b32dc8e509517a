/* SPDX-License-Identifier: BSD-3-Clause */
/* main.c -- bench_peers: 64-byte echoes over tcp, one client, one service:
 * ours (by default, authenticated, without lanes), zmq_proxy with our frames, and
 * the peers that were built in; each measured once a round, in turns. JSON on stdout, in
 * `gate bench`'s form; script/bench-peers makes a page of it. */
#include "peers.h"
#include "bench/rigs/proc.h"
#include "bench/report.h"
#include "bench/session.h"

#include <getopt.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

/* Ours and the reference stand first: session.h holds one against the other. */
static const struct {
    const char *name;
    const gi_kind_t *kind;
    const char *lane; /* the setting; NULL: the default */
    const char *user;
} s_systems[] = {
    {"gate", &gi_kind_gate, NULL, NULL},
    {"zmq_proxy", &gi_kind_proxy, NULL, NULL},
    {"gate+auth", &gi_kind_gate, NULL, "bench"},
    {"gate-sockets", &gi_kind_gate, "off", NULL},
#ifdef GI_PEER_NATS
    {"nats", &gi_kind_nats, NULL, NULL},
    {"nats-asap", &gi_kind_nats_asap, NULL, NULL},
    {"nats-flush", &gi_kind_nats_flush, NULL, NULL},
#endif
#ifdef GI_PEER_GEARMAN
    {"gearman", &gi_kind_gearman, NULL, NULL},
#endif
#ifdef GI_PEER_GRPC
    {"grpc", &gi_kind_grpc, NULL, NULL},
#endif
#ifdef GI_PEER_NNG
    {"nng-device", &gi_kind_nng_device, NULL, NULL},
    {"nng", &gi_kind_nng, NULL, NULL},
#endif
};
enum { S_SYSTEMS = sizeof s_systems / sizeof *s_systems, S_FIRST = 4 };

static int s_usage(void) {
    fprintf(stderr, "usage: bench_peers [--rounds N] [--seconds S] "
                    "[--outstanding LIST] [--pin CPU|free] [--peers LIST]\n"
                    "built in:");
    for (int i = 0; i < S_SYSTEMS; i++)
        fprintf(stderr, " %s", s_systems[i].name);
    fprintf(stderr, "\n");
    return 2;
}

static int s_specs(const gi_session_t *self, const char *peers, int pin,
                   gi_spec_t *specs) {
    int n = 0;
    for (int i = 0; i < S_SYSTEMS; i++) {
        if (i >= S_FIRST && peers && !gi_word_in(peers, s_systems[i].name))
            continue;
        specs[n] = gi_session_spec(self, s_systems[i].kind, "tcp", pin);
        if (s_systems[i].lane)
            specs[n].lane = s_systems[i].lane;
        if (s_systems[i].user) {
            specs[n].user = s_systems[i].user;
            specs[n].password = "password";
        }
        n++;
    }
    return n;
}

static void s_measure(gi_session_t *self, const char *peers, int pin) {
    gi_spec_t specs[S_SYSTEMS];
    gi_cell_t cell = {.n = 0};
    gi_numbers_t w;
    gi_numbers_parse(self->outstanding, &w);
    if (!gi_session_open(self, &cell, specs, s_specs(self, peers, pin, specs)))
        return;
    for (int i = 0; i < w.n && !self->failed; i++) {
        cell.load = gi_session_load(self, w.items[i], 64);
        gi_session_measure(self, &cell);
    }
    gi_session_close(&cell);
}

static int s_report(const gi_session_t *self) {
    json_t *report = gi_report_json(self);
    if (!report)
        return 1;
    json_dumpf(report, stdout, JSON_INDENT(1) | JSON_REAL_PRECISION(6));
    printf("\n");
    json_decref(report);
    return 0;
}

int main(int argc, char **argv) {
    static const struct option options[] = {
        {"rounds", 1, NULL, 'r'},      {"seconds", 1, NULL, 's'},
        {"outstanding", 1, NULL, 'w'}, {"pin", 1, NULL, 'p'},
        {"peers", 1, NULL, 'k'},       {NULL, 0, NULL, 0}};
    gi_bench_args_t args = {.verb = "echo",
                            .runs = "inline",
                            .pins = "free",
                            .auths = "off,plain",
                            .lane = "auto",
                            .clients = 1,
                            .services = 1,
                            .workers = 1,
                            .rounds = 5,
                            .seconds = "0.5",
                            .outstanding = "1,100,1000"};
    const char *peers = NULL;
    gi_numbers_t n;
    for (int c; (c = getopt_long(argc, argv, "", options, NULL)) != -1;) {
        if (c == 'r')
            args.rounds = strtol(optarg, NULL, 10);
        else if (c == 's')
            args.seconds = optarg;
        else if (c == 'w')
            args.outstanding = optarg;
        else if (c == 'p')
            args.pins = optarg;
        else if (c == 'k')
            peers = optarg;
        else
            return s_usage();
    }
    double seconds = strtod(args.seconds, NULL);
    if (optind != argc || args.rounds < 1 || args.rounds > GI_ROUNDS_MAX ||
        !(seconds > 0) || !gi_numbers_parse(args.outstanding, &n) ||
        !gi_numbers_parse(args.pins, &n))
        return s_usage();
    gi_session_t self = {.args = &args,
                         .rounds = (int)args.rounds,
                         .verb = "echo",
                         .transports = "tcp",
                         .outstanding = args.outstanding,
                         .sizes = "64",
                         .seconds = seconds,
                         .warm_seconds = seconds / 3,
                         .begun_ns = gi_proc_now(),
                         .progress = isatty(STDERR_FILENO)};
    (void)gi_session_interrupted();
    for (int i = 0; i < n.n && !self.failed; i++)
        s_measure(&self, peers, (int)n.items[i]);
    gi_session_progress_end(&self);
    int code = self.failed ? 1 : s_report(&self);
    gi_results_fini(&self.results);
    return code;
}
