/* SPDX-License-Identifier: BSD-3-Clause */
/* cli.h -- the verbs of the gate command and what they share. Each verb is one
 * file with one main; it returns the exit code. Results go to stdout, all else
 * to stderr.
 * Law: only public headers of the library are seen here. */
#ifndef GI_CLI_H
#define GI_CLI_H

#include <gaterpc.h>
#include <stdio.h>

/* Exit codes of a verb. Those of errors come from gi_peer_fail. */
enum {
    GI_EXIT_OK = 0,
    GI_EXIT_REMOTE = 1,
    GI_EXIT_USAGE = 2,
    GI_EXIT_GONE = 3
};

#define GI_FRONTEND "tcp://127.0.0.1:5555"
#define GI_BACKEND "tcp://127.0.0.1:5556"

/* What the words of a verb are, for completion. */
typedef enum gi_word_kind {
    GI_WORDS_NONE,
    GI_WORDS_METHOD,
    GI_WORDS_SERVICE,
    GI_WORDS_FILES,
    GI_WORDS_CONTEXT
} gi_word_kind_t;

/* One verb; a const table of them is in main.c. */
typedef struct gi_verb {
    const char *name;
    int (*run)(int argc, char **argv); /* argv[0] is the verb */
    gi_word_kind_t words;
    const char *brief; /* for gate --help */
} gi_verb_t;

int gi_broker_main(int argc, char **argv);
int gi_serve_main(int argc, char **argv);
int gi_call_main(int argc, char **argv);
int gi_services_main(int argc, char **argv);
int gi_inspect_main(int argc, char **argv);
int gi_keygen_main(int argc, char **argv);
int gi_drain_main(int argc, char **argv);
int gi_brokers_main(int argc, char **argv);
int gi_zap_main(int argc, char **argv);
int gi_settings_main(int argc, char **argv);
#ifdef GATE_HAVE_BENCH
int gi_bench_main(int argc, char **argv); /* src/cli/bench */
#endif

/* Adds the demo service's methods; the first error comes out of start. */
void gi_demo_methods(gate_service_t *service);

/* ---- main.c ---------------------------------------------------------------- */
/* Of a verb that stays: the line that says so. A stdout that is full, closed or
 * not read costs nobody the service: stderr gets it then. Blocks: for
 * GI_READY_MS at most. */
void gi_main_ready(const char *line);
enum { GI_READY_MS = 1000 };
/* Something was not written to stdout: errno says why, and main will, when much
 * else has been done since. */
void gi_main_stdout_lost(void);

/* ---- complete.c ------------------------------------------------------------- */
/* gate --complete WORD...: prints what the last word may become. */
int gi_complete_main(const gi_verb_t *verbs, size_t n_verbs, int argc,
                     char **argv);
/* ---- cmd_context.c --------------------------------------------------------- */
int gi_context_main(int argc, char **argv);
/* ---- cmd_dev.c ------------------------------------------------------------- */
int gi_dev_main(int argc, char **argv);
/* ---- cmd_health.c ---------------------------------------------------------- */
int gi_health_main(int argc, char **argv);
/* ---- cmd_top.c ------------------------------------------------------------- */
int gi_top_main(int argc, char **argv);
/* ---- cmd_doctor.c ---------------------------------------------------------- */
int gi_doctor_main(int argc, char **argv);
#ifdef GATE_HAVE_MONITOR
/* ---- cmd_monitor.c --------------------------------------------------------- */
int gi_monitor_main(int argc, char **argv);
#endif

#endif
