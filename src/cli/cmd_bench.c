/* SPDX-License-Identifier: BSD-3-Clause */
/* cmd_bench.c -- gate bench: the words; src/cli/bench does the rest. */
#ifdef GATE_HAVE_BENCH
#include "bench/bench.h"
#include "cli/cli.h"
#include "cli/opts.h"
#include "cli/peer.h"

static const char s_text[] =
    "Measures throughput and latency beside reference limits in the same run:\n"
    "raw zmq_proxy with the same frames, one frame, no broker, a pointer "
    "ring.\n"
    "Lists are words with commas between. VERB is one of";

int gi_bench_main(int argc, char **argv) {
    char text[1536];
    gi_words_t words = {NULL, 0};
    gi_auth_t auth = {0};
    gi_bench_args_t args = {.runs = "inline",
                            .pins = "free",
                            .method = "Demo.echo",
                            .lane = "auto",
                            .clients = 1,
                            .services = 1,
                            .workers = 1,
                            .rounds = -1,
                            .tolerance = 10};
    const gi_opt_t table[] = {
        {"json", GI_OPT_FLAG, &args.json, NULL, "JSON instead of a table"},
        {"trace", GI_OPT_FLAG, &args.trace, NULL,
         "echo: where the time of one call goes, in medians of 2,000"},
        {"html", GI_OPT_TEXT, &args.html, "FILE", "write a report with plots"},
        {"compare", GI_OPT_TEXT, &args.compare, "FILE",
         "hold against an older JSON; exit 1 when worse"},
        {"tolerance", GI_OPT_NUMBER, &args.tolerance, "PERCENT",
         "by more than this (10)"},
        {"transport", GI_OPT_TEXT, &args.transports, "LIST",
         "of registry,inproc,ipc,tcp"},
        {"outstanding", GI_OPT_TEXT, &args.outstanding, "LIST",
         "calls under way per client (by verb: 1,100,1000)"},
        {"payload", GI_OPT_TEXT, &args.sizes, "LIST", "bytes (by verb: 64)"},
        {"runs", GI_OPT_TEXT, &args.runs, "LIST",
         "where the method runs: inline,thread,process"},
        {"auth", GI_OPT_TEXT, &args.auths, "LIST",
         "echo: of off,plain: who calls is asked of a ZAP service (off)"},
        {"wire", GI_OPT_TEXT, &args.wires, "LIST",
         "echo: of packed,frames,lane: setting packed on, off, by lanes too "
         "(lane)"},
        {"lane", GI_OPT_TEXT, &args.lane, "MODE",
         "setting lane, of what uses ipc or tcp: off, auto, always (auto)"},
        {"pin", GI_OPT_TEXT, &args.pins, "LIST",
         "everything on one CPU, or free (free)"},
        {"clients", GI_OPT_NUMBER, &args.clients, "N", "clients (1)"},
        {"services", GI_OPT_NUMBER, &args.services, "N", "services (1)"},
        {"workers", GI_OPT_NUMBER, &args.workers, "N",
         "workers of each service, or of a pool (1)"},
        {"rounds", GI_OPT_NUMBER, &args.rounds, "N", "rounds (3; 1 with all)"},
        {"seconds", GI_OPT_TEXT, &args.seconds, "S", "length of a round"},
        {"rate", GI_OPT_NUMBER, &args.rate, "N",
         "open loop: so many calls/s are due"},
        {"broker", GI_OPT_TEXT, &args.broker, "EP",
         "echo: measure a running broker"},
        {"method", GI_OPT_TEXT, &args.method, "NAME",
         "called there with a payload (Demo.echo)"},
        GI_AUTH_OPTS(auth),
        GI_OPT_END,
    };
    snprintf(text, sizeof text, "%s\n\n%s", s_text, gi_bench_verbs());
    const gi_usage_t usage = {"bench VERB [OPTION]...", text};
    int code = gi_opts_parse(argc, argv, &usage, table, &words);
    if (code < 0 && words.n != 1)
        code = gi_opts_fail(&usage, "bench what?");
    if (code < 0)
        code = gi_auth_check(&auth, NULL, &usage);
    if (code < 0) {
        args.verb = words.items[0];
        args.user = auth.user;
        args.password = auth.password.word;
        args.plain_user = auth.plain_user;
        args.plain_password = auth.plain_password.word;
        args.curve_cert = auth.curve_cert;
        args.curve_server = auth.curve_server;
        code = gi_bench_run(&args);
    }
    gi_peer_forget(&auth);
    gi_words_fini(&words);
    return code;
}
#endif
